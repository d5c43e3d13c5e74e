//! Who sent this ClientHello, as far as its shape tells: which TLS stack, which Windows generation, which interface.
//!
//! The registry block that helps a Windows client depends on the interface (WinHTTP, WinINet, .NET), and no registry block
//! helps a program that brings its own TLS. Nothing here is certain, and each answer has its reasons; a hello that fits
//! nothing well gets no answer. Programs, builds and products can't be told from a hello, and through NAT, terminal
//! servers and inspecting proxies a hello speaks for the box that sent it. Basis: the Microsoft default lists and what
//! public data shows of them.

use super::Lang;
use super::text::{say, word};
use crate::record::ClientHelloShape;
use crate::tls::code_points::{OBSERVED_VARIANTS, RELEASES, is_grease};

/// A stack that hello shapes can be told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Family {
    /// Windows' own.
    Schannel,
    /// Chromium's (Chrome, new Edge, web views).
    Chromium,
    /// Firefox' and Thunderbird's.
    Firefox,
    /// OpenSSL and what is built on it.
    OpenSsl,
}

/// The interface of Windows through which a program called Schannel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Api {
    /// WinINet, or WinHTTP with a revocation check.
    WinInetOrWinHttp,
    /// Internet Explorer, legacy Edge, Store apps.
    Browser,
    /// .NET Framework, or WinHTTP without a revocation check.
    DotNetOrWinHttp,
}

/// What a hello says about its sender. Always *likely*, never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    pub(super) family: Family,
    /// Windows generation, where the lists tell one.
    pub(super) generation: Option<&'static str>,
    pub(super) api: Option<Api>,
    /// Why, for people.
    pub(super) reason: &'static str,
}

impl Stack {
    /// Recognises a hello.
    pub(super) fn of(shape: &ClientHelloShape) -> Option<Self> {
        schannel13(shape)
            .or_else(|| schannel(shape))
            .or_else(|| others(shape))
    }

    /// The cause under which texts give the block that fits.
    pub(super) fn cause(stack: Option<Self>) -> &'static str {
        match stack {
            Some(Self {
                family: Family::Schannel,
                api,
                ..
            }) => match api {
                Some(Api::WinInetOrWinHttp) => "wininet-winhttp",
                Some(Api::Browser) => "browser",
                Some(Api::DotNetOrWinHttp) => "dotnet-winhttp",
                None => "schannel",
            },
            Some(_) => "own-stack",
            None => "",
        }
    }

    /// The words for people, as `likely Schannel, Windows 7 (reason)`.
    pub(super) fn words(self, lang: Lang) -> String {
        let family = match self.family {
            Family::Schannel => "Schannel",
            Family::Chromium => "Chromium",
            Family::Firefox => "Firefox",
            Family::OpenSsl => "OpenSSL",
        };
        let api = match self.api {
            Some(Api::WinInetOrWinHttp) => Some("WinINet or WinHTTP with revocation check"),
            Some(Api::Browser) => Some("Internet Explorer, legacy Edge or a Store app"),
            Some(Api::DotNetOrWinHttp) => {
                Some(".NET Framework or WinHTTP without revocation check")
            }
            None => None,
        };
        let mut words = say(lang, "stack").with("family", family);
        if let Some(generation) = self.generation {
            words = words.and("stack-generation");
            words = words.with("generation", word(lang, generation));
        }
        if let Some(api) = api {
            words = words.and("stack-api").with("api", word(lang, api));
        }
        words
            .and("stack-reason")
            .with("reason", word(lang, self.reason))
            .text()
    }
}

fn suites(shape: &ClientHelloShape) -> impl Iterator<Item = u16> + '_ {
    shape.cipher_suites.iter().map(|code| code.0)
}

fn has_extension(shape: &ClientHelloShape, code: u16) -> bool {
    shape.extensions.iter().any(|extension| extension.0 == code)
}

/// `part` is `whole` with some entries left out, the order kept.
fn is_in_order(part: impl Iterator<Item = u16>, whole: &[u16]) -> bool {
    let mut rest = whole.iter();
    part.into_iter()
        .all(|code| rest.any(|other| *other == code))
}

