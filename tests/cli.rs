//! The command line as a user meets it: help, mistakes, exit codes. What needs a capture is tested elsewhere.

#![allow(clippy::unwrap_used)] // a test that can't go on shall stop

use assert_cmd::Command;
use std::{fs, path::PathBuf, process::Output};
use tlscope::report::REPORTS;

fn tlscope(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tlscope"))
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs and checks the exit code; gives standard output and standard error.
#[track_caller]
fn exits(code: i32, arguments: &[&str]) -> (String, String) {
    let output = tlscope(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}\n{out}\n{err}"
    );
    (out, err)
}

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tlscope-cli-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn version_and_help_are_no_errors() {
    let (out, err) = exits(0, &["--version"]);
    assert_eq!(out, format!("tlscope {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(err, "");
    for help in [
        &["--help"][..],
        &["-h"],
        &["analyze", "--help"],
        &["explain", "--help"],
        &["diagnose", "--help"],
        &["certs", "--help"],
        &["config", "--help"],
        &["schema", "-h"],
    ] {
        let (out, err) = exits(0, help);
        assert!(out.contains("Usage: tlscope"), "{out}");
        assert_eq!(err, "");
    }
}

#[test]
fn help_names_every_format_and_the_real_cases() {
    let (long, _) = exits(0, &["--help"]);
    for format in REPORTS {
        assert!(
            long.contains(format.name) && long.contains(format.about),
            "{}",
            format.name
        );
    }
    for case in [
        "ERR_HTTP2_INADEQUATE_TRANSPORT_SECURITY",
        "TLS 1.0",
        "farm",
        "tcpdump",
        "--fail-on",
    ] {
        assert!(long.contains(case), "{case}");
    }
    let (short, _) = exits(0, &["-h"]);
    assert!(short.lines().count() < 50, "{short}");
    assert!(!short.contains("Examples:"));
}

#[test]
fn mistakes_on_the_command_line_exit_2_and_say_what_is_right() {
    exits(2, &[]);
    let (_, err) = exits(2, &["x.pcap", "--format", "xml"]);
    for format in REPORTS {
        assert!(err.contains(format.name), "{err}");
    }
    let (_, err) = exits(2, &["x.pcap", "--memory", "lots"]);
    assert!(err.contains("512MiB"), "{err}");
    let (_, err) = exits(2, &["x.pcap", "--thread", "2"]);
    assert!(err.contains("--threads"), "{err}");
    exits(2, &["x.pcap", "--threads", "0"]);
    exits(2, &["analyze"]);
}

#[test]
fn key_logs_are_read_and_told_of_where_they_give_nothing() {
    let capture = "captures/with-keys.pcapng";
    let quiet = ["--fail-on", "never"];
    let with = |log: &str| exits(0, &[&[capture, "--keylog", log], &quiet[..]].concat());
    let (out, err) = with("captures/with-keys.keys");
    assert!(
        out.contains("Decrypted: 2 of these, with 5 secrets"),
        "{out}"
    );
    assert_eq!(err, "");
    // A capture is no key log.
    let (out, err) = with(capture);
    assert!(err.contains("no secrets in it"), "{err}");
    assert!(
        !out.contains("Decrypted") && out.contains("lines of key logs that are none"),
        "{out}"
    );
    let (_, err) = exits(2, &[capture, "--keylog", "no-such.keys"]);
    assert!(err.contains("no-such.keys"), "{err}");
    // And a key log is no capture.
    let (_, err) = exits(2, &["captures/with-keys.keys"]);
    assert!(err.contains("--keylog"), "{err}");
    let (out, _) = exits(
        0,
        &["certs", capture, "--keylog", "captures/with-keys.keys"],
    );
    assert!(out.contains("shown 2 times") || out.contains('2'), "{out}");
}

#[test]
fn help_says_how_to_get_a_key_log() {
    let (long, _) = exits(0, &["--help"]);
    for word in [
        "SSLKEYLOGFILE",
        "Chrome",
        "Firefox",
        "Schannel has none",
        "IIS",
        "reg delete",
    ] {
        assert!(long.contains(word), "{word}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (out, err) = exits(2, &["no-such-file.pcap"]);
    assert_eq!(out, "");
    assert!(err.starts_with("tlscope: "), "{err}");
}

#[test]
fn an_empty_folder_is_said_to_be_empty() {
    let folder = folder("empty");
    let (out, err) = exits(2, &[folder.to_str().unwrap()]);
    assert_eq!(out, "");
    assert!(err.contains("no capture files in this folder"), "{err}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_wrong_output_is_told_before_anything_is_read() {
    let folder = folder("output");
    let missing = folder.join("missing").join("report.json");
    let (_, err) = exits(2, &["x.pcap", "-o", missing.to_str().unwrap()]);
    assert!(err.contains("report.json: can't be written"), "{err}");
    let (_, err) = exits(2, &["x.pcap", "-o", folder.to_str().unwrap()]);
    assert!(err.contains("is a folder"), "{err}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn after_an_error_no_output_is_left() {
    let folder = folder("left");
    let report = folder.join("report.json");
    exits(
        2,
        &[
            "no-such-file.pcap",
            "--format",
            "json",
            "-o",
            report.to_str().unwrap(),
        ],
    );
    let left = fs::read_dir(&folder).unwrap().count();
    assert_eq!(left, 0);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_schema_describes_all_lines() {
    let (out, _) = exits(0, &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    for kind in ["handshake", "finding", "summary"] {
        assert!(
            schema["oneOf"]
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one["properties"]["type"]["const"] == kind),
            "{kind}"
        );
    }
}

#[test]
fn findings_are_explained_and_near_names_are_guessed() {
    let (list, _) = exits(0, &["explain", "--list"]);
    let ids: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(ids.contains(&"h2-blocklisted-cipher"), "{list}");
    for id in ids {
        let (page, _) = exits(0, &["explain", id]);
        assert!(page.trim().contains('\n'), "{id} has no page");
        exits(0, &["explain", id, "--lang", "ja"]);
    }
    let (_, err) = exits(2, &["explain", "h2-blacklisted-cipher"]);
    assert!(err.contains("did you mean h2-blocklisted-cipher?"), "{err}");
    let (_, err) = exits(2, &["explain", "weather\u{1b}[31m"]);
    assert!(
        err.contains("explain --list") && !err.contains('\u{1b}'),
        "{err}"
    );
    exits(2, &["explain"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_a_closed_pipe_is_not() {
    use std::process::{Command, Stdio};
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tlscope"))
        .arg("schema")
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let err = text(&output.stderr);
    assert!(
        err.contains("standard output: can't be written: No space left"),
        "{err}"
    );

    let mut child = Command::new(env!("CARGO_BIN_EXE_tlscope"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr).as_str()),
        (Some(0), "")
    );
}
