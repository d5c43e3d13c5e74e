//! Negotiations that fail or go wrong within one handshake: ALPN, suites, signatures, downgrades.
//!
//! Each is raised from what one record proves; where the reason needs other handshakes (what else did this server
//! accept?), a survey in `failures` speaks.

use super::facts::{Facts, suite_name, version_name};
use super::groups::server_subject;
use super::marks::{chain_marks, hello_marks, marks};
use super::names::certificate_name;
use super::text::{Say, say};
use super::version::{describe_alerts, is_downgrade};
use super::{Entry, Lang, Rule, Settings, Sheet, Subject, Verdict, When, hosts};
use crate::record::{
    Certificate, Close, Code16, Confidence, Outcome, Scope, Sentinel, Severity, Side,
};
use crate::tls::code_points::{CipherSuite, SignatureScheme, VersionRank, is_grease};

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
    )
    .when(When::SELECTED.or(When::ALERTED)),
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
    )
    .when(When::UNANSWERED),
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
    )
    .when(When::SENTINEL),
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
    )
    .when(When::SHOWN),
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
        sheet.fact(hello.frame, |lang| {
            let offered = hello.shape.alpn.as_deref().unwrap_or(&[]).join(", ");
            say(lang, "alpn-offer").with("alpn", offered)
        });
    }
    if let Some(selected) = facts.alpn() {
        sheet.fact(facts.frame(), |lang| {
            say(lang, "alpn-selected").with("alpn", selected)
        });
    }
    describe_alerts(facts, sheet);
}

/// TLS 1.2 or higher is offered, and no suite that Microsoft documents for its services.
pub(super) fn lacks_o365_suite(
    offer_max: Option<VersionRank>,
    offered: impl IntoIterator<Item = CipherSuite>,
    settings: &Settings,
) -> bool {
    let tls13 = offer_max == Some(VersionRank::Tls13);
    let is_taken = |suite: CipherSuite| {
        hosts::o365_suites(settings).contains(&suite.0)
            || (tls13 && matches!(suite.0, 0x1301 | 0x1302))
    };
    offer_max >= Some(VersionRank::Tls12) && !offered.into_iter().any(is_taken)
}

/// `o365-no-common-cipher`.
fn o365_cipher(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    facts.client_hello?;
    if facts.server_hello.is_some() {
        return None;
    }
    if !lacks_o365_suite(facts.offer_max, facts.offered(), settings)
        || !facts
            .wanted()
            .is_some_and(|name| hosts::is_strict(name, settings))
    {
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
        sheet.fact(hello.frame, |lang| {
            offer_words(lang, facts.offer_max, facts.offered())
        });
    }
    describe_alerts(facts, sheet);
}

/// What a hello offers: its version and the first of its suites.
pub(super) fn offer_words(
    lang: Lang,
    offer_max: Option<VersionRank>,
    suites: impl Iterator<Item = CipherSuite>,
) -> Say {
    let suites: Vec<CipherSuite> = suites.collect();
    let shown: Vec<String> = suites.iter().take(8).copied().map(suite_name).collect();
    say(lang, "offer-suites")
        .with("offered", offer_max.map_or("?", version_name))
        .with("count", suites.len())
        .with("suites", shown.join(", "))
}

/// `downgrade-sentinel-ignored`.
fn downgrade(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if !is_downgrade(facts) || facts.client_hello?.shape.supported_versions.is_none() {
        return None;
    }
    let outcome = facts.record.outcome;
    let cause = if facts.fatal_code(Side::Client) == Some(47) {
        "noticed"
    } else if outcome.is_complete() || outcome == Outcome::LateFailure {
        "ignored"
    } else {
        // The client ended without saying why, or the capture or the server did.
        ""
    };
    Some(Verdict::new(Severity::Error, Confidence::Certain, cause))
}

fn describe_downgrade(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(version) = facts.negotiated {
        sheet.note_word("version", version_name(version));
    }
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, |lang| say(lang, "offer-tls13"));
    }
    let random = facts
        .server_hello
        .and_then(|hello| hello.shape.downgrade_sentinel);
    let end = match random {
        Some(Sentinel::Tls11) => "00",
        Some(Sentinel::Tls12) | None => "01",
    };
    sheet.fact(facts.frame(), |lang| {
        say(lang, "downgrade-server")
            .with("version", facts.negotiated.map_or("?", version_name))
            .with("end", end)
            .with("outcome", facts.record.outcome.as_str())
    });
    describe_alerts(facts, sheet);
}

