//! Rotated sets: folders, patterns and lists of files are one stream in order of time, and `--each` takes them apart.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use serde_json::Value;
use std::process::{Command, Stdio};
use support::{
    Folder,
    files::{Pcap, Pcapng},
    tls::{self, Hello},
};

/// Writes a handshake over three files, whose names are in another order than their packets.
fn ring(name: &str) -> Folder {
    let folder = Folder::new(name);
    let packets = tls::talk(&Hello::post_quantum(), 1400).packets;
    let (a, b) = (packets.len() / 3, packets.len() / 2);
    folder.file("ring.pcap10", &Pcap::default().write(&packets[b..]));
    folder.file("ring.pcap9", &Pcap::default().write(&packets[a..b]));
    folder.file("ring.pcap", &Pcapng::whole(true, &packets[..a]));
    folder.file(
        "readme.txt",
        b"the captures of this week, by the firewall team",
    );
    folder
}

/// Runs the program in a folder, without a shell that would expand patterns: code, lines, messages.
fn run(folder: &Folder, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tlscope"))
        .args(["--format", "ndjson", "--fail-on", "never"])
        .args(arguments)
        .current_dir(&folder.0)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let messages = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), lines.collect(), messages)
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

#[test]
fn folders_patterns_and_lists_are_one_stream_in_order_of_time() {
    let folder = ring("rotated-one");
    let (code, lines, messages) = run(&folder, &["."]);
    assert_eq!(code, 0, "{messages}");
    assert!(
        messages.contains("1 file is no capture, and passed over"),
        "{messages}"
    );
    let whole = of_type(&lines, "handshake");
    assert_eq!(whole.len(), 1, "{lines:?}");
    assert!(
        whole[0]["outcome"]
            .as_str()
            .unwrap()
            .starts_with("established")
    );
    assert_eq!(whole[0]["defects"], Value::Null);
    for arguments in [
        &["ring.*"][..],
        &["ring.pcap[0-9]*", "ring.pcap"],
        // As a shell puts them.
        &["ring.pcap", "ring.pcap10", "ring.pcap9"],
    ] {
        let (code, lines, messages) = run(&folder, arguments);
        assert_eq!((code, messages.as_str()), (0, ""), "{arguments:?}");
        let handshakes = of_type(&lines, "handshake");
        assert_eq!(handshakes.len(), 1, "{arguments:?}");
        assert_eq!(handshakes[0]["client_hello"], whole[0]["client_hello"]);
        let summary = of_type(&lines, "summary")[0];
        let names: Vec<_> = (summary["captures"].as_array().unwrap().iter())
            .map(|capture| capture["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["ring.pcap", "ring.pcap9", "ring.pcap10"]);
    }
}

#[test]
fn each_treats_each_file_alone() {
    let folder = ring("rotated-each");
    let (code, lines, messages) = run(&folder, &["--each", "ring*"]);
    assert_eq!((code, messages.as_str()), (0, ""));
    let summaries = of_type(&lines, "summary");
    assert_eq!(summaries.len(), 3);
    assert!(
        summaries
            .iter()
            .all(|summary| summary["captures"].as_array().unwrap().len() == 1)
    );
    // What belongs together is cut apart.
    let whole = of_type(&lines, "handshake");
    assert!(
        whole.iter().all(|record| record["outcome"] == "truncated"),
        "{whole:?}"
    );
    assert!(lines.last().unwrap()["type"] == "summary");

    // One that can't be read does not keep the others from being read, and the code tells.
    let (code, lines, messages) = run(&folder, &["--each", "readme.txt", "ring.pcap"]);
    assert_eq!(code, 2);
    assert!(messages.contains("readme.txt: not a capture"), "{messages}");
    assert_eq!(of_type(&lines, "summary").len(), 1);
}

#[test]
fn patterns_that_match_nothing_are_faults_and_names_with_stars_are_files() {
    let folder = ring("rotated-none");
    let (code, _, messages) = run(&folder, &["*.etl"]);
    assert_eq!(code, 2);
    assert!(
        messages.contains("*.etl: no file has such a name"),
        "{messages}"
    );
    let packets = tls::talk(&Hello::post_quantum(), 1400).packets;
    folder.file("a[1].pcap", &Pcap::default().write(&packets));
    let (code, lines, _) = run(&folder, &["a[1].pcap"]);
    assert_eq!((code, of_type(&lines, "handshake").len()), (0, 1));
}

#[test]
fn follow_and_each_exclude_one_another() {
    let folder = ring("rotated-both");
    let (code, _, messages) = run(&folder, &["--follow", "--each", "ring.pcap"]);
    assert_eq!(code, 2);
    assert!(messages.contains("--each"), "{messages}");
}
