//! Windows traces and Network Monitor captures: packets, times and bytes as independent readers see them.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod support;

use std::collections::HashSet;
use std::io::Cursor;
use support::windows::{self, Shown};
use tlscope::capture::block::LinkType;
use tlscope::capture::etl::{ClockKind, Direction, Note, Place};
use tlscope::error::Error;

/// Truth files of traces: name there, name of the capture.
const TRACES: &[(&str, &str)] = &[
    ("demikernel-PktMon", "pktmon-server2022.etl"),
    ("small-system-misc-ping", "netsh-windows10-ping.etl"),
    ("synthetic-netsh_compressed", "made-netsh_compressed.etl"),
    ("synthetic-netsh_qpc10m", "made-netsh_qpc10m.etl"),
    ("synthetic-netsh_systime", "made-netsh_systime.etl"),
    ("synthetic-netsh_truncated", "made-netsh_truncated.etl"),
    ("synthetic-pktmon_compressed", "made-pktmon_compressed.etl"),
    (
        "synthetic-pktmon_trunc128_compressed",
        "made-pktmon_trunc128_compressed.etl",
    ),
];

#[test]
fn traces_hold_the_packets_that_independent_readers_see() {
    let Some(folder) = windows::folder() else {
        return;
    };
    for (truth, capture) in TRACES {
        let truth = windows::table(&folder.join(format!("truth/{truth}.packets.tsv")));
        let (shown, _, reader) = windows::etl_all(windows::open(&folder, capture));
        assert_eq!(shown.len(), truth.len(), "{capture}");
        let interfaces = reader.interfaces();
        for (row, one) in truth.iter().zip(&shown) {
            let at = format!("{capture} frame {}", one.packet.frame);
            assert_eq!(one.filetime(), row[0].parse::<i64>().unwrap(), "{at}");
            assert_eq!(one.digest(), row[8], "{at}");
            let place = interfaces[one.packet.interface as usize].place;
            let (first, second) = (row[3].parse().unwrap(), row[4].parse().unwrap());
            if row[1] == "ndis" {
                assert_eq!(
                    place,
                    Place::Adapter {
                        adapter: first,
                        lower: second
                    },
                    "{at}"
                );
            } else {
                assert_eq!(place, Place::Component(first as u16), "{at}");
            }
        }
    }
}

#[test]
fn lengths_and_directions_are_those_of_the_events() {
    let Some(folder) = windows::folder() else {
        return;
    };
    for (truth, capture) in TRACES {
        let truth = windows::table(&folder.join(format!("truth/{truth}.packets.tsv")));
        let limits = tlscope::limits::Limits::default();
        let mut reader = tlscope::capture::etl::EtlReader::open(
            windows::open(&folder, capture),
            capture,
            &limits,
        )
        .unwrap();
        reader.show_all_sightings();
        let mut block = tlscope::capture::block::Block::default();
        // All of these fit into one block.
        let _ = reader.fill(&mut block).unwrap();
        for (row, packet) in truth.iter().zip(&block.packets) {
            let at = format!("{capture} frame {}", packet.frame);
            let lengths: HashSet<u32> = [row[5].parse().unwrap(), row[6].parse().unwrap()].into();
            assert_eq!(
                HashSet::from([packet.captured_len, packet.original_len]),
                lengths,
                "{at}"
            );
            let direction = if row[7] == "S" {
                Direction::Out
            } else {
                Direction::In
            };
            assert_eq!(
                reader.extra(packet.frame).unwrap().direction,
                Some(direction),
                "{at}"
            );
            assert_eq!(packet.link, LinkType(1), "{at}");
        }
    }
}

#[test]
fn fragments_of_windows_7_become_packets() {
    let Some(folder) = windows::folder() else {
        return;
    };
    let source = windows::pcap(&folder.join("made-source-frames.pcap"));
    let (shown, error, reader) =
        windows::etl_all(windows::open(&folder, "made-netsh_win7_split.etl"));
    assert!(error.is_none());
    assert_eq!(shown.len(), 81);
    assert!(
        shown
            .iter()
            .zip(&source)
            .all(|(one, (_, bytes))| one.bytes == *bytes)
    );
    let fragments = windows::table(&folder.join("truth/synthetic-netsh_win7_split.packets.tsv"));
    let times: HashSet<i64> = fragments
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect();
    assert!(
        shown.iter().all(|one| times.contains(&one.filetime())),
        "the time of the first fragment"
    );
    assert_eq!(reader.summary().build, 7601);
    assert_eq!(reader.summary().notes, []);
}

