//! The record loop of a run that has secrets: [`Machine::read`] with keys at hand.
//!
//! From outside each record is what it is without keys, and gives the same events; what is opened of it
//! gives further ones behind them.

use super::{Keyring, Keys, OpenLimits, Opener, Want};
use crate::flow::{Answer, Direction, Lent};
use crate::tls::{
    certificate::CertificateList,
    client_hello::Extensions,
    code_points::HandshakeType,
    handshake::{Event, Half, Machine, MachineLimits, Opened, Trouble, event},
    message::{Found, Message},
    record::{self, Header, kind},
    wire::{u16, vec16, vec24},
};

type Each<'a> = dyn FnMut(Event<'_>) + 'a;

impl Machine {
    /// As [`Machine::read`], with keys.
    #[cold]
    pub(in crate::tls) fn read_with_keys(
        &mut self,
        direction: Direction,
        lent: &Lent<'_>,
        limits: &MachineLimits,
        keys: Keys<'_>,
        each: &mut Each<'_>,
    ) -> Answer {
        // The text is lent from the ring's memory while the ring is asked for secrets.
        let mut scratch = core::mem::take(&mut keys.ring.scratch);
        let mut reader = Reader {
            half: &mut self.halves[direction as usize],
            opener: &mut self.opener,
            direction,
            limits,
            ring: keys.ring,
            order: keys.order,
            scratch: &mut scratch,
        };
        let answer = reader.read(lent, each);
        keys.ring.scratch = scratch;
        answer
    }
}

/// One direction, while its bytes are read.
struct Reader<'r> {
    half: &'r mut Half,
    opener: &'r mut Option<Box<Opener>>,
    direction: Direction,
    limits: &'r MachineLimits,
    ring: &'r Keyring,
    order: u64,
    scratch: &'r mut Vec<u8>,
}

impl Reader<'_> {
    fn read(&mut self, lent: &Lent<'_>, each: &mut Each<'_>) -> Answer {
        if lent.after_gap {
            self.half.assembler.reset();
            if let Some(opener) = self.opener {
                opener.gap(self.direction);
            }
        }
        let mut used = 0;
        loop {
            let rest = lent.bytes.get(used..).unwrap_or(&[]);
            let Some((header, body)) = rest.split_first_chunk::<{ record::HEADER_BYTES }>() else {
                let more = record::HEADER_BYTES;
                return Answer::Need { used, more };
            };
            let Some(header) = Header::parse(header) else {
                match self.half.sslv2(rest, &mut |event| each(event)) {
                    Ok(length) => used += length,
                    Err(None) => return Answer::Broken,
                    Err(Some(more)) => return Answer::Need { used, more },
                }
                continue;
            };
            let whole = record::HEADER_BYTES + header.length;
            let want = self.want(&header);
            let is_content = header.kind == kind::APPLICATION_DATA;
            match body.get(..header.length) {
                Some(fragment) => self.record(&header, fragment, want, each),
                None if is_content
                    && (matches!(want, Want::Nothing | Want::Pass) || lent.before_gap) =>
                {
                    self.content(&header, &[], want, each);
                }
                None => {
                    if lent.before_gap {
                        self.half.partial(&header, body, &mut |event| each(event));
                    }
                    return Answer::Need { used, more: whole };
                }
            }
            if self.half.messages > self.limits.messages_max {
                return Answer::Done;
            }
            used += whole;
        }
    }

    fn limits(&self) -> OpenLimits {
        self.ring.limits
    }

    fn want(&self, header: &Header) -> Want {
        let limits = self.limits();
        let opener = self.opener.as_ref();
        opener.map_or(Want::Nothing, |opener| {
            opener.wants(self.direction, header, &limits)
        })
    }

    /// A record that is there as a whole.
    fn record(&mut self, header: &Header, fragment: &[u8], want: Want, each: &mut Each<'_>) {
        match (header.kind, want) {
            (kind::APPLICATION_DATA, _) => self.content(header, fragment, want, each),
            (kind::HANDSHAKE, Want::Open) => {
                each(Event::EncryptedHandshake);
                _ = self.open(header, fragment, each);
            }
            (kind::ALERT, Want::Open) => {
                if !self.open(header, fragment, each) {
                    let start = fragment.first_chunk::<2>().copied();
                    each(Event::EncryptedAlert { start });
                }
            }
            _ => {
                self.in_clear(header, fragment, each);
                let Some(opener) = self.opener else { return };
                if want != Want::Nothing {
                    opener.pass(self.direction, header, fragment);
                }
                if header.kind == kind::CHANGE_CIPHER_SPEC {
                    opener.change_cipher_spec(self.direction);
                }
            }
        }
    }

    /// Application data, under TLS 1.3 also the encrypted rest of the handshake.
    fn content(&mut self, header: &Header, fragment: &[u8], want: Want, each: &mut Each<'_>) {
        let length = header.length;
        each(Event::ApplicationData { length });
        match (want, &mut *self.opener) {
            (Want::Open, Some(_)) if fragment.len() == length => {
                _ = self.open(header, fragment, each);
            }
            (Want::Open | Want::Pass | Want::Whole, Some(opener)) => {
                opener.pass(self.direction, header, fragment);
            }
            _ => {}
        }
    }

    /// A record in clear, or one that is not opened.
    fn in_clear(&mut self, header: &Header, fragment: &[u8], each: &mut Each<'_>) {
        let (opener, ring) = (&mut *self.opener, self.ring);
        let (direction, order) = (self.direction, self.order);
        self.half
            .record(header, fragment, self.limits, &mut |event| {
                let trouble = clear(opener, direction, ring, order, &event);
                each(event);
                if let Some(trouble) = trouble {
                    each(Event::Trouble(trouble));
                }
            });
    }

    /// Opens a record and reads what is in it. `false`: it does not open.
    fn open(&mut self, header: &Header, fragment: &[u8], each: &mut Each<'_>) -> bool {
        let limits = self.limits();
        let Some(opener) = self.opener else {
            return false;
        };
        let opened = opener.open(self.direction, header, fragment, self.scratch, &limits);
        let kind = match opened {
            Ok(kind) => kind,
            Err(trouble) => {
                if let Some(trouble) = trouble {
                    each(Event::Trouble(trouble));
                }
                return false;
            }
        };
        match (kind, self.scratch.as_slice()) {
            (kind::HANDSHAKE, _) => self.messages(header.version, each),
            (kind::ALERT, &[level, code]) => each(Event::Opened(Opened::Alert { level, code })),
            (kind::APPLICATION_DATA, bytes) if opener.h2 => {
                let contiguous = opener.ways[self.direction as usize].contiguous;
                each(Event::Opened(Opened::Content { bytes, contiguous }));
            }
            _ => {}
        }
        each(Event::Opened(Opened::Record));
        true
    }

    /// Handshake messages of an opened record.
    fn messages(&mut self, version: u16, each: &mut Each<'_>) {
        let (ring, order, direction) = (self.ring, self.order, self.direction);
        let Some(tls13) = self.opener.as_ref().map(|opener| opener.tls13) else {
            return;
        };
        let opener = &mut *self.opener;
        let max = self.limits.message_bytes_max;
        let mut count = 0;
        self.half.assembler.feed(self.scratch, max, &mut |found| {
            let message = match found {
                Found::Message(message) => message,
                Found::TooLong => return each(Event::TooLong),
                Found::Unknown => return,
            };
            count += 1;
            let kind = HandshakeType(message.kind);
            let behind = opener
                .as_ref()
                .is_some_and(|opener| opener.ways[direction as usize].application);
            if behind && (tls13 || kind == HandshakeType::HELLO_REQUEST) {
                each(Event::Opened(Opened::PostHandshake(kind)));
            }
            let event = if tls13 {
                event_tls13(message)
            } else {
                Some(event(Some(version), message))
            };
            let trouble = event
                .as_ref()
                .and_then(|event| clear(opener, direction, ring, order, event));
            if let Some(opener) = opener {
                opener.observe(direction, kind, event.as_ref());
            }
            match event {
                Some(Event::Message(_)) if behind && tls13 => {}
                Some(event) => {
                    each(event);
                    each(Event::Opened(Opened::Record));
                }
                None => each(Event::Malformed),
            }
            if let Some(trouble) = trouble {
                each(Event::Trouble(trouble));
            }
        });
        if let Some(opener) = opener
            && opener.count(direction, count) > self.limits.messages_max
        {
            opener.give_up(direction);
            each(Event::Trouble(Trouble::Lost));
        }
    }
}

