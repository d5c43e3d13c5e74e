//! Which names clients asked DNS for, and which addresses they were told.

use crate::record::{Dns, Lookup, Timestamp};
use hashbrown::HashMap;
use std::net::IpAddr;

/// Names by address, as DNS told them.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    dns: Dns,
    /// By address: lookups whose answers held it, in the order in which they were asked first.
    by_address: HashMap<IpAddr, Vec<u32>>,
}

impl Resolved {
    pub(super) fn new(dns: Dns) -> Self {
        let mut by_address: HashMap<IpAddr, Vec<u32>> = HashMap::new();
        for (number, lookup) in (0..).zip(&dns.lookups) {
            let hints = lookup.services.iter().flat_map(|service| &service.hints);
            for ip in lookup.addresses.iter().chain(hints) {
                let list = by_address.entry(*ip).or_default();
                if list.last() != Some(&number) {
                    list.push(number);
                }
            }
        }
        Self { dns, by_address }
    }

    /// Everything that was told; `lookups` in the order in which they were asked first. No lookup at all: the capture
    /// shows no DNS, and the absence of an answer means nothing.
    pub(super) fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Lookups of any client whose answers held this address.
    pub(super) fn lookups_of(&self, address: IpAddr) -> impl Iterator<Item = &Lookup> {
        let numbers = self.by_address.get(&address).into_iter().flatten();
        numbers.filter_map(|number| self.dns.lookups.get(*number as usize))
    }

    /// The name under which a client sought an address: the one that it asked for last before it connected.
    pub(super) fn name(&self, client: IpAddr, address: IpAddr, at: Timestamp) -> Option<&str> {
        self.lookups_of(address)
            .filter(|lookup| lookup.client == client && lookup.first_seen <= at)
            .last()
            .map(|lookup| &*lookup.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(client: &str, name: &str, at: i64, addresses: &[&str]) -> Lookup {
        let value = serde_json::json!({
            "client": client, "name": name, "kind": "A", "capture": "a.pcap", "frame": 1, "queries": 1, "answers": 1,
            "first_seen": Timestamp(at), "last_seen": Timestamp(at), "addresses": addresses,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_name_asked_for_last_before_the_connection_counts() {
        let lookups = vec![
            lookup("10.0.0.1", "old.example", 1, &["192.0.2.1"]),
            lookup("10.0.0.1", "mail.example", 2, &["192.0.2.1", "192.0.2.2"]),
            lookup("10.0.0.2", "other.example", 3, &["192.0.2.1"]),
            lookup("10.0.0.1", "later.example", 9, &["192.0.2.1"]),
        ];
        let resolved = Resolved::new(Dns {
            lookups,
            ..Dns::default()
        });
        let name = |client: &str, address: &str, at| {
            resolved.name(
                client.parse().unwrap(),
                address.parse().unwrap(),
                Timestamp(at),
            )
        };
        assert_eq!(name("10.0.0.1", "192.0.2.1", 5), Some("mail.example"));
        assert_eq!(name("10.0.0.1", "192.0.2.1", 1), Some("old.example"));
        assert_eq!(name("10.0.0.2", "192.0.2.1", 5), Some("other.example"));
        assert_eq!(name("10.0.0.2", "192.0.2.2", 5), None);
        assert_eq!(resolved.lookups_of([192, 0, 2, 1].into()).count(), 4);
    }
}
