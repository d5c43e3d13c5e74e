//! Clients that stay where an outage drove them: at a lower version, or without a hello at all.
//!
//! Healthy, then an outage, and afterwards only lower offers or none, while others are served: the program keeps its
//! fallback until it is started anew.

use super::Verdict;
use super::facts::version_name;
use super::groups::Subject;
use super::stack::Stack;
use super::survey::{Report, severity_if};
use crate::record::{Confidence, Endpoint, Outcome};
use crate::tls::code_points::VersionRank;
use std::net::IpAddr;

/// The median of what was offered.
fn median_offer(report: &Report<'_>, list: &[usize]) -> Option<VersionRank> {
    let mut offers: Vec<VersionRank> = report
        .past
        .of(list)
        .filter_map(|(_, trace)| trace.offer_max)
        .collect();
    offers.sort_unstable();
    offers.get(offers.len() / 2).copied()
}

/// `client-stuck-on-fallback`: healthy, then an outage, then only lower offers or none.
pub(super) fn stuck(report: &mut Report<'_>) {
    let past = report.past;
    let minimum = report.settings.series_min as usize;
    // Something worked, then came an outage, and then a change.
    let long_enough = past
        .pairs
        .troubled()
        .filter(|(_, _, list)| list.len() > 2 * minimum);
    for (client, server, list) in long_enough {
        let Some((before, outage, after, relapsed)) = phases(report, list, minimum)
            .map(|(before, outage, after)| (before, outage, after, false))
            .or_else(|| {
                relapse(report, list, minimum)
                    .map(|(before, outage, after)| (before, outage, after, true))
            })
        else {
            continue;
        };
        let Some(usual) = median_offer(report, before) else {
            continue;
        };
        let span = past.of(after).next().zip(past.of(after).last());
        let lasts = span.map_or(0, |((_, first), (_, last))| {
            last.own.start.micros_since(first.own.start) / 1_000_000
        });
        let silent = past
            .of(after)
            .all(|(_, trace)| trace.outcome == Outcome::NoClientHello);
        let lower = past
            .of(after)
            .all(|(_, trace)| trace.offer_max.is_some_and(|offer| offer < usual));
        let long = lasts >= i64::try_from(report.settings.series_span_s).unwrap_or(i64::MAX);
        if !(silent || lower) || !long || others_changed(report, server, client, after, usual) {
            continue;
        }
        let healthy = healthy_peer(report, server, client, after, usual);
        if relapsed && healthy.is_none() {
            continue; // the outage may go on: nothing tells that the server is well again
        }
        let mut contrast: Vec<usize> = before.last().copied().into_iter().collect();
        contrast.extend(outage.first());
        contrast.extend(healthy);
        let cause = if silent { "no-hello" } else { "lower-offer" };
        let verdict = Verdict::new(severity_if(true), Confidence::Likely, cause);
        if let Some(group) = report.tell(
            "client-stuck-on-fallback",
            verdict,
            Subject::Pair(client, server),
            after,
            &contrast,
        ) {
            group.set("usual", version_name(usual));
            let before = past
                .of(before)
                .last()
                .and_then(|(_, trace)| past.hello(&trace));
            group.set(
                "stack_kind",
                Stack::cause(before.and_then(|hello| hello.stack())),
            );
            group.set("failures", &outage.len().to_string());
            group.set("seconds", &lasts.to_string());
        }
        report.explain(after);
        report.fall_back(after);
    }
}

/// What came before the last long outage, the outage, and what came after.
fn phases<'l>(
    report: &Report<'_>,
    list: &'l [usize],
    minimum: usize,
) -> Option<(&'l [usize], &'l [usize], &'l [usize])> {
    let past = report.past;
    let bad = |index: &usize| {
        past.kind(*index)
            .is_some_and(|kind| kind.failed_silently() || kind.failed_to_connect())
    };
    let mut start = 0;
    while start < list.len() {
        let length = list
            .iter()
            .skip(start)
            .take_while(|index| bad(index))
            .count();
        if length >= minimum {
            let (before, rest) = list.split_at(start);
            let (outage, after) = rest.split_at(length);
            let worked = past.of(before).any(|(_, trace)| trace.is_complete());
            return (worked && after.len() >= minimum).then_some((before, outage, after));
        }
        start += length.max(1);
    }
    None
}

/// As [`phases`] where the lower offers fail, too: the outage ends where nothing but lower offers follows.
fn relapse<'l>(
    report: &Report<'_>,
    list: &'l [usize],
    minimum: usize,
) -> Option<(&'l [usize], &'l [usize], &'l [usize])> {
    let past = report.past;
    let is_complete = |index: &usize| past.trace(*index).is_some_and(|one| one.is_complete());
    let start = list.iter().rposition(is_complete)? + 1;
    let (before, rest) = list.split_at(start);
    let usual = median_offer(report, before)?;
    let is_lower = |index: &usize| {
        let trace = past.trace(*index);
        trace.is_some_and(|trace| trace.offer_max.is_some_and(|offer| offer < usual))
    };
    let lower = rest
        .iter()
        .rev()
        .take_while(|index| is_lower(index))
        .count();
    let (outage, after) = rest.split_at(rest.len() - lower);
    (outage.len() >= minimum && after.len() >= minimum).then_some((before, outage, after))
}

/// Another client of the server, in the meantime, at the usual version.
fn healthy_peer(
    report: &Report<'_>,
    server: Endpoint,
    client: IpAddr,
    after: &[usize],
    usual: VersionRank,
) -> Option<usize> {
    let since = report.past.of(after).next()?.1.own.start;
    report
        .past
        .of(report.past.since(report.past.at(&server), since))
        .find(|(_, trace)| {
            *trace.client != client
                && trace.is_complete()
                && trace.negotiated >= Some(usual.min(VersionRank::Tls12))
        })
        .map(|(index, _)| index)
}

/// Every other client offers less since then as well: the network was reconfigured, nobody is stuck.
fn others_changed(
    report: &Report<'_>,
    server: Endpoint,
    client: IpAddr,
    after: &[usize],
    usual: VersionRank,
) -> bool {
    let Some((_, first)) = report.past.of(after).next() else {
        return false;
    };
    let mut others = report
        .past
        .of(report.past.since(report.past.at(&server), first.own.start))
        .filter(|(_, trace)| *trace.client != client && trace.offer_max.is_some())
        .peekable();
    others.peek().is_some() && others.all(|(_, trace)| trace.offer_max < Some(usual))
}
