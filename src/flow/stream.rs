//! One direction of a TCP connection: segments in any order become contiguous bytes.
//!
//! The next expected segment is lent to the consumer as it lies in the capture block. Bytes are copied
//! in two cases only, each with a cap: a message that does not end inside the segment (`head`), and
//! segments that arrived before those in front of them (`parked`).
//!
//! ```text
//!        consumed        head            hole        parked         hole      parked
//!   ──────────────────┬──────────────┬───────────┬────────────┬───────────┬────────────
//!                     └ first byte   └ next      
//!                       not consumed
//! ```
//!
//! The consumer may take more than it was shown: it then skips, and segments that lie wholly inside the
//! skipped part cost one comparison. First bytes win where segments overlap. A hole that is not filled
//! before the cap is hit, or before the connection ends, is a gap; after it, the consumer is asked
//! whether a later segment begins with something it knows.

use super::holes::Holes;
use super::seq::Seq;
use std::collections::TryReserveError;

/// Segments without a known start that are looked at before a direction is left alone.
const SEARCHES_MAX: u8 = 64;
/// Segments parked while no start is known.
const SEARCH_PARKED_MAX: usize = 16;
/// First payload farther than this from where the SYN put it makes the SYN's word void.
const ANCHOR_TRUST_BYTES: u32 = 16 << 20;

/// What a consumer makes of the bytes lent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first `used` bytes are done with (which may be more than were lent: then the rest is
    /// skipped), and nothing can be made of the rest before `more` bytes of it are there.
    Need {
        /// Bytes done with.
        used: usize,
        /// Bytes needed behind them, at least 1.
        more: usize,
    },
    /// No more bytes of this direction are wanted.
    Done,
    /// These bytes can't be what they should be.
    Broken,
}

/// Contiguous bytes, lent.
#[derive(Clone, Copy, Debug)]
pub struct Lent<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// How many segments they came in.
    pub segments: u32,
    /// Bytes in front of them are missing: what was begun before is void.
    pub after_gap: bool,
    /// What should follow them is missing: this is all there is of a message.
    pub before_gap: bool,
    /// The stamp of the segment that completed them.
    pub stamp: u64,
    /// So many of them were lent before, and nothing was made of them.
    pub repeated: usize,
}

/// The caps of one direction.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Bytes parked.
    pub parked_bytes_max: usize,
    /// Segments parked.
    pub parked_segments_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// No segment yet.
    #[default]
    Unseen,
    /// In step with the consumer.
    Open,
    /// Start unknown: each segment may be one.
    Searching,
    /// Nothing more is wanted.
    Done,
}

#[derive(Debug)]
struct Parked {
    start: Seq,
    stamp: u64,
    bytes: Vec<u8>,
}

impl Parked {
    fn end(&self) -> Seq {
        self.start.plus(self.bytes.len())
    }
}

/// The slow path's memory; most directions never have it.
#[derive(Debug, Default)]
struct Slow {
    head: Vec<u8>,
    need: usize,
    segments: u32,
    /// Stamp of the last segment in `head`.
    stamp: u64,
    /// Sorted by start, without overlap.
    parked: Vec<Parked>,
    parked_bytes: usize,
}

/// One direction of a TCP connection.
#[derive(Debug, Default)]
pub struct Stream {
    /// The byte after the last one that is consumed, skipped or in `head`.
    next: Seq,
    /// The byte after the last one seen.
    high: Seq,
    /// Holes in what was seen that may still be filled; most directions have none.
    holes: Option<Box<Holes>>,
    state: State,
    searches: u8,
    /// Was in step with the consumer at some time.
    opened: bool,
    after_gap: bool,
    differs: bool,
    /// Holes that were not filled.
    gaps: u16,
    /// How often the cap on what waits was hit.
    capped: u16,
    retransmits: u16,
    /// Stamp of the segment being taken.
    stamp: u64,
    slow: Option<Box<Slow>>,
}

impl Stream {
    /// Says where the stream begins: behind the SYN.
    pub fn anchor(&mut self, next: Seq) {
        if self.state == State::Unseen {
            self.next = next;
            self.high = next;
            self.state = State::Open;
        }
    }

