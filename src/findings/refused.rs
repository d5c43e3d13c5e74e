//! Hellos that a server refuses in words: a fatal alert and no ServerHello. Where nothing else in the capture says why,
//! `hello-reset` states it with the alert (RFC 8446 section 6.2): the capture of an administrator often holds the failing
//! client alone, and the server's ledger is empty.

use super::failures::separating_feature;
use super::groups::Subject;
use super::hosts;
use super::lists::Members;
use super::negotiation::lacks_o365_suite;
use super::survey::{Report, pick};
use super::trace::{AT_HELLO, Sort};
use super::{Survey, Verdict};
use crate::record::{Confidence, Endpoint, Outcome, Severity, Side};
use crate::tls::code_points::AlertDescription;
use hashbrown::HashSet;
use std::{collections::BTreeMap, net::IpAddr};

/// The survey before all that look for reasons at the server.
pub(super) static TOLD: &[Survey] = &[Survey {
    entries: &[],
    run: leave_to_o365,
}];

/// The survey beside those that only state a failure.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: refusals,
}];

/// No other finding speaks of this alert upon a ClientHello: not of a version (70, 71), a fallback (86), a name (112), or
/// a protocol (120).
pub(super) fn says_no_more(code: u8) -> bool {
    !matches!(code, 70 | 71 | 86 | 112 | 120)
}

/// The server's alert upon the hello, where it is all that is known.
fn refusal(kind: &Sort) -> Option<u8> {
    match kind.alert {
        Some((Side::Server, code)) if kind.outcome == Outcome::ServerAlert => {
            (kind.failed_at_hello() && says_no_more(code)).then_some(code)
        }
        _ => None,
    }
}

/// What `o365-no-common-cipher` says of a hello need not be told as a bare failure, too, nor as a matter of the server.
fn leave_to_o365(report: &mut Report<'_>) {
    let past = report.past;
    let told = report.groups.of("o365-no-common-cipher");
    let clients: HashSet<IpAddr> = told
        .filter_map(|(subject, _)| match subject {
            Subject::Client(client, _) => Some(*client),
            _ => None,
        })
        .collect();
    if clients.is_empty() {
        return;
    }
    for (client, _, list) in past.pairs.with(&AT_HELLO) {
        if !clients.contains(&client) {
            continue;
        }
        let explained = pick(report, list, |_, trace| {
            let is_strict = |name| hosts::is_strict(name, report.settings);
            trace.failed_at_hello()
                && past.name(trace).is_some_and(is_strict)
                && lacks_o365_suite(trace.offer_max, past.offered(trace), report.settings)
        });
        report.explain(&explained);
    }
}

/// `hello-reset` by an alert.
fn refusals(report: &mut Report<'_>) {
    let past = report.past;
    let mut answered: BTreeMap<Endpoint, Members> = BTreeMap::new();
    for (client, server, list) in past.pairs.with(&[Outcome::ServerAlert]) {
        let refused = pick(report, list, |index, trace| {
            refusal(trace).is_some() && !report.is_explained(index)
        });
        if refused.is_empty() {
            continue;
        }
        let served = &*answered
            .entry(server)
            .or_insert_with(|| past.members(past.kinds_at(&server), |kind| kind.answer.is_some()));
        let feature = separating_feature(past, &refused, served);
        let verdict = Verdict::new(Severity::Error, Confidence::Certain, "alert");
        let subject = Subject::Pair(client, server);
        let contrast = served.traces.get(..1).unwrap_or(&[]);
        if let Some(group) = report.tell("hello-reset", verdict, subject, &refused, contrast) {
            group.set("served", &served.traces.len().to_string());
            for (_, trace) in past.of(&refused) {
                if let Some(code) = refusal(&trace) {
                    group.note("alert", &format!("{code} {}", AlertDescription(code)));
                }
            }
            if let Some(feature) = feature {
                group.set("feature", &feature);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find, has};

    fn refused(code: u8) -> Make {
        let made = Make::new().alert(Side::Server, code);
        made.outcome(Outcome::ServerAlert)
    }

    #[test]
    fn an_alert_upon_the_hello_is_told_where_nothing_else_says_why() {
        let id = "hello-reset";
        let found = diagnose(&[refused(40), refused(40).at(9)]);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.severity, Severity::Error);
        assert!(
            finding.title.contains("40 handshake_failure"),
            "{}",
            finding.title
        );
        assert!(has(&refused(80), id));
        // Others speak of these.
        for code in [70, 71, 86, 112, 120] {
            assert!(!has(&refused(code), id), "{code}");
            assert!(find(&diagnose(&[refused(code)]), id).is_none(), "{code}");
        }
        // The server had answered; the client refused.
        let late = Make::new().answer(0x0303, 0xc02f).alert(Side::Server, 40);
        let late = late.outcome(Outcome::ServerAlert);
        assert!(!has(&late, id) && find(&diagnose(&[late]), id).is_none());
        // A better reason: no suite that this server was seen to take.
        let good = |at| Make::new().answer(0x0303, 0xc02f).at(at);
        let made = [good(0), good(1), good(2), refused(40).suites(&[0x000a])];
        let found = diagnose(&made);
        assert!(find(&found, "no-common-cipher").is_some() && find(&found, id).is_none());
    }

    #[test]
    fn what_microsoft_365_refuses_is_told_once() {
        let id = "hello-reset";
        let strict = |made: Make| made.sni("outlook.office365.com");
        let suites = strict(refused(40)).suites(&[0xc02b]);
        let found = diagnose(&[suites]);
        assert!(find(&found, "o365-no-common-cipher").is_some() && find(&found, id).is_none());
        let reset = Make::new().outcome(Outcome::HelloReset);
        let found = diagnose(&[strict(reset.clone()).suites(&[0xc02b])]);
        assert!(find(&found, "o365-no-common-cipher").is_some() && find(&found, id).is_none());
        let found = diagnose(&[strict(reset.clone()).offer(0x0301)]);
        assert!(find(&found, "client-max-version-o365").is_some() && find(&found, id).is_none());
        // A hello that fits fails for another reason.
        assert!(find(&diagnose(&[strict(reset)]), id).is_some());
    }

    #[test]
    fn what_microsoft_does_not_take_is_told_once() {
        let office = |made: Make| made.sni("outlook.office365.com").server("203.0.113.9:443");
        let served = |at| office(Make::new().client("10.0.0.2").answer(0x0303, 0xc030)).at(at);
        let client = office(refused(40).suites(&[0xcca8]));
        let found = diagnose(&[served(0), served(1), served(2), client]);
        assert!(find(&found, "o365-no-common-cipher").is_some());
        // Its remedy would be at the server, which is not ours.
        assert!(find(&found, "no-common-cipher").is_none());
    }
}
