//! Opens a capture: the one place where files meet formats.

use super::{FORMATS, Format, MAGIC_BYTES, block::Block, feed::Feed};
use crate::{error::Error, limits::Limits};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Where one capture's bytes come from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    /// The name under which records and errors speak of it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }
}

/// A feed of any reader.
pub type AnyFeed = Feed<Box<dyn Read + Send>>;

/// Opens an input and tells its format, whose name is handed back with the feed, from its first bytes.
pub fn open(input: &Input, limits: &Limits) -> Result<(AnyFeed, &'static str), Error> {
    let name = input.name();
    let fault = |source| Error::Io {
        name: name.clone(),
        source,
    };
    let mut reader: Box<dyn Read + Send> = match input {
        Input::File(path) => Box::new(File::open(path).map_err(fault)?),
        Input::Stdin => Box::new(io::stdin()),
    };
    let first = first_bytes(&mut reader).map_err(fault)?;
    if first.is_empty() {
        return Err(Error::Empty { name });
    }
    let Some((format_name, format)) = Format::detect(&first, limits.packet_bytes_max) else {
        return Err(Error::NotACapture {
            name,
            found: describe(&first),
        });
    };
    let interactive = matches!(input, Input::Stdin);
    Ok((
        Feed::new(reader, name, format, first, interactive, limits),
        format_name,
    ))
}

/// Time of a capture's first packet in nanoseconds since 1970; `None` where it holds no packet.
pub fn first_packet_time(path: &Path) -> Result<Option<i64>, Error> {
    let limits = Limits {
        block_bytes: 64 << 10,
        ..Limits::default()
    };
    let (mut feed, _) = open(&Input::File(path.to_owned()), &limits)?;
    let mut block = Block::default();
    loop {
        let more = feed.fill(&mut block)?;
        if let Some(first) = block.packets.first() {
            return Ok(Some(first.time_ns));
        }
        if !more {
            return Ok(None);
        }
    }
}

fn first_bytes(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(MAGIC_BYTES);
    reader
        .by_ref()
        .take(MAGIC_BYTES as u64)
        .read_to_end(&mut first)?;
    Ok(first)
}

/// What the first bytes of an unknown file look like.
fn describe(first: &[u8]) -> String {
    let known = FORMATS
        .iter()
        .map(|entry| entry.name)
        .collect::<Vec<_>>()
        .join(", ");
    if first
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    {
        format!(
            "it begins with text, `{}`; formats read: {known}",
            String::from_utf8_lossy(first).escape_debug()
        )
    } else {
        let hex: Vec<String> = first.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "it begins with the bytes {}; formats read: {known}",
            hex.join(" ")
        )
    }
}