    /// Nothing more of this direction is wanted; its memory is freed.
    pub fn finish(&mut self) {
        self.state = State::Done;
        self.slow = None;
    }

    /// The other direction found its start late: this one may yet find its own.
    pub fn search_again(&mut self) {
        self.searches = 0;
        if self.state == State::Done {
            self.state = State::Searching;
            self.after_gap = true;
        }
    }

    /// Nothing more of this direction is wanted.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// A segment or the SYN was seen.
    pub fn is_seen(&self) -> bool {
        self.state != State::Unseen
    }

    /// All bytes before `position` were seen or skipped.
    pub fn reached(&self, position: Seq) -> bool {
        matches!(self.state, State::Done | State::Unseen) || self.next.ahead_of(position) >= 0
    }

    /// Bytes in front of `position` that were not seen; below 0 where more was seen than that.
    pub fn lacks(&self, position: Seq) -> i32 {
        position.ahead_of(self.next)
    }

    /// The sender ended at `position`: what is not there by now is one more hole, at the end.
    pub fn ended_at(&mut self, position: Seq) {
        if !self.reached(position) {
            self.gaps = self.gaps.saturating_add(1);
        }
    }

    /// Holes that were not filled.
    pub fn gaps(&self) -> u32 {
        u32::from(self.gaps) + self.holes.as_ref().map_or(0, |holes| holes.len() as u32)
    }

    /// How often a hole was given up because the cap on what waits behind it was hit.
    pub fn capped(&self) -> u64 {
        u64::from(self.capped)
    }

    /// Segments that repeated bytes seen before.
    pub fn retransmits(&self) -> u32 {
        u32::from(self.retransmits)
    }

    /// Overlapping segments held different bytes.
    pub fn differs(&self) -> bool {
        self.differs
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let holes = self.holes.as_ref().map_or(0, |holes| holes.heap_bytes());
        holes
            + self.slow.as_ref().map_or(0, |slow| {
                size_of::<Slow>() + slow.head.capacity() + slow.parked_bytes
            })
    }

    /// Bytes wait for others, in front of them or behind them.
    pub fn is_pending(&self) -> bool {
        self.slow.is_some()
    }

    /// Bytes wait for others in front of them.
    fn is_waiting(&self) -> bool {
        self.slow
            .as_ref()
            .is_some_and(|slow| !slow.parked.is_empty())
    }

    /// Takes a segment that no consumer needs to see: the direction is done with, or the segment lies
    /// wholly inside what was consumed or skipped. `false`: it must be pushed.
    #[inline(always)]
    pub fn absorb(&mut self, at: Seq, length: usize) -> bool {
        let inside = || {
            self.state == State::Open
                && self.slow.is_none()
                && at.ahead_of(self.next) < 0
                && at.plus(length).ahead_of(self.next) <= 0
        };
        if self.state == State::Done || inside() {
            self.count(at, length);
            return true;
        }
        false
    }

