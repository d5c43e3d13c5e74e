//! Names: hellos without a server name, and certificates that do not cover the name.
//!
//! RFC 6066 section 3 for the server name, RFC 9525 section 6 for matching it. A client that connects to an address sends
//! no name and does nothing wrong; that is why a missing name alone is only worth knowing.

use super::facts::Facts;
use super::history::has_no_names;
use super::text::{say, word};
use super::{Entry, Rule, Settings, Sheet, Subject, Told, Verdict};
use crate::record::{Certificate, Confidence, Digest, Scope, Severity};
use std::net::IpAddr;

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule {
        entry: Entry {
            id: "sni-missing",
            severity: Severity::Info,
            scope: Scope::Client,
            reference: "RFC 6066 section 3; RFC 9325 section 3.7; Microsoft KB2973873",
        },
        judge: sni_missing,
        told: Told::BySurvey,
    },
    Rule {
        entry: Entry {
            id: "cert-name-mismatch",
            severity: Severity::Error,
            scope: Scope::Handshake,
            reference: "RFC 9525 section 6; RFC 2818 section 3.1",
        },
        judge: name_mismatch,
        told: Told::ByRule {
            subject: name_and_certificate,
            describe: describe_mismatch,
        },
    },
];

/// `sni-missing`.
fn sni_missing(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let hello = facts.client_hello?;
    if hello.sni.is_some()
        || facts.record.renegotiation
        || has_no_names(facts.record)
        || !settings.sni_ports.contains(&facts.record.server.port)
        // An empty or unreadable name is another matter.
        || hello.shape.extensions.iter().any(|code| code.0 == 0)
    {
        return None;
    }
    Some(Verdict::new(Severity::Info, Confidence::Certain, ""))
}

/// The server's own certificate, where it was shown and could be read.
pub(super) fn leaf<'a>(facts: &Facts<'a>) -> Option<&'a Certificate> {
    let leaf = facts.record.certificates.first()?;
    (!leaf.malformed).then_some(leaf)
}

/// `cert-name-mismatch`.
fn name_mismatch(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let name = facts.sni()?;
    let leaf = leaf(facts)?;
    if settings.internal_ports.contains(&facts.record.server.port) || name.parse::<IpAddr>().is_ok()
    {
        return None;
    }
    if covers(leaf, name) {
        return None;
    }
    if leaf.san.is_empty() && common_name(leaf).is_some_and(|pattern| matches(pattern, name)) {
        return Some(Verdict::new(
            Severity::Info,
            Confidence::Certain,
            "common-name-only",
        ));
    }
    Some(Verdict::new(Severity::Error, Confidence::Certain, ""))
}

fn name_and_certificate(facts: &Facts<'_>, _: Verdict) -> Subject {
    let digest = leaf(facts).map_or(Digest([0; 32]), |leaf| leaf.sha256);
    Subject::Certificate(digest, facts.target())
}

fn describe_mismatch(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    let (Some(name), Some(leaf)) = (facts.sni(), leaf(facts)) else {
        return;
    };
    sheet.note("name", name);
    sheet.server(facts);
    sheet.client(facts);
    sheet.note("certificate", &certificate_name(leaf));
    sheet.fact(facts.frame(), |lang| {
        let names: Vec<&str> = leaf.san.iter().take(12).map(AsRef::as_ref).collect();
        let more = leaf.san.len().saturating_sub(names.len());
        let shown = match names.is_empty() {
            true => word(lang, "none").to_owned(),
            false => names.join(", "),
        };
        say(lang, "cert-names")
            .with("name", name)
            .with("certificate", certificate_name(leaf))
            .with("thumbprint", leaf.sha1)
            .with("names", shown)
            .and_if(more > 0, "cert-names-more")
            .with("more", more)
    });
}

