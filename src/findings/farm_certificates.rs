//! Certificates of one name at several servers: different ones at the same time, and one that gave way to another.

use super::certificate::card;
use super::farm::{groups, is_private};
use super::groups::Subject;
use super::survey::{Report, severity_if};
use super::text::say;
use super::{Entry, Lang, Survey, Verdict, hosts};
use crate::record::{Certificate, Confidence, Digest, Endpoint, Scope, Severity};
use hashbrown::HashMap;
use std::{borrow::Cow, collections::BTreeMap};

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[
        Entry::new(
            "farm-cert-inconsistent",
            Severity::Warning,
            Scope::Farm,
            "RFC 9325; Microsoft: Exchange Extended Protection prerequisites (certificates)",
        ),
        Entry::new(
            "cert-rotation",
            Severity::Info,
            Scope::Server,
            "RFC 5280 section 4.1.2.5",
        ),
    ],
    run: certificates,
}];

/// Changes of certificate that are followed at one server.
const RUNS_MAX: usize = 16;

/// A certificate at a member: where it was seen first and last.
struct Shown {
    digest: Digest<32>,
    first: usize,
    last: usize,
}

/// The kind of signature: servers may have one certificate of each.
fn kind(certificate: &Certificate) -> bool {
    certificate
        .key
        .as_deref()
        .is_some_and(|key| key.starts_with("ecdsa"))
}

/// Certificates in order of time at one endpoint for one name, with each change.
fn shown(report: &Report<'_>, list: &[usize], ecdsa: bool) -> Vec<Shown> {
    let mut runs: Vec<Shown> = Vec::new();
    for (index, trace) in report.past.of(list) {
        let Some(leaf) = report.past.leaf(trace) else {
            continue;
        };
        if kind(leaf) != ecdsa || leaf.malformed {
            continue;
        }
        let full = runs.len() >= RUNS_MAX;
        match runs.last_mut() {
            Some(run) if run.digest == leaf.sha256 => run.last = index,
            // More changes than this say nothing new.
            _ if full => break,
            _ => runs.push(Shown {
                digest: leaf.sha256,
                first: index,
                last: index,
            }),
        }
    }
    runs
}

