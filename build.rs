//! Turns data into static Rust tables, so that no run has to parse it: the code points in `data/*.tsv`, included by
//! `src/tls/code_points/tables.rs`, and the words of findings in `src/findings/text/*.toml`, included by
//! `src/findings/text.rs`.
//!
//! A file of code points has a header line, then `#` comments and tab-separated rows. Cells that name an enum variant are
//! written out as they are, so a wrong one is a compile error. The output depends on nothing but the data.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};
use toml::{Table, Value};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let mut out = String::from("// Made by build.rs from data/*.tsv.\n");
    suites(&mut out)?;
    groups(&mut out)?;
    signature_schemes(&mut out)?;
    extensions(&mut out)?;
    versions(&mut out)?;
    alerts(&mut out)?;
    names(&mut out, "tls_alert_levels", "ALERT_LEVELS", "AlertLevel")?;
    names(
        &mut out,
        "tls_handshake_types",
        "HANDSHAKE_TYPES",
        "HandshakeType",
    )?;
    names(
        &mut out,
        "tls_content_types",
        "CONTENT_TYPES",
        "ContentType",
    )?;
    releases(&mut out)?;
    let directory = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    fs::write(Path::new(&directory).join("code_points.rs"), out)?;
    let mut out = String::from("// Made by build.rs from src/findings/text/*.toml.\n");
    texts(&mut out, "EN", "en")?;
    texts(&mut out, "JA", "ja")?;
    fs::write(Path::new(&directory).join("finding_texts.rs"), out)?;
    Ok(())
}

/// One row of a data file with the place it came from, for error messages.
struct Row {
    cells: Vec<String>,
    place: String,
}

impl Row {
    fn cell(&self, column: usize) -> Outcome<&str> {
        let cell = self.cells.get(column).map(String::as_str);
        cell.ok_or_else(|| format!("{}: no column {column}", self.place).into())
    }

    fn number(&self, column: usize) -> Outcome<u32> {
        let cell = self.cell(column)?;
        let parsed = match cell.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => cell.parse(),
        };
        parsed.map_err(|error| format!("{}: {cell}: {error}", self.place).into())
    }

    /// A number, or `None` for "-".
    fn optional(&self, column: usize) -> Outcome<Option<u32>> {
        if self.cell(column)? == "-" {
            Ok(None)
        } else {
            self.number(column).map(Some)
        }
    }

    /// A text, or `None` for "-".
    fn text(&self, column: usize) -> Outcome<Option<&str>> {
        Ok(Some(self.cell(column)?).filter(|cell| *cell != "-"))
    }

    fn flag(&self, column: usize) -> Outcome<bool> {
        match self.cell(column)? {
            "Y" => Ok(true),
            "N" => Ok(false),
            other => Err(format!("{}: {other}: not Y or N", self.place).into()),
        }
    }
}

/// Reads a file of the package.
fn read(path: &str) -> Outcome<String> {
    println!("cargo:rerun-if-changed={path}");
    let root = env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?;
    let text = fs::read_to_string(Path::new(&root).join(path));
    text.map_err(|error| format!("{path}: {error}").into())
}

/// Reads a data file.
fn rows(name: &str) -> Outcome<Vec<Row>> {
    let path = format!("data/{name}.tsv");
    let text = read(&path)?;
    let mut lines = text.lines().enumerate();
    let columns = lines
        .next()
        .map_or(0, |(_, header)| header.split('\t').count());
    let mut rows = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.starts_with('#')) {
        let cells: Vec<String> = line.split('\t').map(String::from).collect();
        let place = format!("{path}:{}", index + 1);
        if cells.len() != columns {
            return Err(
                format!("{place}: {} columns, the header has {columns}", cells.len()).into(),
            );
        }
        rows.push(Row { cells, place });
    }
    Ok(rows)
}

/// Reads a data file whose first column is a number; rows come in ascending order, each number once.
fn numbered(name: &str) -> Outcome<Vec<Row>> {
    let rows = rows(name)?;
    let mut last = None;
    for row in &rows {
        let code = Some(row.number(0)?);
        if code <= last {
            return Err(format!("{}: not in ascending order", row.place).into());
        }
        last = code;
    }
    Ok(rows)
}

