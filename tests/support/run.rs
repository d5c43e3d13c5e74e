//! Runs the library as the command line does, without a process for each capture.

use super::packets::Packet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use tlscope::{
    error::Error,
    findings::Diagnosis,
    pipeline::{self, Input, Options, Progress},
    record::{Finding, Handshake},
    report::{REPORTS, View},
    stats::Summary,
};

/// What a run gave.
pub(crate) struct Run {
    /// Records that are shown.
    pub(crate) records: Vec<Handshake>,
    /// Those and the others, which only feed the surveys.
    pub(crate) all: Vec<Handshake>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) summary: Summary,
    pub(crate) errors: Vec<Error>,
    /// The NDJSON report; time and version of the program left out.
    pub(crate) ndjson: String,
}

impl Run {
    /// The one record that there must be.
    #[track_caller]
    pub(crate) fn only(&self) -> &Handshake {
        assert_eq!(self.records.len(), 1, "{}", self.ndjson);
        &self.records[0]
    }

    /// How often something was passed over for this reason.
    pub(crate) fn skipped(&self, why: &str) -> u64 {
        self.summary.skipped.get(why).copied().unwrap_or(0)
    }

    /// Finding ids with the number of handshakes behind them.
    pub(crate) fn finding_counts(&self) -> Vec<(&str, u64)> {
        self.findings
            .iter()
            .map(|finding| (&*finding.id, finding.count))
            .collect()
    }
}

/// Options of a run that takes one thread and the default limits.
pub(crate) fn options() -> Options {
    Options::default()
}

/// Runs over files.
pub(crate) fn files(paths: &[PathBuf], options: &Options) -> Run {
    let inputs: Vec<Input> = paths.iter().cloned().map(Input::File).collect();
    inputs_with(&inputs, options)
}

/// Runs over inputs.
pub(crate) fn inputs_with(inputs: &[Input], options: &Options) -> Run {
    let format = REPORTS
        .iter()
        .find(|format| format.name == "ndjson")
        .unwrap();
    let options = Options {
        threads: options.threads,
        limits: options.limits.clone(),
        all_connections: options.all_connections,
        tls_ports: options.tls_ports.clone(),
        settings: options.settings.clone(),
        render: format.render,
        keep_handshakes: options.keep_handshakes,
        hand_names_over_ns: options.hand_names_over_ns,
        keep_der: options.keep_der,
        follow: options.follow.clone(),
        secrets: options.secrets.clone(),
        look_for_secrets: options.look_for_secrets.clone(),
    };
    let mut diagnosis = Diagnosis::new(&options.settings);
    let mut report = (format.new)(View::default());
    let (mut records, mut all, mut out) = (Vec::new(), Vec::new(), Vec::new());
    let progress = Progress::default();
    let (mut summary, errors) = pipeline::run(inputs, &options, &progress, &mut |taken| {
        diagnosis.add(taken.record);
        all.push(taken.record.clone());
        if taken.shown {
            report.record(taken.record, taken.line, &mut out)?;
            records.push(taken.record.clone());
        }
        Ok(())
    })
    .unwrap();
    if let Some(dns) = &summary.dns {
        diagnosis.dns(dns);
    }
    let findings = diagnosis.finish();
    for finding in &findings {
        *summary
            .by_finding
            .entry(finding.id.to_string())
            .or_default() += 1;
    }
    report.finish(&findings, &summary, &mut out).unwrap();
    Run {
        records,
        all,
        findings,
        summary,
        errors,
        ndjson: String::from_utf8(out).unwrap(),
    }
}

/// Runs over the bytes of a capture file.
pub(crate) fn bytes(bytes: &[u8], options: &Options) -> Run {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = std::env::temp_dir().join(format!(
        "tlscope-run-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    std::fs::write(&path, bytes).unwrap();
    let run = files(std::slice::from_ref(&path), options);
    std::fs::remove_file(&path).unwrap();
    run
}

/// Runs over packets, as a pcap file of Ethernet frames.
pub(crate) fn packets(packets: &[Packet]) -> Run {
    packets_with(packets, &options())
}

/// The same with other options.
pub(crate) fn packets_with(packets: &[Packet], options: &Options) -> Run {
    bytes(&super::files::Pcap::default().write(packets), options)
}
