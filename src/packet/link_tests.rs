use super::super::testing::*;
use crate::{capture::LinkType, stats::Skip};

/// 802.2 with SNAP and IPv4's EtherType.
const SNAP: [u8; 8] = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];

#[test]
fn ethernet_tags_of_all_sorts() {
    let ip = hello();
    let tag = |bytes: &[u8]| cat(&[bytes, &ip]);
    let ethernet_with = |kind, payload: &[u8], layers: &[&str]| {
        assert_hello(LinkType::ETHERNET, &ethernet(kind, payload), layers);
    };
    ethernet_with(0x0800, &ip, &[]);
    ethernet_with(0x86dd, &v6(6, &tcp(b"hello")), &[]);
    ethernet_with(0x8100, &tag(&[0x60, 7, 8, 0]), &["vlan:7"]);
    ethernet_with(
        0x88a8,
        &tag(&[0, 7, 0x81, 0, 0, 8, 8, 0]),
        &["vlan:7", "vlan:8"],
    );
    ethernet_with(0x893f, &tag(&[0, 0, 0xd1, 2, 0, 0, 8, 0]), &["e-tag:4354"]);
    ethernet_with(0x8926, &tag(&[0x80, 5, 0, 9, 8, 0]), &["vn-tag:5"]);
    ethernet_with(0x8909, &tag(&[1, 1, 0, 1, 0, 55, 8, 0]), &["cisco-cmd:55"]);
    ethernet_with(0x8864, &tag(&[0x11, 0, 0, 3, 0, 47, 0, 0x21]), &["pppoe:3"]);
    ethernet_with(
        0x88e7,
        &cat(&[&[0, 0, 1, 2], &ethernet(0x0800, &ip)]),
        &["pbb:258"],
    );
    ethernet_with(60, &tag(&SNAP), &[]);
    ethernet_with(60, &tag(&[6, 6, 3]), &[]);
}

#[test]
fn what_is_not_ip_is_named() {
    for (kind, payload) in [
        (0x0806, &[0u8; 28][..]),
        (0x8863, &[0x11, 9, 0, 0, 0, 0]),
        (0x8864, &[0x11, 0, 0, 0, 0, 8, 0xc0, 0x21, 1, 1, 0, 4]),
        (38, &[0x42, 0x42, 3, 0, 0, 0, 0]),
        (38, &[0xaa, 0xaa, 3, 0, 0, 12, 0x20, 0]),
    ] {
        let frame = ethernet(kind, payload);
        assert_eq!(
            decode(LinkType::ETHERNET, &frame).0,
            Err(Skip::NotIp),
            "{kind:04x}"
        );
    }
    assert_eq!(decode(LinkType(999), &[]).0, Err(Skip::LinkType));
}

#[test]
fn mpls_stacks_hold_ip_or_ethernet() {
    let ip = hello();
    let stack = [0, 1, 0, 0, 0, 0x10, 0x11, 64];
    let layers = ["mpls:16", "mpls:257"];
    let with = |inner: &[u8]| ethernet(0x8847, &cat(&[&stack, inner]));
    assert_hello(LinkType::ETHERNET, &with(&ip), &layers);
    assert_hello(LinkType::ETHERNET, &with(&v6(6, &tcp(b"hello"))), &layers);
    let frame = ethernet(0x0800, &ip);
    assert_hello(LinkType::ETHERNET, &with(&cat(&[&[0; 4], &frame])), &layers);
    assert_hello(LinkType::ETHERNET, &with(&frame), &layers);
    assert_hello(LinkType::MPLS, &cat(&[&stack, &ip]), &layers);
}

