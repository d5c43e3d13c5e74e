//! The words in which the text report says what a record says in codes, one file a language: `text/en.toml`,
//! `text/ja.toml`. A word is called by its section and name, as `summary.failed`; `{name}` in it is filled.

use crate::{
    findings::Lang,
    record::{Alert, Code16, Handshake, Outcome, Severity, Side, Timestamp},
    tls::code_points::{AlertDescription, CipherSuite, Version, is_grease},
};
use std::{collections::BTreeMap, sync::OnceLock};

/// The words of one language.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Words(BTreeMap<String, BTreeMap<String, String>>);

static EN: OnceLock<Words> = OnceLock::new();
static JA: OnceLock<Words> = OnceLock::new();

/// The words of a language.
pub(super) fn of(lang: Lang) -> &'static Words {
    // The files are part of the program and a test reads them, so that the fallback is never taken.
    match lang {
        Lang::En => {
            EN.get_or_init(|| toml::from_str(include_str!("text/en.toml")).unwrap_or_default())
        }
        Lang::Ja => {
            JA.get_or_init(|| toml::from_str(include_str!("text/ja.toml")).unwrap_or_default())
        }
    }
}

impl Words {
    fn find(&self, section: &str, name: &str) -> Option<&str> {
        self.0.get(section)?.get(name).map(String::as_str)
    }

    /// A word as it is; one that is not there is its own name.
    pub(super) fn say<'w>(&'w self, key: &'w str) -> &'w str {
        key.split_once('.')
            .and_then(|(section, name)| self.find(section, name))
            .unwrap_or(key)
    }

    /// A word with `{name}` filled.
    pub(super) fn fill(&self, key: &str, values: &[(&str, &str)]) -> String {
        let text = self.say(key);
        let mut out = String::with_capacity(text.len() + 32);
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (name, tail) = after.split_once('}').unwrap_or((after, ""));
            let value = values.iter().find(|(key, _)| *key == name);
            out.push_str(value.map_or("", |(_, value)| value));
            rest = tail;
        }
        out.push_str(rest);
        out
    }

    /// How a handshake ended, for someone who does not know the codes.
    pub(super) fn outcome(&self, outcome: Outcome) -> &str {
        self.find("outcome", outcome.as_str())
            .unwrap_or(outcome.as_str())
    }

    /// An alert with what the Windows side that received it puts into its event log.
    pub(super) fn alert(&self, code: Option<u8>) -> String {
        let Some(code) = code else {
            return self.say("alert.encrypted").to_owned();
        };
        let description = AlertDescription(code);
        let name = description
            .name()
            .unwrap_or_else(|| self.say("alert.unknown"));
        let alert = format!("{name} ({code})");
        match description.schannel_error() {
            Some((error, _)) => self.fill("alert.windows", &[("alert", &alert), ("error", error)]),
            None => alert,
        }
    }

    /// Why something was not analysed, by its key in the summary; the count goes in front. A key of a later version is
    /// shown as it is.
    pub(super) fn skip(&self, key: &str) -> String {
        self.find("skip", key)
            .map_or_else(|| key.replace('_', " "), str::to_owned)
    }

    /// The mark of a severity.
    pub(super) fn severity(&self, severity: Severity) -> &str {
        self.say(match severity {
            Severity::Error => "findings.error",
            Severity::Warning => "findings.warning",
            Severity::Info => "findings.info",
        })
    }

    /// `1 handshake`, `12,345 handshakes`.
    pub(super) fn count(&self, number: u64, thing: &str) -> String {
        let one = if number == 1 { "_one" } else { "" };
        let key = format!("counts.{thing}{one}");
        self.fill(&key, &[("n", &grouped(number))])
    }

    /// `2026-11-20 10:00:00 to 10:05:12 UTC`: what both have in common stands once.
    pub(super) fn span(&self, first: Timestamp, last: Timestamp) -> String {
        let (first, last) = (time(first), time(last));
        if first == last {
            return self.fill("general.utc", &[("time", &first)]);
        }
        let last = match (first.split_once(' '), last.split_once(' ')) {
            (Some((day, _)), Some((same, hour))) if day == same => hour,
            _ => last.as_str(),
        };
        self.fill("general.span", &[("first", &first), ("last", last)])
    }
}

/// The alert that explains the outcome: of the side that ended it, the last fatal one.
pub(super) fn decisive_alert(record: &Handshake) -> Option<&Alert> {
    let from = match record.outcome {
        Outcome::ServerAlert => Some(Side::Server),
        Outcome::ClientAlert => Some(Side::Client),
        _ => None,
    };
    record
        .alerts
        .iter()
        .filter(|alert| from.is_none_or(|side| alert.from == side))
        .max_by_key(|alert| alert.level)
}

/// A version as people write it.
pub(super) fn version(version: Code16) -> String {
    Version(version.0).to_string()
}

/// The best version that a client offers.
pub(super) fn best_offer(record: &Handshake) -> Option<Code16> {
    let shape = &record.client_hello.as_ref()?.shape;
    shape
        .supported_versions
        .iter()
        .flatten()
        .filter(|code| !is_grease(code.0))
        .max_by_key(|code| Version(code.0).rank())
        .copied()
        .or(Some(shape.legacy_version))
}

