//! All traces at the end, in order of time, with the questions that surveys ask of them.

use super::Lang;
use super::facts::{moment, suite_label, version_name};
use super::history::Hello;
use super::lists::{ByNumber, Clients, Gathered, Listed, Members};
use super::pairs::Pairs;
use super::quality::lacks;
use super::resolved::Resolved;
use super::text::say;
use super::trace::{Kind, Number, Own, Sort, Trace};
use crate::record::{Address, Certificate, Endpoint, Evidence, ServerHelloShape, Timestamp};
use crate::tls::code_points::{AlertDescription, CipherSuite, VersionRank, is_grease};
use hashbrown::HashSet;
use std::{
    cell::OnceCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, binary_heap::PeekMut},
    net::IpAddr,
    sync::Arc,
};

/// All traces at the end, in order of time.
pub(super) struct Past {
    pub(super) lang: Lang,
    pub(super) own: Vec<Own>,
    /// By trace, where it stands in `own`: they are in order of time, and lie as they came.
    pub(super) order: Vec<u32>,
    /// By number; those of one server together, and of these those of the first traces first.
    pub(super) kinds: Listed,
    /// Numbers of kinds; those of the first traces first.
    pub(super) by_first: Vec<u32>,
    /// By trace, the number of its kind.
    pub(super) kind_of: Vec<u32>,
    /// Traces by the number of their kind.
    pub(super) by_kind: ByNumber,
    pub(super) clients: Clients,
    /// Traces by the number of their client; for [`Past::of_client`].
    pub(super) by_client: OnceCell<ByNumber>,
    pub(super) captures: Vec<Arc<str>>,
    pub(super) names: Vec<Box<str>>,
    pub(super) hellos: Vec<Hello>,
    pub(super) answers: Vec<Arc<ServerHelloShape>>,
    pub(super) certificates: Vec<Arc<Certificate>>,
    pub(super) others: Vec<u32>,
    /// Kinds and traces by server endpoint; without those through explicit proxies.
    pub(super) servers: BTreeMap<Endpoint, Gathered>,
    /// Traces by client address and server endpoint, where one did not complete, or where there are many.
    pub(super) pairs: Pairs,
    /// Kinds by the number of the server name.
    pub(super) by_name: BTreeMap<Number, Gathered>,
    /// What DNS told.
    pub(super) resolved: Resolved,
    /// Where a client said hello; for [`Past::speaks_tls`].
    pub(super) speakers: OnceCell<HashSet<Endpoint>>,
    /// In some capture later packets may have earlier times; if not, in none.
    pub(super) may_go_back: bool,
    /// Connections are still under way, and have no trace yet: what is not among the traces may be all the same.
    pub(super) is_under_way: bool,
}

/// What a server endpoint was seen to be able to: lower bounds, never "cannot".
pub(super) struct Ledger {
    /// `srv.can`: the best version that it chose, or said that it could choose.
    pub(super) can: Option<VersionRank>,
    /// The oldest version that it accepted.
    pub(super) lowest: Option<VersionRank>,
    /// Suites that it chose, with a trace each.
    pub(super) suites: BTreeMap<u16, usize>,
    /// Groups in which it exchanged keys.
    pub(super) groups: BTreeSet<u16>,
    /// Handshakes with an answer.
    pub(super) answered: usize,
}

