//! The command line. Each subcommand is one file with its `Args` and a `run`, one variant of [`Command`] and one arm
//! in [`main`]. Results go to standard output, everything said about the run to standard error.

mod analyze;
mod certs;
mod config;
mod diagnose;
mod examples;
mod exit;
mod explain;
mod inputs;
#[cfg(any(
    feature = "libpcap",
    all(feature = "live", target_os = "linux", not(tlscope_portable))
))]
mod interfaces;
mod interrupt;
mod keylog;
mod lang;
#[cfg(any(
    feature = "libpcap",
    all(feature = "live", target_os = "linux", not(tlscope_portable))
))]
mod live;
mod nearest;
mod output;
mod progress;
mod reporting;
mod schema;
mod size;

use clap::{Parser, Subcommand};
use exit::Exit;
use std::{io::Write, process::ExitCode};

/// Reads network captures and says what is wrong with TLS and HTTP/2 handshakes, who is affected, and what to do
#[derive(Parser)]
#[command(
    version,
    // `tlscope FILE…` is short for `tlscope analyze FILE…`.
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "`tlscope --help` says more and has examples.",
    after_long_help = examples::MAIN
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    analyze: analyze::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Analyse captures; `tlscope FILE...` is short for it
    #[command(after_long_help = examples::MAIN)]
    Analyze(analyze::Args),
    /// Watch interfaces: records as they are known, findings when they begin, change or end
    #[cfg(any(
        feature = "libpcap",
        all(feature = "live", target_os = "linux", not(tlscope_portable))
    ))]
    #[command(after_long_help = examples::LIVE)]
    Live(Box<live::Args>),
    /// List the interfaces that can be watched, and say which right is missing
    #[cfg(any(
        feature = "libpcap",
        all(feature = "live", target_os = "linux", not(tlscope_portable))
    ))]
    Interfaces(interfaces::Args),
    /// Diagnose saved records (--format ndjson) again, also of several machines together
    #[command(after_long_help = examples::DIAGNOSE)]
    Diagnose(diagnose::Args),
    /// List the certificates that servers showed, and save them
    #[command(after_long_help = examples::CERTS)]
    Certs(certs::Args),
    /// Print the default configuration, or check one
    #[command(after_long_help = examples::CONFIG)]
    Config(config::Args),
    /// Say all there is to say about a finding
    #[command(after_long_help = examples::EXPLAIN)]
    Explain(explain::Args),
    /// Print the JSON Schema of the lines that --format ndjson writes
    #[command(after_long_help = examples::SCHEMA)]
    Schema,
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Analyze(cli.analyze)) {
        Command::Analyze(args) => analyze::run(&args),
        #[cfg(any(
            feature = "libpcap",
            all(feature = "live", target_os = "linux", not(tlscope_portable))
        ))]
        Command::Live(args) => live::run(&args),
        #[cfg(any(
            feature = "libpcap",
            all(feature = "live", target_os = "linux", not(tlscope_portable))
        ))]
        Command::Interfaces(args) => interfaces::run(&args),
        Command::Diagnose(args) => diagnose::run(&args),
        Command::Certs(args) => certs::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Schema => schema::run(),
    };
    let exit = done.unwrap_or_else(|error| {
        if output::is_broken_pipe(&error) {
            return Exit::Fine; // whoever read our output has seen enough
        }
        say(&format!("{error:#}"));
        Exit::Error
    });
    exit.into()
}

/// Says something about the run on standard error; names of files can't act on the terminal.
fn say(text: &str) {
    let text = tlscope::report::sanitize::clean_lines(text);
    // If nobody hears it, there is nobody to tell either; eprintln would panic.
    let _ = writeln!(std::io::stderr(), "tlscope: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn short_help_has_one_line_for_each_option() {
        for command in [Cli::command(), analyze_command()] {
            for argument in command.get_arguments() {
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(!help.is_empty(), "{}", argument.get_id());
                assert!(!help.contains('\n') && help.len() < 110, "{help}");
            }
        }
    }

    fn analyze_command() -> clap::Command {
        Cli::command().find_subcommand("analyze").unwrap().clone()
    }

    #[test]
    fn files_alone_mean_analyze() {
        let cli = Cli::try_parse_from(["tlscope", "a.pcap", "-", "--threads", "2"]).unwrap();
        assert!(cli.command.is_none());
        let cli = Cli::try_parse_from(["tlscope", "analyze", "a.pcap"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Analyze(_))));
        assert!(Cli::try_parse_from(["tlscope", "analyze"]).is_err());
        assert!(Cli::try_parse_from(["tlscope", "--quiet"]).is_err());
    }
}
