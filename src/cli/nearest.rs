//! The right name for one that was mistyped.

/// The name closest to what was typed, if any is close enough to be meant.
pub(crate) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase().replace('_', "-");
    let names: Vec<&str> = names.collect();
    let begins: Vec<&&str> = names
        .iter()
        .filter(|name| typed.len() >= 3 && name.starts_with(&typed))
        .collect();
    if let [only] = begins.as_slice() {
        return Some(only);
    }
    names
        .into_iter()
        .map(|name| (distance(&typed, name), name))
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .min()
        .map(|(_, name)| name)
}

/// How many characters must be put in, left out or changed to make `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, from) in a.chars().enumerate() {
        let mut next = vec![index + 1];
        for ((to, pair), column) in b.iter().zip(row.windows(2)).zip(0..) {
            let (diagonal, above): (usize, usize) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => break,
            };
            let left: usize = next.get(column).copied().unwrap_or(0);
            let change = diagonal + usize::from(from != *to);
            next.push(change.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["h2-blocklisted-cipher", "sni-missing", "sni-unmatched"];
        let near = |typed| nearest(typed, names.into_iter());
        assert_eq!(near("h2-blacklisted-cipher"), Some("h2-blocklisted-cipher"));
        assert_eq!(near("H2_BLOCKLISTED_CIPHER"), Some("h2-blocklisted-cipher"));
        assert_eq!(near("h2-b"), Some("h2-blocklisted-cipher"));
        assert_eq!(near("sni-mising"), Some("sni-missing"));
        assert_eq!(near("sni-"), None, "two begin so, and neither is near");
        assert_eq!(near("weather"), None);
    }
}
