//! Source → shards → ordered sink; the only file with threads.
//!
//! ```text
//!        one at a time         one at a time        one thread a lane of shards        the caller's thread
//!   read a block, frame it ──► sort its packets ──► each shard takes its packets ──► records in order of packets
//! ```
//!
//! All threads do whatever is next: read a block, sort one, or work one lane, which is some of the shards, through one. A
//! shard sees blocks in order and is worked by one thread at a time, so it needs no lock. Block *n*'s records leave
//! when all shards are through with it: the output is the same for any number of threads. With one
//! thread the same steps run in a plain loop.

mod ahead;
mod follow;
mod glance;
mod reader;
mod sink;
mod sorter;

use crate::capture::live::Interfaces;
use crate::capture::{self, Block, Catalog};
use crate::connection::{Arrival, datagrams};
use crate::error::Error;
use crate::findings::{Settings, Verdicts};
use crate::keep::{KeptPacket, Seen};
use crate::limits::Limits;
use crate::packet::{Datagram, Encapsulation};
use crate::record::{Dns, Handshake, Stacks};
use crate::shard::{Bench, SHARDS, Shard};
use crate::stats::{Skip, Summary};
use crate::tls::keylog::Secrets;
use glance::{GLANCED, Left, Looked, Sight};
use reader::Reader;
use sink::{Batch, Sink};
use sorter::Sorter;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

pub use crate::capture::open::Input;
pub use crate::findings::TLS_PORTS;
pub use follow::Lister;

/// Renders one record as the lines' format wants it; runs in the shard's thread.
pub type Render = fn(&Handshake, &mut Vec<u8>);

/// How a run works.
pub struct Options {
    /// Threads to use, at least 1.
    pub threads: usize,
    /// The caps.
    pub limits: Limits,
    /// Show a record for each TCP connection, not only for those with TLS.
    pub all_connections: bool,
    /// Ports on which a connection without TLS is worth showing.
    pub tls_ports: Vec<u16>,
    /// Thresholds of the findings; each record is judged in its shard's thread.
    pub settings: Settings,
    /// Writes each record as bytes.
    pub render: Option<Render>,
    /// Hand the packets of handshakes to [`Watch::keep`].
    pub keep_handshakes: bool,
    /// Hand what DNS told to [`Watch::names`] this often, by the capture's time, and forget it here.
    pub hand_names_over_ns: Option<i64>,
    /// Keep the bytes of certificates in the records.
    pub keep_der: bool,
    /// Follow the inputs as they grow and rotate until the run is stopped; it names the files that folders and
    /// patterns stand for now.
    pub follow: Option<Lister>,
    /// Secrets of sessions in the captures; those that the captures themselves hold are known without.
    pub secrets: Arc<Secrets>,
    /// Reads what has been added to the key logs behind [`Self::secrets`]: called before packets of interfaces, or of
    /// captures that are followed, go on their way.
    pub look_for_secrets: Option<LookForSecrets>,
}

/// Looks whether more secrets were logged.
pub type LookForSecrets = Arc<dyn Fn() + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 1,
            limits: Limits::default(),
            all_connections: false,
            tls_ports: TLS_PORTS.to_vec(),
            settings: Settings::default(),
            render: None,
            keep_handshakes: false,
            hand_names_over_ns: None,
            keep_der: false,
            follow: None,
            secrets: Arc::default(),
            look_for_secrets: None,
        }
    }
}

/// How far a run is; read by another thread while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Packets read.
    pub packets: AtomicU64,
    /// Records made.
    pub handshakes: AtomicU64,
    /// Set from outside (Ctrl-C): stop reading, and finish with what was seen.
    pub stop: AtomicBool,
    /// Conversations that each shard holds, and the bytes that it takes for them.
    pub shards: [Held; SHARDS],
}

/// What a shard holds, as of its last block.
#[derive(Debug, Default)]
pub struct Held {
    /// Conversations under way, and tombstones.
    pub conversations: AtomicU64,
    /// Bytes for them.
    pub bytes: AtomicU64,
}

