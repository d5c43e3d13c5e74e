//! One conversation over UDP: its datagrams → DTLS or QUIC → events → its record.
//!
//! A datagram's first bytes say whether it can begin a conversation, can only belong to one, or is of no
//! interest: that costs one match, and nearly all UDP ends there. UDP has no end of its own, so a
//! conversation ends by idleness, by another handshake on the same addresses, or with the capture; and
//! no hole can be seen in it, so a failure is claimed only where a peer said so, or never answered.

use super::outcome::{CLOSED_AT_ONCE_BYTES, CLOSED_AT_ONCE_NS, SILENCE_NS};
use super::session::{Desk, Draft, Seen};
use super::{Arrival, Context, Ended, Finished, Grown};
use crate::flow::{Direction, Seq};
use crate::limits::Limits;
use crate::packet::Encapsulation;
use crate::quic::{self, parameters::Parameters, version::Version};
use crate::record::{
    ApplicationBytes, Defect, Endpoint, Handshake, Observed, Outcome, Protocol, Side, Timestamp,
    Transport,
};
use crate::record::{Quic, copy::text};
use crate::tls::{
    dtls,
    fingerprint::Carrier,
    handshake::{Event, MachineLimits},
    record::kind,
};

/// What a datagram is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A DTLS handshake record in clear: begins a conversation.
    Dtls,
    /// A QUIC Initial packet: begins a conversation.
    Quic,
    /// Means something only inside a known conversation.
    Later,
    /// Nothing that is analysed.
    Other,
}

/// Tells a datagram by its first bytes.
#[inline]
pub fn first(payload: &[u8]) -> First {
    match payload {
        [kind::HANDSHAKE, ..] if dtls::begins_handshake(payload) => First::Dtls,
        [20..=24 | 26, major, minor, ..] if dtls::is_version(*major, *minor) => First::Later,
        // DTLS 1.2 with a connection id, the header of DTLS 1.3.
        [25 | 0x20..=0x3f, ..] => First::Later,
        [0xc0..=0xff, ..] if quic::machine::begins(payload) => First::Quic,
        // 1-RTT; other packets of a known version, and Version Negotiation.
        [0x40..=0x7f, ..] => First::Later,
        [0x80..=0xff, a, b, c, d, ..] => {
            let version = Version(u32::from_be_bytes([*a, *b, *c, *d]));
            if version == Version::NEGOTIATION || version.salt().is_some() {
                First::Later
            } else {
                First::Other
            }
        }
        _ => First::Other,
    }
}

/// What the conversation speaks.
#[derive(Debug)]
enum Speaks {
    Dtls(Box<dtls::Machine<Seen>>),
    Quic(Box<QuicSession>),
}

/// A QUIC machine, and what its client's transport parameters said.
#[derive(Debug, Default)]
struct QuicSession {
    machine: quic::Machine,
    user_agent: Option<Box<str>>,
    client_versions: Vec<Version>,
}

/// Versions kept of a client's version_information.
const VERSIONS_MAX: usize = 16;

/// One UDP conversation.
#[derive(Debug)]
pub struct Conversation {
    start_ns: i64,
    last_ns: i64,
    created: u64,
    capture: u32,
    process_id: u32,
    /// Datagrams of each direction.
    datagrams: [u32; 2],
    weight: u32,
    around: Option<Box<Encapsulation>>,
    speaks: Speaks,
    draft: Box<Draft>,
}

impl Conversation {
    /// A conversation that begins with this datagram; `None` where it begins none.
    pub fn new(first: First, arrival: Arrival, around: &Encapsulation) -> Option<Self> {
        let (speaks, carrier) = match first {
            First::Dtls => (Speaks::Dtls(Box::default()), Carrier::Dtls),
            First::Quic => (Speaks::Quic(Box::default()), Carrier::Quic),
            First::Later | First::Other => return None,
        };
        Some(Self {
            start_ns: arrival.time_ns,
            last_ns: arrival.time_ns,
            created: arrival.order,
            capture: arrival.capture,
            process_id: 0,
            datagrams: [0; 2],
            weight: 0,
            around: (!around.is_empty()).then(|| Box::new(*around)),
            speaks,
            draft: Box::new(Draft {
                carrier,
                ..Draft::default()
            }),
        })
    }

