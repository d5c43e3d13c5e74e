//! Findings: what is wrong, where it is seen, who is affected, what to do.

use super::{Captures, HEADING, Page};
use crate::{
    record::{Confidence, Finding, Severity},
    report::{
        layout::pieces,
        sanitize::{clean, clean_lines},
        words::{Words, grouped},
    },
};
use anstyle::{AnsiColor, Style};
use std::{borrow::Cow, collections::HashMap};
use unicode_width::UnicodeWidthStr;

/// Evidence shown of one finding.
const EVIDENCE_SHOWN: usize = 3;

/// Further subjects of one cause that are shown.
const ALIKE_SHOWN: usize = 10;

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
pub(super) fn heading(findings: &[Finding], words: &Words) -> String {
    let kinds = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Info, "info"),
    ];
    let parts: Vec<String> = kinds
        .into_iter()
        .map(|(severity, word)| {
            let number = findings.iter().filter(|f| f.severity == severity).count();
            (number as u64, word)
        })
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| words.count(number, word))
        .collect();
    let counts = parts.join(words.say("general.list"));
    words.fill("findings.heading", &[("counts", &counts)])
}

/// All findings, in their order. Of those that say the same about several subjects the first is told in full, and the
/// others are listed with it: a reader wants a cause once.
pub(super) fn write(findings: &[Finding], captures: Captures, page: &mut Page) {
    let mut printed = Printed::default();
    for (index, cause) in by_cause(findings).iter().enumerate() {
        let Some((first, others)) = cause.split_first() else {
            continue;
        };
        if index > 0 {
            page.gap();
        }
        one(first, captures, &mut printed, page);
        alike(first, others, captures, page);
    }
}

/// Findings of one id, severity and remedy together, each group where its first one stands.
fn by_cause(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut causes: Vec<Vec<&Finding>> = Vec::new();
    let mut places: HashMap<_, usize> = HashMap::new();
    for finding in findings {
        let remedy = finding.remediation.as_slice();
        let key = (&*finding.id, finding.severity, finding.confidence, remedy);
        let place = *places.entry(key).or_insert(causes.len());
        match causes.get_mut(place) {
            Some(cause) => cause.push(finding),
            None => causes.push(vec![finding]),
        }
    }
    causes
}

/// Who else it is about: subject, how often, and where to look.
fn alike(first: &Finding, others: &[&Finding], captures: Captures, page: &mut Page) {
    if others.is_empty() {
        return;
    }
    let shown = match page.view.all_rows {
        true => others.len(),
        false => ALIKE_SHOWN,
    };
    let number = grouped(others.len() as u64);
    let heading = page.words.fill("findings.alike", &[("n", &number)]);
    label(&heading, page);
    for other in others.iter().take(shown) {
        let mut line = clean(&other.subject).into_owned();
        if other.title != first.title {
            line.push_str(": ");
            line.push_str(&clean(&other.title));
        }
        let cases = page.words.count(other.count, "case");
        line.push_str(&format!(" ({cases}"));
        if let Some(evidence) = other.evidence.first() {
            let capture = captures.name(&evidence.capture);
            line.push_str(&format!(", {capture}:{}", evidence.frame));
        }
        line.push(')');
        page.hang("    - ", &line);
    }
    let more = others.len().saturating_sub(shown);
    if more > 0 {
        let more = grouped(more as u64);
        let more = page.words.fill("general.and_more", &[("n", &more)]);
        page.hang("    ", &more);
    }
}

fn one<'f>(finding: &'f Finding, captures: Captures, printed: &mut Printed<'f>, page: &mut Page) {
    let words = page.words;
    let sure = match finding.confidence {
        Confidence::Certain => String::new(),
        Confidence::Likely => format!(" {}", words.say("findings.likely")),
        Confidence::Possible => format!(" {}", words.say("findings.possible")),
    };
    let mark = format!("{}  ", words.severity(finding.severity));
    let title = format!("{}{sure}  [{}]", clean(&finding.title), finding.id);
    page.hang_painted(style(finding.severity), &mark, &title);
    page.hang(INDENT, &clean(&finding.subject));
    let when = words.span(finding.first_seen, finding.last_seen);
    // Not all findings are about handshakes: some rest on plain connections, or on questions to DNS.
    let cases = words.count(finding.count, "case");
    let values = [("cases", cases.as_str()), ("when", when.as_str())];
    page.hang(INDENT, &words.fill("findings.seen", &values));
    evidence(finding, captures, page);
    if !finding.affects.is_empty() {
        label(words.say("findings.affected"), page);
        for item in &finding.affects {
            page.hang("    - ", &clean_lines(item));
        }
    }
    steps(finding, printed, page);
    if !finding.reference.is_empty() {
        let reference = clean(&finding.reference);
        let line = words.fill("findings.reference", &[("reference", &reference)]);
        page.hang(INDENT, &line);
    }
    page.hang(
        INDENT,
        &words.fill("findings.explain", &[("id", &finding.id)]),
    );
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
    label(page.words.say("findings.evidence"), page);
    for evidence in finding.evidence.iter().take(shown) {
        let place = format!("{}:{}", captures.name(&evidence.capture), evidence.frame);
        evidence_line(&place, &clean(&evidence.fact), page);
    }
    let more = finding.evidence.len().saturating_sub(shown);
    if more > 0 {
        let more = page
            .words
            .fill("general.and_more", &[("n", &grouped(more as u64))]);
        page.hang("    ", &more);
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

/// Steps that a reader has seen already, and where.
#[derive(Default)]
struct Printed<'f> {
    /// The first finding under which a step was printed, and the step's number.
    steps: HashMap<&'f str, (&'f Finding, usize)>,
    /// Findings of one id whose steps were printed.
    ids: HashMap<&'f str, u32>,
}

