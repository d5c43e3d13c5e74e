//! A part of a file held in memory: frames mostly follow one another, and may lie anywhere.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes that are read at a time.
pub(super) const WINDOW_BYTES: usize = 256 << 10;

/// A part of a file.
pub(super) struct Window<R> {
    pub(super) reader: R,
    bytes: Vec<u8>,
    at: u64,
    pub(super) file_bytes: u64,
}

impl<R: Read + Seek> Window<R> {
    /// Nothing was read yet of a file of `file_bytes`.
    pub(super) fn new(reader: R, file_bytes: u64) -> Self {
        Self {
            reader,
            bytes: Vec::new(),
            at: 0,
            file_bytes,
        }
    }

    /// The bytes from `at`, fewer than `count` where the file ends.
    pub(super) fn get(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let end = at.saturating_add(count as u64).min(self.file_bytes).max(at);
        if at < self.at || end > self.at + self.bytes.len() as u64 {
            let count = usize::try_from(end - at).unwrap_or(0).max(WINDOW_BYTES);
            self.bytes.clear();
            self.at = at;
            self.reader.seek(SeekFrom::Start(at))?;
            self.reader
                .by_ref()
                .take(count as u64)
                .read_to_end(&mut self.bytes)?;
        }
        let start = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        Ok(rest.get(..count).unwrap_or(rest))
    }
}
