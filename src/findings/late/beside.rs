//! What stands beside a handshake that died late: one that others completed, or one that came before it. It tells at which
//! side to look first, and proves nothing alone.

use crate::findings::facts::moment;
use crate::findings::groups::Subject;
use crate::findings::survey::Report;
use crate::findings::text::{say, word};
use crate::findings::trace::{Kind, Trace};
use crate::record::{Address, Outcome};
use crate::tls::code_points::VersionRank;

/// Handshakes of one client that are looked at for others like them.
const TRIED_MAX: usize = 64;

/// `tls13-abort-hidden` beside a handshake that another client completed there under the same name, best with an equal hello.
pub(super) fn others(report: &mut Report<'_>) {
    let past = report.past;
    let tls13 = Some(VersionRank::Tls13);
    let completed = past.kinds_like(|sort| sort.negotiated == tls13 && sort.is_complete());
    if completed.is_empty() {
        return;
    }
    for (subject, group) in report.groups.of("tls13-abort-hidden") {
        let Subject::Pair(client, server) = subject else {
            continue;
        };
        let kinds = past.kinds_at(server).iter().copied();
        let kinds: Vec<usize> = kinds
            .filter(|kind| completed.get(*kind) == Some(&true))
            .collect();
        if kinds.is_empty() {
            continue;
        }
        let key = |kind: &Kind<'_>| past.hello(kind).map(|hello| hello.key);
        let of_client = past.of_client(*client);
        let own = || {
            let kinds = of_client.clone().filter_map(|index| past.kind(index));
            kinds.filter(|kind| kind.server == *server && kind.negotiated == tls13)
        };
        let failed = own().filter(|kind| kind.outcome == Outcome::ClientAbort);
        let tried = failed.take(TRIED_MAX).map(|kind| (kind.name, key(&kind)));
        let mut tried: Vec<_> = tried.collect();
        tried.sort_unstable();
        tried.dedup();
        let completed = |fits: &dyn Fn(&Kind<'_>) -> bool| {
            let all = past.in_order(&kinds, fits);
            let mut traces = all.filter_map(|index| past.trace(index));
            traces.find(|trace| *trace.client != *client)
        };
        let equal = completed(&|kind| tried.contains(&(kind.name, key(kind))));
        // Who completes it at other times knows the certificate.
        let completes = || own().any(|kind| kind.is_complete());
        if let Some(equal) = equal.filter(|_| !completes()) {
            group.set("equal", &Address(*equal.client).to_string());
        }
        let other = || completed(&|kind| tried.iter().any(|(name, _)| *name == kind.name));
        if let Some(other) = equal.or_else(other) {
            group.contrast(vec![past.evidence(&other)]);
        }
    }
}

