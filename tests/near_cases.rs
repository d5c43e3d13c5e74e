//! Cases in which a finding once fired that was not right, and what they nearly are: packets are built, and go through
//! the whole pipe. Each test shows both sides of the line.

#![allow(clippy::unwrap_used)] // a test that can't go on shall stop

mod support;

use support::{
    Folder,
    files::Pcap,
    golden,
    packets::{
        RST, START_NS, Talk,
        Who::{Client, Server},
        datagram,
    },
    quic::{Initial, crypto},
    run::Run,
    scene::{
        Scene, answer, certificates, complete, hello10, hello12, renewed, reset_after_hello, silent,
    },
    tls::{self, Hello},
};
use tlscope::{
    findings::Settings,
    record::{Confidence, Finding, Handshake, Outcome, Severity},
};

const NAME: &str = "www.contoso.com";
const CLIENT: &str = "10.0.1.1";
const SERVER: &str = "10.0.0.5:443";

/// The certificates of the bundled captures are valid then: 2026-11-27.
fn scene() -> Scene {
    Scene {
        begin_s: 330.0 * 86_400.0,
        ..Scene::default()
    }
}

fn found<'r>(run: &'r Run, id: &str) -> Option<&'r Finding> {
    run.findings.iter().find(|finding| finding.id == id)
}

#[track_caller]
fn fires<'r>(run: &'r Run, id: &str) -> &'r Finding {
    let finding = found(run, id);
    assert!(
        finding.is_some(),
        "{id} is missing: {:?}",
        run.finding_counts()
    );
    finding.unwrap()
}

#[track_caller]
fn is_silent(run: &Run, id: &str) {
    let finding = found(run, id);
    assert!(finding.is_none(), "{id} fires: {finding:#?}");
}

/// The record of the client that a case is about.
#[track_caller]
fn of_client(run: &Run) -> &Handshake {
    let mut records = run.records.iter();
    let client = records.find(|record| record.client.ip.to_string() == CLIENT);
    client.unwrap()
}

/// A good handshake at TLS 1.2.
fn good(scene: &mut Scene, client: &str, server: &str, at_s: f64) {
    let der = &certificates()[0].1;
    scene.talk(client, server, at_s, |talk| {
        complete(talk, &hello12(NAME), 0x0303, 0xc030, der);
    });
}

/// A program that offers TLS 1.2, 1.1 and 1.0 in turn, a second apart.
fn ladder(signals: bool) -> Scene {
    let at = |version: u16| Hello {
        version,
        suites: vec![0xc014, 0x0035, 0x002f, 0x000a],
        ..hello12(NAME)
    };
    let mut last = at(0x0301);
    if signals {
        last.suites.push(0x5600);
    }
    let der = &certificates()[0].1;
    let mut scene = scene();
    scene
        .talk(CLIENT, SERVER, 0.0, |talk| {
            reset_after_hello(talk, &at(0x0303))
        })
        .talk(CLIENT, SERVER, 1.0, |talk| {
            reset_after_hello(talk, &at(0x0302))
        })
        .talk(CLIENT, SERVER, 2.0, |talk| {
            complete(talk, &last, 0x0301, 0xc014, der);
        });
    scene
}

#[test]
fn a_fallback_is_one_program_on_three_rungs() {
    let rungs = "TLS 1.2 hello-reset → TLS 1.1 hello-reset → TLS 1.0 established";
    for signals in [false, true] {
        let run = ladder(signals).run(Settings::default());
        let title = &fires(&run, "version-fallback-retry").title;
        assert!(title.contains(rungs), "{title}");
        is_silent(&run, "same-client-mixed-offers");
        // The hello alone says it, or not.
        let legacy = &fires(&run, "legacy-version-negotiated").title;
        assert_eq!(legacy.contains("fell back"), signals, "{legacy}");
    }
    // The server is seen to do better for others: that tells of programs that can do no more, not of a rung.
    for (mut scene, is_limit) in [(ladder(false), false), (self::scene(), true)] {
        let der = &certificates()[0].1;
        good(&mut scene, "10.0.1.2", SERVER, 30.0);
        if is_limit {
            scene.talk(CLIENT, SERVER, 40.0, |talk| {
                complete(talk, &hello10(NAME), 0x0301, 0xc014, der);
            });
        }
        let run = scene.run(Settings::default());
        assert_eq!(found(&run, "client-version-limited").is_some(), is_limit);
    }
    // An old program beside it.
    let der = &certificates()[0].1;
    let mut two = ladder(true);
    two.talk(CLIENT, "10.0.0.9:443", 3.0, |talk| {
        complete(talk, &hello10("printer.contoso.com"), 0x0301, 0xc014, der);
    });
    let run = two.run(Settings::default());
    let title = &fires(&run, "same-client-mixed-offers").title;
    assert!(
        title.contains("TLS 1.0") && !title.contains("TLS 1.1"),
        "{title}"
    );
}

