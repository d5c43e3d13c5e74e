//! What stands beside the packets of a pcapng file: options of blocks, names of hosts, secrets, statistics.
//!
//! Source: draft-ietf-opsawg-pcapng sections 3.5 (options), 4.5 (name resolution), 4.6 (interface statistics) and
//! 4.7 (decryption secrets).

use crate::capture::block::{Block, SecretsAt};
use crate::capture::extra::{CommentAt, Extra, Way};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// opt_comment, of any block.
pub(super) const COMMENT: u16 = 1;
/// epb_flags and pack_flags.
const FLAGS: u16 = 2;
/// Host names kept of a file, and bytes of one.
const HOSTS_MAX: usize = 65_536;
const HOST_BYTES_MAX: usize = 255;
/// Comments kept of a file's sections and interfaces, and bytes of one.
const COMMENTS_MAX: usize = 16;
const COMMENT_BYTES_MAX: usize = 1024;

/// Numbers of either byte order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    pub(super) big_endian: bool,
}

impl Order {
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let chunk = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.big_endian {
            u16::from_be_bytes(chunk)
        } else {
            u16::from_le_bytes(chunk)
        })
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let chunk = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big_endian {
            u32::from_be_bytes(chunk)
        } else {
            u32::from_le_bytes(chunk)
        })
    }

    pub(super) fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let chunk = *bytes.get(at..)?.first_chunk::<8>()?;
        Some(if self.big_endian {
            u64::from_be_bytes(chunk)
        } else {
            u64::from_le_bytes(chunk)
        })
    }

    /// The options in `bytes`, each with its code and where its value lies; they end at the first that does not fit.
    pub(super) fn options(self, bytes: &[u8]) -> impl Iterator<Item = (u16, usize, &[u8])> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let (code, length) = (self.u16(bytes, at)?, usize::from(self.u16(bytes, at + 2)?));
            let value_at = at + 4;
            let value = bytes.get(value_at..value_at + length)?;
            at = value_at + length.next_multiple_of(4);
            (code != 0).then_some((code, value_at, value))
        })
    }
}

/// What was found beside the packets of one step, to be handed to its block.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    extras: Vec<Extra>,
    comments: Vec<CommentAt>,
    secrets: Vec<SecretsAt>,
}

impl Aside {
    /// A new step begins.
    pub(super) fn clear(&mut self) {
        self.extras.clear();
        self.comments.clear();
        self.secrets.clear();
    }

    /// Hands everything to the block in whose bytes it lies.
    pub(super) fn hand_over(&mut self, block: &mut Block) {
        core::mem::swap(&mut self.extras, &mut block.extras);
        core::mem::swap(&mut self.comments, &mut block.comments);
        core::mem::swap(&mut self.secrets, &mut block.secrets);
    }

    /// Reads the options of packet `index`, which lie at `at`.
    #[cold]
    pub(super) fn packet(&mut self, order: Order, options: &[u8], at: usize, index: usize) {
        let mut extra = Extra::default();
        for (code, value_at, value) in order.options(options) {
            match code {
                COMMENT => match process_id(value) {
                    Some(id) => extra.process_id = id,
                    None => {
                        extra.commented = true;
                        self.comments.push(CommentAt {
                            packet: index as u32,
                            offset: (at + value_at) as u32,
                            length: trimmed(value).len() as u32,
                        });
                    }
                },
                FLAGS => {
                    extra.way = match order.u32(value, 0).map(|flags| flags & 3) {
                        Some(1) => Some(Way::In),
                        Some(2) => Some(Way::Out),
                        _ => None,
                    }
                }
                _ => {}
            }
        }
        // Of a received packet it is whoever was running when it came, not whom it was for.
        if extra.way == Some(Way::In) {
            extra.process_id = 0;
        }
        if extra != Extra::default() {
            self.extras.resize(index, Extra::default());
            self.extras.push(extra);
        }
    }

    /// Keeps where the secrets of a decryption secrets block lie, which begins at `at`.
    pub(super) fn secrets(&mut self, order: Order, block: &[u8], at: usize, before: usize) {
        let (Some(kind), Some(length)) = (order.u32(block, 8), order.u32(block, 12)) else {
            return;
        };
        let room = block.len().saturating_sub(20);
        self.secrets_piece(kind, at + 16, (length as usize).min(room), before);
    }

    /// Keeps where secrets lie.
    pub(super) fn secrets_piece(&mut self, kind: u32, at: usize, length: usize, before: usize) {
        self.secrets.push(SecretsAt {
            kind,
            offset: at as u32,
            length: length as u32,
            before: before as u32,
        });
    }
}

/// The comment by which etl2pcapng tells the process: "PID=4711", in newer versions with more behind it.
fn process_id(comment: &[u8]) -> Option<u32> {
    let rest = comment.strip_prefix(b"PID=")?;
    let (mut number, mut digits) = (0u32, 0);
    for byte in rest.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = u32::from(byte - b'0');
        number = number.checked_mul(10)?.checked_add(digit)?;
        digits += 1;
    }
    let more = rest.get(digits..)?;
    let ends = more.starts_with(b" ") || more.iter().all(|byte| *byte == 0);
    (digits > 0 && ends).then_some(number)
}

/// Text without the zeros with which some programs fill it up.
fn trimmed(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    text.get(..end).unwrap_or(text)
}

/// A short text of an option.
pub(super) fn text(value: &[u8], bytes_max: usize) -> String {
    let value = trimmed(value);
    String::from_utf8_lossy(value.get(..bytes_max).unwrap_or(value)).into_owned()
}

