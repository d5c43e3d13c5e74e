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
use support::netmon::{Capture, Frame};
use support::trace::{self, ETHERNET_IN, Manifest, PktMon, Trace};
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

/// Small captures written here, so that there is always something to damage.
fn written() -> Vec<(String, Vec<u8>)> {
    let frames: Vec<_> = windows::frames().into_iter().take(6).collect();
    let mut captures = Vec::new();
    for (compressed, one_byte_processor) in [(false, true), (true, false)] {
        let mut trace = Trace {
            buffer_bytes: 1 << 10,
            compressed,
            one_byte_processor,
            ..Trace::default()
        };
        for (number, (filetime, frame)) in frames.iter().enumerate() {
            let (stamp, _) = trace.stamp(*filetime);
            let frame = &frame[..frame.len().min(120)];
            let halves = frame.split_at(frame.len() / 2);
            let event = |keyword| Manifest {
                items: number % 2 == 0,
                ..Manifest::new(trace::NDIS, 1001, keyword)
            };
            let (first, last) = (
                event(ETHERNET_IN & trace::START_ONLY),
                event(ETHERNET_IN & trace::END_ONLY),
            );
            trace.push(
                0,
                stamp,
                first.bytes(stamp, &trace::ndis(7, 7, halves.0, false)),
            );
            trace.push(
                0,
                stamp,
                last.bytes(stamp, &trace::ndis(7, 7, halves.1, true)),
            );
            let packet = PktMon {
                group: number as u64,
                appearance: 1,
                direction: 1,
                media: 1,
                component: 3,
                edge: 1,
                drop_reason: 0,
                bytes_max: 128,
            };
            let event = Manifest::new(trace::PKTMON, 160, 0x10);
            trace.push(1, stamp, event.bytes(stamp, &packet.bytes(frame)));
            trace.push(1, stamp, trace::message(stamp, &[1; 7]));
            trace.push(1, stamp, trace::classic(trace::SYSTEM, 32, stamp, &[0; 40]));
        }
        captures.push((
            format!("written trace, compressed {compressed}"),
            trace.write(),
        ));
    }
    for version in [(1, 1), (2, 0), (2, 3)] {
        let frame = |(filetime, bytes): &(i64, Vec<u8>)| Frame {
            media: 1,
            delta: 1,
            original_len: bytes.len() as u32,
            process: 0,
            filetime: *filetime,
            bytes: bytes[..bytes.len().min(100)].to_vec(),
        };
        let capture = Capture {
            version,
            frames: frames.iter().map(frame).collect(),
            order: vec![5, 4, 3, 2, 1, 0],
            processes: vec![("a\\b.exe".into(), 5)],
            comments: vec![(1, "title".into())],
        };
        captures.push((format!("written capture {version:?}"), capture.write()));
    }
    captures
}

#[test]
fn written_captures_can_be_cut_and_damaged_anywhere() {
    for (name, bytes) in written() {
        let whole = read(&bytes);
        assert!(whole > 0, "{name}");
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]) <= whole, "{name} cut at {length}");
        }
        // Headers come first: all of their bits, and one of each byte behind.
        let headers = 1024 * 8;
        let others = (headers..bytes.len() * 8).step_by(9);
        for bit in (0..headers.min(bytes.len() * 8)).chain(others) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            read(&damaged);
        }
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
        // All of the beginning, and places all over the rest.
        let step = (bytes.len() / 120).max(1);
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
        let rounds = (2_000_000 / bytes.len().max(1)).clamp(4, 100);
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
