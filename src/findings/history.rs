//! What surveys remember of handshakes: one small trace each, with what is large stored once.
//!
//! Surveys ask about many handshakes (equal hellos to two servers, a series of failures), and only at the end. So each
//! record leaves a trace of fixed size with the numbers of what it shares with others; hello shapes, answers, names and
//! certificates are interned. Past the cap the oldest traces go, counted. At the end [`History::past`] sorts the traces by
//! time, so that the order in which captures or saved records came does not matter.

mod absorb;
mod clock;
mod numbers;
mod order;
mod shared;

pub(super) use numbers::Addresses;

use super::facts::{Facts, is_fatal, is_tunnel};
use super::intern::{INTERNED_MAX, Interned, Recent, Room, Shapes, texts};
use super::lists::{ByNumber, Gathering, Listed, endpoint_rank};
use super::pairs::Pairs;
use super::past::Past;
use super::resolved::Resolved;
use super::shelf::Weigh as _;
use super::stack::Stack;
use super::trace::{Flags, Kind, Micros, Number, Own, Parts, Sort};
use super::{Lang, Settings};
use crate::record::{
    Certificate, Chain, ClientHelloShape, Close, Defect, Digest, Dns, Endpoint, Handshake,
    Protocol, ServerHello, ServerHelloShape,
};
use crate::tls::code_points::is_grease;
use hashbrown::HashMap;
use order::Ordered;
use shared::{Fresh, Shared};
use std::{cell::OnceCell, collections::VecDeque, sync::Arc};

/// So many handshakes of one client with one server are notable, whatever became of them: health probes are as many. Less
/// where a shorter series is asked for.
pub(super) const PAIR_NOTABLE: usize = 6;

/// Bytes for one handshake: its own part, and at the end its places in the lists by server, name, kind and pair. Of a flood
/// of SYNs each is a pair of its own, and at worst a kind of its own, which takes most.
pub(super) const TRACE_BYTES: usize = size_of::<Own>() + size_of::<Parts>() + 280;

/// Chains that are known by their addresses: they are held for it, with their JSON.
const CHAINS_MAX: usize = 1024;

/// What is stored once has such a part of the memory for each of its seven tables at most: names of captures and servers,
/// hellos and their keys, answers, chains and certificates. Most captures need little of it; what they leave is for traces.
const SHARES: usize = 10;

