//! The frames that an Initial packet may hold (RFC 9000 sections 12.4 and 19).

use super::header::varint;

/// A frame that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// CRYPTO: a piece of the handshake's byte stream.
    Crypto {
        /// Where it stands.
        offset: u64,
        /// It.
        bytes: &'a [u8],
    },
    /// CONNECTION_CLOSE by QUIC itself.
    Close {
        /// Error code; 0x0100 and above hold a TLS alert (RFC 9001 section 4.8).
        code: u64,
    },
    /// A frame that an Initial packet can't hold, or one that is cut.
    Broken,
}

/// The frames in `payload`, without those that say nothing: PADDING, PING and ACK.
pub fn frames(payload: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = payload;
    core::iter::from_fn(move || {
        loop {
            let (&kind, after) = rest.split_first()?;
            match kind {
                // Padding comes by the thousand.
                0 => {
                    let whole = zero_chunks(rest);
                    let tail = rest.get(whole..)?;
                    rest = tail.get(tail.iter().position(|&byte| byte != 0)?..)?;
                }
                1 => rest = after,
                2 | 3 => match ack(kind, after) {
                    Some(after) => rest = after,
                    None => return broken(&mut rest),
                },
                0x40..=0x7f => match google_ack(kind, after) {
                    Some(after) => rest = after,
                    None => return broken(&mut rest),
                },
                // 8 is what Google's T050 and T051 call CRYPTO; a STREAM has no place here.
                6 | 8 => match crypto(after) {
                    Some((frame, after)) => {
                        rest = after;
                        return Some(frame);
                    }
                    None => return broken(&mut rest),
                },
                0x1c => {
                    rest = &[];
                    return varint(after).map(|(code, _)| Frame::Close { code });
                }
                _ => return broken(&mut rest),
            }
        }
    })
}

/// Bytes in the chunks of zeros at the start: a padded packet has a thousand of them.
fn zero_chunks(bytes: &[u8]) -> usize {
    const CHUNK: usize = 32;
    let (chunks, _) = bytes.as_chunks::<CHUNK>();
    let zeros = chunks.iter().take_while(|chunk| **chunk == [0; CHUNK]);
    zeros.count() * CHUNK
}

fn broken<'a>(rest: &mut &[u8]) -> Option<Frame<'a>> {
    *rest = &[];
    Some(Frame::Broken)
}

fn crypto(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (offset, rest) = varint(bytes)?;
    let (length, rest) = varint(rest)?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Frame::Crypto { offset, bytes }, rest))
}

/// Steps over an ACK: largest, delay, count of ranges, first range, ranges, and counts of ECN.
fn ack(kind: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (_, rest) = varint(bytes)?;
    let (_, rest) = varint(rest)?;
    let (ranges, rest) = varint(rest)?;
    let (_, mut rest) = varint(rest)?;
    // Each range takes bytes of the packet, so the count can't lie for long.
    let numbers = ranges.checked_mul(2)? + if kind == 3 { 3 } else { 0 };
    for _ in 0..numbers {
        (_, rest) = varint(rest)?;
    }
    Some(rest)
}

/// Steps over an ACK of Google's T050 and T051, `01nullmm`: largest (its length in `ll`), delay, count of
/// blocks where `n`, first block (its length in `mm`), gaps and blocks, times.
fn google_ack(kind: u8, bytes: &[u8]) -> Option<&[u8]> {
    const LENGTHS: [usize; 4] = [1, 2, 4, 6];
    let length = |bits: u8| LENGTHS.get(usize::from(bits & 3)).copied();
    let block = length(kind)?;
    let mut rest = bytes.get(length(kind >> 2)? + 2..)?;
    let mut blocks = 0;
    if kind & 0x20 != 0 {
        (blocks, rest) = rest
            .split_first()
            .map(|(&count, rest)| (usize::from(count), rest))?;
    }
    rest = rest.get(block + blocks * (1 + block)..)?;
    let (&times, rest) = rest.split_first()?;
    match usize::from(times) {
        0 => Some(rest),
        times => rest.get(5 + 3 * (times - 1)..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_matter_are_found() {
        let payload = [
            0, 0, 1, 2, 5, 0, 1, 0, 1, 1, 6, 0, 2, 9, 8, 0, 6, 2, 1, 7, 0x1c, 0x41, 0x28, 0, 0,
        ];
        let found: Vec<_> = frames(&payload).collect();
        assert_eq!(
            found,
            [
                Frame::Crypto {
                    offset: 0,
                    bytes: &[9, 8]
                },
                Frame::Crypto {
                    offset: 2,
                    bytes: &[7]
                },
                Frame::Close { code: 0x128 },
            ]
        );
    }

    #[test]
    fn padding_of_any_length_is_stepped_over() {
        for length in 0..200 {
            let mut payload = vec![0; length];
            payload.extend([6, 0, 1, 9]);
            assert_eq!(frames(&payload).count(), 1, "{length}");
            payload.extend(vec![0; length]);
            assert_eq!(frames(&payload).count(), 1, "{length}");
        }
    }

    #[test]
    fn an_ack_of_google_is_stepped_over() {
        let payload = [0x40, 1, 0, 0, 1, 0, 8, 0, 1, 9];
        let crypto = Frame::Crypto {
            offset: 0,
            bytes: &[9],
        };
        assert_eq!(frames(&payload).collect::<Vec<_>>(), [crypto]);
        assert_eq!(frames(&payload[..5]).collect::<Vec<_>>(), [Frame::Broken]);
    }

    #[test]
    fn every_prefix_and_flip_is_survived() {
        let payload = [
            3, 5, 0, 1, 0, 1, 1, 1, 1, 1, 6, 0, 2, 9, 8, 0x1c, 0x41, 0x28,
        ];
        for end in 0..payload.len() {
            frames(&payload[..end]).count();
            for bit in 0..8 {
                let mut flipped = payload;
                flipped[end] ^= 1 << bit;
                frames(&flipped).count();
            }
        }
        // A count of ranges that would take for ever.
        let liar = [
            2, 5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1,
        ];
        assert_eq!(frames(&liar).collect::<Vec<_>>(), [Frame::Broken]);
    }
}
