//! Log-ons that can be read: NTLM that is weak or not bound to TLS, and refusals of modern authentication.
//!
//! Only where HTTP is in clear, as on the leg behind a proxy; inside TLS nothing of it is seen, and nothing is said. NTLM
//! without a channel binding is normal over plain HTTP: it counts only where the client came by https, as a header, the
//! path or the settings say. [MS-NLMP] sections 2.2.1.3 and 2.2.2.1, RFC 5929, RFC 6750.

use super::aside::{Bound, came_by_https, host_name, is_exchange};
use super::binding;
use super::facts::Facts;
use super::groups::Subject;
use super::past::Past;
use super::survey::Report;
use super::text::say;
use super::{Entry, Rule, Settings, Sheet, Survey, Verdict, When};
use crate::record::{
    Confidence, Evidence, HttpRequest, HttpResponse, NtlmMessage, Scope, Severity,
};
use std::{collections::HashSet, sync::Arc};

const NTLM: Entry = Entry::new(
    "ntlm-weak-or-unbound",
    Severity::Error,
    Scope::Client,
    "[MS-NLMP] sections 2.2.1.3 and 2.2.2.1; RFC 5929; Microsoft: Configure Windows Extended Protection in Exchange Server",
);

/// The group's rules.
pub(super) static RULES: &[Rule] = &[
    Rule::new(NTLM, ntlm, client_and_host, describe_ntlm).when(When::TALKED),
    Rule::new(
        Entry::new(
            "hma-bearer-diagnostics",
            Severity::Error,
            Scope::Client,
            "RFC 6750 section 3; Microsoft: hybrid modern authentication, x-ms-diagnostics",
        ),
        bearer,
        client_and_host,
        describe_bearer,
    )
    .when(When::TALKED),
];

/// The survey that compares bindings with the certificates that were seen.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: bindings,
}];

fn requests<'a>(facts: &Facts<'a>) -> &'a [HttpRequest] {
    let http = facts.record.http.as_deref();
    http.map_or(&[], |http| http.requests.as_slice())
}

/// The host that the first request asks for, else the server's address.
fn client_and_host(facts: &Facts<'_>, _: Verdict) -> Subject {
    let host = requests(facts).iter().find_map(|one| one.host.as_deref());
    let target = host.map_or_else(
        || facts.record.server.to_string().into(),
        |host| host_name(host).into(),
    );
    Subject::Client(facts.record.client.ip, target)
}

/// The AUTHENTICATE message of a request.
fn authenticate(request: &HttpRequest) -> Option<&NtlmMessage> {
    let shown = [&request.authorization, &request.proxy_authorization];
    let mut messages = shown
        .into_iter()
        .filter_map(|field| field.as_ref()?.ntlm.as_ref());
    messages.find(|ntlm| ntlm.message == "authenticate")
}

/// What is wrong with one log-on.
fn weakness(request: &HttpRequest, settings: &Settings) -> Option<(Severity, &'static str)> {
    let ntlm = authenticate(request)?;
    match ntlm.version.as_deref()? {
        "lm" => return Some((Severity::Error, "lm")),
        "ntlmv1" | "ntlmv1-session" => return Some((Severity::Error, "ntlmv1")),
        "ntlmv2" => {}
        _ => return None,
    }
    let host = request.host.as_deref().map(host_name);
    let declared = host.is_some_and(|host| settings.protects(host));
    if !(declared || came_by_https(request) || is_exchange(&request.path)) {
        return None;
    }
    match ntlm.channel_binding.as_deref() {
        Some("absent" | "zero") => Some((Severity::Warning, "no-channel-binding")),
        _ if ntlm.mic == Some(false) => Some((Severity::Warning, "no-mic")),
        _ => None,
    }
}

/// `ntlm-weak-or-unbound`, by the worst log-on of the connection.
fn ntlm(facts: &Facts<'_>, settings: &Settings) -> Option<Verdict> {
    facts.record.http.as_ref()?;
    let found = requests(facts)
        .iter()
        .filter_map(|request| weakness(request, settings));
    let (severity, cause) = found.max_by_key(|(severity, _)| *severity)?;
    Some(Verdict::new(severity, Confidence::Certain, cause))
}

