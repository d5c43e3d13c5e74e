//! The report for people: a summary, what is wrong and what to do, then tables, then what was not analysed.
//!
//! Whoever reads it has a problem now, so findings come first, the worst one at the top, each with the packets that
//! show it. All words from the wire go through [`super::sanitize`].

mod findings;
mod overview;

use super::{
    Report, View,
    layout::hang,
    sanitize::clean,
    tables::Tables,
    words::{self, Words, grouped},
};
use crate::{
    record::{Finding, Handshake, Outcome},
    stats::{CaptureSummary, Summary},
};
use anstyle::{AnsiColor, Style};
use std::io::{self, Write};

/// Names of captures that the summary shows.
const CAPTURES_SHOWN: usize = 5;

/// Longer lines of prose are hard to read; tables take the whole width.
const PROSE_WIDTH_MAX: usize = 100;

const HEADING: Style = Style::new().bold();

pub(super) fn new(view: View) -> Box<dyn Report> {
    Box::new(Text {
        view,
        tables: Tables::default(),
    })
}

struct Text {
    view: View,
    tables: Tables,
}

impl Report for Text {
    fn record(
        &mut self,
        record: &Handshake,
        _rendered: &[u8],
        _out: &mut dyn Write,
    ) -> io::Result<()> {
        if !self.view.findings_only {
            self.tables.add(record);
        }
        Ok(())
    }

    fn finish(
        &mut self,
        findings: &[Finding],
        summary: &Summary,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let captures = Captures::new(&summary.captures);
        let mut page = Page {
            view: self.view,
            words: words::of(self.view.lang),
            text: String::new(),
        };
        if self.view.findings_only {
            findings::write(findings, captures, &mut page);
        } else {
            summarise(summary, captures, &mut page);
            if findings.is_empty() {
                page.gap();
                page.line(page.words.say(verdict(summary)));
            } else {
                page.heading(&findings::heading(findings, page.words));
                findings::write(findings, captures, &mut page);
            }
            overview::write(&self.tables, captures, &mut page);
            passed_over(summary, &mut page);
        }
        out.write_all(page.text.as_bytes())
    }
}

/// The text so far, and how it is looked at.
struct Page {
    view: View,
    words: &'static Words,
    text: String,
}

impl Page {
    fn paint(&self, style: Style, text: &str) -> String {
        if self.view.colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn prose_width(&self) -> usize {
        self.view.width.min(PROSE_WIDTH_MAX)
    }

    /// A blank line, unless the page is still empty.
    fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn heading(&mut self, text: &str) {
        self.gap();
        let heading = self.paint(HEADING, text);
        self.text.push_str(&heading);
        self.text.push('\n');
    }

    fn line(&mut self, text: &str) {
        self.hang("", text);
    }

    fn hang(&mut self, first: &str, text: &str) {
        hang(
            first,
            text,
            self.view.width.min(PROSE_WIDTH_MAX),
            &mut self.text,
        );
    }

    /// As [`Page::hang`], with a colour for what stands in front.
    fn hang_painted(&mut self, style: Style, first: &str, text: &str) {
        let start = self.text.len();
        self.hang(first, text);
        let mark = first.trim_end();
        if self.view.colour
            && self
                .text
                .get(start..)
                .is_some_and(|new| new.starts_with(mark))
        {
            let painted = self.paint(style, mark);
            self.text.replace_range(start..start + mark.len(), &painted);
        }
    }
}

/// How captures are called: by their file name alone where that tells them apart.
#[derive(Clone, Copy)]
struct Captures {
    whole_paths: bool,
}

impl Captures {
    fn new(captures: &[CaptureSummary]) -> Self {
        let mut names: Vec<&str> = captures
            .iter()
            .map(|capture| file_name(&capture.name))
            .collect();
        names.sort_unstable();
        Self {
            whole_paths: names.windows(2).any(|pair| pair.first() == pair.last()),
        }
    }

