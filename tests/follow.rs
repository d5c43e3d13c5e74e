//! Captures that grow and rotate are followed: what is written comes out as soon as it is whole, nothing twice, nothing
//! lost, and a handshake that spans two files is one.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Receiver},
    },
    thread::JoinHandle,
    time::Duration,
};
use support::{
    Folder,
    files::{Pcap, Pcapng},
    packets::Packet,
    run,
    tls::{self, Hello},
};
use tlscope::{
    error::Error,
    pipeline::{self, Input, Lister, Options, Progress},
    record::Handshake,
    stats::Summary,
};

/// Longer than anything takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The packets of the `number`th connection.
fn talk(number: u16) -> Vec<Packet> {
    let mut packets = tls::talk(&Hello::post_quantum(), 1400).packets;
    for packet in &mut packets {
        // The last byte of both addresses tells connections apart; times go on.
        for address in [29, 33] {
            packet.bytes[address] = packet.bytes[address].wrapping_add(number as u8);
        }
        packet.time_ns += i64::from(number) * 1_000_000_000;
    }
    packets
}

/// A run that follows, on a thread of its own.
struct Following {
    progress: Arc<Progress>,
    records: Receiver<Handshake>,
    thread: JoinHandle<(Summary, Vec<Error>)>,
}

impl Following {
    /// Follows files, and the folder's files.
    fn new(files: &[PathBuf], folder: Option<&Path>, threads: usize) -> Self {
        let progress = Arc::new(Progress::default());
        let (sender, records) = mpsc::channel();
        let folder = folder.map(Path::to_owned);
        let list: Lister = Arc::new(move || {
            let mut files: Vec<PathBuf> = (folder.iter())
                .flat_map(|folder| fs::read_dir(folder).unwrap())
                .map(|entry| entry.unwrap().path())
                .collect();
            files.sort();
            files
        });
        let inputs: Vec<Input> = (files.iter().cloned())
            .chain(list())
            .map(Input::File)
            .collect();
        let options = Options {
            threads,
            follow: Some(list),
            ..run::options()
        };
        let seen = Arc::clone(&progress);
        let thread = std::thread::spawn(move || {
            pipeline::run(&inputs, &options, &seen, &mut |taken| {
                let _ = sender.send(taken.record.clone());
                Ok(())
            })
            .unwrap()
        });
        Self {
            progress,
            records,
            thread,
        }
    }

