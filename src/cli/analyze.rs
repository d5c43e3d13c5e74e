//! `tlscope analyze`, also without that word: captures in, report out.

use super::{
    exit::Exit,
    inputs::{self, Inputs},
    interrupt,
    keylog::KeyLogs,
    output::Output,
    progress::Bar,
    reporting::{self, Reporting},
    say, size,
};
use anyhow::Context;
use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Instant,
};
use tlscope::{
    error::Error,
    findings::{Baseline, Diagnosis, Settings},
    limits::Limits,
    pipeline::{self, Input, Options, Progress},
    record::Finding,
    report::{Report, View},
    stats::Summary,
    tls::keylog::Secrets,
};

/// What to read and how to report it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Captures, folders and patterns of them; - is standard input
    ///
    /// What a file is, its first bytes tell, not its name: pcap, pcapng, Windows event traces (netsh trace, pktmon:
    /// .etl), Network Monitor (.cap), each also as gzip, zstd, lz4, xz or bzip2. A folder stands for the
    /// captures directly in it, a pattern such as 'ring*.pcapng' for the files that it matches, also where the shell
    /// does not expand it. All are read in the order of their first packet as one stream, so that a connection may begin
    /// in one file of a ring buffer and end in the next. Standard input is read last; Network Monitor's captures need a
    /// file.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Analyse each capture alone: a report for each, one after the other
    ///
    /// Connections that span two files are then cut. The exit code is that of the worst.
    #[arg(long)]
    each: bool,

    /// Go on reading as the captures grow and rotate, until Ctrl-C
    ///
    /// As `tail -F` does: what is written behind the end is read as it comes, a file that is exchanged under its name is
    /// read to its end and then the new one, and the newest files of a folder or a pattern join. Files that are not
    /// there yet are waited for. With --format ndjson each handshake is printed as soon as it is known; findings
    /// come at the end. Compressed captures, event traces and Network Monitor's are read as they are.
    #[arg(long, conflicts_with = "each")]
    follow: bool,

    #[command(flatten)]
    reporting: Reporting,

    #[command(flatten)]
    keys: KeyLogs,

    /// Record each TCP connection, not only those with TLS
    ///
    /// Without it, connections on which no TLS was seen are counted, and recorded only where the server's port is
    /// one on which TLS is usual (443, 636, 993, ...) or the server spoke TLS before.
    #[arg(long)]
    all_connections: bool,

    /// Threads to use [default: one for each processor]
    ///
    /// The report is the same, byte for byte, for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Memory to take at most, such as 512MiB or 2G [default: 512MiB]
    ///
    /// A quarter at most is for what findings rest on, the rest for connections under way. At the limit the connections
    /// that were silent for longest are given up, and the oldest handshakes no longer compared; the report says how many.
    /// The program itself takes some 20 MiB more.
    #[arg(long, value_name = "SIZE", value_parser = size::parse_memory)]
    memory: Option<usize>,
}

/// Runs the analysis.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let Inputs {
        list,
        faults,
        notes,
    } = inputs::expand(&args.files, args.follow);
    if !args.reporting.quiet {
        notes.iter().for_each(|note| say(note));
    }
    if list.is_empty() && !args.follow {
        faults.iter().for_each(|fault| say(fault));
        return Ok(Exit::Error);
    }
    let mut settings = args.reporting.settings()?;
    let baseline = args.reporting.baseline()?;
    let limits = reporting::share_memory(args.memory, &mut settings);
    let secrets = match args.follow {
        true => Arc::default(), // read as they come
        false => args.keys.read(&limits, args.reporting.quiet)?,
    };
    let names: Vec<&Path> = list.iter().filter_map(file_of).collect();
    let (mut output, view) = args.reporting.open(&names, settings.lang)?;
    let progress = Arc::new(Progress::default());
    interrupt::watch(progress.clone(), output.unfinished());
    let mut done = Done::default();
    for inputs in parts(args, &list) {
        let job = Job {
            args,
            settings: settings.clone(),
            baseline: &baseline,
            limits: limits.clone(),
            inputs,
            secrets: Arc::clone(&secrets),
            view,
        };
        progress.bytes.store(0, Ordering::Relaxed);
        analyse(&job, &progress, &mut output, &mut done)?;
        if progress.stop.load(Ordering::SeqCst) {
            break;
        }
    }
    if done.written {
        output.finish()?;
    }
    let Done {
        findings, errors, ..
    } = done;

    faults.iter().for_each(|fault| say(fault));
    errors.iter().for_each(|error| say(&inputs::words(error)));
    Ok(if progress.stop.load(Ordering::SeqCst) {
        Exit::Interrupted
    } else if !faults.is_empty() || !errors.is_empty() {
        Exit::Error
    } else if args.reporting.fail_on.is_met_by(&findings) {
        Exit::Findings
    } else {
        Exit::Fine
    })
}

