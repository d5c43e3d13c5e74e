//! ClientHello and ServerHello as the record keeps them.
//!
//! Of a hello only its *shape* is large: the lists of suites, extensions, groups and schemes, which a
//! whole fleet of clients shares. The shape is interned (`Arc`) and what differs from one connection to
//! the next (name, frame, lengths) stands beside it, so that a finished handshake costs little memory
//! and a known shape costs no fingerprint.

use super::code::{Code16, Digest, Once, Rendered};
use super::{ClientStack, EchOuter};
use crate::tls::code_points::VersionRank;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, sync::Arc};

fn is_false(value: &bool) -> bool {
    !*value
}

/// A ClientHello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientHello {
    /// Number of the packet that completed the message, from 1.
    pub frame: u64,
    /// TCP segments (or QUIC packets) that the message spanned.
    pub segments: u32,
    /// Length of the handshake message in bytes, its four-byte header included.
    pub length: u32,
    /// Server name from the server_name extension (RFC 6066 section 3).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sni: Option<Box<str>>,
    /// Length of the legacy session id in bytes.
    pub session_id_length: u8,
    /// Length of the session_ticket extension's ticket (RFC 5077); 0 where the client asks for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session_ticket_length: Option<u16>,
    /// Pre-shared keys that are offered (TLS 1.3): sessions to resume, or keys that both sides were given; the first
    /// ones.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub psk_identities: Option<Box<[PskIdentity]>>,
    /// What an outer hello shows of Encrypted ClientHello, real or GREASE.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ech_outer: Option<Box<EchOuter>>,
    /// What all hellos of this kind of client have in common.
    #[serde(flatten)]
    pub shape: Arc<ClientHelloShape>,
}

/// A pre-shared key that a client offers (RFC 8446 section 4.2.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PskIdentity {
    /// Length of its identity: of a ticket, mostly.
    pub length: u16,
    /// Of a ticket its age, obfuscated; 0 of a key that does not come from a session.
    pub obfuscated_ticket_age: u32,
}

/// Where a selected pre-shared key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Psk {
    /// A session before.
    Resumption,
    /// Both sides were given it: its ticket age is 0.
    External,
}

/// What a client sends alike in each of its hellos.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ClientHelloShape {
    /// Version field of the record that carried the hello; not the offer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record_version: Option<Code16>,
    /// `legacy_version` of the hello.
    pub legacy_version: Code16,
    /// The supported_versions extension (RFC 8446 section 4.2.1), GREASE included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub supported_versions: Option<Vec<Code16>>,
    /// Cipher suites in the client's order, GREASE and signalling values included.
    pub cipher_suites: Vec<Code16>,
    /// Compression methods offered.
    pub compression: Vec<u8>,
    /// Extension types in wire order, GREASE included.
    pub extensions: Vec<Code16>,
    /// Protocols of the ALPN extension (RFC 7301), in the client's order.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alpn: Option<Vec<Box<str>>>,
    /// The supported_groups extension (RFC 8446 section 4.2.7).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub supported_groups: Option<Vec<Code16>>,
    /// Groups for which a key share was sent (RFC 8446 section 4.2.8).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key_share_groups: Option<Vec<Code16>>,
    /// The signature_algorithms extension.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature_algorithms: Option<Vec<Code16>>,
    /// The ec_point_formats extension (RFC 8422 section 5.1.2).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ec_point_formats: Option<Vec<u8>>,
    /// The psk_key_exchange_modes extension.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub psk_modes: Option<Vec<u8>>,
    /// A pre_shared_key extension is present: the client offers to resume under TLS 1.3.
    #[serde(skip_serializing_if = "is_false", default)]
    pub pre_shared_key: bool,
    /// An early_data extension is present.
    #[serde(skip_serializing_if = "is_false", default)]
    pub early_data: bool,
    /// `outer` or `inner` where encrypted_client_hello (RFC 9849) is present. An outer hello is real or GREASE:
    /// `ech_outer` says which is likely, where DNS answers tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ech: Option<Cow<'static, str>>,
    /// The compress_certificate extension (RFC 8879): 1 zlib, 2 Brotli, 3 Zstandard.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate_compression: Option<Vec<Code16>>,
    /// A status_request extension is present: the client asks for an OCSP staple.
    #[serde(skip_serializing_if = "is_false", default)]
    pub status_request: bool,
    /// An extended_master_secret extension is present (RFC 7627).
    #[serde(skip_serializing_if = "is_false", default)]
    pub extended_master_secret: bool,
    /// Secure renegotiation is signalled by extension or by TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746).
    #[serde(skip_serializing_if = "is_false", default)]
    pub renegotiation_info: bool,
    /// TLS_FALLBACK_SCSV is offered (RFC 7507): this hello repeats a failed one at a lower version.
    #[serde(skip_serializing_if = "is_false", default)]
    pub fallback_scsv: bool,
    /// MD5 of the JA3 string.
    pub ja3: Digest<16>,
    /// The JA3 string: version, suites, extensions, groups, point formats, GREASE left out. Of a list
    /// of more than 512 entries the record has the first ones only, and this is left out.
    #[serde(skip_serializing_if = "str::is_empty", default)]
    pub ja3_string: Box<str>,
    /// JA4 (TLS client fingerprint).
    pub ja4: Box<str>,
    /// Who sent it, as far as its shape tells: likely, never certain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_stack: Option<Box<ClientStack>>,
    /// Its JSON, once it was asked for.
    #[serde(skip)]
    pub rendered: Rendered,
    /// What is asked of it for each handshake.
    #[serde(skip)]
    pub marks: Once<HelloMarks>,
}

