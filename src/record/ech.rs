//! What an outer ClientHello shows of Encrypted ClientHello (RFC 9849 section 5).

use super::{Code16, Timestamp};
use crate::tls::wire::{u8, u16, vec16};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The encrypted_client_hello extension of an outer hello. GREASE has the same form: what tells it apart is only what
/// the client was told by DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EchOuter {
    /// The configuration that the client says it uses; a random number in GREASE.
    pub config_id: u8,
    /// HPKE key derivation function (RFC 9180 section 7.2).
    pub kdf: Code16,
    /// Its name; left out for an unknown number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kdf_name: Option<Cow<'static, str>>,
    /// HPKE AEAD (RFC 9180 section 7.3).
    pub aead: Code16,
    /// Its name; left out for an unknown number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aead_name: Option<Cow<'static, str>>,
    /// Length of the encapsulated key; 0 in the hello behind a HelloRetryRequest.
    pub enc_length: u16,
    /// Length of the encrypted inner hello.
    pub payload_length: u16,
    /// Whether it is real or GREASE, where DNS answers in the same capture let it be inferred.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub likely: Option<EchLikely>,
}

/// What an outer hello is likely to be: an inference, for an observer can't open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EchLikely {
    /// `real`: number, suite and server name are those of a configuration that DNS told this client before. `grease`:
    /// DNS told this client before that the server name has no configuration.
    pub kind: Cow<'static, str>,
    /// The public name of the configuration; the name of the server behind it is encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub public_name: Option<Box<str>>,
    /// The name about which DNS said so.
    pub lookup: Box<str>,
    /// When it was first said.
    pub told: Timestamp,
}

/// Reads the extension; `None` for an inner hello, or where it contradicts its lengths.
pub(super) fn outer(body: &[u8]) -> Option<Box<EchOuter>> {
    let (rest, 0) = u8(body).ok()? else {
        return None;
    };
    let (rest, kdf) = u16(rest).ok()?;
    let (rest, aead) = u16(rest).ok()?;
    let (rest, config_id) = u8(rest).ok()?;
    let (rest, enc) = vec16(rest).ok()?;
    let (rest, payload) = vec16(rest).ok()?;
    let kdf_name = match kdf {
        1 => Some("HKDF-SHA256"),
        2 => Some("HKDF-SHA384"),
        3 => Some("HKDF-SHA512"),
        _ => None,
    };
    let aead_name = match aead {
        1 => Some("AES-128-GCM"),
        2 => Some("AES-256-GCM"),
        3 => Some("ChaCha20Poly1305"),
        _ => None,
    };
    rest.is_empty().then(|| {
        Box::new(EchOuter {
            config_id,
            kdf: Code16(kdf),
            kdf_name: kdf_name.map(Into::into),
            aead: Code16(aead),
            aead_name: aead_name.map(Into::into),
            enc_length: enc.len() as u16,
            payload_length: payload.len() as u16,
            likely: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_hellos_only() {
        let body = [0, 0, 1, 0, 3, 42, 0, 2, 9, 9, 0, 3, 8, 8, 8];
        let read = outer(&body).unwrap();
        assert_eq!((read.config_id, read.enc_length), (42, 2));
        assert_eq!(read.payload_length, 3);
        assert_eq!(read.kdf_name.as_deref(), Some("HKDF-SHA256"));
        assert_eq!(read.aead_name.as_deref(), Some("ChaCha20Poly1305"));
        assert!((0..body.len()).all(|end| outer(&body[..end]).is_none()));
        assert_eq!(outer(&[1]), None);
    }
}