impl<'f> Printed<'f> {
    /// How many of the first `items` follow one another under one finding above, and where they begin.
    fn run(&self, items: &'f [Cow<'static, str>]) -> Option<(&'f Finding, usize, usize)> {
        let (first, rest) = items.split_first()?;
        let (source, start) = *self.steps.get(&**first)?;
        let follows = |(offset, item): &(usize, &'f str)| {
            let place = self.steps.get(*item);
            place.is_some_and(|(finding, at)| {
                core::ptr::eq(*finding, source) && *at == start + 1 + offset
            })
        };
        let more = rest
            .iter()
            .map(|item| &**item)
            .enumerate()
            .take_while(follows)
            .count();
        Some((source, start, 1 + more))
    }

    /// What to call a finding above: by its subject too, where its id alone does not tell.
    fn name(&self, finding: &Finding) -> String {
        match self.ids.get(&*finding.id) {
            Some(2..) => format!("[{}] {}", finding.id, clean(&finding.subject)),
            _ => format!("[{}]", finding.id),
        }
    }
}

/// The numbered steps. Those that stand above already are referred to, where that is shorter.
fn steps<'f>(finding: &'f Finding, printed: &mut Printed<'f>, page: &mut Page) {
    let items = &finding.remediation;
    if items.is_empty() {
        return;
    }
    let words = page.words;
    label(words.say("findings.remedy"), page);
    let mut own = false;
    let mut index = 0;
    while let Some(item) = items.get(index) {
        let rest = items.get(index..).unwrap_or_default();
        let run = printed
            .run(rest)
            .filter(|(_, _, length)| *length > 1 || is_long(item, page));
        if let Some((source, start, length)) = run {
            let name = printed.name(source);
            let (first, last) = ((start + 1).to_string(), (start + length).to_string());
            let values = [
                ("finding", name.as_str()),
                ("first", &first),
                ("last", &last),
            ];
            let (mark, key) = match length {
                1 => (format!("    {}. ", index + 1), "findings.as_under_one"),
                _ => (
                    format!("    {}.-{}. ", index + 1, index + length),
                    "findings.as_under_many",
                ),
            };
            page.hang(&mark, &words.fill(key, &values));
            index += length;
            continue;
        }
        step(item, index + 1, page);
        printed.steps.entry(item).or_insert((finding, index));
        own = true;
        index += 1;
    }
    if own {
        *printed.ids.entry(&finding.id).or_default() += 1;
    }
}

/// The step takes more than two lines.
fn is_long(item: &str, page: &Page) -> bool {
    item.contains('\n') || item.width() > 2 * page.prose_width().saturating_sub(8)
}

/// One step: a line of words, and below it commands, one a line. What is to be typed (commands, paths, cipher lists) is
/// never broken or cut, however long: half a registry path does harm.
fn step(item: &str, number: usize, page: &mut Page) {
    let first = format!("    {number}. ");
    let indent = " ".repeat(first.width());
    let item = clean_lines(item);
    let (words, commands) = item.split_once('\n').unwrap_or((&item, ""));
    let room = page.prose_width().saturating_sub(first.width());
    if pieces(words).any(|(_, piece)| piece.width() > room) {
        page.text.push_str(&format!("{first}{words}\n"));
    } else {
        page.hang(&first, words);
    }
    for command in commands.lines() {
        page.text.push_str(format!("{indent}{command}").trim_end());
        page.text.push('\n');
    }
}

fn label(name: &str, page: &mut Page) {
    let name = page.paint(HEADING, name);
    page.text.push_str(INDENT);
    page.text.push_str(&name);
    page.text.push('\n');
}
