//! Segments of a known stream in any order: what is lent without a gap must be that stream's bytes, in order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::flow::{Answer, Seq, Stream, StreamLimits};

/// Byte `at` of the stream.
fn byte(at: u32) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 24) as u8
}

fuzz_target!(|bytes: &[u8]| {
    let limits = StreamLimits {
        parked_bytes_max: 8 << 10,
        parked_segments_max: 32,
    };
    let first = Seq(u32::MAX - 500);
    let mut stream = Stream::default();
    stream.anchor(first);
    let (mut read, mut lost) = (0_u32, false);
    for (number, step) in bytes.chunks_exact(4).enumerate() {
        let at = u32::from(u16::from_be_bytes([step[0], step[1]])) % 4096;
        let payload: Vec<u8> = (at..at + u32::from(step[2])).map(byte).collect();
        let more = usize::from(step[3]) + 1;
        let from = first.plus(at as usize);
        stream.push(from, &payload, 0, number as u64, &limits, &mut |lent| {
            lost |= lent.after_gap || lent.before_gap;
            let used = lent.bytes.len() / more * more;
            if !lost {
                let expected = (read..).map(byte);
                assert!(
                    lent.bytes
                        .iter()
                        .copied()
                        .zip(expected)
                        .all(|(ours, theirs)| ours == theirs)
                );
                read += used as u32;
            }
            Answer::Need { used, more }
        });
        assert!(stream.heap_bytes() < 64 << 10);
    }
    stream.end(&mut |lent| Answer::Need {
        used: lent.bytes.len(),
        more: 1,
    });
    assert!(!stream.differs());
});
