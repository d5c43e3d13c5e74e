//! One DNS message (RFC 1035 section 4.1), read in place.
//!
//! ```text
//! 0  identification   2  QR Opcode AA TC RD RA Z RCODE   4  questions  6  answers  8  authority  10  additional
//! 12 name, type, class of the question   …   name, type, class, ttl, length, data of each answer
//! ```

use super::kind;
use super::service::Service;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of the header.
pub const HEADER_BYTES: usize = 12;
/// Answers of one message that are read.
const ANSWERS_MAX: u16 = 64;
/// Labels and pointers followed in one name: a name has at most 127 labels (RFC 1035 section 2.3.4).
const STEPS_MAX: usize = 160;
/// Octets of a name, its length octets and the root's included (RFC 1035 section 2.3.4).
const NAME_OCTETS_MAX: usize = 255;
/// The Internet's class.
const CLASS_IN: u16 = 1;

/// A query or its response with exactly one question, by its header alone.
#[inline]
pub fn is_lookup(bytes: &[u8]) -> bool {
    // Opcode 0 is QUERY. A query has no answers, and no response code.
    match bytes {
        [_, _, flags, code, 0, 1, answers @ ..]
            if flags & 0x78 == 0 && bytes.len() > HEADER_BYTES =>
        {
            flags & 0x80 != 0 || (code & 0x0f == 0 && matches!(answers, [0, 0, ..]))
        }
        _ => false,
    }
}

/// A message with one question.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// What a response repeats of its query.
    pub id: u16,
    /// It is a response.
    pub is_response: bool,
    /// The response was too long for a datagram.
    pub truncated: bool,
    /// Response code.
    pub rcode: u8,
    answers: u16,
    /// Type of the question.
    pub kind: u16,
    /// Where the answers begin.
    behind_question: usize,
}

/// What an answer says.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// An address of the name.
    Address(IpAddr),
    /// The name is an alias of another one, which begins there.
    Alias(usize),
    /// How to reach the service.
    Service(Service<'a>),
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*two))
}

/// Where the name that begins at `at` ends in the message.
fn name_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    for _ in 0..STEPS_MAX {
        match *bytes.get(at)? {
            _ if at - start >= NAME_OCTETS_MAX => return None,
            0 => return Some(at + 1),
            length @ 1..=63 => at += usize::from(length) + 1,
            0xc0..=0xff => return Some(at + 2),
            _ => return None,
        }
    }
    None
}

