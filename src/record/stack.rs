//! Which TLS stack sent a ClientHello, as far as its shape tells: by rules that are data (`data/client_stacks.toml`),
//! which users extend in their configuration.
//!
//! A name is given only where a rule's facts fit, and stands with its ground. It is *likely*, never more: through NAT,
//! terminal servers and inspecting proxies a hello speaks for the box that sent it. Programs and builds can't be told.

use super::ClientHelloShape;
use crate::tls::code_points::{OBSERVED_VARIANTS, RELEASES, is_grease};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, sync::Arc};

/// The rules that come with the program.
const BUILT_IN: &str = include_str!("../../data/client_stacks.toml");
/// A list that a policy cut down to fewer suites fits too many.
const SUITES_MIN: usize = 4;

/// Who sent a hello, as far as its shape tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ClientStack {
    /// The stack, as `Schannel`, `OpenSSL`.
    pub name: Box<str>,
    /// Its generation, as `Windows 7 or Server 2008 R2`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<Box<str>>,
    /// The interface through which a program called it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<Box<str>>,
    /// The facts that say so.
    pub ground: Box<str>,
}

/// A rule: what it says, and the conditions, which must all hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StackRule {
    /// The stack that it names.
    pub name: Option<Box<str>>,
    /// Why, for people; where left out, the fingerprint is the ground.
    pub ground: Option<Box<str>>,
    /// It says more about hellos of this stack.
    pub of: Option<Box<str>>,
    /// The generation.
    pub generation: Option<Box<str>>,
    /// The interface.
    pub interface: Option<Box<str>>,
    /// The JA3 hash.
    pub ja3: Option<Box<str>>,
    /// The JA4 fingerprint; `*` stands for any of its three parts.
    pub ja4: Option<Box<str>>,
    /// Suites are in the order of one of Windows' default lists.
    pub suites_of_windows: bool,
    /// The first suites.
    pub suites_start: Option<Vec<u16>>,
    /// Suites that are there.
    pub suites: Vec<u16>,
    /// Suites that are not.
    pub without_suites: Vec<u16>,
    /// Extensions that are there.
    pub extensions: Vec<u16>,
    /// One of these is there.
    pub any_extension: Vec<u16>,
    /// Extensions that are not.
    pub without_extensions: Vec<u16>,
    /// All extensions are among these, in this order.
    pub extensions_in_order: Option<Vec<u16>>,
    /// It stands first or last; where it stands first, the order is that of the others.
    pub first_or_last_extension: Option<u16>,
    /// Groups that are there.
    pub groups: Vec<u16>,
    /// All groups are among these.
    pub groups_among: Option<Vec<u16>>,
    /// The point formats.
    pub point_formats: Option<Vec<u8>>,
    /// The first signature schemes.
    pub schemes_start: Option<Vec<u16>>,
    /// Least number of signature schemes.
    pub schemes_at_least: usize,
    /// Number of key shares.
    pub key_shares: Option<usize>,
    /// There are GREASE extensions, or none.
    pub grease: Option<bool>,
}

/// The rules of a run. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    rules: Arc<[StackRule]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    client_stacks: Vec<StackRule>,
}

impl Stacks {
    /// The user's rules, then those that come with the program.
    pub fn new(users: &[StackRule]) -> Self {
        // A test holds that the file can be read.
        let built_in = toml::from_str::<File>(BUILT_IN);
        let built_in = built_in.map(|file| file.client_stacks).unwrap_or_default();
        Self {
            rules: users.iter().cloned().chain(built_in).collect(),
        }
    }

    /// Who sent a hello of this shape; `None` where no rule fits.
    pub fn recognise(&self, shape: &ClientHelloShape) -> Option<ClientStack> {
        let mut naming = self.rules.iter().filter(|rule| rule.name.is_some());
        let rule = naming.find(|rule| rule.fits(shape))?;
        let name = rule.name.clone()?;
        let more = || {
            let about = |more: &&StackRule| more.of.as_ref() == Some(&name) && more.fits(shape);
            self.rules.iter().filter(about)
        };
        let generation = || more().find_map(|rule| rule.generation.clone());
        let interface = || more().find_map(|rule| rule.interface.clone());
        Some(ClientStack {
            generation: rule.generation.clone().or_else(generation),
            interface: rule.interface.clone().or_else(interface),
            ground: rule.ground.clone().unwrap_or_else(|| rule.fingerprint()),
            name,
        })
    }
}

