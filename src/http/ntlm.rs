//! What an NTLM message says about itself ([MS-NLMP] 2.2.1, 2.2.2.1), directly or inside SPNEGO. The workstation's name is
//! kept, for it says where to look; the user's, the domain's, hashes and responses are not.
//!
//! ```text
//! NTLMSSP 00  type(4)  │ type 3: LM(8) NT(8) domain(8) user(8) workstation(8) key(8) flags(4) version(8) MIC(16)
//!                        each of (8): length(2) space(2) offset(4)
//! NT response, version 2: proof(16) 01 01 …(26)  AV pairs: id(2) length(2) value
//! ```

/// Characters of a token that are looked at.
const TOKEN_BYTES_MAX: usize = 8192;
const SIGNATURE: &[u8] = b"NTLMSSP\0";
const AUTHENTICATE: u32 = 3;
/// Length of a response of version 1.
const V1_BYTES: usize = 24;
const AV_PAIRS_AT: usize = 16 + 28;
const AV_PAIRS_MAX: usize = 32;
const AV_END: u16 = 0;
const AV_FLAGS: u16 = 6;
const AV_CHANNEL_BINDINGS: u16 = 10;
const FLAG_MIC: u32 = 2;
const NEGOTIATE_UNICODE: u32 = 1;
const NEGOTIATE_VERSION: u32 = 0x0200_0000;
/// Characters of a workstation's name; NetBIOS names have 15.
const WORKSTATION_MAX: usize = 64;

/// Which response an AUTHENTICATE message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtlmVersion {
    /// None: anonymous.
    Anonymous,
    /// LM only.
    Lm,
    /// NTLM version 1.
    V1,
    /// NTLM version 1 with extended session security.
    V1Session,
    /// NTLM version 2.
    V2,
}

/// The channel bindings of an NTLM version 2 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bindings {
    /// No such pair.
    Absent,
    /// All zero.
    Zero,
    /// MD5 of the channel bindings (RFC 5929, over the server's certificate).
    Hash([u8; 16]),
}

/// An NTLM message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntlm {
    /// 1 NEGOTIATE, 2 CHALLENGE, 3 AUTHENTICATE.
    pub message: u32,
    /// Of an AUTHENTICATE.
    pub version: Option<NtlmVersion>,
    /// Of version 2.
    pub bindings: Option<Bindings>,
    /// Of version 2: a message integrity code is present.
    pub mic: Option<bool>,
    /// Of an AUTHENTICATE: the client's name for itself.
    pub workstation: Option<Box<str>>,
    /// Of an AUTHENTICATE: the client's operating system as major, minor and build ([MS-NLMP] 2.2.2.10).
    pub system: Option<(u8, u8, u16)>,
}

/// Reads a token in base64.
pub(super) fn parse(token: &[u8]) -> Option<Ntlm> {
    let token = token.get(..TOKEN_BYTES_MAX).unwrap_or(token);
    let bytes = base64(token);
    let start = bytes
        .windows(SIGNATURE.len())
        .position(|window| window == SIGNATURE)?;
    message(bytes.get(start..)?)
}

