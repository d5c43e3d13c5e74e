//! HTTP/2: SETTINGS and GOAWAY of both sides (RFC 9113 sections 6.5 and 6.8), and where the first header block
//! is. Other frames are passed over by their length; GOAWAY's debug data is not kept.

/// Frames looked at in one direction.
const FRAMES_MAX: u16 = 512;
const SETTINGS_MAX: usize = 16;
const HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Longest header block that is read.
const BLOCK_BYTES_MAX: usize = 6_000;
/// The rest of what the client says first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Do bytes begin like a server's first frame, SETTINGS? `None`: they may, more are needed.
pub(super) fn begins_settings(bytes: &[u8]) -> Option<bool> {
    let fits = bytes
        .iter()
        .take(HEADER_BYTES)
        .enumerate()
        .all(|(at, &byte)| match at {
            // Settings of six bytes each.
            2 => byte % 6 == 0,
            3 => byte == SETTINGS,
            _ => byte == 0,
        });
    match fits {
        true if bytes.len() >= HEADER_BYTES => Some(true),
        true if !bytes.is_empty() => None,
        _ => Some(false),
    }
}

/// Is this nothing but whole frames of known types, those of the connection on stream 0?
pub(super) fn is_whole_frames(mut bytes: &[u8]) -> bool {
    let mut frames = 0;
    while let Some((&[a, b, c, kind, _, stream @ ..], body)) =
        bytes.split_first_chunk::<HEADER_BYTES>()
    {
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let of_connection = u32::from_be_bytes(stream) & 0x7fff_ffff == 0;
        let plausible = match kind {
            SETTINGS => of_connection && length % 6 == 0,
            GOAWAY => of_connection && length >= 8,
            0..=9 | 10 | 12 | 16 => true,
            _ => false,
        };
        let (true, Some(rest)) = (plausible, body.get(length..)) else {
            return false;
        };
        bytes = rest;
        frames += 1;
    }
    frames > 0 && bytes.is_empty()
}

/// The name of an error code (RFC 9113 section 7).
pub fn error_name(code: u32) -> Option<&'static str> {
    ERRORS.get(usize::try_from(code).ok()?).copied()
}

const ERRORS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// HTTP/2 of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct H2 {
    /// It began with an Upgrade, not with the preface.
    pub upgraded: bool,
    /// The client's first SETTINGS.
    pub client_settings: Option<Settings>,
    /// The server's first SETTINGS.
    pub server_settings: Option<Settings>,
    /// The first GOAWAY of each side that names an error, else its first.
    pub goaways: Vec<GoAway>,
}

/// A SETTINGS frame: identifiers and values.
pub type Settings = Vec<(u16, u32)>;

/// A GOAWAY frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Its packet.
    pub stamp: u64,
    /// The client sent it.
    pub from_client: bool,
    /// The error code.
    pub code: u32,
    /// The last stream that was worked on.
    pub last_stream: u32,
}

/// Steps over the frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    skip: usize,
    frames: u16,
}

/// What [`Frames::read`] made of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stepped {
    Need,
    Over(usize),
    End,
}

/// What a frame is, to whoever looks for a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head<'b> {
    /// Not all of it is there.
    Need,
    /// A header block that one frame holds.
    Block(&'b [u8]),
    /// HEADERS that can't be read.
    Closed,
    /// Another frame.
    Other,
}

impl Frames {
    /// A frame begins here.
    pub(super) fn is_between(&self) -> bool {
        self.skip == 0
    }

    /// Looks at the frame that is read next; it is still to be read.
    pub(super) fn head<'b>(&self, bytes: &'b [u8]) -> Head<'b> {
        let Some((&[a, b, c, kind, flags, ..], body)) = bytes.split_first_chunk::<HEADER_BYTES>()
        else {
            return Head::Need;
        };
        if kind != HEADERS {
            return Head::Other;
        }
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if flags & END_HEADERS == 0 || length > BLOCK_BYTES_MAX {
            return Head::Closed;
        }
        match body.get(..length) {
            Some(body) => block(body, flags).map_or(Head::Closed, Head::Block),
            None => Head::Need,
        }
    }

    /// Reads one frame, or what is left of one.
    pub(super) fn read(
        &mut self,
        from_client: bool,
        stamp: u64,
        bytes: &[u8],
        h2: &mut H2,
    ) -> Stepped {
        if self.skip > 0 {
            let over = self.skip.min(bytes.len());
            self.skip -= over;
            return Stepped::Over(over);
        }
        let Some((&[a, b, c, kind, flags, ..], body)) = bytes.split_first_chunk::<HEADER_BYTES>()
        else {
            return Stepped::Need;
        };
        self.frames += 1;
        if self.frames > FRAMES_MAX {
            return Stepped::End;
        }
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let wanted = match kind {
            SETTINGS if flags & ACK == 0 => length.min(6 * SETTINGS_MAX),
            GOAWAY => length.min(8),
            _ => 0,
        };
        let Some(head) = body.get(..wanted) else {
            self.frames -= 1;
            return Stepped::Need;
        };
        match kind {
            SETTINGS if flags & ACK == 0 => settings(from_client, head, h2),
            GOAWAY => goaway(from_client, stamp, head, h2),
            _ => {}
        }
        self.skip = length - wanted;
        Stepped::Over(HEADER_BYTES + wanted)
    }
}

/// The header block of a HEADERS frame, between what padding and priority take.
fn block(mut body: &[u8], flags: u8) -> Option<&[u8]> {
    if flags & PADDED != 0 {
        let (padding, rest) = body.split_first()?;
        body = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
    }
    body.get(if flags & PRIORITY != 0 { 5 } else { 0 }..)
}

fn settings(from_client: bool, head: &[u8], h2: &mut H2) {
    let slot = if from_client {
        &mut h2.client_settings
    } else {
        &mut h2.server_settings
    };
    if slot.is_none() {
        let pairs = head.chunks_exact(6).filter_map(|pair| {
            let (id, value) = pair.split_first_chunk::<2>()?;
            Some((
                u16::from_be_bytes(*id),
                u32::from_be_bytes(*value.first_chunk()?),
            ))
        });
        *slot = Some(pairs.collect());
    }
}

fn goaway(from_client: bool, stamp: u64, head: &[u8], h2: &mut H2) {
    let Some((last, code)) = head.split_first_chunk::<4>() else {
        return;
    };
    let Some(code) = code.first_chunk::<4>() else {
        return;
    };
    let goaway = GoAway {
        stamp,
        from_client,
        code: u32::from_be_bytes(*code),
        last_stream: u32::from_be_bytes(*last) & 0x7fff_ffff,
    };
    let mut known = h2.goaways.iter_mut();
    match known.find(|known| known.from_client == from_client) {
        // An orderly end is announced by a GOAWAY without an error, which others may follow.
        Some(known) if known.code == 0 && goaway.code != 0 => *known = goaway,
        Some(_) => {}
        None => h2.goaways.push(goaway),
    }
}