/// A hello and its acknowledgement; then the server's flight of so many bytes, which the capture lacks and the client
/// acknowledges.
fn acknowledged(talk: &mut Talk, flight: &[u8]) {
    talk.open()
        .send(Client, &hello12(NAME).record())
        .acknowledge(Server);
    talk.send(Server, flight);
    talk.packets.pop();
    talk.acknowledge(Client);
}

#[test]
fn what_the_client_acknowledges_was_answered() {
    let der = &certificates()[0].1;
    let flight = answer(0x0303, 0xc030, der);
    let run = |flight: &[u8], then: &dyn Fn(&mut Talk)| {
        let mut scene = scene();
        scene.talk(CLIENT, SERVER, 0.0, |talk| {
            acknowledged(talk, flight);
            then(talk);
        });
        // Time goes on.
        good(&mut scene, "10.0.1.2", "10.0.0.6:443", 60.0);
        scene.run(Settings::default())
    };
    // The client gives up, by a RST that acknowledges nothing; or the capture lacks the end as well.
    let reset = |talk: &mut Talk| {
        talk.wait_ms(6_000);
        let at = talk.sequence(Client, talk.sent[0]);
        talk.raw(Client, RST, at, b"");
    };
    let waits = |talk: &mut Talk| {
        talk.wait_ms(20_000).acknowledge(Client);
    };
    let ends: [&dyn Fn(&mut Talk); 2] = [&reset, &waits];
    for then in ends {
        let lacking = run(&flight, then);
        is_silent(&lacking, "hello-unanswered");
        assert_eq!(of_client(&lacking).outcome, Outcome::Truncated);
        // Nothing but its SYN was acknowledged: it is a silence.
        let silent = run(b"", then);
        fires(&silent, "hello-unanswered");
        assert_eq!(of_client(&silent).outcome, Outcome::HelloUnanswered);
    }
    // An alert proves itself; what it is about is not known.
    let alert = |talk: &mut Talk| {
        talk.send(Client, &tls::alert(2, 48));
    };
    let run = run(&flight, &alert);
    assert_eq!(of_client(&run).outcome, Outcome::ClientAlert);
    assert_eq!(of_client(&run).tcp.as_ref().unwrap().gaps, 1);
    is_silent(&run, "cert-rejected-by-client");
}

/// A load balancer that opens and closes a connection every ten seconds, of which the capture lacks some in one way or the
/// other.
fn probes(lack: impl Fn(u32, &mut Talk), say: impl Fn(&mut Talk)) -> Run {
    let mut scene = scene();
    good(&mut scene, CLIENT, SERVER, 3.0);
    for n in 0..24 {
        scene.talk("10.0.0.9", SERVER, f64::from(n) * 10.0, |talk| {
            say(talk);
            lack(n, talk);
        });
    }
    scene.run(Settings::default())
}

#[test]
fn probes_of_which_the_capture_lacks_some_are_probes() {
    let by_tcp = |talk: &mut Talk| silent(talk);
    let by_hello = |talk: &mut Talk| {
        let der = &certificates()[0].1;
        talk.open()
            .send(Client, &hello12(NAME).record())
            .send(Server, &answer(0x0303, 0xc030, der))
            .close();
    };
    let whole = |n: u32, talk: &mut Talk| {
        if matches!(n, 5 | 11 | 12 | 17) {
            talk.packets.clear();
        }
    };
    let fin = |n: u32, talk: &mut Talk| {
        if n % 4 == 1 {
            talk.packets.remove(3);
        }
    };
    let payload = |n: u32, talk: &mut Talk| {
        if n % 4 == 1 {
            talk.packets.retain(|packet| packet.bytes.len() <= 60);
        }
    };
    for run in [
        probes(whole, by_tcp),
        probes(fin, by_tcp),
        probes(whole, by_hello),
        probes(payload, by_hello),
    ] {
        let title = &fires(&run, "health-probe").title;
        assert!(title.contains("every 10 s"), "{title}");
        is_silent(&run, "closed-before-hello");
        is_silent(&run, "cert-rejected-by-client");
    }
    // A program that tries a few times in a row and then waits is none; nor is one that comes when it likes.
    let tries = |at: &dyn Fn(u32) -> f64| {
        let mut scene = scene();
        good(&mut scene, CLIENT, SERVER, 3.0);
        for n in 0..20 {
            scene.talk("10.0.0.9", SERVER, at(n), silent);
        }
        scene.run(Settings::default())
    };
    for run in [
        tries(&|n| f64::from(n / 5 * 300 + n % 5 * 2)),
        tries(&|n| f64::from(n * 10 + n * n * n % 7 * 3)),
        tries(&|n| f64::from(n / 2 * 60 + n % 2 * 2)),
    ] {
        is_silent(&run, "health-probe");
        fires(&run, "closed-before-hello");
    }
}

