//! What connections said in clear beside TLS, as far as surveys need it: plain HTTP requests, whom a log-on was bound to,
//! and what forward proxies answered; clients that took long over a certificate, with what they failed to fetch; and
//! servers that answered too late.
//!
//! Few records have any of it: for all others this costs five comparisons. Each list has a share of
//! [`Settings::history_bytes_max`]; past it the oldest go, counted with the traces.

use super::facts::Facts;
use super::failures::ANSWERED_LATE;
use super::hosts::serves_look_ups;
use super::path;
use super::shelf::{Shelf, Weigh};
use super::{Settings, Verdict, Verdicts, dropped};
use crate::record::{
    Defect, Digest, Endpoint, Handshake, Http, HttpRequest, Outcome, Severity, Timestamp,
};
use hashbrown::HashSet;
use std::{net::IpAddr, sync::Arc};

/// Hosts that are stored once.
const HOSTS_MAX: usize = 4_096;
/// Bytes of a pair in a set that grows.
const PAIR_BYTES: usize = 3 * size_of::<(IpAddr, Endpoint)>();

/// Where something was seen.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) start: Timestamp,
    pub(super) capture: Arc<str>,
    pub(super) frame: u64,
    pub(super) client: IpAddr,
    pub(super) server: Endpoint,
}

/// A connection with plain HTTP.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub(super) place: Place,
    /// `Host` without its port, in lower case.
    pub(super) host: Option<Arc<str>>,
    /// The host that the proxy's client asked for, where the proxy says so; without its port, in lower case.
    pub(super) forwarded_host: Option<Arc<str>>,
    /// Method and path, where they tell something.
    pub(super) line: Option<Box<str>>,
    /// The path is one of Exchange's or AD FS'.
    pub(super) exchange: bool,
    /// A header says that the client came by https.
    pub(super) by_https: bool,
    /// A token of modern authentication was shown or asked for.
    pub(super) bearer: bool,
}

/// An NTLMv2 log-on that is bound to a certificate.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) place: Place,
    pub(super) host: Option<Arc<str>>,
    pub(super) binding: Digest<16>,
}

/// A tunnel that a proxy refused for want of a log-on.
#[derive(Clone, Debug)]
pub(super) struct Unauthenticated {
    pub(super) place: Place,
    pub(super) target: Box<str>,
}

/// A slow handshake whose client took the time, between the server's hello and its own second flight.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) place: Place,
    pub(super) until: Timestamp,
    /// How long the client itself took.
    pub(super) took_us: i64,
    pub(super) severity: Severity,
}

/// A revocation or trust list that could not be fetched by HTTP.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    pub(super) place: Place,
    pub(super) until: Timestamp,
    pub(super) host: Arc<str>,
    /// What the server, or a proxy, answered.
    pub(super) status: Option<u16>,
}

/// A packet of a hello that the recording machine dropped, where no answer came.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) place: Place,
    pub(super) reason: Box<str>,
    pub(super) location: Box<str>,
}

/// An answer to a hello that came too late.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub(super) place: Place,
    pub(super) verdict: Verdict,
    /// From the hello to the answer.
    pub(super) took_us: i64,
    pub(super) outcome: Outcome,
    pub(super) name: Option<Box<str>>,
    /// The host to which an explicit proxy leads.
    pub(super) origin: Option<Box<str>>,
}

impl Weigh for Late {
    fn heap_bytes(&self) -> usize {
        let texts = [&self.name, &self.origin].into_iter().flatten();
        texts.map(|text| text.len()).sum()
    }
}

impl Weigh for Lost {
    fn heap_bytes(&self) -> usize {
        self.reason.len() + self.location.len()
    }
}

fn host_bytes(host: &Option<Arc<str>>) -> usize {
    host.as_deref().map_or(0, |host| host.len() + 16)
}

impl Weigh for Plain {
    fn heap_bytes(&self) -> usize {
        host_bytes(&self.host)
            + host_bytes(&self.forwarded_host)
            + self.line.as_deref().map_or(0, str::len)
    }
}

impl Weigh for Bound {
    fn heap_bytes(&self) -> usize {
        host_bytes(&self.host)
    }
}

impl Weigh for Unauthenticated {
    fn heap_bytes(&self) -> usize {
        self.target.len()
    }
}

