//! What all commands that make a report have in common: its format, its place, its language, and the exit code.

use super::{config, lang::Language, output::Output};
use anyhow::{Context, bail};
use clap::{
    ColorChoice,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::{Path, PathBuf},
};
use tlscope::{
    findings::{Baseline, Diagnosis, Lang, Settings},
    limits::Limits,
    record::{Finding, Line, Severity},
    report::{FORGOTTEN, Format, HITS_BEYOND_CAP, REPORTS, View},
    stats::Summary,
};

/// Narrower than this, tables can't be read.
const WIDTH_MIN: usize = 60;
/// For a pipe, or a terminal that does not say.
const WIDTH: usize = 80;

/// How to report.
#[derive(clap::Args)]
pub(crate) struct Reporting {
    /// How to write the report
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = format_parser())]
    pub(crate) format: &'static Format,

    /// Write the report to this file; it appears when it is whole
    ///
    /// The report is written under a temporary name in the same folder and renamed at the end. If that can't be
    /// done, or no capture could be read, nothing is left of it, and a file that was there before stays as it was.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Exit with 1 if a finding is at least this bad
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Error)]
    pub(crate) fail_on: FailOn,

    /// Say nothing but findings: no summary, no tables, no progress
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Show every row and all evidence
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// When to use colours
    ///
    /// `auto` means: on a terminal, unless NO_COLOR or CLICOLOR=0 is set.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,

    /// Language of the findings and of the text report [default: that of the locale]
    ///
    /// Japanese where LC_ALL, LC_MESSAGES or LANG begins with `ja`, else English. Ids, keys and values are the same in
    /// both.
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,

    /// Read thresholds, farms, proxies and ports from this file
    ///
    /// `tlscope config --default` prints one with all keys and a word about each.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,

    /// Say which certificates changed since this earlier run
    ///
    /// Saved records of it: `tlscope analyze --format ndjson --output before.ndjson …`. Certificates are compared by name
    /// and server, as far as both runs show them (TLS 1.2 and below, or with secrets).
    #[arg(long, value_name = "FILE.ndjson")]
    pub(crate) baseline: Option<PathBuf>,
}

impl Reporting {
    /// The settings of the configuration file, in the language that is wanted.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        config::load(self.config.as_deref(), self.lang)
    }

    /// What the earlier run showed; empty where none is named.
    pub(crate) fn baseline(&self) -> anyhow::Result<Baseline> {
        let mut baseline = Baseline::default();
        let Some(path) = &self.baseline else {
            return Ok(baseline);
        };
        let name = path.display();
        let file = File::open(path).with_context(|| format!("{name}"))?;
        let mut handshakes = 0_u64;
        for line in BufReader::with_capacity(1 << 20, file).split(b'\n') {
            let line = line.with_context(|| format!("{name}"))?;
            if let Ok(Line::Handshake(record)) = serde_json::from_slice(&line) {
                handshakes += 1;
                baseline.add(&record);
            }
        }
        if handshakes == 0 {
            bail!("{name}: holds no handshakes: is this the output of tlscope --format ndjson?");
        }
        if baseline.beyond_cap() > 0 {
            let beyond = baseline.beyond_cap();
            super::say(&format!(
                "{name}: no room to compare {beyond} of {handshakes} handshakes"
            ));
        }
        Ok(baseline)
    }

    /// Opens the output before anything is read, so that a wrong name costs no time.
    pub(crate) fn open(&self, inputs: &[&Path], lang: Lang) -> anyhow::Result<(Output, View)> {
        let path = self
            .output
            .as_deref()
            .filter(|path| path.as_os_str() != "-");
        let terminal = path.is_none() && io::stdout().is_terminal();
        let colour = wants_colour(self.color, terminal);
        let view = View {
            width: if terminal { terminal_width() } else { WIDTH },
            colour,
            terminal,
            all_rows: self.verbose,
            findings_only: self.quiet,
            lang,
        };
        let output = match path {
            None => Output::stdout(colour && !self.format.streams),
            Some(path) => {
                if inputs.iter().any(|input| is_same_file(input, path)) {
                    bail!(
                        "{}: is to be read; --output would replace it",
                        path.display()
                    );
                }
                Output::file(path)?
            }
        };
        Ok((output, view))
    }
}

