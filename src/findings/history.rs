//! What surveys remember of handshakes: one small trace each, with what is large stored once.
//!
//! Surveys ask about many handshakes (equal hellos to two servers, a series of failures), and only at the end. So each
//! record leaves a trace of fixed size; hello shapes, answers, names and certificates are interned. Past the cap the
//! oldest traces go, counted. At the end [`History::past`] sorts the traces by time, so that the order in which captures
//! or saved records came does not matter.

mod absorb;

use super::facts::{Facts, is_fatal};
use super::intern::{INTERNED_MAX, Interned, Shapes, texts};
use super::past::Past;
use super::resolved::Resolved;
use super::stack::Stack;
use super::{Lang, Settings};
use crate::record::{
    Certificate, ClientHelloShape, Close, Defect, Digest, Dns, Endpoint, Handshake, Outcome,
    Protocol, ServerHello, ServerHelloShape, Side, Timestamp,
};
use crate::tls::code_points::{VersionRank, is_grease};
use core::hash::Hash;
use hashbrown::HashMap;
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

/// So many handshakes of one client with one server are notable, whatever became of them.
pub(super) const PAIR_NOTABLE: usize = 6;

/// Bytes for one handshake: its trace, and at the end its places in the lists by server, name and pair. Of a flood of
/// SYNs each is a pair of its own, which takes most.
pub(super) const TRACE_BYTES: usize = size_of::<Trace>() + 240;

/// What is kept of one handshake.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// Frame of the ServerHello, else of the ClientHello, else of the SYN.
    pub(super) frame: u64,
    pub(super) capture: u32,
    pub(super) client: IpAddr,
    pub(super) server: Endpoint,
    pub(super) name: Option<u32>,
    pub(super) hello: Option<u32>,
    pub(super) answer: Option<u32>,
    pub(super) leaf: Option<u32>,
    /// The group in which keys were exchanged.
    pub(super) group: Option<u16>,
    pub(super) hello_bytes: u32,
    pub(super) mss: u16,
    pub(super) outcome: Outcome,
    pub(super) offer_max: Option<VersionRank>,
    pub(super) negotiated: Option<VersionRank>,
    /// First fatal alert in clear.
    pub(super) alert: Option<(Side, u8)>,
    pub(super) closed_by: Option<Side>,
    pub(super) close: Close,
    /// Time of the TLS handshake, where it completed.
    pub(super) handshake_us: Option<i64>,
    /// Time from the ClientHello to the last packet.
    pub(super) waited_us: i64,
    /// From the capture point to the server and back; none where a proxy's tunnel is in between.
    pub(super) server_rtt_us: Option<u32>,
    pub(super) ttls: Option<(u8, u8)>,
    pub(super) acknowledged: Option<bool>,
    /// Certificates shown.
    pub(super) chain: u8,
    pub(super) flags: Flags,
}

/// Yes-or-no facts of a trace.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not a state
pub(super) struct Flags {
    pub(super) whole: bool,
    pub(super) resumed: bool,
    pub(super) offered_resumption: bool,
    pub(super) retried: bool,
    pub(super) renegotiation: bool,
    pub(super) quic: bool,
    /// The protocol around it has no server names: DTLS as most use it, OpenVPN.
    pub(super) has_no_names: bool,
    pub(super) one_direction: bool,
    pub(super) gap: bool,
    pub(super) snap_length: bool,
    pub(super) mid_stream: bool,
}

impl Trace {
    /// The server never answered the hello, or ended the handshake upon it.
    pub(super) fn failed_at_hello(&self) -> bool {
        self.flags.whole
            && self.hello.is_some()
            && self.answer.is_none()
            && matches!(
                self.outcome,
                Outcome::HelloReset
                    | Outcome::HelloClosed
                    | Outcome::HelloUnanswered
                    | Outcome::ServerAlert
            )
    }

