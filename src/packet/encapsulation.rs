//! The path of tags and tunnels around a packet.
//!
//! One is made for every packet, so it is small: kinds and numbers lie in arrays of their own, 32 bytes
//! together. It also counts the depth, which bounds all recursion of this stage.

use crate::{limits::Limits, stats::Skip};

/// A kind of tag or tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Tag {
    /// None.
    #[default]
    None,
    /// 802.1Q or 802.1ad; the number is the VLAN id.
    Vlan,
    /// 802.1BR E-tag; the number is the E-CID.
    ETag,
    /// Cisco VN-tag; the number is the destination's virtual interface.
    VnTag,
    /// Cisco metadata; the number is the security group.
    Cmd,
    /// 802.1ah (MAC in MAC); the number is the I-SID.
    Pbb,
    /// MPLS (RFC 3032); the number is the label.
    Mpls,
    /// PPPoE (RFC 2516); the number is the session.
    Pppoe,
    /// Network service header (RFC 8300); the number is the service path.
    Nsh,
    /// GRE without a key (RFC 2784).
    Gre,
    /// GRE with a key (RFC 2890), which is the number.
    GreKey,
    /// PPTP (RFC 2637); the number is the call.
    Pptp,
    /// ERSPAN; the number is the session, 0 for type I.
    Erspan,
    /// VXLAN (RFC 7348); the number is the VNI.
    Vxlan,
    /// Geneve (RFC 8926); the number is the VNI.
    Geneve,
    /// IPv4 in IPv4 (RFC 2003).
    IpInIp,
    /// IPv6 in IPv4 (RFC 4213).
    SixInFour,
    /// IPv4 in IPv6 (RFC 2473).
    FourInSix,
    /// IPv6 in IPv6 (RFC 2473).
    SixInSix,
    /// Ethernet in IP (RFC 3378).
    EtherIp,
    /// Teredo (RFC 4380).
    Teredo,
    /// GTP-U (3GPP TS 29.281); the number is the tunnel endpoint id.
    Gtp,
    /// L2TP (RFC 2661); the number is the session.
    L2tp,
    /// TaZmen sniffer protocol.
    Tzsp,
    /// CAPWAP's data channel (RFC 5415).
    Capwap,
}

impl Tag {
    /// The word in `encapsulation`, and whether the number follows it.
    fn word(self) -> (&'static str, bool) {
        match self {
            Self::None => ("none", false),
            Self::Vlan => ("vlan", true),
            Self::ETag => ("e-tag", true),
            Self::VnTag => ("vn-tag", true),
            Self::Cmd => ("cisco-cmd", true),
            Self::Pbb => ("pbb", true),
            Self::Mpls => ("mpls", true),
            Self::Pppoe => ("pppoe", true),
            Self::Nsh => ("nsh", true),
            Self::Gre => ("gre", false),
            Self::GreKey => ("gre", true),
            Self::Pptp => ("pptp", true),
            Self::Erspan => ("erspan", true),
            Self::Vxlan => ("vxlan", true),
            Self::Geneve => ("geneve", true),
            Self::IpInIp => ("ip-in-ip", false),
            Self::SixInFour => ("6in4", false),
            Self::FourInSix => ("4in6", false),
            Self::SixInSix => ("6in6", false),
            Self::EtherIp => ("etherip", false),
            Self::Teredo => ("teredo", false),
            Self::Gtp => ("gtp", true),
            Self::L2tp => ("l2tp", true),
            Self::Tzsp => ("tzsp", false),
            Self::Capwap => ("capwap", false),
        }
    }
}

/// One tag or tunnel with its number, 0 where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its kind.
    pub tag: Tag,
    /// VLAN id, label, VNI, session, …
    pub number: u32,
}

impl core::fmt::Display for Layer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.tag.word() {
            (word, true) => write!(f, "{word}:{}", self.number),
            (word, false) => f.write_str(word),
        }
    }
}

/// The tags and tunnels around a packet, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Encapsulation {
    numbers: [u32; Self::MAX],
    tags: [Tag; Self::MAX],
    depth: u8,
}

impl Encapsulation {
    const MAX: usize = 6;

    /// No tag and no tunnel.
    pub const NONE: Self = Self {
        numbers: [0; Self::MAX],
        tags: [Tag::None; Self::MAX],
        depth: 0,
    };

    /// Goes one layer deeper; beyond the sixth, layers are counted and not kept.
    pub fn enter(&mut self, tag: Tag, number: u32, limits: &Limits) -> Result<(), Skip> {
        let free = self.tags.iter().position(|&tag| tag == Tag::None);
        if let Some(index) = free
            && let (Some(slot), Some(its_number)) =
                (self.tags.get_mut(index), self.numbers.get_mut(index))
        {
            (*slot, *its_number) = (tag, number);
        }
        self.descend(limits)
    }

    /// Goes one layer deeper into something that has no name of its own.
    pub fn descend(&mut self, limits: &Limits) -> Result<(), Skip> {
        self.depth = self.depth.saturating_add(1);
        if usize::from(self.depth) > limits.encapsulation_depth_max || self.depth == u8::MAX {
            return Err(Skip::TooDeep);
        }
        Ok(())
    }

    /// No tag and no tunnel.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.tags[0] == Tag::None
    }

    /// All layers are link-layer tags without a length of their own: what they hold may be exchanged.
    pub fn is_tags_only(&self) -> bool {
        self.layers().all(|layer| {
            matches!(
                layer.tag,
                Tag::Vlan | Tag::ETag | Tag::VnTag | Tag::Cmd | Tag::Mpls
            )
        })
    }

    /// The layers, outermost first.
    pub fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        self.tags
            .iter()
            .zip(self.numbers)
            .take_while(|(tag, _)| **tag != Tag::None)
            .map(|(&tag, number)| Layer { tag, number })
    }

    /// A number that differs, most likely, where the layers differ; 0 for none.
    #[inline]
    pub fn digest(&self) -> u32 {
        if self.is_empty() {
            return 0;
        }
        self.layers().fold(1, |digest: u32, layer| {
            (digest.rotate_left(5) ^ layer.number ^ (layer.tag as u32) << 24)
                .wrapping_mul(0x9e37_79b1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_small() {
        assert_eq!(size_of::<Encapsulation>(), 32);
    }

    #[test]
    fn layers_read_from_the_outside_in_and_are_capped() {
        let limits = Limits::default();
        let mut around = Encapsulation::default();
        assert!(around.is_empty() && around.digest() == 0);
        around.enter(Tag::Vlan, 7, &limits).unwrap();
        around.enter(Tag::Gre, 0, &limits).unwrap();
        let words: Vec<String> = around.layers().map(|layer| layer.to_string()).collect();
        assert_eq!(words, ["vlan:7", "gre"]);
        assert!(!around.is_tags_only());
        for _ in 2..limits.encapsulation_depth_max {
            around.enter(Tag::Mpls, 16, &limits).unwrap();
        }
        assert_eq!(around.enter(Tag::Mpls, 16, &limits), Err(Skip::TooDeep));
        assert_eq!(around.layers().count(), Encapsulation::MAX);
    }
}
