//! Names that Microsoft runs, and the suites that it documents: dated data files that age.
//!
//! A pattern matches a name and everything below it; one that begins with `=` matches that name alone. Strict rows are
//! those whose TLS floor Microsoft states.

use super::Settings;
use hashbrown::HashMap;
use std::{borrow::Cow, sync::OnceLock};

/// What is known of a name that Microsoft runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MicrosoftHost {
    /// Microsoft states that it needs TLS 1.2.
    pub(super) strict: bool,
}

/// A row of the list.
struct Row {
    pattern: &'static str,
    strict: bool,
    /// It stands for itself alone.
    exact: bool,
}

impl Row {
    fn fits(&self, name: &str) -> bool {
        let front = name.strip_suffix(self.pattern);
        front.is_some_and(|front| front.is_empty() || !self.exact && front.ends_with('.'))
    }
}

static SUITES: OnceLock<Vec<u16>> = OnceLock::new();

/// Lines of a data file, comments left out.
fn rows(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
}

/// The rows by the last two labels of their patterns: most names are none of these, which one look-up tells.
fn hosts() -> &'static HashMap<&'static str, Vec<Row>> {
    static HOSTS: OnceLock<HashMap<&'static str, Vec<Row>>> = OnceLock::new();
    HOSTS.get_or_init(|| {
        let mut hosts: HashMap<&str, Vec<Row>> = HashMap::new();
        for row in rows(include_str!("../../data/microsoft-hosts.txt")) {
            let mut words = row.split_whitespace();
            if let (Some(_class), Some(kind), Some(text)) =
                (words.next(), words.next(), words.next())
            {
                let pattern = text.trim_start_matches('=');
                hosts.entry(domain(pattern)).or_default().push(Row {
                    pattern,
                    strict: kind == "strict",
                    exact: text.starts_with('='),
                });
            }
        }
        hosts
    })
}

/// The last two labels.
fn domain(name: &str) -> &str {
    let dot = |end: usize| memchr::memrchr(b'.', name.as_bytes().get(..end)?);
    let begin = dot(name.len()).and_then(dot).map_or(0, |at| at + 1);
    name.get(begin..).unwrap_or_default()
}

/// A name in small letters, as most are.
fn lowercase(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

/// Whether Microsoft 365 or Entra ID answers under this name.
pub(super) fn microsoft(name: &str) -> Option<MicrosoftHost> {
    let name = lowercase(name.trim_end_matches('.'));
    let rows = hosts().get(domain(&name))?.iter();
    let mut fitting = rows.filter(|row| row.fits(&name)).peekable();
    fitting.peek()?;
    Some(MicrosoftHost {
        strict: fitting.any(|row| row.strict),
    })
}

/// The name needs TLS 1.2, by Microsoft's own statement or the administrator's.
pub(super) fn is_strict(name: &str, settings: &Settings) -> bool {
    let below = |parent: &String| {
        let rest = name
            .len()
            .checked_sub(parent.len())
            .and_then(|at| name.split_at_checked(at));
        rest.is_some_and(|(front, back)| {
            back.eq_ignore_ascii_case(parent) && (front.is_empty() || front.ends_with('.'))
        })
    };
    (settings.microsoft_hosts_built_in && microsoft(name).is_some_and(|host| host.strict))
        || settings.microsoft_hosts.iter().any(below)
}

/// TLS 1.2 suites that Microsoft documents for Office 365, or those of the settings.
pub(super) fn o365_suites(settings: &Settings) -> &[u16] {
    if !settings.microsoft_suites.is_empty() {
        return &settings.microsoft_suites;
    }
    SUITES.get_or_init(|| {
        rows(include_str!("../../data/o365-tls12-suites.txt"))
            .filter_map(|row| u16::from_str_radix(row.split_whitespace().next()?, 16).ok())
            .collect()
    })
}

/// Whether a host is one that serves what certificates refer to (revocation lists, OCSP, issuers' certificates) or Windows'
/// trust lists: by custom such hosts are called so.
pub(super) fn serves_look_ups(name: &str) -> bool {
    const BELOW: [&str; 2] = ["lencr.org", "pki.goog"];
    let name = lowercase(name.trim_end_matches('.'));
    let first = name.split('.').next().unwrap_or_default();
    let mut words = first.split(|letter: char| !letter.is_ascii_alphabetic());
    words.any(|word| {
        matches!(word, "ctldl" | "pki" | "aia" | "cacerts")
            || word.starts_with("ocsp")
            || word.starts_with("crl")
            || word.ends_with("ocsp")
            || word.ends_with("crl")
    }) || BELOW.iter().any(|parent| {
        name.strip_suffix(parent)
            .is_some_and(|front| front.is_empty() || front.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_strict(name: &str) -> bool {
        super::is_strict(name, &Settings::default())
    }

    #[test]
    fn every_pattern_is_found() {
        for Row { pattern, .. } in hosts().values().flatten() {
            // One label alone would take in a whole top-level domain.
            assert!(pattern.contains('.'), "{pattern}");
            assert!(microsoft(pattern).is_some(), "{pattern}");
        }
        assert!(microsoft("contoso.com").is_none() && microsoft("com").is_none());
        assert!(microsoft("").is_none() && microsoft(".").is_none());
    }

    #[test]
    fn lists_can_be_replaced() {
        let settings = Settings {
            microsoft_hosts: vec!["mail.contoso.com".to_owned()],
            microsoft_hosts_built_in: false,
            microsoft_suites: vec![0x009c],
            ..Settings::default()
        };
        let strict = |name| super::is_strict(name, &settings);
        assert!(strict("Mail.contoso.com") && strict("x.mail.contoso.com"));
        assert!(!strict("email.contoso.com") && !strict("outlook.office365.com"));
        assert_eq!(o365_suites(&settings), [0x009c]);
    }

    #[test]
    fn hosts_of_look_ups_are_known_by_their_names() {
        for host in [
            "ctldl.windowsupdate.com",
            "crl3.digicert.com",
            "mscrl.microsoft.com",
            "oneocsp.microsoft.com",
            "OCSP2.globalsign.com.",
            "ocsp-ds.ws.symantec.com",
            "e5.o.lencr.org",
            "c.pki.goog",
            "pki.contoso.com",
        ] {
            assert!(serves_look_ups(host), "{host}");
        }
        for host in [
            "www.contoso.com",
            "aiadvisor.example",
            "pkinfo.example",
            "www.ocsp.example",
            "",
        ] {
            assert!(!serves_look_ups(host), "{host}");
        }
    }

    #[test]
    fn patterns_match_on_label_boundaries() {
        assert!(is_strict("outlook.office365.com"));
        assert!(is_strict("Autodiscover.Contoso.onmicrosoft.com."));
        assert!(is_strict("contoso.mail.protection.outlook.com"));
        assert!(!is_strict("notoffice365.com"));
        assert!(microsoft("www.microsoft.com").is_some_and(|host| !host.strict));
        // "=graph.windows.net" is exact, "windows.net" is broad.
        assert!(is_strict("graph.windows.net"));
        assert!(!is_strict("x.graph.windows.net"));
        assert!(microsoft("contoso.example").is_none());
        assert!(microsoft("com").is_none());
    }

    #[test]
    fn the_documented_suites_are_read() {
        let settings = Settings::default();
        let suites = o365_suites(&settings);
        assert_eq!(suites.len(), 8);
        assert!(suites.contains(&0xc030) && !suites.contains(&0x000a));
    }
}
