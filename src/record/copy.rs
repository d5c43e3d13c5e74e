//! Views become owned facts: the only place that copies what packets said.
//!
//! Shapes of hellos and certificates repeat by the thousand. Each distinct one is built, fingerprinted
//! and hashed once, and shared from then on; the memory for that is bounded, and when it is full it
//! begins anew.

use super::{
    Certificate, Chain, ClientHello, ClientHelloShape, Code16, Digest, PskIdentity, Sentinel,
    ServerHello, ServerHelloShape, Stacks,
};
use crate::pool::Pool;
use crate::tls::{
    certificate::CertificateList,
    client_hello::{ClientHelloDetails, ClientHelloView, Extensions},
    code_points::{CipherSuite, Version},
    fingerprint::{self, Carrier},
    server_hello::{ServerHelloDetails, ServerHelloView},
    wire::U16List,
};
use hashbrown::HashMap;
use std::sync::Arc;

/// Longest raw form of a shape or a certificate that is remembered; a longer one is read anew each time.
const REMEMBERED_BYTES_MAX: usize = 8 << 10;

/// Shapes and certificates seen before.
#[derive(Debug)]
pub struct Interner {
    clients: Remembered<Arc<ClientHelloShape>>,
    servers: Remembered<Arc<ServerHelloShape>>,
    /// Shapes to which decrypted EncryptedExtensions added the protocol.
    completed: Remembered<Arc<ServerHelloShape>>,
    certificates: Remembered<Arc<Certificate>>,
    chains: Remembered<Chain>,
    /// Spent hellos, whose memory serves the next ones.
    pub client_hellos: Pool<ClientHello>,
    /// As those of clients.
    pub server_hellos: Pool<ServerHello>,
    scratch: Vec<u8>,
    keep_der: bool,
    stacks: Stacks,
}

/// Where a hello was seen.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Packet that completed it.
    pub frame: u64,
    /// Segments that it came in.
    pub segments: u32,
}

impl Interner {
    /// Remembers at most `max` shapes of each kind, and a fourth as many certificates and chains.
    pub fn new(max: usize) -> Self {
        Self {
            clients: Remembered::new(max, SHAPE_TIMES),
            servers: Remembered::new(max, SHAPE_TIMES),
            completed: Remembered::new(max, SHAPE_TIMES),
            certificates: Remembered::new(max / 4, CERTIFICATE_TIMES),
            chains: Remembered::new(max / 4, CERTIFICATE_TIMES),
            client_hellos: Pool::default(),
            server_hellos: Pool::default(),
            scratch: Vec::new(),
            keep_der: false,
            stacks: Stacks::default(),
        }
    }

    /// Names the senders of hellos by these rules.
    #[must_use]
    pub fn naming(mut self, stacks: Stacks) -> Self {
        self.stacks = stacks;
        self
    }

    /// Keeps the certificates' bytes in what is made of them.
    pub fn keeping_der(mut self, keep_der: bool) -> Self {
        self.keep_der = keep_der;
        self
    }

    /// An owned ClientHello.
    pub fn client_hello(
        &mut self,
        hello: &ClientHelloView<'_>,
        record_version: Option<u16>,
        length: u32,
        carrier: Carrier,
        list_max: usize,
        place: Place,
    ) -> Box<ClientHello> {
        let details = hello.details();
        client_shape_key(&mut self.scratch, hello, &details, record_version, carrier);
        let stacks = &self.stacks;
        let build = || {
            let mut shape = client_shape(hello, &details, record_version, carrier, list_max);
            shape.client_stack = stacks.recognise(&shape).map(Box::new);
            Arc::new(shape)
        };
        let shape = self.clients.value(&self.scratch, build);
        self.client_hellos.boxed(ClientHello {
            frame: place.frame,
            segments: place.segments,
            length,
            sni: details.sni.filter(|name| !name.is_empty()).map(text),
            session_id_length: hello.session_id.len() as u8,
            session_ticket_length: details.session_ticket_length,
            psk_identities: psk_identities(&details),
            ech_outer: details.ech_body.and_then(super::ech::outer),
            shape,
        })
    }

