//! Whatever a network or a capture does to segments, the record says the same of the handshake, or says what is
//! missing: splits, order, repetition, overlap, sequence wrap, gaps, one direction, late starts, reused ports.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use Who::{Client, Server};
use proptest::prelude::*;
use serde_json::Value;
use std::path::Path;
use support::{
    packets::{ACK, FIN, PSH, Packet, SYN, Talk, Who, conversations, icmp},
    run::{self, Run},
    tls::{self, Hello},
};
use tlscope::{
    pipeline::Options,
    record::{Close, Defect, Handshake, Outcome, Side},
};

type Flights = Vec<(Who, Vec<u8>)>;

/// Small blocks: packets lie across their ends, and a run costs little.
fn options() -> Options {
    let mut options = run::options();
    options.limits.block_bytes = 4096;
    options
}

fn run(talk: &Talk) -> Run {
    run::packets_with(&talk.packets, &options())
}

/// What a record says of the handshake; where and when, and how the segments came, left out.
fn facts(record: &Handshake) -> Value {
    fn clear(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for key in [
                    "capture", "start", "end", "tcp", "timing", "observed", "frame", "segments",
                ] {
                    map.remove(key);
                }
                map.retain(|key, _| !key.ends_with("_us"));
                map.values_mut().for_each(clear);
            }
            Value::Array(list) => list.iter_mut().for_each(clear),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(record).unwrap();
    clear(&mut value);
    value
}

fn hello_of(record: &Handshake) -> &tlscope::record::ClientHello {
    record.client_hello.as_ref().unwrap()
}

/// The conversation as no network ever troubled it.
fn untroubled(flights: &Flights) -> Talk {
    let mut talk = Talk::default();
    talk.open();
    for (who, bytes) in flights {
        talk.send_cut(*who, bytes, 1400);
    }
    talk.close();
    talk
}

/// What happens to the segments of a flight.
#[derive(Clone, Debug)]
struct Trouble {
    /// Sizes of the pieces, again and again.
    sizes: Vec<usize>,
    /// How far a piece reaches back into the bytes before it, and on into those behind it.
    reach: Vec<(usize, usize)>,
    /// Pieces that are sent twice.
    again: Vec<usize>,
    /// Pieces that change places.
    swaps: Vec<(usize, usize)>,
    first: [u32; 2],
}

fn trouble() -> impl Strategy<Value = Trouble> {
    // Not below 40 bytes: a flight must not have more pieces than may wait.
    let size = prop_oneof![40..120_usize, 120..700_usize, Just(1400_usize)];
    let reach = prop_oneof![Just((0, 0)), (0..300_usize, 0..300_usize)];
    let first = prop_oneof![Just(1_000_u32), any::<u32>(), (u32::MAX - 3000)..=u32::MAX];
    (
        prop::collection::vec(size, 1..8),
        prop::collection::vec(reach, 1..6),
        prop::collection::vec(0..64_usize, 0..6),
        prop::collection::vec((0..64_usize, 0..64_usize), 0..12),
        [first.clone(), first],
    )
        .prop_map(|(sizes, reach, again, swaps, first)| Trouble {
            sizes,
            reach,
            again,
            swaps,
            first,
        })
}

impl Trouble {
    /// The pieces of a flight that begins at `start`: from and to, in the order in which they come.
    fn pieces(&self, start: usize, length: usize) -> Vec<(usize, usize)> {
        let end = start + length;
        let (mut at, mut pieces) = (start, Vec::new());
        for (size, (back, on)) in self.sizes.iter().cycle().zip(self.reach.iter().cycle()) {
            if at >= end {
                break;
            }
            let next = (at + size).min(end);
            pieces.push((at.saturating_sub(*back), (next + on).min(end)));
            at = next;
        }
        for &index in &self.again {
            pieces.push(pieces[index % pieces.len()]);
        }
        let count = pieces.len();
        for &(one, other) in &self.swaps {
            pieces.swap(one % count, other % count);
        }
        pieces
    }

    fn apply(&self, flights: &Flights) -> Talk {
        let mut talk = Talk::default().with_first(self.first[0], self.first[1]);
        talk.open();
        let mut said = [Vec::new(), Vec::new()];
        for (who, bytes) in flights {
            let all: &mut Vec<u8> = &mut said[*who as usize];
            let start = all.len();
            all.extend(bytes);
            for (from, to) in self.pieces(start, bytes.len()) {
                let piece = all[from..to].to_vec();
                talk.segment(*who, PSH | ACK, from as u32, &piece);
            }
            talk.sent[*who as usize] = all.len() as u32;
        }
        talk.close();
        talk
    }
}

