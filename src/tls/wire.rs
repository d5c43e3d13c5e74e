//! The few wire forms that all TLS messages are made of: numbers and length-prefixed vectors
//! (RFC 8446 section 3.4), as `nom` parsers over complete input with one unit error.

use nom::{
    IResult,
    error::{ErrorKind, ParseError},
};

/// The bytes are not of the form they should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl ParseError<&[u8]> for Malformed {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self
    }
    fn append(_: &[u8], _: ErrorKind, _: Self) -> Self {
        Self
    }
}

impl From<nom::Err<Self>> for Malformed {
    fn from(_: nom::Err<Self>) -> Self {
        Self
    }
}

/// What a parser hands back: the rest, and the value.
pub type Parsed<'a, T> = IResult<&'a [u8], T, Malformed>;

// Written out: a hello has some dozens of these, and through nom's combinators each took several times the instructions.

/// The first bytes, and the rest.
#[inline]
fn array<const N: usize>(input: &[u8]) -> Parsed<'_, [u8; N]> {
    match input.split_first_chunk::<N>() {
        Some((value, rest)) => Ok((rest, *value)),
        None => Err(nom::Err::Error(Malformed)),
    }
}

#[inline]
fn split(input: &[u8], count: usize) -> Parsed<'_, &[u8]> {
    match input.split_at_checked(count) {
        Some((value, rest)) => Ok((rest, value)),
        None => Err(nom::Err::Error(Malformed)),
    }
}

/// A byte.
#[inline]
pub fn u8(input: &[u8]) -> Parsed<'_, u8> {
    array(input).map(|(rest, [value])| (rest, value))
}

/// A 16-bit number.
#[inline]
pub fn u16(input: &[u8]) -> Parsed<'_, u16> {
    array(input).map(|(rest, value)| (rest, u16::from_be_bytes(value)))
}

/// So many bytes.
#[inline]
pub fn bytes(count: usize) -> impl Fn(&[u8]) -> Parsed<'_, &[u8]> {
    move |input| split(input, count)
}

/// A vector with an 8-bit length.
#[inline]
pub fn vec8(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, [length]) = array(input)?;
    split(rest, usize::from(length))
}

/// A vector with a 16-bit length.
#[inline]
pub fn vec16(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, length) = u16(input)?;
    split(rest, usize::from(length))
}

/// A vector with a 24-bit length.
#[inline]
pub fn vec24(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (rest, [a, b, c]) = array(input)?;
    split(rest, u32::from_be_bytes([0, a, b, c]) as usize)
}

/// A list of 16-bit numbers; an odd last byte is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct U16List<'a>(pub &'a [u8]);

impl U16List<'_> {
    /// The numbers in wire order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = u16> + Clone + '_ {
        self.0
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&pair| u16::from_be_bytes(pair))
    }
}
