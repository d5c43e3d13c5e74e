//! What Windows itself wrote about TLS while the packets passed: Schannel's alerts and results, HTTP.sys' handshakes
//! and bindings, and which process owns a TCP connection.
//!
//! Layouts are those of the published manifests. Older builds have fewer fields at the end, so each field is taken
//! as far as the event goes. Certificates, paths and tokens are not kept.

use super::events::{Event, Kind};
use crate::capture::le::{Fields, Guid};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The provider of the System log's Schannel events.
pub(super) const SCHANNEL: Guid = Guid::new(0x1F67_8132, 0x5938, 0x4686, 0x9FDC_C8FF_68F1_5C85);
/// Microsoft-Windows-HttpService.
pub(super) const HTTP_SYS: Guid = Guid::new(0xDD5E_F90A, 0x6398, 0x47A4, 0xAD34_4DCE_CDEF_795F);
/// Microsoft-Windows-TCPIP.
pub(super) const TCPIP: Guid = Guid::new(0x2F07_E2EE, 0x15DB, 0x40F1, 0x90EF_9D7B_A282_188A);

/// Facts that wait for their reader.
const FACTS_MAX: usize = 65_536;
/// Characters kept of a name.
const NAME_CHARS_MAX: usize = 256;

/// One fact, and who wrote it when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When, nanoseconds since 1970, UTC.
    pub time_ns: i64,
    /// The process that it happened in.
    pub process_id: Option<u32>,
    /// What happened.
    pub fact: Fact,
}

/// What Windows wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fact {
    /// Schannel 36871: no credential could be made, for example because the protocol is disabled.
    CredentialFailed {
        /// "client" or "server", in the machine's language.
        side: String,
        /// Schannel's internal state.
        state: u32,
    },
    /// Schannel 36874: no cipher suite in common with the peer.
    NoCommonSuite {
        /// The protocol that the peer asked for.
        protocol: String,
    },
    /// Schannel 36880: a handshake is done.
    Negotiated {
        /// "client" or "server", in the machine's language.
        side: String,
        /// The version's name.
        protocol: String,
        /// The cipher suite's number.
        suite: u32,
        /// Name of the peer, where the event has it.
        target: Option<String>,
    },
    /// Schannel 36887: the peer sent a fatal alert.
    AlertReceived {
        /// The alert's number.
        alert: u32,
    },
    /// Schannel 36888: this machine sent a fatal alert.
    AlertSent {
        /// The alert's number.
        alert: u32,
        /// Schannel's internal state.
        state: u32,
        /// Name of the peer, where the event has it.
        target: Option<String>,
    },
    /// HTTP.sys 61: no certificate is bound to this address.
    NoBinding {
        /// The local address.
        local: SocketAddr,
    },
    /// HTTP.sys 96: a handshake failed.
    HandshakeFailed {
        /// The server's side.
        local: SocketAddr,
        /// The client's side.
        remote: SocketAddr,
        /// The name that the client asked for.
        server_name: Option<String>,
        /// Windows' status.
        status: Option<u32>,
    },
    /// TCPIP 1300, 1017, 1033 and the like: a process owns a connection.
    Owner {
        /// This machine's side.
        local: SocketAddr,
        /// The other side.
        remote: SocketAddr,
        /// The owner.
        process_id: u32,
    },
    /// TCPIP 1183, 1184, 1045: a connection came to a bad end.
    ConnectionLost {
        /// This machine's side.
        local: SocketAddr,
        /// The other side.
        remote: SocketAddr,
        /// How.
        how: Lost,
    },
}

/// How a connection came to a bad end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nobody answered.
    TimedOut,
    /// The other side refused it.
    Refused,
    /// The other side reset it.
    Reset,
}

