//! Numbered chunks of a byte stream, as protocols over UDP send it that bring their own acknowledgements: each chunk
//! has the number behind the last one's. Those that are next are lent as they come, others wait within a cap; a chunk
//! that comes again is passed over.

/// Chunks that may wait.
const WAITING_MAX: usize = 64;
/// Bytes that may wait.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// One direction's chunks.
#[derive(Debug, Default)]
pub struct Chunks {
    /// The number that is next; the first one seen begins the stream.
    next: Option<u32>,
    /// Chunks that came early, by number.
    waiting: Vec<(u32, Box<[u8]>)>,
    waiting_bytes: usize,
}

impl Chunks {
    /// The stream begins with this number.
    pub fn begin(next: u32) -> Self {
        Self {
            next: Some(next),
            ..Self::default()
        }
    }

    /// Takes a chunk, and lends to `each` all that is in order now.
    pub fn push(&mut self, number: u32, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        let next = *self.next.get_or_insert(number);
        let ahead = number.wrapping_sub(next);
        if ahead == 0 {
            self.next = Some(next.wrapping_add(1));
            each(bytes);
            self.drain(each);
        } else if ahead < WAITING_MAX as u32 {
            let room = self.waiting_bytes + bytes.len() <= WAITING_BYTES_MAX;
            let place = self
                .waiting
                .binary_search_by_key(&ahead, |(number, _)| number.wrapping_sub(next));
            if room && let Err(place) = place {
                self.waiting_bytes += bytes.len();
                self.waiting.insert(place, (number, bytes.into()));
            }
        }
    }

    fn drain(&mut self, each: &mut dyn FnMut(&[u8])) {
        while let Some((number, _)) = self.waiting.first()
            && Some(*number) == self.next
        {
            let (number, bytes) = self.waiting.remove(0);
            self.next = Some(number.wrapping_add(1));
            self.waiting_bytes -= bytes.len();
            each(&bytes);
        }
    }

    /// Bytes on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        self.waiting_bytes + self.waiting.capacity() * size_of::<(u32, Box<[u8]>)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_order_within_the_cap_gives_the_stream(
            keys in prop::collection::vec(0u32..40, 60),
            first in any::<u32>(),
        ) {
            // Each chunk at least once, some twice, each not further away than the cap.
            let mut order: Vec<(u32, u32)> = (0..60).map(|n| (n + keys[n as usize], n)).collect();
            order.extend((0..60).step_by(7).map(|n| (n + 45, n)));
            order.sort_unstable();
            let (mut chunks, mut out) = (Chunks::begin(first), Vec::new());
            for (_, n) in order {
                chunks.push(first.wrapping_add(n), &[n as u8], &mut |bytes| out.push(bytes[0]));
            }
            let whole: Vec<u8> = (0..60).collect();
            prop_assert_eq!(out, whole);
            prop_assert_eq!(chunks.waiting_bytes, 0);
        }
    }

    #[test]
    fn the_caps_hold_and_the_first_one_seen_begins() {
        let mut chunks = Chunks::default();
        let mut seen = Vec::new();
        let mut each = |bytes: &[u8]| seen.push(bytes[0]);
        chunks.push(10, &[10], &mut each);
        chunks.push(9, &[9], &mut each);
        for n in 12..200 {
            chunks.push(n, &[n as u8; 2000], &mut each);
        }
        assert_eq!(chunks.waiting.len(), WAITING_BYTES_MAX / 2000);
        chunks.push(11, &[11], &mut each);
        assert_eq!(seen.len(), 2 + WAITING_BYTES_MAX / 2000);
    }
}