    /// Reset, closed or left without an answer: no alert tells why.
    pub(super) fn failed_silently(&self) -> bool {
        self.failed_at_hello() && self.outcome != Outcome::ServerAlert
    }

    /// TCP itself did not come up.
    pub(super) fn failed_to_connect(&self) -> bool {
        matches!(self.outcome, Outcome::NoSynAck | Outcome::ConnectionRefused)
    }

    /// The handshake completed.
    pub(super) fn is_complete(&self) -> bool {
        self.outcome.is_complete()
    }
}

/// A kind of ClientHello.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) shape: Arc<ClientHelloShape>,
    /// `hello.key`: equal for hellos that a server must answer alike.
    pub(super) key: u32,
}

/// Traces and what they refer to.
#[derive(Debug)]
pub(super) struct History {
    traces: VecDeque<Trace>,
    traces_max: usize,
    bytes_max: usize,
    /// Traces that had to go.
    pub(super) forgotten: u64,
    names: Interned<Box<str>>,
    captures: Interned<Box<str>>,
    keys: Interned<Box<[u16]>>,
    hello_numbers: Shapes<ClientHelloShape>,
    hellos: Vec<Hello>,
    answer_numbers: Shapes<ServerHelloShape>,
    answers: Vec<Arc<ServerHelloShape>>,
    certificate_numbers: HashMap<Digest<32>, u32>,
    certificates: Vec<Arc<Certificate>>,
    /// Certificates that were first seen behind a leaf.
    others: Vec<u32>,
}

impl Hello {
    /// Who sends such hellos, as far as the shape tells.
    pub(super) fn stack(&self) -> Option<Stack<'_>> {
        Stack::of(&self.shape)
    }
}

