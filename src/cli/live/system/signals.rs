//! Signals while interfaces are watched: SIGINT and SIGTERM end the watching and let the report be finished, the second
//! one quits at once; SIGHUP opens the outputs anew, or, where there is a screen, tells that its terminal is gone: that ends it.

use crate::cli::{exit::Exit, say};
use nix::sys::signal::{SigSet, Signal};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tlscope::pipeline::Progress;

/// The signals that are waited for. Made before any thread is, so that none of them is interrupted by one.
pub(in crate::cli::live) struct Signals(SigSet);

impl Signals {
    /// Holds the signals back until somebody waits for them.
    pub(in crate::cli::live) fn hold() -> anyhow::Result<Self> {
        let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Waits for them in a thread of its own.
    pub(in crate::cli::live) fn heed(
        self,
        progress: Arc<Progress>,
        reopen: Arc<AtomicBool>,
        on_screen: bool,
    ) {
        thread::spawn(move || {
            // Not by `stop`, which the end of the time or of the terminal sets, too.
            let mut was_asked = false;
            loop {
                match self.0.wait() {
                    Ok(Signal::SIGHUP) if !on_screen => reopen.store(true, Ordering::SeqCst),
                    // A terminal that goes away may send it twice.
                    Ok(Signal::SIGHUP) => progress.stop.store(true, Ordering::SeqCst),
                    Ok(_) => {
                        progress.stop.store(true, Ordering::SeqCst);
                        if core::mem::replace(&mut was_asked, true) {
                            std::process::exit(i32::from(Exit::Interrupted.code()));
                        }
                        say("stopping: the report follows (once more quits at once)");
                    }
                    Err(_) => return,
                }
            }
        });
    }
}
