//! tlscope reads network captures and says what is wrong with TLS and HTTP/2 handshakes, who is
//! affected, and what to do.
//!
//! # Architecture: one straight pipe
//!
//! ```text
//! capture bytes → packets → segments → ordered bytes per direction → which protocol → handshake facts
//!   capture/      packet/    packet/     flow/                          detect/         tls/
//!
//!               → one owned record per handshake → findings → reports
//!                 record/                          findings/  report/
//! ```
//!
//! The modules stand in the order of the pipe. A stage knows the types of the stages before it and
//! nothing of those after it; only [`connection`] (one conversation: its two streams, its protocol, its
//! record) and `pipeline` (source → shards → ordered sink) join stages. Parsers and state machines are
//! sans-IO: bytes and the capture's time come in as arguments, so the core builds without a file system,
//! a clock or threads (`--no-default-features`).
//!
//! `'a` means "inside the capture block": everything before [`record`] borrows, and [`record`] is the
//! only stage that copies. The fast path is a packet whose bytes are the next ones expected: it costs a
//! header parse and a table probe, and a message that ends inside it is parsed in place. The slow path
//! begins at exactly three places, each with a cap in [`limits`] and a counter in [`stats`]: segments out
//! of order and messages longer than a segment ([`flow::Stream`]), and messages across TLS records
//! ([`tls::message`]).
//!
//! Hostile or cut bytes are never an `Err`: they become a [`record::Defect`] and a counter. An `Err` is
//! the user's or the system's fault.

#![deny(unsafe_code)]

pub mod error;
pub mod limits;
pub mod pool;
pub mod short;
pub mod stats;

pub mod capture;
pub mod packet;

pub mod flow;

pub mod http;

pub mod dns;

pub mod detect;
pub mod quic;
pub mod tls;

pub mod record;

pub mod connection;
pub mod keep;
pub mod shard;

pub mod findings;
pub mod report;

#[cfg(feature = "native")]
pub mod pipeline;