/// A connection to a host through an explicit proxy, up to its hello.
fn through_proxy(talk: &mut Talk, host: &'static str) {
    let request = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    talk.open()
        .send(Client, request.as_bytes())
        .send(Server, b"HTTP/1.1 200 Connection established\r\n\r\n")
        .send(Client, &hello12(host).record());
}

fn served(talk: &mut Talk, suite: u16, der: &[u8]) {
    let mut second = tls::record(22, 0x0303, &tls::message(16, &tls::vec8(&[7; 32])));
    second.extend(tls::finished());
    talk.send(Server, &answer(0x0303, suite, der))
        .send(Client, &second)
        .send(Server, &tls::finished())
        .send(Client, &tls::record(23, 0x0303, &[1; 600]))
        .send(Server, &tls::record(23, 0x0303, &[2; 1200]))
        .wait_ms(1_500)
        .close();
}

const PROXY: &str = "10.0.0.8:3128";

#[test]
fn who_answers_through_a_proxy_is_not_the_proxy() {
    // Years later, when the certificates have expired.
    let all = certificates();
    let mut scene = scene();
    scene.begin_s += 6.0 * 365.0 * 86_400.0;
    for (at, (host, (_, der))) in ["www.contoso.com", "old.contoso.com"]
        .iter()
        .zip(&all)
        .enumerate()
    {
        scene.talk(CLIENT, PROXY, at as f64, |talk| {
            through_proxy(talk, host);
            served(talk, 0xc030, der);
        });
    }
    // The same certificate without a proxy.
    scene.talk(CLIENT, SERVER, 9.0, |talk| {
        complete(talk, &hello12(NAME), 0x0303, 0xc030, &all[0].1);
    });
    let mut run = scene.run(Settings::default());
    run.findings.retain(|finding| finding.id == "cert-validity");
    let mut told: Vec<String> = run
        .findings
        .iter()
        .map(|finding| format!("{} | {}", finding.subject, finding.title))
        .collect();
    told.sort();
    let has_expired = "has expired (2028-11-21 10:50)";
    let by =
        |who: &str| format!("{who}: CN=www.contoso.com | The certificate of {who} {has_expired}");
    assert_eq!(
        told,
        [
            by(SERVER),
            by("old.contoso.com:443 through proxy 10.0.0.8:3128"),
            by("www.contoso.com:443 through proxy 10.0.0.8:3128"),
        ]
    );
}

#[test]
fn hosts_behind_a_proxy_are_not_one_server() {
    let der = &certificates()[0].1;
    let build = |by_proxy: bool| {
        let mut scene = scene();
        let mut say = |at: f64, host: &'static str, then: &dyn Fn(&mut Talk)| {
            let server = if by_proxy { PROXY } else { SERVER };
            scene.talk(CLIENT, server, at, |talk| {
                match by_proxy {
                    true => through_proxy(talk, host),
                    false => {
                        talk.open().send(Client, &hello12(host).record());
                    }
                }
                then(talk);
            });
        };
        for n in 0..4 {
            let at = f64::from(n * n) * 7.0;
            say(at, "bad.contoso.com", &|talk| {
                talk.rst(Server);
            });
            say(at + 1.0, NAME, &|talk| served(talk, 0xc030, der));
            say(at + 2.0, "cbc.contoso.com", &|talk| {
                served(talk, 0xc014, der)
            });
        }
        scene.run(Settings::default())
    };
    // Three names at one server: it refuses one of them, and chooses worse than it could.
    let direct = build(false);
    let refused = fires(&direct, "sni-rejected");
    assert!(refused.title.contains("bad.contoso.com"));
    fires(&direct, "h2-cipher-order-risk");
    // Three servers behind a proxy: nothing tells what each of them could do.
    let run = build(true);
    is_silent(&run, "sni-rejected");
    is_silent(&run, "h2-cipher-order-risk");
    let reset = fires(&run, "hello-reset");
    let title = "bad.contoso.com through proxy 10.0.0.8:3128 resets the connection right after";
    assert!(reset.title.contains(title), "{}", reset.title);
}

