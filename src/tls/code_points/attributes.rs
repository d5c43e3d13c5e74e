//! The attributes that a cipher suite is made of, as far as its number fixes them.
//!
//! Names follow RFC 5246 A.5 and A.6; TLS 1.3 left key exchange and authentication out of the suite (RFC 8446 B.4).

use core::fmt;

/// How a suite comes to a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum KeyExchange {
    /// Secret sent under the RSA key of the certificate.
    Rsa,
    /// Ephemeral Diffie-Hellman over a prime field, signed or anonymous.
    Dhe,
    /// Ephemeral Diffie-Hellman over an elliptic curve, signed or anonymous.
    Ecdhe,
    /// Diffie-Hellman with the key of the certificate.
    Dh,
    /// Elliptic-curve Diffie-Hellman with the key of the certificate.
    Ecdh,
    /// Pre-shared key alone.
    Psk,
    /// Pre-shared key with ephemeral Diffie-Hellman.
    DhePsk,
    /// Pre-shared key with ephemeral elliptic-curve Diffie-Hellman.
    EcdhePsk,
    /// Pre-shared key with an RSA-encrypted secret.
    RsaPsk,
    /// Kerberos 5 (RFC 2712).
    Krb5,
    /// Secure Remote Password (RFC 5054).
    Srp,
    /// Key agreement of the Russian standards (RFC 9189 and older).
    Gost,
    /// Password over elliptic curves (RFC 8492).
    Eccpwd,
    /// Secret sent under an SM2 key (GM/T 0024).
    Sm2,
    /// Not part of the suite: TLS 1.3 agrees on it in extensions.
    Tls13,
    /// None at all.
    Null,
    /// Not a suite but a signal (RFC 5746, RFC 7507).
    Signalling,
    /// Something else, as Fortezza or identity-based keys.
    Other,
}

impl KeyExchange {
    /// The lower-case word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Dhe => "dhe",
            Self::Ecdhe => "ecdhe",
            Self::Dh => "dh",
            Self::Ecdh => "ecdh",
            Self::Psk => "psk",
            Self::DhePsk => "dhe_psk",
            Self::EcdhePsk => "ecdhe_psk",
            Self::RsaPsk => "rsa_psk",
            Self::Krb5 => "krb5",
            Self::Srp => "srp",
            Self::Gost => "gost",
            Self::Eccpwd => "eccpwd",
            Self::Sm2 => "sm2",
            Self::Tls13 => "tls13",
            Self::Null => "null",
            Self::Signalling => "scsv",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a suite authenticates the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// RSA certificate.
    Rsa,
    /// DSA certificate.
    Dss,
    /// ECDSA (or EdDSA) certificate.
    Ecdsa,
    /// Nobody is authenticated.
    Anon,
    /// Pre-shared key.
    Psk,
    /// Pre-shared key and RSA certificate.
    RsaPsk,
    /// Kerberos 5.
    Krb5,
    /// Password verifier alone.
    Srp,
    /// Password verifier and RSA certificate.
    SrpRsa,
    /// Password verifier and DSA certificate.
    SrpDss,
    /// Certificate with a GOST R 34.10 key.
    Gost,
    /// Password (RFC 8492).
    Eccpwd,
    /// SM2 certificate.
    Sm2,
    /// Not part of the suite: TLS 1.3 agrees on it in extensions.
    Tls13,
    /// None at all.
    Null,
    /// Something else.
    Other,
}

impl Authentication {
    /// The lower-case word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Dss => "dss",
            Self::Ecdsa => "ecdsa",
            Self::Anon => "anon",
            Self::Psk => "psk",
            Self::RsaPsk => "rsa_psk",
            Self::Krb5 => "krb5",
            Self::Srp => "srp",
            Self::SrpRsa => "srp_rsa",
            Self::SrpDss => "srp_dss",
            Self::Gost => "gost",
            Self::Eccpwd => "eccpwd",
            Self::Sm2 => "sm2",
            Self::Tls13 => "tls13",
            Self::Null => "null",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Mode in which a suite uses its cipher.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum CipherMode {
    /// Cipher block chaining.
    Cbc,
    /// Galois/counter mode.
    Gcm,
    /// Counter with CBC-MAC, 16-byte tag.
    Ccm,
    /// Counter with CBC-MAC, 8-byte tag.
    Ccm8,
    /// A cipher that is an AEAD by construction (ChaCha20-Poly1305, AEGIS).
    Aead,
    /// Multilinear Galois mode (RFC 9058).
    Mgm,
    /// Stream cipher.
    Stream,
    /// Counter mode of GOST 28147-89.
    Cnt,
    /// Counter mode with key meshing (RFC 8645).
    Ctr,
    /// No encryption.
    Null,
}

impl CipherMode {
    /// The lower-case word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cbc => "cbc",
            Self::Gcm => "gcm",
            Self::Ccm => "ccm",
            Self::Ccm8 => "ccm_8",
            Self::Aead => "aead",
            Self::Mgm => "mgm",
            Self::Stream => "stream",
            Self::Cnt => "cnt",
            Self::Ctr => "ctr_acpkm",
            Self::Null => "null",
        }
    }
}

impl fmt::Display for CipherMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a suite protects the integrity of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Mac {
    /// Part of the AEAD.
    Aead,
    /// HMAC with MD5.
    HmacMd5,
    /// HMAC with SHA-1.
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SM3.
    HmacSm3,
    /// HMAC with GOST R 34.11-94.
    HmacGostr3411,
    /// Imitovstavka of GOST 28147-89.
    Imit,
    /// One-key CBC-MAC.
    Omac,
    /// None.
    Null,
}

impl Mac {
    /// The lower-case word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aead => "aead",
            Self::HmacMd5 => "hmac_md5",
            Self::HmacSha1 => "hmac_sha1",
            Self::HmacSha256 => "hmac_sha256",
            Self::HmacSha384 => "hmac_sha384",
            Self::HmacSm3 => "hmac_sm3",
            Self::HmacGostr3411 => "hmac_gostr3411",
            Self::Imit => "imit",
            Self::Omac => "omac",
            Self::Null => "null",
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Hash from which a suite derives keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum PrfHash {
    /// That of the protocol version: MD5 with SHA-1 up to TLS 1.1, SHA-256 in TLS 1.2.
    Default,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SM3.
    Sm3,
    /// GOST R 34.11-2012 with 256 bits.
    Streebog256,
    /// GOST R 34.11-94.
    Gostr3411,
}

impl PrfHash {
    /// The lower-case word for reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sm3 => "sm3",
            Self::Streebog256 => "streebog256",
            Self::Gostr3411 => "gostr3411",
        }
    }
}

impl fmt::Display for PrfHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
