//! The words of findings, one file a language: `text/en.toml`, `text/ja.toml`.
//!
//! A file has `[blocks]` (steps that several findings share; a step `@name` stands for a block) and one table
//! `[finding.<id>]` each, with `[finding.<id>.cause.<cause>]` where the reason decides what to do. `{name}` is filled from
//! the hits; a line with a placeholder for which the hits have no value is left out, so that nothing is said that was not
//! seen. Ids, keys, registry paths and commands are the same in each language.

use super::catalogue;
use crate::record::{Scope, Severity};
use core::{fmt::Display, ops::Range};
use serde::Deserialize;
use smallvec::{SmallVec, smallvec};
use std::{borrow::Cow, fmt::Write as _};

/// Language of the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Japanese.
    Ja,
}

impl Lang {
    /// All languages.
    pub const ALL: [Self; 2] = [Self::En, Self::Ja];
}

/// Values by name, in the order of names.
#[derive(Debug)]
struct ByName<T: 'static>(&'static [(&'static str, T)]);

impl<T> ByName<T> {
    fn get(&self, name: &str) -> Option<&'static T> {
        let at = self.0.binary_search_by(|(known, _)| (*known).cmp(name));
        self.0.get(at.ok()?).map(|(_, value)| value)
    }

    fn values(&self) -> impl Iterator<Item = &'static T> + use<T> {
        self.0.iter().map(|(_, value)| value)
    }
}

/// One language's words.
#[derive(Debug)]
struct Texts {
    headings: Headings,
    blocks: ByName<&'static [&'static str]>,
    finding: ByName<Page>,
    /// What a packet shows.
    fact: ByName<&'static [Part]>,
    /// Single words inside facts.
    word: ByName<&'static str>,
}

/// A piece of a fact: there are thousands in a report, so that their texts come in pieces.
#[derive(Debug)]
enum Part {
    Text(&'static str),
    /// The value of a placeholder.
    Value(&'static str),
}

/// Headings of an explanation.
#[derive(Debug)]
struct Headings {
    meaning: &'static str,
    cause: &'static str,
    affects: &'static str,
    remedy: &'static str,
    limits: &'static str,
    verify: &'static str,
    /// The last step of a remedy that does not say how to verify it.
    again: &'static str,
    reference: &'static str,
    error: &'static str,
    warning: &'static str,
    info: &'static str,
    handshake: &'static str,
    client: &'static str,
    server: &'static str,
    farm: &'static str,
    capture: &'static str,
}

/// The words of one finding.
#[derive(Debug)]
struct Page {
    title: &'static str,
    headline: Option<&'static str>,
    meaning: &'static str,
    affects: &'static [&'static str],
    remedy: &'static [&'static str],
    limits: &'static str,
    verify: &'static str,
    cause: ByName<Cause>,
}

/// What one reason adds to a finding.
#[derive(Debug)]
struct Cause {
    headline: Option<&'static str>,
    meaning: Option<&'static str>,
    affects: &'static [&'static str],
    remedy: &'static [&'static str],
    /// A remedy in place of the finding's own.
    instead: &'static [&'static str],
}

/// The files' contents. Parsed when the program is built: to do it in each run took two milliseconds.
mod tables {
    use super::{ByName, Cause, Headings, Page, Part, Texts};
    include!(concat!(env!("OUT_DIR"), "/finding_texts.rs"));
}

fn texts(lang: Lang) -> &'static Texts {
    match lang {
        Lang::En => &tables::EN,
        Lang::Ja => &tables::JA,
    }
}

/// The title of a finding, without the particulars of a hit.
#[must_use]
pub fn title(id: &str, lang: Lang) -> Option<&'static str> {
    texts(lang).finding.get(id).map(|page| page.title)
}