/// Where the facts of two runs' only records differ.
#[track_caller]
fn unlike(calm: &Run, troubled: &Run) -> String {
    let mut wrong = Vec::new();
    support::compare("", &facts(calm.only()), &facts(troubled.only()), &mut wrong);
    wrong.join("\n")
}

#[track_caller]
fn same(flights: &Flights, talk: &Talk) -> Result<(), TestCaseError> {
    let calm = run(&untroubled(flights));
    let troubled = run(talk);
    prop_assert_eq!(troubled.records.len(), 1);
    prop_assert_eq!(unlike(&calm, &troubled), "");
    prop_assert_eq!(troubled.only().tcp.as_ref().unwrap().gaps, 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_order_and_overlap_of_a_built_handshake(trouble in trouble()) {
        let flights = tls::flights(&Hello::post_quantum());
        same(&flights, &trouble.apply(&flights))?;
    }

    #[test]
    fn any_split_order_and_overlap_of_real_handshakes(trouble in trouble(), pick in 0..64_usize) {
        let names = [
            "tls10", "tls11", "tls12", "tls13", "resumption", "hello-retry-request", "mutual-tls", "dhe-1024",
            "client-rejects-cert", "no-common-suite", "renegotiation",
        ];
        let path = format!("captures/{}.pcap", names[pick % names.len()]);
        let all = conversations(Path::new(&path));
        let flights = &all[pick / names.len() % all.len()];
        same(flights, &trouble.apply(flights))?;
    }
}

#[test]
fn rebuilt_conversations_say_what_their_captures_say() {
    for name in [
        "tls12",
        "tls13",
        "hello-retry-request",
        "mutual-tls",
        "resumption",
    ] {
        let path = format!("captures/{name}.pcap");
        let mut original = run::files(&[path.clone().into()], &options()).records;
        original.sort_by_key(|record| record.start);
        for (flights, record) in conversations(Path::new(&path)).iter().zip(&original) {
            let rebuilt = run(&untroubled(flights));
            let (ours, theirs) = (rebuilt.only(), record);
            for part in [
                "client_hello",
                "server_hello",
                "certificates",
                "key_exchange",
            ] {
                assert_eq!(facts(ours)[part], facts(theirs)[part], "{name} {part}");
            }
            assert!(ours.outcome.is_complete(), "{name}");
        }
    }
}

#[test]
fn every_cut_of_a_hello_in_either_order() {
    let flights = tls::flights(&Hello::default());
    let calm = run(&untroubled(&flights));
    let hello = &flights[0].1;
    for cut in 1..hello.len() {
        for late in [false, true] {
            let mut talk = Talk::default();
            talk.open();
            let (head, tail) = hello.split_at(cut);
            if late {
                talk.segment(Client, ACK, cut as u32, tail);
                talk.segment(Client, ACK, 0, head);
            } else {
                talk.segment(Client, ACK, 0, head);
                talk.segment(Client, ACK, cut as u32, tail);
            }
            talk.sent[0] = hello.len() as u32;
            for (who, bytes) in &flights[1..] {
                talk.send(*who, bytes);
            }
            talk.close();
            let troubled = run(&talk);
            let record = troubled.only();
            assert_eq!(unlike(&calm, &troubled), "", "cut at {cut}, late: {late}");
            assert_eq!(hello_of(record).segments, 2, "cut at {cut}, late: {late}");
            assert_eq!(hello_of(record).frame, 5, "cut at {cut}, late: {late}");
        }
    }
}

#[test]
fn byte_by_byte() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    talk.open();
    for (who, bytes) in &flights {
        talk.send_cut(*who, bytes, 1);
    }
    talk.close();
    let run = run(&talk);
    assert_eq!(unlike(&self::run(&untroubled(&flights)), &run), "");
    assert_eq!(hello_of(run.only()).segments, flights[0].1.len() as u32);
}

#[test]
fn a_hello_over_records_of_any_size() {
    let hello = Hello::default();
    let calm = run(&untroubled(&tls::flights(&hello)));
    for size in 1..hello.message().len() {
        let mut flights = tls::flights(&hello);
        flights[0].1 = tls::records(&hello.message(), size);
        let run = run(&untroubled(&flights));
        assert_eq!(unlike(&calm, &run), "", "records of {size}");
    }
}

