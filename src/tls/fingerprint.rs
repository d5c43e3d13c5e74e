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

/// Adds numbers in decimal, joined by dashes, GREASE left out.
fn dashed(out: &mut String, numbers: impl Iterator<Item = u16>) {
    let start = out.len();
    for number in numbers.filter(|&number| !is_grease(number)) {
        if out.len() > start {
            out.push('-');
        }
        push_decimal(out, number);
    }
}

/// A number in decimal. Hostile hellos list tens of thousands: no formatting machinery here.
fn push_decimal(out: &mut String, number: u16) {
    let mut digits = [b'0'; 5];
    let (mut rest, mut first) = (number, digits.len());
    loop {
        first -= 1;
        if let Some(digit) = digits.get_mut(first) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(first).map(|&digit| char::from(digit)));
}

/// A number as four hex digits.
fn push_hex(out: &mut String, number: u16) {
    for shift in [12, 8, 4, 0] {
        let nibble = (number >> shift & 0xf) as u8;
        out.push(char::from(if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        }));
    }
}

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
        text.push('_');
        text.push_str(&hex_list(&schemes));
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

fn hex_list(numbers: &[u16]) -> String {
    let mut out = String::with_capacity(numbers.len() * 5);
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_hex(&mut out, *number);
    }
    out
}

/// The first twelve hex digits of the text's SHA-256; zeros for an empty text.
fn push_hash(out: &mut String, text: &str) {
    if text.is_empty() {
        out.push_str("000000000000");
        return;
    }
    for byte in Sha256::digest(text.as_bytes()).iter().take(6) {
        let _ = write!(out, "{byte:02x}");
    }
}
