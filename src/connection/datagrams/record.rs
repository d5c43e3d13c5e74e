//! How a UDP conversation ended, and its record.

use super::{Conversation, QuicFacts, Said, Speaks};
use crate::connection::outcome::{CLOSED_AT_ONCE_BYTES, CLOSED_AT_ONCE_NS, SILENCE_NS};
use crate::connection::session::Draft;
use crate::connection::{Arrival, Context, Ended, Finished};
use crate::flow::Direction;
use crate::quic::{Facts, version::Version};
use crate::record::{
    ApplicationBytes, Defect, Endpoint, Handshake, Observed, Outcome, Protocol, Quic, Side,
    Timestamp, Transport,
};
use crate::tls::fingerprint::Carrier;

impl Conversation {
    fn outcome(&self, draft: &Draft, closed_by: Option<Direction>, ended: Ended) -> Outcome {
        if let Some(complete_ns) = draft.complete_ns {
            return self.outcome_complete(draft, complete_ns);
        }
        if draft.fatal_alert(Side::Server) {
            return Outcome::ServerAlert;
        }
        if draft.fatal_alert(Side::Client) {
            return Outcome::ClientAlert;
        }
        if let Some(from) = closed_by {
            return if draft.client == Some(from) {
                Outcome::ClientAbort
            } else if draft.server_hello.is_some() {
                Outcome::LateFailure
            } else {
                Outcome::HelloClosed
            };
        }
        let too_early = match ended {
            Ended::CaptureEnd { time_ns } => time_ns.saturating_sub(self.last_ns) < SILENCE_NS,
            Ended::Evicted => true,
            Ended::Closed | Ended::Idle | Ended::Replaced => false,
        };
        let client = draft.client.unwrap_or(Direction::Up);
        let silent = self.datagrams[client.reverse() as usize] == 0;
        // Silence for long enough, or a hello sent again and again within that time.
        let waited = self.last_ns.saturating_sub(self.start_ns) >= SILENCE_NS || !too_early;
        if draft.client_hello.is_some() && silent && waited {
            Outcome::HelloUnanswered
        } else {
            Outcome::Truncated
        }
    }

    fn is_cut(&self) -> bool {
        matches!(&self.speaks, Speaks::Quic(session) if session.machine.is_cut())
    }

    /// A client that closes at once says so in DTLS; QUIC hides it.
    fn outcome_complete(&self, draft: &Draft, complete_ns: i64) -> Outcome {
        let bytes = application_bytes(draft);
        let little = bytes.client < CLOSED_AT_ONCE_BYTES && bytes.server < CLOSED_AT_ONCE_BYTES;
        let soon = self.last_ns.saturating_sub(complete_ns) < CLOSED_AT_ONCE_NS;
        if draft.flight(Side::Client).encrypted_alert && little && soon {
            Outcome::EstablishedThenClosed
        } else {
            Outcome::Established
        }
    }

