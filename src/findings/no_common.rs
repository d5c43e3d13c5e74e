//! `no-common-cipher`: hellos of which the server was never seen to accept a suite, or a group for the key exchange.
//!
//! The ledger is a lower bound: "never seen to work" is never "cannot".

use super::facts::{suite_name, version_name};
use super::groups::Subject;
use super::past::{Ledger, Past};
use super::survey::{Report, pick};
use super::text::say;
use super::trace::{Kind, Number, Trace};
use super::{Entry, Lang, Survey, Verdict};
use crate::record::{Confidence, Endpoint, Outcome, Scope, Severity};
use crate::tls::code_points::{
    Authentication, CipherSuite, KeyExchange, NamedGroup, VersionRank, is_grease,
};
use hashbrown::HashMap;
use std::{collections::BTreeMap, net::IpAddr};

/// The survey: before those that only state the failure.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[Entry::new(
        "no-common-cipher",
        Severity::Error,
        Scope::Client,
        "RFC 5246 section 7.4.1.3; RFC 8446 section 4.1.1",
    )],
    run: no_common_cipher,
}];

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

/// Why a suite that was offered is out.
fn reason(suite: CipherSuite, version: VersionRank, ledger: &Ledger, lang: Lang) -> String {
    if !usable(suite, version) {
        let fact = say(lang, "suite-not-usable");
        return fact.with("version", version_name(version)).text();
    }
    let key = |suite: CipherSuite| Some(suite.entry()?.authentication);
    let mut accepted = ledger.suites.keys().map(|code| key(CipherSuite(*code)));
    let other_key = match key(suite) {
        Some(own @ (Authentication::Rsa | Authentication::Ecdsa | Authentication::Dss)) => {
            accepted.all(|known| known.is_some_and(|known| known != own))
        }
        _ => false,
    };
    let why = if other_key {
        "suite-key-differs"
    } else {
        "suite-never-chosen"
    };
    say(lang, why).text()
}

/// A server was seen to choose a suite, which can be chosen at a version.
pub(super) fn takes(ledger: &Ledger, suite: CipherSuite, version: VersionRank) -> bool {
    usable(suite, version) && ledger.suites.contains_key(&suite.0)
}

/// The first few suites of a list, for people.
pub(super) fn suite_words(suites: impl Iterator<Item = CipherSuite>) -> String {
    let names: Vec<String> = suites.take(6).map(suite_name).collect();
    names.join(", ")
}

/// Whose ledger a hello is compared with: a server's, or that of the host of this name behind an explicit proxy.
type Host = (Endpoint, Option<Number>);

/// The kinds that show what hosts behind explicit proxies can.
fn behind_proxies(past: &Past) -> HashMap<(Endpoint, Number), Vec<usize>> {
    let mut hosts: HashMap<_, Vec<usize>> = HashMap::new();
    for (number, kind) in past.by_first_like(|sort| sort.flags.tunnelled()) {
        if let Some(name) = kind.name {
            hosts.entry((kind.server, name)).or_default().push(number);
        }
    }
    hosts
}

/// Handshakes of one client with one server, those through it apart by the name behind it.
fn by_host(past: &Past, failed: Vec<usize>) -> Vec<(Option<Number>, Vec<usize>)> {
    // Mostly there is no proxy.
    if !past.of(&failed).any(|(_, trace)| trace.flags.tunnelled()) {
        return vec![(None, failed)];
    }
    // By the names themselves: their numbers tell in which order captures came.
    let mut hosts: BTreeMap<Option<&str>, (Option<Number>, Vec<usize>)> = BTreeMap::new();
    for (index, trace) in past.of(&failed) {
        let number = trace.name.filter(|_| trace.flags.tunnelled());
        let name = past.name(&trace).filter(|_| number.is_some());
        let (_, traces) = hosts.entry(name).or_insert((number, Vec::new()));
        traces.push(index);
    }
    hosts.into_values().collect()
}