/// `farm-cert-inconsistent` and `cert-rotation`.
fn certificates(report: &mut Report<'_>) {
    let past = report.past;
    let groups = groups(report);
    let mut names: Vec<(Box<str>, Cow<'_, [usize]>)> = past
        .names()
        .map(|(name, list)| (name.into(), list.into()))
        .collect();
    for group in groups.iter().filter(|group| group.reason == "configured") {
        let mut all: Vec<usize> = group
            .members
            .iter()
            .filter_map(|member| past.servers.get(member))
            .flatten()
            .copied()
            .collect();
        all.sort_unstable();
        names.push((group.name.clone(), all.into()));
    }
    for (name, list) in names {
        let mut members: HashMap<Endpoint, Vec<usize>> = HashMap::new();
        for (index, trace) in past.of(&list).filter(|(_, trace)| trace.leaf.is_some()) {
            if !report.settings.internal_ports.contains(&trace.server.port) {
                members.entry(trace.server).or_default().push(index);
            }
        }
        for ecdsa in [false, true] {
            let runs: BTreeMap<Endpoint, Vec<Shown>> = members
                .iter()
                .map(|(member, list)| (*member, shown(report, list, ecdsa)))
                .filter(|(_, runs)| !runs.is_empty())
                .collect();
            if runs.is_empty() {
                continue;
            }
            rotations(report, &name, &runs);
            let private = runs.keys().all(|member| is_private(member.ip))
                && hosts::microsoft(&name).is_none();
            let configured = groups
                .iter()
                .take(report.settings.farms.len())
                .any(|group| {
                    group.name == name || runs.keys().all(|member| group.members.contains(member))
                });
            let grouped = runs.len() >= 2 && (private || configured);
            if grouped {
                differing(report, &name, &runs);
            }
        }
    }
}

/// A certificate that gave way to another and never came back.
fn rotations(report: &mut Report<'_>, name: &str, runs: &BTreeMap<Endpoint, Vec<Shown>>) {
    let past = report.past;
    for (server, runs) in runs {
        let [old, new] = runs.as_slice() else {
            continue;
        };
        let (Some(before), Some(after)) = (past.traces.get(old.last), past.traces.get(new.first))
        else {
            continue;
        };
        let (Some(one), Some(other)) = (past.leaf(before), past.leaf(after)) else {
            continue;
        };
        let lost: Vec<&str> = one
            .san
            .iter()
            .filter(|name| !other.san.contains(name))
            .map(AsRef::as_ref)
            .collect();
        let (severity, cause) = if lost.is_empty() {
            (Severity::Info, "")
        } else {
            (Severity::Warning, "name-lost")
        };
        let verdict = Verdict::new(severity, Confidence::Certain, cause);
        let subject = Subject::Named(format!("{name} ({server})").into());
        let lang = past.lang;
        let change = format!("{}{}", card(other, lang), key_and_issuer(one, other, lang));
        let facts = [(before, card(one, lang)), (after, change)];
        let evidence = facts
            .map(|(trace, fact)| past.evidence_of(trace, fact))
            .to_vec();
        if let Some(group) = report.tell(
            "cert-rotation",
            verdict,
            subject,
            &[old.last, new.first],
            &[],
        ) {
            group.replace_examples(severity, evidence);
            for name in lost {
                group.note("lost", name);
            }
        }
    }
}

/// What else changed with the certificate.
fn key_and_issuer(old: &Certificate, new: &Certificate, lang: Lang) -> String {
    let key = match (old.spki_sha256, new.spki_sha256) {
        (Some(one), Some(other)) if one == other => say(lang, "cert-same-key").text(),
        (Some(_), Some(_)) => say(lang, "cert-new-key").text(),
        _ => String::new(),
    };
    let issuer = match old.issuer == new.issuer {
        true => String::new(),
        false => say(lang, "cert-other-issuer").text(),
    };
    format!("{key}{issuer}")
}

/// Two traces that prove it: ten minutes side by side, or to and fro.
fn apart(report: &Report<'_>, flat: &[(&Endpoint, &Shown)]) -> Option<(usize, usize)> {
    const OVERLAP_US: i64 = 600_000_000;
    let past = report.past;
    let mut timeline: Vec<(usize, Digest<32>)> = flat
        .iter()
        .flat_map(|(_, run)| [(run.first, run.digest), (run.last, run.digest)])
        .collect();
    timeline.sort_unstable_by_key(|(index, _)| *index);
    timeline.dedup();
    let changes = timeline
        .windows(2)
        .filter(|pair| pair.first().map(|one| one.1) != pair.get(1).map(|two| two.1))
        .count();
    let time = |index: usize| past.traces.get(index).map(|trace| trace.start);
    let found = flat.iter().find_map(|(member, run)| {
        let (_, other) = flat.iter().find(|(second, later)| {
            second != member
                && later.digest != run.digest
                && time(run.last)
                    .zip(time(later.first))
                    .is_some_and(|(last, first)| last.micros_since(first) >= OVERLAP_US)
        })?;
        Some((run, other))
    });
    found
        .map(|(run, other)| (run.last, other.first))
        .or_else(|| {
            let first = flat.first()?;
            let other = flat
                .iter()
                .find(|(member, run)| *member != first.0 && run.digest != first.1.digest)?;
            (changes >= 3).then_some((first.1.last, other.1.last))
        })
}

/// Members that show different certificates at the same time, for ten minutes or to and fro.
fn differing(report: &mut Report<'_>, name: &str, runs: &BTreeMap<Endpoint, Vec<Shown>>) {
    let past = report.past;
    let flat: Vec<(&Endpoint, &Shown)> = runs
        .iter()
        .flat_map(|(member, runs)| runs.iter().map(move |run| (member, run)))
        .collect();
    let Some((one, other)) = apart(report, &flat) else {
        return;
    };
    let declared = report.settings.protects(name);
    let verdict = Verdict::new(severity_if(declared), Confidence::Certain, "");
    let rows: Vec<String> = flat
        .iter()
        .filter_map(|(member, run)| {
            let leaf = past.leaf(past.traces.get(run.last)?)?;
            Some(format!("{member}: {}", card(leaf, past.lang)))
        })
        .take(8)
        .collect();
    let evidence: Vec<_> = [one, other]
        .iter()
        .filter_map(|index| {
            let trace = past.traces.get(*index)?;
            Some(
                past.evidence_of(
                    trace,
                    say(past.lang, "cert-shown-by")
                        .with("server", trace.server)
                        .with("card", card(past.leaf(trace)?, past.lang))
                        .text(),
                ),
            )
        })
        .collect();
    if let Some(group) = report.tell(
        "farm-cert-inconsistent",
        verdict,
        Subject::Named(name.into()),
        &[one, other],
        &[],
    ) {
        group.replace_examples(verdict.severity, evidence);
        group.set("rows", &rows.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{Make, cert, diagnose, find};

    fn member(server: &str, suite: u16, at: i64) -> Make {
        Make::new().server(server).answer(0x0303, suite).at(at)
    }

    fn with_cert(server: &str, subject: &str, at: i64) -> Make {
        member(server, 0xc02f, at).certificate(cert(subject, &["www.contoso.com"]))
    }

    #[test]
    fn members_with_different_certificates() {
        let id = "farm-cert-inconsistent";
        let (a, b) = ("10.0.0.5:443", "10.0.0.6:443");
        let long = [
            with_cert(a, "CN=old", 0),
            with_cert(b, "CN=new", 10),
            with_cert(a, "CN=old", 700),
        ];
        assert!(find(&diagnose(&long), id).is_some());
        // A short overlap is a rotation in progress.
        let rotation = [
            with_cert(a, "CN=old", 0),
            with_cert(b, "CN=old", 5),
            with_cert(b, "CN=new", 10),
            with_cert(a, "CN=new", 20),
        ];
        let found = diagnose(&rotation);
        assert!(find(&found, id).is_none());
        assert_eq!(
            found
                .iter()
                .filter(|finding| finding.id == "cert-rotation")
                .count(),
            2
        );
        let same = [with_cert(a, "CN=old", 0), with_cert(b, "CN=old", 700)];
        let found = diagnose(&same);
        assert!(find(&found, id).is_none() && find(&found, "cert-rotation").is_none());
    }
}