#[test]
fn service_function_chains() {
    let header = |next| [0x0f, 0xc6, 1, next, 0, 1, 0, 0xff];
    let context = [0; 16];
    for (next, inner) in [(1, hello()), (3, ethernet(0x0800, &hello()))] {
        let frame = ethernet(0x894f, &cat(&[&header(next), &context, &inner]));
        assert_hello(LinkType::ETHERNET, &frame, &["nsh:256"]);
    }
    let frame = ethernet(0x894f, &[0x0f, 0xc1, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(
        decode(LinkType::ETHERNET, &frame).0,
        Err(Skip::MalformedHeader)
    );
}

#[test]
fn ppp_in_every_framing() {
    let ip = hello();
    let v6 = v6(6, &tcp(b"hello"));
    for link in [LinkType::PPP, LinkType::PPP_SERIAL, LinkType::C_HDLC] {
        assert_hello(link, &cat(&[&[0xff, 3, 0, 0x21], &ip]), &[]);
        assert_hello(link, &cat(&[&[0, 0x21], &ip]), &[]);
        assert_hello(link, &cat(&[&[0x21], &ip]), &[]);
        assert_hello(link, &cat(&[&[0xff, 3, 0x57], &v6]), &[]);
        assert_hello(link, &cat(&[&[0x0f, 0, 8, 0], &ip]), &[]);
        assert_hello(link, &cat(&[&[0x8f, 0, 0x86, 0xdd], &v6]), &[]);
    }
    let multilink = [0, 0x3d, 0xc0, 0, 0, 1, 0x21];
    assert_hello(LinkType::PPP, &cat(&[&multilink, &ip]), &[]);
    assert_hello(
        LinkType::PPP_PPPD,
        &cat(&[&[1, 0xff, 3, 0, 0x21], &ip]),
        &[],
    );
    assert_hello(LinkType::PPP_WITH_DIR, &cat(&[&[0, 0, 0x21], &ip]), &[]);
    let pppoe = cat(&[&[0x11, 0, 0, 9, 0, 47, 0, 0x21], &ip]);
    assert_hello(LinkType::PPP_ETHER, &pppoe, &["pppoe:9"]);
}

fn wifi(control: [u8; 2], behind: &[u8]) -> Vec<u8> {
    cat(&[&control, &[0; 22], behind, &SNAP, &hello()])
}

#[test]
fn wifi_data_frames() {
    let link = LinkType::IEEE802_11;
    assert_hello(link, &wifi([0x08, 0x01], &[]), &[]);
    assert_hello(link, &wifi([0x88, 0x02], &[0, 0]), &[]);
    assert_hello(link, &wifi([0x88, 0x82], &[0; 6]), &[]);
    assert_hello(link, &wifi([0x08, 0x03], &[0; 6]), &[]);
    // Marked as protected, but in clear text: as Windows hands it over.
    assert_hello(link, &wifi([0x08, 0x41], &[]), &[]);
    let aggregate = cat(&[&[0x80, 0], &[0; 14]]);
    assert_hello(link, &wifi([0x88, 0x02], &aggregate), &[]);
    // Beacon, null data, protected, first of several fragments.
    let encrypted = cat(&[&[0x08, 0x41], &[0; 22], &[1, 2, 3, 0x20, 0, 0, 0, 0, 9, 9]]);
    for frame in [
        wifi([0x80, 0], &[]),
        wifi([0x48, 1], &[]),
        encrypted,
        wifi([0x08, 0x05], &[]),
    ] {
        assert_eq!(decode(link, &frame).0, Err(Skip::NotIp));
    }
}

#[test]
fn monitor_mode_headers() {
    let frame = wifi([0x08, 0x01], &[]);
    // Timer (aligned) and flags; two words of bits.
    let radiotap = [0, 0, 28, 0, 3, 0, 0, 0x80, 0, 0, 0, 0];
    let fields = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0, 0, 0];
    let fields = &fields[4..];
    let header = cat(&[&radiotap, &[0; 4], fields]);
    assert_eq!(header.len(), 28);
    let link = LinkType::IEEE802_11_RADIOTAP;
    assert_hello(link, &cat(&[&header, &frame]), &[]);
    assert_hello(link, &cat(&[&[0, 0, 8, 0, 0, 0, 0, 0], &frame]), &[]);
    // Flag 0x20: the QoS header of 26 bytes is padded to 28.
    let padded = cat(&[
        &[0, 0, 9, 0, 2, 0, 0, 0, 0x20],
        &wifi([0x88, 0x01], &[0; 4]),
    ]);
    assert_hello(link, &padded, &[]);
    let ppi = [0, 0, 8, 0, 105, 0, 0, 0];
    assert_hello(LinkType::PPI, &cat(&[&ppi, &frame]), &[]);
    assert_hello(LinkType::IEEE802_11_PRISM, &cat(&[&[0; 144], &frame]), &[]);
    let avs = cat(&[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64], &[0; 56]]);
    assert_hello(LinkType::IEEE802_11_PRISM, &cat(&[&avs, &frame]), &[]);
}

