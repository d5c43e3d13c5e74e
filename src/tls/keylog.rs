//! Secrets of TLS sessions as programs log them for whoever has to look inside (RFC 9850, the
//! `SSLKEYLOGFILE` format of NSS): where they are kept, and the reader of the log's lines.
//!
//! A secret is found by the random of its session's ClientHello. It is never printed, not even by
//! `Debug`, and it is gone with the run. What a line may be is the log's business, not ours: comments,
//! labels that are of no use here and lines that are none are passed over and counted.

use core::fmt;
use hashbrown::HashMap;
use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Longest line of a key log that can hold a secret: label, random, secret, and blanks between them.
pub const LINE_BYTES_MAX: usize = 512;
/// The longest secret: a digest of SHA-384, or a master secret.
pub const SECRET_BYTES_MAX: usize = 48;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// Master secret of TLS 1.2 and below.
    Master,
    /// What the client sends before the ServerHello under TLS 1.3.
    ClientEarly,
    /// The client's part of a TLS 1.3 handshake.
    ClientHandshake,
    /// The server's part of a TLS 1.3 handshake.
    ServerHandshake,
    /// What the client sends after the handshake under TLS 1.3.
    ClientTraffic,
    /// What the server sends after the handshake under TLS 1.3.
    ServerTraffic,
}

/// Labels of RFC 9850 that open something. Early versions of QUIC wrote them with a `QUIC_` in front.
pub const LABELS: [(&str, Label); 6] = [
    ("CLIENT_RANDOM", Label::Master),
    ("CLIENT_EARLY_TRAFFIC_SECRET", Label::ClientEarly),
    ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", Label::ClientHandshake),
    ("SERVER_HANDSHAKE_TRAFFIC_SECRET", Label::ServerHandshake),
    ("CLIENT_TRAFFIC_SECRET_0", Label::ClientTraffic),
    ("SERVER_TRAFFIC_SECRET_0", Label::ServerTraffic),
];

/// A secret. Its bytes stay inside the crate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret {
    bytes: [u8; SECRET_BYTES_MAX],
    length: u8,
}

impl Secret {
    /// From its bytes; `None` where no hash of TLS gives so many.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self {
            bytes: [0; SECRET_BYTES_MAX],
            length: u8::try_from(bytes.len()).ok()?,
        };
        if !matches!(bytes.len(), 32 | 48) {
            return None;
        }
        secret.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(secret)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or(&self.bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a line of a key log was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A secret, now known.
    Secret,
    /// A secret that was known before.
    Again,
    /// Nothing to know: a comment, a blank line, or a label of no use here.
    Other,
    /// No line of a key log.
    Unreadable,
    /// A secret beyond the cap.
    Full,
}

/// The key: the ClientHello's random, and what the secret is for.
type Place = ([u8; 32], Label);

/// The secrets of a run. One reader adds them while others look them up.
///
/// Each secret is known from a certain packet of the run on. A look-up names the packet it is made for:
/// what it finds depends on the captures alone, not on how far another thread has read.
#[derive(Default)]
pub struct Secrets {
    known: RwLock<HashMap<Place, (Secret, u64)>>,
    /// How many, and the first packet for which there is one, plus one.
    count: AtomicUsize,
    since: AtomicU64,
    unreadable: AtomicU64,
    beyond_cap: AtomicU64,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.len())
    }
}

impl Secrets {
    /// How many secrets are known.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// None is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lines that are none of a key log, and secrets beyond the cap.
    pub fn passed_over(&self) -> (u64, u64) {
        (
            self.unreadable.load(Ordering::Relaxed),
            self.beyond_cap.load(Ordering::Relaxed),
        )
    }

    /// Is any secret known at packet `order` of the run?
    pub fn known_at(&self, order: u64) -> bool {
        match self.since.load(Ordering::Relaxed) {
            0 => false,
            since => since - 1 <= order,
        }
    }

    /// Reads all lines of a key log, known from packet `order` on; keeps at most `max` secrets in all.
    pub fn read(&self, log: &[u8], order: u64, max: usize) {
        for line in log.split(|&byte| byte == b'\n' || byte == b'\r') {
            self.line(line, order, max);
        }
    }

    /// Reads one line of a key log, without its end.
    pub fn line(&self, line: &[u8], order: u64, max: usize) -> Line {
        let read = match parse(line) {
            Ok(Some((place, secret))) => self.add(place, secret, order, max),
            Ok(None) => Line::Other,
            Err(Unreadable) => Line::Unreadable,
        };
        match read {
            Line::Unreadable => _ = self.unreadable.fetch_add(1, Ordering::Relaxed),
            Line::Full => _ = self.beyond_cap.fetch_add(1, Ordering::Relaxed),
            Line::Secret | Line::Again | Line::Other => {}
        }
        read
    }

    fn add(&self, place: Place, secret: Secret, order: u64, max: usize) -> Line {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let full = known.len() >= max;
        match known.get_mut(&place) {
            // A log that is read twice, or two logs of one session: the first word stands.
            Some((_, since)) => {
                *since = (*since).min(order);
                Line::Again
            }
            None if full => Line::Full,
            None => {
                known.insert(place, (secret, order));
                self.count.store(known.len(), Ordering::Relaxed);
                let since = match self.since.load(Ordering::Relaxed) {
                    0 => order + 1,
                    since => since.min(order + 1),
                };
                self.since.store(since, Ordering::Relaxed);
                Line::Secret
            }
        }
    }