/// Writes one associated constant per row, named after the second column.
fn constants(out: &mut String, rows: &[Row], class: &str) -> Outcome<()> {
    writeln!(out, "impl {class} {{")?;
    for row in rows {
        let (code, name) = (row.number(0)?, row.cell(1)?);
        let words: Vec<&str> = name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let constant = words.join("_").to_ascii_uppercase();
        writeln!(
            out,
            "    /// `{name}`\n    pub const {constant}: Self = Self({code});"
        )?;
    }
    writeln!(out, "}}")?;
    Ok(())
}

fn suites(out: &mut String) -> Outcome<()> {
    let rows = numbered("tls_ciphersuites")?;
    let mut pages = [0_usize; 256];
    let mut slots = vec![[0_usize; 256]];
    writeln!(
        out,
        "pub(super) static SUITES: [SuiteEntry; {}] = [",
        rows.len()
    )?;
    for (index, row) in rows.iter().enumerate() {
        let code = row.number(0)?;
        let [high, low] = u16::try_from(code)?.to_be_bytes();
        let page = &mut pages[usize::from(high)];
        if *page == 0 {
            *page = slots.len();
            slots.push([0; 256]);
        }
        slots[*page][usize::from(low)] = index + 1;
        write!(
            out,
            "    SuiteEntry {{ code: {code:#06x}, name: {:?}, ",
            row.cell(1)?
        )?;
        write!(out, "key_exchange: KeyExchange::{}, ", row.cell(2)?)?;
        write!(out, "authentication: Authentication::{}, ", row.cell(3)?)?;
        write!(
            out,
            "encryption: {:?}, key_bits: {}, ",
            row.cell(4)?,
            row.number(5)?
        )?;
        write!(
            out,
            "mode: CipherMode::{}, mac: Mac::{}, ",
            row.cell(6)?,
            row.cell(7)?
        )?;
        write!(out, "prf_hash: PrfHash::{}, ", row.cell(8)?)?;
        write!(
            out,
            "forward_secret: {}, aead: {}, export: {}, ",
            row.flag(9)?,
            row.flag(10)?,
            row.flag(11)?
        )?;
        write!(
            out,
            "h2_prohibited: {}, chromium_accepts_h2: {}, ",
            row.flag(12)?,
            row.flag(13)?
        )?;
        writeln!(out, "registered: {} }},", row.flag(14)?)?;
    }
    writeln!(
        out,
        "];\npub(super) static SUITE_PAGES: [u8; 256] = {pages:?};"
    )?;
    writeln!(
        out,
        "pub(super) static SUITE_SLOTS: [[u16; 256]; {}] = {slots:?};",
        slots.len()
    )?;
    Ok(())
}

fn groups(out: &mut String) -> Outcome<()> {
    let rows = numbered("tls_groups")?;
    writeln!(
        out,
        "pub(super) static GROUPS: [GroupEntry; {}] = [",
        rows.len()
    )?;
    for row in &rows {
        write!(
            out,
            "    GroupEntry {{ code: {}, name: {:?}, ",
            row.number(0)?,
            row.cell(1)?
        )?;
        write!(
            out,
            "kind: GroupKind::{}, bits: {:?}, ",
            row.cell(2)?,
            row.optional(3)?
        )?;
        writeln!(
            out,
            "client_share_bytes: {:?}, server_share_bytes: {:?} }},",
            row.optional(4)?,
            row.optional(5)?
        )?;
    }
    writeln!(out, "];")?;
    constants(out, &rows, "NamedGroup")
}

fn signature_schemes(out: &mut String) -> Outcome<()> {
    let rows = numbered("tls_signature_schemes")?;
    writeln!(
        out,
        "pub(super) static SIGNATURE_SCHEMES: [SignatureEntry; {}] = [",
        rows.len()
    )?;
    for row in &rows {
        write!(
            out,
            "    SignatureEntry {{ code: {}, name: {:?}, ",
            row.number(0)?,
            row.cell(1)?
        )?;
        writeln!(
            out,
            "hash: {:?}, signature: {:?} }},",
            row.text(2)?,
            row.cell(3)?
        )?;
    }
    writeln!(out, "];")?;
    constants(out, &rows, "SignatureScheme")
}

fn extensions(out: &mut String) -> Outcome<()> {
    let rows = numbered("tls_extensions")?;
    writeln!(
        out,
        "pub(super) static EXTENSIONS: [ExtensionEntry; {}] = [",
        rows.len()
    )?;
    for row in &rows {
        write!(
            out,
            "    ExtensionEntry {{ code: {}, name: {:?}, ",
            row.number(0)?,
            row.cell(1)?
        )?;
        writeln!(out, "registered: {} }},", row.flag(2)?)?;
    }
    writeln!(out, "];")?;
    constants(out, &rows, "ExtensionType")
}

