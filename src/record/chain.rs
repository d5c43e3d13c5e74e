//! Certificates as one side showed them, in wire order.

use super::Severity;
use super::certificate::Certificate;
use super::code::{Once, Rendered, Timestamp};
use crate::short::Short;
use core::ops::Deref;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, sync::Arc};

/// The certificates that one side showed, the leaf first. Shared: a farm shows the same chain a million times, and all of
/// these records refer to one.
#[derive(Clone, Default)]
pub struct Chain(Option<Arc<Links>>);

/// What a chain consists of, and what was computed of it.
struct Links {
    /// At least one.
    certificates: Box<[Arc<Certificate>]>,
    marks: Once<ChainMarks>,
    /// A name that the leaf covers, if it is no longer than most are.
    covered: Once<Short<47>>,
    rendered: Rendered,
}

/// What findings ask of a chain, so that they need not read its certificates for each handshake that shows it.
#[derive(Clone, Debug)]
pub struct ChainMarks {
    /// The leaf could be read.
    pub is_readable: bool,
    /// The leaf's key is for ECDSA.
    pub has_ecdsa_key: bool,
    /// From when until when the leaf is valid; none where it does not say.
    pub leaf_valid: Option<(Timestamp, Timestamp)>,
    /// The schemes that mostly stand for the algorithms with which its certificates are signed, but for what a root says of
    /// itself; as bits, as in [`HelloMarks`](super::HelloMarks).
    pub schemes: u16,
    /// The worst key or signature among them.
    pub weakness: Option<(Severity, &'static str)>,
    /// The time in which all of them are valid; none where one does not say.
    pub valid: Option<(Timestamp, Timestamp)>,
    /// The time in which the leaf is valid and two thirds of it are not over; none where it does not say.
    pub leaf_fresh: Option<(Timestamp, Timestamp)>,
    /// An authority that browsers trust issued the leaf.
    pub is_public: bool,
    /// It is a leaf alone, and says where to fetch its issuer's certificate, which is no root by its name.
    pub lacks_issuer: bool,
    /// What is wrong with the order, or with which ones were sent.
    pub disorder: Option<(Severity, &'static str)>,
    /// The rules for which it is a reason to ask them, as bits by their places.
    pub asked: u64,
}

impl Chain {
    /// Whether none was shown.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// What was computed of it, or what `compute` makes now; none of an empty one.
    pub fn marks(
        &self,
        compute: impl FnOnce(&[Arc<Certificate>]) -> ChainMarks,
    ) -> Option<&ChainMarks> {
        let links = self.0.as_ref()?;
        Some(links.marks.get(|| compute(&links.certificates)))
    }

    /// Whether the leaf is for a name, as `covers` tells; the first one is remembered.
    pub fn covers(&self, name: &str, covers: impl FnOnce(&Certificate) -> bool) -> bool {
        let Some(links) = &self.0 else { return false };
        if (links.covered.known()).is_some_and(|known| known.as_slice() == name.as_bytes()) {
            return true;
        }
        let is_covered = links.certificates.first().is_some_and(|leaf| covers(leaf));
        if is_covered && let Some(name) = Short::of(name.as_bytes()) {
            links.covered.get(|| name);
        }
        is_covered
    }

    /// Its JSON, or what `render` makes now; none of one that nothing else refers to, since that is not asked for again.
    pub fn rendered(&self, render: impl FnOnce() -> Box<[u8]>) -> Option<&[u8]> {
        let links = self
            .0
            .as_ref()
            .filter(|links| Arc::strong_count(links) > 1)?;
        Some(links.rendered.get(render))
    }

    /// Where it is stored: chains with one address are one, for as long as it is held. None of an empty one.
    pub fn address(&self) -> Option<usize> {
        Some(Arc::as_ptr(self.0.as_ref()?).addr())
    }

    /// Whether something else refers to the same chain.
    pub fn is_shared(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|links| Arc::strong_count(links) > 1)
    }

    /// Changes it; others that refer to it keep what they have.
    #[cfg(test)]
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Vec<Arc<Certificate>>)) {
        let mut certificates = self.to_vec();
        change(&mut certificates);
        *self = certificates.into();
    }
}

impl Deref for Chain {
    type Target = [Arc<Certificate>];

    #[inline]
    fn deref(&self) -> &[Arc<Certificate>] {
        self.0.as_ref().map_or(&[], |links| &links.certificates)
    }
}

impl From<Vec<Arc<Certificate>>> for Chain {
    fn from(certificates: Vec<Arc<Certificate>>) -> Self {
        Self((!certificates.is_empty()).then(|| {
            Arc::new(Links {
                certificates: certificates.into(),
                marks: Once::default(),
                covered: Once::default(),
                rendered: Rendered::default(),
            })
        }))
    }
}

impl<'c> IntoIterator for &'c Chain {
    type Item = &'c Arc<Certificate>;
    type IntoIter = core::slice::Iter<'c, Arc<Certificate>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl core::fmt::Debug for Chain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        (**self).fmt(f)
    }
}

impl Serialize for Chain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

/// To a reader it is a list.
impl JsonSchema for Chain {
    fn schema_name() -> Cow<'static, str> {
        <Vec<Arc<Certificate>>>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Vec<Arc<Certificate>>>::json_schema(generator)
    }

    fn inline_schema() -> bool {
        <Vec<Arc<Certificate>>>::inline_schema()
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::read;
    use super::*;

    fn chain(ders: &[&[u8]]) -> Chain {
        let certificates = ders.iter().map(|der| Arc::new(read(der)));
        certificates.collect::<Vec<_>>().into()
    }

    #[test]
    fn a_chain_is_a_list_to_those_who_read_it() {
        let one = chain(&[b"leaf", b"ca"]);
        assert_eq!(one.len(), 2);
        assert_eq!(one, chain(&[b"leaf", b"ca"]));
        assert_ne!(one, chain(&[b"leaf"]));
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(json, serde_json::to_string(&one.to_vec()).unwrap());
        assert_eq!(serde_json::from_str::<Chain>(&json).unwrap(), one);
        let none = Chain::default();
        assert!(none.is_empty() && none.iter().next().is_none() && none.address().is_none());
        assert!(chain(&[]).is_empty());
    }

    #[test]
    fn what_is_remembered_of_it_is_what_was_computed() {
        let one = chain(&[b"leaf"]);
        let covers = |name: &str| one.covers(name, |_| name.starts_with("mail"));
        assert!(covers("mail.contoso.com") && !covers("www.contoso.com"));
        // The first name is remembered, others are asked for again.
        assert!(one.covers("mail.contoso.com", |_| unreachable!()));
        assert!(covers("mail2.contoso.com") && !one.covers("mail2.contoso.com", |_| false));
        let long = format!("mail.{}.com", "x".repeat(60));
        assert!(covers(&long) && !chain(&[]).covers("mail", |_| true));
        // Its JSON is kept where others refer to it.
        assert!(one.rendered(|| unreachable!()).is_none() && !one.is_shared());
        let other = one.clone();
        assert!(one.is_shared() && other.address() == one.address());
        assert_eq!(
            one.rendered(|| b"[]".as_slice().into()),
            Some(b"[]".as_slice())
        );
        assert_eq!(other.rendered(|| unreachable!()), Some(b"[]".as_slice()));
    }
}
