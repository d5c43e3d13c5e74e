//! What a capture says of a packet beside its bytes: the process that sent it, which way it went, what a
//! person wrote on it, that the system dropped it.
//!
//! Most captures say none of it, and then it costs a look at an empty list. Texts stay in the block's
//! bytes; only [`crate::record`] copies them.

use super::block::Block;

/// Which way a packet went, as seen from the recording machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// Why and where the system dropped a packet; what the numbers mean depends on the system's build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropCause {
    /// Why.
    pub reason: u32,
    /// Where.
    pub location: u32,
}

/// What is known of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// The process that sent it, 0 where unknown.
    pub process_id: u32,
    /// Which way it went.
    pub way: Option<Way>,
    /// The system dropped it.
    pub dropped: Option<DropCause>,
    /// It was shown before, under the same number: only what is said of it here is new.
    pub repeated: bool,
    /// Somebody wrote a comment on it.
    pub commented: bool,
}

/// Text on a packet, in the bytes of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommentAt {
    /// Index of the packet in the block.
    pub packet: u32,
    /// Where the text begins in the block.
    pub offset: u32,
    /// Its length in bytes.
    pub length: u32,
}

/// A packet of a block of which more is known than its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'a> {
    block: &'a Block,
    extra: &'a Extra,
    index: u32,
}

impl<'a> Noted<'a> {
    /// What is known.
    pub fn extra(self) -> &'a Extra {
        self.extra
    }

    /// The comments on it.
    pub fn comments(self) -> impl Iterator<Item = &'a [u8]> {
        let comments = if self.extra.commented {
            &self.block.comments[..]
        } else {
            &[]
        };
        let start = comments.partition_point(|comment| comment.packet < self.index);
        comments
            .iter()
            .skip(start)
            .take_while(move |comment| comment.packet == self.index)
            .filter_map(move |comment| {
                let offset = comment.offset as usize;
                (self.block.bytes).get(offset..offset + comment.length as usize)
            })
    }
}

impl Block {
    /// What is known of a packet beside its bytes; `None` where nothing is.
    #[inline]
    pub fn noted(&self, index: usize) -> Option<Noted<'_>> {
        if self.extras.is_empty() {
            return None;
        }
        let extra = self.extras.get(index)?;
        (*extra != Extra::default()).then_some(Noted {
            block: self,
            extra,
            index: index as u32,
        })
    }

    /// Was this packet shown before?
    #[inline]
    pub fn is_repeated(&self, index: usize) -> bool {
        self.repeated > 0 && self.extras.get(index).is_some_and(|extra| extra.repeated)
    }

    /// What is known of the packet that was pushed last, to be filled in.
    pub fn last_extra(&mut self) -> Option<&mut Extra> {
        self.extras.resize(self.packets.len(), Extra::default());
        self.extras.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::{LinkType, Packet};
    use super::*;

    fn packet(frame: u64) -> Packet {
        Packet {
            offset: 0,
            captured_len: 0,
            original_len: 0,
            interface: 0,
            link: LinkType::ETHERNET,
            time_ns: 0,
            frame,
        }
    }

    #[test]
    fn extras_belong_to_their_packets() {
        let mut block = Block {
            bytes: b"..one.two".to_vec(),
            ..Block::default()
        };
        block.packets.push(packet(1));
        assert!(block.noted(0).is_none());
        block.packets.extend([packet(2), packet(3)]);
        let extra = block.last_extra().unwrap();
        (extra.process_id, extra.commented) = (7, true);
        for (offset, length) in [(2, 3), (6, 3), (8, 99)] {
            block.comments.push(CommentAt {
                packet: 2,
                offset,
                length,
            });
        }
        block.packets.push(packet(4));
        assert!(block.noted(0).is_none() && block.noted(1).is_none() && block.noted(3).is_none());
        let noted = block.noted(2).unwrap();
        assert_eq!(noted.extra().process_id, 7);
        assert_eq!(
            noted.comments().collect::<Vec<_>>(),
            [&b"one"[..], &b"two"[..]]
        );
        assert!(!block.is_repeated(2));
    }
}
