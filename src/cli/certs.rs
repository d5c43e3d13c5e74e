//! `tlscope certs`: the certificates that were shown in clear, and their files.

use super::{
    exit::Exit,
    inputs::{self, Inputs},
    keylog::KeyLogs,
    output::Output,
    say,
};
use anyhow::Context;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use tlscope::{
    limits::Limits,
    pipeline::{self, Options, Progress},
    record::{Certificate, Digest, Endpoint, Handshake, Timestamp},
    report::sanitize::clean,
};

/// Different certificates that are listed.
const CERTIFICATES_MAX: usize = 16_384;
/// Servers that are named with a certificate.
const SERVERS_SHOWN: usize = 8;
/// Servers that are told apart for a certificate.
const SERVERS_MAX: usize = 1_024;

/// What to read, and where to put the certificates.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Captures; - is standard input, a folder is all captures in it by time
    ///
    /// A certificate is in clear up to TLS 1.2 only, and only where the session is not resumed; --keylog opens those of
    /// TLS 1.3.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write each certificate into this folder, as PEM
    #[arg(long, value_name = "FOLDER")]
    pem: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyLogs,
}

/// One certificate, and who showed it.
struct Seen {
    certificate: Arc<Certificate>,
    servers: BTreeSet<Endpoint>,
    names: BTreeSet<Box<str>>,
    times: u64,
    /// Clients showed it, to log on.
    by_client: bool,
}

/// Reads the captures and lists the certificates.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let Inputs { list, faults, .. } = inputs::expand(&args.files, false);
    faults.iter().for_each(|fault| say(fault));
    let mut all: BTreeMap<Digest<32>, Seen> = BTreeMap::new();
    let mut beyond = 0;
    let options = Options {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        keep_der: args.pem.is_some(),
        secrets: args.keys.read(&Limits::default(), false)?,
        ..Options::default()
    };
    let (_, errors) = pipeline::run(&list, &options, &Progress::default(), &mut |taken| {
        collect(taken.record, &mut all, &mut beyond);
        Ok(())
    })
    .context("the captures could not be read")?;
    errors.iter().for_each(|error| say(&inputs::words(error)));

    let mut output = Output::stdout(false);
    for (index, seen) in all.values().enumerate() {
        if index > 0 {
            writeln!(output)?;
        }
        describe(seen, &mut output)?;
    }
    output.finish()?;
    if all.is_empty() {
        say(
            "no certificate was shown in clear: TLS 1.3 hides them (--keylog opens them), and resumed sessions show none",
        );
    }
    if beyond > 0 {
        say(&format!("{beyond} more were seen than are kept"));
    }
    if let Some(folder) = &args.pem {
        save(&all, folder)?;
    }
    Ok(if faults.is_empty() && errors.is_empty() {
        Exit::Fine
    } else {
        Exit::Error
    })
}

fn collect(record: &Handshake, all: &mut BTreeMap<Digest<32>, Seen>, beyond: &mut u64) {
    let of_server = record.certificates.iter().map(|one| (one, false));
    let of_client = record.client_certificates.iter().map(|one| (one, true));
    for (certificate, by_client) in of_server.chain(of_client) {
        if !all.contains_key(&certificate.sha256) && all.len() >= CERTIFICATES_MAX {
            *beyond += 1;
            continue;
        }
        let seen = all.entry(certificate.sha256).or_insert_with(|| Seen {
            certificate: Arc::clone(certificate),
            servers: BTreeSet::new(),
            names: BTreeSet::new(),
            times: 0,
            by_client,
        });
        seen.times += 1;
        if seen.servers.len() < SERVERS_MAX {
            seen.servers.insert(record.server);
        }
        let name = record
            .client_hello
            .as_ref()
            .and_then(|hello| hello.sni.as_ref());
        if let Some(name) = name
            && seen.names.len() < SERVERS_MAX
            && !seen.names.contains(name)
        {
            seen.names.insert(name.clone());
        }
    }
}

