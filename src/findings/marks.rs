//! What rules ask of hellos, answers, certificates and chains for each handshake, computed once for what many of these
//! share.

use super::certificate::{disorder, has_public_issuer, lacks_issuer, weakness};
use super::http2::is_at_risk;
use super::hygiene::{has_fixed_key, weak_answer};
use super::negotiation::{offers_ecdsa, scheme_bit, usual_scheme};
use super::when::When;
use crate::record::{
    AnswerMarks, Certificate, ChainMarks, ClientHelloShape, Handshake, HelloMarks, Marks,
    ServerHelloShape, Timestamp,
};
use crate::tls::code_points::{CipherSuite, Version, VersionRank};
use std::sync::Arc;

/// Those of a certificate.
pub(super) fn marks(certificate: &Certificate) -> &Marks {
    certificate.marks.get(|| Marks {
        scheme: usual_scheme(certificate),
        has_ecdsa_key: (certificate.key.as_deref()).is_some_and(|key| key.starts_with("ecdsa")),
        is_public: has_public_issuer(certificate),
        weakness: weakness(certificate),
    })
}

/// Those of the server's chain; none where it showed none.
pub(super) fn chain_marks(record: &Handshake) -> Option<&ChainMarks> {
    record.certificates.marks(of_chain)
}

fn of_chain(chain: &[Arc<Certificate>]) -> ChainMarks {
    let leaf = chain.first();
    let valid = |one: &Arc<Certificate>| one.not_before.zip(one.not_after);
    let times: Option<Vec<_>> = chain.iter().map(valid).collect();
    let all_valid = times.and_then(|times| {
        let begin = times.iter().map(|time| time.0).max()?;
        Some((begin, times.iter().map(|time| time.1).min()?))
    });
    let leaf_valid = leaf.and_then(valid);
    let signed = chain.iter().filter(|one| !one.self_signed);
    let schemes = signed.filter_map(|one| marks(one).scheme).map(scheme_bit);
    let weak = chain.iter().filter_map(|one| marks(one).weakness);
    let is_readable = leaf.is_some_and(|leaf| !leaf.malformed);
    let lacks_issuer = matches!(chain, [only] if lacks_issuer(only));
    let weakness = weak.max_by_key(|found| found.0);
    let disorder = disorder(chain);
    let holds = (When::SHOWN.if_so(is_readable))
        .or(When::WEAK_CHAIN.if_so(weakness.is_some()))
        .or(When::CHAIN_AMISS.if_so(disorder.is_some() || lacks_issuer));
    ChainMarks {
        is_readable,
        has_ecdsa_key: leaf.is_some_and(|leaf| marks(leaf).has_ecdsa_key),
        leaf_valid,
        leaf_fresh: leaf_valid.map(|(begin, end)| {
            let third = end.0.saturating_sub(begin.0) / 3;
            (begin, Timestamp(end.0.saturating_sub(third + 1)))
        }),
        is_public: leaf.is_some_and(|leaf| marks(leaf).is_public),
        lacks_issuer,
        schemes: schemes.fold(0, |all, bit| all | bit),
        weakness,
        valid: all_valid,
        disorder,
        asked: holds.asked(),
    }
}

/// Those of a hello.
pub(super) fn hello_marks(shape: &ClientHelloShape) -> &HelloMarks {
    shape.marks.get(|| {
        let schemes = shape.signature_algorithms.as_deref().unwrap_or(&[]);
        let bits = schemes.iter().map(|code| scheme_bit(code.0));
        let offer_max = offer_max(shape);
        let is_at_risk_under_h2 = is_at_risk(shape);
        let is_old = offer_max.is_some_and(|offered| offered < VersionRank::Tls12);
        let holds = (When::OLD_OFFER.if_so(is_old))
            .or(When::OFFER_AT_RISK.if_so(is_at_risk_under_h2))
            .or(When::UNPROTECTED.if_so(!shape.extended_master_secret));
        HelloMarks {
            offer_max,
            schemes: bits.fold(0, |all, bit| all | bit),
            offers_ecdsa: offers_ecdsa(schemes),
            is_at_risk_under_h2,
            asked: holds.asked(),
        }
    })
}

/// Those of a ServerHello.
pub(super) fn answer_marks(shape: &ServerHelloShape) -> &AnswerMarks {
    shape.marks.get(|| {
        let negotiated = Version(shape.version.0).rank();
        let suite = CipherSuite(shape.cipher_suite.0);
        let is_clear = negotiated.is_some_and(|version| version <= VersionRank::Tls12);
        let is_old = negotiated.is_some_and(|version| version <= VersionRank::Tls11);
        let is_listed = shape.alpn.as_deref() == Some("h2") && suite.is_h2_prohibited();
        let lacks = !shape.renegotiation_info || !shape.extended_master_secret;
        let holds = (When::OLD.if_so(is_old))
            .or(When::HIDDEN.if_so(negotiated == Some(VersionRank::Tls13)))
            .or(When::SELECTED.if_so(shape.alpn.is_some()))
            .or(When::SENTINEL.if_so(shape.downgrade_sentinel.is_some()))
            .or(When::SUITE_LISTED.if_so(is_listed))
            .or(When::WEAK_SUITE.if_so(weak_answer(shape).is_some()))
            .or(When::FIXED_KEY.if_so(is_clear && has_fixed_key(suite)))
            .or(When::UNPROTECTED.if_so(is_clear && lacks));
        AnswerMarks {
            negotiated,
            asked: holds.asked(),
        }
    })
}

/// The highest version of a hello: that of supported_versions, else `legacy_version`, which can't say more than TLS 1.2
/// (RFC 8446 section 4.2.1).
fn offer_max(shape: &ClientHelloShape) -> Option<VersionRank> {
    match &shape.supported_versions {
        Some(versions) => versions
            .iter()
            .filter_map(|version| Version(version.0).rank())
            .max(),
        None => Version(shape.legacy_version.0)
            .rank()
            .map(|rank| rank.min(VersionRank::Tls12)),
    }
}
