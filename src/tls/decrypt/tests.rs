//! The handshake of RFC 8448 section 3, opened with its secrets: whole, in pieces, with holes, with wrong
//! keys, with damaged bytes.

use super::testing::bytes;
use super::{Keyring, Keys, OpenLimits};
use crate::flow::{Answer, Direction, Lent};
use crate::tls::handshake::{Event, Machine, MachineLimits, Opened, Trouble};
use crate::tls::keylog::Secrets;
use std::sync::Arc;

const RANDOM: &str = "cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7";
const SECRETS: [(&str, &str); 4] = [
    (
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21",
    ),
    (
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38",
    ),
    (
        "CLIENT_TRAFFIC_SECRET_0",
        "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
    ),
    (
        "SERVER_TRAFFIC_SECRET_0",
        "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
    ),
];
const UP: Direction = Direction::Up;
const DOWN: Direction = Direction::Down;

/// A record of the RFC's text, with its header.
fn record(name: &str) -> Vec<u8> {
    let text = include_str!("rfc8448.txt");
    let lines = text.lines().skip_while(|line| *line != name).skip(1);
    let hex: String = lines.take_while(|line| line.starts_with(' ')).collect();
    let fragment = bytes(&hex);
    assert!(!fragment.is_empty(), "{name}");
    let mut record = vec![23, 3, 3];
    record.extend((fragment.len() as u16).to_be_bytes());
    record.extend(fragment);
    record
}

fn hello(kind: u8, middle: &[u8], extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(bytes(RANDOM));
    body.push(0);
    body.extend(middle);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut record = vec![22, 3, 3];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([kind, 0, 0, body.len() as u8]);
    record.extend(body);
    record
}

/// What the client sends; its hello says only what matters here.
fn client() -> Vec<Vec<u8>> {
    vec![
        hello(1, &[0, 2, 0x13, 1, 1, 0], &[0, 43, 0, 3, 2, 3, 4]),
        record("client_finished"),
        record("client_data"),
        record("client_alert"),
    ]
}

fn server() -> Vec<Vec<u8>> {
    vec![
        hello(2, &[0x13, 1, 0], &[0, 43, 0, 2, 3, 4]),
        record("server_flight"),
        record("server_ticket"),
        record("server_data"),
        record("server_alert"),
    ]
}

fn ring(secrets: &[(&str, &str)]) -> Keyring {
    let log: String = secrets
        .iter()
        .map(|(label, secret)| format!("{label} {RANDOM} {secret}\n"))
        .collect();
    let known = Secrets::default();
    known.read(log.as_bytes(), 0, 100);
    let limits = OpenLimits {
        bytes_max: 1 << 16,
        record_bytes_max: 1024,
    };
    Keyring::new([Arc::new(known), Arc::default()], limits)
}

const LIMITS: MachineLimits = MachineLimits {
    message_bytes_max: 1 << 16,
    messages_max: 64,
};

/// A connection that is read with a keyring; what it told, in words.
struct Story {
    machine: Machine,
    ring: Keyring,
    told: Vec<String>,
}

impl Story {
    fn new(ring: Keyring) -> Self {
        Self {
            machine: Machine::default(),
            ring,
            told: Vec::new(),
        }
    }

    fn read(&mut self, direction: Direction, bytes: &[u8], after_gap: bool) -> Answer {
        let lent = Lent {
            bytes,
            segments: 1,
            after_gap,
            before_gap: false,
            stamp: 0,
            repeated: 0,
        };
        let keys = Keys {
            ring: &mut self.ring,
            order: 0,
        };
        let told = &mut self.told;
        self.machine
            .read(direction, &lent, &LIMITS, Some(keys), &mut |event| {
                told.extend(words(direction, &event));
            })
    }

    /// Reads bytes as they come in pieces.
    fn read_in_pieces(&mut self, direction: Direction, bytes: &[u8], size: usize) {
        let (mut at, mut end, mut need) = (0, 0, 1);
        while end < bytes.len() {
            end = (end + size).min(bytes.len());
            if end < at + need {
                continue;
            }
            match self.read(direction, &bytes[at..end], false) {
                Answer::Need { used, more } => (at, need) = (at + used, more),
                answer => panic!("{answer:?}"),
            }
        }
    }

    fn all(mut self, client: &[Vec<u8>], server: &[Vec<u8>]) -> Vec<String> {
        self.read(UP, &client[0], false);
        self.read(DOWN, &server.concat(), false);
        self.read(UP, &client[1..].concat(), false);
        self.told
    }
}

/// What an event tells beyond what is seen from outside.
fn words(direction: Direction, event: &Event<'_>) -> Option<String> {
    let who = if direction == UP { "client" } else { "server" };
    let what = match event {
        Event::Certificate(list) => {
            let lengths: Vec<usize> = list.iter().map(<[u8]>::len).collect();
            format!("certificates {lengths:?}")
        }
        Event::Message(kind) => format!("message {}", kind.0),
        Event::Opened(Opened::Record) => return None,
        Event::Opened(Opened::EncryptedExtensions(list)) => {
            let kinds: Vec<u16> = list.iter().map(|extension| extension.kind).collect();
            format!("extensions {kinds:?}")
        }
        Event::Opened(opened) => format!("{opened:?}"),
        Event::Trouble(trouble) => format!("{trouble:?}"),
        Event::Malformed | Event::TooLong => format!("{event:?}"),
        _ => return None,
    };
    Some(format!("{who}: {what}"))
}

