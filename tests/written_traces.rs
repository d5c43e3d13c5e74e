//! Windows traces in every variant, written here and read again: for those that no public capture shows.
//!
//! dissect.etl 3.14 accepts what the writer writes: see `support/trace.rs`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod support;

use std::io::Cursor;
use std::path::Path;
use support::trace::{self, ETHERNET_IN, ETHERNET_OUT, Manifest, NDIS, START, Trace};
use support::windows::{self, Shown, frames, read};
use tlscope::capture::block::LinkType;
use tlscope::capture::etl::{Direction, EtlReader, Fact, Note, Place};
use tlscope::limits::Limits;

/// A trace by netsh, its packets dealt to three processors.
fn netsh(trace: &mut Trace, new: bool, narrow: bool, items: bool) -> Vec<i64> {
    let mut times = Vec::new();
    for (number, (filetime, frame)) in frames().iter().enumerate() {
        let (stamp, time) = trace.stamp(*filetime);
        let keyword = if number % 2 == 0 {
            ETHERNET_IN
        } else {
            ETHERNET_OUT
        };
        let event = Manifest {
            narrow,
            items,
            ..Manifest::new(NDIS, 1001, keyword)
        };
        trace.push(
            number / 7 % 3,
            stamp,
            event.bytes(stamp, &trace::ndis(7, 7, frame, new)),
        );
        times.push(time);
    }
    times
}

fn assert_frames(shown: &[Shown], times: &[i64], variant: &str) {
    let frames = frames();
    assert_eq!(shown.len(), frames.len(), "{variant}");
    for (number, ((one, (_, frame)), time)) in shown.iter().zip(&frames).zip(times).enumerate() {
        assert_eq!(one.bytes, *frame, "{variant}: frame {}", number + 1);
        assert_eq!(one.filetime(), *time, "{variant}: frame {}", number + 1);
        assert_eq!(one.packet.frame, number as u64 + 1, "{variant}");
    }
}

/// The whole variants by netsh: name, trace.
fn variants() -> Vec<(&'static str, Trace, Vec<i64>)> {
    let plain = Trace::default;
    let traces = [
        ("plain", plain(), true, false, false),
        (
            "frequency",
            Trace {
                frequency: 3_312_788,
                ..plain()
            },
            true,
            false,
            false,
        ),
        (
            "system-time",
            Trace {
                clock: 2,
                ..plain()
            },
            true,
            false,
            false,
        ),
        (
            "cycles",
            Trace {
                clock: 3,
                ..plain()
            },
            true,
            false,
            false,
        ),
        (
            "compressed",
            Trace {
                compressed: true,
                ..plain()
            },
            true,
            false,
            false,
        ),
        (
            "compressed-large",
            Trace {
                compressed: true,
                buffer_bytes: 1 << 20,
                ..plain()
            },
            true,
            false,
            false,
        ),
        (
            "wrapped",
            Trace {
                reversed: true,
                buffer_bytes: 8 << 10,
                mode: 0x10003,
                ..plain()
            },
            true,
            false,
            false,
        ),
        (
            "wrapped-compressed",
            Trace {
                reversed: true,
                compressed: true,
                buffer_bytes: 8 << 10,
                ..plain()
            },
            true,
            false,
            false,
        ),
        (
            "windows-7",
            Trace {
                one_byte_processor: true,
                build: 7601,
                ..plain()
            },
            false,
            false,
            false,
        ),
        ("32-bit-events", plain(), true, true, false),
        (
            "32-bit-file",
            Trace {
                narrow: true,
                ..plain()
            },
            true,
            true,
            false,
        ),
        ("items", plain(), true, false, true),
        (
            "not-closed",
            Trace {
                ended: false,
                ..plain()
            },
            true,
            false,
            false,
        ),
    ];
    let write = |(name, mut trace, new, narrow, items): (&'static str, Trace, bool, bool, bool)| {
        let times = netsh(&mut trace, new, narrow, items);
        (name, trace, times)
    };
    traces.into_iter().map(write).collect()
}