    /// An owned ServerHello; `resumed` as far as this message alone tells.
    pub fn server_hello(
        &mut self,
        hello: &ServerHelloView<'_>,
        resumed: bool,
        list_max: usize,
        place: Place,
    ) -> Box<ServerHello> {
        let details = hello.details();
        let sentinel = sentinel(hello, &details);
        server_shape_key(&mut self.scratch, hello, &details, sentinel);
        let build = || Arc::new(server_shape(hello, &details, sentinel, list_max));
        let shape = self.servers.value(&self.scratch, build);
        self.server_hellos.boxed(ServerHello {
            frame: place.frame,
            resumed: resumed || details.pre_shared_key.is_some(),
            psk: None,
            shape,
        })
    }

    /// A ServerHello's shape with the protocol that decrypted EncryptedExtensions choose.
    pub fn with_alpn(&mut self, shape: &ServerHelloShape, alpn: &[u8]) -> Arc<ServerHelloShape> {
        // All else of a TLS 1.3 ServerHello that a shape keeps.
        self.scratch.clear();
        push_part(&mut self.scratch, Some(shape.ja3s_string.as_bytes()));
        let group = shape.key_share_group.map_or(0, |group| group.0);
        for number in [shape.version.0, group, u16::from(shape.compression)] {
            self.scratch.extend_from_slice(&number.to_be_bytes());
        }
        self.scratch.extend_from_slice(alpn);
        let build = || {
            Arc::new(ServerHelloShape {
                alpn: Some(text(alpn)),
                rendered: super::Rendered::default(),
                ..shape.clone()
            })
        };
        self.completed.value(&self.scratch, build)
    }

    /// The first `most` certificates of a list.
    pub fn chain(&mut self, list: CertificateList<'_>, most: usize) -> Chain {
        let (certificates, keep_der) = (&mut self.certificates, self.keep_der);
        let mut read = || {
            let ders = list.iter().take(most);
            let read = ders.map(|der| certificate(certificates, der, keep_der));
            Chain::from(read.collect::<Vec<_>>())
        };
        match list.alike() {
            Some(key) => self.chains.value(key, read),
            None => read(),
        }
    }

    /// A chain of one.
    pub fn leaf(&mut self, der: &[u8]) -> Chain {
        vec![certificate(&mut self.certificates, der, self.keep_der)].into()
    }
}

fn certificate(
    known: &mut Remembered<Arc<Certificate>>,
    der: &[u8],
    keep_der: bool,
) -> Arc<Certificate> {
    known.value(der, || {
        let mut certificate = super::certificate::read(der);
        certificate.der = keep_der.then(|| der.into());
        Arc::new(certificate)
    })
}

/// Bytes for each value that may be remembered; a few large ones stand for many small ones.
const ROOM: usize = 8 << 10;

/// A shape of a hello takes about so many times the bytes that it is made of: lists of codes, in JSON nine bytes each, and
/// fingerprints.
const SHAPE_TIMES: usize = 10;

/// The same of a certificate, which mostly is keys and signatures.
const CERTIFICATE_TIMES: usize = 4;

/// Values by the bytes of which they are made; at most `max`, each of which takes about so many `times` its key's bytes.
#[derive(Debug)]
struct Remembered<V> {
    values: HashMap<Box<[u8]>, V>,
    bytes: usize,
    max: usize,
    times: usize,
}

impl<V: Clone> Remembered<V> {
    fn new(max: usize, times: usize) -> Self {
        Self {
            values: HashMap::new(),
            bytes: 0,
            max,
            times,
        }
    }

