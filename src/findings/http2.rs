//! HTTP/2 over TLS: what RFC 9113 section 9.2 asks for, and who insists on it.
//!
//! The list of RFC 9113 Appendix A (the same as in RFC 7540) and the rules of the programs differ: the list says MAY, and
//! each program decides. So the list and the verdict of each consumer are kept apart: the same capture "works" for one
//! client and fails for another. Only an ALPN `h2` that the server *selected* counts: in clear (TLS 1.2 and below), or in
//! what secrets opened.

use super::facts::{Facts, offered, suite_name, version_name};
use super::groups::{Value, server_subject};
use super::marks::hello_marks;
use super::text::{Say, say};
use super::{Entry, Lang, Rule, Settings, Sheet, Subject, Told, Verdict, When};
use crate::record::{ClientHelloShape, Confidence, H2GoAway, Outcome, Scope, Severity, Side};
use crate::tls::code_points::{CipherSuite, KeyExchange, NamedGroup, RELEASES, VersionRank};

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule {
        entry: Entry {
            id: "h2-blocklisted-cipher",
            severity: Severity::Error,
            scope: Scope::Handshake,
            reference: "RFC 9113 section 9.2.2 and Appendix A (RFC 7540 section 9.2.2)",
        },
        when: When::SUITE_LISTED,
        judge: blocklisted_cipher,
        told: Told::ByRule {
            subject: server_subject,
            describe: describe_blocklisted,
        },
    },
    Rule {
        entry: Entry {
            id: "h2-tls-version",
            severity: Severity::Error,
            scope: Scope::Handshake,
            reference: "RFC 9113 section 9.2",
        },
        when: When::OLD,
        judge: tls_version,
        told: Told::ByRule {
            subject: server_subject,
            describe: describe_version,
        },
    },
    Rule::new(
        Entry::new(
            "h2-tls-feature",
            Severity::Error,
            Scope::Handshake,
            "RFC 9113 sections 9.2.1 and 9.2.3",
        ),
        tls_feature,
        server_subject,
        describe_feature,
    )
    .when(When::SELECTED),
    Rule::new(
        Entry::new(
            "h2-client-offer-blocklisted",
            Severity::Warning,
            Scope::Client,
            "RFC 9113 section 9.2.2",
        ),
        client_offer,
        client_and_name,
        describe_client_offer,
    )
    .when(When::OFFER_AT_RISK),
];

fn client_and_name(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Client(facts.record.client.ip, facts.target())
}

/// The server selected `h2`, and the capture shows it.
fn selected_h2(facts: &Facts<'_>) -> bool {
    facts.alpn() == Some("h2")
}

/// `h2-blocklisted-cipher`. The cause is who has to change: the server's order, the client's offer, or the certificate,
/// where the client's permitted suites need another kind of key. Without the ClientHello nobody is blamed.
fn blocklisted_cipher(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if !selected_h2(facts) || facts.negotiated != Some(VersionRank::Tls12) {
        return None;
    }
    let chosen = facts.suite()?;
    if !chosen.is_h2_prohibited() {
        return None;
    }
    let authentication = chosen.entry()?.authentication;
    let mut cause = match facts.client_hello {
        Some(_) => "client-offer",
        None => "offer-not-seen",
    };
    for suite in permitted(facts) {
        if suite
            .entry()
            .is_some_and(|entry| entry.authentication == authentication)
        {
            cause = "server-order";
            break;
        }
        cause = "certificate-type";
    }
    Some(Verdict::new(Severity::Error, Confidence::Certain, cause))
}

/// Suites of the offer that HTTP/2 may use with TLS 1.2.
pub(super) fn permitted<'a>(facts: &Facts<'a>) -> impl Iterator<Item = CipherSuite> + use<'a> {
    facts.offered().filter(|suite| is_permitted(*suite))
}

