//! Source → shards → ordered sink; the only file with threads.

use crate::{error::Error, limits::Limits, record::Handshake, stats::Summary};
use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64},
};

/// Where one capture's bytes come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// Renders one record as the lines' format wants it; runs in the shard's thread.
pub type Render = fn(&Handshake, &mut Vec<u8>);

/// How a run works.
pub struct Options {
    /// Threads to use, at least 1.
    pub threads: usize,
    /// The caps.
    pub limits: Limits,
    /// Give a record for each TCP connection, not only for those with TLS.
    pub all_connections: bool,
    /// Ports on which a connection without TLS is worth a record.
    pub tls_ports: Vec<u16>,
    /// Writes each record as bytes, in the shard's thread.
    pub render: Option<Render>,
}

/// How far a run is; read by another thread while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Packets read.
    pub packets: AtomicU64,
    /// Records made.
    pub handshakes: AtomicU64,
    /// Set from outside (Ctrl-C): stop reading, and finish with what was seen.
    pub stop: AtomicBool,
}

/// Reads `inputs` one after the other as one stream in order of time, and hands each record with its
/// rendered bytes to `take`, in an order that does not depend on the number of threads. An error from
/// `take` (a broken pipe, a full disk) ends the run and is handed back. Returns the summary (counts and
/// captures; the caller fills in findings, time and version) and the faults of single files.
pub fn run(
    _inputs: &[Input],
    _options: &Options,
    _progress: &Progress,
    _take: &mut dyn FnMut(Box<Handshake>, &[u8]) -> io::Result<()>,
) -> io::Result<(Summary, Vec<Error>)> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