#[test]
fn a_proxy_that_encrypts_again_is_no_member_of_its_farm() {
    let outer = &certificates()[0].1;
    let other = &renewed(outer);
    let ids = ["farm-tls-inconsistent", "farm-cert-inconsistent"];
    /// What clients reach, and what the second of two servers behind it does.
    struct Case {
        inner: u16,
        second: u16,
        /// A client asks the servers by itself, too.
        direct: bool,
        settings: Settings,
    }
    let run = |case: Case| {
        let mut scene = scene();
        for n in 0..20 {
            let at = f64::from(n) * 60.0;
            let (server, suite) = match n % 2 {
                0 => ("10.0.0.30:443", case.inner),
                _ => ("10.0.0.31:443", case.second),
            };
            scene.talk(CLIENT, "10.0.0.20:443", at, |talk| {
                complete(talk, &hello12(NAME), 0x0303, 0xc02f, outer);
            });
            let inner = |talk: &mut Talk| {
                complete(talk, &hello12(NAME), 0x0303, suite, other);
            };
            scene.talk("10.0.0.20", server, at + 0.2, inner);
            if case.direct {
                scene.talk(CLIENT, server, at + 20.0, inner);
            }
        }
        scene.run(case.settings)
    };
    let case = || Case {
        inner: 0xc030,
        second: 0xc030,
        direct: false,
        settings: Settings::default(),
    };
    // The proxy has a policy and a certificate of its own: that is told as what it is.
    let bridged = run(case());
    for id in ids {
        is_silent(&bridged, id);
    }
    fires(&bridged, "bridge-cert-mismatch");
    // The servers behind it are still compared.
    let uneven = run(Case {
        second: 0xc014,
        ..case()
    });
    let title = &fires(&uneven, ids[0]).title;
    assert!(
        title.contains("10.0.0.30:443") && !title.contains("10.0.0.20:443"),
        "{title}"
    );
    // A server that calls its peers is one of them, and so is one that the administrator names.
    let peers = Case {
        direct: true,
        ..case()
    };
    let farm = "[[farms]]\nname = \"web\"\nmembers = [\"10.0.0.20\", \"10.0.0.30\", \"10.0.0.31\"]";
    let named = Case {
        settings: toml::from_str(farm).unwrap(),
        ..case()
    };
    for other in [peers, named] {
        let run = run(other);
        for id in ids {
            assert!(fires(&run, id).title.contains("10.0.0.20:443"), "{id}");
        }
    }
    // Where clients ask the servers by themselves, it is the configuration that tells.
    let proxy = "[[proxies]]\nip = \"10.0.0.20\"\nbackends = [\"10.0.0.30\", \"10.0.0.31\"]";
    let known = run(Case {
        direct: true,
        settings: toml::from_str(proxy).unwrap(),
        ..case()
    });
    for id in ids {
        is_silent(&known, id);
    }
}

/// The row of the failure in the text report, its words in one line.
fn failure(scene: &mut Scene, lang: &str) -> String {
    scene.packets.sort_by_key(|packet| packet.time_ns);
    let folder = Folder::new("near-failure");
    folder.file("one.pcap", &Pcap::default().write(&scene.packets));
    let report = golden::report(&folder.0, "one.pcap", lang);
    let table = match lang {
        "ja" => "失敗したハンドシェイク",
        _ => "FAILED HANDSHAKES",
    };
    let rows = report.split_once(table).unwrap().1;
    let rows = rows.trim_start().split("\n\n").next().unwrap();
    // The third column of each line: lines are cut where words end, or anywhere in Japanese.
    let begin = rows.lines().next().unwrap();
    let heading = if lang == "ja" { "状況" } else { "what" };
    let wide =
        |text: &str| -> usize { text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum() };
    let at = wide(&begin[..begin.find(heading).unwrap()]);
    let mut words = Vec::new();
    for line in rows.lines().skip(1) {
        let (mut column, mut cell) = (0, String::new());
        for c in line.chars() {
            if column >= at {
                cell.push(c);
            }
            column += wide(&c.to_string());
        }
        let cell = cell.split("  ").next().unwrap().trim().to_owned();
        words.push(cell);
    }
    words
        .join(if lang == "ja" { "" } else { " " })
        .trim()
        .to_owned()
}

