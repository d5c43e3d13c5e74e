//! What the tables of the text report are made of: per server, client, name and failure, a few facts of each.
//!
//! Every list is capped, so that a scan of a whole network can't fill the memory: rows beyond
//! [`ROWS_MAX`] are counted and no more (about 40 MiB at the very worst, with hostile names in each).

use super::words;
use crate::findings;
use crate::record::{Close, Code16, Endpoint, Handshake, Outcome, Severity};
use std::{borrow::Borrow, collections::HashMap, hash::Hash, net::IpAddr, sync::Arc};

/// Rows that each table keeps.
const ROWS_MAX: usize = 4096;
/// Different values that a row keeps of one kind.
const VALUES_MAX: usize = 16;
/// Different clients that a name's row tells apart.
const CLIENTS_MAX: usize = 64;
/// Characters kept of a name; longer ones are no host names (RFC 1035 section 2.3.4).
const NAME_CHARS_MAX: usize = 255;

/// A few different values with how often each came, capped.
#[derive(Clone, Debug)]
pub(super) struct Few<T, const MAX: usize = VALUES_MAX> {
    kept: Vec<(T, u64)>,
    /// There were other values than those kept.
    pub(super) beyond: bool,
}

impl<T, const MAX: usize> Default for Few<T, MAX> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            beyond: false,
        }
    }
}

impl<T: Ord, const MAX: usize> Few<T, MAX> {
    fn add<Q>(&mut self, value: &Q)
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + Eq + ?Sized,
    {
        if let Some((_, count)) = self
            .kept
            .iter_mut()
            .find(|(known, _)| known.borrow() == value)
        {
            *count += 1;
        } else if self.kept.len() < MAX {
            self.kept.push((value.to_owned(), 1));
        } else {
            self.beyond = true;
        }
    }

    /// The values, the most frequent first.
    pub(super) fn sorted(&self) -> Vec<&T> {
        let mut kept: Vec<&(T, u64)> = self.kept.iter().collect();
        kept.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        kept.into_iter().map(|(value, _)| value).collect()
    }

    /// How many different values there were, as far as they were told apart.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

/// Rows by key, capped.
#[derive(Debug)]
pub(super) struct Rows<K, V> {
    rows: HashMap<K, V>,
    /// Records that found no room.
    pub(super) beyond: u64,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            beyond: 0,
        }
    }
}

impl<K: Hash + Ord, V: Default> Rows<K, V> {
    fn row<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + Hash + Eq + ?Sized,
    {
        if !self.rows.contains_key(key) {
            if self.rows.len() >= ROWS_MAX {
                self.beyond += 1;
                return None;
            }
            self.rows.insert(key.to_owned(), V::default());
        }
        self.rows.get_mut(key)
    }

    /// The rows, those with the most `weight` first.
    pub(super) fn sorted<W: Ord>(&self, weight: impl Fn(&K, &V) -> W) -> Vec<(&K, &V)> {
        let mut rows: Vec<(&K, &V)> = self.rows.iter().collect();
        rows.sort_by(|a, b| {
            weight(b.0, b.1)
                .cmp(&weight(a.0, a.1))
                .then_with(|| a.0.cmp(b.0))
        });
        rows
    }
}

/// What one server endpoint did.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) names: Few<String>,
    pub(super) versions: Few<Code16>,
    pub(super) suites: Few<Code16>,
    pub(super) handshakes: u64,
    pub(super) failed: u64,
}

/// What one client address did.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The best version of each hello: more than one value means more than one TLS stack, or a fallback.
    pub(super) best_offers: Few<Code16>,
    pub(super) versions: Few<Code16>,
    pub(super) names: Few<String>,
    pub(super) handshakes: u64,
    pub(super) failed: u64,
}

/// What was called by one name.
#[derive(Debug, Default)]
pub(super) struct Name {
    pub(super) servers: Few<Endpoint>,
    pub(super) clients: Few<IpAddr, CLIENTS_MAX>,
    pub(super) versions: Few<Code16>,
    pub(super) suites: Few<Code16>,
    pub(super) handshakes: u64,
}

/// An alert that was seen: its code, or nothing where it was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Seen(pub(super) Option<u8>);

/// Failures that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    pub(super) server: Endpoint,
    pub(super) client: IpAddr,
    pub(super) name: Option<String>,
    /// The alert's code; there is none where it was encrypted.
    pub(super) alert: Option<Seen>,
    /// The server's side ended it after its own ServerHello.
    pub(super) by_server: Option<Close>,
}

/// How often, and where the first one is seen.
#[derive(Debug, Default)]
pub(super) struct Failed {
    pub(super) count: u64,
    pub(super) first: Option<(Arc<str>, u64)>,
}

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) servers: Rows<Endpoint, Server>,
    pub(super) clients: Rows<IpAddr, Client>,
    pub(super) names: Rows<String, Name>,
    pub(super) failures: Rows<Failure, Failed>,
}

/// It came to nothing, and the capture shows that it did.
fn failed(outcome: Outcome) -> bool {
    !outcome.is_complete() && outcome != Outcome::Truncated
}

/// A finding worse than a note is about this record.
fn is_found_broken(record: &Handshake) -> bool {
    let is_bad = |id: &str| {
        findings::catalogue().any(|entry| entry.id == id && entry.severity > Severity::Info)
    };
    record.findings.iter().any(|id| is_bad(id))
}

/// The packet to look at for a handshake's end: what ended it, else the last message seen.
fn telling_frame(record: &Handshake) -> Option<u64> {
    let alert = words::decisive_alert(record).map(|alert| alert.frame);
    let tcp = record.tcp.as_ref();
    alert
        .or_else(|| tcp.and_then(|tcp| tcp.close_frame))
        .or_else(|| record.server_hello.as_ref().map(|hello| hello.frame))
        .or_else(|| record.client_hello.as_ref().map(|hello| hello.frame))
        .or_else(|| tcp.and_then(|tcp| tcp.syn_frame))
}

