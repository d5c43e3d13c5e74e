//! One line of a head: what of it may be kept.

use super::ntlm;
use super::{Challenge, Credential, Request, Response, TEXT_BYTES_MAX, Text};

/// Challenges kept of one response.
const CHALLENGES_MAX: usize = 8;

/// Schemes that are named (IANA HTTP Authentication Schemes, and those that Windows and Exchange use). Any
/// other word may be a credential without a scheme, and is not kept.
const SCHEMES: [&str; 18] = [
    "Basic",
    "Bearer",
    "Concealed",
    "Digest",
    "DPoP",
    "GNAP",
    "HOBA",
    "Kerberos",
    "Mutual",
    "Negotiate",
    "NTLM",
    "OAuth",
    "PoP",
    "PrivateToken",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "vapid",
    "AWS4-HMAC-SHA256",
];

fn scheme(word: &[u8]) -> Option<&'static str> {
    SCHEMES
        .into_iter()
        .find(|known| known.as_bytes().eq_ignore_ascii_case(word))
}

pub(super) fn text(bytes: &[u8]) -> Text {
    bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes).into()
}

/// Without a user and a password in front of it.
fn without_user(authority: &[u8]) -> &[u8] {
    authority.rsplit(|&byte| byte == b'@').next().unwrap_or(&[])
}

/// A request target's path: without scheme, authority, query, fragment and parameters.
pub(super) fn path(target: &[u8]) -> Text {
    let rest = match target.windows(3).position(|window| window == b"://") {
        Some(at) if !target.starts_with(b"/") => {
            let authority = target.get(at + 3..).unwrap_or(&[]);
            let slash = authority.iter().position(|&byte| byte == b'/');
            slash
                .and_then(|slash| authority.get(slash..))
                .unwrap_or(b"/")
        }
        _ => target,
    };
    let end = rest.iter().position(|byte| b"?#;".contains(byte));
    text(rest.get(..end.unwrap_or(rest.len())).unwrap_or(&[]))
}

/// The target of a CONNECT.
pub(super) fn authority(target: &[u8]) -> Text {
    let end = target.iter().position(|byte| b"?#/".contains(byte));
    text(without_user(
        target.get(..end.unwrap_or(target.len())).unwrap_or(&[]),
    ))
}

/// Name and value of a field.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((name, value.get(1..)?.trim_ascii()))
}

fn is(name: &[u8], known: &str) -> bool {
    name.eq_ignore_ascii_case(known.as_bytes())
}

fn credential(value: &[u8]) -> Credential {
    let end = value.iter().position(u8::is_ascii_whitespace);
    let (word, rest) = value
        .split_at_checked(end.unwrap_or(value.len()))
        .unwrap_or((value, &[]));
    let token = rest.trim_ascii();
    let scheme = scheme(word).unwrap_or("other");
    let spnego = matches!(scheme, "NTLM" | "Negotiate");
    Credential {
        scheme,
        empty: token.is_empty() && scheme != "other",
        ntlm: if spnego { ntlm::parse(token) } else { None },
    }
}

/// Scheme and host behind `word`, as Exchange's reasons quote them: `Expected 'https://a'. Actual 'http://a/b'.`
fn origin_after(value: &[u8], word: &[u8]) -> Option<Text> {
    let at = value
        .windows(word.len())
        .position(|window| window.eq_ignore_ascii_case(word))?;
    let url = value.get(at + word.len()..)?;
    let scheme = url.windows(3).position(|window| window == b"://")?;
    let host = url.get(scheme + 3..)?;
    let end = host.iter().position(|byte| b"/'\"?# ;".contains(byte))?;
    let origin = url.get(..scheme + 3 + end)?;
    let known = [&b"http"[..], b"https"].contains(&url.get(..scheme)?);
    (known && end > 0 && !origin.contains(&b'@')).then(|| text(origin))
}

/// The challenges of one field: each begins with a scheme, and parameters follow it.
fn challenges(value: &[u8], list: &mut Vec<Challenge>) {
    for part in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        let end = part
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(part.len());
        let (word, parameter) = part.split_at_checked(end).unwrap_or((part, &[]));
        let mut parameter = parameter.trim_ascii();
        if let Some(scheme) = scheme(word) {
            if list.len() < CHALLENGES_MAX {
                list.push(Challenge {
                    scheme,
                    authorization_uri: false,
                });
            }
        } else {
            parameter = part;
        }
        if let (Some(name), Some(last)) = (parameter.get(..17), list.last_mut())
            && is(name, "authorization_uri")
        {
            last.authorization_uri = true;
        }
    }
    if list.is_empty() && !value.is_empty() {
        list.push(Challenge {
            scheme: "other",
            authorization_uri: false,
        });
    }
}

impl Request {
    /// Takes a field.
    pub(super) fn field(&mut self, line: &[u8]) {
        let Some((name, value)) = split(line) else {
            return;
        };
        match name {
            _ if is(name, "Host") => self.host = Some(text(without_user(value))),
            _ if is(name, "User-Agent") => self.user_agent = Some(text(value)),
            _ if is(name, "Authorization") => self.authorization = Some(credential(value)),
            _ if is(name, "Proxy-Authorization") => {
                self.proxy_authorization = Some(credential(value));
            }
            _ if is(name, "Via") => self.via = Some(text(value)),
            _ if is(name, "Front-End-Https") => self.front_end_https = Some(text(value)),
            _ if is(name, "Upgrade") => {
                let end = value.iter().position(|byte| b", /;".contains(byte));
                self.upgrade = value.get(..end.unwrap_or(value.len())).map(text);
            }
            _ => self.forwarded(name, value),
        }
    }

