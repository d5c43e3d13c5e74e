//! Secrets of a pcapng file that stand where they are not expected: behind the packets that they open, or in a block that
//! is longer than any packet may be.
//!
//! A writer that learns secrets while it captures puts them behind the first packets of their sessions. A file can be
//! looked through before it is read: only the headers of its blocks, and only where its end or its front shows that
//! secrets come late, so that other files cost two short reads.
//! Source: draft-ietf-opsawg-pcapng section 4.7.

use super::options::Order;
use super::{DECRYPTION_SECRETS, ENHANCED_PACKET, PACKET_OBSOLETE, SECTION_HEADER, SIMPLE_PACKET};
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// Bytes of the front in which late secrets are looked for.
const FRONT_BYTES: u64 = 1 << 20;
/// Blocks without packets that may stand at the end.
const BACK_BLOCKS_MAX: usize = 1024;
/// Bytes of secrets that are handed on together, unless a line is longer.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of a secrets block in front of its secrets.
const HEAD_BYTES: u64 = 16;

/// A secrets block too long to be held, of which this much is still to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Long {
    pub(super) kind: u32,
    /// Bytes of secrets, and of the block behind them.
    pub(super) secrets: usize,
    pub(super) behind: usize,
}

impl Long {
    /// Of the first 16 bytes of a block of this length.
    pub(super) fn new(order: Order, head: &[u8], length: usize) -> Option<Self> {
        let (kind, secrets) = (order.u32(head, 8)?, order.u32(head, 12)? as usize);
        let body = length.saturating_sub(HEAD_BYTES as usize);
        let secrets = secrets.min(body);
        Some(Self {
            kind,
            secrets,
            behind: body - secrets,
        })
    }

    /// Bytes that are needed before any can be taken.
    pub(super) fn need(&self) -> usize {
        match self.secrets {
            0 => 1,
            left => left.min(PIECE_BYTES),
        }
    }

    /// How many of these bytes are to be taken now: whole lines, as far as lines are short. 0: more bytes are needed.
    pub(super) fn piece(&self, bytes: &[u8]) -> usize {
        match bytes.get(..self.secrets) {
            Some(last) => last.len(),
            None if bytes.len() < PIECE_BYTES => 0,
            None => whole_lines(bytes),
        }
    }
}

fn whole_lines(bytes: &[u8]) -> usize {
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    end.map_or(bytes.len(), |end| end + 1)
}

/// Takes secrets with their kind.
type Take<'a> = dyn FnMut(u32, &[u8]) + 'a;

/// Hands all secrets of a file with their kind to `take`, if some of them stand behind packets. `true`: they were handed
/// on, and need not be read again.
pub fn late_secrets(file: impl Read + Seek, take: &mut Take<'_>) -> io::Result<bool> {
    let mut walk = Walk {
        file: BufReader::new(file),
        order: Order::default(),
    };
    let end = walk.file.seek(SeekFrom::End(0))?;
    let late = walk.secrets_at_end(end)? || walk.forward(end.min(FRONT_BYTES), None)?;
    if late {
        walk.forward(end, Some(take))?;
    }
    Ok(late)
}

struct Walk<R> {
    file: BufReader<R>,
    order: Order,
}

impl<R: Read + Seek> Walk<R> {
    /// The first bytes of the block at `at`; its byte order, where it begins a section.
    fn head(&mut self, at: u64) -> io::Result<[u8; HEAD_BYTES as usize]> {
        let mut head = [0; HEAD_BYTES as usize];
        let here = self.file.stream_position()?;
        let way = i64::try_from(at).unwrap_or(i64::MAX) - i64::try_from(here).unwrap_or(i64::MAX);
        self.file.seek_relative(way)?;
        self.file.read_exact(&mut head)?;
        if head.starts_with(&SECTION_HEADER.to_be_bytes()) {
            self.order.big_endian = head.get(8..12) == Some(&[0x1a, 0x2b, 0x3c, 0x4d]);
        }
        Ok(head)
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        self.order.u32(bytes, at).unwrap_or(0)
    }

    /// Is there a secrets block behind the last packet? Blocks bear their length at their end, too.
    fn secrets_at_end(&mut self, mut end: u64) -> io::Result<bool> {
        if end < HEAD_BYTES {
            return Ok(false);
        }
        self.head(0)?;
        for _ in 0..BACK_BLOCKS_MAX {
            let Some(tail_at) = end.checked_sub(HEAD_BYTES) else {
                return Ok(false);
            };
            let tail = self.head(tail_at)?;
            let length = u64::from(self.u32(&tail, 12));
            let Some(start) = end.checked_sub(length).filter(|_| length >= HEAD_BYTES) else {
                return Ok(false);
            };
            let head = self.head(start)?;
            if u64::from(self.u32(&head, 4)) != length {
                return Ok(false);
            }
            match self.u32(&head, 0) {
                DECRYPTION_SECRETS => return Ok(true),
                ENHANCED_PACKET | SIMPLE_PACKET | PACKET_OBSOLETE | SECTION_HEADER => {
                    return Ok(false);
                }
                _ => end = start,
            }
        }
        Ok(false)
    }

