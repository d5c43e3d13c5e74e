//! From the names on the command line to the captures to read, in the order in which to read them.
//!
//! A name is a file, a folder, a pattern, or `-`. Files are read in the order of their first packet, however they were
//! named: shells put `ring.pcap10` before `ring.pcap2`.

use std::{
    collections::HashSet,
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tlscope::{
    capture::open::{Input, first_packet_time},
    error::Error,
    pipeline::Lister,
};

/// What to read, and what is wrong with the rest.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Captures in order.
    pub(crate) list: Vec<Input>,
    /// Names that lead nowhere, in words.
    pub(crate) faults: Vec<String>,
    /// What else there is to say.
    pub(crate) notes: Vec<String>,
}

/// A file to read, and whether it was named itself: then it is not passed over if it is no capture.
struct Candidate {
    path: PathBuf,
    named: bool,
}

/// Resolves the names: `-` is standard input, a folder stands for the captures in it, a pattern for the files that it
/// matches. `may_come`: what is not there yet is waited for, and no fault.
pub(crate) fn expand(names: &[PathBuf], may_come: bool) -> Inputs {
    let mut inputs = Inputs::default();
    let (mut files, mut stdin) = (Vec::new(), false);
    for name in names {
        if name.as_os_str() == "-" {
            stdin |= take_stdin(stdin, &mut inputs);
        } else if is_set(name) {
            set(name, may_come, &mut files, &mut inputs);
        } else {
            files.push(Candidate {
                path: name.clone(), // whether it can be read, reading will tell
                named: true,
            });
        }
    }
    let mut seen = HashSet::new();
    files.retain(|file| file.named || seen.insert(file.path.clone()));
    let ordered = if files.len() > 1 || !files.iter().all(|file| file.named) {
        order_by(files, first_packet_time)
    } else {
        (files.into_iter().map(|file| file.path).collect(), 0)
    };
    let (paths, others) = ordered;
    if others > 0 {
        let files = if others == 1 { "file is" } else { "files are" };
        inputs
            .notes
            .push(format!("{others} {files} no capture, and passed over"));
    }
    inputs.list = paths.into_iter().map(Input::File).collect();
    // It comes last: it may be without an end.
    inputs.list.extend(stdin.then_some(Input::Stdin));
    if inputs.list.is_empty() && inputs.faults.is_empty() && !may_come {
        let path = names.first().cloned().unwrap_or_default();
        inputs.faults.push(words(&Error::EmptyFolder { path }));
    }
    inputs
}

/// Names the files of all folders and patterns among the names, those written last at the end.
pub(crate) fn lister(names: &[PathBuf]) -> Lister {
    let sets: Vec<PathBuf> = names.iter().filter(|name| is_set(name)).cloned().collect();
    Arc::new(move || {
        let mut files: Vec<(SystemTime, PathBuf)> = (sets.iter())
            .filter_map(|set| files_of(set).ok())
            .flatten()
            .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
            .collect();
        files.sort();
        files.dedup();
        files.into_iter().map(|(_, path)| path).collect()
    })
}

/// A folder, or a pattern that is no file's name.
fn is_set(name: &Path) -> bool {
    name.is_dir() || (is_pattern(name) && !name.exists())
}

fn is_pattern(name: &Path) -> bool {
    name.to_str()
        .is_some_and(|name| name.contains(['*', '?', '[']))
}

/// Whether standard input can be read; a fault says why not.
fn take_stdin(taken: bool, inputs: &mut Inputs) -> bool {
    let fault = if io::stdin().is_terminal() {
        "-: standard input is a terminal; pipe a capture into it, as in `tcpdump -w - tcp | tlscope -`"
    } else if taken {
        "-: standard input can be read only once"
    } else {
        return true;
    };
    inputs.faults.push(fault.to_owned());
    false
}

/// The files of a folder or a pattern.
fn set(name: &Path, may_come: bool, files: &mut Vec<Candidate>, inputs: &mut Inputs) {
    match files_of(name) {
        Ok(found) if found.is_empty() && !may_come => inputs.faults.push(if name.is_dir() {
            let path = name.to_owned();
            words(&Error::EmptyFolder { path })
        } else {
            format!("{}: no file has such a name", name.display())
        }),
        Ok(found) => files.extend(
            found
                .into_iter()
                .map(|path| Candidate { path, named: false }),
        ),
        Err(source) => {
            let name = name.display().to_string();
            inputs.faults.push(words(&Error::Io { name, source }));
        }
    }
}

/// Of a folder the files in it, without those of its subfolders and without hidden ones.
fn files_of(name: &Path) -> io::Result<Vec<PathBuf>> {
    if name.is_dir() {
        let mut files = Vec::new();
        for entry in fs::read_dir(name)? {
            let entry = entry?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden && entry.path().is_file() {
                files.push(entry.path());
            }
        }
        return Ok(files);
    }
    let matches = glob::glob(name.to_str().unwrap_or_default())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(matches.flatten().filter(|path| path.is_file()).collect())
}

