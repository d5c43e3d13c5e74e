//! Cryptography that works but should not be used any more: suites, key exchange, missing protections.
//!
//! Each of these is proved by the ServerHello or ServerKeyExchange. Opportunistic TLS (STARTTLS between mail servers) is
//! judged one level milder, since weak encryption beats none there.

use super::facts::{Facts, is_malformed, suite_name, version_name};
use super::groups::server_subject;
use super::text::say;
use super::version::describe_alerts;
use super::{Entry, Rule, Settings, Sheet, Subject, Verdict, When};
use crate::record::{Confidence, Scope, ServerHelloShape, Severity, Side};
use crate::tls::code_points::{
    Authentication, CipherMode, CipherSuite, KeyExchange, Mac, NamedGroup, SuiteEntry, Version,
    VersionRank,
};

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule::new(
        Entry::new(
            "weak-cipher-negotiated",
            Severity::Error,
            Scope::Handshake,
            "RFC 7465 (RC4); RFC 9325 sections 4.1 and 4.2; RFC 9113 section 9.2.1 (compression)",
        ),
        weak_cipher,
        server_subject,
        describe_suite,
    )
    .when(When::WEAK_SUITE),
    Rule::new(
        Entry::new(
            "no-forward-secrecy",
            Severity::Warning,
            Scope::Handshake,
            "RFC 9325 section 4.1",
        ),
        no_forward_secrecy,
        server_subject,
        describe_suite,
    )
    .when(When::FIXED_KEY),
    Rule::new(
        Entry::new(
            "weak-dh-group",
            Severity::Error,
            Scope::Handshake,
            "RFC 7919; RFC 9325 section 4.5; RFC 9113 section 9.2.1",
        ),
        weak_group,
        server_subject,
        describe_group,
    )
    .when(When::UNUSUAL_GROUP),
    Rule::new(
        Entry::new(
            "tls12-missing-protections",
            Severity::Warning,
            Scope::Server,
            "RFC 5746 sections 3.4 and 3.6; RFC 7627 section 5; RFC 9325 section 3.5",
        ),
        missing_protections,
        by_lacking_side,
        describe_protections,
    )
    .when(When::UNPROTECTED),
];

/// One level milder where TLS is opportunistic.
fn milder(severity: Severity, facts: &Facts<'_>) -> Severity {
    match (facts.record.starttls.as_deref(), severity) {
        (Some("smtp"), Severity::Error) => Severity::Warning,
        (Some("smtp"), Severity::Warning) => Severity::Info,
        _ => severity,
    }
}

/// `weak-cipher-negotiated`.
fn weak_cipher(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let (severity, cause) = weak_answer(&facts.server_hello?.shape)?;
    Some(Verdict::new(
        milder(severity, facts),
        Confidence::Certain,
        cause,
    ))
}

/// What is weak in a server's choice, where it shows all of that: TLS 1.2 and below.
pub(super) fn weak_answer(shape: &ServerHelloShape) -> Option<(Severity, &'static str)> {
    let version = Version(shape.version.0).rank()?;
    if version > VersionRank::Tls12 {
        return None;
    }
    let suite = CipherSuite(shape.cipher_suite.0).entry();
    match suite.and_then(|entry| weakness(entry, version)) {
        Some(found) if found.0 == Severity::Error => Some(found),
        // Under HTTP/2 `h2-tls-feature` says so.
        _ if shape.compression != 0 && shape.alpn.as_deref() != Some("h2") => {
            Some((Severity::Error, "compression"))
        }
        found => found,
    }
}

fn weakness(entry: &SuiteEntry, version: VersionRank) -> Option<(Severity, &'static str)> {
    let found = match (entry.encryption, entry.mac) {
        _ if entry.authentication == Authentication::Anon => (Severity::Error, "anonymous"),
        _ if entry.export => (Severity::Error, "export"),
        ("NULL", _) => (Severity::Error, "null"),
        ("RC4" | "RC2" | "DES", _) => (Severity::Error, "broken"),
        ("3DES" | "IDEA" | "SEED", _) => (Severity::Warning, "short-block"),
        (_, Mac::HmacMd5) => (Severity::Warning, "md5"),
        (_, Mac::HmacSha1) if entry.mode == CipherMode::Cbc && version == VersionRank::Tls12 => {
            (Severity::Info, "cbc-sha1")
        }
        _ => return None,
    };
    Some(found)
}