/// Traces that wait for the numbers of what they share, so that these are looked up together.
const FRESH_MAX: usize = 256;

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
    traces: VecDeque<Own>,
    /// What they share, one by one.
    parts: VecDeque<Parts>,
    /// What the latest of them share, which has no numbers yet.
    fresh: Vec<Fresh>,
    shared: Shared,
    /// Bytes for traces and what they share.
    bytes_max: usize,
    /// Bytes of it that something else takes.
    beside: usize,
    /// So many handshakes of one client with one server are notable.
    pair_notable: usize,
    /// Traces that had to go, or lack what they showed, since there was no room for it.
    pub(super) forgotten: u64,
    names: Interned<Box<str>>,
    captures: Interned<Box<str>>,
    /// Mostly the next handshake is of the same one.
    last_capture: Option<(Arc<str>, u32)>,
    keys: Interned<Box<[u16]>>,
    hello_numbers: Shapes<ClientHelloShape>,
    hellos: Vec<Hello>,
    answer_numbers: Shapes<ServerHelloShape>,
    answers: Vec<Arc<ServerHelloShape>>,
    /// By address, chains that are shared, with the number of the leaf. They are held, so that each address stays its own.
    chains: HashMap<usize, (Chain, Option<u32>)>,
    recent_chains: Recent<Option<u32>>,
    chain_room: Room,
    certificate_numbers: HashMap<Digest<32>, u32>,
    certificates: Vec<Arc<Certificate>>,
    certificate_room: Room,
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
        let share = settings.history_bytes_max / SHARES;
        Self {
            traces: VecDeque::new(),
            parts: VecDeque::new(),
            fresh: Vec::new(),
            shared: Shared::default(),
            bytes_max: settings.history_bytes_max,
            beside: 0,
            pair_notable: PAIR_NOTABLE.min(2 * settings.series_min as usize + 1),
            forgotten: 0,
            names: Interned::new(share),
            captures: Interned::new(share),
            last_capture: None,
            keys: Interned::new(share),
            hello_numbers: Shapes::new(share),
            hellos: Vec::new(),
            answer_numbers: Shapes::new(share),
            answers: Vec::new(),
            chains: HashMap::new(),
            chain_room: Room::new(share),
            recent_chains: Recent::new(),
            certificate_numbers: HashMap::new(),
            certificates: Vec::new(),
            certificate_room: Room::new(share),
            others: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, facts: &Facts<'_>) {
        let sort = self.sort(facts);
        if sort.hello.is_none() && facts.client_hello.is_some()
            || sort.answer.is_none() && facts.server_hello.is_some()
            || sort.name.is_none() && facts.wanted().is_some()
            || sort.leaf.is_none() && !facts.record.certificates.is_empty()
        {
            self.forgotten += 1;
        }
        let record = facts.record;
        let fresh = Fresh::new(record.client.ip, record.server, sort);
        self.push(own(facts), fresh);
    }

    /// So many bytes of the memory are taken by what stands beside the traces.
    pub(super) fn leave(&mut self, bytes: usize) {
        self.beside = bytes;
    }

    /// Traces held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.traces.len()
    }

    /// Whether there is more than has room.
    fn is_too_full(&self) -> bool {
        let bytes = self.traces.len() * TRACE_BYTES + self.shared.bytes() + self.stored_bytes();
        bytes > self.bytes_max.saturating_sub(self.beside)
    }

    /// Bytes of what is stored once.
    fn stored_bytes(&self) -> usize {
        let texts = self.names.bytes() + self.captures.bytes() + self.keys.bytes();
        let shapes = self.hello_numbers.bytes() + self.answer_numbers.bytes();
        texts + shapes + self.chain_room.bytes() + self.certificate_room.bytes()
    }

    fn push(&mut self, own: Own, shared: Fresh) {
        if self.traces.len() == self.traces.capacity() {
            self.grow();
        }
        self.traces.push_back(own);
        self.parts.push_back(Parts::NONE);
        self.fresh.push(shared);
        if self.fresh.len() >= FRESH_MAX {
            self.settle();
        }
    }

    /// Numbers what the latest traces share. Where there is no room, the oldest ones go; one stays, however little there is.
    pub(super) fn settle(&mut self) {
        let settled = self.settled();
        self.shared.number(&self.fresh, &mut self.parts, settled);
        self.fresh.clear();
        while self.is_too_full() && self.traces.len() > 1 {
            self.traces.pop_front();
            if let Some(oldest) = self.parts.pop_front() {
                self.shared.release(oldest);
                self.forgotten += 1;
            }
        }
    }

    /// Traces that have numbers for all that they share: those before the latest.
    fn settled(&self) -> usize {
        self.traces.len() - self.fresh.len()
    }

    /// Makes room for an eighth more. A list that doubles would be half empty at its worst, and so cost twice what is
    /// promised of a handshake.
    #[cold]
    fn grow(&mut self) {
        const LEAST: usize = 256;
        let more = (self.traces.len() / 8).max(LEAST);
        self.traces.reserve_exact(more);
        self.parts.reserve_exact(more);
    }

    fn sort(&mut self, facts: &Facts<'_>) -> Sort {
        let record = facts.record;
        let hello = facts.client_hello;
        let alert = record.alerts.iter().find(|alert| is_fatal(alert));
        Sort {
            capture: self.capture(&record.capture),
            name: facts
                .wanted()
                .and_then(|name| self.names.number(name))
                .and_then(|found| Number::of(found.0)),
            hello: hello.and_then(|hello| Number::of(self.hello(&hello.shape)?)),
            answer: facts
                .server_hello
                .and_then(|hello| Number::of(self.answer(&hello.shape)?)),
            leaf: self.leaf(&record.certificates).and_then(Number::of),
            group: group(facts),
            mss: facts.observed(|observed| observed.server_mss).unwrap_or(0),
            outcome: record.outcome,
            offer_max: facts.offer_max,
            negotiated: facts.negotiated,
            alert: alert.and_then(|alert| Some((alert.from, alert.code?))),
            chain: u8::try_from(record.certificates.len()).unwrap_or(u8::MAX),
            flags: flags(facts),
        }
    }

    fn capture(&mut self, name: &Arc<str>) -> u32 {
        match &self.last_capture {
            Some((last, number)) if Arc::ptr_eq(last, name) => return *number,
            _ => {}
        }
        let number = self.captures.number(&**name);
        let number = number.map_or(u32::MAX, |found| found.0);
        self.last_capture = Some((Arc::clone(name), number));
        number
    }

    fn hello(&mut self, shape: &Arc<ClientHelloShape>) -> Option<u32> {
        let (number, new) = self.hello_numbers.number(shape)?;
        if new {
            let key = hello_key(shape);
            let key = self
                .keys
                .number(key.as_slice())
                // At the cap it is like no other.
                .map_or(u32::MAX - number, |found| found.0);
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

    /// The number of a chain's leaf; all behind it get numbers, too.
    fn leaf(&mut self, chain: &Chain) -> Option<u32> {
        let address = chain.address()?;
        if let Some(leaf) = self.recent_chains.get(address) {
            return leaf;
        }
        if let Some((_, leaf)) = self.chains.get(&address) {
            self.recent_chains.put(address, *leaf);
            return *leaf;
        }
        for other in chain.iter().skip(1) {
            self.certificate(other, false);
        }
        let leaf = self.certificate(chain.first()?, true);
        if chain.is_shared() {
            let bytes = chain.iter().map(|one| one.heap_bytes()).sum();
            if self.chains.len() >= CHAINS_MAX || self.chain_room.take(bytes).is_none() {
                // Addresses may be given to others now.
                self.chains.clear();
                self.recent_chains = Recent::new();
                self.chain_room.clear();
                if self.chain_room.take(bytes).is_none() {
                    return leaf;
                }
            }
            self.chains.insert(address, (chain.clone(), leaf));
        }
        leaf
    }

    fn certificate(&mut self, certificate: &Arc<Certificate>, is_leaf: bool) -> Option<u32> {
        if let Some(number) = self.certificate_numbers.get(&certificate.sha256) {
            return Some(*number);
        }
        if self.certificates.len() >= INTERNED_MAX {
            return None;
        }
        let number = u32::try_from(self.certificates.len()).ok()?;
        self.certificate_room.take(certificate.heap_bytes())?;
        self.certificate_numbers.insert(certificate.sha256, number);
        self.certificates.push(Arc::clone(certificate));
        if !is_leaf {
            self.others.push(number);
        }
        Some(number)
    }

    /// The traces in order of time, with their indexes.
    pub(super) fn past(mut self, lang: Lang, dns: Dns) -> Past {
        self.settle();
        let captures = texts(self.captures).into_iter().map(Arc::from).collect();
        let own: Vec<Own> = self.traces.into();
        let Ordered {
            order,
            kind_of,
            kinds,
            by_first,
            client_of,
            may_go_back,
        } = order::ordered(&own, self.parts.make_contiguous(), &self.shared);
        let clients = self.shared.clients(client_of);
        let (endpoints, sorts) = self.shared.listed();
        let kinds = Listed {
            kinds,
            endpoints,
            sorts,
        };
        let members = Gathering::new(&kinds, &by_first);
        Past {
            lang,
            captures,
            names: texts(self.names),
            hellos: self.hellos,
            answers: self.answers,
            certificates: self.certificates,
            others: self.others,
            servers: members.by(answering, endpoint_rank),
            by_name: members.by(|kind| kind.name, |name| *name),
            pairs: Pairs::new(&clients, &kind_of, &kinds, self.pair_notable),
            by_kind: ByNumber::new(kind_of.iter().copied(), kinds.len()),
            by_client: OnceCell::new(),
            clients,
            kind_of,
            kinds,
            by_first,
            own,
            order,
            resolved: Resolved::new(dns),
            speakers: OnceCell::new(),
            may_go_back,
            is_under_way: false,
        }
    }
}

/// The server of a kind, if it is the one that answers: the ledger of an explicit proxy would mix those behind it.
fn answering(kind: &Kind<'_>) -> Option<Endpoint> {
    (!kind.flags.tunnelled()).then_some(kind.server)
}

/// What a handshake has of its own.
fn own(facts: &Facts<'_>) -> Own {
    let record = facts.record;
    let tcp = record.tcp.as_ref();
    Own {
        start: record.start,
        end: record.end,
        frame: facts.frame(),
        hello_bytes: facts.client_hello.map_or(0, |hello| hello.length),
        closed_by: tcp.and_then(|tcp| tcp.closed_by),
        close: tcp.map_or(Close::None, |tcp| tcp.close),
        handshake: Micros::of(record.timing.handshake_us),
        waited: Micros::of(Some(facts.waited_us())),
        server_rtt: Micros::of(server_rtt_us(record)),
        ttls: facts.observed(|observed| observed.syn_ack_ttl.zip(observed.close_ttl)),
        acknowledged: facts.observed(|observed| observed.hello_acknowledged),
    }
}

/// Hellos without a server name are as they should be here.
pub(super) fn has_no_names(record: &Handshake) -> bool {
    record.protocol == Protocol::Dtls || record.starttls.as_deref() == Some("openvpn")
}

/// Capture point to server and back.
fn server_rtt_us(record: &Handshake) -> Option<i64> {
    let rtt = record.tcp.as_ref()?.rtt_server_us?;
    (record.proxy.is_none() && rtt >= 0).then_some(rtt)
}

/// The group that the server chose: in its key share (TLS 1.3), or in its ServerKeyExchange.
fn group(facts: &Facts<'_>) -> Option<u16> {
    let share = facts
        .server_hello
        .and_then(|hello| hello.shape.key_share_group);
    let exchange = facts.record.key_exchange.as_ref();
    share.or_else(|| exchange?.group).map(|group| group.0)
}

pub(super) fn flags(facts: &Facts<'_>) -> Flags {
    let record = facts.record;
    let hello = facts.client_hello;
    let has_defects = !record.defects.is_empty();
    let defect = |wanted: Defect| has_defects && record.defects.contains(&wanted);
    let offered_resumption = hello.is_some_and(|hello| {
        hello.shape.pre_shared_key
            || hello.session_ticket_length.is_some_and(|length| length > 0)
            // TLS 1.3 clients send an id for the sake of middleboxes.
            || (hello.session_id_length > 0 && hello.shape.supported_versions.is_none())
    });
    // Without another group it asks for a cookie only.
    let retried = (record.hello_retry_request.as_deref())
        .is_some_and(|retry| retry.shape.key_share_group.is_some());
    let resumed = facts
        .server_hello
        .is_some_and(ServerHello::is_without_certificate);
    let tunnelled = record.proxy.as_ref().is_some_and(is_tunnel);
    let without_payload = facts.observed(|observed| observed.without_payload) == Some(true);
    // What was cut is missing, too, and was not lost; where both are, it can't be told.
    let lost = defect(Defect::Gap) && !defect(Defect::SnapLength);
    let defects = (Flags::ONE_DIRECTION.if_so(defect(Defect::OneDirection)))
        .or(Flags::GAP.if_so(lost || defect(Defect::Evicted)))
        .or(Flags::SNAP_LENGTH.if_so(defect(Defect::SnapLength)))
        .or(Flags::MID_STREAM.if_so(defect(Defect::MidStream)))
        .or(Flags::MALFORMED.if_so(defect(Defect::Malformed)));
    (Flags::WHOLE.if_so(facts.whole))
        .or(Flags::RESUMED.if_so(resumed))
        .or(Flags::OFFERED_RESUMPTION.if_so(offered_resumption))
        .or(Flags::RETRIED.if_so(retried))
        .or(Flags::RENEGOTIATION.if_so(record.renegotiation))
        .or(Flags::QUIC.if_so(record.protocol == Protocol::Quic))
        .or(Flags::HAS_NO_NAMES.if_so(has_no_names(record)))
        .or(Flags::WITHOUT_PAYLOAD.if_so(without_payload))
        .or(Flags::TUNNELLED.if_so(tunnelled))
        .or(defects)
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
    fn traces_come_into_order_of_time() {
        let mut history = History::new(&Settings::default());
        // A shuffle with cycles of several lengths, and equal times.
        let times: Vec<i64> = (0..40).map(|n| n * 17 % 23).collect();
        for at in &times {
            let made = Make::new().at(*at);
            history.add(&Facts::of(&made.record));
        }
        let past = history.past(Settings::default().lang, Dns::default());
        let starts: Vec<_> = past.all().map(|(_, trace)| trace.own.start).collect();
        assert!(starts.is_sorted(), "{starts:?}");
        assert_eq!(starts.len(), times.len());
        let all = past.servers.keys().map(|server| past.at(server).len());
        assert_eq!(all.sum::<usize>(), times.len());
    }

    #[test]
    fn chains_have_the_numbers_of_their_leaves_however_many_there_are() {
        use crate::findings::testing::cert;
        let chain = |n: usize| -> Chain {
            let subject = format!("CN=host-{n}");
            vec![cert(&subject, &[]).into(), cert("CN=ca", &[]).into()].into()
        };
        let mut history = History::new(&Settings::default());
        // Twice as many as are known by address; what was held goes, and its addresses come again.
        for n in 0..2 * CHAINS_MAX {
            let made = chain(n);
            let held = made.clone();
            let number = history.leaf(&made).unwrap();
            assert_eq!(history.leaf(&held), Some(number));
            let known = &history.certificates[number as usize];
            assert_eq!(
                known.subject.as_deref(),
                Some(format!("CN=host-{n}").as_str())
            );
            assert!(history.chains.len() <= CHAINS_MAX);
        }
        // The one behind them all was never a leaf.
        assert_eq!(history.others.len(), 1);
    }

    #[test]
    fn what_handshakes_show_is_stored_within_the_memory_however_large_it_is() {
        let settings = Settings {
            history_bytes_max: 4 << 20,
            ..Settings::default()
        };
        let mut history = History::new(&settings);
        // Each hello, name, answer and certificate is another one, and long.
        let long = |n: u16| -> Vec<crate::record::Code16> {
            let codes = (0..512).map(|code| code ^ n << 9);
            codes.map(crate::record::Code16).collect()
        };
        for n in 0..2_000_u16 {
            let name = format!("{n}.{}", "x".repeat(4_000));
            let mut leaf = crate::findings::testing::cert(&format!("CN={name}"), &[&name]);
            leaf.sha256.0[..2].copy_from_slice(&n.to_be_bytes());
            let made = Make::new().at(i64::from(n)).sni(&name);
            let made = made.shape(|shape| {
                shape.cipher_suites = long(n);
                shape.ja3_string = name.as_str().into();
            });
            let made = made.answer(0x0303, 0xc02f).certificate(leaf);
            let made = made.reply(|shape| shape.extensions = long(n));
            history.add(&Facts::of(&made.record));
        }
        history.settle();
        assert!(history.stored_bytes() <= settings.history_bytes_max * 7 / SHARES);
        // All are there, and most say that something of them is not.
        assert_eq!(history.len(), 2_000);
        assert!(history.forgotten > 1_000 && history.forgotten < 2_000);
        let keys: std::collections::HashSet<u32> =
            history.hellos.iter().map(|hello| hello.key).collect();
        assert_eq!(keys.len(), history.hellos.len());
    }
}