    fn forwarded(&mut self, name: &[u8], value: &[u8]) {
        let Some((start, last)) = name.split_at_checked("X-Forwarded-".len()) else {
            return;
        };
        let known = ["for", "host", "port", "proto"];
        let found = known.into_iter().find(|known| is(last, known));
        if let Some(found) = found.filter(|_| is(start, "X-Forwarded-"))
            && !self.forwarded.iter().any(|(known, _)| *known == found)
        {
            self.forwarded.push((found, text(without_user(value))));
        }
    }
}

impl Response {
    /// Takes a field.
    pub(super) fn field(&mut self, line: &[u8]) {
        let Some((name, value)) = split(line) else {
            return;
        };
        match name {
            _ if is(name, "WWW-Authenticate") => challenges(value, &mut self.authenticate),
            _ if is(name, "Proxy-Authenticate") => {
                challenges(value, &mut self.proxy_authenticate);
            }
            _ if is(name, "Via") => self.via = Some(text(value)),
            _ if is(name, "x-ms-diagnostics") => {
                let digits = value.split(|byte| !byte.is_ascii_digit()).next();
                self.diagnostics = digits
                    .and_then(|digits| core::str::from_utf8(digits).ok())
                    .and_then(|digits| digits.parse().ok());
                self.diagnostics_expected = origin_after(value, b"Expected '");
                self.diagnostics_actual = origin_after(value, b"Actual '");
            }
            _ if is(name, "X-FEServer") => self.front_end = Some(text(value)),
            _ if is(name, "Location") => {
                self.redirects_to_https = value.get(..6).is_some_and(|start| is(start, "https:"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_what_may_be_secret() {
        for (target, kept) in [
            (&b"/owa/?token=1"[..], &b"/owa/"[..]),
            (b"http://joe:pw@host/ecp;jsessionid=1?x", b"/ecp"),
            (b"http://joe:pw@host", b"/"),
            (b"/a?u=http://b/c", b"/a"),
            (b"*", b"*"),
        ] {
            assert_eq!(&*path(target), kept);
        }
        assert_eq!(&*authority(b"joe:pw@host:443"), b"host:443");
    }

    #[test]
    fn secrets_are_not_kept() {
        let mut request = Request::default();
        for line in [
            &b"Authorization: Basic c2VjcmV0"[..],
            b"Proxy-Authorization: c2VjcmV0",
            b"Cookie: c2VjcmV0",
            b"Host: c2VjcmV0@host",
            b"X-Forwarded-Secret: c2VjcmV0",
        ] {
            request.field(line);
        }
        let secret = format!("{:?}", text(b"c2VjcmV0"));
        assert!(!format!("{request:?}").contains(secret.trim_matches(['[', ']'])));
        assert_eq!(request.authorization.unwrap().scheme, "Basic");
        assert_eq!(request.proxy_authorization.unwrap().scheme, "other");
    }

    #[test]
    fn bearer_may_be_empty() {
        let mut request = Request::default();
        request.field(b"authorization: Bearer ");
        assert!(request.authorization.as_ref().unwrap().empty);
        request.field(b"Authorization: Bearer eyJ0");
        assert!(!request.authorization.unwrap().empty);
    }

    #[test]
    fn challenges_are_told_apart() {
        let mut response = Response::default();
        response.field(b"WWW-Authenticate: Negotiate, NTLM");
        response.field(
            b"WWW-Authenticate: Bearer client_id=\"a\", trusted_issuers=\"b@*\", authorization_uri=\"https://login\"",
        );
        response.field(b"WWW-Authenticate: Basic realm=\"x\"");
        let seen: Vec<_> = response
            .authenticate
            .iter()
            .map(|challenge| (challenge.scheme, challenge.authorization_uri))
            .collect();
        assert_eq!(
            seen,
            [
                ("Negotiate", false),
                ("NTLM", false),
                ("Bearer", true),
                ("Basic", false)
            ]
        );
        response.field(b"x-ms-diagnostics: 2000003;reason=\"The audience claim\"");
        assert_eq!(response.diagnostics, Some(2_000_003));
        assert_eq!(response.diagnostics_expected, None);
        response.field(b"X-FEServer: EX1");
        assert_eq!(response.front_end.as_deref(), Some(&b"EX1"[..]));
        response.field(
            b"x-ms-diagnostics: 2000003;reason=\"The hostname component of the audience claim value is invalid. Expected 'https://mail.contoso.com'. Actual 'http://mail.contoso.com/x?secret'.\";error_category=\"invalid_resource\"",
        );
        let seen = (
            response.diagnostics_expected.as_deref(),
            response.diagnostics_actual.as_deref(),
        );
        let wanted = (
            &b"https://mail.contoso.com"[..],
            &b"http://mail.contoso.com"[..],
        );
        assert_eq!(seen, (Some(wanted.0), Some(wanted.1)));
        response.field(b"Location: HTTPS://host/");
        assert!(response.redirects_to_https);
    }
}
