//! The TLS side of a conversation: events become the draft of a record.

use super::UNSEEN;
use super::opened::Reading;
use crate::flow::{Direction, Seq};
use crate::limits::Limits;
use crate::record::{
    Alert, Certificate, Chain, ClientHello, ClientHelloShape, Code16, Defect, KeyExchange, Ocsp,
    Psk, ServerHello, Side, Timestamp,
    copy::{Interner, Place},
    ocsp,
};
use crate::short::Short;
use crate::stats::{Counters, Skip};
use crate::tls::{
    certificate::authority_names,
    client_hello::{ClientHelloView, Extensions},
    code_points::{AlertDescription, AlertLevel, CipherSuite, HandshakeType, Version, VersionRank},
    fingerprint::Carrier,
    handshake::{Event, Machine, Trouble},
    key_exchange::KeyExchangeView,
    server_hello::ServerHelloView,
    sslv2,
    wire::U16List,
};
use std::sync::Arc;

/// The counter of what secrets did not open.
fn skip_of(trouble: Trouble) -> Skip {
    match trouble {
        Trouble::Missing => Skip::KeysMissing,
        Trouble::Unfit => Skip::KeysUnfit,
        Trouble::Suite => Skip::KeysSuite,
        Trouble::Lost => Skip::KeysLost,
    }
}

/// Where an event was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub frame: u64,
    /// [`UNSEEN`] where the packet was kept for what never came in front of it: its time is no longer known.
    pub time_ns: i64,
    pub segments: u32,
    /// The sequence number behind the packet.
    pub end: Seq,
    /// What the packet acknowledges of the other direction; TCP only.
    pub acknowledges: Option<Seq>,
}

/// What a shape or a certificate may take without being counted: those of this size mostly are shared with others. Whether
/// they are depends on what this thread met before, and memory must not: the output is the same for any number of threads.
const USUAL_BYTES: usize = 1024;

/// What the lists of a hello take beyond what is usual.
fn shape_bytes(shape: &ClientHelloShape) -> usize {
    let bytes = 2 * shape.codes() + shape.text_bytes();
    bytes.saturating_sub(USUAL_BYTES)
}

/// What the certificates of a chain take beyond what is usual: many names, or many certificates.
fn chain_bytes(chain: &Chain) -> usize {
    const USUAL: usize = 4;
    let names = |one: &Arc<Certificate>| (48 * one.san.len()).saturating_sub(USUAL_BYTES);
    let more = chain.len().saturating_sub(USUAL) * (size_of::<Certificate>() + USUAL_BYTES);
    more + chain.iter().map(names).sum::<usize>()
}

/// What the session needs from its shard.
pub(super) struct Desk<'a> {
    pub limits: &'a Limits,
    pub interner: &'a mut Interner,
    pub counters: &'a mut Counters,
}

/// What one side sent after the hellos.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flight {
    pub change_cipher_spec: bool,
    /// Encrypted handshake records after ChangeCipherSpec.
    pub encrypted_handshakes: u32,
    /// Application data records, and their bytes.
    pub records: u32,
    pub bytes: u64,
    /// Fragment length of the first application data record after the ServerHello.
    pub first_record: Option<u32>,
    pub encrypted_alert: bool,
}

