//! Dialogues in front of TLS, from packets to records: repeated segments, headers in the hello's own segment, TLS
//! inside other packets, refusals.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use support::{
    packets::{
        ACK, PSH, Talk,
        Who::{self, Client, Server},
    },
    run::{self, Run},
    tls::{self, Hello},
};
use tlscope::record::Outcome;

const SMTP: [(Who, &[u8]); 5] = [
    (Server, b"220 mail.contoso.com ESMTP\r\n"),
    (Client, b"EHLO client\r\n"),
    (Server, b"250-mail.contoso.com\r\n250 STARTTLS\r\n"),
    (Client, b"STARTTLS\r\n"),
    (Server, b"220 go ahead\r\n"),
];

fn run(talk: &Talk) -> Run {
    run::packets_with(&talk.packets, &run::options())
}

fn smtp() -> Talk {
    let mut talk = Talk::new("192.0.2.10:50000", "198.51.100.25:2500");
    talk.open();
    talk
}

#[test]
fn every_segment_comes_twice() {
    let mut talk = smtp();
    let flights = tls::flights(&Hello::default());
    let said = SMTP.map(|(who, bytes)| (who, bytes.to_vec()));
    for (who, bytes) in said.into_iter().chain(flights) {
        let at = talk.sent[who as usize];
        talk.send(who, &bytes);
        talk.wait_ms(200);
        talk.segment(who, PSH | ACK, at, &bytes);
    }
    talk.close();
    let run = run(&talk);
    let record = run.only();
    assert!(record.outcome.is_complete(), "{}", run.ndjson);
    assert_eq!(record.starttls.as_deref(), Some("smtp"));
    let dialogue = record.dialogue.as_ref().unwrap();
    assert!(dialogue.offered && dialogue.requested);
    assert_eq!(dialogue.accepted, Some(true));
    assert_eq!(record.client_hello.as_ref().unwrap().segments, 1);
}

#[test]
fn an_early_segment_comes_late_again() {
    let mut talk = smtp();
    for (who, bytes) in SMTP {
        talk.send(who, bytes);
    }
    talk.wait_ms(200);
    talk.segment(Client, PSH | ACK, 0, SMTP[1].1);
    for (who, bytes) in tls::flights(&Hello::default()) {
        talk.send(who, &bytes);
    }
    talk.close();
    let run = run(&talk);
    assert!(run.only().outcome.is_complete(), "{}", run.ndjson);
}

#[test]
fn silence_and_reset_after_starttls_are_no_other_answer() {
    for (reset, outcome) in [
        (true, Outcome::HelloReset),
        (false, Outcome::HelloUnanswered),
    ] {
        let mut talk = smtp();
        for (who, bytes) in SMTP {
            talk.send(who, bytes);
        }
        talk.send(Client, &Hello::default().record());
        if reset {
            talk.rst(Server);
        } else {
            talk.wait_ms(10_000).close();
        }
        assert_eq!(run(&talk).only().outcome, outcome);
    }
}

#[test]
fn a_refused_request_is_a_record() {
    let mut talk = smtp();
    for (who, bytes) in SMTP.into_iter().take(4) {
        talk.send(who, bytes);
    }
    talk.send(Server, b"454 TLS not available\r\n");
    talk.send(Client, b"AUTH PLAIN c2VjcmV0\r\n").close();
    let run = run(&talk);
    let record = run.only();
    let dialogue = record.dialogue.as_ref().unwrap();
    assert_eq!(record.starttls, None);
    assert_eq!(dialogue.answer.as_deref(), Some("454"));
    assert!(dialogue.continued_in_clear);
    assert!(!run.ndjson.contains("c2VjcmV0"));
}

#[test]
fn a_proxy_header_shares_the_hellos_segment() {
    let header = b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 443\r\n";
    let mut talk = Talk::default();
    talk.open();
    for (index, (who, bytes)) in tls::flights(&Hello::default()).into_iter().enumerate() {
        let bytes = if index == 0 {
            [&header[..], &bytes].concat()
        } else {
            bytes
        };
        talk.send_cut(who, &bytes, 1400);
    }
    talk.close();
    let run = run(&talk);
    let record = run.only();
    assert!(record.outcome.is_complete(), "{}", run.ndjson);
    assert_eq!(record.proxy.as_ref().unwrap().kind, "proxy-v1");
    let origin = record.origin.unwrap();
    assert_eq!(origin.client.to_string(), "203.0.113.9:40000");
    assert_eq!(origin.server.to_string(), "198.51.100.1:443");
    assert_eq!(record.certificates.len(), 2);
}

/// TDS packets of at most `size` bytes around these.
fn framed(kind: u8, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut packets = Vec::new();
    for (number, piece) in bytes.chunks(size - 8).enumerate() {
        let length = (piece.len() + 8) as u16;
        let last = u8::from((number + 1) * (size - 8) >= bytes.len());
        packets.extend([kind, last]);
        packets.extend(length.to_be_bytes());
        packets.extend([0, 0, number as u8, 0]);
        packets.extend(piece);
    }
    packets
}

#[test]
fn tls_inside_tds_packets() {
    let prelogin = [0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 15, 0, 0, 0, 0, 0, 1];
    for (size, cut) in [(4096, 1400), (512, 1400), (512, 100), (4096, 7)] {
        let mut talk = Talk::new("192.0.2.10:50000", "198.51.100.25:14330");
        talk.open();
        talk.send(Client, &framed(0x12, &prelogin, size));
        talk.send(Server, &framed(0x04, &prelogin, size));
        for (index, (who, bytes)) in tls::flights(&Hello::default()).into_iter().enumerate() {
            // The handshake is inside packets, what follows is not.
            let bytes = match index {
                0..=3 => framed(0x12, &bytes, size),
                _ => bytes,
            };
            talk.send_cut(who, &bytes, cut);
        }
        talk.close();
        let run = run(&talk);
        let record = run.only();
        assert!(record.outcome.is_complete(), "{size} {cut} {}", run.ndjson);
        assert_eq!(record.starttls.as_deref(), Some("tds"));
        assert_eq!(record.certificates.len(), 2);
        assert!(record.application_bytes.unwrap().server >= 3000);
    }
}