/// What a file says of itself and of hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// Comments on sections and interfaces.
    pub(super) comments: Vec<String>,
    /// Names of addresses.
    pub(super) hosts: BTreeMap<IpAddr, Vec<Box<str>>>,
    hosts_kept: usize,
    /// Packets lost by each interface, or by the system, as counted last.
    lost: BTreeMap<u32, u64>,
}

impl About {
    /// Keeps a comment on a section or an interface.
    pub(super) fn comment(&mut self, value: &[u8]) {
        if self.comments.len() < COMMENTS_MAX {
            self.comments.push(text(value, COMMENT_BYTES_MAX));
        }
    }

    /// Reads a name resolution block.
    pub(super) fn names(&mut self, order: Order, block: &[u8]) {
        let records = block.get(8..block.len().saturating_sub(4)).unwrap_or(&[]);
        for (kind, _, value) in order.options(records) {
            let parsed = match kind {
                1 => (value.split_first_chunk::<4>())
                    .map(|(address, names)| (IpAddr::from(*address), names)),
                2 => (value.split_first_chunk::<16>())
                    .map(|(address, names)| (IpAddr::from(*address), names)),
                _ => None,
            };
            let Some((address, names)) = parsed else {
                continue;
            };
            for name in names
                .split(|byte| *byte == 0)
                .filter(|name| !name.is_empty())
            {
                if self.hosts_kept >= HOSTS_MAX {
                    return;
                }
                let known = self.hosts.entry(address).or_default();
                let name = text(name, HOST_BYTES_MAX).into_boxed_str();
                if !known.contains(&name) {
                    known.push(name);
                    self.hosts_kept += 1;
                }
            }
        }
    }

    /// Reads an interface statistics block: its counts are those since the capture began.
    pub(super) fn statistics(&mut self, order: Order, block: &[u8], interfaces: u32) {
        let Some(interface) = order.u32(block, 8) else {
            return;
        };
        let options = block.get(20..block.len().saturating_sub(4)).unwrap_or(&[]);
        // isb_ifdrop and isb_osdrop: packets that the interface, and the system, had no room for.
        let lost = (order.options(options))
            .filter(|(code, _, _)| matches!(code, 5 | 7))
            .filter_map(|(_, _, value)| order.u64(value, 0))
            .fold(0u64, u64::saturating_add);
        if self.lost.len() < COMMENTS_MAX * COMMENTS_MAX {
            self.lost.insert(interfaces.wrapping_add(interface), lost);
        }
    }

    /// What a reader of the results should know.
    pub(super) fn notes(&self) -> Vec<String> {
        let lost = (self.lost.values()).fold(0u64, |sum, lost| sum.saturating_add(*lost));
        let lost = (lost > 0).then(|| {
            format!("{lost} packets were lost while recording: what is missing proves nothing")
        });
        let comments = self.comments.iter();
        let comments = comments.map(|comment| format!("comment in the capture: {comment}"));
        lost.into_iter().chain(comments).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comments_of_etl2pcapng_tell_the_process() {
        assert_eq!(process_id(b"PID=4711"), Some(4711));
        assert_eq!(process_id(b"PID=4\0\0\0"), Some(4));
        assert_eq!(process_id(b"PID=1234 TID=88"), Some(1234));
        for other in [
            &b"PID="[..],
            b"PID=x",
            b"PID=99999999999",
            b"pid=1",
            b"PID=12abc",
        ] {
            assert_eq!(process_id(other), None, "{other:?}");
        }
    }

    #[test]
    fn options_end_at_the_first_that_does_not_fit() {
        let order = Order::default();
        let bytes = [
            1, 0, 3, 0, b'a', b'b', b'c', 0, 2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9,
        ];
        let all: Vec<_> = order.options(&bytes).collect();
        assert_eq!(all, [(1, 4, &b"abc"[..]), (2, 12, &[1, 0, 0, 0][..])]);
        for length in 0..bytes.len() {
            assert!(order.options(&bytes[..length]).count() <= 2);
        }
        assert_eq!(order.options(&[1, 0, 0xff, 0xff, 0]).count(), 0);
    }

    #[test]
    fn names_of_addresses_are_kept_once() {
        let mut records = Vec::new();
        for (kind, value) in [
            (1u16, &b"\xc0\0\x02\x01mail.example\0www.example\0"[..]),
            (1, b"\xc0\0\x02\x01mail.example\0"),
            (2, b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01v6.example\0"),
            (7, b"\0\0"),
            (1, b"\0"),
        ] {
            records.extend(kind.to_be_bytes());
            records.extend((value.len() as u16).to_be_bytes());
            records.extend(value);
            records.resize(records.len().next_multiple_of(4), 0);
        }
        let block = [&[0; 8][..], &records, &[0; 8]].concat();
        let mut about = About::default();
        about.names(Order { big_endian: true }, &block);
        let names: Vec<_> = about
            .hosts
            .iter()
            .map(|(ip, names)| (ip.to_string(), names.join(" ")))
            .collect();
        assert_eq!(
            names,
            [
                (
                    "192.0.2.1".to_owned(),
                    "mail.example www.example".to_owned()
                ),
                ("2001:db8::1".to_owned(), "v6.example".to_owned())
            ]
        );
        for length in 0..block.len() {
            About::default().names(Order { big_endian: true }, &block[..length]);
        }
    }
}
