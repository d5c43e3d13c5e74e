//! Stage 6: facts become one owned record per handshake.
//!
//! `'a` ends here: this is the only stage that copies what packets said. A record holds what the wire
//! showed and nothing that was guessed; findings are drawn from records alone, so that saved records
//! can be diagnosed again. The JSON form of these types is the promise that outside tools check:
//! fields may be added, none is renamed.

mod address;
mod certificate;
mod chain;
mod code;
pub mod copy;
mod dialogue;
mod dns;
mod ech;
mod ech_answers;
mod hello;
mod http;
mod inside;
mod lookups;
mod observed;
pub(crate) mod ocsp;
mod quic;
mod recording;
mod stack;
mod transport_parameters;

pub use address::{Address, Dotted};
pub use certificate::{Certificate, Marks};
pub use chain::{Chain, ChainMarks};
pub use code::{Code16, Digest, Once, Rendered, Timestamp};
pub use dialogue::{Dialogue, Origin};
pub use dns::{Dns, DnsClient, DnsServer, DnsService, DnsSpan, Lookup, LookupFailure};
pub use ech::{EchLikely, EchOuter};
pub use ech_answers::{EchAnswer, EchAnswers, EchTold};
pub use hello::{
    AnswerMarks, ClientHello, ClientHelloShape, HelloMarks, Psk, PskIdentity, Sentinel,
    ServerHello, ServerHelloShape,
};
pub use http::{
    H2GoAway, H2Setting, H2c, Http, HttpChallenge, HttpCredential, HttpRequest, HttpResponse,
    NtlmMessage,
};
pub use inside::{Inside, PostHandshake};
pub use lookups::{Clients as DnsClients, Lookups};
pub use observed::{IcmpError, Observed};
pub use ocsp::Ocsp;
pub use quic::Quic;
pub use recording::{Comment, ConnectionDirection, DroppedPacket, Recording};
pub use stack::{ClientStack, StackRule, Stacks};
pub use transport_parameters::TransportParameters;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt::Write as _, net::IpAddr, sync::Arc};

fn is_false(value: &bool) -> bool {
    !*value
}

