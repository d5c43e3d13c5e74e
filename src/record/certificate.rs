//! A certificate as the record keeps it: what an administrator compares, in the words that tools show.

use super::Severity;
use super::code::{Digest, Once, Rendered, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::{
    certificate::X509Certificate,
    der_parser::asn1_rs::Oid,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{
        OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_PKCS1_RSASSAPSS,
        OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS,
    },
    public_key::PublicKey,
    signature_algorithm::SignatureAlgorithm,
    time::ASN1Time,
    x509::{SubjectPublicKeyInfo, X509Name},
};

/// An X.509 certificate (RFC 5280) that was shown in clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Subject's distinguished name, as `CN=mail.contoso.com, O=Contoso`; empty names are left out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<Box<str>>,
    /// Issuer's distinguished name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub issuer: Option<Box<str>>,
    /// Serial number in lower-case hex, with all its octets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub serial: Option<Box<str>>,
    /// Not valid before this time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_before: Option<Timestamp>,
    /// Not valid after this time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_after: Option<Timestamp>,
    /// Subject alternative names: DNS names as they are, addresses in text.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub san: Vec<Box<str>>,
    /// Key type and size, as `rsa-2048`, `ecdsa-p256`, `ed25519`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Box<str>>,
    /// Signature algorithm, as `sha256WithRSAEncryption`; an unknown one as its object identifier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature_algorithm: Option<Box<str>>,
    /// SHA-256 of the DER bytes.
    pub sha256: Digest<32>,
    /// SHA-1 of the DER bytes: the thumbprint that Windows tools show.
    pub sha1: Digest<20>,
    /// Subject and issuer are the same name.
    pub self_signed: bool,
    /// The bytes could not be read as a certificate; only their digests are known.
    #[serde(skip_serializing_if = "core::ops::Not::not", default)]
    pub malformed: bool,
    /// Its JSON, once it was asked for.
    #[serde(skip)]
    pub rendered: Rendered,
    /// What is asked of it for each handshake that shows it.
    #[serde(skip)]
    pub marks: Once<Marks>,
    /// It says where its issuer's certificate can be fetched (authority information access, caIssuers).
    #[serde(skip_serializing_if = "core::ops::Not::not", default)]
    pub ca_issuers: bool,
    /// SHA-256 of the SubjectPublicKeyInfo: equal where two certificates have the same key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spki_sha256: Option<Digest<32>>,
    /// The channel binding `tls-server-end-point` (RFC 5929 section 4.1) in hex: what Windows Extended Protection compares.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls_server_end_point: Option<Box<str>>,
    /// The public exponent of an RSA key, where it is not the usual 65537.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rsa_exponent: Option<u64>,
    /// Signed certificate timestamps inside it (RFC 6962 section 3.3): logs that promised to list it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scts: Option<u8>,
    /// The bytes themselves, kept only where a run asks for them; never part of the output.
    #[serde(skip)]
    pub der: Option<Box<[u8]>>,
}

/// What findings ask of a certificate: its texts are read once, for a farm shows the same one a million times.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// The signature scheme that mostly stands for the algorithm with which it is signed.
    pub scheme: Option<u16>,
    /// Its key is for ECDSA.
    pub has_ecdsa_key: bool,
    /// An authority that browsers trust issued it.
    pub is_public: bool,
    /// Its key or its signature is weak, and why.
    pub weakness: Option<(Severity, &'static str)>,
}

/// Reads a DER certificate. One that can't be read still gives its digests.
pub(super) fn read(der: &[u8]) -> Certificate {
    use sha1::{Digest as _, Sha1};
    use sha2::Sha256;
    let mut certificate = Certificate {
        subject: None,
        issuer: None,
        serial: None,
        not_before: None,
        not_after: None,
        san: Vec::new(),
        key: None,
        signature_algorithm: None,
        sha256: Digest(Sha256::digest(der).into()),
        sha1: Digest(Sha1::digest(der).into()),
        self_signed: false,
        malformed: false,
        rendered: Rendered::default(),
        marks: Once::default(),
        ca_issuers: false,
        spki_sha256: None,
        tls_server_end_point: None,
        rsa_exponent: None,
        scts: None,
        der: None,
    };
    match x509_parser::parse_x509_certificate(der) {
        Ok((_, parsed)) => {
            fill(&mut certificate, &parsed);
            fill_key_facts(&mut certificate, &parsed, der);
        }
        Err(_) => certificate.malformed = true,
    }
    certificate
}

fn fill(certificate: &mut Certificate, parsed: &X509Certificate<'_>) {
    let name = |name: &X509Name<'_>| {
        Some(name.to_string())
            .filter(|name| !name.is_empty())
            .map(Into::into)
    };
    let time = |time: ASN1Time| time.timestamp().checked_mul(1_000_000_000).map(Timestamp);
    certificate.subject = name(parsed.subject());
    certificate.issuer = name(parsed.issuer());
    certificate.serial = Some(hex(parsed.raw_serial()).into());
    certificate.not_before = time(parsed.validity().not_before);
    certificate.not_after = time(parsed.validity().not_after);
    certificate.self_signed = parsed.subject().as_raw() == parsed.issuer().as_raw();
    certificate.key = key(parsed.public_key());
    certificate.signature_algorithm = Some(signature_name(&parsed.signature_algorithm.algorithm));
    certificate.scts =
        parsed
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SCT(list) => u8::try_from(list.len()).ok(),
                _ => None,
            });
    if let Ok(Some(san)) = parsed.subject_alternative_name() {
        certificate.san = san
            .value
            .general_names
            .iter()
            .take(NAMES_MAX)
            .filter_map(general_name)
            .collect();
    }
}

