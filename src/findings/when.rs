//! Which rules a handshake is asked of: most are in no trouble and show nothing amiss, and most rules have nothing to say of
//! those.
//!
//! What a hello, an answer or a chain gives reason to ask is computed once for all handshakes that share it: see
//! [`marks`](super::marks).

use super::facts::Facts;
use super::marks::{answer_marks, chain_marks, hello_marks};
use super::{Rule, rules};
use crate::record::{Code16, KeyExchange};
use std::sync::LazyLock;

/// Situations that are a reason to ask a rule: any of these will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When(u32);

impl When {
    /// None.
    const NEVER: Self = Self(0);
    /// Any handshake.
    pub(super) const ALWAYS: Self = Self(1);
    /// It did not complete.
    pub(super) const INCOMPLETE: Self = Self(1 << 1);
    /// There was an alert.
    pub(super) const ALERTED: Self = Self(1 << 2);
    /// There was a dialogue, a proxy or HTTP in clear.
    pub(super) const TALKED: Self = Self(1 << 3);
    /// A ClientHello without a server name.
    pub(super) const NAMELESS: Self = Self(1 << 4);
    /// A ClientHello without a ServerHello.
    pub(super) const UNANSWERED: Self = Self(1 << 5);
    /// Keys were exchanged in a group that few use.
    pub(super) const UNUSUAL_GROUP: Self = Self(1 << 6);
    /// A client certificate was asked for, with names of authorities.
    pub(super) const REQUESTED: Self = Self(1 << 7);
    /// TLS 1.1 or below was negotiated, or the hello has the format of SSL 2.0.
    pub(super) const OLD: Self = Self(1 << 8);
    /// No more than TLS 1.1 is offered.
    pub(super) const OLD_OFFER: Self = Self(1 << 9);
    /// HTTP/2 is offered, with nothing but suites that it prohibits.
    pub(super) const OFFER_AT_RISK: Self = Self(1 << 10);
    /// TLS 1.3 was negotiated, which hides most.
    pub(super) const HIDDEN: Self = Self(1 << 11);
    /// The server selected a protocol in clear.
    pub(super) const SELECTED: Self = Self(1 << 12);
    /// It selected HTTP/2, and a suite that this prohibits.
    pub(super) const SUITE_LISTED: Self = Self(1 << 13);
    /// The server signals that it could do more.
    pub(super) const SENTINEL: Self = Self(1 << 14);
    /// The suite, or the compression, is weak.
    pub(super) const WEAK_SUITE: Self = Self(1 << 15);
    /// The suite has no forward secrecy.
    pub(super) const FIXED_KEY: Self = Self(1 << 16);
    /// One side lacks a protection of TLS 1.2.
    pub(super) const UNPROTECTED: Self = Self(1 << 17);
    /// The server's certificate was shown.
    pub(super) const SHOWN: Self = Self(1 << 18);
    /// A key or a signature in the chain is weak.
    pub(super) const WEAK_CHAIN: Self = Self(1 << 19);
    /// The chain has the wrong order or the wrong certificates.
    pub(super) const CHAIN_AMISS: Self = Self(1 << 20);

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn if_so(self, holds: bool) -> Self {
        if holds { self } else { Self::NEVER }
    }

    /// The rules to be asked in these situations, as bits by their places in [`RULES`](super::RULES).
    pub(super) fn asked(self) -> u64 {
        let reasons = rules().map(|rule| rule.when.0 & self.0 != 0);
        (0..).zip(reasons).fold(0, |asked, (place, is_asked)| {
            asked | u64::from(is_asked) << place
        })
    }
}

/// The rules to be asked, by their places.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    places: u64,
    listed: &'static [&'static Rule],
}

/// What is looked up for each handshake.
struct Table {
    listed: Vec<&'static Rule>,
    /// By which of [`SITUATIONS`] hold, as bits in their order.
    of_itself: Vec<u64>,
}

/// Those of a handshake that it shares with no other.
const SITUATIONS: [When; 8] = [
    When::INCOMPLETE,
    When::ALERTED,
    When::TALKED,
    When::NAMELESS,
    When::UNANSWERED,
    When::UNUSUAL_GROUP,
    When::REQUESTED,
    When::OLD,
];

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let asked = |holds: usize| {
        let situations = SITUATIONS.iter().enumerate();
        let situations = situations.filter(|(bit, _)| holds >> bit & 1 == 1);
        situations
            .fold(When::ALWAYS, |all, (_, one)| all.or(*one))
            .asked()
    };
    Table {
        listed: rules().collect(),
        of_itself: (0..1 << SITUATIONS.len()).map(asked).collect(),
    }
});

/// The rules to be asked of a handshake.
pub(super) fn asked_of(facts: &Facts<'_>) -> Asked {
    let hello = facts
        .client_hello
        .map_or(0, |hello| hello_marks(&hello.shape).asked);
    let answer = facts
        .server_hello
        .map_or(0, |hello| answer_marks(&hello.shape).asked);
    let chain = chain_marks(facts.record).map_or(0, |chain| chain.asked);
    let table = &*TABLE;
    let own = table.of_itself.get(situations(facts)).copied();
    Asked {
        places: own.unwrap_or(u64::MAX) | hello | answer | chain,
        listed: &table.listed,
    }
}