/// One handshake that was made or tried, or one connection on a TLS port on which none came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Handshake {
    /// The capture's name as given on the command line.
    pub capture: Arc<str>,
    /// First packet seen of the connection.
    pub start: Timestamp,
    /// Last packet seen of the connection.
    pub end: Timestamp,
    /// What carried it.
    pub transport: Transport,
    /// Which protocol of the TLS family.
    pub protocol: Protocol,
    /// Whoever sent the ClientHello; without one, whoever sent the SYN.
    pub client: Endpoint,
    /// The other side.
    pub server: Endpoint,
    /// What was around the packets, outermost first: `vlan:12`, `vxlan:7`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub encapsulation: Vec<Box<str>>,
    /// The dialogue that led to TLS, such as `smtp`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub starttls: Option<Cow<'static, str>>,
    /// The proxy dialogue that led to TLS.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub proxy: Option<Proxy>,
    /// This handshake followed another one in the same connection.
    #[serde(skip_serializing_if = "is_false", default)]
    pub renegotiation: bool,
    /// The (first) ClientHello.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_hello: Option<Box<ClientHello>>,
    /// The HelloRetryRequest, where there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hello_retry_request: Option<Box<ServerHello>>,
    /// The ClientHello that answered a HelloRetryRequest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub second_client_hello: Option<Box<ClientHello>>,
    /// The ServerHello.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_hello: Option<Box<ServerHello>>,
    /// The key exchange, where in clear (TLS 1.2 and below).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key_exchange: Option<KeyExchange>,
    /// The server's certificates in wire order, where in clear or decrypted.
    #[serde(skip_serializing_if = "Chain::is_empty", default)]
    pub certificates: Chain,
    /// The client's certificates in wire order, where in clear or decrypted.
    #[serde(skip_serializing_if = "Chain::is_empty", default)]
    pub client_certificates: Chain,
    /// The server asked for a client certificate, in clear or decrypted.
    #[serde(skip_serializing_if = "is_false", default)]
    pub certificate_requested: bool,
    /// An OCSP staple was seen: a CertificateStatus message, or with the certificate (TLS 1.3, decrypted).
    #[serde(skip_serializing_if = "is_false", default)]
    pub ocsp_stapled: bool,
    /// What the staple says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ocsp: Option<Box<Ocsp>>,
    /// Alerts in order of time.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub alerts: Vec<Alert>,
    /// Facts of the TCP connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tcp: Option<Tcp>,
    /// Application bytes that the client sent after the handshake: sizes of encrypted records.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub application_bytes: Option<ApplicationBytes>,
    /// How it ended.
    pub outcome: Outcome,
    /// The last handshake message seen, as `client_hello`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped_after: Option<Cow<'static, str>>,
    /// How long the steps took.
    pub timing: Timing,
    /// What was wrong with the bytes, or missing: a record says how complete it is.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub defects: Vec<Defect>,
    /// Ids of the findings whose scope is this handshake.
    #[serde(default)]
    pub findings: Vec<Cow<'static, str>>,
    /// Particulars that only some diagnoses ask for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed: Option<Box<Observed>>,
    /// The process that sent the connection's first packet on the recording machine, where the capture says so
    /// (Windows traces): whoever was running when the packet left, which is mostly, not always, the owner.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub process_id: Option<u32>,
    /// What else the recording machine said of the connection's packets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recording: Option<Box<Recording>>,
    /// What was said of TLS before it, or instead of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dialogue: Option<Box<Dialogue>>,
    /// Client and server as a PROXY protocol header names them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Origin>,
    /// HTTP in clear.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub http: Option<Box<Http>>,
    /// What QUIC adds to the handshake.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quic: Option<Box<Quic>>,
    /// Parts of it were read with the session's secrets (a key log, or secrets inside the capture): what
    /// is said to stand in clear only then holds what was encrypted, too.
    #[serde(skip_serializing_if = "is_false", default)]
    pub decrypted: bool,
    /// What only the secrets showed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inside: Option<Box<Inside>>,
}

impl Handshake {
    /// The conversation was to become TLS: it was asked for, the offer was taken away, or a proxy was
    /// asked for a tunnel.
    pub fn sought_tls(&self) -> bool {
        let dialogue = self.dialogue.as_ref();
        dialogue.is_some_and(|dialogue| dialogue.requested || dialogue.stripped)
            || (self.proxy.as_ref()).is_some_and(|proxy| proxy.kind == "http-connect")
    }

    /// How the server's side ended a handshake after its own ServerHello, where the client had said nothing to it yet.
    /// `client-abort` is the outcome of these, too: it says where the handshake ended. Under TLS 1.3 a client that gave up
    /// has sent a record, and then the server merely closes.
    pub fn broken_off_by_server(&self) -> Option<Close> {
        let tcp = self.tcp.as_ref()?;
        let observed = self.observed.as_deref();
        let said = observed.and_then(|observed| observed.first_client_record_bytes);
        let is_own = self.outcome == Outcome::ClientAbort && said.is_none();
        (is_own && tcp.closed_by == Some(Side::Server)).then_some(tcp.close)
    }
}

/// A transport address.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Endpoint {
    /// IPv4 or IPv6 address in text.
    #[schemars(with = "String")]
    pub ip: IpAddr,
    /// Port number.
    pub port: u16,
}

impl core::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => {
                f.write_str(Dotted::of(ip).as_str())?;
                f.write_char(':')?;
                f.write_str(itoa::Buffer::new().format(self.port))
            }
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

/// What carried the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The protocol of the TLS family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// SSL 2.0 to TLS 1.3 over TCP.
    Tls,
    /// DTLS over UDP.
    Dtls,
    /// QUIC over UDP.
    Quic,
}

/// A proxy dialogue in front of the handshake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proxy {
    /// `http-connect`, `socks4`, `socks5`, `proxy-v1` or `proxy-v2`.
    pub kind: Cow<'static, str>,
    /// The target, as `host:port`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<Box<str>>,
    /// What it answered: an HTTP status, or a SOCKS reply code (0 or 90: granted).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
}