#[test]
fn a_failure_after_the_server_hello_says_whose_it_was() {
    let der = &certificates()[0].1;
    let build = |then: &dyn Fn(&mut Talk)| {
        let mut scene = scene();
        scene.talk(CLIENT, SERVER, 0.0, |talk| {
            talk.open()
                .send(Client, &hello12(NAME).record())
                .send(Server, &answer(0x0303, 0xc030, der));
            then(talk);
        });
        scene
    };
    let alert = |from, code| {
        build(&|talk: &mut Talk| {
            talk.send(from, &tls::alert(2, code)).close();
        })
    };
    let cases = [
        (
            alert(Client, 40),
            "client gave up: handshake_failure (40)",
            "クライアントが中止した: handshake_failure (40)",
        ),
        (
            alert(Client, 47),
            "client gave up: illegal_parameter (47)",
            "クライアントが中止した: illegal_parameter (47)",
        ),
        (
            alert(Client, 49),
            "client gave up: access_denied (49)",
            "クライアントが中止した: access_denied (49)",
        ),
        (
            alert(Client, 80),
            "client gave up: internal_error (80)",
            "クライアントが中止した: internal_error (80)",
        ),
        (
            alert(Server, 80),
            "server refused: internal_error (80)",
            "サーバーが拒否した: internal_error (80)",
        ),
        (
            build(&|talk: &mut Talk| {
                talk.wait_ms(300).rst(Server);
            }),
            "server reset the connection after its own ServerHello, before the client answered",
            "サーバーが自分の ServerHello の後、クライアントの応答より前に接続をリセットした",
        ),
        (
            build(&|talk: &mut Talk| {
                talk.wait_ms(300).fin(Server).fin(Client);
            }),
            "server closed the connection after its own ServerHello, before the client answered",
            "サーバーが自分の ServerHello の後、クライアントの応答より前に接続を閉じた",
        ),
        (
            build(&|talk: &mut Talk| {
                talk.wait_ms(300).rst(Client);
            }),
            "client left after the ServerHello, without an alert in clear",
            "ServerHello の後、クライアントが平文のアラートなしで切断した",
        ),
    ];
    for (mut scene, en, ja) in cases {
        // The client did not come to its key exchange in any of them.
        let run = scene.run(Settings::default());
        is_silent(&run, "late-handshake-failure");
        let squeezed = |text: String| text.replace([' ', '\u{3000}'], "");
        assert!(
            failure(&mut scene, "en").starts_with(en),
            "{en}: {}",
            failure(&mut scene, "en")
        );
        let told = squeezed(failure(&mut scene, "ja"));
        assert!(told.starts_with(&squeezed(ja.to_owned())), "{ja}: {told}");
    }
    // After the key exchange it is a late failure.
    let mut late = build(&|talk: &mut Talk| {
        let mut second = tls::record(22, 0x0303, &tls::message(16, &tls::vec8(&[7; 32])));
        second.extend(tls::finished());
        talk.send(Client, &second)
            .send(Server, &tls::alert(2, 80))
            .close();
    });
    fires(&late.run(Settings::default()), "late-handshake-failure");
}

#[test]
fn a_server_that_breaks_off_under_tls13_is_no_client_that_gave_up() {
    let run = |ended: &dyn Fn(&mut Talk)| {
        let mut flight = tls::record(22, 0x0303, &tls::server_hello_tls13(0x1301, 0x0304));
        flight.extend(tls::record(23, 0x0303, &[0xee; 2_900]));
        let mut scene = scene();
        scene.talk(CLIENT, SERVER, 0.0, |talk| {
            talk.open()
                .send(Client, &Hello::default().record())
                .send_cut(Server, &flight, 1_400)
                .acknowledge(Client)
                .wait_ms(300);
            ended(talk);
        });
        scene.run(Settings::default())
    };
    let id = "tls13-abort-hidden";
    is_silent(
        &run(&|talk: &mut Talk| {
            talk.rst(Server);
        }),
        id,
    );
    fires(
        &run(&|talk: &mut Talk| {
            talk.rst(Client);
        }),
        id,
    );
    // The client's alert, and then the server closes.
    fires(
        &run(&|talk: &mut Talk| {
            talk.send(Client, &tls::record(23, 0x0303, &[0xee; 19]))
                .rst(Server);
        }),
        id,
    );
}

