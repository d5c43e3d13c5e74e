//! Failures right after the ClientHello: reset, closed, unanswered; and what separates them from what works.
//!
//! The order matters: the reasons that a contrast proves (name, size, suites, a boot) come first, and what is left is told
//! as what it is: `hello-reset`, `hello-unanswered`.

mod answered_late;

pub(super) use answered_late::ANSWERED_LATE;

use super::facts::{Facts, suite_name, version_name};
use super::groups::Subject;
use super::lists::Members;
use super::past::Past;
use super::survey::{Report, pick, severity_if};
use super::text::{say, word};
use super::trace::{Kind, Trace};
use super::{Entry, Rule, Settings, Survey, Verdict, When, refused};
use crate::record::{Close, Confidence, Endpoint, Outcome, Scope, Severity, Side};
use std::{collections::BTreeMap, net::IpAddr};

/// The rules that mark handshakes; surveys tell of them.
pub(super) static RULES: &[Rule] = &[
    Rule::told_by_survey(
        Entry::new(
            "hello-reset",
            Severity::Error,
            Scope::Client,
            "RFC 8446 section 6; RFC 9293 section 3.5",
        ),
        hello_reset,
    )
    .when(When::INCOMPLETE),
    Rule::told_by_survey(
        Entry::new(
            "hello-unanswered",
            Severity::Warning,
            Scope::Client,
            "RFC 8446 section 2",
        ),
        hello_unanswered,
    )
    .when(When::INCOMPLETE),
];

/// The surveys, the most telling first.
pub(super) static SURVEYS: &[Survey] = &[
    Survey {
        entries: &[],
        run: resets,
    },
    Survey {
        entries: &[],
        run: silence,
    },
    Survey {
        entries: &[],
        run: answered_late::late_answers,
    },
    Survey {
        entries: &[Entry::new(
            "closed-before-hello",
            Severity::Warning,
            Scope::Client,
            "Microsoft: Schannel events 36870 and 36871 (dn786445)",
        )],
        run: closed_before_hello,
    },
];

/// A server that ends the connection later than this did not do so upon the hello: it left it without an answer.
const UPON_HELLO_US: i64 = 10_000_000;

/// The server ended the connection in place of an answer, by its outcome.
fn is_ended(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::HelloReset | Outcome::HelloClosed)
}

/// The hello had no answer: for good, or until the server ended the connection long after.
fn is_silent(outcome: Outcome, waited_us: i64) -> bool {
    outcome == Outcome::HelloUnanswered || is_ended(outcome) && waited_us > UPON_HELLO_US
}

/// `hello-reset` on one handshake: the fact, without a reason.
fn hello_reset(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let ended = match facts.record.outcome {
        Outcome::HelloReset | Outcome::HelloClosed => facts.waited_us() <= UPON_HELLO_US,
        Outcome::ServerAlert => {
            let code = facts.fatal_code(Side::Server);
            facts.server_hello.is_none() && code.is_some_and(refused::says_no_more)
        }
        _ => false,
    };
    (ended && facts.whole && facts.client_hello.is_some()).then_some(Verdict::new(
        Severity::Error,
        Confidence::Certain,
        "",
    ))
}

/// `hello-unanswered` on one handshake.
fn hello_unanswered(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    if facts.server_hello.is_some() {
        return answered_late::answered_late(facts, settings);
    }
    if !is_silent(facts.record.outcome, facts.waited_us()) || !facts.whole {
        return None;
    }
    facts.client_hello?;
    silence_severity(
        facts.waited_us(),
        facts.record.tcp.as_ref().and_then(|tcp| tcp.closed_by),
        settings,
    )
    .map(|severity| Verdict::new(severity, Confidence::Certain, ""))
}

pub(super) fn silence_severity(
    waited_us: i64,
    closed_by: Option<Side>,
    settings: &Settings,
) -> Option<Severity> {
    let ms = u64::try_from(waited_us / 1_000).unwrap_or(0);
    if ms < settings.silence_warn_ms {
        return None;
    }
    let gave_up = closed_by == Some(Side::Client);
    Some(severity_if(gave_up || ms >= settings.silence_error_ms))
}

