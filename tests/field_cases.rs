//! The field cases that programs alone do not make: several hosts, several minutes. Packets are built, and go through the
//! whole pipe. Each case has a twin that nearly is one, and must stay silent. (S0 is a bundled capture.)

#![allow(clippy::unwrap_used)] // a test that can't go on shall stop

mod support;

use support::{
    packets::{
        Talk,
        Who::{Client, Server},
    },
    run::Run,
    scene::{
        Scene, answer, certificates, complete, hello10, hello12, refused, reset_after_hello, silent,
    },
    tls,
};
use tlscope::{
    findings::{Farm, Member, ProxyLegs, Settings},
    record::{Confidence, Finding, Severity},
};

#[track_caller]
fn finding<'r>(run: &'r Run, id: &str) -> &'r Finding {
    let found = run.findings.iter().find(|finding| finding.id == id);
    assert!(
        found.is_some(),
        "{id} is missing: {:?}",
        run.finding_counts()
    );
    found.unwrap()
}

#[track_caller]
fn silent_about(run: &Run, id: &str) {
    let found = run.findings.iter().find(|finding| finding.id == id);
    assert!(found.is_none(), "{id} fires: {found:#?}");
}

fn exchange_farm() -> Settings {
    let member = |text: &str| Member::try_from(text.to_owned()).unwrap();
    Settings {
        farms: vec![Farm {
            name: "exchange".into(),
            members: vec![member("10.0.0.5"), member("10.0.0.6")],
            names: vec!["mail.contoso.com".into()],
        }],
        ..Settings::default()
    }
}

#[test]
fn s1_one_server_of_the_farm_answers_differently() {
    let build = |second_suite: u16| {
        let der = &certificates()[0].1;
        let hello = hello12("mail.contoso.com");
        let mut scene = Scene::default();
        for n in 0..3 {
            let at = f64::from(n) * 20.0;
            scene
                .talk("10.0.1.1", "10.0.0.5:443", at, |talk| {
                    complete(talk, &hello, 0x0303, 0xc030, der)
                })
                .talk("10.0.1.2", "10.0.0.6:443", at + 5.0, |talk| {
                    complete(talk, &hello, 0x0303, second_suite, der)
                });
        }
        scene.run(exchange_farm())
    };
    let found = build(0xc014);
    let finding = finding(&found, "farm-tls-inconsistent");
    assert!(finding.evidence.len() >= 2, "{finding:#?}");
    silent_about(&build(0xc030), "farm-tls-inconsistent");
}

#[test]
fn s1_two_certificates_on_the_legs_of_a_bridge() {
    let all = certificates();
    let build = |inner: usize, protected: bool| {
        let hello = hello12("mail.contoso.com");
        let mut scene = Scene::default();
        for n in 0..4 {
            let at = f64::from(n) * 30.0;
            scene
                .talk("10.0.1.1", "10.0.0.20:443", at, |talk| {
                    complete(talk, &hello, 0x0303, 0xc030, &all[0].1)
                })
                .talk("10.0.0.20", "10.0.0.5:443", at + 0.2, |talk| {
                    complete(talk, &hello, 0x0303, 0xc030, &all[inner].1)
                });
        }
        let proxy = ProxyLegs {
            ip: "10.0.0.20".parse().unwrap(),
            backends: vec!["10.0.0.5".parse().unwrap()],
            calls_from: Vec::new(),
            names_behind: Vec::new(),
        };
        scene.run(Settings {
            proxies: vec![proxy],
            extended_protection: if protected {
                vec!["mail.contoso.com".into()]
            } else {
                Vec::new()
            },
            ..Settings::default()
        })
    };
    let found = build(1, true);
    let mismatch = finding(&found, "bridge-cert-mismatch");
    assert_eq!(
        (mismatch.severity, mismatch.confidence),
        (Severity::Error, Confidence::Certain)
    );
    for (evidence, (certificate, _)) in mismatch.evidence.iter().zip(&all) {
        let fact = &evidence.fact;
        assert!(fact.contains(&certificate.sha1.to_string()), "{fact}");
        assert!(
            fact.contains("tls-server-end-point ") && fact.contains("NTLM channel binding "),
            "{fact}"
        );
        assert_eq!(
            certificate.tls_server_end_point.as_deref(),
            Some(&*certificate.sha256.to_string())
        );
    }
    let undeclared = build(1, false);
    assert_eq!(
        finding(&undeclared, "bridge-cert-mismatch").severity,
        Severity::Warning
    );
    silent_about(&build(0, true), "bridge-cert-mismatch");
}

