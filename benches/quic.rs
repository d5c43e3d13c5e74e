//! Opening a QUIC Initial packet and reading its ClientHello: keys from the id, header protection,
//! AES-128-GCM over 1200 bytes, frames, message.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tlscope::{
    flow::Direction,
    quic::Machine,
    tls::handshake::{Event, MachineLimits},
};

/// The client's Initial packet of RFC 9001 appendix A.2.
fn packet() -> Vec<u8> {
    let text = include_str!("../src/quic/vectors.txt");
    let part = text
        .split('[')
        .find_map(|part| part.strip_prefix("client v1]"));
    let digits: Vec<u8> = part
        .unwrap_or("")
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn hellos(criterion: &mut Criterion) {
    let (packet, mut scratch) = (packet(), Vec::new());
    let limits = MachineLimits {
        message_bytes_max: 64 << 10,
        messages_max: 16,
    };
    let mut group = criterion.benchmark_group("quic");
    group.throughput(Throughput::Elements(1));
    group.bench_function("initial to client hello", |bencher| {
        bencher.iter(|| {
            let (mut machine, mut hellos) = (Machine::default(), 0);
            let datagram = black_box(&packet);
            machine.read(
                Direction::Up,
                datagram,
                &limits,
                None,
                &mut scratch,
                &mut |told| {
                    hellos += usize::from(matches!(told.event, Event::ClientHello { .. }));
                },
            );
            assert_eq!(hellos, 1);
        });
    });
    group.finish();
}

criterion_group!(benches, hellos);
criterion_main!(benches);
