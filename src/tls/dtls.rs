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

use super::client_hello::{ClientHelloView, Extensions};
use super::code_points::HandshakeType;
use super::handshake::{Event, MachineLimits, event};
use super::message::Message;
use super::record::{FRAGMENT_MAX, kind};
use super::wire::{u16, vec8};
use crate::flow::Direction;

/// Bytes of a record header before DTLS 1.3 (and of clear records since).
pub const HEADER_BYTES: usize = 13;
/// Bytes of a message header.
const MESSAGE_HEADER_BYTES: usize = 12;
/// Messages of one direction that may wait.
const WAITING_MAX: usize = 16;
/// Separate pieces of one waiting message.
const PIECES_MAX: usize = 128;
/// Content type of records with a connection id (RFC 9146 section 4).
const TLS12_CID: u8 = 25;
/// connection_id, the extension.
const CONNECTION_ID: u16 = 54;

/// Does a datagram begin with a DTLS record in clear? Handshake records in epoch 0 begin a conversation.
#[inline]
pub fn begins_handshake(datagram: &[u8]) -> bool {
    matches!(datagram, [kind::HANDSHAKE, major, minor, 0, 0, ..] if is_version(*major, *minor))
        && matches!(
            datagram.get(HEADER_BYTES),
            Some(0..=6 | 8 | 11..=16 | 20..=24)
        )
}

/// DTLS 1.0 and 1.2, and what OpenSSL spoke before DTLS 1.0 was done.
#[inline]
pub fn is_version(major: u8, minor: u8) -> bool {
    matches!((major, minor), (0xfe, 0xfc..=0xff) | (1, 0))
}

/// A record, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record<'a> {
    /// With the header of DTLS 1.2: its content type is in clear.
    Plain {
        kind: u8,
        version: u16,
        epoch: u16,
        fragment: &'a [u8],
    },
    /// Content type encrypted; the two low bits of the epoch, where told.
    Hidden { epoch: Option<u8>, length: usize },
}

impl<'a> Record<'a> {
    /// Reads a record whose connection id, if it has one, takes `cid_bytes`.
    fn parse(bytes: &'a [u8], cid_bytes: Option<usize>) -> Option<(Self, &'a [u8])> {
        match *bytes.first()? {
            first @ 0x20..=0x3f => Self::unified(first, bytes, cid_bytes),
            TLS12_CID => {
                // Without the id's length all of the datagram is the record.
                let Some(cid_bytes) = cid_bytes else {
                    let length = bytes.len();
                    return Some((
                        Self::Hidden {
                            epoch: None,
                            length,
                        },
                        &[],
                    ));
                };
                let (rest, length) = u16(bytes.get(11 + cid_bytes..)?).ok()?;
                let length = usize::from(length);
                let record = Self::Hidden {
                    epoch: None,
                    length,
                };
                Some((record, rest.get(length..)?))
            }
            _ => Self::plain(bytes),
        }
    }

