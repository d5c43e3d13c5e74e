//! `tlscope analyze`, also without that word: captures in, report out.

use super::{
    exit::Exit,
    inputs::{self, Inputs},
    interrupt,
    lang::{self, Language},
    output::Output,
    progress::Bar,
    say, size,
};
use anyhow::{Context, bail};
use clap::{
    ColorChoice,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Instant,
};
use tlscope::{
    error::Error,
    findings::{Diagnosis, Lang, Settings},
    limits::Limits,
    pipeline::{self, Input, Options, Progress},
    record::{Finding, Severity},
    report::{Format, HITS_BEYOND_CAP, REPORTS, Report, View},
    stats::Summary,
};

/// Narrower than this, tables can't be read.
const WIDTH_MIN: usize = 60;
/// For a pipe, or a terminal that does not say.
const WIDTH: usize = 80;

/// What to read and how to report it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Captures (pcap, pcapng); - is standard input, a folder is all captures in it by time
    ///
    /// What a file is, its first bytes tell, not its name. Captures are read one after the other as one stream, so
    /// that a connection may begin in one and end in the next. Of a folder, those directly in it are read in the
    /// order of their first packet, which is right for a ring buffer of files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// How to write the report
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = format_parser())]
    format: &'static Format,

    /// Write the report to this file; it appears when it is whole
    ///
    /// The report is written under a temporary name in the same folder and renamed at the end. If that can't be
    /// done, or no capture could be read, nothing is left of it, and a file that was there before stays as it was.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Exit with 1 if a finding is at least this bad
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Error)]
    fail_on: FailOn,

    /// Record each TCP connection, not only those with TLS
    ///
    /// Without it, connections on which no TLS was seen are counted, and recorded only where the server's port is
    /// one on which TLS is usual (443, 636, 993, ...) or the server spoke TLS before.
    #[arg(long)]
    all_connections: bool,

    /// Say nothing but findings: no summary, no tables, no progress
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// Show every row and all evidence
    #[arg(short, long)]
    verbose: bool,

    /// When to use colours
    ///
    /// `auto` means: on a terminal, unless NO_COLOR or CLICOLOR=0 is set.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,

    /// Language of the findings and of the text report [default: that of the locale]
    ///
    /// Japanese where LC_ALL, LC_MESSAGES or LANG begins with `ja`, else English. Ids, keys and values are the same in
    /// both.
    #[arg(long, value_enum)]
    lang: Option<Language>,

    /// Threads to use [default: one for each processor]
    ///
    /// The report is the same, byte for byte, for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Memory for connections under way, such as 512MiB or 2G [default: 512MiB]
    ///
    /// At the limit the connections that were silent for longest are given up; the report says how many. The whole
    /// program takes some 20 MiB more.
    #[arg(long, value_name = "SIZE", value_parser = size::parse_memory)]
    memory: Option<usize>,
}

/// From which severity on findings make the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Broken
    Error,
    /// Breaks for some, or will break
    Warning,
    /// Any finding
    Info,
    /// Findings don't matter
    Never,
}

impl FailOn {
    fn is_met_by(self, findings: &[Finding]) -> bool {
        let least = match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Info => Severity::Info,
            Self::Never => return false,
        };
        findings.iter().any(|finding| finding.severity >= least)
    }
}

/// Accepts the names in [`REPORTS`].
fn format_parser() -> impl TypedValueParser<Value = &'static Format> {
    let names = REPORTS
        .iter()
        .map(|format| PossibleValue::new(format.name).help(format.about));
    PossibleValuesParser::new(names).try_map(|name| {
        let format = REPORTS.iter().find(|format| format.name == name);
        format.ok_or("no such format")
    })
}

