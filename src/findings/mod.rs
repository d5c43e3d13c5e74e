//! Stage 7: records become findings: what is wrong, who is affected, what to do.
//!
//! [`RULES`] are pure functions over one handshake: they mark the record ([`judge`]) and are rolled up here, so that
//! thousands of handshakes with one cause at one server are one finding. Surveys look at many handshakes at the end
//! ([`Diagnosis`]). Both read records only, never packets, so that saved records can be diagnosed again. A finding never
//! guesses: it is *certain* where bytes prove it, *likely* where the pattern has few other causes, *possible* as a hint;
//! what the capture could not show raises nothing. One file per group of findings; the words stand in `text/`.

mod aside;
mod backend;
mod baseline;
mod binding;
mod bridges;
mod certificate;
mod clear_legs;
mod dialogue;
mod dropped;
mod facts;
mod failures;
mod fallback;
mod farm;
mod farm_certificates;
mod groups;
mod history;
mod hosts;
mod http2;
mod hygiene;
mod interception;
mod intern;
mod inventory;
mod late;
mod lists;
mod marks;
mod mixed;
mod name_match;
mod names;
mod near;
mod negotiation;
mod no_common;
mod offload;
mod pairs;
mod past;
mod path;
mod pmtu;
mod proxy;
mod quality;
mod reach;
mod refused;
mod renewed;
mod resolved;
mod revocation;
mod server_name;
mod settings;
mod shelf;
mod sign_in;
mod signatures;
mod stack;
mod standing;
mod stuck;
mod survey;
#[cfg(test)]
mod testing;
mod text;
mod trace;
mod version;
mod when;

pub use baseline::Baseline;
pub use settings::{Farm, Member, ProxyLegs, Settings, TLS_PORTS};
pub use standing::{Judged, Snapshot, Standing};
pub use text::{Lang, explain, title};

use crate::record::{Confidence, Dns, Finding, Handshake, Scope, Severity};
use aside::Aside;
use facts::{Facts, Known};
use groups::{Groups, Sheet, Subject};
use hashbrown::HashMap;
use history::History;
use smallvec::SmallVec;
use std::sync::LazyLock;
use survey::Report;
use when::{When, asked_of};

/// What is promised about a finding: its stable id, the severity that it has at its worst cause, what it speaks about,
/// and the document that says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stable name, such as `h2-blocklisted-cipher`.
    pub id: &'static str,
    /// Its usual severity; a hit may be more or less severe.
    pub severity: Severity,
    /// What it speaks about.
    pub scope: Scope,
    /// RFC or vendor document.
    pub reference: &'static str,
}

impl Entry {
    const fn new(
        id: &'static str,
        severity: Severity,
        scope: Scope,
        reference: &'static str,
    ) -> Self {
        Self {
            id,
            severity,
            scope,
            reference,
        }
    }
}

/// One handshake's answer to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    severity: Severity,
    confidence: Confidence,
    /// Which reason, where the texts tell several apart; else empty.
    cause: &'static str,
}

impl Verdict {
    const fn new(severity: Severity, confidence: Confidence, cause: &'static str) -> Self {
        Self {
            severity,
            confidence,
            cause,
        }
    }
}

/// A finding that one handshake decides.
#[derive(Debug)]
pub struct Rule {
    /// What is promised about it.
    pub entry: Entry,
    /// Of which handshakes it is asked.
    when: When,
    /// Whether it fires, and how; cheap, since it runs for each handshake.
    judge: Judge,
    /// How hits become findings.
    told: Told,
}

