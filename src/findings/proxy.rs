//! The two legs of a proxy: what it shows to clients, and what it asks of the servers behind it.
//!
//! Legs are paired at the level "front name → set of back endpoints", never request by request, since proxies pool their
//! back connections. A pair is configured, or learned: a host that is server of one connection calls another server, or one
//! of a pool of servers, within two seconds, three times at least and for most of its connections. Learned pairs are
//! *likely*, never more.

use super::certificate::card;
use super::groups::{Group, Subject};
use super::interception::interception;
use super::past::Past;
use super::survey::{Report, severity_if};
use super::text::{Say, say};
use super::trace::{Number, Trace};
use super::{Entry, Lang, Survey, Verdict, binding};
use crate::record::{Certificate, Confidence, Digest, Endpoint, Scope, Severity};
use hashbrown::HashSet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Time in which a back connection belongs to a front one.
pub(super) const PAIR_US: i64 = 2_000_000;
/// Coincidences before a pair is believed.
pub(super) const PAIRS_MIN: usize = 3;

/// Front connections before a call that are looked at.
pub(super) const RECENT: usize = 8;

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[
    Survey {
        entries: &[Entry::new(
            "bridge-cert-mismatch",
            Severity::Warning,
            Scope::Farm,
            "RFC 5929 section 4; Microsoft: Configure Windows Extended Protection in Exchange Server (SSL bridging)",
        )],
        run: certificates,
    },
    Survey {
        entries: &[Entry::new(
            "proxy-name-rewrite",
            Severity::Warning,
            Scope::Farm,
            "RFC 6066 section 3; Microsoft: hybrid modern authentication (audience of tokens)",
        )],
        run: names,
    },
    Survey {
        entries: &[Entry::new(
            "tls-interception-suspected",
            Severity::Warning,
            Scope::Client,
            "RFC 5929; Microsoft 365 network connectivity principles",
        )],
        run: interception,
    },
];

/// A front name with the back connections that belong to it.
pub(super) struct Leg {
    proxy: IpAddr,
    name: Box<str>,
    pub(super) front: Vec<usize>,
    pub(super) back: Vec<usize>,
    pub(super) configured: bool,
}

/// What is known of one proxy: its front connections by name, and its calls.
#[derive(Default)]
struct Fronts {
    all: Vec<usize>,
    by_name: BTreeMap<Box<str>, Vec<usize>>,
}

/// Front connections by server address, in order of time.
fn fronts(report: &Report<'_>, callers: &HashSet<IpAddr>) -> BTreeMap<IpAddr, Fronts> {
    let past = report.past;
    let mut fronts: BTreeMap<IpAddr, Fronts> = BTreeMap::new();
    if callers.is_empty() {
        return fronts;
    }
    for (index, trace) in past.all_whose(|kind| callers.contains(&kind.server.ip)) {
        if let Some(name) = past.name(&trace) {
            let slot = fronts.entry(trace.server.ip).or_default();
            slot.all.push(index);
            match slot.by_name.get_mut(name) {
                Some(list) => list.push(index),
                None => {
                    slot.by_name.insert(name.into(), vec![index]);
                }
            }
        }
    }
    fronts
}

/// Addresses that may be a proxy's: servers that call others, and configured ones.
pub(super) fn callers(report: &Report<'_>) -> HashSet<IpAddr> {
    let past = report.past;
    let servers = past.kinds.endpoints.iter().map(|server| server.ip);
    let servers: HashSet<IpAddr> = servers.collect();
    let calling = past.clients.addresses.iter().copied();
    let configured = report.settings.proxies.iter();
    configured
        .flat_map(|proxy| proxy.calls_from.iter().copied().chain([proxy.ip]))
        .chain(calling.filter(|client| servers.contains(client)))
        .collect()
}

