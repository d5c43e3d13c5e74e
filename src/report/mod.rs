//! Stage 8: records and findings become text, NDJSON or JSON.
//!
//! A report is told of each record as it is known, and of the findings and the summary at the end. What is costly
//! and the same for each record (turning it into bytes) is a plain function that runs in the shards' threads; the
//! report itself only puts the bytes in their place. Reports write to what they are given: they open no files, know
//! no terminal, and hold an amount of memory that does not grow with the capture.

mod fast;
mod finding_line;
mod json;
mod json_string;
mod ndjson;
pub mod sanitize;

#[cfg(feature = "cli")]
mod layout;
#[cfg(feature = "cli")]
mod tables;
#[cfg(feature = "cli")]
mod text;
#[cfg(feature = "cli")]
mod words;

#[cfg(test)]
mod sample;

use crate::{
    findings::Lang,
    record::{Finding, Handshake},
    stats::Summary,
};
use std::io::{self, Write};

/// All output formats; the first one is the default. Help, argument parsing and tests walk this table.
pub static REPORTS: &[Format] = &[
    #[cfg(feature = "cli")]
    Format {
        name: "text",
        about: "for people: findings first, then servers, clients and names",
        streams: false,
        render: None,
        new: text::new,
    },
    Format {
        name: "ndjson",
        about: "one JSON object a line, as soon as it is known",
        streams: true,
        render: Some(ndjson::render),
        new: ndjson::new,
    },
    Format {
        name: "json",
        about: "one JSON document",
        streams: true,
        render: Some(json::render),
        new: json::new,
    },
];

/// Key under which [`Summary::skipped`] counts handshakes with a finding for which the diagnosis had no room.
pub const HITS_BEYOND_CAP: &str = "findings_beyond_cap";
/// Key under which [`Summary::skipped`] counts handshakes that were no longer there to be compared at the end.
pub const FORGOTTEN: &str = "handshakes_forgotten";

/// An output format.
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is good for, in one line.
    pub about: &'static str,
    /// Records are written as they come, not only at the end.
    pub streams: bool,
    /// Turns one record into bytes; safe to run in any thread. None: the report wants the record alone.
    pub render: Option<fn(&Handshake, &mut Vec<u8>)>,
    /// Begins a report.
    pub new: fn(View) -> Box<dyn Report>,
}

/// A report in the making.
pub trait Report {
    /// Takes the next record and the bytes that [`Format::render`] made of it.
    fn record(
        &mut self,
        record: &Handshake,
        rendered: &[u8],
        out: &mut dyn Write,
    ) -> io::Result<()>;

    /// Takes a connection that is not shown; `false` where there is no room for it. Only a format that is read back keeps
    /// them.
    fn unlisted(&mut self, _record: &Handshake) -> bool {
        true
    }

    /// Takes a finding that begins, changed or ended while interfaces are watched. Formats without lines have no place
    /// for it.
    fn news(&mut self, _finding: &Finding, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    /// Writes what comes after the last record. `findings` come worst first.
    fn finish(
        &mut self,
        findings: &[Finding],
        summary: &Summary,
        out: &mut dyn Write,
    ) -> io::Result<()>;
}

/// How a report is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Columns that a line of text may take.
    pub width: usize,
    /// Use colours.
    pub colour: bool,
    /// A terminal reads along: it must get no control characters from the wire.
    pub terminal: bool,
    /// Show every row and every piece of evidence.
    pub all_rows: bool,
    /// Show the findings and nothing else (text only).
    pub findings_only: bool,
    /// Language of the report's own words (text only); findings come in their own.
    pub lang: Lang,
}

impl Default for View {
    /// A pipe of 80 columns.
    fn default() -> Self {
        Self {
            width: 80,
            colour: false,
            terminal: false,
            all_rows: false,
            findings_only: false,
            lang: Lang::En,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_words_with_a_line_of_help() {
        for (index, format) in REPORTS.iter().enumerate() {
            assert!(format.name.bytes().all(|byte| byte.is_ascii_lowercase()));
            assert!(!format.about.is_empty() && !format.about.contains('\n'));
            assert!(
                REPORTS
                    .iter()
                    .skip(index + 1)
                    .all(|other| other.name != format.name)
            );
        }
    }

    #[test]
    fn a_format_that_streams_knows_how_to_render() {
        assert!(
            REPORTS
                .iter()
                .all(|format| format.streams == format.render.is_some())
        );
    }
}