/// A hello: which session's keys are wanted, and which they are.
fn clear(
    opener: &mut Option<Box<Opener>>,
    direction: Direction,
    ring: &Keyring,
    order: u64,
    event: &Event<'_>,
) -> Option<Trouble> {
    match event {
        Event::ClientHello { hello, .. } => {
            let random = *hello.random.first_chunk::<32>()?;
            let early_data = hello.details().early_data;
            match opener {
                Some(opener) => opener.client_hello(direction, random, early_data),
                None => *opener = Some(Box::new(Opener::new(direction, random, early_data))),
            }
            None
        }
        Event::ServerHello(hello) if !hello.retry => {
            opener.as_mut()?.server_hello(hello, ring, order).err()
        }
        _ => None,
    }
}

/// The event that an encrypted message of TLS 1.3 is; `None` where it contradicts its own lengths.
pub(crate) fn event_tls13(message: Message<'_>) -> Option<Event<'_>> {
    let kind = HandshakeType(message.kind);
    let body = message.body;
    Some(match kind {
        HandshakeType::ENCRYPTED_EXTENSIONS => {
            let list = Extensions(vec16(body).ok()?.1);
            Event::Opened(Opened::EncryptedExtensions(list))
        }
        HandshakeType::CERTIFICATE => Event::Certificate(CertificateList::parse_tls13(body)),
        HandshakeType::CERTIFICATE_REQUEST => Event::CertificateRequest(body),
        HandshakeType::CERTIFICATE_VERIFY => {
            Event::Opened(Opened::CertificateVerify(u16(body).ok()?.1))
        }
        HandshakeType::COMPRESSED_CERTIFICATE => {
            let (rest, algorithm) = u16(body).ok()?;
            let (&[a, b, c], rest) = rest.split_first_chunk::<3>()?;
            let data = vec24(rest).ok()?.1;
            let length = u32::from_be_bytes([0, a, b, c]);
            Event::Opened(Opened::CompressedCertificate {
                algorithm,
                length,
                data,
            })
        }
        other => Event::Message(other),
    })
}
