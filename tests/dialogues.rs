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
fn an_offer_that_is_overwritten_is_shown_where_it_stands() {
    let mut talk = smtp();
    talk.send(Server, b"220 ****\r\n")
        .send(Client, b"EHLO client\r\n")
        .send(Server, b"250-mail\r\n250-XXXXXXXA\r\n250 8BITMIME\r\n");
    let overwritten = talk.packets.len() as u64;
    talk.send(Client, b"MAIL FROM:<a@contoso.com>\r\n")
        .send(Server, b"250 ok\r\n")
        .close();
    let run = run(&talk);
    let dialogue = run.only().dialogue.as_ref().unwrap();
    assert!(dialogue.stripped && dialogue.continued_in_clear);
    assert_eq!(dialogue.frame, overwritten);
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

/// A conversation with this in front of its handshake.
fn behind(front: &[(Who, Vec<u8>)], cut: usize) -> Run {
    let mut talk = Talk::new("192.0.2.10:50000", "198.51.100.25:8080");
    talk.open();
    for (who, bytes) in front {
        talk.send_cut(*who, bytes, cut);
    }
    for (who, bytes) in tls::flights(&Hello::default()) {
        talk.send_cut(who, &bytes, 1400);
    }
    talk.close();
    run(&talk)
}

/// What is said in front of a handshake.
type Front = Vec<(Who, Vec<u8>)>;

/// A SOCKS 5 dialogue, with a log-on where `log_on`.
fn socks5(address: &[u8], log_on: bool) -> Front {
    let mut talk = vec![
        (Client, vec![5, 2, 0, 2]),
        (Server, vec![5, 2 * u8::from(log_on)]),
    ];
    if log_on {
        talk.push((Client, b"\x01\x03joe\x06geheim".to_vec()));
        talk.push((Server, vec![1, 0]));
    }
    talk.push((Client, [&[5, 1, 0][..], address, &[1, 187]].concat()));
    talk.push((Server, vec![5, 0, 0, 1, 10, 0, 0, 1, 0, 80]));
    talk
}

#[test]
fn proxies_name_the_target() {
    let v6: [u8; 17] = [4, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let named = b"\x03\x0cmail.example";
    let granted = vec![0, 90, 0, 0, 0, 0, 0, 0];
    let cases: [(&str, &str, Front); 6] = [
        (
            "http-connect",
            "mail.example:443",
            vec![
                (
                    Client,
                    b"CONNECT mail.example:443 HTTP/1.1\r\nHost: mail.example\r\nProxy-Authorization: Basic geheim\r\n\r\n"
                        .to_vec(),
                ),
                (Server, b"HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\n".to_vec()),
            ],
        ),
        (
            "socks4",
            "203.0.113.7:443",
            vec![(Client, b"\x04\x01\x01\xbb\xcb\x00\x71\x07geheim\0".to_vec()), (Server, granted.clone())],
        ),
        (
            "socks4",
            "mail.example:443",
            vec![(Client, b"\x04\x01\x01\xbb\0\0\0\x01geheim\0mail.example\0".to_vec()), (Server, granted)],
        ),
        ("socks5", "mail.example:443", socks5(named, false)),
        ("socks5", "mail.example:443", socks5(named, true)),
        ("socks5", "[2001:db8::7]:443", socks5(&v6, false)),
    ];
    for (kind, target, front) in cases {
        for cut in [1400, 3] {
            let run = behind(&front, cut);
            let record = run.only();
            let proxy = record.proxy.as_ref().unwrap();
            assert_eq!(
                (&*proxy.kind, proxy.target.as_deref()),
                (kind, Some(target))
            );
            assert!(record.outcome.is_complete(), "{kind} {cut} {}", run.ndjson);
            assert_eq!((record.certificates.len(), record.origin), (2, None));
            assert!(!run.ndjson.contains("geheim"), "{}", run.ndjson);
        }
    }
}

/// A header of PROXY protocol 2 (its section 2.2).
fn proxy_v2(command: u8, family: u8, addresses: &[u8], more: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend(((addresses.len() + more.len()) as u16).to_be_bytes());
    header.extend(addresses);
    header.extend(more);
    header
}

#[test]
fn proxy_headers_name_the_true_client() {
    let v4 = [203, 0, 113, 9, 198, 51, 100, 1, 0x9c, 0x40, 1, 187];
    let mut v6 = vec![0; 36];
    (v6[0], v6[15], v6[16], v6[31]) = (0x20, 9, 0x20, 1);
    v6[32..].copy_from_slice(&[0x9c, 0x40, 1, 187]);
    // A TLV: what the client called the server.
    let tlv = b"\x02\0\x0cmail.example";
    let line = |line: &[u8]| vec![(Client, line.to_vec())];
    for (kind, origin, front) in [
        (
            "proxy-v1",
            Some("203.0.113.9:40000"),
            line(b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 443\r\n"),
        ),
        (
            "proxy-v1",
            Some("[2001:db8::9]:40000"),
            line(b"PROXY TCP6 2001:db8::9 2001:db8::1 40000 443\r\n"),
        ),
        ("proxy-v1", None, line(b"PROXY UNKNOWN\r\n")),
        (
            "proxy-v2",
            Some("203.0.113.9:40000"),
            line(&proxy_v2(1, 0x11, &v4, tlv)),
        ),
        (
            "proxy-v2",
            Some("[2000::9]:40000"),
            line(&proxy_v2(1, 0x21, &v6, b"")),
        ),
        // A health check of the proxy's own.
        ("proxy-v2", None, line(&proxy_v2(0, 0, b"", tlv))),
    ] {
        for cut in [1400, 5] {
            let run = behind(&front, cut);
            let record = run.only();
            assert_eq!(record.proxy.as_ref().unwrap().kind, kind);
            let client = record.origin.map(|origin| origin.client.to_string());
            assert_eq!(client.as_deref(), origin, "{kind} {cut}");
            assert!(record.outcome.is_complete(), "{kind} {cut} {}", run.ndjson);
        }
    }
}

#[test]
fn one_dialogue_behind_another() {
    let mail = [
        (Server, b"220 mail.example ESMTP\r\n".to_vec()),
        (Client, b"EHLO client\r\n".to_vec()),
        (Server, b"250-mail.example\r\n250 STARTTLS\r\n".to_vec()),
        (Client, b"STARTTLS\r\n".to_vec()),
        (Server, b"220 go\r\n".to_vec()),
    ];
    let tunnel = [
        (Client, b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n".to_vec()),
        (Server, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ];
    let header = [(
        Client,
        b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 25\r\n".to_vec(),
    )];
    for (kind, front) in [("http-connect", &tunnel[..]), ("proxy-v1", &header[..])] {
        let run = behind(&[front, &mail].concat(), 1400);
        let record = run.only();
        assert_eq!(record.proxy.as_ref().unwrap().kind, kind);
        assert_eq!(record.starttls.as_deref(), Some("smtp"), "{}", run.ndjson);
        assert!(record.outcome.is_complete(), "{}", run.ndjson);
    }
}
