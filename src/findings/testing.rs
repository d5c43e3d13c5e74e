//! Hand-built records for the tests of rules and surveys.

use super::{Diagnosis, Settings, judge};
use crate::record::{
    Alert, Certificate, Chain, ClientHello, ClientHelloShape, Close, Code16, Digest, Endpoint,
    Finding, Handshake, Observed, Outcome, Protocol, Sentinel, ServerHello, ServerHelloShape, Side,
    Stacks, Tcp, Timestamp, Timing, Transport,
};
use std::sync::Arc;

/// A record in the making: a TLS 1.2 client at 10.0.0.1 that wants www.contoso.com from 10.0.0.5:443.
#[derive(Clone)]
pub(super) struct Make {
    pub(super) record: Handshake,
}

fn codes(list: &[u16]) -> Vec<Code16> {
    list.iter().map(|code| Code16(*code)).collect()
}

/// A certificate that is valid for a year around the time of the records.
pub(super) fn cert(subject: &str, san: &[&str]) -> Certificate {
    let seed = subject
        .bytes()
        .chain(san.iter().flat_map(|name| name.bytes()));
    let mark = seed.fold(1_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let [a, b, c, d, ..] = mark.to_be_bytes();
    let mut sha256 = [7; 32];
    sha256[..8].copy_from_slice(&mark.to_be_bytes());
    Certificate {
        subject: Some(subject.into()),
        issuer: Some("CN=Contoso Issuing CA, O=Contoso".into()),
        serial: Some(format!("{a:02x}{b:02x}{c:02x}{d:02x}").into()),
        not_before: Some(Timestamp((START_S - 100 * DAY_S) * 1_000_000_000)),
        not_after: Some(Timestamp((START_S + 200 * DAY_S) * 1_000_000_000)),
        san: san.iter().map(|name| Box::from(*name)).collect(),
        key: Some("rsa-2048".into()),
        signature_algorithm: Some("sha256WithRSAEncryption".into()),
        sha256: Digest(sha256),
        sha1: Digest([a; 20]),
        self_signed: false,
        malformed: false,
        rendered: crate::record::Rendered::default(),
        marks: crate::record::Once::default(),
        ca_issuers: false,
        spki_sha256: None,
        tls_server_end_point: None,
        rsa_exponent: None,
        scts: None,
        der: None,
    }
}

/// Start of the capture in seconds.
pub(super) const START_S: i64 = 1_700_000_000;
/// A day.
pub(super) const DAY_S: i64 = 86_400;

static STACKS: std::sync::LazyLock<Stacks> = std::sync::LazyLock::new(|| Stacks::new(&[]));

impl Make {
    pub(super) fn new() -> Self {
        let shape = ClientHelloShape {
            record_version: Some(Code16(0x0303)),
            legacy_version: Code16(0x0303),
            supported_versions: None,
            cipher_suites: codes(&[0xc030, 0xc02f, 0xc014, 0xc013, 0x009c, 0x002f]),
            compression: vec![0],
            extensions: codes(&[0x0000, 0x000a, 0x000b, 0x000d, 0x0017, 0x0023, 0xff01]),
            alpn: None,
            supported_groups: Some(codes(&[0x001d, 0x0017, 0x0018])),
            key_share_groups: None,
            signature_algorithms: Some(codes(&[0x0401, 0x0403, 0x0501, 0x0601, 0x0201])),
            ec_point_formats: Some(vec![0]),
            psk_modes: None,
            pre_shared_key: false,
            early_data: false,
            ech: None,
            status_request: false,
            extended_master_secret: true,
            renegotiation_info: true,
            fallback_scsv: false,
            ja3: Digest([0; 16]),
            ja3_string: "".into(),
            ja4: "".into(),
            certificate_compression: None,
            client_stack: None,
            rendered: crate::record::Rendered::default(),
            marks: crate::record::Once::default(),
        };
        let hello = ClientHello {
            frame: 4,
            segments: 1,
            length: 200,
            sni: Some("www.contoso.com".into()),
            session_id_length: 0,
            session_ticket_length: None,
            psk_identities: None,
            ech_outer: None,
            shape: Arc::new(shape),
        };
        Self {
            record: Handshake {
                capture: "test.pcap".into(),
                start: Timestamp(START_S * 1_000_000_000),
                end: Timestamp((START_S + 1) * 1_000_000_000),
                transport: Transport::Tcp,
                protocol: Protocol::Tls,
                client: "10.0.0.1:50000"
                    .parse::<std::net::SocketAddr>()
                    .map(endpoint)
                    .unwrap(),
                server: "10.0.0.5:443"
                    .parse::<std::net::SocketAddr>()
                    .map(endpoint)
                    .unwrap(),
                encapsulation: Vec::new(),
                starttls: None,
                proxy: None,
                renegotiation: false,
                client_hello: Some(Box::new(hello)),
                hello_retry_request: None,
                second_client_hello: None,
                server_hello: None,
                key_exchange: None,
                certificates: Chain::default(),
                client_certificates: Chain::default(),
                certificate_requested: false,
                ocsp_stapled: false,
                ocsp: None,
                alerts: Vec::new(),
                tcp: Some(Tcp {
                    syn_frame: Some(1),
                    rtt_us: Some(2_000),
                    close: Close::None,
                    close_frame: Some(20),
                    ..Tcp::default()
                }),
                application_bytes: None,
                outcome: Outcome::HelloUnanswered,
                stopped_after: None,
                timing: Timing::default(),
                defects: Vec::new(),
                findings: Vec::new(),
                observed: None,
                process_id: None,
                recording: None,
                dialogue: None,
                origin: None,
                http: None,
                quic: None,
                decrypted: false,
                inside: None,
            },
        }
    }

    pub(super) fn shape(mut self, change: impl FnOnce(&mut ClientHelloShape)) -> Self {
        if let Some(hello) = &mut self.record.client_hello {
            let shape = Arc::make_mut(&mut hello.shape);
            change(shape);
            // Of a shape that nothing else refers to, what was read before would stay.
            shape.marks = crate::record::Once::default();
            shape.client_stack = STACKS.recognise(shape).map(Box::new);
        }
        self
    }

    pub(super) fn reply(mut self, change: impl FnOnce(&mut ServerHelloShape)) -> Self {
        if let Some(hello) = &mut self.record.server_hello {
            let shape = Arc::make_mut(&mut hello.shape);
            change(shape);
            shape.marks = crate::record::Once::default();
        }
        self
    }

    pub(super) fn hello(mut self, change: impl FnOnce(&mut ClientHello)) -> Self {
        if let Some(hello) = &mut self.record.client_hello {
            change(hello);
        }
        self
    }

    pub(super) fn tcp(mut self, change: impl FnOnce(&mut Tcp)) -> Self {
        if let Some(tcp) = &mut self.record.tcp {
            change(tcp);
        }
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Handshake)) -> Self {
        change(&mut self.record);
        self
    }

    pub(super) fn observed(mut self, change: impl FnOnce(&mut Observed)) -> Self {
        change(self.record.observed.get_or_insert_default());
        self
    }

    pub(super) fn offer(self, version: u16) -> Self {
        self.shape(|shape| shape.legacy_version = Code16(version))
    }

    pub(super) fn tls13(self) -> Self {
        self.shape(|shape| {
            shape.supported_versions = Some(codes(&[0x0304, 0x0303]));
            shape.cipher_suites.splice(0..0, codes(&[0x1301, 0x1302]));
            shape.extensions.extend(codes(&[0x002b, 0x0033, 0x002d]));
            shape.key_share_groups = Some(codes(&[0x001d]));
        })
    }

    pub(super) fn record_version(self, version: u16) -> Self {
        self.shape(|shape| shape.record_version = Some(Code16(version)))
    }

    pub(super) fn suites(self, suites: &[u16]) -> Self {
        self.shape(|shape| shape.cipher_suites = codes(suites))
    }

    pub(super) fn fallback_scsv(self) -> Self {
        self.shape(|shape| {
            shape.fallback_scsv = true;
            shape.cipher_suites.push(Code16(0x5600));
        })
    }

    pub(super) fn alpn(self, protocols: &[&str]) -> Self {
        self.shape(|shape| {
            shape.alpn = Some(protocols.iter().map(|name| Box::from(*name)).collect());
            shape.extensions.push(Code16(0x0010));
        })
    }

    pub(super) fn sni(self, name: &str) -> Self {
        self.hello(|hello| hello.sni = Some(name.into()))
    }

    pub(super) fn no_sni(self) -> Self {
        self.hello(|hello| hello.sni = None)
            .shape(|shape| shape.extensions.retain(|code| code.0 != 0))
    }

    /// The server answers, and the handshake completes.
    pub(super) fn answer(mut self, version: u16, suite: u16) -> Self {
        let tls13 = version == 0x0304;
        self.record.server_hello = Some(Box::new(ServerHello {
            frame: 6,
            resumed: false,
            psk: None,
            shape: Arc::new(ServerHelloShape {
                version: Code16(version),
                version_name: None,
                legacy_version: Code16(version.min(0x0303)),
                cipher_suite: Code16(suite),
                cipher_suite_name: None,
                alpn: None,
                compression: 0,
                extensions: codes(if tls13 {
                    &[0x002b, 0x0033]
                } else {
                    &[0x0017, 0xff01]
                }),
                key_share_group: tls13.then_some(Code16(0x001d)),
                extended_master_secret: !tls13,
                renegotiation_info: !tls13,
                session_ticket: false,
                downgrade_sentinel: None,
                ja3s: Digest([0; 16]),
                ja3s_string: "".into(),
                rendered: crate::record::Rendered::default(),
                marks: crate::record::Once::default(),
            }),
        }));
        self.record.outcome = Outcome::Established;
        self
    }

    pub(super) fn selected(self, protocol: &str) -> Self {
        self.reply(|shape| shape.alpn = Some(protocol.into()))
    }

    pub(super) fn sentinel(self, sentinel: Sentinel) -> Self {
        self.reply(|shape| shape.downgrade_sentinel = Some(sentinel))
    }

    pub(super) fn certificate(mut self, certificate: Certificate) -> Self {
        let chain = &mut self.record.certificates;
        chain.edit(|chain| chain.push(Arc::new(certificate)));
        self
    }

    /// Changes the server's own certificate.
    pub(super) fn leaf(mut self, change: impl FnOnce(&mut Certificate)) -> Self {
        let chain = &mut self.record.certificates;
        chain.edit(|chain| change(Arc::make_mut(&mut chain[0])));
        self
    }

    /// The client shows a certificate.
    pub(super) fn client_certificate(mut self, certificate: Certificate) -> Self {
        let chain = &mut self.record.client_certificates;
        chain.edit(|chain| chain.push(Arc::new(certificate)));
        self
    }

    pub(super) fn alert(mut self, from: Side, code: u8) -> Self {
        self.record.alerts.push(Alert {
            frame: 8,
            from,
            level: Some(2),
            code: Some(code),
            description: None,
            encrypted: false,
        });
        self
    }

    pub(super) fn outcome(mut self, outcome: Outcome) -> Self {
        self.record.outcome = outcome;
        self
    }

    pub(super) fn client(mut self, ip: &str) -> Self {
        self.record.client.ip = ip.parse().unwrap();
        self
    }

    pub(super) fn server(mut self, server: &str) -> Self {
        self.record.server = endpoint(server.parse().unwrap());
        self
    }

    /// Seconds after the start of the capture.
    pub(super) fn at(self, seconds: i64) -> Self {
        self.at_ms(seconds * 1_000)
    }

    pub(super) fn at_ms(mut self, ms: i64) -> Self {
        let length = self.record.end.0 - self.record.start.0;
        self.record.start = Timestamp(START_S * 1_000_000_000 + ms * 1_000_000);
        self.record.end = Timestamp(self.record.start.0 + length);
        self
    }

    /// How long the connection lasts.
    pub(super) fn lasts_ms(mut self, ms: i64) -> Self {
        self.record.end = Timestamp(self.record.start.0 + ms * 1_000_000);
        self
    }
}

