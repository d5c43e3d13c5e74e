//! Where the report goes: standard output, or a file that appears under its name only when it is whole.

use anstream::AutoStream;
use anyhow::{Context, bail};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// Largest file that is waited for until it is on the disk.
const SYNC_BYTES_MAX: u64 = 8 << 20;

/// Bytes that are written before room for more is reserved: most reports are smaller.
const RESERVED_FROM_BYTES: u64 = 4 << 20;
/// Room on the disk that is reserved at a time.
#[cfg(all(target_os = "linux", feature = "live"))]
const RESERVED_BYTES: u64 = 64 << 20;

/// A file that will be large: room for it is reserved on the disk in large pieces. A file that grows write by write costs
/// the system a decision about each page, which took a third of the time of a capture full of handshakes.
struct Growing {
    file: File,
    written: u64,
    /// Up to here there is room.
    reserved: u64,
}

impl Growing {
    fn new(file: File) -> Self {
        Self {
            file,
            written: 0,
            reserved: RESERVED_FROM_BYTES,
        }
    }

    #[cfg(all(target_os = "linux", feature = "live"))]
    fn reserve(&mut self) {
        use nix::fcntl::{FallocateFlags, fallocate};
        let from = self.reserved.max(self.written);
        // The file's length stays what was written.
        let flags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let done = match (i64::try_from(from), i64::try_from(RESERVED_BYTES)) {
            (Ok(from), Ok(length)) => fallocate(&self.file, flags, from, length).is_ok(),
            _ => false,
        };
        // Where a file system can't, or has no room left, the writes themselves will tell.
        self.reserved = if done {
            from + RESERVED_BYTES
        } else {
            u64::MAX
        };
    }

    #[cfg(not(all(target_os = "linux", feature = "live")))]
    fn reserve(&mut self) {
        self.reserved = u64::MAX;
    }
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 > self.reserved {
            self.reserve();
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The temporary file, while there is one. Shared with the handler of Ctrl-C.
#[derive(Clone, Default)]
pub(crate) struct Unfinished(Arc<Mutex<Option<PathBuf>>>);

impl Unfinished {
    fn set(&self, path: Option<PathBuf>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    /// Removes the temporary file.
    pub(crate) fn remove(&self) {
        let path = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(path) = path {
            let _ = fs::remove_file(path); // nobody is left who could be told
        }
    }
}

/// An output that is being written. Dropped before [`Output::finish`], it leaves no file behind.
pub(crate) struct Output {
    /// None only while it is being closed.
    sink: Option<BufWriter<Box<dyn Write>>>,
    /// What messages call it.
    name: String,
    /// The name that the temporary file gets at the end, and the file for a last word with the disk.
    target: Option<(PathBuf, File)>,
    unfinished: Unfinished,
}

impl Output {
    /// Standard output. With `colour`, old Windows consoles are helped to show it.
    pub(crate) fn stdout(colour: bool) -> Self {
        let lock = io::stdout().lock();
        let sink: Box<dyn Write> = if colour {
            Box::new(AutoStream::always(lock))
        } else {
            Box::new(lock)
        };
        Self::new(sink, "standard output".to_owned())
    }

    /// The file of this name. A device or a pipe is written to as it is.
    pub(crate) fn file(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        // A link stays a link: what it points to is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let present = fs::metadata(&target).ok();
        if present.as_ref().is_some_and(fs::Metadata::is_dir) {
            bail!("{name}: is a folder; --output wants the name of a file");
        }
        if present.as_ref().is_some_and(|about| !about.is_file()) {
            let device = OpenOptions::new().write(true).open(&target);
            let device = device.with_context(|| format!("{name}: can't be written"))?;
            return Ok(Self::new(Box::new(device), name));
        }
        let (file, temporary) =
            create_beside(&target).with_context(|| format!("{name}: can't be written"))?;
        let mut output = Self::new(Box::new(Growing::new(file.try_clone()?)), name);
        output.unfinished.set(Some(temporary));
        if let Some(about) = present {
            // As the file that it replaces. Some file systems know no permissions; the report is worth more.
            let _ = file.set_permissions(about.permissions());
        }
        output.target = Some((target, file));
        Ok(output)
    }

    fn new(sink: Box<dyn Write>, name: String) -> Self {
        Self {
            sink: Some(BufWriter::with_capacity(BUFFER_BYTES, sink)),
            name,
            target: None,
            unfinished: Unfinished::default(),
        }
    }

    /// The handle by which the temporary file can be removed from elsewhere.
    pub(crate) fn unfinished(&self) -> Unfinished {
        self.unfinished.clone()
    }

    /// The words for an error while writing.
    pub(crate) fn fault(&self, error: io::Error) -> anyhow::Error {
        let kept = if self.target.is_some() {
            ", and no part of it was kept"
        } else {
            ""
        };
        let context = format!("{}: can't be written{kept}", self.name);
        anyhow::Error::new(error).context(context)
    }

    /// Writes what is still in memory, and gives a file its name.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let done = self.close();
        done.map_err(|error| self.fault(error))
    }

    fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        if let Some((target, file)) = &self.target {
            // A file system across the network may tell of a full disk only now. A large report has been told before,
            // with one of its many writes, and to wait until it is on the disk can take longer than the analysis.
            let length = file.metadata()?.len();
            if length > RESERVED_FROM_BYTES {
                // What was reserved beyond the end is given back. It is no loss where that can't be.
                let _ = file.set_len(length);
            }
            if length <= SYNC_BYTES_MAX {
                file.sync_all()?;
            }
            let temporary = self.unfinished.0.lock();
            let mut temporary = temporary.unwrap_or_else(PoisonError::into_inner);
            if let Some(path) = temporary.as_ref() {
                fs::rename(path, target)?;
                *temporary = None;
            }
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Some(sink) => sink.write(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            drop(sink.into_parts()); // without another try to write what could not be written
        }
        self.target = None; // an open file can't be removed on Windows
        self.unfinished.remove();
    }
}

/// A new file in the folder of `target`, so that a rename is one step.
fn create_beside(target: &Path) -> io::Result<(File, PathBuf)> {
    let Some(name) = target.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is no name of a file",
        ));
    };
    let mut number = 0_u32;
    loop {
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{number}.tmp", std::process::id()));
        let path = target.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => {
                number += 1;
            }
            Err(error) => return Err(error),
            Ok(file) => return Ok((file, path)),
        }
    }
}