impl ClientHelloShape {
    /// Entries of all its lists of codes, which are cut to a cap each: what its memory depends on.
    pub fn codes(&self) -> usize {
        let lists = [
            &self.supported_versions,
            &self.supported_groups,
            &self.key_share_groups,
            &self.signature_algorithms,
            &self.certificate_compression,
        ];
        let listed: usize = lists.into_iter().flatten().map(Vec::len).sum();
        listed + self.cipher_suites.len() + self.extensions.len()
    }

    /// Bytes of its texts, and what each protocol takes beside its name.
    pub fn text_bytes(&self) -> usize {
        let protocols = self.alpn.iter().flatten().map(|name| name.len() + 48);
        self.ja3_string.len() + protocols.sum::<usize>()
    }
}

/// What findings ask of a ClientHello, read once: few programs send most hellos.
#[derive(Clone, Copy, Debug)]
pub struct HelloMarks {
    /// The highest version that it offers.
    pub offer_max: Option<VersionRank>,
    /// The signature schemes that it offers with a certificate's hash and kind of key, as bits.
    pub schemes: u16,
    /// A scheme for ECDSA is among them.
    pub offers_ecdsa: bool,
    /// HTTP/2 is offered, and of TLS 1.2 nothing but suites that it prohibits.
    pub is_at_risk_under_h2: bool,
    /// The rules for which it is a reason to ask them, as bits by their places.
    pub asked: u64,
}

/// What findings ask of a ServerHello, read once.
#[derive(Clone, Copy, Debug)]
pub struct AnswerMarks {
    /// The version that it selects; none of an unknown number.
    pub negotiated: Option<VersionRank>,
    /// The rules for which it is a reason to ask them, as bits by their places.
    pub asked: u64,
}

/// A ServerHello or HelloRetryRequest (RFC 8446 sections 4.1.3 and 4.1.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerHello {
    /// Number of the packet that completed the message, from 1.
    pub frame: u64,
    /// The server resumed a session: it echoed the session id (TLS 1.2 and below, no certificate
    /// followed) or selected a pre-shared key of a session (TLS 1.3).
    pub resumed: bool,
    /// Where the pre-shared key comes from that was selected (TLS 1.3); left out where the hello that offered it was
    /// not seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub psk: Option<Psk>,
    /// What all hellos of this kind of answer have in common.
    #[serde(flatten)]
    pub shape: Arc<ServerHelloShape>,
}

impl ServerHello {
    /// The server proves who it is by a key that both sides have: no certificate follows.
    pub fn is_without_certificate(&self) -> bool {
        self.resumed || self.psk == Some(Psk::External)
    }
}

/// What a server answers alike to equal hellos.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ServerHelloShape {
    /// Negotiated version: supported_versions where present, else `legacy_version`.
    pub version: Code16,
    /// Its name, such as `TLS 1.3`; left out for an unknown number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version_name: Option<Cow<'static, str>>,
    /// `legacy_version` of the message.
    pub legacy_version: Code16,
    /// The chosen cipher suite.
    pub cipher_suite: Code16,
    /// Its IANA name; left out for an unknown number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cipher_suite_name: Option<Cow<'static, str>>,
    /// The protocol chosen by ALPN: in clear under TLS 1.2 and below, else from decrypted EncryptedExtensions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alpn: Option<Box<str>>,
    /// The chosen compression method; anything but 0 is a fault.
    pub compression: u8,
    /// Extension types in wire order.
    pub extensions: Vec<Code16>,
    /// Group of the server's key share (TLS 1.3), or that which a HelloRetryRequest asks for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key_share_group: Option<Code16>,
    /// The server agreed to extended_master_secret.
    #[serde(skip_serializing_if = "is_false", default)]
    pub extended_master_secret: bool,
    /// The server signalled secure renegotiation.
    #[serde(skip_serializing_if = "is_false", default)]
    pub renegotiation_info: bool,
    /// The server will send a new session ticket (session_ticket extension present).
    #[serde(skip_serializing_if = "is_false", default)]
    pub session_ticket: bool,
    /// `tls12` or `tls11`: the last bytes of the random say that the server could have chosen a higher
    /// version (RFC 8446 section 4.1.3).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub downgrade_sentinel: Option<Sentinel>,
    /// MD5 of `ja3s_string`.
    pub ja3s: Digest<16>,
    /// The JA3S string: version, suite, extensions.
    pub ja3s_string: Box<str>,
    /// Its JSON, once it was asked for.
    #[serde(skip)]
    pub rendered: Rendered,
    /// What is asked of it for each handshake.
    #[serde(skip)]
    pub marks: Once<AnswerMarks>,
}

/// The downgrade sentinel in ServerHello.random (RFC 8446 section 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Sentinel {
    /// `DOWNGRD\x01`: TLS 1.2 was chosen by a server that can do TLS 1.3.
    #[serde(rename = "tls12")]
    Tls12,
    /// `DOWNGRD\x00`: TLS 1.1 or below was chosen by a server that can do TLS 1.2.
    #[serde(rename = "tls11")]
    Tls11,
}
