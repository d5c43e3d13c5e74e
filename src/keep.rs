//! Which packets are handshakes: the ones that are kept when the rest must not be.
//!
//! A packet is kept with its headers and with what it holds of hellos, alerts and the other records of a handshake. The
//! payload ends behind the header of the first record of application data (type 23), so no byte of one is ever kept, also
//! not encrypted: under TLS 1.3 this takes the encrypted rest of the handshake away, too, for both look alike. Of what is
//! said in clear before TLS (STARTTLS, proxies), and of packets that open or close a connection, the headers are kept.
//!
//! Record headers are followed by sequence numbers, over holes and repetitions: a packet behind a hole waits until it is
//! filled. So do packets of a connection until its hello comes. What waits is capped, and the oldest gives way.
//!
//! ```text
//!   SYN, SYN-ACK … wait │ hello: all that waited is kept │ 22 22 20 22 │ 23 ← end
//! ```

use crate::capture::{LinkType, Packet};
use crate::connection::datagrams::{First, first};
use crate::detect::{self, Verdict};
use crate::flow::{Direction, EntryId, FlowKey, Seq, Table};
use crate::packet::{Datagram, Segment};
use crate::quic::{
    header::LongHeader,
    version::{PacketType, Version},
};
use crate::tls::record::{HEADER_BYTES, kind};

/// Packets of one connection that wait.
const WAITING_MAX: usize = 64;
/// Segments in one of which TLS must begin.
const SEARCHES_MAX: u8 = 64;
/// A connection without a packet for this long is forgotten.
const IDLE_NS: i64 = 60_000_000_000;
/// Bytes that the bookkeeping of a waiting packet takes beside its own.
const PACKET_COST: usize = size_of::<Waiting>();

/// A packet that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPacket {
    /// Its number in the run.
    pub order: u64,
    /// Which capture of the run.
    pub capture: u32,
    /// Nanoseconds since 1970-01-01 UTC.
    pub time_ns: i64,
    /// What its first header is.
    pub link: LinkType,
    /// Bytes on the wire.
    pub original_len: u32,
    /// Its first bytes.
    pub bytes: Box<[u8]>,
}

