//! The state machine of one QUIC conversation: datagrams in, TLS events out.
//!
//! The keys of Initial packets come from the id that the client's first one was sent to, and stay when
//! both sides have moved to other ids. They change with a Retry (the client begins again with the
//! server's new id), with a version (after a Version Negotiation, or within a handshake by RFC 9368),
//! and with another connection on the same addresses. Which of these it is shows when a packet does not
//! open with the keys at hand, and opens with those that its own id gives.

use super::frames::{Frame, frames};
use super::header::{CID_MAX, LongHeader, Protected};
use super::keys::{InitialKeys, retry_is_genuine};
use super::sealed::Sealed;
use super::stream::CryptoStream;
use super::version::{PacketType, Version};
use crate::flow::Direction;
use crate::tls::decrypt::Known;
use crate::tls::handshake::{Event, MachineLimits, event};
use crate::tls::message::{Assembler, Found};

/// Packets of one datagram.
const PACKETS_MAX: usize = 16;
/// Versions kept of a Version Negotiation.
const VERSIONS_MAX: usize = 16;
/// Bytes of CRYPTO frames that may wait for others before them.
pub(super) const WAITING_BYTES_MAX: usize = 64 << 10;

/// Can this datagram begin a conversation? An Initial packet of a version that can be read, or a full
/// datagram of a version that asks the server to negotiate.
#[inline]
pub fn begins(datagram: &[u8]) -> bool {
    let Some(&[first @ 0xc0..=0xff, a, b, c, d]) = datagram.first_chunk::<5>() else {
        return false;
    };
    let version = Version(u32::from_be_bytes([a, b, c, d]));
    version.packet_type(first) == PacketType::Initial
        && (version.salt().is_some() || (version.is_reserved() && datagram.len() >= 1200))
}

/// One event, and over how many packets it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told<'a> {
    /// Packets with CRYPTO frames since the last message.
    pub packets: u32,
    /// It.
    pub event: Event<'a>,
    /// A ClientHello with another random than the last one: another connection on the same addresses.
    pub anew: bool,
}

#[derive(Debug, Default)]
struct Half {
    stream: CryptoStream,
    assembler: Assembler,
    largest: Option<u64>,
    packets: u32,
    messages: u32,
}

/// What a connection shows beside its handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The version of the last packets.
    pub version: Option<Version>,
    /// The server sent a Retry.
    pub retry: bool,
    /// The versions that a Version Negotiation listed.
    pub offered: Vec<Version>,
    /// Who closed the connection inside an Initial packet, and the error code.
    pub close: Option<(Direction, u64)>,
}

/// Both directions of a QUIC conversation.
#[derive(Debug, Default)]
pub struct Machine {
    facts: Facts,
    /// Those of the connection before, when another one begins on the same addresses.
    before: Option<Facts>,
    /// The version of the last ClientHello.
    hello_version: Option<Version>,
    keys: Option<InitialKeys>,
    /// A packet was opened with these keys.
    confirmed: bool,
    /// The id that the keys come from.
    dcid: Box<[u8]>,
    client: Option<Direction>,
    halves: [Half; 2],
    /// Random of the last ClientHello.
    random: Option<[u8; 32]>,
    /// The client began its CRYPTO stream again, at the server's wish: the same hello, once more.
    repeats: bool,
    server_hello: bool,
    cut: bool,
    /// Handshake packets, where the session's secrets are known.
    sealed: Option<Box<Sealed>>,
}

impl Machine {
    /// What the connection shows beside its handshake.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The same of the connection before, once: to be asked for after a hello that began another one.
    pub fn take_before(&mut self) -> Option<Facts> {
        self.before.take()
    }

