//! How a conversation ended, and its record.
//!
//! Definitions: `design` of the record, and RFC 8446/5246 for what completes a handshake. A failure is
//! only claimed where the capture shows both directions without a hole; else the outcome is
//! `truncated`, which says that the capture, not the handshake, is at fault.

use super::session::{Draft, micros};
use super::{Arrival, Connection, Context, Finished, UNSEEN};
use crate::detect::leads_to_tls;
use crate::flow::Direction;
use crate::limits::Limits;
use crate::record::{
    ApplicationBytes, Close, Defect, Dialogue, Endpoint, Handshake, Http, Observed, Origin,
    Outcome, Protocol, Proxy, Side, Tcp, Timestamp, Transport,
};
use crate::tls::code_points::VersionRank;

/// Why a conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// RST, or both FINs.
    Closed,
    /// No packet for the idle time.
    Idle,
    /// The same addresses began a new conversation.
    Replaced,
    /// The capture ended at this time.
    CaptureEnd {
        /// Time of the capture's last packet.
        time_ns: i64,
    },
    /// The memory cap.
    Evicted,
}

/// A peer that was silent for so long at the end of the capture did not answer; before that, the
/// capture may simply have ended too early.
pub(super) const SILENCE_NS: i64 = 3_000_000_000;
/// "Closed at once": within this time after completion …
pub(super) const CLOSED_AT_ONCE_NS: i64 = 1_000_000_000;
/// … with less application data than this in each direction.
pub(super) const CLOSED_AT_ONCE_BYTES: u64 = 400;

impl Connection {
    /// Writes the record of a handshake that another one follows in the same conversation.
    pub(super) fn write(&mut self, draft: Draft, arrival: Arrival<'_>, context: &mut Context<'_>) {
        let outcome = if draft.complete_ns.is_some() {
            Outcome::Established
        } else {
            Outcome::Truncated
        };
        self.emit(draft, arrival, context, outcome, None);
    }

    /// Writes the conversation's last record.
    pub(super) fn write_last(
        &mut self,
        mut draft: Draft,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
        ended: Ended,
    ) {
        if ended == Ended::Evicted {
            draft.defects.push(Defect::Evicted);
        }
        let outcome = self.outcome(&draft, ended);
        let unanswered_ns = self.unanswered(&draft, outcome, ended, context.limits);
        self.emit(draft, arrival, context, outcome, unanswered_ns);
    }

    /// How long a hello had waited when nobody looked any more, where the connection was open still.
    fn unanswered(
        &self,
        draft: &Draft,
        outcome: Outcome,
        ended: Ended,
        limits: &Limits,
    ) -> Option<i64> {
        if outcome != Outcome::HelloUnanswered || self.first_end.is_some() {
            return None;
        }
        match ended {
            Ended::CaptureEnd { time_ns } => time_ns.checked_sub(self.silent_since(draft)),
            Ended::Idle => Some(limits.idle_ns),
            Ended::Closed | Ended::Replaced | Ended::Evicted => None,
        }
    }

    /// The end of the capture is too near to blame a peer that is silent since this time. What the other
    /// side repeats meanwhile does not make the silence shorter.
    fn too_early(ended: Ended, silent_since_ns: i64) -> bool {
        match ended {
            Ended::CaptureEnd { time_ns } => time_ns.saturating_sub(silent_since_ns) < SILENCE_NS,
            Ended::Evicted => true,
            Ended::Closed | Ended::Idle | Ended::Replaced => false,
        }
    }

    fn closed_first(&self, draft: &Draft, side: Side) -> Option<Close> {
        self.first_end
            .filter(|(direction, _)| self.side(draft, *direction) == side)
            .map(|(_, close)| close)
    }

    fn outcome(&self, draft: &Draft, ended: Ended) -> Outcome {
        if !draft.has_handshake() {
            return self.outcome_without_tls(draft, ended);
        }
        if draft.complete_ns.is_some() {
            return self.outcome_complete(draft);
        }
        // A server may answer a close with an alert; the client said nothing all the same.
        if self.closed_before_hello(draft) {
            return Outcome::NoClientHello;
        }
        // A clear fatal alert proves itself, whatever else was lost.
        if draft.fatal_alert(Side::Server) {
            return Outcome::ServerAlert;
        }
        if draft.fatal_alert(Side::Client) {
            return Outcome::ClientAlert;
        }
        if self.is_incomplete(draft) {
            return Outcome::Truncated;
        }
        if draft.server_hello.is_some() || draft.hello_retry_request.is_some() {
            return self.outcome_after_server_hello(draft);
        }
        self.outcome_after_client_hello(draft, ended)
    }

