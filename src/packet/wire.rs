//! Numbers at a place in the bytes; a place behind the end is the snap length's work.

use crate::stats::Skip;

/// The byte at `at`.
#[inline]
pub(super) fn u8_at(bytes: &[u8], at: usize) -> Result<u8, Skip> {
    bytes.get(at).copied().ok_or(Skip::CutHeader)
}

/// The 16-bit number at `at`, in network order.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Skip> {
    Ok(u16::from_be_bytes(chunk(bytes, at)?))
}

/// The 32-bit number at `at`, in network order.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Skip> {
    Ok(u32::from_be_bytes(chunk(bytes, at)?))
}

/// `N` bytes at `at`.
#[inline]
pub(super) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Skip> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(Skip::CutHeader)
}

/// What follows the first `length` bytes.
#[inline]
pub(super) fn behind(bytes: &[u8], length: usize) -> Result<&[u8], Skip> {
    bytes.get(length..).ok_or(Skip::CutHeader)
}