#[test]
fn a_packet_seen_at_four_places_is_counted_once() {
    let Some(folder) = windows::folder() else {
        return;
    };
    let source = windows::pcap(&folder.join("made-source-frames.pcap"));
    let (shown, _, reader) =
        windows::etl_once(windows::open(&folder, "made-pktmon_compressed.etl"));
    let bytes = |shown: &[Shown]| {
        shown
            .iter()
            .map(|one| one.bytes.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        bytes(&shown),
        source
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect::<Vec<_>>()
    );
    assert_eq!(
        (reader.summary().packets, reader.summary().packets_folded),
        (81, 243)
    );
}

#[test]
fn a_cut_file_gives_what_it_holds_and_then_says_so() {
    let Some(folder) = windows::folder() else {
        return;
    };
    let (shown, error, reader) =
        windows::etl_once(windows::open(&folder, "made-netsh_truncated.etl"));
    assert_eq!(shown.len(), 79);
    assert!(
        matches!(error, Some(Error::Cut { offset: 0xC000, .. })),
        "{error:?}"
    );
    assert_eq!(reader.summary().notes, [], "the error says it");
}

#[test]
fn a_real_netsh_trace_says_what_it_is() {
    let Some(folder) = windows::folder() else {
        return;
    };
    let (shown, error, reader) =
        windows::etl_once(windows::open(&folder, "netsh-windows10-ping.etl"));
    assert!(error.is_none());
    let summary = reader.summary();
    assert_eq!(
        (summary.build, summary.processors, summary.clock),
        (17134, 8, ClockKind::Counter)
    );
    assert_eq!(summary.events, 1612);
    assert_eq!(summary.packets + summary.packets_folded, 43);
    assert_eq!(summary.notes, []);
    let names: Vec<_> = reader
        .interfaces()
        .into_iter()
        .map(|interface| (interface.place, interface.name))
        .collect();
    println!("{:?} {names:?}", summary.product);
    assert!(names.iter().all(|(_, name)| name.is_some()), "{names:?}");
    let first = shown.first().unwrap();
    assert_eq!(first.packet.time_ns, 1_565_816_093_783_210_500);
    assert_eq!(
        summary
            .providers
            .iter()
            .map(|provider| provider.events)
            .sum::<u64>(),
        1612
    );
    let ndis = summary
        .providers
        .iter()
        .find(|provider| provider.name.as_deref() == Some("Microsoft-Windows-NDIS-PacketCapture"));
    assert_eq!(ndis.unwrap().events, 43);
    for provider in &summary.providers {
        println!(
            "{} {:?} {}",
            provider.provider, provider.name, provider.events
        );
    }
}

#[test]
fn a_real_pktmon_trace_names_the_places() {
    let Some(folder) = windows::folder() else {
        return;
    };
    let (shown, error, reader) = windows::etl_once(windows::open(&folder, "pktmon-server2022.etl"));
    assert!(error.is_none());
    let summary = reader.summary();
    println!("{summary:?}");
    assert_eq!(summary.build, 20348);
    assert!(
        summary
            .product
            .as_deref()
            .unwrap()
            .starts_with("Windows Server 2022"),
        "{:?}",
        summary.product
    );
    assert_eq!(summary.packets + summary.packets_folded, 114);
    assert!(shown.len() < 114);
    for interface in reader.interfaces() {
        println!("{interface:?}");
        assert!(interface.name.is_some());
    }
    println!("{:?}", reader.drop_reason_words(909));
}

#[test]
fn traces_without_packets_say_how_to_record_them() {
    let Some(folder) = windows::folder() else {
        return;
    };
    for capture in [
        "AMSITrace.etl",
        "SelfDescribingSingleEvent.etl",
        "lxcore_kernel.etl",
        "primitive-types.etl",
    ] {
        let (shown, error, reader) = windows::etl_once(windows::open(&folder, capture));
        assert!(error.is_none() && shown.is_empty(), "{capture}");
        let summary = reader.summary();
        let truth = format!("truth/{}.structure.txt", capture.trim_end_matches(".etl"));
        let truth = std::fs::read_to_string(folder.join(truth)).unwrap();
        assert!(
            truth.contains(&format!("total {}\n", summary.events)),
            "{capture}: {}",
            summary.events
        );
        assert!(summary.notes.contains(&Note::NoPackets), "{capture}");
        assert!(
            !summary
                .notes
                .iter()
                .any(|note| matches!(note, Note::Damaged { .. })),
            "{capture}: {:?}",
            summary.notes
        );
    }
}

/// Truth files of Network Monitor captures: name there, name of the capture.
const NETMON: &[(&str, &str)] = &[
    ("FTPv6-1.cap", "netmon-FTPv6-1.cap"),
    ("KasperskyPackets.CAP", "netmon-KasperskyPackets.CAP"),
    ("PPPHandshake.cap", "netmon-PPPHandshake.cap"),
    ("RTSPPACKETS1.cap", "netmon-RTSPPACKETS1.cap"),
    ("SoulSeekRoom.cap", "netmon-SoulSeekRoom.cap"),
    ("iphttps.cap", "netmon23-iphttps.cap"),
    ("netmon_1_1.cap", "made-netmon_1_1.cap"),
    ("netmon_2_0.cap", "made-netmon_2_0.cap"),
    ("netmon_2_2.cap", "made-netmon_2_2.cap"),
    ("netmon_2_3.cap", "made-netmon_2_3.cap"),
];

#[test]
fn network_monitor_captures_hold_the_frames_that_independent_readers_see() {
    let Some(folder) = windows::folder() else {
        return;
    };
    for (truth, capture) in NETMON {
        let truth = windows::table(&folder.join(format!("truth/netmon-{truth}.frames.tsv")));
        let (shown, error, reader) = windows::netmon(windows::open(&folder, capture));
        assert!(error.is_none(), "{capture}: {error:?}");
        assert_eq!(reader.frames(), truth.len() as u64, "{capture}");
        let packets: Vec<_> = truth.iter().filter(|row| row[4] == "0x1").collect();
        assert_eq!(shown.len(), packets.len(), "{capture}");
        for (row, one) in packets.iter().zip(&shown) {
            let at = format!("{capture} frame {}", one.packet.frame);
            assert_eq!(one.packet.frame, row[0].parse::<u64>().unwrap(), "{at}");
            let time = format!(
                "{}.{:09}",
                one.packet.time_ns / 1_000_000_000,
                one.packet.time_ns % 1_000_000_000
            );
            assert_eq!(time, row[1], "{at}");
            assert_eq!(
                one.packet.original_len,
                row[2].parse::<u32>().unwrap(),
                "{at}"
            );
            assert_eq!(
                one.packet.captured_len,
                row[3].parse::<u32>().unwrap(),
                "{at}"
            );
            assert_eq!(one.digest(), row[6], "{at}");
        }
    }
}

#[test]
fn network_monitor_knows_processes_since_2_2_and_utc_since_2_3() {
    let Some(folder) = windows::folder() else {
        return;
    };
    let (shown, _, reader) = windows::netmon(windows::open(&folder, "netmon23-iphttps.cap"));
    assert!(!reader.local_time());
    assert_eq!(
        reader.other_media().values().sum::<u64>() + shown.len() as u64,
        83
    );
    let truth = windows::table(&folder.join("truth/netmon-iphttps.cap.frames.tsv"));
    let with_process = truth
        .iter()
        .filter(|row| row[4] == "0x1" && row[5] != "4294967295")
        .count();
    let known = shown
        .iter()
        .filter(|one| {
            reader
                .extra(one.packet.frame)
                .is_some_and(|extra| extra.process_id.is_some())
        })
        .count();
    println!("{with_process} of {} with a process", shown.len());
    // Extras are those of the block that was filled last: the whole file is one block.
    assert_eq!(known, with_process);
    let (_, _, old) = windows::netmon(windows::open(&folder, "made-netmon_2_0.cap"));
    assert!(old.local_time());
}

#[test]
fn other_files_are_refused_by_name() {
    let limits = tlscope::limits::Limits::default();
    let etl = |bytes: &[u8]| {
        tlscope::capture::etl::EtlReader::open(Cursor::new(bytes.to_vec()), "x", &limits).err()
    };
    let netmon = |bytes: &[u8]| {
        tlscope::capture::netmon::NetmonReader::open(Cursor::new(bytes.to_vec()), "x", &limits)
            .err()
    };
    assert!(matches!(etl(b""), Some(Error::Empty { .. })));
    assert!(matches!(netmon(b""), Some(Error::Empty { .. })));
    assert!(matches!(etl(&[0xD4; 300]), Some(Error::NotACapture { .. })));
    assert!(matches!(
        netmon(&[0xD4; 300]),
        Some(Error::NotACapture { .. })
    ));
    assert!(matches!(
        netmon(b"GMBU\0\x02\x01\0"),
        Some(Error::Cut { .. })
    ));
}
