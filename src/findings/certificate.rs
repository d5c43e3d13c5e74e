//! Certificates in themselves: validity, strength, completeness of the chain, and clients that reject them.
//!
//! Times are compared with the packet's time, never a clock. TLS 1.3 hides certificates, and resumed handshakes show none:
//! then nothing is said. On the ports of Exchange Back End a self-signed certificate is the product's default.

use super::facts::{Facts, minute, moment};
use super::groups::{Target, Value, server_subject};
use super::late::closed_early;
use super::marks::{chain_marks, marks};
use super::names::{certificate_name, common_name, covers, listed_names};
use super::quality::FIRST_TLS;
use super::stack::Stack;
use super::survey::Report;
use super::text::say;
use super::trace::Number;
use super::version::describe_alerts;
use super::{Entry, Lang, Rule, Settings, Sheet, Subject, Verdict, When};
use crate::record::{Certificate, Confidence, Outcome, Scope, Severity, Side, Timestamp};
use crate::tls::code_points::AlertDescription;
use std::sync::Arc;

use hashbrown::HashMap;
use std::net::IpAddr;

const DAY_NS: i64 = 86_400_000_000_000;

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule::new(
        Entry::new(
            "cert-rejected-by-client",
            Severity::Error,
            Scope::Client,
            "RFC 8446 section 6.2; RFC 5246 section 7.2.2",
        ),
        rejected,
        client_and_name,
        describe_rejected,
    )
    .when(When::INCOMPLETE.or(When::ALERTED)),
    Rule::new(
        Entry::new(
            "cert-validity",
            Severity::Error,
            Scope::Server,
            "RFC 5280 section 4.1.2.5",
        ),
        validity,
        certificate_subject,
        describe_validity,
    )
    .when(When::SHOWN),
    Rule::new(
        Entry::new(
            "cert-weak",
            Severity::Warning,
            Scope::Server,
            "RFC 9325 section 4.5; RFC 9155; CA/Browser Forum Baseline Requirements section 6.1.5",
        ),
        weak,
        certificate_subject,
        describe_weak,
    )
    .when(When::WEAK_CHAIN),
    Rule::new(
        Entry::new(
            "cert-chain-incomplete",
            Severity::Warning,
            Scope::Server,
            "RFC 8446 section 4.4.2; RFC 5246 section 7.4.2",
        ),
        chain,
        server_subject,
        describe_chain,
    )
    .when(When::CHAIN_AMISS.or(When::ALERTED)),
];

fn client_and_name(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Client(facts.record.client.ip, facts.target())
}

fn certificate_subject(facts: &Facts<'_>, _: Verdict) -> Subject {
    let shown = facts.leaf();
    Subject::Certificate(
        shown.map_or(crate::record::Digest([0; 32]), |leaf| leaf.sha256),
        Target::answering(facts),
    )
}

fn is_internal(facts: &Facts<'_>, settings: &Settings) -> bool {
    settings.internal_ports.contains(&facts.record.server.port)
}

/// `cert-rejected-by-client`: the alert, and what of the certificate explains it.
fn rejected(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    facts.server_hello?;
    let Some(code) = facts.fatal_code(Side::Client) else {
        return (closed_upon(facts, settings) && !is_internal(facts, settings)).then_some(
            Verdict::new(Severity::Warning, Confidence::Possible, "closed"),
        );
    };
    if !matches!(code, 42..=46 | 48 | 51) || is_internal(facts, settings) {
        return None;
    }
    let cause = match facts.leaf() {
        None => "certificate-not-shown",
        Some(leaf) => why_rejected(facts, leaf, code),
    };
    Some(Verdict::new(Severity::Error, Confidence::Certain, cause))
}

/// The client closed once it had the server's certificate, in place of an answer: some programs send no alert.
fn closed_upon(facts: &Facts<'_>, settings: &Settings) -> bool {
    let closed_by = facts.record.tcp.as_ref().and_then(|tcp| tcp.closed_by);
    facts.record.outcome == Outcome::ClientAbort
        && closed_by == Some(Side::Client)
        && facts.is_clear()
        && facts.whole
        && facts.record.stopped_after.as_deref() == Some("server_hello_done")
        && facts.shows_leaf
        && facts.record.alerts.is_empty()
        && !closed_early(facts)
        && super::pmtu::blackhole(facts, settings).is_none()
}

