//! Server groups: members that answer equal hellos differently, or show different certificates for one name.
//!
//! A group is what the administrator names (authoritative), or what received one name, with private addresses only: public
//! addresses behind one name are content networks, which differ on purpose. The reason for the grouping is printed.

use super::facts::{suite_name, version_name};
use super::groups::Subject;
use super::history::Trace;
use super::names::certificate_name;
use super::survey::{Report, severity_if};
use super::text::{say, word};
use super::{Entry, Lang, Survey, Verdict, hosts};
use crate::record::{Confidence, Endpoint, Scope, Severity, Side};
use crate::tls::code_points::{NamedGroup, VersionRank};
use hashbrown::HashSet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[Entry::new(
        "farm-tls-inconsistent",
        Severity::Error,
        Scope::Farm,
        "RFC 9325; Microsoft: Exchange Extended Protection prerequisites (identical TLS settings)",
    )],
    run: tls,
}];

/// Servers that should answer alike.
pub(super) struct Group {
    pub(super) name: Box<str>,
    pub(super) reason: &'static str,
    pub(super) members: BTreeSet<Endpoint>,
}

/// The address is not reachable from the internet.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Groups of two members at least, the configured ones first.
pub(super) fn groups(report: &Report<'_>) -> Vec<Group> {
    let past = report.past;
    let mut found: Vec<Group> = Vec::new();
    for farm in &report.settings.farms {
        let members = past
            .servers
            .keys()
            .filter(|server| farm.members.iter().any(|member| member.holds(**server)))
            .copied()
            .collect();
        found.push(Group {
            name: farm.name.as_str().into(),
            reason: "configured",
            members,
        });
    }
    // Names that share their servers are one group.
    let mut seen: BTreeSet<BTreeSet<Endpoint>> = BTreeSet::new();
    let by_name = past.names().map(|(name, list)| {
        let members: HashSet<Endpoint> = past.of(list).map(|(_, trace)| trace.server).collect();
        let members: BTreeSet<Endpoint> = members.into_iter().collect();
        (Box::from(name), "same server name", members)
    });
    let others = by_dns(report).into_iter().chain(by_leaf(report));
    for (name, reason, members) in by_name.chain(others) {
        let name: Box<str> = name;
        let ports: BTreeSet<u16> = members.iter().map(|member| member.port).collect();
        let known = found
            .iter()
            .take(report.settings.farms.len())
            .any(|group| members.is_subset(&group.members))
            || !seen.insert(members.clone());
        // Servers of one name mostly show one certificate, too: they are told once.
        let known = known
            || reason != "same server name"
                && found.iter().any(|group| members.is_subset(&group.members));
        let private = members.iter().all(|member| is_private(member.ip));
        if !known && private && ports.len() == 1 && hosts::microsoft(&name).is_none() {
            found.push(Group {
                name,
                reason,
                members,
            });
        }
    }
    found.retain(|group| group.members.len() >= 2);
    found
}

