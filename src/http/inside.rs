//! HTTP/2 inside TLS, as far as a session's secrets opened it: SETTINGS and GOAWAY of both sides.
//!
//! As long as all bytes of a direction come, its frames are stepped over one by one. Behind the first
//! bytes that were not opened, only a text that is whole frames from its first byte to its last is
//! believed: so programs send a GOAWAY, and so hardly anything else looks.

use super::h2::{Frames, H2, PREFACE, Stepped, is_whole_frames};

/// Both directions of a connection.
#[derive(Debug, Default)]
pub struct Inside {
    client: Half,
    server: Half,
    h2: H2,
}

#[derive(Debug, Default)]
struct Half {
    frames: Frames,
    /// The start of a frame whose rest is to come; a header and what is read of a body at most.
    partial: Vec<u8>,
    begun: bool,
    /// Where frames begin is not known any more.
    lost: bool,
}

impl Inside {
    /// What was seen.
    pub fn facts(&self) -> &H2 {
        &self.h2
    }

    /// Bytes on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        let settings = [&self.h2.client_settings, &self.h2.server_settings];
        let settings = settings.into_iter().flatten().map(|list| list.len() * 8);
        size_of::<Self>()
            + self.client.partial.capacity()
            + self.server.partial.capacity()
            + settings.sum::<usize>()
    }

    /// Takes what one record held; `contiguous`: nothing is missing in front of it.
    pub fn read(&mut self, from_client: bool, bytes: &[u8], contiguous: bool, stamp: u64) {
        let half = if from_client {
            &mut self.client
        } else {
            &mut self.server
        };
        half.lost |= !contiguous;
        if half.lost {
            half.partial = Vec::new();
            if is_whole_frames(bytes) {
                step(
                    &mut Frames::default(),
                    from_client,
                    bytes,
                    stamp,
                    &mut self.h2,
                );
            }
            return;
        }
        let joined;
        let mut bytes = bytes;
        if !half.partial.is_empty() {
            half.partial.extend_from_slice(bytes);
            joined = core::mem::take(&mut half.partial);
            bytes = &joined;
        }
        if from_client && !half.begun {
            let Some(rest) = bytes.strip_prefix(PREFACE) else {
                half.lost = !PREFACE.starts_with(bytes);
                half.partial = if half.lost {
                    Vec::new()
                } else {
                    bytes.to_vec()
                };
                return;
            };
            bytes = rest;
        }
        half.begun = true;
        match step(&mut half.frames, from_client, bytes, stamp, &mut self.h2) {
            Some(rest) => half.partial = rest.to_vec(),
            None => half.lost = true,
        }
    }
}

/// Steps over frames; gives the start of one whose rest is to come, or `None` where enough was looked at.
fn step<'a>(
    frames: &mut Frames,
    from_client: bool,
    mut bytes: &'a [u8],
    stamp: u64,
    h2: &mut H2,
) -> Option<&'a [u8]> {
    while !bytes.is_empty() {
        match frames.read(from_client, stamp, bytes, h2) {
            Stepped::Over(length) => bytes = bytes.get(length..).unwrap_or(&[]),
            Stepped::Need => return Some(bytes),
            Stepped::End => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, body.len() as u8, kind, 0, 0, 0, 0, 0];
        frame.extend(body);
        frame
    }

    fn client() -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, &[0, 3, 0, 0, 0, 100, 0, 4, 0, 0, 255, 255]));
        bytes.extend(frame(0, &[9; 200]));
        bytes.extend(frame(7, &[0, 0, 0, 5, 0, 0, 0, 12, b'h', b'i']));
        bytes
    }

    #[test]
    fn any_split_gives_the_same_facts() {
        let bytes = client();
        let mut whole = Inside::default();
        whole.read(true, &bytes, true, 7);
        assert_eq!(
            whole.facts().client_settings,
            Some(vec![(3, 100), (4, 65_535)])
        );
        let goaway = whole.facts().goaways[0];
        assert_eq!((goaway.code, goaway.last_stream, goaway.stamp), (12, 5, 7));
        for size in 1..bytes.len() {
            let mut inside = Inside::default();
            for part in bytes.chunks(size) {
                inside.read(true, part, true, 7);
                assert!(inside.client.partial.len() < 128);
            }
            assert_eq!(inside.facts(), whole.facts(), "{size}");
        }
    }

    #[test]
    fn behind_a_hole_only_whole_frames_are_believed() {
        let goaway = frame(7, &[0, 0, 0, 5, 0, 0, 0, 12]);
        let codes = |bytes: &[u8]| {
            let mut inside = Inside::default();
            inside.read(false, bytes, false, 7);
            inside
                .facts()
                .goaways
                .iter()
                .map(|goaway| goaway.code)
                .collect::<Vec<_>>()
        };
        assert_eq!(codes(&goaway), [12]);
        assert_eq!(codes(&[frame(3, &[0; 4]), goaway.clone()].concat()), [12]);
        for wrong in [
            goaway[..goaway.len() - 1].to_vec(),
            [goaway.clone(), vec![0]].concat(),
            // A GOAWAY of a stream, and one too short.
            [0, 0, 8, 7, 0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 12].to_vec(),
            frame(7, &[0; 4]),
            frame(0x77, &[0; 8]),
        ] {
            assert_eq!(codes(&wrong), [0u32; 0], "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_http2_gives_nothing() {
        let mut inside = Inside::default();
        inside.read(
            true,
            b"GET / HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n",
            true,
            1,
        );
        inside.read(true, &client(), true, 2);
        assert!(inside.facts().client_settings.is_none());
        assert!(inside.client.partial.is_empty());
    }
}