/// In words, with Windows' event number: what an administrator finds in the event log, too. Facts that only name the
/// owner of a connection are for the record, not for reading.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", crate::record::Timestamp(self.time_ns))?;
        let name = |name: &Option<String>| {
            name.as_deref()
                .map(|name| format!(" ({name})"))
                .unwrap_or_default()
        };
        match &self.fact {
            Fact::CredentialFailed { side, state } => {
                write!(
                    f,
                    "Schannel 36871: no TLS {side} credential could be made, internal state {state}"
                )?;
            }
            Fact::NoCommonSuite { protocol } => write!(
                f,
                "Schannel 36874: no cipher suite in common for {protocol}"
            )?,
            Fact::Negotiated {
                side,
                protocol,
                suite,
                target,
            } => {
                write!(
                    f,
                    "Schannel 36880: {side} negotiated {protocol}, suite 0x{suite:04x}{}",
                    name(target)
                )?;
            }
            Fact::AlertReceived { alert } => {
                write!(f, "Schannel 36887: received the fatal alert {alert}")?
            }
            Fact::AlertSent {
                alert,
                state,
                target,
            } => {
                write!(
                    f,
                    "Schannel 36888: sent the fatal alert {alert}, internal state {state}{}",
                    name(target)
                )?;
            }
            Fact::NoBinding { local } => {
                write!(f, "HTTP.sys 61: no certificate is bound to {local}")?
            }
            Fact::HandshakeFailed {
                local,
                remote,
                server_name,
                status,
            } => {
                write!(
                    f,
                    "HTTP.sys 96: handshake of {remote} with {local} failed{}",
                    name(server_name)
                )?;
                if let Some(status) = status {
                    write!(f, ", status 0x{status:08x}")?;
                }
            }
            Fact::Owner {
                local,
                remote,
                process_id,
            } => {
                write!(f, "process {process_id} owns {local} - {remote}")?;
            }
            Fact::ConnectionLost { local, remote, how } => {
                let how = match how {
                    Lost::TimedOut => "nobody answered",
                    Lost::Refused => "refused by the other side",
                    Lost::Reset => "reset by the other side",
                };
                write!(f, "TCPIP: connection {local} - {remote}: {how}")?;
            }
        }
        match self.process_id {
            Some(process) => write!(f, " (process {process})"),
            None => Ok(()),
        }
    }
}

/// The facts that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    facts: Vec<Evidence>,
    beyond_cap: u64,
}

impl Ledger {
    /// Keeps what an event says, if it is one of those above.
    pub(super) fn take(&mut self, event: &Event<'_>, time_ns: i64) {
        if event.kind != Kind::Manifest {
            return;
        }
        let fields = Fields(event.payload);
        let fact = if event.provider == SCHANNEL {
            schannel(event.id, fields)
        } else if event.provider == HTTP_SYS {
            http_sys(event, fields)
        } else if event.provider == TCPIP {
            tcpip(event, fields)
        } else {
            None
        };
        let Some(fact) = fact else { return };
        if self.facts.len() < FACTS_MAX {
            self.facts.push(Evidence {
                time_ns,
                process_id: event.process_id,
                fact,
            });
        } else {
            self.beyond_cap += 1;
        }
    }

    pub(super) fn take_all(&mut self) -> Vec<Evidence> {
        std::mem::take(&mut self.facts)
    }

    pub(super) fn beyond_cap(&self) -> u64 {
        self.beyond_cap
    }
}

fn schannel(id: u16, mut fields: Fields<'_>) -> Option<Fact> {
    Some(match id {
        36871 => Fact::CredentialFailed {
            side: name(fields.utf16()),
            state: fields.u32()?,
        },
        36874 => Fact::NoCommonSuite {
            protocol: name(fields.utf16()),
        },
        36880 => {
            let (side, protocol) = (name(fields.utf16()), name(fields.utf16()));
            let suite = fields.u32()?;
            fields.u32();
            fields.u64();
            Fact::Negotiated {
                side,
                protocol,
                suite,
                target: some_name(fields.utf16()),
            }
        }
        36887 => Fact::AlertReceived {
            alert: fields.u32()?,
        },
        36888 => Fact::AlertSent {
            alert: fields.u32()?,
            state: fields.u32()?,
            target: some_name(fields.utf16()),
        },
        _ => return None,
    })
}

fn http_sys(event: &Event<'_>, mut fields: Fields<'_>) -> Option<Fact> {
    Some(match event.id {
        61 => {
            fields.pointer(event.pointer_bytes)?;
            Fact::NoBinding {
                local: address(&mut fields)?,
            }
        }
        96 => {
            let (local, remote) = (address(&mut fields)?, address(&mut fields)?);
            let server_name = some_name(fields.utf16());
            let thumbprint = fields.u16().map(usize::from);
            // Two BOOLs stand before the status.
            let status = thumbprint
                .and_then(|bytes| fields.take(bytes + 8))
                .and_then(|_| fields.u32());
            Fact::HandshakeFailed {
                local,
                remote,
                server_name,
                status,
            }
        }
        _ => return None,
    })
}

