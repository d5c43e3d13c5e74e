//! Reads a key log: at most so many secrets, and each line alone gives what it gives in the log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::tls::keylog::{Line, Secrets};

const SECRETS_MAX: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let (whole, lines) = (Secrets::default(), Secrets::default());
    whole.read(bytes, 7, SECRETS_MAX);
    let mut kept = 0;
    for line in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
        kept += usize::from(lines.line(line, 7, SECRETS_MAX) == Line::Secret);
    }
    assert_eq!((whole.len(), whole.passed_over()), (kept, lines.passed_over()));
    assert!(whole.len() <= SECRETS_MAX);
    assert!(!whole.known_at(6));
});
