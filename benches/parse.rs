//! Single stages on bytes of the bundled captures: views, fingerprints and certificates; framing and
//! decoding beside the general parsers of the crates that they stand on.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{LaxSlicedPacket, SlicedPacket};
use pcap_parser::{PcapError, parse_block_le, parse_pcap_frame};
use std::{fs, hint::black_box, path::Path};
use tlscope::{
    capture::{Format, Packet, Stepper},
    flow::FlowKey,
    limits::Limits,
    packet::{self, Decoded, Encapsulation},
    record::copy::Interner,
    tls::{
        certificate::CertificateList, client_hello::ClientHelloView, fingerprint,
        server_hello::ServerHelloView,
    },
};

#[path = "traffic/mod.rs"]
mod traffic;

/// A capture of the bundled ones: its bytes and packets.
struct Capture {
    bytes: Vec<u8>,
    packets: Vec<Packet>,
}

impl Capture {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("captures")
            .join(name);
        Self::read(fs::read(path).unwrap_or_default())
    }

    fn read(bytes: Vec<u8>) -> Self {
        let mut packets = Vec::new();
        if let Some((_, mut format)) = Format::detect(&bytes, 1 << 24) {
            format.step(&bytes, &mut packets);
        }
        Self { bytes, packets }
    }

    fn frames(&self) -> impl Iterator<Item = (&Packet, &[u8])> {
        self.packets.iter().map(|packet| {
            let start = packet.offset as usize;
            let end = start + packet.captured_len as usize;
            (packet, self.bytes.get(start..end).unwrap_or(&[]))
        })
    }

    /// The body of the first handshake message of a kind in the first conversation.
    fn message(&self, kind: u8) -> Vec<u8> {
        let limits = Limits::default();
        let mut streams = [Vec::new(), Vec::new()];
        let mut first = None;
        for (packet, frame) in self.frames() {
            let mut around = Encapsulation::default();
            let decoded = packet::decode(packet.link, frame, &mut around, &limits);
            if let Ok(Decoded::Tcp(segment)) = decoded {
                let (key, direction) = FlowKey::new(
                    segment.addresses,
                    segment.source_port,
                    segment.destination_port,
                );
                if *first.get_or_insert(key) == key {
                    streams[direction as usize].extend_from_slice(segment.payload);
                }
            }
        }
        let found = streams.iter().find_map(|stream| find_message(stream, kind));
        found.unwrap_or_default()
    }
}

/// Steps over records of one handshake message or several.
fn find_message(mut stream: &[u8], kind: u8) -> Option<Vec<u8>> {
    while let Some((&[22, _, _, high, low], rest)) = stream.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut body = rest.get(..length)?;
        while let Some((&[found, high, middle, low], rest)) = body.split_first_chunk() {
            let length = usize::from(high) << 16 | usize::from(u16::from_be_bytes([middle, low]));
            let message = rest.get(..length)?;
            if found == kind {
                return Some(message.to_vec());
            }
            body = rest.get(length..)?;
        }
        stream = rest.get(length..)?;
    }
    None
}

fn client_hello(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("client_hello");
    for (name, capture) in [
        ("curl", "tls13.pcap"),
        ("post-quantum", "hello-two-segments.pcap"),
    ] {
        let body = Capture::open(capture).message(1);
        let Ok(view) = ClientHelloView::parse(&body) else {
            eprintln!("{capture}: no ClientHello");
            continue;
        };
        let details = view.details();
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("view", name), |bencher| {
            bencher.iter(|| ClientHelloView::parse(black_box(&body)));
        });
        group.bench_function(BenchmarkId::new("view+details", name), |bencher| {
            bencher.iter(|| ClientHelloView::parse(black_box(&body)).map(|view| view.details()));
        });
        group.bench_function(BenchmarkId::new("ja3", name), |bencher| {
            bencher.iter(|| fingerprint::md5(&fingerprint::ja3_string(black_box(&view), &details)));
        });
        group.bench_function(BenchmarkId::new("ja4", name), |bencher| {
            bencher
                .iter(|| fingerprint::ja4(black_box(&view), &details, fingerprint::Carrier::Tcp));
        });
    }
    group.finish();
}

