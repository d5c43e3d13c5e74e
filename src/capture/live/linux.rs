//! Interfaces of Linux: a ring for each, read in turn, and a look at the interfaces themselves once a second, since they
//! go down, go away and come back while the watching lasts for weeks.

use super::clock::{Clock, now_ns};
use super::ring::{Look, Ring, try_socket, wait};
use super::{Counts, Interfaces, Notice, TICK, Tell, filter, frames};
use crate::capture::block::Block;
use crate::{error::Error, stats::KernelCounts};
use std::{
    collections::BTreeSet,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// The name that stands for all interfaces.
pub const ANY: &str = "any";
/// How often the interfaces and the kernel's counters are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Turns without a packet after which nothing more is expected once the watching is to end.
const QUIET_TURNS: u32 = 2;
/// Notes that are kept for the summary.
const NOTES_MAX: usize = 100;

/// What to watch.
pub struct Wanted {
    /// Names of interfaces; [`ANY`] is all of them.
    pub names: Vec<String>,
    /// Take packets that are not addressed to this machine, too.
    pub promiscuous: bool,
    /// Take tunnels (GRE, IP in IP, MPLS, PPPoE); those inside UDP come anyway.
    pub tunnels: bool,
    /// Bytes of each interface's ring.
    pub ring_bytes: usize,
}

/// Interfaces with their rings.
pub struct Watched {
    taps: Vec<Tap>,
    /// Whose turn it is.
    turn: usize,
    promiscuous: bool,
    tell: Tell,
    clock: Clock,
    started: Instant,
    looked: Instant,
    stopping: bool,
    quiet_turns: u32,
    notes: BTreeSet<String>,
}

/// One interface.
struct Tap {
    name: String,
    ring: Ring,
    /// How it was when last looked at; `None`: it was gone.
    look: Option<Look>,
    counts: Arc<Counts>,
    /// Drops that were not told yet.
    untold: u64,
    frame: u64,
}

/// Whether this process may watch interfaces; the system's reason if not.
pub fn may_watch() -> io::Result<()> {
    try_socket()
}

impl Watched {
    /// Opens the sockets: the one thing that needs a right. Packets are kept from now on.
    pub fn open(wanted: &Wanted, tell: Tell) -> Result<Self, Error> {
        let program = filter::program(wanted.tunnels);
        let mut taps = Vec::new();
        for name in &wanted.names {
            let fault = |source: io::Error| match source.kind() {
                io::ErrorKind::PermissionDenied => Error::NoCaptureRight { name: name.clone() },
                _ => Error::Interface {
                    name: name.clone(),
                    source,
                },
            };
            let ring = Ring::open(&program, wanted.ring_bytes).map_err(fault)?;
            let mut look = None;
            let mut index = 0;
            if name != ANY {
                let found = ring
                    .look(name)
                    .ok_or_else(|| Error::NoInterface { name: name.clone() })?;
                (look, index) = (Some(found), found.index);
                if wanted.promiscuous {
                    ring.promiscuous(index).map_err(fault)?;
                }
            }
            ring.bind(index).map_err(fault)?;
            if look.is_some_and(|look| !look.up) {
                tell(Notice::Down(name.clone()));
            }
            taps.push(Tap {
                name: name.clone(),
                ring,
                look,
                counts: Arc::default(),
                untold: 0,
                frame: 0,
            });
        }
        let now = Instant::now();
        let mut watched = Self {
            taps,
            turn: 0,
            promiscuous: wanted.promiscuous,
            tell,
            clock: Clock::default(),
            started: now,
            looked: now,
            stopping: false,
            quiet_turns: 0,
            notes: BTreeSet::new(),
        };
        watched.clock.look(now_ns(), 0);
        Ok(watched)
    }

    /// The counters of each interface, to be read while they are watched.
    pub fn counters(&self) -> Vec<Arc<Counts>> {
        self.taps
            .iter()
            .map(|tap| Arc::clone(&tap.counts))
            .collect()
    }

    /// Says something at once, and in the summary.
    fn say(&mut self, notice: Notice) {
        // Drops are in the summary as a number.
        if !matches!(notice, Notice::Dropped { .. }) && self.notes.len() < NOTES_MAX {
            self.notes.insert(notice.to_string());
        }
        (self.tell)(notice);
    }

    /// The next full block of any interface.
    fn take(&mut self, block: &mut Block) -> bool {
        let first = block.capture;
        let count = self.taps.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(tap) = self.taps.get_mut(index) else {
                continue;
            };
            if let Some(filled) = tap.ring.take(&mut block.bytes) {
                block.filled = filled;
                block.capture = first + index as u32;
                tap.frame = frames::step(block, tap.frame);
                self.turn = index + 1;
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
            tap.count();
            if tap.untold > 0 {
                notices.push(Notice::Dropped {
                    name: tap.name.clone(),
                    packets: std::mem::take(&mut tap.untold),
                });
            }
            if tap.name != ANY {
                tap.look(self.promiscuous, &mut notices);
            }
        }
        for notice in notices {
            self.say(notice);
        }
    }
}

impl Tap {
    fn count(&mut self) {
        if let Ok(now) = self.ring.counts() {
            self.counts.add(now.received, now.dropped);
            self.untold += now.dropped;
        }
    }

    /// Compares the interface with how it was.
    fn look(&mut self, promiscuous: bool, notices: &mut Vec<Notice>) {
        let name = || self.name.clone();
        let now = self.ring.look(&self.name);
        match (self.look, now) {
            (Some(_), None) => notices.push(Notice::Gone(name())),
            (None, Some(look)) => {
                // Another one of that name: the socket has to be told.
                if self.ring.bind(look.index).is_err() {
                    return; // it may have gone again: next time
                }
                if promiscuous {
                    let _ = self.ring.promiscuous(look.index); // as it was granted before
                }
                notices.push(Notice::Back(name()));
                if !look.up {
                    notices.push(Notice::Down(name()));
                }
            }
            (Some(before), Some(look)) => {
                if before.index != look.index {
                    // Deleted and made again between two looks.
                    if self.ring.bind(look.index).is_err() {
                        return;
                    }
                    if promiscuous {
                        let _ = self.ring.promiscuous(look.index);
                    }
                    notices.push(Notice::Back(name()));
                }
                if before.up != look.up {
                    let change = if look.up { Notice::Up } else { Notice::Down };
                    notices.push(change(name()));
                }
                if before.mtu != look.mtu {
                    notices.push(Notice::Mtu {
                        name: name(),
                        before: before.mtu,
                        now: look.mtu,
                    });
                }
            }
            (None, None) => {}
        }
        self.look = now;
    }
}

impl Interfaces for Watched {
    fn names(&self) -> Vec<String> {
        self.taps.iter().map(|tap| tap.name.clone()).collect()
    }

    fn fill(&mut self, block: &mut Block) -> Result<bool, Error> {
        block.clear();
        if self.looked.elapsed() >= LOOK_EVERY {
            self.look();
        }
        if self.take(block) {
            self.quiet_turns = 0;
            return Ok(true);
        }
        let rings: Vec<&Ring> = self.taps.iter().map(|tap| &tap.ring).collect();
        let failed = wait(&rings, i32::try_from(TICK.as_millis()).unwrap_or(100));
        if !failed.is_empty() {
            for index in failed {
                if let Some(tap) = self.taps.get(index) {
                    tap.ring.clear_error();
                }
            }
            self.look();
        }
        block.time_ns = now_ns();
        if self.take(block) {
            self.quiet_turns = 0;
            return Ok(true);
        }
        self.quiet_turns += 1;
        if self.stopping && self.quiet_turns >= QUIET_TURNS {
            self.look(); // the last counters
            return Ok(false);
        }
        Ok(true)
    }

    fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.quiet_turns = 0;
        for tap in &self.taps {
            // If that fails, packets keep coming until the interface is quiet: no harm but time.
            let _ = tap.ring.filter(&filter::nothing());
        }
    }

    fn counts(&self) -> Vec<KernelCounts> {
        self.taps.iter().map(|tap| tap.counts.now()).collect()
    }

    fn notes(&self) -> Vec<String> {
        let dropped = (self.taps.iter()).filter_map(|tap| tap.counts.note(&tap.name));
        dropped.chain(self.notes.iter().cloned()).collect()
    }
}
