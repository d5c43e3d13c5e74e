//! Whatever the bytes, there is a report: every prefix of every capture, thousands of flipped bits, and caps so small
//! that all of them are hit. No panic, no endless loop, no more memory than allowed, and nothing dropped in silence.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use Who::{Client, Server};
use std::{fs, time::Instant};
use support::{
    Random, file_name,
    files::{Pcap, Pcapng},
    packets::{ACK, Packet, Talk, Who},
    run::{self, Run},
    tls::{self, Hello},
};
use tlscope::{
    limits::Limits,
    pipeline::Options,
    record::{Defect, Outcome},
};

/// A file so broken that a run takes longer than this is stuck.
const SECONDS_MAX: u64 = 5;
/// Prefixes of one capture that are tried, spread evenly, on top of those of its first bytes.
const PREFIXES: usize = 50;
/// Mutations of each capture.
const MUTATIONS: u64 = 40;

fn options() -> Options {
    let mut options = run::options();
    options.limits.block_bytes = 16 << 10;
    options.all_connections = true;
    options
}

fn survive(name: &str, bytes: &[u8], options: &Options) -> Run {
    let started = Instant::now();
    let run = run::bytes(bytes, options);
    assert!(
        started.elapsed().as_secs() < SECONDS_MAX,
        "{name} took {:?}",
        started.elapsed()
    );
    check(name, &run, &options.limits);
    run
}

/// What holds for every report.
fn check(name: &str, run: &Run, limits: &Limits) {
    let shown: u64 = run.summary.by_outcome.values().sum();
    assert_eq!(shown, run.summary.handshakes, "{name}");
    assert_eq!(run.records.len() as u64, run.summary.handshakes, "{name}");
    assert!(run.errors.len() <= 1, "{name}: {:?}", run.errors);
    for record in &run.all {
        assert!(record.alerts.len() <= limits.alerts_max, "{name}");
        assert!(
            record.certificates.len() <= limits.certificates_max,
            "{name}"
        );
        assert!(
            record.client_certificates.len() <= limits.certificates_max,
            "{name}"
        );
        for hello in [&record.client_hello, &record.second_client_hello]
            .into_iter()
            .flatten()
        {
            let shape = &hello.shape;
            let longest = [
                shape.cipher_suites.len(),
                shape.extensions.len(),
                shape.supported_groups.as_ref().map_or(0, Vec::len),
                shape.signature_algorithms.as_ref().map_or(0, Vec::len),
                shape.alpn.as_ref().map_or(0, Vec::len),
            ];
            assert!(
                longest
                    .iter()
                    .all(|&length| length <= limits.list_entries_max),
                "{name}"
            );
        }
    }
    for line in run.ndjson.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["type"].is_string(), "{name}");
    }
}

/// The bundled captures and some that no network gave us.
fn samples() -> Vec<(String, Vec<u8>)> {
    let mut samples: Vec<(String, Vec<u8>)> = support::captures()
        .iter()
        .map(|path| (file_name(path).to_owned(), fs::read(path).unwrap()))
        .collect();
    let packets = tls::talk(&Hello::post_quantum(), 700).packets;
    samples.push(("built.pcap".into(), Pcap::default().write(&packets)));
    samples.push(("built-be.pcapng".into(), Pcapng::whole(true, &packets)));
    let modified = Pcap {
        big_endian: true,
        modified: true,
        nanoseconds: false,
        link: 1,
    };
    samples.push(("built-modified.pcap".into(), modified.write(&packets)));
    samples
}

#[test]
fn every_prefix_is_survived() {
    for (name, bytes) in samples() {
        let step = (bytes.len() / PREFIXES).max(1);
        let starts = 0..bytes.len().min(60);
        let spread = (60..bytes.len()).step_by(step);
        for end in starts.chain(spread) {
            let run = survive(&format!("{name}[..{end}]"), &bytes[..end], &options());
            // Either the file ends between two packets, or its fault is told.
            let packets = run.summary.packets;
            assert!(
                run.errors.len() == 1 || packets > 0 || end >= 24,
                "{name}[..{end}]"
            );
        }
        let whole = survive(&name, &bytes, &options());
        assert!(whole.errors.is_empty(), "{name}");
    }
}

