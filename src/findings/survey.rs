//! What surveys share: the traces, the groups that they fill, and which failures are explained already.
//!
//! Surveys run in the order of their table. One that finds the reason of a failure marks its traces, so that a later one
//! with a vaguer answer (`hello-reset`) leaves them alone.

use super::aside::Aside;
use super::baseline::Baseline;
use super::bridges::Bridges;
use super::groups::{Group, Groups, Subject, Value, through};
use super::history::PAIR_NOTABLE;
use super::past::Past;
use super::trace::Trace;
use super::{Settings, Verdict, entry};
use crate::record::{Evidence, Outcome, Severity, Side, Timestamp};
use hashbrown::HashSet;
use smallvec::SmallVec;
use std::{cell::OnceCell, collections::BTreeMap};

/// Equal connections at a regular interval that are taken for health probes.
const PROBES_MIN: usize = PAIR_NOTABLE;
/// Traces shown of each finding.
const EXAMPLES_MAX: usize = 4;

/// A survey's view: what was seen, and where to tell of it.
pub(super) struct Report<'r> {
    pub(super) past: &'r Past,
    /// What was said in clear.
    pub(super) aside: &'r Aside,
    /// What an earlier run showed.
    pub(super) baseline: &'r Baseline,
    pub(super) settings: &'r Settings,
    pub(super) groups: &'r mut Groups,
    /// By trace: its failure has a reason already.
    explained: Vec<bool>,
    /// By trace: it is a load balancer's health probe.
    probes: Vec<bool>,
    /// These, by pair and kind, with their interval in seconds.
    checks: Vec<(Vec<usize>, f64)>,
    /// Traces that offer less than their client can, since a try before them failed.
    fallen: HashSet<usize>,
    /// Looked up by the first survey that asks.
    bridges: OnceCell<Bridges>,
}

impl<'r> Report<'r> {
    pub(super) fn new(
        past: &'r Past,
        (aside, baseline): (&'r Aside, &'r Baseline),
        settings: &'r Settings,
        groups: &'r mut Groups,
    ) -> Self {
        let mut report = Self {
            explained: vec![false; past.len()],
            probes: vec![false; past.len()],
            checks: Vec::new(),
            fallen: HashSet::new(),
            bridges: OnceCell::new(),
            past,
            aside,
            baseline,
            settings,
            groups,
        };
        report.find_probes();
        report
    }

    /// The failure of these traces has its reason.
    pub(super) fn explain(&mut self, traces: &[usize]) {
        for index in traces {
            if let Some(slot) = self.explained.get_mut(*index) {
                *slot = true;
            }
        }
    }

    pub(super) fn is_explained(&self, index: usize) -> bool {
        self.explained.get(index).copied().unwrap_or(false)
    }

    /// These traces offer less than their client can: they are the lower rungs of a fallback.
    pub(super) fn fall_back(&mut self, traces: &[usize]) {
        self.fallen.extend(traces);
    }

    pub(super) fn falls_back(&self, index: usize) -> bool {
        self.fallen.contains(&index)
    }

    /// All that fall back.
    pub(super) fn fallen(&self) -> &HashSet<usize> {
        &self.fallen
    }

    /// Proxies that encrypt again.
    pub(super) fn bridges(&self) -> &Bridges {
        self.bridges.get_or_init(|| Bridges::of(self))
    }

    pub(super) fn is_probe(&self, index: usize) -> bool {
        self.probes.get(index).copied().unwrap_or(false)
    }

    /// The group of a finding that rests on something else than traces. `None` where it is left out, or at the cap.
    pub(super) fn open(
        &mut self,
        id: &'static str,
        verdict: Verdict,
        subject: Subject,
    ) -> Option<&mut Group> {
        let mut left_out = self.settings.leave_out.iter();
        if left_out.any(|left_out| left_out == id) {
            return None;
        }
        self.groups.open(entry(id)?, verdict, subject)
    }

    /// All further subjects of a finding are told as one, and that one says enough already: what is left is to count them.
    pub(super) fn is_further(&mut self, id: &'static str, verdict: Verdict) -> bool {
        self.groups.further(id, verdict).is_some()
    }

