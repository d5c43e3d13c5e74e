//! One conversation: its two streams → its protocol → events → its record. The only module that joins
//! stages 3 to 6.
//!
//! A conversation is opened by a SYN or by payload, and ends with a RST, with both FINs once all bytes
//! before them are there, by idleness, by a new SYN on the same addresses, or with the capture. It then
//! leaves its record and, for a while, a tombstone that catches late repetitions.

mod converse;
pub mod datagrams;
pub mod dns;
mod opened;
mod outcome;
mod pools;
mod remarks;
mod session;

pub use outcome::Ended;
pub use pools::Pools;

use crate::capture::{Catalog, Noted};
use crate::detect::{self, Talk, Verdict};
use crate::flow::{Answer, Direction, FlowKey, Lent, Seq, Stream, StreamLimits};
use crate::limits::Limits;
use crate::packet::{Encapsulation, Segment, Undelivered, duplicates::Copies, plain::Glimpse};
use crate::record::{Close, Handshake, Side, copy::Interner};
use crate::stats::{Counters, Skip};
use crate::tls::decrypt::Keyring;
use crate::tls::handshake::MachineLimits;
use remarks::Remarks;
use session::{Desk, Draft, Seen, Session};

/// What a conversation needs from its shard while it takes a packet.
pub struct Context<'a> {
    /// The caps.
    pub limits: &'a Limits,
    /// Names of the captures and of what is in them, by number.
    pub captures: &'a Catalog,
    /// Shapes seen before.
    pub interner: &'a mut Interner,
    /// The shard's counters.
    pub counters: &'a mut Counters,
    /// Where DNS messages go.
    pub dns: &'a mut dns::Desk,
    /// Records that are ready.
    pub records: &'a mut Vec<Finished>,
    /// Memory of conversations and records before.
    pub pools: &'a mut Pools,
    /// The conversation's endpoints, which only the table holds.
    pub key: FlowKey,
    /// Secrets, where the run has any.
    pub keys: &'a mut Keyring,
}

/// The packet that a conversation takes.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its time.
    pub time_ns: i64,
    /// Its number in its capture.
    pub frame: u64,
    /// Its number in the run.
    pub order: u64,
    /// Its capture.
    pub capture: u32,
    /// Where it was seen: tells interfaces, tags and tunnels apart.
    pub point: u32,
    /// Number of its capture's interface.
    pub interface: u32,
    /// What the capture says of it beside its bytes, if anything.
    pub noted: Option<Noted<'a>>,
}

impl Arrival<'_> {
    /// It was shown before; only what is said of it is new.
    pub fn is_repeated(&self) -> bool {
        self.noted.is_some_and(|noted| noted.extra().repeated)
    }
}

/// A record that is ready, and where it stands in the order of the output.
#[derive(Debug)]
pub struct Finished {
    /// Packet number that completed it, then the one that opened its conversation.
    pub order: (u64, u64),
    /// The record.
    pub record: Box<Handshake>,
    /// TLS was seen.
    pub tls: bool,
}

/// How the conversation stands.
#[derive(Debug, Default)]
enum Phase {
    /// Nothing told yet what it speaks.
    #[default]
    Opening,
    /// TLS.
    Tls(Box<Session>),
    /// The record is written; late packets come to nothing.
    Closed,
}

/// What a packet changed in a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grown {
    /// Bytes on the heap, more or less than before.
    pub bytes: isize,
    /// It is to be looked at sooner than before.
    pub due_sooner: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fin(Seq),
    /// With the position that it claims; who resets may not know it.
    Rst(Seq),
}

impl End {
    fn is_rst(self) -> bool {
        matches!(self, Self::Rst(_))
    }
}

/// A reset further behind the bytes that were seen than a window holds says nothing of what is missing in front of it.
const RESET_AHEAD_MAX: i32 = 1 << 18;

