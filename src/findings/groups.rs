//! The roll-up: equal causes at one subject become one finding with counts and a few examples.
//!
//! Thousands of handshakes can fail for one reason; an administrator wants that reason once. A group keeps the worst three
//! examples with the frames that prove them, and tallies (which clients, which suites) that fill the words. Groups,
//! examples and tallies are capped, and what is beyond the caps is counted.

mod absorb;

use super::facts::{Facts, minute};
use super::text::{Say, say, word};
use super::{Entry, Lang, Settings, Verdict, text};
use crate::record::{
    Address, Confidence, Digest, Endpoint, Evidence, Finding, Severity, Timestamp,
};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet, HashTable, hash_table::OccupiedEntry};
use smallvec::SmallVec;
use std::{
    cmp::Reverse,
    fmt::Write as _,
    hash::{BuildHasher as _, Hash as _, Hasher as _},
    net::IpAddr,
    sync::Arc,
};

/// Examples kept of each group.
const EXAMPLES_MAX: usize = 3;
/// Distinct values kept of each tally.
const TALLY_MAX: usize = 12;
/// Values of a tally that are shown.
const TALLY_SHOWN: usize = 5;

/// Subjects of one finding and one cause that are told apart; all further ones are one group. A reader
/// wants the cause once, not ten thousand times.
const SUBJECTS_MAX: u32 = 128;
/// Handshakes of that further group that are looked at; the rest is counted.
const OTHERS_DESCRIBED: u64 = 64;
/// What stands for them.
const OTHERS: &str = "many others alike";

/// What a client wanted to reach. An endpoint becomes words only where it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// By name.
    Name(Box<str>),
    /// By address.
    Server(Endpoint),
    /// As a proxy was told it, with that proxy.
    Through(Box<str>, Endpoint),
}

impl Target {
    /// Who answers in a handshake: the server of the connection, or the host to which an explicit proxy leads it.
    pub(super) fn answering(facts: &Facts<'_>) -> Self {
        let server = facts.record.server;
        match facts.origin() {
            Some(origin) => Self::Through(origin.into(), server),
            None => Self::Server(server),
        }
    }

    fn words(&self, lang: Lang) -> String {
        match self {
            Self::Name(name) => name.to_string(),
            Self::Server(server) => server.to_string(),
            Self::Through(origin, proxy) => through(lang, origin, *proxy),
        }
    }
}

/// The words for a host behind an explicit proxy.
pub(super) fn through(lang: Lang, origin: &str, proxy: Endpoint) -> String {
    let words = say(lang, "through-proxy").with("target", origin);
    words.with("proxy", proxy).text()
}

/// Whom a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A server endpoint.
    Server(Endpoint),
    /// A host behind an explicit proxy, as this was told it.
    Origin(Box<str>, Endpoint),
    /// A client, and the name or address that it wanted.
    Client(IpAddr, Box<str>),
    /// A client and a server endpoint.
    Pair(IpAddr, Endpoint),
    /// A certificate, and what it was shown for.
    Certificate(Digest<32>, Target),
    /// A name, a farm, or a text of another kind.
    Named(Box<str>),
    /// The captures as a whole.
    Capture,
    /// All subjects beyond the cap of one cause.
    Others,
}

impl Subject {
    /// The words for it; the tallies say what else is known.
    fn words(&self, shown: &Shown, lang: Lang) -> String {
        match self {
            Self::Server(server) => match shown.get("name") {
                Some(names) => format!("{server} ({names})"),
                None => server.to_string(),
            },
            Self::Origin(origin, proxy) => match shown.get("name") {
                Some(names) => format!("{} ({names})", through(lang, origin, *proxy)),
                None => through(lang, origin, *proxy),
            },
            Self::Client(client, target) => format!("{} → {target}", Address(*client)),
            Self::Pair(client, server) => match shown.get("name") {
                Some(names) => format!("{} → {server} ({names})", Address(*client)),
                None => format!("{} → {server}", Address(*client)),
            },
            Self::Certificate(_, name) => match shown.get("certificate") {
                Some(certificate) => format!("{}: {certificate}", name.words(lang)),
                None => name.words(lang),
            },
            Self::Named(name) => name.to_string(),
            Self::Capture => shown.get("capture").unwrap_or_default().to_owned(),
            Self::Others => {
                let some = ["client", "clients", "server", "servers", "name"];
                let first = some.iter().find_map(|tally| shown.get(tally));
                let others = word(lang, OTHERS);
                first.map_or_else(|| others.to_owned(), |first| format!("{others}: {first}"))
            }
        }
    }
}

