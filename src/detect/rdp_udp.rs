//! The UDP transport of Remote Desktop, whose packets carry TLS ([MS-RDPEUDP], [MS-RDPEUDP2]). Its lossy mode, which
//! carries DTLS, is not read.
//!
//! ```text
//! 1, 2  acknowledged(4) window(2) flags(2) [ack vector] [ack of acks(4)] coded(4) number(4) │ TLS
//! 3     prefix(1) header(2) [acks] [overhead(1)] [delay(3)] [ack of acks(2)] number(2) [ack vector] channel(2) │ TLS
//! ```
//!
//! Which one follows is agreed on in the first packets. Those of version 3 come with their first and eighth byte exchanged.

/// The port of Remote Desktop.
pub const PORT: u16 = 3389;

/// Flags of versions 1 and 2 ([MS-RDPEUDP] 2.2.2.1).
mod flag {
    pub(super) const SYN: u16 = 0x0001;
    pub(super) const ACK: u16 = 0x0004;
    pub(super) const DATA: u16 = 0x0008;
    pub(super) const ACK_OF_ACKS: u16 = 0x0100;
    pub(super) const SYN_LOSSY: u16 = 0x0200;
    pub(super) const CORRELATION_ID: u16 = 0x0800;
    pub(super) const SYN_EX: u16 = 0x1000;
}

/// Flags of version 3 ([MS-RDPEUDP2] 2.2.1.1).
mod flag3 {
    pub(super) const ACK: u16 = 0x001;
    pub(super) const DATA: u16 = 0x004;
    pub(super) const ACK_VECTOR: u16 = 0x008;
    pub(super) const ACK_OF_ACKS: u16 = 0x010;
    pub(super) const OVERHEAD: u16 = 0x040;
    pub(super) const DELAY: u16 = 0x100;
}

const VERSION_3: u16 = 0x0101;
/// A packet of version 3 that is only there to fill.
const DUMMY: u8 = 8;

/// What the first packets agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    version_3: bool,
}

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// It opens the conversation.
    Syn(Agreed),
    /// A part of the stream inside, by number.
    Data {
        /// Its number.
        number: u32,
        /// It.
        payload: &'a [u8],
    },
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk::<2>()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// Can this datagram begin a conversation? A SYN of the reliable mode: it acknowledges nothing, and fills a packet.
#[inline]
pub fn begins(datagram: &[u8]) -> bool {
    match datagram {
        [0xff, 0xff, 0xff, 0xff, _, _, high, low, ..] => {
            let flags = u16::from_be_bytes([*high, *low]);
            flags & (flag::SYN | flag::ACK | flag::DATA | flag::SYN_LOSSY) == flag::SYN
                && (1132..=1232).contains(&datagram.len())
        }
        _ => false,
    }
}

/// Reads a packet; `None` where it carries nothing of the stream.
pub fn read(datagram: &[u8], agreed: Agreed) -> Option<Packet<'_>> {
    let flags = u16_at(datagram, 6)?;
    // A SYN is told by its length, too: packets of version 3 may have any bytes there.
    if flags & flag::SYN != 0 && flags & flag::DATA == 0 && datagram.len() >= 1132 {
        return syn(datagram, flags).map(Packet::Syn);
    }
    if agreed.version_3 {
        version_3(datagram)
    } else {
        version_1(datagram, flags)
    }
}

/// The version in the extension behind sequence number, sizes and correlation id.
fn syn(datagram: &[u8], flags: u16) -> Option<Agreed> {
    let mut at = 16;
    if flags & flag::CORRELATION_ID != 0 {
        at += 32;
    }
    if flags & flag::SYN_EX == 0 {
        return Some(Agreed::default());
    }
    let version_3 = u16_at(datagram, at)? & 1 != 0 && u16_at(datagram, at + 2)? == VERSION_3;
    Some(Agreed { version_3 })
}

fn version_1(datagram: &[u8], flags: u16) -> Option<Packet<'_>> {
    if flags & flag::DATA == 0 {
        return None;
    }
    let mut at = 8;
    if flags & flag::ACK != 0 {
        let elements = usize::from(u16_at(datagram, at)?);
        // Filled up to a multiple of four bytes.
        at += (2 + elements).next_multiple_of(4);
    }
    if flags & flag::ACK_OF_ACKS != 0 {
        at += 4;
    }
    Some(Packet::Data {
        number: u32_at(datagram, at + 4)?,
        payload: datagram.get(at + 8..)?,
    })
}

