//! LDAP: the StartTLS extended operation (RFC 4511 section 4.14).
//!
//! ```text
//! 30 len  02 len messageID  77 len  80 len 1.3.6.1.4.1.1466.20037      ExtendedRequest
//! 30 len  02 len messageID  78 len  0a 01 resultCode …                ExtendedResponse
//! ```

use super::lines::contains;
use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};

pub(super) static ENTRY: Entry = Entry {
    name: "ldap",
    ports: &[389, 3268],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || Box::new(Ldap { messages: 0 }),
};

const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
const MESSAGES_MAX: u8 = 32;
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const BIND_REQUEST: u8 = 0x60;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
/// In a BindRequest: a password. In an ExtendedRequest: the operation's name.
const CONTEXT_0: u8 = 0x80;

/// Tag, length of the contents, length of the header; `None` where more is needed or it is none.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    if first < 0x80 {
        return Some((tag, usize::from(first), 2));
    }
    let count = usize::from(first & 0x7f);
    let digits = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
    let length = digits
        .iter()
        .fold(0usize, |sum, &digit| (sum << 8) | usize::from(digit));
    Some((tag, length, 2 + count))
}

/// The first element: its tag, its contents, what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, length, start) = header(bytes)?;
    let (contents, rest) = bytes.get(start..)?.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// The operation that a message begins: its tag.
fn operation(bytes: &[u8]) -> Option<u8> {
    let (_, _, start) = header(bytes).filter(|(tag, _, _)| *tag == SEQUENCE)?;
    let (_, id, rest) = element(bytes.get(start..)?).filter(|(tag, _, _)| *tag == INTEGER)?;
    (id.len() <= 4).then_some(())?;
    rest.first().copied()
}

fn recognise(opening: &Opening<'_>) -> Guess {
    match opening.client {
        [] => Guess::No,
        [SEQUENCE] => Guess::Maybe,
        bytes => match operation(bytes) {
            // Bind, search, abandon, extended.
            Some(0x60 | 0x63 | 0x50 | 0x77) => Guess::Yes,
            None if bytes.len() < 16 && bytes.first() == Some(&SEQUENCE) => Guess::Maybe,
            _ => Guess::No,
        },
    }
}

#[derive(Debug)]
struct Ldap {
    messages: u8,
}

impl Dialogue for Ldap {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let (length, start) = match header(bytes) {
            Some((SEQUENCE, length, start)) => (length, start),
            None if bytes.len() < 6 => return Step::Need,
            _ => return Step::Done,
        };
        let Some(message) = bytes.get(start..start.saturating_add(length)) else {
            return Step::Need;
        };
        self.messages += 1;
        if self.messages > MESSAGES_MAX {
            return Step::Done;
        }
        if from == Speaker::Server && contains(message, START_TLS) {
            // Among the supportedExtension of the root.
            facts.offer();
        }
        let operation = element(message).and_then(|(_, _, rest)| element(rest));
        if let Some((tag, contents, _)) = operation {
            take(from, tag, contents, facts);
        }
        if facts.continued_in_clear {
            return Step::Done;
        }
        Step::Used(start + length)
    }
}

fn take(from: Speaker, tag: u8, contents: &[u8], facts: &mut Facts) {
    match (from, tag) {
        (Speaker::Client, EXTENDED_REQUEST) => {
            if matches!(element(contents), Some((CONTEXT_0, START_TLS, _))) {
                facts.request("StartTLS");
            }
        }
        (Speaker::Server, EXTENDED_RESPONSE) if facts.awaits_answer() => {
            if let Some((ENUMERATED, [code], _)) = element(contents) {
                facts.offered |= *code == 0;
                facts.answered(*code == 0, code.to_string().as_bytes());
            }
        }
        (Speaker::Client, BIND_REQUEST) if has_password(contents) == Some(true) => {
            facts.in_clear();
        }
        _ => {}
    }
}

/// A BindRequest with a password that is not empty: version, name, password.
fn has_password(contents: &[u8]) -> Option<bool> {
    let (_, _, rest) = element(contents)?;
    let (_, _, rest) = element(rest)?;
    let (tag, length, _) = header(rest)?;
    Some(tag == CONTEXT_0 && length > 0)
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    const BIND: &[u8] = b"\x30\x16\x02\x01\x02\x60\x11\x02\x01\x03\x04\x04cn=a\x80\x06secret";

    fn response(code: u8) -> Vec<u8> {
        vec![0x30, 12, 2, 1, 1, 0x78, 7, 0x0a, 1, code, 4, 0, 4, 0]
    }

    #[test]
    fn taken_refused_declined() {
        let facts = talk(&[(C, REQUEST), (S, &response(0)), (C, hello())]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.accepted),
            (Some("ldap"), true, Some(true))
        );
        assert_eq!(facts.mechanism, Some("StartTLS"));
        let facts = talk(&[(C, REQUEST), (S, &response(52)), (C, BIND)]);
        assert_eq!(
            (facts.accepted, facts.answer.as_deref()),
            (Some(false), Some(&b"52"[..]))
        );
        assert!(facts.continued_in_clear && !facts.tls);
        let facts = talk(&[(C, BIND)]);
        assert!(facts.continued_in_clear && !facts.requested);
    }
}
