//! Lines and columns that fit: wrapping by display width, and tables whose widths follow their content.
//!
//! Long words (host names, cipher suites, registry paths) are broken behind a character at which a reader expects
//! it, and only where they would not fit a line of their own.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Spaces between two columns.
const COLUMN_GAP: usize = 2;

/// Breaks `text` into lines of at most `width` columns; its own line ends are kept.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(2); // the widest character takes two columns
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for (blank, piece) in pieces(paragraph) {
            let space = usize::from(blank && !line.is_empty());
            if line.width() + space + piece.width() <= width {
                line.extend((space == 1).then_some(' '));
                line.push_str(piece);
                continue;
            }
            if !line.is_empty() {
                lines.push(core::mem::take(&mut line));
            }
            let mut rest = piece;
            while rest.width() > width {
                let (head, tail) = rest.split_at(break_point(rest, width));
                lines.push(head.to_owned());
                rest = tail;
            }
            line.push_str(rest);
        }
        lines.push(line);
    }
    lines
}

/// The parts of a paragraph that stay together, each with whether a blank stands before it: words, and the single
/// characters of scripts that are written without blanks.
pub(super) fn pieces(paragraph: &str) -> impl Iterator<Item = (bool, &str)> {
    paragraph.split(' ').enumerate().flat_map(|(index, word)| {
        let mut rest = Some(word);
        let mut blank = index > 0;
        core::iter::from_fn(move || {
            let (head, tail) = split_piece(rest?);
            rest = tail;
            Some((core::mem::replace(&mut blank, false), head))
        })
    })
}

/// The first part of a word, and the rest where there is one.
fn split_piece(word: &str) -> (&str, Option<&str>) {
    let wide = |character: char| character.width() == Some(2);
    let mut before: Option<char> = None;
    for (at, character) in word.char_indices() {
        if let Some(before) = before
            && (wide(before) || wide(character))
            && !NEVER_FIRST.contains(character)
            && !NEVER_LAST.contains(before)
        {
            let (head, tail) = word.split_at(at);
            return (head, Some(tail));
        }
        before = Some(character);
    }
    (word, None)
}

/// Characters that begin no line (JIS X 4051).
const NEVER_FIRST: &str =
    "、。，．・：；？！）］｝」』】〉》〕ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ,.:;?!)]}%～";
/// Characters that end no line.
const NEVER_LAST: &str = "（［｛「『【〈《〔([{";

/// Where to break a word so that its head fits into `width`: behind the last mark that leaves a head of at least
/// half the width, else at the width. Never at 0.
fn break_point(word: &str, width: usize) -> usize {
    let (mut used, mut hard, mut soft) = (0, 0, None);
    for (at, character) in word.char_indices() {
        used += character.width().unwrap_or(0);
        let end = at + character.len_utf8();
        if used > width && hard > 0 {
            break;
        }
        hard = end;
        if matches!(
            character,
            '.' | '_' | '-' | ':' | '/' | '\\' | ',' | ';' | '='
        ) && 2 * used >= width
        {
            soft = Some(end);
        }
    }
    soft.unwrap_or(hard)
}

