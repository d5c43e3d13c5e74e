//! `tlscope live`: interfaces in, records as they are known out, findings when they begin, change or end.
//!
//! All that needs a right or a name in the file system is opened first; then the fence goes up ([`system`]), and only
//! then the first packet is parsed. The analysis is the pipeline's, the same as over files; [`desk`] takes what comes
//! out of it.

mod desk;
mod judge;
mod lines;
mod metrics;
mod saved;
#[cfg(feature = "screen")]
mod screen;
mod series;
mod system;

use super::{
    exit::Exit,
    inputs,
    keylog::KeyLogs,
    lang::Language,
    reporting::{self, FailOn},
    say, size,
};
use anyhow::{Context, bail};
use clap::ColorChoice;
use desk::{Desk, Voice};
use lines::{Lines, Place};
use metrics::{Board, Metrics};
use saved::Saved;
use series::{Rotation, Series};
use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};
use tlscope::{
    capture::live::Interfaces,
    findings::Settings,
    limits::Limits,
    pipeline::{self, LookForSecrets, Options, Progress},
    report::{Format, View},
    tls::keylog::Secrets,
};

/// What to watch, and what to do with it.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    /// Interface to watch; may be given several times; any is all of them
    ///
    /// `tlscope interfaces` lists them. On loopback each packet is counted once.
    #[arg(short, long = "interface", value_name = "NAME", required = true)]
    interfaces: Vec<String>,

    /// Take packets that are not addressed to this machine, as from a span port
    #[arg(short, long)]
    promiscuous: bool,

    /// Take tunnels: GRE, IP in IP, MPLS, PPPoE (those inside UDP come anyway)
    #[arg(long)]
    tunnels: bool,

    /// Take only packets that this expression of libpcap describes, such as "port 443"
    ///
    /// The packets then come by libpcap (pcap-filter(7) describes the expressions).
    #[cfg(feature = "libpcap")]
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "tunnels")]
    filter: Option<String>,

    /// Nothing but an answer to whoever asks for it: this build has no libpcap.
    #[cfg(not(feature = "libpcap"))]
    #[arg(long, hide = true, value_parser = no_filter)]
    #[allow(dead_code)]
    filter: Option<String>,

    /// How to write what is found [default: ndjson; text on a terminal]
    #[arg(short, long, value_name = "FORMAT", value_parser = reporting::format_parser())]
    format: Option<&'static Format>,

    /// Write records to this file, line by line, and rotate it
    ///
    /// The file steps aside under a name with its time when it is large or old enough. SIGHUP opens it anew.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Keep the packets of handshakes in this folder, as pcapng, rotated
    ///
    /// Hellos, certificates, alerts and what opens and closes connections; never application data, also not encrypted,
    /// and nothing that was said in clear. Under TLS 1.3 this leaves the encrypted rest of the handshake out, too.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,

    /// Size at which a file steps aside
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = size::parse)]
    rotate_size: usize,

    /// Age at which a file steps aside, such as 1h [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    rotate_every: Option<Duration>,

    /// Files that stay beside the one being written
    #[arg(long, value_name = "N", default_value_t = 20)]
    keep: usize,

    /// Time for which findings remember handshakes
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_time)]
    window: Duration,

    /// Stop after this time [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    duration: Option<Duration>,

    /// Serve Prometheus metrics and /healthz at this address, such as 127.0.0.1:9184
    ///
    /// A port alone is served on loopback only. There is neither a password nor encryption.
    #[arg(long, value_name = "ADDR", value_parser = metrics::parse_address)]
    metrics: Option<std::net::SocketAddr>,

    #[command(flatten)]
    rights: system::Rights,

    #[command(flatten)]
    keys: KeyLogs,

    /// Record each TCP connection, not only those with TLS
    #[arg(long)]
    all_connections: bool,

    /// Threads to use
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,

    /// Memory to take at most [default: 512MiB]
    #[arg(long, value_name = "SIZE", value_parser = size::parse_memory)]
    memory: Option<usize>,

    /// Memory in which the kernel keeps packets until they are analysed, of each interface
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_ring)]
    ring: usize,

    /// Exit with 1 if at the end a finding is at least this bad
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Never)]
    fail_on: FailOn,

    /// Say nothing but what is wrong
    #[arg(short, long)]
    quiet: bool,

    /// When to use colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,

    /// Language of the findings and of the text report [default: that of the locale]
    #[arg(long, value_enum)]
    lang: Option<Language>,

    /// Read thresholds, farms, proxies and ports from this file
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
}

