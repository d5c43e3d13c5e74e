//! `hello-unanswered` where the answer came at last, but late, and the handshake failed: the client had given up, or it
//! waited in vain. What completes after such a wait is told by `slow-handshake`.

use crate::findings::aside::Late;
use crate::findings::facts::Facts;
use crate::findings::groups::{Subject, Value, through};
use crate::findings::survey::Report;
use crate::findings::text::say;
use crate::findings::{Settings, Verdict};
use crate::record::{Confidence, Endpoint, Evidence, Outcome, Severity, Side};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

/// Nobody waits for longer: such a capture was put together from several, or misses the rest.
const BELIEVED_US: i64 = 600_000_000;

/// The cause: what it says of a record is kept for [`late_answers`].
pub(in crate::findings) const ANSWERED_LATE: &str = "answered-late";

/// The ServerHello took too long. Over TCP only, which knows that hellos arrive.
pub(super) fn answered_late(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let record = facts.record;
    let took_us = record.timing.client_hello_to_server_hello_us?;
    if took_us > BELIEVED_US || record.outcome.is_complete() || !facts.whole {
        return None;
    }
    facts.client_hello?;
    let tcp = record.tcp.as_ref()?;
    let gave_up = record.outcome == Outcome::ClientAbort && tcp.closed_by == Some(Side::Client);
    let gave_up = gave_up.then_some(Side::Client);
    let severity = super::silence_severity(took_us, gave_up, settings)?;
    // Where packets were sent again, the wait may be theirs, and the answer one that the capture had missed before.
    let (severity, confidence) = match tcp.retransmits {
        0 => (severity, Confidence::Certain),
        _ => (Severity::Warning, Confidence::Possible),
    };
    Some(Verdict::new(severity, confidence, ANSWERED_LATE))
}

/// The survey: by client and server.
pub(super) fn late_answers(report: &mut Report<'_>) {
    let aside = report.aside;
    let mut by_pair: BTreeMap<(IpAddr, Endpoint), Vec<&Late>> = BTreeMap::new();
    for late in aside.late.iter() {
        let key = (late.place.client, late.place.server);
        by_pair.entry(key).or_default().push(late);
    }
    let lang = report.past.lang;
    for ((client, server), all) in by_pair {
        let longest = all.iter().map(|late| late.took_us).max().unwrap_or(0);
        let subject = Subject::Pair(client, server);
        for late in all {
            let place = &late.place;
            let verdict = late.verdict;
            let Some(group) = report.open("hello-unanswered", verdict, subject.clone()) else {
                continue;
            };
            group.count(1, place.start, place.start);
            if group.is_described() {
                continue;
            }
            group.note_value("clients", Value::Ip(client));
            match &late.origin {
                Some(origin) => group.note("server", &through(lang, origin, server)),
                None => group.note_value("server", Value::Endpoint(server)),
            }
            if let Some(name) = &late.name {
                group.note("name", name);
            }
            group.set("waited_ms", &(longest / 1_000).to_string());
            let fact = say(lang, "answer-late")
                .with("ms", late.took_us / 1_000)
                .with("outcome", late.outcome.as_str());
            let evidence = Evidence {
                capture: Arc::clone(&place.capture),
                frame: place.frame,
                fact: fact.text().into(),
            };
            group.example(verdict.severity, place.start, vec![evidence]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find, has};
    use crate::record::Finding;

    const ID: &str = "hello-unanswered";

    /// Answered after so long, and then the client closed.
    fn late(ms: i64) -> Make {
        let made = Make::new().answer(0x0303, 0xc02f);
        let made = made.with(|record| {
            record.timing.client_hello_to_server_hello_us = Some(ms * 1_000);
        });
        made.outcome(Outcome::ClientAbort)
            .tcp(|tcp| tcp.closed_by = Some(Side::Client))
    }

    fn told(made: &[Make]) -> Option<Finding> {
        find(&diagnose(made), ID).cloned()
    }

    #[test]
    fn an_answer_that_was_waited_for_in_vain() {
        assert!(has(&late(6_000), ID));
        let finding = told(&[late(6_000), late(9_000).at(30)]).unwrap();
        assert_eq!(
            (finding.severity, finding.confidence, finding.count),
            (Severity::Error, Confidence::Certain, 2)
        );
        assert!(finding.title.contains("9000 ms"), "{}", finding.title);
        assert!(finding.evidence[0].fact.contains("6000 ms"));
        // Nobody gave up: the server ended it itself.
        let ended = late(6_000).outcome(Outcome::LateFailure);
        assert_eq!(told(&[ended]).unwrap().severity, Severity::Warning);
        let resent = late(6_000).tcp(|tcp| tcp.retransmits = 1);
        let resent = told(&[resent]).unwrap();
        assert_eq!(
            (resent.severity, resent.confidence),
            (Severity::Warning, Confidence::Possible)
        );
    }

    #[test]
    fn what_was_soon_enough_or_completes_is_no_silence() {
        let silent = |made: Make| {
            assert!(!has(&made, ID));
            assert_eq!(told(&[made]), None);
        };
        silent(late(4_900));
        silent(late(700_000));
        silent(late(6_000).outcome(Outcome::Established));
        silent(late(6_000).outcome(Outcome::Truncated));
        silent(late(6_000).with(|record| record.defects.push(crate::record::Defect::Gap)));
    }
}
