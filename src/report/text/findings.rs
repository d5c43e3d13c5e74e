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
use std::borrow::Cow;
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
    let whole = steps(&finding.remediation, page);
    if !finding.reference.is_empty() {
        page.hang(INDENT, &format!("Reference: {}", clean(&finding.reference)));
    }
    let more = if whole {
        "More"
    } else {
        "More, with all commands to copy"
    };
    page.hang(INDENT, &format!("{more}: tlscope explain {}", finding.id));
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

/// The numbered steps. A step is a line of words, and below it commands, one a line. A command is shown as it is to be
/// typed or not at all, since half a registry path does harm; says whether all were shown.
fn steps(items: &[Box<str>], page: &mut Page) -> bool {
    if items.is_empty() {
        return true;
    }
    label("What to do:", page);
    let mut whole = true;
    for (index, item) in items.iter().enumerate() {
        let first = format!("    {}. ", index + 1);
        let indent = " ".repeat(first.width());
        let item = clean_lines(item);
        let (words, commands) = item.split_once('\n').unwrap_or((&item, ""));
        let room = page.prose_width().saturating_sub(first.width());
        match without_long_words(words, room) {
            Cow::Owned(_) if page.view.all_rows => {
                page.text.push_str(&format!("{first}{words}\n"));
            }
            shown => {
                whole &= matches!(shown, Cow::Borrowed(_));
                page.hang(&first, &shown);
            }
        }

        let room = page.view.width.saturating_sub(first.width());
        let fits = commands.lines().all(|command| command.width() <= room);
        if fits || page.view.all_rows {
            for command in commands.lines() {
                page.text.push_str(format!("{indent}{command}").trim_end());
                page.text.push('\n');
            }
        }
        whole &= fits || page.view.all_rows;
    }
    whole
}

/// The text with `...` for words (paths, cipher lists) that would have to be broken.
fn without_long_words(text: &str, width: usize) -> Cow<'_, str> {
    let long = |word: &str| word.width() > width;
    if !text.split(' ').any(long) {
        return Cow::Borrowed(text);
    }
    let words: Vec<&str> = text
        .split(' ')
        .map(|word| if long(word) { "..." } else { word })
        .collect();
    Cow::Owned(words.join(" "))
}

fn label(name: &str, page: &mut Page) {
    let name = page.paint(HEADING, name);
    page.text.push_str(INDENT);
    page.text.push_str(&name);
    page.text.push('\n');
}
