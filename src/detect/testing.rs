//! Plays talks made by hand: whole, split at every byte, byte by byte, bent; the facts must not depend on
//! how the bytes were cut.

use super::{Facts, Next, Parties, Speaker, Talk, Verdict, detect};
use crate::flow::Direction;

pub(super) const C: Speaker = Speaker::Client;
pub(super) const S: Speaker = Speaker::Server;

/// The start of a ClientHello.
pub(super) fn hello() -> &'static [u8] {
    b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03\x01\x02\x03\x04"
}

/// What was found out.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    facts: Facts,
    /// A hello was found.
    pub(super) tls: bool,
    /// What follows goes through the [`super::Unframer`].
    pub(super) framed: bool,
}

impl core::ops::Deref for Told {
    type Target = Facts;
    fn deref(&self) -> &Facts {
        &self.facts
    }
}

fn play(turns: &[(Speaker, Vec<u8>)]) -> Told {
    let parties = Parties {
        client: Direction::Up,
        certain: true,
        ports: [50_000, 9_999],
    };
    let mut talk: Option<Box<Talk>> = None;
    let (mut tls, mut over) = (false, false);
    let mut pending: [Vec<u8>; 2] = Default::default();
    let mut begun = [false; 2];
    for (from, bytes) in turns {
        let direction = match from {
            Speaker::Client => Direction::Up,
            Speaker::Server => Direction::Down,
        };
        // As a connection does: a hello at a segment's start needs no talk.
        let mut bytes = [
            core::mem::take(&mut pending[direction as usize]),
            bytes.clone(),
        ]
        .concat();
        match detect(
            &bytes,
            core::mem::replace(&mut begun[direction as usize], true),
        ) {
            Verdict::Tls => tls = true,
            Verdict::NeedMore(_) => {
                pending[direction as usize] = bytes;
                continue;
            }
            _ => {}
        }
        if tls {
            break;
        }
        if talk.is_none() && !over {
            talk = Talk::begin(parties, direction, &bytes);
            over = talk.is_none();
        }
        match talk.as_mut().map(|talk| talk.read(direction, &bytes, 7)) {
            Some(Next::Tls(at)) => {
                assert!(at < bytes.len());
                tls = true;
            }
            Some(Next::Hold { used, .. }) => {
                pending[direction as usize] = bytes.split_off(used);
            }
            Some(Next::More) | None => {}
        }
        if tls {
            break;
        }
    }
    if tls && let Some(talk) = &mut talk {
        talk.tls_begins();
    }
    let framed = talk.as_ref().is_some_and(|talk| talk.unframer.is_some());
    let mut facts = talk.map(|talk| talk.facts().clone()).unwrap_or_default();
    facts.stamp = 0;
    Told { facts, tls, framed }
}

/// Plays a talk in every cut; returns what it told.
pub(super) fn talk(turns: &[(Speaker, &[u8])]) -> Told {
    let whole: Vec<(Speaker, Vec<u8>)> = turns
        .iter()
        .map(|(from, bytes)| (*from, bytes.to_vec()))
        .collect();
    let told = play(&whole);
    for (index, (from, bytes)) in whole.iter().enumerate() {
        for cut in 1..bytes.len() {
            let mut split = whole.clone();
            split[index] = (*from, bytes[..cut].to_vec());
            split.insert(index + 1, (*from, bytes[cut..].to_vec()));
            assert_eq!(play(&split), told, "turn {index} cut at {cut}");
        }
        for (at, byte) in bytes.iter().enumerate() {
            for bent in [byte ^ 0x80, byte ^ 1, 0, 0xff] {
                let mut garbage = whole.clone();
                garbage[index].1[at] = bent;
                play(&garbage);
            }
            let mut short = whole.clone();
            short[index].1.truncate(at);
            play(&short);
        }
    }
    told
}

#[test]
fn other_talk_is_no_dialogue() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\x00",
        b"\xff\xfb\x01",
        b"{\"a\":1}",
        b"\x13BitTorrent protocol",
    ] {
        let told = talk(&[(S, bytes), (C, bytes)]);
        assert_eq!(told.protocol, None);
    }
}

#[test]
fn a_talk_without_end_is_given_up() {
    let mut turns: Vec<(Speaker, Vec<u8>)> = vec![(S, b"220 mx ESMTP\r\n".to_vec())];
    turns.extend((0..200).map(|_| (C, vec![b'A'; 1000])));
    assert_eq!(play(&turns).protocol, Some("smtp"));
    let mut turns: Vec<(Speaker, Vec<u8>)> = vec![(S, b"220 hi\r\n".to_vec())];
    turns.extend((0..200).map(|_| (S, b"220-hi\r\n".repeat(20))));
    assert_eq!(play(&turns).protocol, None);
}
