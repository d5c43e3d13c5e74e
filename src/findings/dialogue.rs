//! What was agreed on before TLS, and was not kept: STARTTLS that is stripped, refused or not used, and proxies that
//! refuse a tunnel.
//!
//! RFC 3207 (SMTP), RFC 2595 and RFC 8314 (IMAP, POP3), RFC 9110 section 9.3.6 (CONNECT). Mail between servers is
//! opportunistic: going on in clear is worth knowing there, and a warning where users log on.

use super::aside::Unauthenticated;
use super::facts::Facts;
use super::groups::Subject;
use super::survey::Report;
use super::text::say;
use super::{Entry, Rule, Settings, Sheet, Survey, Verdict, When};
use crate::record::{Confidence, Evidence, Scope, Severity};
use std::sync::Arc;

/// The rules.
pub(super) static RULES: &[Rule] = &[Rule::new(
    Entry::new(
        "starttls-problem",
        Severity::Warning,
        Scope::Client,
        "RFC 3207; RFC 2595; RFC 8314; RFC 7672 section 1.3 (downgrade)",
    ),
    starttls,
    pair,
    describe_starttls,
)
.when(When::TALKED)];

/// The survey that adds proxies that ask for a log-on which never comes.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: unauthenticated,
}];

fn pair(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Pair(facts.record.client.ip, facts.record.server)
}

/// `starttls-problem`: mail protocols only; databases decline TLS as a matter of course.
fn starttls(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    let said = facts.record.dialogue.as_deref()?;
    if !matches!(&*said.protocol, "smtp" | "imap" | "pop3") {
        return None;
    }
    // Mail between servers goes to port 25; users log on at the others.
    let users = facts.record.server.port != 25;
    let milder = if users {
        Severity::Warning
    } else {
        Severity::Info
    };
    let (severity, cause) = if said.stripped {
        (Severity::Warning, "stripped")
    } else if said.requested && said.accepted == Some(false) && facts.whole {
        (Severity::Warning, "refused")
    } else if !said.continued_in_clear || facts.client_hello.is_some() || !facts.whole {
        return None;
    } else if said.offered {
        (milder, "not-used")
    } else {
        (milder, "not-offered")
    };
    Some(Verdict::new(severity, Confidence::Certain, cause))
}

fn describe_starttls(facts: &Facts<'_>, verdict: Verdict, sheet: &mut Sheet<'_>) {
    sheet.peers(facts);
    let Some(said) = facts.record.dialogue.as_deref() else {
        return;
    };
    sheet.note("protocol", &said.protocol.to_uppercase());
    if let Some(answer) = said.answer.as_deref() {
        sheet.note("answer", answer);
    }
    sheet.fact(said.frame, |lang| {
        let fact = match verdict.cause {
            "stripped" => say(lang, "starttls-stripped"),
            "refused" => say(lang, "starttls-refused"),
            "not-used" => say(lang, "starttls-not-used"),
            _ => say(lang, "starttls-not-offered"),
        };
        let fact = fact.with("protocol", said.protocol.to_uppercase());
        match said.answer.as_deref() {
            Some(answer) => fact.and("starttls-answer").with("answer", answer),
            None => fact,
        }
    });
}

/// `explicit-proxy-connect`: 407 for a client that never got a tunnel through this proxy. A 407 that a log-on follows is
/// the normal dance.
fn unauthenticated(report: &mut Report<'_>) {
    let aside = report.aside;
    let lang = report.past.lang;
    let refused = |tries: &&Unauthenticated| {
        let place = &tries.place;
        !aside.may_have_tunnel(place.client, place.server)
    };
    for entry in aside.unauthenticated.iter().filter(refused) {
        let place = &entry.place;
        let verdict = Verdict::new(Severity::Warning, Confidence::Certain, "log-on");
        let subject = Subject::Pair(place.client, place.server);
        let fact = say(lang, "connect-answer")
            .with("target", &entry.target)
            .with("status", 407);
        let evidence = Evidence {
            capture: Arc::clone(&place.capture),
            frame: place.frame,
            fact: fact.text().into(),
        };
        if let Some(group) = report.open("explicit-proxy-connect", verdict, subject) {
            group.count(1, place.start, place.start);
            group.example(verdict.severity, place.start, vec![evidence]);
            group.note("clients", &place.client.to_string());
            group.note("server", &place.server.to_string());
            group.note("target", &entry.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{Make, diagnose, find, has};
    use crate::record::{Dialogue, Proxy, Severity};

    fn mail(server: &str, change: impl FnOnce(&mut Dialogue)) -> Make {
        let mut said = Dialogue {
            protocol: "smtp".into(),
            frame: 7,
            ..Dialogue::default()
        };
        change(&mut said);
        Make::new().server(server).with(|record| {
            record.client_hello = None;
            record.outcome = crate::record::Outcome::NoClientHello;
            record.dialogue = Some(Box::new(said));
        })
    }

    #[test]
    fn starttls_that_comes_to_nothing() {
        let id = "starttls-problem";
        let severity = |made: Make| find(&diagnose(&[made]), id).map(|found| found.severity);
        let stripped = mail("10.0.0.5:25", |said| said.stripped = true);
        assert_eq!(severity(stripped), Some(Severity::Warning));
        let refused = mail("10.0.0.5:587", |said| {
            (said.offered, said.requested, said.accepted) = (true, true, Some(false));
            said.answer = Some("454".into());
        });
        assert_eq!(severity(refused.clone()), Some(Severity::Warning));
        // With a hole in what was said, the answer may be to something else.
        let cut = refused.with(|record| record.defects.push(crate::record::Defect::SnapLength));
        assert_eq!(severity(cut), None);
        let clear = |server: &str| mail(server, |said| said.continued_in_clear = true);
        assert_eq!(severity(clear("10.0.0.5:143")), Some(Severity::Warning));
        assert_eq!(severity(clear("10.0.0.5:25")), Some(Severity::Info));
        // A look at the banner, and TLS that came about.
        assert_eq!(severity(mail("10.0.0.5:25", |_| ())), None);
        let fine = Make::new().answer(0x0303, 0xc02f).with(|record| {
            record.dialogue = Some(Box::new(Dialogue {
                protocol: "smtp".into(),
                offered: true,
                requested: true,
                accepted: Some(true),
                ..Dialogue::default()
            }));
        });
        assert!(!has(&fine, id));
        let database = mail("10.0.0.5:5432", |said| {
            said.protocol = "postgres".into();
            said.continued_in_clear = true;
        });
        assert_eq!(severity(database), None);
    }

    fn connect(status: Option<u16>, at: i64) -> Make {
        mail("10.0.0.8:3128", |said| said.protocol = "http".into())
            .at(at)
            .with(|record| {
                record.proxy = Some(Proxy {
                    kind: "http-connect".into(),
                    target: Some("outlook.office365.com:443".into()),
                    status,
                });
            })
    }

    #[test]
    fn tunnels_that_a_proxy_refuses() {
        let id = "explicit-proxy-connect";
        assert!(has(&connect(Some(403), 0), id));
        assert!(has(&connect(Some(503), 0), id));
        assert!(has(&connect(None, 0).lasts_ms(8_000), id));
        assert!(!has(&connect(None, 0).lasts_ms(800), id));
        assert!(!has(&connect(Some(200), 0), id));
        // 407 begins a normal dance, unless nothing follows.
        let lonely = diagnose(&[connect(Some(407), 0)]);
        assert!(find(&lonely, id).is_some());
        let dance = [connect(Some(407), 0), connect(Some(200), 1)];
        assert!(find(&diagnose(&dance), id).is_none());
    }
}