/// One TCP conversation.
#[derive(Debug)]
pub struct Connection {
    streams: [Stream; 2],
    start_ns: i64,
    last_ns: i64,
    created: u64,
    capture: u32,
    interface: u32,
    syn_frame: u64,
    syn_at: Seq,
    syn_ns: i64,
    syn_ack_ns: i64,
    established_ns: i64,
    close_frame: u64,
    close_ns: i64,
    /// Who sent the SYN, or else the first payload.
    opener: Option<Direction>,
    first_end: Option<(Direction, Close)>,
    ends: [Option<End>; 2],
    /// How far the first of them acknowledges the other side.
    end_acknowledges: Option<Seq>,
    syn_retransmits: u16,
    /// The sequence number behind the segment being taken.
    segment_end: Seq,
    /// What that segment acknowledges.
    segment_acknowledges: Option<Seq>,
    syn_ack_ttl: u8,
    close_ttl: u8,
    /// Maximum segment sizes that the opener and the other side announced; 0 where none.
    mss: [u16; 2],
    /// Bytes on the heap now, and when the shard was last told.
    weight: u32,
    weighed: u32,
    syn_seen: bool,
    syn_ack_seen: bool,
    payload_seen: [bool; 2],
    /// It said something that is no TLS.
    spoke_other: [bool; 2],
    /// Encrypted records were seen whose handshake was not.
    tls_before: bool,
    snapped: bool,
    /// Only the start of the ClientHello is in the capture.
    hello_cut: bool,
    /// A packet without flags of weight may pass: see [`Self::pass`].
    calm: bool,
    around: Option<Box<Encapsulation>>,
    copies: Copies,
    /// What was said before TLS; only where something else than TLS was spoken.
    talk: Option<Box<Talk>>,
    /// What the capture says beside the packets' bytes.
    remarks: Remarks,
    phase: Phase,
}

/// No time.
const UNSEEN: i64 = i64::MIN;
/// How long a conversation may go on after a RST.
const RESET_LINGER_NS: i64 = 2_000_000_000;
/// How long a closed conversation's tombstone catches late packets.
const LINGER_NS: i64 = 10_000_000_000;

/// What is left of a conversation: enough to tell late packets from another conversation's first one.
#[derive(Clone, Copy, Debug)]
pub struct Tombstone {
    last_ns: i64,
    /// Who sent the SYN, and its sequence number.
    syn: Option<(Direction, Seq)>,
    /// By direction: a segment was seen.
    seen: [bool; 2],
}

impl Tombstone {
    /// When late packets are no more to be expected.
    pub fn due_ns(&self) -> i64 {
        self.last_ns.saturating_add(LINGER_NS)
    }

    /// A SYN that opens another conversation with the same addresses: its sequence number is a new one.
    pub fn is_replaced_by(&self, direction: Direction, segment: &Segment<'_>) -> bool {
        if !segment.flags.syn() || segment.flags.ack() {
            return false;
        }
        match self.syn {
            Some((opener, at)) if opener == direction => at != Seq(segment.sequence),
            _ => self.seen[direction as usize],
        }
    }
}

impl Connection {
    /// Is this segment worth a new entry? Late ACKs, FINs and RSTs of forgotten conversations are not.
    #[inline]
    pub fn opens(segment: &Segment<'_>) -> bool {
        segment.flags.syn() || !segment.payload.is_empty() || segment.cut > 0
    }

    /// A conversation that begins with this packet.
    pub fn new(arrival: Arrival<'_>, around: &Encapsulation) -> Self {
        Self {
            streams: Default::default(),
            start_ns: arrival.time_ns,
            last_ns: arrival.time_ns,
            created: arrival.order,
            capture: arrival.capture,
            interface: arrival.interface,
            syn_frame: 0,
            syn_at: Seq(0),
            syn_ns: UNSEEN,
            syn_ack_ns: UNSEEN,
            established_ns: UNSEEN,
            close_frame: 0,
            close_ns: UNSEEN,
            opener: None,
            first_end: None,
            ends: [None; 2],
            end_acknowledges: None,
            syn_retransmits: 0,
            segment_end: Seq(0),
            segment_acknowledges: None,
            syn_ack_ttl: 0,
            close_ttl: 0,
            mss: [0; 2],
            weight: 0,
            weighed: 0,
            syn_seen: false,
            syn_ack_seen: false,
            payload_seen: [false; 2],
            spoke_other: [false; 2],
            tls_before: false,
            snapped: false,
            hello_cut: false,
            calm: false,
            around: (!around.is_empty()).then(|| Box::new(*around)),
            copies: Copies::default(),
            talk: None,
            remarks: Remarks::default(),
            phase: Phase::Opening,
        }
    }

    /// Bytes on the heap that the shard was told of.
    pub fn weight(&self) -> usize {
        self.weighed as usize
    }

