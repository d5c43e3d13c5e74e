//! The PROXY protocol, versions 1 and 2 (haproxy `doc/proxy-protocol.txt`): a header that tells a server
//! behind a proxy who the true client is. What it carries follows at once.
//!
//! ```text
//! PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 CR LF
//! 0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a  21 family length(2)  addresses  type(1) length(2) value …
//! ```

use super::lines::{begins, words};
use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) static ENTRY: Entry = Entry {
    name: "proxy",
    ports: &[],
    upgrades: false,
    frames_tls: None,
    recognise,
    start: || Box::new(Header),
};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\x00\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
const LENGTH_MAX: usize = 4096;
/// Longest header of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
const TYPE_AUTHORITY: u8 = 2;

fn recognise(opening: &Opening<'_>) -> Guess {
    begins(opening.client, b"PROXY TCP4 ")
        .max(begins(opening.client, b"PROXY TCP6 "))
        .max(begins(opening.client, b"PROXY UNKNOWN"))
        .max(begins(opening.client, SIGNATURE))
}

#[derive(Debug)]
struct Header;

impl Dialogue for Header {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        if from == Speaker::Server {
            return Step::Done;
        }
        match bytes.first() {
            Some(b'\r') => binary(bytes, facts),
            _ => text(bytes, facts),
        }
    }
}

fn note(
    kind: &'static str,
    ends: Option<(SocketAddr, SocketAddr)>,
    name: Option<&[u8]>,
    facts: &mut Facts,
) {
    let port = ends.map(|(_, server)| server.port());
    let target = match (name, port, ends) {
        (Some(name), Some(port), _) => Some([name, b":", port.to_string().as_bytes()].concat()),
        (Some(name), None, _) => Some(name.to_vec()),
        (None, _, Some((_, server))) => Some(server.to_string().into_bytes()),
        _ => None,
    };
    facts.proxy(kind, target.as_deref());
    facts.origin = ends;
}

fn text(bytes: &[u8], facts: &mut Facts) -> Step {
    let head = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = head.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() < LINE_BYTES_MAX {
            Step::Need
        } else {
            Step::Done
        };
    };
    let mut fields = words(head.get(..end).unwrap_or(&[]))
        .skip(2)
        .map(|word| core::str::from_utf8(word).unwrap_or(""));
    let mut next = || fields.next().unwrap_or("");
    let (client, server, client_port, server_port) = (next(), next(), next(), next());
    let address = |ip: &str, port: &str| {
        Some(SocketAddr::new(
            ip.parse::<IpAddr>().ok()?,
            port.parse().ok()?,
        ))
    };
    let ends = address(client, client_port).zip(address(server, server_port));
    note("proxy-v1", ends, None, facts);
    Step::Proxied(end + 1)
}

fn binary(bytes: &[u8], facts: &mut Facts) -> Step {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Step::Need;
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !fixed.starts_with(SIGNATURE) || command >> 4 != 2 || length > LENGTH_MAX {
        return Step::Done;
    }
    let Some(body) = rest.get(..length) else {
        return Step::Need;
    };
    // LOCAL: the proxy speaks for itself, as in a health check.
    let (ends, extra) = match command & 0x0f {
        1 => addresses(family, body),
        _ => (None, &[][..]),
    };
    note("proxy-v2", ends, authority(extra), facts);
    Step::Proxied(FIXED_BYTES + length)
}

/// Client and server, and what follows them.
fn addresses(family: u8, body: &[u8]) -> (Option<(SocketAddr, SocketAddr)>, &[u8]) {
    let ports = |bytes: &[u8; 4]| {
        let [a, b, c, d] = *bytes;
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    };
    let both = |client: IpAddr, server: IpAddr, bytes: &[u8; 4]| {
        let (from, to) = ports(bytes);
        Some((SocketAddr::new(client, from), SocketAddr::new(server, to)))
    };
    let four = || {
        let (client, rest) = body.split_first_chunk::<4>()?;
        let (server, rest) = rest.split_first_chunk::<4>()?;
        let (numbers, rest) = rest.split_first_chunk::<4>()?;
        let (client, server) = (Ipv4Addr::from(*client), Ipv4Addr::from(*server));
        Some((both(client.into(), server.into(), numbers), rest))
    };
    let six = || {
        let (client, rest) = body.split_first_chunk::<16>()?;
        let (server, rest) = rest.split_first_chunk::<16>()?;
        let (numbers, rest) = rest.split_first_chunk::<4>()?;
        let (client, server) = (Ipv6Addr::from(*client), Ipv6Addr::from(*server));
        Some((both(client.into(), server.into(), numbers), rest))
    };
    let read = match family >> 4 {
        1 => four(),
        2 => six(),
        _ => None,
    };
    read.unwrap_or((None, &[]))
}

/// The name that the client asked the proxy for.
fn authority(mut extra: &[u8]) -> Option<&[u8]> {
    while let Some((&[kind, high, low], rest)) = extra.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = rest.split_at_checked(length)?;
        if kind == TYPE_AUTHORITY {
            return Some(value);
        }
        extra = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::SIGNATURE;
    use crate::detect::testing::{C, S, Told, hello, talk};

    fn origin(facts: &Told) -> (String, String) {
        let (client, server) = facts.origin.unwrap();
        (client.to_string(), server.to_string())
    }

    #[test]
    fn version_1_in_front_of_tls() {
        let bytes = [b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", hello()].concat();
        let facts = talk(&[(C, &bytes)]);
        assert_eq!(
            origin(&facts),
            ("192.0.2.1:56324".to_owned(), "198.51.100.1:443".to_owned())
        );
        let proxy = facts.proxy.as_ref().unwrap();
        assert_eq!(
            (proxy.kind, proxy.target.as_deref()),
            ("proxy-v1", Some(&b"198.51.100.1:443"[..]))
        );
        assert!(facts.tls);
        let facts = talk(&[(C, &[b"PROXY UNKNOWN\r\n", hello()].concat())]);
        assert!(facts.tls && facts.origin.is_none() && facts.proxy.is_some());
    }

    #[test]
    fn version_2_in_front_of_tls_and_of_starttls() {
        let mut header = SIGNATURE.to_vec();
        header.extend_from_slice(&[
            0x21, 0x11, 0, 26, 192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 4, 1, 0xbb,
        ]);
        header.extend_from_slice(b"\x02\x00\x0bexample.com");
        let facts = talk(&[(C, &[&header, hello()].concat())]);
        assert_eq!(
            origin(&facts),
            ("192.0.2.1:56324".to_owned(), "10.0.0.1:443".to_owned())
        );
        let target = facts.proxy.as_ref().unwrap().target.as_deref();
        assert_eq!((target, facts.tls), (Some(&b"example.com:443"[..]), true));
        let facts = talk(&[
            (C, &header),
            (S, b"220 mx ESMTP\r\n"),
            (C, b"EHLO a\r\n"),
            (S, b"250 STARTTLS\r\n"),
            (C, b"STARTTLS\r\n"),
            (S, b"220 go\r\n"),
            (C, hello()),
        ]);
        assert_eq!(facts.protocol, Some("smtp"));
        assert!(facts.tls && facts.origin.is_some());
    }
}
