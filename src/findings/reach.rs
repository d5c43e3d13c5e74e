//! What comes before a connection: names that DNS does not give, and IPv6 that fails before IPv4 is tried.
//!
//! Both rest on times of the capture, not on assumed time-outs. Without DNS in the capture (port 53 filtered out, DNS over
//! TLS or HTTPS) its absence proves nothing, and nothing is said. RFC 8305, RFC 6724, RFC 1035.

use super::facts::minute;
use super::groups::Subject;
use super::past::Past;
use super::survey::{Report, severity_if};
use super::text::say;
use super::trace::{Kind, Trace};
use super::{Entry, Survey, Verdict, hosts};
use crate::record::{
    Confidence, DnsClient, DnsSpan, Endpoint, Evidence, Lookup, LookupFailure, Scope, Severity,
    Timestamp, Transport,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[
    Survey {
        entries: &[Entry::new(
            "ipv6-fallback-delay",
            Severity::Warning,
            Scope::Client,
            "RFC 8305; RFC 6724",
        )],
        run: ipv6_first,
    },
    Survey {
        entries: &[Entry::new(
            "dns-failure-before-connect",
            Severity::Error,
            Scope::Client,
            "RFC 1035; RFC 2308; Microsoft: MSExchange ADAccess events 2102, 2103, 2130 (port exhaustion)",
        )],
        run: dns,
    },
];

/// An IPv6 attempt and what was tried next belong together within this time.
const EPISODE_US: i64 = 60_000_000;
/// Attempts and failures shown of each finding.
const SHOWN: usize = 3;
/// Attempts after which a client that never tried IPv4 is told of.
const GAVE_UP_MIN: usize = 3;

/// The attempts before one IPv4 connection.
struct Episode {
    attempts: Vec<usize>,
    worked: usize,
    lost_us: i64,
}

/// IPv6 failed: TCP did not come up, or the hello got no answer.
fn failed_on_ipv6(kind: &Kind) -> bool {
    kind.server.ip.is_ipv6()
        && !kind.flags.quic()
        && (kind.failed_to_connect() || kind.failed_silently())
}

/// The name that a client wanted: that of its hello, else the one that it asked DNS for.
fn name_of(past: &Past, trace: &Trace<'_>) -> Option<String> {
    let name = past.name(trace).or_else(|| past.dns_name(trace));
    name.map(str::to_ascii_lowercase)
}

/// Failed IPv6 attempts by name. A host has other addresses for IPv6 than for IPv4, so the name alone can join the two:
/// by server name, by DNS, or by the names that others sent to that address.
fn attempts_by_name(past: &Past) -> BTreeMap<String, Vec<usize>> {
    let mut known: BTreeMap<IpAddr, BTreeSet<String>> = BTreeMap::new();
    for kind in past.kinds.iter() {
        if kind.server.ip.is_ipv6()
            && let Some(name) = past.name(&kind)
        {
            let names = known.entry(kind.server.ip).or_default();
            names.insert(name.to_ascii_lowercase());
        }
    }
    let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, trace) in past.all_whose(failed_on_ipv6) {
        let mut names = BTreeSet::new();
        if let Some(name) = past.name(&trace) {
            names.insert(name.to_ascii_lowercase());
        } else {
            let asked = past.resolved.lookups_of(trace.server.ip);
            names.extend(asked.map(|lookup| lookup.name.to_string()));
            names.extend(known.get(&trace.server.ip).into_iter().flatten().cloned());
        }
        for name in names {
            found.entry(name).or_default().push(index);
        }
    }
    found
}

/// `ipv6-fallback-delay`.
fn ipv6_first(report: &mut Report<'_>) {
    let past = report.past;
    if !past.kinds.iter().any(|kind| failed_on_ipv6(&kind)) {
        return;
    }
    let mut by_ipv4: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, trace) in past.all_whose(|kind| kind.server.ip.is_ipv4()) {
        if let Some(name) = name_of(past, &trace) {
            by_ipv4.entry(name).or_default().push(index);
        }
    }
    for (name, attempts) in attempts_by_name(past) {
        let by_ipv4 = by_ipv4.get(&name).map_or(&[][..], Vec::as_slice);
        let mut clients: BTreeMap<IpAddr, Vec<Episode>> = BTreeMap::new();
        for (client, episode) in episodes(report, &attempts, by_ipv4) {
            clients.entry(client).or_default().push(episode);
        }
        for (client, episodes) in &clients {
            tell_delay(report, *client, &name, episodes);
            leave_connects(report, episodes);
        }
        // A connection over IPv4 that still is under way would say otherwise.
        if clients.is_empty() && !past.is_under_way {
            gave_up(report, &name, &attempts, by_ipv4);
        }
    }
}

