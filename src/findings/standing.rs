//! Findings over time: what stands now, and when that changes.
//!
//! Records go into panes, each an own [`Diagnosis`] of a part of the window. To judge, the panes are put together; the
//! oldest one goes when it has left the window. So memory is bounded by the window's caps, whatever passes in weeks.
//!
//! A verdict speaks when it begins, when it becomes worse or ten times larger, and when it ended: not once per handshake.
//! One that comes and goes does so quietly for [`HOLD_NS`], and nothing is said of one verdict more often than that.

use super::{Diagnosis, Settings, Verdicts};
use crate::record::{Dns, DnsClients, Finding, FindingState, Handshake, Severity, Timestamp};
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Parts of a window.
const PANES: i64 = 8;
/// A verdict that is gone ended only after this long; changes are told no more often.
const HOLD_NS: i64 = 60_000_000_000;
/// Clocks of several interfaces differ by less; one that goes back further was set.
const SET_BACK_NS: i64 = 60_000_000_000;
/// DNS lookups that a pane remembers, about 500 bytes each; the failed ones and the first ones stay.
const LOOKUPS_MAX: usize = Dns::LOOKUPS_MAX / PANES as usize;
/// Handshakes more than when it was last told that make a change.
const GROWTH: u64 = 10;

/// What stands now.
pub struct Standing {
    settings: Settings,
    /// Those of each pane.
    pane_settings: Settings,
    pane_ns: i64,
    panes: VecDeque<Pane>,
    told: HashMap<Box<str>, Told>,
    /// Snapshots that were judged.
    judgements: u64,
    /// Clients that ask DNS; how steadily shows over several panes.
    clients: DnsClients,
    /// Numbers of the DNS that has left the window.
    past_dns: Dns,
    /// Up to when DNS is known.
    dns_until_ns: i64,
    /// Something came or went since it was last judged.
    is_stale: bool,
    /// The latest time that was told.
    now_ns: i64,
}

struct Pane {
    begins_ns: i64,
    diagnosis: Diagnosis,
}

/// A verdict that was told.
struct Told {
    finding: Finding,
    severity: Severity,
    count: u64,
    /// When something was last said of it.
    said_ns: i64,
    /// The last judgement that found it.
    seen: u64,
    /// Since when it is not there.
    absent_since_ns: Option<i64>,
}

/// What a window held at a moment.
pub struct Snapshot(Diagnosis);

impl Snapshot {
    /// Finds what is wrong with it; this is what takes long.
    #[must_use]
    pub fn judge(self) -> Judged {
        Judged(self.0.finish_keyed())
    }
}

/// What was found.
pub struct Judged(Vec<(Box<str>, Finding)>);

impl Standing {
    /// Remembers handshakes for `window_ns`.
    #[must_use]
    pub fn new(settings: &Settings, window_ns: i64) -> Self {
        let mut pane_settings = settings.clone();
        // Half of it, for the panes are put together beside themselves.
        pane_settings.history_bytes_max /= 2 * PANES as usize;
        Self {
            settings: settings.clone(),
            pane_settings,
            pane_ns: (window_ns / PANES).max(1),
            panes: VecDeque::new(),
            told: HashMap::new(),
            judgements: 0,
            clients: DnsClients::default(),
            past_dns: Dns::default(),
            dns_until_ns: i64::MIN,
            is_stale: false,
            now_ns: i64::MIN,
        }
    }

    /// Takes one record in, with what [`super::judge`] said of it. `now_ns` is the capture's time.
    pub fn add(&mut self, record: &Handshake, verdicts: &Verdicts, now_ns: i64) {
        if let Some(pane) = self.pane(now_ns) {
            pane.diagnosis.add_judged(record, verdicts);
        }
        self.is_stale = true;
    }