/// A cipher suite for a narrow column: `ECDHE_RSA AES_128_GCM_SHA256`. What is left out is the same for all.
pub(super) fn suite(suite: Code16) -> String {
    let name = CipherSuite(suite.0).to_string();
    name.trim_start_matches("TLS_").replacen("_WITH_", " ", 1)
}

/// A number with commas between the thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2026-11-20 10:00:00`, in UTC.
pub(super) fn time(time: Timestamp) -> String {
    let text = time.to_string();
    let seconds = text.split('.').next().unwrap_or(&text);
    seconds.replacen('T', " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{FORGOTTEN, HITS_BEYOND_CAP},
        stats::Skip,
        stats::UNLISTED_BEYOND_CAP,
    };

    fn parsed(lang: Lang) -> Words {
        match lang {
            Lang::En => toml::from_str(include_str!("text/en.toml")).unwrap(),
            Lang::Ja => toml::from_str(include_str!("text/ja.toml")).unwrap(),
        }
    }

    fn placeholders(text: &str) -> Vec<&str> {
        let mut names: Vec<&str> = text
            .split('{')
            .skip(1)
            .filter_map(|part| part.split('}').next())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn no_language_lacks_a_word() {
        let (en, ja) = (parsed(Lang::En), parsed(Lang::Ja));
        assert!(en.0.keys().eq(ja.0.keys()));
        for (section, words) in &en.0 {
            let others = &ja.0[section];
            assert!(words.keys().eq(others.keys()), "{section}");
            for (name, text) in words {
                let other = &others[name];
                assert!(!text.is_empty() && !other.is_empty(), "{section}.{name}");
                assert_eq!(placeholders(text), placeholders(other), "{section}.{name}");
            }
        }
    }

    #[test]
    fn every_word_that_the_report_says_exists() {
        let words = parsed(Lang::En);
        let sources = [
            include_str!("words.rs"),
            include_str!("text/mod.rs"),
            include_str!("text/findings.rs"),
            include_str!("text/overview.rs"),
        ];
        let sections: Vec<String> = words.0.keys().map(|name| format!("\"{name}.")).collect();
        let mut seen = 0;
        for source in sources {
            for section in &sections {
                for (at, _) in source.match_indices(section.as_str()) {
                    let key = source[at + 1..].split('"').next().unwrap();
                    if key.contains('{') || key.ends_with('.') {
                        continue;
                    }
                    let (section, name) = key.split_once('.').unwrap();
                    assert!(words.find(section, name).is_some(), "{key}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn numbers_and_times() {
        let en = of(Lang::En);
        assert_eq!(en.count(1, "handshake"), "1 handshake");
        assert_eq!(en.count(0, "packet"), "0 packets");
        assert_eq!(of(Lang::Ja).count(2, "packet"), "パケット 2 個");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        let start = Timestamp(1_700_000_000_999_999_999);
        assert_eq!(time(start), "2023-11-14 22:13:20");
        assert_eq!(en.span(start, start), "2023-11-14 22:13:20 UTC");
        let later = Timestamp(start.0 + 60_000_000_000);
        assert_eq!(en.span(start, later), "2023-11-14 22:13:20 to 22:14:20 UTC");
        let day = Timestamp(start.0 + 86_400_000_000_000);
        assert_eq!(
            en.span(start, day),
            "2023-11-14 22:13:20 to 2023-11-15 22:13:20 UTC"
        );
    }

    #[test]
    fn suites_are_short_and_known_by_name() {
        assert_eq!(suite(Code16(0xc02f)), "ECDHE_RSA AES_128_GCM_SHA256");
        assert_eq!(suite(Code16(0x1301)), "AES_128_GCM_SHA256");
        assert_eq!(suite(Code16(0x13ff)), "0x13ff");
    }

    #[test]
    fn each_reason_has_its_own_words() {
        for lang in Lang::ALL {
            let words = of(lang);
            let keys = Skip::ALL.into_iter().map(Skip::as_str).chain([
                HITS_BEYOND_CAP,
                FORGOTTEN,
                UNLISTED_BEYOND_CAP,
            ]);
            for key in keys {
                assert!(words.find("skip", key).is_some(), "{key}");
            }
            for one in Outcome::ALL {
                assert!(words.find("outcome", one.as_str()).is_some());
                assert!(
                    Outcome::ALL
                        .into_iter()
                        .all(|other| one == other || words.outcome(one) != words.outcome(other))
                );
            }
        }
        assert_eq!(
            of(Lang::En).skip("packets_of_tomorrow"),
            "packets of tomorrow"
        );
    }

    #[test]
    fn alerts_name_the_windows_error() {
        let en = of(Lang::En);
        assert_eq!(
            en.alert(Some(40)),
            "handshake_failure (40), in Windows SEC_E_ILLEGAL_MESSAGE"
        );
        assert_eq!(en.alert(None), "encrypted alert");
    }
}