/// A suite of TLS 1.2 that is known and not prohibited for HTTP/2.
pub(super) fn is_permitted(suite: CipherSuite) -> bool {
    suite.entry().is_some_and(|entry| {
        !entry.h2_prohibited && entry.aead && entry.key_exchange != KeyExchange::Tls13
    })
}

/// What a program does when HTTP/2 comes with a suite at TLS 1.2. Each rule is the program's own; none is the list itself.
struct Consumers {
    /// Chromium and what is built on it: ECDHE (or another exchange that is not RSA) with an AEAD.
    chromium: bool,
    /// Firefox: AEAD, and ECDHE of 224 bits or DHE of 2048 bits at least. `None` where the key exchange was not seen.
    firefox: Option<bool>,
    /// Go's HTTP/2 server, which asks the list of the RFC.
    go: bool,
    /// Apache httpd with `H2ModernTLSOnly`, which asks the list of the RFC.
    httpd: bool,
}

fn consumers(facts: &Facts<'_>, suite: CipherSuite) -> Consumers {
    let listed = suite.is_h2_prohibited();
    Consumers {
        chromium: suite.chromium_accepts_h2(),
        firefox: firefox(facts, suite),
        go: !listed,
        httpd: !listed,
    }
}

fn firefox(facts: &Facts<'_>, suite: CipherSuite) -> Option<bool> {
    let entry = suite.entry()?;
    if !entry.aead {
        return Some(false);
    }
    let exchange = facts.record.key_exchange.as_ref();
    match entry.key_exchange {
        KeyExchange::Ecdhe => {
            let bits = NamedGroup(exchange?.group?.0).bits()?;
            Some(bits >= 224)
        }
        KeyExchange::Dhe => Some(exchange?.dh_bits? >= 2048),
        _ => Some(false),
    }
}

fn describe_blocklisted(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    let Some(suite) = facts.suite() else { return };
    sheet.note_word("suite", suite.name().unwrap_or("?"));
    if let Some(name) = facts.sni() {
        sheet.note("name", name);
    }
    sheet.client(facts);
    note_consumers(&consumers(facts, suite), sheet);
    let closed = facts.record.outcome == Outcome::EstablishedThenClosed;
    let refusal = inadequate_security(facts);
    let seen = match refusal {
        Some(_) => "refused",
        None if closed => "closed",
        None => "went_on",
    };
    sheet.note_value(seen, Value::Ip(facts.record.client.ip));
    if let Some(permitted) = permitted(facts).next() {
        sheet.note_word("permitted", permitted.name().unwrap_or("?"));
    }
    if !sheet.wants_evidence() {
        return;
    }
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, |lang| offer_fact(facts, suite, lang));
    }
    sheet.fact(facts.frame(), |lang| {
        say(lang, "h2-server")
            .with("version", facts.negotiated.map_or("?", version_name))
            .with("suite", suite_name(suite))
    });
    if let Some(usual) = windows_choice(facts, suite) {
        sheet.fact(facts.frame(), |lang| {
            say(lang, "h2-windows-order").with("suite", suite_name(usual))
        });
    }
    if let Some(goaway) = refusal {
        let side = goaway.from;
        sheet.fact(goaway.frame, |lang| match side {
            Side::Client => say(lang, "h2-goaway-client"),
            Side::Server => say(lang, "h2-goaway-server"),
        });
    }
    if closed && let Some(tcp) = &facts.record.tcp {
        let frame = tcp.close_frame.unwrap_or_else(|| facts.frame());
        let bytes = facts.record.application_bytes.unwrap_or_default();
        sheet.fact(frame, |lang| {
            say(lang, "h2-closed")
                .with("client", bytes.client)
                .with("server", bytes.server)
        });
    }
}

/// A GOAWAY with INADEQUATE_SECURITY (RFC 9113 section 9.2.2), which only secrets show.
fn inadequate_security<'a>(facts: &Facts<'a>) -> Option<&'a H2GoAway> {
    const INADEQUATE_SECURITY: u32 = 0xc;
    let h2 = facts.record.http.as_ref()?.h2.as_ref()?;
    let mut goaways = h2.goaways.iter();
    goaways.find(|goaway| goaway.code == INADEQUATE_SECURITY)
}

