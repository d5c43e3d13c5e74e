//! Hellos that a server refuses in words: a fatal alert and no ServerHello. Where nothing else in the capture says why,
//! `hello-reset` states it with the alert (RFC 8446 section 6.2): the capture of an administrator often holds the failing
//! client alone, and the server's ledger is empty.

use super::failures::separating_feature;
use super::groups::Subject;
use super::hosts;
use super::lists::Members;
use super::negotiation::{lacks_o365_suite, offer_words};
use super::no_common::{suite_words, takes};
use super::past::Ledger;
use super::survey::{Report, pick};
use super::trace::{Kind, Sort, Trace};
use super::{Survey, Verdict};
use crate::record::{Confidence, Endpoint, Evidence, Outcome, Severity, Side};
use crate::tls::code_points::{AlertDescription, CipherSuite, VersionRank};
use hashbrown::HashMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The survey before all that look for reasons at the server.
pub(super) static TOLD: &[Survey] = &[Survey {
    entries: &[],
    run: beside_the_list,
}];

/// The survey beside those that only state a failure.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: refusals,
}];

/// What Microsoft's list of suites says of a hello.
const O365: &str = "o365-no-common-cipher";

/// Handshakes that show what a service chose for others.
const CHOSEN_SHOWN: usize = 2;

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

/// What `o365-no-common-cipher` says of a hello need not be told as a bare failure, too, nor as a matter of the server. What
/// the service was seen to choose for others is shown beside it, and beats the list, which ages.
fn beside_the_list(report: &mut Report<'_>) {
    let past = report.past;
    let mut told: BTreeMap<Box<str>, BTreeSet<IpAddr>> = BTreeMap::new();
    for (subject, _) in report.groups.of(O365) {
        if let Subject::Client(client, name) = subject {
            told.entry(name.clone()).or_default().insert(*client);
        }
    }
    if told.is_empty() {
        return;
    }
    let settings = report.settings;
    // Equal hellos are alike.
    let mut lacks: HashMap<_, bool> = HashMap::new();
    let mut lacks = |kind: &Kind| {
        let hello = (kind.hello, kind.offer_max);
        let lacking = || lacks_o365_suite(kind.offer_max, past.offered(kind), settings);
        *lacks.entry(hello).or_insert_with(lacking)
    };
    for (name, members) in past.names() {
        if !hosts::is_strict(name, settings) {
            continue;
        }
        // An answer for which there was no room is one, too.
        let lacking = past.traces_of(&members.kinds, |kind| {
            kind.hello.is_some() && kind.negotiated.is_none() && lacks(kind)
        });
        let ledger = past.ledger(&members.kinds);
        let mut by_client: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
        for (index, trace) in past.of(&lacking) {
            by_client.entry(*trace.client).or_default().push(index);
        }
        for (client, own) in by_client {
            let is_told = told
                .get(name)
                .is_some_and(|clients| clients.contains(&client));
            let subject = match is_told {
                true => Subject::Client(client, name.into()),
                false => Subject::Others,
            };
            chosen_for_others(report, &subject, &own, &ledger);
        }
    }
}

