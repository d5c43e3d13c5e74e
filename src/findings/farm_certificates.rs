//! Certificates of one name at several servers: different ones at the same time, and one that gave way to another.

use super::certificate::{card, date};
use super::facts::moment;
use super::farm::{configured, is_private};
use super::groups::Subject;
use super::marks::marks;
use super::names::{certificate_name, covers};
use super::past::Past;
use super::survey::{Report, severity_if};
use super::text::say;
use super::trace::Kind;
use super::{Entry, Lang, Survey, Verdict, hosts};
use crate::record::{
    Certificate, Confidence, Digest, Endpoint, Evidence, Scope, Severity, Timestamp,
};
use hashbrown::HashSet;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

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
pub(super) fn is_ecdsa(certificate: &Certificate) -> bool {
    marks(certificate).has_ecdsa_key
}

/// The one certificate of all these kinds: mostly there is but one.
fn only<'p>(
    past: &'p Past,
    kinds: &[usize],
    leaf: impl Fn(&Kind) -> Option<&'p Certificate>,
) -> Option<Shown> {
    let mut only: Option<Shown> = None;
    for (number, kind) in past.kinds_of(kinds) {
        let Some(leaf) = leaf(&kind) else { continue };
        let mut traces = past.by_kind.of(number);
        let (first, last) = (traces.clone().next()?, traces.next_back()?);
        match &mut only {
            None => {
                only = Some(Shown {
                    digest: leaf.sha256,
                    first,
                    last,
                });
            }
            Some(shown) if shown.digest == leaf.sha256 => {
                shown.first = shown.first.min(first);
                shown.last = shown.last.max(last);
            }
            Some(_) => return None,
        }
    }
    only
}

