//! What a stapled OCSP response says (RFC 6066 section 8, RFC 6960 section 4.2.1). Its signature is not checked.

use super::Timestamp;
use crate::tls::wire::vec24;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A stapled OCSP response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ocsp {
    /// `good`, `revoked` or `unknown`, as the response's first entry says; else the responder's error, as
    /// `tryLater` or `unauthorized`; `malformed` where the bytes can't be read.
    pub status: Cow<'static, str>,
    /// From when on this was known to be right.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub this_update: Option<Timestamp>,
    /// Until when there is a newer one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_update: Option<Timestamp>,
}

const SEQUENCE: u8 = 0x30;
const ENUMERATED: u8 = 0x0a;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const GENERALIZED_TIME: u8 = 0x18;
const CONTEXT_0: u8 = 0xa0;
/// CertificateStatusType of a single OCSP response.
const STATUS_TYPE_OCSP: u8 = 1;

/// Reads a CertificateStatus; `None` where it is of another type (ocsp_multi of RFC 6961).
pub(crate) fn read(status: &[u8]) -> Option<Ocsp> {
    let (&STATUS_TYPE_OCSP, rest) = status.split_first()? else {
        return None;
    };
    let parsed = vec24(rest).ok().and_then(|(_, der)| response(der));
    Some(parsed.unwrap_or(Ocsp {
        status: "malformed".into(),
        this_update: None,
        next_update: None,
    }))
}

/// One DER element: its tag, its contents, and the bytes behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if digits.is_empty() || digits.len() > 3 {
            return None;
        }
        let add = |sum: usize, &digit: &u8| sum << 8 | usize::from(digit);
        (digits.iter().fold(0, add), rest)
    };
    let (contents, after) = rest.split_at_checked(length)?;
    Some((tag, contents, after))
}

/// The contents of an element with this tag, and the bytes behind it.
fn expect(wanted: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, contents, after) = element(bytes)?;
    (tag == wanted).then_some((contents, after))
}

/// An OCSPResponse.
fn response(der: &[u8]) -> Option<Ocsp> {
    let (whole, _) = expect(SEQUENCE, der)?;
    let (code, rest) = expect(ENUMERATED, whole)?;
    let error = match code {
        [0] => return single(rest),
        [1] => "malformedRequest",
        [2] => "internalError",
        [3] => "tryLater",
        [5] => "sigRequired",
        [6] => "unauthorized",
        _ => return None,
    };
    Some(Ocsp {
        status: error.into(),
        this_update: None,
        next_update: None,
    })
}

/// The first SingleResponse of a BasicOCSPResponse.
fn single(bytes: &[u8]) -> Option<Ocsp> {
    let (typed, _) = expect(SEQUENCE, expect(CONTEXT_0, bytes)?.0)?;
    let (_, basic) = expect(OBJECT_IDENTIFIER, typed)?;
    let (basic, _) = expect(SEQUENCE, expect(OCTET_STRING, basic)?.0)?;
    let (data, _) = expect(SEQUENCE, basic)?;
    // A version may stand in front of the responder's id.
    let data = expect(CONTEXT_0, data).map_or(data, |(_, after)| after);
    let (_, _responder, data) = element(data)?;
    let (_produced, data) = expect(GENERALIZED_TIME, data)?;
    let (first, _) = expect(SEQUENCE, expect(SEQUENCE, data)?.0)?;
    let (_certificate, rest) = expect(SEQUENCE, first)?;
    let (tag, _, rest) = element(rest)?;
    let status = match tag {
        0x80 => "good",
        0xa1 => "revoked",
        0x82 => "unknown",
        _ => return None,
    };
    let (this_update, rest) = expect(GENERALIZED_TIME, rest)?;
    let next = expect(CONTEXT_0, rest).and_then(|(inner, _)| expect(GENERALIZED_TIME, inner));
    Some(Ocsp {
        status: status.into(),
        this_update: time(this_update),
        next_update: next.and_then(|(text, _)| time(text)),
    })
}

/// A GeneralizedTime as `20260102030405Z`, the form that RFC 5280 section 4.1.2.5.2 demands.
fn time(text: &[u8]) -> Option<Timestamp> {
    let digits = text.strip_suffix(b"Z")?;
    if digits.len() != 14 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |at: core::ops::Range<usize>| {
        let add = |sum: i64, &digit: &u8| 10 * sum + i64::from(digit - b'0');
        Some(digits.get(at)?.iter().fold(0, add))
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years from March on: the leap day is the last of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + number(8..10)? * 3600 + number(10..12)? * 60 + number(12..14)?;
    seconds.checked_mul(1_000_000_000).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let contents = parts.concat();
        let mut bytes = vec![tag];
        if contents.len() > 0x7f {
            bytes.push(0x81);
        }
        bytes.push(contents.len() as u8);
        bytes.extend(contents);
        bytes
    }

    fn staple(status: &[u8], next: &[u8]) -> Vec<u8> {
        let certificate = der(SEQUENCE, &[&der(2, &[&[7]])]);
        let this = der(GENERALIZED_TIME, &[b"20240229120000Z"]);
        let one = der(SEQUENCE, &[&certificate, status, &this, next]);
        let responder = der(0xa2, &[&der(OCTET_STRING, &[&[1; 20]])]);
        let produced = der(GENERALIZED_TIME, &[b"20240229120001Z"]);
        let data = der(SEQUENCE, &[&responder, &produced, &der(SEQUENCE, &[&one])]);
        let basic = der(OCTET_STRING, &[&der(SEQUENCE, &[&data])]);
        let typed = der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[&[0x2b]]), &basic]);
        let whole = der(SEQUENCE, &[&[ENUMERATED, 1, 0], &der(CONTEXT_0, &[&typed])]);
        wrapped(&whole)
    }

    fn wrapped(response: &[u8]) -> Vec<u8> {
        [&[1, 0, 0, response.len() as u8][..], response].concat()
    }

    #[test]
    fn statuses_and_times() {
        let next = der(CONTEXT_0, &[&der(GENERALIZED_TIME, &[b"20240307120000Z"])]);
        let good = staple(&[0x80, 0], &next);
        let read_good = read(&good).unwrap();
        assert_eq!(read_good.status, "good");
        let this = read_good.this_update.unwrap();
        assert_eq!(&this.rfc3339(), b"2024-02-29T12:00:00.000000000Z");
        let until = read_good.next_update.unwrap();
        assert_eq!(&until.rfc3339(), b"2024-03-07T12:00:00.000000000Z");
        let revoked = read(&staple(&der(0xa1, &[]), &[])).unwrap();
        assert_eq!((&*revoked.status, revoked.next_update), ("revoked", None));
        assert_eq!(read(&staple(&[0x82, 0], &[])).unwrap().status, "unknown");
        for end in 1..good.len() {
            assert_eq!(read(&good[..end]).unwrap().status, "malformed");
        }
    }

    #[test]
    fn errors_of_the_responder() {
        let status = |code| read(&wrapped(&[0x30, 3, 0x0a, 1, code])).unwrap().status;
        assert_eq!(status(3), "tryLater");
        assert_eq!(status(6), "unauthorized");
        assert_eq!(status(4), "malformed");
        // ocsp_multi, and nothing.
        assert_eq!(read(&[2, 0, 0, 0]), None);
        assert_eq!(read(&[]), None);
    }
}
