//! Hellos in the format of SSL 2.0: its own, and those with which clients of SSL 3.0 and TLS greeted
//! servers that might know no more (RFC 5246 appendix E.2; RFC 6176 forbids them).
//!
//! ```text
//! CLIENT-HELLO │ 1 ppppppp pppppppp │ 1 │ version │ three lengths │ cipher kinds │ session id │ challenge │
//! SERVER-HELLO │ 1 ppppppp pppppppp │ 4 │ hit │ type │ version │ three lengths │ certificate │ kinds │ id │
//! MASTER-KEY   │ 1 ppppppp pppppppp │ 2 │ cipher kind │ three lengths │ clear key │ encrypted key │ argument │
//! encrypted    │ 1 ppppppp pppppppp │ … or │ 00 pppppp pppppppp │ padding │ …
//! ```
//!
//! A format without a mark of its own: the lengths must add up to the record's, else it is none.

use super::wire::{bytes, u8, u16};

/// Bytes that tell whether this is such a hello.
pub const PROBE_BYTES: usize = 13;
/// What stands for the chosen suite, which a SERVER-HELLO does not tell.
pub const NO_SUITE: u16 = 0xffff;
/// Bytes of the longer header of the records behind a hello.
pub const LATER_BYTES: usize = 3;
/// Shortest encrypted record: an MD5 as MAC, and something. What is shorter is an ERROR in clear.
pub const ENCRYPTED_MIN: usize = 17;
/// Longest record with a two-byte header.
const LENGTH_MAX: usize = 0x7fff;

/// A hello, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello<'a> {
    /// CLIENT-HELLO.
    Client(ClientHelloV2<'a>),
    /// SERVER-HELLO.
    Server(ServerHelloV2<'a>),
    /// CLIENT-MASTER-KEY: the cipher kind that the client chose.
    MasterKey([u8; 3]),
}

/// A CLIENT-HELLO, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHelloV2<'a> {
    /// The version asked for: 0x0002, or 0x0300 and above.
    pub version: u16,
    /// Cipher kinds: three bytes each; those that begin with 0 are suites of SSL 3.0 and TLS.
    pub kinds: CipherKinds<'a>,
    /// Session id.
    pub session_id: &'a [u8],
    /// Challenge: the random of SSL 3.0 and TLS, shorter.
    pub challenge: &'a [u8],
}

/// A SERVER-HELLO, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHelloV2<'a> {
    /// The server knows the session.
    pub session_id_hit: bool,
    /// Version.
    pub version: u16,
    /// The certificate, DER.
    pub certificate: &'a [u8],
    /// The cipher kinds that both know; the client chooses.
    pub kinds: CipherKinds<'a>,
    /// Connection id.
    pub connection_id: &'a [u8],
}

/// A list of cipher kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherKinds<'a>(pub &'a [u8]);

impl<'a> CipherKinds<'a> {
    /// The kinds in wire order.
    pub fn iter(self) -> impl Iterator<Item = [u8; 3]> + use<'a> {
        self.0.as_chunks::<3>().0.iter().copied()
    }

    /// The suites of SSL 3.0 and TLS among them, as they stand in their own hellos.
    pub fn suites(self) -> impl Iterator<Item = [u8; 2]> + use<'a> {
        self.iter().filter_map(|kind| match kind {
            [0, high, low] => Some([high, low]),
            _ => None,
        })
    }
}

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A hello in a record of so many bytes, its header included.
    Hello(usize),
    /// [`PROBE_BYTES`] are needed to tell.
    NeedMore,
    /// Something else.
    Other,
}

/// Tells from the fixed bytes whether a direction begins with such a hello.
#[inline]
pub fn probe(input: &[u8]) -> Probe {
    let Some((&[0x80..=0xff, _, kind], rest)) = input.split_first_chunk::<3>() else {
        return match input {
            [] | [0x80..=0xff] | [0x80..=0xff, _] => Probe::NeedMore,
            _ => Probe::Other,
        };
    };
    let plausible = match kind {
        1 => matches!(rest, [] | [0 | 3] | [0, 2, ..] | [3, 0..=4, ..]),
        // Hit or not, certificate type, version.
        4 => matches!(
            rest,
            [] | [0 | 1] | [0 | 1, 0..=1] | [0 | 1, 0..=1, 0] | [0 | 1, 0..=1, 0, 2, ..]
        ),
        _ => false,
    };
    if !plausible {
        return Probe::Other;
    }
    let Some(&[a, b, kind, _, _, c, d, e, f, g, h, i, j]) = input.first_chunk::<PROBE_BYTES>()
    else {
        return Probe::NeedMore;
    };
    let number = |high, low| usize::from(u16::from_be_bytes([high, low]));
    let length = number(a & 0x7f, b);
    let fits = if kind == 1 {
        let (kinds, id, challenge) = (number(c, d), number(e, f), number(g, h));
        kinds > 0
            && kinds % 3 == 0
            && matches!(id, 0 | 16 | 32)
            && (16..=32).contains(&challenge)
            && length == 9 + kinds + id + challenge
    } else {
        let (certificate, kinds, id) = (number(e, f), number(g, h), number(i, j));
        kinds % 3 == 0 && (16..=32).contains(&id) && length == 11 + certificate + kinds + id
    };
    if fits && length <= LENGTH_MAX {
        Probe::Hello(2 + length)
    } else {
        Probe::Other
    }
}

