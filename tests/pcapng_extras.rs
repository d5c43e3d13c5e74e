//! What a pcapng file says beside its packets: directions, processes, comments, names, losses. Each is a fact of the
//! connection, or of the capture, in both byte orders; and what is not said is left out.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use support::{
    files::Pcapng,
    packets::Packet,
    run::{self, Run},
    tls::{self, Hello},
};
use tlscope::record::{ConnectionDirection, Recording};

/// Packets of a handshake, and whether the client sent them.
fn packets() -> Vec<(Packet, bool)> {
    let talk = tls::talk(&Hello::post_quantum(), 1400);
    let client = |packet: &Packet| packet.bytes[26..30] == talk.packets[0].bytes[26..30];
    (talk
        .packets
        .iter()
        .map(|packet| (packet.clone(), client(packet))))
    .collect()
}

type Options<'a> = Vec<(u16, &'a [u8])>;

/// A file in which each packet has the options that `of` gives it, by its number and whether the client sent it.
fn file<'a>(big_endian: bool, of: impl Fn(usize, bool) -> Options<'a>) -> Pcapng {
    let mut file = Pcapng::default();
    file.section(big_endian).interface(1, 0, Some(9), None);
    for (index, (packet, client)) in packets().iter().enumerate() {
        file.enhanced_with(0, packet.time_ns as u64, packet, &of(index, *client));
    }
    file
}

fn read(file: &Pcapng) -> Run {
    let run = run::bytes(&file.bytes, &run::options());
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    run
}

fn recording(run: &Run) -> Recording {
    run.only().recording.as_deref().cloned().unwrap_or_default()
}

/// Direction flags as a machine writes them on which the client runs, or the server.
fn flags(big_endian: bool, sent: bool) -> [u8; 4] {
    let flags: u32 = if sent { 2 } else { 1 };
    if big_endian {
        flags.to_be_bytes()
    } else {
        flags.to_le_bytes()
    }
}

