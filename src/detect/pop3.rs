//! POP3: STLS (RFC 2595 section 4).

use super::lines::{Flow, Lines, begins, by_line, command, is_blotted, word_is};
use super::{Entry, Facts, Guess, Opening, Speaker};

pub(super) static ENTRY: Entry = Entry {
    name: "pop3",
    ports: &[110],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || by_line(Pop3),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    // Others say +OK, too, but not before they were asked.
    match opening.client.first() {
        Some(first) if !first.is_ascii_alphabetic() => Guess::No,
        _ => begins(opening.server, b"+OK"),
    }
}

#[derive(Debug)]
struct Pop3;

impl Lines for Pop3 {
    fn line(&mut self, from: Speaker, line: &[u8], facts: &mut Facts) -> Flow {
        if from == Speaker::Client {
            if word_is(line, 0, b"STLS") {
                facts.request("STLS");
            } else if command(line, &[b"USER", b"PASS", b"APOP"])
                || (word_is(line, 0, b"AUTH") && line.len() > 4)
            {
                facts.in_clear();
                return Flow::Done;
            }
            return Flow::On;
        }
        if facts.awaits_answer() && command(line, &[b"+OK", b"-ERR"]) {
            let accepted = word_is(line, 0, b"+OK");
            facts.answered(accepted, if accepted { b"+OK" } else { b"-ERR" });
        } else if line.eq_ignore_ascii_case(b"STLS") {
            facts.offer();
        } else if is_blotted(line) {
            facts.strip();
        }
        Flow::On
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    #[test]
    fn stls_is_offered_and_taken() {
        let facts = talk(&[
            (S, b"+OK ready\r\n"),
            (C, b"CAPA\r\n"),
            (S, b"+OK\r\nUIDL\r\nSTLS\r\n.\r\n"),
            (C, b"STLS\r\n"),
            (S, b"+OK begin\r\n"),
            (C, hello()),
        ]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.offered),
            (Some("pop3"), true, true)
        );
        assert_eq!(facts.accepted, Some(true));
    }

    #[test]
    fn declined_refused_stripped() {
        let facts = talk(&[
            (S, b"+OK ready\r\n"),
            (C, b"CAPA\r\n"),
            (S, b"+OK\r\nXXXXXXXA\r\n.\r\n"),
            (C, b"STLS\r\n"),
            (S, b"-ERR no\r\n"),
            (C, b"USER joe\r\n"),
        ]);
        assert!(facts.stripped && facts.continued_in_clear);
        assert_eq!(facts.accepted, Some(false));
        let facts = talk(&[
            (S, b"+OK ready\r\n"),
            (C, b"CAPA\r\n"),
            (S, b"+OK\r\nSTLS\r\n.\r\n"),
            (C, b"APOP joe 0123\r\n"),
        ]);
        assert!(facts.offered && !facts.requested && facts.continued_in_clear);
    }
}