fn describe_ntlm(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    for request in requests(facts) {
        let Some(ntlm) = authenticate(request) else {
            continue;
        };
        if let Some(host) = request.host.as_deref() {
            sheet.note("name", host_name(host));
        }
        sheet.fact(request.frame, |lang| {
            let mut fact = say(lang, "ntlm-authenticate")
                .with("line", format!("{} {}", request.method, request.path))
                .with("version", ntlm.version.as_deref().unwrap_or("?"));
            if let Some(binding) = ntlm.channel_binding.as_deref() {
                fact = fact.and("ntlm-binding").with("binding", binding);
            }
            if let Some(workstation) = ntlm.workstation.as_deref() {
                fact = fact
                    .and("ntlm-workstation")
                    .with("workstation", workstation);
            }
            if let Some(system) = ntlm.system.as_deref() {
                fact = fact.and("ntlm-system").with("system", system);
            }
            fact.and_if(ntlm.mic == Some(false), "ntlm-no-mic")
        });
    }
}

/// Log-ons whose binding is that of no certificate seen, where the one that clients of this name get was seen.
fn bindings(report: &mut Report<'_>) {
    if report.aside.bound.is_empty() {
        return;
    }
    let past = report.past;
    let known: HashSet<_> = past
        .certificates
        .iter()
        .filter_map(|certificate| binding::of(certificate))
        .collect();
    let mut told: Vec<(&Bound, usize)> = Vec::new();
    for bound in report.aside.bound.iter() {
        if let Some(front) = front(past, bound).filter(|_| !known.contains(&bound.binding)) {
            told.push((bound, front));
        }
    }
    for (bound, front) in told {
        let verdict = Verdict::new(
            Severity::Error,
            Confidence::Likely,
            "channel-binding-mismatch",
        );
        let host = bound.host.as_deref().unwrap_or("?");
        let subject = Subject::Client(bound.place.client, host.into());
        let fact = say(past.lang, "ntlm-bound-elsewhere").with("binding", bound.binding);
        let mut evidence = vec![Evidence {
            capture: Arc::clone(&bound.place.capture),
            frame: bound.place.frame,
            fact: fact.text().into(),
        }];
        if let Some(trace) = past.trace(front)
            && let Some(leaf) = past.leaf(&trace)
        {
            let words =
                super::certificate::card(leaf, past.lang) + &binding::words(leaf, past.lang);
            evidence.push(past.evidence_of(&trace, words));
        }
        let start = bound.place.start;
        if let Some(group) = report.open(NTLM.id, verdict, subject) {
            group.count(1, start, start);
            group.example(verdict.severity, start, evidence);
            group.note("clients", &bound.place.client.to_string());
            group.note("server", &bound.place.server.to_string());
            group.note("name", host);
        }
    }
}

/// A connection to the host that sends the log-on on, for the same name, which shows its certificate.
fn front(past: &Past, bound: &Bound) -> Option<usize> {
    let host = bound.host.as_deref()?;
    let (_, all) = past
        .names()
        .find(|(name, _)| name.eq_ignore_ascii_case(host))?;
    past.firsts(&all.kinds)
        .find(|(_, kind)| kind.server.ip == bound.place.client && kind.leaf.is_some())
        .map(|(index, _)| index)
}

/// Answers that refuse a token, with the request that each belongs to, as far as both were kept.
fn refusals<'a>(
    facts: &Facts<'a>,
) -> impl Iterator<Item = (Option<&'a HttpRequest>, &'a HttpResponse)> {
    let http = facts.record.http.as_deref();
    let responses = http.map_or(&[][..], |http| http.responses.as_slice());
    let requests = requests(facts);
    responses
        .iter()
        .enumerate()
        .map(move |(index, response)| (requests.get(index), response))
        .filter(|(_, response)| matches!(response.status, 400 | 401 | 403))
}

/// Which refusal it is. The first 401 of a normal dance (a Bearer challenge with its authorization_uri) is none.
fn refusal(request: Option<&HttpRequest>, response: &HttpResponse) -> Option<&'static str> {
    match response.diagnostics {
        Some(2_000_003) => {
            let origins = response
                .diagnostics_expected
                .as_deref()
                .zip(response.diagnostics_actual.as_deref());
            let scheme = |origin: &str| origin.split_once("://").map(|(scheme, _)| scheme.len());
            let host = |origin: &str| {
                origin
                    .split_once("://")
                    .map(|(_, host)| host.to_lowercase())
            };
            return Some(match origins {
                Some((one, other)) if host(one) != host(other) => "audience-host",
                Some((one, other)) if scheme(one) != scheme(other) => "audience-scheme",
                _ => "audience",
            });
        }
        Some(2_000_005) => return Some("unknown-user"),
        Some(4_000_000) => return Some("not-enabled"),
        _ => {}
    }
    let request = request?;
    let asks_for_hints = request
        .authorization
        .as_ref()
        .is_some_and(|shown| shown.scheme == "Bearer" && shown.empty);
    let mut bearer = response
        .authenticate
        .iter()
        .filter(|one| one.scheme == "Bearer");
    let lacks = response.status == 401
        && asks_for_hints
        && is_exchange(&request.path)
        && bearer.next().is_some_and(|one| !one.authorization_uri)
        && !bearer.any(|one| one.authorization_uri);
    lacks.then_some("no-authorization-uri")
}

