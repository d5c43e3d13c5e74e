//! How good the captures are: what they lack lowers what every other finding can say.

use super::groups::Subject;
use super::history::Trace;
use super::survey::Report;
use super::{Entry, Survey, Verdict};
use crate::record::{Confidence, Scope, Severity};
use std::collections::{BTreeMap, BTreeSet};

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[Entry::new(
        "capture-quality",
        Severity::Warning,
        Scope::Capture,
        "Wireshark User's Guide: capturing",
    )],
    run: quality,
}];

/// `capture-quality`: what the captures lack, and what follows for the rest.
fn quality(report: &mut Report<'_>) {
    clock(report);
    let past = report.past;
    type Fits = fn(&Trace) -> bool;
    let kinds: [(&'static str, Fits); 4] = [
        ("one-direction", |trace| trace.flags.one_direction),
        ("gaps", |trace| trace.flags.gap),
        ("snap-length", |trace| trace.flags.snap_length),
        ("mid-stream", |trace| trace.flags.mid_stream),
    ];
    let total = past.traces.len();
    for (cause, fits) in kinds {
        let traces: Vec<usize> = past
            .traces
            .iter()
            .enumerate()
            .filter(|(_, trace)| fits(trace))
            .map(|(index, _)| index)
            .collect();
        if traces.is_empty() {
            continue;
        }
        let many = traces.len() * 10 >= total && cause != "mid-stream";
        let severity = if many {
            Severity::Warning
        } else {
            Severity::Info
        };
        let captures: BTreeSet<String> = past
            .of(&traces)
            .map(|(_, trace)| past.capture(trace).to_string())
            .collect();
        let verdict = Verdict::new(severity, Confidence::Certain, cause);
        if let Some(group) = report.tell("capture-quality", verdict, Subject::Capture, &traces, &[])
        {
            group.set("total", &total.to_string());
            for capture in captures {
                group.note("capture", &capture);
            }
        }
    }
}

/// Three and more unrelated certificates out of date, and none in date: the clock of the capture is wrong, not they.
fn clock(report: &mut Report<'_>) {
    let past = report.past;
    let mut wrong: BTreeMap<&str, usize> = BTreeMap::new();
    let mut right = 0;
    for (index, trace) in past.traces.iter().enumerate() {
        let Some(leaf) = past.leaf(trace) else {
            continue;
        };
        let (Some(begin), Some(end)) = (leaf.not_before, leaf.not_after) else {
            continue;
        };
        if begin > trace.start || end < trace.start {
            wrong
                .entry(leaf.issuer.as_deref().unwrap_or(""))
                .or_insert(index);
        } else {
            right += 1;
        }
    }
    if wrong.len() < 3 || right > 0 {
        return;
    }
    for cause in ["expired", "not-yet-valid", "intermediate-expired"] {
        report.groups.forget("cert-validity", cause);
    }
    let traces: Vec<usize> = wrong.into_values().collect();
    let capture = past
        .of(&traces)
        .next()
        .map(|(_, trace)| past.capture(trace).to_string());
    let verdict = Verdict::new(Severity::Warning, Confidence::Likely, "clock");
    if let Some(group) = report.tell("capture-quality", verdict, Subject::Capture, &traces, &[]) {
        group.note("capture", &capture.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{DAY_S, Make, START_S, cert, diagnose, find};
    use crate::record::{Defect, Timestamp};

    #[test]
    fn captures_that_lack_something() {
        let id = "capture-quality";
        let cut = Make::new().with(|record| record.defects.push(Defect::OneDirection));
        let found = diagnose(&[cut]);
        assert_eq!(find(&found, id).unwrap().severity, Severity::Warning);
        assert!(find(&diagnose(&[Make::new().answer(0x0303, 0xc02f)]), id).is_none());
    }

    #[test]
    fn a_wrong_clock_is_not_the_certificates_fault() {
        let expired = |issuer: &str| {
            let mut leaf = cert(
                &format!("CN=www.contoso.com, OU={issuer}"),
                &["www.contoso.com"],
            );
            leaf.issuer = Some(issuer.into());
            leaf.not_after = Some(Timestamp((START_S - DAY_S) * 1_000_000_000));
            Make::new().answer(0x0303, 0xc02f).certificate(leaf)
        };
        let all = [expired("CN=A"), expired("CN=B"), expired("CN=C")];
        let found = diagnose(&all);
        assert!(
            find(&found, "cert-validity").is_none() && find(&found, "capture-quality").is_some()
        );
        let two = diagnose(&all[..2]);
        assert!(find(&two, "cert-validity").is_some());
    }
}