    /// Takes in what DNS told up to `now_ns` since the last time, or a part of it (that of one shard).
    pub fn add_dns(&mut self, mut dns: Dns, now_ns: i64) {
        self.clients.take(&mut dns.clients);
        self.dns_until_ns = now_ns;
        if let Some(pane) = self.pane(now_ns) {
            let kept = &mut pane.diagnosis.dns;
            kept.merge(dns);
            if kept.lookups.len() > LOOKUPS_MAX + LOOKUPS_MAX / 2 {
                kept.gather();
                kept.keep_at_most(LOOKUPS_MAX);
            }
        }
        self.is_stale = true;
    }

    /// The pane of this time.
    fn pane(&mut self, now_ns: i64) -> Option<&mut Pane> {
        self.pass(now_ns);
        // A clock that was set back does not open panes in the past.
        let fits = |pane: &Pane| now_ns < pane.begins_ns.saturating_add(self.pane_ns);
        if !self.panes.back().is_some_and(fits) {
            self.panes.push_back(Pane {
                begins_ns: now_ns,
                diagnosis: Diagnosis::new(&self.pane_settings),
            });
        }
        self.panes.back_mut()
    }

    /// Forgets panes that have left the window.
    fn pass(&mut self, now_ns: i64) {
        self.set_back(now_ns);
        let window_ns = self.pane_ns.saturating_mul(PANES);
        while self.panes.front().is_some_and(|pane| {
            pane.begins_ns
                .saturating_add(self.pane_ns)
                .saturating_add(window_ns)
                < now_ns
                || self.panes.len() > PANES as usize + 1
        }) {
            if let Some(pane) = self.panes.pop_front() {
                self.past_dns.merge_numbers(&pane.diagnosis.dns);
            }
            self.is_stale = true;
        }
    }

    /// Where the clock was set back, what is remembered keeps its age: otherwise nothing would leave the window, and no verdict
    /// end, until the clock is where it was.
    fn set_back(&mut self, now_ns: i64) {
        let back_ns = self.now_ns.saturating_sub(now_ns);
        if back_ns <= SET_BACK_NS || self.now_ns == i64::MIN {
            self.now_ns = self.now_ns.max(now_ns);
            return;
        }
        self.now_ns = now_ns;
        let earlier = |time_ns: &mut i64| *time_ns = time_ns.saturating_sub(back_ns);
        (self.panes.iter_mut()).for_each(|pane| earlier(&mut pane.begins_ns));
        for told in self.told.values_mut() {
            earlier(&mut told.said_ns);
            told.absent_since_ns.iter_mut().for_each(earlier);
        }
    }

    fn together(&self) -> Diagnosis {
        let mut all = Diagnosis::new(&self.settings);
        for pane in &self.panes {
            all.groups.absorb(&pane.diagnosis.groups);
            all.aside.absorb(&pane.diagnosis.aside);
            all.dns.merge(pane.diagnosis.dns.clone());
        }
        all.history.leave(all.aside.bytes());
        for pane in &self.panes {
            all.history.absorb(&pane.diagnosis.history);
        }
        all.dns.clients = self.clients.to_vec();
        all.dns.settle();
        all
    }

