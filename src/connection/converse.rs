//! What a conversation says before TLS: joins it to its dialogue.

use super::{Arrival, Connection, Context, Phase, dns};
use crate::detect::{Next, Parties, Speaker, Talk};
use crate::flow::{Answer, Direction, Lent};

impl Connection {
    /// This direction said something that is no TLS. `spoke_other` of it is noted only here, so that a
    /// conversation in which no dialogue was recognised at first is not looked at again.
    #[cold]
    pub(super) fn converse(
        &mut self,
        direction: Direction,
        lent: Lent<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Answer {
        let first = !self.spoke_other[0] && !self.spoke_other[1];
        self.spoke_other[direction as usize] = true;
        if first {
            let (client, certain) = match self.opener {
                Some(opener) if self.syn_seen || self.syn_ack_seen => (opener, true),
                _ => (self.presumed_client(direction, context), false),
            };
            let port = |direction| context.key.sender(direction).1;
            let parties = Parties {
                client,
                certain,
                ports: [port(Direction::Up), port(Direction::Down)],
            };
            self.talk = Talk::begin(parties, direction, lent.bytes);
        }
        let Some(talk) = &mut self.talk else {
            return Answer::Broken;
        };
        let fresh = match lent.bytes.get(lent.repeated..) {
            Some(fresh) if !fresh.is_empty() => fresh,
            _ => return Answer::Broken,
        };
        let next = talk.read(direction, fresh, lent.stamp);
        let told = talk.take_dns();
        if !told.is_empty() {
            self.look_up(&told, arrival, context);
        }
        match next {
            Next::More => Answer::Broken,
            Next::Hold { used, more } => Answer::Need {
                used: used + lent.repeated,
                more,
            },
            Next::Tls(at) => {
                let at = at + lent.repeated;
                self.begin_tls(direction, context);
                let rest = Lent {
                    bytes: lent.bytes.get(at..).unwrap_or(&[]),
                    ..lent
                };
                match self.read_after_talk(direction, rest, arrival, context) {
                    Answer::Need { used, more } => Answer::Need {
                        used: used + at,
                        more,
                    },
                    answer => answer,
                }
            }
        }
    }

    /// Hands on messages of DNS.
    fn look_up(&self, told: &[(Speaker, Box<[u8]>)], arrival: Arrival, context: &mut Context<'_>) {
        let Some(client) = self.talk.as_ref().and_then(|talk| talk.client()) else {
            return;
        };
        let parties = dns::Parties {
            client: context.key.sender(client),
            server: context.key.sender(client.reverse()).0,
            tcp: true,
        };
        for (speaker, message) in told {
            let is_response = message.get(2).is_some_and(|flags| flags & 0x80 != 0);
            if is_response == (*speaker == Speaker::Server) {
                let (limits, counters) = (context.limits, &mut *context.counters);
                (context.dns).take(parties, message, arrival, limits, counters);
            }
        }
    }

    /// TLS begins with a hello of this direction. What the other side said before is no answer to it.
    pub(super) fn end_talk(&mut self, direction: Direction) {
        let Some(talk) = &mut self.talk else { return };
        talk.tls_begins();
        let other = direction.reverse() as usize;
        if self.spoke_other[other] {
            self.payload_seen[other] = false;
        }
    }

    /// TLS behind a talk: it may stand inside the packets of its protocol.
    #[cold]
    pub(super) fn read_after_talk(
        &mut self,
        direction: Direction,
        lent: Lent<'_>,
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) -> Answer {
        let unframer = self.talk.as_mut().and_then(|talk| talk.unframer.take());
        let Some(mut unframer) = unframer else {
            return self.read_tls(direction, lent, arrival, context);
        };
        let answer = unframer.read(direction, &lent, &mut |lent, anew| {
            if anew && let Phase::Tls(session) = &mut self.phase {
                session.machine.begin_again(direction);
            }
            self.read_tls(direction, lent, arrival, context)
        });
        if let Some(talk) = &mut self.talk {
            talk.unframer = Some(unframer);
        }
        answer
    }
}
