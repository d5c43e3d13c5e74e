//! The layout of a Network Monitor file: header, frame records of five versions, processes, comments.

use super::Comment;
use crate::capture::le::{Fields, i64_at, u16_at, u32_at, u64_at};
use std::collections::HashMap;

/// Bytes of the header that are read; 2.3 files put frames from 0x48 on.
pub const HEADER_BYTES: usize = 0x48;
/// A frame that is a trace event.
pub(super) const MEDIA_EVENT: u16 = 0xFFE0;
/// Network Monitor's own header of a Wi-Fi frame.
pub(super) const RADIO_BYTES_MIN: usize = 32;
/// Largest frame that is believed.
pub(super) const FRAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of one name that are believed.
const NAME_BYTES_MAX: u32 = 64 << 10;

/// Do these first bytes begin a Network Monitor capture?
pub fn matches(first_bytes: &[u8]) -> bool {
    matches!(
        first_bytes,
        [b'R', b'T', b'S', b'S', _, 1, ..] | [b'G', b'M', b'B', b'U', _, 2, ..]
    )
}

/// Versions that lay frames out differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V1,
    V2_0,
    V2_1,
    V2_2,
    V2_3,
}

/// What stands behind a frame's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trailer {
    pub(super) media: Option<u16>,
    pub(super) process: Option<u32>,
    pub(super) utc_filetime: Option<i64>,
}

impl Version {
    /// Bytes before a frame's bytes.
    pub(super) fn record_bytes(self) -> usize {
        if self == Self::V1 { 8 } else { 16 }
    }

    /// Bytes behind a frame's bytes.
    pub(super) fn trailer_bytes(self) -> usize {
        match self {
            Self::V1 | Self::V2_0 => 0,
            Self::V2_1 => 2,
            Self::V2_2 => 6,
            Self::V2_3 => 15,
        }
    }

    /// Reads what stands behind a frame's bytes, as far as the file goes.
    pub(super) fn trailer(self, bytes: &[u8]) -> Trailer {
        let bytes = bytes.get(..self.trailer_bytes()).unwrap_or(bytes);
        Trailer {
            media: u16_at(bytes, 0),
            process: u32_at(bytes, 2),
            utc_filetime: i64_at(bytes, 6),
        }
    }
}

/// The header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) version: Version,
    /// Medium of all frames, before each frame had its own.
    pub(super) media: u16,
    /// Start of the capture as if its local time were UTC.
    pub(super) start_ns: i64,
    pub(super) table_at: u32,
    pub(super) table_bytes: u32,
    /// Offset and count.
    pub(super) processes: Option<(u32, u32)>,
    /// Offset and length.
    pub(super) comments: Option<(u32, u32)>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let version = match (bytes.get(5)?, bytes.get(4)?) {
            (1, _) => Version::V1,
            (2, 0) => Version::V2_0,
            (2, 1) => Version::V2_1,
            (2, 2) => Version::V2_2,
            _ => Version::V2_3,
        };
        // Older files may hold anything here.
        let modern = version >= Version::V2_2;
        let section = |at| {
            Some((u32_at(bytes, at)?, u32_at(bytes, at + 4)?))
                .filter(|(at, size)| modern && *at > 0 && *size > 0)
        };
        Some(Self {
            version,
            media: u16_at(bytes, 6)?,
            start_ns: system_time_ns(bytes.get(8..24)?)?,
            table_at: u32_at(bytes, 0x18)?,
            table_bytes: u32_at(bytes, 0x1C)?,
            processes: section(0x30),
            comments: section(0x28),
        })
    }
}

/// A Windows SYSTEMTIME as if it were UTC.
fn system_time_ns(bytes: &[u8]) -> Option<i64> {
    let field = |at| u16_at(bytes, at).map(i64::from);
    let (year, month, day) = (field(0)?, field(2)?, field(6)?);
    // Days since 1970 of a date of the Gregorian calendar, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days =
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day
            - 1
            - 719_468;
    let seconds = ((days * 24 + field(8)?) * 60 + field(10)?) * 60 + field(12)?;
    (seconds * 1000 + field(14)?).checked_mul(1_000_000)
}