type Members = (Box<str>, &'static str, BTreeSet<Endpoint>);

/// Servers whose addresses DNS gave together, by port.
fn by_dns(report: &Report<'_>) -> Vec<Members> {
    let past = report.past;
    let mut found = Vec::new();
    for lookup in &past.resolved.dns().lookups {
        let addresses: BTreeSet<IpAddr> = lookup.addresses.iter().copied().collect();
        if addresses.len() < 2 || !addresses.iter().all(|ip| is_private(*ip)) {
            continue;
        }
        let mut ports: BTreeMap<u16, BTreeSet<Endpoint>> = BTreeMap::new();
        for ip in addresses {
            let from = Endpoint { ip, port: 0 };
            let to = Endpoint { ip, port: u16::MAX };
            for (server, _) in past.servers.range(from..=to) {
                ports.entry(server.port).or_default().insert(*server);
            }
        }
        let name = || lookup.name.clone();
        found.extend(
            ports
                .into_values()
                .map(|all| (name(), "same DNS answer", all)),
        );
    }
    found
}

/// Servers that show one certificate, by port.
fn by_leaf(report: &Report<'_>) -> Vec<Members> {
    let past = report.past;
    let mut leaves: BTreeMap<(u32, u16), (BTreeSet<Endpoint>, usize)> = BTreeMap::new();
    for (server, list) in past
        .servers
        .iter()
        .filter(|(server, _)| is_private(server.ip))
    {
        let mut last = None;
        for (index, trace) in past.of(list) {
            if let Some(leaf) = trace.leaf.filter(|leaf| last != Some(*leaf)) {
                last = Some(leaf);
                let slot = leaves.entry((leaf, server.port)).or_default();
                slot.0.insert(*server);
                slot.1 = index;
            }
        }
    }
    let shared = leaves
        .into_values()
        .filter(|(members, _)| members.len() >= 2);
    shared
        .filter_map(|(members, index)| {
            let leaf = past.leaf(past.traces.get(index)?)?;
            let name = certificate_name(leaf).into();
            Some((name, "same certificate", members))
        })
        .collect()
}

/// What a member answers to one kind of hello.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answer {
    refuses: bool,
    version: Option<VersionRank>,
    suite: u16,
    alpn: Option<Box<str>>,
    protections: (bool, bool),
    /// Under TLS 1.3 it follows the client's key shares, in which equal hellos may differ; nor are there tickets.
    group: Option<u16>,
    ticket: bool,
    sentinel: bool,
}

impl Answer {
    const REFUSAL: Self = Self {
        refuses: true,
        version: None,
        suite: 0,
        alpn: None,
        protections: (false, false),
        group: None,
        ticket: false,
        sentinel: false,
    };
}

fn answer(report: &Report<'_>, trace: &Trace) -> Option<Answer> {
    if trace.failed_at_hello() && trace.outcome != crate::record::Outcome::HelloUnanswered {
        // A name that is not served here is another matter (`sni-rejected`).
        let by_name = trace.alert == Some((Side::Server, 112));
        return (!by_name).then_some(Answer::REFUSAL);
    }
    let shape = report.past.answer(trace)?;
    let is_clear = trace.negotiated < Some(VersionRank::Tls13);
    Some(Answer {
        refuses: false,
        version: trace.negotiated,
        suite: shape.cipher_suite.0,
        // Under TLS 1.3 only secrets show it, and they may be of some members alone.
        alpn: is_clear.then(|| shape.alpn.clone()).flatten(),
        protections: (shape.extended_master_secret, shape.renegotiation_info),
        group: trace.group.filter(|_| is_clear),
        ticket: is_clear && shape.session_ticket,
        sentinel: shape.downgrade_sentinel.is_some(),
    })
}

fn answer_words(answer: &Answer, attribute: &str, lang: Lang) -> String {
    if answer.refuses {
        return word(lang, "refuses").to_owned();
    }
    let mut words = format!(
        "{} {}",
        answer.version.map_or("?", version_name),
        suite_name(crate::tls::code_points::CipherSuite(answer.suite))
    );
    if let Some(alpn) = &answer.alpn {
        words.push_str(&format!(" {alpn}"));
    }
    match (attribute, answer.group) {
        ("group", Some(group)) => words.push_str(&format!(" {}", NamedGroup(group))),
        ("ticket", _) if answer.ticket => words.push_str(&say(lang, "answer-ticket").text()),
        ("sentinel", _) if answer.sentinel => {
            words.push_str(&say(lang, "answer-sentinel").text());
        }
        _ => {}
    }
    if answer.version < Some(VersionRank::Tls13) {
        let lacks = match answer.protections {
            (true, true) => return words,
            (false, true) => "extended_master_secret",
            (true, false) => "renegotiation_info",
            (false, false) => "extended_master_secret, renegotiation_info",
        };
        words.push_str(&say(lang, "answer-lacks").with("lacks", lacks).text());
    }
    words
}

