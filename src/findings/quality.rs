//! How good the captures are: what they lack lowers what every other finding can say.

use super::facts::Facts;
use super::groups::{Subject, Target};
use super::history::flags;
use super::survey::Report;
use super::text::{say, word};
use super::trace::{Flags, Sort};
use super::{Entry, Lang, Sheet, Survey, Verdict};
use crate::record::{
    Certificate, Confidence, Digest, Endpoint, Outcome, Scope, Severity, Timestamp,
};
use hashbrown::{HashMap, HashSet};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The surveys.
pub(super) static SURVEYS: &[Survey] = &[Survey {
    entries: &[Entry::new(
        "capture-quality",
        Severity::Warning,
        Scope::Capture,
        "Wireshark User's Guide: capturing",
    )],
    run: quality,
}];

type Lacks = fn(&Flags) -> bool;

/// What a capture can lack of a connection, and how to tell.
const LACKS: [(&str, Lacks); 4] = [
    ("one-direction", |flags| flags.one_direction()),
    ("gaps", |flags| flags.gap()),
    ("snap-length", |flags| flags.snap_length()),
    ("mid-stream", |flags| flags.mid_stream()),
];

/// What the capture lacks of a connection, in words; none where it lacks nothing.
pub(super) fn lacks(flags: &Flags, lang: Lang) -> Option<String> {
    let lacking = LACKS.iter().filter(|(_, has)| has(flags));
    let words: Vec<&str> = lacking.map(|(cause, _)| word(lang, cause)).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// A finding that is not certain names what the capture lacks of the connection.
pub(super) fn tell_lacks(facts: &Facts<'_>, verdict: Verdict, sheet: &mut Sheet<'_>) {
    if verdict.confidence == Confidence::Certain || facts.whole {
        return;
    }
    let flags = flags(facts);
    if LACKS.iter().any(|(_, has)| has(&flags)) {
        sheet.fact(facts.frame(), |lang| {
            say(lang, "capture-lacks").with("lacks", lacks(&flags, lang).unwrap_or_default())
        });
    }
}

/// `capture-quality`: what the captures lack, and what follows for the rest.
fn quality(report: &mut Report<'_>) {
    clock(report);
    before_tls(report);
    backwards(report);
    without_dns(report);
    let past = report.past;
    let total = past.len();
    for (cause, has) in LACKS {
        let fits = |sort: &Sort| has(&sort.flags);
        let traces: Vec<usize> = past.all_like(fits).map(|(index, _)| index).collect();
        if traces.is_empty() {
            continue;
        }
        let many = traces.len() * 10 >= total && cause != "mid-stream";
        let severity = if many {
            Severity::Warning
        } else {
            Severity::Info
        };
        tell(report, &traces, severity, Confidence::Certain, cause);
    }
}

/// Three and more unrelated certificates of one capture out of date, and none in date: its clock is wrong, not they. Each
/// capture is judged by itself, since several can come from several machines.
fn clock(report: &mut Report<'_>) {
    const UNRELATED_MIN: usize = 3;
    let past = report.past;
    let mut wrong: BTreeMap<u32, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut right: BTreeSet<u32> = BTreeSet::new();
    for (index, trace) in past.all_like(|sort| sort.leaf.is_some()) {
        let Some(leaf) = past.leaf(&trace) else {
            continue;
        };
        match is_out_of_date(leaf, trace.own.start) {
            Some(true) => {
                let issuers = wrong.entry(trace.capture).or_default();
                let issuer = leaf.issuer.as_deref().unwrap_or("");
                issuers.entry(issuer).or_insert(index);
            }
            Some(false) => {
                right.insert(trace.capture);
                // Mostly one of the first handshakes tells: there may be millions.
                if right.len() >= past.captures.len() {
                    return;
                }
            }
            None => {}
        }
    }
    wrong.retain(|capture, issuers| issuers.len() >= UNRELATED_MIN && !right.contains(capture));
    if wrong.is_empty() {
        return;
    }
    take_back_dates(report, |capture| wrong.contains_key(&capture));
    let traces: Vec<usize> = wrong
        .into_values()
        .flat_map(BTreeMap::into_values)
        .collect();
    tell(
        report,
        &traces,
        Severity::Warning,
        Confidence::Likely,
        "clock",
    );
}

/// Whether a certificate was not valid at that time; none where it does not say.
fn is_out_of_date(leaf: &Certificate, now: Timestamp) -> Option<bool> {
    let (begin, end) = (leaf.not_before?, leaf.not_after?);
    Some(begin > now || end < now)
}

/// Certificates that only captures with a wrong clock found out of date are not told of.
fn take_back_dates(report: &mut Report<'_>, is_wrong: impl Fn(u32) -> bool) {
    const ID: &str = "cert-validity";
    let past = report.past;
    // What the other captures saw of each certificate: whether it was out of date there.
    let mut elsewhere: HashMap<(Digest<32>, Option<Endpoint>), bool> = HashMap::new();
    for (_, trace) in past.all_like(|sort| sort.leaf.is_some() && !is_wrong(sort.capture)) {
        if let Some(leaf) = past.leaf(&trace) {
            // Of hosts behind a proxy it is not known who was which.
            let server = (!trace.flags.tunnelled()).then_some(trace.server);
            let was = is_out_of_date(leaf, trace.own.start) == Some(true);
            *elsewhere.entry((leaf.sha256, server)).or_default() |= was;
        }
    }
    let is_told_elsewhere = |subject: &Subject, cause: &str| {
        let key = match subject {
            Subject::Others => return !elsewhere.is_empty(),
            Subject::Certificate(digest, Target::Server(server)) => (*digest, Some(*server)),
            Subject::Certificate(digest, _) => (*digest, None),
            _ => return false,
        };
        let was = elsewhere.get(&key);
        // Traces do not keep the intermediates: having been seen there is enough.
        was.is_some_and(|was| *was || cause == "intermediate-expired")
    };
    let told = report.groups.of(ID).filter_map(|(subject, group)| {
        let cause = group.cause();
        let by_date = matches!(cause, "expired" | "not-yet-valid" | "intermediate-expired");
        (by_date && !is_told_elsewhere(subject, cause)).then(|| (ID, cause, subject.clone()))
    });
    for key in told.collect::<Vec<_>>() {
        report.groups.lessen(&key, u64::MAX);
    }
}

/// SSL 2.0 came in 1995: handshakes of an earlier time were not recorded by a clock that was set.
pub(super) const FIRST_TLS: Timestamp = Timestamp(788_918_400_000_000_000);

/// Times before there was TLS: devices without a battery begin at 1970, and some tools write 1601.
fn before_tls(report: &mut Report<'_>) {
    // In order of time, so that they stand first.
    let until = report.past.before(FIRST_TLS);
    let traces: Vec<usize> = (0..until).collect();
    tell(
        report,
        &traces,
        Severity::Warning,
        Confidence::Certain,
        "clock-not-set",
    );
}

/// Times within a second of each other are in no order: handshakes overlap, and packets are written late.
pub(super) const CLOCK_STEP_US: i64 = 1_000_000;

/// Later packets of one capture with earlier times: the clock was set back meanwhile, or captures were joined out of order.
fn backwards(report: &mut Report<'_>) {
    let past = report.past;
    if !past.may_go_back {
        return;
    }
    // By capture, what has the highest frame so far: a packet of it was recorded at its end at the latest.
    let mut furthest: Vec<Option<(u64, Timestamp)>> = vec![None; past.captures.len()];
    let mut traces = Vec::new();
    let captures: Vec<u32> = past.kinds.sorts.iter().map(|sort| sort.capture).collect();
    let captures = past.kinds.by_sort(&captures, u32::MAX);
    for (index, own) in past.all_own() {
        let kind = past.kind_of.get(index).map(|kind| *kind as usize);
        let capture = kind.and_then(|kind| captures.get(kind));
        let slot = capture.and_then(|capture| furthest.get_mut(*capture as usize));
        // Of a trace its frame is not before its start.
        let Some(slot) = slot else { continue };
        let slot = slot.get_or_insert((0, own.start));
        if own.frame > slot.0 {
            *slot = (own.frame, own.end);
        } else if own.frame > 0 && own.start.micros_since(slot.1) > CLOCK_STEP_US {
            traces.push(index);
        }
    }
    tell(
        report,
        &traces,
        Severity::Info,
        Confidence::Certain,
        "time-goes-back",
    );
}

/// No DNS at all, where it would tell why connections failed or were late.
fn without_dns(report: &mut Report<'_>) {
    let past = report.past;
    let dns = past.resolved.dns();
    if !dns.lookups.is_empty() || dns.queries > 0 || dns.forgotten > 0 {
        return;
    }
    // Where a router says why a connection failed, DNS would tell no more.
    let told = report.groups.of("tcp-connect-failed");
    let told: HashSet<(IpAddr, Endpoint)> = told
        .filter(|(_, group)| matches!(group.cause(), "prohibited" | "unreachable"))
        .filter_map(|(subject, _)| match subject {
            Subject::Pair(client, server) => Some((*client, *server)),
            _ => None,
        })
        .collect();
    let tls_ports = &report.settings.tls_ports;
    let failed = past.all_whose(|kind| {
        kind.outcome == Outcome::NoSynAck
            && kind.flags.whole()
            && tls_ports.contains(&kind.server.port)
    });
    let failed = failed.filter(|(_, trace)| !told.contains(&(*trace.client, trace.server)));
    let traces: Vec<usize> = failed.map(|(index, _)| index).collect();
    tell(
        report,
        &traces,
        Severity::Info,
        Confidence::Certain,
        "no-dns",
    );
}

fn tell(
    report: &mut Report<'_>,
    traces: &[usize],
    severity: Severity,
    confidence: Confidence,
    cause: &'static str,
) {
    let past = report.past;
    let captures: BTreeSet<String> = past
        .of(traces)
        .map(|(_, trace)| past.capture(&trace).to_string())
        .collect();
    let total = past.len().to_string();
    let verdict = Verdict::new(severity, confidence, cause);
    if let Some(group) = report.tell("capture-quality", verdict, Subject::Capture, traces, &[]) {
        group.set("total", &total);
        for capture in captures {
            group.note("capture", &capture);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{DAY_S, Make, START_S, cert, diagnose, find};
    use crate::record::{Defect, Timestamp};

    #[test]
    fn captures_that_lack_something() {
        let id = "capture-quality";
        let cut = Make::new().with(|record| record.defects.push(Defect::OneDirection));
        let found = diagnose(&[cut]);
        assert_eq!(find(&found, id).unwrap().severity, Severity::Warning);
        assert!(find(&diagnose(&[Make::new().answer(0x0303, 0xc02f)]), id).is_none());
    }

    fn cause(found: &[crate::record::Finding], words: &str) -> bool {
        found
            .iter()
            .any(|one| one.id == "capture-quality" && one.title.contains(words))
    }

    #[test]
    fn a_clock_that_was_not_set() {
        let old = |record: &mut crate::record::Handshake| {
            record.start = Timestamp(1_000_000_000);
            record.end = Timestamp(2_000_000_000);
        };
        let leaf = || cert("CN=www.contoso.com", &["www.contoso.com"]);
        let made = Make::new().answer(0x0303, 0xc02f).certificate(leaf());
        let found = diagnose(&[made.clone().with(old)]);
        assert!(cause(&found, "clock was not set"));
        assert!(find(&found, "cert-validity").is_none());
        assert!(diagnose(&[made]).is_empty());
    }

    #[test]
    fn what_is_not_certain_names_what_the_capture_lacks() {
        let asks = |suites: &[u16]| {
            let suites = suites.iter().map(|suite| crate::record::Code16(*suite));
            let suites: Vec<_> = suites.collect();
            let made = Make::new().sni("outlook.office365.com");
            made.hello(move |hello| {
                std::sync::Arc::make_mut(&mut hello.shape).cipher_suites = suites;
            })
        };
        let cut = |made: Make| made.with(|record| record.defects.push(Defect::SnapLength));
        let named = |made: Make, id: &str| {
            let found = diagnose(&[made]);
            let mut evidence = find(&found, id).unwrap().evidence.iter();
            evidence.any(|one| one.fact.contains("cut packets"))
        };
        let id = "o365-no-common-cipher";
        assert!(named(cut(asks(&[0x0005])), id));
        assert!(!named(asks(&[0x0005]), id));
        // What is in the capture proves it: what is not does not matter.
        let certain = Make::new().answer(0x0303, 0x0005);
        assert!(!named(cut(certain), "weak-cipher-negotiated"));
    }

    #[test]
    fn times_that_go_back() {
        let at = |frame: u64, second: i64| {
            let made = Make::new().answer(0x0303, 0xc02f).at(second).lasts_ms(100);
            made.with(|record| record.server_hello.as_mut().unwrap().frame = frame)
        };
        let back = [at(10, 3_600), at(20, 0), at(30, 10)];
        assert!(cause(&diagnose(&back), "Times go back"));
        // A long connection that is in order, and packets of several interfaces within a second.
        let long = [at(30, 0).lasts_ms(100_000), at(20, 50), at(40, 60)];
        assert!(diagnose(&long).is_empty());
        assert!(diagnose(&[at(20, 0), at(10, 1)]).is_empty());
        // Other captures have frames of their own.
        let other = at(10, 3_600).with(|record| record.capture = "other.pcap".into());
        assert!(diagnose(&[at(20, 0), other]).is_empty());
    }

    #[test]
    fn no_dns_is_told_where_it_would_help() {
        let silent = Make::new()
            .with(|record| record.client_hello = None)
            .outcome(Outcome::NoSynAck);
        assert!(cause(&diagnose(std::slice::from_ref(&silent)), "no DNS"));
        // Who refuses was reached: the address is not the question.
        let refused = silent.clone().outcome(Outcome::ConnectionRefused);
        assert!(!cause(&diagnose(&[refused]), "no DNS"));
        let asked = crate::record::Dns {
            queries: 1,
            ..crate::record::Dns::default()
        };
        let found = crate::findings::testing::diagnose_dns(std::slice::from_ref(&silent), &asked);
        assert!(!cause(&found, "no DNS"));
        let http = silent.server("10.0.0.5:80");
        assert!(!cause(&diagnose(&[http]), "no DNS"));
    }

    #[test]
    fn a_wrong_clock_is_not_the_certificates_fault() {
        let expired = |issuer: &str| {
            let mut leaf = cert(
                &format!("CN=www.contoso.com, OU={issuer}"),
                &["www.contoso.com"],
            );
            leaf.issuer = Some(issuer.into());
            leaf.not_after = Some(Timestamp((START_S - DAY_S) * 1_000_000_000));
            Make::new().answer(0x0303, 0xc02f).certificate(leaf)
        };
        let all = [expired("CN=A"), expired("CN=B"), expired("CN=C")];
        let found = diagnose(&all);
        assert!(
            find(&found, "cert-validity").is_none() && find(&found, "capture-quality").is_some()
        );
        let two = diagnose(&all[..2]);
        assert!(find(&two, "cert-validity").is_some());
    }
    #[test]
    fn one_of_several_captures_has_a_wrong_clock() {
        const YEAR_S: i64 = 365 * DAY_S;
        let shown = |issuer: &str, capture: &str, at: i64| {
            let mut leaf = cert(&format!("CN={issuer}"), &["www.contoso.com"]);
            leaf.issuer = Some(issuer.into());
            let made = Make::new().answer(0x0303, 0xc02f).certificate(leaf);
            made.at(at).with(|record| record.capture = capture.into())
        };
        let all = |capture: &str, at: i64| ["A", "B", "C"].map(|issuer| shown(issuer, capture, at));
        let good = all("good.pcap", 0);
        let merged = [all("future.pcap", 2 * YEAR_S), good.clone()].concat();
        let found = diagnose(&merged);
        assert!(find(&found, "cert-validity").is_none());
        let told = found.iter().find(|one| one.id == "capture-quality");
        assert!(told.unwrap().title.contains("future.pcap"), "{told:?}");
        assert!(!told.unwrap().title.contains("good.pcap"), "{told:?}");
        // What is out of date in a capture with a right clock is told as ever.
        let expired = shown("D", "good.pcap", 0).leaf(|leaf| {
            leaf.not_after = Some(Timestamp((START_S - DAY_S) * 1_000_000_000));
        });
        let found = diagnose(&[merged.as_slice(), &[expired]].concat());
        assert_eq!(find(&found, "cert-validity").unwrap().count, 1);
        // Two certificates prove no wrong clock; one in date proves a right one.
        let two = &all("future.pcap", 2 * YEAR_S)[..2];
        let found = diagnose(&[two, good.as_slice()].concat());
        assert!(find(&found, "cert-validity").is_some());
        let mut mixed = all("mixed.pcap", 2 * YEAR_S).to_vec();
        mixed.push(shown("E", "mixed.pcap", 0));
        assert!(find(&diagnose(&mixed), "cert-validity").is_some());
    }
}