/// What to call a certificate: its subject, or else its first name, or else its thumbprint.
pub(super) fn certificate_name(certificate: &Certificate) -> String {
    certificate
        .subject
        .as_deref()
        .or(certificate.san.first().map(AsRef::as_ref))
        .map_or_else(|| certificate.sha1.to_string(), str::to_owned)
}

/// Whether a subject alternative name covers the name (RFC 9525 section 6.3).
pub(super) fn covers(certificate: &Certificate, name: &str) -> bool {
    certificate.san.iter().any(|pattern| matches(pattern, name))
}

/// The common name of the subject.
pub(super) fn common_name(certificate: &Certificate) -> Option<&str> {
    certificate
        .subject
        .as_deref()?
        .split(", ")
        .find_map(|part| part.strip_prefix("CN="))
}

/// Whether `pattern` names `name`: the same name without regard to case, or `*` for exactly one left-most label.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.trim_end_matches('.'), name.trim_end_matches('.'));
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && !parent.is_empty() && rest.eq_ignore_ascii_case(parent)
        }),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert, diagnose, has};

    #[test]
    fn wildcards_stand_for_one_label() {
        assert!(matches("*.contoso.com", "mail.Contoso.com."));
        assert!(!matches("*.contoso.com", "a.mail.contoso.com"));
        assert!(!matches("*.contoso.com", "contoso.com"));
        assert!(!matches("m*.contoso.com", "mail.contoso.com"));
        assert!(!matches("*.", "x."));
    }

    #[test]
    fn a_hello_without_name_is_worth_knowing_on_port_443_only() {
        assert!(has(
            &Make::new().answer(0x0303, 0xc02f).no_sni(),
            "sni-missing"
        ));
        assert!(!has(&Make::new().answer(0x0303, 0xc02f), "sni-missing"));
        let ldap = Make::new()
            .no_sni()
            .server("10.0.0.9:636")
            .answer(0x0303, 0xc02f);
        assert!(!has(&ldap, "sni-missing"));
    }

    #[test]
    fn names_that_the_certificate_lacks() {
        let made = |name: &str, san: &[&str]| {
            Make::new()
                .sni(name)
                .answer(0x0303, 0xc02f)
                .certificate(cert("CN=mail.contoso.com", san))
        };
        let wrong = made("autodiscover.contoso.com", &["mail.contoso.com"]);
        let found = diagnose(&[wrong]);
        assert_eq!(found[0].id, "cert-name-mismatch");
        assert_eq!(
            found[0].subject.as_ref(),
            "autodiscover.contoso.com: CN=mail.contoso.com"
        );
        assert!(!has(
            &made("mail.contoso.com", &["mail.contoso.com"]),
            "cert-name-mismatch"
        ));
        assert!(!has(
            &made("x.contoso.com", &["*.contoso.com"]),
            "cert-name-mismatch"
        ));
        assert!(has(
            &made("a.b.contoso.com", &["*.contoso.com"]),
            "cert-name-mismatch"
        ));
    }

    #[test]
    fn the_common_name_counts_only_without_alternative_names() {
        let made = |san: &[&str]| {
            Make::new()
                .sni("mail.contoso.com")
                .answer(0x0303, 0xc02f)
                .certificate(cert("CN=mail.contoso.com", san))
        };
        assert_eq!(diagnose(&[made(&[])])[0].severity, Severity::Info);
        assert_eq!(
            diagnose(&[made(&["other.contoso.com"])])[0].severity,
            Severity::Error
        );
    }

    #[test]
    fn exchange_back_end_and_resumption_are_left_alone() {
        let shown = Make::new()
            .sni("ex1.contoso.local")
            .server("10.0.0.5:444")
            .answer(0x0303, 0xc02f)
            .certificate(cert("CN=ex1", &["ex1"]));
        assert!(!has(&shown, "cert-name-mismatch"));
        let resumed = Make::new().sni("x.contoso.com").answer(0x0303, 0xc02f);
        assert!(!has(&resumed, "cert-name-mismatch"));
    }
}