/// The draft of one handshake's record.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub carrier: Carrier,
    /// Cipher kinds of a ClientHello in the format of SSL 2.0.
    pub sslv2_cipher_kinds: Option<Vec<Box<str>>>,
    /// The kind that the client chose.
    pub sslv2_cipher_kind: Option<Box<str>>,
    /// Packet with the HelloVerifyRequest (DTLS).
    pub hello_verify_request: Option<u64>,
    pub client: Option<Direction>,
    pub client_hello: Option<Box<ClientHello>>,
    pub hello_retry_request: Option<Box<ServerHello>>,
    pub second_client_hello: Option<Box<ClientHello>>,
    pub server_hello: Option<Box<ServerHello>>,
    /// The client's, which is 32 bytes at most (RFC 8446 section 4.1.2).
    pub session_id: Option<Short<32>>,
    pub key_exchange: Option<KeyExchange>,
    pub certificates: Chain,
    pub client_certificates: Chain,
    pub certificate_requested: bool,
    pub ocsp_stapled: bool,
    pub ocsp: Option<Box<Ocsp>>,
    pub alerts: Vec<Alert>,
    pub stopped_after: Option<HandshakeType>,
    pub defects: Vec<Defect>,
    pub flights: [Flight; 2],
    pub client_hello_ns: Option<i64>,
    pub server_hello_ns: Option<i64>,
    pub complete_ns: Option<i64>,
    pub client_key_exchange: bool,
    /// Application bytes at the time of completion, which are not application data but handshake.
    pub bytes_at_completion: [u64; 2],
    pub renegotiation: bool,
    /// When the server's first flight ended, and how long the client took to answer it.
    pub server_flight_ns: Option<i64>,
    pub client_reply_us: Option<i64>,
    pub client_certificate_empty: Option<bool>,
    pub certificate_request: Option<(u32, Option<u32>)>,
    /// Bytes of the server's encrypted flight when the client's first encrypted record came.
    pub server_flight_bytes: Option<u64>,
    /// A handshake record after the client's first application data: its packet and its sender.
    pub late_handshake: Option<(u64, Direction)>,
    /// Handshakes inside this one's encryption that were brought to their end.
    pub renegotiations: u32,
    /// The sequence number behind the ClientHello's last segment.
    pub client_hello_end: Option<Seq>,
    pub client_hello_acknowledged: bool,
    /// The sequence number behind what the server's first flight showed so far, and how far the client acknowledged it.
    pub server_flight_end: Option<Seq>,
    pub server_acknowledged: Option<Seq>,
    /// Nothing is left that an acknowledgement could tell.
    pub acknowledgements_settled: bool,
    /// What secrets opened.
    pub opened: Option<Box<Reading>>,
    /// Bytes, about, of shapes and certificates beyond what is usual of them.
    pub own_bytes: u32,
}

/// A TLS conversation.
#[derive(Debug, Default)]
pub(super) struct Session {
    pub machine: Machine,
    pub draft: Draft,
}

impl Draft {
    /// Something of a handshake was seen in clear.
    pub(super) fn has_handshake(&self) -> bool {
        self.client_hello.is_some()
            || self.server_hello.is_some()
            || self.hello_retry_request.is_some()
            || !self.certificates.is_empty()
            || self.alerts.iter().any(|alert| !alert.encrypted)
    }

    /// Bytes on the heap, about.
    pub(super) fn heap_bytes(&self) -> usize {
        let boxed = size_of::<ClientHello>() + size_of::<ServerHello>();
        let sni = self
            .client_hello
            .as_ref()
            .and_then(|hello| hello.sni.as_ref())
            .map_or(0, |sni| sni.len());
        boxed
            + self.own_bytes as usize
            + sni
            + self.alerts.len() * size_of::<Alert>()
            + self.ocsp.as_ref().map_or(0, |_| size_of::<Ocsp>())
            + self.opened.as_ref().map_or(0, |opened| opened.heap_bytes())
    }

    /// The negotiated version's rank.
    pub(super) fn version(&self) -> Option<VersionRank> {
        self.server_hello
            .as_ref()
            .and_then(|hello| Version(hello.shape.version.0).rank())
    }

    pub(super) fn side(&self, direction: Direction) -> Side {
        if self.client.unwrap_or(Direction::Up) == direction {
            Side::Client
        } else {
            Side::Server
        }
    }

    pub(super) fn flight(&self, side: Side) -> &Flight {
        let client = self.client.unwrap_or(Direction::Up);
        let direction = if side == Side::Client {
            client
        } else {
            client.reverse()
        };
        &self.flights[direction as usize]
    }