/// Which of [`SITUATIONS`] hold, as bits in their order.
fn situations(facts: &Facts<'_>) -> usize {
    let record = facts.record;
    let observed = record.observed.as_deref();
    let holds = [
        !record.outcome.is_complete(),
        !record.alerts.is_empty(),
        record.dialogue.is_some() || record.proxy.is_some() || record.http.is_some(),
        facts.client_hello.is_some_and(|hello| hello.sni.is_none()),
        facts.client_hello.is_some() && facts.server_hello.is_none(),
        record.key_exchange.as_ref().is_some_and(is_unusual),
        observed.is_some_and(|observed| observed.authority_names.is_some()),
        observed.is_some_and(|observed| observed.sslv2_hello == Some(true)),
    ];
    let bits = holds.iter().zip(0..);
    bits.fold(0, |all, (holds, bit)| all | usize::from(*holds) << bit)
}

/// Not one of the curves that nearly all use, each of which is strong: secp256r1, secp384r1, secp521r1, x25519, x448.
fn is_unusual(exchange: &KeyExchange) -> bool {
    exchange.dh_bits.is_some()
        || !matches!(
            exchange.group,
            None | Some(Code16(0x17 | 0x18 | 0x19 | 0x1d | 0x1e))
        )
}

impl Asked {
    /// The rules that are not asked.
    pub(super) fn others(self) -> Self {
        let all = (0..self.listed.len()).fold(0, |all, place| all | 1 << place);
        Self {
            places: !self.places & all,
            ..self
        }
    }
}

/// In the order of their table.
impl Iterator for Asked {
    type Item = &'static Rule;

    fn next(&mut self) -> Option<&'static Rule> {
        let place = self.places.trailing_zeros() as usize;
        let rule = self.listed.get(place).copied()?;
        self.places &= self.places - 1;
        Some(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert};
    use crate::record::{Outcome, Sentinel, Side};

    /// Whether the rule of this id is asked.
    fn asks(made: &Make, id: &str) -> bool {
        assert!(rules().any(|rule| rule.entry.id == id), "{id}");
        asked_of(&Facts::of(&made.record)).any(|rule| rule.entry.id == id)
    }

    #[test]
    fn there_is_a_bit_for_each_rule() {
        assert!(rules().count() <= u64::BITS as usize);
        assert!(rules().all(|rule| rule.when != When::NEVER));
    }

    #[test]
    fn what_is_asked_of_a_handshake() {
        let good = Make::new().answer(0x0303, 0xc02f);
        let hidden = Make::new().tls13().answer(0x0304, 0x1301);
        for id in [
            "hello-reset",
            "cert-rejected-by-client",
            "h2-blocklisted-cipher",
            "weak-cipher-negotiated",
            "no-forward-secrecy",
            "legacy-version-negotiated",
            "client-max-version-o365",
            "cert-name-mismatch",
            "ntlm-weak-or-unbound",
        ] {
            assert!(!asks(&good, id) && !asks(&hidden, id), "{id}");
        }
        assert!(asks(&hidden, "tls13-abort-hidden") && !asks(&good, "tls13-abort-hidden"));
        let shown = good.clone().certificate(cert("CN=www.contoso.com", &[]));
        assert!(asks(&shown, "cert-name-mismatch"));
        let old = Make::new().offer(0x0301).answer(0x0301, 0x002f);
        for id in [
            "legacy-version-negotiated",
            "client-max-version-o365",
            "no-forward-secrecy",
        ] {
            assert!(asks(&old, id), "{id}");
        }
        let listed = Make::new().answer(0x0303, 0xc014).selected("h2");
        assert!(asks(&listed, "h2-blocklisted-cipher"));
        assert!(asks(&listed, "weak-cipher-negotiated"));
        let signalled = good.clone().sentinel(Sentinel::Tls12);
        assert!(asks(&signalled, "client-version-limited"));
        let reset = Make::new().outcome(Outcome::HelloReset);
        assert!(asks(&reset, "hello-reset") && asks(&reset, "cert-rejected-by-client"));
        // An alert after all was well is one all the same.
        let late = good.alert(Side::Client, 48);
        assert!(asks(&late, "cert-rejected-by-client") && !asks(&late, "hello-reset"));
    }

    #[test]
    fn each_handshake_is_asked_of_some_rules_in_their_order() {
        let all: Vec<&str> = rules().map(|rule| rule.entry.id).collect();
        for made in [
            Make::new().answer(0x0303, 0xc02f),
            Make::new().outcome(Outcome::HelloReset),
        ] {
            let asked = asked_of(&Facts::of(&made.record));
            let mut ids: Vec<&str> = asked.map(|rule| rule.entry.id).collect();
            assert!(!ids.is_empty() && ids.len() < all.len());
            let mut rest = all.iter();
            assert!(ids.iter().all(|id| rest.any(|known| known == id)));
            ids.extend(asked.others().map(|rule| rule.entry.id));
            assert_eq!(ids.len(), all.len());
        }
    }
}