impl Weigh for Gap {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Weigh for Fetch {
    fn heap_bytes(&self) -> usize {
        self.host.len() + 16
    }
}

/// What was said in clear.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) plain: Shelf<Plain>,
    pub(super) bound: Shelf<Bound>,
    pub(super) unauthenticated: Shelf<Unauthenticated>,
    pub(super) gaps: Shelf<Gap>,
    pub(super) fetches: Shelf<Fetch>,
    pub(super) drops: Shelf<Lost>,
    pub(super) late: Shelf<Late>,
    /// Clients and forward proxies between which a tunnel came about.
    tunnels: HashSet<(IpAddr, Endpoint)>,
    tunnels_max: usize,
    tunnels_forgotten: u64,
    /// Hosts, each stored once.
    hosts: HashSet<Arc<str>>,
    hosts_bytes: usize,
}

impl Aside {
    /// At most a quarter of what findings may remember: plain HTTP half of that, the rest goes to the others alike.
    pub(super) fn new(settings: &Settings) -> Self {
        let all = settings.history_bytes_max / 4;
        Self {
            plain: Shelf::new(all / 2),
            bound: Shelf::new(all / 10),
            unauthenticated: Shelf::new(all / 10),
            gaps: Shelf::new(all / 10),
            fetches: Shelf::new(all / 20),
            drops: Shelf::new(all / 40),
            late: Shelf::new(all / 40),
            tunnels: HashSet::new(),
            tunnels_max: all / 10 / PAIR_BYTES,
            tunnels_forgotten: 0,
            hosts: HashSet::new(),
            hosts_bytes: 0,
        }
    }

    /// Takes what a record has of it; whether there was anything.
    pub(super) fn add(
        &mut self,
        facts: &Facts<'_>,
        verdicts: &Verdicts,
        settings: &Settings,
    ) -> bool {
        let record = facts.record;
        let slow = verdicts.of_cause(path::CLIENT_THINKS);
        let late = verdicts.of_cause(ANSWERED_LATE);
        let dropped = record.recording.is_some() && self.drop(facts);
        let told = record.proxy.is_some()
            || record.http.is_some()
            || slow.is_some()
            || late.is_some()
            || dropped;
        if record.proxy.is_some() {
            self.tunnel(record);
        }
        if record.http.is_some() {
            self.http(record, settings);
        }
        if let Some(slow) = slow {
            self.gap(facts, slow);
        }
        if let Some(late) = late {
            self.late(facts, late);
        }
        told
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.plain.bytes()
            + self.bound.bytes()
            + self.unauthenticated.bytes()
            + self.gaps.bytes()
            + self.fetches.bytes()
            + self.drops.bytes()
            + self.late.bytes()
            + self.tunnels.len() * PAIR_BYTES
            + self.hosts_bytes
    }

    /// Entries that had to go.
    pub(super) fn forgotten(&self) -> u64 {
        self.plain.forgotten
            + self.bound.forgotten
            + self.unauthenticated.forgotten
            + self.gaps.forgotten
            + self.fetches.forgotten
            + self.drops.forgotten
            + self.late.forgotten
            + self.tunnels_forgotten
    }

