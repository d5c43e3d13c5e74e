use super::*;
use crate::{
    findings::Lang,
    record::{Code16, Severity},
    report::sample,
};
use std::net::IpAddr;
use unicode_width::UnicodeWidthStr;

fn page(records: &[Handshake], findings: &[Finding], summary: &Summary, view: View) -> String {
    let mut out = Vec::new();
    let mut report = new(view);
    for record in records {
        report.record(record, b"", &mut out).unwrap();
    }
    report.finish(findings, summary, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn assert_fits(text: &str, width: usize) {
    for line in text.lines() {
        assert!(
            line.width() <= width,
            "{} columns: {line}\n\n{text}",
            line.width()
        );
        assert_eq!(line, line.trim_end(), "blanks at the end");
    }
}

/// Records with everything that makes lines long: IPv6, long names, many values.
fn crowd() -> Vec<Handshake> {
    (0..200_u16)
        .map(|number| {
            let mut record = if number % 3 == 0 {
                sample::refused()
            } else {
                sample::established()
            };
            record.capture = format!("a-rather-long-folder/node-{}.pcapng", number % 9).into();
            record.client.ip = IpAddr::from([0x2001, 0xdb8, 1, 2, 3, 4, 5, 0xff00 | (number % 50)]);
            record.server.ip = IpAddr::from([
                0x2001,
                0xdb8,
                0xaaaa,
                0xbbbb,
                0xcccc,
                0xdddd,
                0xeeee,
                number % 60,
            ]);
            let name = format!(
                "autodiscover-{}.branch-office.contoso-europe.example",
                number % 70
            );
            record.client_hello.as_mut().unwrap().sni = Some(name.into());
            if let Some(hello) = record.server_hello.as_mut() {
                let mut shape = (*hello.shape).clone();
                shape.version = Code16(0x0301 + number % 4);
                shape.cipher_suite =
                    Code16([0xcca8, 0xc02f, 0x1301, 0xc014, 0x000a][usize::from(number % 5)]);
                hello.shape = shape.into();
            }
            record
        })
        .collect()
}

#[test]
fn a_page_reads_from_the_worst_to_the_details() {
    let (records, findings, summary) = sample::run();
    let text = page(&records, &findings, &summary, View::default());
    assert_fits(&text, 80);
    let order = [
        "owa.pcapng: 12,345 packets, 2026-11-20 10:00:00 to 10:05:12 UTC\n",
        "40 connections, 2 handshakes: 1 established, 1 failed\n",
        "Negotiated: 1 with TLS 1.2\n",
        "\nFINDINGS: 1 error\n",
        "ERROR  HTTP/2 negotiated with a prohibited cipher suite  [h2-blocklisted-cipher]",
        "  mail.contoso.com on 192.0.2.10:443\n",
        "  1,234 cases, 2026-11-20 10:00:00 to 10:05:12 UTC\n",
        "    owa.pcapng:17  server took",
        "    and 2 more\n",
        "  Affected:\n    - Chrome",
        "  What to do:\n    1. Delete the value",
        "    2. Capture again: the finding is gone.\n",
        "  More: tlscope explain h2-blocklisted-cipher\n",
        "\nFAILED HANDSHAKES\n",
        "owa.pcapng:19",
        "\nSERVERS\n",
        "192.0.2.10:443",
        "\nCLIENTS\n",
        "\nNAMES\n",
        "\nLEFT OUT\n",
        " 1  connections without TLS",
        "12  packets other than IPv4 and IPv6",
    ];
    let mut from = 0;
    for part in order {
        let at = text[from..].find(part);
        assert!(
            at.is_some(),
            "{part:?} is missing or out of order in\n{text}"
        );
        from += at.unwrap() + part.len();
    }
    assert!(!text.contains('\u{1b}'), "a pipe gets no colours");
}

#[test]
fn any_page_fits_its_width() {
    let records = crowd();
    let findings = [
        sample::finding(Severity::Error),
        sample::finding(Severity::Info),
    ];
    let mut summary = sample::summary();
    summary.captures[0].name = "x".repeat(200);
    for width in [60, 80, 132] {
        for all_rows in [false, true] {
            let view = View {
                width,
                all_rows,
                ..View::default()
            };
            // What is to be copied stays on one line, however long.
            let text = page(&records, &findings, &summary, view);
            let text = text.replace(findings[0].remediation[0].as_ref(), "");
            assert_fits(&text.replace("1. \n", "1.\n"), width);
        }
    }
}

#[test]
fn one_cause_is_told_once() {
    let (records, findings, summary) = sample::run();
    let mut many = findings.clone();
    for number in 0..14 {
        let mut other = findings[0].clone();
        other.subject = format!("192.0.2.{number}:443").into();
        other.count = 2;
        many.push(other);
    }
    // Another remedy is another cause.
    let mut different = findings[0].clone();
    different.remediation.pop();
    many.push(different);
    let text = page(&records, &many, &summary, View::default());
    assert_fits(&text, 80);
    assert_eq!(text.matches("What to do:").count(), 2, "{text}");
    assert!(
        text.contains("  The same, 14 more:\n    - 192.0.2.0:443 (2 cases, owa.pcapng:17)\n"),
        "{text}"
    );
    assert!(text.contains("    and 4 more"), "{text}");
}

#[test]
fn commands_are_shown_whole() {
    let command = r#"reg add "HKLM\SOFTWARE\Microsoft\.NETFramework\v4.0.30319" /v SchUseStrongCrypto /t REG_DWORD /d 1 /f"#;
    let ciphers = ["ECDHE-RSA-AES128-GCM-SHA256"; 5].join(":");
    let mut finding = sample::finding(Severity::Error);
    finding.remediation = vec![
        format!("Set this and restart:\n{command}").into(),
        "Look:\n  Get-TlsCipherSuite | Format-Table Name".into(),
        format!("nginx: ssl_ciphers {ciphers};").into(),
    ];
    let (records, _, summary) = sample::run();
    let findings = [finding];
    for width in [60, 80, 132] {
        let view = View {
            width,
            ..View::default()
        };
        let text = page(&records, &findings, &summary, view);
        assert!(text.contains(&format!("\n       {command}\n")), "{text}");
        assert!(
            text.contains("\n         Get-TlsCipherSuite | Format-Table Name\n"),
            "{text}"
        );
        assert!(text.contains(&ciphers), "{text}");
    }
}

#[test]
fn no_width_is_too_small_to_end() {
    let (records, findings, summary) = sample::run();
    for width in 0..20 {
        let view = View {
            width,
            ..View::default()
        };
        assert!(!page(&records, &findings, &summary, view).is_empty());
    }
}

#[test]
fn long_tables_are_cut_and_say_so() {
    let summary = sample::summary();
    let text = page(&crowd(), &[], &summary, View::default());
    assert!(
        text.contains("... and 40 more rows: -v shows them"),
        "{text}"
    );
    let all = View {
        all_rows: true,
        ..View::default()
    };
    assert!(!page(&crowd(), &[], &summary, all).contains("more rows"));
}

#[test]
fn colours_only_where_wanted_and_without_effect_on_the_words() {
    let (records, findings, summary) = sample::run();
    let plain = page(&records, &findings, &summary, View::default());
    let view = View {
        colour: true,
        ..View::default()
    };
    let colour = page(&records, &findings, &summary, view);
    assert!(
        colour.contains("\u{1b}[1m\u{1b}[31mERROR\u{1b}[0m"),
        "{colour}"
    );
    assert_eq!(anstream::adapter::strip_str(&colour).to_string(), plain);
}

#[test]
fn nothing_wrong_is_said_calmly() {
    let mut summary = sample::summary();
    summary.by_outcome.clear();
    summary.count_outcome(Outcome::Established);
    let text = page(&[sample::established()], &[], &summary, View::default());
    assert!(text.contains("Nothing is wrong with these handshakes"));
    assert!(!text.contains("FINDINGS") && !text.contains("FAILED"));

    summary.count_outcome(Outcome::HelloReset);
    let text = page(&[sample::refused()], &[], &summary, View::default());
    assert!(text.contains("No finding explains the failures"));

    let nothing = Summary {
        handshakes: 0,
        ..Summary::default()
    };
    assert!(page(&[], &[], &nothing, View::default()).contains("No TLS handshake was found."));
}

#[test]
fn quiet_leaves_nothing_but_findings() {
    let (records, findings, summary) = sample::run();
    let view = View {
        findings_only: true,
        ..View::default()
    };
    let text = page(&records, &findings, &summary, view);
    assert!(text.starts_with("ERROR  HTTP/2"), "{text}");
    assert!(!text.contains("SERVERS") && !text.contains("LEFT OUT"));
    assert_eq!(page(&records, &[], &summary, view), "");
}

#[test]
fn steps_that_stand_above_are_referred_to() {
    let mut first = sample::finding(Severity::Error);
    first.remediation = ["One.\ncommand 1", "Two.\ncommand 2", "Short."]
        .map(Into::into)
        .to_vec();
    let mut second = first.clone();
    second.id = "hello-reset".into();
    second.remediation.insert(0, "Other first.".into());
    let mut third = first.clone();
    third.id = "sni-missing".into();
    third.remediation = vec!["Short.".into(), "Two.\ncommand 2".into()];
    let (records, _, summary) = sample::run();
    let findings = [first, second, third];
    let text = page(&records, &findings, &summary, View::default());
    assert!(
        text.contains(
            "    1. Other first.\n    2.-4. as under [h2-blocklisted-cipher] above, steps 1 to 3\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("    1. Short.\n    2. as under [h2-blocklisted-cipher] above, step 2\n"),
        "{text}"
    );
    assert_eq!(text.matches("command 1").count(), 1);
}

#[test]
fn a_page_in_japanese_has_no_english_words_of_its_own() {
    let (mut records, mut findings, mut summary) = sample::run();
    records.extend(crowd());
    findings[0].title = "禁止された暗号スイートで HTTP/2 がネゴシエートされました".into();
    findings[0].remediation = vec![
        "値 Functions (キーではなく値) を削除するか、ポリシーを未構成にします。ポリシーが残っていると値は元に戻ります。その後、コンピューターを再起動してください。".into(),
    ];
    summary.captures[0].notes = vec!["lost".into()];
    for width in [60, 80, 132] {
        for all_rows in [false, true] {
            let view = View {
                width,
                all_rows,
                lang: Lang::Ja,
                ..View::default()
            };
            let text = page(&records, &findings, &summary, view);
            assert_fits(&text, width);
            for part in [
                "エラー  禁止された暗号",
                "所見: エラー 1 件",
                "\nサーバー\n",
                "\n省略したもの\n",
                "対処:",
                "補足: lost",
            ] {
                assert!(text.contains(part), "{part} is missing in\n{text}");
            }
            for word in [
                "FINDINGS",
                "SERVERS",
                "Affected",
                "What to do",
                "handshake,",
            ] {
                assert!(!text.contains(word), "{word} in\n{text}");
            }
            assert!(!text.contains("1. ...\n"), "{text}");
        }
    }
}

#[test]
fn notes_of_a_capture_stand_below_it() {
    let (records, findings, mut summary) = sample::run();
    summary.captures[0].notes = vec!["12 events were lost".into()];
    let text = page(&records, &findings, &summary, View::default());
    assert!(
        text.contains("10:05:12 UTC\nNote: 12 events were lost\n40 connections"),
        "{text}"
    );
}

#[test]
fn names_from_the_wire_can_not_act() {
    let evil = "\u{1b}[2Jevil\u{202e}moc.oso\n\u{9b}31m";
    let mut record = sample::refused();
    record.client_hello.as_mut().unwrap().sni = Some(evil.into());
    record.capture = format!("/tmp/{evil}.pcap").into();
    let mut finding = sample::finding(Severity::Warning);
    finding.subject = evil.into();
    finding.title = evil.into();
    finding.affects = vec![evil.into()];
    finding.remediation = vec![evil.into()];
    for evidence in &mut finding.evidence {
        evidence.fact = evil.into();
        evidence.capture = record.capture.clone();
    }
    let mut summary = sample::summary();
    summary.captures[0].name = record.capture.to_string();
    summary.captures[0].error = Some(evil.into());
    let text = page(&[record], &[finding], &summary, View::default());
    let acting = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.chars().any(acting), "{text:?}");
    assert!(text.contains("\\x1b[2Jevil\\u{202e}moc.oso"), "{text}");
}

#[test]
fn captures_of_one_name_are_told_apart_by_their_paths() {
    let named = |name: &str| CaptureSummary {
        name: name.into(),
        ..CaptureSummary::default()
    };
    let apart = Captures::new(&[named("a/x.pcap"), named("b/y.pcap")]);
    assert_eq!(apart.name("b/y.pcap"), "y.pcap");
    let alike = Captures::new(&[named("a/x.pcap"), named("b/x.pcap")]);
    assert_eq!(alike.name("b/x.pcap"), "b/x.pcap");
    let windows = Captures::new(&[named("C:\\traces\\x.pcap")]);
    assert_eq!(windows.name("C:\\traces\\x.pcap"), "x.pcap");
}
