//! Stage 4: the first bytes of a direction say what it speaks, at any port; and dialogues that lead to
//! TLS (STARTTLS, proxies) say what was agreed on before it.
//!
//! [`DIALOGUES`] is the only list of them. A dialogue gets the bytes of both sides in order and notes
//! [`Facts`]; it never says where TLS is, for a hello tells that by itself: [`Talk`] looks for one behind
//! each message.

mod amqp;
mod dns;
mod facts;
mod framed;
mod ftp;
mod http_connect;
mod imap;
mod irc;
mod ldap;
mod lines;
mod mqtt;
mod mysql;
mod nntp;
pub mod openvpn;
mod pop3;
mod postgres;
mod proxy_protocol;
mod rdp;
pub mod rdp_udp;
mod sieve;
mod smtp;
mod socks;
mod talk;
mod tds;
#[cfg(test)]
mod testing;
mod xmpp;

pub use facts::{Facts, ProxyFacts};
pub use framed::{Framing, Inner, Reader, Unframer};
pub use talk::{Next, Parties, Talk, leads_to_tls};

use crate::tls::record::{HEADER_BYTES, Header, kind};
use crate::tls::sslv2::{self, Probe};

/// All dialogues. Where several may be meant, the first one whose port it is, else the first one.
pub static DIALOGUES: &[&Entry] = &[
    &proxy_protocol::ENTRY,
    &http_connect::ENTRY,
    &smtp::ENTRY,
    &ftp::ENTRY,
    &imap::ENTRY,
    &pop3::ENTRY,
    &nntp::ENTRY,
    &sieve::ENTRY,
    &xmpp::ENTRY,
    &irc::ENTRY,
    &ldap::ENTRY,
    &postgres::ENTRY,
    &mysql::ENTRY,
    &rdp::ENTRY,
    &tds::ENTRY,
    &openvpn::ENTRY,
    &dns::ENTRY,
    &amqp::ENTRY,
    &mqtt::ENTRY,
    &socks::VERSION_5,
    &socks::VERSION_4,
];

/// A dialogue's line in [`DIALOGUES`].
#[derive(Debug)]
pub struct Entry {
    /// The word that the record uses.
    pub name: &'static str,
    /// Server ports that decide where the first bytes leave a choice.
    pub ports: &'static [u16],
    /// TLS behind it was agreed on in it; not so where it merely carries another conversation.
    pub upgrades: bool,
    /// TLS stands inside its packets: it goes through the [`Unframer`].
    pub frames_tls: Option<Framing>,
    /// Is it this one?
    pub recognise: fn(&Opening<'_>) -> Guess,
    /// Begins to read it.
    pub start: fn() -> Box<dyn Dialogue>,
}

/// The first bytes of both sides; empty where one has not spoken yet.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The client's.
    pub client: &'a [u8],
    /// The server's.
    pub server: &'a [u8],
    /// The server's port.
    pub port: u16,
}

/// Do the first bytes belong to a dialogue?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guess {
    /// No.
    No,
    /// They may; more are needed.
    Maybe,
    /// Yes.
    Yes,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Whoever opened the conversation.
    Client,
    /// The other.
    Server,
}

/// What a dialogue made of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message is not complete: again, with more of the same side.
    Need,
    /// So many bytes are read.
    Used(usize),
    /// So many bytes are of no interest, and cost nothing.
    Skip(usize),
    /// So many bytes are read, and the proxy is through: what follows on both sides is what it carries.
    Proxied(usize),
    /// These packets carry TLS.
    Framed,
    /// All is known, or nothing can be known.
    Done,
}

/// A talk in front of TLS, read message by message.
pub trait Dialogue: core::fmt::Debug + Send {
    /// Takes bytes of one side, which begin where its last message ended.
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step;
}

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A TLS record that begins or ends a handshake.
    Tls,
    /// TLS application data: the handshake lies before the capture.
    TlsMidStream,
    /// So many bytes are needed to tell.
    NeedMore(usize),
    /// Not TLS.
    Other,
}