/// `hello-reset`: what no other survey explained, and what separates it from what works.
fn resets(report: &mut Report<'_>) {
    let past = report.past;
    // Of each server what it served, and what tells the hellos of all its clients that failed from these.
    let mut answered: BTreeMap<Endpoint, (Members, Option<String>)> = BTreeMap::new();
    let mut by_pair: Vec<(IpAddr, Endpoint, Vec<usize>)> = Vec::new();
    let mut by_server: BTreeMap<Endpoint, Vec<usize>> = BTreeMap::new();
    for (client, server, list) in past
        .pairs
        .with(&[Outcome::HelloReset, Outcome::HelloClosed])
    {
        let failed = pick(report, list, |index, trace| {
            is_ended(trace.outcome)
                && trace.failed_at_hello()
                && trace.own.waited_us() <= UPON_HELLO_US
                && !report.is_explained(index)
        });
        by_server.entry(server).or_default().extend(&failed);
        by_pair.push((client, server, failed));
    }
    for (client, server, failed) in by_pair {
        let Some((_, example)) = past.of(&failed).next() else {
            continue;
        };
        // What a server does not like shows over all of its clients.
        let all_failed = by_server.get(&server).unwrap_or(&failed);
        let (served, feature) = &*answered.entry(server).or_insert_with(|| {
            let served = past.members(past.kinds_at(&server), |kind| kind.answer.is_some());
            let feature = separating_feature(past, all_failed, &served);
            (served, feature)
        });
        let in_path = in_path(report, &failed);
        let cause = match (in_path, example.own.close) {
            (Some(_), _) => "in-path",
            (None, Close::Fin) => "closed",
            _ => "",
        };
        let confidence = if in_path.is_some() {
            Confidence::Likely
        } else {
            Confidence::Certain
        };
        let verdict = Verdict::new(Severity::Error, confidence, cause);
        let subject = Subject::Pair(client, server);
        if let Some(group) = report.tell(
            "hello-reset",
            verdict,
            subject,
            &failed,
            served.traces.get(..1).unwrap_or(&[]),
        ) {
            group.set("served", &served.traces.len().to_string());
            group.set("ended", &all_failed.len().to_string());
            if let Some(hops) = in_path {
                group.set("hops", &hops.to_string());
                if let Some((syn_ack, close)) = example.own.ttls {
                    group.set("ttl_syn_ack", &syn_ack.to_string());
                    group.set("ttl_reset", &close.to_string());
                }
            }
            let feature = feature.clone();
            if let Some(feature) = feature.or_else(|| separating_feature(past, &failed, served)) {
                group.set("feature", &feature);
            }
        }
    }
}

/// The reset came with another time to live than the SYN-ACK: by how much, where it was so each time.
fn in_path(report: &Report<'_>, failed: &[usize]) -> Option<u8> {
    let mut least = None;
    for (_, trace) in report.past.of(failed) {
        let (syn_ack, close) = trace.own.ttls?;
        let difference = syn_ack.abs_diff(close);
        if difference <= 1 || trace.own.close != Close::Rst {
            return None;
        }
        least = Some(least.map_or(difference, |least: u8| least.min(difference)));
    }
    least
}

/// All failures are one client's, and no success is.
fn is_one_client(past: &Past, failed: &[usize]) -> bool {
    let Some((_, first)) = past.of(failed).next() else {
        return false;
    };
    let own = past.of_client(*first.client);
    let mut own = own.filter_map(|index| past.trace(index));
    past.of(failed)
        .all(|(_, trace)| *trace.client == *first.client)
        && !own.any(|trace| trace.server == first.server && trace.answer.is_some())
}

/// The one feature of hellos that all failures have and no success has, with at least three of each.
pub(super) fn separating_feature(
    past: &Past,
    failed: &[usize],
    served: &Members,
) -> Option<String> {
    if failed.len() < 3 || served.traces.len() < 3 {
        return None;
    }
    let (_, first) = past.of(failed).next()?;
    let separates = |is_alike: &dyn Fn(&Kind) -> bool| {
        past.of(failed).all(|(_, trace)| is_alike(&trace))
            && !past
                .kinds_of(&served.kinds)
                .any(|(_, kind)| is_alike(&kind))
    };
    let lang = past.lang;
    let none = || word(lang, "none");
    let protocols = |trace: &Kind| {
        let hello = past.hello(trace);
        hello
            .and_then(|hello| hello.shape.alpn.as_deref())
            .unwrap_or(&[])
    };
    if let Some(offered) = first.offer_max
        && separates(&|trace| trace.offer_max == Some(offered))
    {
        let feature = say(lang, "feature-version").with("offered", version_name(offered));
        Some(feature.text())
    } else if separates(&|trace| trace.name == first.name) {
        let name = past.name(&first).unwrap_or_else(none);
        Some(say(lang, "feature-name").with("name", name).text())
    } else if separates(&|trace| protocols(trace) == protocols(&first)) {
        let offered = protocols(&first).join(",");
        let offered = if offered.is_empty() { none() } else { &offered };
        Some(format!("ALPN {offered}"))
    } else if let Some(least) = larger(past, failed, &served.traces) {
        Some(say(lang, "feature-size").with("bytes", least).text())
    } else if let Some(suite) = past.offered(&first).into_iter().find(|suite| {
        let offers = |kind: &Kind| past.offered(kind).contains(suite);
        separates(&offers)
    }) {
        let feature = say(lang, "feature-suite").with("suite", suite_name(suite));
        Some(feature.text())
    } else if is_one_client(past, failed) {
        Some(
            say(lang, "feature-client")
                .with("client", *first.client)
                .text(),
        )
    } else {
        None
    }
}

