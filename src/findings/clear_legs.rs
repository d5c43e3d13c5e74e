//! `proxy-name-rewrite` where a leg of the proxy is plain HTTP, so that the `Host` on it can be read.
//!
//! A request behind a proxy may itself say which host the client asked for. Else the legs are paired as those in TLS are,
//! and since a web server that calls services of its own looks alike, only by requests that show a proxy's hand: a path
//! of Exchange or AD FS, a header that says that the client came by https, or a proxy that is configured.

use super::aside::Plain;
use super::groups::Subject;
use super::offload::plain_words;
use super::proxy::{PAIR_US, PAIRS_MIN, RECENT, callers, is_allowed, refused_hosts, signs_in};
use super::survey::{Report, severity_if};
use super::text::say;
use super::trace::Trace;
use super::{ProxyLegs, Survey, Verdict};
use crate::record::{Confidence, Evidence, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

/// The survey.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: hosts,
}];

/// A connection to or from a proxy, and the name that was asked for on it.
#[derive(Clone, Copy)]
struct Leg<'p> {
    name: &'p str,
    start: Timestamp,
    /// From its start until it can carry a request.
    ready_us: i64,
    seen: Seen<'p>,
}

#[derive(Clone, Copy)]
enum Seen<'p> {
    Plain(&'p Plain),
    Tls(usize),
}

/// Of each proxy: what it was asked for, and what it asked for.
#[derive(Default)]
struct Legs<'p> {
    front: Vec<Leg<'p>>,
    back: Vec<Leg<'p>>,
}

/// Pairs of names of one proxy that are told apart: a capture can be made in which each request has another.
const NAMES_MAX: usize = 16_384;

/// The name outside, and the one behind.
type Names<'p> = (&'p str, &'p str);

/// What speaks for one rewriting.
#[derive(Default)]
struct Rewritten<'p> {
    front: BTreeSet<Timestamp>,
    back: Vec<Leg<'p>>,
}

fn hosts(report: &mut Report<'_>) {
    if report.aside.plain.is_empty() {
        return;
    }
    let told = told_by_request(report);
    for (proxy, legs) in legs(report) {
        let configured = report.settings.proxies.iter().find(|one| one.ip == proxy);
        let mut asked: HashMap<&str, usize> = HashMap::new();
        for leg in &legs.front {
            *asked.entry(leg.name).or_default() += 1;
        }
        for (names, found) in rewritten(&legs, configured) {
            let all = asked.get(names.0).copied().unwrap_or(0);
            let times = found.front.len().min(found.back.len());
            let mostly = configured.is_some() || found.front.len() * 10 >= all * 6;
            let known = told.contains(&(proxy, names)) || is_allowed(report, proxy, names.1);
            if times >= PAIRS_MIN && mostly && !known {
                tell_pairs(report, proxy, names, &legs, &found.back);
            }
        }
    }
}

