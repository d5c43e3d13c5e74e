//! Opens a capture: the one place where files meet formats.

use super::etl::{self, EtlReader, Evidence, Fact};
use super::live::Interfaces;
use super::netmon::{self, NetmonReader};
use super::{
    About, FORMATS, Format, MAGIC_BYTES, Named,
    block::Block,
    compressed,
    feed::{Feed, Fill},
    foreign, pcapng,
    spool::{Seekable, spool},
};
use crate::{error::Error, limits::Limits};
use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// Where one capture's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Makes a reader that runs ahead of whoever reads from it, where there are threads; and whether it is to tell silence
/// as [`io::ErrorKind::WouldBlock`].
pub type Ahead = fn(Box<dyn Read + Send>, bool) -> Box<dyn Read + Send>;

/// How to open a capture.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// The caps.
    pub limits: &'a Limits,
    /// Puts standard input, and what expands a compressed capture, on threads of their own.
    pub ahead: Ahead,
    /// The file may grow behind its end.
    pub growing: bool,
    /// Set from outside: do not wait any longer.
    pub stop: &'a AtomicBool,
}

/// One capture, open.
pub enum Source {
    /// A format that is read as a stream.
    Stream(Feed<Box<dyn Read + Send>>),
    /// A Windows event trace.
    Trace(Box<EtlReader<Box<dyn Seekable>>>),
    /// A Network Monitor capture.
    Netmon(Box<NetmonReader<Box<dyn Seekable>>>),
    /// Interfaces of this machine.
    Live(Box<dyn Interfaces>),
}

impl Source {
    /// Fills `block` with the next packets.
    pub fn fill(&mut self, block: &mut Block) -> Result<Fill, Error> {
        let more = match self {
            Self::Stream(feed) => return feed.fill(block),
            Self::Trace(trace) => trace.fill(block)?,
            Self::Netmon(netmon) => netmon.fill(block)?,
            Self::Live(interfaces) => interfaces.fill(block)?,
        };
        Ok(if more { Fill::More } else { Fill::End })
    }

    /// Does it come from interfaces of this machine?
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// May the capture grow behind its end?
    pub fn is_growing(&self) -> bool {
        matches!(self, Self::Stream(feed) if feed.is_growing())
    }

    /// The capture will not grow any more: what is there is read to its end.
    pub fn stop_growing(&mut self) {
        if let Self::Stream(feed) = self {
            feed.set_growing(false);
        }
    }

    /// Number of interfaces that are known so far.
    pub fn interface_count(&self) -> usize {
        match self {
            Self::Stream(feed) => feed.format().interfaces().len(),
            Self::Trace(trace) => trace.interface_count(),
            Self::Netmon(_) | Self::Live(_) => 0,
        }
    }

    /// The interfaces that are known so far, in the order of the packets' interface numbers.
    pub fn interfaces(&self) -> Vec<Named> {
        match self {
            Self::Stream(feed) => feed.format().interfaces().to_vec(),
            Self::Trace(trace) => {
                let named = |interface: etl::Interface| Named {
                    name: interface.name,
                    description: interface.description,
                };
                trace.interfaces().into_iter().map(named).collect()
            }
            Self::Netmon(_) | Self::Live(_) => Vec::new(),
        }
    }

    /// The system's words for its reasons to drop packets.
    pub fn drop_reasons(&self) -> Vec<(u32, String)> {
        let Self::Trace(trace) = self else {
            return Vec::new();
        };
        let reasons = trace.drop_reasons();
        reasons
            .map(|(reason, words)| (reason, words.to_owned()))
            .collect()
    }

