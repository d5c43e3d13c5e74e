//! Network Monitor captures of every version, written here and read again.
//!
//! TShark 4.0 reads the same: see `support/netmon.rs`.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod support;

use std::io::Cursor;
use std::path::Path;
use support::netmon::{Capture, Frame};
use support::trace::{self, ETHERNET_OUT, START};
use support::windows::{self, frames};
use tlscope::error::Error;

/// 2024-06-10 20:18:27.922 as if it were UTC, in nanoseconds since 1970.
const LOCAL_START: i64 = 1_718_050_707_922_000_000;

fn capture(version: (u8, u8)) -> Capture {
    let frames: Vec<Frame> = frames()
        .into_iter()
        .enumerate()
        .map(|(number, (filetime, bytes))| Frame {
            media: 1,
            delta: number as i64 * 1000,
            original_len: bytes.len() as u32,
            process: u32::MAX,
            filetime,
            bytes,
        })
        .collect();
    let order = (0..frames.len()).collect();
    Capture {
        version,
        frames,
        order,
        processes: Vec::new(),
        comments: Vec::new(),
    }
}

#[test]
fn every_version_gives_the_frames_that_were_written() {
    for version in [(1, 1), (2, 0), (2, 1), (2, 2), (2, 3)] {
        let capture = capture(version);
        let file = capture.write();
        if let Some(folder) = std::env::var_os("TLSCOPE_WRITE_TRACES") {
            std::fs::write(
                Path::new(&folder).join(format!("{}.{}.cap", version.0, version.1)),
                &file,
            )
            .unwrap();
        }
        let (shown, error, reader) = windows::netmon(Cursor::new(file));
        assert!(error.is_none());
        assert_eq!(shown.len(), capture.frames.len());
        assert_eq!(reader.local_time(), version < (2, 3));
        for (number, (one, frame)) in shown.iter().zip(&capture.frames).enumerate() {
            assert!(one.bytes == frame.bytes, "{version:?} frame {}", number + 1);
            let delta_ns = frame.delta * if version.0 == 1 { 1_000_000 } else { 1000 };
            let time_ns = if version == (2, 3) {
                one.packet.time_ns
            } else {
                LOCAL_START + delta_ns
            };
            assert_eq!(one.packet.time_ns, time_ns, "{version:?}");
            assert!(version < (2, 3) || one.filetime() == frame.filetime);
        }
    }
}

#[test]
fn frames_lie_anywhere_and_times_go_back() {
    let mut capture = capture((2, 0));
    capture.order.reverse();
    capture.frames[3].delta = -1500;
    let (shown, error, _) = windows::netmon(Cursor::new(capture.write()));
    assert!(error.is_none());
    assert!(
        shown
            .iter()
            .zip(&capture.frames)
            .all(|(one, frame)| one.bytes == frame.bytes)
    );
    assert!(
        shown
            .iter()
            .enumerate()
            .all(|(number, one)| one.packet.frame == number as u64 + 1)
    );
    assert_eq!(shown[3].packet.time_ns, LOCAL_START - 1_500_000);
}

#[test]
fn media_that_are_no_packets_keep_their_frame_numbers() {
    let mut capture = capture((2, 2));
    capture.frames.truncate(9);
    capture.order.truncate(9);
    let ip = capture.frames[0].bytes[14..].to_vec();
    let mut radio = vec![2, 32, 0];
    radio.resize(32, 0);
    radio.extend([8, 1, 0, 0]);
    let mut set = |number: usize, media: u16, bytes: &[u8]| {
        capture.frames[number].media = media;
        capture.frames[number].bytes = bytes.to_vec();
    };
    set(0, 0xFFFF, b"network info");
    set(1, 6, &radio);
    set(2, 9, &ip);
    set(3, 0xE071, b"sll");
    set(4, 0xFFFE, b"dns");
    set(5, 5, b"firewire");
    // An event of NDIS-PacketCapture: the event's header as in memory, and the second, small header.
    let payload = trace::ndis(7, 7, &frames()[5].1, false);
    let mut event = trace::Manifest::new(trace::NDIS, 1001, ETHERNET_OUT).bytes(START, &[]);
    event.extend([0, 8, 0, 0, 1, 0]);
    event.extend((payload.len() as u16).to_le_bytes());
    event.extend([0, 0, 0, 1, 0, 0, 0, 4, 0, 9, 9, 9, 9]);
    event.extend(&payload);
    set(6, 0xFFE0, &event);
    let (shown, error, reader) = windows::netmon(Cursor::new(capture.write()));
    assert!(error.is_none());
    let seen: Vec<_> = shown
        .iter()
        .map(|one| (one.packet.frame, one.packet.link.0))
        .collect();
    assert_eq!(
        seen,
        [(2, 105), (3, 101), (4, 0x71), (7, 1), (8, 1), (9, 1)]
    );
    assert_eq!(shown[0].bytes, [8, 1, 0, 0]);
    assert!(shown[3].bytes == frames()[5].1);
    assert_eq!(reader.frames(), 9);
    let others: Vec<_> = reader
        .other_media()
        .iter()
        .map(|(media, count)| (*media, *count))
        .collect();
    assert_eq!(others, [(5, 1), (0xFFFE, 1), (0xFFFF, 1)]);
}

#[test]
fn processes_and_comments() {
    let mut capture = capture((2, 2));
    capture.processes = vec![
        ("C:\\Windows\\System32\\svchost.exe".into(), 1234),
        ("D:\\app.exe".into(), 5678),
    ];
    capture.comments = vec![(4, "look".into())];
    capture.frames[2].process = 1;
    let (_, _, reader) = windows::netmon(Cursor::new(capture.write()));
    assert_eq!(reader.extra(3).unwrap().process_id, Some(5678));
    assert_eq!(reader.extra(4).unwrap().process_id, None);
    assert_eq!(reader.process_name(1234), Some("svchost.exe"));
    let comment = reader.comment(5).unwrap();
    assert_eq!(
        (comment.title.as_str(), comment.text.as_str()),
        ("look", "why?")
    );
}

#[test]
fn cut_and_overlapping_frames_end_with_an_error() {
    let capture = capture((2, 0));
    let file = capture.write();
    // The table is last: without it nothing can be found.
    let frames_end = file.len() - capture.frames.len() * 4;
    let (shown, error, _) = windows::netmon(Cursor::new(file[..frames_end + 40].to_vec()));
    assert_eq!(shown.len(), 10);
    assert!(matches!(error, Some(Error::Cut { .. })));
    // All entries of the table name the same, long frame.
    let mut bomb = vec![0; 128];
    bomb[..6].copy_from_slice(b"GMBU\0\x02");
    bomb[6] = 1;
    bomb[0x18..0x1C].copy_from_slice(&(128_u32 + 16 + 100_000).to_le_bytes());
    bomb[0x1C..0x20].copy_from_slice(&400_000_u32.to_le_bytes());
    bomb[8..24].copy_from_slice(&[0xE8, 7, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bomb.extend([0; 8]);
    bomb.extend(100_000_u32.to_le_bytes());
    bomb.extend(100_000_u32.to_le_bytes());
    bomb.resize(bomb.len() + 100_000, 0);
    bomb.extend(128_u32.to_le_bytes().repeat(100_000));
    let (shown, error, _) = windows::netmon(Cursor::new(bomb));
    assert!(shown.len() < 10);
    assert!(matches!(error, Some(Error::Broken { .. })), "{error:?}");
}