#[test]
fn the_sequence_wraps_anywhere() {
    let flights = tls::flights(&Hello::default());
    let calm = run(&untroubled(&flights));
    for before in (0..4000).step_by(97) {
        let mut talk = Talk::default().with_first(
            0_u32.wrapping_sub(before),
            0_u32.wrapping_sub(before.wrapping_mul(2)),
        );
        talk.open();
        for (who, bytes) in &flights {
            talk.send_cut(*who, bytes, 300);
        }
        talk.close();
        assert_eq!(unlike(&calm, &run(&talk)), "", "{before}");
    }
}

#[test]
fn of_overlapping_bytes_the_first_win_and_the_difference_is_told() {
    let flights = tls::flights(&Hello::default());
    let hello = &flights[0].1;
    let half = hello.len() / 2;
    let wrong = vec![0xee; hello.len()];
    // The true first half waits in front; then comes a segment with a false one and the true rest.
    let mut mixed = wrong[..half].to_vec();
    mixed.extend(&hello[half..]);
    let in_front: &[(usize, &[u8])] = &[(0, &hello[..half]), (0, &mixed)];
    // The true second half waits behind a hole; then comes all, its second half false.
    let mut mixed = hello[..half].to_vec();
    mixed.extend(&wrong[half..]);
    let behind: &[(usize, &[u8])] = &[(half, &hello[half..]), (0, &mixed)];
    // Two waiting segments contradict each other.
    let both: &[(usize, &[u8])] = &[
        (half, &hello[half..]),
        (half, &wrong[half..]),
        (0, &hello[..half]),
    ];
    for (name, segments) in [("in front", in_front), ("behind", behind), ("both", both)] {
        let mut talk = Talk::default();
        talk.open();
        for (at, bytes) in segments {
            talk.segment(Client, ACK, *at as u32, bytes);
        }
        talk.sent[0] = hello.len() as u32;
        for (who, bytes) in &flights[1..] {
            talk.send(*who, bytes);
        }
        talk.close();
        let run = run(&talk);
        let record = run.only();
        assert_eq!(record.defects, [Defect::OverlapDiffers], "{name}");
        assert_eq!(
            hello_of(record).sni.as_deref(),
            Some("www.contoso.com"),
            "{name}"
        );
        assert!(record.outcome.is_complete(), "{name}");
    }
}

#[test]
fn a_repeated_flight_is_repetition_and_no_second_handshake() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    talk.open();
    let mut at = [0, 0];
    for (who, bytes) in &flights {
        for _ in 0..3 {
            talk.segment(*who, ACK, at[*who as usize], bytes);
        }
        at[*who as usize] += bytes.len() as u32;
    }
    talk.sent = at;
    talk.close();
    let run = run(&talk);
    assert_eq!(unlike(&self::run(&untroubled(&flights)), &run), "");
    let tcp = run.only().tcp.as_ref().unwrap();
    assert_eq!((tcp.retransmits, tcp.gaps), (12, 0));
}

#[test]
fn an_answer_seen_before_its_question_is_no_gap() {
    // Two capture points, or a mirror port that mixes: the directions are shifted against each other.
    let flights = tls::flights(&Hello::default());
    let calm = untroubled(&flights);
    let calm_run = run(&calm);
    let is_client = |packet: &Packet| packet.bytes[26..30] == [192, 0, 2, 10];
    for shift in 1..6 {
        let mut packets = calm.packets.clone();
        // Each of the server's packets overtakes some of the client's.
        for _ in 0..shift {
            for index in 4..packets.len() {
                if is_client(&packets[index - 1]) && !is_client(&packets[index]) {
                    packets.swap(index - 1, index);
                }
            }
        }
        let run = run::packets_with(&packets, &options());
        let record = run.only();
        assert_eq!(record.tcp.as_ref().unwrap().gaps, 0, "{shift}");
        for part in [
            "client_hello",
            "server_hello",
            "certificates",
            "defects",
            "client",
        ] {
            assert_eq!(
                facts(record)[part],
                facts(calm_run.only())[part],
                "{shift} {part}"
            );
        }
        assert!(
            record.outcome.is_complete(),
            "{shift}: {:?}",
            record.outcome
        );
    }
}