/// Puts files into the order of their first packet; those of one time, or without packets, stay as they were named, or
/// come in the order of their names. Also says how many were no captures and are left out. A file that can't
/// be read stays: reading it will say why.
fn order_by(
    files: Vec<Candidate>,
    first_packet_time: impl Fn(&Path) -> Result<Option<i64>, Error>,
) -> (Vec<PathBuf>, usize) {
    let mut others = 0;
    let mut timed: Vec<(i64, PathBuf)> = Vec::with_capacity(files.len());
    for Candidate { path, named } in files {
        match first_packet_time(&path) {
            Ok(time) => timed.push((time.unwrap_or(i64::MIN), path)),
            Err(Error::NotACapture { .. } | Error::Empty { .. }) if !named => others += 1,
            Err(_) => timed.push((i64::MIN, path)),
        }
    }
    timed.sort();
    (timed.into_iter().map(|(_, file)| file).collect(), others)
}

/// A fault with what to do about it.
pub(crate) fn words(error: &Error) -> String {
    let advice = match error {
        Error::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => "; check the name (`tlscope --help` lists the commands)",
            io::ErrorKind::PermissionDenied => {
                "; run tlscope as someone who may read it, or make a copy"
            }
            _ => "",
        },
        Error::Empty { .. } => "; was the capture stopped before it saw a packet?",
        Error::NoInterface { .. } => "; `tlscope interfaces` lists those that are there",
        #[cfg(any(
            feature = "libpcap",
            all(feature = "live", target_os = "linux", not(tlscope_portable))
        ))]
        Error::NoCaptureRight { .. } => {
            return format!("{error}. {}", super::interfaces::advice());
        }
        Error::EmptyFolder { .. } => "; subfolders are not searched",
        _ => "",
    };
    format!("{error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_of(names: &[&str]) -> Vec<Candidate> {
        let one = |name: &&str| Candidate {
            path: name.into(),
            named: false,
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn captures_come_in_the_order_of_their_first_packet() {
        let files = [
            "d.pcap",
            "c.pcap",
            "notes.txt",
            "b.pcap",
            "a.pcap",
            "locked.pcap",
        ];
        let time = |path: &Path| match path.to_str().unwrap() {
            "a.pcap" => Ok(Some(300)),
            "b.pcap" => Ok(Some(100)),
            "c.pcap" | "d.pcap" => Ok(Some(200)),
            "locked.pcap" => Err(Error::Io {
                name: "locked.pcap".into(),
                source: io::ErrorKind::PermissionDenied.into(),
            }),
            name => Err(Error::NotACapture {
                name: name.into(),
                found: "text".into(),
            }),
        };
        let (ordered, others) = order_by(set_of(&files), time);
        let expected = ["locked.pcap", "b.pcap", "c.pcap", "d.pcap", "a.pcap"];
        assert_eq!(ordered, expected.map(PathBuf::from));
        assert_eq!(others, 1);

        // What was named itself is not passed over: reading it says what it is.
        let mut named = set_of(&["a.pcap", "notes.txt"]);
        named.iter_mut().for_each(|file| file.named = true);
        let (ordered, others) = order_by(named, time);
        assert_eq!(ordered, ["notes.txt", "a.pcap"].map(PathBuf::from));
        assert_eq!(others, 0);
    }

    #[test]
    fn without_times_the_names_decide() {
        let (ordered, _) = order_by(set_of(&["b", "c", "a"]), |_| Ok(None));
        assert_eq!(ordered, ["a", "b", "c"].map(PathBuf::from));
    }

    #[test]
    fn folders_and_patterns_are_listed_without_hidden_files_and_subfolders() {
        let folder = std::env::temp_dir().join(format!("tlscope-inputs-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("sub.pcap")).unwrap();
        for name in ["a.pcap", ".hidden.pcap", "b[1].pcap"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        let mut files = files_of(&folder).unwrap();
        files.sort();
        assert_eq!(files, [folder.join("a.pcap"), folder.join("b[1].pcap")]);
        let pattern = folder.join("?.pcap");
        assert!(is_set(&pattern) && is_set(&folder));
        assert_eq!(files_of(&pattern).unwrap(), [folder.join("a.pcap")]);
        assert!(
            !is_set(&folder.join("b[1].pcap")),
            "a file of that name is there"
        );
        assert_eq!(
            lister(std::slice::from_ref(&pattern))(),
            [folder.join("a.pcap")]
        );

        let none = folder.join("*.etl");
        let inputs = expand(
            &[folder.join("sub.pcap"), "missing.pcap".into(), none.clone()],
            false,
        );
        assert_eq!(inputs.faults.len(), 2);
        assert!(inputs.faults[0].contains("no capture files in this folder"));
        assert!(inputs.faults[1].contains("*.etl: no file has such a name"));
        assert!(
            matches!(&inputs.list[..], [Input::File(path)] if path == Path::new("missing.pcap"))
        );
        assert!(expand(&[none], true).faults.is_empty(), "it may come");
        fs::remove_dir_all(folder).unwrap();
    }
}
