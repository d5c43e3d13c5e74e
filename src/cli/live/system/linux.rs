//! Linux: packet sockets, a fence, signals, `/proc`.

use super::{Args, fence};
use crate::cli::say;
use anyhow::Context;
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use tlscope::{
    capture::live::{Interfaces, Tell, linux},
    error::Error,
};

pub(in crate::cli::live) use super::signals::Signals;

/// Opens the interfaces, by libpcap where a filter expression asks for it.
pub(in crate::cli::live) fn open(args: &Args, tell: Tell) -> Result<Box<dyn Interfaces>, Error> {
    #[cfg(feature = "libpcap")]
    if args.filter.is_some() {
        return super::open_by_libpcap(args, tell);
    }
    let wanted = linux::Wanted {
        names: args.interfaces.clone(),
        promiscuous: args.promiscuous,
        tunnels: args.tunnels,
        ring_bytes: args.ring,
    };
    linux::open(&wanted, tell)
}

/// Which rights stay.
#[derive(clap::Args)]
pub(in crate::cli::live) struct Rights {
    /// User that root becomes once the sockets are open
    #[arg(
        long,
        value_name = "NAME",
        default_value = "nobody",
        conflicts_with = "no_drop"
    )]
    user: String,

    /// Keep all rights, and put up no fence
    #[arg(long)]
    no_drop: bool,
}

impl Rights {
    /// A folder was made for those who have fewer rights soon.
    pub(in crate::cli::live) fn give(&self, folder: &Path) -> anyhow::Result<()> {
        if self.no_drop {
            return Ok(());
        }
        fence::give(folder, &self.user)
    }

    /// Gives all up but to write to the folders of the output.
    pub(in crate::cli::live) fn drop(&self, args: &Args) -> anyhow::Result<()> {
        if self.no_drop {
            return Ok(());
        }
        let folders = args.folders();
        let fence = fence::Fence {
            user: &self.user,
            folders: &folders,
        };
        let missing = fence::put_up(&fence).context("rights can't be given up")?;
        for what in missing.iter().filter(|_| !args.quiet) {
            say(&format!("this system has no {what}"));
        }
        Ok(())
    }
}

impl Args {
    /// Folders in which files are made later.
    fn folders(&self) -> Vec<PathBuf> {
        let folder = |path: &PathBuf| {
            let parent = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        };
        let output = self.output.iter().filter(|path| path.as_os_str() != "-");
        output.map(folder).chain(self.write.clone()).collect()
    }
}

/// How much memory is taken; opened before files are fenced off.
pub(in crate::cli::live) struct Memory(Option<File>);

impl Memory {
    /// Begins.
    pub(in crate::cli::live) fn open() -> Self {
        Self(File::open("/proc/self/statm").ok())
    }

    /// Bytes that are resident.
    pub(in crate::cli::live) fn resident_bytes(&self) -> Option<u64> {
        let mut text = [0; 128];
        let read = self.0.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..read)?).ok()?;
        let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
        Some(pages * u64::try_from(page).ok()?)
    }
}
