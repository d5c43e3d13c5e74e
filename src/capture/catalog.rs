//! Names that records show: of captures, of their interfaces, and what a system calls its reasons to drop a packet.
//!
//! The reader adds a name before the first block that needs it; each block travels with the catalog as it
//! was then. Names are never taken away, so that a conversation can use the numbers of any block before.

use std::collections::HashMap;
use std::sync::Arc;

/// Names kept of each kind; a capture that has more is hostile.
const NAMES_MAX: usize = 65_536;

/// The names of a run.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    captures: Vec<Arc<str>>,
    /// By capture and interface.
    interfaces: HashMap<(u32, u32), Arc<str>>,
    /// By capture and reason.
    drop_reasons: HashMap<(u32, u32), Arc<str>>,
}

impl Catalog {
    /// Adds a capture and gives its number.
    pub fn add_capture(&mut self, name: &str) -> u32 {
        self.captures.push(name.into());
        (self.captures.len() - 1) as u32
    }

    /// The name of a capture as given on the command line.
    pub fn capture(&self, number: u32) -> Arc<str> {
        let name = self.captures.get(number as usize).cloned();
        name.unwrap_or_else(|| "".into())
    }

    /// Names an interface of a capture.
    pub fn name_interface(&mut self, capture: u32, interface: u32, name: &str) {
        if self.interfaces.len() < NAMES_MAX {
            self.interfaces.insert((capture, interface), name.into());
        }
    }

    /// The name of an interface, where the capture has it.
    pub fn interface(&self, capture: u32, interface: u32) -> Option<Arc<str>> {
        self.interfaces.get(&(capture, interface)).cloned()
    }

    /// Says in words why a system drops packets.
    pub fn name_drop_reason(&mut self, capture: u32, reason: u32, words: &str) {
        if self.drop_reasons.len() < NAMES_MAX {
            self.drop_reasons.insert((capture, reason), words.into());
        }
    }

    /// The system's own words for a reason: in its language, for people only.
    pub fn drop_reason(&self, capture: u32, reason: u32) -> Option<&str> {
        self.drop_reasons
            .get(&(capture, reason))
            .map(|words| &**words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_capture_and_number_and_are_bounded() {
        let mut catalog = Catalog::default();
        let (a, b) = (
            catalog.add_capture("a.pcapng"),
            catalog.add_capture("b.pcapng"),
        );
        catalog.name_interface(a, 0, "eth0");
        catalog.name_drop_reason(b, 909, "INSPECTION_DROP");
        assert_eq!(
            (&*catalog.capture(b), &*catalog.capture(9)),
            ("b.pcapng", "")
        );
        assert_eq!(catalog.interface(a, 0).as_deref(), Some("eth0"));
        assert_eq!(catalog.interface(b, 0), None);
        assert_eq!(catalog.drop_reason(b, 909), Some("INSPECTION_DROP"));
        assert_eq!(catalog.drop_reason(a, 909), None);
        for number in 0..NAMES_MAX as u32 + 10 {
            catalog.name_interface(b, number, "x");
        }
        assert_eq!(catalog.interfaces.len(), NAMES_MAX);
    }
}
