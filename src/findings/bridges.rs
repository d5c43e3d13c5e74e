//! Proxies that encrypt again: the servers behind one are no farm together with it.
//!
//! A name stands for the proxy towards clients and for the servers behind it, and these may have other settings and other
//! certificates on purpose. Where they must not, `bridge-cert-mismatch` says so.

use super::past::Past;
use super::proxy::{Leg, legs};
use super::survey::Report;
use crate::record::Endpoint;
use hashbrown::HashSet;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Proxies that encrypt again, by where clients reach them, with the servers behind each.
pub(super) struct Bridges(BTreeMap<Endpoint, BTreeSet<Endpoint>>);

impl Bridges {
    /// All of them.
    pub(super) fn of(report: &Report<'_>) -> Self {
        let past = report.past;
        let proxies = &report.settings.proxies;
        let may_be = |ip: IpAddr| {
            past.clients.number(ip).is_some() || proxies.iter().any(|known| known.ip == ip)
        };
        let mut found: BTreeMap<Endpoint, BTreeSet<Endpoint>> = BTreeMap::new();
        // Most servers call nobody.
        if !past.servers.keys().any(|server| may_be(server.ip)) {
            return Self(found);
        }
        for leg in legs(report) {
            let behind = behind(past, &leg);
            for (_, front) in past.of(&leg.front) {
                let known = found.entry(front.server).or_default();
                known.extend(&behind);
            }
        }
        Self(found)
    }

    /// Leaves out those that are proxies in front of others.
    pub(super) fn set_apart(&self, members: &mut BTreeSet<Endpoint>) {
        if members.iter().any(|member| self.0.contains_key(member)) {
            let all = members.clone();
            members.retain(|member| !self.leads_to(*member, &all));
        }
    }

    /// The server is a proxy in front of some of these, which do not call it in turn.
    pub(super) fn leads_to(&self, front: Endpoint, others: &BTreeSet<Endpoint>) -> bool {
        let leads = |from: &Endpoint, to: &Endpoint| {
            self.0.get(from).is_some_and(|behind| behind.contains(to))
        };
        let mut behind = others.iter().filter(|other| leads(&front, other));
        behind.any(|other| !leads(other, &front))
    }
}

/// The servers behind a proxy. Learned ones that a client of the proxy asks by itself are its peers: a balancer spreads
/// clients over servers that call each other.
fn behind(past: &Past, leg: &Leg) -> BTreeSet<Endpoint> {
    let servers: BTreeSet<Endpoint> = past.of(&leg.back).map(|(_, trace)| trace.server).collect();
    let clients: HashSet<IpAddr> = past.of(&leg.front).map(|(_, one)| *one.client).collect();
    let is_peer = |server: &Endpoint| {
        let mut all = past.of(past.at(server));
        all.any(|(_, trace)| clients.contains(trace.client))
    };
    let behind = servers.into_iter();
    behind
        .filter(|server| leg.configured || !is_peer(server))
        .collect()
}
