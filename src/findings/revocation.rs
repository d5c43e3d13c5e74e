//! `slow-handshake` by a revocation or trust list that cannot be fetched: the client got the certificate, and took its time
//! until a look-up gave up.
//!
//! What failed must have failed inside the gap, and been asked for by the same address: by DNS, by TCP, or by HTTP. Hosts
//! of look-ups are known by their names. The look-up of another program on the same host looks alike, so it is *likely*
//! where the failure fills most of the gap, and *possible* where it fills little of it.

use super::aside::Gap;
use super::groups::Subject;
use super::hosts::serves_look_ups;
use super::path::CLIENT_THINKS;
use super::survey::Report;
use super::text::say;
use super::{Survey, Verdict};
use crate::record::{Confidence, Evidence, Timestamp};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// The survey.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: look_ups,
}];

const ID: &str = "slow-handshake";

/// A look-up that failed.
struct Failed {
    host: Box<str>,
    from: Timestamp,
    until: Timestamp,
    result: String,
    capture: Arc<str>,
    frame: u64,
}

fn look_ups(report: &mut Report<'_>) {
    let aside = report.aside;
    if aside.gaps.is_empty() {
        return;
    }
    let failed = failures(report);
    for gap in aside.gaps.iter() {
        let Some(all) = failed.get(&gap.place.client) else {
            continue;
        };
        let inside = |one: &&Failed| one.from >= gap.place.start && one.from <= gap.until;
        let within: Vec<&Failed> = all.iter().filter(inside).collect();
        let worst = within.iter().max_by_key(|one| one.until.0 - one.from.0);
        if let Some(worst) = worst {
            tell(report, gap, worst, &within);
        }
    }
}

/// All failed look-ups by client.
fn failures(report: &Report<'_>) -> BTreeMap<IpAddr, Vec<Failed>> {
    let past = report.past;
    let mut found: BTreeMap<IpAddr, Vec<Failed>> = BTreeMap::new();
    let dns = past.resolved.dns();
    // Without any answer the capture shows one direction of DNS, and nothing failed in it.
    let lookups = dns.lookups.iter().filter(|_| dns.answers > 0);
    for lookup in lookups.filter(|lookup| serves_look_ups(&lookup.name)) {
        let list = found.entry(lookup.client).or_default();
        list.extend(lookup.failures.iter().map(|failure| {
            Failed {
                host: lookup.name.clone(),
                from: failure.time,
                until: Timestamp(
                    failure
                        .time
                        .0
                        .saturating_add(failure.waited_us.saturating_mul(1_000)),
                ),
                result: format!("DNS {}", failure.result),
                capture: Arc::clone(&failure.capture),
                frame: failure.frame,
            }
        }));
    }
    for (_, trace) in past.all_like(|sort| sort.failed_to_connect() && sort.flags.whole()) {
        let Some(host) = past.dns_name(&trace).filter(|name| serves_look_ups(name)) else {
            continue;
        };
        found.entry(*trace.client).or_default().push(Failed {
            host: host.into(),
            from: trace.own.start,
            until: trace.own.end,
            result: format!("{}: {}", trace.server, trace.outcome.as_str()),
            capture: past.capture(&trace),
            frame: trace.own.frame,
        });
    }
    for fetch in report.aside.fetches.iter() {
        let answer = fetch
            .status
            .map_or_else(|| "-".to_owned(), |status| status.to_string());
        found.entry(fetch.place.client).or_default().push(Failed {
            host: (*fetch.host).into(),
            from: fetch.place.start,
            until: fetch.until,
            result: format!("HTTP {answer}"),
            capture: Arc::clone(&fetch.place.capture),
            frame: fetch.place.frame,
        });
    }
    found
}

