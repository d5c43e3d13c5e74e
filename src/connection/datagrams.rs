//! One conversation over UDP: its datagrams → DTLS or QUIC → events → its record.
//!
//! A datagram's first bytes say whether it can begin a conversation, can only belong to one, or is of no
//! interest: that costs one match, and nearly all UDP ends there. UDP has no end of its own, so a
//! conversation ends by idleness, by another handshake on the same addresses, or with the capture; and
//! no hole can be seen in it, so a failure is claimed only where a peer said so, or never answered.

mod record;
mod tunnel;

use super::remarks::Remarks;
use super::session::{Desk, Draft, Seen};
use super::{Arrival, Context, Ended, Grown};
use crate::capture::Noted;
use crate::detect::{openvpn, rdp_udp};
use crate::dns;
use crate::flow::{Direction, Seq};
use crate::limits::Limits;
use crate::packet::{Datagram, Encapsulation};
use crate::quic::{self, parameters::Parameters, version::Version};
use crate::record::{Defect, TransportParameters, copy::text};
use crate::tls::{
    dtls,
    fingerprint::Carrier,
    handshake::{Event, MachineLimits},
    record::kind,
};
use tunnel::Tunnel;

/// What a datagram is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A DTLS handshake record in clear: begins a conversation.
    Dtls,
    /// A QUIC Initial packet: begins a conversation.
    Quic,
    /// Means something only inside a known conversation.
    Later,
    /// The start of OpenVPN's control channel.
    OpenVpn,
    /// The start of Remote Desktop's UDP transport.
    RdpUdp,
    /// A question to a name server, or its answer.
    Dns,
    /// Nothing that is analysed.
    Other,
}

impl First {
    /// It begins a conversation.
    #[inline]
    pub fn begins(self) -> bool {
        matches!(self, Self::Dtls | Self::Quic | Self::OpenVpn | Self::RdpUdp)
    }
}

/// Tells a datagram by its ports and first bytes.
#[inline]
pub fn first(datagram: &Datagram<'_>) -> First {
    if dns::is_datagram(datagram) {
        return First::Dns;
    }
    match first_bytes(datagram.payload) {
        // There is nothing in the packets of Remote Desktop that tells them, but for the first ones.
        First::Other if is_at(datagram, rdp_udp::PORT) => First::Later,
        first => first,
    }
}

/// A datagram between these ports that begins with these bytes is of no interest, whatever follows; `begun` where it may
/// belong to a conversation.
#[inline]
pub fn is_idle(source_port: u16, destination_port: u16, bytes: [u8; 5], begun: bool) -> bool {
    let known = |port| matches!(port, dns::PORT | rdp_udp::PORT);
    if known(source_port) || known(destination_port) {
        return false;
    }
    let [first, a, b, c, d] = bytes;
    match BYTES.get(usize::from(first)) {
        Some(Byte::Other) => true,
        Some(Byte::Later) => !begun,
        Some(Byte::Dtls) => !dtls::is_version(a, b),
        Some(Byte::Long) => {
            let version = Version(u32::from_be_bytes([a, b, c, d]));
            let is_quic = version == Version::NEGOTIATION || version.is_reserved();
            !is_quic && version.salt().is_none() && (first, a) != (0xff, 0xff)
        }
        Some(Byte::OpenVpn) | None => false,
    }
}

#[inline]
fn is_at(datagram: &Datagram<'_>, port: u16) -> bool {
    datagram.source_port == port || datagram.destination_port == port
}

/// What a first byte leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Byte {
    /// Nothing: it begins no packet that is analysed.
    Other,
    /// A record of DTLS, if a version follows.
    Dtls,
    /// OpenVPN's control channel, if the rest fits; else as [`Byte::Later`].
    OpenVpn,
    /// DTLS 1.2 with a connection id, the header of DTLS 1.3, 1-RTT.
    Later,
    /// A long header of QUIC, if a version follows.
    Long,
}