impl Held {
    fn update(&self, shard: &Shard) {
        self.conversations
            .store(shard.conversations() as u64, Ordering::Relaxed);
        self.bytes.store(shard.bytes() as u64, Ordering::Relaxed);
    }
}

/// A record that leaves the pipe.
pub struct Taken<'a, Record = Box<Handshake>> {
    /// The record.
    pub record: Record,
    /// What the rules said of it, for [`crate::findings::Diagnosis::add_judged`].
    pub verdicts: Verdicts,
    /// What [`Options::render`] made of it.
    pub line: &'a [u8],
    /// It is to be shown; otherwise it only feeds the surveys (a connection without TLS).
    pub shown: bool,
}

/// What the records are shown to; an error ends the run.
pub type Take<'a> = dyn FnMut(Taken<'_, &Handshake>) -> io::Result<()> + 'a;

/// What follows a run that has no end of its own: it takes the records, and hears of the time between them.
pub trait Watch {
    /// Takes a record, and hands it back if it does not keep it; an error ends the run.
    fn record(&mut self, taken: Taken<'_>) -> io::Result<Option<Box<Handshake>>>;
    /// Takes a packet of a handshake, where [`Options::keep_handshakes`] asks for them.
    fn keep(&mut self, _kept: &KeptPacket) -> io::Result<()> {
        Ok(())
    }
    /// Takes what DNS told since the last time, where [`Options::hand_names_over_ns`] asks for it. Not settled
    /// ([`Dns::settle`]), and only a part: each shard hands over its own.
    fn names(&mut self, _names: Dns) {}
    /// All records up to a time were handed over; comes with each block, so several times a second.
    fn tick(&mut self, status: &Status<'_>) -> io::Result<()>;
}

/// How a run stands.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    /// The capture's time.
    pub time_ns: i64,
    /// Records counted so far; captures and what was passed over come at the end.
    pub summary: &'a Summary,
}

/// The records of a run over files.
struct Records<'t, 'r>(&'t mut Take<'r>);

impl Watch for Records<'_, '_> {
    fn record(&mut self, taken: Taken<'_>) -> io::Result<Option<Box<Handshake>>> {
        let record = taken.record;
        (self.0)(Taken {
            record: &*record,
            verdicts: taken.verdicts,
            line: taken.line,
            shown: taken.shown,
        })?;
        Ok(Some(record))
    }

