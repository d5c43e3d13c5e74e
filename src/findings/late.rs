//! Handshakes that die late: over a client certificate, after the key exchange, or where TLS 1.3 hides the reason.

mod beside;

use super::facts::{Facts, suite_name, version_name};
use super::groups::server_subject;
use super::names::certificate_name;
use super::survey::Report;
use super::text::{say, word};
use super::trace::Trace;
use super::version::describe_alerts;
use super::{Entry, Rule, Settings, Sheet, Subject, Survey, Verdict, When};
use crate::record::{Confidence, Outcome, Scope, Severity, Side};
use crate::tls::code_points::{CipherSuite, KeyExchange, VersionRank};

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
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
    )
    .when(When::INCOMPLETE.or(When::REQUESTED)),
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
    )
    .when(When::HIDDEN),
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
    )
    .when(When::INCOMPLETE),
];

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[
    Survey {
        entries: &[],
        run: dhe_ratio,
    },
    Survey {
        entries: &[],
        run: beside::others,
    },
    Survey {
        entries: &[],
        run: beside::full_handshake,
    },
];

/// A late failure with TLS_DHE_* among successes with such suites, rare as one in hundreds, is *likely* the padding fault.
fn dhe_ratio(report: &mut Report<'_>) {
    let past = report.past;
    for (subject, group) in report.groups.of("late-handshake-failure") {
        let Subject::Pair(client, server) = subject else {
            continue;
        };
        if group.cause() != "dhe-padding" {
            continue;
        }
        let list = past.pairs.of(*client, *server);
        let dhe = |trace: &Trace| {
            past.suite(trace)
                .and_then(CipherSuite::entry)
                .is_some_and(|entry| entry.key_exchange == KeyExchange::Dhe)
        };
        let successes = past
            .of(list)
            .filter(|(_, trace)| trace.is_complete() && dhe(trace))
            .count();
        let failures = past
            .of(list)
            .filter(|(_, trace)| died_late(trace) && dhe(trace))
            .count();
        // One in 256 is expected: a rate between one in a thousand and one in fifty, from fifty handshakes on.
        let all = successes + failures;
        if all >= 50 && failures * 50 <= all && failures * 1_000 >= all {
            group.raise(Verdict::new(Severity::Warning, Confidence::Likely, ""));
            let rate = say(past.lang, "rate")
                .with("failures", failures)
                .with("all", all);
            group.set("rate", &rate.text());
        }
    }
}

/// The server ended it in place of its Finished, with an alert about keys or without a word.
fn died_late(trace: &Trace<'_>) -> bool {
    trace.outcome == Outcome::LateFailure
        || trace.outcome == Outcome::ServerAlert
            && matches!(trace.alert, Some((Side::Server, code)) if is_about_keys(code))
}

/// bad_record_mac, decrypt_error, internal_error: what servers say where keys do not fit.
fn is_about_keys(alert: u8) -> bool {
    matches!(alert, 20 | 51 | 80)
}

fn pair(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Pair(facts.record.client.ip, facts.record.server)
}

/// `client-cert-problem`. An empty Certificate and then success is normal, and not reported.
fn client_certificate(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let record = facts.record;
    let certain = |cause| Some(Verdict::new(Severity::Warning, Confidence::Certain, cause));
    let likely = |cause| Verdict::new(Severity::Warning, Confidence::Likely, cause);
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
    let code = facts.fatal_code(Side::Server);
    if !record.client_certificates.is_empty() {
        match code {
            Some(42..=51 | 116) => return certain("rejected"),
            // No word about the certificate, but it is what was new (Windows resets, others send handshake_failure).
            Some(20 | 40 | 80) => return Some(likely("rejected")),
            None if record.outcome == Outcome::LateFailure => return Some(likely("rejected")),
            _ => {}
        }
    }
    let empty = facts.observed(|observed| observed.client_certificate_empty) == Some(true);
    let refused = matches!(record.outcome, Outcome::ServerAlert | Outcome::LateFailure);
    (empty && refused).then_some(())?;
    certain("none-sent")
}

