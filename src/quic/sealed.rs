//! The Handshake packets of a connection, opened with its session's secrets (RFC 9001 section 5): what a
//! TLS handshake says behind the ServerHello. 0-RTT and 1-RTT packets stay closed.

use super::frames::{Frame, frames};
use super::header::Protected;
use super::keys;
use super::machine::{Told, WAITING_BYTES_MAX, plain};
use super::stream::CryptoStream;
use super::version::Version;
use crate::flow::Direction;
use crate::tls::decrypt::{
    Algorithm, Form, Known, Protection, Suite, derive::expand_label, event_tls13,
};
use crate::tls::handshake::{Event, MachineLimits, Opened, Trouble};
use crate::tls::keylog::{Label, Secret};
use crate::tls::message::{Assembler, Found};
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

/// One direction's packets.
#[derive(Debug, Default)]
struct Way {
    protection: Option<Protection>,
    /// The header protection key.
    hp: [u8; 32],
    stream: CryptoStream,
    assembler: Assembler,
    largest: Option<u64>,
    messages: u32,
}

/// Both directions' packets.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    ways: [Way; 2],
    suite: Option<Suite>,
    told: bool,
}

impl Sealed {
    /// The keys of a session whose hellos were seen.
    pub(super) fn new(
        client: Direction,
        random: &[u8; 32],
        suite: u16,
        version: Version,
        known: Known<'_>,
    ) -> Result<Self, Trouble> {
        let secrets = [Label::ClientHandshake, Label::ServerHandshake];
        let secrets = secrets.map(|label| known.find(random, label));
        if secrets.iter().all(Option::is_none) {
            return Err(Trouble::Missing);
        }
        let suite = Suite::of(suite).ok_or(Trouble::Suite)?;
        let mut sealed = Self {
            suite: Some(suite),
            ..Self::default()
        };
        for (direction, secret) in [client, client.reverse()].into_iter().zip(secrets) {
            if let Some(secret) = secret {
                let way = &mut sealed.ways[direction as usize];
                way.key(suite, version, &secret).ok_or(Trouble::Unfit)?;
            }
        }
        Ok(sealed)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let of = |way: &Way| way.stream.heap_bytes() + way.assembler.heap_bytes();
        size_of::<Self>() + self.ways.iter().map(of).sum::<usize>()
    }

    /// Reads a Handshake packet; gives the code with which it closes the connection.
    pub(super) fn read(
        &mut self,
        direction: Direction,
        packet: &[u8],
        protected: &Protected<'_>,
        limits: &MachineLimits,
        scratch: &mut Vec<u8>,
        each: &mut dyn FnMut(Told<'_>),
    ) -> Option<u64> {
        let suite = self.suite?;
        let way = &mut self.ways[direction as usize];
        if protected.cut || way.messages > limits.messages_max {
            return None;
        }
        let Some(at) = way.open(suite, packet, protected, scratch) else {
            // One that was opened before is damaged; else it is another session's secret.
            if way.protection.is_some() && way.largest.is_none() {
                way.protection = None;
                if !core::mem::replace(&mut self.told, true) {
                    each(plain(Event::Trouble(Trouble::Unfit)));
                }
            }
            return None;
        };
        let payload = scratch.get(at..).unwrap_or(&[]);
        let mut close = None;
        for frame in frames(payload) {
            match frame {
                Frame::Crypto { offset, bytes } => way.crypto(offset, bytes, limits, each),
                Frame::Close { code } => {
                    close = Some(code);
                    if let Ok(code @ 0x100..=0x1ff) = u16::try_from(code) {
                        let [_, code] = code.to_be_bytes();
                        let alert = Opened::Alert { level: 2, code };
                        each(plain(Event::Opened(alert)));
                    }
                }
                Frame::Broken => {}
            }
        }
        each(plain(Event::Opened(Opened::Record)));
        close
    }
}

impl Way {
    fn key(&mut self, suite: Suite, version: Version, secret: &Secret) -> Option<()> {
        let labels = version.labels();
        let [key, iv, hp] = [labels.key, labels.iv, labels.hp]
            .map(|label| label.strip_prefix(b"tls13 ").unwrap_or(label));
        self.protection = Some(Protection::of_labels(
            suite,
            Form::Tls13,
            secret,
            [key, iv],
        )?);
        let out = self.hp.get_mut(..suite.key_bytes)?;
        expand_label(suite.hash, secret.bytes(), hp, out).then_some(())
    }

