//! Windows event traces (`.etl`): what `netsh trace start capture=yes` and `pktmon` record.
//!
//! ```text
//! buffers of each processor (index, container, xpress) → events in order of time (merge, events, clock)
//!     → packets (ndis, pktmon, packets, sightings), names (metadata), evidence, and counts of the rest (providers)
//! ```
//!
//! There is no public specification. The layouts were checked against real traces of Windows 7 to 11, and
//! against what Microsoft's converter and independent readers make of them. A trace needs a file: buffers of
//! different processors overlap in time, and the names of things come last.

mod clock;
mod container;
mod decode;
mod events;
mod evidence;
mod index;
mod merge;
mod metadata;
mod ndis;
mod packets;
mod pktmon;
mod providers;
mod sightings;
mod summary;
mod xpress;

pub use super::le::Guid;
pub use clock::ClockKind;
pub use container::matches;
pub use evidence::{Evidence, Fact, Lost};
pub use packets::{Direction, Interface, PacketExtra, Place};
pub use pktmon::Component;
pub use providers::ProviderCount;
pub use summary::{Note, TraceSummary};

pub(super) use clock::filetime_ns;
pub(super) use events::Event;
pub(super) use index::read_up_to;
pub(super) use ndis::{NDIS, Ndis};
pub(super) use packets::{ETHERNET, Found, Packets, RAW_IP, WIFI, append};
pub(super) use pktmon::{PKTMON, PktMon};

use super::block::Block;
use crate::{error::Error, limits::Limits};
use clock::Clock;
use container::{BufferHeader, HEADER_BYTES, LogfileHeader};
use decode::Decoder;
use index::{Caps, Faults};
use merge::Merge;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes read to find the trace's own header.
const FIRST_BYTES: usize = 4096;
/// Events that one block may take, so that a trace of other things lets its reader breathe.
const BLOCK_EVENTS_MAX: usize = 1 << 18;
/// Bytes of buffers that are looked at for names before the packets are read; at least one buffer a processor.
const NAMES_BYTES_MAX: u64 = 8 << 20;

/// Reads the packets of a trace in order of time.
pub struct EtlReader<R> {
    merge: Merge<R>,
    clock: Clock,
    decoder: Decoder,
    header: LogfileHeader,
    faults: Faults,
    name: String,
    file_bytes: u64,
    block_bytes: usize,
    first_packet_ns: Option<i64>,
    /// All events were read; what is wrong with the file is still to be said.
    ended: bool,
}

impl<R: Read + Seek> EtlReader<R> {
    /// Opens a trace: reads the headers of all its buffers, and the names at its end.
    pub fn open(mut reader: R, name: &str, limits: &Limits) -> Result<Self, Error> {
        let io = |source| Error::Io {
            name: name.to_owned(),
            source,
        };
        let file_bytes = reader.seek(SeekFrom::End(0)).map_err(io)?;
        if file_bytes == 0 {
            return Err(Error::Empty {
                name: name.to_owned(),
            });
        }
        let (header, first_stamp) = read_header(&mut reader, name)?;
        let caps = Caps {
            buffers_max: limits.trace_buffers_max,
            streams_max: limits.trace_names_max,
        };
        let index = index::scan(&mut reader, file_bytes, &header, caps).map_err(io)?;
        let mut decoder = Decoder::new(limits);
        decoder
            .read_names(&mut reader, &index.streams, NAMES_BYTES_MAX)
            .map_err(io)?;
        Ok(Self {
            merge: Merge::new(reader, index.streams, limits.trace_open_bytes_max),
            clock: Clock::new(&header, first_stamp),
            decoder,
            header,
            faults: index.faults,
            name: name.to_owned(),
            file_bytes,
            block_bytes: limits.block_bytes,
            first_packet_ns: None,
            ended: false,
        })
    }

    /// Shows a packet each time it was seen, at each place, instead of once.
    pub fn show_all_sightings(&mut self) {
        self.decoder.packets.show_all();
    }

    /// Fills `block` with the next packets. `false`: that was the last block (it may hold packets).
    pub fn fill(&mut self, block: &mut Block) -> Result<bool, Error> {
        block.clear();
        self.decoder.packets.begin_block();
        if self.ended {
            return self.end();
        }
        for _ in 0..BLOCK_EVENTS_MAX {
            if block.filled >= self.block_bytes {
                break;
            }
            let event = self.merge.next().map_err(|source| Error::Io {
                name: self.name.clone(),
                source,
            });
            let Some(event) = event.inspect_err(|_| self.ended = true)? else {
                self.ended = true;
                self.decoder.ndis.finish(&mut self.decoder.packets, block);
                break;
            };
            self.decoder.take(&event, &self.clock, block);
        }
        if let (None, Some(first)) = (self.first_packet_ns, block.packets.first()) {
            self.first_packet_ns = Some(first.time_ns);
        }
        // A fault is told after the packets before it.
        Ok(!self.ended || self.faults.cut_at.is_some())
    }

    fn end(&mut self) -> Result<bool, Error> {
        match self.faults.cut_at.take() {
            Some(offset) => {
                let expected = "the rest of a buffer should be here".to_owned();
                Err(Error::Cut {
                    name: self.name.clone(),
                    offset,
                    expected,
                })
            }
            None => Ok(false),
        }
    }
}

impl<R> EtlReader<R> {
    /// What the trace knows of a packet of the block that was filled last.
    pub fn extra(&self, frame: u64) -> Option<&PacketExtra> {
        self.decoder.packets.extra(frame)
    }

    /// What Windows itself wrote about TLS, since the last call.
    pub fn take_evidence(&mut self) -> Vec<Evidence> {
        self.decoder.take_evidence()
    }