/// Every single byte for a small capture of each format.
#[test]
fn a_cut_is_told_at_every_byte() {
    let packets = &tls::talk(&Hello::default(), 1400).packets[..4];
    for file in [
        Pcap::default().write(packets),
        Pcapng::whole(false, packets),
    ] {
        let mut seen = 0;
        for end in 0..file.len() {
            let run = survive(&format!("{end}"), &file[..end], &options());
            assert!(run.summary.packets >= seen, "{end}: packets vanish");
            seen = run.summary.packets;
            let told = run.errors.len() == 1;
            let whole = run.summary.bytes == end as u64 && end > 0;
            assert!(
                told != whole,
                "{end}: {:?}, {} bytes",
                run.errors,
                run.summary.bytes
            );
        }
    }
}

#[test]
fn flipped_bits_are_survived() {
    for (name, bytes) in samples() {
        for seed in 0..MUTATIONS {
            let mut random = Random::new(seed + 1);
            let mut broken = bytes.clone();
            for _ in 0..1 + random.below(8) {
                let at = random.below(broken.len());
                broken[at] ^= 1 << random.below(8);
            }
            survive(&format!("{name} seed {seed}"), &broken, &options());
        }
    }
}

/// Flips only inside packets, so that each gets through the file format to the parsers behind it.
#[test]
fn flipped_payloads_are_survived() {
    for hello in [Hello::default(), Hello::post_quantum()] {
        let packets = tls::talk(&hello, 1400).packets;
        for seed in 0..300 {
            let mut random = Random::new(seed + 1000);
            let mut broken = packets.clone();
            for _ in 0..1 + random.below(4) {
                let packet = random.below(broken.len());
                let bytes = &mut broken[packet].bytes;
                // Behind the addresses, so that the conversation stays one.
                let at = 34 + random.below(bytes.len() - 34);
                bytes[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => random.next() as u8,
                    _ => bytes[at] ^ (1 << random.below(8)),
                };
            }
            survive(
                &format!("seed {seed}"),
                &Pcap::default().write(&broken),
                &options(),
            );
        }
    }
}

/// Each length and count in a hello takes extreme values.
#[test]
fn every_byte_of_a_hello_takes_extreme_values() {
    let hello = Hello::default().record();
    for at in 0..hello.len() {
        for value in [0, 0x7f, 0xff] {
            let mut broken = hello.clone();
            broken[at] = value;
            let mut talk = Talk::default();
            talk.open();
            talk.send(Client, &broken);
            talk.send(Server, &tls::alert(2, 50));
            talk.close();
            survive(
                &format!("byte {at} is {value}"),
                &Pcap::default().write(&talk.packets),
                &options(),
            );
        }
    }
}

#[test]
fn random_bytes_are_survived() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut talk = Talk::default();
        talk.open();
        for _ in 0..10 {
            let who = if random.below(2) == 0 { Client } else { Server };
            let mut noise: Vec<u8> = (0..random.below(1400))
                .map(|_| random.next() as u8)
                .collect();
            // Often enough it looks like the start of a record.
            if random.below(2) == 0 && noise.len() > 11 {
                noise[..3].copy_from_slice(&[20 + random.below(4) as u8, 3, 1]);
                noise[5] = random.below(24) as u8;
            }
            talk.send(who, &noise);
        }
        talk.close();
        survive(
            &format!("seed {seed}"),
            &Pcap::default().write(&talk.packets),
            &options(),
        );
    }
}

// ---- The caps ----------------------------------------------------------------------------------

fn with(change: impl FnOnce(&mut Limits)) -> Options {
    let mut options = options();
    change(&mut options.limits);
    options
}

fn of(talk: &Talk, options: &Options) -> Run {
    survive("capped", &Pcap::default().write(&talk.packets), options)
}

/// A handshake whose hello's first segment comes last, after `waiting` others.
fn late_start(waiting: usize) -> Talk {
    let flights = tls::flights(&Hello {
        padding: waiting * 100,
        ..Hello::default()
    });
    let mut talk = Talk::default();
    talk.open();
    let hello = &flights[0].1;
    let pieces: Vec<(usize, &[u8])> = hello.chunks(100).enumerate().collect();
    for (index, piece) in pieces[1..].iter().chain([&pieces[0]]) {
        talk.segment(Client, ACK, (index * 100) as u32, piece);
    }
    talk.sent[0] = hello.len() as u32;
    for (who, bytes) in &flights[1..] {
        talk.send(*who, bytes);
    }
    talk.close();
    talk
}

