//! What an administrator may set: thresholds, host lists, farms and proxies.
//!
//! The defaults are those of the catalogue; each has its reason beside it. Times of the capture are compared with these
//! numbers, never a clock. Unknown keys are errors, so that a typing mistake is not silently a default.

use super::text::Lang;
use crate::record::{Endpoint, StackRule};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// Ports that are TLS's by registration or by custom.
pub const TLS_PORTS: [u16; 20] = [
    443, 444, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 2083, 2376, 3269, 4443, 5061, 5986,
    8443, 9443,
];

/// Thresholds and knowledge about the network.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Language of the findings' texts.
    pub lang: Lang,
    /// Ids of findings that are not wanted.
    pub leave_out: Vec<String>,
    /// A ClientHello without an answer for this long is a warning: servers answer within milliseconds.
    pub silence_warn_ms: u64,
    /// The same for an error: a common time-out of clients.
    pub silence_error_ms: u64,
    /// So many failures without a success in between make a series, not a blip.
    pub series_min: u32,
    /// A series lasts at least this long.
    pub series_span_s: u64,
    /// A second try within this time belongs to the first: browsers and WinHTTP retry at once.
    pub retry_window_s: u64,
    /// A certificate that ends within so many days, or within a third of its lifetime where that is less, is near its end.
    pub near_expiry_days: u32,
    /// A certificate of a public authority may be valid for so many days.
    pub lifetime_days_max: u32,
    /// A handshake that takes longer than this, and than `slow_total_rtts` round trips, is slow.
    pub slow_total_ms: u64,
    /// See `slow_total_ms`.
    pub slow_total_rtts: u32,
    /// A slow handshake that takes longer than this is a warning.
    pub slow_warn_ms: u64,
    /// A server that thinks for longer than this is slow.
    pub slow_server_ms: u64,
    /// A client that thinks for longer than this is slow.
    pub slow_client_ms: u64,
    /// A client that closes a connection without a ClientHello later than this was only keeping it ready.
    pub closed_before_hello_ms: u64,
    /// So much time between the first IPv6 SYN and the IPv4 connection that worked is worth a word: clients of RFC 8305
    /// wait 250 ms.
    pub v6_penalty_ms: u64,
    /// A lookup that is not answered for this long failed.
    pub dns_no_answer_ms: u64,
    /// Ports on which a connection without TLS is worth a record.
    pub tls_ports: Vec<u16>,
    /// Ports on which a ClientHello without a server name is worth a word.
    pub sni_ports: Vec<u16>,
    /// Ports on which self-signed certificates are the product's default (Exchange Back End).
    pub internal_ports: Vec<u16>,
    /// Rules that name TLS stacks by their hellos, before the built-in ones.
    pub client_stacks: Vec<StackRule>,
    /// Server groups by name: their members must answer alike.
    pub farms: Vec<Farm>,
    /// Proxies and what stands behind them.
    pub proxies: Vec<ProxyLegs>,
    /// Names for which Windows Extended Protection is in force: both legs must show the same certificate.
    pub extended_protection: Vec<String>,
    /// Names whose services sign in with OAuth (hybrid modern authentication): a name that a proxy rewrites fails there.
    pub modern_authentication: Vec<String>,
    /// Names that need TLS 1.2, besides the built-in ones of Microsoft; each with all below it.
    pub microsoft_hosts: Vec<String>,
    /// Whether the built-in names of Microsoft count.
    pub microsoft_hosts_built_in: bool,
    /// Suites of TLS 1.2 that Microsoft 365 takes; empty for the built-in list.
    pub microsoft_suites: Vec<u16>,
    /// Issuers' names whose certificates are known to be made by inspection, besides the built-in ones.
    pub inspection_issuers: Vec<String>,
    /// Groups of hits that are kept; further ones are counted.
    pub groups_max: usize,
    /// Bytes for what surveys remember of handshakes; past it the oldest go, counted.
    pub history_bytes_max: usize,
}

/// A server group whose members must answer alike.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Farm {
    /// What people call it.
    pub name: String,
    /// Its members: `10.0.0.5`, or `10.0.0.5:8443` for one port.
    pub members: Vec<Member>,
    /// Names (SNI) that it serves.
    pub names: Vec<String>,
}

/// A member of a farm: a whole address or one port of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Member {
    /// Its address.
    pub ip: IpAddr,
    /// Its port; all where left out.
    pub port: Option<u16>,
}

impl Member {
    /// Whether the endpoint belongs to it.
    #[must_use]
    pub fn holds(&self, endpoint: Endpoint) -> bool {
        self.ip == endpoint.ip && self.port.is_none_or(|port| port == endpoint.port)
    }
}

impl TryFrom<String> for Member {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| format!("`{text}` is neither an address nor address:port"))?;
        Ok(Self {
            ip: address.ip(),
            port: Some(address.port()),
        })
    }
}

/// A proxy, and the servers that it forwards to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProxyLegs {
    /// Address at which clients reach it, and from which it calls.
    pub ip: IpAddr,
    /// Addresses of the servers behind it.
    #[serde(default)]
    pub backends: Vec<IpAddr>,
    /// Further addresses from which it calls the servers behind it.
    #[serde(default)]
    pub calls_from: Vec<IpAddr>,
    /// Names by which it asks for them on purpose, though clients know others.
    #[serde(default)]
    pub names_behind: Vec<String>,
}

impl Settings {
    /// Windows Extended Protection is declared for the name.
    pub(super) fn protects(&self, name: &str) -> bool {
        holds(&self.extended_protection, name)
    }

    /// Modern authentication is declared for the name.
    pub(super) fn signs_in(&self, name: &str) -> bool {
        holds(&self.modern_authentication, name)
    }
}

fn holds(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lang: Lang::En,
            leave_out: Vec::new(),
            silence_warn_ms: 5_000,
            silence_error_ms: 15_000,
            series_min: 5,
            series_span_s: 60,
            retry_window_s: 30,
            near_expiry_days: 30,
            lifetime_days_max: 398,
            slow_total_ms: 1_000,
            slow_total_rtts: 4,
            slow_warn_ms: 3_000,
            slow_server_ms: 500,
            slow_client_ms: 1_000,
            closed_before_hello_ms: 5_000,
            v6_penalty_ms: 300,
            dns_no_answer_ms: 5_000,
            tls_ports: TLS_PORTS.to_vec(),
            sni_ports: vec![443],
            internal_ports: vec![444],
            client_stacks: Vec::new(),
            farms: Vec::new(),
            proxies: Vec::new(),
            extended_protection: Vec::new(),
            modern_authentication: Vec::new(),
            microsoft_hosts: Vec::new(),
            microsoft_hosts_built_in: true,
            microsoft_suites: Vec::new(),
            inspection_issuers: Vec::new(),
            groups_max: 16_384,
            history_bytes_max: 128 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_from_toml_and_mistakes_are_errors() {
        let text = "retry-window-s = 10\nlang = \"ja\"\n[[farms]]\nname = \"cas\"\nmembers = [\"10.0.0.1\"]";
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(settings.retry_window_s, 10);
        assert_eq!(settings.lang, Lang::Ja);
        assert_eq!(settings.farms.len(), 1);
        assert_eq!(settings.series_min, Settings::default().series_min);
        assert!(toml::from_str::<Settings>("retry-windw-s = 10").is_err());
    }
}
