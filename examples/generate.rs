//! Writes large captures for measuring: `cargo run --release --example generate -- bulk --size 520MB
//! --output bulk.pcap`. The same seed gives the same bytes.

#[path = "../benches/traffic/mod.rs"]
mod traffic;

use std::{
    env,
    error::Error,
    fs::File,
    io::{self, Write},
    process::ExitCode,
};
use traffic::{Amount, Format, MIXES, Mix};

struct Args {
    mix: &'static Mix,
    amount: Amount,
    seed: u64,
    format: Format,
    output: String,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.is_empty() || args.iter().any(|arg| arg == "-h" || arg == "--help") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    match parse(&args).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate: {error}");
            ExitCode::from(2)
        }
    }
}

fn help() -> String {
    let mut out = "\
Usage: generate MIX [--size 520MB | --connections N] [--seed N] [--format pcap|pcapng] [--output FILE|-]

Sizes: 100MB, 2GB (powers of 10) or plain bytes; the default is 100MB. - is standard output, which is
the default. The same arguments give the same bytes. What was written is said on standard error.

Mixes:
"
    .to_owned();
    for mix in MIXES {
        out += &format!("  {:16} {}\n", mix.name, mix.about);
    }
    out
}

fn parse(args: &[String]) -> Result<Args, Box<dyn Error>> {
    let mut words = args.iter();
    let name = words.next().ok_or("which mix?")?;
    let mix = MIXES
        .iter()
        .find(|mix| mix.name == name)
        .ok_or_else(|| format!("{name}: no such mix"))?;
    let mut parsed = Args {
        mix,
        amount: Amount::Bytes(100_000_000),
        seed: 1,
        format: Format::Pcap,
        output: "-".to_owned(),
    };
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{word}: wants a value"))?;
        match word.as_str() {
            "--size" => parsed.amount = Amount::Bytes(size(value)?),
            "--connections" => parsed.amount = Amount::Connections(value.parse()?),
            "--seed" => parsed.seed = value.parse()?,
            "--output" => parsed.output.clone_from(value),
            "--format" if value == "pcap" => parsed.format = Format::Pcap,
            "--format" if value == "pcapng" => parsed.format = Format::Pcapng,
            _ => return Err(format!("{word} {value}: not understood; --help says what is").into()),
        }
    }
    Ok(parsed)
}

fn size(text: &str) -> Result<u64, Box<dyn Error>> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or("") {
        "" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => return Err(format!("{other}: no unit; take KB, MB or GB").into()),
    };
    Ok(digits
        .parse::<u64>()?
        .checked_mul(unit)
        .ok_or("too large")?)
}

fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let mut writer: Box<dyn Write> = if args.output == "-" {
        Box::new(io::stdout().lock())
    } else {
        Box::new(File::create(&args.output).map_err(|error| format!("{}: {error}", args.output))?)
    };
    let written = traffic::write(args.mix, args.amount, args.seed, args.format, &mut writer)?;
    eprintln!(
        "{}: {} packets, {} bytes, {} handshakes",
        args.mix.name, written.packets, written.bytes, written.handshakes
    );
    Ok(())
}
