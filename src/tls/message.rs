//! Handshake messages inside records (RFC 8446 section 4).
//!
//! ```text
//! record │ message │ message │ start of a mes│    record │ sage │ …
//! ```
//!
//! A message that ends inside its record is lent from there. One that does not is put together in a
//! buffer: the third and last of the slow paths, capped by `message_bytes_max`.

/// Bytes of a message header: type, 24-bit length.
pub const HEADER_BYTES: usize = 4;

/// A handshake message, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// HandshakeType.
    pub kind: u8,
    /// Body, without the header.
    pub body: &'a [u8],
}

/// What [`Assembler::feed`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A message of a type that does not exist: these bytes are encrypted, or not what they seem.
    Unknown,
    /// A message beyond the cap.
    TooLong,
}

/// HandshakeType values that stand in clear in some version (RFC 8446 section 4, RFC 5246, drafts, NPN).
fn is_known(kind: u8) -> bool {
    matches!(kind, 0..=6 | 8 | 11..=16 | 20..=25 | 67 | 254)
}

fn header(bytes: &[u8]) -> Option<(u8, usize)> {
    let &[kind, a, b, c] = bytes.first_chunk::<HEADER_BYTES>()?;
    Some((
        kind,
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
    ))
}

/// Puts messages together that span records of one direction.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Vec<u8>,
}

impl Assembler {
    /// Takes a handshake record's fragment and hands each message in it to `each`.
    #[inline]
    pub fn feed(
        &mut self,
        fragment: &[u8],
        message_bytes_max: usize,
        each: &mut impl FnMut(Found<'_>),
    ) {
        if self.partial.is_empty() {
            let rest = Self::walk(fragment, message_bytes_max, each);
            if !rest.is_empty() {
                self.partial.extend_from_slice(rest);
            }
        } else {
            self.feed_partial(fragment, message_bytes_max, each);
        }
    }

    #[cold]
    fn feed_partial(
        &mut self,
        fragment: &[u8],
        message_bytes_max: usize,
        each: &mut impl FnMut(Found<'_>),
    ) {
        self.partial.extend_from_slice(fragment);
        // Walk only when the first message is whole: each byte is looked at a bounded number of times.
        if header(&self.partial)
            .is_some_and(|(_, length)| self.partial.len() < HEADER_BYTES + length)
        {
            if self.partial.len() > message_bytes_max {
                self.partial = Vec::new();
                each(Found::TooLong);
            }
            return;
        }
        let whole = core::mem::take(&mut self.partial);
        let rest = Self::walk(&whole, message_bytes_max, each);
        self.partial = rest.to_vec();
    }

    /// Hands out whole messages and gives back the start of the next one.
    #[inline]
    fn walk<'a>(
        mut bytes: &'a [u8],
        message_bytes_max: usize,
        each: &mut impl FnMut(Found<'_>),
    ) -> &'a [u8] {
        while let Some((kind, length)) = header(bytes) {
            if !is_known(kind) {
                each(Found::Unknown);
                return &[];
            }
            if length > message_bytes_max {
                each(Found::TooLong);
                return &[];
            }
            let Some(body) = bytes.get(HEADER_BYTES..HEADER_BYTES + length) else {
                break;
            };
            each(Found::Message(Message { kind, body }));
            bytes = bytes.get(HEADER_BYTES + length..).unwrap_or(&[]);
        }
        bytes
    }

    /// Forgets a message that was begun.
    pub fn reset(&mut self) {
        self.partial = Vec::new();
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// A message was begun and not ended.
    pub fn is_waiting(&self) -> bool {
        !self.partial.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(fragments: &[&[u8]], cap: usize) -> Vec<String> {
        let (mut found, mut assembler) = (Vec::new(), Assembler::default());
        for fragment in fragments {
            assembler.feed(fragment, cap, &mut |item| {
                found.push(match item {
                    Found::Message(message) => format!("{}:{}", message.kind, message.body.len()),
                    Found::Unknown => "unknown".into(),
                    Found::TooLong => "too long".into(),
                });
            });
        }
        found
    }

    #[test]
    fn any_split_gives_the_same_messages() {
        let bytes = [1, 0, 0, 3, 9, 9, 9, 14, 0, 0, 0, 11, 0, 0, 1, 7];
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(
                    collect(&parts, 100),
                    ["1:3", "14:0", "11:1"],
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn encrypted_bytes_are_no_message() {
        assert_eq!(collect(&[&[0x9c, 1, 2, 3, 4]], 100), ["unknown"]);
    }

    #[test]
    fn the_cap_holds() {
        assert_eq!(collect(&[&[1, 1, 0, 0, 4]], 100), ["too long"]);
        let start = [1, 0, 0, 90];
        let more = [0u8; 60];
        assert_eq!(
            collect(&[&start, &more, &more], 100),
            ["1:90", "0:0", "0:0", "0:0", "0:0", "0:0", "0:0", "0:0"]
        );
    }
}
