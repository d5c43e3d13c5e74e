//! The events of all processors in order of time.
//!
//! Each session and processor is a stream of buffers; a heap gives the stream whose next event is the oldest. A
//! stream's buffer is read and expanded when its first event is due, so what is held at a time is one buffer of
//! each stream that was busy then. Beyond the cap, buffers are emptied one after another: the order is then only
//! that of the buffers, and a counter says so.

use super::container::HEADER_BYTES;
use super::events::{self, Event, Head, Step};
use super::index::{Entry, read_up_to};
use super::xpress::{self, Expanded};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Seek, SeekFrom};

/// Emptied buffers whose memory is kept for the next ones.
const SPARE_MAX: usize = 8;

/// What reading the buffers found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Buffers left early.
    pub(super) buffers: u64,
    /// Events passed over.
    pub(super) events: u64,
    /// Buffers that were emptied out of order at the memory cap.
    pub(super) unordered: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stamp: i64,
    offset: u64,
    stream: usize,
}

struct Stream {
    entries: std::vec::IntoIter<Entry>,
    /// The buffer whose events are due next; its bytes are here once `head` is.
    entry: Entry,
    bytes: Vec<u8>,
    head: Option<Head>,
    at: usize,
    stamp: i64,
    /// Bytes that the open buffer counts for.
    held: usize,
}

/// Lends the events of a file in order of time.
pub(super) struct Merge<R> {
    reader: R,
    streams: Vec<Stream>,
    heap: BinaryHeap<Reverse<Key>>,
    current: Option<usize>,
    /// The stream whose buffer is emptied out of order.
    draining: Option<usize>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    packed: Vec<u8>,
    open_bytes: usize,
    open_bytes_max: usize,
    bytes_read: u64,
    damage: Damage,
}

impl<R> Merge<R> {
    /// A merge of the buffers in `index` that holds about `open_bytes_max` bytes at a time.
    pub(super) fn new(reader: R, index: Vec<Vec<Entry>>, open_bytes_max: usize) -> Self {
        let mut streams = Vec::with_capacity(index.len());
        let mut heap = BinaryHeap::with_capacity(index.len());
        for entries in index {
            let mut entries = entries.into_iter();
            let Some(entry) = entries.next() else {
                continue;
            };
            heap.push(Reverse(Key {
                stamp: entry.first_stamp,
                offset: entry.offset,
                stream: streams.len(),
            }));
            streams.push(Stream {
                entries,
                entry,
                bytes: Vec::new(),
                head: None,
                at: 0,
                stamp: entry.first_stamp,
                held: 0,
            });
        }
        Self {
            reader,
            streams,
            heap,
            current: None,
            draining: None,
            spare: Vec::new(),
            packed: Vec::new(),
            open_bytes: 0,
            open_bytes_max,
            bytes_read: 0,
            damage: Damage::default(),
        }
    }

    /// What was wrong so far.
    pub(super) fn damage(&self) -> Damage {
        self.damage
    }

    /// Bytes of the file that were read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}

impl<R: Read + Seek> Merge<R> {
    /// The next event.
    pub(super) fn next(&mut self) -> io::Result<Option<Event<'_>>> {
        if let Some(current) = self.current {
            self.move_on(current);
        }
        while self.current.is_none() {
            let Some(Reverse(key)) = self.heap.pop() else {
                return Ok(None);
            };
            self.turn(key)?;
        }
        let stream = self.current.and_then(|current| self.streams.get(current));
        let Some((stream, head)) = stream.and_then(|stream| Some((stream, stream.head?))) else {
            return Ok(None);
        };
        let bytes = stream
            .bytes
            .get(stream.at..stream.at + head.size)
            .unwrap_or_default();
        Ok(Some(Event::parse(head, bytes).unwrap_or_else(|| {
            self.damage.events += 1;
            Event::unreadable(stream.stamp)
        })))
    }

