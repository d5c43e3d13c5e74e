//! What rules ask of a handshake: the catalogue's names over one record.
//!
//! Everything here is computed from the record without allocation, since it runs for each handshake. A fact that the
//! capture could not show is `None`, and [`Facts::whole`] says whether the absence of something proves anything.

use super::groups::Target;
use super::marks::{answer_marks, chain_marks, hello_marks};
use crate::record::{
    Alert, Certificate, ClientHello, ClientHelloShape, Defect, Handshake, Observed, Outcome, Proxy,
    ServerHello, Side, Timestamp,
};
use crate::tls::code_points::{CipherSuite, VersionRank, is_grease};
use core::fmt::{Display, Write as _};
use std::net::IpAddr;

/// A record with the few values that nearly each rule needs.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The record itself.
    pub(super) record: &'a Handshake,
    /// The (first) ClientHello.
    pub(super) client_hello: Option<&'a ClientHello>,
    /// The ServerHello.
    pub(super) server_hello: Option<&'a ServerHello>,
    /// `offer.max`: the highest version that the client offered.
    pub(super) offer_max: Option<VersionRank>,
    /// `neg.ver`: the version that the server chose.
    pub(super) negotiated: Option<VersionRank>,
    /// Both directions were seen from the first byte without holes: what is absent was not sent.
    pub(super) whole: bool,
    /// The server's own certificate was shown, and could be read.
    pub(super) shows_leaf: bool,
}

/// What [`Facts`] are computed from a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    offer_max: Option<VersionRank>,
    negotiated: Option<VersionRank>,
    whole: bool,
    shows_leaf: bool,
}

impl Known {
    /// Reads a record.
    pub(super) fn of(record: &Handshake) -> Self {
        let server_hello = record.server_hello.as_deref();
        Self {
            offer_max: (record.client_hello.as_deref())
                .and_then(|hello| hello_marks(&hello.shape).offer_max)
                .filter(|rank| *rank != VersionRank::Tls12 || says_its_versions(record)),
            negotiated: server_hello.and_then(|hello| answer_marks(&hello.shape).negotiated),
            whole: is_whole(record),
            // Without a packet of the handshake nothing could be shown.
            shows_leaf: chain_marks(record).is_some_and(|chain| chain.is_readable)
                && frame(record) > 0,
        }
    }
}

impl<'a> Facts<'a> {
    /// Reads a record.
    pub(super) fn of(record: &'a Handshake) -> Self {
        Self::known(record, Known::of(record))
    }

    /// A record of which the rest is known already.
    pub(super) fn known(record: &'a Handshake, known: Known) -> Self {
        Self {
            record,
            client_hello: record.client_hello.as_deref(),
            server_hello: record.server_hello.as_deref(),
            offer_max: known.offer_max,
            negotiated: known.negotiated,
            whole: known.whole,
            shows_leaf: known.shows_leaf,
        }
    }

    /// The server's own certificate, where it was shown and could be read.
    pub(super) fn leaf(&self) -> Option<&'a Certificate> {
        let shown = self.shows_leaf.then_some(&self.record.certificates)?;
        shown.first().map(AsRef::as_ref)
    }

    /// The protocol that the server chose by ALPN in clear (TLS 1.2 and below).
    pub(super) fn alpn(&self) -> Option<&'a str> {
        self.server_hello?.shape.alpn.as_deref()
    }

    /// The suite that the server chose.
    pub(super) fn suite(&self) -> Option<CipherSuite> {
        Some(CipherSuite(self.server_hello?.shape.cipher_suite.0))
    }

    /// The server name that the client sent.
    pub(super) fn sni(&self) -> Option<&'a str> {
        self.client_hello?.sni.as_deref()
    }

    /// The name that the client asked for: of the server, else of a proxy that it goes through.
    pub(super) fn wanted(&self) -> Option<&'a str> {
        self.sni().or_else(|| self.tunnel())
    }

    /// The hello says that the client can do more, and repeats a failed one at a lower version (RFC 7507).
    pub(super) fn falls_back(&self) -> bool {
        self.client_hello
            .is_some_and(|hello| hello.shape.fallback_scsv)
    }

    /// The host and port to which an explicit proxy leads the connection, in the client's words.
    pub(super) fn origin(&self) -> Option<&'a str> {
        let proxy = self.record.proxy.as_ref()?;
        let target = proxy.target.as_deref()?;
        (is_tunnel(proxy) && !target.is_empty()).then_some(target)
    }

    /// The host to which a proxy shall connect, where it has a name.
    fn tunnel(&self) -> Option<&'a str> {
        self.client_hello?;
        let target = self.record.proxy.as_ref()?.target.as_deref()?;
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        (!is_address && !host.is_empty()).then_some(host)
    }

    /// The name, or else the address, of what the client wanted to reach, not in words yet.
    pub(super) fn reached(&self) -> Target {
        self.wanted()
            .map_or(Target::Server(self.record.server), |name| {
                Target::Name(name.into())
            })
    }

    /// The name, or else the address, of what the client wanted to reach.
    pub(super) fn target(&self) -> Box<str> {
        match self.reached() {
            Target::Name(name) => name,
            Target::Server(server) | Target::Through(_, server) => server.to_string().into(),
        }
    }

    /// The server chose TLS 1.2 or below: ALPN, certificates and alerts are in clear.
    pub(super) fn is_clear(&self) -> bool {
        self.negotiated
            .is_some_and(|version| version <= VersionRank::Tls12)
    }

    /// The first fatal alert in clear from one side.
    pub(super) fn fatal_alert(&self, from: Side) -> Option<&'a Alert> {
        self.record
            .alerts
            .iter()
            .find(|alert| alert.from == from && is_fatal(alert))
    }

    /// Code of the first fatal alert in clear from one side.
    pub(super) fn fatal_code(&self, from: Side) -> Option<u8> {
        self.fatal_alert(from)?.code
    }

    /// Suites that the client offered, without GREASE and signals.
    pub(super) fn offered(&self) -> impl Iterator<Item = CipherSuite> + use<'a> {
        let hello = self.client_hello.into_iter();
        hello.flat_map(|hello| offered(&hello.shape))
    }

    /// A particular of the connection, where it was noted.
    pub(super) fn observed<T>(&self, read: impl FnOnce(&Observed) -> Option<T>) -> Option<T> {
        read(self.record.observed.as_deref()?)
    }

    /// How long the connection went on after the ClientHello, in microseconds: the wait for an answer, where none came.
    pub(super) fn waited_us(&self) -> i64 {
        let record = self.record;
        let before = self
            .observed(|observed| observed.client_hello_us)
            .or(record.timing.tcp_connect_us)
            .unwrap_or(0);
        let open = self.observed(|observed| observed.unanswered_us);
        let closed = record.end.micros_since(record.start) - before;
        open.map_or(closed, |open| open.max(closed))
    }

    /// The frame of the ServerHello, or else of the ClientHello, or else of the SYN.
    pub(super) fn frame(&self) -> u64 {
        frame(self.record)
    }
}

