//! One counter for each way a packet, flow or byte can be passed over, and the summary made of them.
//!
//! Nothing is dropped in silence: what was not analysed is counted here and shown at the end.

use crate::record::{Dns, Handshake, Outcome, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why bytes, packets or connections were passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// The link type is not known.
    LinkType,
    /// Neither IPv4 nor IPv6 (ARP and the like).
    NotIp,
    /// Neither TCP nor UDP.
    NotTcpUdp,
    /// UDP that is not analysed.
    Udp,
    /// An IP fragment that was not put together with others.
    Fragment,
    /// An IP packet whose fragments contradict one another.
    FragmentOverlap,
    /// An IP packet whose fragments gave way to others at the cap.
    FragmentCap,
    /// A copy of a packet that was seen at another point.
    Duplicate,
    /// A header contradicts its own lengths.
    MalformedHeader,
    /// The snap length cut the headers.
    CutHeader,
    /// Too many tags or tunnels inside one another.
    TooDeep,
    /// Stream bytes that the capture lacks.
    StreamGap,
    /// Segments beyond the out-of-order cap.
    OutOfOrderCap,
    /// Handshake messages beyond the length cap.
    MessageCap,
    /// DNS questions that gave way to others at the cap before their answers came.
    DnsCap,
    /// Connections dropped at the memory cap.
    Evicted,
    /// Connections on which no TLS was seen, on no TLS port.
    NoTls,
    /// Packets that gave way at the cap before it was known whether they belong to a handshake that is to be kept.
    KeptCap,
    /// Blocks of a capture file that are not packets of a known kind.
    UnknownBlock,
    /// Comments and notices of drops beyond the cap of one connection.
    RemarkCap,
    /// Handshakes of which the run's secrets hold none.
    KeysMissing,
    /// Handshakes that their secrets did not open: another session's, or damaged.
    KeysUnfit,
    /// Handshakes whose suite or version is not opened here.
    KeysSuite,
    /// Directions that secrets opened until records were missing.
    KeysLost,
    /// Compressed certificates that do not expand.
    CertificateCompression,
    /// Lines of key logs that are none.
    KeyLogLine,
    /// Secrets beyond the cap.
    KeyLogCap,
}

impl Skip {
    /// All reasons.
    pub const ALL: [Self; 27] = [
        Self::LinkType,
        Self::NotIp,
        Self::NotTcpUdp,
        Self::Udp,
        Self::Fragment,
        Self::FragmentOverlap,
        Self::FragmentCap,
        Self::Duplicate,
        Self::MalformedHeader,
        Self::CutHeader,
        Self::TooDeep,
        Self::StreamGap,
        Self::OutOfOrderCap,
        Self::MessageCap,
        Self::DnsCap,
        Self::Evicted,
        Self::NoTls,
        Self::KeptCap,
        Self::UnknownBlock,
        Self::RemarkCap,
        Self::KeysMissing,
        Self::KeysUnfit,
        Self::KeysSuite,
        Self::KeysLost,
        Self::CertificateCompression,
        Self::KeyLogLine,
        Self::KeyLogCap,
    ];

    /// The key under `skipped` in the summary.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LinkType => "packets_unknown_link_type",
            Self::NotIp => "packets_not_ip",
            Self::NotTcpUdp => "packets_not_tcp_or_udp",
            Self::Udp => "packets_udp",
            Self::Fragment => "packets_ip_fragment",
            Self::FragmentOverlap => "ip_packets_fragments_overlap",
            Self::FragmentCap => "ip_packets_fragments_cap",
            Self::Duplicate => "packets_duplicate",
            Self::MalformedHeader => "packets_malformed_header",
            Self::CutHeader => "packets_header_cut",
            Self::TooDeep => "packets_nested_too_deep",
            Self::StreamGap => "stream_gaps",
            Self::OutOfOrderCap => "segments_out_of_order_cap",
            Self::MessageCap => "messages_too_long",
            Self::DnsCap => "dns_questions_cap",
            Self::Evicted => "connections_evicted",
            Self::NoTls => "connections_without_tls",
            Self::KeptCap => "packets_kept_cap",
            Self::UnknownBlock => "blocks_unknown",
            Self::RemarkCap => "remarks_cap",
            Self::KeysMissing => "handshakes_without_secrets",
            Self::KeysUnfit => "handshakes_secrets_do_not_fit",
            Self::KeysSuite => "handshakes_suite_not_decrypted",
            Self::KeysLost => "streams_decryption_lost",
            Self::CertificateCompression => "certificates_not_expanded",
            Self::KeyLogLine => "key_log_lines_unreadable",
            Self::KeyLogCap => "secrets_cap",
        }
    }
}

/// The counters of one shard.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    skipped: [u64; Skip::ALL.len()],
    /// TCP connections seen.
    pub connections: u64,
}

