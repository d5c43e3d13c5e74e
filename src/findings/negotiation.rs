//! Negotiations that fail or go wrong within one handshake: ALPN, suites, signatures, names, client certificates, and
//! failures that TLS 1.3 hides.
//!
//! Each is raised from what one record proves; where the reason needs other handshakes (what else did this server
//! accept?), a survey in `failures` speaks.

use super::facts::{Facts, suite_name, version_name};
use super::groups::server_subject;
use super::names::{certificate_name, leaf};
use super::version::{describe_alerts, is_downgrade};
use super::{Entry, Rule, Settings, Sheet, Subject, Verdict, hosts};
use crate::record::{Confidence, Outcome, Scope, Severity, Side};
use crate::tls::code_points::{KeyExchange, SignatureScheme, VersionRank, is_grease};

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule::new(
        Entry::new(
            "alpn-no-agreement",
            Severity::Error,
            Scope::Handshake,
            "RFC 7301 section 3.2",
        ),
        alpn,
        pair,
        describe_alpn,
    ),
    Rule::new(
        Entry::new(
            "o365-no-common-cipher",
            Severity::Error,
            Scope::Client,
            "Microsoft: Technical reference details about encryption in Office 365 (text of 2019-09-11)",
        ),
        o365_cipher,
        client_and_name,
        describe_offer,
    ),
    Rule::new(
        Entry::new(
            "downgrade-sentinel-ignored",
            Severity::Error,
            Scope::Handshake,
            "RFC 8446 section 4.1.3",
        ),
        downgrade,
        pair,
        describe_downgrade,
    ),
    Rule::new(
        Entry::new(
            "sigalg-cert-mismatch",
            Severity::Error,
            Scope::Handshake,
            "RFC 5246 sections 7.4.1.4.1 and 7.4.2; RFC 8446 section 4.2.3; RFC 9155",
        ),
        signature,
        server_subject,
        describe_signature,
    ),
    Rule::new(
        Entry::new(
            "client-cert-problem",
            Severity::Warning,
            Scope::Handshake,
            "RFC 5246 section 7.4.4",
        ),
        client_certificate,
        server_subject,
        describe_client_certificate,
    ),
    Rule::new(
        Entry::new(
            "tls13-abort-hidden",
            Severity::Warning,
            Scope::Client,
            "RFC 8446 sections 5.2 and 6",
        ),
        abort_hidden,
        pair,
        describe_abort,
    ),
    Rule::new(
        Entry::new(
            "late-handshake-failure",
            Severity::Warning,
            Scope::Client,
            "RFC 5246 section 7.4.7; RFC 7627 section 5.3; Microsoft KB4557473, KB4528489",
        ),
        late_failure,
        pair,
        describe_late,
    ),
];

fn pair(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Pair(facts.record.client.ip, facts.record.server)
}

fn client_and_name(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Client(facts.record.client.ip, facts.target())
}

/// `alpn-no-agreement`.
fn alpn(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let offered = facts.client_hello?.shape.alpn.as_deref();
    if facts.fatal_code(Side::Server) == Some(120) {
        return Some(Verdict::new(
            Severity::Error,
            Confidence::Certain,
            "rejected",
        ));
    }
    let selected = facts.alpn()?;
    let known = offered?
        .iter()
        .any(|protocol| protocol.as_ref() == selected);
    (!known).then_some(Verdict::new(
        Severity::Error,
        Confidence::Certain,
        "not-offered",
    ))
}

fn describe_alpn(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, || {
            let offered = hello.shape.alpn.as_deref().unwrap_or(&[]).join(", ");
            format!("ClientHello offers ALPN: {offered}")
        });
    }
    if let Some(selected) = facts.alpn() {
        sheet.fact(facts.frame(), || {
            format!("ServerHello selects ALPN {selected}")
        });
    }
    describe_alerts(facts, sheet);
}

/// `o365-no-common-cipher`.
fn o365_cipher(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    facts.client_hello?;
    if facts.offer_max? < VersionRank::Tls12 || facts.server_hello.is_some() {
        return None;
    }
    let tls13 = facts.offer_max == Some(VersionRank::Tls13);
    let common = facts.offered().any(|suite| {
        hosts::o365_suites().contains(&suite.0) || (tls13 && matches!(suite.0, 0x1301 | 0x1302))
    });
    if common || !facts.sni().is_some_and(hosts::is_strict) {
        return None;
    }
    let died = facts.whole
        && (facts.fatal_code(Side::Server) == Some(40)
            || facts.record.outcome == Outcome::HelloReset);
    let confidence = if died {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    Some(Verdict::new(Severity::Error, confidence, ""))
}

fn describe_offer(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, || {
            let suites: Vec<String> = facts.offered().take(8).map(suite_name).collect();
            format!(
                "ClientHello offers {} at most, {} suites: {}",
                facts.offer_max.map_or("?", version_name),
                facts.offered().count(),
                suites.join(", ")
            )
        });
    }
    describe_alerts(facts, sheet);
}

