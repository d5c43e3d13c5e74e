//! What only a run without an end has: time that passes without packets, clocks that are set, and the packets of
//! handshakes, which are handed on. The interfaces are made of blocks, so this runs anywhere.
#![cfg(feature = "native")]
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
};
use support::{
    packets::{
        ACK, PSH, Packet, START_NS, Talk,
        Who::{Client, Server},
    },
    tls::{self, Hello},
};
use tlscope::{
    capture::{
        self, Block, LinkType,
        live::{Counts, Interfaces},
    },
    error::Error,
    findings::{Settings, Standing},
    keep::KeptPacket,
    pipeline::{self, Options, Progress, Status, Taken, Watch},
    record::{FindingState, Handshake},
    stats::Summary,
};

const SECOND: i64 = 1_000_000_000;

/// Blocks of packets; one without packets tells the time.
struct Made {
    blocks: VecDeque<(i64, Vec<Packet>)>,
    frame: u64,
}

impl Interfaces for Made {
    fn names(&self) -> Vec<String> {
        vec!["made0".to_owned()]
    }

    fn fill(&mut self, block: &mut Block) -> Result<bool, Error> {
        block.clear();
        let Some((time_ns, packets)) = self.blocks.pop_front() else {
            return Ok(false);
        };
        block.bytes.clear();
        for packet in packets {
            self.frame += 1;
            block.packets.push(capture::Packet {
                offset: block.bytes.len() as u32,
                captured_len: packet.bytes.len() as u32,
                original_len: packet.original_len as u32,
                interface: 0,
                link: LinkType::ETHERNET,
                time_ns: packet.time_ns,
                frame: self.frame,
            });
            block.bytes.extend(packet.bytes);
        }
        block.filled = block.bytes.len();
        block.time_ns = time_ns;
        Ok(true)
    }

    fn stop(&mut self) {
        self.blocks.clear();
    }

