//! Steps over a pcapng file at once, and in two parts: the packets must be the same, and lie in the bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::capture::{Block, Packet, pcapng::Pcapng};

const PACKET_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if !Pcapng::matches(bytes) {
        return;
    }
    let (mut whole, mut packets) = (Pcapng::new(PACKET_BYTES_MAX), Vec::new());
    let step = whole.step(bytes, &mut packets);
    assert!(step.used <= bytes.len());
    for packet in &packets {
        assert!(packet.offset as usize + packet.captured_len as usize <= step.used);
    }
    let mut block = Block::default();
    whole.hand_over(&mut block);
    assert!(block.extras.len() <= packets.len());
    let texts = block.comments.iter().map(|at| (at.offset, at.length));
    let secrets = block.secrets.iter().map(|at| (at.offset, at.length));
    for (offset, length) in texts.chain(secrets) {
        assert!(offset as usize + length as usize <= step.used);
    }
    let _ = whole.about();
    // The same file, as two reads give it.
    let cut = usize::from(bytes[bytes.len() - 1]) * bytes.len() / 256;
    let (mut parts, mut first, mut second) =
        (Pcapng::new(PACKET_BYTES_MAX), Vec::new(), Vec::new());
    let done = parts.step(&bytes[..cut], &mut first);
    if done.used <= cut {
        parts.step(&bytes[done.used..], &mut second);
    }
    let moved = second.into_iter().map(|packet| Packet {
        offset: packet.offset + done.used as u32,
        ..packet
    });
    assert_eq!(packets, first.into_iter().chain(moved).collect::<Vec<_>>());
});