    /// Goes from block to block up to `end` and hands on the secrets. `true`: there are some behind a packet.
    fn forward(&mut self, end: u64, mut take: Option<&mut Take<'_>>) -> io::Result<bool> {
        let (mut at, mut packets, mut late) = (0, false, false);
        while at + HEAD_BYTES <= end {
            let head = self.head(at)?;
            let length = u64::from(self.u32(&head, 4)).next_multiple_of(4);
            if length < 12 {
                break;
            }
            match self.u32(&head, 0) {
                ENHANCED_PACKET | SIMPLE_PACKET | PACKET_OBSOLETE => packets = true,
                DECRYPTION_SECRETS => {
                    late |= packets;
                    match &mut take {
                        Some(take) => self.hand_on(&head, length, *take)?,
                        None if late => break,
                        None => {}
                    }
                }
                _ => {}
            }
            at += length;
        }
        Ok(late)
    }

    /// Hands on the secrets of a block, of which the head was read last, in pieces of whole lines.
    fn hand_on(&mut self, head: &[u8], length: u64, take: &mut Take<'_>) -> io::Result<()> {
        let Some(mut long) = Long::new(self.order, head, usize::try_from(length).unwrap_or(0))
        else {
            return Ok(());
        };
        let mut piece = Vec::new();
        while long.secrets > 0 {
            let room = (long.secrets - piece.len()).min(PIECE_BYTES) as u64;
            if self.file.by_ref().take(room).read_to_end(&mut piece)? == 0 {
                break;
            }
            let used = long.piece(&piece);
            take(long.kind, piece.get(..used).unwrap_or(&[]));
            long.secrets -= used;
            piece.drain(..used);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const TLS: u32 = 0x544c_534b;

    fn block(big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
        let number = |number: u32| match big_endian {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        };
        let length = number(12 + body.len().next_multiple_of(4) as u32);
        let mut bytes = number(kind).to_vec();
        bytes.extend(length);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(length);
        bytes
    }

    fn section(big_endian: bool) -> Vec<u8> {
        let magic: u32 = 0x1a2b_3c4d;
        let magic = match big_endian {
            true => magic.to_be_bytes(),
            false => magic.to_le_bytes(),
        };
        block(big_endian, SECTION_HEADER, &[&magic[..], &[0; 12]].concat())
    }

    fn secrets(big_endian: bool, log: &[u8]) -> Vec<u8> {
        let numbers = [TLS, log.len() as u32].map(|number| match big_endian {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        });
        block(
            big_endian,
            DECRYPTION_SECRETS,
            &[&numbers.concat()[..], log].concat(),
        )
    }

    fn found(file: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut pieces = Vec::new();
        let late = late_secrets(Cursor::new(file), &mut |kind, piece| {
            assert_eq!(kind, TLS);
            pieces.push(piece.to_vec());
        });
        match late {
            Ok(true) => Some(pieces),
            _ => None,
        }
    }

    #[test]
    fn secrets_behind_packets_are_found_before_the_file_is_read() {
        for big_endian in [false, true] {
            let packet = block(big_endian, ENHANCED_PACKET, &[7; 40]);
            let statistics = block(big_endian, 5, &[0; 12]);
            let log = secrets(big_endian, b"a line\nanother");
            let line = vec![b"a line\nanother".to_vec()];
            let file = |parts: &[&Vec<u8>]| {
                let parts = parts.iter().flat_map(|part| part.iter().copied());
                section(big_endian)
                    .into_iter()
                    .chain(parts)
                    .collect::<Vec<u8>>()
            };
            assert_eq!(
                found(&file(&[&packet, &log, &statistics])),
                Some(line.clone())
            );
            let far: Vec<&Vec<u8>> = core::iter::repeat_n(&packet, 40_000).collect();
            let late = [&far[..], &[&log, &statistics]].concat();
            assert_eq!(found(&file(&late)), Some(line.clone()));
            let early = [&[&packet, &log], &far[..]].concat();
            assert_eq!(found(&file(&early)), Some(line));
            // In front, where they are expected; none; a cut block.
            assert_eq!(found(&file(&[&log, &packet])), None);
            assert_eq!(found(&file(&far)), None);
            let whole = file(&[&packet, &log]);
            for end in 0..whole.len() {
                let _ = found(&whole[..end]);
            }
        }
    }

    #[test]
    fn long_secrets_come_in_whole_lines() {
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let log = line.repeat(5000);
        let packet = block(false, ENHANCED_PACKET, &[7; 40]);
        let file = [section(false), packet, secrets(false, &log)].concat();
        let pieces = found(&file).unwrap();
        assert!(pieces.len() > 5);
        assert!(pieces.iter().all(|piece| piece.len() % 100 == 0));
        assert_eq!(pieces.concat(), log);
    }

    #[test]
    fn any_flipped_byte_is_survived() {
        let packet = block(false, ENHANCED_PACKET, &[7; 40]);
        let file = [section(false), packet, secrets(false, b"a line\n")].concat();
        for at in 0..file.len() {
            for flip in [1, 0x80, 0xff] {
                let mut file = file.clone();
                file[at] ^= flip;
                let mut bytes = 0;
                let _ = late_secrets(Cursor::new(&file), &mut |_, piece| bytes += piece.len());
                assert!(bytes <= 2 * file.len());
            }
        }
    }
}
