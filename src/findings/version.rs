//! Protocol versions: what was offered, what was chosen, and which side is the limit.
//!
//! Only the ServerHello decides; a record layer of TLS 1.0 around a ClientHello is normal. The last bytes of
//! ServerHello.random (RFC 8446 section 4.1.3) settle from one handshake whether the server could have done better.

use super::facts::{Facts, is_malformed, suite_name, version_name};
use super::groups::server_subject;
use super::stack::Stack;
use super::text::{Say, say, word};
use super::{Entry, Lang, Rule, Settings, Sheet, Subject, Told, Verdict, When, hosts};
use crate::record::{ClientHello, Confidence, Scope, Sentinel, Severity, Side};
use crate::tls::code_points::{AlertDescription, VersionRank};

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule {
        entry: Entry {
            id: "legacy-version-negotiated",
            severity: Severity::Warning,
            scope: Scope::Handshake,
            reference: "RFC 8996 (TLS 1.0 and 1.1), RFC 7568 (SSL 3.0), RFC 6176 (SSL 2.0), RFC 9325 section 3.1.1",
        },
        when: When::OLD,
        judge: legacy_negotiated,
        told: Told::ByRule {
            subject: by_limit,
            describe: describe_versions,
        },
    },
    Rule {
        entry: Entry {
            id: "server-version-limited",
            severity: Severity::Warning,
            scope: Scope::Server,
            reference: "RFC 9325 section 3.1.1; RFC 8446 section 4.1.3",
        },
        when: When::OLD,
        judge: server_limited,
        told: Told::ByRule {
            subject: server_subject,
            describe: describe_versions,
        },
    },
    Rule {
        entry: Entry {
            id: "client-version-limited",
            severity: Severity::Info,
            scope: Scope::Client,
            reference: "RFC 8446 section 4.1.3",
        },
        when: When::SENTINEL,
        judge: client_limited,
        told: Told::ByRule {
            subject: client_and_name,
            describe: describe_versions,
        },
    },
    Rule {
        entry: Entry {
            id: "protocol-version-rejected",
            severity: Severity::Error,
            scope: Scope::Handshake,
            reference: "RFC 8446 section 6.2; RFC 5246 section 7.2.2",
        },
        when: When::ALERTED,
        judge: version_rejected,
        told: Told::ByRule {
            subject: pair,
            describe: describe_rejected,
        },
    },
];

fn pair(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Pair(facts.record.client.ip, facts.record.server)
}

fn client_and_name(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Client(facts.record.client.ip, facts.target())
}

/// The side that has to change is the subject.
fn by_limit(facts: &Facts<'_>, verdict: Verdict) -> Subject {
    if verdict.cause == "server" {
        server_subject(facts, verdict)
    } else {
        client_and_name(facts, verdict)
    }
}

/// The client itself refused what the server chose: nothing was negotiated.
fn refused_by_client(facts: &Facts<'_>) -> bool {
    matches!(facts.fatal_code(Side::Client), Some(47 | 70))
}

/// `legacy-version-negotiated`.
fn legacy_negotiated(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    // The format of the hello tells of an old client, whatever was negotiated.
    let sslv2_hello = facts.observed(|observed| observed.sslv2_hello) == Some(true);
    let modern = facts
        .negotiated
        .is_none_or(|version| version > VersionRank::Tls11);
    if modern && sslv2_hello {
        return Some(Verdict::new(
            Severity::Warning,
            Confidence::Certain,
            "sslv2-hello-format",
        ));
    }
    let negotiated = facts.negotiated?;
    if modern || refused_by_client(facts) {
        return None;
    }
    let severe = negotiated <= VersionRank::Ssl30
        || facts
            .wanted()
            .is_some_and(|name| hosts::is_strict(name, settings));
    let cause = match facts.offer_max {
        Some(offered) if offered > negotiated => "server",
        Some(_) if facts.falls_back() => "fallback",
        Some(_) => "client",
        None => "offer-not-seen",
    };
    let severity = if severe {
        Severity::Error
    } else {
        Severity::Warning
    };
    Some(Verdict::new(severity, Confidence::Certain, cause))
}

/// The client offered TLS 1.3, and the random says that the server could do it: that is a downgrade, not a setting.
pub(super) fn is_downgrade(facts: &Facts<'_>) -> bool {
    facts.offer_max == Some(VersionRank::Tls13) && facts.is_clear() && sentinel(facts).is_some()
}

