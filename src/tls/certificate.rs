//! The Certificate message: a list of DER certificates (RFC 5246 section 7.4.2), each with extensions under
//! TLS 1.3 (RFC 8446 section 4.4.2).

use super::client_hello::Extensions;
use super::code_points::{ExtensionType, Version, VersionRank};
use super::wire::{vec8, vec16, vec24};

/// A Certificate message's list, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateList<'a> {
    entries: &'a [u8],
    /// Extensions follow each certificate.
    tls13: bool,
}

impl<'a> CertificateList<'a> {
    /// Reads the body of a Certificate message. A list that is cut still gives its first entries.
    pub fn parse(body: &'a [u8]) -> Self {
        Self {
            entries: vec24(body)
                .map(|(_, list)| list)
                .unwrap_or_else(|_| body.get(3..).unwrap_or(&[])),
            tls13: false,
        }
    }

    /// Reads the body of a Certificate message of TLS 1.3.
    pub fn parse_tls13(body: &'a [u8]) -> Self {
        let list = vec8(body).map_or(&[][..], |(list, _context)| list);
        Self {
            tls13: true,
            ..Self::parse(list)
        }
    }

    /// The certificates' DER bytes in wire order.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.entries().map(|(der, _)| der)
    }

    fn entries(self) -> impl Iterator<Item = (&'a [u8], Extensions<'a>)> + Clone {
        let mut rest = self.entries;
        core::iter::from_fn(move || {
            let (after, der) = vec24(rest).ok()?;
            rest = after;
            let mut extensions = Extensions::default();
            if self.tls13 {
                // A certificate whose extensions are cut is the last.
                (rest, extensions) = vec16(after).map_or((&[][..], extensions), |(after, list)| {
                    (after, Extensions(list))
                });
            }
            Some((der, extensions))
        })
    }

    /// The CertificateStatus that comes with the first certificate (TLS 1.3, RFC 8446 section 4.4.2.1).
    pub fn staple(self) -> Option<&'a [u8]> {
        let staple = |kind| ExtensionType(kind) == ExtensionType::STATUS_REQUEST;
        let (_, extensions) = self.entries().next()?;
        let mut found = extensions.iter().filter(|entry| staple(entry.kind));
        found.next().map(|entry| entry.body)
    }

    /// The list's bytes, where equal lists show equal certificates and nothing else: under TLS 1.3 each comes with extensions
    /// (such as a staple) that differ from one handshake to the next.
    pub fn alike(self) -> Option<&'a [u8]> {
        (!self.tls13).then_some(self.entries)
    }

    /// The list holds no certificate: a client that has none to show.
    pub fn is_empty(self) -> bool {
        self.entries.is_empty()
    }
}

/// How many names of authorities a CertificateRequest of TLS 1.3 lists (RFC 8446 sections 4.3.2 and 4.2.4).
fn authority_names_tls13(body: &[u8]) -> Option<u32> {
    let (rest, _context) = vec8(body).ok()?;
    let extensions = Extensions(vec16(rest).ok()?.1);
    let authorities = ExtensionType::CERTIFICATE_AUTHORITIES;
    let mut found = extensions
        .iter()
        .filter(|extension| ExtensionType(extension.kind) == authorities);
    found
        .next()
        .map_or(Some(0), |extension| count_names(extension.body))
}

/// How many names of authorities a CertificateRequest lists (RFC 5246 section 7.4.4, RFC 8446 section 4.3.2);
/// `None` where its lengths contradict each other.
pub fn authority_names(body: &[u8], version: u16) -> Option<u32> {
    if Version(version).rank() == Some(VersionRank::Tls13) {
        return authority_names_tls13(body);
    }
    let (rest, _certificate_types) = vec8(body).ok()?;
    let rest = if matches!(version, 0x0303 | 0xfefd) {
        vec16(rest).ok()?.0
    } else {
        rest
    };
    count_names(rest)
}

fn count_names(vector: &[u8]) -> Option<u32> {
    let (_, mut list) = vec16(vector).ok()?;
    let mut names = 0;
    while !list.is_empty() {
        list = vec16(list).ok()?.0;
        names += 1;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_counted() {
        let body = [1, 1, 0, 2, 4, 1, 0, 7, 0, 2, 9, 9, 0, 1, 9];
        assert_eq!(authority_names(&body, 0x0303), Some(2));
        assert_eq!(authority_names(&[1, 1, 0, 0], 0x0301), Some(0));
        for end in 0..body.len() {
            assert_eq!(authority_names(&body[..end], 0x0303), None);
        }
    }
}
