//! `tls-interception-suspected` where TLS 1.3 hides the certificate: a cloud service that answers from next door.
//!
//! Clients of one network reach a name of Microsoft's cloud within two milliseconds, and are answered by a ServerHello
//! unlike those that clients of all other networks get for an equal hello, from farther away. A front end of the service
//! nearby may be of another make, too: it is *possible*, never more. Addresses within the company are left out, since a
//! service may be published there on purpose.

use super::Verdict;
use super::farm::is_private;
use super::groups::Subject;
use super::hosts;
use super::interception::network;
use super::survey::Report;
use super::text::say;
use super::trace::{Kind, Trace};
use crate::record::{Code16, Confidence, Severity};
use crate::tls::code_points::VersionRank;
use std::collections::BTreeMap;

/// A cloud's own servers are farther away than this, as a rule.
const NEAR_US: u32 = 2_000;
/// Equal answers on each side before they are believed.
const ANSWERS_MIN: usize = 2;
const PRE_SHARED_KEY: u16 = 0x29;

/// What of a ServerHello tells of its maker, for an equal hello.
#[derive(PartialEq)]
struct Make<'p> {
    suite: Code16,
    extensions: &'p [Code16],
}

/// Handshakes of one kind of hello under one name.
#[derive(Default)]
struct Answers {
    near: Vec<usize>,
    far: Vec<usize>,
}

/// Looks at each name of the cloud.
pub(super) fn near(report: &mut Report<'_>) {
    let past = report.past;
    for (name, all) in past.names() {
        if hosts::microsoft(name).is_none() && !hosts::is_strict(name, report.settings) {
            continue;
        }
        let mut by_hello: BTreeMap<u32, Answers> = BTreeMap::new();
        for (number, kind) in past
            .kinds_of(&all.kinds)
            .filter(|(_, kind)| is_hidden(kind))
        {
            let Some(hello) = past.hello(&kind) else {
                continue;
            };
            let answers = by_hello.entry(hello.key).or_default();
            for index in past.by_kind.of(number) {
                let Some(trace) = past.trace(index) else {
                    continue;
                };
                match trace.own.server_rtt.get() {
                    Some(rtt) if rtt < NEAR_US => answers.near.push(index),
                    Some(_) => answers.far.push(index),
                    None => {}
                }
            }
        }
        let both = |answers: &Answers| {
            answers.near.len() >= ANSWERS_MIN && answers.far.len() >= ANSWERS_MIN
        };
        let odd = by_hello.into_values().filter(both).find_map(|mut answers| {
            answers.near.sort_unstable();
            answers.far.sort_unstable();
            is_odd(report, &answers).then_some(answers)
        });
        if let Some(answers) = odd {
            tell(report, name, &answers);
        }
    }
}

/// A full handshake over TLS 1.3 whose certificate no secrets opened.
fn is_hidden(kind: &Kind) -> bool {
    kind.negotiated == Some(VersionRank::Tls13)
        && kind.leaf.is_none()
        && !kind.flags.resumed()
        && !kind.flags.retried()
        && !is_private(kind.server.ip)
}

fn make<'p>(report: &Report<'p>, kind: &Kind) -> Option<Make<'p>> {
    let answer = report.past.answer(kind)?;
    let resumed = answer
        .extensions
        .iter()
        .any(|code| code.0 == PRE_SHARED_KEY);
    (!resumed).then_some(Make {
        suite: answer.cipher_suite,
        extensions: &answer.extensions,
    })
}

/// All near answers are alike, none of the others is like them, and no network has both.
fn is_odd(report: &Report<'_>, answers: &Answers) -> bool {
    let past = report.past;
    let makes = |list: &'_ [usize]| -> Vec<Option<Make<'_>>> {
        past.of(list)
            .map(|(_, trace)| make(report, &trace))
            .collect()
    };
    let (near, far) = (makes(&answers.near), makes(&answers.far));
    let Some(Some(odd)) = near.first() else {
        return false;
    };
    let alike = |one: &Option<Make<'_>>| one.as_ref() == Some(odd);
    let networks = |list: &[usize]| -> Vec<_> {
        past.of(list)
            .map(|(_, trace)| network(*trace.client))
            .collect()
    };
    let elsewhere = networks(&answers.far);
    near.iter().all(alike)
        && !far.iter().any(alike)
        && !networks(&answers.near)
            .iter()
            .any(|own| elsewhere.contains(own))
}

