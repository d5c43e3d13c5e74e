//! Stage 1: bytes on disk or wire become packets.
//!
//! A format is told by its first bytes, never by a file's name. Formats are steppers over slices
//! ([`pcap`], [`pcapng`]); the one read loop is [`feed`].

pub mod block;
pub mod catalog;
pub mod compressed;
pub mod etl;
pub mod extra;
pub mod feed;
pub mod foreign;
mod le;
#[cfg(feature = "native")]
pub mod live;
pub mod netmon;
#[cfg(feature = "native")]
pub mod open;
pub mod pcap;
pub mod pcapng;
#[cfg(feature = "native")]
pub mod spool;

pub use block::{Block, LinkType, Packet};
pub use catalog::Catalog;
pub use extra::{Extra, Noted, Way};
use feed::Step;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What an interface is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: Option<String>,
    /// What people call it.
    pub description: Option<String>,
}

impl Named {
    /// What to call it in one word. Of Npcap, the name is a device path that nobody knows.
    pub fn shown(&self) -> Option<&str> {
        let readable = |name: &&String| !name.starts_with(r"\Device\");
        let name = self.name.as_ref().filter(|name| !name.is_empty());
        name.filter(readable)
            .or(self.description.as_ref())
            .or(name)
            .map(String::as_str)
    }
}

/// What is known of a capture beside its packets.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Link types of its interfaces.
    pub links: Vec<LinkType>,
    /// Blocks or frames of a kind that is not read.
    pub unknown_blocks: u64,
    /// What a reader of the results should know, in words.
    pub notes: Vec<String>,
    /// Events of a trace by provider.
    pub providers: BTreeMap<String, u64>,
    /// Names of addresses, as the capture resolves them.
    pub hosts: BTreeMap<IpAddr, Vec<Box<str>>>,
}

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
    Pcapng(Box<pcapng::Pcapng>),
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
        open: |_, packet_bytes_max| Format::Pcapng(Box::new(pcapng::Pcapng::new(packet_bytes_max))),
    },
];

impl Format {
    /// The format whose magic number these bytes bear.
    pub fn detect(first_bytes: &[u8], packet_bytes_max: usize) -> Option<(&'static str, Self)> {
        let entry = FORMATS.iter().find(|entry| (entry.matches)(first_bytes))?;
        Some((entry.name, (entry.open)(first_bytes, packet_bytes_max)))
    }

    /// What the interfaces seen so far are called, by the packets' interface numbers.
    pub fn interfaces(&self) -> &[Named] {
        match self {
            Self::Pcap(_) => &[],
            Self::Pcapng(pcapng) => pcapng.interfaces(),
        }
    }

    /// What is known beside the packets, as far as it was read.
    pub fn about(&self) -> About {
        match self {
            Self::Pcap(pcap) => About {
                links: vec![pcap.link()],
                ..About::default()
            },
            Self::Pcapng(pcapng) => pcapng.about(),
        }
    }

    /// Hands what the last step found beside the packets to the block in whose bytes it stepped.
    pub fn hand_over(&mut self, block: &mut Block) {
        if let Self::Pcapng(pcapng) = self {
            pcapng.hand_over(block);
        }
    }
}
