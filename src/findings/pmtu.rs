//! `pmtu-blackhole`: full-size segments of the server's first flight vanish on the way, small ones pass.

use super::facts::Facts;
use super::groups::peer_subject;
use super::path::icmp_words;
use super::text::say;
use super::{Entry, Rule, Settings, Sheet, Verdict, When};
use crate::record::{Confidence, IcmpError, Outcome, Scope, Severity, Side};

/// The rule.
pub(super) static RULES: &[Rule] = &[Rule::new(
    Entry::new(
        "pmtu-blackhole",
        Severity::Warning,
        Scope::Server,
        "RFC 2923 section 2.1; RFC 1191 section 3; RFC 8201 section 4",
    ),
    blackhole,
    peer_subject,
    describe,
)
.when(When::INCOMPLETE)];

/// The server repeats what would fill a segment and never gets it acknowledged, while the client's TCP is alive: it closed
/// the connection itself, without having the flight. Seen from the client's side of the narrow link the flight is a gap in
/// the capture, from which nothing follows.
pub(super) fn blackhole(facts: &Facts<'_>, _: &Settings) -> Option<Verdict> {
    /// One repetition is a lost packet.
    const RETRANSMITS_MIN: u32 = 2;
    if !facts.whole || facts.record.outcome != Outcome::ClientAbort {
        return None;
    }
    let missing = facts.observed(|observed| observed.server_flight_unacknowledged_bytes)?;
    let again = facts.observed(|observed| observed.server_flight_retransmits)?;
    let segment = segment_bytes(facts)?;
    let by_client = facts.record.tcp.as_ref()?.closed_by == Some(Side::Client);
    // Where a router says so, it is no inference.
    let confidence = match too_big(facts) {
        Some(_) => Confidence::Certain,
        None => Confidence::Likely,
    };
    (by_client && missing >= segment && again >= RETRANSMITS_MIN)
        .then(|| Verdict::new(Severity::Warning, confidence, ""))
}

/// A router says that the server's packets are too big for the next network.
fn too_big(facts: &Facts<'_>) -> Option<IcmpError> {
    let icmp = facts.observed(|observed| observed.icmp)?;
    (icmp.about == Side::Server && icmp.is_too_big()).then_some(icmp)
}

/// What the server's full segments hold at least: the lower of both announcements, less the options of each segment
/// (timestamps: RFC 7323 section 3.2).
fn segment_bytes(facts: &Facts<'_>) -> Option<u32> {
    const OPTIONS: u32 = 12;
    let client = facts.observed(|observed| observed.client_mss)?;
    let server = facts.observed(|observed| observed.server_mss)?;
    Some(u32::from(client.min(server)).saturating_sub(OPTIONS))
}

fn describe(facts: &Facts<'_>, _: Verdict, sheet: &mut Sheet<'_>) {
    sheet.peers(facts);
    let number = |value: Option<u32>| value.unwrap_or(0);
    let missing = facts.observed(|observed| observed.server_flight_unacknowledged_bytes);
    let again = facts.observed(|observed| observed.server_flight_retransmits);
    sheet.fact(facts.frame(), |lang| {
        say(lang, "flight-lost")
            .with("bytes", number(missing))
            .with("count", number(again))
            .with("segment", number(segment_bytes(facts)))
    });
    if let Some(icmp) = too_big(facts) {
        sheet.fact(icmp.frame, |lang| icmp_words(lang, &icmp));
    }
    let close = facts.record.tcp.as_ref().and_then(|tcp| tcp.close_frame);
    if let Some(frame) = close {
        sheet.fact(frame, |lang| say(lang, "flight-given-up"));
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{Make, diagnose, find, has};
    use crate::record::{Confidence, IcmpError, Outcome, Side};

    fn lost(bytes: u32, again: u32) -> Make {
        Make::new()
            .answer(0x0303, 0xc02f)
            .outcome(Outcome::ClientAbort)
            .tcp(|tcp| tcp.closed_by = Some(Side::Client))
            .observed(|seen| {
                seen.client_mss = Some(1460);
                seen.server_mss = Some(1460);
                seen.server_flight_unacknowledged_bytes = Some(bytes);
                seen.server_flight_retransmits = Some(again);
            })
    }

    #[test]
    fn a_flight_that_never_arrives() {
        let id = "pmtu-blackhole";
        let found = diagnose(&[lost(3_200, 4)]);
        let found = find(&found, id).unwrap();
        assert!(found.evidence[0].fact.contains("3200 bytes"));
        assert!(has(&lost(1_448, 2), id));
    }

    #[test]
    fn a_router_says_that_packets_are_too_big() {
        let icmp = |about, code| {
            lost(3_200, 4).observed(|seen| {
                seen.icmp = Some(IcmpError {
                    frame: 9,
                    from: "10.0.0.1".parse().unwrap(),
                    about,
                    kind: 3,
                    code,
                    mtu: Some(1_400),
                });
            })
        };
        let confidence = |made: Make| {
            let found = diagnose(&[made]);
            find(&found, "pmtu-blackhole").unwrap().confidence
        };
        assert_eq!(confidence(icmp(Side::Server, 4)), Confidence::Certain);
        assert_eq!(confidence(icmp(Side::Server, 1)), Confidence::Likely);
        assert_eq!(confidence(icmp(Side::Client, 4)), Confidence::Likely);
        let found = diagnose(&[icmp(Side::Server, 4)]);
        let evidence = &find(&found, "pmtu-blackhole").unwrap().evidence;
        assert!(
            evidence
                .iter()
                .any(|one| one.frame == 9 && one.fact.contains("1400 bytes"))
        );
    }

    #[test]
    fn loss_alone_is_no_black_hole() {
        let id = "pmtu-blackhole";
        assert!(!has(&lost(0, 4), id)); // acknowledged at last
        assert!(!has(&lost(700, 4), id)); // not a full segment
        assert!(!has(&lost(3_200, 1), id));
        let server = lost(3_200, 4).tcp(|tcp| tcp.closed_by = Some(Side::Server));
        assert!(!has(&server, id)); // the client may be gone altogether
        assert!(!has(&lost(3_200, 4).outcome(Outcome::Truncated), id));
        assert!(!has(
            &lost(3_200, 4).observed(|seen| seen.client_mss = None),
            id
        ));
    }

    #[test]
    fn a_flight_that_never_arrived_was_not_rejected() {
        let hidden = lost(3_200, 4)
            .tls13()
            .answer(0x0304, 0x1301)
            .outcome(Outcome::ClientAbort)
            .observed(|seen| seen.server_flight_bytes = Some(3_000));
        assert!(has(&hidden, "pmtu-blackhole"));
        assert!(!has(&hidden, "tls13-abort-hidden"));
        let arrived = hidden.observed(|seen| seen.server_flight_unacknowledged_bytes = Some(0));
        assert!(has(&arrived, "tls13-abort-hidden"));
    }
}
