//! The protection of one direction's records in one epoch: AEAD (RFC 8446 section 5.2, RFC 5246 section
//! 6.2.3.3, RFC 5288, RFC 6655, RFC 7905) and CBC with HMAC (RFC 5246 section 6.2.3.2, RFC 7366).
//!
//! Nothing is handed out that its tag or MAC does not prove: with the wrong key there is no plaintext.
//! Keys are kept raw: most are used a few times only.

use super::derive::{Hash, expand_label};
use crate::tls::{
    code_points::{CipherMode, CipherSuite, Mac as MacName, PrfHash},
    keylog::Secret,
    record::Header,
};
use aes::{Aes128, Aes256};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use cbc::cipher::{Array, BlockModeDecrypt, KeyIvInit};
use ccm::{
    Ccm, KeyInit,
    aead::AeadInOut,
    consts::{U8, U12, U16},
};
use chacha20poly1305::ChaCha20Poly1305;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384};

/// Bytes of a block of AES.
const BLOCK_BYTES: usize = 16;
/// The longest MAC key: HMAC with SHA-384.
const MAC_BYTES_MAX: usize = 48;

/// How a suite protects records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    AesGcm,
    AesCcm { tag_bytes: usize },
    ChaCha20Poly1305,
    AesCbc(MacHash),
}

/// The hash of a suite's HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacHash {
    Sha1,
    Sha256,
    Sha384,
}

impl MacHash {
    fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

/// What deriving and using a suite's keys needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_bytes: usize,
    /// Of TLS 1.2 and 1.3; older versions have their own.
    pub(crate) hash: Hash,
}

impl Suite {
    /// `None`: a suite that can't be opened here.
    pub(crate) fn of(suite: u16) -> Option<Self> {
        let entry = CipherSuite(suite).entry()?;
        let mac = match entry.mac {
            MacName::HmacSha1 => Some(MacHash::Sha1),
            MacName::HmacSha256 => Some(MacHash::Sha256),
            MacName::HmacSha384 => Some(MacHash::Sha384),
            _ => None,
        };
        let algorithm = match (entry.encryption, entry.mode) {
            ("AES", CipherMode::Gcm) => Algorithm::AesGcm,
            ("AES", CipherMode::Ccm) => Algorithm::AesCcm { tag_bytes: 16 },
            ("AES", CipherMode::Ccm8) => Algorithm::AesCcm { tag_bytes: 8 },
            ("AES", CipherMode::Cbc) => Algorithm::AesCbc(mac?),
            // The numbers of a draft had another nonce.
            (name, CipherMode::Aead) if name.starts_with("CHACHA20") && entry.registered => {
                Algorithm::ChaCha20Poly1305
            }
            _ => return None,
        };
        let hash = match entry.prf_hash {
            PrfHash::Default | PrfHash::Sha256 => Hash::Sha256,
            PrfHash::Sha384 => Hash::Sha384,
            _ => return None,
        };
        let key_bytes = usize::from(entry.key_bits / 8);
        matches!(key_bytes, 16 | 32).then_some(Self {
            algorithm,
            key_bytes,
            hash,
        })
    }

    /// Bytes of the key block that each direction's MAC key and IV take (RFC 5246 section 6.3).
    pub(super) fn block_parts(&self, implicit_iv: bool) -> (usize, usize) {
        match self.algorithm {
            Algorithm::AesGcm | Algorithm::AesCcm { .. } => (0, 4),
            Algorithm::ChaCha20Poly1305 => (0, 12),
            Algorithm::AesCbc(mac) => (mac.bytes(), if implicit_iv { BLOCK_BYTES } else { 0 }),
        }
    }
}

/// How nonce and associated data are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// TLS 1.3: the record's header is authenticated.
    Tls13,
    /// Its drafts before 25 authenticated nothing beside the text.
    Tls13Draft,
    /// TLS 1.1 and 1.2.
    Tls12,
    /// TLS 1.0: the IV is the end of the record before.
    ImplicitIv,
}

/// Keys of one direction in one epoch, and how many records there were.
#[derive(Clone)]
pub(crate) struct Protection {
    pub(super) suite: Suite,
    pub(super) form: Form,
    pub(super) encrypt_then_mac: bool,
    pub(super) key: [u8; 32],
    pub(super) iv: [u8; BLOCK_BYTES],
    pub(super) mac_key: [u8; MAC_BYTES_MAX],
    pub(super) sequence: u64,
}

impl core::fmt::Debug for Protection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Protection({:?}, {})", self.suite, self.sequence)
    }
}

impl Protection {
    /// From a traffic secret of TLS 1.3.
    pub(super) fn of_secret(suite: Suite, form: Form, secret: &Secret) -> Option<Self> {
        Self::of_labels(suite, form, secret, [b"key", b"iv"])
    }

