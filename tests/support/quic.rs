//! Initial packets of QUIC version 1 (RFC 9001 section 5), sealed.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::{Aes128Gcm, aead::AeadInOut};
use hkdf::Hkdf;
use sha2::Sha256;

const SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];

/// An Initial packet to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Initial<'a> {
    /// The id that the keys come from: that of the client's first packet.
    pub(crate) keyed: &'a [u8],
    pub(crate) from_server: bool,
    pub(crate) dcid: &'a [u8],
    pub(crate) scid: &'a [u8],
    pub(crate) number: u8,
}

fn expand<const N: usize>(secret: &[u8], label: &str) -> [u8; N] {
    let mut info = vec![0, N as u8, label.len() as u8 + 6];
    info.extend(b"tls13 ");
    info.extend(label.bytes());
    info.push(0);
    let mut out = [0; N];
    let secret = Hkdf::<Sha256>::from_prk(secret).unwrap();
    secret.expand(&info, &mut out).unwrap();
    out
}

/// A CRYPTO frame.
pub(crate) fn crypto(offset: u16, bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![6];
    frame.extend((0x4000 | offset).to_be_bytes());
    frame.extend((0x4000 | bytes.len() as u16).to_be_bytes());
    frame.extend(bytes);
    frame
}

impl Initial<'_> {
    /// The packet with these frames.
    pub(crate) fn seal(&self, frames: &[u8]) -> Vec<u8> {
        let (initial, _) = Hkdf::<Sha256>::extract(Some(&SALT), self.keyed);
        let side = if self.from_server {
            "server in"
        } else {
            "client in"
        };
        let secret: [u8; 32] = expand(&initial, side);
        let (key, hp): ([u8; 16], [u8; 16]) =
            (expand(&secret, "quic key"), expand(&secret, "quic hp"));
        let mut nonce: [u8; 12] = expand(&secret, "quic iv");
        nonce[11] ^= self.number;
        let mut header = vec![0xc0, 0, 0, 0, 1];
        for id in [self.dcid, self.scid] {
            header.push(id.len() as u8);
            header.extend(id);
        }
        header.push(0);
        header.extend((0x4000 | (frames.len() as u16 + 17)).to_be_bytes());
        let number_at = header.len();
        header.push(self.number);
        let mut text = frames.to_vec();
        let tag = Aes128Gcm::new(&Array::from(key))
            .encrypt_inout_detached(&Array::from(nonce), &header, text.as_mut_slice().into())
            .unwrap();
        let mut packet = header;
        packet.extend(text);
        packet.extend(tag.iter());
        let sample: [u8; 16] = packet[number_at + 4..number_at + 20].try_into().unwrap();
        let mut mask = Array::from(sample);
        Aes128::new(&Array::from(hp)).encrypt_block(&mut mask);
        packet[0] ^= mask[0] & 0x0f;
        packet[number_at] ^= mask[1];
        packet
    }
}
