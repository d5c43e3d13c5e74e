//! What the talk in front of TLS showed, as bytes: the record turns them into text.
//!
//! Nothing secret comes here: no password, token, cookie, query string or body.

use super::Speaker;
use crate::http;
use core::net::SocketAddr;

/// Bytes kept of a proxy's target, of a short answer.
const TARGET_BYTES_MAX: usize = 255;
const ANSWER_BYTES_MAX: usize = 40;

/// A proxy that stands in front of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyFacts {
    /// `http-connect`, `socks4`, `socks5`, `proxy-v1`, `proxy-v2`.
    pub kind: &'static str,
    /// `host:port`.
    pub target: Option<Box<[u8]>>,
    /// HTTP status, or SOCKS reply code.
    pub status: Option<u16>,
}

/// What the talk in front of TLS showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Which protocol, by the name of its entry in [`DIALOGUES`](super::DIALOGUES).
    pub protocol: Option<&'static str>,
    /// By which command or choice TLS was asked for.
    pub mechanism: Option<&'static str>,
    /// The server said that it can do TLS.
    pub offered: bool,
    /// The client asked for TLS.
    pub requested: bool,
    /// What the server made of it.
    pub accepted: Option<bool>,
    /// The code or word of the server's answer.
    pub answer: Option<Box<[u8]>>,
    /// The client logged in, or sent its content, without TLS.
    pub continued_in_clear: bool,
    /// The offer was overwritten on the way (`250-XXXXXXXA`).
    pub stripped: bool,
    /// The packet that showed the last of it, or that the offer was overwritten.
    pub frame: u64,
    /// The packet being read.
    pub stamp: u64,
    /// The proxy in front.
    pub proxy: Option<ProxyFacts>,
    /// True client and server, as a PROXY header names them.
    pub origin: Option<(SocketAddr, SocketAddr)>,
    /// Messages of DNS since they were taken last.
    pub dns: Vec<(Speaker, Box<[u8]>)>,
    /// HTTP in clear.
    pub http: Option<Box<http::Facts>>,
}

impl Facts {
    /// The client asks for TLS.
    pub(super) fn request(&mut self, mechanism: &'static str) {
        self.requested = true;
        self.mechanism = Some(mechanism);
        self.accepted = None;
        self.answer = None;
        self.frame = self.stamp;
    }

    /// The server answers; only the first words are kept.
    pub(super) fn answered(&mut self, accepted: bool, answer: &[u8]) {
        self.accepted = Some(accepted);
        let answer = answer.get(..ANSWER_BYTES_MAX).unwrap_or(answer);
        self.answer = (!answer.is_empty()).then(|| answer.into());
        self.frame = self.stamp;
    }

    /// TLS was asked for and the answer is awaited.
    pub(super) fn awaits_answer(&self) -> bool {
        self.requested && self.accepted.is_none()
    }

    /// The server can do TLS.
    pub(super) fn offer(&mut self) {
        self.offered = true;
        self.frame = self.stamp;
    }

    /// The client goes on without TLS. Where the offer was overwritten that packet tells more.
    pub(super) fn in_clear(&mut self) {
        self.continued_in_clear = true;
        if !self.stripped {
            self.frame = self.stamp;
        }
    }

    /// Someone wrote over the offer, or over the request.
    pub(super) fn strip(&mut self) {
        self.stripped = true;
        self.frame = self.stamp;
    }

    /// A proxy is asked for `target`.
    pub(super) fn proxy(&mut self, kind: &'static str, target: Option<&[u8]>) {
        let target = target.map(|target| target.get(..TARGET_BYTES_MAX).unwrap_or(target).into());
        self.proxy = Some(ProxyFacts {
            kind,
            target,
            status: None,
        });
        self.frame = self.stamp;
    }

    /// The proxy answers.
    pub(super) fn proxy_status(&mut self, status: u16) {
        if let Some(proxy) = &mut self.proxy {
            proxy.status = Some(status);
        }
        self.frame = self.stamp;
    }

    /// Bytes on the heap, about.
    pub(super) fn heap_bytes(&self) -> usize {
        let http = self.http.as_ref().map_or(0, |http| http.heap_bytes());
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.target.as_ref());
        http + proxy.map_or(0, |target| target.len())
    }
}
