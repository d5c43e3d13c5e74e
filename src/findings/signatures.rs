//! `sigalg-cert-mismatch` where the server shows no certificate at all: it drops hellos whose signature_algorithms do not
//! fit the only certificates that it was seen to have.
//!
//! Older servers (Windows 8.1, Server 2012 R2 and before) do so, newer ones send the certificate all the same. A contrast
//! proves it: the server serves others, and each certificate that it showed them is signed in a way, or has a key of a
//! kind, that the failing clients do not offer. Only up to TLS 1.2, where that list speaks of certificates.

use super::groups::Subject;
use super::names::certificate_name;
use super::negotiation::{is_signed_otherwise, lacks_key_type};
use super::past::Past;
use super::survey::{Report, pick};
use super::trace::{AT_HELLO, Kind, Number, Trace};
use super::{Survey, Verdict};
use crate::record::{Certificate, Code16, Confidence, Endpoint, Severity, Side};
use crate::tls::code_points::VersionRank;
use std::collections::BTreeMap;

/// The survey, before those that only state a reset.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: dropped_hellos,
}];

/// Certificates by number, each with a handshake that showed it.
type Shown<'p> = BTreeMap<Number, (&'p Certificate, usize)>;

/// Certificates of a server, each with a handshake that showed it.
fn shown<'p>(past: &'p Past, kinds: &[usize]) -> Shown<'p> {
    let mut found = Shown::new();
    let complete = past.firsts(kinds).filter(|(_, kind)| kind.is_complete());
    for (index, kind) in complete {
        if let (Some(number), Some(leaf)) = (kind.leaf, past.leaf(&kind)) {
            found.entry(number).or_insert((leaf, index));
        }
    }
    found
}

fn schemes<'p>(past: &'p Past, kind: &Kind) -> Option<&'p [Code16]> {
    past.hello(kind)?.shape.signature_algorithms.as_deref()
}

fn is_dropped(trace: &Trace<'_>) -> bool {
    trace.failed_silently() || trace.failed_at_hello() && trace.alert == Some((Side::Server, 40))
}

fn dropped_hellos(report: &mut Report<'_>) {
    let past = report.past;
    let mut by_server: BTreeMap<Endpoint, Shown<'_>> = BTreeMap::new();
    for (client, server, list) in past.pairs.with(&AT_HELLO) {
        let dropped = pick(report, list, |index, trace| {
            is_dropped(trace)
                && !report.is_explained(index)
                && schemes(past, trace).is_some()
                && trace.offer_max == Some(VersionRank::Tls12)
        });
        if dropped.is_empty() {
            continue;
        }
        let kinds = past.kinds_at(&server);
        let certificates = by_server
            .entry(server)
            .or_insert_with(|| shown(past, kinds));
        let misfits = |trace: &Trace<'_>| {
            schemes(past, trace).is_some_and(|schemes| {
                let mut leaves = certificates.values();
                leaves.all(|(leaf, _)| {
                    is_signed_otherwise(leaf, schemes) || lacks_key_type(leaf, schemes)
                })
            })
        };
        let Some((leaf, served)) = certificates.values().next() else {
            continue;
        };
        let traces = pick(report, &dropped, |_, trace| misfits(trace));
        if traces.is_empty() {
            continue;
        }
        let verdict = Verdict::new(Severity::Error, Confidence::Likely, "dropped");
        let subject = Subject::Pair(client, server);
        let id = "sigalg-cert-mismatch";
        if let Some(group) = report.tell(id, verdict, subject, &traces, &[*served]) {
            group.set("server", &server.to_string());
            group.set("certificate", &certificate_name(leaf));
            let algorithm = leaf.signature_algorithm.as_deref().unwrap_or("?");
            group.set("algorithm", algorithm);
        }
        report.explain(&traces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert, diagnose, find};
    use crate::record::Outcome;

    fn schemes(made: Make, list: &[u16]) -> Make {
        let codes: Vec<Code16> = list.iter().map(|code| Code16(*code)).collect();
        made.shape(|shape| shape.signature_algorithms = Some(codes))
    }

    fn served(key: &str, algorithm: &str) -> Make {
        let mut leaf = cert("CN=www.contoso.com", &["www.contoso.com"]);
        leaf.key = Some(key.into());
        leaf.signature_algorithm = Some(algorithm.into());
        let made = Make::new().client("10.0.0.2").answer(0x0303, 0xc02f);
        schemes(made, &[0x0401, 0x0403, 0x0601]).certificate(leaf)
    }

    fn told(made: &[Make]) -> Option<Confidence> {
        let found = diagnose(made);
        let finding = find(&found, "sigalg-cert-mismatch");
        assert_ne!(finding.is_some(), find(&found, "hello-reset").is_some());
        finding.map(|finding| finding.confidence)
    }

    #[test]
    fn a_server_that_drops_hellos_that_its_certificate_does_not_fit() {
        let sha512 = || served("rsa-2048", "sha512WithRSAEncryption");
        let reset = |list: &[u16]| schemes(Make::new().outcome(Outcome::HelloReset), list);
        let old = || reset(&[0x0401, 0x0501]);
        assert_eq!(told(&[sha512(), old()]), Some(Confidence::Likely));
        let ecdsa = served("ecdsa-p256", "ecdsa-with-SHA256");
        assert!(told(&[ecdsa, old()]).is_some());
        // The client offers it; the server has a certificate that fits; it was never seen to have any.
        assert!(told(&[sha512(), reset(&[0x0401, 0x0601])]).is_none());
        let sha256 = served("rsa-2048", "sha256WithRSAEncryption").with(|record| {
            record.certificates = vec![cert("CN=two", &["www.contoso.com"]).into()].into();
        });
        assert!(told(&[sha512(), sha256, old()]).is_none());
        assert!(told(&[old()]).is_none());
        // TLS 1.3 has a list of its own for certificates; an algorithm that is not known proves nothing.
        assert!(told(&[sha512(), old().tls13()]).is_none());
        assert!(told(&[served("rsa-2048", "1.2.3.4"), old()]).is_none());
    }
}
