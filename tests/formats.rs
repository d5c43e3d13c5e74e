//! Every form of a capture file gives the same packets; every fault of one is named with file and offset, and what
//! was read before it is reported; and the ways in which a run of the program can end.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Output, Stdio},
};
use support::{
    Folder,
    files::{Pcap, Pcapng},
    packets::{Packet, START_NS, Talk},
    run::{self, Run},
    tls::{self, Hello},
};
use tlscope::record::Handshake;

fn packets() -> Vec<Packet> {
    let mut talk = tls::talk(&Hello::post_quantum(), 1400);
    // On a whole microsecond, so that no form loses anything.
    for packet in &mut talk.packets {
        packet.time_ns -= packet.time_ns % 1_000;
    }
    talk.packets
}

fn read(file: &[u8]) -> Run {
    let run = run::bytes(file, &run::options());
    assert!(run.errors.is_empty(), "{:?}", run.errors);
    run
}

/// The run's records without the file's name.
fn records(run: &Run) -> Vec<Handshake> {
    run.records
        .iter()
        .map(|record| Handshake {
            capture: "".into(),
            ..record.clone()
        })
        .collect()
}

#[test]
fn every_pcap_gives_the_same() {
    let packets = packets();
    let expected = records(&read(&Pcapng::whole(false, &packets)));
    assert_eq!(expected.len(), 1);
    assert_eq!(expected[0].start.0, START_NS);
    for big_endian in [false, true] {
        for (nanoseconds, modified) in [(false, false), (true, false), (false, true)] {
            let form = Pcap {
                big_endian,
                nanoseconds,
                modified,
                link: 1,
            };
            let run = read(&form.write(&packets));
            assert_eq!(records(&run), expected, "{form:?}");
            assert_eq!(run.summary.captures[0].format, "pcap");
            assert_eq!(run.summary.packets, packets.len() as u64);
        }
    }
    // The upper bits of the link type tell of a frame check sequence.
    let checked = Pcap {
        link: 0x2400_0001,
        ..Pcap::default()
    };
    assert_eq!(records(&read(&checked.write(&packets))), expected);
}

#[test]
fn every_link_type_gives_the_same() {
    let packets = packets();
    let expected = records(&read(&Pcap::default().write(&packets)));
    let in_link = |header: &[u8]| -> Vec<Packet> {
        packets
            .iter()
            .map(|packet| Packet::new(packet.time_ns, [header, &packet.bytes[14..]].concat()))
            .collect()
    };
    let sll = [&[0, 4, 0, 1, 0, 6][..], &[0; 8], &[8, 0]].concat();
    let sll2 = [&[8, 0][..], &[0; 18]].concat();
    let qinq = [&[2; 12][..], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 7, 8, 0]].concat();
    let snap = [&[2; 12][..], &[0x03, 0x00, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]].concat();
    for (link, header) in [
        (0, &[2, 0, 0, 0][..]),
        (12, &[]),
        (101, &[]),
        (108, &[0, 0, 0, 2]),
        (113, &sll),
        (228, &[]),
        (276, &sll2),
        (1, &qinq),
        (1, &snap),
    ] {
        let form = Pcap {
            link,
            ..Pcap::default()
        };
        let mut run = read(&form.write(&in_link(header)));
        let tags = std::mem::take(&mut run.records[0].encapsulation);
        assert_eq!(records(&run), expected, "link type {link}");
        assert_eq!(tags.len(), if header == qinq { 2 } else { 0 });
    }
    let unknown = Pcap {
        link: 147,
        ..Pcap::default()
    };
    let run = read(&unknown.write(&packets));
    assert_eq!(
        run.skipped("packets_unknown_link_type"),
        packets.len() as u64
    );
}

#[test]
fn every_pcapng_gives_the_same() {
    let packets = packets();
    let expected = records(&read(&Pcap::default().write(&packets)));
    for big_endian in [false, true] {
        assert_eq!(
            records(&read(&Pcapng::whole(big_endian, &packets))),
            expected
        );
        for (resolution, offset_s) in [
            (None, None),
            (Some(6), Some(0)),
            (Some(9), Some(1_000_000_000)),
            (Some(12), Some(1_767_225_000)),
            (Some(9), Some(-3_600)),
        ] {
            let mut file = Pcapng::default();
            file.section(big_endian)
                .interface(1, 0, resolution, offset_s);
            for packet in &packets {
                let ns =
                    i128::from(packet.time_ns) - i128::from(offset_s.unwrap_or(0)) * 1_000_000_000;
                let stamp = match resolution.unwrap_or(6) {
                    6 => ns / 1_000,
                    9 => ns,
                    _ => ns * 1_000,
                };
                file.enhanced(0, stamp as u64, packet);
            }
            assert_eq!(
                records(&read(&file.bytes)),
                expected,
                "{resolution:?} {offset_s:?}"
            );
        }
    }
}