const STORY: [&str; 8] = [
    "server: extensions [10, 28, 0]",
    "server: certificates [432]",
    "server: CertificateVerify(2052)",
    "server: message 20",
    "server: PostHandshake(HandshakeType(4))",
    "server: Alert { level: 1, code: 0 }",
    "client: message 20",
    "client: Alert { level: 1, code: 0 }",
];

#[test]
fn the_handshake_of_rfc_8448_opens() {
    let told = Story::new(ring(&SECRETS)).all(&client(), &server());
    assert_eq!(told, STORY);
}

#[test]
fn any_split_tells_the_same() {
    for size in 1..200 {
        let mut story = Story::new(ring(&SECRETS));
        story.read_in_pieces(UP, &client()[0], size);
        story.read_in_pieces(DOWN, &server().concat(), size);
        story.read_in_pieces(UP, &client()[1..].concat(), size);
        assert_eq!(story.told, STORY, "{size}");
    }
}

#[test]
fn without_keys_nothing_is_opened() {
    let told = Story::new(ring(&[])).all(&client(), &server());
    assert_eq!(told, ["server: Missing"]);
}

#[test]
fn with_half_of_the_keys_half_is_opened() {
    let told = Story::new(ring(&SECRETS[..2])).all(&client(), &server());
    assert_eq!(told, [&STORY[..4], &STORY[6..7]].concat());
    let told = Story::new(ring(&SECRETS[1..2])).all(&client(), &server());
    assert_eq!(told, STORY[..4]);
}

#[test]
fn wrong_keys_are_told_and_give_nothing() {
    let wrong = SECRETS.map(|(label, _)| (label, SECRETS[2].1));
    let told = Story::new(ring(&wrong)).all(&client(), &server());
    assert_eq!(told, ["server: Unfit"]);
    // A secret of SHA-384's length does not fit a suite of SHA-256 either.
    let long = "ab".repeat(48);
    let wrong = SECRETS.map(|(label, _)| (label, long.as_str()));
    let told = Story::new(ring(&wrong)).all(&client(), &server());
    assert_eq!(told, ["server: Unfit"]);
}

#[test]
fn a_lost_record_is_bridged() {
    // The ticket and the data are lost: the alert is opened for all that.
    let (client, server) = (client(), server());
    let mut story = Story::new(ring(&SECRETS));
    story.read(UP, &client[0], false);
    story.read(DOWN, &server[..2].concat(), false);
    story.read(DOWN, &server[4], true);
    assert_eq!(story.told, [&STORY[..4], &STORY[5..6]].concat());
    // The handshake is lost: the next keys are tried.
    let mut story = Story::new(ring(&SECRETS));
    story.read(UP, &client[0], false);
    story.read(DOWN, &server[0], false);
    story.read(DOWN, &server[3..].concat(), true);
    assert_eq!(story.told, STORY[5..6]);
}

#[test]
fn a_damaged_record_ends_the_opening_of_its_direction() {
    let (client, server) = (client(), server());
    // Of the first record under a key, and of one behind it.
    for (record, told_before, trouble) in [(2, 4, "server: Unfit"), (3, 5, "server: Lost")] {
        for at in 5..server[record].len() {
            let mut server = server.clone();
            server[record][at] ^= 1 << (at % 8);
            let told = Story::new(ring(&SECRETS)).all(&client, &server);
            let expected = [&STORY[..told_before], &[trouble], &STORY[6..]].concat();
            assert_eq!(told, expected, "{record} {at}");
        }
    }
}

#[test]
fn garbage_behind_a_hello_is_passed_over() {
    let mut noise = 7u32;
    for round in 0..200 {
        let mut story = Story::new(ring(&SECRETS));
        story.read(UP, &client()[0], false);
        story.read(DOWN, &server()[0], false);
        let mut bytes = server()[1..].concat();
        for byte in bytes.iter_mut().skip(round) {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if noise >> 24 < 40 {
                *byte = (noise >> 16) as u8;
            }
        }
        _ = story.read(DOWN, &bytes, round % 2 == 0);
        _ = story.read(UP, &bytes, round % 3 == 0);
    }
}

#[test]
fn the_caps_hold() {
    // No bytes behind the handshake, but short records: the alert is read, the data is not.
    let mut small = ring(&SECRETS);
    small.limits = OpenLimits {
        bytes_max: 128,
        record_bytes_max: 19,
    };
    let told = Story::new(small).all(&client(), &server());
    // The ticket is longer than that.
    assert_eq!(told, [&STORY[..4], &STORY[5..]].concat());
    let mut tiny = ring(&SECRETS);
    tiny.limits = OpenLimits {
        bytes_max: 1,
        record_bytes_max: 0,
    };
    let told = Story::new(tiny).all(&client(), &server());
    assert_eq!(told, ["server: Lost", "client: Lost"]);
}

#[test]
fn troubles_are_told_apart() {
    let mut suite = server();
    // A suite that does not exist.
    let place = suite[0].len() - 11;
    assert_eq!(suite[0][place..place + 2], [0x13, 1]);
    suite[0][place + 1] = 0xee;
    let told = Story::new(ring(&SECRETS)).all(&client(), &suite);
    assert_eq!(told, [format!("server: {:?}", Trouble::Suite)]);
}
