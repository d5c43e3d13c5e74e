//! Folds DNS messages into lookups: one entry a client, name and type, of bounded number and size.
//!
//! A repeated lookup costs a table probe and allocates nothing. Each shard has its own; [`Dns::merge`] joins them, and
//! those of saved runs, in an order that does not depend on who came first.

mod handing;

pub use handing::Clients;

use super::copy::text;
use super::dns::{Dns, DnsClient, DnsServer, DnsService, DnsSpan, Lookup, LookupFailure};
use super::{EchAnswer, EchTold, Timestamp, Transport};
use crate::capture::Catalog;
use crate::dns::message::{Answer, Message};
use crate::dns::service::Service;
use crate::dns::waiting::{Asked, Question};
use crate::dns::{kind, rcode_name};
use core::hash::BuildHasher;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};
use std::net::IpAddr;

/// Kept of each lookup.
const SERVERS_MAX: usize = 8;
const ADDRESSES_MAX: usize = 32;
const ALIASES_MAX: usize = 8;
const SERVICES_MAX: usize = 8;
const FAILURES_MAX: usize = 8;
/// Of each service.
const PROTOCOLS_MAX: usize = 8;
/// Servers and clients told apart.
const HOSTS_MAX: usize = 4096;
/// Spans kept of each client: a week.
const SPANS_MAX: usize = 1008;
/// Within this time a response without a query is a copy.
const COPY_NS: i64 = 1_000_000_000;
/// Questions under way for which it is noted whether another one was answered meanwhile.
const OPEN_MAX: usize = 4;
/// Ports told apart, of all clients together.
const PORTS_MAX: usize = 1 << 18;

/// Lookups, as far as they are known.
#[derive(Debug, Default)]
pub struct Lookups {
    entries: Vec<Entry>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    clients: HashMap<IpAddr, Client>,
    servers: HashMap<IpAddr, (u64, u64)>,
    by_rcode: [u64; 16],
    over_tcp: u64,
    unanswered: u64,
    forgotten: u64,
    /// Ports in the sets of all clients.
    ports: usize,
}

/// A lookup before its captures have names.
#[derive(Debug)]
struct Entry {
    kind: u16,
    /// The name as it was read; `lookup.name` is its text.
    name: Box<[u8]>,
    capture: u32,
    /// When the last response came.
    response_ns: i64,
    /// What the last response said of Encrypted ClientHello, as a hash.
    ech: u64,
    lookup: Box<Lookup>,
    failures: Vec<(u32, LookupFailure)>,
    /// The first questions under way: when they were sent, and when the next one was sent that was answered.
    open: Vec<(i64, Option<Timestamp>)>,
}

/// A client's queries over UDP.
#[derive(Debug)]
struct Client {
    seen: DnsClient,
    span: DnsSpan,
    ports: HashSet<u16>,
    /// Its last query when it was last handed over.
    handed: Option<Timestamp>,
}

