//! Reads the heads of both sides line by line. Bodies are passed over: a new head is looked for where the
//! bytes of a segment begin, which costs no length to be believed.

use super::h2::{Frames, Head, PREFACE, Stepped, begins_settings};
use super::{Facts, MESSAGES_MAX, Request, Response, field, hpack};

/// Longest line; of a longer one the start is read.
const LINE_BYTES_MAX: usize = 6144;
/// Bytes of heads that are read in one direction.
const HEAD_BYTES_MAX: usize = 64 << 10;

const METHODS: [&str; 22] = [
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "SEARCH",
    "REPORT",
    "SUBSCRIBE",
    "RPC_IN_DATA",
    "RPC_OUT_DATA",
    "MERGE",
];

/// What the bytes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A line is not complete.
    Need,
    /// So many bytes are read.
    Used(usize),
    /// So many bytes are read, and the tunnel that a CONNECT asked for begins.
    Tunnel(usize),
    /// No more is wanted.
    End,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    /// Where a head may begin.
    #[default]
    Between,
    /// In a head.
    Head,
    /// In a line that is too long.
    LongLine,
    /// HTTP/2 frames.
    Frames,
    /// No more is wanted.
    End,
}

#[derive(Debug, Default)]
struct Half {
    state: State,
    head_bytes: usize,
    frames: Frames,
    /// The first header block was looked at.
    headed: bool,
}

/// Both sides of an HTTP conversation.
#[derive(Debug, Default)]
pub struct Reader {
    client: Half,
    server: Half,
    request: Request,
    response: Response,
}

/// Do bytes begin a message? `None`: they may, more are needed.
pub fn begins(bytes: &[u8], from_client: bool) -> Option<bool> {
    let is = |text: &[u8]| {
        let length = bytes.len().min(text.len());
        (bytes.get(..length) == text.get(..length)).then_some(length == text.len())
    };
    if !from_client {
        return match is(b"HTTP/1.") {
            Some(true) => Some(true),
            Some(false) if !bytes.is_empty() => None,
            // Others begin so, too: the client's preface tells.
            _ if begins_settings(bytes) != Some(false) => None,
            _ => Some(false),
        };
    }
    if bytes.is_empty() {
        return Some(false);
    }
    let mut partial = false;
    for method in METHODS.iter().copied().chain(["PRI * HTTP/2.0\r\n"]) {
        let (word, rest) = bytes.split_at_checked(method.len()).unwrap_or((bytes, &[]));
        match is(method.as_bytes()) {
            Some(true) if method.ends_with('\n') || rest.starts_with(b" ") => return Some(true),
            Some(true) if rest.is_empty() => partial = true,
            Some(false) if word.len() < method.len() => partial = true,
            _ => {}
        }
    }
    if partial { None } else { Some(false) }
}

impl Reader {
    /// Takes bytes of one side; `stamp` names their packet.
    pub fn read(&mut self, from_client: bool, bytes: &[u8], stamp: u64, facts: &mut Facts) -> Read {
        let half = if from_client {
            &mut self.client
        } else {
            &mut self.server
        };
        match half.state {
            // A server may speak before the preface comes.
            State::Between if !from_client && begins_settings(bytes) != Some(false) => {
                if begins_settings(bytes).is_none() {
                    return Read::Need;
                }
                half.state = State::Frames;
                self.read(from_client, bytes, stamp, facts)
            }
            State::Between => match begins(bytes, from_client) {
                None => Read::Need,
                Some(false) => Read::Used(bytes.len()),
                Some(true) => {
                    half.state = State::Head;
                    self.line(from_client, bytes, stamp, true, facts)
                }
            },
            State::Head => self.line(from_client, bytes, stamp, false, facts),
            State::LongLine => {
                let end = bytes.iter().position(|&byte| byte == b'\n');
                if end.is_some() {
                    half.state = State::Head;
                }
                Read::Used(end.map_or(bytes.len(), |end| end + 1))
            }
            State::Frames => {
                if !half.headed && half.frames.is_between() {
                    match half.frames.head(bytes) {
                        Head::Need => return Read::Need,
                        Head::Other => {}
                        Head::Closed => half.headed = true,
                        Head::Block(block) => {
                            half.headed = true;
                            message(from_client, block, stamp, facts);
                        }
                    }
                }
                let h2 = facts.h2.get_or_insert_default();
                match half.frames.read(from_client, stamp, bytes, h2) {
                    Stepped::Need => Read::Need,
                    Stepped::Over(over) => Read::Used(over),
                    Stepped::End => self.end(from_client),
                }
            }
            State::End => Read::Used(bytes.len()),
        }
    }

    fn end(&mut self, from_client: bool) -> Read {
        let half = if from_client {
            &mut self.client
        } else {
            &mut self.server
        };
        half.state = State::End;
        if self.client.state == State::End && self.server.state == State::End {
            return Read::End;
        }
        Read::Used(usize::MAX)
    }

