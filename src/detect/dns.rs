//! DNS over TCP (RFC 7766): each message behind its length. It leads to no TLS; its messages are handed on whole.

use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};
use crate::dns::{PORT, message};

/// Its line in [`DIALOGUES`](super::DIALOGUES).
pub(super) static ENTRY: Entry = Entry {
    name: "dns",
    ports: &[PORT],
    upgrades: false,
    frames_tls: None,
    recognise,
    start: || Box::new(Dns { messages: 0 }),
};

/// Messages read of one conversation.
const MESSAGES_MAX: u8 = 64;
/// Longest message that is read: lookups are short, zones are not.
const MESSAGE_BYTES_MAX: usize = 4096;

fn recognise(opening: &Opening<'_>) -> Guess {
    if opening.port != PORT || !opening.server.is_empty() && opening.client.is_empty() {
        return Guess::No;
    }
    match opening.client {
        [_] | [] => Guess::Maybe,
        [_, _, message @ ..] if message.len() <= message::HEADER_BYTES => Guess::Maybe,
        [_, _, message @ ..] if message::is_lookup(message) => Guess::Yes,
        _ => Guess::No,
    }
}

#[derive(Debug)]
struct Dns {
    messages: u8,
}

impl Dialogue for Dns {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
            return Step::Need;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MESSAGE_BYTES_MAX || self.messages >= MESSAGES_MAX {
            return Step::Done;
        }
        let Some(message) = rest.get(..length) else {
            return Step::Need;
        };
        self.messages += 1;
        facts.dns.push((from, message.into()));
        Step::Used(length + 2)
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::{Next, Parties, Talk};
    use crate::flow::Direction;

    #[test]
    fn messages_are_handed_on_whole() {
        let parties = Parties {
            client: Direction::Up,
            certain: true,
            ports: [40_000, 53],
        };
        let query = b"\0\x13\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
        let mut talk = Talk::begin(parties, Direction::Up, &query[..1]).unwrap();
        assert_eq!(talk.read(Direction::Up, &query[..1], 1), Next::More);
        assert_eq!(talk.read(Direction::Up, &query[1..16], 1), Next::More);
        assert!(talk.take_dns().is_empty());
        assert_eq!(talk.read(Direction::Up, &query[16..], 1), Next::More);
        let mut response = query.to_vec();
        response[4] = 0x81;
        assert_eq!(talk.read(Direction::Down, &response, 2), Next::More);
        let told = talk.take_dns();
        assert_eq!(told.len(), 2);
        assert_eq!(&*told[0].1, &query[2..]);
        assert_eq!(&*told[1].1, &response[2..]);
    }

    #[test]
    fn other_ports_speak_something_else() {
        let parties = Parties {
            client: Direction::Up,
            certain: true,
            ports: [40_000, 5300],
        };
        let query = b"\0\x13\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
        assert!(
            Talk::begin(parties, Direction::Up, query).is_none_or(|talk| talk.client().is_none())
        );
    }
}