/// The attribute in which two answers differ, the graver first.
fn difference(a: &Answer, b: &Answer) -> Option<(&'static str, bool)> {
    let old = |answer: &Answer| answer.version < Some(VersionRank::Tls12);
    if a.refuses != b.refuses {
        Some(("refusal", true))
    } else if a.version != b.version {
        Some(("version", old(a) != old(b)))
    } else if a.alpn != b.alpn {
        Some(("alpn", false))
    } else if a.suite != b.suite {
        let kind = |answer: &Answer| {
            crate::tls::code_points::CipherSuite(answer.suite)
                .entry()
                .map(|entry| entry.authentication)
        };
        // Another kind of certificate is another matter.
        (kind(a) == kind(b)).then_some(("suite", false))
    } else if a.protections != b.protections {
        Some(("protections", false))
    } else if a.group.is_some() && b.group.is_some() && a.group != b.group {
        Some(("group", false))
    } else if a.ticket != b.ticket {
        Some(("ticket", false))
    } else if a.sentinel != b.sentinel {
        Some(("sentinel", false))
    } else {
        None
    }
}

/// Answers of each member to one kind of hello.
type Answers = BTreeMap<Endpoint, Vec<(usize, Answer)>>;

/// `farm-tls-inconsistent`.
fn tls(report: &mut Report<'_>) {
    let past = report.past;
    for group in groups(report) {
        // By hello.key: what each member always answered, with its traces. Servers that nobody named may be there for
        // other names, too, under other rules: only hellos for one name are compared then.
        let named = group.reason == "configured";
        let mut by_hello: BTreeMap<(u32, Option<u32>), Answers> = BTreeMap::new();
        for member in &group.members {
            for (index, trace) in past.of(past.servers.get(member).map_or(&[][..], Vec::as_slice)) {
                let (Some(hello), Some(answer)) = (past.hello(trace), answer(report, trace)) else {
                    continue;
                };
                if !trace.flags.resumed && !report.is_probe(index) {
                    by_hello
                        .entry((hello.key, trace.name.filter(|_| !named)))
                        .or_default()
                        .entry(*member)
                        .or_default()
                        .push((index, answer));
                }
            }
        }
        let worst = by_hello
            .values()
            .filter_map(|members| contrast(members, past.lang))
            .max_by_key(|found| found.grave);
        // A certificate alone (a wildcard) may be on servers that have nothing else in common.
        let by_ledger =
            || (group.reason != "same certificate").then(|| by_ledger(report, &group))?;
        let Some((found, confidence)) = worst
            .map(|found| (found, Confidence::Certain))
            .or_else(|| Some((by_ledger()?, Confidence::Likely)))
        else {
            continue;
        };
        let verdict = Verdict::new(severity_if(found.grave), confidence, found.attribute);
        let subject = Subject::Named(group.name.clone());
        if let Some(told) = report.tell(
            "farm-tls-inconsistent",
            verdict,
            subject,
            &found.odd,
            &found.other,
        ) {
            told.set("reason", word(past.lang, group.reason));
            told.set("rows", &found.rows.join("; "));
        }
    }
}

/// Two members' constant but different answers to one hello.
struct Contrast {
    attribute: &'static str,
    grave: bool,
    odd: Vec<usize>,
    other: Vec<usize>,
    rows: Vec<String>,
}

/// The best that a member ever chose, with the lowest offer for which it did.
fn best(report: &Report<'_>, member: Endpoint) -> Option<(VersionRank, VersionRank, usize)> {
    let past = report.past;
    let list = past.servers.get(&member)?;
    let answers = past.of(list).filter_map(|(index, trace)| {
        Some((
            trace.negotiated?,
            core::cmp::Reverse(trace.offer_max?),
            index,
        ))
    });
    answers
        .max_by_key(|(version, offer, index)| (*version, *offer, core::cmp::Reverse(*index)))
        .map(|(version, offer, index)| (version, offer.0, index))
}

