//! Readers step over slices that are cut at any byte, and give the same packets, each with what is said of it.

#![allow(clippy::unwrap_used)] // a test that can't go on shall stop

mod support;

use support::{
    files::{Pcap, Pcapng},
    packets::Packet as Frame,
    tls::{self, Hello},
};
use tlscope::capture::{Block, Extra, Format, Packet, Stepper};

const PACKET_BYTES_MAX: usize = 1 << 20;

/// What a reader gave: each packet with its bytes, what is known of it, and its comments.
type Given = Vec<(Packet, Vec<u8>, Extra, Vec<Vec<u8>>)>;

/// Steps over `bytes` as far as it goes, and says how far that is.
fn step(format: &mut Format, bytes: &[u8], given: &mut Given) -> usize {
    let mut block = Block::default();
    let step = format.step(bytes, &mut block.packets);
    format.hand_over(&mut block);
    block.bytes = bytes.to_vec();
    block.filled = bytes.len();
    for (index, packet) in block.packets.iter().enumerate() {
        let noted = block.noted(index);
        given.push((
            // Where it lies depends on the slice.
            Packet {
                offset: 0,
                ..*packet
            },
            block.data(packet).to_vec(),
            noted.map_or_else(Extra::default, |noted| *noted.extra()),
            noted.map_or_else(Vec::new, |noted| {
                noted.comments().map(<[u8]>::to_vec).collect()
            }),
        ));
    }
    step.used
}

fn open(bytes: &[u8]) -> Format {
    Format::detect(bytes, PACKET_BYTES_MAX).unwrap().1
}

/// A short conversation, so that each byte can be a cut.
fn frames() -> Vec<Frame> {
    let mut frames = tls::talk(&Hello::default(), 1400).packets;
    frames.truncate(5);
    frames
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let frames = frames();
    let mut samples = Vec::new();
    for big_endian in [false, true] {
        for (nanoseconds, modified) in [(false, false), (true, false), (false, true)] {
            let form = Pcap {
                big_endian,
                nanoseconds,
                modified,
                link: 1,
            };
            samples.push((format!("{form:?}"), form.write(&frames)));
        }
        let mut file = Pcapng::default();
        for (index, frame) in frames.iter().enumerate() {
            if index % 2 == 0 {
                file.section(big_endian).interface(1, 0, Some(9), None);
            }
            let flags = if big_endian {
                [0, 0, 0, 2]
            } else {
                [2, 0, 0, 0]
            };
            let options: &[(u16, &[u8])] = match index % 3 {
                0 => &[(1, b"one"), (2, &flags), (1, b"PID=7")],
                1 => &[],
                _ => &[(1, b"two")],
            };
            file.enhanced_with(0, frame.time_ns as u64, frame, options);
            file.obsolete(0, frame.time_ns as u64, frame).simple(frame);
            file.block(10, &[0; 12]).block(4, &[0; 8]);
        }
        samples.push((format!("pcapng, big endian: {big_endian}"), file.bytes));
    }
    samples
}

#[test]
fn slices_cut_at_any_byte_give_the_same_packets() {
    for (name, bytes) in samples() {
        let mut whole = Given::new();
        let used = step(&mut open(&bytes), &bytes, &mut whole);
        assert_eq!(used, bytes.len(), "{name}");
        assert!(whole.len() >= 5 && whole.iter().any(|one| !one.1.is_empty()));
        for cut in 0..=bytes.len() {
            let (mut format, mut given) = (open(&bytes), Given::new());
            let used = step(&mut format, &bytes[..cut], &mut given);
            assert!(used <= cut, "{name} cut at {cut}");
            step(&mut format, &bytes[used..], &mut given);
            assert!(given == whole, "{name} cut at {cut}");
        }
    }
}

#[test]
fn slices_of_any_length_give_the_same_packets() {
    for (name, bytes) in samples() {
        let mut whole = Given::new();
        step(&mut open(&bytes), &bytes, &mut whole);
        for length in [1, 2, 3, 5, 7, 16, 31, 64, 1000] {
            let (mut format, mut given) = (open(&bytes), Given::new());
            let (mut start, mut end) = (0, 0);
            while end < bytes.len() {
                end = (end + length).min(bytes.len());
                start += step(&mut format, &bytes[start..end], &mut given);
            }
            assert!(given == whole, "{name} in slices of {length}");
        }
    }
}
