//! HTTP in clear, as far as a diagnosis needs it: header bytes of the first messages, HTTP/2 SETTINGS and
//! GOAWAY; the latter two also inside TLS where a session's secrets open it.
//!
//! Never kept: credentials, tokens, cookies, query strings, bodies. Of an `Authorization` field only a
//! known scheme's name is kept, and whether something follows it; of NTLM also what its AUTHENTICATE
//! message says about itself ([MS-NLMP] 2.2.1.3). RFC 9112, RFC 9110, RFC 9113.

mod field;
mod h2;
mod hpack;
mod inside;
mod ntlm;
mod reader;

pub use h2::{GoAway, H2, Settings, error_name};
pub use inside::Inside;
pub use ntlm::{Bindings, Ntlm, NtlmVersion};
pub use reader::{Read, Reader, begins};

/// Requests and responses that are kept of a conversation.
pub const MESSAGES_MAX: usize = 8;
/// Bytes kept of one field.
const TEXT_BYTES_MAX: usize = 160;

/// Bytes of a field, cut.
pub type Text = Box<[u8]>;

/// What HTTP showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The first requests.
    pub requests: Vec<Request>,
    /// The first responses.
    pub responses: Vec<Response>,
    /// HTTP/2 without TLS.
    pub h2: Option<Box<H2>>,
}

/// A request's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The packet that ended its head.
    pub stamp: u64,
    /// The method.
    pub method: Text,
    /// The path, without query; a CONNECT's target.
    pub path: Text,
    /// `Host`.
    pub host: Option<Text>,
    /// `User-Agent`.
    pub user_agent: Option<Text>,
    /// `Authorization`.
    pub authorization: Option<Credential>,
    /// `Proxy-Authorization`.
    pub proxy_authorization: Option<Credential>,
    /// `Via`.
    pub via: Option<Text>,
    /// `X-Forwarded-For`, `-Host`, `-Port` and `-Proto`, by their last word.
    pub forwarded: Vec<(&'static str, Text)>,
    /// `Front-End-Https`.
    pub front_end_https: Option<Text>,
    /// `Upgrade`, its first product's name.
    pub upgrade: Option<Text>,
}

/// A response's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The packet that ended its head.
    pub stamp: u64,
    /// The status.
    pub status: u16,
    /// `WWW-Authenticate`.
    pub authenticate: Vec<Challenge>,
    /// `Proxy-Authenticate`.
    pub proxy_authenticate: Vec<Challenge>,
    /// `Via`.
    pub via: Option<Text>,
    /// The code that `x-ms-diagnostics` begins with.
    pub diagnostics: Option<u32>,
    /// Scheme and host that its reason says was expected.
    pub diagnostics_expected: Option<Text>,
    /// Scheme and host that its reason says was found.
    pub diagnostics_actual: Option<Text>,
    /// `X-FEServer`: Exchange's server that took the request.
    pub front_end: Option<Text>,
    /// `Location` begins with `https:`.
    pub redirects_to_https: bool,
}

/// What a client showed to authenticate, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The scheme's registered name, or `other`.
    pub scheme: &'static str,
    /// Nothing follows the scheme.
    pub empty: bool,
    /// NTLM's message inside.
    pub ntlm: Option<Ntlm>,
}

/// What a server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme's registered name, or `other`.
    pub scheme: &'static str,
    /// It names an `authorization_uri`.
    pub authorization_uri: bool,
}

impl Facts {
    /// Bytes on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        let texts = |texts: &[&Option<Text>]| -> usize {
            let texts = texts.iter().filter_map(|text| text.as_ref());
            texts.map(|text| text.len()).sum()
        };
        let requests = self.requests.iter().map(|request| {
            let (host, agent) = (&request.host, &request.user_agent);
            size_of::<Request>() + request.path.len() + texts(&[host, agent, &request.via])
        });
        let responses = self
            .responses
            .iter()
            .map(|response| size_of::<Response>() + response.authenticate.len() * 24);
        size_of::<Self>() + requests.sum::<usize>() + responses.sum::<usize>()
    }
}
