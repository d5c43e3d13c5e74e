//! What surveys remember of handshakes: one small trace each, with what is large stored once.
//!
//! Surveys ask about many handshakes (equal hellos to two servers, a series of failures), and only at the end. So each
//! record leaves a trace of fixed size; hello shapes, answers, names and certificates are interned. Past the cap the
//! oldest traces go, counted. At the end [`History::past`] sorts the traces by time, so that the order in which captures
//! or saved records came does not matter.

use super::Settings;
use super::facts::{Facts, is_fatal, suite_name, version_name};
use super::stack::Stack;
use crate::record::{
    Certificate, ClientHelloShape, Close, Defect, Digest, Endpoint, Evidence, Outcome, Protocol,
    ServerHelloShape, Side, Timestamp,
};
use crate::tls::code_points::{AlertDescription, CipherSuite, VersionRank, is_grease};
use core::hash::Hash;
use hashbrown::HashMap;
use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

/// Distinct names, shapes and certificates that are kept; traces with others lack them.
const INTERNED_MAX: usize = 65_536;

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
    /// Who sends such hellos, as far as the shape tells.
    pub(super) stack: Option<Stack>,
}

/// Values that are stored once and have a number.
#[derive(Debug)]
struct Interned<T> {
    numbers: HashMap<T, u32>,
}

impl<T: Hash + Eq> Interned<T> {
    fn new() -> Self {
        Self {
            numbers: HashMap::new(),
        }
    }

    /// The number of a value, and whether it is new; `None` at the cap.
    fn number<Q>(&mut self, value: &Q) -> Option<(u32, bool)>
    where
        Q: Hash + hashbrown::Equivalent<T> + ?Sized,
        T: for<'q> From<&'q Q>,
    {
        if let Some(number) = self.numbers.get(value) {
            return Some((*number, false));
        }
        if self.numbers.len() >= INTERNED_MAX {
            return None;
        }
        let number = u32::try_from(self.numbers.len()).ok()?;
        self.numbers.insert(value.into(), number);
        Some((number, true))
    }
}

/// Shapes by content, with a short way for an `Arc` that came before.
#[derive(Debug)]
struct Shapes<S> {
    by_address: HashMap<usize, (u32, Arc<S>)>,
    by_content: HashMap<Arc<S>, u32>,
}

impl<S: Hash + Eq> Shapes<S> {
    fn new() -> Self {
        Self {
            by_address: HashMap::new(),
            by_content: HashMap::new(),
        }
    }

    fn number(&mut self, shape: &Arc<S>) -> Option<(u32, bool)> {
        // The table holds the Arc, so that its address stays its own.
        let address = Arc::as_ptr(shape).addr();
        if let Some((number, _)) = self.by_address.get(&address) {
            return Some((*number, false));
        }
        let found = match self.by_content.get(shape) {
            Some(number) => (*number, false),
            None if self.by_content.len() >= INTERNED_MAX => return None,
            None => {
                let number = u32::try_from(self.by_content.len()).ok()?;
                self.by_content.insert(Arc::clone(shape), number);
                (number, true)
            }
        };
        if self.by_address.len() < INTERNED_MAX && Arc::strong_count(shape) > 2 {
            self.by_address
                .insert(address, (found.0, Arc::clone(shape)));
        }
        Some(found)
    }
}

