//! ServerHello and HelloRetryRequest as they lie in the capture (RFC 8446 sections 4.1.3 and 4.1.4).

use super::client_hello::{Extensions, names, optional_extensions};
use super::code_points::ExtensionType;
use super::wire::{Malformed, bytes, u8, u16, vec8, vec16};

/// The random that makes a ServerHello a HelloRetryRequest: SHA-256 of "HelloRetryRequest".
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A ServerHello's fields, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHelloView<'a> {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// The 32 random bytes; empty in a HelloRetryRequest of early drafts.
    pub random: &'a [u8],
    /// `legacy_session_id_echo`.
    pub session_id: &'a [u8],
    /// The chosen cipher suite.
    pub cipher_suite: u16,
    /// The chosen compression method.
    pub compression: u8,
    /// The extensions' bytes.
    pub extensions: Extensions<'a>,
    /// A length points beyond the message.
    pub malformed: bool,
    /// It is a HelloRetryRequest.
    pub retry: bool,
}

/// Drafts 18 to 21 of TLS 1.3 had no session id and no compression method in the ServerHello.
fn is_early_draft(version: u16) -> bool {
    (0x7f00..=0x7f15).contains(&version)
}

impl<'a> ServerHelloView<'a> {
    /// Reads the body of a ServerHello message.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (rest, legacy_version) = u16(body)?;
        let (rest, random) = bytes(32)(rest)?;
        let early = is_early_draft(legacy_version);
        let (rest, session_id) = if early { (rest, &[][..]) } else { vec8(rest)? };
        let (rest, cipher_suite) = u16(rest)?;
        let (rest, compression) = if early { (rest, 0) } else { u8(rest)? };
        let (extensions, cut) = optional_extensions(rest);
        Ok(Self {
            legacy_version,
            random,
            session_id,
            cipher_suite,
            compression,
            extensions,
            malformed: cut || extensions.is_malformed(),
            retry: random == RETRY_RANDOM,
        })
    }

    /// Reads the body of a HelloRetryRequest message (type 6), which drafts 18 to 21 had.
    pub fn parse_draft_retry(body: &'a [u8]) -> Result<Self, Malformed> {
        let (rest, legacy_version) = u16(body)?;
        // A cipher suite stands here since draft 19.
        let (rest, cipher_suite) = if legacy_version >= 0x7f13 {
            u16(rest)?
        } else {
            (rest, 0)
        };
        let (extensions, cut) = optional_extensions(rest);
        Ok(Self {
            legacy_version,
            random: &[],
            session_id: &[],
            cipher_suite,
            compression: 0,
            extensions,
            malformed: cut || extensions.is_malformed(),
            retry: true,
        })
    }

    /// What the extensions say, in one pass.
    pub fn details(&self) -> ServerHelloDetails<'a> {
        let mut details = ServerHelloDetails::default();
        for extension in self.extensions.iter() {
            let body = extension.body;
            match ExtensionType(extension.kind) {
                ExtensionType::SUPPORTED_VERSIONS => {
                    details.version = u16(body).ok().map(|(_, version)| version)
                }
                // 51, and 40 in drafts before 23: the group leads, in a retry as in an answer.
                ExtensionType::KEY_SHARE | ExtensionType(40) => {
                    details.key_share_group = u16(body).ok().map(|(_, group)| group);
                }
                ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION => {
                    details.alpn = chosen_protocol(body);
                }
                ExtensionType::PRE_SHARED_KEY => {
                    let selected = u16(body).map_or(u16::MAX, |(_, selected)| selected);
                    details.pre_shared_key = Some(selected);
                }
                ExtensionType::SESSION_TICKET => details.session_ticket = true,
                ExtensionType::EXTENDED_MASTER_SECRET => details.extended_master_secret = true,
                ExtensionType::RENEGOTIATION_INFO => details.renegotiation_info = true,
                _ => {}
            }
        }
        details
    }

    /// The last eight bytes of the random, where the downgrade sentinel stands.
    pub fn random_tail(&self) -> Option<&'a [u8; 8]> {
        self.random.last_chunk::<8>()
    }
}

/// The one protocol of a server's ALPN extension (RFC 7301 section 3.1).
fn chosen_protocol(body: &[u8]) -> Option<&[u8]> {
    vec16(body).ok().and_then(|(_, list)| names(list).next())
}

/// The protocol that EncryptedExtensions choose (RFC 8446 section 4.3.1).
pub fn alpn(extensions: Extensions<'_>) -> Option<&[u8]> {
    let alpn = ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION;
    let mut found = extensions
        .iter()
        .filter(|extension| ExtensionType(extension.kind) == alpn);
    found
        .next()
        .and_then(|extension| chosen_protocol(extension.body))
}

/// EncryptedExtensions accept early data (RFC 8446 section 4.2.10).
pub fn accepts_early_data(extensions: Extensions<'_>) -> bool {
    extensions
        .iter()
        .any(|extension| ExtensionType(extension.kind) == ExtensionType::EARLY_DATA)
}

/// What the extensions of a ServerHello say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ServerHelloDetails<'a> {
    /// supported_versions: the negotiated version under TLS 1.3.
    pub version: Option<u16>,
    /// Group of the key share.
    pub key_share_group: Option<u16>,
    /// The protocol chosen by ALPN.
    pub alpn: Option<&'a [u8]>,
    /// The number of the pre-shared key that was selected.
    pub pre_shared_key: Option<u16>,
    /// A new session ticket will follow.
    pub session_ticket: bool,
    /// extended_master_secret is present.
    pub extended_master_secret: bool,
    /// renegotiation_info is present.
    pub renegotiation_info: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_random_is_the_digest_of_its_name() {
        use sha2::{Digest, Sha256};
        assert_eq!(
            Sha256::digest(b"HelloRetryRequest").as_slice(),
            RETRY_RANDOM
        );
    }

    #[test]
    fn an_early_draft_has_neither_session_id_nor_compression() {
        let mut body = vec![0x7f, 0x12];
        body.extend([7; 32]);
        body.extend([0x13, 0x01, 0x00, 0x06, 0x00, 0x28, 0x00, 0x02, 0x00, 0x1d]);
        let hello = ServerHelloView::parse(&body).unwrap();
        assert_eq!((hello.cipher_suite, hello.malformed), (0x1301, false));
        assert_eq!(hello.details().key_share_group, Some(0x001d));
    }
}
