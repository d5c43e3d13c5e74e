//! The fallback dance: clients that try again lower, and one that stays there; and offers that no service accepts.
//!
//! A client that offers TLS 1.0 only because its TLS 1.2 hello was lost has another trouble than one that can do no more.
//! RFC 7507 (TLS_FALLBACK_SCSV), RFC 9325 section 3.1.3.

use super::facts::{Facts, version_name};
use super::groups::Subject;
use super::history::Hello;
use super::past::Past;
use super::stack::Stack;
use super::stuck::stuck;
use super::survey::Report;
use super::trace::{Kind, Sort, Trace};
use super::{Entry, Rule, Settings, Survey, Verdict, When, hosts};
use crate::record::{Confidence, Outcome, Scope, Severity, Side, Timestamp};
use crate::tls::code_points::VersionRank;
use hashbrown::HashSet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The rules that mark handshakes.
pub(super) static RULES: &[Rule] = &[Rule::told_by_survey(
    Entry::new(
        "client-max-version-o365",
        Severity::Error,
        Scope::Client,
        "Microsoft: Preparing for TLS 1.2 in Office 365 and Office 365 GCC; RFC 8996",
    ),
    client_max_o365,
)
.when(When::OLD_OFFER)];

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[
    Survey {
        entries: &[Entry::new(
            "version-fallback-retry",
            Severity::Warning,
            Scope::Client,
            "RFC 7507; RFC 9325 section 3.1.3",
        )],
        run: retries,
    },
    Survey {
        entries: &[Entry::new(
            "client-stuck-on-fallback",
            Severity::Error,
            Scope::Client,
            "Microsoft: Schannel event 36871 (dn786445)",
        )],
        run: stuck,
    },
    Survey {
        entries: &[],
        run: old_offers_to_microsoft,
    },
];

/// `client-max-version-o365` on one handshake. The signal of a fallback (RFC 7507) says that the client can do more.
fn client_max_o365(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    (facts.offer_max? < VersionRank::Tls12
        && !facts.falls_back()
        && facts
            .wanted()
            .is_some_and(|name| hosts::is_strict(name, settings)))
    .then_some(Verdict::new(Severity::Error, Confidence::Certain, ""))
}

/// A client, and the name or address that it wanted.
type Wanted = (IpAddr, Box<str>);