/// A value that is counted. Most become words only where they are shown: each handshake counts some.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'v> {
    /// Words.
    Text(&'v str),
    /// Words of the program itself, such as the name of a suite: kept without a copy, and mostly told by where they are.
    Word(&'static str),
    /// An address.
    Ip(IpAddr),
    /// An address and a port.
    Endpoint(Endpoint),
    /// A number.
    Number(i64),
    /// A time, which is shown to the minute.
    Minute(Timestamp),
}

impl Value<'_> {
    /// One of 64 bits: different ones are of different values.
    fn mark(self) -> u64 {
        // Some bytes from the middle, and how many there are: names begin and end alike.
        let of_text = |text: &str| {
            let bytes = text.bytes().rev().skip(text.len() / 2).take(4);
            bytes.fold(text.len() as u64, |all, byte| all << 8 ^ u64::from(byte))
        };
        let of_ip = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64 ^ ip.to_bits() as u64,
        };
        let parts = match self {
            Self::Text(text) | Self::Word(text) => of_text(text),
            Self::Ip(ip) => of_ip(ip),
            Self::Endpoint(endpoint) => of_ip(endpoint.ip) ^ u64::from(endpoint.port) << 40,
            Self::Number(number) => number as u64,
            Self::Minute(time) => minutes(time) as u64,
        };
        1 << (parts.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
    }
}

/// A value as a tally keeps it.
#[derive(Debug)]
enum Kept {
    Text(Box<str>),
    Word(&'static str),
    Ip(IpAddr),
    Endpoint(Endpoint),
    Number(i64),
    Minute(Timestamp),
}

impl Kept {
    fn of(value: Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.into()),
            Value::Word(word) => Self::Word(word),
            Value::Ip(ip) => Self::Ip(ip),
            Value::Endpoint(endpoint) => Self::Endpoint(endpoint),
            Value::Number(number) => Self::Number(number),
            Value::Minute(time) => Self::Minute(time),
        }
    }

    fn is(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Text(one), Value::Text(other) | Value::Word(other)) => **one == *other,
            (Self::Word(one), Value::Word(other)) => is_same(one, other),
            (Self::Word(one), Value::Text(other)) => *one == other,
            (Self::Ip(one), Value::Ip(other)) => *one == other,
            (Self::Endpoint(one), Value::Endpoint(other)) => *one == other,
            (Self::Number(one), Value::Number(other)) => *one == other,
            (Self::Minute(one), Value::Minute(other)) => minutes(*one) == minutes(other),
            _ => false,
        }
    }

    /// Puts it into words.
    fn write(&self, out: &mut String) {
        let _ = match self {
            Self::Text(text) => out.write_str(text),
            Self::Word(word) => out.write_str(word),
            Self::Ip(ip) => write!(out, "{}", Address(*ip)),
            Self::Endpoint(endpoint) => write!(out, "{endpoint}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Minute(time) => write!(out, "{}", minute(*time)),
        };
    }
}

/// Whole minutes since 1970.
fn minutes(time: Timestamp) -> i64 {
    time.0.div_euclid(60_000_000_000)
}

/// How often each of a few values came.
#[derive(Debug, Default)]
struct Tally {
    /// At most [`TALLY_MAX`]; searched from the first, which mostly is the most frequent one. Mostly there is but one, which
    /// stands here: each hit looks at several tallies, of thousands of groups.
    counts: SmallVec<[(Kept, u64); 1]>,
    /// [`Value::mark`] of each of them: most of many clients are none of these.
    marks: u64,
    /// Occurrences of values beyond the cap.
    beyond: u64,
}

