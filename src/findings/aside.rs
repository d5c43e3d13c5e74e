//! What connections said in clear beside TLS, as far as surveys need it: plain HTTP requests, whom a log-on was bound to,
//! and what forward proxies answered.
//!
//! Few records have any of it: for all others this costs two comparisons. Each list is capped; past the cap the oldest
//! go, counted with the traces.

use crate::record::{Digest, Endpoint, Handshake, HttpRequest, Timestamp};
use hashbrown::{HashMap, HashSet};
use std::{collections::VecDeque, net::IpAddr, sync::Arc};

/// Entries kept of each kind.
const ENTRIES_MAX: usize = 65_536;

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

/// What was said in clear.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) plain: VecDeque<Plain>,
    pub(super) bound: VecDeque<Bound>,
    pub(super) unauthenticated: VecDeque<Unauthenticated>,
    /// Clients and forward proxies between which a tunnel came about.
    pub(super) tunnels: HashSet<(IpAddr, Endpoint)>,
    /// Hosts, each stored once.
    hosts: HashMap<Box<str>, Arc<str>>,
    /// Entries that had to go.
    pub(super) forgotten: u64,
}

fn push<T>(list: &mut VecDeque<T>, entry: T, forgotten: &mut u64) {
    if list.len() >= ENTRIES_MAX {
        list.pop_front();
        *forgotten += 1;
    }
    list.push_back(entry);
}

impl Aside {
    /// Takes what a record has of it.
    pub(super) fn add(&mut self, record: &Handshake) {
        if record.proxy.is_some() {
            self.tunnel(record);
        }
        if record.http.is_some() {
            self.http(record);
        }
    }

    /// Adds all that another one holds.
    pub(super) fn absorb(&mut self, other: &Self) {
        let forgotten = &mut self.forgotten;
        for entry in &other.plain {
            push(&mut self.plain, entry.clone(), forgotten);
        }
        for entry in &other.bound {
            push(&mut self.bound, entry.clone(), forgotten);
        }
        for entry in &other.unauthenticated {
            push(&mut self.unauthenticated, entry.clone(), forgotten);
        }
        let room = ENTRIES_MAX.saturating_sub(self.tunnels.len());
        self.tunnels.extend(other.tunnels.iter().take(room));
        *forgotten += other.forgotten;
    }

    /// The order in which captures or saved records came does not matter.
    pub(super) fn sort(&mut self) {
        let key = |place: &Place| (place.start, place.frame, place.server);
        let plain = self.plain.make_contiguous();
        plain.sort_by_key(|entry| key(&entry.place));
        self.bound
            .make_contiguous()
            .sort_by_key(|entry| key(&entry.place));
        let refused = self.unauthenticated.make_contiguous();
        refused.sort_by_key(|entry| key(&entry.place));
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
            if self.tunnels.len() < ENTRIES_MAX {
                self.tunnels.insert(pair);
            }
        } else if proxy.status == Some(407) {
            let frame = record.dialogue.as_ref().map_or(0, |said| said.frame);
            let entry = Unauthenticated {
                place: place(record, frame),
                target: proxy.target.clone().unwrap_or_default(),
            };
            push(&mut self.unauthenticated, entry, &mut self.forgotten);
        }
    }

    #[cold]
    fn http(&mut self, record: &Handshake) {
        let Some(http) = record
            .http
            .as_deref()
            .filter(|_| record.client_hello.is_none())
        else {
            return;
        };
        // A server that only leads to https, and look-ups of certificates and their revocation, are meant to be in clear.
        let leads_away = http.responses.iter().any(|one| one.redirects_to_https);
        let told = http.requests.iter().filter(|one| !is_meant_plain(one));
        let best = told.max_by_key(|one| (is_exchange(&one.path), came_by_https(one)));
        if let Some(request) = best.filter(|_| !leads_away) {
            let host = self.host(request);
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
                line: (exchange || by_https)
                    .then(|| format!("{} {}", request.method, request.path).into()),
                exchange,
                by_https,
                bearer: asked.map(|one| &*one.scheme).any(bearer)
                    || shown.map(|one| &*one.scheme).any(bearer),
            };
            push(&mut self.plain, entry, &mut self.forgotten);
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
                push(&mut self.bound, entry, &mut self.forgotten);
            }
        }
    }

    fn host(&mut self, request: &HttpRequest) -> Option<Arc<str>> {
        let host = host_name(request.host.as_deref()?).to_ascii_lowercase();
        if let Some(known) = self.hosts.get(host.as_str()) {
            return Some(Arc::clone(known));
        }
        let shared: Arc<str> = host.as_str().into();
        if self.hosts.len() < ENTRIES_MAX {
            self.hosts.insert(host.into(), Arc::clone(&shared));
        }
        Some(shared)
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
        || ["ocsp", "crl", "ctldl", "pki"]
            .iter()
            .any(|word| host.starts_with(word))
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
