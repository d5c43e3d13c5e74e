//! One direction of a DTLS handshake: pieces become messages, messages leave in order.

use super::Told;
use super::fragments::{MESSAGE_HEADER_BYTES, Piece, WAITING_MAX, Waiting};
use crate::tls::client_hello::{ClientHelloView, Extensions};
use crate::tls::code_points::HandshakeType;
use crate::tls::handshake::{Event, MachineLimits, event};
use crate::tls::message::Message;
use crate::tls::wire::vec8;

/// connection_id, the extension.
const CONNECTION_ID: u16 = 54;

#[derive(Debug)]
pub(super) struct Half<P> {
    /// Number of the next message; not known before the first hello.
    next: Option<u16>,
    pub(super) waiting: Vec<Waiting<P>>,
    pub(super) messages: u32,
    pub(super) change_cipher_spec: bool,
    /// A ServerHello left: another one with an old number is a repetition.
    server_hello: bool,
    /// Records of the application's epoch were seen (DTLS 1.3).
    application: bool,
    /// Random of the last ClientHello: a repeated one is no new handshake.
    random: Option<[u8; 32]>,
    /// Length of the connection id that this side asked to be sent.
    pub(super) cid_bytes: Option<usize>,
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

impl<P: Copy> Half<P> {
    /// A first ClientHello with another random, where one was seen before.
    pub(super) fn is_new_handshake(&self, piece: &Piece<'_>) -> bool {
        let random = piece.bytes.get(2..34);
        piece.kind == HandshakeType::CLIENT_HELLO.0
            && piece.offset == 0
            && self.next.is_some_and(|next| piece.sequence < next)
            && matches!((random, &self.random), (Some(new), Some(old)) if new != old)
    }

    pub(super) fn hidden(
        &mut self,
        epoch: Option<u8>,
        length: usize,
        one: &mut impl FnMut(Event<'_>),
    ) {
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

    pub(super) fn piece(
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

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.waiting
            .iter()
            .map(|one| size_of::<Waiting<P>>() + one.body.capacity() + 16 * one.pieces.len())
            .sum()
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
    pub(super) fn flush(&mut self, each: &mut dyn FnMut(Told<'_, P>)) {
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
