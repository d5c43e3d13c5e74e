//! ClientHello as it lies in the capture (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2).
//!
//! Nothing is copied: lists are slices that iterate. A bad extension is that extension's defect; only a
//! length that points beyond the message ends the walk.

use super::code_points::{CipherSuite, ExtensionType, is_grease};
use super::wire::{Malformed, Parsed, U16List, bytes, u16, vec8, vec16};

/// A ClientHello's fields, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHelloView<'a> {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// The 32 random bytes.
    pub random: &'a [u8],
    /// `legacy_session_id`.
    pub session_id: &'a [u8],
    /// Cipher suites in the client's order.
    pub cipher_suites: U16List<'a>,
    /// The cookie of a DTLS ClientHello (RFC 6347 section 4.2.1); `None` over TCP and QUIC.
    pub cookie: Option<&'a [u8]>,
    /// Compression methods.
    pub compression: &'a [u8],
    /// The extensions' bytes.
    pub extensions: Extensions<'a>,
    /// A length points beyond the message.
    pub malformed: bool,
}

/// The extension list of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Extensions<'a>(pub &'a [u8]);

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its type.
    pub kind: u16,
    /// Its body.
    pub body: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// The extensions in wire order. One whose length points beyond the list is the last, with what is
    /// there of its body.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Extension<'a>> + Clone {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (after, kind) = u16(rest).ok()?;
            let (after, body) = vec16(after).unwrap_or((&[], after.get(2..)?));
            rest = after;
            Some(Extension { kind, body })
        })
    }

    /// A length points beyond the list, or bytes are left behind the last extension.
    pub fn is_malformed(self) -> bool {
        let mut rest = self.0;
        while !rest.is_empty() {
            match u16(rest).and_then(|(after, _)| vec16(after)) {
                Ok((after, _)) => rest = after,
                Err(_) => return true,
            }
        }
        false
    }
}

impl<'a> ClientHelloView<'a> {
    /// Reads the body of a ClientHello message.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse_form(body, false)
    }

    /// Reads the body of a DTLS ClientHello, which has a cookie behind the session id.
    pub fn parse_dtls(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse_form(body, true)
    }

    fn parse_form(body: &'a [u8], has_cookie: bool) -> Result<Self, Malformed> {
        let (rest, legacy_version) = u16(body)?;
        let (rest, random) = bytes(32)(rest)?;
        let (rest, session_id) = vec8(rest)?;
        let (rest, cookie) = if has_cookie {
            let (rest, cookie) = vec8(rest)?;
            (rest, Some(cookie))
        } else {
            (rest, None)
        };
        let (rest, cipher_suites) = vec16(rest)?;
        let (rest, compression) = vec8(rest)?;
        let (extensions, cut) = optional_extensions(rest);
        Ok(Self {
            legacy_version,
            random,
            session_id,
            cipher_suites: U16List(cipher_suites),
            cookie,
            compression,
            extensions,
            malformed: cut || extensions.is_malformed(),
        })
    }

    /// What the extensions say, in one pass.
    pub fn details(&self) -> ClientHelloDetails<'a> {
        let mut details = ClientHelloDetails::default();
        for extension in self.extensions.iter() {
            details.note(extension);
        }
        details.renegotiation_info |= self.offers(CipherSuite::RENEGOTIATION_INFO_SCSV.0);
        details.fallback_scsv = self.offers(CipherSuite::FALLBACK_SCSV.0);
        details
    }

    fn offers(&self, suite: u16) -> bool {
        self.cipher_suites.iter().any(|offered| offered == suite)
    }
}

/// The extension list that may stand at the end of a hello, and whether its length points too far.
pub fn optional_extensions(rest: &[u8]) -> (Extensions<'_>, bool) {
    match vec16(rest) {
        Ok((_, extensions)) => (Extensions(extensions), false),
        Err(_) => (Extensions(rest.get(2..).unwrap_or(&[])), !rest.is_empty()),
    }
}

/// What the extensions of a ClientHello say. Absent lists are `None`; empty ones are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ClientHelloDetails<'a> {
    /// First host name of server_name (RFC 6066 section 3).
    pub sni: Option<&'a [u8]>,
    /// The server_name extension is present, whatever is in it.
    pub server_name: bool,
    /// Protocol name list of ALPN, still in wire form.
    pub alpn: Option<&'a [u8]>,
    /// supported_versions.
    pub supported_versions: Option<U16List<'a>>,
    /// supported_groups.
    pub supported_groups: Option<U16List<'a>>,
    /// signature_algorithms.
    pub signature_algorithms: Option<U16List<'a>>,
    /// ec_point_formats.
    pub ec_point_formats: Option<&'a [u8]>,
    /// Key share entries, still in wire form.
    pub key_shares: Option<&'a [u8]>,
    /// psk_key_exchange_modes.
    pub psk_modes: Option<&'a [u8]>,
    /// Length of the session_ticket extension's body.
    pub session_ticket_length: Option<u16>,
    /// pre_shared_key is present.
    pub pre_shared_key: bool,
    /// Its identities (RFC 8446 section 4.2.11), still in wire form.
    pub psk_identities: Option<&'a [u8]>,
    /// early_data is present.
    pub early_data: bool,
    /// First byte of encrypted_client_hello: 0 outer, 1 inner.
    pub ech: Option<u8>,
    /// The body of encrypted_client_hello.
    pub ech_body: Option<&'a [u8]>,
    /// Algorithms of compress_certificate (RFC 8879).
    pub certificate_compression: Option<U16List<'a>>,
    /// status_request is present.
    pub status_request: bool,
    /// extended_master_secret is present.
    pub extended_master_secret: bool,
    /// renegotiation_info is present, as an extension or as a signalling suite.
    pub renegotiation_info: bool,
    /// TLS_FALLBACK_SCSV is offered.
    pub fallback_scsv: bool,
}

