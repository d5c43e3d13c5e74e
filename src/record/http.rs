//! HTTP in clear, as the record keeps it: nothing that is secret.

use super::copy::text;
use super::{Digest, Side, is_false};
use crate::http::{self, Bindings, NtlmVersion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// HTTP in clear: heads of the first messages, and what HTTP/2 agreed on. Never credentials, tokens,
/// cookies, query strings or bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Http {
    /// The first requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<HttpRequest>,
    /// The first responses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<HttpResponse>,
    /// HTTP/2 without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub h2c: Option<Box<H2c>>,
    /// HTTP/2 inside TLS: its SETTINGS and GOAWAY, read with the session's secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub h2: Option<Box<H2c>>,
}

/// A request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpRequest {
    /// The packet that ended it.
    pub frame: u64,
    /// The method.
    pub method: Box<str>,
    /// The path without query and parameters; a CONNECT's target.
    pub path: Box<str>,
    /// `Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<str>>,
    /// `User-Agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Box<str>>,
    /// `Authorization`, without the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<HttpCredential>,
    /// `Proxy-Authorization`, without the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_authorization: Option<HttpCredential>,
    /// `Via`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Box<str>>,
    /// `X-Forwarded-For`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_for: Option<Box<str>>,
    /// `X-Forwarded-Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_host: Option<Box<str>>,
    /// `X-Forwarded-Port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_port: Option<Box<str>>,
    /// `X-Forwarded-Proto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_proto: Option<Box<str>>,
    /// `Front-End-Https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front_end_https: Option<Box<str>>,
    /// `Upgrade`: the protocol wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Box<str>>,
}

/// A response's head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpResponse {
    /// The packet that ended it.
    pub frame: u64,
    /// The status.
    pub status: u16,
    /// `WWW-Authenticate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authenticate: Vec<HttpChallenge>,
    /// `Proxy-Authenticate`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proxy_authenticate: Vec<HttpChallenge>,
    /// `Via`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Box<str>>,
    /// The code of `x-ms-diagnostics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<u32>,
    /// Scheme and host that its reason says was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics_expected: Option<Box<str>>,
    /// Scheme and host that its reason says was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics_actual: Option<Box<str>>,
    /// `X-FEServer`: Exchange's server that took the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front_end: Option<Box<str>>,
    /// `Location` leads to https.
    #[serde(skip_serializing_if = "is_false")]
    pub redirects_to_https: bool,
}

/// How a client authenticates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpCredential {
    /// `Basic`, `Bearer`, `Negotiate`, `NTLM`, …; `other` where it is none of the known ones.
    pub scheme: Cow<'static, str>,
    /// Nothing follows the scheme.
    #[serde(skip_serializing_if = "is_false")]
    pub empty: bool,
    /// The NTLM message inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntlm: Option<NtlmMessage>,
}

/// What a server asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpChallenge {
    /// `Basic`, `Bearer`, `Negotiate`, `NTLM`, …; `other` where it is none of the known ones.
    pub scheme: Cow<'static, str>,
    /// It names an `authorization_uri`.
    #[serde(skip_serializing_if = "is_false")]
    pub authorization_uri: bool,
}

/// What an NTLM message says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NtlmMessage {
    /// `negotiate`, `challenge`, `authenticate`.
    pub message: Cow<'static, str>,
    /// Of an AUTHENTICATE: `anonymous`, `lm`, `ntlmv1`, `ntlmv1-session`, `ntlmv2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Cow<'static, str>>,
    /// Of NTLMv2: `absent`, `zero`, `present`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_binding: Option<Cow<'static, str>>,
    /// The MD5 of the channel bindings, which says to which certificate the client bound itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_binding_hash: Option<Digest<16>>,
    /// Of NTLMv2: a message integrity code is present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mic: Option<bool>,
    /// Of an AUTHENTICATE: the client's name for itself. The user's and the domain's are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workstation: Option<Box<str>>,
    /// Of an AUTHENTICATE: the client's system, as `10.0.17763`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<Box<str>>,
}

/// What HTTP/2 agreed on, and how it was ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct H2c {
    /// It began with an Upgrade, not with the preface.
    #[serde(skip_serializing_if = "is_false")]
    pub upgraded: bool,
    /// The client's first SETTINGS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_settings: Option<Vec<H2Setting>>,
    /// The server's first SETTINGS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_settings: Option<Vec<H2Setting>>,
    /// The first GOAWAY of each side that names an error, else its first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub goaways: Vec<H2GoAway>,
}

/// One setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct H2Setting {
    /// Identifier, as 3 for MAX_CONCURRENT_STREAMS.
    pub id: u16,
    /// Its value.
    pub value: u32,
}

/// A GOAWAY frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct H2GoAway {
    /// The packet.
    pub frame: u64,
    /// Who sent it.
    pub from: Side,
    /// Error code, as 12 for INADEQUATE_SECURITY.
    pub code: u32,
    /// Its name (RFC 9113 section 7).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<Cow<'static, str>>,
    /// The last stream that was worked on.
    pub last_stream: u32,
}

