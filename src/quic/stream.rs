//! The byte stream of CRYPTO frames, in order (RFC 9000 section 19.6).
//!
//! Chrome cuts its hello into a dozen frames and shuffles them over two packets. Frames that are next
//! are lent as they come; others wait, within a cap. First bytes win where frames overlap.

/// Pieces that may wait.
const PIECES_MAX: usize = 256;

/// One direction's CRYPTO stream.
#[derive(Debug, Default)]
pub struct CryptoStream {
    /// Bytes handed out.
    next: u64,
    /// Pieces that wait, by offset; they don't overlap.
    waiting: Vec<(u64, Box<[u8]>)>,
    waiting_bytes: usize,
}

impl CryptoStream {
    /// Takes a frame, and lends to `each` all that is in order now. `false`: the cap does not allow it.
    pub fn push(
        &mut self,
        offset: u64,
        bytes: &[u8],
        bytes_max: usize,
        each: &mut impl FnMut(&[u8]),
    ) -> bool {
        let Some(end) = offset.checked_add(bytes.len() as u64) else {
            return false;
        };
        if end <= self.next {
            return true;
        }
        if offset <= self.next && self.waiting.is_empty() {
            let skip = (self.next - offset) as usize;
            self.next = end;
            each(bytes.get(skip..).unwrap_or(&[]));
            return true;
        }
        let kept = self.park(offset.max(self.next), end, offset, bytes, bytes_max);
        self.drain(each);
        kept
    }

    /// Keeps the parts of a frame that are not there yet.
    fn park(&mut self, from: u64, end: u64, offset: u64, bytes: &[u8], bytes_max: usize) -> bool {
        let mut at = from;
        let mut index = 0;
        while at < end {
            let next = self.waiting.get(index);
            let (start, stop) = next.map_or((u64::MAX, u64::MAX), |(start, piece)| {
                (*start, start + piece.len() as u64)
            });
            if stop <= at {
                index += 1;
            } else if start <= at {
                at = stop;
                index += 1;
            } else {
                let to = end.min(start);
                let part = bytes
                    .get((at - offset) as usize..(to - offset) as usize)
                    .unwrap_or(&[]);
                if self.waiting.len() >= PIECES_MAX || self.waiting_bytes + part.len() > bytes_max {
                    return false;
                }
                self.waiting_bytes += part.len();
                self.waiting.insert(index, (at, part.into()));
                index += 1;
                at = to;
            }
        }
        true
    }

    fn drain(&mut self, each: &mut impl FnMut(&[u8])) {
        let ready = self
            .waiting
            .iter()
            .scan(self.next, |next, (start, piece)| {
                let fits = *start == *next;
                *next = start + piece.len() as u64;
                fits.then_some(())
            })
            .count();
        for (start, piece) in self.waiting.drain(..ready) {
            self.next = start + piece.len() as u64;
            self.waiting_bytes -= piece.len();
            each(&piece);
        }
    }

    /// Frames wait for others before them.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.waiting_bytes + self.waiting.capacity() * size_of::<(u64, Box<[u8]>)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_order_and_overlap_gives_the_stream(
            mut frames in prop::collection::vec((0usize..300, 0usize..80), 0..40),
            seed in 0usize..300,
        ) {
            let whole: Vec<u8> = (0..400).map(|n| (n * 7 + seed) as u8).collect();
            // What the random frames leave out follows in two overlapping ones.
            frames.push((150, 250));
            frames.push((0, 200));
            let (mut stream, mut out) = (CryptoStream::default(), Vec::new());
            for (at, length) in frames {
                let part = &whole[at..at + length];
                prop_assert!(stream.push(at as u64, part, 1000, &mut |bytes| out.extend_from_slice(bytes)));
            }
            prop_assert_eq!(out, whole);
            prop_assert!(!stream.is_waiting());
            prop_assert_eq!(stream.waiting_bytes, 0);
        }
    }

    #[test]
    fn the_caps_hold() {
        let mut stream = CryptoStream::default();
        let mut count = 0;
        for n in 0..1000u64 {
            stream.push(10 + 2 * n, &[1], 10_000, &mut |_| count += 1);
        }
        assert_eq!(stream.waiting.len(), PIECES_MAX);
        let mut stream = CryptoStream::default();
        assert!(!stream.push(5, &[0; 100], 99, &mut |_| ()));
        assert!(!stream.push(u64::MAX, &[0; 2], 99, &mut |_| ()));
        assert_eq!(count, 0);
    }
}