    fn name(self, capture: &str) -> String {
        let name = if self.whole_paths {
            capture
        } else {
            file_name(capture)
        };
        clean(name).into_owned()
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Which captures, how much of what, and what of it is broken.
fn summarise(summary: &Summary, captures: Captures, page: &mut Page) {
    let words = page.words;
    let mut names: Vec<String> = summary
        .captures
        .iter()
        .take(CAPTURES_SHOWN)
        .map(|capture| captures.name(&capture.name))
        .collect();
    let more = summary.captures.len().saturating_sub(CAPTURES_SHOWN);
    if more > 0 {
        names.push(words.fill("summary.more_captures", &[("n", &grouped(more as u64))]));
    }
    let names = names.join(words.say("general.list"));
    let packets = words.count(summary.packets, "packet");
    let first = summary.captures.iter().filter_map(|c| c.first_packet).min();
    let last = summary.captures.iter().filter_map(|c| c.last_packet).max();
    let mut values = vec![("names", names.as_str()), ("packets", packets.as_str())];
    let when = first.zip(last).map(|(first, last)| words.span(first, last));
    let key = match &when {
        Some(when) => {
            values.push(("when", when));
            "summary.captures_when"
        }
        None => "summary.captures",
    };
    page.line(&words.fill(key, &values));
    remarks(summary, captures, page);
    let connections = words.count(summary.connections, "connection");
    let values = [
        ("connections", connections.as_str()),
        ("handshakes", &handshakes(summary, words)),
    ];
    page.line(&words.fill("summary.handshakes", &values));
    if !summary.by_version.is_empty() {
        let with = |(version, number): (&String, &u64)| {
            let values = [("n", grouped(*number)), ("version", version.clone())];
            words.fill(
                "summary.with_version",
                &values.each_ref().map(|(k, v)| (*k, v.as_str())),
            )
        };
        let versions: Vec<String> = summary.by_version.iter().rev().map(with).collect();
        let versions = versions.join(words.say("general.list"));
        page.line(&words.fill("summary.versions", &[("versions", &versions)]));
    }
    if let Some(dns) = &summary.dns {
        let failed: u64 = dns.lookups.iter().map(|lookup| lookup.failed).sum();
        let values = [
            ("queries", &*grouped(dns.queries)),
            ("failed", &grouped(failed.saturating_sub(dns.unanswered))),
            ("unanswered", &grouped(dns.unanswered)),
        ];
        page.line(&words.fill("summary.dns", &values));
    }
    if let Some(secrets) = &summary.secrets {
        let values = [
            ("secrets", &*words.count(secrets.known, "secret")),
            ("n", &*grouped(secrets.decrypted)),
        ];
        page.line(&words.fill("summary.secrets", &values));
    }
    if page.view.all_rows {
        let ms = grouped(summary.elapsed_us / 1_000);
        let bytes = grouped(summary.bytes);
        page.line(&words.fill("summary.elapsed", &[("bytes", &bytes), ("ms", &ms)]));
    }
}

/// What is wrong with the files, and what a reader of the results should know of them.
fn remarks(summary: &Summary, captures: Captures, page: &mut Page) {
    let yellow = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    let words = page.words;
    let many = summary.captures.len() > 1;
    for capture in &summary.captures {
        if let Some(fault) = capture.error.as_deref() {
            page.hang_painted(yellow, words.say("summary.attention"), &clean(fault));
        }
        for note in &capture.notes {
            let note = clean(note);
            let note = match many {
                true => format!("{}: {note}", captures.name(&capture.name)),
                false => note.into_owned(),
            };
            page.hang_painted(HEADING, words.say("summary.note"), &note);
        }
    }
}

/// `30 handshakes: 27 established (1 closed by the client within a second), 2 failed, 1 incomplete in the capture`.
fn handshakes(summary: &Summary, words: &Words) -> String {
    let of = |outcome: Outcome| {
        summary
            .by_outcome
            .get(outcome.as_str())
            .copied()
            .unwrap_or(0)
    };
    let (at_once, cut) = (of(Outcome::EstablishedThenClosed), of(Outcome::Truncated));
    let established = of(Outcome::Established) + at_once;
    let total: u64 = summary.by_outcome.values().sum();
    let failed = total.saturating_sub(established + cut);
    let established_key = match at_once {
        0 => "summary.established",
        _ => "summary.established_closed",
    };
    let closed = grouped(at_once);
    let outcomes: Vec<String> = [
        (established, established_key),
        (failed, "summary.failed"),
        (cut, "summary.cut"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, key)| words.fill(key, &[("n", &grouped(number)), ("closed", &closed)]))
    .collect();
    let handshakes = words.count(summary.handshakes, "handshake");
    if outcomes.is_empty() {
        return handshakes;
    }
    let outcomes = outcomes.join(words.say("general.list"));
    let values = [
        ("handshakes", handshakes.as_str()),
        ("outcomes", outcomes.as_str()),
    ];
    words.fill("summary.by_outcome", &values)
}

/// Which word to say where there is no finding.
fn verdict(summary: &Summary) -> &'static str {
    let complete = |outcome: &Outcome| outcome.is_complete() || *outcome == Outcome::Truncated;
    let failed = Outcome::ALL
        .iter()
        .filter(|outcome| !complete(outcome))
        .any(|outcome| summary.by_outcome.contains_key(outcome.as_str()));
    if summary.handshakes == 0 {
        "summary.nothing_found"
    } else if failed {
        "summary.unexplained"
    } else {
        "summary.healthy"
    }
}

/// What was not analysed and why; nothing is passed over in silence.
fn passed_over(summary: &Summary, page: &mut Page) {
    let skipped: Vec<(&String, &u64)> = summary.skipped.iter().filter(|(_, n)| **n > 0).collect();
    if skipped.is_empty() {
        return;
    }
    page.heading(page.words.say("tables.passed_over"));
    let widest = skipped
        .iter()
        .map(|(_, number)| grouped(**number).len())
        .max()
        .unwrap_or(0);
    for (key, number) in skipped {
        let number = grouped(*number);
        page.hang(&format!("{number:>widest$}  "), &page.words.skip(key));
    }
}

#[cfg(test)]
mod tests;