fn describe_client_certificate(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    let names = facts.observed(|observed| observed.authority_names);
    let bytes = facts.observed(|observed| observed.certificate_request_bytes);
    sheet.fact(facts.frame(), |lang| {
        let names = names.map_or_else(|| "?".to_owned(), |names| names.to_string());
        let fact = say(lang, "client-cert")
            .with("names", names)
            .with("sent", facts.record.client_certificates.len())
            .with("outcome", facts.record.outcome.as_str());
        match bytes {
            Some(bytes) => fact.and("client-cert-bytes").with("bytes", bytes),
            None => fact,
        }
    });
    for certificate in facts.record.client_certificates.iter().take(1) {
        sheet.note("certificate", &certificate_name(certificate));
    }
    describe_alerts(facts, sheet);
}

/// `tls13-abort-hidden`: the client's first encrypted record has the size of an alert, or it closes without any.
fn abort_hidden(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    if facts.negotiated != Some(VersionRank::Tls13)
        || !facts.whole
        || facts
            .record
            .alerts
            .iter()
            .any(|alert| alert.from == Side::Client && !alert.encrypted)
    {
        return None;
    }
    let short_tag = facts.suite()?.0 == 0x1305;
    let alert_bytes = if short_tag { 11 } else { 19 };
    let flight = facts.observed(|observed| observed.server_flight_bytes);
    if flight.is_some_and(|bytes| bytes < 600) && !facts.server_hello?.is_without_certificate() {
        return None;
    }
    match facts.observed(|observed| observed.first_client_record_bytes) {
        Some(bytes) if bytes == alert_bytes => Some(Verdict::new(
            Severity::Warning,
            Confidence::Likely,
            "alert-sized",
        )),
        Some(_) => None,
        // What never arrived was not rejected.
        None if super::pmtu::blackhole(facts, settings).is_some() => None,
        None if closed_early(facts) => None,
        // The server's side did.
        None if facts.record.broken_off_by_server().is_some() => None,
        None if facts.record.outcome == Outcome::ClientAbort => Some(Verdict::new(
            Severity::Warning,
            Confidence::Possible,
            "closed",
        )),
        None => None,
    }
}

/// The client had closed before the server's hello was there: it changed its mind, for no reason of the server's.
pub(super) fn closed_early(facts: &Facts<'_>) -> bool {
    let close = facts.record.tcp.as_ref().and_then(|tcp| tcp.close_frame);
    let answer = facts.server_hello.map(|hello| hello.frame);
    close
        .zip(answer)
        .is_some_and(|(close, answer)| close < answer)
}

fn describe_abort(facts: &Facts<'_>, verdict: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    sheet.fact(facts.frame(), |lang| {
        let suite = facts.suite().map_or_else(|| "?".to_owned(), suite_name);
        let fact = say(lang, "server-chose")
            .with("version", version_name(VersionRank::Tls13))
            .with("suite", suite);
        match facts.observed(|observed| observed.server_flight_bytes) {
            Some(bytes) => fact.and("abort-flight").with("bytes", bytes),
            None => fact,
        }
    });
    let close = facts.record.tcp.as_ref().and_then(|tcp| tcp.close_frame);
    sheet.fact(close.unwrap_or_else(|| facts.frame()), |lang| {
        if verdict.cause == "closed" {
            say(lang, "abort-closed")
        } else {
            let bytes = facts.observed(|observed| observed.first_client_record_bytes);
            say(lang, "abort-alert-sized").with("bytes", bytes.unwrap_or_default())
        }
    });
}

/// A resumed session in which one side alone signals the extended master secret.
fn differs_in_ems(facts: &Facts<'_>) -> bool {
    let hellos = facts.client_hello.zip(facts.server_hello);
    hellos.is_some_and(|(client, server)| {
        let signals = client.shape.extended_master_secret;
        server.resumed && signals != server.shape.extended_master_secret
    })
}