    /// Adds all that another one holds.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.plain.absorb(&other.plain);
        self.bound.absorb(&other.bound);
        self.unauthenticated.absorb(&other.unauthenticated);
        self.gaps.absorb(&other.gaps);
        self.fetches.absorb(&other.fetches);
        self.drops.absorb(&other.drops);
        self.late.absorb(&other.late);
        for pair in &other.tunnels {
            self.came_about(*pair);
        }
        self.tunnels_forgotten += other.tunnels_forgotten;
    }

    /// The order in which captures or saved records came does not matter.
    pub(super) fn sort(&mut self) {
        let key = |place: &Place| (place.start, place.frame, place.server);
        self.plain.sort_by_key(|entry| key(&entry.place));
        self.bound.sort_by_key(|entry| key(&entry.place));
        self.unauthenticated.sort_by_key(|entry| key(&entry.place));
        self.gaps.sort_by_key(|entry| key(&entry.place));
        self.fetches.sort_by_key(|entry| key(&entry.place));
        self.drops.sort_by_key(|entry| key(&entry.place));
        self.late.sort_by_key(|entry| key(&entry.place));
    }

    /// Between the two a tunnel came about, or it may have: some had to go.
    pub(super) fn may_have_tunnel(&self, client: IpAddr, proxy: Endpoint) -> bool {
        self.tunnels_forgotten > 0 || self.tunnels.contains(&(client, proxy))
    }

    fn came_about(&mut self, pair: (IpAddr, Endpoint)) {
        if self.tunnels.len() < self.tunnels_max {
            self.tunnels.insert(pair);
        } else if !self.tunnels.contains(&pair) {
            self.tunnels_forgotten += 1;
        }
    }

    #[cold]
    fn drop(&mut self, facts: &Facts<'_>) -> bool {
        let Some(drop) = dropped::hello(facts) else {
            return false;
        };
        self.drops.push(Lost {
            place: place(facts.record, drop.frame),
            reason: dropped::reason(drop).into(),
            location: drop.location.clone(),
        });
        true
    }

    /// The verdict is that of `hello-unanswered`, where the answer came late.
    #[cold]
    fn late(&mut self, facts: &Facts<'_>, verdict: Verdict) {
        let took_us = facts.record.timing.client_hello_to_server_hello_us;
        self.late.push(Late {
            place: place(facts.record, facts.frame()),
            verdict,
            took_us: took_us.unwrap_or(0),
            outcome: facts.record.outcome,
            name: facts.sni().map(Into::into),
            origin: facts.origin().map(Into::into),
        });
    }

    /// The verdict is that of `slow-handshake`, where the client took the time.
    #[cold]
    fn gap(&mut self, facts: &Facts<'_>, slow: Verdict) {
        let Some((from, until, took_us)) = path::client_gap(facts) else {
            return;
        };
        let mut place = place(facts.record, facts.frame());
        place.start = from;
        self.gaps.push(Gap {
            place,
            until,
            took_us,
            severity: slow.severity,
        });
    }

    #[cold]
    fn tunnel(&mut self, record: &Handshake) {
        let Some(proxy) = record
            .proxy
            .as_ref()
            .filter(|proxy| proxy.kind == "http-connect")
        else {
            return;
        };
        let pair = (record.client.ip, record.server);
        let through = record.client_hello.is_some() || matches!(proxy.status, Some(200..=299));
        if through {
            self.came_about(pair);
        } else if proxy.status == Some(407) {
            let frame = record.dialogue.as_ref().map_or(0, |said| said.frame);
            let entry = Unauthenticated {
                place: place(record, frame),
                target: proxy.target.clone().unwrap_or_default(),
            };
            self.unauthenticated.push(entry);
        }
    }

    #[cold]
    fn http(&mut self, record: &Handshake, settings: &Settings) {
        let Some(http) = record
            .http
            .as_deref()
            .filter(|_| record.client_hello.is_none())
        else {
            return;
        };
        self.fetch(record, http, settings);
        // A server that only leads to https, and look-ups of certificates and their revocation, are meant to be in clear.
        let leads_away = http.responses.iter().any(|one| one.redirects_to_https);
        let told = http.requests.iter().filter(|one| !is_meant_plain(one));
        let best = told.max_by_key(|one| (is_exchange(&one.path), came_by_https(one)));
        if let Some(request) = best.filter(|_| !leads_away) {
            let host = self.host(request);
            // Each proxy of a chain adds its own; the first is what the client asked for.
            let forwarded = request.forwarded_host.as_deref();
            let forwarded = forwarded.and_then(|hosts| hosts.split(',').next());
            let forwarded_host = forwarded.map(|host| self.shared(host.trim()));
            let (exchange, by_https) = (is_exchange(&request.path), came_by_https(request));
            let bearer = |scheme: &str| scheme == "Bearer";
            let asked = http.responses.iter().flat_map(|one| &one.authenticate);
            let shown = http
                .requests
                .iter()
                .filter_map(|one| one.authorization.as_ref());
            let entry = Plain {
                place: place(record, request.frame),
                host,
                forwarded_host,
                line: (exchange || by_https)
                    .then(|| format!("{} {}", request.method, request.path).into()),
                exchange,
                by_https,
                bearer: asked.map(|one| &*one.scheme).any(bearer)
                    || shown.map(|one| &*one.scheme).any(bearer),
            };
            self.plain.push(entry);
        }
        for request in &http.requests {
            let ntlm = request
                .authorization
                .as_ref()
                .and_then(|shown| shown.ntlm.as_ref());
            if let Some(binding) = ntlm.and_then(|ntlm| ntlm.channel_binding_hash) {
                let host = self.host(request);
                let entry = Bound {
                    place: place(record, request.frame),
                    host,
                    binding,
                };
                self.bound.push(entry);
            }
        }
    }

    /// A look-up that failed: refused by the server or a proxy, or left without an answer for as long as a slow client takes.
    fn fetch(&mut self, record: &Handshake, http: &Http, settings: &Settings) {
        let looks_up = |one: &&HttpRequest| {
            one.host
                .as_deref()
                .is_some_and(|host| serves_look_ups(host_name(host)))
        };
        let Some(request) = http.requests.iter().find(looks_up) else {
            return;
        };
        let waited_ms = record.end.micros_since(record.start) / 1_000;
        let silent = http.responses.is_empty()
            && u64::try_from(waited_ms).is_ok_and(|ms| ms >= settings.slow_client_ms)
            && !record.defects.contains(&Defect::OneDirection);
        let status = http.responses.first().map(|one| one.status);
        if !silent && status.is_none_or(|status| status < 400) {
            return;
        }
        let Some(host) = self.host(request) else {
            return;
        };
        self.fetches.push(Fetch {
            place: place(record, request.frame),
            until: record.end,
            host,
            status,
        });
    }

    fn host(&mut self, request: &HttpRequest) -> Option<Arc<str>> {
        Some(self.shared(request.host.as_deref()?))
    }

    /// A host without its port, stored once.
    fn shared(&mut self, host: &str) -> Arc<str> {
        let host = host_name(host).to_ascii_lowercase();
        if let Some(known) = self.hosts.get(host.as_str()) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = host.into();
        if self.hosts.len() < HOSTS_MAX {
            self.hosts_bytes += shared.len() + 3 * size_of::<Arc<str>>();
            self.hosts.insert(Arc::clone(&shared));
        }
        shared
    }
}

