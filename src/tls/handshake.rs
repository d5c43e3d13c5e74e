//! The state machine of one connection: bytes in, events out. It knows no record, no time, no address.
//!
//! Both directions are read independently, for a capture may lack one. What decides whether a record is
//! in clear is its own direction's ChangeCipherSpec, and the form of the bytes where that was missed.

use super::certificate::CertificateList;
use super::client_hello::{ClientHelloView, Extensions};
use super::code_points::HandshakeType;
use super::decrypt::{Keys, Opener};
use super::message::{Assembler, Found, Message};
use super::record::{self, Header, kind};
use super::server_hello::ServerHelloView;
use super::sslv2::{self, Probe};
use crate::flow::{Answer, Direction, Lent};

/// What was seen in one direction of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// A ClientHello, with the version of its record and the message's length with header.
    ClientHello {
        /// The message.
        hello: ClientHelloView<'a>,
        /// Version field of the record; QUIC has none.
        record_version: Option<u16>,
        /// Length of the message with its header.
        length: u32,
    },
    /// A hello in the format of SSL 2.0, or what the client chose after it.
    Sslv2(sslv2::Hello<'a>),
    /// A ServerHello or HelloRetryRequest.
    ServerHello(ServerHelloView<'a>),
    /// A Certificate message in clear.
    Certificate(CertificateList<'a>),
    /// The body of a ServerKeyExchange.
    ServerKeyExchange(&'a [u8]),
    /// The body of a CertificateRequest in clear.
    CertificateRequest(&'a [u8]),
    /// The body of a CertificateStatus in clear.
    CertificateStatus(&'a [u8]),
    /// Any other handshake message in clear.
    Message(HandshakeType),
    /// A handshake record that is encrypted.
    EncryptedHandshake,
    /// A ChangeCipherSpec.
    ChangeCipherSpec,
    /// An alert in clear.
    Alert {
        /// 1 warning, 2 fatal.
        level: u8,
        /// AlertDescription.
        code: u8,
    },
    /// An alert record that is encrypted, with its first bytes: under a NULL cipher they are in clear.
    EncryptedAlert {
        /// The first two bytes.
        start: Option<[u8; 2]>,
    },
    /// An application data record (under TLS 1.3 also the encrypted rest of the handshake).
    ApplicationData {
        /// Bytes of the fragment.
        length: usize,
    },
    /// A HelloVerifyRequest (DTLS).
    HelloVerifyRequest,
    /// A hello that contradicts its own lengths.
    Malformed,
    /// A message beyond the cap.
    TooLong,
    /// What the session's secrets opened.
    Opened(Opened<'a>),
    /// The secrets of the run did not open what they might have.
    Trouble(Trouble),
}

/// What was read with a session's secrets. Messages that exist in clear, too, are events of their own,
/// with [`Opened::Record`] behind them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Opened<'a> {
    /// A record was opened: the events before this one may be of it.
    Record,
    /// EncryptedExtensions.
    EncryptedExtensions(Extensions<'a>),
    /// CertificateVerify of TLS 1.3, with its signature scheme.
    CertificateVerify(u16),
    /// A CompressedCertificate (RFC 8879).
    CompressedCertificate {
        /// CertificateCompressionAlgorithm.
        algorithm: u16,
        /// Length of the Certificate message inside.
        length: u32,
        /// The compressed message.
        data: &'a [u8],
    },
    /// A handshake message behind the handshake.
    PostHandshake(HandshakeType),
    /// An alert.
    Alert {
        /// 1 warning, 2 fatal.
        level: u8,
        /// AlertDescription.
        code: u8,
    },
    /// Application data of a connection that agreed on HTTP/2.
    Content {
        /// The bytes.
        bytes: &'a [u8],
        /// All bytes before them were opened, too.
        contiguous: bool,
    },
}

/// Why secrets did not open a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The run has secrets, but none of this session.
    Missing,
    /// They don't fit: the first record that they should open does not open.
    Unfit,
    /// The suite or version is not one that is opened here.
    Suite,
    /// They did fit, and then records were missing or damaged.
    Lost,
}

#[derive(Debug, Default)]
pub(super) struct Half {
    pub(super) assembler: Assembler,
    pub(super) messages: u32,
    change_cipher_spec: bool,
    /// The first message was a hello in the format of SSL 2.0.
    sslv2: bool,
}

/// Both directions of a TLS connection.
#[derive(Debug, Default)]
pub struct Machine {
    pub(super) halves: [Half; 2],
    /// The session's keys, in a run that has secrets.
    pub(super) opener: Option<Box<Opener>>,
}

/// The caps of the machine.
#[derive(Clone, Copy, Debug)]
pub struct MachineLimits {
    /// Longest handshake message.
    pub message_bytes_max: usize,
    /// Most handshake messages of one direction.
    pub messages_max: u32,
}

impl Machine {
    /// Reads records from contiguous bytes of one direction.
    #[inline]
    pub fn read(
        &mut self,
        direction: Direction,
        lent: &Lent<'_>,
        limits: &MachineLimits,
        keys: Option<Keys<'_>>,
        each: &mut impl FnMut(Event<'_>),
    ) -> Answer {
        if let Some(keys) = keys {
            return self.read_with_keys(direction, lent, limits, keys, each);
        }
        let half = &mut self.halves[direction as usize];
        if lent.after_gap {
            half.assembler.reset();
        }
        let mut used = 0;
        loop {
            let rest = lent.bytes.get(used..).unwrap_or(&[]);
            let Some((header, body)) = rest.split_first_chunk::<{ record::HEADER_BYTES }>() else {
                return Answer::Need {
                    used,
                    more: record::HEADER_BYTES,
                };
            };
            let Some(header) = Header::parse(header) else {
                match half.sslv2(rest, each) {
                    Ok(length) => used += length,
                    Err(more) => {
                        return more.map_or(Answer::Broken, |more| Answer::Need { used, more });
                    }
                }
                continue;
            };
            if header.kind == kind::APPLICATION_DATA {
                each(Event::ApplicationData {
                    length: header.length,
                });
            } else {
                let Some(fragment) = body.get(..header.length) else {
                    if lent.before_gap {
                        half.partial(&header, body, each);
                    }
                    return Answer::Need {
                        used,
                        more: record::HEADER_BYTES + header.length,
                    };
                };
                half.record(&header, fragment, limits, each);
                if half.messages > limits.messages_max {
                    return Answer::Done;
                }
            }
            used += record::HEADER_BYTES + header.length;
        }
    }

    /// Another TLS session begins in this direction.
    pub fn begin_again(&mut self, direction: Direction) {
        self.halves[direction as usize] = Half::default();
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let halves = self.halves.iter().map(|half| half.assembler.heap_bytes());
        halves.sum::<usize>() + self.opener.as_ref().map_or(0, |opener| opener.heap_bytes())
    }

    /// A message was begun and not ended.
    pub fn is_waiting(&self) -> bool {
        self.halves.iter().any(|half| half.assembler.is_waiting())
    }
}

/// A record of SSL 2.0 behind the hello: the client's choice, or an encrypted one, of which the length is enough.
fn later_sslv2(bytes: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<usize, Option<usize>> {
    let head = bytes.first_chunk().ok_or(Some(sslv2::LATER_BYTES))?;
    let (header, length) = sslv2::later(head).ok_or(None)?;
    // In clear and whole: the first byte of its body is its type.
    if header == 2 && head.last() == Some(&2) {
        let body = bytes.get(header..header + length);
        let body = body.ok_or(Some(header + length))?;
        if let Some(kind) = sslv2::master_key(body) {
            each(Event::Sslv2(sslv2::Hello::MasterKey(kind)));
            return Ok(header + length);
        }
    }
    if length >= sslv2::ENCRYPTED_MIN {
        each(Event::ApplicationData { length });
    }
    Ok(header + length)
}

impl Half {
    pub(super) fn record(
        &mut self,
        header: &Header,
        fragment: &[u8],
        limits: &MachineLimits,
        each: &mut impl FnMut(Event<'_>),
    ) {
        match header.kind {
            kind::HANDSHAKE => self.handshake(header.version, fragment, limits, each),
            kind::CHANGE_CIPHER_SPEC => {
                self.change_cipher_spec = true;
                each(Event::ChangeCipherSpec);
            }
            kind::ALERT => match *fragment {
                [level @ 1..=2, code] => each(Event::Alert { level, code }),
                _ => each(Event::EncryptedAlert {
                    start: fragment.first_chunk::<2>().copied(),
                }),
            },
            _ => {}
        }
    }

    /// A hello in the format of SSL 2.0 may be a direction's first message. Gives its record's length;
    /// else how many bytes are needed, or `None` for anything else.
    #[cold]
    pub(super) fn sslv2(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Event<'_>),
    ) -> Result<usize, Option<usize>> {
        if self.sslv2 && !self.change_cipher_spec && self.messages == 1 {
            return later_sslv2(bytes, each);
        }
        if self.messages > 0 || self.change_cipher_spec || self.assembler.is_waiting() {
            return Err(None);
        }
        let length = match sslv2::probe(bytes) {
            Probe::Hello(length) => length,
            Probe::NeedMore => return Err(Some(sslv2::PROBE_BYTES)),
            Probe::Other => return Err(None),
        };
        let record = bytes.get(..length).ok_or(Some(length))?;
        let hello = sslv2::parse(record).ok_or(None)?;
        self.messages += 1;
        self.sslv2 = true;
        each(Event::Sslv2(hello));
        Ok(length)
    }

    /// The start of a record whose rest is missing: a hello that began there is read as far as it goes.
    #[cold]
    pub(super) fn partial(
        &mut self,
        header: &Header,
        body: &[u8],
        each: &mut impl FnMut(Event<'_>),
    ) {
        if header.kind != kind::HANDSHAKE || self.change_cipher_spec || self.assembler.is_waiting()
        {
            return;
        }
        if let Some((&[kind @ (1 | 2), _, _, _], body)) = body.split_first_chunk::<4>() {
            self.messages += 1;
            each(event(Some(header.version), Message { kind, body }));
        }
    }

    fn handshake(
        &mut self,
        version: u16,
        fragment: &[u8],
        limits: &MachineLimits,
        each: &mut impl FnMut(Event<'_>),
    ) {
        // After ChangeCipherSpec records are encrypted, but for the hellos that follow a
        // HelloRetryRequest: they are told by a type and a length that fit their record exactly.
        if self.change_cipher_spec && !is_whole_hello(fragment) {
            each(Event::EncryptedHandshake);
            return;
        }
        let Self {
            assembler,
            messages,
            ..
        } = self;
        assembler.feed(
            fragment,
            limits.message_bytes_max,
            &mut |found| match found {
                Found::Message(message) => {
                    *messages += 1;
                    each(event(Some(version), message));
                }
                Found::Unknown => each(Event::EncryptedHandshake),
                Found::TooLong => each(Event::TooLong),
            },
        );
    }
}

fn is_whole_hello(fragment: &[u8]) -> bool {
    matches!(fragment.split_first_chunk::<4>(), Some((&[1 | 2, 0, high, low], body))
        if body.len() == usize::from(u16::from_be_bytes([high, low])))
}

/// The event that a whole message in clear is.
pub(crate) fn event(record_version: Option<u16>, message: Message<'_>) -> Event<'_> {
    let kind = HandshakeType(message.kind);
    match kind {
        HandshakeType::CLIENT_HELLO => match ClientHelloView::parse(message.body) {
            Ok(hello) => Event::ClientHello {
                hello,
                record_version,
                length: message.body.len() as u32 + 4,
            },
            Err(_) => Event::Malformed,
        },
        HandshakeType::SERVER_HELLO => {
            ServerHelloView::parse(message.body).map_or(Event::Malformed, Event::ServerHello)
        }
        // HelloRetryRequest of the drafts before 22.
        HandshakeType(6) => ServerHelloView::parse_draft_retry(message.body)
            .map_or(Event::Malformed, Event::ServerHello),
        HandshakeType::CERTIFICATE => Event::Certificate(CertificateList::parse(message.body)),
        HandshakeType::CERTIFICATE_REQUEST => Event::CertificateRequest(message.body),
        HandshakeType::SERVER_KEY_EXCHANGE => Event::ServerKeyExchange(message.body),
        HandshakeType::CERTIFICATE_STATUS => Event::CertificateStatus(message.body),
        other => Event::Message(other),
    }
}
