//! Every prefix and many damaged copies of every Windows capture: no panic, no hang, and bounded memory.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod support;

use std::io::Cursor;
use std::time::{Duration, Instant};
use support::windows;
use tlscope::capture::block::Block;
use tlscope::capture::etl::{self, EtlReader};
use tlscope::capture::netmon::{self, NetmonReader};
use tlscope::limits::Limits;

/// Small caps, so that damaged sizes hit them.
fn limits() -> Limits {
    Limits {
        block_bytes: 64 << 10,
        trace_open_bytes_max: 4 << 20,
        sightings_max: 256,
        trace_names_max: 64,
        ..Limits::default()
    }
}

/// Reads as much as it gives; how many bytes of packets that was.
fn read(bytes: &[u8]) -> u64 {
    let limits = limits();
    let mut block = Block::default();
    let mut total = 0;
    let mut count = |block: &Block| {
        total += block
            .packets
            .iter()
            .map(|packet| u64::from(packet.captured_len))
            .sum::<u64>();
        assert!(
            block
                .packets
                .iter()
                .all(|packet| block.data(packet).len() == packet.captured_len as usize)
        );
        assert!(block.filled <= limits.block_bytes + limits.packet_bytes_max);
    };
    if etl::matches(bytes) {
        let Ok(mut reader) = EtlReader::open(Cursor::new(bytes), "x", &limits) else {
            return 0;
        };
        reader.show_all_sightings();
        while reader.fill(&mut block).is_ok_and(|more| {
            count(&block);
            more
        }) {}
        let _ = (
            reader.summary(),
            reader.interfaces(),
            reader.take_drops(),
            reader.take_evidence(),
        );
    } else if netmon::matches(bytes) {
        let Ok(mut reader) = NetmonReader::open(Cursor::new(bytes), "x", &limits) else {
            return 0;
        };
        while reader.fill(&mut block).is_ok_and(|more| {
            count(&block);
            more
        }) {}
    }
    total
}

/// A small generator of numbers, the same on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

fn captures() -> Vec<(String, Vec<u8>)> {
    let Some(folder) = windows::folder() else {
        return Vec::new();
    };
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let windows = |path: &std::path::Path| {
        path.extension()
            .is_some_and(|end| end == "etl" || end.eq_ignore_ascii_case("cap"))
    };
    let named = |path: std::path::PathBuf| {
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            std::fs::read(path).unwrap(),
        )
    };
    let mut captures: Vec<_> = files.filter(|path| windows(path)).map(named).collect();
    captures.sort();
    captures
}

#[test]
fn every_prefix_is_read_as_far_as_it_goes() {
    for (name, bytes) in captures() {
        let whole = read(&bytes);
        let begin = Instant::now();
        // All of the beginning, and a few hundred places in the rest.
        let step = (bytes.len() / 300).max(1);
        let lengths = (0..bytes.len().min(400)).chain((400..bytes.len()).step_by(step));
        for length in lengths {
            let part = read(&bytes[..length]);
            assert!(part <= whole, "{name} cut at {length}");
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{name}");
    }
}

#[test]
fn damaged_copies_neither_panic_nor_hang() {
    let mut numbers = Numbers(0x1234_5678_9ABC_DEF1);
    for (name, bytes) in captures() {
        let rounds = (2_000_000 / bytes.len().max(1)).clamp(8, 250);
        for round in 0..rounds {
            let mut damaged = bytes.clone();
            for _ in 0..=numbers.next(8) {
                // Headers more often than the rest.
                let region = if numbers.next(2) == 0 {
                    damaged.len()
                } else {
                    damaged.len().min(1024)
                };
                let at = numbers.next(region);
                damaged[at] = match numbers.next(4) {
                    0 => 0,
                    1 => 0xFF,
                    _ => damaged[at] ^ (1 << numbers.next(8)),
                };
            }
            let begin = Instant::now();
            read(&damaged);
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "{name} round {round} takes {:?}",
                begin.elapsed()
            );
        }
    }
}