/// Certificates in order of time at one endpoint for one name, with each change.
fn shown(past: &Past, kinds: &[usize], ecdsa: bool) -> Vec<Shown> {
    let fits = |leaf: &&Certificate| is_ecdsa(leaf) == ecdsa && !leaf.malformed;
    let leaf = |kind: &Kind| past.leaf(kind).filter(fits);
    if let Some(only) = only(past, kinds, leaf) {
        return vec![only];
    }
    let mut runs: Vec<Shown> = Vec::new();
    for index in past.in_order(kinds, |kind| leaf(kind).is_some()) {
        let Some(leaf) = past.kind(index).and_then(|kind| leaf(&kind)) else {
            continue;
        };
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
    let mut farms = configured(report);
    farms.retain(|farm| farm.members.len() >= 2);
    let mut names: Vec<(Box<str>, Cow<'_, [usize]>)> = past
        .names()
        .map(|(name, all)| (name.into(), all.kinds.as_slice().into()))
        .collect();
    let by_name = names.len();
    for farm in &farms {
        let kinds = farm.members.iter().flat_map(|member| past.kinds_at(member));
        for kinds in by_service(past, kinds.copied()) {
            names.push((farm.name.clone(), kinds.into()));
        }
    }
    // A farm that is asked for by one name would be told twice.
    let mut told: HashSet<(usize, usize)> = HashSet::new();
    for (place, (name, kinds)) in names.into_iter().enumerate() {
        let shows = past.kinds_of(&kinds).filter(|(_, kind)| {
            kind.leaf.is_some()
                && !kind.flags.tunnelled()
                && !report.settings.internal_ports.contains(&kind.server.port)
        });
        let mut shows: Vec<usize> = shows.map(|(number, _)| number).collect();
        let members: Vec<(Endpoint, &[usize])> = past.by_server(&mut shows).collect();
        for ecdsa in [false, true] {
            let mut runs: BTreeMap<Endpoint, Vec<Shown>> = members
                .iter()
                .map(|(member, kinds)| (*member, shown(past, kinds, ecdsa)))
                .filter(|(_, runs)| !runs.is_empty())
                .collect();
            if runs.is_empty() {
                continue;
            }
            rotations(report, &name, &runs);
            let private = runs.keys().all(|member| is_private(member.ip))
                && hosts::microsoft(&name).is_none();
            let is_configured = farms.iter().any(|farm| {
                farm.name == name || runs.keys().all(|member| farm.members.contains(member))
            });
            if place < by_name && (private || is_configured) {
                one_address(report, &name, &runs);
            }
            if runs.len() < 2 || !(private || is_configured) {
                continue;
            }
            // Whom nobody named may be a proxy of the others; that is looked up where it matters.
            let mut pair = apart(report, &runs);
            if !is_configured && pair.is_some() {
                let servers: BTreeSet<Endpoint> = runs.keys().copied().collect();
                let bridges = report.bridges();
                runs.retain(|server, _| !bridges.leads_to(*server, &servers));
                pair = apart(report, &runs).filter(|_| runs.len() >= 2);
            }
            if let Some(pair) = pair.filter(|pair| told.insert(*pair)) {
                differing(report, &name, &runs, pair);
            }
        }
    }
}

/// The kinds of a farm's members, apart where their certificates have no name in common: one server has several services,
/// and a certificate for each.
fn by_service(past: &Past, kinds: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
    let mut services: Vec<(BTreeSet<&str>, Vec<usize>)> = Vec::new();
    for (number, kind) in kinds.filter_map(|number| Some((number, past.kinds.get(number)?))) {
        let Some(leaf) = past.leaf(&kind) else {
            continue;
        };
        let subject = leaf.subject.as_deref().filter(|_| leaf.san.is_empty());
        let mut names: BTreeSet<&str> = leaf.san.iter().map(AsRef::as_ref).collect();
        names.extend(subject);
        let mut own = vec![number];
        services.retain_mut(|(others, kinds)| {
            let is_same = !others.is_disjoint(&names);
            if is_same {
                names.append(others);
                own.append(kinds);
            }
            !is_same
        });
        services.push((names, own));
    }
    services.into_iter().map(|(_, kinds)| kinds).collect()
}

/// A certificate that gave way to another and never came back.
fn rotations(report: &mut Report<'_>, name: &str, runs: &BTreeMap<Endpoint, Vec<Shown>>) {
    let past = report.past;
    for (server, runs) in runs {
        // One that comes back is no change, but two servers behind one address.
        let mut seen = HashSet::new();
        if !runs.iter().all(|run| seen.insert(run.digest)) {
            continue;
        }
        let [.., old, new] = runs.as_slice() else {
            continue;
        };
        let (Some(before), Some(after)) = (past.trace(old.last), past.trace(new.first)) else {
            continue;
        };
        let (Some(one), Some(other)) = (past.leaf(&before), past.leaf(&after)) else {
            continue;
        };
        let change = Change::between(one, other);
        let (severity, cause) = (change.severity(), change.cause());
        let verdict = Verdict::new(severity, Confidence::Certain, cause);
        let subject = Subject::Named(format!("{name} ({server})").into());
        let lang = past.lang;
        let traces = [old.last, new.first];
        if let Some(group) =
            report.tell_without_evidence("cert-rotation", verdict, subject, &traces)
        {
            let words = format!("{}{}", card(other, lang), change.key_and_issuer(lang));
            let facts = [(before, card(one, lang)), (after, words)];
            let evidence = facts.map(|(trace, fact)| past.evidence_of(&trace, fact));
            group.replace_examples(severity, evidence.to_vec());
            for name in change.lost {
                group.note("lost", name);
            }
        }
    }
}

/// One certificate that gave way to another.
pub(super) struct Change<'c> {
    old: &'c Certificate,
    new: &'c Certificate,
    /// Names that the new one lacks.
    pub(super) lost: Vec<&'c str>,
}

impl<'c> Change<'c> {
    pub(super) fn between(old: &'c Certificate, new: &'c Certificate) -> Self {
        // A wildcard in its place keeps the name.
        let lost = old.san.iter().filter(|name| !covers(new, name));
        Self {
            lost: lost.map(AsRef::as_ref).collect(),
            old,
            new,
        }
    }

    pub(super) fn severity(&self) -> Severity {
        match self.lost.is_empty() {
            true => Severity::Info,
            false => Severity::Warning,
        }
    }

    pub(super) fn cause(&self) -> &'static str {
        if self.lost.is_empty() {
            ""
        } else {
            "name-lost"
        }
    }

    /// What else changed with the certificate.
    pub(super) fn key_and_issuer(&self, lang: Lang) -> String {
        let key = match (self.old.spki_sha256, self.new.spki_sha256) {
            (Some(one), Some(other)) if one == other => say(lang, "cert-same-key").text(),
            (Some(_), Some(_)) => say(lang, "cert-new-key").text(),
            _ => String::new(),
        };
        let issuer = match self.old.issuer == self.new.issuer {
            true => String::new(),
            false => say(lang, "cert-other-issuer").text(),
        };
        format!("{key}{issuer}")
    }
}