    /// Bytes on the heap, about.
    fn heap_bytes(&self) -> usize {
        let session = match &self.phase {
            Phase::Tls(session) => {
                size_of::<Session>() + session.machine.heap_bytes() + session.draft.heap_bytes()
            }
            _ => 0,
        };
        session
            + self.copies.heap_bytes()
            + self.remarks.heap_bytes()
            + self.talk.as_ref().map_or(0, |talk| talk.heap_bytes())
            + self.streams.iter().map(Stream::heap_bytes).sum::<usize>()
    }

    /// When the conversation is over, if no packet comes any more.
    pub fn due_ns(&self, limits: &Limits) -> i64 {
        let idle = match self.phase {
            _ if self.ends.iter().flatten().any(|end| end.is_rst()) => RESET_LINGER_NS,
            _ if self.ends.iter().all(Option::is_some) => limits.idle_short_ns,
            _ if self.syn_seen && !self.syn_ack_seen => limits.idle_short_ns,
            _ => limits.idle_ns,
        };
        self.last_ns.saturating_add(idle)
    }

    /// What is to be remembered of it once it is over.
    #[inline]
    pub fn tombstone(&self) -> Tombstone {
        let seen = |direction: Direction| self.streams[direction as usize].is_seen();
        Tombstone {
            last_ns: self.last_ns,
            syn: self.opener.filter(|_| self.syn_seen).zip(Some(self.syn_at)),
            seen: [seen(Direction::Up), seen(Direction::Down)],
        }
    }

    /// The record is written.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Takes a packet that changes no more than counters: no flag of weight, and nothing that a consumer needs to see.
    /// Otherwise `false`, and it is to be taken; nothing is done.
    #[inline(always)]
    pub fn pass(
        &mut self,
        direction: Direction,
        glimpse: &Glimpse,
        time_ns: i64,
        point: u32,
    ) -> bool {
        if !self.calm || glimpse.flags.is_of_weight() {
            return false;
        }
        let (side, length) = (direction as usize, glimpse.length as usize);
        let passes = self.copies.is_alone(side, glimpse, point)
            && (length == 0 || self.streams[side].absorb(Seq(glimpse.sequence), length));
        if passes {
            self.copies.note(side, glimpse);
            self.last_ns = self.last_ns.max(time_ns);
            self.payload_seen[side] |= length > 0;
            self.snapped |= glimpse.is_cut;
        }
        passes
    }

    /// Nothing is under way that a packet without flags of weight and without wanted bytes could change.
    fn is_calm(&self) -> bool {
        let acknowledges = match &self.phase {
            Phase::Tls(session) => !session.draft.acknowledgements_are_settled(),
            Phase::Opening => false,
            Phase::Closed => return false,
        };
        !acknowledges
            && self.ends == [None; 2]
            && (self.established_ns != UNSEEN || self.syn_ack_ns == UNSEEN)
            && self.opener.is_some()
    }

