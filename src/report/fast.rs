//! A handshake's NDJSON line, written without the machinery of a general serializer.
//!
//! Nine tenths of a record repeat from one connection to the next: the shapes of its hellos and its
//! certificates. Each of these is rendered once, by serde, and kept with the shared value; here the pieces
//! are put together, and the numbers that each connection has of its own are written plainly. The line is, byte for byte, the one that serde makes of the same record: a test holds
//! them against each other for all bundled captures.

use super::{json_string::string, ndjson::append};
use crate::record::{
    Alert, Certificate, Chain, ClientHello, Close, Code16, Dotted, Endpoint, Handshake,
    KeyExchange, Observed, Protocol, ServerHello, Side, Tcp, Timestamp, Timing, Transport,
};
use serde::Serialize;
use std::{io::Write as _, net::IpAddr};

/// Appends the record as a JSON object with its `type`.
pub(super) fn handshake(record: &Handshake, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"handshake\",");
    rest(record, out);
}

/// Appends the record as a JSON object.
pub(super) fn bare(record: &Handshake, out: &mut Vec<u8>) {
    out.push(b'{');
    rest(record, out);
}

fn rest(record: &Handshake, out: &mut Vec<u8>) {
    text(b"\"capture\":", &record.capture, out);
    time(b",\"start\":\"", record.start, out);
    time(b",\"end\":\"", record.end, out);
    out.extend_from_slice(match record.transport {
        Transport::Tcp => b",\"transport\":\"tcp\"",
        Transport::Udp => b",\"transport\":\"udp\"",
    });
    out.extend_from_slice(match record.protocol {
        Protocol::Tls => b",\"protocol\":\"tls\"",
        Protocol::Dtls => b",\"protocol\":\"dtls\"",
        Protocol::Quic => b",\"protocol\":\"quic\"",
    });
    endpoint(b",\"client\":{\"ip\":\"", &record.client, out);
    endpoint(b",\"server\":{\"ip\":\"", &record.server, out);
    list("encapsulation", &record.encapsulation, out);
    optional("starttls", record.starttls.as_ref(), out);
    optional("proxy", record.proxy.as_ref(), out);
    flag(b",\"renegotiation\":true", record.renegotiation, out);
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
    key_exchange(record.key_exchange.as_ref(), out);
    certificates("certificates", &record.certificates, out);
    certificates("client_certificates", &record.client_certificates, out);
    flag(
        b",\"certificate_requested\":true",
        record.certificate_requested,
        out,
    );
    flag(b",\"ocsp_stapled\":true", record.ocsp_stapled, out);
    optional("ocsp", record.ocsp.as_ref(), out);
    alerts(&record.alerts, out);
    tcp(record.tcp.as_ref(), out);
    if let Some(bytes) = &record.application_bytes {
        number(b",\"application_bytes\":{\"client\":", bytes.client, out);
        number(b",\"server\":", bytes.server, out);
        out.push(b'}');
    }
    out.extend_from_slice(b",\"outcome\":\"");
    out.extend_from_slice(record.outcome.as_str().as_bytes());
    out.push(b'"');
    if let Some(kind) = record.stopped_after.as_deref() {
        text(b",\"stopped_after\":", kind, out);
    }
    timing(&record.timing, out);
    list("defects", &record.defects, out);
    texts(b",\"findings\":[", &record.findings, out);
    observed(record.observed.as_deref(), out);
    numbers(b",\"process_id\":", record.process_id, out);
    optional("recording", record.recording.as_ref(), out);
    optional("dialogue", record.dialogue.as_ref(), out);
    optional("origin", record.origin.as_ref(), out);
    optional("http", record.http.as_ref(), out);
    optional("quic", record.quic.as_ref(), out);
    flag(b",\"decrypted\":true", record.decrypted, out);
    optional("inside", record.inside.as_ref(), out);
    out.push(b'}');
}

fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// What is rare is left to serde.
fn optional<T: Serialize>(name: &str, value: Option<&T>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        key(name, out);
        append(value, out);
    }
}

fn list<T: Serialize>(name: &str, values: &Vec<T>, out: &mut Vec<u8>) {
    optional(name, Some(values).filter(|values| !values.is_empty()), out);
}

fn flag(text: &[u8], value: bool, out: &mut Vec<u8>) {
    if value {
        out.extend_from_slice(text);
    }
}

/// `before` is all that stands before the number: comma, key and colon.
pub(super) fn number<I: itoa::Integer>(before: &[u8], value: I, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn numbers<I: itoa::Integer>(before: &[u8], value: Option<I>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        number(before, value, out);
    }
}

pub(super) fn text(before: &[u8], value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    string(value, out);
}

pub(super) fn texts<T: AsRef<str>>(before: &[u8], values: &[T], out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    for (index, value) in values.iter().enumerate() {
        text(if index == 0 { b"" } else { b"," }, value.as_ref(), out);
    }
    out.push(b']');
}

fn code(before: &[u8], value: Option<Code16>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(before);
        out.push(b'"');
        out.extend_from_slice(&value.hex());
        out.push(b'"');
    }
}

