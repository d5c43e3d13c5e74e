//! ServerKeyExchange of TLS 1.2 and below (RFC 5246 section 7.4.3, RFC 8422 section 5.4).
//!
//! A cold message: its parameters are read by `tls-parser`.

use super::code_points::{CipherSuite, KeyExchange};
use super::dh_primes;
use tls_parser::{ECParametersContent, parse_dh_params, parse_ecdh_params};

/// What a ServerKeyExchange shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KeyExchangeView {
    /// The named group, for elliptic curves.
    pub group: Option<u16>,
    /// Size of the Diffie-Hellman prime in bits.
    pub dh_bits: Option<u32>,
    /// The name of that prime, where it has one: `modp1024`, `ffdhe2048`.
    pub dh_group: Option<&'static str>,
    /// The scheme of the signature (TLS 1.2).
    pub signature_algorithm: Option<u16>,
}

impl KeyExchangeView {
    /// Reads the body of a ServerKeyExchange, whose form depends on the chosen suite and version.
    pub fn parse(body: &[u8], suite: CipherSuite, version: u16) -> Self {
        let mut view = Self::default();
        let rest = match suite.entry().map(|entry| entry.key_exchange) {
            Some(KeyExchange::Ecdhe | KeyExchange::EcdhePsk) => {
                let Ok((rest, params)) = parse_ecdh_params(body) else {
                    return view;
                };
                if let ECParametersContent::NamedGroup(group) = params.curve_params.params_content {
                    view.group = Some(group.0);
                }
                rest
            }
            Some(KeyExchange::Dhe) => {
                let Ok((rest, params)) = parse_dh_params(body) else {
                    return view;
                };
                view.dh_bits = Some(bits(params.dh_p));
                view.dh_group = dh_primes::name(params.dh_p);
                rest
            }
            _ => return view,
        };
        // The scheme stands in front of the signature since TLS 1.2; an anonymous exchange has none.
        if matches!(version, 0x0303 | 0xfefd)
            && let Some([high, low, _, _, ..]) = rest.get(..)
        {
            view.signature_algorithm = Some(u16::from_be_bytes([*high, *low]));
        }
        view
    }
}

/// Length of a number in bits, leading zeros left out.
fn bits(number: &[u8]) -> u32 {
    let significant = number
        .iter()
        .position(|&byte| byte != 0)
        .map_or(&[][..], |at| number.get(at..).unwrap_or(&[]));
    significant.first().map_or(0, |first| {
        8 * (significant.len() as u32) - first.leading_zeros()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_lengths() {
        assert_eq!(bits(&[0, 0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x01]), 1);
        assert_eq!(bits(&[0, 0]), 0);
    }

    #[test]
    fn a_curve_and_its_signature() {
        let body = [3, 0x00, 0x17, 2, 4, 4, 0x04, 0x01, 0, 1, 9];
        let view = KeyExchangeView::parse(&body, CipherSuite(0xc02f), 0x0303);
        assert_eq!(
            (view.group, view.signature_algorithm),
            (Some(0x17), Some(0x0401))
        );
        let view = KeyExchangeView::parse(&body, CipherSuite(0xc014), 0x0301);
        assert_eq!((view.group, view.signature_algorithm), (Some(0x17), None));
    }

    #[test]
    fn a_finite_field() {
        let mut body = vec![0, 128, 0x80];
        body.extend([1; 127]);
        body.extend([0, 1, 2, 0, 1, 9, 0x02, 0x01, 0, 1, 1]);
        let view = KeyExchangeView::parse(&body, CipherSuite(0x0033), 0x0303);
        assert_eq!(
            (view.dh_bits, view.signature_algorithm),
            (Some(1024), Some(0x0201))
        );
    }

    #[test]
    fn every_prefix_is_survived() {
        let body = [3, 0x00, 0x17, 2, 4, 4, 0x04, 0x01, 0, 1, 9];
        for end in 0..body.len() {
            for suite in [0xc02f, 0x0033, 0x002f] {
                KeyExchangeView::parse(&body[..end], CipherSuite(suite), 0x0303);
            }
        }
    }
}
