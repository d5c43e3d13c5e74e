//! JA3, JA3S and JA4: fingerprints of hellos.
//!
//! JA3 (salesforce/ja3, BSD-3): MD5 of version, suites, extensions, groups and point formats, GREASE
//! left out. JA4 (FoxIO, the TLS client part, BSD-3), by its rules as of 2026: GREASE is dropped from
//! signature algorithms too. The other members of the JA4 family have a restrictive licence and are
//! left out on purpose.

use super::client_hello::{ClientHelloDetails, ClientHelloView};
use super::code_points::{ExtensionType, is_grease};
use super::server_hello::ServerHelloView;
use md5::{Digest as _, Md5};
use sha2::Sha256;
use std::fmt::Write as _;

/// Adds numbers in decimal, joined by dashes, GREASE left out. Hostile hellos list tens of thousands: no formatting
/// machinery here.
fn dashed(out: &mut String, numbers: impl Iterator<Item = u16>) {
    let start = out.len();
    for number in numbers.filter(|&number| !is_grease(number)) {
        if out.len() > start {
            out.push('-');
        }
        out.push_str(itoa::Buffer::new().format(number));
    }
}

/// The two hex digits of each byte: hostile hellos have tens of thousands of numbers to write.
const HEX: [[u8; 2]; 256] = {
    let (digits, mut all, mut byte) = (b"0123456789abcdef", [[0; 2]; 256], 0);
    while byte < 256 {
        all[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    all
};

/// The JA3 string of a ClientHello.
pub fn ja3_string(hello: &ClientHelloView<'_>, details: &ClientHelloDetails<'_>) -> String {
    let mut out = String::with_capacity(256);
    let _ = write!(out, "{},", hello.legacy_version);
    dashed(&mut out, hello.cipher_suites.iter());
    out.push(',');
    dashed(
        &mut out,
        hello.extensions.iter().map(|extension| extension.kind),
    );
    out.push(',');
    dashed(
        &mut out,
        details.supported_groups.unwrap_or_default().iter(),
    );
    out.push(',');
    dashed(
        &mut out,
        details
            .ec_point_formats
            .unwrap_or(&[])
            .iter()
            .map(|&format| u16::from(format)),
    );
    out
}

/// The JA3S string of a ServerHello.
pub fn ja3s_string(hello: &ServerHelloView<'_>) -> String {
    let mut out = String::with_capacity(48);
    let _ = write!(out, "{},{},", hello.legacy_version, hello.cipher_suite);
    dashed(
        &mut out,
        hello.extensions.iter().map(|extension| extension.kind),
    );
    out
}

/// MD5 of a fingerprint string.
pub fn md5(text: &str) -> [u8; 16] {
    Md5::digest(text.as_bytes()).into()
}

/// The letter with which JA4 begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// TLS over TCP.
    #[default]
    Tcp,
    /// DTLS.
    Dtls,
    /// QUIC.
    Quic,
}

/// JA4 of a ClientHello.
pub fn ja4(
    hello: &ClientHelloView<'_>,
    details: &ClientHelloDetails<'_>,
    carrier: Carrier,
) -> String {
    let real = |number: &u16| !is_grease(*number);
    let mut suites: Vec<u16> = hello.cipher_suites.iter().filter(real).collect();
    let mut extensions: Vec<u16> = hello
        .extensions
        .iter()
        .map(|extension| extension.kind)
        .filter(real)
        .collect();
    let mut out = String::with_capacity(36);
    out.push(match carrier {
        Carrier::Tcp => 't',
        Carrier::Dtls => 'd',
        Carrier::Quic => 'q',
    });
    out.push_str(match details.version_max(hello.legacy_version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        // What OpenSSL spoke before DTLS 1.0 was done.
        0x0100 => "s1",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    });
    out.push(if details.server_name { 'd' } else { 'i' });
    let _ = write!(
        out,
        "{:02}{:02}",
        suites.len().min(99),
        extensions.len().min(99)
    );
    push_alpn(&mut out, details.alpn_names().next());
    out.push('_');
    suites.sort_unstable();
    push_hash(&mut out, &hex_list(&suites));
    out.push('_');
    let omitted = [
        ExtensionType::SERVER_NAME.0,
        ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION.0,
    ];
    extensions.retain(|kind| !omitted.contains(kind));
    extensions.sort_unstable();
    let mut text = hex_list(&extensions);
    let schemes: Vec<u16> = details
        .signature_algorithms
        .unwrap_or_default()
        .iter()
        .filter(real)
        .collect();
    if !schemes.is_empty() && !text.is_empty() {
        text.push(b'_');
        text.extend(hex_list(&schemes));
    }
    push_hash(&mut out, &text);
    out
}

/// First and last character of the first protocol name; in hex where they are no letters or digits.
fn push_alpn(out: &mut String, name: Option<&[u8]>) {
    let (Some(&first), Some(&last)) = (name.and_then(<[u8]>::first), name.and_then(<[u8]>::last))
    else {
        out.push_str("00");
        return;
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        out.push(char::from(first));
        out.push(char::from(last));
    } else {
        let _ = write!(out, "{:x}{:x}", first >> 4, last & 0xf);
    }
}

/// Numbers in hex, joined by commas.
fn hex_list(numbers: &[u16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(numbers.len() * 5);
    for &number in numbers {
        let [[a, b], [c, d]] = number.to_be_bytes().map(|byte| HEX[usize::from(byte)]);
        out.extend_from_slice(&[a, b, c, d, b',']);
    }
    out.pop();
    out
}

/// The first twelve hex digits of the text's SHA-256; zeros for an empty text.
fn push_hash(out: &mut String, text: &[u8]) {
    if text.is_empty() {
        out.push_str("000000000000");
        return;
    }
    for byte in Sha256::digest(text).iter().take(6) {
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(list: &[u16]) -> Vec<u8> {
        list.iter()
            .flat_map(|number| number.to_be_bytes())
            .collect()
    }

    fn behind_length(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
    }

    /// The body of a ClientHello; without extensions where there are none.
    fn body(version: u16, suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut out = version.to_be_bytes().to_vec();
        out.extend([7; 32]);
        out.push(0);
        out.extend(behind_length(&numbers(suites)));
        out.extend([1, 0]);
        let mut list = Vec::new();
        for (kind, data) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend(behind_length(data));
        }
        if !extensions.is_empty() {
            out.extend(behind_length(&list));
        }
        out
    }

    fn hex(digest: [u8; 16]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn ja3(body: &[u8]) -> (String, String) {
        let hello = ClientHelloView::parse(body).unwrap();
        let string = ja3_string(&hello, &hello.details());
        let hash = hex(md5(&string));
        (string, hash)
    }

    fn name() -> Vec<u8> {
        [&[0, 14, 0, 0, 11][..], b"example.com"].concat()
    }

    #[test]
    fn the_vectors_that_came_with_ja3() {
        let suites = [47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4];
        let extensions = [
            (0, name()),
            (10, behind_length(&numbers(&[23, 24, 25]))),
            (11, vec![1, 0]),
        ];
        let (string, hash) = ja3(&body(0x0301, &suites, &extensions));
        let published = "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0";
        assert_eq!(string, published);
        assert_eq!(hash, "ada70206e40642a3e4461f35503241d5");
        let old = [4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99];
        let (string, hash) = ja3(&body(0x0301, &old, &[]));
        assert_eq!(string, "769,4-5-10-9-100-98-3-6-19-18-99,,,");
        assert_eq!(hash, "de350869b8c85de67a350c8d186f11e6");
    }

    #[test]
    fn the_vector_that_came_with_ja4() {
        let suites = [
            0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
            0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
        ];
        let schemes = [
            0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
        ];
        let extensions: Vec<(u16, Vec<u8>)> = [
            0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
            0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x3a3a, 0x0015,
        ]
        .map(|kind| {
            let data = match kind {
                0x0000 => name(),
                0x0010 => behind_length(b"\x02h2\x08http/1.1"),
                0x000d => behind_length(&numbers(&schemes)),
                0x002b => [&[6][..], &numbers(&[0x4a4a, 0x0304, 0x0303])].concat(),
                0x000a => behind_length(&numbers(&[0x5a5a, 0x001d])),
                0x000b => vec![1, 0],
                _ => Vec::new(),
            };
            (kind, data)
        })
        .into();
        let body = body(0x0303, &suites, &extensions);
        let hello = ClientHelloView::parse(&body).unwrap();
        let of = |carrier| ja4(&hello, &hello.details(), carrier);
        assert_eq!(of(Carrier::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(of(Carrier::Quic), "q13d1516h2_8daaf6152771_e5627efa2ab1");
    }
}
