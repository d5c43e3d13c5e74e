//! Field cases that only packets built by hand can show, as an administrator runs them: the report in both languages is a
//! golden, and each case has a twin that is nearly one and must stay silent. `UPDATE_GOLDENS=1 cargo test --test
//! built_cases` writes the goldens anew; a change in them is a change of the output, and is reviewed as such.

#![allow(clippy::unwrap_used)] // a test that can't go on shall stop

mod support;

use std::path::PathBuf;
use support::{
    Folder,
    files::Pcap,
    golden,
    packets::{
        ACK, Packet, START_NS, SYN, Talk,
        Who::{Client, Server},
        datagram, icmp,
    },
    scene::{Scene, answer, certificates, complete, hello12, renewed},
    tls::{self, Hello, message, record, vec8},
};

/// The certificates of the bundled captures are valid then: 2026-11-27.
const BEGIN_S: f64 = 330.0 * 86_400.0;
const NAME_SERVER: &str = "10.0.0.53:53";

fn scene() -> Scene {
    Scene {
        begin_s: BEGIN_S,
        ..Scene::default()
    }
}

/// What the program prints about a scene.
fn report(folder: &Folder, name: &str, scene: &Scene, lang: &str) -> String {
    let mut packets: Vec<Packet> = scene.packets.clone();
    packets.sort_by_key(|packet| packet.time_ns);
    let path = folder.file(name, &Pcap::default().write(&packets));
    golden::report(path.parent().unwrap(), name, lang)
}

/// The report is its golden in both languages.
#[track_caller]
fn is_golden(name: &str, scene: &Scene) {
    let folder = Folder::new(name);
    for lang in ["en", "ja"] {
        let ours = report(&folder, &format!("{name}.pcap"), scene, lang);
        let golden = PathBuf::from(format!("tests/built_cases/{name}.{lang}.txt"));
        golden::assert_report(&golden, &ours);
    }
}

/// The twin's report does not speak of it.
#[track_caller]
fn is_silent(id: &str, scene: &Scene) {
    let folder = Folder::new(&format!("twin-of-{id}"));
    let told = report(&folder, "twin.pcap", scene, "en");
    assert!(!told.contains(&format!("[{id}]")), "{told}");
}

/// A new certificate on an AD FS farm, which one of three servers does not get for `late_s`.
fn roll_out(late_s: f64) -> Scene {
    let old = &certificates()[0].1;
    let new = &renewed(old);
    let hello = hello12("www.contoso.com");
    let mut scene = scene();
    for (server, changes_at) in [
        ("10.0.0.5:443", 600.0),
        ("10.0.0.6:443", 660.0),
        ("10.0.0.7:443", 660.0 + late_s),
    ] {
        for n in 0..10 {
            let at = f64::from(n) * 240.0 + f64::from(n * n % 5) * 7.0;
            let shown = if at < changes_at { old } else { new };
            scene.talk("10.0.1.10", server, at, |talk| {
                complete(talk, &hello, 0x0303, 0xc030, shown);
            });
        }
    }
    scene
}

#[test]
fn a_certificate_that_one_server_does_not_get() {
    is_golden("s4-certificate-roll-out", &roll_out(1e9));
    // All have it within minutes.
    is_silent("farm-cert-inconsistent", &roll_out(120.0));
}

/// A DNS message about the A record of a name.
fn dns(id: u16, flags: u16, name: &str, address: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend(flags.to_be_bytes());
    out.extend([0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.bytes());
    }
    out.extend([0, 0, 1, 0, 1]);
    if let Some(address) = address {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(address);
    }
    out
}

/// A question at a time, from a port of its own; answered where there is an address.
fn ask(
    scene: &mut Scene,
    client: &str,
    at_s: f64,
    number: u16,
    name: &str,
    address: Option<[u8; 4]>,
) {
    let time_ns = START_NS + ((scene.begin_s + at_s) * 1e9) as i64;
    let from = format!("{client}:{}", 20_000 + number);
    let query = dns(number, 0x0100, name, None);
    scene
        .packets
        .push(datagram(time_ns, &from, NAME_SERVER, &query));
    if address.is_some() {
        let answer = dns(number, 0x8180, name, address);
        let time_ns = time_ns + 3_000_000;
        scene
            .packets
            .push(datagram(time_ns, NAME_SERVER, &from, &answer));
    }
}