    /// An Initial packet was cut by the snap length.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let half = |half: &Half| half.stream.heap_bytes() + half.assembler.heap_bytes();
        let sealed = self.sealed.as_ref().map_or(0, |sealed| sealed.heap_bytes());
        let halves = self.halves.iter().map(half).sum::<usize>();
        halves + self.dcid.len() + 4 * self.facts.offered.capacity() + sealed
    }

    /// Reads a datagram; `scratch` is where packets are decrypted.
    pub fn read(
        &mut self,
        direction: Direction,
        datagram: &[u8],
        limits: &MachineLimits,
        known: Option<Known<'_>>,
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Told<'_>),
    ) {
        let mut rest = datagram;
        for _ in 0..PACKETS_MAX {
            match rest.first() {
                Some(0x40..=0x7f) if self.server_hello => {
                    let length = rest.len();
                    return each(plain(Event::ApplicationData { length }));
                }
                Some(0x80..=0xff) => {}
                _ => return,
            }
            let Some(header) = LongHeader::parse(rest) else {
                return;
            };
            match self.long(direction, rest, &header, limits, known, scratch, each) {
                Some(after) => rest = after,
                None => return,
            }
        }
    }

    /// Reads a packet with a long header; gives what follows it in the datagram.
    #[allow(clippy::too_many_arguments)]
    fn long<'a>(
        &mut self,
        direction: Direction,
        packet: &'a [u8],
        header: &LongHeader<'a>,
        limits: &MachineLimits,
        known: Option<Known<'_>>,
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Told<'_>),
    ) -> Option<&'a [u8]> {
        if header.version == Version::NEGOTIATION {
            if self.client == Some(direction.reverse()) && !self.confirmed_by_server() {
                self.facts.offered = header.offered_versions().take(VERSIONS_MAX).collect();
            }
            return None;
        }
        if header.version.is_reserved() && self.client.is_none() {
            self.client = Some(direction);
            self.facts.version = Some(header.version);
        }
        header.version.salt()?;
        if header.dcid.len() > CID_MAX || header.scid.len() > CID_MAX {
            return None;
        }
        match header.packet_type() {
            PacketType::Retry => {
                let from_server = self.client == Some(direction.reverse());
                let forged = retry_is_genuine(header.version, &self.dcid, packet) == Some(false);
                self.facts.retry |= from_server && !forged;
                None
            }
            PacketType::ZeroRtt => Some(header.protected()?.after),
            PacketType::Handshake => {
                let protected = header.protected()?;
                if self.server_hello {
                    each(plain(Event::EncryptedHandshake));
                    self.sealed(direction, packet, &protected, limits, scratch, each);
                }
                Some(protected.after)
            }
            PacketType::Initial => {
                let protected = header.initial()?;
                self.cut |= protected.cut;
                if let Some(at) = self.open(direction, packet, header, &protected, scratch) {
                    let payload = scratch.get(at..).unwrap_or(&[]);
                    self.frames(direction, payload, limits, known, each);
                }
                Some(protected.after)
            }
        }
    }

    /// Opens an Initial packet with the keys at hand, else with those that its own ids give. Gives where
    /// in `scratch` its frames begin.
    fn open(
        &mut self,
        direction: Direction,
        packet: &[u8],
        header: &LongHeader<'_>,
        protected: &Protected<'_>,
        scratch: &mut Vec<u8>,
    ) -> Option<usize> {
        let header_bytes = packet.len() - protected.bytes.len() - protected.after.len();
        let head = packet.get(..header_bytes)?;
        let from_client = self.client.is_none_or(|client| client == direction);
        let largest = self.halves[direction as usize].largest;
        let mut attempt = |keys: &mut InitialKeys, from_client: bool, largest: Option<u64>| {
            let keys = if from_client {
                keys.client()
            } else {
                keys.server()
            };
            keys.open(head, protected.bytes, largest, scratch)
        };
        let same = self.facts.version == Some(header.version);
        let known = if same {
            self.keys
        } else if self.keys.is_some() {
            // Another version within a handshake keeps the id (RFC 9368 section 4).
            InitialKeys::derive(header.version, &self.dcid)
        } else {
            None
        };
        if let Some(mut keys) = known
            && let Some((number, at)) = attempt(&mut keys, from_client, largest)
        {
            self.keys = Some(keys);
            self.facts.version = Some(header.version);
            self.opened(direction, number);
            return Some(at);
        }
        if self.confirmed && !from_client {
            return None;
        }
        let mut keys = InitialKeys::derive(header.version, header.dcid)?;
        let opened = attempt(&mut keys, true, None);
        if opened.is_none() && self.confirmed {
            return None;
        }
        // Unproven keys are kept where nothing better is known: the packet may be cut.
        if opened.is_some() || !same || self.keys.is_none() || from_client {
            self.repeats =
                !self.server_hello && (self.facts.retry || !self.facts.offered.is_empty());
            if self.server_hello {
                // Another connection.
                self.before = Some(core::mem::take(&mut self.facts));
                self.random = None;
                self.sealed = None;
            }
            self.keys = Some(keys);
            self.facts.version = Some(header.version);
            self.dcid = header.dcid.into();
            self.client = Some(direction);
            self.halves = Default::default();
            self.server_hello = false;
        }
        let (number, at) = opened?;
        self.opened(direction, number);
        Some(at)
    }

    fn opened(&mut self, direction: Direction, number: u64) {
        self.confirmed = true;
        let largest = &mut self.halves[direction as usize].largest;
        *largest = Some(largest.unwrap_or(0).max(number));
    }

    /// A Handshake packet.
    fn sealed(
        &mut self,
        direction: Direction,
        packet: &[u8],
        protected: &Protected<'_>,
        limits: &MachineLimits,
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Told<'_>),
    ) {
        let Some(sealed) = &mut self.sealed else {
            return;
        };
        let code = sealed.read(direction, packet, protected, limits, scratch, each);
        if let Some(code) = code {
            self.facts.close.get_or_insert((direction, code));
        }
    }

    fn frames(
        &mut self,
        direction: Direction,
        payload: &[u8],
        limits: &MachineLimits,
        known: Option<Known<'_>>,
        each: &mut dyn FnMut(Told<'_>),
    ) {
        let Self {
            halves,
            random,
            repeats,
            server_hello,
            facts,
            before,
            hello_version,
            sealed,
            ..
        } = self;
        let half = &mut halves[direction as usize];
        if half.messages > limits.messages_max {
            return;
        }
        let waiting_max = WAITING_BYTES_MAX.min(limits.message_bytes_max);
        let Half {
            stream,
            assembler,
            packets,
            messages,
            ..
        } = half;
        let mut counted = false;
        for frame in frames(payload) {
            let (offset, bytes) = match frame {
                Frame::Crypto { offset, bytes } => (offset, bytes),
                Frame::Close { code } => {
                    facts.close.get_or_insert((direction, code));
                    if let Ok(code @ 0x100..=0x1ff) = u16::try_from(code) {
                        let code = code.to_be_bytes()[1];
                        each(plain(Event::Alert { level: 2, code }));
                    }
                    continue;
                }
                Frame::Broken => {
                    each(plain(Event::Malformed));
                    continue;
                }
            };
            *packets += u32::from(!core::mem::replace(&mut counted, true));
            let kept = stream.push(offset, bytes, waiting_max, &mut |bytes| {
                assembler.feed(bytes, limits.message_bytes_max, &mut |found| {
                    let event = match found {
                        Found::Message(message) => event(None, message),
                        Found::Unknown => Event::Malformed,
                        Found::TooLong => Event::TooLong,
                    };
                    *messages += 1;
                    let packets = core::mem::take(packets).max(1);
                    let mut anew = false;
                    let current = facts.version;
                    match &event {
                        Event::ClientHello { hello, .. } => {
                            if core::mem::take(repeats) && random.is_some() {
                                return;
                            }
                            let this = hello.random.first_chunk::<32>().copied();
                            anew = *random != this;
                            if anew && random.is_some() {
                                // Another connection, before the server answered the last one.
                                let version = core::mem::take(hello_version);
                                let last = Facts {
                                    version,
                                    ..core::mem::take(facts)
                                };
                                before.get_or_insert(last);
                                facts.version = current;
                            }
                            *hello_version = facts.version;
                            *random = this;
                        }
                        Event::ServerHello(hello) => *server_hello |= !hello.retry,
                        _ => {}
                    }
                    let trouble = match (&event, known, *random, facts.version) {
                        (Event::ServerHello(hello), Some(known), Some(random), Some(version))
                            if !hello.retry =>
                        {
                            let (client, suite) = (direction.reverse(), hello.cipher_suite);
                            let made = Sealed::new(client, &random, suite, version, known);
                            made.map(|made| *sealed = Some(Box::new(made))).err()
                        }
                        _ => None,
                    };
                    each(Told {
                        packets,
                        event,
                        anew,
                    });
                    if let Some(trouble) = trouble {
                        each(plain(Event::Trouble(trouble)));
                    }
                });
            });
            if !kept {
                each(plain(Event::TooLong));
            }
        }
    }

    fn confirmed_by_server(&self) -> bool {
        self.client
            .is_some_and(|client| self.halves[client.reverse() as usize].largest.is_some())
    }
}

pub(super) fn plain(event: Event<'_>) -> Told<'_> {
    Told {
        packets: 1,
        event,
        anew: false,
    }
}
