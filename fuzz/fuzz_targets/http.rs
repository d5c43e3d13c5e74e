//! HTTP in clear, both sides in turn and in pieces, among it the first header blocks of HTTP/2: never more is used than was
//! given, each side gets on, and what is kept stays within its caps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::http::{Facts, MESSAGES_MAX, Read, Reader};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    let Some((how, bytes)) = bytes.split_first() else {
        return;
    };
    let (mut reader, mut facts) = (Reader::default(), Facts::default());
    let mut sides = [Vec::new(), Vec::new()];
    if how & 1 == 1 {
        sides[1].extend_from_slice(PREFACE);
    }
    let piece = usize::from(how >> 1) + 1;
    for (number, piece) in (0..).zip(bytes.chunks(piece)) {
        let from_client = number % 2 == u64::from(how & 1);
        let side = &mut sides[usize::from(from_client)];
        side.extend_from_slice(piece);
        loop {
            match reader.read(from_client, side, number, &mut facts) {
                Read::Need => break,
                Read::Used(used) | Read::Tunnel(used) => {
                    assert!(used <= side.len());
                    side.drain(..used);
                    if used == 0 || side.is_empty() {
                        break;
                    }
                }
                Read::End => return,
            }
        }
        // What a whole line or frame is waited for is bounded.
        assert!(side.len() < 128 << 10);
    }
    assert!(facts.requests.len() <= MESSAGES_MAX && facts.responses.len() <= MESSAGES_MAX);
});