/// Calls of each of these addresses to servers elsewhere, in order of time.
fn calls(report: &Report<'_>, callers: &HashSet<IpAddr>) -> BTreeMap<IpAddr, Vec<usize>> {
    let mut calls: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
    if callers.is_empty() {
        return calls;
    }
    for (index, trace) in report.past.all() {
        if !callers.contains(trace.client) {
            continue;
        }
        let internal = report.settings.internal_ports.contains(&trace.server.port);
        let is_call = trace.hello.is_some() && trace.server.ip != *trace.client;
        // Nobody asked for a health check.
        if is_call && !internal && !report.is_probe(index) {
            calls.entry(*trace.client).or_default().push(index);
        }
    }
    calls
}

/// Front and back legs of all proxies.
pub(super) fn legs(report: &Report<'_>) -> Vec<Leg> {
    let past = report.past;
    let callers = callers(report);
    let calls = calls(report, &callers);
    let mut found = Vec::new();
    for (proxy, fronts) in fronts(report, &callers) {
        let configured = report
            .settings
            .proxies
            .iter()
            .find(|known| known.ip == proxy);
        let callers = configured.map_or(&[][..], |known| known.calls_from.as_slice());
        let mut back: Vec<usize> = callers
            .iter()
            .chain([&proxy])
            .filter_map(|caller| calls.get(caller))
            .flatten()
            .copied()
            .collect();
        if let Some(known) = configured.filter(|known| !known.backends.is_empty()) {
            back.retain(|index| {
                past.kind(*index)
                    .is_some_and(|kind| known.backends.contains(&kind.server.ip))
            });
        }
        if back.is_empty() {
            continue;
        }
        back.sort_unstable();
        // Pooled back connections fall into no window: where the proxy is known and serves few names, all are its names'.
        let few = configured.is_some_and(|known| !known.backends.is_empty())
            && fronts.by_name.len() <= RECENT;
        let mut paired = if few {
            BTreeMap::new()
        } else {
            coincident(report, &fronts, &back, configured.is_some())
        };
        for (name, front) in fronts.by_name {
            let back = if few {
                back.clone()
            } else {
                paired.remove(&name).unwrap_or_default()
            };
            if !back.is_empty() {
                found.push(Leg {
                    proxy,
                    name,
                    front,
                    back,
                    configured: configured.is_some(),
                });
            }
        }
    }
    found
}

/// What follows the front connections of one name at one server: these connections, and the calls.
type Pairs = (BTreeSet<usize>, Vec<usize>);

/// Calls by the name of the front connections that they follow, where servers that are alike are called so often enough.
fn coincident(
    report: &Report<'_>,
    fronts: &Fronts,
    calls: &[usize],
    configured: bool,
) -> BTreeMap<Box<str>, Vec<usize>> {
    let past = report.past;
    let mut pairs: BTreeMap<&str, BTreeMap<Endpoint, Pairs>> = BTreeMap::new();
    for (call, back) in past.of(calls) {
        // Both lists are in order of time: only the last few front connections before the call can belong to it.
        let before = fronts.all.partition_point(|index| *index < call);
        let recent = fronts
            .all
            .get(before.saturating_sub(RECENT)..before)
            .unwrap_or(&[]);
        for (front, trace) in past.of(recent).filter(|(_, front)| follows(front, &back)) {
            if let Some(name) = past.name(&trace) {
                let servers = pairs.entry(name).or_default();
                let slot = servers.entry(back.server).or_default();
                slot.0.insert(front);
                if slot.1.last() != Some(&call) {
                    slot.1.push(call);
                }
            }
        }
    }
    let mut found: BTreeMap<Box<str>, Vec<usize>> = BTreeMap::new();
    for (name, servers) in pairs {
        // A front connection that failed has nothing to ask for.
        let all = fronts.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let complete = past.of(all).filter(|(_, trace)| trace.is_complete());
        let all = complete.count();
        for (followed, mut calls) in alike(past, servers) {
            // One call after many front connections is one coincidence.
            let times = followed.len().min(calls.len());
            if times >= PAIRS_MIN && (configured || followed.len() * 10 >= all * 6) {
                found.entry(name.into()).or_default().append(&mut calls);
            }
        }
    }
    for calls in found.values_mut() {
        calls.sort_unstable();
        calls.dedup();
    }
    found
}