/// The size of the smallest hello that failed, where all that were served are smaller.
fn larger(past: &Past, failed: &[usize], served: &[usize]) -> Option<u32> {
    let sizes = |list| past.of(list).map(|(_, trace)| trace.own.hello_bytes);
    let least = sizes(failed).min()?;
    (!sizes(served).any(|size| size >= least)).then_some(least)
}

/// `hello-unanswered`.
fn silence(report: &mut Report<'_>) {
    let past = report.past;
    let ends = [
        Outcome::HelloUnanswered,
        Outcome::HelloReset,
        Outcome::HelloClosed,
    ];
    for (client, server, list) in past.pairs.with(&ends) {
        for quic in [false, true] {
            let silent = pick(report, list, |index, trace| {
                trace.flags.quic() == quic
                    && is_silent(trace.outcome, trace.own.waited_us())
                    && trace.failed_at_hello()
                    && !report.is_explained(index)
                    && silence_severity(trace.own.waited_us(), trace.own.closed_by, report.settings)
                        .is_some()
            });
            let worst = past
                .of(&silent)
                .filter_map(|(_, trace)| {
                    silence_severity(trace.own.waited_us(), trace.own.closed_by, report.settings)
                })
                .max();
            let Some(severity) = worst else { continue };
            let tcp = quic
                .then(|| over_tcp(past, client, server, &silent))
                .flatten();
            let verdict = match (quic, tcp) {
                (false, _) => silent_tcp(past, &silent, severity),
                (true, None) => Verdict::new(severity, Confidence::Certain, "quic"),
                (true, Some(_)) => {
                    Verdict::new(Severity::Info, Confidence::Certain, "quic-then-tcp")
                }
            };
            tell_silence(report, (client, server), verdict, &silent, tcp);
        }
    }
}

fn tell_silence(
    report: &mut Report<'_>,
    (client, server): (IpAddr, Endpoint),
    verdict: Verdict,
    silent: &[usize],
    tcp: Option<usize>,
) {
    let waited = report.past.of(silent);
    let longest = waited.map(|(_, trace)| trace.own.waited_us() / 1_000).max();
    let contrast = tcp.as_slice();
    let subject = Subject::Pair(client, server);
    if let Some(group) = report.tell("hello-unanswered", verdict, subject, silent, contrast) {
        group.set("waited_ms", &longest.unwrap_or(0).to_string());
    }
}

/// Whether the hellos arrived, as far as acknowledgements tell.
fn silent_tcp(past: &Past, silent: &[usize], severity: Severity) -> Verdict {
    let all = |known| {
        let mut traces = past.of(silent);
        traces.all(|(_, trace)| trace.own.acknowledged == Some(known))
    };
    let (cause, confidence) = if all(false) {
        ("not-acknowledged", Confidence::Certain)
    } else if all(true) {
        ("acknowledged", Confidence::Certain)
    } else {
        ("", Confidence::Likely)
    };
    Verdict::new(severity, confidence, cause)
}

/// A handshake over TCP by which the client reaches what it does not reach over QUIC: the same server, or the same name.
fn over_tcp(past: &Past, client: IpAddr, server: Endpoint, silent: &[usize]) -> Option<usize> {
    let name = past.of(silent).find_map(|(_, trace)| trace.name);
    let same = |trace: &Trace<'_>| trace.server == server || (name.is_some() && trace.name == name);
    past.of_client(client).find(|index| {
        let trace = past.trace(*index);
        trace.is_some_and(|trace| !trace.flags.quic() && trace.answer.is_some() && same(&trace))
    })
}