/// Reads a record that [`probe`] told to be a hello.
pub fn parse(record: &[u8]) -> Option<Hello<'_>> {
    let (rest, kind) = u8(record.get(2..)?).ok()?;
    if kind == 1 {
        let (rest, version) = u16(rest).ok()?;
        let (rest, [kinds, id, challenge]) = lengths(rest)?;
        let (rest, kinds) = bytes(kinds)(rest).ok()?;
        let (rest, session_id) = bytes(id)(rest).ok()?;
        let (_, challenge) = bytes(challenge)(rest).ok()?;
        return Some(Hello::Client(ClientHelloV2 {
            version,
            kinds: CipherKinds(kinds),
            session_id,
            challenge,
        }));
    }
    let (rest, hit) = u8(rest).ok()?;
    let (rest, _certificate_type) = u8(rest).ok()?;
    let (rest, version) = u16(rest).ok()?;
    let (rest, [certificate, kinds, id]) = lengths(rest)?;
    let (rest, certificate) = bytes(certificate)(rest).ok()?;
    let (rest, kinds) = bytes(kinds)(rest).ok()?;
    let (_, connection_id) = bytes(id)(rest).ok()?;
    Some(Hello::Server(ServerHelloV2 {
        session_id_hit: hit != 0,
        version,
        certificate,
        kinds: CipherKinds(kinds),
        connection_id,
    }))
}

/// A record behind a hello: the lengths of its header and of its body; `None` where this is none.
pub fn later(input: &[u8; LATER_BYTES]) -> Option<(usize, usize)> {
    let [a, b, padding] = *input;
    let number = |high| usize::from(u16::from_be_bytes([high, b]));
    match a {
        0x80.. => Some((2, number(a & 0x7f))),
        // The second bit would be a "security escape", of which there are none.
        0x40.. => None,
        _ => Some((3, number(a))).filter(|&(_, length)| usize::from(padding) < length),
    }
}

/// The cipher kind of a CLIENT-MASTER-KEY, if this is the body of one: its lengths add up to it.
pub fn master_key(body: &[u8]) -> Option<[u8; 3]> {
    let (&[2, a, b, c], rest) = body.split_first_chunk::<4>()? else {
        return None;
    };
    let (rest, parts) = lengths(rest)?;
    (rest.len() == parts.iter().sum::<usize>()).then_some([a, b, c])
}

fn lengths(input: &[u8]) -> Option<(&[u8], [usize; 3])> {
    let (rest, first) = u16(input).ok()?;
    let (rest, second) = u16(rest).ok()?;
    let (rest, third) = u16(rest).ok()?;
    Some((rest, [first, second, third].map(usize::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Vec<u8> {
        let mut body = vec![1, 3, 1, 0, 9, 0, 0, 0, 16];
        body.extend([0, 0, 0x39, 7, 0, 0xc0, 0, 0, 0x35]);
        body.extend([9; 16]);
        let mut record = vec![0x80, body.len() as u8];
        record.extend(body);
        record
    }

    fn server() -> Vec<u8> {
        let mut body = vec![4, 0, 1, 0, 2, 0, 5, 0, 3, 0, 16];
        body.extend([0x30, 3, 1, 1, 1, 7, 0, 0xc0]);
        body.extend([8; 16]);
        let mut record = vec![0x80, body.len() as u8];
        record.extend(body);
        record
    }

    #[test]
    fn hellos_are_told_and_read() {
        let record = client();
        assert_eq!(probe(&record), Probe::Hello(record.len()));
        let Some(Hello::Client(hello)) = parse(&record) else {
            panic!("no client hello");
        };
        assert_eq!((hello.version, hello.challenge), (0x0301, &[9; 16][..]));
        assert_eq!(hello.kinds.iter().count(), 3);
        assert_eq!(
            hello.kinds.suites().collect::<Vec<_>>(),
            [[0, 0x39], [0, 0x35]]
        );
        let record = server();
        assert_eq!(probe(&record), Probe::Hello(record.len()));
        let Some(Hello::Server(hello)) = parse(&record) else {
            panic!("no server hello");
        };
        assert_eq!((hello.version, hello.session_id_hit), (2, false));
        assert_eq!(hello.certificate, [0x30, 3, 1, 1, 1]);
    }

    #[test]
    fn records_behind_the_hellos() {
        assert_eq!(later(&[0x80, 0x42, 2]), Some((2, 0x42)));
        assert_eq!(later(&[0x00, 0x28, 7]), Some((3, 0x28)));
        assert_eq!(later(&[0x3f, 0xff, 7]), Some((3, 0x3fff)));
        assert_eq!(later(&[0x40, 0x28, 7]), None);
        assert_eq!(later(&[0x00, 0x07, 7]), None);
        let body = [&[2, 5, 0, 0x80, 0, 0, 0, 4, 0, 2][..], &[7; 6]].concat();
        assert_eq!(master_key(&body), Some([5, 0, 0x80]));
        assert_eq!(master_key(&body[..15]), None);
        assert_eq!(master_key(&[0, 0, 1]), None);
    }

    #[test]
    fn what_does_not_add_up_is_none() {
        for record in [client(), server()] {
            for end in 0..record.len() {
                let expected = if end < PROBE_BYTES {
                    Probe::NeedMore
                } else {
                    Probe::Hello(record.len())
                };
                assert_eq!(probe(&record[..end]), expected, "{end}");
                parse(&record[..end]);
                for bit in 0..8 {
                    let mut flipped = record.clone();
                    flipped[end] ^= 1 << bit;
                    if let Probe::Hello(length) = probe(&flipped) {
                        assert!(length == record.len() && parse(&flipped).is_some());
                    }
                }
            }
        }
        assert_eq!(
            probe(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0"),
            Probe::Other
        );
        assert_eq!(probe(b"GET / HTTP/1.1"), Probe::Other);
    }
}
