//! NNTP: STARTTLS (RFC 4642).

use super::lines::{Flow, Lines, begins_any, by_line, command, contains, has_blot, word_is};
use super::{Entry, Facts, Guess, Opening, Speaker};

pub(super) static ENTRY: Entry = Entry {
    name: "nntp",
    ports: &[119, 433],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || by_line(Nntp),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    let greeted = begins_any(opening.server, &[b"200", b"201"]);
    let commands: [&[u8]; 10] = [
        b"CAPABILITIES",
        b"MODE",
        b"STARTTLS",
        b"AUTHINFO",
        b"GROUP",
        b"LIST",
        b"ARTICLE",
        b"XOVER",
        b"IHAVE",
        b"DATE",
    ];
    match greeted {
        Guess::Yes if command(opening.client, &commands) => Guess::Yes,
        Guess::Yes if contains(opening.server, b"NNTP") || contains(opening.server, b"news") => {
            Guess::Yes
        }
        Guess::Yes if opening.client.contains(&b'\n') => Guess::No,
        Guess::Yes => Guess::Maybe,
        guess => guess,
    }
}

#[derive(Debug)]
struct Nntp;

impl Lines for Nntp {
    fn line(&mut self, from: Speaker, line: &[u8], facts: &mut Facts) -> Flow {
        if from == Speaker::Client {
            if word_is(line, 0, b"STARTTLS") {
                facts.request("STARTTLS");
            } else if command(line, &[b"AUTHINFO", b"GROUP", b"POST", b"IHAVE"]) {
                facts.in_clear();
                return Flow::Done;
            }
            return Flow::On;
        }
        if let Some(code) = line.get(..3).filter(|_| facts.awaits_answer()) {
            facts.answered(code == b"382", code);
        } else if line.eq_ignore_ascii_case(b"STARTTLS") {
            facts.offer();
        } else if has_blot(line) {
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
        let open: &[u8] = b"200 server ready\r\n";
        let facts = talk(&[
            (S, open),
            (C, b"CAPABILITIES\r\n"),
            (S, b"101 list\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n"),
            (C, b"STARTTLS\r\n"),
            (S, b"382 go on\r\n"),
            (C, hello()),
        ]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.offered),
            (Some("nntp"), true, true)
        );
        let facts = talk(&[
            (S, open),
            (C, b"CAPABILITIES\r\n"),
            (S, b"101 list\r\nXXXXXXXX\r\n.\r\n"),
            (C, b"STARTTLS\r\n"),
            (S, b"580 no\r\n"),
            (C, b"AUTHINFO USER joe\r\n"),
        ]);
        assert_eq!(facts.accepted, Some(false));
        assert!(facts.stripped && facts.continued_in_clear && !facts.tls);
    }
}
