//! DNS over port 53 (RFC 1035), by UDP and TCP: which names a client asked for, and what it was told.
//!
//! Two parts: [`message`] reads messages in place, [`waiting`] finds the question of an answer. What they say is kept by
//! [`record::Lookups`](crate::record::Lookups). Only types that lead to a connection are read ([`kind`]): addresses,
//! aliases, services; and of an answer only its answer section. Nothing here allocates but the bounded list of
//! questions under way.

pub mod message;
pub mod service;
pub mod waiting;

use crate::packet::Datagram;

/// The port of DNS (RFC 1035 section 4.2).
pub const PORT: u16 = 53;

/// Types of resource records that are read (IANA, "Resource Record (RR) TYPEs").
pub mod kind {
    /// An IPv4 address (RFC 1035 section 3.4.1).
    pub const A: u16 = 1;
    /// An alias (RFC 1035 section 3.3.1).
    pub const CNAME: u16 = 5;
    /// An IPv6 address (RFC 3596 section 2.1).
    pub const AAAA: u16 = 28;
    /// The servers of a service (RFC 2782): how Windows finds its domain controllers.
    pub const SRV: u16 = 33;
    /// How to reach a service (RFC 9460 section 2).
    pub const SVCB: u16 = 64;
    /// The same for HTTPS (RFC 9460 section 9).
    pub const HTTPS: u16 = 65;

    /// The name of a type whose questions are kept.
    pub fn name(kind: u16) -> Option<&'static str> {
        Some(match kind {
            A => "A",
            CNAME => "CNAME",
            AAAA => "AAAA",
            SRV => "SRV",
            SVCB => "SVCB",
            HTTPS => "HTTPS",
            _ => return None,
        })
    }
}

/// The name of a response code (IANA, "DNS RCODEs").
pub fn rcode_name(rcode: u8) -> Option<&'static str> {
    Some(match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        11 => "DSOTYPENI",
        _ => return None,
    })
}

/// The datagram is one of DNS: at its port, and its first bytes are those of a query or its response with one question.
#[inline]
pub fn is_datagram(datagram: &Datagram<'_>) -> bool {
    (datagram.destination_port == PORT || datagram.source_port == PORT)
        && message::is_lookup(datagram.payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Addresses;

    #[test]
    fn only_lookups_at_the_port_count() {
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
        let datagram = |source_port, destination_port, payload| Datagram {
            addresses: Addresses::V4 {
                source: 1,
                destination: 2,
            },
            source_port,
            destination_port,
            payload,
        };
        assert!(is_datagram(&datagram(999, 53, query)));
        assert!(is_datagram(&datagram(53, 999, query)));
        assert!(!is_datagram(&datagram(999, 5353, query)));
        // A dynamic update, a QUIC packet, nothing.
        let mut update = *query;
        update[2] = 0x28;
        assert!(!is_datagram(&datagram(999, 53, &update)));
        assert!(!is_datagram(&datagram(
            999,
            53,
            b"\xc0\0\0\0\x01\x08\0\0\0\0\0\0"
        )));
        assert!(!is_datagram(&datagram(999, 53, b"")));
    }
}