/// `no-common-cipher`: nothing of what was offered was ever chosen by this server for anyone.
fn no_common_cipher(report: &mut Report<'_>) {
    let past = report.past;
    let mut ledgers: BTreeMap<Host, Ledger> = BTreeMap::new();
    let mut behind = None;
    // Upon the hello, and not by silence.
    let ends = [
        Outcome::HelloReset,
        Outcome::HelloClosed,
        Outcome::ServerAlert,
    ];
    for (client, server, list) in past.pairs.with(&ends) {
        let failed = pick(report, list, |index, trace| {
            trace.failed_at_hello()
                && trace.outcome != Outcome::HelloUnanswered
                && !report.is_explained(index)
                && !matches!(trace.alert, Some((_, code)) if code != 40 && code != 71)
                // Behind a proxy nothing else tells hosts apart.
                && (!trace.flags.tunnelled() || trace.name.is_some())
        });
        if failed.is_empty() {
            continue;
        }
        for (name, failed) in by_host(past, failed) {
            let host = (server, name);
            let ledger = ledgers.entry(host).or_insert_with(|| match name {
                None => past.ledger(past.kinds_at(&server)),
                Some(name) => {
                    let hosts = behind.get_or_insert_with(|| behind_proxies(past));
                    past.ledger(hosts.get(&(server, name)).map_or(&[][..], Vec::as_slice))
                }
            });
            no_common_suite(report, (client, host), &failed, ledger);
        }
    }
}

/// Whom it is told of. Behind a proxy a client and a name; such a name may have several servers, so that it is not certain.
fn told_of(past: &Past, client: IpAddr, (server, name): Host) -> (Subject, Confidence) {
    let name = name.and_then(|name| past.names.get(name.place()));
    match name {
        Some(name) => (Subject::Client(client, name.clone()), Confidence::Likely),
        None => (Subject::Pair(client, server), Confidence::Certain),
    }
}

/// The same for one client and host; by suites, or else by groups.
fn no_common_suite(
    report: &mut Report<'_>,
    (client, host): (IpAddr, Host),
    failed: &[usize],
    ledger: &Ledger,
) {
    let past = report.past;
    let Some(can) = ledger.can else { return };
    let has_none = |trace: &Trace<'_>| {
        let version = trace.offer_max.map_or(can, |offered| offered.min(can));
        let offered = past.offered(trace);
        // Where the server chose only suites of another version, nothing is known of this one's.
        let comparable = ledger
            .suites
            .keys()
            .any(|code| usable(CipherSuite(*code), version));
        comparable
            && !offered.is_empty()
            && !offered.iter().any(|suite| takes(ledger, *suite, version))
    };
    // Equal hellos are alike.
    let mut known: HashMap<_, bool> = HashMap::new();
    let empty: Vec<usize> = past
        .of(failed)
        .filter(|(_, trace)| {
            let hello = (trace.hello, trace.offer_max);
            *known.entry(hello).or_insert_with(|| has_none(trace))
        })
        .map(|(index, _)| index)
        .collect();
    let Some((_, example)) = past.of(&empty).next() else {
        no_common_group(report, (client, host), failed, ledger);
        return;
    };
    let alerted = example.outcome == Outcome::ServerAlert;
    // Few answers say little about what a server can.
    let confidence = match (alerted, ledger.answered >= 3) {
        (true, true) => Confidence::Certain,
        (true, false) | (false, true) => Confidence::Likely,
        (false, false) => Confidence::Possible,
    };
    let version = example.offer_max.map_or(can, |offered| offered.min(can));
    let offered: Vec<String> = past
        .offered(&example)
        .into_iter()
        .take(6)
        .map(|suite| {
            let why = reason(suite, version, ledger, past.lang);
            format!("{}: {why}", suite_name(suite))
        })
        .collect();
    let offered = offered.join(", ");
    let accepted = suite_words(ledger.suites.keys().map(|code| CipherSuite(*code)));
    let words = [("suites", offered), ("accepted", accepted)];
    let verdict = Verdict::new(Severity::Error, confidence, "");
    tell(report, (client, host), &empty, ledger, verdict, words);
}

