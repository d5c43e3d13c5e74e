//! Classic pcap: a 24-byte header, then records of a 16-byte header and a packet.
//!
//! Both byte orders, microseconds and nanoseconds, and the "modified" variant whose record headers have
//! eight more bytes. The file's header is read by `pcap-parser`. Records are framed here, and a test holds them equal to
//! what `pcap-parser` makes of them: it took 100 instructions a packet, a fifth of all that a packet which doesn't
//! matter costs, and knows the modified variant in one byte order only.
//! Source: draft-ietf-opsawg-pcap; libpcap's savefile documentation.

use super::block::{LinkType, Packet};
use super::feed::{Fault, Step};
use pcap_parser::parse_pcap_header;

const HEADER_BYTES: usize = 24;

/// Where a classic pcap file stands.
#[derive(Clone, Debug)]
pub struct Pcap {
    big_endian: bool,
    modified: bool,
    nanoseconds: bool,
    link: LinkType,
    header_read: bool,
    frame: u64,
    packet_bytes_max: usize,
}

/// What a record's header says; its packet is wholly there.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    seconds: u32,
    fraction: u32,
    captured_len: u32,
    original_len: u32,
}

impl Record {
    /// The record at the start of `rest`.
    #[inline(always)]
    fn read(rest: &[u8], header: usize, big_endian: bool) -> Option<Self> {
        let (words, _) = rest.first_chunk::<16>()?.as_chunks::<4>();
        let word = |at: usize| {
            let word = words.get(at).copied().unwrap_or_default();
            match big_endian {
                true => u32::from_be_bytes(word),
                false => u32::from_le_bytes(word),
            }
        };
        let record = Self {
            seconds: word(0),
            fraction: word(1),
            captured_len: word(2),
            original_len: word(3),
        };
        (rest.len() >= header + record.captured_len as usize).then_some(record)
    }
}

/// Byte order, variant and time unit by the magic number.
fn variant(bytes: &[u8]) -> Option<(bool, bool, bool)> {
    match bytes.first_chunk::<4>()? {
        [0xa1, 0xb2, 0xc3, 0xd4] => Some((true, false, false)),
        [0xd4, 0xc3, 0xb2, 0xa1] => Some((false, false, false)),
        [0xa1, 0xb2, 0x3c, 0x4d] => Some((true, false, true)),
        [0x4d, 0x3c, 0xb2, 0xa1] => Some((false, false, true)),
        [0xa1, 0xb2, 0xcd, 0x34] => Some((true, true, false)),
        [0x34, 0xcd, 0xb2, 0xa1] => Some((false, true, false)),
        _ => None,
    }
}

impl Pcap {
    /// Are these the first bytes of such a file?
    pub fn matches(bytes: &[u8]) -> bool {
        variant(bytes).is_some()
    }

    /// A reader for a file that begins with these bytes.
    pub fn new(first_bytes: &[u8], packet_bytes_max: usize) -> Self {
        let (big_endian, modified, nanoseconds) = variant(first_bytes).unwrap_or_default();
        let link = LinkType::default();
        Self {
            big_endian,
            modified,
            nanoseconds,
            link,
            header_read: false,
            frame: 0,
            packet_bytes_max,
        }
    }

    /// The link type of the file's packets.
    pub fn link(&self) -> LinkType {
        self.link
    }

