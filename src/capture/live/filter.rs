//! What the kernel is to keep: a program of the classic BPF machine (Linux, `filter.h`), which runs for each packet before
//! it costs anything. TCP and UDP over IPv4 and IPv6 behind any number of tags that matters pass, with all fragments of
//! them; tunnels pass where asked for. What has a header that can't be followed here passes, too: the pipe looks further.
//!
//! On loopback each packet is seen twice, as it leaves and as it comes: only the second one passes.

/// One instruction, as the kernel wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip where a condition holds.
    pub jump_true: u8,
    /// Instructions to skip where it does not.
    pub jump_false: u8,
    /// Operand.
    pub k: u32,
}

/// Bytes of a packet that pass: more than any has.
const ALL: u32 = 256 << 10;

mod op {
    pub(super) const LOAD_WORD: u16 = 0x20;
    pub(super) const LOAD_HALF: u16 = 0x28;
    pub(super) const LOAD_BYTE: u16 = 0x30;
    pub(super) const LOAD_BYTE_AT_X: u16 = 0x50;
    pub(super) const SET_X: u16 = 0x01;
    pub(super) const JUMP: u16 = 0x05;
    pub(super) const JUMP_EQUAL: u16 = 0x15;
    pub(super) const RETURN: u16 = 0x06;
}

/// What the kernel knows of a packet beside its bytes, at "negative offsets" (`SKF_AD_OFF`).
mod beside {
    const BASE: u32 = 0_u32.wrapping_sub(0x1000);
    pub(super) const PROTOCOL: u32 = BASE;
    pub(super) const PACKET_TYPE: u32 = BASE + 4;
    pub(super) const HARDWARE: u32 = BASE + 28;
    /// Where the network's header begins (`SKF_NET_OFF`).
    pub(super) const NETWORK: u32 = 0_u32.wrapping_sub(0x0010_0000);
}

const ETHERNET: u32 = 1;
const LOOPBACK: u32 = 772;
/// 802.11, alone and behind two kinds of radio headers.
const WIFI: [u32; 3] = [801, 802, 803];
const OUTGOING: u32 = 4;

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86DD;
const TAGS: [u32; 3] = [0x8100, 0x88A8, 0x9100];
/// MPLS (two), PPPoE, network service header.
const TUNNELS: [u32; 4] = [0x8847, 0x8848, 0x8864, 0x894F];
const TAGS_MAX: u32 = 4;

const TCP: u32 = 6;
const UDP: u32 = 17;
/// IPv6 headers between IPv6 and TCP: hop-by-hop, routing, destination options, authentication.
const BETWEEN: [u32; 4] = [0, 43, 60, 51];
const FRAGMENT: u32 = 44;
/// IP in IP, IPv6 in IP, GRE.
const IP_TUNNELS: [u32; 3] = [4, 41, 47];

/// Where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    Keep,
    Drop,
    Ethernet,
    Other,
    Tag(u32),
    Depth4(u32),
    Depth6(u32),
    Ip4,
    Ip6,
    Protocol,
    Other6,
}

#[derive(Default)]
struct Program {
    steps: Vec<(u16, u32, To, To)>,
    labels: Vec<(To, usize)>,
}

impl Program {
    fn label(&mut self, label: To) {
        self.labels.push((label, self.steps.len()));
    }

    fn load(&mut self, code: u16, k: u32) {
        self.steps.push((code, k, To::Next, To::Next));
    }

    fn if_equal(&mut self, k: u32, then: To) {
        self.steps.push((op::JUMP_EQUAL, k, then, To::Next));
    }

    fn if_any(&mut self, list: &[u32], then: To) {
        for k in list {
            self.if_equal(*k, then);
        }
    }

    fn jump(&mut self, to: To) {
        self.steps.push((op::JUMP, 0, to, To::Next));
    }

    /// Replaces labels by distances. Jumps lead forwards only, and no program of ours is as long as 255 steps.
    fn finish(self) -> Vec<Instruction> {
        let place = |to: To, from: usize| match to {
            To::Next => 0,
            to => {
                let found = self.labels.iter().find(|(label, _)| *label == to);
                found.map_or(0, |(_, at)| at.saturating_sub(from + 1))
            }
        };
        let steps = self.steps.iter().enumerate();
        steps
            .map(|(index, &(code, k, then, or))| {
                let (then, or) = (place(then, index), place(or, index));
                let is_jump = code == op::JUMP;
                Instruction {
                    code,
                    jump_true: if is_jump { 0 } else { then as u8 },
                    jump_false: or as u8,
                    k: if is_jump { then as u32 } else { k },
                }
            })
            .collect()
    }
}