/// A client that sends its QUIC hello several times, and never hears from the server.
fn quic_silence(scene: &mut Scene, at_s: f64, port: u16) {
    let hello = Hello {
        alpn: vec!["h3"],
        ..Hello::default()
    };
    let mut frames = crypto(0, &hello.message());
    frames.resize(1_150, 0);
    let keyed = [port as u8, 2, 3, 4, 5, 6, 7, 8];
    for (number, wait) in [0.0, 0.3, 0.9, 2.1, 4.5, 9.3].into_iter().enumerate() {
        let initial = Initial {
            keyed: &keyed,
            from_server: false,
            dcid: &keyed,
            scid: b"client",
            number: number as u8,
        };
        let time_ns = START_NS + ((scene.begin_s + at_s + wait) * 1e9) as i64;
        let client = format!("{CLIENT}:{port}");
        let packet = datagram(time_ns, &client, SERVER, &initial.seal(&frames));
        scene.packets.push(packet);
    }
}

#[test]
fn silence_over_quic_is_told_as_such() {
    let run = |tcp_client: &str| {
        let mut scene = scene();
        for n in 0..5_u16 {
            let at = f64::from(n * n) * 40.0;
            quic_silence(&mut scene, at, 50_000 + n);
            // At another address of the same name.
            good(&mut scene, tcp_client, "10.0.0.6:443", at + 10.0);
        }
        scene.run(Settings::default())
    };
    let id = "hello-unanswered";
    let served = run(CLIENT);
    let told = fires(&served, id);
    assert_eq!((told.severity, told.count), (Severity::Info, 5));
    assert!(told.title.contains("over TCP the client is served"));
    is_silent(&served, "version-fallback-retry");
    // Nothing says that this client gets on: the silence may be all that it sees.
    let alone = run("10.0.1.2");
    let told = fires(&alone, id);
    assert_eq!(told.severity, Severity::Warning);
    assert!(told.title.contains("over QUIC"), "{}", told.title);
    // A silence over TCP at the same server is told beside it, in its own words.
    let mut both = scene();
    quic_silence(&mut both, 0.0, 50_000);
    both.talk(CLIENT, SERVER, 1.0, |talk| {
        talk.open()
            .send(Client, &hello12(NAME).record())
            .acknowledge(Server)
            .wait_ms(9_000)
            .close();
    });
    let run = both.run(Settings::default());
    let told = run.findings.iter().filter(|finding| finding.id == id);
    let titles: Vec<&str> = told.map(|finding| &*finding.title).collect();
    assert_eq!(titles.len(), 2, "{titles:?}");
    assert!(
        titles
            .iter()
            .any(|title| title.contains("acknowledges the ClientHello"))
    );
    assert!(titles.iter().any(|title| title.contains("over QUIC")));
}

/// A request over HTTP/2 in clear, and its answer.
fn h2c(talk: &mut Talk, authority: &str, path: &str, status: u16) {
    let frame = |kind: u8, flags: u8, stream: u8, body: &[u8]| {
        let length = u8::try_from(body.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], body].concat()
    };
    let literal = |index: u8, value: &str| {
        let length = u8::try_from(value.len()).unwrap();
        [&[index, length], value.as_bytes()].concat()
    };
    let request = [
        vec![0x82, 0x86],
        literal(0x04, path),
        literal(0x41, authority),
    ]
    .concat();
    let up = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, b""),
        frame(1, 5, 1, &request),
    ];
    let leads_to = format!("https://{authority}/");
    let response = match status {
        200 => vec![0x88],
        // `location` is entry 46: 15 and 31 more.
        _ => [literal(0x08, "301"), vec![0x0f], literal(0x1f, &leads_to)].concat(),
    };
    let down = [frame(4, 0, 0, b""), frame(1, 5, 1, &response)];
    talk.open()
        .send(Client, &up.concat())
        .send(Server, &down.concat())
        .wait_ms(100)
        .close();
}

