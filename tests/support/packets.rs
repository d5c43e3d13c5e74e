//! Packets from nothing: Ethernet, IPv4 or IPv6, TCP or UDP; and conversations made of them.

use std::net::{IpAddr, SocketAddr};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;

/// A packet as a capture holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) time_ns: i64,
    pub(crate) bytes: Vec<u8>,
    /// Bytes on the wire, where the snap length cut some.
    pub(crate) original_len: usize,
}

impl Packet {
    pub(crate) fn new(time_ns: i64, bytes: Vec<u8>) -> Self {
        let original_len = bytes.len();
        Self {
            time_ns,
            bytes,
            original_len,
        }
    }

    /// The packet as a capture with this snap length holds it.
    pub(crate) fn snapped(mut self, snap_len: usize) -> Self {
        self.bytes.truncate(snap_len);
        self
    }
}

/// A TCP segment to be.
#[derive(Clone, Debug)]
pub(crate) struct Tcp<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) options: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl Tcp<'_> {
    /// TCP header and payload.
    pub(crate) fn segment(&self) -> Vec<u8> {
        assert!(self.options.len().is_multiple_of(4) && self.options.len() <= 40);
        let mut out = Vec::new();
        out.extend(self.from.port().to_be_bytes());
        out.extend(self.to.port().to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.acknowledgement.to_be_bytes());
        out.push((((20 + self.options.len()) / 4) << 4) as u8);
        out.push(self.flags);
        out.extend([0xff, 0xff, 0, 0, 0, 0]); // window; nobody checks sums
        out.extend(self.options);
        out.extend(self.payload);
        out
    }

    /// The IP packet.
    pub(crate) fn ip(&self) -> Vec<u8> {
        ip(self.from.ip(), self.to.ip(), 6, &self.segment())
    }

    /// The Ethernet frame, padded to its least length.
    pub(crate) fn ethernet(&self) -> Vec<u8> {
        ethernet(&self.ip())
    }
}

/// An IP packet of this protocol.
fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend([0x45, 0]);
            out.extend((20 + payload.len() as u16).to_be_bytes());
            out.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            out.extend(from.octets());
            out.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            out.extend([0x60, 0, 0, 0]);
            out.extend((payload.len() as u16).to_be_bytes());
            out.extend([protocol, 64]);
            out.extend(from.octets());
            out.extend(to.octets());
        }
        _ => panic!("two families"),
    }
    out.extend(payload);
    out
}

fn ethernet(ip: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    out.extend(if ip[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    });
    out.extend(ip);
    // Padding that would be read as the start of a record, if anyone took it for payload.
    while out.len() < 60 {
        out.push(0x16);
    }
    out
}

