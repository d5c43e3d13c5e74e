//! The capture that is written: frames with the time at which they were seen, as pcap or pcapng.

use super::random::Random;
use std::io::{self, Write};

/// 2026-11-26 08:00 UTC: the certificates of `captures/` are valid then, as most of a real network are.
const START_NS: u64 = 1_795_680_000_000_000_000;

/// The capture's format.
#[allow(
    dead_code,
    reason = "not all programs that include this module read all of it"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pcap,
    Pcapng,
}

/// Takes frames.
pub(crate) struct Output<'w> {
    writer: &'w mut dyn Write,
    format: Format,
    random: Random,
    pub(crate) now_ns: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    block: Vec<u8>,
}

impl<'w> Output<'w> {
    pub(crate) fn new(writer: &'w mut dyn Write, format: Format, seed: u64) -> io::Result<Self> {
        let mut output = Self {
            writer,
            format,
            random: Random::new(!seed),
            now_ns: START_NS,
            packets: 0,
            bytes: 0,
            block: Vec::with_capacity(1 << 20),
        };
        match format {
            Format::Pcap => output.words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1]),
            Format::Pcapng => {
                output.words(&[0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28]);
                output.words(&[1, 20, 1, 262_144, 20]);
            }
        }
        Ok(output)
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.block.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Milliseconds since the capture's start.
    pub(crate) fn clock(&self) -> u32 {
        ((self.now_ns - START_NS) / 1_000_000) as u32
    }

    /// Writes a frame; time goes on by about 10 µs, that is 100,000 packets a second.
    pub(crate) fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let length = frame.len() as u32;
        let micros = self.now_ns / 1_000;
        match self.format {
            Format::Pcap => {
                let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
                self.words(&[seconds as u32, rest as u32, length, length]);
                self.block.extend_from_slice(frame);
            }
            Format::Pcapng => {
                let padded = length.next_multiple_of(4);
                self.words(&[
                    6,
                    32 + padded,
                    0,
                    (micros >> 32) as u32,
                    micros as u32,
                    length,
                    length,
                ]);
                self.block.extend_from_slice(frame);
                self.block
                    .resize(self.block.len() + (padded - length) as usize, 0);
                self.words(&[32 + padded]);
            }
        }
        self.now_ns += self.random.between(5_000, 15_000);
        self.packets += 1;
        if self.block.len() > (1 << 20) - 70_000 {
            self.flush()?;
        }
        Ok(())
    }

    /// Bytes of the capture so far.
    pub(crate) fn written(&self) -> u64 {
        self.bytes + self.block.len() as u64
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.write_all(&self.block)?;
        self.bytes += self.block.len() as u64;
        self.block.clear();
        self.writer.flush()
    }
}