/// The key exchange of TLS 1.2 and below, as ServerKeyExchange shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyExchange {
    /// `ecdhe`, `dhe`, `rsa`, …, by the cipher suite.
    pub kind: Cow<'static, str>,
    /// The named group, for elliptic curves.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<Code16>,
    /// Size of the Diffie-Hellman prime in bits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dh_bits: Option<u32>,
    /// The name of that prime, where it has one: `modp768` to `modp8192` (RFC 2409, RFC 3526), `ffdhe2048` to `ffdhe8192`
    /// (RFC 7919).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dh_group: Option<Cow<'static, str>>,
    /// The scheme with which the server signed its share (TLS 1.2).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature_algorithm: Option<Code16>,
}

/// Which side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Who sent the ClientHello or the SYN.
    Client,
    /// The other.
    Server,
}

/// An alert record (RFC 8446 section 6).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Number of the packet that completed it.
    pub frame: u64,
    /// Who sent it.
    pub from: Side,
    /// 1 warning, 2 fatal; left out where encrypted and not opened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub level: Option<u8>,
    /// AlertDescription; left out where encrypted and not opened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<u8>,
    /// Its name, such as `handshake_failure`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<Cow<'static, str>>,
    /// The alert was encrypted: only its presence is known.
    #[serde(skip_serializing_if = "is_false", default)]
    pub encrypted: bool,
}

/// Facts of the TCP connection that carried the handshake.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tcp {
    /// Packet number of the first SYN; left out where the capture began later.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub syn_frame: Option<u64>,
    /// How often the SYN was sent again.
    pub syn_retransmits: u32,
    /// SYN to SYN-ACK plus SYN-ACK to ACK, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_us: Option<i64>,
    /// SYN to SYN-ACK alone: the way from the capture point to the server and back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_server_us: Option<i64>,
    /// SYN-ACK to ACK alone: the way from the capture point to the client and back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_client_us: Option<i64>,
    /// Which side closed first.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed_by: Option<Side>,
    /// How.
    pub close: Close,
    /// Number of the packet with the first FIN or RST.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub close_frame: Option<u64>,
    /// Holes in the stream that were never filled: bytes that the capture lacks.
    pub gaps: u32,
    /// Segments that repeated bytes seen before.
    pub retransmits: u32,
}

/// How a TCP connection ended.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    /// With a FIN.
    Fin,
    /// With a RST.
    Rst,
    /// Not within the capture.
    #[default]
    None,
}

/// Bytes in application data records (lengths of the encrypted fragments), as far as they were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApplicationBytes {
    /// From the client.
    pub client: u64,
    /// From the server.
    pub server: u64,
}

/// How a handshake ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The SYN was never answered.
    NoSynAck,
    /// The SYN was answered by a RST.
    ConnectionRefused,
    /// TCP came up and no ClientHello followed.
    NoClientHello,
    /// The ClientHello got no answer.
    HelloUnanswered,
    /// The server reset the connection upon the ClientHello.
    HelloReset,
    /// The server closed the connection upon the ClientHello.
    HelloClosed,
    /// The server ended it by a fatal alert.
    ServerAlert,
    /// The client ended it by a fatal alert.
    ClientAlert,
    /// The client closed after the ServerHello, without an alert in clear.
    ClientAbort,
    /// It died after the client's second flight, before the server's Finished.
    LateFailure,
    /// The handshake completed.
    Established,
    /// It completed, and the client closed within a second, with hardly any data exchanged.
    EstablishedThenClosed,
    /// The capture ends, begins or is cut within the handshake.
    Truncated,
}

impl Outcome {
    /// All outcomes, in the order of the handshake.
    pub const ALL: [Self; 13] = [
        Self::NoSynAck,
        Self::ConnectionRefused,
        Self::NoClientHello,
        Self::HelloUnanswered,
        Self::HelloReset,
        Self::HelloClosed,
        Self::ServerAlert,
        Self::ClientAlert,
        Self::ClientAbort,
        Self::LateFailure,
        Self::Established,
        Self::EstablishedThenClosed,
        Self::Truncated,
    ];

