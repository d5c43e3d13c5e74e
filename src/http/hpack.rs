//! The first header block of each side of an HTTP/2 connection (RFC 7541). Its dynamic table is empty when it begins, so
//! that it can be read without those that follow, which are not.
//!
//! A field whose name is of no use here is stepped over. What refers to the dynamic table, or can't be read, ends the
//! reading; the fields in front of it stand.

/// Bytes of a name or value, decoded; longer ones end the reading.
const TEXT_BYTES_MAX: usize = 4096;
/// Fields of a block that are looked at.
const FIELDS_MAX: usize = 64;

/// Characters by the length of their codes (RFC 7541 Appendix B): codes of one length follow one another in the order of
/// their characters, and those of the next length follow these. All that host names, paths and tokens are made of has 15
/// bits at most; what has more is not read.
const BY_LENGTH: [(u8, &[u8]); 11] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (9, b""),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

/// Name and value of an entry of the static table, as far as they are of use (RFC 7541 Appendix A).
fn known(index: usize) -> (&'static [u8], &'static [u8]) {
    match index {
        1 => (b":authority", b""),
        2 => (b":method", b"GET"),
        3 => (b":method", b"POST"),
        4 => (b":path", b"/"),
        5 => (b":path", b"/index.html"),
        8 => (b":status", b"200"),
        9 => (b":status", b"204"),
        10 => (b":status", b"206"),
        11 => (b":status", b"304"),
        12 => (b":status", b"400"),
        13 => (b":status", b"404"),
        14 => (b":status", b"500"),
        23 => (b"authorization", b""),
        38 => (b"host", b""),
        46 => (b"location", b""),
        48 => (b"proxy-authenticate", b""),
        49 => (b"proxy-authorization", b""),
        58 => (b"user-agent", b""),
        60 => (b"via", b""),
        61 => (b"www-authenticate", b""),
        _ => (b"", b""),
    }
}

/// Entries of the static table.
const KNOWN_MAX: usize = 61;

/// Hands over each field of the block with a name that is of use.
pub(super) fn fields(mut block: &[u8], mut each: impl FnMut(&[u8], &[u8])) {
    for _ in 0..FIELDS_MAX {
        if block.is_empty() || field(&mut block, &mut each).is_none() {
            return;
        }
    }
}

fn field(block: &mut &[u8], each: &mut impl FnMut(&[u8], &[u8])) -> Option<()> {
    let first = *block.first()?;
    let bits = match first {
        // In the table with its value; the table's size; literals that are kept, or not.
        0x80.. => 7,
        0x20..0x40 => {
            number(block, 5)?;
            return Some(());
        }
        0x40.. => 6,
        _ => 4,
    };
    let index = number(block, bits)?;
    if index > KNOWN_MAX {
        return None;
    }
    let (name, value) = known(index);
    if bits == 7 {
        hand_over(name, value, each);
        return Some(());
    }
    let literal;
    let name = match index {
        0 => {
            literal = text(block)?;
            &literal
        }
        _ => name,
    };
    let value = text(block)?;
    hand_over(name, &value, each);
    Some(())
}

fn hand_over(name: &[u8], value: &[u8], each: &mut impl FnMut(&[u8], &[u8])) {
    if !name.is_empty() {
        each(name, value);
    }
}

/// A number whose first part has so many bits (RFC 7541 section 5.1).
fn number(block: &mut &[u8], bits: u32) -> Option<usize> {
    /// More bytes would make numbers that no block is long enough for.
    const MORE_MAX: u32 = 3;
    let (first, mut rest) = block.split_first()?;
    let most = (1_usize << bits) - 1;
    let mut number = usize::from(*first) & most;
    if number == most {
        for place in 0..=MORE_MAX {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            number += usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
            if place == MORE_MAX {
                return None;
            }
        }
    }
    *block = rest;
    Some(number)
}

/// A string, as it is or in the Huffman code (RFC 7541 section 5.2).
fn text(block: &mut &[u8]) -> Option<Vec<u8>> {
    let is_coded = *block.first()? & 0x80 != 0;
    let length = number(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length)?;
    *block = rest;
    if length > TEXT_BYTES_MAX {
        return None;
    }
    match is_coded {
        true => decoded(bytes),
        false => Some(bytes.to_vec()),
    }
}

fn decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() * 8 / 5);
    let (mut code, mut length) = (0_usize, 0_u8);
    for byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | usize::from(byte >> bit & 1);
            length += 1;
            if let Some(character) = character(code, length)? {
                out.push(character);
                (code, length) = (0, 0);
            }
        }
    }
    // What fills the last byte are the first bits of a code of ones.
    (length < 8 && code + 1 == 1 << length).then_some(out)
}

/// The character of a code: `None` inside where it needs more bits, `None` outside where it has none.
fn character(code: usize, length: u8) -> Option<Option<u8>> {
    let mut first = 0;
    let mut before = 5;
    for (bits, characters) in BY_LENGTH {
        first <<= bits - before;
        before = bits;
        if bits == length {
            return Some(characters.get(code.checked_sub(first)?).copied());
        }
        first += characters.len();
    }
    (length < 5).then_some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &[u8]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields(block, |name, value| found.push((text(name), text(value))));
        found
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        list.iter().map(owned).collect()
    }

    const WANTED: [(&str, &str); 3] = [
        (":method", "GET"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ];

    #[test]
    fn the_examples_of_rfc_7541() {
        // Appendix C.3.1, and C.4.1 in the Huffman code.
        assert_eq!(read(b"\x82\x86\x84\x41\x0fwww.example.com"), pairs(&WANTED));
        let coded = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        assert_eq!(read(coded), pairs(&WANTED));
        // Appendix C.2.1: name and value as literals; C.6.1: a response.
        let custom = b"\x40\x0acustom-key\x0dcustom-header";
        assert_eq!(read(custom), pairs(&[("custom-key", "custom-header")]));
        let response = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3";
        let wanted = [(":status", "302"), ("location", "https://www.example.com")];
        assert_eq!(read(response), pairs(&wanted));
    }

    #[test]
    fn blocks_that_are_cut_or_broken_end_the_reading() {
        let whole = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).len() < 3, "{length}");
        }
        // The dynamic table; a number without end; padding that is no end of a code; a code that is too long.
        assert!(read(b"\xbe\x82").is_empty());
        assert!(read(b"\xff\xff\xff\xff\xff\xff\x01").is_empty());
        assert!(read(b"\x41\x81\x00").is_empty());
        assert!(read(b"\x41\x84\xff\xff\xff\xff").is_empty());
        for byte in 0..=255_u8 {
            for other in 0..=255_u8 {
                read(&[byte, other, 0x84, 0xfe, other, byte, other, 0x82]);
            }
        }
    }

    #[test]
    fn no_code_begins_another() {
        // The codes and what is left of them fill all of the space: 2^15 is one code more than there are.
        let used: usize = BY_LENGTH
            .iter()
            .map(|(bits, characters)| characters.len() << (15 - bits))
            .sum();
        assert_eq!(used, (1 << 15) - 1);
    }
}