fn side(before: &[u8], value: Option<Side>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(before);
        out.extend_from_slice(match value {
            Side::Client => b"\"client\"",
            Side::Server => b"\"server\"",
        });
    }
}

pub(super) fn time(before: &[u8], time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    out.extend_from_slice(&time.rfc3339());
    out.push(b'"');
}

fn endpoint(before: &[u8], endpoint: &Endpoint, out: &mut Vec<u8>) {
    match endpoint.ip {
        IpAddr::V4(ip) => {
            out.extend_from_slice(before);
            out.extend_from_slice(Dotted::of(ip).as_bytes());
        }
        IpAddr::V6(ip) => {
            out.extend_from_slice(before);
            // A Vec takes all bytes.
            drop(write!(out, "{ip}"));
        }
    }
    number(b"\",\"port\":", endpoint.port, out);
    out.push(b'}');
}

fn key_exchange(exchange: Option<&KeyExchange>, out: &mut Vec<u8>) {
    let Some(exchange) = exchange else { return };
    text(b",\"key_exchange\":{\"kind\":", &exchange.kind, out);
    code(b",\"group\":", exchange.group, out);
    numbers(b",\"dh_bits\":", exchange.dh_bits, out);
    if let Some(group) = exchange.dh_group.as_deref() {
        text(b",\"dh_group\":", group, out);
    }
    code(
        b",\"signature_algorithm\":",
        exchange.signature_algorithm,
        out,
    );
    out.push(b'}');
}

fn alerts(alerts: &[Alert], out: &mut Vec<u8>) {
    for (index, alert) in alerts.iter().enumerate() {
        let before: &[u8] = if index == 0 {
            b",\"alerts\":[{\"frame\":"
        } else {
            b",{\"frame\":"
        };
        number(before, alert.frame, out);
        side(b",\"from\":", Some(alert.from), out);
        numbers(b",\"level\":", alert.level, out);
        numbers(b",\"code\":", alert.code, out);
        if let Some(description) = alert.description.as_deref() {
            text(b",\"description\":", description, out);
        }
        flag(b",\"encrypted\":true", alert.encrypted, out);
        out.push(b'}');
    }
    flag(b"]", !alerts.is_empty(), out);
}

fn tcp(tcp: Option<&Tcp>, out: &mut Vec<u8>) {
    let Some(tcp) = tcp else { return };
    out.extend_from_slice(b",\"tcp\":{");
    if let Some(frame) = tcp.syn_frame {
        number(b"\"syn_frame\":", frame, out);
        out.push(b',');
    }
    number(b"\"syn_retransmits\":", tcp.syn_retransmits, out);
    numbers(b",\"rtt_us\":", tcp.rtt_us, out);
    numbers(b",\"rtt_server_us\":", tcp.rtt_server_us, out);
    numbers(b",\"rtt_client_us\":", tcp.rtt_client_us, out);
    side(b",\"closed_by\":", tcp.closed_by, out);
    out.extend_from_slice(match tcp.close {
        Close::Fin => b",\"close\":\"fin\"".as_slice(),
        Close::Rst => b",\"close\":\"rst\"",
        Close::None => b",\"close\":\"none\"",
    });
    numbers(b",\"close_frame\":", tcp.close_frame, out);
    number(b",\"gaps\":", tcp.gaps, out);
    number(b",\"retransmits\":", tcp.retransmits, out);
    out.push(b'}');
}

/// Takes the comma before the first of some fields of which any may be missing.
fn closed(start: usize, out: &mut Vec<u8>) {
    if out.get(start) == Some(&b',') {
        out.remove(start);
    }
    out.push(b'}');
}

fn timing(timing: &Timing, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"timing\":{");
    let start = out.len();
    numbers(b",\"tcp_connect_us\":", timing.tcp_connect_us, out);
    numbers(
        b",\"client_hello_to_server_hello_us\":",
        timing.client_hello_to_server_hello_us,
        out,
    );
    numbers(b",\"handshake_us\":", timing.handshake_us, out);
    closed(start, out);
}

