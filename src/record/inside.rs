//! What stands inside the encryption of a handshake and nowhere else in a record.

use super::{Code16, Side};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What a session's secrets showed of its handshake, beside what has its own place in the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Inside {
    /// Scheme of the server's CertificateVerify (TLS 1.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_verify: Option<Code16>,
    /// Scheme of the client's CertificateVerify (TLS 1.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_verify: Option<Code16>,
    /// The server accepted early data (RFC 8446 section 4.2.10); left out where none was offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_data_accepted: Option<bool>,
    /// How the server's certificates were compressed (RFC 8879), as `brotli`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_compression: Option<Cow<'static, str>>,
    /// Handshake messages behind the handshake, the first ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub post_handshake: Vec<PostHandshake>,
}

/// A handshake message behind the handshake (RFC 8446 section 4.6; a HelloRequest before TLS 1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PostHandshake {
    /// Number of the packet that completed its record.
    pub frame: u64,
    /// Who sent it.
    pub from: Side,
    /// Its type, as `new_session_ticket`; a number where it has no name.
    pub message: Cow<'static, str>,
}