    /// The interfaces seen so far, in the order of the packets' interface numbers.
    pub fn interfaces(&self) -> Vec<Interface> {
        self.decoder.interfaces()
    }

    /// Number of interfaces seen so far.
    pub fn interface_count(&self) -> usize {
        self.decoder.packets.places().len()
    }

    /// The machine's own words for all drop reasons: in its language, for people only.
    pub fn drop_reasons(&self) -> impl Iterator<Item = (u32, &str)> {
        let reasons = self.decoder.metadata.drop_reasons.iter();
        reasons.map(|(reason, words)| (*reason, words.as_str()))
    }

    /// The image name of a process, where the trace has it.
    pub fn process_name(&self, process: u32) -> Option<&str> {
        self.decoder
            .metadata
            .processes
            .get(&process)
            .map(String::as_str)
    }

    /// The machine's own words for a drop reason: in its language, for people only.
    pub fn drop_reason_words(&self, reason: u32) -> Option<&str> {
        self.decoder
            .metadata
            .drop_reasons
            .get(&reason)
            .map(String::as_str)
    }

    /// Size of the file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes of the file that were read.
    pub fn offset(&self) -> u64 {
        self.merge.bytes_read()
    }

    /// The facts of the trace, as far as it was read.
    pub fn summary(&self) -> TraceSummary {
        let counts = self.decoder.packets.counts;
        TraceSummary {
            build: self.header.build,
            product: self.decoder.metadata.product.clone(),
            processors: self.header.processors,
            clock: self.clock.kind(),
            bias_minutes: self.header.bias_minutes,
            begin_ns: filetime_ns(self.header.start_filetime),
            end_ns: (self.header.end_filetime != 0).then(|| filetime_ns(self.header.end_filetime)),
            events: self.decoder.providers.events,
            packets: counts.packets,
            packets_folded: counts.folded,
            drops: counts.drops,
            providers: self
                .decoder
                .providers
                .list(&self.decoder.metadata.providers),
            events_lost: self.header.events_lost,
            buffers_lost: self.header.buffers_lost,
            notes: self.notes(),
        }
    }

    fn notes(&self) -> Vec<Note> {
        let (header, faults, damage) = (&self.header, &self.faults, self.merge.damage());
        let decoder = &self.decoder;
        let (counts, joins) = (decoder.packets.counts, decoder.ndis.joins);
        let marked = faults.lossy;
        let buffers = faults.damaged + damage.buffers;
        let events = damage.events + decoder.unreadable;
        let left_out = decoder.beyond_caps();
        let pktmon = decoder.interfaces_of_pktmon();
        let all = [
            (header.end_filetime == 0).then_some(Note::NotClosed),
            header.circular().then_some(Note::Circular),
            self.began_later(),
            (header.events_lost > 0 || header.buffers_lost > 0 || marked > 0).then_some(
                Note::Lost {
                    events: header.events_lost,
                    buffers: header.buffers_lost,
                    marked,
                },
            ),
            (decoder.pktmon.filtered || decoder.ndis.rules > 0).then_some(Note::Filtered),
            (counts.cut > 0).then_some(Note::PacketsCut {
                packets: counts.cut,
                bytes: counts.cut_at,
                pktmon,
            }),
            (self.ended && counts.packets == 0).then_some(Note::NoPackets),
            faults
                .compression
                .map(|format| Note::Compression { format }),
            (buffers > 0 || events > 0).then_some(Note::Damaged { buffers, events }),
            (joins.headless > 0 || joins.endless > 0).then_some(Note::HalfPackets {
                headless: joins.headless,
                endless: joins.endless,
            }),
            (faults.beyond_caps > 0 || left_out > 0).then_some(Note::BeyondCaps {
                buffers: faults.beyond_caps,
                events: left_out,
            }),
            (damage.unordered > 0).then_some(Note::Unordered {
                buffers: damage.unordered,
            }),
            (decoder.pktmon.other_media > 0).then_some(Note::OtherMedia {
                events: decoder.pktmon.other_media,
            }),
            faults.blank_tail.then_some(Note::BlankTail),
        ];
        all.into_iter().flatten().collect()
    }

    /// After `netsh trace stop` nothing says that a circular trace wrapped around: its size and first packet do.
    fn began_later(&self) -> Option<Note> {
        let full = u64::from(self.header.file_mib_max) << 20;
        let seconds = self
            .first_packet_ns?
            .saturating_sub(filetime_ns(self.header.start_filetime))
            / 1_000_000_000;
        (full > 0 && self.file_bytes >= full / 10 * 9 && seconds > 10)
            .then_some(Note::BeganLater { seconds })
    }
}

/// The trace's own header and the stamp of the event that holds it.
fn read_header<R: Read + Seek>(reader: &mut R, name: &str) -> Result<(LogfileHeader, i64), Error> {
    let io = |source: io::Error| Error::Io {
        name: name.to_owned(),
        source,
    };
    let mut first = [0; FIRST_BYTES];
    reader.seek(SeekFrom::Start(0)).map_err(io)?;
    let filled = read_up_to(reader, &mut first).map_err(io)?;
    let first = first.get(..filled).unwrap_or_default();
    if !matches(first) || BufferHeader::parse(first).is_none() {
        let found = "it does not begin as a Windows event trace does".to_owned();
        return Err(Error::NotACapture {
            name: name.to_owned(),
            found,
        });
    }
    let event = first.get(HEADER_BYTES..).unwrap_or_default();
    let header = events::first(event)
        .and_then(|event| Some((LogfileHeader::parse(event.payload)?, event.stamp)));
    header.ok_or_else(|| {
        let expected = "the description of the trace should be here".to_owned();
        Error::Broken {
            name: name.to_owned(),
            offset: HEADER_BYTES as u64,
            expected,
        }
    })
}
