//! Groups of one span of time join those of another: counts add up, examples compete, tallies merge.

use super::{Groups, Kept, Value};
use crate::findings::Verdict;

impl Kept {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Word(word) => Value::Word(word),
            Self::Ip(ip) => Value::Ip(*ip),
            Self::Endpoint(endpoint) => Value::Endpoint(*endpoint),
            Self::Number(number) => Value::Number(*number),
            Self::Minute(time) => Value::Minute(*time),
        }
    }
}

impl Groups {
    /// Adds all that another one holds.
    pub(in crate::findings) fn absorb(&mut self, other: &Self) {
        self.beyond += other.beyond;
        for ((_, cause, subject), theirs) in other.groups.iter() {
            let verdict = Verdict::new(theirs.severity, theirs.confidence, cause);
            let Some(mine) = self.open(theirs.entry, verdict, subject.clone()) else {
                continue;
            };
            mine.count(theirs.count, theirs.first_seen, theirs.last_seen);
            for example in &theirs.examples {
                mine.example(example.severity, example.start, example.evidence.clone());
            }
            for (key, tally) in &theirs.tallies {
                for (kept, count) in &tally.counts {
                    mine.tally(key).add(kept.value(), *count);
                }
                mine.tally(key).beyond += tally.beyond;
            }
        }
    }
}
