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
    /// When lookups were last handed over.
    handed_ns: Option<i64>,
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
        // Not only from time to time: whether a question is asked again or anew must not depend on when that is.
        self.tick(arrival.time_ns, limits);
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

    /// What was seen since this was last called; nothing until `every_ns` have passed, or where nothing was.
    pub fn hand_over(&mut self, now_ns: i64, every_ns: i64, captures: &Catalog) -> Option<Dns> {
        let handed_ns = *self.handed_ns.get_or_insert(now_ns);
        // A clock that was set back hands over, too.
        if (0..every_ns).contains(&now_ns.saturating_sub(handed_ns)) {
            return None;
        }
        self.handed_ns = Some(now_ns);
        let seen = (self.lookups).hand_over(now_ns, &mut self.waiting, captures);
        (!seen.is_empty() || !seen.clients.is_empty()).then_some(seen)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::DnsClients;

    const SECOND: i64 = 1_000_000_000;

    /// A message about `name`; `rcode` makes it a response, with an address if it is 0.
    fn message(id: u16, name: &str, rcode: Option<u8>) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        let answers = u8::from(rcode == Some(0));
        bytes.extend([if rcode.is_some() { 0x81 } else { 1 }, rcode.unwrap_or(0)]);
        bytes.extend([0, 1, 0, answers, 0, 0, 0, 0]);
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, 1, 0, 1]);
        if answers > 0 {
            bytes.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02");
            bytes.push(id as u8);
        }
        bytes
    }

    /// An hour of three clients: one asks steadily, and falls silent; answers fail, come late, twice, or never.
    fn messages() -> Vec<(i64, Parties, Vec<u8>)> {
        let mut all = Vec::new();
        for n in 0..240_i64 {
            let client = [10, 0, 0, (n % 3) as u8];
            let parties = Parties {
                client: (client.into(), 1024 + (n % 7) as u16),
                server: [10, 0, 0, 53].into(),
                tcp: n % 6 == 1,
            };
            let (id, at) = (n as u16, n * 15 * SECOND);
            if client[3] == 0 && at > 1_500 * SECOND && at < 2_900 * SECOND {
                continue;
            }
            let name = format!("host{}.example", n % 5);
            all.push((at, parties, message(id, &name, None)));
            let (rcode, later) = match n % 8 {
                0 => continue,
                1 => (2, SECOND),
                2 => (3, 12 * SECOND),
                _ => (0, SECOND / 100),
            };
            all.push((at + later, parties, message(id, &name, Some(rcode))));
            if n % 8 == 3 {
                all.push((at + later + 1000, parties, message(id, &name, Some(rcode))));
            }
        }
        all.sort_by_key(|(at, ..)| *at);
        all
    }

    #[test]
    fn what_is_handed_over_in_parts_is_what_was_seen() {
        let limits = Limits::default();
        let captures = Catalog::default();
        let run = |every_ns: i64| {
            let (mut desk, mut counters) = (Desk::default(), Counters::default());
            let (mut all, mut clients) = (Dns::default(), DnsClients::default());
            let mut held = 0;
            for (frame, (time_ns, parties, bytes)) in messages().into_iter().enumerate() {
                let arrival = Arrival {
                    time_ns,
                    frame: frame as u64,
                    order: frame as u64,
                    capture: 0,
                    point: 0,
                    interface: 0,
                    noted: None,
                };
                desk.tick(time_ns, &limits);
                if let Some(mut part) = desk.hand_over(time_ns, every_ns, &captures) {
                    clients.take(&mut part.clients);
                    all.merge(part);
                }
                desk.take(parties, &bytes, arrival, &limits, &mut counters);
                held = held.max(desk.lookups.len());
            }
            let mut rest = desk.finish(3_700 * SECOND, &captures);
            clients.take(&mut rest.clients);
            all.merge(rest);
            all.clients = clients.to_vec();
            all.settle();
            (all, held)
        };
        let (whole, held) = run(i64::MAX);
        assert_eq!(held, 15);
        assert!(whole.clients.iter().any(|client| client.spans.len() > 1));
        assert!(whole.unanswered > 0 && whole.by_rcode.len() == 3);
        for every_ns in [1, SECOND, 5 * SECOND, 60 * SECOND] {
            let (parts, held) = run(every_ns);
            assert_eq!(parts, whole, "{every_ns}");
            assert!(held < 15);
        }
    }
}
