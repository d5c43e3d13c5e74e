//! Transport parameters inside a hello (RFC 9000 section 18; RFC 9368 for version information).

use super::header::varint;
use super::version::Version;
use crate::tls::client_hello::Extensions;

/// quic_transport_parameters, and its number in the drafts.
const EXTENSIONS: [u16; 2] = [0x0039, 0xffa5];

/// Numbers of parameters (RFC 9000 section 18.2).
pub mod id {
    /// max_idle_timeout
    pub const MAX_IDLE_TIMEOUT: u64 = 0x01;
    /// max_udp_payload_size
    pub const MAX_UDP_PAYLOAD_SIZE: u64 = 0x03;
    /// initial_max_data
    pub const INITIAL_MAX_DATA: u64 = 0x04;
    /// initial_max_stream_data_bidi_local
    pub const INITIAL_MAX_STREAM_DATA_BIDI_LOCAL: u64 = 0x05;
    /// initial_max_stream_data_bidi_remote
    pub const INITIAL_MAX_STREAM_DATA_BIDI_REMOTE: u64 = 0x06;
    /// initial_max_stream_data_uni
    pub const INITIAL_MAX_STREAM_DATA_UNI: u64 = 0x07;
    /// initial_max_streams_bidi
    pub const INITIAL_MAX_STREAMS_BIDI: u64 = 0x08;
    /// initial_max_streams_uni
    pub const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;
    /// ack_delay_exponent
    pub const ACK_DELAY_EXPONENT: u64 = 0x0a;
    /// max_ack_delay
    pub const MAX_ACK_DELAY: u64 = 0x0b;
    /// disable_active_migration
    pub const DISABLE_ACTIVE_MIGRATION: u64 = 0x0c;
    /// active_connection_id_limit
    pub const ACTIVE_CONNECTION_ID_LIMIT: u64 = 0x0e;
    /// initial_source_connection_id
    pub const INITIAL_SOURCE_CONNECTION_ID: u64 = 0x0f;
    /// version_information (RFC 9368)
    pub const VERSION_INFORMATION: u64 = 0x11;
    /// max_datagram_frame_size (RFC 9221)
    pub const MAX_DATAGRAM_FRAME_SIZE: u64 = 0x20;
    /// grease_quic_bit (RFC 9287)
    pub const GREASE_QUIC_BIT: u64 = 0x2ab2;
    /// Google's user_agent
    pub const USER_AGENT: u64 = 0x3129;
    /// version_information in the drafts of RFC 9368
    pub const VERSION_INFORMATION_DRAFT: u64 = 0xff_73db;

    /// Reserved to see that unknown ones are ignored (RFC 9000 section 18.1).
    pub fn is_reserved(id: u64) -> bool {
        id % 31 == 27
    }
}

/// What the transport parameters say that the record keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Parameters<'a> {
    /// Google's user agent.
    pub user_agent: Option<&'a [u8]>,
    /// version_information: the chosen version, then those available.
    pub versions: Option<&'a [u8]>,
    bytes: &'a [u8],
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
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut parameters = Self {
            bytes,
            ..Self::default()
        };
        for (id, value) in parameters.iter() {
            match id {
                id::USER_AGENT => parameters.user_agent = Some(value),
                id::VERSION_INFORMATION | id::VERSION_INFORMATION_DRAFT => {
                    parameters.versions = Some(value)
                }
                _ => {}
            }
        }
        parameters
    }

    /// All parameters by number, up to the first that is cut.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (id, value, after) = parameter(rest)?;
            rest = after;
            Some((id, value))
        })
    }

    /// The list does not end where a parameter does.
    pub fn is_cut(&self) -> bool {
        let mut rest = self.bytes;
        while let Some((_, _, after)) = parameter(rest) {
            rest = after;
        }
        !rest.is_empty()
    }

    /// A value that is one variable-length integer, and nothing else.
    pub fn number(value: &[u8]) -> Option<u64> {
        varint(value)
            .filter(|(_, rest)| rest.is_empty())
            .map(|(number, _)| number)
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