    fn defect(&mut self, defect: Defect) {
        if !self.defects.contains(&defect) {
            self.defects.push(defect);
        }
    }

    /// Takes one event. `true`: a new handshake begins with it; hand in this draft first, and give the
    /// event to a fresh one.
    pub(super) fn event(
        &mut self,
        direction: Direction,
        event: Event<'_>,
        seen: Seen,
        desk: &mut Desk<'_>,
    ) {
        self.clock(direction, seen);
        match event {
            Event::ClientHello {
                hello,
                record_version,
                length,
            } => {
                self.client = Some(direction);
                if hello.malformed {
                    self.defect(Defect::Malformed);
                }
                let place = Place {
                    frame: seen.frame,
                    segments: seen.segments,
                };
                let list_max = desk.limits.list_entries_max;
                let owned = desk.interner.client_hello(
                    &hello,
                    record_version,
                    length,
                    self.carrier,
                    list_max,
                    place,
                );
                self.owns(shape_bytes(&owned.shape));
                self.client_hello(owned, hello.session_id, seen);
            }
            Event::ServerHello(hello) => {
                if self.client_hello.is_none() {
                    self.client = Some(direction.reverse());
                }
                if hello.malformed {
                    self.defect(Defect::Malformed);
                }
                self.server_hello(&hello, seen, desk);
            }
            Event::Certificate(list) => self.certificates(direction, list, desk),
            Event::ServerKeyExchange(body) => {
                self.stopped_after = Some(HandshakeType::SERVER_KEY_EXCHANGE);
                self.server_key_exchange(body);
            }
            Event::CertificateRequest(body) => self.certificate_request(body),
            Event::CertificateStatus(status) => {
                self.stopped_after = Some(HandshakeType::CERTIFICATE_STATUS);
                self.staple(status);
            }
            Event::Message(kind) => self.message(kind),
            Event::Alert { level, code } => {
                self.alert(direction, Some((level, code)), seen, desk.limits.alerts_max)
            }
            Event::EncryptedAlert { start } => {
                self.flights[direction as usize].encrypted_alert = true;
                let clear = start
                    .filter(|_| self.cipher_is_null())
                    .map(|[level, code]| (level, code));
                self.alert(direction, clear, seen, desk.limits.alerts_max);
            }
            Event::ChangeCipherSpec => {
                self.flights[direction as usize].change_cipher_spec = true;
                // Of its handshake it is all that is in clear. Under TLS 1.3 it means nothing.
                let again = self.complete_ns.is_some() && self.side(direction) == Side::Server;
                if again
                    && self.carrier == Carrier::Tcp
                    && self.version() < Some(VersionRank::Tls13)
                {
                    self.renegotiations += 1;
                }
            }
            Event::EncryptedHandshake => {
                self.flights[direction as usize].encrypted_handshakes += 1;
                if self.complete_ns.is_some() && self.flight(Side::Client).records > 0 {
                    self.late_handshake.get_or_insert((seen.frame, direction));
                }
                self.check_complete(seen);
            }
            Event::ApplicationData { length } => self.application_data(direction, length, seen),
            Event::Sslv2(hello) => self.sslv2(direction, hello, seen, desk),
            Event::HelloVerifyRequest => {
                self.hello_verify_request.get_or_insert(seen.frame);
                self.stopped_after = Some(HandshakeType(3));
            }
            Event::Malformed => self.defect(Defect::Malformed),
            Event::Opened(opened) => self.opened(direction, opened, seen, desk),
            Event::Trouble(trouble) => desk.counters.skip(skip_of(trouble)),
            Event::TooLong => {
                self.defect(Defect::MessageTooLong);
                desk.counters.skip(Skip::MessageCap);
            }
        }
    }

    fn owns(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.own_bytes = self.own_bytes.saturating_add(bytes);
    }

