//! SSL 2.0 from hello to data: what was chosen, and when the handshake is done.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use support::{
    packets::{
        Talk,
        Who::{self, Client, Server},
    },
    run::{self, Run},
};
use tlscope::record::Outcome;

fn record(body: &[u8]) -> Vec<u8> {
    let mut record = (0x8000 | body.len() as u16).to_be_bytes().to_vec();
    record.extend(body);
    record
}

/// An encrypted record with seven bytes of padding.
fn sealed(length: usize) -> Vec<u8> {
    let mut record = (length as u16).to_be_bytes().to_vec();
    record.push(7);
    record.extend(vec![0xc7; length]);
    record
}

/// Hellos of SSL 2.0 with three cipher kinds; the server's without a certificate.
fn hellos() -> Vec<(Who, Vec<u8>)> {
    let kinds = [5, 0, 0x80, 3, 0, 0x80, 7, 0, 0xc0];
    let client = [&[1, 0, 2, 0, 9, 0, 0, 0, 16][..], &kinds, &[7; 16]].concat();
    let server = [&[4, 0, 1, 0, 2, 0, 0, 0, 9, 0, 16][..], &kinds, &[8; 16]].concat();
    vec![(Client, record(&client)), (Server, record(&server))]
}

fn master_key() -> Vec<u8> {
    record(&[&[2, 5, 0, 0x80, 0, 0, 0, 48, 0, 8][..], &[9; 56]].concat())
}

fn run_of(said: &[(Who, Vec<u8>)], cut: usize) -> Run {
    let mut talk = Talk::default();
    talk.open();
    for (who, bytes) in said {
        talk.send_cut(*who, bytes, cut);
    }
    talk.close();
    run::packets(&talk.packets)
}

#[test]
fn a_whole_handshake_is_no_abort() {
    let rest = [
        (Client, master_key()),
        (Server, sealed(40)),
        (Client, sealed(40)),
        (Server, sealed(40)),
        (Client, sealed(2000)),
        (Server, record(&[0xc7; 3000])),
    ];
    let said = [hellos(), rest.to_vec()].concat();
    for cut in [1400, 9] {
        let run = run_of(&said, cut);
        let record = run.only();
        assert_eq!(record.outcome, Outcome::Established, "{}", run.ndjson);
        let observed = record.observed.as_ref().unwrap();
        assert_eq!(observed.sslv2_cipher_kind.as_deref(), Some("0x050080"));
        assert_eq!(observed.sslv2_cipher_kinds.as_ref().unwrap().len(), 3);
        let bytes = record.application_bytes.unwrap();
        assert_eq!((bytes.client, bytes.server), (2000, 3000));
    }
}

#[test]
fn a_client_that_leaves_behind_the_hellos_aborts() {
    let record = run_of(&hellos(), 1400).only().clone();
    assert_eq!(record.outcome, Outcome::ClientAbort);
    // It chose, and the server did not go along: it says ERROR, and is heard no more.
    let mut said = hellos();
    said.extend([(Client, master_key()), (Server, record_of_error())]);
    let record = run_of(&said, 1400).only().clone();
    assert!(!record.outcome.is_complete());
    assert_eq!(record.stopped_after.as_deref(), Some("client_key_exchange"));
}

fn record_of_error() -> Vec<u8> {
    record(&[0, 0, 1])
}
