//! The frame of a trace: buffers with 72-byte headers, and the first event, which describes the trace.
//!
//! ```text
//! | header 72 | event | pad to 8 | event | … | 0xFF … |   next buffer at + on-disk size
//! ```
//!
//! `Offset` (0x30) is the end of the events, `SavedOffset` is not to be trusted. Whether a body is compressed
//! is a flag of each buffer. Here nothing but headers is read; bodies are opened by the merge.

use crate::capture::le::{i64_at, u16_at, u32_at};

/// Bytes of a buffer's header.
pub(super) const HEADER_BYTES: usize = 72;
/// Largest buffer that is believed, on disk or expanded.
pub(super) const BUFFER_BYTES_MAX: u32 = 64 << 20;

const FLAG_EVENTS_LOST: u16 = 2;
const FLAG_BUFFER_LOST: u16 = 4;
const FLAG_WIDE_PROCESSOR: u16 = 0x20;
const FLAG_COMPRESSED: u16 = 0x40;
const TYPE_HEADER: u16 = 4;

/// The header of one buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct BufferHeader {
    /// Bytes that it takes in the file, header included.
    pub(super) on_disk: u32,
    /// End of its events, header included, expanded.
    pub(super) valid_end: u32,
    /// Processor that filled it.
    pub(super) processor: u16,
    /// Session that it belongs to.
    pub(super) logger: u16,
    /// State; in the first buffer of a compressed file, how it is compressed.
    pub(super) state: u32,
    /// What kind of buffer.
    pub(super) kind: u16,
    flags: u16,
}

impl BufferHeader {
    /// Reads a header; `None` where it can't be one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let flags = u16_at(bytes, 0x34)?;
        let processor = u16_at(bytes, 0x28)?;
        let header = Self {
            on_disk: u32_at(bytes, 0)?,
            valid_end: u32_at(bytes, 0x30)?,
            processor: if flags & FLAG_WIDE_PROCESSOR == 0 {
                processor & 0xFF
            } else {
                processor
            },
            logger: u16_at(bytes, 0x2A)?,
            state: u32_at(bytes, 0x2C)?,
            kind: u16_at(bytes, 0x36)?,
            flags,
        };
        let sizes = HEADER_BYTES as u32..=BUFFER_BYTES_MAX;
        (sizes.contains(&header.on_disk) && header.valid_end <= BUFFER_BYTES_MAX).then_some(header)
    }

    /// Are its events compressed?
    pub(super) fn compressed(&self) -> bool {
        self.flags & FLAG_COMPRESSED != 0
    }

    /// Does it say that something was lost here?
    pub(super) fn lost(&self) -> bool {
        self.flags & (FLAG_EVENTS_LOST | FLAG_BUFFER_LOST) != 0
    }
}

/// Do these first bytes begin a trace? It has no magic number: the first buffer's header and the first
/// event's must agree. 80 bytes are enough.
pub fn matches(first_bytes: &[u8]) -> bool {
    let Some(header) = BufferHeader::parse(first_bytes) else {
        return false;
    };
    let size = header.on_disk;
    let event = first_bytes.get(HEADER_BYTES..).unwrap_or_default();
    (0x100..=BUFFER_BYTES_MAX).contains(&size)
        && size.is_multiple_of(8)
        && header.kind == TYPE_HEADER
        && (HEADER_BYTES as u32..=size).contains(&header.valid_end)
        && matches!(event, [2, 0, 1 | 2, 0xC0, _, _, 0, 0, ..])
}