    /// Counts traces of subjects that were not told of before, if [`Report::is_further`]. For surveys with thousands of
    /// subjects: it spares their words.
    pub(super) fn count_further(&mut self, id: &'static str, verdict: Verdict, traces: &Counted) {
        let start = |index: usize| Some(self.past.trace(index)?.own.start);
        let span = traces
            .span
            .and_then(|(first, last)| Some((start(first)?, start(last)?)));
        if let Some((first, last)) = span
            && let Some(group) = self.groups.further(id, verdict)
        {
            group.count(traces.count, first, last);
        }
    }

    /// Makes or adds to a finding about `traces`; `contrast` are shown beside the first of them. `None` where the finding
    /// is left out, where there is no trace, at the cap, or where it says enough already.
    pub(super) fn tell(
        &mut self,
        id: &'static str,
        verdict: Verdict,
        subject: Subject,
        traces: &[usize],
        contrast: &[usize],
    ) -> Option<&mut Group> {
        let past = self.past;
        let (first, _) = span(past, traces)?;
        let group = self.tell_without_evidence(id, verdict, subject, traces)?;
        if group.wants(verdict.severity, first) {
            let shown = traces.iter().take(EXAMPLES_MAX - contrast.len().min(2));
            let evidence: Vec<Evidence> = shown
                .chain(contrast.iter().take(4))
                .filter_map(|index| Some(past.evidence(&past.trace(*index)?)))
                .collect();
            group.example(verdict.severity, first, evidence);
        }
        Some(group)
    }

    /// As [`Report::tell`], for surveys that write the evidence themselves.
    pub(super) fn tell_without_evidence(
        &mut self,
        id: &'static str,
        verdict: Verdict,
        subject: Subject,
        traces: &[usize],
    ) -> Option<&mut Group> {
        let past = self.past;
        let (first, last) = span(past, traces)?;
        let group = self.open(id, verdict, subject)?;
        group.count(traces.len() as u64, first, last);
        if group.is_described() {
            return None;
        }
        for client in traces.iter().filter_map(|index| past.client(*index)) {
            group.note_value("clients", Value::Ip(client));
        }
        note_kinds(past, traces, group);
        Some(group)
    }

    /// Health probes: one source, six or more in a row at a regular interval, no payload or a hello and then a close.
    fn find_probes(&mut self) {
        let past = self.past;
        for list in past.pairs.lists().filter(|list| list.len() >= PROBES_MIN) {
            // Equal ones: a check asks in the same way each time, by TCP alone or with one kind of hello.
            let mut hellos: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
            for (index, trace) in past.of(list).filter(|(_, trace)| looks_like_probe(trace)) {
                let hello = past.hello(&trace).map(|hello| hello.key);
                hellos.entry(hello).or_default().push(index);
            }
            for probes in hellos.into_values() {
                if let Some(interval) = interval(past, &probes) {
                    for index in &probes {
                        if let Some(slot) = self.probes.get_mut(*index) {
                            *slot = true;
                        }
                    }
                    self.checks.push((probes, interval));
                }
            }
        }
    }

    /// Probes by pair and kind, with their interval in seconds.
    pub(super) fn probes(&self) -> Vec<(Vec<usize>, f64)> {
        self.checks.clone()
    }
}

/// How many traces there are of something, and the first and the last of them.
#[derive(Debug, Default)]
pub(super) struct Counted {
    count: u64,
    span: Option<(usize, usize)>,
}

impl Counted {
    /// Adds so many from this one to that.
    pub(super) fn add(&mut self, count: u64, first: usize, last: usize) {
        self.count += count;
        let span = self.span.get_or_insert((first, last));
        *span = (first.min(span.0), last.max(span.1));
    }
}

impl Extend<usize> for Counted {
    fn extend<T: IntoIterator<Item = usize>>(&mut self, traces: T) {
        for index in traces {
            self.add(1, index, index);
        }
    }
}

