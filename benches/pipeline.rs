//! The whole pipeline, one thread, from a file to NDJSON: bytes a second, and packets a second
//! (of `handshake`: handshakes a second).

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tlscope::{
    pipeline::{Input, Options, Progress, run},
    report::REPORTS,
};
use traffic::{Amount, Format, MIXES, Mix, Written};

mod traffic;

const CAPTURE_BYTES: u64 = 16_000_000;

/// Writes the mix's capture to a temporary file.
fn capture(mix: &Mix) -> io::Result<(PathBuf, Written)> {
    let name = format!("tlscope-bench-{}-{}.pcap", mix.name, std::process::id());
    let path = env::temp_dir().join(name);
    let mut file = File::create(&path)?;
    let written = traffic::write(
        mix,
        Amount::Bytes(CAPTURE_BYTES),
        1,
        Format::Pcap,
        &mut file,
    )?;
    Ok((path, written))
}

fn analyse(path: &Path) -> io::Result<usize> {
    let render = REPORTS
        .iter()
        .find(|format| format.name == "ndjson")
        .and_then(|format| format.render);
    let options = Options {
        render,
        ..Options::default()
    };
    let mut bytes = 0;
    run(
        &[Input::File(path.to_path_buf())],
        &options,
        &Progress::default(),
        &mut |taken| {
            bytes += taken.line.len();
            Ok(())
        },
    )?;
    Ok(bytes)
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for mix in MIXES {
        let (path, written) = match capture(mix) {
            Ok(made) => made,
            Err(error) => {
                eprintln!("{}: {error}", mix.name);
                continue;
            }
        };
        let elements = if mix.name == "handshake" {
            written.handshakes
        } else {
            written.packets
        };
        group.throughput(Throughput::ElementsAndBytes {
            elements,
            bytes: written.bytes,
        });
        group.bench_function(mix.name, |bencher| bencher.iter(|| analyse(&path)));
        if let Err(error) = fs::remove_file(&path) {
            eprintln!("{}: {error}", path.display());
        }
    }
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