fn why_rejected(facts: &Facts<'_>, leaf: &Certificate, code: u8) -> &'static str {
    let now = facts.record.start;
    let is_over = |one: &Certificate| one.not_after.is_some_and(|end| end < now);
    // Of the others in the chain it is the alert that tells that they matter.
    let mut chain = facts.record.certificates.iter();
    let expired = is_over(leaf) || (code == 45 && chain.any(|one| is_over(one)));
    let early = leaf.not_before.is_some_and(|begin| begin > now);
    let misnamed = facts.sni().is_some_and(|name| {
        !covers(leaf, name)
            && !common_name(leaf).is_some_and(|common| common.eq_ignore_ascii_case(name))
    });
    if expired || early {
        "out-of-date"
    } else if code == 45 {
        "clock"
    } else if leaf.self_signed {
        "self-signed"
    } else if code == 48 && facts.record.certificates.len() == 1 && leaf.ca_issuers {
        "chain-incomplete"
    } else if code == 48 && facts.record.certificates.len() == 1 {
        "issuer-unknown"
    } else if code == 48 {
        "unknown-ca"
    } else if misnamed {
        "name"
    } else {
        "other"
    }
}

fn describe_rejected(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(code) = facts.fatal_code(Side::Client) {
        sheet.note("alert", &format!("{code} {}", AlertDescription(code)));
    }
    if let Some(leaf) = facts.leaf() {
        sheet.note("certificate", &certificate_name(leaf));
        sheet.fact(facts.frame(), |lang| {
            say(lang, "certs-shown")
                .with("count", facts.record.certificates.len())
                .with("card", card(leaf, lang))
        });
    }
    describe_alerts(facts, sheet);
    let close = facts.record.tcp.as_ref().and_then(|tcp| tcp.close_frame);
    if let (None, Some(close)) = (facts.fatal_code(Side::Client), close) {
        sheet.fact(close, |lang| say(lang, "closed-upon-certificate"));
    }
}

/// `cert-rejected-by-client`: where others accept the same certificate, it is this client's store or clock.
pub(super) fn accepted_by_others(report: &mut Report<'_>) {
    let past = report.past;
    if report.groups.of("cert-rejected-by-client").next().is_none() {
        return;
    }
    let mut accepted: HashMap<Number, usize> = HashMap::new();
    for (number, kind) in past.kinds.iter().enumerate() {
        if let Some(leaf) = kind.leaf.filter(|_| kind.is_complete()) {
            *accepted.entry(leaf).or_default() += past.by_kind.of(number).len();
        }
    }
    let mut rejected: HashMap<(IpAddr, Box<str>), Number> = HashMap::new();
    for (_, trace) in past.all_like(|sort| sort.alerted_by(Side::Client)) {
        if let Some(leaf) = trace.leaf {
            rejected.insert((*trace.client, past.target(&trace)), leaf);
        }
    }
    for (subject, group) in report.groups.of("cert-rejected-by-client") {
        let Subject::Client(client, target) = subject else {
            continue;
        };
        let leaf = rejected.get(&(*client, target.clone()));
        if let Some(times) = leaf.and_then(|leaf| accepted.get(leaf)) {
            group.set("accepted", &times.to_string());
        }
    }
}

/// A bound of the validity, where it could be read.
pub(super) fn date(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "?".to_owned(), |time| minute(time).to_string())
}

/// What administrators compare of a certificate.
pub(super) fn card(certificate: &Certificate, lang: Lang) -> String {
    say(lang, "cert-card")
        .with("certificate", certificate_name(certificate))
        .with("issuer", certificate.issuer.as_deref().unwrap_or("?"))
        .with("begin", date(certificate.not_before))
        .with("end", date(certificate.not_after))
        .with("thumbprint", certificate.sha1)
        .text()
}

