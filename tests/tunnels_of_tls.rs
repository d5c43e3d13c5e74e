//! TLS inside the numbered packets of another protocol: OpenVPN over UDP and TCP, Remote Desktop over UDP.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use support::{
    packets::{
        Packet, START_NS, Talk,
        Who::{self, Client, Server},
        datagram,
    },
    run::{self, Run},
    tls::{self, Hello},
};
use tlscope::record::{Protocol, Transport};

const ENDS: [&str; 2] = ["10.8.0.2:40000", "198.51.100.7:1194"];
/// What `tls-auth` with SHA-1 adds.
const EXTRA: usize = 28;

fn packet(who: Who, opcode: u8, key: u8, acks: bool, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![opcode << 3 | key];
    out.extend([who as u8 + 1; 8]);
    out.extend([0x5a; EXTRA]);
    out.push(u8::from(acks));
    if acks {
        out.extend([0, 0, 0, 1]);
        out.extend([9; 8]);
    }
    out.extend(number.to_be_bytes());
    out.extend(payload);
    out
}

/// The packets of a session's handshake, each side's TLS cut into parts of 100 bytes.
fn session(key: u8) -> Vec<(Who, Vec<u8>)> {
    let begin = if key == 0 { (7, 8) } else { (3, 3) };
    let mut out = vec![
        (Client, packet(Client, begin.0, key, false, 0, &[])),
        (Server, packet(Server, begin.1, key, key == 0, 0, &[])),
    ];
    let mut numbers = [0; 2];
    for (who, bytes) in tls::flights(&Hello::default()) {
        for part in bytes.chunks(100) {
            numbers[who as usize] += 1;
            out.push((who, packet(who, 4, key, false, numbers[who as usize], part)));
        }
    }
    out
}

fn over_udp(packets: &[(Who, Vec<u8>)]) -> Vec<Packet> {
    let numbered = (0..).zip(packets);
    numbered
        .map(|(n, (who, bytes))| {
            let [from, to] = match who {
                Client => ENDS,
                Server => [ENDS[1], ENDS[0]],
            };
            datagram(START_NS + n * 1_000_000, from, to, bytes)
        })
        .collect()
}

fn check(run: &Run, transport: Transport, handshakes: usize) {
    assert_eq!(run.records.len(), handshakes, "{}", run.ndjson);
    for (number, record) in run.records.iter().enumerate() {
        assert!(record.outcome.is_complete(), "{}", run.ndjson);
        assert_eq!(
            (record.transport, record.protocol),
            (transport, Protocol::Tls)
        );
        assert_eq!(record.starttls.as_deref(), Some("openvpn"));
        assert_eq!(record.renegotiation, number > 0);
        let hello = record.client_hello.as_ref().unwrap();
        assert!(hello.segments > 1 && hello.shape.ja4.starts_with('t'));
        assert!(
            record.server_hello.is_some() && record.defects.is_empty(),
            "{}",
            run.ndjson
        );
        assert_eq!(record.client.port, 40_000);
    }
}

#[test]
fn openvpn_over_udp_with_a_second_negotiation() {
    let mut packets = session(0);
    packets.extend(session(1));
    check(
        &run::packets_with(&over_udp(&packets), &run::options()),
        Transport::Udp,
        2,
    );
}

#[test]
fn parts_that_come_out_of_order_or_twice_are_put_in_order() {
    let mut packets = session(0);
    // The hello's parts in reverse, and the first one twice; the server's resets again.
    packets[2..5].reverse();
    packets.insert(5, packets[4].clone());
    packets.insert(6, packets[1].clone());
    let run = run::packets_with(&over_udp(&packets), &run::options());
    check(&run, Transport::Udp, 1);
}

#[test]
fn openvpn_over_tcp_with_a_second_negotiation() {
    let mut talk = Talk::new(ENDS[0], ENDS[1]);
    talk.open();
    for (who, bytes) in session(0).into_iter().chain(session(1)) {
        let mut framed = (bytes.len() as u16).to_be_bytes().to_vec();
        framed.extend(bytes);
        talk.send_cut(who, &framed, 90);
    }
    talk.close();
    check(
        &run::packets_with(&talk.packets, &run::options()),
        Transport::Tcp,
        2,
    );
}

#[test]
fn a_cipher_around_the_control_channel_shows_nothing() {
    let mut packets = session(0);
    for (_, bytes) in &mut packets {
        // tls-crypt: behind the session's id everything looks random.
        for byte in &mut bytes[17..] {
            *byte = byte.wrapping_mul(31) ^ 0xa7;
        }
    }
    let run = run::packets_with(&over_udp(&packets), &run::options());
    assert!(run.records.is_empty(), "{}", run.ndjson);
}