fn server_hello(criterion: &mut Criterion) {
    let body = Capture::open("tls12.pcap").message(2);
    let mut group = criterion.benchmark_group("server_hello");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("view+details", |bencher| {
        bencher.iter(|| ServerHelloView::parse(black_box(&body)).map(|view| view.details()));
    });
    group.finish();
}

fn certificate(criterion: &mut Criterion) {
    let message = Capture::open("tls12.pcap").message(11);
    let list = CertificateList::parse(&message);
    let bytes = list.iter().map(|der| der.len() as u64).sum();
    let mut group = criterion.benchmark_group("certificates");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("new", |bencher| {
        // No room: each one is read anew.
        let mut interner = Interner::new(0);
        bencher.iter(|| interner.chain(black_box(list), 8));
    });
    group.bench_function("seen before", |bencher| {
        let mut interner = Interner::new(4_096);
        bencher.iter(|| interner.chain(black_box(list), 8));
    });
    group.finish();
}

/// A generated capture of 8 MB.
fn generated(format: traffic::Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mix) = traffic::MIXES.iter().find(|mix| mix.name == "mixed")
        && let Err(error) = traffic::write(
            mix,
            traffic::Amount::Bytes(8_000_000),
            1,
            format,
            &mut bytes,
        )
    {
        eprintln!("{error}");
    }
    bytes
}

fn framing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    for (name, format) in [
        ("pcap", traffic::Format::Pcap),
        ("pcapng", traffic::Format::Pcapng),
    ] {
        let bytes = generated(format);
        let mut packets: Vec<Packet> = Vec::new();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("tlscope", name), |bencher| {
            bencher.iter(|| {
                packets.clear();
                if let Some((_, mut format)) = Format::detect(&bytes, 1 << 24) {
                    format.step(black_box(&bytes), &mut packets);
                }
                packets.len()
            });
        });
        group.bench_function(BenchmarkId::new("pcap-parser", name), |bencher| {
            bencher.iter(|| match format {
                traffic::Format::Pcap => count_frames(black_box(&bytes)),
                traffic::Format::Pcapng => count_blocks(black_box(&bytes)),
            });
        });
    }
    group.finish();
}

fn count_frames(bytes: &[u8]) -> usize {
    let mut rest = bytes.get(24..).unwrap_or(&[]);
    let mut count = 0;
    loop {
        let parsed: Result<_, nom::Err<PcapError<&[u8]>>> = parse_pcap_frame(rest);
        let Ok((after, frame)) = parsed else {
            return count;
        };
        count += usize::from(!black_box(frame).data.is_empty());
        rest = after;
    }
}

fn count_blocks(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut count = 0;
    loop {
        let parsed: Result<_, nom::Err<PcapError<&[u8]>>> = parse_block_le(rest);
        let Ok((after, block)) = parsed else {
            return count;
        };
        black_box(block);
        count += 1;
        rest = after;
    }
}

fn decode(criterion: &mut Criterion) {
    let capture = Capture::read(generated(traffic::Format::Pcap));
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(capture.packets.len() as u64));
    group.bench_function("tlscope", |bencher| {
        bencher.iter(|| {
            for (packet, frame) in capture.frames() {
                let mut around = Encapsulation::default();
                let _ = black_box(packet::decode(packet.link, frame, &mut around, &limits));
            }
        });
    });
    group.bench_function("etherparse SlicedPacket", |bencher| {
        bencher.iter(|| {
            for (_, frame) in capture.frames() {
                let _ = black_box(SlicedPacket::from_ethernet(frame));
            }
        });
    });
    group.bench_function("etherparse LaxSlicedPacket", |bencher| {
        bencher.iter(|| {
            for (_, frame) in capture.frames() {
                let _ = black_box(LaxSlicedPacket::from_ethernet(frame));
            }
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    client_hello,
    server_hello,
    certificate,
    framing,
    decode
);
criterion_main!(benches);
