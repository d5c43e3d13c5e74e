//! The bundled captures: each gives its golden NDJSON, line by line, and each tells the story that
//! `captures/README.md` tells of it. `UPDATE_GOLDENS=1 cargo test --test captures` writes the goldens anew;
//! look at what changed before you commit it.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use support::{
    file_name, golden,
    run::{self, Run},
};
use tlscope::{
    pipeline::{Input, Options},
    record::{Close, Handshake, Outcome, Side},
    tls::keylog::Secrets,
};

/// Captures of what is not read yet; they get their goldens with it.
const WITHOUT_GOLDEN: &[&str] = &[];

/// Runs over a bundled capture; named as from the repository's root, where tests run.
fn run(name: &str) -> Run {
    let path = PathBuf::from(format!("captures/{name}"));
    let mut run = run::inputs_with(&[Input::File(path)], &run::options());
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    // The report is in the order in which handshakes end, the stories in that in which they begin.
    run.records.sort_by_key(|record| record.start);
    run
}

#[test]
fn every_capture_gives_its_golden() {
    let update = golden::is_update();
    let mut wrong = Vec::new();
    for capture in support::captures() {
        let name = file_name(&capture);
        let golden = Path::new("captures").join(format!("{name}.ndjson"));
        if WITHOUT_GOLDEN.contains(&name) {
            assert!(!golden.exists(), "{name} has a golden after all");
            continue;
        }
        let ours = run(name).ndjson;
        if update {
            fs::write(&golden, ours).unwrap();
            continue;
        }
        let Ok(theirs) = fs::read_to_string(&golden) else {
            wrong.push(format!("{name}: no golden"));
            continue;
        };
        differences(name, &theirs, &ours, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "{} differences (UPDATE_GOLDENS=1 takes them over):\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The field cases: their reports for people are goldens, too, in both languages.
const FIELD_CASES: &[&str] = &[
    "owa-http2-blocklisted.pcapng",
    "s1-exchange-behind-a-balancer.pcapng",
    "s2-office365-old-clients.pcapng",
    "s3-hybrid-sign-in.pcapng",
    "s4-server-that-boots.pcapng",
    "s4-ipv6-first.pcapng",
    "s4-explicit-proxy.pcapng",
];

#[test]
fn every_field_case_gives_its_report_in_both_languages() {
    for name in FIELD_CASES {
        for lang in ["en", "ja"] {
            let ours = golden::report(Path::new("."), &format!("captures/{name}"), lang);
            golden::assert_report(Path::new(&format!("captures/{name}.{lang}.txt")), &ours);
        }
    }
}

/// The findings of a capture: id, severity, subject.
fn found(name: &str) -> Vec<(String, String, String)> {
    let findings = run(name).findings;
    findings
        .iter()
        .map(|one| {
            let severity = format!("{:?}", one.severity).to_lowercase();
            (one.id.to_string(), severity, one.subject.to_string())
        })
        .collect()
}

#[track_caller]
fn has(found: &[(String, String, String)], id: &str, severity: &str, subject: &str) {
    let wanted = (id.to_owned(), severity.to_owned(), subject.to_owned());
    assert!(found.contains(&wanted), "{wanted:?} is not in {found:#?}");
}

#[test]
fn s1_exchange_behind_a_balancer() {
    let found = found("s1-exchange-behind-a-balancer.pcapng");
    let name = "mail.contoso.com";
    has(
        &found,
        "ntlm-weak-or-unbound",
        "error",
        &format!("10.0.1.20 → {name}"),
    );
    has(&found, "farm-tls-inconsistent", "warning", name);
    has(
        &found,
        "cleartext-backend-leg",
        "warning",
        &format!("10.0.1.20 → 10.0.1.5:80 ({name})"),
    );
    has(
        &found,
        "bridge-cert-mismatch",
        "warning",
        &format!("{name} at 10.0.1.20"),
    );
    // Declared names make errors of it.
    let run = run::inputs_with(
        &[Input::File(
            "captures/s1-exchange-behind-a-balancer.pcapng".into(),
        )],
        &tlscope::pipeline::Options {
            settings: tlscope::findings::Settings {
                extended_protection: vec![name.into()],
                ..tlscope::findings::Settings::default()
            },
            ..run::options()
        },
    );
    for id in ["cleartext-backend-leg", "bridge-cert-mismatch"] {
        let finding = run.findings.iter().find(|one| one.id == id).unwrap();
        assert_eq!(finding.severity, tlscope::record::Severity::Error, "{id}");
    }
}

#[test]
fn s2_office365_old_clients() {
    let found = found("s2-office365-old-clients.pcapng");
    let old = "client-max-version-o365";
    has(&found, old, "error", "192.0.2.10 → outlook.office365.com");
    has(
        &found,
        old,
        "error",
        "192.0.2.11 → login.microsoftonline.com",
    );
    has(&found, old, "error", "192.0.2.11 → outlook.office365.com");
    has(
        &found,
        "o365-no-common-cipher",
        "error",
        "192.0.2.13 → outlook.office365.com",
    );
    // The client with TLS 1.3 is well, and the alert is told once.
    assert!(
        !found.iter().any(|one| one.2.contains("192.0.2.12")),
        "{found:#?}"
    );
    assert!(!found.iter().any(|one| one.0 == "protocol-version-rejected"));
}

#[test]
fn s3_hybrid_sign_in() {
    let found = found("s3-hybrid-sign-in.pcapng");
    let name = "autodiscover.contoso.com";
    has(
        &found,
        "proxy-name-rewrite",
        "error",
        &format!("{name} → mail.contoso.com at 10.0.1.20"),
    );
    has(
        &found,
        "hma-bearer-diagnostics",
        "error",
        &format!("10.0.1.20 → {name}"),
    );
    has(
        &found,
        "cert-rejected-by-client",
        "error",
        &format!("10.0.1.10 → {name}"),
    );
    has(
        &found,
        "tls-interception-suspected",
        "warning",
        "login.microsoftonline.com",
    );
    // Both legs show one certificate; a call to somewhere else is no back leg.
    assert!(
        !found.iter().any(|one| one.0 == "bridge-cert-mismatch"),
        "{found:#?}"
    );
}

#[test]
fn s4_server_that_boots() {
    let found = found("s4-server-that-boots.pcapng");
    let ids: Vec<&str> = found.iter().map(|one| one.0.as_str()).collect();
    has(
        &found,
        "client-stuck-on-fallback",
        "error",
        "192.0.2.10 → 198.51.100.25:443",
    );
    // One cause each: neither resets nor refused connections are told again.
    assert_eq!(
        ids,
        ["client-stuck-on-fallback", "backend-unready-series"],
        "{found:#?}"
    );
}

#[test]
fn s4_ipv6_first_and_the_explicit_proxy() {
    let delay = found("s4-ipv6-first.pcapng");
    has(
        &delay,
        "ipv6-fallback-delay",
        "warning",
        "192.0.2.10 → www.contoso.com",
    );
    let proxy = found("s4-explicit-proxy.pcapng");
    assert_eq!(proxy.len(), 2, "{proxy:#?}");
    let pair = "192.0.2.10 → 198.51.100.80:3128";
    has(&proxy, "explicit-proxy-connect", "warning", pair);
}

#[test]
fn every_golden_has_its_capture() {
    for entry in fs::read_dir("captures").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "ndjson") {
            assert!(path.with_extension("").exists(), "{}", path.display());
        }
    }
}

fn differences(name: &str, theirs: &str, ours: &str, wrong: &mut Vec<String>) {
    let (theirs, ours): (Vec<&str>, Vec<&str>) = (theirs.lines().collect(), ours.lines().collect());
    if theirs.len() != ours.len() {
        wrong.push(format!(
            "{name}: {} lines, golden has {}",
            ours.len(),
            theirs.len()
        ));
    }
    for (line, (golden, now)) in (1..).zip(theirs.iter().zip(&ours)) {
        if golden == now {
            continue;
        }
        let place = format!("{name}:{line}");
        let golden = serde_json::from_str(golden).unwrap();
        let now = serde_json::from_str(now).unwrap();
        let before = wrong.len();
        support::compare(&place, &golden, &now, wrong);
        if wrong.len() == before {
            wrong.push(format!("{place}: the keys' order or the spelling differs"));
        }
    }
}

// ---- The stories -------------------------------------------------------------------------------

fn outcomes(run: &Run) -> Vec<&str> {
    run.records
        .iter()
        .map(|record| record.outcome.as_str())
        .collect()
}

fn version(record: &Handshake) -> u16 {
    record
        .server_hello
        .as_ref()
        .map_or(0, |hello| hello.shape.version.0)
}

fn suite(record: &Handshake) -> u16 {
    record
        .server_hello
        .as_ref()
        .map_or(0, |hello| hello.shape.cipher_suite.0)
}

fn alpn(record: &Handshake) -> &str {
    let hello = record.server_hello.as_ref();
    hello
        .and_then(|hello| hello.shape.alpn.as_deref())
        .unwrap_or("")
}

fn sni(record: &Handshake) -> &str {
    let hello = record.client_hello.as_ref();
    hello.and_then(|hello| hello.sni.as_deref()).unwrap_or("")
}

fn resumed(record: &Handshake) -> bool {
    record
        .server_hello
        .as_ref()
        .is_some_and(|hello| hello.resumed)
}

/// Alerts in clear: who, level, code.
fn alerts(record: &Handshake) -> Vec<(Side, u8, u8)> {
    record
        .alerts
        .iter()
        .filter_map(|alert| Some((alert.from, alert.level?, alert.code?)))
        .collect()
}

/// Is any finding of this kind there, in the report or at a handshake?
fn has_finding(run: &Run, id: &str) -> bool {
    run.findings.iter().any(|finding| finding.id == id)
        || run
            .records
            .iter()
            .any(|record| record.findings.iter().any(|found| found == id))
}

fn at_server<'a>(run: &'a Run, ip: &'a str) -> impl Iterator<Item = &'a Handshake> {
    let ip: std::net::IpAddr = ip.parse().unwrap();
    run.records
        .iter()
        .filter(move |record| record.server.ip == ip)
}

/// Nothing worse than information.
#[track_caller]
fn healthy(run: &Run) {
    for finding in &run.findings {
        assert_eq!(
            finding.severity,
            tlscope::record::Severity::Info,
            "{}: {}",
            finding.id,
            finding.title
        );
    }
}

#[track_caller]
fn all_complete(run: &Run, count: usize) {
    assert_eq!(run.records.len(), count, "{}", run.ndjson);
    for record in &run.records {
        assert!(record.outcome.is_complete(), "{:?}", outcomes(run));
        assert!(record.defects.is_empty(), "{:?}", record.defects);
    }
}

#[test]
fn owa_http2_blocklisted() {
    let run = run("owa-http2-blocklisted.pcapng");
    assert_eq!(run.records.len(), 8, "{:?}", outcomes(&run));
    let at = |ip| at_server(&run, ip).collect::<Vec<_>>();

    let bad: Vec<_> = at("198.51.100.25")
        .into_iter()
        .filter(|record| alpn(record) == "h2")
        .collect();
    assert_eq!(bad.len(), 3);
    for record in &bad {
        assert_eq!((version(record), suite(record)), (0x0303, 0xc014));
        assert_eq!(sni(record), "mail.contoso.com");
        assert!(
            record
                .findings
                .iter()
                .any(|id| id == "h2-blocklisted-cipher")
        );
    }
    // curl goes on; the one at .11 closes right after the handshake.
    assert_eq!(
        bad.iter()
            .filter(|record| record.outcome == Outcome::Established)
            .count(),
        1,
        "{:?}",
        bad.iter().map(|record| record.outcome).collect::<Vec<_>>()
    );
    let finding = run
        .findings
        .iter()
        .find(|finding| finding.id == "h2-blocklisted-cipher")
        .unwrap();
    assert_eq!(finding.count, 3);
    assert!(
        finding.subject.contains("198.51.100.25"),
        "{}",
        finding.subject
    );
    assert!(!finding.evidence.is_empty());
    assert!(!finding.remediation.is_empty());

    let good = at("198.51.100.26");
    assert_eq!(good.len(), 2);
    for record in good {
        assert_eq!((suite(record), alpn(record)), (0xc030, "h2"));
        assert!(
            !record.findings.iter().any(|id| id.starts_with("h2-")),
            "{:?}",
            record.findings
        );
    }
    assert!(
        run.findings
            .iter()
            .filter(|finding| finding.id.starts_with("h2-"))
            .all(|finding| !finding.subject.contains("198.51.100.26"))
    );

    let old = at("203.0.113.15");
    assert_eq!(old.len(), 2);
    for record in old {
        assert_eq!(version(record), 0x0301);
        assert_eq!(record.client.ip.to_string(), "192.0.2.13");
        assert_eq!(sni(record), "outlook.office365.com");
        let hello = record.client_hello.as_ref().unwrap();
        assert_eq!(
            (hello.shape.legacy_version.0, &hello.shape.alpn),
            (0x0301, &None)
        );
        assert!(!record.findings.is_empty(), "TLS 1.0 raises nothing");
    }
    assert!(
        run.findings
            .iter()
            .any(|finding| !finding.id.starts_with("h2-")
                && format!("{} {}", finding.subject, finding.title).contains("192.0.2.13"))
    );
}

#[test]
fn h2_healthy() {
    let run = run("h2-healthy.pcapng");
    all_complete(&run, 2);
    let seen: Vec<_> = run
        .records
        .iter()
        .map(|record| (version(record), suite(record), alpn(record)))
        .collect();
    assert_eq!(seen, [(0x0303, 0xc030, "h2"), (0x0304, 0x1302, "")]);
    healthy(&run);
    assert!(
        !run.findings
            .iter()
            .any(|finding| finding.id.starts_with("h2-"))
    );
    assert!(
        run.records
            .iter()
            .all(|record| !record.findings.iter().any(|id| id.starts_with("h2-")))
    );
}

#[test]
fn versions() {
    for (name, number, number_of_suite, best_offer) in [
        ("tls10.pcap", 0x0301, 0xc014, 0x0301),
        ("tls11.pcap", 0x0302, 0xc014, 0x0302),
        ("tls12.pcap", 0x0303, 0xc030, 0x0303),
        ("tls13.pcap", 0x0304, 0x1302, 0x0304),
    ] {
        let run = run(name);
        all_complete(&run, 2);
        for record in &run.records {
            assert_eq!((version(record), suite(record)), (number, number_of_suite));
            assert_eq!(sni(record), "www.contoso.com");
            let hello = record.client_hello.as_ref().unwrap();
            let offered = hello
                .shape
                .supported_versions
                .as_ref()
                .map_or(hello.shape.legacy_version.0, |versions| {
                    versions.iter().map(|version| version.0).max().unwrap()
                });
            assert_eq!(offered, best_offer, "{name}");
            // A client that could do better, at a server that can, is worth a word, but no more.
            let worse = record
                .findings
                .iter()
                .any(|id| id != "client-version-limited");
            assert_eq!(worse, number < 0x0303, "{name}: {:?}", record.findings);
        }
        if number >= 0x0303 {
            healthy(&run);
        } else {
            assert!(!run.findings.is_empty(), "{name}");
        }
    }
}

#[test]
fn no_common_version() {
    let run = run("no-common-version.pcap");
    assert_eq!(outcomes(&run), ["server-alert"; 2]);
    for record in &run.records {
        assert_eq!(alerts(record), [(Side::Server, 2, 70)]);
        assert!(record.server_hello.is_none());
        assert_eq!(record.stopped_after.as_deref(), Some("client_hello"));
        assert!(!record.findings.is_empty(), "the mismatch is not told");
    }
    let tls13_only = run.records[1].client_hello.as_ref().unwrap();
    let offered = tls13_only.shape.supported_versions.as_ref().unwrap();
    assert!(offered.iter().all(|version| version.0 == 0x0304));
}

#[test]
fn no_common_suite() {
    let run = run("no-common-suite.pcap");
    assert_eq!(outcomes(&run), ["server-alert"; 2]);
    for record in &run.records {
        assert_eq!(alerts(record), [(Side::Server, 2, 40)]);
        assert!(record.server_hello.is_none());
    }
}

#[test]
fn sni_missing() {
    let run = run("sni-missing.pcap");
    assert_eq!(run.records.len(), 5);
    for record in &run.records {
        let served = !sni(record).is_empty();
        assert_eq!(record.outcome.is_complete(), served, "{:?}", outcomes(&run));
        if !served && record.server.ip.to_string() == "198.51.100.25" {
            assert_eq!(record.outcome, Outcome::ServerAlert);
            assert_eq!(alerts(record), [(Side::Server, 2, 112)]);
        } else if !served {
            assert_eq!(record.outcome, Outcome::HelloReset);
        }
    }
    let without: Vec<_> = run
        .findings
        .iter()
        .filter(|finding| finding.id.contains("sni"))
        .collect();
    assert!(!without.is_empty(), "{:?}", run.finding_counts());
    for ip in ["198.51.100.25", "198.51.100.80"] {
        assert!(
            run.findings
                .iter()
                .any(|finding| finding.id.contains("sni") && finding.subject.contains(ip)),
            "{ip}: {:?}",
            run.findings
                .iter()
                .map(|finding| (&finding.id, &finding.subject))
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn name_mismatch() {
    let run = run("name-mismatch.pcap");
    assert_eq!(run.records.len(), 3);
    for record in &run.records {
        assert_eq!(sni(record), "mail.contoso.com");
        assert_eq!(record.certificates.len(), 1);
        assert!(
            record.findings.iter().any(|id| id.contains("name")),
            "{:?}",
            record.findings
        );
    }
    // The first gets its page, the second asks for nothing.
    for (record, asks) in run.records.iter().zip([true, false]) {
        assert!(record.outcome.is_complete());
        let bytes = record.application_bytes.unwrap();
        assert_eq!(bytes.client > 0 && bytes.server > 0, asks);
    }
    assert_eq!(run.records[1].outcome, Outcome::EstablishedThenClosed);
    assert_eq!(run.records[2].outcome, Outcome::ClientAlert);
    assert_eq!(alerts(&run.records[2]), [(Side::Client, 2, 42)]);
}

#[test]
fn client_rejects_cert() {
    let run = run("client-rejects-cert.pcap");
    assert_eq!(
        outcomes(&run),
        ["client-alert", "client-alert", "client-abort"]
    );
    for record in &run.records[..2] {
        assert_eq!(alerts(record), [(Side::Client, 2, 48)]);
    }
    assert!(alerts(&run.records[2]).is_empty());
    assert!(!has_finding(&run, "h2-blocklisted-cipher"));
}

#[test]
fn hello_reset() {
    let run = run("hello-reset.pcap");
    assert_eq!(outcomes(&run), ["hello-reset"; 2]);
    for record in &run.records {
        assert!(record.server_hello.is_none() && record.alerts.is_empty());
        let tcp = record.tcp.as_ref().unwrap();
        assert_eq!((tcp.closed_by, tcp.close), (Some(Side::Server), Close::Rst));
        assert_eq!(record.stopped_after.as_deref(), Some("client_hello"));
    }
}

#[test]
fn hello_unanswered() {
    let run = run("hello-unanswered.pcap");
    assert!(!run.records.is_empty());
    for record in &run.records {
        assert_eq!(record.outcome, Outcome::HelloUnanswered);
        let tcp = record.tcp.as_ref().unwrap();
        assert_eq!((tcp.closed_by, tcp.close), (Some(Side::Client), Close::Fin));
        assert!(record.end.0 - record.start.0 > 5_000_000_000);
    }
}

#[test]
fn syn_unanswered() {
    let run = run("syn-unanswered.pcap");
    let record = run.only();
    assert_eq!(record.outcome, Outcome::NoSynAck);
    assert_eq!(record.server.ip.to_string(), "198.51.100.99");
    let tcp = record.tcp.as_ref().unwrap();
    assert_eq!(tcp.syn_retransmits, 6);
    assert_eq!((tcp.syn_frame, tcp.rtt_us), (Some(1), None));
}

#[test]
fn connection_refused() {
    let run = run("connection-refused.pcap");
    assert_eq!(outcomes(&run), ["connection-refused"; 2]);
    assert!(run.records[0].server.ip.is_ipv4() && run.records[1].server.ip.is_ipv6());
}

#[test]
fn resumption() {
    let run = run("resumption.pcap");
    all_complete(&run, 6);
    let seen: Vec<_> = run
        .records
        .iter()
        .map(|record| (version(record), resumed(record), record.certificates.len()))
        .collect();
    assert_eq!(
        seen,
        [
            (0x0303, false, 1),
            (0x0303, true, 0),
            (0x0303, false, 1),
            (0x0303, true, 0),
            (0x0304, false, 0),
            (0x0304, true, 0)
        ]
    );
    let hello = |index: usize| run.records[index].client_hello.as_ref().unwrap();
    assert!(hello(1).session_ticket_length > Some(0), "by ticket");
    assert!(hello(3).session_id_length > 0, "by session id");
    assert!(hello(5).shape.pre_shared_key, "by PSK");
    healthy(&run);
}

#[test]
fn hello_retry_request() {
    let run = run("hello-retry-request.pcap");
    all_complete(&run, 1);
    let record = run.only();
    assert_eq!(version(record), 0x0304);
    let retry = record.hello_retry_request.as_ref().unwrap();
    assert_eq!(retry.shape.key_share_group.unwrap().0, 0x0018);
    let shares = |hello: &Option<Box<tlscope::record::ClientHello>>| {
        let hello = hello.as_ref().unwrap();
        hello.shape.key_share_groups.clone().unwrap()[0].0
    };
    assert_eq!(shares(&record.client_hello), 0x001d);
    assert_eq!(shares(&record.second_client_hello), 0x0018);
    let frame = |hello: &Option<Box<tlscope::record::ClientHello>>| hello.as_ref().unwrap().frame;
    assert!(frame(&record.client_hello) < retry.frame);
    assert!(retry.frame < frame(&record.second_client_hello));
}

#[test]
fn mutual_tls() {
    let run = run("mutual-tls.pcap");
    all_complete(&run, 2);
    assert!(
        run.records
            .iter()
            .all(|record| record.certificate_requested)
    );
    let subject = &run.records[0].client_certificates[0];
    assert!(format!("{subject:?}").contains("user1.contoso.com"));
    assert!(run.records[1].client_certificates.is_empty());
}

#[test]
fn renegotiation() {
    // The second handshake is encrypted: nothing of it may be read as a hello.
    let run = run("renegotiation.pcap");
    all_complete(&run, 1);
    let record = run.only();
    assert!(!record.renegotiation && record.second_client_hello.is_none());
    assert_eq!(version(record), 0x0303);
}

#[test]
fn key_exchanges() {
    let dhe = run("dhe-1024.pcap");
    all_complete(&dhe, 1);
    let exchange = dhe.only().key_exchange.as_ref().unwrap();
    assert_eq!((&*exchange.kind, exchange.dh_bits), ("dhe", Some(1024)));

    let rsa = run("rsa-key-exchange.pcap");
    all_complete(&rsa, 1);
    assert_eq!(suite(rsa.only()), 0x002f);
    let exchange = rsa.only().key_exchange.as_ref().unwrap();
    assert_eq!((&*exchange.kind, exchange.group), ("rsa", None));

    let ecdsa = run("ecdsa.pcap");
    all_complete(&ecdsa, 2);
    assert_eq!(suite(&ecdsa.records[0]), 0xc02c);
    assert!(
        format!("{:?}", ecdsa.records[0].certificates[0])
            .to_lowercase()
            .contains("p256")
    );
    assert_eq!(version(&ecdsa.records[1]), 0x0304);
    healthy(&ecdsa);
}

#[test]
fn hello_two_segments() {
    let run = run("hello-two-segments.pcap");
    all_complete(&run, 3);
    let segments: Vec<_> = run
        .records
        .iter()
        .map(|record| record.client_hello.as_ref().unwrap().segments)
        .collect();
    assert_eq!(segments, [2, 1, 2]);
    let long = run.records[2].client_hello.as_ref().unwrap();
    assert!(long.length > 1500 && resumed(&run.records[2]));
}

#[test]
fn out_of_order() {
    let run = run("out-of-order.pcap");
    assert_eq!(run.records.len(), 2);
    for record in &run.records {
        assert!(record.outcome.is_complete(), "{:?}", outcomes(&run));
        assert_eq!(version(record), 0x0303);
        assert_eq!(record.certificates.len(), 1);
        assert!(record.client_hello.as_ref().unwrap().segments >= 2);
        let tcp = record.tcp.as_ref().unwrap();
        assert_eq!(tcp.gaps, 0, "nothing was lost");
        assert!(record.defects.is_empty(), "{:?}", record.defects);
    }
}

#[test]
fn ipv6_and_vlan() {
    let six = run("ipv6.pcap");
    all_complete(&six, 2);
    assert!(six.records.iter().all(|record| {
        record.client.ip.to_string() == "2001:db8:1::10"
            && record.server.ip.to_string() == "2001:db8:2::25"
    }));
    healthy(&six);

    let vlan = run("vlan.pcap");
    all_complete(&vlan, 1);
    assert_eq!(*vlan.only().encapsulation, ["vlan:110".into()]);
}

/// A capture with the secrets of a key log.
fn run_with_keys(name: &str, log: &str) -> Run {
    let secrets = Secrets::default();
    let log = fs::read(Path::new("captures").join(log)).unwrap();
    secrets.read(&log, 0, 1 << 10);
    let options = Options {
        secrets: Arc::new(secrets),
        ..run::options()
    };
    let mut run = run::files(&[Path::new("captures").join(name)], &options);
    run.records.sort_by_key(|record| record.start);
    run
}

/// A record without what secrets added to it.
fn seen_from_outside(record: &Handshake) -> Handshake {
    let mut record = record.clone();
    record.capture = "".into();
    record.decrypted = false;
    record.inside = None;
    record.http = None;
    record.stopped_after = None;
    record.findings.clear();
    if version(&record) == 0x0304 {
        record.certificates = tlscope::record::Chain::default();
        let hello = record.server_hello.as_mut().unwrap();
        Arc::make_mut(&mut hello.shape).alpn = None;
    }
    record
}

#[test]
fn with_keys() {
    let plain = run("with-keys.pcapng");
    let embedded = run("with-keys-embedded.pcapng");
    let with_log = run_with_keys("with-keys.pcapng", "with-keys.keys");
    for opened in [&embedded, &with_log] {
        all_complete(opened, 2);
        for (one, other) in plain.records.iter().zip(&opened.records) {
            assert!(!one.decrypted && other.decrypted);
            // Secrets change nothing of what is seen from outside.
            assert_eq!(seen_from_outside(one), seen_from_outside(other));
            assert_eq!(alpn(other), "h2");
            assert_eq!(&*other.certificates[0].san[0], "www.contoso.com");
            assert_eq!(other.stopped_after.as_deref(), Some("finished"));
            let h2 = other.http.as_ref().unwrap().h2.as_ref().unwrap();
            assert_eq!(h2.client_settings.as_ref().unwrap().len(), 3);
            assert_eq!(h2.server_settings.as_ref().unwrap().len(), 3);
        }
        let inside = opened.records[1].inside.as_ref().unwrap();
        let messages = inside
            .post_handshake
            .iter()
            .map(|message| &*message.message);
        assert!(messages.eq(["new_session_ticket"; 2]));
        assert_eq!(opened.summary.secrets.unwrap().decrypted, 2);
    }
    assert_eq!(embedded.skipped("blocks_unknown"), 0);
    assert!(plain.summary.secrets.is_none());
}

#[test]
fn keys_suites() {
    let run = run("keys-suites.pcapng");
    all_complete(&run, 21);
    let expected = [
        (
            0x0303,
            &[
                0xc02f, 0xc030, 0xcca8, 0xc09c, 0xc0a1, 0xc013, 0xc028, 0x003c,
            ][..],
        ),
        // Without encrypt-then-MAC and extended master secret.
        (0x0303, &[0xc014, 0xc027, 0xc028, 0xc030]),
        (0x0301, &[0xc013, 0xc014]),
        (0x0302, &[0xc013, 0xc014]),
        (0x0304, &[0x1301, 0x1302, 0x1303, 0x1304, 0x1305]),
    ];
    let expected = expected
        .iter()
        .flat_map(|(version, suites)| suites.iter().map(move |suite| (*version, *suite)));
    let seen = run
        .records
        .iter()
        .map(|record| (version(record), suite(record)));
    assert!(seen.eq(expected));
    let plain = |record: &Handshake| {
        let shape = &record.server_hello.as_ref().unwrap().shape;
        (
            shape.extended_master_secret,
            shape.extensions.iter().any(|code| code.0 == 22),
        )
    };
    assert_eq!(plain(&run.records[5]), (true, true));
    assert_eq!(plain(&run.records[8]), (false, false));
    for record in &run.records {
        assert!(record.decrypted, "{record:?}");
        assert_eq!(record.stopped_after.as_deref(), Some("finished"));
        // Each side ends with close_notify, which only keys show.
        let ends = [(Side::Server, 1, 0), (Side::Client, 1, 0)];
        assert_eq!(alerts(record), ends, "{record:?}");
        assert_eq!(
            record.certificates[0].subject.as_deref(),
            Some("CN=www.contoso.com")
        );
    }
    for key in ["handshakes_secrets_do_not_fit", "streams_decryption_lost"] {
        assert_eq!(run.skipped(key), 0);
    }
}

#[test]
fn keys_h2_goaway() {
    let run = run("keys-h2-goaway.pcapng");
    all_complete(&run, 4);
    let goaways: Vec<_> = run
        .records
        .iter()
        .map(|record| {
            assert_eq!(alpn(record), "h2");
            let h2 = record.http.as_ref().unwrap().h2.as_ref().unwrap();
            assert!(h2.client_settings.is_some() && h2.server_settings.is_some());
            h2.goaways.first().map(|goaway| (goaway.from, goaway.code))
        })
        .collect();
    let client = |code| Some((Side::Client, code));
    assert_eq!(goaways, [None, client(12), client(0), None]);
    let found = run
        .findings
        .iter()
        .find(|one| one.id == "h2-blocklisted-cipher")
        .unwrap();
    assert_eq!(found.count, 2);
    let cited = found
        .evidence
        .iter()
        .any(|one| one.fact.contains("INADEQUATE_SECURITY"));
    assert!(cited, "{:?}", found.evidence);
    // Nothing else of what was decrypted is told.
    for secret in ["GET", "index.html", "Hello from", "user-agent"] {
        assert!(!run.ndjson.contains(secret), "{secret}");
    }
}

#[test]
fn keys_quic() {
    let run = run("keys-quic.pcapng");
    let record = run.only();
    assert!(
        record.decrypted && record.outcome.is_complete(),
        "{record:?}"
    );
    assert_eq!(alpn(record), "h3");
    assert_eq!(
        record.certificates[0].subject.as_deref(),
        Some("CN=www.contoso.com")
    );
    assert_eq!(record.stopped_after.as_deref(), Some("finished"));
    assert!(record.inside.as_ref().unwrap().certificate_verify.is_some());
    assert_eq!(run.summary.secrets.unwrap().decrypted, 1);
}

#[test]
fn keys_tls13_inside() {
    let run = run("keys-tls13-inside.pcapng");
    assert_eq!(run.records.len(), 10, "{:?}", outcomes(&run));
    assert!(run.records.iter().all(|record| record.decrypted));
    let [
        rejected,
        other_name,
        first,
        early,
        mutual,
        none_sent,
        retried,
        updated,
        before,
        again,
    ] = &run.records[..]
    else {
        panic!("{:?}", outcomes(&run));
    };
    assert_eq!(rejected.outcome, Outcome::ClientAlert);
    assert_eq!(alerts(rejected), [(Side::Client, 2, 42)]);
    assert!(has_finding(&run, "cert-rejected-by-client"));
    assert!(!has_finding(&run, "tls13-abort-hidden"));
    assert_eq!(sni(other_name), "mail.contoso.com");
    assert!(has_finding(&run, "cert-name-mismatch"));

    assert!(first.outcome.is_complete() && early.outcome.is_complete());
    let inside = |record: &Handshake| record.inside.clone().unwrap();
    assert_eq!(inside(early).early_data_accepted, Some(true));
    assert!(resumed(early) && early.certificates.is_empty());

    assert!(mutual.certificate_requested && mutual.outcome.is_complete());
    assert_eq!(
        mutual.client_certificates[0].subject.as_deref(),
        Some("CN=user1.contoso.com")
    );
    assert!(inside(mutual).client_certificate_verify.is_some());
    assert_eq!(none_sent.outcome, Outcome::ServerAlert);
    assert_eq!(alerts(none_sent), [(Side::Server, 2, 116)]);
    let empty = none_sent
        .observed
        .as_ref()
        .unwrap()
        .client_certificate_empty;
    assert_eq!(empty, Some(true));
    assert!(has_finding(&run, "client-cert-problem"));

    assert!(retried.hello_retry_request.is_some() && !retried.certificates.is_empty());
    let messages: Vec<_> = inside(updated)
        .post_handshake
        .iter()
        .map(|message| (message.from, message.message.to_string()))
        .filter(|(_, message)| message == "key_update")
        .collect();
    let update = |side| (side, "key_update".to_owned());
    assert_eq!(
        messages,
        [Side::Client, Side::Client, Side::Server].map(update)
    );
    // Behind three changes of keys.
    assert_eq!(alerts(updated), [(Side::Client, 1, 0)]);

    // A renegotiation is a handshake of its own.
    assert!(!before.renegotiation && again.renegotiation);
    assert_eq!(sni(again), "outlook.office365.com");
    assert!(before.outcome.is_complete() && again.outcome.is_complete());
    assert!(before.defects.is_empty() && again.defects.is_empty());
}

#[test]
fn keys_of_another_session_open_nothing() {
    // The right random with another session's secret, and secrets of sessions that are not there.
    let log = fs::read_to_string("captures/with-keys.keys").unwrap();
    let turned: String = log
        .lines()
        .map(|line| {
            let (front, secret) = line.rsplit_once(' ').unwrap();
            let secret: String = secret.chars().rev().collect();
            format!("{front} {secret}\n")
        })
        .collect();
    let plain = run("with-keys.pcapng");
    let with = |log: &str| {
        let secrets = Secrets::default();
        secrets.read(log.as_bytes(), 0, 1 << 10);
        let options = Options {
            secrets: Arc::new(secrets),
            ..run::options()
        };
        run::files(&["captures/with-keys.pcapng".into()], &options)
    };
    let (unfit, missing) = (
        with(&turned),
        with(&log.replace("37", "73").replace("c2", "2c")),
    );
    for (one, other) in plain.records.iter().zip(&unfit.records) {
        assert_eq!(one, other);
    }
    assert_eq!(unfit.skipped("handshakes_secrets_do_not_fit"), 2);
    assert_eq!(missing.skipped("handshakes_without_secrets"), 2);
    assert_eq!(plain.records, missing.records);
    assert_eq!(unfit.summary.secrets.unwrap().decrypted, 0);
}

#[test]
fn starttls_smtp() {
    let run = run("starttls-smtp.pcap");
    let record = run.only();
    assert!(record.outcome.is_complete());
    assert_eq!(
        (record.starttls.as_deref(), sni(record)),
        (Some("smtp"), "mail.contoso.com")
    );
    let dialogue = record.dialogue.as_ref().unwrap();
    assert!(dialogue.offered && dialogue.requested && !dialogue.continued_in_clear);
    assert_eq!(dialogue.answer.as_deref(), Some("220"));
}

#[test]
fn http_connect() {
    let run = run("http-connect.pcap");
    all_complete(&run, 2);
    for record in &run.records {
        let proxy = record.proxy.as_ref().unwrap();
        assert_eq!(
            (&*proxy.kind, proxy.target.as_deref(), proxy.status),
            ("http-connect", Some("www.contoso.com:443"), Some(200))
        );
        assert_eq!(
            (record.starttls.as_deref(), sni(record)),
            (None, "www.contoso.com")
        );
        let http = record.http.as_ref().unwrap();
        assert_eq!(&*http.requests[0].method, "CONNECT");
    }
}

#[test]
fn quic() {
    let run = run("quic.pcapng");
    assert_eq!(outcomes(&run), ["established"]);
    let record = &run.records[0];
    let hello = record.client_hello.as_ref().unwrap();
    assert_eq!(hello.sni.as_deref(), Some("www.contoso.com"));
    assert!(hello.shape.ja4.starts_with("q13d"), "{}", hello.shape.ja4);
    let alpn: Vec<&str> = hello
        .shape
        .alpn
        .iter()
        .flatten()
        .map(|name| &**name)
        .collect();
    assert_eq!(alpn, ["h3"]);
    let quic = record.quic.as_ref().unwrap();
    assert_eq!(quic.version_name.as_deref(), Some("1"));
    assert_eq!((quic.retry, quic.close_code), (false, None));
    assert!(record.server_hello.is_some() && record.tcp.is_none());
}

#[test]
fn dtls() {
    let run = run("dtls12.pcap");
    let record = &run.records[0];
    assert!(record.outcome.is_complete());
    let observed = record.observed.as_ref().unwrap();
    let frames = (
        record.client_hello.as_ref().unwrap().frame,
        observed.hello_verify_request_frame,
        record.second_client_hello.as_ref().unwrap().frame,
    );
    assert_eq!(frames, (1, Some(2), 3));
    let server = record.server_hello.as_ref().unwrap();
    assert_eq!(server.shape.version_name.as_deref(), Some("DTLS 1.2"));
    assert_eq!(record.certificates.len(), 1);
    assert_eq!(record.key_exchange.as_ref().unwrap().kind, "ecdhe");
}