/// `downgrade-sentinel-ignored`.
fn downgrade(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if !is_downgrade(facts) || facts.client_hello?.shape.supported_versions.is_none() {
        return None;
    }
    let noticed = facts.fatal_code(Side::Client) == Some(47);
    let cause = if noticed { "noticed" } else { "ignored" };
    Some(Verdict::new(Severity::Error, Confidence::Certain, cause))
}

fn describe_downgrade(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, || {
            "ClientHello offers TLS 1.3 in supported_versions".to_owned()
        });
    }
    sheet.fact(facts.frame(), || {
        format!(
            "ServerHello: {}, but its random ends in the downgrade sentinel 44 4f 57 4e 47 52 44; the client: {}",
            facts.negotiated.map_or("?", version_name),
            facts.record.outcome.as_str()
        )
    });
    describe_alerts(facts, sheet);
}

/// `sigalg-cert-mismatch`, as far as certificates are shown: TLS 1.2, where signature_algorithms counts.
fn signature(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if facts.negotiated != Some(VersionRank::Tls12) {
        return None;
    }
    let schemes = facts.client_hello?.shape.signature_algorithms.as_deref()?;
    leaf(facts)?;
    let chain = facts
        .record
        .certificates
        .iter()
        .filter(|certificate| !certificate.self_signed);
    let mut mismatch = false;
    for certificate in chain {
        let Some((hash, signature)) = certificate.signature_algorithm.as_deref().and_then(parts)
        else {
            continue;
        };
        mismatch |= !schemes.iter().any(|code| {
            let scheme = SignatureScheme(code.0);
            scheme.hash() == Some(hash) && scheme.signature() == Some(signature)
        });
    }
    if !mismatch {
        return None;
    }
    let rejected = matches!(facts.fatal_code(Side::Client), Some(40 | 42 | 43 | 51));
    let severity = if rejected {
        Severity::Error
    } else {
        Severity::Warning
    };
    Some(Verdict::new(severity, Confidence::Certain, ""))
}

/// Hash and signature of a certificate's algorithm, in the words of the scheme table.
fn parts(algorithm: &str) -> Option<(&'static str, &'static str)> {
    Some(match algorithm {
        "md5WithRSAEncryption" => ("md5", "rsa_pkcs1"),
        "sha1WithRSAEncryption" => ("sha1", "rsa_pkcs1"),
        "sha224WithRSAEncryption" => ("sha224", "rsa_pkcs1"),
        "sha256WithRSAEncryption" => ("sha256", "rsa_pkcs1"),
        "sha384WithRSAEncryption" => ("sha384", "rsa_pkcs1"),
        "sha512WithRSAEncryption" => ("sha512", "rsa_pkcs1"),
        "ecdsa-with-SHA1" => ("sha1", "ecdsa"),
        "ecdsa-with-SHA256" => ("sha256", "ecdsa"),
        "ecdsa-with-SHA384" => ("sha384", "ecdsa"),
        "ecdsa-with-SHA512" => ("sha512", "ecdsa"),
        _ => return None,
    })
}

fn describe_signature(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, || {
            let schemes = hello.shape.signature_algorithms.as_deref().unwrap_or(&[]);
            let names: Vec<String> = schemes
                .iter()
                .filter(|code| !is_grease(code.0))
                .map(|code| SignatureScheme(code.0).to_string())
                .collect();
            format!("ClientHello signature_algorithms: {}", names.join(", "))
        });
    }
    for certificate in &facts.record.certificates {
        let algorithm = certificate.signature_algorithm.as_deref().unwrap_or("?");
        sheet.note("algorithm", algorithm);
        sheet.fact(facts.frame(), || {
            format!(
                "certificate {} is signed with {algorithm}",
                certificate_name(certificate)
            )
        });
    }
    describe_alerts(facts, sheet);
}

/// `client-cert-problem`. An empty Certificate and then success is normal, and not reported.
fn client_certificate(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let record = facts.record;
    let certain = |cause| Some(Verdict::new(Severity::Warning, Confidence::Certain, cause));
    let names = facts
        .observed(|observed| observed.authority_names)
        .unwrap_or(0);
    let bytes = facts
        .observed(|observed| observed.certificate_request_bytes)
        .unwrap_or(0);
    if names > 0 && (16_320..=16_400).contains(&bytes) {
        return Some(Verdict::new(
            Severity::Warning,
            Confidence::Likely,
            "list-cut",
        ));
    }
    if record.outcome.is_complete() || !facts.whole {
        return None;
    }
    if !record.client_certificates.is_empty()
        && matches!(facts.fatal_code(Side::Server), Some(42..=51 | 116))
    {
        return certain("rejected");
    }
    let empty = facts.observed(|observed| observed.client_certificate_empty) == Some(true);
    let refused = matches!(record.outcome, Outcome::ServerAlert | Outcome::LateFailure);
    (empty && refused).then_some(())?;
    certain("none-sent")
}

