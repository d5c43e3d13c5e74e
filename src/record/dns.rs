//! What DNS told, as the summary keeps it: facts of clients that stand beside the handshakes.
//!
//! A lookup is one name and type that one client asked for, however often. Answers say under which name an address was
//! sought; what failed, or was never answered, stands with its times, for a client that finds no address makes no
//! handshake at all.

use super::{Timestamp, Transport, is_false};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, sync::Arc};

/// What DNS over port 53 said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dns {
    /// Queries for addresses, aliases and services; repetitions are not counted.
    pub queries: u64,
    /// Responses to them.
    pub answers: u64,
    /// Responses by code, as `NOERROR`, `NXDOMAIN`.
    pub by_rcode: BTreeMap<Cow<'static, str>, u64>,
    /// Queries that got no response, as far as the capture goes on long enough to tell.
    pub unanswered: u64,
    /// Queries over TCP.
    #[serde(skip_serializing_if = "is_zero")]
    pub over_tcp: u64,
    /// Lookups for which there was no room, and while interfaces are watched those that `--window` has left behind.
    #[serde(skip_serializing_if = "is_zero")]
    pub forgotten: u64,
    /// By client, name and type, in the order in which they were asked first.
    pub lookups: Vec<Lookup>,
    /// The servers that were asked.
    pub servers: Vec<DnsServer>,
    /// The clients that asked over UDP, and how steadily.
    pub clients: Vec<DnsClient>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A name and type that a client asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lookup {
    /// Who asked.
    #[schemars(with = "String")]
    pub client: IpAddr,
    /// The name, in lower case.
    pub name: Box<str>,
    /// `A`, `AAAA`, `CNAME`, `SRV`, `SVCB`, `HTTPS`.
    pub kind: Cow<'static, str>,
    /// The capture with the first query (or its response, where the query is not in it).
    pub capture: Arc<str>,
    /// The packet with it.
    pub frame: u64,
    /// How often it was asked; repetitions of one query are not counted.
    pub queries: u64,
    /// How often the response was NOERROR.
    pub answers: u64,
    /// First query.
    pub first_seen: Timestamp,
    /// Last query.
    pub last_seen: Timestamp,
    /// First query whose response was NOERROR, as far as one part of a run tells: only for putting parts together.
    #[serde(skip)]
    pub first_answered: Option<Timestamp>,
    /// Last query whose response was NOERROR.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_answered: Option<Timestamp>,
    /// Longest time from a query to its response, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slowest_us: Option<i64>,
    /// The servers asked.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<IpAddr>,
    /// Addresses in the answers.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpAddr>,
    /// Names that it is an alias for, in the order of the last answer.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub aliases: Vec<Box<str>>,
    /// SVCB and HTTPS records (RFC 9460) of the last answer.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub services: Vec<DnsService>,
    /// A response did not fit into a datagram.
    #[serde(skip_serializing_if = "is_false", default)]
    pub truncated: bool,
    /// How often the response was NOERROR and came over TCP.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub answers_over_tcp: u64,
    /// How often it failed.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub failed: u64,
    /// The first failures.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub failures: Vec<LookupFailure>,
}

/// A query that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LookupFailure {
    /// The capture.
    pub capture: Arc<str>,
    /// The packet with the query (or its response, where the query is not in the capture).
    pub frame: u64,
    /// When it was sent first.
    pub time: Timestamp,
    /// Who was asked.
    #[schemars(with = "String")]
    pub server: IpAddr,
    /// Over UDP or TCP.
    pub transport: Transport,
    /// `NXDOMAIN`, `SERVFAIL`, `REFUSED`, …, or `no-answer`.
    pub result: Cow<'static, str>,
    /// How often it was sent.
    pub tries: u32,
    /// Time from the first query to the response, or to the last repetition, in microseconds.
    pub waited_us: i64,
    /// Time from this query to the next one for the same name and type that was answered, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recovered_us: Option<i64>,
}

impl LookupFailure {
    /// The word for a query that got no response.
    pub const NO_ANSWER: &'static str = "no-answer";
}

/// How to reach a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DnsService {
    /// 0 for an alias; else the lower the better.
    pub priority: u16,
    /// Another name than that asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Box<str>>,
    /// Protocols.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<Box<str>>,
    /// HTTP/1.1 is not spoken unless listed.
    #[serde(skip_serializing_if = "is_false")]
    pub no_default_alpn: bool,
    /// Another port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Addresses given along.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub hints: Vec<IpAddr>,
    /// Keys for Encrypted ClientHello are given along.
    #[serde(skip_serializing_if = "is_false")]
    pub ech: bool,
    /// The name that stands in clear in such a hello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ech_public_name: Option<Box<str>>,
}

/// A server that was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DnsServer {
    /// Its address.
    #[schemars(with = "String")]
    pub ip: IpAddr,
    /// Queries to it.
    pub queries: u64,
    /// Responses from it; none at all may mean that the capture does not show them.
    pub answers: u64,
}

/// A client that asked over UDP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DnsClient {
    /// Its address.
    #[schemars(with = "String")]
    pub ip: IpAddr,
    /// First query.
    pub first_seen: Timestamp,
    /// Last query.
    pub last_seen: Timestamp,
    /// Ten-minute spans in which it asked at least once a minute, from end to end or up to the end, and the one behind each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub spans: Vec<DnsSpan>,
}

/// Ten minutes of a client's queries over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DnsSpan {
    /// First query in it.
    pub first: Timestamp,
    /// Last query in it.
    pub last: Timestamp,
    /// Queries; repetitions count.
    pub queries: u64,
    /// Ports that they were sent from.
    pub ports: u32,
    /// Longest time between two queries, in microseconds.
    pub longest_pause_us: i64,
}

impl DnsSpan {
    /// Length of a span.
    pub const LENGTH_NS: i64 = 600_000_000_000;

    /// Longest pause of a host that asks steadily.
    pub const PAUSE_US: i64 = 60_000_000;

    /// Which span of all time a moment falls into.
    pub fn number_of(time: Timestamp) -> i64 {
        time.0.div_euclid(Self::LENGTH_NS)
    }

    /// A query at least once a minute.
    pub fn is_unbroken(&self) -> bool {
        self.longest_pause_us <= Self::PAUSE_US
    }

    /// Nearly a whole span, or more, lies between.
    pub fn is_between(first: Timestamp, last: Timestamp) -> bool {
        last.micros_since(first) >= Self::LENGTH_NS / 1000 - 2 * Self::PAUSE_US
    }

    /// A query at least once a minute, and nearly from end to end.
    pub fn is_steady(&self) -> bool {
        self.is_unbroken() && Self::is_between(self.first, self.last)
    }

    /// A query at least once a minute, up to the end: with the span behind it that may last for as long.
    pub fn reaches_end(&self) -> bool {
        let rest_us = (Self::LENGTH_NS - self.last.0.rem_euclid(Self::LENGTH_NS)) / 1000;
        self.queries > 1 && self.is_unbroken() && rest_us <= Self::PAUSE_US
    }
}