    /// The word that the record uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSynAck => "no-syn-ack",
            Self::ConnectionRefused => "connection-refused",
            Self::NoClientHello => "no-client-hello",
            Self::HelloUnanswered => "hello-unanswered",
            Self::HelloReset => "hello-reset",
            Self::HelloClosed => "hello-closed",
            Self::ServerAlert => "server-alert",
            Self::ClientAlert => "client-alert",
            Self::ClientAbort => "client-abort",
            Self::LateFailure => "late-failure",
            Self::Established => "established",
            Self::EstablishedThenClosed => "established-then-closed",
            Self::Truncated => "truncated",
        }
    }

    /// The handshake came to its end.
    pub fn is_complete(self) -> bool {
        matches!(self, Self::Established | Self::EstablishedThenClosed)
    }
}

/// How long the steps of the handshake took, in microseconds of the capture's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timing {
    /// First SYN to the ACK that completed the connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tcp_connect_us: Option<i64>,
    /// ClientHello complete to ServerHello complete.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_hello_to_server_hello_us: Option<i64>,
    /// ClientHello complete to the end of the handshake.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub handshake_us: Option<i64>,
}

/// What was wrong with the bytes of a connection, or missing from the capture.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Defect {
    /// No packet of one direction was seen.
    OneDirection,
    /// The connection was already open when the capture began.
    MidStream,
    /// Bytes are missing that the handshake needs.
    Gap,
    /// The snap length cut packets.
    SnapLength,
    /// Overlapping segments held different bytes; the first ones were taken.
    OverlapDiffers,
    /// A record or message contradicts its own lengths.
    Malformed,
    /// A message was longer than the cap, and was passed over.
    MessageTooLong,
    /// The connection was dropped at the memory cap.
    Evicted,
}

/// Severity of a finding.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Breaks for some, or will break.
    Warning,
    /// Broken.
    Error,
}

/// What a finding speaks about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One handshake.
    Handshake,
    /// A client address.
    Client,
    /// A server endpoint.
    Server,
    /// A group of servers for one name.
    Farm,
    /// The capture itself.
    Capture,
}

/// How sure a finding is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A hint.
    Possible,
    /// A pattern with few other causes.
    Likely,
    /// The bytes prove it.
    Certain,
}

/// One diagnosis: what is wrong, who is affected, what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable name, such as `h2-blocklisted-cipher`.
    pub id: Cow<'static, str>,
    /// How bad.
    pub severity: Severity,
    /// What it speaks about.
    pub scope: Scope,
    /// How sure.
    pub confidence: Confidence,
    /// One line.
    pub title: Box<str>,
    /// Who: addresses and names.
    pub subject: Box<str>,
    /// What was seen, and where to look at it.
    pub evidence: Vec<Evidence>,
    /// Handshakes that it rests on.
    pub count: u64,
    /// First of them.
    pub first_seen: Timestamp,
    /// Last of them.
    pub last_seen: Timestamp,
    /// Who breaks.
    pub affects: Vec<Cow<'static, str>>,
    /// Steps that mend it.
    pub remediation: Vec<Cow<'static, str>>,
    /// RFC or vendor document.
    pub reference: Cow<'static, str>,
    /// While interfaces are watched: what became of the finding. At the end of a run findings just stand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<FindingState>,
}

/// What became of a finding while interfaces are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FindingState {
    /// It is new.
    Begins,
    /// It became worse, or ten times larger.
    Changed,
    /// It was not seen any more for the time of the window.
    Ended,
}

/// One fact, and the packet that shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The capture's name.
    pub capture: Arc<str>,
    /// Number of the packet, from 1, as Wireshark counts.
    pub frame: u64,
    /// What that packet shows.
    pub fact: Box<str>,
}

/// One line of the output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line {
    /// A handshake.
    Handshake(Box<Handshake>),
    /// A finding.
    Finding(Box<Finding>),
    /// The summary: the last line.
    Summary(Box<crate::stats::Summary>),
}