/// Counts what the kinds of some traces say. Kinds are few, so that each is told once with how often it comes, and in the
/// order in which they come.
fn note_kinds(past: &Past, traces: &[usize], group: &mut Group) {
    const TOGETHER: usize = 16;
    let mut counts: SmallVec<[(u32, u64); TOGETHER]> = SmallVec::new();
    let mut tell = |counts: &mut SmallVec<[(u32, u64); TOGETHER]>| {
        for (number, count) in counts.drain(..) {
            let Some(kind) = past.kinds.get(number as usize) else {
                continue;
            };
            match past.name(&kind).filter(|_| kind.flags.tunnelled()) {
                Some(name) => {
                    let words = through(past.lang, name, kind.server);
                    group.note_many("server", &words, count);
                }
                None => group.note_values("server", Value::Endpoint(kind.server), count),
            }
            group.note_words("outcome", kind.outcome.as_str(), count);
            if let Some(name) = past.name(&kind) {
                group.note_many("name", name, count);
            }
            if let Some(offered) = kind.offer_max {
                group.note_words("offered", super::facts::version_name(offered), count);
            }
        }
    };
    for number in traces.iter().filter_map(|index| past.kind_of.get(*index)) {
        if let Some((_, count)) = counts.iter_mut().find(|(known, _)| known == number) {
            *count += 1;
            continue;
        }
        if counts.len() == TOGETHER {
            tell(&mut counts);
        }
        counts.push((*number, 1));
    }
    tell(&mut counts);
}

/// The first and the last time of some traces: these are numbered in order of time.
fn span(past: &Past, traces: &[usize]) -> Option<(Timestamp, Timestamp)> {
    let start = |index: usize| Some(past.trace(index)?.own.start);
    let (first, last) = (traces.iter().min()?, traces.iter().max()?);
    Some((start(*first)?, start(*last)?))
}

/// It is the prober that closes: a server that closes without a word has trouble.
fn looks_like_probe(trace: &Trace) -> bool {
    match trace.outcome {
        Outcome::NoClientHello => trace.own.closed_by != Some(Side::Server),
        Outcome::ClientAbort | Outcome::EstablishedThenClosed => true,
        _ => false,
    }
}

/// The interval in seconds of six or more that come regularly: its coefficient of variation is below a fifth.
fn interval(past: &Past, list: &[usize]) -> Option<f64> {
    let starts = past.of(list).map(|(_, trace)| trace.own.start);
    interval_of(&starts.collect::<Vec<_>>())
}

/// The same of times in their order.
pub(super) fn interval_of(starts: &[Timestamp]) -> Option<f64> {
    if starts.len() < PROBES_MIN {
        return None;
    }
    let gaps: Vec<f64> = starts
        .windows(2)
        .filter_map(|pair| Some(seconds(pair.get(1)?.0 - pair.first()?.0)))
        .collect();
    steady(&gaps).or_else(|| interval_with_losses(gaps))
}

/// The same where some are missing, since the capture lost packets of them: most gaps are one interval, and the others are
/// a few of them, which are not as wide as to be pauses.
fn interval_with_losses(mut gaps: Vec<f64>) -> Option<f64> {
    const LOST_MAX: f64 = 8.0;
    const TOLERANCE: f64 = 0.2;
    gaps.sort_unstable_by(f64::total_cmp);
    let median = *gaps.get((gaps.len() - 1) / 2)?;
    let singles = gaps.partition_point(|gap| *gap < 1.5 * median);
    let (single, several) = gaps.split_at(singles);
    let interval = steady(single).filter(|_| single.len() * 2 > gaps.len())?;
    let is_multiple = |gap: &f64| {
        let times = gap / interval;
        times < LOST_MAX && (times - times.round()).abs() < TOLERANCE
    };
    (single.len() + 1 >= PROBES_MIN && several.iter().all(is_multiple)).then_some(interval)
}

/// The mean of times that differ little.
#[allow(clippy::cast_precision_loss)] // of a few thousand
fn steady(gaps: &[f64]) -> Option<f64> {
    if gaps.is_empty() {
        return None;
    }
    let count = gaps.len() as f64;
    let mean = gaps.iter().sum::<f64>() / count;
    let spread = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
    (mean > 0.5 && spread.sqrt() / mean < 0.2).then_some(mean)
}

#[allow(clippy::cast_precision_loss)] // times of a capture, for a ratio
fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}

/// Traces of a list that fit.
pub(super) fn pick(
    report: &Report<'_>,
    list: &[usize],
    fits: impl Fn(usize, &Trace<'_>) -> bool,
) -> Vec<usize> {
    report
        .past
        .of(list)
        .filter(|(index, trace)| fits(*index, trace))
        .map(|(index, _)| index)
        .collect()
}

/// The worse of two severities by a condition.
pub(super) fn severity_if(error: bool) -> Severity {
    if error {
        Severity::Error
    } else {
        Severity::Warning
    }
}