/// By first byte: one look-up for most of UDP, where comparing one range after the other took 60 instructions.
static BYTES: [Byte; 256] = {
    let mut bytes = [Byte::Other; 256];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = match at {
            20..=24 | 26 => Byte::Dtls,
            0x20..=0x27 | 0x38 | 0x50 => Byte::OpenVpn,
            25 | 0x20..=0x7f => Byte::Later,
            0x80..=0xff => Byte::Long,
            _ => Byte::Other,
        };
        at += 1;
    }
    bytes
};

#[inline]
fn first_bytes(payload: &[u8]) -> First {
    let byte = payload
        .first()
        .and_then(|&byte| BYTES.get(usize::from(byte)));
    match byte.copied().unwrap_or(Byte::Other) {
        Byte::Other => First::Other,
        Byte::Later => First::Later,
        Byte::Dtls => dtls_bytes(payload),
        Byte::OpenVpn if openvpn::begins(payload) => First::OpenVpn,
        Byte::OpenVpn => First::Later,
        Byte::Long => long_bytes(payload),
    }
}

fn dtls_bytes(payload: &[u8]) -> First {
    match payload {
        [kind::HANDSHAKE, ..] if dtls::begins_handshake(payload) => First::Dtls,
        [_, major, minor, ..] if dtls::is_version(*major, *minor) => First::Later,
        _ => First::Other,
    }
}

