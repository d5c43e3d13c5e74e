//! SMTP and LMTP: STARTTLS (RFC 3207) and Exchange's X-ANONYMOUSTLS ([MS-SMTPNTLM], [MS-XANONTLS]).

use super::lines::{
    Flow, Lines, begins, begins_any, by_line, command, contains, has_blot, is_blotted, word_is,
    words,
};
use super::{Entry, Facts, Guess, Opening, Speaker};

pub(super) static ENTRY: Entry = Entry {
    name: "smtp",
    ports: &[25, 587, 24, 475, 2525],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || by_line(Smtp { greeted: false }),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    let client = begins_any(opening.client, &[b"EHLO ", b"HELO ", b"LHLO "]);
    if client == Guess::Yes {
        return Guess::Yes;
    }
    match begins(opening.server, b"220") {
        Guess::Yes if contains(opening.server, b"SMTP") || contains(opening.server, b"LMTP") => {
            Guess::Yes
        }
        Guess::Yes if opening.client.is_empty() => Guess::Maybe,
        Guess::Yes if command(opening.client, &[b"STARTTLS", b"QUIT"]) => Guess::Maybe,
        Guess::Yes => client,
        guess => guess.max(client),
    }
}

#[derive(Debug)]
struct Smtp {
    /// The client said EHLO: keywords follow.
    greeted: bool,
}

impl Lines for Smtp {
    fn line(&mut self, from: Speaker, line: &[u8], facts: &mut Facts) -> Flow {
        match from {
            Speaker::Client => self.client(line, facts),
            Speaker::Server => self.server(line, facts),
        }
    }
}

impl Smtp {
    fn client(&mut self, line: &[u8], facts: &mut Facts) -> Flow {
        if command(line, &[b"EHLO", b"LHLO"]) {
            self.greeted = true;
        } else if word_is(line, 0, b"STARTTLS") {
            facts.request("STARTTLS");
        } else if word_is(line, 0, b"X-ANONYMOUSTLS") {
            facts.request("X-ANONYMOUSTLS");
        } else if command(line, &[b"AUTH", b"MAIL", b"RCPT", b"DATA", b"BDAT"]) {
            facts.in_clear();
            return Flow::Done;
        } else if words(line).next().is_some_and(is_blotted) {
            facts.strip();
        }
        Flow::On
    }

    fn server(&mut self, line: &[u8], facts: &mut Facts) -> Flow {
        let Some((code, rest)) = line.split_first_chunk::<3>() else {
            return Flow::On;
        };
        if facts.awaits_answer() {
            if rest.first() != Some(&b'-') {
                facts.answered(code == b"220", code);
            }
        } else if code == b"250" && self.greeted {
            let keyword = rest.get(1..).unwrap_or(&[]);
            if command(keyword, &[b"STARTTLS", b"X-ANONYMOUSTLS"]) {
                facts.offer();
            } else if has_blot(keyword) {
                facts.strip();
            }
        }
        Flow::On
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    const OFFER: &str =
        "250-mail.contoso.com Hello\r\n250-SIZE 37748736\r\n250-STARTTLS\r\n250 CHUNKING\r\n";

    #[test]
    fn starttls_is_offered_and_taken() {
        let facts = talk(&[
            (S, b"220 mail.contoso.com Microsoft ESMTP MAIL Service\r\n"),
            (C, b"EHLO client\r\n"),
            (S, OFFER.as_bytes()),
            (C, b"STARTTLS\r\n"),
            (S, b"220 2.0.0 SMTP server ready\r\n"),
            (C, hello()),
        ]);
        assert_eq!((facts.protocol, facts.tls), (Some("smtp"), true));
        assert!(facts.offered && facts.requested && !facts.continued_in_clear && !facts.stripped);
        assert_eq!(
            (facts.accepted, facts.answer.as_deref()),
            (Some(true), Some(&b"220"[..]))
        );
        assert_eq!(facts.mechanism, Some("STARTTLS"));
    }

    #[test]
    fn exchange_speaks_anonymously() {
        let facts = talk(&[
            (S, b"220 ready\r\n"),
            (C, b"EHLO client\r\n"),
            (S, b"250-hub\r\n250-X-ANONYMOUSTLS\r\n250 STARTTLS\r\n"),
            (C, b"X-ANONYMOUSTLS\r\n"),
            (S, b"220 2.0.0 SMTP server ready\r\n"),
            (C, hello()),
        ]);
        assert_eq!(facts.mechanism, Some("X-ANONYMOUSTLS"));
        assert!(facts.tls && facts.offered);
    }

    #[test]
    fn an_offer_is_declined() {
        let facts = talk(&[
            (S, b"220 ready\r\n"),
            (C, b"EHLO client\r\n"),
            (S, OFFER.as_bytes()),
            (C, b"MAIL FROM:<a@example.com>\r\n"),
        ]);
        assert!(facts.offered && !facts.requested && facts.continued_in_clear);
    }

    #[test]
    fn a_request_is_refused() {
        let facts = talk(&[
            (S, b"220 ready\r\n"),
            (C, b"EHLO client\r\n"),
            (S, OFFER.as_bytes()),
            (C, b"STARTTLS\r\n"),
            (S, b"454 TLS not available due to temporary reason\r\n"),
            (C, b"AUTH PLAIN AGZvbwBiYXI=\r\n"),
        ]);
        assert_eq!(
            (facts.accepted, facts.answer.as_deref()),
            (Some(false), Some(&b"454"[..]))
        );
        assert!(facts.requested && facts.continued_in_clear && !facts.tls);
    }

    #[test]
    fn a_firewall_writes_over_the_offer() {
        let facts = talk(&[
            (
                S,
                b"220 *************************************************\r\n",
            ),
            (C, b"EHLO client\r\n"),
            (
                S,
                b"250-mail\r\n250-SIZE 100\r\n250-XXXXXXXA\r\n250 XXXB\r\n",
            ),
            (C, b"MAIL FROM:<a@example.com>\r\n"),
        ]);
        assert!(facts.stripped && !facts.offered && facts.continued_in_clear);
    }
}
