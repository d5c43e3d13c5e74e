//! `tlscope explain`: one finding's full page, or the list of all.

use super::{
    exit::Exit,
    lang::{self, Language},
    nearest::nearest,
    output::Output,
};
use anyhow::bail;
use std::io::{self, Write};
use tlscope::{
    findings::{self, Lang},
    record::Severity,
};

/// Which finding.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    /// The finding's id, as reports show it in brackets
    #[arg(value_name = "ID", required_unless_present = "list")]
    id: Option<String>,
    /// List all findings
    #[arg(long, conflicts_with = "id")]
    list: bool,
    /// Language of the page [default: that of the locale]
    #[arg(long, value_enum)]
    lang: Option<Language>,
}

/// Prints the page or the list.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let lang = args.lang.map_or_else(lang::of_locale, Lang::from);
    let mut output = Output::stdout(false);
    match &args.id {
        Some(id) => match findings::explain(id, lang) {
            Some(page) => writeln!(output, "{}", page.trim_end())?,
            None => bail!(unknown(id)),
        },
        None => list(lang, &mut output)?,
    }
    output.finish()?;
    Ok(Exit::Fine)
}

fn list(lang: Lang, out: &mut impl Write) -> io::Result<()> {
    let width = findings::catalogue()
        .map(|entry| entry.id.len())
        .max()
        .unwrap_or(0);
    for entry in findings::catalogue() {
        let severity = match entry.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let title = findings::title(entry.id, lang).unwrap_or_default();
        writeln!(out, "{:width$}  {severity:7}  {title}", entry.id)?;
    }
    Ok(())
}

fn unknown(id: &str) -> String {
    let names = findings::catalogue().map(|entry| entry.id);
    let hint = nearest(id, names).map_or_else(
        || "see `tlscope explain --list` for all that there are".to_owned(),
        |right| format!("did you mean {right}? (`tlscope explain --list` names them all)"),
    );
    format!("no finding is called {id}: {hint}")
}