/// Watches until it is told to stop.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    args.check()?;
    let mut settings = super::config::load(args.config.as_deref(), args.lang)?;
    let limits = super::reporting::share_memory(args.memory, &mut settings);
    // Before any thread is started, so that all of them leave signals alone.
    let signals = system::Signals::hold()?;
    let voice = Voice::default();
    let watched =
        system::open(args, voice.tell()).map_err(|error| anyhow::anyhow!(inputs::words(&error)))?;
    let listener = args.metrics.map(metrics::bind).transpose()?;
    let board = Arc::new(Board::new(watched.names(), watched.counters()));
    let secrets = Arc::default();
    let look_for_secrets = args.keys.growing(&secrets, &limits)?;
    args.drop_rights()?;

    // With the rights that are left, so that it shows at once if they are too few.
    let lines = Lines::new(args.place()?);
    let saved = (args.write.as_deref())
        .map(|folder| Saved::open(folder, args.rotation(), watched.names()))
        .transpose()?;
    let progress = Arc::new(Progress::default());
    let reopen = Arc::new(AtomicBool::new(false));
    signals.heed(
        Arc::clone(&progress),
        Arc::clone(&reopen),
        args.wants_screen(),
    );
    if let Some(listener) = listener {
        Metrics::serve(listener, Arc::clone(&board), Arc::clone(&progress));
    }
    let places = (lines, saved);
    let desk = Desk::new(args, &settings, voice, places, board, progress, reopen);
    let keys = (secrets, look_for_secrets);
    args.watch(&settings, limits, keys, watched, desk)
}

/// How often what DNS told goes to the findings.
const NAMES_EVERY_NS: i64 = 5_000_000_000;
/// Why a file could not be made, mostly.
const NO_FILE: &str = "can't be written with the rights that are left; give the folder to the user that tlscope becomes \
                       (chown nobody), name another one by --user, or keep all rights by --no-drop";

impl Args {
    /// Says what can't work, before rights and interfaces come into it.
    fn check(&self) -> anyhow::Result<()> {
        let names = &self.interfaces;
        let is_twice = |(at, name): (usize, &String)| names.iter().take(at).any(|one| one == name);
        if let Some((_, name)) = names.iter().enumerate().find(|one| is_twice(*one)) {
            bail!("{name} is named twice");
        }
        if names.len() > 1 && names.iter().any(|name| name == "any") {
            bail!("any is all interfaces: name it alone");
        }
        let folders = [&self.output, &self.write].into_iter().flatten();
        let mut folders = folders.filter_map(|path| path.parent());
        let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
        if let Some(folder) = folders.find(is_missing) {
            bail!(
                "{}: there is no such folder; make it first",
                folder.display()
            );
        }
        Ok(())
    }

