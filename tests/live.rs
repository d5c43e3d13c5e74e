//! `tlscope live` on real interfaces: a veth pair in a network namespace of the test's own, which ends with the test.
//!
//! These tests need the right to make namespaces (root), `ip`, and the example `replay`, which `cargo test` builds. Where
//! one of them is missing they say so and pass.
#![cfg(all(feature = "live", target_os = "linux"))]
#![allow(unsafe_code)] // one call: a namespace for this thread
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

mod support;

use serde_json::Value;
use support::packets::{Packet, Tcp};

const TLSCOPE: &str = env!("CARGO_BIN_EXE_tlscope");
/// Longest wait for something that is to come.
const PATIENCE: Duration = Duration::from_secs(30);

fn replay() -> PathBuf {
    Path::new(TLSCOPE).with_file_name("examples").join("replay")
}

fn sh(command: &str) -> bool {
    let status = Command::new("sh").args(["-c", command]).status();
    status.is_ok_and(|status| status.success())
}

/// Gives this thread a network of its own, with the pair `v0`, `v1`; `false`, said, where that can't be had.
fn namespace() -> bool {
    let why = if !replay().exists() {
        "the example `replay` is not built"
    } else if !sh("command -v ip > /dev/null") {
        "there is no `ip`"
    // SAFETY: no pointers. A thread that fails to leave its namespaces stays where it is.
    } else if unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) } != 0 {
        "there is no right to make a network namespace"
    } else if !sh(
        "mount --make-rprivate / && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; \
         ip link set lo up && ip link add v0 type veth peer name v1 && \
         ip link set v0 up mtu 9000 && ip link set v1 up mtu 9000",
    ) {
        "no veth pair can be made"
    } else {
        return true;
    };
    eprintln!("skipped: {why}");
    false
}

/// A folder that anyone may write to.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tlscope-live-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    assert!(sh(&format!("chmod 777 {}", path.display())));
    path
}

/// A running `tlscope live`.
struct Live {
    child: Child,
    lines: mpsc::Receiver<(Instant, Value)>,
    said: Arc<Mutex<String>>,
}

impl Live {
    fn start(arguments: &[&str]) -> Self {
        let mut live = Self::start_unread(arguments);
        let out = live.child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let value = serde_json::from_str(&line.unwrap()).unwrap();
                if sender.send((Instant::now(), value)).is_err() {
                    return;
                }
            }
        });
        live.lines = lines;
        live
    }

    /// Nobody reads what it writes.
    fn start_unread(arguments: &[&str]) -> Self {
        let mut child = Command::new(TLSCOPE)
            .arg("live")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let hears = Arc::clone(&said);
        thread::spawn(move || {
            let mut part = [0; 1024];
            while let Ok(read @ 1..) = errors.read(&mut part) {
                hears
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&part[..read]));
            }
        });
        let live = Self {
            child,
            lines: mpsc::channel().1,
            said,
        };
        live.wait_for("watching");
        live
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until something is said on standard error.
    fn wait_for(&self, words: &str) {
        let begun = Instant::now();
        while !self.said().contains(words) {
            assert!(
                begun.elapsed() < PATIENCE,
                "no `{words}` in: {}",
                self.said()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The next line of a kind.
    fn next(&self, kind: &str) -> (Instant, Value) {
        let begun = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let (at, line) = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no {kind}: {}", self.said()));
            if line["type"] == kind {
                return (at, line);
            }
        }
    }

    fn signal(&self, name: &str) {
        assert!(sh(&format!("kill -{name} {}", self.child.id())));
    }

    /// A line of its status, in numbers.
    fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        let base = if key.starts_with("Cap") { 16 } else { 10 };
        u64::from_str_radix(number, base).unwrap()
    }

    /// Ends it by SIGTERM. All lines that were not taken yet, the summary apart.
    fn stop(mut self) -> (Vec<Value>, Value) {
        self.signal("TERM");
        let mut lines: Vec<Value> = self.lines.iter().map(|(_, line)| line).collect();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.said());
        let summary = lines.pop().unwrap();
        assert_eq!(summary["type"], "summary");
        (lines, summary)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends captures out of `v0`.
fn send(arguments: &[&str]) {
    let status = Command::new(replay())
        .arg("v0")
        .args(arguments)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

fn captures() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|name| name.ends_with(".pcap") || name.ends_with(".pcapng"))
        .collect();
    names.sort();
    names
}

fn capture(name: &str) -> String {
    format!("{}/captures/{name}", env!("CARGO_MANIFEST_DIR"))
}

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
    for arguments in [&["live", "-i", "v1"][..], &["interfaces"]] {
        let (code, said) = run(&mut without(arguments));
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("sudo setcap cap_net_raw,cap_net_admin+ep /"),
            "{said}"
        );
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
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(ask("/healthz").contains("200 OK"));
}

/// The frames of a capture.
fn frames(path: &str) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[24..];
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        frames.push(after[..length].to_vec());
        rest = &after[length..];
    }
    frames
}

/// Copies of a capture, each with a client of its own, so that none repeats another.
fn copies(folder: &Path, name: &str, clients: std::ops::Range<u32>) -> String {
    let frames = frames(&capture(name));
    let client: [u8; 4] = frames[0][26..30].try_into().unwrap();
    let mut packets = Vec::new();
    for copy in clients {
        let [_, high, middle, low] = copy.to_be_bytes();
        for frame in &frames {
            let mut bytes = frame.clone();
            for at in [26, 30] {
                if bytes[at..at + 4] == client {
                    bytes[at..at + 4].copy_from_slice(&[10, high, middle, low]);
                }
            }
            packets.push(Packet::new(0, bytes));
        }
    }
    write_pcap(folder, "copies.pcap", &packets)
}

fn write_pcap(folder: &Path, name: &str, packets: &[Packet]) -> String {
    let path = folder.join(name);
    fs::write(&path, support::files::Pcap::default().write(packets)).unwrap();
    path.display().to_string()
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
