//! A string as JSON has it, escaped by pieces: what needs no escape is looked at and copied many bytes at a time.

/// Appends a string in its quotes, as serde would.
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
    use crate::report::ndjson::append;

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
