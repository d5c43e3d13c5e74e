//! Findings are judged in a thread of their own: that takes a moment, in which packets keep coming.
//!
//! Records wait in a bounded queue; if it is full, the pipe waits, and the kernel drops and counts.

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tlscope::{
    findings::{Standing, Verdicts},
    record::{Dns, Finding, Handshake},
};

/// Findings are judged this often at most, and so seldom that it takes one part in [`JUDGE_SHARE`] of the time.
const JUDGE_EVERY: Duration = Duration::from_secs(2);
const JUDGE_SHARE: u32 = 50;
/// Records that wait.
const WAITING_MAX: usize = 4096;

enum Message {
    Record(Box<Handshake>, Verdicts, i64),
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
    messages: Sender<Message>,
    news: Receiver<News>,
    thread: JoinHandle<Standing>,
}

impl Judge {
    /// Begins.
    pub(super) fn start(mut standing: Standing, worst_max: usize) -> Self {
        let (messages, inbox) = bounded(WAITING_MAX);
        let (outbox, news) = unbounded(); // bounded by what can change between two judgements
        let thread = thread::spawn(move || {
            let mut judge_at = Instant::now() + JUDGE_EVERY;
            for message in inbox {
                let now_ns = match message {
                    Message::Record(record, verdicts, now_ns) => {
                        standing.add(&record, &verdicts, now_ns);
                        now_ns
                    }
                    Message::Names(names, now_ns) => {
                        standing.add_dns(*names, now_ns);
                        now_ns
                    }
                    Message::Time(now_ns) => now_ns,
                };
                let begun = Instant::now();
                if begun < judge_at {
                    continue;
                }
                let findings = standing.judge(now_ns);
                judge_at = Instant::now() + (begun.elapsed() * JUDGE_SHARE).max(JUDGE_EVERY);
                let news = News {
                    findings,
                    counts: standing.counts(),
                    worst: if worst_max > 0 {
                        let worst = standing.findings().into_iter().take(worst_max);
                        worst.cloned().collect()
                    } else {
                        Vec::new()
                    },
                };
                if outbox.send(news).is_err() {
                    break;
                }
            }
            standing
        });
        Self {
            messages,
            news,
            thread,
        }
    }

    /// Hands a record over.
    pub(super) fn add(&self, record: Box<Handshake>, verdicts: Verdicts, now_ns: i64) {
        // It fails only if the thread is gone, which the end will show.
        let _ = self
            .messages
            .send(Message::Record(record, verdicts, now_ns));
    }

    /// Hands over what DNS told up to this time.
    pub(super) fn add_names(&self, names: Box<Dns>, now_ns: i64) {
        let _ = self.messages.send(Message::Names(names, now_ns)); // as above
    }

    /// Tells the time, without waiting.
    pub(super) fn tell(&self, now_ns: i64) {
        let _ = self.messages.try_send(Message::Time(now_ns)); // the next one will do
    }

    /// What it has to say.
    pub(super) fn news(&self) -> impl Iterator<Item = News> + '_ {
        self.news.try_iter()
    }

    /// All records are handed over: what it remembers.
    pub(super) fn finish(self) -> anyhow::Result<Standing> {
        drop(self.messages);
        let standing = self.thread.join();
        standing.map_err(|_| anyhow::anyhow!("the judging of findings broke off; this is a bug"))
    }
}
