//! Puts IP fragments together, of packets that are taken out of the input one behind another.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::{
    capture::LinkType,
    limits::Limits,
    packet::{Decoded, Encapsulation, Reassembler, decode},
    stats::Counters,
};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        fragment_packets_max: 8,
        fragment_bytes_max: 16 << 10,
        ..Limits::default()
    };
    let (mut reassembler, mut counters) = (Reassembler::default(), Counters::default());
    let (mut rest, mut time_ns) = (bytes, 0);
    while let Some((&length, behind)) = rest.split_first() {
        let (packet, behind) = behind.split_at(behind.len().min(usize::from(length)));
        rest = behind;
        time_ns += i64::from(length) * 100_000_000;
        let mut around = Encapsulation::default();
        let Ok(Decoded::Fragment(fragment)) = decode(LinkType::RAW, packet, &mut around, &limits)
        else {
            continue;
        };
        let whole = reassembler.take(&fragment, &around, time_ns, &limits, &mut counters);
        if let Some(whole) = whole {
            let mut around = Encapsulation::default();
            assert!(!matches!(
                decode(LinkType::RAW, whole, &mut around, &limits),
                Ok(Decoded::Fragment(_))
            ));
        }
    }
});
