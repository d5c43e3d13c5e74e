//! OpenVPN's control channel, which carries TLS: over UDP each packet in a datagram, over TCP behind its length
//! (OpenVPN's protocol document, "TLS mode"; draft-ietf-openvpn-wire-protocol). With `tls-crypt` nothing can be seen.
//!
//! ```text
//! opcode·key(1) session(8) [HMAC(n) packet id(4) time(4)] acks(1) [ack(4)… remote session(8)] number(4) │ TLS
//! ```
//!
//! The part in brackets is there with `tls-auth`; how long its HMAC is shows in the first packets, whose other parts
//! have known lengths.

use super::framed::{Framing, Packet};
use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};

pub(super) static ENTRY: Entry = Entry {
    name: "openvpn",
    ports: &[1194],
    upgrades: true,
    frames_tls: Some(Framing::OpenVpn),
    recognise,
    start: || Box::new(OpenVpn { extra: None }),
};

/// Opcodes, which stand in the upper five bits of the first byte.
const CLIENT_RESET: [u8; 3] = [1, 7, 10];
const SERVER_RESET: [u8; 2] = [2, 8];
const SOFT_RESET: u8 = 3;
const CONTROL: u8 = 4;
const OPCODE_MAX: u8 = 11;

const SESSION_END: usize = 9;
/// Length of `tls-auth`'s part: none, or the HMAC of MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512, and eight bytes.
const EXTRAS: [usize; 7] = [0, 24, 28, 36, 40, 56, 72];
/// Acknowledgements of one packet at most.
const ACKS_MAX: u8 = 8;
/// Longest packet over TCP.
const PACKET_BYTES_MAX: usize = 4096;

/// A packet of the control channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control<'a> {
    /// The sender's session.
    pub session: [u8; 8],
    /// Which negotiation of keys: it counts up, and each has its own numbers and its own TLS.
    pub key: u8,
    /// It begins one.
    pub is_reset: bool,
    /// Its number.
    pub number: u32,
    /// TLS.
    pub payload: &'a [u8],
}

/// The length of `tls-auth`'s part in a packet that begins a session: all else in it has a known length.
fn extra_of_reset(packet: &[u8]) -> Option<usize> {
    let (opcode, rest) = (packet.first()? >> 3, packet.len().checked_sub(SESSION_END)?);
    let tail = if CLIENT_RESET.contains(&opcode) {
        5
    } else if SERVER_RESET.contains(&opcode) {
        5 + 4 + 8
    } else {
        return None;
    };
    let extra = rest.checked_sub(tail)?;
    let acks = u8::from(tail > 5);
    let fits = EXTRAS.contains(&extra)
        && packet.get(SESSION_END + extra) == Some(&acks)
        && packet.ends_with(&[0; 4]);
    fits.then_some(extra)
}

/// Acknowledgements, number and payload behind `extra` bytes.
fn body(packet: &[u8], extra: usize) -> Option<(u32, &[u8])> {
    let (acks, rest) = packet.get(SESSION_END + extra..)?.split_first()?;
    if *acks > ACKS_MAX {
        return None;
    }
    let known = match usize::from(*acks) {
        0 => 0,
        acks => 4 * acks + 8,
    };
    let (number, payload) = rest.get(known..)?.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), payload))
}

/// The start of a record with a hello.
fn is_hello(payload: &[u8]) -> bool {
    matches!(payload, [0x16, 3, 0..=4, _, _, 1 | 2, ..])
}

/// The length of `tls-auth`'s part, as a packet alone tells it: one that begins a session, or one with a hello.
pub fn extra(packet: &[u8]) -> Option<usize> {
    if packet.first()? >> 3 != CONTROL {
        return extra_of_reset(packet);
    }
    EXTRAS
        .into_iter()
        .find(|extra| body(packet, *extra).is_some_and(|(_, payload)| is_hello(payload)))
}

/// Can this datagram begin a conversation?
#[inline]
pub fn begins(datagram: &[u8]) -> bool {
    match datagram {
        // A client's reset of key 0, by length alone first: nearly nothing else has it.
        [0x38 | 0x50, ..] => {
            EXTRAS.contains(&datagram.len().wrapping_sub(SESSION_END + 5))
                && extra_of_reset(datagram).is_some()
        }
        [0x20..=0x27, ..] => extra(datagram).is_some(),
        _ => false,
    }
}

/// Reads a packet; `None` where it carries no part of TLS and begins nothing.
pub fn control(packet: &[u8], extra: usize) -> Option<Control<'_>> {
    let first = *packet.first()?;
    let opcode = first >> 3;
    let is_reset =
        opcode == SOFT_RESET || CLIENT_RESET.contains(&opcode) || SERVER_RESET.contains(&opcode);
    if !is_reset && opcode != CONTROL {
        return None;
    }
    let (number, payload) = body(packet, extra)?;
    Some(Control {
        session: *packet.get(1..)?.first_chunk::<8>()?,
        key: first & 7,
        is_reset,
        number,
        payload,
    })
}