impl Tally {
    fn add(&mut self, value: Value<'_>, count: u64) {
        let mark = value.mark();
        if self.marks & mark != 0
            && let Some((_, slot)) = self.counts.iter_mut().find(|(kept, _)| kept.is(value))
        {
            *slot += count;
        } else if self.counts.len() < TALLY_MAX {
            self.counts.push((Kept::of(value), count));
            self.marks |= mark;
        } else {
            self.beyond += count;
        }
    }

    /// The most frequent values first.
    fn shown(&self) -> String {
        match (self.counts.as_slice(), self.beyond) {
            ([(Kept::Text(only), _)], 0) => return only.to_string(),
            ([(Kept::Word(only), _)], 0) => return (*only).to_owned(),
            ([(only, _)], 0) => {
                let mut words = String::with_capacity(48);
                only.write(&mut words);
                return words;
            }
            _ => {}
        }
        // All in one text, for there are thousands of findings.
        let mut all = String::with_capacity(16 * self.counts.len());
        let mut values: Vec<(core::ops::Range<usize>, u64)> = Vec::with_capacity(self.counts.len());
        for (kept, count) in &self.counts {
            let begin = all.len();
            kept.write(&mut all);
            values.push((begin..all.len(), *count));
        }
        let word = |range: &core::ops::Range<usize>| all.get(range.clone()).unwrap_or_default();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| word(&a.0).cmp(word(&b.0))));
        let mut words = String::with_capacity(all.len() + 2 * TALLY_SHOWN);
        for (value, _) in values.iter().take(TALLY_SHOWN) {
            if !words.is_empty() {
                words.push_str(", ");
            }
            words.push_str(word(value));
        }
        let more = values.len().saturating_sub(TALLY_SHOWN);
        if more > 0 || self.beyond > 0 {
            let plus = if self.beyond > 0 { "+" } else { "" };
            let _ = write!(words, ", … (+{more}{plus})");
        }
        words
    }
}

