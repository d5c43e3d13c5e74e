//! FTP: AUTH TLS and AUTH SSL (RFC 4217).

use super::lines::{Flow, Lines, begins, by_line, command, contains, has_blot, has_word, word_is};
use super::{Entry, Facts, Guess, Opening, Speaker};

pub(super) static ENTRY: Entry = Entry {
    name: "ftp",
    ports: &[21],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || by_line(Ftp),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    let greeted = begins(opening.server, b"220");
    let spoken = command(
        opening.client,
        &[
            b"USER", b"AUTH", b"FEAT", b"SYST", b"PBSZ", b"OPTS", b"HOST",
        ],
    );
    match greeted {
        Guess::Yes if spoken => Guess::Yes,
        Guess::Yes if contains(opening.server, b"FTP") => Guess::Yes,
        // As long as the client has not finished a line.
        Guess::Yes if opening.client.contains(&b'\n') => Guess::No,
        Guess::Yes => Guess::Maybe,
        guess => guess,
    }
}

#[derive(Debug)]
struct Ftp;

impl Lines for Ftp {
    fn line(&mut self, from: Speaker, line: &[u8], facts: &mut Facts) -> Flow {
        if from == Speaker::Client {
            if word_is(line, 0, b"AUTH") {
                let ssl = has_word(line, b"SSL") || has_word(line, b"TLS-P");
                facts.request(if ssl { "AUTH SSL" } else { "AUTH TLS" });
            } else if command(line, &[b"USER", b"PASS", b"ACCT"]) {
                facts.in_clear();
                return Flow::Done;
            }
            return Flow::On;
        }
        let code = line
            .get(..3)
            .filter(|code| code.iter().all(u8::is_ascii_digit));
        if facts.awaits_answer() {
            if let Some(code) = code.filter(|_| line.get(3) != Some(&b'-')) {
                facts.answered(code == b"234" || code == b"334", code);
            }
        } else if word_is(line, 0, b"AUTH") && (contains(line, b"TLS") || contains(line, b"SSL")) {
            facts.offer();
        } else if code.is_none() && has_blot(line) {
            facts.strip();
        }
        Flow::On
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    #[test]
    fn tls_is_offered_and_taken() {
        let facts = talk(&[
            (S, b"220 (vsFTPd 3.0.3)\r\n"),
            (C, b"FEAT\r\n"),
            (S, b"211-Features:\r\n AUTH TLS\r\n PBSZ\r\n211 End\r\n"),
            (C, b"AUTH TLS\r\n"),
            (S, b"234 Proceed with negotiation.\r\n"),
            (C, hello()),
        ]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.offered),
            (Some("ftp"), true, true)
        );
        assert_eq!(
            (facts.accepted, facts.mechanism),
            (Some(true), Some("AUTH TLS"))
        );
    }

    #[test]
    fn declined_refused_stripped() {
        let facts = talk(&[
            (S, b"220-Welcome\r\n220 to this server\r\n"),
            (C, b"AUTH SSL\r\n"),
            (S, b"534 Request denied\r\n"),
            (C, b"USER joe\r\n"),
        ]);
        assert_eq!((facts.protocol, facts.accepted), (Some("ftp"), Some(false)));
        assert!(facts.requested && facts.continued_in_clear);
        let facts = talk(&[
            (S, b"220 ready\r\n"),
            (C, b"FEAT\r\n"),
            (
                S,
                b"211-Features:\r\n AUTH TLS;SSL;\r\n XXXXXXXX\r\n211 End\r\n",
            ),
            (C, b"USER anonymous\r\n"),
        ]);
        assert!(facts.offered && facts.stripped && !facts.requested && facts.continued_in_clear);
    }
}