    fn plain(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [kind, major, minor, e1, e2, .., high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !is_version(major, minor) || !(20..=26).contains(&kind) || length > FRAGMENT_MAX {
            return None;
        }
        // A record that the snap length cut is read as far as it goes.
        let (fragment, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        let record = Self::Plain {
            kind,
            version: u16::from_be_bytes([major, minor]),
            epoch: u16::from_be_bytes([e1, e2]),
            fragment,
        };
        Some((record, rest))
    }

    /// `001CSLEE`, then id, number and length as the bits say (RFC 9147 section 4).
    fn unified(first: u8, bytes: &'a [u8], cid_bytes: Option<usize>) -> Option<(Self, &'a [u8])> {
        let epoch = Some(first & 3);
        let cid = if first & 0x10 != 0 {
            cid_bytes
        } else {
            Some(0)
        };
        let number = if first & 0x08 != 0 { 2 } else { 1 };
        let (Some(cid), true) = (cid, first & 0x04 != 0) else {
            let length = bytes.len();
            return Some((Self::Hidden { epoch, length }, &[]));
        };
        let (rest, length) = u16(bytes.get(1 + cid + number..)?).ok()?;
        let length = usize::from(length);
        Some((Self::Hidden { epoch, length }, rest.get(length..)?))
    }
}

/// A message that waits: for its other pieces, or for those before it.
#[derive(Debug)]
struct Waiting<P> {
    sequence: u16,
    kind: u8,
    version: u16,
    length: usize,
    body: Vec<u8>,
    /// Which parts of `body` are there: sorted, apart from one another.
    pieces: Vec<(usize, usize)>,
    datagrams: u32,
    /// Where its last piece was seen, once it is whole.
    complete: Option<P>,
}

impl<P: Copy> Waiting<P> {
    /// Adds a piece; first bytes win where pieces overlap.
    fn add(&mut self, offset: usize, bytes: &[u8], place: P) {
        if self.complete.is_some() {
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

#[derive(Debug)]
struct Half<P> {
    /// Number of the next message; not known before the first hello.
    next: Option<u16>,
    waiting: Vec<Waiting<P>>,
    messages: u32,
    change_cipher_spec: bool,
    /// A ServerHello left: another one with an old number is a repetition.
    server_hello: bool,
    /// Records of the application's epoch were seen (DTLS 1.3).
    application: bool,
    /// Random of the last ClientHello: a repeated one is no new handshake.
    random: Option<[u8; 32]>,
    /// Length of the connection id that this side asked to be sent.
    cid_bytes: Option<usize>,
}

impl<P> Default for Half<P> {
    fn default() -> Self {
        Self {
            next: None,
            waiting: Vec::new(),
            messages: 0,
            change_cipher_spec: false,
            server_hello: false,
            application: false,
            random: None,
            cid_bytes: None,
        }
    }
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
        let waiting = |half: &Half<P>| -> usize {
            half.waiting
                .iter()
                .map(|one| size_of::<Waiting<P>>() + one.body.capacity() + 16 * one.pieces.len())
                .sum()
        };
        self.halves.iter().map(waiting).sum()
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
            if piece.is_new_handshake(&self.halves[direction as usize]) {
                self.halves = [Half::default(), Half::default()];
            }
            let half = &mut self.halves[direction as usize];
            if half.messages < limits.messages_max {
                half.piece(&piece, place, limits, each);
            }
        }
    }
}

/// A message or a piece of one.
#[derive(Clone, Copy)]
struct Piece<'a> {
    kind: u8,
    version: u16,
    length: usize,
    sequence: u16,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    fn parse(fragment: &'a [u8], version: u16) -> Option<(Self, &'a [u8])> {
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

    fn is_whole(&self) -> bool {
        self.offset == 0 && self.bytes.len() == self.length
    }

    /// A first ClientHello with another random, where one was seen before.
    fn is_new_handshake<P>(&self, half: &Half<P>) -> bool {
        let random = self.bytes.get(2..34);
        self.kind == HandshakeType::CLIENT_HELLO.0
            && self.offset == 0
            && half.next.is_some_and(|next| self.sequence < next)
            && matches!((random, &half.random), (Some(new), Some(old)) if new != old)
    }
}

impl<P: Copy> Half<P> {
    fn hidden(&mut self, epoch: Option<u8>, length: usize, one: &mut impl FnMut(Event<'_>)) {
        match epoch {
            // Epoch 1 is early data, 2 the handshake, 3 and above the application.
            Some(2) if !self.application => one(Event::EncryptedHandshake),
            Some(0 | 1) if !self.application => {}
            None if !self.change_cipher_spec => {}
            _ => {
                self.application |= epoch.is_some();
                one(Event::ApplicationData { length });
            }
        }
    }

    fn piece(
        &mut self,
        piece: &Piece<'_>,
        place: P,
        limits: &MachineLimits,
        each: &mut dyn FnMut(Told<'_, P>),
    ) {
        if piece.length > limits.message_bytes_max {
            self.messages += 1;
            return each(Told {
                place,
                datagrams: 1,
                event: Event::TooLong,
                anew: false,
            });
        }
        if self.is_past(piece.kind, piece.sequence) {
            return;
        }
        if piece.is_whole() && self.is_next(piece.kind, piece.sequence) {
            let message = Message {
                kind: piece.kind,
                body: piece.bytes,
            };
            self.hand_out(message, piece.version, piece.sequence, place, 1, each);
        } else {
            self.park(piece, place, limits);
        }
        self.drain(each);
    }

    /// Was this message handed out already?
    fn is_past(&self, kind: u8, sequence: u16) -> bool {
        // Some servers number their ServerHello as the HelloVerifyRequest before it.
        let again = kind == HandshakeType::SERVER_HELLO.0 && !self.server_hello;
        self.next.is_some_and(|next| sequence < next) && !again
    }

    /// Without a number to go by, a hello is taken as the first message.
    fn is_next(&self, kind: u8, sequence: u16) -> bool {
        match self.next {
            Some(next) => sequence <= next,
            None => matches!(kind, 0..=3 | 6),
        }
    }

    fn park(&mut self, piece: &Piece<'_>, place: P, limits: &MachineLimits) {
        let held: usize = self.waiting.iter().map(|one| one.body.len()).sum();
        let known = self.waiting.iter().position(|one| {
            (one.sequence, one.kind, one.length) == (piece.sequence, piece.kind, piece.length)
        });
        if held + piece.bytes.len() > limits.message_bytes_max
            || (known.is_none() && self.waiting.len() >= WAITING_MAX)
        {
            return;
        }
        let at = known.unwrap_or_else(|| {
            let at = self
                .waiting
                .partition_point(|one| one.sequence <= piece.sequence);
            self.waiting.insert(
                at,
                Waiting {
                    sequence: piece.sequence,
                    kind: piece.kind,
                    version: piece.version,
                    length: piece.length,
                    body: Vec::new(),
                    pieces: Vec::new(),
                    datagrams: 0,
                    complete: None,
                },
            );
            at
        });
        if let Some(one) = self.waiting.get_mut(at)
            && one.pieces.len() < PIECES_MAX
            // A piece far behind what is there would make room for bytes that never came.
            && held + piece.offset.saturating_sub(one.body.len()) + piece.bytes.len()
                <= limits.message_bytes_max
        {
            one.add(piece.offset, piece.bytes, place);
        }
    }

    /// Hands out what has become whole and is next.
    fn drain(&mut self, each: &mut dyn FnMut(Told<'_, P>)) {
        while let Some(at) = self
            .waiting
            .iter()
            .position(|one| one.complete.is_some() && self.is_next(one.kind, one.sequence))
        {
            let one = self.waiting.remove(at);
            if !self.is_past(one.kind, one.sequence) {
                self.hand_out_waiting(&one, each);
            }
        }
    }

    /// Hands out all that is whole, and forgets the rest.
    fn flush(&mut self, each: &mut dyn FnMut(Told<'_, P>)) {
        for one in core::mem::take(&mut self.waiting) {
            if !self.is_past(one.kind, one.sequence) {
                self.hand_out_waiting(&one, each);
            }
        }
    }

    fn hand_out_waiting(&mut self, one: &Waiting<P>, each: &mut dyn FnMut(Told<'_, P>)) {
        if let Some(place) = one.complete {
            let message = Message {
                kind: one.kind,
                body: &one.body,
            };
            self.hand_out(
                message,
                one.version,
                one.sequence,
                place,
                one.datagrams,
                each,
            );
        }
    }

    fn hand_out(
        &mut self,
        message: Message<'_>,
        version: u16,
        sequence: u16,
        place: P,
        datagrams: u32,
        each: &mut dyn FnMut(Told<'_, P>),
    ) {
        self.next = Some(self.next.unwrap_or(0).max(sequence.saturating_add(1)));
        self.messages += 1;
        let mut anew = false;
        let event = match HandshakeType(message.kind) {
            HandshakeType::CLIENT_HELLO => {
                let Ok(hello) = ClientHelloView::parse_dtls(message.body) else {
                    return each(Told {
                        place,
                        datagrams,
                        event: Event::Malformed,
                        anew,
                    });
                };
                self.cid_bytes = connection_id_bytes(hello.extensions);
                let random = hello.random.first_chunk::<32>().copied();
                anew = random != self.random;
                self.random = random;
                Event::ClientHello {
                    hello,
                    record_version: Some(version),
                    length: (message.body.len() + MESSAGE_HEADER_BYTES) as u32,
                }
            }
            HandshakeType(3) => Event::HelloVerifyRequest,
            _ => event(Some(version), message),
        };
        if let Event::ServerHello(hello) = &event {
            self.server_hello |= !hello.retry;
            self.cid_bytes = connection_id_bytes(hello.extensions);
        }
        each(Told {
            place,
            datagrams,
            event,
            anew,
        });
    }
}

/// Length of the connection id that the sender of this hello wants to be sent.
fn connection_id_bytes(extensions: Extensions<'_>) -> Option<usize> {
    let extension = extensions
        .iter()
        .find(|extension| extension.kind == CONNECTION_ID)?;
    vec8(extension.body).ok().map(|(_, id)| id.len())
}
