//! Failures right after the ClientHello: reset, closed, unanswered; and what separates them from what works.
//!
//! The order matters: the reasons that a contrast proves (name, size, suites, a boot) come first, and what is left is told
//! as what it is: `hello-reset`, `hello-unanswered`. The ledger is a lower bound: "never seen to work" is never "cannot".

use super::facts::{Facts, suite_name, version_name};
use super::groups::Subject;
use super::history::Trace;
use super::survey::{Report, severity_if};
use super::{Entry, Rule, Settings, Sheet, Survey, Verdict};
use crate::record::{Close, Confidence, Endpoint, Outcome, Scope, Severity, Side};
use crate::tls::code_points::{CipherSuite, VersionRank};
use std::{collections::BTreeSet, net::IpAddr};

/// The rules that mark handshakes; surveys tell of them, but for the alert, which needs no contrast.
pub(super) static RULES: &[Rule] = &[
    Rule::told_by_survey(
        Entry::new(
            "hello-reset",
            Severity::Error,
            Scope::Client,
            "RFC 8446 section 6; RFC 9293 section 3.5",
        ),
        hello_reset,
    ),
    Rule::told_by_survey(
        Entry::new(
            "hello-unanswered",
            Severity::Warning,
            Scope::Client,
            "RFC 8446 section 2",
        ),
        hello_unanswered,
    ),
    Rule::new(
        Entry::new(
            "sni-rejected",
            Severity::Error,
            Scope::Handshake,
            "RFC 6066 section 3; RFC 9325 section 3.7",
        ),
        name_alert,
        super::groups::server_subject,
        describe_name_alert,
    ),
];

