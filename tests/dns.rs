//! DNS, from packets to lookups in the summary: what was answered, what failed, what was never answered.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use std::net::IpAddr;
use support::{
    packets::{
        Packet, START_NS, Talk,
        Who::{Client, Server},
        datagram,
    },
    run::{self, Run},
    tls::{Hello, extension, record, server_hello},
};
use tlscope::{
    limits::Limits,
    pipeline::Options,
    record::{Dns, Lookup, Timestamp, Transport},
};

const CLIENT: &str = "10.0.0.5:50000";
const SERVER: &str = "10.0.0.53:53";
const A: u16 = 1;
const AAAA: u16 = 28;
const HTTPS: u16 = 65;

fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.bytes());
    }
    out.push(0);
    out
}

fn message(id: u16, flags: u16, name: &str, kind: u16, answers: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend(flags.to_be_bytes());
    out.extend([0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
    out.extend(wire(name));
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    for (kind, data) in answers {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    out
}

fn ms(ms: i64) -> i64 {
    START_NS + ms * 1_000_000
}

/// A query at a time, and its response `after` ms later with this code.
fn lookup(
    at: i64,
    id: u16,
    name: &str,
    kind: u16,
    rcode: u16,
    data: &[(u16, Vec<u8>)],
) -> [Packet; 2] {
    [
        datagram(
            ms(at),
            CLIENT,
            SERVER,
            &message(id, 0x0100, name, kind, &[]),
        ),
        datagram(
            ms(at + 20),
            SERVER,
            CLIENT,
            &message(id, 0x8180 | rcode, name, kind, data),
        ),
    ]
}

fn query(at: i64, client: &str, id: u16, name: &str) -> Packet {
    datagram(ms(at), client, SERVER, &message(id, 0x0100, name, A, &[]))
}

/// Something that only shows that the capture goes on.
fn noise(at: i64) -> Packet {
    datagram(ms(at), "10.9.9.9:1", "10.9.9.8:2", b"noise")
}

fn run_packets(packets: &[Packet]) -> Run {
    run::packets_with(packets, &run::options())
}

fn dns(run: &Run) -> &Dns {
    run.summary.dns.as_ref().unwrap()
}

fn find<'d>(dns: &'d Dns, name: &str, kind: &str) -> &'d Lookup {
    let mut found = dns.lookups.iter();
    found
        .find(|lookup| &*lookup.name == name && lookup.kind == kind)
        .unwrap_or_else(|| panic!("no {name} {kind} in {:?}", dns.lookups))
}

#[test]
fn answers_name_addresses() {
    let mut packets = lookup(
        0,
        7,
        "Mail.contoso.com",
        A,
        0,
        &[
            (5, wire("edge.contoso.net")),
            (A, vec![192, 0, 2, 1]),
            (A, vec![192, 0, 2, 2]),
        ],
    )
    .to_vec();
    packets.extend(lookup(50, 8, "mail.contoso.com", AAAA, 0, &[]));
    packets.extend(lookup(
        100,
        9,
        "mail.contoso.com",
        A,
        0,
        &[(A, vec![192, 0, 2, 3])],
    ));
    let run = run_packets(&packets);
    let dns = dns(&run);
    assert_eq!((dns.queries, dns.answers, dns.unanswered), (3, 3, 0));
    assert_eq!(dns.by_rcode.get("NOERROR"), Some(&3));
    let found = find(dns, "mail.contoso.com", "A");
    assert_eq!((found.queries, found.answers, found.frame), (2, 2, 1));
    assert_eq!(found.first_seen, Timestamp(START_NS));
    assert_eq!(found.slowest_us, Some(20_000));
    let addresses: Vec<IpAddr> = (1..4).map(|last| [192, 0, 2, last].into()).collect();
    assert_eq!(found.addresses, addresses);
    assert!(found.aliases.is_empty(), "those of the last answer");
    assert_eq!(found.servers, ["10.0.0.53".parse::<IpAddr>().unwrap()]);
    // An empty answer is no failure.
    let empty = find(dns, "mail.contoso.com", "AAAA");
    assert_eq!((empty.answers, empty.failed), (1, 0));
    assert!(run.skipped("packets_udp") == 0);
}

#[test]
fn failures_stand_with_their_code_and_their_remedy() {
    let mut packets = Vec::new();
    for (place, rcode) in [2, 3, 5].into_iter().enumerate() {
        let name = format!("bad{rcode}.contoso.com");
        packets.extend(lookup(place as i64 * 100, 20 + rcode, &name, A, rcode, &[]));
    }
    packets.extend(lookup(
        1_500,
        30,
        "bad2.contoso.com",
        A,
        0,
        &[(A, vec![192, 0, 2, 1])],
    ));
    let run = run_packets(&packets);
    let dns = dns(&run);
    for (rcode, word) in [(2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED")] {
        let found = find(dns, &format!("bad{rcode}.contoso.com"), "A");
        assert_eq!((found.failed, &*found.failures[0].result), (1, word));
        assert_eq!(found.failures[0].waited_us, 20_000);
        assert_eq!(found.failures[0].transport, Transport::Udp);
        let recovered = found.failures[0].recovered_us;
        assert_eq!(recovered, (rcode == 2).then_some(1_500_000));
    }
    assert_eq!(find(dns, "bad3.contoso.com", "A").failures[0].frame, 3);
}

#[test]
fn silence_is_told_only_where_the_capture_goes_on() {
    let name = "dc1.contoso.com";
    let mut packets = vec![
        query(0, CLIENT, 1, name),
        query(1_000, CLIENT, 1, name),
        query(3_000, CLIENT, 1, name),
    ];
    packets.push(noise(7_500));
    assert_eq!(dns(&run_packets(&packets)).unanswered, 0);
    packets.push(noise(8_500));
    let run = run_packets(&packets);
    let found = find(dns(&run), name, "A");
    assert_eq!((found.queries, found.answers, found.failed), (1, 0, 1));
    let failure = &found.failures[0];
    assert_eq!((&*failure.result, failure.tries), ("no-answer", 3));
    assert_eq!((failure.waited_us, failure.frame), (3_000_000, 1));
    assert_eq!(dns(&run).servers[0].answers, 0);
}

#[test]
fn copies_of_packets_are_no_repetitions() {
    let [query, response] = lookup(0, 1, "mail.contoso.com", A, 0, &[(A, vec![192, 0, 2, 1])]);
    let run = run_packets(&[query.clone(), query, response.clone(), response]);
    let dns = dns(&run);
    assert_eq!((dns.queries, dns.answers), (1, 1));
    assert_eq!(dns.servers[0].queries, 1);
}

#[test]
fn a_response_alone_names_addresses_too() {
    let [_, response] = lookup(0, 1, "mail.contoso.com", A, 0, &[(A, vec![192, 0, 2, 1])]);
    let run = run_packets(&[response]);
    let found = find(dns(&run), "mail.contoso.com", "A");
    assert_eq!(
        (found.queries, found.answers, found.addresses.len()),
        (0, 1, 1)
    );
    assert_eq!(found.client, "10.0.0.5".parse::<IpAddr>().unwrap());
}

#[test]
fn services_tell_of_protocols_and_ech() {
    let mut data = b"\0\x01\0\0\x01\0\x06\x02h3\x02h2\0\x05\0\x20\0\x1e\xfe\x0d\0\x1a".to_vec();
    data.extend(b"\x07\0\x20\0\x01\x09\0\x04\0\x01\0\x01\x40\x0bcover.inste\0\0\0");
    let packets = lookup(0, 1, "www.contoso.com", HTTPS, 0, &[(HTTPS, data)]);
    let run = run_packets(&packets);
    let found = &find(dns(&run), "www.contoso.com", "HTTPS").services[0];
    assert_eq!((found.priority, &found.target), (1, &None));
    assert_eq!(found.alpn, ["h3".into(), "h2".into()]);
    assert!(found.ech);
    assert_eq!(found.ech_public_name.as_deref(), Some("cover.inste"));
}

#[test]
fn over_tcp_in_pieces() {
    let mut talk = Talk::new(CLIENT, SERVER);
    talk.open();
    let framed = |message: Vec<u8>| {
        let mut out = (message.len() as u16).to_be_bytes().to_vec();
        out.extend(message);
        out
    };
    talk.send_cut(
        Client,
        &framed(message(3, 0x0100, "big.contoso.com", A, &[])),
        9,
    );
    let answers: Vec<(u16, Vec<u8>)> = (1..40).map(|last| (A, vec![192, 0, 2, last])).collect();
    talk.send_cut(
        Server,
        &framed(message(3, 0x8180, "big.contoso.com", A, &answers)),
        100,
    );
    talk.send(
        Client,
        &framed(message(4, 0x0100, "none.contoso.com", A, &[])),
    );
    talk.send(
        Server,
        &framed(message(4, 0x8183, "none.contoso.com", A, &[])),
    );
    talk.close();
    let run = run_packets(&talk.packets);
    let dns = dns(&run);
    assert_eq!((dns.queries, dns.over_tcp, dns.answers), (2, 2, 2));
    assert_eq!(
        find(dns, "big.contoso.com", "A").addresses.len(),
        32,
        "the cap"
    );
    let failure = &find(dns, "none.contoso.com", "A").failures[0];
    assert_eq!(
        (&*failure.result, failure.transport),
        ("NXDOMAIN", Transport::Tcp)
    );
    assert!(dns.clients.is_empty(), "steadiness is about UDP");
}

#[test]
fn another_protocol_at_port_53_is_still_found() {
    // The start of a DTLS ClientHello: a tunnel that hides behind the port.
    let mut hello =
        b"\x16\xfe\xff\0\0\0\0\0\0\0\0\0\x36\x01\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd".to_vec();
    hello.extend([7; 32]);
    hello.extend([0, 0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let run = run_packets(&[datagram(ms(0), CLIENT, SERVER, &hello), noise(9_000)]);
    assert!(run.only().client_hello.is_some());
    assert!(run.summary.dns.is_none());
}

fn busy() -> Vec<Packet> {
    let mut packets = Vec::new();
    for n in 0..600_u16 {
        let client = format!("10.0.{}.{}:{}", n % 3, n % 7, 40_000 + n % 50);
        let name = format!("host{}.contoso.com", n % 90);
        let at = i64::from(n) * 100;
        packets.push(query(at, &client, n, &name));
        if n % 5 != 0 {
            let rcode = if n % 11 == 0 { 3 } else { 0 };
            let data = [(A, vec![192, 0, 2, (n % 90) as u8])];
            let told = message(
                n,
                0x8180 | rcode,
                &name,
                A,
                if rcode == 0 { &data } else { &[] },
            );
            packets.push(datagram(ms(at + 7), SERVER, &client, &told));
        }
    }
    packets
}

fn small_blocks(threads: usize) -> Options {
    Options {
        threads,
        limits: Limits {
            block_bytes: 4096,
            ..Limits::default()
        },
        ..run::options()
    }
}

/// What was told, without the names of captures, which differ from run to run.
fn nameless(run: &Run) -> Dns {
    let mut dns = dns(run).clone();
    for lookup in &mut dns.lookups {
        lookup.capture = "".into();
        for failure in &mut lookup.failures {
            failure.capture = "".into();
        }
    }
    dns
}

#[test]
fn any_number_of_threads_tells_the_same() {
    let packets = busy();
    let one = run::packets_with(&packets, &small_blocks(1));
    assert!(dns(&one).unanswered > 50 && dns(&one).lookups.len() > 90);
    let more = run::packets_with(&packets, &small_blocks(4));
    assert!(nameless(&one) == nameless(&more));
}

#[test]
fn runs_of_parts_merge_into_the_run_of_the_whole() {
    let packets = busy();
    // Between two lookups: the last query before it was answered.
    let cut = packets.len() / 2 + usize::from(packets[packets.len() / 2].bytes[36] != 0);
    let whole = run_packets(&packets);
    let (first, second) = (run_packets(&packets[..cut]), run_packets(&packets[cut..]));
    let mut merged = dns(&first).clone();
    merged.merge(dns(&second).clone());
    merged.settle();
    let told = |dns: &Dns| -> Vec<(IpAddr, Box<str>, u64, Vec<IpAddr>)> {
        let facts = dns.lookups.iter();
        facts
            .map(|lookup| {
                let mut addresses = lookup.addresses.clone();
                addresses.sort_unstable();
                (
                    lookup.client,
                    lookup.name.clone(),
                    lookup.queries,
                    addresses,
                )
            })
            .collect()
    };
    assert_eq!(told(&merged), told(dns(&whole)));
    assert_eq!(merged.queries, dns(&whole).queries);
    assert_eq!(merged.by_rcode, dns(&whole).by_rcode);
}

#[test]
fn what_was_saved_reads_back() {
    let run = run_packets(&busy());
    let last = run.ndjson.lines().last().unwrap();
    let line: tlscope::record::Line = serde_json::from_str(last).unwrap();
    let tlscope::record::Line::Summary(summary) = line else {
        panic!("{last}")
    };
    assert_eq!(summary.dns, run.summary.dns);
}

#[test]
fn beyond_the_cap_lookups_are_counted() {
    let limits = Limits {
        dns_lookups_max: 40,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..run::options()
    };
    let packets: Vec<Packet> = (0..100)
        .map(|n| query(i64::from(n), CLIENT, n, &format!("host{n}.contoso.com")))
        .collect();
    let run = run::packets_with(&packets, &options);
    let dns = dns(&run);
    assert_eq!((dns.lookups.len(), dns.forgotten), (10, 90));
    // Questions under way have the same cap: more of one name than that give way to others.
    let packets: Vec<Packet> = (0..100)
        .map(|n| {
            query(
                i64::from(n),
                &format!("10.0.0.5:{}", 2000 + n),
                n,
                "one.contoso.com",
            )
        })
        .collect();
    let run = run::packets_with(&packets, &options);
    assert_eq!(run.skipped("dns_questions_cap"), 90);
}

#[test]
fn spans_show_when_a_steady_client_falls_silent() {
    let mut packets = Vec::new();
    // Every 30 s for 25 minutes, from ever new ports; then nothing.
    for n in 0..50 {
        let client = format!("10.0.0.5:{}", 20_000 + n);
        packets.push(query(n * 30_000, &client, n as u16, "dc1.contoso.com"));
    }
    packets.push(query(100, "10.0.0.6:999", 9, "dc1.contoso.com"));
    packets.sort_by_key(|packet| packet.time_ns);
    packets.push(noise(40 * 60_000));
    let run = run_packets(&packets);
    let dns = dns(&run);
    let client = |ip: &str| {
        let ip: IpAddr = ip.parse().unwrap();
        dns.clients.iter().find(|client| client.ip == ip).unwrap()
    };
    assert!(client("10.0.0.6").spans.is_empty());
    let steady = client("10.0.0.5");
    assert_eq!(steady.last_seen, Timestamp(ms(49 * 30_000)));
    assert_eq!(steady.spans.len(), 3);
    assert!(steady.spans[0].is_steady() && steady.spans[1].is_steady());
    assert!(!steady.spans[2].is_steady());
    assert_eq!((steady.spans[0].queries, steady.spans[0].ports), (20, 20));
    assert_eq!(steady.spans[2].last, steady.last_seen);
}

/// SvcParams of an HTTPS record with one ECHConfig: number 7, suite 1 and 3, `public.example`.
fn with_ech() -> Vec<u8> {
    let mut contents = vec![7, 0, 0x20, 0, 2, 1, 2, 0, 4, 0, 1, 0, 3, 64, 14];
    contents.extend(b"public.example\0\0");
    let length = contents.len() as u8;
    let mut data = vec![
        0,
        1,
        0,
        0,
        5,
        0,
        length + 6,
        0,
        length + 4,
        0xfe,
        0x0d,
        0,
        length,
    ];
    data.extend(contents);
    data
}

/// A handshake whose hello has an encrypted_client_hello extension with this configuration number.
fn outer(at: i64, client: &str, name: &'static str, config_id: u8) -> Vec<Packet> {
    let mut body = vec![0, 0, 1, 0, 3, config_id, 0, 32];
    body.extend([0x77; 32]);
    body.extend([0, 16]);
    body.extend([0x99; 16]);
    let hello = Hello {
        sni: Some(name),
        more: extension(0xfe0d, &body),
        ..Hello::default()
    };
    let mut talk = Talk::new(client, "192.0.2.1:443");
    talk.time_ns = ms(at);
    talk.open().send(Client, &hello.record());
    talk.send(Server, &record(22, 0x0303, &server_hello(0x1301, None)))
        .close();
    talk.packets
}

#[test]
fn encrypted_hellos_are_told_from_grease_by_what_dns_told_their_client() {
    let plain = b"\0\x01\0".to_vec();
    let mut packets = outer(0, "10.0.0.5:50001", "public.example", 7);
    packets.extend(lookup(
        500,
        7,
        "Secret.example",
        HTTPS,
        0,
        &[(HTTPS, with_ech())],
    ));
    packets.extend(lookup(600, 8, "plain.example", HTTPS, 0, &[(HTTPS, plain)]));
    packets.extend(lookup(
        700,
        9,
        "alias.example",
        HTTPS,
        0,
        &[(HTTPS, b"\0\0\x01b\0".to_vec())],
    ));
    packets.extend(lookup(800, 10, "none.example", HTTPS, 0, &[]));
    for (port, (client, name, id)) in (50002..).zip([
        ("10.0.0.5", "public.example", 7),
        ("10.0.0.5", "public.example", 8),
        ("10.0.0.6", "public.example", 7),
        ("10.0.0.5", "plain.example", 7),
        ("10.0.0.5", "alias.example", 7),
        ("10.0.0.5", "none.example", 7),
        ("10.0.0.5", "unasked.example", 7),
    ]) {
        packets.extend(outer(2000, &format!("{client}:{port}"), name, id));
    }
    packets.sort_by_key(|packet| packet.time_ns);
    for threads in [1, 3] {
        for block_bytes in [1 << 20, 512] {
            let limits = Limits {
                block_bytes,
                ..Limits::default()
            };
            let options = Options {
                threads,
                limits,
                ..run::options()
            };
            let run = run::packets_with(&packets, &options);
            let mut kinds: Vec<_> = (run.records.iter())
                .map(|record| {
                    let outer = record
                        .client_hello
                        .as_ref()
                        .unwrap()
                        .ech_outer
                        .as_ref()
                        .unwrap();
                    let likely = outer.likely.as_ref();
                    let said = likely.map(|likely| {
                        (
                            &*likely.kind,
                            &*likely.lookup,
                            likely.public_name.as_deref(),
                        )
                    });
                    (record.client.port, said)
                })
                .collect();
            kinds.sort();
            assert_eq!(
                kinds,
                [
                    (50001, None),
                    (
                        50002,
                        Some(("real", "secret.example", Some("public.example")))
                    ),
                    (50003, None),
                    (50004, None),
                    (50005, Some(("grease", "plain.example", None))),
                    (50006, None),
                    (50007, Some(("grease", "none.example", None))),
                    (50008, None),
                ]
            );
            let line = "\"likely\":{\"kind\":\"real\",\"public_name\":\"public.example\"";
            assert!(run.ndjson.contains(line));
        }
    }
}