/// Each IPv4 connection that worked, with the attempts over IPv6 before it. Only where there is one client in the time
/// between, or nothing tells whose attempts they were.
fn episodes(report: &Report<'_>, attempts: &[usize], by_ipv4: &[usize]) -> Vec<(IpAddr, Episode)> {
    let past = report.past;
    let least = i64::try_from(report.settings.v6_penalty_ms)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000);
    let mut found = Vec::new();
    let mut rest = attempts;
    for (place, (index, worked)) in past.of(by_ipv4).enumerate() {
        if worked.answer.is_none() {
            continue;
        }
        let at = rest.partition_point(|attempt| *attempt < index);
        let (before, after) = rest.split_at(at);
        let recent = attempts_before(past, before, &worked);
        let Some((_, first)) = past.of(&recent).next() else {
            continue;
        };
        let sources: BTreeSet<IpAddr> = past.of(&recent).map(|(_, one)| *one.client).collect();
        let between = by_ipv4.get(..place).unwrap_or(&[]);
        let mut others = past
            .of(between)
            .rev()
            .take_while(|(_, other)| other.own.start >= first.own.start);
        let is_own = |attempt: &Trace| asked(past, attempt, &worked) == Some(true);
        let own = past.of(&recent).all(|(_, attempt)| is_own(&attempt));
        let alone = own || others.all(|(_, other)| *other.client == *worked.client);
        let lost_us = worked.own.start.micros_since(first.own.start);
        if sources.len() == 1 && alone {
            rest = after;
        }
        if sources.len() == 1 && alone && lost_us >= least {
            let episode = Episode {
                attempts: recent,
                worked: index,
                lost_us,
            };
            found.push((*worked.client, episode));
        }
    }
    found
}

/// The attempts that belong to a connection that worked: those shortly before it, and before those the ones of a client
/// that goes from address to address. Each costs it a time-out of its own (21 s on Windows), so that several take minutes;
/// the round began where an address comes again.
fn attempts_before(past: &Past, before: &[usize], worked: &Trace<'_>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut tried: BTreeSet<IpAddr> = BTreeSet::new();
    let mut next = worked.own.start;
    for (index, attempt) in past.of(before).rev() {
        if asked(past, &attempt, worked) == Some(false) {
            continue;
        }
        let is_near = worked.own.start.micros_since(attempt.own.start) <= EPISODE_US;
        let is_of_round =
            next.micros_since(attempt.own.end) <= EPISODE_US && !tried.contains(&attempt.server.ip);
        if !is_near && !is_of_round {
            break;
        }
        tried.insert(attempt.server.ip);
        next = attempt.own.start;
        found.push(index);
    }
    found.reverse();
    found
}

/// Whether DNS says that the client of the connection asked for the attempt's address. `None` where it was asked for by
/// nobody here, or by the attempt's own address only.
fn asked(past: &Past, attempt: &Trace<'_>, worked: &Trace<'_>) -> Option<bool> {
    let mut others = false;
    for lookup in past.resolved.lookups_of(attempt.server.ip) {
        if lookup.client == *worked.client {
            return Some(true);
        }
        others |= lookup.client != *attempt.client;
    }
    others.then_some(false)
}

/// The attempts in vain are steps of this story: where a client had no others, they are no trouble of their own.
fn leave_connects(report: &mut Report<'_>, episodes: &[Episode]) {
    let past = report.past;
    let attempts: BTreeSet<usize> = episodes
        .iter()
        .flat_map(|episode| episode.attempts.iter().copied())
        .collect();
    let attempts_of: Vec<usize> = attempts.iter().copied().collect();
    let pairs: BTreeSet<(IpAddr, Endpoint)> = past
        .of(&attempts_of)
        .map(|(_, trace)| (*trace.client, trace.server))
        .collect();
    for (client, server) in pairs {
        let mut all = past.of(past.pairs.of(client, server));
        if all.all(|(index, trace)| !failed_on_ipv6(&trace) || attempts.contains(&index)) {
            let subject = Subject::Pair(client, server);
            report.groups.take_back("tcp-connect-failed", &subject);
        }
    }
}