/// The interface, by status_request, ALPN and token binding.
fn api(shape: &ClientHelloShape) -> Option<Api> {
    match (
        shape.status_request,
        shape.alpn.is_some(),
        has_extension(shape, 0x0018),
    ) {
        (true, true, true) => Some(Api::Browser),
        (true, _, false) => Some(Api::WinInetOrWinHttp),
        (false, false, false) => Some(Api::DotNetOrWinHttp),
        _ => None,
    }
}

/// Windows 11 and Server 2022 with TLS 1.3: fixed order of extensions, three key shares, post_handshake_auth.
fn schannel13(shape: &ClientHelloShape) -> Option<Stack> {
    const ORDER: [u16; 13] = [
        0x0000, 0x0005, 0x002b, 0x000d, 0x0023, 0x000a, 0x000b, 0x0010, 0x0031, 0x0033, 0x0017,
        0xff01, 0x002d,
    ];
    let starts = suites(shape).take(2).eq([0x1302, 0x1301]);
    let shares = shape.key_share_groups.as_deref()?;
    let ordered = is_in_order(shape.extensions.iter().map(|code| code.0), &ORDER);
    if !starts || shares.len() != 3 || !ordered || !has_extension(shape, 0x0031) {
        return None;
    }
    Some(Stack {
        family: Family::Schannel,
        generation: Some("Windows 11 or Server 2022 and later"),
        api: if shape.status_request {
            Some(Api::WinInetOrWinHttp)
        } else {
            Some(Api::DotNetOrWinHttp)
        },
        reason: "order of extensions, three key shares and post_handshake_auth as Windows 11 sends them",
    })
}

/// Windows up to 10 and Server 2019.
fn schannel(shape: &ClientHelloShape) -> Option<Stack> {
    const ORDER: [u16; 10] = [
        0x0000, 0x0005, 0x000a, 0x000b, 0x000d, 0x0023, 0x0010, 0x0017, 0x0018, 0xff01,
    ];
    const GROUPS: [u16; 4] = [0x001d, 0x0017, 0x0018, 0x0019];
    if shape.supported_versions.is_some() || suites(shape).any(|code| code == 0x00ff) {
        return None;
    }
    let extensions = || shape.extensions.iter().map(|code| code.0);
    // Old builds of Windows 7 and 8.1 put renegotiation_info first.
    let first = extensions().next() == Some(0xff01);
    let rest = extensions().skip(usize::from(first));
    let last = extensions().next_back() == Some(0xff01);
    if !(first || last) || !is_in_order(rest, &ORDER) {
        return None;
    }
    let groups = shape.supported_groups.as_deref()?;
    let points = shape.ec_point_formats.as_deref() == Some(&[0]);
    if !points || !groups.iter().all(|group| GROUPS.contains(&group.0)) {
        return None;
    }
    let lists = || RELEASES.iter().chain(OBSERVED_VARIANTS);
    // A list that a policy cut down to a few suites fits too many.
    if suites(shape).count() < 4 || !lists().any(|list| is_in_order(suites(shape), list.suites)) {
        return None;
    }
    Some(Stack {
        family: Family::Schannel,
        generation: generation(shape),
        api: api(shape),
        reason: "suites in the order of a Windows default list, and its order of extensions",
    })
}

/// The generation of a Schannel hello without TLS 1.3.
fn generation(shape: &ClientHelloShape) -> Option<&'static str> {
    let group = |code: u16| {
        let groups = shape.supported_groups.as_deref().unwrap_or(&[]);
        groups.iter().any(|group| group.0 == code)
    };
    let schemes = shape.signature_algorithms.as_deref().unwrap_or(&[]);
    let schemes_start = |wanted: &[u16]| {
        schemes
            .iter()
            .map(|code| code.0)
            .take(wanted.len())
            .eq(wanted.iter().copied())
    };
    let starts = |wanted: &[u16]| suites(shape).take(wanted.len()).eq(wanted.iter().copied());
    let ticket = has_extension(shape, 0x0023);
    if schemes.len() >= 12 && schemes_start(&[0x0804, 0x0805, 0x0806]) {
        return Some("Windows 10 2004 or later");
    }
    if group(0x001d) {
        return Some("Windows 10 1607 / Server 2016 or later");
    }
    if starts(&[0xc030, 0xc02f, 0xc028]) {
        return Some("Windows 10 1507");
    }
    if starts(&[0xc028, 0xc027, 0xc014]) {
        return Some(if !ticket && schemes_start(&[0x0601, 0x0603]) {
            "Windows 7 or Server 2008 R2"
        } else {
            "Windows 7 to 8.1 or Server 2008 R2 to 2012 R2"
        });
    }
    if !ticket && schemes.is_empty() && (starts(&[0xc014, 0xc013]) || starts(&[0x002f, 0x0035])) {
        return Some("Windows 7 or Server 2008 R2");
    }
    None
}

