//! Server groups: members that answer equal hellos differently, or show different certificates for one name.
//!
//! A group is what the administrator names (authoritative), or what received one name, with private addresses only: public
//! addresses behind one name are content networks, which differ on purpose. The reason for the grouping is printed.

use super::facts::{suite_name, version_name};
use super::groups::Subject;
use super::names::certificate_name;
use super::past::Past;
use super::survey::{Report, severity_if};
use super::text::{say, word};
use super::trace::{Kind, Number};
use super::{Entry, Farm, Lang, Survey, Verdict, hosts};
use crate::record::{Confidence, Endpoint, Scope, Severity, Side};
use crate::tls::code_points::{NamedGroup, VersionRank};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry as Slot},
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

/// The groups that the configuration names.
pub(super) fn configured(report: &Report<'_>) -> Vec<Group> {
    let members = |farm: &Farm| {
        let servers = report.past.servers.keys().copied();
        servers
            .filter(|server| farm.members.iter().any(|member| member.holds(*server)))
            .collect()
    };
    let farms = report.settings.farms.iter();
    farms
        .map(|farm| Group {
            name: farm.name.as_str().into(),
            reason: "configured",
            members: members(farm),
        })
        .collect()
}

/// Groups of two members at least, the configured ones first.
fn groups(report: &Report<'_>) -> Vec<Group> {
    let past = report.past;
    let mut found = configured(report);
    // Names that share their servers are one group.
    let mut seen: BTreeSet<BTreeSet<Endpoint>> = BTreeSet::new();
    let by_name = past.names().map(|(name, all)| {
        let members = past.kinds.servers(&all.kinds).collect();
        (Box::from(name), "same server name", members)
    });
    let others = by_dns(report).into_iter().chain(by_leaf(report));
    // An explicit proxy is no member: others answer behind it.
    let tunnels = past.by_first_like(|sort| sort.flags.tunnelled());
    let proxies: BTreeSet<Endpoint> = tunnels.map(|(_, kind)| kind.server).collect();
    // Nor is one that encrypts again, of the servers behind it; that is looked up where there may be a farm.
    for (name, reason, mut members) in by_name.chain(others) {
        let name: Box<str> = name;
        members.retain(|member| !proxies.contains(member));
        if members.len() >= 2 && members.iter().any(|member| is_private(member.ip)) {
            report.bridges().set_apart(&mut members);
        }
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
    let mut leaves: BTreeMap<(Number, u16), BTreeSet<Endpoint>> = BTreeMap::new();
    for kind in past.kinds.iter().filter(|kind| is_private(kind.server.ip)) {
        if let Some(leaf) = kind.leaf {
            let members = leaves.entry((leaf, kind.server.port)).or_default();
            members.insert(kind.server);
        }
    }
    let shared = leaves.into_iter().filter(|(_, members)| members.len() >= 2);
    shared
        .filter_map(|((leaf, _), members)| {
            let name = certificate_name(past.certificate(leaf)?).into();
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

fn answer(past: &Past, kind: &Kind) -> Option<Answer> {
    // What it seems to lack may be in what the capture lacks.
    if kind.flags.malformed() {
        return None;
    }
    if kind.failed_at_hello() && kind.outcome != crate::record::Outcome::HelloUnanswered {
        // A name that is not served here is another matter (`sni-rejected`).
        let by_name = kind.alert == Some((Side::Server, 112));
        return (!by_name).then_some(Answer::REFUSAL);
    }
    let shape = past.answer(kind)?;
    let is_clear = kind.negotiated < Some(VersionRank::Tls13);
    Some(Answer {
        refuses: false,
        version: kind.negotiated,
        suite: shape.cipher_suite.0,
        // Under TLS 1.3 only secrets show it, and they may be of some members alone.
        alpn: is_clear.then(|| shape.alpn.clone()).flatten(),
        protections: (shape.extended_master_secret, shape.renegotiation_info),
        group: kind.group.filter(|_| is_clear),
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

/// `farm-tls-inconsistent`.
fn tls(report: &mut Report<'_>) {
    let past = report.past;
    for group in groups(report) {
        let worst = by_hello(report, &group)
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

/// What a member always answered, with its traces.
struct Constant {
    answer: Answer,
    traces: Vec<usize>,
}

/// A kind of hello: its key, and the name that it is for, where that counts.
type HelloFor = (u32, Option<Number>);

/// By hello: what each member always answered, at least twice. A member whose own answers vary (a choice made per
/// session) proves nothing; nor does a single answer. Servers that nobody named may be there for other names, too, under
/// other rules: only hellos for one name are compared then.
fn by_hello(
    report: &Report<'_>,
    group: &Group,
) -> BTreeMap<HelloFor, BTreeMap<Endpoint, Constant>> {
    let past = report.past;
    let named = group.reason == "configured";
    let mut found: BTreeMap<HelloFor, BTreeMap<Endpoint, Constant>> = BTreeMap::new();
    for member in &group.members {
        let mut hellos: BTreeMap<HelloFor, Option<Constant>> = BTreeMap::new();
        let kinds = past.kinds_at(member);
        for (number, kind) in past
            .kinds_of(kinds)
            .filter(|(_, kind)| !kind.flags.resumed())
        {
            let (Some(hello), Some(answer)) = (past.hello(&kind), answer(past, &kind)) else {
                continue;
            };
            let traces = past.by_kind.of(number);
            let traces: Vec<usize> = traces.filter(|index| !report.is_probe(*index)).collect();
            if traces.is_empty() {
                continue;
            }
            match hellos.entry((hello.key, kind.name.filter(|_| !named))) {
                Slot::Vacant(slot) => {
                    slot.insert(Some(Constant { answer, traces }));
                }
                Slot::Occupied(mut slot) => match slot.get_mut() {
                    Some(known) if known.answer == answer => known.traces.extend(traces),
                    varies => *varies = None,
                },
            }
        }
        for (hello, constant) in hellos {
            if let Some(mut constant) = constant.filter(|constant| constant.traces.len() >= 2) {
                constant.traces.sort_unstable();
                found.entry(hello).or_default().insert(*member, constant);
            }
        }
    }
    found
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
    let all = past.servers.get(&member)?;
    let answers = past.kinds_of(&all.kinds).filter_map(|(number, kind)| {
        Some((
            kind.negotiated?,
            core::cmp::Reverse(kind.offer_max?),
            past.by_kind.of(number).next()?,
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
        if chosen >= version {
            return None;
        }
        let all = past.servers.get(member)?;
        let mut chances = past.traces_of(&all.kinds, |kind| {
            kind.negotiated.is_some() && kind.offer_max >= Some(*offer) && !kind.flags.resumed()
        });
        chances.retain(|index| !report.is_probe(*index));
        let lags = chances.len() >= ANSWERS_MIN;
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

fn contrast(members: &BTreeMap<Endpoint, Constant>, lang: Lang) -> Option<Contrast> {
    let mut counts: BTreeMap<&Answer, usize> = BTreeMap::new();
    for constant in members.values() {
        *counts.entry(&constant.answer).or_default() += 1;
    }
    // The odd one out is the rarer answer.
    let (usual, _) = counts.iter().max_by_key(|(_, count)| **count)?;
    let mut all = members.values();
    let odd = all.find(|one| difference(&one.answer, usual).is_some())?;
    let other = members.values().find(|one| one.answer == **usual)?;
    let (attribute, grave) = difference(&odd.answer, usual)?;
    let row = |(member, one): (&Endpoint, &Constant)| {
        format!("{member}: {}", answer_words(&one.answer, attribute, lang))
    };
    Some(Contrast {
        attribute,
        grave,
        odd: odd.traces.clone(),
        other: other.traces.iter().copied().take(2).collect(),
        rows: members.iter().map(row).take(12).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Settings;
    use crate::findings::testing::{Make, cert, diagnose, diagnose_with, find};
    use crate::record::{Code16, KeyExchange, Sentinel};

    fn member(server: &str, suite: u16, at: i64) -> Make {
        Make::new().server(server).answer(0x0303, suite).at(at)
    }

    #[test]
    fn explicit_proxies_are_no_farm() {
        let tunnel = |made: Make, kind: &'static str| {
            made.with(|record| {
                record.proxy = Some(crate::record::Proxy {
                    kind: kind.into(),
                    target: Some("www.contoso.com:443".into()),
                    status: None,
                });
            })
        };
        let all = |kind| -> Vec<Make> {
            let suites = [("10.0.0.8:3128", 0xc02f), ("10.0.0.9:3128", 0xc014)];
            let of = |n: i64| {
                let (server, suite) = suites[usize::try_from(n % 2).unwrap()];
                let shown = cert(&format!("CN={server}"), &["www.contoso.com"]);
                tunnel(member(server, suite, n * 900), kind).certificate(shown)
            };
            (0..6).map(of).collect()
        };
        let ids = ["farm-tls-inconsistent", "farm-cert-inconsistent"];
        for id in ids {
            assert!(find(&diagnose(&all("http-connect")), id).is_none(), "{id}");
            // A balancer's header names the client; the servers are their own.
            assert!(find(&diagnose(&all("proxy-v2")), id).is_some(), "{id}");
        }
    }

    #[test]
    fn what_a_cut_answer_lacks_is_no_difference() {
        let id = "farm-tls-inconsistent";
        let cut = |at| {
            let made = member("10.0.0.6:443", 0xc02f, at);
            made.reply(|shape| shape.extended_master_secret = false)
        };
        let whole = |at| member("10.0.0.5:443", 0xc02f, at);
        assert!(find(&diagnose(&[whole(0), whole(1), cut(2), cut(3)]), id).is_some());
        let cut = |at| cut(at).with(|record| record.defects.push(crate::record::Defect::Malformed));
        assert!(find(&diagnose(&[whole(0), whole(1), cut(2), cut(3)]), id).is_none());
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
                    dh_group: None,
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
