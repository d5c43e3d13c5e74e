use super::super::testing::*;
use super::super::{Decoded, Segment};
use super::*;

struct Bench {
    reassembler: Reassembler,
    limits: Limits,
    counters: Counters,
}

impl Bench {
    fn new() -> Self {
        Self {
            reassembler: Reassembler::default(),
            limits: Limits::default(),
            counters: Counters::default(),
        }
    }

    fn take(&mut self, packet: &[u8], time_ns: i64) -> Option<Vec<u8>> {
        let mut around = Encapsulation::default();
        match super::super::ip::decode(packet, &mut around, &self.limits) {
            Ok(Decoded::Fragment(fragment)) => self
                .reassembler
                .take(
                    &fragment,
                    &around,
                    time_ns,
                    &self.limits,
                    &mut self.counters,
                )
                .map(<[u8]>::to_vec),
            other => panic!("no fragment: {other:?}"),
        }
    }

    fn take_all(&mut self, packets: &[Vec<u8>]) -> Option<Vec<u8>> {
        let mut whole = None;
        for packet in packets {
            assert_eq!(whole, None, "whole too early");
            whole = self.take(packet, 0);
        }
        whole
    }
}

/// 64 bytes of TCP in parts of these places and lengths.
fn parts(family: u8, places: &[(usize, usize)]) -> Vec<Vec<u8>> {
    let whole = tcp(&[7; 44]);
    places
        .iter()
        .map(|&(start, end)| {
            let more = u16::from(end < whole.len());
            let place = u16::try_from(start).unwrap();
            let payload = &whole[start..end];
            if family == 4 {
                v4_part(6, 77, (place / 8) | (more << 13), payload)
            } else {
                let place = (place | more).to_be_bytes();
                let header = [6, 0, place[0], place[1], 0, 0, 0, 77];
                v6(44, &cat(&[&header, payload]))
            }
        })
        .collect()
}

#[track_caller]
fn assert_whole(packet: Option<Vec<u8>>) {
    let packet = packet.expect("a whole packet");
    let mut around = Encapsulation::default();
    match super::super::ip::decode(&packet, &mut around, &Limits::default()) {
        Ok(Decoded::Tcp(Segment {
            payload, ttl, cut, ..
        })) => assert_eq!((payload, ttl, cut), (&[7; 44][..], 64, 0)),
        other => panic!("{other:?}"),
    }
}

const THREE: [(usize, usize); 3] = [(0, 24), (24, 48), (48, 64)];

#[test]
fn parts_in_any_order_become_whole() {
    for family in [4, 6] {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut bench = Bench::new();
            assert_whole(bench.take_all(&parts(family, &order.map(|index| THREE[index]))));
            assert_eq!(bench.reassembler.loose(), 0);
            assert_eq!(bench.reassembler.bytes, 0);
            assert!(bench.reassembler.open.is_empty());
        }
    }
}

#[test]
fn a_repeated_part_is_one_part() {
    for family in [4, 6] {
        let mut bench = Bench::new();
        let order = [THREE[0], THREE[0], THREE[2], THREE[2], THREE[1]];
        assert_whole(bench.take_all(&parts(family, &order)));
    }
}

#[test]
fn an_overlap_with_the_same_bytes_is_fine_in_v4_only() {
    let order = [(0, 24), (16, 48), (48, 64)];
    assert_whole(Bench::new().take_all(&parts(4, &order)));
    let mut bench = Bench::new();
    assert_eq!(bench.take_all(&parts(6, &order)), None);
    assert_eq!(bench.counters.skipped(Skip::FragmentOverlap), 1);
    assert_eq!(bench.reassembler.loose(), 3);
}

#[test]
fn differing_bytes_make_the_packet_void_for_good() {
    for family in [4, 6] {
        let mut bench = Bench::new();
        let mut packets = parts(family, &[(0, 24), (0, 24), (24, 48), (48, 64)]);
        let last = packets[1].len() - 1;
        packets[1][last] ^= 1;
        assert_eq!(bench.take_all(&packets), None);
        assert_eq!(bench.take_all(&parts(family, &THREE)), None);
        assert_eq!(bench.counters.skipped(Skip::FragmentOverlap), 1);
    }
}

#[test]
fn lies_about_the_end_make_it_void() {
    // Two ends; bytes behind the end; beyond the longest packet.
    let ends = [v4_part(6, 77, 3, &[1; 8]), v4_part(6, 77, 4, &[1; 8])];
    assert_eq!(Bench::new().take_all(&ends), None);
    let behind = [v4_part(6, 77, 1, &[1; 8]), v4_part(6, 77, 0x2004, &[1; 8])];
    let mut bench = Bench::new();
    assert_eq!(bench.take_all(&behind), None);
    assert_eq!(bench.counters.skipped(Skip::FragmentOverlap), 1);
    let mut bench = Bench::new();
    assert_eq!(bench.take(&v4_part(6, 77, 0x1fff, &[1; 800]), 0), None);
    assert_eq!(bench.counters.skipped(Skip::FragmentOverlap), 1);
    assert_eq!(bench.reassembler.bytes, OVERHEAD);
}

#[test]
fn other_packets_parts_are_kept_apart() {
    let mut bench = Bench::new();
    let mut other = parts(4, &[THREE[1]]);
    other[0][5] = 78;
    bench.take(&other[0], 0);
    let packets = parts(4, &THREE);
    assert_eq!(bench.take(&packets[0], 0), None);
    assert_eq!(bench.take(&packets[2], 0), None);
    assert_whole(bench.take(&packets[1], 0));
    assert_eq!(bench.reassembler.loose(), 1);
}

#[test]
fn cut_parts_are_of_no_use() {
    let mut bench = Bench::new();
    let mut packets = parts(4, &THREE);
    packets[1].truncate(30);
    assert_eq!(bench.take_all(&packets), None);
    assert_eq!(bench.reassembler.loose(), 3);
}

#[test]
fn old_parts_are_forgotten() {
    let mut bench = Bench::new();
    let packets = parts(4, &THREE);
    bench.take(&packets[0], 0);
    bench.take(&packets[1], 1);
    let late = bench.limits.fragment_age_ns;
    assert_eq!(bench.take(&packets[2], late), None);
    assert_eq!(bench.reassembler.open.len(), 1);
    assert_eq!(bench.reassembler.order.len(), 1);
}

#[test]
fn number_and_bytes_are_capped() {
    for (packets_max, bytes_max) in [(10, usize::MAX), (usize::MAX, 10 * (OVERHEAD + 100))] {
        let mut bench = Bench::new();
        bench.limits.fragment_packets_max = packets_max;
        bench.limits.fragment_bytes_max = bytes_max;
        for id in 0..1000 {
            bench.take(&v4_part(6, id, 0x2000, &[1; 24]), 0);
            assert!(bench.reassembler.open.len() <= 14);
            assert!(bench.reassembler.bytes <= bytes_max);
        }
        assert!(bench.counters.skipped(Skip::FragmentCap) > 980);
        assert_eq!(bench.reassembler.loose(), 1000);
    }
}

#[test]
fn the_order_list_is_capped_too() {
    let mut bench = Bench::new();
    bench.limits.fragment_packets_max = 4;
    // One packet stays open, and a thousand others become whole.
    bench.take(&v4_part(6, 5000, 0x2000, &[1; 24]), 0);
    for id in 0..1000 {
        bench.take(&v4_part(6, id, 0x2000, &[1; 8]), 0);
        bench.take(&v4_part(6, id, 1, &[1; 8]), 0);
        assert!(bench.reassembler.order.len() <= 17);
    }
}