/// Stacks that bring their own TLS: registry advice does not help them.
fn others(shape: &ClientHelloShape) -> Option<Stack> {
    let grease = shape.extensions.iter().any(|code| is_grease(code.0));
    let has = |code| has_extension(shape, code);
    let (family, reason) = if grease && has(0x001b) && (has(0x44cd) || has(0x4469)) {
        (
            Family::Chromium,
            "GREASE, compress_certificate and application_settings",
        )
    } else if has(0x001c) && has(0x0022) && !grease {
        (
            Family::Firefox,
            "record_size_limit and delegated_credentials",
        )
    } else if has(0x0016)
        && has(0x0017)
        && shape.ec_point_formats.as_deref() == Some(&[0, 1, 2])
        && suites(shape).any(|code| code == 0x00ff)
    {
        (
            Family::OpenSsl,
            "encrypt_then_mac, three point formats and the renegotiation signal",
        )
    } else {
        return None;
    };
    Some(Stack {
        family,
        generation: None,
        api: None,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::Make;
    use crate::record::Code16;

    fn stack(made: &Make) -> Option<Stack> {
        Stack::of(&made.record.client_hello.as_ref().unwrap().shape)
    }

    fn codes(list: &[u16]) -> Vec<Code16> {
        list.iter().map(|code| Code16(*code)).collect()
    }

    #[test]
    fn windows_7_capped_at_tls_1_0() {
        let made = Make::new()
            .offer(0x0301)
            .suites(&[
                0xc014, 0xc013, 0x0039, 0x0033, 0x0035, 0x002f, 0xc00a, 0xc009, 0x0038, 0x0032,
                0x000a, 0x0013,
            ])
            .shape(|shape| {
                shape.extensions = codes(&[0x0000, 0x000a, 0x000b, 0x0017, 0xff01]);
                shape.supported_groups = Some(codes(&[0x0017, 0x0018]));
                shape.signature_algorithms = None;
            });
        let stack = stack(&made).unwrap();
        assert_eq!(stack.family, Family::Schannel);
        assert_eq!(stack.generation, Some("Windows 7 or Server 2008 R2"));
        assert_eq!(stack.api, Some(Api::DotNetOrWinHttp));
        assert_eq!(Stack::cause(Some(stack)), "dotnet-winhttp");
    }

    #[test]
    fn windows_10_outlook() {
        let made = Make::new()
            .suites(&[
                0xc02c, 0xc02b, 0xc030, 0xc02f, 0xc024, 0xc023, 0xc028, 0xc027, 0xc00a, 0xc009,
                0xc014, 0xc013, 0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0x000a,
            ])
            .shape(|shape| {
                shape.extensions = codes(&[
                    0x0000, 0x0005, 0x000a, 0x000b, 0x000d, 0x0023, 0x0017, 0xff01,
                ]);
                shape.status_request = true;
                shape.signature_algorithms = Some(codes(&[
                    0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0201, 0x0403, 0x0503, 0x0203, 0x0202,
                    0x0601, 0x0603,
                ]));
            });
        let stack = stack(&made).unwrap();
        assert_eq!(stack.generation, Some("Windows 10 2004 or later"));
        assert_eq!(stack.api, Some(Api::WinInetOrWinHttp));
    }

    #[test]
    fn other_stacks_and_the_unknown() {
        let openssl = Make::new()
            .suites(&[0xc030, 0xc02f, 0x00ff])
            .shape(|shape| {
                shape.extensions = codes(&[0x0000, 0x000b, 0x000a, 0x0023, 0x0016, 0x0017, 0x000d]);
                shape.ec_point_formats = Some(vec![0, 1, 2]);
            });
        assert_eq!(
            stack(&openssl).map(|stack| stack.family),
            Some(Family::OpenSsl)
        );
        assert_eq!(Stack::cause(stack(&openssl)), "own-stack");
        // The order of the default hello of these tests is that of no Windows list: nothing is said.
        assert_eq!(
            stack(&Make::new().suites(&[0x002f, 0xc030, 0xc014, 0x009c])),
            None
        );
    }
}