/// `closed-before-hello`: connections that the client opened and closed without a word, where it speaks TLS otherwise; and
/// those that the server's side ended before the client could say anything.
fn closed_before_hello(report: &mut Report<'_>) {
    let past = report.past;
    let limit = i64::try_from(report.settings.closed_before_hello_ms)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000);
    for (client, server, list) in past.pairs.with(&[Outcome::NoClientHello]) {
        let ended_by = |side: Side| {
            pick(report, list, |index, trace| {
                trace.outcome == Outcome::NoClientHello
                    && trace.flags.whole()
                    && trace.own.closed_by == Some(side)
                    && (side == Side::Client || trace.flags.without_payload())
                    && trace.own.end.micros_since(trace.own.start) <= limit
                    && !report.is_probe(index)
                    && !report.is_explained(index)
            })
        };
        let by_server = ended_by(Side::Server);
        let is_tls = past.speaks_tls(&server);
        let (closed, cause, confidence) = match by_server.len() {
            3.. if is_tls || report.settings.tls_ports.contains(&server.port) => {
                (by_server, "by-server", Confidence::Certain)
            }
            _ => (ended_by(Side::Client), "by-client", Confidence::Possible),
        };
        if closed.len() < 3 || (cause == "by-client" && !is_tls) {
            continue;
        }
        let starts = [closed.first(), closed.last()].map(|index| past.trace(*index?));
        let lasts_us = match starts {
            [Some(first), Some(last)] => last.own.start.micros_since(first.own.start),
            _ => 0,
        };
        let series = closed.len() >= report.settings.series_min as usize
            && u64::try_from(lasts_us / 1_000_000)
                .is_ok_and(|lasts| lasts >= report.settings.series_span_s);
        let verdict = Verdict::new(severity_if(series), confidence, cause);
        let good: Vec<usize> = pick(report, list, |_, trace| trace.is_complete())
            .into_iter()
            .rev()
            .take(1)
            .collect();
        report.tell(
            "closed-before-hello",
            verdict,
            Subject::Pair(client, server),
            &closed,
            &good,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find, has};
    use crate::record::{Code16, Defect};

    fn reset() -> Make {
        Make::new().outcome(Outcome::HelloReset).tcp(|tcp| {
            tcp.close = Close::Rst;
            tcp.closed_by = Some(Side::Server);
        })
    }

    fn good() -> Make {
        Make::new().answer(0x0303, 0xc02f)
    }

    fn no_hello() -> Make {
        Make::new()
            .with(|record| record.client_hello = None)
            .outcome(Outcome::NoClientHello)
            .tcp(|tcp| tcp.closed_by = Some(Side::Client))
            .lasts_ms(200)
    }

    #[test]
    fn resets_by_a_box_in_the_path() {
        let ttl = |close| {
            reset().observed(|observed| {
                observed.syn_ack_ttl = Some(118);
                observed.close_ttl = Some(close);
            })
        };
        let title = |made: Make| {
            find(&diagnose(&[made]), "hello-reset")
                .unwrap()
                .title
                .to_string()
        };
        assert!(title(ttl(60)) != title(ttl(118)));
        let found = diagnose(&[ttl(60)]);
        let affects = &find(&found, "hello-reset").unwrap().affects;
        assert!(
            affects
                .iter()
                .any(|line| line.contains("SYN-ACK 118, reset 60")),
            "{affects:?}"
        );
        assert!(has(&reset(), "hello-reset"));
        let cut = reset().with(|record| record.defects.push(Defect::OneDirection));
        assert!(!has(&cut, "hello-reset"));
        assert!(find(&diagnose(&[cut]), "hello-reset").is_none());
    }

    #[test]
    fn what_all_failures_have_and_no_success() {
        let common = |failed: &dyn Fn(Make) -> Make, count: i64| {
            let mut made: Vec<Make> = (0..count).map(|n| failed(reset()).at(n * n)).collect();
            made.extend((0..count).map(|n| good().at(100 + n)));
            let found = diagnose(&made);
            let affects = &find(&found, "hello-reset").unwrap().affects;
            let line = affects.iter().find(|line| line.contains("in common"));
            line.map(ToString::to_string)
        };
        let large = |made: Make| made.hello(|hello| hello.length = 900);
        assert!(common(&large, 3).unwrap().contains("900 bytes"));
        let suite = |made: Make| made.shape(|shape| shape.cipher_suites.push(Code16(0xcca8)));
        assert!(common(&suite, 3).unwrap().contains("0xcca8"));
        // Of one client each: it is the server's hellos that are compared.
        let mut apart: Vec<Make> = (1..=3)
            .map(|n| large(reset()).client(&format!("10.0.0.{n}")).at(n))
            .collect();
        apart.extend((0..3).map(|n| good().client("10.0.0.9").at(100 + n)));
        let found = diagnose(&apart);
        let affects = &find(&found, "hello-reset").unwrap().affects;
        assert!(
            affects.iter().any(|line| line.contains("900 bytes")),
            "{affects:?}"
        );
        assert!(
            affects
                .iter()
                .any(|line| line.contains("end so: 3; answered: 3"))
        );
        // Too few; nothing that separates.
        assert_eq!(common(&large, 2), None);
        assert_eq!(common(&|made| made, 3), None);
    }

    #[test]
    fn silence_by_its_length() {
        let silent = |ms| Make::new().outcome(Outcome::HelloUnanswered).lasts_ms(ms);
        let id = "hello-unanswered";
        assert!(find(&diagnose(&[silent(1_000)]), id).is_none());
        assert_eq!(
            find(&diagnose(&[silent(6_000)]), id).unwrap().severity,
            Severity::Warning
        );
        assert_eq!(
            find(&diagnose(&[silent(16_000)]), id).unwrap().severity,
            Severity::Error
        );
    }

    #[test]
    fn a_reset_after_a_long_silence_is_a_silence() {
        let (resets, silence) = ("hello-reset", "hello-unanswered");
        let after = |ms| diagnose(&[reset().lasts_ms(ms)]);
        assert!(find(&after(9_000), resets).is_some());
        assert!(find(&after(9_000), silence).is_none());
        for (ms, severity) in [(11_000, Severity::Warning), (16_000, Severity::Error)] {
            let found = after(ms);
            assert!(find(&found, resets).is_none());
            assert_eq!(find(&found, silence).unwrap().severity, severity);
            assert!(has(&reset().lasts_ms(ms), silence));
        }
    }

    #[test]
    fn a_series_takes_its_time() {
        let closed = |gap_s: i64| {
            let made: Vec<Make> = (0..5)
                .map(|n| no_hello().at(10 + n * gap_s + n % 2))
                .chain([good().client("10.0.0.9")])
                .collect();
            let found = diagnose(&made);
            find(&found, "closed-before-hello").unwrap().severity
        };
        assert_eq!(closed(4), Severity::Warning);
        assert_eq!(closed(20), Severity::Error);
    }

    #[test]
    fn connections_that_the_server_ends_before_the_hello() {
        let id = "closed-before-hello";
        let ended = |port: u16| {
            let made = no_hello().server(&format!("10.0.0.5:{port}"));
            let made = made.tcp(|tcp| tcp.closed_by = Some(Side::Server));
            made.observed(|seen| seen.without_payload = Some(true))
        };
        // As regular as a health check: yet it is not the checker that closes.
        let series = |made: &Make, count| -> Vec<Make> {
            (0..count).map(|n| made.clone().at(10 * n)).collect()
        };
        let found = diagnose(&series(&ended(443), 8));
        let finding = find(&found, id).unwrap();
        assert_eq!(
            (finding.severity, finding.confidence),
            (Severity::Error, Confidence::Certain)
        );
        assert!(find(&found, "health-probe").is_none());
        let steps = finding.remediation.iter();
        assert!(!steps.map(|step| &**step).any(|step| step.contains("36871")));
        // Few; late; a port of no TLS; something was said.
        assert!(find(&diagnose(&series(&ended(443), 2)), id).is_none());
        let late = ended(443).lasts_ms(120_000);
        assert!(find(&diagnose(&series(&late, 8)), id).is_none());
        assert!(find(&diagnose(&series(&ended(9100), 8)), id).is_none());
        let said = ended(443).observed(|seen| seen.without_payload = None);
        assert!(find(&diagnose(&series(&said, 8)), id).is_none());
    }

    #[test]
    fn connections_closed_before_the_hello() {
        let id = "closed-before-hello";
        let times = [0, 7, 9, 30, 61];
        let mut made: Vec<Make> = times.iter().map(|at| no_hello().at(*at)).collect();
        made.push(good());
        assert_eq!(
            find(&diagnose(&made), id).unwrap().severity,
            Severity::Error
        );
        assert_eq!(
            find(&diagnose(&made[2..]), id).unwrap().severity,
            Severity::Warning
        );
        assert!(find(&diagnose(&made[3..]), id).is_none());
        // A browser keeps connections ready for tens of seconds.
        let ready: Vec<Make> = made
            .iter()
            .cloned()
            .map(|made| made.lasts_ms(20_000))
            .collect();
        assert!(find(&diagnose(&ready), id).is_none());
        // A probe comes regularly.
        let mut probes: Vec<Make> = (0..8).map(|n| no_hello().at(10 * n)).collect();
        probes.push(good());
        let found = diagnose(&probes);
        assert!(find(&found, id).is_none());
    }
}
