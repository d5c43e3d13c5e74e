//! A shard's DNS: questions wait for their answers, and both are folded into lookups.
//!
//! All datagrams of one client go to one shard, whatever server it asks: that of its address alone. Over TCP the messages
//! come from conversations, in whichever shard those are.

use super::Arrival;
use crate::capture::Catalog;
use crate::dns::waiting::{Asked, Heard, Question, Waiting};
use crate::dns::{PORT, kind, message::Message};
use crate::limits::Limits;
use crate::packet::Datagram;
use crate::record::{Dns, EchAnswer, Lookups};
use crate::stats::{Counters, Skip};
use std::net::IpAddr;

/// Silence behind a question at the end of the capture that is long enough to be no answer.
const SILENCE_NS: i64 = 5_000_000_000;
/// A shard may hold this part of all lookups and questions: clients are not spread evenly.
const PART: usize = 4;

/// The lookups of a shard.
#[derive(Debug, Default)]
pub struct Desk {
    waiting: Waiting,
    lookups: Lookups,
    /// What clients were told of Encrypted ClientHello, and by which packets, since it was last taken.
    pub ech: Vec<(u64, EchAnswer)>,
    scratch: Vec<u8>,
}

/// Who asks, and who answers.
#[derive(Clone, Copy, Debug)]
pub struct Parties {
    /// Address and port of the one that asks.
    pub client: (IpAddr, u16),
    /// The one at port 53.
    pub server: IpAddr,
    /// Over TCP.
    pub tcp: bool,
}

/// Of a datagram: the one that asks is the one that is not at port 53; where both are, a query's sender.
pub fn parties(datagram: &Datagram<'_>) -> Parties {
    let (source, destination) = datagram.addresses.ips();
    let is_response = datagram
        .payload
        .get(2)
        .is_some_and(|flags| flags & 0x80 != 0);
    let from_server =
        datagram.source_port == PORT && (datagram.destination_port != PORT || is_response);
    let (client, server) = if from_server {
        ((destination, datagram.destination_port), source)
    } else {
        ((source, datagram.source_port), destination)
    };
    Parties {
        client,
        server,
        tcp: false,
    }
}

impl Desk {
    /// Takes a message.
    pub fn take(
        &mut self,
        parties: Parties,
        bytes: &[u8],
        arrival: Arrival,
        limits: &Limits,
        counters: &mut Counters,
    ) {
        let Some(message) = Message::parse(bytes) else {
            return counters.skip(Skip::Udp);
        };
        let asked = Asked {
            client: parties.client,
            server: parties.server,
            id: message.id,
            tcp: parties.tcp,
        };
        if !message.is_response && !parties.tcp {
            let (client, port) = parties.client;
            self.lookups.steady(client, port, arrival.time_ns);
        }
        if kind::name(message.kind).is_none() {
            return;
        }
        if message.is_response {
            self.answer(&asked, &message, arrival, limits);
        } else {
            self.ask(&asked, &message, arrival, limits, counters);
        }
    }

    /// The lookup that a message is about.
    fn subject(&mut self, asked: &Asked, message: &Message<'_>, limits: &Limits) -> Option<u32> {
        message.question(&mut self.scratch)?;
        let max = limits.dns_lookups_max / PART;
        self.lookups
            .subject(asked.client.0, message.kind, &self.scratch, max)
    }

    fn ask(
        &mut self,
        asked: &Asked,
        message: &Message<'_>,
        arrival: Arrival,
        limits: &Limits,
        counters: &mut Counters,
    ) {
        let Some(subject) = self.subject(asked, message, limits) else {
            return;
        };
        let question = question(subject, arrival);
        let (heard, before) = self.waiting.ask(*asked, question);
        if let Some(before) = before {
            self.lookups.unanswered(asked, &before);
        }
        if heard == Heard::New {
            self.lookups.asked(asked, &question);
        }
        let max = limits.dns_lookups_max / PART;
        while self.waiting.leave(i64::MIN, max).is_some() {
            counters.skip(Skip::DnsCap);
        }
    }

    fn answer(&mut self, asked: &Asked, message: &Message<'_>, arrival: Arrival, limits: &Limits) {
        let question = match self.waiting.answer(asked) {
            Some(question) => question,
            None => {
                let Some(subject) = self.subject(asked, message, limits) else {
                    return;
                };
                if self.lookups.is_copy(subject, arrival.time_ns) {
                    return;
                }
                question(subject, arrival)
            }
        };
        let told = self.lookups.answered(
            asked,
            &question,
            message,
            arrival.time_ns,
            &mut self.scratch,
        );
        self.ech.extend(told.map(|answer| (arrival.order, answer)));
    }

    /// Questions that have waited long enough have no answer.
    pub fn tick(&mut self, now_ns: i64, limits: &Limits) {
        let before_ns = now_ns.saturating_sub(limits.dns_wait_ns);
        while let Some((asked, question)) = self.waiting.leave(before_ns, usize::MAX) {
            self.lookups.unanswered(&asked, &question);
        }
    }

    /// The capture is over: what came of all questions. One near the end may have been answered behind it.
    pub fn finish(mut self, time_ns: i64, captures: &Catalog) -> Dns {
        while let Some((asked, question)) = self.waiting.leave(i64::MAX, 0) {
            if time_ns.saturating_sub(question.last_ns) >= SILENCE_NS {
                self.lookups.unanswered(&asked, &question);
            }
        }
        self.lookups.finish(captures)
    }
}

fn question(subject: u32, arrival: Arrival) -> Question {
    Question {
        subject,
        frame: arrival.frame,
        capture: arrival.capture,
        first_ns: arrival.time_ns,
        last_ns: arrival.time_ns,
        tries: 1,
    }
}
