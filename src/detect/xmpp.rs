//! XMPP: `<starttls/>` (RFC 6120 section 5). The stream is cut at each `>`.

use super::lines::{Flow, Lines, begins, by_tag, contains};
use super::{Entry, Facts, Guess, Opening, Speaker};

pub(super) static ENTRY: Entry = Entry {
    name: "xmpp",
    ports: &[5222, 5269],
    upgrades: true,
    frames_tls: None,
    recognise,
    start: || by_tag(Xmpp),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    let of = |bytes: &[u8]| {
        let start = bytes.trim_ascii_start();
        let xml = begins(start, b"<?xml").max(begins(start, b"<stream:stream"));
        match xml {
            Guess::Yes if contains(bytes, b"<stream:stream") => Guess::Yes,
            Guess::Yes => Guess::Maybe,
            guess => guess,
        }
    };
    of(opening.client).max(of(opening.server))
}

#[derive(Debug)]
struct Xmpp;

impl Lines for Xmpp {
    fn line(&mut self, from: Speaker, tag: &[u8], facts: &mut Facts) -> Flow {
        let starts = |name: &[u8]| begins(tag.trim_ascii_start(), name) == Guess::Yes;
        match from {
            Speaker::Client if starts(b"<starttls") => facts.request("STARTTLS"),
            Speaker::Client if starts(b"<auth") || starts(b"<iq") => {
                facts.in_clear();
                return Flow::Done;
            }
            Speaker::Server if starts(b"<starttls") => facts.offer(),
            Speaker::Server if facts.awaits_answer() && starts(b"<proceed") => {
                facts.answered(true, b"proceed");
            }
            Speaker::Server if facts.awaits_answer() && starts(b"<failure") => {
                facts.answered(false, b"failure");
            }
            _ => {}
        }
        Flow::On
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, hello, talk};

    const OPEN: &[u8] = b"<?xml version='1.0'?><stream:stream to='example.com' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
    const FEATURES: &[u8] =
        b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";

    #[test]
    fn taken_refused_declined() {
        let facts = talk(&[
            (C, OPEN),
            (S, OPEN),
            (S, FEATURES),
            (C, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            (S, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            (C, hello()),
        ]);
        assert_eq!(
            (facts.protocol, facts.tls, facts.offered),
            (Some("xmpp"), true, true)
        );
        let facts = talk(&[
            (C, OPEN),
            (S, OPEN),
            (C, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            (S, b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        ]);
        assert_eq!((facts.accepted, facts.offered), (Some(false), false));
        let facts = talk(&[
            (C, OPEN),
            (S, OPEN),
            (S, FEATURES),
            (C, b"<auth mechanism='PLAIN'>AGEAYg==</auth>"),
        ]);
        assert!(facts.offered && facts.continued_in_clear && !facts.requested);
    }
}