impl Counters {
    /// One more passed over for `why`.
    pub fn skip(&mut self, why: Skip) {
        self.skip_many(why, 1);
    }

    /// `count` more passed over for `why`.
    pub fn skip_many(&mut self, why: Skip, count: u64) {
        if let Some(slot) = self.skipped.get_mut(why as usize) {
            *slot += count;
        }
    }

    /// How many were passed over for `why`.
    pub fn skipped(&self, why: Skip) -> u64 {
        self.skipped.get(why as usize).copied().unwrap_or(0)
    }

    /// Adds another shard's counters.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.skipped.iter_mut().zip(other.skipped) {
            *mine += theirs;
        }
        self.connections += other.connections;
    }
}

/// An interface of a capture, as the capture describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaptureInterface {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
}

/// What the kernel says of an interface that was watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelCounts {
    /// Packets that passed the kernel's filter, those that were dropped included.
    pub received: u64,
    /// Packets that were dropped because the analysis was behind.
    pub dropped: u64,
}

/// One capture of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaptureSummary {
    /// Name as given.
    pub name: String,
    /// `pcap`, `pcapng`, …
    pub format: String,
    /// Packets read.
    pub packets: u64,
    /// Bytes read of the file.
    pub bytes: u64,
    /// Time of the first packet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_packet: Option<Timestamp>,
    /// Time of the last packet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_packet: Option<Timestamp>,
    /// The file ends, or is broken, in the middle.
    pub truncated: bool,
    /// What is wrong with the file, with its offset.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Link types of its interfaces.
    pub link_types: Vec<String>,
    /// What a reader of the results should know: lost events, filters, cut packets, what Windows itself said.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
    /// Its interfaces, in the order of their numbers, where it describes them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub interfaces: Vec<CaptureInterface>,
    /// Names of addresses, as the capture resolves them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub hosts: BTreeMap<String, Vec<Box<str>>>,
    /// Events of a Windows trace by provider.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub providers: BTreeMap<String, u64>,
    /// The kernel's counters, of an interface.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kernel: Option<KernelCounts>,
}

/// What the secrets of a run gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretsSummary {
    /// Secrets in key logs and captures; a TLS 1.3 session has several.
    pub known: u64,
    /// Handshake records of which they opened something.
    pub decrypted: u64,
}

/// The last line of the output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The captures, in the order in which they were read.
    pub captures: Vec<CaptureSummary>,
    /// Packets of all captures.
    pub packets: u64,
    /// Bytes of all captures.
    pub bytes: u64,
    /// Connections seen, with or without TLS.
    pub connections: u64,
    /// Handshake records.
    pub handshakes: u64,
    /// Handshake records by outcome.
    pub by_outcome: BTreeMap<String, u64>,
    /// Handshake records by negotiated version.
    pub by_version: BTreeMap<String, u64>,
    /// Findings by id.
    pub by_finding: BTreeMap<String, u64>,
    /// What DNS told; left out where none was seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dns: Option<Box<Dns>>,
    /// What secrets gave; left out where the run had none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secrets: Option<SecretsSummary>,
    /// What was passed over and why; zero counts are left out.
    pub skipped: BTreeMap<String, u64>,
    /// Connections without TLS that have no line of their own, as records: findings rest on them, too, and so saved records
    /// give the same findings again. At most 10,000, and 16 MiB. Only where NDJSON is read back: it writes them itself, as
    /// they come.
    #[serde(skip_serializing, default)]
    pub unlisted: Vec<Handshake>,
    /// Wall time of the run in microseconds.
    pub elapsed_us: u64,
    /// Version of the program.
    pub version: String,
}

/// The key for connections for which a summary has no room, among what was skipped.
pub const UNLISTED_BEYOND_CAP: &str = "unlisted_beyond_cap";

impl Summary {
    /// Counts connections that have no line of their own, and for which there is no room.
    pub fn count_beyond_cap(&mut self, connections: u64) {
        if connections > 0 {
            let count = self.skipped.entry(UNLISTED_BEYOND_CAP.to_owned());
            *count.or_default() += connections;
        }
    }

    /// Counts one record.
    pub fn count(&mut self, record: &Handshake) {
        self.handshakes += 1;
        self.count_outcome(record.outcome);
        if record.decrypted {
            self.secrets.get_or_insert_default().decrypted += 1;
        }
        if let Some(hello) = &record.server_hello {
            let shape = &hello.shape;
            match shape.version_name.as_deref() {
                Some(name) => count(&mut self.by_version, name),
                None => count(&mut self.by_version, &shape.version.to_string()),
            }
        }
    }

    /// Counts one outcome.
    pub fn count_outcome(&mut self, outcome: Outcome) {
        count(&mut self.by_outcome, outcome.as_str());
    }
}

/// One more of this key.
fn count(counts: &mut BTreeMap<String, u64>, key: &str) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(counts.insert(key.to_owned(), 1)),
    }
}