#[test]
fn out_of_order_segments_are_capped() {
    let talk = late_start(20);
    let free = of(&talk, &options());
    assert!(free.only().client_hello.is_some() && free.only().outcome.is_complete());
    let by_count = with(|limits| limits.out_of_order_segments_max = 5);
    let by_bytes = with(|limits| limits.out_of_order_bytes_max = 600);
    for options in [by_count, by_bytes] {
        let run = of(&talk, &options);
        let record = run.only();
        // Its start came too late; a part of it is said to be one.
        let whole = record.client_hello.is_some() && !record.defects.contains(&Defect::Malformed);
        assert!(!whole);
        assert!(
            record.server_hello.is_some(),
            "the other direction is not harmed"
        );
    }
}

#[test]
fn what_the_out_of_order_cap_dropped_is_counted() {
    let run = of(
        &late_start(20),
        &with(|limits| limits.out_of_order_segments_max = 5),
    );
    assert!(
        run.skipped("segments_out_of_order_cap") > 0,
        "{:?}",
        run.summary.skipped
    );
    // The capture lacks nothing: it is the cap that gave up, not the capture.
    assert_eq!(run.skipped("stream_gaps"), 0, "{:?}", run.summary.skipped);
}

#[test]
fn messages_are_capped() {
    let talk = tls::talk(&Hello::post_quantum(), 1400);
    let run = of(&talk, &with(|limits| limits.message_bytes_max = 1000));
    let record = run.only();
    assert!(record.client_hello.is_none());
    assert!(record.defects.contains(&Defect::MessageTooLong));
    assert!(run.skipped("messages_too_long") > 0);
    assert!(record.server_hello.is_some());
}

#[test]
fn the_number_of_messages_is_capped() {
    let mut talk = Talk::default();
    talk.open();
    talk.send(Client, &Hello::default().record());
    // HelloRequests without end, then an alert that nobody should need to see.
    let requests = tls::record(22, 0x0303, &tls::message(0, b"").repeat(100));
    for _ in 0..20 {
        talk.send(Server, &requests);
    }
    talk.send(Server, &tls::alert(2, 40));
    talk.close();
    let run = of(&talk, &with(|limits| limits.messages_max = 50));
    assert!(run.only().alerts.is_empty(), "the direction was left alone");
}

#[test]
fn alerts_are_capped() {
    let mut talk = Talk::default();
    talk.open();
    talk.send(Client, &Hello::default().record());
    talk.send(Server, &tls::alert(1, 112).repeat(100));
    talk.close();
    let run = of(&talk, &with(|limits| limits.alerts_max = 3));
    assert_eq!(run.only().alerts.len(), 3);
}

#[test]
fn lists_are_capped() {
    let hello = Hello {
        suites: (0..20_000).collect(),
        groups: (0..5_000).collect(),
        ..Hello::default()
    };
    let mut talk = Talk::default();
    talk.open();
    talk.send_cut(Client, &tls::records(&hello.message(), 16_000), 1400);
    talk.close();
    let run = of(&talk, &with(|limits| limits.list_entries_max = 10));
    let shape = &run.only().client_hello.as_ref().unwrap().shape;
    assert_eq!(shape.cipher_suites.len(), 10);
    assert_eq!(shape.supported_groups.as_ref().unwrap().len(), 10);
    // The fingerprints are of all that was offered; the text would be the lists once more.
    let whole = of(&talk, &with(|limits| limits.list_entries_max = 20_000));
    let all = &whole.only().client_hello.as_ref().unwrap().shape;
    assert_eq!((shape.ja3, &shape.ja4), (all.ja3, &all.ja4));
    assert!(shape.ja3_string.is_empty() && all.ja3_string.len() > 100_000);
}