/// Appends `text`, wrapped to `width`: the first line behind `first`, the others indented as far.
pub(super) fn hang(first: &str, text: &str, width: usize, out: &mut String) {
    let indent = first.width();
    for (index, line) in wrap(text, width.saturating_sub(indent))
        .into_iter()
        .enumerate()
    {
        let lead = if index == 0 {
            Cow::Borrowed(first)
        } else {
            Cow::Owned(" ".repeat(indent))
        };
        out.push_str(format!("{lead}{line}").trim_end());
        out.push('\n');
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its head.
    pub(super) name: &'static str,
    /// It holds numbers, which are never broken and stand to the right.
    pub(super) number: bool,
    /// Columns that it keeps while others still have more to give.
    pub(super) width_min: usize,
}

impl Column {
    pub(super) const fn text(name: &'static str, width_min: usize) -> Self {
        Self {
            name,
            number: false,
            width_min,
        }
    }

    /// The head is never broken.
    fn least(&self) -> usize {
        self.width_min.max(self.name.width())
    }

    pub(super) fn number(name: &'static str) -> Self {
        Self {
            name,
            number: true,
            width_min: name.width(),
        }
    }
}

/// The widest line of a cell.
fn cell_width(cell: &str) -> usize {
    cell.split('\n')
        .map(UnicodeWidthStr::width)
        .max()
        .unwrap_or(0)
}

/// How wide each column becomes: as wide as its content where the line allows it; else the one with the most above
/// its minimum gives first.
fn column_widths(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            rows.iter()
                .filter_map(|row| row.get(index))
                .map(|cell| cell_width(cell))
                .chain([column.name.width()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let room = width.saturating_sub(COLUMN_GAP * columns.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let most = widths
            .iter_mut()
            .zip(columns)
            .filter(|(_, column)| !column.number)
            .map(|(width, column)| (width.saturating_sub(column.least()), width))
            .max_by_key(|(spare, _)| *spare);
        match most {
            Some((1.., widest)) => *widest -= 1,
            _ => break, // all at their minimum: those of our tables fit 60 columns
        }
    }
    widths
}

/// The lines of a table; the first one is its head.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let widths = column_widths(columns, rows, width);
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns.iter().map(|column| column.name));
    for row in rows {
        table.add_row(
            row.iter()
                .zip(&widths)
                .map(|(cell, width)| Cell::new(wrap(cell, *width).join("\n"))),
        );
    }
    for (index, column) in columns.iter().enumerate() {
        let Some(target) = table.column_mut(index) else {
            continue;
        };
        let last = index + 1 == columns.len();
        target.set_padding((0, if last { 0 } else { COLUMN_GAP as u16 }));
        if column.number {
            target.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt().lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_where_they_fit() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one\n\ntwo", 7), ["one", "", "two"]);
        assert_eq!(wrap("", 7), [""]);
    }

    #[test]
    fn long_words_break_behind_a_mark() {
        assert_eq!(
            wrap("autodiscover.contoso.example", 20),
            ["autodiscover.", "contoso.example"]
        );
        assert_eq!(wrap("aaaaaaaaaa", 4), ["aaaa", "aaaa", "aa"]);
        assert_eq!(wrap("日本語日本語", 5), ["日本", "語日", "本語"]);
    }

    #[test]
    fn japanese_breaks_between_characters_but_not_before_its_full_stop() {
        assert_eq!(
            wrap("値 Functions を削除します。次へ", 12),
            ["値 Functions", "を削除しま", "す。次へ"]
        );
        assert_eq!(wrap("順位「はい」", 6), ["順位", "「は", "い」"]);
    }

    #[test]
    fn any_width_ends() {
        for width in 0..12 {
            let text = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 名 x";
            let joined: String = wrap(text, width).concat();
            assert_eq!(joined.replace(' ', ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn lines_hang_behind_their_mark() {
        let mut out = String::new();
        hang("  1. ", "restart the server now", 18, &mut out);
        assert_eq!(out, "  1. restart the\n     server now\n");
    }

    #[test]
    fn tables_fit_and_give_from_the_widest_column() {
        let columns = [
            Column::text("name", 8),
            Column::text("suite", 8),
            Column::number("seen"),
        ];
        let rows = vec![
            vec![
                "a".repeat(60),
                "ECDHE_RSA AES_128_GCM_SHA256".into(),
                "12,345".into(),
            ],
            vec!["b".into(), "c".into(), "1".into()],
        ];
        for width in [30, 40, 60, 80] {
            let lines = table(&columns, &rows, width);
            assert!(lines.iter().all(|line| line.width() <= width), "{lines:#?}");
            assert!(lines[0].starts_with("name"));
            assert!(lines.iter().any(|line| line.ends_with("12,345")));
        }
        let wide = table(&columns, &rows, 200);
        assert_eq!(wide.len(), 3, "{wide:#?}");
    }
}
