//! One TCP conversation of the plain mixes, packet by packet: it comes up, says a template's turns,
//! moves data, and closes.

use super::frame::{ACK, FIN, PSH, Pair, SEGMENT_BYTES, SYN, Side, Tcp};
use super::output::Output;
use super::random::Random;
use super::template::{Patch, Template};
use std::io;

/// Bytes that stand for encrypted ones.
pub(crate) const NOISE_BYTES: usize = 1 << 17;
/// A full record of TLS 1.3: 16 KiB, the inner type and the tag.
const RECORD_BYTES: usize = 16_401;
const REQUEST_BYTES: usize = 420;

/// What all conversations of a capture share.
pub(crate) struct Desk<'a, 'w> {
    pub(crate) output: &'a mut Output<'w>,
    pub(crate) random: &'a mut Random,
    pub(crate) noise: &'a [u8],
    /// The capture is long enough: come to an end.
    pub(crate) hurry: bool,
    pub(crate) frame: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// What a conversation is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Bytes from the server behind the handshake, 0 for none.
    pub(crate) data_bytes: usize,
    /// Requests over which they are spread, at least 1.
    pub(crate) requests: usize,
    /// Some records are shorter than 16 KiB.
    pub(crate) short_records: bool,
    /// Segments get lost, come twice and out of order.
    pub(crate) faults: bool,
    /// Data is text, not records.
    pub(crate) plain: bool,
    /// Where the first turn is cut in two segments.
    pub(crate) cut: Option<usize>,
    /// Which of the certificates with the same names this server has.
    pub(crate) certificate: u32,
}

/// What the next packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Syn,
    SynAck,
    Established,
    Turn { number: usize, at: usize },
    Request,
    Response { left: usize },
    Fin(Side),
    LastAck,
    Over,
}

/// A conversation under way.
pub(crate) struct Conversation<'t> {
    pair: Pair,
    template: &'t Template,
    plan: Plan,
    stage: Stage,
    sequence: [u32; 2],
    /// Data segments since the last ACK.
    unacknowledged: u8,
    ack_due: Option<Side>,
    requests_done: usize,
    /// Bytes left of the record that the server is sending, and of its header.
    record_left: usize,
    header: ([u8; 5], usize),
    /// Segments that come late, and how many packets later.
    late: Vec<(u8, Vec<u8>)>,
    seed: u64,
}

impl<'t> Conversation<'t> {
    pub(crate) fn new(pair: Pair, template: &'t Template, plan: Plan, random: &mut Random) -> Self {
        let seed = random.next();
        Self {
            pair,
            template,
            plan,
            stage: Stage::Syn,
            sequence: [seed as u32, (seed >> 32) as u32],
            unacknowledged: 0,
            ack_due: None,
            requests_done: 0,
            record_left: 0,
            header: ([0; 5], 5),
            late: Vec::new(),
            seed,
        }
    }

    /// It says nothing but clear text.
    pub(crate) fn is_plain(&self) -> bool {
        self.plan.plain
    }

    /// Writes the next packet; `false` when there was none.
    pub(crate) fn next(&mut self, desk: &mut Desk<'_, '_>) -> io::Result<bool> {
        for (countdown, _) in &mut self.late {
            *countdown = countdown.saturating_sub(1);
        }
        if let Some(at) = self.late.iter().position(|(countdown, _)| *countdown == 0) {
            let (_, frame) = self.late.swap_remove(at);
            desk.output.frame(&frame)?;
            return Ok(true);
        }
        if let Some(side) = self.ack_due.take() {
            self.send(desk, side, ACK, None)?;
            return Ok(true);
        }
        match self.stage {
            Stage::Syn => {
                self.send(desk, Side::Client, SYN, None)?;
                self.stage = Stage::SynAck;
            }
            Stage::SynAck => {
                self.send(desk, Side::Server, SYN | ACK, None)?;
                self.stage = Stage::Established;
            }
            Stage::Established => {
                self.send(desk, Side::Client, ACK, None)?;
                self.stage = self.turn(0);
            }
            Stage::Turn { number, at } => self.say(desk, number, at)?,
            Stage::Request => self.request(desk)?,
            Stage::Response { left } => self.respond(desk, left)?,
            Stage::Fin(side) => {
                self.send(desk, side, FIN | ACK, None)?;
                self.stage = if side == Side::Client {
                    Stage::Fin(Side::Server)
                } else {
                    Stage::LastAck
                };
            }
            Stage::LastAck => {
                self.send(desk, Side::Client, ACK, None)?;
                self.stage = Stage::Over;
            }
            Stage::Over => return Ok(false),
        }
        Ok(true)
    }

