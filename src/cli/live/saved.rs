//! The packets of handshakes as pcapng (draft-ietf-opsawg-pcapng), in files that are rotated. What is written at once are
//! whole blocks, so a file is whole at any moment; where a file begins, or was opened anew, a section begins.

use super::{
    lines::is_full,
    series::{Rotation, Series},
};
use crate::cli::say;
use anyhow::Context;
use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tlscope::{capture::LinkType, keep::KeptPacket, record::Timestamp};

/// Longest time for which a packet waits in memory, and bytes that wait at most.
const FLUSH_EVERY: Duration = Duration::from_millis(500);
const GATHERED_MAX: usize = 256 << 10;

mod block {
    pub(super) const SECTION: u32 = 0x0A0D_0D0A;
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const PACKET: u32 = 6;
    pub(super) const BYTE_ORDER: u32 = 0x1A2B_3C4D;
    pub(super) const OPTION_NAME: u16 = 2;
    pub(super) const OPTION_TIME_RESOLUTION: u16 = 9;
    pub(super) const NANOSECONDS: u8 = 9;
}

/// The file in the folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("handshakes.pcapng")
}

/// Packets on their way to the disk.
pub(super) struct Saved {
    series: Series,
    names: Vec<String>,
    /// Interfaces that the section knows, by capture and link type.
    known: Vec<(u32, LinkType)>,
    gathered: Vec<u8>,
    /// Packets in there, and those that a full disk took.
    packets: u64,
    lost: u64,
    full: bool,
    flushed: Instant,
}

impl Saved {
    /// Opens the folder's file, and writes on where it exists.
    pub(super) fn open(
        folder: &Path,
        rotation: Rotation,
        names: Vec<String>,
    ) -> anyhow::Result<Self> {
        let path = path(folder);
        let series = Series::open(&path, rotation)
            .with_context(|| format!("{}: {}", path.display(), super::NO_FILE))?;
        let mut saved = Self {
            series,
            names,
            known: Vec::new(),
            gathered: Vec::new(),
            packets: 0,
            lost: 0,
            full: false,
            flushed: Instant::now(),
        };
        saved.begin();
        Ok(saved)
    }

    /// Packets that could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// A new section.
    fn begin(&mut self) {
        self.known.clear();
        let mut body = Vec::new();
        body.extend(block::BYTE_ORDER.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        body.extend(u64::MAX.to_le_bytes()); // its length is not known
        self.append(block::SECTION, &body);
    }

    fn append(&mut self, kind: u32, body: &[u8]) {
        let padding = body.len().next_multiple_of(4) - body.len();
        let length = u32::try_from(12 + body.len() + padding).unwrap_or(u32::MAX);
        self.gathered.extend(kind.to_le_bytes());
        self.gathered.extend(length.to_le_bytes());
        self.gathered.extend(body);
        self.gathered.extend(&[0; 4][..padding]);
        self.gathered.extend(length.to_le_bytes());
    }

    fn interface(&mut self, capture: u32, link: LinkType) -> u32 {
        let known = self.known.iter().position(|one| *one == (capture, link));
        let index = known.unwrap_or(self.known.len());
        if known.is_none() {
            self.known.push((capture, link));
            let mut body = Vec::new();
            body.extend(link.0.to_le_bytes());
            body.extend([0; 2]);
            body.extend(0_u32.to_le_bytes()); // no snap length
            if let Some(name) = self.names.get(capture as usize) {
                option(&mut body, block::OPTION_NAME, name.as_bytes());
            }
            option(
                &mut body,
                block::OPTION_TIME_RESOLUTION,
                &[block::NANOSECONDS],
            );
            option(&mut body, 0, &[]);
            self.append(block::INTERFACE, &body);
        }
        index as u32
    }

    /// Adds a packet.
    pub(super) fn packet(&mut self, kept: &KeptPacket) -> io::Result<()> {
        let interface = self.interface(kept.capture, kept.link);
        let time = kept.time_ns.cast_unsigned();
        let mut body = Vec::with_capacity(kept.bytes.len() + 20);
        body.extend(interface.to_le_bytes());
        body.extend(((time >> 32) as u32).to_le_bytes());
        body.extend((time as u32).to_le_bytes());
        body.extend((kept.bytes.len() as u32).to_le_bytes());
        body.extend(kept.original_len.to_le_bytes());
        body.extend(&kept.bytes);
        self.append(block::PACKET, &body);
        self.packets += 1;
        if self.gathered.len() >= GATHERED_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what waited long enough, and rotates where that is due.
    pub(super) fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        if self.flushed.elapsed() < FLUSH_EVERY {
            return Ok(());
        }
        self.flush()?;
        if self.series.is_due() && !self.full {
            if let Err(error) = self.series.rotate(now) {
                say(&format!(
                    "{}: can't be rotated: {error}",
                    self.series.path().display()
                ));
            }
            self.begin();
        }
        Ok(())
    }

    /// Opens the file anew.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.flush()?;
        if let Err(error) = self.series.reopen() {
            say(&format!(
                "{}: can't be opened anew: {error}",
                self.series.path().display()
            ));
        }
        self.begin();
        Ok(())
    }

    /// Writes what is in memory.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        if self.packets == 0 {
            return Ok(()); // a section without packets waits for its first
        }
        let result = self.series.write(&self.gathered);
        self.gathered.clear();
        let packets = std::mem::take(&mut self.packets);
        match result {
            Ok(()) => self.full = false,
            Err(error) if is_full(&error) => {
                self.lost += packets;
                if !std::mem::replace(&mut self.full, true) {
                    let path = self.series.path().display();
                    say(&format!(
                        "{path}: {error}: packets are lost until there is room again"
                    ));
                }
                self.begin(); // the interfaces may be among what is lost
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}
