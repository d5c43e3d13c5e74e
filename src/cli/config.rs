//! The configuration file, and `tlscope config`.

use super::{
    exit::Exit,
    lang::{self, Language},
    nearest::nearest,
    output::Output,
};
use anyhow::{Context, anyhow, bail};
use std::{fs, io::Write, path::Path, path::PathBuf};
use tlscope::findings::{self, Lang, Settings};

/// The defaults, with a word about each.
const DEFAULT: &str = include_str!("tlscope.toml");

/// What to print or check.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    /// Print the default configuration, with a word about each key
    #[arg(long)]
    default: bool,
    /// Check this file, and say what is wrong with it
    #[arg(long, value_name = "FILE", conflicts_with = "default")]
    check: Option<PathBuf>,
}

/// Prints the default, or checks a file.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(path) = &args.check {
        load(Some(path), None)?;
        super::say(&format!("{}: no mistakes", path.display()));
        return Ok(Exit::Fine);
    }
    let mut output = Output::stdout(false);
    output.write_all(DEFAULT.as_bytes())?;
    output.finish()?;
    Ok(Exit::Fine)
}

/// The settings of a file, or the defaults. The language is the one asked for, else the file's, else the locale's.
pub(crate) fn load(path: Option<&Path>, language: Option<Language>) -> anyhow::Result<Settings> {
    let (mut settings, said) = match path {
        None => (Settings::default(), None),
        Some(path) => {
            let name = path.display();
            let text = fs::read_to_string(path)
                .with_context(|| format!("{name}: the configuration can't be read"))?;
            parse(&text).map_err(|error| anyhow!("{name}: {error}"))?
        }
    };
    settings.lang = language
        .map(Lang::from)
        .or(said)
        .unwrap_or_else(lang::of_locale);
    Ok(settings)
}

/// The file's language, if it has one.
#[derive(serde::Deserialize)]
struct Said {
    lang: Option<Lang>,
}

fn parse(text: &str) -> anyhow::Result<(Settings, Option<Lang>)> {
    let settings: Settings =
        toml::from_str(text).map_err(|error| anyhow!("{}", words(text, &error)))?;
    for id in &settings.leave_out {
        if !findings::catalogue().any(|entry| entry.id == id) {
            let names = findings::catalogue().map(|entry| entry.id);
            let hint = nearest(id, names)
                .map_or_else(String::new, |right| format!("; did you mean {right}?"));
            bail!("leave-out: no finding is called {id}{hint}");
        }
    }
    let said = toml::from_str::<Said>(text).ok().and_then(|said| said.lang);
    Ok((settings, said))
}

/// What is wrong, in which line, and the name that was probably meant.
fn words(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = before.map_or_else(String::new, |before| {
        format!("line {}: ", before.matches('\n').count() + 1)
    });
    let message = error.message().trim();
    if !message.starts_with("unknown field") {
        return format!("{place}{message}");
    }
    // `unknown field `x`, expected one of `a`, `b``
    let mut names = message.split('`').skip(1).step_by(2);
    let typed = names.next().unwrap_or_default();
    let hint = nearest(typed, names).map_or_else(
        || "`tlscope config --default` has all keys".to_owned(),
        |right| format!("did you mean {right}?"),
    );
    format!("{place}there is no key {typed}: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_default_is_the_default() {
        let (settings, said) = parse(DEFAULT).unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(said, None);
    }

    #[test]
    fn its_examples_are_right() {
        let examples: String = DEFAULT
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(example) if example.contains(" = ") || example.starts_with('[') => example,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let (settings, said) = parse(&examples).unwrap();
        assert_eq!(said, Some(Lang::Ja));
        assert_eq!((settings.farms.len(), settings.proxies.len()), (1, 1));
        assert_eq!(settings.farms[0].members.len(), 3);
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_the_right_name() {
        let wrong = |text: &str| parse(text).unwrap_err().to_string();
        let error = wrong("series-min = 3\nretry-windw-s = 10");
        assert_eq!(
            error,
            "line 2: there is no key retry-windw-s: did you mean retry-window-s?"
        );
        let error = wrong("series_min = 3");
        assert!(error.ends_with("did you mean series-min?"), "{error}");
        let error = wrong("[[farms]]\nmembrs = []");
        assert!(error.contains("did you mean members?"), "{error}");
        let error = wrong("weather = 1");
        assert!(
            error.ends_with("`tlscope config --default` has all keys"),
            "{error}"
        );
        let error = wrong("leave-out = [\"hello-rest\"]");
        assert!(error.ends_with("did you mean hello-reset?"), "{error}");
        assert!(wrong("series-min = \"x\"").starts_with("line 1: "));
        let error = wrong("[[farms]]\nmembers = [\"a.example\"]");
        assert!(error.contains("neither an address"), "{error}");
    }
}