fn note_consumers(consumers: &Consumers, sheet: &mut Sheet<'_>) {
    if !consumers.chromium {
        sheet.note_word("chromium", "ERR_HTTP2_INADEQUATE_TRANSPORT_SECURITY");
    }
    if consumers.firefox == Some(false) {
        sheet.note_word("firefox", "NS_ERROR_NET_INADEQUATE_SECURITY");
    }
    if !consumers.go {
        sheet.note_word("go", "INADEQUATE_SECURITY");
    }
    if !consumers.httpd {
        sheet.note_word("httpd", "H2ModernTLSOnly");
    }
}

/// Where the chosen suite and the first permitted one stand in the client's list.
fn offer_fact(facts: &Facts<'_>, chosen: CipherSuite, lang: Lang) -> Say {
    let place = |wanted: CipherSuite| facts.offered().position(|suite| suite == wanted);
    let fact = match place(chosen) {
        Some(at) => say(lang, "suite-place").with("place", at + 1),
        None => say(lang, "suite-not-offered"),
    };
    let fact = fact.with("suite", suite_name(chosen));
    let authentication = chosen.entry().map(|entry| entry.authentication);
    let same = permitted(facts)
        .find(|suite| suite.entry().map(|entry| entry.authentication) == authentication);
    match same.or_else(|| permitted(facts).next()) {
        Some(suite) => {
            let at = place(suite).map_or(0, |at| at + 1);
            fact.and("suite-permitted")
                .with("permitted", suite_name(suite))
                .with("at", at)
                .and_if(same.is_none(), "suite-other-key")
        }
        None => fact.and("suite-none-permitted"),
    }
}

/// What the default orders of Windows would have chosen for this hello: a server that chose something else, and is a
/// Windows server, has had its order changed by policy.
fn windows_choice(facts: &Facts<'_>, chosen: CipherSuite) -> Option<CipherSuite> {
    let authentication = chosen.entry()?.authentication;
    let first_http2 = RELEASES
        .iter()
        .position(|release| release.name.starts_with("10 1607"))?;
    let releases = RELEASES.get(first_http2..)?;
    let picks = |suites: &[u16]| {
        suites
            .iter()
            .map(|code| CipherSuite(*code))
            .filter(|suite| {
                suite.entry().is_some_and(|entry| {
                    entry.authentication == authentication && !suite.is_tls13()
                })
            })
            .find(|suite| facts.offered().any(|offered| offered == *suite))
    };
    if releases
        .iter()
        .any(|release| picks(release.suites) == Some(chosen))
    {
        return None;
    }
    releases
        .iter()
        .rev()
        .find_map(|release| picks(release.suites))
}

/// `h2-tls-version`.
fn tls_version(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    (selected_h2(facts) && facts.negotiated? <= VersionRank::Tls11).then_some(Verdict::new(
        Severity::Error,
        Confidence::Certain,
        "",
    ))
}

fn describe_version(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    let version = facts.negotiated.map_or("?", version_name);
    sheet.note_word("version", version);
    sheet.client(facts);
    if let Some(name) = facts.sni() {
        sheet.note("name", name);
    }
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, |lang| {
            say(lang, "h2-client-version")
                .with("offered", facts.offer_max.map_or("?", version_name))
        });
    }
    sheet.fact(facts.frame(), |lang| {
        say(lang, "h2-server-version").with("version", version)
    });
}

/// The frame of a CertificateRequest behind the handshake, which RFC 9113 section 9.2.3 forbids and only
/// secrets show.
fn post_handshake_request(facts: &Facts<'_>) -> Option<u64> {
    let messages = &facts.record.inside.as_ref()?.post_handshake;
    let mut requests = messages
        .iter()
        .filter(|one| one.message == "certificate_request");
    requests.next().map(|request| request.frame)
}

