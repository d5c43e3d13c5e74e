//! XPRESS, the "plain LZ77" of MS-XCA section 2.4: how Windows compresses the buffers of a trace.
//!
//! Flags come in words of 32, the highest bit first: 0 is a literal byte, 1 a match.
//!
//! ```text
//! match:  | distance - 1 : 13 bits | length : 3 bits |   length 7 → a nibble, 15 → a byte, 255 → u16, 0 → u32
//! ```
//!
//! Two matches share the byte of their nibbles. Every distance, every read and the size of the output are
//! checked; the output never exceeds what the caller allows.

use crate::capture::le;

/// How an expansion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expanded {
    /// All that was wanted came out.
    Whole,
    /// The input ended early; what came out is good.
    Short,
    /// The input contradicts itself; what came out before may be good.
    Malformed,
}

/// Expands `input` into `output`, which is cleared first, up to `wanted` bytes.
pub(super) fn expand(input: &[u8], wanted: usize, output: &mut Vec<u8>) -> Expanded {
    output.clear();
    output.reserve(wanted);
    let mut bits = Bits {
        input,
        at: 0,
        flags: 0,
        left: 0,
        half: None,
    };
    while output.len() < wanted {
        let Some(is_match) = bits.flag() else {
            return Expanded::Short;
        };
        if !is_match {
            let Some(byte) = bits.byte() else {
                return Expanded::Short;
            };
            output.push(byte);
            continue;
        }
        let Some(head) = bits.u16() else {
            return Expanded::Short;
        };
        let distance = usize::from(head >> 3) + 1;
        let length = match bits.length(head & 7) {
            Ok(Some(length)) => length.min(wanted - output.len()),
            Ok(None) => return Expanded::Short,
            Err(Malformed) => return Expanded::Malformed,
        };
        let Some(start) = output.len().checked_sub(distance) else {
            return Expanded::Malformed;
        };
        copy(output, start, length);
    }
    Expanded::Whole
}

/// Repeats what begins at `start`: the copy may overlap its own output, so each round can double it.
fn copy(output: &mut Vec<u8>, start: usize, mut length: usize) {
    while length > 0 {
        let run = length.min(output.len() - start);
        output.extend_from_within(start..start + run);
        length -= run;
    }
}

struct Malformed;

struct Bits<'a> {
    input: &'a [u8],
    at: usize,
    flags: u32,
    left: u32,
    /// The byte whose upper nibble is still unread.
    half: Option<u8>,
}

impl Bits<'_> {
    fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.flags = self.u32()?;
            self.left = 32;
        }
        self.left -= 1;
        Some(self.flags >> self.left & 1 == 1)
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.input.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        let field = le::u16_at(self.input, self.at)?;
        self.at += 2;
        Some(field)
    }

    fn u32(&mut self) -> Option<u32> {
        let field = le::u32_at(self.input, self.at)?;
        self.at += 4;
        Some(field)
    }

    fn nibble(&mut self) -> Option<u8> {
        if let Some(byte) = self.half.take() {
            return Some(byte >> 4);
        }
        let byte = self.byte()?;
        self.half = Some(byte);
        Some(byte & 15)
    }

    /// The whole length of a match whose head said `short`; `None` where the input ends.
    fn length(&mut self, short: u16) -> Result<Option<usize>, Malformed> {
        if short < 7 {
            return Ok(Some(usize::from(short) + 3));
        }
        let Some(nibble) = self.nibble() else {
            return Ok(None);
        };
        if nibble < 15 {
            return Ok(Some(usize::from(nibble) + 10));
        }
        let Some(byte) = self.byte() else {
            return Ok(None);
        };
        if byte < 255 {
            return Ok(Some(usize::from(byte) + 25));
        }
        let Some(word) = self.u16() else {
            return Ok(None);
        };
        let long = if word == 0 {
            let Some(double) = self.u32() else {
                return Ok(None);
            };
            usize::try_from(double).map_err(|_| Malformed)?
        } else {
            usize::from(word)
        };
        // The long form holds the same number as the short ones would; a smaller one is no encoder's work.
        if long < 22 {
            Err(Malformed)
        } else {
            Ok(long.checked_add(3))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex
            .chars()
            .filter_map(|c| c.to_digit(16))
            .map(|d| d as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn vectors() -> Vec<(Vec<u8>, Vec<u8>)> {
        let alphabet: Vec<u8> = (b'a'..=b'z').collect();
        let mut first = bytes("3f000000");
        first.extend(&alphabet);
        let mut nibble = b"ab".repeat(13);
        nibble.extend(b"cd".repeat(40));
        nibble.extend(b"ef".repeat(300));
        let mut zeros = vec![0; 400];
        zeros.push(b'x');
        vec![
            (first, alphabet),
            (
                bytes("ffffff1f 61 62 63 17 00 0f ff 26 01"),
                b"abc".repeat(100),
            ),
            (bytes("ffffff7f 61 07 00 02"), b"a".repeat(13)),
            (
                bytes("ffffff02 68656c6c6f20 2f00 01 21"),
                b"hello hello hello!".to_vec(),
            ),
            (bytes("ffffff5f 00 07 00 0f ff 8c01 78"), zeros),
            (
                bytes("ffffff24 6162 0f00 fe 6364 0f00 35 6566 0f00 0f ff 5302"),
                nibble,
            ),
        ]
    }

    #[test]
    fn the_vectors_of_the_specification_expand() {
        for (packed, plain) in vectors() {
            let mut output = Vec::new();
            assert_eq!(expand(&packed, plain.len(), &mut output), Expanded::Whole);
            assert_eq!(output, plain);
            assert_eq!(
                expand(&packed, plain.len() + 9, &mut output),
                Expanded::Short
            );
            assert_eq!(output, plain, "input ended");
        }
    }

    #[test]
    fn every_prefix_gives_a_prefix() {
        for (packed, plain) in vectors() {
            for length in 0..packed.len() {
                let mut output = Vec::new();
                assert_ne!(
                    expand(&packed[..length], plain.len(), &mut output),
                    Expanded::Malformed
                );
                assert!(plain.starts_with(&output));
            }
        }
    }

    #[test]
    fn a_distance_before_the_start_is_refused() {
        let mut output = Vec::new();
        assert_eq!(
            expand(&bytes("ffffffff 0700 01"), 100, &mut output),
            Expanded::Malformed
        );
        assert_eq!(
            expand(&bytes("ffffff7f 61 0700 0f ff 1500"), 100, &mut output),
            Expanded::Malformed
        );
    }

    #[test]
    fn the_output_never_exceeds_what_is_wanted() {
        let mut output = Vec::new();
        let bomb = bytes("ffffff7f 61 0700 0f ff 0000 ffffffff");
        assert_eq!(expand(&bomb, 1000, &mut output), Expanded::Whole);
        assert_eq!(output.len(), 1000);
    }
}
