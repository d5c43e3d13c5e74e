//! `tlscope live` on real interfaces; `support/live.rs` says what that needs.
#![cfg(all(feature = "live", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    process::Command,
    thread,
    time::{Duration, Instant},
};

mod support;

use serde_json::Value;
use support::live::*;
use support::packets::{Packet, datagram};

/// Records of files, as NDJSON tells them.
fn of_files(names: &[String]) -> Vec<Value> {
    let output = Command::new(TLSCOPE)
        .args(names)
        .args(["--format", "ndjson"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["type"] == "handshake").collect()
}

/// A record without what the time and the place of the capture decide.
fn timeless(record: &Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|key, _| {
                    !key.ends_with("_us")
                        && !key.contains("frame")
                        && !matches!(
                            key.as_str(),
                            "capture" | "start" | "end" | "timing" | "interface" | "findings"
                        )
                });
                fields.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut record = record.clone();
    strip(&mut record);
    if record["outcome"] == "established-then-closed" {
        record["outcome"] = "established".into(); // it was closed soon: by the clock
    }
    record
}

fn by_ends(records: &[Value]) -> BTreeMap<String, Vec<Value>> {
    // What a silence means depends on how long it was, which a replay does not keep.
    let timed = |record: &&Value| {
        let outcome = record["outcome"].as_str().unwrap();
        !["no-syn-ack", "hello-unanswered", "truncated"].contains(&outcome)
    };
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in records.iter().filter(timed).map(timeless) {
        let ends = format!("{}{}", record["client"], record["server"]);
        all.entry(ends).or_default().push(record);
    }
    all.values_mut()
        .for_each(|list| list.sort_by_key(Value::to_string));
    all
}

#[test]
fn an_interface_gives_the_records_of_the_same_capture_as_a_file() {
    if !namespace() {
        return;
    }
    let mut names = captures();
    // Secrets inside a capture file open what an interface can't.
    let opened: Vec<Value> = (of_files(&names).into_iter())
        .filter(|record| record["decrypted"] == true)
        .map(|record| record["capture"].clone())
        .collect();
    names.retain(|name| !opened.iter().any(|opened| opened == name));
    let expected = of_files(&names);
    for threads in ["1", "3"] {
        let live = Live::start(&["-i", "v1", "--threads", threads]);
        let mut arguments: Vec<&str> = names.iter().map(String::as_str).collect();
        arguments.extend(["--rate", "5000"]);
        send(&arguments);
        thread::sleep(Duration::from_millis(500));
        let (lines, summary) = live.stop();
        let records: Vec<Value> = lines
            .into_iter()
            .filter(|line| line["type"] == "handshake")
            .collect();
        let (found, wanted) = (by_ends(&records), by_ends(&expected));
        let keys = |all: &BTreeMap<String, Vec<Value>>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&found), keys(&wanted));
        let mut wrong = Vec::new();
        for (ends, records) in &wanted {
            let [records, others] = [records, &found[ends]].map(|list| Value::from(list.clone()));
            support::compare(ends, &records, &others, &mut wrong);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(summary["captures"][0]["kernel"]["dropped"], 0);
        assert_eq!(summary["captures"][0]["name"], "v1");
        assert_eq!(
            summary["captures"][0]["packets"],
            summary["captures"][0]["kernel"]["received"]
        );
    }
}

#[test]
fn a_line_comes_within_a_second_and_findings_when_they_begin() {
    if !namespace() {
        return;
    }
    let live = Live::start(&["-i", "v1"]);
    send(&[&capture("owa-http2-blocklisted.pcapng")]);
    let sent = Instant::now();
    let (at, _) = live.next("handshake");
    assert!(at.saturating_duration_since(sent) < Duration::from_secs(1));
    let (_, finding) = live.next("finding");
    assert_eq!(finding["state"], "begins");
    let (lines, summary) = live.stop();
    let standing: Vec<&Value> = lines
        .iter()
        .filter(|line| line["type"] == "finding" && line["state"].is_null())
        .collect();
    assert!(
        standing
            .iter()
            .any(|finding| finding["id"] == "h2-blocklisted-cipher")
    );
    assert_eq!(summary["by_finding"]["h2-blocklisted-cipher"], 1);
}