#[test]
fn offload_to_http2_in_clear_is_offload() {
    let der = &certificates()[0].1;
    let run = |authority: &str, path: &str, status: u16| {
        let mut scene = scene();
        for n in 0..4 {
            let at = f64::from(n) * 20.0;
            scene.talk(CLIENT, "10.0.0.20:443", at, |talk| {
                complete(talk, &hello12(NAME), 0x0303, 0xc030, der);
            });
            scene.talk("10.0.0.20", "10.0.0.30:8080", at + 0.05, |talk| {
                h2c(talk, authority, path, status);
            });
        }
        scene.run(Settings::default())
    };
    let id = "cleartext-backend-leg";
    let found = run(NAME, "/owa/", 200);
    let told = fires(&found, id);
    assert!(told.title.contains("10.0.0.30:8080"), "{}", told.title);
    assert_eq!((told.count, told.confidence), (4, Confidence::Likely));
    let fact = &told.evidence[1].fact;
    assert!(fact.contains("GET /owa/"), "{fact}");
    fires(&run(NAME, "/", 200), id);
    // A server that calls a service of its own; and one that only leads to https.
    is_silent(&run("orders.internal:8080", "/orders.Orders/List", 200), id);
    is_silent(&run(NAME, "/", 301), id);
}

#[test]
fn plain_health_probes_are_no_offload() {
    let der = &certificates()[0].1;
    let get = |talk: &mut Talk| {
        let request = format!("GET /owa/healthcheck.htm HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n200 OK";
        talk.open()
            .send(Client, request.as_bytes())
            .send(Server, answer)
            .close();
    };
    let run = |at: &dyn Fn(u32) -> f64| {
        let mut scene = scene();
        for n in 0..20 {
            // The proxy encrypts again.
            let front = f64::from(n * 13 + n * n % 5);
            for (client, server, later) in [
                (CLIENT, "10.0.0.20:443", 0.0),
                ("10.0.0.20", "10.0.0.30:443", 0.1),
            ] {
                scene.talk(client, server, front + later, |talk| {
                    complete(talk, &hello12(NAME), 0x0303, 0xc030, der);
                });
            }
            scene.talk("10.0.0.20", "10.0.0.30:80", at(n), get);
        }
        scene.run(Settings::default())
    };
    let id = "cleartext-backend-leg";
    is_silent(&run(&|n| f64::from(n) * 10.0), id);
    // Requests that follow the clients' are theirs.
    fires(&run(&|n| f64::from(n * 13 + n * n % 5) + 0.2), id);
}

#[test]
fn health_probes_are_no_back_leg() {
    let der = &certificates()[0].1;
    // A web server that watches another one, and is asked every few seconds.
    let run = |every_s: f64, said: usize| {
        let mut scene = scene();
        for n in 0..60 {
            let at = f64::from(n) * 3.0;
            scene.talk(
                CLIENT,
                "10.0.0.20:443",
                at + f64::from(n * n % 7) / 10.0,
                |talk| {
                    complete(
                        talk,
                        &hello12("autodiscover.contoso.com"),
                        0x0303,
                        0xc030,
                        der,
                    );
                },
            );
        }
        for n in 0..60 {
            scene.talk("10.0.0.20", SERVER, f64::from(n) * every_s + 0.9, |talk| {
                talk.open().send(Client, &hello12(NAME).record());
                let mut second = tls::record(22, 0x0303, &tls::message(16, &tls::vec8(&[7; 32])));
                second.extend(tls::finished());
                talk.send(Server, &answer(0x0303, 0xc030, der))
                    .send(Client, &second)
                    .send(Server, &tls::finished())
                    .send(Client, &tls::record(23, 0x0303, &vec![1; said]))
                    .close();
            });
        }
        scene.run(Settings::default())
    };
    let id = "proxy-name-rewrite";
    let watched = run(3.0, 60);
    fires(&watched, "health-probe");
    is_silent(&watched, id);
    // Requests in their place are the client's.
    fires(&run(3.0, 900), id);
}

#[test]
fn certificates_of_today_that_differ_by_network() {
    let id = "tls-interception-suspected";
    let old = &certificates()[0].1;
    let new = &renewed(old);
    // They are valid since 2026-11-22 10:50.
    let shown_on = |day: f64, all: &[(&str, f64, &[u8])]| {
        let mut scene = Scene {
            begin_s: day * 86_400.0,
            ..Scene::default()
        };
        for (client, at_s, der) in all {
            scene.talk(client, "203.0.113.80:443", *at_s, |talk| {
                complete(talk, &hello12(NAME), 0x0303, 0xc030, der);
            });
        }
        scene.run(Settings::default())
    };
    let differ: [(&str, f64, &[u8]); 3] = [
        ("10.0.1.7", 0.0, old),
        ("10.0.2.7", 600.0, new),
        ("10.0.1.8", 1_200.0, old),
    ];
    let run = shown_on(326.0, &differ);
    assert_eq!(fires(&run, id).confidence, Confidence::Possible);
    // Days later; a change in between; one network.
    is_silent(&shown_on(330.0, &differ), id);
    is_silent(&shown_on(326.0, &differ[..2]), id);
    let one = differ.map(|(_, at_s, der)| ("10.0.1.7", at_s, der));
    is_silent(&shown_on(326.0, &one), id);
}

/// A post-quantum hello and a long certificate chain, as the sender's own capture shows them where the card cuts them into
/// segments (TSO), and as the wire does.
fn long_messages(whole: bool) -> Run {
    let der = &certificates()[0].1;
    let mut hello = hello12(NAME);
    hello.suites = vec![0xc030; 700];
    let mut scene = scene();
    scene.talk(CLIENT, SERVER, 0.0, |talk| {
        let mss = if whole { 65_000 } else { 1_400 };
        let mut second = tls::record(22, 0x0303, &tls::message(16, &tls::vec8(&[7; 32])));
        second.extend(tls::finished());
        let mut flight = answer(0x0303, 0xc030, der);
        flight.extend(tls::record(22, 0x0303, &tls::message(12, &[3; 6_000])));
        talk.open()
            .send_cut(Client, &hello.record(), mss)
            .acknowledge(Server)
            .send_cut(Server, &flight, mss)
            .acknowledge(Client)
            .send_cut(Client, &second, mss)
            .send(Server, &tls::finished())
            .send_cut(Server, &tls::record(23, 0x0303, &[2; 16_000]), mss)
            .acknowledge(Client)
            .wait_ms(1_500)
            .close();
    });
    scene.run(Settings::default())
}

#[test]
fn segments_longer_than_the_wire_takes_are_as_good_as_others() {
    let [cut, whole] = [false, true].map(long_messages);
    assert_eq!(cut.finding_counts(), whole.finding_counts());
    for run in [&cut, &whole] {
        let record = run.only();
        assert_eq!(record.outcome, Outcome::Established);
        assert!(record.defects.is_empty(), "{:?}", record.defects);
        is_silent(run, "capture-quality");
        is_silent(run, "pmtu-blackhole");
    }
}

#[test]
fn a_hello_that_the_snap_length_cut_accuses_nobody() {
    let mut scene = scene();
    for n in 0..6 {
        scene.talk(CLIENT, SERVER, f64::from(n * n), |talk| {
            reset_after_hello(talk, &hello10(NAME));
        });
    }
    scene.packets = (scene.packets.drain(..))
        .map(|packet| packet.snapped(96))
        .collect();
    let run = scene.run(Settings::default());
    let quality = fires(&run, "capture-quality");
    assert!(quality.title.contains("cut packets"), "{}", quality.title);
    assert_eq!(quality.severity, Severity::Warning);
    // It was cut, not lost.
    assert_eq!(run.finding_counts(), [("capture-quality", 6)]);
}

/// A hello that is answered after so long; the client has given up after so long, if it does.
fn late_answer(answer_ms: i64, gives_up_ms: Option<i64>) -> Run {
    let der = &certificates()[0].1;
    let mut scene = scene();
    scene.talk(CLIENT, SERVER, 0.0, |talk| {
        if let Some(ms) = gives_up_ms {
            talk.open()
                .send(Client, &hello12(NAME).record())
                .acknowledge(Server)
                .wait_ms(ms)
                .fin(Client)
                .acknowledge(Server)
                .wait_ms(answer_ms - ms)
                .send(Server, &answer(0x0303, 0xc030, der))
                .rst(Client);
            return;
        }
        let mut second = tls::record(22, 0x0303, &tls::message(16, &tls::vec8(&[7; 32])));
        second.extend(tls::finished());
        talk.open()
            .send(Client, &hello12(NAME).record())
            .acknowledge(Server)
            .wait_ms(answer_ms)
            .send(Server, &answer(0x0303, 0xc030, der))
            .send(Client, &second)
            .send(Server, &tls::finished())
            .wait_ms(1_500)
            .close();
    });
    scene.run(Settings::default())
}

#[test]
fn an_answer_that_comes_when_the_client_has_given_up() {
    let id = "hello-unanswered";
    let run = late_answer(12_000, Some(8_000));
    let finding = fires(&run, id);
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.title.contains("12000 ms"), "{}", finding.title);
    assert!(of_client(&run).findings.iter().any(|told| &**told == id));
    // The client had waited for a moment only; one that waits is told as slow, once.
    is_silent(&late_answer(4_000, Some(3_000)), id);
    let waits = late_answer(8_000, None);
    is_silent(&waits, id);
    fires(&waits, "slow-handshake");
}
