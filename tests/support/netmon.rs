//! Writes Network Monitor captures of every version.
//!
//! TShark 4.0 (an independent reader) shows the frames of what it writes with the same times, lengths and bytes; for
//! that `written_netmon.rs` writes them to the folder in TLSCOPE_WRITE_TRACES.

use super::trace::utf16;

/// One frame of a capture.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) media: u16,
    /// Microseconds since the start (milliseconds in 1.x).
    pub(crate) delta: i64,
    pub(crate) original_len: u32,
    pub(crate) process: u32,
    /// As Windows counts, for 2.3.
    pub(crate) filetime: i64,
    pub(crate) bytes: Vec<u8>,
}

/// A capture.
pub(crate) struct Capture {
    pub(crate) version: (u8, u8),
    pub(crate) frames: Vec<Frame>,
    /// Order in which the frames lie in the file.
    pub(crate) order: Vec<usize>,
    /// Paths and numbers of processes.
    pub(crate) processes: Vec<(String, u32)>,
    /// Number of a frame, title.
    pub(crate) comments: Vec<(usize, String)>,
}

impl Capture {
    /// The file: it began at 2024-06-10 20:18:27.922 of its own time.
    pub(crate) fn write(&self) -> Vec<u8> {
        let (major, minor) = self.version;
        let mut file = vec![0; 128];
        let mut offsets = vec![0_u32; self.frames.len()];
        for number in &self.order {
            // A hole that nothing points to.
            file.extend([0xAB; 5]);
            offsets[*number] = file.len() as u32;
            let frame = self.record(&self.frames[*number]);
            file.extend(frame);
        }
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, if major == 1 { b"RTSS" } else { b"GMBU" });
        put(4, &[minor, major]);
        put(6, &1_u16.to_le_bytes());
        let start: Vec<u8> = [2024_u16, 6, 1, 10, 20, 18, 27, 922]
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect();
        put(8, &start);
        if self.version >= (2, 2) {
            let comments = self.comments(&offsets);
            section(&mut file, 0x28, &comments, comments.len());
            let processes = self.processes();
            section(&mut file, 0x30, &processes, self.processes.len());
        }
        let table: Vec<u8> = offsets
            .iter()
            .flat_map(|offset| offset.to_le_bytes())
            .collect();
        section(&mut file, 0x18, &table, table.len());
        file
    }

    fn record(&self, frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.version.0 == 1 {
            bytes.extend((frame.delta as u32).to_le_bytes());
            bytes.extend((frame.original_len as u16).to_le_bytes());
            bytes.extend((frame.bytes.len() as u16).to_le_bytes());
            bytes.extend(&frame.bytes);
            return bytes;
        }
        bytes.extend(frame.delta.to_le_bytes());
        bytes.extend(frame.original_len.to_le_bytes());
        bytes.extend((frame.bytes.len() as u32).to_le_bytes());
        bytes.extend(&frame.bytes);
        if self.version >= (2, 1) {
            bytes.extend(frame.media.to_le_bytes());
        }
        if self.version >= (2, 2) {
            bytes.extend(frame.process.to_le_bytes());
        }
        if self.version >= (2, 3) {
            bytes.extend(frame.filetime.to_le_bytes());
            bytes.push(0);
        }
        bytes
    }

    fn processes(&self) -> Vec<u8> {
        let mut bytes = vec![2, 0];
        for (path, number) in &self.processes {
            let path = utf16(path);
            bytes.extend((path.len() as u32).to_le_bytes());
            bytes.extend(path);
            bytes.extend([3, 0, 0, 0, 1, 2, 3]);
            bytes.extend(number.to_le_bytes());
            bytes.extend([0; 8 + 4 + 32]);
        }
        bytes
    }

    fn comments(&self, offsets: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, title) in &self.comments {
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(offsets[*number].to_le_bytes());
            let title = utf16(title);
            bytes.extend((title.len() as u32).to_le_bytes());
            bytes.extend(title);
            bytes.extend(5_u32.to_le_bytes());
            bytes.extend(b"why?\0");
        }
        bytes
    }
}

/// Appends a section and says in the header where it is.
fn section(file: &mut Vec<u8>, at: usize, bytes: &[u8], size: usize) {
    let offset = if bytes.is_empty() {
        0
    } else {
        file.len() as u32
    };
    file.extend(bytes);
    file[at..at + 4].copy_from_slice(&offset.to_le_bytes());
    file[at + 4..at + 8].copy_from_slice(&(size as u32).to_le_bytes());
}