/// Whether standard output gets colours.
pub(crate) fn wants_colour(choice: ColorChoice, terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
        }
    }
}

/// Columns of the terminal, as far as tables can live with them.
pub(crate) fn terminal_width() -> usize {
    terminal_size::terminal_size()
        .map_or(WIDTH, |(width, _)| usize::from(width.0))
        .max(WIDTH_MIN)
}

fn is_same_file(input: &Path, output: &Path) -> bool {
    match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    }
}

/// Memory where nothing else is said: 512 MiB.
const MEMORY_BYTES: usize = 512 << 20;

/// Divides what the program may take between what it remembers for findings, a quarter at most, and the connections
/// under way.
pub(crate) fn share_memory(memory: Option<usize>, settings: &mut Settings) -> Limits {
    let memory = memory.unwrap_or(MEMORY_BYTES);
    settings.history_bytes_max = settings.history_bytes_max.min(memory / 4);
    Limits {
        flow_memory_bytes_max: memory - settings.history_bytes_max,
        ..Limits::default()
    }
}

/// Ends a diagnosis: its findings, counted in the summary.
pub(crate) fn conclude(mut diagnosis: Diagnosis, summary: &mut Summary) -> Vec<Finding> {
    if let Some(dns) = &summary.dns {
        diagnosis.dns(dns);
    }
    let lacking = [
        (HITS_BEYOND_CAP, diagnosis.hits_beyond_cap()),
        (FORGOTTEN, diagnosis.handshakes_forgotten()),
    ];
    for (key, count) in lacking.into_iter().filter(|(_, count)| *count > 0) {
        summary.skipped.insert(key.to_owned(), count);
    }
    let findings = diagnosis.finish();
    for finding in &findings {
        let count = summary.by_finding.entry(finding.id.to_string());
        *count.or_default() += 1;
    }
    findings
}

/// From which severity on findings make the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FailOn {
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
    /// Whether a finding is as bad.
    pub(crate) fn is_met_by(self, findings: &[Finding]) -> bool {
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
pub(crate) fn format_parser() -> impl TypedValueParser<Value = &'static Format> {
    let names = REPORTS
        .iter()
        .map(|format| PossibleValue::new(format.name).help(format.about));
    PossibleValuesParser::new(names).try_map(|name| {
        let format = REPORTS.iter().find(|format| format.name == name);
        format.ok_or("no such format")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        args: Reporting,
    }

    fn parse(arguments: &[&str]) -> Result<Reporting, clap::Error> {
        let all = ["tlscope"].iter().chain(arguments);
        Wrapper::try_parse_from(all).map(|wrapper| wrapper.args)
    }

    #[test]
    fn defaults_are_those_of_the_tables() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.format.name, REPORTS[0].name);
        assert_eq!(args.fail_on, FailOn::Error);
    }

    #[test]
    fn every_format_can_be_asked_for() {
        for format in REPORTS {
            let args = parse(&["--format", format.name]).unwrap();
            assert_eq!(args.format.name, format.name);
        }
        assert!(parse(&["--format", "xml"]).is_err());
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
    fn memory_is_shared_so_that_the_sum_stays_within_it() {
        for memory in [None, Some(8 << 20), Some(4 << 30)] {
            let mut settings = Settings::default();
            let limits = share_memory(memory, &mut settings);
            let sum = limits.flow_memory_bytes_max + settings.history_bytes_max;
            assert_eq!(sum, memory.unwrap_or(MEMORY_BYTES));
            assert!(settings.history_bytes_max <= Settings::default().history_bytes_max);
        }
    }

    #[test]
    fn an_output_never_replaces_what_is_read() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let around = concat!(env!("CARGO_MANIFEST_DIR"), "/src/../Cargo.toml");
        let args = parse(&["-o", around]).unwrap();
        let error = args.open(&[Path::new(manifest)], Lang::En).err().unwrap();
        assert!(error.to_string().contains("would replace it"), "{error}");
    }
}
