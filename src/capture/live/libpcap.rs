//! Interfaces through libpcap (feature `libpcap`): where a filter expression is wanted. Packets are copied into blocks one by
//! one, which costs more than the ring of [`super::linux`]; rights, counters and notices are the same.

use super::clock::{Clock, now_ns};
use super::{Counts, Interfaces, Notice, Tell};
use crate::capture::block::{Block, LinkType, Packet};
use crate::{error::Error, stats::KernelCounts};
use pcap::{Active, Capture, Precision, Stat};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// No packet is longer.
const SNAP_BYTES: i32 = 256 << 10;
/// Bytes and packets of one block.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK_PACKETS: usize = 8192;
/// How long is waited where no interface has a packet.
const REST: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Turns without a packet after which nothing more is expected once the watching is to end.
const QUIET_TURNS: u32 = 10;
/// What the pipe can use, where nothing else is asked for.
const USEFUL: &str = "tcp or udp or (vlan and (tcp or udp))";

/// What to watch.
pub struct Wanted {
    /// Names of interfaces, as libpcap knows them; `any` on Linux.
    pub names: Vec<String>,
    /// Take packets that are not addressed to this machine, too.
    pub promiscuous: bool,
    /// Bytes that the kernel keeps of each interface.
    pub buffer_bytes: usize,
    /// Which packets, in libpcap's words (pcap-filter(7)); all that are of use where there are none.
    pub filter: Option<String>,
}

/// Interfaces that libpcap reads.
pub struct Watched {
    taps: Vec<Tap>,
    turn: usize,
    tell: Tell,
    clock: Clock,
    started: Instant,
    looked: Instant,
    stopping: bool,
    quiet_turns: u32,
    notes: Vec<String>,
}

struct Tap {
    name: String,
    capture: Capture<Active>,
    link: LinkType,
    counts: Arc<Counts>,
    last: Stat,
    frame: u64,
    /// Why nothing comes from it any more.
    fault: Option<String>,
}

impl Watched {
    /// Opens the interfaces: the one thing that needs a right.
    pub fn open(wanted: &Wanted, tell: Tell) -> Result<Self, Error> {
        let mut taps = Vec::new();
        for name in &wanted.names {
            let fault = |error: pcap::Error| Error::Interface {
                name: name.clone(),
                source: io::Error::other(error.to_string()),
            };
            let mut capture = Capture::from_device(name.as_str())
                .map_err(fault)?
                .promisc(wanted.promiscuous)
                .snaplen(SNAP_BYTES)
                .buffer_size(i32::try_from(wanted.buffer_bytes).unwrap_or(i32::MAX))
                .timeout(100)
                .precision(Precision::Nano)
                .open()
                .and_then(Capture::setnonblock)
                .map_err(fault)?;
            capture
                .filter(wanted.filter.as_deref().unwrap_or(USEFUL), true)
                .map_err(fault)?;
            let link = u16::try_from(capture.get_datalink().0).unwrap_or(u16::MAX);
            taps.push(Tap {
                name: name.clone(),
                capture,
                link: LinkType(link),
                counts: Arc::default(),
                last: Stat {
                    received: 0,
                    dropped: 0,
                    if_dropped: 0,
                },
                frame: 0,
                fault: None,
            });
        }
        let now = Instant::now();
        let mut clock = Clock::default();
        clock.look(now_ns(), 0);
        Ok(Self {
            taps,
            turn: 0,
            tell,
            clock,
            started: now,
            looked: now,
            stopping: false,
            quiet_turns: 0,
            notes: Vec::new(),
        })
    }

    /// The counters of each interface, to be read while they are watched.
    pub fn counters(&self) -> Vec<Arc<Counts>> {
        let counts = self.taps.iter().map(|tap| Arc::clone(&tap.counts));
        counts.collect()
    }

    fn look(&mut self) {
        self.looked = Instant::now();
        let elapsed = i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
        if let Some(by_ns) = self.clock.look(now_ns(), elapsed) {
            let notice = Notice::Clock { by_ns };
            self.notes.push(notice.to_string());
            (self.tell)(notice);
        }
        for tap in &mut self.taps {
            let dropped = tap.count();
            if dropped > 0 {
                (self.tell)(Notice::Dropped {
                    name: tap.name.clone(),
                    packets: dropped,
                });
            }
        }
    }
}

impl Tap {
    /// Gives the packets that were dropped since it was last asked.
    fn count(&mut self) -> u64 {
        let Ok(now) = self.capture.stats() else {
            return 0;
        };
        // The counters are of 32 bits, and go round.
        let received = now.received.wrapping_sub(self.last.received);
        let dropped = now.dropped.wrapping_sub(self.last.dropped);
        self.last = now;
        self.counts.add(received.into(), dropped.into());
        dropped.into()
    }

    /// Adds what is there to the block.
    fn take(&mut self, block: &mut Block) -> bool {
        while block.bytes.len() < BLOCK_BYTES && block.packets.len() < BLOCK_PACKETS {
            let packet = match self.capture.next_packet() {
                Ok(packet) => packet,
                Err(pcap::Error::TimeoutExpired) => break,
                Err(error) => {
                    self.fault = Some(error.to_string());
                    break;
                }
            };
            let Ok(offset) = u32::try_from(block.bytes.len()) else {
                break;
            };
            self.frame += 1;
            block.bytes.extend_from_slice(packet.data);
            let time = packet.header.ts;
            block.packets.push(Packet {
                offset,
                captured_len: packet.data.len() as u32,
                original_len: packet.header.len,
                interface: 0,
                link: self.link,
                // With nanosecond precision that is what the second field holds.
                time_ns: time.tv_sec * 1_000_000_000 + time.tv_usec,
                frame: self.frame,
            });
        }
        block.filled = block.bytes.len();
        !block.packets.is_empty()
    }
}

impl Interfaces for Watched {
    fn names(&self) -> Vec<String> {
        self.taps.iter().map(|tap| tap.name.clone()).collect()
    }

    fn fill(&mut self, block: &mut Block) -> Result<bool, Error> {
        block.clear();
        block.bytes.clear();
        if self.looked.elapsed() >= LOOK_EVERY {
            self.look();
        }
        let (first, count) = (block.capture, self.taps.len());
        for step in 0..count {
            let index = (self.turn + step) % count;
            let Some(tap) = self.taps.get_mut(index).filter(|tap| tap.fault.is_none()) else {
                continue;
            };
            if tap.take(block) {
                block.capture = first + index as u32;
                self.turn = index + 1;
                self.quiet_turns = 0;
                return Ok(true);
            }
            if let Some(fault) = &tap.fault {
                self.notes.push(format!("{}: {fault}", tap.name));
                (self.tell)(Notice::Gone(tap.name.clone()));
            }
        }
        std::thread::sleep(REST);
        block.time_ns = now_ns();
        self.quiet_turns += 1;
        if self.stopping && self.quiet_turns >= QUIET_TURNS {
            self.look();
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
        for tap in &mut self.taps {
            // If that fails, packets keep coming until the interface is quiet: no harm but time.
            let _ = tap.capture.filter("less 0", true);
        }
    }

    fn counts(&self) -> Vec<KernelCounts> {
        self.taps.iter().map(|tap| tap.counts.now()).collect()
    }

    fn notes(&self) -> Vec<String> {
        let dropped = self
            .taps
            .iter()
            .filter_map(|tap| tap.counts.note(&tap.name));
        dropped.chain(self.notes.iter().cloned()).collect()
    }
}