#[test]
fn every_variant_gives_the_frames_that_were_written() {
    for (name, trace, times) in variants() {
        let file = trace.write();
        if let Some(folder) = std::env::var_os("TLSCOPE_WRITE_TRACES") {
            let hex = |bytes: &[u8]| {
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            };
            let line =
                |(time, (_, frame)): (&i64, (i64, Vec<u8>))| format!("{time}\t{}\n", hex(&frame));
            let truth: String = times.iter().zip(frames()).map(line).collect();
            std::fs::write(Path::new(&folder).join(format!("{name}.etl")), &file).unwrap();
            std::fs::write(Path::new(&folder).join(format!("{name}.tsv")), truth).unwrap();
        }
        let (shown, error, reader) = read(&file, &Limits::default());
        assert!(error.is_none(), "{name}: {error:?}");
        assert_frames(&shown, &times, name);
        let notes = reader.summary().notes;
        let expected: &[Note] = match name {
            "wrapped" => &[Note::Circular],
            "not-closed" => &[Note::NotClosed],
            _ => &[],
        };
        assert_eq!(notes, expected, "{name}");
        assert_eq!(reader.summary().bias_minutes, -60, "{name}");
    }
}

#[test]
fn small_blocks_hold_the_same_packets() {
    for (name, trace, times) in variants() {
        let limits = Limits {
            block_bytes: 3000,
            ..Limits::default()
        };
        let (shown, _, _) = read(&trace.write(), &limits);
        assert_frames(&shown, &times, name);
    }
}

#[test]
fn at_the_memory_cap_all_packets_come_but_not_in_order() {
    let mut trace = Trace::default();
    netsh(&mut trace, true, false, false);
    let limits = Limits {
        trace_open_bytes_max: 20 << 10,
        ..Limits::default()
    };
    let (shown, _, reader) = read(&trace.write(), &limits);
    assert_eq!(shown.len(), frames().len());
    assert!(
        reader
            .summary()
            .notes
            .iter()
            .any(|note| matches!(note, Note::Unordered { .. }))
    );
}

#[test]
fn buffers_and_processors_beyond_the_caps_are_counted() {
    let mut trace = Trace {
        buffer_bytes: 4 << 10,
        ..Trace::default()
    };
    netsh(&mut trace, true, false, false);
    for limits in [
        Limits {
            trace_buffers_max: 2,
            ..Limits::default()
        },
        Limits {
            trace_names_max: 2,
            ..Limits::default()
        },
    ] {
        let (shown, _, reader) = read(&trace.write(), &limits);
        assert!(!shown.is_empty() && shown.len() < frames().len());
        assert!(
            reader
                .summary()
                .notes
                .iter()
                .any(|note| matches!(note, Note::BeyondCaps { buffers: 1.., .. }))
        );
    }
}

#[test]
fn fragments_are_joined_by_thread() {
    let mut trace = Trace {
        build: 7601,
        one_byte_processor: true,
        ..Trace::default()
    };
    let mut times = Vec::new();
    let frames = frames();
    // Two threads write their halves in turn.
    for pair in frames.chunks(2) {
        for part in 0..2 {
            for (thread, (filetime, frame)) in pair.iter().enumerate() {
                let (stamp, time) = trace.stamp(filetime + i64::from(part) * 20);
                let keyword = ETHERNET_IN
                    & if part == 0 {
                        trace::START_ONLY
                    } else {
                        trace::END_ONLY
                    };
                let event = Manifest {
                    thread: (4, thread as u32),
                    ..Manifest::new(NDIS, 1001, keyword)
                };
                let (head, tail) = frame.split_at(frame.len() / 2);
                let bytes = trace::ndis(7, 7, if part == 0 { head } else { tail }, false);
                trace.push(0, stamp, event.bytes(stamp, &bytes));
                if part == 0 {
                    times.push(time);
                }
            }
        }
    }
    // The order of the file is that of the ends; times are those of the starts.
    let (shown, _, reader) = read(&trace.write(), &Limits::default());
    assert_frames(&shown, &times, "fragments");
    assert_eq!(reader.summary().notes, []);
}