    fn tick(&mut self, _: &Status<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Reads `inputs` one after the other as one stream, and hands each record to `take`, in an order that
/// does not depend on the number of threads. An error from `take` (a broken pipe, a full disk) ends the
/// run and is handed back. Returns the summary (the caller adds findings and times) and the faults of
/// single files.
pub fn run(
    inputs: &[Input],
    options: &Options,
    progress: &Progress,
    take: &mut Take<'_>,
) -> io::Result<(Summary, Vec<Error>)> {
    let shared = Shared {
        options,
        progress,
        found: &Arc::default(),
        stacks: &Stacks::new(&options.settings.client_stacks),
    };
    drive(shared, Reader::new(inputs, shared), &mut Records(take))
}

/// Watches interfaces until [`Progress::stop`] is set: the same pipe as [`run`], which also moves on with
/// time where no packet comes.
pub fn watch(
    interfaces: Box<dyn Interfaces>,
    options: &Options,
    progress: &Progress,
    watcher: &mut dyn Watch,
) -> io::Result<(Summary, Vec<Error>)> {
    let shared = Shared {
        options,
        progress,
        found: &Arc::default(),
        stacks: &Stacks::new(&options.settings.client_stacks),
    };
    let mut reader = Reader::new(&[], shared);
    reader.watch(interfaces);
    drive(shared, reader, watcher)
}

fn drive<'a>(
    shared: Shared<'a>,
    mut reader: Reader<'a>,
    watcher: &mut dyn Watch,
) -> io::Result<(Summary, Vec<Error>)> {
    let mut sink = Sink::new(shared, watcher);
    let options = shared.options;
    let mut sorter = Sorter::new(&options.limits);
    let shards = if options.threads > 1 {
        threaded(shared, &mut reader, &mut sorter, &mut sink)?
    } else {
        inline(shared, &mut reader, &mut sorter, &mut sink)?
    };
    let mut summary = sink.summary;
    let mut counters = sorter.counters;
    counters.skip_many(Skip::UnknownBlock, reader.unknown_blocks);
    counters.skip_many(Skip::NoTls, sink.not_shown);
    counters.skip_many(Skip::DnsCap, sink.ech.beyond);
    counters.skip_many(Skip::Fragment, sorter.fragments.loose());
    let mut names = Dns::default();
    for shard in shards {
        counters.skip_many(Skip::KeptCap, shard.keeper.given_up);
        counters.add(&shard.counters);
        names.merge(shard.dns.finish(reader.last_ns, &reader.captures));
    }
    names.settle();
    summary.dns = (!names.is_empty()).then(|| Box::new(names));
    for secrets in [&options.secrets, shared.found] {
        let (unreadable, beyond_cap) = secrets.passed_over();
        counters.skip_many(Skip::KeyLogLine, unreadable);
        counters.skip_many(Skip::KeyLogCap, beyond_cap);
        if !secrets.is_empty() {
            summary.secrets.get_or_insert_default().known += secrets.len() as u64;
        }
    }
    summary.connections = counters.connections;
    summary.captures = reader.summaries;
    summary.packets = summary.captures.iter().map(|capture| capture.packets).sum();
    summary.bytes = summary.captures.iter().map(|capture| capture.bytes).sum();
    for why in Skip::ALL {
        let count = counters.skipped(why);
        if count > 0 {
            summary.skipped.insert(why.as_str().to_owned(), count);
        }
    }
    Ok((summary, reader.errors))
}

/// What all parts of a run read.
#[derive(Clone, Copy)]
struct Shared<'a> {
    options: &'a Options,
    progress: &'a Progress,
    /// Secrets inside the captures.
    found: &'a Arc<Secrets>,
    /// The rules that name the senders of hellos.
    stacks: &'a Stacks,
}

impl Shared<'_> {
    fn bench(&self) -> Bench {
        let options = self.options;
        let secrets = [&options.secrets, self.found].map(Arc::clone);
        Bench::new(&options.limits, options.keep_der, secrets).naming(self.stacks.clone())
    }

    /// What DNS told leaves a shard from time to time, where that is asked for.
    fn hand_names_over(&self, shard: &mut Shard, job: &Job, batch: &mut Batch) {
        if let Some(every_ns) = self.options.hand_names_over_ns
            && let Some(names) = (shard.dns).hand_over(job.time_ns, every_ns, &job.captures)
        {
            batch.names.push(names);
        }
    }
}

/// A block on its way through the shards.
struct Job {
    block: Block,
    /// The names that its packets' numbers stand for.
    captures: Arc<Catalog>,
    /// Number of its first packet in the run.
    order: u64,
    /// About the time of its first packet, for expiry.
    time_ns: i64,
    /// The packets of each lane; empty where one thread does all.
    parts: Vec<Vec<Looked>>,
}

impl Job {
    fn seen<'j>(&'j self, index: usize, packet: &'j capture::Packet) -> Seen<'j> {
        Seen {
            order: self.order + index as u64,
            capture: self.block.capture,
            packet,
            bytes: self.block.data(packet),
        }
    }

    fn arrival(
        &self,
        index: usize,
        packet: &capture::Packet,
        around: &Encapsulation,
    ) -> Arrival<'_> {
        Arrival {
            time_ns: packet.time_ns,
            frame: packet.frame,
            order: self.order + index as u64,
            capture: self.block.capture,
            point: packet.interface ^ around.digest(),
            interface: packet.interface,
            noted: self.block.noted(index),
        }
    }
}

