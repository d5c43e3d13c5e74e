//! Whether a name in a certificate names a server (RFC 9525 section 6.3).
//!
//! The same name without regard to case, or a wildcard: `*` as the whole left-most label stands for exactly one label.
//! Names of other scripts come as A-labels (`xn--…`, RFC 5890); a client that sends U-labels in its hello means the same
//! name, so both forms are compared.

/// Whether `pattern` names `name`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    if pattern == name && !pattern.starts_with('*') {
        return true;
    }
    let (pattern, name) = (pattern.trim_end_matches('.'), name.trim_end_matches('.'));
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && !parent.is_empty() && is_same(parent, rest)
        }),
        None => is_same(pattern, name),
    }
}

fn is_same(one: &str, other: &str) -> bool {
    if one.eq_ignore_ascii_case(other) {
        return true;
    }
    if one.is_ascii() && other.is_ascii() {
        return false;
    }
    let (mut ones, mut others) = (one.split('.'), other.split('.'));
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if unicode(one) == unicode(other) => {}
            _ => return false,
        }
    }
}

/// A label in its Unicode form and lower case; what is no A-label, or a broken one, stays as it is.
fn unicode(label: &str) -> String {
    let lower = label.to_lowercase();
    let decoded = lower.strip_prefix("xn--").and_then(punycode);
    decoded.unwrap_or(lower)
}

/// Decodes the part of an A-label behind its prefix (RFC 3492 section 6.2).
fn punycode(encoded: &str) -> Option<String> {
    const BASE: u32 = 36;
    const LABEL_BYTES_MAX: usize = 63;
    if encoded.len() > LABEL_BYTES_MAX || !encoded.is_ascii() {
        return None;
    }
    let (basic, digits) = encoded.rsplit_once('-').unwrap_or(("", encoded));
    let mut decoded: Vec<char> = basic.chars().collect();
    let (mut code, mut index, mut bias) = (0x80u32, 0u32, 72u32);
    let mut digits = digits.bytes().peekable();
    while digits.peek().is_some() {
        let (before, mut weight, mut place) = (index, 1u32, BASE);
        loop {
            let digit = match digits.next()? {
                letter @ b'a'..=b'z' => u32::from(letter - b'a'),
                number @ b'0'..=b'9' => u32::from(number - b'0') + 26,
                _ => return None,
            };
            index = index.checked_add(digit.checked_mul(weight)?)?;
            let threshold = place.saturating_sub(bias).clamp(1, 26);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(BASE - threshold)?;
            place += BASE;
        }
        let length = u32::try_from(decoded.len()).ok()? + 1;
        bias = adapted(index - before, length, before == 0);
        code = code.checked_add(index / length)?;
        index %= length;
        decoded.insert(index as usize, char::from_u32(code)?);
        index += 1;
    }
    Some(decoded.into_iter().collect())
}

/// The next bias (RFC 3492 section 6.1).
fn adapted(delta: u32, length: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / length;
    let mut place = 0;
    while delta > 455 {
        delta /= 35;
        place += 36;
    }
    place + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_whole_label() {
        assert!(matches("*.contoso.com", "mail.Contoso.com."));
        assert!(!matches("*.contoso.com", "a.mail.contoso.com"));
        assert!(!matches("*.contoso.com", "contoso.com"));
        assert!(!matches("*.contoso.com", ".contoso.com"));
        for partial in ["m*.contoso.com", "*l.contoso.com", "m*l.contoso.com"] {
            assert!(!matches(partial, "mail.contoso.com"), "{partial}");
        }
        assert!(!matches("mail.*.com", "mail.contoso.com"));
        assert!(!matches("*.*.com", "mail.contoso.com"));
        assert!(!matches("*", "contoso") && !matches("*.", "x."));
        // A whole label may be an A-label, too.
        assert!(matches("*.example", "xn--bcher-kva.example"));
    }

    #[test]
    fn names_of_other_scripts_are_compared_in_both_forms() {
        for (a_label, u_label) in [
            ("xn--bcher-kva.example", "bücher.example"),
            ("XN--BCHER-KVA.example", "BÜCHER.example"),
            ("xn--mnchen-3ya.xn--fiqs8s", "münchen.中国"),
            ("xn--r8jz45g.jp", "例え.jp"),
            ("xn--maana-pta.com", "mañana.com"),
        ] {
            assert!(matches(a_label, u_label), "{a_label}");
            assert!(matches(u_label, a_label), "{a_label}");
            assert!(matches(&format!("*.{a_label}"), &format!("www.{u_label}")));
        }
        assert!(!matches("xn--bcher-kva.example", "bucher.example"));
        assert!(!matches("xn--bcher-kva.example", "bücher.test"));
        assert!(!matches("xn--bcher-kva.example", "bücher.example.test"));
        // Broken A-labels are only equal to themselves.
        assert!(matches("xn--99999999.example", "XN--99999999.example"));
        assert!(!matches("xn--99999999.ü", "b.ü"));
        for broken in [
            "xn--",
            "xn---",
            "xn--ü",
            "xn--a-ecp.ru",
            "xn--zzzzzzzzzzzzzzzzzzz",
        ] {
            let _ = matches(broken, "ü");
        }
    }
}
