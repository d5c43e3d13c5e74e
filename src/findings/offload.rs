//! TLS that ends at a proxy, with plain HTTP behind it (SSL offload).
//!
//! Certain where a request in clear itself says that its client came by https; likely where a host that is a TLS server
//! for a name asks, during a connection to it, another server for that name in clear. Proxies that get plain HTTP and
//! send it on, redirects to https and revocation look-ups are no offload.

use super::aside::Plain;
use super::binding;
use super::groups::Subject;
use super::proxy::PAIR_US;
use super::survey::{Report, interval_of, severity_if};
use super::text::say;
use super::{Entry, Lang, Survey, Verdict};
use crate::record::{Confidence, Endpoint, Evidence, Scope, Timestamp};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

/// Time after the last packet of a front connection in which a back connection may still belong to it.
const AFTER_US: i64 = 2_000_000;
/// Front connections before a request that are looked at.
const RECENT: usize = 64;
/// Requests shown of each finding.
const SHOWN: usize = 2;

/// The survey.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[Entry::new(
        "cleartext-backend-leg",
        super::Severity::Warning,
        Scope::Farm,
        "Microsoft: Configure Windows Extended Protection in Exchange Server (SSL offloading); hybrid modern authentication prerequisites",
    )],
    run: offload,
}];

/// A request in clear, and the TLS connection for whose sake it was made.
struct Leg<'p> {
    plain: &'p Plain,
    front: Option<usize>,
}

/// `cleartext-backend-leg`.
fn offload(report: &mut Report<'_>) {
    let mut found: BTreeMap<(IpAddr, Endpoint), Vec<Leg<'_>>> = BTreeMap::new();
    let fronts = fronts(report);
    let in_clear = plain_fronts(report);
    let probes = probes(report, &fronts);
    for plain in report.aside.plain.iter() {
        let proxy = plain.place.client;
        // What a request itself says is no guess.
        if !plain.by_https && probes.contains(&asked(plain)) {
            continue;
        }
        let front = fronts
            .get(&proxy)
            .and_then(|all| front_of(report, plain, all));
        let told = plain.by_https && plain.exchange;
        // The same request came in clear: nothing was taken off.
        let passed_on = in_clear
            .get(&proxy)
            .is_some_and(|all| all.iter().any(|other| is_passed_on(plain, other)));
        if (front.is_some() && !passed_on) || told {
            let legs = found.entry((proxy, plain.place.server)).or_default();
            legs.push(Leg { plain, front });
        }
    }
    for ((proxy, server), legs) in found {
        tell(report, proxy, server, &legs);
    }
}

/// Who asked whom for what.
type Asked<'p> = (IpAddr, Endpoint, Option<&'p str>, Option<&'p str>);

fn asked(plain: &Plain) -> Asked<'_> {
    let (host, line) = (plain.host.as_deref(), plain.line.as_deref());
    (plain.place.client, plain.place.server, host, line)
}

/// A balancer's health checks over plain HTTP: the same request at a regular interval, and mostly not upon a client's
/// connection.
fn probes<'r>(report: &Report<'r>, fronts: &HashMap<IpAddr, Vec<usize>>) -> HashSet<Asked<'r>> {
    let mut series: HashMap<Asked<'r>, Vec<Timestamp>> = HashMap::new();
    for plain in report.aside.plain.iter() {
        if fronts.contains_key(&plain.place.client) {
            let times = series.entry(asked(plain)).or_default();
            times.push(plain.place.start);
        }
    }
    let past = report.past;
    let follows = |time: &Timestamp, fronts: &[usize]| {
        let begun = fronts.partition_point(|index| {
            let front = past.trace(*index);
            front.is_some_and(|front| front.own.start <= *time)
        });
        let last = begun.checked_sub(1).and_then(|last| fronts.get(last));
        let last = last.and_then(|index| past.trace(*index));
        last.is_some_and(|front| time.micros_since(front.own.start) <= PAIR_US)
    };
    let is_probe = |(asked, times): &(Asked<'r>, Vec<Timestamp>)| {
        let fronts = fronts.get(&asked.0).map_or(&[][..], Vec::as_slice);
        let upon = times.iter().filter(|time| follows(time, fronts)).count();
        upon * 10 < times.len() * 6 && interval_of(times).is_some()
    };
    let found = series.into_iter().filter(is_probe);
    found.map(|(asked, _)| asked).collect()
}

