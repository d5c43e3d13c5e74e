//! What many handshakes show together: servers that would break HTTP/2, resumption, retries, mixed clients, probes, and how
//! good the captures are.
//!
//! These are the quiet ones: mostly worth knowing, and the base on which other findings are trusted.

use super::facts::{suite_name, version_name};
use super::groups::Subject;
use super::history::Hello;
use super::history::Trace;
use super::http2::is_permitted;
use super::names::certificate_name;
use super::past::Past;
use super::stack::Stack;
use super::survey::Report;
use super::text::word;
use super::{Entry, Survey, Verdict};
use crate::record::{Confidence, Scope, Severity};
use crate::tls::code_points::{CipherSuite, VersionRank};
use hashbrown::HashMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[
    Survey {
        entries: &[Entry::new(
            "h2-cipher-order-risk",
            Severity::Warning,
            Scope::Server,
            "RFC 9113 section 9.2.2; Microsoft KB4032720",
        )],
        run: order_risk,
    },
    Survey {
        entries: &[],
        run: better_versions,
    },
    Survey {
        entries: &[],
        run: leaf_alone,
    },
    Survey {
        entries: &[],
        run: super::certificate::accepted_by_others,
    },
    Survey {
        entries: &[Entry::new(
            "resumption-low",
            Severity::Info,
            Scope::Server,
            "RFC 5077; RFC 8446 section 2.2",
        )],
        run: resumption,
    },
    Survey {
        entries: &[Entry::new(
            "tls13-hello-retry",
            Severity::Info,
            Scope::Server,
            "RFC 8446 section 4.1.4",
        )],
        run: hello_retry,
    },
    Survey {
        entries: &[Entry::new(
            "same-client-mixed-offers",
            Severity::Info,
            Scope::Client,
            "RFC 8996",
        )],
        run: mixed_offers,
    },
    Survey {
        entries: &[Entry::new(
            "health-probe",
            Severity::Info,
            Scope::Client,
            "RFC 9293 section 3.5",
        )],
        run: probes,
    },
];

/// `h2-cipher-order-risk`: a prohibited suite where a permitted one, which this server is seen to choose for others, was
/// offered too.
fn order_risk(report: &mut Report<'_>) {
    let past = report.past;
    for (server, list) in &past.servers {
        let ledger = past.ledger(list);
        let permitted: BTreeMap<u16, usize> = ledger
            .suites
            .iter()
            .filter(|(code, _)| is_permitted(CipherSuite(**code)))
            .map(|(code, index)| (*code, *index))
            .collect();
        let skipped = |trace: &Trace| {
            let chosen = past.suite(trace)?;
            let kind = chosen.entry()?.authentication;
            past.offered(trace).into_iter().find(|suite| {
                permitted.contains_key(&suite.0)
                    && suite
                        .entry()
                        .is_some_and(|entry| entry.authentication == kind)
            })
        };
        if permitted.is_empty() {
            continue;
        }
        // Equal hellos with equal answers are alike: a server has few kinds of them.
        let mut known: HashMap<(Option<u32>, Option<u32>), bool> = HashMap::new();
        let mut is_risky = |trace: &Trace| {
            *known.entry((trace.hello, trace.answer)).or_insert_with(|| {
                past.answer(trace)
                    .is_some_and(|answer| answer.alpn.as_deref() != Some("h2"))
                    && past.suite(trace).is_some_and(CipherSuite::is_h2_prohibited)
                    && skipped(trace).is_some()
            })
        };
        let risky: Vec<usize> = past
            .of(list)
            .filter(|(_, trace)| trace.negotiated == Some(VersionRank::Tls12) && is_risky(trace))
            .map(|(index, _)| index)
            .collect();
        let Some((_, example)) = past.of(&risky).next() else {
            continue;
        };
        let (Some(taken), Some(better)) = (past.suite(example), skipped(example)) else {
            continue;
        };
        let contrast: Vec<usize> = permitted.get(&better.0).copied().into_iter().collect();
        let verdict = Verdict::new(Severity::Warning, Confidence::Likely, "");
        if let Some(group) = report.tell(
            "h2-cipher-order-risk",
            verdict,
            Subject::Server(*server),
            &risky,
            &contrast,
        ) {
            group.set("suite", &suite_name(taken));
            group.set("permitted", &suite_name(better));
        }
    }
}

/// What other handshakes prove about `server-version-limited` and `client-version-limited`.
fn better_versions(report: &mut Report<'_>) {
    let past = report.past;
    for (subject, group) in report.groups.of("server-version-limited") {
        let Subject::Server(server) = subject else {
            continue;
        };
        let ledger = past.servers.get(server).map(|list| past.ledger(list));
        if ledger.and_then(|ledger| ledger.can) >= Some(VersionRank::Tls12) {
            group.raise(Verdict::new(Severity::Warning, Confidence::Certain, ""));
        }
    }
}