fn describe_client_certificate(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    let names = facts.observed(|observed| observed.authority_names);
    sheet.fact(facts.frame(), || {
        let names = names.map_or_else(|| "unknown number of".to_owned(), |names| names.to_string());
        format!(
            "the server asks for a client certificate ({names} authority names); the client sent {} certificate(s); outcome: {}",
            facts.record.client_certificates.len(),
            facts.record.outcome.as_str()
        )
    });
    for certificate in facts.record.client_certificates.iter().take(1) {
        sheet.note("certificate", &certificate_name(certificate));
    }
    describe_alerts(facts, sheet);
}

/// `tls13-abort-hidden`: the client's first encrypted record has the size of an alert, or it closes without any.
fn abort_hidden(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if facts.negotiated != Some(VersionRank::Tls13)
        || !facts.whole
        || facts.fatal_alert(Side::Client).is_some()
    {
        return None;
    }
    let short_tag = facts.suite()?.0 == 0x1305;
    let alert_bytes = if short_tag { 11 } else { 19 };
    let flight = facts.observed(|observed| observed.server_flight_bytes);
    if flight.is_some_and(|bytes| bytes < 600) && !facts.server_hello?.resumed {
        return None;
    }
    match facts.observed(|observed| observed.first_client_record_bytes) {
        Some(bytes) if bytes == alert_bytes => Some(Verdict::new(
            Severity::Warning,
            Confidence::Likely,
            "alert-sized",
        )),
        Some(_) => None,
        None if facts.record.outcome == Outcome::ClientAbort => Some(Verdict::new(
            Severity::Warning,
            Confidence::Possible,
            "closed",
        )),
        None => None,
    }
}

fn describe_abort(facts: &Facts<'_>, verdict: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    sheet.fact(facts.frame(), || {
        format!(
            "ServerHello: TLS 1.3, {}",
            facts.suite().map_or_else(|| "?".to_owned(), suite_name)
        )
    });
    let close = facts.record.tcp.as_ref().and_then(|tcp| tcp.close_frame);
    sheet.fact(close.unwrap_or_else(|| facts.frame()), || {
        if verdict.cause == "closed" {
            "the client closed without an encrypted record".to_owned()
        } else {
            "before this, the client's first encrypted record had the length of an alert, not of a Finished".to_owned()
        }
    });
}

/// `late-handshake-failure`.
fn late_failure(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let record = facts.record;
    if !facts.is_clear() || !facts.whole || record.outcome.is_complete() {
        return None;
    }
    let late_alert = record.outcome == Outcome::ServerAlert
        && matches!(facts.fatal_code(Side::Server), Some(20 | 51 | 80));
    if record.outcome != Outcome::LateFailure && !late_alert {
        return None;
    }
    // A client certificate or its absence is the matter of another finding.
    if !record.client_certificates.is_empty() || record.certificate_requested {
        return None;
    }
    let hello = facts.server_hello?;
    let dhe = facts
        .suite()
        .and_then(|suite| suite.entry())
        .is_some_and(|entry| entry.key_exchange == KeyExchange::Dhe);
    let (cause, confidence) = if dhe {
        ("dhe-padding", Confidence::Possible)
    } else if hello.resumed
        && facts.client_hello?.shape.extended_master_secret != hello.shape.extended_master_secret
    {
        ("ems-resumption", Confidence::Likely)
    } else {
        ("", Confidence::Certain)
    };
    Some(Verdict::new(Severity::Warning, confidence, cause))
}

