//! The versions of QUIC whose Initial packets can be read: salts, labels and packet types.
//!
//! RFC 9001 section 5.2, RFC 9369 section 3, the drafts of both; Google's versions that carry their
//! handshake in CRYPTO frames, as Wireshark and nDPI know them.

/// A version number as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u32);

/// What a packet with a long header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// Initial.
    Initial,
    /// 0-RTT.
    ZeroRtt,
    /// Handshake.
    Handshake,
    /// Retry.
    Retry,
}

/// The labels under which keys are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Of the packet protection key.
    pub key: &'static [u8],
    /// Of the initialization vector.
    pub iv: &'static [u8],
    /// Of the header protection key.
    pub hp: &'static [u8],
}

const LABELS_V1: Labels = Labels {
    key: b"tls13 quic key",
    iv: b"tls13 quic iv",
    hp: b"tls13 quic hp",
};
const LABELS_V2: Labels = Labels {
    key: b"tls13 quicv2 key",
    iv: b"tls13 quicv2 iv",
    hp: b"tls13 quicv2 hp",
};

/// Salt of an Initial secret.
pub type Salt = [u8; 20];

const SALT_DRAFT_22: Salt = [
    0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a, 0x96, 0xcd, 0x21, 0x51, 0x9e, 0xbd,
    0x7a, 0x02, 0x64, 0x4a,
];
const SALT_DRAFT_23: Salt = [
    0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65,
    0xbe, 0xf9, 0xf5, 0x02,
];
const SALT_DRAFT_29: Salt = [
    0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0,
    0x43, 0x90, 0xa8, 0x99,
];
const SALT_V1: Salt = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
const SALT_V2: Salt = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
    0xf9, 0xbd, 0x2e, 0xd9,
];
const SALT_T050: Salt = [
    0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72, 0x91, 0x55, 0x80, 0x30, 0x4c, 0x43, 0xa2, 0x36, 0x7c,
    0x60, 0x48, 0x83, 0x10,
];
const SALT_T051: Salt = [
    0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee, 0x5f, 0xa4, 0x50, 0x6c, 0x19, 0x12, 0x4f, 0xc8, 0xcc,
    0xda, 0x6e, 0x03, 0x3d,
];

impl Version {
    /// QUIC version 1.
    pub const V1: Self = Self(1);
    /// QUIC version 2 (RFC 9369).
    pub const V2: Self = Self(0x6b33_43cf);
    /// The number that makes a packet a Version Negotiation.
    pub const NEGOTIATION: Self = Self(0);

    /// Salt of the Initial secret; `None`: a version that is not known here.
    #[inline]
    pub fn salt(self) -> Option<&'static Salt> {
        Some(match self.0 {
            1 | 0xff00_0021 | 0xff00_0022 => &SALT_V1,
            0x6b33_43cf => &SALT_V2,
            // Facebook's: by number of the draft that they follow.
            0xff00_0016 | 0xface_b001 => &SALT_DRAFT_22,
            0xff00_0017..=0xff00_001c | 0xface_b002 | 0xface_b00e => &SALT_DRAFT_23,
            0xff00_001d..=0xff00_0020 | 0xface_b011 | 0xface_b013 => &SALT_DRAFT_29,
            0xface_b003 | 0xface_b004 | 0xface_b010 => &SALT_V1,
            0x5430_3530 => &SALT_T050,
            0x5430_3531 => &SALT_T051,
            _ => return None,
        })
    }

    /// A number that only asks the server to negotiate (RFC 9000 section 15).
    #[inline]
    pub fn is_reserved(self) -> bool {
        self.0 & 0x0f0f_0f0f == 0x0a0a_0a0a
    }

    /// Labels of its keys.
    pub fn labels(self) -> Labels {
        if self == Self::V2 {
            LABELS_V2
        } else {
            LABELS_V1
        }
    }

    /// What the type bits of a long header mean.
    #[inline]
    pub fn packet_type(self, first: u8) -> PacketType {
        const TYPES: [PacketType; 4] = [
            PacketType::Initial,
            PacketType::ZeroRtt,
            PacketType::Handshake,
            PacketType::Retry,
        ];
        let bits = usize::from(first >> 4 & 3);
        let shift = if self == Self::V2 { 3 } else { 0 };
        TYPES[(bits + shift) % 4]
    }

    /// Its name, as people write it.
    pub fn name(self) -> Option<String> {
        Some(match self.0 {
            1 => "1".to_owned(),
            0x6b33_43cf => "2".to_owned(),
            0xff00_0001..=0xff00_0022 => format!("draft-{:02}", self.0 & 0xff),
            0xface_b000..=0xface_bfff => format!("mvfst {:x}", self.0 & 0xff),
            // Google's are four letters.
            0x5130_3030..=0x5139_3939 | 0x5430_3030..=0x5439_3939 => {
                String::from_utf8(self.0.to_be_bytes().to_vec()).ok()?
            }
            _ if self.is_reserved() => "reserved".to_owned(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_turns_the_packet_types() {
        assert_eq!(Version::V1.packet_type(0xc3), PacketType::Initial);
        assert_eq!(Version::V2.packet_type(0xd3), PacketType::Initial);
        assert_eq!(Version::V2.packet_type(0xcf), PacketType::Retry);
        assert_eq!(Version::V2.packet_type(0xff), PacketType::Handshake);
    }

    #[test]
    fn names() {
        assert_eq!(Version(0x5430_3531).name().as_deref(), Some("T051"));
        assert_eq!(Version(0xff00_001d).name().as_deref(), Some("draft-29"));
        assert_eq!(Version(0x1a2a_3a4a).name().as_deref(), Some("reserved"));
        assert_eq!(Version(0x1234_5678).name(), None);
    }
}
