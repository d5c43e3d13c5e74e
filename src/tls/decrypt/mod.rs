//! What a session's secrets open: the encrypted part of its handshake, its alerts, and as much of what
//! follows as can hold a SETTINGS, a GOAWAY, an alert or a late handshake message.
//!
//! ```text
//!  ClientHello's random ──► secrets of this session? ──► at the ServerHello: keys of both directions
//!  TLS 1.3   clear │ handshake keys … Finished │ traffic keys … KeyUpdate │ next keys …
//!  TLS 1.2   clear … ChangeCipherSpec │ keys … ChangeCipherSpec │ keys of the next handshake …
//! ```
//!
//! Only `reader` knows records; this file knows which keys a direction has now, and which records are
//! worth opening. Without secrets nothing of this runs. Early data is not opened, nor is DTLS.

pub(crate) mod derive;
mod protection;
mod reader;

use super::{
    client_hello::Extensions,
    code_points::{ExtensionType, HandshakeType, Version, VersionRank},
    handshake::{Event, Opened, Trouble},
    keylog::{Label, Secret, Secrets},
    record::{Header, kind},
    server_hello::{ServerHelloView, alpn},
};
use crate::flow::Direction;
use derive::{Hash, expand_label, prf};
pub(crate) use protection::{Algorithm, Form, Protection, Suite};
pub(crate) use reader::event_tls13;
use std::sync::Arc;

/// Records that may be missing, at most, when a gap of the capture is bridged.
const LOST_RECORDS_MAX: u64 = 64;
/// Gaps of one direction that are bridged.
const BRIDGES_MAX: u8 = 8;
/// Records of rejected early data that are passed over before the client's handshake.
const EARLY_RECORDS_MAX: u8 = 64;

/// The caps of what is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenLimits {
    /// Bytes of one direction that are opened one after the other, counted anew behind the handshake.
    pub bytes_max: usize,
    /// Behind those bytes, records up to this length are still opened.
    pub record_bytes_max: usize,
}

/// A run's secrets, with the memory into which records are opened; one for each thread.
#[derive(Debug)]
pub struct Keyring {
    /// Those of key logs, and those found inside the captures.
    secrets: [Arc<Secrets>; 2],
    limits: OpenLimits,
    scratch: Vec<u8>,
    active: bool,
}

impl Keyring {
    /// A keyring of these secrets.
    pub fn new(secrets: [Arc<Secrets>; 2], limits: OpenLimits) -> Self {
        Self {
            secrets,
            limits,
            scratch: Vec::new(),
            active: false,
        }
    }

    /// Work goes on at packet `order` of the run: is any secret known there?
    pub fn go_on_at(&mut self, order: u64) {
        self.active = self.secrets.iter().any(|secrets| secrets.known_at(order));
    }

    /// The keys at packet `order`, where there may be any.
    #[inline]
    pub fn at(&mut self, order: u64) -> Option<Keys<'_>> {
        self.active.then_some(Keys { ring: self, order })
    }

    /// The secrets at packet `order`, where there may be any.
    #[inline]
    pub fn known_at(&self, order: u64) -> Option<Known<'_>> {
        self.active.then_some(Known { ring: self, order })
    }

    fn find(&self, client_random: &[u8; 32], label: Label, order: u64) -> Option<Secret> {
        let mut secrets = self.secrets.iter();
        secrets.find_map(|secrets| secrets.find(client_random, label, order))
    }
}

/// A keyring at one packet of the run.
pub struct Keys<'a> {
    /// The keyring.
    pub ring: &'a mut Keyring,
    /// The packet's number in the run.
    pub order: u64,
}

/// What is known at one packet of the run.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    ring: &'a Keyring,
    order: u64,
}

impl Known<'_> {
    pub(crate) fn find(&self, client_random: &[u8; 32], label: Label) -> Option<Secret> {
        self.ring.find(client_random, label, self.order)
    }
}

/// Where one direction stands.
#[derive(Debug, Default)]
struct Way {
    /// Keys of the records that come now; `None` while they are in clear, or are not opened any more.
    now: Option<Protection>,
    /// Keys behind the next Finished (TLS 1.3) or ChangeCipherSpec.
    next: Option<Protection>,
    /// TLS 1.3: the traffic secret, from which the next one is made.
    traffic: Option<Secret>,
    /// Behind the handshake.
    application: bool,
    /// Some record was opened by the keys of now.
    fits: bool,
    /// Records may be missing in front of the next one.
    gap: bool,
    /// All records behind the handshake were opened so far.
    contiguous: bool,
    bridges: u8,
    early: u8,
    messages: u32,
    opened_bytes: usize,
}

