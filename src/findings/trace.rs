//! What is kept of one handshake: a little of its own, and a number for what many share.
//!
//! Most handshakes are like others before them: the same name, hello, answer and certificate, the same outcome. That is
//! their [`Sort`], stored once; handshakes of one sort with one server are of one [`Kind`]. So a trace is small, and a
//! survey that asks what a server ever did looks at its few kinds, not at its thousands of handshakes.

use crate::record::{Close, Endpoint, Outcome, Side, Timestamp};
use crate::tls::code_points::VersionRank;
use core::{num::NonZeroU32, ops::Deref};
use std::net::IpAddr;

/// What a handshake shares with no other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// Frame of the ServerHello, else of the ClientHello, else of the SYN.
    pub(super) frame: u64,
    /// Time of the TLS handshake, where it completed.
    pub(super) handshake: Micros,
    /// Time from the ClientHello to the last packet.
    pub(super) waited: Micros,
    /// From the capture point to the server and back; none where a proxy's tunnel is in between.
    pub(super) server_rtt: Micros,
    pub(super) hello_bytes: u32,
    pub(super) closed_by: Option<Side>,
    pub(super) close: Close,
    pub(super) ttls: Option<(u8, u8)>,
    pub(super) acknowledged: Option<bool>,
}

/// The numbers of what a handshake shares with others; apart from what it has of its own, since at the end they are read
/// for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) server: u32,
    /// That of its [`Sort`].
    pub(super) sort: u32,
    pub(super) client: u32,
}

impl Parts {
    /// They are not known yet.
    pub(super) const NONE: Self = Self {
        server: u32::MAX,
        sort: u32::MAX,
        client: u32::MAX,
    };
}

impl Own {
    /// Time from the ClientHello to the last packet.
    pub(super) fn waited_us(&self) -> i64 {
        self.waited.get().map_or(0, i64::from)
    }
}

/// Microseconds, 71 minutes at most, or none; half as large as an `Option`, for there are millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Micros(u32);

impl Micros {
    /// What is longer counts as 71 minutes, what is negative as 0.
    pub(super) fn of(us: Option<i64>) -> Self {
        Self(us.map_or(u32::MAX, |us| {
            u32::try_from(us.max(0)).map_or(u32::MAX - 1, |us| us.min(u32::MAX - 1))
        }))
    }

    pub(super) fn get(self) -> Option<u32> {
        (self.0 != u32::MAX).then_some(self.0)
    }
}

/// What handshakes with one server have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind<'p> {
    pub(super) server: Endpoint,
    pub(super) sort: &'p Sort,
}

/// What a handshake was like, whoever the server was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) capture: u32,
    pub(super) name: Option<Number>,
    pub(super) hello: Option<Number>,
    pub(super) answer: Option<Number>,
    pub(super) leaf: Option<Number>,
    /// The group in which keys were exchanged.
    pub(super) group: Option<u16>,
    pub(super) mss: u16,
    pub(super) outcome: Outcome,
    pub(super) offer_max: Option<VersionRank>,
    pub(super) negotiated: Option<VersionRank>,
    /// First fatal alert in clear.
    pub(super) alert: Option<(Side, u8)>,
    /// Certificates shown.
    pub(super) chain: u8,
    pub(super) flags: Flags,
}

impl Sort {
    /// All of it in words that are quickly compared: sorts that differ have different ones.
    pub(super) fn packed(&self) -> [u64; 4] {
        let number = |number: Option<Number>| number.map_or(0, |number| u64::from(number.0.get()));
        let rank = |rank: Option<VersionRank>| rank.map_or(0, |rank| rank as u64 + 1);
        let group = self.group.map_or(0, |group| u64::from(group) + 1);
        let (from, code) = self
            .alert
            .map_or((0, 0), |(from, code)| (from as u64 + 1, code));
        [
            number(self.hello) << 32 | number(self.answer),
            number(self.name) << 32 | number(self.leaf),
            u64::from(self.capture) << 32 | u64::from(self.flags.0) << 16 | u64::from(self.mss),
            group << 47
                | (self.outcome as u64) << 40
                | rank(self.offer_max) << 32
                | rank(self.negotiated) << 24
                | from << 16
                | u64::from(code) << 8
                | u64::from(self.chain),
        ]
    }
}