    #[track_caller]
    fn record(&self) -> Handshake {
        // A record comes as soon as its connection is over.
        self.records.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until so many packets were read.
    #[track_caller]
    fn packets(&self, count: usize) {
        let started = std::time::Instant::now();
        while self.progress.packets.load(Ordering::Relaxed) < count as u64 {
            assert!(started.elapsed() < PATIENCE, "{count} packets");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(self) -> (Summary, Vec<Error>, Vec<Handshake>) {
        self.progress.stop.store(true, Ordering::Relaxed);
        let (summary, errors) = self.thread.join().unwrap();
        (summary, errors, self.records.try_iter().collect())
    }
}

/// Appends to a file as another program does.
fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_file_that_grows_is_read_as_it_comes() {
    for (name, file) in [
        ("a.pcap", Pcap::default().write(&talk(0))),
        ("a.pcapng", Pcapng::whole(true, &talk(0))),
    ] {
        for threads in [1, 3] {
            let folder = Folder::new(&format!("follow-grow-{name}-{threads}"));
            // It is not even there at first, and then begins with a part of its header.
            let path = folder.0.join(name);
            let following = Following::new(std::slice::from_ref(&path), None, threads);
            let mut written = 0;
            for cut in [10, 24, 90, file.len() / 2, file.len() / 2 + 1, file.len()] {
                std::thread::sleep(Duration::from_millis(250));
                append(&path, &file[written..cut]);
                written = cut;
            }
            let record = following.record();
            assert!(record.outcome.is_complete(), "{:?}", record.outcome);
            let (summary, errors, more) = following.stop();
            assert!(errors.is_empty(), "{errors:?}");
            assert!(more.is_empty());
            assert_eq!(summary.packets, talk(0).len() as u64);
            assert_eq!(summary.captures.len(), 1);
        }
    }
}

#[test]
fn a_handshake_over_two_files_of_a_ring_is_one() {
    for threads in [1, 3] {
        let folder = Folder::new(&format!("follow-ring-{threads}"));
        let (first, second) = (talk(0), talk(1));
        let half = first.len() / 2;
        folder.file("ring_00001.pcapng", &Pcapng::whole(false, &first[..half]));
        let following = Following::new(&[], Some(&folder.0), threads);
        following.packets(half);
        folder.file("ring_00002.pcapng", &Pcapng::whole(false, &first[half..]));
        let record = following.record();
        assert!(record.outcome.is_complete());
        assert!(record.capture.ends_with("ring_00001.pcapng"));
        assert!(record.defects.is_empty(), "{:?}", record.defects);
        let third = folder.0.join("ring_00003.pcapng");
        let bytes = Pcapng::whole(false, &second);
        append(&third, &bytes[..200]);
        // Not everything in a folder is a capture.
        folder.file("notes.txt", b"a note about what was recorded here");
        std::thread::sleep(Duration::from_millis(300));
        append(&third, &bytes[200..]);
        assert!(following.record().capture.ends_with("ring_00003.pcapng"));
        let (summary, errors, more) = following.stop();
        assert!(errors.is_empty() && more.is_empty(), "{errors:?}");
        assert_eq!(summary.packets, (first.len() + second.len()) as u64);
    }
}

#[test]
fn a_name_that_gets_another_file_is_followed_by_name() {
    let folder = Folder::new("follow-rotate");
    let path = folder.0.join("live.pcap");
    let pcap = Pcap::default();
    let half = talk(0).len() / 2;
    fs::write(&path, pcap.write(&talk(0)[..half])).unwrap();
    let following = Following::new(std::slice::from_ref(&path), None, 1);
    following.packets(half);
    // As log rotation does: the old file gets another name, and its writer goes on for a moment.
    let old = folder.0.join("live.pcap.1");
    fs::rename(&path, &old).unwrap();
    let mut rest = Vec::new();
    for packet in &talk(0)[half..] {
        pcap.record(&mut rest, packet);
    }
    append(&old, &rest);
    fs::write(&path, pcap.write(&talk(1))).unwrap();
    let (one, two) = (following.record(), following.record());
    assert!(one.outcome.is_complete() && two.outcome.is_complete());
    assert!(two.start > one.start);
    // As `tcpdump -W` does: the same file is begun anew.
    let mut file = File::create(&path).unwrap();
    file.write_all(&pcap.write(&talk(2))).unwrap();
    drop(file);
    assert!(following.record().start > two.start);
    let (summary, errors, more) = following.stop();
    assert!(errors.is_empty() && more.is_empty(), "{errors:?}");
    assert_eq!(summary.packets, 3 * talk(0).len() as u64);
    assert_eq!(summary.captures.len(), 3);
}

#[test]
fn silence_ends_what_waits() {
    let folder = Folder::new("follow-silence");
    // A SYN, and nobody answers.
    let path = folder.file("syn.pcap", &Pcap::default().write(&talk(0)[..1]));
    let progress = Arc::new(Progress::default());
    let mut options = Options {
        follow: Some(Arc::new(Vec::new)),
        all_connections: true,
        ..run::options()
    };
    options.limits.idle_short_ns = 1_000_000_000;
    let seen = Arc::clone(&progress);
    pipeline::run(&[Input::File(path)], &options, &progress, &mut |taken| {
        assert_eq!(taken.record.outcome.as_str(), "no-syn-ack");
        seen.stop.store(true, Ordering::Relaxed);
        Ok(())
    })
    .unwrap();
    assert!(progress.stop.load(Ordering::Relaxed));
}

#[test]
fn what_never_came_is_told_and_what_is_no_capture_at_once() {
    let folder = Folder::new("follow-never");
    let text = folder.file("notes.txt", b"Dear diary, today I recorded nothing at all");
    let following = Following::new(&[folder.0.join("missing.pcap"), text], None, 1);
    std::thread::sleep(Duration::from_millis(500));
    let (_, errors, _) = following.stop();
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(errors[0].contains("notes.txt: not a capture"), "{errors:?}");
    assert!(errors[1].contains("missing.pcap"), "{errors:?}");
}
