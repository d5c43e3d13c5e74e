//! AMQP by its first eight bytes (AMQP 1.0 section 2.2; 0-9-1 section 4.2.2): id 2 of 1.0 asks for TLS.

use super::lines::begins;
use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};

pub(super) static ENTRY: Entry = Entry {
    name: "amqp",
    ports: &[5672],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || Box::new(Amqp),
};

const HEADER_BYTES: usize = 8;
const TLS: u8 = 2;

fn recognise(opening: &Opening<'_>) -> Guess {
    begins(opening.client, b"AMQP")
}

#[derive(Debug)]
struct Amqp;

impl Dialogue for Amqp {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Step::Need;
        };
        match (from, header) {
            (Speaker::Client, [b'A', b'M', b'Q', b'P', TLS, 1, ..]) => {
                facts.request("protocol id 2")
            }
            (Speaker::Client, _) => {
                facts.in_clear();
                return Step::Done;
            }
            (Speaker::Server, [b'A', b'M', b'Q', b'P', id, 1, ..]) => {
                facts.offered = *id == TLS;
                facts.answered(*id == TLS, id.to_string().as_bytes());
            }
            (Speaker::Server, _) => return Step::Done,
        }
        Step::Used(HEADER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    #[test]
    fn taken_refused_clear() {
        let ask: &[u8] = b"AMQP\x02\x01\x00\x00";
        let facts = talk(&[(C, ask), (S, ask), (C, hello())]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.accepted),
            (Some("amqp"), true, Some(true))
        );
        let facts = talk(&[(C, ask), (S, b"AMQP\x03\x01\x00\x00")]);
        assert_eq!(facts.accepted, Some(false));
        let facts = talk(&[(C, b"AMQP\x00\x00\x09\x01")]);
        assert!(facts.continued_in_clear && !facts.requested);
    }
}
