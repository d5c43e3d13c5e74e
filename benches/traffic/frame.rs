//! Frames: Ethernet, IPv4 or IPv6, TCP or UDP. The IPv4 header's checksum is right, those of TCP and
//! UDP are 0, as offloading drivers leave them.

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client = 0,
    Server = 1,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The addresses of a conversation: client's, then server's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Addresses {
    V4([u32; 2]),
    V6([u128; 2]),
}

/// The endpoints of a conversation: client's, then server's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) addresses: Addresses,
    pub(crate) ports: [u16; 2],
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// Payload of a full segment: an MTU of 1500 and the time stamp option.
pub(crate) const SEGMENT_BYTES: usize = 1448;

/// The fields of a TCP header that differ from segment to segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tcp {
    pub(crate) from: Side,
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    /// Milliseconds, for the time stamp option.
    pub(crate) clock: u32,
}

impl Pair {
    /// The `n`th client and a server; no two `n` below 2^24 have the same endpoints.
    pub(crate) fn numbered(n: u64, clients_each: u64, server: u32, port: u16, v6: bool) -> Self {
        // An odd factor maps 24 bits onto themselves.
        let client = ((n / clients_each).wrapping_mul(0x9e_3779) & 0xff_ffff) as u32;
        let client_port = (1_024 + n.wrapping_mul(7_919) % 64_000) as u16;
        let addresses = if v6 {
            let net = 0x2001_0db8_u128 << 96;
            Addresses::V6([net | 1 << 64 | u128::from(client), net | u128::from(server)])
        } else {
            Addresses::V4([0x0a00_0000 | client, 0xc612_0000 | server])
        };
        Self {
            addresses,
            ports: [client_port, port],
        }
    }

    /// Writes the headers of Ethernet and IP.
    fn headers(&self, out: &mut Vec<u8>, from: Side, protocol: u8, length: usize) {
        let (source, destination) = (from as usize, from.other() as usize);
        out.clear();
        out.extend_from_slice(&[
            2,
            0,
            0,
            0,
            0,
            destination as u8,
            2,
            0,
            0,
            0,
            0,
            source as u8,
        ]);
        match self.addresses {
            Addresses::V4(addresses) => {
                let total = (20 + length) as u16;
                let (from, to) = (addresses[source], addresses[destination]);
                let words = [
                    0x4500,
                    u32::from(total),
                    0x4000,
                    0x4000 | u32::from(protocol),
                ];
                let halves = [from >> 16, from & 0xffff, to >> 16, to & 0xffff];
                let mut sum: u32 = words.iter().chain(&halves).sum();
                sum = (sum & 0xffff) + (sum >> 16);
                sum = (sum & 0xffff) + (sum >> 16);
                out.extend_from_slice(&[8, 0, 0x45, 0]);
                out.extend_from_slice(&total.to_be_bytes());
                out.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol]);
                out.extend_from_slice(&(!(sum as u16)).to_be_bytes());
                out.extend_from_slice(&from.to_be_bytes());
                out.extend_from_slice(&to.to_be_bytes());
            }
            Addresses::V6(addresses) => {
                out.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
                out.extend_from_slice(&(length as u16).to_be_bytes());
                out.extend_from_slice(&[protocol, 64]);
                out.extend_from_slice(&addresses[source].to_be_bytes());
                out.extend_from_slice(&addresses[destination].to_be_bytes());
            }
        }
        out.extend_from_slice(&self.ports[source].to_be_bytes());
        out.extend_from_slice(&self.ports[destination].to_be_bytes());
    }

    /// Makes `out` a TCP segment.
    pub(crate) fn tcp(&self, out: &mut Vec<u8>, tcp: Tcp, payload: &[u8]) {
        let syn = tcp.flags & SYN != 0;
        let header = if syn { 40 } else { 32 };
        self.headers(out, tcp.from, 6, header + payload.len());
        out.extend_from_slice(&tcp.sequence.to_be_bytes());
        out.extend_from_slice(&tcp.acknowledgement.to_be_bytes());
        out.extend_from_slice(&[(header as u8) << 2, tcp.flags, 0x01, 0xf6, 0, 0, 0, 0]);
        if syn {
            // Largest segment, selective acknowledgement.
            out.extend_from_slice(&[2, 4, 0x05, 0xb4, 4, 2, 8, 10]);
        } else {
            out.extend_from_slice(&[1, 1, 8, 10]);
        }
        out.extend_from_slice(&tcp.clock.to_be_bytes());
        let echo = if tcp.flags & ACK == 0 { 0 } else { tcp.clock };
        out.extend_from_slice(&echo.to_be_bytes());
        if syn {
            out.extend_from_slice(&[1, 3, 3, 7]);
        }
        out.extend_from_slice(payload);
    }

    /// Makes `out` a UDP datagram.
    pub(crate) fn udp(&self, out: &mut Vec<u8>, from: Side, payload: &[u8]) {
        let length = 8 + payload.len();
        self.headers(out, from, 17, length);
        out.extend_from_slice(&(length as u16).to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(payload);
    }
}
