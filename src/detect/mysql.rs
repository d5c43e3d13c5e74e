//! MySQL and MariaDB: the greeting's CLIENT_SSL capability, and the client's SSLRequest (MySQL internals,
//! connection phase).
//!
//! ```text
//! len(3) 00  0a version 00  thread(4) salt(8) 00 capabilities(2, low half) …     server's greeting
//! 20 00 00 01  capabilities(4) …(28)                                            SSLRequest: 32 bytes
//! ```

use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};

pub(super) static ENTRY: Entry = Entry {
    name: "mysql",
    ports: &[3306],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || Box::new(Mysql),
};

const HEADER_BYTES: usize = 4;
const CLIENT_SSL: u8 = 0x08;
const SSL_REQUEST_BYTES: usize = 32;
/// A greeting is never longer.
const GREETING_BYTES_MAX: usize = 512;

/// Length of the contents and number of a packet.
fn header(bytes: &[u8]) -> Option<(usize, u8)> {
    let [a, b, c, number] = *bytes.first_chunk::<HEADER_BYTES>()?;
    Some((
        usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16,
        number,
    ))
}

fn recognise(opening: &Opening<'_>) -> Guess {
    match opening.server {
        [] => Guess::No,
        // Version: digits and dots come first.
        [length, high @ (0 | 1), 0, 0, 10, digit, ..] => {
            let long = *high == 1 || *length > 30;
            match digit.is_ascii_digit() && long {
                true => Guess::Yes,
                false => Guess::No,
            }
        }
        [_] | [_, 0 | 1] | [_, 0 | 1, 0] | [_, 0 | 1, 0, 0] | [_, 0 | 1, 0, 0, 10] => Guess::Maybe,
        _ => Guess::No,
    }
}

#[derive(Debug)]
struct Mysql;

impl Dialogue for Mysql {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let Some((length, number)) = header(bytes) else {
            return Step::Need;
        };
        if from == Speaker::Client {
            return client(length, number, bytes, facts);
        }
        if number != 0 || length > GREETING_BYTES_MAX {
            return Step::Done;
        }
        let Some(body) = bytes.get(HEADER_BYTES..HEADER_BYTES + length) else {
            return Step::Need;
        };
        let after_version = body.iter().position(|&byte| byte == 0).map(|end| end + 1);
        let capabilities = after_version.and_then(|at| body.get(at + 13..at + 15));
        if let Some([_, high]) = capabilities
            && high & CLIENT_SSL != 0
        {
            facts.offer();
        }
        Step::Used(HEADER_BYTES + length)
    }
}

fn client(length: usize, number: u8, bytes: &[u8], facts: &mut Facts) -> Step {
    let Some(&[_, high]) = bytes.get(HEADER_BYTES..HEADER_BYTES + 2) else {
        return Step::Need;
    };
    if number != 1 {
        return Step::Done;
    }
    if high & CLIENT_SSL == 0 || length > SSL_REQUEST_BYTES {
        facts.in_clear();
        return Step::Done;
    }
    if bytes.len() < HEADER_BYTES + length {
        return Step::Need;
    }
    facts.request("SSLRequest");
    Step::Used(HEADER_BYTES + length)
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    fn greeting(ssl: bool) -> Vec<u8> {
        let mut body = b"\x0a8.0.36\0\x01\0\0\0saltsalt\0\xff".to_vec();
        body.push(if ssl { 0xff } else { 0xf7 });
        body.extend_from_slice(&[0; 40]);
        [&[body.len() as u8, 0, 0, 0][..], &body].concat()
    }

    fn answer(ssl: bool) -> Vec<u8> {
        let mut packet = vec![if ssl { 32 } else { 80 }, 0, 0, 1, 0x85];
        packet.push(if ssl { 0xae } else { 0xa6 });
        packet.resize(4 + usize::from(packet[0]), 0);
        packet
    }

    #[test]
    fn taken_declined_not_offered() {
        let facts = talk(&[(S, &greeting(true)), (C, &answer(true)), (C, hello())]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.accepted),
            (Some("mysql"), true, Some(true))
        );
        assert!(facts.offered && facts.requested);
        let facts = talk(&[(S, &greeting(true)), (C, &answer(false))]);
        assert!(facts.offered && !facts.requested && facts.continued_in_clear);
        let facts = talk(&[(S, &greeting(false)), (C, &answer(false))]);
        assert!(!facts.offered && facts.continued_in_clear);
    }

    #[test]
    fn the_hello_is_in_the_same_segment() {
        let both = [&answer(true)[..], hello()].concat();
        assert!(talk(&[(S, &greeting(true)), (C, &both)]).tls);
    }
}