impl Http {
    /// The record of these facts; `None` where they hold nothing.
    pub fn of(facts: &http::Facts) -> Option<Box<Self>> {
        if *facts == http::Facts::default() {
            return None;
        }
        Some(Box::new(Self {
            requests: facts.requests.iter().map(request).collect(),
            responses: facts.responses.iter().map(response).collect(),
            h2c: facts.h2.as_deref().map(|h2| Box::new(h2c(h2))),
            h2: None,
        }))
    }

    /// With what was opened of HTTP/2 inside TLS; nothing where that holds nothing.
    pub fn with_h2(http: Option<Box<Self>>, opened: Option<&http::H2>) -> Option<Box<Self>> {
        let Some(opened) = opened.filter(|opened| **opened != http::H2::default()) else {
            return http;
        };
        let mut http = http.unwrap_or_default();
        http.h2 = Some(Box::new(h2c(opened)));
        Some(http)
    }
}

fn request(request: &http::Request) -> HttpRequest {
    let own = |field: &Option<http::Text>| field.as_deref().map(text);
    let forwarded = |wanted: &str| {
        let mut found = request.forwarded.iter().filter(|(name, _)| *name == wanted);
        found.next().map(|(_, value)| text(value))
    };
    HttpRequest {
        frame: request.stamp,
        method: text(&request.method),
        path: text(&request.path),
        host: own(&request.host),
        user_agent: own(&request.user_agent),
        authorization: request.authorization.as_ref().map(credential),
        proxy_authorization: request.proxy_authorization.as_ref().map(credential),
        via: own(&request.via),
        forwarded_for: forwarded("for"),
        forwarded_host: forwarded("host"),
        forwarded_port: forwarded("port"),
        forwarded_proto: forwarded("proto"),
        front_end_https: own(&request.front_end_https),
        upgrade: own(&request.upgrade),
    }
}

fn response(response: &http::Response) -> HttpResponse {
    let challenges = |list: &[http::Challenge]| {
        let owned = list.iter().map(|challenge| HttpChallenge {
            scheme: challenge.scheme.into(),
            authorization_uri: challenge.authorization_uri,
        });
        owned.collect::<Vec<_>>()
    };
    HttpResponse {
        frame: response.stamp,
        status: response.status,
        authenticate: challenges(&response.authenticate),
        proxy_authenticate: challenges(&response.proxy_authenticate),
        via: response.via.as_deref().map(text),
        diagnostics: response.diagnostics,
        diagnostics_expected: response.diagnostics_expected.as_deref().map(text),
        diagnostics_actual: response.diagnostics_actual.as_deref().map(text),
        front_end: response.front_end.as_deref().map(text),
        redirects_to_https: response.redirects_to_https,
    }
}

fn credential(credential: &http::Credential) -> HttpCredential {
    HttpCredential {
        scheme: credential.scheme.into(),
        empty: credential.empty,
        ntlm: credential.ntlm.as_ref().map(ntlm),
    }
}

fn ntlm(ntlm: &http::Ntlm) -> NtlmMessage {
    NtlmMessage {
        message: match ntlm.message {
            1 => "negotiate",
            2 => "challenge",
            _ => "authenticate",
        }
        .into(),
        version: ntlm.version.map(|version| {
            match version {
                NtlmVersion::Anonymous => "anonymous",
                NtlmVersion::Lm => "lm",
                NtlmVersion::V1 => "ntlmv1",
                NtlmVersion::V1Session => "ntlmv1-session",
                NtlmVersion::V2 => "ntlmv2",
            }
            .into()
        }),
        channel_binding: ntlm.bindings.map(|bindings| {
            match bindings {
                Bindings::Absent => "absent",
                Bindings::Zero => "zero",
                Bindings::Hash(_) => "present",
            }
            .into()
        }),
        channel_binding_hash: match ntlm.bindings {
            Some(Bindings::Hash(hash)) => Some(Digest(hash)),
            _ => None,
        },
        mic: ntlm.mic,
        workstation: ntlm.workstation.clone(),
        system: (ntlm.system)
            .map(|(major, minor, build)| format!("{major}.{minor}.{build}").into()),
    }
}

fn h2c(h2: &http::H2) -> H2c {
    let settings = |settings: &Option<http::Settings>| {
        let pairs = settings.as_ref()?.iter();
        Some(pairs.map(|&(id, value)| H2Setting { id, value }).collect())
    };
    let goaway = |goaway: &http::GoAway| H2GoAway {
        frame: goaway.stamp,
        from: if goaway.from_client {
            Side::Client
        } else {
            Side::Server
        },
        code: goaway.code,
        error: http::error_name(goaway.code).map(Into::into),
        last_stream: goaway.last_stream,
    };
    H2c {
        upgraded: h2.upgraded,
        client_settings: settings(&h2.client_settings),
        server_settings: settings(&h2.server_settings),
        goaways: h2.goaways.iter().map(goaway).collect(),
    }
}