/// Traces and what they refer to.
#[derive(Debug)]
pub(super) struct History {
    traces: VecDeque<Trace>,
    traces_max: usize,
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

impl History {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            traces: VecDeque::new(),
            traces_max: (settings.history_bytes_max / size_of::<Trace>()).max(1),
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
        if self.traces.len() >= self.traces_max {
            self.traces.pop_front();
            self.forgotten += 1;
        }
        self.traces.push_back(trace);
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
                stack: Stack::of(shape),
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
    pub(super) fn past(self) -> Past {
        let captures = texts(self.captures).into_iter().map(Arc::from).collect();
        let mut traces: Vec<Trace> = self.traces.into();
        traces.sort_by_key(|trace| (trace.start, trace.capture, trace.frame, trace.server));
        let mut past = Past {
            captures,
            names: texts(self.names),
            hellos: self.hellos,
            answers: self.answers,
            certificates: self.certificates,
            others: self.others,
            servers: BTreeMap::new(),
            pairs: BTreeMap::new(),
            by_name: BTreeMap::new(),
            traces,
        };
        for (index, trace) in past.traces.iter().enumerate() {
            past.servers.entry(trace.server).or_default().push(index);
            past.pairs
                .entry((trace.client, trace.server))
                .or_default()
                .push(index);
            if let Some(name) = trace.name {
                past.by_name.entry(name).or_default().push(index);
            }
        }
        past
    }
}

fn texts(interned: Interned<Box<str>>) -> Vec<Box<str>> {
    let mut numbered: Vec<_> = interned.numbers.into_iter().collect();
    numbered.sort_by_key(|(_, number)| *number);
    numbered.into_iter().map(|(text, _)| text).collect()
}

fn flags(facts: &Facts<'_>) -> Flags {
    let record = facts.record;
    let hello = facts.client_hello;
    let defect = |wanted: Defect| record.defects.contains(&wanted);
    Flags {
        whole: facts.whole,
        resumed: facts.server_hello.is_some_and(|hello| hello.resumed),
        offered_resumption: hello.is_some_and(|hello| {
            hello.shape.pre_shared_key
                || hello.session_ticket_length.is_some_and(|length| length > 0)
                // TLS 1.3 clients send an id for the sake of middleboxes.
                || (hello.session_id_length > 0 && hello.shape.supported_versions.is_none())
        }),
        retried: record.hello_retry_request.is_some(),
        renegotiation: record.renegotiation,
        quic: record.protocol == Protocol::Quic,
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

/// All traces at the end, in order of time.
pub(super) struct Past {
    pub(super) traces: Vec<Trace>,
    captures: Vec<Arc<str>>,
    names: Vec<Box<str>>,
    hellos: Vec<Hello>,
    answers: Vec<Arc<ServerHelloShape>>,
    certificates: Vec<Arc<Certificate>>,
    others: Vec<u32>,
    /// Traces by server endpoint.
    pub(super) servers: BTreeMap<Endpoint, Vec<usize>>,
    /// Traces by client address and server endpoint.
    pub(super) pairs: BTreeMap<(IpAddr, Endpoint), Vec<usize>>,
    by_name: BTreeMap<u32, Vec<usize>>,
}

/// What a server endpoint was seen to be able to: lower bounds, never "cannot".
pub(super) struct Ledger {
    /// `srv.can`: the best version that it chose, or said that it could choose.
    pub(super) can: Option<VersionRank>,
    /// The oldest version that it accepted.
    pub(super) lowest: Option<VersionRank>,
    /// Suites that it chose, with a trace each.
    pub(super) suites: BTreeMap<u16, usize>,
    /// Handshakes with an answer.
    pub(super) answered: usize,
}

impl Past {
    /// The traces of a list.
    pub(super) fn of<'p>(&'p self, list: &'p [usize]) -> impl Iterator<Item = (usize, &'p Trace)> {
        list.iter()
            .filter_map(|index| Some((*index, self.traces.get(*index)?)))
    }

    pub(super) fn name(&self, trace: &Trace) -> Option<&str> {
        self.names
            .get(usize::try_from(trace.name?).ok()?)
            .map(AsRef::as_ref)
    }

    pub(super) fn hello(&self, trace: &Trace) -> Option<&Hello> {
        self.hellos.get(usize::try_from(trace.hello?).ok()?)
    }

    pub(super) fn answer(&self, trace: &Trace) -> Option<&ServerHelloShape> {
        self.answers
            .get(usize::try_from(trace.answer?).ok()?)
            .map(AsRef::as_ref)
    }

    pub(super) fn leaf(&self, trace: &Trace) -> Option<&Certificate> {
        self.certificates
            .get(usize::try_from(trace.leaf?).ok()?)
            .map(AsRef::as_ref)
    }

    /// Certificates that were sent behind a leaf.
    pub(super) fn others(&self) -> impl Iterator<Item = &Certificate> {
        self.others.iter().filter_map(|number| {
            let certificate = self.certificates.get(usize::try_from(*number).ok()?)?;
            Some(certificate.as_ref())
        })
    }

    pub(super) fn suite(&self, trace: &Trace) -> Option<CipherSuite> {
        Some(CipherSuite(self.answer(trace)?.cipher_suite.0))
    }

    /// Suites that a trace's client offered, without GREASE and signals.
    pub(super) fn offered(&self, trace: &Trace) -> Vec<CipherSuite> {
        self.hello(trace).map_or_else(Vec::new, |hello| {
            let suites = hello
                .shape
                .cipher_suites
                .iter()
                .map(|code| CipherSuite(code.0));
            suites
                .filter(|suite| !is_grease(suite.0) && !suite.is_signalling())
                .collect()
        })
    }

    /// Names in use, with their traces.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.by_name.iter().filter_map(|(number, list)| {
            let name = self.names.get(usize::try_from(*number).ok()?)?;
            Some((name.as_ref(), list.as_slice()))
        })
    }

    /// The name, or else the address, that a trace's client wanted.
    pub(super) fn target(&self, trace: &Trace) -> Box<str> {
        self.name(trace)
            .map_or_else(|| trace.server.to_string().into(), Box::from)
    }

    pub(super) fn capture(&self, trace: &Trace) -> Arc<str> {
        let found = usize::try_from(trace.capture)
            .ok()
            .and_then(|index| self.captures.get(index));
        found.map_or_else(|| Arc::from("?"), Arc::clone)
    }

    /// The ledger of some traces of one server.
    pub(super) fn ledger(&self, list: &[usize]) -> Ledger {
        let mut ledger = Ledger {
            can: None,
            lowest: None,
            suites: BTreeMap::new(),
            answered: 0,
        };
        for (index, trace) in self.of(list) {
            let (Some(answer), Some(version)) = (self.answer(trace), trace.negotiated) else {
                continue;
            };
            let said = answer.downgrade_sentinel.map(|sentinel| match sentinel {
                crate::record::Sentinel::Tls12 => VersionRank::Tls13,
                crate::record::Sentinel::Tls11 => VersionRank::Tls12,
            });
            ledger.can = ledger.can.max(Some(version)).max(said);
            ledger.lowest = Some(ledger.lowest.map_or(version, |lowest| lowest.min(version)));
            ledger.suites.entry(answer.cipher_suite.0).or_insert(index);
            ledger.answered += 1;
        }
        ledger
    }

    /// What one trace shows, as evidence.
    pub(super) fn evidence(&self, trace: &Trace) -> Evidence {
        self.evidence_of(trace, self.story(trace))
    }

    /// A trace's frame with other words.
    pub(super) fn evidence_of(&self, trace: &Trace, fact: String) -> Evidence {
        Evidence {
            capture: self.capture(trace),
            frame: trace.frame,
            fact: fact.into(),
        }
    }

    /// One line about a trace: who, what was offered, what came of it.
    fn story(&self, trace: &Trace) -> String {
        let mut story = format!("{} {} → {}", trace.start, trace.client, trace.server);
        if let Some(name) = self.name(trace) {
            story.push_str(&format!(" ({name})"));
        }
        if let Some(offered) = trace.offer_max {
            story.push_str(&format!(", offers {}", version_name(offered)));
        }
        match (trace.negotiated, self.suite(trace)) {
            (Some(version), Some(suite)) => {
                story.push_str(&format!(
                    ": {}, {}",
                    version_name(version),
                    suite_name(suite)
                ));
                if !trace.is_complete() {
                    story.push_str(&format!("; {}", trace.outcome.as_str()));
                }
            }
            _ => story.push_str(&format!(": {}", trace.outcome.as_str())),
        }
        if let Some((_, code)) = trace.alert {
            story.push_str(&format!(", alert {code} {}", AlertDescription(code)));
        }
        story
    }
}
