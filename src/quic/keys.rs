//! Keys of Initial packets, and what is done with them (RFC 9001 section 5).

use super::version::{Labels, Version};
use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::{Aes128Gcm, aead::AeadInOut};
use hkdf::Hkdf;
use sha2::Sha256;

/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;
/// Where the sample begins: behind the longest packet number.
const SAMPLE_AT: usize = 4;

/// Keys of one direction, raw: they are few bytes, and seldom used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    hp: [u8; 16],
}

/// Keys of both directions, each derived when it is asked for: half the work of opening a hello is this, and a scan or an
/// unanswered hello needs the client's only.
#[derive(Clone, Copy, Debug)]
pub struct InitialKeys {
    secret: [u8; 32],
    version: Version,
    client: Option<Keys>,
    server: Option<Keys>,
}

impl InitialKeys {
    /// The keys that the destination connection id of the client's first Initial packet gives; `None`
    /// for a version that is not known.
    pub fn derive(version: Version, dcid: &[u8]) -> Option<Self> {
        let (secret, _) = Hkdf::<Sha256>::extract(Some(version.salt()?), dcid);
        Some(Self {
            secret: secret.into(),
            version,
            client: None,
            server: None,
        })
    }

    /// Keys of packets from the client.
    pub fn client(&mut self) -> &Keys {
        let derive = || Keys::derive(&self.secret, b"tls13 client in", &self.version.labels());
        self.client.get_or_insert_with(derive)
    }

    /// Keys of packets from the server.
    pub fn server(&mut self) -> &Keys {
        let derive = || Keys::derive(&self.secret, b"tls13 server in", &self.version.labels());
        self.server.get_or_insert_with(derive)
    }
}

fn prk(secret: &[u8; 32]) -> Hkdf<Sha256> {
    // Fails only for a key shorter than a digest.
    Hkdf::from_prk(secret).unwrap_or_else(|_| Hkdf::new(None, secret))
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let parts: [&[u8]; 4] = [&(N as u16).to_be_bytes(), &[label.len() as u8], label, &[0]];
    // Fails only for more than 255 digests' worth of bytes.
    let _ = secret.expand_multi_info(&parts, &mut out);
    out
}

impl Keys {
    fn derive(initial: &[u8; 32], side: &[u8], labels: &Labels) -> Self {
        let secret: [u8; 32] = expand(&prk(initial), side);
        let secret = prk(&secret);
        Self {
            key: expand(&secret, labels.key),
            iv: expand(&secret, labels.iv),
            hp: expand(&secret, labels.hp),
        }
    }

    /// Takes off header protection and encryption. `header` is the packet up to its packet number,
    /// `protected` the rest. Gives the packet number, and where in `scratch` the frames begin; `None`
    /// where these keys don't open it.
    pub fn open(
        &self,
        header: &[u8],
        protected: &[u8],
        largest: Option<u64>,
        scratch: &mut Vec<u8>,
    ) -> Option<(u64, usize)> {
        let mask = |sample: [u8; 16]| {
            let mut mask = Array::from(sample);
            Aes128::new(&Array::from(self.hp)).encrypt_block(&mut mask);
            mask.first_chunk::<5>().copied()
        };
        let unseal = |number: u64, associated: &[u8], text: &mut [u8], tag: &[u8; TAG_BYTES]| {
            let mut nonce = self.iv;
            for (byte, number) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
                *byte ^= number;
            }
            Aes128Gcm::new(&Array::from(self.key))
                .decrypt_inout_detached(
                    &Array::from(nonce),
                    associated,
                    text.into(),
                    &Array::from(*tag),
                )
                .ok()
        };
        open(header, protected, largest, scratch, mask, unseal)
    }
}

/// As [`Keys::open`], with any cipher: `mask` makes the header protection mask of a sample, `unseal` opens
/// a text in place.
pub(super) fn open(
    header: &[u8],
    protected: &[u8],
    largest: Option<u64>,
    scratch: &mut Vec<u8>,
    mask: impl Fn([u8; 16]) -> Option<[u8; 5]>,
    unseal: impl Fn(u64, &[u8], &mut [u8], &[u8; TAG_BYTES]) -> Option<()>,
) -> Option<(u64, usize)> {
    let sample = protected.get(SAMPLE_AT..)?.first_chunk::<16>()?;
    let [m0, number_mask @ ..] = mask(*sample)?;
    let first = header.first()? ^ (m0 & 0x0f);
    let number_bytes = usize::from(first & 3) + 1;
    let (number, sealed) = protected.split_at_checked(number_bytes)?;
    let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
    scratch.clear();
    scratch.extend_from_slice(header);
    *scratch.first_mut()? = first;
    let mut truncated = 0u64;
    for (byte, mask) in number.iter().zip(number_mask) {
        scratch.push(byte ^ mask);
        truncated = truncated << 8 | u64::from(byte ^ mask);
    }
    let number = full_number(truncated, number_bytes as u32 * 8, largest);
    let header_bytes = scratch.len();
    scratch.extend_from_slice(body);
    let (associated, text) = scratch.split_at_mut_checked(header_bytes)?;
    unseal(number, associated, text, tag)?;
    Some((number, header_bytes))
}

/// The packet number nearest to the next one expected (RFC 9000 appendix A.3).
fn full_number(truncated: u64, bits: u32, largest: Option<u64>) -> u64 {
    let Some(largest) = largest else {
        return truncated;
    };
    let (expected, window) = (largest.wrapping_add(1), 1u64 << bits);
    let candidate = expected & !(window - 1) | truncated;
    let half = window / 2;
    if candidate.saturating_add(half) <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected.saturating_add(half) && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// Is this the integrity tag of a Retry packet (RFC 9001 section 5.8)? `None` for versions whose key is
/// not known here (the drafts before 33).
pub fn retry_is_genuine(version: Version, original_dcid: &[u8], packet: &[u8]) -> Option<bool> {
    let (key, nonce): ([u8; 16], [u8; 12]) = match version {
        Version(1 | 0xff00_0021 | 0xff00_0022) => (
            [
                0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68,
                0xc8, 0x4e,
            ],
            [
                0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb,
            ],
        ),
        Version::V2 => (
            [
                0x8f, 0xb4, 0xb0, 0x1b, 0x56, 0xac, 0x48, 0xe2, 0x60, 0xfb, 0xcb, 0xce, 0xad, 0x7c,
                0xcc, 0x92,
            ],
            [
                0xd8, 0x69, 0x69, 0xbc, 0x2d, 0x7c, 0x6d, 0x99, 0x90, 0xef, 0xb0, 0x4a,
            ],
        ),
        _ => return None,
    };
    let (packet, tag) = packet.split_last_chunk::<TAG_BYTES>()?;
    let mut pseudo = vec![u8::try_from(original_dcid.len()).ok()?];
    pseudo.extend_from_slice(original_dcid);
    pseudo.extend_from_slice(packet);
    let mut nothing = [0u8; 0];
    let opened = Aes128Gcm::new(&Array::from(key)).decrypt_inout_detached(
        &Array::from(nonce),
        &pseudo,
        (&mut nothing[..]).into(),
        &Array::from(*tag),
    );
    Some(opened.is_ok())
}
