//! What depends on the system: how interfaces are opened, which rights can be given up, how one is told to end, and how
//! much memory is taken. Linux has all of it ([`linux`]); elsewhere libpcap reads the interfaces, and the rest is left out
//! with a word ([`other`]). Both give the same names.

#[cfg(all(target_os = "linux", not(tlscope_portable)))]
mod fence;
#[cfg(all(target_os = "linux", not(tlscope_portable)))]
mod linux;
#[cfg(not(all(target_os = "linux", not(tlscope_portable))))]
mod other;
#[cfg(all(target_os = "linux", not(tlscope_portable)))]
mod signals;

#[cfg(all(target_os = "linux", not(tlscope_portable)))]
pub(super) use linux::{Memory, Rights, Signals, open};
#[cfg(not(all(target_os = "linux", not(tlscope_portable))))]
pub(super) use other::{Memory, Rights, Signals, open};

use super::Args;
#[cfg(feature = "libpcap")]
use tlscope::{
    capture::live::{Interfaces, Tell, libpcap},
    error::Error,
};

/// Opens the interfaces by libpcap.
#[cfg(feature = "libpcap")]
fn open_by_libpcap(args: &Args, tell: Tell) -> Result<Box<dyn Interfaces>, Error> {
    let wanted = libpcap::Wanted {
        names: args.interfaces.clone(),
        promiscuous: args.promiscuous,
        tunnels: args.tunnels,
        buffer_bytes: args.ring,
        filter: args.filter.clone(),
    };
    libpcap::open(&wanted, tell)
}