fn codes(list: &[super::Code16]) -> impl DoubleEndedIterator<Item = u16> + '_ {
    list.iter().map(|code| code.0)
}

fn of(list: Option<&Vec<super::Code16>>) -> &[super::Code16] {
    list.map_or(&[], Vec::as_slice)
}

/// `part` is `whole` with some entries left out, the order kept.
fn is_in_order(part: impl Iterator<Item = u16>, whole: &[u16]) -> bool {
    let mut rest = whole.iter();
    part.into_iter()
        .all(|code| rest.any(|other| *other == code))
}

fn starts(list: &[super::Code16], wanted: Option<&Vec<u16>>) -> bool {
    wanted.is_none_or(|wanted| codes(list).take(wanted.len()).eq(wanted.iter().copied()))
}

impl StackRule {
    fn fingerprint(&self) -> Box<str> {
        let ja4 = self.ja4.as_ref().map(|ja4| format!("JA4 {ja4}"));
        let ja3 = self.ja3.as_ref().map(|ja3| format!("JA3 {ja3}"));
        let words = ja4
            .or(ja3)
            .map_or(Cow::Borrowed("configured rule"), Cow::Owned);
        words.into()
    }

    fn fits(&self, shape: &ClientHelloShape) -> bool {
        self.fits_fingerprint(shape)
            && self.fits_suites(shape)
            && self.fits_extensions(shape)
            && self.fits_rest(shape)
    }

    fn fits_fingerprint(&self, shape: &ClientHelloShape) -> bool {
        let ja4 = |wanted: &str| {
            let parts = |text: &str| text.split('_').map(str::to_owned).collect::<Vec<_>>();
            let (wanted, ours) = (parts(wanted), parts(&shape.ja4));
            wanted.len() == ours.len()
                && wanted
                    .iter()
                    .zip(&ours)
                    .all(|(wanted, ours)| wanted == "*" || wanted == ours)
        };
        self.ja3
            .as_deref()
            .is_none_or(|wanted| shape.ja3.to_string() == wanted)
            && self.ja4.as_deref().is_none_or(ja4)
    }

    fn fits_suites(&self, shape: &ClientHelloShape) -> bool {
        let suites = &shape.cipher_suites;
        let has = |code: &u16| codes(suites).any(|suite| suite == *code);
        let of_windows = || {
            let mut lists = RELEASES.iter().chain(OBSERVED_VARIANTS);
            suites.len() >= SUITES_MIN && lists.any(|list| is_in_order(codes(suites), list.suites))
        };
        starts(suites, self.suites_start.as_ref())
            && self.suites.iter().all(has)
            && !self.without_suites.iter().any(has)
            && (!self.suites_of_windows || of_windows())
    }

    fn fits_extensions(&self, shape: &ClientHelloShape) -> bool {
        let extensions = || codes(&shape.extensions);
        let has = |code: &u16| extensions().any(|extension| extension == *code);
        let edge = self.first_or_last_extension;
        let first = edge.is_some() && extensions().next() == edge;
        let at_edge = edge.is_none() || first || extensions().next_back() == edge;
        let order = |order: &Vec<u16>| is_in_order(extensions().skip(usize::from(first)), order);
        self.extensions.iter().all(has)
            && (self.any_extension.is_empty() || self.any_extension.iter().any(has))
            && !self.without_extensions.iter().any(has)
            && at_edge
            && self.extensions_in_order.as_ref().is_none_or(order)
    }

    fn fits_rest(&self, shape: &ClientHelloShape) -> bool {
        let groups = of(shape.supported_groups.as_ref());
        let schemes = of(shape.signature_algorithms.as_ref());
        let grease = || codes(&shape.extensions).any(is_grease);
        let shares = of(shape.key_share_groups.as_ref()).len();
        let among = |among: &Vec<u16>| {
            shape.supported_groups.is_some() && codes(groups).all(|group| among.contains(&group))
        };
        self.groups
            .iter()
            .all(|code| codes(groups).any(|group| group == *code))
            && self.groups_among.as_ref().is_none_or(among)
            && (self.point_formats.is_none() || self.point_formats == shape.ec_point_formats)
            && starts(schemes, self.schemes_start.as_ref())
            && schemes.len() >= self.schemes_at_least
            && self.key_shares.is_none_or(|wanted| wanted == shares)
            && self.grease.is_none_or(|wanted| wanted == grease())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Code16, Digest};