    /// What is known well enough to be told now: a failed lookup may still be answered when it is asked again.
    fn together_so_far(&self) -> Diagnosis {
        let mut all = self.together();
        all.is_under_way = true;
        let wait_ns = i64::try_from(self.settings.dns_no_answer_ms)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000);
        // Later than now is what failed before the clock was set back.
        let recent = self.dns_until_ns.saturating_sub(wait_ns)..self.dns_until_ns;
        let is_recent = |time: Timestamp| time.0 > recent.start && time.0 <= recent.end;
        for lookup in &mut all.dns.lookups {
            lookup.failures.retain(|failure| !is_recent(failure.time));
        }
        all
    }

    /// Judges what the window holds, and gives what is to be told: verdicts that begin, changed or ended.
    pub fn judge(&mut self, now_ns: i64) -> Vec<Finding> {
        let judged = self.snapshot(now_ns).map(Snapshot::judge);
        self.take(judged, now_ns)
    }

    /// What the window holds now, to be judged while records keep coming. `None`: it is what it was.
    pub fn snapshot(&mut self, now_ns: i64) -> Option<Snapshot> {
        self.pass(now_ns);
        core::mem::take(&mut self.is_stale).then(|| {
            let since_ns = now_ns.saturating_sub(self.pane_ns.saturating_mul(PANES));
            self.clients.forget_before(Timestamp(since_ns));
            Snapshot(self.together_so_far())
        })
    }

    /// Takes what was found in a snapshot, if there was one, and gives what is to be told.
    pub fn take(&mut self, judged: Option<Judged>, now_ns: i64) -> Vec<Finding> {
        let mut news = Vec::new();
        if let Some(Judged(found)) = judged {
            self.judgements += 1;
            for (key, finding) in found {
                news.extend(self.compare(key, finding, now_ns));
            }
            let last = self.judgements;
            for told in self.told.values_mut().filter(|told| told.seen < last) {
                told.absent_since_ns.get_or_insert(now_ns);
            }
        }
        news.extend(self.end(now_ns));
        news
    }

    /// What is to be said of a verdict that stands.
    fn compare(&mut self, key: Box<str>, finding: Finding, now_ns: i64) -> Option<Finding> {
        let news = |finding: &Finding, state| {
            Some(Finding {
                state: Some(state),
                ..finding.clone()
            })
        };
        let Some(told) = self.told.get_mut(&key) else {
            let begins = news(&finding, FindingState::Begins);
            let told = Told {
                severity: finding.severity,
                count: finding.count,
                finding,
                said_ns: now_ns,
                seen: self.judgements,
                absent_since_ns: None,
            };
            self.told.insert(key, told);
            return begins;
        };
        (told.absent_since_ns, told.seen) = (None, self.judgements);
        told.finding = finding;
        let finding = &told.finding;
        let worse = finding.severity > told.severity;
        let larger = finding.count >= told.count.saturating_mul(GROWTH);
        let held = now_ns.saturating_sub(told.said_ns) >= HOLD_NS;
        if worse || (larger && held) {
            (told.severity, told.count, told.said_ns) = (finding.severity, finding.count, now_ns);
            return news(&told.finding, FindingState::Changed);
        }
        None
    }

    /// Verdicts that are gone for long enough; at once where there is no more room.
    fn end(&mut self, now_ns: i64) -> Vec<Finding> {
        let hold_ns = if self.told.len() > self.settings.groups_max {
            0
        } else {
            HOLD_NS
        };
        let ended = self.told.extract_if(|_, told| {
            let since = told.absent_since_ns;
            since.is_some_and(|since| now_ns.saturating_sub(since) >= hold_ns)
        });
        let mut ended: Vec<Finding> = ended
            .map(|(_, told)| Finding {
                state: Some(FindingState::Ended),
                ..told.finding
            })
            .collect();
        ended.sort_by(|a, b| (&a.id, &a.subject).cmp(&(&b.id, &b.subject)));
        ended
    }

    /// What stands, by severity: errors, warnings, hints.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let of = |severity| {
            let stands = |told: &&Told| told.finding.severity == severity;
            self.told.values().filter(stands).count()
        };
        [
            of(Severity::Error),
            of(Severity::Warning),
            of(Severity::Info),
        ]
    }

    /// What stands as of the last judgement, worst first.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        let mut all: Vec<&Finding> = self.told.values().map(|told| &told.finding).collect();
        all.sort_by(|a, b| {
            (b.severity, b.count, &a.subject, &a.id).cmp(&(a.severity, a.count, &b.subject, &b.id))
        });
        all
    }

    /// The diagnosis of the window at the end, and what DNS told: the lookups of the window, the numbers of the whole run.
    #[must_use]
    pub fn finish(self) -> (Diagnosis, Option<Dns>) {
        let diagnosis = self.together();
        let mut dns = diagnosis.dns.clone();
        dns.merge_numbers(&self.past_dns);
        let dns = (!dns.is_empty() || dns.queries > 0).then_some(dns);
        (diagnosis, dns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Make, diagnose};
    use super::*;
    use crate::record::Outcome;

    const SECOND: i64 = 1_000_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const WINDOW: i64 = 60 * MINUTE;

    fn reset(client: i64) -> Make {
        let client = format!("10.1.{}.{}", client / 200, client % 200);
        Make::new().client(&client).outcome(Outcome::HelloReset)
    }

    fn add(standing: &mut Standing, mut made: Make, now_ns: i64) {
        let verdicts = super::super::judge(&mut made.record, &Settings::default());
        standing.add(&made.record, &verdicts, now_ns);
    }

    fn states(news: &[Finding]) -> Vec<(&str, FindingState)> {
        news.iter()
            .map(|finding| (&*finding.id, finding.state.unwrap()))
            .collect()
    }

    #[test]
    fn panes_put_together_say_what_one_diagnosis_says() {
        let made = |n: i64| match n % 3 {
            0 => reset(n).at(n),
            1 => Make::new().offer(0x0301).answer(0x0301, 0x0005).at(n),
            _ => Make::new().tls13().answer(0x0304, 0x1301).at(n),
        };
        let mut standing = Standing::new(&Settings::default(), WINDOW);
        for n in 0..60 {
            add(&mut standing, made(n), n * MINUTE / 2);
        }
        assert!(standing.panes.len() > 3);
        let all: Vec<Make> = (0..60).map(made).collect();
        assert_eq!(standing.finish().0.finish(), diagnose(&all));
    }

    #[test]
    fn a_verdict_begins_once_grows_and_ends_when_the_window_has_passed() {
        let mut standing = Standing::new(&Settings::default(), WINDOW);
        assert!(standing.judge(0).is_empty());
        for n in 0..5 {
            add(&mut standing, reset(1), n * SECOND);
        }
        let news = standing.judge(5 * SECOND);
        assert_eq!(states(&news), [("hello-reset", FindingState::Begins)]);
        add(&mut standing, reset(1), 6 * SECOND);
        assert!(standing.judge(7 * SECOND).is_empty(), "more of the same");
        for n in 0..60 {
            add(&mut standing, reset(1), 8 * SECOND + n);
        }
        assert!(standing.judge(9 * SECOND).is_empty(), "said a moment ago");
        add(&mut standing, reset(1), 2 * MINUTE);
        let news = standing.judge(2 * MINUTE);
        assert_eq!(states(&news), [("hello-reset", FindingState::Changed)]);
        assert_eq!(standing.counts().iter().sum::<usize>(), 1);

        assert!(
            standing.judge(50 * MINUTE).is_empty(),
            "still in the window"
        );
        assert!(standing.judge(80 * MINUTE).is_empty(), "gone, but just now");
        let news = standing.judge(80 * MINUTE + HOLD_NS);
        assert_eq!(states(&news), [("hello-reset", FindingState::Ended)]);
        assert!(standing.judge(90 * MINUTE).is_empty());
        assert_eq!(standing.counts(), [0; 3]);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_verdict_stand_for_ever() {
        let mut standing = Standing::new(&Settings::default(), WINDOW);
        let day = 24 * 60 * MINUTE;
        let mut now = 0;
        add(&mut standing, reset(1), now);
        assert_eq!(
            states(&standing.judge(now)),
            [("hello-reset", FindingState::Begins)]
        );
        for back in [day, 30 * MINUTE, 2 * MINUTE] {
            now += MINUTE - back;
            assert!(standing.judge(now).is_empty(), "it is the same one");
            add(&mut standing, reset(1), now);
            assert!(standing.judge(now).is_empty(), "and stands");
        }
        // Not set, but told by two interfaces in turn: time passes as it does.
        for second in 0..60 {
            now += SECOND;
            assert!(standing.judge(now - second % 2 * SECOND).is_empty());
        }
        assert!(
            standing.judge(now + 50 * MINUTE).is_empty(),
            "in the window"
        );
        assert!(standing.judge(now + 90 * MINUTE).is_empty(), "just gone");
        let news = standing.judge(now + 90 * MINUTE + HOLD_NS);
        assert_eq!(states(&news), [("hello-reset", FindingState::Ended)]);
    }

    #[test]
    fn a_clock_that_is_set_forward_ends_what_was_and_begins_what_goes_on() {
        let mut standing = Standing::new(&Settings::default(), WINDOW);
        let day = 24 * 60 * MINUTE;
        add(&mut standing, reset(1), 0);
        add(&mut standing, reset(1).server("198.51.100.99:443"), 0);
        assert_eq!(standing.judge(0).len(), 2);
        // One of them goes on: it never ends. The other one left the window.
        let mut ended = Vec::new();
        for second in 0..90 {
            add(&mut standing, reset(1), day + second * SECOND);
            let news = standing.judge(day + second * SECOND);
            let over = news
                .iter()
                .filter(|finding| finding.state == Some(FindingState::Ended));
            ended.extend(over.map(|finding| (second, finding.subject.to_string())));
            let begins = |finding: &Finding| finding.state == Some(FindingState::Begins);
            assert!(!news.iter().any(begins), "{second}: {news:?}");
        }
        assert!(
            matches!(&ended[..], [(60, subject)] if subject.contains("198.51.100.99")),
            "{ended:?}"
        );
        assert_eq!(standing.counts().iter().sum::<usize>(), 1);
    }

    #[test]
    fn one_that_comes_and_goes_is_quiet() {
        let window = 8 * SECOND;
        let mut standing = Standing::new(&Settings::default(), window);
        let mut news = Vec::new();
        for round in 0..20 {
            let now = round * 15 * SECOND;
            add(&mut standing, reset(1), now);
            news.extend(standing.judge(now));
            news.extend(standing.judge(now + 14 * SECOND)); // out of the window
        }
        assert_eq!(states(&news), [("hello-reset", FindingState::Begins)]);
    }

    #[test]
    fn what_is_remembered_is_bounded_whatever_passes() {
        let settings = Settings {
            groups_max: 8,
            ..Settings::default()
        };
        let mut standing = Standing::new(&settings, 8 * SECOND);
        for n in 0..2000 {
            add(&mut standing, reset(n), n * SECOND / 4);
            standing.judge(n * SECOND / 4);
        }
        assert!(standing.panes.len() <= PANES as usize + 1);
        let traces: usize = (standing.panes.iter())
            .map(|pane| pane.diagnosis.history.len())
            .sum();
        assert!(traces <= 4 * 10, "{traces}");
        assert!(standing.told.len() <= settings.groups_max);
        // A clock that is set back opens no pane for each handshake.
        for n in 0..100 {
            add(&mut standing, reset(n), -n * MINUTE);
        }
        assert!(standing.panes.len() <= PANES as usize + 1);
    }

    /// A client's lookup that failed at `at`, and was answered at `answered`.
    fn lookup(client: &str, at: i64, answered: Option<i64>) -> Dns {
        let failure = serde_json::json!({
            "capture": "eth0", "frame": 1, "time": Timestamp(at), "server": "10.0.0.53", "transport": "udp",
            "result": "SERVFAIL", "tries": 1, "waited_us": 10,
            "recovered_us": answered.map(|answered| (answered - at) / 1000),
        });
        let lookup = serde_json::json!({
            "client": client, "name": "outlook.office365.com", "kind": "A", "capture": "eth0", "frame": 1,
            "queries": 1, "answers": u64::from(answered.is_some()), "first_seen": Timestamp(at),
            "last_seen": Timestamp(at), "last_answered": answered.map(Timestamp), "failed": 1, "failures": [failure],
        });
        Dns {
            queries: 1,
            answers: 1,
            lookups: vec![serde_json::from_value(lookup).unwrap()],
            ..Dns::default()
        }
    }

    #[test]
    fn a_name_that_is_not_given_is_told_while_it_lasts() {
        let mut standing = Standing::new(&Settings::default(), WINDOW);
        standing.add_dns(lookup("10.0.0.1", SECOND, None), 3 * SECOND);
        assert!(
            standing.judge(4 * SECOND).is_empty(),
            "asked again it may be answered"
        );
        standing.add_dns(Dns::default(), 8 * SECOND);
        let news = standing.judge(8 * SECOND);
        let dns = "dns-failure-before-connect";
        assert_eq!(states(&news), [(dns, FindingState::Begins)]);
        assert_eq!(&*news[0].subject, "10.0.0.1 → outlook.office365.com");
        standing.add_dns(lookup("10.0.0.1", 9 * SECOND, None), 20 * SECOND);
        assert!(standing.judge(20 * SECOND).is_empty(), "more of the same");
        assert!(standing.judge(80 * MINUTE).is_empty());
        let news = standing.judge(82 * MINUTE);
        assert_eq!(states(&news), [(dns, FindingState::Ended)]);
    }

    #[test]
    fn a_name_that_is_given_when_it_is_asked_for_again_is_never_told() {
        let mut standing = Standing::new(&Settings::default(), WINDOW);
        for round in 0..10 {
            let (failed, now) = (round * 20 * SECOND, round * 20 * SECOND + 2 * SECOND);
            standing.add_dns(lookup("10.0.0.1", failed, None), now);
            assert!(standing.judge(now).is_empty());
            let again = failed + 4 * SECOND;
            standing.add_dns(lookup("10.0.0.1", failed, Some(again)), again + SECOND);
            assert!(standing.judge(again + 10 * SECOND).is_empty());
        }
    }

    #[test]
    fn a_failed_lookup_stands_where_the_clock_is_set_back() {
        let mut standing = Standing::new(&Settings::default(), WINDOW);
        let now = 10 * WINDOW;
        standing.add_dns(lookup("10.0.0.1", now - 9 * SECOND, None), now);
        let ids = |standing: &mut Standing, now| {
            let news = standing.judge(now);
            news.iter().map(|one| one.state).collect::<Vec<_>>()
        };
        assert_eq!(ids(&mut standing, now), [Some(FindingState::Begins)]);
        for second in 0..90 {
            let earlier = now - WINDOW / 2 + second * SECOND;
            standing.add_dns(Dns::default(), earlier);
            assert_eq!(ids(&mut standing, earlier), [], "second {second}");
        }
    }

    #[test]
    fn lookups_are_forgotten_with_the_window_and_their_numbers_stay() {
        let mut standing = Standing::new(&Settings::default(), 8 * SECOND);
        for n in 0..1000 {
            let client = format!("10.2.{}.{}", n / 200, n % 200);
            standing.add_dns(lookup(&client, n * SECOND, Some(n * SECOND)), n * SECOND);
        }
        let held = standing
            .panes
            .iter()
            .map(|pane| pane.diagnosis.dns.lookups.len());
        assert!(held.sum::<usize>() <= PANES as usize + 2);
        let (_, dns) = standing.finish();
        let dns = dns.unwrap();
        assert_eq!(dns.queries, 1000);
        assert_eq!(dns.forgotten + dns.lookups.len() as u64, 1000);
        // One pane alone is bounded, too.
        let mut standing = Standing::new(&Settings::default(), WINDOW);
        let one = lookup("10.0.0.1", 1, Some(1));
        for n in 0..2 * LOOKUPS_MAX as u32 {
            let mut one = one.clone();
            one.lookups[0].client = std::net::Ipv4Addr::from(n).into();
            standing.add_dns(one, 0);
        }
        let held = standing.panes[0].diagnosis.dns.lookups.len();
        assert!(held <= LOOKUPS_MAX + LOOKUPS_MAX / 2, "{held}");
    }
}