impl Tables {
    /// Takes the next record.
    pub(super) fn add(&mut self, record: &Handshake) {
        let name = record
            .client_hello
            .as_ref()
            .and_then(|hello| hello.sni.as_deref())
            .map(clip);
        let hello = record.server_hello.as_ref().map(|hello| &hello.shape);
        let version = hello.map(|shape| shape.version);
        let suite = hello.map(|shape| shape.cipher_suite);
        let failed = failed(record.outcome);

        if let Some(row) = self.servers.row(&record.server) {
            row.handshakes += 1;
            row.failed += u64::from(failed);
            name.into_iter().for_each(|name| row.names.add(name));
            version.iter().for_each(|code| row.versions.add(code));
            suite.iter().for_each(|code| row.suites.add(code));
        }
        if let Some(row) = self.clients.row(&record.client.ip) {
            row.handshakes += 1;
            row.failed += u64::from(failed);
            let offer = words::best_offer(record);
            offer.iter().for_each(|code| row.best_offers.add(code));
            version.iter().for_each(|code| row.versions.add(code));
            name.into_iter().for_each(|name| row.names.add(name));
        }
        if let Some(row) = name.and_then(|name| self.names.row(name)) {
            row.handshakes += 1;
            row.servers.add(&record.server);
            row.clients.add(&record.client.ip);
            version.iter().for_each(|code| row.versions.add(code));
            suite.iter().for_each(|code| row.suites.add(code));
        }
        // A client that says all it has to say within a second is healthy, unless a finding is about it.
        if failed || (record.outcome == Outcome::EstablishedThenClosed && is_found_broken(record)) {
            self.add_failure(record, name);
        }
    }

    fn add_failure(&mut self, record: &Handshake, name: Option<&str>) {
        let key = Failure {
            outcome: record.outcome,
            server: record.server,
            client: record.client.ip,
            name: name.map(str::to_owned),
            alert: failed(record.outcome)
                .then(|| words::decisive_alert(record).map(|alert| Seen(alert.code)))
                .flatten(),
            by_server: record.broken_off_by_server(),
        };
        if let Some(row) = self.failures.row(&key) {
            row.count += 1;
            if row.first.is_none() {
                row.first = telling_frame(record).map(|frame| (record.capture.clone(), frame));
            }
        }
    }
}

/// The beginning of a name that is too long to be one.
fn clip(name: &str) -> &str {
    name.char_indices()
        .nth(NAME_CHARS_MAX)
        .and_then(|(end, _)| name.get(..end))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn facts_come_together_by_server_client_and_name() {
        let mut tables = Tables::default();
        tables.add(&sample::established());
        tables.add(&sample::refused());
        let record = sample::established();

        let server = &tables.servers.rows[&record.server];
        assert_eq!((server.handshakes, server.failed), (2, 1));
        assert_eq!(server.names.sorted(), ["mail.contoso.com"]);
        let client = &tables.clients.rows[&record.client.ip];
        assert_eq!(client.best_offers.sorted(), [&Code16(0x0304)]);
        assert_eq!(client.versions.sorted(), [&Code16(0x0303)]);
        let name = &tables.names.rows["mail.contoso.com"];
        assert_eq!((name.servers.len(), name.clients.len()), (1, 1));

        let failures = tables.failures.sorted(|_, row| row.count);
        assert_eq!(failures.len(), 1);
        assert_eq!(
            failures[0].1.first,
            Some(("captures/owa.pcapng".into(), 19))
        );
    }

    #[test]
    fn rows_values_and_names_are_capped_and_what_is_beyond_is_counted() {
        let mut tables = Tables::default();
        let mut record = sample::refused();
        for number in 0..5_000_u32 {
            record.client.ip = IpAddr::from(number.to_be_bytes());
            record.client_hello.as_mut().unwrap().sni =
                Some(format!("{number}.{}", "x".repeat(300)).into());
            tables.add(&record);
        }
        let rest = 5_000 - u64::try_from(ROWS_MAX).unwrap();
        assert_eq!(tables.clients.rows.len(), ROWS_MAX);
        assert_eq!(tables.clients.beyond, rest);
        assert_eq!(tables.names.beyond, rest);
        assert_eq!(tables.failures.beyond, rest);
        assert!(
            tables
                .names
                .rows
                .keys()
                .all(|name| name.chars().count() == NAME_CHARS_MAX)
        );
        let server = &tables.servers.rows[&record.server];
        assert_eq!(
            (server.handshakes, server.names.len(), server.names.beyond),
            (5_000, VALUES_MAX, true)
        );
        // A row that is there goes on counting.
        record.client.ip = IpAddr::from([0, 0, 0, 1]);
        tables.add(&record);
        assert_eq!(tables.clients.rows[&record.client.ip].handshakes, 2);
        assert_eq!(tables.clients.beyond, rest);
    }

    #[test]
    fn a_cut_handshake_is_no_failure() {
        let mut tables = Tables::default();
        let mut record = sample::established();
        record.outcome = Outcome::Truncated;
        tables.add(&record);
        assert!(tables.failures.rows.is_empty());
        record.outcome = Outcome::EstablishedThenClosed;
        tables.add(&record);
        let (failure, _) = tables.failures.sorted(|_, row| row.count)[0];
        assert_eq!(failure.alert, None);
        let mut healthy = Tables::default();
        record.findings.clear();
        healthy.add(&record);
        assert!(healthy.failures.rows.is_empty(), "a short visit is none");
        assert_eq!(tables.servers.rows[&record.server].failed, 0);
    }
}
