//! What the tests share: a builder of packets, writers of capture files, and a run of the library in this process.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each test uses a part; a panic is how it speaks

pub(crate) mod files;
pub(crate) mod golden;
#[cfg(all(feature = "live", target_os = "linux"))]
pub(crate) mod live;
pub(crate) mod netmon;
pub(crate) mod packets;
pub(crate) mod quic;
pub(crate) mod run;
pub(crate) mod scene;
pub(crate) mod tls;
pub(crate) mod trace;
pub(crate) mod windows;
pub(crate) mod xpress;

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The bundled captures, in the order of their names.
pub(crate) fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "pcap" || end == "pcapng")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 30, "the bundled captures are missing");
    files
}

/// The last part of a path, as text.
pub(crate) fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// A folder of its own, removed with its contents when it goes out of scope.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tlscope-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Writes a file into it.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Lists where two JSON values differ, by their paths.
pub(crate) fn compare(place: &str, golden: &Value, now: &Value, wrong: &mut Vec<String>) {
    match (golden, now) {
        (Value::Object(golden), Value::Object(now)) => {
            for (key, value) in golden {
                let other = now.get(key).unwrap_or(&Value::Null);
                compare(&format!("{place} {key}"), value, other, wrong);
            }
            for (key, value) in now.iter().filter(|(key, _)| !golden.contains_key(*key)) {
                wrong.push(format!("{place} {key}: new, {value}"));
            }
        }
        (Value::Array(golden), Value::Array(now)) if golden.len() == now.len() => {
            for (index, (golden, now)) in golden.iter().zip(now).enumerate() {
                compare(&format!("{place}[{index}]"), golden, now, wrong);
            }
        }
        _ if golden != now => wrong.push(format!("{place}: was {golden}, now {now}")),
        _ => {}
    }
}

/// Xorshift: numbers that look random and are the same in each run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