    /// The same with the labels of another protocol.
    pub(crate) fn of_labels(
        suite: Suite,
        form: Form,
        secret: &Secret,
        [key_label, iv_label]: [&[u8]; 2],
    ) -> Option<Self> {
        let mut protection = Self {
            suite,
            form,
            encrypt_then_mac: false,
            key: [0; 32],
            iv: [0; BLOCK_BYTES],
            mac_key: [0; MAC_BYTES_MAX],
            sequence: 0,
        };
        let key = protection.key.get_mut(..suite.key_bytes)?;
        let iv = protection.iv.get_mut(..12)?;
        let made = expand_label(suite.hash, secret.bytes(), key_label, key)
            && expand_label(suite.hash, secret.bytes(), iv_label, iv);
        made.then_some(protection)
    }

    fn key(&self) -> &[u8] {
        self.key.get(..self.suite.key_bytes).unwrap_or(&self.key)
    }

    /// A record that is not looked at. `fragment` may be empty unless [`Self::is_chained`].
    pub(super) fn pass(&mut self, fragment: &[u8]) {
        self.sequence = self.sequence.wrapping_add(1);
        self.chain(fragment);
    }

    /// Each record's end is needed to open the next one.
    pub(super) fn is_chained(&self) -> bool {
        self.form == Form::ImplicitIv
    }

    fn chain(&mut self, fragment: &[u8]) {
        if self.is_chained() {
            let cipher = match self.suite.algorithm {
                Algorithm::AesCbc(mac) if self.encrypt_then_mac => fragment
                    .get(..fragment.len().saturating_sub(mac.bytes()))
                    .unwrap_or(&[]),
                _ => fragment,
            };
            if let Some(last) = cipher.last_chunk::<BLOCK_BYTES>() {
                self.iv = *last;
            }
        }
    }

