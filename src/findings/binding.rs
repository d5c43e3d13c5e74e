//! The channel binding that Windows Extended Protection compares: the certificate's hash (RFC 5929 section 4) as NTLM
//! carries it, MD5 over a `gss_channel_bindings_struct` (RFC 4121 section 4.1.1.2, [MS-NLMP] section 2.2.2.1).

use super::Lang;
use super::past::Past;
use super::text::say;
use crate::record::{Certificate, Digest};
use md5::{Digest as _, Md5};

/// The value of MsvAvChannelBindings for a `tls-server-end-point` hash.
fn ntlm(hash: &[u8]) -> Digest<16> {
    const PREFIX: &[u8] = b"tls-server-end-point:";
    // Addresses of both sides: type and length, all zero. Then the application data with its length.
    let length = u32::try_from(PREFIX.len() + hash.len()).unwrap_or(u32::MAX);
    let mut md5 = Md5::new();
    md5.update([0; 16]);
    md5.update(length.to_le_bytes());
    md5.update(PREFIX);
    md5.update(hash);
    Digest(md5.finalize().into())
}

/// `; tls-server-end-point ..., NTLM channel binding ...`, or nothing where the binding is not known.
pub(super) fn words(certificate: &Certificate, lang: Lang) -> String {
    let Some(end_point) = certificate.tls_server_end_point.as_deref() else {
        return String::new();
    };
    match bytes(end_point) {
        Some(hash) => say(lang, "cert-binding")
            .with("hash", end_point)
            .with("binding", ntlm(&hash))
            .text(),
        None => String::new(),
    }
}

/// The NTLM channel binding to a certificate.
pub(super) fn of(certificate: &Certificate) -> Option<Digest<16>> {
    let hash = certificate.tls_server_end_point.as_deref().and_then(bytes);
    hash.map(|hash| ntlm(&hash))
}

/// The certificate among those seen to which an NTLM log-on is bound.
pub(super) fn certificate(past: &Past, wanted: Digest<16>) -> Option<&Certificate> {
    let mut known = past.certificates.iter().map(AsRef::as_ref);
    known.find(|certificate| of(certificate) == Some(wanted))
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::cert;

    #[test]
    fn the_published_example_is_reproduced() {
        // Microsoft, "NTLM and Channel Binding Hash (aka Extended Protection for Authentication)".
        let mut certificate = cert("CN=a", &[]);
        assert_eq!(words(&certificate, Lang::En), "");
        certificate.tls_server_end_point =
            Some("ea05fefecc6b0bd571dbbc5baa3ed45386d0446835f7b74c85621b9983475f95".into());
        let words = words(&certificate, Lang::En);
        assert!(
            words.ends_with("NTLM channel binding 6586e99d81c2fc984e47172fd4dd0310"),
            "{words}"
        );
    }
}
