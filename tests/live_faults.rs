//! What may go wrong while interfaces are watched for weeks: each fault has a clear line and a way on. `support/live.rs` says
//! what these tests need. (That the clock is set can't be tried without setting it for everyone: `clock.rs` tests that.)
#![cfg(all(feature = "live", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

use std::{
    fs,
    io::Read,
    thread,
    time::{Duration, Instant},
};

mod support;

use serde_json::Value;
use support::live::*;
use support::packets::{Packet, Tcp};

#[test]
fn a_slow_reader_costs_packets_that_are_counted_and_no_memory() {
    if !namespace() {
        return;
    }
    let mut live = Live::start_unread(&["-i", "v1", "--ring", "2MiB", "--memory", "16MiB"]);
    let folder = folder("slow");
    let file = copies(&folder, "tls12.pcap", 0..4000);
    let flood = || send(&[&file, "--rate", "100000"]);
    flood();
    let before = live.status("VmRSS");
    flood();
    let after = live.status("VmRSS");
    assert!(
        after < before + before / 10 + 1024,
        "{before} KiB, then {after} KiB"
    );
    // Somebody reads again: the drops are said, and in the summary.
    let mut out = live.child.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    live.wait_for("the kernel dropped");
    live.signal("TERM");
    let text = reader.join().unwrap();
    assert!(live.child.wait().unwrap().success());
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let kernel = &summary["captures"][0]["kernel"];
    let (received, dropped) = (
        kernel["received"].as_u64().unwrap(),
        kernel["dropped"].as_u64().unwrap(),
    );
    assert!(dropped > 0);
    assert_eq!(summary["packets"].as_u64().unwrap(), received - dropped);
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(not(tlscope_portable))] // libpcap does not tell of it
#[test]
fn interfaces_go_down_change_and_come_back() {
    if !namespace() {
        return;
    }
    let file = capture("tls12.pcap");
    let live = Live::start(&["-i", "v1"]);
    assert!(sh("ip link set v1 down"));
    live.wait_for("v1: the interface is down");
    assert!(sh("ip link set v1 up"));
    live.wait_for("v1: the interface is up again");
    send(&[&file]);
    live.next("handshake");

    assert!(sh("ip link set v1 mtu 1400"));
    live.wait_for("v1: the MTU is now 1400 (it was 9000)");
    assert!(sh("ip link del v1"));
    live.wait_for("v1: the interface is gone");
    assert!(sh(
        "ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up"
    ));
    live.wait_for("v1: the interface is there again");
    send(&[&file]);
    live.next("handshake");
    let (_, summary) = live.stop();
    let notes = summary["captures"][0]["notes"].to_string();
    assert!(
        notes.contains("is gone") && notes.contains("MTU is now 1400"),
        "{notes}"
    );
}

