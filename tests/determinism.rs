//! The report is the same, byte for byte, for any number of threads: over all captures as one stream, with blocks so
//! small that they end in the middle of handshakes, and with so little memory that connections are given up.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use std::path::PathBuf;
use support::{
    Folder, Random, file_name,
    files::Pcap,
    packets::{Packet, Talk, Who},
    run,
    tls::{self, Hello},
};
use tlscope::pipeline::{self, Options};

#[track_caller]
fn same_for_any_threads(paths: &[PathBuf], make: impl Fn() -> Options) -> run::Run {
    let with = |threads| {
        let options = Options { threads, ..make() };
        run::files(paths, &options)
    };
    let one = with(1);
    for threads in [2, 3, 8] {
        // More than once: what goes wrong between threads goes wrong sometimes.
        for _ in 0..2 {
            let other = with(threads);
            if one.ndjson != other.ndjson {
                let differing = one
                    .ndjson
                    .lines()
                    .zip(other.ndjson.lines())
                    .position(|(one, other)| one != other);
                panic!("{threads} threads: line {differing:?} is another");
            }
        }
    }
    one
}

/// The bundled captures, some of them twice: their conversations end and begin again.
fn all() -> Vec<PathBuf> {
    let captures: Vec<PathBuf> = support::captures()
        .iter()
        .map(|path| PathBuf::from("captures").join(file_name(path)))
        .collect();
    [&captures[..], &captures[..8]].concat()
}

/// Many conversations that lie across one another, some never closed.
fn crowd(folder: &Folder) -> PathBuf {
    let mut random = Random::new(7);
    let mut packets: Vec<Packet> = Vec::new();
    for number in 0..150 {
        let flights = tls::flights(&Hello {
            padding: random.below(900),
            ..Hello::default()
        });
        let mut talk = Talk::new(
            &format!("192.0.2.{}:{}", 1 + number % 50, 40_000 + number),
            &format!("198.51.100.{}:443", 1 + number % 7),
        );
        talk.time_ns += random.below(2_000_000_000) as i64;
        talk.open();
        let heard = 1 + random.below(flights.len());
        for (who, bytes) in &flights[..heard] {
            talk.wait_ms(random.below(300) as i64);
            talk.send_cut(*who, bytes, 200 + random.below(1200));
        }
        match random.below(3) {
            0 => drop(talk.close()),
            1 => drop(talk.rst(Who::Server)),
            _ => {}
        }
        packets.extend(talk.packets);
    }
    packets.sort_by_key(|packet| packet.time_ns);
    folder.file("crowd.pcap", &Pcap::default().write(&packets))
}

#[test]
fn all_captures_as_one_stream() {
    let run = same_for_any_threads(&all(), run::options);
    assert!(run.records.len() > 60);
}

#[test]
fn small_blocks() {
    let folder = Folder::new("determinism-blocks");
    let crowd = crowd(&folder);
    for block_bytes in [1_000, 20_000] {
        let run = same_for_any_threads(std::slice::from_ref(&crowd), || {
            let mut options = run::options();
            options.limits.block_bytes = block_bytes;
            options
        });
        assert_eq!(run.summary.connections, 150);
    }
}

/// A server that takes four minutes to answer, in a capture of which a block can span days: where blocks end must not decide
/// what is over.
#[test]
fn quiet_captures_in_blocks_of_any_size() {
    let flights = tls::flights(&Hello::default());
    let mut packets: Vec<Packet> = Vec::new();
    for number in 0..40_i64 {
        let mut talk = Talk::new(
            &format!("192.0.2.9:{}", 40_000 + number),
            "198.51.100.9:443",
        );
        talk.time_ns += number * 3_600_000_000_000;
        talk.open();
        for (who, bytes) in &flights {
            if *who == Who::Server {
                talk.wait_ms(240_000);
            }
            talk.send(*who, bytes);
        }
        packets.extend(talk.close().packets.clone());
    }
    let sorted = |block_bytes: usize| {
        let mut options = run::options();
        options.limits.block_bytes = block_bytes;
        let run = run::packets_with(&packets, &options);
        let records = run.records.iter();
        let mut told: Vec<_> = records
            .map(|record| (record.start, record.end, format!("{:?}", record.outcome)))
            .collect();
        told.sort();
        told
    };
    let whole = sorted(1 << 20);
    assert_eq!(whole.len(), 40);
    for block_bytes in [700, 1_500, 4_000, 9_000, 30_000] {
        assert_eq!(sorted(block_bytes), whole, "{block_bytes}");
    }
}

