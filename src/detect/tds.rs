//! TDS, the protocol of SQL Server ([MS-TDS] 2.2.6.5): TLS records travel inside PRELOGIN packets until the
//! handshake is done, then plainly. TDS 8.0 begins with TLS and needs nothing of this.
//!
//! ```text
//! 12 status len(2) spid(2) number 00  │ options: token(1) offset(2) length(2) … ff, then their values
//! 12 status len(2) spid(2) number 00  │ 16 03 01 …      a TLS record, or a part of one
//! ```

use super::framed::{Framing, Packet, is_tls};
use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};

pub(super) static ENTRY: Entry = Entry {
    name: "tds",
    ports: &[1433],
    upgrades: true,
    frames_tls: Some(Framing::Tds),
    recognise,
    start: || Box::new(Tds { client: None }),
};

const HEADER_BYTES: usize = 8;
const PACKET_BYTES_MAX: usize = 32 << 10;
const PRELOGIN: u8 = 0x12;
const RESPONSE: u8 = 0x04;
const LOGIN: u8 = 0x10;
const OPTION_ENCRYPTION: u8 = 1;
const OPTIONS_END: u8 = 0xff;
const OPTIONS_MAX: usize = 16;

const ENCRYPT_OFF: u8 = 0;
const ENCRYPT_NOT_SUPPORTED: u8 = 2;

/// Type and whole length of a packet.
fn header(bytes: &[u8]) -> Option<(u8, usize)> {
    let [kind, _, high, low, ..] = *bytes.first_chunk::<HEADER_BYTES>()?;
    Some((kind, usize::from(u16::from_be_bytes([high, low]))))
}

fn recognise(opening: &Opening<'_>) -> Guess {
    match opening.client {
        // The first option is the version; its offset lies behind the list.
        [PRELOGIN, 0 | 1, _, _, 0, 0, _, 0, 0, 0, ..] => Guess::Yes,
        bytes if bytes.len() < 10 && matches!(bytes, [PRELOGIN] | [PRELOGIN, 0 | 1, ..]) => {
            Guess::Maybe
        }
        _ => Guess::No,
    }
}

/// The ENCRYPTION option of a PRELOGIN.
fn encryption(body: &[u8]) -> Option<u8> {
    for option in body.chunks_exact(5).take(OPTIONS_MAX) {
        match option {
            [OPTION_ENCRYPTION, high, low, _, _] => {
                let offset = usize::from(u16::from_be_bytes([*high, *low]));
                // The upper half says that a client certificate is meant.
                return body.get(offset).map(|value| value & 0x0f);
            }
            [OPTIONS_END, ..] => return None,
            _ => {}
        }
    }
    None
}

/// The packet around TLS at the start of `rest`; behind the last one TLS records stand by themselves.
pub(super) fn unframe(rest: &[u8]) -> Packet<'_> {
    if is_tls(rest) {
        return Packet::Bare;
    }
    let Some((kind, length)) = header(rest) else {
        return Packet::Need(HEADER_BYTES);
    };
    if !matches!(kind, PRELOGIN | RESPONSE)
        || !(HEADER_BYTES + 1..=PACKET_BYTES_MAX).contains(&length)
    {
        return Packet::Broken;
    }
    match rest.get(HEADER_BYTES..length) {
        Some(payload) => Packet::Whole {
            length,
            payload,
            anew: false,
        },
        None => Packet::Need(length),
    }
}

#[derive(Debug)]
struct Tds {
    client: Option<u8>,
}

impl Dialogue for Tds {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let Some((kind, length)) = header(bytes) else {
            return Step::Need;
        };
        if from == Speaker::Client && kind == LOGIN {
            facts.in_clear();
            return Step::Done;
        }
        if !matches!(kind, PRELOGIN | RESPONSE)
            || !(HEADER_BYTES + 1..=PACKET_BYTES_MAX).contains(&length)
        {
            return Step::Done;
        }
        if bytes.get(HEADER_BYTES..).is_some_and(is_tls) {
            return Step::Framed;
        }
        let Some(body) = bytes.get(HEADER_BYTES..length) else {
            return Step::Need;
        };
        self.prelogin(from, encryption(body), facts);
        Step::Used(length)
    }
}

impl Tds {
    fn prelogin(&mut self, from: Speaker, encryption: Option<u8>, facts: &mut Facts) {
        let Some(encryption) = encryption else { return };
        if from == Speaker::Client {
            self.client = Some(encryption);
            match encryption {
                ENCRYPT_NOT_SUPPORTED => {}
                ENCRYPT_OFF => facts.request("login only"),
                _ => facts.request("whole session"),
            }
            return;
        }
        facts.offered = encryption != ENCRYPT_NOT_SUPPORTED;
        if facts.requested {
            let word: &[u8] = match encryption {
                ENCRYPT_OFF => b"ENCRYPT_OFF",
                1 => b"ENCRYPT_ON",
                ENCRYPT_NOT_SUPPORTED => b"ENCRYPT_NOT_SUP",
                _ => b"ENCRYPT_REQ",
            };
            facts.answered(facts.offered, word);
            if facts.offered && encryption != ENCRYPT_OFF {
                facts.mechanism = Some("whole session");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![kind, 1, 0, body.len() as u8 + 8, 0, 0, 1, 0];
        packet.extend_from_slice(body);
        packet
    }

    fn prelogin(kind: u8, encryption: u8) -> Vec<u8> {
        packet(
            kind,
            &[
                0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 1, 2, 3, 4, 5, 6, encryption,
            ],
        )
    }

    #[test]
    fn taken_refused_declined() {
        let facts = talk(&[
            (C, &prelogin(0x12, 1)),
            (S, &prelogin(4, 1)),
            (C, &packet(0x12, hello())),
        ]);
        assert_eq!(
            (facts.protocol, facts.framed, facts.accepted),
            (Some("tds"), true, Some(true))
        );
        assert_eq!(facts.mechanism, Some("whole session"));
        let facts = talk(&[
            (C, &prelogin(0x12, 0)),
            (S, &prelogin(4, 2)),
            (C, &packet(0x10, &[0; 100])),
        ]);
        assert_eq!((facts.accepted, facts.offered), (Some(false), false));
        assert!(facts.continued_in_clear && facts.requested);
        let facts = talk(&[
            (C, &prelogin(0x12, 2)),
            (S, &prelogin(4, 0)),
            (C, &packet(0x10, &[0; 100])),
        ]);
        assert!(facts.offered && !facts.requested && facts.continued_in_clear);
    }
}