    /// The client opened the connection and closed it first, without a byte.
    fn closed_before_hello(&self, draft: &Draft) -> bool {
        let client = self.client(draft);
        self.syn_seen
            && self.syn_ack_seen
            && draft.client_hello.is_none()
            && draft.server_hello.is_none()
            && !self.payload_seen[client as usize]
            && !self.snapped
            && self.streams.iter().all(|stream| stream.gaps() == 0)
            && self.closed_first(draft, Side::Client).is_some()
    }

    /// The capture lacks what a judgement needs: one direction, or bytes of the handshake.
    fn is_incomplete(&self, draft: &Draft) -> bool {
        let client = self.client(draft);
        let silent_by_itself =
            self.syn_ack_seen || self.streams[client.reverse() as usize].is_seen();
        draft.client_hello.is_none()
            || self.streams.iter().any(|stream| stream.gaps() > 0)
            || self.snapped
            || self.hello_cut
            || !(silent_by_itself || self.ends[client.reverse() as usize].is_some())
    }

    /// ICMP says that the client's segment did not arrive: no answer will come, however long one waits.
    fn is_unreachable(&self, draft: &Draft) -> bool {
        let icmp = self.remarks.icmp(self.client(draft));
        icmp.is_some_and(|icmp| icmp.about == Side::Client && !icmp.is_too_big())
    }

    fn outcome_without_tls(&self, draft: &Draft, ended: Ended) -> Outcome {
        let server = self.client(draft).reverse();
        let any_payload = self.payload_seen[0] || self.payload_seen[1];
        let lost = self.snapped || self.streams.iter().any(|stream| stream.gaps() > 0);
        if self.tls_before || lost {
            return Outcome::Truncated;
        }
        if self.syn_seen && !self.syn_ack_seen && !any_payload {
            return match (
                self.closed_first(draft, Side::Server),
                self.ends[server as usize],
            ) {
                (Some(Close::Rst), _) => Outcome::ConnectionRefused,
                (None, None)
                    if self.closed_first(draft, Side::Client).is_none()
                        && !self.is_unreachable(draft)
                        && Self::too_early(ended, self.syn_ns) =>
                {
                    Outcome::Truncated
                }
                _ => Outcome::NoSynAck,
            };
        }
        if !(self.syn_seen || self.syn_ack_seen)
            || (self.first_end.is_none() && Self::too_early(ended, self.last_ns))
        {
            return Outcome::Truncated;
        }
        Outcome::NoClientHello
    }

    /// When the ClientHello came: from then on the server had something to say.
    fn silent_since(&self, draft: &Draft) -> i64 {
        let known = draft.client_hello_ns.filter(|time| *time != UNSEEN);
        known.unwrap_or(self.last_ns)
    }

    fn outcome_after_client_hello(&self, draft: &Draft, ended: Ended) -> Outcome {
        let server = self.client(draft).reverse();
        if self.payload_seen[server as usize] {
            // It answered with something that is no TLS, or with TLS that could not be read.
            return match self.closed_first(draft, Side::Server) {
                Some(_) => Outcome::HelloClosed,
                None => Outcome::Truncated,
            };
        }
        match self.closed_first(draft, Side::Server) {
            Some(Close::Rst) => Outcome::HelloReset,
            Some(_) => Outcome::HelloClosed,
            None if self.first_end.is_none()
                && Self::too_early(ended, self.silent_since(draft)) =>
            {
                Outcome::Truncated
            }
            None => Outcome::HelloUnanswered,
        }
    }

    fn outcome_after_server_hello(&self, draft: &Draft) -> Outcome {
        let client = draft.flight(Side::Client);
        let second_flight = draft.client_key_exchange || client.change_cipher_spec;
        if self.closed_first(draft, Side::Client).is_some() {
            return Outcome::ClientAbort;
        }
        if self.closed_first(draft, Side::Server).is_none() {
            return Outcome::Truncated;
        }
        // Under TLS 1.3 a first encrypted record the size of an alert is the client giving up; the
        // server then merely closes.
        let gave_up = draft.version() == Some(VersionRank::Tls13) && client.first_record.is_some();
        if gave_up || !second_flight {
            Outcome::ClientAbort
        } else {
            Outcome::LateFailure
        }
    }