#[test]
fn certificates_are_capped() {
    let mut talk = Talk::default();
    talk.open();
    talk.send(Client, &Hello::default().record());
    let mut answer = tls::server_hello(0xc02f, None);
    answer.extend(tls::certificate(&[10; 100]));
    talk.send_cut(Server, &tls::records(&answer, 16_000), 1400);
    talk.close();
    let run = of(&talk, &with(|limits| limits.certificates_max = 4));
    assert_eq!(run.only().certificates.len(), 4);
}

#[test]
fn tags_are_capped() {
    let hello = Hello::default();
    let packets: Vec<Packet> = tls::talk(&hello, 1400)
        .packets
        .into_iter()
        .map(|packet| {
            let mut bytes = packet.bytes[..12].to_vec();
            bytes.extend([0x81, 0, 0, 9].repeat(12));
            bytes.extend(&packet.bytes[12..]);
            Packet::new(packet.time_ns, bytes)
        })
        .collect();
    let run = run::packets_with(&packets, &options());
    assert_eq!(run.skipped("packets_nested_too_deep"), packets.len() as u64);
    let run = run::packets_with(
        &packets,
        &with(|limits| limits.encapsulation_depth_max = 20),
    );
    assert!(run.only().outcome.is_complete());
    assert!(run.only().encapsulation.len() <= 20);
}

#[test]
fn packets_are_capped() {
    let mut packets = tls::talk(&Hello::default(), 1400).packets;
    packets.push(Packet::new(packets[0].time_ns, vec![0; 70_000]));
    let run = survive(
        "long packet",
        &Pcap::default().write(&packets),
        &with(|limits| limits.packet_bytes_max = 65_536),
    );
    assert_eq!(run.errors.len(), 1);
    assert!(run.only().outcome.is_complete());
}

#[test]
fn memory_is_capped_and_what_was_given_up_is_counted() {
    // Hellos that wait for their second halves, from thousands of ports.
    let hello = Hello::post_quantum().record();
    let mut packets = Vec::new();
    for number in 0..3_000_u32 {
        let client = format!(
            "192.0.{}.{}:{}",
            2 + number / 60_000,
            1 + number % 200,
            2_000 + number
        );
        let mut talk = Talk::new(&client, "198.51.100.25:443");
        talk.time_ns += i64::from(number) * 1_000_000;
        talk.open();
        talk.send(Client, &hello[..1200]);
        packets.extend(talk.packets);
    }
    packets.sort_by_key(|packet| packet.time_ns);
    let run = run::packets_with(
        &packets,
        &with(|limits| limits.flow_memory_bytes_max = 1 << 20),
    );
    let evicted = run.skipped("connections_evicted");
    assert!(evicted > 1_000, "{evicted}");
    assert_eq!(run.summary.connections, 3_000);
    assert_eq!(run.all.len(), 3_000);
    let marked = run
        .all
        .iter()
        .filter(|record| record.defects.contains(&Defect::Evicted))
        .count();
    assert_eq!(marked as u64, evicted);
    assert!(
        run.all
            .iter()
            .all(|record| record.outcome == Outcome::Truncated)
    );
}

#[test]
fn idle_connections_end() {
    let mut packets = Vec::new();
    for number in 0..50_u16 {
        let mut talk = Talk::new(
            &format!("192.0.2.10:{}", 50_000 + number),
            "198.51.100.25:443",
        );
        talk.time_ns += i64::from(number) * 20_000_000_000;
        talk.open();
        talk.send(Client, &Hello::default().record())
            .acknowledge(Server);
        packets.extend(talk.packets);
    }
    let mut options = with(|limits| limits.block_bytes = 400);
    options.limits.idle_ns = 30_000_000_000;
    let run = run::packets_with(&packets, &options);
    assert_eq!(run.records.len(), 50);
    let silent = run
        .records
        .iter()
        .filter(|record| record.outcome == Outcome::HelloUnanswered)
        .count();
    assert!(silent >= 49, "{silent}");
}

#[test]
fn an_absurd_time_ends_nothing() {
    let mut packets = tls::talk(&Hello::post_quantum(), 300).packets;
    let middle = packets.len() / 2;
    for wrong in [i64::from(u32::MAX) * 1_000_000_000, 0] {
        packets[middle].time_ns = wrong;
        let mut options = options();
        options.limits.block_bytes = 2_000;
        let run = run::packets_with(&packets, &options);
        assert!(run.only().outcome.is_complete());
    }
}