/// The first event's payload: the trace about itself (TRACE_LOGFILE_HEADER).
#[derive(Clone, Debug, Default)]
pub(super) struct LogfileHeader {
    /// Bytes of a buffer, expanded.
    pub(super) buffer_bytes: u32,
    /// Build of Windows.
    pub(super) build: u32,
    /// Processors of the machine.
    pub(super) processors: u32,
    /// When it ended, FILETIME; 0 while it runs or after a crash.
    pub(super) end_filetime: i64,
    /// Cap of the file in MiB.
    pub(super) file_mib_max: u32,
    /// How it was recorded.
    pub(super) mode: u32,
    /// Events that the system lost.
    pub(super) events_lost: u32,
    /// Buffers that the system lost.
    pub(super) buffers_lost: u32,
    /// Speed of the processor.
    pub(super) cpu_mhz: u32,
    /// Minutes that lead from the machine's own time to UTC.
    pub(super) bias_minutes: i32,
    /// Ticks of the performance counter in a second.
    pub(super) counter_frequency: i64,
    /// When it began, FILETIME.
    pub(super) start_filetime: i64,
    /// Which clock stamps the events.
    pub(super) clock: u32,
}

impl LogfileHeader {
    /// Reads the payload of the first event.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let narrow = u32_at(payload, 0x2C)? == 4;
        // Two pointers stand in the middle: 8 bytes less before the time zone, and then 8-byte alignment.
        let (zone, tail) = if narrow { (0x40, 0xF8) } else { (0x48, 0x100) };
        Some(Self {
            buffer_bytes: u32_at(payload, 0)?,
            build: u32_at(payload, 8)?,
            processors: u32_at(payload, 0x0C)?,
            end_filetime: i64_at(payload, 0x10)?,
            file_mib_max: u32_at(payload, 0x1C)?,
            mode: u32_at(payload, 0x20)?,
            events_lost: u32_at(payload, 0x30)?,
            cpu_mhz: u32_at(payload, 0x34)?,
            bias_minutes: u32_at(payload, zone)?.cast_signed(),
            counter_frequency: i64_at(payload, tail)?,
            start_filetime: i64_at(payload, tail + 8)?,
            clock: u32_at(payload, tail + 0x10)?,
            buffers_lost: u32_at(payload, tail + 0x14)?,
        })
    }

    /// Does the newest part overwrite the oldest?
    pub(super) fn circular(&self) -> bool {
        self.mode & 2 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_bytes() -> Vec<u8> {
        let mut bytes = vec![0; 80];
        bytes[..4].copy_from_slice(&0x400_u32.to_le_bytes());
        bytes[0x30..0x34].copy_from_slice(&0x208_u32.to_le_bytes());
        bytes[0x36] = 4;
        bytes[0x48..0x50].copy_from_slice(&[2, 0, 2, 0xC0, 0, 1, 0, 0]);
        bytes
    }

    #[test]
    fn a_trace_is_told_by_two_headers() {
        assert!(matches(&first_bytes()));
        for (at, value) in [
            (0, 1),
            (3, 0xFF),
            (0x31, 9),
            (0x32, 9),
            (0x36, 0),
            (0x48, 3),
            (0x4A, 9),
            (0x4B, 0),
            (0x4E, 1),
        ] {
            let mut bytes = first_bytes();
            bytes[at] = value;
            assert!(!matches(&bytes), "byte {at:#x}");
        }
        for length in 0..80 {
            assert!(!matches(&first_bytes()[..length]));
        }
    }

    #[test]
    fn windows_7_keeps_the_alignment_beside_the_processor() {
        let mut bytes = first_bytes();
        bytes[0x28..0x2A].copy_from_slice(&[2, 8]);
        assert_eq!(BufferHeader::parse(&bytes).unwrap().processor, 2);
        bytes[0x34] = 0x20;
        assert_eq!(BufferHeader::parse(&bytes).unwrap().processor, 0x802);
    }

    #[test]
    fn the_header_of_a_32_bit_trace() {
        let mut payload = vec![0; 0x120];
        payload[0x2C] = 4;
        payload[0x40] = 60;
        payload[0xF8] = 1;
        payload[0x100] = 2;
        payload[0x108] = 3;
        let header = LogfileHeader::parse(&payload).unwrap();
        assert_eq!(
            (
                header.bias_minutes,
                header.counter_frequency,
                header.start_filetime
            ),
            (60, 1, 2)
        );
        assert_eq!(header.clock, 3);
    }
}