/// TLS connections by the address of their server.
fn fronts(report: &Report<'_>) -> HashMap<IpAddr, Vec<usize>> {
    let mut fronts: HashMap<IpAddr, Vec<usize>> = HashMap::new();
    if report.aside.plain.is_empty() {
        return fronts;
    }
    for (server, all) in &report.past.servers {
        let answered = report
            .past
            .traces_of(&all.kinds, |kind| kind.answer.is_some());
        fronts.entry(server.ip).or_default().extend(answered);
    }
    // Of several ports.
    fronts.values_mut().for_each(|list| list.sort_unstable());
    fronts
}

/// Plain connections by the address of their server.
fn plain_fronts<'r>(report: &Report<'r>) -> HashMap<IpAddr, Vec<&'r Plain>> {
    let mut fronts: HashMap<IpAddr, Vec<&Plain>> = HashMap::new();
    for plain in report.aside.plain.iter() {
        fronts.entry(plain.place.server.ip).or_default().push(plain);
    }
    fronts
}

fn is_passed_on(plain: &Plain, other: &Plain) -> bool {
    let gap = plain.place.start.micros_since(other.place.start);
    !plain.by_https && other.host == plain.host && (0..=AFTER_US).contains(&gap)
}

/// The TLS connection to the requesting host, for the same name, that was open then.
fn front_of(report: &Report<'_>, plain: &Plain, fronts: &[usize]) -> Option<usize> {
    let past = report.past;
    let end = fronts.partition_point(|index| {
        past.trace(*index)
            .is_some_and(|trace| trace.own.start <= plain.place.start)
    });
    let recent = fronts.get(end.saturating_sub(RECENT)..end)?;
    let open = past
        .of(recent)
        .rev()
        .filter(|(_, trace)| plain.place.start.micros_since(trace.own.end) <= AFTER_US);
    let mut open = open.filter(|(_, trace)| {
        let named = past.name(trace).zip(plain.host.as_deref());
        named.is_some_and(|(name, host)| name.eq_ignore_ascii_case(host))
            || (plain.exchange && past.name(trace).is_some())
    });
    open.next().map(|(index, _)| index)
}

fn tell(report: &mut Report<'_>, proxy: IpAddr, server: Endpoint, legs: &[Leg<'_>]) {
    let past = report.past;
    let settings = report.settings;
    let names = || legs.iter().filter_map(|leg| leg.plain.host.as_deref());
    let declared = names().any(|name| settings.protects(name) || settings.signs_in(name));
    let signs_in = legs.iter().any(|leg| leg.plain.bearer);
    let told = legs.iter().any(|leg| leg.plain.by_https);
    let known = settings.proxies.iter().any(|known| known.ip == proxy);
    let confidence = match told || known {
        true => Confidence::Certain,
        false => Confidence::Likely,
    };
    let severity = severity_if(declared || signs_in);
    let verdict = Verdict::new(severity, confidence, "");
    let evidence = evidence(report, legs);
    let times = || legs.iter().map(|leg| leg.plain.place.start);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return;
    };
    let subject = Subject::Pair(proxy, server);
    let Some(group) = report.open("cleartext-backend-leg", verdict, subject) else {
        return;
    };
    group.count(legs.len() as u64, first, last);
    group.example(severity, first, evidence);
    group.set("proxy", &proxy.to_string());
    group.set("server", &server.to_string());
    for leg in legs {
        if let Some(host) = leg.plain.host.as_deref() {
            group.note("name", host);
        }
        let front = leg.front.and_then(|front| past.trace(front));
        if let Some(front) = front {
            group.note("clients", &front.client.to_string());
        }
    }
}

/// One line about a request in clear.
pub(super) fn plain_words(plain: &Plain, lang: Lang) -> String {
    let mut fact = say(lang, "plain-request")
        .with("client", plain.place.client)
        .with("server", plain.place.server)
        .with("line", plain.line.as_deref().unwrap_or("HTTP"))
        .and_if(plain.by_https, "plain-by-https");
    if let Some(host) = plain.host.as_deref() {
        fact = fact.and("plain-host").with("host", host);
    }
    // Most proxies keep the host: then it is told once.
    let forwarded = plain.forwarded_host.as_deref();
    if let Some(forwarded) = forwarded.filter(|_| plain.forwarded_host != plain.host) {
        fact = fact.and("plain-forwarded").with("forwarded", forwarded);
    }
    fact.text()
}

