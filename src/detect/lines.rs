//! Dialogues that talk in lines: cuts the bytes of each side at LF, and helps to read a line.

use super::{Dialogue, Facts, Guess, Speaker, Step};
use core::fmt::Debug;

/// Lines looked at in one conversation.
const LINES_MAX: u8 = 64;
/// Longest line; a longer one is looked at in pieces.
const LINE_BYTES_MAX: usize = 1024;

/// Go on, or is all known?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// More lines are of interest.
    On,
    /// The client's decision is known.
    Done,
}

/// A protocol that talks in lines.
pub(super) trait Lines: Debug + Send {
    /// Takes a line without its end.
    fn line(&mut self, from: Speaker, line: &[u8], facts: &mut Facts) -> Flow;
}

/// Makes a [`Dialogue`] of a protocol that talks in lines.
#[derive(Debug)]
pub(super) struct ByLine<T> {
    inner: T,
    end: u8,
    lines: u8,
}

/// Lines that end with LF, or CR LF.
pub(super) fn by_line<T: Lines + 'static>(inner: T) -> Box<dyn Dialogue> {
    Box::new(ByLine {
        inner,
        end: b'\n',
        lines: 0,
    })
}

/// Tags of XML, each cut at its `>`.
pub(super) fn by_tag<T: Lines + 'static>(inner: T) -> Box<dyn Dialogue> {
    Box::new(ByLine {
        inner,
        end: b'>',
        lines: 0,
    })
}

impl<T: Lines> Dialogue for ByLine<T> {
    fn read(&mut self, from: Speaker, bytes: &[u8], facts: &mut Facts) -> Step {
        let head = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
        let (line, used) = match head.iter().position(|&byte| byte == self.end) {
            Some(end) => (head.get(..end).unwrap_or(&[]), end + 1),
            None if head.len() == LINE_BYTES_MAX => (head, head.len()),
            None => return Step::Need,
        };
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Step::Done;
        }
        match self.inner.line(from, line.trim_ascii(), facts) {
            Flow::On => Step::Used(used),
            Flow::Done => Step::Done,
        }
    }
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
}

/// A line's n-th word is this one.
pub(super) fn word_is(line: &[u8], number: usize, word: &[u8]) -> bool {
    words(line)
        .nth(number)
        .is_some_and(|found| found.eq_ignore_ascii_case(word))
}

/// A line's first word is one of these.
pub(super) fn command(line: &[u8], commands: &[&[u8]]) -> bool {
    commands.iter().any(|command| word_is(line, 0, command))
}

/// The line holds this word.
pub(super) fn has_word(line: &[u8], word: &[u8]) -> bool {
    words(line).any(|found| found.eq_ignore_ascii_case(word))
}

/// The bytes hold this text, in any case.
pub(super) fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes
        .windows(text.len().max(1))
        .any(|window| window.eq_ignore_ascii_case(text))
}

/// A keyword that an inspecting firewall wrote over: `XXXXXXXX`, `XXXXXXXA`.
pub(super) fn is_blotted(word: &[u8]) -> bool {
    matches!(word, [rest @ .., last] if rest.len() >= 5
        && rest.iter().all(|&byte| byte == b'X') && last.is_ascii_uppercase())
}

/// Some word of the line is blotted.
pub(super) fn has_blot(line: &[u8]) -> bool {
    words(line).any(is_blotted)
}

/// Do the bytes begin with this text, in any case? A part of it is a [`Guess::Maybe`].
pub(super) fn begins(bytes: &[u8], text: &[u8]) -> Guess {
    let length = bytes.len().min(text.len());
    let same = match (bytes.get(..length), text.get(..length)) {
        (Some(bytes), Some(text)) => bytes.eq_ignore_ascii_case(text),
        _ => false,
    };
    match same {
        true if length == text.len() => Guess::Yes,
        true if length > 0 => Guess::Maybe,
        _ => Guess::No,
    }
}

/// Do the bytes begin with one of these?
pub(super) fn begins_any(bytes: &[u8], texts: &[&[u8]]) -> Guess {
    texts
        .iter()
        .map(|text| begins(bytes, text))
        .max()
        .unwrap_or(Guess::No)
}