/// `sigalg-cert-mismatch`, as far as certificates are shown: TLS 1.2, where signature_algorithms counts.
fn signature(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if facts.negotiated != Some(VersionRank::Tls12) {
        return None;
    }
    let shape = &facts.client_hello?.shape;
    let shown = chain_marks(facts.record).filter(|_| facts.shows_leaf)?;
    let offered = hello_marks(shape);
    let key_type = shown.has_ecdsa_key && !offered.offers_ecdsa;
    if shown.schemes & !offered.schemes == 0 && !key_type {
        return None;
    }
    let schemes = shape.signature_algorithms.as_deref()?;
    let mut chain = facts.record.certificates.iter();
    let mismatch = chain.any(|certificate| is_signed_otherwise(certificate, schemes));
    if !mismatch && !key_type {
        return None;
    }
    let rejected = matches!(facts.fatal_code(Side::Client), Some(40 | 42 | 43 | 51));
    // A reset by the server is no answer of the client's to the certificate.
    let reset = facts.record.outcome == Outcome::ClientAbort
        && facts
            .record
            .tcp
            .as_ref()
            .is_some_and(|tcp| tcp.close == Close::Rst && tcp.closed_by != Some(Side::Server));
    let severity = if rejected || reset {
        Severity::Error
    } else {
        Severity::Warning
    };
    let cause = if mismatch { "" } else { "key-type" };
    Some(Verdict::new(severity, Confidence::Certain, cause))
}

/// The certificate is signed in a way that a client with these schemes does not offer. What a root says of itself does not
/// matter, and an algorithm that is not known proves nothing.
pub(super) fn is_signed_otherwise(certificate: &Certificate, schemes: &[Code16]) -> bool {
    let usual = marks(certificate).scheme;
    if certificate.self_signed || usual.is_none_or(|usual| schemes.contains(&Code16(usual))) {
        return false;
    }
    let algorithm = certificate.signature_algorithm.as_deref();
    let Some((_, hash, signature)) = algorithm.and_then(parts) else {
        return false;
    };
    !schemes.iter().any(|code| {
        let scheme = SignatureScheme(code.0);
        scheme.hash() == Some(hash) && scheme.signature() == Some(signature)
    })
}

/// The key that signs the key exchange: an ECDSA certificate needs a scheme of its own.
pub(super) fn lacks_key_type(leaf: &Certificate, schemes: &[Code16]) -> bool {
    marks(leaf).has_ecdsa_key && !offers_ecdsa(schemes)
}

pub(super) fn offers_ecdsa(schemes: &[Code16]) -> bool {
    let offers = |code: &Code16| SignatureScheme(code.0).signature() == Some("ecdsa");
    schemes.iter().any(offers)
}

/// The scheme that mostly stands for the algorithm with which a certificate is signed.
pub(super) fn usual_scheme(certificate: &Certificate) -> Option<u16> {
    let algorithm = certificate.signature_algorithm.as_deref()?;
    parts(algorithm).map(|(scheme, ..)| scheme)
}

/// A scheme of RSA (PKCS #1) or ECDSA as a bit; of others none.
pub(super) fn scheme_bit(code: u16) -> u16 {
    let hash = code >> 8;
    match (hash, code & 0xff) {
        (1..=6, 1) => 1 << (2 * hash),
        (1..=6, 3) => 2 << (2 * hash),
        _ => 0,
    }
}

/// A certificate's algorithm: the scheme that mostly stands for it (RFC 5246 section 7.4.1.4.1, RFC 8446 section
/// 4.2.3), and its hash and signature in the words of the scheme table.
fn parts(algorithm: &str) -> Option<(u16, &'static str, &'static str)> {
    Some(match algorithm {
        "md5WithRSAEncryption" => (0x0101, "md5", "rsa_pkcs1"),
        "sha1WithRSAEncryption" => (0x0201, "sha1", "rsa_pkcs1"),
        "sha224WithRSAEncryption" => (0x0301, "sha224", "rsa_pkcs1"),
        "sha256WithRSAEncryption" => (0x0401, "sha256", "rsa_pkcs1"),
        "sha384WithRSAEncryption" => (0x0501, "sha384", "rsa_pkcs1"),
        "sha512WithRSAEncryption" => (0x0601, "sha512", "rsa_pkcs1"),
        "ecdsa-with-SHA1" => (0x0203, "sha1", "ecdsa"),
        "ecdsa-with-SHA256" => (0x0403, "sha256", "ecdsa"),
        "ecdsa-with-SHA384" => (0x0503, "sha384", "ecdsa"),
        "ecdsa-with-SHA512" => (0x0603, "sha512", "ecdsa"),
        _ => return None,
    })
}

