//! The same packets in each capture format: what reading costs alone, and in the whole pipeline. The figures that count
//! are the ratios to pcap: pcapng is to cost at most 1.2 times as much, a Windows event trace 2 times.

#![allow(missing_docs)]

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};
use tlscope::{
    capture::{Block, Format as Reader, feed::Fill, open::open_alone},
    limits::Limits,
    pipeline::{Input, Options, Progress, run},
    report::REPORTS,
};
use traffic::{Amount, Format, MIXES};

#[path = "../tests/support/trace.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod trace;
mod traffic;
#[path = "../tests/support/xpress.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod xpress;

const CONNECTIONS: u64 = 400;
/// As `netsh trace` and `pktmon` write them.
const TRACE_BUFFER_BYTES: usize = 64 << 10;
/// From 1601 to 1970, in units of 100 ns.
const UNIX_EPOCH: i64 = 116_444_736_000_000_000;

/// A packet's time in nanoseconds, and its bytes.
type Frames = Vec<(i64, Vec<u8>)>;

fn write(mix: &str, format: Format) -> Vec<u8> {
    let mix = MIXES.iter().find(|one| one.name == mix);
    let mut file = Vec::new();
    if let Some(mix) = mix
        && let Err(error) =
            traffic::write(mix, Amount::Connections(CONNECTIONS), 1, format, &mut file)
    {
        eprintln!("{}: {error}", mix.name);
    }
    file
}

fn frames(pcap: &[u8]) -> Frames {
    use tlscope::capture::Stepper;
    let Some((_, mut reader)) = Reader::detect(pcap, 1 << 20) else {
        return Vec::new();
    };
    let mut packets = Vec::new();
    reader.step(pcap, &mut packets);
    let bytes = |packet: &tlscope::capture::Packet| {
        let start = packet.offset as usize;
        pcap[start..start + packet.captured_len as usize].to_vec()
    };
    packets
        .iter()
        .map(|packet| (packet.time_ns, bytes(packet)))
        .collect()
}

/// As etl2pcapng writes it: direction and process of each packet as options.
fn pcapng_with_options(frames: &Frames) -> Vec<u8> {
    let mut file = Vec::new();
    let words = |file: &mut Vec<u8>, words: &[u32]| {
        words
            .iter()
            .for_each(|word| file.extend(word.to_le_bytes()));
    };
    words(
        &mut file,
        &[0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28],
    );
    words(&mut file, &[1, 20, 1, 262_144, 20]);
    for (time_ns, frame) in frames {
        let micros = (time_ns / 1_000) as u64;
        let (length, padded) = (frame.len() as u32, frame.len().next_multiple_of(4) as u32);
        let total = 32 + padded + 8 + 12 + 4;
        words(
            &mut file,
            &[
                6,
                total,
                0,
                (micros >> 32) as u32,
                micros as u32,
                length,
                length,
            ],
        );
        file.extend(frame);
        file.resize(file.len() + (padded - length) as usize, 0);
        words(&mut file, &[0x0004_0002, 1, 0x0008_0001]);
        file.extend(b"PID=4711");
        words(&mut file, &[0, total]);
    }
    file
}

/// As `netsh trace` records on a machine with two processors.
fn etl(frames: &Frames, compressed: bool) -> Vec<u8> {
    let mut trace = trace::Trace {
        buffer_bytes: TRACE_BUFFER_BYTES,
        compressed,
        ..trace::Trace::default()
    };
    for (index, (time_ns, frame)) in frames.iter().enumerate() {
        let (stamp, _) = trace.stamp(time_ns / 100 + UNIX_EPOCH);
        let event = trace::Manifest {
            thread: (4711, 12),
            ..trace::Manifest::new(trace::NDIS, 1001, trace::ETHERNET_IN)
        };
        let payload = trace::ndis(14, 14, frame, true);
        trace.push(index / 64 % 2, stamp, event.bytes(stamp, &payload));
    }
    trace.write()
}

fn read(path: &Path) -> u64 {
    let Ok((mut source, _)) = open_alone(path, &Limits::default()) else {
        return 0;
    };
    let (mut block, mut packets) = (Block::default(), 0);
    while let Ok(fill) = source.fill(&mut block) {
        packets += block.packets.len() as u64;
        if fill == Fill::End {
            break;
        }
    }
    packets
}

fn analyse(path: &Path) -> usize {
    let render = REPORTS
        .iter()
        .find(|format| format.name == "ndjson")
        .and_then(|format| format.render);
    let options = Options {
        render,
        ..Options::default()
    };
    let mut bytes = 0;
    let input = Input::File(path.to_owned());
    let done = run(&[input], &options, &Progress::default(), &mut |taken| {
        bytes += taken.line.len();
        Ok(())
    });
    done.map_or(0, |_| bytes)
}

fn formats(criterion: &mut Criterion) {
    let pcap = write("mixed", Format::Pcap);
    let frames = frames(&pcap);
    let files = [
        ("pcap", pcap),
        ("pcapng", write("mixed", Format::Pcapng)),
        ("pcapng-options", pcapng_with_options(&frames)),
        ("etl", etl(&frames, false)),
        ("etl-compressed", etl(&frames, true)),
    ];
    let paths: Vec<(&str, PathBuf)> = (files.into_iter())
        .filter_map(|(name, bytes)| {
            let path = env::temp_dir().join(format!("tlscope-bench-{name}-{}", process::id()));
            fs::write(&path, bytes).ok()?;
            Some((name, path))
        })
        .collect();
    for (group, work) in [
        (
            "formats/read",
            &(|path: &Path| read(path) as usize) as &dyn Fn(&Path) -> usize,
        ),
        ("formats/pipeline", &analyse),
    ] {
        let mut group = criterion.benchmark_group(group);
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        group.throughput(Throughput::Elements(frames.len() as u64));
        for (name, path) in &paths {
            assert_eq!(read(path), frames.len() as u64, "{name}: all the packets");
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| work(path));
            });
        }
        group.finish();
    }
    for (_, path) in paths {
        let _ = fs::remove_file(path); // it is a temporary file
    }
}

criterion_group!(benches, formats);
criterion_main!(benches);