fn place(record: &Handshake, frame: u64) -> Place {
    Place {
        start: record.start,
        capture: Arc::clone(&record.capture),
        frame,
        client: record.client.ip,
        server: record.server,
    }
}

/// `Host` without its port.
pub(super) fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Paths that only Exchange and AD FS serve, and that hold log-ons.
const EXCHANGE: [&str; 10] = [
    "/owa",
    "/ecp",
    "/ews",
    "/mapi",
    "/microsoft-server-activesync",
    "/oab",
    "/rpc",
    "/autodiscover",
    "/powershell",
    "/adfs",
];

/// The path is one of Exchange's or AD FS'.
pub(super) fn is_exchange(path: &str) -> bool {
    EXCHANGE.iter().any(|known| {
        path.split_at_checked(known.len())
            .is_some_and(|(begin, rest)| {
                begin.eq_ignore_ascii_case(known) && (rest.is_empty() || rest.starts_with('/'))
            })
    })
}

/// A proxy says that its client came by https.
pub(super) fn came_by_https(request: &HttpRequest) -> bool {
    let is = |field: &Option<Box<str>>, wanted: &str| {
        field
            .as_deref()
            .is_some_and(|value| value.eq_ignore_ascii_case(wanted))
    };
    is(&request.forwarded_proto, "https") || is(&request.front_end_https, "on")
}

/// Requests that stand in clear on purpose: revocation, issuers, certificate orders.
fn is_meant_plain(request: &HttpRequest) -> bool {
    let path = request.path.to_ascii_lowercase();
    let host = request.host.as_deref().unwrap_or("").to_ascii_lowercase();
    let ends = [".crl", ".crt", ".cer", ".p7c", ".stl", ".cab"];
    &*request.method == "CONNECT"
        || path.starts_with("/.well-known/")
        || ends.iter().any(|end| path.ends_with(end))
        || serves_look_ups(host_name(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_exchange_end_at_a_slash() {
        assert!(is_exchange("/owa") && is_exchange("/EWS/Exchange.asmx"));
        assert!(is_exchange("/Microsoft-Server-ActiveSync"));
        assert!(!is_exchange("/owalike") && !is_exchange("/") && !is_exchange("/api/owa"));
    }

    #[test]
    fn ports_are_no_part_of_a_host() {
        assert_eq!(host_name("mail.contoso.com:8080"), "mail.contoso.com");
        assert_eq!(host_name("mail.contoso.com"), "mail.contoso.com");
        assert_eq!(host_name("[2001:db8::1]"), "[2001:db8::1]");
    }
}