/// `hma-bearer-diagnostics`.
fn bearer(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    facts.record.http.as_ref()?;
    let cause = refusals(facts).find_map(|(request, response)| refusal(request, response))?;
    Some(Verdict::new(Severity::Error, Confidence::Certain, cause))
}

fn describe_bearer(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.parties(facts);
    for (request, response) in refusals(facts) {
        if refusal(request, response).is_none() {
            continue;
        }
        if let Some(host) = request.and_then(|request| request.host.as_deref()) {
            sheet.note("name", host_name(host));
        }
        if let Some(code) = response.diagnostics {
            sheet.note("code", &code.to_string());
        }
        let origins = response
            .diagnostics_expected
            .as_deref()
            .zip(response.diagnostics_actual.as_deref());
        if let Some((expected, actual)) = origins {
            sheet.note("expected", expected);
            sheet.note("actual", actual);
        }
        sheet.fact(response.frame, |lang| {
            let mut fact = say(lang, "bearer-answer").with("status", response.status);
            if let Some(code) = response.diagnostics {
                fact = fact.and("bearer-code").with("code", code);
            }
            if let Some((expected, actual)) = origins {
                fact = fact
                    .and("bearer-origins")
                    .with("expected", expected)
                    .with("actual", actual);
            }
            if let Some(server) = response.front_end.as_deref() {
                fact = fact.and("bearer-front-end").with("server", server);
            }
            match request {
                Some(request) => fact.and("bearer-request").with("path", &request.path),
                None => fact,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::Settings;
    use crate::findings::testing::{Make, cert, diagnose, diagnose_with, find, has};
    use crate::record::{
        Digest, Http, HttpChallenge, HttpCredential, HttpRequest, HttpResponse, NtlmMessage,
        Severity,
    };

    const NTLM: &str = "ntlm-weak-or-unbound";
    const BEARER: &str = "hma-bearer-diagnostics";

    fn plain(request: HttpRequest, responses: Vec<HttpResponse>) -> Make {
        Make::new()
            .client("10.0.0.20")
            .server("10.0.0.5:80")
            .at_ms(300)
            .with(|record| {
                record.client_hello = None;
                record.http = Some(Box::new(Http {
                    requests: vec![request],
                    responses,
                    h2c: None,
                    h2: None,
                }));
            })
    }

    fn shows(path: &str, scheme: &'static str, ntlm: Option<NtlmMessage>) -> HttpRequest {
        HttpRequest {
            frame: 11,
            method: "POST".into(),
            path: path.into(),
            host: Some("mail.contoso.com".into()),
            authorization: Some(HttpCredential {
                scheme: scheme.into(),
                empty: scheme == "Bearer",
                ntlm,
            }),
            ..HttpRequest::default()
        }
    }

    fn log_on(path: &str, version: &'static str, binding: &'static str) -> Make {
        let ntlm = NtlmMessage {
            message: "authenticate".into(),
            version: Some(version.into()),
            channel_binding: Some(binding.into()),
            channel_binding_hash: (binding == "present").then_some(Digest([9; 16])),
            mic: Some(true),
            workstation: Some("PC-7".into()),
            system: Some("10.0.17763".into()),
        };
        plain(shows(path, "NTLM", Some(ntlm)), Vec::new())
    }

    #[test]
    fn log_ons_by_strength() {
        let severity = |made: Make| find(&diagnose(&[made]), NTLM).map(|found| found.severity);
        assert_eq!(severity(log_on("/x", "ntlmv1", "-")), Some(Severity::Error));
        assert_eq!(severity(log_on("/x", "lm", "-")), Some(Severity::Error));
        // Which machine it is, and what it runs.
        let found = diagnose(&[log_on("/x", "ntlmv1", "-")]);
        let mut evidence = find(&found, NTLM).unwrap().evidence.iter();
        let says = "workstation PC-7, system version 10.0.17763";
        assert!(evidence.any(|shown| shown.fact.contains(says)));
        let unbound = log_on("/EWS/Exchange.asmx", "ntlmv2", "zero");
        assert_eq!(severity(unbound), Some(Severity::Warning));
        // Over plain HTTP there is nothing to bind to; anonymous shows nothing.
        assert_eq!(severity(log_on("/intranet", "ntlmv2", "zero")), None);
        assert_eq!(severity(log_on("/EWS/x", "ntlmv2", "present")), None);
        assert_eq!(severity(log_on("/EWS/x", "anonymous", "absent")), None);
        let settings = Settings {
            extended_protection: vec!["mail.contoso.com".into()],
            ..Settings::default()
        };
        let declared = [log_on("/intranet", "ntlmv2", "absent")];
        assert!(find(&diagnose_with(&declared, &settings), NTLM).is_some());
    }

    #[test]
    fn bindings_to_certificates_nobody_showed() {
        let front = |mark: Option<&str>| {
            let mut leaf = cert("CN=mail.contoso.com", &["mail.contoso.com"]);
            leaf.tls_server_end_point = mark.map(Into::into);
            Make::new()
                .sni("mail.contoso.com")
                .server("10.0.0.20:443")
                .answer(0x0303, 0xc02f)
                .certificate(leaf)
        };
        let bound = || log_on("/EWS/x", "ntlmv2", "present");
        let hash = "ea05fefecc6b0bd571dbbc5baa3ed45386d0446835f7b74c85621b9983475f95";
        let found = diagnose(&[front(Some(hash)), bound()]);
        assert_eq!(find(&found, NTLM).unwrap().severity, Severity::Error);
        // The front leg's certificate was not seen: nothing to compare with.
        assert!(find(&diagnose(&[bound()]), NTLM).is_none());
        // It is the one that the client bound to ([MS-NLMP]'s published example).
        let mut same = bound();
        let known = super::super::binding::of(&front(Some(hash)).record.certificates[0]);
        if let Some(http) = &mut same.record.http {
            let shown = http.requests[0].authorization.as_mut().unwrap();
            shown.ntlm.as_mut().unwrap().channel_binding_hash = known;
        }
        assert!(find(&diagnose(&[front(Some(hash)), same]), NTLM).is_none());
    }

    fn answer(change: impl FnOnce(&mut HttpResponse)) -> HttpResponse {
        let mut response = HttpResponse {
            frame: 13,
            status: 401,
            ..HttpResponse::default()
        };
        change(&mut response);
        response
    }

    #[test]
    fn refused_tokens_by_code() {
        let title = |change: fn(&mut HttpResponse)| {
            let made = plain(
                shows("/autodiscover/x", "Bearer", None),
                vec![answer(change)],
            );
            let found = diagnose(&[made]);
            find(&found, BEARER).map(|found| found.title.to_string())
        };
        let offload = title(|response| {
            response.diagnostics = Some(2_000_003);
            response.diagnostics_expected = Some("https://mail.contoso.com".into());
            response.diagnostics_actual = Some("http://mail.contoso.com".into());
        });
        let renamed = title(|response| {
            response.diagnostics = Some(2_000_003);
            response.diagnostics_expected = Some("https://mail.contoso.com".into());
            response.diagnostics_actual = Some("https://autodiscover.contoso.com".into());
        });
        assert!(offload.is_some() && renamed.is_some() && offload != renamed);
        assert!(title(|response| response.diagnostics = Some(2_000_005)).is_some());
        assert!(title(|response| response.diagnostics = Some(4_000_000)).is_some());
        // Of many servers behind a name, which one answered so.
        let response = answer(|response| {
            response.diagnostics = Some(2_000_005);
            response.front_end = Some("EX1".into());
        });
        let found = diagnose(&[plain(shows("/EWS/x", "Bearer", None), vec![response])]);
        let evidence = &find(&found, BEARER).unwrap().evidence;
        assert!(
            evidence
                .iter()
                .any(|shown| shown.fact.contains("X-FEServer EX1"))
        );
        assert!(title(|response| response.diagnostics = Some(1)).is_none());
    }

    #[test]
    fn the_first_challenge_of_a_dance_is_normal() {
        let challenge = |uri| {
            answer(|response| {
                response.authenticate.push(HttpChallenge {
                    scheme: "Bearer".into(),
                    authorization_uri: uri,
                });
            })
        };
        let made = |path: &str, uri| plain(shows(path, "Bearer", None), vec![challenge(uri)]);
        assert!(!has(&made("/EWS/Exchange.asmx", true), BEARER));
        assert!(has(&made("/EWS/Exchange.asmx", false), BEARER));
        // Other services do not send it.
        assert!(!has(&made("/v2/", false), BEARER));
    }
}
