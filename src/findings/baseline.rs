//! What servers showed in an earlier run: a certificate that changed between captures is as much a change as one within.
//!
//! Saved records of the earlier run are folded into the last certificate of each name, server and kind of key; more is not
//! kept. Only what both runs show is compared: a server that is new, or that is gone, is no change of a certificate.

use super::certificate::card;
use super::facts::Facts;
use super::farm_certificates::{Change, is_ecdsa};
use super::groups::Subject;
use super::survey::Report;
use super::text::say;
use super::{Survey, Verdict};
use crate::record::{Certificate, Confidence, Digest, Endpoint, Evidence, Handshake, Timestamp};
use std::{collections::BTreeMap, sync::Arc};

/// The survey; its finding is `cert-rotation`.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[],
    run: changed,
}];

/// Names and servers that are kept.
const KEPT_MAX: usize = 65_536;

/// Certificates of an earlier run.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    shown: BTreeMap<Key, Shown>,
    /// Handshakes for which there was no room.
    beyond: u64,
}

/// Name in lower case, server, and whether the key is ECDSA: servers may have a certificate of each kind.
type Key = (Box<str>, Endpoint, bool);

#[derive(Clone, Debug)]
struct Shown {
    certificate: Arc<Certificate>,
    at: Timestamp,
    capture: Arc<str>,
    frame: u64,
}

impl Baseline {
    /// Takes a record of the earlier run in; the latest counts.
    pub fn add(&mut self, record: &Handshake) {
        let facts = Facts::of(record);
        let (Some(name), Some(_), Some(certificate)) =
            (facts.sni(), facts.leaf(), record.certificates.first())
        else {
            return;
        };
        let ecdsa = is_ecdsa(certificate);
        let key = (name.to_ascii_lowercase().into(), record.server, ecdsa);
        let room = self.shown.len() < KEPT_MAX;
        let known = self.shown.get(&key);
        if known.is_some_and(|known| known.at > record.start) {
            return;
        }
        if known.is_none() && !room {
            self.beyond += 1;
            return;
        }
        let shown = Shown {
            certificate: Arc::clone(certificate),
            at: record.start,
            capture: Arc::clone(&record.capture),
            frame: facts.frame(),
        };
        self.shown.insert(key, shown);
    }

    /// It holds no certificate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Handshakes for which there was no room.
    #[must_use]
    pub fn beyond_cap(&self) -> u64 {
        self.beyond
    }
}

/// `cert-rotation` since the earlier run: the server shows this certificate no more.
fn changed(report: &mut Report<'_>) {
    let past = report.past;
    let baseline = report.baseline;
    if baseline.is_empty() {
        return;
    }
    for (name, all) in past.names() {
        let lower: Box<str> = name.to_ascii_lowercase().into();
        // By server and kind: the first trace, and all certificates.
        let mut now: BTreeMap<(Endpoint, bool), (usize, Vec<Digest<32>>)> = BTreeMap::new();
        for (number, kind) in past.kinds_of(&all.kinds) {
            let leaf = past.leaf(&kind).filter(|leaf| !leaf.malformed);
            let Some((leaf, first)) = leaf.zip(past.by_kind.of(number).next()) else {
                continue;
            };
            let slot = now.entry((kind.server, is_ecdsa(leaf)));
            let slot = slot.or_insert_with(|| (first, Vec::new()));
            if !slot.1.contains(&leaf.sha256) {
                slot.1.push(leaf.sha256);
            }
        }
        for ((server, ecdsa), (index, digests)) in now {
            let before = baseline.shown.get(&(lower.clone(), server, ecdsa));
            // Where the old one is still seen, the change is in this run, and told there.
            let gone = before.filter(|before| !digests.contains(&before.certificate.sha256));
            if let Some(before) = gone {
                tell(report, name, server, before, index);
            }
        }
    }
}

fn tell(report: &mut Report<'_>, name: &str, server: Endpoint, before: &Shown, index: usize) {
    let past = report.past;
    let Some(trace) = past.trace(index) else {
        return;
    };
    let Some(after) = past.leaf(&trace) else {
        return;
    };
    let lang = past.lang;
    let change = Change::between(&before.certificate, after);
    let cause = match change.lost.is_empty() {
        true => "since-baseline",
        false => change.cause(),
    };
    let verdict = Verdict::new(change.severity(), Confidence::Certain, cause);
    let subject = Subject::Named(format!("{name} ({server})").into());
    let old = say(lang, "cert-before").with("card", card(&before.certificate, lang));
    let new = format!("{}{}", card(after, lang), change.key_and_issuer(lang));
    let evidence = vec![
        Evidence {
            capture: Arc::clone(&before.capture),
            frame: before.frame,
            fact: old.text().into(),
        },
        past.evidence_of(&trace, new),
    ];
    if let Some(group) = report.tell_without_evidence("cert-rotation", verdict, subject, &[index]) {
        group.replace_examples(verdict.severity, evidence);
        for name in change.lost {
            group.note("lost", name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert, find};
    use crate::findings::{Diagnosis, Settings};
    use crate::record::{Finding, Severity};

    fn shown(subject: &str, san: &[&str], at: i64) -> Make {
        let made = Make::new().answer(0x0303, 0xc02f).at(at);
        made.certificate(cert(subject, san))
    }

    fn compared(before: &[Make], now: &[Make]) -> Vec<Finding> {
        let mut baseline = Baseline::default();
        for made in before {
            baseline.add(&made.record);
        }
        let mut diagnosis = Diagnosis::new(&Settings::default());
        diagnosis.compare_with(&baseline);
        for made in now {
            diagnosis.add(&made.record);
        }
        diagnosis.finish()
    }

    #[test]
    fn a_certificate_that_changed_since_the_last_run() {
        let id = "cert-rotation";
        let san = ["www.contoso.com"];
        let old = || shown("CN=old", &san, -9_000);
        let new = |at| shown("CN=new", &san, at);
        let found = compared(&[old()], &[new(0), new(5)]);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.severity, Severity::Info);
        assert!(finding.title.contains("since"), "{}", finding.title);
        assert!(finding.evidence[0].fact.contains("CN=old"));
        // A name was lost.
        let wide = shown("CN=old", &["www.contoso.com", "mail.contoso.com"], -9_000);
        let found = compared(&[wide], &[new(0)]);
        let finding = find(&found, id).unwrap();
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.title.contains("mail.contoso.com"));
        // The same; the latest of the earlier run; another server, name or kind of key; nothing to compare with.
        let silent = |before: &[Make], now: &[Make]| {
            assert!(find(&compared(before, now), id).is_none());
        };
        silent(&[old()], &[shown("CN=old", &san, 0)]);
        silent(&[new(-100), old()], &[new(0)]);
        silent(&[old()], &[new(0).server("10.0.0.6:443")]);
        silent(&[old()], &[new(0).sni("x.contoso.com")]);
        let ecdsa = new(0).leaf(|leaf| leaf.key = Some("ecdsa-p256".into()));
        silent(&[old()], &[ecdsa]);
        silent(&[], &[new(0)]);
    }

    #[test]
    fn a_change_within_the_run_is_told_once() {
        let id = "cert-rotation";
        let san = ["www.contoso.com"];
        let now = [shown("CN=old", &san, 0), shown("CN=new", &san, 60)];
        let found = compared(&[shown("CN=old", &san, -9_000)], &now);
        assert_eq!(found.iter().filter(|one| one.id == id).count(), 1);
    }
}
