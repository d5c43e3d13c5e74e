//! pktmon's traces, written here and read again: each packet seen at four places is counted once.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod support;

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};
use support::trace::{self, Manifest, PKTMON, START, Trace};
use support::windows::{frames, read};
use support::{Folder, run};
use tlscope::capture::Block;
use tlscope::capture::etl::{EtlReader, Note};
use tlscope::limits::Limits;
use tlscope::pipeline::Options;

/// A trace by pktmon: each frame at four places; the last of them drops some.
fn pktmon(trace: &mut Trace, numbered: bool, bytes_max: usize, dropped: bool) -> Vec<i64> {
    let places = [(72_u16, 1_u16, 1_u16), (30, 1, 1), (30, 2, 1), (12, 1, 3)];
    let mut times = Vec::new();
    for (number, (filetime, frame)) in frames().iter().enumerate() {
        for (appearance, (component, edge, media)) in places.iter().enumerate() {
            let (stamp, time) = trace.stamp(filetime + appearance as i64 * 20);
            let drops = dropped && appearance == 3 && number % 10 == 0;
            let event = Manifest {
                thread: (0, 0),
                ..Manifest::new(PKTMON, if drops { 170 } else { 160 }, 0x10)
            };
            let payload = trace::PktMon {
                group: if numbered {
                    number as u64
                } else {
                    (number * 4 + appearance) as u64
                },
                appearance: if numbered { appearance as u16 + 1 } else { 0 },
                direction: 1,
                media: *media,
                component: *component,
                edge: *edge,
                drop_reason: if drops { 909 } else { 0 },
                bytes_max,
            };
            // IP only, at the last place.
            let bytes = if *media == 3 {
                payload.bytes(&frame[14..])
            } else {
                payload.bytes(frame)
            };
            trace.push(number % 2, stamp, event.bytes(stamp, &bytes));
            if appearance == 0 {
                times.push(time);
            }
        }
    }
    let (stamp, _) = trace.stamp(START + 600_000_000);
    let component = [
        &[72, 0, 2, 0][..],
        &trace::utf16("netvsc.sys"),
        &trace::utf16("Network Adapter"),
    ]
    .concat();
    trace.push(
        0,
        stamp,
        Manifest::new(PKTMON, 20, 1).bytes(stamp, &component),
    );
    times
}

#[test]
fn each_packet_of_pktmon_is_counted_once_with_and_without_numbers() {
    for (numbered, compressed) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut trace = Trace {
            compressed,
            buffer_bytes: 64 << 10,
            ..Trace::default()
        };
        let times = pktmon(&mut trace, numbered, usize::MAX, false);
        let (shown, _, reader) = read(&trace.write(), &Limits::default());
        let once: Vec<_> = shown.iter().map(|one| one.bytes.clone()).collect();
        let wanted: Vec<_> = frames().into_iter().map(|(_, frame)| frame).collect();
        assert!(
            once == wanted,
            "numbered {numbered} compressed {compressed}"
        );
        assert!(
            shown
                .iter()
                .zip(&times)
                .all(|(one, time)| one.filetime() == *time),
            "the earliest is kept"
        );
        assert_eq!(reader.summary().packets_folded, 3 * frames().len() as u64);
        assert_eq!(reader.interfaces()[0].name.as_deref(), Some("netvsc.sys"));
        assert_eq!(reader.extra(1).unwrap().process_id, None);
    }
}

#[test]
fn packets_cut_by_pktmon_are_folded_too_and_said_to_be_cut() {
    for numbered in [true, false] {
        let mut trace = Trace::default();
        pktmon(&mut trace, numbered, 128, false);
        let (shown, _, reader) = read(&trace.write(), &Limits::default());
        assert_eq!(shown.len(), frames().len(), "numbered {numbered}");
        let note = reader
            .summary()
            .notes
            .into_iter()
            .find(|note| matches!(note, Note::PacketsCut { .. }))
            .unwrap();
        assert!(matches!(
            note,
            Note::PacketsCut {
                bytes: 128,
                pktmon: true,
                ..
            }
        ));
        assert!(note.to_string().contains("--pkt-size 0"));
        assert!(
            shown
                .iter()
                .zip(frames())
                .all(|(one, (_, frame))| one.packet.original_len as usize == frame.len())
        );
    }
}