/// `cert-chain-incomplete`: a leaf alone, where its issuer is seen elsewhere as an intermediate.
fn leaf_alone(report: &mut Report<'_>) {
    let past = report.past;
    let intermediates = past.intermediates();
    for (server, list) in &past.servers {
        if report.settings.internal_ports.contains(&server.port) {
            continue;
        }
        let alone: Vec<usize> = past
            .of(list)
            .filter(|(_, trace)| {
                trace.chain == 1
                    && trace.alert.is_none_or(|(_, code)| code != 48)
                    && past.leaf(trace).is_some_and(|leaf| {
                        !leaf.self_signed
                            && leaf
                                .issuer
                                .as_deref()
                                .is_some_and(|issuer| intermediates.contains(issuer))
                    })
            })
            .map(|(index, _)| index)
            .collect();
        let Some(leaf) = past
            .of(&alone)
            .next()
            .and_then(|(_, trace)| past.leaf(trace))
        else {
            continue;
        };
        let verdict = Verdict::new(Severity::Warning, Confidence::Likely, "leaf-only");
        if let Some(group) = report.tell(
            "cert-chain-incomplete",
            verdict,
            Subject::Server(*server),
            &alone,
            &[],
        ) {
            group.set("certificate", &certificate_name(leaf));
            group.set("issuer", leaf.issuer.as_deref().unwrap_or("?"));
        }
    }
}

/// `resumption-low`.
fn resumption(report: &mut Report<'_>) {
    const OFFERS_MIN: usize = 50;
    let past = report.past;
    for (server, list) in &past.servers {
        let offered: Vec<usize> = past
            .of(list)
            .filter(|(index, trace)| {
                trace.flags.offered_resumption && trace.is_complete() && !report.is_probe(*index)
            })
            .map(|(index, _)| index)
            .collect();
        let resumed = past
            .of(&offered)
            .filter(|(_, trace)| trace.flags.resumed)
            .count();
        if offered.len() < OFFERS_MIN || resumed * 10 >= offered.len() {
            continue;
        }
        let verdict = Verdict::new(Severity::Info, Confidence::Certain, "");
        if let Some(group) = report.tell(
            "resumption-low",
            verdict,
            Subject::Server(*server),
            &offered,
            &[],
        ) {
            group.set("resumed", &resumed.to_string());
            group.set("offers", &offered.len().to_string());
        }
    }
}

/// `tls13-hello-retry`: most hellos of one kind cost a round trip more.
fn hello_retry(report: &mut Report<'_>) {
    const HELLOS_MIN: usize = 4;
    let past = report.past;
    for (server, list) in &past.servers {
        let mut kinds: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, trace) in past
            .of(list)
            .filter(|(_, trace)| trace.negotiated == Some(VersionRank::Tls13))
        {
            if let Some(hello) = past.hello(trace) {
                kinds.entry(hello.key).or_default().push(index);
            }
        }
        for all in kinds.into_values() {
            let retried: Vec<usize> = past
                .of(&all)
                .filter(|(_, trace)| trace.flags.retried)
                .map(|(index, _)| index)
                .collect();
            if all.len() < HELLOS_MIN || retried.len() * 2 <= all.len() {
                continue;
            }
            let verdict = Verdict::new(Severity::Info, Confidence::Certain, "");
            if let Some(group) = report.tell(
                "tls13-hello-retry",
                verdict,
                Subject::Server(*server),
                &retried,
                &[],
            ) {
                group.set("retried", &retried.len().to_string());
                group.set("hellos", &all.len().to_string());
            }
        }
    }
}

/// `same-client-mixed-offers`: programs of different age on one address.
fn mixed_offers(report: &mut Report<'_>) {
    let past = report.past;
    type Kinds<'a> = Vec<((VersionRank, Option<&'a str>), usize)>;
    let mut clients: HashMap<IpAddr, Kinds<'_>> = HashMap::new();
    for (index, trace) in past.traces.iter().enumerate() {
        let (Some(offer), Some(hello)) = (trace.offer_max, past.hello(trace)) else {
            continue;
        };
        if !hello.shape.fallback_scsv {
            let kind = (offer, hello.stack().map(Stack::name));
            let kinds = clients.entry(trace.client).or_default();
            if !kinds.iter().any(|(known, _)| *known == kind) {
                kinds.push((kind, index));
            }
        }
    }
    let is_mixed = |kinds: &Kinds<'_>| {
        let oldest = kinds.iter().map(|((offer, _), _)| offer).min();
        oldest < Some(&VersionRank::Tls12)
            && kinds.iter().any(|((offer, _), _)| Some(offer) != oldest)
    };
    clients.retain(|_, kinds| is_mixed(kinds));
    let clients: BTreeMap<IpAddr, Kinds<'_>> = clients.into_iter().collect();
    for (client, mut kinds) in clients {
        kinds.sort_unstable();
        let traces: Vec<usize> = kinds.iter().map(|(_, index)| *index).collect();
        let verdict = Verdict::new(Severity::Info, Confidence::Likely, "");
        let subject = Subject::Named(client.to_string().into());
        if let Some(group) = report.tell("same-client-mixed-offers", verdict, subject, &traces, &[])
        {
            let rows: Vec<String> = past
                .of(&traces)
                .map(|(_, trace)| {
                    let stack = past.hello(trace).and_then(Hello::stack).map_or_else(
                        || word(past.lang, "unknown stack").to_owned(),
                        |stack| stack.words(past.lang),
                    );
                    format!("{}: {stack}", trace.offer_max.map_or("?", version_name))
                })
                .collect();
            group.set("rows", &rows.join("; "));
        }
    }
}