#[test]
fn at_the_memory_cap() {
    let folder = Folder::new("determinism-memory");
    let crowd = crowd(&folder);
    let mut evicted = Vec::new();
    for memory in [60_000, 150_000] {
        let run = same_for_any_threads(std::slice::from_ref(&crowd), || {
            let mut options = run::options();
            options.limits.block_bytes = 5_000;
            options.limits.flow_memory_bytes_max = memory;
            options
        });
        evicted.push(run.skipped("connections_evicted"));
    }
    assert!(evicted[0] > evicted[1] && evicted[1] > 0, "{evicted:?}");
}

/// Room is made, or there is nothing left to make it of: it ends either way. Places in the wheel that replaced conversations
/// left behind were counted while room was made and not when it was thought to be enough, which had no end.
#[test]
fn at_any_memory_cap() {
    let folder = Folder::new("determinism-any-memory");
    let crowd = crowd(&folder);
    for memory in [
        1, 5_000, 20_000, 30_000, 40_000, 50_000, 55_000, 57_500, 62_500, 70_000,
    ] {
        let mut options = run::options();
        options.limits.block_bytes = 5_000;
        options.limits.flow_memory_bytes_max = memory;
        let run = run::files(std::slice::from_ref(&crowd), &options);
        assert!(run.skipped("connections_evicted") > 0, "{memory}");
    }
}

/// What a hello lists is held as long as its connection: it counts where it is much.
#[test]
fn long_hellos_count_as_memory() {
    let folder = Folder::new("determinism-long-hellos");
    let evicted = |protocols: usize| {
        let mut packets = Vec::new();
        for number in 0..200 {
            let flights = tls::flights(&Hello {
                alpn: vec!["protocol"; protocols],
                ..Hello::default()
            });
            let mut talk = Talk::new(
                &format!("192.0.2.1:{}", 40_000 + number),
                "198.51.100.1:443",
            );
            talk.open();
            talk.send_cut(Who::Client, &flights[0].1, 1_400);
            packets.extend(talk.packets);
        }
        let path = folder.file(
            &format!("{protocols}.pcap"),
            &Pcap::default().write(&packets),
        );
        let mut options = run::options();
        // For some thousand bytes of each connection.
        options.limits.flow_memory_bytes_max = 100 * 16 * 1_024;
        run::files(&[path], &options).skipped("connections_evicted")
    };
    assert_eq!(evicted(2), 0);
    assert!(evicted(500) > 100);
}

#[test]
fn caps_on_what_is_remembered() {
    let run = same_for_any_threads(&all(), || {
        let mut options = run::options();
        options.limits.block_bytes = 3_000;
        options.limits.interned_max = 2;
        options.limits.tls_endpoints_max = 3;
        options.all_connections = true;
        options
    });
    assert!(run.records.len() > 60);
}

/// A thread that panics ends the run, as it does where there is only one: the others do not wait for it for ever.
#[test]
fn a_panic_is_handed_on() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static RENDERED: AtomicU32 = AtomicU32::new(0);
    // Once: where each panics, none is left to wait.
    fn render(_: &tlscope::record::Handshake, _: &mut Vec<u8>) {
        let first = RENDERED.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!first, "meant to be seen by the test");
    }
    let inputs: Vec<_> = all().into_iter().map(pipeline::Input::File).collect();
    for threads in [1, 2, 4] {
        RENDERED.store(0, Ordering::SeqCst);
        let mut options = Options {
            threads,
            render: Some(render),
            ..run::options()
        };
        options.limits.block_bytes = 3_000;
        let (inputs, (told, ends)) = (inputs.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let progress = pipeline::Progress::default();
            let run = || pipeline::run(&inputs, &options, &progress, &mut |_| Ok(()));
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            told.send(ended.is_err()).unwrap();
        });
        let panicked = ends.recv_timeout(std::time::Duration::from_secs(60));
        assert_eq!(panicked, Ok(true), "{threads} threads");
    }
}