impl Lookups {
    /// The number of a lookup; a new one where there is room for it under `max`.
    pub fn subject(&mut self, client: IpAddr, kind: u16, name: &[u8], max: usize) -> Option<u32> {
        let hash = self.hasher.hash_one((client, kind, name));
        let entries = &self.entries;
        let found = self.index.find(hash, |number| {
            entries.get(*number as usize).is_some_and(|entry| {
                entry.kind == kind && *entry.name == *name && entry.lookup.client == client
            })
        });
        if let Some(number) = found {
            return Some(*number);
        }
        if self.entries.len() >= max {
            self.forgotten += 1;
            return None;
        }
        let number = u32::try_from(self.entries.len()).ok()?;
        self.entries.push(Entry {
            kind,
            name: name.into(),
            capture: 0,
            response_ns: i64::MIN,
            ech: 0,
            lookup: Box::new(empty(client, kind, name)),
            failures: Vec::new(),
            open: Vec::new(),
        });
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, number, |number| {
            entries.get(*number as usize).map_or(0, |entry| {
                hasher.hash_one((entry.lookup.client, entry.kind, &*entry.name))
            })
        });
        Some(number)
    }

    /// A question that is none that waits already.
    pub fn asked(&mut self, asked: &Asked, question: &Question) {
        self.over_tcp += u64::from(asked.tcp);
        self.server(asked.server, 1, 0);
        let Some(entry) = self.entries.get_mut(question.subject as usize) else {
            return;
        };
        entry.seen(question.capture, question.frame, question.first_ns);
        if entry.open.len() < OPEN_MAX {
            entry.open.push((question.first_ns, None));
        }
        let lookup = &mut entry.lookup;
        lookup.queries += 1;
        if !lookup.servers.contains(&asked.server) && lookup.servers.len() < SERVERS_MAX {
            lookup.servers.push(asked.server);
        }
    }

    /// A query over UDP, whatever it asks for again: how steadily does its client ask?
    pub fn steady(&mut self, client: IpAddr, port: u16, time_ns: i64) {
        let room = self.clients.len() < HOSTS_MAX;
        let time = Timestamp(time_ns);
        let known = match self.clients.entry(client) {
            hashbrown::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hashbrown::hash_map::Entry::Vacant(entry) if room => {
                entry.insert(Client::new(client, time))
            }
            hashbrown::hash_map::Entry::Vacant(_) => return,
        };
        known.query(time, port, &mut self.ports);
    }

    fn server(&mut self, ip: IpAddr, queries: u64, answers: u64) {
        let room = self.servers.len() < HOSTS_MAX;
        match self.servers.entry(ip) {
            hashbrown::hash_map::Entry::Occupied(mut entry) => {
                entry.get_mut().0 += queries;
                entry.get_mut().1 += answers;
            }
            hashbrown::hash_map::Entry::Vacant(entry) if room => {
                entry.insert((queries, answers));
            }
            hashbrown::hash_map::Entry::Vacant(_) => {}
        }
    }

    /// A response; `question` is the query, or stands for it where the capture lacks it. Returns what it says of
    /// Encrypted ClientHello, where the response before said otherwise.
    pub fn answered(
        &mut self,
        asked: &Asked,
        question: &Question,
        message: &Message<'_>,
        time_ns: i64,
        scratch: &mut Vec<u8>,
    ) -> Option<EchAnswer> {
        if let Some(count) = self.by_rcode.get_mut(usize::from(message.rcode)) {
            *count += 1;
        }
        self.server(asked.server, 0, 1);
        let entry = self.entries.get_mut(question.subject as usize)?;
        entry.seen(question.capture, question.frame, question.first_ns);
        entry.response_ns = time_ns;
        let mended = entry.leave(question.first_ns);
        let waited_us = Timestamp(time_ns).micros_since(Timestamp(question.first_ns));
        entry.lookup.truncated |= message.truncated;
        entry.lookup.slowest_us = entry.lookup.slowest_us.max(Some(waited_us));
        if message.rcode == 0 {
            entry.answered(Timestamp(question.first_ns));
            entry.lookup.answers_over_tcp += u64::from(asked.tcp);
            entry.told(message, scratch);
        } else {
            let result = rcode_name(message.rcode).unwrap_or("other");
            entry.failed(asked, question, result, waited_us, mended);
        }
        if entry.kind != kind::HTTPS {
            return None;
        }
        let told = EchTold::of(message)?;
        let hash = self.hasher.hash_one(&told);
        (core::mem::replace(&mut entry.ech, hash) != hash).then(|| EchAnswer {
            client: entry.lookup.client,
            name: entry.lookup.name.clone(),
            time_ns,
            told,
        })
    }

    /// A response without a query so soon behind another one is a copy of it.
    pub fn is_copy(&self, subject: u32, time_ns: i64) -> bool {
        let entry = self.entries.get(subject as usize);
        entry.is_some_and(|entry| time_ns.saturating_sub(entry.response_ns) < COPY_NS)
    }

    /// A question got no answer in all the time that there was.
    pub fn unanswered(&mut self, asked: &Asked, question: &Question) {
        self.unanswered += 1;
        let waited_us = Timestamp(question.last_ns).micros_since(Timestamp(question.first_ns));
        if let Some(entry) = self.entries.get_mut(question.subject as usize) {
            entry.seen(question.capture, question.frame, question.first_ns);
            let mended = entry.leave(question.first_ns);
            entry.failed(asked, question, LookupFailure::NO_ANSWER, waited_us, mended);
        }
    }

    /// Lookups held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No lookups are held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was seen, with the names of captures.
    pub fn finish(self, captures: &Catalog) -> Dns {
        let name = |number: u32| captures.capture(number);
        let lookups: Vec<Lookup> = self
            .entries
            .into_iter()
            // Made for a question that waits, of which nothing was heard yet.
            .filter(|entry| entry.lookup.first_seen.0 != i64::MAX)
            .map(|entry| Lookup {
                capture: name(entry.capture),
                failures: entry
                    .failures
                    .into_iter()
                    .map(|(capture, failure)| LookupFailure {
                        capture: name(capture),
                        ..failure
                    })
                    .collect(),
                ..*entry.lookup
            })
            .collect();
        let rcodes = (0u8..).zip(self.by_rcode).filter(|(_, count)| *count > 0);
        Dns {
            queries: lookups.iter().map(|lookup| lookup.queries).sum(),
            answers: self.by_rcode.iter().sum(),
            by_rcode: rcodes
                .map(|(rcode, count)| (rcode_name(rcode).unwrap_or("other").into(), count))
                .collect(),
            unanswered: self.unanswered,
            over_tcp: self.over_tcp,
            forgotten: self.forgotten,
            lookups,
            servers: self
                .servers
                .into_iter()
                .map(|(ip, (queries, answers))| DnsServer {
                    ip,
                    queries,
                    answers,
                })
                .collect(),
            clients: self.clients.into_values().map(Client::finish).collect(),
        }
    }
}

