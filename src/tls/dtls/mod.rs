//! DTLS 1.0, 1.2 and 1.3: datagrams in, events out (RFC 6347, RFC 9147; connection ids: RFC 9146).
//!
//! ```text
//! datagram │ record: type, version, epoch, number, length │ fragment │ record │ …
//! fragment │ message: type, length, message_seq, offset, fragment length │ bytes │ …
//! ```
//!
//! A message that lies whole in its record, and is the next of its direction, is lent from there. What
//! comes out of order or in pieces waits in a buffer with a cap. Messages leave in the order of their
//! numbers, each with the place of the datagram that completed it. A number that never came holds
//! nothing back for good: at ChangeCipherSpec and at the end, what is whole leaves without it.

mod fragments;
mod half;
mod record;
#[cfg(test)]
mod tests;

pub use record::is_version;

use super::handshake::{Event, MachineLimits};
use super::record::kind;
use crate::flow::Direction;
use fragments::Piece;
use half::Half;
use record::{HEADER_BYTES, Record};

/// Does a datagram begin with a DTLS record in clear? Handshake records in epoch 0 begin a conversation.
#[inline]
pub fn begins_handshake(datagram: &[u8]) -> bool {
    matches!(datagram, [kind::HANDSHAKE, major, minor, 0, 0, ..] if is_version(*major, *minor))
        && matches!(
            datagram.get(HEADER_BYTES),
            Some(0..=6 | 8 | 11..=16 | 20..=24)
        )
}

/// One event: where it was seen, over how many datagrams, and what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told<'a, P> {
    /// Place of the datagram that completed it.
    pub place: P,
    /// Datagrams that it came in.
    pub datagrams: u32,
    /// It.
    pub event: Event<'a>,
    /// A ClientHello with another random than the last one: a new handshake on the same addresses.
    pub anew: bool,
}

/// Both directions of a DTLS conversation. `P` is the caller's idea of a place in the capture.
#[derive(Debug)]
pub struct Machine<P> {
    halves: [Half<P>; 2],
}

impl<P> Default for Machine<P> {
    fn default() -> Self {
        Self {
            halves: [Half::default(), Half::default()],
        }
    }
}

impl<P: Copy> Machine<P> {
    /// Reads a datagram.
    pub fn read(
        &mut self,
        direction: Direction,
        datagram: &[u8],
        place: P,
        limits: &MachineLimits,
        each: &mut dyn FnMut(Told<'_, P>),
    ) {
        let cid_bytes = self.halves[direction.reverse() as usize].cid_bytes;
        let mut rest = datagram;
        while let Some((record, after)) = Record::parse(rest, cid_bytes) {
            rest = after;
            self.record(direction, record, place, limits, each);
        }
    }

    /// The conversation is over: whole messages behind a missing one leave without it.
    pub fn end(&mut self, direction: Direction, each: &mut dyn FnMut(Told<'_, P>)) {
        self.halves[direction as usize].flush(each);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.halves.iter().map(Half::heap_bytes).sum()
    }

    fn record(
        &mut self,
        direction: Direction,
        record: Record<'_>,
        place: P,
        limits: &MachineLimits,
        each: &mut dyn FnMut(Told<'_, P>),
    ) {
        let mut one = |event: Event<'_>| {
            each(Told {
                place,
                datagrams: 1,
                event,
                anew: false,
            });
        };
        let half = &mut self.halves[direction as usize];
        match record {
            Record::Hidden { epoch, length } => half.hidden(epoch, length, &mut one),
            Record::Plain {
                kind: kind::HANDSHAKE,
                epoch: 0,
                version,
                fragment,
            } => self.handshake(direction, version, fragment, place, limits, each),
            Record::Plain {
                kind,
                epoch,
                fragment,
                ..
            } => match (kind, epoch) {
                (kind::CHANGE_CIPHER_SPEC, _) => {
                    half.flush(each);
                    half.change_cipher_spec = true;
                    each(Told {
                        place,
                        datagrams: 1,
                        event: Event::ChangeCipherSpec,
                        anew: false,
                    });
                }
                (kind::ALERT, 0) => match *fragment {
                    [level @ 1..=2, code] => one(Event::Alert { level, code }),
                    _ => one(Event::Malformed),
                },
                (kind::ALERT, _) => one(Event::EncryptedAlert {
                    start: fragment.first_chunk::<2>().copied(),
                }),
                (kind::HANDSHAKE, _) => one(Event::EncryptedHandshake),
                (kind::APPLICATION_DATA, _) => one(Event::ApplicationData {
                    length: fragment.len(),
                }),
                _ => {}
            },
        }
    }

    /// The messages of a record in clear.
    fn handshake(
        &mut self,
        direction: Direction,
        version: u16,
        mut fragment: &[u8],
        place: P,
        limits: &MachineLimits,
        each: &mut dyn FnMut(Told<'_, P>),
    ) {
        while let Some((piece, rest)) = Piece::parse(fragment, version) {
            fragment = rest;
            if self.halves[direction as usize].is_new_handshake(&piece) {
                self.halves = [Half::default(), Half::default()];
            }
            let half = &mut self.halves[direction as usize];
            if half.messages < limits.messages_max {
                half.piece(&piece, place, limits, each);
            }
        }
    }
}
