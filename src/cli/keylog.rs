//! `--keylog`: key logs are read before the captures, line by line, and their secrets handed to the run.

use super::say;
use anyhow::Context;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tlscope::{
    limits::Limits,
    pipeline::LookForSecrets,
    tls::keylog::{LINE_BYTES_MAX, Line, Secrets},
};

/// Secrets of the sessions in the captures.
#[derive(clap::Args)]
pub(crate) struct KeyLogs {
    /// Decrypt handshakes with the secrets in this key log; may be repeated
    ///
    /// With them the report knows, under TLS 1.3 too, which protocol the
    /// server chose (ALPN), which certificates both sides showed and which
    /// alert ended it; and of HTTP/2 its SETTINGS and its GOAWAY, such as
    /// INADEQUATE_SECURITY. Other application data is neither kept nor shown,
    /// and secrets are never printed. Keep the file as safe as a password, and
    /// delete it afterwards.
    ///
    /// It must be of the sessions in the capture, and can't be made later.
    /// On the client's machine close the program, set the variable, start the
    /// program anew, then capture:
    ///
    ///   Windows  setx SSLKEYLOGFILE C:\keys\keys.log
    ///            (undo: reg delete HKCU\Environment /v SSLKEYLOGFILE /f)
    ///   Linux    SSLKEYLOGFILE=/tmp/keys.log google-chrome
    ///   macOS    launchctl setenv SSLKEYLOGFILE /tmp/keys.log
    ///
    /// Chrome, Edge, Firefox, Python and curl heed it (not the curl.exe of
    /// Windows). Others have their own ways: node --tls-keylog=FILE, openssl
    /// s_client -keylogfile FILE, agents for Java such as jSSLKeyLog.
    /// Schannel has none: Internet Explorer, Outlook, .NET on Windows, AD FS,
    /// Exchange and IIS write no key log. Let one of the above be the client,
    /// or capture behind the device that ends TLS.
    ///
    /// Secrets inside a pcapng file are used without this option:
    ///   editcap --inject-secrets tls,keys.log in.pcapng out.pcapng
    /// They may stand anywhere in a file that is not compressed; elsewhere,
    /// in front of the packets that they open.
    ///
    /// Where captures are followed, or interfaces watched, the log is read on
    /// as it grows, and packets wait for a quarter of a second for their
    /// secrets.
    ///
    /// Not decrypted: early data, DTLS, what QUIC carries behind the handshake,
    /// sessions with Encrypted ClientHello that the server accepted, and
    /// suites with 3DES, RC4, Camellia or ARIA.
    /// Behind the handshake, the first 64 KiB of each direction are searched
    /// for GOAWAY, alerts and late handshake messages, then records of up to
    /// 1 KiB.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    keylog: Vec<PathBuf>,
}

impl KeyLogs {
    /// Reads all logs.
    pub(crate) fn read(&self, limits: &Limits, quiet: bool) -> anyhow::Result<Arc<Secrets>> {
        let secrets = Arc::new(Secrets::default());
        for path in &self.keylog {
            let before = secrets.len();
            let again = read(path, &secrets, limits)
                .with_context(|| format!("{}: the key log could not be read", path.display()))?;
            if secrets.len() == before && again == 0 && !quiet {
                say(&format!(
                    "{}: no secrets in it; lines like `CLIENT_RANDOM …` are expected (`tlscope --help`)",
                    path.display()
                ));
            }
        }
        Ok(secrets)
    }

    /// What reads on in logs that grow; `None` where there are none.
    pub(crate) fn growing(
        &self,
        secrets: &Arc<Secrets>,
        limits: &Limits,
    ) -> anyhow::Result<Option<LookForSecrets>> {
        if self.keylog.is_empty() {
            return Ok(None);
        }
        let open = |path: &PathBuf| {
            let file = File::open(path)
                .with_context(|| format!("{}: the key log could not be read", path.display()))?;
            let (at, line) = (0, Vec::new());
            Ok(Log { file, at, line })
        };
        let growing = Mutex::new(Growing {
            logs: self
                .keylog
                .iter()
                .map(open)
                .collect::<anyhow::Result<_>>()?,
            secrets: Arc::clone(secrets),
            secrets_max: limits.secrets_max,
        });
        let look = move || {
            let mut growing = growing.lock().unwrap_or_else(PoisonError::into_inner);
            growing.look();
        };
        Ok(Some(Arc::new(look)))
    }
}

/// Key logs that may grow.
struct Growing {
    logs: Vec<Log>,
    secrets: Arc<Secrets>,
    secrets_max: usize,
}