    fn line(
        &mut self,
        from_client: bool,
        bytes: &[u8],
        stamp: u64,
        first: bool,
        facts: &mut Facts,
    ) -> Read {
        let half = if from_client {
            &mut self.client
        } else {
            &mut self.server
        };
        let head = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
        let (line, used) = match head.iter().position(|&byte| byte == b'\n') {
            Some(end) => (head.get(..end).unwrap_or(&[]), end + 1),
            None if head.len() == LINE_BYTES_MAX => {
                half.state = State::LongLine;
                (head, head.len())
            }
            None => {
                if first {
                    half.state = State::Between;
                }
                return Read::Need;
            }
        };
        half.head_bytes += used;
        if half.head_bytes > HEAD_BYTES_MAX {
            return self.end(from_client);
        }
        let line = line.trim_ascii_end();
        match (first, from_client) {
            (true, true) if line == b"PRI * HTTP/2.0" => return self.preface(bytes, facts),
            (true, true) => self.request_line(line),
            (true, false) => self.status_line(line),
            (false, _) if line.is_empty() => {
                return self.head_ends(from_client, used, stamp, facts);
            }
            (false, true) => self.request.field(line),
            (false, false) => self.response.field(line),
        }
        Read::Used(used)
    }

    fn preface(&mut self, bytes: &[u8], facts: &mut Facts) -> Read {
        if bytes.len() < PREFACE.len() {
            self.client.state = State::Between;
            return Read::Need;
        }
        self.client.state = State::Frames;
        self.server.state = State::Frames;
        facts.h2.get_or_insert_default();
        Read::Used(PREFACE.len())
    }

    fn request_line(&mut self, line: &[u8]) {
        let mut words = line.split(|&byte| byte == b' ');
        let method = words.next().unwrap_or(&[]);
        let target = words.next().unwrap_or(&[]);
        self.request = Request {
            method: method.into(),
            path: match method {
                b"CONNECT" => field::authority(target),
                _ => field::path(target),
            },
            ..Request::default()
        };
    }

    fn status_line(&mut self, line: &[u8]) {
        let digits = line
            .get(9..12)
            .and_then(|digits| core::str::from_utf8(digits).ok());
        self.response = Response {
            status: digits.and_then(|digits| digits.parse().ok()).unwrap_or(0),
            ..Response::default()
        };
    }

    fn head_ends(&mut self, from_client: bool, used: usize, stamp: u64, facts: &mut Facts) -> Read {
        if from_client {
            self.client.state = State::Between;
            let mut request = core::mem::take(&mut self.request);
            request.stamp = stamp;
            if facts.requests.len() < MESSAGES_MAX {
                facts.requests.push(request);
            }
            return Read::Used(used);
        }
        self.server.state = State::Between;
        let mut response = core::mem::take(&mut self.response);
        response.stamp = stamp;
        let status = response.status;
        let asked = facts.requests.last();
        let tunnel = asked.is_some_and(|asked| &*asked.method == b"CONNECT") && status / 100 == 2;
        let upgrades = |name: &[u8]| {
            let wanted = asked.and_then(|asked| asked.upgrade.as_deref());
            status == 101 && wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let (h2c, other) = (upgrades(b"h2c"), status == 101);
        if facts.responses.len() < MESSAGES_MAX {
            facts.responses.push(response);
        }
        if tunnel {
            return Read::Tunnel(used);
        }
        if h2c {
            self.server.state = State::Frames;
            facts.h2.get_or_insert_default().upgraded = true;
        } else if other {
            // WebSocket and others: nothing of HTTP follows.
            self.client.state = State::End;
            self.server.state = State::End;
            return Read::End;
        }
        let full = facts.requests.len() >= MESSAGES_MAX && facts.responses.len() >= MESSAGES_MAX;
        if full && facts.h2.is_none() {
            Read::End
        } else {
            Read::Used(used)
        }
    }
}

/// The first request or response of an HTTP/2 connection.
fn message(from_client: bool, block: &[u8], stamp: u64, facts: &mut Facts) {
    if from_client {
        let mut request = Request {
            stamp,
            ..Request::default()
        };
        hpack::fields(block, |name, value| match name {
            b":method" => request.method = field::text(value),
            b":path" => request.path = field::path(value),
            b":authority" => request.host = Some(field::authority(value)),
            _ => request.field(&[name, b":", value].concat()),
        });
        if facts.requests.len() < MESSAGES_MAX && !request.method.is_empty() {
            facts.requests.push(request);
        }
        return;
    }
    let mut response = Response {
        stamp,
        ..Response::default()
    };
    hpack::fields(block, |name, value| match name {
        b":status" => {
            let digits = core::str::from_utf8(value).ok();
            response.status = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        }
        _ => response.field(&[name, b":", value].concat()),
    });
    if facts.responses.len() < MESSAGES_MAX && response.status != 0 {
        facts.responses.push(response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_told() {
        assert_eq!(begins(b"GET / HTTP/1.1", true), Some(true));
        assert_eq!(begins(b"GE", true), None);
        assert_eq!(begins(b"GET", true), None);
        assert_eq!(begins(b"GETX", true), Some(false));
        assert_eq!(begins(b"PRI * HT", true), None);
        assert_eq!(begins(b"HTTP/1.1 200", false), Some(true));
        assert_eq!(begins(b"HTTP", false), None);
        assert_eq!(begins(b"", false), Some(false));
        assert_eq!(begins(b"SSH-2.0", true), Some(false));
    }
}