fn describe(seen: &Seen, out: &mut impl Write) -> io::Result<()> {
    let certificate = &*seen.certificate;
    let text = |text: &Option<Box<str>>| clean(text.as_deref().unwrap_or("-")).into_owned();
    let time = |time: Option<Timestamp>| time.map_or_else(|| "?".to_owned(), day);
    let subject = match certificate.malformed {
        true => "(not readable as a certificate)".to_owned(),
        false => text(&certificate.subject),
    };
    writeln!(out, "{subject}")?;
    let mut row = |name: &str, value: &str| writeln!(out, "  {name:<12}{value}");
    if !certificate.san.is_empty() {
        row("names", &some(certificate.san.iter(), 32))?;
    }
    row("issuer", &text(&certificate.issuer))?;
    row("serial", &text(&certificate.serial))?;
    row(
        "valid",
        &format!(
            "{} to {}",
            time(certificate.not_before),
            time(certificate.not_after)
        ),
    )?;
    row(
        "key",
        &format!(
            "{}, signed with {}",
            text(&certificate.key),
            text(&certificate.signature_algorithm)
        ),
    )?;
    row("thumbprint", &certificate.sha1.to_string())?;
    row("SHA-256", &certificate.sha256.to_string())?;
    if let Some(key) = certificate.spki_sha256 {
        row("key SHA-256", &key.to_string())?;
    }
    let who = if seen.by_client {
        "shown to"
    } else {
        "shown by"
    };
    let times = if seen.times == 1 { "time" } else { "times" };
    let servers = some(seen.servers.iter(), SERVERS_SHOWN);
    row(who, &format!("{servers} ({} {times})", seen.times))?;
    if !seen.names.is_empty() {
        row("asked as", &some(seen.names.iter(), SERVERS_SHOWN))?;
    }
    Ok(())
}

/// The first few of many, and how many there are besides.
fn some<T: ToString>(values: impl ExactSizeIterator<Item = T>, shown: usize) -> String {
    let more = values.len().saturating_sub(shown);
    let mut words: Vec<String> = values
        .take(shown)
        .map(|value| clean(&value.to_string()).into_owned())
        .collect();
    if more > 0 {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

/// `2026-11-20`.
fn day(time: Timestamp) -> String {
    let text = time.to_string();
    text.split('T').next().unwrap_or(&text).to_owned()
}

fn save(all: &BTreeMap<Digest<32>, Seen>, folder: &Path) -> anyhow::Result<()> {
    let fault = || format!("{}: can't be written", folder.display());
    fs::create_dir_all(folder).with_context(fault)?;
    let mut saved = 0_u64;
    for seen in all.values() {
        if let Some(der) = seen.certificate.der.as_deref() {
            let path = folder.join(file_name(&seen.certificate));
            fs::write(&path, pem(der))
                .with_context(|| format!("{}: can't be written", path.display()))?;
            saved += 1;
        }
    }
    let files = if saved == 1 { "file" } else { "files" };
    say(&format!("{saved} {files} written to {}", folder.display()));
    Ok(())
}

/// The common name as far as it can be part of a file's name, and the beginning of the thumbprint.
fn file_name(certificate: &Certificate) -> String {
    let subject = certificate.subject.as_deref().unwrap_or_default();
    let name = subject
        .split("CN=")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap_or("certificate");
    let safe: String = name
        .trim()
        .chars()
        .take(64)
        .map(|one| match one {
            '*' => '_',
            one if one.is_ascii_alphanumeric() || matches!(one, '.' | '-') => one,
            _ => '_',
        })
        .collect();
    let safe = safe.trim_start_matches('.');
    let thumbprint = certificate.sha1.to_string();
    let short = thumbprint.get(..16).unwrap_or(&thumbprint);
    format!("{safe}-{short}.pem")
}

/// RFC 7468.
fn pem(der: &[u8]) -> String {
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            base64(group, &mut out);
        }
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// One to three bytes as four characters (RFC 4648 section 4).
fn base64(group: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    for place in 0..4_usize {
        let digit = (bits >> (18 - 6 * place)) & 0x3f;
        let character = ALPHABET.get(digit as usize).copied().unwrap_or(b'A');
        out.push(if place <= group.len() {
            char::from(character)
        } else {
            '='
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        let of = |bytes: &[u8]| {
            let text = pem(bytes);
            text.lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(of(b"f"), "Zg==");
        assert_eq!(of(b"fo"), "Zm8=");
        assert_eq!(of(b"foo"), "Zm9v");
        assert_eq!(of(b"foobar"), "Zm9vYmFy");
        assert!(pem(&[0xff; 100]).lines().all(|line| line.len() <= 64));
    }
}
