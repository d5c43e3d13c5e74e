//! Records, findings and a summary made by hand, for the tests of the reports.

use crate::{
    record::{Evidence, Finding, Handshake, Outcome, Severity, Timestamp},
    stats::{CaptureSummary, Summary},
};
use serde_json::json;

/// A TLS 1.2 handshake of 10.0.0.5 with 192.0.2.10:443 for `mail.contoso.com`.
pub(super) fn established() -> Handshake {
    serde_json::from_value(json!({
        "capture": "captures/owa.pcapng",
        "start": "2026-11-20T10:00:00.000000000Z",
        "end": "2026-11-20T10:00:01.500000000Z",
        "transport": "tcp",
        "protocol": "tls",
        "client": { "ip": "10.0.0.5", "port": 50001 },
        "server": { "ip": "192.0.2.10", "port": 443 },
        "client_hello": {
            "frame": 4, "segments": 1, "length": 512, "sni": "mail.contoso.com", "session_id_length": 32,
            "legacy_version": "0x0303", "supported_versions": ["0x8a8a", "0x0304", "0x0303"],
            "cipher_suites": ["0x1301", "0xc014"], "compression": [0], "extensions": ["0x0000", "0x002b"],
            "alpn": ["h2", "http/1.1"],
            "ja3": "0".repeat(32), "ja3_string": "771,4865-49172,0-43,,", "ja4": "t13d0202h2_000000000000_000000000000",
        },
        "server_hello": {
            "frame": 6, "resumed": false, "version": "0x0303", "version_name": "TLS 1.2", "legacy_version": "0x0303",
            "cipher_suite": "0xc014", "cipher_suite_name": "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "alpn": "h2",
            "compression": 0, "extensions": ["0x0010"], "ja3s": "0".repeat(32), "ja3s_string": "771,49172,16",
        },
        "outcome": "established",
        "timing": { "handshake_us": 2500 },
        "findings": ["h2-blocklisted-cipher"],
    }))
    .unwrap()
}

/// A handshake that the server refused.
pub(super) fn refused() -> Handshake {
    let mut record = established();
    record.client.port += 1;
    record.server_hello = None;
    record.outcome = Outcome::ServerAlert;
    record.alerts = serde_json::from_value(json!([
        { "frame": 19, "from": "server", "level": 2, "code": 40, "description": "handshake_failure" }
    ]))
    .unwrap();
    record.findings.clear();
    record
}

/// A finding with more evidence than a page shows.
pub(super) fn finding(severity: Severity) -> Finding {
    let evidence = |frame| {
        Evidence {
        capture: "captures/owa.pcapng".into(),
        frame,
        fact: "server took TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA (0xc014) although the client offered a permitted suite"
            .into(),
    }
    };
    Finding {
        severity,
        title: "HTTP/2 negotiated with a prohibited cipher suite".into(),
        subject: "mail.contoso.com on 192.0.2.10:443".into(),
        evidence: (0..5).map(|index| evidence(17 + index)).collect(),
        ..serde_json::from_value(json!({
            "id": "h2-blocklisted-cipher", "severity": "error", "scope": "handshake", "confidence": "certain",
            "title": "", "subject": "", "evidence": [], "count": 1234,
            "first_seen": "2026-11-20T10:00:00.000000000Z", "last_seen": "2026-11-20T10:05:12.000000000Z",
            "affects": ["Chrome and Edge: ERR_HTTP2_INADEQUATE_TRANSPORT_SECURITY", "Firefox: NS_ERROR_NET_INADEQUATE_SECURITY"],
            "remediation": [
                "Delete the value Functions in HKLM\\SOFTWARE\\Policies\\Microsoft\\Cryptography\\Configuration\\SSL\\00010002 and restart the server.",
                "Capture again: the finding is gone.",
            ],
            "reference": "RFC 9113 section 9.2.2 and Appendix A",
        }))
        .unwrap()
    }
}

/// The summary that goes with [`run`].
pub(super) fn summary() -> Summary {
    let first = Timestamp(1_795_168_800_000_000_000);
    let mut summary = Summary {
        captures: vec![CaptureSummary {
            name: "captures/owa.pcapng".into(),
            format: "pcapng".into(),
            packets: 12_345,
            bytes: 4_567_890,
            first_packet: Some(first),
            last_packet: Some(Timestamp(first.0 + 312_000_000_000)),
            link_types: vec!["Ethernet".into()],
            ..CaptureSummary::default()
        }],
        packets: 12_345,
        bytes: 4_567_890,
        connections: 40,
        handshakes: 2,
        elapsed_us: 1_500,
        version: "0.1.0".into(),
        ..Summary::default()
    };
    summary.count_outcome(Outcome::Established);
    summary.count_outcome(Outcome::ServerAlert);
    summary.by_version.insert("TLS 1.2".into(), 1);
    summary.by_finding.insert("h2-blocklisted-cipher".into(), 1);
    summary.skipped.insert("packets_not_ip".into(), 12);
    summary.skipped.insert("connections_without_tls".into(), 1);
    summary
}

/// A small run.
pub(super) fn run() -> (Vec<Handshake>, Vec<Finding>, Summary) {
    (
        vec![established(), refused()],
        vec![finding(Severity::Error)],
        summary(),
    )
}