#[test]
fn dropped_packets_name_the_frame_that_shows_them() {
    let mut trace = Trace::default();
    pktmon(&mut trace, true, usize::MAX, true);
    let mut reader =
        EtlReader::open(Cursor::new(trace.write()), "test", &Limits::default()).unwrap();
    let (mut shown, mut drops, mut block) = (Vec::new(), Vec::new(), Block::default());
    loop {
        let more = reader.fill(&mut block).unwrap();
        for (index, packet) in block.packets.iter().enumerate() {
            let cause = block.noted(index).and_then(|noted| noted.extra().dropped);
            assert_eq!(cause.is_some(), block.is_repeated(index));
            match cause {
                Some(cause) => drops.push((packet.frame, cause)),
                None => shown.push(packet.frame),
            }
        }
        if !more {
            break;
        }
    }
    assert_eq!(shown.len(), frames().len());
    assert_eq!(drops.len(), frames().len().div_ceil(10));
    for (number, (frame, cause)) in drops.into_iter().enumerate() {
        assert_eq!((cause.reason, cause.location), (909, 0xE000_0123));
        assert_eq!(frame, shown[number * 10]);
    }
    assert_eq!(reader.summary().drops, frames().len().div_ceil(10) as u64);
}

#[test]
fn drops_are_facts_of_their_connections() {
    for numbered in [true, false] {
        let mut trace = Trace::default();
        pktmon(&mut trace, numbered, usize::MAX, true);
        let run = |threads| {
            let options = Options {
                threads,
                ..run::options()
            };
            run::bytes(&trace.write(), &options)
        };
        let one = run(1);
        assert_eq!(one.summary.packets, frames().len() as u64);
        let told: Vec<_> = (one.all.iter())
            .filter_map(|record| record.recording.as_ref())
            .flat_map(|recording| &recording.drops)
            .collect();
        assert!(!told.is_empty(), "numbered {numbered}");
        for drop in &told {
            assert_eq!((drop.reason, &*drop.location), (909, "0xe0000123"));
            assert_eq!(drop.reason_text, None, "the trace has no words for it");
        }
        assert!(told.iter().any(|drop| drop.payload_bytes > 0));
        let recordings = |run: &run::Run| -> Vec<_> {
            let all = run.all.iter();
            all.map(|record| record.recording.clone()).collect()
        };
        assert_eq!(recordings(&run(3)), recordings(&one));
    }
}

#[test]
fn a_trace_through_a_pipe_or_compressed_is_the_same_trace() {
    let mut trace = Trace::default();
    pktmon(&mut trace, true, usize::MAX, true);
    let file = trace.write();
    let folder = Folder::new("pktmon-pipe");
    let plain = folder.file("a.etl", &file);
    // A frame of lz4 with stored blocks: any program that compresses would do.
    let mut packed = vec![0x04, 0x22, 0x4D, 0x18, 0x60, 0x70, 0x73];
    for part in file.chunks(4 << 20) {
        packed.extend((part.len() as u32 | 1 << 31).to_le_bytes());
        packed.extend(part);
    }
    packed.extend([0; 4]);
    let compressed = folder.file("a.etl.lz4", &packed);
    let facts = |run: &run::Run| {
        let all = run.all.iter();
        let facts = all.map(|one| (one.start, one.outcome, one.recording.clone()));
        (facts.collect::<Vec<_>>(), run.summary.packets)
    };
    let options = run::options();
    let expected = run::files(&[plain], &options);
    let expanded = run::files(std::slice::from_ref(&compressed), &options);
    assert_eq!(facts(&expanded), facts(&expected));
    assert_eq!(expanded.summary.captures[0].format, "etl in lz4");
    let small = Options {
        limits: Limits {
            spooled_bytes_max: file.len() / 2,
            ..Limits::default()
        },
        ..run::options()
    };
    let refused = run::files(&[compressed], &small).errors[0].to_string();
    assert!(refused.contains("held in memory"), "{refused}");

    let mut child = Command::new(env!("CARGO_BIN_EXE_tlscope"))
        .args(["--format", "ndjson", "--fail-on", "never", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&file).unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        lines.contains(r#""format":"etl""#) && lines.contains(r#""reason":909"#),
        "{lines}"
    );
}