type Judge = fn(&Facts<'_>, &Settings) -> Option<Verdict>;
type SubjectOf = fn(&Facts<'_>, Verdict) -> Subject;
type Describe = fn(&Facts<'_>, Verdict, &mut Sheet<'_>);

impl Rule {
    const fn new(entry: Entry, judge: Judge, subject: SubjectOf, describe: Describe) -> Self {
        Self {
            entry,
            when: When::ALWAYS,
            judge,
            told: Told::ByRule { subject, describe },
        }
    }

    /// Asked of some handshakes only.
    const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    const fn told_by_survey(entry: Entry, judge: Judge) -> Self {
        Self {
            entry,
            when: When::ALWAYS,
            judge,
            told: Told::BySurvey,
        }
    }
}

/// A finding that needs many handshakes.
pub struct Survey {
    /// What is promised about the findings that it makes, besides those of [`RULES`].
    pub entries: &'static [Entry],
    /// Looks at everything that was seen.
    run: fn(&mut Report<'_>),
}

/// Who turns hits into findings.
#[derive(Debug)]
enum Told {
    /// A survey, which knows what else happened.
    BySurvey,
    /// The rule: hits are grouped by subject.
    ByRule {
        subject: SubjectOf,
        describe: Describe,
    },
}

/// The rules, one table per group of findings.
pub static RULES: &[&[Rule]] = &[
    http2::RULES,
    version::RULES,
    fallback::RULES,
    negotiation::RULES,
    late::RULES,
    failures::RULES,
    server_name::RULES,
    names::RULES,
    certificate::RULES,
    hygiene::RULES,
    sign_in::RULES,
    dialogue::RULES,
    path::RULES,
    pmtu::RULES,
];

/// The surveys in the order in which they run: those that explain a failure before those that only state it.
pub static SURVEYS: &[&[Survey]] = &[
    fallback::SURVEYS,
    server_name::SURVEYS,
    names::SURVEYS,
    dropped::SURVEYS,
    backend::SURVEYS,
    refused::TOLD,
    no_common::SURVEYS,
    signatures::SURVEYS,
    refused::SURVEYS,
    failures::SURVEYS,
    late::SURVEYS,
    farm::SURVEYS,
    farm_certificates::SURVEYS,
    baseline::SURVEYS,
    proxy::SURVEYS,
    offload::SURVEYS,
    clear_legs::SURVEYS,
    sign_in::SURVEYS,
    dialogue::SURVEYS,
    inventory::SURVEYS,
    quality::SURVEYS,
    path::SURVEYS,
    revocation::SURVEYS,
    reach::SURVEYS,
];

fn surveys() -> impl Iterator<Item = &'static Survey> {
    SURVEYS.iter().flat_map(|group| group.iter())
}

fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().flat_map(|group| group.iter())
}

/// All findings that can be made, in the order of their groups.
pub fn catalogue() -> impl Iterator<Item = &'static Entry> {
    rules()
        .map(|rule| &rule.entry)
        .chain(surveys().flat_map(|survey| survey.entries))
}

/// The entry of this id.
fn entry(id: &str) -> Option<&'static Entry> {
    static BY_ID: LazyLock<HashMap<&str, &Entry>> =
        LazyLock::new(|| catalogue().map(|entry| (entry.id, entry)).collect());
    BY_ID.get(id).copied()
}

