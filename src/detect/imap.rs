//! IMAP: STARTTLS (RFC 3501 section 6.2.1, RFC 9051).

use super::lines::{Flow, Lines, begins_any, by_line, has_blot, has_word, word_is, words};
use super::{Entry, Facts, Guess, Opening, Speaker};

pub(super) static ENTRY: Entry = Entry {
    name: "imap",
    ports: &[143],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || by_line(Imap),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    begins_any(opening.server, &[b"* OK", b"* PREAUTH", b"* BYE"])
}

#[derive(Debug)]
struct Imap;

impl Lines for Imap {
    fn line(&mut self, from: Speaker, line: &[u8], facts: &mut Facts) -> Flow {
        if from == Speaker::Client {
            if word_is(line, 1, b"STARTTLS") {
                facts.request("STARTTLS");
            } else if word_is(line, 1, b"LOGIN") || word_is(line, 1, b"AUTHENTICATE") {
                facts.in_clear();
                return Flow::Done;
            }
            return Flow::On;
        }
        let untagged = word_is(line, 0, b"*");
        // `* CAPABILITY …`, or `* OK [CAPABILITY …]`.
        if has_word(line, b"CAPABILITY") || has_word(line, b"[CAPABILITY") {
            let mut found = words(line).map(|word| word.strip_suffix(b"]").unwrap_or(word));
            if found.any(|word| word.eq_ignore_ascii_case(b"STARTTLS")) {
                facts.offer();
            } else if has_blot(line) {
                facts.strip();
            }
        }
        if !untagged && facts.awaits_answer() {
            let word = words(line).nth(1).unwrap_or(&[]);
            facts.answered(word.eq_ignore_ascii_case(b"OK"), word);
        }
        Flow::On
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    #[test]
    fn starttls_is_offered_and_taken() {
        let facts = talk(&[
            (S, b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
            (C, b"a1 STARTTLS\r\n"),
            (S, b"a1 OK begin\r\n"),
            (C, hello()),
        ]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.offered),
            (Some("imap"), true, true)
        );
        assert_eq!(facts.accepted, Some(true));
    }

    #[test]
    fn an_offer_is_declined() {
        let facts = talk(&[
            (S, b"* OK ready\r\n"),
            (C, b"1 CAPABILITY\r\n"),
            (S, b"* CAPABILITY IMAP4rev1 STARTTLS\r\n1 OK done\r\n"),
            (C, b"2 LOGIN joe secret\r\n"),
        ]);
        assert!(facts.offered && facts.continued_in_clear && !facts.requested);
    }

    #[test]
    fn an_offer_is_stripped_and_a_request_refused() {
        let facts = talk(&[
            (
                S,
                b"* OK [CAPABILITY IMAP4rev1 XXXXXXXX AUTH=PLAIN] ready\r\n",
            ),
            (C, b"1 STARTTLS\r\n"),
            (S, b"1 BAD what?\r\n"),
            (C, b"2 AUTHENTICATE PLAIN\r\n"),
        ]);
        assert!(facts.stripped && !facts.offered && facts.continued_in_clear);
        assert_eq!(
            (facts.accepted, facts.answer.as_deref()),
            (Some(false), Some(&b"BAD"[..]))
        );
    }
}
