//! What findings make of the stack that sent a ClientHello (`client_stack` in the record).
//!
//! The registry block that helps a Windows client depends on the interface (WinHTTP, WinINet, .NET), and no registry block
//! helps a program that brings its own TLS.

use super::Lang;
use super::text::{say, word};
use crate::record::{ClientHelloShape, ClientStack};

/// Windows' own stack, as the rules name it.
const SCHANNEL: &str = "Schannel";

/// What a hello says about its sender. Always *likely*, never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stack<'a>(&'a ClientStack);

impl<'a> Stack<'a> {
    /// The sender of a hello, where it is known.
    pub(super) fn of(shape: &'a ClientHelloShape) -> Option<Self> {
        shape.client_stack.as_deref().map(Self)
    }

    /// The stack's name.
    pub(super) fn name(self) -> &'a str {
        &self.0.name
    }

    /// It is Windows' own.
    pub(super) fn is_windows(self) -> bool {
        *self.0.name == *SCHANNEL
    }

    /// The cause under which texts give the block that fits.
    pub(super) fn cause(stack: Option<Self>) -> &'static str {
        let Some(Self(stack)) = stack else { return "" };
        if *stack.name != *SCHANNEL {
            return "own-stack";
        }
        match stack.interface.as_deref() {
            Some(interface) if interface.starts_with("WinINet") => "wininet-winhttp",
            Some(interface) if interface.starts_with("Internet Explorer") => "browser",
            Some(interface) if interface.starts_with(".NET") => "dotnet-winhttp",
            _ => "schannel",
        }
    }

    /// As [`Stack::cause`], where the port says what the program is: mail programs use neither WinHTTP nor WinINet.
    pub(super) fn cause_at(stack: Option<Self>, port: u16) -> &'static str {
        match (Self::cause(stack), port) {
            ("own-stack", _) => "own-stack",
            ("", 110 | 143 | 993 | 995) => "mail",
            (_, 110 | 143 | 993 | 995) => "schannel-mail",
            (cause, _) => cause,
        }
    }

    /// The words for people, as `likely Schannel, Windows 7 (reason)`.
    pub(super) fn words(self, lang: Lang) -> String {
        let stack = self.0;
        let mut words = say(lang, "stack").with("family", &stack.name);
        if let Some(generation) = &stack.generation {
            words = words.and("stack-generation");
            words = words.with("generation", word(lang, generation));
        }
        if let Some(interface) = &stack.interface {
            words = words.and("stack-api").with("api", word(lang, interface));
        }
        words
            .and("stack-reason")
            .with("reason", word(lang, &stack.ground))
            .text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_follows_the_interface() {
        let stack = |name: &str, interface: Option<&str>| ClientStack {
            name: name.into(),
            interface: interface.map(Into::into),
            ..ClientStack::default()
        };
        let cause = |stack: &ClientStack| Stack::cause(Some(Stack(stack)));
        let dotnet = ".NET Framework or WinHTTP without revocation check";
        assert_eq!(cause(&stack(SCHANNEL, Some(dotnet))), "dotnet-winhttp");
        let wininet = "WinINet or WinHTTP with revocation check";
        assert_eq!(cause(&stack(SCHANNEL, Some(wininet))), "wininet-winhttp");
        let browser = "Internet Explorer, legacy Edge or a Store app";
        assert_eq!(cause(&stack(SCHANNEL, Some(browser))), "browser");
        assert_eq!(cause(&stack(SCHANNEL, None)), "schannel");
        assert_eq!(cause(&stack("OpenSSL", None)), "own-stack");
        assert_eq!(Stack::cause(None), "");
    }

    #[test]
    fn all_that_the_built_in_rules_say_has_words_in_japanese() {
        let rules = include_str!("../../data/client_stacks.toml");
        for line in rules.lines() {
            let Some((key, value)) = line.split_once(" = ") else {
                continue;
            };
            let text = value.trim_matches('"');
            // "Windows 10 1507" is the same in all languages.
            if matches!(key, "generation" | "interface" | "ground") && !text.ends_with("1507") {
                assert_ne!(word(Lang::Ja, text), text);
            }
        }
    }
}