/// Shows the first request behind the proxy, and the connection before it that it was made for.
fn tell_pairs(
    report: &mut Report<'_>,
    proxy: IpAddr,
    names: Names<'_>,
    legs: &Legs<'_>,
    back: &[Leg<'_>],
) {
    let Some(first) = back.first() else { return };
    let mut before = legs.front.iter().rev();
    let front = before.find(|leg| leg.name == names.0 && leg.start <= first.start);
    let past = report.past;
    let evidence = front.into_iter().chain([first]);
    let evidence = evidence.filter_map(|leg| match leg.seen {
        Seen::Plain(plain) => Some(shown(report, plain)),
        Seen::Tls(index) => Some(past.evidence(&past.trace(index)?)),
    });
    let evidence = evidence.collect();
    let confidence = match first.seen {
        Seen::Plain(_) => Confidence::Likely,
        Seen::Tls(_) => Confidence::Possible,
    };
    tell(report, proxy, names, (confidence, evidence), back);
}

/// Requests that have the host of the client's request beside their own.
fn told_by_request<'r>(report: &mut Report<'r>) -> BTreeSet<(IpAddr, Names<'r>)> {
    let mut found: BTreeMap<(IpAddr, Names<'r>), Vec<Leg<'r>>> = BTreeMap::new();
    let aside = report.aside;
    for plain in aside.plain.iter() {
        let (Some(host), Some(asked)) = (plain.host.as_deref(), plain.forwarded_host.as_deref())
        else {
            continue;
        };
        let proxy = plain.place.client;
        let matters = plain.exchange || plain.bearer || signs_in(report, asked);
        if matters && asked != host && !is_allowed(report, proxy, host) {
            let legs = found.entry((proxy, (asked, host))).or_default();
            legs.push(plain_leg(plain, host));
        }
    }
    for ((proxy, names), legs) in &found {
        let first = legs.iter().find_map(|leg| match leg.seen {
            Seen::Plain(plain) => Some(plain),
            Seen::Tls(_) => None,
        });
        let evidence = first
            .map(|plain| shown(report, plain))
            .into_iter()
            .collect();
        tell(
            report,
            *proxy,
            *names,
            (Confidence::Certain, evidence),
            legs,
        );
    }
    found.into_keys().collect()
}

/// Hosts of plain connections that are asked, and ask others.
fn proxies(report: &Report<'_>) -> BTreeSet<IpAddr> {
    let plain = || report.aside.plain.iter().map(|plain| &plain.place);
    let clients: BTreeSet<IpAddr> = plain().map(|place| place.client).collect();
    let servers: BTreeSet<IpAddr> = plain().map(|place| place.server.ip).collect();
    let callers = callers(report);
    let is_proxy =
        |ip: &IpAddr| callers.contains(ip) || (clients.contains(ip) && servers.contains(ip));
    clients.union(&servers).copied().filter(is_proxy).collect()
}

/// Their legs, in order of time.
fn legs<'r>(report: &Report<'r>) -> BTreeMap<IpAddr, Legs<'r>> {
    let (past, aside) = (report.past, report.aside);
    let mut legs: BTreeMap<IpAddr, Legs<'r>> = BTreeMap::new();
    let proxies = proxies(report);
    if proxies.is_empty() {
        return legs;
    }
    let has = |ip: &IpAddr| proxies.contains(ip);
    for plain in aside.plain.iter() {
        let (client, server) = (plain.place.client, plain.place.server.ip);
        let Some(host) = plain.host.as_deref() else {
            continue;
        };
        if has(&client) {
            let slot = legs.entry(client).or_default();
            slot.back.push(plain_leg(plain, host));
        }
        if has(&server) {
            let slot = legs.entry(server).or_default();
            slot.front.push(plain_leg(plain, host));
        }
    }
    for (index, trace) in past.all_like(|sort| sort.name.is_some()) {
        let Some(name) = past.name(&trace) else {
            continue;
        };
        if has(&trace.server.ip) && trace.is_complete() {
            let slot = legs.entry(trace.server.ip).or_default();
            slot.front.push(tls_leg(index, &trace, name));
        }
        if has(trace.client) && trace.server.ip != *trace.client {
            let slot = legs.entry(*trace.client).or_default();
            slot.back.push(tls_leg(index, &trace, name));
        }
    }
    legs.retain(|_, legs| !legs.front.is_empty() && !legs.back.is_empty());
    for legs in legs.values_mut() {
        legs.front.sort_by_key(|leg| leg.start);
        legs.back.sort_by_key(|leg| leg.start);
    }
    legs
}

fn plain_leg<'p>(plain: &'p Plain, name: &'p str) -> Leg<'p> {
    Leg {
        name,
        start: plain.place.start,
        ready_us: 0,
        seen: Seen::Plain(plain),
    }
}

fn tls_leg<'p>(index: usize, trace: &Trace<'_>, name: &'p str) -> Leg<'p> {
    Leg {
        name,
        start: trace.own.start,
        ready_us: i64::from(trace.own.handshake.get().unwrap_or(0)),
        seen: Seen::Tls(index),
    }
}

/// Names that the proxy asked for in place of those that it was asked for; none where it also keeps the name.
fn rewritten<'p>(
    legs: &Legs<'p>,
    configured: Option<&ProxyLegs>,
) -> BTreeMap<Names<'p>, Rewritten<'p>> {
    let mut found: BTreeMap<Names<'p>, Rewritten<'p>> = BTreeMap::new();
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    for back in &legs.back {
        let end = legs.front.partition_point(|front| front.start < back.start);
        let recent = legs.front.get(end.saturating_sub(RECENT)..end);
        for front in recent.unwrap_or(&[]) {
            let gap = back.start.micros_since(front.start);
            if gap > front.ready_us.saturating_add(PAIR_US) {
                continue;
            }
            if front.name.eq_ignore_ascii_case(back.name) {
                kept.insert(front.name);
            } else if belongs(front, back, configured)
                && (found.len() < NAMES_MAX || found.contains_key(&(front.name, back.name)))
            {
                let slot = found.entry((front.name, back.name)).or_default();
                slot.front.insert(front.start);
                if slot.back.last().is_none_or(|last| last.start != back.start) {
                    slot.back.push(*back);
                }
            }
        }
    }
    // A client that asks by address gives no name to keep.
    found.retain(|(front, _), _| !kept.contains(front) && front.parse::<IpAddr>().is_err());
    found
}