    /// It is the turn of the stream of `key`: its next event becomes the current one, or its buffer is opened.
    fn turn(&mut self, key: Key) -> io::Result<()> {
        let Some(stream) = self.streams.get_mut(key.stream) else {
            return Ok(());
        };
        if stream.head.is_some() {
            self.current = Some(key.stream);
            return Ok(());
        }
        let needed = stream.entry.event_bytes as usize;
        if self.open_bytes > 0 && self.open_bytes + needed > self.open_bytes_max {
            // The streams that are open go first, whatever their time.
            self.damage.unordered += 1;
            self.heap.push(Reverse(key));
            self.current = self.streams.iter().position(|stream| stream.head.is_some());
            self.draining = self.current;
            if let Some(first) = self.current {
                self.heap.retain(|Reverse(key)| key.stream != first);
            }
            return Ok(());
        }
        let mut bytes = self
            .spare
            .pop()
            .filter(|spare| spare.capacity() <= 2 * needed)
            .unwrap_or_default();
        open(
            &mut self.reader,
            &stream.entry,
            &mut self.packed,
            &mut bytes,
            &mut self.damage,
        )?;
        self.bytes_read += u64::from(stream.entry.body_bytes) + HEADER_BYTES as u64;
        self.open_bytes += needed;
        stream.held = needed;
        stream.bytes = bytes;
        stream.at = 0;
        self.settle(key.stream);
        Ok(())
    }

    /// The current event is done with.
    fn move_on(&mut self, current: usize) {
        self.current = None;
        let Some(stream) = self.streams.get_mut(current) else {
            return;
        };
        if let Some(head) = stream.head {
            stream.at += head.size.next_multiple_of(8);
        }
        self.settle(current);
    }

    /// Finds the event at the stream's place, or its next buffer, and queues it.
    fn settle(&mut self, number: usize) {
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        stream.head = match events::look(&stream.bytes, stream.at) {
            Step::Event(head) => Some(head),
            Step::End => None,
            Step::Damage => {
                // A cut buffer ends in the middle of an event: that is said of the file, once.
                self.damage.buffers += u64::from(!stream.entry.cut);
                None
            }
        };
        if let Some(head) = stream.head {
            // An event without a stamp follows the one before it.
            stream.stamp = head.stamp.unwrap_or(stream.stamp);
        } else {
            self.open_bytes -= std::mem::take(&mut stream.held);
            let bytes = std::mem::take(&mut stream.bytes);
            if self.spare.len() < SPARE_MAX {
                self.spare.push(bytes);
            }
            self.draining = self.draining.filter(|draining| *draining != number);
            let Some(entry) = stream.entries.next() else {
                return;
            };
            stream.entry = entry;
            stream.stamp = entry.first_stamp;
        }
        let key = Key {
            stamp: stream.stamp,
            offset: stream.entry.offset,
            stream: number,
        };
        let oldest = self.heap.peek().is_none_or(|Reverse(next)| key <= *next);
        let goes_on = stream.head.is_some() && (oldest || self.draining == Some(number));
        if goes_on {
            self.current = Some(number);
        } else {
            self.heap.push(Reverse(key));
        }
    }
}

/// Reads a buffer's events.
pub(super) fn open<R: Read + Seek>(
    reader: &mut R,
    entry: &Entry,
    packed: &mut Vec<u8>,
    bytes: &mut Vec<u8>,
    damage: &mut Damage,
) -> io::Result<()> {
    reader.seek(SeekFrom::Start(entry.offset + HEADER_BYTES as u64))?;
    let (room, count) = if entry.compressed {
        (&mut *packed, entry.body_bytes)
    } else {
        (&mut *bytes, entry.body_bytes.min(entry.event_bytes))
    };
    room.resize(count as usize, 0);
    let filled = read_up_to(reader, room)?;
    room.truncate(filled);
    if entry.compressed {
        match xpress::expand(packed, entry.event_bytes as usize, bytes) {
            Expanded::Whole => {}
            Expanded::Short => damage.buffers += u64::from(!entry.cut),
            Expanded::Malformed => {
                damage.buffers += 1;
                bytes.clear();
            }
        }
    }
    Ok(())
}
