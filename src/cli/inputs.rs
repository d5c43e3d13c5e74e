//! From the names on the command line to the captures to read, in the order in which to read them.

use std::{
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};
use tlscope::{
    capture::open::{Input, first_packet_time},
    error::Error,
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

/// Resolves the names: `-` is standard input, a folder stands for the captures in it.
pub(crate) fn expand(names: &[PathBuf]) -> Inputs {
    let mut inputs = Inputs::default();
    for name in names {
        if name.as_os_str() == "-" {
            stdin(&mut inputs);
        } else if name.is_dir() {
            folder(name, &mut inputs);
        } else {
            inputs.list.push(Input::File(name.clone())); // whether it can be read, reading will tell
        }
    }
    inputs
}

fn stdin(inputs: &mut Inputs) {
    let fault = if io::stdin().is_terminal() {
        "-: standard input is a terminal; pipe a capture into it, as in `tcpdump -w - tcp | tlscope -`"
    } else if inputs
        .list
        .iter()
        .any(|input| matches!(input, Input::Stdin))
    {
        "-: standard input can be read only once"
    } else {
        inputs.list.push(Input::Stdin);
        return;
    };
    inputs.faults.push(fault.to_owned());
}

/// The captures of a folder, without those of its subfolders and without hidden files.
fn folder(path: &Path, inputs: &mut Inputs) {
    let files = match files_in(path) {
        Ok(files) => files,
        Err(source) => {
            let name = path.display().to_string();
            inputs.faults.push(words(&Error::Io { name, source }));
            return;
        }
    };
    let (captures, others) = order_by_first_packet(files);
    if captures.is_empty() {
        let path = path.to_owned();
        inputs.faults.push(words(&Error::EmptyFolder { path }));
    }
    if others > 0 {
        let files = if others == 1 { "file is" } else { "files are" };
        inputs.notes.push(format!(
            "{}: {others} {files} no capture, and passed over",
            path.display()
        ));
    }
    inputs.list.extend(captures.into_iter().map(Input::File));
}

fn files_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// Puts files into the order of their first packet; those of one time, or without packets, into that of their names.
/// Also says how many were no captures and are left out. A file that can't be read stays: reading it will say why.
pub(crate) fn order_by_first_packet(files: Vec<PathBuf>) -> (Vec<PathBuf>, usize) {
    order_by(files, first_packet_time)
}

fn order_by(
    files: Vec<PathBuf>,
    first_packet_time: impl Fn(&Path) -> Result<Option<i64>, Error>,
) -> (Vec<PathBuf>, usize) {
    let mut others = 0;
    let mut timed: Vec<(i64, PathBuf)> = Vec::with_capacity(files.len());
    for file in files {
        match first_packet_time(&file) {
            Ok(time) => timed.push((time.unwrap_or(i64::MIN), file)),
            Err(Error::NotACapture { .. } | Error::Empty { .. }) => others += 1,
            Err(_) => timed.push((i64::MIN, file)),
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
        #[cfg(all(feature = "live", target_os = "linux"))]
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
        let (ordered, others) = order_by(files.map(PathBuf::from).to_vec(), time);
        let expected = ["locked.pcap", "b.pcap", "c.pcap", "d.pcap", "a.pcap"];
        assert_eq!(ordered, expected.map(PathBuf::from));
        assert_eq!(others, 1);
    }

    #[test]
    fn without_times_the_names_decide() {
        let files = ["b", "c", "a"].map(PathBuf::from).to_vec();
        let (ordered, _) = order_by(files, |_| Ok(None));
        assert_eq!(ordered, ["a", "b", "c"].map(PathBuf::from));
    }

    #[test]
    fn folders_are_listed_without_hidden_files_and_subfolders() {
        let folder = std::env::temp_dir().join(format!("tlscope-inputs-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("sub.pcap")).unwrap();
        for name in ["a.pcap", ".hidden.pcap"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        assert_eq!(files_in(&folder).unwrap(), [folder.join("a.pcap")]);

        let inputs = expand(&[folder.join("sub.pcap"), "missing.pcap".into()]);
        assert_eq!(inputs.faults.len(), 1);
        assert!(inputs.faults[0].contains("no capture files in this folder"));
        assert!(
            matches!(&inputs.list[..], [Input::File(path)] if path == Path::new("missing.pcap"))
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
