//! Inspection of TLS: certificates that the service itself would not show, told by their issuers. For what hides its
//! certificate see `near.rs`.

use super::certificate::{card, is_public};
use super::farm::is_private;
use super::groups::Subject;
use super::names::covers;
use super::near::near;
use super::past::Past;
use super::survey::Report;
use super::trace::{Number, Trace};
use super::{Verdict, hosts};
use crate::record::{Confidence, Severity, Timestamp};
use hashbrown::{HashMap, HashSet};
use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Words in issuers' names that inspection products use.
const INSPECTION: [&str; 16] = [
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
    "eset, spol",
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

/// Unrelated public names that one private issuer vouches for, at public addresses: an issuer that makes certificates as
/// they are needed.
fn makers(report: &mut Report<'_>) {
    const NAMES_MIN: usize = 3;
    let past = report.past;
    let mut issuers: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    // A certificate under one name is looked at once.
    let mut seen: HashSet<(Number, Number)> = HashSet::new();
    for (number, kind) in past.by_first_of_sort() {
        let Some(key) = kind.leaf.zip(kind.name) else {
            continue;
        };
        if !seen.insert(key) {
            continue;
        }
        let (Some(name), Some(leaf)) = (past.name(&kind), past.leaf(&kind)) else {
            continue;
        };
        let Some((index, _)) = past.first_of(number) else {
            continue;
        };
        let Some(issuer) = leaf.issuer.as_deref() else {
            continue;
        };
        if !is_private(kind.server.ip)
            && !leaf.self_signed
            && leaf.not_before.is_some()
            && covers(leaf, name)
            && let Some(domain) = domain(name)
        {
            issuers
                .entry(issuer)
                .or_default()
                .entry(domain)
                .or_insert(index);
        }
    }
    for (issuer, domains) in issuers {
        let traces: Vec<usize> = domains.into_values().collect();
        // Authorities of the world sign for everybody; they have published policies, this one is not among those known.
        let first = traces.first().and_then(|index| past.trace(*index));
        let known = first
            .and_then(|trace| past.leaf(&trace))
            .is_none_or(|leaf| leaf.ca_issuers || is_public(leaf));
        if traces.len() < NAMES_MIN || known {
            continue;
        }
        let verdict = Verdict::new(Severity::Warning, Confidence::Likely, "one-issuer");
        let subject = Subject::Named(issuer.into());
        let evidence = past
            .of(&traces)
            .take(NAMES_MIN)
            .filter_map(|(_, trace)| {
                Some(past.evidence_of(&trace, card(past.leaf(&trace)?, past.lang)))
            })
            .collect();
        if let Some(group) =
            report.tell_without_evidence("tls-interception-suspected", verdict, subject, &traces)
        {
            group.replace_examples(verdict.severity, evidence);
            group.set("issuer", issuer);
            group.set("names", &traces.len().to_string());
        }
    }
}

/// A certificate for a public name at public addresses: to whom it was shown, and when.
struct Served {
    kinds: Vec<usize>,
    /// Its first trace.
    first: usize,
    /// The times of its first and last.
    times: (Timestamp, Timestamp),
    /// It was made within a day, by no public authority.
    is_fresh: bool,
    networks: OnceCell<HashSet<IpAddr>>,
}

impl Served {
    /// One that these kinds show.
    fn of(past: &Past, name: &str, mut kinds: Vec<usize>) -> Option<Self> {
        const DAY_US: i64 = 86_400_000_000;
        let server = |kind: &usize| past.kinds.get(*kind).map(|kind| kind.server.ip);
        kinds.retain(|kind| server(kind).is_some_and(|ip| !is_private(ip)));
        let traces = || kinds.iter().map(|kind| past.by_kind.of(*kind));
        let first = traces().filter_map(|mut traces| traces.next()).min()?;
        let last = traces().filter_map(|mut traces| traces.next_back()).max()?;
        let trace = past.trace(first)?;
        let times = (trace.own.start, past.trace(last)?.own.start);
        let leaf = past.leaf(&trace).filter(|leaf| covers(leaf, name))?;
        let begin = leaf.not_before.filter(|begin| *begin <= times.0)?;
        let is_logged = leaf.scts.is_some_and(|count| count > 0);
        Some(Self {
            kinds,
            first,
            times,
            is_fresh: !is_public(leaf) && !is_logged && times.0.micros_since(begin) < DAY_US,
            networks: OnceCell::new(),
        })
    }

    fn shown_to(&self, past: &Past) -> impl Iterator<Item = IpAddr> {
        let traces = self.kinds.iter().flat_map(|kind| past.by_kind.of(*kind));
        traces.filter_map(|index| past.client(index)).map(network)
    }

    /// They were shown at the same time, and to different networks.
    fn differs(&self, other: &Self, past: &Past) -> bool {
        let at_once = self.times.0 <= other.times.1 && other.times.0 <= self.times.1;
        let networks = || self.networks.get_or_init(|| self.shown_to(past).collect());
        // Mostly the first few clients tell.
        at_once && !other.shown_to(past).any(|one| networks().contains(&one))
    }
}

/// One public name at public addresses, for which two networks are shown different certificates at the same time, one of them
/// made within a day by a private authority: possible only, since a service may do so itself.
fn fresh(report: &mut Report<'_>) {
    /// Certificates of a name, those made within a day first, of which each is compared with each.
    const COMPARED_MAX: usize = 16;
    let past = report.past;
    for (name, all) in past.names() {
        if domain(name).is_none() {
            continue;
        }
        // Nearly all names have one certificate: what follows is for the others.
        let mut shown = past.kinds_of(&all.kinds).filter_map(|(_, kind)| kind.leaf);
        let first = shown.next();
        if shown.all(|leaf| Some(leaf) == first) {
            continue;
        }
        let mut leaves: BTreeMap<Number, Vec<usize>> = BTreeMap::new();
        for (number, kind) in past.kinds_of(&all.kinds) {
            if let Some(leaf) = kind.leaf {
                leaves.entry(leaf).or_default().push(number);
            }
        }
        let shown = leaves.into_values();
        let shown = shown.filter_map(|kinds| Served::of(past, name, kinds));
        let mut shown: Vec<Served> = shown.collect();
        shown.sort_by_key(|one| (!one.is_fresh, one.first));
        let fresh = shown.iter().enumerate().filter(|(_, one)| one.is_fresh);
        let mut apart = BTreeSet::new();
        for (place, one) in fresh.take(COMPARED_MAX) {
            let others = shown.iter().enumerate().take(COMPARED_MAX);
            let others = others.filter(|(_, other)| one.differs(other, past));
            let others: Vec<usize> = others.map(|(other, _)| other).collect();
            if !others.is_empty() {
                apart.insert(place);
                apart.extend(others);
            }
        }
        // What may be made on the way stands first.
        let apart = apart.iter().filter_map(|place| shown.get(*place));
        let traces: Vec<usize> = apart.map(|one| one.first).collect();
        let Some((_, made)) = past.of(&traces).next() else {
            continue;
        };
        let issuer = past.leaf(&made).and_then(|leaf| leaf.issuer.as_deref());
        let verdict = Verdict::new(Severity::Warning, Confidence::Possible, "made-today");
        let evidence = past.of(&traces).take(2).filter_map(|(_, trace)| {
            Some(past.evidence_of(&trace, card(past.leaf(&trace)?, past.lang)))
        });
        let evidence = evidence.collect();
        let subject = Subject::Named(name.into());
        if let Some(group) =
            report.tell_without_evidence("tls-interception-suspected", verdict, subject, &traces)
        {
            group.replace_examples(verdict.severity, evidence);
            group.set("issuer", issuer.unwrap_or("?"));
            group.set("name", name);
        }
    }
}

/// The network of a client, about: /24 and /64.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xFF).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// The registered domain, about: the last two labels, three under a short second label (`co.jp`). `None` for names that
/// cannot be public.
fn domain(name: &str) -> Option<&str> {
    let (rest, top) = name.rsplit_once('.')?;
    let second = rest.rsplit('.').next()?;
    let private = [
        "local",
        "lan",
        "internal",
        "corp",
        "home",
        "test",
        "example",
        "localhost",
    ];
    if private.iter().any(|known| top.eq_ignore_ascii_case(known)) || top.parse::<u8>().is_ok() {
        return None;
    }
    let mut labels = 2;
    if top.len() == 2 && second.len() <= 3 {
        labels = 3;
    }
    let mut at = name.len();
    for _ in 0..labels {
        at = name.get(..at)?.rfind('.').unwrap_or(0);
        if at == 0 {
            return Some(name);
        }
    }
    name.get(at + 1..)
}

/// `tls-interception-suspected` by the issuer: inspection products' names, or an issuer that Microsoft does not use.
pub(super) fn interception(report: &mut Report<'_>) {
    makers(report);
    fresh(report);
    near(report);
    let past = report.past;
    // A certificate under one name is judged once.
    let mut known = HashMap::new();
    let mut named: Vec<Option<&str>> = vec![None; past.kinds.sorts.len()];
    for (number, kind) in past
        .by_first_of_sort()
        .filter(|(_, kind)| kind.name.is_some())
    {
        let sort = past.kinds.sort_number(number);
        let slot = sort.and_then(|sort| named.get_mut(sort));
        let first = past.first_of(number);
        if let (Some(leaf), Some((_, first)), Some(slot)) = (kind.leaf, first, slot) {
            let cause = known.entry((leaf, kind.name));
            *slot = *cause.or_insert_with(|| cause_of(report, &first));
        }
    }
    let mut causes = past.kinds.by_sort(&named, None);
    let mut nameless = HashMap::new();
    for (number, kind) in past.by_first_like(|sort| sort.name.is_none() && sort.leaf.is_some()) {
        let (first, slot) = (past.first_of(number), causes.get_mut(number));
        if let (Some(leaf), Some((_, first)), Some(slot)) = (kind.leaf, first, slot) {
            let cause = nameless.entry((leaf, kind.server));
            *slot = *cause.or_insert_with(|| cause_of(report, &first));
        }
    }
    let mut places: BTreeMap<(Box<str>, &'static str), usize> = BTreeMap::new();
    let mut found: Vec<(Vec<usize>, &str)> = Vec::new();
    // By kind, where its traces belong; those without a name can belong to several.
    let mut place_of: Vec<Option<usize>> = vec![None; causes.len()];
    for (index, trace) in past.all_marked(causes.iter().map(Option::is_some).collect()) {
        let kind = past.kind_of.get(index).map_or(0, |kind| *kind as usize);
        let place = place_of.get(kind).copied().flatten().or_else(|| {
            let cause = causes.get(kind).copied().flatten()?;
            let issuer = past.leaf(&trace)?.issuer.as_deref()?;
            let place = places
                .entry((past.target(&trace), cause))
                .or_insert_with(|| {
                    found.push((Vec::new(), issuer));
                    found.len() - 1
                });
            if let Some(slot) = place_of.get_mut(kind).filter(|_| trace.name.is_some()) {
                *slot = Some(*place);
            }
            Some(*place)
        });
        if let Some((traces, _)) = place.and_then(|place| found.get_mut(place)) {
            traces.push(index);
        }
    }
    for ((target, cause), place) in places {
        let Some((traces, issuer)) = found.get(place) else {
            continue;
        };
        let verdict = Verdict::new(Severity::Warning, Confidence::Likely, cause);
        let evidence = past
            .of(traces)
            .take(2)
            .filter_map(|(_, trace)| {
                Some(past.evidence_of(&trace, card(past.leaf(&trace)?, past.lang)))
            })
            .collect();
        if let Some(group) = report.tell_without_evidence(
            "tls-interception-suspected",
            verdict,
            Subject::Named(target),
            traces,
        ) {
            group.replace_examples(verdict.severity, evidence);
            group.set("issuer", issuer);
        }
    }
}

/// Why a certificate under this name speaks of inspection.
fn cause_of(report: &Report<'_>, trace: &Trace<'_>) -> Option<&'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert, diagnose, find};

    #[test]
    fn products_by_the_name_of_their_maker() {
        let id = "tls-interception-suspected";
        let by = |issuer: &str| {
            let mut leaf = cert("CN=www.fabrikam.com", &["www.fabrikam.com"]);
            leaf.issuer = Some(issuer.into());
            let made = Make::new().sni("www.fabrikam.com").answer(0x0303, 0xc02f);
            find(&diagnose(&[made.certificate(leaf)]), id).is_some()
        };
        assert!(by("CN=ESET SSL Filter CA, O=ESET, spol. s r. o., C=SK"));
        assert!(by("O=ESET, spol. s r. o., CN=Filter CA"));
        assert!(!by("CN=Reseteam CA, O=Coreset"));
    }

    #[test]
    fn registered_domains() {
        assert_eq!(domain("www.contoso.com"), Some("contoso.com"));
        assert_eq!(domain("contoso.com"), Some("contoso.com"));
        assert_eq!(domain("www.contoso.co.jp"), Some("contoso.co.jp"));
        assert_eq!(domain("mail.contoso.local"), None);
        assert_eq!(domain("10.0.0.1"), None);
    }

    #[test]
    fn certificates_that_are_made_for_each_network() {
        let id = "tls-interception-suspected";
        let shown = |client: &str, subject: &str, age_s: i64| {
            let mut leaf = cert(subject, &["www.fabrikam.com"]);
            let now = crate::findings::testing::START_S;
            leaf.not_before = Some(crate::record::Timestamp((now - age_s) * 1_000_000_000));
            let made = Make::new().sni("www.fabrikam.com").client(client);
            made.server("192.0.2.80:443")
                .answer(0x0303, 0xc02f)
                .certificate(leaf)
        };
        let two = [
            shown("10.0.1.7", "CN=one", 3_600),
            shown("10.0.2.7", "CN=two", 7_200),
        ];
        let found = diagnose(&two);
        assert_eq!(find(&found, id).unwrap().confidence, Confidence::Possible);
        let silent = |made: &[Make]| assert!(find(&diagnose(made), id).is_none());
        // One network; one certificate; none of today; a public authority; a server of one's own.
        silent(&[two[0].clone(), shown("10.0.1.8", "CN=two", 7_200)]);
        silent(&[two[0].clone(), shown("10.0.2.7", "CN=one", 3_600)]);
        silent(&[
            shown("10.0.1.7", "CN=one", 9_000_000),
            shown("10.0.2.7", "CN=two", 900_000),
        ]);
        let public = two.clone().map(|made| {
            made.leaf(|leaf| leaf.issuer = Some("CN=R3, O=Let's Encrypt, C=US".into()))
        });
        silent(&public);
        silent(&two.map(|made| made.server("10.0.0.80:443")));
    }

    #[test]
    fn a_certificate_that_gave_way_is_not_made_for_each_network() {
        let id = "tls-interception-suspected";
        let now = crate::findings::testing::START_S;
        let shown = |client: &str, subject: &str, at: i64| {
            let mut leaf = cert(subject, &["www.fabrikam.com"]);
            let age_s = if subject == "CN=new" { 60 } else { 9_000_000 };
            leaf.not_before = Some(crate::record::Timestamp((now - age_s) * 1_000_000_000));
            let made = Make::new().sni("www.fabrikam.com").client(client).at(at);
            made.server("192.0.2.80:443")
                .answer(0x0303, 0xc02f)
                .certificate(leaf)
        };
        let is_told = |made: &[Make]| find(&diagnose(made), id).is_some();
        let [one, other] = ["10.0.1.7", "10.0.2.7"];
        let (old, new) = (shown(one, "CN=old", 0), shown(other, "CN=new", 900));
        // The service got a new one meanwhile: nobody is shown the old one again.
        assert!(!is_told(&[old.clone(), new.clone()]));
        assert!(is_told(&[
            old.clone(),
            new.clone(),
            shown(one, "CN=old", 1_800)
        ]));
        // Elsewhere it is the service's own, by a public authority.
        let real = |made: Make| {
            made.leaf(|leaf| leaf.issuer = Some("CN=R3, O=Let's Encrypt, C=US".into()))
        };
        let again = shown(one, "CN=old", 1_800);
        assert!(is_told(&[
            real(old.clone()),
            new.clone(),
            real(again.clone())
        ]));
        assert!(!is_told(&[old.clone(), real(new.clone()), again]));
        // A network that is shown both: two servers of the service.
        let both = [
            old,
            new,
            shown(one, "CN=old", 1_800),
            shown(one, "CN=new", 2_000),
        ];
        assert!(!is_told(&both));
    }

    #[test]
    fn one_issuer_for_unrelated_names() {
        let id = "tls-interception-suspected";
        let shown = |name: &str, server: &str| {
            Make::new()
                .sni(name)
                .server(server)
                .answer(0x0303, 0xc02f)
                .certificate(cert(&format!("CN={name}"), &[name]))
        };
        let names = ["www.fabrikam.com", "www.tailspin.org", "www.wingtip.net"];
        let at = |server: &'static str| names.map(|name| shown(name, server));
        assert!(find(&diagnose(&at("192.0.2.80:443")), id).is_some());
        // A company's own authority for its own servers, or for its own names.
        assert!(find(&diagnose(&at("10.0.0.80:443")), id).is_none());
        let own = ["a.contoso.com", "b.contoso.com", "c.contoso.com"];
        let own = own.map(|name| shown(name, "192.0.2.80:443"));
        assert!(find(&diagnose(&own), id).is_none());
    }
}