fn tcpip(event: &Event<'_>, mut fields: Fields<'_>) -> Option<Fact> {
    match event.id {
        1300 => {
            fields.pointer(event.pointer_bytes)?;
            let (local, remote) = (address(&mut fields)?, address(&mut fields)?);
            fields.u32()?;
            owner(local, remote, fields.u32()?)
        }
        1017 | 1033 => {
            let (local, remote) = (address(&mut fields)?, address(&mut fields)?);
            fields.u32()?;
            owner(local, remote, fields.u32()?)
        }
        1045 => {
            let (local, remote) = (address(&mut fields)?, address(&mut fields)?);
            Some(Fact::ConnectionLost {
                local,
                remote,
                how: Lost::TimedOut,
            })
        }
        1183 | 1184 => {
            fields.pointer(event.pointer_bytes)?;
            let (local, remote) = (address(&mut fields)?, address(&mut fields)?);
            let how = if event.id == 1183 {
                Lost::Refused
            } else {
                Lost::Reset
            };
            Some(Fact::ConnectionLost { local, remote, how })
        }
        _ => None,
    }
}

fn owner(local: SocketAddr, remote: SocketAddr, process_id: u32) -> Option<Fact> {
    (process_id != 0).then_some(Fact::Owner {
        local,
        remote,
        process_id,
    })
}

/// A socket address behind its own length.
fn address(fields: &mut Fields<'_>) -> Option<SocketAddr> {
    let length = usize::try_from(fields.u32()?).ok()?;
    let bytes = fields.take(length)?;
    let mut inner = Fields(bytes);
    let family = inner.u16()?;
    let port = inner.u16()?.swap_bytes();
    let ip = match family {
        2 => IpAddr::V4(Ipv4Addr::from(*inner.take(4)?.first_chunk::<4>()?)),
        23 => {
            inner.u32()?;
            IpAddr::V6(Ipv6Addr::from(*inner.take(16)?.first_chunk::<16>()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn name(text: String) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}

fn some_name(text: String) -> Option<String> {
    Some(name(text)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(port: u16) -> Vec<u8> {
        let mut bytes = vec![16, 0, 0, 0, 2, 0];
        bytes.extend(port.to_be_bytes());
        bytes.extend([192, 0, 2, 1]);
        bytes.extend([0; 8]);
        bytes
    }

    fn event<'a>(provider: Guid, id: u16, payload: &'a [u8]) -> Event<'a> {
        Event {
            kind: Kind::Manifest,
            provider,
            id,
            payload,
            ..Event::unreadable(0)
        }
    }

    fn facts(event: &Event<'_>) -> Vec<Fact> {
        let mut ledger = Ledger::default();
        ledger.take(event, 0);
        ledger
            .take_all()
            .into_iter()
            .map(|evidence| evidence.fact)
            .collect()
    }

    #[test]
    fn an_alert_that_was_sent() {
        let mut payload = vec![40, 0, 0, 0, 0xB5, 4, 0, 0];
        let old = Fact::AlertSent {
            alert: 40,
            state: 1205,
            target: None,
        };
        assert_eq!(facts(&event(SCHANNEL, 36888, &payload)), [old]);
        payload.extend([b'a', 0, 0, 0]);
        let new = Fact::AlertSent {
            alert: 40,
            state: 1205,
            target: Some("a".to_owned()),
        };
        assert_eq!(facts(&event(SCHANNEL, 36888, &payload)), [new]);
        assert_eq!(facts(&event(SCHANNEL, 36888, &payload[..7])), []);
    }

    #[test]
    fn the_owner_of_a_connection() {
        let mut payload = v4(443);
        payload.extend(v4(50_000));
        payload.extend([0, 0, 0, 0, 7, 0, 0, 0]);
        let [
            Fact::Owner {
                local,
                remote,
                process_id: 7,
            },
        ] = facts(&event(TCPIP, 1033, &payload))[..]
        else {
            panic!()
        };
        assert_eq!(
            (local.to_string().as_str(), remote.port()),
            ("192.0.2.1:443", 50_000)
        );
        for length in 0..payload.len() {
            assert_eq!(facts(&event(TCPIP, 1033, &payload[..length])), []);
        }
    }

    #[test]
    fn a_failed_handshake_of_http_sys() {
        let mut payload = v4(443);
        payload.extend(v4(50_000));
        payload.extend([b'x', 0, 0, 0, 2, 0, 9, 9]);
        payload.extend([0; 8]);
        payload.extend(0x8009_0331_u32.to_le_bytes());
        let [
            Fact::HandshakeFailed {
                server_name: Some(name),
                status: Some(0x8009_0331),
                ..
            },
        ] = &facts(&event(HTTP_SYS, 96, &payload))[..]
        else {
            panic!()
        };
        assert_eq!(name, "x");
    }
}
