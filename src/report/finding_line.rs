//! A finding's NDJSON line. A large capture ends with a thousand and more of them, with remedies of many lines each: a
//! general serializer looked at their text byte by byte.

use super::{fast, ndjson::append};
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
        value(b",\"frame\":", &one.frame, out);
        text(b",\"fact\":", &one.fact, out);
        out.push(b'}');
    }
    value(b"],\"count\":", &finding.count, out);
    fast::time(b",\"first_seen\":\"", finding.first_seen, out);
    fast::time(b",\"last_seen\":\"", finding.last_seen, out);
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

fn texts<T: AsRef<str>>(before: &[u8], values: &[T], out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    for (index, one) in values.iter().enumerate() {
        text(if index == 0 { b"" } else { b"," }, one.as_ref(), out);
    }
    out.push(b']');
}

fn text(before: &[u8], text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    string(text, out);
}

/// Appends a string in its quotes.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    out.push(b'"');
    loop {
        let (plain, odd) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((odd, after)) = odd.split_first() else {
            break;
        };
        escape(*odd, out);
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes come before one that JSON escapes (RFC 8259 section 7).
fn plain_bytes(bytes: &[u8]) -> usize {
    const AT_ONCE: usize = 16;
    let is_odd = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // Without a way out in the middle, the processor looks at all of a chunk together.
    let (chunks, _) = bytes.as_chunks::<AT_ONCE>();
    let mut chunks = chunks.iter();
    let plain = chunks.position(|chunk| chunk.iter().fold(false, |odd, byte| odd | is_odd(*byte)));
    let begin = plain.unwrap_or(bytes.len() / AT_ONCE) * AT_ONCE;
    let rest = bytes.get(begin..).unwrap_or(&[]);
    let odd = rest.iter().position(|byte| is_odd(*byte));
    begin + odd.unwrap_or(rest.len())
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            let [high, low] = [byte >> 4, byte & 0xf].map(|digit| HEX[usize::from(digit)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
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

    #[test]
    fn strings_are_those_that_serde_makes() {
        let odd: String = (0..0x80_u8).map(char::from).collect();
        for length in 0..70 {
            for text in [
                "x".repeat(length),
                "x".repeat(length) + "\\",
                "x".repeat(length) + &odd,
                "暗".repeat(length) + "\n\u{7f}",
                "\"".repeat(length),
            ] {
                let (mut fast, mut slow) = (Vec::new(), Vec::new());
                string(&text, &mut fast);
                append(&text, &mut slow);
                assert_eq!(fast, slow, "{text:?}");
            }
        }
    }
}