    /// Takes a segment; `cut` of its bytes were not captured. `stamp` names it to the consumer. Lends what is contiguous to `consumer`.
    #[inline]
    pub fn push(
        &mut self,
        at: Seq,
        payload: &[u8],
        cut: u32,
        stamp: u64,
        limits: &StreamLimits,
        consumer: &mut impl FnMut(Lent<'_>) -> Answer,
    ) {
        self.stamp = stamp;
        if self.state == State::Unseen {
            self.state = State::Searching;
            self.next = at;
            self.high = at;
        }
        if !self.opened && at.ahead_of(self.next).unsigned_abs() > ANCHOR_TRUST_BYTES {
            // The SYN spoke of another place: a middlebox answered it, or it was sent anew.
            self.next = at;
            self.high = at;
        }
        self.count(at, payload.len() + cut as usize);
        if self.state == State::Done {
            return;
        }
        let ahead = at.ahead_of(self.next);
        if ahead == 0 && self.slow.is_none() {
            self.advance(payload, consumer);
        } else if ahead < 0 && self.state == State::Searching && !self.opened && !self.is_waiting()
        {
            // Nothing was in step yet: a segment that overlaps junk may be the start.
            let high = self.next;
            let repeated = payload.len().min(ahead.unsigned_abs() as usize);
            self.next = at;
            self.advance_again(payload, repeated, consumer);
            // If it was junk again, what follows is still expected behind the first.
            if self.state == State::Searching && self.next.ahead_of(high) < 0 {
                self.next = high;
            }
        } else if ahead <= 0 && self.slow.is_none() {
            // Wholly inside what was consumed or skipped, or reaching beyond it.
            if let Some(fresh) = payload
                .get(ahead.unsigned_abs() as usize..)
                .filter(|fresh| !fresh.is_empty())
            {
                self.advance(fresh, consumer);
            }
        } else {
            self.push_slow(at, payload, limits, consumer);
        }
        if cut > 0 {
            self.cut_off(at.plus(payload.len() + cut as usize), consumer);
        }
    }

    /// The connection ends: holes will not be filled any more.
    pub fn end(&mut self, consumer: &mut impl FnMut(Lent<'_>) -> Answer) {
        while self.is_waiting() && self.state != State::Done {
            self.give_up(consumer);
        }
        self.give_head(consumer);
    }

    /// The rest of the message in `head` will not come: the consumer may make the best of its start.
    #[cold]
    fn give_head(&mut self, consumer: &mut impl FnMut(Lent<'_>) -> Answer) {
        let Some(slow) = self.slow.as_mut() else {
            return;
        };
        if !slow.head.is_empty() {
            let head = core::mem::take(&mut slow.head);
            let (segments, after_gap) = (slow.segments, self.after_gap);
            let stamp = slow.stamp;
            consumer(Lent {
                bytes: &head,
                segments,
                after_gap,
                before_gap: true,
                stamp,
                repeated: 0,
            });
        }
    }

    /// Counts gaps and repetitions; one comparison for the next expected segment.
    #[inline(always)]
    fn count(&mut self, at: Seq, length: usize) {
        let ahead = at.ahead_of(self.high);
        if ahead == 0 {
            self.high = at.plus(length);
        } else {
            self.count_odd(at, length, ahead);
        }
    }

    #[cold]
    fn count_odd(&mut self, at: Seq, length: usize, ahead: i32) {
        let end = at.plus(length);
        if ahead > 0 {
            let full = self
                .holes
                .get_or_insert_default()
                .open(self.high, ahead.unsigned_abs());
            self.gaps = self.gaps.saturating_add(u16::from(full));
        } else if let Some(holes) = &mut self.holes
            && holes.fill(at, end)
        {
            // Late, not repeated.
            if holes.len() == 0 {
                self.holes = None;
            }
        } else if length > 0 {
            self.retransmits = self.retransmits.saturating_add(1);
        }
        if end.ahead_of(self.high) > 0 {
            self.high = end;
        }
    }

    /// Lends `payload`, which begins at `next`, together with what waits in front of it.
    #[inline]
    fn advance(&mut self, payload: &[u8], consumer: &mut impl FnMut(Lent<'_>) -> Answer) {
        self.advance_again(payload, 0, consumer);
    }

    /// As [`Self::advance`]; the first `repeated` bytes were lent before.
    #[inline]
    fn advance_again(
        &mut self,
        payload: &[u8],
        repeated: usize,
        consumer: &mut impl FnMut(Lent<'_>) -> Answer,
    ) {
        if self.slow.as_ref().is_some_and(|slow| !slow.head.is_empty()) {
            return self.advance_head(payload, consumer);
        }
        let answer = consumer(Lent {
            bytes: payload,
            segments: 1,
            after_gap: self.after_gap,
            before_gap: false,
            stamp: self.stamp,
            repeated,
        });
        match answer {
            Answer::Need { used, more } => {
                self.in_step();
                match payload.get(used..) {
                    Some(rest) if !rest.is_empty() => {
                        self.next = self.next.plus(payload.len());
                        self.hold(rest, more, 1);
                    }
                    _ => self.next = self.next.plus(used),
                }
            }
            Answer::Done => self.finish(),
            Answer::Broken => self.lose(payload.len()),
        }
    }

    fn advance_head(&mut self, payload: &[u8], consumer: &mut impl FnMut(Lent<'_>) -> Answer) {
        self.next = self.next.plus(payload.len());
        let Some(slow) = self.slow.as_mut() else {
            return;
        };
        slow.segments += 1;
        if reserve(&mut slow.head, payload.len()).is_err() {
            return self.finish();
        }
        slow.head.extend_from_slice(payload);
        slow.stamp = self.stamp;
        if slow.head.len() < slow.need {
            return;
        }
        let answer = consumer(Lent {
            bytes: &slow.head,
            segments: slow.segments,
            after_gap: self.after_gap,
            before_gap: false,
            stamp: self.stamp,
            repeated: 0,
        });
        match answer {
            Answer::Need { used, more } => {
                if used >= slow.head.len() {
                    self.next = self.next.plus(used - slow.head.len());
                    slow.head.clear();
                } else {
                    slow.head.drain(..used);
                    slow.need = more;
                    // What is left came with the last segment, unless nothing was used.
                    if used > 0 {
                        slow.segments = 1;
                    }
                }
                self.in_step();
                self.tidy();
            }
            Answer::Done => self.finish(),
            Answer::Broken => {
                slow.head.clear();
                self.lose(0);
                self.tidy();
            }
        }
    }

    fn in_step(&mut self) {
        self.state = State::Open;
        self.opened = true;
        self.after_gap = false;
        self.searches = 0;
    }

    /// The bytes were not what they should be: look for a start in later segments.
    fn lose(&mut self, length: usize) {
        self.next = self.next.plus(length);
        self.state = State::Searching;
        self.after_gap = true;
        self.searches += 1;
        if self.searches >= SEARCHES_MAX {
            self.finish();
        }
    }

    /// Keeps the start of a message until `need` bytes of it are there.
    fn hold(&mut self, bytes: &[u8], need: usize, segments: u32) {
        let slow = self.slow.get_or_insert_default();
        // Sized once: what the message needs, but not more than a record may claim without sending it.
        if reserve(
            &mut slow.head,
            need.clamp(bytes.len(), bytes.len() + (20 << 10)),
        )
        .is_err()
        {
            return self.finish();
        }
        slow.head.extend_from_slice(bytes);
        slow.need = need;
        slow.segments = segments;
        slow.stamp = self.stamp;
    }

    /// Frees the slow path's memory when nothing is in it.
    fn tidy(&mut self) {
        if self
            .slow
            .as_ref()
            .is_some_and(|slow| slow.head.is_empty() && slow.parked.is_empty())
        {
            self.slow = None;
        }
    }

    #[cold]
    fn push_slow(
        &mut self,
        at: Seq,
        payload: &[u8],
        limits: &StreamLimits,
        consumer: &mut impl FnMut(Lent<'_>) -> Answer,
    ) {
        let ahead = at.ahead_of(self.next);
        let mut fresh = payload;
        let mut start = at;
        if ahead < 0 {
            let old = (ahead.unsigned_abs() as usize).min(payload.len());
            let (before, after) = payload.split_at(old);
            self.compare_with_head(at, before);
            (fresh, start) = (after, self.next);
        }
        if fresh.is_empty() {
            return;
        }
        if ahead <= 0 && !self.is_waiting() {
            return self.advance(fresh, consumer);
        }
        self.park(start, fresh);
        self.drain(false, consumer);
        // Who searches for a start does not wait long.
        let segments_max = match self.state {
            State::Searching => SEARCH_PARKED_MAX.min(limits.parked_segments_max),
            _ => limits.parked_segments_max,
        };
        let over = |slow: &Slow| {
            slow.parked_bytes > limits.parked_bytes_max || slow.parked.len() > segments_max
        };
        if self.slow.as_deref().is_some_and(over) {
            self.capped = self.capped.saturating_add(1);
            self.give_up(consumer);
        }
    }

    /// A repeated segment must repeat the bytes that are held.
    fn compare_with_head(&mut self, at: Seq, bytes: &[u8]) {
        let Some(slow) = self.slow.as_ref() else {
            return;
        };
        let head_start = Seq(self.next.0.wrapping_sub(slow.head.len() as u32));
        let offset = at.ahead_of(head_start);
        let (bytes, from) = if offset < 0 {
            (
                bytes.get(offset.unsigned_abs() as usize..).unwrap_or(&[]),
                0,
            )
        } else {
            (bytes, offset as usize)
        };
        let known = slow.head.get(from..).unwrap_or(&[]);
        if bytes.iter().zip(known).any(|(new, old)| new != old) {
            self.differs = true;
        }
    }

    /// Copies what no parked segment covers yet.
    fn park(&mut self, start: Seq, bytes: &[u8]) {
        let slow = self.slow.get_or_insert_default();
        let end = start.plus(bytes.len());
        let mut at = start;
        let mut index = slow
            .parked
            .partition_point(|parked| parked.end().ahead_of(start) <= 0);
        while end.ahead_of(at) > 0 {
            let slice = |from: Seq, to: Seq| {
                let from = from.ahead_of(start).max(0) as usize;
                let to = to.ahead_of(start).max(0) as usize;
                bytes.get(from..to).unwrap_or(&[])
            };
            let next = slow
                .parked
                .get(index)
                .filter(|parked| end.ahead_of(parked.start) > 0);
            let gap_end = next.map_or(end, |parked| parked.start);
            let piece = slice(at, gap_end);
            if !piece.is_empty() {
                slow.parked_bytes += piece.len() + size_of::<Parked>();
                slow.parked.insert(
                    index,
                    Parked {
                        start: at,
                        stamp: self.stamp,
                        bytes: piece.to_vec(),
                    },
                );
                index += 1;
            }
            let Some(covered) = slow
                .parked
                .get(index)
                .filter(|parked| end.ahead_of(parked.start) > 0)
            else {
                break;
            };
            let from = if at.ahead_of(covered.start) > 0 {
                at
            } else {
                covered.start
            };
            let to = if end.ahead_of(covered.end()) > 0 {
                covered.end()
            } else {
                end
            };
            let skip = from.ahead_of(covered.start).max(0) as usize;
            let known = covered.bytes.get(skip..).unwrap_or(&[]);
            if slice(from, to)
                .iter()
                .zip(known)
                .any(|(new, old)| new != old)
            {
                self.differs = true;
            }
            at = covered.end();
            index += 1;
        }
    }

    /// Lends parked segments as long as they are contiguous. What a hole held back is completed by the
    /// segment that filled it; what comes behind a hole that stays (`given_up`), by its own segment.
    fn drain(&mut self, given_up: bool, consumer: &mut impl FnMut(Lent<'_>) -> Answer) {
        loop {
            let Some(slow) = self.slow.as_mut() else {
                return;
            };
            let Some(first) = slow.parked.first() else {
                return self.tidy();
            };
            let ahead = first.start.ahead_of(self.next);
            if ahead > 0 {
                return;
            }
            let parked = slow.parked.remove(0);
            slow.parked_bytes -= parked.bytes.len() + size_of::<Parked>();
            if given_up {
                self.stamp = parked.stamp;
            }
            if let Some(fresh) = parked
                .bytes
                .get(ahead.unsigned_abs() as usize..)
                .filter(|fresh| !fresh.is_empty())
            {
                self.advance(fresh, consumer);
            }
        }
    }

    /// The hole in front of the first parked segment stays: go on behind it.
    fn give_up(&mut self, consumer: &mut impl FnMut(Lent<'_>) -> Answer) {
        self.give_head(consumer);
        let Some(first) = self.slow.as_ref().and_then(|slow| slow.parked.first()) else {
            return;
        };
        self.next = first.start;
        self.state = State::Searching;
        self.after_gap = true;
        self.drain(true, consumer);
    }

    /// Bytes up to `end` are not in the capture.
    #[cold]
    fn cut_off(&mut self, end: Seq, consumer: &mut impl FnMut(Lent<'_>) -> Answer) {
        if self.state == State::Done || self.next.ahead_of(end) >= 0 {
            return;
        }
        self.gaps = self.gaps.saturating_add(1);
        self.give_head(consumer);
        self.next = end;
        self.state = State::Searching;
        self.after_gap = true;
        self.drain(false, consumer);
        self.tidy();
    }
}

fn reserve(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), TryReserveError> {
    buffer.try_reserve(bytes)
}
