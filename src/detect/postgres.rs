//! PostgreSQL: SSLRequest, answered by one byte (PostgreSQL documentation, section 54.2.10).
//!
//! ```text
//! 00 00 00 08  04 d2 16 2f      SSLRequest        answer: 'S' yes, 'N' no
//! 00 00 00 08  04 d2 16 30      GSSENCRequest     answer: 'G' yes, 'N' no
//! len          00 03 00 0x      StartupMessage: the session goes on as it is
//! ```

use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};

pub(super) static ENTRY: Entry = Entry {
    name: "postgres",
    ports: &[5432],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || Box::new(Postgres { asked: None }),
};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];

fn recognise(opening: &Opening<'_>) -> Guess {
    match opening.client {
        [] => Guess::No,
        bytes => match bytes.first_chunk::<8>() {
            Some(&SSL_REQUEST | &GSS_REQUEST) => Guess::Yes,
            Some([0, 0, _, _, 0, 3, 0, 0 | 2]) if has_user(bytes) => Guess::Yes,
            Some([0, 0, _, _, 0, 3, 0, 0 | 2]) if bytes.len() < 13 => Guess::Maybe,
            None if matches!(bytes, [0] | [0, 0] | [0, 0, ..]) => Guess::Maybe,
            _ => Guess::No,
        },
    }
}

/// A StartupMessage names its user first.
fn has_user(bytes: &[u8]) -> bool {
    bytes.get(8..13) == Some(b"user\0")
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Ssl,
    Gss,
}

#[derive(Debug)]
struct Postgres {
    asked: Option<Asked>,
}

impl Dialogue for Postgres {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        if from == Speaker::Server {
            return self.answer(bytes, facts);
        }
        match bytes.first_chunk::<8>() {
            None => Step::Need,
            Some(&SSL_REQUEST) => {
                facts.request("SSLRequest");
                self.asked = Some(Asked::Ssl);
                Step::Used(8)
            }
            Some(&GSS_REQUEST) => {
                self.asked = Some(Asked::Gss);
                Step::Used(8)
            }
            Some([0, 0, _, _, 0, 3, 0, _]) => {
                facts.in_clear();
                Step::Done
            }
            Some(_) => Step::Done,
        }
    }
}

impl Postgres {
    fn answer(&mut self, bytes: &[u8], facts: &mut Facts) -> Step {
        match (self.asked.take(), bytes) {
            (Some(Asked::Ssl), [answer @ (b'S' | b'N' | b'E'), ..]) => {
                facts.offered = *answer == b'S';
                facts.answered(*answer == b'S', &[*answer]);
                Step::Used(1)
            }
            (Some(Asked::Gss), [b'N', ..]) => Step::Used(1),
            _ => Step::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GSS_REQUEST, SSL_REQUEST};
    use crate::detect::testing::{C, S, hello, talk};

    const STARTUP: &[u8] = b"\x00\x00\x00\x14\x00\x03\x00\x00user\0joe\0\0\0\0";

    #[test]
    fn taken_refused_declined() {
        let facts = talk(&[
            (C, &GSS_REQUEST),
            (S, b"N"),
            (C, &SSL_REQUEST),
            (S, b"S"),
            (C, hello()),
        ]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.accepted),
            (Some("postgres"), true, Some(true))
        );
        let facts = talk(&[(C, &SSL_REQUEST), (S, b"N"), (C, STARTUP)]);
        assert_eq!(facts.accepted, Some(false));
        assert!(facts.requested && facts.continued_in_clear);
        let facts = talk(&[(C, STARTUP)]);
        assert_eq!(facts.protocol, Some("postgres"));
        assert!(facts.continued_in_clear && !facts.requested);
    }
}