#[test]
fn one_direction_is_enough_for_what_it_says() {
    let flights = tls::flights(&Hello::default());
    let calm = untroubled(&flights);
    let whole = run(&calm);
    let half = |client: bool| {
        let packets: Vec<Packet> = calm
            .packets
            .iter()
            .filter(|packet| (packet.bytes[26..30] == [192, 0, 2, 10]) == client)
            .cloned()
            .collect();
        run::packets_with(&packets, &options())
    };
    let (up, down) = (half(true), half(false));
    assert_eq!(
        facts(up.only())["client_hello"],
        facts(whole.only())["client_hello"]
    );
    assert!(up.only().server_hello.is_none());
    assert_eq!(
        facts(down.only())["server_hello"],
        facts(whole.only())["server_hello"]
    );
    assert_eq!(down.only().certificates.len(), 2);
    for run in [&up, &down] {
        let record = run.only();
        assert_eq!(record.client, whole.only().client);
        assert!(
            record.defects.contains(&Defect::OneDirection),
            "{:?}",
            record.defects
        );
        // Nobody may be blamed for what the capture lacks.
        assert!(
            matches!(record.outcome, Outcome::Truncated | Outcome::Established),
            "{:?}",
            record.outcome
        );
    }
}

/// The handshake with one of the server's first segments lost from the capture.
fn with_hole(size: usize, lost: usize) -> Run {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    talk.open();
    talk.send(Client, &flights[0].1);
    let mut at = 0;
    for (index, piece) in flights[1].1.chunks(size).enumerate() {
        if index != lost {
            talk.segment(Server, ACK, at, piece);
        }
        at += piece.len() as u32;
    }
    talk.sent[1] = at;
    for (who, bytes) in &flights[2..] {
        talk.send(*who, bytes);
    }
    talk.close();
    run(&talk)
}

#[test]
fn behind_a_gap_the_handshake_goes_on() {
    for lost in 0..4 {
        let run = with_hole(500, lost);
        let record = run.only();
        assert_eq!(record.tcp.as_ref().unwrap().gaps, 1, "{lost}");
        // What stands in front of the hole in its record is read all the same.
        assert_eq!(record.server_hello.is_some(), lost > 0, "{lost}");
        assert!(record.client_hello.is_some());
        // The server's Finished still shows that it completed, unless its ServerHello is lost.
        let outcome = if record.server_hello.is_some() {
            Outcome::Established
        } else {
            Outcome::Truncated
        };
        assert_eq!(record.outcome, outcome, "{lost}");
    }
}

#[test]
fn what_waited_for_a_lost_segment_has_no_time() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    talk.open().send(Client, &flights[0].1);
    // The second segment of the server's flight is lost, and the connection stays open: what is in front of the hole is
    // read only when nothing more will come.
    let flight = &flights[1].1;
    talk.segment(Server, ACK, 0, &flight[..500]);
    talk.segment(Server, ACK, 1000, &flight[1000..]);
    talk.sent[1] = flight.len() as u32;
    for (who, bytes) in &flights[2..] {
        talk.send(*who, bytes);
    }
    let mut other = Talk::new("192.0.2.10:40009", "198.51.100.25:443");
    other.time_ns = talk.time_ns + 90_000_000_000;
    other.open().close();
    talk.packets.append(&mut other.packets);
    let run = run(&talk);
    let mut records = run.records.iter();
    let record = records
        .find(|record| record.server_hello.is_some())
        .unwrap();
    assert_eq!(record.server_hello.as_ref().unwrap().frame, 5);
    assert_eq!(record.timing.client_hello_to_server_hello_us, None);
    let slow = |finding: &tlscope::record::Finding| finding.id == "slow-handshake";
    assert!(!run.findings.iter().any(slow), "{:#?}", run.findings);
}

#[test]
fn bytes_that_are_lost_in_front_of_the_end_are_a_hole() {
    let hello = &tls::flights(&Hello::default())[0].1;
    let close = |lost: u32, by: &dyn Fn(&mut Talk)| {
        let mut talk = Talk::default();
        talk.open().send(Client, hello);
        talk.sent[1] += lost;
        by(&mut talk);
        run(&talk).only().clone()
    };
    let fin = |talk: &mut Talk| {
        talk.fin(Server).fin(Client).acknowledge(Server);
    };
    let rst = |talk: &mut Talk| {
        talk.rst(Server);
    };
    let both = |talk: &mut Talk| {
        talk.fin(Server).rst(Server);
    };
    // An alert that the capture lacks.
    let alert = tls::alert(2, 40).len() as u32;
    for by in [&fin as &dyn Fn(&mut Talk), &rst, &both] {
        let record = close(alert, by);
        assert_eq!(record.tcp.as_ref().unwrap().gaps, 1);
        assert_eq!(record.outcome, Outcome::Truncated);
        assert!(record.defects.contains(&Defect::Gap));
    }
    assert_eq!(close(0, &fin).outcome, Outcome::HelloClosed);
    assert_eq!(close(0, &rst).outcome, Outcome::HelloReset);
    assert_eq!(close(0, &both).outcome, Outcome::HelloClosed);
    // Who resets may make the number up.
    assert_eq!(close(1 << 20, &rst).outcome, Outcome::HelloReset);
}