/// The client's second flight was seen, or began: the last message in clear is none of the server's first flight. Of a
/// resumed session that ends with the ServerHello.
fn client_answered(facts: &Facts<'_>) -> bool {
    let last = facts.record.stopped_after.as_deref();
    let is_first_flight = matches!(
        last,
        Some(
            "server_hello"
                | "certificate"
                | "certificate_status"
                | "server_key_exchange"
                | "certificate_request"
                | "server_hello_done"
        )
    );
    !is_first_flight || facts.server_hello.is_some_and(|hello| hello.resumed)
}

/// `late-handshake-failure`.
fn late_failure(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let record = facts.record;
    if !facts.is_clear() || !facts.whole || record.outcome.is_complete() {
        return None;
    }
    let late_alert = record.outcome == Outcome::ServerAlert
        && client_answered(facts)
        && facts.fatal_code(Side::Server).is_some_and(is_about_keys);
    // Of a resumed session the server speaks last but one: then it is the client that refuses.
    let refused = record.outcome == Outcome::ClientAlert && differs_in_ems(facts);
    if record.outcome != Outcome::LateFailure && !late_alert && !refused {
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
    let (cause, confidence) = if differs_in_ems(facts) {
        ("ems-resumption", Confidence::Likely)
    } else if dhe && !hello.resumed {
        ("dhe-padding", Confidence::Possible)
    } else {
        ("", Confidence::Certain)
    };
    Some(Verdict::new(Severity::Warning, confidence, cause))
}

fn describe_late(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(suite) = facts.suite() {
        sheet.note_word("suite", suite.name().unwrap_or("?"));
    }
    sheet.fact(facts.frame(), |lang| {
        let ems = |present: bool| word(lang, if present { "with" } else { "without" });
        let (client, server) = (facts.client_hello, facts.server_hello);
        say(lang, "late-server-hello")
            .with("version", facts.negotiated.map_or("?", version_name))
            .with(
                "suite",
                facts.suite().map_or_else(|| "?".to_owned(), suite_name),
            )
            .with(
                "server",
                ems(server.is_some_and(|hello| hello.shape.extended_master_secret)),
            )
            .with(
                "client",
                ems(client.is_some_and(|hello| hello.shape.extended_master_secret)),
            )
            .with("outcome", facts.record.outcome.as_str())
    });
    describe_alerts(facts, sheet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert, diagnose, find, has};
    use crate::record::Defect;

    #[test]
    fn client_certificates() {
        let id = "client-cert-problem";
        let asked = || {
            Make::new()
                .answer(0x0303, 0xc02f)
                .with(|record| record.certificate_requested = true)
        };
        let refused = asked()
            .client_certificate(cert("CN=joe", &[]))
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
        let found = diagnose(&[long]);
        let evidence = &find(&found, id).unwrap().evidence;
        assert!(evidence[0].fact.contains("16380"), "{evidence:?}");
        // A long list that is whole; and no list at all.
        for (names, bytes) in [(150, 16_000), (0, 16_380)] {
            let whole = asked().observed(|observed| {
                observed.authority_names = Some(names);
                observed.certificate_request_bytes = Some(bytes);
            });
            assert!(!has(&whole, id), "{names} {bytes}");
        }
        let sent = |made: Make| made.client_certificate(cert("CN=joe", &[]));
        // No word about it: an alert of another kind, or a reset upon the client's flight.
        let confidence = |made: Make| find(&diagnose(&[made]), id).map(|found| found.confidence);
        for code in [20, 40, 80] {
            let alert = sent(asked()).alert(Side::Server, code);
            let found = confidence(alert.outcome(Outcome::ServerAlert));
            assert_eq!(found, Some(Confidence::Likely), "{code}");
        }
        let reset = sent(asked()).outcome(Outcome::LateFailure);
        assert_eq!(confidence(reset), Some(Confidence::Likely));
        // The server refuses for another reason; the client gives up itself.
        let version = sent(asked()).alert(Side::Server, 70);
        assert!(!has(&version.outcome(Outcome::ServerAlert), id));
        let client = sent(asked()).alert(Side::Client, 48);
        assert!(!has(&client.outcome(Outcome::ClientAlert), id));
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
        // What can be looked up in Wireshark is said in numbers.
        let found = diagnose(&[made(Some(19)), made(Some(53)).at(1)]);
        let evidence = &find(&found, id).unwrap().evidence;
        assert!(evidence.iter().any(|shown| shown.fact.contains("3000")));
        assert!(evidence.iter().any(|shown| shown.fact.contains("19")));
        assert!(!has(&made(Some(53)), id));
        assert!(!has(
            &made(None).with(|record| record.defects.push(Defect::OneDirection)),
            id
        ));
        assert!(!has(&made(None).answer(0x0303, 0xc02f), id));
        // It had closed before the answer came; or the flight was too small for a certificate.
        assert!(!has(&made(None).tcp(|tcp| tcp.close_frame = Some(5)), id));
        let small = made(None).observed(|observed| observed.server_flight_bytes = Some(500));
        assert!(!has(&small, id));
        // Secrets opened it: whatever it says, it is not hidden.
        for code in [0, 48] {
            assert!(!has(&made(Some(19)).alert(Side::Client, code), id));
        }
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

    #[test]
    fn a_rare_dhe_failure_among_successes_is_likely_the_padding() {
        let id = "late-handshake-failure";
        let late = Make::new()
            .answer(0x0303, 0x009e)
            .outcome(Outcome::LateFailure);
        let found = diagnose(core::slice::from_ref(&late));
        assert_eq!(find(&found, id).unwrap().confidence, Confidence::Possible);
        let mut made: Vec<Make> = (0..60)
            .map(|n| Make::new().answer(0x0303, 0x009e).at(n * n))
            .collect();
        made.push(late);
        assert_eq!(
            find(&diagnose(&made), id).unwrap().confidence,
            Confidence::Likely
        );
        // The server may say it with an alert: bad_record_mac.
        let last = made.last_mut().unwrap();
        *last = last.clone().alert(Side::Server, 20);
        *last = last.clone().outcome(Outcome::ServerAlert);
        let found = diagnose(&made);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.confidence, Confidence::Likely);
        assert!(finding.affects.iter().any(|line| line.contains("1 of 61")));
        // Too often, or too seldom for a fault of one in 256.
        let late = made.pop().unwrap();
        let mut often = made[..55].to_vec();
        often.extend((0..5).map(|_| late.clone()));
        let seldom: Vec<Make> = (0..2_000)
            .map(|n| Make::new().answer(0x0303, 0x009e).at(n))
            .chain([late])
            .collect();
        for made in [often, seldom] {
            let found = diagnose(&made);
            assert_eq!(find(&found, id).unwrap().confidence, Confidence::Possible);
        }
    }

    #[test]
    fn extended_master_secret_on_one_side_of_a_resumption() {
        let id = "late-handshake-failure";
        let resumed = |client: bool, server: bool, resumed: bool| {
            let made = Make::new()
                .shape(|shape| shape.extended_master_secret = client)
                .answer(0x0303, 0xc02f)
                .reply(|shape| shape.extended_master_secret = server)
                .outcome(Outcome::LateFailure)
                .with(|record| record.server_hello.as_mut().unwrap().resumed = resumed);
            find(&diagnose(&[made]), id).unwrap().title.to_string()
        };
        // In a resumption the server's Finished comes first: mostly it is the client that refuses.
        let by_client = |server: bool| {
            let made = Make::new()
                .answer(0x0303, 0x009e)
                .reply(|shape| shape.extended_master_secret = server)
                .alert(Side::Client, 40)
                .outcome(Outcome::ClientAlert)
                .with(|record| record.server_hello.as_mut().unwrap().resumed = true);
            diagnose(&[made])
        };
        let found = by_client(false);
        let title = &find(&found, id).unwrap().title;
        assert!(title.contains("extended master secret"), "{title}");
        assert!(find(&by_client(true), id).is_none());
        assert!(resumed(true, false, true).contains("extended master secret"));
        assert!(!resumed(true, true, true).contains("extended master secret"));
        assert!(!resumed(true, false, false).contains("extended master secret"));
    }
}
