//! Names: hellos without a server name, and certificates that do not cover the name.
//!
//! RFC 6066 section 3 for the server name, RFC 9525 section 6 for matching it. A client that connects to an address sends
//! no name and does nothing wrong; that is why a missing name alone is only worth knowing.

use super::facts::{Facts, is_malformed};
use super::groups::Target;
use super::history::has_no_names;
use super::name_match::matches;
use super::past::Past;
use super::survey::{Report, severity_if};
use super::text::{say, word};
use super::trace::{Kind, Trace};
use super::{Entry, Lang, Rule, Settings, Sheet, Subject, Survey, Told, Verdict, When};
use crate::record::{Certificate, Confidence, Digest, Scope, Severity};
use std::{collections::BTreeMap, net::IpAddr};

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule {
        entry: Entry {
            id: "sni-missing",
            severity: Severity::Info,
            scope: Scope::Client,
            reference: "RFC 6066 section 3; RFC 9325 section 3.7; Microsoft KB2973873",
        },
        when: When::NAMELESS,
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
        when: When::SHOWN,
        judge: name_mismatch,
        told: Told::ByRule {
            subject: name_and_certificate,
            describe: describe_mismatch,
        },
    },
];

/// What only the client's DNS look-ups tell.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: mismatch_by_dns,
}];

/// `sni-missing`.
fn sni_missing(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let hello = facts.client_hello?;
    if hello.sni.is_some()
        || facts.record.renegotiation
        || is_malformed(facts.record)
        || has_no_names(facts.record)
        || !settings.sni_ports.contains(&facts.record.server.port)
        // An empty or unreadable name is another matter.
        || hello.shape.extensions.iter().any(|code| code.0 == 0)
    {
        return None;
    }
    Some(Verdict::new(Severity::Info, Confidence::Certain, ""))
}

/// An address in place of a name. Most names end in a letter with which no address ends.
fn is_address(name: &str) -> bool {
    let end = name.bytes().next_back();
    end.is_some_and(|byte| byte.is_ascii_hexdigit() || byte == b':')
        && name.parse::<IpAddr>().is_ok()
}

/// `cert-name-mismatch`.
fn name_mismatch(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let name = facts.sni()?;
    // The usual case first.
    let chain = &facts.record.certificates;
    if !facts.shows_leaf
        || chain.covers(name, |leaf| covers(leaf, name))
        || settings.internal_ports.contains(&facts.record.server.port)
        || is_address(name)
    {
        return None;
    }
    let leaf = facts.leaf()?;
    if leaf.san.is_empty() && common_name(leaf).is_some_and(|pattern| matches(pattern, name)) {
        return Some(Verdict::new(
            Severity::Info,
            Confidence::Certain,
            "common-name-only",
        ));
    }
    Some(Verdict::new(Severity::Error, Confidence::Certain, ""))
}

/// `cert-name-mismatch` of a client that sends no server name: it had asked DNS for a name, and the certificate covers
/// neither that name nor any other under which this client sought the address.
fn mismatch_by_dns(report: &mut Report<'_>) {
    let past = report.past;
    let settings = report.settings;
    if past.resolved.dns().lookups.is_empty() {
        return;
    }
    let mut found: BTreeMap<(Digest<32>, Box<str>), Vec<usize>> = BTreeMap::new();
    let checks_names = |kind: &Kind| {
        settings.tls_ports.contains(&kind.server.port)
            && !settings.internal_ports.contains(&kind.server.port)
            && !kind.flags.has_no_names()
    };
    let is_nameless = |kind: &Kind| {
        kind.name.is_none() && kind.hello.is_some() && kind.leaf.is_some() && checks_names(kind)
    };
    for (index, trace) in past.all_whose(is_nameless) {
        let (Some(leaf), Some(name)) = (past.leaf(&trace), past.dns_name(&trace)) else {
            continue;
        };
        if !leaf.malformed && !is_covered(past, &trace, leaf) {
            let key = (leaf.sha256, Box::from(name));
            found.entry(key).or_default().push(index);
        }
    }
    for ((digest, name), traces) in found {
        let failed = past.of(&traces).any(|(_, trace)| !trace.is_complete());
        let verdict = Verdict::new(severity_if(failed), Confidence::Likely, "by-dns");
        let subject = Subject::Certificate(digest, Target::Name(name.clone()));
        let first = past.of(&traces).next();
        let leaf = first.and_then(|(_, trace)| past.leaf(&trace));
        let Some(leaf) = leaf else { continue };
        if let Some(group) = report.tell("cert-name-mismatch", verdict, subject, &traces, &[]) {
            group.set("name", &name);
            group.set("certificate", &certificate_name(leaf));
        }
    }
}

