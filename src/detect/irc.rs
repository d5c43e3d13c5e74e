//! IRC: STARTTLS (IRCv3 `tls` extension).

use super::lines::{
    Flow, Lines, begins, begins_any, by_line, contains, has_word, is_blotted, word_is, words,
};
use super::{Entry, Facts, Guess, Opening, Speaker};

pub(super) static ENTRY: Entry = Entry {
    name: "irc",
    ports: &[194, 6667],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || by_line(Irc),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    let first: [&[u8]; 4] = [b"NICK ", b"CAP LS", b"CAP REQ", b"STARTTLS\r\n"];
    let server = match opening.server {
        [b':', ..] if contains(opening.server, b" NOTICE ") => Guess::Yes,
        [b':', ..] if opening.server.contains(&b'\n') => Guess::No,
        [b':', ..] => Guess::Maybe,
        other => begins(other, b"NOTICE "),
    };
    // USER and PASS come first in other protocols, too, but only after their server spoke.
    let late = match begins_any(opening.client, &[b"PASS ", b"USER "]) {
        Guess::Yes if opening.server.is_empty() => {
            if contains(opening.client, b"\nNICK ") {
                Guess::Yes
            } else {
                Guess::Maybe
            }
        }
        guess if opening.server.is_empty() => guess,
        _ => Guess::No,
    };
    let client = match opening.server.first() {
        None | Some(b':' | b'N' | b'P') => begins_any(opening.client, &first).max(late),
        Some(_) => Guess::No,
    };
    server.max(client)
}

#[derive(Debug)]
struct Irc;

impl Lines for Irc {
    fn line(&mut self, from: Speaker, line: &[u8], facts: &mut Facts) -> Flow {
        if from == Speaker::Client {
            if word_is(line, 0, b"STARTTLS") {
                facts.request("STARTTLS");
            } else if words(line).next().is_some_and(is_blotted) {
                facts.strip();
            }
            return Flow::On;
        }
        match words(line).nth(1) {
            Some(code @ (b"670" | b"691" | b"451" | b"421")) if facts.awaits_answer() => {
                facts.answered(code == b"670", code);
            }
            // Registered, and not encrypted.
            Some(b"001") => {
                facts.in_clear();
                return Flow::Done;
            }
            Some(b"CAP") if has_word(line, b"tls") || has_word(line, b":tls") => facts.offer(),
            _ => {}
        }
        Flow::On
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    #[test]
    fn taken_refused_declined() {
        let facts = talk(&[
            (C, b"CAP LS 302\r\n"),
            (S, b":irc.example.com CAP * LS :multi-prefix tls\r\n"),
            (C, b"STARTTLS\r\n"),
            (S, b":irc.example.com 670 * :STARTTLS successful\r\n"),
            (C, hello()),
        ]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.offered),
            (Some("irc"), true, true)
        );
        let facts = talk(&[
            (C, b"STARTTLS\r\n"),
            (S, b":irc.example.com 691 * :failure\r\n"),
            (C, b"NICK a\r\nUSER a 0 * :a\r\n"),
            (S, b":irc.example.com 001 a :Welcome\r\n"),
        ]);
        assert_eq!(facts.accepted, Some(false));
        assert!(facts.continued_in_clear && !facts.tls);
        let facts = talk(&[
            (C, b"PASS x\r\nNICK a\r\nXXXXXXXX\r\n"),
            (S, b":irc.example.com 001 a :Welcome\r\n"),
        ]);
        assert!(facts.stripped && facts.continued_in_clear);
    }
}