fn endpoint(address: std::net::SocketAddr) -> Endpoint {
    Endpoint {
        ip: address.ip(),
        port: address.port(),
    }
}

/// Ids of the rules that fire.
pub(super) fn ids(made: &mut Make) -> Vec<String> {
    made.record.findings.clear();
    judge(&mut made.record, &Settings::default());
    made.record
        .findings
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Whether a rule marks the record.
pub(super) fn has(made: &Make, id: &str) -> bool {
    ids(&mut made.clone()).iter().any(|fired| fired == id)
}

/// The findings of a few records.
pub(super) fn diagnose(made: &[Make]) -> Vec<Finding> {
    diagnose_with(made, &Settings::default())
}

/// The findings of a few records, and of what DNS told.
pub(super) fn diagnose_dns(made: &[Make], dns: &crate::record::Dns) -> Vec<Finding> {
    let mut diagnosis = Diagnosis::new(&Settings::default());
    for made in made {
        diagnosis.add(&made.record);
    }
    diagnosis.dns(dns);
    diagnosis.finish()
}

/// The findings of a few records under other settings. No text may have kept a placeholder.
pub(super) fn diagnose_with(made: &[Make], settings: &Settings) -> Vec<Finding> {
    let mut diagnosis = Diagnosis::new(settings);
    for made in made {
        diagnosis.add(&made.record);
    }
    let found = diagnosis.finish();
    for finding in &found {
        assert!(!finding.title.contains('{'), "{}", finding.title);
        for evidence in &finding.evidence {
            assert!(!evidence.fact.contains('{'), "{}", evidence.fact);
        }
        assert!(
            !finding.evidence.is_empty(),
            "{} without evidence",
            finding.id
        );
        assert!(
            !finding.remediation.is_empty(),
            "{} without remedy",
            finding.id
        );
    }
    found
}

/// The finding with an id.
pub(super) fn find<'f>(found: &'f [Finding], id: &str) -> Option<&'f Finding> {
    found.iter().find(|finding| finding.id == id)
}
