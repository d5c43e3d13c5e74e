//! A certificate as the record keeps it: what an administrator compares, in the words that tools show.

use super::code::{Digest, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An X.509 certificate (RFC 5280) that was shown in clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Subject's distinguished name, as `CN=mail.contoso.com, O=Contoso`; empty names are left out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<Box<str>>,
    /// Issuer's distinguished name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub issuer: Option<Box<str>>,
    /// Serial number in lower-case hex, without leading zeros' octets removed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub serial: Option<Box<str>>,
    /// Not valid before this time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_before: Option<Timestamp>,
    /// Not valid after this time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_after: Option<Timestamp>,
    /// Subject alternative names: DNS names as they are, addresses in text.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub san: Vec<Box<str>>,
    /// Key type and size, as `rsa-2048`, `ecdsa-p256`, `ed25519`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Box<str>>,
    /// Signature algorithm, as `sha256WithRSAEncryption`; an unknown one as its object identifier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature_algorithm: Option<Box<str>>,
    /// SHA-256 of the DER bytes.
    pub sha256: Digest<32>,
    /// SHA-1 of the DER bytes: the thumbprint that Windows tools show.
    pub sha1: Digest<20>,
    /// Subject and issuer are the same name.
    pub self_signed: bool,
    /// The bytes could not be read as a certificate; only their digests are known.
    #[serde(skip_serializing_if = "core::ops::Not::not", default)]
    pub malformed: bool,
}