    /// Bytes on the heap that the shard was told of.
    pub fn weight(&self) -> usize {
        self.weight as usize
    }

    fn heap_bytes(&self) -> usize {
        let machine = match &self.speaks {
            Speaks::Dtls(machine) => size_of_val(&**machine) + machine.heap_bytes(),
            Speaks::Quic(session) => {
                size_of::<QuicSession>()
                    + session.machine.heap_bytes()
                    + session.user_agent.as_ref().map_or(0, |agent| agent.len())
            }
        };
        machine + size_of::<Draft>() + self.draft.heap_bytes()
    }

    /// When the conversation is over, if no datagram comes any more.
    pub fn due_ns(&self, limits: &Limits) -> i64 {
        self.last_ns.saturating_add(limits.idle_ns)
    }

    /// Takes a datagram.
    pub fn take(
        &mut self,
        direction: Direction,
        payload: &[u8],
        scratch: &mut Vec<u8>,
        arrival: Arrival,
        context: &mut Context<'_>,
    ) -> Grown {
        self.last_ns = self.last_ns.max(arrival.time_ns);
        if self.process_id == 0 {
            self.process_id = arrival.process_id;
        }
        let count = &mut self.datagrams[direction as usize];
        *count = count.saturating_add(1);
        match &self.speaks {
            Speaks::Dtls(_) => self.dtls(arrival, context, |machine, seen, limits, each| {
                machine.read(direction, payload, seen, limits, &mut |told| {
                    each(direction, told)
                });
            }),
            Speaks::Quic(_) => self.quic(direction, payload, scratch, arrival, context),
        }
        let weight = u32::try_from(self.heap_bytes()).unwrap_or(u32::MAX);
        let before = core::mem::replace(&mut self.weight, weight);
        Grown {
            bytes: weight as isize - before as isize,
            ..Grown::default()
        }
    }