/// The servers of one pool, taken together: a balancer spreads the connections of one name over several, and to none of
/// them goes the most of it. Servers on one port are of one pool where they are called by one name, or all without one, or
/// show one certificate.
fn alike(past: &Past, servers: BTreeMap<Endpoint, Pairs>) -> Vec<Pairs> {
    /// More servers than this are one each: pools are smaller.
    const POOL_MAX: usize = 64;
    let mut pools: Vec<(u16, BTreeSet<Mark>, Pairs)> = Vec::new();
    for (server, (followed, calls)) in servers {
        let mut marks: BTreeSet<Mark> = BTreeSet::new();
        for (_, call) in past.of(&calls) {
            let name = past.name(&call).map(str::to_ascii_lowercase);
            marks.insert(Mark::Name(name));
            marks.extend(call.leaf.map(Mark::Leaf));
        }
        let mut pool = (server.port, marks, (followed, calls));
        // Joins all pools that it is like.
        let known = pools.len().min(POOL_MAX);
        for index in (0..known).rev() {
            let is_like = pools
                .get(index)
                .is_some_and(|(port, marks, _)| *port == pool.0 && !marks.is_disjoint(&pool.1));
            if is_like {
                let (_, marks, (followed, calls)) = pools.swap_remove(index);
                pool.1.extend(marks);
                pool.2.0.extend(followed);
                pool.2.1.extend(calls);
            }
        }
        pools.push(pool);
    }
    pools.into_iter().map(|(_, _, pairs)| pairs).collect()
}

/// What servers of one pool have in common: the name by which they are called, or that there is none, or a certificate.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Name(Option<String>),
    Leaf(Number),
}

/// The back connection begins once the front handshake is done, within the window.
fn follows(front: &Trace<'_>, back: &Trace<'_>) -> bool {
    let gap = back.own.start.micros_since(front.own.start);
    let ready = i64::from(front.own.handshake.get().unwrap_or(0));
    gap > 0 && gap <= ready.saturating_add(PAIR_US)
}

fn shows_certificate(report: &Report<'_>, list: &[usize]) -> Option<usize> {
    report
        .past
        .of(list)
        .find(|(_, trace)| report.past.leaf(trace).is_some_and(|leaf| !leaf.malformed))
        .map(|(index, _)| index)
}

/// The certificates that were shown.
fn digests(report: &Report<'_>, list: &[usize]) -> HashSet<Digest<32>> {
    let traces = report.past.of(list);
    traces
        .filter_map(|(_, trace)| Some(report.past.leaf(&trace)?.sha256))
        .collect()
}

/// `bridge-cert-mismatch`: only where the capture shows the certificate of both legs.
fn certificates(report: &mut Report<'_>) {
    let past = report.past;
    for leg in legs(report) {
        let outers = digests(report, &leg.front);
        // Each server behind the proxy counts: one may have the right certificate, and the next one not.
        let differs = |trace: &Trace| {
            let leaf = past.leaf(trace).filter(|leaf| !leaf.malformed);
            leaf.is_some_and(|leaf| !outers.contains(&leaf.sha256))
        };
        let differing = past.of(&leg.back).find(|(_, trace)| differs(trace));
        let (Some(front), Some((back, other))) = (shows_certificate(report, &leg.front), differing)
        else {
            continue;
        };
        let Some(one) = past.trace(front) else {
            continue;
        };
        let (Some(outer), Some(inner)) = (past.leaf(&one), past.leaf(&other)) else {
            continue;
        };
        let declared = report.settings.protects(&leg.name);
        let confidence = if leg.configured {
            Confidence::Certain
        } else {
            Confidence::Likely
        };
        let verdict = Verdict::new(severity_if(declared), confidence, "");
        let lang = past.lang;
        let evidence = vec![
            past.evidence_of(&one, leg_words(say(lang, "leg-front"), &one, outer, lang)),
            past.evidence_of(
                &other,
                leg_words(say(lang, "leg-back"), &other, inner, lang)
                    + &same_key(outer, inner, lang),
            ),
        ];
        let subject = say(lang, "leg-subject")
            .with("name", &leg.name)
            .with("proxy", leg.proxy)
            .text();
        if let Some(group) = report.tell_without_evidence(
            "bridge-cert-mismatch",
            verdict,
            Subject::Named(subject.into()),
            &[front, back],
        ) {
            group.replace_examples(verdict.severity, evidence);
            group.set("proxy", &leg.proxy.to_string());
            group.set("server", &other.server.to_string());
            group.set("name", &leg.name);
        }
    }
}

