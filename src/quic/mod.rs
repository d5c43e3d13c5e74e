//! QUIC: datagrams in, TLS handshake events out (RFC 9000, RFC 9001, RFC 9369).
//!
//! ```text
//! datagram │ long header │ Initial: frames, encrypted │ long header │ Handshake │ short header │ 1-RTT │
//!                               └ CRYPTO frames → ordered bytes → handshake messages
//! ```
//!
//! Initial packets can be read: their keys come from the connection id that the client's first one was
//! sent to. Handshake packets can where the session's secrets are known. 0-RTT and 1-RTT packets are counted. Nothing here knows a record or a clock.

pub mod frames;
pub mod header;
pub mod keys;
pub mod machine;
pub mod parameters;
mod sealed;
pub mod stream;
pub mod version;

pub use machine::{Facts, Machine, Told};

#[cfg(test)]
mod tests;
