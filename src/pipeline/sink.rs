//! The end of the pipe: records are judged and rendered where they were made, and leave in the order of packets.

use super::{Options, Shared, Status, Taken, Watch};
use crate::connection::Finished;
use crate::findings::{self, Verdicts};
use crate::keep::KeptPacket;
use crate::record::{Dns, EchAnswer, EchAnswers, Handshake, Outcome};
use crate::shard::{Bench, Shard};
use crate::stats::Summary;
use std::{collections::HashSet, io, net::IpAddr, ops::Range, sync::atomic::Ordering};

/// Records of a batch that go back to the thread that made them. Of a flood that ends at once, more would wait there.
const SPENT_MAX: usize = 256;

/// Records of one block, with what was rendered of them.
#[derive(Default)]
pub(super) struct Batch {
    records: Vec<Ready>,
    lines: Vec<u8>,
    /// Packets of handshakes, where they are to be kept.
    pub(super) kept: Vec<KeptPacket>,
    /// What clients were told of Encrypted ClientHello, by packet.
    pub(super) ech: Vec<(u64, EchAnswer)>,
    /// What DNS told, where that is handed over.
    pub(super) names: Vec<Dns>,
    /// About the time of the block's packets.
    pub(super) time_ns: i64,
    /// The thread that fills it.
    pub(super) thread: usize,
    /// Records of it that nobody kept, as they came: to take them out of their boxes would copy each.
    #[allow(clippy::vec_box)]
    spent: Vec<Box<Handshake>>,
}

/// A record that is judged and rendered.
struct Ready {
    finished: Finished,
    verdicts: Verdicts,
    /// Its line among the batch's; empty where it will probably not be shown.
    line: Range<usize>,
}

impl Batch {
    /// To be filled by this thread, which made the records that come back here.
    pub(super) fn of(mut self, thread: usize, bench: &mut Bench) -> Self {
        self.thread = thread;
        self.give_back(bench);
        self
    }

    /// The records that nobody kept go back to where they were made.
    pub(super) fn give_back(&mut self, bench: &mut Bench) {
        for record in self.spent.drain(..) {
            bench.take_back(record);
        }
    }

    /// Takes what clients of these shards were told.
    pub(super) fn learn(&mut self, shards: &mut [Shard]) {
        for shard in shards {
            self.ech.append(&mut shard.dns.ech);
        }
    }

    /// Judges and renders records, and puts them in order; those that will probably not be shown are not rendered.
    pub(super) fn fill(&mut self, records: &mut Vec<Finished>, options: &Options) {
        let filled = self.records.len();
        for mut finished in records.drain(..) {
            let verdicts = findings::judge(&mut finished.record, &options.settings);
            self.records.push(Ready {
                finished,
                verdicts,
                line: 0..0,
            });
        }
        if let Some(render) = options.render {
            for Ready { finished, line, .. } in self.records.iter_mut().skip(filled) {
                let start = self.lines.len();
                if finished.tls || options.is_shown_by_port(&finished.record) {
                    render(&finished.record, &mut self.lines);
                }
                *line = start..self.lines.len();
            }
        }
        self.records
            .sort_unstable_by_key(|ready| ready.finished.order);
    }
}

/// The end of the pipe.
pub(super) struct Sink<'a, 't> {
    shared: Shared<'a>,
    watcher: &'t mut dyn Watch,
    pub(super) summary: Summary,
    /// Server endpoints that spoke TLS.
    tls_endpoints: HashSet<(IpAddr, u16), foldhash::fast::RandomState>,
    pub(super) not_shown: u64,
    /// What clients were told of Encrypted ClientHello: their questions and their hellos are in different shards.
    pub(super) ech: EchAnswers,
}

impl<'a, 't> Sink<'a, 't> {
    pub(super) fn new(shared: Shared<'a>, watcher: &'t mut dyn Watch) -> Self {
        Self {
            shared,
            watcher,
            summary: Summary::default(),
            tls_endpoints: HashSet::default(),
            not_shown: 0,
            ech: EchAnswers::default(),
        }
    }

    /// All records up to `time_ns` are out.
    pub(super) fn tick(&mut self, time_ns: i64) -> io::Result<()> {
        self.watcher.tick(&Status {
            time_ns,
            summary: &self.summary,
        })
    }