/// `h2-tls-feature`.
fn tls_feature(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if !selected_h2(facts) {
        return None;
    }
    let cause = if !facts.is_clear() {
        post_handshake_request(facts)?;
        "post-handshake-authentication"
    } else if facts.server_hello?.shape.compression != 0 {
        "compression"
    } else {
        facts.observed(|observed| observed.late_handshake_frame)?;
        "renegotiation"
    };
    Some(Verdict::new(Severity::Error, Confidence::Certain, cause))
}

fn describe_feature(facts: &Facts<'_>, verdict: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    sheet.fact(facts.frame(), |lang| match facts.server_hello {
        Some(hello) if verdict.cause == "compression" => {
            say(lang, "h2-compression").with("method", hello.shape.compression)
        }
        _ => say(lang, "h2-selected"),
    });
    if let Some(frame) = post_handshake_request(facts) {
        sheet.fact(frame, |lang| say(lang, "h2-post-handshake"));
    }
    if let Some(frame) = facts.observed(|observed| observed.late_handshake_frame) {
        let from = facts.observed(|observed| observed.late_handshake_from);
        sheet.fact(frame, |lang| match from {
            Some(Side::Client) => say(lang, "h2-late-client"),
            _ => say(lang, "h2-late-server"),
        });
    }
}

/// `h2-client-offer-blocklisted`: with TLS 1.3 in the offer it counts only where the server picked TLS 1.2.
fn client_offer(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let is_at_risk = hello_marks(&facts.client_hello?.shape).is_at_risk_under_h2;
    let limited = facts.offer_max == Some(VersionRank::Tls12)
        || (facts.offer_max == Some(VersionRank::Tls13)
            && facts.negotiated == Some(VersionRank::Tls12));
    (is_at_risk && limited).then_some(Verdict::new(Severity::Warning, Confidence::Certain, ""))
}

/// The hello offers HTTP/2, and of TLS 1.2 no suite that HTTP/2 permits.
pub(super) fn is_at_risk(shape: &ClientHelloShape) -> bool {
    let mut protocols = shape.alpn.iter().flatten();
    let mut old = offered(shape).filter(|suite| !suite.is_tls13()).peekable();
    protocols.any(|protocol| &**protocol == "h2")
        && old.peek().is_some()
        && old.all(|suite| suite.is_h2_prohibited())
}

