//! Server names that are missing where they are needed, and names that a server refuses.
//!
//! A contrast proves both: the same server serves other hellos. RFC 6066 section 3; with TLS 1.3 too, since the hello is in
//! clear.

use super::facts::Facts;
use super::groups::{Subject, server_subject};
use super::lists::Gathered;
use super::past::{Ledger, Past};
use super::survey::{Report, pick};
use super::text::{say, word};
use super::trace::{Kind, Number};
use super::{Entry, Rule, Settings, Sheet, Survey, Verdict, When};
use crate::record::{Confidence, Endpoint, Scope, Severity, Side};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The rules that mark handshakes.
pub(super) static RULES: &[Rule] = &[Rule::new(
    Entry::new(
        "sni-rejected",
        Severity::Error,
        Scope::Handshake,
        "RFC 6066 section 3; RFC 9325 section 3.7",
    ),
    name_alert,
    server_subject,
    describe_name_alert,
)
.when(When::ALERTED)];

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: sni,
}];

/// `sni-rejected` by alert; a warning lets the handshake go on.
fn name_alert(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    facts.client_hello?;
    let alert =
        facts.record.alerts.iter().find(|alert| {
            alert.from == Side::Server && alert.code == Some(112) && !alert.encrypted
        })?;
    let (severity, cause) = match alert.level {
        Some(1) => (Severity::Info, "alert-warning"),
        _ => (Severity::Error, "alert"),
    };
    Some(Verdict::new(severity, Confidence::Certain, cause))
}

fn describe_name_alert(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    if let Some(name) = facts.sni() {
        sheet.note("refused", name);
    }
    for alert in &facts.record.alerts {
        if alert.code == Some(112) {
            sheet.fact(alert.frame, |lang| {
                let name = facts.sni().unwrap_or_else(|| word(lang, "none"));
                match alert.level {
                    Some(1) => say(lang, "name-alert-warning"),
                    _ => say(lang, "name-alert-fatal"),
                }
                .with("name", name)
            });
        }
    }
}

/// `sni-missing`, and `sni-rejected` by contrast: names (or no name) that a server refuses while it serves others.
fn sni(report: &mut Report<'_>) {
    let past = report.past;
    for (server, all) in &past.servers {
        let mut nameless = past.traces_of(&all.kinds, |kind| {
            kind.name.is_none()
                && !kind.flags.renegotiation()
                && !kind.flags.has_no_names()
                // The name may stand in what the capture lacks of the hello.
                && !kind.flags.malformed()
                && past
                    .hello(kind)
                    .is_some_and(|hello| !hello.shape.extensions.iter().any(|code| code.0 == 0))
        });
        nameless.retain(|index| !report.is_probe(*index));
        let mut kinds = past.kinds_of(&all.kinds);
        if nameless.is_empty() && !kinds.any(|(_, kind)| kind.failed_silently()) {
            continue;
        }
        let served = past.members(&all.kinds, |kind| kind.name.is_some() && kind.is_complete());
        let nameless_served = pick(report, &nameless, |_, trace| trace.answer.is_some());
        let ledger = past.ledger(&served.kinds);
        let refused = pick(report, &nameless, |_, trace| {
            refused_for_its_name(past, trace, &ledger)
        });
        let served = served.traces;
        let needed = !served.is_empty() && nameless_served.is_empty() && !refused.is_empty();
        if report.settings.sni_ports.contains(&server.port) {
            tell_nameless(report, *server, &nameless, needed, &refused, &served);
        }
        refused_names(report, *server, all, &served);
    }
}

/// The alert that speaks of names; or reset, closed or silent, where the same server answers such a hello with a name.
fn refused_for_its_name(past: &Past, kind: &Kind, served: &Ledger) -> bool {
    let by_alert = kind.alert == Some((Side::Server, 112));
    kind.failed_at_hello()
        && (by_alert || (kind.failed_silently() && is_comparable(past, kind, served)))
}

/// But for the name the server could have served the hello: it offers a version and a suite that named ones got. Clients
/// that send no name are mostly old, and may fail for their age.
fn is_comparable(past: &Past, kind: &Kind, served: &Ledger) -> bool {
    let offered = past.offered(kind);
    kind.offer_max >= served.lowest
        && offered
            .iter()
            .any(|suite| served.suites.contains_key(&suite.0))
}

