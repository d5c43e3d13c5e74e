//! Diffie-Hellman primes that have names: they are safe primes, but the small ones are worth an attack on all who use them.
//!
//! RFC 2409 sections 6.1 and 6.2 (`modp768`, `modp1024`: the Oakley groups), RFC 3526 (`modp1536` to `modp8192`), RFC 7919
//! (`ffdhe2048` to `ffdhe8192`).

use sha2::{Digest as _, Sha256};

/// The name of a prime, and the SHA-256 of its bytes.
type Prime = (&'static str, [u8; 32]);

/// From what these documents define: 2^n - 2^(n-64) - 1 + 2^64 (floor(2^(n-130) pi) + c), and the same with e for RFC 7919;
/// each is a safe prime by Fermat's test.
static PRIMES: [Prime; 13] = [
    (
        "modp768",
        hex(b"b52ba6a3026520a6c49d37e4587601801bee500123b3259b6bf03e7cecc3e63d"),
    ),
    (
        "modp1024",
        hex(b"3f35a3f5f6c4376a744acad409bb22f8d897f949d2311d885adaa890981b67a0"),
    ),
    (
        "modp1536",
        hex(b"64fcc83ec403930bf18393dbc883ccaa1fbb08ac876f77f7aa99748ca945019b"),
    ),
    (
        "modp2048",
        hex(b"d66436f79bbd6b2e38c0ffbd079be904d2641415e2e67140e09448be9a60890e"),
    ),
    (
        "modp3072",
        hex(b"48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c"),
    ),
    (
        "modp4096",
        hex(b"4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33"),
    ),
    (
        "modp6144",
        hex(b"d1bfe6d0925ce7e4da262b62861514a7755e35831e429f343e7b864848657efd"),
    ),
    (
        "modp8192",
        hex(b"39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf"),
    ),
    (
        "ffdhe2048",
        hex(b"9cd3b7f336872f46c09428d1bbc19877a4d440512cda8d1c1cf0cd6e33698966"),
    ),
    (
        "ffdhe3072",
        hex(b"0eaf67db3a839156d5013494a5318a772b5697d270d721f37f092efc69ea5a17"),
    ),
    (
        "ffdhe4096",
        hex(b"4648414224ac881b3d0dc59b466f96d06a558278776807797ecf1f66ff397b3e"),
    ),
    (
        "ffdhe6144",
        hex(b"227ac9066b3ddd9e193670cda2388fa884f65ba0cf98b742d1fe77a6687c79c7"),
    ),
    (
        "ffdhe8192",
        hex(b"770b14efaf6f049929c523113b3fa99a8d11dab1b18af3609590122075d19833"),
    ),
];

/// Half of each byte per digit.
const fn hex(digits: &[u8; 64]) -> [u8; 32] {
    const fn half(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            _ => digit - b'a' + 10,
        }
    }
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 32 {
        bytes[at] = half(digits[2 * at]) << 4 | half(digits[2 * at + 1]);
        at += 1;
    }
    bytes
}

/// The name of a prime, which may have zeros in front.
pub(super) fn name(prime: &[u8]) -> Option<&'static str> {
    let begin = prime.iter().position(|byte| *byte != 0)?;
    let prime = prime.get(begin..)?;
    // All of them begin and end with eight bytes of ones: others need no digest.
    if !prime.starts_with(&[0xff; 8]) || !prime.ends_with(&[0xff; 8]) {
        return None;
    }
    let digest: [u8; 32] = Sha256::digest(prime).into();
    let known = PRIMES.iter().find(|(_, known)| *known == digest);
    known.map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second Oakley group, as RFC 2409 section 6.2 prints it.
    const OAKLEY_2: &str = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
        EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5\
        AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF";

    #[test]
    fn primes_are_told_by_name() {
        let digits = OAKLEY_2.as_bytes().chunks(2);
        let bytes = digits.map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16));
        let mut prime: Vec<u8> = bytes.map(Result::unwrap).collect();
        assert_eq!(name(&prime), Some("modp1024"));
        prime.insert(0, 0);
        assert_eq!(name(&prime), Some("modp1024"));
        prime[60] ^= 1;
        assert_eq!(name(&prime), None);
        assert_eq!(name(&[]), None);
        assert_eq!(name(&[0, 0xff]), None);
    }
}