/// The keys of one TLS session.
#[derive(Debug)]
pub(super) struct Opener {
    client: Direction,
    random: [u8; 32],
    early_data: bool,
    tls13: bool,
    h2: bool,
    unfit: bool,
    ways: [Way; 2],
}

impl Opener {
    /// A session of which the ClientHello was seen.
    fn new(client: Direction, random: [u8; 32], early_data: bool) -> Self {
        Self {
            client,
            random,
            early_data,
            tls13: false,
            h2: false,
            unfit: false,
            ways: Default::default(),
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
    }

    /// A ClientHello: of another handshake, or the second one behind a HelloRetryRequest.
    fn client_hello(&mut self, client: Direction, random: [u8; 32], early_data: bool) {
        self.client = client;
        self.random = random;
        self.early_data = early_data;
    }

    /// A ServerHello: keys of both directions, where the session's secrets are known.
    fn server_hello(
        &mut self,
        hello: &ServerHelloView<'_>,
        ring: &Keyring,
        order: u64,
    ) -> Result<(), Trouble> {
        let details = hello.details();
        let version = details.version.unwrap_or(hello.legacy_version);
        let tls13 = Version(version).rank() == Some(VersionRank::Tls13);
        self.h2 = details.alpn.is_some_and(is_h2);
        let find = |label| ring.find(&self.random, label, order);
        if tls13 {
            let secrets = [
                Label::ClientHandshake,
                Label::ServerHandshake,
                Label::ClientTraffic,
                Label::ServerTraffic,
            ]
            .map(find);
            self.start_tls13(version, hello.cipher_suite, secrets)
        } else {
            let master = find(Label::Master).ok_or(Trouble::Missing)?;
            self.start_tls12(version, hello, &master)
        }
    }

    fn start_tls13(
        &mut self,
        version: u16,
        suite: u16,
        [
            client_handshake,
            server_handshake,
            client_traffic,
            server_traffic,
        ]: [Option<Secret>; 4],
    ) -> Result<(), Trouble> {
        let form = match version {
            // Labels without the prefix of today.
            0x7f00..0x7f14 => return Err(Trouble::Suite),
            0x7f14..0x7f19 => Form::Tls13Draft,
            _ => Form::Tls13,
        };
        self.tls13 = true;
        let found = [
            client_handshake,
            server_handshake,
            client_traffic,
            server_traffic,
        ];
        if found.iter().all(Option::is_none) {
            return Err(Trouble::Missing);
        }
        let suite = Suite::of(suite).ok_or(Trouble::Suite)?;
        let make = |secret: Option<Secret>| Protection::of_secret(suite, form, &secret?);
        for (direction, handshake, traffic) in [
            (self.client, client_handshake, client_traffic),
            (self.client.reverse(), server_handshake, server_traffic),
        ] {
            let (now, next) = (make(handshake), make(traffic));
            if (now.is_none() && handshake.is_some()) || (next.is_none() && traffic.is_some()) {
                return Err(Trouble::Unfit);
            }
            if let Some(way) = self.ways.get_mut(direction as usize) {
                *way = Way {
                    now,
                    next,
                    traffic,
                    contiguous: true,
                    ..Way::default()
                };
            }
        }
        Ok(())
    }

    fn start_tls12(
        &mut self,
        version: u16,
        hello: &ServerHelloView<'_>,
        master: &Secret,
    ) -> Result<(), Trouble> {
        let mut suite = Suite::of(hello.cipher_suite).ok_or(Trouble::Suite)?;
        let form = match version {
            0x0301 => Form::ImplicitIv,
            0x0302 | 0x0303 => Form::Tls12,
            _ => return Err(Trouble::Suite),
        };
        if version < 0x0303 {
            suite.hash = Hash::Md5Sha1;
        }
        let encrypt_then_mac = has_encrypt_then_mac(hello.extensions)
            && matches!(suite.algorithm, protection::Algorithm::AesCbc(_));
        let (mac_bytes, iv_bytes) = suite.block_parts(form == Form::ImplicitIv);
        let mut block = [0; 2 * (48 + 32 + 16)];
        let seed = [hello.random, &self.random[..]];
        prf(
            suite.hash,
            master.bytes(),
            b"key expansion",
            seed,
            &mut block,
        );
        let mut rest = &block[..];
        let mut part = |bytes: usize| {
            let (part, after) = rest.split_at_checked(bytes)?;
            rest = after;
            Some(part)
        };
        let mut made = [0, 1].map(|_| Protection {
            suite,
            form,
            encrypt_then_mac,
            key: [0; 32],
            iv: [0; 16],
            mac_key: [0; 48],
            sequence: 0,
        });
        for (length, field) in [
            (
                mac_bytes,
                Protection::mac_key_mut as fn(&mut Protection) -> &mut [u8],
            ),
            (suite.key_bytes, Protection::key_mut),
            (iv_bytes, Protection::iv_mut),
        ] {
            for protection in &mut made {
                let part = part(length).unwrap_or(&[]);
                if let Some(field) = field(protection).get_mut(..part.len()) {
                    field.copy_from_slice(part);
                }
            }
        }
        self.tls13 = false;
        let [client, server] = made;
        for (direction, next) in [(self.client, client), (self.client.reverse(), server)] {
            if let Some(way) = self.ways.get_mut(direction as usize) {
                way.next = Some(next);
            }
        }
        Ok(())
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        &mut self.ways[direction as usize]
    }

    /// A ChangeCipherSpec. Under TLS 1.3 it means nothing (RFC 8446 appendix D.4).
    fn change_cipher_spec(&mut self, direction: Direction) {
        if !self.tls13 {
            let way = self.way(direction);
            way.now = way.next.take();
            way.fits = false;
            way.application = false;
            way.contiguous = true;
            way.opened_bytes = 0;
        }
    }

    /// A Finished: what follows it has other keys (TLS 1.3), or is the application's.
    fn finished(&mut self, direction: Direction) {
        let tls13 = self.tls13;
        let way = self.way(direction);
        way.application = true;
        way.opened_bytes = 0;
        if tls13 {
            way.now = way.next.take();
            way.fits = false;
        }
    }

    /// A KeyUpdate: the sender goes on with the next traffic secret (RFC 8446 section 7.2).
    fn key_update(&mut self, direction: Direction) {
        let way = self.way(direction);
        let (Some(now), Some(secret)) = (&way.now, &way.traffic) else {
            return;
        };
        let mut next = [0; super::keylog::SECRET_BYTES_MAX];
        let length = secret.bytes().len();
        let Some(next) = next.get_mut(..length) else {
            return;
        };
        if !expand_label(now.suite.hash, secret.bytes(), b"traffic upd", next) {
            return;
        }
        way.traffic = Secret::new(next);
        way.now = way
            .traffic
            .and_then(|secret| Protection::of_secret(now.suite, now.form, &secret));
    }

    /// Is this record to be opened, passed by its length, or passed once it is there as a whole?
    fn wants(&self, direction: Direction, header: &Header, limits: &OpenLimits) -> Want {
        let way = &self.ways[direction as usize];
        let Some(now) = &way.now else {
            return Want::Nothing;
        };
        let content = header.kind == kind::APPLICATION_DATA;
        if self.tls13 && !content {
            return Want::Nothing;
        }
        let small = header.length <= limits.record_bytes_max;
        let in_budget = way.opened_bytes.saturating_add(header.length) <= limits.bytes_max;
        let wanted = match (self.tls13, content) {
            (true, _) if !way.application => true,
            (true, _) => small || in_budget,
            (false, true) => self.h2 && (small || in_budget),
            (false, false) => header.kind != kind::CHANGE_CIPHER_SPEC,
        };
        if wanted || (way.gap && way.bridges < BRIDGES_MAX) {
            Want::Open
        } else if now.is_chained() {
            Want::Whole
        } else {
            Want::Pass
        }
    }

    /// A record that was not opened.
    fn pass(&mut self, direction: Direction, header: &Header, fragment: &[u8]) {
        let way = self.way(direction);
        if let Some(now) = &mut way.now {
            now.pass(fragment);
        }
        if header.kind == kind::APPLICATION_DATA {
            way.contiguous = false;
        }
    }

    /// Opens a record into `scratch`. Gives its content type.
    fn open(
        &mut self,
        direction: Direction,
        header: &Header,
        fragment: &[u8],
        scratch: &mut Vec<u8>,
        limits: &OpenLimits,
    ) -> Result<u8, Option<Trouble>> {
        let early_data = self.early_data && direction == self.client && self.tls13;
        let tls13 = self.tls13;
        let way = self.way(direction);
        let Some(now) = &mut way.now else {
            return Err(None);
        };
        way.opened_bytes = way.opened_bytes.saturating_add(header.length);
        if !way.application && way.opened_bytes > HANDSHAKES_OF_BYTES * limits.bytes_max {
            way.now = None;
            return Err(Some(Trouble::Lost));
        }
        let lost = if way.gap && !now.is_chained() {
            LOST_RECORDS_MAX
        } else {
            0
        };
        if let Some(kind) = now.open_beyond(lost, header, fragment, scratch) {
            way.fits = true;
            way.gap = false;
            return Ok(kind);
        }
        // The missing bytes may hold the Finished.
        if way.gap
            && tls13
            && !way.application
            && let Some(next) = &mut way.next
            && let Some(kind) = next.open_beyond(lost, header, fragment, scratch)
        {
            self.finished(direction);
            let way = self.way(direction);
            (way.fits, way.gap, way.contiguous) = (true, false, false);
            return Ok(kind);
        }
        // Rejected early data is not for these keys, and is not counted (RFC 8446 section 4.2.10).
        if early_data && !way.application && !way.fits && way.early < EARLY_RECORDS_MAX {
            way.early += 1;
            return Err(None);
        }
        let lost = way.fits || way.gap;
        self.give_up(direction);
        if lost {
            return Err(Some(Trouble::Lost));
        }
        // Once for both directions.
        let told = core::mem::replace(&mut self.unfit, true);
        Err((!told).then_some(Trouble::Unfit))
    }

    /// So many more messages of this direction; gives how many there were in all.
    fn count(&mut self, direction: Direction, messages: u32) -> u32 {
        let way = self.way(direction);
        way.messages = way.messages.saturating_add(messages);
        way.messages
    }

    /// This direction is not opened any more.
    fn give_up(&mut self, direction: Direction) {
        let way = self.way(direction);
        (way.now, way.next) = (None, None);
    }

    /// Bytes of this direction are missing.
    fn gap(&mut self, direction: Direction) {
        let way = self.way(direction);
        way.contiguous = false;
        if way.now.is_some() && !way.gap {
            way.gap = true;
            way.bridges = way.bridges.saturating_add(1);
            if way.bridges > BRIDGES_MAX {
                way.now = None;
            }
        }
    }

    /// What a handshake message means for the keys.
    fn observe(&mut self, direction: Direction, kind: HandshakeType, event: Option<&Event<'_>>) {
        match kind {
            HandshakeType::FINISHED if !self.way(direction).application => self.finished(direction),
            HandshakeType::KEY_UPDATE if self.tls13 => self.key_update(direction),
            _ => {}
        }
        if let Some(Event::Opened(Opened::EncryptedExtensions(extensions))) = event {
            self.h2 = alpn(*extensions).is_some_and(is_h2);
        }
    }
}

/// A handshake's encrypted part may have this many times the bytes that are opened behind it.
const HANDSHAKES_OF_BYTES: usize = 8;

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// It is not encrypted, or not opened any more.
    Nothing,
    /// It counts, and its bytes are not needed.
    Pass,
    /// It counts, and its last bytes are needed.
    Whole,
    /// It is opened.
    Open,
}

impl Protection {
    fn mac_key_mut(&mut self) -> &mut [u8] {
        &mut self.mac_key
    }

    fn key_mut(&mut self) -> &mut [u8] {
        &mut self.key
    }

    fn iv_mut(&mut self) -> &mut [u8] {
        &mut self.iv
    }
}

fn is_h2(name: &[u8]) -> bool {
    name == b"h2" || name.starts_with(b"h2-")
}

fn has_encrypt_then_mac(extensions: Extensions<'_>) -> bool {
    extensions
        .iter()
        .any(|extension| ExtensionType(extension.kind) == ExtensionType::ENCRYPT_THEN_MAC)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
