//! pktmon's traces, written here and read again: each packet seen at four places is counted once.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod support;

use std::io::Cursor;
use support::trace::{self, Manifest, PKTMON, START, Trace};
use support::windows::{self, frames, read};
use tlscope::capture::etl::{EtlReader, Note};
use tlscope::limits::Limits;

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
    let (shown, _) = windows::drain(|block| reader.fill(block));
    let drops = reader.take_drops();
    assert_eq!(drops.len(), frames().len().div_ceil(10));
    assert!(
        drops
            .iter()
            .all(|drop| drop.reason == 909 && drop.location == 0xE000_0123)
    );
    // Each frame takes four numbers.
    assert!(
        drops
            .iter()
            .enumerate()
            .all(|(number, drop)| drop.frame == shown[number * 10].packet.frame)
    );
    assert!(reader.take_drops().is_empty());
}
