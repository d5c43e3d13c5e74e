//! Secrets that come behind the packets that they open: at any place of a pcapng file, in blocks of any size, and in key
//! logs that are written while their sessions are watched.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use support::{
    Folder,
    files::Pcap,
    packets::Packet,
    run::{self, Run},
};
use tlscope::{
    limits::Limits,
    pipeline::{self, Input, Options, Progress},
    tls::keylog::Secrets,
};

const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The blocks of a bundled capture, with their types.
fn blocks(name: &str) -> Vec<(u32, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("captures")
        .join(name);
    let bytes = std::fs::read(path).unwrap();
    let (mut at, mut blocks) = (0, Vec::new());
    while at < bytes.len() {
        let length = u32_at(&bytes, at + 4) as usize;
        blocks.push((u32_at(&bytes, at), bytes[at..at + length].to_vec()));
        at += length;
    }
    blocks
}

/// The records of a file, without its name.
fn records(file: &[u8], options: &Options) -> Vec<String> {
    let run = run::bytes(file, options);
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    let lines = |run: &Run| {
        let name = run.records[0].capture.to_string();
        let lines = run
            .ndjson
            .lines()
            .filter(|line| line.contains("\"handshake\""));
        lines.map(|line| line.replace(&name, "")).collect()
    };
    lines(&run)
}

/// A secrets block with more lines in it than it had.
fn longer(block: &[u8], lines: usize) -> Vec<u8> {
    let length = u32_at(block, 12) as usize;
    let mut log = b"# nothing that opens anything, line by line\n".repeat(lines);
    log.extend(&block[16..16 + length]);
    let mut body = 0x544c_534b_u32.to_le_bytes().to_vec();
    body.extend((log.len() as u32).to_le_bytes());
    body.extend(log);
    body.resize(body.len().next_multiple_of(4), 0);
    let whole = (12 + body.len() as u32).to_le_bytes();
    let mut block = DECRYPTION_SECRETS.to_le_bytes().to_vec();
    block.extend(whole);
    block.extend(body);
    block.extend(whole);
    block
}

#[test]
fn a_secrets_block_may_stand_anywhere_and_have_any_size() {
    for name in [
        "with-keys-embedded.pcapng",
        "keys-tls13-inside.pcapng",
        "keys-quic.pcapng",
    ] {
        let blocks = blocks(name);
        let secrets = &blocks
            .iter()
            .find(|(kind, _)| *kind == DECRYPTION_SECRETS)
            .unwrap()
            .1;
        let rest: Vec<&[u8]> = (blocks.iter())
            .filter(|(kind, _)| *kind != DECRYPTION_SECRETS)
            .map(|(_, block)| &block[..])
            .collect();
        let with = |at: usize, secrets: &[u8]| {
            let (front, back) = rest.split_at(at);
            [front.concat(), secrets.to_vec(), back.concat()].concat()
        };
        let expected = records(&with(1, secrets), &run::options());
        assert!(
            expected
                .iter()
                .any(|line| line.contains("\"decrypted\":true"))
        );
        let small = |threads: usize| Options {
            threads,
            limits: Limits {
                block_bytes: 4096,
                packet_bytes_max: 64 << 10,
                ..Limits::default()
            },
            ..run::options()
        };
        let large = longer(secrets, 5000);
        for at in [1, 2, rest.len() / 2, rest.len() - 1, rest.len()] {
            for threads in [1, 3] {
                for secrets in [secrets, &large] {
                    let found = records(&with(at, secrets), &small(threads));
                    assert_eq!(found, expected, "{name}: at {at} of {}", rest.len());
                }
            }
        }
    }
}

/// The packets of a bundled capture, as of now.
fn packets_of_now(name: &str) -> (Vec<Packet>, SystemTime) {
    let now = SystemTime::now();
    let now_ns = now.duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let blocks = blocks(name);
    let packets = blocks.iter().filter(|(kind, _)| *kind == ENHANCED_PACKET);
    let packets = packets.map(|(_, block)| {
        let length = u32_at(block, 20) as usize;
        Packet::new(now_ns, block[28..28 + length].to_vec())
    });
    (packets.collect(), now)
}

#[test]
fn packets_wait_for_a_log_that_is_written_a_moment_later() {
    let folder = Folder::new("late-keys");
    let (packets, captured) = packets_of_now("with-keys.pcapng");
    let file: PathBuf = folder.file("now.pcap", &Pcap::default().write(&packets));
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/with-keys.keys");
    let log = std::fs::read(log).unwrap();
    let secrets = Arc::new(Secrets::default());
    let progress = Arc::new(Progress::default());
    let looked = Arc::new(AtomicBool::new(false));
    let look = {
        let (secrets, looked) = (Arc::clone(&secrets), Arc::clone(&looked));
        move || {
            // The log has its lines a fifth of a second behind the packets, and not before.
            if captured.elapsed().unwrap() >= Duration::from_millis(200) {
                secrets.read(&log, 0, 1000);
            }
            looked.store(true, Ordering::SeqCst);
        }
    };
    let options = Options {
        secrets,
        look_for_secrets: Some(Arc::new(look)),
        follow: Some(Arc::new(Vec::new)),
        ..run::options()
    };
    let records = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !looked.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_millis(300));
            progress.stop.store(true, Ordering::SeqCst);
        });
        pipeline::run(&[Input::File(file)], &options, &progress, &mut |taken| {
            records.lock().unwrap().push(taken.record.clone());
            Ok(())
        })
        .unwrap();
    });
    let records = records.into_inner().unwrap();
    assert!(records.iter().any(|record| record.decrypted));
}