fn empty(client: IpAddr, kind: u16, name: &[u8]) -> Lookup {
    Lookup {
        client,
        name: text(name),
        kind: kind::name(kind).unwrap_or("other").into(),
        capture: "".into(),
        frame: 0,
        queries: 0,
        answers: 0,
        first_seen: Timestamp(i64::MAX),
        last_seen: Timestamp(i64::MIN),
        first_answered: None,
        last_answered: None,
        slowest_us: None,
        servers: Vec::new(),
        addresses: Vec::new(),
        aliases: Vec::new(),
        services: Vec::new(),
        truncated: false,
        answers_over_tcp: 0,
        failed: 0,
        failures: Vec::new(),
    }
}

impl Entry {
    fn seen(&mut self, capture: u32, frame: u64, time_ns: i64) {
        let lookup = &mut self.lookup;
        if time_ns < lookup.first_seen.0 {
            lookup.first_seen = Timestamp(time_ns);
            lookup.frame = frame;
            self.capture = capture;
        }
        lookup.last_seen = lookup.last_seen.max(Timestamp(time_ns));
    }

    /// The query of this time was answered: those that failed before it have their remedy.
    fn answered(&mut self, time: Timestamp) {
        self.lookup.answers += 1;
        self.lookup.first_answered.get_or_insert(time);
        for (first_ns, mended) in &mut self.open {
            if time.0 >= *first_ns {
                mended.get_or_insert(time);
            }
        }
        self.lookup.last_answered = self.lookup.last_answered.max(Some(time));
        for (_, failure) in &mut self.failures {
            failure.recover(time);
        }
    }

    /// A question is under way no more; when it was mended.
    fn leave(&mut self, first_ns: i64) -> Option<Timestamp> {
        let at = self.open.iter().position(|(at, _)| *at == first_ns)?;
        self.open.swap_remove(at).1
    }

    fn failed(
        &mut self,
        asked: &Asked,
        question: &Question,
        result: &'static str,
        waited_us: i64,
        mended: Option<Timestamp>,
    ) {
        self.lookup.failed += 1;
        if self.failures.len() >= FAILURES_MAX {
            return;
        }
        let mut failure = LookupFailure {
            capture: "".into(),
            frame: question.frame,
            time: Timestamp(question.first_ns),
            server: asked.server,
            transport: if asked.tcp {
                Transport::Tcp
            } else {
                Transport::Udp
            },
            result: result.into(),
            tries: question.tries,
            waited_us,
            recovered_us: None,
        };
        for time in mended.into_iter().chain(self.lookup.last_answered) {
            failure.recover(time);
        }
        self.failures.push((question.capture, failure));
    }

    /// What the answers say. Addresses gather, the rest is that of the last response.
    fn told(&mut self, message: &Message<'_>, scratch: &mut Vec<u8>) {
        let lookup = &mut self.lookup;
        let (mut aliases, mut services) = (0, 0);
        for answer in message.answers() {
            match answer {
                Answer::Address(ip) => {
                    if !lookup.addresses.contains(&ip) && lookup.addresses.len() < ADDRESSES_MAX {
                        lookup.addresses.push(ip);
                    }
                }
                Answer::Alias(at) if aliases < ALIASES_MAX => {
                    if message.name(at, scratch).is_some() {
                        alias(&mut lookup.aliases, aliases, scratch);
                        aliases += 1;
                    }
                }
                Answer::Service(view) if services < SERVICES_MAX => {
                    let one = service(&view);
                    match lookup.services.get_mut(services) {
                        Some(known) => *known = one,
                        None => lookup.services.push(one),
                    }
                    services += 1;
                }
                Answer::Alias(_) | Answer::Service(_) => {}
            }
        }
        lookup.aliases.truncate(aliases);
        lookup.services.truncate(services);
    }
}

