//! One JSON document, `{"handshakes":[…],"findings":[…],"summary":{…}}`, written as the records come: it is as long
//! as the capture's handshakes, but never held in memory.

use super::{
    Report, View,
    ndjson::{append, write},
};
use crate::{
    record::{Finding, Handshake},
    stats::Summary,
};
use std::io::{self, Write};

/// Appends the record as one element of the list.
pub(super) fn render(record: &Handshake, out: &mut Vec<u8>) {
    append(record, out);
}

pub(super) fn new(view: View) -> Box<dyn Report> {
    Box::new(Json {
        view,
        written: false,
    })
}

struct Json {
    view: View,
    /// The document has been begun.
    written: bool,
}

impl Json {
    fn separator(&mut self) -> &'static [u8] {
        if core::mem::replace(&mut self.written, true) {
            b",\n"
        } else {
            b"{\"handshakes\":[\n"
        }
    }
}

impl Report for Json {
    fn record(
        &mut self,
        _record: &Handshake,
        rendered: &[u8],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        out.write_all(self.separator())?;
        write(rendered, self.view, out)
    }

    fn finish(
        &mut self,
        findings: &[Finding],
        summary: &Summary,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let begin: &[u8] = if self.written {
            b"\n]"
        } else {
            b"{\"handshakes\":[]"
        };
        let mut bytes = begin.to_vec();
        bytes.extend_from_slice(b",\n\"findings\":");
        append(&findings, &mut bytes);
        bytes.extend_from_slice(b",\n\"summary\":");
        append(summary, &mut bytes);
        bytes.extend_from_slice(b"}\n");
        write(&bytes, self.view, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn document(records: &[Handshake], findings: &[Finding], summary: &Summary) -> String {
        let mut out = Vec::new();
        let mut report = new(View::default());
        for record in records {
            let mut rendered = Vec::new();
            render(record, &mut rendered);
            report.record(record, &rendered, &mut out).unwrap();
        }
        report.finish(findings, summary, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_document_with_three_parts() {
        let (records, findings, summary) = sample::run();
        let text = document(&records, &findings, &summary);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let read: Vec<Handshake> = serde_json::from_value(value["handshakes"].clone()).unwrap();
        assert_eq!(read, records);
        let read: Vec<Finding> = serde_json::from_value(value["findings"].clone()).unwrap();
        assert_eq!(read, findings);
        let read: Summary = serde_json::from_value(value["summary"].clone()).unwrap();
        assert_eq!(read, summary);
    }

    #[test]
    fn a_document_without_records_is_whole() {
        let text = document(&[], &[], &Summary::default());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["handshakes"], serde_json::json!([]));
        assert_eq!(value["findings"], serde_json::json!([]));
    }
}
