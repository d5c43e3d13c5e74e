//! ManageSieve: STARTTLS (RFC 5804 section 2.2).

use super::lines::{
    Flow, Lines, begins_any, by_line, command, has_word, is_blotted, word_is, words,
};
use super::{Entry, Facts, Guess, Opening, Speaker};

pub(super) static ENTRY: Entry = Entry {
    name: "sieve",
    ports: &[4190, 2000],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || by_line(Sieve),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    begins_any(
        opening.server,
        &[b"\"IMPLEMENTATION\"", b"\"SIEVE\"", b"\"SASL\" \""],
    )
}

#[derive(Debug)]
struct Sieve;

impl Lines for Sieve {
    fn line(&mut self, from: Speaker, line: &[u8], facts: &mut Facts) -> Flow {
        if from == Speaker::Client {
            if word_is(line, 0, b"STARTTLS") {
                facts.request("STARTTLS");
            } else if command(line, &[b"AUTHENTICATE", b"UNAUTHENTICATE"]) {
                facts.in_clear();
                return Flow::Done;
            }
            return Flow::On;
        }
        let bare = |word: &[u8]| {
            word.strip_prefix(b"\"")
                .and_then(|word| word.strip_suffix(b"\""))
                .is_some_and(is_blotted)
        };
        if facts.awaits_answer() && command(line, &[b"OK", b"NO", b"BYE"]) {
            let word = words(line).next().unwrap_or(&[]);
            facts.answered(word.eq_ignore_ascii_case(b"OK"), word);
        } else if has_word(line, b"\"STARTTLS\"") {
            facts.offer();
        } else if words(line).any(bare) {
            facts.strip();
        }
        Flow::On
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    #[test]
    fn taken_refused_stripped() {
        let facts = talk(&[
            (
                S,
                b"\"IMPLEMENTATION\" \"Dovecot\"\r\n\"STARTTLS\"\r\nOK \"ready\"\r\n",
            ),
            (C, b"STARTTLS\r\n"),
            (S, b"OK \"begin\"\r\n"),
            (C, hello()),
        ]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.offered),
            (Some("sieve"), true, true)
        );
        let facts = talk(&[
            (
                S,
                b"\"IMPLEMENTATION\" \"Dovecot\"\r\n\"XXXXXXXX\"\r\nOK \"ready\"\r\n",
            ),
            (C, b"STARTTLS\r\n"),
            (S, b"NO \"not here\"\r\n"),
            (C, b"AUTHENTICATE \"PLAIN\" \"AGEAYg==\"\r\n"),
        ]);
        assert_eq!(facts.accepted, Some(false));
        assert!(facts.stripped && facts.continued_in_clear && !facts.tls);
    }
}