/// `cert-validity`, by the leaf or any certificate that was sent with it.
fn validity(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let marks = chain_marks(facts.record).filter(|_| facts.shows_leaf)?;
    let now = facts.record.start;
    let is_in = |time: (Timestamp, Timestamp)| time.0 <= now && now <= time.1;
    // The usual case first: nothing ends soon, and nothing lasts longer than it may.
    if marks.valid.is_some_and(is_in)
        && marks.leaf_fresh.is_some_and(is_in)
        && !(marks.is_public
            && marks
                .leaf_valid
                .is_some_and(|valid| is_long(valid, settings)))
    {
        return None;
    }
    let leaf = facts.leaf()?;
    // Without a clock there is no time to compare with.
    if is_internal(facts, settings) || facts.record.start < FIRST_TLS {
        return None;
    }
    let chain = facts.record.certificates.iter();
    // Of equally grave ones the leaf's counts, which stands first.
    let worst = chain
        .filter_map(|certificate| {
            let is_leaf = core::ptr::eq(certificate.as_ref(), leaf);
            aged(certificate, is_leaf, now, settings)
        })
        .reduce(|worst, next| if next.0 > worst.0 { next } else { worst })?;
    Some(Verdict::new(worst.0, Confidence::Certain, worst.1))
}

fn aged(
    certificate: &Certificate,
    is_leaf: bool,
    now: Timestamp,
    settings: &Settings,
) -> Option<(Severity, &'static str)> {
    let (begin, end) = (certificate.not_before?, certificate.not_after?);
    if end < now {
        return Some((
            Severity::Error,
            if is_leaf {
                "expired"
            } else {
                "intermediate-expired"
            },
        ));
    }
    if begin > now {
        return Some((Severity::Error, "not-yet-valid"));
    }
    let lifetime = end.0.saturating_sub(begin.0);
    let near = (i64::from(settings.near_expiry_days) * DAY_NS).min(lifetime / 3);
    if is_leaf && end.0 - now.0 <= near {
        return Some((Severity::Warning, "near-expiry"));
    }
    (is_leaf && is_long((begin, end), settings) && is_public(certificate))
        .then_some((Severity::Info, "lifetime-too-long"))
}

/// Longer than browsers take of a public authority.
fn is_long((begin, end): (Timestamp, Timestamp), settings: &Settings) -> bool {
    let lifetime = end.0.saturating_sub(begin.0);
    lifetime > i64::from(settings.lifetime_days_max) * DAY_NS && begin.0 >= LIFETIME_LIMITED_NS
}

/// From 2020-09-01 on browsers take public certificates of 398 days at most (CA/Browser Forum ballot SC-031).
const LIFETIME_LIMITED_NS: i64 = 1_598_918_400_000_000_000;

/// Organisations whose authorities browsers trust; a short list, so that no private authority is taken for one. Microsoft
/// is not in it, since it has both kinds.
const PUBLIC_ISSUERS: [&str; 13] = [
    "O=Amazon",
    "O=DigiCert Inc",
    "O=Entrust, Inc.",
    "O=GlobalSign nv-sa",
    "O=GoDaddy.com, Inc.",
    "O=Google Trust Services",
    "O=Internet2",
    "O=Let's Encrypt",
    "O=SECOM Trust Systems CO.,LTD.",
    "O=Sectigo Limited",
    "O=SwissSign AG",
    "O=Cybertrust Japan Co., Ltd.",
    "O=ZeroSSL",
];

/// A public authority issued it.
pub(super) fn is_public(certificate: &Certificate) -> bool {
    marks(certificate).is_public
}

pub(super) fn has_public_issuer(certificate: &Certificate) -> bool {
    let issuer = certificate.issuer.as_deref().unwrap_or("");
    PUBLIC_ISSUERS.iter().any(|known| {
        let rest = issuer.split_once(known).map(|(_, rest)| rest);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(", "))
    })
}

fn describe_validity(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    let Some(leaf) = facts.leaf() else { return };
    sheet.parties(facts);
    sheet.note_once("certificate", || certificate_name(leaf));
    if let Some(end) = leaf.not_after {
        let days = (end.0 - facts.record.start.0).div_euclid(DAY_NS);
        sheet.note_value("days", Value::Number(days));
        sheet.note_value("not_after", Value::Minute(end));
    }
    for certificate in &facts.record.certificates {
        let now = facts.record.start;
        let is_leaf = core::ptr::eq(certificate.as_ref(), leaf);
        let shown = is_leaf
            || certificate.not_after.is_some_and(|end| end < now)
            || certificate.not_before.is_some_and(|begin| begin > now);
        if shown {
            sheet.fact(facts.frame(), |lang| {
                let (names, more) = listed_names(certificate, lang);
                say(lang, "cert-at-time")
                    .with("now", moment(now))
                    .with("card", card(certificate, lang))
                    .and("cert-serial")
                    .with("serial", certificate.serial.as_deref().unwrap_or("?"))
                    .with("digest", certificate.sha256)
                    .and_if(is_leaf, "cert-for-names")
                    .with("names", names)
                    .and_if(is_leaf && more > 0, "cert-names-more")
                    .with("more", more)
            });
        }
    }
}

