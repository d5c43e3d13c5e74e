//! Stage 5: bytes become handshake facts, as borrowed views only.

pub mod certificate;
pub mod certificate_compression;
pub mod client_hello;
/// One table of each registry: number, name, attributes.
pub mod code_points;
pub mod decrypt;
mod dh_primes;
pub mod dtls;
pub mod fingerprint;
pub mod handshake;
pub mod key_exchange;
pub mod keylog;
pub mod message;
pub mod record;
pub mod server_hello;
pub mod sslv2;
pub mod wire;