    /// Takes a packet.
    pub fn take(
        &mut self,
        direction: Direction,
        segment: &Segment<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Grown {
        let grown = self.take_apart(direction, segment, arrival, context);
        self.calm = self.is_calm();
        grown
    }

    fn take_apart(
        &mut self,
        direction: Direction,
        segment: &Segment<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Grown {
        if self.is_closed() {
            return Grown::default();
        }
        let Arrival { point, time_ns, .. } = arrival;
        if self
            .copies
            .has(direction as usize, segment, point, time_ns, self.last_ns)
        {
            context.counters.skip(Skip::Duplicate);
            return Grown::default();
        }
        self.last_ns = self.last_ns.max(arrival.time_ns);
        if let Some(noted) = arrival.noted.filter(|noted| self.remarks.lacks(*noted)) {
            self.remark(noted, direction, segment, arrival, context);
        }
        let flags = segment.flags;
        let mut at = Seq(segment.sequence);
        if flags.syn() {
            self.syn(direction, segment, arrival);
            at = at.plus(1);
        } else if self.established_ns == UNSEEN
            && self.syn_ack_ns != UNSEEN
            && self.opener == Some(direction)
        {
            self.established_ns = arrival.time_ns;
        }
        if let Phase::Tls(session) = &mut self.phase
            && flags.ack()
        {
            session
                .draft
                .acknowledged(direction, Seq(segment.acknowledgement));
        }
        if !segment.payload.is_empty() || (segment.cut > 0 && !flags.syn()) {
            self.payload(direction, at, segment, arrival, context);
        }
        if flags.fin() || flags.rst() {
            self.ending(direction, at, segment, arrival, context);
        } else if self.ends[0].is_some() || self.ends[1].is_some() {
            self.close_if_ended(arrival, context);
        }
        let before = core::mem::replace(&mut self.weighed, self.weight);
        Grown {
            bytes: self.weight as isize - before as isize,
            due_sooner: self.is_closed() || flags.rst(),
        }
    }

    /// Keeps what ICMP says of a segment.
    #[cold]
    pub fn undelivered(&mut self, sender: Direction, undelivered: &Undelivered, frame: u64) {
        self.remarks.undelivered(sender, undelivered, frame);
    }

    /// Keeps what is said of a packet that was taken before.
    #[cold]
    pub fn remark_again(
        &mut self,
        direction: Direction,
        segment: &Segment<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) {
        if let Some(noted) = arrival.noted.filter(|_| !self.is_closed()) {
            self.remark(noted, direction, segment, arrival, context);
        }
    }

    /// Keeps what the capture says of a packet beside its bytes.
    #[cold]
    fn remark(
        &mut self,
        noted: Noted<'_>,
        direction: Direction,
        segment: &Segment<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) {
        let payload = segment.payload.len() + segment.cut as usize;
        let before = self.remarks.heap_bytes();
        self.remarks.take(
            noted,
            direction,
            arrival.frame,
            payload,
            context.limits,
            context.counters,
        );
        let grown = self.remarks.heap_bytes() - before;
        self.weight = self.weight.saturating_add(grown as u32);
    }

    #[cold]
    fn syn(&mut self, direction: Direction, segment: &Segment<'_>, arrival: Arrival<'_>) {
        let stream = &mut self.streams[direction as usize];
        stream.anchor(Seq(segment.sequence).plus(1));
        self.mss[direction as usize] = segment.mss().unwrap_or(0);
        if segment.flags.ack() {
            self.opener = Some(direction.reverse());
            if !self.syn_ack_seen {
                self.syn_ack_seen = true;
                self.syn_ack_ns = arrival.time_ns;
                self.syn_ack_ttl = segment.ttl;
            }
        } else if self.syn_seen {
            self.syn_retransmits = self.syn_retransmits.saturating_add(1);
        } else {
            self.opener = Some(direction);
            self.syn_seen = true;
            self.syn_at = Seq(segment.sequence);
            self.syn_ns = arrival.time_ns;
            self.syn_frame = arrival.frame;
        }
    }

    #[inline]
    fn payload(
        &mut self,
        direction: Direction,
        at: Seq,
        segment: &Segment<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) {
        self.opener.get_or_insert(direction);
        self.payload_seen[direction as usize] = true;
        self.snapped |= segment.cut > 0;
        self.segment_end = at.plus(segment.payload.len() + segment.cut as usize);
        self.segment_acknowledges = segment.flags.ack().then_some(Seq(segment.acknowledgement));
        if self.streams[direction as usize].absorb(at, segment.payload.len() + segment.cut as usize)
        {
            return;
        }
        self.with_stream(
            direction,
            arrival,
            context,
            |stream, limits, mut consumer| {
                stream.push(
                    at,
                    segment.payload,
                    segment.cut,
                    arrival.frame,
                    limits,
                    &mut consumer,
                );
            },
        );
    }

    /// Lends this direction's stream to `run` with a consumer that knows the rest of the conversation.
    #[inline]
    fn with_stream(
        &mut self,
        direction: Direction,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
        run: impl FnOnce(&mut Stream, &StreamLimits, &mut dyn FnMut(Lent<'_>) -> Answer),
    ) {
        let mut stream = core::mem::take(&mut self.streams[direction as usize]);
        let limits = StreamLimits {
            parked_bytes_max: context.limits.out_of_order_bytes_max,
            parked_segments_max: context.limits.out_of_order_segments_max,
        };
        run(&mut stream, &limits, &mut |lent| {
            self.consume(direction, lent, arrival, context)
        });
        self.streams[direction as usize] = stream;
        self.weight = u32::try_from(self.heap_bytes()).unwrap_or(u32::MAX);
    }

    fn consume(
        &mut self,
        direction: Direction,
        lent: Lent<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Answer {
        match self.phase {
            Phase::Tls(_) if self.talk.is_none() => {
                self.read_tls(direction, lent, arrival, context)
            }
            Phase::Tls(_) => self.read_after_talk(direction, lent, arrival, context),
            Phase::Opening => self.detect(direction, lent, arrival, context),
            Phase::Closed => Answer::Done,
        }
    }

    /// What does this direction speak? Something else than TLS may be a dialogue that leads to TLS
    /// (STARTTLS, a proxy): the next segments are looked at, too, until the stream has searched enough.
    fn detect(
        &mut self,
        direction: Direction,
        lent: Lent<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Answer {
        let spoke_other = self.spoke_other[direction as usize];
        match detect::detect(lent.bytes, spoke_other) {
            Verdict::Tls => {
                self.begin_tls(direction, context);
                self.consume(direction, lent, arrival, context)
            }
            Verdict::NeedMore(more) => Answer::Need { used: 0, more },
            Verdict::TlsMidStream => {
                self.tls_before = true;
                Answer::Broken
            }
            Verdict::Other => self.converse(direction, lent, arrival, context),
        }
    }

    /// This direction sent a hello: the conversation is TLS.
    fn begin_tls(&mut self, direction: Direction, context: &mut Context<'_>) {
        let draft = Draft {
            client: Some(self.presumed_client(direction, context)),
            ..Draft::default()
        };
        let session = Session {
            draft,
            ..Session::default()
        };
        self.phase = Phase::Tls(context.pools.sessions.boxed(session));
        self.streams[direction.reverse() as usize].search_again();
        self.end_talk(direction);
    }

    /// Who is the client before a hello says so: the sender of the SYN; without one, whoever does not
    /// use a well-known port; else the first to send.
    fn presumed_client(&self, sender: Direction, context: &Context<'_>) -> Direction {
        let well_known = |direction| context.key.sender(direction).1 < 1024;
        match self.opener {
            Some(opener) if self.syn_seen || self.syn_ack_seen => opener,
            _ if well_known(sender) != well_known(sender.reverse()) => match well_known(sender) {
                true => sender.reverse(),
                false => sender,
            },
            Some(opener) => opener,
            None => sender,
        }
    }

    #[inline]
    fn read_tls(
        &mut self,
        direction: Direction,
        lent: Lent<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Answer {
        let Phase::Tls(session) = &mut self.phase else {
            return Answer::Done;
        };
        let limits = MachineLimits {
            message_bytes_max: context.limits.message_bytes_max,
            messages_max: context.limits.messages_max,
        };
        let seen = Seen {
            frame: lent.stamp,
            time_ns: arrival.time_ns,
            segments: lent.segments,
            end: self.segment_end,
            acknowledges: self.segment_acknowledges,
        };
        let Context {
            limits: caps,
            interner,
            counters,
            keys,
            ..
        } = context;
        let keys = keys.at(arrival.order);
        let mut desk = Desk {
            limits: caps,
            interner,
            counters,
        };
        let Session { machine, draft } = &mut **session;
        let mut earlier: Vec<Draft> = Vec::new();
        let answer = machine.read(direction, &lent, &limits, keys, &mut |event| {
            if draft.begins_anew(&event) {
                let fresh = Draft {
                    renegotiation: true,
                    ..Draft::default()
                };
                earlier.push(core::mem::replace(draft, fresh));
            }
            draft.event(direction, event, seen, &mut desk);
        });
        for draft in earlier {
            self.write(draft, arrival, context);
        }
        answer
    }

    #[cold]
    fn ending(
        &mut self,
        direction: Direction,
        at: Seq,
        segment: &Segment<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) {
        let (end, close) = if segment.flags.rst() {
            // Behind a FIN the number is one further; what counts is where the side ended first.
            let first = match self.ends[direction as usize] {
                Some(End::Fin(first) | End::Rst(first)) => first,
                None => at,
            };
            (End::Rst(first), Close::Rst)
        } else {
            // FIN takes one number, behind the data of its segment.
            (
                End::Fin(at.plus(segment.payload.len() + segment.cut as usize)),
                Close::Fin,
            )
        };
        if self.first_end.is_none() {
            self.first_end = Some((direction, close));
            self.close_frame = arrival.frame;
            self.close_ns = arrival.time_ns;
            self.close_ttl = segment.ttl;
            self.end_acknowledges = segment.flags.ack().then_some(Seq(segment.acknowledgement));
        }
        self.ends[direction as usize] = Some(end);
        let refused = end.is_rst() && !self.payload_seen[0] && !self.payload_seen[1];
        if refused {
            self.finish(arrival, context, Ended::Closed);
        } else if !end.is_rst() {
            self.close_if_ended(arrival, context);
        }
    }

    /// Both FINs are there, and all bytes before them. Behind a RST the other side's last segments may
    /// still be on their way: the conversation lingers.
    fn close_if_ended(&mut self, arrival: Arrival<'_>, context: &mut Context<'_>) {
        let ended = |(stream, end): (&Stream, &Option<End>)| match end {
            Some(End::Fin(at)) => stream.reached(*at),
            Some(End::Rst(_)) | None => false,
        };
        if self.streams.iter().zip(&self.ends).all(ended) {
            self.finish(arrival, context, Ended::Closed);
        }
    }

    /// The conversation is over: writes its record and leaves a tombstone. `arrival` is the packet (or
    /// the place between packets) that ended it.
    pub fn finish(&mut self, arrival: Arrival<'_>, context: &mut Context<'_>, how: Ended) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let had_hello = self.has_client_hello();
        let taken = self.taken_from_server();
        // What is read now belongs to earlier packets.
        let flight_end = match &self.phase {
            Phase::Tls(session) => session.draft.server_flight_end,
            Phase::Opening | Phase::Closed => None,
        };
        // What waited for a hole that was not filled: when it came is no longer known.
        let late = Arrival {
            time_ns: UNSEEN,
            ..arrival
        };
        for direction in [Direction::Up, Direction::Down] {
            if self.streams[direction as usize].is_pending() {
                self.with_stream(direction, late, context, |stream, _, mut consumer| {
                    stream.end(&mut consumer)
                });
            }
            let stream = &mut self.streams[direction as usize];
            match self.ends[direction as usize] {
                Some(End::Fin(at)) => stream.ended_at(at),
                Some(End::Rst(at)) if stream.lacks(at) < RESET_AHEAD_MAX => stream.ended_at(at),
                Some(End::Rst(_)) => {}
                // What the other side had of this one's bytes, or its FIN, the capture may lack.
                None => {
                    let taken = taken.filter(|(server, _)| *server == direction);
                    let known = [self.end_acknowledges, taken.map(|(_, at)| at)];
                    let known = known.into_iter().flatten();
                    let furthest = known.max_by_key(|at| stream.lacks(*at));
                    if let Some(at) = furthest.filter(|at| stream.lacks(*at) < RESET_AHEAD_MAX) {
                        stream.ended_at(at);
                    }
                }
            }
        }
        // A hello that only the end brought forth is the start of one whose rest the capture lacks.
        self.hello_cut |= !had_hello && self.has_client_hello();
        for stream in &self.streams {
            context
                .counters
                .skip_many(Skip::StreamGap, u64::from(stream.gaps()));
            context
                .counters
                .skip_many(Skip::OutOfOrderCap, stream.capped());
        }
        let draft = match core::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Tls(mut session) => {
                // The box waits empty: the start of a message that never ended may be long.
                let Session { mut draft, .. } = core::mem::take(&mut *session);
                draft.server_flight_end = flight_end;
                context.pools.sessions.take_back(session);
                draft
            }
            Phase::Opening | Phase::Closed => Draft::default(),
        };
        self.write_last(draft, arrival, context, how);
        for stream in &mut self.streams {
            stream.finish();
        }
        self.around = None;
        self.talk = None;
        self.remarks = Remarks::default();
        self.weight = 0;
    }

    /// The server's direction, and how far the client acknowledged it before the end of its first flight was seen.
    fn taken_from_server(&self) -> Option<(Direction, Seq)> {
        let Phase::Tls(session) = &self.phase else {
            return None;
        };
        let draft = &session.draft;
        Some((draft.client?.reverse(), draft.server_acknowledged?))
    }

    fn has_client_hello(&self) -> bool {
        matches!(&self.phase, Phase::Tls(session) if session.draft.client_hello.is_some())
    }

    /// Who is the client: the sender of the ClientHello, else of the SYN, else of the first payload.
    fn client(&self, draft: &Draft) -> Direction {
        let said = || self.talk.as_ref().and_then(|talk| talk.client());
        draft
            .client
            .or_else(said)
            .or(self.opener)
            .unwrap_or(Direction::Up)
    }

    fn side(&self, draft: &Draft, direction: Direction) -> Side {
        if self.client(draft) == direction {
            Side::Client
        } else {
            Side::Server
        }
    }
}
