//! A finding's NDJSON line. A large capture ends with a thousand and more of them, with remedies of many lines each: a
//! general serializer looked at their text byte by byte.

use super::{
    fast::{number, text, texts, time},
    ndjson::append,
};
use crate::record::Finding;

/// Appends the finding as a JSON object with its `type`, as serde would.
pub(super) fn finding(finding: &Finding, out: &mut Vec<u8>) {
    text(b"{\"type\":\"finding\",\"id\":", &finding.id, out);
    value(b",\"severity\":", &finding.severity, out);
    value(b",\"scope\":", &finding.scope, out);
    value(b",\"confidence\":", &finding.confidence, out);
    text(b",\"title\":", &finding.title, out);
    text(b",\"subject\":", &finding.subject, out);
    out.extend_from_slice(b",\"evidence\":[");
    for (index, one) in finding.evidence.iter().enumerate() {
        let begin: &[u8] = if index == 0 { b"{" } else { b",{" };
        out.extend_from_slice(begin);
        text(b"\"capture\":", &one.capture, out);
        number(b",\"frame\":", one.frame, out);
        text(b",\"fact\":", &one.fact, out);
        out.push(b'}');
    }
    number(b"],\"count\":", finding.count, out);
    time(b",\"first_seen\":\"", finding.first_seen, out);
    time(b",\"last_seen\":\"", finding.last_seen, out);
    texts(b",\"affects\":[", &finding.affects, out);
    texts(b",\"remediation\":[", &finding.remediation, out);
    text(b",\"reference\":", &finding.reference, out);
    if let Some(state) = &finding.state {
        value(b",\"state\":", state, out);
    }
    out.push(b'}');
}

fn value<T: serde::Serialize>(before: &[u8], value: &T, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    append(value, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{ndjson, sample};

    #[test]
    fn the_line_is_the_one_that_serde_makes() {
        let (_, mut findings, _) = sample::run();
        assert!(!findings.is_empty());
        findings[0].state = Some(crate::record::FindingState::Begins);
        findings[0].affects.clear();
        for one in &findings {
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            finding(one, &mut fast);
            ndjson::finding_by_serde(one, &mut slow);
            assert_eq!(String::from_utf8(fast), String::from_utf8(slow));
        }
    }
}