fn sentinel(facts: &Facts<'_>) -> Option<Sentinel> {
    facts.server_hello?.shape.downgrade_sentinel
}

/// `server-version-limited`.
fn server_limited(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let offered = facts.offer_max?.min(VersionRank::Tls12);
    if facts.negotiated? >= offered
        || offered < VersionRank::Tls12
        || facts.falls_back()
        || is_downgrade(facts)
    {
        return None;
    }
    let (confidence, cause) = match sentinel(facts) {
        Some(_) => (Confidence::Certain, "limited-here"),
        None => (Confidence::Likely, ""),
    };
    Some(Verdict::new(Severity::Warning, confidence, cause))
}

/// `client-version-limited`.
fn client_limited(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let offered = facts.offer_max.filter(|_| !facts.falls_back())?;
    let severity = match sentinel(facts)? {
        Sentinel::Tls12 if offered == VersionRank::Tls12 => Severity::Info,
        Sentinel::Tls11 if offered <= VersionRank::Tls11 => Severity::Warning,
        _ => return None,
    };
    Some(Verdict::new(severity, Confidence::Certain, ""))
}

/// `protocol-version-rejected`.
fn version_rejected(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    facts.client_hello?;
    let answered = facts.server_hello.is_some();
    let cause = match (
        facts.fatal_code(Side::Server),
        facts.fatal_code(Side::Client),
    ) {
        (Some(70), _) if !answered => "by-server",
        (Some(71), _) if !answered => "too-weak",
        (_, Some(70)) if answered => "by-client",
        _ => return None,
    };
    Some(Verdict::new(Severity::Error, Confidence::Certain, cause))
}

fn note_parties(facts: &Facts<'_>, sheet: &mut Sheet<'_>) {
    sheet.client(facts);
    sheet.server(facts);
    if let Some(name) = facts.sni() {
        sheet.note("name", name);
    }
    if let Some(offered) = facts.offer_max {
        sheet.note_word("offered", version_name(offered));
    }
    if let Some(version) = facts.negotiated {
        sheet.note_word("version", version_name(version));
    }
}

fn offer_fact(facts: &Facts<'_>, lang: Lang) -> Say {
    // A hello in the format of SSL 2.0 has cipher kinds.
    let kinds = facts.observed(|observed| observed.sslv2_cipher_kinds.as_ref().map(Vec::len));
    let count = kinds.unwrap_or_else(|| facts.offered().count());
    say(lang, "client-offer")
        .with("offered", facts.offer_max.map_or("?", version_name))
        .with("count", count)
        .with("name", facts.sni().unwrap_or_else(|| unnamed(facts, lang)))
}

