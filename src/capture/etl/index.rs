//! One pass over the buffers' headers: where each buffer lies and when its first event was.
//!
//! Only 200 bytes are read of each buffer: enough for its header and the first event's time stamp, also where the
//! body is compressed. Buffers of one processor and session form a stream that is in order of time; a log that
//! wrapped around is put right by sorting each stream by those first stamps.

use super::container::{BUFFER_BYTES_MAX, BufferHeader, HEADER_BYTES, LogfileHeader};
use super::events;
use super::xpress;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes read of each buffer.
const PROBE_BYTES: usize = 200;
/// Plain LZ77 in the low half of the first buffer's state.
const FORMAT_XPRESS: u32 = 3;
/// Bytes that compressed buffers may expand to, whatever the size of the file: what an honest small file needs.
const EXPANDED_BYTES_FREE: u64 = 256 << 20;
/// And how many more for each byte of the file.
const EXPANDED_RATIO_MAX: u64 = 256;

/// One buffer that holds events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where its header begins in the file.
    pub(super) offset: u64,
    /// Bytes of its body in the file, as far as the file goes.
    pub(super) body_bytes: u32,
    /// Bytes of its events, expanded.
    pub(super) event_bytes: u32,
    /// Stamp of its first event.
    pub(super) first_stamp: i64,
    /// Must it be expanded?
    pub(super) compressed: bool,
    /// Does the file end inside it?
    pub(super) cut: bool,
}

/// What the pass found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Offset of the buffer that the file's end cuts.
    pub(super) cut_at: Option<u64>,
    /// Places where no buffer header was, or one that can't be.
    pub(super) damaged: u64,
    /// Buffers that say that events or buffers were lost around them.
    pub(super) lossy: u64,
    /// Buffers beyond the caps.
    pub(super) beyond_caps: u64,
    /// How the buffers are compressed, where that is not known here.
    pub(super) compression: Option<u32>,
    /// The file ends in space that was never written.
    pub(super) blank_tail: bool,
}

/// All streams of a file, each in order of time.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The buffers of each session and processor.
    pub(super) streams: Vec<Vec<Entry>>,
    /// What was wrong.
    pub(super) faults: Faults,
}

/// Caps of the pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    /// Buffers that are remembered.
    pub(super) buffers_max: usize,
    /// Streams that are told apart.
    pub(super) streams_max: usize,
}

/// Reads the headers of all buffers of a file of `file_bytes`.
pub(super) fn scan<R: Read + Seek>(
    reader: &mut R,
    file_bytes: u64,
    header: &LogfileHeader,
    caps: Caps,
) -> io::Result<Index> {
    let mut pass = Pass {
        index: Index::default(),
        by_key: HashMap::new(),
        scratch: Vec::new(),
        buffers: 0,
        expandable: EXPANDED_BYTES_FREE
            .saturating_add(file_bytes.saturating_mul(EXPANDED_RATIO_MAX)),
        header,
        caps,
        format: FORMAT_XPRESS,
    };
    let mut offset = 0;
    while offset < file_bytes {
        reader.seek(SeekFrom::Start(offset))?;
        let mut probe = [0; PROBE_BYTES];
        let filled = read_up_to(reader, &mut probe)?;
        let Some(step) = pass.step(
            offset,
            file_bytes - offset,
            probe.get(..filled).unwrap_or_default(),
        ) else {
            break;
        };
        offset += step.max(HEADER_BYTES as u64);
    }
    let mut index = pass.index;
    for stream in &mut index.streams {
        stream.sort_by_key(|entry| entry.first_stamp);
    }
    Ok(index)
}

/// Reads until `room` is full or the input ends.
pub(in crate::capture) fn read_up_to<R: Read>(
    reader: &mut R,
    room: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

struct Pass<'a> {
    index: Index,
    by_key: HashMap<(u16, u16), usize>,
    scratch: Vec<u8>,
    buffers: usize,
    /// Bytes that compressed buffers may still expand to.
    expandable: u64,
    header: &'a LogfileHeader,
    caps: Caps,
    format: u32,
}

