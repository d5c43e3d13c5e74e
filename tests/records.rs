//! The promise to other programs: a line of NDJSON is what serde makes of the record, and can be read back.

mod support;

use serde_json::Value;
use tlscope::record::{Handshake, Line};

#[test]
fn lines_are_those_of_serde_and_can_be_read_back() {
    let mut seen = 0;
    for capture in support::captures() {
        let out =
            support::run::files(std::slice::from_ref(&capture), &support::run::options()).ndjson;
        for line in out.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let back: Line = serde_json::from_str(line).unwrap();
            assert_eq!(
                serde_json::to_value(&back).unwrap(),
                value,
                "{}",
                capture.display()
            );
            if value["type"] == "handshake" {
                let record: Handshake = serde_json::from_str(line).unwrap();
                let again = serde_json::to_string(&record).unwrap();
                let inside = again.strip_prefix('{').unwrap();
                assert_eq!(
                    format!("{{\"type\":\"handshake\",{inside}"),
                    line,
                    "{}",
                    capture.display()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}
