//! Writes Windows traces as Windows does, in every variant that is known.
//!
//! The layouts are those that real traces show. Two independent readers list the same packet events with the same
//! bytes from what `written_traces.rs` makes: dissect.etl 3.14 (with the same times; all variants but the three
//! that it does not know) and etl-parser 1.0.1 (uncompressed ones: the 32-bit file, extended items and the trace
//! that was not closed among them). To show them the files, set TLSCOPE_WRITE_TRACES to a folder and run the test.

use super::xpress;

pub(crate) type Guid = [u8; 16];

pub(crate) const NDIS: Guid = [
    0x6e, 0, 0xd6, 0x2e, 0x29, 0x47, 9, 0x46, 0xb4, 0x23, 0x3e, 0xe7, 0xbc, 0xd6, 0x78, 0xef,
];
pub(crate) const PKTMON: Guid = [
    0xd9, 0x80, 0x4f, 0x4d, 0xbd, 0xc8, 0x73, 0x4d, 0xbb, 0x5b, 0x19, 0xc9, 4, 2, 0xc5, 0xac,
];
pub(crate) const SCHANNEL: Guid = [
    0x32, 0x81, 0x67, 0x1f, 0x38, 0x59, 0x86, 0x46, 0x9f, 0xdc, 0xc8, 0xff, 0x68, 0xf1, 0x5c, 0x85,
];
pub(crate) const SYSTEM: Guid = [
    0x91, 0xee, 0x79, 0x9b, 0xfd, 0xb5, 0xc0, 0x41, 0xa2, 0x43, 0x42, 0x48, 0xe2, 0x66, 0xe9, 0xd0,
];

/// 2024-06-10, as Windows counts.
pub(crate) const START: i64 = 133_625_243_079_225_833;

/// Keywords of packet events.
pub(crate) const ETHERNET_IN: u64 = 0x8000_0602_C000_0001;
pub(crate) const ETHERNET_OUT: u64 = 0x8000_0601_C000_0001;
pub(crate) const START_ONLY: u64 = !0x8000_0000;
pub(crate) const END_ONLY: u64 = !0x4000_0000;

/// How a trace is written.
#[derive(Clone)]
pub(crate) struct Trace {
    pub(crate) buffer_bytes: usize,
    pub(crate) compressed: bool,
    pub(crate) clock: u32,
    pub(crate) frequency: i64,
    pub(crate) build: u32,
    pub(crate) narrow: bool,
    /// Windows 7 writes the processor as one byte.
    pub(crate) one_byte_processor: bool,
    pub(crate) ended: bool,
    pub(crate) mode: u32,
    pub(crate) events_lost: u32,
    /// The buffers of each processor come latest first.
    pub(crate) reversed: bool,
    pub(crate) file_mib_max: u32,
    /// Stamp and bytes of the events of each processor.
    pub(crate) processors: Vec<Vec<(i64, Vec<u8>)>>,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            buffer_bytes: 16 << 10,
            compressed: false,
            clock: 1,
            frequency: 10_000_000,
            build: 19_045,
            narrow: false,
            one_byte_processor: false,
            ended: true,
            mode: 0x10001,
            events_lost: 0,
            reversed: false,
            file_mib_max: 250,
            processors: Vec::new(),
        }
    }
}

const FIRST_STAMP: i64 = 0x1EBA_2DA2;
const MHZ: i64 = 2400;

impl Trace {
    /// The raw stamp of a FILETIME, and the FILETIME that a reader makes of that stamp.
    pub(crate) fn stamp(&self, filetime: i64) -> (i64, i64) {
        let (ticks, units) = match self.clock {
            1 => (self.frequency, 10_000_000),
            3 => (MHZ, 10),
            _ => return (filetime, filetime),
        };
        let elapsed = i128::from(filetime - START) * i128::from(ticks) / i128::from(units);
        let back = elapsed * i128::from(units) / i128::from(ticks);
        (FIRST_STAMP + elapsed as i64, START + back as i64)
    }

    /// Appends an event to a processor's.
    pub(crate) fn push(&mut self, processor: usize, stamp: i64, event: Vec<u8>) {
        if self.processors.len() <= processor {
            self.processors.resize(processor + 1, Vec::new());
        }
        self.processors[processor].push((stamp, event));
    }