fn base64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut held, mut bits) = (0u32, 0u32);
    for &character in text {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(((held >> bits) & 0xff) as u8);
        }
    }
    bytes
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn double(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn message(bytes: &[u8]) -> Option<Ntlm> {
    let message = double(bytes, 8).filter(|kind| (1..=3).contains(kind))?;
    let mut ntlm = Ntlm {
        message,
        version: None,
        bindings: None,
        mic: None,
        workstation: None,
        system: None,
    };
    if message == AUTHENTICATE {
        let payload = |at: usize| {
            let length = usize::from(word(bytes, at)?);
            let offset = usize::try_from(double(bytes, at + 4)?).ok()?;
            bytes.get(offset..offset.checked_add(length)?)
        };
        ntlm.version = version(payload(12), word(bytes, 20), payload(20));
        if ntlm.version == Some(NtlmVersion::V2) {
            let (bindings, mic) = payload(20).map_or((None, None), pairs);
            (ntlm.bindings, ntlm.mic) = (bindings, mic);
        }
        // The oldest clients send neither flags nor a version: what the fields refer to begins there.
        let filled = [12, 20, 28, 36, 44, 52].into_iter();
        let filled = filled.filter(|at| word(bytes, *at).is_some_and(|length| length > 0));
        let begin = filled.filter_map(|at| double(bytes, at + 4)).min();
        let has = |end: u32| begin.is_none_or(|begin| begin >= end);
        if let Some(flags) = double(bytes, 60).filter(|_| has(64)) {
            let is_wide = flags & NEGOTIATE_UNICODE != 0;
            ntlm.workstation = payload(44).and_then(|name| workstation(name, is_wide));
            let version = bytes.get(64..68).filter(|_| has(72));
            ntlm.system = version
                .filter(|_| flags & NEGOTIATE_VERSION != 0)
                .and_then(|version| Some((*version.first()?, *version.get(1)?, word(version, 2)?)))
                // Programs that are not Windows.
                .filter(|system| *system != (0, 0, 0));
        }
    }
    Some(ntlm)
}

/// A workstation's name; none where it is empty.
fn workstation(name: &[u8], is_wide: bool) -> Option<Box<str>> {
    let words = name.chunks_exact(2).map(|pair| word(pair, 0).unwrap_or(0));
    let name = match is_wide {
        true => char::decode_utf16(words)
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
        false => String::from_utf8_lossy(name).into_owned(),
    };
    let shown = name.chars().filter(|character| !character.is_control());
    let name: String = shown.take(WORKSTATION_MAX).collect();
    (!name.is_empty()).then(|| name.into())
}

fn version(lm: Option<&[u8]>, nt_bytes: Option<u16>, nt: Option<&[u8]>) -> Option<NtlmVersion> {
    let session = |lm: &[u8]| {
        lm.split_at_checked(8)
            .is_some_and(|(random, rest)| random != [0; 8] && rest.iter().all(|&byte| byte == 0))
    };
    Some(match (usize::from(nt_bytes?), lm) {
        (0, Some(lm)) if lm.len() > 1 => NtlmVersion::Lm,
        (0, _) => NtlmVersion::Anonymous,
        (V1_BYTES, Some(lm)) if lm.len() == V1_BYTES && session(lm) => NtlmVersion::V1Session,
        (V1_BYTES, _) => NtlmVersion::V1,
        (length, _) if length > V1_BYTES => NtlmVersion::V2,
        // Too short for any.
        _ => nt.map(|_| NtlmVersion::V1)?,
    })
}

fn pairs(response: &[u8]) -> (Option<Bindings>, Option<bool>) {
    let (mut bindings, mut mic) = (Bindings::Absent, false);
    let mut rest = response.get(AV_PAIRS_AT..).unwrap_or(&[]);
    for _ in 0..AV_PAIRS_MAX {
        let (Some(id), Some(length)) = (word(rest, 0), word(rest, 2)) else {
            break;
        };
        let end = 4 + usize::from(length);
        let Some(value) = rest.get(4..end) else {
            // Cut: what was not seen is not known.
            return (None, None);
        };
        match id {
            AV_END => break,
            AV_FLAGS => mic = double(value, 0).is_some_and(|flags| flags & FLAG_MIC != 0),
            AV_CHANNEL_BINDINGS => {
                bindings = match value.first_chunk::<16>() {
                    Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) | None => {
                        Bindings::Zero
                    }
                    Some(hash) => Bindings::Hash(*hash),
                };
            }
            _ => {}
        }
        rest = rest.get(end..).unwrap_or(&[]);
    }
    (Some(bindings), Some(mic))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An AUTHENTICATE message with these responses.
    pub(in crate::http) fn authenticate(lm: &[u8], nt: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&3u32.to_le_bytes());
        let mut offset = 88u32;
        for field in [lm, nt, &[], &[], &[], &[]] {
            bytes.extend_from_slice(&(field.len() as u16).to_le_bytes());
            bytes.extend_from_slice(&(field.len() as u16).to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
            offset += field.len() as u32;
        }
        bytes.resize(88, 0);
        [&bytes, lm, nt].concat()
    }

    /// A version 2 response with these pairs.
    pub(in crate::http) fn v2(pairs: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![7; 16];
        bytes.extend_from_slice(&[1, 1]);
        bytes.resize(AV_PAIRS_AT, 0);
        for (id, value) in pairs.iter().chain(&[(AV_END, &[][..])]) {
            bytes.extend_from_slice(&id.to_le_bytes());
            bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        bytes
    }

    pub(in crate::http) fn encode(bytes: &[u8]) -> String {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let mut held = 0u32;
            for at in 0..3 {
                held = (held << 8) | u32::from(chunk.get(at).copied().unwrap_or(0));
            }
            for at in 0..=chunk.len() {
                text.push(char::from(alphabet[(held >> (18 - 6 * at)) as usize & 63]));
            }
        }
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        text
    }

    #[test]
    fn versions_are_told_apart() {
        let of = |lm: &[u8], nt: &[u8]| {
            let token = encode(&[b"spnego", &authenticate(lm, nt)[..]].concat());
            parse(token.as_bytes()).unwrap()
        };
        let session = [&[1; 8][..], &[0; 16]].concat();
        assert_eq!(of(&[1; 24], &[2; 24]).version, Some(NtlmVersion::V1));
        assert_eq!(of(&session, &[2; 24]).version, Some(NtlmVersion::V1Session));
        assert_eq!(of(&[1; 24], &[]).version, Some(NtlmVersion::Lm));
        assert_eq!(of(&[], &[]).version, Some(NtlmVersion::Anonymous));
        let bound = of(
            &[0; 24],
            &v2(&[(AV_FLAGS, &[2, 0, 0, 0]), (AV_CHANNEL_BINDINGS, &[9; 16])]),
        );
        assert_eq!(bound.version, Some(NtlmVersion::V2));
        assert_eq!(
            (bound.bindings, bound.mic),
            (Some(Bindings::Hash([9; 16])), Some(true))
        );
        let zero = of(&[0; 24], &v2(&[(AV_CHANNEL_BINDINGS, &[0; 16])]));
        assert_eq!(
            (zero.bindings, zero.mic),
            (Some(Bindings::Zero), Some(false))
        );
        assert_eq!(of(&[0; 24], &v2(&[])).bindings, Some(Bindings::Absent));
    }

    #[test]
    fn the_workstation_and_its_system() {
        let wide: Vec<u8> = "PC-7é".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let with = |flags: u32, name: &[u8], offset: u32| {
            let mut bytes = authenticate(&[0; 24], &[2; 24]);
            bytes[44..46].copy_from_slice(&(name.len() as u16).to_le_bytes());
            bytes[48..52].copy_from_slice(&offset.to_le_bytes());
            bytes[60..64].copy_from_slice(&flags.to_le_bytes());
            bytes[64..68].copy_from_slice(&[10, 0, 0x63, 0x45]);
            bytes.extend_from_slice(name);
            message(&bytes).unwrap()
        };
        let end = 88 + 48;
        let both = with(NEGOTIATE_UNICODE | NEGOTIATE_VERSION, &wide, end);
        assert_eq!(both.workstation.as_deref(), Some("PC-7é"));
        assert_eq!(both.system, Some((10, 0, 17_763)));
        let old = with(0, b"PC-7\x07", end);
        assert_eq!(old.workstation.as_deref(), Some("PC-7"));
        assert_eq!(old.system, None);
        assert_eq!(with(NEGOTIATE_UNICODE, &[], end).workstation, None);
        // What stands there is a name, and no flags.
        assert_eq!(with(NEGOTIATE_UNICODE, &wide, 60).workstation, None);
    }

    #[test]
    fn any_cut_and_any_bend_is_survived() {
        let whole = authenticate(&[0; 24], &v2(&[(AV_CHANNEL_BINDINGS, &[9; 16])]));
        for at in 0..whole.len() {
            let _ = message(&whole[..at]);
            for value in [0, 1, 0x7f, 0xff] {
                let mut bent = whole.clone();
                bent[at] = value;
                let _ = message(&bent);
            }
        }
        assert_eq!(parse(b"TlRMTVNTUAAB"), None);
        assert_eq!(parse(b"TlRMTVNTUAABAAAA").map(|ntlm| ntlm.message), Some(1));
    }
}
