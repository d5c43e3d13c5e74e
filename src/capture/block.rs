//! The unit of memory, of dispatch, of back-pressure and of order: a run of capture bytes and the
//! packets that lie in it.

use super::extra::{CommentAt, Extra};

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
    /// IP over a serial line.
    pub const SLIP: Self = Self(8);
    /// PPP.
    pub const PPP: Self = Self(9);
    /// FDDI.
    pub const FDDI: Self = Self(10);
    /// PPP in HDLC framing.
    pub const PPP_SERIAL: Self = Self(50);
    /// PPPoE without Ethernet's header.
    pub const PPP_ETHER: Self = Self(51);
    /// LLC over ATM.
    pub const ATM_RFC1483: Self = Self(100);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// IEEE 802.11.
    pub const IEEE802_11: Self = Self(105);
    /// Frame relay.
    pub const FRAME_RELAY: Self = Self(107);
    /// OpenBSD's IPsec interface.
    pub const ENC: Self = Self(109);
    /// IEEE 802.11 behind a Prism header.
    pub const IEEE802_11_PRISM: Self = Self(119);
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// IEEE 802.11 behind an AVS header.
    pub const IEEE802_11_AVS: Self = Self(163);
    /// PPP behind a byte that tells the direction, as pppd writes it.
    pub const PPP_PPPD: Self = Self(166);
    /// Per-packet information.
    pub const PPI: Self = Self(192);
    /// PPP behind a byte that tells the direction.
    pub const PPP_WITH_DIR: Self = Self(204);
    /// MPLS without a link layer.
    pub const MPLS: Self = Self(219);
    /// Linux netfilter log.
    pub const NFLOG: Self = Self(239);
    /// Ethernet behind the header of a netANALYZER.
    pub const NETANALYZER: Self = Self(240);
    /// Apple's packet tap.
    pub const PKTAP: Self = Self(258);
    /// Ethernet with its preamble.
    pub const ETHERNET_MPACKET: Self = Self(274);
    /// Ethernet behind a Broadcom switch tag.
    pub const DSA_BRCM_PREPEND: Self = Self(282);

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
            Self::SLIP => "slip".into(),
            Self::PPP => "ppp".into(),
            Self::FDDI => "fddi".into(),
            Self::PPP_SERIAL => "ppp-serial".into(),
            Self::PPP_ETHER => "pppoe".into(),
            Self::ATM_RFC1483 => "atm".into(),
            Self::C_HDLC => "hdlc".into(),
            Self::IEEE802_11 => "wifi".into(),
            Self::FRAME_RELAY => "frame-relay".into(),
            Self::ENC => "enc".into(),
            Self::IEEE802_11_PRISM => "wifi-prism".into(),
            Self::IEEE802_11_RADIOTAP => "wifi-radiotap".into(),
            Self::IEEE802_11_AVS => "wifi-avs".into(),
            Self::PPP_PPPD => "ppp-pppd".into(),
            Self::PPI => "ppi".into(),
            Self::PPP_WITH_DIR => "ppp-with-direction".into(),
            Self::MPLS => "mpls".into(),
            Self::NFLOG => "nflog".into(),
            Self::NETANALYZER => "netanalyzer".into(),
            Self::PKTAP => "pktap".into(),
            Self::ETHERNET_MPACKET => "ethernet-mpacket".into(),
            Self::DSA_BRCM_PREPEND => "dsa-tag".into(),
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

/// The kind "TLSK" of secrets: a TLS key log.
pub const TLS_KEY_LOG: u32 = 0x544c_534b;

/// Secrets that a capture carries (a Decryption Secrets Block), in the bytes of their block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretsAt {
    /// What they are: 0x544c534b is a TLS key log.
    pub kind: u32,
    /// Where they begin in the block.
    pub offset: u32,
    /// Their length in bytes.
    pub length: u32,
    /// Index of the first packet behind them in the block.
    pub before: u32,
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
    /// What is known of each packet beside its bytes; empty, or shorter than the packets, where nothing is.
    pub extras: Vec<Extra>,
    /// Comments in the order of their packets.
    pub comments: Vec<CommentAt>,
    /// Packets that were shown before; see [`Extra::repeated`].
    pub repeated: u32,
    /// Secrets to decrypt what follows them, as the capture carries them.
    pub secrets: Vec<SecretsAt>,
    /// The time, where the block holds no packet that tells it: interfaces may be silent.
    pub time_ns: i64,
}

impl Block {
    /// The captured bytes of a packet of this block.
    pub fn data(&self, packet: &Packet) -> &[u8] {
        let start = packet.offset as usize;
        self.bytes
            .get(start..start + packet.captured_len as usize)
            .unwrap_or(&[])
    }

    /// The TLS key logs among the secrets of this block.
    pub fn tls_key_logs(&self) -> impl Iterator<Item = &[u8]> {
        let logs = self.secrets.iter().filter(|at| at.kind == TLS_KEY_LOG);
        logs.filter_map(|at| {
            let log = self.bytes.get(at.offset as usize..)?;
            log.get(..at.length as usize)
        })
    }

    /// Exchanges a packet's bytes behind its first `front` ones for `rest`, which is appended to the
    /// block. `false`: there is no such packet, or no room for it.
    pub fn exchange(&mut self, index: usize, link: LinkType, front: usize, rest: &[u8]) -> bool {
        let Some(packet) = self.packets.get_mut(index) else {
            return false;
        };
        let start = packet.offset as usize;
        let length = front.saturating_add(rest.len());
        let end = self.filled.saturating_add(length);
        let (Ok(offset), Ok(captured_len), Ok(_)) = (
            u32::try_from(self.filled),
            u32::try_from(length),
            u32::try_from(end),
        ) else {
            return false;
        };
        if front > packet.captured_len as usize || start + front > self.bytes.len() {
            return false;
        }
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_within(start..start + front);
        self.bytes.extend_from_slice(rest);
        self.filled = end;
        *packet = Packet {
            offset,
            captured_len,
            original_len: captured_len,
            link,
            ..*packet
        };
        true
    }

    /// Forgets what it held and keeps its memory.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.packets.clear();
        self.extras.clear();
        self.comments.clear();
        self.repeated = 0;
        self.secrets.clear();
    }
}