#[cfg(not(tlscope_portable))] // SIGHUP
#[test]
fn files_are_rotated_opened_anew_and_survive_a_full_disk() {
    if !namespace() {
        return;
    }
    let folder = folder("files");
    if !sh(&format!(
        "mount -t tmpfs -o size=1m,mode=777 none {}",
        folder.display()
    )) {
        eprintln!("skipped: there is no right to mount");
        return;
    }
    let path = folder.join("a.ndjson");
    let name = path.display().to_string();
    let live = Live::start(&[
        "-i",
        "v1",
        "--output",
        &name,
        "--rotate-size",
        "20K",
        "--keep",
        "2",
    ]);
    let source = self::folder("copies");
    let mut sent = 0;
    let mut send_some = || {
        sent += 10;
        let file = copies(&source, "tls12.pcap", sent - 10..sent);
        send(&[&file]);
        thread::sleep(Duration::from_millis(600));
    };
    let files = || {
        let mut names: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    for _ in 0..5 {
        send_some();
    }
    let rotated = files();
    assert_eq!(rotated.len(), 3, "{rotated:?}");

    // Moved away by another program, which then asks for a new one.
    fs::rename(&path, folder.join("moved")).unwrap();
    live.signal("HUP");
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
    fs::write(folder.join("ballast"), vec![0; 4 << 20]).unwrap_err();
    let full = fs::metadata(&path).unwrap().len();
    send_some();
    live.wait_for("lines are lost until there is room again");
    fs::remove_file(folder.join("ballast")).unwrap();
    send_some();
    live.wait_for("there is room again");
    live.signal("TERM");
    let mut live = live;
    assert!(live.child.wait().unwrap().success());
    assert!(full < fs::metadata(&path).unwrap().len());
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = lines.last().unwrap();
    assert!(summary["skipped"]["lines_lost_disk_full"].as_u64().unwrap() > 0);
    assert!(sh(&format!("umount {}", folder.display())));
    fs::remove_dir_all(source).unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_flood_of_syns_is_bounded_and_handshakes_come_through() {
    if !namespace() {
        return;
    }
    let folder = folder("flood");
    let syns: Vec<Packet> = (0..60_000_u32)
        .map(|n| {
            let client = std::net::Ipv4Addr::from(0x0A00_0000 + n);
            let tcp = Tcp {
                from: (client, 1024 + (n % 60_000) as u16).into(),
                to: (std::net::Ipv4Addr::new(192, 0, 2, 1), 443).into(),
                sequence: n,
                acknowledgement: 0,
                flags: 2,
                options: &[],
                payload: &[],
            };
            Packet::new(0, tcp.ethernet())
        })
        .collect();
    let path = write_pcap(&folder, "syns.pcap", &syns);
    // What findings remember would grow for a while, too.
    let config = folder.join("config.toml");
    fs::write(&config, "history-bytes-max = 1048576").unwrap();
    let config = config.display().to_string();
    let live = Live::start(&[
        "-i", "v1", "--memory", "16MiB", "--ring", "4MiB", "--config", &config,
    ]);
    send(&[&path, "--rate", "20000"]);
    thread::sleep(Duration::from_secs(3));
    send(&[&path, "--rate", "20000"]);
    let before = live.status("VmRSS");
    send(&[&path, "--rate", "20000"]);
    send(&[&capture("tls12.pcap")]);
    let begun = Instant::now();
    loop {
        let (_, record) = live.next("handshake");
        if record["outcome"] == "established" || record["outcome"] == "established-then-closed" {
            break;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    let after = live.status("VmRSS");
    assert!(
        after < before + before / 5 + 2048,
        "{before} KiB, then {after} KiB"
    );
    let (_, summary) = live.stop();
    assert!(
        summary["skipped"]["connections_evicted"].as_u64().unwrap() > 0,
        "{summary}"
    );
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_disk_that_stays_full_takes_neither_the_watching_nor_the_summary() {
    if !namespace() {
        return;
    }
    let folder = folder("full");
    if !sh(&format!(
        "mount -t tmpfs -o size=256k,mode=777 none {}",
        folder.display()
    )) {
        eprintln!("skipped: there is no right to mount");
        return;
    }
    let (output, kept) = (folder.join("a.ndjson"), folder.join("kept"));
    let mut live = Live::start_unread(&[
        "-i",
        "v1",
        "--output",
        &output.display().to_string(),
        "--write",
        &kept.display().to_string(),
    ]);
    fs::write(folder.join("ballast"), vec![0; 1 << 20]).unwrap_err();
    let source = self::folder("full-copies");
    send(&[&copies(&source, "tls12.pcap", 0..10)]);
    live.wait_for("lines are lost until there is room again");
    live.wait_for("packets are lost until there is room again");
    live.signal("TERM");
    live.wait_for("the findings and the summary are on standard output");
    assert!(live.child.wait().unwrap().success());
    let mut text = String::new();
    let mut out = live.child.stdout.take().unwrap();
    out.read_to_string(&mut text).unwrap();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["type"], "summary");
    let lost = |key: &str| summary["skipped"][key].as_u64().unwrap();
    assert_eq!(summary["handshakes"], lost("lines_lost_disk_full"));
    assert!(lost("packets_lost_disk_full") > 0);
    // What got there before is whole.
    let lines = fs::read_to_string(&output).unwrap();
    assert!(lines.is_empty() || lines.ends_with('\n'));
    assert!(sh(&format!("umount {}", folder.display())));
    fs::remove_dir_all(source).unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(feature = "libpcap")]
#[test]
fn an_interface_that_libpcap_loses_is_told_once_and_ends_nothing() {
    if !namespace() {
        return;
    }
    let live = Live::start(&["-i", "v1", "--filter", "tcp"]);
    assert!(sh("ip link del v1"));
    live.wait_for("v1: nothing comes from the interface (");
    thread::sleep(Duration::from_secs(2));
    let said = live.said();
    assert_eq!(said.matches("nothing comes").count(), 1, "{said}");
    let (_, summary) = live.stop();
    let notes = summary["captures"][0]["notes"].to_string();
    assert!(notes.contains("nothing comes from"), "{notes}");
}
