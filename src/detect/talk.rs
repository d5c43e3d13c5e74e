//! One conversation's talk in front of TLS: finds out which dialogue it is, feeds it with the bytes of
//! both sides, and tells where in them TLS begins.
//!
//! Bounded: at most [`OPENING_BYTES_MAX`] wait for the dialogue to be known, at most [`HELD_BYTES_MAX`]
//! of each side wait for the end of a message, at most [`LOOKED_BYTES_MAX`] are looked at.

use super::{
    DIALOGUES, Dialogue, Entry, Facts, Guess, Opening, Speaker, Step, Unframer, Verdict, detect,
};
use crate::flow::Direction;
use std::borrow::Cow;

/// Bytes that wait until the dialogue is known.
const OPENING_BYTES_MAX: usize = 2048;
/// Turns that wait until the dialogue is known.
const OPENING_TURNS_MAX: usize = 8;
/// Bytes of a message whose end is missing.
const HELD_BYTES_MAX: usize = 8192;
/// Bytes of a dialogue that are looked at.
const LOOKED_BYTES_MAX: usize = 16 << 10;

/// What the bytes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More talk, or nothing of interest.
    More,
    /// TLS begins behind so many of the bytes, or the packets that it stands in.
    Tls(usize),
    /// TLS seems to begin behind `used` bytes; `more` of it are needed to tell.
    Hold {
        /// Bytes of talk.
        used: usize,
        /// Bytes needed behind them.
        more: usize,
    },
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug)]
pub struct Parties {
    /// The client's direction.
    pub client: Direction,
    /// The handshake of TCP showed it.
    pub certain: bool,
    /// Ports of the senders of both directions.
    pub ports: [u16; 2],
}

/// The talk in front of TLS.
#[derive(Debug)]
pub struct Talk {
    parties: Parties,
    entry: Option<&'static Entry>,
    dialogue: Option<Box<dyn Dialogue>>,
    opening: Vec<(Direction, Vec<u8>)>,
    held: [Vec<u8>; 2],
    looked: usize,
    over: bool,
    /// What was read of the packet in which TLS was found.
    front: Option<(Direction, Vec<u8>)>,
    /// What takes TLS out of the packets around it.
    pub unframer: Option<Box<Unframer>>,
    facts: Facts,
}

/// The first dialogue that these bytes begin; `Maybe` where more are needed.
fn recognise(opening: &Opening<'_>) -> (Guess, Option<&'static Entry>) {
    let mut best = (Guess::No, None);
    for &entry in DIALOGUES {
        let guess = (entry.recognise)(opening);
        let favoured = best.0 == Guess::Maybe && entry.ports.contains(&opening.port);
        if guess > best.0 || (guess == Guess::Maybe && favoured) {
            best = (guess, Some(entry));
        }
        if guess == Guess::Yes {
            break;
        }
    }
    best
}

impl Parties {
    fn swapped(self) -> Self {
        Self {
            client: self.client.reverse(),
            ..self
        }
    }

    fn speaker(&self, direction: Direction) -> Speaker {
        if direction == self.client {
            Speaker::Client
        } else {
            Speaker::Server
        }
    }

    fn recognise(&self, up: &[u8], down: &[u8]) -> (Guess, Option<&'static Entry>) {
        let (client, server, port) = match self.client {
            Direction::Up => (up, down, self.ports[1]),
            Direction::Down => (down, up, self.ports[0]),
        };
        recognise(&Opening {
            client,
            server,
            port,
        })
    }

    /// As [`Self::recognise`]; where the roles were guessed, they may be the other way round.
    fn settle(self, up: &[u8], down: &[u8]) -> (Guess, Option<&'static Entry>, Self) {
        let (guess, entry) = self.recognise(up, down);
        if guess == Guess::No && !self.certain {
            let swapped = self.swapped();
            let (guess, entry) = swapped.recognise(up, down);
            return (guess, entry, swapped);
        }
        (guess, entry, self)
    }
}