/// The reader of our output has gone: no error, but the end.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_whole_and_holds_no_more_room_than_it_needs() {
        let folder = folder("large");
        let path = folder.join("report.ndjson");
        let mut output = Output::file(&path).unwrap();
        let line = [b'x'; 100_000];
        for _ in 0..100 {
            output.write_all(&line).unwrap();
        }
        output.finish().unwrap();
        let about = fs::metadata(&path).unwrap();
        assert_eq!(about.len(), 10_000_000);
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::fs::MetadataExt;
            assert!(about.blocks() * 512 < 12_000_000, "{}", about.blocks());
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    /// A folder of its own for each test.
    fn folder(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("tlscope-output-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_appears_only_when_whole() {
        let folder = folder("whole");
        let path = folder.join("report.json");
        fs::write(&path, "old").unwrap();
        let mut output = Output::file(&path).unwrap();
        output.write_all(b"new").unwrap();
        output.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(&folder), ["report.json"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn nothing_is_left_of_an_unfinished_file() {
        let folder = folder("left");
        let path = folder.join("report.json");
        let mut output = Output::file(&path).unwrap();
        output.write_all(b"half").unwrap();
        assert_eq!(names(&folder).len(), 1);
        drop(output);
        assert!(names(&folder).is_empty());

        let output = Output::file(&path).unwrap();
        output.unfinished().remove();
        assert!(names(&folder).is_empty());
        assert!(output.finish().is_ok(), "Ctrl-C came first");
        assert!(names(&folder).is_empty());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn folders_and_missing_folders_are_refused_by_name() {
        let folder = folder("refused");
        let error = Output::file(&folder).err().unwrap();
        assert!(error.to_string().contains("is a folder"), "{error}");
        let error = Output::file(&folder.join("none/report.json"))
            .err()
            .unwrap();
        assert!(error.to_string().contains("report.json: can't be written"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_links_stay_what_they_are() {
        let mut output = Output::file(Path::new("/dev/null")).unwrap();
        output.write_all(b"x").unwrap();
        output.finish().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());

        let folder = folder("link");
        fs::write(folder.join("there"), "old").unwrap();
        std::os::unix::fs::symlink(folder.join("there"), folder.join("link")).unwrap();
        let mut output = Output::file(&folder.join("link")).unwrap();
        output.write_all(b"new").unwrap();
        output.finish().unwrap();
        assert!(
            fs::symlink_metadata(folder.join("link"))
                .unwrap()
                .is_symlink()
        );
        assert_eq!(fs::read(folder.join("there")).unwrap(), b"new");
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named() {
        let mut output = Output::file(Path::new("/dev/full")).unwrap();
        output.write_all(b"x").unwrap();
        let error = output.finish().unwrap_err();
        assert!(format!("{error:#}").starts_with("/dev/full: can't be written: No space left"));
        assert!(!is_broken_pipe(&error));
    }
}
