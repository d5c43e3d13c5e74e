//! What many handshakes show together: servers that would break HTTP/2, what others prove of versions and chains, resumption,
//! retries, and probes.
//!
//! These are the quiet ones: mostly worth knowing, and the base on which other findings are trusted.

use super::facts::{offered, suite_name, version_name};
use super::fallback::signals_fallback;
use super::groups::Subject;
use super::http2::is_permitted;
use super::names::certificate_name;
use super::past::Past;
use super::stack::Stack;
use super::survey::{Counted, Report};
use super::trace::{Kind, Number, Sort, Trace};
use super::{Entry, Survey, Verdict};
use crate::record::{Confidence, Endpoint, Outcome, Scope, Severity, Side};
use crate::tls::code_points::{Authentication, CipherSuite, RELEASES, VersionRank};
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
        entries: &[],
        run: super::renewed::renewed,
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
        run: super::mixed::mixed_offers,
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
    // Where it is broken already, there is no risk to tell of.
    let broken = report.groups.of("h2-blocklisted-cipher");
    let broken: BTreeSet<Endpoint> = broken
        .filter_map(|(subject, _)| match subject {
            Subject::Server(server) => Some(*server),
            _ => None,
        })
        .collect();
    let prohibited = past.kinds_like(|sort| {
        sort.negotiated == Some(VersionRank::Tls12)
            && past.suite(sort).is_some_and(CipherSuite::is_h2_prohibited)
            && (past.answer(sort)).is_some_and(|answer| answer.alpn.as_deref() != Some("h2"))
    });
    let is_prohibited = |kind: &usize| prohibited.get(*kind) == Some(&true);
    // Few hellos and answers are different.
    let mut overruled_by: HashMap<(Option<Number>, Option<Number>), Option<CipherSuite>> =
        HashMap::new();
    for (server, all) in &past.servers {
        let kinds = all.kinds.iter().copied().filter(is_prohibited);
        let kinds: Vec<usize> = kinds.collect();
        if kinds.is_empty() || broken.contains(server) {
            continue;
        }
        let ledger = past.ledger(&all.kinds);
        let permitted: BTreeMap<u16, usize> = ledger
            .suites
            .iter()
            .filter(|(code, _)| is_permitted(CipherSuite(**code)))
            .map(|(code, index)| (*code, *index))
            .collect();
        let mut skipped = |kind: &Kind| {
            let chosen = past.suite(kind)?;
            let signed = chosen.entry()?.authentication;
            let is_seen = |suite: &CipherSuite| {
                permitted.contains_key(&suite.0)
                    && suite
                        .entry()
                        .is_some_and(|entry| entry.authentication == signed)
            };
            let seen = past
                .hello(kind)
                .and_then(|hello| offered(&hello.shape).find(is_seen));
            seen.or_else(|| {
                let known = overruled_by.entry((kind.hello, kind.answer));
                *known.or_insert_with(|| overruled(&past.offered(kind), chosen))
            })
        };
        // Equal hellos with equal answers are alike: a server has few kinds of them.
        let mut known: HashMap<(Option<Number>, Option<Number>), bool> = HashMap::new();
        let risky = past.traces_of(&kinds, |kind| {
            *known
                .entry((kind.hello, kind.answer))
                .or_insert_with(|| speaks_http(report, *server, kind) && skipped(kind).is_some())
        });
        let Some((_, example)) = past.of(&risky).next() else {
            continue;
        };
        let (Some(taken), Some(better)) = (past.suite(&example), skipped(&example)) else {
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

/// HTTP is spoken here: by the port, or by what the client offers.
fn speaks_http(report: &Report<'_>, server: Endpoint, kind: &Kind) -> bool {
    let hello = report.past.hello(kind);
    let alpn = hello.and_then(|hello| hello.shape.alpn.as_deref());
    let offered = alpn.is_some_and(|protocols| {
        protocols
            .iter()
            .any(|protocol| matches!(&**protocol, "h2" | "http/1.1"))
    });
    offered || report.settings.sni_ports.contains(&server.port)
}

/// The permitted suite that a client preferred and the server passed over for a prohibited one with the same kind of
/// certificate, as the hello alone shows it. It counts where both ECDHE suites with AES-GCM were offered, since any
/// server of today has one, and where no old Windows, which has none for RSA, would have chosen so by default.
fn overruled(offered: &[CipherSuite], chosen: CipherSuite) -> Option<CipherSuite> {
    let kind = chosen.entry()?.authentication;
    let pair: &[u16] = match kind {
        Authentication::Rsa => &[0xc02f, 0xc030],
        Authentication::Ecdsa => &[0xc02b, 0xc02c],
        _ => return None,
    };
    let both = pair
        .iter()
        .all(|code| offered.contains(&CipherSuite(*code)));
    let place = offered.iter().position(|suite| *suite == chosen)?;
    let preferred = offered
        .get(..place)?
        .iter()
        .find(|suite| pair.contains(&suite.0))?;
    let first_with_gcm = RELEASES
        .iter()
        .position(|release| release.name.starts_with("10 "))?;
    let old = RELEASES.get(..first_with_gcm)?;
    // Server 2008 hardly speaks TLS 1.2.
    let old = old
        .iter()
        .filter(|release| release.suites.contains(&0xc027));
    let by_default = old.into_iter().any(|release| {
        let mut order = release.suites.iter().map(|code| CipherSuite(*code));
        let pick = order.find(|suite| {
            offered.contains(suite)
                && suite
                    .entry()
                    .is_some_and(|entry| entry.authentication == kind)
        });
        pick == Some(chosen)
    });
    (both && !by_default).then_some(*preferred)
}

/// What other handshakes prove about `server-version-limited` and `client-version-limited`.
fn better_versions(report: &mut Report<'_>) {
    rejected_versions(report);
    let past = report.past;
    for (subject, group) in report.groups.of("server-version-limited") {
        let Subject::Server(server) = subject else {
            continue;
        };
        let ledger = past.servers.get(server).map(|all| past.ledger(&all.kinds));
        if ledger.and_then(|ledger| ledger.can) >= Some(VersionRank::Tls12) {
            group.raise(Verdict::new(Severity::Warning, Confidence::Certain, ""));
        }
        let kinds = past.servers.get(server).map(|all| &all.kinds);
        let better = kinds.and_then(|kinds| {
            let mut firsts = past.firsts(kinds);
            firsts.find(|(_, kind)| kind.negotiated >= Some(VersionRank::Tls12))
        });
        if let Some(better) = better.and_then(|(index, _)| past.trace(index)) {
            let proof = past.evidence(&better);
            group.set("better", &proof.fact);
            group.contrast(vec![proof]);
        }
    }
    let limited = |sort: &Sort| {
        sort.negotiated.is_some()
            && sort.negotiated == sort.offer_max
            && !signals_fallback(past, sort)
            && sort.offer_max <= Some(VersionRank::Tls11)
            && past
                .answer(sort)
                .is_some_and(|answer| answer.downgrade_sentinel.is_none())
    };
    let old = past.kinds_like(limited);
    let is_old = |kind: &usize| old.get(*kind) == Some(&true);
    let mut told = None;
    for (server, all) in &past.servers {
        let kinds: Vec<usize> = all.kinds.iter().copied().filter(is_old).collect();
        if !kinds.is_empty() {
            old_clients(report, *server, (&all.kinds, &kinds), &mut told);
        }
    }
}

/// What other handshakes prove about `protocol-version-rejected`: what the server accepted, and that it cannot stand more.
fn rejected_versions(report: &mut Report<'_>) {
    let past = report.past;
    let id = "protocol-version-rejected";
    let mut too_high = Vec::new();
    for (subject, group) in report.groups.of(id) {
        let Subject::Pair(client, server) = subject else {
            continue;
        };
        let Some(all) = past
            .servers
            .get(server)
            .filter(|_| group.cause() == "by-server")
        else {
            continue;
        };
        let ledger = past.ledger(&all.kinds);
        let (Some(lowest), Some(can)) = (ledger.lowest, ledger.can) else {
            continue;
        };
        let mut firsts = past.firsts(&all.kinds);
        let accepted =
            firsts.find(|(_, kind)| kind.answer.is_some() && kind.negotiated == Some(lowest));
        let Some((accepted, proof)) =
            accepted.and_then(|(index, _)| Some((index, past.trace(index)?)))
        else {
            continue;
        };
        let list = past.pairs.of(*client, *server).iter().copied();
        let refused: Vec<usize> = list
            .filter(|index| {
                let kind = past.kind(*index);
                kind.is_some_and(|kind| {
                    kind.alert == Some((Side::Server, 70)) && kind.answer.is_none()
                })
            })
            .collect();
        let is_higher = |(_, trace): (usize, Trace<'_>)| trace.offer_max > Some(can);
        if !refused.is_empty() && past.of(&refused).all(is_higher) {
            too_high.push((*client, *server, refused, lowest, accepted));
            continue;
        }
        group.set("lowest", version_name(lowest));
        group.contrast(vec![past.evidence(&proof)]);
    }
    for (client, server, refused, lowest, accepted) in too_high {
        let subject = Subject::Pair(client, server);
        report.groups.take_back(id, &subject);
        let verdict = Verdict::new(Severity::Error, Confidence::Likely, "too-high");
        if let Some(group) = report.tell(id, verdict, subject, &refused, &[accepted]) {
            group.set("lowest", version_name(lowest));
        }
    }
}

/// What `client-version-limited` says where other handshakes show it.
const SEEN_ELSEWHERE: Verdict =
    Verdict::new(Severity::Warning, Confidence::Certain, "seen-elsewhere");

/// `client-version-limited` where the server says nothing in its random, but chose a higher version for others: only for
/// TLS 1.1 and below, since a client of TLS 1.2 is well. `old` are those of the server's kinds with such an offer. `told`
/// marks by number the clients that have a finding each, once there are no more of these.
fn old_clients(
    report: &mut Report<'_>,
    server: Endpoint,
    (kinds, old): (&[usize], &[usize]),
    told: &mut Option<Vec<bool>>,
) {
    let past = report.past;
    let better = past
        .firsts(kinds)
        .find(|(_, kind)| kind.negotiated >= Some(VersionRank::Tls12));
    let Some((better, _)) = better else { return };
    const ID: &str = "client-version-limited";
    let verdict = SEEN_ELSEWHERE;
    let address = server.to_string();
    let mut indexes: Vec<usize> = (old.iter())
        .flat_map(|kind| past.by_kind.of(*kind))
        // Who fell back can do more.
        .filter(|index| !report.falls_back(*index))
        .collect();
    if report.is_further(ID, verdict) {
        // Others are only counted.
        let told = told.get_or_insert_with(|| {
            let told = report.groups.clients_of(ID, verdict.cause);
            let clients = past.clients.addresses.iter();
            clients.map(|client| told.contains(client)).collect()
        });
        let is_told = |index: &usize| {
            let client = past.clients.of.get(*index);
            client.and_then(|number| told.get(*number as usize)) == Some(&true)
        };
        let mut further = Counted::default();
        further.extend(indexes.iter().copied().filter(|index| !is_told(index)));
        report.count_further(ID, verdict, &further);
        indexes.retain(is_told);
    }
    let mut by_client: Vec<(IpAddr, &str, usize)> = past
        .of(&indexes)
        .map(|(index, trace)| {
            let name = past.name(&trace).or_else(|| past.dns_name(&trace));
            (*trace.client, name.unwrap_or(&address), index)
        })
        .collect();
    by_client.sort_unstable();
    let mut traces = Vec::new();
    for same in by_client.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
        let Some((client, target, first)) = same.first() else {
            continue;
        };
        traces.clear();
        traces.extend(same.iter().map(|(.., index)| *index));
        let subject = Subject::Client(*client, (*target).into());
        if let Some(group) = report.tell(ID, verdict, subject, &traces, &[better]) {
            let example = past.trace(*first);
            let stack = example.and_then(|trace| past.hello(&trace)?.stack());
            group.set("server", &address);
            group.set("stack_kind", Stack::cause(stack));
        }
    }
}

/// `cert-chain-incomplete`: a leaf alone, where its issuer is seen elsewhere as an intermediate.
fn leaf_alone(report: &mut Report<'_>) {
    let past = report.past;
    let intermediates = past.intermediates();
    let is_known = |issuer: &str| intermediates.contains(issuer);
    for (server, all) in &past.servers {
        if report.settings.internal_ports.contains(&server.port) {
            continue;
        }
        let alone = past.traces_of(&all.kinds, |kind| {
            kind.chain == 1
                && kind.alert.is_none_or(|(_, code)| code != 48)
                && past.leaf(kind).is_some_and(|leaf| {
                    !leaf.self_signed && leaf.issuer.as_deref().is_some_and(is_known)
                })
        });
        let Some(leaf) = past
            .of(&alone)
            .next()
            .and_then(|(_, trace)| past.leaf(&trace))
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
    for (server, all) in &past.servers {
        let mut offered = past.traces_of(&all.kinds, |kind| {
            kind.flags.offered_resumption() && kind.is_complete()
        });
        offered.retain(|index| !report.is_probe(*index));
        let kinds = offered.iter().filter_map(|index| past.kind(*index));
        let resumed = kinds.filter(|kind| kind.flags.resumed()).count();
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
    let past = report.past;
    for (server, all) in &past.servers {
        let is_retried = |kind: &Kind| kind.flags.retried();
        let key = |kind: &Kind| {
            let hidden = kind.negotiated == Some(VersionRank::Tls13);
            past.hello(kind).filter(|_| hidden).map(|hello| hello.key)
        };
        let kinds = || past.kinds_of(&all.kinds);
        let retried = kinds().filter(|(_, kind)| is_retried(kind));
        let keys = retried.filter_map(|(_, kind)| Some((key(&kind)?, Vec::new())));
        let mut by_key: BTreeMap<u32, Vec<usize>> = keys.collect();
        if by_key.is_empty() {
            continue;
        }
        for (number, kind) in kinds() {
            if let Some(alike) = key(&kind).and_then(|key| by_key.get_mut(&key)) {
                alike.push(number);
            }
        }
        for alike in by_key.into_values() {
            let hellos = alike.iter().map(|kind| past.by_kind.of(*kind).len());
            let hellos: usize = hellos.sum();
            let retried = past.traces_of(&alike, is_retried);
            if retried.len() * 2 <= hellos {
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
                group.set("hellos", &hellos.to_string());
            }
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
        let subject = Subject::Pair(*first.client, first.server);
        // A check that closes once it has the server's flight does not refuse the certificate.
        let told = ("tls13-abort-hidden", "closed", subject.clone());
        let closed = report.past.of(&traces).filter(|(_, trace)| {
            trace.negotiated == Some(VersionRank::Tls13) && trace.outcome == Outcome::ClientAbort
        });
        report.groups.lessen(&told, closed.count() as u64);
        let (client, target) = (*first.client, report.past.name(&first));
        let target = target.map_or_else(|| first.server.to_string().into(), Box::from);
        let told = Subject::Client(client, target);
        let told = ("cert-rejected-by-client", "closed", told);
        let closed = report
            .past
            .of(&traces)
            .filter(|(_, trace)| trace.leaf.is_some() && trace.outcome == Outcome::ClientAbort);
        report.groups.lessen(&told, closed.count() as u64);
        if let Some(group) = report.tell("health-probe", verdict, subject, &traces, &[]) {
            group.note("seconds", &format!("{interval:.0}"));
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
    fn a_server_that_overrules_the_client_would_break_http2() {
        let id = "h2-cipher-order-risk";
        let one = |offer: &[u16], chosen| Make::new().suites(offer).answer(0x0303, chosen);
        let risky = one(&[0xc030, 0xc02f, 0xc028, 0xc014], 0xc014);
        assert!(find(&diagnose(&[risky]), id).is_some());
        // The client's own order; what Windows Server 2012 R2 picks by default; half an offer.
        let own = one(&[0xc014, 0xc030, 0xc02f], 0xc014);
        assert!(find(&diagnose(&[own]), id).is_none());
        let old = one(&[0xc030, 0xc02f, 0xc028, 0xc014], 0xc028);
        assert!(find(&diagnose(&[old]), id).is_none());
        let half = one(&[0xc030, 0xc014], 0xc014);
        assert!(find(&diagnose(&[half]), id).is_none());
    }

    #[test]
    fn old_clients_of_a_server_that_can_do_more() {
        let id = "client-version-limited";
        let old = Make::new().offer(0x0301).answer(0x0301, 0xc014);
        let new = Make::new().client("10.0.0.2").answer(0x0303, 0xc02f);
        assert!(find(&diagnose(&[old.clone(), new]), id).is_some());
        assert!(find(&diagnose(&[old]), id).is_none());
    }

    #[test]
    fn an_order_that_would_break_http2() {
        let id = "h2-cipher-order-risk";
        let bad = || Make::new().answer(0x0303, 0xc014);
        assert!(find(&diagnose(&[bad(), Make::new().answer(0x0303, 0xc02f)]), id).is_some());
        // Never seen to choose a permitted one: perhaps it has none.
        assert!(find(&diagnose(&[bad(), bad()]), id).is_none());
        // HTTP/2 is on there, and broken already: that is told.
        let h2 = bad().alpn(&["h2", "http/1.1"]).selected("h2");
        let found = diagnose(&[bad(), h2, Make::new().answer(0x0303, 0xc02f)]);
        assert!(find(&found, id).is_none());
        assert!(find(&found, "h2-blocklisted-cipher").is_some());
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
        // The handshake that proves it is said, and shown.
        let finding = find(&found, "server-version-limited").unwrap();
        let proves = |text: &str| text.contains("negotiated TLS 1.2");
        assert!(finding.affects.iter().any(|line| proves(line)));
        assert!(finding.evidence.iter().any(|shown| proves(&shown.fact)));
    }

    #[test]
    fn a_rejected_version_beside_those_that_were_accepted() {
        let id = "protocol-version-rejected";
        let refused = |made: Make| {
            let made = made.client("10.0.0.9").alert(Side::Server, 70);
            made.outcome(Outcome::ServerAlert)
        };
        let old = refused(Make::new().offer(0x0301));
        let found = diagnose(&[Make::new().answer(0x0303, 0xc02f), old.clone()]);
        let finding = find(&found, id).unwrap();
        let mut affects = finding.affects.iter();
        assert!(affects.any(|line| line.contains("accepted") && line.contains("TLS 1.2")));
        assert!(
            finding
                .evidence
                .iter()
                .any(|shown| shown.fact.contains("negotiated TLS 1.2"))
        );
        assert!(finding.remediation[0].contains("Raise the client"));
        // It takes lower ones only: the server is what needs an update.
        let lower = Make::new().offer(0x0301).answer(0x0301, 0xc014);
        let found = diagnose(&[lower, refused(Make::new().tls13())]);
        let finding = find(&found, id).unwrap();
        assert!(finding.title.contains("TLS 1.3") && finding.title.contains("TLS 1.0"));
        let mut steps = finding.remediation.iter();
        assert!(!steps.any(|step| step.contains("Raise the client") || step.contains("reg add")));
        assert_eq!(found.iter().filter(|found| found.id == id).count(), 1);
        // Nothing known of others.
        let found = diagnose(&[old]);
        assert!(
            find(&found, id)
                .unwrap()
                .affects
                .iter()
                .all(|line| !line.contains("accepted"))
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
        // One alone is all that there is of its kind; half of them are not most.
        assert!(find(&diagnose(&[made(0, true)]), id).is_some());
        assert!(find(&diagnose(&[made(0, true), made(1, false)]), id).is_none());
        // A server that asks for a cookie only, to see whether the client is there, takes the client's group.
        let cookie = made(0, true).with(|record| {
            let retry = record.hello_retry_request.as_mut().unwrap();
            std::sync::Arc::make_mut(&mut retry.shape).key_share_group = None;
        });
        assert!(find(&diagnose(&[cookie]), id).is_none());
    }

    #[test]
    fn probes_come_regularly_and_are_told_once() {
        let id = "health-probe";
        let times = |of: &dyn Fn(i64) -> i64, count: i64, made: &Make| -> Vec<Make> {
            (0..count).map(|n| made.clone().at(of(n))).collect()
        };
        let closed = Make::new()
            .tls13()
            .answer(0x0304, 0x1301)
            .outcome(Outcome::ClientAbort)
            .observed(|seen| seen.server_flight_bytes = Some(3_000));
        let found = diagnose(&times(&|n| 10 * n, 8, &closed));
        let probe = find(&found, id).unwrap();
        assert_eq!(probe.severity, Severity::Info);
        assert!(probe.title.contains("10 s"), "{}", probe.title);
        // It closes on purpose: nobody refuses a certificate.
        assert!(find(&found, "tls13-abort-hidden").is_none());
        let shown = Make::new().answer(0x0303, 0xc02f);
        let shown = shown.certificate(cert("CN=www.contoso.com", &["www.contoso.com"]));
        let shown = shown.outcome(Outcome::ClientAbort).tcp(|tcp| {
            tcp.closed_by = Some(crate::record::Side::Client);
        });
        let shown = shown.with(|record| record.stopped_after = Some("server_hello_done".into()));
        let rejected = "cert-rejected-by-client";
        let found = diagnose(&times(&|n| 10 * n, 8, &shown));
        assert!(find(&found, id).is_some() && find(&found, rejected).is_none());
        assert!(find(&diagnose(&times(&|n| n * n * 7, 8, &shown)), rejected).is_some());
        // A client that comes when it likes, few times, or that is served, is none.
        let irregular = diagnose(&times(&|n| n * n * 7, 8, &closed));
        assert!(find(&irregular, id).is_none());
        assert!(find(&irregular, "tls13-abort-hidden").is_some());
        assert!(find(&diagnose(&times(&|n| 10 * n, 5, &closed)), id).is_none());
        // A check asks in the same way each time; a scanner does not.
        let various: Vec<Make> = (0..8_u16)
            .map(|n| {
                let made = closed.clone().at(10 * i64::from(n));
                made.shape(|shape| shape.cipher_suites.push(crate::record::Code16(0x00c0 + n)))
            })
            .collect();
        let scan = diagnose(&various);
        assert!(find(&scan, id).is_none() && find(&scan, "tls13-abort-hidden").is_some());
        let served = Make::new().answer(0x0303, 0xc02f);
        assert!(find(&diagnose(&times(&|n| 10 * n, 8, &served)), id).is_none());
    }
}