/// One of the legs is in clear, and shows that one is made for the other.
fn belongs(front: &Leg<'_>, back: &Leg<'_>, configured: Option<&ProxyLegs>) -> bool {
    let is_behind = |ip: IpAddr| {
        configured.is_some_and(|known| known.backends.is_empty() || known.backends.contains(&ip))
    };
    match (front.seen, back.seen) {
        (Seen::Tls(_), Seen::Tls(_)) => false,
        (Seen::Plain(one), Seen::Plain(other)) => {
            (one.line.is_some() && one.line == other.line) || is_behind(other.place.server.ip)
        }
        (Seen::Tls(_), Seen::Plain(other)) => {
            other.exchange || other.by_https || is_behind(other.place.server.ip)
        }
        (Seen::Plain(one), Seen::Tls(_)) => one.exchange,
    }
}

fn shown(report: &Report<'_>, plain: &Plain) -> Evidence {
    Evidence {
        capture: Arc::clone(&plain.place.capture),
        frame: plain.place.frame,
        fact: plain_words(plain, report.past.lang).into(),
    }
}

fn tell(
    report: &mut Report<'_>,
    proxy: IpAddr,
    (front, back): Names<'_>,
    (confidence, evidence): (Confidence, Vec<Evidence>),
    legs: &[Leg<'_>],
) {
    let times = || legs.iter().map(|leg| leg.start);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return;
    };
    let refused = refused_hosts(report);
    let is_refused = [front, back]
        .iter()
        .any(|name| refused.contains(&name.to_ascii_lowercase()));
    let severity = severity_if(is_refused || signs_in(report, front));
    let cause = match confidence {
        Confidence::Possible => "",
        _ => "host-in-clear",
    };
    let verdict = Verdict::new(severity, confidence, cause);
    let subject = say(report.past.lang, "rewrite-subject")
        .with("front", front)
        .with("back", back)
        .with("proxy", proxy);
    let subject = Subject::Named(subject.text().into());
    if let Some(group) = report.open("proxy-name-rewrite", verdict, subject) {
        group.count(legs.len() as u64, first, last);
        group.example(severity, first, evidence);
        group.set("front", front);
        group.set("back", back);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Settings;
    use crate::findings::testing::{Make, diagnose, diagnose_with, find};
    use crate::record::{Finding, Http, HttpRequest, Severity};

    const ID: &str = "proxy-name-rewrite";
    const PROXY: &str = "10.0.0.20";
    const OUTER: &str = "mail.contoso.com";
    const INNER: &str = "exchange.contoso.local";

    fn request(host: &str, path: &str) -> HttpRequest {
        HttpRequest {
            frame: 9,
            method: "GET".into(),
            path: path.into(),
            host: Some(host.into()),
            ..HttpRequest::default()
        }
    }

    fn plain(client: &str, server: &str, request: HttpRequest) -> Make {
        let made = Make::new().client(client).server(server);
        made.with(|record| {
            record.client_hello = None;
            record.http = Some(Box::new(Http {
                requests: vec![request],
                ..Http::default()
            }));
        })
    }

    fn tls_front() -> Make {
        let made = Make::new().sni(OUTER).server("10.0.0.20:443");
        made.answer(0x0303, 0xc02f)
    }

    fn plain_front(path: &str) -> Make {
        plain("10.0.0.1", "10.0.0.20:80", request(OUTER, path))
    }

    fn tls_back() -> Make {
        let made = Make::new().client(PROXY).sni(INNER);
        made.server("10.0.0.30:443").answer(0x0303, 0xc02f)
    }

    fn plain_back(host: &str, path: &str) -> Make {
        plain(PROXY, "10.0.0.30:80", request(host, path))
    }

    /// So many times, each time the second a little later than the first.
    fn times(count: i64, front: &Make, back: &Make) -> Vec<Make> {
        let pair = |n| {
            [
                front.clone().at(10 * n),
                back.clone().at_ms(10_000 * n + 300),
            ]
        };
        (0..count).flat_map(pair).collect()
    }

    fn told(found: &[Finding]) -> Option<(Severity, Confidence)> {
        find(found, ID).map(|one| (one.severity, one.confidence))
    }

    #[test]
    fn hosts_behind_tls() {
        let found = diagnose(&times(3, &tls_front(), &plain_back(INNER, "/owa/")));
        let likely = Some((Severity::Warning, Confidence::Likely));
        assert_eq!(told(&found), likely);
        let finding = find(&found, ID).unwrap();
        assert!(finding.title.contains(OUTER) && finding.title.contains(INNER));
        assert!(finding.evidence.iter().any(|one| one.fact.contains(INNER)));
        // The host is kept; two are a coincidence; a web server asks a service of its own.
        for (count, host, path) in [(3, OUTER, "/owa/"), (2, INNER, "/owa/"), (3, INNER, "/api")] {
            let found = diagnose(&times(count, &tls_front(), &plain_back(host, path)));
            assert_eq!(told(&found), None, "{count} {host} {path}");
        }
        // It keeps the host for one of the servers behind it.
        let mut both = times(3, &tls_front(), &plain_back(INNER, "/owa/"));
        both.extend(times(1, &tls_front(), &plain_back(OUTER, "/owa/")));
        assert_eq!(told(&diagnose(&both)), None);
        // Most connections to it lead to nothing of the kind.
        let mut seldom = times(3, &tls_front(), &plain_back(INNER, "/owa/"));
        seldom.extend((10..20_i64).map(|n| tls_front().at(10 * n)));
        assert_eq!(told(&diagnose(&seldom)), None);
        // Long afterwards.
        let late = |n: i64| {
            [
                tls_front().at(100 * n),
                plain_back(INNER, "/owa/").at(100 * n + 50),
            ]
        };
        let late: Vec<Make> = (0..3).flat_map(late).collect();
        assert_eq!(told(&diagnose(&late)), None);
    }

    #[test]
    fn a_front_in_clear() {
        let found = diagnose(&times(
            3,
            &plain_front("/owa/"),
            &plain_back(INNER, "/owa/"),
        ));
        assert_eq!(told(&found), Some((Severity::Warning, Confidence::Likely)));
        // The name in TLS is not the host.
        let found = diagnose(&times(3, &plain_front("/owa/"), &tls_back()));
        assert_eq!(
            told(&found),
            Some((Severity::Warning, Confidence::Possible))
        );
        let silent = |front: Make, back: Make| {
            assert_eq!(told(&diagnose(&times(3, &front, &back))), None);
        };
        // Another request, or one that any program on the host may make.
        silent(plain_front("/owa/"), plain_back(INNER, "/ews/"));
        silent(plain_front("/index"), plain_back(INNER, "/index"));
        silent(plain_front("/index"), tls_back());
        silent(plain_front("/owa/"), tls_back().sni(OUTER));
        // The client has no name to keep.
        let by_address = request("10.0.0.20", "/owa/");
        silent(
            plain("10.0.0.1", "10.0.0.20:80", by_address),
            plain_back(INNER, "/owa/"),
        );
    }

    #[test]
    fn a_configured_proxy() {
        let text = "[[proxies]]\nip = \"10.0.0.20\"\nbackends = [\"10.0.0.30\"]";
        let made = times(3, &plain_front("/index"), &plain_back(INNER, "/other"));
        let with = |text: &str| diagnose_with(&made, &toml::from_str::<Settings>(text).unwrap());
        assert!(told(&with(text)).is_some());
        assert_eq!(told(&with(&text.replace(".30", ".31"))), None);
        let allowed = format!("{text}\nnames-behind = [\"{INNER}\"]");
        assert_eq!(told(&with(&allowed)), None);
    }

    #[test]
    fn a_request_that_has_both_hosts() {
        let both = |asked: &str, host: &str, path: &str| {
            let mut request = request(host, path);
            request.forwarded_host = Some(asked.into());
            diagnose(&[plain(PROXY, "10.0.0.30:80", request)])
        };
        let found = both("Mail.contoso.com:443, proxy.contoso.com", INNER, "/owa/");
        assert_eq!(told(&found), Some((Severity::Warning, Confidence::Certain)));
        let fact = &find(&found, ID).unwrap().evidence[0].fact;
        assert!(
            fact.ends_with("X-Forwarded-Host mail.contoso.com"),
            "{fact}"
        );
        let found = both("autodiscover.contoso.com", INNER, "/x");
        assert_eq!(told(&found), Some((Severity::Error, Confidence::Certain)));
        // Kept; or an application that is told both names.
        assert_eq!(told(&both(OUTER, "mail.contoso.com:80", "/owa/")), None);
        assert_eq!(told(&both(OUTER, INNER, "/index")), None);
    }
}
