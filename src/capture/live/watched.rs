//! Interfaces that are watched, whatever reads them: each gives its packets in turn, and all that can befall them is noticed
//! and told here, once. How packets come, and what an interface looks like, a [`Tap`] knows.

use super::clock::{Clock, now_ns};
use super::{Counts, Interfaces, Notice, Tell};
use crate::capture::block::Block;
use crate::error::Error;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often the interfaces and the kernel's counters are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After so long without a packet nothing more is expected once the watching is to end.
const QUIET: Duration = Duration::from_millis(200);
/// Notes that are kept for the summary.
const NOTES_MAX: usize = 100;

/// One interface, and how its packets are had.
pub(super) trait Tap: Send + Sized {
    /// Its name.
    fn name(&self) -> &str;

    /// The kernel's counters of it, as far as they were read.
    fn counts(&self) -> &Arc<Counts>;

    /// Moves packets that are there into the block. `false`: there are none.
    fn take(&mut self, block: &mut Block) -> bool;

    /// Reads the kernel's counters. Gives the packets dropped since the last time.
    fn count(&mut self) -> u64;

    /// Compares the interface with how it was, and says what changed.
    fn look(&mut self, notices: &mut Vec<Notice>);

    /// Takes no more packets in.
    fn close(&mut self);

    /// Waits until one of them has packets, at most for [`super::TICK`]. `true`: something else is wrong with one.
    fn wait(taps: &mut [Self]) -> bool;
}

/// Interfaces that are being watched.
pub(super) struct Watched<T> {
    taps: Vec<T>,
    /// Whose turn it is.
    turn: usize,
    tell: Tell,
    clock: Clock,
    started: Instant,
    looked: Instant,
    /// When the last packet came.
    heard: Instant,
    stopping: bool,
    notes: BTreeSet<String>,
}

impl<T: Tap> Watched<T> {
    /// These.
    pub(super) fn new(taps: Vec<T>, tell: Tell) -> Self {
        let now = Instant::now();
        let mut clock = Clock::default();
        clock.look(now_ns(), 0);
        Self {
            taps,
            turn: 0,
            tell,
            clock,
            started: now,
            looked: now,
            heard: now,
            stopping: false,
            notes: BTreeSet::new(),
        }
    }

    /// Says something at once, and in the summary.
    fn say(&mut self, notice: Notice) {
        // Drops are in the summary as a number.
        if !matches!(notice, Notice::Dropped { .. }) && self.notes.len() < NOTES_MAX {
            self.notes.insert(notice.to_string());
        }
        (self.tell)(notice);
    }

    /// The next packets of any interface.
    fn take(&mut self, block: &mut Block) -> bool {
        let first = block.capture;
        let count = self.taps.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if self.taps.get_mut(index).is_some_and(|tap| tap.take(block)) {
                block.capture = first + index as u32;
                self.turn = index + 1;
                self.heard = Instant::now();
                return true;
            }
        }
        false
    }

    /// Looks at clocks, counters and interfaces, and says what changed.
    fn look(&mut self) {
        self.looked = Instant::now();
        let elapsed = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        if let Some(by_ns) = self.clock.look(now_ns(), elapsed) {
            self.say(Notice::Clock { by_ns });
        }
        let mut notices = Vec::new();
        for tap in &mut self.taps {
            let packets = tap.count();
            if packets > 0 {
                notices.push(Notice::Dropped {
                    name: tap.name().to_owned(),
                    packets,
                });
            }
            tap.look(&mut notices);
        }
        for notice in notices {
            self.say(notice);
        }
    }
}

impl<T: Tap> Interfaces for Watched<T> {
    fn names(&self) -> Vec<String> {
        self.taps.iter().map(|tap| tap.name().to_owned()).collect()
    }

    fn counters(&self) -> Vec<Arc<Counts>> {
        let counters = self.taps.iter().map(|tap| Arc::clone(tap.counts()));
        counters.collect()
    }

    fn fill(&mut self, block: &mut Block) -> Result<bool, Error> {
        block.clear();
        if self.looked.elapsed() >= LOOK_EVERY {
            self.look();
        }
        if self.take(block) {
            return Ok(true);
        }
        if T::wait(&mut self.taps) {
            self.look();
        }
        block.time_ns = now_ns();
        if self.take(block) || !self.stopping || self.heard.elapsed() < QUIET {
            return Ok(true);
        }
        self.look(); // the last counters
        Ok(false)
    }

    fn stop(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.heard = Instant::now();
            self.taps.iter_mut().for_each(Tap::close);
        }
    }

    fn notes(&self) -> Vec<String> {
        let dropped = (self.taps.iter()).filter_map(|tap| tap.counts().note(tap.name()));
        dropped.chain(self.notes.iter().cloned()).collect()
    }
}
