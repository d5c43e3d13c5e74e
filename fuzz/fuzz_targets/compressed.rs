//! Expands whatever the first bytes claim: it ends, and never takes memory beyond its windows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::{Cursor, Read};
use tlscope::capture::compressed;

/// A few bytes may stand for very many; nobody reads all of them here.
const EXPANDED_BYTES_MAX: u64 = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((_, expanded)) = compressed::open(bytes, Box::new(Cursor::new(bytes.to_vec()))) {
        let mut expanded = expanded.take(EXPANDED_BYTES_MAX);
        let mut room = [0; 4096];
        while matches!(expanded.read(&mut room), Ok(1..)) {}
    }
});