fn versions(out: &mut String) -> Outcome<()> {
    let rows = numbered("tls_versions")?;
    writeln!(
        out,
        "pub(super) static VERSIONS: [VersionEntry; {}] = [",
        rows.len()
    )?;
    for row in &rows {
        write!(
            out,
            "    VersionEntry {{ code: {}, name: {:?}, ",
            row.number(0)?,
            row.cell(1)?
        )?;
        writeln!(out, "rank: VersionRank::{} }},", row.cell(2)?)?;
    }
    writeln!(out, "];")?;
    constants(out, &rows, "Version")
}

fn alerts(out: &mut String) -> Outcome<()> {
    let rows = numbered("tls_alerts")?;
    writeln!(
        out,
        "pub(super) static ALERTS: [AlertEntry; {}] = [",
        rows.len()
    )?;
    for row in &rows {
        let error = row.text(2)?.zip(row.optional(3)?);
        write!(
            out,
            "    AlertEntry {{ code: {}, name: {:?}, ",
            row.number(0)?,
            row.cell(1)?
        )?;
        writeln!(out, "schannel_error: {error:?} }},")?;
    }
    writeln!(out, "];")?;
    constants(out, &rows, "AlertDescription")
}

/// A registry that has nothing but names.
fn names(out: &mut String, file: &str, table: &str, class: &str) -> Outcome<()> {
    let rows = numbered(file)?;
    writeln!(
        out,
        "pub(super) static {table}: [(u8, &str); {}] = [",
        rows.len()
    )?;
    for row in &rows {
        writeln!(out, "    ({}, {:?}),", row.number(0)?, row.cell(1)?)?;
    }
    writeln!(out, "];")?;
    constants(out, &rows, class)
}

fn releases(out: &mut String) -> Outcome<()> {
    let rows = rows("schannel_releases")?;
    for (table, source) in [("RELEASES", "documented"), ("OBSERVED", "observed")] {
        writeln!(out, "pub(super) static {table}: &[WindowsRelease] = &[")?;
        for row in &rows {
            if row.cell(1)? != source {
                continue;
            }
            let codes: Result<Vec<u16>, _> = row
                .cell(4)?
                .split(' ')
                .map(|code| u16::from_str_radix(code, 16))
                .collect();
            let codes = codes.map_err(|error| format!("{}: {error}", row.place))?;
            write!(
                out,
                "    WindowsRelease {{ name: {:?}, suites: &{codes:?}, ",
                row.cell(0)?
            )?;
            writeln!(
                out,
                "ja4_b: {:?}, ja4_b_no_rc4: {:?} }},",
                row.text(2)?,
                row.text(3)?
            )?;
        }
        writeln!(out, "];")?;
    }
    Ok(())
}

