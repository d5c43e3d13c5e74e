//! Reads a Windows event trace: no damage may cost more than its buffers, and each packet lies in its block.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use tlscope::{
    capture::{Block, etl::EtlReader},
    limits::Limits,
};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        block_bytes: 64 << 10,
        trace_open_bytes_max: 4 << 20,
        trace_names_max: 64,
        sightings_max: 256,
        ..Limits::default()
    };
    let Ok(mut reader) = EtlReader::open(Cursor::new(bytes), "fuzz", &limits) else {
        return;
    };
    let mut block = Block::default();
    while let Ok(more) = reader.fill(&mut block) {
        for (index, packet) in block.packets.iter().enumerate() {
            assert_eq!(block.data(packet).len(), packet.captured_len as usize);
            assert!(packet.frame > 0);
            if let Some(noted) = block.noted(index) {
                let _ = (noted.extra(), noted.comments().count());
            }
        }
        if !more {
            break;
        }
    }
    let _ = (reader.summary(), reader.interfaces(), reader.take_evidence());
});
