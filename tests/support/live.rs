//! A running `tlscope live` at one end of a veth pair, in a network namespace of the test's own, which ends with the test.
//!
//! This needs the right to make namespaces (root), and `ip`. Where one of them is missing the tests say so and pass.
#![allow(unsafe_code)] // one call: a namespace for this thread

#[allow(dead_code)] // its `main`
#[path = "../../examples/replay.rs"]
mod replay;

use super::{files, packets::Packet};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

pub(crate) const TLSCOPE: &str = env!("CARGO_BIN_EXE_tlscope");
/// Longest wait for something that is to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn sh(command: &str) -> bool {
    let status = Command::new("sh").args(["-c", command]).status();
    status.is_ok_and(|status| status.success())
}

/// Gives this thread a network of its own, with the pair `v0`, `v1`; `false`, said, where that can't be had.
pub(crate) fn namespace() -> bool {
    let why = if !sh("command -v ip > /dev/null") {
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
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tlscope-live-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    assert!(sh(&format!("chmod 777 {}", path.display())));
    path
}

/// A running `tlscope live`.
pub(crate) struct Live {
    pub(crate) child: Child,
    pub(crate) lines: mpsc::Receiver<(Instant, Value)>,
    pub(crate) said: Arc<Mutex<String>>,
}

impl Live {
    pub(crate) fn start(arguments: &[&str]) -> Self {
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
    pub(crate) fn start_unread(arguments: &[&str]) -> Self {
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

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until something is said on standard error.
    pub(crate) fn wait_for(&self, words: &str) {
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
    pub(crate) fn next(&self, kind: &str) -> (Instant, Value) {
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

    pub(crate) fn signal(&self, name: &str) {
        assert!(sh(&format!("kill -{name} {}", self.child.id())));
    }

    /// A line of its status, in numbers.
    pub(crate) fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        let base = if key.starts_with("Cap") { 16 } else { 10 };
        u64::from_str_radix(number, base).unwrap()
    }

    /// Ends it by SIGTERM. All lines that were not taken yet, the summary apart.
    pub(crate) fn stop(mut self) -> (Vec<Value>, Value) {
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

/// Sends captures out of `v0`. Gives the packets a second.
pub(crate) fn send(arguments: &[&str]) -> f64 {
    let all = ["v0"].iter().chain(arguments);
    let words = replay::linux::replay(all.map(|word| (*word).to_owned())).unwrap();
    words.split(' ').rev().nth(1).unwrap().parse().unwrap()
}

pub(crate) fn captures() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|name| name.ends_with(".pcap") || name.ends_with(".pcapng"))
        .collect();
    names.sort();
    names
}

pub(crate) fn capture(name: &str) -> String {
    format!("{}/captures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The frames of a capture.
pub(crate) fn frames(path: &str) -> Vec<Vec<u8>> {
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
pub(crate) fn copies(folder: &Path, name: &str, clients: std::ops::Range<u32>) -> String {
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

pub(crate) fn write_pcap(folder: &Path, name: &str, packets: &[Packet]) -> String {
    let path = folder.join(name);
    fs::write(&path, files::Pcap::default().write(packets)).unwrap();
    path.display().to_string()
}