    fn counters(&self) -> Vec<Arc<Counts>> {
        let counts = Counts::default();
        counts.add(self.frame, 0);
        vec![Arc::new(counts)]
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What came out, with the time at which it did.
#[derive(Default)]
struct Heard {
    records: Vec<(i64, Handshake)>,
    kept: Vec<KeptPacket>,
    now_ns: i64,
    ticks: u64,
}

impl Watch for Heard {
    fn record(&mut self, taken: Taken<'_>) -> io::Result<Option<Box<Handshake>>> {
        if taken.shown {
            self.records.push((self.now_ns, *taken.record));
        }
        Ok(None)
    }

    fn keep(&mut self, kept: &KeptPacket) -> io::Result<()> {
        self.kept.push(kept.clone());
        Ok(())
    }

    fn tick(&mut self, status: &Status<'_>) -> io::Result<()> {
        self.now_ns = status.time_ns;
        self.ticks += 1;
        Ok(())
    }
}

fn watch(blocks: Vec<(i64, Vec<Packet>)>, options: &Options) -> (Heard, Summary) {
    let mut heard = Heard::default();
    let made = Made {
        blocks: blocks.into(),
        frame: 0,
    };
    let result = pipeline::watch(Box::new(made), options, &Progress::default(), &mut heard);
    (heard, result.unwrap().0)
}

fn with_threads(threads: usize) -> Options {
    Options {
        threads,
        ..Options::default()
    }
}

#[test]
fn time_goes_on_without_packets() {
    for threads in [1, 3] {
        let mut talk = Talk::default();
        talk.segment(Client, support::packets::SYN, 0, b"");
        let quiet = (1..=200).map(|second| (START_NS + second * SECOND, Vec::new()));
        let blocks = [(START_NS, talk.packets)]
            .into_iter()
            .chain(quiet)
            .collect();
        let (heard, summary) = watch(blocks, &with_threads(threads));
        assert_eq!(heard.ticks, 201);
        let [(told_ns, record)] = &heard.records[..] else {
            panic!("{:?}", heard.records);
        };
        assert_eq!(record.outcome.as_str(), "no-syn-ack");
        let waited = (told_ns - START_NS) / SECOND;
        assert!(
            (59..70).contains(&waited),
            "told after {waited} s, not at the end"
        );
        assert_eq!(summary.captures[0].name, "made0");
        assert_eq!(summary.captures[0].kernel.unwrap().received, 1);
    }
}

#[test]
fn a_clock_that_is_set_loses_no_later_handshake() {
    let day = 86_400 * SECOND;
    for threads in [1, 3] {
        let mut blocks = Vec::new();
        for (n, offset) in [0, day, 2 * SECOND, -400 * day, 3 * SECOND]
            .into_iter()
            .enumerate()
        {
            let mut talk = tls::talk(&Hello::default(), 1000);
            let client = 10 + n as u8;
            for packet in &mut talk.packets {
                packet.time_ns += offset;
                // The client's address, wherever it stands.
                for at in [26, 30] {
                    if packet.bytes[at..at + 4] == [192, 0, 2, 10] {
                        packet.bytes[at + 3] = client;
                    }
                }
            }
            blocks.push((START_NS + offset, talk.packets));
            blocks.push((START_NS + offset + SECOND, Vec::new()));
        }
        let (heard, _) = watch(blocks, &with_threads(threads));
        let whole = heard
            .records
            .iter()
            .filter(|(_, record)| record.outcome.is_complete());
        assert_eq!(whole.count(), 5);
    }
}

/// Judges what comes out at each tick, as `tlscope live` does.
struct Bench {
    standing: Standing,
    now_ns: i64,
    /// What was told of one finding, with the time that went by since the start, whatever the clock said.
    told: Vec<(i64, FindingState)>,
    elapsed_s: i64,
}

impl Watch for Bench {
    fn record(&mut self, taken: Taken<'_>) -> io::Result<Option<Box<Handshake>>> {
        self.standing
            .add(&taken.record, &taken.verdicts, self.now_ns);
        Ok(Some(taken.record))
    }

    fn tick(&mut self, status: &Status<'_>) -> io::Result<()> {
        self.now_ns = status.time_ns;
        self.elapsed_s += 10;
        let news = self.standing.judge(self.now_ns);
        let resets = news.iter().filter(|finding| finding.id == "hello-reset");
        let told = resets.map(|finding| (self.elapsed_s, finding.state.unwrap()));
        self.told.extend(told);
        Ok(())
    }
}

/// What is told of a server that resets each hello, one every ten minutes until the clock is set by so much after half an hour,
/// and for half an hour then; a block every ten seconds for six hours.
fn told_when_the_clock_is_set(by_ns: i64, threads: usize) -> Vec<(i64, FindingState)> {
    let mut blocks = Vec::new();
    for ten in 0..6 * 360 {
        let set_ns = if ten < 180 { 0 } else { by_ns };
        let now_ns = START_NS + set_ns + ten * 10 * SECOND;
        let mut packets = Vec::new();
        if ten < 360 && ten % 60 == 0 {
            let mut talk = Talk::new(&format!("192.0.2.10:{}", 50_000 + ten), "198.51.100.25:443");
            talk.time_ns = now_ns;
            talk.open();
            talk.send(Client, &Hello::default().record());
            talk.rst(Server);
            packets = talk.packets;
        }
        blocks.push((now_ns, packets));
    }
    let settings = Settings::default();
    let mut bench = Bench {
        standing: Standing::new(&settings, 3600 * SECOND),
        now_ns: START_NS,
        told: Vec::new(),
        elapsed_s: 0,
    };
    let made = Made {
        blocks: blocks.into(),
        frame: 0,
    };
    let (options, progress) = (with_threads(threads), Progress::default());
    pipeline::watch(Box::new(made), &options, &progress, &mut bench).unwrap();
    bench.told
}

#[test]
fn a_clock_that_is_set_leaves_findings_a_beginning_and_an_end() {
    use FindingState::{Begins, Ended};
    let day = 86_400 * SECOND;
    for by_ns in [0, day, -day, 400 * day, -400 * day, -1800 * SECOND] {
        for threads in [1, 3] {
            let told = told_when_the_clock_is_set(by_ns, threads);
            let [(begins, Begins), (ended, Ended)] = told[..] else {
                panic!("{by_ns}: {told:?}");
            };
            assert!(begins <= 20, "{by_ns}: {told:?}");
            // The last handshake was after 50 minutes: it leaves the window an hour later, at most an eighth of it more.
            let over = ended / 60 - 50;
            assert!((55..80).contains(&over), "{by_ns}: {told:?}");
        }
    }
}

#[test]
fn what_the_kernel_holds_when_it_is_stopped_ends_the_run() {
    let mut heard = Heard::default();
    let progress = Progress::default();
    progress.stop.store(true, Ordering::SeqCst);
    let made = Made {
        blocks: vec![(START_NS, Vec::new()); 1000].into(),
        frame: 0,
    };
    pipeline::watch(Box::new(made), &Options::default(), &progress, &mut heard).unwrap();
    assert!(heard.ticks <= 1);
}

const SECRET: &[u8] = b"SECRET-SECRET-SECRET";

/// STARTTLS in clear, a handshake, application data in the segment that ends it, and more of it.
fn conversation(size: usize, version_tls13: bool) -> Talk {
    let mut talk = Talk::new("192.0.2.10:50000", "198.51.100.25:25");
    talk.open();
    talk.send(Server, b"220 mail ESMTP\r\n");
    talk.send(Client, b"EHLO SECRET-SECRET-SECRET\r\n");
    talk.send(Server, b"250-mail\r\n250 STARTTLS\r\n");
    talk.send(Client, b"STARTTLS\r\n");
    talk.send(Server, b"220 go ahead\r\n");
    let data = tls::record(23, 0x0303, SECRET);
    let flights = tls::flights(&Hello::default());
    let last = flights.len() - 1;
    for (index, (from, bytes)) in flights.into_iter().enumerate() {
        let mut bytes = bytes;
        if index == last || (version_tls13 && index > 0) {
            bytes.extend(&data);
        }
        talk.send_cut(from, &bytes, size);
    }
    for from in [Client, Server, Client] {
        talk.send_cut(from, &[data.clone(), data.clone()].concat(), size);
    }
    talk.close();
    talk
}

fn keeping(threads: usize) -> Options {
    Options {
        keep_handshakes: true,
        ..with_threads(threads)
    }
}

fn holds(kept: &[KeptPacket], bytes: &[u8]) -> bool {
    kept.iter()
        .any(|kept| kept.bytes.windows(bytes.len()).any(|part| part == bytes))
}

/// The bytes of a secret that any kept packet holds in a row.
fn longest_secret(kept: &[KeptPacket]) -> usize {
    (1..=SECRET.len())
        .rev()
        .find(|&length| holds(kept, &SECRET[..length]))
        .unwrap_or(0)
}

#[test]
fn no_byte_of_application_data_is_kept_however_segments_lie() {
    for threads in [1, 3] {
        for size in [1, 3, 5, 7, 64, 511, 1460, 9000] {
            for tls13 in [false, true] {
                let packets = conversation(size, tls13).packets;
                let blocks = packets.chunks(7).map(|part| (0, part.to_vec())).collect();
                let (heard, summary) = watch(blocks, &keeping(threads));
                // A letter or two may stand anywhere.
                assert!(longest_secret(&heard.kept) < 6, "{size}");
                assert!(!holds(&heard.kept, b"STARTTLS"), "{size}");
                if size > 100 {
                    assert!(holds(&heard.kept, b"www.contoso.com"), "{size}");
                    let sorted = heard.kept.is_sorted_by_key(|kept| kept.order);
                    assert!(
                        sorted && !summary.skipped.contains_key("packets_kept_cap"),
                        "{size}"
                    );
                }
            }
        }
    }
}

#[test]
fn order_and_repetition_do_not_change_what_is_kept() {
    let packets = conversation(200, false).packets;
    let one_block = |packets: Vec<Packet>| watch(vec![(0, packets)], &keeping(1)).0.kept;
    let payloads = |mut kept: Vec<KeptPacket>| {
        kept.sort_by(|a, b| a.bytes.cmp(&b.bytes));
        kept.dedup_by(|a, b| a.bytes == b.bytes);
        kept.into_iter().map(|kept| kept.bytes).collect::<Vec<_>>()
    };
    let straight = payloads(one_block(packets.clone()));
    let mut random = support::Random::new(7);
    for _ in 0..200 {
        let mut mixed = packets.clone();
        // Neighbours change places behind the dialogue, some come twice.
        for at in 9..mixed.len() - 4 {
            if random.below(3) == 0 {
                mixed.swap(at, at + 1);
            }
        }
        let at = 9 + random.below(mixed.len() - 12);
        mixed.insert(at + 1, mixed[at].clone());
        let kept = one_block(mixed);
        assert!(longest_secret(&kept) < 6);
        let kept = payloads(kept);
        let with_payload = |list: &[Box<[u8]>]| {
            list.iter()
                .filter(|bytes| bytes.len() > 80)
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(with_payload(&kept), with_payload(&straight));
    }
}

#[test]
fn a_connection_without_tls_leaves_nothing() {
    let mut talk = Talk::default();
    talk.open();
    for _ in 0..100 {
        talk.send(Client, b"GET /SECRET HTTP/1.1\r\n\r\n");
        talk.send(Server, b"HTTP/1.1 200 OK\r\n\r\n");
    }
    talk.close();
    let (heard, _) = watch(vec![(0, talk.packets)], &keeping(1));
    assert!(heard.kept.is_empty());
    // Nor does one whose hello was before the capture.
    let mut talk = Talk::default();
    talk.segment(Client, PSH | ACK, 5000, &tls::record(23, 0x0303, SECRET));
    talk.segment(Server, PSH | ACK, 5000, &tls::record(23, 0x0303, SECRET));
    let (heard, _) = watch(vec![(0, talk.packets)], &keeping(1));
    assert!(heard.kept.is_empty());
}

#[test]
fn what_is_kept_tells_the_same_handshakes_again() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "pcap") {
            continue;
        }
        let packets = packets_of(&path);
        let (heard, _) = watch(vec![(packets[0].time_ns, packets)], &keeping(1));
        let again: Vec<Packet> = (heard.kept.iter())
            .map(|kept| Packet {
                time_ns: kept.time_ns,
                bytes: kept.bytes.to_vec(),
                original_len: kept.original_len as usize,
            })
            .collect();
        if again.is_empty() {
            continue;
        }
        let (told, _) = watch(vec![(again[0].time_ns, again)], &with_threads(1));
        let facts = |records: &[(i64, Handshake)]| -> Vec<String> {
            let with_hello = records
                .iter()
                .filter(|(_, record)| record.client_hello.is_some());
            let told = with_hello.map(|(_, record)| {
                let hello = |hello: &tlscope::record::ServerHello| format!("{:?}", hello.shape);
                format!(
                    "{} {:?} {:?} {:?}",
                    record.client,
                    record
                        .client_hello
                        .as_ref()
                        .map(|hello| (&hello.sni, &hello.shape)),
                    record.server_hello.as_deref().map(hello),
                    record
                        .certificates
                        .iter()
                        .map(|one| one.sha256)
                        .collect::<Vec<_>>(),
                )
            });
            let mut told: Vec<String> = told.collect();
            told.sort();
            told
        };
        let (now, then) = (facts(&told.records), facts(&heard.records));
        assert!(
            now == then,
            "{}: {} records, then {}",
            path.display(),
            then.len(),
            now.len()
        );
        compared += then.len();
    }
    assert!(compared > 20, "{compared}");
}

/// The packets of a classic capture.
fn packets_of(path: &std::path::Path) -> Vec<Packet> {
    let limits = tlscope::limits::Limits::default();
    let (mut source, _) = capture::open::open_alone(path, &limits).unwrap();
    let (mut block, mut packets) = (Block::default(), Vec::new());
    loop {
        let fill = source.fill(&mut block).unwrap();
        for packet in block
            .packets
            .iter()
            .filter(|packet| packet.link == LinkType::ETHERNET)
        {
            packets.push(Packet {
                time_ns: packet.time_ns,
                bytes: block.data(packet).to_vec(),
                original_len: packet.original_len as usize,
            });
        }
        if fill == capture::feed::Fill::End {
            return packets;
        }
    }
}
