//! Captures that grow and rotate, followed as `tail -F` follows text.
//!
//! Nothing of the operating system but names, sizes and first bytes is asked, so that it works everywhere: a name
//! under which a file is shorter than what was read of it, or begins otherwise, is another file now. Of a
//! folder or a pattern, new files join, and a file is left when it has rested while there is a newer one.

use super::reader::Capture;
use crate::capture::open::Input;
use crate::error::Error;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Names the files that folders and patterns stand for now, the newest last.
pub type Lister = Arc<dyn Fn() -> Vec<PathBuf> + Send + Sync>;

/// A file of a set is left when it has rested for so long, and there is a newer one.
const REST: Duration = Duration::from_secs(60);
/// Files of a set that are kept open at a time.
const OPEN_MAX: usize = 32;
/// First bytes by which files are told apart: the header and the first packet's time.
const HEAD_BYTES: usize = 64;
/// A shorter file may become any format.
const SHORTEST: u64 = 24;

/// What of a file on disk can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    length: u64,
    modified: Option<SystemTime>,
    head: Vec<u8>,
}

impl Look {
    fn at(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let about = file.metadata().ok()?;
        let mut head = Vec::with_capacity(HEAD_BYTES);
        (file.by_ref().take(HEAD_BYTES as u64))
            .read_to_end(&mut head)
            .ok()?;
        Some(Self {
            length: about.len(),
            modified: about.modified().ok(),
            head,
        })
    }

    /// Is `later` what became of the same file, of which `read` bytes were read?
    fn grew_to(&self, later: &Self, read: u64) -> bool {
        later.length >= read && later.head.starts_with(&self.head)
    }

    fn has_rested(&self) -> bool {
        let rested = self.modified.and_then(|time| time.elapsed().ok());
        rested.is_some_and(|rested| rested > REST)
    }
}

/// What was seen of the files.
pub(super) struct Follow {
    list: Lister,
    /// The members of sets, the newest last.
    members: Vec<PathBuf>,
    /// All files that were ever opened, as they were seen last.
    known: HashMap<PathBuf, Look>,
    /// What could not be opened yet, and why.
    missing: Vec<(Input, Error)>,
}

impl Follow {
    pub(super) fn new(list: Lister) -> Self {
        Self {
            members: list(),
            list,
            known: HashMap::new(),
            missing: Vec::new(),
        }
    }

    /// A file is opened.
    pub(super) fn opened(&mut self, input: &Input) {
        if let Input::File(path) = input
            && let Some(look) = Look::at(path)
        {
            self.known.insert(path.clone(), look);
        }
    }

    /// A file could not be opened. `None`: it will be tried again; else the fault is one that waiting does not mend.
    pub(super) fn failed(&mut self, input: &Input, error: Error) -> Option<Error> {
        let Input::File(path) = input else {
            return Some(error);
        };
        let may_come = match &error {
            Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Error::Empty { .. } => true,
            _ => fs::metadata(path).is_ok_and(|about| about.len() < SHORTEST),
        };
        if may_come {
            self.missing.push((input.clone(), error));
            return None;
        }
        self.opened(input);
        // Folders hold all kinds of files.
        let is_member = self.members.contains(path);
        (!is_member || !matches!(error, Error::NotACapture { .. })).then_some(error)
    }

    /// What never came.
    pub(super) fn never_came(&mut self) -> Vec<Error> {
        let missing = core::mem::take(&mut self.missing);
        missing.into_iter().map(|(_, error)| error).collect()
    }

    /// Is this capture, which has given all it has, to be left?
    pub(super) fn is_done(&self, capture: &Capture, open: usize) -> bool {
        let Some(Input::File(path)) = &capture.input else {
            return false;
        };
        let is_old = self.members.contains(path) && self.members.last() != Some(path);
        let rested = self.known.get(path).is_some_and(Look::has_rested);
        is_old && (rested || open > OPEN_MAX)
    }

    /// Looks around when all open captures have given what they have: tells files that were exchanged under their
    /// names to end, and names the files to open next.
    pub(super) fn look(&mut self, open: &mut [Capture]) -> Vec<Input> {
        let mut next = Vec::new();
        for capture in open.iter_mut() {
            let Some(Input::File(path)) = capture.input.clone() else {
                continue;
            };
            // Gone for now; what was opened can still be read.
            let Some(now) = Look::at(&path) else { continue };
            let read = capture.source.offset();
            let same = (self.known.get(&path)).is_none_or(|before| before.grew_to(&now, read));
            if !same && capture.is_followed() {
                capture.end();
                next.extend(capture.input.clone());
            }
            self.known.insert(path, now);
        }
        self.members = (self.list)();
        for path in &self.members {
            let input = Input::File(path.clone());
            let is_open = open
                .iter()
                .any(|capture| capture.input.as_ref() == Some(&input));
            let waits = self.missing.iter().any(|(missing, _)| *missing == input);
            if is_open || waits || next.contains(&input) {
                continue;
            }
            let Some(before) = self.known.get(path) else {
                next.push(input);
                continue;
            };
            let about = fs::metadata(path).ok();
            let touched = about.is_some_and(|about| {
                about.len() != before.length || about.modified().ok() != before.modified
            });
            if touched && let Some(now) = Look::at(path) {
                if !before.grew_to(&now, before.length) {
                    next.push(input);
                }
                self.known.insert(path.clone(), now);
            }
        }
        let come = |input: &Input| match input {
            Input::File(path) => fs::metadata(path).is_ok_and(|about| about.len() >= SHORTEST),
            _ => false,
        };
        let (came, missing) = core::mem::take(&mut self.missing)
            .into_iter()
            .partition::<Vec<_>, _>(|(input, _)| come(input));
        self.missing = missing;
        next.extend(came.into_iter().map(|(input, _)| input));
        next
    }
}