/// The worst requests, each with its TLS connection, and what log-ons in them are bound to.
fn evidence(report: &Report<'_>, legs: &[Leg<'_>]) -> Vec<Evidence> {
    let past = report.past;
    let lang = past.lang;
    let mut evidence = Vec::new();
    let mut shown: Vec<&Leg<'_>> = legs.iter().collect();
    shown.sort_by_key(|leg| core::cmp::Reverse((leg.plain.by_https, leg.plain.exchange)));
    for leg in shown.into_iter().take(SHOWN) {
        let front = leg.front.and_then(|front| past.trace(front));
        evidence.extend(front.map(|front| past.evidence(&front)));
        let plain = leg.plain;
        evidence.push(Evidence {
            capture: Arc::clone(&plain.place.capture),
            frame: plain.place.frame,
            fact: plain_words(plain, lang).into(),
        });
    }
    let of_these = |bound: &&super::aside::Bound| {
        let mut legs = legs.iter().map(|leg| &leg.plain.place);
        legs.any(|place| place.client == bound.place.client && place.server == bound.place.server)
    };
    let bound = report.aside.bound.iter().find(of_these);
    let certificate = bound.and_then(|bound| binding::certificate(past, bound.binding));
    if let Some((bound, certificate)) = bound.zip(certificate) {
        let fact = say(lang, "ntlm-bound-to")
            .with("binding", bound.binding)
            .with("card", super::certificate::card(certificate, lang));
        evidence.push(Evidence {
            capture: Arc::clone(&bound.place.capture),
            frame: bound.place.frame,
            fact: fact.text().into(),
        });
    }
    evidence
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{Make, diagnose, find};
    use crate::record::{Http, HttpRequest, HttpResponse, Severity};

    fn request(path: &str, change: impl FnOnce(&mut HttpRequest)) -> Http {
        let mut request = HttpRequest {
            frame: 9,
            method: "GET".into(),
            path: path.into(),
            host: Some("mail.contoso.com:80".into()),
            ..HttpRequest::default()
        };
        change(&mut request);
        Http {
            requests: vec![request],
            ..Http::default()
        }
    }

    fn plain(client: &str, http: Http, at_ms: i64) -> Make {
        Make::new()
            .client(client)
            .server("10.0.0.5:80")
            .at_ms(at_ms)
            .with(|record| {
                record.client_hello = None;
                record.http = Some(Box::new(http));
            })
    }

    fn front() -> Make {
        Make::new()
            .sni("mail.contoso.com")
            .server("10.0.0.20:443")
            .answer(0x0303, 0xc02f)
            .at(0)
    }

    const ID: &str = "cleartext-backend-leg";

    #[test]
    fn a_proxy_that_takes_tls_off() {
        let back = plain("10.0.0.20", request("/owa/", |_| ()), 200);
        let found = diagnose(&[front(), back]);
        let finding = find(&found, ID).unwrap();
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.subject.as_ref(),
            "10.0.0.20 → 10.0.0.5:80 (mail.contoso.com)"
        );
        assert!(
            finding
                .evidence
                .iter()
                .any(|one| one.fact.contains("GET /owa/"))
        );
        let other_host = |path| {
            request(path, |request| {
                request.host = Some("other.contoso.com".into())
            })
        };
        let back = plain("10.0.0.20", other_host("/x"), 200);
        assert!(find(&diagnose(&[front(), back]), ID).is_none());
        // Not the proxy, or long afterwards.
        let stranger = plain("10.0.0.21", request("/owa/", |_| ()), 200);
        assert!(find(&diagnose(&[front(), stranger]), ID).is_none());
        let late = plain("10.0.0.20", request("/owa/", |_| ()), 60_000);
        assert!(find(&diagnose(&[front(), late]), ID).is_none());
    }

    #[test]
    fn the_request_itself_may_tell() {
        let told = |path| {
            request(path, |request| {
                request.forwarded_proto = Some("https".into())
            })
        };
        let back = plain("10.0.0.20", told("/EWS/Exchange.asmx"), 200);
        assert!(find(&diagnose(&[back]), ID).is_some());
        let elsewhere = plain("10.0.0.20", told("/app"), 200);
        assert!(find(&diagnose(&[elsewhere]), ID).is_none());
    }

    #[test]
    fn what_is_meant_to_be_in_clear() {
        let mut redirect = request("/owa", |_| ());
        redirect.responses.push(HttpResponse {
            status: 302,
            redirects_to_https: true,
            ..HttpResponse::default()
        });
        let back = plain("10.0.0.20", redirect, 200);
        assert!(find(&diagnose(&[front(), back]), ID).is_none());
        let challenge = request("/.well-known/acme-challenge/x", |_| ());
        let back = plain("10.0.0.20", challenge, 200);
        assert!(find(&diagnose(&[front(), back]), ID).is_none());
        // What came in clear goes on in clear.
        let outside = plain("10.0.9.9", request("/owa/", |_| ()), 100).server("10.0.0.20:80");
        let back = plain("10.0.0.20", request("/owa/", |_| ()), 200);
        assert!(find(&diagnose(&[front(), outside, back]), ID).is_none());
    }
}