/// Two traces that prove that members differed: one still shows its certificate when another has shown a different one for
/// ten minutes; or they take turns. What was not seen again afterwards may have changed at once, unless it has the newer one
/// by its dates.
fn apart(report: &Report<'_>, runs: &BTreeMap<Endpoint, Vec<Shown>>) -> Option<(usize, usize)> {
    const OVERLAP_US: i64 = 600_000_000;
    /// Each is compared with each.
    const COMPARED_MAX: usize = 256;
    let mut digests = runs.values().flatten().map(|run| run.digest);
    let first = digests.next()?;
    if digests.all(|digest| digest == first) {
        return None;
    }
    let time = |index: usize| report.past.trace(index).map(|trace| trace.own.start);
    let mut widest: Option<(i64, (usize, usize))> = None;
    for (member, own) in runs.iter().take(COMPARED_MAX) {
        for run in own {
            let others = runs.iter().take(COMPARED_MAX);
            for (_, others) in others.filter(|(other, _)| *other != member) {
                for (place, other) in others.iter().enumerate() {
                    // Until the other one changed again; of a roll-out in progress each change is seen once.
                    let next = others.get(place + 1).and_then(|next| time(next.first));
                    let (Some(last), Some(first)) = (time(run.last), time(other.first)) else {
                        continue;
                    };
                    let end = next.map_or(last, |next| last.min(next));
                    let overlap = end.micros_since(first);
                    let differ = run.digest != other.digest
                        && overlap >= OVERLAP_US
                        && lags(report.past, run, other);
                    if differ && widest.is_none_or(|(known, _)| overlap > known) {
                        widest = Some((overlap, (run.last, other.first)));
                    }
                }
            }
        }
    }
    widest.map(|(_, pair)| pair).or_else(|| in_turns(runs))
}

/// A certificate is the older one of two: by its dates, or else by who was seen first.
fn lags(past: &Past, one: &Shown, other: &Shown) -> bool {
    let begin = |run: &Shown| {
        let shown = past.kind(run.first)?;
        past.leaf(&shown)?.not_before
    };
    match begin(one).zip(begin(other)) {
        Some((one, other)) if one != other => one < other,
        _ => one.first <= other.first,
    }
}

/// Members that never changed their certificates, seen in turns: the first, another, and the first again.
fn in_turns(runs: &BTreeMap<Endpoint, Vec<Shown>>) -> Option<(usize, usize)> {
    const CHANGES_MIN: usize = 3;
    let constant: Vec<&Shown> = runs
        .values()
        .filter_map(|runs| match runs.as_slice() {
            [only] => Some(only),
            _ => None,
        })
        .collect();
    let mut timeline: Vec<(usize, Digest<32>)> = constant
        .iter()
        .flat_map(|run| [(run.first, run.digest), (run.last, run.digest)])
        .collect();
    timeline.sort_unstable_by_key(|(index, _)| *index);
    timeline.dedup();
    let differs = |pair: &&[(usize, Digest<32>)]| matches!(pair, [one, other] if one.1 != other.1);
    if timeline.windows(2).filter(differs).count() < CHANGES_MIN {
        return None;
    }
    let one = constant.first()?;
    let other = constant.iter().find(|run| run.digest != one.digest)?;
    Some((one.last, other.last))
}