/// Equal keys help nothing here: the binding is over the whole certificate.
fn same_key(outer: &Certificate, inner: &Certificate, lang: Lang) -> String {
    if outer.spki_sha256.is_some() && outer.spki_sha256 == inner.spki_sha256 {
        say(lang, "leg-same-key").text()
    } else {
        String::new()
    }
}

/// Who talked to whom on a leg, the certificate, and what log-ons bind to.
fn leg_words(begin: Say, trace: &Trace<'_>, leaf: &Certificate, lang: Lang) -> String {
    let words = begin
        .with("client", *trace.client)
        .with("server", trace.server)
        .with("card", card(leaf, lang))
        .text();
    words + &binding::words(leaf, lang)
}

/// `proxy-name-rewrite`: the name in the back hello is another. The HTTP Host inside is not visible, so it is possible only.
fn names(report: &mut Report<'_>) {
    let past = report.past;
    let refused = refused_hosts(report);
    for leg in legs(report) {
        let mut others: BTreeMap<Box<str>, Vec<usize>> = BTreeMap::new();
        let mut nameless = Vec::new();
        let mut kept = false;
        for (index, trace) in past.of(&leg.back) {
            match past.name(&trace) {
                Some(name) if name.eq_ignore_ascii_case(&leg.name) => kept = true,
                Some(name) if is_allowed(report, leg.proxy, name) => {}
                Some(name) => others.entry(name.into()).or_default().push(index),
                None if trace.flags.has_no_names() => {}
                None => nameless.push(index),
            }
        }
        if kept {
            continue;
        }
        let hidden = others.is_empty() && nameless.len() >= PAIRS_MIN;
        for (other, traces) in others {
            if traces.len() >= PAIRS_MIN {
                let is_refused = [&*leg.name, &*other]
                    .iter()
                    .any(|name| refused.contains(&name.to_ascii_lowercase()));
                tell_rewrite(report, &leg, &other, &traces, is_refused);
            }
        }
        if hidden {
            tell_hidden(report, &leg, &nameless);
        }
    }
}