fn describe_late(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(suite) = facts.suite() {
        sheet.note("suite", suite.name().unwrap_or("?"));
    }
    sheet.fact(facts.frame(), || {
        let ems = |present: bool| if present { "with" } else { "without" };
        format!(
            "ServerHello: {}, {}, {} extended_master_secret (client {}); outcome: {}",
            facts.negotiated.map_or("?", version_name),
            facts.suite().map_or_else(|| "?".to_owned(), suite_name),
            ems(facts
                .server_hello
                .is_some_and(|hello| hello.shape.extended_master_secret)),
            ems(facts
                .client_hello
                .is_some_and(|hello| hello.shape.extended_master_secret)),
            facts.record.outcome.as_str()
        )
    });
    describe_alerts(facts, sheet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert, has};
    use crate::record::{Code16, Defect, Sentinel};

    #[test]
    fn alpn_that_fails_or_was_not_offered() {
        let id = "alpn-no-agreement";
        let offer = || Make::new().alpn(&["h2"]);
        assert!(has(
            &offer()
                .alert(Side::Server, 120)
                .outcome(Outcome::ServerAlert),
            id
        ));
        assert!(has(&offer().answer(0x0303, 0xc02f).selected("spdy/3"), id));
        assert!(!has(&offer().answer(0x0303, 0xc02f).selected("h2"), id));
        assert!(!has(&offer().answer(0x0303, 0xc02f), id));
    }

    #[test]
    fn no_suite_that_microsoft_documents() {
        let id = "o365-no-common-cipher";
        let offer = |suites: &[u16]| {
            Make::new()
                .sni("outlook.office365.com")
                .suites(suites)
                .alert(Side::Server, 40)
                .outcome(Outcome::ServerAlert)
        };
        assert!(has(&offer(&[0xc02b, 0xcca9]), id));
        assert!(!has(&offer(&[0xc02b, 0xc014]), id));
        assert!(!has(&offer(&[0xc02b]).sni("www.contoso.com"), id));
        // The service took it: the list is only a list.
        assert!(!has(&offer(&[0xc02b]).answer(0x0303, 0xc02b), id));
    }

    #[test]
    fn a_downgrade_in_plain_view() {
        let id = "downgrade-sentinel-ignored";
        let seen = Make::new()
            .tls13()
            .answer(0x0303, 0xc02f)
            .sentinel(Sentinel::Tls12);
        assert!(has(&seen, id));
        assert!(!has(
            &Make::new().answer(0x0303, 0xc02f).sentinel(Sentinel::Tls12),
            id
        ));
        assert!(!has(&Make::new().tls13().answer(0x0303, 0xc02f), id));
    }

    #[test]
    fn signatures_that_the_client_did_not_offer() {
        let id = "sigalg-cert-mismatch";
        let shown = |algorithm: &str| {
            let mut leaf = cert("CN=www.contoso.com", &["www.contoso.com"]);
            leaf.signature_algorithm = Some(algorithm.into());
            Make::new()
                .shape(|shape| {
                    shape.signature_algorithms = Some(vec![Code16(0x0401), Code16(0x0403)])
                })
                .answer(0x0303, 0xc02f)
                .certificate(leaf)
        };
        assert!(has(&shown("sha512WithRSAEncryption"), id));
        assert!(!has(&shown("sha256WithRSAEncryption"), id));
        // An algorithm that we do not know proves nothing.
        assert!(!has(&shown("1.2.3.4"), id));
    }

    #[test]
    fn client_certificates() {
        let id = "client-cert-problem";
        let asked = || {
            Make::new()
                .answer(0x0303, 0xc02f)
                .with(|record| record.certificate_requested = true)
        };
        let refused = asked()
            .with(|record| record.client_certificates.push(cert("CN=joe", &[]).into()))
            .alert(Side::Server, 48)
            .outcome(Outcome::ServerAlert);
        assert!(has(&refused, id));
        let optional = asked().observed(|observed| observed.client_certificate_empty = Some(true));
        assert!(!has(&optional, id));
        assert!(has(&optional.outcome(Outcome::LateFailure), id));
        let long = asked().observed(|observed| {
            observed.authority_names = Some(150);
            observed.certificate_request_bytes = Some(16_380);
        });
        assert!(has(&long, id));
    }

    #[test]
    fn aborts_that_tls13_hides() {
        let id = "tls13-abort-hidden";
        let made = |bytes| {
            Make::new()
                .tls13()
                .answer(0x0304, 0x1301)
                .outcome(Outcome::ClientAbort)
                .observed(|observed| {
                    observed.first_client_record_bytes = bytes;
                    observed.server_flight_bytes = Some(3_000);
                })
        };
        assert!(has(&made(Some(19)), id));
        assert!(has(&made(None), id));
        assert!(!has(&made(Some(53)), id));
        assert!(!has(
            &made(None).with(|record| record.defects.push(Defect::OneDirection)),
            id
        ));
        assert!(!has(&made(None).answer(0x0303, 0xc02f), id));
    }

    #[test]
    fn late_failures() {
        let id = "late-handshake-failure";
        let late = Make::new()
            .answer(0x0303, 0x009e)
            .outcome(Outcome::LateFailure);
        assert!(has(&late, id));
        assert!(!has(&late.clone().outcome(Outcome::Truncated), id));
        assert!(!has(
            &late.with(|record| record.defects.push(Defect::Gap)),
            id
        ));
        assert!(!has(&Make::new().answer(0x0303, 0x009e), id));
    }
}