/// What is reported together.
fn parts<'a>(args: &Args, list: &'a [Input]) -> Vec<&'a [Input]> {
    if args.each {
        list.chunks(1).collect()
    } else {
        vec![list]
    }
}

fn file_of(input: &Input) -> Option<&Path> {
    match input {
        Input::File(path) => Some(path),
        Input::Stdin => None,
    }
}

/// What is to be done.
struct Job<'a> {
    args: &'a Args,
    settings: Settings,
    baseline: &'a Baseline,
    limits: Limits,
    inputs: &'a [Input],
    secrets: Arc<Secrets>,
    view: View,
}

/// What came of it.
#[derive(Default)]
struct Done {
    findings: Vec<Finding>,
    /// What was wrong with single files.
    errors: Vec<Error>,
    /// There is a report.
    written: bool,
}

/// Reads the captures and writes the report, unless nothing could be read.
fn analyse(
    job: &Job<'_>,
    progress: &Arc<Progress>,
    output: &mut Output,
    done: &mut Done,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut report = (job.args.reporting.format.new)(job.view);
    let mut diagnosis = Diagnosis::new(&job.settings);
    diagnosis.compare_with(job.baseline);
    let (mut summary, errors) = read(job, progress, output, &mut diagnosis, &mut *report)?;
    let findings = reporting::conclude(diagnosis, &mut summary);
    summary.elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    env!("CARGO_PKG_VERSION").clone_into(&mut summary.version);

    let nothing_read = summary.packets == 0 && errors.len() >= job.inputs.len();
    if !nothing_read || job.args.follow {
        if done.written && !job.args.reporting.format.streams && !job.args.reporting.quiet {
            writeln!(output).map_err(|error| output.fault(error))?;
        }
        let finished = report.finish(&findings, &summary, output);
        finished.map_err(|error| output.fault(error))?;
        done.written = true;
    }
    done.findings.extend(findings);
    done.errors.extend(errors);
    Ok(())
}

/// Runs the pipeline, with a progress bar where someone looks.
fn read(
    job: &Job<'_>,
    progress: &Arc<Progress>,
    output: &mut Output,
    diagnosis: &mut Diagnosis,
    report: &mut dyn Report,
) -> anyhow::Result<(Summary, Vec<Error>)> {
    let &Job {
        args,
        inputs,
        view,
        ref secrets,
        ..
    } = job;
    let options = Options {
        tls_ports: job.settings.tls_ports.clone(),
        threads: threads(args.threads),
        limits: job.limits.clone(),
        all_connections: args.all_connections,
        settings: job.settings.clone(),
        render: args.reporting.format.render,
        secrets: Arc::clone(secrets),
        follow: args.follow.then(|| inputs::lister(&args.files)),
        look_for_secrets: match args.follow {
            true => args.keys.growing(secrets, &job.limits)?,
            false => None,
        },
        ..Options::default()
    };
    // Lines that stream onto the same terminal are progress enough, and the bar would be written into them.
    let streams_to_eyes = args.reporting.format.streams && view.terminal;
    let bar = (!args.reporting.quiet && !streams_to_eyes && io::stderr().is_terminal())
        .then(|| Bar::start(inputs, args.follow, progress.clone()));
    // What comes through a pipe may take hours: each record is passed on as soon as it is known.
    let endless = args.follow || inputs.iter().any(|input| matches!(input, Input::Stdin));
    let at_once = args.reporting.format.streams && endless;

    let mut write_failed = false;
    let mut beyond_cap = 0_u64;
    let result = pipeline::run(inputs, &options, progress, &mut |taken| {
        diagnosis.add_judged(taken.record, &taken.verdicts);
        if !taken.shown {
            beyond_cap += u64::from(!report.unlisted(taken.record));
            return Ok(());
        }
        let written = report
            .record(taken.record, taken.line, output)
            .and_then(|()| if at_once { output.flush() } else { Ok(()) });
        write_failed |= written.is_err();
        written
    });
    drop(bar);
    match result {
        Ok((mut summary, errors)) => {
            summary.count_beyond_cap(beyond_cap);
            Ok((summary, errors))
        }
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
        assert_eq!((args.threads, args.memory), (None, None));
        assert!(threads(args.threads) >= 1);
        let mut settings = Settings::default();
        let limits = reporting::share_memory(None, &mut settings);
        let memory = limits.flow_memory_bytes_max + settings.history_bytes_max;
        assert_eq!(size::parse("512MiB"), Ok(memory), "the help says so");
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
}