/// Yes-or-no facts of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

/// For each fact its bit, and whether it holds.
macro_rules! facts {
    ($($(#[$doc:meta])* $bit:ident $holds:ident $place:literal)*) => {
        impl Flags {
            $(
                $(#[$doc])*
                pub(super) const $bit: Self = Self(1 << $place);

                $(#[$doc])*
                pub(super) fn $holds(self) -> bool {
                    self.0 & Self::$bit.0 != 0
                }
            )*
        }
    };
}

facts! {
    /// Nothing of the handshake is missing from the capture.
    WHOLE whole 0
    /// The server took up an earlier session.
    RESUMED resumed 1
    /// The client offered to do so.
    OFFERED_RESUMPTION offered_resumption 2
    /// A HelloRetryRequest asked for another group.
    RETRIED retried 3
    /// It is a renegotiation.
    RENEGOTIATION renegotiation 4
    /// Over QUIC.
    QUIC quic 5
    /// The protocol around it has no server names: DTLS as most use it, OpenVPN.
    HAS_NO_NAMES has_no_names 6
    /// One direction alone was captured.
    ONE_DIRECTION one_direction 7
    /// Packets are missing.
    GAP gap 8
    /// Packets were cut.
    SNAP_LENGTH snap_length 9
    /// The capture begins within it.
    MID_STREAM mid_stream 10
    /// A hello could not be read to its end.
    MALFORMED malformed 11
    /// TCP came up, and nothing was said.
    WITHOUT_PAYLOAD without_payload 12
    /// Who answers stands behind an explicit proxy, which is the server of the connection.
    TUNNELLED tunnelled 13
}

impl Flags {
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn if_so(self, holds: bool) -> Self {
        if holds { self } else { Self(0) }
    }
}

/// The number of something that many handshakes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(NonZeroU32);

impl Number {
    /// Of what stands at this place; there are none for the last one of 2^32.
    pub(super) fn of(place: u32) -> Option<Self> {
        NonZeroU32::new(place.wrapping_add(1)).map(Self)
    }

    /// Where it stands.
    pub(super) fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Deref for Kind<'_> {
    type Target = Sort;

    fn deref(&self) -> &Sort {
        self.sort
    }
}

/// How a handshake ends where the server does not answer the hello, or ends it upon that.
pub(super) const AT_HELLO: [Outcome; 4] = [
    Outcome::HelloUnanswered,
    Outcome::HelloReset,
    Outcome::HelloClosed,
    Outcome::ServerAlert,
];

impl Sort {
    /// The server never answered the hello, or ended the handshake upon it.
    pub(super) fn failed_at_hello(&self) -> bool {
        self.flags.whole()
            && self.hello.is_some()
            && self.answer.is_none()
            && AT_HELLO.contains(&self.outcome)
    }

    /// Reset, closed or left without an answer: no alert tells why. Silence over UDP says nothing of the server, since many
    /// networks let no QUIC through.
    pub(super) fn failed_silently(&self) -> bool {
        let is_lost = self.flags.quic() && self.outcome == Outcome::HelloUnanswered;
        self.failed_at_hello() && self.outcome != Outcome::ServerAlert && !is_lost
    }

    /// TCP itself did not come up.
    pub(super) fn failed_to_connect(&self) -> bool {
        matches!(self.outcome, Outcome::NoSynAck | Outcome::ConnectionRefused)
    }

    /// The first fatal alert in clear was this side's.
    pub(super) fn alerted_by(&self, side: Side) -> bool {
        self.alert.is_some_and(|(from, _)| from == side)
    }

    /// The handshake completed.
    pub(super) fn is_complete(&self) -> bool {
        self.outcome.is_complete()
    }
}

/// One handshake, put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace<'p> {
    pub(super) own: &'p Own,
    pub(super) client: &'p IpAddr,
    pub(super) kind: Kind<'p>,
}

/// What is asked of a handshake mostly is what its kind says.
impl<'p> Deref for Trace<'p> {
    type Target = Kind<'p>;

    fn deref(&self) -> &Kind<'p> {
        &self.kind
    }
}