    /// An acknowledgement: does the server's TCP have the whole ClientHello, the client's the server's first flight? One
    /// comparison once both have.
    #[inline]
    pub(super) fn acknowledged(&mut self, direction: Direction, position: Seq) {
        if !self.acknowledgements_settled {
            self.acknowledges(direction, position);
        }
    }

    /// No acknowledgement will tell more.
    #[inline]
    pub(super) fn acknowledgements_are_settled(&self) -> bool {
        self.acknowledgements_settled
    }

    fn acknowledges(&mut self, direction: Direction, position: Seq) {
        let reached = |end: Seq| position.ahead_of(end) >= 0;
        if self.client == Some(direction) {
            if self.server_acknowledged.is_none_or(reached) {
                self.server_acknowledged = Some(position);
            }
        } else if self.client_hello_end.is_some_and(reached) {
            self.client_hello_acknowledged = true;
        }
        // Without a flight there still is to be told that the client has one which the capture lacks.
        self.acknowledgements_settled =
            self.client_hello_acknowledged && self.server_flight_unacknowledged() == Some(0);
    }

    /// Bytes of the server's first flight that the client's TCP did not acknowledge.
    pub(super) fn server_flight_unacknowledged(&self) -> Option<u32> {
        let missing = self.server_flight_end?.ahead_of(self.server_acknowledged?);
        Some(missing.max(0).unsigned_abs())
    }

    /// Keeps the times of the flights.
    fn clock(&mut self, direction: Direction, seen: Seen) {
        if self.client_reply_us.is_some() || self.server_hello.is_none() {
            return;
        }
        match (self.side(direction), self.server_flight_ns) {
            (Side::Server, _) => {
                self.server_flight_ns = Some(seen.time_ns);
                self.server_flight_end = Some(seen.end);
                self.acknowledgements_settled = false;
            }
            (Side::Client, Some(since)) => {
                self.client_reply_us = micros(since, seen.time_ns);
            }
            (Side::Client, None) => {}
        }
    }

    /// The chosen suite encrypts nothing: records are in clear, with a MAC behind them.
    fn cipher_is_null(&self) -> bool {
        let suite = self
            .server_hello
            .as_ref()
            .and_then(|hello| CipherSuite(hello.shape.cipher_suite.0).entry());
        suite.is_some_and(|entry| entry.encryption == "NULL")
    }

    /// A ClientHello after a finished exchange of hellos begins a new handshake, unless it answers a
    /// HelloRetryRequest.
    pub(super) fn begins_anew(&self, event: &Event<'_>) -> bool {
        matches!(
            event,
            Event::ClientHello { .. } | Event::Sslv2(sslv2::Hello::Client(_))
        ) && self.client_hello.is_some()
            && !self.awaits_second_hello()
    }

    fn awaits_second_hello(&self) -> bool {
        self.hello_retry_request.is_some()
            && self.second_client_hello.is_none()
            && self.server_hello.is_none()
    }

    /// A hello in the format of SSL 2.0, in the words of its successors.
    #[cold]
    fn sslv2(
        &mut self,
        direction: Direction,
        hello: sslv2::Hello<'_>,
        seen: Seen,
        desk: &mut Desk<'_>,
    ) {
        match hello {
            sslv2::Hello::Client(hello) => {
                let suites: Vec<u8> = hello.kinds.suites().flatten().collect();
                let view = ClientHelloView {
                    legacy_version: hello.version,
                    random: hello.challenge,
                    session_id: hello.session_id,
                    cipher_suites: U16List(&suites),
                    cookie: None,
                    compression: &[],
                    extensions: Extensions::default(),
                    malformed: false,
                };
                let event = Event::ClientHello {
                    hello: view,
                    record_version: Some(Version::SSL_2_0.0),
                    length: (9
                        + hello.kinds.0.len()
                        + hello.session_id.len()
                        + hello.challenge.len()) as u32,
                };
                let kinds = hello.kinds.iter().take(desk.limits.list_entries_max);
                self.sslv2_cipher_kinds = Some(kinds.map(cipher_kind).collect());
                self.event(direction, event, seen, desk);
            }
            sslv2::Hello::Server(hello) => {
                let view = ServerHelloView {
                    legacy_version: hello.version,
                    random: hello.connection_id,
                    session_id: &[],
                    cipher_suite: sslv2::NO_SUITE,
                    compression: 0,
                    extensions: Extensions::default(),
                    malformed: false,
                    retry: false,
                };
                self.event(direction, Event::ServerHello(view), seen, desk);
                if !hello.certificate.is_empty() {
                    self.certificates = desk.interner.leaf(hello.certificate);
                }
            }
            sslv2::Hello::MasterKey(kind) => {
                self.sslv2_cipher_kind = Some(cipher_kind(kind));
                self.stopped_after = Some(HandshakeType(16));
            }
        }
    }