fn describe_signature(facts: &Facts<'_>, verdict: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, |lang| {
            let schemes = hello.shape.signature_algorithms.as_deref().unwrap_or(&[]);
            let names: Vec<String> = schemes
                .iter()
                .filter(|code| !is_grease(code.0))
                .map(|code| SignatureScheme(code.0).to_string())
                .collect();
            say(lang, "offer-signatures").with("schemes", names.join(", "))
        });
    }
    let schemes = facts
        .client_hello
        .and_then(|hello| hello.shape.signature_algorithms.as_deref());
    let schemes = schemes.unwrap_or(&[]);
    if verdict.cause == "key-type"
        && let Some(leaf) = facts.leaf()
    {
        sheet.fact(facts.frame(), |lang| {
            say(lang, "cert-key-type")
                .with("certificate", certificate_name(leaf))
                .with("key", leaf.key.as_deref().unwrap_or("?"))
        });
    }
    let chain = facts.record.certificates.iter();
    for certificate in chain.filter(|certificate| is_signed_otherwise(certificate, schemes)) {
        let algorithm = certificate.signature_algorithm.as_deref().unwrap_or("?");
        sheet.note("algorithm", algorithm);
        sheet.fact(facts.frame(), |lang| {
            say(lang, "cert-signed")
                .with("certificate", certificate_name(certificate))
                .with("algorithm", algorithm)
        });
    }
    describe_alerts(facts, sheet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert, diagnose, find, has};
    use crate::record::Code16;

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
        let says = |made: Make, end: &str| {
            let found = diagnose(&[made]);
            let evidence = &find(&found, id).unwrap().evidence;
            evidence.iter().any(|shown| shown.fact.contains(end))
        };
        assert!(says(seen, "44 4f 57 4e 47 52 44 01"));
        let lower = Make::new().tls13().answer(0x0301, 0xc014);
        assert!(says(
            lower.sentinel(Sentinel::Tls11),
            "44 4f 57 4e 47 52 44 00"
        ));
        assert!(!has(
            &Make::new().answer(0x0303, 0xc02f).sentinel(Sentinel::Tls12),
            id
        ));
        assert!(!has(&Make::new().tls13().answer(0x0303, 0xc02f), id));
    }

    #[test]
    fn only_who_went_on_ignored_a_downgrade() {
        let id = "downgrade-sentinel-ignored";
        let seen = || {
            let made = Make::new().tls13().answer(0x0303, 0xc02f);
            made.sentinel(Sentinel::Tls12)
        };
        let title = |made: Make| find(&diagnose(&[made]), id).unwrap().title.to_string();
        let ended = |code| {
            seen()
                .alert(Side::Client, code)
                .outcome(Outcome::ClientAlert)
        };
        assert!(title(seen()).contains("unnoticed"));
        assert!(title(ended(47)).contains("detected"));
        // It ended, and did not say that it was for this; or who knows.
        for made in [
            ended(40),
            seen().outcome(Outcome::ClientAbort),
            seen().outcome(Outcome::Truncated),
        ] {
            let title = title(made);
            assert!(title.contains("TLS 1.2 was chosen"), "{title}");
        }
        let older = Make::new().tls13().answer(0x0302, 0xc014);
        let older = older
            .sentinel(Sentinel::Tls11)
            .outcome(Outcome::ClientAbort);
        assert!(title(older).contains("TLS 1.1 was chosen"));
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
        // What was offered is not named beside what was not.
        let chain = shown("sha512WithRSAEncryption");
        let found = diagnose(&[chain.certificate(cert("CN=Issuing", &[]))]);
        let finding = find(&found, id).unwrap();
        assert!(finding.title.contains("sha512") && !finding.title.contains("sha256"));
        let facts: Vec<&str> = finding.evidence.iter().map(|shown| &*shown.fact).collect();
        assert_eq!(facts.len(), 2, "{facts:?}");
        let ecdsa = |schemes: &[u16]| {
            let schemes: Vec<Code16> = schemes.iter().map(|code| Code16(*code)).collect();
            shown("sha256WithRSAEncryption")
                .shape(|shape| shape.signature_algorithms = Some(schemes))
                .leaf(|leaf| leaf.key = Some("ecdsa-p256".into()))
        };
        assert!(has(&ecdsa(&[0x0401]), id));
        assert!(!has(&ecdsa(&[0x0401, 0x0403]), id));
    }
}