/// What stands before a frame's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) delta_ns: i64,
    pub(super) original_len: u32,
    pub(super) captured_len: u32,
}

impl Record {
    pub(super) fn parse(version: Version, bytes: &[u8]) -> Option<Self> {
        if version == Version::V1 {
            return Some(Self {
                delta_ns: i64::from(u32_at(bytes, 0)?) * 1_000_000,
                original_len: u32::from(u16_at(bytes, 4)?),
                captured_len: u32::from(u16_at(bytes, 6)?),
            });
        }
        // Real files hold negative differences: 64 bits that wrap around.
        let delta = u64_at(bytes, 0)?.wrapping_mul(10).cast_signed();
        Some(Self {
            delta_ns: delta.saturating_mul(100),
            original_len: u32_at(bytes, 8)?,
            captured_len: u32_at(bytes, 12)?,
        })
    }
}

/// A process that frames belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: u32,
    /// File name without its path, which may be personal.
    pub(super) name: String,
}

/// The table of processes, as far as it can be read.
pub(super) fn processes(bytes: &[u8], count: u32, max: usize) -> Vec<Process> {
    let mut fields = Fields(bytes);
    fields.take(2);
    (0..count)
        .take(max)
        .map_while(|_| process(&mut fields))
        .collect()
}

fn process(fields: &mut Fields<'_>) -> Option<Process> {
    let path = Fields(sized(fields, NAME_BYTES_MAX)?).utf16();
    sized(fields, u32::MAX)?;
    let id = fields.u32()?;
    // Ports, family and addresses of one of its connections.
    fields.take(8 + 4 + 32)?;
    let name = path.rsplit(['\\', '/']).next().unwrap_or_default();
    Some(Process {
        id,
        name: name.chars().take(256).collect(),
    })
}

/// Comments by the offset of their frame, as far as they can be read.
pub(super) fn comments(bytes: &[u8], max: usize) -> HashMap<u32, Comment> {
    let mut fields = Fields(bytes);
    let mut comments = HashMap::new();
    while comments.len() < max {
        let Some((frame, comment)) = comment(&mut fields) else {
            break;
        };
        comments.insert(frame, comment);
    }
    comments
}

fn comment(fields: &mut Fields<'_>) -> Option<(u32, Comment)> {
    let _frames = fields.u32()?;
    let frame = fields.u32()?;
    let title = Fields(sized(fields, NAME_BYTES_MAX)?).utf16();
    let text = Fields(sized(fields, NAME_BYTES_MAX)?).latin();
    // Rich text is for its own program.
    let text = if text.starts_with("{\\rtf") {
        String::new()
    } else {
        text
    };
    Some((frame, Comment { title, text }))
}

/// Bytes behind their own count.
fn sized<'a>(fields: &mut Fields<'a>, max: u32) -> Option<&'a [u8]> {
    let count = fields.u32().filter(|count| *count <= max)?;
    fields.take(usize::try_from(count).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_gregorian_calendar() {
        let time = |fields: [u16; 8]| {
            let bytes: Vec<u8> = fields
                .iter()
                .flat_map(|field| field.to_le_bytes())
                .collect();
            system_time_ns(&bytes).unwrap()
        };
        assert_eq!(time([1970, 1, 4, 1, 0, 0, 0, 0]), 0);
        assert_eq!(
            time([2000, 2, 2, 29, 12, 34, 56, 789]),
            951_827_696_789_000_000
        );
        assert_eq!(
            time([2010, 2, 3, 10, 2, 31, 49, 622]),
            1_265_769_109_622_000_000
        );
        assert_eq!(time([1969, 12, 3, 31, 23, 59, 59, 999]), -1_000_000);
        assert_eq!(system_time_ns(&[0xFF; 16]), None, "the year 65535");
    }

    #[test]
    fn differences_wrap_around() {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(-5_i64).to_le_bytes());
        assert_eq!(
            Record::parse(Version::V2_0, &bytes).unwrap().delta_ns,
            -5000
        );
    }
}