/// The values of each placeholder, as people read them: put into words once, for they stand in several lines.
struct Shown(Vec<(&'static str, String)>);

impl Shown {
    fn of(tallies: &[(&'static str, Tally)]) -> Self {
        let tallies = tallies.iter();
        Self(tallies.map(|(key, tally)| (*key, tally.shown())).collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        let (_, words) = self.0.iter().find(|(known, _)| *known == key)?;
        Some(words)
    }
}

/// One example: how bad, and what to look at.
#[derive(Debug)]
struct Example {
    severity: Severity,
    start: Timestamp,
    evidence: Vec<Evidence>,
}

/// Hits of one finding, one cause and one subject.
#[derive(Debug)]
pub(super) struct Group {
    entry: &'static Entry,
    /// It stands for all subjects beyond the cap.
    is_others: bool,
    cause: &'static str,
    severity: Severity,
    confidence: Confidence,
    count: u64,
    first_seen: Timestamp,
    last_seen: Timestamp,
    examples: Vec<Example>,
    /// Where no more are kept, the one that gives way first.
    least: Option<(Severity, Reverse<Timestamp>)>,
    /// By placeholder; a handful.
    tallies: Vec<(&'static str, Tally)>,
}

impl Group {
    fn new(entry: &'static Entry, verdict: Verdict, is_others: bool) -> Self {
        Self {
            entry,
            is_others,
            cause: verdict.cause,
            severity: verdict.severity,
            confidence: verdict.confidence,
            count: 0,
            first_seen: Timestamp::default(),
            last_seen: Timestamp::default(),
            examples: Vec::new(),
            least: None,
            tallies: Vec::new(),
        }
    }

    fn tally(&mut self, key: &'static str) -> &mut Tally {
        let at = match self
            .tallies
            .iter()
            .position(|(known, _)| is_same(known, key))
        {
            Some(at) => at,
            None => {
                self.tallies.push((key, Tally::default()));
                self.tallies.len() - 1
            }
        };
        &mut self.tallies[at].1
    }

    /// Counts `count` handshakes between two times.
    pub(super) fn count(&mut self, count: u64, first: Timestamp, last: Timestamp) {
        if self.count == 0 {
            (self.first_seen, self.last_seen) = (first, last);
        }
        self.count += count;
        self.first_seen = self.first_seen.min(first);
        self.last_seen = self.last_seen.max(last);
    }

    /// Which reason.
    pub(super) fn cause(&self) -> &'static str {
        self.cause
    }

    /// Counts a value under a placeholder of the texts.
    pub(super) fn note(&mut self, key: &'static str, value: &str) {
        self.note_many(key, value, 1);
    }

    /// Counts a word of the program under a placeholder of the texts, several times.
    pub(super) fn note_words(&mut self, key: &'static str, word: &'static str, count: u64) {
        self.tally(key).add(Value::Word(word), count);
    }

    /// Counts a value several times.
    pub(super) fn note_many(&mut self, key: &'static str, value: &str, count: u64) {
        self.tally(key).add(Value::Text(value), count);
    }

    /// Counts what is the same for all hits of a subject: the words are made for the first one.
    fn note_once(&mut self, key: &'static str, words: impl FnOnce() -> String) {
        let is_others = self.is_others;
        let tally = self.tally(key);
        match tally.counts.as_mut_slice() {
            [(_, count)] if !is_others => *count += 1,
            _ => tally.add(Value::Text(&words()), 1),
        }
    }

    /// Counts a value that becomes words only where it is shown.
    pub(super) fn note_value(&mut self, key: &'static str, value: Value<'_>) {
        self.note_values(key, value, 1);
    }

    /// Counts such a value several times.
    pub(super) fn note_values(&mut self, key: &'static str, value: Value<'_>, count: u64) {
        self.tally(key).add(value, count);
    }

    /// Sets a placeholder to one value.
    pub(super) fn set(&mut self, key: &'static str, value: &str) {
        let tally = self.tally(key);
        *tally = Tally::default();
        tally.add(Value::Text(value), 1);
    }

    /// It stands for all further subjects, and enough of them were looked at: the rest is only counted.
    pub(super) fn is_described(&self) -> bool {
        self.is_others && self.count > OTHERS_DESCRIBED
    }

    /// Whether an example of this severity and time would be kept.
    pub(super) fn wants(&self, severity: Severity, start: Timestamp) -> bool {
        self.least
            .is_none_or(|least| least < (severity, Reverse(start)))
    }

    /// Adds an example; the least severe one, and of these the latest, gives way. So the order in which records come does
    /// not matter.
    pub(super) fn example(
        &mut self,
        severity: Severity,
        start: Timestamp,
        evidence: Vec<Evidence>,
    ) {
        if evidence.is_empty() || !self.wants(severity, start) {
            return;
        }
        self.examples.push(Example {
            severity,
            start,
            evidence,
        });
        self.examples
            .sort_by_key(|example| (Reverse(example.severity), example.start));
        self.examples.truncate(EXAMPLES_MAX);
        let last = self.examples.get(EXAMPLES_MAX - 1);
        self.least = last.map(|least| (least.severity, Reverse(least.start)));
    }

    /// Shows other evidence instead: that which a survey wrote itself.
    pub(super) fn replace_examples(&mut self, severity: Severity, evidence: Vec<Evidence>) {
        self.examples.clear();
        self.least = None;
        self.example(severity, Timestamp::default(), evidence);
    }

    /// Shows what other handshakes prove, however many examples there are: behind the first line of the first one, for a
    /// reader sees the first lines. For surveys, which come after all hits.
    pub(super) fn contrast(&mut self, evidence: Vec<Evidence>) {
        if let Some(first) = self.examples.first_mut() {
            let behind = first.evidence.len().min(1);
            first.evidence.splice(behind..behind, evidence);
        }
    }

    /// Makes the verdict stronger where `verdict` is.
    pub(super) fn raise(&mut self, verdict: Verdict) {
        self.severity = self.severity.max(verdict.severity);
        self.confidence = self.confidence.max(verdict.confidence);
    }

    fn finding(self, subject: &Subject, settings: &Settings) -> Finding {
        let id = self.entry.id;
        let shown = Shown::of(&self.tallies);
        let subject = subject.words(&shown, settings.lang);
        let fill = |key: &str, out: &mut String| match key {
            "count" => write!(out, "{}", self.count).is_ok(),
            "subject" => {
                out.push_str(&subject);
                true
            }
            _ => shown
                .get(key)
                .inspect(|words| out.push_str(words))
                .is_some(),
        };
        let words = text::words(id, self.cause, settings.lang, &fill);
        Finding {
            id: id.into(),
            severity: self.severity,
            scope: self.entry.scope,
            confidence: self.confidence,
            title: words.title.into(),
            subject: subject.clone().into(),
            count: self.count,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            affects: words.affects,
            remediation: words.remedy,
            reference: self.entry.reference.into(),
            evidence: self
                .examples
                .into_iter()
                .flat_map(|example| example.evidence)
                .collect(),
            state: None,
        }
    }
}

/// What a rule tells of one hit. Evidence is written only where the example is kept.
pub(super) struct Sheet<'g> {
    group: &'g mut Group,
    capture: &'g Arc<str>,
    severity: Severity,
    lang: Lang,
    evidence: Option<Vec<Evidence>>,
}

impl Sheet<'_> {
    /// Counts a value under a placeholder of the texts.
    pub(super) fn note(&mut self, key: &'static str, value: &str) {
        self.group.note(key, value);
    }

    /// Counts a word of the program.
    pub(super) fn note_word(&mut self, key: &'static str, word: &'static str) {
        self.group.note_words(key, word, 1);
    }

    /// Counts a value that becomes words only where it is shown.
    pub(super) fn note_value(&mut self, key: &'static str, value: Value<'_>) {
        self.group.note_value(key, value);
    }

    /// Counts what is the same for all hits of the subject.
    pub(super) fn note_once(&mut self, key: &'static str, words: impl FnOnce() -> String) {
        self.group.note_once(key, words);
    }

    /// Counts the client's address.
    pub(super) fn client(&mut self, facts: &Facts<'_>) {
        self.group
            .note_value("clients", Value::Ip(facts.record.client.ip));
    }

    /// Counts the server: its endpoint, or who it is behind an explicit proxy.
    pub(super) fn server(&mut self, facts: &Facts<'_>) {
        let server = facts.record.server;
        match facts.origin() {
            Some(origin) => self.note("server", &through(self.lang, origin, server)),
            None => self.note_value("server", Value::Endpoint(server)),
        }
    }

    /// Counts who takes part in the TCP connection, of which a proxy may be the server: `clients`, `server`, `name`.
    pub(super) fn peers(&mut self, facts: &Facts<'_>) {
        self.client(facts);
        self.note_value("server", Value::Endpoint(facts.record.server));
        if let Some(name) = facts.sni() {
            self.note("name", name);
        }
    }

    /// Counts who takes part in the handshake: `clients`, `server`, `name`.
    pub(super) fn parties(&mut self, facts: &Facts<'_>) {
        self.client(facts);
        self.server(facts);
        if let Some(name) = facts.sni() {
            self.note("name", name);
        }
    }

    /// The language of the words.
    pub(super) fn lang(&self) -> Lang {
        self.lang
    }

    /// Whether evidence of this hit is kept.
    pub(super) fn wants_evidence(&self) -> bool {
        self.evidence.is_some()
    }

    /// Adds what a packet shows.
    pub(super) fn fact(&mut self, frame: u64, fact: impl FnOnce(Lang) -> Say) {
        // Without a packet there is nothing to look at.
        if let Some(evidence) = &mut self.evidence
            && frame > 0
        {
            evidence.push(Evidence {
                capture: Arc::clone(self.capture),
                frame,
                fact: fact(self.lang).text().into(),
            });
        }
    }
}

/// The subject of rules about who answers in the handshake.
pub(super) fn server_subject(facts: &Facts<'_>, _: Verdict) -> Subject {
    match facts.origin() {
        Some(origin) => Subject::Origin(origin.into(), facts.record.server),
        None => Subject::Server(facts.record.server),
    }
}

/// The subject of rules about the other end of the TCP connection, which may be a proxy.
pub(super) fn peer_subject(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Server(facts.record.server)
}

/// Which group a hit belongs to.
pub(super) type Key = (&'static str, &'static str, Subject);

/// Hashes of id and cause what costs little: those of one subject are few.
fn hash_of(hasher: &RandomState, (id, cause, subject): &Key) -> u64 {
    let mut state = hasher.build_hasher();
    let begin = id.as_bytes().first_chunk().copied().unwrap_or_default();
    state.write_u64(u64::from_le_bytes(begin));
    state.write_usize(id.len() << 16 | cause.len());
    subject.hash(&mut state);
    state.finish()
}

/// Whether two texts of the program are equal: mostly they are one.
fn is_same(one: &'static str, other: &'static str) -> bool {
    core::ptr::eq(one, other) || (one.len() == other.len() && (one.is_empty() || one == other))
}

fn is_same_key(one: &Key, other: &Key) -> bool {
    is_same(one.0, other.0) && is_same(one.1, other.1) && one.2 == other.2
}

/// A group that there is, with what a verdict makes worse.
fn raised(found: OccupiedEntry<'_, (Key, Group)>, verdict: Verdict) -> &mut Group {
    let group = &mut found.into_mut().1;
    group.raise(verdict);
    group
}

/// All groups of a diagnosis.
#[derive(Debug)]
pub(super) struct Groups {
    groups: HashTable<(Key, Group)>,
    hasher: RandomState,
    groups_max: usize,
    lang: Lang,
    /// Subjects told apart of each finding and cause.
    subjects: HashMap<(&'static str, &'static str), u32>,
    /// Hits for which there was no room.
    pub(super) beyond: u64,
}

impl Groups {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            groups: HashTable::new(),
            hasher: RandomState::default(),
            groups_max: settings.groups_max,
            lang: settings.lang,
            subjects: HashMap::new(),
            beyond: 0,
        }
    }

    /// The group for a verdict, made where there is none; `None` at the cap.
    pub(super) fn open(
        &mut self,
        entry: &'static Entry,
        verdict: Verdict,
        subject: Subject,
    ) -> Option<&mut Group> {
        let mut key = (entry.id, verdict.cause, subject);
        let mut hash = hash_of(&self.hasher, &key);
        let mut groups = match self
            .groups
            .find_entry(hash, |(known, _)| is_same_key(known, &key))
        {
            Ok(found) => return Some(raised(found, verdict)),
            Err(absent) => absent.into_table(),
        };
        let subjects = self.subjects.entry((entry.id, verdict.cause)).or_default();
        if *subjects < SUBJECTS_MAX {
            *subjects += 1;
        } else {
            key.2 = Subject::Others;
            hash = hash_of(&self.hasher, &key);
            groups = match groups.find_entry(hash, |(known, _)| is_same_key(known, &key)) {
                Ok(found) => return Some(raised(found, verdict)),
                Err(absent) => absent.into_table(),
            };
        }
        if groups.len() >= self.groups_max {
            self.beyond += 1;
            return None;
        }
        let group = Group::new(entry, verdict, key.2 == Subject::Others);
        let hasher = &self.hasher;
        let slot = groups.insert_unique(hash, (key, group), |(key, _)| hash_of(hasher, key));
        Some(&mut slot.into_mut().1)
    }

    /// The group of all further subjects of a finding and cause, where it says enough already.
    pub(super) fn further(&mut self, id: &'static str, verdict: Verdict) -> Option<&mut Group> {
        if *self.subjects.get(&(id, verdict.cause))? < SUBJECTS_MAX {
            return None;
        }
        let key = (id, verdict.cause, Subject::Others);
        let hash = hash_of(&self.hasher, &key);
        let found = self
            .groups
            .find_entry(hash, |(known, _)| is_same_key(known, &key));
        Some(raised(found.ok()?, verdict)).filter(|group| group.is_described())
    }

    /// Adds one handshake's hit, with what `describe` tells of it.
    pub(super) fn hit(
        &mut self,
        entry: &'static Entry,
        verdict: Verdict,
        subject: Subject,
        (capture, start): (&Arc<str>, Timestamp),
        describe: impl FnOnce(&mut Sheet<'_>),
    ) {
        let lang = self.lang;
        let Some(group) = self.open(entry, verdict, subject) else {
            return;
        };
        group.count(1, start, start);
        if group.is_described() {
            return;
        }
        let wanted = group.wants(verdict.severity, start);
        let mut sheet = Sheet {
            group,
            capture,
            severity: verdict.severity,
            lang,
            evidence: wanted.then(Vec::new),
        };
        describe(&mut sheet);
        let Sheet {
            group,
            evidence,
            severity,
            ..
        } = sheet;
        if let Some(evidence) = evidence {
            group.example(severity, start, evidence);
        }
    }

    /// The groups of one finding.
    pub(super) fn of(&mut self, id: &'static str) -> impl Iterator<Item = (&Subject, &mut Group)> {
        self.groups
            .iter_mut()
            .filter(move |(key, _)| key.0 == id)
            .map(|(key, group)| (&key.2, group))
    }

    /// The clients that are subjects of one finding and cause.
    pub(super) fn clients_of(&self, id: &str, cause: &str) -> HashSet<IpAddr> {
        let groups = self.groups.iter();
        let found = groups.filter_map(|(key, _)| match &key.2 {
            Subject::Client(client, _) if key.0 == id && key.1 == cause => Some(*client),
            _ => None,
        });
        found.collect()
    }

    /// So many hits of one cause at one subject are told elsewhere; a group of which none is left goes.
    pub(super) fn lessen(&mut self, key: &Key, hits: u64) {
        let hash = hash_of(&self.hasher, key);
        if let Ok(mut slot) = self
            .groups
            .find_entry(hash, |(known, _)| is_same_key(known, key))
        {
            let group = &mut slot.get_mut().1;
            group.count = group.count.saturating_sub(hits);
            if group.count == 0 {
                slot.remove();
            }
        }
    }

    /// Takes one finding about one subject away: another one tells it better.
    pub(super) fn take_back(&mut self, id: &str, subject: &Subject) {
        self.groups
            .retain(|(key, _)| key.0 != id || key.2 != *subject);
    }

    /// Keeps of one finding's groups only those with such a subject.
    pub(super) fn keep(&mut self, id: &str, wanted: impl Fn(&Subject) -> bool) {
        self.groups.retain(|(key, _)| key.0 != id || wanted(&key.2));
    }

    /// The findings, worst first, then by count, then by subject; each with what tells it from all others, whatever
    /// its words become.
    pub(super) fn finish_keyed(self, settings: &Settings) -> Vec<(Box<str>, Finding)> {
        self.finish_with(settings, |(id, cause, subject)| {
            format!("{id}/{cause}/{subject:?}").into()
        })
    }

    /// As [`Groups::finish_keyed`], without that.
    pub(super) fn finish(self, settings: &Settings) -> Vec<Finding> {
        let findings = self.finish_with(settings, |_| ());
        findings.into_iter().map(|((), finding)| finding).collect()
    }

    fn finish_with<T>(self, settings: &Settings, key_of: impl Fn(&Key) -> T) -> Vec<(T, Finding)> {
        let groups = self.groups.into_iter();
        let mut findings: Vec<(T, Finding)> = groups
            .map(|(key, group)| (key_of(&key), group.finding(&key.2, settings)))
            .collect();
        findings.sort_by(|(_, a), (_, b)| {
            b.severity
                .cmp(&a.severity)
                .then(b.count.cmp(&a.count))
                .then_with(|| a.subject.cmp(&b.subject))
                .then_with(|| a.id.cmp(&b.id))
                .then_with(|| a.title.cmp(&b.title))
                .then(a.first_seen.cmp(&b.first_seen))
        });
        findings
    }
}
