//! Runs both directions of a connection through the state machine with secrets at hand: those of the
//! hello that the fuzzer wrote.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use tlscope::{
    flow::{Answer, Direction, Lent},
    tls::{
        decrypt::{Keyring, Keys, OpenLimits},
        handshake::{Machine, MachineLimits},
        keylog::{LABELS, Secrets},
    },
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
    // Where a ClientHello has its random, if it is the first message.
    let random = up.get(11..43).unwrap_or(&[0; 32]);
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let secrets = Secrets::default();
    for (label, _) in LABELS {
        let log = format!("{label} {random} {}", "5a".repeat(48));
        secrets.line(log.as_bytes(), 0, 16);
    }
    let open_limits = OpenLimits {
        bytes_max: 1 << 12,
        record_bytes_max: 256,
    };
    let mut ring = Keyring::new([Arc::new(secrets), Arc::default()], open_limits);
    let mut machine = Machine::default();
    for (direction, bytes) in [(Direction::Up, up), (Direction::Down, down)] {
        let (mut at, mut end) = (0, 0);
        while at < bytes.len() && end < bytes.len() {
            end = (end + 1 + usize::from(split)).min(bytes.len());
            let lent = Lent {
                bytes: &bytes[at.min(end)..end],
                segments: 1,
                after_gap: split == 7 && at > 0,
                before_gap: false,
                repeated: 0,
                stamp: 0,
            };
            let keys = Keys {
                ring: &mut ring,
                order: 0,
            };
            match machine.read(direction, &lent, &limits, Some(keys), &mut |_| {}) {
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