fn inline(
    shared: Shared<'_>,
    reader: &mut Reader<'_>,
    sorter: &mut Sorter<'_>,
    sink: &mut Sink<'_, '_>,
) -> io::Result<Vec<Shard>> {
    let limits = &shared.options.limits;
    let mut shards: Vec<Shard> = (0..SHARDS).map(|_| Shard::default()).collect();
    let mut bench = shared.bench();
    let mut batch = Batch::default();
    let mut spare = Some(Block::default());
    while let Some(mut job) = reader.next(spare.take().unwrap_or_default()) {
        bench.go_on_at(job.order);
        for (shard, held) in shards.iter_mut().zip(&shared.progress.shards) {
            shard.tick(job.time_ns, job.order, limits, &job.captures, &mut bench);
            shared.hand_names_over(shard, &job, &mut batch);
            held.update(shard);
        }
        let mut next = 0;
        while next < job.block.packets.len() {
            let mut fragment = None;
            let packets = job.block.packets.get(next..).unwrap_or(&[]);
            let mut glanced = [None; GLANCED];
            for (found, packet) in glanced.iter_mut().zip(packets) {
                if let Some(sight) = Sight::of(packet, job.block.data(packet)) {
                    *found = sight.find(&mut shards, 0);
                }
            }
            for (found, packet) in glanced.iter().zip(packets) {
                let index = next;
                next += 1;
                if !shared.options.keep_handshakes
                    && let Some(found) = found
                    && job.passes(&mut shards, found, (index, packet))
                {
                    continue;
                }
                if sorter.is_idle(packet, job.block.data(packet)) {
                    sorter.pass_over(&job.block, index, Skip::Udp);
                    continue;
                }
                // Not before the first packet: what the time that passed has ended is in one order with what it ends.
                if index > 0 && bench.records.len() >= RECORDS_AT_ONCE {
                    batch.learn(&mut shards);
                    batch.fill(&mut bench.records, shared.options);
                    sink.emit(core::slice::from_mut(&mut batch))?;
                    batch.give_back(&mut bench);
                }
                let first = |datagram: &Datagram<'_>| sorter.first(datagram);
                let all = (&mut shards[..], 0);
                match job.take((index, packet), all, first, shared.options, &mut bench) {
                    Ok(()) => {}
                    Err(Left::Fragment) => {
                        fragment = Some(index);
                        break;
                    }
                    Err(Left::Over(why)) => sorter.pass_over(&job.block, index, why),
                }
            }
            if let Some(index) = fragment
                && sorter.reassemble(&mut job.block, index)
            {
                // Now it is another packet.
                next = index;
            }
        }
        batch.learn(&mut shards);
        batch.fill(&mut bench.records, shared.options);
        batch.kept.append(&mut bench.kept);
        sink.emit(core::slice::from_mut(&mut batch))?;
        batch.give_back(&mut bench);
        sink.tick(job.time_ns)?;
        spare = Some(job.block);
    }
    finish(&mut shards, shared, reader, sink, &mut bench)?;
    Ok(shards)
}

/// Records that go through judging, rendering and counting together. Few, so that the memory of one serves the
/// next while it is in the processor's cache; not one by one, since the code of each step would drive that of the
/// others out of the instruction cache: that took a third of the time of a capture full of handshakes.
const RECORDS_AT_ONCE: usize = 16;

/// Bytes of conversations that are ended in one go, so that their records come in order of time. Beyond
/// that they are ended shard by shard: all their records at once would take several times the memory cap.
const FINISH_AT_ONCE_BYTES_MAX: usize = 16 << 20;

/// The captures are over: ends all conversations.
fn finish(
    shards: &mut [Shard],
    shared: Shared<'_>,
    reader: &Reader<'_>,
    sink: &mut Sink<'_, '_>,
    bench: &mut Bench,
) -> io::Result<()> {
    let (limits, captures) = (&shared.options.limits, &*reader.captures);
    let held: usize = shards.iter().map(Shard::bytes).sum();
    let mut batch = Batch::default();
    bench.go_on_at(reader.order);
    for shard in shards {
        shard.finish(reader.last_ns, reader.order, limits, captures, bench);
        if held > FINISH_AT_ONCE_BYTES_MAX {
            batch.fill(&mut bench.records, shared.options);
            sink.emit(core::slice::from_mut(&mut batch))?;
        }
    }
    batch.fill(&mut bench.records, shared.options);
    sink.emit(core::slice::from_mut(&mut batch))
}