    fn list(codes: &[u16]) -> Vec<Code16> {
        codes.iter().map(|code| Code16(*code)).collect()
    }

    fn shape(suites: &[u16], extensions: &[u16]) -> ClientHelloShape {
        let value = serde_json::json!({
            "legacy_version": "0x0303", "cipher_suites": [], "compression": [0], "extensions": [],
            "ja3": Digest([7; 16]), "ja3_string": "", "ja4": "t12d030700_aaaaaaaaaaaa_bbbbbbbbbbbb",
        });
        ClientHelloShape {
            cipher_suites: list(suites),
            extensions: list(extensions),
            ..serde_json::from_value(value).unwrap()
        }
    }

    #[test]
    fn the_file_can_be_read_and_each_rule_says_something() {
        let file: File = toml::from_str(BUILT_IN).unwrap();
        assert!(file.client_stacks.len() > 10);
        for rule in &file.client_stacks {
            assert!(rule.name.is_some() != rule.of.is_some(), "{rule:?}");
            assert_eq!(rule.name.is_some(), rule.ground.is_some(), "{rule:?}");
            let about = StackRule {
                name: rule.name.clone(),
                ground: rule.ground.clone(),
                of: rule.of.clone(),
                generation: rule.generation.clone(),
                interface: rule.interface.clone(),
                ..StackRule::default()
            };
            assert_ne!(*rule, about, "it would fit every hello");
        }
    }

    #[test]
    fn windows_7_capped_at_tls_1_0() {
        let suites = [
            0xc014, 0xc013, 0x0039, 0x0033, 0x0035, 0x002f, 0xc00a, 0xc009, 0x0038, 0x0032, 0x000a,
            0x0013,
        ];
        let shape = ClientHelloShape {
            supported_groups: Some(list(&[0x0017, 0x0018])),
            ec_point_formats: Some(vec![0]),
            ..shape(&suites, &[0x0000, 0x000a, 0x000b, 0x0017, 0xff01])
        };
        let found = Stacks::new(&[]).recognise(&shape).unwrap();
        assert_eq!(&*found.name, "Schannel");
        assert_eq!(
            found.generation.as_deref(),
            Some("Windows 7 or Server 2008 R2")
        );
        let interface = ".NET Framework or WinHTTP without revocation check";
        assert_eq!(found.interface.as_deref(), Some(interface));
        // Another order of extensions, and one more group: nothing is said.
        let mut other = shape.clone();
        other.extensions.reverse();
        other.extensions.swap(0, 1);
        assert_eq!(Stacks::new(&[]).recognise(&other), None);
        let mut other = shape;
        other.supported_groups = Some(list(&[0x0017, 0x001e]));
        assert_eq!(Stacks::new(&[]).recognise(&other), None);
    }

    #[test]
    fn users_rules_come_first() {
        let rules: File = toml::from_str(
            "[[client-stacks]]\nname = \"Our agent\"\nja4 = \"t12d030700_*_*\"\n\
             [[client-stacks]]\nof = \"Our agent\"\ngeneration = \"2\"\nsuites = [0xc02f]",
        )
        .unwrap();
        let stacks = Stacks::new(&rules.client_stacks);
        let found = stacks
            .recognise(&shape(&[0xc030, 0xc02f, 0x00ff], &[0x16, 0x17]))
            .unwrap();
        assert_eq!(&*found.name, "Our agent");
        assert_eq!(&*found.ground, "JA4 t12d030700_*_*");
        assert_eq!(found.generation.as_deref(), Some("2"));
        let mistyped = "[[client-stacks]]\nname = \"x\"\nja5 = \"y\"";
        assert!(toml::from_str::<File>(mistyped).is_err());
    }

    #[test]
    fn openssl_and_the_unknown() {
        let openssl = ClientHelloShape {
            ec_point_formats: Some(vec![0, 1, 2]),
            ..shape(
                &[0xc030, 0xc02f, 0x00ff],
                &[0, 0x0b, 0x0a, 0x23, 0x16, 0x17, 0x0d],
            )
        };
        let stacks = Stacks::new(&[]);
        assert_eq!(&*stacks.recognise(&openssl).unwrap().name, "OpenSSL");
        assert_eq!(
            stacks.recognise(&shape(&[0x002f, 0xc030], &[0, 0x0a])),
            None
        );
    }
}