impl Talk {
    /// A talk that begins with these bytes; `None` where no dialogue begins like this.
    pub fn begin(parties: Parties, direction: Direction, bytes: &[u8]) -> Option<Box<Self>> {
        let (up, down): (&[u8], &[u8]) = match direction {
            Direction::Up => (bytes, &[]),
            Direction::Down => (&[], bytes),
        };
        let (guess, _, _) = parties.settle(up, down);
        (guess != Guess::No).then(|| {
            Box::new(Self {
                parties,
                entry: None,
                dialogue: None,
                opening: Vec::new(),
                held: [Vec::new(), Vec::new()],
                looked: 0,
                over: false,
                front: None,
                unframer: None,
                facts: Facts::default(),
            })
        })
    }

    /// What it showed.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The messages of DNS that were read since the last time.
    pub fn take_dns(&mut self) -> Vec<(Speaker, Box<[u8]>)> {
        core::mem::take(&mut self.facts.dns)
    }

    /// Who is the client, where the words of a dialogue told it.
    pub fn client(&self) -> Option<Direction> {
        self.entry.map(|_| self.parties.client)
    }

    /// TLS begins: whoever spoke of it got it.
    pub fn tls_begins(&mut self) {
        if self.entry.is_none() && !self.opening.is_empty() {
            // Words that may belong to several are believed at the right port only.
            let (up, down) = self.both();
            let (_, entry, parties) = self.parties.settle(&up, &down);
            let port = parties.ports[parties.client.reverse() as usize];
            self.entry = entry.filter(|entry| entry.ports.contains(&port));
            self.facts.protocol = self.entry.map(|entry| entry.name);
        }
        if self.facts.awaits_answer() {
            self.facts.accepted = Some(true);
        }
        if let Some(framing) = self.entry.and_then(|entry| entry.frames_tls) {
            let unframer = self
                .unframer
                .get_or_insert_with(|| Box::new(Unframer::new(framing)));
            if let Some((direction, front)) = self.front.take() {
                unframer.begin_with(direction, front);
            }
        }
        self.close();
    }

    /// Nothing more is looked at.
    fn close(&mut self) {
        self.over = true;
        self.dialogue = None;
        self.opening = Vec::new();
        self.held = [Vec::new(), Vec::new()];
    }