impl Pass<'_> {
    /// Takes the buffer at `offset`; how far the next one is, or `None` where there is none.
    fn step(&mut self, offset: u64, left: u64, probe: &[u8]) -> Option<u64> {
        let faults = &mut self.index.faults;
        if probe.len() < HEADER_BYTES {
            if !is_blank(probe) {
                faults.cut_at = Some(offset);
            }
            return None;
        }
        let Some(buffer) = BufferHeader::parse(probe) else {
            if is_blank(probe) {
                faults.blank_tail = true;
            } else {
                faults.damaged += 1;
            }
            // Buffers of one size can be found again; compressed ones can't.
            let size = self.header.buffer_bytes;
            let known =
                (0x100..=BUFFER_BYTES_MAX).contains(&size) && self.header.mode & 0x0400_0000 == 0;
            return known.then(|| u64::from(size) - offset % u64::from(size));
        };
        if offset == 0 && buffer.state & 0xFFFF != 0 && self.header.mode & 0x0400_0000 != 0 {
            self.format = buffer.state & 0xFFFF;
        }
        faults.lossy += u64::from(buffer.lost());
        let on_disk = u64::from(buffer.on_disk);
        if on_disk > left {
            faults.cut_at = Some(offset);
        }
        self.enter(offset, left, &buffer, probe);
        Some(on_disk)
    }

    fn enter(&mut self, offset: u64, left: u64, buffer: &BufferHeader, probe: &[u8]) {
        let here = u32::try_from(left).unwrap_or(u32::MAX).min(buffer.on_disk);
        let body_bytes = here - HEADER_BYTES as u32;
        let mut event_bytes = buffer.valid_end.saturating_sub(HEADER_BYTES as u32);
        if buffer.compressed() {
            if self.format != FORMAT_XPRESS {
                self.index.faults.compression = Some(self.format);
                return;
            }
            // No honest writer fills a buffer beyond the size that the trace's header gives.
            let believed = self.header.buffer_bytes.clamp(1 << 20, BUFFER_BYTES_MAX);
            let Some(left) = self
                .expandable
                .checked_sub(u64::from(event_bytes))
                .filter(|_| event_bytes <= believed)
            else {
                self.index.faults.damaged += 1;
                return;
            };
            self.expandable = left;
        } else {
            if buffer.valid_end > buffer.on_disk {
                self.index.faults.damaged += 1;
            }
            event_bytes = event_bytes.min(body_bytes);
        }
        if event_bytes == 0 || body_bytes == 0 {
            return;
        }
        let stream = self.stream((buffer.logger, buffer.processor));
        let (Some(stream), true) = (stream, self.buffers < self.caps.buffers_max) else {
            self.index.faults.beyond_caps += 1;
            return;
        };
        self.buffers += 1;
        let body = probe.get(HEADER_BYTES..).unwrap_or_default();
        let first_stamp = self.first_stamp(body, buffer.compressed());
        let Some(stream) = self.index.streams.get_mut(stream) else {
            return;
        };
        // An event without a stamp follows the one before it.
        let first_stamp = first_stamp
            .or_else(|| stream.last().map(|entry| entry.first_stamp))
            .unwrap_or(i64::MIN);
        stream.push(Entry {
            offset,
            body_bytes,
            event_bytes,
            first_stamp,
            compressed: buffer.compressed(),
            cut: u64::from(buffer.on_disk) > left,
        });
    }

    fn stream(&mut self, key: (u16, u16)) -> Option<usize> {
        if let Some(&stream) = self.by_key.get(&key) {
            return Some(stream);
        }
        let stream = self.index.streams.len();
        if stream == self.caps.streams_max {
            return None;
        }
        self.index.streams.push(Vec::new());
        self.by_key.insert(key, stream);
        Some(stream)
    }

    fn first_stamp(&mut self, body: &[u8], compressed: bool) -> Option<i64> {
        let start = if compressed {
            xpress::expand(body, 64, &mut self.scratch);
            self.scratch.as_slice()
        } else {
            body
        };
        events::stamp(start)
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
