//! Packets of `pktmon`: the provider Microsoft-Windows-PktMon, and what it says of the places where it listens.
//!
//! Each packet comes once for every component of the network stack that it passes, with the system's number of
//! the packet on builds up to Windows 11 22H2. The media type of an event is not to be trusted at the edges of
//! Wi-Fi filters, so the bytes decide between Ethernet and 802.11.

use super::events::Event;
use super::ndis::IDLE_PROCESS;
use super::packets::{Direction, ETHERNET, Found, PacketExtra, Packets, Place, RAW_IP, WIFI};
use crate::capture::block::{Block, LinkType};
use crate::capture::le::{Fields, Guid};
use std::collections::HashMap;

/// Microsoft-Windows-PktMon.
pub(in crate::capture) const PKTMON: Guid =
    Guid::new(0x4D4F_80D9, 0xC8BD, 0x4D73, 0xBB5B_19C9_0402_C5AC);

const PACKET: u16 = 160;
const DROPPED: u16 = 170;
/// The property that says which adapter a component belongs to.
const PROPERTY_ADAPTER: u16 = 1;

/// A component of the network stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// Its kind, as pktmon numbers them: 2 is an adapter, 4 a protocol.
    pub kind: u16,
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// Number of the adapter that it belongs to.
    pub adapter: Option<u32>,
}

/// What pktmon said of itself.
#[derive(Debug, Default)]
pub(in crate::capture) struct PktMon {
    /// The components by number.
    pub(in crate::capture) components: HashMap<u16, Component>,
    /// Had the user set filters?
    pub(in crate::capture) filtered: bool,
    /// Packet events that hold no link or IP packet.
    pub(in crate::capture) other_media: u64,
}

/// The head of a packet event.
struct Head {
    group: u64,
    number: u16,
    appearance: u16,
    direction: u16,
    media: u16,
    component: u16,
    edge: u16,
    drop_reason: u32,
    drop_location: u32,
    original_len: u16,
}

impl Head {
    fn parse<'a>(fields: &mut Fields<'a>) -> Option<(Self, &'a [u8])> {
        let group = fields.u64()?;
        let [
            number,
            appearance,
            direction,
            media,
            component,
            edge,
            _filter,
        ] = [(); 7].map(|()| fields.u16());
        let head = Self {
            group,
            number: number?,
            appearance: appearance?,
            direction: direction?,
            media: media?,
            component: component?,
            edge: edge?,
            drop_reason: fields.u32()?,
            drop_location: fields.u32()?,
            original_len: fields.u16()?,
        };
        let logged = usize::from(fields.u16()?);
        Some((head, fields.take(logged)?))
    }
}

impl PktMon {
    /// Takes a packet event of [`PKTMON`]; `None` where its payload is not what its number promises.
    pub(in crate::capture) fn take(
        &mut self,
        event: &Event<'_>,
        time_ns: i64,
        packets: &mut Packets,
        block: &mut Block,
    ) -> Option<()> {
        if event.id != PACKET && event.id != DROPPED {
            return Some(());
        }
        let (head, bytes) = Head::parse(&mut Fields(event.payload))?;
        let Some(link) = link(head.media, bytes) else {
            self.other_media += 1;
            return Some(());
        };
        let dropped = event.id == DROPPED;
        let extra = PacketExtra {
            process_id: event.process_id.filter(|process| *process != IDLE_PROCESS),
            thread_id: event.thread_id.filter(|thread| *thread != 0),
            direction: match head.direction {
                1 | 3 | 5 => Some(Direction::In),
                2 | 4 | 6 => Some(Direction::Out),
                _ => None,
            },
            drop_reason: dropped.then_some(head.drop_reason),
            drop_location: dropped.then_some(head.drop_location),
        };
        let found = Found {
            bytes,
            original_len: u32::from(head.original_len),
            link,
            time_ns,
            place: Place::Component(head.component),
            edge: head.edge,
            group: (head.appearance > 0).then_some((head.group, head.number)),
            extra,
        };
        packets.push(&found, block);
        Some(())
    }

    /// Takes an event of [`PKTMON`] that describes where it listens. These come last in a trace.
    pub(super) fn describe(&mut self, event: &Event<'_>, components_max: usize) -> Option<()> {
        let mut fields = Fields(event.payload);
        match event.id {
            20 => {
                let (number, kind) = (fields.u16()?, fields.u16()?);
                let component = self.component(number, components_max)?;
                component.kind = kind;
                component.name = fields.utf16();
                component.description = fields.utf16();
            }
            30 | 50 => {
                let (number, property, value) = (fields.u16()?, fields.u16()?, fields.u32()?);
                if property == PROPERTY_ADAPTER {
                    self.component(number, components_max)?.adapter = Some(value);
                }
            }
            100 | 110 => self.filtered = true,
            _ => {}
        }
        Some(())
    }

    fn component(&mut self, number: u16, components_max: usize) -> Option<&mut Component> {
        if self.components.len() >= components_max && !self.components.contains_key(&number) {
            return None;
        }
        Some(self.components.entry(number).or_default())
    }
}

fn link(media: u16, bytes: &[u8]) -> Option<LinkType> {
    match media {
        0 if looks_like_ethernet(bytes) => Some(ETHERNET),
        0 if looks_like_ip(bytes) => Some(RAW_IP),
        1 => Some(ETHERNET),
        2 if looks_like_wifi(bytes) && !looks_like_ethernet(bytes) => Some(WIFI),
        2 => Some(ETHERNET),
        3 if looks_like_ip(bytes) || !looks_like_ethernet(bytes) => Some(RAW_IP),
        3 => Some(ETHERNET),
        _ => None,
    }
}

fn looks_like_ip(bytes: &[u8]) -> bool {
    matches!(bytes, [0x45..=0x4F, ..] | [0x60..=0x6F, ..])
}

fn looks_like_ethernet(bytes: &[u8]) -> bool {
    match bytes.get(12..14) {
        Some([0x08, 0x00] | [0x86, 0xDD]) => bytes.get(14..).is_some_and(looks_like_ip),
        Some([0x81, 0x00] | [0x08, 0x06]) => true,
        _ => false,
    }
}

fn looks_like_wifi(bytes: &[u8]) -> bool {
    let Some(first) = bytes.first() else {
        return false;
    };
    let logic_at = 24 + if first & 0x80 == 0 { 0 } else { 2 };
    first & 0x0C == 0x08 && matches!(bytes.get(logic_at..), Some([0xAA, 0xAA, 3, 0, 0, 0, ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_the_media() {
        let mut ethernet = vec![0; 40];
        ethernet[12..15].copy_from_slice(&[8, 0, 0x45]);
        let mut wifi = vec![0; 40];
        wifi[0] = 0x88;
        wifi[26..32].copy_from_slice(&[0xAA, 0xAA, 3, 0, 0, 0]);
        assert_eq!(link(1, &ethernet), Some(ETHERNET));
        assert_eq!(link(2, &ethernet), Some(ETHERNET));
        assert_eq!(link(2, &wifi), Some(WIFI));
        assert_eq!(link(3, &ethernet[14..]), Some(RAW_IP));
        assert_eq!(link(3, &ethernet), Some(ETHERNET));
        assert_eq!(link(0, &ethernet), Some(ETHERNET));
        assert_eq!(link(0, &ethernet[14..]), Some(RAW_IP));
        assert_eq!(link(0, &wifi), None);
        assert_eq!(link(4, &ethernet), None, "an HTTP message");
    }
}