fn describe_suite(facts: &Facts<'_>, verdict: Verdict, sheet: &mut Sheet<'_>) {
    let Some(suite) = facts.suite() else { return };
    sheet.note_word("suite", suite.name().unwrap_or("?"));
    sheet.parties(facts);
    // The best that both could have done, with the same certificate.
    let authentication = suite.entry().map(|entry| entry.authentication);
    let better = facts.offered().find(|other| {
        other.entry().is_some_and(|entry| {
            entry.forward_secret && entry.aead && Some(entry.authentication) == authentication
        })
    });
    // Which suite was chosen is not what compression is about.
    let of_suite = verdict.cause != "compression";
    if let Some(better) = better.filter(|_| of_suite) {
        sheet.note_word("better", better.name().unwrap_or("?"));
    }
    sheet.fact(facts.frame(), |lang| {
        let hello = facts.server_hello;
        let compressed = hello.is_some_and(|hello| hello.shape.compression != 0);
        let fact = say(lang, "server-chose")
            .with("version", facts.negotiated.map_or("?", version_name))
            .with("suite", suite_name(suite))
            .and_if(compressed, "suite-compression");
        match better {
            _ if !of_suite => fact,
            Some(better) => fact.and("suite-better").with("better", suite_name(better)),
            None if facts.client_hello.is_none() => fact.and("suite-offer-not-seen"),
            None => fact.and("suite-no-better"),
        }
    });
}

/// `no-forward-secrecy`.
fn no_forward_secrecy(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if !facts.is_clear() || !has_fixed_key(facts.suite()?) {
        return None;
    }
    let offered = facts
        .offered()
        .any(|suite| suite.entry().is_some_and(|entry| entry.forward_secret));
    let cause = match (facts.client_hello.is_some(), offered) {
        (true, false) => "client-offer",
        (true, true) => "server-order",
        (false, _) => "",
    };
    Some(Verdict::new(
        milder(Severity::Warning, facts),
        Confidence::Certain,
        cause,
    ))
}

/// Who has the server's key can read all that such a suite protected.
pub(super) fn has_fixed_key(suite: CipherSuite) -> bool {
    suite.entry().is_some_and(|entry| {
        matches!(
            entry.key_exchange,
            KeyExchange::Rsa | KeyExchange::Dh | KeyExchange::Ecdh | KeyExchange::RsaPsk
        )
    })
}

/// `weak-dh-group`.
fn weak_group(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let exchange = facts.record.key_exchange.as_ref()?;
    let severity = match (exchange.dh_bits, exchange.group) {
        (Some(bits), _) if bits < 1024 => Severity::Error,
        (Some(bits), _) if bits < 2048 => Severity::Warning,
        // Large enough; yet servers should not choose it any more.
        (Some(_), _) => Severity::Info,
        (None, Some(group)) if NamedGroup(group.0).bits()? < 224 => Severity::Error,
        _ => return None,
    };
    let cause = match (exchange.dh_bits, severity) {
        (Some(_), Severity::Info) => "finite-field",
        (Some(_), _) => "dhe",
        (None, _) => "curve",
    };
    Some(Verdict::new(
        milder(severity, facts),
        Confidence::Certain,
        cause,
    ))
}

fn describe_group(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    let Some(exchange) = &facts.record.key_exchange else {
        return;
    };
    sheet.parties(facts);
    let words = match (exchange.dh_bits, exchange.group) {
        (Some(bits), _) => {
            let words = say(sheet.lang(), "dh-bits").with("bits", bits);
            match exchange.dh_group.as_deref() {
                Some(name) => words.and("dh-name").with("prime", name).text(),
                None => words.text(),
            }
        }
        (None, Some(group)) => NamedGroup(group.0).to_string(),
        (None, None) => return,
    };
    sheet.note("group", &words);
    sheet.fact(facts.frame(), |lang| {
        let suite = facts.suite().map_or_else(|| "?".to_owned(), suite_name);
        say(lang, "key-exchange")
            .with("suite", suite)
            .with("group", words)
    });
    describe_refusal(facts, sheet);
}

