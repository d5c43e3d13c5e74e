use super::super::testing::*;
use super::*;
use crate::capture::LinkType;

#[track_caller]
fn over_ip(protocol: u8, payload: &[u8], layers: &[&str]) {
    assert_hello(LinkType::RAW, &v4(protocol, payload), layers);
    // The words for IP in IP tell the outer version.
    if !matches!(protocol, 4 | 41) {
        assert_hello(LinkType::RAW, &v6(protocol, payload), layers);
    }
}

#[track_caller]
fn over_udp(port: u16, payload: &[u8], layers: &[&str]) {
    over_ip(17, &udp(50_000, port, payload), layers);
}

#[test]
fn ip_in_ip() {
    let v6_hello = v6(6, &tcp(b"hello"));
    over_ip(4, &hello(), &["ip-in-ip"]);
    over_ip(41, &v6_hello, &["6in4"]);
    assert_hello(LinkType::RAW, &v6(4, &hello()), &["4in6"]);
    assert_hello(LinkType::RAW, &v6(41, &v6_hello), &["6in6"]);
    over_ip(51, &cat(&[&[6, 1], &[0; 10], &tcp(b"hello")]), &[]);
    over_ip(
        97,
        &cat(&[&[0x30, 0], &ethernet(0x0800, &hello())]),
        &["etherip"],
    );
    over_ip(137, &cat(&[&[0, 1, 1, 64], &hello()]), &["mpls:16"]);
}

#[test]
fn gre_with_all_its_fields() {
    let ip = hello();
    over_ip(47, &cat(&[&[0, 0, 8, 0], &ip]), &["gre"]);
    over_ip(47, &cat(&[&[0x80, 0, 8, 0, 0, 0, 0, 0], &ip]), &["gre"]);
    over_ip(47, &cat(&[&[0x10, 0, 8, 0, 0, 0, 0, 1], &ip]), &["gre"]);
    let all = [0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1];
    over_ip(47, &cat(&[&all, &ip]), &["gre:7"]);
    over_ip(
        47,
        &cat(&[&[0, 0, 0x65, 0x58], &ethernet(0x0800, &ip)]),
        &["gre"],
    );
    over_ip(
        47,
        &cat(&[&[0, 0, 0x88, 0x47, 0, 1, 1, 64], &ip]),
        &["gre", "mpls:16"],
    );
    over_ip(47, &cat(&[&[0, 0, 0x88, 0x3e, 0, 0, 0, 0], &ip]), &["gre"]);
    let pptp = [
        0x30, 0x81, 0x88, 0x0b, 0, 49, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21,
    ];
    over_ip(47, &cat(&[&pptp, &ip]), &["pptp:5"]);
    // Routing, an unknown version, a length in the place of the type.
    for header in [[0x40, 0, 8, 0], [0, 2, 8, 0], [0, 0, 0, 40]] {
        let packet = v4(47, &cat(&[&header, &ip]));
        assert_eq!(decode(LinkType::RAW, &packet).0, Err(Skip::NotTcpUdp));
    }
}

#[test]
fn erspan_of_three_types() {
    let frame = ethernet(0x0800, &hello());
    over_ip(
        47,
        &cat(&[&[0, 0, 0x88, 0xbe], &frame]),
        &["gre", "erspan:0"],
    );
    let sequence = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1];
    let second = [0x10, 1, 0, 100, 0, 0, 0, 0];
    over_ip(
        47,
        &cat(&[&sequence, &second, &frame]),
        &["gre", "erspan:100"],
    );
    let sequence = [0x10, 0, 0x22, 0xeb, 0, 0, 0, 1];
    let third = [0x20, 1, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0];
    over_ip(
        47,
        &cat(&[&sequence, &third, &frame]),
        &["gre", "erspan:100"],
    );
    let third = [
        0x20, 1, 0, 100, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9,
    ];
    over_ip(
        47,
        &cat(&[&sequence, &third, &frame]),
        &["gre", "erspan:100"],
    );
}

#[test]
fn capwap_with_both_kinds_of_frames() {
    let ip = hello();
    let frame = ethernet(0x0800, &ip);
    // Two words of header; 802.3, then 802.11 as it is and with both controls exchanged.
    over_udp(
        5247,
        &cat(&[&[0, 0x10, 2, 0, 0, 0, 0, 0], &frame]),
        &["capwap"],
    );
    let native = [0, 0x10, 3, 0, 0, 0, 0, 0];
    let body = cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &ip]);
    let addresses = [7; 18];
    let plain = cat(&[&[0x08, 1, 0, 0], &addresses, &[0x50, 0x76], &body]);
    over_udp(5247, &cat(&[&native, &plain]), &["capwap"]);
    let exchanged = cat(&[&[1, 0x08, 0, 0], &addresses, &[0x76, 0x50], &body]);
    over_udp(5247, &cat(&[&native, &exchanged]), &["capwap"]);
}

