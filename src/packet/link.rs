//! Link layers: what stands before the IP header.
//!
//! Ethernet with any number of 802.1Q/802.1ad tags up to the cap, LLC/SNAP, Linux cooked captures,
//! loopback and raw IP. Sources: IEEE 802.3 and 802.1Q; LINKTYPE_ registry.

use super::{Decoded, Encapsulation, Layer, ip};
use crate::{capture::LinkType, limits::Limits, stats::Skip};

/// Takes off the link layer's headers and decodes what is inside.
pub fn decode<'a>(
    link: LinkType,
    bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    match link {
        LinkType::ETHERNET => {
            let (header, rest) = bytes.split_first_chunk::<14>().ok_or(Skip::CutHeader)?;
            ether_type(
                u16::from_be_bytes([header[12], header[13]]),
                rest,
                around,
                limits,
            )
        }
        LinkType::RAW | LinkType::RAW_12 | LinkType::RAW_14 => ip::decode(bytes),
        LinkType::IPV4 => ip::decode_v4(bytes),
        LinkType::IPV6 => ip::decode_v6(bytes),
        // The family's number differs between systems and byte orders; the IP version does not.
        LinkType::NULL | LinkType::LOOP => ip::decode(bytes.get(4..).ok_or(Skip::CutHeader)?),
        LinkType::LINUX_SLL => {
            let (header, rest) = bytes.split_first_chunk::<16>().ok_or(Skip::CutHeader)?;
            ether_type(
                u16::from_be_bytes([header[14], header[15]]),
                rest,
                around,
                limits,
            )
        }
        LinkType::LINUX_SLL2 => {
            let (header, rest) = bytes.split_first_chunk::<20>().ok_or(Skip::CutHeader)?;
            ether_type(
                u16::from_be_bytes([header[0], header[1]]),
                rest,
                around,
                limits,
            )
        }
        _ => Err(Skip::LinkType),
    }
}

/// Follows an EtherType, through tags, to IP.
fn ether_type<'a>(
    mut kind: u16,
    mut bytes: &'a [u8],
    around: &mut Encapsulation,
    limits: &Limits,
) -> Result<Decoded<'a>, Skip> {
    for _ in 0..=limits.encapsulation_depth_max {
        match kind {
            0x0800 => return ip::decode_v4(bytes),
            0x86dd => return ip::decode_v6(bytes),
            // 802.1Q, 802.1ad and the older QinQ types: tag control, then the next type.
            0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => {
                let (tag, rest) = bytes.split_first_chunk::<4>().ok_or(Skip::CutHeader)?;
                around.push(Layer::Vlan(u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff));
                (kind, bytes) = (u16::from_be_bytes([tag[2], tag[3]]), rest);
            }
            // A length: 802.3 with LLC; SNAP carries an EtherType.
            0..=0x05dc => {
                let (header, rest) = bytes.split_first_chunk::<8>().ok_or(Skip::NotIp)?;
                let [0xaa, 0xaa, 0x03, 0, 0, 0, high, low] = *header else {
                    return Err(Skip::NotIp);
                };
                (kind, bytes) = (u16::from_be_bytes([high, low]), rest);
            }
            _ => return Err(Skip::NotIp),
        }
    }
    Err(Skip::TooDeep)
}