#[test]
fn flags_tell_whose_machine_recorded() {
    for big_endian in [false, true] {
        let (sent, received) = (flags(big_endian, true), flags(big_endian, false));
        for (local_is_client, expected) in [
            (true, ConnectionDirection::Outbound),
            (false, ConnectionDirection::Inbound),
        ] {
            let file = file(big_endian, |_, client| {
                let flags = if client == local_is_client {
                    &sent
                } else {
                    &received
                };
                vec![(2, &flags[..])]
            });
            let run = read(&file);
            assert_eq!(recording(&run).direction, Some(expected));
            assert!(run.ndjson.contains(r#""recording":{"direction":""#));
        }
    }
    let unknown = read(&file(false, |_, _| vec![(2, &[0; 4])]));
    assert_eq!(unknown.only().recording, None, "no direction is said");
}

#[test]
fn processes_are_those_of_sent_packets_as_etl2pcapng_writes_them() {
    let (sent, received) = (flags(false, true), flags(false, false));
    // As on a server: what it received names whoever was running.
    let server = read(&file(false, |_, client| match client {
        true => vec![(2, &received), (1, b"PID=4\0\0\0")],
        false => vec![(2, &sent), (1, b"PID=4711")],
    }));
    assert_eq!(server.only().process_id, Some(4711));
    assert!(
        recording(&server).comments.is_empty(),
        "they are no comments of people"
    );
    let received = read(&file(false, |_, _| vec![(2, &received), (1, b"PID=4711")]));
    assert_eq!(received.only().process_id, None);
}

#[test]
fn comments_stand_with_their_packets() {
    let long = "x".repeat(5_000);
    let run = read(&file(true, |index, _| match index {
        0 => vec![(1, "ここで固まる".as_bytes()), (1, b"and again")],
        2 => vec![(1, b"bad \xff byte\0")],
        3 => vec![(1, long.as_bytes())],
        _ => vec![],
    }));
    let comments: Vec<_> = (recording(&run).comments.into_iter())
        .map(|comment| (comment.frame, comment.text.into_string()))
        .collect();
    assert_eq!(comments[0], (1, "ここで固まる".to_owned()));
    assert_eq!(comments[1], (1, "and again".to_owned()));
    assert_eq!(comments[2], (3, r"bad \xff byte".to_owned()));
    let cap = run::options().limits.comment_bytes_max;
    assert_eq!(comments[3], (4, "x".repeat(cap)));
    assert_eq!(comments.len(), 4);
}

#[test]
fn comments_are_capped_and_counted() {
    let run = read(&file(false, |index, _| match index {
        0 => vec![(1, b"again"); 20],
        _ => vec![],
    }));
    let cap = run::options().limits.remarks_max;
    assert_eq!(recording(&run).comments.len(), cap);
    assert_eq!(run.skipped("remarks_cap"), 20 - cap as u64);
}

#[test]
fn interfaces_have_names_in_every_section() {
    let mut file = Pcapng::default();
    let names: [&[(u16, &[u8])]; 2] = [
        &[(2, b"eth0"), (3, b"the inside")],
        &[(2, br"\Device\NPF_{0A1B}"), (3, b"Ethernet 2")],
    ];
    for (section, options) in names.iter().enumerate() {
        file.section(section == 1);
        // An interface that nobody uses comes first, so that numbers matter.
        file.interface(147, 0, None, None);
        let mut body = if section == 1 {
            vec![0, 1, 0, 0]
        } else {
            vec![1, 0, 0, 0]
        };
        body.extend([0; 4]);
        for (code, value) in *options {
            file.option(&mut body, *code, value);
        }
        file.option(&mut body, 0, b"");
        file.block(1, &body);
        for (packet, _) in packets() {
            let mut packet = packet;
            // Another connection in each section: the last byte of both addresses.
            packet.bytes[29] ^= section as u8;
            packet.bytes[33] ^= section as u8;
            let stamp = (packet.time_ns / 1_000) as u64;
            file.enhanced_with(1, stamp, &packet, &[]);
        }
    }
    let run = read(&file);
    let interfaces: Vec<_> = (run.records.iter())
        .map(|record| {
            record
                .recording
                .as_ref()
                .unwrap()
                .interface
                .as_deref()
                .unwrap()
        })
        .collect();
    assert_eq!(interfaces, ["eth0", "Ethernet 2"]);
    let told = &run.summary.captures[0].interfaces;
    assert_eq!(told.len(), 4);
    assert_eq!(told[3].name.as_deref(), Some(r"\Device\NPF_{0A1B}"));
    assert_eq!(told[1].description.as_deref(), Some("the inside"));
}

#[test]
fn the_capture_tells_comments_losses_and_names_of_hosts() {
    for big_endian in [false, true] {
        let mut file = Pcapng::default();
        file.section(big_endian);
        let mut body = if big_endian {
            vec![0, 1, 0, 0]
        } else {
            vec![1, 0, 0, 0]
        };
        body.extend([0; 4]);
        file.option(&mut body, 1, b"mirror of the core switch");
        file.option(&mut body, 9, &[9]);
        file.block(1, &body);
        let mut names = Vec::new();
        file.option(&mut names, 1, b"\xc0\0\x02\x0amail.contoso.com\0");
        file.option(&mut names, 0, b"");
        file.block(4, &names);
        for (packet, _) in packets() {
            file.enhanced_with(0, packet.time_ns as u64, &packet, &[]);
        }
        // Statistics are counts since the beginning: the last ones are the sum.
        for lost in [3u64, 12] {
            let mut body = vec![0; 12];
            let count = if big_endian {
                lost.to_be_bytes()
            } else {
                lost.to_le_bytes()
            };
            file.option(&mut body, 5, &count);
            file.option(&mut body, 7, &[0; 8]);
            file.option(&mut body, 0, b"");
            file.block(5, &body);
        }
        let run = read(&file);
        let capture = &run.summary.captures[0];
        assert_eq!(
            capture.notes,
            [
                "12 packets were lost while recording: what is missing proves nothing",
                "comment in the capture: mirror of the core switch"
            ]
        );
        assert_eq!(&*capture.hosts["192.0.2.10"][0], "mail.contoso.com");
        assert_eq!(run.skipped("blocks_unknown"), 0);
    }
    let silent = read(&file(false, |_, _| vec![]));
    assert!(silent.summary.captures[0].notes.is_empty());
    assert!(silent.summary.captures[0].hosts.is_empty());
}

#[test]
fn any_number_of_threads_and_any_cut_of_blocks_gives_the_same() {
    let flags = flags(false, true);
    let file = file(false, |index, _| match index % 2 {
        0 => vec![(2, &flags), (1, b"even"), (1, b"PID=99")],
        _ => vec![],
    });
    let expected = read(&file);
    assert_eq!(expected.only().process_id, Some(99));
    for (threads, block_bytes) in [(1, 64), (1, 333), (3, 64), (4, 4096)] {
        let mut options = run::options();
        options.threads = threads;
        options.limits.block_bytes = block_bytes;
        let run = run::bytes(&file.bytes, &options);
        assert_eq!(run.only().recording, expected.only().recording);
        assert_eq!(run.only().process_id, Some(99));
    }
}
