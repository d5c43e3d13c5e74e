//! What DNS told is handed over from time to time where a run has no end: what leaves is forgotten here, so that memory
//! is bounded by the time between two hand-overs, whatever passes in weeks.
//!
//! Some things stay. A question that waits for its answer keeps its lookup, to which the answer then adds; so does what
//! was answered a moment ago, so that a copy of the response is told. A client that
//! asks over UDP keeps its span, for how steadily it asks shows in ten minutes only; a span is handed over as it stands,
//! each time in place of what was handed over before.

use super::{COPY_NS, Client, Dns, DnsClient, DnsSpan, Lookups};
use crate::capture::Catalog;
use crate::dns::waiting::Waiting;
use crate::record::Timestamp;
use hashbrown::HashMap;
use std::net::IpAddr;

/// A client that asked nothing for so long has no span that its next one follows.
const CLIENT_IDLE_NS: i64 = 2 * DnsSpan::LENGTH_NS;

impl Lookups {
    /// What was seen since this was last called, with the names of captures.
    pub fn hand_over(&mut self, now_ns: i64, waiting: &mut Waiting, captures: &Catalog) -> Dns {
        let mut next = Self::default();
        for question in waiting.questions_mut() {
            let Some(entry) = self.entries.get(question.subject as usize) else {
                continue;
            };
            let subject = next.subject(entry.lookup.client, entry.kind, &entry.name, usize::MAX);
            if let Some(subject) = subject {
                question.subject = subject;
                if let Some(kept) = next.entries.get_mut(subject as usize) {
                    kept.open.clone_from(&entry.open);
                }
            }
        }
        for entry in &self.entries {
            if now_ns.saturating_sub(entry.response_ns) < COPY_NS {
                let subject =
                    next.subject(entry.lookup.client, entry.kind, &entry.name, usize::MAX);
                if let Some(kept) = subject.and_then(|at| next.entries.get_mut(at as usize)) {
                    kept.response_ns = entry.response_ns;
                }
            }
        }
        let clients = (self.clients.values_mut()).filter_map(Client::hand_over);
        let clients: Vec<DnsClient> = clients.collect();
        self.clients
            .retain(|_, client| now_ns.saturating_sub(client.seen.last_seen.0) < CLIENT_IDLE_NS);
        next.clients = core::mem::take(&mut self.clients);
        next.ports = next.clients.values().map(|client| client.ports.len()).sum();
        let mut seen = core::mem::replace(self, next).finish(captures);
        seen.clients = clients;
        seen
    }
}

impl Client {
    /// What is new of it, if anything is.
    fn hand_over(&mut self) -> Option<DnsClient> {
        if self.handed == Some(self.seen.last_seen) {
            return None;
        }
        self.handed = Some(self.seen.last_seen);
        let mut seen = self.seen.clone();
        if self.is_worth_keeping() {
            seen.spans.push(self.span);
        }
        // The last one tells whether the next one follows.
        let told = self.seen.spans.len().saturating_sub(1);
        self.seen.spans.drain(..told);
        Some(seen)
    }
}

/// The clients of the last time, gathered from what was handed over.
#[derive(Debug, Default)]
pub struct Clients(HashMap<IpAddr, DnsClient>);

/// Clients that are remembered.
const CLIENTS_MAX: usize = 65_536;

impl Clients {
    /// Takes clients as they were handed over: a span comes in place of what was known of it.
    pub fn take(&mut self, clients: &mut Vec<DnsClient>) {
        for client in clients.drain(..) {
            let Some(known) = self.0.get_mut(&client.ip) else {
                if self.0.len() < CLIENTS_MAX {
                    self.0.insert(client.ip, client);
                }
                continue;
            };
            known.last_seen = known.last_seen.max(client.last_seen);
            for span in client.spans {
                let number = DnsSpan::number_of(span.first);
                let mut spans = known.spans.iter_mut().rev();
                match spans.find(|known| DnsSpan::number_of(known.first) == number) {
                    Some(same) => *same = span,
                    None => known.spans.push(span),
                }
            }
        }
    }

    /// Forgets what is older than `since`.
    pub fn forget_before(&mut self, since: Timestamp) {
        self.0.retain(|_, client| {
            client.spans.retain(|span| span.last >= since);
            client.last_seen >= since
        });
    }

    /// All of them.
    pub fn to_vec(&self) -> Vec<DnsClient> {
        self.0.values().cloned().collect()
    }
}