fn tell_delay(report: &mut Report<'_>, client: IpAddr, name: &str, episodes: &[Episode]) {
    let past = report.past;
    let Some(worst) = episodes.iter().max_by_key(|episode| episode.lost_us) else {
        return;
    };
    let traces: Vec<usize> = episodes.iter().map(|episode| episode.worked).collect();
    let attempts: usize = episodes.iter().map(|episode| episode.attempts.len()).sum();
    let total: i64 = episodes.iter().map(|episode| episode.lost_us).sum();
    let evidence: Vec<Evidence> = past
        .of(&worst.attempts)
        .take(SHOWN)
        .chain(past.of(&[worst.worked]))
        .map(|(_, trace)| past.evidence(&trace))
        .collect();
    let verdict = Verdict::new(Severity::Warning, Confidence::Likely, "");
    let subject = Subject::Client(client, name.into());
    if let Some(group) =
        report.tell_without_evidence("ipv6-fallback-delay", verdict, subject, &traces)
    {
        group.replace_examples(verdict.severity, evidence);
        group.set("name", name);
        group.set("tried", &worst.attempts.len().to_string());
        group.set("attempts", &attempts.to_string());
        group.set("lost", &seconds(worst.lost_us));
        group.set("total", &seconds(total));
        for (_, trace) in past.of(&worst.attempts) {
            group.note("addresses", &trace.server.ip.to_string());
        }
    }
}

/// A client that tried several IPv6 addresses and no IPv4 one, although DNS knows some.
fn gave_up(report: &mut Report<'_>, name: &str, attempts: &[usize], by_ipv4: &[usize]) {
    let past = report.past;
    let addresses: BTreeSet<IpAddr> = past.of(attempts).map(|(_, one)| one.server.ip).collect();
    let lookups = &past.resolved.dns().lookups;
    let mut a = lookups.iter().filter(|lookup| &*lookup.name == name);
    let has_ipv4 = a.any(|lookup| lookup.addresses.iter().any(IpAddr::is_ipv4));
    let sources: BTreeSet<IpAddr> = past.of(attempts).map(|(_, one)| *one.client).collect();
    let (Some(client), 1) = (sources.first().copied(), sources.len()) else {
        return;
    };
    if addresses.len() < GAVE_UP_MIN || !has_ipv4 || !by_ipv4.is_empty() {
        return;
    }
    let verdict = Verdict::new(Severity::Error, Confidence::Likely, "never-ipv4");
    let subject = Subject::Client(client, name.into());
    if let Some(group) = report.tell("ipv6-fallback-delay", verdict, subject, attempts, &[]) {
        group.set("name", name);
        group.set("tried", &addresses.len().to_string());
        for address in addresses {
            group.note("addresses", &address.to_string());
        }
    }
}

/// Seconds with one decimal.
fn seconds(us: i64) -> String {
    format!("{}.{} s", us / 1_000_000, us / 100_000 % 10)
}

/// `dns-failure-before-connect`.
fn dns(report: &mut Report<'_>) {
    let dns = report.past.resolved.dns();
    // No answer to anything: the capture shows one direction, and nothing can be said.
    if dns.answers > 0 {
        failed_lookups(report);
    }
    for client in &dns.clients {
        udp_silence(report, client);
    }
}

/// A name whose failure matters: Microsoft's, one that the settings name, or one that a hello here asked for.
fn matters(report: &Report<'_>, lookup: &Lookup, hellos: &BTreeSet<String>) -> bool {
    let settings = report.settings;
    let name = lookup.name.trim_end_matches('.');
    let farms = settings.farms.iter().flat_map(|farm| &farm.names);
    hosts::is_strict(name, settings)
        || settings.protects(name)
        || settings.signs_in(name)
        || farms.clone().any(|known| known.eq_ignore_ascii_case(name))
        || hellos.contains(name)
}