/// An Exchange server that asks DNS steadily until `silent_at_s`, and connects to its domain controllers all the time.
fn ports_run_out(silent_at_s: f64) -> Scene {
    let der = &certificates()[0].1;
    let hello = hello12("www.contoso.com");
    let mut scene = scene();
    let mut number = 0;
    while f64::from(number) * 15.0 < silent_at_s {
        let at = f64::from(number) * 15.0;
        ask(
            &mut scene,
            "10.0.0.20",
            at,
            number,
            "www.contoso.com",
            Some([10, 0, 0, 2]),
        );
        number += 1;
    }
    for n in 0..20 {
        scene.talk(
            "10.0.0.20",
            "10.0.0.2:636",
            30.0 + f64::from(n) * 120.0,
            |talk| {
                complete(talk, &hello, 0x0303, 0xc030, der);
            },
        );
    }
    scene
}

#[test]
fn a_host_that_runs_out_of_udp_ports() {
    is_golden("s4-udp-silence", &ports_run_out(1_200.0));
    // Ten minutes of questions, of which no span that begins by the clock holds all.
    let folder = Folder::new("ports-run-out-across-spans");
    let mut across = ports_run_out(640.0);
    for packet in &mut across.packets {
        packet.time_ns += 300_000_000_000;
    }
    let told = report(&folder, "across.pcap", &across, "en");
    assert!(told.contains("[dns-failure-before-connect]"), "{told}");
    // It asks until the end.
    is_silent("dns-failure-before-connect", &ports_run_out(2_500.0));
}

/// A client that wants a revocation list between certificate and key exchange; the host answers after `dns_answers`.
fn revocation(dns_answers: bool) -> Scene {
    let der = &certificates()[0].1;
    let hello = hello12("www.contoso.com");
    let mut scene = scene();
    for n in 0..3_u16 {
        let at = f64::from(n) * 60.0;
        let address = dns_answers.then_some([10, 0, 0, 80]);
        for (again, wait) in [0.1, 1.1, 3.1, 7.1].into_iter().enumerate() {
            if again == 0 || !dns_answers {
                ask(
                    &mut scene,
                    "10.0.1.10",
                    at + wait,
                    10 * n,
                    "crl.contoso.com",
                    address,
                );
            }
        }
        // DNS works for others.
        ask(
            &mut scene,
            "10.0.1.10",
            at - 1.0,
            10 * n + 1,
            "www.contoso.com",
            Some([10, 0, 0, 5]),
        );
        scene.talk("10.0.1.10", "10.0.0.5:443", at, |talk| {
            slow(talk, &hello, der)
        });
    }
    scene
}

/// A handshake whose client takes twelve seconds before its key exchange.
fn slow(talk: &mut Talk, hello: &Hello, der: &[u8]) {
    let mut second = record(22, 0x0303, &message(16, &vec8(&[7; 32])));
    second.extend(tls::finished());
    talk.open()
        .send(Client, &hello.record())
        .send(Server, &answer(0x0303, 0xc030, der))
        .wait_ms(12_000)
        .send(Client, &second)
        .send(Server, &tls::finished())
        .send(Client, &record(23, 0x0303, &[1; 600]))
        .send(Server, &record(23, 0x0303, &[2; 1200]))
        .wait_ms(1_500)
        .close();
}

#[test]
fn a_revocation_list_that_cannot_be_fetched() {
    let blocked = revocation(false);
    is_golden("s4-revocation-list", &blocked);
    // The list's host is found: why the client waits is not known.
    let folder = Folder::new("twin-of-revocation");
    let told = report(&folder, "twin.pcap", &revocation(true), "en");
    assert!(
        told.contains("Clients take long to answer 10.0.0.5:443"),
        "{told}"
    );
    assert!(!told.contains("crl.contoso.com, which"), "{told}");
}

