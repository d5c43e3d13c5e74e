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
    words::{self, count},
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
            text: String::new(),
        };
        if self.view.findings_only {
            findings::write(findings, captures, &mut page);
        } else {
            summarise(summary, captures, &mut page);
            if findings.is_empty() {
                page.gap();
                page.line(verdict(summary));
            } else {
                page.heading(&findings::heading(findings));
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
    let mut names: Vec<String> = summary
        .captures
        .iter()
        .take(CAPTURES_SHOWN)
        .map(|capture| captures.name(&capture.name))
        .collect();
    let more = summary.captures.len().saturating_sub(CAPTURES_SHOWN);
    if more > 0 {
        names.push(format!("{} more", words::grouped(more as u64)));
    }
    let packets = count(summary.packets, "packet");
    let first = summary.captures.iter().filter_map(|c| c.first_packet).min();
    let last = summary.captures.iter().filter_map(|c| c.last_packet).max();
    let when = match (first, last) {
        (Some(first), Some(last)) => format!(", {}", words::span(first, last)),
        _ => String::new(),
    };
    page.line(&format!("{}: {packets}{when}", names.join(", ")));
    page.line(&format!(
        "{}, {}",
        count(summary.connections, "connection"),
        handshakes(summary)
    ));
    if !summary.by_version.is_empty() {
        let versions: Vec<String> = summary
            .by_version
            .iter()
            .rev()
            .map(|(version, number)| format!("{} with {version}", words::grouped(*number)))
            .collect();
        page.line(&format!("Negotiated: {}", versions.join(", ")));
    }
    for fault in summary.captures.iter().filter_map(|c| c.error.as_deref()) {
        page.hang_painted(
            Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            "Attention: ",
            &clean(fault),
        );
    }
    if page.view.all_rows {
        let ms = words::grouped(summary.elapsed_us / 1_000);
        let bytes = words::grouped(summary.bytes);
        page.line(&format!("{bytes} bytes read in {ms} ms"));
    }
}

/// `30 handshakes: 27 established (1 closed at once by the client), 2 failed, 1 incomplete in the capture`.
fn handshakes(summary: &Summary) -> String {
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
    let mut parts = Vec::new();
    if established > 0 {
        let closed = if at_once > 0 {
            format!(
                " ({} closed at once by the client)",
                words::grouped(at_once)
            )
        } else {
            String::new()
        };
        parts.push(format!(
            "{} established{closed}",
            words::grouped(established)
        ));
    }
    if failed > 0 {
        parts.push(format!("{} failed", words::grouped(failed)));
    }
    if cut > 0 {
        parts.push(format!("{} incomplete in the capture", words::grouped(cut)));
    }
    let handshakes = count(summary.handshakes, "handshake");
    if parts.is_empty() {
        return handshakes;
    }
    format!("{handshakes}: {}", parts.join(", "))
}

/// What to say where there is no finding.
fn verdict(summary: &Summary) -> &'static str {
    let complete = |outcome: &Outcome| outcome.is_complete() || *outcome == Outcome::Truncated;
    let failed = Outcome::ALL
        .iter()
        .filter(|outcome| !complete(outcome))
        .any(|outcome| summary.by_outcome.contains_key(outcome.as_str()));
    if summary.handshakes == 0 {
        "No TLS handshake was found. A handshake is seen only where the capture begins before the connection \
         does: start the capture first, then open the connection anew. Check also the interface and the filter."
    } else if failed {
        "No finding explains the failures; they are listed below."
    } else {
        "Nothing is wrong with these handshakes, as far as a capture can show."
    }
}

/// What was not analysed and why; nothing is passed over in silence.
fn passed_over(summary: &Summary, page: &mut Page) {
    let skipped: Vec<(&String, &u64)> = summary.skipped.iter().filter(|(_, n)| **n > 0).collect();
    if skipped.is_empty() {
        return;
    }
    page.heading("NOT ANALYSED");
    let widest = skipped
        .iter()
        .map(|(_, number)| words::grouped(**number).len())
        .max()
        .unwrap_or(0);
    for (key, number) in skipped {
        let number = words::grouped(*number);
        page.hang(&format!("{number:>widest$}  "), &words::skip_key(key));
    }
}

#[cfg(test)]
mod tests;