fn failed_lookups(report: &mut Report<'_>) {
    let past = report.past;
    let dns = past.resolved.dns();
    let hellos: BTreeSet<String> = past
        .names()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    let mut resolved: BTreeSet<(IpAddr, &str)> = BTreeSet::new();
    for lookup in &dns.lookups {
        if !lookup.addresses.is_empty() {
            resolved.insert((lookup.client, &lookup.name));
        }
    }
    for lookup in dns.lookups.iter().filter(|lookup| only_by_tcp(lookup)) {
        tell_tcp_only(report, lookup);
    }
    for lookup in dns.lookups.iter().filter(|lookup| !only_by_tcp(lookup)) {
        let address = matches!(&*lookup.kind, "A" | "AAAA");
        let server_silent = |failure: &LookupFailure| {
            let mut servers = dns.servers.iter();
            servers.any(|known| known.ip == failure.server && known.answers == 0)
        };
        let told: Vec<&LookupFailure> = lookup
            .failures
            .iter()
            .filter(|failure| weighs(report, failure))
            .collect();
        let Some(first) = told.first() else { continue };
        // Search lists and probes for names that are not there are daily bread; so are AAAA where A is answered.
        let known = resolved.contains(&(lookup.client, &*lookup.name));
        let silent = told.iter().all(|failure| server_silent(failure));
        let wanted = matters(report, lookup, &hellos);
        // Who gets no answer asks again: where it did not, the capture lost the answer.
        let tries: u32 = told.iter().map(|failure| failure.tries).sum();
        let is_lost = first.result == LookupFailure::NO_ANSWER && tries < 2 && !silent;
        if is_lost {
            continue;
        }
        let whole_server =
            first.result == LookupFailure::NO_ANSWER && silent && lookup.answers == 0;
        if !address || (known && lookup.answers == 0) || !(wanted || whole_server) {
            continue;
        }
        tell_lookup(report, lookup, &told);
    }
}

/// Each question over UDP stayed without an answer, each answer came over TCP. One that was cut short (truncated) came
/// over UDP.
fn only_by_tcp(lookup: &Lookup) -> bool {
    let silent = |failure: &LookupFailure| {
        failure.transport == Transport::Udp && failure.result == LookupFailure::NO_ANSWER
    };
    lookup.answers > 0
        && lookup.answers == lookup.answers_over_tcp
        && !lookup.truncated
        && !lookup.failures.is_empty()
        && lookup.failures.iter().all(silent)
}

/// `dns-failure-before-connect`, mended by TCP after a wait.
fn tell_tcp_only(report: &mut Report<'_>, lookup: &Lookup) {
    let told: Vec<&LookupFailure> = lookup.failures.iter().collect();
    let verdict = Verdict::new(Severity::Warning, Confidence::Certain, "tcp-only");
    tell_failures(report, lookup, &told, verdict);
}

/// The failure lasted: a second server or a repetition did not mend it within the time that a client waits.
fn weighs(report: &Report<'_>, failure: &LookupFailure) -> bool {
    let wait = i64::try_from(report.settings.dns_no_answer_ms)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000);
    matches!(
        &*failure.result,
        "SERVFAIL" | "NXDOMAIN" | "REFUSED" | LookupFailure::NO_ANSWER
    ) && failure.recovered_us.is_none_or(|us| us >= wait)
}

fn tell_lookup(report: &mut Report<'_>, lookup: &Lookup, told: &[&LookupFailure]) {
    let past = report.past;
    let (Some(first), Some(last)) = (told.first(), told.last()) else {
        return;
    };
    let cause = match &*first.result {
        "SERVFAIL" => "servfail",
        "REFUSED" => "refused",
        "NXDOMAIN" => "nxdomain",
        _ => "no-answer",
    };
    // The name was reached all the same, over an address that was known before or by another name server.
    let own: Vec<usize> = past.of_client(lookup.client).collect();
    let reached = past
        .of(past.since(&own, first.time))
        .any(|(_, trace)| name_of(past, &trace).is_some_and(|name| name == *lookup.name));
    let severity = severity_if(!reached && lookup.last_answered.is_none_or(|at| at < last.time));
    let verdict = Verdict::new(severity, Confidence::Certain, cause);
    tell_failures(report, lookup, told, verdict);
}