    /// Opens the next record: its plaintext is put into `scratch`, its content type is given. `None`: these
    /// keys don't open it, and nothing changed.
    pub(super) fn open(
        &mut self,
        header: &Header,
        fragment: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Option<u8> {
        let kind = match self.suite.algorithm {
            Algorithm::AesCbc(mac) => self.open_cbc(mac, header, fragment, scratch)?,
            _ => self.open_aead(header, fragment, scratch)?,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.chain(fragment);
        Some(kind)
    }

    /// As [`Self::open`], where up to `lost` records before this one may be missing.
    pub(super) fn open_beyond(
        &mut self,
        lost: u64,
        header: &Header,
        fragment: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Option<u8> {
        let first = self.sequence;
        for ahead in 0..=lost {
            self.sequence = first.wrapping_add(ahead);
            if let Some(kind) = self.open(header, fragment, scratch) {
                return Some(kind);
            }
        }
        self.sequence = first;
        None
    }

    fn open_aead(&self, header: &Header, fragment: &[u8], scratch: &mut Vec<u8>) -> Option<u8> {
        let mut nonce: [u8; 12] = *self.iv.first_chunk()?;
        let tls12 = matches!(self.form, Form::Tls12 | Form::ImplicitIv);
        let explicit = tls12 && self.suite.algorithm != Algorithm::ChaCha20Poly1305;
        let sealed = if explicit {
            let (explicit, sealed) = fragment.split_first_chunk::<8>()?;
            nonce.get_mut(4..)?.copy_from_slice(explicit);
            sealed
        } else {
            for (byte, number) in nonce.iter_mut().skip(4).zip(self.sequence.to_be_bytes()) {
                *byte ^= number;
            }
            fragment
        };
        let tag_bytes = match self.suite.algorithm {
            Algorithm::AesCcm { tag_bytes } => tag_bytes,
            _ => 16,
        };
        let length = sealed.len().checked_sub(tag_bytes)?;
        let (text, tag) = sealed.split_at_checked(length)?;
        let associated = if tls12 {
            self.pseudo_header(header, u16::try_from(length).ok()?)
        } else {
            let mut whole = [0; 13];
            let [major, minor] = header.version.to_be_bytes();
            let [high, low] = (header.length as u16).to_be_bytes();
            let own = [header.kind, major, minor, high, low];
            whole.get_mut(..5)?.copy_from_slice(&own);
            whole
        };
        let associated = match self.form {
            Form::Tls13 => associated.get(..5)?,
            Form::Tls13Draft => &[],
            Form::Tls12 | Form::ImplicitIv => &associated,
        };
        scratch.clear();
        scratch.extend_from_slice(text);
        self.unseal(&nonce, associated, scratch, tag)?;
        if tls12 {
            return Some(header.kind);
        }
        // The content type stands behind the content, and zeros behind it (RFC 8446 section 5.2).
        let end = scratch.iter().rposition(|&byte| byte != 0)?;
        let kind = scratch.get(end).copied();
        scratch.truncate(end);
        kind
    }

    /// Opens a packet of QUIC in place (RFC 9001 section 5.3); the tag has 16 bytes in each suite that
    /// QUIC allows.
    pub(crate) fn unseal_packet(
        &self,
        number: u64,
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; 16],
    ) -> Option<()> {
        let mut nonce: [u8; 12] = *self.iv.first_chunk()?;
        for (byte, number) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        self.unseal(&nonce, associated, text, tag)
    }

    fn unseal(
        &self,
        nonce: &[u8; 12],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8],
    ) -> Option<()> {
        fn with<A: AeadInOut + KeyInit>(
            key: &[u8],
            nonce: &[u8; 12],
            associated: &[u8],
            text: &mut [u8],
            tag: &[u8],
        ) -> Option<()> {
            let cipher = A::new_from_slice(key).ok()?;
            let nonce = nonce.as_slice().try_into().ok()?;
            let tag = tag.try_into().ok()?;
            cipher
                .decrypt_inout_detached(nonce, associated, text.into(), tag)
                .ok()
        }
        let wide = self.suite.key_bytes == 32;
        let run = match self.suite.algorithm {
            Algorithm::AesGcm if wide => with::<Aes256Gcm>,
            Algorithm::AesGcm => with::<Aes128Gcm>,
            Algorithm::ChaCha20Poly1305 => with::<ChaCha20Poly1305>,
            Algorithm::AesCcm { tag_bytes: 8 } if wide => with::<Ccm<Aes256, U8, U12>>,
            Algorithm::AesCcm { tag_bytes: 8 } => with::<Ccm<Aes128, U8, U12>>,
            Algorithm::AesCcm { .. } if wide => with::<Ccm<Aes256, U16, U12>>,
            Algorithm::AesCcm { .. } => with::<Ccm<Aes128, U16, U12>>,
            Algorithm::AesCbc(_) => return None,
        };
        run(self.key(), nonce, associated, text, tag)
    }

    /// What a MAC or tag of TLS 1.2 covers in front of the content (RFC 5246 section 6.2.3.3).
    fn pseudo_header(&self, header: &Header, length: u16) -> [u8; 13] {
        let [a, b, c, d, e, f, g, h] = self.sequence.to_be_bytes();
        let [major, minor] = header.version.to_be_bytes();
        let [high, low] = length.to_be_bytes();
        [a, b, c, d, e, f, g, h, header.kind, major, minor, high, low]
    }

    fn open_cbc(
        &self,
        mac: MacHash,
        header: &Header,
        fragment: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Option<u8> {
        let mut sealed = fragment;
        if self.encrypt_then_mac {
            let length = fragment.len().checked_sub(mac.bytes())?;
            let (front, tag) = fragment.split_at_checked(length)?;
            let associated = self.pseudo_header(header, u16::try_from(length).ok()?);
            self.verify(mac, &[&associated, front], tag)?;
            sealed = front;
        }
        let (iv, sealed) = if self.is_chained() {
            (&self.iv, sealed)
        } else {
            sealed.split_first_chunk::<BLOCK_BYTES>()?
        };
        if sealed.is_empty() || sealed.len() % BLOCK_BYTES != 0 {
            return None;
        }
        scratch.clear();
        scratch.extend_from_slice(sealed);
        let (blocks, _) = Array::slice_as_chunks_mut(scratch);
        if self.suite.key_bytes == 32 {
            cbc::Decryptor::<Aes256>::new_from_slices(self.key(), iv)
                .ok()?
                .decrypt_blocks(blocks);
        } else {
            cbc::Decryptor::<Aes128>::new_from_slices(self.key(), iv)
                .ok()?
                .decrypt_blocks(blocks);
        }
        let padding = usize::from(*scratch.last()?);
        let length = scratch.len().checked_sub(padding + 1)?;
        if scratch
            .iter()
            .skip(length)
            .any(|&byte| usize::from(byte) != padding)
        {
            return None;
        }
        scratch.truncate(length);
        if !self.encrypt_then_mac {
            let length = length.checked_sub(mac.bytes())?;
            let (content, tag) = scratch.split_at_checked(length)?;
            let associated = self.pseudo_header(header, u16::try_from(length).ok()?);
            self.verify(mac, &[&associated, content], tag)?;
            scratch.truncate(length);
        }
        Some(header.kind)
    }

    fn verify(&self, mac: MacHash, parts: &[&[u8]], tag: &[u8]) -> Option<()> {
        fn with<M: Mac + hmac::KeyInit>(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> Option<()> {
            let mut mac = <M as hmac::KeyInit>::new_from_slice(key).ok()?;
            parts.iter().for_each(|part| mac.update(part));
            mac.verify_slice(tag).ok()
        }
        let key = self.mac_key.get(..mac.bytes())?;
        match mac {
            MacHash::Sha1 => with::<Hmac<Sha1>>(key, parts, tag),
            MacHash::Sha256 => with::<Hmac<Sha256>>(key, parts, tag),
            MacHash::Sha384 => with::<Hmac<Sha384>>(key, parts, tag),
        }
    }
}