    fn client_hello(&mut self, hello: Box<ClientHello>, session_id: &[u8], seen: Seen) {
        self.stopped_after = Some(HandshakeType::CLIENT_HELLO);
        if self.client_hello.is_some() {
            self.second_client_hello = Some(hello);
        } else {
            self.session_id = Short::of(session_id).filter(|_| !session_id.is_empty());
            self.client_hello = Some(hello);
            self.client_hello_ns = Some(seen.time_ns);
            self.client_hello_end = Some(seen.end);
            self.server_acknowledged = seen.acknowledges;
        }
    }

    fn server_hello(
        &mut self,
        hello: &crate::tls::server_hello::ServerHelloView<'_>,
        seen: Seen,
        desk: &mut Desk<'_>,
    ) {
        let place = Place {
            frame: seen.frame,
            segments: seen.segments,
        };
        // An echoed session id is a resumption below TLS 1.3; a certificate that follows takes it back.
        let echoed = self
            .session_id
            .is_some_and(|id| id.as_slice() == hello.session_id);
        let resumed = echoed && hello.details().version.is_none();
        let mut owned =
            desk.interner
                .server_hello(hello, resumed, desk.limits.list_entries_max, place);
        self.owns((2 * owned.shape.extensions.len()).saturating_sub(USUAL_BYTES));
        if let Some(selected) = hello.details().pre_shared_key {
            owned.psk = self.psk(selected);
            owned.resumed = owned.psk != Some(Psk::External);
        }
        if hello.retry {
            self.stopped_after = Some(HandshakeType(6));
            self.hello_retry_request = Some(owned);
        } else if self.server_hello.is_none() {
            self.stopped_after = Some(HandshakeType::SERVER_HELLO);
            let suite = CipherSuite(owned.shape.cipher_suite.0);
            if Version(owned.shape.version.0).rank() < Some(VersionRank::Tls13)
                && let Some(entry) = suite.entry()
            {
                let kind = entry.key_exchange.as_str().into();
                self.key_exchange = Some(KeyExchange {
                    kind,
                    group: None,
                    dh_bits: None,
                    dh_group: None,
                    signature_algorithm: None,
                });
            }
            self.server_hello = Some(owned);
            self.server_hello_ns = Some(seen.time_ns);
            self.server_flight_ns = Some(seen.time_ns);
        }
    }

    /// Where the pre-shared key comes from that the server selected.
    fn psk(&self, selected: u16) -> Option<Psk> {
        let hello = self
            .second_client_hello
            .as_ref()
            .or(self.client_hello.as_ref())?;
        let offered = hello.psk_identities.as_ref()?.get(usize::from(selected))?;
        Some(match offered.obfuscated_ticket_age {
            0 => Psk::External,
            _ => Psk::Resumption,
        })
    }

