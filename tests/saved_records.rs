//! Commands on top of the pipe: saved records give the findings of their captures, certificates come out as they went in,
//! the language and the configuration are obeyed.

#![allow(clippy::unwrap_used)] // a test that can't go on shall stop

mod support;

use assert_cmd::Command;
use std::{fs, path::Path};
use support::{Folder, captures};

fn tlscope() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlscope"));
    for name in ["LC_ALL", "LC_MESSAGES", "LANG"] {
        command.env_remove(name);
    }
    command
}

/// The lines of one kind.
fn lines<'t>(text: &'t str, kind: &str) -> Vec<&'t str> {
    let start = format!("{{\"type\":\"{kind}\"");
    text.lines()
        .filter(|line| line.starts_with(&start))
        .collect()
}

fn analyse_all() -> String {
    analyse(&["--all-connections"])
}

fn analyse(options: &[&str]) -> String {
    let output = tlscope()
        .args(["analyze", "--format", "ndjson"])
        .args(options)
        .args(captures())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn saved_records_give_the_findings_of_their_captures() {
    for options in [&["--all-connections"][..], &[]] {
        read_back(&analyse(options));
    }
}

fn read_back(saved: &str) {
    let folder = Folder::new("saved");
    // In two files, as if two machines had saved them.
    let all: Vec<&str> = saved.lines().collect();
    let (one, two) = all.split_at(all.len() / 2);
    let one = folder.file("one.ndjson", one.join("\n").as_bytes());
    let two = two.join("\n");
    let output = tlscope()
        .args(["diagnose", "--format", "ndjson"])
        .arg(one)
        .arg("-")
        .write_stdin(two)
        .output()
        .unwrap();
    let again = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.stderr, b"");
    assert!(lines(saved, "finding").len() > 10);
    assert_eq!(lines(&again, "finding"), lines(saved, "finding"));
    assert_eq!(lines(&again, "handshake"), lines(saved, "handshake"));
    let summary = |text: &str| {
        let mut summary: serde_json::Value =
            serde_json::from_str(lines(text, "summary")[0]).unwrap();
        summary["elapsed_us"] = 0.into();
        summary
    };
    assert_eq!(summary(&again), summary(saved));
}

#[test]
fn bad_lines_are_named_and_the_rest_is_read() {
    let saved = analyse_all();
    let folder = Folder::new("bad-lines");
    let records = lines(&saved, "handshake");
    let text = format!(
        "{}\nnonsense\n\n{{\"type\":\"weather\"}}\n{}\n{{\"type\":\"handshake\",\"cap",
        records[0], records[1]
    );
    let path = folder.file("bad.ndjson", text.as_bytes());
    let output = tlscope()
        .args(["diagnose", "--format", "ndjson"])
        .arg(path)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(
        err.contains("bad.ndjson: line 2 is no JSON object"),
        "{err}"
    );
    assert!(
        err.contains("line 4 is no record: unknown variant `weather`"),
        "{err}"
    );
    assert!(err.contains("line 6 is cut off"), "{err}");
    assert_eq!(lines(&out, "handshake").len(), 2);
}

#[test]
fn certificates_come_out_as_they_went_in() {
    let folder = Folder::new("certs");
    let pem = folder.0.join("pem");
    let output = tlscope()
        .args([
            "certs",
            "captures/tls12.pcap",
            "captures/tls13.pcap",
            "--pem",
        ])
        .arg(&pem)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\n  thumbprint  "), "{text}");
    let files: Vec<_> = fs::read_dir(&pem).unwrap().collect();
    assert!(!files.is_empty());
    for file in files {
        let path = file.unwrap().path();
        let (_, read) = x509_parser::pem::parse_x509_pem(&fs::read(&path).unwrap()).unwrap();
        let parsed = read.parse_x509().unwrap();
        let subject = parsed.subject().to_string();
        assert!(text.contains(&subject), "{subject} in {text}");
    }
}

#[test]
fn the_language_is_that_of_the_locale_or_the_one_asked_for() {
    let run = |arguments: &[&str], locale: &str| {
        let output = tlscope()
            .args(["captures/owa-http2-blocklisted.pcapng", "--color", "never"])
            .args(arguments)
            .env("LANG", locale)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (english, japanese) = ("FINDINGS:", "所見:");
    assert!(run(&[], "C.UTF-8").contains(english));
    assert!(run(&[], "ja_JP.UTF-8").contains(japanese));
    assert!(run(&["--lang", "en"], "ja_JP.UTF-8").contains(english));
    assert!(run(&["--lang", "ja"], "").contains(japanese));
}

#[test]
fn the_configuration_is_obeyed() {
    let folder = Folder::new("config");
    let leave_out = b"lang = \"ja\"\nleave-out = [\"h2-blocklisted-cipher\"]\n";
    let path = folder.file("tlscope.toml", leave_out);
    let run = |config: &Path| {
        tlscope()
            .args(["captures/owa-http2-blocklisted.pcapng", "--config"])
            .arg(config)
            .output()
            .unwrap()
    };
    let output = run(&path);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("[h2-blocklisted-cipher]"), "{text}");
    assert!(text.contains("サーバー"), "{text}");
    let wrong = folder.file("wrong.toml", b"[[farms]]\nnam = \"x\"\n");
    let output = run(&wrong);
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        err.contains("wrong.toml: line 2: there is no key nam: did you mean name?"),
        "{err}"
    );

    let printed = tlscope().args(["config", "--default"]).output().unwrap();
    let path = folder.file("default.toml", &printed.stdout);
    tlscope()
        .args(["config", "--check"])
        .arg(path)
        .assert()
        .success();
}

#[test]
fn a_baseline_is_compared_with() {
    let folder = Folder::new("baseline");
    let save = |capture: &str| {
        let output = tlscope()
            .args(["--format", "ndjson"])
            .arg(format!("captures/{capture}"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let now = save("tls12.pcap");
    // The earlier run saw another certificate.
    let record: serde_json::Value = serde_json::from_str(lines(&now, "handshake")[0]).unwrap();
    let digest = record["certificates"][0]["sha256"].as_str().unwrap();
    let before = now.replace(digest, &"ab".repeat(32));
    let (before, same) = (
        folder.file("before.ndjson", before.as_bytes()),
        folder.file("same.ndjson", now.as_bytes()),
    );
    let compared = |baseline: &Path, command: &[&str]| {
        let output = tlscope()
            .args(command)
            .args(["--lang", "en", "--baseline"])
            .arg(baseline)
            .output()
            .unwrap();
        assert_eq!(output.stderr, b"");
        String::from_utf8(output.stdout).unwrap()
    };
    let words = "A certificate changed since the earlier run";
    assert!(compared(&before, &["captures/tls12.pcap"]).contains(words));
    assert!(!compared(&same, &["captures/tls12.pcap"]).contains(words));
    let saved = same.to_str().unwrap().to_owned();
    assert!(compared(&before, &["diagnose", &saved]).contains(words));

    // What is none says so, before anything is read.
    let none = folder.file("none.ndjson", b"no record\n");
    let output = tlscope()
        .args(["captures/tls12.pcap", "--baseline"])
        .arg(none)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("holds no handshakes"), "{told}");
}
