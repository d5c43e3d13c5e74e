//! Runs both directions of a connection through the state machine, in pieces as the machine asks for them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::{
    flow::{Answer, Direction, Lent},
    tls::handshake::{Machine, MachineLimits},
};

fuzz_target!(|bytes: &[u8]| {
    let limits = MachineLimits {
        message_bytes_max: 4 << 10,
        messages_max: 16,
    };
    let Some((&split, bytes)) = bytes.split_first() else {
        return;
    };
    let (up, down) = bytes.split_at(usize::from(split) * bytes.len() / 256);
    let mut machine = Machine::default();
    for (direction, bytes) in [(Direction::Up, up), (Direction::Down, down)] {
        let (mut at, mut end) = (0, 0);
        while at < bytes.len() && end < bytes.len() {
            end = (end + 1 + usize::from(split)).min(bytes.len());
            let lent = Lent {
                bytes: &bytes[at.min(end)..end],
                segments: 1,
                after_gap: false,
                before_gap: false,
                repeated: 0,
                stamp: 0,
            };
            match machine.read(direction, &lent, &limits, None, &mut |_| {}) {
                Answer::Need { used, more } => {
                    assert!(more > 0);
                    at += used;
                }
                Answer::Done | Answer::Broken => break,
            }
        }
        assert!(machine.heap_bytes() < 256 << 10);
    }
});
