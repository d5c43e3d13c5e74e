//! Interfaces through libpcap (feature `libpcap`): on systems without packet sockets of their own here (macOS, BSD, Windows
//! with Npcap), and where a filter expression is wanted. Packets are copied into blocks one by one, which costs more than
//! the ring of Linux; rights, counters and notices are the same.

use super::watched::{self, Watched};
use super::{Counts, Interfaces, Notice, Tell};
use crate::capture::block::{Block, LinkType, Packet};
use crate::error::Error;
use pcap::{Active, Capture, Device, Precision, Stat};
use std::{io, sync::Arc, time::Duration};

/// No packet is longer.
const SNAP_BYTES: i32 = 256 << 10;
/// Bytes and packets of one block.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK_PACKETS: usize = 8192;
/// How long is waited where no interface has a packet.
const REST: Duration = Duration::from_millis(20);
/// What the pipe can use, where nothing else is asked for.
const USEFUL: &str = "tcp or udp";
/// Tunnels: GRE, IP in IP.
const TUNNELS: &str =
    " or ip proto 47 or ip proto 4 or ip proto 41 or ip6 proto 47 or ip6 proto 4 or ip6 proto 41";
/// Tunnels below IP: MPLS, PPPoE.
const LABELS: &str = " or ether proto 0x8847 or ether proto 0x8848 or ether proto 0x8864";
/// Behind a tag. Must be last: what follows `vlan` is looked for behind it.
const TAGGED: &str = " or (vlan and (tcp or udp))";

/// What to watch.
pub struct Wanted {
    /// Names of interfaces, as libpcap knows them; `any` on Linux.
    pub names: Vec<String>,
    /// Take packets that are not addressed to this machine, too.
    pub promiscuous: bool,
    /// Take tunnels (GRE, IP in IP, MPLS, PPPoE), too; those inside UDP come anyway.
    pub tunnels: bool,
    /// Bytes that the kernel keeps of each interface.
    pub buffer_bytes: usize,
    /// Which packets, in libpcap's words (pcap-filter(7)); all that are of use where there are none.
    pub filter: Option<String>,
}

/// An interface that libpcap knows.
pub struct Known {
    /// Its name, as `--interface` wants it.
    pub name: String,
    /// What the system calls it, where that is another name.
    pub description: Option<String>,
    /// It is up.
    pub up: bool,
    /// It is up, and connected to something, as far as libpcap can tell.
    pub connected: bool,
    /// It leads to this machine itself.
    pub loopback: bool,
    /// Its addresses.
    pub addresses: Vec<std::net::IpAddr>,
}

struct Tap {
    name: String,
    capture: Capture<Active>,
    link: LinkType,
    counts: Arc<Counts>,
    last: Stat,
    frame: u64,
    /// Why nothing comes from it for now.
    fault: Option<String>,
    /// The fault was told.
    is_told: bool,
}

/// The interfaces that can be watched.
pub fn list() -> Result<Vec<Known>, io::Error> {
    let devices = Device::list().map_err(|error| io::Error::other(error.to_string()))?;
    let known = devices.into_iter().map(|device| Known {
        name: device.name,
        description: device.desc,
        up: device.flags.is_up(),
        connected: device.flags.connection_status != pcap::ConnectionStatus::Disconnected,
        loopback: device.flags.is_loopback(),
        addresses: device.addresses.into_iter().map(|one| one.addr).collect(),
    });
    Ok(known.collect())
}

/// Opens the interfaces: the one thing that needs a right.
pub fn open(wanted: &Wanted, tell: Tell) -> Result<Box<dyn Interfaces>, Error> {
    let taps = wanted.names.iter().map(|name| Tap::open(name, wanted));
    let taps: Vec<Tap> = taps.collect::<Result<_, Error>>()?;
    Ok(Box::new(Watched::new(taps, tell)))
}

impl Tap {
    fn open(name: &str, wanted: &Wanted) -> Result<Self, Error> {
        let fault = |error: pcap::Error| fault(name, &error);
        let capture = Capture::from_device(name)
            .map_err(fault)?
            .promisc(wanted.promiscuous)
            .snaplen(SNAP_BYTES)
            .buffer_size(i32::try_from(wanted.buffer_bytes).unwrap_or(i32::MAX))
            .timeout(100)
            .precision(Precision::Nano);
        let mut capture = (capture.open())
            .and_then(Capture::setnonblock)
            .map_err(fault)?;
        let mut result = Ok(());
        for expression in expressions(wanted) {
            result = capture.filter(&expression, true);
            if result.is_ok() {
                break;
            }
        }
        result.map_err(fault)?;
        let link = u16::try_from(capture.get_datalink().0).unwrap_or(u16::MAX);
        Ok(Self {
            name: name.to_owned(),
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
            is_told: false,
        })
    }
}

/// The expression that was asked for, or those to try one after the other: some devices (`any` of Linux, loopback of BSD) have
/// no tags and no labels, and libpcap refuses to look for them there.
fn expressions(wanted: &Wanted) -> Vec<String> {
    if let Some(filter) = &wanted.filter {
        return vec![filter.clone()];
    }
    let (tunnels, labels) = if wanted.tunnels {
        (TUNNELS, LABELS)
    } else {
        ("", "")
    };
    vec![
        [USEFUL, tunnels, labels, TAGGED].concat(),
        [USEFUL, tunnels].concat(),
    ]
}

/// libpcap tells its reasons in words only.
fn fault(name: &str, error: &pcap::Error) -> Error {
    let (words, name) = (error.to_string(), name.to_owned());
    let is_known = || list().is_ok_and(|known| known.iter().any(|one| one.name == name));
    if ["permission", "permitted"]
        .iter()
        .any(|word| words.to_lowercase().contains(word))
    {
        return Error::NoCaptureRight { name };
    }
    if words.contains("No such device") && !is_known() {
        return Error::NoInterface { name };
    }
    Error::Interface {
        name,
        source: io::Error::other(words),
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
        if self.fault.is_some() {
            return false; // until it is looked at again
        }
        block.bytes.clear();
        while block.bytes.len() < BLOCK_BYTES && block.packets.len() < BLOCK_PACKETS {
            let packet = match self.capture.next_packet() {
                Ok(packet) => packet,
                Err(pcap::Error::TimeoutExpired | pcap::Error::NoMorePackets) => break,
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
                // With nanosecond precision that is what the second field holds. Their types differ by system.
                #[allow(clippy::useless_conversion)]
                time_ns: i64::from(time.tv_sec) * 1_000_000_000 + i64::from(time.tv_usec),
                frame: self.frame,
            });
        }
        block.filled = block.bytes.len();
        !block.packets.is_empty()
    }

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

    /// libpcap tells of an interface by failing, each time anew: a fault is told once, and its end once.
    fn look(&mut self, notices: &mut Vec<Notice>) {
        match self.fault.take() {
            Some(why) if !self.is_told => {
                self.is_told = true;
                let name = self.name.clone();
                notices.push(Notice::Silent { name, why });
            }
            // Tried again since the last look, and failed again, or was not tried.
            Some(_) => {}
            None if self.is_told => {
                self.is_told = false;
                notices.push(Notice::Back(self.name.clone()));
            }
            None => {}
        }
    }

    fn close(&mut self) {
        // If that fails, packets keep coming until the interface is quiet: no harm but time.
        let _ = self.capture.filter("less 0", true);
    }

    fn wait(_: &mut [Self]) -> bool {
        std::thread::sleep(REST);
        false
    }
}