#[cfg(not(tlscope_portable))]
#[test]
fn rights_are_gone_before_packets_come() {
    if !namespace() {
        return;
    }
    let live = Live::start(&["-i", "v1"]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(live.status(set), 0, "{set}");
    }
    assert_ne!(live.status("Uid"), 0);
    assert_eq!((live.status("NoNewPrivs"), live.status("Seccomp")), (1, 2));
    drop(live);
    let live = Live::start(&["-i", "v1", "--no-drop"]);
    assert_eq!(live.status("Uid"), 0);
    assert_ne!(live.status("CapEff"), 0);
}

#[test]
fn what_can_not_be_watched_is_told_with_a_way_out() {
    if !namespace() {
        return;
    }
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (code, said) = run(Command::new(TLSCOPE).args(["live", "-i", "none0"]));
    assert_eq!(code, Some(2));
    assert!(
        said.contains("none0: there is no such interface; `tlscope interfaces`"),
        "{said}"
    );

    for (more, words) in [
        (&["-i", "v1"][..], "v1 is named twice"),
        (&["-i", "any"], "any is all interfaces: name it alone"),
        (
            &["--output", "/none/a.ndjson"],
            "/none: there is no such folder",
        ),
        (
            &["--write", "/none/packets"],
            "/none: there is no such folder",
        ),
    ] {
        let (code, said) = run(Command::new(TLSCOPE).args(["live", "-i", "v1"]).args(more));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }

    let (code, said) = run(Command::new(TLSCOPE).arg("interfaces"));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("v0") && said.contains("127.0.0.1") && said.contains("any"),
        "{said}"
    );

    // Without the right: what it is called, and how to grant it. `nobody` must be able to reach the program.
    let copy = folder("rights").join("tlscope");
    fs::copy(TLSCOPE, &copy).unwrap();
    let without = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=65534",
                "--clear-groups",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ])
            .arg(&copy)
            .args(arguments);
        command
    };
    if !sh("command -v setpriv > /dev/null") {
        eprintln!("skipped in part: there is no `setpriv`");
        return;
    }
    let way = if cfg!(tlscope_portable) {
        "run it by sudo"
    } else {
        "sudo setcap cap_net_raw,cap_net_admin+ep /"
    };
    for arguments in [&["live", "-i", "v1"][..], &["interfaces"]] {
        let (code, said) = run(&mut without(arguments));
        let lists_all_the_same = cfg!(tlscope_portable) && arguments.len() == 1;
        assert_eq!(code, Some(if lists_all_the_same { 0 } else { 2 }), "{said}");
        assert!(said.contains(way), "{said}");
    }
    fs::remove_dir_all(copy.parent().unwrap()).unwrap();
}