fn tell_failures(
    report: &mut Report<'_>,
    lookup: &Lookup,
    told: &[&LookupFailure],
    verdict: Verdict,
) {
    let (Some(first), Some(last)) = (told.first(), told.last()) else {
        return;
    };
    let severity = verdict.severity;
    let lang = report.past.lang;
    let evidence = told
        .iter()
        .take(SHOWN)
        .map(|failure| Evidence {
            capture: Arc::clone(&failure.capture),
            frame: failure.frame,
            fact: say(lang, "dns-failure")
                .with("kind", &lookup.kind)
                .with("name", &lookup.name)
                .with("server", failure.server)
                .with("result", &failure.result)
                .with("tries", failure.tries)
                .with("waited", failure.waited_us / 1_000)
                .text()
                .into(),
        })
        .collect();
    let subject = Subject::Client(lookup.client, lookup.name.clone());
    if let Some(group) = report.open("dns-failure-before-connect", verdict, subject) {
        group.count(lookup.failed.max(1), first.time, last.time);
        group.example(severity, first.time, evidence);
        group.set("name", &lookup.name);
        group.note("clients", &lookup.client.to_string());
        for failure in told {
            group.note("server", &failure.server.to_string());
        }
    }
}

/// When a host that asked steadily over UDP fell silent, and until when as far as the capture shows.
fn silence(client: &DnsClient) -> Option<(DnsSpan, Timestamp, Option<Timestamp>)> {
    const SILENCE_US: i64 = 300_000_000;
    let mut begin: Option<DnsSpan> = None;
    for (place, span) in client.spans.iter().enumerate() {
        // Ten minutes of questions may lie across two of the spans, which begin by the clock.
        let before = place
            .checked_sub(1)
            .and_then(|place| client.spans.get(place));
        let follows = before.is_some_and(|before| {
            before.is_unbroken() && span.first.micros_since(before.last) <= DnsSpan::PAUSE_US
        });
        if !follows {
            begin = None;
        }
        let since = *begin.get_or_insert(*span);
        if !span.is_unbroken() || !DnsSpan::is_between(since.first, span.last) {
            continue;
        }
        let steady = match before {
            _ if span.is_steady() => *span,
            Some(before) if before.is_steady() => *before,
            Some(before) => DnsSpan {
                queries: before.queries + span.queries,
                ports: before.ports.max(span.ports),
                ..*span
            },
            None => *span,
        };
        let number = DnsSpan::number_of(span.first);
        let next = client
            .spans
            .get(place + 1)
            .filter(|next| DnsSpan::number_of(next.first) == number + 1);
        match next {
            // It goes on: what follows is looked at in its turn.
            Some(next) if next.first.micros_since(span.last) <= DnsSpan::PAUSE_US => {}
            Some(next) if next.first.micros_since(span.last) >= SILENCE_US => {
                return Some((steady, span.last, Some(next.first)));
            }
            Some(next) if client.last_seen <= next.last => return Some((steady, next.last, None)),
            Some(_) => {}
            None if client.last_seen <= span.last => return Some((steady, span.last, None)),
            None => {
                let later = Timestamp((number + 2) * DnsSpan::LENGTH_NS);
                return Some((steady, span.last, Some(later)));
            }
        }
    }
    None
}

