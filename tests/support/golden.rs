//! Reports for people that are goldens.

use std::{fs, path::Path};

/// Goldens are to be written anew.
pub(crate) fn is_update() -> bool {
    std::env::var_os("UPDATE_GOLDENS").is_some_and(|value| value == "1")
}

/// What the program prints in a folder about a capture, in a language. It has nothing to complain of.
#[track_caller]
pub(crate) fn report(folder: &Path, capture: &str, lang: &str) -> String {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_tlscope"))
        .args(["--lang", lang, "--color", "never"])
        .current_dir(folder)
        .arg(capture)
        .output()
        .unwrap();
    assert_eq!(output.stderr, b"", "{capture}");
    String::from_utf8(output.stdout).unwrap()
}

/// A report is its golden, line by line.
#[track_caller]
pub(crate) fn assert_report(golden: &Path, ours: &str) {
    if is_update() {
        return fs::write(golden, ours).unwrap();
    }
    let theirs = fs::read_to_string(golden).unwrap();
    let lines = theirs.lines().zip(ours.lines());
    for (number, (theirs, ours)) in (1..).zip(lines) {
        assert_eq!(theirs, ours, "{}:{number}", golden.display());
    }
    assert_eq!(theirs.len(), ours.len(), "{}", golden.display());
}