/// What the rules said of one record: the hits, and what they had read of it.
#[derive(Debug)]
pub struct Verdicts {
    /// Mostly none, seldom more than two.
    fired: SmallVec<[(&'static Rule, Verdict); 2]>,
    known: Known,
}

impl Verdicts {
    /// Pure; allocates only where a rule fires.
    fn of(record: &Handshake, settings: &Settings) -> Self {
        let known = Known::of(record);
        let facts = Facts::known(record, known);
        let mut fired = SmallVec::new();
        let asked = asked_of(&facts);
        debug_assert!(
            asked
                .others()
                .all(|rule| (rule.judge)(&facts, settings).is_none())
        );
        for rule in asked {
            if let Some(verdict) = (rule.judge)(&facts, settings)
                && !is_left_out(&rule.entry, settings)
            {
                fired.push((rule, verdict));
            }
        }
        Self { fired, known }
    }

    /// The first one with this cause.
    fn of_cause(&self, cause: &str) -> Option<Verdict> {
        let mut fired = self.fired.iter();
        let found = fired.find(|(_, verdict)| verdict.cause == cause);
        found.map(|(_, verdict)| *verdict)
    }
}

/// Marks a record with the ids of the rules that fire on it, and hands back what they said.
pub fn judge(record: &mut Handshake, settings: &Settings) -> Verdicts {
    let verdicts = Verdicts::of(record, settings);
    record.findings.clear();
    let ids = verdicts.fired.iter().map(|(rule, _)| rule.entry.id.into());
    record.findings.extend(ids);
    verdicts
}

fn is_left_out(entry: &Entry, settings: &Settings) -> bool {
    settings.leave_out.iter().any(|id| id == entry.id)
}

/// Folds records into findings. The state is bounded by [`Settings::groups_max`] and [`Settings::history_bytes_max`].
pub struct Diagnosis {
    settings: Settings,
    groups: Groups,
    history: History,
    dns: Dns,
    aside: Aside,
    baseline: Baseline,
    /// Connections are still under way.
    is_under_way: bool,
}

impl Diagnosis {
    /// An empty diagnosis.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            groups: Groups::new(settings),
            history: History::new(settings),
            dns: Dns::default(),
            aside: Aside::new(settings),
            baseline: Baseline::default(),
            is_under_way: false,
        }
    }

    /// Takes what DNS told, as [`Summary::dns`](crate::stats::Summary::dns) has it; in place of what it took before.
    pub fn dns(&mut self, dns: &Dns) {
        self.dns = dns.clone();
    }

    /// Compares with what an earlier run showed.
    pub fn compare_with(&mut self, baseline: &Baseline) {
        self.baseline = baseline.clone();
    }

    /// Takes one record in; what [`judge`] wrote into it is not needed.
    pub fn add(&mut self, record: &Handshake) {
        let verdicts = Verdicts::of(record, &self.settings);
        self.add_judged(record, &verdicts);
    }

    /// Takes one record in, with what [`judge`] said of it under the same settings.
    pub fn add_judged(&mut self, record: &Handshake, verdicts: &Verdicts) {
        let facts = Facts::known(record, verdicts.known);
        self.history.add(&facts);
        if self.aside.add(&facts, verdicts, &self.settings) {
            self.history.leave(self.aside.bytes());
        }
        for (rule, verdict) in &verdicts.fired {
            match &rule.told {
                Told::BySurvey => {}
                Told::ByRule { subject, describe } => self.groups.hit(
                    &rule.entry,
                    *verdict,
                    subject(&facts, *verdict),
                    (&record.capture, record.start),
                    |sheet| {
                        describe(&facts, *verdict, sheet);
                        quality::tell_lacks(&facts, *verdict, sheet);
                    },
                ),
            }
        }
    }

    /// Hits for which there was no room under [`Settings::groups_max`], as far as records alone made them.
    #[must_use]
    pub fn hits_beyond_cap(&self) -> u64 {
        self.groups.beyond
    }

    /// Handshakes, and what connections said in clear, that surveys had to forget under [`Settings::history_bytes_max`].
    #[must_use]
    pub fn handshakes_forgotten(&self) -> u64 {
        self.history.forgotten + self.aside.forgotten()
    }

    /// The findings, worst first, then by count, then by subject: the same records give the same list.
    #[must_use]
    pub fn finish(self) -> Vec<Finding> {
        self.surveyed(Groups::finish)
    }

    fn finish_keyed(self) -> Vec<(Box<str>, Finding)> {
        self.surveyed(Groups::finish_keyed)
    }