fn tell_nameless(
    report: &mut Report<'_>,
    server: Endpoint,
    nameless: &[usize],
    needed: bool,
    refused: &[usize],
    served: &[usize],
) {
    let mut clients: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
    for (index, trace) in report.past.of(nameless) {
        clients.entry(*trace.client).or_default().push(index);
    }
    for (client, mine) in clients {
        let (verdict, contrast) = if needed {
            let likely = if refused.len() >= 2 {
                Confidence::Certain
            } else {
                Confidence::Likely
            };
            (Verdict::new(Severity::Error, likely, "needed"), served)
        } else {
            (
                Verdict::new(Severity::Info, Confidence::Certain, ""),
                &[][..],
            )
        };
        // Alone it is a matter of the client, however many servers it asks.
        let subject = match needed {
            true => Subject::Pair(client, server),
            false => Subject::Named(client.to_string().into()),
        };
        report.tell(
            "sni-missing",
            verdict,
            subject,
            &mine,
            contrast.get(..1).unwrap_or(&[]),
        );
    }
    if needed {
        report.explain(refused);
    }
}

fn refused_names(report: &mut Report<'_>, server: Endpoint, all: &Gathered, served: &[usize]) {
    if served.len() < 2 {
        return;
    }
    let past = report.past;
    // The served hellos must be alike but for the name, or the name proves nothing.
    let served_keys: BTreeSet<u32> = past
        .of(served)
        .filter_map(|(_, trace)| Some(past.hello(&trace)?.key))
        .collect();
    let mut names: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let silent: BTreeSet<Number> = past
        .kinds_of(&all.kinds)
        .filter(|(_, kind)| kind.failed_silently())
        .filter_map(|(_, kind)| kind.name)
        .collect();
    let is_of_such = |kind: &Kind| kind.name.is_some_and(|name| silent.contains(&name));
    for index in past.traces_of(&all.kinds, |kind| kind.flags.whole() && is_of_such(kind)) {
        if let Some(name) = past.kind(index).and_then(|kind| past.name(&kind)) {
            names.entry(name).or_default().push(index);
        }
    }
    for (name, mine) in names {
        let refused = pick(report, &mine, |index, trace| {
            trace.failed_silently() && !report.is_explained(index)
        });
        let alike = past
            .of(&refused)
            .filter_map(|(_, trace)| past.hello(&trace))
            .any(|hello| served_keys.contains(&hello.key));
        if refused.len() < 2 || refused.len() != mine.len() || !alike {
            continue;
        }
        let verdict = Verdict::new(Severity::Error, Confidence::Likely, "reset");
        if let Some(group) = report.tell(
            "sni-rejected",
            verdict,
            Subject::Server(server),
            &refused,
            served.get(..1).unwrap_or(&[]),
        ) {
            group.note("refused", name);
        }
        report.explain(&refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find};
    use crate::record::{Close, Outcome};

    fn reset() -> Make {
        Make::new().outcome(Outcome::HelloReset).tcp(|tcp| {
            tcp.close = Close::Rst;
            tcp.closed_by = Some(Side::Server);
        })
    }

    fn good() -> Make {
        Make::new().answer(0x0303, 0xc02f)
    }

    #[test]
    fn a_server_that_needs_the_name() {
        let found = diagnose(&[reset().no_sni(), good()]);
        let missing = find(&found, "sni-missing").unwrap();
        assert_eq!(missing.severity, Severity::Error);
        assert!(find(&found, "hello-reset").is_none());
        // Refused for its age: an old version, suites that nobody got, or an alert that says so.
        let alert = Make::new()
            .outcome(Outcome::ServerAlert)
            .alert(Side::Server, 70);
        for old in [
            reset().offer(0x0301),
            reset().suites(&[0x000a]),
            alert.offer(0x0301),
        ] {
            let found = diagnose(&[old.no_sni(), good(), good().at(1)]);
            let missing = find(&found, "sni-missing").unwrap();
            assert_eq!(missing.severity, Severity::Info);
        }
        // Served without a name: worth knowing only.
        let found = diagnose(&[good().no_sni(), good()]);
        assert_eq!(
            find(&found, "sni-missing").unwrap().severity,
            Severity::Info
        );
    }

    #[test]
    fn names_that_a_server_refuses() {
        let bad = || reset().sni("x.contoso.com");
        let found = diagnose(&[bad(), bad().at(5), good(), good().at(9)]);
        let rejected = find(&found, "sni-rejected").unwrap();
        assert!(rejected.title.contains("x.contoso.com"));
        assert!(find(&found, "hello-reset").is_none());
        // Once is no pattern, and another kind of hello is no contrast.
        assert!(find(&diagnose(&[bad(), good(), good()]), "sni-rejected").is_none());
        let other = || bad().suites(&[0xc014]);
        assert!(
            find(
                &diagnose(&[other(), other(), good(), good()]),
                "sni-rejected"
            )
            .is_none()
        );
        let warned = good()
            .alert(Side::Server, 112)
            .with(|record| record.alerts[0].level = Some(1));
        assert_eq!(
            find(&diagnose(&[warned]), "sni-rejected").unwrap().severity,
            Severity::Info
        );
    }
}