fn tell(report: &mut Report<'_>, gap: &Gap, worst: &Failed, within: &[&Failed]) {
    const SHOWN: usize = 2;
    let place = &gap.place;
    let begun = within.iter().map(|one| one.from.0).min().unwrap_or(0);
    let ended = within.iter().map(|one| one.until.0).max().unwrap_or(0);
    let lasted_us = (ended.min(gap.until.0) - begun) / 1_000;
    let confidence = match lasted_us.saturating_mul(2) >= gap.took_us {
        true => Confidence::Likely,
        false => Confidence::Possible,
    };
    let lang = report.past.lang;
    let ms = gap.took_us / 1_000;
    let waited = say(lang, "client-gap").with("client", ms);
    let mut evidence = vec![Evidence {
        capture: Arc::clone(&place.capture),
        frame: place.frame,
        fact: waited.text().into(),
    }];
    evidence.extend(within.iter().take(SHOWN).map(|one| {
        let fact = say(lang, "look-up-failed")
            .with("host", &one.host)
            .with("result", &one.result)
            .with("after", (one.from.0 - place.start.0) / 1_000_000);
        Evidence {
            capture: Arc::clone(&one.capture),
            frame: one.frame,
            fact: fact.text().into(),
        }
    }));
    let verdict = Verdict::new(gap.severity, confidence, "revocation-or-ctl-fetch");
    let subject = Subject::Client(place.client, worst.host.clone());
    if let Some(group) = report.open(ID, verdict, subject) {
        group.count(1, place.start, place.start);
        group.example(verdict.severity, place.start, evidence);
        group.note("clients", &place.client.to_string());
        group.note("server", &place.server.to_string());
        group.note("result", &worst.result);
        group.set("host", &worst.host);
        // Steps that help for one kind of look-up only.
        let first = worst.host.split('.').next().unwrap_or_default();
        if first == "ctldl" {
            group.set("ctl", &worst.host);
        } else if first.contains("ocsp") {
            group.set("responder", &worst.host);
        }
        // It is told here: the client does not think for no reason.
        let told = (ID, CLIENT_THINKS, Subject::Server(place.server));
        report.groups.lessen(&told, 1);
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{Make, START_S, diagnose, diagnose_dns, find};
    use crate::record::{
        Confidence, Dns, Finding, Http, HttpRequest, HttpResponse, Lookup, LookupFailure, Outcome,
        Severity, Timestamp, Transport,
    };

    const ID: &str = "slow-handshake";
    const CRL: &str = "crl3.digicert.com";

    /// A handshake at 0 s whose client takes the time: hello after 10 ms, answer 10 ms later, the rest after `ms`.
    fn slow(ms: i64) -> Make {
        Make::new()
            .answer(0x0303, 0xc02f)
            .tcp(|tcp| {
                tcp.rtt_server_us = Some(1_000);
                tcp.rtt_client_us = Some(1_000);
            })
            .observed(|seen| {
                seen.client_hello_us = Some(10_000);
                seen.client_reply_us = Some(ms * 1_000 + 1_000);
            })
            .with(|record| {
                record.timing.client_hello_to_server_hello_us = Some(10_000);
                record.timing.handshake_us = Some(ms * 1_000 + 20_000);
            })
    }

    fn failing(client: &str, name: &str, at_ms: i64, waited_ms: i64) -> Dns {
        let time = Timestamp(START_S * 1_000_000_000 + at_ms * 1_000_000);
        let value = serde_json::json!({
            "client": client, "name": name, "kind": "A", "capture": "test.pcap", "frame": 30, "queries": 1, "answers": 0,
            "first_seen": time, "last_seen": time, "failed": 1,
        });
        let mut lookup: Lookup = serde_json::from_value(value).unwrap();
        lookup.failures.push(LookupFailure {
            capture: "test.pcap".into(),
            frame: 30,
            time,
            server: "10.0.0.53".parse().unwrap(),
            transport: Transport::Udp,
            result: LookupFailure::NO_ANSWER.into(),
            tries: 4,
            waited_us: waited_ms * 1_000,
            recovered_us: None,
        });
        Dns {
            queries: 3,
            answers: 2,
            lookups: vec![lookup],
            ..Dns::default()
        }
    }

    fn told(found: &[Finding]) -> Option<&Finding> {
        find(found, ID).filter(|one| one.subject.contains(CRL))
    }

    #[test]
    fn a_list_whose_host_is_not_found() {
        let found = diagnose_dns(&[slow(5_000)], &failing("10.0.0.1", CRL, 200, 4_000));
        let finding = told(&found).unwrap();
        assert_eq!(&*finding.subject, "10.0.0.1 → crl3.digicert.com");
        assert_eq!(
            (finding.severity, finding.confidence),
            (Severity::Warning, Confidence::Likely)
        );
        assert!(
            finding.evidence.iter().any(|one| one.frame == 30),
            "{:?}",
            finding.evidence
        );
        // Steps for trust lists and for OCSP are for those.
        let steps = finding.remediation.join("\n");
        assert!(!steps.contains("DisableRootAutoUpdate") && !steps.contains("Stapling"));
        let ctl = failing("10.0.0.1", "ctldl.windowsupdate.com", 200, 4_000);
        let ctl = diagnose_dns(&[slow(5_000)], &ctl);
        let steps = find(&ctl, ID).unwrap().remediation.join("\n");
        assert!(steps.contains("DisableRootAutoUpdate") && !steps.contains("Stapling"));
        // Once is enough: the client does not also think for no reason.
        assert_eq!(found.iter().filter(|one| one.id == ID).count(), 1);
        // Two slow handshakes, of which one has the reason.
        let both = diagnose_dns(
            &[slow(5_000), slow(4_000).at(60)],
            &failing("10.0.0.1", CRL, 200, 4_000),
        );
        let counts: Vec<u64> = both
            .iter()
            .filter(|one| one.id == ID)
            .map(|one| one.count)
            .collect();
        assert_eq!(counts, [1, 1]);
        // A failure that takes little of the time is a hint only.
        let short = diagnose_dns(&[slow(5_000)], &failing("10.0.0.1", CRL, 200, 10));
        assert_eq!(told(&short).unwrap().confidence, Confidence::Possible);
    }

    #[test]
    fn what_fails_elsewhere_is_no_reason() {
        let silent = |made: Make, dns: &Dns| assert!(told(&diagnose_dns(&[made], dns)).is_none());
        // Another host asked, or the look-up failed before the certificate came or after the handshake.
        silent(slow(5_000), &failing("10.0.0.2", CRL, 200, 4_000));
        silent(slow(5_000), &failing("10.0.0.1", CRL, 5, 4_000));
        silent(slow(5_000), &failing("10.0.0.1", CRL, 6_000, 4_000));
        // The name is of another kind; the handshake is not slow, or it is the server that thinks.
        let other = diagnose_dns(
            &[slow(5_000)],
            &failing("10.0.0.1", "www.contoso.com", 200, 4_000),
        );
        assert!(
            find(&other, ID)
                .unwrap()
                .title
                .contains("take long to answer")
        );
        silent(slow(500), &failing("10.0.0.1", CRL, 200, 4_000));
        let server = slow(5_000).with(|record| {
            record.timing.client_hello_to_server_hello_us = Some(4_900_000);
        });
        silent(server, &failing("10.0.0.1", CRL, 200, 4_000));
        // DNS in one direction only.
        let mut blind = failing("10.0.0.1", CRL, 200, 4_000);
        blind.answers = 0;
        silent(slow(5_000), &blind);
    }

    fn fetch(status: Option<u16>) -> Make {
        Make::new()
            .server("10.9.9.9:80")
            .at_ms(300)
            .lasts_ms(4_000)
            .outcome(Outcome::NoClientHello)
            .with(|record| {
                record.client_hello = None;
                record.http = Some(Box::new(Http {
                    requests: vec![HttpRequest {
                        frame: 40,
                        method: "GET".into(),
                        path: "/root.crl".into(),
                        host: Some(CRL.into()),
                        ..HttpRequest::default()
                    }],
                    responses: status
                        .map(|status| HttpResponse {
                            frame: 41,
                            status,
                            ..HttpResponse::default()
                        })
                        .into_iter()
                        .collect(),
                    ..Http::default()
                }));
            })
    }

    #[test]
    fn a_list_that_http_does_not_give() {
        for status in [Some(503), Some(407), None] {
            let found = diagnose(&[slow(5_000), fetch(status)]);
            assert!(told(&found).is_some(), "{status:?}");
        }
        for status in [Some(200), Some(304)] {
            let found = diagnose(&[slow(5_000), fetch(status)]);
            assert!(told(&found).is_none(), "{status:?}");
        }
        let short = diagnose(&[slow(5_000), fetch(None).lasts_ms(200)]);
        assert!(told(&short).is_none());
    }

    #[test]
    fn a_list_whose_host_does_not_take_connections() {
        let syn = Make::new()
            .server("10.9.9.9:80")
            .at_ms(300)
            .lasts_ms(4_000)
            .outcome(Outcome::NoSynAck)
            .with(|record| record.client_hello = None);
        let mut dns = failing("10.0.0.1", CRL, 100, 0);
        let lookup = &mut dns.lookups[0];
        lookup.failures.clear();
        lookup.failed = 0;
        lookup.addresses = vec!["10.9.9.9".parse().unwrap()];
        let found = diagnose_dns(&[slow(5_000), syn.clone()], &dns);
        assert_eq!(told(&found).unwrap().confidence, Confidence::Likely);
        dns.lookups[0].name = "www.contoso.com".into();
        assert!(told(&diagnose_dns(&[slow(5_000), syn], &dns)).is_none());
    }
}