/// What the value of a key is.
enum Form {
    /// A text, which must be there.
    Text,
    /// A text, or none.
    MayBeText,
    /// A list of texts; empty where it is not there.
    Lines,
    /// Tables by name that have these fields; none where it is not there.
    Tables(&'static str, &'static [(&'static str, Form)]),
    /// Texts by name.
    Texts,
    /// Texts by name, taken apart at their placeholders.
    Parts,
    /// Lists of texts by name.
    Lists,
    /// A table of texts that must all be there, named as the struct's fields are.
    Fields(&'static str),
}

const CAUSE: &[(&str, Form)] = &[
    ("headline", Form::MayBeText),
    ("meaning", Form::MayBeText),
    ("affects", Form::Lines),
    ("remedy", Form::Lines),
    ("instead", Form::Lines),
];

const PAGE: &[(&str, Form)] = &[
    ("title", Form::Text),
    ("headline", Form::MayBeText),
    ("meaning", Form::Text),
    ("affects", Form::Lines),
    ("remedy", Form::Lines),
    ("limits", Form::Text),
    ("verify", Form::Text),
    ("cause", Form::Tables("Cause", CAUSE)),
];

const TEXTS: &[(&str, Form)] = &[
    ("headings", Form::Fields("Headings")),
    ("blocks", Form::Lists),
    ("finding", Form::Tables("Page", PAGE)),
    ("fact", Form::Parts),
    ("word", Form::Texts),
];

/// One language's words of the findings, as a `Texts`.
fn texts(out: &mut String, table: &str, language: &str) -> Outcome<()> {
    let path = format!("src/findings/text/{language}.toml");
    let file: Table = read(&path)?
        .parse()
        .map_err(|error| format!("{path}: {error}"))?;
    write!(out, "pub(super) static {table}: Texts = ")?;
    fields(out, "Texts", TEXTS, &file).map_err(|error| format!("{path}: {error}"))?;
    writeln!(out, ";")?;
    Ok(())
}

/// A struct of these fields; a key that is none of them is a mistake.
fn fields(out: &mut String, class: &str, known: &[(&str, Form)], table: &Table) -> Outcome<()> {
    if let Some(key) = table
        .keys()
        .find(|key| known.iter().all(|(name, _)| name != key))
    {
        return Err(format!("{key}: no such key in {class}").into());
    }
    writeln!(out, "{class} {{")?;
    for (name, form) in known {
        write!(out, "{name}: ")?;
        value(out, form, table.get(*name)).map_err(|error| format!("{name}: {error}"))?;
        writeln!(out, ",")?;
    }
    write!(out, "}}")?;
    Ok(())
}

fn value(out: &mut String, form: &Form, value: Option<&Value>) -> Outcome<()> {
    match (form, value) {
        (Form::MayBeText, None) => out.push_str("None"),
        (Form::Lines, None) => out.push_str("&[]"),
        (Form::Tables(..), None) => out.push_str("ByName(&[])"),
        (Form::Text, Some(Value::String(text))) => write!(out, "{text:?}")?,
        (Form::MayBeText, Some(Value::String(text))) => write!(out, "Some({text:?})")?,
        (Form::Lines, Some(Value::Array(lines))) => {
            let lines: Option<Vec<&str>> = lines.iter().map(Value::as_str).collect();
            write!(out, "&{:?}", lines.ok_or("not a list of texts")?)?;
        }
        (Form::Fields(class), Some(Value::Table(table))) => {
            let known: Vec<(&str, Form)> = table.keys().map(|key| (&**key, Form::Text)).collect();
            fields(out, class, &known, table)?;
        }
        (Form::Texts, Some(Value::Table(table))) => by_name(out, table, |out, one| {
            self::value(out, &Form::Text, Some(one))
        })?,
        (Form::Parts, Some(Value::Table(table))) => by_name(out, table, |out, one| {
            parts(out, one.as_str().ok_or("not a text")?)
        })?,
        (Form::Lists, Some(Value::Table(table))) => by_name(out, table, |out, one| {
            self::value(out, &Form::Lines, Some(one))
        })?,
        (Form::Tables(class, known), Some(Value::Table(table))) => {
            by_name(out, table, |out, one| {
                fields(out, class, known, one.as_table().ok_or("not a table")?)
            })?;
        }
        (_, Some(_)) => return Err("of another type".into()),
        (_, None) => return Err("is missing".into()),
    }
    Ok(())
}

/// A text as a list of `Part`: `{name}` in small letters is a placeholder, other braces stay as they are.
fn parts(out: &mut String, text: &str) -> Outcome<()> {
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut rest = text;
    let mut at = 0;
    write!(out, "&[")?;
    while let Some(begin) = rest
        .get(at..)
        .and_then(|after| after.find('{'))
        .map(|found| at + found)
    {
        let after = rest.get(begin + 1..).unwrap_or_default();
        match after.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, tail)) => {
                let before = rest.get(..begin).unwrap_or_default();
                if !before.is_empty() {
                    write!(out, "Part::Text({before:?}), ")?;
                }
                write!(out, "Part::Value({name:?}), ")?;
                (rest, at) = (tail, 0);
            }
            None => at = begin + 1,
        }
    }
    if !rest.is_empty() {
        write!(out, "Part::Text({rest:?})")?;
    }
    write!(out, "]")?;
    Ok(())
}

/// A `ByName` of these values, in the order of their names.
fn by_name(
    out: &mut String,
    table: &Table,
    one: impl Fn(&mut String, &Value) -> Outcome<()>,
) -> Outcome<()> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    writeln!(out, "ByName(&[")?;
    for (name, value) in entries {
        write!(out, "({name:?}, ")?;
        one(out, value).map_err(|error| format!("{name}: {error}"))?;
        writeln!(out, "),")?;
    }
    write!(out, "])")?;
    Ok(())
}
