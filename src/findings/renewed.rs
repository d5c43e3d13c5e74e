//! `cert-validity`: who shows a newer certificate for the same name already. The certificate need not be made then, only
//! bound where it is missing.

use super::farm_certificates::is_ecdsa;
use super::groups::{Subject, Target, Value};
use super::names::covers;
use super::past::Past;
use super::survey::Report;
use super::trace::Number;
use crate::record::{Certificate, Digest, Endpoint};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// Certificates of each name with the servers that show them.
type ByName = HashMap<Number, BTreeSet<(Number, Endpoint)>>;

/// Adds to each finding about a certificate that has ended, or soon will, the servers that have its successor.
pub(super) fn renewed(report: &mut Report<'_>) {
    let past = report.past;
    let mut shown: BTreeMap<(Digest<32>, Endpoint), BTreeSet<Number>> = BTreeMap::new();
    for (subject, group) in report.groups.of("cert-validity") {
        if let (Subject::Certificate(digest, Target::Server(server)), "expired" | "near-expiry") =
            (subject, group.cause())
        {
            shown.insert((*digest, *server), BTreeSet::new());
        }
    }
    if shown.is_empty() {
        return;
    }
    for ((digest, server), names) in &mut shown {
        let kinds = past.kinds_at(server);
        let theirs = past
            .kinds_of(kinds)
            .filter(|(_, kind)| past.leaf(kind).is_some_and(|leaf| leaf.sha256 == *digest));
        names.extend(theirs.filter_map(|(_, kind)| kind.name));
    }
    let by_name = by_name(past, &shown.values().flatten().copied().collect());
    for (subject, group) in report.groups.of("cert-validity") {
        let Subject::Certificate(digest, Target::Server(server)) = subject else {
            continue;
        };
        let Some(names) = shown.get(&(*digest, *server)) else {
            continue;
        };
        for other in successors(past, *digest, names, &by_name) {
            group.note_value("renewed", Value::Endpoint(other));
        }
    }
}

fn by_name(past: &Past, wanted: &BTreeSet<Number>) -> ByName {
    let mut found = ByName::new();
    for name in wanted {
        let kinds = past.by_name.get(name).map_or(&[][..], |all| &all.kinds);
        let shown = past
            .kinds_of(kinds)
            .filter_map(|(_, kind)| Some((kind.leaf?, kind.server)));
        found.entry(*name).or_default().extend(shown);
    }
    found
}

/// Servers that show a certificate for one of the names that ends later than the old one.
fn successors(
    past: &Past,
    old: Digest<32>,
    names: &BTreeSet<Number>,
    by_name: &ByName,
) -> BTreeSet<Endpoint> {
    let mut found = BTreeSet::new();
    for name in names {
        let Some(shown) = by_name.get(name) else {
            continue;
        };
        let mut all = shown.iter().filter_map(|(leaf, _)| past.certificate(*leaf));
        let (Some(old), Some(words)) = (
            all.find(|leaf| leaf.sha256 == old),
            past.names.get(name.place()),
        ) else {
            continue;
        };
        let succeeds = |leaf: &Certificate| {
            leaf.not_after > old.not_after && is_ecdsa(leaf) == is_ecdsa(old) && covers(leaf, words)
        };
        found.extend(
            shown
                .iter()
                .filter(|(leaf, _)| past.certificate(*leaf).is_some_and(succeeds))
                .map(|(_, server)| *server),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{DAY_S, Make, START_S, cert, diagnose, find};
    use crate::record::Timestamp;

    const NAME: &str = "www.contoso.com";

    fn shown(server: &str, subject: &str, names: &[&str], days: i64) -> Make {
        let mut leaf = cert(subject, names);
        leaf.not_after = Some(Timestamp((START_S + days * DAY_S) * 1_000_000_000));
        Make::new()
            .server(server)
            .sni(NAME)
            .answer(0x0303, 0xc02f)
            .certificate(leaf)
    }

    fn told(made: &[Make]) -> bool {
        let found = diagnose(made);
        let affects = &find(&found, "cert-validity").unwrap().affects;
        affects.iter().any(|line| line.contains("10.0.0.6:443"))
    }

    #[test]
    fn servers_that_have_the_successor_are_named() {
        let old = shown("10.0.0.5:443", "CN=old", &[NAME], -1);
        let new = |names: &[&str], days| shown("10.0.0.6:443", "CN=new", names, days);
        assert!(told(&[old.clone(), new(&[NAME], 300)]));
        // It ends sooner, or is for another name, or another kind of key, or the same certificate.
        assert!(!told(&[old.clone(), new(&[NAME], -2)]));
        assert!(!told(&[old.clone(), new(&["mail.contoso.com"], 300)]));
        let ecdsa = new(&[NAME], 300).leaf(|leaf| leaf.key = Some("ecdsa-p256".into()));
        assert!(!told(&[old.clone(), ecdsa]));
        let near = shown("10.0.0.5:443", "CN=old", &[NAME], 5);
        assert!(!told(&[near.clone(), near.server("10.0.0.7:443")]));
    }
}