impl Options {
    fn is_shown_by_port(&self, record: &Handshake) -> bool {
        self.all_connections
            || record.sought_tls()
            || (self.tls_ports.contains(&record.server.port)
                && record.outcome != crate::record::Outcome::Truncated)
    }
}

/// What the threads share.
struct Board {
    /// Shards in groups that are worked together; `None` while one is.
    lanes: Vec<Option<Vec<Shard>>>,
    /// Blocks that each lane has still to take.
    queues: Vec<VecDeque<(u64, Arc<Job>)>>,
    /// Batches of blocks that are not through all lanes yet.
    waiting: BTreeMap<u64, Vec<Batch>>,
    /// Blocks that are read and not sorted yet.
    unsorted: VecDeque<Job>,
    spare_blocks: Vec<(Block, Vec<Vec<Looked>>)>,
    /// By thread: batches that it filled, with the records that came back; it frees them, for memory that another thread
    /// frees is lost to its own store and costs a lock.
    spare_batches: Vec<Vec<Batch>>,
    /// Blocks that were read, sorted, and given out.
    read: u64,
    sorted: u64,
    out: u64,
    reading: bool,
    sorting: bool,
    read_all: bool,
    failed: bool,
    /// Threads that have nothing to do.
    idle: usize,
}

impl Board {
    fn is_over(&self) -> bool {
        self.failed || (self.read_all && !self.reading && self.out == self.read)
    }

    /// A lane that is free and has a block to take: the one that is furthest behind. Of several, one that is usually this
    /// thread's, which has its conversations in its cache.
    fn claim(&mut self, thread: usize) -> Option<(usize, Vec<Shard>, u64, Arc<Job>)> {
        let threads = self.spare_batches.len();
        let (index, _) = self
            .queues
            .iter()
            .enumerate()
            .filter(|(index, _)| self.lanes.get(*index).is_some_and(Option::is_some))
            .filter_map(|(index, queue)| queue.front().map(|(block, _)| (index, *block)))
            .min_by_key(|&(index, block)| (block, index % threads != thread))?;
        let lane = self.lanes.get_mut(index)?.take()?;
        let (block, job) = self.queues.get_mut(index)?.pop_front()?;
        Some((index, lane, block, job))
    }

    fn ready(&mut self) -> Option<Vec<Batch>> {
        let batches = self.waiting.get(&self.out)?;
        (batches.len() == self.lanes.len()).then(|| self.waiting.remove(&self.out))?
    }
}

/// Poison means that another thread panicked; its panic is handed on when it is joined.
fn lock<'a>(board: &'a Mutex<Board>) -> MutexGuard<'a, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Groups of shards that a number of threads works one by one: two for each thread, so that none waits for another.
/// Each block costs a lock and a wake-up for each of them, so there are no more.
fn lanes(threads: usize) -> usize {
    (threads * 2).next_power_of_two().min(SHARDS)
}

fn threaded<'i>(
    shared: Shared<'i>,
    reader: &mut Reader<'i>,
    sorter: &mut Sorter<'i>,
    sink: &mut Sink<'_, '_>,
) -> io::Result<Vec<Shard>> {
    let threads = shared.options.threads.min(SHARDS);
    let lanes = lanes(shared.options.threads);
    let lane = || (0..SHARDS / lanes).map(|_| Shard::default()).collect();
    let board = Mutex::new(Board {
        lanes: (0..lanes).map(|_| Some(lane())).collect(),
        queues: (0..lanes).map(|_| VecDeque::new()).collect(),
        waiting: BTreeMap::new(),
        unsorted: VecDeque::new(),
        spare_blocks: Vec::new(),
        spare_batches: (0..threads).map(|_| Vec::new()).collect(),
        read: 0,
        sorted: 0,
        out: 0,
        reading: false,
        sorting: false,
        read_all: false,
        failed: false,
        idle: 0,
    });
    let crew = Crew {
        shared,
        board: &board,
        reader: &Mutex::new(&mut *reader),
        sorter: &Mutex::new(sorter),
        news: &Condvar::new(),
    };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move || crew.work(thread, None));
        }
        crew.work(0, Some(sink))
    })?;
    let lanes = core::mem::take(&mut lock(&board).lanes);
    let mut shards: Vec<Shard> = lanes.into_iter().flatten().flatten().collect();
    let mut bench = shared.bench();
    finish(&mut shards, shared, reader, sink, &mut bench)?;
    Ok(shards)
}