#[test]
fn a_close_that_the_capture_lacks_is_not_the_other_sides() {
    let closed = |lost: bool| {
        let mut talk = Talk::default();
        talk.open().fin(Client);
        if lost {
            talk.packets.pop();
        }
        talk.fin(Server).acknowledge(Client);
        let mut options = options();
        options.all_connections = true;
        run::packets_with(&talk.packets, &options).only().clone()
    };
    assert_eq!(closed(false).outcome, Outcome::NoClientHello);
    // The server's FIN acknowledges one of the client.
    assert_eq!(closed(true).outcome, Outcome::Truncated);
}

#[test]
fn whose_port_is_well_known_is_the_server_wherever_a_capture_begins() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    // The middle of the server's flight, and then what the client answers in clear.
    let middle = &flights[1].1[900..];
    talk.segment(Server, ACK, 900, middle);
    talk.sent[1] = 900 + middle.len() as u32;
    let certificate = tls::message(11, &[0, 0, 0]);
    talk.send(Client, &tls::record(22, 0x0303, &certificate));
    talk.close();
    for record in &run(&talk).all {
        assert_eq!(record.server.port, 443);
    }
}

#[test]
fn icmp_tells_before_the_silence_is_long_enough() {
    let seen = |kind: [u8; 2]| {
        let mut talk = Talk::default();
        talk.raw(Client, SYN, 7, b"");
        let told = icmp(&talk.packets[0], "10.0.0.1", kind, 0);
        talk.packets.push(told);
        let mut options = options();
        options.all_connections = true;
        let run = run::packets_with(&talk.packets, &options);
        run.only().outcome
    };
    assert_eq!(seen([3, 13]), Outcome::NoSynAck);
    // A smaller packet would go through.
    assert_eq!(seen([3, 4]), Outcome::Truncated);
}

#[test]
fn a_hello_whose_start_is_lost_blames_nobody() {
    blames_nobody(0);
}

#[test]
fn a_hello_whose_end_is_lost_blames_nobody() {
    blames_nobody(1);
}

/// A hello in two segments, one of which the capture lacks; the server acknowledges both, and resets much later.
fn blames_nobody(lost: usize) {
    let flights = tls::flights(&Hello::post_quantum());
    let hello = &flights[0].1;
    let mut talk = Talk::default();
    talk.open();
    let mut at = 0;
    for (index, piece) in hello.chunks(1000).enumerate() {
        if index != lost {
            talk.segment(Client, ACK, at, piece);
        }
        at += piece.len() as u32;
    }
    talk.sent[0] = at;
    talk.acknowledge(Server);
    talk.wait_ms(10_000).rst(Server);
    for record in &run(&talk).all {
        assert_eq!(record.outcome, Outcome::Truncated, "{:?}", record.defects);
    }
}

#[test]
fn a_syn_may_carry_the_hello() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    let hello = &flights[0].1;
    let [client, server] = talk.first;
    talk.raw(Client, SYN, client, hello);
    talk.sent[0] = hello.len() as u32;
    talk.raw(Server, SYN | ACK, server, b"").acknowledge(Client);
    for (who, bytes) in &flights[1..] {
        talk.send(*who, bytes);
    }
    talk.close();
    let run = run(&talk);
    assert_eq!(unlike(&self::run(&untroubled(&flights)), &run), "");
    assert_eq!(hello_of(run.only()).frame, 1);
}

#[test]
fn data_of_a_syn_that_was_refused_comes_again() {
    // TCP fast open without a cookie: the server takes the SYN alone, and the client repeats its data.
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    let [client, server] = talk.first;
    talk.raw(Client, SYN, client, &flights[0].1);
    talk.raw(Server, SYN | ACK, server, b"").acknowledge(Client);
    for (who, bytes) in &flights {
        talk.send(*who, bytes);
    }
    talk.close();
    let run = run(&talk);
    assert_eq!(unlike(&self::run(&untroubled(&flights)), &run), "");
}