impl History {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            traces: VecDeque::new(),
            traces_max: (settings.history_bytes_max / TRACE_BYTES).max(1),
            bytes_max: settings.history_bytes_max,
            forgotten: 0,
            names: Interned::new(),
            captures: Interned::new(),
            keys: Interned::new(),
            hello_numbers: Shapes::new(),
            hellos: Vec::new(),
            answer_numbers: Shapes::new(),
            answers: Vec::new(),
            certificate_numbers: HashMap::new(),
            certificates: Vec::new(),
            others: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, facts: &Facts<'_>) {
        let trace = self.trace(facts);
        self.push(trace);
    }

    /// So many bytes of the memory are taken by what stands beside the traces.
    pub(super) fn leave(&mut self, bytes: usize) {
        self.traces_max = (self.bytes_max.saturating_sub(bytes) / TRACE_BYTES).max(1);
    }

    /// Traces held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.traces.len()
    }

    fn push(&mut self, trace: Trace) {
        while self.traces.len() >= self.traces_max {
            self.traces.pop_front();
            self.forgotten += 1;
        }
        if self.traces.len() == self.traces.capacity() {
            self.grow();
        }
        self.traces.push_back(trace);
    }

    /// Makes room for an eighth more. A list that doubles would be half empty at its worst, and so cost twice what is
    /// promised of a handshake.
    #[cold]
    fn grow(&mut self) {
        const LEAST: usize = 256;
        let room = self.traces_max.saturating_sub(self.traces.len());
        let more = (self.traces.len() / 8).max(LEAST).min(room);
        self.traces.reserve_exact(more.max(1));
    }

    fn trace(&mut self, facts: &Facts<'_>) -> Trace {
        let record = facts.record;
        let hello = facts.client_hello;
        let tcp = record.tcp.as_ref();
        let alert = record.alerts.iter().find(|alert| is_fatal(alert));
        for other in record.certificates.iter().skip(1) {
            self.certificate(other, false);
        }
        Trace {
            start: record.start,
            end: record.end,
            frame: facts.frame(),
            capture: self
                .captures
                .number(&*record.capture)
                .map_or(u32::MAX, |found| found.0),
            client: record.client.ip,
            server: record.server,
            name: facts
                .sni()
                .and_then(|name| self.names.number(name))
                .map(|found| found.0),
            hello: hello.and_then(|hello| self.hello(&hello.shape)),
            answer: facts
                .server_hello
                .and_then(|hello| self.answer(&hello.shape)),
            leaf: record
                .certificates
                .first()
                .and_then(|leaf| self.certificate(leaf, true)),
            group: group(facts),
            hello_bytes: hello.map_or(0, |hello| hello.length),
            mss: facts.observed(|observed| observed.server_mss).unwrap_or(0),
            outcome: record.outcome,
            offer_max: facts.offer_max,
            negotiated: facts.negotiated,
            alert: alert.and_then(|alert| Some((alert.from, alert.code?))),
            closed_by: tcp.and_then(|tcp| tcp.closed_by),
            close: tcp.map_or(Close::None, |tcp| tcp.close),
            handshake_us: record.timing.handshake_us,
            waited_us: facts.waited_us(),
            server_rtt_us: server_rtt_us(record),
            ttls: facts.observed(|observed| observed.syn_ack_ttl.zip(observed.close_ttl)),
            acknowledged: facts.observed(|observed| observed.hello_acknowledged),
            chain: u8::try_from(record.certificates.len()).unwrap_or(u8::MAX),
            flags: flags(facts),
        }
    }

    fn hello(&mut self, shape: &Arc<ClientHelloShape>) -> Option<u32> {
        let (number, new) = self.hello_numbers.number(shape)?;
        if new {
            let key = hello_key(shape);
            let key = self
                .keys
                .number(key.as_slice())
                .map_or(u32::MAX, |found| found.0);
            self.hellos.push(Hello {
                shape: Arc::clone(shape),
                key,
            });
        }
        Some(number)
    }

    fn answer(&mut self, shape: &Arc<ServerHelloShape>) -> Option<u32> {
        let (number, new) = self.answer_numbers.number(shape)?;
        if new {
            self.answers.push(Arc::clone(shape));
        }
        Some(number)
    }

    fn certificate(&mut self, certificate: &Arc<Certificate>, is_leaf: bool) -> Option<u32> {
        if let Some(number) = self.certificate_numbers.get(&certificate.sha256) {
            return Some(*number);
        }
        if self.certificates.len() >= INTERNED_MAX {
            return None;
        }
        let number = u32::try_from(self.certificates.len()).ok()?;
        self.certificate_numbers.insert(certificate.sha256, number);
        self.certificates.push(Arc::clone(certificate));
        if !is_leaf {
            self.others.push(number);
        }
        Some(number)
    }

    /// The traces in order of time, with their indexes.
    pub(super) fn past(self, lang: Lang, dns: Dns) -> Past {
        let captures = texts(self.captures).into_iter().map(Arc::from).collect();
        let traces = in_order_of_time(self.traces);
        let mut past = Past {
            lang,
            captures,
            names: texts(self.names),
            hellos: self.hellos,
            answers: self.answers,
            certificates: self.certificates,
            others: self.others,
            servers: BTreeMap::new(),
            pairs: BTreeMap::new(),
            by_name: BTreeMap::new(),
            incomplete: traces.iter().map(|trace| !trace.is_complete()).collect(),
            traces,
            resolved: Resolved::new(dns),
            is_under_way: false,
        };
        past.servers = lists(&past.traces, |trace| Some(trace.server), endpoint_rank);
        past.pairs = notable_pairs(&past.traces);
        past.by_name = lists(&past.traces, |trace| trace.name, |name| *name);
        past
    }
}