#[test]
fn several_sections_and_interfaces() {
    let packets = packets();
    let expected = records(&read(&Pcap::default().write(&packets)));
    let mut file = Pcapng::default();
    // In turn: other byte orders, other numbers and units of interfaces, other kinds of packet blocks.
    for (index, packet) in packets.iter().enumerate() {
        let us = packet.time_ns as u64 / 1_000;
        match index % 3 {
            0 => file
                .section(index % 2 == 0)
                .interface(147, 0, None, None)
                .interface(1, 0, Some(9), None)
                .enhanced(1, packet.time_ns as u64, packet),
            1 => file.interface(1, 0, None, None).enhanced(2, us, packet),
            _ => file.obsolete(2, us, packet),
        };
    }
    let run = read(&file.bytes);
    assert_eq!(records(&run), expected);
    assert_eq!(run.summary.captures[0].link_types.len(), 2);
}

#[test]
fn simple_packets_have_no_time_but_all_else() {
    let packets = packets();
    let expected = records(&read(&Pcap::default().write(&packets)));
    let mut file = Pcapng::default();
    file.section(true).interface(1, 0, None, None);
    for packet in &packets {
        file.simple(packet);
    }
    let run = read(&file.bytes);
    let (ours, theirs) = (&run.records[0], &expected[0]);
    assert_eq!(ours.client_hello, theirs.client_hello);
    assert_eq!(ours.server_hello, theirs.server_hello);
    // The snap length of the interface is the only thing that tells how much was kept.
    let mut file = Pcapng::default();
    file.section(false).interface(1, 100, None, None);
    for packet in &packets {
        let original_len = packet.bytes.len();
        let cut = packet.clone().snapped(100);
        file.simple(&Packet {
            original_len,
            ..cut
        });
    }
    let run = read(&file.bytes);
    assert_eq!(run.summary.packets, packets.len() as u64);
}

#[test]
fn other_blocks_are_stepped_over_and_the_unknown_counted() {
    let packets = packets();
    let expected = records(&read(&Pcap::default().write(&packets)));
    let mut file = Pcapng::default();
    file.section(false).interface(1, 0, Some(9), None);
    for (index, packet) in packets.iter().enumerate() {
        file.enhanced(0, packet.time_ns as u64, packet);
        // Name resolution, statistics, journal, secrets, custom; and three that nobody knows.
        let kinds = [
            4,
            5,
            9,
            10,
            0x0bad,
            0x4000_0bad,
            0x1234,
            0x8000_0001,
            0x7fff_ffff,
        ];
        file.block(kinds[index % kinds.len()], &vec![0xab; index]);
    }
    let run = read(&file.bytes);
    assert_eq!(records(&run), expected);
    assert!(run.skipped("blocks_unknown") > 0);
    assert_eq!(run.summary.packets, packets.len() as u64);
}

#[test]
fn files_without_packets_are_no_fault() {
    for file in [Pcap::default().header(), Pcapng::whole(false, &[])] {
        let run = read(&file);
        assert_eq!((run.summary.packets, run.records.len()), (0, 0));
    }
}

// ---- The program -------------------------------------------------------------------------------