#[test]
fn a_reused_port_is_another_connection() {
    let flights = tls::flights(&Hello::default());
    for how in ["nothing", "fin", "rst", "half"] {
        let mut talk = Talk::default();
        talk.open();
        let heard = if how == "half" { 2 } else { flights.len() };
        for (who, bytes) in &flights[..heard] {
            talk.send(*who, bytes);
        }
        match how {
            "fin" => drop(talk.close()),
            "rst" => drop(talk.rst(Client)),
            _ => {}
        }
        talk.wait_ms(50);
        let mut second = Talk {
            first: [7_777_777, 8_888_888],
            sent: [0, 0],
            ..talk
        };
        second.open();
        let other = tls::flights(&Hello {
            sni: Some("mail.contoso.com"),
            ..Hello::default()
        });
        for (who, bytes) in &other {
            second.send(*who, bytes);
        }
        second.close();
        let mut run = run(&second);
        run.records.sort_by_key(|record| record.start);
        let names: Vec<_> = run
            .records
            .iter()
            .map(|record| hello_of(record).sni.as_deref().unwrap())
            .collect();
        assert_eq!(names, ["www.contoso.com", "mail.contoso.com"], "{how}");
        assert!(run.records[1].outcome.is_complete(), "{how}");
        assert_eq!(run.records[0].outcome.is_complete(), how != "half", "{how}");
        assert_eq!(run.summary.connections, 2, "{how}");
    }
}

#[test]
fn a_repeated_syn_is_the_same_connection() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    let [client, server] = talk.first;
    talk.raw(Client, SYN, client, b"");
    talk.wait_ms(1000).raw(Client, SYN, client, b"");
    talk.raw(Server, SYN | ACK, server, b"");
    talk.raw(Server, SYN | ACK, server, b"").acknowledge(Client);
    for (who, bytes) in &flights {
        talk.send(*who, bytes);
    }
    talk.close();
    let run = run(&talk);
    let tcp = run.only().tcp.as_ref().unwrap();
    assert_eq!((tcp.syn_frame, tcp.syn_retransmits), (Some(1), 1));
    assert_eq!(unlike(&self::run(&untroubled(&flights)), &run), "");
}

#[test]
fn keep_alives_say_nothing() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    talk.open();
    for (who, bytes) in &flights {
        for side in [Client, Server] {
            // One byte in front of the next, of any value.
            let before = talk
                .sequence(side, talk.sent[side as usize])
                .wrapping_sub(1);
            talk.wait_ms(10_000).raw(side, ACK, before, &[0]);
            talk.raw(side, ACK, before, b"");
        }
        talk.send(*who, bytes);
    }
    talk.close();
    let run = run(&talk);
    assert_eq!(
        facts(run.only())["server_hello"],
        facts(self::run(&untroubled(&flights)).only())["server_hello"]
    );
    let record = run.only();
    assert!(
        record.outcome.is_complete() && record.defects.is_empty(),
        "{:?}",
        record.defects
    );
    assert_eq!(record.tcp.as_ref().unwrap().gaps, 0);
}

#[test]
fn a_half_closed_connection_goes_on() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::default();
    talk.open();
    for (who, bytes) in &flights[..5] {
        talk.send(*who, bytes);
    }
    talk.fin(Client).acknowledge(Server);
    for _ in 0..10 {
        talk.wait_ms(500)
            .send(Server, &tls::record(23, 0x0303, &[3; 1000]));
    }
    talk.fin(Server).acknowledge(Client);
    let run = run(&talk);
    let record = run.only();
    assert_eq!(record.outcome, Outcome::Established);
    assert_eq!(record.application_bytes.unwrap().server, 10_000);
    let tcp = record.tcp.as_ref().unwrap();
    assert_eq!((tcp.closed_by, tcp.close), (Some(Side::Client), Close::Fin));
}

#[test]
fn a_fin_may_come_before_the_data_in_front_of_it() {
    let flights = tls::flights(&Hello::default());
    let hello = &flights[0].1;
    let mut talk = Talk::default();
    talk.open();
    talk.segment(Client, FIN | ACK, hello.len() as u32, b"");
    talk.segment(Server, FIN | ACK, flights[1].1.len() as u32, b"");
    talk.segment(Client, ACK, 0, hello);
    talk.segment(Server, ACK, 0, &flights[1].1);
    let run = run(&talk);
    let record = run.only();
    assert!(record.client_hello.is_some() && record.server_hello.is_some());
    assert_eq!(record.tcp.as_ref().unwrap().gaps, 0);
}

