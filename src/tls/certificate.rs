//! The Certificate message of TLS 1.2 and below: a list of DER certificates (RFC 5246 section 7.4.2).

use super::wire::{vec8, vec16, vec24};

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

/// How many names of authorities a CertificateRequest of TLS 1.2 and below lists (RFC 5246 section 7.4.4);
/// `None` where its lengths contradict each other.
pub fn authority_names(body: &[u8], version: u16) -> Option<u32> {
    let (rest, _certificate_types) = vec8(body).ok()?;
    let rest = if matches!(version, 0x0303 | 0xfefd) {
        vec16(rest).ok()?.0
    } else {
        rest
    };
    let (_, mut list) = vec16(rest).ok()?;
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
