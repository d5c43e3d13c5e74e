//! Hostile mixes. Most are scripts: two byte streams, and the segments that show parts of them, in any
//! order; some scripts are played abreast.

use super::frame::{ACK, PSH, Pair, SEGMENT_BYTES, SYN, Side, Tcp};
use super::output::Output;
use super::random::Random;
use super::template::{Template, Turn};
use super::{Amount, Studio};
use std::io;

/// Scripts that are played abreast.
const ABREAST: usize = 16;
/// Data behind the handshake of each reversed connection.
const REVERSED_BYTES: usize = 400_000;

/// A part of a side's bytes, as one segment.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: Side,
    at: u32,
    length: u16,
}

/// One connection: what both sides say, and which segments are seen in which order.
struct Script {
    pair: Pair,
    streams: [Vec<u8>; 2],
    pieces: Vec<Piece>,
    starts: [u32; 2],
}

impl Script {
    fn new(n: u64, random: &mut Random) -> Self {
        let pair = Pair::numbered(n, 8, random.below(64) as u32, 443, false);
        let starts = [random.next() as u32, random.next() as u32];
        Self {
            pair,
            streams: [Vec::new(), Vec::new()],
            pieces: Vec::new(),
            starts,
        }
    }

    /// Says `bytes` in segments of `step` bytes.
    fn say(&mut self, from: Side, bytes: &[u8], step: usize) {
        let stream = &mut self.streams[from as usize];
        let start = stream.len();
        stream.extend_from_slice(bytes);
        for at in (start..stream.len()).step_by(step) {
            let length = step.min(stream.len() - at) as u16;
            self.pieces.push(Piece {
                from,
                at: at as u32,
                length,
            });
        }
    }

    fn say_turns(&mut self, turns: &[Turn], step: usize) {
        for turn in turns {
            self.say(turn.from, &turn.bytes, step);
        }
    }

    fn open(&self, output: &mut Output<'_>, frame: &mut Vec<u8>) -> io::Result<()> {
        let [client, server] = self.starts.map(|start| start.wrapping_sub(1));
        let steps = [
            (Side::Client, SYN, client, 0),
            (Side::Server, SYN | ACK, server, self.starts[0]),
            (Side::Client, ACK, self.starts[0], self.starts[1]),
        ];
        for (from, flags, sequence, acknowledgement) in steps {
            let tcp = Tcp {
                from,
                flags,
                sequence,
                acknowledgement,
                clock: output.clock(),
            };
            self.pair.tcp(frame, tcp, &[]);
            output.frame(frame)?;
        }
        Ok(())
    }

    /// Writes a segment; `false` if there is no such one.
    fn play(
        &self,
        number: usize,
        output: &mut Output<'_>,
        frame: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let Some(piece) = self.pieces.get(number) else {
            return Ok(false);
        };
        let [start, other] =
            [piece.from, piece.from.other()].map(|side| self.starts[side as usize]);
        let tcp = Tcp {
            from: piece.from,
            flags: PSH | ACK,
            sequence: start.wrapping_add(piece.at),
            acknowledgement: other,
            clock: output.clock(),
        };
        let end = piece.at as usize + usize::from(piece.length);
        let payload = self.streams[piece.from as usize].get(piece.at as usize..end);
        self.pair.tcp(frame, tcp, payload.unwrap_or(&[]));
        output.frame(frame)?;
        Ok(true)
    }
}

/// Writes a script, from a template and noise.
type Fill<'a> = dyn FnMut(&mut Script, &Template, &[u8], &mut Random) + 'a;

/// Plays scripts, some abreast, until the capture is long enough.
fn play(studio: &mut Studio<'_, '_>, make: &mut Fill<'_>) -> io::Result<()> {
    let templates: Vec<&Template> = studio
        .templates
        .iter()
        .filter(|template| template.complete)
        .collect();
    let mut frame = Vec::new();
    let mut made = 0;
    while !studio.is_enough(made) {
        let mut scripts = Vec::new();
        while scripts.len() < ABREAST && !studio.is_enough(made) {
            let Some(template) = templates.get(made as usize % templates.len().max(1)) else {
                return Ok(());
            };
            let mut script = Script::new(made, &mut studio.random);
            make(&mut script, template, studio.noise, &mut studio.random);
            script.open(&mut studio.output, &mut frame)?;
            scripts.push(script);
            made += 1;
        }
        let mut number = 0;
        let mut more = true;
        while more {
            more = false;
            for script in &scripts {
                more |= script.play(number, &mut studio.output, &mut frame)?;
            }
            number += 1;
        }
    }
    studio.handshakes = made;
    Ok(())
}

/// Application data records.
fn records(noise: &[u8], total: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(total + 16_406);
    while out.len() < total {
        out.extend_from_slice(&[23, 3, 3, 0x40, 0x11]);
        out.extend_from_slice(noise.get(..16_401).unwrap_or(&[]));
    }
    out
}

pub(super) fn tiny_segments(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    let bytes = match studio.amount {
        Amount::Bytes(bytes) => (bytes / 83) as usize,
        Amount::Connections(count) => count as usize,
    };
    studio.amount = Amount::Connections(1);
    play(studio, &mut |script, template, noise, _| {
        script.say_turns(&template.turns, SEGMENT_BYTES);
        script.say(Side::Server, &records(noise, bytes), 1);
    })
}

pub(super) fn reversed(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    play(studio, &mut |script, template, noise, _| {
        script.say_turns(&template.turns, SEGMENT_BYTES);
        script.say(Side::Server, &records(noise, REVERSED_BYTES), SEGMENT_BYTES);
        script.pieces.reverse();
    })
}