#[test]
fn s2_an_old_client_of_microsoft_365() {
    let old = |name: &'static str| {
        let mut scene = Scene::default();
        for n in 0..3 {
            scene.talk("10.0.1.9", "203.0.113.7:443", f64::from(n) * 40.0, |talk| {
                reset_after_hello(talk, &hello10(name));
            });
        }
        scene.run(Settings::default())
    };
    let found = old("outlook.office365.com");
    let limit = finding(&found, "client-max-version-o365");
    assert_eq!(limit.severity, Severity::Error);
    assert!(
        limit.subject.contains("10.0.1.9") && limit.subject.contains("outlook.office365.com"),
        "{}",
        limit.subject
    );
    assert!(limit.affects.iter().any(|line| line.contains("10.0.1.9")));
    silent_about(
        &old("outlook.office365.com.example"),
        "client-max-version-o365",
    );

    let mut scene = Scene::default();
    let der = &certificates()[0].1;
    scene.talk("10.0.1.9", "203.0.113.7:443", 0.0, |talk| {
        complete(talk, &hello12("outlook.office365.com"), 0x0303, 0xc030, der);
    });
    silent_about(&scene.run(Settings::default()), "client-max-version-o365");
}

#[test]
fn s3_the_proxy_asks_for_another_name() {
    let der = &certificates()[0].1;
    let build = |inner: &'static str| {
        let mut scene = Scene::default();
        for n in 0..5 {
            let at = f64::from(n) * 30.0;
            scene
                .talk("10.0.1.1", "10.0.0.20:443", at, |talk| {
                    complete(
                        talk,
                        &hello12("autodiscover.contoso.com"),
                        0x0303,
                        0xc030,
                        der,
                    );
                })
                .talk("10.0.0.20", "10.0.0.5:443", at + 0.2, |talk| {
                    complete(talk, &hello12(inner), 0x0303, 0xc030, der);
                });
        }
        scene.run(Settings::default())
    };
    let found = build("mail.contoso.com");
    let rewrite = finding(&found, "proxy-name-rewrite");
    assert_eq!(
        (rewrite.severity, rewrite.confidence),
        (Severity::Error, Confidence::Possible)
    );
    assert!(
        rewrite.title.contains("autodiscover.contoso.com")
            && rewrite.title.contains("mail.contoso.com")
    );
    silent_about(&build("autodiscover.contoso.com"), "proxy-name-rewrite");
}

#[test]
fn s3_a_client_rejects_the_certificate() {
    let all = certificates();
    let build = |code: u8| {
        let mut scene = Scene::default();
        scene.talk("10.0.1.1", "10.0.0.20:443", 0.0, |talk| {
            talk.open()
                .send(Client, &hello12("mail.contoso.com").record())
                .send(Server, &answer(0x0303, 0xc030, &all[0].1))
                .send(Client, &tls::alert(2, code))
                .close();
        });
        scene.run(Settings::default())
    };
    let found = build(48);
    let rejected = finding(&found, "cert-rejected-by-client");
    assert!(
        rejected
            .evidence
            .iter()
            .any(|evidence| evidence.fact.contains(&all[0].0.sha1.to_string()))
    );
    // The server's side of the story: an alert that is not about certificates.
    silent_about(&build(40), "cert-rejected-by-client");
}

/// A server boots: refused, then resets, then well.
fn boot(resets: u32) -> Scene {
    let der = certificates().remove(0).1;
    let hello = hello12("adfs.contoso.com");
    let mut scene = Scene::default();
    for n in 0..3 {
        scene.talk("10.0.1.1", "10.0.0.5:443", f64::from(n) * 10.0, refused);
    }
    for n in 0..resets {
        scene.talk(
            "10.0.1.1",
            "10.0.0.5:443",
            40.0 + f64::from(n) * 15.0,
            |talk| reset_after_hello(talk, &hello),
        );
    }
    scene.talk("10.0.1.1", "10.0.0.5:443", 200.0, |talk| {
        complete(talk, &hello, 0x0303, 0xc030, &der)
    });
    scene
}