/// How the client ended the handshake, where that may be for what was negotiated: no other finding speaks of these alerts.
fn describe_refusal(facts: &Facts<'_>, sheet: &mut Sheet<'_>) {
    if matches!(facts.fatal_code(Side::Client), Some(40 | 47 | 71 | 80)) {
        describe_alerts(facts, sheet);
    }
}

/// `tls12-missing-protections`. Renegotiation protection first: a lack of it is the graver.
fn missing_protections(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let (client, server) = (facts.client_hello?, facts.server_hello?);
    if !facts.is_clear()
        || facts.negotiated? <= VersionRank::Ssl30
        || facts.record.renegotiation
        || is_malformed(facts.record)
    {
        return None;
    }
    let cause = if client.shape.renegotiation_info && !server.shape.renegotiation_info {
        "no-secure-renegotiation"
    } else if client.shape.extended_master_secret && !server.shape.extended_master_secret {
        "no-ems"
    } else if !client.shape.extended_master_secret && facts.negotiated? == VersionRank::Tls12 {
        "no-ems-client"
    } else {
        return None;
    };
    let severity = if cause == "no-ems-client" {
        Severity::Info
    } else {
        Severity::Warning
    };
    Some(Verdict::new(severity, Confidence::Certain, cause))
}

fn by_lacking_side(facts: &Facts<'_>, verdict: Verdict) -> Subject {
    if verdict.cause == "no-ems-client" {
        Subject::Client(facts.record.client.ip, "TLS 1.2".into())
    } else {
        server_subject(facts, verdict)
    }
}