/// A UDP datagram as an Ethernet frame.
pub(crate) fn datagram(time_ns: i64, from: &str, to: &str, payload: &[u8]) -> Packet {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let mut udp = Vec::new();
    udp.extend(from.port().to_be_bytes());
    udp.extend(to.port().to_be_bytes());
    udp.extend((8 + payload.len() as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    Packet::new(time_ns, ethernet(&ip(from.ip(), to.ip(), 17, &udp)))
}

/// A router's ICMP message about a frame: its type, code, and what stands in bytes 4 to 7.
pub(crate) fn icmp(about: &Packet, router: &str, [kind, code]: [u8; 2], word: u32) -> Packet {
    let router: IpAddr = router.parse().unwrap();
    let quoted = &about.bytes[14..];
    let (to, protocol): (IpAddr, u8) = match router {
        IpAddr::V4(_) => (<[u8; 4]>::try_from(&quoted[12..16]).unwrap().into(), 1),
        IpAddr::V6(_) => (<[u8; 16]>::try_from(&quoted[8..24]).unwrap().into(), 58),
    };
    let mut message = vec![kind, code, 0, 0];
    message.extend(word.to_be_bytes());
    message.extend(&quoted[..quoted.len().min(48)]);
    let bytes = ethernet(&ip(router, to, protocol, &message));
    Packet::new(about.time_ns + 2_000_000, bytes)
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Client = 0,
    Server = 1,
}
use self::Who::{Client, Server};

/// A TCP conversation in the making: each step adds a packet.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) ends: [SocketAddr; 2],
    /// First sequence number of each side: that of its SYN.
    pub(crate) first: [u32; 2],
    /// Payload bytes sent by each side.
    pub(crate) sent: [u32; 2],
    pub(crate) time_ns: i64,
    pub(crate) packets: Vec<Packet>,
}

/// 2026-01-01 00:00:00 UTC.
pub(crate) const START_NS: i64 = 1_767_225_600_000_000_000;

impl Default for Talk {
    fn default() -> Self {
        Self::new("192.0.2.10:50000", "198.51.100.25:443")
    }
}

impl Talk {
    pub(crate) fn new(client: &str, server: &str) -> Self {
        Self {
            ends: [client.parse().unwrap(), server.parse().unwrap()],
            first: [1_000, 9_000],
            sent: [0, 0],
            time_ns: START_NS,
            packets: Vec::new(),
        }
    }

    /// The same with other first sequence numbers.
    pub(crate) fn with_first(mut self, client: u32, server: u32) -> Self {
        self.first = [client, server];
        self
    }

    /// Time passes.
    pub(crate) fn wait_ms(&mut self, ms: i64) -> &mut Self {
        self.time_ns += ms * 1_000_000;
        self
    }

    /// Sequence number of payload byte `at` of a side.
    pub(crate) fn sequence(&self, from: Who, at: u32) -> u32 {
        self.first[from as usize].wrapping_add(1).wrapping_add(at)
    }

    /// A packet with everything said: payload from stream offset `at`.
    pub(crate) fn segment(&mut self, from: Who, flags: u8, at: u32, payload: &[u8]) -> &mut Self {
        let sequence = self.sequence(from, at);
        self.raw(from, flags, sequence, payload)
    }

    /// A packet with everything said.
    pub(crate) fn raw(&mut self, from: Who, flags: u8, sequence: u32, payload: &[u8]) -> &mut Self {
        let (me, you) = (from as usize, 1 - from as usize);
        let bytes = Tcp {
            from: self.ends[me],
            to: self.ends[you],
            sequence,
            acknowledgement: if flags & ACK == 0 {
                0
            } else {
                self.first[you].wrapping_add(1).wrapping_add(self.sent[you])
            },
            flags,
            options: &[],
            payload,
        }
        .ethernet();
        self.packets.push(Packet::new(self.time_ns, bytes));
        self.time_ns += 100_000;
        self
    }

    /// SYN, SYN-ACK, ACK.
    pub(crate) fn open(&mut self) -> &mut Self {
        let [client, server] = self.first;
        self.raw(Client, SYN, client, b"")
            .raw(Server, SYN | ACK, server, b"")
            .segment(Client, ACK, 0, b"")
    }

    /// The next bytes of a side, in one segment.
    pub(crate) fn send(&mut self, from: Who, payload: &[u8]) -> &mut Self {
        let at = self.sent[from as usize];
        self.segment(from, PSH | ACK, at, payload);
        self.sent[from as usize] += payload.len() as u32;
        self
    }

    /// The next bytes of a side, in segments of at most `size` bytes.
    pub(crate) fn send_cut(&mut self, from: Who, payload: &[u8], size: usize) -> &mut Self {
        for piece in payload.chunks(size) {
            self.send(from, piece);
        }
        self
    }

    /// A segment without payload.
    pub(crate) fn acknowledge(&mut self, from: Who) -> &mut Self {
        let at = self.sent[from as usize];
        self.segment(from, ACK, at, b"")
    }

    pub(crate) fn fin(&mut self, from: Who) -> &mut Self {
        let at = self.sent[from as usize];
        self.segment(from, FIN | ACK, at, b"");
        self.sent[from as usize] += 1;
        self
    }

    pub(crate) fn rst(&mut self, from: Who) -> &mut Self {
        let at = self.sent[from as usize];
        self.segment(from, RST | ACK, at, b"")
    }

    /// FIN of the client, then of the server.
    pub(crate) fn close(&mut self) -> &mut Self {
        self.fin(Client).fin(Server).acknowledge(Client)
    }
}

/// What both sides of each conversation in a capture say, flight by flight. For captures in which nothing is lost,
/// repeated or out of order.
pub(crate) fn conversations(path: &std::path::Path) -> Vec<Vec<(Who, Vec<u8>)>> {
    use tlscope::{
        capture::{Format, feed::Feed},
        limits::Limits,
        packet::{Decoded, Encapsulation, decode},
    };
    let (limits, bytes) = (Limits::default(), std::fs::read(path).unwrap());
    let (_, format) = Format::detect(&bytes, limits.packet_bytes_max).unwrap();
    let mut feed = Feed::new(&*bytes, String::new(), format, Vec::new(), false, &limits);
    let mut block = tlscope::capture::Block::default();
    type Flights = Vec<(Who, Vec<u8>)>;
    let mut talks: Vec<((IpAddr, u16), Flights)> = Vec::new();
    let mut more = true;
    while more {
        more = feed.fill(&mut block).unwrap() == tlscope::capture::feed::Fill::More;
        for packet in &block.packets {
            let mut around = Encapsulation::default();
            let data = block.data(packet);
            let Ok(Decoded::Tcp(segment)) = decode(packet.link, data, &mut around, &limits) else {
                continue;
            };
            let (from, to) = segment.addresses.ips();
            let (from, to) = ((from, segment.source_port), (to, segment.destination_port));
            if segment.flags.syn() && !segment.flags.ack() {
                talks.push((from, Vec::new()));
            }
            if segment.payload.is_empty() {
                continue;
            }
            let (client, flights) = talks
                .iter_mut()
                .rev()
                .find(|(client, _)| *client == from || *client == to)
                .unwrap();
            let who = if *client == from { Client } else { Server };
            match flights.last_mut() {
                Some((last, bytes)) if *last == who => bytes.extend(segment.payload),
                _ => flights.push((who, segment.payload.to_vec())),
            }
        }
    }
    talks.into_iter().map(|(_, flights)| flights).collect()
}
