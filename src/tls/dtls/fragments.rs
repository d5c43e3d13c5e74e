//! Handshake messages in pieces (RFC 6347 section 4.2.2).

/// Bytes of a message header.
pub(super) const MESSAGE_HEADER_BYTES: usize = 12;
/// Messages of one direction that may wait.
pub(super) const WAITING_MAX: usize = 16;
/// Separate pieces of one waiting message.
const PIECES_MAX: usize = 128;

/// A message that waits: for its other pieces, or for those before it.
#[derive(Debug)]
pub(super) struct Waiting<P> {
    pub(super) sequence: u16,
    pub(super) kind: u8,
    pub(super) version: u16,
    pub(super) length: usize,
    pub(super) body: Vec<u8>,
    /// Which parts of `body` are there: sorted, apart from one another.
    pub(super) pieces: Vec<(usize, usize)>,
    pub(super) datagrams: u32,
    /// Where its last piece was seen, once it is whole.
    pub(super) complete: Option<P>,
}

impl<P: Copy> Waiting<P> {
    /// Adds a piece; first bytes win where pieces overlap.
    pub(super) fn add(&mut self, offset: usize, bytes: &[u8], place: P) {
        if self.complete.is_some() || self.pieces.len() >= PIECES_MAX {
            return;
        }
        self.datagrams += 1;
        let end = offset + bytes.len();
        if self.body.len() < end {
            self.body.resize(end, 0);
        }
        let mut at = offset;
        let mut holes: Vec<(usize, usize)> = Vec::new();
        for &(from, to) in &self.pieces {
            if to <= at || from >= end {
                continue;
            }
            if from > at {
                holes.push((at, from));
            }
            at = to;
        }
        if at < end {
            holes.push((at, end));
        }
        for (from, to) in holes {
            let part = bytes.get(from - offset..to - offset);
            if let (Some(target), Some(part)) = (self.body.get_mut(from..to), part) {
                target.copy_from_slice(part);
            }
        }
        self.pieces.push((offset, end));
        self.pieces.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(self.pieces.len());
        for &(from, to) in &self.pieces {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        self.pieces = merged;
        if self.pieces == [(0, self.length)] {
            self.complete = Some(place);
        }
    }
}

/// A message or a piece of one.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) kind: u8,
    pub(super) version: u16,
    pub(super) length: usize,
    pub(super) sequence: u16,
    pub(super) offset: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    pub(super) fn parse(fragment: &'a [u8], version: u16) -> Option<(Self, &'a [u8])> {
        let (header, rest) = fragment.split_first_chunk::<MESSAGE_HEADER_BYTES>()?;
        let &[kind, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = header;
        let number = |a: u8, b: u8, c: u8| u32::from_be_bytes([0, a, b, c]) as usize;
        let (length, offset, here) = (number(l0, l1, l2), number(o0, o1, o2), number(f0, f1, f2));
        let (bytes, rest) = rest.split_at_checked(here)?;
        let piece = Self {
            kind,
            version,
            length,
            sequence: u16::from_be_bytes([s0, s1]),
            offset,
            bytes,
        };
        (offset + here <= length).then_some((piece, rest))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.offset == 0 && self.bytes.len() == self.length
    }
}
