//! Who wrote the events of a trace, counted: so that the summary shows what else a trace holds.

use super::events::{Event, Kind};
use crate::capture::le::Guid;
use std::collections::HashMap;

/// Names of providers that are worth knowing when the trace does not hold their names.
const NAMES: &[(Guid, &str)] = &[
    (super::ndis::NDIS, "Microsoft-Windows-NDIS-PacketCapture"),
    (super::pktmon::PKTMON, "Microsoft-Windows-PktMon"),
    (super::ndis::RAS, "Ras-NdisWan-PacketCapture"),
    (
        super::ndis::FILTER_PLATFORM,
        "Microsoft-Pef-WFP-MessageProvider",
    ),
    (super::evidence::SCHANNEL, "Schannel"),
    (
        Guid::new(0x91CC_1150, 0x71AA, 0x47E2, 0xAE18_C96E_6173_6B6F),
        "Microsoft-Windows-Schannel-Events",
    ),
    (
        Guid::new(0x37D2_C3CD, 0xC5D4, 0x4587, 0x8531_4696_C442_44C8),
        "Schannel (messages without text)",
    ),
    (super::evidence::HTTP_SYS, "Microsoft-Windows-HttpService"),
    (super::evidence::TCPIP, "Microsoft-Windows-TCPIP"),
    (
        Guid::new(0xE53C_6823, 0x7BB8, 0x44BB, 0x90DC_3F86_090D_48A6),
        "Microsoft-Windows-Winsock-AFD",
    ),
    (
        Guid::new(0x1C95_126E, 0x7EEA, 0x49A9, 0xA3FE_A378_B03D_DB4D),
        "Microsoft-Windows-DNS-Client",
    ),
    (
        Guid::new(0x50B3_E73C, 0x9370, 0x461D, 0xBB9F_26F3_2D68_887D),
        "Microsoft-Windows-WebIO",
    ),
    (
        Guid::new(0x7D44_233D, 0x3055, 0x4B9C, 0xBA64_0D47_CA40_A232),
        "Microsoft-Windows-WinHttp",
    ),
    (
        Guid::new(0x43D1_A55C, 0x76D6, 0x4F7E, 0x995C_64C7_11E5_CAFE),
        "Microsoft-Windows-WinINet",
    ),
    (
        Guid::new(0xA70F_F94F, 0x570B, 0x4979, 0xBA5C_E59C_9FEA_B61B),
        "Microsoft-Windows-WinINet-Capture",
    ),
    (
        Guid::new(0x5BBC_A4A8, 0xB209, 0x48DC, 0xA8C7_B23D_3E52_16FB),
        "Microsoft-Windows-CAPI2",
    ),
    (
        Guid::new(0x6600_E712, 0xC3B6, 0x44A2, 0x8A48_935C_511F_28C8),
        "Microsoft-Windows-Iphlpsvc-Trace",
    ),
    (
        super::metadata::SCHEMAS,
        "layouts of the trace's own events",
    ),
    (super::metadata::SYSTEM, "system configuration"),
    (
        Guid::new(0xED54_DFF8, 0xC409, 0x4CF6, 0xBF83_05E1_E61A_09C4),
        "system assessment",
    ),
    (Guid::new(0, 0, 0, 0), "Windows kernel"),
];

/// How many events a provider wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderCount {
    /// Who.
    pub provider: Guid,
    /// Its name, where it is known.
    pub name: Option<String>,
    /// Its events in this trace.
    pub events: u64,
}

/// Counts events by provider.
#[derive(Debug, Default)]
pub(super) struct Providers {
    counts: Vec<(Guid, u64)>,
    by_name: HashMap<Guid, usize>,
    last: usize,
    max: usize,
    /// Events of providers beyond the cap.
    pub(super) beyond_cap: u64,
    /// All events.
    pub(super) events: u64,
}

impl Providers {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// One more event.
    pub(super) fn count(&mut self, event: &Event<'_>) {
        self.events += 1;
        if event.kind == Kind::Other {
            return;
        }
        if let Some((provider, count)) = self.counts.get_mut(self.last)
            && *provider == event.provider
        {
            *count += 1;
            return;
        }
        if let Some(&at) = self.by_name.get(&event.provider) {
            self.last = at;
            if let Some((_, count)) = self.counts.get_mut(at) {
                *count += 1;
            }
        } else if self.counts.len() < self.max {
            self.last = self.counts.len();
            self.by_name.insert(event.provider, self.last);
            self.counts.push((event.provider, 1));
        } else {
            self.beyond_cap += 1;
        }
    }

    /// The counts, the largest first.
    pub(super) fn list(&self, names: &HashMap<Guid, String>) -> Vec<ProviderCount> {
        let mut counts = self.counts.clone();
        counts.sort_by_key(|(provider, events)| (std::cmp::Reverse(*events), *provider));
        let named = |(provider, events): (Guid, u64)| ProviderCount {
            provider,
            name: name(provider, names),
            events,
        };
        counts.into_iter().map(named).collect()
    }
}

fn name(provider: Guid, names: &HashMap<Guid, String>) -> Option<String> {
    let known = NAMES
        .iter()
        .find(|(known, _)| *known == provider)
        .map(|(_, name)| (*name).to_owned());
    known.or_else(|| names.get(&provider).cloned())
}