fn long_bytes(payload: &[u8]) -> First {
    match payload {
        [0xff, 0xff, ..] if rdp_udp::begins(payload) => First::RdpUdp,
        [0xc0..=0xff, ..] if quic::machine::begins(payload) => First::Quic,
        // Other packets of a known version, and Version Negotiation.
        [_, a, b, c, d, ..] => {
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
    /// TLS in the packets of another protocol.
    Tunnel(Box<Tunnel>),
}

/// A QUIC machine, and what its client's transport parameters said.
#[derive(Debug, Default)]
struct QuicSession {
    machine: quic::Machine,
    said: Said,
}

/// What a client's hello says in its transport parameters.
#[derive(Debug, Default)]
struct Said {
    user_agent: Option<Box<str>>,
    transport_parameters: Option<Box<TransportParameters>>,
    client_versions: Vec<Version>,
}

/// What a connection that carried QUIC showed and said.
type QuicFacts = Option<(quic::Facts, Said)>;

/// A connection before another one on the same addresses.
struct Earlier {
    draft: Draft,
    quic: QuicFacts,
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
    interface: u32,
    /// What the capture says beside the datagrams' bytes.
    remarks: Remarks,
    /// Datagrams of each direction.
    datagrams: [u32; 2],
    weight: u32,
    around: Option<Box<Encapsulation>>,
    speaks: Speaks,
    draft: Box<Draft>,
}

impl Conversation {
    /// A conversation that begins with this datagram; `None` where it begins none.
    pub fn new(first: First, arrival: Arrival<'_>, around: &Encapsulation) -> Option<Self> {
        let (speaks, carrier) = match first {
            First::Dtls => (Speaks::Dtls(Box::default()), Carrier::Dtls),
            First::Quic => (Speaks::Quic(Box::default()), Carrier::Quic),
            First::OpenVpn => (Speaks::Tunnel(Box::new(Tunnel::open_vpn())), Carrier::Tcp),
            First::RdpUdp => (Speaks::Tunnel(Box::new(Tunnel::rdp_udp())), Carrier::Tcp),
            First::Later | First::Dns | First::Other => return None,
        };
        Some(Self {
            start_ns: arrival.time_ns,
            last_ns: arrival.time_ns,
            created: arrival.order,
            capture: arrival.capture,
            interface: arrival.interface,
            remarks: Remarks::default(),
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
                    + session
                        .said
                        .user_agent
                        .as_ref()
                        .map_or(0, |agent| agent.len())
                    + (session.said.transport_parameters.as_ref()).map_or(0, |kept| {
                        size_of::<TransportParameters>() + kept.heap_bytes()
                    })
            }
            Speaks::Tunnel(tunnel) => size_of::<Tunnel>() + tunnel.heap_bytes(),
        };
        machine + size_of::<Draft>() + self.draft.heap_bytes() + self.remarks.heap_bytes()
    }

    /// When the conversation is over, if no datagram comes any more.
    pub fn due_ns(&self, limits: &Limits) -> i64 {
        self.last_ns.saturating_add(limits.idle_ns)
    }

    /// Keeps what is said of a datagram that was taken before.
    #[cold]
    pub fn remark_again(
        &mut self,
        direction: Direction,
        payload: &[u8],
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) {
        if let Some(noted) = arrival.noted {
            self.remark(noted, direction, payload, arrival, context);
        }
    }

    /// Keeps what the capture says of a datagram beside its bytes.
    #[cold]
    fn remark(
        &mut self,
        noted: Noted<'_>,
        direction: Direction,
        payload: &[u8],
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) {
        self.remarks.take(
            noted,
            direction,
            arrival.frame,
            payload.len(),
            context.limits,
            context.counters,
        );
    }

    /// Takes a datagram.
    pub fn take(
        &mut self,
        direction: Direction,
        payload: &[u8],
        scratch: &mut Vec<u8>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Grown {
        let before = (self.last_ns, self.datagrams);
        self.last_ns = self.last_ns.max(arrival.time_ns);
        if let Some(noted) = arrival.noted.filter(|noted| self.remarks.lacks(*noted)) {
            self.remark(noted, direction, payload, arrival, context);
        }
        let count = &mut self.datagrams[direction as usize];
        *count = count.saturating_add(1);
        let earlier = match &self.speaks {
            Speaks::Dtls(_) => self.dtls(arrival, context, |machine, seen, limits, each| {
                machine.read(direction, payload, seen, limits, &mut |told| {
                    each(direction, told)
                });
            }),
            Speaks::Quic(_) => self.quic(direction, payload, scratch, arrival, context),
            Speaks::Tunnel(_) => {
                self.tunnel(direction, payload, arrival, context);
                Vec::new()
            }
        };
        if !earlier.is_empty() {
            self.begin_anew(earlier, before, direction, arrival, context);
        }
        let weight = u32::try_from(self.heap_bytes()).unwrap_or(u32::MAX);
        let before = core::mem::replace(&mut self.weight, weight);
        Grown {
            bytes: weight as isize - before as isize,
            ..Grown::default()
        }
    }

    /// Another connection on the same addresses: writes the records of those before it, as of the datagram before.
    #[cold]
    fn begin_anew(
        &mut self,
        earlier: Vec<Earlier>,
        (last_ns, datagrams): (i64, [u32; 2]),
        direction: Direction,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) {
        (self.last_ns, self.datagrams) = (last_ns, datagrams);
        for Earlier { draft, quic } in earlier {
            self.emit(draft, quic, arrival, context, Ended::Replaced);
        }
        self.datagrams = [0; 2];
        self.datagrams[direction as usize] = 1;
        (self.start_ns, self.last_ns) = (arrival.time_ns, last_ns.max(arrival.time_ns));
        self.created = arrival.order;
        (self.capture, self.interface) = (arrival.capture, arrival.interface);
    }

    /// Runs the DTLS machine and writes down what it tells; gives the connections that are over.
    fn dtls(
        &mut self,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
        run: impl FnOnce(
            &mut dtls::Machine<Seen>,
            Seen,
            &MachineLimits,
            &mut dyn FnMut(Direction, dtls::Told<'_, Seen>),
        ),
    ) -> Vec<Earlier> {
        let mut earlier = Vec::new();
        let Speaks::Dtls(machine) = &mut self.speaks else {
            return earlier;
        };
        let limits = machine_limits(context.limits);
        let seen = Seen {
            frame: arrival.frame,
            time_ns: arrival.time_ns,
            segments: 1,
            end: Seq(0),
            acknowledges: None,
        };
        let mut desk = Desk {
            limits: context.limits,
            interner: context.interner,
            counters: context.counters,
        };
        let draft = &mut self.draft;
        run(machine, seen, &limits, &mut |direction, told| {
            if told.anew && draft.client_hello.is_some() {
                let fresh = Draft {
                    carrier: Carrier::Dtls,
                    ..Draft::default()
                };
                earlier.push(Earlier {
                    draft: core::mem::replace(draft, fresh),
                    quic: None,
                });
            }
            let seen = Seen {
                segments: told.datagrams,
                ..told.place
            };
            draft.event(direction, told.event, seen, &mut desk);
        });
        earlier
    }

    /// Reads a datagram of QUIC and writes down what it tells; gives the connections that are over.
    fn quic(
        &mut self,
        direction: Direction,
        payload: &[u8],
        scratch: &mut Vec<u8>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Vec<Earlier> {
        let mut earlier: Vec<Earlier> = Vec::new();
        let Speaks::Quic(session) = &mut self.speaks else {
            return earlier;
        };
        let limits = machine_limits(context.limits);
        let list_max = context.limits.list_entries_max;
        let mut desk = Desk {
            limits: context.limits,
            interner: context.interner,
            counters: context.counters,
        };
        let QuicSession { machine, said } = &mut **session;
        let draft = &mut self.draft;
        let known = context.keys.known_at(arrival.order);
        machine.read(direction, payload, &limits, known, scratch, &mut |told| {
            if told.anew && draft.client_hello.is_some() {
                let fresh = Draft {
                    carrier: Carrier::Quic,
                    ..Draft::default()
                };
                let said = core::mem::take(said);
                earlier.push(Earlier {
                    draft: core::mem::replace(draft, fresh),
                    quic: Some((quic::Facts::default(), said)),
                });
            }
            if let Event::ClientHello { hello, .. } = &told.event
                && let Some(parameters) = Parameters::find(hello.extensions)
            {
                let kept = TransportParameters::of(&parameters, list_max);
                *said = Said {
                    user_agent: parameters.user_agent.map(text),
                    client_versions: parameters.versions().take(VERSIONS_MAX).collect(),
                    transport_parameters: Some(Box::new(kept)),
                };
            }
            let seen = Seen {
                frame: arrival.frame,
                time_ns: arrival.time_ns,
                segments: told.packets,
                end: Seq(0),
                acknowledges: None,
            };
            draft.event(direction, told.event, seen, &mut desk);
        });
        if let (Some(last), Some(facts)) = (earlier.last_mut(), machine.take_before()) {
            last.quic = last.quic.take().map(|(_, said)| (facts, said));
        }
        earlier
    }

    /// A datagram that begins a conversation of another protocol on the same addresses.
    pub fn is_replaced_by(&self, first: First) -> bool {
        match self.speaks {
            Speaks::Dtls(_) => first == First::Quic,
            Speaks::Quic(_) => matches!(first, First::Dtls | First::OpenVpn),
            Speaks::Tunnel(_) => matches!(first, First::Dtls | First::Quic),
        }
    }

    /// The conversation is over: writes its record.
    pub fn finish(&mut self, arrival: Arrival<'_>, context: &mut Context<'_>, how: Ended) {
        let earlier = match &self.speaks {
            Speaks::Dtls(_) => self.dtls(arrival, context, |machine, _, _, each| {
                for direction in [Direction::Up, Direction::Down] {
                    machine.end(direction, &mut |told| each(direction, told));
                }
            }),
            Speaks::Quic(_) | Speaks::Tunnel(_) => Vec::new(),
        };
        for Earlier { draft, quic } in earlier {
            self.emit(draft, quic, arrival, context, Ended::Replaced);
        }
        let mut draft = core::mem::take(&mut *self.draft);
        if how == Ended::Evicted {
            draft.defects.push(Defect::Evicted);
        }
        let quic = match &mut self.speaks {
            Speaks::Quic(session) => {
                let facts = session.machine.facts().clone();
                Some((facts, core::mem::take(&mut session.said)))
            }
            Speaks::Dtls(_) | Speaks::Tunnel(_) => None,
        };
        self.emit(draft, quic, arrival, context, how);
    }
}

fn machine_limits(limits: &Limits) -> MachineLimits {
    MachineLimits {
        message_bytes_max: limits.message_bytes_max,
        messages_max: limits.messages_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_datagrams_begin_nothing() {
        let versions = [
            [0xfe, 0xfd, 0, 0],
            [0, 0, 0, 1],
            [0, 0, 0, 0],
            [0xff; 4],
            [0x1a; 4],
            [9, 8, 7, 6],
        ];
        for first_byte in 0..=255u8 {
            for [a, b, c, d] in versions {
                let bytes = [first_byte, a, b, c, d];
                let payload = [&bytes[..], &[0; 1300]].concat();
                for (source_port, destination_port) in [(40_000, 8080), (53, 40_000), (3389, 9)] {
                    let datagram = Datagram {
                        addresses: crate::packet::Addresses::V4 {
                            source: 1,
                            destination: 2,
                        },
                        source_port,
                        destination_port,
                        payload: &payload,
                    };
                    let told = first(&datagram);
                    if is_idle(source_port, destination_port, bytes, true) {
                        assert_eq!(told, First::Other, "{bytes:?}");
                    }
                    if is_idle(source_port, destination_port, bytes, false) {
                        assert!(matches!(told, First::Other | First::Later), "{bytes:?}");
                    }
                }
            }
        }
        let idle = |port, first, begun| is_idle(40_000, port, [first, 9, 8, 7, 6], begun);
        assert!(idle(8080, 0, true) && !idle(53, 0, true) && !idle(3389, 0, true));
        assert!(!idle(443, 0x41, true) && idle(443, 0x41, false));
        assert!(idle(443, 0xc3, true) && idle(443, 22, true) && !idle(1194, 0x38, false));
    }

    #[test]
    fn first_bytes_tell() {
        let dtls = b"\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x0c\x01";
        assert_eq!(first_bytes(dtls), First::Dtls);
        // An encrypted record, one with a connection id, one of DTLS 1.3.
        assert_eq!(first_bytes(b"\x17\xfe\xfd\0\x01"), First::Later);
        assert_eq!(first_bytes(b"\x19\xfe\xfd\0\x01"), First::Later);
        assert_eq!(first_bytes(b"\x2f\x01\x02"), First::Later);
        assert_eq!(first_bytes(b"\xc3\0\0\0\x01\x08"), First::Quic);
        assert_eq!(first_bytes(b"\xd3\x6b\x33\x43\xcf\x08"), First::Quic);
        // Handshake, Version Negotiation, 1-RTT.
        assert_eq!(first_bytes(b"\xe3\0\0\0\x01\x08"), First::Later);
        assert_eq!(first_bytes(b"\x80\0\0\0\0\x08"), First::Later);
        assert_eq!(first_bytes(b"\x41\x01"), First::Later);
        // DNS, STUN, RTP, TLS, nothing.
        assert_eq!(first_bytes(b"\x12\x34\x01\0\0\x01"), First::Other);
        assert_eq!(first_bytes(b"\0\x01\0\x08\x21\x12\xa4\x42"), First::Other);
        assert_eq!(first_bytes(b"\x80\x60\x12\x34\0\0"), First::Other);
        assert_eq!(first_bytes(b"\x16\x03\x01\0\x05\x01"), First::Other);
        assert_eq!(first_bytes(b""), First::Other);
    }
}