/// One of them, open: it may be out of reach by name when rights are given up.
struct Log {
    file: File,
    /// Bytes that were read, and the start of a line that was not finished yet.
    at: u64,
    line: Vec<u8>,
}

impl Growing {
    /// Reads what was added.
    fn look(&mut self) {
        for log in &mut self.logs {
            // A log that can't be read for now may be later; what it lacks is counted as sessions without secrets.
            let _ = log.look(&self.secrets, self.secrets_max);
        }
    }
}

impl Log {
    fn look(&mut self, secrets: &Secrets, secrets_max: usize) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        if end < self.at {
            // It was begun anew.
            (self.at, self.line) = (0, Vec::new());
        }
        if end == self.at {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut reader = BufReader::new((&self.file).take(end - self.at));
        loop {
            let room = (LINE_BYTES_MAX + 2).saturating_sub(self.line.len()) as u64;
            let count = match room {
                0 => reader.skip_until(b'\n')?,
                _ => (reader.by_ref().take(room)).read_until(b'\n', &mut self.line)?,
            };
            self.at += count as u64;
            let is_whole = self.line.ends_with(b"\n");
            if count == 0 || (!is_whole && room > 0 && (count as u64) < room) {
                return Ok(()); // The line is still being written.
            }
            if is_whole || room == 0 {
                secrets.line(&self.line, 0, secrets_max);
                self.line.clear();
            }
        }
    }
}

/// Reads a log; says how many secrets of it were known before.
fn read(path: &Path, secrets: &Secrets, limits: &Limits) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut line, mut again) = (Vec::new(), 0);
    // A line may be as long as the file, if that is no key log.
    let most = LINE_BYTES_MAX as u64 + 2;
    while reader.by_ref().take(most).read_until(b'\n', &mut line)? > 0 {
        again += u64::from(secrets.line(&line, 0, limits.secrets_max) == Line::Again);
        if !line.ends_with(b"\n") {
            reader.skip_until(b'\n')?;
        }
        line.clear();
    }
    Ok(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_is_read_on_line_by_line() {
        let path = std::env::temp_dir().join(format!("tlscope-growing-{}", std::process::id()));
        let line = |byte: &str| format!("CLIENT_RANDOM {} {}\n", byte.repeat(32), "cd".repeat(48));
        std::fs::write(&path, line("01")).unwrap();
        let logs = KeyLogs {
            keylog: vec![path.clone()],
        };
        let secrets = Arc::new(Secrets::default());
        let look = logs.growing(&secrets, &Limits::default()).unwrap().unwrap();
        let add = |text: &str| {
            let mut file = File::options().append(true).open(&path).unwrap();
            io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            look();
            (secrets.len(), secrets.passed_over().0)
        };
        assert_eq!(add(""), (1, 0));
        let (front, back) = (&line("02")[..50], &line("02")[50..]);
        assert_eq!(add(front), (1, 0));
        assert_eq!(add(""), (1, 0));
        assert_eq!(add(&format!("{back}# a comment\n{}", line("03"))), (3, 0));
        // A line without end is one unreadable line, however it comes.
        assert_eq!(add(&"x".repeat(600)).0, 3);
        assert_eq!(add(&"x".repeat(100_000)).0, 3);
        assert_eq!(add(&format!("\n{}", line("04"))).0, 4);
        // The log is begun anew.
        std::fs::write(&path, line("05")).unwrap();
        assert_eq!(add("").0, 5);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn long_lines_and_lines_without_an_end_are_lines() {
        let path = std::env::temp_dir().join(format!("tlscope-keylog-{}", std::process::id()));
        let random = "ab".repeat(32);
        let secret = |label: &str| format!("{label} {random} {}", "cd".repeat(48));
        let log = format!(
            "# a log\r\n{}\r\n{}\n\n{}\n{}",
            secret("CLIENT_RANDOM"),
            "x".repeat(1 << 16),
            secret("EXPORTER_SECRET"),
            secret("SERVER_TRAFFIC_SECRET_0"),
        );
        std::fs::write(&path, log).unwrap();
        let secrets = Secrets::default();
        let limits = Limits::default();
        assert_eq!(read(&path, &secrets, &limits).unwrap(), 0);
        assert_eq!((secrets.len(), secrets.passed_over()), (2, (1, 0)));
        assert_eq!(read(&path, &secrets, &limits).unwrap(), 2);
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path, &secrets, &limits).is_err());
    }
}
