//! What may go wrong while interfaces are watched for weeks: each fault has a clear line and a way on. `support/live.rs` says
//! what these tests need. (That the clock is set can't be tried without setting it for everyone, since no namespace has a
//! CLOCK_REALTIME of its own: `watch.rs` tries that with packets that were captured by such a clock.)
#![cfg(all(feature = "live", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

use std::{
    fs,
    io::Read,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Stdio},
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

/// SYNs from many clients, as a capture.
fn syns(folder: &Path) -> String {
    let syns: Vec<Packet> = (0..60_000_u32)
        .map(|n| {
            let client = Ipv4Addr::from(0x0A00_0000 + n);
            let tcp = Tcp {
                from: (client, 1024 + (n % 60_000) as u16).into(),
                to: (Ipv4Addr::new(192, 0, 2, 1), 443).into(),
                sequence: n,
                acknowledgement: 0,
                flags: 2,
                options: &[],
                payload: &[],
            };
            Packet::new(0, tcp.ethernet())
        })
        .collect();
    write_pcap(folder, "syns.pcap", &syns)
}

/// Watches with little memory, also for what findings remember, which would grow for a while, too.
fn watch_in_16_mib(folder: &Path) -> Live {
    let config = folder.join("config.toml");
    fs::write(&config, "history-bytes-max = 1048576").unwrap();
    let config = config.display().to_string();
    Live::start(&[
        "-i", "v1", "--memory", "16MiB", "--ring", "4MiB", "--config", &config,
    ])
}

/// Sends handshakes until one gets through; drops may still take the first ones.
fn a_handshake_gets_through(live: &Live, folder: &Path) {
    let begun = Instant::now();
    for client in 0.. {
        send(&[&copies(folder, "tls12.pcap", client..client + 1)]);
        let until = Instant::now() + Duration::from_secs(1);
        while let Ok((_, line)) =
            (live.lines).recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            let outcome = line["outcome"].as_str().unwrap_or_default();
            if outcome.starts_with("established") {
                return;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "{}", live.said());
    }
}

#[test]
fn a_flood_of_syns_is_bounded_and_handshakes_come_through() {
    if !namespace() {
        return;
    }
    let folder = folder("flood");
    let path = syns(&folder);
    let live = watch_in_16_mib(&folder);
    send(&[&path, "--rate", "20000"]);
    thread::sleep(Duration::from_secs(3));
    send(&[&path, "--rate", "20000"]);
    let before = live.status("VmRSS");
    send(&[&path, "--rate", "20000"]);
    a_handshake_gets_through(&live, &folder);
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
fn a_flood_at_line_rate_takes_no_memory_and_nothing_of_what_comes_behind_it() {
    if !namespace() {
        return;
    }
    let folder = folder("line-rate");
    let path = syns(&folder);
    let live = watch_in_16_mib(&folder);
    // As fast as they can be sent; each round from other addresses to other ones.
    send(&[&path, "--loops", "4", "--fresh"]);
    thread::sleep(Duration::from_secs(3));
    let before = live.status("VmRSS");
    let sent = send(&[&path, "--loops", "20", "--fresh"]);
    let after = live.status("VmRSS");
    assert!(
        after < before + before / 5 + 2048,
        "{before} KiB, then {after} KiB"
    );
    // Records of what is wrong behind the flood, and the finding.
    a_handshake_gets_through(&live, &folder);
    send(&[&capture("owa-http2-blocklisted.pcapng"), "--rate", "2000"]);
    let begun = Instant::now();
    loop {
        let (_, finding) = live.next("finding");
        if finding["id"] == "h2-blocklisted-cipher" {
            assert_eq!(finding["state"], "begins");
            break;
        }
        assert!(begun.elapsed() < PATIENCE);
    }
    // All that was too much is said, not just counted. (A machine may be fast enough for all of it.)
    let said = live.said();
    let (_, summary) = live.stop();
    let kernel = &summary["captures"][0]["kernel"];
    let [received, dropped] = ["received", "dropped"].map(|key| kernel[key].as_u64().unwrap());
    assert_eq!(
        dropped > 0,
        said.contains("v1: the kernel dropped"),
        "{said}"
    );
    assert_eq!(summary["packets"].as_u64().unwrap(), received - dropped);
    assert!(received >= 24 * 60_000, "{received}");
    eprintln!("{sent:.0} SYNs a second: {dropped} of {received} packets dropped");
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

/// The screen's terminal may go with a connection of SSH that breaks.
#[cfg(feature = "screen")]
#[test]
fn a_terminal_that_goes_away_ends_the_watching() {
    if !namespace() {
        return;
    }
    if !sh("command -v script > /dev/null") {
        eprintln!("skipped: there is no `script`, which makes a terminal");
        return;
    }
    let mut script = Command::new("script")
        .args([
            "-qc",
            &format!("stty rows 24 cols 80; exec {TLSCOPE} live -i v1"),
            "/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut seen) = (script.stdout.take().unwrap(), String::new());
    // Words stand alone: blanks between them are not drawn, but passed by.
    while !seen.contains("dropped") {
        let mut part = [0; 1024];
        let read = out.read(&mut part).unwrap();
        assert!(read > 0, "no screen: {seen}");
        seen.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    let id = script.id();
    let child = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let status = format!("/proc/{}/status", child.trim());
    assert!(fs::read_to_string(&status).unwrap().contains("tlscope"));
    script.kill().unwrap();
    script.wait().unwrap();
    let begun = Instant::now();
    // Gone, or waiting for a parent who asks for it.
    while fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
        assert!(begun.elapsed() < PATIENCE, "it goes on without a terminal");
        thread::sleep(Duration::from_millis(50));
    }
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