    /// Bytes of the capture that were read.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Stream(feed) => feed.offset(),
            Self::Trace(trace) => trace.offset(),
            Self::Netmon(netmon) => netmon.file_bytes(),
            Self::Live(_) => 0, // counted by block
        }
    }

    /// What is known beside the packets, as far as it was read.
    pub fn about(&mut self) -> About {
        match self {
            Self::Stream(feed) => feed.format().about(),
            Self::Trace(trace) => {
                let summary = trace.summary();
                let told = |fact: &Evidence| !matches!(fact.fact, Fact::Owner { .. });
                let facts = trace
                    .take_evidence()
                    .into_iter()
                    .filter(told)
                    .take(EVIDENCE_MAX);
                About {
                    notes: summary
                        .notes
                        .iter()
                        .map(ToString::to_string)
                        .chain(facts.map(|fact| fact.to_string()))
                        .collect(),
                    providers: summary
                        .providers
                        .into_iter()
                        .map(|row| {
                            (
                                row.name.unwrap_or_else(|| row.provider.to_string()),
                                row.events,
                            )
                        })
                        .collect(),
                    ..About::default()
                }
            }
            Self::Live(interfaces) => About {
                notes: interfaces.notes(),
                ..About::default()
            },
            Self::Netmon(netmon) => About {
                unknown_blocks: netmon.other_media().values().sum(),
                notes: netmon
                    .local_time()
                    .then(|| LOCAL_TIME.to_owned())
                    .into_iter()
                    .collect(),
                ..About::default()
            },
        }
    }
}

/// Events of a trace that are told as notes.
const EVIDENCE_MAX: usize = 200;
const LOCAL_TIME: &str = "times are local times of the recording machine, in an unknown time zone";

/// Opens an input and tells its format, whose name is handed back with the source, from its first bytes.
/// A compressed capture is expanded as it is read.
pub fn open(input: &Input, opening: Opening<'_>) -> Result<(Source, String), Error> {
    let Opening { limits, ahead, .. } = opening;
    let name = input.name();
    let fault = |source| Error::Io {
        name: name.clone(),
        source,
    };
    let mut reader: Box<dyn Read + Send> = match input {
        Input::File(path) => Box::new(File::open(path).map_err(fault)?),
        Input::Stdin => ahead(Box::new(io::stdin()), true),
    };
    let mut first = first_bytes(&mut reader, opening.stop).map_err(fault)?;
    if first.is_empty() {
        return Err(Error::Empty { name });
    }
    match input {
        Input::File(path) if jumps(&first) => return open_file(path, &first, limits),
        Input::Stdin if etl::matches(&first) => {
            return open_spooled(&mut reader, &name, &first, opening);
        }
        Input::Stdin if netmon::matches(&first) => {
            let found = "this is a Network Monitor capture (.cap), which can't be read from a pipe; give the file's name";
            let found = found.to_owned();
            return Err(Error::NotACapture { name, found });
        }
        _ => {}
    }
    let mut compression = None;
    if compressed::is_one(&first) {
        let whole: Box<dyn Read + Send> = match input {
            Input::File(path) => Box::new(File::open(path).map_err(fault)?),
            // Its decoder has a thread of its own, and can wait.
            Input::Stdin => Box::new(io::Cursor::new(first.clone()).chain(Patient(reader))),
        };
        let Ok((kind, expanded)) = compressed::open(&first, whole) else {
            return Err(not_a_capture(name, &first, None));
        };
        compression = Some(kind);
        reader = ahead(expanded, matches!(input, Input::Stdin));
        first = first_bytes(&mut reader, opening.stop).map_err(fault)?;
        if jumps(&first) {
            let (source, format) = open_spooled(&mut reader, &name, &first, opening)?;
            return Ok((source, format!("{format} in {kind}")));
        }
    }
    let Some((format_name, format)) = Format::detect(&first, limits.packet_bytes_max) else {
        return Err(not_a_capture(name, &first, compression));
    };
    let interactive = matches!(input, Input::Stdin);
    let format_name = compression.map_or(format_name.to_owned(), |kind| {
        format!("{format_name} in {kind}")
    });
    let mut feed = Feed::new(reader, name, format, first, interactive, limits);
    feed.set_growing(opening.growing && compression.is_none() && !interactive);
    Ok((Source::Stream(feed), format_name))
}

