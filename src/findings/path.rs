//! The way to the server: connections that do not come up, slow handshakes, proxies by CONNECT.

use super::facts::{Facts, version_name};
use super::groups::peer_subject;
use super::survey::Report;
use super::text::{Say, say, word};
use super::{Entry, Lang, Rule, Settings, Sheet, Subject, Survey, Verdict, When, dropped};
use crate::record::{Confidence, Endpoint, IcmpError, Outcome, Scope, Severity, Side, Timestamp};

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule::new(
        Entry::new(
            "tcp-connect-failed",
            Severity::Error,
            Scope::Client,
            "RFC 9293 section 3.5",
        ),
        connect_failed,
        pair,
        describe_connect,
    )
    .when(When::INCOMPLETE),
    Rule::new(
        Entry::new(
            "slow-handshake",
            Severity::Warning,
            Scope::Server,
            "RFC 6928; RFC 8446 section 2",
        ),
        slow,
        peer_subject,
        describe_slow,
    ),
    Rule::new(
        Entry::new(
            "explicit-proxy-connect",
            Severity::Warning,
            Scope::Client,
            "RFC 9110 section 9.3.6",
        ),
        connect,
        pair,
        describe_proxy,
    )
    .when(When::TALKED),
];

/// The survey that takes back what is not about TLS.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: only_tls,
}];

fn pair(facts: &Facts<'_>, _: Verdict) -> Subject {
    Subject::Pair(facts.record.client.ip, facts.record.server)
}

/// `tcp-connect-failed`.
fn connect_failed(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    if !facts.whole {
        return None;
    }
    let cause = match facts.record.outcome {
        Outcome::ConnectionRefused => "refused",
        Outcome::NoSynAck if dropped::syn(facts).is_some() => dropped::CAUSE,
        // A router's word is enough, however often the client tried.
        Outcome::NoSynAck if undelivered(facts).is_some_and(|icmp| icmp.is_prohibited()) => {
            "prohibited"
        }
        Outcome::NoSynAck if undelivered(facts).is_some() => "unreachable",
        Outcome::NoSynAck if facts.record.tcp.as_ref()?.syn_retransmits >= 2 => "unanswered",
        _ => return None,
    };
    Some(Verdict::new(Severity::Error, Confidence::Certain, cause))
}

/// What ICMP says of the client's SYN.
fn undelivered(facts: &Facts<'_>) -> Option<IcmpError> {
    let icmp = facts.observed(|observed| observed.icmp)?;
    (icmp.about == Side::Client && !icmp.is_too_big()).then_some(icmp)
}

/// Who says what of a segment.
pub(super) fn icmp_words(lang: Lang, icmp: &IcmpError) -> Say {
    let key = if icmp.is_prohibited() {
        "icmp-prohibited"
    } else if icmp.is_too_big() {
        "icmp-too-big"
    } else {
        "icmp-unreachable"
    };
    say(lang, key)
        .with("router", icmp.from)
        .with("type", icmp.kind)
        .with("code", icmp.code)
        .with(
            "mtu",
            icmp.mtu.map_or("?".to_owned(), |mtu| mtu.to_string()),
        )
}

fn describe_connect(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    let Some(tcp) = &facts.record.tcp else { return };
    sheet.fact(tcp.syn_frame.unwrap_or(0), |lang| {
        match tcp.syn_retransmits {
            0 => say(lang, "syn"),
            count => say(lang, "syn-again").with("count", count),
        }
        .and("syn-outcome")
        .with("outcome", facts.record.outcome.as_str())
    });
    if let Some(icmp) = undelivered(facts) {
        sheet.note("router", &icmp.from.to_string());
        sheet.fact(icmp.frame, |lang| icmp_words(lang, &icmp));
    }
    if let Some(drop) = dropped::syn(facts) {
        let reason = dropped::reason(drop);
        sheet.note("reason", &reason);
        sheet.fact(drop.frame, |lang| {
            dropped::words(lang, &reason, &drop.location)
        });
    }
}