/// Writes an alias in its place, unless it stands there already.
fn alias(aliases: &mut Vec<Box<str>>, at: usize, name: &[u8]) {
    match aliases.get_mut(at) {
        Some(known) if known.as_bytes() == name => {}
        Some(known) => *known = text(name),
        None => aliases.push(text(name)),
    }
}

fn service(view: &Service<'_>) -> DnsService {
    let target: Vec<String> = labels(view.target)
        .map(|label| text(label).into())
        .collect();
    DnsService {
        priority: view.priority,
        target: (!target.is_empty()).then(|| target.join(".").to_lowercase().into()),
        alpn: view.alpn().take(PROTOCOLS_MAX).map(text).collect(),
        no_default_alpn: view.no_default_alpn(),
        port: view.port(),
        hints: view.hints().take(ADDRESSES_MAX).collect(),
        ech: view.has_ech(),
        ech_public_name: view.ech_public_name().map(text),
    }
}

/// The labels of a name in wire form without pointers.
fn labels(mut name: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (length, rest) = name.split_first()?;
        let (label, after) = rest.split_at_checked(usize::from(*length))?;
        name = after;
        (!label.is_empty()).then_some(label)
    })
}

impl LookupFailure {
    /// A query of `time` for the same was answered.
    fn recover(&mut self, time: Timestamp) {
        if time >= self.time {
            let micros = time.micros_since(self.time);
            self.recovered_us = Some(self.recovered_us.map_or(micros, |known| known.min(micros)));
        }
    }
}

impl Client {
    fn new(ip: IpAddr, time: Timestamp) -> Self {
        Self {
            seen: DnsClient {
                ip,
                first_seen: time,
                last_seen: time,
                spans: Vec::new(),
            },
            span: fresh(time),
            ports: HashSet::new(),
            handed: None,
        }
    }

    fn query(&mut self, time: Timestamp, port: u16, ports: &mut usize) {
        self.seen.first_seen = self.seen.first_seen.min(time);
        self.seen.last_seen = self.seen.last_seen.max(time);
        let (now, then) = (
            DnsSpan::number_of(time),
            DnsSpan::number_of(self.span.first),
        );
        if now > then {
            *ports = ports.saturating_sub(self.ports.len());
            self.close();
            self.span = fresh(time);
        } else if now < then {
            return;
        }
        if *ports < PORTS_MAX && self.ports.insert(port) {
            *ports += 1;
        }
        let span = &mut self.span;
        span.queries += 1;
        span.longest_pause_us = span.longest_pause_us.max(time.micros_since(span.last));
        span.last = span.last.max(time);
        span.ports = u32::try_from(self.ports.len()).unwrap_or(u32::MAX);
    }

    /// A span is kept if it was steady, to its end at least, or comes behind one that was.
    fn is_worth_keeping(&self) -> bool {
        let follows = self.seen.spans.last().is_some_and(|last| {
            (last.is_steady() || last.reaches_end())
                && DnsSpan::number_of(last.first) + 1 == DnsSpan::number_of(self.span.first)
        });
        follows || self.span.is_steady() || self.span.reaches_end()
    }

    /// A span is over.
    fn close(&mut self) {
        if self.is_worth_keeping() && self.seen.spans.len() < SPANS_MAX {
            self.seen.spans.push(self.span);
        }
        self.ports = HashSet::new();
    }

    fn finish(mut self) -> DnsClient {
        self.close();
        self.seen
    }
}

fn fresh(time: Timestamp) -> DnsSpan {
    DnsSpan {
        first: time,
        last: time,
        queries: 0,
        ports: 0,
        longest_pause_us: 0,
    }
}

impl Dns {
    /// Lookups of all shards or runs together that are kept.
    pub const LOOKUPS_MAX: usize = 65_536;