    pub(super) fn emit(
        &self,
        mut draft: Draft,
        quic: QuicFacts,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
        ended: Ended,
    ) {
        if !draft.has_handshake() {
            return;
        }
        let close = quic.as_ref().and_then(|(facts, _)| facts.close);
        let outcome = self.outcome(&draft, close.map(|(from, _)| from), ended);
        let client = draft.client.unwrap_or(Direction::Up);
        let endpoint = |direction: Direction| {
            let (ip, port) = context.key.sender(direction);
            Endpoint { ip, port }
        };
        let mut defects = core::mem::take(&mut draft.defects);
        if self.datagrams.contains(&0) && outcome != Outcome::HelloUnanswered {
            defects.push(Defect::OneDirection);
        }
        if draft.client_hello.is_none() {
            defects.push(Defect::MidStream);
        }
        if self.is_cut() {
            defects.push(Defect::SnapLength);
        }
        defects.sort_unstable();
        defects.dedup();
        let encapsulation = self.around.as_ref().map(|around| {
            let layers = around.layers();
            layers.map(|layer| layer.to_string().into()).collect()
        });
        let observed = observed(&draft);
        let record = Handshake {
            capture: context.captures.capture(self.capture),
            start: Timestamp(self.start_ns),
            end: Timestamp(self.last_ns),
            transport: Transport::Udp,
            protocol: match draft.carrier {
                Carrier::Quic => Protocol::Quic,
                Carrier::Dtls => Protocol::Dtls,
                Carrier::Tcp => Protocol::Tls,
            },
            client: endpoint(client),
            server: endpoint(client.reverse()),
            encapsulation: encapsulation.unwrap_or_default(),
            starttls: match &self.speaks {
                Speaks::Tunnel(tunnel) => Some(tunnel.name().into()),
                Speaks::Dtls(_) | Speaks::Quic(_) => None,
            },
            proxy: None,
            renegotiation: draft.renegotiation,
            timing: draft.timing(None),
            application_bytes: draft.complete_ns.map(|_| application_bytes(&draft)),
            client_hello: draft.client_hello,
            hello_retry_request: draft.hello_retry_request,
            second_client_hello: draft.second_client_hello,
            server_hello: draft.server_hello,
            key_exchange: draft.key_exchange,
            certificates: draft.certificates,
            client_certificates: draft.client_certificates,
            certificate_requested: draft.certificate_requested,
            ocsp_stapled: draft.ocsp_stapled,
            ocsp: draft.ocsp,
            alerts: draft.alerts,
            tcp: None,
            outcome,
            stopped_after: draft
                .stopped_after
                .and_then(|kind| kind.name())
                .map(Into::into),
            defects,
            findings: Vec::new(),
            process_id: self.remarks.process_id(),
            recording: self.remarks.recording(
                client,
                (self.capture, self.interface),
                context.captures,
            ),
            dialogue: None,
            origin: None,
            http: None,
            quic: quic.map(|(facts, said)| quic_record(&facts, said, client)),
            decrypted: draft.opened.is_some(),
            inside: draft.opened.and_then(|opened| opened.into_record()),
            observed: (observed != Observed::default())
                .then(|| context.pools.observed.boxed(observed)),
        };
        context.records.push(Finished {
            order: (arrival.order, self.created),
            record: context.pools.records.boxed(record),
            tls: true,
        });
    }
}

fn quic_record(facts: &Facts, said: Said, client: Direction) -> Box<Quic> {
    let hex = |version: &Version| format!("0x{:08x}", version.0).into();
    let name = facts.version.and_then(Version::name);
    Box::new(Quic {
        version: facts.version.as_ref().map(hex),
        version_name: name.map(Into::into),
        retry: facts.retry,
        negotiation: facts.offered.iter().map(hex).collect(),
        client_versions: said.client_versions.iter().map(hex).collect(),
        user_agent: said.user_agent,
        transport_parameters: said.transport_parameters,
        close_code: facts.close.map(|(_, code)| code),
        closed_by: facts.close.map(|(from, _)| match from == client {
            true => Side::Client,
            false => Side::Server,
        }),
    })
}

fn observed(draft: &Draft) -> Observed {
    Observed {
        client_certificate_empty: draft.client_certificate_empty,
        authority_names: draft.certificate_request.and_then(|(_, names)| names),
        certificate_request_bytes: draft.certificate_request.map(|(bytes, _)| bytes),
        hello_verify_request_frame: draft.hello_verify_request,
        ..Observed::default()
    }
}

fn application_bytes(draft: &Draft) -> ApplicationBytes {
    let client = draft.client.unwrap_or(Direction::Up) as usize;
    let after = |index: usize| {
        draft.flights[index]
            .bytes
            .saturating_sub(draft.bytes_at_completion[index])
    };
    ApplicationBytes {
        client: after(client),
        server: after(1 - client),
    }
}
