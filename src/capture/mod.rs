//! Stage 1: bytes on disk or wire become packets.
//!
//! A format is told by its first bytes, never by a file's name. Formats are steppers over slices
//! ([`pcap`], [`pcapng`]); the one read loop is [`feed`].

pub mod block;
pub mod compressed;
pub mod etl;
pub mod feed;
pub mod foreign;
mod le;
pub mod netmon;
#[cfg(feature = "native")]
pub mod open;
pub mod pcap;
pub mod pcapng;

pub use block::{Block, LinkType, Packet};
use feed::Step;

/// Bytes that tell a format.
pub const MAGIC_BYTES: usize = 512;

/// A format that steps over a slice of its bytes.
pub trait Stepper {
    /// Pushes the packets that lie wholly in `bytes` and says how far it came.
    fn step(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Step;
}

/// The reader of one capture's format.
#[derive(Clone, Debug)]
pub enum Format {
    /// Classic pcap.
    Pcap(pcap::Pcap),
    /// pcapng.
    Pcapng(pcapng::Pcapng),
}

/// One row of [`FORMATS`].
pub struct FormatEntry {
    /// The word that the summary shows.
    pub name: &'static str,
    /// Do these first bytes belong to it?
    pub matches: fn(&[u8]) -> bool,
    /// Its reader, from the first bytes and the largest packet that is believed.
    pub open: fn(&[u8], usize) -> Format,
}

/// The formats that are read as a stream.
pub const FORMATS: &[FormatEntry] = &[
    FormatEntry {
        name: "pcap",
        matches: pcap::Pcap::matches,
        open: |bytes, packet_bytes_max| Format::Pcap(pcap::Pcap::new(bytes, packet_bytes_max)),
    },
    FormatEntry {
        name: "pcapng",
        matches: pcapng::Pcapng::matches,
        open: |_, packet_bytes_max| Format::Pcapng(pcapng::Pcapng::new(packet_bytes_max)),
    },
];

impl Format {
    /// The format whose magic number these bytes bear.
    pub fn detect(first_bytes: &[u8], packet_bytes_max: usize) -> Option<(&'static str, Self)> {
        let entry = FORMATS.iter().find(|entry| (entry.matches)(first_bytes))?;
        Some((entry.name, (entry.open)(first_bytes, packet_bytes_max)))
    }

    /// Link types seen so far.
    pub fn links(&self) -> Vec<LinkType> {
        match self {
            Self::Pcap(pcap) => vec![pcap.link()],
            Self::Pcapng(pcapng) => pcapng.links().to_vec(),
        }
    }

    /// Blocks of a kind that is not known.
    pub fn unknown_blocks(&self) -> u64 {
        match self {
            Self::Pcap(_) => 0,
            Self::Pcapng(pcapng) => pcapng.unknown_blocks(),
        }
    }
}
