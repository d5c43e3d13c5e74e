//! The handshakes of the bundled captures, as turns: who said what, in which order.

use super::frame::Side;
use std::{collections::BTreeMap, fs, io, path::Path};
use tlscope::{
    capture::{Format, Stepper},
    flow::{Direction, FlowKey},
    limits::Limits,
    packet::{self, Addresses, Decoded, Segment},
};

/// What makes one connection's bytes differ from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    /// The 32 random bytes of a hello.
    Random,
    /// The last bytes of a certificate, which are its signature's.
    Certificate,
}

/// Bytes that one side sends before it waits for the other.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) from: Side,
    pub(crate) bytes: Vec<u8>,
    /// Where bytes differ from connection to connection.
    pub(crate) patches: Vec<(usize, Patch)>,
}

/// A conversation up to the end of its handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template {
    pub(crate) turns: Vec<Turn>,
    pub(crate) v6: bool,
    /// Both sides came to the encrypted part.
    pub(crate) complete: bool,
}

/// The templates of all captures of a folder, in an order that depends on their names only.
pub(crate) fn load(folder: &Path) -> io::Result<Vec<Template>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|kind| kind == "pcap" || kind == "pcapng")
    });
    paths.sort();
    let mut templates = Vec::new();
    for path in paths {
        conversations(&fs::read(path)?, &mut templates);
    }
    if templates.iter().any(|template| template.complete) {
        Ok(templates)
    } else {
        Err(io::Error::other(format!(
            "{}: no handshakes in it",
            folder.display()
        )))
    }
}

/// One conversation of a capture while it is read.
#[derive(Default)]
struct Open {
    client: Option<Direction>,
    next: [Option<u32>; 2],
    turns: Vec<Turn>,
    v6: bool,
    /// Segments came in another order: not a template.
    scrambled: bool,
}

fn conversations(bytes: &[u8], templates: &mut Vec<Template>) {
    let limits = Limits::default();
    let Some((_, mut format)) = Format::detect(bytes, limits.packet_bytes_max) else {
        return;
    };
    let mut packets = Vec::new();
    format.step(bytes, &mut packets);
    let mut number = 0_usize;
    let mut names = BTreeMap::new();
    let mut open: Vec<Open> = Vec::new();
    for packet in packets {
        let start = packet.offset as usize;
        let frame = bytes
            .get(start..start + packet.captured_len as usize)
            .unwrap_or(&[]);
        let mut around = packet::Encapsulation::default();
        let decoded = packet::decode(packet.link, frame, &mut around, &limits);
        let Ok(Decoded::Tcp(segment)) = decoded else {
            continue;
        };
        let (key, direction) = FlowKey::new(
            segment.addresses,
            segment.source_port,
            segment.destination_port,
        );
        let at = *names.entry(format!("{key:?}")).or_insert_with(|| {
            number += 1;
            number - 1
        });
        open.resize_with(number, Open::default);
        if let Some(open) = open.get_mut(at) {
            open.take(direction, &segment);
        }
    }
    templates.extend(open.into_iter().filter_map(Open::finish));
}

impl Open {
    fn take(&mut self, direction: Direction, segment: &Segment<'_>) {
        self.v6 = matches!(segment.addresses, Addresses::V6 { .. });
        let next = &mut self.next[direction as usize];
        if segment.flags.syn() {
            *next = Some(segment.sequence.wrapping_add(1));
            if !segment.flags.ack() {
                self.client.get_or_insert(direction);
            }
        }
        if segment.payload.is_empty() {
            return;
        }
        let expected = *next.get_or_insert(segment.sequence);
        if segment.sequence != expected {
            // Keep-alives and repetitions lie before what is expected.
            self.scrambled |= segment.sequence.wrapping_sub(expected) < 1 << 31;
            return;
        }
        *next = Some(expected.wrapping_add(segment.payload.len() as u32));
        let client = *self.client.get_or_insert(direction);
        let from = if client == direction {
            Side::Client
        } else {
            Side::Server
        };
        match self.turns.last_mut().filter(|turn| turn.from == from) {
            Some(turn) => turn.bytes.extend_from_slice(segment.payload),
            None => self.turns.push(Turn {
                from,
                bytes: segment.payload.to_vec(),
                patches: Vec::new(),
            }),
        }
    }

    /// Cuts the conversation behind its handshake; `None` if it does not begin with a ClientHello.
    fn finish(self) -> Option<Template> {
        let hello = self.turns.first()?;
        let is_hello =
            matches!(*hello.bytes, [22, 3, _, _, _, 1, ..]) && hello.from == Side::Client;
        if self.scrambled || !is_hello {
            return None;
        }
        let mut template = Template {
            v6: self.v6,
            ..Template::default()
        };
        let mut changed = [false; 2];
        let mut encrypted = [false; 2];
        for mut turn in self.turns {
            let mut at = 0;
            while let Some(record) = record(&turn.bytes, at) {
                let side = turn.from as usize;
                let length = record.body.len();
                match record.kind {
                    20 => changed[side] = true,
                    22 if !changed[side] || is_clear_hello(record.body) => {
                        note(&mut turn.patches, record.body, at + 5);
                    }
                    22 | 23 => encrypted[side] = true,
                    _ => {}
                }
                at += 5 + length;
                if encrypted == [true; 2] {
                    turn.bytes.truncate(at);
                    template.turns.push(turn);
                    template.complete = true;
                    return Some(template);
                }
            }
            template.turns.push(turn);
        }
        Some(template)
    }
}

struct Record<'a> {
    kind: u8,
    body: &'a [u8],
}

fn record(bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let (header, rest) = bytes.get(at..)?.split_first_chunk::<5>()?;
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    Some(Record {
        kind: header[0],
        body: rest.get(..length)?,
    })
}

/// A hello behind a ChangeCipherSpec: the second one after a HelloRetryRequest.
fn is_clear_hello(body: &[u8]) -> bool {
    matches!(*body, [1 | 2, 0, high, low, ..] if body.len() == 4 + usize::from(u16::from_be_bytes([high, low])))
}

/// Notes where the messages of a record have bytes that differ from connection to connection.
fn note(patches: &mut Vec<(usize, Patch)>, body: &[u8], start: usize) {
    let mut at = 0;
    while let Some(&[kind, high, middle, low]) = body.get(at..).and_then(<[u8]>::first_chunk) {
        let length = usize::from(high) << 16 | usize::from(u16::from_be_bytes([middle, low]));
        let Some(message) = body.get(at + 4..at + 4 + length) else {
            return;
        };
        // A HelloRetryRequest is known by its random.
        let retry = kind == 2 && message.get(2..6) == Some(&[0xcf, 0x21, 0xad, 0x74]);
        if matches!(kind, 1 | 2) && length >= 34 && !retry {
            patches.push((start + at + 6, Patch::Random));
        } else if kind == 11
            && let Some(&[high, middle, low]) = message.get(3..).and_then(<[u8]>::first_chunk)
        {
            let first = usize::from(high) << 16 | usize::from(u16::from_be_bytes([middle, low]));
            if first >= 16 && first + 6 <= length {
                patches.push((start + at + 4 + 6 + first - 4, Patch::Certificate));
            }
        }
        at += 4 + length;
    }
}