    fn open(
        &mut self,
        suite: Suite,
        packet: &[u8],
        protected: &Protected<'_>,
        scratch: &mut Vec<u8>,
    ) -> Option<usize> {
        let protection = self.protection.as_ref()?;
        let header_bytes = packet.len() - protected.bytes.len() - protected.after.len();
        let header = packet.get(..header_bytes)?;
        let mask = |sample| mask(suite, &self.hp, sample);
        let unseal = |number: u64, associated: &[u8], text: &mut [u8], tag: &[u8; 16]| {
            protection.unseal_packet(number, associated, text, tag)
        };
        let (number, at) =
            keys::open(header, protected.bytes, self.largest, scratch, mask, unseal)?;
        self.largest = Some(self.largest.unwrap_or(0).max(number));
        Some(at)
    }

    fn crypto(
        &mut self,
        offset: u64,
        bytes: &[u8],
        limits: &MachineLimits,
        each: &mut dyn FnMut(Told<'_>),
    ) {
        let Self {
            stream,
            assembler,
            messages,
            ..
        } = self;
        let waiting_max = WAITING_BYTES_MAX.min(limits.message_bytes_max);
        let kept = stream.push(offset, bytes, waiting_max, &mut |bytes| {
            assembler.feed(bytes, limits.message_bytes_max, &mut |found| {
                *messages += 1;
                let event = match found {
                    Found::Message(message) => event_tls13(message).unwrap_or(Event::Malformed),
                    Found::Unknown => Event::Malformed,
                    Found::TooLong => Event::TooLong,
                };
                each(plain(event));
            });
        });
        if !kept {
            each(plain(Event::TooLong));
        }
    }
}

/// The mask that a sample of the packet gives (RFC 9001 section 5.4).
fn mask(suite: Suite, hp: &[u8; 32], sample: [u8; 16]) -> Option<[u8; 5]> {
    if suite.algorithm == Algorithm::ChaCha20Poly1305 {
        let (counter, nonce) = sample.split_first_chunk::<4>()?;
        let mut cipher = ChaCha20::new_from_slices(hp, nonce).ok()?;
        let mut mask = [0; 5];
        cipher.seek(u64::from(u32::from_le_bytes(*counter)) * 64);
        cipher.try_apply_keystream(&mut mask).ok()?;
        return Some(mask);
    }
    let mut block = Array::from(sample);
    if suite.key_bytes == 32 {
        Aes256::new(&Array::from(*hp)).encrypt_block(&mut block);
    } else {
        let hp: [u8; 16] = *hp.first_chunk()?;
        Aes128::new(&Array::from(hp)).encrypt_block(&mut block);
    }
    block.first_chunk::<5>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001 appendix A.5: the mask of ChaCha20.
    #[test]
    fn the_mask_of_chacha20() {
        let hp: [u8; 32] = [
            0x25, 0xa2, 0x82, 0xb9, 0xe8, 0x2f, 0x06, 0xf2, 0x1f, 0x48, 0x89, 0x17, 0xa4, 0xfc,
            0x8f, 0x1b, 0x73, 0x57, 0x36, 0x85, 0x60, 0x85, 0x97, 0xd0, 0xef, 0xcb, 0x07, 0x6b,
            0x0a, 0xb7, 0xa7, 0xa4,
        ];
        let sample = [
            0x5e, 0x5c, 0xd5, 0x5c, 0x41, 0xf6, 0x90, 0x80, 0x57, 0x5d, 0x79, 0x99, 0xc2, 0x5a,
            0x5b, 0xfb,
        ];
        let suite = Suite::of(0x1303).unwrap();
        assert_eq!(
            mask(suite, &hp, sample),
            Some([0xae, 0xfe, 0xfe, 0x7d, 0x03])
        );
    }
}
