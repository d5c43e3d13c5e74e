//! SOCKS 4, 4a and 5 (RFC 1928, RFC 1929). User names and passwords are passed over, never kept.
//!
//! ```text
//! 05 n methods(n)   05 method   [01 len user len password   01 status]
//! 05 01 00 type address port    05 reply 00 type address port
//! 04 01 port(2) ip(4) user 00 [name 00]                        00 reply port(2) ip(4)
//! ```

use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) static VERSION_5: Entry = Entry {
    name: "socks5",
    ports: &[1080],
    upgrades: false,
    frames_tls: None,
    recognise: recognise_5,
    start: || Box::new(Socks5::default()),
};

pub(super) static VERSION_4: Entry = Entry {
    name: "socks4",
    ports: &[1080],
    upgrades: false,
    frames_tls: None,
    recognise: recognise_4,
    start: || Box::new(Socks4),
};

const CONNECT: u8 = 1;
const PASSWORD: u8 = 2;
const GRANTED: u8 = 90;
/// Longest user name or host name of version 4.
const TEXT_BYTES_MAX: usize = 255;

fn recognise_5(opening: &Opening<'_>) -> Guess {
    let length = match opening.client {
        [5] => return Guess::Maybe,
        [5, count @ 1..=16, ..] => 2 + usize::from(*count),
        _ => return Guess::No,
    };
    let server = match opening.server {
        [] | [5] => Guess::Maybe,
        [5, _, ..] => Guess::Yes,
        _ => Guess::No,
    };
    // Three bytes are little to go by: the server's answer counts, too.
    match opening.client.len() {
        sent if sent < length => Guess::Maybe,
        sent if sent > length && opening.server.is_empty() => Guess::No,
        _ => server,
    }
}

fn recognise_4(opening: &Opening<'_>) -> Guess {
    match opening.client {
        [4] | [4, 1 | 2] => Guess::Maybe,
        [4, 1 | 2, ..] if opening.client.len() < 9 => Guess::Maybe,
        [4, 1 | 2, _, _, _, _, _, _, rest @ ..] => match rest.last() {
            Some(0) if rest.len() <= 2 * TEXT_BYTES_MAX => Guess::Yes,
            Some(_)
                if rest
                    .iter()
                    .all(|byte| byte.is_ascii_graphic() || *byte == 0) =>
            {
                Guess::Maybe
            }
            _ => Guess::No,
        },
        _ => Guess::No,
    }
}

fn named(name: &[u8], port: u16) -> Vec<u8> {
    [name, b":", port.to_string().as_bytes()].concat()
}

fn numbered(address: IpAddr, port: u16) -> Vec<u8> {
    SocketAddr::new(address, port).to_string().into_bytes()
}

#[derive(Debug, Default)]
struct Socks5 {
    greeted: bool,
    method: Option<u8>,
    /// The server accepted the password, or wanted none.
    admitted: bool,
}

/// Address and port behind `05 x 00`: as text, and the message's length. `None`: more is needed.
fn address(bytes: &[u8]) -> Option<Result<(Vec<u8>, usize), ()>> {
    let (&[_, _, _, kind], rest) = bytes.split_first_chunk::<4>()?;
    let port_at = |at: usize| {
        let port = rest.get(at..at + 2)?.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*port))
    };
    Some(Ok(match kind {
        1 => {
            let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            (numbered(ip.into(), port_at(4)?), 10)
        }
        4 => {
            let ip = Ipv6Addr::from(*rest.first_chunk::<16>()?);
            (numbered(ip.into(), port_at(16)?), 22)
        }
        3 => {
            let length = usize::from(*rest.first()?);
            let name = rest.get(1..1 + length)?;
            (named(name, port_at(1 + length)?), 7 + length)
        }
        _ => return Some(Err(())),
    }))
}

impl Dialogue for Socks5 {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        match from {
            Speaker::Client => self.client(bytes, facts),
            Speaker::Server => self.server(bytes, facts),
        }
    }
}

impl Socks5 {
    fn client(&mut self, bytes: &[u8], facts: &mut Facts) -> Step {
        let [version, second, ..] = *bytes else {
            return Step::Need;
        };
        if !self.greeted {
            let length = 2 + usize::from(second);
            if bytes.len() < length {
                return Step::Need;
            }
            self.greeted = true;
            return Step::Used(length);
        }
        if version == 1 && self.method == Some(PASSWORD) {
            let Some(password) = bytes.get(2 + usize::from(second)) else {
                return Step::Need;
            };
            let length = 3 + usize::from(second) + usize::from(*password);
            return if bytes.len() < length {
                Step::Need
            } else {
                Step::Used(length)
            };
        }
        if version != 5 {
            return Step::Done;
        }
        match address(bytes) {
            None => Step::Need,
            Some(Err(())) => Step::Done,
            Some(Ok((target, length))) => {
                facts.proxy(VERSION_5.name, Some(&target));
                if second == CONNECT {
                    Step::Used(length)
                } else {
                    Step::Done
                }
            }
        }
    }