/// The weak form, where no two hellos are equal: one member never chose a version that another chose for an offer that
/// was no better.
fn by_ledger(report: &Report<'_>, group: &Group) -> Option<Contrast> {
    const ANSWERS_MIN: usize = 2;
    let past = report.past;
    let members: Vec<(Endpoint, (VersionRank, VersionRank, usize))> = group
        .members
        .iter()
        .filter_map(|member| Some((*member, best(report, *member)?)))
        .collect();
    let (_, (version, offer, example)) = members.iter().max_by_key(|(_, best)| {
        let (version, offer, _) = best;
        (*version, core::cmp::Reverse(*offer))
    })?;
    members.iter().find_map(|(member, (chosen, _, _))| {
        let list = past.servers.get(member)?;
        let chances: Vec<usize> = past
            .of(list)
            .filter(|(index, trace)| {
                trace.negotiated.is_some()
                    && trace.offer_max >= Some(*offer)
                    && !trace.flags.resumed
                    && !report.is_probe(*index)
            })
            .map(|(index, _)| index)
            .collect();
        let lags = chosen < version && chances.len() >= ANSWERS_MIN;
        lags.then(|| Contrast {
            attribute: "version-ledger",
            grave: *version >= VersionRank::Tls12 && *chosen < VersionRank::Tls12,
            odd: chances,
            other: vec![*example],
            rows: members
                .iter()
                .map(|(member, (version, _, _))| format!("{member}: {}", version_name(*version)))
                .take(12)
                .collect(),
        })
    })
}

