//! Systems other than Linux, by libpcap (Npcap on Windows). There is no fence here: the rights with which the watching was
//! started stay, which is said at the start.

use super::Args;
use crate::cli::{exit::Exit, say};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tlscope::{
    capture::live::{Interfaces, Tell},
    error::Error,
    pipeline::Progress,
};

pub(in crate::cli::live) fn open(args: &Args, tell: Tell) -> Result<Box<dyn Interfaces>, Error> {
    super::open_by_libpcap(args, tell)
}

/// Which rights stay: all.
#[derive(clap::Args)]
pub(in crate::cli::live) struct Rights {}

impl Rights {
    pub(in crate::cli::live) fn give(&self, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    pub(in crate::cli::live) fn drop(&self, args: &Args) -> anyhow::Result<()> {
        if !args.quiet {
            say("rights can't be given up on this system: all that it was started with stay");
        }
        Ok(())
    }
}

/// How one is told to end: Ctrl-C, SIGTERM and SIGHUP, a closed console window.
pub(in crate::cli::live) struct Signals;

impl Signals {
    pub(in crate::cli::live) fn hold() -> anyhow::Result<Self> {
        Ok(Self)
    }

    pub(in crate::cli::live) fn heed(self, progress: Arc<Progress>, _: Arc<AtomicBool>, _: bool) {
        let handler = move || {
            if progress.stop.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            say("stopping: the report follows (once more quits at once)");
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            say(&format!("Ctrl-C will quit without a report: {error}"));
        }
    }
}

/// How much memory is taken: not told here.
pub(in crate::cli::live) struct Memory;

impl Memory {
    pub(in crate::cli::live) fn open() -> Self {
        Self
    }

    pub(in crate::cli::live) fn resident_bytes(&self) -> Option<u64> {
        None
    }
}