    /// Runs the DTLS machine and writes down what it tells.
    fn dtls(
        &mut self,
        arrival: Arrival,
        context: &mut Context<'_>,
        run: impl FnOnce(
            &mut dtls::Machine<Seen>,
            Seen,
            &MachineLimits,
            &mut dyn FnMut(Direction, dtls::Told<'_, Seen>),
        ),
    ) {
        let Speaks::Dtls(machine) = &mut self.speaks else {
            return;
        };
        let limits = machine_limits(context.limits);
        let seen = Seen {
            frame: arrival.frame,
            time_ns: arrival.time_ns,
            segments: 1,
            end: Seq(0),
        };
        let mut desk = Desk {
            limits: context.limits,
            interner: context.interner,
            counters: context.counters,
        };
        let draft = &mut self.draft;
        let mut earlier: Vec<Draft> = Vec::new();
        run(machine, seen, &limits, &mut |direction, told| {
            if told.anew && draft.client_hello.is_some() {
                let fresh = Draft {
                    carrier: Carrier::Dtls,
                    ..Draft::default()
                };
                earlier.push(core::mem::replace(draft, fresh));
            }
            let seen = Seen {
                segments: told.datagrams,
                ..told.place
            };
            draft.event(direction, told.event, seen, &mut desk);
        });
        for draft in earlier {
            let outcome = self.outcome(&draft, Ended::Replaced);
            self.emit(draft, arrival, context, outcome);
        }
    }

    /// Reads a datagram of QUIC and writes down what it tells.
    fn quic(
        &mut self,
        direction: Direction,
        payload: &[u8],
        scratch: &mut Vec<u8>,
        arrival: Arrival,
        context: &mut Context<'_>,
    ) {
        let Speaks::Quic(session) = &mut self.speaks else {
            return;
        };
        let limits = machine_limits(context.limits);
        let mut desk = Desk {
            limits: context.limits,
            interner: context.interner,
            counters: context.counters,
        };
        let QuicSession {
            machine,
            user_agent,
            client_versions,
        } = &mut **session;
        let draft = &mut self.draft;
        let mut earlier: Vec<Draft> = Vec::new();
        machine.read(direction, payload, &limits, scratch, &mut |told| {
            if told.anew && draft.client_hello.is_some() {
                let fresh = Draft {
                    carrier: Carrier::Quic,
                    ..Draft::default()
                };
                earlier.push(core::mem::replace(draft, fresh));
            }
            if let Event::ClientHello { hello, .. } = &told.event
                && let Some(parameters) = Parameters::find(hello.extensions)
            {
                *user_agent = parameters.user_agent.map(text);
                *client_versions = parameters.versions().take(VERSIONS_MAX).collect();
            }
            let seen = Seen {
                frame: arrival.frame,
                time_ns: arrival.time_ns,
                segments: told.packets,
                end: Seq(0),
            };
            draft.event(direction, told.event, seen, &mut desk);
        });
        for draft in earlier {
            let outcome = self.outcome(&draft, Ended::Replaced);
            self.emit(draft, arrival, context, outcome);
        }
    }

    /// A datagram that begins a conversation of another protocol on the same addresses.
    pub fn is_replaced_by(&self, first: First) -> bool {
        match self.speaks {
            Speaks::Dtls(_) => first == First::Quic,
            Speaks::Quic(_) => first == First::Dtls,
        }
    }

    /// The conversation is over: writes its record.
    pub fn finish(&mut self, arrival: Arrival, context: &mut Context<'_>, how: Ended) {
        match &self.speaks {
            Speaks::Dtls(_) => self.dtls(arrival, context, |machine, _, _, each| {
                for direction in [Direction::Up, Direction::Down] {
                    machine.end(direction, &mut |told| each(direction, told));
                }
            }),
            Speaks::Quic(_) => {}
        }
        let mut draft = core::mem::take(&mut *self.draft);
        if how == Ended::Evicted {
            draft.defects.push(Defect::Evicted);
        }
        let outcome = self.outcome(&draft, how);
        self.emit(draft, arrival, context, outcome);
    }

    fn outcome(&self, draft: &Draft, ended: Ended) -> Outcome {
        if let Some(complete_ns) = draft.complete_ns {
            return self.outcome_complete(draft, complete_ns);
        }
        if draft.fatal_alert(Side::Server) {
            return Outcome::ServerAlert;
        }
        if draft.fatal_alert(Side::Client) {
            return Outcome::ClientAlert;
        }
        if let Some((from, _)) = self.quic_close() {
            return if draft.client == Some(from) {
                Outcome::ClientAbort
            } else if draft.server_hello.is_some() {
                Outcome::LateFailure
            } else {
                Outcome::HelloClosed
            };
        }
        let too_early = match ended {
            Ended::CaptureEnd { time_ns } => time_ns.saturating_sub(self.last_ns) < SILENCE_NS,
            Ended::Evicted => true,
            Ended::Closed | Ended::Idle | Ended::Replaced => false,
        };
        let client = draft.client.unwrap_or(Direction::Up);
        let silent = self.datagrams[client.reverse() as usize] == 0;
        // Silence for long enough, or a hello sent again and again within that time.
        let waited = self.last_ns.saturating_sub(self.start_ns) >= SILENCE_NS || !too_early;
        if draft.client_hello.is_some() && silent && waited {
            Outcome::HelloUnanswered
        } else {
            Outcome::Truncated
        }
    }

    /// Who closed the connection inside an Initial packet, and with which code.
    fn quic_close(&self) -> Option<(Direction, u64)> {
        match &self.speaks {
            Speaks::Quic(session) => session.machine.close(),
            Speaks::Dtls(_) => None,
        }
    }

    fn quic_facts(&self, client: Direction) -> Option<Box<Quic>> {
        let Speaks::Quic(session) = &self.speaks else {
            return None;
        };
        let machine = &session.machine;
        let hex = |version: &Version| format!("0x{:08x}", version.0).into();
        let close = machine.close();
        Some(Box::new(Quic {
            version: machine.version().as_ref().map(hex),
            version_name: machine.version().and_then(Version::name).map(Into::into),
            retry: machine.retry(),
            negotiation: machine.offered().iter().map(hex).collect(),
            client_versions: session.client_versions.iter().map(hex).collect(),
            user_agent: session.user_agent.clone(),
            close_code: close.map(|(_, code)| code),
            closed_by: close.map(|(from, _)| {
                if from == client {
                    Side::Client
                } else {
                    Side::Server
                }
            }),
        }))
    }

    fn is_cut(&self) -> bool {
        matches!(&self.speaks, Speaks::Quic(session) if session.machine.is_cut())
    }

    /// A client that closes at once says so in DTLS; QUIC hides it.
    fn outcome_complete(&self, draft: &Draft, complete_ns: i64) -> Outcome {
        let bytes = application_bytes(draft);
        let little = bytes.client < CLOSED_AT_ONCE_BYTES && bytes.server < CLOSED_AT_ONCE_BYTES;
        let soon = self.last_ns.saturating_sub(complete_ns) < CLOSED_AT_ONCE_NS;
        if draft.flight(Side::Client).encrypted_alert && little && soon {
            Outcome::EstablishedThenClosed
        } else {
            Outcome::Established
        }
    }

    fn emit(
        &self,
        mut draft: Draft,
        arrival: Arrival,
        context: &mut Context<'_>,
        outcome: Outcome,
    ) {
        if !draft.has_handshake() {
            return;
        }
        let client = draft.client.unwrap_or(Direction::Up);
        let endpoint = |direction: Direction| {
            let (ip, port) = context.key.sender(direction);
            Endpoint { ip, port }
        };
        let mut defects = core::mem::take(&mut draft.defects);
        if self.datagrams.contains(&0) && outcome != Outcome::HelloUnanswered {
            defects.push(Defect::OneDirection);
        }
        if draft.client_hello.is_none() {
            defects.push(Defect::MidStream);
        }
        if self.is_cut() {
            defects.push(Defect::SnapLength);
        }
        defects.sort_unstable();
        defects.dedup();
        let encapsulation = self.around.as_ref().map(|around| {
            let layers = around.layers();
            layers.map(|layer| layer.to_string().into()).collect()
        });
        let observed = observed(&draft);
        let record = Handshake {
            capture: context
                .captures
                .get(self.capture as usize)
                .cloned()
                .unwrap_or_else(|| "".into()),
            start: Timestamp(self.start_ns),
            end: Timestamp(self.last_ns),
            transport: Transport::Udp,
            protocol: match draft.carrier {
                Carrier::Quic => Protocol::Quic,
                Carrier::Dtls | Carrier::Tcp => Protocol::Dtls,
            },
            client: endpoint(client),
            server: endpoint(client.reverse()),
            encapsulation: encapsulation.unwrap_or_default(),
            starttls: None,
            proxy: None,
            renegotiation: draft.renegotiation,
            timing: draft.timing(None),
            application_bytes: draft.complete_ns.map(|_| application_bytes(&draft)),
            client_hello: draft.client_hello,
            hello_retry_request: draft.hello_retry_request,
            second_client_hello: draft.second_client_hello,
            server_hello: draft.server_hello,
            key_exchange: draft.key_exchange,
            certificates: draft.certificates,
            client_certificates: draft.client_certificates,
            certificate_requested: draft.certificate_requested,
            ocsp_stapled: draft.ocsp_stapled,
            alerts: draft.alerts,
            tcp: None,
            outcome,
            stopped_after: draft
                .stopped_after
                .and_then(|kind| kind.name())
                .map(Into::into),
            defects,
            findings: Vec::new(),
            process_id: (self.process_id != 0).then_some(self.process_id),
            dialogue: None,
            origin: None,
            http: None,
            quic: self.quic_facts(client),
            observed: (observed != Observed::default()).then(|| Box::new(observed)),
        };
        context.records.push(Finished {
            order: (arrival.order, self.created),
            record: Box::new(record),
            tls: true,
        });
    }
}

fn machine_limits(limits: &Limits) -> MachineLimits {
    MachineLimits {
        message_bytes_max: limits.message_bytes_max,
        messages_max: limits.messages_max,
    }
}

fn observed(draft: &Draft) -> Observed {
    Observed {
        client_certificate_empty: draft.client_certificate_empty,
        authority_names: draft.certificate_request.and_then(|(_, names)| names),
        certificate_request_bytes: draft.certificate_request.map(|(bytes, _)| bytes),
        hello_verify_request_frame: draft.hello_verify_request,
        ..Observed::default()
    }
}

fn application_bytes(draft: &Draft) -> ApplicationBytes {
    let client = draft.client.unwrap_or(Direction::Up) as usize;
    let after = |index: usize| {
        draft.flights[index]
            .bytes
            .saturating_sub(draft.bytes_at_completion[index])
    };
    ApplicationBytes {
        client: after(client),
        server: after(1 - client),
    }
}
