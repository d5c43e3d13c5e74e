//! The one read loop: fill a block, step the format over it, carry the tail into the next block.
//!
//! Formats never see a reader and never copy: they step over a slice and say where packets lie and how
//! many bytes they would need to go on. Only the part of a packet that a block's end cuts is copied.

use super::block::{Block, Packet};
use super::{Format, Stepper};
use crate::{error::Error, limits::Limits};
use std::io::Read;

/// What a format made of the bytes that it was shown.
#[derive(Debug)]
pub struct Step {
    /// Bytes that are done with.
    pub used: usize,
    /// Bytes that are needed behind `used` before it can go on.
    pub need: usize,
    /// Why it can't go on.
    pub fault: Option<Fault>,
}

/// Why a format can't go on where it stands.
#[derive(Debug)]
pub enum Fault {
    /// More bytes would be needed; if none come, the file is cut, and this was expected.
    Cut(String),
    /// The bytes contradict the format.
    Broken(String),
}

impl Step {
    /// It needs `need` bytes behind `used`, which hold `expected`.
    pub fn need(used: usize, need: usize, expected: impl ToString) -> Self {
        Self {
            used,
            need,
            fault: Some(Fault::Cut(expected.to_string())),
        }
    }
}

/// What filling a block came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// There may be more.
    More,
    /// There is nothing more for now.
    Quiet,
    /// That was the last block. It may hold packets, as any.
    End,
}

/// Reads a stream of bytes as blocks of packets.
pub struct Feed<R> {
    reader: R,
    name: String,
    format: Format,
    /// Bytes read and not stepped over yet: the start of a packet that the last block's end cut.
    carry: Vec<u8>,
    /// Offset in the file of the first byte of `carry`.
    offset: u64,
    /// Bytes that the format needs to go on.
    need: usize,
    block_bytes: usize,
    packet_bytes_max: usize,
    /// Hand over what one read gave: the other end is a pipe that may be slow.
    interactive: bool,
    /// The input may grow behind its end.
    growing: bool,
    /// The input gave nothing more for now.
    quiet: bool,
    ended: bool,
}

impl<R: Read> Feed<R> {
    /// A feed of `reader`, of which `first_bytes` were read already to tell the format.
    pub fn new(
        reader: R,
        name: String,
        format: Format,
        first_bytes: Vec<u8>,
        interactive: bool,
        limits: &Limits,
    ) -> Self {
        Self {
            reader,
            name,
            format,
            carry: first_bytes,
            offset: 0,
            need: 0,
            block_bytes: limits.block_bytes,
            packet_bytes_max: limits.packet_bytes_max,
            interactive,
            growing: false,
            quiet: false,
            ended: false,
        }
    }

    /// The format, for the summary.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Says whether the input may grow behind its end. When it will not any more, what is there is read to its end.
    pub fn set_growing(&mut self, growing: bool) {
        self.growing = growing;
    }

    /// May the input grow behind its end?
    pub fn is_growing(&self) -> bool {
        self.growing
    }

    /// Bytes of the capture that were read and stepped over.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Fills `block` with the next packets.
    pub fn fill(&mut self, block: &mut Block) -> Result<Fill, Error> {
        block.clear();
        self.quiet = false;
        if self.ended {
            return Ok(Fill::End);
        }
        // A packet longer than a block makes this block longer, up to the cap plus its headers.
        let wanted = self
            .block_bytes
            .max(self.need.min(self.packet_bytes_max.saturating_add(1024)))
            .max(self.carry.len() + 1);
        // Never longer: where blocks end must not depend on what their memory was used for before.
        if block.bytes.is_empty() {
            // Zeroed pages of the system, which needn't be written.
            block.bytes = vec![0; wanted];
        }
        block.bytes.resize(wanted, 0);
        if let Some(start) = block.bytes.get_mut(..self.carry.len()) {
            start.copy_from_slice(&self.carry);
        }
        block.filled = self.carry.len();
        self.read(block)?;
        let Block {
            bytes,
            filled,
            packets,
            ..
        } = block;
        let step = self
            .format
            .step(bytes.get(..*filled).unwrap_or(&[]), packets);
        self.format.hand_over(block);
        let (bytes, filled) = (&block.bytes, &block.filled);
        self.carry.clear();
        self.carry
            .extend_from_slice(bytes.get(step.used..*filled).unwrap_or(&[]));
        self.offset += step.used.min(*filled) as u64;
        self.need = step.need;
        match step.fault {
            Some(Fault::Broken(expected)) => {
                self.ended = true;
                Err(Error::Broken {
                    name: self.name.clone(),
                    offset: self.offset,
                    expected,
                })
            }
            Some(Fault::Cut(expected)) if self.ended && !self.carry.is_empty() => {
                let expected = format!("{expected} should be here, {} bytes are", self.carry.len());
                Err(Error::Cut {
                    name: self.name.clone(),
                    offset: self.offset,
                    expected,
                })
            }
            _ if self.ended => Ok(Fill::End),
            _ if self.quiet => Ok(Fill::Quiet),
            _ => Ok(Fill::More),
        }
    }

    /// Reads until the block is full or the input ends; for a pipe, until it gave enough to go on.
    fn read(&mut self, block: &mut Block) -> Result<(), Error> {
        while let Some(room) = block
            .bytes
            .get_mut(block.filled..)
            .filter(|room| !room.is_empty())
        {
            match self.reader.read(room) {
                Ok(0) => {
                    self.quiet = self.growing;
                    self.ended = !self.growing;
                    break;
                }
                Ok(count) => {
                    block.filled += count;
                    if self.interactive && block.filled >= self.need {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.quiet = true;
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
        Ok(())
    }
}

impl Stepper for Format {
    fn step(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Step {
        match self {
            Self::Pcap(pcap) => pcap.step(bytes, packets),
            Self::Pcapng(pcapng) => pcapng.step(bytes, packets),
        }
    }
}
