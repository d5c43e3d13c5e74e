//! Takes a packet of any link type apart; the payload must lie inside the packet.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::{
    capture::LinkType,
    limits::Limits,
    packet::{Decoded, Encapsulation, decode},
};

fuzz_target!(|bytes: &[u8]| {
    let Some((link, packet)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let mut around = Encapsulation::default();
    let link = LinkType(u16::from_be_bytes(*link) % 300);
    let payload = match decode(link, packet, &mut around, &Limits::default()) {
        Ok(Decoded::Tcp(segment)) => segment.payload,
        Ok(Decoded::Udp(datagram)) => datagram.payload,
        _ => return,
    };
    assert!(payload.is_empty() || packet.as_ptr_range().contains(&payload.as_ptr()));
    assert!(payload.len() <= packet.len());
});