/// The same for one client and name: `lacking` are its hellos without a suite of the list.
fn chosen_for_others(
    report: &mut Report<'_>,
    subject: &Subject,
    lacking: &[usize],
    ledger: &Ledger,
) {
    let past = report.past;
    let mut chosen: HashMap<_, bool> = HashMap::new();
    let mut is_chosen = |trace: &Trace<'_>| {
        let version = trace.offer_max.unwrap_or(VersionRank::Tls12);
        let hello = (trace.hello, version);
        *chosen.entry(hello).or_insert_with(|| {
            let mut offered = past.offered(trace).into_iter();
            offered.any(|suite| takes(ledger, suite, version))
        })
    };
    let (refuted, left): (Vec<usize>, Vec<usize>) = (lacking.iter())
        .partition(|index| past.trace(**index).is_some_and(|trace| is_chosen(&trace)));
    let failed = pick(report, &left, |_, trace| trace.failed_at_hello());
    report.explain(&failed);
    let key = (O365, "", subject.clone());
    let is_alone = *subject != Subject::Others;
    // Where none is left, what was forgotten can't be shown either.
    let gone = match is_alone && left.is_empty() {
        true => u64::MAX,
        false => refuted.len() as u64,
    };
    report.groups.lessen(&key, gone);
    if !is_alone {
        return;
    }
    let others: Vec<Evidence> = past
        .of(&ledger.suites.values().copied().collect::<Vec<_>>())
        .take(CHOSEN_SHOWN)
        .map(|(_, trace)| past.evidence(&trace))
        .collect();
    let mut groups = report.groups.of(O365);
    let Some((_, group)) = groups.find(|(known, _)| *known == subject) else {
        return;
    };
    if !refuted.is_empty() {
        let shown = past.of(&left).take(CHOSEN_SHOWN);
        let evidence = shown.map(|(_, trace)| {
            let suites = past.offered(&trace);
            let offer = offer_words(past.lang, trace.offer_max, suites.into_iter());
            past.evidence_of(&trace, offer.text())
        });
        group.replace_examples(Severity::Error, evidence.collect());
    }
    if !others.is_empty() {
        let suites = ledger.suites.keys().map(|code| CipherSuite(*code));
        group.set("chosen", &suite_words(suites));
        group.contrast(others);
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
    use crate::record::Finding;

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

    #[test]
    fn what_microsoft_chose_for_others_stands_beside_its_list_and_beats_it() {
        let id = "o365-no-common-cipher";
        let office = |made: Make| made.sni("outlook.office365.com");
        let served = |suite, at| {
            let made = office(Make::new().client("10.0.0.2").server("203.0.113.7:443"));
            made.suites(&[suite]).answer(0x0303, suite).at(at)
        };
        let client = |suite, at| office(refused(40)).suites(&[suite]).at(at);
        // However many failed, what others got is shown.
        let mut made: Vec<Make> = (0..5).map(|at| client(0xcca8, at)).collect();
        made.extend([served(0xc030, 90), served(0xc02f, 91)]);
        let found = diagnose(&made);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.count, 5);
        let shown = |finding: &Finding, words: &str| {
            let mut facts = finding.evidence.iter().map(|shown| &*shown.fact);
            facts.any(|fact| fact.contains(words))
        };
        assert!(shown(finding, "203.0.113.7") && shown(finding, "0xc030"));
        let affects = &finding.affects;
        let tells = affects.iter().any(|line| line.contains("(0xc02f)"));
        assert!(tells, "{affects:?}");
        // It took a suite that is not on the list: then the list says nothing here.
        made.push(served(0xcca8, 92));
        let found = diagnose(&made);
        assert!(find(&found, id).is_none());
        assert_eq!(find(&found, "hello-reset").unwrap().count, 5);
        // Of two programs of a client one is refuted.
        made.push(client(0x000a, 93));
        let found = diagnose(&made);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.count, 1);
        assert!(shown(finding, "(0x000a)"));
        assert_eq!(finding.evidence.len(), 3, "{:?}", finding.evidence);
        assert_eq!(find(&found, "hello-reset").unwrap().count, 5);
        // So of all clients, however many there are.
        let many = (0..200).map(|n| client(0xcca8, n).client(&format!("10.1.0.{n}")));
        let mut many: Vec<Make> = many.collect();
        let found = diagnose(&many);
        let told = found.iter().filter(|finding| finding.id == id);
        assert_eq!(told.map(|finding| finding.count).sum::<u64>(), 200);
        many.push(served(0xcca8, 92));
        let found = diagnose(&many);
        assert!(found.iter().all(|finding| finding.id != id), "{found:?}");
        // What another service chose proves nothing here.
        let other = served(0xcca8, 94).sni("www.contoso.com");
        let found = diagnose(&[client(0xcca8, 0), other]);
        assert!(find(&found, id).is_some());
    }
}