/// What each of these clients tried towards one name (or address, where it sent none), as far as `wanted`, at least
/// `least` times. `clients` are marked by number; `may_be` tells which sorts of handshakes can be `wanted` at all.
fn by_client_and_target(
    report: &Report<'_>,
    least: usize,
    clients: &[bool],
    may_be: impl Fn(&Sort) -> bool,
    wanted: impl Fn(&Trace<'_>) -> bool,
) -> Vec<(Wanted, Vec<usize>)> {
    let past = report.past;
    if !clients.contains(&true) {
        return Vec::new();
    }
    let kinds = past
        .kinds_like(|sort| sort.offer_max.is_some() && !sort.flags.renegotiation() && may_be(sort));
    let mut tries = Vec::new();
    for (index, (client, kind)) in past.clients_and_kinds().enumerate() {
        if clients.get(client as usize) == Some(&true)
            && kinds.get(kind as usize) == Some(&true)
            && let Some(trace) = past.trace(index).filter(&wanted)
        {
            let server = trace.name.is_none().then_some(trace.server);
            tries.push(((client, trace.name, server), index));
        }
    }
    tries.sort_unstable();
    let alike = tries.chunk_by(|(one, _), (other, _)| one == other);
    let mut by_target: Vec<(Wanted, Vec<usize>)> = alike
        .filter(|tries| tries.len() >= least)
        .filter_map(|tries| {
            let first = tries.first()?.1;
            let key = (past.client(first)?, past.target(&past.trace(first)?));
            Some((key, tries.iter().map(|(_, index)| *index).collect()))
        })
        .collect();
    by_target.sort_unstable();
    // A name that some asked DNS for, and others sent.
    by_target.dedup_by(|(other, tries), (target, all)| {
        let is_same = other == target;
        if is_same {
            all.append(tries);
            all.sort_unstable();
        }
        is_same
    });
    by_target
}

/// A failure after which clients try lower. What fails over QUIC is tried over TCP, which is no lower version.
fn provokes_fallback(kind: &Sort) -> bool {
    kind.flags.whole()
        && !kind.flags.quic()
        && match kind.outcome {
            Outcome::HelloUnanswered | Outcome::HelloReset | Outcome::HelloClosed => true,
            Outcome::ServerAlert => {
                matches!(kind.alert, Some((Side::Server, 40 | 47 | 50 | 70 | 80)))
            }
            _ => false,
        }
}

/// From when on the client could try again: a hello without an answer keeps it waiting to the end.
fn over(trace: &Trace<'_>) -> Timestamp {
    if provokes_fallback(trace) {
        trace.own.end
    } else {
        trace.own.start
    }
}

/// The hello says that it follows a failed one at a higher version (RFC 7507).
pub(super) fn signals_fallback(past: &Past, kind: &Sort) -> bool {
    past.hello(kind)
        .is_some_and(|hello| hello.shape.fallback_scsv)
}

/// Hellos of the same kind of program: the same stack, or else suites of which one list continues the other.
fn same_family(report: &Report<'_>, a: &Kind, b: &Kind) -> bool {
    let (Some(first), Some(second)) = (report.past.hello(a), report.past.hello(b)) else {
        return false;
    };
    match (first.stack(), second.stack()) {
        (Some(one), Some(other)) => one.name() == other.name(),
        _ => {
            let (one, other) = (report.past.offered(a), report.past.offered(b));
            other.iter().all(|suite| one.contains(suite)) && !other.is_empty()
        }
    }
}

/// The rungs in a few words, as `TLS 1.2 hello-reset → TLS 1.0 established`.
fn ladder(past: &Past, rungs: &[usize]) -> String {
    let words: Vec<String> = past
        .of(rungs)
        .take(6)
        .map(|(_, trace)| {
            let offer = trace.offer_max.map_or("?", version_name);
            format!("{offer} {}", trace.outcome.as_str())
        })
        .collect();
    words.join(" → ")
}

/// The failure from which the try at this place of a list fell, with that try: the one before it, at a higher version and
/// by the same kind of program. Tries with its own hello in between are its siblings, since clients connect several times
/// at once; any other one tells that the address is not of one program.
fn fell_from(
    report: &Report<'_>,
    list: &[usize],
    at: usize,
    window: i64,
) -> Option<(usize, usize)> {
    let past = report.past;
    let (before, rest) = list.split_at_checked(at)?;
    let second = *rest.first()?;
    let lower = past.trace(second)?;
    let own = past.hello(&lower).map(|hello| hello.key);
    let earlier = before.iter().rev().take(TWINS_NEAR);
    let (first, higher) = earlier
        .filter_map(|index| Some((*index, past.trace(*index)?)))
        .find(|(_, trace)| past.hello(trace).map(|hello| hello.key) != own)?;
    let falls = higher.offer_max > lower.offer_max
        && provokes_fallback(&higher)
        && (signals_fallback(past, &lower) || same_family(report, &higher, &lower));
    let is_soon = lower.own.start.micros_since(over(&higher)) <= window;
    (falls && is_soon).then_some((first, second))
}

/// Later tries with the hello of a lower rung: clients remember for a while how far they fell back.
fn remembered(past: &Past, list: &[usize], lower: &[usize]) -> Vec<usize> {
    let mut since: BTreeMap<u32, usize> = BTreeMap::new();
    for (index, trace) in past.of(lower) {
        if let Some(hello) = past.hello(&trace) {
            since.entry(hello.key).or_insert(index);
        }
    }
    let is_later = |index: usize, trace: &Trace<'_>| {
        let first = past.hello(trace).and_then(|hello| since.get(&hello.key));
        first.is_some_and(|first| *first < index)
    };
    past.of(list)
        .filter(|(index, trace)| is_later(*index, trace))
        .map(|(index, _)| index)
        .collect()
}