/// `dns-failure-before-connect` by a host that stops to ask over UDP while its TCP goes on: a question, not an answer.
fn udp_silence(report: &mut Report<'_>, client: &DnsClient) {
    const SILENCE_US: i64 = 300_000_000;
    const CONNECTIONS_MIN: usize = 3;
    let past = report.past;
    let Some((span, from, until)) = silence(client) else {
        return;
    };
    let own: Vec<usize> = past.of_client(client.ip).collect();
    let (before, after) = own.split_at(own.len() - past.since(&own, Timestamp(from.0 + 1)).len());
    let known: BTreeSet<IpAddr> = past.of(before).map(|(_, trace)| trace.server.ip).collect();
    let later = until.map_or(0, |until| past.since(after, until).len());
    let meanwhile = after.get(..after.len() - later).unwrap_or(&[]);
    let Some((_, last)) = past.of(meanwhile).last() else {
        return;
    };
    let lasts = last.own.start.micros_since(from);
    let only_known = past
        .of(meanwhile)
        .all(|(_, trace)| known.contains(&trace.server.ip));
    if meanwhile.len() < CONNECTIONS_MIN || lasts < SILENCE_US || !only_known {
        return;
    }
    let verdict = Verdict::new(Severity::Warning, Confidence::Possible, "udp-silence");
    let subject = Subject::Named(client.ip.to_string().into());
    let shown = [0, meanwhile.len() - 1].map(|at| meanwhile.get(at).copied().unwrap_or(0));
    if let Some(group) =
        report.tell_without_evidence("dns-failure-before-connect", verdict, subject, meanwhile)
    {
        let evidence = past
            .of(&shown)
            .map(|(_, trace)| past.evidence(&trace))
            .collect();
        group.replace_examples(verdict.severity, evidence);
        group.set("client", &client.ip.to_string());
        group.set("from", &minute(from).to_string());
        group.set("minutes", &(lasts / 60_000_000).to_string());
        group.set("queries", &span.queries.to_string());
        group.set("ports", &span.ports.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, START_S, diagnose, diagnose_dns, find};
    use crate::record::{Dns, DnsServer, Outcome};

    const IPV6: &str = "ipv6-fallback-delay";
    const DNS: &str = "dns-failure-before-connect";

    fn syn6(address: u16, at_ms: i64) -> Make {
        Make::new()
            .client("2001:db8:1::10")
            .server(&format!("[2001:db8:2::{address}]:443"))
            .with(|record| record.client_hello = None)
            .outcome(Outcome::NoSynAck)
            .at_ms(at_ms)
    }

    fn worked4(at_ms: i64) -> Make {
        Make::new()
            .sni("outlook.example")
            .answer(0x0303, 0xc02f)
            .at_ms(at_ms)
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp((START_S + seconds) * 1_000_000_000)
    }

    fn lookup(client: &str, kind: &'static str, addresses: &[&str]) -> Lookup {
        Lookup {
            client: client.parse().unwrap(),
            name: "outlook.example".into(),
            first_answered: None,
            kind: kind.into(),
            capture: "test.pcap".into(),
            frame: 1,
            queries: 1,
            answers: 1,
            first_seen: time(0),
            last_seen: time(0),
            last_answered: Some(time(0)),
            slowest_us: None,
            servers: vec!["10.0.0.53".parse().unwrap()],
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            aliases: Vec::new(),
            services: Vec::new(),
            truncated: false,
            answers_over_tcp: 0,
            failed: 0,
            failures: Vec::new(),
        }
    }

    fn told(lookups: Vec<Lookup>) -> Dns {
        Dns {
            queries: 2,
            answers: 2,
            lookups,
            ..Dns::default()
        }
    }

    fn both() -> Dns {
        let six: Vec<String> = (1..=9).map(|n| format!("2001:db8:2::{n}")).collect();
        let six: Vec<&str> = six.iter().map(String::as_str).collect();
        told(vec![
            lookup("10.0.0.1", "A", &["10.0.0.5"]),
            lookup("10.0.0.1", "AAAA", &six),
        ])
    }

    #[test]
    fn ipv6_first_and_in_vain() {
        let mut made: Vec<Make> = (1..=9)
            .map(|n| syn6(n, 2_000 * (i64::from(n) - 1)))
            .collect();
        made.push(worked4(18_300));
        let found = diagnose_dns(&made, &both());
        let finding = find(&found, IPV6).unwrap();
        assert_eq!(finding.subject.as_ref(), "10.0.0.1 → outlook.example");
        assert!(finding.title.contains("18.3 s"), "{}", finding.title);
        // Each failed attempt is a step of this, not a trouble of its own.
        let again = made
            .iter()
            .cloned()
            .map(|made| made.tcp(|tcp| tcp.syn_retransmits = 2));
        let again: Vec<Make> = again.collect();
        let found = diagnose_dns(&again, &both());
        assert!(find(&found, IPV6).is_some());
        assert!(find(&found, "tcp-connect-failed").is_none());
        assert!(find(&diagnose(&again[..9]), "tcp-connect-failed").is_some());
        // Nothing says that the two belong together.
        assert!(find(&diagnose(&made), IPV6).is_none());
    }

    #[test]
    fn each_address_costs_a_time_out_of_its_own() {
        // Windows: 21 s each, of which SYNs are seen for 9 s.
        let tries = |from: i64, count: u16| -> Vec<Make> {
            let one = |n: u16| syn6(n, from + 21_000 * (i64::from(n) - 1)).lasts_ms(9_000);
            (1..=count).map(one).collect()
        };
        let mut made = tries(0, 9);
        made.push(worked4(189_000));
        let found = diagnose_dns(&made, &both());
        let finding = find(&found, IPV6).unwrap();
        assert!(finding.title.contains("189.0 s"), "{}", finding.title);
        assert!(finding.title.contains("9 IPv6"), "{}", finding.title);
        // An earlier round came to nothing: it is not added.
        let mut twice = tries(0, 3);
        twice.extend(tries(63_000, 3));
        twice.push(worked4(126_000));
        let found = diagnose_dns(&twice, &both());
        let finding = find(&found, IPV6).unwrap();
        assert!(finding.title.contains("63.0 s"), "{}", finding.title);
    }

    #[test]
    fn a_race_or_another_client_is_no_delay() {
        let race = [syn6(1, 0), worked4(250)];
        assert!(find(&diagnose_dns(&race, &both()), IPV6).is_none());
        // Another client comes between: DNS says whose the attempt was.
        let other = [
            syn6(1, 0),
            worked4(5_000).client("10.0.0.2"),
            worked4(8_000),
        ];
        let found = diagnose_dns(&other, &both());
        let subjects: Vec<&str> = found
            .iter()
            .filter(|finding| finding.id == IPV6)
            .map(|finding| &*finding.subject)
            .collect();
        assert_eq!(subjects, ["10.0.0.1 → outlook.example"]);
        // Without DNS the name that others sent to the address tells, where one client wants it.
        let serves = Make::new()
            .client("2001:db8:1::77")
            .server("[2001:db8:2::1]:443")
            .sni("outlook.example")
            .answer(0x0303, 0xc02f)
            .at(100);
        let alone = [syn6(1, 0), worked4(5_000), serves.clone()];
        assert!(find(&diagnose(&alone), IPV6).is_some());
        let two = [
            syn6(1, 0),
            worked4(100).client("10.0.0.2"),
            worked4(5_000),
            serves,
        ];
        assert!(find(&diagnose(&two), IPV6).is_none());
        let slow = syn6(1, 0).outcome(Outcome::NoClientHello);
        assert!(find(&diagnose_dns(&[slow, worked4(5_000)], &both()), IPV6).is_none());
    }

    #[test]
    fn a_client_that_never_comes_to_ipv4() {
        let made: Vec<Make> = (1..=9).map(|n| syn6(n, 1_000 * i64::from(n))).collect();
        let found = diagnose_dns(&made, &both());
        assert_eq!(find(&found, IPV6).unwrap().severity, Severity::Error);
        assert!(find(&diagnose_dns(&made[..2], &both()), IPV6).is_none());
    }

    fn failing(name: &str, result: &'static str, recovered_us: Option<i64>) -> Lookup {
        let mut lookup = lookup("10.0.0.1", "A", &[]);
        lookup.name = name.into();
        (lookup.answers, lookup.failed, lookup.last_answered) = (0, 1, None);
        lookup.failures.push(LookupFailure {
            capture: "test.pcap".into(),
            frame: 3,
            time: time(1),
            server: "10.0.0.53".parse().unwrap(),
            transport: crate::record::Transport::Udp,
            result: result.into(),
            tries: 4,
            waited_us: 12_000_000,
            recovered_us,
        });
        lookup
    }

    #[test]
    fn names_that_matter_and_are_not_given() {
        let severity = |lookup: Lookup, made: &[Make]| {
            find(&diagnose_dns(made, &told(vec![lookup])), DNS).map(|found| found.severity)
        };
        let office = "outlook.office365.com";
        assert_eq!(
            severity(failing(office, "SERVFAIL", None), &[]),
            Some(Severity::Error)
        );
        // A question that is not asked again was answered: the capture lost the answer.
        let mut once = failing(office, "no-answer", None);
        once.failures[0].tries = 1;
        assert_eq!(severity(once, &[]), None);
        assert_eq!(
            severity(failing(office, "no-answer", None), &[]),
            Some(Severity::Error)
        );
        // It connects all the same.
        let connects = [Make::new().sni(office).answer(0x0303, 0xc02f).at(5)];
        assert_eq!(
            severity(failing(office, "SERVFAIL", None), &connects),
            Some(Severity::Warning)
        );
        // Mended at once; a probe for a name that is not there.
        assert_eq!(
            severity(failing(office, "no-answer", Some(1_000_000)), &[]),
            None
        );
        assert_eq!(
            severity(failing("wpad.contoso.local", "NXDOMAIN", None), &[]),
            None
        );
    }

    #[test]
    fn dns_that_is_answered_over_tcp_only() {
        let made = |answers: u64, over_tcp: u64, truncated: bool| {
            let mut lookup = failing("app.contoso.example", "no-answer", Some(3_000_000));
            (lookup.answers, lookup.answers_over_tcp) = (answers, over_tcp);
            (lookup.truncated, lookup.last_answered) = (truncated, Some(time(4)));
            diagnose_dns(&[], &told(vec![lookup]))
        };
        let found = made(2, 2, false);
        let finding = find(&found, DNS).unwrap();
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.title.contains("over TCP only"), "{}", finding.title);
        // UDP was answered, too; or the answer over UDP was cut short, which TCP is there for.
        assert!(find(&made(2, 1, false), DNS).is_none());
        assert!(find(&made(2, 2, true), DNS).is_none());
    }

    #[test]
    fn one_direction_or_no_dns_proves_nothing() {
        let mut dns = told(vec![failing("outlook.office365.com", "no-answer", None)]);
        dns.answers = 0;
        assert!(find(&diagnose_dns(&[], &dns), DNS).is_none());
        dns.answers = 5;
        dns.servers.push(DnsServer {
            ip: "10.0.0.53".parse().unwrap(),
            queries: 9,
            answers: 0,
        });
        dns.lookups[0].name = "app.contoso.example".into();
        assert!(find(&diagnose_dns(&[], &dns), DNS).is_some());
    }

    #[test]
    fn a_host_that_falls_silent() {
        let span = |from: i64, to: i64, pause_s: i64| DnsSpan {
            first: time(from),
            last: time(to),
            queries: 60,
            ports: 15_900,
            longest_pause_us: pause_s * 1_000_000,
        };
        // Ten-minute spans of all time: begin where one begins.
        let base = 600 - START_S.rem_euclid(600);
        let dns = |last: i64, spans: Vec<DnsSpan>| Dns {
            clients: vec![DnsClient {
                ip: "10.0.0.1".parse().unwrap(),
                first_seen: time(base),
                last_seen: time(last),
                spans,
            }],
            ..Dns::default()
        };
        let steady = span(base, base + 590, 20);
        let made: Vec<Make> = [0, 700, 900, 1_100]
            .into_iter()
            .map(|at| Make::new().answer(0x0303, 0xc02f).at(base + at))
            .collect();
        let found = diagnose_dns(&made, &dns(base + 590, vec![steady]));
        let finding = find(&found, DNS).unwrap();
        assert_eq!(finding.confidence, Confidence::Possible);
        // It was steady for ten minutes, of which neither span holds all.
        let from = base - 300;
        let halves = vec![span(from, base - 10, 20), span(base + 5, from + 610, 20)];
        let found = diagnose_dns(&made, &dns(from + 610, halves));
        let affects = &find(&found, DNS).unwrap().affects;
        assert!(
            affects.iter().any(|line| line.contains("120 questions")),
            "{affects:?}"
        );
        // The span behind a steady one is no less steady for being short.
        let tail = vec![
            span(base + 80, base + 590, 20),
            span(base + 605, base + 640, 20),
        ];
        assert!(find(&diagnose_dns(&made, &dns(base + 640, tail)), DNS).is_some());
        // Too short; or with a pause between them.
        let short = vec![
            span(base - 200, base - 10, 20),
            span(base + 5, base + 200, 20),
        ];
        assert!(find(&diagnose_dns(&made, &dns(base + 200, short)), DNS).is_none());
        let apart = vec![span(from, base - 100, 20), span(base + 5, from + 610, 20)];
        assert!(find(&diagnose_dns(&made, &dns(from + 610, apart)), DNS).is_none());
        // It goes on asking; or the capture ends.
        let asks = dns(
            base + 1_190,
            vec![steady, span(base + 600, base + 1_190, 20)],
        );
        assert!(find(&diagnose_dns(&made, &asks), DNS).is_none());
        let short = diagnose_dns(&made[..2], &dns(base + 590, vec![steady]));
        assert!(find(&short, DNS).is_none());
    }
}