fn frame(record: &Handshake) -> u64 {
    let server_hello = record.server_hello.as_ref().map(|hello| hello.frame);
    server_hello
        .or_else(|| Some(record.client_hello.as_ref()?.frame))
        .or_else(|| record.tcp.as_ref()?.syn_frame)
        .or_else(|| Some(record.alerts.first()?.frame))
        .or_else(|| record.tcp.as_ref()?.close_frame)
        .unwrap_or(0)
}

/// Who answers stands behind an explicit proxy, to which the client speaks. The header of a load balancer says who the
/// client is; there the server is the one that answers.
pub(super) fn is_tunnel(proxy: &Proxy) -> bool {
    !proxy.kind.starts_with("proxy-")
}

/// Suites that a hello offers, without GREASE and signals.
pub(super) fn offered(shape: &ClientHelloShape) -> impl Iterator<Item = CipherSuite> {
    let suites = shape.cipher_suites.iter();
    suites
        .map(|code| CipherSuite(code.0))
        .filter(|suite| !is_grease(suite.0) && !suite.is_signalling())
}

/// An alert in clear that ends the connection; `close_notify` and `user_canceled` are no failures.
pub(super) fn is_fatal(alert: &Alert) -> bool {
    !alert.encrypted && alert.level != Some(1) && !matches!(alert.code, None | Some(0 | 90))
}

/// Nothing of the handshake is missing from the capture.
fn is_whole(record: &Handshake) -> bool {
    record.outcome != Outcome::Truncated
        && record.defects.iter().all(|defect| match defect {
            Defect::OneDirection
            | Defect::MidStream
            | Defect::Gap
            | Defect::SnapLength
            | Defect::Malformed
            | Defect::MessageTooLong
            | Defect::Evicted => false,
            Defect::OverlapDiffers => true,
        })
}

/// A hello for TLS 1.2 may be one for TLS 1.3 whose supported_versions the capture cut off.
fn says_its_versions(record: &Handshake) -> bool {
    let listed = |hello: &ClientHello| hello.shape.supported_versions.is_some();
    !is_malformed(record) || record.client_hello.as_deref().is_some_and(listed)
}

/// A hello could not be read to its end: what it seems to lack may stand in the rest.
pub(super) fn is_malformed(record: &Handshake) -> bool {
    record.defects.contains(&Defect::Malformed)
}

/// A time for people, as `2026-11-25 15:36:39.107` (UTC): Wireshark shows it so, too.
pub(super) fn moment(time: Timestamp) -> impl Display {
    Shortened::<23>(time)
}

/// A time for people to the minute: certificates begin and end with one.
pub(super) fn minute(time: Timestamp) -> impl Display {
    Shortened::<16>(time)
}

/// So many characters of a time.
struct Shortened<const LENGTH: usize>(Timestamp);

impl<const LENGTH: usize> Display for Shortened<LENGTH> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut text = self.0.rfc3339();
        if let Some(between) = text.get_mut(10) {
            *between = b' ';
        }
        // All of it is ASCII.
        let text = core::str::from_utf8(text.get(..LENGTH).unwrap_or(&[]));
        f.write_str(text.unwrap_or_default())
    }
}

/// The name that people use for a version rank.
pub(super) fn version_name(rank: VersionRank) -> &'static str {
    match rank {
        VersionRank::Ssl20 => "SSL 2.0",
        VersionRank::Ssl30 => "SSL 3.0",
        VersionRank::Tls10 => "TLS 1.0",
        VersionRank::Tls11 => "TLS 1.1",
        VersionRank::Tls12 => "TLS 1.2",
        VersionRank::Tls13 => "TLS 1.3",
    }
}

/// The name of a suite with its number, as `TLS_… (0xc014)`.
pub(super) fn suite_name(suite: CipherSuite) -> String {
    // With room for all of it.
    let mut name = String::with_capacity(64);
    let _ = write!(name, "{}", suite_label(suite));
    name
}

/// The same, to be written elsewhere.
pub(super) fn suite_label(suite: CipherSuite) -> impl Display {
    SuiteLabel(suite)
}

struct SuiteLabel(CipherSuite);

impl Display for SuiteLabel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let number = self.0.0;
        match self.0.name() {
            Some(name) => write!(f, "{name} ({number:#06x})"),
            None => write!(f, "{number:#06x}"),
        }
    }
}