/// `version-fallback-retry`.
fn retries(report: &mut Report<'_>) {
    let past = report.past;
    let window = i64::try_from(report.settings.retry_window_s)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000);
    // Who never failed so that a lower try could follow has no part in this.
    let provoked = past.clients_like(provokes_fallback);
    let mut told: HashSet<usize> = HashSet::new();
    for ((client, target), list) in by_client_and_target(report, 2, &provoked, |_| true, |_| true) {
        let fallen: Vec<(usize, usize)> = (0..list.len())
            .filter_map(|at| fell_from(report, &list, at, window))
            .collect();
        let mut rungs: Vec<usize> = fallen.iter().flat_map(|(from, to)| [*from, *to]).collect();
        rungs.sort_unstable();
        rungs.dedup();
        if rungs.is_empty() {
            continue;
        }
        let lower: Vec<usize> = fallen.iter().map(|(_, to)| *to).collect();
        let signalled = past
            .of(&lower)
            .any(|(_, trace)| signals_fallback(past, &trace));
        let refused = past
            .of(&lower)
            .any(|(_, trace)| trace.alert == Some((Side::Server, 86)));
        report.fall_back(&lower);
        report.fall_back(&remembered(past, &list, &lower));
        let confidence = if signalled {
            Confidence::Certain
        } else {
            Confidence::Likely
        };
        let cause = if refused {
            "inappropriate-fallback"
        } else {
            ""
        };
        let verdict = Verdict::new(Severity::Warning, confidence, cause);
        let first = rungs.first().and_then(|index| past.trace(*index));
        let stack = first.and_then(|trace| past.hello(&trace)?.stack());
        if let Some(group) = report.tell(
            "version-fallback-retry",
            verdict,
            Subject::Client(client, target),
            &rungs,
            &[],
        ) {
            group.set("stack_kind", Stack::cause(stack));
            group.set("ladder", &ladder(past, &rungs));
        }
        told.extend(rungs);
    }
    refused_alone(report, &told);
}

/// `version-fallback-retry` where the server's alert proves it, and the first try is not in the capture.
fn refused_alone(report: &mut Report<'_>, told: &HashSet<usize>) {
    let past = report.past;
    for (client, _, list) in past.pairs.with(&[Outcome::ServerAlert]) {
        let mut by_target: BTreeMap<Box<str>, Vec<usize>> = BTreeMap::new();
        for (index, trace) in past.of(list) {
            let refused = trace.failed_at_hello() && trace.alert == Some((Side::Server, 86));
            if refused && !told.contains(&index) {
                by_target
                    .entry(past.target(&trace))
                    .or_default()
                    .push(index);
            }
        }
        for (target, refused) in by_target {
            let id = "version-fallback-retry";
            let verdict = Verdict::new(
                Severity::Warning,
                Confidence::Certain,
                "inappropriate-fallback",
            );
            let first = refused.first().and_then(|index| past.trace(*index));
            let stack = first.and_then(|trace| past.hello(&trace)?.stack());
            let subject = Subject::Client(client, target);
            if let Some(group) = report.tell(id, verdict, subject, &refused, &[]) {
                group.set("stack_kind", Stack::cause(stack));
                group.set("ladder", &ladder(past, refused.get(..1).unwrap_or(&[])));
            }
        }
    }
}

/// Tries before and after one that are looked at: behind one address there can be thousands of programs.
const TWINS_NEAR: usize = 64;

/// The same kind of program offered TLS 1.2 or higher to the same name, shortly before or after.
fn has_better_twin(report: &Report<'_>, list: &[usize], index: usize, trace: &Trace<'_>) -> bool {
    let past = report.past;
    let window = i64::try_from(report.settings.retry_window_s)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000);
    let at = list.partition_point(|other| *other < index);
    let (before, after) = list.split_at(at);
    let is_near = |other: &Trace<'_>| {
        let gap = match other.own.start <= trace.own.start {
            true => trace.own.start.micros_since(over(other)),
            false => other.own.start.micros_since(over(trace)),
        };
        gap <= window
    };
    let is_better = |other: Trace<'_>| {
        other.offer_max >= Some(VersionRank::Tls12) && same_family(report, &other, trace)
    };
    let earlier = before.iter().rev().filter_map(|index| past.trace(*index));
    let later = after.iter().filter_map(|index| past.trace(*index));
    earlier
        .take(TWINS_NEAR)
        .take_while(|other| is_near(other))
        .any(is_better)
        || later
            .take(TWINS_NEAR)
            .take_while(|other| is_near(other))
            .any(is_better)
}

