//! The unit of memory, of dispatch, of back-pressure and of order: a run of capture bytes and the
//! packets that lie in it.

/// A LINKTYPE_ number as capture files use it (1 Ethernet, 101 raw IP, 113 Linux cooked …).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: address family in host byte order.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// Raw IP, as some systems number it.
    pub const RAW_12: Self = Self(12);
    /// Raw IP, as other systems number it.
    pub const RAW_14: Self = Self(14);
    /// Raw IP.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);

    /// The name that the summary shows.
    pub fn name(self) -> String {
        match self {
            Self::NULL => "null".into(),
            Self::ETHERNET => "ethernet".into(),
            Self::RAW | Self::RAW_12 | Self::RAW_14 => "raw-ip".into(),
            Self::LOOP => "loop".into(),
            Self::LINUX_SLL => "linux-sll".into(),
            Self::IPV4 => "raw-ipv4".into(),
            Self::IPV6 => "raw-ipv6".into(),
            Self::LINUX_SLL2 => "linux-sll2".into(),
            Self(other) => format!("linktype-{other}"),
        }
    }
}

/// One packet inside a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where its bytes begin in the block.
    pub offset: u32,
    /// Bytes in the capture.
    pub captured_len: u32,
    /// Bytes on the wire.
    pub original_len: u32,
    /// Number of the capture's interface, from 0.
    pub interface: u32,
    /// What its first header is.
    pub link: LinkType,
    /// Nanoseconds since 1970-01-01 UTC.
    pub time_ns: i64,
    /// Number in its capture, from 1, as Wireshark counts.
    pub frame: u64,
}

/// A run of capture bytes and the packets in it.
#[derive(Debug, Default)]
pub struct Block {
    /// The bytes; those behind `filled` are left over from an earlier use.
    pub bytes: Vec<u8>,
    /// How many of the bytes are this block's.
    pub filled: usize,
    /// Packets that lie wholly in this block, in the capture's order.
    pub packets: Vec<Packet>,
    /// Which capture of the run, from 0.
    pub capture: u32,
}

impl Block {
    /// The captured bytes of a packet of this block.
    pub fn data(&self, packet: &Packet) -> &[u8] {
        let start = packet.offset as usize;
        self.bytes
            .get(start..start + packet.captured_len as usize)
            .unwrap_or(&[])
    }

    /// Forgets what it held and keeps its memory.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.packets.clear();
    }
}