    /// Merges the shards' batches of one block by the packets that completed the records.
    pub(super) fn emit(&mut self, batches: &mut [Batch]) -> io::Result<()> {
        self.learn(batches);
        let result = match batches {
            [batch] => {
                let lines = &batch.lines;
                let spent = &mut batch.spent;
                (batch.records.drain(..)).try_for_each(|ready| {
                    let freed = self.one(ready, lines)?;
                    if spent.len() < SPENT_MAX {
                        spent.extend(freed);
                    }
                    Ok(())
                })
            }
            _ => self.merge(batches),
        };
        for batch in &mut *batches {
            batch.lines.clear();
            batch
                .names
                .drain(..)
                .for_each(|names| self.watcher.names(names));
        }
        result.and_then(|()| self.keep(batches))
    }

    /// Learns what clients were told, in the order of packets.
    fn learn(&mut self, batches: &mut [Batch]) {
        if batches.iter().all(|batch| batch.ech.is_empty()) {
            return;
        }
        let all = batches.iter_mut().flat_map(|batch| batch.ech.drain(..));
        let mut all: Vec<(u64, EchAnswer)> = all.collect();
        all.sort_by_key(|(order, _)| *order);
        let names_max = self.shared.options.limits.dns_lookups_max;
        for (_, answer) in all {
            self.ech.learn(answer, names_max);
        }
    }

    /// Hands on the packets that are to be kept.
    fn keep(&mut self, batches: &mut [Batch]) -> io::Result<()> {
        if batches.iter().all(|batch| batch.kept.is_empty()) {
            return Ok(());
        }
        let all = batches.iter_mut().flat_map(|batch| batch.kept.drain(..));
        let mut all: Vec<KeptPacket> = all.collect();
        all.sort_unstable_by_key(|kept| kept.order);
        all.iter().try_for_each(|kept| self.watcher.keep(kept))
    }

    fn merge(&mut self, batches: &mut [Batch]) -> io::Result<()> {
        let mut sources: Vec<_> = batches
            .iter_mut()
            .map(|batch| {
                let records = batch.records.drain(..).peekable();
                (records, &batch.lines, &mut batch.spent)
            })
            .collect();
        // A block has few records and there are few shards: the least of their heads is found by looking at each.
        while let Some((_, at)) = sources
            .iter_mut()
            .enumerate()
            .filter_map(|(at, (records, ..))| Some((records.peek()?.finished.order, at)))
            .min()
        {
            let Some((records, lines, spent)) = sources.get_mut(at) else {
                break;
            };
            if let Some(ready) = records.next() {
                let freed = self.one(ready, lines)?;
                if spent.len() < SPENT_MAX {
                    spent.extend(freed);
                }
            }
        }
        Ok(())
    }

    /// Hands a record on; it comes back if nobody kept it.
    fn one(&mut self, ready: Ready, lines: &[u8]) -> io::Result<Option<Box<Handshake>>> {
        let Ready {
            mut finished,
            verdicts,
            mut line,
        } = ready;
        if self.ech.infer(&mut finished.record) {
            // Rendered without it.
            line = 0..0;
        }
        let options = self.shared.options;
        let server = (finished.record.server.ip, finished.record.server.port);
        if finished.tls && self.tls_endpoints.len() < options.limits.tls_endpoints_max {
            self.tls_endpoints.insert(server);
        }
        let shown = finished.tls
            || options.is_shown_by_port(&finished.record)
            || (self.tls_endpoints.contains(&server)
                && finished.record.outcome != Outcome::Truncated);
        let mut line = lines.get(line).unwrap_or(&[]);
        let mut late = Vec::new();
        if shown {
            if line.is_empty()
                && let Some(render) = options.render
            {
                render(&finished.record, &mut late);
                line = &late;
            }
            self.count(&finished.record);
        } else {
            self.not_shown += 1;
        }
        self.watcher.record(Taken {
            record: finished.record,
            verdicts,
            line,
            shown,
        })
    }

    fn count(&mut self, record: &Handshake) {
        self.summary.count(record);
        self.shared
            .progress
            .handshakes
            .store(self.summary.handshakes, Ordering::Relaxed);
    }
}