fn observed(observed: Option<&Observed>, out: &mut Vec<u8>) {
    let Some(seen) = observed else { return };
    out.extend_from_slice(b",\"observed\":{");
    let start = out.len();
    optional("icmp", seen.icmp.as_ref(), out);
    numbers(b",\"syn_ack_ttl\":", seen.syn_ack_ttl, out);
    numbers(b",\"close_ttl\":", seen.close_ttl, out);
    numbers(b",\"client_mss\":", seen.client_mss, out);
    numbers(b",\"server_mss\":", seen.server_mss, out);
    optional("without_payload", seen.without_payload.as_ref(), out);
    optional("hello_acknowledged", seen.hello_acknowledged.as_ref(), out);
    numbers(b",\"unanswered_us\":", seen.unanswered_us, out);
    numbers(b",\"hello_retransmits\":", seen.hello_retransmits, out);
    numbers(
        b",\"server_flight_unacknowledged_bytes\":",
        seen.server_flight_unacknowledged_bytes,
        out,
    );
    numbers(
        b",\"server_flight_retransmits\":",
        seen.server_flight_retransmits,
        out,
    );
    numbers(b",\"client_hello_us\":", seen.client_hello_us, out);
    numbers(b",\"client_reply_us\":", seen.client_reply_us, out);
    optional("sslv2_hello", seen.sslv2_hello.as_ref(), out);
    optional("sslv2_cipher_kinds", seen.sslv2_cipher_kinds.as_ref(), out);
    optional("sslv2_cipher_kind", seen.sslv2_cipher_kind.as_ref(), out);
    optional(
        "client_certificate_empty",
        seen.client_certificate_empty.as_ref(),
        out,
    );
    numbers(b",\"authority_names\":", seen.authority_names, out);
    numbers(
        b",\"certificate_request_bytes\":",
        seen.certificate_request_bytes,
        out,
    );
    numbers(
        b",\"first_client_record_bytes\":",
        seen.first_client_record_bytes,
        out,
    );
    numbers(b",\"server_flight_bytes\":", seen.server_flight_bytes, out);
    numbers(
        b",\"late_handshake_frame\":",
        seen.late_handshake_frame,
        out,
    );
    numbers(
        b",\"encrypted_renegotiations\":",
        seen.encrypted_renegotiations,
        out,
    );
    side(b",\"late_handshake_from\":", seen.late_handshake_from, out);
    numbers(
        b",\"hello_verify_request_frame\":",
        seen.hello_verify_request_frame,
        out,
    );
    closed(start, out);
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
    number(b"{\"frame\":", hello.frame, out);
    number(b",\"segments\":", hello.segments, out);
    number(b",\"length\":", hello.length, out);
    if let Some(sni) = hello.sni.as_deref() {
        text(b",\"sni\":", sni, out);
    }
    number(b",\"session_id_length\":", hello.session_id_length, out);
    numbers(
        b",\"session_ticket_length\":",
        hello.session_ticket_length,
        out,
    );
    optional("psk_identities", hello.psk_identities.as_ref(), out);
    optional("ech_outer", hello.ech_outer.as_ref(), out);
    out.push(b',');
    out.extend_from_slice(hello.shape.rendered.get(|| inside(&*hello.shape)));
    out.push(b'}');
}

fn server_hello(name: &str, hello: Option<&ServerHello>, out: &mut Vec<u8>) {
    let Some(hello) = hello else { return };
    key(name, out);
    number(b"{\"frame\":", hello.frame, out);
    out.extend_from_slice(match hello.resumed {
        true => b",\"resumed\":true".as_slice(),
        false => b",\"resumed\":false",
    });
    optional("psk", hello.psk.as_ref(), out);
    out.push(b',');
    out.extend_from_slice(hello.shape.rendered.get(|| inside(&*hello.shape)));
    out.push(b'}');
}

fn certificates(name: &str, chain: &Chain, out: &mut Vec<u8>) {
    if chain.is_empty() {
        return;
    }
    key(name, out);
    // A chain keeps its JSON, or its certificates keep theirs: not both.
    let whole = || {
        let mut json = Vec::new();
        links(chain, &mut json, |certificate, out| {
            out.extend_from_slice(&inside(certificate));
        });
        json.into()
    };
    match chain.rendered(whole) {
        Some(json) => out.extend_from_slice(json),
        None => links(chain, out, |certificate, out| {
            out.extend_from_slice(certificate.rendered.get(|| inside(certificate)));
        }),
    }
}

fn links(chain: &Chain, out: &mut Vec<u8>, render: impl Fn(&Certificate, &mut Vec<u8>)) {
    for (index, certificate) in chain.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[{" } else { b",{" });
        render(certificate, out);
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
        let mut stapled = sample::established();
        stapled.ocsp_stapled = true;
        stapled.ocsp = Some(Box::new(crate::record::Ocsp {
            status: "good".into(),
            this_update: Some(stapled.start),
            next_update: None,
        }));
        if let Some(hello) = &mut stapled.client_hello {
            let identity = crate::record::PskIdentity {
                length: 192,
                obfuscated_ticket_age: u32::MAX,
            };
            hello.psk_identities = Some([identity; 2].into());
            hello.ech_outer = Some(Box::new(crate::record::EchOuter {
                config_id: 7,
                kdf: Code16(1),
                kdf_name: Some("HKDF-SHA256".into()),
                aead: Code16(9),
                aead_name: None,
                enc_length: 32,
                payload_length: 239,
                likely: Some(crate::record::EchLikely {
                    kind: "real".into(),
                    public_name: Some("public.example".into()),
                    lookup: "secret.example".into(),
                    told: stapled.start,
                }),
            }));
        }
        if let Some(hello) = &mut stapled.server_hello {
            hello.psk = Some(crate::record::Psk::External);
        }
        for record in
            sample::run()
                .0
                .into_iter()
                .chain([sample::established(), sample::refused(), stapled])
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