#[test]
fn a_capture_may_begin_after_the_syn() {
    let flights = tls::flights(&Hello::post_quantum());
    let calm = untroubled(&flights);
    let run = run::packets_with(&calm.packets[3..], &options());
    let record = run.only();
    assert_eq!(record.defects, [Defect::MidStream]);
    let difference = unlike(&self::run(&calm), &run);
    assert_eq!(difference, " defects: new, [\"mid-stream\"]");
    assert_eq!(record.tcp.as_ref().unwrap().syn_frame, None);
}

#[test]
fn a_capture_may_begin_anywhere() {
    let flights = tls::flights(&Hello::default());
    let calm = untroubled(&flights);
    let whole = run(&calm);
    for first in 0..calm.packets.len() {
        let run = run::packets_with(&calm.packets[first..], &options());
        assert!(run.records.len() <= 1, "{first}");
        for record in &run.records {
            // What is told is true, and nobody is blamed.
            for part in ["client_hello", "server_hello", "client", "server"] {
                let ours = &facts(record)[part];
                assert!(
                    ours.is_null() || *ours == facts(whole.only())[part],
                    "{first} {part}"
                );
            }
            assert!(
                record.outcome.is_complete() || record.outcome == Outcome::Truncated,
                "{first}: {:?}",
                record.outcome
            );
        }
    }
}

#[test]
fn a_capture_may_end_anywhere() {
    let flights = tls::flights(&Hello::default());
    let calm = untroubled(&flights);
    let whole = run(&calm);
    for end in 0..calm.packets.len() {
        let run = run::packets_with(&calm.packets[..end], &options());
        for record in &run.all {
            for part in ["client_hello", "server_hello"] {
                let ours = &facts(record)[part];
                assert!(
                    ours.is_null() || *ours == facts(whole.only())[part],
                    "{end} {part}"
                );
            }
            assert!(
                record.outcome.is_complete() || record.outcome == Outcome::Truncated,
                "{end}: {:?}",
                record.outcome
            );
        }
    }
}

#[test]
fn what_the_snap_length_cut_is_told() {
    let flights = tls::flights(&Hello::post_quantum());
    let calm = untroubled(&flights);
    for snap_len in [54, 60, 68, 96, 128, 200, 1000, 1400] {
        let packets: Vec<Packet> = calm
            .packets
            .iter()
            .map(|packet| packet.clone().snapped(snap_len))
            .collect();
        let mut options = options();
        options.all_connections = true;
        let run = run::packets_with(&packets, &options);
        let record = run.only();
        assert!(record.defects.contains(&Defect::SnapLength), "{snap_len}");
        assert!(
            record.outcome.is_complete() || record.outcome == Outcome::Truncated,
            "{snap_len}: {:?}",
            record.outcome
        );
        // Of a hello that is cut, the part that is there is read, and said to be a part.
        if let Some(hello) = &record.client_hello {
            assert_eq!(hello.sni.as_deref(), Some("www.contoso.com"), "{snap_len}");
            assert!(record.defects.contains(&Defect::Malformed), "{snap_len}");
        }
    }
    // What stands in the rest of a hello is not said to be absent.
    for at in 60..1400 {
        let packets: Vec<Packet> = calm
            .packets
            .iter()
            .map(|packet| packet.clone().snapped(54 + at))
            .collect();
        let run = run::packets_with(&packets, &options());
        for finding in &run.findings {
            assert_eq!(finding.id, "capture-quality", "{at}: {finding:#?}");
        }
    }
    // Cut application data does not hide the handshake.
    let mut packets = calm.packets.clone();
    let longest = packets.len() - 6;
    for packet in &mut packets[longest..] {
        *packet = packet.clone().snapped(80);
    }
    let run = run::packets_with(&packets, &options());
    assert!(run.only().outcome.is_complete());
    assert_eq!(run.only().certificates.len(), 2);
}

#[test]
fn padding_is_never_payload() {
    // Short frames are padded with bytes that would be read as the start of a record.
    let mut talk = Talk::default();
    talk.open();
    for _ in 0..5 {
        talk.acknowledge(Client).acknowledge(Server);
    }
    let flights = tls::flights(&Hello::default());
    for (who, bytes) in &flights {
        talk.send(*who, bytes)
            .acknowledge(Client)
            .acknowledge(Server);
    }
    talk.close();
    let run = run(&talk);
    assert_eq!(unlike(&self::run(&untroubled(&flights)), &run), "");
    let tcp = run.only().tcp.as_ref().unwrap();
    assert_eq!((tcp.gaps, tcp.retransmits), (0, 0));
    assert_eq!(run.summary.connections, 1);
}