pub(super) fn overlaps(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    play(studio, &mut |script, template, noise, random| {
        let hello = template.turns.first().map_or(&[][..], |turn| &turn.bytes);
        script.say(Side::Client, hello, SEGMENT_BYTES);
        script.say(Side::Client, &records(noise, 200_000), 200);
        script.pieces.clear();
        let length = script.streams[0].len() as u64;
        for _ in 0..2_000 {
            let at = random.between(1, length - 400) as u32;
            let length = random.between(20, 400) as u16;
            script.pieces.push(Piece {
                from: Side::Client,
                at,
                length,
            });
        }
        // What was missing all the time.
        script.pieces.push(Piece {
            from: Side::Client,
            at: 0,
            length: SEGMENT_BYTES as u16,
        });
    })
}

pub(super) fn one_byte_hellos(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    play(studio, &mut |script, template, _, _| {
        script.say_turns(&template.turns, 1)
    })
}

pub(super) fn empty_records(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    play(studio, &mut |script, template, _, random| {
        let kind = [20, 21, 22, 23].map(|kind| [kind, 3, 3, 0, 0]);
        let empty = |kind: [u8; 5]| kind.repeat((64 << 10) / 5);
        match random.below(5) {
            0 => script.say_turns(&template.turns, SEGMENT_BYTES),
            at => script.say(Side::Client, &empty(kind[at as usize - 1]), SEGMENT_BYTES),
        }
        script.say_turns(&template.turns, SEGMENT_BYTES);
        script.say(Side::Server, &empty(kind[3]), SEGMENT_BYTES);
    })
}

pub(super) fn max_extensions(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    play(studio, &mut |script, template, _, random| {
        let message = large_hello(random);
        let mut bytes = Vec::new();
        for part in message.chunks(16_384) {
            bytes.extend_from_slice(&[22, 3, 1]);
            bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        script.say(Side::Client, &bytes, SEGMENT_BYTES);
        let answers = template
            .turns
            .iter()
            .filter(|turn| turn.from == Side::Server);
        answers.for_each(|turn| script.say(turn.from, &turn.bytes, SEGMENT_BYTES));
    })
}

/// A ClientHello whose extension list is as long as can be: all empty, or all lists as long as can be.
fn large_hello(random: &mut Random) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(random.bytes(32));
    body.push(0);
    let suites = random.bytes(2 * 8_000);
    body.extend_from_slice(&(suites.len() as u16).to_be_bytes());
    body.extend_from_slice(&suites);
    body.extend_from_slice(&[1, 0]);
    let mut extensions = Vec::new();
    if random.once_in(2) {
        for kind in 0..16_383_u16 {
            // Below 50 are those whose body can't be empty.
            extensions.extend_from_slice(&(kind + 50).to_be_bytes());
            extensions.extend_from_slice(&[0, 0]);
        }
    } else {
        for (kind, prefix) in [(10_u16, 2), (13, 2), (16, 2), (51, 2)] {
            let list = random.bytes(16_000);
            extensions.extend_from_slice(&kind.to_be_bytes());
            extensions.extend_from_slice(&((list.len() + prefix) as u16).to_be_bytes());
            extensions.extend_from_slice(&(list.len() as u16).to_be_bytes());
            extensions.extend_from_slice(&list);
        }
    }
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    let mut message = vec![1];
    message.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    message.extend_from_slice(&body);
    message
}

pub(super) fn syn_flood(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    let mut frame = Vec::new();
    let mut n = 0;
    while !studio.is_enough(n) {
        let pair = Pair::numbered(n, 1, (n >> 24) as u32, 443, false);
        let sequence = studio.random.next() as u32;
        let tcp = Tcp {
            from: Side::Client,
            flags: SYN,
            sequence,
            acknowledgement: 0,
            clock: 1,
        };
        pair.tcp(&mut frame, tcp, &[]);
        studio.output.frame(&frame)?;
        n += 1;
    }
    Ok(())
}

pub(super) fn half_open(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    let templates = studio.templates;
    let mut hellos = templates.iter().filter(|template| !template.v6).cycle();
    let mut frame = Vec::new();
    let mut n = 0;
    while let Some(template) = hellos.next().filter(|_| !studio.is_enough(n)) {
        let mut script = Script::new(n, &mut studio.random);
        script.pair = Pair::numbered(n, 1, (n >> 24) as u32, 443, false);
        script.say_turns(template.turns.get(..1).unwrap_or(&[]), SEGMENT_BYTES);
        script.open(&mut studio.output, &mut frame)?;
        for number in 0..script.pieces.len() {
            script.play(number, &mut studio.output, &mut frame)?;
        }
        n += 1;
    }
    studio.handshakes = n;
    Ok(())
}

pub(super) fn udp(studio: &mut Studio<'_, '_>) -> io::Result<()> {
    let mut frame = Vec::new();
    let mut n = 0;
    while !studio.is_enough(n) {
        let port = studio.random.between(1_024, 65_536) as u16;
        let pair = Pair::numbered(n / 8, 8, studio.random.below(400) as u32, port, false);
        let length = studio.random.between(20, 1_400) as usize;
        // A first byte below 64 is no QUIC packet.
        let payload = studio.noise.get(..length).unwrap_or(&[]);
        let from = if n % 2 == 0 {
            Side::Client
        } else {
            Side::Server
        };
        pair.udp(&mut frame, from, payload);
        if let Some(first) = frame.get_mut(14 + 20 + 8) {
            *first &= 0x3f;
        }
        studio.output.frame(&frame)?;
        n += 1;
    }
    Ok(())
}
