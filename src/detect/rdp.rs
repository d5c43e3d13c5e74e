//! RDP: X.224 negotiation of TLS and CredSSP ([MS-RDPBCGR] 2.2.1.1, 2.2.1.2).
//!
//! ```text
//! 03 00 len(2)  li e0 dst(2) src(2) class  [Cookie: mstshash=… CR LF]  01 flags 08 00 requestedProtocols(4)
//! 03 00 len(2)  li d0 dst(2) src(2) class                               02 flags 08 00 selectedProtocol(4)
//!                                                                       03 flags 08 00 failureCode(4)
//! ```

use super::lines::contains;
use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};

pub(super) static ENTRY: Entry = Entry {
    name: "rdp",
    ports: &[3389],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || Box::new(Rdp),
};

const CONNECTION_REQUEST: u8 = 0xe0;
const CONNECTION_CONFIRM: u8 = 0xd0;
/// TPKT header and the fixed part of X.224.
const FIXED_BYTES: usize = 11;
const NEGOTIATION_BYTES: usize = 8;

/// A protocol of the negotiation.
fn mechanism(protocols: u32) -> &'static str {
    match protocols {
        _ if protocols & 0x10 != 0 => "RDSAAD",
        _ if protocols & 0x8 != 0 => "CredSSP-EX",
        _ if protocols & 0x2 != 0 => "CredSSP",
        _ if protocols & 0x4 != 0 => "RDSTLS",
        _ if protocols & 0x1 != 0 => "TLS",
        _ => "RDP",
    }
}

/// What a server says why it can't go on.
fn failure(code: u32) -> &'static [u8] {
    match code {
        1 => b"SSL_REQUIRED_BY_SERVER",
        2 => b"SSL_NOT_ALLOWED_BY_SERVER",
        3 => b"SSL_CERT_NOT_ON_SERVER",
        4 => b"INCONSISTENT_FLAGS",
        5 => b"HYBRID_REQUIRED_BY_SERVER",
        6 => b"SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
        _ => b"failure",
    }
}

/// The negotiation at a packet's end: type and value.
fn negotiation(packet: &[u8]) -> Option<(u8, u32)> {
    let tail = packet.get(FIXED_BYTES..)?;
    let at = tail
        .windows(NEGOTIATION_BYTES)
        .rposition(|window| matches!(window, [1..=3, _, 8, 0, ..]))?;
    let [kind, _, _, _, a, b, c, d] = *tail.get(at..)?.first_chunk()?;
    Some((kind, u32::from_le_bytes([a, b, c, d])))
}

fn recognise(opening: &Opening<'_>) -> Guess {
    match opening.client {
        [3] | [3, 0] | [3, 0, 0] | [3, 0, 0, _] | [3, 0, 0, _, _] => Guess::Maybe,
        [3, 0, 0, length, _, CONNECTION_REQUEST, ..] => {
            let packet = opening.client.get(..usize::from(*length));
            let known = opening.port == 3389
                || contains(opening.client, b"Cookie: mst")
                || packet.and_then(negotiation).is_some();
            match (packet, known) {
                (_, true) => Guess::Yes,
                (None, _) => Guess::Maybe,
                _ => Guess::No,
            }
        }
        _ => Guess::No,
    }
}

#[derive(Debug)]
struct Rdp;

impl Dialogue for Rdp {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let Some(&[version, 0, high, low]) = bytes.first_chunk::<4>() else {
            return if bytes.len() < 4 {
                Step::Need
            } else {
                Step::Done
            };
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if version != 3 || !(7..=1024).contains(&length) {
            return Step::Done;
        }
        let Some(packet) = bytes.get(..length) else {
            return Step::Need;
        };
        match (from, packet.get(5)) {
            (Speaker::Client, Some(&CONNECTION_REQUEST)) => {
                if let Some((1, protocols)) = negotiation(packet)
                    && protocols != 0
                {
                    facts.request(mechanism(protocols));
                }
            }
            (Speaker::Server, Some(&CONNECTION_CONFIRM)) => confirm(packet, facts),
            // Anything else without TLS is a session under RDP's own encryption.
            (Speaker::Client, _) => {
                facts.in_clear();
                return Step::Done;
            }
            _ => return Step::Done,
        }
        Step::Used(length)
    }
}

fn confirm(packet: &[u8], facts: &mut Facts) {
    match negotiation(packet) {
        Some((2, protocol)) => {
            facts.offered |= protocol != 0;
            facts.mechanism = Some(mechanism(protocol));
            facts.answered(protocol != 0, mechanism(protocol).as_bytes());
        }
        Some((3, code)) => {
            facts.offered |= matches!(code, 1 | 5 | 6);
            facts.answered(false, failure(code));
        }
        _ => facts.answered(false, b""),
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    fn request(protocols: u8) -> Vec<u8> {
        let mut packet = b"\x03\x00\x00\x00\x00\xe0\0\0\0\0\0Cookie: mstshash=joe\r\n".to_vec();
        packet.extend_from_slice(&[1, 0, 8, 0, protocols, 0, 0, 0]);
        packet[3] = packet.len() as u8;
        packet[4] = packet[3] - 5;
        packet
    }

    fn confirm(kind: u8, value: u8) -> Vec<u8> {
        vec![
            3, 0, 0, 19, 14, 0xd0, 0, 0, 0, 0, 0, kind, 0, 8, 0, value, 0, 0, 0,
        ]
    }

    #[test]
    fn taken_refused_declined() {
        let facts = talk(&[(C, &request(3)), (S, &confirm(2, 2)), (C, hello())]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.accepted),
            (Some("rdp"), true, Some(true))
        );
        assert_eq!(facts.mechanism, Some("CredSSP"));
        let facts = talk(&[(C, &request(1)), (S, &confirm(3, 5))]);
        assert_eq!(facts.accepted, Some(false));
        assert_eq!(
            facts.answer.as_deref(),
            Some(&b"HYBRID_REQUIRED_BY_SERVER"[..])
        );
        let facts = talk(&[
            (C, &request(0)),
            (S, &confirm(2, 0)),
            (C, b"\x03\x00\x00\x0b\x02\xf0\x80\x7f\x65\x00\x00"),
        ]);
        assert!(!facts.requested && facts.continued_in_clear);
    }
}
