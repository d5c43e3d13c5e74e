//! Microsoft Network Monitor captures (`.cap`), versions 1.x to 2.3.
//!
//! ```text
//! | header | frame | frame | … | frame table: file offset of each frame | processes | comments | time zones |
//! ```
//!
//! Only the frame table says where frames are: they may be out of order and leave holes. Frame numbers count
//! every entry of the table, also those that are no packets, because that is how people talk about them. Until
//! version 2.2 a file has only the local time of the recording machine, in an unknown zone.

mod layout;
mod window;

use super::block::{Block, LinkType};
use super::etl::{
    ETHERNET, Event, Found, NDIS, Ndis, PKTMON, PacketExtra, Packets, PktMon, Place, RAW_IP, WIFI,
    append, filetime_ns, read_up_to,
};
use super::extra::CommentAt;
use super::le::{u16_at, u32_at};
use crate::{error::Error, limits::Limits};
use layout::{Header, Process, Record, Version};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek, SeekFrom};
use window::Window;

pub use layout::{HEADER_BYTES, matches};

/// Bytes of the frame table that are held at a time.
const TABLE_BYTES: u64 = 64 << 10;
/// Frames that one block may take, so that a file of other things lets its reader breathe.
const BLOCK_FRAMES_MAX: usize = 1 << 18;

/// A comment that a person wrote on a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its title.
    pub title: String,
    /// Its text, where that is plain.
    pub text: String,
}

/// Reads the packets of a Network Monitor capture in the order of its frame numbers.
pub struct NetmonReader<R> {
    file: Window<R>,
    name: String,
    header: Header,
    processes: Vec<Process>,
    comments: HashMap<u32, Comment>,
    comments_here: BTreeMap<u64, Comment>,
    packets: Packets,
    ndis: Ndis,
    pktmon: PktMon,
    table: Vec<u8>,
    table_at: usize,
    /// Entries of the table that were taken.
    frames: u64,
    block_bytes: usize,
    /// Bytes that frames may still have: they can't overlap, so together they are no longer than the file.
    believable: u64,
    other_media: BTreeMap<u16, u64>,
    /// Where the file ends too early, or contradicts itself.
    fault: Option<Error>,
    ended: bool,
}

impl<R: Read + Seek> NetmonReader<R> {
    /// Opens a capture: reads its header and the tables of processes and comments.
    pub fn open(mut reader: R, name: &str, limits: &Limits) -> Result<Self, Error> {
        let io = |source| Error::Io {
            name: name.to_owned(),
            source,
        };
        let file_bytes = reader.seek(SeekFrom::End(0)).map_err(io)?;
        let mut file = Window::new(reader, file_bytes);
        let first = file.get(0, HEADER_BYTES).map_err(io)?;
        if first.is_empty() {
            return Err(Error::Empty {
                name: name.to_owned(),
            });
        }
        if !matches(first) {
            let found = "it does not begin as a Network Monitor capture does".to_owned();
            return Err(Error::NotACapture {
                name: name.to_owned(),
                found,
            });
        }
        let header = Header::parse(first).ok_or_else(|| Error::Cut {
            name: name.to_owned(),
            offset: 0,
            expected: "a Network Monitor header should be here".to_owned(),
        })?;
        if u64::from(header.table_at) >= file_bytes && header.table_bytes > 0 {
            let expected =
                "the table of frames, which says where they are, should be here".to_owned();
            return Err(Error::Cut {
                name: name.to_owned(),
                offset: u64::from(header.table_at),
                expected,
            });
        }
        let names_max = limits.trace_names_max;
        let processes = match header.processes {
            Some((at, count)) => layout::processes(
                file.get(u64::from(at), window::WINDOW_BYTES).map_err(io)?,
                count,
                names_max,
            ),
            None => Vec::new(),
        };
        let comments = match header.comments {
            Some((at, bytes)) => {
                let bytes = (bytes as usize).min(window::WINDOW_BYTES);
                layout::comments(file.get(u64::from(at), bytes).map_err(io)?, names_max)
            }
            None => HashMap::new(),
        };
        Ok(Self {
            name: name.to_owned(),
            header,
            processes,
            comments,
            comments_here: BTreeMap::new(),
            packets: Packets::new(limits),
            ndis: Ndis::new(limits),
            pktmon: PktMon::default(),
            table: Vec::new(),
            table_at: 0,
            frames: 0,
            block_bytes: limits.block_bytes,
            believable: file_bytes,
            other_media: BTreeMap::new(),
            fault: None,
            ended: false,
            file,
        })
    }