/// `health-probe`: told once for each pair, so that nobody wonders, and left out elsewhere.
fn probes(report: &mut Report<'_>) {
    for (traces, interval) in report.probes() {
        let Some((_, first)) = report.past.of(&traces).next() else {
            continue;
        };
        let verdict = Verdict::new(Severity::Info, Confidence::Likely, "");
        let subject = Subject::Pair(first.client, first.server);
        if let Some(group) = report.tell("health-probe", verdict, subject, &traces, &[]) {
            group.set("seconds", &format!("{interval:.0}"));
        }
    }
}

impl Past {
    /// Names of certificates that were sent with a leaf and are no roots.
    fn intermediates(&self) -> BTreeSet<&str> {
        self.others()
            .filter(|certificate| !certificate.self_signed)
            .filter_map(|certificate| certificate.subject.as_deref())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert, diagnose, find};

    #[test]
    fn an_order_that_would_break_http2() {
        let id = "h2-cipher-order-risk";
        let bad = || Make::new().answer(0x0303, 0xc014);
        assert!(find(&diagnose(&[bad(), Make::new().answer(0x0303, 0xc02f)]), id).is_some());
        // Never seen to choose a permitted one: perhaps it has none.
        assert!(find(&diagnose(&[bad(), bad()]), id).is_none());
        let only = Make::new().suites(&[0xc014]).answer(0x0303, 0xc014);
        assert!(find(&diagnose(&[only, Make::new().answer(0x0303, 0xc02f)]), id).is_none());
    }

    #[test]
    fn the_ledger_makes_a_limit_certain() {
        let limited = || Make::new().answer(0x0301, 0xc014);
        let found = diagnose(&[limited()]);
        assert_eq!(
            find(&found, "server-version-limited").unwrap().confidence,
            Confidence::Likely
        );
        let found = diagnose(&[limited(), Make::new().answer(0x0303, 0xc02f)]);
        assert_eq!(
            find(&found, "server-version-limited").unwrap().confidence,
            Confidence::Certain
        );
    }

    #[test]
    fn a_leaf_alone_needs_its_intermediate_elsewhere() {
        let id = "cert-chain-incomplete";
        let alone = || {
            Make::new()
                .answer(0x0303, 0xc02f)
                .certificate(cert("CN=www.contoso.com", &["www.contoso.com"]))
        };
        assert!(find(&diagnose(&[alone()]), id).is_none());
        let mut intermediate = cert("CN=Contoso Issuing CA, O=Contoso", &[]);
        intermediate.issuer = Some("CN=Contoso Root".into());
        let complete = alone().server("10.0.0.6:443").certificate(intermediate);
        assert!(find(&diagnose(&[alone(), complete]), id).is_some());
    }

    #[test]
    fn resumption_needs_many_offers() {
        let id = "resumption-low";
        let offer = |at| {
            Make::new()
                .hello(|hello| hello.session_id_length = 32)
                .answer(0x0303, 0xc02f)
                .at(at)
        };
        let many: Vec<Make> = (0..60).map(|n| offer(n * n)).collect();
        assert!(find(&diagnose(&many), id).is_some());
        assert!(find(&diagnose(&many[..40]), id).is_none());
        let resumed: Vec<Make> = many
            .into_iter()
            .map(|made| made.with(|record| record.server_hello.as_mut().unwrap().resumed = true))
            .collect();
        assert!(find(&diagnose(&resumed), id).is_none());
    }

    #[test]
    fn retries_of_one_kind_of_hello() {
        let id = "tls13-hello-retry";
        let made = |at, retried: bool| {
            Make::new()
                .tls13()
                .answer(0x0304, 0x1301)
                .at(at)
                .with(|record| {
                    if retried {
                        record.hello_retry_request = record.server_hello.clone();
                    }
                })
        };
        let all: Vec<Make> = (0..4).map(|n| made(n, true)).collect();
        assert!(find(&diagnose(&all), id).is_some());
        let few: Vec<Make> = (0..4).map(|n| made(n, n == 0)).collect();
        assert!(find(&diagnose(&few), id).is_none());
    }

    #[test]
    fn old_and_new_programs_on_one_address() {
        let id = "same-client-mixed-offers";
        let old = Make::new().offer(0x0301).answer(0x0301, 0xc014);
        let new = Make::new().answer(0x0303, 0xc02f);
        assert!(find(&diagnose(&[old.clone(), new.clone()]), id).is_some());
        assert!(find(&diagnose(&[old.client("10.0.0.2"), new.clone()]), id).is_none());
        assert!(
            find(
                &diagnose(&[new, Make::new().tls13().answer(0x0304, 0x1301)]),
                id
            )
            .is_none()
        );
    }
}
