//! TLS messages from nothing, and whole handshakes made of them.

use super::packets::{Talk, Who};
use Who::{Client, Server};

pub(crate) fn vec8(body: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::try_from(body.len()).unwrap()];
    out.extend(body);
    out
}

pub(crate) fn vec16(body: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    out.extend(body);
    out
}

pub(crate) fn u16s(numbers: &[u16]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

pub(crate) fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend(vec16(body));
    out
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32).to_be_bytes().to_vec();
    out[0] = kind;
    out.extend(body);
    out
}

pub(crate) fn record(kind: u8, version: u16, fragment: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(version.to_be_bytes());
    out.extend(vec16(fragment));
    out
}

/// Handshake bytes in records of at most `size` bytes each.
pub(crate) fn records(bytes: &[u8], size: usize) -> Vec<u8> {
    bytes
        .chunks(size)
        .flat_map(|piece| record(22, 0x0301, piece))
        .collect()
}

pub(crate) fn alert(level: u8, code: u8) -> Vec<u8> {
    record(21, 0x0303, &[level, code])
}

/// A ClientHello to be.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) suites: Vec<u16>,
    pub(crate) sni: Option<&'static str>,
    pub(crate) alpn: Vec<&'static str>,
    pub(crate) versions: Vec<u16>,
    pub(crate) groups: Vec<u16>,
    /// Groups and key lengths.
    pub(crate) shares: Vec<(u16, usize)>,
    pub(crate) padding: usize,
    /// Each byte of the random.
    pub(crate) random: u8,
    /// Further extensions, as bytes.
    pub(crate) more: Vec<u8>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            version: 0x0303,
            suites: vec![0x1301, 0x1302, 0xc02b, 0xc02f, 0xc030],
            sni: Some("www.contoso.com"),
            alpn: vec!["h2", "http/1.1"],
            versions: vec![0x0304, 0x0303],
            groups: vec![0x001d, 0x0017],
            shares: vec![(0x001d, 32)],
            padding: 0,
            random: 0x11,
            more: Vec::new(),
        }
    }
}

impl Hello {
    /// As browsers send it since they have ML-KEM: too long for one segment.
    pub(crate) fn post_quantum() -> Self {
        Self {
            suites: vec![0x0a0a, 0x1301, 0x1302, 0xc02b, 0xc02f, 0xc030],
            groups: vec![0x0a0a, 0x11ec, 0x001d, 0x0017],
            shares: vec![(0x0a0a, 1), (0x11ec, 1216), (0x001d, 32)],
            ..Self::default()
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        if let Some(name) = self.sni {
            let mut entry = vec![0];
            entry.extend(vec16(name.as_bytes()));
            extensions.extend(extension(0, &vec16(&entry)));
        }
        extensions.extend(extension(10, &vec16(&u16s(&self.groups))));
        extensions.extend(extension(11, &vec8(&[0])));
        extensions.extend(extension(13, &vec16(&u16s(&[0x0403, 0x0804, 0x0401]))));
        if !self.alpn.is_empty() {
            let names: Vec<u8> = self
                .alpn
                .iter()
                .flat_map(|name| vec8(name.as_bytes()))
                .collect();
            extensions.extend(extension(16, &vec16(&names)));
        }
        if !self.versions.is_empty() {
            extensions.extend(extension(43, &vec8(&u16s(&self.versions))));
            let shares: Vec<u8> = self
                .shares
                .iter()
                .flat_map(|&(group, length)| {
                    let mut share = group.to_be_bytes().to_vec();
                    share.extend(vec16(&vec![0x5a; length]));
                    share
                })
                .collect();
            extensions.extend(extension(51, &vec16(&shares)));
        }
        if self.padding > 0 {
            extensions.extend(extension(21, &vec![0; self.padding]));
        }
        extensions.extend(&self.more);
        let mut out = self.version.to_be_bytes().to_vec();
        out.extend([self.random; 32]);
        out.extend(vec8(&[0x22; 32]));
        out.extend(vec16(&u16s(&self.suites)));
        out.extend(vec8(&[0]));
        out.extend(vec16(&extensions));
        out
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        message(1, &self.body())
    }

    pub(crate) fn record(&self) -> Vec<u8> {
        record(22, 0x0301, &self.message())
    }
}

/// A ServerHello of TLS 1.2.
pub(crate) fn server_hello(suite: u16, alpn: Option<&str>) -> Vec<u8> {
    let mut extensions = extension(0xff01, &[0]);
    if let Some(name) = alpn {
        extensions.extend(extension(16, &vec16(&vec8(name.as_bytes()))));
    }
    server_hello_with(suite, &extensions)
}

/// A ServerHello of TLS 1.3, or of the draft with this number.
pub(crate) fn server_hello_tls13(suite: u16, version: u16) -> Vec<u8> {
    let mut share = vec![0, 0x1d];
    share.extend(vec16(&[0x5a; 32]));
    let extensions = [extension(51, &share), extension(43, &version.to_be_bytes())];
    server_hello_with(suite, &extensions.concat())
}

/// A ServerHello with these extensions.
pub(crate) fn server_hello_with(suite: u16, extensions: &[u8]) -> Vec<u8> {
    let mut out = vec![0x03, 0x03];
    out.extend([0x33; 32]);
    out.extend(vec8(&[0x44; 32]));
    out.extend(suite.to_be_bytes());
    out.push(0);
    out.extend(vec16(extensions));
    message(2, &out)
}

/// A Certificate message; the certificates are no real ones.
pub(crate) fn certificate(lengths: &[usize]) -> Vec<u8> {
    let vec24 = |body: &[u8]| {
        let mut out = (body.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend(body);
        out
    };
    let list: Vec<u8> = lengths
        .iter()
        .flat_map(|&length| vec24(&vec![0x30; length]))
        .collect();
    message(11, &vec24(&list))
}

/// What both sides of a completed TLS 1.2 handshake send, flight by flight, with a little data.
pub(crate) fn flights(hello: &Hello) -> Vec<(Who, Vec<u8>)> {
    let suite = 0xc02f;
    let mut exchange = vec![3, 0x00, 0x1d];
    exchange.extend(vec8(&[9; 32]));
    exchange.extend(u16s(&[0x0804]));
    exchange.extend(vec16(&[8; 256]));
    // Several messages in one record, and one record each.
    let mut first = server_hello(suite, Some("h2"));
    first.extend(certificate(&[900, 700]));
    let mut answer = record(22, 0x0303, &first);
    answer.extend(record(22, 0x0303, &message(12, &exchange)));
    answer.extend(record(22, 0x0303, &message(14, b"")));
    let mut second = record(22, 0x0303, &message(16, &vec8(&[7; 32])));
    second.extend(finished());
    vec![
        (Client, hello.record()),
        (Server, answer),
        (Client, second),
        (Server, finished()),
        (Client, record(23, 0x0303, &[1; 600])),
        (Server, record(23, 0x0303, &[2; 3000])),
    ]
}

/// ChangeCipherSpec, and a record that only looks random.
pub(crate) fn finished() -> Vec<u8> {
    let mut out = record(20, 0x0303, &[1]);
    out.extend(record(22, 0x0303, &[0xc7; 40]));
    out
}

/// A completed handshake in segments of at most `size` bytes.
pub(crate) fn talk(hello: &Hello, size: usize) -> Talk {
    let mut talk = Talk::default();
    talk.open();
    for (from, bytes) in flights(hello) {
        talk.send_cut(from, &bytes, size);
    }
    talk.close();
    talk
}
