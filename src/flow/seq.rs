//! TCP sequence numbers: positions on a circle of 2³² (RFC 9293 section 3.4).
//!
//! The distance of two positions is signed: how far ahead one is of the other, taken the short way
//! round. All comparisons go through it, so wrap-around is right everywhere or nowhere.

/// A position in a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seq(pub u32);

impl Seq {
    /// How many bytes this position is ahead of `other`; negative where behind.
    #[inline]
    pub fn ahead_of(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// The position `bytes` further on.
    #[inline]
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_wrap() {
        assert_eq!(Seq(5).ahead_of(Seq(0xffff_fffb)), 10);
        assert_eq!(Seq(0xffff_fffb).ahead_of(Seq(5)), -10);
        assert_eq!(Seq(0xffff_ffff).plus(2), Seq(1));
    }
}
