//! Text from the wire, made safe to look at.
//!
//! A server name can hold an escape sequence that rewrites a terminal, or a bidi override that makes one name look
//! like another. Such characters are shown as escapes, never dropped: the administrator shall see that they are
//! there. Unicode Standard Annex 9 (bidi), ECMA-48 (control sequences).

use std::borrow::Cow;

/// Whether a character acts instead of showing itself: controls (C0, DEL, C1), line separators, bidi marks,
/// embeddings and isolates, and characters without width.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text with such characters as `\x1b` or `\u{202e}`; line ends and tabs are escaped too.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        let number = u32::from(character);
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ if !acts(character) => safe.push(character),
            _ if number < 0x100 => safe.push_str(&format!("\\x{number:02x}")),
            _ => safe.push_str(&format!("\\u{{{number:x}}}")),
        }
    }
    Cow::Owned(safe)
}

/// As [`clean`], but line ends stay: for words that we wrote, into which text from the wire was put.
#[must_use]
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    if !text.contains('\n') {
        return clean(text);
    }
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(clean).collect();
    Cow::Owned(lines.join("\n"))
}

/// JSON with such characters as `\u001b`: the same document, safe on a terminal. Line ends stay, since they can only
/// stand between values.
#[must_use]
pub fn clean_json(json: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = core::str::from_utf8(json) else {
        return Cow::Borrowed(json); // our own serializer wrote it, so this is UTF-8
    };
    let hidden = |character: char| acts(character) && character != '\n';
    if !text.chars().any(hidden) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if hidden(character) {
            // All of them lie in the basic plane, so four digits are enough.
            safe.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_not_copied() {
        for text in ["mail.contoso.com", "名前.example", "bücher.example", ""] {
            assert!(matches!(clean(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn control_and_bidi_characters_are_shown_as_escapes() {
        assert_eq!(clean("a\u{1b}[31mb"), "a\\x1b[31mb");
        assert_eq!(clean("a\nb\rc\td"), "a\\nb\\rc\\td");
        assert_eq!(clean("moc.\u{202e}elpmaxe"), "moc.\\u{202e}elpmaxe");
        assert_eq!(clean("\u{9b}2J\u{7f}"), "\\x9b2J\\x7f");
        for number in (0x202a..=0x202e)
            .chain(0x2066..=0x2069)
            .chain([0x200e, 0x200f, 0x061c])
        {
            let character = char::from_u32(number).unwrap();
            assert_eq!(
                clean(&character.to_string()),
                format!("\\u{{{number:x}}}"),
                "{number:x}"
            );
        }
        for number in (0..0x20u32).chain(0x7f..0xa0) {
            let text = char::from_u32(number).unwrap().to_string();
            assert!(clean(&text).starts_with('\\'), "{number:x}");
        }
    }

    #[test]
    fn our_line_ends_stay() {
        assert_eq!(clean_lines("one\ntwo\u{1b}"), "one\ntwo\\x1b");
        assert_eq!(clean_lines("one\u{1b}"), "one\\x1b");
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let value = serde_json::json!({ "sni": "a\u{202e}b\u{9b}c\u{7f}d\u{1b}" });
        let json = serde_json::to_vec(&value).unwrap();
        let safe = clean_json(&json);
        assert!(!core::str::from_utf8(&safe).unwrap().chars().any(acts));
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&safe).unwrap(),
            value
        );
        assert!(matches!(clean_json(b"{}\n"), Cow::Borrowed(_)));
    }
}
