//! Findings are judged in threads of their own, for that takes a moment in which packets keep coming: one keeps what is
//! remembered, and from time to time hands a snapshot of it to the other one, which looks for what is wrong.
//!
//! Records wait in a bounded queue; if it is full, the pipe waits, and the kernel drops and counts. They are handed over some
//! at a time, for each hand-over wakes a thread.

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tlscope::{
    findings::{Judged, Snapshot, Standing, Verdicts},
    record::{Dns, Finding, Handshake},
};

/// Findings are judged this often at most, and so seldom that it takes one part in [`JUDGE_SHARE`] of the time.
const JUDGE_EVERY: Duration = Duration::from_secs(2);
const JUDGE_SHARE: u32 = 50;
/// Records that wait, and those that are handed over together.
const WAITING_MAX: usize = 4096;
const GATHERED_MAX: usize = 64;
/// Longest time for which they are gathered.
const TELL_EVERY: Duration = Duration::from_millis(100);

enum Message {
    Records(Vec<(Box<Handshake>, Verdicts)>, i64),
    Names(Box<Dns>, i64),
    Time(i64),
}

/// What a judgement brought.
pub(super) struct News {
    /// Verdicts that begin, changed or ended.
    pub(super) findings: Vec<Finding>,
    /// Errors, warnings and hints that stand.
    pub(super) counts: [usize; 3],
    /// The worst of what stands, as many as were asked for: only the screen shows them all the time.
    #[cfg_attr(not(feature = "screen"), allow(dead_code))]
    pub(super) worst: Vec<Finding>,
}

/// The thread, from outside.
pub(super) struct Judge {
    gathered: Vec<(Box<Handshake>, Verdicts)>,
    /// The last time that was told, by the clock of records and by ours.
    told_ns: i64,
    told: Instant,
    messages: Sender<Message>,
    news: Receiver<News>,
    /// `None` where the judging broke off.
    thread: JoinHandle<Option<Standing>>,
}

impl Judge {
    /// Begins.
    pub(super) fn start(standing: Standing, worst_max: usize) -> Self {
        let (messages, inbox) = bounded(WAITING_MAX / GATHERED_MAX);
        let (outbox, news) = unbounded(); // bounded by what can change between two judgements
        let thread = thread::spawn(move || {
            let mut keeper = Keeper {
                standing,
                worst_max,
                court: Court::open(),
                judge_at: Instant::now() + JUDGE_EVERY,
                asked: None,
            };
            for message in inbox {
                let now_ns = keeper.take(message);
                match keeper.judge(now_ns) {
                    Ok(Some(news)) => drop(outbox.send(news)), // nobody listens any more at the end
                    Ok(None) => {}
                    Err(BrokeOff) => return None,
                }
            }
            Some(keeper.standing)
        });
        Self {
            gathered: Vec::new(),
            told_ns: i64::MIN,
            told: Instant::now(),
            messages,
            news,
            thread,
        }
    }

    /// Takes a record.
    pub(super) fn add(&mut self, record: Box<Handshake>, verdicts: Verdicts, now_ns: i64) {
        self.gathered.push((record, verdicts));
        self.told_ns = now_ns;
        if self.gathered.len() >= GATHERED_MAX {
            self.hand_over();
        }
    }

    /// Hands what was gathered over.
    fn hand_over(&mut self) {
        let records = std::mem::take(&mut self.gathered);
        // It fails only if the thread is gone, which the end will show.
        let _ = self.messages.send(Message::Records(records, self.told_ns));
    }

    /// Hands over what DNS told up to this time.
    pub(super) fn add_names(&self, names: Box<Dns>, now_ns: i64) {
        let _ = self.messages.send(Message::Names(names, now_ns)); // as above
    }

    /// Tells the time.
    pub(super) fn tell(&mut self, now_ns: i64) {
        self.told_ns = now_ns;
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        if self.gathered.is_empty() {
            let _ = self.messages.try_send(Message::Time(now_ns)); // the next one will do
        } else {
            self.hand_over();
        }
    }

    /// What it has to say.
    pub(super) fn news(&self) -> impl Iterator<Item = News> + '_ {
        self.news.try_iter()
    }

    /// All records are handed over: what it remembers.
    pub(super) fn finish(mut self) -> anyhow::Result<Standing> {
        self.hand_over();
        drop(self.messages);
        let standing = self.thread.join().ok().flatten();
        standing.context("the judging of findings broke off; this is a bug")
    }
}

/// The thread that judges is gone, which only a bug can do.
struct BrokeOff;

/// What is remembered, and when it is to be judged.
struct Keeper {
    standing: Standing,
    worst_max: usize,
    court: Court,
    judge_at: Instant,
    /// Since when a snapshot is being judged.
    asked: Option<Instant>,
}

impl Keeper {
    fn take(&mut self, message: Message) -> i64 {
        match message {
            Message::Records(records, now_ns) => {
                for (record, verdicts) in records {
                    self.standing.add(&record, &verdicts, now_ns);
                }
                now_ns
            }
            Message::Names(names, now_ns) => {
                self.standing.add_dns(*names, now_ns);
                now_ns
            }
            Message::Time(now_ns) => now_ns,
        }
    }

    /// Goes on with the judging, without waiting.
    fn judge(&mut self, now_ns: i64) -> Result<Option<News>, BrokeOff> {
        let judged = if let Some(asked) = self.asked {
            let judged = match self.court.judged.try_recv() {
                Ok(judged) => judged,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(BrokeOff),
            };
            self.asked = None;
            self.judge_at = Instant::now() + (asked.elapsed() * JUDGE_SHARE).max(JUDGE_EVERY);
            Some(judged)
        } else {
            let now = Instant::now();
            if now < self.judge_at {
                return Ok(None);
            }
            if let Some(snapshot) = self.standing.snapshot(now_ns) {
                self.asked = Some(now);
                let sent = self.court.snapshots.send(snapshot);
                return sent.map(|()| None).map_err(|_| BrokeOff);
            }
            self.judge_at = now + JUDGE_EVERY;
            None
        };
        let findings = self.standing.take(judged, now_ns);
        let worst = if self.worst_max > 0 {
            let worst = self.standing.findings().into_iter().take(self.worst_max);
            worst.cloned().collect()
        } else {
            Vec::new()
        };
        Ok(Some(News {
            findings,
            counts: self.standing.counts(),
            worst,
        }))
    }
}

/// The thread that judges snapshots, one at a time.
struct Court {
    snapshots: Sender<Snapshot>,
    judged: Receiver<Judged>,
}

impl Court {
    fn open() -> Self {
        let (snapshots, inbox) = bounded::<Snapshot>(1);
        let (outbox, judged) = bounded(1);
        thread::spawn(move || {
            for snapshot in inbox {
                if outbox.send(snapshot.judge()).is_err() {
                    break;
                }
            }
        });
        Self { snapshots, judged }
    }
}
