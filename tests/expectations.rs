//! What other analyzers' own test suites expect of captures that others made: each fingerprint, name and suite that they
//! claim must be in our records, or the difference is explained in `tests/expected_differences.tsv`.
//!
//! The captures and the expectations are not part of the repository: without `../shared/captures` this test says so and
//! checks nothing.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use support::run;

/// One claim: which of our fields, and its value.
type Claim = (&'static str, String);

fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    if !folder.is_dir() {
        eprintln!("skipped: no {}", folder.display());
        return None;
    }
    Some(folder)
}

/// Values behind `key` up to one of the ends.
fn behind<'t>(text: &'t str, key: &'t str, ends: &'t [char]) -> impl Iterator<Item = &'t str> {
    text.match_indices(key).filter_map(move |(at, _)| {
        let rest = &text[at + key.len()..];
        let value = rest.split(ends).next()?.trim().trim_matches('"');
        (!value.is_empty()).then_some(value)
    })
}

fn claims(kind: &str, text: &str) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut all = |field, values: &mut dyn Iterator<Item = &str>| {
        claims.extend(values.map(|value| (field, value.to_owned())));
    };
    match kind {
        "ndpi-result" => {
            all("ja3", &mut behind(text, "[JA3C: ", &[']']));
            // Some are marked, as `(WEAK)`.
            all("ja3s", &mut behind(text, "[JA3S: ", &[']', ' ']));
        }
        "ja4-rust-snap" => {
            let tls = |line: &&str| !line.contains("tls_server_name");
            let lines = text.lines();
            all(
                "ja4",
                &mut lines
                    .clone()
                    .filter(tls)
                    .flat_map(|line| behind(line, "  ja4: ", &['\n'])),
            );
            all("sni", &mut behind(text, "tls_server_name: ", &['\n']));
        }
        "suricata-verify-checks" => suricata(text, &mut claims),
        "arkime-session-json" | "ja4-python-json" | "ja4-wireshark-json" => {
            let json: Value = serde_json::from_str(text).unwrap_or_default();
            walk(kind, &json, &mut claims);
        }
        "zeek-baseline" => zeek(text, &mut claims),
        _ => {}
    }
    claims
}

/// Of each filter that must be met, the fields of TLS.
fn suricata(text: &str, claims: &mut Vec<Claim>) {
    for filter in text.split("- filter:").skip(1) {
        if filter.contains("count: 0") || filter.contains("lt-version") {
            continue;
        }
        for (field, key) in [
            ("ja3", "tls.ja3.hash: "),
            ("ja3s", "tls.ja3s.hash: "),
            ("ja4", "tls.ja4: "),
            ("sni", "tls.sni: "),
        ] {
            let values = behind(filter, key, &['\n', '#']);
            claims.extend(values.map(|value| (field, value.trim_matches('\'').to_owned())));
        }
    }
}

/// Looks through a JSON document for the keys of each tool.
fn walk(kind: &str, json: &Value, claims: &mut Vec<Claim>) {
    match json {
        Value::Array(list) => list.iter().for_each(|one| walk(kind, one, claims)),
        Value::Object(map) => {
            for (key, value) in map {
                let field = match (kind, key.as_str()) {
                    ("arkime-session-json", "ja3") => "ja3",
                    ("arkime-session-json", "ja3s") => "ja3s",
                    ("arkime-session-json", "cipher") => "suite",
                    ("ja4-wireshark-json", "ja4.ja4") => "ja4",
                    ("ja4-python-json", key) if key.split('.').next() == Some("JA4") => "ja4",
                    _ => {
                        walk(kind, value, claims);
                        continue;
                    }
                };
                let values = match value {
                    Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
                    Value::String(text) => vec![text.as_str()],
                    _ => Vec::new(),
                };
                claims.extend(values.into_iter().map(|value| (field, value.to_owned())));
            }
        }
        _ => {}
    }
}

/// A log with its columns named in a comment.
fn zeek(text: &str, claims: &mut Vec<Claim>) {
    let mut columns: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(fields) = line.strip_prefix("#fields\t") {
            columns = fields.split('\t').collect();
        } else if !line.starts_with('#') {
            for (column, value) in columns.iter().zip(line.split('\t')) {
                let field = match *column {
                    "cipher" => "suite",
                    "server_name" => "sni",
                    _ => continue,
                };
                if value != "-" && value != "(empty)" {
                    claims.push((field, value.to_owned()));
                }
            }
        }
    }
}

/// What our records of a capture say, by the same fields.
fn ours(path: &Path) -> BTreeSet<Claim> {
    let run = run::files(&[path.to_owned()], &run::options());
    let mut told = BTreeSet::new();
    for record in &run.records {
        let hellos = [&record.client_hello, &record.second_client_hello];
        for hello in hellos.into_iter().flatten() {
            told.insert(("ja3", hello.shape.ja3.to_string()));
            told.insert(("ja4", hello.shape.ja4.to_string()));
            if let Some(sni) = &hello.sni {
                told.insert(("sni", sni.to_string()));
            }
        }
        let hellos = [&record.server_hello, &record.hello_retry_request];
        for hello in hellos.into_iter().flatten() {
            told.insert(("ja3s", hello.shape.ja3s.to_string()));
            let name = hello.shape.cipher_suite_name.as_deref();
            told.insert(("suite", name.unwrap_or("").to_owned()));
        }
    }
    told
}

/// Explained differences: capture, field, value (`*` for any), why.
fn explained() -> Vec<[String; 3]> {
    let rows = fs::read_to_string("tests/expected_differences.tsv").unwrap();
    rows.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            assert!(cells.len() == 4 && cells[3].len() > 10, "{line}");
            [
                cells[0].to_owned(),
                cells[1].to_owned(),
                cells[2].to_owned(),
            ]
        })
        .collect()
}

#[test]
fn what_other_analyzers_expect_is_met_or_explained() {
    let Some(folder) = shared() else { return };
    let rows = fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let mut by_capture: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for row in rows.lines().skip(1) {
        let cells: Vec<&str> = row.split('\t').collect();
        by_capture
            .entry(cells[0])
            .or_default()
            .push((cells[1], cells[2]));
    }
    let known = explained();
    let (mut met, mut explained, mut wrong) = (0, 0, Vec::new());
    for (capture, expected) in by_capture {
        let path = folder.join("real").join(capture);
        let mut told = None;
        for (file, kind) in expected {
            // Logs that one test of Zeek gathers from several captures.
            if file.ends_with("-all.log") || file.ends_with("-out.log") {
                continue;
            }
            let Ok(text) = fs::read_to_string(folder.join("expected").join(file)) else {
                continue;
            };
            for (field, value) in claims(kind, &text) {
                let told = told.get_or_insert_with(|| ours(&path));
                let is_known = |[path, of, which]: &[String; 3]| {
                    path == capture && of == field && (which == "*" || *which == value)
                };
                if told.contains(&(field, value.clone())) {
                    met += 1;
                } else if known.iter().any(is_known) {
                    explained += 1;
                } else {
                    wrong.push(format!("{capture}\t{field}\t{value}\t({file})"));
                }
            }
        }
    }
    eprintln!("{met} claims met, {explained} differ with a reason");
    assert!(met > 500, "only {met} claims were checked");
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
