//! Events inside a buffer: ten kinds of header, told by the two bytes behind the size or version.
//!
//! Every event is stepped over by its own size, rounded up to 8. Only what packets, names and evidence need
//! is read of a header. Bytes that are no event end the buffer: the merge counts it and takes the next one.

use crate::capture::le::{Guid, guid_at, i64_at, u16_at, u32_at, u64_at};

/// Kinds of event header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Kernel events.
    System,
    /// Kernel events without processor times.
    Compact,
    /// Kernel events with a time only.
    PerfInfo,
    /// Classic events of a provider.
    Full,
    /// Classic events of an instance.
    Instance,
    /// Events that a manifest or TraceLogging describes.
    Manifest,
    /// Text messages whose text is elsewhere (WPP).
    Message,
    /// Stepped over.
    Other,
}

/// What is at a place in a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// An event with this header.
    Event(Head),
    /// No more events.
    End,
    /// Something that is no event.
    Damage,
}

/// The part of an event's header that moving on needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Kind of header.
    pub(super) kind: Kind,
    /// Bytes of the event without padding.
    pub(super) size: usize,
    /// Raw stamp, where it has one.
    pub(super) stamp: Option<i64>,
    pointer_bytes: u8,
}

/// Looks at the event that begins at `at`.
pub(super) fn look(body: &[u8], at: usize) -> Step {
    let Some(rest) = body.get(at..).filter(|rest| rest.len() >= 4) else {
        return Step::End;
    };
    if matches!(rest, [0xFF, 0xFF, 0xFF, 0xFF, ..]) {
        return Step::End;
    }
    match head(rest) {
        Some(head) if head.size <= rest.len() => Step::Event(head),
        _ => Step::Damage,
    }
}

/// The event that `start` begins with.
pub(super) fn first(start: &[u8]) -> Option<Event<'_>> {
    match look(start, 0) {
        Step::Event(head) => Event::parse(head, start.get(..head.size)?),
        _ => None,
    }
}

/// The stamp of the event that `start` begins with, which need not be there as a whole.
pub(super) fn stamp(start: &[u8]) -> Option<i64> {
    head(start)?.stamp
}

fn head(rest: &[u8]) -> Option<Head> {
    let (&kind_byte, &marker) = (rest.get(2)?, rest.get(3)?);
    if marker == 0x90 {
        let flags = u16_at(rest, 6)?;
        let size = usize::from(u16_at(rest, 0)?);
        let stamp = if flags & 8 == 0 {
            None
        } else {
            i64_at(rest, message_stamp_at(flags))
        };
        return (size >= 8).then_some(Head {
            kind: Kind::Message,
            size,
            stamp,
            pointer_bytes: 8,
        });
    }
    if marker != 0xC0 {
        return None;
    }
    let (kind, size_at, header_bytes, stamp_at) = match kind_byte {
        0x01 | 0x02 => (Kind::System, 4, 32, 0x10),
        0x03 | 0x04 => (Kind::Compact, 4, 24, 0x10),
        0x0A | 0x14 => (Kind::Full, 0, 48, 0x10),
        0x0B | 0x15 => (Kind::Instance, 0, 72, 0x10),
        0x0D | 0x0F => (Kind::Other, 0, 4, usize::MAX),
        0x10 | 0x11 => (Kind::PerfInfo, 4, 16, 8),
        0x12 | 0x13 => (Kind::Manifest, 0, 80, 0x10),
        _ => return None,
    };
    let size = usize::from(u16_at(rest, size_at)?);
    let pointer_bytes = if matches!(kind_byte, 0x01 | 0x03 | 0x0A | 0x0B | 0x10 | 0x12) {
        4
    } else {
        8
    };
    (size >= header_bytes).then(|| Head {
        kind,
        size,
        stamp: i64_at(rest, stamp_at),
        pointer_bytes,
    })
}

fn message_stamp_at(flags: u16) -> usize {
    let sequence = if flags & 1 == 0 { 0 } else { 4 };
    let name = match flags & 6 {
        0 => 0,
        4 => 4,
        _ => 16,
    };
    8 + sequence + name
}