fn describe_protections(facts: &Facts<'_>, verdict: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    let (client, server) = match verdict.cause {
        "no-secure-renegotiation" => ("client-renegotiation-info", "server-no-renegotiation-info"),
        "no-ems" => ("client-ems", "server-no-ems"),
        _ => ("client-no-ems", "server-tls12"),
    };
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, |lang| say(lang, client));
    }
    sheet.fact(facts.frame(), |lang| say(lang, server));
    describe_refusal(facts, sheet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find, has};
    use crate::record::Outcome;

    fn severity(made: Make, id: &str) -> Option<Severity> {
        find(&diagnose(&[made]), id).map(|finding| finding.severity)
    }

    #[test]
    fn weak_suites_by_grade() {
        let made = |suite| Make::new().answer(0x0303, suite);
        let id = "weak-cipher-negotiated";
        assert_eq!(severity(made(0x0005), id), Some(Severity::Error));
        assert_eq!(severity(made(0x000a), id), Some(Severity::Warning));
        assert_eq!(severity(made(0xc014), id), Some(Severity::Info));
        assert_eq!(severity(made(0x0034), id), Some(Severity::Error));
        assert_eq!(severity(made(0xc02f), id), None);
        assert_eq!(
            severity(Make::new().tls13().answer(0x0304, 0x1301), id),
            None
        );
        // What a hello lacked is said only where it was seen.
        let fact = |made: Make| {
            find(&diagnose(&[made]), id).unwrap().evidence[0]
                .fact
                .clone()
        };
        let old = || made(0xc014).suites(&[0xc014]);
        assert!(fact(old()).contains("the client offered no ECDHE suite"));
        let unseen = fact(old().with(|record| record.client_hello = None));
        assert!(unseen.contains("not in the capture"), "{unseen}");
        let mail = made(0x0005).with(|record| record.starttls = Some("smtp".into()));
        assert_eq!(severity(mail, id), Some(Severity::Warning));
        let compressed = made(0xc02f).reply(|shape| shape.compression = 1);
        assert_eq!(severity(compressed, id), Some(Severity::Error));
    }

    #[test]
    fn compression_is_no_matter_of_suites() {
        let id = "weak-cipher-negotiated";
        let made = || {
            let made = Make::new().answer(0x0303, 0xc030);
            made.reply(|shape| shape.compression = 1)
        };
        let found = diagnose(&[made()]);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.severity, Severity::Error);
        assert!(!finding.affects.iter().any(|line| line.contains("Better")));
        assert!(
            !finding
                .remediation
                .iter()
                .any(|step| step.contains("Functions"))
        );
        // Under HTTP/2 another finding says so.
        let http2 = || made().alpn(&["h2"]).selected("h2");
        assert!(has(&http2(), "h2-tls-feature"));
        assert!(!has(&http2(), id));
        // A suite's own weakness stays.
        let outdated = http2().reply(|shape| shape.cipher_suite = crate::record::Code16(0xc014));
        assert_eq!(severity(outdated, id), Some(Severity::Info));
    }

    #[test]
    fn forward_secrecy() {
        let id = "no-forward-secrecy";
        assert!(has(&Make::new().answer(0x0303, 0x009c), id));
        assert!(has(
            &Make::new().suites(&[0x009c]).answer(0x0303, 0x009c),
            id
        ));
        assert!(!has(&Make::new().answer(0x0303, 0xc014), id));
        assert!(!has(&Make::new().tls13().answer(0x0304, 0x1301), id));
    }

    #[test]
    fn groups_by_size() {
        let made = |bits| {
            Make::new().answer(0x0303, 0x009e).with(|record| {
                record.key_exchange = Some(crate::record::KeyExchange {
                    kind: "dhe".into(),
                    group: None,
                    dh_bits: Some(bits),
                    dh_group: None,
                    signature_algorithm: None,
                });
            })
        };
        let id = "weak-dh-group";
        assert_eq!(severity(made(768), id), Some(Severity::Error));
        assert_eq!(severity(made(1024), id), Some(Severity::Warning));
        assert_eq!(severity(made(2048), id), Some(Severity::Info));
        let found = diagnose(&[made(3072)]);
        assert!(!find(&found, id).unwrap().title.contains("small"));
        let curve = made(0).with(|record| {
            if let Some(exchange) = &mut record.key_exchange {
                exchange.dh_bits = None;
                exchange.group = Some(crate::record::Code16(0x001d));
            }
        });
        assert_eq!(severity(curve, id), None);
    }

    #[test]
    fn protections_of_tls12() {
        let id = "tls12-missing-protections";
        let fine = Make::new().answer(0x0303, 0xc02f);
        assert!(!has(&fine, id));
        assert!(has(
            &fine.clone().reply(|shape| shape.renegotiation_info = false),
            id
        ));
        assert!(has(
            &fine
                .clone()
                .reply(|shape| shape.extended_master_secret = false),
            id
        ));
        let old_client = fine
            .shape(|shape| shape.extended_master_secret = false)
            .reply(|shape| shape.extended_master_secret = false);
        assert_eq!(severity(old_client, id), Some(Severity::Info));
        assert!(!has(&Make::new().tls13().answer(0x0304, 0x1301), id));
    }

    #[test]
    fn an_alert_of_the_client_is_shown_beside_what_it_may_dislike() {
        let ended = |made: Make| made.alert(Side::Client, 40).outcome(Outcome::ClientAlert);
        let old = Make::new().answer(0x0303, 0xc02f);
        let old = old.reply(|shape| shape.renegotiation_info = false);
        let weak = Make::new().answer(0x0303, 0x009e).with(|record| {
            record.key_exchange = Some(crate::record::KeyExchange {
                kind: "dhe".into(),
                group: None,
                dh_bits: Some(1024),
                dh_group: None,
                signature_algorithm: None,
            });
        });
        for (id, made, kept) in [
            ("tls12-missing-protections", old, 2),
            ("weak-dh-group", weak, 1),
        ] {
            let shows = |made: &Make| {
                let found = diagnose(std::slice::from_ref(made));
                let mut facts = find(&found, id).unwrap().evidence.iter();
                facts.any(|shown| shown.fact.contains("from the client: 40 handshake_failure"))
            };
            assert!(shows(&ended(made.clone())) && !shows(&made), "{id}");
            // What it says of a certificate is told elsewhere.
            let other = made.alert(Side::Client, 48).outcome(Outcome::ClientAlert);
            let found = diagnose(&[other]);
            assert_eq!(find(&found, id).unwrap().evidence.len(), kept, "{id}");
        }
    }
}
