//! Servers behind something: hellos too large for a box in the path, servers that boot, Exchange's back end.
//!
//! Each needs a contrast: the same server answers smaller hellos, was down before, or works on its front port.

use super::groups::Subject;
use super::past::Past;
use super::survey::{Report, pick, severity_if};
use super::trace::{Kind, Sort, Trace};
use super::{Entry, Settings, Survey, Verdict};
use crate::record::{Confidence, Endpoint, Outcome, Scope, Severity};
use crate::tls::code_points::{NamedGroup, is_grease};
use std::collections::BTreeSet;

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[
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
            "backend-444-down",
            Severity::Error,
            Scope::Server,
            "Microsoft: OfficeDocs-Support issue 1784 (Exchange Back End binding)",
        )],
        run: back_end,
    },
];

/// `large-hello-unanswered`: hellos beyond one segment fail where smaller ones are answered.
fn large_hello(report: &mut Report<'_>) {
    /// Assumed where the server's was not seen: Ethernet without options.
    const MSS: u32 = 1_460;
    const RECORD_HEADER: u32 = 5;
    let past = report.past;
    for (server, all) in past.troubled_servers() {
        let mss_of = |trace: &Trace| match trace.mss {
            0 => MSS,
            mss => u32::from(mss),
        };
        let is_large = |trace: &Trace| trace.own.hello_bytes + RECORD_HEADER > mss_of(trace);
        let over_tcp =
            |kind: &Kind| kind.hello.is_some() && !kind.flags.quic() && kind.flags.whole();
        let failed = past.traces_of(&all.kinds, |kind| over_tcp(kind) && kind.failed_silently());
        let failed = pick(report, &failed, |index, trace| {
            is_large(trace) && !report.is_explained(index)
        });
        if failed.is_empty() {
            continue;
        }
        let served = past.traces_of(&all.kinds, |kind| over_tcp(kind) && kind.answer.is_some());
        let large_served = pick(report, &served, |_, trace| is_large(trace));
        let small_served = pick(report, &served, |_, trace| !is_large(trace));
        let retried = failed
            .iter()
            .any(|bad| followed_by(report, *bad, &small_served));
        let enough = failed.len() >= 3 && small_served.len() >= 3;
        if !large_served.is_empty() || !(enough || (retried && !small_served.is_empty())) {
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
            .map(|(_, trace)| trace.own.hello_bytes)
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
            let full = past
                .of(&failed)
                .filter(|(_, trace)| trace.own.acknowledged == Some(true));
            group.set("acknowledged", &full.count().to_string());
            group.set("failed", &failed.len().to_string());
            if let Some((_, first)) = past.of(&failed).next() {
                let mss = mss_of(&first);
                let bytes = first.own.hello_bytes;
                group.set("first_bytes", &bytes.to_string());
                group.set(
                    "segments",
                    &(bytes + RECORD_HEADER).div_ceil(mss).to_string(),
                );
                group.set("mss", &mss.to_string());
                let shares = past
                    .hello(&first)
                    .and_then(|hello| hello.shape.key_share_groups.as_deref());
                let shares = shares
                    .unwrap_or(&[])
                    .iter()
                    .filter(|code| !is_grease(code.0));
                let shares: Vec<String> =
                    shares.map(|code| NamedGroup(code.0).to_string()).collect();
                if !shares.is_empty() {
                    group.set("shares", &shares.join(", "));
                }
            }
        }
        report.explain(&failed);
    }
}

/// The same client tried again within the retry window, as one of `later`.
fn followed_by(report: &Report<'_>, index: usize, later: &[usize]) -> bool {
    let Some(first) = report.past.trace(index) else {
        return false;
    };
    let window = i64::try_from(report.settings.retry_window_s)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000);
    // Both lists are in order of time.
    let begin = later.partition_point(|other| *other <= index);
    let soon = report.past.of(later.get(begin..).unwrap_or(&[]));
    soon.take_while(|(_, trace)| trace.own.start.micros_since(first.own.start) <= window)
        .any(|(_, trace)| *trace.client == *first.client)
}