#[test]
fn tags_of_vlans_are_put_back() {
    if !namespace() {
        return;
    }
    let folder = folder("vlan");
    let mut packets = Vec::new();
    for packet in frames(&capture("tls12.pcap")) {
        let mut bytes = packet;
        bytes.splice(12..12, [0x81, 0, 0, 7]);
        packets.push(Packet::new(0, bytes));
    }
    let path = write_pcap(&folder, "vlan.pcap", &packets);
    let live = Live::start(&["-i", "v1"]);
    send(&[&path]);
    let (_, record) = live.next("handshake");
    assert_eq!(record["encapsulation"][0], "vlan:7", "{record}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn loopback_and_all_interfaces_count_each_packet_once() {
    if !namespace() {
        return;
    }
    // Real TCP over lo; what is said is no TLS, so --all-connections.
    for name in ["lo", "any"] {
        let live = Live::start(&["-i", name, "--all-connections"]);
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        drop(server.accept().unwrap());
        thread::sleep(Duration::from_millis(100));
        drop(client);
        thread::sleep(Duration::from_millis(500));
        let (lines, summary) = live.stop();
        let records: Vec<&Value> = lines
            .iter()
            .filter(|line| line["type"] == "handshake")
            .collect();
        assert_eq!(records.len(), 1, "{lines:?}");
        assert_eq!(records[0]["capture"], name);
        assert_eq!(
            summary["skipped"]["packets_duplicate"],
            Value::Null,
            "{summary}"
        );
        // SYN, SYN-ACK, ACK, FIN, ACK, FIN, ACK, perhaps one ACK less.
        let packets = summary["packets"].as_u64().unwrap();
        assert!((6..=7).contains(&packets), "{summary}");
    }
}

#[test]
fn metrics_are_served_from_behind_the_fence() {
    if !namespace() {
        return;
    }
    let live = Live::start(&["-i", "v1", "--metrics", "9184"]);
    send(&[&capture("tls12.pcap")]);
    live.next("handshake");
    thread::sleep(Duration::from_secs(1));
    let ask = |path: &str| {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect("127.0.0.1:9184").unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let page = ask("/metrics");
    for wanted in [
        "tlscope_handshakes_total{outcome=\"established",
        "tlscope_negotiated_total{version=\"TLS 1.2\"} ",
        "tlscope_kernel_dropped_packets_total{interface=\"v1\"} 0",
        "process_resident_memory_bytes ",
    ] {
        if cfg!(tlscope_portable) && wanted.starts_with("process") {
            continue; // told on Linux only
        }
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(ask("/healthz").contains("200 OK"));
}

#[test]
fn packets_of_handshakes_are_saved_whole_and_rotated() {
    if !namespace() {
        return;
    }
    let folder = folder("saved");
    let kept = folder.join("kept");
    let name = kept.display().to_string();
    let live = Live::start(&[
        "-i",
        "v1",
        "--write",
        &name,
        "--rotate-size",
        "64K",
        "--keep",
        "3",
    ]);
    for count in [20, 40, 60, 80, 100, 120] {
        let file = copies(&folder, "tls12.pcap", count - 20..count);
        send(&[&file, "--rate", "20000"]);
        thread::sleep(Duration::from_millis(700));
        // Whole at any moment: what is there reads without a fault.
        let output = Command::new(TLSCOPE)
            .arg(&kept)
            .args(["--format", "ndjson"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_ne!(
            output.status.code(),
            Some(2),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains("\"client_hello\""));
    }
    let files = fs::read_dir(&kept).unwrap().count();
    assert_eq!(files, 4, "three beside the one being written");
    // A kill loses what was in memory, and no more.
    drop(live);
    let output = Command::new(TLSCOPE)
        .arg(&kept)
        .args(["--format", "ndjson"])
        .output()
        .unwrap();
    assert_ne!(
        output.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(feature = "libpcap")]
#[test]
fn a_filter_of_libpcap_picks_what_it_describes() {
    if !namespace() {
        return;
    }
    let live = Live::start(&["-i", "v1", "--filter", "tcp port 443"]);
    send(&[
        &capture("tls12.pcap"),
        &capture("starttls-smtp.pcap"),
        "--rate",
        "2000",
    ]);
    live.next("handshake");
    let (lines, summary) = live.stop();
    let others = lines
        .iter()
        .filter(|line| line["type"] == "handshake" && line["server"]["port"] != 443);
    assert_eq!(others.count(), 0);
    assert_eq!(summary["captures"][0]["kernel"]["dropped"], 0);
    assert!(
        summary["captures"][0]["kernel"]["received"]
            .as_u64()
            .unwrap()
            > 5,
        "{summary}"
    );
}

/// A question for an address of `name`, or, with a code, the response to it.
fn dns(id: u16, name: &str, rcode: Option<u8>) -> Packet {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([if rcode.is_some() { 0x81 } else { 1 }, rcode.unwrap_or(0)]);
    bytes.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    let ends = ("10.0.0.5:50000", "10.0.0.53:53");
    match rcode {
        None => datagram(0, ends.0, ends.1, &bytes),
        Some(_) => datagram(0, ends.1, ends.0, &bytes),
    }
}

#[test]
fn a_name_that_dns_does_not_give_is_told_while_the_watching_goes_on() {
    if !namespace() {
        return;
    }
    let folder = folder("dns");
    let live = Live::start(&["-i", "v1"]);
    let (office, other) = ("outlook.office365.com", "wpad.contoso.example");
    let packets = [
        dns(1, office, None),
        dns(1, office, Some(2)), // SERVFAIL
        dns(2, other, None),
        dns(2, other, Some(3)), // a probe for a name that is not there
    ];
    send(&[&write_pcap(&folder, "dns.pcap", &packets)]);
    let (_, finding) = live.next("finding");
    assert_eq!(finding["id"], "dns-failure-before-connect", "{finding}");
    assert_eq!(finding["state"], "begins");
    assert_eq!(finding["subject"], "10.0.0.5 → outlook.office365.com");
    let (lines, summary) = live.stop();
    let stands: Vec<&Value> = lines
        .iter()
        .filter(|line| line["type"] == "finding")
        .collect();
    assert_eq!(stands.len(), 1, "{stands:?}");
    assert_eq!(summary["dns"]["queries"], 2);
    assert_eq!(summary["dns"]["lookups"].as_array().unwrap().len(), 2);
    fs::remove_dir_all(folder).unwrap();
}