    fn server(&mut self, bytes: &[u8], facts: &mut Facts) -> Step {
        let [version, second, ..] = *bytes else {
            return Step::Need;
        };
        match (version, self.method) {
            (5, None) => {
                self.method = Some(second);
                self.admitted = second == 0;
                Step::Used(2)
            }
            (1, Some(PASSWORD)) if !self.admitted => {
                self.admitted = second == 0;
                if self.admitted {
                    Step::Used(2)
                } else {
                    Step::Done
                }
            }
            (5, Some(_)) if facts.proxy.is_some() => match address(bytes) {
                None => Step::Need,
                Some(Err(())) => Step::Done,
                Some(Ok((_, length))) => {
                    facts.proxy_status(u16::from(second));
                    if second == 0 {
                        Step::Proxied(length)
                    } else {
                        Step::Done
                    }
                }
            },
            _ => Step::Done,
        }
    }
}

#[derive(Debug)]
struct Socks4;

impl Dialogue for Socks4 {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let Some((&[zero, code, ..], rest)) = bytes.split_first_chunk::<8>() else {
            return Step::Need;
        };
        if from == Speaker::Client {
            return request(bytes, rest, facts);
        }
        if zero != 0 || facts.proxy.is_none() {
            return Step::Done;
        }
        facts.proxy_status(u16::from(code));
        if code == GRANTED {
            Step::Proxied(8)
        } else {
            Step::Done
        }
    }
}

fn request(bytes: &[u8], rest: &[u8], facts: &mut Facts) -> Step {
    let Some(&[4, command, high, low, a, b, c, d]) = bytes.first_chunk::<8>() else {
        return Step::Done;
    };
    let port = u16::from_be_bytes([high, low]);
    let text = |bytes: &[u8]| {
        bytes
            .iter()
            .take(TEXT_BYTES_MAX + 1)
            .position(|&byte| byte == 0)
    };
    let short = |bytes: &[u8]| {
        if bytes.len() <= TEXT_BYTES_MAX {
            Step::Need
        } else {
            Step::Done
        }
    };
    let Some(user) = text(rest) else {
        return short(rest);
    };
    let mut length = 8 + user + 1;
    let ip = Ipv4Addr::new(a, b, c, d);
    let mut target = numbered(ip.into(), port);
    if (a, b, c) == (0, 0, 0) && d != 0 {
        // 4a: the proxy is to look the name up.
        let behind = rest.get(user + 1..).unwrap_or(&[]);
        let Some(name) = text(behind) else {
            return short(behind);
        };
        target = named(behind.get(..name).unwrap_or(&[]), port);
        length += name + 1;
    }
    facts.proxy(VERSION_4.name, Some(&target));
    if command == CONNECT {
        Step::Used(length)
    } else {
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, S, Told, hello, talk};

    fn proxy(facts: &Told) -> (&'static str, &[u8], Option<u16>) {
        let proxy = facts.proxy.as_ref().unwrap();
        (proxy.kind, proxy.target.as_deref().unwrap(), proxy.status)
    }

    const REPLY: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

    #[test]
    fn version_5_connects() {
        let facts = talk(&[
            (C, b"\x05\x02\x00\x02"),
            (S, b"\x05\x02"),
            (C, b"\x01\x03joe\x06secret"),
            (S, b"\x01\x00"),
            (C, b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"),
            (S, REPLY),
            (C, hello()),
        ]);
        assert_eq!(proxy(&facts), ("socks5", &b"example.com:443"[..], Some(0)));
        assert!(facts.tls && facts.protocol.is_none());
        assert!(!format!("{facts:?}").contains("secret"));
    }

    #[test]
    fn version_5_refuses() {
        let facts = talk(&[
            (C, b"\x05\x01\x00"),
            (S, b"\x05\x00"),
            (C, b"\x05\x01\x00\x01\x0a\x00\x00\x05\x00\x19"),
            (S, b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"),
        ]);
        assert_eq!(proxy(&facts), ("socks5", &b"10.0.0.5:25"[..], Some(2)));
    }

    #[test]
    fn version_4_and_4a_connect() {
        let facts = talk(&[
            (C, b"\x04\x01\x01\xbb\x0a\x00\x00\x05joe\x00"),
            (S, b"\x00\x5a\x00\x00\x00\x00\x00\x00"),
            (C, hello()),
        ]);
        assert_eq!(proxy(&facts), ("socks4", &b"10.0.0.5:443"[..], Some(90)));
        assert!(facts.tls);
        let facts = talk(&[
            (C, b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00example.com\x00"),
            (S, b"\x00\x5b\x00\x00\x00\x00\x00\x00"),
        ]);
        assert_eq!(proxy(&facts), ("socks4", &b"example.com:443"[..], Some(91)));
    }

    #[test]
    fn starttls_inside_a_proxy() {
        let facts = talk(&[
            (C, b"\x05\x01\x00"),
            (S, b"\x05\x00"),
            (C, b"\x05\x01\x00\x01\x0a\x00\x00\x05\x00\x19"),
            (S, REPLY),
            (S, b"220 mx ESMTP\r\n"),
            (C, b"EHLO a\r\n"),
            (S, b"250-mx\r\n250 STARTTLS\r\n"),
            (C, b"STARTTLS\r\n"),
            (S, b"220 go\r\n"),
            (C, hello()),
        ]);
        assert_eq!((facts.protocol, facts.accepted), (Some("smtp"), Some(true)));
        assert_eq!(proxy(&facts).0, "socks5");
    }
}
