//! A few bytes in place, where a list of its own would cost more than they do.

/// At most `N` bytes, and no more than 255.
#[derive(Clone, Copy, Debug)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Short<N> {
    /// These bytes; `None` where they are too many.
    #[inline]
    pub fn of(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; N];
        (bytes.get_mut(..from.len())?).copy_from_slice(from);
        let length = u8::try_from(from.len()).ok()?;
        Some(Self { bytes, length })
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_comes_back_and_nothing_else_goes_in() {
        for bytes in [&[][..], b"a", b"abcd"] {
            assert_eq!(Short::<4>::of(bytes).unwrap().as_slice(), bytes);
        }
        assert!(Short::<4>::of(b"abcde").is_none());
        assert!(Short::<400>::of(&[1; 256]).is_none());
    }
}