impl<'a> ClientHelloDetails<'a> {
    /// Identities of pre-shared keys, with their obfuscated ticket ages.
    pub fn psks(&self) -> impl Iterator<Item = (&'a [u8], u32)> {
        let mut rest = self.psk_identities.unwrap_or(&[]);
        core::iter::from_fn(move || {
            let (after, identity) = vec16(rest).ok()?;
            let (age, after) = after.split_first_chunk::<4>()?;
            rest = after;
            Some((identity, u32::from_be_bytes(*age)))
        })
    }

    fn note(&mut self, extension: Extension<'a>) {
        let body = extension.body;
        match ExtensionType(extension.kind) {
            ExtensionType::SERVER_NAME => {
                self.server_name = true;
                self.sni = self.sni.or_else(|| host_name(body));
            }
            ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION => self.alpn = whole(vec16(body)),
            ExtensionType::SUPPORTED_VERSIONS => {
                self.supported_versions = whole(vec8(body)).map(U16List)
            }
            ExtensionType::SUPPORTED_GROUPS => {
                self.supported_groups = whole(vec16(body)).map(U16List)
            }
            ExtensionType::SIGNATURE_ALGORITHMS => {
                self.signature_algorithms = whole(vec16(body)).map(U16List)
            }
            ExtensionType::EC_POINT_FORMATS => self.ec_point_formats = whole(vec8(body)),
            // 51, and 40 in drafts of TLS 1.3 before 23.
            ExtensionType::KEY_SHARE | ExtensionType(40) => {
                self.key_shares = whole(vec16(body)).or(self.key_shares)
            }
            ExtensionType::PSK_KEY_EXCHANGE_MODES => self.psk_modes = whole(vec8(body)),
            ExtensionType::SESSION_TICKET => {
                self.session_ticket_length = u16::try_from(body.len()).ok()
            }
            ExtensionType::PRE_SHARED_KEY => {
                self.pre_shared_key = true;
                self.psk_identities = vec16(body).ok().map(|(_, identities)| identities);
            }
            ExtensionType::EARLY_DATA => self.early_data = true,
            ExtensionType::ENCRYPTED_CLIENT_HELLO => {
                self.ech = body.first().copied();
                self.ech_body = Some(body);
            }
            ExtensionType::COMPRESS_CERTIFICATE => {
                self.certificate_compression = whole(vec8(body)).map(U16List)
            }
            ExtensionType::STATUS_REQUEST => self.status_request = true,
            ExtensionType::EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
            ExtensionType::RENEGOTIATION_INFO => self.renegotiation_info = true,
            _ => {}
        }
    }

    /// Protocol names of ALPN.
    pub fn alpn_names(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        names(self.alpn.unwrap_or(&[]))
    }

    /// Groups of the key shares.
    pub fn key_share_groups(&self) -> impl Iterator<Item = u16> + Clone + use<'a> {
        let mut rest = self.key_shares.unwrap_or(&[]);
        core::iter::from_fn(move || {
            let (after, group) = u16(rest).ok()?;
            let (after, _) = vec16(after).ok()?;
            rest = after;
            Some(group)
        })
    }

    /// The highest version offered: supported_versions without GREASE, else `legacy_version`.
    pub fn version_max(&self, legacy_version: u16) -> u16 {
        use super::code_points::Version;
        let Some(versions) = self.supported_versions else {
            return legacy_version;
        };
        let known = versions.iter().filter(|&version| !is_grease(version));
        known
            .max_by_key(|&version| (Version(version).rank(), version))
            .unwrap_or(legacy_version)
    }
}

/// Names of a protocol name list.
pub fn names(mut list: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    core::iter::from_fn(move || {
        let (rest, name) = vec8(list).ok()?;
        list = rest;
        Some(name)
    })
}

fn whole<'a>(parsed: Parsed<'a, &'a [u8]>) -> Option<&'a [u8]> {
    parsed.ok().map(|(_, value)| value)
}

/// The first entry of type host_name (0).
fn host_name(body: &[u8]) -> Option<&[u8]> {
    let mut list = whole(vec16(body))?;
    while let Some((kind, rest)) = list.split_first() {
        let (rest, name) = vec16(rest).ok()?;
        if *kind == 0 {
            return Some(name);
        }
        list = rest;
    }
    None
}