    /// The file.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut buffers = Vec::new();
        for (processor, events) in self.processors.iter().enumerate() {
            let mut of_processor = Vec::new();
            let mut body: Vec<u8> = Vec::new();
            for (_, event) in events {
                let padded = event.len().next_multiple_of(8);
                if 72 + body.len() + padded > self.buffer_bytes {
                    of_processor.push((processor, std::mem::take(&mut body)));
                }
                body.extend_from_slice(event);
                body.resize(body.len().next_multiple_of(8), 0);
            }
            of_processor.push((processor, body));
            if self.reversed {
                of_processor.reverse();
            }
            buffers.extend(of_processor);
        }
        let mut file = self.first_buffer(buffers.len() as u32 + 1);
        let count = buffers.len();
        for (number, (processor, body)) in buffers.into_iter().enumerate() {
            file.extend(self.buffer(processor, number as u64 + 1, number + 1 == count, &body));
        }
        file
    }

    fn first_buffer(&self, buffers: u32) -> Vec<u8> {
        let payload = self.logfile_header(buffers);
        let stamp = if self.clock == 2 { START } else { FIRST_STAMP };
        let mut event = vec![2, 0, if self.narrow { 1 } else { 2 }, 0xC0];
        event.extend((32 + payload.len() as u16).to_le_bytes());
        event.extend([0; 2]);
        event.extend(4_u32.to_le_bytes());
        event.extend(4_u32.to_le_bytes());
        event.extend(stamp.to_le_bytes());
        event.extend([0; 8]);
        event.extend(payload);
        event.resize(event.len().next_multiple_of(8), 0);
        let end = 72 + event.len();
        let size = if self.compressed {
            0x400
        } else {
            self.buffer_bytes
        };
        let mut buffer = self.header(size, end, 0, 0, 0, 4);
        buffer.extend(event);
        buffer.resize(size, 0xFF);
        buffer
    }

    fn logfile_header(&self, buffers: u32) -> Vec<u8> {
        let mut payload = Vec::new();
        let u32s = |payload: &mut Vec<u8>, values: &[u32]| {
            payload.extend(values.iter().flat_map(|value| value.to_le_bytes()))
        };
        let mode = self.mode | if self.compressed { 0x0400_0000 } else { 0 };
        let version = if self.compressed {
            0x0002_000A
        } else {
            0x0501_000A
        };
        u32s(
            &mut payload,
            &[
                self.buffer_bytes as u32,
                version,
                self.build,
                self.processors.len() as u32,
            ],
        );
        payload.extend(if self.ended { START + 600_000_000 } else { 0 }.to_le_bytes());
        let written = if self.ended { buffers } else { 1 };
        let pointer = if self.narrow { 4 } else { 8 };
        u32s(
            &mut payload,
            &[
                156_250,
                self.file_mib_max,
                mode,
                written,
                1,
                pointer,
                self.events_lost,
                MHZ as u32,
            ],
        );
        payload.resize(payload.len() + pointer as usize * 2, 0);
        payload.extend((-60_i32).to_le_bytes());
        payload.resize(payload.len() + 168, 0);
        payload.resize(payload.len().next_multiple_of(8), 0);
        for value in [START - 1_000_000, self.frequency, START] {
            payload.extend(value.to_le_bytes());
        }
        u32s(&mut payload, &[self.clock, 0]);
        payload.extend(utf16("Relogger"));
        payload.extend(utf16("C:\\Users\\somebody\\trace.etl"));
        payload
    }

    fn buffer(&self, processor: usize, sequence: u64, last: bool, body: &[u8]) -> Vec<u8> {
        let flags = u16::from(last);
        let end = 72 + body.len();
        if self.compressed {
            let packed = xpress::pack(body);
            let mut buffer =
                self.header(72 + packed.len(), end, processor, sequence, flags | 0x40, 0);
            buffer.extend(packed);
            return buffer;
        }
        let mut buffer = self.header(self.buffer_bytes, end, processor, sequence, flags, 0);
        buffer.extend_from_slice(body);
        buffer.resize(self.buffer_bytes, 0xFF);
        buffer
    }

    fn header(
        &self,
        size: usize,
        end: usize,
        processor: usize,
        sequence: u64,
        flags: u16,
        kind: u16,
    ) -> Vec<u8> {
        let mut header = vec![0; 72];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(size as u32).to_le_bytes());
        put(4, &(end as u32).to_le_bytes());
        put(8, &(end as u32).to_le_bytes());
        put(0x18, &sequence.to_le_bytes());
        put(0x28, &(processor as u16).to_le_bytes());
        // Compressed files say how in their first buffer.
        let state: u32 = 3;
        put(0x2C, &state.to_le_bytes());
        put(0x30, &(end as u32).to_le_bytes());
        put(0x36, &kind.to_le_bytes());
        if self.one_byte_processor {
            put(0x28, &[processor as u8, 8]);
            put(0x34, &flags.to_le_bytes());
        } else {
            put(0x34, &(flags | 0x20).to_le_bytes());
        }
        header
    }
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// An event of a manifest.
pub(crate) struct Manifest {
    pub(crate) provider: Guid,
    pub(crate) id: u16,
    pub(crate) keyword: u64,
    pub(crate) thread: (u32, u32),
    pub(crate) narrow: bool,
    pub(crate) items: bool,
}

