//! What a trace says about its machine: product, names of interfaces, processes and providers.
//!
//! `netsh trace stop` and `pktmon stop` put this at the *end* of the trace, as classic events; the reader looks there
//! before it reads the packets. All of it is optional. Paths, command lines, SIDs and the log file's name are
//! personal and are not kept.

use super::events::{Event, Kind};
use super::packets::interface_row;
use crate::capture::le::{Fields, Guid, guid_at, u16_at, u32_at, utf16_at};
use std::collections::HashMap;

/// Schemas and enumerations of the events in the trace.
pub(super) const SCHEMAS: Guid = Guid::new(0xBBCC_F6C1, 0x6CD1, 0x48C4, 0x80FF_8394_82E3_7671);
/// The system about itself.
pub(super) const SYSTEM: Guid = Guid::new(0x9B79_EE91, 0xB5FD, 0x41C0, 0xA243_4248_E266_E9D0);
/// Bytes of a name that are kept.
const NAME_CHARS_MAX: usize = 256;

/// Names that a trace holds.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// "Windows Server 2022 Datacenter …".
    pub(super) product: Option<String>,
    /// Alias and description of each adapter and layer.
    pub(super) interfaces: HashMap<u32, (String, String)>,
    /// Image names of processes.
    pub(super) processes: HashMap<u32, String>,
    /// Names of providers, from the schemas of their events.
    pub(super) providers: HashMap<Guid, String>,
    /// Words for pktmon's drop reasons, in the language of the machine.
    pub(super) drop_reasons: HashMap<u32, String>,
    /// Which enumeration has those words.
    drop_reason_map: Option<String>,
    names_max: usize,
}

impl Metadata {
    pub(super) fn new(names_max: usize) -> Self {
        Self {
            names_max,
            ..Self::default()
        }
    }

    /// Takes any event and keeps what it says, if it is one that says something.
    pub(super) fn take(&mut self, event: &Event<'_>) -> Option<()> {
        match (event.kind, event.id) {
            (Kind::Full, 32) if event.provider == SYSTEM => {
                let mut fields = Fields(event.payload);
                fields.u64()?;
                fields.utf16();
                self.product = Some(short(fields.utf16())).filter(|product| !product.is_empty());
            }
            (Kind::Full, 36) if event.provider == SYSTEM => {
                let (index, alias, description) = interface_row(event.payload)?;
                keep(
                    &mut self.interfaces,
                    index,
                    (short(alias), short(description)),
                    self.names_max,
                );
            }
            (Kind::Full, 32) if event.provider == SCHEMAS => self.schema(event.payload)?,
            (Kind::Full, 33) if event.provider == SCHEMAS => self.enumeration(event.payload)?,
            (Kind::PerfInfo | Kind::System | Kind::Compact, 0x0301 | 0x0303 | 0x0304) => {
                self.process(event)?
            }
            _ => {}
        }
        Some(())
    }

    /// The kernel's list of processes, version 4 (Windows 8 and later).
    fn process(&mut self, event: &Event<'_>) -> Option<()> {
        let pointer = event.pointer_bytes;
        let mut fields = Fields(event.payload);
        fields.pointer(pointer)?;
        let process = fields.u32()?;
        fields.take(12)?;
        fields.pointer(pointer)?;
        fields.u32()?;
        if fields.u32()? != 0 {
            // The first field was the low half of the first of two pointers; the SID is behind them.
            fields.take(usize::from(pointer) * 2 - 4)?;
            let sid = fields.take(8)?;
            fields.take(usize::from(*sid.get(1)?) * 4)?;
        }
        let name = fields.latin();
        if !name.is_empty() {
            keep(&mut self.processes, process, short(name), self.names_max);
        }
        Some(())
    }

    /// The layout of one event (TRACE_EVENT_INFO): only the provider's name and one enumeration's are of use.
    fn schema(&mut self, blob: &[u8]) -> Option<()> {
        let provider = guid_at(blob, 0)?;
        let name_at = u32_at(blob, 0x34)? as usize;
        if name_at != 0 && !self.providers.contains_key(&provider) {
            let name = short(utf16_at(blob, name_at)?.trim_end().to_owned());
            keep(&mut self.providers, provider, name, self.names_max);
        }
        if provider == super::pktmon::PKTMON
            && u16_at(blob, 0x20)? == 170
            && self.drop_reason_map.is_none()
        {
            self.drop_reason_map = drop_reason_map(blob);
        }
        Some(())
    }

    /// An enumeration (EVENT_MAP_INFO) behind the provider's GUID.
    fn enumeration(&mut self, blob: &[u8]) -> Option<()> {
        if guid_at(blob, 0)? != super::pktmon::PKTMON {
            return Some(());
        }
        let map = blob.get(16..)?;
        let name = utf16_at(map, u32_at(map, 0)? as usize)?;
        let wanted = match &self.drop_reason_map {
            Some(wanted) => name.trim_end() == wanted,
            None => name.to_ascii_lowercase().contains("dropreason"),
        };
        if !wanted {
            return Some(());
        }
        let count = u32_at(map, 8)?.min(4096) as usize;
        for entry in map.get(16..)?.as_chunks::<8>().0.iter().take(count) {
            let (text_at, value) = (u32_at(entry, 0)?, u32_at(entry, 4)?);
            let text = utf16_at(map, text_at as usize)?;
            keep(
                &mut self.drop_reasons,
                value,
                short(text.trim_end().to_owned()),
                self.names_max,
            );
        }
        Some(())
    }
}

/// The name of the enumeration of the property "DropReason".
fn drop_reason_map(blob: &[u8]) -> Option<String> {
    let count = u32_at(blob, 0x64)?.min(4096) as usize;
    let properties = blob.get(0x70..)?.as_chunks::<24>().0.iter().take(count);
    for property in properties {
        if utf16_at(blob, u32_at(property, 4)? as usize)? == "DropReason" {
            let name = utf16_at(blob, u32_at(property, 12)? as usize)
                .filter(|_| u32_at(property, 12) != Some(0))?;
            return Some(name.trim_end().to_owned());
        }
    }
    None
}

fn keep<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V, max: usize) {
    if map.len() < max || map.contains_key(&key) {
        map.insert(key, value);
    }
}

fn short(name: String) -> String {
    if name.len() <= NAME_CHARS_MAX {
        name
    } else {
        name.chars().take(NAME_CHARS_MAX).collect()
    }
}
