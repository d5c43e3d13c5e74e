//! The Certificate message of TLS 1.2 and below: a list of DER certificates (RFC 5246 section 7.4.2).

use super::wire::vec24;

/// A Certificate message's list, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateList<'a>(&'a [u8]);

impl<'a> CertificateList<'a> {
    /// Reads the body of a Certificate message. A list that is cut still gives its first entries.
    pub fn parse(body: &'a [u8]) -> Self {
        Self(
            vec24(body)
                .map(|(_, list)| list)
                .unwrap_or_else(|_| body.get(3..).unwrap_or(&[])),
        )
    }

    /// The certificates' DER bytes in wire order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (after, der) = vec24(rest).ok()?;
            rest = after;
            Some(der)
        })
    }

    /// The list holds no certificate: a client that has none to show.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}
