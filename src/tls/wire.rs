//! The few wire forms that all TLS messages are made of: numbers and length-prefixed vectors
//! (RFC 8446 section 3.4), as `nom` parsers over complete input with one unit error.

use nom::{
    IResult, Parser,
    bytes::complete::take,
    error::{ErrorKind, ParseError},
    multi::length_data,
    number::complete,
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

/// A byte.
#[inline]
pub fn u8(input: &[u8]) -> Parsed<'_, u8> {
    complete::u8(input)
}

/// A 16-bit number.
#[inline]
pub fn u16(input: &[u8]) -> Parsed<'_, u16> {
    complete::be_u16(input)
}

/// So many bytes.
#[inline]
pub fn bytes(count: usize) -> impl Fn(&[u8]) -> Parsed<'_, &[u8]> {
    move |input| take(count)(input)
}

/// A vector with an 8-bit length.
#[inline]
pub fn vec8(input: &[u8]) -> Parsed<'_, &[u8]> {
    length_data(complete::u8).parse_complete(input)
}

/// A vector with a 16-bit length.
#[inline]
pub fn vec16(input: &[u8]) -> Parsed<'_, &[u8]> {
    length_data(complete::be_u16).parse_complete(input)
}

/// A vector with a 24-bit length.
#[inline]
pub fn vec24(input: &[u8]) -> Parsed<'_, &[u8]> {
    length_data(complete::be_u24).parse_complete(input)
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