/// `client-max-version-o365`, but for rungs of a fallback ladder.
fn old_offers_to_microsoft(report: &mut Report<'_>) {
    let past = report.past;
    let strict: Vec<bool> = past
        .names
        .iter()
        .map(|name| hosts::is_strict(name, report.settings))
        .collect();
    let asks_dns = !past.resolved.dns().lookups.is_empty();
    let may_be = |sort: &Sort| match sort.name {
        Some(number) => strict.get(number.place()) == Some(&true),
        None => asks_dns,
    };
    let is_old = |offer: Option<VersionRank>| offer.is_some() && offer < Some(VersionRank::Tls12);
    let old = past.clients_like(|sort| is_old(sort.offer_max) && may_be(sort));
    let is_strict = |trace: &Trace<'_>| {
        // Without a server name, by the name that the client asked DNS for.
        let name = || past.dns_name(trace);
        trace.name.is_some() || name().is_some_and(|name| hosts::is_strict(name, report.settings))
    };
    for ((client, target), list) in by_client_and_target(report, 1, &old, may_be, is_strict) {
        let falls_back =
            |index: usize, trace: &Trace| report.falls_back(index) || signals_fallback(past, trace);
        let old: Vec<usize> = past
            .of(&list)
            .filter(|(_, trace)| trace.offer_max < Some(VersionRank::Tls12))
            .filter(|(index, trace)| !falls_back(*index, trace))
            .filter(|(index, trace)| !has_better_twin(report, &list, *index, trace))
            .map(|(index, _)| index)
            .collect();
        let Some((_, example)) = past.of(&old).next() else {
            continue;
        };
        let stack = past.hello(&example).and_then(Hello::stack);
        let verdict = Verdict::new(Severity::Error, Confidence::Certain, Stack::cause(stack));
        let servers: BTreeSet<_> = past.of(&old).map(|(_, trace)| trace.server).collect();
        if let Some(group) = report.tell(
            "client-max-version-o365",
            verdict,
            Subject::Client(client, target.clone()),
            &old,
            &[],
        ) {
            group.set("name", &target);
            group.set("stack_kind", Stack::cause_at(stack, example.server.port));
            if let Some(stack) = stack {
                group.note("stack", &stack.words(past.lang));
            }
        }
        report.explain(&old);
        // The alert of the server is the same story, told better here; other programs of the client may be well.
        for server in servers {
            let subject = Subject::Pair(client, server);
            let pair = past.pairs.of(client, server);
            let is_rejected = |trace: &Trace| {
                trace.hello.is_some() && matches!(trace.alert, Some((Side::Server, 70 | 71)))
            };
            let mut rejected = past.of(pair).filter(|(_, trace)| is_rejected(trace));
            if !pair.is_empty() && rejected.all(|(index, _)| old.binary_search(&index).is_ok()) {
                report
                    .groups
                    .take_back("protocol-version-rejected", &subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find, has};

    fn office(version: u16) -> Make {
        Make::new()
            .sni("outlook.office365.com")
            .offer(version)
            .outcome(Outcome::HelloReset)
    }

    #[test]
    fn old_clients_towards_microsoft() {
        let id = "client-max-version-o365";
        assert!(has(&office(0x0301), id));
        let found = diagnose(&[office(0x0301)]);
        assert!(find(&found, id).unwrap().title.contains("TLS 1.0"));
        assert!(!has(&office(0x0303), id));
        assert!(!has(&office(0x0301).sni("www.microsoft.com"), id));
    }

    #[test]
    fn a_hello_that_says_it_falls_back_is_not_all_that_the_client_can() {
        let id = "client-max-version-o365";
        let made = office(0x0301).fallback_scsv();
        assert!(!has(&made, id));
        assert!(find(&diagnose(&[made]), id).is_none());
    }

    #[test]
    fn the_alert_is_told_once_where_others_are_well() {
        let rejected = |version| {
            let made = office(version).outcome(Outcome::ServerAlert);
            made.alert(Side::Server, 70)
        };
        let good = |at| office(0x0303).answer(0x0303, 0xc02f).at(at);
        let found = diagnose(&[rejected(0x0301), good(60), good(120)]);
        assert!(find(&found, "client-max-version-o365").is_some());
        assert!(find(&found, "protocol-version-rejected").is_none());
        // An alert to a hello that the capture lacks is told by nobody.
        let alone = rejected(0x0301)
            .at(30)
            .with(|record| record.client_hello = None);
        let found = diagnose(&[rejected(0x0301), alone, good(60)]);
        assert!(find(&found, "protocol-version-rejected").is_none());
        // A rejected offer of TLS 1.2 is another story.
        let found = diagnose(&[rejected(0x0301), rejected(0x0303).at(90), good(120)]);
        assert!(find(&found, "protocol-version-rejected").is_some());
    }

    #[test]
    fn a_tunnel_names_the_service_where_the_hello_does_not() {
        let id = "client-max-version-o365";
        let through = |target: &str| {
            let made = office(0x0301).no_sni().server("10.0.0.8:3128");
            made.with(|record| {
                record.proxy = Some(crate::record::Proxy {
                    kind: "http-connect".into(),
                    target: Some(target.into()),
                    status: Some(200),
                });
            })
        };
        let made = through("outlook.office365.com:443");
        assert!(has(&made, id));
        let found = diagnose(&[made]);
        assert!(
            find(&found, id)
                .unwrap()
                .subject
                .contains("outlook.office365.com")
        );
        for other in ["192.0.2.7:443", "[2001:db8::7]:443", "www.contoso.com:443"] {
            assert!(!has(&through(other), id), "{other}");
        }
    }

    #[test]
    fn a_fallback_is_told_as_a_fallback() {
        let ladder = [office(0x0303).at(0), office(0x0301).at(2)];
        let found = diagnose(&ladder);
        assert!(find(&found, "client-max-version-o365").is_none());
        let retry = find(&found, "version-fallback-retry").unwrap();
        assert_eq!(retry.confidence, Confidence::Likely);
        let signalled = [office(0x0303).at(0), office(0x0301).at(2).fallback_scsv()];
        let found = diagnose(&signalled);
        assert_eq!(
            find(&found, "version-fallback-retry").unwrap().confidence,
            Confidence::Certain
        );
        // Too late, or after a success, it is another matter.
        let late = [office(0x0303).at(0), office(0x0301).at(200)];
        assert!(find(&diagnose(&late), "version-fallback-retry").is_none());
        let worked = [office(0x0303).answer(0x0303, 0xc02f), office(0x0301).at(2)];
        assert!(find(&diagnose(&worked), "version-fallback-retry").is_none());
    }

    #[test]
    fn a_fallback_that_is_remembered_is_not_all_that_the_client_can() {
        let id = "client-max-version-o365";
        let rung = |at| office(0x0301).answer(0x0301, 0xc014).at(at);
        let made = [office(0x0303).at(0), rung(2), rung(100), rung(900)];
        let found = diagnose(&made);
        assert!(find(&found, id).is_none());
        // Another hello, or another service.
        let other = rung(100).suites(&[0x0035, 0x000a]);
        assert!(find(&diagnose(&[office(0x0303).at(0), rung(2), other]), id).is_some());
        let other = rung(100).sni("outlook.office.com");
        assert!(find(&diagnose(&[office(0x0303).at(0), rung(2), other]), id).is_some());
    }

    #[test]
    fn a_fallback_that_the_server_refuses() {
        let refused = |code| {
            let lower = office(0x0301).at(2).fallback_scsv();
            let lower = lower
                .outcome(Outcome::ServerAlert)
                .alert(Side::Server, code);
            let found = diagnose(&[office(0x0303).at(0), lower]);
            find(&found, "version-fallback-retry")
                .unwrap()
                .title
                .to_string()
        };
        assert!(refused(86).starts_with("Fallback refused by the server"));
        assert!(!refused(70).starts_with("Fallback refused by the server"));
    }

    #[test]
    fn mail_programs_are_no_browsers() {
        let steps = |server: &str| {
            let old = office(0x0301).sni("outlook.office365.com").server(server);
            let found = diagnose(&[old]);
            let finding = find(&found, "client-max-version-o365").unwrap();
            finding.remediation.join("\n")
        };
        assert!(steps("203.0.113.9:443").contains("WinHttp"));
        for port in [993, 995, 143, 110] {
            let steps = steps(&format!("203.0.113.9:{port}"));
            assert!(steps.contains("TLS 1.2\\Client"), "{steps}");
            assert!(
                !steps.contains("WinHttp") && !steps.contains("SecureProtocols"),
                "{steps}"
            );
        }
    }

    #[test]
    fn a_refused_fallback_proves_itself() {
        // The first try was before the capture began, or towards another address.
        let alone = |code| {
            let lower = office(0x0303).fallback_scsv();
            let lower = lower.outcome(Outcome::ServerAlert);
            diagnose(&[lower.alert(Side::Server, code)])
        };
        let found = alone(86);
        let finding = find(&found, "version-fallback-retry").unwrap();
        assert!(finding.title.starts_with("Fallback refused by the server"));
        assert_eq!(finding.confidence, Confidence::Certain);
        assert!(find(&alone(70), "version-fallback-retry").is_none());
    }

    #[test]
    fn a_fallback_after_a_long_silence_is_one() {
        // A client waits a minute for an answer before it tries lower.
        let made = [
            office(0x0303)
                .outcome(Outcome::HelloUnanswered)
                .lasts_ms(55_000),
            office(0x0301).at(56),
        ];
        let found = diagnose(&made);
        assert!(find(&found, "version-fallback-retry").is_some());
        assert!(find(&found, "client-max-version-o365").is_none());
    }

    #[test]
    fn other_programs_on_the_address_are_no_fallback() {
        let other = office(0x0301).at(2).suites(&[0x0005, 0x0004]);
        let found = diagnose(&[office(0x0303).at(0), other]);
        assert!(find(&found, "version-fallback-retry").is_none());
        assert!(find(&found, "client-max-version-o365").is_some());
    }

    fn outage_then(after: impl Fn(i64) -> Make) -> Vec<Make> {
        let mut made: Vec<Make> = (0..5)
            .map(|n| Make::new().answer(0x0303, 0xc02f).at(n))
            .collect();
        made.extend((0..6).map(|n| Make::new().outcome(Outcome::HelloReset).at(20 + n)));
        made.extend((0..8).map(|n| after(60 + 11 * n + n % 3)));
        made
    }

    #[test]
    fn stuck_after_an_outage() {
        let id = "client-stuck-on-fallback";
        let silent = |at| {
            Make::new()
                .with(|record| record.client_hello = None)
                .outcome(Outcome::NoClientHello)
                .tcp(|tcp| tcp.closed_by = Some(Side::Client))
                .at(at)
                .lasts_ms(100)
        };
        let lower = |at| Make::new().offer(0x0301).answer(0x0301, 0xc014).at(at);
        assert!(find(&diagnose(&outage_then(lower)), id).is_some());
        let mut irregular = outage_then(silent);
        irregular.last_mut().unwrap().record.start.0 += 40_000_000_000;
        let found = diagnose(&irregular);
        assert!(find(&found, id).is_some());
        assert!(find(&found, "closed-before-hello").is_none());
        let healthy = |at| Make::new().answer(0x0303, 0xc02f).at(at);
        assert!(find(&diagnose(&outage_then(healthy)), id).is_none());
        // Everyone offers less since then: that was done on purpose.
        let mut all = outage_then(lower);
        all.extend((0..3).map(|n| lower(70 + n).client("10.0.0.2")));
        assert!(find(&diagnose(&all), id).is_none());
    }
}
