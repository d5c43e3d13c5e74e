//! The words in which the text report says what a record says in codes.

use super::HITS_BEYOND_CAP;
use crate::{
    record::{Alert, Code16, Handshake, Outcome, Severity, Side, Timestamp},
    stats::Skip,
    tls::code_points::{AlertDescription, CipherSuite, Version, is_grease},
};

/// How a handshake ended, for someone who does not know the codes.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NoSynAck => "no answer to the TCP SYN",
        Outcome::ConnectionRefused => "TCP connection refused (RST)",
        Outcome::NoClientHello => "TCP came up, but no ClientHello followed",
        Outcome::HelloUnanswered => "server never answered the ClientHello",
        Outcome::HelloReset => "server reset the connection upon the ClientHello",
        Outcome::HelloClosed => "server closed the connection upon the ClientHello",
        Outcome::ServerAlert => "server refused",
        Outcome::ClientAlert => "client gave up",
        Outcome::ClientAbort => "client left after the ServerHello, without an alert in clear",
        Outcome::LateFailure => "broke off before the server's Finished",
        Outcome::Established => "established",
        Outcome::EstablishedThenClosed => "established, but the client left at once",
        Outcome::Truncated => "incomplete in the capture",
    }
}

/// The alert that explains the outcome: of the side that ended it, the last fatal one.
pub(super) fn decisive_alert(record: &Handshake) -> Option<&Alert> {
    let from = match record.outcome {
        Outcome::ServerAlert => Some(Side::Server),
        Outcome::ClientAlert => Some(Side::Client),
        _ => None,
    };
    record
        .alerts
        .iter()
        .filter(|alert| from.is_none_or(|side| alert.from == side))
        .max_by_key(|alert| alert.level)
}

/// An alert with what the Windows side that received it puts into its event log.
pub(super) fn alert(alert: &Alert) -> String {
    let Some(code) = alert.code else {
        return "encrypted alert".to_owned();
    };
    let description = AlertDescription(code);
    let name = match (&alert.description, description.name()) {
        (Some(name), _) => name,
        (None, Some(name)) => name,
        (None, None) => "alert unknown to the RFCs",
    };
    match description.schannel_error() {
        Some((error, _)) => format!("{name} ({code}), in Windows {error}"),
        None => format!("{name} ({code})"),
    }
}

/// Why something was not analysed; the count goes in front.
pub(super) fn skip(why: Skip) -> &'static str {
    match why {
        Skip::LinkType => "packets of a link type that is not known",
        Skip::NotIp => "packets other than IPv4 and IPv6 (ARP and the like)",
        Skip::NotTcpUdp => "packets other than TCP and UDP (ICMP and the like)",
        Skip::Udp => "UDP packets",
        Skip::Fragment => "IP fragments whose packet is not whole in the capture",
        Skip::FragmentOverlap => "IP packets whose fragments contradict one another",
        Skip::FragmentCap => "IP packets given up at the fragment limit",
        Skip::Duplicate => "copies of packets seen on another interface, VLAN or hop, counted once",
        Skip::MalformedHeader => "packets whose headers contradict themselves",
        Skip::CutHeader => "packets cut within their headers: capture with a larger snap length",
        Skip::TooDeep => "packets with too many tags or tunnels inside one another",
        Skip::StreamGap => {
            "gaps in TCP streams: packets that the capture lacks, so it may have dropped some"
        }
        Skip::OutOfOrderCap => "TCP segments too far out of order",
        Skip::MessageCap => "handshake messages beyond the length limit",
        Skip::Evicted => "connections given up at the memory limit: --memory raises it",
        Skip::NoTls => "connections without TLS: --all-connections lists them",
        Skip::UnknownBlock => "blocks of the file that hold no packets",
    }
}

/// The same by its key in the summary; a key of a later version is shown as it is.
pub(super) fn skip_key(key: &str) -> String {
    if key == HITS_BEYOND_CAP {
        return "handshakes with a finding about more subjects than are kept".to_owned();
    }
    Skip::ALL
        .into_iter()
        .find(|why| why.as_str() == key)
        .map_or_else(|| key.replace('_', " "), |why| skip(why).to_owned())
}