/// The full page about a finding: what it means, who is affected, what to do, where it errs, how to verify.
#[must_use]
pub fn explain(id: &str, lang: Lang) -> Option<String> {
    let texts = texts(lang);
    let page = texts.finding.get(id)?;
    let entry = catalogue().find(|entry| entry.id == id)?;
    let heads = &texts.headings;
    let severity = match entry.severity {
        Severity::Error => heads.error,
        Severity::Warning => heads.warning,
        Severity::Info => heads.info,
    };
    let scope = match entry.scope {
        Scope::Handshake => heads.handshake,
        Scope::Client => heads.client,
        Scope::Server => heads.server,
        Scope::Farm => heads.farm,
        Scope::Capture => heads.capture,
    };
    let mut out = format!("{}\n{id} · {severity} · {scope}\n", page.title);
    section(&mut out, heads.meaning, &general(page.meaning));
    let causes = page.cause.0.iter();
    let causes: Vec<String> = causes
        .filter_map(|(name, cause)| Some(format!("- {name}: {}", general(cause.meaning?.trim()))))
        .collect();
    section(&mut out, heads.cause, &causes.join("\n"));
    let affects = page
        .affects
        .iter()
        .chain(page.cause.values().flat_map(|cause| cause.affects));
    section(&mut out, heads.affects, &listed(texts, affects, false));
    let mut remedy = String::new();
    for (name, cause) in page
        .cause
        .0
        .iter()
        .filter(|(_, cause)| !(cause.remedy.is_empty() && cause.instead.is_empty()))
    {
        let steps = cause.remedy.iter().chain(cause.instead);
        let _ = writeln!(remedy, "{name}:\n{}", listed(texts, steps, true));
    }
    remedy.push_str(&listed(texts, page.remedy.iter(), true));
    section(&mut out, heads.remedy, &remedy);
    section(&mut out, heads.limits, page.limits);
    section(&mut out, heads.verify, page.verify);
    section(&mut out, heads.reference, entry.reference);
    Some(out)
}

fn section(out: &mut String, heading: &str, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        let _ = write!(out, "\n{heading}\n{text}\n");
    }
}

/// A text about no finding in particular: placeholders become `<name>`.
fn general(text: &str) -> String {
    fill(text, &|key: &str, out: &mut String| {
        write!(out, "<{key}>").is_ok()
    })
    .unwrap_or_default()
}

/// Steps with their blocks put in, as a list; placeholders become `<name>`.
fn listed(
    texts: &Texts,
    steps: impl Iterator<Item = &'static &'static str>,
    numbered: bool,
) -> String {
    let mut out = String::new();
    let every = [""];
    let steps = steps.flat_map(|step| expand_for(texts, step, &every));
    for (index, step) in steps.enumerate() {
        let step = general(step.trim_end()).replace('\n', "\n   ");
        let _ = match numbered {
            true => writeln!(out, "{}. {step}", index + 1),
            false => writeln!(out, "- {step}"),
        };
    }
    out
}

/// The block that a step stands for, or the step itself.
fn expand(texts: &Texts, step: &'static &'static str) -> &'static [&'static str] {
    step.strip_prefix('@')
        .and_then(|name| texts.blocks.get(name.trim()))
        .map_or(core::slice::from_ref(step), |block| *block)
}

/// The step that stands for the blocks of the stacks that sent the hellos.
const BY_STACK: &str = "@by-stack";

/// Blocks that raise the version, by the kind of stack ([`Stack::cause`](super::stack::Stack::cause)); all where it is
/// not known.
fn blocks_of(stack: &str) -> &'static [&'static str] {
    match stack {
        "wininet-winhttp" => &["winhttp", "wininet", "schannel-tls12-client"],
        "browser" => &["wininet", "schannel-tls12-client"],
        "dotnet-winhttp" => &["dotnet", "winhttp", "schannel-tls12-client"],
        "schannel" => &["winhttp", "dotnet", "wininet", "schannel-tls12-client"],
        "own-stack" => &["own-stack"],
        "schannel-mail" => &["schannel-tls12-client", "dotnet"],
        "mail" => &["not-windows", "schannel-tls12-client", "dotnet"],
        _ => &[
            "not-windows",
            "winhttp",
            "dotnet",
            "wininet",
            "schannel-tls12-client",
        ],
    }
}

