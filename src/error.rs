//! The user's or the system's faults: a path, a permission, a format. Never hostile bytes: those become
//! defects in the record and counters in the summary.

use std::{io, path::PathBuf};

/// Why a capture could not be read, or not to its end. What was read before is reported all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to open or read a file.
    #[error("{name}: {source}")]
    Io {
        /// File as given.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The file holds no bytes.
    #[error("{name}: the file is empty")]
    Empty {
        /// File as given.
        name: String,
    },
    /// The first bytes are those of no known capture format.
    #[error("{name}: not a capture file: {found}")]
    NotACapture {
        /// File as given.
        name: String,
        /// What the first bytes look like, and what to do.
        found: String,
    },
    /// The file breaks off inside a packet or block.
    #[error("{name}: cut at offset {offset}: {expected}; everything before it was analysed")]
    Cut {
        /// File as given.
        name: String,
        /// Offset of the packet or block that is not whole.
        offset: u64,
        /// What should be there.
        expected: String,
    },
    /// The file contradicts its own format.
    #[error("{name}: broken at offset {offset}: {expected}; everything before it was analysed")]
    Broken {
        /// File as given.
        name: String,
        /// Offset of the fault.
        offset: u64,
        /// What should be there.
        expected: String,
    },
    /// An interface can't be watched.
    #[error("{name}: the interface can't be watched: {source}")]
    Interface {
        /// Its name.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no interface of that name.
    #[error("{name}: there is no such interface")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// The right to take packets from an interface is missing.
    #[error("{name}: no right to watch interfaces")]
    NoCaptureRight {
        /// Its name.
        name: String,
    },
    /// A folder holds no captures.
    #[error("{}: no capture files in this folder", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
}
