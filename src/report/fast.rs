//! A handshake's NDJSON line, written without the machinery of a general serializer.
//!
//! Nine tenths of a record repeat from one connection to the next: the shapes of its hellos and its
//! certificates. Each of these is rendered once, by serde, and kept with the shared value; here the pieces
//! are put together. The line is, byte for byte, the one that serde makes of the same record: a test holds
//! them against each other for all bundled captures.

use super::ndjson::append;
use crate::record::{
    Certificate, ClientHello, Endpoint, Handshake, Outcome, Protocol, ServerHello, Timestamp,
    Transport,
};
use serde::Serialize;
use std::{io::Write as _, net::IpAddr, sync::Arc};

/// Appends the record as a JSON object with its `type`.
pub(super) fn handshake(record: &Handshake, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"handshake\",\"capture\":");
    append(&record.capture, out);
    time(",\"start\":\"", record.start, out);
    time(",\"end\":\"", record.end, out);
    out.extend_from_slice(match record.transport {
        Transport::Tcp => b",\"transport\":\"tcp\"",
        Transport::Udp => b",\"transport\":\"udp\"",
    });
    out.extend_from_slice(match record.protocol {
        Protocol::Tls => b",\"protocol\":\"tls\"",
        Protocol::Dtls => b",\"protocol\":\"dtls\"",
        Protocol::Quic => b",\"protocol\":\"quic\"",
    });
    endpoint(b",\"client\":", &record.client, out);
    endpoint(b",\"server\":", &record.server, out);
    list("encapsulation", &record.encapsulation, out);
    optional("starttls", record.starttls.as_ref(), out);
    optional("proxy", record.proxy.as_ref(), out);
    flag("renegotiation", record.renegotiation, out);
    client_hello("client_hello", record.client_hello.as_deref(), out);
    server_hello(
        "hello_retry_request",
        record.hello_retry_request.as_deref(),
        out,
    );
    client_hello(
        "second_client_hello",
        record.second_client_hello.as_deref(),
        out,
    );
    server_hello("server_hello", record.server_hello.as_deref(), out);
    optional("key_exchange", record.key_exchange.as_ref(), out);
    certificates("certificates", &record.certificates, out);
    certificates("client_certificates", &record.client_certificates, out);
    flag("certificate_requested", record.certificate_requested, out);
    flag("ocsp_stapled", record.ocsp_stapled, out);
    list("alerts", &record.alerts, out);
    optional("tcp", record.tcp.as_ref(), out);
    optional("application_bytes", record.application_bytes.as_ref(), out);
    outcome(record.outcome, out);
    optional("stopped_after", record.stopped_after.as_ref(), out);
    optional("timing", Some(&record.timing), out);
    list("defects", &record.defects, out);
    optional("findings", Some(&record.findings), out);
    optional("observed", record.observed.as_ref(), out);
    optional("process_id", record.process_id.as_ref(), out);
    optional("dialogue", record.dialogue.as_ref(), out);
    optional("origin", record.origin.as_ref(), out);
    optional("http", record.http.as_ref(), out);
    optional("quic", record.quic.as_ref(), out);
    out.push(b'}');
}

fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn optional<T: Serialize>(name: &str, value: Option<&T>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        key(name, out);
        append(value, out);
    }
}

fn list<T: Serialize>(name: &str, values: &Vec<T>, out: &mut Vec<u8>) {
    optional(name, Some(values).filter(|values| !values.is_empty()), out);
}

fn flag(name: &str, value: bool, out: &mut Vec<u8>) {
    if value {
        key(name, out);
        out.extend_from_slice(b"true");
    }
}

fn number(name: &str, value: u64, out: &mut Vec<u8>) {
    key(name, out);
    append(&value, out);
}

fn time(start: &str, time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(&time.rfc3339());
    out.push(b'"');
}

fn endpoint(start: &[u8], endpoint: &Endpoint, out: &mut Vec<u8>) {
    out.extend_from_slice(start);
    out.extend_from_slice(b"{\"ip\":\"");
    match endpoint.ip {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                append(&octet, out);
            }
        }
        // A Vec takes all bytes.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
    out.push(b'"');
    number("port", u64::from(endpoint.port), out);
    out.push(b'}');
}

fn outcome(outcome: Outcome, out: &mut Vec<u8>) {
    key("outcome", out);
    out.push(b'"');
    out.extend_from_slice(outcome.as_str().as_bytes());
    out.push(b'"');
}

/// The inside of an object, rendered once.
fn inside<T: Serialize>(value: &T) -> Box<[u8]> {
    let mut json = Vec::with_capacity(2048);
    append(value, &mut json);
    json.strip_prefix(b"{")
        .and_then(|json| json.strip_suffix(b"}"))
        .unwrap_or(&[])
        .into()
}

fn client_hello(name: &str, hello: Option<&ClientHello>, out: &mut Vec<u8>) {
    let Some(hello) = hello else { return };
    key(name, out);
    out.extend_from_slice(b"{\"frame\":");
    append(&hello.frame, out);
    number("segments", u64::from(hello.segments), out);
    number("length", u64::from(hello.length), out);
    optional("sni", hello.sni.as_ref(), out);
    number("session_id_length", u64::from(hello.session_id_length), out);
    optional(
        "session_ticket_length",
        hello.session_ticket_length.as_ref(),
        out,
    );
    out.push(b',');
    out.extend_from_slice(hello.shape.rendered.get(|| inside(&*hello.shape)));
    out.push(b'}');
}

fn server_hello(name: &str, hello: Option<&ServerHello>, out: &mut Vec<u8>) {
    let Some(hello) = hello else { return };
    key(name, out);
    out.extend_from_slice(b"{\"frame\":");
    append(&hello.frame, out);
    key("resumed", out);
    append(&hello.resumed, out);
    out.push(b',');
    out.extend_from_slice(hello.shape.rendered.get(|| inside(&*hello.shape)));
    out.push(b'}');
}

fn certificates(name: &str, certificates: &[Arc<Certificate>], out: &mut Vec<u8>) {
    if certificates.is_empty() {
        return;
    }
    key(name, out);
    for (index, certificate) in certificates.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[{" } else { b",{" });
        out.extend_from_slice(certificate.rendered.get(|| inside(&**certificate)));
        out.push(b'}');
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::super::ndjson::render_by_serde;
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_line_is_the_one_that_serde_makes() {
        for record in sample::run()
            .0
            .into_iter()
            .chain([sample::established(), sample::refused()])
        {
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            handshake(&record, &mut fast);
            render_by_serde(&record, &mut slow);
            assert_eq!(
                String::from_utf8_lossy(&fast),
                String::from_utf8_lossy(&slow)
            );
            // And again, from what was kept.
            let mut again = Vec::new();
            handshake(&record, &mut again);
            assert_eq!(fast, again);
        }
    }
}
