//! Captures that are read by jumping about, and come as a stream: through a pipe, or compressed. They are held in memory,
//! up to a cap.

use std::io::{self, Read, Seek};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that can be jumped about in.
pub trait Seekable: Read + Seek + Send {}

impl<T: Read + Seek + Send> Seekable for T {}

/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// All bytes of a stream that begins with `bytes`; `None` where they are more than `bytes_max`. A stream that breaks
/// off gives what came: the reader of its format will find where the rest is missing.
pub fn spool(
    mut bytes: Vec<u8>,
    stream: &mut dyn Read,
    bytes_max: usize,
    stop: &AtomicBool,
) -> Option<Vec<u8>> {
    let mut filled = bytes.len();
    loop {
        if bytes.len() - filled < CHUNK_BYTES {
            bytes.resize(filled + CHUNK_BYTES, 0);
        }
        match stream.read(bytes.get_mut(filled..)?) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && !stop.load(Ordering::Relaxed) => {}
            Err(_) => break,
        }
        if filled > bytes_max {
            return None;
        }
    }
    bytes.truncate(filled);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_held_up_to_the_cap() {
        let stop = AtomicBool::new(false);
        let all: Vec<u8> = (0..700_000u32).map(|number| number as u8).collect();
        for first in [0, 512] {
            let held = spool(all[..first].to_vec(), &mut &all[first..], 700_000, &stop);
            assert!(held == Some(all.clone()));
            assert!(spool(all[..first].to_vec(), &mut &all[first..], 699_999, &stop).is_none());
        }
    }

    #[test]
    fn a_bomb_ends_at_the_cap() {
        let mut endless = io::repeat(0);
        assert!(spool(Vec::new(), &mut endless, 1 << 20, &AtomicBool::new(false)).is_none());
    }
}