    pub(super) fn certificates(
        &mut self,
        direction: Direction,
        list: crate::tls::certificate::CertificateList<'_>,
        desk: &mut Desk<'_>,
    ) {
        self.stopped_after = Some(HandshakeType::CERTIFICATE);
        let side = self.side(direction);
        let owned = desk.interner.chain(list, desk.limits.certificates_max);
        self.owns(chain_bytes(&owned));
        if side == Side::Client {
            self.client_certificate_empty = Some(list.is_empty());
            self.client_certificates = owned;
            return;
        }
        self.certificates = owned;
        if let Some(status) = list.staple() {
            self.staple(status);
        }
        if let Some(hello) = self.server_hello.as_mut() {
            hello.resumed = false;
        }
    }

    fn server_key_exchange(&mut self, body: &[u8]) {
        let (Some(hello), Some(exchange)) =
            (self.server_hello.as_ref(), self.key_exchange.as_mut())
        else {
            return;
        };
        let view = KeyExchangeView::parse(
            body,
            CipherSuite(hello.shape.cipher_suite.0),
            hello.shape.version.0,
        );
        exchange.group = view.group.map(Code16);
        exchange.dh_bits = view.dh_bits;
        exchange.dh_group = view.dh_group.map(Into::into);
        exchange.signature_algorithm = view.signature_algorithm.map(Code16);
    }

    fn certificate_request(&mut self, body: &[u8]) {
        self.stopped_after = Some(HandshakeType::CERTIFICATE_REQUEST);
        self.certificate_requested = true;
        let version = self
            .server_hello
            .as_ref()
            .map_or(0, |hello| hello.shape.version.0);
        self.certificate_request = Some((body.len() as u32 + 4, authority_names(body, version)));
    }

    #[cold]
    fn staple(&mut self, status: &[u8]) {
        self.ocsp_stapled = true;
        self.ocsp = ocsp::read(status).map(Box::new);
    }

    fn message(&mut self, kind: HandshakeType) {
        self.stopped_after = Some(kind);
        self.client_key_exchange |= kind == HandshakeType::CLIENT_KEY_EXCHANGE;
    }

    pub(super) fn alert(
        &mut self,
        direction: Direction,
        clear: Option<(u8, u8)>,
        seen: Seen,
        alerts_max: usize,
    ) {
        if self.alerts.len() >= alerts_max {
            return;
        }
        self.alerts.push(Alert {
            frame: seen.frame,
            from: self.side(direction),
            level: clear.map(|(level, _)| level),
            code: clear.map(|(_, code)| code),
            description: clear
                .and_then(|(_, code)| AlertDescription(code).name())
                .map(Into::into),
            encrypted: clear.is_none(),
        });
    }

    /// A fatal alert in clear that this side sent before the handshake was complete.
    pub(super) fn fatal_alert(&self, side: Side) -> bool {
        let fatal = |alert: &Alert| match (alert.level, alert.code) {
            // close_notify and user_canceled end nothing by themselves; TLS 1.3 ignores the level.
            (_, Some(0 | 90)) => false,
            (Some(level), Some(_)) => {
                level == AlertLevel::FATAL.0 || self.version() == Some(VersionRank::Tls13)
            }
            _ => false,
        };
        self.alerts
            .iter()
            .any(|alert| alert.from == side && fatal(alert))
    }

    fn application_data(&mut self, direction: Direction, length: usize, seen: Seen) {
        let flight = &mut self.flights[direction as usize];
        flight.records += 1;
        flight.bytes += length as u64;
        if self.complete_ns.is_some() || self.is_before_finished(direction, length) {
            return;
        }
        let flight = &mut self.flights[direction as usize];
        if self.server_hello.is_some() && flight.first_record.is_none() {
            flight.first_record = Some(length as u32);
            if self.side(direction) == Side::Client {
                self.server_flight_bytes = Some(self.flight(Side::Server).bytes);
            }
            return self.check_complete_other(direction, seen);
        }
        self.check_complete(seen);
    }

    /// The first record of one side may be what shows that the other side's Finished was accepted.
    fn check_complete_other(&mut self, direction: Direction, seen: Seen) {
        if self.version() != Some(VersionRank::Tls13)
            || self.carrier != Carrier::Tcp
            || self.side(direction) == Side::Server
        {
            self.check_complete(seen);
        }
    }