    fn u32_at(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let chunk = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big_endian {
            u32::from_be_bytes(chunk)
        } else {
            u32::from_le_bytes(chunk)
        })
    }

    /// Steps over the bytes from the current position; see [`Step`].
    pub fn step(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Step {
        let mut used = 0;
        if !self.header_read {
            let Some(network) = self.network(bytes) else {
                return Step::need(0, HEADER_BYTES, "the 24 bytes of a pcap header");
            };
            // The upper bits tell of a frame check sequence; the number itself has 16 bits.
            self.link = LinkType((network & 0xffff) as u16);
            self.header_read = true;
            used = HEADER_BYTES;
        }
        let (header, unit) = (
            self.record_header(),
            if self.nanoseconds { 1 } else { 1_000 },
        );
        let (link, big_endian, mut frame) = (self.link, self.big_endian, self.frame);
        let mut rest = bytes.get(used..).unwrap_or(&[]);
        while let Some(record) = Record::read(rest, header, big_endian) {
            frame += 1;
            packets.push(Packet {
                offset: (used + header) as u32,
                captured_len: record.captured_len,
                original_len: record.original_len,
                interface: 0,
                link,
                time_ns: i64::from(record.seconds) * 1_000_000_000
                    + i64::from(record.fraction) * unit,
                frame,
            });
            let length = header + record.captured_len as usize;
            used += length;
            rest = rest.get(length..).unwrap_or(&[]);
        }
        self.frame = frame;
        self.incomplete(rest, used, header)
    }

    fn record_header(&self) -> usize {
        if self.modified { 24 } else { 16 }
    }

    /// The link type's field.
    fn network(&self, bytes: &[u8]) -> Option<u32> {
        match parse_pcap_header(bytes.get(..HEADER_BYTES)?) {
            Ok((_, header)) => Some(header.network.0 as u32),
            // The modified variant in big-endian order.
            Err(_) => self.u32_at(bytes, 20),
        }
    }

    fn incomplete(&self, rest: &[u8], used: usize, header: usize) -> Step {
        let number = self.frame + 1;
        match self.u32_at(rest, 8) {
            Some(caplen) if caplen as usize > self.packet_bytes_max => Step {
                used,
                need: 0,
                fault: Some(Fault::Broken(format!(
                    "the record of packet {number} claims {caplen} bytes, the cap is {}{}",
                    self.packet_bytes_max,
                    self.variant_hint(caplen)
                ))),
            },
            Some(caplen) if rest.len() >= header => Step::need(
                used,
                header + caplen as usize,
                format_args!(
                    "the {caplen} bytes of packet {number}{}",
                    self.variant_hint(caplen)
                ),
            ),
            _ => Step::need(
                used,
                header,
                format_args!("the {header}-byte record header of packet {number}"),
            ),
        }
    }

    /// Some programs write longer record headers under the usual magic number. Then the second packet's length is
    /// something else, and most often absurd.
    fn variant_hint(&self, caplen: u32) -> &'static str {
        if self.frame == 1 && caplen > 65_535 {
            " (recorded by Nokia IPSO or a very old Linux? Then convert it with: editcap -F pcapng INPUT OUTPUT.pcapng)"
        } else {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_parser::{parse_pcap_frame, parse_pcap_frame_be};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_what_pcap_parser_reads(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..64),
            length in 0u32..64,
            big_endian: bool,
        ) {
            if let Some(field) = bytes.get_mut(8..12) {
                field.copy_from_slice(&if big_endian { length.to_be_bytes() } else { length.to_le_bytes() });
            }
            let parsed = match big_endian {
                true => parse_pcap_frame_be(&bytes),
                false => parse_pcap_frame(&bytes),
            };
            let theirs = parsed.ok().map(|(_, record)| Record {
                seconds: record.ts_sec,
                fraction: record.ts_usec,
                captured_len: record.caplen,
                original_len: record.origlen,
            });
            prop_assert_eq!(Record::read(&bytes, 16, big_endian), theirs);
        }
    }

    #[test]
    fn a_variant_with_longer_record_headers_is_named() {
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([0, 0, 4, 0, 1, 0, 0, 0]);
        for second in [1u32, 2] {
            // As Nokia's IPSO does: four more bytes behind the lengths.
            for word in [1_700_000_000 + second, 700_000, 4, 4, 0] {
                file.extend(word.to_le_bytes());
            }
            file.extend([0; 4]);
        }
        let mut packets = Vec::new();
        let step = Pcap::new(&file, 1 << 20).step(&file, &mut packets);
        assert_eq!(packets.len(), 1);
        let fault = format!("{:?}", step.fault);
        assert!(fault.contains("Nokia"), "{fault}");
        // A file that is merely cut is not suspected of it.
        let step = Pcap::new(&file, 1 << 20).step(&file[..41], &mut packets);
        assert!(!format!("{:?}", step.fault).contains("Nokia"));
    }
}