    /// Fills `block` with the next packets. `false`: that was the last block (it may hold packets).
    pub fn fill(&mut self, block: &mut Block) -> Result<bool, Error> {
        block.clear();
        self.packets.begin_block();
        self.comments_here.clear();
        if self.ended {
            return self.fault.take().map_or(Ok(false), Err);
        }
        for _ in 0..BLOCK_FRAMES_MAX {
            if block.filled >= self.block_bytes {
                break;
            }
            let next = self.next_offset().and_then(|offset| match offset {
                Some(offset) => self.frame(offset, block).map(|()| true),
                None => Ok(false),
            });
            match next {
                Ok(true) => {}
                Ok(false) => {
                    self.ended = true;
                    self.ndis.finish(&mut self.packets, block);
                    break;
                }
                Err(source) => {
                    self.ended = true;
                    return Err(Error::Io {
                        name: self.name.clone(),
                        source,
                    });
                }
            }
        }
        // A fault is told after the packets before it.
        Ok(!self.ended || self.fault.is_some())
    }

    /// Where the next frame of the table is.
    fn next_offset(&mut self) -> io::Result<Option<u32>> {
        let wanted = u64::from(self.header.table_bytes / 4);
        if self.frames >= wanted || self.believable == 0 {
            return Ok(None);
        }
        if self.table_at >= self.table.len() {
            let at = u64::from(self.header.table_at) + self.frames * 4;
            let bytes = ((wanted - self.frames) * 4).min(TABLE_BYTES);
            self.table.resize(usize::try_from(bytes).unwrap_or(0), 0);
            self.file.reader.seek(SeekFrom::Start(at))?;
            let filled = read_up_to(&mut self.file.reader, &mut self.table)?;
            self.table.truncate(filled / 4 * 4);
            self.table_at = 0;
            if self.table.is_empty() {
                self.cut(at, "the rest of the table of frames should be here");
                return Ok(None);
            }
        }
        let offset = u32_at(&self.table, self.table_at);
        self.table_at += 4;
        self.frames += 1;
        Ok(offset)
    }

    /// Takes the frame at `offset`.
    fn frame(&mut self, offset: u32, block: &mut Block) -> io::Result<()> {
        let version = self.header.version;
        let at = u64::from(offset);
        let Some(record) = Record::parse(version, self.file.get(at, version.record_bytes())?)
        else {
            self.cut(at, "a frame should be here");
            return Ok(());
        };
        let captured = record.captured_len as usize;
        let data_at = at + version.record_bytes() as u64;
        let left = self.file.file_bytes.saturating_sub(data_at);
        if u64::from(record.captured_len) > left {
            self.cut(
                at,
                &format!("{captured} bytes of a frame should be here, {left} are"),
            );
            return Ok(());
        }
        if captured > layout::FRAME_BYTES_MAX {
            self.broken(at, "a frame of believable length should be here");
            return Ok(());
        }
        let Some(believable) = self.believable.checked_sub(u64::from(record.captured_len)) else {
            self.believable = 0;
            self.broken(at, "a frame that overlaps no other should be here");
            return Ok(());
        };
        self.believable = believable;
        let bytes = self.file.get(data_at, captured + version.trailer_bytes())?;
        let Some((data, trailer)) = bytes.split_at_checked(captured) else {
            return Ok(());
        };
        let trailer = version.trailer(trailer);
        let frame = Frame {
            number: self.frames,
            time_ns: match trailer.utc_filetime {
                Some(filetime) if filetime > 0 => filetime_ns(filetime),
                _ => self.header.start_ns.saturating_add(record.delta_ns),
            },
            original_len: record.original_len,
            media: trailer.media.unwrap_or(self.header.media),
            process: trailer
                .process
                .and_then(|index| self.processes.get(index as usize))
                .map(|process| process.id),
        };
        if let Some(comment) = self.comments.get(&offset) {
            self.comments_here.insert(frame.number, comment.clone());
        }
        if frame.media == layout::MEDIA_EVENT {
            self.packets.set_frame(frame.number - 1);
            event(
                &frame,
                data,
                &mut self.ndis,
                &mut self.pktmon,
                &mut self.packets,
                block,
            );
        } else if let Some((link, data)) = link(frame.media, data) {
            self.packets.set_frame(frame.number - 1);
            self.packets.push(&frame.found(link, data), block);
            // Network Monitor names the owner of the conversation, whichever way the packet went.
            if let Some(process) = frame.process
                && let Some(extra) = block.last_extra()
            {
                extra.process_id = process;
            }
            if let Some(comment) = self.comments_here.get(&frame.number) {
                write_comment(comment, block);
            }
        } else {
            *self.other_media.entry(frame.media).or_default() += 1;
        }
        Ok(())
    }

