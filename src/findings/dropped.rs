//! Packets that the recording machine itself dropped (pktmon tells): where a SYN or a hello gets no answer, the reason is
//! here and not on the way.
//!
//! A drop alone is nothing: TCP sends again. It counts where the connection failed in the very step whose packet was
//! dropped. What the reason's number means depends on the build of Windows, so that its words are those of the trace.

use super::facts::Facts;
use super::failures::silence_severity;
use super::groups::Subject;
use super::survey::Report;
use super::text::{Say, say};
use super::{Lang, Survey, Verdict};
use crate::record::{Confidence, DroppedPacket, Evidence, Outcome, Side};
use std::sync::Arc;

/// The survey; its finding is that of the rule `hello-unanswered`.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: hellos,
}];

/// The cause in all findings of this kind.
pub(super) const CAUSE: &str = "dropped-here";

fn drops<'a>(facts: &Facts<'a>) -> &'a [DroppedPacket] {
    let recording = facts.record.recording.as_deref();
    recording.map_or(&[], |recording| &recording.drops)
}

/// The SYN that never got an answer was dropped here.
pub(super) fn syn<'a>(facts: &Facts<'a>) -> Option<&'a DroppedPacket> {
    let mut drops = drops(facts).iter();
    let found = drops.find(|drop| drop.from == Side::Client && drop.payload_bytes == 0);
    found.filter(|_| facts.record.outcome == Outcome::NoSynAck)
}

/// A piece of the hello that never got an answer was dropped here, and the server's TCP did not get the whole.
pub(super) fn hello<'a>(facts: &Facts<'a>) -> Option<&'a DroppedPacket> {
    let arrived = facts.observed(|observed| observed.hello_acknowledged) == Some(true);
    if facts.record.outcome != Outcome::HelloUnanswered || arrived || !facts.whole {
        return None;
    }
    let mut drops = drops(facts).iter();
    drops.find(|drop| drop.from == Side::Client && drop.payload_bytes > 0)
}

/// Why the system dropped a packet: in the words of the trace, or else as a number.
pub(super) fn reason(drop: &DroppedPacket) -> String {
    match drop.reason_text.as_deref() {
        Some(words) => format!("{words} ({})", drop.reason),
        None => drop.reason.to_string(),
    }
}

/// What is to be said of the packet.
pub(super) fn words(lang: Lang, reason: &str, location: &str) -> Say {
    say(lang, "dropped")
        .with("reason", reason)
        .with("location", location)
}

/// `hello-unanswered` by a drop on this machine: before the surveys that only state the silence.
fn hellos(report: &mut Report<'_>) {
    let past = report.past;
    for drop in report.aside.drops.iter() {
        let place = &drop.place;
        let list = past.pairs.of(place.client, place.server);
        let found = past.of(list).find(|(index, trace)| {
            trace.own.start == place.start
                && trace.outcome == Outcome::HelloUnanswered
                && !report.is_explained(*index)
        });
        let Some((index, trace)) = found else {
            continue;
        };
        let severity =
            silence_severity(trace.own.waited_us(), trace.own.closed_by, report.settings);
        let Some(severity) = severity else { continue };
        let fact = words(past.lang, &drop.reason, &drop.location);
        let evidence = vec![
            past.evidence(&trace),
            Evidence {
                capture: Arc::clone(&place.capture),
                frame: place.frame,
                fact: fact.text().into(),
            },
        ];
        let waited_ms = trace.own.waited_us() / 1_000;
        let verdict = Verdict::new(severity, Confidence::Certain, CAUSE);
        let subject = Subject::Pair(place.client, place.server);
        if let Some(group) =
            report.tell_without_evidence("hello-unanswered", verdict, subject, &[index])
        {
            group.replace_examples(severity, evidence);
            group.set("waited_ms", &waited_ms.to_string());
            group.note("reason", &drop.reason);
        }
        report.explain(&[index]);
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{Make, diagnose, find, has};
    use crate::record::{Confidence, DroppedPacket, Finding, Outcome, Recording, Severity, Side};

    fn drop(from: Side, payload_bytes: u32) -> DroppedPacket {
        DroppedPacket {
            frame: 9,
            from,
            payload_bytes,
            reason: 909,
            reason_text: Some("INET: Inspection drop".into()),
            location: "0xe0004000".into(),
        }
    }

    fn recorded(made: Make, drops: Vec<DroppedPacket>) -> Make {
        made.with(|record| {
            record.recording = Some(Box::new(Recording {
                drops,
                ..Recording::default()
            }));
        })
    }

    fn syn() -> Make {
        Make::new()
            .with(|record| record.client_hello = None)
            .outcome(Outcome::NoSynAck)
    }

    fn hello() -> Make {
        Make::new()
            .outcome(Outcome::HelloUnanswered)
            .lasts_ms(20_000)
            .observed(|seen| seen.hello_acknowledged = Some(false))
    }

    fn cause(found: &[Finding], id: &str) -> Option<(Severity, Confidence)> {
        let found = find(found, id).filter(|one| one.title.contains("INET: Inspection drop (909)"));
        found.map(|one| (one.severity, one.confidence))
    }

    #[test]
    fn a_syn_that_this_machine_drops() {
        let id = "tcp-connect-failed";
        let found = diagnose(&[recorded(syn(), vec![drop(Side::Client, 0)])]);
        assert_eq!(
            cause(&found, id),
            Some((Severity::Error, Confidence::Certain))
        );
        let evidence = &find(&found, id).unwrap().evidence;
        assert!(evidence.iter().any(|one| one.frame == 9), "{evidence:?}");
        // One SYN without a drop is no failure yet, nor is one that was dropped and came through when it was sent again.
        assert!(!has(&syn(), id));
        let again = recorded(
            Make::new().answer(0x0303, 0xc02f),
            vec![drop(Side::Client, 0)],
        );
        assert!(diagnose(&[again]).is_empty());
    }

    #[test]
    fn a_hello_that_this_machine_drops() {
        let id = "hello-unanswered";
        let found = diagnose(&[recorded(hello(), vec![drop(Side::Client, 517)])]);
        assert_eq!(
            cause(&found, id),
            Some((Severity::Error, Confidence::Certain))
        );
        assert_eq!(found.iter().filter(|one| one.id == id).count(), 1);
        assert!(
            find(&found, id)
                .unwrap()
                .evidence
                .iter()
                .any(|one| one.frame == 9)
        );
        // It arrived all the same, or something else was dropped: the silence is the server's.
        let arrived = hello().observed(|seen| seen.hello_acknowledged = Some(true));
        for made in [
            recorded(arrived, vec![drop(Side::Client, 517)]),
            recorded(hello(), vec![drop(Side::Client, 0), drop(Side::Server, 0)]),
        ] {
            let found = diagnose(&[made]);
            assert!(find(&found, id).is_some() && cause(&found, id).is_none());
        }
        // Too short to be a silence.
        let short = recorded(hello().lasts_ms(2_000), vec![drop(Side::Client, 517)]);
        assert!(find(&diagnose(&[short]), id).is_none());
    }
}
