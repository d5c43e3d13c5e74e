//! Real captures of Windows and what independent readers say of them; they lie outside the repository, because
//! their licences differ. Tests say so and pass where the folder is not there.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use tlscope::capture::block::{Block, Packet};
use tlscope::capture::etl::EtlReader;
use tlscope::capture::netmon::NetmonReader;
use tlscope::error::Error;
use tlscope::limits::Limits;

/// The folder of the captures, or a message.
pub(crate) fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("TLSCOPE_SHARED").map(PathBuf::from);
    let places = named
        .into_iter()
        .chain([root.join("../shared"), root.join("../../shared")]);
    let found = places
        .map(|place| place.join("captures/windows"))
        .find(|place| place.is_dir());
    if found.is_none() {
        eprintln!("skipped: no captures/windows in ../shared; set TLSCOPE_SHARED to its folder");
    }
    found
}

/// The lines of a truth file, split into their columns.
pub(crate) fn table(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// A packet with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) packet: Packet,
    pub(crate) bytes: Vec<u8>,
}

impl Shown {
    pub(crate) fn digest(&self) -> String {
        Sha256::digest(&self.bytes)
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            })
    }

    /// Time as Windows counts it.
    pub(crate) fn filetime(&self) -> i64 {
        self.packet.time_ns / 100 + 116_444_736_000_000_000
    }
}

/// Everything that `fill` gives, and how it ended.
pub(crate) fn drain(
    mut fill: impl FnMut(&mut Block) -> Result<bool, Error>,
) -> (Vec<Shown>, Option<Error>) {
    let mut shown = Vec::new();
    let mut block = Block::default();
    loop {
        let more = fill(&mut block);
        for (index, packet) in block.packets.iter().enumerate() {
            if block.is_repeated(index) {
                continue;
            }
            assert_eq!(
                block.data(packet).len(),
                packet.captured_len as usize,
                "the packet lies in its block"
            );
            assert!(packet.original_len >= packet.captured_len);
            shown.push(Shown {
                packet: *packet,
                bytes: block.data(packet).to_vec(),
            });
        }
        match more {
            Ok(true) => {}
            Ok(false) => return (shown, None),
            Err(error) => return (shown, Some(error)),
        }
    }
}

/// All sightings of all packets of a trace.
pub(crate) fn etl_all<R: Read + Seek>(reader: R) -> (Vec<Shown>, Option<Error>, EtlReader<R>) {
    let mut reader = EtlReader::open(reader, "test", &Limits::default()).unwrap();
    reader.show_all_sightings();
    let (shown, error) = drain(|block| reader.fill(block));
    (shown, error, reader)
}

/// Each packet of a trace once.
pub(crate) fn etl_once<R: Read + Seek>(reader: R) -> (Vec<Shown>, Option<Error>, EtlReader<R>) {
    let mut reader = EtlReader::open(reader, "test", &Limits::default()).unwrap();
    let (shown, error) = drain(|block| reader.fill(block));
    (shown, error, reader)
}

/// The packets of a Network Monitor capture.
pub(crate) fn netmon<R: Read + Seek>(reader: R) -> (Vec<Shown>, Option<Error>, NetmonReader<R>) {
    let mut reader = NetmonReader::open(reader, "test", &Limits::default()).unwrap();
    let (shown, error) = drain(|block| reader.fill(block));
    (shown, error, reader)
}

/// Opens a file of the folder.
pub(crate) fn open(folder: &Path, name: &str) -> File {
    File::open(folder.join(name)).unwrap()
}

/// The packets of a little-endian microsecond pcap: time in microseconds and bytes.
pub(crate) fn pcap(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut packets) = (24, Vec::new());
    while at + 16 <= bytes.len() {
        let length = field(at + 8) as usize;
        packets.push((
            u64::from(field(at)) * 1_000_000 + u64::from(field(at + 4)),
            bytes[at + 16..at + 16 + length].to_vec(),
        ));
        at += 16 + length;
    }
    packets
}

/// Frames of real handshakes, 1 ms apart.
pub(crate) fn frames() -> Vec<(i64, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let names = [
        "tls12.pcap",
        "ipv6.pcap",
        "hello-two-segments.pcap",
        "tls13.pcap",
    ];
    let frames = names.iter().flat_map(|name| pcap(&folder.join(name)));
    frames
        .enumerate()
        .map(|(number, (_, bytes))| {
            (
                super::trace::START + 5_000_000 + number as i64 * 10_007,
                bytes,
            )
        })
        .collect()
}

/// Each packet of a trace in memory once.
pub(crate) fn read(
    file: &[u8],
    limits: &Limits,
) -> (Vec<Shown>, Option<Error>, EtlReader<Cursor<Vec<u8>>>) {
    let mut reader = EtlReader::open(Cursor::new(file.to_vec()), "test", limits).unwrap();
    let (shown, error) = drain(|block| reader.fill(block));
    (shown, error, reader)
}
