//! From secrets to keys: HKDF-Expand-Label (RFC 8446 section 7.1), the PRF of TLS 1.2 (RFC 5246 section 5)
//! and that of TLS 1.0 and 1.1 (RFC 2246 section 5).

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384};

/// The hash that keys are derived with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// MD5 and SHA-1 together: TLS 1.0 and 1.1.
    Md5Sha1,
    Sha256,
    Sha384,
}

/// HKDF-Expand-Label with an empty context. `false`: the secret is too short for the hash.
pub(crate) fn expand_label(hash: Hash, secret: &[u8], label: &[u8], out: &mut [u8]) -> bool {
    let length = (out.len() as u16).to_be_bytes();
    let label_length = [6 + label.len() as u8];
    let parts: [&[u8]; 5] = [&length, &label_length, b"tls13 ", label, &[0]];
    let done = match hash {
        Hash::Md5Sha1 => None,
        Hash::Sha256 => Hkdf::<Sha256>::from_prk(secret)
            .ok()
            .and_then(|hkdf| hkdf.expand_multi_info(&parts, out).ok()),
        Hash::Sha384 => Hkdf::<Sha384>::from_prk(secret)
            .ok()
            .and_then(|hkdf| hkdf.expand_multi_info(&parts, out).ok()),
    };
    done.is_some()
}

/// `PRF(secret, label, seed)` of TLS 1.2 and below.
pub(super) fn prf(hash: Hash, secret: &[u8], label: &[u8], seed: [&[u8]; 2], out: &mut [u8]) {
    out.fill(0);
    let seed = [label, seed[0], seed[1]];
    match hash {
        Hash::Sha256 => p_hash::<Hmac<Sha256>>(secret, &seed, out),
        Hash::Sha384 => p_hash::<Hmac<Sha384>>(secret, &seed, out),
        Hash::Md5Sha1 => {
            // The secret's two halves share their middle byte where its length is odd.
            let half = secret.len().div_ceil(2);
            let first = secret.get(..half).unwrap_or(secret);
            let second = secret.get(secret.len() - half..).unwrap_or(secret);
            p_hash::<Hmac<Md5>>(first, &seed, out);
            p_hash::<Hmac<Sha1>>(second, &seed, out);
        }
    }
}

/// `P_hash`, added to `out` by exclusive or.
fn p_hash<M: Mac + KeyInit + Clone>(secret: &[u8], seed: &[&[u8]; 3], out: &mut [u8]) {
    // HMAC takes a key of any length.
    let Ok(mac) = <M as KeyInit>::new_from_slice(secret) else {
        return;
    };
    let run = |front: &[u8], seed: &[&[u8]]| {
        let mut mac = mac.clone();
        mac.update(front);
        seed.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    let mut a = run(&[], seed);
    for chunk in out.chunks_mut(a.len()) {
        let block = run(&a, seed);
        for (byte, mask) in chunk.iter_mut().zip(&block) {
            *byte ^= mask;
        }
        a = run(&a, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::decrypt::testing::bytes;

    /// RFC 8448 section 3: the server's handshake traffic secret gives its key and IV.
    #[test]
    fn keys_of_rfc_8448() {
        let secret = bytes("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
        let (mut key, mut iv) = ([0; 16], [0; 12]);
        assert!(expand_label(Hash::Sha256, &secret, b"key", &mut key));
        assert!(expand_label(Hash::Sha256, &secret, b"iv", &mut iv));
        assert_eq!(key.to_vec(), bytes("3fce516009c21727d0f2e4e86ee403bc"));
        assert_eq!(iv.to_vec(), bytes("5d313eb2671276ee13000b30"));
        assert!(!expand_label(Hash::Sha384, &secret, b"key", &mut key));
    }

    /// The PRF test vector for SHA-256 that was posted to the TLS working group in 2009.
    #[test]
    fn prf_of_tls12() {
        let mut out = [0; 100];
        let secret = bytes("9bbe436ba940f017b17652849a71db35");
        let seed = bytes("a0ba9f936cda311827a6f796ffd5198c");
        prf(Hash::Sha256, &secret, b"test label", [&seed, &[]], &mut out);
        assert_eq!(
            out[..16].to_vec(),
            bytes("e3f229ba727be17b8d122620557cd453")
        );
        assert_eq!(out[96..].to_vec(), bytes("87347b66"));
    }
}