    fn outcome_complete(&self, draft: &Draft) -> Outcome {
        let (Some(complete_ns), Some(closed_ns)) =
            (draft.complete_ns, self.first_end.map(|_| self.close_ns))
        else {
            return Outcome::Established;
        };
        let bytes = self.application_bytes(draft);
        let little = bytes.client < CLOSED_AT_ONCE_BYTES && bytes.server < CLOSED_AT_ONCE_BYTES;
        let soon = closed_ns.saturating_sub(complete_ns) < CLOSED_AT_ONCE_NS;
        let by_client = self.closed_first(draft, Side::Client).is_some()
            || draft.flight(Side::Client).encrypted_alert;
        if by_client && little && soon {
            Outcome::EstablishedThenClosed
        } else {
            Outcome::Established
        }
    }

    fn application_bytes(&self, draft: &Draft) -> ApplicationBytes {
        let client = self.client(draft) as usize;
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

    fn defects(&self, draft: &mut Draft) -> Vec<Defect> {
        let mut defects = core::mem::take(&mut draft.defects);
        // A stream that is being read is lent away; its payload was noted.
        if !self.streams.iter().all(|stream| stream.is_seen())
            && self.payload_seen.contains(&false)
            && (self.syn_ack_seen || !self.syn_seen || self.payload_seen.contains(&true))
        {
            defects.push(Defect::OneDirection);
        }
        if !self.syn_seen && !self.syn_ack_seen {
            defects.push(Defect::MidStream);
        }
        if self.hello_cut {
            defects.push(Defect::Gap);
        }
        if self.snapped {
            defects.push(Defect::SnapLength);
        }
        if draft.complete_ns.is_none() && self.streams.iter().any(|stream| stream.gaps() > 0) {
            defects.push(Defect::Gap);
        }
        if self.streams.iter().any(|stream| stream.differs()) {
            defects.push(Defect::OverlapDiffers);
        }
        defects.sort_unstable();
        defects.dedup();
        defects
    }

    fn tcp(&self, draft: &Draft) -> Tcp {
        let rtt_server_us = micros(self.syn_ns, self.syn_ack_ns);
        let rtt_client_us = micros(self.syn_ack_ns, self.established_ns);
        // A clock that was set in between tells nothing.
        let steady = rtt_server_us.unwrap_or(0).min(rtt_client_us.unwrap_or(0)) >= 0;
        let parts = |us: Option<i64>| us.filter(|_| steady);
        Tcp {
            syn_frame: self.syn_seen.then_some(self.syn_frame),
            syn_retransmits: u32::from(self.syn_retransmits),
            rtt_us: micros(self.syn_ns, self.established_ns),
            rtt_server_us: parts(rtt_server_us),
            rtt_client_us: parts(rtt_client_us),
            closed_by: self
                .first_end
                .map(|(direction, _)| self.side(draft, direction)),
            close: self.first_end.map_or(Close::None, |(_, close)| close),
            close_frame: self.first_end.map(|_| self.close_frame),
            gaps: self.streams.iter().map(|stream| stream.gaps()).sum(),
            retransmits: self.streams.iter().map(|stream| stream.retransmits()).sum(),
        }
    }

    /// Particulars that only some diagnoses ask for.
    fn observed(&self, draft: &Draft, unanswered_ns: Option<i64>) -> Observed {
        let client = self.client(draft);
        let seen = |value: u16| (value != 0).then_some(value);
        let unanswered = draft.client_hello.is_some() && draft.server_hello.is_none();
        let unacknowledged = draft
            .server_flight_unacknowledged()
            .filter(|_| draft.complete_ns.is_none() && draft.client_reply_us.is_none());
        let since_start = |ns: i64| micros(self.start_ns, ns);
        let tls13 = draft.version() == Some(VersionRank::Tls13);
        Observed {
            icmp: self.remarks.icmp(client),
            syn_ack_ttl: self.syn_ack_seen.then_some(self.syn_ack_ttl),
            close_ttl: self.first_end.map(|_| self.close_ttl),
            client_mss: seen(self.mss[client as usize]),
            server_mss: seen(self.mss[client.reverse() as usize]),
            without_payload: (self.syn_ack_seen && self.payload_seen == [false; 2]).then_some(true),
            hello_acknowledged: unanswered.then_some(draft.client_hello_acknowledged),
            unanswered_us: unanswered_ns.map(|ns| ns / 1_000),
            hello_retransmits: unanswered.then(|| self.streams[client as usize].retransmits()),
            server_flight_unacknowledged_bytes: unacknowledged,
            server_flight_retransmits: unacknowledged
                .map(|_| self.streams[client.reverse() as usize].retransmits()),
            client_hello_us: draft.client_hello_ns.and_then(since_start),
            client_reply_us: draft.client_reply_us,
            client_certificate_empty: draft.client_certificate_empty,
            authority_names: draft.certificate_request.and_then(|(_, names)| names),
            certificate_request_bytes: draft.certificate_request.map(|(bytes, _)| bytes),
            first_client_record_bytes: draft
                .flight(Side::Client)
                .first_record
                .filter(|_| tls13)
                .and_then(|bytes| u16::try_from(bytes).ok()),
            server_flight_bytes: draft
                .server_flight_bytes
                .filter(|_| tls13)
                .and_then(|bytes| u32::try_from(bytes).ok()),
            encrypted_renegotiations: (draft.renegotiations > 0).then_some(draft.renegotiations),
            late_handshake_frame: draft
                .late_handshake
                .filter(|_| !tls13)
                .map(|(frame, _)| frame),
            late_handshake_from: draft
                .late_handshake
                .filter(|_| !tls13)
                .map(|(_, direction)| self.side(draft, direction)),
            sslv2_hello: draft.sslv2_cipher_kinds.as_ref().map(|_| true),
            sslv2_cipher_kinds: draft.sslv2_cipher_kinds.clone(),
            sslv2_cipher_kind: draft.sslv2_cipher_kind.clone(),
            hello_verify_request_frame: None,
        }
    }

    fn emit(
        &mut self,
        mut draft: Draft,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
        outcome: Outcome,
        unanswered_ns: Option<i64>,
    ) {
        let client = self.client(&draft);
        let endpoint = |direction: Direction| {
            let (ip, port) = context.key.sender(direction);
            Endpoint { ip, port }
        };
        let tls = draft.has_handshake();
        let tcp = self.tcp(&draft);
        let timing = draft.timing(tcp.rtt_us);
        let observed = self.observed(&draft, unanswered_ns);
        let defects = self.defects(&mut draft);
        let application_bytes = draft
            .complete_ns
            .is_some()
            .then(|| self.application_bytes(&draft));
        let encapsulation = self
            .around
            .as_ref()
            .map(|around| {
                around
                    .layers()
                    .map(|layer| layer.to_string().into())
                    .collect()
            })
            .unwrap_or_default();
        let said = self.talk.as_ref().map(|talk| talk.facts());
        let mut http = said.and_then(|said| Http::of(said.http.as_deref()?));
        if let Some(opened) = &draft.opened {
            http = Http::with_h2(http, opened.h2());
        }
        let record = Handshake {
            capture: context.captures.capture(self.capture),
            start: Timestamp(self.start_ns),
            end: Timestamp(self.last_ns),
            transport: Transport::Tcp,
            protocol: Protocol::Tls,
            client: endpoint(client),
            server: endpoint(client.reverse()),
            encapsulation,
            starttls: said.filter(|_| tls).and_then(leads_to_tls).map(Into::into),
            proxy: said.and_then(Proxy::of),
            renegotiation: draft.renegotiation,
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
            tcp: Some(tcp),
            application_bytes,
            outcome,
            stopped_after: draft
                .stopped_after
                .and_then(|kind| kind.name())
                .map(Into::into),
            timing,
            defects,
            findings: context.pools.findings.pop().unwrap_or_default(),
            observed: Some(context.pools.observed.boxed(observed)),
            process_id: self.remarks.process_id(),
            recording: self.remarks.recording(
                client,
                (self.capture, self.interface),
                context.captures,
            ),
            dialogue: said.and_then(Dialogue::of),
            origin: said.and_then(Origin::of),
            http,
            quic: None,
            decrypted: draft.opened.is_some(),
            inside: draft.opened.and_then(|opened| opened.into_record()),
        };
        context.records.push(Finished {
            order: (arrival.order, self.created),
            record: context.pools.records.boxed(record),
            tls,
        });
    }
}