/// What members showed at a time: each certificate with those that had it, the one of most members first.
fn state(report: &Report<'_>, runs: &BTreeMap<Endpoint, Vec<Shown>>, at: Timestamp) -> Vec<String> {
    let past = report.past;
    let mut found: Vec<(Digest<32>, String, Vec<String>)> = Vec::new();
    for (member, runs) in runs {
        let begun = |run: &&Shown| {
            let first = past.trace(run.first);
            first.is_some_and(|trace| trace.own.start <= at)
        };
        let Some(run) = runs.iter().rev().find(begun).or(runs.first()) else {
            continue;
        };
        let leaf = past.kind(run.last).and_then(|kind| past.leaf(&kind));
        let Some(leaf) = leaf else { continue };
        let member = member.to_string();
        match found.iter_mut().find(|(digest, ..)| *digest == run.digest) {
            Some((_, _, members)) => members.push(member),
            None => found.push((run.digest, short_card(leaf, past.lang), vec![member])),
        }
    }
    found.sort_by_key(|(_, _, members)| core::cmp::Reverse(members.len()));
    let rows = found.iter().take(ROWS_MAX);
    rows.map(|(_, card, members)| format!("{card}: {}", shortened(members)))
        .collect()
}

/// Certificates told apart in the words, and members of each.
const ROWS_MAX: usize = 8;

fn shortened(members: &[String]) -> String {
    let shown = members.iter().take(ROWS_MAX).map(String::as_str);
    let shown: Vec<&str> = shown.collect();
    match members.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{}, … (+{more})", shown.join(", ")),
    }
}

/// Name, end and thumbprint: what an administrator compares.
fn short_card(certificate: &Certificate, lang: Lang) -> String {
    say(lang, "cert-short")
        .with("certificate", certificate_name(certificate))
        .with("end", date(certificate.not_after))
        .with("thumbprint", certificate.sha1)
        .text()
}

/// Members that show different certificates at the same time, for ten minutes or in turns.
fn differing(
    report: &mut Report<'_>,
    name: &str,
    runs: &BTreeMap<Endpoint, Vec<Shown>>,
    (one, other): (usize, usize),
) {
    let past = report.past;
    // A member that lags behind until its certificate has ended fails for everybody.
    let grave =
        report.settings.protects(name) || (runs.values().flatten()).any(|run| has_ended(past, run));
    let verdict = Verdict::new(severity_if(grave), Confidence::Certain, "");
    let at = past.trace(one);
    let at = at.map_or(Timestamp(0), |trace| trace.own.start);
    let rows = state(report, runs, at);
    // Those that prove it stand first.
    let proves = |run: &Shown| {
        [run.first, run.last]
            .iter()
            .any(|end| [one, other].contains(end))
    };
    let mut all: Vec<&Shown> = runs.values().flatten().collect();
    all.sort_by_key(|run| !proves(run));
    let evidence = shown_by(past, all);
    if let Some(group) = report.tell_without_evidence(
        "farm-cert-inconsistent",
        verdict,
        Subject::Named(name.into()),
        &[one, other],
    ) {
        group.replace_examples(verdict.severity, evidence);
        group.set("rows", &rows.join("; "));
    }
}

/// A certificate had ended when it was shown.
fn has_ended(past: &Past, run: &Shown) -> bool {
    let trace = past.trace(run.last);
    let leaf = trace.and_then(|trace| past.leaf(&trace)?.not_after.zip(Some(trace.own.start)));
    leaf.is_some_and(|(end, seen)| end < seen)
}

/// Which server showed which certificate from when to when, as evidence.
fn shown_by<'r>(past: &Past, runs: impl IntoIterator<Item = &'r Shown>) -> Vec<Evidence> {
    let words = |run: &Shown| {
        let (first, last) = (past.trace(run.first)?, past.trace(run.last)?);
        let fact = say(past.lang, "cert-shown-by")
            .with("server", last.server)
            .with("card", card(past.leaf(&last)?, past.lang))
            .with("first", moment(first.own.start));
        let fact = match run.first == run.last {
            true => fact.and("cert-seen-once"),
            false => fact
                .and("cert-seen-until")
                .with("last", moment(last.own.start)),
        };
        Some(past.evidence_of(&last, fact.text()))
    };
    runs.into_iter().take(ROWS_MAX).filter_map(words).collect()
}