fn tell(report: &mut Report<'_>, name: &str, answers: &Answers) {
    let past = report.past;
    let verdict = Verdict::new(Severity::Warning, Confidence::Possible, "near-and-unlike");
    let fact = |trace: &Trace<'_>| {
        let answer = past.answer(trace)?;
        let extensions: Vec<String> = answer
            .extensions
            .iter()
            .map(|code| format!("{:#06x}", code.0))
            .collect();
        let words = say(past.lang, "near-answer")
            .with("client", *trace.client)
            .with("server", trace.server)
            .with("rtt", milliseconds(trace.own.server_rtt.get()?))
            .with("suite", super::facts::suite_name(past.suite(trace)?))
            .with("extensions", extensions.join(" "));
        Some(past.evidence_of(trace, words.text()))
    };
    let shown = answers
        .near
        .iter()
        .take(2)
        .chain(answers.far.iter().take(2));
    let evidence = shown
        .filter_map(|index| fact(&past.trace(*index)?))
        .collect();
    let farthest = past
        .of(&answers.near)
        .filter_map(|(_, trace)| trace.own.server_rtt.get())
        .max();
    let subject = Subject::Named(name.into());
    let id = "tls-interception-suspected";
    if let Some(group) = report.tell_without_evidence(id, verdict, subject, &answers.near) {
        group.replace_examples(verdict.severity, evidence);
        group.set("name", name);
        group.set("rtt", &milliseconds(farthest.unwrap_or(0)));
    }
}

/// As `0.4 ms`.
fn milliseconds(us: u32) -> String {
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find};
    use crate::record::Finding;

    const NAME: &str = "login.microsoftonline.com";

    fn answered(client: &str, rtt_us: i64, suite: u16) -> Make {
        Make::new()
            .tls13()
            .sni(NAME)
            .client(client)
            .server("192.0.2.80:443")
            .answer(0x0304, suite)
            .tcp(|tcp| tcp.rtt_server_us = Some(rtt_us))
    }

    fn suspected(made: &[Make]) -> Option<Finding> {
        let found = diagnose(made);
        find(&found, "tls-interception-suspected").cloned()
    }

    /// Two answers from next door, two from afar.
    fn two_networks() -> [Make; 4] {
        [
            answered("10.0.1.7", 400, 0x1301),
            answered("10.0.1.8", 1_900, 0x1301).at(1),
            answered("10.0.2.7", 21_000, 0x1302).at(2),
            answered("10.0.3.7", 30_000, 0x1302).at(3),
        ]
    }

    #[test]
    fn a_cloud_service_that_answers_from_next_door() {
        let found = suspected(&two_networks()).unwrap();
        assert_eq!(found.confidence, Confidence::Possible);
        assert!(found.title.contains("1.9 ms"), "{}", found.title);
        assert!(found.evidence[0].fact.contains("0.4 ms"));
        assert!(
            found
                .evidence
                .iter()
                .any(|one| one.fact.contains("30.0 ms"))
        );
    }

    #[test]
    fn near_alone_or_unlike_alone_says_nothing() {
        let silent = |change: &dyn Fn(usize, Make) -> Make| {
            let made: Vec<Make> = two_networks()
                .into_iter()
                .enumerate()
                .map(|(index, made)| change(index, made))
                .collect();
            assert!(suspected(&made).is_none());
        };
        // A front end of the service nearby, which answers as all of them do.
        silent(&|_, made| made.reply(|shape| shape.cipher_suite = Code16(0x1301)));
        // Two makes of front ends, both far away; or just so far.
        silent(&|_, made| made.tcp(|tcp| tcp.rtt_server_us = tcp.rtt_server_us.max(Some(2_000))));
        // Nothing else to compare with, or one answer only.
        assert!(suspected(&two_networks()[..2]).is_none());
        assert!(suspected(&two_networks()[..3]).is_none());
        assert!(suspected(&two_networks()[1..]).is_none());
        // Another hello may get another answer.
        silent(&|index, made| if index < 2 { made.alpn(&["h2"]) } else { made });
        // One network sees both: two front ends.
        silent(&|_, made| made.client("10.0.1.9"));
        // The near ones are not of one make.
        silent(&|index, made| match index {
            1 => made.reply(|shape| shape.cipher_suite = Code16(0x1303)),
            _ => made,
        });
        // Published within the company; no cloud's name; the round trip is that to a proxy, or was not seen.
        silent(&|_, made| made.server("10.0.0.80:443"));
        silent(&|_, made| made.sni("www.contoso.com"));
        silent(&|_, made| {
            made.with(|record| {
                record.proxy = Some(crate::record::Proxy {
                    kind: "http-connect".into(),
                    target: Some(format!("{NAME}:443").into()),
                    status: Some(200),
                });
            })
        });
        silent(&|_, made| made.tcp(|tcp| tcp.rtt_server_us = None));
    }
}