/// The certificate covers a name, or an alias of one, that the client had asked for and been given this address.
fn is_covered(past: &Past, trace: &Trace<'_>, leaf: &Certificate) -> bool {
    let fits = |name: &str| {
        covers(leaf, name)
            || (leaf.san.is_empty()
                && common_name(leaf).is_some_and(|pattern| matches(pattern, name)))
    };
    let by_address = leaf
        .san
        .iter()
        .any(|name| name.parse() == Ok(trace.server.ip));
    by_address
        || past
            .resolved
            .lookups_of(trace.server.ip)
            .filter(|lookup| lookup.client == *trace.client)
            .any(|lookup| fits(&lookup.name) || lookup.aliases.iter().any(|alias| fits(alias)))
}

fn name_and_certificate(facts: &Facts<'_>, _: Verdict) -> Subject {
    let digest = facts.leaf().map_or(Digest([0; 32]), |leaf| leaf.sha256);
    Subject::Certificate(digest, facts.reached())
}

fn describe_mismatch(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    let (Some(name), Some(leaf)) = (facts.sni(), facts.leaf()) else {
        return;
    };
    sheet.note("name", name);
    sheet.server(facts);
    sheet.client(facts);
    sheet.note_once("certificate", || certificate_name(leaf));
    sheet.fact(facts.frame(), |lang| {
        let (names, more) = listed_names(leaf, lang);
        say(lang, "cert-names")
            .with("name", name)
            .with("certificate", certificate_name(leaf))
            .with("thumbprint", leaf.sha1)
            .with("names", names)
            .and_if(more > 0, "cert-names-more")
            .with("more", more)
    });
}

/// The names that a certificate is for, and how many more it has than are shown.
pub(super) fn listed_names(leaf: &Certificate, lang: Lang) -> (String, usize) {
    let names: Vec<&str> = leaf.san.iter().take(12).map(AsRef::as_ref).collect();
    let more = leaf.san.len().saturating_sub(names.len());
    let listed = match names.is_empty() {
        true => word(lang, "none").to_owned(),
        false => names.join(", "),
    };
    (listed, more)
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
    // Mostly it stands there as it is, and there can be hundreds.
    let mut patterns = certificate.san.iter();
    (!name.starts_with('*') && patterns.any(|pattern| **pattern == *name))
        || certificate.san.iter().any(|pattern| matches(pattern, name))
}

/// The common name of the subject.
pub(super) fn common_name(certificate: &Certificate) -> Option<&str> {
    certificate
        .subject
        .as_deref()?
        .split(", ")
        .find_map(|part| part.strip_prefix("CN="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, START_S, cert, diagnose, diagnose_dns, find, has};
    use crate::record::{Dns, Lookup, Timestamp};

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

    fn told(name: &str, aliases: &[&str]) -> Dns {
        let time = Timestamp((START_S - 1) * 1_000_000_000);
        let value = serde_json::json!({
            "client": "10.0.0.1", "name": name, "kind": "A", "capture": "test.pcap", "frame": 1, "queries": 1,
            "answers": 1, "first_seen": time, "last_seen": time, "addresses": ["10.0.0.5"], "aliases": aliases,
        });
        let lookup: Lookup = serde_json::from_value(value).unwrap();
        Dns {
            queries: 1,
            answers: 1,
            lookups: vec![lookup],
            ..Dns::default()
        }
    }

    #[test]
    fn without_a_server_name_dns_tells_what_was_wanted() {
        let id = "cert-name-mismatch";
        let shown = |san: &[&str]| {
            Make::new()
                .no_sni()
                .answer(0x0303, 0xc02f)
                .certificate(cert("CN=mail.contoso.com", san))
        };
        let dns = told("autodiscover.contoso.com", &["cas.contoso.com"]);
        let found = diagnose_dns(&[shown(&["mail.contoso.com"])], &dns);
        let finding = find(&found, id).unwrap();
        assert_eq!(
            (finding.severity, finding.confidence),
            (Severity::Warning, Confidence::Likely)
        );
        assert_eq!(
            &*finding.subject,
            "autodiscover.contoso.com: CN=mail.contoso.com"
        );
        // Covered by the name, by what it is an alias for, by a wildcard, or by the address.
        for san in [
            "autodiscover.contoso.com",
            "cas.contoso.com",
            "*.contoso.com",
            "10.0.0.5",
        ] {
            assert!(
                find(&diagnose_dns(&[shown(&[san])], &dns), id).is_none(),
                "{san}"
            );
        }
        // Another client asked; the port is internal; a protocol without names.
        let other = shown(&["mail.contoso.com"]).client("10.0.0.2");
        let internal = shown(&["mail.contoso.com"]).server("10.0.0.5:444");
        let tunnel =
            shown(&["mail.contoso.com"]).with(|record| record.starttls = Some("openvpn".into()));
        for made in [other, internal, tunnel] {
            assert!(find(&diagnose_dns(&[made], &dns), id).is_none());
        }
        assert!(find(&diagnose(&[shown(&["mail.contoso.com"])]), id).is_none());
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
