//! Classic pcap: a 24-byte header, then records of a 16-byte header and a packet.
//!
//! Both byte orders, microseconds and nanoseconds, and the "modified" variant whose record headers have
//! eight more bytes. Records are framed by `pcap-parser`, which copies nothing; the modified variant,
//! which it knows in one byte order only, is framed here.
//! Source: draft-ietf-opsawg-pcap; libpcap's savefile documentation.

use super::block::{LinkType, Packet};
use super::feed::{Fault, Step};
use pcap_parser::{LegacyPcapBlock, PcapError, parse_pcap_frame, parse_pcap_frame_be};

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
            let Some(network) = self.u32_at(bytes, 20) else {
                return Step::need(0, HEADER_BYTES, "the 24 bytes of a pcap header");
            };
            // The upper bits tell of a frame check sequence; the number itself has 16 bits.
            self.link = LinkType((network & 0xffff) as u16);
            self.header_read = true;
            used = HEADER_BYTES;
        }
        loop {
            let rest = bytes.get(used..).unwrap_or(&[]);
            match self.record(rest) {
                Ok((header, record)) => {
                    self.frame += 1;
                    let unit = if self.nanoseconds { 1 } else { 1_000 };
                    packets.push(Packet {
                        offset: (used + header) as u32,
                        captured_len: record.caplen,
                        original_len: record.origlen,
                        interface: 0,
                        link: self.link,
                        time_ns: i64::from(record.ts_sec) * 1_000_000_000
                            + i64::from(record.ts_usec) * unit,
                        frame: self.frame,
                    });
                    used += header + record.caplen as usize;
                }
                Err(missing) => return self.incomplete(rest, used, missing),
            }
        }
    }

    /// The record at the start of `rest` with the length of its header, or how many bytes it needs.
    fn record<'a>(&self, rest: &'a [u8]) -> Result<(usize, LegacyPcapBlock<'a>), usize> {
        if self.modified {
            return self.modified_record(rest);
        }
        let parsed: Result<_, nom::Err<PcapError<&[u8]>>> = if self.big_endian {
            parse_pcap_frame_be(rest)
        } else {
            parse_pcap_frame(rest)
        };
        match parsed {
            Ok((_, record)) => Ok((16, record)),
            Err(_) => Err(16),
        }
    }

    fn modified_record<'a>(&self, rest: &'a [u8]) -> Result<(usize, LegacyPcapBlock<'a>), usize> {
        let at = |offset| self.u32_at(rest, offset).ok_or(24usize);
        let caplen = at(8)?;
        let data = rest
            .get(24..)
            .and_then(|body| body.get(..caplen as usize))
            .ok_or(24usize)?;
        Ok((
            24,
            LegacyPcapBlock {
                ts_sec: at(0)?,
                ts_usec: at(4)?,
                caplen,
                origlen: at(12)?,
                data,
            },
        ))
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