fn describe_client_offer(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(hello) = facts.client_hello {
        sheet.fact(hello.frame, |lang| {
            // TLS 1.3, where it is offered, prohibits none of its suites.
            let old = || facts.offered().filter(|suite| !suite.is_tls13());
            let suites: Vec<String> = old().take(6).map(suite_name).collect();
            say(lang, "h2-offer")
                .with("count", old().count())
                .with("suites", suites.join(", "))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, ids};
    use crate::record::{H2c, Http, Inside, PostHandshake};

    fn h2(offer: &[u16], chosen: u16) -> Make {
        Make::new()
            .suites(offer)
            .alpn(&["h2", "http/1.1"])
            .sni("mail.contoso.com")
            .answer(0x0303, chosen)
            .selected("h2")
    }

    #[test]
    fn nobody_is_blamed_for_an_offer_that_was_not_seen() {
        let made = h2(&[], 0xc014).with(|record| record.client_hello = None);
        let found = diagnose(&[made]);
        let found = found
            .iter()
            .find(|found| found.id == "h2-blocklisted-cipher");
        let found = found.unwrap();
        assert!(
            !found
                .remediation
                .iter()
                .any(|step| step.starts_with("On the client"))
        );
        assert!(found.title.contains("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"));
        let facts: Vec<&str> = found.evidence.iter().map(|shown| &*shown.fact).collect();
        assert!(facts[0].starts_with("ServerHello"), "{facts:?}");
        assert!(found.affects.iter().any(|line| line.contains("Chrome")));
    }

    #[test]
    fn the_server_order_is_the_culprit() {
        let mut made = h2(&[0xc030, 0xc02f, 0xc014], 0xc014);
        assert_eq!(ids(&mut made)[0], "h2-blocklisted-cipher");
        let found = diagnose(&[made.clone(), made]);
        let found = &found[0];
        assert_eq!(found.id, "h2-blocklisted-cipher");
        assert_eq!((found.count, found.severity), (2, Severity::Error));
        assert_eq!(found.subject.as_ref(), "10.0.0.5:443 (mail.contoso.com)");
        assert!(found.title.contains("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"));
        assert!(found.remediation[0].contains(r"Cryptography\Configuration\SSL\00010002"));
        assert!(found.affects.iter().any(|line| line.contains("Chrome")));
        let facts: Vec<_> = found
            .evidence
            .iter()
            .map(|evidence| evidence.fact.as_ref())
            .collect();
        assert!(
            facts[0].contains("is number 3; the first permitted one"),
            "{facts:?}"
        );
        assert!(
            facts
                .iter()
                .any(|fact| fact.contains("policy value Functions"))
        );
    }

    #[test]
    fn the_client_offer_or_the_certificate_can_be_the_culprit() {
        let title = |made: Make| diagnose(&[made])[0].title.clone();
        let client = title(h2(&[0xc014, 0x002f, 0x00ff, 0x0a0a], 0xc014));
        let certificate = title(h2(&[0xc02c, 0xc02b, 0xc014], 0xc014));
        let server = title(h2(&[0xc02c, 0xc02f, 0xc014], 0xc014));
        assert!(client != certificate && certificate != server && client != server);
    }

    #[test]
    fn permitted_suites_other_protocols_and_tls13_do_not_fire() {
        assert!(ids(&mut h2(&[0xc030, 0xc014], 0xc030)).is_empty());
        let mut http1 = h2(&[0xc030, 0xc014], 0xc014).selected("http/1.1");
        assert!(!ids(&mut http1).contains(&"h2-blocklisted-cipher".to_owned()));
        let mut tls13 = Make::new().tls13().alpn(&["h2"]).answer(0x0304, 0x1301);
        assert!(ids(&mut tls13).is_empty());
    }

    #[test]
    fn dhe_with_gcm_is_not_on_the_list() {
        assert!(!CipherSuite(0x009e).is_h2_prohibited());
        assert!(ids(&mut h2(&[0x009e], 0x009e)).is_empty());
    }

    #[test]
    fn a_client_that_closed_is_named() {
        let made = h2(&[0xc02f, 0xc014], 0xc014).outcome(Outcome::EstablishedThenClosed);
        let found = diagnose(&[made]);
        assert!(
            found[0]
                .affects
                .iter()
                .any(|line| line.contains("10.0.0.1"))
        );
    }

    /// HTTP/2 as secrets show it: a GOAWAY of this side with this error.
    fn goaway(from: Side, code: u32) -> Box<Http> {
        Box::new(Http {
            h2: Some(Box::new(H2c {
                goaways: vec![H2GoAway {
                    frame: 31,
                    from,
                    code,
                    error: None,
                    last_stream: 0,
                }],
                ..H2c::default()
            })),
            ..Http::default()
        })
    }

    #[test]
    fn a_goaway_that_was_seen_is_cited() {
        let with = |from, code| {
            let made = h2(&[0xc02f, 0xc014], 0xc014);
            let made = made.with(|record| record.http = Some(goaway(from, code)));
            diagnose(&[made]).remove(0)
        };
        let cites = |found: &crate::record::Finding| {
            let evidence = found.evidence.iter();
            let mut facts = evidence.filter(|evidence| evidence.fact.contains("GOAWAY"));
            facts.next().map(|evidence| evidence.frame)
        };
        let says = |found: &crate::record::Finding, words: &str| {
            found.affects.iter().any(|line| line.contains(words))
        };
        for side in [Side::Client, Side::Server] {
            let refused = with(side, 12);
            assert_eq!(cites(&refused), Some(31));
            assert!(says(&refused, "refused with GOAWAY") && !says(&refused, "went on:"));
        }
        let orderly = with(Side::Client, 0);
        assert_eq!(cites(&orderly), None);
        assert!(says(&orderly, "went on:") && !says(&orderly, "refused with GOAWAY"));
    }

    #[test]
    fn a_certificate_request_behind_the_handshake_is_a_feature_that_http2_forbids() {
        let id = "h2-tls-feature".to_owned();
        let asks = |alpn: &str, message: &'static str| {
            let made = Make::new()
                .tls13()
                .alpn(&["h2"])
                .answer(0x0304, 0x1301)
                .selected(alpn);
            made.with(|record| {
                record.decrypted = true;
                record.inside = Some(Box::new(Inside {
                    post_handshake: vec![PostHandshake {
                        frame: 40,
                        from: Side::Server,
                        message: message.into(),
                    }],
                    ..Inside::default()
                }));
            })
        };
        assert!(ids(&mut asks("h2", "certificate_request")).contains(&id));
        assert!(!ids(&mut asks("http/1.1", "certificate_request")).contains(&id));
        assert!(!ids(&mut asks("h2", "new_session_ticket")).contains(&id));
        assert!(!ids(&mut Make::new().tls13().answer(0x0304, 0x1301).selected("h2")).contains(&id));
    }

    #[test]
    fn features_that_http2_forbids() {
        let id = "h2-tls-feature".to_owned();
        let mut fine = h2(&[0xc030], 0xc030);
        assert!(!ids(&mut fine).contains(&id));
        let mut compressed = fine.clone().reply(|shape| shape.compression = 1);
        assert!(ids(&mut compressed).contains(&id));
        let late = |made: Make| made.observed(|observed| observed.late_handshake_frame = Some(30));
        assert!(ids(&mut late(fine)).contains(&id));
        let mut http1 = late(h2(&[0xc030], 0xc030).selected("http/1.1"));
        assert!(!ids(&mut http1).contains(&id));
    }

    #[test]
    fn clients_that_offer_prohibited_suites_only() {
        // Suites of TLS 1.3 are not prohibited, and not named among those that are.
        let made = Make::new().tls13().alpn(&["h2"]);
        let mixed = made
            .suites(&[0x1301, 0x1302, 0xc014, 0xc013])
            .answer(0x0303, 0xc014);
        let found = diagnose(&[mixed]);
        let of = |id: &str| found.iter().find(|found| found.id == id).unwrap();
        let fact = &of("h2-client-offer-blocklisted").evidence[0].fact;
        assert!(
            fact.contains("2 suite(s)") && !fact.contains("0x1301"),
            "{fact}"
        );
        let id = "h2-client-offer-blocklisted".to_owned();
        let offer = |suites: &[u16]| Make::new().suites(suites).alpn(&["h2"]);
        assert!(ids(&mut offer(&[0xc014, 0x002f, 0x00ff])).contains(&id));
        assert!(!ids(&mut offer(&[0xc014, 0xc02f])).contains(&id));
        assert!(!ids(&mut Make::new().suites(&[0xc014])).contains(&id));
        let mut tls13 = offer(&[0xc014]).tls13().answer(0x0304, 0x1301);
        assert!(!ids(&mut tls13).contains(&id));
    }

    #[test]
    fn http2_below_tls12() {
        let mut made = h2(&[0xc02f, 0xc014], 0xc014)
            .answer(0x0302, 0xc014)
            .selected("h2");
        assert!(ids(&mut made).contains(&"h2-tls-version".to_owned()));
        assert!(!ids(&mut made).contains(&"h2-blocklisted-cipher".to_owned()));
        let mut offered_only = Make::new().alpn(&["h2"]).answer(0x0302, 0xc014);
        assert!(!ids(&mut offered_only).contains(&"h2-tls-version".to_owned()));
    }
}