#[test]
fn halves_of_packets_are_counted() {
    let mut trace = Trace::default();
    let frames = frames();
    let (frame, other) = (&frames[0].1, &frames[1].1);
    let mut part = |number: i64, keyword: u64, bytes: &[u8]| {
        let event = Manifest::new(NDIS, 1001, keyword);
        let (stamp, _) = trace.stamp(START + number);
        trace.push(
            0,
            stamp,
            event.bytes(stamp, &trace::ndis(7, 7, bytes, false)),
        );
    };
    part(1, ETHERNET_IN & trace::END_ONLY, frame);
    part(2, ETHERNET_IN & trace::START_ONLY, &frame[..40]);
    part(3, ETHERNET_IN, other);
    part(4, ETHERNET_IN & trace::START_ONLY, &other[..30]);
    let (shown, _, reader) = read(&trace.write(), &Limits::default());
    let bytes: Vec<_> = shown.iter().map(|one| one.bytes.clone()).collect();
    assert_eq!(
        bytes,
        [frame[..40].to_vec(), other.clone(), other[..30].to_vec()]
    );
    assert!(shown[0].packet.original_len > 40 && shown[2].packet.original_len > 30);
    assert!(reader.summary().notes.contains(&Note::HalfPackets {
        headless: 1,
        endless: 2
    }));
}

#[test]
fn other_kinds_of_events_are_stepped_over() {
    let mut trace = Trace::default();
    let mut times = Vec::new();
    for (number, (filetime, frame)) in frames().iter().enumerate() {
        let (stamp, time) = trace.stamp(*filetime);
        let other = match number % 6 {
            0 => trace::message(stamp, &[1; 13]),
            1 => trace::kernel(0x0F2E, stamp, &[2; 20]),
            2 => trace::classic([9; 16], 1, stamp, &[3; 5]),
            3 => vec![12, 0, 0x0F, 0xC0, 1, 2, 3, 4, 5, 6, 7, 8],
            4 => {
                let mut long = trace::kernel(0x0500, stamp, &[0; 40]);
                // Performance counters behind the header.
                long[1] = 0x83;
                long
            }
            _ => Manifest::new([5; 16], 1001, 0).bytes(stamp, &[4; 31]),
        };
        trace.push(0, stamp, other);
        let event = Manifest::new(NDIS, 1001, ETHERNET_IN);
        trace.push(
            0,
            stamp,
            event.bytes(stamp, &trace::ndis(7, 7, frame, true)),
        );
        times.push(time);
    }
    let (shown, _, reader) = read(&trace.write(), &Limits::default());
    assert_frames(&shown, &times, "others");
    let summary = reader.summary();
    assert_eq!(summary.events, 1 + 2 * frames().len() as u64);
    assert_eq!(summary.notes, []);
}

#[test]
fn a_damaged_buffer_is_left_and_the_next_one_is_read() {
    let mut trace = Trace {
        buffer_bytes: 8 << 10,
        ..Trace::default()
    };
    netsh(&mut trace, true, false, false);
    let mut file = trace.write();
    // The second event of the second buffer.
    let second = (8 << 10)
        + 72
        + usize::from(u16::from_le_bytes([
            file[(8 << 10) + 72],
            file[(8 << 10) + 73],
        ]))
        .next_multiple_of(8);
    file[second + 2] = 0x77;
    let (shown, error, reader) = read(&file, &Limits::default());
    assert!(error.is_none());
    assert!(shown.len() < frames().len() && shown.len() > frames().len() / 2);
    assert!(reader.summary().notes.contains(&Note::Damaged {
        buffers: 1,
        events: 0
    }));
}

