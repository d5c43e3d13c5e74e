//! Where lines go while interfaces are watched: standard output, or a file that is rotated. Lines are gathered for a moment
//! and written whole. A full disk does not end the watching: lines are lost, counted and told, until there is room again.

use super::series::Series;
use crate::cli::say;
use std::{
    io::{self, Write},
    time::{Duration, Instant},
};
use tlscope::record::Timestamp;

/// Longest time for which a line waits.
const FLUSH_EVERY: Duration = Duration::from_millis(250);
/// Bytes gathered before they are written earlier.
const GATHERED_MAX: usize = 64 << 10;

/// The place.
pub(super) enum Place {
    /// Standard output.
    Stdout,
    /// A file.
    File(Box<Series>),
}

/// Lines on their way there.
pub(super) struct Lines {
    place: Place,
    gathered: Vec<u8>,
    flushed: Instant,
    /// Lines that a full disk took, and whether it still is full.
    lost: u64,
    full: bool,
}

impl Lines {
    /// To a place.
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            gathered: Vec::new(),
            flushed: Instant::now(),
            lost: 0,
            full: false,
        }
    }

    /// Lines that could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes what waited long enough, and rotates where that is due.
    pub(super) fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()?;
            if let Place::File(series) = &mut self.place
                && series.is_due()
                && !self.full
                && let Err(error) = series.rotate(now)
            {
                say(&format!(
                    "{}: can't be rotated: {error}",
                    series.path().display()
                ));
            }
        }
        Ok(())
    }

    /// Opens a file anew.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.flush()?;
        if let Place::File(series) = &mut self.place
            && let Err(error) = series.reopen()
        {
            say(&format!(
                "{}: can't be opened anew: {error}",
                series.path().display()
            ));
        }
        Ok(())
    }

    /// The last words, behind all lines. Where a full disk takes them they go to standard output, for without them a run of
    /// weeks would have no end.
    pub(super) fn end(&mut self, words: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.gathered.extend_from_slice(words);
        let result = self.put();
        match (result, &self.place) {
            (Err(error), Place::File(series)) if is_full(&error) => {
                say(&format!(
                    "{}: {error}: the findings and the summary are on standard output",
                    series.path().display()
                ));
                self.place = Place::Stdout;
                self.put()
            }
            (result, _) => result,
        }
    }

    fn put(&mut self) -> io::Result<()> {
        match &mut self.place {
            Place::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&self.gathered)?;
                out.flush()
            }
            Place::File(series) => series.write(&self.gathered),
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHERED_MAX && self.gathered.ends_with(b"\n") {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = Instant::now();
        if self.gathered.is_empty() {
            return Ok(());
        }
        let result = match self.put() {
            Ok(()) => {
                if std::mem::take(&mut self.full) {
                    say(&format!(
                        "there is room again; {} lines were lost so far",
                        self.lost
                    ));
                }
                Ok(())
            }
            Err(error) if is_full(&error) => {
                let lines = self.gathered.iter().filter(|byte| **byte == b'\n');
                self.lost += lines.count() as u64;
                if !std::mem::replace(&mut self.full, true) {
                    say(&format!(
                        "{}: lines are lost until there is room again",
                        error
                    ));
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.gathered.clear();
        result
    }
}

/// The disk, or this user's part of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