/// The whole length of the packet at the start of a TCP stream; `None` where it can be none.
pub(super) fn framed(bytes: &[u8]) -> Option<usize> {
    let ([high, low, first], _) = bytes.split_first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let fits = (1..=OPCODE_MAX).contains(&(first >> 3)) && (1..=PACKET_BYTES_MAX).contains(&length);
    fits.then_some(length + 2)
}

/// The packet at the start of `rest`, and the TLS in it.
pub(super) fn unframe<'a>(rest: &'a [u8], known_extra: &mut Option<usize>) -> Packet<'a> {
    let Some(length) = framed(rest) else {
        return if rest.len() < 3 {
            Packet::Need(3)
        } else {
            Packet::Broken
        };
    };
    let Some(packet) = rest.get(2..length) else {
        return Packet::Need(length);
    };
    if known_extra.is_none() {
        *known_extra = extra(packet);
    }
    let read = known_extra.and_then(|extra| control(packet, extra));
    Packet::Whole {
        length,
        payload: read.map_or(&[], |control| control.payload),
        anew: read.is_some_and(|control| control.is_reset),
    }
}

fn recognise(opening: &Opening<'_>) -> Guess {
    match opening.client {
        [0, length, 0x38 | 0x50, ..]
            if EXTRAS.contains(&usize::from(*length).wrapping_sub(SESSION_END + 5)) =>
        {
            match opening.client.get(2..2 + usize::from(*length)) {
                Some(packet) if extra_of_reset(packet).is_some() => Guess::Yes,
                Some(_) => Guess::No,
                None => Guess::Maybe,
            }
        }
        [0] | [0, 14..=86] => Guess::Maybe,
        _ => Guess::No,
    }
}

#[derive(Debug)]
struct OpenVpn {
    extra: Option<usize>,
}

impl Dialogue for OpenVpn {
    fn read(&mut self, _: Speaker, bytes: &[u8], _: &mut Facts) -> Step {
        let Some(length) = framed(bytes) else {
            return if bytes.len() < 3 {
                Step::Need
            } else {
                Step::Done
            };
        };
        let Some(packet) = bytes.get(2..length) else {
            return Step::Need;
        };
        if self.extra.is_none() {
            self.extra = extra(packet);
        }
        let read = self.extra.and_then(|extra| control(packet, extra));
        if read.is_some_and(|control| is_hello(control.payload)) {
            return Step::Framed;
        }
        Step::Used(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::{C, S, hello, talk};

    fn packet(opcode: u8, extra: usize, acks: &[u32], number: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![opcode << 3, 1, 2, 3, 4, 5, 6, 7, 8];
        out.extend(vec![0x5a; extra]);
        out.push(acks.len() as u8);
        out.extend(acks.iter().flat_map(|ack| ack.to_be_bytes()));
        if !acks.is_empty() {
            out.extend([9; 8]);
        }
        out.extend(number.to_be_bytes());
        out.extend(payload);
        out
    }

    fn behind_length(packet: &[u8]) -> Vec<u8> {
        let mut out = (packet.len() as u16).to_be_bytes().to_vec();
        out.extend(packet);
        out
    }

    #[test]
    fn every_kind_of_tls_auth_is_told_by_length() {
        for extra_bytes in EXTRAS {
            let reset = packet(7, extra_bytes, &[], 0, &[]);
            assert!(begins(&reset), "{extra_bytes}");
            assert_eq!(extra(&reset), Some(extra_bytes));
            let answer = packet(8, extra_bytes, &[0], 0, &[]);
            assert_eq!(extra(&answer), Some(extra_bytes));
            let first = packet(4, extra_bytes, &[0], 1, b"\x16\x03\x01\0\x50\x01rest");
            assert!(begins(&first), "{extra_bytes}");
            let read = control(&first, extra_bytes).unwrap();
            assert_eq!((read.key, read.number), (0, 1));
            assert!(read.payload.starts_with(b"\x16\x03\x01"));
        }
        assert!(!begins(&packet(7, 41, &[], 0, &[])));
        assert!(!begins(&packet(7, 40, &[], 7, &[])));
        assert!(!begins(&packet(4, 28, &[], 1, b"no TLS")));
        assert!(!begins(b"") && !begins(b"\x38"));
    }

    #[test]
    fn over_tcp_tls_is_found_behind_the_resets() {
        let facts = talk(&[
            (C, &behind_length(&packet(7, 28, &[], 0, &[]))),
            (S, &behind_length(&packet(8, 28, &[0], 0, &[]))),
            (C, &behind_length(&packet(4, 28, &[0], 1, hello()))),
        ]);
        assert_eq!((facts.protocol, facts.framed), (Some("openvpn"), true));
    }
}