/// The program that keeps what the pipe can use.
pub fn program(tunnels: bool) -> Vec<Instruction> {
    let mut program = Program::default();
    program.load(op::LOAD_WORD, beside::HARDWARE);
    program.if_equal(ETHERNET, To::Ethernet);
    program.if_any(&WIFI, To::Keep);
    program
        .steps
        .push((op::JUMP_EQUAL, LOOPBACK, To::Next, To::Other));
    program.load(op::LOAD_WORD, beside::PACKET_TYPE);
    program.if_equal(OUTGOING, To::Drop);
    program.label(To::Ethernet);
    for depth in 0..=TAGS_MAX {
        program.label(To::Tag(depth));
        program.load(op::LOAD_HALF, 12 + 4 * depth);
        program.if_equal(IPV4, To::Depth4(depth));
        program.if_equal(IPV6, To::Depth6(depth));
        program.if_any(
            &TAGS,
            if depth < TAGS_MAX {
                To::Tag(depth + 1)
            } else {
                To::Keep
            },
        );
        if tunnels {
            program.if_any(&TUNNELS, To::Keep);
        }
        program.jump(To::Drop);
    }
    for depth in 0..=TAGS_MAX {
        program.label(To::Depth4(depth));
        program.load(op::SET_X, 14 + 4 * depth);
        program.jump(To::Ip4);
        program.label(To::Depth6(depth));
        program.load(op::SET_X, 14 + 4 * depth);
        program.jump(To::Ip6);
    }
    program.label(To::Ip4);
    program.load(op::LOAD_BYTE_AT_X, 9);
    program.jump(To::Protocol);
    program.label(To::Ip6);
    program.load(op::LOAD_BYTE_AT_X, 6);
    program
        .steps
        .push((op::JUMP_EQUAL, FRAGMENT, To::Next, To::Protocol));
    program.load(op::LOAD_BYTE_AT_X, 40);
    program.jump(To::Protocol);
    other_devices(&mut program);
    program.label(To::Protocol);
    program.if_any(&[TCP, UDP], To::Keep);
    program.if_any(&BETWEEN, To::Keep);
    if tunnels {
        program.if_any(&IP_TUNNELS, To::Keep);
    }
    program.label(To::Drop);
    program.load(op::RETURN, 0);
    program.label(To::Keep);
    program.load(op::RETURN, ALL);
    program.finish()
}

/// Devices without Ethernet's header: the kernel says which protocol it is, and where its header begins.
fn other_devices(program: &mut Program) {
    program.label(To::Other);
    program.load(op::LOAD_WORD, beside::PROTOCOL);
    program
        .steps
        .push((op::JUMP_EQUAL, IPV6, To::Other6, To::Next));
    program
        .steps
        .push((op::JUMP_EQUAL, IPV4, To::Next, To::Drop));
    program.load(op::LOAD_BYTE, beside::NETWORK + 9);
    program.jump(To::Protocol);
    program.label(To::Other6);
    program.load(op::LOAD_BYTE, beside::NETWORK + 6);
    program
        .steps
        .push((op::JUMP_EQUAL, FRAGMENT, To::Next, To::Protocol));
    program.load(op::LOAD_BYTE, beside::NETWORK + 40);
}