impl<'a> Message<'a> {
    /// Reads the header and the question; `None` where the bytes are no lookup, or the question is not of the Internet.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if !is_lookup(bytes) {
            return None;
        }
        let flags = u16_at(bytes, 2)?;
        let end = name_end(bytes, HEADER_BYTES)?;
        if u16_at(bytes, end + 2)? != CLASS_IN {
            return None;
        }
        Some(Self {
            bytes,
            id: u16_at(bytes, 0)?,
            is_response: flags & 0x8000 != 0,
            truncated: flags & 0x0200 != 0,
            rcode: (flags & 0x000f) as u8,
            answers: u16_at(bytes, 6)?.min(ANSWERS_MAX),
            kind: u16_at(bytes, end)?,
            behind_question: end + 4,
        })
    }

    /// Writes the question's name into `out`, in lower case and with dots, without the root's.
    pub fn question(&self, out: &mut Vec<u8>) -> Option<()> {
        self.name(HEADER_BYTES, out)
    }

    /// Writes the name that begins at `at`. Dots and backslashes inside a label come as `\x2e` and `\x5c`.
    pub fn name(&self, mut at: usize, out: &mut Vec<u8>) -> Option<()> {
        out.clear();
        let mut octets = 1;
        for _ in 0..STEPS_MAX {
            let length = *self.bytes.get(at)?;
            match length {
                0 => {
                    if out.is_empty() {
                        out.push(b'.');
                    }
                    return Some(());
                }
                1..=63 => {
                    octets += 1 + usize::from(length);
                    if octets > NAME_OCTETS_MAX {
                        return None;
                    }
                    let label = self.bytes.get(at + 1..at + 1 + usize::from(length))?;
                    if !out.is_empty() {
                        out.push(b'.');
                    }
                    label_into(label, out);
                    at += 1 + usize::from(length);
                }
                0xc0..=0xff => {
                    let before = at;
                    at = usize::from(u16_at(self.bytes, at)? & 0x3fff);
                    // A pointer leads to an earlier place (RFC 1035 section 4.1.4).
                    if at >= before {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        None
    }

    /// What the answers say, in order; ends at the first that is broken.
    pub fn answers(&self) -> impl Iterator<Item = Answer<'a>> {
        let bytes = self.bytes;
        let (mut at, mut left) = (self.behind_question, self.answers);
        core::iter::from_fn(move || {
            while left > 0 {
                left -= 1;
                let (answer, end) = answer_at(bytes, at)?;
                at = end;
                if answer.is_some() {
                    return answer;
                }
            }
            None
        })
    }
}

fn label_into(label: &[u8], out: &mut Vec<u8>) {
    for byte in label {
        match byte {
            b'.' | b'\\' => out.extend_from_slice(if *byte == b'.' { b"\\x2e" } else { b"\\x5c" }),
            _ => out.push(byte.to_ascii_lowercase()),
        }
    }
}

/// The answer that begins at `at`, where it is of a known type, and where it ends.
fn answer_at(bytes: &[u8], at: usize) -> Option<(Option<Answer<'_>>, usize)> {
    let header = name_end(bytes, at)?;
    let (kind, class) = (u16_at(bytes, header)?, u16_at(bytes, header + 2)?);
    let start = header + 10;
    let end = start + usize::from(u16_at(bytes, header + 8)?);
    let data = bytes.get(start..end)?;
    if class != CLASS_IN {
        return Some((None, end));
    }
    let answer = match kind {
        kind::A => <[u8; 4]>::try_from(data)
            .ok()
            .map(|octets| Answer::Address(Ipv4Addr::from(octets).into())),
        kind::AAAA => <[u8; 16]>::try_from(data)
            .ok()
            .map(|octets| Answer::Address(Ipv6Addr::from(octets).into())),
        kind::CNAME => Some(Answer::Alias(start)),
        kind::SVCB | kind::HTTPS => Service::parse(data, name_end(data, 2)).map(Answer::Service),
        _ => None,
    };
    Some((answer, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `www.Example.com` is an alias of `a.example.com`, which has two addresses; one record is of no interest.
    fn response() -> Vec<u8> {
        let mut bytes = b"\x12\x34\x81\x80\0\x01\0\x04\0\0\0\0".to_vec();
        bytes.extend(b"\x03www\x07Example\x03com\0\0\x01\0\x01");
        bytes.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01a\xc0\x10");
        bytes.extend(b"\xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01");
        bytes.extend(b"\xc0\x2d\0\x10\0\x01\0\0\0\x3c\0\x02\x01x");
        bytes.extend(
            b"\xc0\x2d\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07",
        );
        bytes
    }

    #[test]
    fn question_alias_and_addresses() {
        let bytes = response();
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is_response && !message.truncated);
        assert_eq!(
            (message.id, message.rcode, message.kind),
            (0x1234, 0, kind::A)
        );
        let mut name = Vec::new();
        message.question(&mut name).unwrap();
        assert_eq!(name, b"www.example.com");
        let told: Vec<String> = message
            .answers()
            .map(|answer| match answer {
                Answer::Address(ip) => ip.to_string(),
                Answer::Alias(at) => {
                    message.name(at, &mut name).unwrap();
                    String::from_utf8(name.clone()).unwrap()
                }
                Answer::Service(_) => String::new(),
            })
            .collect();
        assert_eq!(told, ["a.example.com", "192.0.2.1", "2001:db8::7"]);
    }

    #[test]
    fn any_prefix_and_any_flipped_bit_is_read_without_harm() {
        let bytes = response();
        let mut name = Vec::new();
        let mut read = |bytes: &[u8]| {
            if let Some(message) = Message::parse(bytes) {
                message.question(&mut name);
                for answer in message.answers() {
                    if let Answer::Alias(at) = answer {
                        message.name(at, &mut name);
                    }
                }
            }
        };
        for end in 0..bytes.len() {
            read(&bytes[..end]);
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            read(&flipped);
        }
    }

    #[test]
    fn a_name_that_points_at_itself_is_none() {
        let mut bytes = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01".to_vec();
        let mut name = Vec::new();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.question(&mut name), None);
        bytes[12] = 0x80;
        assert!(Message::parse(&bytes).is_none());
    }

    #[test]
    fn a_name_longer_than_names_are_is_none_also_in_pieces() {
        let label = [&[63][..], &[b'a'; 63]].concat();
        let name = |labels: usize| [label.repeat(labels), vec![0, 0, 1, 0, 1]].concat();
        let message = |rest: Vec<u8>| [b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec(), rest].concat();
        let mut out = Vec::new();
        let fits = message(name(3));
        let read = Message::parse(&fits).unwrap().question(&mut out);
        assert_eq!((read, out.len()), (Some(()), 3 * 64 - 1));
        assert!(Message::parse(&message(name(5))).is_none());
        // Two halves that a pointer joins.
        let mut joined = message(name(3));
        let at = joined.len();
        joined.extend(label.repeat(2));
        joined.extend([0xc0, 12]);
        let read = Message::parse(&joined).unwrap();
        assert_eq!(read.name(at, &mut out), None);
        assert_eq!(read.name(at + 128, &mut out), Some(()));
    }

    #[test]
    fn labels_keep_their_dots_apart_and_the_root_has_a_name() {
        let mut name = Vec::new();
        let bytes = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03a.B\x01c\0\0\x01\0\x01";
        Message::parse(bytes).unwrap().question(&mut name).unwrap();
        assert_eq!(name, b"a\\x2eb.c");
        let bytes = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01";
        Message::parse(bytes).unwrap().question(&mut name).unwrap();
        assert_eq!(name, b".");
    }
}
