//! All traces at the end, in order of time, with the questions that surveys ask of them.

use super::Lang;
use super::facts::{moment, suite_name, version_name};
use super::history::{Hello, Trace};
use super::resolved::Resolved;
use super::text::say;
use crate::record::{Certificate, Endpoint, Evidence, ServerHelloShape};
use crate::tls::code_points::{AlertDescription, CipherSuite, VersionRank, is_grease};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// All traces at the end, in order of time.
pub(super) struct Past {
    pub(super) lang: Lang,
    pub(super) traces: Vec<Trace>,
    pub(super) captures: Vec<Arc<str>>,
    pub(super) names: Vec<Box<str>>,
    pub(super) hellos: Vec<Hello>,
    pub(super) answers: Vec<Arc<ServerHelloShape>>,
    pub(super) certificates: Vec<Arc<Certificate>>,
    pub(super) others: Vec<u32>,
    /// Traces by server endpoint.
    pub(super) servers: BTreeMap<Endpoint, Vec<usize>>,
    /// Traces by client address and server endpoint, where one did not complete, or where there are many.
    pub(super) pairs: BTreeMap<(IpAddr, Endpoint), Vec<usize>>,
    pub(super) by_name: BTreeMap<u32, Vec<usize>>,
    /// By trace: the handshake did not complete. Apart from the traces, since these are large, and most surveys look for
    /// what failed: to learn that nothing did must not read all of them.
    pub(super) incomplete: Vec<bool>,
    /// What DNS told.
    pub(super) resolved: Resolved,
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
    /// The traces of a list.
    pub(super) fn of<'p>(
        &'p self,
        list: &'p [usize],
    ) -> impl DoubleEndedIterator<Item = (usize, &'p Trace)> {
        list.iter()
            .filter_map(|index| Some((*index, self.traces.get(*index)?)))
    }

    /// Some handshake of a list did not complete.
    pub(super) fn any_incomplete(&self, list: &[usize]) -> bool {
        let incomplete = |index: &usize| self.incomplete.get(*index) == Some(&true);
        list.iter().any(incomplete)
    }

    /// Pairs with a handshake that did not complete.
    pub(super) fn troubled_pairs(
        &self,
    ) -> impl Iterator<Item = (&(IpAddr, Endpoint), &Vec<usize>)> {
        self.pairs
            .iter()
            .filter(|(_, list)| self.any_incomplete(list))
    }

    /// Servers with a handshake that did not complete.
    pub(super) fn troubled_servers(&self) -> impl Iterator<Item = (&Endpoint, &Vec<usize>)> {
        self.servers
            .iter()
            .filter(|(_, list)| self.any_incomplete(list))
    }

    pub(super) fn name(&self, trace: &Trace) -> Option<&str> {
        self.names
            .get(usize::try_from(trace.name?).ok()?)
            .map(AsRef::as_ref)
    }

    /// The name under which the client had sought the server's address, where DNS showed it.
    pub(super) fn dns_name(&self, trace: &Trace) -> Option<&str> {
        self.resolved
            .name(trace.client, trace.server.ip, trace.start)
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

    /// The name (of the hello, else of DNS), or else the address, that a trace's client wanted.
    pub(super) fn target(&self, trace: &Trace) -> Box<str> {
        self.name(trace)
            .or_else(|| self.dns_name(trace))
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
            groups: BTreeSet::new(),
            answered: 0,
        };
        // Equal answers add nothing but their number; a server gives a handful.
        let mut known: Vec<(Option<u32>, Option<VersionRank>, Option<u16>)> = Vec::new();
        for (index, trace) in self.of(list) {
            let (Some(answer), Some(version)) = (self.answer(trace), trace.negotiated) else {
                continue;
            };
            ledger.answered += 1;
            let kind = (trace.answer, trace.negotiated, trace.group);
            if known.contains(&kind) {
                continue;
            }
            if known.len() < 32 {
                known.push(kind);
            }
            let said = answer.downgrade_sentinel.map(|sentinel| match sentinel {
                crate::record::Sentinel::Tls12 => VersionRank::Tls13,
                crate::record::Sentinel::Tls11 => VersionRank::Tls12,
            });
            ledger.can = ledger.can.max(Some(version)).max(said);
            ledger.lowest = Some(ledger.lowest.map_or(version, |lowest| lowest.min(version)));
            ledger.suites.entry(answer.cipher_suite.0).or_insert(index);
            ledger.groups.extend(trace.group);
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
        let lang = self.lang;
        let mut story = say(lang, "story-parties")
            .with("start", moment(trace.start))
            .with("client", trace.client)
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
                .with("suite", suite_name(suite))
                .and_if(!trace.is_complete(), "story-but"),
            _ => story.and("story-outcome"),
        };
        if let Some((_, code)) = trace.alert {
            let alert = format!("{code} {}", AlertDescription(code));
            story = story.and("story-alert").with("alert", alert);
        }
        story.text()
    }
}