/// The mark of a severity.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    }
}

/// A version as people write it.
pub(super) fn version(version: Code16) -> String {
    Version(version.0).to_string()
}

/// The best version that a client offers.
pub(super) fn best_offer(record: &Handshake) -> Option<Code16> {
    let shape = &record.client_hello.as_ref()?.shape;
    shape
        .supported_versions
        .iter()
        .flatten()
        .filter(|code| !is_grease(code.0))
        .max_by_key(|code| Version(code.0).rank())
        .copied()
        .or(Some(shape.legacy_version))
}

/// A cipher suite for a narrow column: `ECDHE_RSA AES_128_GCM_SHA256`. What is left out is the same for all.
pub(super) fn suite(suite: Code16) -> String {
    let name = CipherSuite(suite.0).to_string();
    name.trim_start_matches("TLS_").replacen("_WITH_", " ", 1)
}

/// `1 handshake`, `12,345 handshakes`.
pub(super) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// A number with commas between the thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2026-11-20 10:00:00`, in UTC.
pub(super) fn time(time: Timestamp) -> String {
    let text = time.to_string();
    let seconds = text.split('.').next().unwrap_or(&text);
    seconds.replacen('T', " ", 1)
}

/// `2026-11-20 10:00:00 to 10:05:12 UTC`: what both have in common stands once.
pub(super) fn span(first: Timestamp, last: Timestamp) -> String {
    let (first, last) = (time(first), time(last));
    match (first.split_once(' '), last.split_once(' ')) {
        _ if first == last => format!("{first} UTC"),
        (Some((day, _)), Some((same, hour))) if day == same => format!("{first} to {hour} UTC"),
        _ => format!("{first} to {last} UTC"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times() {
        assert_eq!(count(1, "handshake"), "1 handshake");
        assert_eq!(count(0, "packet"), "0 packets");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        let start = Timestamp(1_700_000_000_999_999_999);
        assert_eq!(time(start), "2023-11-14 22:13:20");
        assert_eq!(span(start, start), "2023-11-14 22:13:20 UTC");
        let later = Timestamp(start.0 + 60_000_000_000);
        assert_eq!(span(start, later), "2023-11-14 22:13:20 to 22:14:20 UTC");
        let day = Timestamp(start.0 + 86_400_000_000_000);
        assert_eq!(
            span(start, day),
            "2023-11-14 22:13:20 to 2023-11-15 22:13:20 UTC"
        );
    }

    #[test]
    fn suites_are_short_and_known_by_name() {
        assert_eq!(suite(Code16(0xc02f)), "ECDHE_RSA AES_128_GCM_SHA256");
        assert_eq!(suite(Code16(0x1301)), "AES_128_GCM_SHA256");
        assert_eq!(suite(Code16(0x13ff)), "0x13ff");
    }

    #[test]
    fn each_reason_has_its_own_words() {
        for why in Skip::ALL {
            assert_eq!(skip_key(why.as_str()), skip(why));
        }
        assert_eq!(skip_key("packets_of_tomorrow"), "packets of tomorrow");
        for one in Outcome::ALL {
            assert!(
                Outcome::ALL
                    .into_iter()
                    .all(|other| one == other || outcome(one) != outcome(other))
            );
        }
    }

    #[test]
    fn alerts_name_the_windows_error() {
        let refused = Alert {
            frame: 7,
            from: Side::Server,
            level: Some(2),
            code: Some(40),
            description: Some("handshake_failure".into()),
            encrypted: false,
        };
        assert_eq!(
            alert(&refused),
            "handshake_failure (40), in Windows SEC_E_ILLEGAL_MESSAGE"
        );
        let hidden = Alert {
            level: None,
            code: None,
            description: None,
            encrypted: true,
            ..refused
        };
        assert_eq!(alert(&hidden), "encrypted alert");
    }
}