/// Sorts small keys, and then each trace once into its place: traces are large, and there may be a hundred
/// megabytes of them.
fn in_order_of_time(traces: VecDeque<Trace>) -> Vec<Trace> {
    let mut traces: Vec<Trace> = traces.into();
    let mut order: Vec<(Timestamp, usize)> = traces
        .iter()
        .enumerate()
        .map(|(index, trace)| (trace.start, index))
        .collect();
    let rest = |index: usize| {
        let trace = traces.get(index);
        trace.map(|trace| (trace.capture, trace.frame, trace.server, index))
    };
    order.sort_unstable_by(|a, b| {
        let by_time = a.0.cmp(&b.0);
        by_time.then_with(|| rest(a.1).cmp(&rest(b.1)))
    });
    // Each cycle of the permutation once; what is done points to itself.
    let mut sources: Vec<usize> = order.into_iter().map(|(_, index)| index).collect();
    for start in 0..sources.len() {
        let mut place = start;
        loop {
            let source = core::mem::replace(&mut sources[place], place);
            if source == start || source == place {
                break;
            }
            traces.swap(place, source);
            place = source;
        }
    }
    traces
}

/// Indexes of traces by a key; those of one key in order. `rank` orders keys as they order themselves, but is cheaper
/// to compare.
fn lists<K: Copy + Ord + Hash, R: Ord>(
    traces: &[Trace],
    key: impl Fn(&Trace) -> Option<K>,
    rank: impl Fn(&K) -> R,
) -> BTreeMap<K, Vec<usize>> {
    let mut found: HashMap<K, Vec<usize>> = HashMap::new();
    for (index, trace) in traces.iter().enumerate() {
        if let Some(key) = key(trace) {
            found.entry(key).or_default().push(index);
        }
    }
    let mut found: Vec<(K, Vec<usize>)> = found.into_iter().collect();
    found.sort_unstable_by_key(|(key, _)| rank(key));
    found.into_iter().collect()
}

/// Handshakes of one client with one server, in number or by their outcome, that a survey has questions about. Most
/// pairs of a large capture have a few good handshakes each: to list them all cost more than all surveys.
fn notable_pairs(traces: &[Trace]) -> BTreeMap<(IpAddr, Endpoint), Vec<usize>> {
    let key = |trace: &Trace| (trace.client, trace.server);
    let mut seen: HashMap<(IpAddr, Endpoint), (u32, bool)> = HashMap::new();
    for trace in traces {
        let (count, troubled) = seen.entry(key(trace)).or_default();
        *count = count.saturating_add(1);
        *troubled |= !trace.is_complete();
    }
    seen.retain(|_, (count, troubled)| *troubled || *count as usize >= PAIR_NOTABLE);
    let notable = |trace: &Trace| Some(key(trace)).filter(|pair| seen.contains_key(pair));
    lists(traces, notable, |(client, server)| {
        (rank(client), endpoint_rank(server))
    })
}

