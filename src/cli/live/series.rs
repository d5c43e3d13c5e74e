//! A file that is written for weeks: when it is large or old enough it steps aside under a name with its time, a new one
//! takes its place, and of those that stepped aside only so many are kept.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tlscope::record::Timestamp;

/// When a file steps aside, and how many stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    /// Bytes.
    pub(super) bytes: u64,
    /// Age.
    pub(super) age: Option<Duration>,
    /// Files that stay beside the one being written.
    pub(super) keep: usize,
}

/// The files of one name.
pub(super) struct Series {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    bytes: u64,
    opened: Instant,
}

impl Series {
    /// Opens the file, and writes on where it exists.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            rotation,
            bytes: file.metadata()?.len(),
            file,
            opened: Instant::now(),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of `bytes`, or, where that fails, nothing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = io::Write::write_all(&mut self.file, bytes) {
            let _ = self.file.set_len(self.bytes); // a part of a line would spoil the next one
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// It is large or old enough.
    pub(super) fn is_due(&self) -> bool {
        let aged = self
            .rotation
            .age
            .is_some_and(|age| self.opened.elapsed() >= age);
        self.bytes >= self.rotation.bytes || (aged && self.bytes > 0)
    }

    /// Steps aside and begins anew.
    pub(super) fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        fs::rename(&self.path, aside(&self.path, now))?;
        self.reopen()?;
        self.prune()
    }

    /// Opens the file of this name anew: somebody else may have moved it.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path, self.rotation)?;
        Ok(())
    }

    /// Removes the oldest ones beyond those that are kept.
    fn prune(&self) -> io::Result<()> {
        let mut old = earlier(&self.path)?;
        old.sort(); // times of equal length sort as text
        let beyond = old.len().saturating_sub(self.rotation.keep);
        for path in old.into_iter().take(beyond) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// `a.ndjson` steps aside as `a.20261125T145744.123456789Z.ndjson`.
fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let time: String = now
        .to_string()
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}.{time}{extension}"))
}

/// Name without its extension, and the extension with its dot.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map_or_else(String::new, |part| part.to_string_lossy().into_owned())
    };
    let extension = text(path.extension());
    let dot = if extension.is_empty() { "" } else { "." };
    (text(path.file_stem()), format!("{dot}{extension}"))
}

/// Those of this name that stepped aside.
fn earlier(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (stem, extension) = parts(path);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name
            .strip_prefix(&stem)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.strip_suffix(&extension));
        let is_time = |text: &str| {
            text.ends_with('Z')
                && text.len() >= 16
                && text
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b"TZ.".contains(&b))
        };
        if time.is_some_and(is_time) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_step_aside_and_only_so_many_stay() {
        let folder = std::env::temp_dir().join(format!("tlscope-series-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("a.ndjson");
        let other = folder.join("a.b.ndjson");
        fs::write(&other, "not ours").unwrap();
        fs::write(&path, "before\n").unwrap();
        let rotation = Rotation {
            bytes: 10,
            age: None,
            keep: 2,
        };
        let mut series = Series::open(&path, rotation).unwrap();
        assert!(!series.is_due());
        for second in 0..5 {
            series.write(b"0123456789\n").unwrap();
            assert!(series.is_due());
            let now = Timestamp(1_795_168_800_000_000_000 + second * 1_000_000_000);
            series.rotate(now).unwrap();
        }
        let mut names: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names[1].starts_with("a.2026") && names[1].ends_with("Z.ndjson"));
        assert_eq!(fs::read_to_string(&other).unwrap(), "not ours");
        assert_eq!(series.bytes, 0);

        // Moved away by somebody else: the old file is written until it is opened anew.
        let moved = folder.join("moved");
        fs::rename(&path, &moved).unwrap();
        series.write(b"x\n").unwrap();
        series.reopen().unwrap();
        series.write(b"y\n").unwrap();
        assert_eq!(fs::read_to_string(moved).unwrap(), "x\n");
        assert_eq!(fs::read_to_string(series.path()).unwrap(), "y\n");
        fs::remove_dir_all(folder).unwrap();
    }
}