/// Connections that failed to ports on which TLS is neither usual nor was seen are not this program's business.
fn only_tls(report: &mut Report<'_>) {
    let past = report.past;
    let ports = &report.settings.tls_ports;
    let speaks_tls = |server: &Endpoint| ports.contains(&server.port) || past.speaks_tls(server);
    report
        .groups
        .keep("tcp-connect-failed", |subject| match subject {
            Subject::Pair(_, server) => speaks_tls(server),
            _ => true,
        });
}

/// Microseconds of the steps, the round trip taken off.
struct Steps {
    total: i64,
    server: Option<i64>,
    client: Option<i64>,
    /// Neither wait: the flights themselves, and the server's last answer.
    rest: Option<i64>,
}

fn steps(facts: &Facts<'_>) -> Option<Steps> {
    let timing = &facts.record.timing;
    let tcp = facts.record.tcp.as_ref();
    let server = timing
        .client_hello_to_server_hello_us
        .zip(tcp.and_then(|tcp| tcp.rtt_server_us))
        .map(|(step, rtt)| (step - rtt).max(0));
    let client = facts
        .observed(|observed| observed.client_reply_us)
        .zip(tcp.and_then(|tcp| tcp.rtt_client_us))
        .map(|(step, rtt)| (step - rtt).max(0));
    let total = timing.handshake_us?;
    let waits = timing
        .client_hello_to_server_hello_us
        .zip(facts.observed(|observed| observed.client_reply_us));
    Some(Steps {
        total,
        server,
        client,
        rest: waits.map(|(answer, reply)| (total - answer - reply).max(0)),
    })
}

/// When the server had begun to answer, when the handshake was over, and how long the client took between, in
/// microseconds.
pub(super) fn client_gap(facts: &Facts<'_>) -> Option<(Timestamp, Timestamp, i64)> {
    let record = facts.record;
    let timing = &record.timing;
    let hello_us = facts.observed(|observed| observed.client_hello_us)?;
    let answer_us = hello_us.saturating_add(timing.client_hello_to_server_hello_us?);
    let end_us = hello_us.saturating_add(timing.handshake_us?);
    let at = |us: i64| Timestamp(record.start.0.saturating_add(us.saturating_mul(1_000)));
    Some((at(answer_us), at(end_us), steps(facts)?.client?))
}

/// The cause of `slow-handshake` that [`Aside`](super::aside::Aside) notes.
pub(super) const CLIENT_THINKS: &str = "client-thinks";

/// `slow-handshake`: completed handshakes only; what never completed has a finding of its own.
fn slow(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    /// No client waits for longer: such a capture was put together from several, or misses the rest.
    const BELIEVED_MS: u64 = 600_000;
    let total = facts.record.timing.handshake_us?;
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    if total <= ms(settings.slow_total_ms)
        || total > ms(BELIEVED_MS)
        || !facts.record.outcome.is_complete()
    {
        return None;
    }
    let rtt = facts
        .record
        .tcp
        .as_ref()
        .and_then(|tcp| tcp.rtt_us)
        .unwrap_or(0);
    if total <= rtt.saturating_mul(i64::from(settings.slow_total_rtts)) {
        return None;
    }
    let steps = steps(facts)?;
    let slow = |step: Option<i64>, limit: u64| step.filter(|step| *step >= ms(limit));
    let server = slow(steps.server, settings.slow_server_ms);
    let client = slow(steps.client, settings.slow_client_ms);
    // Where both are slow, it is the slower one.
    let cause = if server.is_some() && server >= client {
        "server-thinks"
    } else if client.is_some() {
        CLIENT_THINKS
    } else if facts
        .record
        .tcp
        .as_ref()
        .is_some_and(|tcp| tcp.retransmits > 0)
    {
        "loss"
    } else {
        "elsewhere"
    };
    let severity = if total > ms(settings.slow_warn_ms) {
        Severity::Warning
    } else {
        Severity::Info
    };
    // Where packets were sent again, the wait may be theirs.
    let resent = facts
        .record
        .tcp
        .as_ref()
        .is_some_and(|tcp| tcp.retransmits > 0);
    let confidence = match resent && cause != "loss" {
        true => Confidence::Possible,
        false => Confidence::Certain,
    };
    Some(Verdict::new(severity, confidence, cause))
}