/// An event, borrowed from its buffer.
#[derive(Clone, Copy, Debug)]
pub(in crate::capture) struct Event<'a> {
    /// Kind of header.
    pub(super) kind: Kind,
    /// Who wrote it; nothing for the kernel's own.
    pub(in crate::capture) provider: Guid,
    /// Its number: the id, the class type or the hook, by kind.
    pub(in crate::capture) id: u16,
    /// Bits that the provider chose.
    pub(in crate::capture) keyword: u64,
    /// Process of the thread that wrote it.
    pub(in crate::capture) process_id: Option<u32>,
    /// Thread that wrote it.
    pub(in crate::capture) thread_id: Option<u32>,
    /// Raw stamp; 0 where it has none.
    pub(super) stamp: i64,
    /// Width of the pointers in the payload.
    pub(in crate::capture) pointer_bytes: u8,
    /// What the provider wrote.
    pub(in crate::capture) payload: &'a [u8],
}

impl<'a> Event<'a> {
    /// Stands for an event whose inside contradicts itself.
    pub(super) fn unreadable(stamp: i64) -> Self {
        Self {
            kind: Kind::Other,
            provider: Guid::default(),
            id: 0,
            keyword: 0,
            process_id: None,
            thread_id: None,
            stamp,
            pointer_bytes: 8,
            payload: &[],
        }
    }

    /// The event of `bytes`, which begin with `head` and end with the event.
    pub(super) fn parse(head: Head, bytes: &'a [u8]) -> Option<Self> {
        let unread = Self::unreadable(head.stamp.unwrap_or(0));
        let base = Self {
            kind: head.kind,
            pointer_bytes: head.pointer_bytes,
            ..unread
        };
        match head.kind {
            Kind::Manifest => base.manifest(bytes),
            Kind::Full | Kind::Instance => base.classic(bytes),
            Kind::System | Kind::Compact | Kind::PerfInfo => base.kernel(bytes),
            Kind::Message => base.message(bytes),
            Kind::Other => Some(base),
        }
    }

    /// An event as programs hold it in memory and Network Monitor saves it: the header says what is 32 bits
    /// wide, and the extended items and the payload stand behind a second, small header.
    pub(in crate::capture) fn from_memory(bytes: &'a [u8]) -> Option<Self> {
        let items = u16_at(bytes, 0x54)?;
        let payload_bytes = usize::from(u16_at(bytes, 0x56)?);
        let mut at = 0x59;
        for _ in 0..items {
            at += 8 + usize::from(u16_at(bytes, at + 6)?);
        }
        let payload = bytes.get(at..)?.get(..payload_bytes)?;
        let pointer_bytes = if u16_at(bytes, 4)? & 0x20 == 0 { 8 } else { 4 };
        let unread = Self::unreadable(0);
        Self {
            kind: Kind::Manifest,
            pointer_bytes,
            payload,
            ..unread
        }
        .manifest_fields(bytes)
    }

    fn manifest(self, bytes: &'a [u8]) -> Option<Self> {
        let flags = u16_at(bytes, 4)?;
        let payload_at = if flags & 1 == 0 {
            80
        } else {
            behind_items(bytes)?
        };
        Self {
            payload: bytes.get(payload_at..)?,
            ..self
        }
        .manifest_fields(bytes)
    }

    fn manifest_fields(self, bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            provider: guid_at(bytes, 0x18)?,
            id: u16_at(bytes, 0x28)?,
            keyword: u64_at(bytes, 0x30)?,
            process_id: u32_at(bytes, 0x0C),
            thread_id: u32_at(bytes, 8),
            ..self
        })
    }

    fn classic(self, bytes: &'a [u8]) -> Option<Self> {
        let (name_at, payload_at) = if self.kind == Kind::Full {
            (0x18, 0x30)
        } else {
            (0x28, 0x48)
        };
        Some(Self {
            provider: guid_at(bytes, name_at)?,
            id: u16::from(*bytes.get(4)?),
            process_id: u32_at(bytes, 0x0C),
            thread_id: u32_at(bytes, 8),
            payload: bytes.get(payload_at..)?,
            ..self
        })
    }

    fn kernel(self, bytes: &'a [u8]) -> Option<Self> {
        let version = u16_at(bytes, 0)?;
        let fixed = match self.kind {
            Kind::System => 32,
            Kind::Compact => 24,
            _ => 16,
        };
        let more = if version & 0x8000 == 0 {
            0
        } else {
            8 + 8 * usize::from(version >> 8 & 7)
        };
        let threads = self.kind != Kind::PerfInfo;
        Some(Self {
            id: u16_at(bytes, 6)?,
            process_id: threads.then(|| u32_at(bytes, 0x0C)).flatten(),
            thread_id: threads.then(|| u32_at(bytes, 8)).flatten(),
            payload: bytes.get(fixed + more..)?,
            ..self
        })
    }

    fn message(self, bytes: &'a [u8]) -> Option<Self> {
        let flags = u16_at(bytes, 6)?;
        let name_at = if flags & 1 == 0 { 8 } else { 12 };
        let provider = if flags & 2 == 0 {
            Guid::default()
        } else {
            guid_at(bytes, name_at)?
        };
        Some(Self {
            provider,
            id: u16_at(bytes, 4)?,
            ..self
        })
    }
}