fn tlscope(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlscope"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("RUST_BACKTRACE");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs over a file as NDJSON and checks the exit code; gives output and messages.
#[track_caller]
fn analyze(code: i32, path: &Path) -> (String, String) {
    let output = tlscope(&[
        "--format",
        "ndjson",
        "--fail-on",
        "never",
        path.to_str().unwrap(),
    ]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    (out, err)
}

const BLOCKLISTED: &str = "captures/owa-http2-blocklisted.pcapng";

#[test]
fn what_is_no_capture_is_named() {
    let folder = Folder::new("formats-none");
    for (name, bytes, says) in [
        ("empty.pcap", &b""[..], "empty"),
        ("notes.txt", b"Dear diary, today ...", "text"),
        ("short.pcap", b"\x01\x02", "01 02"),
        ("picture.pcap", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image"),
    ] {
        let path = folder.file(name, bytes);
        let (out, err) = analyze(2, &path);
        assert_eq!(out, "", "{name}");
        assert!(err.contains(name) && err.contains(says), "{err}");
    }
    let (_, err) = analyze(2, &folder.0.join("missing.pcap"));
    assert!(err.contains("missing.pcap"), "{err}");
}

#[test]
fn a_cut_file_is_reported_up_to_the_cut() {
    let folder = Folder::new("formats-cut");
    let packets = packets();
    for (name, file) in [
        ("a.pcap", Pcap::default().write(&packets)),
        ("b.pcapng", Pcapng::whole(true, &packets)),
    ] {
        let path = folder.file(name, &file[..file.len() - 7]);
        let (out, err) = analyze(2, &path);
        let offset = err
            .split("offset ")
            .nth(1)
            .and_then(|rest| rest.split(|other: char| !other.is_ascii_digit()).next())
            .and_then(|number| number.parse::<usize>().ok())
            .unwrap_or_else(|| panic!("no offset: {err}"));
        assert!(err.contains(name) && err.contains("cut"), "{err}");
        // The last packet is a padded ACK of 60 bytes and its header.
        assert!(
            file.len() - offset >= 76 && file.len() - offset < 140,
            "{err}"
        );
        assert_eq!(out.matches(r#""type":"handshake""#).count(), 1);
        assert!(out.contains(r#""truncated":true"#), "{out}");
        assert!(
            out.contains(&format!(r#""packets":{},"#, packets.len() - 1)),
            "{out}"
        );
    }
}

#[test]
fn a_wrong_length_is_named_with_its_offset() {
    let folder = Folder::new("formats-length");
    let packets = packets();
    // The 11th record says that it is gigantic.
    let mut file = Pcap::default().write(&packets[..10]);
    let offset = file.len();
    file.extend([0; 8]);
    file.extend([0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
    file.extend([0; 100]);
    let (out, err) = analyze(2, &folder.file("long.pcap", &file));
    assert!(
        err.contains("long.pcap") && err.contains(&format!("offset {offset}")),
        "{err}"
    );
    assert!(out.contains(r#""packets":10,"#), "{out}");
    // A block says that it is shorter than a block can be.
    let mut file = Pcapng::whole(false, &packets[..10]);
    let offset = file.len();
    file.extend([6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    let (out, err) = analyze(2, &folder.file("short.pcapng", &file));
    assert!(
        err.contains("short.pcapng") && err.contains(&format!("offset {offset}")),
        "{err}"
    );
    assert!(out.contains(r#""packets":10,"#), "{out}");
}

#[cfg(unix)]
#[test]
fn what_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("formats-rights");
    let locked = folder.0.join("locked");
    fs::create_dir(&locked).unwrap();
    let file = folder.file("mine.pcap", &Pcap::default().header());
    for path in [&locked, &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    if fs::read_dir(&locked).is_ok() {
        println!("skipped: this user may read everything");
    } else {
        for path in [&locked, &file] {
            let (out, err) = analyze(2, path);
            assert_eq!(out, "");
            assert!(err.contains(path.to_str().unwrap()), "{err}");
        }
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn one_bad_file_among_good_ones_spoils_nothing() {
    let folder = Folder::new("formats-among");
    let good = folder.file("good.pcap", &Pcap::default().write(&packets()));
    let bad = folder.file("bad.pcap", b"no capture at all");
    let output = tlscope(&[
        "--format",
        "ndjson",
        bad.to_str().unwrap(),
        good.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("bad.pcap"));
    let out = text(&output.stdout);
    assert_eq!(out.matches(r#""type":"handshake""#).count(), 1);
    assert!(
        out.contains("bad.pcap") && out.contains(r#""error":"#),
        "{out}"
    );
}

#[test]
fn exit_codes_follow_the_findings() {
    for (fail_on, healthy, bad) in [("error", 0, 1), ("warning", 0, 1), ("never", 0, 0)] {
        let of = |path: &str| tlscope(&["--fail-on", fail_on, path]).status.code();
        assert_eq!(of("captures/ecdsa.pcap"), Some(healthy), "{fail_on}");
        assert_eq!(of(BLOCKLISTED), Some(bad), "{fail_on}");
    }
}

#[test]
fn several_files_are_one_stream() {
    // A connection begins in one file and ends in the other.
    let folder = Folder::new("formats-several");
    let packets = packets();
    let first = folder.file("1.pcap", &Pcap::default().write(&packets[..4]));
    let second = folder.file("2.pcapng", &Pcapng::whole(false, &packets[4..]));
    let run = run::files(&[first, second], &run::options());
    let record = run.only();
    assert!(record.outcome.is_complete() && record.defects.is_empty());
    assert_eq!(run.summary.captures.len(), 2);
}

#[test]
fn a_folder_is_its_captures_in_order_of_time() {
    let folder = Folder::new("formats-folder");
    let packets = packets();
    // Their names would have them the other way round.
    folder.file("z.pcap", &Pcap::default().write(&packets[..4]));
    folder.file("a.pcapng", &Pcapng::whole(false, &packets[4..]));
    folder.file("notes.txt", b"not a capture");
    let (out, err) = analyze(0, &folder.0);
    assert_eq!(out.matches(r#""type":"handshake""#).count(), 1, "{out}");
    assert!(out.contains(r#""outcome":"established"#), "{out}");
    assert!(err.contains("1 file is no capture"), "{err}");
}

#[test]
fn standard_input_is_a_capture_too() {
    let packets = packets();
    for file in [
        Pcap::default().write(&packets),
        Pcapng::whole(true, &packets),
    ] {
        let mut child = command(&["--format", "ndjson", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // In drops, as a slow capture gives them.
        for part in file.chunks(700) {
            pipe.write_all(part).unwrap();
        }
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        let out = text(&output.stdout);
        assert_eq!(out.matches(r#""type":"handshake""#).count(), 1, "{out}");
        assert!(out.contains(r#""capture":"-""#), "{out}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let captures: Vec<_> = support::captures();
    let mut names: Vec<&str> = captures.iter().map(|path| path.to_str().unwrap()).collect();
    names.extend(names.clone());
    for format in ["text", "ndjson", "json"] {
        let mut child = command(&["--format", format, "--fail-on", "never"])
            .args(&names)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{format}: {}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stderr), "", "{format}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_the_report() {
    let packets = packets();
    let mut child = command(&["--format", "ndjson", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&Pcap::default().write(&packets)).unwrap();
    pipe.flush().unwrap();
    // All of it was read when the first record comes out: the connection was closed.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    // The pipe stays open: a capture goes on. A packet more, so that the read that waits for it ends.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut more = Vec::new();
    Pcap::default().record(&mut more, &packets[0]);
    let _ = pipe.write_all(&more);
    let output = child.wait_with_output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(130), "{out}{err}");
    assert_eq!(
        out.matches(r#""type":"handshake""#).count(),
        1,
        "{out}{err}"
    );
    assert!(
        out.trim_end()
            .lines()
            .last()
            .unwrap()
            .contains(r#""type":"summary""#)
    );
    drop(pipe);
}

#[test]
fn an_output_file_appears_whole_or_not_at_all() {
    let folder = Folder::new("formats-output");
    let report = folder.0.join("report.ndjson");
    let arguments = [
        "--format",
        "ndjson",
        "--fail-on",
        "never",
        "-o",
        report.to_str().unwrap(),
    ];
    let names = || -> Vec<String> {
        fs::read_dir(&folder.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let output = tlscope(&[&arguments[..], &[BLOCKLISTED]].concat());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(names(), ["report.ndjson"]);
    let whole = fs::read_to_string(&report).unwrap();
    assert!(whole.lines().count() > 8 && whole.ends_with("}\n"));
    // What can't be read leaves the old report as it was.
    let output = tlscope(&[&arguments[..], &["no-such-file.pcap"]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&report).unwrap(), whole);
    assert_eq!(names(), ["report.ndjson"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    for format in ["text", "ndjson", "json"] {
        let output = tlscope(&["--format", format, "-o", "/dev/full", BLOCKLISTED]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{format}: {err}");
        assert!(
            err.contains("/dev/full") && err.contains("No space left"),
            "{format}: {err}"
        );

        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = command(&["--format", format, BLOCKLISTED])
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{format}");
        assert!(text(&output.stderr).contains("standard output"), "{format}");
    }
}

#[test]
fn a_pipe_gets_no_colour_and_80_columns() {
    let output = tlscope(&["--fail-on", "never", BLOCKLISTED]);
    let out = text(&output.stdout);
    assert!(!out.contains('\u{1b}'));
    // Only what is to be typed is longer: the lines below a step, and a word (a cipher list) that fits no line.
    let is_typed = |line: &str| {
        line.starts_with("       ") || line.split(' ').any(|word| word.chars().count() > 70)
    };
    let long: Vec<&str> = out
        .lines()
        .filter(|line| line.chars().count() > 80 && !is_typed(line))
        .collect();
    assert!(long.is_empty(), "{long:?}");
    let coloured = tlscope(&["--fail-on", "never", "--color", "always", BLOCKLISTED]);
    assert!(text(&coloured.stdout).contains('\u{1b}'));
}

#[test]
fn names_from_the_wire_do_nothing_to_a_terminal() {
    let folder = Folder::new("formats-escape");
    let mut talk = Talk::default();
    talk.open();
    let hello = Hello {
        sni: Some("evil\u{1b}[31m\u{202e}\u{7}.example"),
        ..Hello::default()
    };
    for (who, bytes) in tls::flights(&hello) {
        talk.send(who, &bytes);
    }
    talk.close();
    let path = folder.file("evil.pcap", &Pcap::default().write(&talk.packets));
    let output = tlscope(&["-v", path.to_str().unwrap()]);
    let out = text(&output.stdout);
    assert!(out.contains("evil") && out.contains(".example"), "{out}");
    assert!(!out.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{out:?}");
}
