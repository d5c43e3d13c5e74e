//! `tlscope diagnose`: saved records in, the same report out.

use super::{
    exit::Exit,
    output::Output,
    reporting::{self, Reporting},
    say,
};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    time::Instant,
};
use tlscope::{
    findings::{self, Diagnosis, Settings},
    record::{Finding, Handshake, Line},
    report::{FORGOTTEN, HITS_BEYOND_CAP, Report},
    stats::{CaptureSummary, Summary},
};

/// Longer lines are none of ours.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Bad lines that are told of one file.
const FAULTS_TOLD: usize = 5;

/// What to read and how to report it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Saved records (`--format ndjson`), also of several machines; - is standard input
    ///
    /// Findings are drawn anew, from all files together, as if their captures had been read in one run. Keep the last line
    /// of each file, the summary: it holds what findings need beside handshakes (DNS, and connections without TLS, up to
    /// 10,000; --all-connections saves all of them, also those of `tlscope live`).
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    reporting: Reporting,
}

/// Reads the records and reports.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let settings = args.reporting.settings()?;
    let names: Vec<&Path> = args.files.iter().map(PathBuf::as_path).collect();
    let (output, view) = args.reporting.open(&names, settings.lang)?;
    let mut reading = Reading {
        report: (args.reporting.format.new)(view),
        render: args.reporting.format.render,
        diagnosis: Diagnosis::new(&settings),
        settings,
        summary: Summary::default(),
        captures: BTreeSet::new(),
        output,
        faults: 0,
    };
    reading.diagnosis.compare_with(&args.reporting.baseline()?);
    for path in &args.files {
        reading.file(path)?;
    }
    let faults = reading.faults;
    let findings = reading.finish(started)?;
    Ok(if faults > 0 {
        Exit::Error
    } else if args.reporting.fail_on.is_met_by(&findings) {
        Exit::Findings
    } else {
        Exit::Fine
    })
}

/// Files on their way to a report.
struct Reading {
    report: Box<dyn Report>,
    render: Option<fn(&Handshake, &mut Vec<u8>)>,
    diagnosis: Diagnosis,
    settings: Settings,
    summary: Summary,
    /// Captures that records name.
    captures: BTreeSet<String>,
    output: Output,
    faults: u64,
}

impl Reading {
    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        if path.as_os_str() == "-" {
            if io::stdin().is_terminal() {
                self.fault("-: standard input is a terminal; pipe saved records into it");
                return Ok(());
            }
            return self.lines("standard input", &mut io::stdin().lock());
        }
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => self.lines(&name, &mut BufReader::with_capacity(1 << 20, file)),
            Err(error) => {
                self.fault(&format!("{name}: {error}"));
                Ok(())
            }
        }
    }

    fn fault(&mut self, words: &str) {
        self.faults += 1;
        say(words);
    }

    fn lines(&mut self, name: &str, source: &mut dyn BufRead) -> anyhow::Result<()> {
        let mut line = Vec::new();
        let (mut number, mut bad) = (0_u64, 0);
        loop {
            line.clear();
            let read = Read::take(&mut *source, LINE_BYTES_MAX).read_until(b'\n', &mut line);
            match read {
                Ok(0) => break,
                Ok(_) => number += 1,
                Err(error) => {
                    self.fault(&format!("{name}: line {}: {error}", number + 1));
                    break;
                }
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(line) => self.line(line)?,
                Err(error) => {
                    bad += 1;
                    if bad <= FAULTS_TOLD {
                        self.fault(&format!("{name}: line {number} {}", words(&line, &error)));
                    }
                }
            }
        }
        if bad > FAULTS_TOLD {
            let more = bad - FAULTS_TOLD;
            say(&format!(
                "{name}: and {more} more lines that are no records"
            ));
        }
        Ok(())
    }

    fn line(&mut self, line: Line) -> anyhow::Result<()> {
        match line {
            Line::Handshake(mut record) => {
                self.judge(&mut record);
                self.summary.count(&record);
                if !self.captures.contains(&*record.capture) {
                    self.captures.insert(record.capture.to_string());
                }
                let mut rendered = Vec::new();
                if let Some(render) = self.render {
                    render(&record, &mut rendered);
                }
                let written = self.report.record(&record, &rendered, &mut self.output);
                written.map_err(|error| self.output.fault(error))
            }
            Line::Finding(_) => Ok(()), // drawn anew
            Line::Summary(other) => {
                self.merge(*other);
                Ok(())
            }
        }
    }

    /// Judges a record anew.
    fn judge(&mut self, record: &mut Handshake) {
        record.findings.clear();
        let verdicts = findings::judge(record, &self.settings);
        self.diagnosis.add_judged(record, &verdicts);
    }

    /// Adds what a run said of its captures; handshakes and findings are counted anew.
    fn merge(&mut self, other: Summary) {
        let mut beyond_cap = 0;
        for mut record in other.unlisted {
            self.judge(&mut record);
            beyond_cap += u64::from(!self.report.unlisted(&record));
        }
        let summary = &mut self.summary;
        summary.count_beyond_cap(beyond_cap);
        summary.captures.extend(other.captures);
        summary.packets += other.packets;
        summary.bytes += other.bytes;
        summary.connections += other.connections;
        if let Some(dns) = other.dns {
            summary.dns.get_or_insert_default().merge(*dns);
        }
        if let Some(secrets) = other.secrets {
            // What they opened is counted with the records.
            summary.secrets.get_or_insert_default().known += secrets.known;
        }
        for (key, count) in other.skipped {
            // What a diagnosis lacked room for is counted anew by this one.
            if ![HITS_BEYOND_CAP, FORGOTTEN].contains(&key.as_str()) {
                *summary.skipped.entry(key).or_default() += count;
            }
        }
    }

    fn finish(mut self, started: Instant) -> anyhow::Result<Vec<Finding>> {
        let mut summary = self.summary;
        if let Some(dns) = &mut summary.dns {
            dns.settle();
        }
        // Lines that were picked out with another tool have no summary.
        for capture in &summary.captures {
            self.captures.remove(&capture.name);
        }
        summary
            .captures
            .extend(self.captures.into_iter().map(|name| CaptureSummary {
                name,
                ..CaptureSummary::default()
            }));
        let findings = reporting::conclude(self.diagnosis, &mut summary);
        summary.elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        env!("CARGO_PKG_VERSION").clone_into(&mut summary.version);
        let finished = self.report.finish(&findings, &summary, &mut self.output);
        finished.map_err(|error| self.output.fault(error))?;
        self.output.finish()?;
        Ok(findings)
    }
}

/// What is wrong with a line.
fn words(line: &[u8], error: &serde_json::Error) -> String {
    if !line.trim_ascii_start().starts_with(b"{") {
        return "is no JSON object: is this the output of tlscope --format ndjson?".to_owned();
    }
    if error.is_eof() {
        return "is cut off".to_owned();
    }
    format!("is no record: {error}")
}