/// Where the payload begins behind the extended items, each of which says its size and whether another follows.
fn behind_items(bytes: &[u8]) -> Option<usize> {
    let mut at = 80;
    loop {
        let size = usize::from(u16_at(bytes, at)?);
        let another = u16_at(bytes, at + 4)? & 1 != 0;
        if size < 8 {
            return None;
        }
        at += size;
        if !another {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u8, size_at: usize, size: u16) -> Vec<u8> {
        let mut bytes = vec![0; usize::from(size)];
        bytes[2] = kind;
        bytes[3] = 0xC0;
        bytes[size_at..size_at + 2].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    #[test]
    fn each_kind_is_stepped_over_by_its_own_size() {
        let kinds = [
            (0x01, 4, 32),
            (0x02, 4, 40),
            (0x03, 4, 24),
            (0x04, 4, 32),
            (0x0A, 0, 48),
            (0x14, 0, 64),
            (0x0B, 0, 72),
            (0x15, 0, 80),
            (0x0D, 0, 8),
            (0x0F, 0, 8),
            (0x10, 4, 16),
            (0x11, 4, 24),
            (0x12, 0, 80),
            (0x13, 0, 96),
        ];
        for (kind, size_at, size) in kinds {
            let bytes = event(kind, size_at, size);
            let Step::Event(head) = look(&bytes, 0) else {
                panic!("{kind:#x}")
            };
            assert_eq!(head.size, usize::from(size), "{kind:#x}");
            assert!(Event::parse(head, &bytes).is_some(), "{kind:#x}");
            assert!(
                matches!(look(&bytes[..bytes.len() - 1], 0), Step::Damage),
                "{kind:#x} cut"
            );
            let short = event(kind, size_at, 8);
            assert!(
                kind == 0x0D || kind == 0x0F || matches!(look(&short, 0), Step::Damage),
                "{kind:#x} too short"
            );
        }
    }

    #[test]
    fn the_end_is_filled_with_ones_or_simply_there() {
        assert!(matches!(look(&[0xFF; 8], 0), Step::End));
        assert!(matches!(look(&[], 0), Step::End));
        assert!(matches!(look(&[0; 8], 16), Step::End));
        assert!(matches!(look(&[0; 8], 0), Step::Damage));
    }

    #[test]
    fn the_payload_is_behind_the_extended_items() {
        let mut bytes = event(0x13, 0, 80 + 24 + 16 + 4);
        bytes[4] = 1;
        bytes[80] = 24;
        bytes[84] = 1;
        bytes[104] = 16;
        bytes[120..].copy_from_slice(b"abcd");
        let Step::Event(head) = look(&bytes, 0) else {
            panic!()
        };
        assert_eq!(Event::parse(head, &bytes).unwrap().payload, b"abcd");
        bytes[104] = 0;
        assert!(Event::parse(head, &bytes).is_none(), "an item of no size");
        bytes[104] = 200;
        assert!(
            Event::parse(head, &bytes).is_none(),
            "an item beyond the event"
        );
    }

    #[test]
    fn a_message_says_which_fields_it_has() {
        let mut bytes = vec![0; 40];
        bytes[..8].copy_from_slice(&[40, 0, 0, 0x90, 7, 0, 0x0B, 0]);
        bytes[12] = 9;
        bytes[28] = 5;
        let Step::Event(head) = look(&bytes, 0) else {
            panic!()
        };
        assert_eq!(head.stamp, Some(5));
        let message = Event::parse(head, &bytes).unwrap();
        assert_eq!((message.id, message.provider.0[0]), (7, 9));
    }
}