/// Mostly a few: each finding has some lists of them.
type Steps = SmallVec<[&'static str; 8]>;

/// As [`expand`], where a step may stand for the blocks of the stacks that were seen.
fn expand_for(texts: &Texts, step: &'static &'static str, stacks: &[&str]) -> Steps {
    if *step != BY_STACK {
        return expand(texts, step).into();
    }
    let mut names: Vec<&'static str> = Vec::new();
    for stack in stacks {
        for name in blocks_of(stack) {
            if !names.contains(name) {
                names.push(name);
            }
        }
    }
    let blocks = names.into_iter().filter_map(|name| texts.blocks.get(name));
    blocks.copied().flatten().copied().collect()
}

/// The words of one finding about one subject.
pub(super) struct Words {
    pub(super) title: String,
    pub(super) affects: Vec<Cow<'static, str>>,
    pub(super) remedy: Vec<Cow<'static, str>>,
}

/// Appends the value of a placeholder; `false` where there is none.
type Fill<'f> = &'f dyn Fn(&str, &mut String) -> bool;

/// Words filled with what the hits had; the cause's come first.
pub(super) fn words(id: &str, cause: &str, lang: Lang, values: Fill<'_>) -> Words {
    let texts = texts(lang);
    let Some(page) = texts.finding.get(id) else {
        return Words {
            title: id.to_owned(),
            affects: Vec::new(),
            remedy: Vec::new(),
        };
    };
    debug_assert!(
        cause.is_empty() || page.cause.get(cause).is_some(),
        "{id} has no words for {cause}"
    );
    let cause = page.cause.get(cause);
    let title = cause
        .and_then(|cause| cause.headline)
        .and_then(|text| fill(text, values))
        .or_else(|| page.headline.and_then(|text| fill(text, values)))
        .unwrap_or_else(|| page.title.to_owned());
    let mut stacks = String::new();
    values("stack_kind", &mut stacks);
    let stacks: Vec<&str> = stacks.split(", ").collect();
    let mut line = String::new();
    let mut lines = |of_cause: &'static [&'static str], of_page: &'static [&'static str]| {
        of_cause
            .iter()
            .chain(of_page)
            .flat_map(|step| expand_for(texts, step, &stacks))
            .filter_map(|step| {
                let step = step.trim_end();
                // Most are the same for all.
                if !step.contains('{') {
                    return Some(Cow::Borrowed(step));
                }
                line.clear();
                fill_into(&mut line, step, values).then(|| Cow::Owned(line.clone()))
            })
            .collect()
    };
    let mut remedy: Vec<Cow<'static, str>> = match cause {
        Some(cause) if !cause.instead.is_empty() => lines(cause.instead, &[]),
        _ => lines(cause.map_or(&[], |cause| cause.remedy), page.remedy),
    };
    let verifies = |step: &str| step.contains("tlscope:") || step.contains("tlscope を");
    // Mostly the last one.
    if !remedy.iter().rev().any(|step| verifies(step)) {
        remedy.push(texts.headings.again.into());
    }
    Words {
        title,
        affects: lines(cause.map_or(&[], |cause| cause.affects), page.affects),
        remedy,
    }
}