    fn cut(&mut self, offset: u64, expected: &str) {
        let (name, expected) = (self.name.clone(), expected.to_owned());
        self.fault.get_or_insert(Error::Cut {
            name,
            offset,
            expected,
        });
    }

    fn broken(&mut self, offset: u64, expected: &str) {
        let (name, expected) = (self.name.clone(), expected.to_owned());
        self.fault.get_or_insert(Error::Broken {
            name,
            offset,
            expected,
        });
    }
}

impl<R> NetmonReader<R> {
    /// What the capture knows of a packet of the block that was filled last.
    pub fn extra(&self, frame: u64) -> Option<&PacketExtra> {
        self.packets.extra(frame)
    }

    /// The comment on a frame of the block that was filled last.
    pub fn comment(&self, frame: u64) -> Option<&Comment> {
        self.comments_here.get(&frame)
    }

    /// The file name of a process, where the capture has it.
    pub fn process_name(&self, id: u32) -> Option<&str> {
        self.processes
            .iter()
            .find(|process| process.id == id)
            .map(|process| process.name.as_str())
    }

    /// Are the packets' times local times of the recording machine, in an unknown zone?
    pub fn local_time(&self) -> bool {
        self.header.version < Version::V2_3
    }

    /// Frames of the table, packets or not, so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that are no packets, or of a medium that is not read, by the number of the medium.
    pub fn other_media(&self) -> &BTreeMap<u16, u64> {
        &self.other_media
    }

    /// Size of the file.
    pub fn file_bytes(&self) -> u64 {
        self.file.file_bytes
    }
}

/// Puts a comment behind the bytes of the last packet, on which it was written.
fn write_comment(comment: &Comment, block: &mut Block) {
    let text = match (comment.title.as_str(), comment.text.as_str()) {
        (title, "") => title.to_owned(),
        ("", text) => text.to_owned(),
        (title, text) => format!("{title}: {text}"),
    };
    let Some(offset) = append(block, text.as_bytes()) else {
        return;
    };
    let Some(packet) = block.packets.len().checked_sub(1) else {
        return;
    };
    block.comments.push(CommentAt {
        packet: packet as u32,
        offset,
        length: u32::try_from(text.len()).unwrap_or(u32::MAX),
    });
    if let Some(extra) = block.last_extra() {
        extra.commented = true;
    }
}

/// What is known of a frame beside its bytes.
struct Frame {
    number: u64,
    time_ns: i64,
    original_len: u32,
    media: u16,
    process: Option<u32>,
}

impl Frame {
    fn found<'a>(&self, link: LinkType, bytes: &'a [u8]) -> Found<'a> {
        Found {
            bytes,
            original_len: self.original_len,
            link,
            time_ns: self.time_ns,
            place: Place::Other,
            edge: 0,
            // Each frame is a packet of its own: the table's number tells it from all others.
            group: Some((self.number, 0)),
            extra: PacketExtra {
                process_id: self.process,
                ..PacketExtra::default()
            },
        }
    }
}

/// A trace event that Network Monitor saved as a frame.
fn event(
    frame: &Frame,
    data: &[u8],
    ndis: &mut Ndis,
    pktmon: &mut PktMon,
    packets: &mut Packets,
    block: &mut Block,
) {
    let Some(event) = Event::from_memory(data) else {
        return;
    };
    if event.provider == NDIS {
        ndis.take(&event, frame.time_ns, packets, block);
    } else if event.provider == PKTMON {
        pktmon.take(&event, frame.time_ns, packets, block);
    }
}

/// What a frame of this medium begins with, and the frame without Network Monitor's own headers.
fn link(media: u16, data: &[u8]) -> Option<(LinkType, &[u8])> {
    match media {
        0 | 1 => Some((ETHERNET, data)),
        6 => {
            let radio_bytes = usize::from(u16_at(data, 1)?);
            Some((WIFI, data.get(radio_bytes.max(layout::RADIO_BYTES_MIN)..)?))
        }
        7..=9 => matches!(data.first()? >> 4, 4 | 6).then_some((RAW_IP, data)),
        0xE000..=0xEFFF => Some((LinkType(media & 0xFFF), data)),
        _ => None,
    }
}
