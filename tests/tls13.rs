//! What is special about TLS 1.3: its drafts, pre-shared keys that are sessions and those that are not, records that only
//! pretend.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use support::{
    packets::{
        Talk,
        Who::{Client, Server},
    },
    run::{self, Run},
    tls::{Hello, extension, record, server_hello_tls13, server_hello_with, vec8, vec16},
};
use tlscope::record::Psk;

const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

/// A handshake of TLS 1.3 as it looks from outside, with ChangeCipherSpecs that mean nothing where `compatible`.
fn handshake(hello: &Hello, answer: &[u8], compatible: bool) -> Run {
    let change = match compatible {
        true => &CHANGE_CIPHER_SPEC[..],
        false => &[],
    };
    let sealed = |length: usize| record(23, 0x0303, &vec![0xc7; length]);
    let mut talk = Talk::default();
    talk.open().send(Client, &hello.record());
    let flight = [&record(22, 0x0303, answer), change, &sealed(1400)].concat();
    talk.send(Server, &flight);
    talk.send(Client, &[change, &sealed(53), &sealed(200)].concat());
    talk.send(Server, &sealed(900)).close();
    run::packets_with(&talk.packets, &run::options())
}

#[test]
fn drafts_have_their_names() {
    for draft in 22..=28u16 {
        for compatible in [false, true] {
            let version = 0x7f00 | draft;
            let hello = Hello {
                versions: vec![version, 0x0303],
                ..Hello::default()
            };
            let run = handshake(&hello, &server_hello_tls13(0x1301, version), compatible);
            let record = run.only();
            let shape = &record.server_hello.as_ref().unwrap().shape;
            let name = format!("TLS 1.3 draft {draft}");
            assert_eq!(shape.version_name.as_deref(), Some(&*name));
            assert!(record.outcome.is_complete(), "{}", run.ndjson);
            assert_eq!(record.alerts.len(), 0);
        }
    }
}

/// A pre_shared_key extension with identities of these lengths and ticket ages.
fn offer(identities: &[(usize, u32)]) -> Vec<u8> {
    let (mut list, mut binders) = (Vec::new(), Vec::new());
    for &(length, age) in identities {
        list.extend(vec16(&vec![0x1d; length]));
        list.extend(age.to_be_bytes());
        binders.extend(vec8(&[0xb1; 32]));
    }
    extension(41, &[vec16(&list), vec16(&binders)].concat())
}

/// Selects one of them.
fn select(number: u16) -> Vec<u8> {
    let mut share = vec![0, 0x1d];
    share.extend(vec16(&[0x5a; 32]));
    let extensions = [
        extension(51, &share),
        extension(43, &[3, 4]),
        extension(41, &number.to_be_bytes()),
    ];
    server_hello_with(0x1301, &extensions.concat())
}

#[test]
fn a_key_that_was_given_is_no_resumption() {
    let offers = [(192, 0x1234_5678), (7, 0)];
    let hello = Hello {
        more: offer(&offers),
        ..Hello::default()
    };
    for (number, psk, resumed) in [
        (0, Some(Psk::Resumption), true),
        (1, Some(Psk::External), false),
        // None that was offered: whatever it is, the server says that it goes on with a key.
        (2, None, true),
    ] {
        let run = handshake(&hello, &select(number), true);
        let record = run.only();
        let identities = record
            .client_hello
            .as_ref()
            .unwrap()
            .psk_identities
            .as_ref();
        let seen = identities.unwrap().iter();
        let seen = seen.map(|one| (usize::from(one.length), one.obfuscated_ticket_age));
        assert_eq!(seen.collect::<Vec<_>>(), offers);
        let answer = record.server_hello.as_ref().unwrap();
        assert_eq!((answer.psk, answer.resumed), (psk, resumed));
        assert!(record.outcome.is_complete(), "{}", run.ndjson);
    }
    let run = handshake(&hello, &server_hello_tls13(0x1301, 0x0304), true);
    let answer = run.only().server_hello.as_ref().unwrap();
    assert_eq!((answer.psk, answer.resumed), (None, false));
}
