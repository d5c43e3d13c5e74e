//! One JSON object a line, each with its `type`; the promise that other programs build on (`tlscope schema`).

use super::{Report, View, fast, finding_line, sanitize};
use crate::{
    record::{Finding, Handshake},
    stats::Summary,
};
use serde::Serialize;
use std::io::{self, Write};

/// [`crate::record::Line`], borrowed.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<'a> {
    #[allow(dead_code)] // tests hold the fast line against it
    Handshake(&'a Handshake),
    #[allow(dead_code)] // as above
    Finding(&'a Finding),
    Summary(&'a Summary),
}

/// Appends the record's line.
pub(super) fn render(record: &Handshake, out: &mut Vec<u8>) {
    fast::handshake(record, out);
    out.push(b'\n');
}

/// The same line without its end, by serde alone: what the fast one is held against.
#[cfg(test)]
pub(super) fn render_by_serde(record: &Handshake, out: &mut Vec<u8>) {
    append(&Line::Handshake(record), out);
}

/// As above, of a finding.
#[cfg(test)]
pub(super) fn finding_by_serde(finding: &Finding, out: &mut Vec<u8>) {
    append(&Line::Finding(finding), out);
}

/// Appends a value as JSON.
pub(super) fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Neither can fail: a Vec takes all bytes, and all keys of our types are strings.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}

pub(super) fn new(view: View) -> Box<dyn Report> {
    Box::new(Ndjson {
        view,
        unlisted: Vec::new(),
        room: UNLISTED_MAX,
    })
}

/// Connections that a summary holds as records at most.
const UNLISTED_MAX: usize = 10_000;
/// Bytes of them at most, so that the line can be read back.
const UNLISTED_BYTES_MAX: usize = 16 << 20;

struct Ndjson {
    view: View,
    /// Connections without lines, as JSON objects with commas between.
    unlisted: Vec<u8>,
    /// For so many more there is room.
    room: usize,
}

impl Ndjson {
    fn finding(
        &self,
        finding: &Finding,
        line: &mut Vec<u8>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        line.clear();
        finding_line::finding(finding, line);
        line.push(b'\n');
        write(line, self.view, out)
    }

    /// Adds the connections without lines to a summary.
    fn put_unlisted(&self, line: &mut Vec<u8>) {
        if !self.unlisted.is_empty() && line.pop() == Some(b'}') {
            line.extend_from_slice(b",\"unlisted\":[");
            line.extend_from_slice(&self.unlisted);
            line.extend_from_slice(b"]}");
        }
    }
}

/// Writes finished JSON, made safe where a terminal reads along.
pub(super) fn write(json: &[u8], view: View, out: &mut dyn Write) -> io::Result<()> {
    if view.terminal {
        out.write_all(&sanitize::clean_json(json))
    } else {
        out.write_all(json)
    }
}

impl Report for Ndjson {
    fn record(
        &mut self,
        _record: &Handshake,
        rendered: &[u8],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        write(rendered, self.view, out)
    }

    fn unlisted(&mut self, record: &Handshake) -> bool {
        if self.room == 0 || self.unlisted.len() >= UNLISTED_BYTES_MAX {
            return false;
        }
        self.room -= 1;
        if !self.unlisted.is_empty() {
            self.unlisted.push(b',');
        }
        fast::bare(record, &mut self.unlisted);
        true
    }

    fn news(&mut self, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
        self.finding(finding, &mut Vec::new(), out)
    }

    fn finish(
        &mut self,
        findings: &[Finding],
        summary: &Summary,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut line = Vec::new();
        for finding in findings {
            self.finding(finding, &mut line, out)?;
        }
        line.clear();
        append(&Line::Summary(summary), &mut line);
        self.put_unlisted(&mut line);
        line.push(b'\n');
        write(&line, self.view, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record, report::sample};

    #[test]
    fn lines_read_back_as_what_they_were() {
        let (records, findings, summary) = sample::run();
        let mut out = Vec::new();
        let mut report = new(View::default());
        for record in &records {
            let mut rendered = Vec::new();
            render(record, &mut rendered);
            report.record(record, &rendered, &mut out).unwrap();
        }
        report.finish(&findings, &summary, &mut out).unwrap();

        let text = String::from_utf8(out).unwrap();
        let lines: Vec<record::Line> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let expected: Vec<record::Line> = records
            .into_iter()
            .map(|record| record::Line::Handshake(Box::new(record)))
            .chain(
                findings
                    .into_iter()
                    .map(|finding| record::Line::Finding(Box::new(finding))),
            )
            .chain([record::Line::Summary(Box::new(summary))])
            .collect();
        assert_eq!(lines, expected);
        assert!(
            text.lines()
                .all(|line| line.starts_with(r#"{"type":""#) && line.ends_with('}'))
        );
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let mut record = sample::established();
        record.client_hello.as_mut().unwrap().sni = Some("a\u{9b}31m\u{202e}b".into());
        let mut rendered = Vec::new();
        render(&record, &mut rendered);
        let mut out = Vec::new();
        let view = View {
            terminal: true,
            ..View::default()
        };
        new(view).record(&record, &rendered, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r#""sni":"a\u009b31m\u202eb""#), "{text}");
        let back: record::Line = serde_json::from_str(&text).unwrap();
        assert_eq!(back, record::Line::Handshake(Box::new(record)));
    }

    #[test]
    fn connections_without_lines_stand_in_the_summary_as_far_as_there_is_room() {
        let record = sample::established();
        let mut report = new(View::default());
        for _ in 0..UNLISTED_MAX {
            assert!(report.unlisted(&record));
        }
        assert!(!report.unlisted(&record));
        let mut out = Vec::new();
        report.finish(&[], &Summary::default(), &mut out).unwrap();
        let crate::record::Line::Summary(summary) = serde_json::from_slice(&out).unwrap() else {
            panic!("a line of another kind");
        };
        assert_eq!(summary.unlisted.len(), UNLISTED_MAX);
        assert_eq!(summary.unlisted[0], record);
    }
}
