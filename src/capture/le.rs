//! Little-endian fields of Windows files, each read checked: [`u16_at`] and its brothers for layouts with
//! fixed offsets, [`Fields`] for those where one field's length moves the next, [`Guid`] for the names of
//! event providers.

use std::fmt;

/// The little-endian number at `at`, where the bytes reach that far.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u16::from_le_bytes(*field))
}

/// The little-endian number at `at`, where the bytes reach that far.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u32::from_le_bytes(*field))
}

/// The little-endian number at `at`, where the bytes reach that far.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| u64::from_le_bytes(*field))
}

/// The little-endian number at `at`, where the bytes reach that far.
pub(super) fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| i64::from_le_bytes(*field))
}

/// The identifier at `at`, where the bytes reach that far.
pub(super) fn guid_at(bytes: &[u8], at: usize) -> Option<Guid> {
    bytes.get(at..)?.first_chunk().map(|field| Guid(*field))
}

/// UTF-16 text from `at` to its NUL, or to the end of the bytes where there is none.
pub(super) fn utf16_at(bytes: &[u8], at: usize) -> Option<String> {
    Some(Fields(bytes.get(at..)?).utf16())
}

/// Fields one after another. A field beyond the end is `None` and takes nothing.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(field)
    }

    /// The next byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// The next two bytes.
    pub(super) fn u16(&mut self) -> Option<u16> {
        u16_at(self.take(2)?, 0)
    }

    /// The next four bytes.
    pub(super) fn u32(&mut self) -> Option<u32> {
        u32_at(self.take(4)?, 0)
    }

    /// The next eight bytes.
    pub(super) fn u64(&mut self) -> Option<u64> {
        u64_at(self.take(8)?, 0)
    }

    /// A pointer of a process with pointers of `bytes` bytes.
    pub(super) fn pointer(&mut self, bytes: u8) -> Option<u64> {
        if bytes == 4 {
            self.u32().map(u64::from)
        } else {
            self.u64()
        }
    }

    /// UTF-16 text to its NUL, or to the end of the bytes where there is none.
    pub(super) fn utf16(&mut self) -> String {
        let (pairs, _) = self.0.as_chunks::<2>();
        let length = pairs
            .iter()
            .position(|pair| *pair == [0, 0])
            .unwrap_or(pairs.len());
        let units = pairs
            .iter()
            .take(length)
            .map(|pair| u16::from_le_bytes(*pair));
        let text = char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        self.0 = self.0.get(length * 2 + 2..).unwrap_or_default();
        text
    }

    /// 8-bit text to its NUL, or to the end of the bytes where there is none.
    pub(super) fn latin(&mut self) -> String {
        let length = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.0.len());
        let text = self
            .0
            .iter()
            .take(length)
            .map(|byte| char::from(*byte))
            .collect();
        self.0 = self.0.get(length + 1..).unwrap_or_default();
        text
    }
}

/// The name of an event provider, in the byte order of Windows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// The identifier that is written `{first-second-third-rest}`, the rest as one number.
    pub const fn new(first: u32, second: u16, third: u16, rest: u64) -> Self {
        let [a, b, c, d] = first.to_le_bytes();
        let [e, f] = second.to_le_bytes();
        let [g, h] = third.to_le_bytes();
        let [i, j, k, l, m, n, o, p] = rest.to_be_bytes();
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, ff, g, h, i, j, rest @ ..] = self.0;
        let first = u32::from_le_bytes([a, b, c, d]);
        let second = u16::from_le_bytes([e, ff]);
        let third = u16::from_le_bytes([g, h]);
        write!(f, "{first:08X}-{second:04X}-{third:04X}-{i:02X}{j:02X}-")?;
        rest.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_reads_as_windows_writes_it() {
        let on_disk = [
            0x6e, 0x00, 0xd6, 0x2e, 0x29, 0x47, 0x09, 0x46, 0xb4, 0x23, 0x3e, 0xe7, 0xbc, 0xd6,
            0x78, 0xef,
        ];
        assert_eq!(
            Guid(on_disk).to_string(),
            "2ED6006E-4729-4609-B423-3EE7BCD678EF"
        );
        assert_eq!(
            Guid::new(0x2ED6_006E, 0x4729, 0x4609, 0xB423_3EE7_BCD6_78EF),
            Guid(on_disk)
        );
    }

    #[test]
    fn fields_end_where_the_bytes_end() {
        let mut fields = Fields(&[1, 0, b'a', 0, 0, 0, 7]);
        assert_eq!(fields.u16(), Some(1));
        assert_eq!(fields.utf16(), "a");
        assert_eq!(fields.u16(), None);
        assert_eq!(fields.u8(), Some(7));
        assert_eq!(fields.utf16(), "");
        assert_eq!(u32_at(&[1, 2, 3], 0), None);
        assert_eq!(u16_at(&[1, 2, 3], usize::MAX), None);
        assert_eq!(utf16_at(&[b'a', 0, b'b', 0], 2).as_deref(), Some("b"));
    }
}