fn describe_slow(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    let Some(steps) = steps(facts) else { return };
    sheet.fact(facts.frame(), |lang| {
        let ms = |us: i64| format!("{}.{:03} ms", us / 1_000, us % 1_000);
        let unknown = || word(lang, "not observable").to_owned();
        let or_unknown = |step: Option<i64>| step.map_or_else(unknown, ms);
        let tcp = facts.record.tcp.as_ref();
        say(lang, "slow-steps")
            .with("version", facts.negotiated.map_or("?", version_name))
            .with("total", ms(steps.total))
            .with("server", or_unknown(steps.server))
            .with("client", or_unknown(steps.client))
            .with("rest", or_unknown(steps.rest))
            .with("rtt", or_unknown(tcp.and_then(|tcp| tcp.rtt_us)))
            .with("retransmits", tcp.map_or(0, |tcp| tcp.retransmits))
            .and_if(facts.record.hello_retry_request.is_some(), "slow-retry")
    });
}

/// `explicit-proxy-connect`: the proxy refuses the tunnel or says nothing, or the name asked of it is not the one in the
/// hello inside. Whether a 407 is the end is for a survey to say.
fn connect(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    let proxy = facts.record.proxy.as_ref()?;
    if proxy.kind != "http-connect" {
        return None;
    }
    let target = proxy.target.as_deref()?;
    let cause = match (facts.client_hello, proxy.status) {
        (Some(_), _) => differing_name(target, facts.sni()?)?,
        (None, Some(407 | 0..=399)) => return None,
        (None, Some(500..)) => "failed",
        (None, Some(_)) => "refused",
        (None, None) => {
            let waited = facts.record.end.micros_since(facts.record.start) / 1_000;
            let long = u64::try_from(waited).unwrap_or(0) >= settings.silence_warn_ms;
            (facts.whole && long).then_some("silent")?
        }
    };
    Some(Verdict::new(Severity::Warning, Confidence::Certain, cause))
}

fn differing_name(target: &str, sni: &str) -> Option<&'static str> {
    let host = connect_host(target);
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    (!is_address && !host.eq_ignore_ascii_case(sni.trim_end_matches('.'))).then_some("other-name")
}

/// The host of `host:port` or `[v6]:port`.
fn connect_host(target: &str) -> &str {
    let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
}