    /// Is the handshake done? Below TLS 1.3: the server's ChangeCipherSpec and an encrypted record after
    /// it. TLS 1.3: a client record of a Finished's size, and any record after it.
    fn check_complete(&mut self, seen: Seen) {
        if self.complete_ns.is_some() {
            return;
        }
        let (client, server) = (*self.flight(Side::Client), *self.flight(Side::Server));
        let complete = match self.version() {
            Some(VersionRank::Tls13) => match self.carrier {
                Carrier::Tcp => client
                    .first_record
                    .is_some_and(|length| length >= FINISHED_RECORD_MIN),
                // Records of the handshake's epoch from the client, then any of the application's (of
                // which the server's acknowledgement of the Finished is one).
                Carrier::Dtls => {
                    client.encrypted_handshakes > 0 && client.records + server.records > 0
                }
                // 1-RTT packets both ways: the client sends none before it is done.
                Carrier::Quic => client.records > 0 && server.records > 0,
            },
            // SERVER-VERIFY and SERVER-FINISHED behind the client's choice, and its CLIENT-FINISHED.
            Some(VersionRank::Ssl20) => {
                self.sslv2_cipher_kind.is_some() && client.records > 0 && server.records > 1
            }
            Some(_) => {
                server.change_cipher_spec
                    && server.encrypted_handshakes > 0
                    && (client.encrypted_handshakes > 0 || client.records > 0)
            }
            None => false,
        };
        if complete {
            self.complete_ns = Some(seen.time_ns);
            self.bytes_at_completion = self.flights.map(|flight| flight.bytes);
        }
    }

    /// The Finished of TLS 1.3 is still to come: this record of the client has the size of an EndOfEarlyData
    /// (RFC 8446 section 4.5) or of a Certificate without any, and of nothing else in its second flight.
    fn is_before_finished(&self, direction: Direction, length: usize) -> bool {
        (END_OF_EARLY_DATA.contains(&length) || EMPTY_CERTIFICATE.contains(&length))
            && self.server_hello.is_some()
            && self.side(direction) == Side::Client
            && self.carrier == Carrier::Tcp
            && self.version() == Some(VersionRank::Tls13)
    }

    pub(super) fn timing(&self, tcp_connect_us: Option<i64>) -> crate::record::Timing {
        let since =
            |from: Option<i64>, to: Option<i64>| micros(from?, to?).filter(|&micros| micros >= 0);
        crate::record::Timing {
            tcp_connect_us,
            client_hello_to_server_hello_us: since(self.client_hello_ns, self.server_hello_ns),
            handshake_us: since(self.client_hello_ns, self.complete_ns),
        }
    }
}

/// Microseconds from one time to another, where both are known.
pub(super) fn micros(from_ns: i64, to_ns: i64) -> Option<i64> {
    (from_ns != UNSEEN && to_ns != UNSEEN)
        .then(|| Timestamp(to_ns).micros_since(Timestamp(from_ns)))
}

fn cipher_kind([a, b, c]: [u8; 3]) -> Box<str> {
    format!("0x{a:02x}{b:02x}{c:02x}").into()
}

/// Smallest TLS 1.3 record that holds a Finished: 4 + 32 bytes, the content type and a tag of 16 (8 for
/// TLS_AES_128_CCM_8_SHA256).
const FINISHED_RECORD_MIN: u32 = 4 + 32 + 1 + 8;
/// Lengths of a record that holds EndOfEarlyData: 4 bytes, the content type and a tag of 16 or 8.
const END_OF_EARLY_DATA: [usize; 2] = [4 + 1 + 16, 4 + 1 + 8];
/// Lengths of a record that holds a Certificate message with an empty context and list.
const EMPTY_CERTIFICATE: [usize; 2] = [8 + 1 + 16, 8 + 1 + 8];