#[derive(Clone, Copy)]
struct Crew<'s, 'i, 'r> {
    shared: Shared<'i>,
    board: &'s Mutex<Board>,
    reader: &'s Mutex<&'r mut Reader<'i>>,
    sorter: &'s Mutex<&'r mut Sorter<'i>>,
    news: &'s Condvar,
}

/// Ends the work of all threads where one panics: the others would wait for ever for what it does not bring back.
struct Alarm<'s>(&'s Mutex<Board>, &'s Condvar);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(self.0).failed = true;
            self.1.notify_all();
        }
    }
}

/// Blocks under way below which reading comes first: what the others have to do must not run out.
const READ_FIRST: u64 = 3;

impl<'s> Crew<'s, '_, '_> {
    /// Does whatever is next until nothing is left. The thread with the sink also empties it.
    fn work(self, thread: usize, mut sink: Option<&mut Sink<'_, '_>>) -> io::Result<()> {
        // Before the board is locked, so that it is free again when this is dropped.
        let _alarm = Alarm(self.board, self.news);
        let mut bench = self.shared.bench();
        let mut board = lock(self.board);
        loop {
            if board.is_over() {
                self.news.notify_all();
                return Ok(());
            }
            if let Some(sink) = sink.as_deref_mut()
                && let Some(batches) = board.ready()
            {
                drop(board);
                let (spare, result) = self.deliver(sink, batches);
                board = lock(self.board);
                for batch in spare {
                    if let Some(spare) = board.spare_batches.get_mut(batch.thread) {
                        spare.push(batch);
                    }
                }
                board.out += 1;
                board.failed |= result.is_err();
                self.tell(&board);
                result?;
                continue;
            }
            let in_flight = board.read - board.out;
            let may_read = !board.reading
                && !board.read_all
                && in_flight < self.shared.options.limits.blocks_in_flight as u64;
            if may_read && in_flight < READ_FIRST {
                board = self.read(board);
            } else if !board.sorting
                && let Some(job) = board.unsorted.pop_front()
            {
                board = self.sort(board, job);
            } else if let Some((index, lane, block, job)) = board.claim(thread) {
                let spare = board.spare_batches.get_mut(thread).and_then(Vec::pop);
                drop(board);
                let batch = spare.unwrap_or_default().of(thread, &mut bench);
                board = self.take((index, lane), (block, job), batch, &mut bench);
            } else if may_read {
                board = self.read(board);
            } else {
                board.idle += 1;
                let wait = self.news.wait(board);
                board = wait.unwrap_or_else(PoisonError::into_inner);
                board.idle -= 1;
            }
        }
    }

    /// There may be something to do for those that have nothing. To wake nobody takes a call of the system, too.
    fn tell(&self, board: &Board) {
        if board.idle > 0 {
            self.news.notify_all();
        }
    }

    /// Empties a block's batches, which are handed back for the next.
    fn deliver(
        &self,
        sink: &mut Sink<'_, '_>,
        mut batches: Vec<Batch>,
    ) -> (Vec<Batch>, io::Result<()>) {
        let time_ns = batches.first().map_or(0, |batch| batch.time_ns);
        let result = sink.emit(&mut batches).and_then(|()| sink.tick(time_ns));
        (batches, result)
    }

