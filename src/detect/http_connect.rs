//! HTTP/1 and HTTP/2 in clear, and CONNECT (RFC 9110 section 9.3.6): after 2xx a tunnel begins, and what
//! follows is another conversation. Refusals (403, 407, 5xx) are kept as the proxy's status.

use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};
use crate::http::{self, Read, Reader};

pub(super) static ENTRY: Entry = Entry {
    name: "http",
    ports: &[80, 8080, 3128],
    upgrades: false,
    frames_tls: None,
    recognise,
    start: || Box::new(Http::default()),
};

fn recognise(opening: &Opening<'_>) -> Guess {
    let of = |bytes: &[u8], from_client: bool| match http::begins(bytes, from_client) {
        Some(true) => Guess::Yes,
        Some(false) => Guess::No,
        None => Guess::Maybe,
    };
    of(opening.client, true).max(of(opening.server, false))
}

#[derive(Debug, Default)]
struct Http {
    reader: Reader,
}

impl Dialogue for Http {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let from_client = from == Speaker::Client;
        let seen = facts.http.get_or_insert_default();
        let (requests, responses) = (seen.requests.len(), seen.responses.len());
        let read = self.reader.read(from_client, bytes, facts.stamp, seen);
        let asked = seen
            .requests
            .last()
            .filter(|asked| &*asked.method == b"CONNECT");
        if let Some(asked) = asked {
            if seen.requests.len() > requests {
                let target = asked.path.clone();
                facts.proxy("http-connect", Some(&target));
            } else if let Some(answer) = seen
                .responses
                .get(responses)
                .filter(|answer| answer.status >= 200)
            {
                let status = answer.status;
                facts.proxy_status(status);
            }
        }
        match read {
            Read::Need => Step::Need,
            Read::Used(used) => Step::Skip(used.min(bytes.len())),
            Read::Tunnel(used) => Step::Proxied(used),
            Read::End => Step::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, Told, hello, talk};

    const CONNECT: &[u8] =
        b"CONNECT www.contoso.com:443 HTTP/1.1\r\nHost: www.contoso.com:443\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n";

    fn proxy(facts: &Told) -> (&'static str, &[u8], Option<u16>) {
        let proxy = facts.proxy.as_ref().unwrap();
        (proxy.kind, proxy.target.as_deref().unwrap(), proxy.status)
    }

    #[test]
    fn a_tunnel_begins() {
        let facts = talk(&[
            (C, CONNECT),
            (
                S,
                b"HTTP/1.1 200 Connection established\r\nVia: 1.1 squid\r\n\r\n",
            ),
            (C, hello()),
        ]);
        assert_eq!(
            proxy(&facts),
            ("http-connect", &b"www.contoso.com:443"[..], Some(200))
        );
        assert!(facts.tls && facts.protocol.is_none());
        let http = facts.http.as_ref().unwrap();
        assert_eq!(
            http.requests[0]
                .proxy_authorization
                .as_ref()
                .unwrap()
                .scheme,
            "Basic"
        );
        assert_eq!(http.responses[0].via.as_deref(), Some(&b"1.1 squid"[..]));
    }

    #[test]
    fn a_proxy_refuses_then_takes_credentials() {
        let refusal: &[u8] =
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\nContent-Length: 4\r\n\r\nbody";
        let facts = talk(&[(C, CONNECT), (S, refusal)]);
        assert_eq!(proxy(&facts).2, Some(407));
        assert_eq!(facts.protocol, Some("http"));
        let facts = talk(&[
            (C, CONNECT),
            (S, refusal),
            (C, CONNECT),
            (S, b"HTTP/1.1 200 OK\r\n\r\n"),
            (C, hello()),
        ]);
        assert_eq!((proxy(&facts).2, facts.tls), (Some(200), true));
    }

    #[test]
    fn starttls_inside_a_tunnel() {
        let facts = talk(&[
            (C, CONNECT),
            (S, b"HTTP/1.1 200 OK\r\n\r\n"),
            (S, b"+OK ready\r\n"),
            (C, b"STLS\r\n"),
            (S, b"+OK\r\n"),
            (C, hello()),
        ]);
        assert_eq!((facts.protocol, facts.accepted), (Some("pop3"), Some(true)));
    }

    #[test]
    fn requests_and_responses_are_kept() {
        let facts = talk(&[
            (
                C,
                b"GET /owa/?code=c2VjcmV0 HTTP/1.1\r\nHost: mail\r\nX-Forwarded-Proto: https\r\nFront-End-Https: On\r\nCookie: c2VjcmV0\r\n\r\n",
            ),
            (S, b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\n\r\n"),
            (C, b"GET /owa/ HTTP/1.1\r\nAuthorization: Negotiate TlRMTVNTUAABAAAA\r\n\r\n"),
            (S, b"HTTP/1.1 302 Found\r\nLocation: https://mail/\r\n\r\n"),
        ]);
        let http = facts.http.as_ref().unwrap();
        let [first, second] = &http.requests[..] else {
            panic!("two requests")
        };
        assert_eq!((&*first.method, &*first.path), (&b"GET"[..], &b"/owa/"[..]));
        assert_eq!(first.forwarded, [("proto", b"https"[..].into())]);
        assert_eq!(first.front_end_https.as_deref(), Some(&b"On"[..]));
        let ntlm = second
            .authorization
            .as_ref()
            .unwrap()
            .ntlm
            .as_ref()
            .unwrap();
        assert_eq!(ntlm.message, 1);
        assert_eq!(
            (
                http.responses[0].status,
                http.responses[1].redirects_to_https
            ),
            (401, true)
        );
    }

    const FRAMES: &[u8] =
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x00\x04\x00\x00\x00\x00\x00\x01abcd\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x0c";

    #[test]
    fn h2_by_preface_and_by_upgrade() {
        let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let facts = talk(&[
            (C, preface),
            (C, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
            (S, FRAMES),
        ]);
        let h2 = facts.http.as_ref().unwrap().h2.as_ref().unwrap();
        assert_eq!(h2.client_settings.as_deref(), Some(&[][..]));
        assert_eq!(h2.server_settings.as_deref(), Some(&[(3, 100)][..]));
        assert_eq!((h2.goaways[0].code, h2.goaways[0].last_stream), (12, 5));
        let facts = talk(&[
            (
                C,
                b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            ),
            (
                S,
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
            ),
            (S, FRAMES),
            (C, preface),
            (C, FRAMES),
        ]);
        let h2 = facts.http.as_ref().unwrap().h2.as_ref().unwrap();
        assert!(h2.upgraded);
        let early = talk(&[(S, FRAMES), (C, preface)]);
        let early = early.http.as_ref().unwrap().h2.as_ref().unwrap();
        assert_eq!(early.server_settings.as_deref(), Some(&[(3, 100)][..]));
        assert_eq!((h2.goaways.len(), h2.client_settings.is_some()), (2, true));
    }
}
