//! The talk in front of TLS, as the record keeps it.

use super::copy::text;
use super::{Endpoint, Proxy, is_false};
use crate::detect::Facts;
use core::net::SocketAddr;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What client and server said of TLS before it, or instead of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dialogue {
    /// `smtp`, `imap`, `pop3`, `ldap`, `ftp`, `xmpp`, `irc`, `nntp`, `sieve`, `postgres`, `mysql`, `rdp`,
    /// `tds`, `amqp`, `mqtt`, `http`; `socks4` or `socks5` where the proxy refused.
    pub protocol: Cow<'static, str>,
    /// The command or choice, as `STARTTLS`, `X-ANONYMOUSTLS`, `AUTH TLS`, `CredSSP`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mechanism: Option<Cow<'static, str>>,
    /// The server offered TLS.
    #[serde(default)]
    pub offered: bool,
    /// The client asked for TLS.
    #[serde(default)]
    pub requested: bool,
    /// What the server made of it; left out where it did not answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accepted: Option<bool>,
    /// The code or word of its answer, as `220`, `454`, `NO`, `HYBRID_REQUIRED_BY_SERVER`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer: Option<Box<str>>,
    /// The client logged in or sent its content without TLS.
    #[serde(skip_serializing_if = "is_false", default)]
    pub continued_in_clear: bool,
    /// The offer or the request was overwritten on the way, as in `250-XXXXXXXA`.
    #[serde(skip_serializing_if = "is_false", default)]
    pub stripped: bool,
    /// The packet that showed the last of these facts, or the overwriting; 0 where none did.
    #[serde(default)]
    pub frame: u64,
}

/// Client and server as a PROXY protocol header names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The true client.
    pub client: Endpoint,
    /// Where it connected to.
    pub server: Endpoint,
}

impl Dialogue {
    /// The dialogue of these facts, if one was recognised.
    pub fn of(facts: &Facts) -> Option<Box<Self>> {
        Some(Box::new(Self {
            protocol: facts.protocol?.into(),
            mechanism: facts.mechanism.map(Into::into),
            offered: facts.offered,
            requested: facts.requested,
            accepted: facts.accepted,
            answer: facts.answer.as_deref().map(text),
            continued_in_clear: facts.continued_in_clear,
            stripped: facts.stripped,
            frame: facts.frame,
        }))
    }
}

impl Proxy {
    /// The proxy of these facts.
    pub fn of(facts: &Facts) -> Option<Self> {
        let proxy = facts.proxy.as_ref()?;
        Some(Self {
            kind: proxy.kind.into(),
            target: proxy.target.as_deref().map(text),
            status: proxy.status,
        })
    }
}

impl Origin {
    /// The origin of these facts.
    pub fn of(facts: &Facts) -> Option<Self> {
        let endpoint = |address: SocketAddr| Endpoint {
            ip: address.ip(),
            port: address.port(),
        };
        let (client, server) = facts.origin?;
        Some(Self {
            client: endpoint(client),
            server: endpoint(server),
        })
    }
}
