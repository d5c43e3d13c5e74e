//! What a session's secrets opened becomes part of the draft. Of application data only HTTP/2's SETTINGS
//! and GOAWAY are kept.

use super::session::{Desk, Draft, Seen};
use crate::flow::Direction;
use crate::http::{self, H2};
use crate::record::{Code16, Inside, PostHandshake, Side};
use crate::stats::Skip;
use crate::tls::{
    certificate::CertificateList,
    certificate_compression,
    code_points::{HandshakeType, VersionRank},
    handshake::Opened,
    server_hello,
};
use std::borrow::Cow;

/// What was read with secrets.
#[derive(Debug, Default)]
pub(super) struct Reading {
    inside: Inside,
    h2: Option<Box<http::Inside>>,
}

impl Reading {
    /// Bytes on the heap, about.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.inside.post_handshake.len() * size_of::<PostHandshake>()
            + self.h2.as_ref().map_or(0, |h2| h2.heap_bytes())
    }

    /// What HTTP/2 said of itself.
    pub(super) fn h2(&self) -> Option<&H2> {
        self.h2.as_ref().map(|inside| inside.facts())
    }

    /// What has no other place in a record; nothing where there is none.
    pub(super) fn into_record(self: Box<Self>) -> Option<Box<Inside>> {
        (self.inside != Inside::default()).then(|| Box::new(self.inside))
    }
}

impl Draft {
    /// Takes what was opened.
    #[cold]
    pub(super) fn opened(
        &mut self,
        direction: Direction,
        opened: Opened<'_>,
        seen: Seen,
        desk: &mut Desk<'_>,
    ) {
        let side = self.side(direction);
        let reading = self.opened.get_or_insert_default();
        match opened {
            Opened::Record => {}
            Opened::EncryptedExtensions(extensions) => {
                self.stopped_after = Some(HandshakeType::ENCRYPTED_EXTENSIONS);
                let offered = self.client_hello.as_ref();
                if offered.is_some_and(|hello| hello.shape.early_data) {
                    reading.inside.early_data_accepted =
                        Some(server_hello::accepts_early_data(extensions));
                }
                if let (Some(alpn), Some(hello)) =
                    (server_hello::alpn(extensions), self.server_hello.as_mut())
                {
                    hello.shape = desk.interner.with_alpn(&hello.shape, alpn);
                }
            }
            Opened::CertificateVerify(scheme) => {
                self.stopped_after = Some(HandshakeType::CERTIFICATE_VERIFY);
                let place = match side {
                    Side::Client => &mut reading.inside.client_certificate_verify,
                    Side::Server => &mut reading.inside.certificate_verify,
                };
                *place = Some(Code16(scheme));
            }
            Opened::CompressedCertificate {
                algorithm,
                length,
                data,
            } => {
                if side == Side::Server {
                    reading.inside.certificate_compression = Some(compression_name(algorithm));
                }
                self.compressed_certificate(direction, algorithm, (length, data), desk);
            }
            Opened::PostHandshake(kind) => {
                if reading.inside.post_handshake.len() < desk.limits.post_handshake_max {
                    reading.inside.post_handshake.push(PostHandshake {
                        frame: seen.frame,
                        from: side,
                        message: message_name(kind),
                    });
                }
            }
            Opened::Alert { level, code } => {
                self.opened_alert(direction, (level, code), seen, desk)
            }
            Opened::Content { bytes, contiguous } => {
                let inside = reading.h2.get_or_insert_default();
                inside.read(side == Side::Client, bytes, contiguous, seen.frame);
            }
        }
    }

    /// A Certificate message inside another one (RFC 8879 section 4).
    fn compressed_certificate(
        &mut self,
        direction: Direction,
        algorithm: u16,
        (length, data): (u32, &[u8]),
        desk: &mut Desk<'_>,
    ) {
        self.stopped_after = Some(HandshakeType::COMPRESSED_CERTIFICATE);
        let length = length as usize;
        if length > desk.limits.message_bytes_max {
            desk.counters.skip(Skip::MessageCap);
        } else if let Some(message) = certificate_compression::expand(algorithm, data, length) {
            self.certificates(direction, CertificateList::parse_tls13(&message), desk);
        } else {
            desk.counters.skip(Skip::CertificateCompression);
        }
    }

    fn opened_alert(
        &mut self,
        direction: Direction,
        (level, code): (u8, u8),
        seen: Seen,
        desk: &mut Desk<'_>,
    ) {
        let tls13 = self.version() == Some(VersionRank::Tls13);
        self.flights[direction as usize].encrypted_alert |= !tls13;
        self.alert(direction, Some((level, code)), seen, desk.limits.alerts_max);
        // The server's first word behind the client's Finished is a refusal: from outside its record looks
        // like any other, and the handshake like a complete one.
        let since = |index: usize| self.flights[index].bytes - self.bytes_at_completion[index];
        let refused = tls13
            && self.complete_ns.is_some()
            && self.fatal_alert(Side::Server)
            && since(direction as usize) <= ALERT_RECORD_MAX;
        if refused && self.side(direction) == Side::Server {
            self.complete_ns = None;
        }
    }
}

/// Bytes of a record that holds an alert of TLS 1.3, without padding.
const ALERT_RECORD_MAX: u64 = 2 + 1 + 16;

fn message_name(kind: HandshakeType) -> Cow<'static, str> {
    kind.name()
        .map_or_else(|| kind.0.to_string().into(), Into::into)
}

fn compression_name(algorithm: u16) -> Cow<'static, str> {
    certificate_compression::name(algorithm)
        .map_or_else(|| algorithm.to_string().into(), Into::into)
}
