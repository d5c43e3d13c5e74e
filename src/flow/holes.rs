//! The holes in what was seen of one direction: what tells late segments from repeated ones, and lost
//! bytes from late ones. No memory is taken before the first hole.

use super::seq::Seq;

/// Holes that are remembered; of more, the oldest counts as never filled.
const HOLES_MAX: usize = 64;

/// Bytes that were passed over and may still come, as starts and lengths.
#[derive(Debug, Default)]
pub(super) struct Holes(Vec<(Seq, u32)>);

impl Holes {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.0.capacity() * size_of::<(Seq, u32)>()
    }

    /// Adds a hole. `true`: there was no room, and the oldest one was given up.
    pub(super) fn open(&mut self, start: Seq, length: u32) -> bool {
        let full = self.0.len() >= HOLES_MAX;
        if full {
            self.0.remove(0);
        }
        self.0.push((start, length));
        full
    }

    /// Takes out what lies from `start` up to `end`. `false`: no hole was there.
    pub(super) fn fill(&mut self, start: Seq, end: Seq) -> bool {
        let (mut filled, mut behind) = (false, None);
        self.0.retain_mut(|hole| {
            let hole_end = hole.0.plus(hole.1 as usize);
            let from = if start.ahead_of(hole.0) > 0 {
                start
            } else {
                hole.0
            };
            let to = if end.ahead_of(hole_end) < 0 {
                end
            } else {
                hole_end
            };
            if to.ahead_of(from) <= 0 {
                return true;
            }
            filled = true;
            let (front, back) = (from.ahead_of(hole.0), hole_end.ahead_of(to));
            if front > 0 && back > 0 {
                behind = Some((to, back.unsigned_abs()));
            }
            *hole = if front > 0 {
                (hole.0, front.unsigned_abs())
            } else {
                (to, back.unsigned_abs())
            };
            hole.1 > 0
        });
        // One segment splits one hole at most, for holes do not overlap.
        if let Some((start, length)) = behind {
            self.open(start, length);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_from_any_side() {
        let mut holes = Holes::default();
        assert!(!holes.fill(Seq(0), Seq(100)));
        holes.open(Seq(100), 100);
        holes.open(Seq(300), 100);
        assert!(!holes.fill(Seq(0), Seq(100)) && !holes.fill(Seq(200), Seq(300)));
        assert!(holes.fill(Seq(50), Seq(110)) && holes.fill(Seq(190), Seq(210)));
        assert_eq!(holes.0, [(Seq(110), 80), (Seq(300), 100)]);
        assert!(holes.fill(Seq(140), Seq(150)));
        assert_eq!(holes.0, [(Seq(110), 30), (Seq(300), 100), (Seq(150), 40)]);
        assert!(holes.fill(Seq(110), Seq(400)));
        assert_eq!(holes.len(), 0);
    }

    #[test]
    fn holes_are_capped() {
        let mut holes = Holes::default();
        let open = |at: usize| (at * 10) as u32;
        let given_up = (0..100).filter(|&at| holes.open(Seq(open(at)), 5)).count();
        assert_eq!((holes.len(), given_up), (HOLES_MAX, 100 - HOLES_MAX));
    }
}