/// A SYN that a router answers with ICMP, to a server that also is asked from elsewhere.
fn forbidden(kind: [u8; 2]) -> Scene {
    let mut scene = scene();
    scene.talk("10.0.1.10", "10.0.0.5:443", 1.0, |talk| {
        let first = talk.first[0];
        talk.raw(Client, SYN, first, b"");
        talk.packets
            .push(icmp(&talk.packets[0], "10.0.1.1", kind, 0));
    });
    let der = &certificates()[0].1;
    scene.talk("10.0.2.20", "10.0.0.5:443", 60.0, |talk| {
        complete(talk, &hello12("www.contoso.com"), 0x0303, 0xc030, der);
    });
    scene
}

#[test]
fn a_router_that_forbids_connections() {
    is_golden("s4-forbidden-by-a-router", &forbidden([3, 13]));
    // An echo that quotes by chance, and a network that takes only smaller packets: of a SYN that says nothing.
    for other in [[8, 0], [3, 4]] {
        is_silent("tcp-connect-failed", &forbidden(other));
    }
}

/// Two networks reach a sign-in service over TLS 1.3: from one the answer comes at once, and with another suite.
fn from_next_door(near_ms: i64, near_suite: u16) -> Scene {
    let hello = Hello {
        sni: Some("login.microsoftonline.com"),
        ..Hello::default()
    };
    let mut scene = scene();
    for (n, (client, ms, suite)) in [
        ("10.0.1.10", near_ms, near_suite),
        ("10.0.1.11", near_ms, near_suite),
        ("10.0.2.10", 21, 0x1302),
        ("10.0.3.10", 34, 0x1302),
    ]
    .into_iter()
    .enumerate()
    {
        scene.talk(client, "192.0.2.80:443", n as f64 * 30.0, |talk| {
            hidden(talk, &hello, ms, suite);
        });
    }
    scene
}

/// A handshake over TLS 1.3 with a server that is so far away.
fn hidden(talk: &mut Talk, hello: &Hello, ms: i64, suite: u16) {
    let [client, server] = talk.first;
    let mut answer = record(22, 0x0303, &tls::server_hello_tls13(suite, 0x0304));
    answer.extend(record(23, 0x0303, &[0xee; 2_900]));
    talk.raw(Client, SYN, client, b"")
        .wait_ms(ms)
        .raw(Server, SYN | ACK, server, b"")
        .segment(Client, ACK, 0, b"")
        .send(Client, &hello.record())
        .wait_ms(ms)
        .send_cut(Server, &answer, 1_400)
        .send(Client, &record(23, 0x0303, &[0xff; 53]))
        .send(Client, &record(23, 0x0303, &[1; 600]))
        .wait_ms(ms)
        .send(Server, &record(23, 0x0303, &[2; 1_200]))
        .wait_ms(1_500)
        .close();
}

#[test]
fn a_sign_in_service_that_answers_from_next_door() {
    is_golden("s3-answer-from-next-door", &from_next_door(0, 0x1301));
    // A front end of the service nearby, which answers as all do; or another make, as far away as the others.
    for (near_ms, near_suite) in [(0, 0x1302), (19, 0x1301)] {
        is_silent(
            "tls-interception-suspected",
            &from_next_door(near_ms, near_suite),
        );
    }
}

/// A scene in which a SYN is repeated without an answer, for the note on what a capture without DNS cannot show.
#[test]
fn a_capture_without_dns_says_so() {
    let unanswered = |with_dns: bool| {
        let mut scene = scene();
        if with_dns {
            ask(
                &mut scene,
                "10.0.1.10",
                0.0,
                1,
                "www.contoso.com",
                Some([10, 0, 0, 5]),
            );
        }
        scene.talk("10.0.1.10", "10.0.0.5:443", 1.0, |talk| {
            let first = talk.first[0];
            for wait in [1_000, 2_000, 4_000, 8_000] {
                talk.raw(Client, SYN, first, b"").wait_ms(wait);
            }
        });
        // Time goes on, so that the silence is one.
        let der = &certificates()[0].1;
        scene.talk("10.0.1.11", "10.0.0.6:443", 60.0, |talk| {
            complete(talk, &hello12("www.contoso.com"), 0x0303, 0xc030, der);
        });
        scene
    };
    let folder = Folder::new("no-dns");
    let told = |with_dns| report(&folder, "unanswered.pcap", &unanswered(with_dns), "en");
    assert!(told(false).contains("shows no DNS"));
    assert!(!told(true).contains("shows no DNS"));
}