    /// Reads a block.
    fn read(&self, mut board: MutexGuard<'s, Board>) -> MutexGuard<'s, Board> {
        board.reading = true;
        let (block, parts) = board.spare_blocks.pop().unwrap_or_default();
        drop(board);
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let job = reader.next(block);
        drop(reader);
        let mut board = lock(self.board);
        board.reading = false;
        match job {
            Some(job) => {
                board.read += 1;
                board.unsorted.push_back(Job { parts, ..job });
            }
            None => board.read_all = true,
        }
        self.tell(&board);
        board
    }

    /// Sorts a block's packets, and queues it for all lanes.
    fn sort(&self, mut board: MutexGuard<'s, Board>, mut job: Job) -> MutexGuard<'s, Board> {
        board.sorting = true;
        drop(board);
        let mut sorter = self.sorter.lock().unwrap_or_else(PoisonError::into_inner);
        sorter.split(&mut job, lanes(self.shared.options.threads));
        drop(sorter);
        let (job, mut board) = (Arc::new(job), lock(self.board));
        board.sorting = false;
        let number = board.sorted;
        board.sorted += 1;
        for queue in &mut board.queues {
            queue.push_back((number, Arc::clone(&job)));
        }
        self.tell(&board);
        board
    }

    /// Works one lane through one block.
    fn take(
        &self,
        (index, mut lane): (usize, Vec<Shard>),
        (number, job): (u64, Arc<Job>),
        mut batch: Batch,
        bench: &mut Bench,
    ) -> MutexGuard<'s, Board> {
        let options = self.shared.options;
        bench.go_on_at(job.order);
        for shard in &mut lane {
            shard.tick(
                job.time_ns,
                job.order,
                &options.limits,
                &job.captures,
                bench,
            );
        }
        let first_shard = index * lane.len();
        let part = job.parts.get(index).map_or(&[][..], Vec::as_slice);
        for seen in part.chunks(GLANCED) {
            let mut glanced = [None; GLANCED];
            for (found, seen) in glanced.iter_mut().zip(seen) {
                if let Some(sight) = &seen.sight {
                    *found = sight.find(&mut lane, first_shard);
                }
            }
            for (found, seen) in glanced.iter().zip(seen) {
                let at = seen.index as usize;
                let Some(packet) = job.block.packets.get(at) else {
                    continue;
                };
                if !options.keep_handshakes
                    && let Some(found) = found
                    && job.passes(&mut lane, found, (at, packet))
                {
                    continue;
                }
                // What goes to no shard was counted by the reader.
                let own = (&mut lane[..], first_shard);
                let _ = job.take((at, packet), own, datagrams::first, options, bench);
                if bench.records.len() >= RECORDS_AT_ONCE {
                    batch.fill(&mut bench.records, options);
                }
            }
        }
        batch.time_ns = job.time_ns;
        batch.kept.append(&mut bench.kept);
        batch.learn(&mut lane);
        for shard in &mut lane {
            self.shared.hand_names_over(shard, &job, &mut batch);
        }
        batch.fill(&mut bench.records, options);
        let progress = self.shared.progress.shards.iter().skip(first_shard);
        for (shard, held) in lane.iter().zip(progress) {
            held.update(shard);
        }
        // The last lane has the block for itself.
        let finished = Arc::into_inner(job);
        let mut board = lock(self.board);
        if let Some(job) = finished {
            board.spare_blocks.push((job.block, job.parts));
        }
        if let Some(slot) = board.lanes.get_mut(index) {
            *slot = Some(lane);
        }
        board.waiting.entry(number).or_default().push(batch);
        self.tell(&board);
        board
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP packet from 8080 to 443 in Ethernet with a VLAN tag, as fragments of its IP payload.
    fn frames(id: u16, sequence: u32, payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
        let mut tcp = vec![0x1f, 0x90, 0x01, 0xbb];
        tcp.extend(sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 0, 0x50, 0x18, 0, 0, 0, 0, 0, 0]);
        tcp.extend(payload);
        let ends = cuts.iter().copied().chain([tcp.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        starts
            .zip(ends)
            .map(|(start, end)| {
                let more = u16::from(end < tcp.len()) << 13;
                let place = more | (start / 8) as u16;
                let length = (20 + end - start) as u16;
                let mut frame = vec![2; 12];
                frame.extend([0x81, 0, 0, 7, 8, 0, 0x45, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend(id.to_be_bytes());
                frame.extend(place.to_be_bytes());
                frame.extend([64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
                frame.extend(&tcp[start..end]);
                frame
            })
            .collect()
    }

    fn client_hello() -> Vec<u8> {
        let name = b"fragments.example";
        let mut body = vec![3, 3];
        body.extend([0; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend([0, (name.len() + 9) as u8, 0, 0, 0, (name.len() + 5) as u8]);
        body.extend([0, (name.len() + 3) as u8, 0, 0, name.len() as u8]);
        body.extend(name);
        let mut message = vec![1, 0, 0, body.len() as u8];
        message.extend(body);
        let mut record = vec![22, 3, 1, 0, message.len() as u8];
        record.extend(message);
        record
    }

    fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([0, 0, 4, 0, 1, 0, 0, 0]);
        for (index, frame) in frames.iter().enumerate() {
            for field in [1, index as u32, frame.len() as u32, frame.len() as u32] {
                file.extend(field.to_le_bytes());
            }
            file.extend(frame);
        }
        file
    }

    fn run_over(name: &str, file: &[u8], threads: usize) -> (Vec<String>, Summary) {
        let path = std::env::temp_dir().join(format!("tlscope-{}-{name}", std::process::id()));
        std::fs::write(&path, file).unwrap();
        let options = Options {
            threads,
            limits: Limits {
                block_bytes: 256,
                ..Limits::default()
            },
            ..Options::default()
        };
        let mut records = Vec::new();
        let mut take = |taken: Taken<'_, &Handshake>| {
            records.push(format!("{:?}", taken.record));
            Ok(())
        };
        let result = run(
            &[Input::File(path.clone())],
            &options,
            &Progress::default(),
            &mut take,
        );
        std::fs::remove_file(path).unwrap();
        (records, result.unwrap().0)
    }

    #[test]
    fn fragmented_hellos_are_read_the_same_by_any_number_of_threads() {
        let hello = client_hello();
        let mut all = frames(1, 1, &hello, &[24, 48, 80]);
        // The last part first, over the small blocks' borders; a lone part at the end.
        all.rotate_right(1);
        all.extend(frames(2, 90_000, &[0; 100], &[64]).into_iter().skip(1));
        let (records, summary) = run_over("fragments", &pcap(&all), 1);
        assert_eq!(records.len(), 1);
        assert!(records[0].contains("fragments.example") && records[0].contains("vlan:7"));
        assert_eq!(summary.skipped.get("packets_ip_fragment"), Some(&1));
        for threads in [2, 4] {
            let again = run_over("fragments", &pcap(&all), threads);
            assert_eq!(
                (again.0, again.1.skipped),
                (records.clone(), summary.skipped.clone())
            );
        }
    }

    #[test]
    fn mirror_copies_are_no_retransmissions() {
        let hello = client_hello();
        let original = frames(1, 1, &hello, &[]);
        let mut copy = original.clone();
        copy[0][15] = 8;
        let mut again = frames(9, 1, &hello, &[]);
        let packets = |list: &[&Vec<Vec<u8>>]| -> Vec<Vec<u8>> {
            list.iter()
                .flat_map(|frames| frames.iter().cloned())
                .collect()
        };
        let with_copy = run_over("copy", &pcap(&packets(&[&original, &copy])), 1);
        assert_eq!(with_copy.1.skipped.get("packets_duplicate"), Some(&1));
        assert!(
            with_copy.0[0].contains(" retransmits: 0"),
            "{}",
            with_copy.0[0]
        );
        let repeated = run_over("again", &pcap(&packets(&[&original, &again])), 1);
        assert_eq!(repeated.1.skipped.get("packets_duplicate"), None);
        assert!(
            repeated.0[0].contains(" retransmits: 1"),
            "{}",
            repeated.0[0]
        );
        // Another VLAN with another identification is no copy.
        again[0][15] = 8;
        let moved = run_over("moved", &pcap(&packets(&[&original, &again])), 1);
        assert_eq!(moved.1.skipped.get("packets_duplicate"), None);
    }
}
