//! Sizes as people write them: `512MiB`, `2G`, `800m`.

/// Bytes in `text`. K, M and G are powers of 1024, with or without `B` or `iB`; a bare number is bytes.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is no size; write it as 512MiB or 2G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text
        .get(digits.len()..)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let shift = match unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return Err(wrong()),
    };
    let number: usize = digits.trim_end().parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is more than this machine can address"))
}

/// As [`parse`], for memory that the program may use for connections.
pub(crate) fn parse_memory(text: &str) -> Result<usize, String> {
    const LEAST: usize = 16 << 20;
    match parse(text)? {
        bytes if bytes < LEAST => Err(format!(
            "`{text}` is too little to work with; give 16MiB or more"
        )),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4096B", 4096),
            ("64K", 64 << 10),
            ("512MiB", 512 << 20),
            ("512mb", 512 << 20),
            ("512 M", 512 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "G",
            "-1M",
            "1.5G",
            "1T",
            "1MM",
            "12ibs",
            "99999999999999999999G",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("17179869184G").unwrap_err().contains("more than"));
        assert!(parse_memory("1K").unwrap_err().contains("16MiB"));
        assert_eq!(parse_memory("16MiB"), Ok(16 << 20));
    }
}