/// Tells what a direction speaks from the first bytes of a segment. Where it spoke something else
/// before (`in_dialogue`), only a hello counts.
#[inline]
pub fn detect(bytes: &[u8], in_dialogue: bool) -> Verdict {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return match bytes {
            [] | [20..=24] | [20..=24, 3, ..] => Verdict::NeedMore(HEADER_BYTES + 1),
            _ => sslv2(bytes, in_dialogue),
        };
    };
    let Some(header) = Header::parse(header) else {
        return sslv2(bytes, in_dialogue);
    };
    match (header.kind, bytes.get(HEADER_BYTES)) {
        (kind::HANDSHAKE, None) if header.length > 0 => Verdict::NeedMore(HEADER_BYTES + 1),
        (kind::HANDSHAKE, Some(1 | 2)) => hello(
            bytes.get(..HEADER_BYTES + header.length).unwrap_or(bytes),
            header.length,
        ),
        _ if in_dialogue => Verdict::Other,
        // What stands at the start of a record after a gap.
        (kind::HANDSHAKE, Some(0 | 3..=6 | 8 | 11..=16 | 20..=22)) => Verdict::Tls,
        (kind::ALERT, _) if header.length == 2 => Verdict::Tls,
        (kind::HANDSHAKE | kind::APPLICATION_DATA | kind::ALERT, _) => Verdict::TlsMidStream,
        (kind::CHANGE_CIPHER_SPEC, _) if header.length == 1 => Verdict::TlsMidStream,
        _ => Verdict::Other,
    }
}

/// A hello in the format of SSL 2.0, which no record announces. Inside a dialogue any byte may look like
/// its start: there it must be whole enough to tell.
fn sslv2(bytes: &[u8], in_dialogue: bool) -> Verdict {
    match sslv2::probe(bytes) {
        Probe::Hello(_) => Verdict::Tls,
        Probe::NeedMore if in_dialogue => Verdict::Other,
        Probe::NeedMore => Verdict::NeedMore(sslv2::PROBE_BYTES),
        Probe::Other => Verdict::Other,
    }
}

/// A record of `length` bytes that says it holds a hello: the hello's own version must be one.
fn hello(record: &[u8], length: usize) -> Verdict {
    match record.get(HEADER_BYTES + 4..HEADER_BYTES + 6) {
        Some([3, 0..=4] | [0x7f, _]) => Verdict::Tls,
        Some(_) => Verdict::Other,
        // A record so short holds a part of the hello; its version comes with the next.
        None if length < 6 => Verdict::Tls,
        None => Verdict::NeedMore(HEADER_BYTES + 6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        assert_eq!(
            detect(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false),
            Verdict::Tls
        );
        assert_eq!(
            detect(b"\x16\x03\x01\x02\x00\x01", false),
            Verdict::NeedMore(11)
        );
        assert_eq!(detect(b"\x16\x03\x01\x00\x01\x01", false), Verdict::Tls);
        // The next record's header is no part of this one's hello.
        let short = b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x01\x00";
        assert_eq!(detect(short, false), Verdict::Tls);
        assert_eq!(
            detect(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x09\x03", false),
            Verdict::Other
        );
        assert_eq!(detect(b"\x15\x03\x03\x00\x02\x02\x28", false), Verdict::Tls);
        assert_eq!(
            detect(b"\x17\x03\x03\x02\x00\x01", false),
            Verdict::TlsMidStream
        );
        assert_eq!(detect(b"\x16\x03", false), Verdict::NeedMore(6));
        assert_eq!(detect(b"", false), Verdict::NeedMore(6));
        assert_eq!(detect(b"GET / HTTP/1.1", false), Verdict::Other);
        assert_eq!(detect(b"\x16\x05\x01\x02\x00\x01", false), Verdict::Other);
        assert_eq!(detect(b"\x16\x03\x01\xff\xff\x01", false), Verdict::Other);
    }
}