impl Past {
    /// How many traces there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn trace(&self, index: usize) -> Option<Trace<'_>> {
        let own = self.own(index)?;
        let kind = self.kind(index)?;
        let number = self.clients.of.get(index)?;
        let client = self.clients.addresses.get(*number as usize)?;
        Some(Trace { own, client, kind })
    }

    fn own(&self, index: usize) -> Option<&Own> {
        let place = self.order.get(index)?;
        self.own.get(usize::try_from(*place).ok()?)
    }

    /// How many traces are before a time.
    pub(super) fn before(&self, time: Timestamp) -> usize {
        let own = |place: &u32| self.own.get(usize::try_from(*place).ok()?);
        self.order
            .partition_point(|place| own(place).is_some_and(|own| own.start < time))
    }

    /// All traces, in order of time.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = (usize, Trace<'_>)> {
        (0..self.len()).filter_map(|index| Some((index, self.trace(index)?)))
    }

    /// What each trace has of its own, in order of time.
    pub(super) fn all_own(&self) -> impl Iterator<Item = (usize, &Own)> {
        (0..self.len()).filter_map(|index| Some((index, self.own(index)?)))
    }

    /// All traces of kinds that fit, in order of time; reads no others.
    pub(super) fn all_whose(
        &self,
        fits: impl Fn(&Kind<'_>) -> bool,
    ) -> impl DoubleEndedIterator<Item = (usize, Trace<'_>)> {
        self.all_marked(self.kinds.iter().map(|kind| fits(&kind)).collect())
    }

    /// All traces that are like this, whoever the server is, in order of time. Sorts are fewer than kinds: where the
    /// server does not matter this is quicker than [`Past::all_whose`].
    pub(super) fn all_like(
        &self,
        fits: impl Fn(&Sort) -> bool,
    ) -> impl DoubleEndedIterator<Item = (usize, Trace<'_>)> {
        self.all_marked(self.kinds_like(fits))
    }

    /// By kind whether it is like this, whoever the server is. Empty where none is.
    pub(super) fn kinds_like(&self, fits: impl Fn(&Sort) -> bool) -> Vec<bool> {
        let marks: Vec<bool> = self.kinds.sorts.iter().map(fits).collect();
        match marks.contains(&true) {
            true => self.kinds.by_sort(&marks, false),
            false => Vec::new(),
        }
    }

    /// All kinds, in the order of their first traces.
    pub(super) fn by_first(&self) -> impl Iterator<Item = (usize, Kind<'_>)> {
        let numbers = self.by_first.iter().map(|number| *number as usize);
        numbers.filter_map(|number| Some((number, self.kinds.get(number)?)))
    }

    /// All kinds that are like this, whoever the server is, in the order of their first traces.
    pub(super) fn by_first_like(
        &self,
        fits: impl Fn(&Sort) -> bool,
    ) -> impl Iterator<Item = (usize, Kind<'_>)> {
        let marks = self.kinds_like(fits);
        let numbers = self.by_first.iter().map(|number| *number as usize);
        let fitting = numbers.filter(move |number| marks.get(*number) == Some(&true));
        fitting.filter_map(|number| Some((number, self.kinds.get(number)?)))
    }

    /// All traces of kinds that are marked by their numbers, in order of time; reads no others.
    pub(super) fn all_marked(
        &self,
        marks: Vec<bool>,
    ) -> impl DoubleEndedIterator<Item = (usize, Trace<'_>)> {
        let none = !marks.contains(&true);
        let searched = if none { &[][..] } else { &self.kind_of };
        let found = searched
            .iter()
            .enumerate()
            .filter(move |(_, kind)| marks.get(**kind as usize) == Some(&true));
        found.filter_map(|(index, _)| Some((index, self.trace(index)?)))
    }

    /// The first kind of each sort, in the order of their first traces.
    pub(super) fn by_first_of_sort(&self) -> impl Iterator<Item = (usize, Kind<'_>)> {
        let mut is_known = vec![false; self.kinds.sorts.len()];
        let mut is_new = move |number: usize| {
            let sort = self.kinds.sort_number(number);
            let known = sort.and_then(|sort| is_known.get_mut(sort));
            known.is_some_and(|known| !core::mem::replace(known, true))
        };
        self.by_first().filter(move |(number, _)| is_new(*number))
    }

    /// The first trace of a kind.
    pub(super) fn first_of(&self, kind: usize) -> Option<(usize, Trace<'_>)> {
        let index = self.by_kind.of(kind).next()?;
        Some((index, self.trace(index)?))
    }

    /// The traces of a list.
    pub(super) fn of<'p>(
        &'p self,
        list: &'p [usize],
    ) -> impl DoubleEndedIterator<Item = (usize, Trace<'p>)> {
        list.iter()
            .filter_map(|index| Some((*index, self.trace(*index)?)))
    }

    /// The kind of a trace: reads no more of the trace.
    pub(super) fn kind(&self, index: usize) -> Option<Kind<'_>> {
        let number = self.kind_of.get(index)?;
        self.kinds.get(usize::try_from(*number).ok()?)
    }

    /// The traces of a server, in order of time.
    pub(super) fn at(&self, server: &Endpoint) -> &[usize] {
        self.servers.get(server).map_or(&[], |all| {
            all.traces
                .get_or_init(|| self.traces_of(&all.kinds, |_| true))
        })
    }

    /// The kinds of a server's traces, in the order of their first traces.
    pub(super) fn kinds_at(&self, server: &Endpoint) -> &[usize] {
        self.servers.get(server).map_or(&[], |all| &all.kinds)
    }

    /// A client was seen to say hello there, be it to who answers behind an explicit proxy.
    pub(super) fn speaks_tls(&self, server: &Endpoint) -> bool {
        let speakers = self.speakers.get_or_init(|| {
            let greeted = self.kinds.iter().filter(|kind| kind.hello.is_some());
            greeted.map(|kind| kind.server).collect()
        });
        speakers.contains(server)
    }

    /// Kinds by their numbers.
    pub(super) fn kinds_of<'p>(
        &'p self,
        kinds: &'p [usize],
    ) -> impl Iterator<Item = (usize, Kind<'p>)> {
        kinds
            .iter()
            .filter_map(|number| Some((*number, self.kinds.get(*number)?)))
    }

    /// Kinds by their server, those of the first traces first; in the order of their numbers, which are given so.
    pub(super) fn by_server<'k>(
        &self,
        kinds: &'k mut [usize],
    ) -> impl Iterator<Item = (Endpoint, &'k [usize])> {
        kinds.sort_unstable();
        let server = |number: &usize| self.kinds.get(*number).map(|kind| kind.server);
        let number = |kind: &usize| self.kinds.kinds.get(*kind).map(|(server, _)| *server);
        kinds
            .chunk_by(move |one, other| number(one) == number(other))
            .filter_map(move |same| Some((server(same.first()?)?, same)))
    }

    /// Those of some kinds that fit, with their traces.
    pub(super) fn members(&self, kinds: &[usize], fits: impl Fn(&Kind<'_>) -> bool) -> Members {
        let fitting = self.kinds_of(kinds).filter(|(_, kind)| fits(kind));
        let kinds: Vec<usize> = fitting.map(|(number, _)| number).collect();
        Members {
            traces: self.traces_of(&kinds, |_| true),
            kinds,
        }
    }

    /// The traces of those of some kinds that fit, in order of time.
    pub(super) fn traces_of(
        &self,
        kinds: &[usize],
        mut fits: impl FnMut(&Kind<'_>) -> bool,
    ) -> Vec<usize> {
        let fitting = self.kinds_of(kinds).filter(|(_, kind)| fits(kind));
        let mut traces: Vec<usize> = fitting
            .flat_map(|(number, _)| self.by_kind.of(number))
            .collect();
        // Each kind's are in order: this sort knows how to merge them.
        traces.sort();
        traces
    }

    /// As [`Past::traces_of`], one by one: for those who mostly have seen enough before the end.
    pub(super) fn in_order(
        &self,
        kinds: &[usize],
        fits: impl Fn(&Kind<'_>) -> bool,
    ) -> impl Iterator<Item = usize> {
        let fitting = self.kinds_of(kinds).filter(|(_, kind)| fits(kind));
        let lists = fitting.map(|(number, _)| self.by_kind.list(number));
        let begins = lists.filter_map(|list| Some(Reverse(list.split_first()?)));
        let mut lists: BinaryHeap<_> = begins.collect();
        core::iter::from_fn(move || {
            let mut next = lists.peek_mut()?;
            let (index, rest) = next.0;
            match rest.split_first() {
                Some(begin) => next.0 = begin,
                None => drop(PeekMut::pop(next)),
            }
            Some(*index as usize)
        })
    }

    /// The number of the client, and that of the kind, of each trace in order of time: reads no more of it.
    pub(super) fn clients_and_kinds(&self) -> impl Iterator<Item = (u32, u32)> {
        let kinds = self.kind_of.iter().copied();
        self.clients.of.iter().copied().zip(kinds)
    }

    /// The client of a trace: reads no more of it.
    pub(super) fn client(&self, index: usize) -> Option<IpAddr> {
        let number = self.clients.of.get(index)?;
        self.clients.addresses.get(*number as usize).copied()
    }

    /// The traces of a client, in order of time.
    pub(super) fn of_client(
        &self,
        client: IpAddr,
    ) -> impl ExactSizeIterator<Item = usize> + DoubleEndedIterator + Clone {
        let by_client = self.by_client.get_or_init(|| {
            let clients = &self.clients;
            ByNumber::new(clients.of.iter().copied(), clients.addresses.len())
        });
        let number = self.clients.number(client);
        let list = number.map_or(&[][..], |number| by_client.list(number));
        list.iter().map(|index| *index as usize)
    }

    /// By number, the clients with a handshake like this. Empty where there is none.
    pub(super) fn clients_like(&self, fits: impl Fn(&Sort) -> bool) -> Vec<bool> {
        let kinds = self.kinds_like(fits);
        if kinds.is_empty() {
            return Vec::new();
        }
        let mut marks = vec![false; self.clients.addresses.len()];
        for (client, kind) in self.clients_and_kinds() {
            if kinds.get(kind as usize) == Some(&true)
                && let Some(mark) = marks.get_mut(client as usize)
            {
                *mark = true;
            }
        }
        marks
    }

    /// From where on a list of traces is of this time or later.
    pub(super) fn since<'l>(&self, list: &'l [usize], start: Timestamp) -> &'l [usize] {
        let before = |index: &usize| self.own(*index).is_some_and(|own| own.start < start);
        list.get(list.partition_point(before)..).unwrap_or(&[])
    }

    /// Kinds with their first traces, in the order of these.
    pub(super) fn firsts<'p>(
        &'p self,
        kinds: &'p [usize],
    ) -> impl Iterator<Item = (usize, Kind<'p>)> {
        let found = self.kinds_of(kinds);
        found.filter_map(|(number, kind)| Some((self.by_kind.of(number).next()?, kind)))
    }

    /// Servers with a handshake that did not complete.
    pub(super) fn troubled_servers(&self) -> impl Iterator<Item = (&Endpoint, &Gathered)> {
        let troubled = |all: &Gathered| {
            let mut kinds = self.kinds_of(&all.kinds);
            kinds.any(|(_, kind)| !kind.is_complete())
        };
        self.servers.iter().filter(move |(_, all)| troubled(all))
    }

    pub(super) fn name(&self, kind: &Sort) -> Option<&str> {
        self.names.get(kind.name?.place()).map(AsRef::as_ref)
    }

    /// The name under which the client had sought the server's address, where DNS showed it.
    pub(super) fn dns_name(&self, trace: &Trace<'_>) -> Option<&str> {
        self.resolved
            .name(*trace.client, trace.server.ip, trace.own.start)
    }

    pub(super) fn hello(&self, kind: &Sort) -> Option<&Hello> {
        self.hellos.get(kind.hello?.place())
    }

    pub(super) fn answer(&self, kind: &Sort) -> Option<&ServerHelloShape> {
        self.answers.get(kind.answer?.place()).map(AsRef::as_ref)
    }

    pub(super) fn leaf(&self, kind: &Sort) -> Option<&Certificate> {
        self.certificate(kind.leaf?)
    }

    pub(super) fn certificate(&self, number: Number) -> Option<&Certificate> {
        self.certificates.get(number.place()).map(AsRef::as_ref)
    }

    /// Certificates that were sent behind a leaf.
    pub(super) fn others(&self) -> impl Iterator<Item = &Certificate> {
        self.others
            .iter()
            .filter_map(|number| self.certificates.get(*number as usize))
            .map(AsRef::as_ref)
    }

    pub(super) fn suite(&self, kind: &Sort) -> Option<CipherSuite> {
        Some(CipherSuite(self.answer(kind)?.cipher_suite.0))
    }

    /// Suites that a trace's client offered, without GREASE and signals.
    pub(super) fn offered(&self, kind: &Sort) -> Vec<CipherSuite> {
        self.hello(kind).map_or_else(Vec::new, |hello| {
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

    /// Names in use, with their kinds.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &Gathered)> {
        self.by_name.iter().filter_map(|(number, list)| {
            let name = self.names.get(number.place())?;
            Some((name.as_ref(), list))
        })
    }

    /// The name (of the hello, else of DNS), or else the address, that a trace's client wanted.
    pub(super) fn target(&self, trace: &Trace<'_>) -> Box<str> {
        let name = self.name(trace).or_else(|| self.dns_name(trace));
        name.map_or_else(|| trace.server.to_string().into(), Into::into)
    }

    pub(super) fn capture(&self, trace: &Trace<'_>) -> Arc<str> {
        let found = usize::try_from(trace.capture)
            .ok()
            .and_then(|index| self.captures.get(index));
        found.map_or_else(|| Arc::from("?"), Arc::clone)
    }

    /// The ledger of some kinds of traces of one server.
    pub(super) fn ledger(&self, kinds: &[usize]) -> Ledger {
        let mut ledger = Ledger {
            can: None,
            lowest: None,
            suites: BTreeMap::new(),
            groups: BTreeSet::new(),
            answered: 0,
        };
        for (number, kind) in self.kinds_of(kinds) {
            let mut traces = self.by_kind.of(number);
            let count = traces.len();
            let (Some(answer), Some(version), Some(first)) =
                (self.answer(&kind), kind.negotiated, traces.next())
            else {
                continue;
            };
            ledger.answered += count;
            let said = answer.downgrade_sentinel.map(|sentinel| match sentinel {
                crate::record::Sentinel::Tls12 => VersionRank::Tls13,
                crate::record::Sentinel::Tls11 => VersionRank::Tls12,
            });
            ledger.can = ledger.can.max(Some(version)).max(said);
            ledger.lowest = Some(ledger.lowest.map_or(version, |lowest| lowest.min(version)));
            ledger.suites.entry(answer.cipher_suite.0).or_insert(first);
            ledger.groups.extend(kind.group);
        }
        ledger
    }

    /// What one trace shows, as evidence.
    pub(super) fn evidence(&self, trace: &Trace<'_>) -> Evidence {
        self.evidence_of(trace, self.story(trace))
    }

    /// A trace's frame with other words.
    pub(super) fn evidence_of(&self, trace: &Trace, fact: String) -> Evidence {
        Evidence {
            capture: self.capture(trace),
            frame: trace.own.frame,
            fact: fact.into(),
        }
    }

    /// One line about a trace: who, what was offered, what came of it.
    fn story(&self, trace: &Trace<'_>) -> String {
        let lang = self.lang;
        let mut story = say(lang, "story-parties")
            .with("start", moment(trace.own.start))
            .with("client", Address(*trace.client))
            .with("server", trace.server)
            .with("outcome", trace.outcome.as_str());
        if let Some(name) = self.name(trace) {
            story = story.and("story-name").with("name", name);
        } else if let Some(name) = self.dns_name(trace) {
            story = story.and("story-dns-name").with("name", name);
        }
        if let Some(offered) = trace.offer_max {
            let offered = version_name(offered);
            story = story.and("story-offer").with("offered", offered);
        }
        story = match (trace.negotiated, self.suite(trace)) {
            (Some(version), Some(suite)) => story
                .and("story-answer")
                .with("version", version_name(version))
                .with("suite", suite_label(suite))
                .and_if(!trace.is_complete(), "story-but"),
            _ => story.and("story-outcome"),
        };
        if let Some((_, code)) = trace.alert {
            let alert = format!("{code} {}", AlertDescription(code));
            story = story.and("story-alert").with("alert", alert);
        }
        if let Some(lacks) = lacks(&trace.flags, lang) {
            story = story.and("story-lacks").with("lacks", lacks);
        }
        story.text()
    }
}