fn contrast(members: &Answers, lang: Lang) -> Option<Contrast> {
    // A member whose own answers vary (a choice made per session) proves nothing; nor does a single answer.
    let constant: Vec<(&Endpoint, &Vec<(usize, Answer)>)> = members
        .iter()
        .filter(|(_, answers)| {
            answers.len() >= 2
                && answers
                    .windows(2)
                    .all(|pair| pair.first().map(|one| &one.1) == pair.get(1).map(|two| &two.1))
        })
        .collect();
    let mut counts: BTreeMap<&Answer, usize> = BTreeMap::new();
    for (_, answers) in &constant {
        *counts.entry(&answers.first()?.1).or_default() += 1;
    }
    // The odd one out is the rarer answer; of two members, the later address.
    let (usual, _) = counts.iter().max_by_key(|(_, count)| **count)?;
    let (_, odd) = constant.iter().find(|(_, answers)| {
        answers
            .first()
            .is_some_and(|one| difference(&one.1, usual).is_some())
    })?;
    let (_, other) = constant
        .iter()
        .find(|(_, answers)| answers.first().is_some_and(|one| one.1 == **usual))?;
    let (attribute, grave) = difference(&odd.first()?.1, usual)?;
    let traces =
        |answers: &Vec<(usize, Answer)>| answers.iter().map(|one| one.0).collect::<Vec<_>>();
    Some(Contrast {
        attribute,
        grave,
        odd: traces(odd),
        other: traces(other).into_iter().take(2).collect(),
        rows: constant
            .iter()
            .filter_map(|(member, answers)| {
                Some(format!(
                    "{member}: {}",
                    answer_words(&answers.first()?.1, attribute, lang)
                ))
            })
            .take(12)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Settings;
    use crate::findings::testing::{Make, diagnose, diagnose_with, find};
    use crate::record::{Code16, KeyExchange, Sentinel};

    fn member(server: &str, suite: u16, at: i64) -> Make {
        Make::new().server(server).answer(0x0303, suite).at(at)
    }

    #[test]
    fn equal_hellos_and_different_answers() {
        let id = "farm-tls-inconsistent";
        let (a, b) = ("10.0.0.5:443", "10.0.0.6:443");
        let same = [
            member(a, 0xc02f, 0),
            member(a, 0xc02f, 1),
            member(b, 0xc02f, 2),
            member(b, 0xc02f, 3),
        ];
        assert!(find(&diagnose(&same), id).is_none());
        let other = [
            member(a, 0xc02f, 0),
            member(a, 0xc02f, 1),
            member(b, 0xc014, 2),
            member(b, 0xc014, 3),
        ];
        let found = diagnose(&other);
        assert_eq!(find(&found, id).unwrap().severity, Severity::Warning);
        // One answer, or another kind of certificate, proves nothing.
        assert!(find(&diagnose(&other[1..3]), id).is_none());
        let dual = [
            member(a, 0xc02f, 0),
            member(a, 0xc02f, 1),
            member(b, 0xc02b, 2),
            member(b, 0xc02b, 3),
        ];
        assert!(find(&diagnose(&dual), id).is_none());
        let old = |at| Make::new().server(b).answer(0x0301, 0xc014).at(at);
        let versions = [member(a, 0xc02f, 0), member(a, 0xc02f, 1), old(2), old(3)];
        assert_eq!(
            find(&diagnose(&versions), id).unwrap().severity,
            Severity::Error
        );
    }

    #[test]
    fn what_else_differs_between_members() {
        let id = "farm-tls-inconsistent";
        let (a, b) = ("10.0.0.5:443", "10.0.0.6:443");
        type Change = fn(Make) -> Make;
        let title = |one: Change, other: Change| {
            let made = [
                one(member(a, 0xc02f, 0)),
                one(member(a, 0xc02f, 1)),
                other(member(b, 0xc02f, 2)),
                other(member(b, 0xc02f, 3)),
            ];
            let found = diagnose(&made);
            find(&found, id).map(|found| (found.severity, found.title.to_string()))
        };
        fn curve(made: Make, group: u16) -> Make {
            made.with(|record| {
                record.key_exchange = Some(KeyExchange {
                    kind: "ecdhe".into(),
                    group: Some(Code16(group)),
                    dh_bits: None,
                    signature_algorithm: None,
                });
            })
        }
        fn tls13(made: Make) -> Make {
            made.tls13().answer(0x0304, 0x1301)
        }
        let plain: Change = |made| made;
        let x25519: Change = |made| curve(made, 0x001d);
        let p256: Change = |made| curve(made, 0x0017);
        let ticket: Change = |made| made.reply(|shape| shape.session_ticket = true);
        let sentinel: Change = |made| made.sentinel(Sentinel::Tls12);
        let warns = |one: Change, other: Change, word: &str| {
            let (severity, title) = title(one, other).unwrap();
            assert_eq!(severity, Severity::Warning);
            assert!(title.contains(word), "{title}");
        };
        warns(x25519, p256, "secp256r1");
        warns(plain, ticket, "with session ticket");
        warns(sentinel, plain, "can do TLS 1.3");
        // Alike, or not seen on one side.
        for (one, other) in [
            (x25519, x25519),
            (ticket, ticket),
            (sentinel, sentinel),
            (plain, p256),
        ] {
            assert_eq!(title(one, other), None);
        }
        // Under TLS 1.3 the group follows the client's key shares, and tickets are encrypted.
        let other_share: Change =
            |made| tls13(made).reply(|shape| shape.key_share_group = Some(Code16(0x0017)));
        assert_eq!(title(tls13, other_share), None);
    }

    #[test]
    fn servers_that_nobody_named_are_compared_for_one_name() {
        let id = "farm-tls-inconsistent";
        let (a, b) = ("10.0.0.5:443", "10.0.0.6:443");
        let leaf = || crate::findings::testing::cert("CN=*.contoso.com", &["*.contoso.com"]);
        let shown = |server: &str, name: &str, suite: u16, at: i64| {
            let made = member(server, suite, at).sni(name);
            made.certificate(leaf())
        };
        // One wildcard certificate on two servers of different sites.
        let made = |name: &str| {
            [
                shown(a, "www.contoso.com", 0xc02f, 0),
                shown(a, "www.contoso.com", 0xc02f, 1),
                shown(b, name, 0xc014, 2),
                shown(b, name, 0xc014, 3),
            ]
        };
        assert!(find(&diagnose(&made("printer.contoso.com")), id).is_none());
        assert!(find(&diagnose(&made("www.contoso.com")), id).is_some());
        let named = "[[farms]]\nname = \"web\"\nmembers = [\"10.0.0.5\", \"10.0.0.6\"]";
        let settings: Settings = toml::from_str(named).unwrap();
        let found = diagnose_with(&made("printer.contoso.com"), &settings);
        assert!(find(&found, id).is_some());
        // Nor does an old device with that certificate lag behind the others.
        let old = |at| {
            let made = Make::new().suites(&[0xc014, 0xc013]).server(b);
            let made = made.sni("printer.contoso.com").answer(0x0301, 0xc014);
            made.certificate(leaf()).at(at)
        };
        let [one, two, ..] = made("www.contoso.com");
        assert!(find(&diagnose(&[one, two, old(2), old(3)]), id).is_none());
        // A name that one of them does not serve is no refusal of the hello.
        let refused = |at| {
            let made = Make::new()
                .server(b)
                .outcome(crate::record::Outcome::ServerAlert);
            made.alert(Side::Server, 112).at(at)
        };
        let served = [
            member(a, 0xc02f, 0),
            member(a, 0xc02f, 1),
            refused(2),
            refused(3),
        ];
        assert!(find(&diagnose_with(&served, &settings), id).is_none());
    }

    #[test]
    fn a_member_that_lags_behind_for_other_hellos() {
        let id = "farm-tls-inconsistent";
        let (a, b) = ("10.0.0.5:443", "10.0.0.6:443");
        // No two hellos are equal: each client has suites of its own.
        let made = |server: &str, suites: &[u16], version: u16, suite: u16, at: i64| {
            let made = Make::new().suites(suites).server(server);
            made.answer(version, suite).at(at)
        };
        let good = made(a, &[0xc02f, 0xc014], 0x0303, 0xc02f, 0);
        let lags = [
            good.clone(),
            made(b, &[0xc030, 0xc014], 0x0301, 0xc014, 1),
            made(b, &[0xc02b, 0xc014], 0x0301, 0xc014, 2),
        ];
        let found = diagnose(&lags);
        let finding = find(&found, id).unwrap();
        assert_eq!(
            (finding.severity, finding.confidence),
            (Severity::Error, Confidence::Likely)
        );
        assert!(finding.title.contains("TLS 1.0"), "{}", finding.title);
        // One chance is not enough; nor is an offer that was worse than the one that the other answered.
        assert!(find(&diagnose(&lags[..2]), id).is_none());
        let worse = [
            good,
            made(b, &[0xc014, 0x0035], 0x0301, 0xc014, 1).offer(0x0301),
            made(b, &[0xc013, 0x0035], 0x0301, 0xc013, 2).offer(0x0301),
        ];
        assert!(find(&diagnose(&worse), id).is_none());
        // It once did as well as the other.
        let mut well = lags.to_vec();
        well.push(made(b, &[0xc02f, 0xc013], 0x0303, 0xc02f, 3));
        assert!(find(&diagnose(&well), id).is_none());
    }

    #[test]
    fn public_addresses_are_no_farm_unless_named() {
        let id = "farm-tls-inconsistent";
        let (a, b) = ("192.0.2.5:443", "192.0.2.5:8443");
        let made = [
            member(a, 0xc02f, 0),
            member(a, 0xc02f, 1),
            member(b, 0xc014, 2),
            member(b, 0xc014, 3),
        ];
        assert!(find(&diagnose(&made), id).is_none());
        let settings: Settings = toml::from_str(
            "[[farms]]\nname = \"web\"\nmembers = [\"192.0.2.5:443\", \"192.0.2.5:8443\"]",
        )
        .unwrap();
        let found = diagnose_with(&made, &settings);
        assert_eq!(find(&found, id).unwrap().subject.as_ref(), "web");
    }
}