/// The surveys, the most telling first.
pub(super) static SURVEYS: &[Survey] = &[
    Survey {
        entries: &[],
        run: sni,
    },
    Survey {
        entries: &[Entry::new(
            "large-hello-unanswered",
            Severity::Error,
            Scope::Client,
            "RFC 8446 section 4.1.2; RFC 9293; https://tldr.fail",
        )],
        run: large_hello,
    },
    Survey {
        entries: &[Entry::new(
            "backend-unready-series",
            Severity::Error,
            Scope::Server,
            "RFC 9293 section 3.5; RFC 8446 section 2",
        )],
        run: unready_series,
    },
    Survey {
        entries: &[Entry::new(
            "no-common-cipher",
            Severity::Error,
            Scope::Client,
            "RFC 5246 section 7.4.1.3; RFC 8446 section 4.1.1",
        )],
        run: no_common_cipher,
    },
    Survey {
        entries: &[Entry::new(
            "backend-444-down",
            Severity::Error,
            Scope::Server,
            "Microsoft: OfficeDocs-Support issue 1784 (Exchange Back End binding)",
        )],
        run: back_end,
    },
    Survey {
        entries: &[],
        run: resets,
    },
    Survey {
        entries: &[],
        run: silence,
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

/// `hello-reset` on one handshake: the fact, without a reason.
fn hello_reset(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let reset = matches!(
        facts.record.outcome,
        Outcome::HelloReset | Outcome::HelloClosed
    );
    (reset && facts.whole && facts.client_hello.is_some() && facts.waited_us() <= 10_000_000)
        .then_some(Verdict::new(Severity::Error, Confidence::Certain, ""))
}

/// `hello-unanswered` on one handshake.
fn hello_unanswered(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    if facts.record.outcome != Outcome::HelloUnanswered || !facts.whole {
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

fn silence_severity(
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

/// `sni-rejected` by alert; a warning lets the handshake go on.
fn name_alert(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    facts.client_hello?;
    let alert =
        facts.record.alerts.iter().find(|alert| {
            alert.from == Side::Server && alert.code == Some(112) && !alert.encrypted
        })?;
    let severity = if alert.level == Some(1) {
        Severity::Info
    } else {
        Severity::Error
    };
    Some(Verdict::new(severity, Confidence::Certain, "alert"))
}

fn describe_name_alert(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(name) = facts.sni() {
        sheet.note("refused", name);
    }
    for alert in &facts.record.alerts {
        if alert.code == Some(112) {
            sheet.fact(alert.frame, || {
                let level = if alert.level == Some(1) {
                    "warning"
                } else {
                    "fatal"
                };
                format!(
                    "{level} alert unrecognized_name (112) for server name {}",
                    facts.sni().unwrap_or("none")
                )
            });
        }
    }
}

/// Traces of a list that fit.
fn pick(report: &Report<'_>, list: &[usize], fits: impl Fn(usize, &Trace) -> bool) -> Vec<usize> {
    report
        .past
        .of(list)
        .filter(|(index, trace)| fits(*index, trace))
        .map(|(index, _)| index)
        .collect()
}

/// `sni-missing`, and `sni-rejected` by contrast: names (or no name) that a server refuses while it serves others.
fn sni(report: &mut Report<'_>) {
    let past = report.past;
    for (server, list) in &past.servers {
        let nameless = pick(report, list, |index, trace| {
            trace.name.is_none()
                && !trace.flags.renegotiation
                && !report.is_probe(index)
                && past
                    .hello(trace)
                    .is_some_and(|hello| !hello.shape.extensions.iter().any(|code| code.0 == 0))
        });
        let served = pick(report, list, |_, trace| {
            trace.name.is_some() && trace.is_complete()
        });
        let nameless_served = pick(report, &nameless, |_, trace| trace.answer.is_some());
        let refused = pick(report, &nameless, |_, trace| trace.failed_at_hello());
        let needed = !served.is_empty() && nameless_served.is_empty() && !refused.is_empty();
        if report.settings.sni_ports.contains(&server.port) {
            tell_nameless(report, *server, &nameless, needed, &refused, &served);
        }
        refused_names(report, *server, list, &served);
    }
}

fn tell_nameless(
    report: &mut Report<'_>,
    server: Endpoint,
    nameless: &[usize],
    needed: bool,
    refused: &[usize],
    served: &[usize],
) {
    let clients: BTreeSet<IpAddr> = report
        .past
        .of(nameless)
        .map(|(_, trace)| trace.client)
        .collect();
    for client in clients {
        let mine = pick(report, nameless, |_, trace| trace.client == client);
        let (verdict, contrast) = if needed {
            let likely = if refused.len() >= 2 {
                Confidence::Certain
            } else {
                Confidence::Likely
            };
            (Verdict::new(Severity::Error, likely, "needed"), served)
        } else {
            (
                Verdict::new(Severity::Info, Confidence::Certain, ""),
                &[][..],
            )
        };
        report.tell(
            "sni-missing",
            verdict,
            Subject::Pair(client, server),
            &mine,
            contrast.get(..1).unwrap_or(&[]),
        );
    }
    if needed {
        report.explain(refused);
    }
}

fn refused_names(report: &mut Report<'_>, server: Endpoint, list: &[usize], served: &[usize]) {
    if served.len() < 2 {
        return;
    }
    let past = report.past;
    let names: BTreeSet<&str> = past
        .of(list)
        .filter_map(|(_, trace)| past.name(trace))
        .collect();
    for name in names {
        let mine = pick(report, list, |_, trace| {
            past.name(trace) == Some(name) && trace.flags.whole
        });
        let refused = pick(report, &mine, |index, trace| {
            trace.failed_silently() && !report.is_explained(index)
        });
        // The served hellos must be alike but for the name, or the name proves nothing.
        let alike = refused
            .iter()
            .any(|bad| served.iter().any(|good| same_hello(report, *bad, *good)));
        if refused.len() < 2 || refused.len() != mine.len() || !alike {
            continue;
        }
        let verdict = Verdict::new(Severity::Error, Confidence::Likely, "reset");
        if let Some(group) = report.tell(
            "sni-rejected",
            verdict,
            Subject::Server(server),
            &refused,
            served.get(..1).unwrap_or(&[]),
        ) {
            group.note("refused", name);
        }
        report.explain(&refused);
    }
}

/// Two traces have equal `hello.key`.
fn same_hello(report: &Report<'_>, a: usize, b: usize) -> bool {
    let key = |index: usize| {
        let trace = report.past.traces.get(index)?;
        Some(report.past.hello(trace)?.key)
    };
    key(a).is_some() && key(a) == key(b)
}

/// `large-hello-unanswered`: hellos beyond one segment fail where smaller ones are answered.
fn large_hello(report: &mut Report<'_>) {
    /// Assumed where the server's was not seen: Ethernet without options.
    const MSS: u32 = 1_460;
    const RECORD_HEADER: u32 = 5;
    let past = report.past;
    for (server, list) in &past.servers {
        let is_large = |trace: &Trace| {
            let mss = if trace.mss == 0 {
                MSS
            } else {
                u32::from(trace.mss)
            };
            trace.hello_bytes + RECORD_HEADER > mss
        };
        let hellos = pick(report, list, |_, trace| {
            trace.hello.is_some() && !trace.flags.quic && trace.flags.whole
        });
        let failed = pick(report, &hellos, |index, trace| {
            is_large(trace) && trace.failed_silently() && !report.is_explained(index)
        });
        let large_served = pick(report, &hellos, |_, trace| {
            is_large(trace) && trace.answer.is_some()
        });
        let small_served = pick(report, &hellos, |_, trace| {
            !is_large(trace) && trace.answer.is_some()
        });
        let retried = failed
            .iter()
            .any(|bad| followed_by(report, *bad, &small_served));
        let enough = failed.len() >= 3 && small_served.len() >= 3;
        if failed.is_empty()
            || !large_served.is_empty()
            || !(enough || (retried && !small_served.is_empty()))
        {
            continue;
        }
        let confidence = if retried && enough {
            Confidence::Certain
        } else {
            Confidence::Likely
        };
        let verdict = Verdict::new(Severity::Error, confidence, "");
        let sizes: BTreeSet<u32> = past
            .of(&failed)
            .map(|(_, trace)| trace.hello_bytes)
            .collect();
        if let Some(group) = report.tell(
            "large-hello-unanswered",
            verdict,
            Subject::Server(*server),
            &failed,
            small_served.get(..2).unwrap_or(&small_served),
        ) {
            for size in sizes {
                group.note("bytes", &size.to_string());
            }
        }
        report.explain(&failed);
    }
}

/// The same client tried again within the retry window, as one of `later`.
fn followed_by(report: &Report<'_>, index: usize, later: &[usize]) -> bool {
    let Some(first) = report.past.traces.get(index) else {
        return false;
    };
    let window = i64::try_from(report.settings.retry_window_s)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000);
    report.past.of(later).any(|(_, trace)| {
        let gap = trace.start.micros_since(first.start);
        trace.client == first.client && gap > 0 && gap <= window
    })
}

/// `backend-unready-series`: TCP is up again after an outage, TLS is not yet.
fn unready_series(report: &mut Report<'_>) {
    let past = report.past;
    for (server, list) in &past.servers {
        let tries = pick(report, list, |_, trace| {
            trace.failed_to_connect() || trace.failed_silently() || trace.is_complete()
        });
        let is =
            |index: &usize, fits: fn(&Trace) -> bool| past.traces.get(*index).is_some_and(fits);
        let Some(down) = tries
            .iter()
            .rposition(|index| is(index, Trace::failed_to_connect))
        else {
            continue;
        };
        let after = tries.get(down + 1..).unwrap_or(&[]);
        let series: Vec<usize> = after
            .iter()
            .copied()
            .take_while(|index| is(index, Trace::failed_silently))
            .collect();
        if series.len() < report.settings.series_min as usize {
            continue;
        }
        let recovered = after.get(series.len()).copied();
        let first_down = tries
            .iter()
            .position(|index| is(index, Trace::failed_to_connect))
            .unwrap_or(down);
        let mut contrast = vec![tries.get(first_down).copied().unwrap_or_default()];
        contrast.extend(recovered);
        let cause = if recovered.is_some() {
            "recovered"
        } else {
            "stuck"
        };
        let verdict = Verdict::new(Severity::Error, Confidence::Likely, cause);
        let span = |from: usize, to: usize| {
            let times = past.traces.get(from).zip(past.traces.get(to));
            times.map_or(0, |(from, to)| {
                to.start.micros_since(from.start) / 1_000_000
            })
        };
        let (first, last) = (
            series.first().copied().unwrap_or_default(),
            series.last().copied().unwrap_or_default(),
        );
        if let Some(group) = report.tell(
            "backend-unready-series",
            verdict,
            Subject::Server(*server),
            &series,
            &contrast,
        ) {
            group.set(
                "seconds",
                &span(first, recovered.unwrap_or(last)).to_string(),
            );
        }
        report.explain(&series);
    }
}

/// A suite can be chosen at a version.
fn usable(suite: CipherSuite, version: VersionRank) -> bool {
    let Some(entry) = suite.entry() else {
        return true;
    };
    if suite.is_tls13() {
        return version == VersionRank::Tls13;
    }
    version >= VersionRank::Tls12 || !entry.aead
}

/// `no-common-cipher`: nothing of what was offered was ever chosen by this server for anyone.
fn no_common_cipher(report: &mut Report<'_>) {
    let past = report.past;
    for ((client, server), list) in &past.pairs {
        let failed = pick(report, list, |index, trace| {
            trace.failed_at_hello()
                && trace.outcome != Outcome::HelloUnanswered
                && !report.is_explained(index)
                && !matches!(trace.alert, Some((_, code)) if code != 40 && code != 71)
        });
        let Some(ledger) = past.servers.get(server).map(|all| past.ledger(all)) else {
            continue;
        };
        let Some(can) = ledger.can else { continue };
        let empty = pick(report, &failed, |_, trace| {
            let version = trace.offer_max.map_or(can, |offered| offered.min(can));
            let offered = past.offered(trace);
            !offered.is_empty()
                && !offered
                    .iter()
                    .any(|suite| usable(*suite, version) && ledger.suites.contains_key(&suite.0))
        });
        let Some((_, example)) = past.of(&empty).next() else {
            continue;
        };
        let alerted = example.outcome == Outcome::ServerAlert;
        // Few answers say little about what a server can.
        let confidence = match (alerted, ledger.answered >= 3) {
            (true, true) => Confidence::Certain,
            (true, false) | (false, true) => Confidence::Likely,
            (false, false) => Confidence::Possible,
        };
        let words = |suites: &mut dyn Iterator<Item = CipherSuite>| {
            suites
                .take(6)
                .map(suite_name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let offered = words(&mut past.offered(example).into_iter());
        let accepted = words(&mut ledger.suites.keys().map(|code| CipherSuite(*code)));
        let contrast: Vec<usize> = ledger.suites.values().copied().take(1).collect();
        let verdict = Verdict::new(Severity::Error, confidence, "");
        if let Some(group) = report.tell(
            "no-common-cipher",
            verdict,
            Subject::Pair(*client, *server),
            &empty,
            &contrast,
        ) {
            group.set("suites", &offered);
            group.set("accepted", &accepted);
            group.set("handshakes", &ledger.answered.to_string());
        }
        report.explain(&empty);
    }
}

/// `backend-444-down`: Exchange's front end works, its back end does not.
fn back_end(report: &mut Report<'_>) {
    let past = report.past;
    for (server, list) in past.servers.iter().filter(|(server, _)| server.port == 444) {
        let failed = pick(report, list, |_, trace| {
            trace.failed_silently() || trace.outcome == Outcome::ConnectionRefused
        });
        let worked = pick(report, list, |_, trace| trace.is_complete());
        let front = Endpoint {
            ip: server.ip,
            port: 443,
        };
        let front_works = past.servers.get(&front).map_or_else(Vec::new, |all| {
            pick(report, all, |_, trace| trace.is_complete())
        });
        if failed.len() < 2 || !worked.is_empty() || front_works.is_empty() {
            continue;
        }
        let verdict = Verdict::new(Severity::Error, Confidence::Likely, "");
        report.tell(
            "backend-444-down",
            verdict,
            Subject::Server(*server),
            &failed,
            front_works.get(..1).unwrap_or(&[]),
        );
        report.explain(&failed);
    }
}

/// `hello-reset`: what no other survey explained, and what separates it from what works.
fn resets(report: &mut Report<'_>) {
    let past = report.past;
    for ((client, server), list) in &past.pairs {
        let failed = pick(report, list, |index, trace| {
            matches!(trace.outcome, Outcome::HelloReset | Outcome::HelloClosed)
                && trace.failed_at_hello()
                && trace.waited_us <= 10_000_000
                && !report.is_explained(index)
        });
        let Some((_, example)) = past.of(&failed).next() else {
            continue;
        };
        let all = past.servers.get(server).map_or(&[][..], Vec::as_slice);
        let served = pick(report, all, |_, trace| trace.answer.is_some());
        let in_path = in_path(report, &failed);
        let cause = match (in_path, example.close) {
            (Some(_), _) => "in-path",
            (None, Close::Fin) => "closed",
            _ => "",
        };
        let feature = separating_feature(report, &failed, &served);
        let verdict = Verdict::new(Severity::Error, Confidence::Certain, cause);
        let subject = Subject::Pair(*client, *server);
        if let Some(group) = report.tell(
            "hello-reset",
            verdict,
            subject,
            &failed,
            served.get(..1).unwrap_or(&[]),
        ) {
            group.set("served", &served.len().to_string());
            if let Some(hops) = in_path {
                group.set("hops", &hops.to_string());
            }
            if let Some(feature) = feature {
                group.set("feature", &feature);
            }
        }
    }
}

/// The reset came with another time to live than the SYN-ACK: by how much, where it was so each time.
fn in_path(report: &Report<'_>, failed: &[usize]) -> Option<u8> {
    let mut least = None;
    for (_, trace) in report.past.of(failed) {
        let (syn_ack, close) = trace.ttls?;
        let difference = syn_ack.abs_diff(close);
        if difference <= 1 || trace.close != Close::Rst {
            return None;
        }
        least = Some(least.map_or(difference, |least: u8| least.min(difference)));
    }
    least
}

/// The one feature of hellos that all failures have and no success has, with at least three of each.
fn separating_feature(report: &Report<'_>, failed: &[usize], served: &[usize]) -> Option<String> {
    if failed.len() < 3 || served.len() < 3 {
        return None;
    }
    let past = report.past;
    let separates = |feature: &dyn Fn(&Trace) -> Option<String>| {
        let value = feature(past.of(failed).next()?.1)?;
        let is = |list: &[usize], wanted: bool| {
            past.of(list)
                .all(|(_, trace)| (feature(trace).as_deref() == Some(value.as_str())) == wanted)
        };
        (is(failed, true) && is(served, false)).then_some(value)
    };
    separates(&|trace| Some(format!("offers {} at most", version_name(trace.offer_max?))))
        .or_else(|| {
            separates(&|trace| {
                Some(format!(
                    "server name {}",
                    past.name(trace).unwrap_or("none")
                ))
            })
        })
        .or_else(|| {
            separates(&|trace| {
                let offered = past
                    .hello(trace)?
                    .shape
                    .alpn
                    .as_deref()
                    .unwrap_or(&[])
                    .join(",");
                Some(format!(
                    "ALPN {}",
                    if offered.is_empty() { "none" } else { &offered }
                ))
            })
        })
        .or_else(|| separates(&|trace| Some(format!("client {}", trace.client))))
}

/// `hello-unanswered`.
fn silence(report: &mut Report<'_>) {
    let past = report.past;
    for ((client, server), list) in &past.pairs {
        let silent = pick(report, list, |index, trace| {
            trace.outcome == Outcome::HelloUnanswered
                && trace.failed_at_hello()
                && !report.is_explained(index)
                && silence_severity(trace.waited_us, trace.closed_by, report.settings).is_some()
        });
        let worst = past
            .of(&silent)
            .filter_map(|(_, trace)| {
                silence_severity(trace.waited_us, trace.closed_by, report.settings)
            })
            .max();
        let Some(severity) = worst else { continue };
        let unacknowledged = past
            .of(&silent)
            .all(|(_, trace)| trace.acknowledged == Some(false));
        let acknowledged = past
            .of(&silent)
            .all(|(_, trace)| trace.acknowledged == Some(true));
        let (cause, confidence) = match (unacknowledged, acknowledged) {
            (true, _) => ("not-acknowledged", Confidence::Certain),
            (_, true) => ("acknowledged", Confidence::Certain),
            _ => ("", Confidence::Likely),
        };
        let longest = past
            .of(&silent)
            .map(|(_, trace)| trace.waited_us / 1_000)
            .max()
            .unwrap_or(0);
        let verdict = Verdict::new(severity, confidence, cause);
        if let Some(group) = report.tell(
            "hello-unanswered",
            verdict,
            Subject::Pair(*client, *server),
            &silent,
            &[],
        ) {
            group.set("waited_ms", &longest.to_string());
        }
    }
}

/// `closed-before-hello`: connections that the client opened and closed without a word, where it speaks TLS otherwise.
fn closed_before_hello(report: &mut Report<'_>) {
    let past = report.past;
    let limit = i64::try_from(report.settings.closed_before_hello_ms)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000);
    for ((client, server), list) in &past.pairs {
        let tls_port = past
            .servers
            .get(server)
            .is_some_and(|all| past.of(all).any(|(_, trace)| trace.hello.is_some()));
        let closed = pick(report, list, |index, trace| {
            trace.outcome == Outcome::NoClientHello
                && trace.flags.whole
                && trace.closed_by == Some(Side::Client)
                && trace.end.micros_since(trace.start) <= limit
                && !report.is_probe(index)
                && !report.is_explained(index)
        });
        if !tls_port || closed.len() < 3 {
            continue;
        }
        let series = closed.len() >= report.settings.series_min as usize;
        let verdict = Verdict::new(severity_if(series), Confidence::Possible, "");
        let good: Vec<usize> = pick(report, list, |_, trace| trace.is_complete())
            .into_iter()
            .rev()
            .take(1)
            .collect();
        report.tell(
            "closed-before-hello",
            verdict,
            Subject::Pair(*client, *server),
            &closed,
            &good,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find, has};
    use crate::record::Defect;

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
    fn a_server_that_needs_the_name() {
        let found = diagnose(&[reset().no_sni(), good()]);
        let missing = find(&found, "sni-missing").unwrap();
        assert_eq!(missing.severity, Severity::Error);
        assert!(find(&found, "hello-reset").is_none());
        // Served without a name: worth knowing only.
        let found = diagnose(&[good().no_sni(), good()]);
        assert_eq!(
            find(&found, "sni-missing").unwrap().severity,
            Severity::Info
        );
    }

    #[test]
    fn names_that_a_server_refuses() {
        let bad = || reset().sni("x.contoso.com");
        let found = diagnose(&[bad(), bad().at(5), good(), good().at(9)]);
        let rejected = find(&found, "sni-rejected").unwrap();
        assert!(rejected.title.contains("x.contoso.com"));
        assert!(find(&found, "hello-reset").is_none());
        // Once is no pattern, and another kind of hello is no contrast.
        assert!(find(&diagnose(&[bad(), good(), good()]), "sni-rejected").is_none());
        let other = || bad().suites(&[0xc014]);
        assert!(
            find(
                &diagnose(&[other(), other(), good(), good()]),
                "sni-rejected"
            )
            .is_none()
        );
        let warned = good()
            .alert(Side::Server, 112)
            .with(|record| record.alerts[0].level = Some(1));
        assert_eq!(
            find(&diagnose(&[warned]), "sni-rejected").unwrap().severity,
            Severity::Info
        );
    }

    #[test]
    fn large_hellos_need_the_contrast() {
        let large = |at| {
            Make::new()
                .hello(|hello| hello.length = 1_750)
                .outcome(Outcome::HelloUnanswered)
                .at(at)
                .lasts_ms(20_000)
        };
        let failed: Vec<Make> = (0..3).map(large).collect();
        let id = "large-hello-unanswered";
        assert!(find(&diagnose(&failed), id).is_none());
        let mut with_small = failed.clone();
        with_small.extend((0..3).map(|at| good().at(at)));
        let found = diagnose(&with_small);
        assert!(find(&found, id).is_some());
        assert!(find(&found, "hello-unanswered").is_none());
        with_small.push(good().hello(|hello| hello.length = 1_750));
        assert!(find(&diagnose(&with_small), id).is_none());
    }

    #[test]
    fn a_boot_in_three_phases() {
        let refused = Make::new()
            .with(|record| record.client_hello = None)
            .outcome(Outcome::ConnectionRefused);
        let mut made = vec![good().at(0), refused.at(60)];
        made.extend((0..6).map(|n| reset().at(100 + 10 * n)));
        let id = "backend-unready-series";
        assert!(find(&diagnose(&made), id).is_some());
        made.push(good().at(200));
        let found = diagnose(&made);
        assert!(
            find(&found, id).unwrap().title.contains("100"),
            "{}",
            find(&found, id).unwrap().title
        );
        assert!(find(&found, "hello-reset").is_none());
        // Without the outage before it, it is a reset like any other.
        let only: Vec<Make> = (0..6).map(|n| reset().at(10 * n)).collect();
        let found = diagnose(&only);
        assert!(find(&found, id).is_none() && find(&found, "hello-reset").is_some());
    }

    #[test]
    fn suites_without_overlap() {
        let id = "no-common-cipher";
        let old = || {
            Make::new()
                .client("10.0.0.9")
                .suites(&[0x000a])
                .alert(Side::Server, 40)
                .outcome(Outcome::ServerAlert)
        };
        let served: Vec<Make> = (0..3).map(|at| good().at(at)).collect();
        let mut made = served.clone();
        made.push(old());
        let found = diagnose(&made);
        assert_eq!(find(&found, id).unwrap().confidence, Confidence::Certain);
        assert!(find(&diagnose(&[old()]), id).is_none());
        // An overlap that the ledger shows: the reason is another.
        let mut other = served;
        other.push(old().suites(&[0xc02f]));
        assert!(find(&diagnose(&other), id).is_none());
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
        assert!(has(&reset(), "hello-reset"));
        let cut = reset().with(|record| record.defects.push(Defect::OneDirection));
        assert!(!has(&cut, "hello-reset"));
        assert!(find(&diagnose(&[cut]), "hello-reset").is_none());
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
    fn connections_closed_before_the_hello() {
        let id = "closed-before-hello";
        let times = [0, 7, 9, 30, 31];
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

    #[test]
    fn exchange_back_end() {
        let id = "backend-444-down";
        let back = || reset().server("10.0.0.5:444");
        assert!(find(&diagnose(&[back(), back().at(3), good()]), id).is_some());
        assert!(find(&diagnose(&[back(), back().at(3)]), id).is_none());
        let works = good().server("10.0.0.5:444");
        assert!(find(&diagnose(&[back(), back().at(3), good(), works]), id).is_none());
    }
}
