//! Scenes of several hosts, built packet by packet: what programs alone do not make.

use super::{
    packets::{
        ACK, Packet, RST, START_NS, SYN, Talk,
        Who::{Client, Server},
    },
    run::{self, Run},
    tls::{self, Hello, message, record, vec8},
};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};
use tlscope::{
    findings::Settings,
    pipeline::{self, Input, Options, Progress},
    record::Certificate,
};

/// Connections of several hosts, in order of time.
#[derive(Default)]
pub(crate) struct Scene {
    pub(crate) packets: Vec<Packet>,
    pub(crate) port: u16,
    /// When it begins, after the start of all captures.
    pub(crate) begin_s: f64,
}

impl Scene {
    /// A connection that begins so many seconds after the start.
    pub(crate) fn talk(
        &mut self,
        client: &str,
        server: &str,
        at_s: f64,
        say: impl FnOnce(&mut Talk),
    ) -> &mut Self {
        self.port += 1;
        let client: SocketAddr = match client.contains(':') {
            true => format!("[{client}]:{}", 40_000 + self.port)
                .parse()
                .unwrap(),
            false => format!("{client}:{}", 40_000 + self.port).parse().unwrap(),
        };
        let mut talk = Talk::new(&client.to_string(), server);
        talk.time_ns = START_NS + ((self.begin_s + at_s) * 1e9) as i64;
        say(&mut talk);
        self.packets.append(&mut talk.packets);
        self
    }

    pub(crate) fn run(&mut self, settings: Settings) -> Run {
        self.packets.sort_by_key(|packet| packet.time_ns);
        let options = Options {
            settings,
            ..run::options()
        };
        run::packets_with(&self.packets, &options)
    }
}

/// A TLS 1.2 hello for a name.
pub(crate) fn hello12(name: &'static str) -> Hello {
    Hello {
        versions: Vec::new(),
        shares: Vec::new(),
        suites: vec![0xc030, 0xc02f, 0xc014, 0x0035],
        sni: Some(name),
        alpn: Vec::new(),
        ..Hello::default()
    }
}

/// A TLS 1.0 hello for a name.
pub(crate) fn hello10(name: &'static str) -> Hello {
    Hello {
        version: 0x0301,
        suites: vec![0xc014, 0x0035, 0x002f, 0x000a],
        ..hello12(name)
    }
}

/// The server's answer up to its ServerHelloDone.
pub(crate) fn answer(version: u16, suite: u16, certificate: &[u8]) -> Vec<u8> {
    let mut hello = tls::server_hello(suite, None);
    hello[4..6].copy_from_slice(&version.to_be_bytes());
    let mut entry = (certificate.len() as u32).to_be_bytes()[1..].to_vec();
    entry.extend(certificate);
    let mut list = (entry.len() as u32).to_be_bytes()[1..].to_vec();
    list.extend(entry);
    hello.extend(message(11, &list));
    hello.extend(message(14, b""));
    record(22, version, &hello)
}

/// A whole handshake with a little data.
pub(crate) fn complete(
    talk: &mut Talk,
    hello: &Hello,
    version: u16,
    suite: u16,
    certificate: &[u8],
) {
    let mut second = record(22, version, &message(16, &vec8(&[7; 32])));
    second.extend(tls::finished());
    talk.open()
        .send(Client, &hello.record())
        .send(Server, &answer(version, suite, certificate))
        .send(Client, &second)
        .send(Server, &tls::finished())
        .send(Client, &record(23, version, &[1; 600]))
        .send(Server, &record(23, version, &[2; 1200]))
        .wait_ms(1_500)
        .close();
}

pub(crate) fn reset_after_hello(talk: &mut Talk, hello: &Hello) {
    talk.open().send(Client, &hello.record()).rst(Server);
}

pub(crate) fn refused(talk: &mut Talk) {
    let [client, server] = talk.first;
    talk.raw(Client, SYN, client, b"")
        .raw(Server, RST | ACK, server, b"");
}

/// A connection without a word.
pub(crate) fn silent(talk: &mut Talk) {
    talk.open().wait_ms(20).close();
}

/// Certificates of the bundled captures, with their bytes: two that are valid and for different names.
pub(crate) fn certificates() -> Vec<(Arc<Certificate>, Vec<u8>)> {
    let inputs: Vec<Input> = [
        "tls12.pcap",
        "name-mismatch.pcap",
        "client-rejects-cert.pcap",
        "mutual-tls.pcap",
        "ecdsa.pcap",
    ]
    .iter()
    .map(|name| Input::File(PathBuf::from("captures").join(name)))
    .collect();
    let options = Options {
        keep_der: true,
        ..Options::default()
    };
    let mut found: Vec<(Arc<Certificate>, Vec<u8>)> = Vec::new();
    let mut known = BTreeSet::new();
    pipeline::run(&inputs, &options, &Progress::default(), &mut |taken| {
        for one in taken.record.certificates.iter().take(1) {
            if known.insert(one.sha256) {
                found.push((Arc::clone(one), one.der.as_deref().unwrap().to_vec()));
            }
        }
        Ok(())
    })
    .unwrap();
    assert!(found.len() >= 2);
    found
}

/// The same certificate for a year longer: the year of notAfter, the second UTCTime (RFC 5280 section 4.1.2.5.1), is
/// another one. Nothing here looks at the signature.
pub(crate) fn renewed(der: &[u8]) -> Vec<u8> {
    let mut out = der.to_vec();
    let is_time = |at: &usize| der[*at..].starts_with(&[0x17, 0x0d]);
    let not_after = (0..der.len()).filter(is_time).nth(1).unwrap();
    let year = &mut out[not_after + 2..not_after + 4];
    year.copy_from_slice(if year == b"28" { b"29" } else { b"28" });
    out
}
