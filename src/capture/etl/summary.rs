//! What a trace says about itself and what reading it showed: the facts that a reader of findings needs before
//! they believe that something which is not in the trace did not happen.

use super::clock::ClockKind;
use super::providers::ProviderCount;
use std::fmt;

/// The facts of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSummary {
    /// Build of Windows.
    pub build: u32,
    /// Product name, where the trace has it.
    pub product: Option<String>,
    /// Processors of the machine.
    pub processors: u32,
    /// What stamps the events.
    pub clock: ClockKind,
    /// Minutes that lead from the machine's own time to UTC.
    pub bias_minutes: i32,
    /// When recording began, nanoseconds since 1970, UTC.
    pub begin_ns: i64,
    /// When recording ended, where it did.
    pub end_ns: Option<i64>,
    /// Events of all kinds.
    pub events: u64,
    /// Packets that were shown.
    pub packets: u64,
    /// Sightings of packets that were seen elsewhere before.
    pub packets_folded: u64,
    /// Notices of packets that the system dropped.
    pub drops: u64,
    /// Events by provider, the most frequent first.
    pub providers: Vec<ProviderCount>,
    /// Events that the system says it lost.
    pub events_lost: u32,
    /// Buffers that the system says it lost.
    pub buffers_lost: u32,
    /// What a reader should know.
    pub notes: Vec<Note>,
}

/// What a reader of the results should know about the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The trace was copied while it was running, or the machine stopped.
    NotClosed,
    /// The newest part overwrites the oldest.
    Circular,
    /// The file reached its size and its first packet is that much younger than the recording.
    BeganLater {
        /// Seconds between the start of recording and the first packet.
        seconds: i64,
    },
    /// The system lost events or buffers.
    Lost {
        /// Events.
        events: u32,
        /// Buffers.
        buffers: u32,
        /// Buffers of the file that are marked so.
        marked: u64,
    },
    /// The capture was filtered.
    Filtered,
    /// Packets are cut.
    PacketsCut {
        /// How many.
        packets: u64,
        /// The longest of them.
        bytes: u32,
        /// Did pktmon record them?
        pktmon: bool,
    },
    /// There is no packet in it.
    NoPackets,
    /// The buffers are compressed in a way that is not known here.
    Compression {
        /// Windows' number of it.
        format: u32,
    },
    /// Buffers or events that contradict themselves.
    Damaged {
        /// Buffers that were left early.
        buffers: u64,
        /// Events that were passed over.
        events: u64,
    },
    /// Packets of which the trace has only a part of the fragments.
    HalfPackets {
        /// Without a beginning: passed over.
        headless: u64,
        /// Without an end: shown as cut.
        endless: u64,
    },
    /// What was left out at a cap.
    BeyondCaps {
        /// Buffers.
        buffers: u64,
        /// Events, packets and notices.
        events: u64,
    },
    /// Buffers whose packets are not in order of time, because too many overlap.
    Unordered {
        /// How many.
        buffers: u64,
    },
    /// Packet events that hold something else, such as HTTP messages.
    OtherMedia {
        /// How many.
        events: u64,
    },
    /// The file ends in space that was never written.
    BlankTail,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotClosed => write!(
                f,
                "the trace was still running when it was copied, or the machine stopped: its end may be missing"
            ),
            Self::Circular => write!(
                f,
                "the trace is circular: its oldest part may be overwritten"
            ),
            Self::BeganLater { seconds } => write!(
                f,
                "the trace reached its largest size and its first packet came {seconds} s after the start: the oldest packets are \
                 probably overwritten; record with a larger maxsize="
            ),
            Self::Lost {
                events,
                buffers,
                marked,
            } => write!(
                f,
                "the system lost {events} events and {buffers} buffers while recording ({marked} buffers are marked): what is missing \
                 proves nothing"
            ),
            Self::Filtered => write!(
                f,
                "the capture was filtered when it was recorded: other traffic is not visible"
            ),
            Self::PacketsCut {
                packets,
                bytes,
                pktmon: true,
            } => {
                write!(
                    f,
                    "{packets} packets are cut to {bytes} bytes: record with pktmon start --capture --pkt-size 0"
                )
            }
            Self::PacketsCut {
                packets,
                bytes,
                pktmon: false,
            } => {
                write!(
                    f,
                    "{packets} packets are cut to at most {bytes} bytes: record without packettruncatebytes="
                )
            }
            Self::NoPackets => write!(
                f,
                "no packets in this trace: record with netsh trace start capture=yes, or pktmon start --capture"
            ),
            Self::Compression { format } => write!(
                f,
                "buffers compressed with format {format} are not supported"
            ),
            Self::Damaged { buffers, events } => {
                write!(
                    f,
                    "{buffers} damaged buffers were left early and {events} damaged events passed over"
                )
            }
            Self::HalfPackets { headless, endless } => {
                write!(
                    f,
                    "{headless} packets lack their beginning and {endless} their end"
                )
            }
            Self::BeyondCaps { buffers, events } => write!(
                f,
                "{buffers} buffers and {events} events were left out at a cap"
            ),
            Self::Unordered { buffers } => write!(
                f,
                "{buffers} buffers were read out of order of time at the memory cap"
            ),
            Self::OtherMedia { events } => {
                write!(f, "{events} packet events hold no link or IP packet")
            }
            Self::BlankTail => write!(f, "the file ends in space that was never written"),
        }
    }
}
