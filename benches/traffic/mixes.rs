//! The plain mixes: hundreds of flows at a time, each of which writes some packets when its turn comes.

use super::Studio;
use super::conversation::{Conversation, Desk, Plan};
use super::frame::{Pair, SYN, Side, Tcp};
use super::random::Random;
use super::template::Template;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
};

/// Certificates with the same names: a network has some hundred, and a few of them nearly all handshakes.
const CERTIFICATES: u64 = 32;
/// Connections of one client.
const CLIENT_CONNECTIONS: u64 = 8;
const SERVERS: u64 = 400;

/// A flow under way.
enum Flow<'t> {
    Tcp(Box<Conversation<'t>>),
    /// A SYN that nobody answers, and how often it was sent.
    Syn {
        pair: Pair,
        sequence: u32,
        sent: u32,
    },
    /// A question and its answer.
    Dns {
        pair: Pair,
        id: u16,
        answered: bool,
    },
}

/// What a flow does next.
enum Then {
    GoOn,
    Sleep(u64),
    End,
}

/// Clear text has no turns: all of it is data.
static CLEAR: Template = Template {
    turns: Vec::new(),
    v6: false,
    complete: false,
};

pub(super) fn bulk(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    let templates = complete(studio.templates);
    run(studio, 200, 24, &mut |n, random| {
        let data_bytes = random.between(1 << 20, 8 << 20) as usize;
        let plan = Plan {
            data_bytes,
            ..plan()
        };
        tls(n, pick(&templates, random), plan, random)
    })
}

pub(super) fn handshake(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    let templates = complete(studio.templates);
    run(studio, 500, 4, &mut |n, random| {
        let plan = plan();
        tls(n, pick(&templates, random), plan, random)
    })
}

pub(super) fn mixed(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    let whole = complete(studio.templates);
    let all: Vec<&Template> = studio.templates.iter().collect();
    run(studio, 400, 10, &mut |n, random| match random.below(100) {
        0..10 => Flow::Syn {
            pair: pair(n, 443, false, random),
            sequence: random.next() as u32,
            sent: 0,
        },
        10..25 => Flow::Dns {
            pair: pair(n, 53, false, random),
            id: n as u16,
            answered: false,
        },
        25..37 => {
            let plan = Plan {
                data_bytes: random.between(2_000, 60_000) as usize,
                faults: true,
                plain: true,
                ..plan()
            };
            let pair = pair(n, 80, false, random);
            Flow::Tcp(Box::new(Conversation::new(pair, &CLEAR, plan, random)))
        }
        kind => {
            let template = pick(if kind < 42 { &all } else { &whole }, random);
            let hello = template.turns.first().map_or(0, |turn| turn.bytes.len());
            let in_two = hello > 20 && random.once_in(8);
            let plan = Plan {
                data_bytes: random.between(10_000, 200_000) as usize,
                requests: random.between(1, 6) as usize,
                short_records: true,
                faults: true,
                cut: in_two.then(|| random.between(1, hello as u64) as usize),
                ..plan()
            };
            tls(n, template, plan, random)
        }
    })
}

fn plan() -> Plan {
    Plan {
        data_bytes: 0,
        requests: 1,
        short_records: false,
        faults: false,
        plain: false,
        cut: None,
        certificate: 0,
    }
}

/// The number of a server's certificate; low ones come often. A server shows the same one each time.
fn certificate_of(server: u32) -> u32 {
    let mut random = Random::new(u64::from(server));
    let end = random.between(1, CERTIFICATES + 1);
    random.below(end) as u32
}

fn complete(templates: &[Template]) -> Vec<&Template> {
    templates
        .iter()
        .filter(|template| template.complete)
        .collect()
}

/// One of a list that is not empty.
fn pick<'t>(templates: &[&'t Template], random: &mut Random) -> &'t Template {
    let at = random.below(templates.len().max(1) as u64) as usize;
    templates.get(at).copied().unwrap_or(&CLEAR)
}

fn pair(n: u64, port: u16, v6: bool, random: &mut Random) -> Pair {
    let server = random.below(SERVERS) as u32;
    Pair::numbered(n, CLIENT_CONNECTIONS, server, port, v6)
}

fn tls<'t>(n: u64, template: &'t Template, plan: Plan, random: &mut Random) -> Flow<'t> {
    let server = random.below(SERVERS) as u32;
    let pair = Pair::numbered(n, CLIENT_CONNECTIONS, server, 443, template.v6);
    let plan = Plan {
        certificate: certificate_of(server),
        ..plan
    };
    Flow::Tcp(Box::new(Conversation::new(pair, template, plan, random)))
}

