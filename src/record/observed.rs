//! Particulars of a connection that only a few diagnoses ask for.
//!
//! Each is left out where the capture could not show it; absence proves nothing. They stand apart from the record's main
//! facts so that a connection for which none was noted costs one pointer.

use super::Side;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An ICMP message that a segment of the connection was not delivered (RFC 792, RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IcmpError {
    /// Its packet.
    pub frame: u64,
    /// Who sent it: a router or a host.
    pub from: IpAddr,
    /// Whose segment it was.
    pub about: Side,
    /// ICMP type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// The largest packet that the next network takes, where the segment was too large.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mtu: Option<u32>,
}

impl IcmpError {
    /// The segment was too large for a network, and must not be cut into pieces.
    #[must_use]
    pub fn is_too_big(&self) -> bool {
        match self.from {
            IpAddr::V4(_) => (self.kind, self.code) == (3, 4),
            IpAddr::V6(_) => self.kind == 2,
        }
    }

    /// A rule of a router or of a host forbids it (RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1, RFC 4443 section
    /// 3.1).
    #[must_use]
    pub fn is_prohibited(&self) -> bool {
        match self.from {
            IpAddr::V4(_) => self.kind == 3 && matches!(self.code, 9 | 10 | 13),
            IpAddr::V6(_) => self.kind == 1 && matches!(self.code, 1 | 5 | 6),
        }
    }
}

/// Particulars of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Observed {
    /// What ICMP said of a segment that was not delivered; the first such message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpError>,
    /// Time to live (or hop limit) of the server's SYN-ACK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syn_ack_ttl: Option<u8>,
    /// Time to live (or hop limit) of the packet with the first FIN or RST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_ttl: Option<u8>,
    /// Maximum segment size that the client announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_mss: Option<u16>,
    /// Maximum segment size that the server announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_mss: Option<u16>,
    /// TCP came up, and not one byte was sent over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_payload: Option<bool>,
    /// The server's TCP acknowledged the whole ClientHello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello_acknowledged: Option<bool>,
    /// The complete ClientHello to the end of the capture, or to when the connection was given up, in microseconds, where the connection was still open then and
    /// nothing had come back: longer than to the connection's last packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered_us: Option<i64>,
    /// How often segments of the ClientHello were sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello_retransmits: Option<u32>,
    /// Bytes of the server's first flight that the client's TCP never acknowledged; only where the client did not go on
    /// with the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_flight_unacknowledged_bytes: Option<u32>,
    /// How often the server's segments were sent again, in the same case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_flight_retransmits: Option<u32>,
    /// First packet of the connection to the complete ClientHello, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_hello_us: Option<i64>,
    /// Last byte of the server's first flight to the first byte of the client's second flight, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_reply_us: Option<i64>,
    /// The ClientHello came in the format of SSL 2.0 (RFC 5246 appendix E.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sslv2_hello: Option<bool>,
    /// Cipher kinds of that hello, three bytes each, as `0x0700c0`; those that begin with 0 are also in `cipher_suites`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sslv2_cipher_kinds: Option<Vec<Box<str>>>,
    /// The kind that the client chose (SSL 2.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sslv2_cipher_kind: Option<Box<str>>,
    /// The client's Certificate message held no certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_empty: Option<bool>,
    /// Names of authorities in the CertificateRequest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_names: Option<u32>,
    /// Length of the CertificateRequest message in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_request_bytes: Option<u32>,
    /// TLS 1.3: length of the client's first record of outer type application_data: 19 is an alert, 53 or 69 a Finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_client_record_bytes: Option<u16>,
    /// TLS 1.3: bytes in the server's records of outer type application_data before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_flight_bytes: Option<u32>,
    /// Number of the packet with the first handshake record after the client's first application data (TLS 1.2 and
    /// below): a renegotiation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_handshake_frame: Option<u64>,
    /// Renegotiations inside the encryption (TLS 1.2 and below), by the server's ChangeCipherSpecs. With the session's
    /// secrets each is a record of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_renegotiations: Option<u32>,
    /// Who sent that record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_handshake_from: Option<Side>,
    /// Number of the packet with the HelloVerifyRequest of DTLS (RFC 6347 section 4.2.1): the server
    /// asked the client to repeat its hello with a cookie; `second_client_hello` is the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello_verify_request_frame: Option<u64>,
}
