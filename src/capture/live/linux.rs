//! Interfaces of Linux: a ring for each, and a look at the interfaces themselves from time to time, since they go down, go
//! away and come back while the watching lasts for weeks.

use super::ring::{Look, Ring, try_socket, wait};
use super::watched::{self, Watched};
use super::{Counts, Interfaces, Notice, TICK, Tell, filter, frames};
use crate::capture::block::Block;
use crate::error::Error;
use std::{io, sync::Arc};

/// The name that stands for all interfaces.
pub const ANY: &str = "any";

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

/// One interface.
struct Tap {
    name: String,
    ring: Ring,
    /// How it was when last looked at; `None`: it was gone.
    look: Option<Look>,
    promiscuous: bool,
    counts: Arc<Counts>,
    frame: u64,
}

/// Whether this process may watch interfaces; the system's reason if not.
pub fn may_watch() -> io::Result<()> {
    try_socket()
}

/// Opens the sockets: the one thing that needs a right. Packets are kept from now on.
pub fn open(wanted: &Wanted, tell: Tell) -> Result<Box<dyn Interfaces>, Error> {
    let program = filter::program(wanted.tunnels);
    let taps = wanted.names.iter().map(|name| {
        let tap = Tap::open(name, wanted, &program)?;
        if tap.look.is_some_and(|look| !look.up) {
            tell(Notice::Down(name.clone()));
        }
        Ok(tap)
    });
    let taps: Vec<Tap> = taps.collect::<Result<_, Error>>()?;
    Ok(Box::new(Watched::new(taps, tell)))
}

impl Tap {
    fn open(name: &str, wanted: &Wanted, program: &[filter::Instruction]) -> Result<Self, Error> {
        let named = || name.to_owned();
        let fault = |source: io::Error| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::NoCaptureRight { name: named() },
            _ => Error::Interface {
                name: named(),
                source,
            },
        };
        let ring = Ring::open(program, wanted.ring_bytes).map_err(fault)?;
        let mut look = None;
        let mut index = 0;
        if name != ANY {
            let found = (ring.look(name)).ok_or_else(|| Error::NoInterface { name: named() })?;
            (look, index) = (Some(found), found.index);
            if wanted.promiscuous {
                ring.promiscuous(index).map_err(fault)?;
            }
        }
        ring.bind(index).map_err(fault)?;
        Ok(Self {
            name: named(),
            ring,
            look,
            promiscuous: wanted.promiscuous,
            counts: Arc::default(),
            frame: 0,
        })
    }

    /// Another interface of that name: the socket has to be told. `false`: it may have gone again.
    fn bind_anew(&self, look: Look) -> bool {
        if self.ring.bind(look.index).is_err() {
            return false;
        }
        if self.promiscuous {
            let _ = self.ring.promiscuous(look.index); // as it was granted before
        }
        true
    }
}

impl watched::Tap for Tap {
    fn name(&self) -> &str {
        &self.name
    }

    fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    fn take(&mut self, block: &mut Block) -> bool {
        let Some(filled) = self.ring.take(&mut block.bytes) else {
            return false;
        };
        block.filled = filled;
        self.frame = frames::step(block, self.frame);
        true
    }

    fn count(&mut self) -> u64 {
        let Ok(now) = self.ring.counts() else {
            return 0;
        };
        self.counts.add(now.received, now.dropped);
        now.dropped
    }

    fn look(&mut self, notices: &mut Vec<Notice>) {
        if self.name == ANY {
            return;
        }
        let name = || self.name.clone();
        let now = self.ring.look(&self.name);
        match (self.look, now) {
            (Some(_), None) => notices.push(Notice::Gone(name())),
            (None, Some(look)) => {
                if !self.bind_anew(look) {
                    return; // next time
                }
                notices.push(Notice::Back(name()));
                if !look.up {
                    notices.push(Notice::Down(name()));
                }
            }
            (Some(before), Some(look)) => {
                if before.index != look.index {
                    // Deleted and made again between two looks.
                    if !self.bind_anew(look) {
                        return;
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

    fn close(&mut self) {
        // If that fails, packets keep coming until the interface is quiet: no harm but time.
        let _ = self.ring.filter(&filter::nothing());
    }

    fn wait(taps: &mut [Self]) -> bool {
        let rings: Vec<&Ring> = taps.iter().map(|tap| &tap.ring).collect();
        let failed = wait(&rings, i32::try_from(TICK.as_millis()).unwrap_or(100));
        for index in &failed {
            if let Some(tap) = taps.get(*index) {
                tap.ring.clear_error();
            }
        }
        !failed.is_empty()
    }
}
