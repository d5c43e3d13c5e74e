//! What the recording machine said of a connection's packets beside their bytes.

use super::Side;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the recording machine said of a connection. Each part is left out where the capture does not say it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Recording {
    /// The name of the interface on which the connection's first packet was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<Arc<str>>,
    /// Whether the recording machine made the connection or took it, by the packets' direction flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<ConnectionDirection>,
    /// What people wrote on its packets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<Comment>,
    /// Its packets that the system dropped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<DroppedPacket>,
}

/// Which way a connection was made, as seen from the recording machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionDirection {
    /// The recording machine is the server's side.
    Inbound,
    /// The recording machine is the client's side.
    Outbound,
}

/// What somebody wrote on a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Comment {
    /// Number of the packet.
    pub frame: u64,
    /// The text.
    pub text: Box<str>,
}

/// A packet that the system dropped (pktmon).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DroppedPacket {
    /// Number of the packet, as it was seen first.
    pub frame: u64,
    /// Who sent it.
    pub from: Side,
    /// Bytes of the connection that it carried.
    pub payload_bytes: u32,
    /// Why, as the system numbers it; what the number means depends on the build of Windows.
    pub reason: u32,
    /// The same in the system's own words and language, where the trace has them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason_text: Option<Box<str>>,
    /// Where, as the system numbers it.
    pub location: Box<str>,
}