/// `late-handshake-failure` of a resumption beside the full handshake before it that can have set the session up: a session
/// keeps name, version and suite. What it is called is not in the record.
pub(super) fn full_handshake(report: &mut Report<'_>) {
    let past = report.past;
    for (subject, group) in report.groups.of("late-handshake-failure") {
        let Subject::Pair(client, server) = subject else {
            continue;
        };
        if group.cause() != "ems-resumption" {
            continue;
        }
        let signals = |kind: &Kind<'_>| {
            let (client, server) = past.hello(kind).zip(past.answer(kind))?;
            Some((
                client.shape.extended_master_secret,
                server.extended_master_secret,
            ))
        };
        let list: Vec<usize> = past.of_client(*client).collect();
        let died = past.of(&list).find(|(_, trace)| {
            let differs = || signals(trace).is_some_and(|(client, server)| client != server);
            let is_theirs = trace.server == *server && trace.flags.resumed();
            is_theirs && !trace.is_complete() && differs()
        });
        let Some((index, died)) = died else { continue };
        let is_same = |trace: &Trace<'_>| {
            (
                trace.server,
                trace.name,
                trace.negotiated,
                past.suite(trace),
            ) == (died.server, died.name, died.negotiated, past.suite(&died))
        };
        let before = list.get(..list.partition_point(|other| *other < index));
        let full = past
            .of(before.unwrap_or(&[]))
            .rev()
            .find(|(_, trace)| !trace.flags.resumed() && trace.is_complete() && is_same(trace));
        let Some((_, full)) = full else { continue };
        let Some((client, server)) = signals(&full) else {
            continue;
        };
        let ems = |present: bool| word(past.lang, if present { "with" } else { "without" });
        let lang = past.lang;
        let fact = say(lang, "late-full-handshake")
            .with("start", moment(full.own.start))
            .with("server", ems(server))
            .with("client", ems(client));
        group.contrast(vec![past.evidence_of(&full, fact.text())]);
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{Make, diagnose, find};
    use crate::record::{Finding, Outcome};

    #[test]
    fn a_hidden_abort_beside_what_others_complete() {
        let id = "tls13-abort-hidden";
        let tls13 = |at| Make::new().tls13().answer(0x0304, 0x1301).at(at);
        let gave_up = |at| tls13(at).outcome(Outcome::ClientAbort);
        let other = |at| tls13(at).client("10.0.0.2");
        let finding = |others: Vec<Make>| {
            let mut made: Vec<Make> = (0..4).map(gave_up).collect();
            made.extend(others);
            find(&diagnose(&made), id).cloned().unwrap()
        };
        let shows = |finding: &Finding, words: &str| {
            let mut facts = finding.evidence.iter().map(|shown| &*shown.fact);
            facts.any(|fact| fact.contains(words))
        };
        let equal = |finding: &Finding| {
            let mut lines = finding.affects.iter();
            lines.any(|line| line.contains("an equal ClientHello"))
        };
        let short = other(8).suites(&[0x1301]);
        // An equal hello tells most, be it later.
        let found = finding(vec![short.clone(), other(9).client("10.0.0.3")]);
        assert!(shows(&found, "10.0.0.3") && equal(&found), "{found:?}");
        let found = finding(vec![short]);
        assert!(shows(&found, "10.0.0.2") && !equal(&found));
        // The client knows the certificate at other times.
        let found = finding(vec![other(8), tls13(9)]);
        assert!(shows(&found, "10.0.0.2") && !equal(&found));
        // The same client; another name, and so perhaps another certificate; no success.
        for others in [
            vec![tls13(9)],
            vec![other(9).sni("mail.contoso.com")],
            vec![other(9).outcome(Outcome::Truncated)],
        ] {
            let found = finding(others);
            assert!(!shows(&found, "established") && !shows(&found, "negotiated TLS 1.3"));
        }
    }

    #[test]
    fn a_resumption_that_dies_beside_the_handshake_before_it() {
        let id = "late-handshake-failure";
        let full = |suite, at| Make::new().answer(0x0303, suite).at(at);
        let died = full(0xc02f, 9)
            .reply(|shape| shape.extended_master_secret = false)
            .outcome(Outcome::LateFailure)
            .with(|record| record.server_hello.as_mut().unwrap().resumed = true);
        let tells = |others: &[Make]| {
            let found = diagnose(&[others, std::slice::from_ref(&died)].concat());
            let evidence = find(&found, id).unwrap().evidence.clone();
            let mut facts = evidence.iter().map(|shown| &*shown.fact);
            facts
                .find(|fact| fact.contains("full handshake"))
                .map(str::to_owned)
        };
        let fact = tells(&[full(0xc02f, 1), full(0xc02f, 5)]).unwrap();
        assert!(fact.contains("22:13:25"), "{fact}");
        assert!(
            fact.contains("server with extended_master_secret (client with)"),
            "{fact}"
        );
        let without = full(0xc02f, 5).reply(|shape| shape.extended_master_secret = false);
        let fact = tells(&[without]).unwrap();
        assert!(
            fact.contains("server without extended_master_secret"),
            "{fact}"
        );
        // None; later; of another suite or name, which a session keeps; resumed itself.
        let resumed = full(0xc02f, 5);
        let resumed = resumed.with(|record| record.server_hello.as_mut().unwrap().resumed = true);
        for other in [
            full(0xc02f, 20),
            full(0xc030, 5),
            full(0xc02f, 5).sni("mail.contoso.com"),
            full(0xc02f, 5).client("10.0.0.2"),
            resumed,
        ] {
            assert_eq!(tells(&[other]), None);
        }
    }
}