/// Keeps `abreast` flows going, each for up to `burst` packets at a time, until the capture is long
/// enough; then lets those that are under way end.
fn run<'t>(
    studio: &mut Studio<'t, '_>,
    abreast: usize,
    burst: u64,
    make: &mut dyn FnMut(u64, &mut Random) -> Flow<'t>,
) -> io::Result<()> {
    let mut made = 0;
    let mut flows: Vec<Flow<'t>> = Vec::with_capacity(abreast);
    let mut asleep = BTreeMap::new();
    let mut wakes = BinaryHeap::new();
    let (mut frame, mut payload) = (Vec::new(), Vec::new());
    let mut hurry = false;
    loop {
        hurry |= studio.is_enough(made);
        while !hurry && flows.len() < abreast {
            let flow = make(made, &mut studio.random);
            studio.handshakes += u64::from(flow.has_hello());
            flows.push(flow);
            made += 1;
            hurry = studio.is_enough(made);
        }
        while let Some(&Reverse((wake_ns, number))) = wakes.peek() {
            if wake_ns > studio.output.now_ns {
                break;
            }
            wakes.pop();
            flows.extend(asleep.remove(&number));
        }
        if flows.is_empty() {
            return Ok(());
        }
        let at = studio.random.below(flows.len() as u64) as usize;
        let packets = studio.random.between(1, burst + 1);
        // Connections counted by number have all their packets; a capture of a length may be cut short.
        let cut_short = hurry && matches!(studio.amount, super::Amount::Bytes(_));
        let mut desk = Desk {
            output: &mut studio.output,
            random: &mut studio.random,
            noise: studio.noise,
            hurry: cut_short,
            frame: core::mem::take(&mut frame),
            payload: core::mem::take(&mut payload),
        };
        let mut then = Then::GoOn;
        for _ in 0..packets {
            if let (Then::GoOn, Some(flow)) = (&then, flows.get_mut(at)) {
                then = flow.next(&mut desk)?;
            }
        }
        (frame, payload) = (desk.frame, desk.payload);
        match then {
            Then::GoOn => {}
            Then::End => drop(flows.swap_remove(at)),
            Then::Sleep(ns) => {
                let number = studio.random.next();
                asleep.insert(number, flows.swap_remove(at));
                wakes.push(Reverse((studio.output.now_ns + ns, number)));
            }
        }
    }
}

impl Flow<'_> {
    fn has_hello(&self) -> bool {
        matches!(self, Self::Tcp(conversation) if !conversation.is_plain())
    }

    fn next(&mut self, desk: &mut Desk<'_, '_>) -> io::Result<Then> {
        match self {
            Self::Tcp(conversation) => {
                let more = conversation.next(desk)?;
                Ok(if more { Then::GoOn } else { Then::End })
            }
            Self::Syn {
                pair,
                sequence,
                sent,
            } => {
                let clock = desk.output.clock();
                let tcp = Tcp {
                    from: Side::Client,
                    flags: SYN,
                    sequence: *sequence,
                    acknowledgement: 0,
                    clock,
                };
                pair.tcp(&mut desk.frame, tcp, &[]);
                desk.output.frame(&desk.frame)?;
                *sent += 1;
                // Sent again after 1, 2 and 4 s.
                let wait_ns = 1_000_000_000 << (*sent - 1);
                Ok(if *sent < 4 {
                    Then::Sleep(wait_ns)
                } else {
                    Then::End
                })
            }
            Self::Dns { pair, id, answered } => {
                let mut message = Vec::with_capacity(64);
                message.extend_from_slice(&id.to_be_bytes());
                message.extend_from_slice(if *answered { &[0x81, 0x80] } else { &[1, 0] });
                message.extend_from_slice(&[0, 1, 0, u8::from(*answered), 0, 0, 0, 0]);
                message.extend_from_slice(b"\x03www\x07contoso\x03com\0\0\x01\0\x01");
                if *answered {
                    message.extend_from_slice(
                        b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\xc6\x33\x64\x19",
                    );
                }
                let side = if *answered {
                    Side::Server
                } else {
                    Side::Client
                };
                pair.udp(&mut desk.frame, side, &message);
                desk.output.frame(&desk.frame)?;
                let done = core::mem::replace(answered, true);
                Ok(if done {
                    Then::End
                } else {
                    Then::Sleep(2_000_000)
                })
            }
        }
    }
}
