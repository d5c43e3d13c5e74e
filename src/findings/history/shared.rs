//! What many handshakes share, each stored once for as long as a trace refers to it: servers, sorts and clients.

use super::numbers::{Addresses, Numbers, put};
use crate::findings::lists::{Clients, Gathered};
use crate::findings::trace::{Parts, Sort};
use crate::record::Endpoint;
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What a trace shares that lacks the numbers of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    pub(super) client: IpAddr,
    pub(super) sort: Sort,
    server: [u64; 3],
}

impl Fresh {
    pub(super) fn new(client: IpAddr, server: Endpoint, sort: Sort) -> Self {
        Self {
            client,
            sort,
            server: packed(server),
        }
    }

    pub(super) fn server(&self) -> Endpoint {
        unpacked(self.server)
    }
}

/// Servers, sorts and clients by number.
#[derive(Debug, Default)]
pub(super) struct Shared {
    servers: Numbers<[u64; 3]>,
    sorts: Numbers<[u64; 4]>,
    clients: Addresses,
    /// By their numbers; those of no trace among them.
    server_of: Vec<Endpoint>,
    sort_of: Vec<Sort>,
}

impl Shared {
    /// Gives traces the numbers of what they share. One table after the other: the processor waits for many places of a table
    /// at once, where look-ups do not depend on each other, and what it waited for is still at hand.
    ///
    /// `fresh` are those of the traces from `settled` on.
    pub(super) fn number(&mut self, fresh: &[Fresh], parts: &mut VecDeque<Parts>, settled: usize) {
        for (fresh, parts) in fresh.iter().zip(parts.range_mut(settled..)) {
            let (number, is_new) = self.servers.hold(&fresh.server);
            parts.server = number;
            if is_new {
                put(&mut self.server_of, number, fresh.server());
            }
        }
        for (fresh, parts) in fresh.iter().zip(parts.range_mut(settled..)) {
            let (number, is_new) = self.sorts.hold(&fresh.sort.packed());
            parts.sort = number;
            if is_new {
                put(&mut self.sort_of, number, fresh.sort);
            }
        }
        for (fresh, parts) in fresh.iter().zip(parts.range_mut(settled..)) {
            parts.client = self.clients.hold(fresh.client);
        }
    }

    /// A trace goes.
    pub(super) fn release(&mut self, parts: Parts) {
        if let Some(server) = self.server(parts.server) {
            self.servers.release(&packed(server));
        }
        if let Some(sort) = self.sort(parts.sort).map(Sort::packed) {
            self.sorts.release(&sort);
        }
        self.clients.release(parts.client);
    }

    /// Bytes held, and those that each server takes at the end. What is free counts: it was not given back.
    pub(super) fn bytes(&self) -> usize {
        const SERVER_BYTES: usize = 3 * size_of::<(Endpoint, Gathered)>();
        let at_end = self.server_of.len() * SERVER_BYTES;
        let lists = self.server_of.capacity() * size_of::<Endpoint>()
            + self.sort_of.capacity() * size_of::<Sort>();
        let tables = self.servers.bytes() + self.sorts.bytes() + self.clients.bytes();
        tables + lists + at_end
    }

    pub(super) fn server(&self, number: u32) -> Option<Endpoint> {
        self.server_of.get(usize::try_from(number).ok()?).copied()
    }

    pub(super) fn sort(&self, number: u32) -> Option<&Sort> {
        self.sort_of.get(usize::try_from(number).ok()?)
    }

    /// The sorts by their numbers; those of no trace among them.
    pub(super) fn sorts(&self) -> &[Sort] {
        &self.sort_of
    }

    pub(super) fn client(&self, number: u32) -> Option<IpAddr> {
        self.clients.get(number)
    }

    /// The clients, with the place of each trace's in place of its number.
    pub(super) fn clients(&mut self, mut of: Vec<u32>) -> Clients {
        let addresses = core::mem::take(&mut self.clients);
        for number in &mut of {
            *number = addresses.place(*number);
        }
        Clients::new(of, addresses)
    }

    /// The servers and the sorts by their numbers; those of no trace among them.
    pub(super) fn listed(self) -> (Vec<Endpoint>, Vec<Sort>) {
        (self.server_of, self.sort_of)
    }
}

/// What stands before the port of an IPv6 endpoint.
const V6: u64 = 1 << 16;

/// An endpoint in words that are quickly compared: half an address, the other half, the port.
fn packed(server: Endpoint) -> [u64; 3] {
    let port = u64::from(server.port);
    match server.ip {
        IpAddr::V4(ip) => [u64::from(ip.to_bits()), 0, port],
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            [bits as u64, (bits >> 64) as u64, V6 | port]
        }
    }
}

fn unpacked([low, high, port]: [u64; 3]) -> Endpoint {
    let ip = if port & V6 == 0 {
        IpAddr::V4(Ipv4Addr::from_bits(low as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(
            u128::from(high) << 64 | u128::from(low),
        ))
    };
    Endpoint {
        ip,
        port: port as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Settings, facts::Facts, history::History, testing::Make};

    fn fresh(server: &str) -> Fresh {
        let made = Make::new().server(server);
        let mut history = History::new(&Settings::default());
        history.add(&Facts::of(&made.record));
        history.fresh[0]
    }

    #[test]
    fn endpoints_stay_what_they_are() {
        for text in [
            "0.0.0.0:0",
            "255.255.255.254:65535",
            "[::]:0",
            "[::a00:5]:443",
            "[fe80::1:2:3]:1",
        ] {
            let server = Make::new().server(text).record.server;
            assert_eq!(unpacked(packed(server)), server);
        }
    }

    #[test]
    fn equal_values_have_one_number_and_those_of_no_trace_go() {
        let mut shared = Shared::default();
        let numbers = |shared: &mut Shared, servers: &[&str]| -> Vec<Parts> {
            let fresh: Vec<Fresh> = servers.iter().map(|server| fresh(server)).collect();
            let mut parts = vec![Parts::NONE; fresh.len()].into();
            shared.number(&fresh, &mut parts, 0);
            parts.into()
        };
        let servers =
            |traces: &[Parts]| -> Vec<u32> { traces.iter().map(|parts| parts.server).collect() };
        let (a, b, c) = ("10.0.0.5:443", "10.0.0.6:443", "10.0.0.7:443");
        let first = numbers(&mut shared, &[a, a, b]);
        assert_eq!(servers(&first), [0, 0, 1]);
        let both = shared.bytes();
        shared.release(first[0]);
        shared.release(first[1]);
        // Its number is given to another one.
        let next = numbers(&mut shared, &[c, a]);
        assert_eq!(servers(&next), [0, 2]);
        assert_eq!(shared.server(0), Some(fresh(c).server()));
        assert_eq!(shared.sort(next[0].sort), Some(&fresh(c).sort));
        assert_eq!((shared.servers.len(), shared.sorts.len()), (3, 1));
        assert!(shared.bytes() >= both);
        next.iter()
            .chain(&first[2..])
            .for_each(|parts| shared.release(*parts));
        assert_eq!((shared.servers.len(), shared.sorts.len()), (0, 0));
    }
}