fn fill_key_facts(certificate: &mut Certificate, parsed: &X509Certificate<'_>, der: &[u8]) {
    use sha2::{Digest as _, Sha256};
    let info = parsed.public_key();
    certificate.spki_sha256 = Some(Digest(Sha256::digest(info.raw).into()));
    certificate.tls_server_end_point = end_point_hash(parsed, der).map(|hash| hash.into());
    certificate.ca_issuers = parsed.iter_extensions().any(|extension| {
        matches!(extension.parsed_extension(), ParsedExtension::AuthorityInfoAccess(access)
            if access.iter().any(|one| one.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS))
    });
    if let Ok(PublicKey::RSA(rsa)) = info.parsed() {
        certificate.rsa_exponent = rsa.try_exponent().ok().filter(|&e| e != 65_537);
    }
}

/// RFC 5929 section 4.1: the certificate under the hash of its own signature; SHA-256 in the place of MD5 and SHA-1. Where
/// the signature has no hash of its own (Ed25519), the binding is undefined.
fn end_point_hash(parsed: &X509Certificate<'_>, der: &[u8]) -> Option<String> {
    use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
    let algorithm = &parsed.signature_algorithm;
    // Only PSS has its hash in parameters. The library writes to standard error about algorithms that it
    // does not know, so it is not asked about any other.
    let is_pss = algorithm.algorithm == OID_PKCS1_RSASSAPSS;
    let parameters = is_pss.then(|| SignatureAlgorithm::try_from(algorithm));
    let name = match parameters {
        Some(Ok(SignatureAlgorithm::RSASSA_PSS(parameters))) => {
            match parameters.hash_algorithm_oid().to_id_string().as_str() {
                "2.16.840.1.101.3.4.2.2" => "384",
                "2.16.840.1.101.3.4.2.3" => "512",
                "2.16.840.1.101.3.4.2.4" => "224",
                "2.16.840.1.101.3.4.2.1" | "1.3.14.3.2.26" => "256",
                _ => return None,
            }
            .into()
        }
        _ => signature_name(&algorithm.algorithm),
    };
    let name = name.to_ascii_lowercase();
    Some(match name.as_str() {
        name if name.contains("224") => hex(&Sha224::digest(der)),
        name if name.contains("384") => hex(&Sha384::digest(der)),
        name if name.contains("512") => hex(&Sha512::digest(der)),
        name if ["256", "sha1", "md5", "md2"]
            .iter()
            .any(|hash| name.contains(hash)) =>
        {
            hex(&Sha256::digest(der))
        }
        _ => return None,
    })
}

/// Alternative names kept of one certificate.
const NAMES_MAX: usize = 512;

fn general_name(name: &GeneralName<'_>) -> Option<Box<str>> {
    match name {
        GeneralName::DNSName(name) => Some((*name).into()),
        GeneralName::IPAddress(bytes) => {
            if let Ok(octets) = <[u8; 4]>::try_from(*bytes) {
                Some(Ipv4Addr::from(octets).to_string().into())
            } else {
                <[u8; 16]>::try_from(*bytes)
                    .ok()
                    .map(|octets| Ipv6Addr::from(octets).to_string().into())
            }
        }
        _ => None,
    }
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> Option<Box<str>> {
    let oid = &info.algorithm.algorithm;
    if *oid == OID_PKCS1_RSAENCRYPTION || *oid == OID_PKCS1_RSASSAPSS {
        return match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => Some(format!("rsa-{}", rsa_bits(rsa.modulus)).into()),
            _ => Some("rsa".into()),
        };
    }
    if *oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = info
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok());
        let name = match curve.map(|curve| curve.to_id_string()).as_deref() {
            Some("1.2.840.10045.3.1.7") => "ecdsa-p256".into(),
            Some("1.3.132.0.34") => "ecdsa-p384".into(),
            Some("1.3.132.0.35") => "ecdsa-p521".into(),
            Some("1.2.840.10045.3.1.1") => "ecdsa-p192".into(),
            Some("1.3.132.0.33") => "ecdsa-p224".into(),
            Some("1.3.132.0.10") => "ecdsa-secp256k1".into(),
            Some(other) => format!("ecdsa-{other}"),
            None => "ecdsa".into(),
        };
        return Some(name.into());
    }
    Some(match oid.to_id_string().as_str() {
        "1.3.101.112" => "ed25519".into(),
        "1.3.101.113" => "ed448".into(),
        "1.2.840.10040.4.1" => "dsa".into(),
        "2.16.840.1.101.3.4.3.17" => "ml-dsa-44".into(),
        "2.16.840.1.101.3.4.3.18" => "ml-dsa-65".into(),
        "2.16.840.1.101.3.4.3.19" => "ml-dsa-87".into(),
        other => other.into(),
    })
}

/// Length of a modulus in bits, leading zeros left out.
fn rsa_bits(modulus: &[u8]) -> usize {
    let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
    modulus.get(zeros).map_or(0, |first| {
        8 * (modulus.len() - zeros) - first.leading_zeros() as usize
    })
}

fn signature_name(oid: &Oid<'_>) -> Box<str> {
    let dotted = oid.to_id_string();
    match dotted.as_str() {
        "1.2.840.113549.1.1.2" => "md2WithRSAEncryption",
        "1.2.840.113549.1.1.4" => "md5WithRSAEncryption",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "rsassaPss",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.113549.1.1.14" => "sha224WithRSAEncryption",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.1" => "ecdsa-with-SHA224",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.2.840.10040.4.3" => "dsa-with-SHA1",
        "2.16.840.1.101.3.4.3.2" => "dsa-with-SHA256",
        "1.3.101.112" => "ed25519",
        "1.3.101.113" => "ed448",
        other => other,
    }
    .into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}