/// What stands for the name of a hello without one; where its rest is not in the capture, that may hold it.
fn unnamed(facts: &Facts<'_>, lang: Lang) -> &'static str {
    match is_malformed(facts.record) {
        true => "?",
        false => word(lang, "none"),
    }
}

fn describe_versions(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    note_parties(facts, sheet);
    if let Some(hello) = facts.client_hello {
        note_stack(hello, sheet);
        sheet.fact(hello.frame, |lang| offer_fact(facts, lang));
    }
    if let (Some(hello), Some(suite)) = (facts.server_hello, facts.suite()) {
        sheet.fact(hello.frame, |lang| {
            // In SSL 2.0 it is the client that chooses.
            if facts.negotiated < Some(VersionRank::Ssl30) {
                return say(lang, "server-version")
                    .with("version", facts.negotiated.map_or("?", version_name));
            }
            let fact = say(lang, "server-chose")
                .with("version", facts.negotiated.map_or("?", version_name))
                .with("suite", suite_name(suite));
            match sentinel(facts) {
                Some(Sentinel::Tls12) => fact.and("sentinel-tls12"),
                Some(Sentinel::Tls11) => fact.and("sentinel-tls11"),
                None => fact,
            }
        });
    }
    describe_alerts(facts, sheet);
}

/// Fatal alerts in clear, with what Windows makes of them.
pub(super) fn describe_alerts(facts: &Facts<'_>, sheet: &mut Sheet<'_>) {
    for side in [Side::Server, Side::Client] {
        let Some((alert, code)) = facts
            .fatal_alert(side)
            .and_then(|alert| Some((alert, alert.code?)))
        else {
            continue;
        };
        sheet.fact(alert.frame, |lang| {
            let fact = match side {
                Side::Client => say(lang, "alert-from-client"),
                Side::Server => say(lang, "alert-from-server"),
            };
            let fact = fact.with("alert", format!("{code} {}", AlertDescription(code)));
            match AlertDescription(code).schannel_error() {
                Some((name, number)) => fact
                    .and("alert-schannel")
                    .with("error", format!("{name} ({number:#010x})")),
                None => fact,
            }
        });
    }
}

/// Who sent the hello, as far as its shape tells; asked of examples only.
pub(super) fn note_stack(hello: &ClientHello, sheet: &mut Sheet<'_>) {
    if !sheet.wants_evidence() {
        return;
    }
    let stack = Stack::of(&hello.shape);
    sheet.note("stack_kind", Stack::cause(stack));
    if let Some(stack) = stack {
        let words = stack.words(sheet.lang());
        sheet.note("stack", &words);
    }
}

fn describe_rejected(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    note_parties(facts, sheet);
    if let Some(hello) = facts.client_hello {
        note_stack(hello, sheet);
        sheet.fact(hello.frame, |lang| offer_fact(facts, lang));
    }
    if let Some(hello) = facts.server_hello {
        sheet.fact(hello.frame, |lang| {
            say(lang, "server-version").with("version", facts.negotiated.map_or("?", version_name))
        });
    }
    describe_alerts(facts, sheet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, has, ids};
    use crate::record::Outcome;

    #[test]
    fn legacy_versions_by_the_limiting_side() {
        let client = Make::new()
            .offer(0x0301)
            .sni("erp.contoso.com")
            .answer(0x0301, 0xc014);
        let server = Make::new().sni("erp.contoso.com").answer(0x0301, 0xc014);
        let found = diagnose(&[client.clone(), server.clone()]);
        let subjects: Vec<_> = found
            .iter()
            .filter(|finding| finding.id == "legacy-version-negotiated")
            .map(|finding| finding.subject.to_string())
            .collect();
        assert_eq!(
            subjects,
            [
                "10.0.0.1 → erp.contoso.com",
                "10.0.0.5:443 (erp.contoso.com)"
            ]
        );
        assert!(!has(&client, "server-version-limited"));
        assert!(has(&server, "server-version-limited"));
    }

    #[test]
    fn ssl3_and_strict_names_are_errors() {
        let severity = |made: Make| {
            diagnose(&[made])
                .into_iter()
                .find(|finding| finding.id == "legacy-version-negotiated")
                .map(|finding| finding.severity)
        };
        let ssl3 = Make::new().offer(0x0300).answer(0x0300, 0x0005);
        let office = Make::new()
            .offer(0x0301)
            .sni("outlook.office365.com")
            .answer(0x0301, 0xc014);
        let other = Make::new()
            .offer(0x0301)
            .sni("erp.contoso.com")
            .answer(0x0301, 0xc014);
        assert_eq!(severity(ssl3), Some(Severity::Error));
        assert_eq!(severity(office), Some(Severity::Error));
        assert_eq!(severity(other), Some(Severity::Warning));
    }

    #[test]
    fn a_hello_in_the_format_of_ssl2() {
        let old = Make::new()
            .answer(0x0303, 0xc02f)
            .observed(|observed| observed.sslv2_hello = Some(true));
        assert!(has(&old, "legacy-version-negotiated"));
        assert!(
            diagnose(std::slice::from_ref(&old))[0]
                .title
                .contains("SSL 2.0")
        );
        // Its cipher kinds are no cipher suites; nor does the server choose one.
        let oldest = old.offer(0x0002).suites(&[]).answer(0x0002, 0xffff);
        let oldest = oldest.observed(|observed| {
            observed.sslv2_cipher_kinds = Some(vec!["0x010080".into(), "0x0700c0".into()]);
        });
        let found = diagnose(&[oldest]);
        let facts: Vec<&str> = found[0].evidence.iter().map(|shown| &*shown.fact).collect();
        assert!(facts[0].contains("2 cipher suite(s)"), "{facts:?}");
        assert!(
            !facts.iter().any(|fact| fact.contains("0xffff")),
            "{facts:?}"
        );
    }

    #[test]
    fn an_old_record_layer_is_no_old_version() {
        let made = Make::new().record_version(0x0301).answer(0x0303, 0xc02f);
        assert!(!has(&made, "legacy-version-negotiated"));
        let refused = Make::new()
            .answer(0x0301, 0xc014)
            .alert(Side::Client, 70)
            .outcome(Outcome::ClientAlert);
        assert!(!has(&refused, "legacy-version-negotiated"));
        assert!(has(&refused, "protocol-version-rejected"));
    }

    #[test]
    fn a_fallback_or_a_downgrade_is_no_server_limit() {
        let fallback = Make::new().fallback_scsv().answer(0x0301, 0xc014);
        assert!(!has(&fallback, "server-version-limited"));
        let downgrade = Make::new()
            .tls13()
            .answer(0x0301, 0xc014)
            .sentinel(Sentinel::Tls11);
        assert!(!has(&downgrade, "server-version-limited"));
        let certain = Make::new().answer(0x0301, 0xc014).sentinel(Sentinel::Tls11);
        let found = diagnose(&[certain]);
        let limited = found
            .iter()
            .find(|finding| finding.id == "server-version-limited")
            .unwrap();
        assert_eq!(limited.confidence, Confidence::Certain);
    }

    #[test]
    fn the_sentinel_shows_that_the_client_is_the_limit() {
        let info = Make::new().answer(0x0303, 0xc02f).sentinel(Sentinel::Tls12);
        assert!(has(&info, "client-version-limited"));
        let old = Make::new()
            .offer(0x0301)
            .answer(0x0301, 0xc014)
            .sentinel(Sentinel::Tls11);
        let found = diagnose(&[old]);
        let limited = found
            .iter()
            .find(|finding| finding.id == "client-version-limited")
            .unwrap();
        assert_eq!(limited.severity, Severity::Warning);
        assert!(
            limited
                .evidence
                .iter()
                .any(|evidence| evidence.fact.contains("44 00"))
        );
        // A server without sentinel proves nothing; a client that offered 1.3 is not the limit.
        assert!(!has(
            &Make::new().answer(0x0303, 0xc02f),
            "client-version-limited"
        ));
        let both = Make::new()
            .tls13()
            .answer(0x0303, 0xc02f)
            .sentinel(Sentinel::Tls12);
        assert!(!has(&both, "client-version-limited"));
    }

    #[test]
    fn version_alerts() {
        let server = Make::new()
            .offer(0x0301)
            .alert(Side::Server, 70)
            .outcome(Outcome::ServerAlert);
        let found = diagnose(&[server]);
        let rejected = found
            .iter()
            .find(|finding| finding.id == "protocol-version-rejected")
            .unwrap();
        assert!(
            rejected
                .evidence
                .iter()
                .any(|evidence| evidence.fact.contains("0x80090302"))
        );
        let other = Make::new()
            .alert(Side::Server, 40)
            .outcome(Outcome::ServerAlert);
        assert!(!has(&other, "protocol-version-rejected"));
        let mut warning = Make::new().answer(0x0303, 0xc02f).alert(Side::Server, 70);
        warning.record.alerts[0].level = Some(1);
        assert!(ids(&mut warning).is_empty());
    }

    #[test]
    fn what_others_prove_is_shown_however_many_failed() {
        let rejected = |at| {
            let made = Make::new().offer(0x0301).at(at);
            made.alert(Side::Server, 70).outcome(Outcome::ServerAlert)
        };
        let limited = |at| Make::new().answer(0x0301, 0xc014).at(at);
        let good = Make::new().client("10.0.0.2").answer(0x0303, 0xc02f);
        for (id, fail) in [
            (
                "protocol-version-rejected",
                &rejected as &dyn Fn(i64) -> Make,
            ),
            ("server-version-limited", &limited),
        ] {
            for count in [1, 5] {
                let mut made: Vec<Make> = (0..count).map(fail).collect();
                made.push(good.clone().at(50));
                let found = diagnose(&made);
                let finding = found.iter().find(|finding| finding.id == id).unwrap();
                // Among the lines that a reader sees.
                let mut facts = finding.evidence.iter().take(3).map(|shown| &*shown.fact);
                assert!(facts.any(|fact| fact.contains("10.0.0.2")), "{id} {count}");
            }
        }
    }
}