#[test]
fn tunnels_over_udp() {
    let (ip, v6_hello) = (hello(), v6(6, &tcp(b"hello")));
    let frame = ethernet(0x0800, &ip);
    let tagged = ethernet(0x8100, &cat(&[&[0, 9, 8, 0], &ip]));
    let vxlan = [8, 0, 0, 0, 0, 0, 7, 0];
    over_udp(4789, &cat(&[&vxlan, &frame]), &["vxlan:7"]);
    over_udp(8472, &cat(&[&vxlan, &tagged]), &["vxlan:7", "vlan:9"]);
    over_udp(
        4790,
        &cat(&[&[0x0c, 0, 0, 1, 0, 0, 7, 0], &ip]),
        &["vxlan:7"],
    );
    over_udp(
        6081,
        &cat(&[&[0, 0, 0x65, 0x58, 0, 0, 7, 0], &frame]),
        &["geneve:7"],
    );
    let options = [1, 0, 8, 0, 0, 0, 7, 0, 1, 2, 3, 4];
    over_udp(6081, &cat(&[&options, &ip]), &["geneve:7"]);
    over_udp(6635, &cat(&[&[0, 1, 1, 64], &ip]), &["mpls:16"]);
    over_udp(
        2152,
        &cat(&[&[0x30, 0xff, 0, 45, 0, 0, 0, 9], &ip]),
        &["gtp:9"],
    );
    let extended = [0x34, 0xff, 0, 53, 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0, 9, 0];
    over_udp(2152, &cat(&[&extended, &v6_hello]), &["gtp:9"]);
    over_udp(3544, &v6_hello, &["teredo"]);
    let authentication = [0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    let origin = [0, 0, 1, 2, 3, 4, 5, 6];
    over_udp(
        3544,
        &cat(&[&authentication, &origin, &v6_hello]),
        &["teredo"],
    );
    over_udp(
        1701,
        &cat(&[&[0, 2, 0, 1, 0, 5, 0xff, 3, 0, 0x21], &ip]),
        &["l2tp:5"],
    );
    let all = [0x4a, 2, 0, 99, 0, 1, 0, 5, 0, 0, 0, 0, 0, 2, 9, 9, 0x21];
    over_udp(1701, &cat(&[&all, &ip]), &["l2tp:5"]);
    over_udp(
        37008,
        &cat(&[&[1, 0, 0, 1, 0, 0x0a, 1, 9, 1], &frame]),
        &["tzsp"],
    );
}

#[test]
fn a_tunnel_port_alone_makes_no_tunnel() {
    let ip = hello();
    let mut cut_short = ip.clone();
    cut_short.truncate(42);
    let quic = cat(&[&[0xc3, 0, 0, 0, 1, 8], &[0x5a; 60]]);
    let short_quic = cat(&[&[0x60], &[0x5a; 60]]);
    let dns = cat(&[
        &[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        b"\x07example\0\0\x01\0\x01",
    ]);
    let dtls = cat(&[&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30], &[1; 30]]);
    let endless = [0x34, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x85, 0, 0, 0, 0];
    let lie = cat(&[&[8, 0, 0, 0, 0, 0, 7, 0], &ethernet(0x0800, &cut_short)]);
    for payload in [quic, short_quic, dns, dtls, endless.to_vec(), lie, vec![]] {
        for port in [4789, 8472, 4790, 6081, 6635, 37008, 2152, 3544, 1701] {
            for packet in [
                v4(17, &udp(50_000, port, &payload)),
                v4(17, &udp(port, 50_000, &payload)),
            ] {
                match decode(LinkType::RAW, &packet) {
                    (Ok(Decoded::Udp(datagram)), layers) => {
                        assert_eq!(datagram.payload, payload);
                        assert!(layers.is_empty());
                    }
                    other => panic!("port {port}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn tunnels_in_tunnels_end_at_the_cap() {
    let depth = Limits::default().encapsulation_depth_max;
    type Around = fn(&[u8]) -> Vec<u8>;
    let nested = |times: usize, around: Around| (0..times).fold(hello(), |inner, _| around(&inner));
    let gre = |inner: &[u8]| v4(47, &cat(&[&[0, 0, 8, 0], inner]));
    let vxlan = |inner: &[u8]| {
        let frame = ethernet(0x0800, inner);
        v4(
            17,
            &udp(1, 4789, &cat(&[&[8, 0, 0, 0, 0, 0, 7, 0], &frame])),
        )
    };
    let ip = |inner: &[u8]| v4(4, inner);
    let all: [Around; 3] = [gre, vxlan, ip];
    for around in all {
        assert!(matches!(
            decode(LinkType::RAW, &nested(depth, around)).0,
            Ok(Decoded::Tcp(_))
        ));
        assert_eq!(
            decode(LinkType::RAW, &nested(depth + 1, around)).0,
            Err(Skip::TooDeep)
        );
    }
}

#[test]
fn flipped_bytes_give_an_answer() {
    let frame = ethernet(0x0800, &hello());
    let inner = v4(
        17,
        &udp(1, 4789, &cat(&[&[8, 0, 0, 0, 0, 0, 7, 0], &frame])),
    );
    let gtp = v4(
        17,
        &udp(
            1,
            2152,
            &cat(&[
                &[0x34, 0xff, 0, 45, 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0, 9, 0],
                &hello(),
            ]),
        ),
    );
    let erspan = v4(
        47,
        &cat(&[
            &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 9, 0, 0, 0, 0],
            &frame,
        ]),
    );
    for packet in [inner, gtp, erspan] {
        for at in 0..packet.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut packet = packet.clone();
                packet[at] ^= value;
                for link in [0, 1, 9, 51, 101, 105, 107, 119, 127, 192, 219, 239, 258] {
                    let _ = decode(LinkType(link), &packet);
                }
            }
        }
    }
}