/// A fact in the making: pieces of the `[fact]` table, and the values of their placeholders. Thousands are made of a large
/// capture, so that they take few allocations.
#[must_use]
pub(super) struct Say {
    lang: Lang,
    pieces: SmallVec<[&'static str; 6]>,
    /// By name, where each value stands in the text of all.
    values: SmallVec<[(&'static str, Range<usize>); 8]>,
    text: String,
}

/// Begins a fact.
pub(super) fn say(lang: Lang, key: &'static str) -> Say {
    Say {
        lang,
        pieces: smallvec![key],
        values: SmallVec::new(),
        text: String::with_capacity(128),
    }
}

impl Say {
    /// Fills a placeholder.
    pub(super) fn with(mut self, name: &'static str, value: impl Display) -> Self {
        let begin = self.text.len();
        let _ = write!(self.text, "{value}");
        self.values.push((name, begin..self.text.len()));
        self
    }

    /// Goes on with another piece.
    pub(super) fn and(mut self, key: &'static str) -> Self {
        self.pieces.push(key);
        self
    }

    /// Goes on with another piece, where `wanted`.
    pub(super) fn and_if(self, wanted: bool, key: &'static str) -> Self {
        if wanted { self.and(key) } else { self }
    }

    /// The words.
    pub(super) fn text(self) -> String {
        let facts = &texts(self.lang).fact;
        let mut out = String::with_capacity(self.text.len() + 96);
        for piece in &self.pieces {
            let parts = facts.get(piece).copied();
            debug_assert!(parts.is_some(), "{piece} has no words");
            for part in parts.unwrap_or(&[Part::Text(piece)]) {
                out.push_str(match part {
                    Part::Text(text) => text,
                    Part::Value(name) => self.value(name).unwrap_or(name),
                });
            }
        }
        out
    }

    fn value(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().find(|(known, _)| *known == name);
        debug_assert!(found.is_some(), "{name} has no value: {:?}", self.pieces);
        self.text.get(found?.1.clone())
    }
}

/// A single word in a language; what is not in the table (names, numbers) is the same in all.
pub(super) fn word(lang: Lang, word: &str) -> &str {
    texts(lang).word.get(word).copied().unwrap_or(word)
}

/// As [`fill_into`], alone.
fn fill(text: &str, values: Fill<'_>) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    fill_into(&mut out, text, values).then_some(out)
}

/// Appends a text with values in the place of `{name}`, or nothing where one has no value. Only lower-case words count as
/// placeholders, so that PowerShell's braces stay as they are.
fn fill_into(out: &mut String, text: &str, values: Fill<'_>) -> bool {
    let begin = out.len();
    let mut rest = text;
    while let Some((before, after)) = split_at(rest, b'{') {
        out.push_str(before);
        match split_at(after, b'}') {
            Some((key, tail)) if is_placeholder(key) => {
                if !values(key, out) {
                    out.truncate(begin);
                    return false;
                }
                rest = tail;
            }
            _ => {
                out.push('{');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    true
}

/// What stands before and after the first `mark`, a byte of ASCII; searched by vectors, for it is done for each line of
/// each finding.
fn split_at(text: &str, mark: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(mark, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn is_placeholder(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names<T>(table: &'static ByName<T>) -> BTreeSet<&'static str> {
        table.0.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn each_entry_has_words_in_each_language_and_no_word_is_without_entry() {
        let ids: BTreeSet<&str> = catalogue().map(|entry| entry.id).collect();
        for lang in Lang::ALL {
            assert_eq!(ids, names(&texts(lang).finding), "{lang:?}");
        }
    }

    #[test]
    fn languages_have_the_same_causes_and_blocks() {
        let (en, ja) = (texts(Lang::En), texts(Lang::Ja));
        assert_eq!(names(&en.blocks), names(&ja.blocks));
        for (id, page) in en.finding.0 {
            let other = ja.finding.get(id).unwrap();
            assert_eq!(names(&page.cause), names(&other.cause), "{id}");
            assert_eq!(page.remedy.len(), other.remedy.len(), "{id}");
            assert_eq!(page.affects.len(), other.affects.len(), "{id}");
        }
    }

    #[test]
    fn languages_have_the_same_facts_with_the_same_values() {
        let (en, ja) = (texts(Lang::En), texts(Lang::Ja));
        assert_eq!(names(&en.word), names(&ja.word));
        assert_eq!(names(&en.fact), names(&ja.fact));
        let placeholders = |parts: &[Part]| -> BTreeSet<&str> {
            let names = parts.iter().filter_map(|part| match part {
                Part::Value(name) => Some(*name),
                Part::Text(_) => None,
            });
            names.collect()
        };
        let all = en.fact.0.iter().map(|(_, parts)| placeholders(parts).len());
        assert!(all.sum::<usize>() > 100);
        for (key, text) in en.fact.0 {
            let other = ja.fact.get(key).unwrap();
            assert_eq!(placeholders(text), placeholders(other), "{key}");
        }
    }

    #[test]
    fn facts_that_are_said_exist() {
        let facts = names(&texts(Lang::En).fact);
        let sources = std::fs::read_dir("src/findings").unwrap();
        let mut said = BTreeSet::new();
        for source in sources {
            let path = source.unwrap().path();
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let source = std::fs::read_to_string(path).unwrap();
            for (start, end) in [("say(lang, \"", "\""), (".and(\"", "\""), (".and_if(", ")")] {
                for rest in source.split(start).skip(1) {
                    let inside = rest.split_once(end).map_or("", |(inside, _)| inside);
                    let key = inside.split('"').nth(usize::from(start == ".and_if("));
                    said.extend(key.map(str::to_owned));
                }
            }
        }
        let missing: Vec<_> = said
            .iter()
            .filter(|key| key.contains('-') && !facts.contains(key.as_str()))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn blocks_that_are_named_exist() {
        for lang in Lang::ALL {
            let blocks = names(&texts(lang).blocks);
            let steps = texts(lang).finding.values().flat_map(|page| {
                let of_causes = page.cause.values().flat_map(|cause| cause.remedy);
                page.remedy.iter().chain(of_causes)
            });
            let named = steps.filter(|step| **step != BY_STACK);
            for name in named.filter_map(|step| step.strip_prefix('@')) {
                assert!(blocks.contains(name), "{name}");
            }
        }
    }

    #[test]
    fn remedies_are_those_of_the_stack() {
        let remedy = |kind: &str| {
            let values = |key: &str, out: &mut String| {
                out.push_str(match key {
                    "stack_kind" => kind,
                    "version" | "offered" => "TLS 1.0",
                    _ => return false,
                });
                true
            };
            let words = words("legacy-version-negotiated", "client", Lang::En, &values);
            words.remedy.join("\n")
        };
        assert!(remedy("dotnet-winhttp").contains("SchUseStrongCrypto"));
        assert!(!remedy("browser").contains("SchUseStrongCrypto"));
        assert!(!remedy("own-stack").contains("reg add"));
        // Unknown, or several: all that may help, each once.
        assert!(remedy("").contains("SchUseStrongCrypto"));
        let both = remedy("browser, dotnet-winhttp");
        assert_eq!(both.matches("calling side").count(), 1);
        for kind in [
            "wininet-winhttp",
            "browser",
            "dotnet-winhttp",
            "schannel",
            "own-stack",
            "schannel-mail",
            "mail",
            "",
        ] {
            for lang in Lang::ALL {
                let blocks = names(&texts(lang).blocks);
                assert!(blocks_of(kind).iter().all(|name| blocks.contains(name)));
            }
        }
    }

    #[test]
    fn placeholders_without_value_drop_the_line() {
        let values = |key: &str, out: &mut String| {
            out.push('X');
            key == "suite"
        };
        assert_eq!(fill("a {suite} b", &values).as_deref(), Some("a X b"));
        assert_eq!(fill("a {other} b", &values), None);
        let shell = "Get-X | ? {$_.Role -eq \"M\"} | % { Y }";
        assert_eq!(fill(shell, &values).as_deref(), Some(shell));
    }

    #[test]
    fn every_page_can_be_explained() {
        for entry in catalogue() {
            for lang in Lang::ALL {
                let page = explain(entry.id, lang).unwrap();
                assert!(page.contains(entry.id) && page.contains(entry.reference));
                // Nobody is shown what a value would stand for.
                let raw = page
                    .split('{')
                    .skip(1)
                    .find_map(|rest| rest.split_once('}'));
                let is_raw = raw.is_some_and(|(name, _)| {
                    name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                });
                assert!(!is_raw, "{page}");
                assert!(title(entry.id, lang).is_some_and(|title| !title.is_empty()));
            }
        }
        assert!(explain("no-such-finding", Lang::En).is_none());
    }
}