impl Manifest {
    pub(crate) fn new(provider: Guid, id: u16, keyword: u64) -> Self {
        Self {
            provider,
            id,
            keyword,
            thread: (1000, 2000),
            narrow: false,
            items: false,
        }
    }

    pub(crate) fn bytes(&self, stamp: i64, payload: &[u8]) -> Vec<u8> {
        let items: &[&[u8]] = if self.items {
            // A related activity and a terminal session.
            &[
                &[
                    24, 0, 1, 0, 1, 0, 16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                ],
                &[16, 0, 3, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            ]
        } else {
            &[]
        };
        let items = items.concat();
        let size = 80 + items.len() + payload.len();
        let mut bytes = Vec::with_capacity(size);
        bytes.extend((size as u16).to_le_bytes());
        bytes.extend([if self.narrow { 0x12 } else { 0x13 }, 0xC0]);
        bytes.extend(u16::from(self.items).to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.thread.1.to_le_bytes());
        bytes.extend(self.thread.0.to_le_bytes());
        bytes.extend(stamp.to_le_bytes());
        bytes.extend(self.provider);
        bytes.extend(self.id.to_le_bytes());
        bytes.extend([0, 16, 4, 0, 0, 0]);
        bytes.extend(self.keyword.to_le_bytes());
        bytes.extend([0; 24]);
        bytes.extend(items);
        bytes.extend(payload);
        bytes
    }
}

/// A classic event.
pub(crate) fn classic(provider: Guid, class: u8, stamp: i64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((48 + payload.len() as u16).to_le_bytes());
    bytes.extend([0x14, 0xC0, class, 0, 0, 0]);
    bytes.extend([0; 8]);
    bytes.extend(stamp.to_le_bytes());
    bytes.extend(provider);
    bytes.extend([0; 8]);
    bytes.extend(payload);
    bytes
}

/// An event of the kernel.
pub(crate) fn kernel(hook: u16, stamp: i64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0x11, 0xC0];
    bytes.extend((16 + payload.len() as u16).to_le_bytes());
    bytes.extend(hook.to_le_bytes());
    bytes.extend(stamp.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// A message whose text is elsewhere.
pub(crate) fn message(stamp: i64, arguments: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((8 + 4 + 16 + 8 + arguments.len() as u16).to_le_bytes());
    bytes.extend([0, 0x90, 10, 0, 0x0B, 0]);
    bytes.extend([1, 0, 0, 0]);
    bytes.extend([7; 16]);
    bytes.extend(stamp.to_le_bytes());
    bytes.extend(arguments);
    bytes
}

/// The payload of a packet of netsh; new builds add 16 bytes.
pub(crate) fn ndis(adapter: u32, lower: u32, frame: &[u8], new: bool) -> Vec<u8> {
    let mut payload = [
        adapter.to_le_bytes(),
        lower.to_le_bytes(),
        (frame.len() as u32).to_le_bytes(),
    ]
    .concat();
    payload.extend(frame);
    if new {
        payload.extend([0xEE; 16]);
    }
    payload
}

/// The payload of a packet of pktmon.
pub(crate) struct PktMon {
    pub(crate) group: u64,
    pub(crate) appearance: u16,
    pub(crate) direction: u16,
    pub(crate) media: u16,
    pub(crate) component: u16,
    pub(crate) edge: u16,
    pub(crate) drop_reason: u32,
    pub(crate) bytes_max: usize,
}

impl PktMon {
    pub(crate) fn bytes(&self, frame: &[u8]) -> Vec<u8> {
        let logged = &frame[..frame.len().min(self.bytes_max)];
        let mut payload = self.group.to_le_bytes().to_vec();
        for value in [
            1,
            self.appearance,
            self.direction,
            self.media,
            self.component,
            self.edge,
            1,
        ] {
            payload.extend(value.to_le_bytes());
        }
        payload.extend(self.drop_reason.to_le_bytes());
        payload.extend(
            if self.drop_reason == 0 {
                0_u32
            } else {
                0xE000_0123
            }
            .to_le_bytes(),
        );
        payload.extend((frame.len() as u16).to_le_bytes());
        payload.extend((logged.len() as u16).to_le_bytes());
        payload.extend(logged);
        payload
    }
}