/// `farm-cert-inconsistent` behind one address: a balancer that passes TLS through hides its servers, but certificates that
/// come in turns show that there are several.
fn one_address(report: &mut Report<'_>, name: &str, runs: &BTreeMap<Endpoint, Vec<Shown>>) {
    /// One, the other, and both again.
    const RUNS_MIN: usize = 4;
    let past = report.past;
    for (server, runs) in runs {
        let [.., one, other] = runs.as_slice() else {
            continue;
        };
        let comes_back = |run: &Shown| {
            runs.iter()
                .filter(|known| known.digest == run.digest)
                .count()
                > 1
        };
        if runs.len() < RUNS_MIN || !comes_back(one) || !comes_back(other) {
            continue;
        }
        let grave = report.settings.protects(name) || runs.iter().any(|run| has_ended(past, run));
        let verdict = Verdict::new(severity_if(grave), Confidence::Likely, "one-address");
        let shown = [one.last, other.last];
        let rows: Vec<String> = past
            .of(&shown)
            .filter_map(|(_, trace)| Some(short_card(past.leaf(&trace)?, past.lang)))
            .collect();
        let turns = runs.get(runs.len() - RUNS_MIN..).unwrap_or(&[]);
        let evidence = shown_by(past, turns);
        let subject = Subject::Named(format!("{name} ({server})").into());
        if let Some(group) =
            report.tell_without_evidence("farm-cert-inconsistent", verdict, subject, &shown)
        {
            group.replace_examples(verdict.severity, evidence);
            group.set("rows", &rows.join("; "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Settings;
    use crate::findings::testing::{Make, START_S, cert, diagnose, diagnose_with, find};

    fn member(server: &str, suite: u16, at: i64) -> Make {
        Make::new().server(server).answer(0x0303, suite).at(at)
    }

    fn with_cert(server: &str, subject: &str, at: i64) -> Make {
        member(server, 0xc02f, at).certificate(cert(subject, &["www.contoso.com"]))
    }

    #[test]
    fn one_address_that_shows_certificates_in_turns() {
        let id = "farm-cert-inconsistent";
        let turns = |server: &str, order: &[&str]| {
            let of = |(n, subject): (usize, &&str)| {
                with_cert(server, subject, 60 * i64::try_from(n).unwrap())
            };
            diagnose(&order.iter().enumerate().map(of).collect::<Vec<_>>())
        };
        let found = turns("10.0.0.20:443", &["CN=a", "CN=b", "CN=a", "CN=a", "CN=b"]);
        let finding = find(&found, id).unwrap();
        assert_eq!(
            (finding.severity, finding.confidence),
            (Severity::Warning, Confidence::Likely)
        );
        assert!(finding.title.contains("10.0.0.20:443"), "{}", finding.title);
        // A change, one that was taken back, and a public address, which has many servers.
        for order in [
            &["CN=a", "CN=a", "CN=b", "CN=b"][..],
            &["CN=a", "CN=b", "CN=a"],
        ] {
            assert!(
                find(&turns("10.0.0.20:443", order), id).is_none(),
                "{order:?}"
            );
        }
        let order = ["CN=a", "CN=b", "CN=a", "CN=b"];
        assert!(find(&turns("198.51.100.20:443", &order), id).is_none());
    }

    #[test]
    fn a_farm_may_have_a_certificate_for_each_service() {
        let id = "farm-cert-inconsistent";
        let text = "[[farms]]\nname = \"exchange\"\nmembers = [\"10.0.0.5\", \"10.0.0.6\"]";
        let settings: Settings = toml::from_str(text).unwrap();
        let shown = |server: &str, name: &str, serial: &str, at: i64| {
            let shown = cert(&format!("CN={name}, OU={serial}"), &[name]);
            member(server, 0xc02f, at).sni(name).certificate(shown)
        };
        let of = |second: &'static str, serial: &'static str| -> Vec<Make> {
            let mail = (0..4).map(|n| shown("10.0.0.5:443", "mail.contoso.com", "1", n * 400));
            let other = (0..4).map(|n| shown("10.0.0.6:443", second, serial, n * 400 + 90));
            mail.chain(other).collect()
        };
        let found = diagnose_with(&of("autodiscover.contoso.com", "1"), &settings);
        assert!(find(&found, id).is_none());
        let found = diagnose_with(&of("mail.contoso.com", "2"), &settings);
        // Once, though the servers share the name and are a farm besides.
        assert_eq!(found.iter().filter(|found| found.id == id).count(), 1);
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
        let found = diagnose(&long);
        let title = &find(&found, id).unwrap().title;
        assert!(
            title.contains("CN=old until") && title.contains(": 10.0.0.5:443"),
            "{title}"
        );
        // Whose certificate comes first does not matter.
        let turned = [
            with_cert(b, "CN=old", 0),
            with_cert(a, "CN=new", 10),
            with_cert(b, "CN=old", 700),
        ];
        assert!(find(&diagnose(&turned), id).is_some());
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
        // It was done within minutes, and the capture goes on for long: nobody lags behind.
        let done = [
            with_cert(a, "CN=old", 0),
            with_cert(b, "CN=old", 5),
            with_cert(b, "CN=new", 10),
            with_cert(a, "CN=old", 15),
            with_cert(a, "CN=new", 20),
            with_cert(b, "CN=new", 7_000),
            with_cert(a, "CN=new", 7_200),
        ];
        assert!(find(&diagnose(&done), id).is_none());
        // Two that never change, in turns: a balancer sends clients to either.
        let turns = [
            with_cert(a, "CN=old", 0),
            with_cert(b, "CN=new", 10),
            with_cert(a, "CN=old", 20),
            with_cert(b, "CN=new", 30),
        ];
        assert!(find(&diagnose(&turns), id).is_some());
        assert!(find(&diagnose(&turns[..3]), id).is_none());
        let same = [with_cert(a, "CN=old", 0), with_cert(b, "CN=old", 700)];
        let found = diagnose(&same);
        assert!(find(&found, id).is_none() && find(&found, "cert-rotation").is_none());
    }

    #[test]
    fn only_what_is_seen_again_lags_behind() {
        let id = "farm-cert-inconsistent";
        let (a, b) = ("10.0.0.5:443", "10.0.0.6:443");
        // Where one was not seen again, it may have the new certificate, too.
        let unknown = |again| {
            let mut made = vec![
                with_cert(a, "CN=old", 0),
                with_cert(b, "CN=new", 10),
                with_cert(b, "CN=new", 7_000),
            ];
            made.extend(again);
            diagnose(&made)
        };
        assert!(find(&unknown(None), id).is_none());
        assert!(find(&unknown(Some(with_cert(a, "CN=new", 7_200))), id).is_none());
        // Once again, ten minutes after the other one, is enough.
        let again = |at| {
            let made = [
                with_cert(a, "CN=old", 0),
                with_cert(b, "CN=new", 10),
                with_cert(a, "CN=old", at),
            ];
            find(&diagnose(&made), id).is_some()
        };
        assert!(again(610) && !again(609));
        // The older one by its dates lags behind the newer one, in whatever order they are seen first.
        let later = |days: i64| {
            let newer = with_cert(b, "CN=new", 0).leaf(|leaf| {
                let begin = leaf.not_before.unwrap();
                leaf.not_before = Some(Timestamp(begin.0 + days * 86_400_000_000_000));
            });
            let older = [60, 1_200].map(|at| with_cert(a, "CN=old", at));
            let found = diagnose(&[&[newer], older.as_slice()].concat());
            find(&found, id).is_some()
        };
        assert!(later(1) && !later(0) && !later(-1));
        // The member with the old one may have got the new one at once.
        let [first, last] = [0, 700].map(|at| {
            with_cert(a, "CN=new", at).leaf(|leaf| {
                let begin = leaf.not_before.unwrap();
                leaf.not_before = Some(Timestamp(begin.0 + 86_400_000_000_000));
            })
        });
        let found = diagnose(&[first, with_cert(b, "CN=old", 10), last]);
        assert!(find(&found, id).is_none());
    }

    #[test]
    fn each_member_with_its_first_and_last_time() {
        let [a, b, c] = ["10.0.0.5:443", "10.0.0.6:443", "10.0.0.7:443"];
        let found = diagnose(&[
            with_cert(a, "CN=old", 0),
            with_cert(b, "CN=old", 5),
            with_cert(b, "CN=new", 10),
            with_cert(c, "CN=new", 30),
            with_cert(a, "CN=old", 700),
        ]);
        let finding = find(&found, "farm-cert-inconsistent").unwrap();
        let facts: Vec<&str> = finding.evidence.iter().map(|shown| &*shown.fact).collect();
        let tells = |all: &[&str]| {
            let mut facts = facts.iter();
            let has = facts.any(|fact| all.iter().all(|words| fact.contains(words)));
            assert!(has, "{all:?}: {facts:?}");
        };
        tells(&[a, "CN=old", "22:13:20.000 to 2023-11-14 22:25:00.000"]);
        tells(&[b, "CN=new", "22:13:30.000"]);
        tells(&[b, "CN=old", "22:13:25.000"]);
        tells(&[c, "CN=new", "22:13:50.000"]);
        assert!(!facts.iter().any(|fact| fact.contains("22:13:50.000 to")));
    }

    #[test]
    fn a_member_whose_certificate_has_ended_is_an_error() {
        let id = "farm-cert-inconsistent";
        let (a, b) = ("10.0.0.5:443", "10.0.0.6:443");
        let all = |end_s: i64| {
            let old = |at| {
                let mut leaf = cert("CN=old", &["www.contoso.com"]);
                leaf.not_after = Some(Timestamp((START_S + end_s) * 1_000_000_000));
                member(a, 0xc02f, at).certificate(leaf)
            };
            diagnose(&[old(0), with_cert(b, "CN=new", 10), old(700)])
        };
        let severity = |end_s| find(&all(end_s), id).map(|found| found.severity);
        assert_eq!(severity(600), Some(Severity::Error));
        assert_eq!(severity(800), Some(Severity::Warning));
    }

    #[test]
    fn a_certificate_that_gave_way() {
        let id = "cert-rotation";
        let shown = |subject: &str, names: &[&str], at| {
            let made = member("10.0.0.5:443", 0xc02f, at);
            made.certificate(cert(subject, names))
        };
        let old = || shown("CN=old", &["www.contoso.com", "mail.contoso.com"], 0);
        let rotated = |new: &[&str]| {
            let found = diagnose(&[old(), shown("CN=new", new, 10)]);
            find(&found, id).cloned().unwrap()
        };
        let lost = rotated(&["www.contoso.com"]);
        assert_eq!(lost.severity, Severity::Warning);
        assert!(lost.title.contains("mail.contoso.com"), "{}", lost.title);
        // The same names in capitals, or a wildcard in their place: none is lost.
        for kept in [
            &["WWW.contoso.com", "mail.contoso.com"][..],
            &["*.contoso.com"],
        ] {
            assert_eq!(rotated(kept).severity, Severity::Info, "{kept:?}");
        }
        // Twice in one capture; but one that comes back is no change.
        let third = shown("CN=third", &["www.contoso.com"], 20);
        let twice = [old(), shown("CN=new", &["www.contoso.com"], 10), third];
        assert!(find(&diagnose(&twice), id).is_some());
        let back = [
            old(),
            shown("CN=new", &["www.contoso.com"], 10),
            old().at(20),
        ];
        assert!(find(&diagnose(&back), id).is_none());
    }
}
