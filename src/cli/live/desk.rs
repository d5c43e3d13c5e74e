//! What comes out of the pipe while interfaces are watched is dealt with here: records are written, findings judged from
//! time to time and told when they change, notices said, files rotated, metrics posted.

#[cfg(feature = "screen")]
use super::screen::{FINDINGS_MAX, Shown};
use super::{
    Args,
    judge::{Judge, News},
    lines::Lines,
    metrics::{Board, Posted},
    saved::Saved,
};
use crate::cli::{reporting, say};
use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tlscope::{
    capture::live::{Notice, Tell},
    findings::{Settings, Standing},
    keep::KeptPacket,
    pipeline::{Progress, Status, Taken, Watch},
    record::{Dns, Finding, FindingState, Handshake, Severity, Timestamp},
    report::Report,
    stats::Summary,
};

/// How often metrics are posted.
const POST_EVERY: Duration = Duration::from_millis(500);
/// Notices that wait to be said; more in so short a time are all alike.
const NOTICES_MAX: usize = 64;

/// Notices on their way from whoever watches to whoever speaks.
#[derive(Clone, Default)]
pub(super) struct Voice(Arc<Mutex<Vec<Notice>>>);

impl Voice {
    /// Where they come in.
    pub(super) fn tell(&self) -> Tell {
        let notices = Arc::clone(&self.0);
        Arc::new(move |notice| {
            let mut notices = notices.lock().unwrap_or_else(PoisonError::into_inner);
            if notices.len() < NOTICES_MAX {
                notices.push(notice);
            }
        })
    }

    fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes what comes out of the pipe.
pub(super) struct Desk<'a> {
    args: &'a Args,
    report: Box<dyn Report>,
    judge: Judge,
    /// What DNS told since the last tick.
    names: Option<Box<Dns>>,
    /// Errors, warnings, hints that stand.
    counts: [usize; 3],
    #[cfg(feature = "screen")]
    shown: Option<Shown>,
    voice: Voice,
    lines: Lines,
    saved: Option<Saved>,
    board: Arc<Board>,
    progress: Arc<Progress>,
    reopen: Arc<AtomicBool>,
    started: Instant,
    post_at: Instant,
    now_ns: i64,
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        args: &'a Args,
        settings: &Settings,
        voice: Voice,
        (lines, saved): (Lines, Option<Saved>),
        board: Arc<Board>,
        progress: Arc<Progress>,
        reopen: Arc<AtomicBool>,
    ) -> Self {
        #[cfg(feature = "screen")]
        let worst_max = if args.wants_screen() { FINDINGS_MAX } else { 0 };
        #[cfg(not(feature = "screen"))]
        let worst_max = 0;
        let window_ns = i64::try_from(args.window.as_nanos()).unwrap_or(i64::MAX);
        let now = Instant::now();
        Self {
            args,
            report: (args.format().new)(args.view(settings)),
            judge: Judge::start(Standing::new(settings, window_ns), worst_max),
            names: None,
            counts: [0; 3],
            #[cfg(feature = "screen")]
            shown: None,
            voice,
            lines,
            saved,
            board,
            progress,
            reopen,
            started: now,
            post_at: now,
            now_ns: 0,
        }
    }

    #[cfg(feature = "screen")]
    pub(super) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Everything is to be seen there from now on.
    #[cfg(feature = "screen")]
    pub(super) fn show(&mut self, shown: Shown) {
        self.shown = Some(shown);
    }

    fn say(&self, words: &str) {
        #[cfg(feature = "screen")]
        if let Some(shown) = &self.shown {
            return shown.notice(words);
        }
        say(words);
    }

    /// Writes what changed among the findings.
    fn news(&mut self) -> io::Result<()> {
        let news: Vec<News> = self.judge.news().collect();
        let as_text = !news.is_empty() && self.args.format().name == "text"; // asks the terminal
        for news in news {
            self.counts = news.counts;
            #[cfg(feature = "screen")]
            if let Some(shown) = &self.shown {
                shown.findings(news.worst);
                continue; // they are seen as they stand
            }
            let findings = news.findings;
            for finding in findings {
                if as_text {
                    writeln!(self.lines, "{}", headline(&finding, self.now_ns))?;
                } else {
                    self.report.news(&finding, &mut self.lines)?;
                }
            }
        }
        Ok(())
    }

    fn post(&mut self, summary: &Summary) {
        self.post_at = Instant::now() + POST_EVERY;
        self.board.post(Posted {
            by_outcome: summary.by_outcome.clone(),
            by_version: summary.by_version.clone(),
            findings: self.counts,
            lines_lost: self.lines.lost(),
            time_ns: self.now_ns,
        });
    }

    /// The last words. Gives the findings that stand.
    pub(super) fn finish(
        mut self,
        mut summary: Summary,
        elapsed: Duration,
    ) -> anyhow::Result<Vec<Finding>> {
        self.voice
            .take()
            .iter()
            .for_each(|notice| say(&notice.to_string()));
        if let Some(names) = summary.dns.take() {
            self.judge.add_names(names, self.now_ns);
        }
        let (diagnosis, dns) = self.judge.finish()?.finish();
        summary.dns = dns.map(Box::new);
        let findings = reporting::conclude(diagnosis, &mut summary);
        self.lines.flush()?; // what it loses is told in the summary
        summary.elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        env!("CARGO_PKG_VERSION").clone_into(&mut summary.version);
        if self.lines.lost() > 0 {
            summary
                .skipped
                .insert("lines_lost_disk_full".to_owned(), self.lines.lost());
        }
        if let Some(saved) = &mut self.saved {
            saved.flush()?;
            if saved.lost() > 0 {
                let lost = ("packets_lost_disk_full".to_owned(), saved.lost());
                summary.skipped.extend([lost]);
            }
        }
        let mut words = Vec::new();
        self.report.finish(&findings, &summary, &mut words)?;
        self.lines.end(&words)?;
        Ok(findings)
    }
}

