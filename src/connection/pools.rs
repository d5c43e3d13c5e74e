//! Memory of conversations and records that are over, for those that follow.

use super::Connection;
use super::session::Session;
use crate::pool::Pool;
use crate::record::{Chain, Handshake, Observed, copy::Interner};
use std::borrow::Cow;

/// Lists kept.
const LISTS_MAX: usize = 64;

/// Spent boxes of each kind that a connection takes.
#[derive(Debug, Default)]
pub struct Pools {
    /// Conversations under way.
    pub connections: Pool<Connection>,
    pub(super) sessions: Pool<Session>,
    pub(super) records: Pool<Handshake>,
    pub(super) observed: Pool<Observed>,
    /// Empty lists for the ids of findings.
    pub(super) findings: Vec<Vec<Cow<'static, str>>>,
}

impl Pools {
    /// Takes a record that left the pipe, with the boxes in it.
    pub fn take_back(&mut self, mut record: Box<Handshake>, interner: &mut Interner) {
        if let Some(observed) = record.observed.take() {
            self.observed.take_back(observed);
        }
        if let Some(hello) = record.client_hello.take() {
            interner.client_hellos.take_back(hello);
        }
        if let Some(hello) = record.server_hello.take() {
            interner.server_hellos.take_back(hello);
        }
        // Certificates can be large, and boxes wait.
        record.certificates = Chain::default();
        record.client_certificates = Chain::default();
        let mut findings = core::mem::take(&mut record.findings);
        if findings.capacity() > 0 && self.findings.len() < LISTS_MAX {
            findings.clear();
            self.findings.push(findings);
        }
        self.records.take_back(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_wait_without_certificates() {
        let mut lines = include_str!("../../captures/tls12.pcap.ndjson").lines();
        let record: Handshake = lines
            .find_map(|line| serde_json::from_str(line).ok())
            .unwrap();
        let chain = record.certificates.clone();
        assert!(chain.is_shared());
        let (mut pools, mut interner) = (Pools::default(), Interner::new(0));
        pools.take_back(Box::new(record), &mut interner);
        assert!(!chain.is_shared());
    }
}
