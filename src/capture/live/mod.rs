//! Interfaces as a capture without an end: the kernel's packets become the same blocks that a file gives.
//!
//! ```text
//! kernel filter (filter.rs) → ring of blocks (ring.rs) → one copy → packets by offset (frames.rs) → Block
//! ```
//!
//! The pipe knows only [`Interfaces`]. On Linux they are packet sockets with a mapped ring (`linux`), where
//! `ring.rs` is the only file with `unsafe`; elsewhere, and for filter expressions, libpcap reads them (`libpcap`).
//! What befalls interfaces is noticed in one place for both (`watched`). Nothing here waits for longer than [`TICK`], so that time goes on
//! in the pipe while no packet comes. When the pipe is behind, the ring fills and the kernel drops, counted:
//! memory never grows.

pub mod clock;
pub mod filter;
pub mod frames;
#[cfg(feature = "libpcap")]
pub mod libpcap;
#[cfg(all(feature = "live", target_os = "linux", not(tlscope_portable)))]
pub mod linux;
#[cfg(all(feature = "live", target_os = "linux", not(tlscope_portable)))]
mod ring;
#[cfg(any(
    feature = "libpcap",
    all(feature = "live", target_os = "linux", not(tlscope_portable))
))]
mod watched;

use super::block::Block;
use crate::{error::Error, stats::KernelCounts};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Longest time for which interfaces keep the pipe waiting.
pub const TICK: Duration = Duration::from_millis(100);

/// Interfaces that are being watched, as the pipe sees them.
pub trait Interfaces: Send {
    /// Their names, in the order of [`Block::capture`].
    fn names(&self) -> Vec<String>;

    /// The kernel's counters of each, in the order of the names, to be read while they are watched.
    fn counters(&self) -> Vec<Arc<Counts>>;

    /// Fills `block` with the next packets of one interface, or tells the time where none came within
    /// [`TICK`]. `false`: that was the last block (it may hold packets).
    fn fill(&mut self, block: &mut Block) -> Result<bool, Error>;

    /// Takes no more packets in; what the kernel holds already still comes.
    fn stop(&mut self);

    /// The kernel's counters now.
    fn counts(&self) -> Vec<KernelCounts> {
        self.counters().iter().map(|counts| counts.now()).collect()
    }

    /// What a reader of the results should know.
    fn notes(&self) -> Vec<String>;
}

/// The kernel's counters of one interface, to be read while it is watched.
#[derive(Debug, Default)]
pub struct Counts {
    received: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    /// Adds what the kernel counted since it was last asked.
    pub fn add(&self, received: u64, dropped: u64) {
        self.received.fetch_add(received, Ordering::Relaxed);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
    }

    /// What a reader of the results should know of them, if anything.
    pub fn note(&self, name: &str) -> Option<String> {
        let KernelCounts { received, dropped } = self.now();
        (dropped > 0).then(|| {
            format!(
                "{name}: the kernel dropped {dropped} of {received} packets: handshakes may be missing or incomplete"
            )
        })
    }

    /// The counters now.
    pub fn now(&self) -> KernelCounts {
        KernelCounts {
            received: self.received.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

/// Something to say at once about the watching itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The kernel dropped packets.
    Dropped {
        /// Interface.
        name: String,
        /// Since this was last said.
        packets: u64,
    },
    /// The interface is down; no packets come from it.
    Down(String),
    /// The interface is up again.
    Up(String),
    /// The interface is gone.
    Gone(String),
    /// Nothing comes from the interface, for a reason that the system gives.
    Silent {
        /// Interface.
        name: String,
        /// The system's words.
        why: String,
    },
    /// An interface of that name is there again, and is watched.
    Back(String),
    /// The longest packet changed.
    Mtu {
        /// Interface.
        name: String,
        /// Before.
        before: u32,
        /// Now.
        now: u32,
    },
    /// The system's clock was set.
    Clock {
        /// By how many nanoseconds, forwards or backwards.
        by_ns: i64,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped { name, packets } => write!(
                f,
                "{name}: the kernel dropped {packets} packets, for the analysis was behind; handshakes may be missing \
                 or incomplete (--ring gives it more room, --threads more hands)"
            ),
            Self::Down(name) => write!(
                f,
                "{name}: the interface is down; watching goes on when it comes up"
            ),
            Self::Up(name) => write!(f, "{name}: the interface is up again"),
            Self::Gone(name) => write!(
                f,
                "{name}: the interface is gone; watching goes on when one of that name appears"
            ),
            Self::Silent { name, why } => write!(
                f,
                "{name}: nothing comes from the interface ({why}); it is tried again"
            ),
            Self::Back(name) => write!(f, "{name}: the interface is there again, and is watched"),
            Self::Mtu { name, before, now } => {
                write!(f, "{name}: the MTU is now {now} (it was {before})")
            }
            Self::Clock { by_ns } => {
                #[allow(clippy::cast_precision_loss)] // for people
                let seconds = *by_ns as f64 / 1e9;
                let when = if *by_ns > 0 {
                    "under way may end early in the report"
                } else {
                    "that are silent may be told late"
                };
                write!(
                    f,
                    "the system's clock was set by {seconds:+.1} s: times before and after do not compare, and \
                     connections {when}"
                )
            }
        }
    }
}

/// Whom notices go to; must not wait.
pub type Tell = Arc<dyn Fn(Notice) + Send + Sync>;
