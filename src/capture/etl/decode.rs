//! Each event goes to the decoder of its provider; all are counted, and few are looked into.

use super::clock::Clock;
use super::events::{self, Event, Step};
use super::evidence::{Evidence, Ledger};
use super::index::Entry;
use super::merge::{self, Damage};
use super::metadata::Metadata;
use super::ndis::{self, NDIS, Ndis, RAS};
use super::packets::{Interface, Packets, Place};
use super::pktmon::{PKTMON, PktMon};
use super::providers::Providers;
use crate::capture::block::Block;
use crate::limits::Limits;
use std::io::{self, Read, Seek};

/// All decoders of a trace.
pub(super) struct Decoder {
    pub(super) packets: Packets,
    pub(super) ndis: Ndis,
    pub(super) pktmon: PktMon,
    pub(super) metadata: Metadata,
    pub(super) providers: Providers,
    evidence: Ledger,
    /// Events of known layouts that are shorter than they must be.
    pub(super) unreadable: u64,
    names_max: usize,
}

impl Decoder {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            packets: Packets::new(limits),
            ndis: Ndis::new(limits),
            pktmon: PktMon::default(),
            metadata: Metadata::new(limits.trace_names_max),
            providers: Providers::new(limits.trace_names_max),
            evidence: Ledger::default(),
            unreadable: 0,
            names_max: limits.trace_names_max,
        }
    }

    /// Takes the next event.
    pub(super) fn take(&mut self, event: &Event<'_>, clock: &Clock, block: &mut Block) {
        self.providers.count(event);
        let done = if event.provider == NDIS {
            self.ndis
                .take(event, clock.ns(event.stamp), &mut self.packets, block)
        } else if event.provider == PKTMON {
            self.describe(event).and_then(|()| {
                self.pktmon
                    .take(event, clock.ns(event.stamp), &mut self.packets, block)
            })
        } else if event.provider == RAS {
            ndis::remote_access(event, clock.ns(event.stamp), &mut self.packets, block)
        } else {
            // Names have come already, and what is missing of evidence is no damage.
            self.describe(event);
            self.evidence.take(event, clock.ns(event.stamp));
            Some(())
        };
        self.unreadable += u64::from(done.is_none());
    }

    /// Keeps the names that an event tells.
    fn describe(&mut self, event: &Event<'_>) -> Option<()> {
        if event.provider == PKTMON {
            return self.pktmon.describe(event, self.names_max);
        }
        // Old layouts of the same events are no damage.
        let _ = self.metadata.take(event);
        Some(())
    }

    /// Looks for names in the last buffers of each processor, where the end of the recording put them.
    pub(super) fn read_names<R: Read + Seek>(
        &mut self,
        reader: &mut R,
        streams: &[Vec<Entry>],
        bytes_max: u64,
    ) -> io::Result<()> {
        let (mut packed, mut bytes, mut spent) = (Vec::new(), Vec::new(), 0);
        let rounds = streams.iter().map(Vec::len).max().unwrap_or(0);
        for round in 0..rounds {
            if spent > bytes_max {
                break;
            }
            for entry in streams
                .iter()
                .filter_map(|stream| stream.iter().rev().nth(round))
            {
                if spent > bytes_max.saturating_mul(8) {
                    break;
                }
                spent += u64::from(entry.event_bytes);
                merge::open(
                    reader,
                    entry,
                    &mut packed,
                    &mut bytes,
                    &mut Damage::default(),
                )?;
                self.names_of(&bytes);
            }
        }
        Ok(())
    }

    fn names_of(&mut self, body: &[u8]) {
        let mut at = 0;
        while let Step::Event(head) = events::look(body, at) {
            let event = body
                .get(at..at + head.size)
                .and_then(|bytes| Event::parse(head, bytes));
            if let Some(event) = event {
                self.describe(&event);
            }
            at += head.size.next_multiple_of(8);
        }
    }

    /// What was left out at one of the caps.
    pub(super) fn beyond_caps(&self) -> u64 {
        let counts = self.packets.counts;
        self.providers.beyond_cap
            + counts.unusable
            + self.ndis.joins.beyond_cap
            + self.evidence.beyond_cap()
    }

    /// Did pktmon record packets here?
    pub(super) fn interfaces_of_pktmon(&self) -> bool {
        self.packets
            .places()
            .iter()
            .any(|place| matches!(place, Place::Component(_)))
    }

    /// The evidence since the last call.
    pub(super) fn take_evidence(&mut self) -> Vec<Evidence> {
        self.evidence.take_all()
    }

    /// The places where packets were seen, with what is known of them.
    pub(super) fn interfaces(&self) -> Vec<Interface> {
        self.packets
            .places()
            .iter()
            .map(|place| self.interface(*place))
            .collect()
    }

    fn interface(&self, place: Place) -> Interface {
        let adapter = |index| self.metadata.interfaces.get(&index).cloned().unzip();
        let (name, description) = match place {
            Place::Adapter { adapter: index, .. } | Place::SwitchPort { adapter: index, .. } => {
                adapter(index)
            }
            Place::Component(number) => match self.pktmon.components.get(&number) {
                Some(component) => (
                    Some(component.name.clone()),
                    Some(component.description.clone()),
                ),
                None => (None, None),
            },
            _ => (None, None),
        };
        let name = name.filter(|name| !name.is_empty());
        let description = description.filter(|description| !description.is_empty());
        Interface {
            place,
            name,
            description,
        }
    }
}
