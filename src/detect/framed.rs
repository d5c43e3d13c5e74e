//! TLS inside the packets of another protocol: takes it out, for both directions.

use super::{openvpn, tds};
use crate::flow::{Answer, Direction, Lent};

/// Which packets TLS stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// PRELOGIN packets of SQL Server.
    Tds,
    /// Packets of OpenVPN's control channel.
    OpenVpn,
}

/// What stands at the start of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// A packet.
    Whole {
        /// Its whole length.
        length: usize,
        /// The TLS in it.
        payload: &'a [u8],
        /// Another TLS begins with it.
        anew: bool,
    },
    /// So many bytes are needed to tell.
    Need(usize),
    /// TLS that stands by itself from here on.
    Bare,
    /// Nothing that can be read.
    Broken,
}

/// The start of a TLS record.
pub(super) fn is_tls(body: &[u8]) -> bool {
    matches!(body, [0x14..=0x17, 3, 0..=4, ..])
}

/// What reads the TLS; `true`: another TLS session begins with these bytes.
pub type Reader<'r> = dyn FnMut(Lent<'_>, bool) -> Answer + 'r;

/// Takes TLS out of the packets around it, for both directions.
#[derive(Debug)]
pub struct Unframer {
    framing: Framing,
    halves: [Half; 2],
    /// OpenVPN: length of the part of `tls-auth`.
    extra: Option<usize>,
}

#[derive(Debug, Default)]
struct Half {
    inner: Inner,
    /// The packets have ended; TLS records stand by themselves.
    bare: bool,
    /// The start of the first packet, which was read before TLS was found in it.
    front: Vec<u8>,
}

impl Unframer {
    /// One for these packets.
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            halves: Default::default(),
            extra: None,
        }
    }

    /// The first packet of a direction begins with these bytes, which are not lent again.
    pub(super) fn begin_with(&mut self, direction: Direction, front: Vec<u8>) {
        self.halves[direction as usize].front = front;
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let waiting = self.halves.iter().map(|half| half.inner.heap_bytes());
        size_of::<Self>() + waiting.sum::<usize>()
    }

    /// Takes bytes of a direction; lends TLS to `reader`, and answers in its stead.
    pub fn read(
        &mut self,
        direction: Direction,
        lent: &Lent<'_>,
        reader: &mut Reader<'_>,
    ) -> Answer {
        let mut front = core::mem::take(&mut self.halves[direction as usize].front);
        if front.is_empty() {
            return self.unframe(direction, lent, reader);
        }
        let mut bytes = front.clone();
        bytes.extend_from_slice(lent.bytes);
        let whole = Lent {
            bytes: &bytes,
            ..*lent
        };
        match self.unframe(direction, &whole, reader) {
            Answer::Need { used, more } if used < front.len() => {
                front.drain(..used);
                let more = more.saturating_sub(front.len()).max(1);
                self.halves[direction as usize].front = front;
                Answer::Need { used: 0, more }
            }
            Answer::Need { used, more } => Answer::Need {
                used: used - front.len(),
                more,
            },
            answer => answer,
        }
    }

    fn unframe(
        &mut self,
        direction: Direction,
        lent: &Lent<'_>,
        reader: &mut Reader<'_>,
    ) -> Answer {
        let half = &mut self.halves[direction as usize];
        if lent.after_gap && half.inner.segments > 0 {
            half.inner.void();
        }
        let mut used = 0;
        while !half.bare {
            let rest = lent.bytes.get(used..).unwrap_or(&[]);
            let packet = match self.framing {
                Framing::Tds => tds::unframe(rest),
                Framing::OpenVpn => openvpn::unframe(rest, &mut self.extra),
            };
            match packet {
                Packet::Whole {
                    length,
                    payload,
                    anew,
                } => {
                    if anew {
                        half.inner.begin_again();
                    }
                    used += length;
                    if !payload.is_empty() {
                        half.inner.segments += lent.segments;
                        if half.inner.take(payload, lent, reader) == Answer::Done {
                            return Answer::Done;
                        }
                    }
                }
                Packet::Need(more) => return Answer::Need { used, more },
                Packet::Broken => return Answer::Broken,
                Packet::Bare => {
                    half.bare = true;
                    half.inner = Inner::default();
                }
            }
        }
        let bare = Lent {
            bytes: lent.bytes.get(used..).unwrap_or(&[]),
            ..*lent
        };
        match reader(bare, false) {
            Answer::Need { used: inner, more } => Answer::Need {
                used: used + inner,
                more,
            },
            answer => answer,
        }
    }
}

/// One direction's TLS, out of its packets.
#[derive(Debug, Default)]
pub struct Inner {
    /// TLS bytes that the reader has not used yet.
    bytes: Vec<u8>,
    /// Bytes that the reader wants to pass over.
    skip: usize,
    /// Packets that they came in.
    pub segments: u32,
    anew: bool,
}

/// Bytes of TLS that wait for the rest of their record.
const WAITING_BYTES_MAX: usize = 64 << 10;

impl Inner {
    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes are missing.
    fn void(&mut self) {
        self.bytes.clear();
        self.skip = 0;
    }

    /// Another TLS session begins.
    pub fn begin_again(&mut self) {
        self.void();
        self.anew = true;
    }

    /// Takes what a packet held; lends it to `reader` with what waited before it.
    pub fn take(&mut self, body: &[u8], lent: &Lent<'_>, reader: &mut Reader<'_>) -> Answer {
        let skipped = self.skip.min(body.len());
        self.skip -= skipped;
        self.bytes
            .extend_from_slice(body.get(skipped..).unwrap_or(&[]));
        if self.bytes.is_empty() {
            return Answer::Broken;
        }
        let whole = Lent {
            bytes: &self.bytes,
            segments: self.segments,
            after_gap: false,
            ..*lent
        };
        let answer = reader(whole, core::mem::take(&mut self.anew));
        match answer {
            Answer::Need { used, .. } if used < self.bytes.len() => {
                self.bytes.drain(..used);
                if used > 0 {
                    self.segments = 0;
                }
                if self.bytes.len() > WAITING_BYTES_MAX {
                    return Answer::Done;
                }
            }
            Answer::Need { used, .. } => {
                self.skip = used - self.bytes.len();
                self.bytes.clear();
                self.segments = 0;
            }
            Answer::Done => return Answer::Done,
            Answer::Broken => self.bytes.clear(),
        }
        answer
    }
}