    /// The value for this key, built if it is new. Copies are cheap.
    fn value(&mut self, key: &[u8], build: impl FnOnce() -> V) -> V {
        if key.len() > REMEMBERED_BYTES_MAX {
            return build();
        }
        if let Some(value) = self.values.get(key) {
            return value.clone();
        }
        let value = build();
        let bytes = key.len() * self.times;
        if self.values.len() >= self.max || self.bytes + bytes > self.max * ROOM {
            self.values.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.values.insert(key.into(), value.clone());
        value
    }
}

fn push_part(key: &mut Vec<u8>, part: Option<&[u8]>) {
    match part {
        Some(part) => {
            key.extend_from_slice(&(part.len() as u32).to_be_bytes());
            key.extend_from_slice(part);
        }
        None => key.extend_from_slice(&u32::MAX.to_be_bytes()),
    }
}

fn push_extension_types(key: &mut Vec<u8>, extensions: Extensions<'_>) {
    for extension in extensions.iter() {
        key.extend_from_slice(&extension.kind.to_be_bytes());
    }
}

/// Pre-shared keys of one hello that are kept.
const PSKS_MAX: usize = 8;

fn psk_identities(details: &ClientHelloDetails<'_>) -> Option<Box<[PskIdentity]>> {
    let identity = |(identity, obfuscated_ticket_age): (&[u8], u32)| PskIdentity {
        length: u16::try_from(identity.len()).unwrap_or(u16::MAX),
        obfuscated_ticket_age,
    };
    (details.pre_shared_key).then(|| details.psks().take(PSKS_MAX).map(identity).collect())
}

/// All bytes on which the shape depends, and no others.
fn client_shape_key(
    key: &mut Vec<u8>,
    hello: &ClientHelloView<'_>,
    details: &ClientHelloDetails<'_>,
    record_version: Option<u16>,
    carrier: Carrier,
) {
    key.clear();
    key.extend_from_slice(&record_version.unwrap_or(0).to_be_bytes());
    key.extend_from_slice(&hello.legacy_version.to_be_bytes());
    key.push(carrier as u8);
    push_part(key, Some(hello.cipher_suites.0));
    push_part(key, Some(hello.compression));
    push_part(key, details.alpn);
    push_part(key, details.supported_versions.map(|list| list.0));
    push_part(key, details.supported_groups.map(|list| list.0));
    push_part(key, details.signature_algorithms.map(|list| list.0));
    push_part(key, details.ec_point_formats);
    push_part(key, details.psk_modes);
    push_part(key, details.certificate_compression.map(|list| list.0));
    key.push(details.ech.map_or(0xff, |ech| ech.min(2)));
    key.push(u8::from(details.key_shares.is_some()));
    for group in details.key_share_groups() {
        key.extend_from_slice(&group.to_be_bytes());
    }
    push_part(key, Some(&[]));
    push_extension_types(key, hello.extensions);
}

fn server_shape_key(
    key: &mut Vec<u8>,
    hello: &ServerHelloView<'_>,
    details: &ServerHelloDetails<'_>,
    sentinel: Option<Sentinel>,
) {
    key.clear();
    for number in [
        hello.legacy_version,
        hello.cipher_suite,
        u16::from(hello.compression),
        details.version.unwrap_or(0),
        details.key_share_group.unwrap_or(0),
        sentinel.map_or(0, |sentinel| sentinel as u16 + 1)
            | u16::from(details.version.is_some()) << 8,
        u16::from(details.key_share_group.is_some()),
    ] {
        key.extend_from_slice(&number.to_be_bytes());
    }
    push_part(key, details.alpn);
    push_extension_types(key, hello.extensions);
}

fn codes(list: impl Iterator<Item = u16>, list_max: usize) -> Vec<Code16> {
    let mut codes: Vec<Code16> = list.take(list_max).map(Code16).collect();
    codes.shrink_to_fit();
    codes
}

fn client_shape(
    hello: &ClientHelloView<'_>,
    details: &ClientHelloDetails<'_>,
    record_version: Option<u16>,
    carrier: Carrier,
    list_max: usize,
) -> ClientHelloShape {
    let list = |list: Option<U16List<'_>>| list.map(|list| codes(list.iter(), list_max));
    let ja3_string = fingerprint::ja3_string(hello, details);
    let ja3 = Digest(fingerprint::md5(&ja3_string));
    let is_whole = hello.cipher_suites.iter().nth(list_max).is_none()
        && hello.extensions.iter().nth(list_max).is_none()
        && (details.supported_groups).is_none_or(|list| list.iter().nth(list_max).is_none());
    ClientHelloShape {
        record_version: record_version.map(Code16),
        legacy_version: Code16(hello.legacy_version),
        supported_versions: list(details.supported_versions),
        cipher_suites: codes(hello.cipher_suites.iter(), list_max),
        compression: hello.compression.to_vec(),
        extensions: codes(
            hello.extensions.iter().map(|extension| extension.kind),
            list_max,
        ),
        alpn: details
            .alpn
            .map(|_| details.alpn_names().take(list_max).map(text).collect()),
        supported_groups: list(details.supported_groups),
        key_share_groups: details
            .key_shares
            .map(|_| codes(details.key_share_groups(), list_max)),
        signature_algorithms: list(details.signature_algorithms),
        ec_point_formats: details.ec_point_formats.map(<[u8]>::to_vec),
        psk_modes: details.psk_modes.map(<[u8]>::to_vec),
        pre_shared_key: details.pre_shared_key,
        early_data: details.early_data,
        ech: details
            .ech
            .map(|kind| if kind == 1 { "inner" } else { "outer" }.into()),
        certificate_compression: list(details.certificate_compression),
        status_request: details.status_request,
        extended_master_secret: details.extended_master_secret,
        renegotiation_info: details.renegotiation_info,
        fallback_scsv: details.fallback_scsv,
        ja3,
        ja3_string: if is_whole {
            ja3_string.into()
        } else {
            // It is the lists once more: of large ones it would be most of the record.
            Box::default()
        },
        ja4: fingerprint::ja4(hello, details, carrier).into(),
        client_stack: None,
        rendered: super::Rendered::default(),
        marks: super::Once::default(),
    }
}

fn sentinel(hello: &ServerHelloView<'_>, details: &ServerHelloDetails<'_>) -> Option<Sentinel> {
    if details.version.is_some() {
        return None;
    }
    match hello.random_tail() {
        Some(b"DOWNGRD\x01") => Some(Sentinel::Tls12),
        Some(b"DOWNGRD\x00") => Some(Sentinel::Tls11),
        _ => None,
    }
}

fn server_shape(
    hello: &ServerHelloView<'_>,
    details: &ServerHelloDetails<'_>,
    sentinel: Option<Sentinel>,
    list_max: usize,
) -> ServerHelloShape {
    let version = details.version.unwrap_or(hello.legacy_version);
    let ja3s_string = fingerprint::ja3s_string(hello);
    ServerHelloShape {
        version: Code16(version),
        version_name: Version(version).name().map(Into::into),
        legacy_version: Code16(hello.legacy_version),
        cipher_suite: Code16(hello.cipher_suite),
        cipher_suite_name: CipherSuite(hello.cipher_suite).name().map(Into::into),
        alpn: details.alpn.map(text),
        compression: hello.compression,
        extensions: codes(
            hello.extensions.iter().map(|extension| extension.kind),
            list_max,
        ),
        key_share_group: details.key_share_group.map(Code16),
        extended_master_secret: details.extended_master_secret,
        renegotiation_info: details.renegotiation_info,
        session_ticket: details.session_ticket,
        downgrade_sentinel: sentinel,
        ja3s: Digest(fingerprint::md5(&ja3s_string)),
        ja3s_string: ja3s_string.into(),
        rendered: super::Rendered::default(),
        marks: super::Once::default(),
    }
}

/// Text from the wire: valid UTF-8 as it is, other bytes as `\xNN`.
pub fn text(bytes: &[u8]) -> Box<str> {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return text.into();
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
            out.push_str("\\x");
            out.extend([digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_by_its_bytes_too() {
        let mut known = Remembered::new(16, SHAPE_TIMES);
        for n in 0..100_u8 {
            let large = vec![n; REMEMBERED_BYTES_MAX];
            assert_eq!(known.value(&large, || n), n);
            assert!(known.values.len() <= 1 && known.bytes <= 16 * ROOM);
            // It is found again, until it has to go.
            assert_eq!(known.value(&large, || 0), n);
        }
        for n in 0..100_u8 {
            known.value(&[n; 30], || n);
            assert!(known.values.len() <= 16);
        }
        assert!(known.values.len() > 1);
    }

    #[test]
    fn odd_text_is_escaped_not_dropped() {
        assert_eq!(&*text(b"mail.contoso.com"), "mail.contoso.com");
        assert_eq!(&*text("会社.example".as_bytes()), "会社.example");
        assert_eq!(&*text(b"a\xffb\xc3"), "a\\xffb\\xc3");
    }
}