    /// Bytes on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        let opening: usize = self.opening.iter().map(|(_, bytes)| bytes.len()).sum();
        let held: usize = self.held.iter().map(Vec::capacity).sum();
        let framed = self
            .unframer
            .as_ref()
            .map_or(0, |unframer| unframer.heap_bytes());
        size_of::<Self>() + opening + held + framed + self.facts.heap_bytes()
    }

    /// Takes the next bytes of a direction; `stamp` names their packet.
    pub fn read(&mut self, direction: Direction, bytes: &[u8], stamp: u64) -> Next {
        self.facts.stamp = stamp;
        if self.over {
            return Next::More;
        }
        if self.dialogue.is_some() {
            self.feed(direction, bytes)
        } else {
            self.open(direction, bytes)
        }
    }

    fn both(&self) -> (Vec<u8>, Vec<u8>) {
        let of = |wanted: Direction| {
            let turns = self.opening.iter().filter(|(from, _)| *from == wanted);
            turns
                .flat_map(|(_, bytes)| bytes.iter().copied())
                .collect::<Vec<u8>>()
        };
        (of(Direction::Up), of(Direction::Down))
    }

    /// Which dialogue is it? What was said so far is then read by it.
    fn open(&mut self, direction: Direction, bytes: &[u8]) -> Next {
        match self.opening.last_mut() {
            Some((from, turn)) if *from == direction => turn.extend_from_slice(bytes),
            _ => self.opening.push((direction, bytes.to_vec())),
        }
        let (up, down) = self.both();
        let (guess, entry, parties) = self.parties.settle(&up, &down);
        match (guess, entry) {
            (Guess::Yes, Some(entry)) => {
                self.parties = parties;
                self.entry = Some(entry);
                self.dialogue = Some((entry.start)());
                self.facts.protocol = Some(entry.name);
                self.replay(bytes.len())
            }
            (Guess::Maybe, _)
                if up.len() + down.len() <= OPENING_BYTES_MAX
                    && self.opening.len() <= OPENING_TURNS_MAX =>
            {
                Next::More
            }
            _ => {
                self.close();
                Next::More
            }
        }
    }

    /// Reads what waited; only the last `fresh` bytes of it are before the caller.
    fn replay(&mut self, fresh: usize) -> Next {
        let mut next = Next::More;
        for (direction, turn) in core::mem::take(&mut self.opening) {
            let old = turn.len().saturating_sub(fresh);
            next = match self.feed(direction, &turn) {
                Next::More => Next::More,
                Next::Tls(at) => Next::Tls(at.saturating_sub(old)),
                Next::Hold { used, more } => Next::Hold {
                    used: used.saturating_sub(old),
                    more,
                },
            };
        }
        next
    }

    fn feed(&mut self, direction: Direction, fresh: &[u8]) -> Next {
        let mut held = core::mem::take(&mut self.held[direction as usize]);
        let old = held.len();
        let bytes = if old > 0 {
            held.extend_from_slice(fresh);
            Cow::Owned(held)
        } else {
            Cow::Borrowed(fresh)
        };
        let speaker = self.parties.speaker(direction);
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or(&[]);
            let at = used.saturating_sub(old);
            if rest.is_empty() {
                return Next::More;
            }
            match detect(rest, true) {
                Verdict::Tls if used > 0 => return Next::Tls(at),
                Verdict::NeedMore(more) if used > 0 && rest.first() == Some(&0x16) => {
                    return Next::Hold { used: at, more };
                }
                _ => {}
            }
            let Some(dialogue) = self.dialogue.as_mut() else {
                return Next::More;
            };
            match dialogue.read(speaker, rest, &mut self.facts) {
                Step::Need if rest.len() <= HELD_BYTES_MAX => {
                    self.held[direction as usize] = rest.to_vec();
                    return Next::More;
                }
                Step::Used(0) | Step::Skip(0) | Step::Need | Step::Done => {
                    self.close();
                    return Next::More;
                }
                Step::Used(length) => {
                    used += length;
                    self.looked += length;
                    if self.looked > LOOKED_BYTES_MAX {
                        self.close();
                    }
                }
                Step::Skip(length) => used += length,
                Step::Proxied(length) => return self.within(direction, &bytes, used + length, old),
                Step::Framed => {
                    let front = bytes.get(used..old).filter(|front| !front.is_empty());
                    self.front = front.map(|front| (direction, front.to_vec()));
                    return Next::Tls(at);
                }
            }
        }
    }

    /// The proxy is through: what follows is another conversation.
    fn within(&mut self, direction: Direction, bytes: &[u8], used: usize, old: usize) -> Next {
        self.dialogue = None;
        self.entry = None;
        self.facts.protocol = None;
        self.held = [Vec::new(), Vec::new()];
        let rest = bytes.get(used..).unwrap_or(&[]);
        let at = used.saturating_sub(old);
        if rest.is_empty() {
            return Next::More;
        }
        match detect(rest, true) {
            Verdict::Tls => Next::Tls(at),
            Verdict::NeedMore(more) => Next::Hold { used: at, more },
            _ => match self.open(direction, rest) {
                Next::More => Next::More,
                Next::Tls(inner) => Next::Tls(at + inner),
                Next::Hold { used, more } => Next::Hold {
                    used: at + used,
                    more,
                },
            },
        }
    }
}

/// The dialogue that agreed on TLS.
pub fn leads_to_tls(facts: &Facts) -> Option<&'static str> {
    let name = facts.protocol?;
    let entry = DIALOGUES.iter().find(|entry| entry.name == name)?;
    entry.upgrades.then_some(name)
}
