//! Inspection of TLS: certificates that the service itself would not show, told by their issuers.

use super::certificate::card;
use super::groups::Subject;
use super::history::Trace;
use super::survey::Report;
use super::{Verdict, hosts};
use crate::record::{Confidence, Severity};
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Words in issuers' names that inspection products use.
const INSPECTION: [&str; 15] = [
    "do_not_trust",
    "fiddler",
    "mitmproxy",
    "zscaler",
    "netskope",
    "fortinet",
    "fortigate",
    "palo alto",
    "sophos",
    "kaspersky",
    "avast",
    "eset ssl",
    "blue coat",
    "mcafee web gateway",
    "cisco umbrella",
];

/// Organisations that issue Microsoft's certificates; dated with the list of hosts.
const MICROSOFT_ISSUERS: [&str; 4] = [
    "microsoft corporation",
    "digicert",
    "baltimore",
    "microsoft it",
];

/// `tls-interception-suspected` by the issuer: inspection products' names, or an issuer that Microsoft does not use.
pub(super) fn interception(report: &mut Report<'_>) {
    let past = report.past;
    type Found = BTreeMap<(Box<str>, &'static str), (Vec<usize>, Box<str>)>;
    let mut found = Found::new();
    // A certificate under one name is judged once.
    let mut known = HashMap::new();
    for (index, trace) in past.traces.iter().enumerate() {
        if trace.leaf.is_none() {
            continue;
        }
        let server = trace.name.is_none().then_some(trace.server);
        let cause = known
            .entry((trace.leaf, trace.name, server))
            .or_insert_with(|| cause(report, trace));
        let (Some(cause), Some(issuer)) = (
            *cause,
            past.leaf(trace).and_then(|leaf| leaf.issuer.as_deref()),
        ) else {
            continue;
        };
        let slot = found
            .entry((past.target(trace), cause))
            .or_insert_with(|| (Vec::new(), issuer.into()));
        slot.0.push(index);
    }
    for ((target, cause), (traces, issuer)) in found {
        let verdict = Verdict::new(Severity::Warning, Confidence::Likely, cause);
        let evidence = past
            .of(&traces)
            .take(2)
            .filter_map(|(_, trace)| {
                Some(past.evidence_of(trace, card(past.leaf(trace)?, past.lang)))
            })
            .collect();
        if let Some(group) = report.tell(
            "tls-interception-suspected",
            verdict,
            Subject::Named(target),
            &traces,
            &[],
        ) {
            group.replace_examples(verdict.severity, evidence);
            group.set("issuer", &issuer);
        }
    }
}

/// Why a certificate under this name speaks of inspection.
fn cause(report: &Report<'_>, trace: &Trace) -> Option<&'static str> {
    let past = report.past;
    let words = past.leaf(trace)?.issuer.as_deref()?.to_lowercase();
    let own = report
        .settings
        .inspection_issuers
        .iter()
        .any(|known| words.contains(&known.to_lowercase()));
    let target = past.target(trace);
    // The makers of these products run services, too, with certificates of their own.
    let name = target.to_lowercase();
    let is_inspection = |word: &str| words.contains(word) && !name.contains(&word.replace(' ', ""));
    if own || INSPECTION.into_iter().any(is_inspection) {
        Some("inspection-product")
    } else if hosts::is_strict(&target, report.settings)
        && !MICROSOFT_ISSUERS.iter().any(|known| words.contains(known))
    {
        Some("unexpected-issuer")
    } else {
        None
    }
}
