//! The packets of RFC 9001 and RFC 9369, appendix A, and what a machine makes of them.

use super::header::LongHeader;
use super::keys::{InitialKeys, retry_is_genuine};
use super::version::Version;
use super::{Machine, machine};
use crate::flow::Direction::{Down, Up};
use crate::tls::handshake::{Event, MachineLimits};

const DCID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
const LIMITS: MachineLimits = MachineLimits {
    message_bytes_max: 64 << 10,
    messages_max: 16,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter_map(|digit| char::from(digit).to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// A version with its client's Initial, its server's Initial and its Retry.
type Vector = (Version, Vec<u8>, Vec<u8>, Vec<u8>);

fn vectors() -> [Vector; 2] {
    let part = |name: &str| {
        let text = include_str!("vectors.txt");
        let from = text.find(&format!("[{name}]")).unwrap() + name.len() + 2;
        let rest = &text[from..];
        hex(&rest[..rest.find('[').unwrap_or(rest.len())])
    };
    [
        (
            Version::V1,
            part("client v1"),
            part("server v1"),
            part("retry v1"),
        ),
        (
            Version::V2,
            part("client v2"),
            part("server v2"),
            part("retry v2"),
        ),
    ]
}

fn events(machine: &mut Machine, up: bool, datagram: &[u8]) -> Vec<String> {
    let (mut found, mut scratch) = (Vec::new(), Vec::new());
    let direction = if up { Up } else { Down };
    machine.read(
        direction,
        datagram,
        &LIMITS,
        None,
        &mut scratch,
        &mut |told| {
            found.push(match told.event {
                Event::ClientHello { hello, .. } => {
                    let name = hello.details().sni.unwrap_or(b"");
                    format!("client {}", String::from_utf8_lossy(name))
                }
                Event::ServerHello(hello) => format!("server {:04x}", hello.cipher_suite),
                Event::ApplicationData { .. } => "1-rtt".into(),
                other => format!("{other:?}"),
            });
        },
    );
    found
}

#[test]
fn the_packets_of_the_rfcs_open() {
    for (version, client, server, retry) in vectors() {
        assert!(machine::begins(&client));
        let mut machine = Machine::default();
        assert_eq!(events(&mut machine, true, &client), ["client example.com"]);
        assert_eq!(events(&mut machine, false, &server), ["server 1301"]);
        assert_eq!(events(&mut machine, true, &[0x41; 40]), ["1-rtt"]);
        assert_eq!(machine.facts().version, Some(version));
        assert_eq!(retry_is_genuine(version, &DCID, &retry), Some(true));
        assert_eq!(retry_is_genuine(version, &DCID[1..], &retry), Some(false));
    }
}

#[test]
fn the_packet_number_and_the_frames_are_those_of_the_rfc() {
    let (_, client, ..) = &vectors()[0];
    let header = LongHeader::parse(client).unwrap();
    let initial = header.initial().unwrap();
    let at = client.len() - initial.bytes.len();
    let mut keys = InitialKeys::derive(Version::V1, &DCID).unwrap();
    let mut scratch = Vec::new();
    let (number, start) = keys
        .client()
        .open(&client[..at], initial.bytes, None, &mut scratch)
        .unwrap();
    assert_eq!(number, 2);
    assert_eq!(
        scratch[..start],
        hex("c300000001088394c8f03e5157080000449e00000002")
    );
    assert_eq!(scratch[start..start + 8], hex("060040f1010000ed"));
    assert!(
        keys.server()
            .open(&client[..at], initial.bytes, None, &mut scratch)
            .is_none()
    );
}

#[test]
fn a_retry_changes_the_keys_and_not_the_handshake() {
    let [(_, client, server, retry), _] = vectors();
    let mut machine = Machine::default();
    assert_eq!(events(&mut machine, true, &client).len(), 1);
    assert!(events(&mut machine, false, &retry).is_empty());
    assert!(machine.facts().retry);
    // The server's packet still opens with the keys of the first id.
    assert_eq!(events(&mut machine, false, &server), ["server 1301"]);
    let mut forged = retry.clone();
    forged[20] ^= 1;
    let mut machine = Machine::default();
    events(&mut machine, true, &client);
    events(&mut machine, false, &forged);
    assert!(!machine.facts().retry);
}

#[test]
fn another_version_with_the_same_id_is_the_same_connection() {
    let [(_, first, server, _), (_, second, answer, _)] = vectors();
    let mut machine = Machine::default();
    assert_eq!(events(&mut machine, true, &first).len(), 1);
    assert_eq!(events(&mut machine, false, &server).len(), 1);
    // Version 2 with the same id: taken as the same connection's (RFC 9368), its bytes are known.
    assert!(events(&mut machine, true, &second).is_empty());
    assert!(events(&mut machine, false, &answer).is_empty());
    assert_eq!(machine.facts().version, Some(Version::V2));
}

#[test]
fn a_capture_that_begins_with_the_server_finds_the_client() {
    let [(_, client, server, _), _] = vectors();
    let mut machine = Machine::default();
    assert!(events(&mut machine, false, &server).is_empty());
    assert_eq!(events(&mut machine, true, &client), ["client example.com"]);
    assert_eq!(events(&mut machine, false, &server), ["server 1301"]);
}

#[test]
fn a_cut_client_packet_still_gives_the_servers_keys() {
    let [(_, client, server, _), _] = vectors();
    let mut machine = Machine::default();
    assert!(events(&mut machine, true, &client[..100]).is_empty());
    assert_eq!(events(&mut machine, false, &server), ["server 1301"]);
    assert!(machine.is_cut());
}

#[test]
fn coalesced_packets_are_all_read() {
    let [(_, client, server, _), _] = vectors();
    let mut machine = Machine::default();
    events(&mut machine, true, &client);
    let mut datagram = server;
    // A Handshake packet, then 1-RTT.
    datagram.extend(hex("e0000000010008f067a5502a4262b503aabbcc41000000"));
    assert_eq!(
        events(&mut machine, false, &datagram),
        ["server 1301", "EncryptedHandshake", "1-rtt"]
    );
}

#[test]
fn every_prefix_and_flip_is_survived() {
    for (_, client, server, retry) in vectors() {
        for packet in [&client, &server, &retry] {
            for end in 0..packet.len() {
                let mut machine = Machine::default();
                events(&mut machine, true, &packet[..end]);
            }
            for at in (0..packet.len()).filter(|at| *at < 60 || at % 37 == 0) {
                let mut flipped = packet.clone();
                flipped[at] ^= 0x41;
                let mut machine = Machine::default();
                events(&mut machine, true, &client);
                events(&mut machine, false, &flipped);
                events(&mut machine, true, &flipped);
            }
        }
    }
}