#[test]
fn s4_a_server_that_boots() {
    let found = boot(8).run(Settings::default());
    let series = finding(&found, "backend-unready-series");
    assert_eq!(series.count, 8);
    silent_about(&boot(2).run(Settings::default()), "backend-unready-series");
}

/// Healthy, an outage, and then a client that keeps to `after`.
fn outage(after: impl Fn(&mut Talk), times: u32) -> Run {
    let der = certificates().remove(0).1;
    let hello = hello12("adfs.contoso.com");
    let mut scene = Scene::default();
    let server = "10.0.0.5:443";
    for n in 0..3 {
        scene.talk("10.0.1.1", server, f64::from(n) * 7.0, |talk| {
            complete(talk, &hello, 0x0303, 0xc030, &der)
        });
    }
    for n in 0..6 {
        scene.talk("10.0.1.1", server, 60.0 + f64::from(n) * 11.0, |talk| {
            reset_after_hello(talk, &hello)
        });
    }
    for n in 0..times {
        // Not as regular as a health check.
        let at = 200.0 + f64::from(n) * 20.0 + f64::from(n * n % 7) * 3.0;
        scene.talk("10.0.1.1", server, at, &after);
    }
    // The server is well again for others.
    for n in 0..3 {
        scene.talk("10.0.1.2", server, 210.0 + f64::from(n) * 30.0, |talk| {
            complete(talk, &hello, 0x0303, 0xc030, &der)
        });
    }
    scene.run(Settings::default())
}

#[test]
fn s4_a_client_that_stays_at_its_fallback() {
    let stuck = outage(silent, 10);
    let finding_ = finding(&stuck, "client-stuck-on-fallback");
    assert!(
        finding_.subject.contains("10.0.1.1"),
        "{}",
        finding_.subject
    );
    let lower = outage(
        |talk| reset_after_hello(talk, &hello10("adfs.contoso.com")),
        10,
    );
    finding(&lower, "client-stuck-on-fallback");

    let der = certificates().remove(0).1;
    let recovered = outage(
        |talk| complete(talk, &hello12("adfs.contoso.com"), 0x0303, 0xc030, &der),
        10,
    );
    silent_about(&recovered, "client-stuck-on-fallback");
}

#[test]
fn s4_connections_closed_before_the_hello() {
    let build = |times: u32| {
        let der = certificates().remove(0).1;
        let mut scene = Scene::default();
        scene.talk("10.0.1.1", "10.0.0.5:443", 0.0, |talk| {
            complete(talk, &hello12("adfs.contoso.com"), 0x0303, 0xc030, &der);
        });
        for n in 0..times {
            scene.talk(
                "10.0.1.1",
                "10.0.0.5:443",
                10.0 + f64::from(n * n) * 3.0,
                silent,
            );
        }
        scene.run(Settings::default())
    };
    let found = build(6);
    assert_eq!(finding(&found, "closed-before-hello").count, 6);
    silent_about(&build(2), "closed-before-hello");
}

#[test]
fn s4_a_hello_that_still_waits_when_the_capture_ends() {
    // Nothing is closed: the capture was stopped while the client hung, and other traffic shows for how long.
    let build = |later_s: f64| {
        let der = certificates().remove(0).1;
        let mut scene = Scene::default();
        scene.talk("10.0.1.1", "10.0.0.5:443", 0.0, |talk| {
            talk.open()
                .send(Client, &hello12("adfs.contoso.com").record());
        });
        scene.talk("10.0.1.2", "10.0.0.6:443", later_s, |talk| {
            complete(talk, &hello12("adfs.contoso.com"), 0x0303, 0xc030, &der);
        });
        scene.run(Settings::default())
    };
    for (later_s, severity) in [(6.0, Severity::Warning), (20.0, Severity::Error)] {
        let found = build(later_s);
        let finding = finding(&found, "hello-unanswered");
        assert_eq!(finding.severity, severity);
        let marked = found.records.iter().filter(|record| {
            let mut marks = record.findings.iter();
            marks.any(|id| &**id == "hello-unanswered")
        });
        assert_eq!(marked.count(), 1);
    }
    silent_about(&build(2.0), "hello-unanswered");
}