/// `cert-weak`: leaf and intermediates; a root's own signature does not matter.
fn weak(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let shown = chain_marks(facts.record).filter(|_| facts.shows_leaf);
    let (severity, cause) = shown?.weakness?;
    (!is_internal(facts, settings)).then_some(Verdict::new(severity, Confidence::Certain, cause))
}

pub(super) fn weakness(certificate: &Certificate) -> Option<(Severity, &'static str)> {
    let bits = |kind: &str| -> Option<u32> {
        certificate
            .key
            .as_deref()?
            .strip_prefix(kind)?
            .strip_prefix('-')?
            .parse()
            .ok()
    };
    if let Some(bits) = bits("rsa") {
        if bits < 1024 {
            return Some((Severity::Error, "rsa-key"));
        }
        if bits < 2048 {
            return Some((Severity::Warning, "rsa-key"));
        }
    }
    if certificate
        .rsa_exponent
        .is_some_and(|e| e == 1 || e % 2 == 0)
    {
        return Some((Severity::Error, "rsa-exponent"));
    }
    let signed = if certificate.self_signed {
        ""
    } else {
        certificate.signature_algorithm.as_deref().unwrap_or("")
    };
    let has = |word: &str| contains_ignoring_case(signed, word);
    if has("md5") || has("md2") {
        return Some((Severity::Error, "md5-signature"));
    }
    if has("sha1") || has("sha-1") {
        return Some((Severity::Warning, "sha1-signature"));
    }
    let key = certificate.key.as_deref().unwrap_or("");
    (key.starts_with("dsa") || matches!(key, "ecdsa-p192" | "ecdsa-p224"))
        .then_some((Severity::Warning, "key-type"))
}

fn contains_ignoring_case(text: &str, word: &str) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

fn describe_weak(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(leaf) = facts.leaf() {
        sheet.note_once("certificate", || certificate_name(leaf));
    }
    for certificate in &facts.record.certificates {
        if marks(certificate).weakness.is_some() {
            sheet.fact(facts.frame(), |lang| {
                let key = match certificate.rsa_exponent {
                    Some(exponent) => say(lang, "cert-key-exponent").with("exponent", exponent),
                    None => say(lang, "cert-key"),
                };
                let algorithm = certificate.signature_algorithm.as_deref();
                key.and("cert-signed-card")
                    .with("key", certificate.key.as_deref().unwrap_or("?"))
                    .with("algorithm", algorithm.unwrap_or("?"))
                    .with("card", card(certificate, lang))
            });
        }
    }
}

/// `cert-chain-incomplete`, as one handshake shows it: certificates out of order, a leaf alone, or the root sent too.
fn chain(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let leaf = facts.leaf()?;
    let is_alone = facts.record.certificates.len() == 1;
    let found = if is_alone {
        leaf_alone(facts, leaf)?
    } else {
        let (severity, cause) = chain_marks(facts.record)?.disorder?;
        Verdict::new(severity, Confidence::Certain, cause)
    };
    (!is_internal(facts, settings) && !leaf.self_signed).then_some(found)
}

/// What is wrong with the order of a leaf and more, or with which ones were sent.
pub(super) fn disorder(chain: &[Arc<Certificate>]) -> Option<(Severity, &'static str)> {
    let (leaf, others) = chain.split_first()?;
    // The leaf's issuer does not come next, but later.
    let is_issuer = |other: &Arc<Certificate>| other.subject == leaf.issuer;
    let mut behind = others.iter();
    if behind.next().is_some_and(|next| !is_issuer(next)) && behind.any(is_issuer) {
        return Some((Severity::Warning, "out-of-order"));
    }
    // Each client has the root already, or does not trust it: it costs bytes in each handshake.
    let has_root = others.iter().any(|other| other.self_signed);
    has_root.then_some((Severity::Info, "root-included"))
}