/// Hosts at which a token for another name was refused: a rewritten name matters there.
pub(super) fn refused_hosts(report: &mut Report<'_>) -> BTreeSet<String> {
    let refused = report.groups.of("hma-bearer-diagnostics");
    refused
        .filter(|(_, group)| matches!(group.cause(), "audience-host" | "audience"))
        .filter_map(|(subject, _)| match subject {
            Subject::Client(_, host) => Some(host.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

/// The administrator says that this proxy asks for the name on purpose.
pub(super) fn is_allowed(report: &Report<'_>, proxy: IpAddr, name: &str) -> bool {
    let mut proxies = report.settings.proxies.iter();
    proxies.any(|known| {
        let mut names = known.names_behind.iter();
        known.ip == proxy && names.any(|allowed| allowed.eq_ignore_ascii_case(name))
    })
}

/// Tokens of modern authentication are for this name, as far as is known.
pub(super) fn signs_in(report: &Report<'_>, name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("autodiscover.") || report.settings.signs_in(name)
}

fn tell_rewrite(report: &mut Report<'_>, leg: &Leg, other: &str, traces: &[usize], refused: bool) {
    let lang = report.past.lang;
    let severity = severity_if(signs_in(report, &leg.name) || refused);
    let verdict = Verdict::new(severity, Confidence::Possible, "");
    let subject = say(lang, "rewrite-subject")
        .with("front", &leg.name)
        .with("back", other)
        .with("proxy", leg.proxy);
    if let Some(group) = tell_names(report, leg, verdict, subject, traces) {
        group.set("back", other);
    }
}

/// No hello behind the proxy has a name: which one the servers see is not known.
fn tell_hidden(report: &mut Report<'_>, leg: &Leg, traces: &[usize]) {
    let verdict = Verdict::new(Severity::Info, Confidence::Certain, "back-name-not-sent");
    let subject = say(report.past.lang, "leg-subject")
        .with("name", &leg.name)
        .with("proxy", leg.proxy);
    tell_names(report, leg, verdict, subject, traces);
}

fn tell_names<'r>(
    report: &'r mut Report<'_>,
    leg: &Leg,
    verdict: Verdict,
    subject: Say,
    traces: &[usize],
) -> Option<&'r mut Group> {
    let past = report.past;
    let front = leg.front.first().and_then(|index| past.trace(*index));
    let backs = past.of(traces).map(|(_, trace)| trace);
    // The front leg first: beside it the others prove something.
    let evidence = front.into_iter().chain(backs.take(2));
    let evidence = evidence.map(|trace| past.evidence(&trace)).collect();
    let subject = Subject::Named(subject.text().into());
    let group = report.tell_without_evidence("proxy-name-rewrite", verdict, subject, traces)?;
    group.replace_examples(verdict.severity, evidence);
    group.set("front", &leg.name);
    Some(group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Settings;
    use crate::findings::testing::{Make, cert, diagnose, diagnose_with, find};

    fn leg(front: &str, back: &str, back_name: &str, n: i64) -> [Make; 2] {
        let shown = |made: Make, subject: &str| {
            made.answer(0x0303, 0xc02f)
                .certificate(cert(subject, &["mail.contoso.com"]))
        };
        let outer = Make::new()
            .sni("mail.contoso.com")
            .server("10.0.0.20:443")
            .at(10 * n);
        let inner = Make::new()
            .client("10.0.0.20")
            .sni(back_name)
            .server("10.0.0.30:443")
            .at_ms(10_000 * n + 300);
        [shown(outer, front), shown(inner, back)]
    }

    fn legs_of(front: &str, back: &str, back_name: &str) -> Vec<Make> {
        (0..4)
            .flat_map(|n| leg(front, back, back_name, n))
            .collect()
    }

    #[test]
    fn certificates_of_the_two_legs() {
        let id = "bridge-cert-mismatch";
        let name = "mail.contoso.com";
        let found = diagnose(&legs_of("CN=front", "CN=back", name));
        let mismatch = find(&found, id).unwrap();
        assert_eq!(
            (mismatch.severity, mismatch.confidence),
            (Severity::Warning, Confidence::Likely)
        );
        assert!(find(&diagnose(&legs_of("CN=same", "CN=same", name)), id).is_none());
        // Two coincidences are not enough, unless the proxy is configured.
        let two = &legs_of("CN=front", "CN=back", name)[..4];
        assert!(find(&diagnose(two), id).is_none());
        let text = "extended-protection = [\"mail.contoso.com\"]\n[[proxies]]\nip = \"10.0.0.20\"\nbackends = [\"10.0.0.30\"]";
        let settings: Settings = toml::from_str(text).unwrap();
        let found = diagnose_with(two, &settings);
        let mismatch = find(&found, id).unwrap();
        assert_eq!(
            (mismatch.severity, mismatch.confidence),
            (Severity::Error, Confidence::Certain)
        );
    }

    #[test]
    fn the_second_server_behind_the_proxy_counts_too() {
        let id = "bridge-cert-mismatch";
        let name = "mail.contoso.com";
        let text = "[[proxies]]\nip = \"10.0.0.20\"\nbackends = [\"10.0.0.30\", \"10.0.0.31\"]";
        let settings: Settings = toml::from_str(text).unwrap();
        let second = |subject: &str| {
            let [front, back] = leg("CN=same", subject, name, 5);
            [front, back.server("10.0.0.31:443")]
        };
        let all = |subject: &str| {
            let mut all = legs_of("CN=same", "CN=same", name);
            all.extend(second(subject));
            diagnose_with(&all, &settings)
        };
        let found = all("CN=other");
        let finding = find(&found, id).unwrap();
        assert!(finding.title.contains("10.0.0.31:443"), "{}", finding.title);
        assert!(find(&all("CN=same"), id).is_none());
    }

    #[test]
    fn a_pool_behind_the_proxy_counts_as_one() {
        let id = "proxy-name-rewrite";
        let spread = |names: [&str; 3], subject: &str| -> Vec<Make> {
            let of = |n: i64| {
                let turn = usize::try_from(n % 3).unwrap();
                let [front, back] = leg("CN=a", subject, names[turn], n);
                [front, back.server(&format!("10.0.0.{}:443", 30 + turn))]
            };
            (0..6).flat_map(of).collect()
        };
        let mail = "exchange.contoso.local";
        let found = diagnose(&spread([mail; 3], "CN=a"));
        assert_eq!(find(&found, id).unwrap().count, 6);
        let found = diagnose(&spread(["mail.contoso.com"; 3], "CN=b"));
        let bridge = find(&found, "bridge-cert-mismatch").unwrap();
        assert_eq!(bridge.confidence, Confidence::Likely);
        // Servers that have nothing in common are no pool: a host calls many for its own sake.
        let names = ["time.example.net", "feed.example.org", "crl.example.com"];
        let own = spread(names, "CN=a");
        let own: Vec<Make> = own
            .into_iter()
            .map(|made| match made.record.client.ip.to_string().as_str() {
                "10.0.0.20" => made.with(|record| record.certificates = Default::default()),
                _ => made,
            })
            .collect();
        assert!(find(&diagnose(&own), id).is_none());
        // A third of the connections is not most of them.
        let mut few = spread([mail; 3], "CN=a");
        few.extend((6..16).map(|n| leg("CN=a", "CN=a", mail, n)[0].clone()));
        assert!(find(&diagnose(&few), id).is_none());
    }

    #[test]
    fn names_of_the_two_legs() {
        let id = "proxy-name-rewrite";
        let rewritten = legs_of("CN=a", "CN=a", "exchange.contoso.local");
        let found = diagnose(&rewritten);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.confidence, Confidence::Possible);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(find(&diagnose(&legs_of("CN=a", "CN=a", "mail.contoso.com")), id).is_none());
        assert!(find(&diagnose(&legs_of("CN=a", "CN=a", "MAIL.contoso.com")), id).is_none());
        // The administrator knows the name.
        let allowed =
            "[[proxies]]\nip = \"10.0.0.20\"\nnames-behind = [\"Exchange.contoso.local\"]";
        let settings: Settings = toml::from_str(allowed).unwrap();
        assert!(find(&diagnose_with(&rewritten, &settings), id).is_none());
        let other: Settings = toml::from_str(&allowed.replace("local", "net")).unwrap();
        assert!(find(&diagnose_with(&rewritten, &other), id).is_some());
    }

    #[test]
    fn a_rewritten_name_is_an_error_where_tokens_are_for_it() {
        let id = "proxy-name-rewrite";
        let severity = |made: &[Make]| find(&diagnose(made), id).map(|found| found.severity);
        let autodiscover = |made: Make| match made.record.server.ip.to_string().as_str() {
            "10.0.0.20" => made.sni("AutoDiscover.contoso.com"),
            _ => made,
        };
        let rewritten = legs_of("CN=a", "CN=a", "exchange.contoso.local");
        let made: Vec<Make> = rewritten.iter().cloned().map(autodiscover).collect();
        assert_eq!(severity(&made), Some(Severity::Error));
        // A refused token for one of the two names; not one for another name.
        let with_refusal = |host: &str, code: u32| {
            let mut made = rewritten.clone();
            made.push(refused_token(host, code));
            severity(&made)
        };
        assert_eq!(
            with_refusal("exchange.contoso.local", 2_000_003),
            Some(Severity::Error)
        );
        assert_eq!(
            with_refusal("mail.contoso.com", 2_000_003),
            Some(Severity::Error)
        );
        assert_eq!(
            with_refusal("www.contoso.com", 2_000_003),
            Some(Severity::Warning)
        );
        // The user is unknown: the name has no part in it.
        assert_eq!(
            with_refusal("mail.contoso.com", 2_000_005),
            Some(Severity::Warning)
        );
    }

    fn refused_token(host: &str, code: u32) -> Make {
        use crate::record::{Http, HttpCredential, HttpRequest, HttpResponse};
        Make::new().no_sni().server("10.0.0.40:80").with(|record| {
            record.client_hello = None;
            record.http = Some(Box::new(Http {
                requests: vec![HttpRequest {
                    frame: 4,
                    method: "GET".into(),
                    path: "/mapi/".into(),
                    host: Some(host.into()),
                    authorization: Some(HttpCredential {
                        scheme: "Bearer".into(),
                        ..HttpCredential::default()
                    }),
                    ..HttpRequest::default()
                }],
                responses: vec![HttpResponse {
                    frame: 5,
                    status: 401,
                    diagnostics: Some(code),
                    ..HttpResponse::default()
                }],
                ..Http::default()
            }));
        })
    }

    #[test]
    fn a_proxy_that_sends_no_name() {
        let id = "proxy-name-rewrite";
        let nameless = |made: Make| match made.record.server.ip.to_string().as_str() {
            "10.0.0.30" => made.no_sni(),
            _ => made,
        };
        let made = legs_of("CN=a", "CN=a", "mail.contoso.com");
        let mut made: Vec<Make> = made.into_iter().map(nameless).collect();
        let found = diagnose(&made);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.severity, Severity::Info);
        // One that does send the name, or too few to tell.
        let [front, back] = leg("CN=a", "CN=a", "mail.contoso.com", 5);
        let few = made[..4].to_vec();
        made.extend([front, back]);
        assert!(find(&diagnose(&made), id).is_none());
        assert!(find(&diagnose(&few), id).is_none());
    }

    #[test]
    fn issuers_that_inspect() {
        let id = "tls-interception-suspected";
        let shown = |name: &str, issuer: &str| {
            let mut leaf = cert(&format!("CN={name}"), &[name]);
            leaf.issuer = Some(issuer.into());
            Make::new()
                .sni(name)
                .answer(0x0303, 0xc02f)
                .certificate(leaf)
        };
        assert!(
            find(
                &diagnose(&[shown("www.contoso.com", "CN=DO_NOT_TRUST_FiddlerRoot")]),
                id
            )
            .is_some()
        );
        assert!(
            find(
                &diagnose(&[shown(
                    "login.microsoftonline.com",
                    "CN=Corp Proxy CA, O=Contoso"
                )]),
                id
            )
            .is_some()
        );
        assert!(
            find(
                &diagnose(&[shown(
                    "login.microsoftonline.com",
                    "CN=DigiCert SHA2 Secure Server CA, O=DigiCert Inc"
                )]),
                id
            )
            .is_none()
        );
        // The maker's own service.
        assert!(
            find(
                &diagnose(&[shown(
                    "mcs.prod.sophos.com",
                    "CN=Sophos SHA256 MCS Root CA3"
                )]),
                id
            )
            .is_none()
        );
        assert!(
            find(
                &diagnose(&[shown("www.contoso.com", "CN=Corp CA, O=Contoso")]),
                id
            )
            .is_none()
        );
    }
}
