//! QUIC conversations, packet by packet: another connection on the same addresses, ids and addresses that move.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use support::{
    packets::{Packet, START_NS, datagram},
    quic::{Initial, crypto},
    run,
    tls::{Hello, extension, server_hello_tls13},
};
use tlscope::record::{Outcome, Timestamp};

const CLIENT: &str = "192.0.2.10:50000";
const SERVER: &str = "198.51.100.25:443";

fn ms(ms: i64) -> i64 {
    START_NS + ms * 1_000_000
}

/// A hello whose user agent is `agent` (a parameter of Google's).
fn hello(random: u8, agent: &str) -> Vec<u8> {
    let mut parameters = vec![0x71, 0x29, agent.len() as u8];
    parameters.extend(agent.bytes());
    let hello = Hello {
        random,
        more: extension(57, &parameters),
        ..Hello::default()
    };
    hello.message()
}

fn client_packet(keyed: &[u8], number: u8, frames: &[u8]) -> Vec<u8> {
    let initial = Initial {
        keyed,
        from_server: false,
        dcid: keyed,
        scid: b"client",
        number,
    };
    initial.seal(frames)
}

fn server_packet(keyed: &[u8], number: u8, frames: &[u8]) -> Vec<u8> {
    let initial = Initial {
        keyed,
        from_server: true,
        dcid: b"client",
        scid: b"server-id",
        number,
    };
    initial.seal(frames)
}

fn up(at: i64, payload: &[u8]) -> Packet {
    datagram(ms(at), CLIENT, SERVER, payload)
}

fn down(at: i64, payload: &[u8]) -> Packet {
    datagram(ms(at), SERVER, CLIENT, payload)
}

/// A Handshake packet, as whoever lacks the secrets sees it.
fn handshake_packet(dcid: &[u8], scid: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xe0, 0, 0, 0, 1];
    for id in [dcid, scid] {
        packet.push(id.len() as u8);
        packet.extend(id);
    }
    packet.extend([0x40, 32]);
    packet.extend([0x77; 32]);
    packet
}

/// CONNECTION_CLOSE with this error code.
fn close(code: u8) -> Vec<u8> {
    vec![0x1c, code, 0, 0]
}

fn agents(run: &run::Run) -> Vec<Option<&str>> {
    let quic = run
        .records
        .iter()
        .map(|record| record.quic.as_ref().unwrap());
    quic.map(|quic| quic.user_agent.as_deref()).collect()
}

#[test]
fn each_connection_on_the_same_addresses_keeps_what_its_own_hello_said() {
    let (first, second) = (b"first-id", b"other-id");
    let answer = server_hello_tls13(0x1301, 0x0304);
    let packets = [
        up(0, &client_packet(first, 0, &crypto(0, &hello(1, "one/1")))),
        down(10, &server_packet(first, 0, &crypto(0, &answer))),
        down(20, &server_packet(first, 1, &close(9))),
        up(
            5000,
            &client_packet(second, 0, &crypto(0, &hello(2, "two/2"))),
        ),
        down(5010, &server_packet(second, 0, &crypto(0, &answer))),
        up(5020, &[0x41; 60]),
        down(5030, &[0x41; 60]),
    ];
    let run = run::packets(&packets);
    assert_eq!(agents(&run), [Some("one/1"), Some("two/2")]);
    let [one, two] = &run.records[..] else {
        panic!("{}", run.ndjson);
    };
    assert_eq!(one.quic.as_ref().unwrap().close_code, Some(9));
    assert_eq!(two.quic.as_ref().unwrap().close_code, None);
    assert_eq!(one.outcome, Outcome::LateFailure);
    assert_eq!((one.start, one.end), (Timestamp(ms(0)), Timestamp(ms(20))));
    assert_eq!(
        (two.start, two.end),
        (Timestamp(ms(5000)), Timestamp(ms(5030)))
    );
}

#[test]
fn a_hello_that_was_never_answered_keeps_its_own_facts() {
    let (first, second) = (b"first-id", b"other-id");
    let packets = [
        up(0, &client_packet(first, 0, &crypto(0, &hello(1, "one/1")))),
        up(
            1000,
            &client_packet(first, 1, &crypto(0, &hello(1, "one/1"))),
        ),
        up(
            9000,
            &client_packet(second, 0, &crypto(0, &hello(2, "two/2"))),
        ),
        down(9010, &server_packet(second, 0, &close(2))),
        down(20000, b"noise"),
    ];
    let run = run::packets(&packets);
    assert_eq!(agents(&run), [Some("one/1"), Some("two/2")]);
    assert_eq!(run.records[0].outcome, Outcome::HelloUnanswered);
    assert_eq!(run.records[1].outcome, Outcome::HelloClosed);
    let codes = run
        .records
        .iter()
        .map(|record| record.quic.as_ref().unwrap().close_code);
    assert_eq!(codes.collect::<Vec<_>>(), [None, Some(2)]);
}

#[test]
fn ids_and_addresses_move_within_one_connection() {
    let hello = hello(1, "one/1");
    let (front, back) = hello.split_at(150);
    // The rest of the hello goes to the id that the server chose; the keys stay those of the first one.
    let moved = Initial {
        keyed: b"first-id",
        from_server: false,
        dcid: b"server-id",
        scid: b"client",
        number: 1,
    };
    let ack = [2, 0, 0, 0, 0];
    let packets = [
        up(0, &client_packet(b"first-id", 0, &crypto(0, front))),
        down(
            10,
            &server_packet(b"first-id", 0, &[&ack[..], &[0; 20]].concat()),
        ),
        up(20, &moved.seal(&crypto(150, back))),
        down(
            30,
            &server_packet(
                b"first-id",
                1,
                &crypto(0, &server_hello_tls13(0x1301, 0x0304)),
            ),
        ),
        up(40, &handshake_packet(b"server-id", b"client")),
        up(41, &[0x41; 60]),
        down(50, &[0x41; 60]),
        // The client's address changes behind the handshake: packets of no handshake.
        datagram(ms(60), "203.0.113.9:40000", SERVER, &[0x41; 60]),
        datagram(ms(70), SERVER, "203.0.113.9:40000", &[0x41; 60]),
    ];
    let run = run::packets(&packets);
    let record = run.only();
    assert_eq!(agents(&run), [Some("one/1")]);
    assert_eq!(record.client_hello.as_ref().unwrap().segments, 2);
    assert_eq!(record.outcome, Outcome::Established);
    assert_eq!(run.skipped("packets_udp"), 2);
}
