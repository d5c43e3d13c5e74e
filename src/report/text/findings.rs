//! Findings: what is wrong, where it is seen, who is affected, what to do.

use super::{Captures, HEADING, Page};
use crate::{
    record::{Confidence, Finding, Severity},
    report::{
        sanitize::{clean, clean_lines},
        words::{self, count},
    },
};
use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

/// Evidence shown of one finding.
const EVIDENCE_SHOWN: usize = 3;

/// Width up to which a place leaves enough of the line for the fact.
const PLACE_WIDTH_MAX: usize = 24;

/// How far everything below the title is indented.
const INDENT: &str = "  ";

fn style(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Cyan,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// `FINDINGS: 2 errors, 1 warning`.
pub(super) fn heading(findings: &[Finding]) -> String {
    let kinds = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Info, "note"),
    ];
    let parts: Vec<String> = kinds
        .into_iter()
        .map(|(severity, word)| {
            let number = findings.iter().filter(|f| f.severity == severity).count();
            (number as u64, word)
        })
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| count(number, word))
        .collect();
    format!("FINDINGS: {}", parts.join(", "))
}

/// All findings, in their order.
pub(super) fn write(findings: &[Finding], captures: Captures, page: &mut Page) {
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            page.gap();
        }
        one(finding, captures, page);
    }
}

fn one(finding: &Finding, captures: Captures, page: &mut Page) {
    let sure = match finding.confidence {
        Confidence::Certain => "",
        Confidence::Likely => " (likely)",
        Confidence::Possible => " (possible)",
    };
    let mark = format!("{}  ", words::severity(finding.severity));
    let title = format!("{}{sure}  [{}]", clean(&finding.title), finding.id);
    page.hang_painted(style(finding.severity), &mark, &title);
    page.hang(INDENT, &clean(&finding.subject));
    let when = words::span(finding.first_seen, finding.last_seen);
    page.hang(
        INDENT,
        &format!("{}, {when}", count(finding.count, "handshake")),
    );
    evidence(finding, captures, page);
    list("Affected:", &finding.affects, |_| "- ".to_owned(), page);
    let step = |index: usize| format!("{}. ", index + 1);
    list("What to do:", &finding.remediation, step, page);
    if !finding.reference.is_empty() {
        page.hang(INDENT, &format!("Reference: {}", clean(&finding.reference)));
    }
    page.hang(INDENT, &format!("More: tlscope explain {}", finding.id));
}

fn evidence(finding: &Finding, captures: Captures, page: &mut Page) {
    if finding.evidence.is_empty() {
        return;
    }
    let shown = if page.view.all_rows {
        finding.evidence.len()
    } else {
        EVIDENCE_SHOWN
    };
    label("Seen (capture:frame):", page);
    for evidence in finding.evidence.iter().take(shown) {
        let place = format!("{}:{}", captures.name(&evidence.capture), evidence.frame);
        evidence_line(&place, &clean(&evidence.fact), page);
    }
    let more = finding.evidence.len().saturating_sub(shown);
    if more > 0 {
        page.hang("    ", &format!("and {} more", words::grouped(more as u64)));
    }
}

/// The fact stands behind its place, or below it where the place is long.
fn evidence_line(place: &str, fact: &str, page: &mut Page) {
    if place.width() <= PLACE_WIDTH_MAX {
        page.hang(&format!("    {place}  "), fact);
    } else {
        page.hang("    ", place);
        page.hang("      ", fact);
    }
}

fn list(name: &str, items: &[Box<str>], mark: impl Fn(usize) -> String, page: &mut Page) {
    if items.is_empty() {
        return;
    }
    label(name, page);
    for (index, item) in items.iter().enumerate() {
        let first = format!("    {}", mark(index));
        page.hang(&first, &clean_lines(item));
    }
}

fn label(name: &str, page: &mut Page) {
    let name = page.paint(HEADING, name);
    page.text.push_str(INDENT);
    page.text.push_str(&name);
    page.text.push('\n');
}