/// `backend-unready-series`: TCP is up again after an outage, TLS is not yet.
fn unready_series(report: &mut Report<'_>) {
    let past = report.past;
    for (server, all) in past.troubled_servers() {
        let mut kinds = past.kinds_of(&all.kinds);
        if !kinds.any(|(_, kind)| kind.failed_to_connect()) {
            continue;
        }
        let tries = past.traces_of(&all.kinds, |kind| {
            kind.failed_to_connect() || kind.failed_silently() || kind.is_complete()
        });
        let Some(outage) = outage(past, &tries, report.settings) else {
            continue;
        };
        let Outage {
            begin,
            series,
            recovered,
            lasts_s,
        } = outage;
        let mut contrast = vec![begin];
        contrast.extend(recovered);
        let cause = if recovered.is_some() {
            "recovered"
        } else {
            "stuck"
        };
        // A service that was started anew and is back at once is a blip.
        let blip = recovered.is_some()
            && u64::try_from(lasts_s).is_ok_and(|lasts| lasts < report.settings.series_span_s);
        let verdict = Verdict::new(severity_if(!blip), Confidence::Likely, cause);
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
                &seconds(past, first, recovered.unwrap_or(last)).to_string(),
            );
        }
        report.explain(&series);
        // What failed to connect meanwhile is part of the story.
        let clients: BTreeSet<_> = past.of(&tries).map(|(_, trace)| *trace.client).collect();
        for client in clients {
            let subject = Subject::Pair(client, *server);
            report.groups.take_back("tcp-connect-failed", &subject);
        }
    }
}

/// A server that was down, took TCP again, and not TLS.
struct Outage {
    /// The first connection that did not come up.
    begin: usize,
    /// Hellos without an answer since TCP is up again.
    series: Vec<usize>,
    /// The first handshake that worked again.
    recovered: Option<usize>,
    /// From the first failure to the end, or to the last one seen.
    lasts_s: i64,
}

/// The last outage among the tries at one server; nothing worked while it lasted.
fn outage(past: &Past, tries: &[usize], settings: &Settings) -> Option<Outage> {
    let is =
        |index: &usize, fits: fn(&Sort) -> bool| past.kind(*index).is_some_and(|kind| fits(&kind));
    let down = tries
        .iter()
        .rposition(|index| is(index, Sort::failed_to_connect))?;
    let (before, after) = tries.split_at(down + 1);
    let worked = before
        .iter()
        .rposition(|index| is(index, Sort::is_complete));
    let begin = *before.get(worked.map_or(0, |at| at + 1)..)?.first()?;
    let series: Vec<usize> = after
        .iter()
        .copied()
        .take_while(|index| is(index, Sort::failed_silently))
        .collect();
    let recovered = after.get(series.len()).copied();
    let end = recovered.or(series.last().copied())?;
    (series.len() >= settings.series_min as usize).then(|| Outage {
        begin,
        series,
        recovered,
        lasts_s: seconds(past, begin, end),
    })
}

/// Seconds from the begin of one trace to that of another.
fn seconds(past: &Past, from: usize, to: usize) -> i64 {
    let times = past.trace(from).zip(past.trace(to));
    times.map_or(0, |(from, to)| {
        to.own.start.micros_since(from.own.start) / 1_000_000
    })
}