/// IPv4 before IPv6, as addresses order themselves.
fn rank(ip: &IpAddr) -> (bool, u128) {
    match ip {
        IpAddr::V4(ip) => (false, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (true, ip.to_bits()),
    }
}

fn endpoint_rank(endpoint: &Endpoint) -> ((bool, u128), u16) {
    (rank(&endpoint.ip), endpoint.port)
}

/// Hellos without a server name are as they should be here.
pub(super) fn has_no_names(record: &Handshake) -> bool {
    record.protocol == Protocol::Dtls || record.starttls.as_deref() == Some("openvpn")
}

/// Capture point to server and back.
fn server_rtt_us(record: &Handshake) -> Option<u32> {
    let rtt = record.tcp.as_ref()?.rtt_server_us?;
    record.proxy.is_none().then(|| u32::try_from(rtt).ok())?
}

/// The group that the server chose: in its key share (TLS 1.3), or in its ServerKeyExchange.
fn group(facts: &Facts<'_>) -> Option<u16> {
    let share = facts
        .server_hello
        .and_then(|hello| hello.shape.key_share_group);
    let exchange = facts.record.key_exchange.as_ref();
    share.or_else(|| exchange?.group).map(|group| group.0)
}

fn flags(facts: &Facts<'_>) -> Flags {
    let record = facts.record;
    let hello = facts.client_hello;
    let defect = |wanted: Defect| record.defects.contains(&wanted);
    Flags {
        whole: facts.whole,
        resumed: (facts.server_hello).is_some_and(ServerHello::is_without_certificate),
        offered_resumption: hello.is_some_and(|hello| {
            hello.shape.pre_shared_key
                || hello.session_ticket_length.is_some_and(|length| length > 0)
                // TLS 1.3 clients send an id for the sake of middleboxes.
                || (hello.session_id_length > 0 && hello.shape.supported_versions.is_none())
        }),
        retried: record.hello_retry_request.is_some(),
        renegotiation: record.renegotiation,
        quic: record.protocol == Protocol::Quic,
        has_no_names: has_no_names(record),
        one_direction: defect(Defect::OneDirection),
        gap: defect(Defect::Gap) || defect(Defect::Evicted),
        snap_length: defect(Defect::SnapLength),
        mid_stream: defect(Defect::MidStream),
    }
}

/// `hello.key`: what a server's answer depends on. Extensions are a set, since some browsers shuffle them; padding,
/// pre_shared_key and GREASE are left out.
fn hello_key(shape: &ClientHelloShape) -> Vec<u16> {
    const SEPARATOR: u16 = 0x0A0A;
    let version = shape
        .supported_versions
        .as_deref()
        .map_or(shape.legacy_version.0, |versions| {
            let known = versions
                .iter()
                .map(|code| code.0)
                .filter(|code| !is_grease(*code));
            known.max().unwrap_or(0)
        });
    let mut key = vec![version, SEPARATOR];
    let clean = |codes: &[crate::record::Code16]| -> Vec<u16> {
        codes
            .iter()
            .map(|code| code.0)
            .filter(|code| !is_grease(*code))
            .collect()
    };
    key.extend(clean(&shape.cipher_suites));
    key.push(SEPARATOR);
    let mut extensions = clean(&shape.extensions);
    extensions.retain(|code| !matches!(code, 0x15 | 0x29));
    extensions.sort_unstable();
    extensions.dedup();
    key.extend(extensions);
    for list in [&shape.supported_groups, &shape.signature_algorithms] {
        key.push(SEPARATOR);
        key.extend(clean(list.as_deref().unwrap_or(&[])));
    }
    for protocol in shape.alpn.iter().flatten() {
        key.push(SEPARATOR);
        key.extend(protocol.bytes().map(u16::from));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::Make;

    #[test]
    fn ranks_order_as_endpoints_do() {
        let texts = [
            "10.0.0.9",
            "9.0.0.10",
            "::1",
            "255.255.255.255",
            "fe80::1",
            "::ffff:1.2.3.4",
        ];
        let mut all: Vec<Endpoint> = texts
            .iter()
            .flat_map(|ip| [443, 80].map(|port| (ip, port)))
            .map(|(ip, port)| Endpoint {
                ip: ip.parse().unwrap(),
                port,
            })
            .collect();
        all.sort_by_key(endpoint_rank);
        assert!(all.is_sorted());
    }

    #[test]
    fn traces_come_into_order_of_time() {
        let mut history = History::new(&Settings::default());
        // A shuffle with cycles of several lengths, and equal times.
        let times: Vec<i64> = (0..40).map(|n| n * 17 % 23).collect();
        for at in &times {
            let made = Make::new().at(*at);
            history.add(&Facts::of(&made.record));
        }
        let past = history.past(Settings::default().lang, Dns::default());
        let starts: Vec<Timestamp> = past.traces.iter().map(|trace| trace.start).collect();
        assert!(starts.is_sorted(), "{starts:?}");
        assert_eq!(starts.len(), times.len());
        let all: usize = past.servers.values().map(Vec::len).sum();
        assert_eq!(all, times.len());
    }
}
