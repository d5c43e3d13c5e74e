//! Reads the inputs as blocks: one after the other, or, where they are followed, each as far as it goes for now.

use super::{Job, Shared, ahead, follow::Follow};
use crate::capture::{
    About, Block, Catalog, LinkType, Named,
    block::TLS_KEY_LOG,
    feed::Fill,
    live::Interfaces,
    open::{Input, Opening, Source, late_secrets, open},
};
use crate::error::Error;
use crate::record::Timestamp;
use crate::stats::{CaptureInterface, CaptureSummary};
use std::collections::VecDeque;
use std::sync::{Arc, atomic::Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Interfaces that the summary describes of one capture.
const INTERFACES_TOLD_MAX: usize = 256;
/// How long a program may take to log a session's secrets. It knows them when it has the ServerHello, and writes them
/// before it answers.
const SECRETS_LAG: Duration = Duration::from_millis(250);

/// A capture that is being read, or the interfaces that are watched.
pub(super) struct Capture {
    /// What it was opened as; `None` for interfaces.
    pub(super) input: Option<Input>,
    pub(super) source: Source,
    /// One; of interfaces, one for each.
    summaries: Vec<CaptureSummary>,
    /// Its number, or that of the first interface.
    number: u32,
    /// Interfaces whose names are in the catalog.
    named: usize,
    /// Link types of its packets, where only the packets tell.
    links: Vec<LinkType>,
    /// Its secrets were read before its packets.
    secrets_known: bool,
}

impl Capture {
    /// May it still grow?
    pub(super) fn is_followed(&self) -> bool {
        self.source.is_growing()
    }

    /// It will not grow any more: what is there is read to its end.
    pub(super) fn end(&mut self) {
        self.source.stop_growing();
    }

    /// Adds the names of interfaces that the last block brought.
    fn name_interfaces(&mut self, names: &mut Arc<Catalog>) {
        if self.source.interface_count() == self.named {
            return;
        }
        let names = Arc::make_mut(names);
        let interfaces = self.source.interfaces();
        for (number, interface) in interfaces.iter().enumerate().skip(self.named) {
            if let Some(name) = interface.shown() {
                names.name_interface(self.number, number as u32, name);
            }
        }
        self.named = interfaces.len();
    }

    /// Fills `block` with the next packets; a fault is the last that comes.
    fn fill(&mut self, block: &mut Block) -> (Fill, Option<Error>) {
        block.capture = self.number;
        match self.source.fill(block) {
            Ok(fill) => (fill, None),
            Err(error) => {
                if let Some(summary) = self.summaries.first_mut() {
                    summary.truncated = matches!(error, Error::Cut { .. } | Error::Broken { .. });
                    summary.error = Some(error.to_string());
                }
                (Fill::End, Some(error))
            }
        }
    }

    /// Counts what a block brought; how many bytes and packets that is.
    fn account(&mut self, block: &Block) -> (u64, u64) {
        let index = block.capture.wrapping_sub(self.number) as usize;
        let Some(summary) = self.summaries.get_mut(index) else {
            return (0, 0);
        };
        let before = summary.bytes;
        summary.bytes = if self.source.is_live() {
            let captured = block
                .packets
                .iter()
                .map(|packet| u64::from(packet.captured_len));
            before + captured.sum::<u64>()
        } else {
            self.source.offset()
        };
        let packets = block.packets.len() as u64 - u64::from(block.repeated);
        summary.packets += packets;
        if !matches!(self.source, Source::Stream(_)) {
            for packet in &block.packets {
                if !self.links.contains(&packet.link) {
                    self.links.push(packet.link);
                }
            }
        }
        if let (Some(first), Some(last)) = (block.packets.first(), block.packets.last()) {
            (summary.first_packet).get_or_insert(Timestamp(first.time_ns));
            summary.last_packet = Some(Timestamp(last.time_ns));
        }
        (summary.bytes - before, packets)
    }

    /// What the summary says of it, and the blocks that no reader knew.
    fn told(mut self) -> (Vec<CaptureSummary>, u64) {
        let About {
            links,
            unknown_blocks,
            notes,
            providers,
            hosts,
        } = self.source.about();
        let links = links.into_iter().chain(self.links);
        let links: Vec<String> = links.map(LinkType::name).collect();
        for summary in &mut self.summaries {
            summary.link_types.clone_from(&links);
        }
        if let Some(summary) = self.summaries.first_mut() {
            summary.notes = notes;
            summary.interfaces = described(self.source.interfaces());
            let hosts = hosts.into_iter();
            summary.hosts = hosts.map(|(ip, names)| (ip.to_string(), names)).collect();
            summary.providers = providers;
        }
        if let Source::Live(interfaces) = &self.source {
            for (summary, counts) in self.summaries.iter_mut().zip(interfaces.counts()) {
                summary.kernel = Some(counts);
            }
        }
        (self.summaries, unknown_blocks)
    }
}

/// The interfaces for the summary, if any of them is described at all.
fn described(interfaces: Vec<Named>) -> Vec<CaptureInterface> {
    if interfaces.iter().all(|one| *one == Named::default()) {
        return Vec::new();
    }
    let one = |Named { name, description }| CaptureInterface { name, description };
    let interfaces = interfaces.into_iter().take(INTERFACES_TOLD_MAX);
    interfaces.map(one).collect()
}

/// Reads the inputs as blocks.
pub(super) struct Reader<'a> {
    shared: Shared<'a>,
    /// Inputs to be opened.
    waiting: VecDeque<Input>,
    /// Captures that are open: one, or as many as are followed; and whose turn it is.
    open: Vec<Capture>,
    turn: usize,
    follow: Option<Follow>,
    pub(super) captures: Arc<Catalog>,
    pub(super) order: u64,
    pub(super) last_ns: i64,
    /// The time of the last block that had packets, by the capture's clock and by ours.
    clock: Option<(i64, Instant)>,
    /// Blocks of the captures that no format knew.
    pub(super) unknown_blocks: u64,
    pub(super) summaries: Vec<CaptureSummary>,
    pub(super) errors: Vec<Error>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(inputs: &[Input], shared: Shared<'a>) -> Self {
        Self {
            shared,
            waiting: inputs.iter().cloned().collect(),
            open: Vec::new(),
            turn: 0,
            follow: shared.options.follow.clone().map(Follow::new),
            captures: Arc::default(),
            order: 0,
            last_ns: i64::MIN,
            clock: None,
            unknown_blocks: 0,
            summaries: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Watches interfaces, which have no end of their own.
    pub(super) fn watch(&mut self, interfaces: Box<dyn Interfaces>) {
        let names = Arc::make_mut(&mut self.captures);
        let mut summaries = Vec::new();
        for name in interfaces.names() {
            names.add_capture(&name);
            summaries.push(CaptureSummary {
                name,
                format: "live".to_owned(),
                ..Default::default()
            });
        }
        self.open.push(Capture {
            input: None,
            source: Source::Live(interfaces),
            summaries,
            number: 0,
            named: 0,
            links: Vec::new(),
            secrets_known: false,
        });
    }

    /// The next block, in `block`'s memory; `None` when all inputs are read or the run was stopped. A block
    /// without packets says that there is nothing to read for now.
    pub(super) fn next(&mut self, mut block: Block) -> Option<Job> {
        loop {
            if self.shared.progress.stop.load(Ordering::Relaxed) && self.stop() {
                return None;
            }
            let open = self.open.len();
            let Some(capture) = self.open.get_mut(self.turn) else {
                if self.go_on() {
                    continue;
                }
                if self.open.is_empty() && self.follow.is_none() {
                    return None;
                }
                return Some(self.idle(block));
            };
            let (fill, fault) = capture.fill(&mut block);
            self.errors.extend(fault);
            capture.name_interfaces(&mut self.captures);
            if !capture.secrets_known {
                learn(&block, self.order, self.shared);
            }
            if !block.packets.is_empty() && (capture.source.is_live() || self.follow.is_some()) {
                wait_for_secrets(&block, self.shared);
            }
            let (bytes, packets) = capture.account(&block);
            let progress = self.shared.progress;
            progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            progress.packets.fetch_add(packets, Ordering::Relaxed);
            let time_passes = capture.source.is_live() && fill != Fill::End;
            match fill {
                Fill::More => {}
                Fill::Quiet => match &self.follow {
                    Some(follow) if follow.is_done(capture, open) => capture.end(),
                    _ => self.turn += 1,
                },
                Fill::End => {
                    let capture = self.open.remove(self.turn);
                    self.close(capture);
                }
            }
            if !block.packets.is_empty() || time_passes {
                return Some(self.job(block));
            }
        }
    }

    /// All open captures have given what they have. `true`: there is more to read.
    fn go_on(&mut self) -> bool {
        let may_open = self.follow.is_some() || self.open.is_empty();
        if may_open && let Some(input) = self.waiting.pop_front() {
            self.open(input);
            return true;
        }
        self.turn = 0;
        let Some(follow) = &mut self.follow else {
            return false;
        };
        // What is open gives its last before new ones begin.
        self.waiting.extend(follow.look(&mut self.open));
        !self.waiting.is_empty()
    }

    /// Opens an input; its turn is next.
    fn open(&mut self, input: Input) {
        let name = input.name();
        let opening = Opening {
            limits: &self.shared.options.limits,
            ahead: ahead::read_ahead,
            growing: self.follow.is_some(),
            stop: &self.shared.progress.stop,
        };
        let (source, format) = match open(&input, opening) {
            Ok(opened) => opened,
            Err(error) => return self.failed(&input, error),
        };
        if let Some(follow) = &mut self.follow {
            follow.opened(&input);
        }
        let (order, shared) = (self.order, self.shared);
        // What grows is read as it comes.
        let secrets_known = self.follow.is_none()
            && late_secrets(&input, &format, &mut |kind, piece| {
                if kind == TLS_KEY_LOG {
                    read_key_log(piece, order, shared);
                }
            });
        let names = Arc::make_mut(&mut self.captures);
        let number = names.add_capture(&name);
        for (reason, words) in source.drop_reasons() {
            names.name_drop_reason(number, reason, &words);
        }
        self.turn = self.open.len();
        self.open.push(Capture {
            input: Some(input),
            source,
            summaries: vec![CaptureSummary {
                name,
                format,
                ..Default::default()
            }],
            number,
            named: 0,
            links: Vec::new(),
            secrets_known,
        });
    }

    fn failed(&mut self, input: &Input, error: Error) {
        let error = match &mut self.follow {
            Some(follow) => follow.failed(input, error),
            None => Some(error),
        };
        if let Some(error) = error {
            self.summaries.push(CaptureSummary {
                name: input.name(),
                error: Some(error.to_string()),
                ..Default::default()
            });
            self.errors.push(error);
        }
    }

    fn close(&mut self, capture: Capture) {
        let (mut summaries, unknown_blocks) = capture.told();
        self.unknown_blocks += unknown_blocks;
        self.summaries.append(&mut summaries);
    }

    /// The run is to stop. `false`: what the kernel holds still belongs to it.
    fn stop(&mut self) -> bool {
        self.waiting.clear();
        if let Some(Capture {
            source: Source::Live(interfaces),
            ..
        }) = self.open.first_mut()
        {
            interfaces.stop();
            return false;
        }
        for capture in core::mem::take(&mut self.open) {
            self.close(capture);
        }
        if let Some(follow) = &mut self.follow {
            self.errors.extend(follow.never_came());
        }
        true
    }

    fn job(&mut self, block: Block) -> Job {
        let order = self.order;
        self.order += block.packets.len() as u64;
        // Of three times the least, for expiry, and the middle one, for the clock: a single absurd time stamp moves neither
        // far. What a block of a quiet capture goes on with, at its begin, must not be over because of its end.
        let at = |index: usize| block.packets.get(index).map_or(0, |packet| packet.time_ns);
        let count = block.packets.len();
        let mut times = match count {
            0 => [block.time_ns; 3],
            _ => [at(0), at(count / 2), at(count - 1)],
        };
        times.sort_unstable();
        self.last_ns = (self.last_ns.max(times[1])).max(at(count.saturating_sub(1)));
        if self.follow.is_some() && count > 0 {
            self.clock = Some((times[1], Instant::now()));
        }
        Job {
            block,
            captures: Arc::clone(&self.captures),
            order,
            time_ns: times[0],
            parts: Vec::new(),
        }
    }

    /// Nothing to read for now. Where captures are followed their clock goes on with ours, so that what is silent
    /// for long enough comes to its end.
    fn idle(&mut self, mut block: Block) -> Job {
        block.clear();
        if self.follow.is_some() {
            std::thread::sleep(ahead::PATIENCE);
        }
        block.time_ns = self.clock.map_or(self.last_ns, |(time_ns, at)| {
            time_ns.saturating_add(i64::try_from(at.elapsed().as_nanos()).unwrap_or(i64::MAX))
        });
        self.job(block)
    }
}

/// Key logs inside the capture: what they hold is known from this block on.
fn learn(block: &Block, order: u64, shared: Shared<'_>) {
    for log in block.tls_key_logs() {
        read_key_log(log, order, shared);
    }
}

fn read_key_log(log: &[u8], order: u64, shared: Shared<'_>) {
    let secrets_max = shared.options.limits.secrets_max;
    shared.found.read(log, order, secrets_max);
}

/// Packets that were just captured may be of sessions whose secrets are only being logged: they wait a little where they
/// are, in the kernel's ring or in their file, which bounds them, and counts those for which there was no room.
fn wait_for_secrets(block: &Block, shared: Shared<'_>) {
    let Some(look) = &shared.options.look_for_secrets else {
        return;
    };
    let newest_ns = block.packets.iter().map(|packet| packet.time_ns).max();
    let newest_ns = newest_ns.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0);
    let captured = UNIX_EPOCH + Duration::from_nanos(newest_ns);
    if let Ok(age) = SystemTime::now().duration_since(captured)
        && let Some(rest) = SECRETS_LAG.checked_sub(age)
    {
        std::thread::sleep(rest);
    }
    look();
}