/// Hands all secrets of a capture to `take`, if some stand behind packets: a session's secrets may come behind it.
/// `true`: they need not be read again. Only of pcapng files that can be jumped about in.
pub fn late_secrets(input: &Input, format: &str, take: &mut dyn FnMut(u32, &[u8])) -> bool {
    match input {
        Input::File(path) if format == "pcapng" => {
            // A fault shows again when the packets are read.
            let is_file = path.metadata().is_ok_and(|about| about.is_file());
            let late = |file| pcapng::late_secrets(file, take).unwrap_or(false);
            is_file && File::open(path).is_ok_and(late)
        }
        Input::File(_) | Input::Stdin => false,
    }
}

/// A live reader for those who can't be told of silence.
struct Patient(Box<dyn Read + Send>);

impl Read for Patient {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}

/// Is this a format that is read by jumping about?
fn jumps(first: &[u8]) -> bool {
    etl::matches(first) || netmon::matches(first)
}

/// Opens a file of such a format.
fn open_file(path: &Path, first: &[u8], limits: &Limits) -> Result<(Source, String), Error> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| Error::Io {
        name: name.clone(),
        source,
    })?;
    // Small, for it serves headers only: what is larger than its buffer is read past it, without a copy.
    let reader = BufReader::with_capacity(4096, file);
    open_seekable(Box::new(reader), &name, first, limits)
}

/// Opens such a format that comes as a stream, of which `first` was read.
fn open_spooled(
    reader: &mut dyn Read,
    name: &str,
    first: &[u8],
    opening: Opening<'_>,
) -> Result<(Source, String), Error> {
    let bytes_max = opening.limits.spooled_bytes_max;
    let Some(bytes) = spool(first.to_vec(), reader, bytes_max, opening.stop) else {
        let found = format!(
            "this Windows capture has more than {} MiB, which is as much as is held in memory of one that is compressed or \
             comes through a pipe; give it as a file that is not compressed",
            bytes_max >> 20
        );
        let name = name.to_owned();
        return Err(Error::NotACapture { name, found });
    };
    open_seekable(
        Box::new(io::Cursor::new(bytes)),
        name,
        first,
        opening.limits,
    )
}

fn open_seekable(
    reader: Box<dyn Seekable>,
    name: &str,
    first: &[u8],
    limits: &Limits,
) -> Result<(Source, String), Error> {
    Ok(if etl::matches(first) {
        let trace = EtlReader::open(reader, name, limits)?;
        (Source::Trace(Box::new(trace)), "etl".to_owned())
    } else {
        let netmon = NetmonReader::open(reader, name, limits)?;
        (Source::Netmon(Box::new(netmon)), "netmon".to_owned())
    })
}

fn not_a_capture(name: String, first: &[u8], compression: Option<&'static str>) -> Error {
    let found = match compression {
        Some(kind) => format!("expanded from {kind}: {}", foreign::name(first)),
        None => foreign::name(first),
    };
    Error::NotACapture { name, found }
}

/// Opens a file as it is, without threads.
pub fn open_alone(path: &Path, limits: &Limits) -> Result<(Source, String), Error> {
    let opening = Opening {
        limits,
        ahead: |reader, _| reader,
        growing: false,
        stop: &AtomicBool::new(false),
    };
    open(&Input::File(path.to_owned()), opening)
}

/// Time of a capture's first packet in nanoseconds since 1970; `None` where it holds no packet.
pub fn first_packet_time(path: &Path) -> Result<Option<i64>, Error> {
    let limits = Limits {
        block_bytes: 64 << 10,
        ..Limits::default()
    };
    let (mut source, _) = open_alone(path, &limits)?;
    let mut block = Block::default();
    loop {
        let more = source.fill(&mut block)?;
        if let Some(first) = block.packets.first() {
            return Ok(Some(first.time_ns));
        }
        if more == Fill::End {
            return Ok(None);
        }
    }
}

/// Enough bytes to tell the format; a slow pipe is not waited for once they tell it.
fn first_bytes(reader: &mut impl Read, stop: &AtomicBool) -> io::Result<Vec<u8>> {
    let mut first = vec![0; MAGIC_BYTES];
    let mut have = 0;
    while let Some(room) = first.get_mut(have..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
        if first
            .get(..have)
            .is_some_and(|bytes| FORMATS.iter().any(|entry| (entry.matches)(bytes)))
        {
            break;
        }
    }
    first.truncate(have);
    Ok(first)
}
