//! Transport parameters inside a hello (RFC 9000 section 18; RFC 9368 for version information).

use super::header::varint;
use super::version::Version;
use crate::tls::client_hello::Extensions;

/// quic_transport_parameters, and its number in the drafts.
const EXTENSIONS: [u16; 2] = [0x0039, 0xffa5];
const VERSION_INFORMATION: u64 = 0x11;
/// Its number in the drafts of RFC 9368.
const VERSION_INFORMATION_DRAFT: u64 = 0xff73db;
/// Google's user_agent.
const USER_AGENT: u64 = 0x3129;

/// What the transport parameters say that the record keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Parameters<'a> {
    /// Google's user agent.
    pub user_agent: Option<&'a [u8]>,
    /// version_information: the chosen version, then those available.
    pub versions: Option<&'a [u8]>,
}

impl<'a> Parameters<'a> {
    /// Finds and reads the parameters among a hello's extensions.
    pub fn find(extensions: Extensions<'a>) -> Option<Self> {
        let extension = extensions
            .iter()
            .find(|extension| EXTENSIONS.contains(&extension.kind))?;
        Some(Self::parse(extension.body))
    }

    /// Reads parameters up to the first that is cut.
    pub fn parse(mut bytes: &'a [u8]) -> Self {
        let mut parameters = Self::default();
        while let Some((id, value, rest)) = parameter(bytes) {
            match id {
                USER_AGENT => parameters.user_agent = Some(value),
                VERSION_INFORMATION | VERSION_INFORMATION_DRAFT => {
                    parameters.versions = Some(value)
                }
                _ => {}
            }
            bytes = rest;
        }
        parameters
    }

    /// The versions of version_information.
    pub fn versions(&self) -> impl Iterator<Item = Version> + use<'a> {
        let (versions, _) = self.versions.unwrap_or(&[]).as_chunks::<4>();
        versions
            .iter()
            .map(|&version| Version(u32::from_be_bytes(version)))
    }
}

fn parameter(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (id, rest) = varint(bytes)?;
    let (length, rest) = varint(rest)?;
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((id, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agent_and_versions() {
        let bytes = [
            0x01, 0x01, 0x05, 0x71, 0x29, 0x03, b'C', b'h', b'r', 0x11, 0x08, 0, 0, 0, 1, 0x6b,
            0x33, 0x43, 0xcf,
        ];
        let parameters = Parameters::parse(&bytes);
        assert_eq!(parameters.user_agent, Some(&b"Chr"[..]));
        assert_eq!(
            parameters.versions().collect::<Vec<_>>(),
            [Version::V1, Version::V2]
        );
        for end in 0..bytes.len() {
            Parameters::parse(&bytes[..end]);
        }
    }
}