    /// The format that was asked for, else what suits whoever reads.
    fn format(&self) -> &'static Format {
        let eyes = self.output.is_none() && io::stdout().is_terminal();
        let fitting = |format: &&Format| format.streams != eyes;
        self.format
            .or_else(|| tlscope::report::REPORTS.iter().find(fitting))
            .unwrap_or(&tlscope::report::REPORTS[0])
    }

    /// A terminal looks on, and nothing else was asked for.
    #[cfg(feature = "screen")]
    fn wants_screen(&self) -> bool {
        let eyes = io::stdout().is_terminal() && io::stdin().is_terminal();
        self.format.is_none() && self.output.is_none() && eyes
    }

    #[cfg(not(feature = "screen"))]
    fn wants_screen(&self) -> bool {
        false
    }

    fn view(&self, settings: &Settings) -> View {
        let terminal = self.output.is_none() && io::stdout().is_terminal();
        View {
            width: if terminal {
                reporting::terminal_width()
            } else {
                80
            },
            colour: reporting::wants_colour(self.color, terminal),
            terminal,
            findings_only: self.quiet,
            lang: settings.lang,
            ..View::default()
        }
    }

    fn rotation(&self) -> Rotation {
        Rotation {
            bytes: self.rotate_size as u64,
            age: self.rotate_every,
            keep: self.keep,
        }
    }

    fn place(&self) -> anyhow::Result<Place> {
        let path = self
            .output
            .as_deref()
            .filter(|path| path.as_os_str() != "-");
        let Some(path) = path else {
            return Ok(Place::Stdout);
        };
        if !self.format().streams || self.format().name == "json" {
            bail!("--output wants lines: give --format ndjson");
        }
        let series = Series::open(path, self.rotation())
            .with_context(|| format!("{}: {NO_FILE}", path.display()))?;
        Ok(Place::File(Box::new(series)))
    }

    /// Makes the folder that packets go to, and gives up what is not needed any more.
    fn drop_rights(&self) -> anyhow::Result<()> {
        if let Some(folder) = self.write.as_deref().filter(|folder| !folder.exists()) {
            std::fs::create_dir(folder)
                .with_context(|| format!("{}: can't be made", folder.display()))?;
            self.rights.give(folder)?;
        }
        self.rights.drop(self)
    }

    #[cfg(feature = "screen")]
    fn screen(
        &self,
        settings: &Settings,
        desk: &mut Desk<'_>,
    ) -> anyhow::Result<Option<screen::Screen>> {
        if !self.wants_screen() {
            return Ok(None);
        }
        let shown = screen::Shown::default();
        desk.show(shown.clone());
        let colour = reporting::wants_colour(self.color, true);
        let (board, progress) = (desk.board(), desk.progress());
        let screen = screen::Screen::start(shown, board, progress, settings.lang, colour);
        Ok(Some(screen.context(
            "the terminal can't be used for a screen; give --format text",
        )?))
    }

    fn watch(
        &self,
        settings: &Settings,
        limits: Limits,
        (secrets, look_for_secrets): (Arc<Secrets>, Option<LookForSecrets>),
        watched: Box<dyn Interfaces>,
        mut desk: Desk<'_>,
    ) -> anyhow::Result<Exit> {
        let started = Instant::now();
        let options = Options {
            threads: usize::from(self.threads),
            limits,
            all_connections: self.all_connections,
            keep_handshakes: self.write.is_some(),
            hand_names_over_ns: Some(NAMES_EVERY_NS),
            tls_ports: settings.tls_ports.clone(),
            settings: settings.clone(),
            render: self.format().render,
            secrets,
            look_for_secrets,
            ..Options::default()
        };
        #[cfg(feature = "screen")]
        let screen = self.screen(settings, &mut desk)?;
        #[cfg(feature = "screen")]
        let silent = self.quiet || screen.is_some();
        #[cfg(not(feature = "screen"))]
        let silent = self.quiet;
        if !silent {
            let names = watched.names().join(", ");
            say(&format!("watching {names}; Ctrl-C ends it with the report"));
        }
        let progress = desk.progress();
        let result = pipeline::watch(watched, &options, &progress, &mut desk);
        #[cfg(feature = "screen")]
        if let Some(screen) = screen {
            screen.end();
        }
        let (summary, errors) = result?;
        errors.iter().for_each(|error| say(&inputs::words(error)));
        let findings = desk.finish(summary, started.elapsed())?;
        Ok(if !errors.is_empty() {
            Exit::Error
        } else if self.fail_on.is_met_by(&findings) {
            Exit::Findings
        } else {
            Exit::Fine
        })
    }
}

/// Times as people write them: `30s`, `5m`, `1h`, `7d`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; write it as 30s, 5m, 1h or 7d");
    let (number, unit) = text.split_at(
        text.trim_end_matches(|c: char| c.is_ascii_alphabetic())
            .len(),
    );
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        Some(seconds @ 1..=3_153_600_000) => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

#[cfg(not(feature = "libpcap"))]
fn no_filter(_: &str) -> Result<String, String> {
    Err("this tlscope was built without libpcap, which reads such expressions: cargo build --release --features libpcap".into())
}

fn parse_ring(text: &str) -> Result<usize, String> {
    match size::parse(text)? {
        bytes @ 0x20_0000..=0x8000_0000 => Ok(bytes),
        _ => Err(format!("`{text}`: give 2MiB to 2GiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        for (text, seconds) in [
            ("30", 30),
            ("30s", 30),
            ("5m", 300),
            ("1h", 3600),
            ("7d", 604_800),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "0s", "1.5h", "-1s", "h", "1w", "99999999999999999999d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
