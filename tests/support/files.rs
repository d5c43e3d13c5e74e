//! Writers of capture files, in all the forms in which the formats allow them.

use super::packets::Packet;

/// A classic pcap file.
#[derive(Clone, Debug)]
pub(crate) struct Pcap {
    pub(crate) big_endian: bool,
    pub(crate) nanoseconds: bool,
    /// The variant with eight more bytes in each record header.
    pub(crate) modified: bool,
    pub(crate) link: u32,
}

impl Default for Pcap {
    fn default() -> Self {
        Self {
            big_endian: false,
            nanoseconds: true,
            modified: false,
            link: 1,
        }
    }
}

impl Pcap {
    fn u32(&self, out: &mut Vec<u8>, number: u32) {
        out.extend(if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        });
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let magic = match (self.modified, self.nanoseconds) {
            (true, _) => 0xa1b2_cd34,
            (false, true) => 0xa1b2_3c4d,
            (false, false) => 0xa1b2_c3d4,
        };
        self.u32(&mut out, magic);
        // Version 2.4 as two halves, in this byte order.
        self.u32(
            &mut out,
            if self.big_endian {
                0x0002_0004
            } else {
                0x0004_0002
            },
        );
        for number in [0, 0, 262_144, self.link] {
            self.u32(&mut out, number);
        }
        out
    }

    pub(crate) fn record(&self, out: &mut Vec<u8>, packet: &Packet) {
        let unit = if self.nanoseconds { 1 } else { 1_000 };
        for number in [
            packet.time_ns.div_euclid(1_000_000_000) as u32,
            (packet.time_ns.rem_euclid(1_000_000_000) / unit) as u32,
            packet.bytes.len() as u32,
            packet.original_len as u32,
        ] {
            self.u32(out, number);
        }
        if self.modified {
            out.extend([7; 8]);
        }
        out.extend(&packet.bytes);
    }

    pub(crate) fn write(&self, packets: &[Packet]) -> Vec<u8> {
        let mut out = self.header();
        for packet in packets {
            self.record(&mut out, packet);
        }
        out
    }
}

/// A pcapng file, block by block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pcapng {
    pub(crate) bytes: Vec<u8>,
    pub(crate) big_endian: bool,
}

impl Pcapng {
    fn u16(&self, out: &mut Vec<u8>, number: u16) {
        out.extend(if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        });
    }

    fn u32(&self, out: &mut Vec<u8>, number: u32) {
        out.extend(if self.big_endian {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        });
    }

    /// An option, filled up to four bytes.
    pub(crate) fn option(&self, out: &mut Vec<u8>, code: u16, value: &[u8]) {
        self.u16(out, code);
        self.u16(out, value.len() as u16);
        out.extend(value);
        while !out.len().is_multiple_of(4) {
            out.push(0);
        }
    }

    /// A block of any type.
    pub(crate) fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let padding = body.len().next_multiple_of(4) - body.len();
        let length = (12 + body.len() + padding) as u32;
        let mut out = Vec::new();
        self.u32(&mut out, kind);
        self.u32(&mut out, length);
        out.extend(body);
        out.extend(vec![0; padding]);
        self.u32(&mut out, length);
        self.bytes.extend(out);
        self
    }

    /// Begins a section in this byte order.
    pub(crate) fn section(&mut self, big_endian: bool) -> &mut Self {
        self.big_endian = big_endian;
        let mut body = Vec::new();
        self.u32(&mut body, 0x1a2b_3c4d);
        self.u16(&mut body, 1);
        self.u16(&mut body, 0);
        body.extend([0xff; 8]);
        self.option(&mut body, 4, b"tlscope tests");
        self.option(&mut body, 0, b"");
        self.block(0x0a0d_0d0a, &body)
    }

    /// Describes an interface.
    pub(crate) fn interface(
        &mut self,
        link: u16,
        snap_len: u32,
        resolution: Option<u8>,
        offset_s: Option<i64>,
    ) -> &mut Self {
        let mut body = Vec::new();
        self.u16(&mut body, link);
        self.u16(&mut body, 0);
        self.u32(&mut body, snap_len);
        if link != 1 {
            self.option(&mut body, 2, b"veth0");
        }
        if let Some(resolution) = resolution {
            self.option(&mut body, 9, &[resolution]);
        }
        if let Some(offset) = offset_s {
            let bytes = if self.big_endian {
                offset.to_be_bytes()
            } else {
                offset.to_le_bytes()
            };
            self.option(&mut body, 14, &bytes);
        }
        self.option(&mut body, 0, b"");
        self.block(1, &body)
    }

    /// An enhanced packet block with a time stamp in the interface's units.
    pub(crate) fn enhanced(&mut self, interface: u32, stamp: u64, packet: &Packet) -> &mut Self {
        self.enhanced_with(interface, stamp, packet, &[(3, b"\x02hash")])
    }

    /// The same with other options.
    pub(crate) fn enhanced_with(
        &mut self,
        interface: u32,
        stamp: u64,
        packet: &Packet,
        options: &[(u16, &[u8])],
    ) -> &mut Self {
        let mut body = Vec::new();
        self.u32(&mut body, interface);
        self.u32(&mut body, (stamp >> 32) as u32);
        self.u32(&mut body, stamp as u32);
        self.u32(&mut body, packet.bytes.len() as u32);
        self.u32(&mut body, packet.original_len as u32);
        body.extend(&packet.bytes);
        while !body.len().is_multiple_of(4) {
            body.push(0);
        }
        for (code, value) in options {
            self.option(&mut body, *code, value);
        }
        self.option(&mut body, 0, b"");
        self.block(6, &body)
    }

    /// The packet block of old files.
    pub(crate) fn obsolete(&mut self, interface: u16, stamp: u64, packet: &Packet) -> &mut Self {
        let mut body = Vec::new();
        self.u16(&mut body, interface);
        self.u16(&mut body, 0xffff);
        self.u32(&mut body, (stamp >> 32) as u32);
        self.u32(&mut body, stamp as u32);
        self.u32(&mut body, packet.bytes.len() as u32);
        self.u32(&mut body, packet.original_len as u32);
        body.extend(&packet.bytes);
        self.block(2, &body)
    }

    /// A simple packet block.
    pub(crate) fn simple(&mut self, packet: &Packet) -> &mut Self {
        let mut body = Vec::new();
        self.u32(&mut body, packet.original_len as u32);
        body.extend(&packet.bytes);
        self.block(3, &body)
    }

    /// A whole file of one section and one Ethernet interface with nanoseconds.
    pub(crate) fn whole(big_endian: bool, packets: &[Packet]) -> Vec<u8> {
        let mut file = Self::default();
        file.section(big_endian).interface(1, 0, Some(9), None);
        for packet in packets {
            file.enhanced(0, packet.time_ns as u64, packet);
        }
        file.bytes
    }
}