/// Tells of one client and host, beside a handshake in which the host chose.
fn tell(
    report: &mut Report<'_>,
    (client, host): (IpAddr, Host),
    traces: &[usize],
    ledger: &Ledger,
    mut verdict: Verdict,
    words: [(&'static str, String); 2],
) {
    let contrast: Vec<usize> = ledger.suites.values().copied().take(1).collect();
    let (subject, most) = told_of(report.past, client, host);
    verdict.confidence = verdict.confidence.min(most);
    if let Some(group) = report.tell("no-common-cipher", verdict, subject, traces, &contrast) {
        for (key, words) in words {
            group.set(key, &words);
        }
        group.set("handshakes", &ledger.answered.to_string());
    }
    report.explain(traces);
}

/// Groups that a trace's client offered, without GREASE.
fn offered_groups(past: &Past, kind: &Kind) -> Vec<u16> {
    let hello = past.hello(kind);
    let groups = hello.and_then(|hello| hello.shape.supported_groups.as_deref());
    let codes = groups.unwrap_or(&[]).iter().map(|code| code.0);
    codes.filter(|code| !is_grease(*code)).collect()
}

/// The suites would do, but each of them needs a group, and of those offered the server was never seen to use one.
fn lacks_group(past: &Past, kind: &Kind, ledger: &Ledger) -> bool {
    let Some(can) = ledger.can else { return false };
    let version = kind.offer_max.map_or(can, |offered| offered.min(can));
    let offered = past.offered(kind);
    let mut common = offered
        .iter()
        .filter(|suite| takes(ledger, **suite, version))
        .peekable();
    let needs_group = |suite: &CipherSuite| {
        suite.entry().is_some_and(|entry| {
            matches!(
                entry.key_exchange,
                KeyExchange::Ecdhe | KeyExchange::EcdhePsk | KeyExchange::Tls13
            )
        })
    };
    let groups = offered_groups(past, kind);
    common.peek().is_some()
        && common.all(needs_group)
        && !groups.is_empty()
        && !groups.iter().any(|group| ledger.groups.contains(group))
}

/// `no-common-cipher` by the groups of the key exchange.
fn no_common_group(
    report: &mut Report<'_>,
    (client, host): (IpAddr, Host),
    failed: &[usize],
    ledger: &Ledger,
) {
    /// Few answers say little about which groups a server can.
    const ANSWERS_MIN: usize = 3;
    let past = report.past;
    if ledger.answered < ANSWERS_MIN || ledger.groups.is_empty() {
        return;
    }
    let traces = pick(report, failed, |_, trace| lacks_group(past, trace, ledger));
    let Some((_, example)) = past.of(&traces).next() else {
        return;
    };
    let confidence = match example.outcome {
        Outcome::ServerAlert => Confidence::Likely,
        _ => Confidence::Possible,
    };
    let words = |groups: &mut dyn Iterator<Item = u16>| {
        let names: Vec<String> = groups
            .take(8)
            .map(|code| NamedGroup(code).to_string())
            .collect();
        names.join(", ")
    };
    let offered = words(&mut offered_groups(past, &example).into_iter());
    let accepted = words(&mut ledger.groups.iter().copied());
    let words = [("groups", offered), ("groups_accepted", accepted)];
    let verdict = Verdict::new(Severity::Error, confidence, "groups");
    tell(report, (client, host), &traces, ledger, verdict, words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find};
    use crate::record::{Code16, KeyExchange as Exchange, Side};

    fn good() -> Make {
        Make::new().answer(0x0303, 0xc02f)
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
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.confidence, Confidence::Certain);
        // What was never seen is a lower bound: it says of how many handshakes.
        let mut affects = finding.affects.iter();
        assert!(
            affects.any(|line| line.contains("in 3 handshakes")),
            "{:?}",
            finding.affects
        );
        // Each suite with the reason why it is out.
        let offers = |made: Make, words: &str| {
            let mut made = vec![made];
            made.extend((0..3).map(|at| good().at(at)));
            let found = diagnose(&made);
            let affects = &find(&found, id).unwrap().affects;
            assert!(
                affects.iter().any(|line| line.contains(words)),
                "{affects:?}"
            );
        };
        offers(old().suites(&[0x009c]), "(0x009c): never chosen");
        offers(
            old().suites(&[0xc02b]),
            "(0xc02b): needs another kind of certificate",
        );
        offers(
            old().suites(&[0x1301, 0x000a]),
            "(0x1301): not usable at TLS 1.2",
        );
        assert!(find(&diagnose(&[old()]), id).is_none());
        // TLS 1.3 alone says nothing about the suites of TLS 1.2.
        let modern = || Make::new().tls13().answer(0x0304, 0x1301);
        let found = diagnose(&[modern(), modern().at(1), modern().at(2), old()]);
        assert!(find(&found, id).is_none());
        // An overlap that the ledger shows: the reason is another.
        let mut other = served;
        other.push(old().suites(&[0xc02f]));
        assert!(find(&diagnose(&other), id).is_none());
    }

    #[test]
    fn groups_without_overlap() {
        let id = "no-common-cipher";
        let groups = |list: &'static [u16]| {
            let codes = move || list.iter().map(|code| Code16(*code)).collect();
            Make::new().shape(move |shape| shape.supported_groups = Some(codes()))
        };
        let good = |suite: u16| {
            let made = groups(&[0x001d, 0x0017]).answer(0x0303, suite);
            made.with(|record| {
                record.key_exchange = Some(Exchange {
                    kind: "ecdhe".into(),
                    group: Some(Code16(0x0017)),
                    dh_bits: None,
                    dh_group: None,
                    signature_algorithm: None,
                });
            })
        };
        let refused = |list: &'static [u16], suites: &[u16]| {
            let made = groups(list).suites(suites).outcome(Outcome::ServerAlert);
            made.alert(Side::Server, 40)
        };
        let with = |bad: Make, suite: u16| {
            diagnose(&[good(suite), good(suite).at(1), good(suite).at(2), bad])
        };
        let found = with(refused(&[0x001e], &[0xc02f]), 0xc02f);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.confidence, Confidence::Likely);
        assert!(
            finding.affects.iter().any(|line| line.contains("x448")),
            "{:?}",
            finding.affects
        );
        // A group in common; a suite that needs none; few answers seen; suites that differ are the graver reason.
        assert!(find(&with(refused(&[0x001e, 0x0017], &[0xc02f]), 0xc02f), id).is_none());
        assert!(find(&with(refused(&[0x001e], &[0x009c]), 0x009c), id).is_none());
        // It was seen to use the group with TLS 1.3, where only the key share tells.
        let modern = Make::new().tls13().answer(0x0304, 0x1301);
        let modern = modern.reply(|shape| shape.key_share_group = Some(Code16(0x001e)));
        let good_twice = [good(0xc02f), good(0xc02f).at(1)];
        let found = diagnose(
            &[
                &good_twice[..],
                &[modern.at(2), refused(&[0x001e], &[0xc02f])],
            ]
            .concat(),
        );
        assert!(find(&found, id).is_none());
        let few = diagnose(&[good(0xc02f), refused(&[0x001e], &[0xc02f])]);
        assert!(find(&few, id).is_none());
        let suites = with(refused(&[0x001e], &[0xc030]), 0xc02f);
        assert!(!find(&suites, id).unwrap().title.contains("group"));
    }

    #[test]
    fn what_a_host_behind_a_proxy_was_never_seen_to_take() {
        let id = "no-common-cipher";
        let through = |made: Make, host: &str| {
            let target = format!("{host}:443");
            let made = made.sni(host).server("10.0.0.80:8080");
            made.with(|record| {
                record.proxy = Some(crate::record::Proxy {
                    kind: "http-connect".into(),
                    target: Some(target.into()),
                    status: Some(200),
                });
            })
        };
        let served = |host: &'static str| (0..3).map(move |at| through(good(), host).at(at));
        let old = |host| {
            let made = Make::new().client("10.0.0.9").suites(&[0x000a]).at(9);
            through(made.alert(Side::Server, 40), host).outcome(Outcome::ServerAlert)
        };
        let [one, other] = ["www.contoso.com", "www.fabrikam.com"];
        let with = |others: Vec<Make>| diagnose(&[others, vec![old(one)]].concat());
        let found = with(served(one).collect());
        let finding = find(&found, id).unwrap();
        assert_eq!(&*finding.subject, "10.0.0.9 → www.contoso.com");
        // A name may have several servers.
        assert_eq!(finding.confidence, Confidence::Likely);
        assert!(
            finding.title.contains("10.0.0.80:8080"),
            "{}",
            finding.title
        );
        assert!(find(&found, "hello-reset").is_none());
        // Another host of that proxy; the proxy itself; the host without the proxy, where it may be another one.
        let own = |at| good().server("10.0.0.80:8080").at(at);
        for others in [
            served(other).collect(),
            (0..3).map(own).collect(),
            (0..3).map(|at| good().sni(one).at(at)).collect(),
        ] {
            let found = with(others);
            assert!(find(&found, id).is_none());
            assert!(find(&found, "hello-reset").is_some());
        }
        // Two hosts are told apart.
        let both: Vec<Make> = served(one)
            .chain(served(other))
            .chain([old(other)])
            .collect();
        assert_eq!(with(both).iter().filter(|found| found.id == id).count(), 2);
    }
}
