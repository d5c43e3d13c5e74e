//! What the capture said of a conversation's packets beside their bytes, until the record is written.

use crate::capture::{
    catalog::Catalog,
    extra::{DropCause, Noted, Way},
};
use crate::flow::Direction;
use crate::limits::Limits;
use crate::packet::Undelivered;
use crate::record::{
    Comment, ConnectionDirection, DroppedPacket, IcmpError, Recording, Side, copy::text,
};
use crate::stats::{Counters, Skip};

/// Remarks on one conversation; most have none.
#[derive(Debug, Default)]
pub(super) struct Remarks(Option<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    process_id: u32,
    /// Whose packets the recording machine sent.
    local: Option<Direction>,
    comments: Vec<Comment>,
    drops: Vec<Dropped>,
    /// The first segment of which ICMP says that it was not delivered: its sender, and the frame that says so.
    undelivered: Option<(Direction, Undelivered, u64)>,
}

#[derive(Debug)]
struct Dropped {
    frame: u64,
    from: Direction,
    payload_bytes: u32,
    cause: DropCause,
}

impl Remarks {
    /// Is there anything new in what is said of a packet? Where each packet has the same, most have not.
    #[inline]
    pub(super) fn lacks(&self, noted: Noted<'_>) -> bool {
        let extra = noted.extra();
        let Some(kept) = &self.0 else { return true };
        extra.commented
            || extra.dropped.is_some()
            || (extra.process_id != 0 && kept.process_id == 0)
            || (extra.way.is_some() && kept.local.is_none())
    }

    /// Keeps what is said of a packet.
    #[cold]
    pub(super) fn take(
        &mut self,
        noted: Noted<'_>,
        direction: Direction,
        frame: u64,
        payload_bytes: usize,
        limits: &Limits,
        counters: &mut Counters,
    ) {
        let extra = noted.extra();
        let kept = self.0.get_or_insert_default();
        if kept.process_id == 0 {
            kept.process_id = extra.process_id;
        }
        if kept.local.is_none() {
            kept.local = extra.way.map(|way| match way {
                Way::Out => direction,
                Way::In => direction.reverse(),
            });
        }
        for comment in noted.comments() {
            if kept.comments.len() >= limits.remarks_max {
                counters.skip(Skip::RemarkCap);
                continue;
            }
            let length = comment.len().min(limits.comment_bytes_max);
            kept.comments.push(Comment {
                frame,
                text: text(comment.get(..length).unwrap_or(comment)),
            });
        }
        if let Some(cause) = extra.dropped {
            if kept.drops.len() >= limits.remarks_max {
                counters.skip(Skip::RemarkCap);
                return;
            }
            kept.drops.push(Dropped {
                frame,
                from: direction,
                payload_bytes: u32::try_from(payload_bytes).unwrap_or(u32::MAX),
                cause,
            });
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| {
            let texts: usize = kept.comments.iter().map(|comment| comment.text.len()).sum();
            size_of::<Kept>()
                + texts
                + kept.comments.capacity() * size_of::<Comment>()
                + kept.drops.capacity() * size_of::<Dropped>()
        })
    }

    /// Keeps what ICMP says of a segment from this side; the first one tells enough.
    #[cold]
    pub(super) fn undelivered(&mut self, from: Direction, undelivered: &Undelivered, frame: u64) {
        let kept = self.0.get_or_insert_default();
        kept.undelivered.get_or_insert((from, *undelivered, frame));
    }

    /// What the record says of it, `client` being the client's direction.
    pub(super) fn icmp(&self, client: Direction) -> Option<IcmpError> {
        let (sender, undelivered, frame) = self.0.as_ref()?.undelivered?;
        Some(IcmpError {
            frame,
            from: undelivered.from,
            about: match sender == client {
                true => Side::Client,
                false => Side::Server,
            },
            kind: undelivered.kind,
            code: undelivered.code,
            mtu: undelivered.mtu,
        })
    }

    /// The process that sent the conversation's first packets.
    pub(super) fn process_id(&self) -> Option<u32> {
        let kept = self.0.as_ref()?;
        (kept.process_id != 0).then_some(kept.process_id)
    }

    /// What the record says of them, `client` being the client's direction.
    pub(super) fn recording(
        &self,
        client: Direction,
        (capture, interface): (u32, u32),
        names: &Catalog,
    ) -> Option<Box<Recording>> {
        let interface = names.interface(capture, interface);
        if self.0.is_none() && interface.is_none() {
            return None;
        }
        let mut recording = Recording {
            interface,
            ..Recording::default()
        };
        if let Some(kept) = &self.0 {
            recording.direction = kept.local.map(|local| {
                if local == client {
                    ConnectionDirection::Outbound
                } else {
                    ConnectionDirection::Inbound
                }
            });
            recording.comments.clone_from(&kept.comments);
            recording.drops = kept
                .drops
                .iter()
                .map(|dropped| dropped.told(client, capture, names))
                .collect();
        }
        (recording != Recording::default()).then(|| Box::new(recording))
    }
}

impl Dropped {
    fn told(&self, client: Direction, capture: u32, names: &Catalog) -> DroppedPacket {
        let DropCause { reason, location } = self.cause;
        DroppedPacket {
            frame: self.frame,
            from: if self.from == client {
                Side::Client
            } else {
                Side::Server
            },
            payload_bytes: self.payload_bytes,
            reason,
            reason_text: names.drop_reason(capture, reason).map(Into::into),
            location: format!("0x{location:08x}").into(),
        }
    }
}