    /// The secret of the session whose ClientHello had this random, as far as it is known at packet
    /// `order` of the run.
    pub fn find(&self, client_random: &[u8; 32], label: Label, order: u64) -> Option<Secret> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (secret, since) = known.get(&(*client_random, label))?;
        (*since <= order).then_some(*secret)
    }
}

struct Unreadable;

/// `LABEL random secret`, in hexadecimal, with blanks between.
fn parse(line: &[u8]) -> Result<Option<(Place, Secret)>, Unreadable> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(Unreadable);
    }
    let mut words = line
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    let (Some(label), Some(random), Some(secret), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Unreadable);
    };
    let is_label = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if !label.iter().all(is_label) {
        return Err(Unreadable);
    }
    let label = label.strip_prefix(b"QUIC_").unwrap_or(label);
    let Some((_, label)) = LABELS.iter().find(|(name, _)| name.as_bytes() == label) else {
        return Ok(None);
    };
    let mut place = [0; 32];
    let mut bytes = [0; SECRET_BYTES_MAX];
    if hex(random, &mut place) != Some(32) {
        return Err(Unreadable);
    }
    let length = hex(secret, &mut bytes).ok_or(Unreadable)?;
    if *label == Label::Master && length != 48 {
        return Err(Unreadable);
    }
    let secret = bytes.get(..length).and_then(Secret::new);
    Ok(Some(((place, *label), secret.ok_or(Unreadable)?)))
}

/// Reads hexadecimal digits into `out` and gives the number of bytes; `None` where they are none, or
/// more than there is room for.
fn hex(digits: &[u8], out: &mut [u8]) -> Option<usize> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > out.len() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(pairs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

    fn line(text: &str) -> (Line, Secrets) {
        let secrets = Secrets::default();
        (secrets.line(text.as_bytes(), 0, 10), secrets)
    }

    fn random() -> [u8; 32] {
        let mut random = [0; 32];
        assert_eq!(hex(RANDOM.as_bytes(), &mut random), Some(32));
        random
    }

    #[test]
    fn every_label_is_read() {
        for (name, label) in LABELS {
            for prefix in ["", "QUIC_", "  ", "\u{feff}"] {
                let text = format!("{prefix}{name} {RANDOM}\t{}\r", "ab".repeat(48));
                let (read, secrets) = line(&text);
                assert_eq!(read, Line::Secret, "{text}");
                let found = secrets.find(&random(), label, 0).unwrap();
                assert_eq!(found.bytes(), [0xab; 48]);
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_told_apart() {
        let secret = "ab".repeat(32);
        for text in [
            "",
            "  ",
            "# a comment",
            &format!("EXPORTER_SECRET {RANDOM} {secret}"),
            &format!("CLIENT_TRAFFIC_SECRET_1 {RANDOM} {secret}"),
        ] {
            assert_eq!(line(text).0, Line::Other, "{text}");
        }
        for text in [
            "INCOMPLETE_KEYLOG_LINE deadbeef",
            &format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM}"),
            &format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {secret}ab"),
            &format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {secret}a"),
            &format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {secret} more"),
            &format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM}00 {secret}"),
            &format!("CLIENT_TRAFFIC_SECRET_0 {RANDOM} {}", "xy".repeat(32)),
            // A master secret has 48 bytes.
            &format!("CLIENT_RANDOM {RANDOM} {secret}"),
            &format!("CLIENT RANDOM {RANDOM} {secret}"),
            &"a".repeat(LINE_BYTES_MAX + 1),
            "\0\u{1}\u{2}",
        ] {
            let (read, secrets) = line(text);
            assert_eq!(read, Line::Unreadable, "{text}");
            assert_eq!(secrets.passed_over(), (1, 0));
        }
    }

    #[test]
    fn the_cap_holds_and_the_first_word_stands() {
        let secrets = Secrets::default();
        let of = |number: u8, byte: &str| {
            format!(
                "CLIENT_RANDOM {number:02x}{} {}",
                &RANDOM[2..],
                byte.repeat(48)
            )
        };
        let log: String = (0..6).map(|number| of(number, "11") + "\r\n").collect();
        secrets.read(log.as_bytes(), 0, 4);
        assert_eq!((secrets.len(), secrets.passed_over()), (4, (0, 2)));
        assert_eq!(secrets.line(of(0, "22").as_bytes(), 0, 4), Line::Again);
        let found = secrets.find(&random(), Label::Master, 0).unwrap();
        assert_eq!(found.bytes(), [0x11; 48]);
    }

    #[test]
    fn a_secret_is_known_from_its_packet_on() {
        let secrets = Secrets::default();
        let text = format!("CLIENT_RANDOM {RANDOM} {}", "11".repeat(48));
        assert!(!secrets.known_at(u64::MAX));
        secrets.line(text.as_bytes(), 100, 4);
        let find = |order| secrets.find(&random(), Label::Master, order).is_some();
        assert!(!find(99) && find(100) && find(101));
        assert!(!secrets.known_at(99) && secrets.known_at(100));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let text = format!("CLIENT_RANDOM {RANDOM} {}", "11".repeat(48));
        let (_, secrets) = line(&text);
        let secret = secrets.find(&random(), Label::Master, 0);
        let shown = format!("{secrets:?} {secret:?} {secret:#?}");
        assert!(!shown.contains("11") && !shown.contains("17"), "{shown}");
    }
}