/// Runs the analysis.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let Inputs {
        list,
        faults,
        notes,
    } = inputs::expand(&args.files);
    if !args.quiet {
        notes.iter().for_each(|note| say(note));
    }
    if list.is_empty() {
        faults.iter().for_each(|fault| say(fault));
        return Ok(Exit::Error);
    }
    let settings = Settings {
        lang: args.lang.map_or_else(lang::of_locale, Into::into),
        ..Settings::default()
    };
    let (output, view) = open_output(args, &list, settings.lang)?;
    let progress = Arc::new(Progress::default());
    interrupt::watch(progress.clone(), output.unfinished());
    let job = Job {
        args,
        settings,
        inputs: &list,
        view,
    };
    let (findings, errors) = analyse(&job, &progress, output)?;

    faults.iter().for_each(|fault| say(fault));
    errors.iter().for_each(|error| say(&inputs::words(error)));
    Ok(if progress.stop.load(Ordering::SeqCst) {
        Exit::Interrupted
    } else if !faults.is_empty() || !errors.is_empty() {
        Exit::Error
    } else if args.fail_on.is_met_by(&findings) {
        Exit::Findings
    } else {
        Exit::Fine
    })
}

/// What is to be done.
struct Job<'a> {
    args: &'a Args,
    settings: Settings,
    inputs: &'a [Input],
    view: View,
}

/// Opens the output before anything is read, so that a wrong name costs no time.
fn open_output(args: &Args, inputs: &[Input], lang: Lang) -> anyhow::Result<(Output, View)> {
    let path = args
        .output
        .as_deref()
        .filter(|path| path.as_os_str() != "-");
    let terminal = path.is_none() && io::stdout().is_terminal();
    let colour = match args.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
        }
    };
    let width = terminal
        .then(terminal_size::terminal_size)
        .flatten()
        .map_or(WIDTH, |(width, _)| usize::from(width.0));
    let view = View {
        width: width.max(WIDTH_MIN),
        colour,
        terminal,
        all_rows: args.verbose,
        findings_only: args.quiet,
        lang,
    };
    let output = match path {
        None => Output::stdout(colour && !args.format.streams),
        Some(path) => {
            if inputs.iter().any(|input| is_same_file(input, path)) {
                bail!(
                    "{}: is a capture to be read; --output would replace it",
                    path.display()
                );
            }
            Output::file(path)?
        }
    };
    Ok((output, view))
}

fn is_same_file(input: &Input, path: &Path) -> bool {
    match (input, path.canonicalize()) {
        (Input::File(file), Ok(path)) => file.canonicalize().is_ok_and(|file| file == path),
        _ => false,
    }
}

/// Reads the captures and writes the report, unless nothing could be read. Hands back the findings, and what was wrong with single files.
fn analyse(
    job: &Job<'_>,
    progress: &Arc<Progress>,
    mut output: Output,
) -> anyhow::Result<(Vec<Finding>, Vec<Error>)> {
    let started = Instant::now();
    let mut report = (job.args.format.new)(job.view);
    let mut diagnosis = Diagnosis::new(&job.settings);
    let (mut summary, errors) = read(job, progress, &mut output, &mut diagnosis, &mut *report)?;
    let beyond = diagnosis.hits_beyond_cap();
    if beyond > 0 {
        summary.skipped.insert(HITS_BEYOND_CAP.to_owned(), beyond);
    }
    let findings = diagnosis.finish();
    for finding in &findings {
        *summary
            .by_finding
            .entry(finding.id.to_string())
            .or_default() += 1;
    }
    summary.elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    env!("CARGO_PKG_VERSION").clone_into(&mut summary.version);

    let nothing_read = summary.packets == 0 && errors.len() >= job.inputs.len();
    if !nothing_read {
        let finished = report.finish(&findings, &summary, &mut output);
        finished.map_err(|error| output.fault(error))?;
        output.finish()?;
    }
    Ok((findings, errors))
}