    /// Runs the surveys, and then what makes findings of the groups.
    fn surveyed<T>(self, finish: impl FnOnce(Groups, &Settings) -> T) -> T {
        let Self {
            settings,
            mut groups,
            history,
            dns,
            mut aside,
            baseline,
            is_under_way,
        } = self;
        aside.sort();
        let mut past = history.past(settings.lang, dns);
        past.is_under_way = is_under_way;
        let mut report = Report::new(&past, (&aside, &baseline), &settings, &mut groups);
        for survey in surveys() {
            (survey.run)(&mut report);
        }
        finish(groups, &settings)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Make, diagnose, diagnose_with, ids};
    use super::*;
    use std::collections::BTreeSet;

    fn reset(n: i64) -> Make {
        Make::new()
            .client(&format!("10.1.{}.{}", n / 200, n % 200))
            .outcome(crate::record::Outcome::HelloReset)
            .at(n)
    }

    #[test]
    fn the_order_of_records_does_not_matter() {
        let mut made: Vec<Make> = (0..20).map(reset).collect();
        made.extend((0..9).map(|n| Make::new().offer(0x0301).answer(0x0301, 0x0005).at(n)));
        let forwards = diagnose(&made);
        made.reverse();
        assert_eq!(forwards, diagnose(&made));
        assert!(forwards.is_sorted_by(|a, b| a.severity >= b.severity));
    }

    #[test]
    fn state_is_capped_and_what_is_beyond_is_counted() {
        let settings = Settings {
            groups_max: 4,
            history_bytes_max: 100 * history::TRACE_BYTES,
            ..Settings::default()
        };
        let mut diagnosis = Diagnosis::new(&settings);
        for n in 0..500 {
            let old = reset(n).offer(0x0301).answer(0x0301, 0x0005);
            diagnosis.add(&old.record);
        }
        diagnosis.history.settle();
        // Some of the room is for what they have in common.
        let held = diagnosis.history.len();
        assert!((30..100).contains(&held), "{held}");
        assert_eq!(diagnosis.handshakes_forgotten(), 500 - held as u64);
        assert!(diagnosis.hits_beyond_cap() > 0);
        assert_eq!(diagnosis.finish().len(), 4);
        assert!(size_of::<trace::Own>() + size_of::<trace::Sort>() <= 256);
    }

    #[test]
    fn incomplete_captures_raise_no_failure() {
        use crate::record::{Defect, Outcome};
        for outcome in Outcome::ALL {
            for defect in [Defect::OneDirection, Defect::Gap, Defect::MidStream] {
                let mut made = Make::new().outcome(outcome).lasts_ms(60_000);
                made.record.defects.push(defect);
                assert!(ids(&mut made).is_empty(), "{outcome:?} {defect:?}");
                let found = diagnose(&[made]);
                assert!(found.iter().all(|finding| finding.id == "capture-quality"));
            }
        }
    }

    #[test]
    fn a_healthy_handshake_raises_nothing() {
        let healthy = [
            Make::new().answer(0x0303, 0xc02f),
            Make::new().tls13().answer(0x0304, 0x1301),
        ];
        for mut made in healthy {
            assert!(ids(&mut made).is_empty());
            assert!(diagnose(&[made]).is_empty());
        }
    }

    #[test]
    fn what_is_not_wanted_is_left_out() {
        let settings = Settings {
            leave_out: vec!["hello-reset".to_owned()],
            ..Settings::default()
        };
        let mut made = reset(1);
        judge(&mut made.record, &settings);
        assert!(made.record.findings.is_empty());
        assert!(diagnose_with(&[made], &settings).is_empty());
    }

    #[test]
    fn findings_can_be_told_in_japanese() {
        let settings = Settings {
            lang: Lang::Ja,
            ..Settings::default()
        };
        let found = diagnose_with(&[reset(1)], &settings);
        assert!(found[0].title.contains("ClientHello の直後"));
        assert_eq!(found[0].id, "hello-reset");
    }

    #[test]
    fn ids_are_unique() {
        let mut seen = BTreeSet::new();
        for entry in catalogue() {
            assert!(seen.insert(entry.id), "{}", entry.id);
        }
    }
}