#[test]
fn wrappers_in_wrappers_end_at_the_cap() {
    let ppi = [0, 0, 8, 0, 192, 0, 0, 0].repeat(20);
    assert_eq!(decode(LinkType::PPI, &ppi).0, Err(Skip::TooDeep));
    let tags = [0, 1, 0x81, 0].repeat(20);
    let frame = ethernet(0x8100, &tags);
    assert_eq!(decode(LinkType::ETHERNET, &frame).0, Err(Skip::TooDeep));
    let labels = [0, 1, 0, 0].repeat(20);
    let frame = ethernet(0x8847, &labels);
    assert_eq!(decode(LinkType::ETHERNET, &frame).0, Err(Skip::TooDeep));
}

#[test]
fn the_smaller_wrappers() {
    let ip = hello();
    let uid = [8, 0, 11, 0, 0, 0, 0, 1];
    let little = cat(&[&[2, 0, 0, 0], &uid, &[49, 0, 9, 0], &ip]);
    assert_hello(LinkType::NFLOG, &little, &[]);
    let big = cat(&[
        &[2, 0, 0, 0],
        &[0, 5, 0, 10, 0x61, 0, 0, 0],
        &[0, 49, 0, 9],
        &ip,
    ]);
    assert_hello(LinkType::NFLOG, &big, &[]);
    assert_eq!(
        decode(LinkType::NFLOG, &[2, 0, 0, 0, 1, 0, 1, 0]).0,
        Err(Skip::MalformedHeader)
    );
    assert_hello(
        LinkType::FRAME_RELAY,
        &cat(&[&[0x18, 0x41, 3, 0xcc], &ip]),
        &[],
    );
    assert_hello(
        LinkType::FRAME_RELAY,
        &cat(&[&[0x18, 0x41, 8, 0], &ip]),
        &[],
    );
    let snap = [0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0];
    assert_hello(LinkType::FRAME_RELAY, &cat(&[&snap, &ip]), &[]);
    let bridged = cat(&[
        &[0xaa, 0xaa, 3, 0, 0x80, 0xc2, 0, 7, 0, 0],
        &ethernet(0x0800, &ip),
    ]);
    assert_hello(LinkType::ATM_RFC1483, &bridged, &[]);
    assert_hello(LinkType::FDDI, &cat(&[&[0; 13], &SNAP, &ip]), &[]);
    assert_hello(LinkType::SLIP, &cat(&[&[0; 16], &ip]), &[]);
    assert_hello(LinkType::ENC, &cat(&[&[0; 12], &ip]), &[]);
    let frame = ethernet(0x0800, &ip);
    assert_hello(LinkType::NETANALYZER, &cat(&[&[0; 4], &frame]), &[]);
    assert_hello(LinkType::ETHERNET_MPACKET, &cat(&[&[0x55; 8], &frame]), &[]);
    let pktap = cat(&[&[12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], &frame]);
    assert_hello(LinkType::PKTAP, &pktap, &[]);
    assert_hello(LinkType::LINUX_SLL, &cat(&[&[0; 14], &[8, 0], &ip]), &[]);
    assert_hello(
        LinkType::LINUX_SLL,
        &cat(&[&[0; 14], &[0, 4], &SNAP, &ip]),
        &[],
    );
    assert_hello(LinkType::LINUX_SLL2, &cat(&[&[8, 0], &[0; 18], &ip]), &[]);
    assert_hello(LinkType::NULL, &cat(&[&[2, 0, 0, 0], &ip]), &[]);
}
