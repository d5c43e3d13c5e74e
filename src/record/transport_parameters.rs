//! A client's QUIC transport parameters as the record keeps them (RFC 9000 section 18.2).

use super::is_false;
use crate::quic::parameters::{Parameters, id};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// The transport parameters of a ClientHello. What is not sent is left out, whatever its default means.
/// version_information and Google's user agent stand beside them, as `client_versions` and `user_agent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TransportParameters {
    /// Milliseconds of silence after which the client gives the connection up; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_idle_timeout: Option<u64>,
    /// Largest UDP payload that it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_udp_payload_size: Option<u64>,
    /// Bytes that may be sent to it on the whole connection before it allows more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_max_data: Option<u64>,
    /// The same for one bidirectional stream that it opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_max_stream_data_bidi_local: Option<u64>,
    /// The same for one bidirectional stream that the server opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_max_stream_data_bidi_remote: Option<u64>,
    /// The same for one unidirectional stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_max_stream_data_uni: Option<u64>,
    /// Bidirectional streams that the server may open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_max_streams_bidi: Option<u64>,
    /// Unidirectional streams that the server may open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_max_streams_uni: Option<u64>,
    /// Exponent of the ACK Delay field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_delay_exponent: Option<u64>,
    /// Milliseconds by which it delays acknowledgements at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ack_delay: Option<u64>,
    /// It does not take packets from another address than the handshake's.
    #[serde(skip_serializing_if = "is_false")]
    pub disable_active_migration: bool,
    /// Connection ids of the server that it keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_connection_id_limit: Option<u64>,
    /// The connection id of its first Initial packet, in hex; may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_source_connection_id: Option<Box<str>>,
    /// Largest DATAGRAM frame that it takes (RFC 9221).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_datagram_frame_size: Option<u64>,
    /// It takes packets whose QUIC bit is 0 (RFC 9287).
    #[serde(skip_serializing_if = "is_false")]
    pub grease_quic_bit: bool,
    /// Reserved parameters, of ids 31 × N + 27 (RFC 9000 section 18.1).
    #[serde(skip_serializing_if = "is_zero")]
    pub grease: u32,
    /// Ids of all others, as `0x3128`, in wire order: extensions, and those that only a server may send.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<Box<str>>,
    /// The list is cut, or a number is none.
    #[serde(skip_serializing_if = "is_false")]
    pub malformed: bool,
}

/// Longest connection id (RFC 9000 section 17.2).
const CONNECTION_ID_MAX: usize = 20;

impl TransportParameters {
    /// Keeps what a hello's parameters say; of the others, at most `list_max` ids.
    pub fn of(parameters: &Parameters<'_>, list_max: usize) -> Self {
        let mut kept = Self::default();
        for (id, value) in parameters.iter() {
            kept.note(id, value, list_max);
        }
        kept.malformed |= parameters.is_cut();
        kept
    }

    fn note(&mut self, id: u64, value: &[u8], list_max: usize) {
        let number = match id {
            id::DISABLE_ACTIVE_MIGRATION => return self.disable_active_migration = true,
            id::GREASE_QUIC_BIT => return self.grease_quic_bit = true,
            id::VERSION_INFORMATION | id::VERSION_INFORMATION_DRAFT | id::USER_AGENT => return,
            id::INITIAL_SOURCE_CONNECTION_ID => {
                self.malformed |= value.len() > CONNECTION_ID_MAX;
                let value = value.get(..CONNECTION_ID_MAX).unwrap_or(value);
                self.initial_source_connection_id = Some(super::certificate::hex(value).into());
                return;
            }
            id::MAX_IDLE_TIMEOUT => &mut self.max_idle_timeout,
            id::MAX_UDP_PAYLOAD_SIZE => &mut self.max_udp_payload_size,
            id::INITIAL_MAX_DATA => &mut self.initial_max_data,
            id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL => &mut self.initial_max_stream_data_bidi_local,
            id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE => {
                &mut self.initial_max_stream_data_bidi_remote
            }
            id::INITIAL_MAX_STREAM_DATA_UNI => &mut self.initial_max_stream_data_uni,
            id::INITIAL_MAX_STREAMS_BIDI => &mut self.initial_max_streams_bidi,
            id::INITIAL_MAX_STREAMS_UNI => &mut self.initial_max_streams_uni,
            id::ACK_DELAY_EXPONENT => &mut self.ack_delay_exponent,
            id::MAX_ACK_DELAY => &mut self.max_ack_delay,
            id::ACTIVE_CONNECTION_ID_LIMIT => &mut self.active_connection_id_limit,
            id::MAX_DATAGRAM_FRAME_SIZE => &mut self.max_datagram_frame_size,
            _ if id::is_reserved(id) => return self.grease += 1,
            _ if self.other.len() < list_max => {
                return self.other.push(format!("0x{id:02x}").into());
            }
            _ => return,
        };
        *number = Parameters::number(value);
        self.malformed |= number.is_none();
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let other: usize = self.other.iter().map(|id| id.len()).sum();
        let id = self.initial_source_connection_id.as_ref();
        self.other.len() * size_of::<Box<str>>() + other + id.map_or(0, |id| id.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_by_name() {
        let bytes = [
            0x01, 0x04, 0x80, 0x00, 0x75, 0x30, // max_idle_timeout 30,000
            0x04, 0x01, 0x3f, 0x0c, 0x00, 0x0f, 0x02, 0xab, 0xcd, // and two without numbers
            0x1b, 0x01, 0x07, 0x3a, 0x00, // 27, 58: reserved
            0x71, 0x28, 0x01, 0x00, 0x02, 0x00, 0x80, 0x00, 0xff, 0x00, 0x00, // three others
            0x71, 0x29, 0x01, b'C', 0x6a, 0xb2, 0x00, // user_agent, grease_quic_bit
        ];
        let kept = TransportParameters::of(&Parameters::parse(&bytes), 2);
        let wanted = TransportParameters {
            max_idle_timeout: Some(30_000),
            initial_max_data: Some(63),
            disable_active_migration: true,
            initial_source_connection_id: Some("abcd".into()),
            grease_quic_bit: true,
            grease: 2,
            other: vec!["0x3128".into(), "0x02".into()],
            ..TransportParameters::default()
        };
        assert_eq!(kept, wanted);
        let all = TransportParameters::of(&Parameters::parse(&bytes), 512);
        assert_eq!(all.other.last().map(|id| &**id), Some("0xff00"));
        for end in 0..bytes.len() {
            TransportParameters::of(&Parameters::parse(&bytes[..end]), 2);
        }
    }

    #[test]
    fn what_is_no_number_or_cut_is_told() {
        let read = |bytes: &[u8]| TransportParameters::of(&Parameters::parse(bytes), 8);
        assert!(!read(&[0x01, 0x01, 0x05]).malformed);
        assert!(!read(&[]).malformed);
        // Empty, too long for its own length, cut.
        assert!(read(&[0x01, 0x00]).malformed);
        assert!(read(&[0x01, 0x02, 0x05, 0x05]).malformed);
        assert!(read(&[0x01, 0x02, 0x05]).malformed);
        let mut long = vec![0x0f, 21];
        long.extend([0; 21]);
        let long = read(&long);
        assert!(long.malformed);
        assert_eq!(long.initial_source_connection_id.unwrap().len(), 40);
    }
}