/// A packet as it comes.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Number in the run.
    pub order: u64,
    /// Which capture of the run.
    pub capture: u32,
    /// What the capture says of it.
    pub packet: &'a Packet,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Seen<'_> {
    fn kept(&self, length: usize) -> KeptPacket {
        KeptPacket {
            order: self.order,
            capture: self.capture,
            time_ns: self.packet.time_ns,
            link: self.packet.link,
            original_len: self.packet.original_len,
            bytes: self.bytes.get(..length).unwrap_or(self.bytes).into(),
        }
    }

    /// Bytes of the packet in front of its payload.
    fn head(&self, payload: &[u8]) -> usize {
        let offset = payload
            .as_ptr()
            .addr()
            .wrapping_sub(self.bytes.as_ptr().addr());
        if payload.is_empty() {
            self.bytes.len()
        } else {
            offset.min(self.bytes.len())
        }
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Side {
    /// Where its TLS begins.
    start: Option<Seq>,
    /// The next record, and what is known of its header.
    next: Seq,
    header: [u8; HEADER_BYTES],
    have: u8,
    /// Nothing behind this is kept.
    end: Option<Seq>,
    closed: bool,
}

impl Side {
    /// Follows the records that begin in this segment.
    fn walk(&mut self, at: Seq, payload: &[u8]) {
        while self.start.is_some() && self.end.is_none() {
            let ahead = self.next.plus(usize::from(self.have)).ahead_of(at);
            let Some(fresh) = usize::try_from(ahead)
                .ok()
                .and_then(|ahead| payload.get(ahead..))
                .filter(|fresh| !fresh.is_empty())
            else {
                return;
            };
            let room = self
                .header
                .get_mut(usize::from(self.have)..)
                .unwrap_or(&mut []);
            for (slot, byte) in room.iter_mut().zip(fresh) {
                *slot = *byte;
                self.have += 1;
            }
            if usize::from(self.have) == HEADER_BYTES {
                self.record();
            }
        }
    }

    /// The next record's header is known.
    fn record(&mut self) {
        self.have = 0;
        let [type_, major, _, high, low] = self.header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        match type_ {
            kind::CHANGE_CIPHER_SPEC | kind::ALERT | kind::HANDSHAKE if major == 3 => {
                self.next = self.next.plus(HEADER_BYTES + length);
            }
            kind::APPLICATION_DATA => self.end = Some(self.next.plus(HEADER_BYTES)),
            // A hello in the format of SSL 2.0 may come first.
            0x80..=0xFF if self.start == Some(self.next) => {
                let length = usize::from(u16::from_be_bytes([type_ & 0x7F, major]));
                self.next = self.next.plus(2 + length);
            }
            _ => self.end = Some(self.next),
        }
    }

    /// How much of a segment's payload is handshake; `None`: what is in front of it is missing.
    fn part(&self, at: Seq, length: usize) -> Option<usize> {
        let start = self.start?;
        if at.plus(length).ahead_of(start) <= 0 {
            return Some(0); // said before TLS
        }
        let known = self
            .end
            .unwrap_or_else(|| self.next.plus(usize::from(self.have)));
        match usize::try_from(known.ahead_of(at)) {
            Ok(part) if part >= length => Some(length),
            part if self.end.is_some() => Some(part.unwrap_or(0)),
            _ => None,
        }
    }
}

/// A packet whose part is not known yet.
#[derive(Debug)]
struct Waiting {
    kept: KeptPacket,
    direction: Direction,
    at: Seq,
    head: usize,
    payload: usize,
    /// It opens or closes the connection, or answers one that does.
    control: bool,
}

#[derive(Debug, Default)]
struct Conversation {
    sides: [Side; 2],
    waiting: Vec<Waiting>,
    tls: bool,
    searches: u8,
    last_ns: i64,
}

impl Conversation {
    fn held(&self) -> usize {
        let bytes = self.waiting.iter().map(|waiting| waiting.kept.bytes.len());
        bytes.sum::<usize>() + self.waiting.capacity() * PACKET_COST
    }

    /// TLS may begin with this payload.
    fn begins(&mut self, direction: Direction, at: Seq, payload: &[u8]) {
        let side = &mut self.sides[direction as usize];
        if side.start.is_some() {
            return;
        }
        let hello = detect::detect(payload, self.searches > 0) == Verdict::Tls;
        let answer =
            self.tls && matches!(payload, [kind::CHANGE_CIPHER_SPEC..=kind::HANDSHAKE, 3, ..]);
        if hello || answer {
            (side.start, side.next) = (Some(at), at);
            self.tls = true;
        } else {
            self.searches = self.searches.saturating_add(1);
        }
    }

    /// What waited behind a hole is followed further, and so on.
    fn follow(&mut self) {
        let place = |sides: &[Side; 2]| sides.each_ref().map(|side| (side.next, side.end));
        for _ in 0..self.waiting.len() {
            let before = place(&self.sides);
            for waiting in &self.waiting {
                let payload = waiting.kept.bytes.get(waiting.head..).unwrap_or(&[]);
                self.sides[waiting.direction as usize].walk(waiting.at, payload);
            }
            if before == place(&self.sides) {
                return;
            }
        }
    }

    /// Hands over what is decided.
    fn settle(&mut self, out: &mut Vec<KeptPacket>) {
        if !self.tls {
            return;
        }
        let handshaking = self.sides.iter().all(|side| side.end.is_none());
        let sides = &self.sides;
        let decided = self.waiting.extract_if(.., |waiting| {
            let side = &sides[waiting.direction as usize];
            let nothing = waiting.payload == 0 || (side.start.is_none() && !handshaking);
            let part = if nothing {
                Some(0)
            } else {
                side.part(waiting.at, waiting.payload)
            };
            let Some(part) = part else {
                return false;
            };
            let whole = waiting.head + waiting.payload;
            let length = waiting.head + part;
            if length < whole {
                let mut bytes = core::mem::take(&mut waiting.kept.bytes).into_vec();
                bytes.truncate(length);
                waiting.kept.bytes = bytes.into();
            }
            true
        });
        out.extend(
            decided
                .filter(|waiting| {
                    let side = &sides[waiting.direction as usize];
                    waiting.control
                        || waiting.kept.bytes.len() > waiting.head
                        || (waiting.payload == 0 && handshaking)
                        || side
                            .start
                            .is_some_and(|start| waiting.at.ahead_of(start) < 0)
                })
                .map(|waiting| waiting.kept),
        );
    }

    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.sides.iter().all(|side| side.closed)
    }
}

/// Picks the packets of handshakes out of one part of all conversations.
#[derive(Debug, Default)]
pub struct Keeper {
    table: Table<Conversation>,
    held_bytes: usize,
    /// Packets that gave way before it was known whether they are handshakes.
    pub given_up: u64,
}

impl Keeper {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.held_bytes
    }

    /// The conversation of a segment; only a SYN or a hello begins one.
    fn entry(&mut self, key: FlowKey, segment: &Segment<'_>, seen: &Seen<'_>) -> Option<EntryId> {
        let flags = segment.flags;
        let opens = flags.syn() && !flags.ack();
        if let Some((id, old)) = self.table.find_mut(&key) {
            if !opens || !old.tls {
                return Some(id);
            }
            self.forget(id);
        }
        let hello = detect::detect(segment.payload, false) == Verdict::Tls;
        let due_ns = seen.packet.time_ns.saturating_add(IDLE_NS);
        (flags.syn() || hello).then(|| self.table.insert(key, Conversation::default(), due_ns))
    }

    /// Takes a TCP segment. What is kept, of this packet or of earlier ones, goes to `out`.
    pub fn take(
        &mut self,
        key: FlowKey,
        direction: Direction,
        segment: &Segment<'_>,
        seen: &Seen<'_>,
        bytes_max: usize,
        out: &mut Vec<KeptPacket>,
    ) {
        let Some(id) = self.entry(key, segment, seen) else {
            return;
        };
        let Some(conversation) = self.table.get_mut(id) else {
            return;
        };
        let flags = segment.flags;
        let before = conversation.held();
        conversation.last_ns = seen.packet.time_ns;
        let at = Seq(segment.sequence).plus(usize::from(flags.syn()));
        if !segment.payload.is_empty() {
            conversation.begins(direction, at, segment.payload);
            conversation.sides[direction as usize].walk(at, segment.payload);
        }
        let control = flags.syn() || flags.fin() || flags.rst();
        for (index, side) in conversation.sides.iter_mut().enumerate() {
            side.closed |= flags.rst() || (flags.fin() && index == direction as usize);
        }
        let over = conversation.sides[direction as usize]
            .end
            .is_some_and(|end| at.ahead_of(end) >= 0);
        if control || !over {
            let head = seen.head(segment.payload);
            conversation.waiting.push(Waiting {
                kept: seen.kept(head + segment.payload.len()),
                direction,
                at,
                head,
                payload: segment.payload.len(),
                control,
            });
        }
        conversation.follow();
        conversation.settle(out);
        if conversation.waiting.len() > WAITING_MAX {
            let excess = conversation.waiting.len() - WAITING_MAX;
            conversation.waiting.drain(..excess);
            self.given_up += excess as u64;
        }
        let lost = !conversation.tls && conversation.searches > SEARCHES_MAX;
        let (after, over) = (conversation.held(), conversation.is_over());
        self.held_bytes = (self.held_bytes + after).saturating_sub(before);
        if lost || over {
            self.forget(id);
        }
        while self.bytes() > bytes_max && !self.table.is_empty() {
            self.make_room();
        }
    }

    /// Takes a UDP datagram: Initial, Handshake, Retry and Version Negotiation packets of QUIC, and handshake records of
    /// DTLS are kept, up to the first thing in it that is none.
    pub fn take_datagram(
        &self,
        datagram: &Datagram<'_>,
        seen: &Seen<'_>,
        out: &mut Vec<KeptPacket>,
    ) {
        let part = match (first(datagram), datagram.payload) {
            (First::Dtls | First::Later, [20..=22, ..]) => part_of_dtls(datagram.payload),
            (First::Quic | First::Later, [0x80..=0xFF, ..]) => part_of_quic(datagram.payload),
            _ => 0,
        };
        if part > 0 {
            out.push(seen.kept(seen.head(datagram.payload) + part));
        }
    }

    /// Forgets connections that were silent for long; called at block boundaries.
    pub fn tick(&mut self, now_ns: i64) {
        for id in self.table.due(now_ns) {
            let Some(conversation) = self.table.get_mut(id) else {
                continue;
            };
            let due_ns = conversation.last_ns.saturating_add(IDLE_NS);
            if due_ns <= now_ns {
                self.forget(id);
            } else {
                self.table.look_at(id, due_ns);
            }
        }
    }

    fn forget(&mut self, id: EntryId) {
        if let Some((_, conversation)) = self.table.remove(id) {
            self.held_bytes = self.held_bytes.saturating_sub(conversation.held());
            if conversation.tls {
                self.given_up += conversation.waiting.len() as u64;
            }
        }
    }

    /// About the oldest connections give way.
    #[cold]
    fn make_room(&mut self) {
        let (_, ids) = self.table.oldest();
        for id in ids {
            self.table.looked_at();
            if let Some(conversation) = self.table.get_mut(id) {
                let waiting = conversation.waiting.len() as u64;
                self.given_up += if conversation.tls { 0 } else { waiting };
            }
            self.forget(id);
        }
    }
}

/// Records 20 to 22 of DTLS up to the first other one (RFC 6347 section 4.1).
fn part_of_dtls(payload: &[u8]) -> usize {
    let mut rest = payload;
    while let Some((&[20..=22, 0xFE | 0x01, _, .., high, low], after)) =
        rest.split_first_chunk::<13>()
    {
        let length = usize::from(u16::from_be_bytes([high, low]));
        rest = after.get(length..).unwrap_or(&[]);
    }
    payload.len() - rest.len()
}

/// Packets with long headers up to the first of 0-RTT or with a short one (RFC 9000 section 12.2).
fn part_of_quic(payload: &[u8]) -> usize {
    let mut rest = payload;
    while let Some(header) = LongHeader::parse(rest) {
        if header.version == Version::NEGOTIATION {
            return payload.len();
        }
        let protected = match header.packet_type() {
            PacketType::Initial => header.initial(),
            PacketType::Handshake => header.protected(),
            PacketType::ZeroRtt => break,
            // It takes the rest of the datagram.
            PacketType::Retry => return payload.len(),
        };
        rest = protected.map_or(&[][..], |protected| protected.after);
    }
    payload.len() - rest.len()
}