    /// Nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.lookups.is_empty() && self.forgotten == 0
    }

    /// Adds the numbers of another run, but not what it saw in particular: its lookups count as forgotten.
    pub fn merge_numbers(&mut self, other: &Self) {
        self.forgotten += other.lookups.len() as u64;
        self.add_numbers(other);
    }

    fn add_numbers(&mut self, other: &Self) {
        self.queries += other.queries;
        self.answers += other.answers;
        self.unanswered += other.unanswered;
        self.over_tcp += other.over_tcp;
        self.forgotten += other.forgotten;
        for (rcode, count) in &other.by_rcode {
            *self.by_rcode.entry(rcode.clone()).or_default() += count;
        }
    }

    /// Adds what another shard or run saw.
    pub fn merge(&mut self, other: Self) {
        self.add_numbers(&other);
        self.lookups.extend(other.lookups);
        self.servers.extend(other.servers);
        self.clients.extend(other.clients);
    }

    /// Joins what belongs together and sorts it: to be called once after the last [`Self::merge`].
    pub fn settle(&mut self) {
        self.gather();
        for lookup in &mut self.lookups {
            lookup.first_answered = None;
        }
    }

    /// Joins what belongs together and sorts it; more may be merged.
    pub fn gather(&mut self) {
        self.lookups.sort_by(|a, b| {
            let key = |lookup: &Lookup| (lookup.client, lookup.first_seen, lookup.frame);
            (&a.name, &a.kind, key(a)).cmp(&(&b.name, &b.kind, key(b)))
        });
        self.lookups.dedup_by(|later, kept| {
            let same =
                (later.client, &later.name, &later.kind) == (kept.client, &kept.name, &kept.kind);
            if same {
                kept.join(later);
            }
            same
        });
        self.keep_at_most(Self::LOOKUPS_MAX);
        self.lookups.sort_by(|a, b| {
            (a.first_seen, a.frame, &a.kind).cmp(&(b.first_seen, b.frame, &b.kind))
        });
        self.servers.sort_by_key(|server| server.ip);
        self.servers.dedup_by(|later, kept| {
            let same = later.ip == kept.ip;
            if same {
                kept.queries += later.queries;
                kept.answers += later.answers;
            }
            same
        });
        self.clients
            .sort_by_key(|client| (client.ip, client.first_seen));
        self.clients.dedup_by(|later, kept| {
            let same = later.ip == kept.ip;
            if same {
                kept.join(later);
            }
            same
        });
    }

    /// Beyond the cap those stay that failed, then the first ones.
    pub fn keep_at_most(&mut self, lookups_max: usize) {
        if self.lookups.len() > lookups_max {
            self.lookups
                .sort_by_key(|lookup| (lookup.failed == 0, lookup.first_seen, lookup.frame));
            self.forgotten += (self.lookups.len() - lookups_max) as u64;
            self.lookups.truncate(lookups_max);
        }
    }
}

fn gather<T: PartialEq + Clone>(kept: &mut Vec<T>, more: &[T], max: usize) {
    for one in more {
        if !kept.contains(one) && kept.len() < max {
            kept.push(one.clone());
        }
    }
}

impl Lookup {
    /// Adds the same lookup of another shard or run, which began later.
    fn join(&mut self, later: &mut Self) {
        self.queries += later.queries;
        self.answers += later.answers;
        self.answers_over_tcp += later.answers_over_tcp;
        self.failed += later.failed;
        self.truncated |= later.truncated;
        self.slowest_us = self.slowest_us.max(later.slowest_us);
        if later.last_answered > self.last_answered {
            self.aliases = core::mem::take(&mut later.aliases);
            self.services = core::mem::take(&mut later.services);
        }
        self.last_seen = self.last_seen.max(later.last_seen);
        gather(&mut self.servers, &later.servers, SERVERS_MAX);
        gather(&mut self.addresses, &later.addresses, ADDRESSES_MAX);
        self.failures.append(&mut later.failures);
        self.failures
            .sort_by_key(|failure| (failure.time, failure.frame));
        self.failures.truncate(FAILURES_MAX);
        self.first_answered = self.first_answered.or(later.first_answered);
        for answered in [
            self.last_answered,
            later.first_answered,
            later.last_answered,
        ]
        .into_iter()
        .flatten()
        {
            for failure in &mut self.failures {
                failure.recover(answered);
            }
        }
        self.last_answered = self.last_answered.max(later.last_answered);
    }
}

impl DnsClient {
    fn join(&mut self, later: &mut Self) {
        self.last_seen = self.last_seen.max(later.last_seen);
        self.spans.append(&mut later.spans);
        self.spans.sort_by_key(|span| span.first);
        self.spans.dedup_by(|later, kept| {
            let same = DnsSpan::number_of(later.first) == DnsSpan::number_of(kept.first);
            if same {
                kept.queries += later.queries;
                kept.ports += later.ports;
                kept.longest_pause_us = kept.longest_pause_us.max(later.longest_pause_us);
                kept.last = kept.last.max(later.last);
            }
            same
        });
        self.spans.truncate(SPANS_MAX);
    }
}