fn version_3(datagram: &[u8]) -> Option<Packet<'_>> {
    // Behind the exchange, the eighth byte is the prefix, and the first one stands in its place.
    let prefix = *datagram.get(7)?;
    if prefix >> 1 & 0x0f == DUMMY {
        return None;
    }
    let byte = |at: usize| match at {
        7 => datagram.first().copied(),
        _ => datagram.get(at).copied(),
    };
    let flags = u16::from_le_bytes([byte(1)?, byte(2)?]) & 0x0fff;
    if flags & flag3::DATA == 0 {
        return None;
    }
    let mut at = 3;
    if flags & flag3::ACK != 0 {
        // Number, time, delay, and how many delayed ones follow in the low half of a byte.
        at += 7 + usize::from(byte(at + 6)? & 0x0f);
    }
    for (has, bytes) in [
        (flag3::OVERHEAD, 1),
        (flag3::DELAY, 3),
        (flag3::ACK_OF_ACKS, 2),
    ] {
        at += if flags & has != 0 { bytes } else { 0 };
    }
    at += 2;
    if flags & flag3::ACK_VECTOR != 0 {
        let size = byte(at + 2)?;
        let stamp = if size & 0x80 != 0 { 4 } else { 0 };
        at += 3 + stamp + usize::from(size & 0x7f);
    }
    let number = u16::from_le_bytes([byte(at)?, byte(at + 1)?]);
    // With so few bytes in front, the exchanged byte is none of the payload's.
    let payload = datagram.get(at + 2..).filter(|_| at + 2 > 7)?;
    Some(Packet::Data {
        number: u32::from(number),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn_packet(flags: u16, version: Option<u16>) -> Vec<u8> {
        let mut out = vec![0xff, 0xff, 0xff, 0xff, 0, 0x40];
        out.extend(flags.to_be_bytes());
        out.extend([1, 2, 3, 4, 4, 0xd0, 4, 0xd0]);
        if flags & flag::CORRELATION_ID != 0 {
            out.extend([7; 32]);
        }
        if let Some(version) = version {
            out.extend([0, 1]);
            out.extend(version.to_be_bytes());
        }
        out.resize(1232, 0);
        out
    }

    #[test]
    fn the_version_is_agreed_on_in_the_syn() {
        let first = syn_packet(0x1801, Some(0x0101));
        assert!(begins(&first));
        let agreed = Agreed { version_3: true };
        assert_eq!(read(&first, Agreed::default()), Some(Packet::Syn(agreed)));
        let old = syn_packet(0x0001, None);
        assert_eq!(read(&old, agreed), Some(Packet::Syn(Agreed::default())));
        assert!(!begins(&syn_packet(0x0201, None)), "lossy");
        assert!(!begins(&old[..100]));
    }

    #[test]
    fn data_of_all_versions() {
        let mut one =
            b"\x10\x97\x60\x33\x04\0\0\x0c\0\x01\0\0\xe6\x5f\x84\x6d\xe6\x5f\x84\x6d".to_vec();
        one.extend(b"\x16\x03\x03");
        let read_one = Packet::Data {
            number: 0xe65f_846d,
            payload: b"\x16\x03\x03",
        };
        assert_eq!(read(&one, Agreed::default()), Some(read_one));
        let three = b"\0\x14\xc1\x01\xf4\x01\x64\xe0\x64\0\x01\0\x16\x03\x02";
        let read_three = Packet::Data {
            number: 1,
            payload: b"\x16\x03\x02",
        };
        let agreed = Agreed { version_3: true };
        assert_eq!(read(three, agreed), Some(read_three));
        let dummy = b"\0\x14\xc0\0\x64\0\x65\xf0\0\0\0\0\0";
        assert_eq!(read(dummy, agreed), None);
        for end in 0..three.len() {
            let _ = (
                read(&three[..end], agreed),
                read(&one[..end], Agreed::default()),
            );
        }
    }
}
