//! Findings of captures that the world published, as a table that people reviewed: a rule that changes shows here whom it
//! accuses now. `UPDATE_FINDINGS=1 cargo test --test false_alarms` writes the table anew. The captures are not part of
//! this project; where they lie, `TLSCOPE_SHARED` says (else beside the project), and without them the test says so.

#![allow(clippy::unwrap_used)] // a test that can't go on shall stop

mod support;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use support::run;

const TABLE: &str = "tests/findings_real.tsv";

/// All files below a folder, in order of their names.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => files_below(&path, found),
            false => found.push(path),
        }
    }
}

fn folder() -> Option<PathBuf> {
    let places = [
        std::env::var_os("TLSCOPE_SHARED").map(PathBuf::from),
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")),
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared")),
    ];
    places
        .into_iter()
        .flatten()
        .map(|shared| shared.join("captures/real"))
        .find(|folder| folder.is_dir())
}

#[test]
fn findings_of_real_captures_are_those_that_were_reviewed() {
    let Some(folder) = folder() else {
        eprintln!("skipped: no real captures here (TLSCOPE_SHARED)");
        return;
    };
    let mut files = Vec::new();
    files_below(&folder, &mut files);
    let mut table = String::from("capture\tfinding\tseverity\tsubjects\thandshakes\n");
    for path in files {
        let found = run::files(std::slice::from_ref(&path), &run::options());
        let mut rows: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        for finding in &found.findings {
            let (id, shown) = (&finding.id, &finding.evidence);
            assert!(!shown.is_empty(), "{}: {id} shows nothing", path.display());
            let severity = format!("{:?}", finding.severity).to_lowercase();
            let row = rows.entry((finding.id.to_string(), severity)).or_default();
            row.0 += 1;
            row.1 += finding.count;
        }
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        for ((id, severity), (subjects, handshakes)) in rows {
            let _ = writeln!(table, "{name}\t{id}\t{severity}\t{subjects}\t{handshakes}");
        }
    }
    if std::env::var_os("UPDATE_FINDINGS").is_some() {
        fs::write(TABLE, &table).unwrap();
        return;
    }
    let reviewed = fs::read_to_string(TABLE).unwrap();
    let (old, new): (Vec<&str>, Vec<&str>) = (reviewed.lines().collect(), table.lines().collect());
    let gone = old.iter().filter(|row| !new.contains(row));
    let come = new.iter().filter(|row| !old.contains(row));
    let changes: Vec<String> = gone
        .map(|row| format!("- {row}"))
        .chain(come.map(|row| format!("+ {row}")))
        .collect();
    assert!(
        changes.is_empty(),
        "{} rows changed (UPDATE_FINDINGS=1 takes them over):\n{}",
        changes.len(),
        changes.join("\n")
    );
}