    /// The stage that begins with a turn, or behind the last one.
    fn turn(&self, number: usize) -> Stage {
        if number < self.template.turns.len() {
            Stage::Turn { number, at: 0 }
        } else if self.plan.data_bytes > 0 && (self.template.complete || self.plan.plain) {
            Stage::Request
        } else {
            Stage::Fin(Side::Client)
        }
    }

    /// Sends what is late before the other side would answer.
    fn catch_up(&mut self, stage: Stage) {
        for (countdown, _) in &mut self.late {
            *countdown = 0;
        }
        self.stage = stage;
    }

    fn say(&mut self, desk: &mut Desk<'_, '_>, number: usize, at: usize) -> io::Result<()> {
        let Some(turn) = self.template.turns.get(number) else {
            self.stage = Stage::Over;
            return Ok(());
        };
        let mut end = (at + SEGMENT_BYTES).min(turn.bytes.len());
        if let Some(cut) = self.plan.cut.filter(|&cut| number == 0 && at < cut) {
            end = end.min(cut);
        }
        desk.payload.clear();
        desk.payload
            .extend_from_slice(turn.bytes.get(at..end).unwrap_or(&[]));
        for &(start, patch) in &turn.patches {
            let certificate = self.plan.certificate.to_be_bytes();
            let noise_at = (self.seed as usize).wrapping_add(start) % (NOISE_BYTES - 32);
            let bytes = match patch {
                Patch::Random => desk.noise.get(noise_at..noise_at + 32).unwrap_or(&[]),
                Patch::Certificate => &certificate,
            };
            for (place, &byte) in (start..).zip(bytes) {
                if let Some(target) = place
                    .checked_sub(at)
                    .and_then(|place| desk.payload.get_mut(place))
                {
                    *target = byte;
                }
            }
        }
        self.send_payload(desk, turn.from, end == turn.bytes.len())?;
        if end < turn.bytes.len() {
            self.stage = Stage::Turn { number, at: end };
        } else {
            self.unacknowledged = 0;
            self.catch_up(self.turn(number + 1));
        }
        Ok(())
    }

    fn request(&mut self, desk: &mut Desk<'_, '_>) -> io::Result<()> {
        desk.payload.clear();
        if self.plan.plain {
            let request =
                b"GET /reports/2026/01/index.html HTTP/1.1\r\nHost: intranet.contoso.com\r\n";
            desk.payload.extend_from_slice(request);
            desk.payload.resize(REQUEST_BYTES, b'a');
        } else {
            let length = (REQUEST_BYTES - 5) as u16;
            desk.payload.extend_from_slice(&[23, 3, 3]);
            desk.payload.extend_from_slice(&length.to_be_bytes());
            desk.payload
                .extend_from_slice(desk.noise.get(..REQUEST_BYTES - 5).unwrap_or(&[]));
        }
        self.send_payload(desk, Side::Client, true)?;
        self.unacknowledged = 0;
        self.requests_done += 1;
        let left = (self.plan.data_bytes / self.plan.requests).max(64);
        self.catch_up(Stage::Response { left });
        Ok(())
    }

    fn respond(&mut self, desk: &mut Desk<'_, '_>, left: usize) -> io::Result<()> {
        // In a hurry, the record under way is still finished.
        let record_end = self.record_left + 5 - self.header.1;
        let left = if desk.hurry {
            left.min(record_end)
        } else {
            left
        };
        let length = left.min(SEGMENT_BYTES);
        if length > 0 {
            self.fill(desk, length, left);
            self.send_payload(desk, Side::Server, length == left)?;
        }
        self.stage = Stage::Response {
            left: left - length,
        };
        if left == length {
            let again = self.requests_done < self.plan.requests && !desk.hurry;
            self.catch_up(if again {
                Stage::Request
            } else {
                Stage::Fin(Side::Client)
            });
        }
        Ok(())
    }