/// Runs the pipeline, with a progress bar where someone looks.
fn read(
    job: &Job<'_>,
    progress: &Arc<Progress>,
    output: &mut Output,
    diagnosis: &mut Diagnosis,
    report: &mut dyn Report,
) -> anyhow::Result<(Summary, Vec<Error>)> {
    let Job {
        args, inputs, view, ..
    } = *job;
    let mut limits = Limits::default();
    if let Some(bytes) = args.memory {
        limits.flow_memory_bytes_max = bytes;
    }
    let options = Options {
        threads: threads(args.threads),
        limits,
        all_connections: args.all_connections,
        settings: job.settings.clone(),
        render: args.format.render,
        ..Options::default()
    };
    // Lines that stream onto the same terminal are progress enough, and the bar would be written into them.
    let streams_to_eyes = args.format.streams && view.terminal;
    let bar = (!args.quiet && !streams_to_eyes && io::stderr().is_terminal())
        .then(|| Bar::start(inputs, progress.clone()));
    // What comes through a pipe may take hours: each record is passed on as soon as it is known.
    let at_once = args.format.streams && inputs.iter().any(|input| matches!(input, Input::Stdin));

    let mut write_failed = false;
    let result = pipeline::run(inputs, &options, progress, &mut |taken| {
        diagnosis.add(&taken.record);
        if !taken.shown {
            return Ok(());
        }
        let written = report
            .record(&taken.record, taken.line, output)
            .and_then(|()| if at_once { output.flush() } else { Ok(()) });
        write_failed |= written.is_err();
        written
    });
    drop(bar);
    match result {
        Ok(done) => Ok(done),
        Err(error) if write_failed => Err(output.fault(error)),
        Err(error) => Err(error).context("the captures could not be read"),
    }
}

fn threads(wanted: Option<u16>) -> usize {
    match wanted {
        Some(number) => usize::from(number),
        None => thread::available_parallelism().map_or(1, usize::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        args: Args,
    }

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        let all = ["tlscope"].iter().chain(arguments);
        Wrapper::try_parse_from(all).map(|wrapper| wrapper.args)
    }

    #[test]
    fn defaults_are_those_of_the_tables() {
        let args = parse(&["a.pcap"]).unwrap();
        assert_eq!(args.format.name, REPORTS[0].name);
        assert_eq!(args.fail_on, FailOn::Error);
        assert_eq!((args.threads, args.memory), (None, None));
        assert!(threads(args.threads) >= 1);
        let memory = Limits::default().flow_memory_bytes_max;
        assert_eq!(size::parse("512MiB"), Ok(memory), "the help says so");
    }

    #[test]
    fn every_format_can_be_asked_for() {
        for format in REPORTS {
            let args = parse(&["a.pcap", "--format", format.name]).unwrap();
            assert_eq!(args.format.name, format.name);
        }
        assert!(parse(&["a.pcap", "--format", "xml"]).is_err());
    }

    #[test]
    fn findings_count_from_the_severity_that_was_asked_for() {
        let finding = |severity: &str| -> Finding {
            serde_json::from_value(serde_json::json!({
                "id": "x", "severity": severity, "scope": "server", "confidence": "certain", "title": "", "subject": "",
                "evidence": [], "count": 1, "first_seen": "2026-11-20T10:00:00Z", "last_seen": "2026-11-20T10:00:00Z",
                "affects": [], "remediation": [], "reference": "",
            }))
            .unwrap()
        };
        let met = |severity| {
            let found = [finding("info"), finding(severity)];
            [FailOn::Error, FailOn::Warning, FailOn::Info, FailOn::Never]
                .map(|fail_on| fail_on.is_met_by(&found))
        };
        assert_eq!(met("error"), [true, true, true, false]);
        assert_eq!(met("warning"), [false, true, true, false]);
        assert_eq!(met("info"), [false, false, true, false]);
        assert!(!FailOn::Info.is_met_by(&[]));
    }

    #[test]
    fn limits_have_no_zero() {
        assert!(parse(&["a.pcap", "--threads", "0"]).is_err());
        assert!(parse(&["a.pcap", "--memory", "0"]).is_err());
        assert_eq!(
            parse(&["a.pcap", "--memory", "2G"]).unwrap().memory,
            Some(2 << 30)
        );
    }

    #[test]
    fn an_output_never_replaces_its_capture() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let around = concat!(env!("CARGO_MANIFEST_DIR"), "/src/../Cargo.toml");
        let args = parse(&[manifest, "-o", around]).unwrap();
        let inputs = [Input::File(manifest.into())];
        let error = open_output(&args, &inputs).err().unwrap();
        assert!(error.to_string().contains("would replace it"), "{error}");
    }
}