fn describe_proxy(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.peers(facts);
    let target = facts
        .record
        .proxy
        .as_ref()
        .and_then(|proxy| proxy.target.as_deref())
        .unwrap_or("?");
    sheet.note("target", target);
    let status = facts.record.proxy.as_ref().and_then(|proxy| proxy.status);
    let said = facts.record.dialogue.as_ref().map_or(0, |said| said.frame);
    match (facts.client_hello, status) {
        (None, Some(status)) => {
            sheet.note("status", &status.to_string());
            return sheet.fact(said, |lang| {
                say(lang, "connect-answer")
                    .with("target", target)
                    .with("status", status)
            });
        }
        (None, None) => {
            let waited = facts.record.end.micros_since(facts.record.start) / 1_000;
            return sheet.fact(said, |lang| {
                say(lang, "connect-silent")
                    .with("target", target)
                    .with("waited", waited)
            });
        }
        _ => {}
    }
    sheet.fact(facts.frame(), |lang| {
        say(lang, "connect-name")
            .with("target", target)
            .with("name", facts.sni().unwrap_or_else(|| word(lang, "none")))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, diagnose, find, has};
    use crate::record::Proxy;

    #[test]
    fn connections_that_do_not_come_up() {
        let id = "tcp-connect-failed";
        let no_hello = || Make::new().with(|record| record.client_hello = None);
        assert!(has(&no_hello().outcome(Outcome::ConnectionRefused), id));
        let silent = no_hello().outcome(Outcome::NoSynAck);
        assert!(!has(&silent, id));
        assert!(has(&silent.tcp(|tcp| tcp.syn_retransmits = 3), id));
    }

    #[test]
    fn what_a_router_says_of_the_syn() {
        let id = "tcp-connect-failed";
        let no_hello = || Make::new().with(|record| record.client_hello = None);
        let icmp = |from: &str, about, kind, code| {
            let from = from.parse().unwrap();
            no_hello().outcome(Outcome::NoSynAck).observed(|observed| {
                observed.icmp = Some(IcmpError {
                    frame: 2,
                    from,
                    about,
                    kind,
                    code,
                    mtu: None,
                });
            })
        };
        let told = |made: &Make| diagnose(std::slice::from_ref(made)).remove(0).title;
        let forbidden = icmp("10.0.0.1", Side::Client, 3, 13);
        assert_eq!(
            &*told(&forbidden),
            "10.0.0.1 forbids connections to 10.0.0.5:443"
        );
        let unreachable = icmp("fe80::1", Side::Client, 1, 0);
        assert!(told(&unreachable).contains("is not to be reached, says fe80::1"));
        // Of the server's own packets, of the size, or of a connection that came up all the same.
        assert!(!has(&icmp("10.0.0.1", Side::Server, 3, 13), id));
        assert!(!has(&icmp("10.0.0.1", Side::Client, 3, 4), id));
        let came_up = icmp("10.0.0.1", Side::Client, 3, 1).outcome(Outcome::NoClientHello);
        assert!(!has(&came_up, id));
    }

    #[test]
    fn ports_without_tls_are_passed_over() {
        let id = "tcp-connect-failed";
        let refused = |server: &str| {
            Make::new()
                .with(|record| record.client_hello = None)
                .server(server)
                .outcome(Outcome::ConnectionRefused)
        };
        assert!(find(&diagnose(&[refused("10.0.0.5:443")]), id).is_some());
        assert!(find(&diagnose(&[refused("10.0.0.5:80")]), id).is_none());
        let spoke = Make::new().server("10.0.0.5:10443").answer(0x0303, 0xc02f);
        let found = diagnose(&[refused("10.0.0.5:10443"), spoke]);
        assert!(find(&found, id).is_some());
        // A proxy through which TLS went before is down.
        let through = Make::new().server("10.0.0.8:3128").answer(0x0303, 0xc02f);
        let through = through.with(|record| {
            record.proxy = Some(crate::record::Proxy {
                kind: "http-connect".into(),
                target: Some("www.contoso.com:443".into()),
                status: Some(200),
            });
        });
        let found = diagnose(&[refused("10.0.0.8:3128"), through]);
        assert!(find(&found, id).is_some());
    }

    #[test]
    fn slow_handshakes_by_step() {
        let id = "slow-handshake";
        let took = |ms: i64, server_ms: i64| {
            Make::new()
                .answer(0x0303, 0xc02f)
                .tcp(|tcp| tcp.rtt_server_us = Some(1_000))
                .with(|record| {
                    record.timing.handshake_us = Some(ms * 1_000);
                    record.timing.client_hello_to_server_hello_us = Some(server_ms * 1_000);
                })
        };
        assert!(!has(&took(900, 100), id));
        let found = diagnose(&[took(4_000, 3_500)]);
        assert_eq!(find(&found, id).unwrap().severity, Severity::Warning);
        assert!(
            find(&found, id).unwrap().evidence[0]
                .fact
                .contains("server thinks 3499.000 ms")
        );
        // Both are slow: it is the slower one; and what is neither's is told.
        let both = took(12_000, 4_000)
            .tcp(|tcp| tcp.rtt_client_us = Some(1_000))
            .observed(|seen| seen.client_reply_us = Some(6_001_000));
        let found = diagnose(&[both]);
        let finding = find(&found, id).unwrap();
        assert!(
            finding.title.contains("Clients take long"),
            "{}",
            finding.title
        );
        assert!(finding.evidence[0].fact.contains("the rest 1999.000 ms"));
        // A long way alone is not slow: four round trips are allowed.
        let far = took(1_500, 400).tcp(|tcp| tcp.rtt_us = Some(600_000));
        assert!(!has(&far, id));
    }

    #[test]
    fn a_name_that_differs_from_the_connect_request() {
        let id = "explicit-proxy-connect";
        let made = |target: &str| {
            Make::new().answer(0x0303, 0xc02f).with(|record| {
                record.proxy = Some(Proxy {
                    kind: "http-connect".into(),
                    target: Some(target.into()),
                    status: None,
                });
            })
        };
        assert!(!has(&made("www.contoso.com:443"), id));
        assert!(has(&made("mail.contoso.com:443"), id));
        assert!(!has(&made("192.0.2.7:443"), id));
    }
}