impl Watch for Desk<'_> {
    fn record(&mut self, taken: Taken<'_>) -> io::Result<Option<Box<Handshake>>> {
        // Before the first tick no time was told; the record's own is as good.
        let now_ns = if self.now_ns == 0 {
            taken.record.end.0
        } else {
            self.now_ns
        };
        #[cfg(feature = "screen")]
        if let Some(shown) = self.shown.as_ref().filter(|_| taken.shown) {
            shown.record(&taken.record);
        }
        if taken.shown {
            self.report
                .record(&taken.record, taken.line, &mut self.lines)?;
        }
        self.judge.add(taken.record, taken.verdicts, now_ns);
        Ok(None)
    }

    fn keep(&mut self, kept: &KeptPacket) -> io::Result<()> {
        (self.saved.as_mut()).map_or(Ok(()), |saved| saved.packet(kept))
    }

    fn names(&mut self, names: Dns) {
        self.names.get_or_insert_default().merge(names);
    }

    fn tick(&mut self, status: &Status<'_>) -> io::Result<()> {
        self.now_ns = status.time_ns;
        if let Some(names) = self.names.take() {
            self.judge.add_names(names, self.now_ns);
        }
        for notice in self.voice.take() {
            self.say(&notice.to_string());
        }
        if self.reopen.swap(false, Ordering::SeqCst) {
            self.lines.reopen()?;
            if let Some(saved) = &mut self.saved {
                saved.reopen()?;
            }
        }
        self.judge.tell(self.now_ns);
        self.news()?;
        let now = Instant::now();
        if now >= self.post_at {
            self.post(status.summary);
        }
        let over = self
            .args
            .duration
            .is_some_and(|time| self.started.elapsed() >= time);
        if over {
            self.progress.stop.store(true, Ordering::SeqCst);
        }
        let now = Timestamp(status.time_ns);
        if let Some(saved) = &mut self.saved {
            saved.tick(now)?;
        }
        self.lines.tick(now)
    }
}

/// One line of a finding that changed, for people.
fn headline(finding: &Finding, now_ns: i64) -> String {
    let state = match finding.state {
        Some(FindingState::Changed) => "changed",
        Some(FindingState::Ended) => "ended",
        Some(FindingState::Begins) | None => "begins",
    };
    let severity = match finding.severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    };
    let Finding {
        title,
        subject,
        id,
        count,
        ..
    } = finding;
    let plural = if *count == 1 { "" } else { "s" };
    let line = format!(
        "{} {severity} {state}: {title}: {subject} ({count} handshake{plural}) [{id}]",
        Timestamp(now_ns)
    );
    tlscope::report::sanitize::clean_lines(&line).into_owned()
}
