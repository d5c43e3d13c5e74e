//! What rules ask of hellos, certificates and chains for each handshake, computed once for what many of these share.

use super::certificate::{disorder, has_public_issuer, lacks_issuer, weakness};
use super::http2::is_at_risk;
use super::negotiation::{offers_ecdsa, scheme_bit, usual_scheme};
use crate::record::{
    Certificate, ChainMarks, ClientHelloShape, Handshake, HelloMarks, Marks, Timestamp,
};
use crate::tls::code_points::{Version, VersionRank};
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
    ChainMarks {
        is_readable: leaf.is_some_and(|leaf| !leaf.malformed),
        has_ecdsa_key: leaf.is_some_and(|leaf| marks(leaf).has_ecdsa_key),
        leaf_valid,
        leaf_fresh: leaf_valid.map(|(begin, end)| {
            let third = end.0.saturating_sub(begin.0) / 3;
            (begin, Timestamp(end.0.saturating_sub(third + 1)))
        }),
        is_public: leaf.is_some_and(|leaf| marks(leaf).is_public),
        lacks_issuer: matches!(chain, [only] if lacks_issuer(only)),
        schemes: schemes.fold(0, |all, bit| all | bit),
        weakness: weak.max_by_key(|found| found.0),
        valid: all_valid,
        disorder: disorder(chain),
    }
}

/// Those of a hello.
pub(super) fn hello_marks(shape: &ClientHelloShape) -> &HelloMarks {
    shape.marks.get(|| {
        let schemes = shape.signature_algorithms.as_deref().unwrap_or(&[]);
        let bits = schemes.iter().map(|code| scheme_bit(code.0));
        HelloMarks {
            offer_max: offer_max(shape),
            schemes: bits.fold(0, |all, bit| all | bit),
            offers_ecdsa: offers_ecdsa(schemes),
            is_at_risk_under_h2: is_at_risk(shape),
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