    /// Puts the next `length` bytes of a response, of which `left` are left, into the desk's payload.
    fn fill(&mut self, desk: &mut Desk<'_, '_>, length: usize, left: usize) {
        desk.payload.clear();
        if self.plan.plain {
            desk.payload
                .extend_from_slice(b"HTTP/1.1 200 OK\r\n".get(..length).unwrap_or(&[]));
            desk.payload.resize(length, b'x');
            return;
        }
        while desk.payload.len() < length {
            if self.header.1 == 5 && self.record_left == 0 {
                let rest = left - desk.payload.len();
                let mut record = RECORD_BYTES;
                if self.plan.short_records && desk.random.once_in(3) {
                    record = desk.random.between(40, 4_000) as usize;
                }
                // The last record takes all that is left, so that none is too short for a header.
                if rest < record + 5 + 64 {
                    record = rest.saturating_sub(5);
                }
                self.record_left = record;
                let [high, low] = (record as u16).to_be_bytes();
                self.header = ([23, 3, 3, high, low], 0);
            }
            let room = length - desk.payload.len();
            if let Some(header) = self
                .header
                .0
                .get(self.header.1..)
                .filter(|header| !header.is_empty())
            {
                let count = header.len().min(room);
                desk.payload
                    .extend_from_slice(header.get(..count).unwrap_or(&[]));
                self.header.1 += count;
                continue;
            }
            let count = self.record_left.min(room);
            let start = desk.random.below((NOISE_BYTES - SEGMENT_BYTES) as u64) as usize;
            desk.payload
                .extend_from_slice(desk.noise.get(start..start + count).unwrap_or(&[]));
            self.record_left -= count;
        }
    }

    /// Sends the desk's payload, which may get lost or come late; every second segment is acknowledged.
    fn send_payload(&mut self, desk: &mut Desk<'_, '_>, from: Side, last: bool) -> io::Result<()> {
        let payload = core::mem::take(&mut desk.payload);
        let flags = if last { PSH | ACK } else { ACK };
        let sent = self.send(desk, from, flags, Some(&payload));
        desk.payload = payload;
        self.unacknowledged += 1;
        if self.unacknowledged == 2 {
            self.unacknowledged = 0;
            self.ack_due = Some(from.other());
        }
        sent
    }

    fn send(
        &mut self,
        desk: &mut Desk<'_, '_>,
        from: Side,
        flags: u8,
        payload: Option<&[u8]>,
    ) -> io::Result<()> {
        let acknowledgement = if flags & ACK == 0 {
            0
        } else {
            self.sequence[from.other() as usize]
        };
        let sequence = self.sequence[from as usize];
        let tcp = Tcp {
            from,
            flags,
            sequence,
            acknowledgement,
            clock: desk.output.clock(),
        };
        self.pair.tcp(&mut desk.frame, tcp, payload.unwrap_or(&[]));
        let takes = payload.map_or(0, <[u8]>::len) + usize::from(flags & (SYN | FIN) != 0);
        self.sequence[from as usize] = sequence.wrapping_add(takes as u32);
        if self.plan.faults && payload.is_some() {
            // In a thousand: 10 are lost and sent again, 5 overtaken, 5 sent twice, 1 never captured.
            match desk.random.below(1_000) {
                0..10 => {
                    self.late
                        .push((desk.random.between(6, 20) as u8, desk.frame.clone()));
                    return Ok(());
                }
                10..15 => {
                    self.late
                        .push((desk.random.between(2, 4) as u8, desk.frame.clone()));
                    return Ok(());
                }
                15..20 => self
                    .late
                    .push((desk.random.between(3, 12) as u8, desk.frame.clone())),
                20 => return Ok(()),
                _ => {}
            }
        }
        desk.output.frame(&desk.frame)
    }
}
