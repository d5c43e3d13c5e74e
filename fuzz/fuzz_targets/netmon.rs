//! Reads a Network Monitor capture: frames may lie anywhere, overlap and lie about their lengths.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use tlscope::{
    capture::{Block, netmon::NetmonReader},
    limits::Limits,
};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        block_bytes: 64 << 10,
        trace_names_max: 64,
        ..Limits::default()
    };
    let Ok(mut reader) = NetmonReader::open(Cursor::new(bytes), "fuzz", &limits) else {
        return;
    };
    let (mut block, mut total) = (Block::default(), 0);
    while let Ok(more) = reader.fill(&mut block) {
        for (index, packet) in block.packets.iter().enumerate() {
            total += packet.captured_len as usize;
            assert_eq!(block.data(packet).len(), packet.captured_len as usize);
            if let Some(noted) = block.noted(index) {
                let _ = (noted.extra(), noted.comments().count());
            }
        }
        if !more {
            break;
        }
    }
    // Frames can't overlap: what is shown is no longer than the file.
    assert!(total <= bytes.len());
});