/// `backend-444-down`: Exchange's front end works, its back end does not.
fn back_end(report: &mut Report<'_>) {
    let past = report.past;
    for (server, all) in past.servers.iter().filter(|(server, _)| server.port == 444) {
        let failed = past.traces_of(&all.kinds, |kind| {
            kind.failed_silently() || kind.outcome == Outcome::ConnectionRefused
        });
        let worked = past.traces_of(&all.kinds, |kind| kind.is_complete());
        let front = Endpoint {
            ip: server.ip,
            port: 443,
        };
        let front_works = past.servers.get(&front).map_or_else(Vec::new, |all| {
            past.traces_of(&all.kinds, |kind| kind.is_complete())
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
        // What was refused is this, and needs no finding of its own.
        let clients: BTreeSet<_> = past.of(&failed).map(|(_, trace)| *trace.client).collect();
        for client in clients {
            let subject = Subject::Pair(client, *server);
            report.groups.take_back("tcp-connect-failed", &subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find};
    use crate::record::{Close, Side};

    fn reset() -> Make {
        Make::new().outcome(Outcome::HelloReset).tcp(|tcp| {
            tcp.close = Close::Rst;
            tcp.closed_by = Some(Side::Server);
        })
    }

    fn good() -> Make {
        Make::new().answer(0x0303, 0xc02f)
    }

    #[test]
    fn large_hellos_need_the_contrast() {
        let large = |at| {
            Make::new()
                .hello(|hello| hello.length = 1_750)
                .shape(|shape| {
                    let groups = [0x11ec, 0x001d].map(crate::record::Code16);
                    shape.key_share_groups = Some(groups.into());
                })
                .observed(|seen| seen.hello_acknowledged = Some(false))
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
        let affects = &find(&found, id).unwrap().affects;
        let says = |words: &str| affects.iter().any(|line| line.contains(words));
        assert!(
            says("1750 bytes in 2 segments") && says("X25519MLKEM768"),
            "{affects:?}"
        );
        assert!(says("acknowledged in full: 0 of 3"), "{affects:?}");
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
        let severity = |made: &[Make]| find(&diagnose(made), id).map(|found| found.severity);
        assert_eq!(severity(&made), Some(Severity::Error));
        // Back within a minute it is a blip; what failed before the last success is another story.
        let mut blip: Vec<Make> = made
            .iter()
            .cloned()
            .zip(0..)
            .map(|(made, n)| made.at(n))
            .collect();
        assert_eq!(severity(&blip), Some(Severity::Warning));
        blip.insert(0, made[1].clone().at(-500));
        assert_eq!(severity(&blip), Some(Severity::Warning));
        // It is not back.
        blip.pop();
        assert_eq!(severity(&blip), Some(Severity::Error));
        // A server that served in between is not booting.
        let mut served = made.clone();
        served.push(good().at(125));
        let found = diagnose(&served);
        assert!(find(&found, id).is_none() && find(&found, "hello-reset").is_some());
        // Without the outage before it, it is a reset like any other.
        let only: Vec<Make> = (0..6).map(|n| reset().at(10 * n)).collect();
        let found = diagnose(&only);
        assert!(find(&found, id).is_none() && find(&found, "hello-reset").is_some());
    }

    #[test]
    fn exchange_back_end() {
        let id = "backend-444-down";
        let back = || reset().server("10.0.0.5:444");
        assert!(find(&diagnose(&[back(), back().at(3), good()]), id).is_some());
        assert!(find(&diagnose(&[back(), back().at(3)]), id).is_none());
        // Once is no pattern; the front end of another server proves nothing; the same on another port.
        assert!(find(&diagnose(&[back(), good()]), id).is_none());
        let elsewhere = good().server("10.0.0.6:443");
        assert!(find(&diagnose(&[back(), back().at(3), elsewhere]), id).is_none());
        let other = || reset().server("10.0.0.5:8443");
        assert!(find(&diagnose(&[other(), other().at(3), good()]), id).is_none());
        let works = good().server("10.0.0.5:444");
        assert!(find(&diagnose(&[back(), back().at(3), good(), works]), id).is_none());
    }

    #[test]
    fn a_back_end_that_refuses_is_told_once() {
        let refused = |at| {
            let made = Make::new().server("10.0.0.5:444").at(at);
            let made = made.with(|record| record.client_hello = None);
            made.outcome(Outcome::ConnectionRefused)
        };
        let found = diagnose(&[good(), refused(1), refused(2), refused(3)]);
        assert!(find(&found, "backend-444-down").is_some());
        assert!(find(&found, "tcp-connect-failed").is_none());
        // Without its front end nothing is known of Exchange.
        let found = diagnose(&[refused(1), refused(2), refused(3)]);
        assert!(find(&found, "tcp-connect-failed").is_some());
    }
}