/// A leaf alone proves nothing: a root may have issued it itself. The client's word does; and where the certificate says
/// where to fetch its issuer's, it is meant to be sent with it. Windows fetches it: if that client refuses, the root may
/// be what it lacks.
fn leaf_alone(facts: &Facts<'_>, leaf: &Certificate) -> Option<Verdict> {
    let refused = facts.fatal_code(Side::Client) == Some(48);
    if !refused && !chain_marks(facts.record)?.lacks_issuer {
        return None;
    }
    let fetches = || {
        facts
            .client_hello
            .and_then(|hello| Stack::of(&hello.shape))
            .is_some_and(Stack::is_windows)
    };
    let (severity, confidence) = match (refused, leaf.ca_issuers) {
        (true, true) if !fetches() => (Severity::Error, Confidence::Likely),
        _ => (Severity::Warning, Confidence::Possible),
    };
    Some(Verdict::new(severity, confidence, "leaf-only"))
}

/// It says where to fetch its issuer's certificate, and this is no root by its name.
pub(super) fn lacks_issuer(leaf: &Certificate) -> bool {
    let by_root = |issuer: &str| contains_ignoring_case(issuer, "root");
    leaf.ca_issuers && !leaf.issuer.as_deref().is_some_and(by_root)
}

fn describe_chain(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    for (index, certificate) in facts.record.certificates.iter().enumerate().take(4) {
        if index == 0 {
            sheet.note("certificate", &certificate_name(certificate));
            sheet.note("issuer", certificate.issuer.as_deref().unwrap_or("?"));
        }
        sheet.fact(facts.frame(), |lang| {
            say(lang, "cert-number")
                .with("number", index + 1)
                .with("card", card(certificate, lang))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{DAY_S, Make, START_S, cert, diagnose, find, has};
    use crate::record::Outcome;

    fn shown(change: impl FnOnce(&mut Certificate)) -> Make {
        let mut certificate = cert("CN=www.contoso.com", &["www.contoso.com"]);
        change(&mut certificate);
        let mut ca = cert("CN=Contoso Issuing CA, O=Contoso", &[]);
        ca.issuer = Some("CN=Contoso Root".into());
        Make::new()
            .answer(0x0303, 0xc02f)
            .certificate(certificate)
            .certificate(ca)
    }

    fn days(days: i64) -> Option<Timestamp> {
        Some(Timestamp((START_S + days * DAY_S) * 1_000_000_000))
    }

    #[test]
    fn a_client_that_closes_upon_the_certificate() {
        let id = "cert-rejected-by-client";
        let closed = |by| {
            shown(|_| ())
                .outcome(Outcome::ClientAbort)
                .tcp(|tcp| tcp.closed_by = Some(by))
                .with(|record| record.stopped_after = Some("server_hello_done".into()))
        };
        let found = diagnose(&[closed(Side::Client)]);
        let finding = find(&found, id).unwrap();
        assert_eq!(
            (finding.severity, finding.confidence),
            (Severity::Warning, Confidence::Possible)
        );
        assert_eq!(finding.evidence.last().unwrap().frame, 20);
        // The server closes; the client's answer was on its way; the client had closed before; it was a resumption.
        assert!(!has(&closed(Side::Server), id));
        let answered = closed(Side::Client);
        let answered = answered.with(|record| record.stopped_after = Some("finished".into()));
        assert!(!has(&answered, id));
        let early = closed(Side::Client).tcp(|tcp| tcp.close_frame = Some(5));
        assert!(!has(&early, id));
        let resumed = closed(Side::Client).with(|record| record.certificates = Default::default());
        assert!(!has(&resumed, id));
    }

    #[test]
    fn a_client_that_says_expired_means_any_of_the_chain() {
        let id = "cert-rejected-by-client";
        let says = |made: Make, code| {
            let alert = made.alert(Side::Client, code).outcome(Outcome::ClientAlert);
            find(&diagnose(&[alert]), id).unwrap().title.to_string()
        };
        assert!(says(shown(|_| ()), 45).contains("clock"));
        let mut old = cert("CN=Contoso Old CA", &[]);
        old.not_after = days(-1);
        let behind = || shown(|_| ()).certificate(old.clone());
        assert!(says(behind(), 45).contains("out of date"));
        // An expired one that the client may not need, and another alert.
        assert!(!says(behind(), 48).contains("out of date"));
    }

    #[test]
    fn validity_by_packet_time() {
        let id = "cert-validity";
        assert!(!has(&shown(|_| ()), id));
        assert!(has(&shown(|cert| cert.not_after = days(-1)), id));
        assert!(has(&shown(|cert| cert.not_before = days(1)), id));
        let near = diagnose(&[shown(|cert| cert.not_after = days(10))]);
        let near = find(&near, id).unwrap();
        assert_eq!(near.severity, Severity::Warning);
        let fact = &near.evidence.last().unwrap().fact;
        assert!(fact.ends_with("; names: www.contoso.com"), "{fact}");
        // Seven days of a ninety-day certificate are near, forty are not.
        let short = |left| {
            shown(|cert| {
                cert.not_before = days(left - 90);
                cert.not_after = days(left);
            })
        };
        assert!(has(&short(7), id) && !has(&short(40), id));
        let long = |issuer: &str| {
            shown(|cert| {
                cert.not_before = days(-1);
                cert.not_after = days(800);
                cert.issuer = Some(issuer.into());
            })
        };
        let public = diagnose(&[long("C=US, O=DigiCert Inc, CN=X")]);
        assert_eq!(find(&public, id).unwrap().severity, Severity::Info);
        assert!(!has(&long("O=Contoso, CN=Contoso Issuing CA"), id));
        // To the day.
        let lives = |lifetime: i64| {
            long("C=US, O=DigiCert Inc, CN=X").leaf(|cert| {
                cert.not_before = days(-10);
                cert.not_after = days(lifetime - 10);
            })
        };
        assert!(has(&lives(399), id) && !has(&lives(398), id));
        // With an expired intermediate behind it, it is still the server's own that counts.
        let mut issuer = cert("CN=Contoso Issuing CA", &[]);
        issuer.not_after = days(-1);
        let both = shown(|cert| cert.not_after = days(-1)).certificate(issuer.clone());
        assert!(
            find(&diagnose(&[both]), id)
                .unwrap()
                .title
                .starts_with("The certificate of")
        );
        let behind = shown(|_| ()).certificate(issuer);
        assert!(
            find(&diagnose(&[behind]), id)
                .unwrap()
                .title
                .contains("intermediate")
        );
        // No packet of it is known: there is nothing to show.
        let bare = shown(|cert| cert.not_after = days(-1)).with(|record| {
            (record.client_hello, record.server_hello, record.tcp) = (None, None, None);
        });
        assert!(!has(&bare, id));
        let back_end = shown(|cert| cert.not_after = days(-1)).server("10.0.0.5:444");
        assert!(!has(&back_end, id));
    }

    #[test]
    fn weak_certificates() {
        let id = "cert-weak";
        assert!(!has(&shown(|_| ()), id));
        assert!(has(&shown(|cert| cert.key = Some("rsa-1024".into())), id));
        assert!(has(
            &shown(|cert| cert.signature_algorithm = Some("sha1WithRSAEncryption".into())),
            id
        ));
        let severity = |change: fn(&mut Certificate)| {
            let found = diagnose(&[shown(change)]);
            find(&found, id).map(|found| found.severity)
        };
        let warning = Some(Severity::Warning);
        assert_eq!(severity(|cert| cert.key = Some("rsa-1024".into())), warning);
        assert_eq!(
            severity(|cert| cert.key = Some("ecdsa-p224".into())),
            warning
        );
        assert_eq!(severity(|cert| cert.key = Some("dsa-2048".into())), warning);
        assert_eq!(severity(|cert| cert.key = Some("rsa-2048".into())), None);
        assert_eq!(severity(|cert| cert.key = Some("ecdsa-p256".into())), None);
        let error = Some(Severity::Error);
        assert_eq!(severity(|cert| cert.key = Some("rsa-1023".into())), error);
        let md5 = |cert: &mut Certificate| {
            cert.signature_algorithm = Some("md5WithRSAEncryption".into());
        };
        assert_eq!(severity(md5), error);
        assert!(has(&shown(|cert| cert.rsa_exponent = Some(1)), id));
        assert!(has(&shown(|cert| cert.rsa_exponent = Some(4)), id));
        assert!(!has(&shown(|cert| cert.rsa_exponent = Some(3)), id));
        let root = shown(|cert| {
            cert.self_signed = true;
            cert.signature_algorithm = Some("sha1WithRSAEncryption".into());
        });
        assert!(!has(&root, id));
    }

    #[test]
    fn chains() {
        let id = "cert-chain-incomplete";
        assert!(!has(&shown(|_| ()), id));
        let alone = Make::new()
            .answer(0x0303, 0xc02f)
            .certificate(cert("CN=www.contoso.com", &["www.contoso.com"]));
        assert!(!has(&alone, id));
        let fetched = alone.clone().leaf(|leaf| leaf.ca_issuers = true);
        assert!(has(&fetched, id));
        // By its issuer's name a root issued it.
        let by_root =
            (fetched.clone()).leaf(|leaf| leaf.issuer = Some("CN=Contoso Root CA".into()));
        assert!(!has(&by_root, id));
        let refuse = |made: Make| made.alert(Side::Client, 48).outcome(Outcome::ClientAlert);
        let severity = |made: Make| find(&diagnose(&[made]), id).map(|found| found.severity);
        assert_eq!(severity(refuse(alone)), Some(Severity::Warning));
        // A client that does not fetch what is missing; Windows does.
        assert_eq!(severity(refuse(fetched.clone())), Some(Severity::Error));
        let windows = fetched.shape(|shape| {
            shape.cipher_suites = [
                0xc028, 0xc027, 0xc014, 0xc013, 0x009f, 0x009e, 0x0039, 0x0033, 0x009d, 0x009c,
                0x003d, 0x003c, 0x0035, 0x002f, 0xc02c, 0xc02b, 0xc024, 0xc023, 0xc00a, 0xc009,
                0x006a, 0x0040, 0x0038, 0x0032, 0x000a, 0x0013,
            ]
            .map(crate::record::Code16)
            .to_vec();
            shape.extensions = [0x0000, 0x000a, 0x000b, 0x000d, 0x0017, 0xff01]
                .map(crate::record::Code16)
                .to_vec();
            shape.supported_groups = Some([0x0017, 0x0018].map(crate::record::Code16).to_vec());
        });
        let stack = windows.record.client_hello.as_ref().unwrap();
        assert_eq!(
            &*stack.shape.client_stack.as_ref().unwrap().name,
            "Schannel"
        );
        assert_eq!(severity(refuse(windows)), Some(Severity::Warning));
        let mut own = cert("CN=www.contoso.com", &["www.contoso.com"]);
        own.self_signed = true;
        assert!(!has(
            &Make::new().answer(0x0303, 0xc02f).certificate(own),
            id
        ));
    }

    #[test]
    fn chains_with_more_than_is_needed() {
        let id = "cert-chain-incomplete";
        let severity = |made: Make| find(&diagnose(&[made]), id).map(|found| found.severity);
        let mut root = cert("CN=Contoso Root", &[]);
        root.self_signed = true;
        assert_eq!(severity(shown(|_| ())), None);
        let with_root = shown(|_| ()).certificate(root.clone());
        assert_eq!(severity(with_root), Some(Severity::Info));
        // The issuer stands behind another one: that is the graver.
        let mut leaf = cert("CN=www.contoso.com", &["www.contoso.com"]);
        leaf.issuer = Some("CN=Contoso Issuing CA, O=Contoso".into());
        let issuer = cert("CN=Contoso Issuing CA, O=Contoso", &[]);
        let mixed = Make::new().answer(0x0303, 0xc02f).certificate(leaf);
        let mixed = mixed.certificate(root).certificate(issuer);
        assert_eq!(severity(mixed), Some(Severity::Warning));
    }

    #[test]
    fn rejections_have_a_computed_cause() {
        let rejected = |code, change: fn(&mut Certificate)| {
            shown(change)
                .alert(Side::Client, code)
                .outcome(Outcome::ClientAlert)
        };
        let title = |made: Make| {
            find(&diagnose(&[made]), "cert-rejected-by-client")
                .unwrap()
                .title
                .to_string()
        };
        let expired = title(rejected(45, |cert| cert.not_after = days(-1)));
        let clock = title(rejected(45, |_| ()));
        let unknown = title(rejected(48, |_| ()));
        assert!(expired != clock && clock != unknown);
        // An alert of the client that is not about the certificate; a back end's own certificate.
        let other = rejected(40, |_| ());
        assert!(!has(&other, "cert-rejected-by-client"));
        let back_end = rejected(48, |_| ()).server("10.0.0.5:444");
        assert!(!has(&back_end, "cert-rejected-by-client"));
        let fine = shown(|_| ()).alert(Side::Client, 0);
        assert!(!has(&fine, "cert-rejected-by-client"));
    }
}
