//! What QUIC adds to a handshake (RFC 9000, RFC 9368).

use super::TransportParameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn is_false(value: &bool) -> bool {
    !*value
}

/// Facts of the QUIC connection that carried the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quic {
    /// Version of the last packets that were read, such as `0x00000001`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<Box<str>>,
    /// Its name: `1`, `2`, `draft-29`, `T051`, `mvfst 2`; left out for an unknown number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version_name: Option<Box<str>>,
    /// The server asked the client to prove its address by a Retry packet.
    #[serde(skip_serializing_if = "is_false", default)]
    pub retry: bool,
    /// The versions that the server listed in a Version Negotiation packet.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub negotiation: Vec<Box<str>>,
    /// The client's version_information: the chosen version, then those available.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub client_versions: Vec<Box<str>>,
    /// The user agent that Google's clients send as a transport parameter.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_agent: Option<Box<str>>,
    /// The transport parameters of the client's hello.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub transport_parameters: Option<Box<TransportParameters>>,
    /// Error code of a CONNECTION_CLOSE in an Initial packet (RFC 9000 section 20.1); 0x0100 and above
    /// hold a TLS alert.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub close_code: Option<u64>,
    /// Who sent it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed_by: Option<super::Side>,
}