#[test]
fn over_ipv6_all_is_the_same() {
    let flights = tls::flights(&Hello::default());
    let mut talk = Talk::new("[2001:db8:1::10]:50000", "[2001:db8:2::25]:443");
    talk.open();
    for (who, bytes) in &flights {
        talk.send_cut(*who, bytes, 700);
    }
    talk.close();
    let run = run(&talk);
    let calm = self::run(&untroubled(&flights));
    for part in [
        "client_hello",
        "server_hello",
        "certificates",
        "outcome",
        "defects",
    ] {
        assert_eq!(facts(run.only())[part], facts(calm.only())[part], "{part}");
    }
    assert_eq!(run.only().client.ip.to_string(), "2001:db8:1::10");
}

#[test]
fn two_conversations_do_not_mix() {
    let mut talks: Vec<Talk> = (0..20)
        .map(|number| {
            let flights = tls::flights(&Hello {
                padding: number * 50,
                ..Hello::default()
            });
            let mut talk = Talk::new(
                &format!("192.0.2.10:{}", 50_000 + number),
                "198.51.100.25:443",
            );
            talk.open();
            for (who, bytes) in &flights {
                talk.send_cut(*who, bytes, 200);
            }
            talk.close();
            talk
        })
        .collect();
    let mut packets: Vec<Packet> = talks
        .iter_mut()
        .flat_map(|talk| talk.packets.drain(..))
        .collect();
    packets.sort_by_key(|packet| packet.time_ns);
    let mut run = run::packets_with(&packets, &options());
    run.records.sort_by_key(|record| record.client.port);
    assert_eq!(run.records.len(), 20);
    let lengths: Vec<u32> = run
        .records
        .iter()
        .map(|record| hello_of(record).length)
        .collect();
    assert!(
        lengths.windows(2).all(|pair| pair[1] > pair[0]),
        "{lengths:?}"
    );
    assert!(
        run.records
            .iter()
            .all(|record| record.outcome.is_complete())
    );
}

/// SYNs that announce segments of 1460 bytes, a hello, and the server's flight in full segments; it is lost, and sent
/// again `times` times.
fn flight_sent_again(times: usize) -> support::packets::Talk {
    use support::packets::{ACK, PSH, Packet, SYN, Talk, Tcp, Who};
    let mut talk = Talk::default();
    for (from, to, flags) in [(0, 1, SYN), (1, 0, SYN | ACK)] {
        let bytes = Tcp {
            from: talk.ends[from],
            to: talk.ends[to],
            sequence: talk.first[from],
            acknowledgement: if from == 1 { talk.first[0] + 1 } else { 0 },
            flags,
            options: &[2, 4, 5, 0xb4],
            payload: &[],
        }
        .ethernet();
        talk.packets.push(Packet::new(talk.time_ns, bytes));
        talk.wait_ms(1);
    }
    talk.acknowledge(Who::Client);
    let flights = support::tls::flights(&support::tls::Hello::default());
    talk.send(Who::Client, &flights[0].1);
    talk.acknowledge(Who::Server);
    talk.send_cut(Who::Server, &flights[1].1, 1460);
    for _ in 0..times {
        talk.wait_ms(500);
        talk.segment(Who::Server, PSH | ACK, 0, &flights[1].1[..1460]);
    }
    talk
}

#[test]
fn a_first_flight_that_is_never_acknowledged() {
    use support::packets::Who::{Client, Server};
    let mut talk = flight_sent_again(3);
    let flight = core::mem::take(&mut talk.sent[Server as usize]);
    talk.wait_ms(5_000).fin(Client);
    let run = support::run::packets(&talk.packets);
    let observed = run.only().observed.as_ref().unwrap();
    assert_eq!(observed.server_flight_unacknowledged_bytes, Some(flight));
    assert_eq!(observed.server_flight_retransmits, Some(3));
    let findings = &run.only().findings;
    let found = |id: &str| findings.iter().any(|one| *one == *id);
    assert!(found("pmtu-blackhole"), "{findings:?}");

    // The client has it after all, and gives up for another reason.
    let mut talk = flight_sent_again(3);
    talk.wait_ms(5_000).fin(Client);
    let run = support::run::packets(&talk.packets);
    let observed = run.only().observed.as_ref().unwrap();
    assert_eq!(observed.server_flight_unacknowledged_bytes, Some(0));
    let findings = &run.only().findings;
    assert!(!findings.iter().any(|one| *one == *"pmtu-blackhole"));
}