#[test]
fn space_that_was_never_written_is_no_damage() {
    let mut trace = Trace::default();
    let times = netsh(&mut trace, true, false, false);
    let mut file = trace.write();
    file.resize(file.len() + (64 << 10), 0);
    let (shown, error, reader) = read(&file, &Limits::default());
    assert!(error.is_none());
    assert_frames(&shown, &times, "blank tail");
    assert_eq!(reader.summary().notes, [Note::BlankTail]);
}

#[test]
fn media_of_netsh() {
    let frames = frames();
    let ip = &frames[0].1[14..];
    let wifi = [
        &[0x08, 0x41, 0, 0][..],
        &[1; 20],
        &[0xAA, 0xAA, 3, 0, 0, 0, 8, 0],
        ip,
    ]
    .concat();
    let mut trace = Trace::default();
    let mut push = |number: i64, id: u16, keyword: u64, payload: &[u8]| {
        let (stamp, _) = trace.stamp(START + number * 10_000_000);
        trace.push(
            0,
            stamp,
            Manifest::new(NDIS, id, keyword).bytes(stamp, payload),
        );
    };
    push(
        1,
        1001,
        0x8000_0601_C001_0000,
        &trace::ndis(3, 3, &wifi, true),
    );
    push(2, 1001, 0x8000_0602_C000_0200, &trace::ndis(4, 4, ip, true));
    let mut switch = [5_u32, 5, 9]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect::<Vec<_>>();
    switch.extend(
        [
            trace::utf16("port"),
            trace::utf16("nic"),
            trace::utf16("type"),
        ]
        .concat(),
    );
    switch.extend([1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    switch.extend((frames[0].1.len() as u32).to_le_bytes());
    switch.extend(&frames[0].1);
    switch.extend([0; 4]);
    push(3, 1003, 0x8000_0602_C100_0001, &switch);
    push(
        4,
        1001,
        0x8000_0600_C000_0001,
        &trace::ndis(6, 7, &frames[1].1[..60], false),
    );
    let (shown, _, reader) = read(&trace.write(), &Limits::default());
    let links: Vec<u16> = shown.iter().map(|one| one.packet.link.0).collect();
    assert_eq!(links, [105, 101, 1, 1]);
    assert_eq!(
        shown[0].bytes[..2],
        [0x08, 0x01],
        "the payload is not encrypted any more"
    );
    assert_eq!(shown[0].bytes[2..], wifi[2..]);
    assert_eq!(shown[1].bytes, ip);
    assert_eq!(shown[2].bytes, frames[0].1);
    assert_eq!(shown[1].packet.link, LinkType(101));
    let places: Vec<_> = reader
        .interfaces()
        .into_iter()
        .map(|interface| interface.place)
        .collect();
    assert_eq!(
        places[2],
        Place::SwitchPort {
            adapter: 5,
            port: 9
        }
    );
    assert_eq!(
        places[3],
        Place::Adapter {
            adapter: 6,
            lower: 7
        }
    );
    let directions: Vec<_> = (1..=4)
        .map(|frame| reader.extra(frame).unwrap().direction)
        .collect();
    assert_eq!(
        directions,
        [
            Some(Direction::Out),
            Some(Direction::In),
            Some(Direction::In),
            None
        ]
    );
    assert_eq!(reader.extra(1).unwrap().process_id, Some(1000));
}

#[test]
fn names_and_evidence() {
    let mut trace = Trace::default();
    let frames = frames();
    let (stamp, _) = trace.stamp(START + 1);
    trace.push(
        0,
        stamp,
        Manifest::new(NDIS, 1001, ETHERNET_IN).bytes(stamp, &trace::ndis(7, 7, &frames[0].1, true)),
    );
    let mut alert = [40_u32, 1205]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect::<Vec<_>>();
    alert.extend(trace::utf16("mail.example"));
    trace.push(
        0,
        stamp,
        Manifest::new(trace::SCHANNEL, 36888, 0).bytes(stamp, &alert),
    );
    // A process: key, numbers, directory, flags, SID behind two pointers, image name, command line.
    let mut process = vec![0; 8];
    process.extend([77, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    process.extend([0; 8]);
    process.extend([0; 4]);
    process.extend([9; 16]);
    process.extend([1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]);
    process.extend(b"w3wp.exe\0");
    process.extend(trace::utf16("w3wp.exe -secret"));
    trace.push(0, stamp, trace::kernel(0x0303, stamp, &process));
    let mut row = vec![0; 1352];
    row[8] = 7;
    row[0x1C..0x1C + 18].copy_from_slice(&trace::utf16("Ethernet"));
    row[0x21E..0x21E + 8].copy_from_slice(&trace::utf16("NIC"));
    trace.push(0, stamp, trace::classic(trace::SYSTEM, 36, stamp, &row));
    let product = [
        &[0; 8][..],
        &trace::utf16("lab"),
        &trace::utf16("Windows Server 2025"),
    ]
    .concat();
    trace.push(0, stamp, trace::classic(trace::SYSTEM, 32, stamp, &product));
    let mut reader =
        EtlReader::open(Cursor::new(trace.write()), "test", &Limits::default()).unwrap();
    // Names are known before the first packet is read.
    assert_eq!(reader.process_name(77), Some("w3wp.exe"));
    windows::drain(|block| reader.fill(block));
    let interface = &reader.interfaces()[0];
    assert_eq!(
        (interface.name.as_deref(), interface.description.as_deref()),
        (Some("Ethernet"), Some("NIC"))
    );
    let facts: Vec<_> = reader
        .take_evidence()
        .into_iter()
        .map(|evidence| evidence.fact)
        .collect();
    assert_eq!(
        facts,
        [Fact::AlertSent {
            alert: 40,
            state: 1205,
            target: Some("mail.example".to_owned())
        }]
    );
    assert_eq!(
        reader.summary().product.as_deref(),
        Some("Windows Server 2025")
    );
}

#[test]
fn buffers_that_claim_to_expand_for_ever_are_refused() {
    let plain = Trace {
        compressed: true,
        buffer_bytes: 64 << 20,
        ..Trace::default()
    };
    let mut file = plain.write();
    // Twenty bytes that expand to 64 MiB of zeros, thousands of times.
    let mut bomb = vec![0; 72];
    let packed = [
        0xFF, 0xFF, 0xFF, 0x7F, 0, 7, 0, 0x0F, 0xFF, 0, 0, 0xFF, 0xFF, 0xFF, 3, 0, 0, 0, 0, 0,
    ];
    bomb[..4].copy_from_slice(&(72 + packed.len() as u32).to_le_bytes());
    bomb[0x30..0x34].copy_from_slice(&(64_u32 << 20).to_le_bytes());
    bomb[0x34] = 0x60;
    bomb.extend(packed);
    for processor in 0..5000_u16 {
        bomb[0x28..0x2A].copy_from_slice(&processor.to_le_bytes());
        file.extend_from_slice(&bomb);
    }
    let begin = std::time::Instant::now();
    let (shown, _, reader) = read(&file, &Limits::default());
    assert!(shown.is_empty());
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    let damaged = reader
        .summary()
        .notes
        .into_iter()
        .find(|note| matches!(note, Note::Damaged { .. }));
    assert!(damaged.is_some());
}

#[test]
fn events_that_the_system_lost_are_told_to_who_reads_the_results() {
    let folder = support::Folder::new("etw-lost");
    for events_lost in [0, 7] {
        let mut trace = Trace {
            events_lost,
            ..Trace::default()
        };
        netsh(&mut trace, true, false, false);
        let path = folder.file("lost.etl", &trace.write());
        let run = support::run::files(&[path], &support::run::options());
        let notes = &run.summary.captures[0].notes;
        let told = notes.iter().any(|note| {
            note.contains("lost 7 events") && note.contains("what is missing proves nothing")
        });
        assert_eq!(told, events_lost == 7, "{notes:?}");
        assert!(!run.records.is_empty());
    }
}