/// The program that keeps nothing: the watching is over.
pub fn nothing() -> Vec<Instruction> {
    vec![Instruction {
        code: op::RETURN,
        jump_true: 0,
        jump_false: 0,
        k: 0,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{LinkType, block::Block, open};
    use crate::limits::Limits;
    use crate::packet::{self, Encapsulation};

    /// A packet as the kernel's machine sees it.
    struct Seen<'a> {
        bytes: &'a [u8],
        hardware: u32,
        outgoing: bool,
        protocol: u32,
        network: usize,
    }

    impl Seen<'_> {
        fn load(&self, k: u32, size: usize) -> Option<u32> {
            match k {
                beside::HARDWARE => return Some(self.hardware),
                beside::PACKET_TYPE => return Some(if self.outgoing { OUTGOING } else { 0 }),
                beside::PROTOCOL => return Some(self.protocol),
                _ => {}
            }
            let at = if k >= beside::NETWORK {
                self.network + (k - beside::NETWORK) as usize
            } else {
                k as usize
            };
            let bytes = self.bytes.get(at..at + size)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |all, byte| all << 8 | u32::from(*byte)),
            )
        }
    }

    /// The kernel's machine, as far as our programs use it.
    fn passes(program: &[Instruction], seen: &Seen<'_>) -> bool {
        let (mut a, mut x, mut at) = (0, 0, 0);
        for _ in 0..program.len() {
            let Instruction {
                code,
                jump_true,
                jump_false,
                k,
            } = program[at];
            at += 1;
            let loaded = match code {
                op::LOAD_WORD => seen.load(k, 4),
                op::LOAD_HALF => seen.load(k, 2),
                op::LOAD_BYTE => seen.load(k, 1),
                op::LOAD_BYTE_AT_X => seen.load(x + k, 1),
                op::SET_X => {
                    x = k;
                    continue;
                }
                op::JUMP => {
                    at += k as usize;
                    continue;
                }
                op::JUMP_EQUAL => {
                    at += usize::from(if a == k { jump_true } else { jump_false });
                    continue;
                }
                op::RETURN => return k > 0,
                _ => panic!("no such operation"),
            };
            match loaded {
                Some(value) => a = value,
                None => return false,
            }
        }
        panic!("a program that does not end");
    }

    fn ethernet<'a>(bytes: &'a [u8]) -> Seen<'a> {
        Seen {
            bytes,
            hardware: ETHERNET,
            outgoing: false,
            protocol: 0,
            network: 14,
        }
    }

    /// Ethernet, tags, IPv4 with this protocol.
    fn frame(tags: &[u16], ethertype: u16, protocol_at: usize, protocol: u8) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for tag in tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 7]);
        }
        frame.extend(ethertype.to_be_bytes());
        let start = frame.len();
        frame.resize(start + 60, 0);
        frame[start + protocol_at] = protocol;
        frame
    }

    #[test]
    fn tcp_and_udp_pass_behind_tags_and_other_protocols_do_not() {
        let program = program(false);
        let tags: [&[u16]; 4] = [&[], &[0x8100], &[0x88A8, 0x8100], &[0x9100; 4]];
        for tags in tags {
            for (protocol, keeps) in [(6, true), (17, true), (1, false), (47, false), (89, false)] {
                let four = frame(tags, 0x0800, 9, protocol);
                assert_eq!(
                    passes(&program, &ethernet(&four)),
                    keeps,
                    "{tags:?} {protocol}"
                );
                let six = frame(tags, 0x86DD, 6, protocol);
                assert_eq!(
                    passes(&program, &ethernet(&six)),
                    keeps,
                    "{tags:?} {protocol}"
                );
            }
        }
        assert!(!passes(&program, &ethernet(&frame(&[], 0x0806, 0, 0))));
        assert!(!passes(&program, &ethernet(&[0; 13])));
        let mut fragment = frame(&[], 0x86DD, 6, 44);
        assert!(passes(&program, &ethernet(&fragment)), "hop by hop inside");
        fragment[14 + 40] = 58;
        assert!(!passes(&program, &ethernet(&fragment)));
        fragment[14 + 40] = 6;
        assert!(passes(&program, &ethernet(&fragment)));
    }

    #[test]
    fn tunnels_pass_where_asked_for() {
        for tunnels in [false, true] {
            let program = program(tunnels);
            for (ethertype, at, protocol) in [
                (0x0800, 9, 47),
                (0x0800, 9, 4),
                (0x86DD, 6, 41),
                (0x8847, 0, 0),
                (0x8864, 0, 0),
            ] {
                let made = frame(&[0x8100], ethertype, at, protocol);
                assert_eq!(passes(&program, &ethernet(&made)), tunnels, "{ethertype:x}");
            }
        }
    }

    #[test]
    fn loopback_is_counted_once() {
        let bytes = frame(&[], 0x0800, 9, 6);
        let program = program(false);
        for (hardware, outgoing, keeps) in [
            (LOOPBACK, false, true),
            (LOOPBACK, true, false),
            (ETHERNET, true, true),
        ] {
            let seen = Seen {
                hardware,
                outgoing,
                ..ethernet(&bytes)
            };
            assert_eq!(passes(&program, &seen), keeps);
        }
    }

    #[test]
    fn devices_without_ethernet_are_asked_for_their_protocol() {
        let program = program(false);
        let mut bytes = [0; 60];
        bytes[9] = 6;
        bytes[13] = 1;
        let seen = |protocol, network| Seen {
            bytes: &bytes,
            hardware: 65534,
            outgoing: true,
            protocol,
            network,
        };
        assert!(passes(&program, &seen(IPV4, 0)));
        assert!(!passes(&program, &seen(IPV4, 4)));
        assert!(passes(&program, &seen(IPV6, 3)));
        assert!(!passes(&program, &seen(0x0806, 0)));
    }

    /// What the pipe can use passes, and what passes is little else: held against the pipe's own decoder.
    #[test]
    fn nothing_is_lost_that_the_pipe_would_use() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");
        let (programs, limits) = ([program(false), program(true)], Limits::default());
        let mut looked_at = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let Ok((mut source, _)) = open::open_alone(&path, &limits) else {
                continue;
            };
            let mut block = Block::default();
            loop {
                let more = source.fill(&mut block).unwrap();
                for packet in block
                    .packets
                    .iter()
                    .filter(|p| p.link == LinkType::ETHERNET)
                {
                    let bytes = block.data(packet);
                    let mut around = Encapsulation::default();
                    let used = packet::decode(packet.link, bytes, &mut around, &limits).is_ok();
                    let passed = programs
                        .each_ref()
                        .map(|program| passes(program, &ethernet(bytes)));
                    assert!(passed[1] || !used, "{bytes:?}");
                    assert!(passed[0] || !used || !around.is_tags_only(), "{bytes:?}");
                    looked_at += 1;
                }
                if more == crate::capture::feed::Fill::End {
                    break;
                }
            }
        }
        assert!(looked_at > 100);
    }
}
