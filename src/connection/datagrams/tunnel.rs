//! TLS that travels over UDP inside another protocol's packets, which bring their own numbers and repetitions.

use super::super::session::{Desk, Draft, Seen};
use super::super::{Arrival, Context};
use super::{Conversation, Speaks, machine_limits};
use crate::detect::{Inner, openvpn, rdp_udp};
use crate::flow::{Chunks, Direction, Lent, Seq};
use crate::tls::decrypt::Keyring;
use crate::tls::handshake::{Event, Machine, MachineLimits};

/// TLS inside numbered packets.
#[derive(Debug)]
pub(super) struct Tunnel {
    carrier: Carrier,
    halves: [Half; 2],
    machine: Machine,
}

#[derive(Debug)]
enum Carrier {
    /// The length of `tls-auth`'s part, once it is known.
    OpenVpn(Option<usize>),
    RdpUdp(rdp_udp::Agreed),
}

#[derive(Debug, Default)]
struct Half {
    chunks: Chunks,
    inner: Inner,
    /// OpenVPN: session and key to which the numbers belong.
    session: Option<([u8; 8], u8)>,
}

/// What reads TLS, while a packet is taken.
struct Reader<'r> {
    machine: &'r mut Machine,
    direction: Direction,
    limits: &'r MachineLimits,
    keys: &'r mut Keyring,
    arrival: Arrival<'r>,
}

impl Tunnel {
    pub(super) fn open_vpn() -> Self {
        Self::of(Carrier::OpenVpn(None))
    }

    pub(super) fn rdp_udp() -> Self {
        Self::of(Carrier::RdpUdp(rdp_udp::Agreed::default()))
    }

    fn of(carrier: Carrier) -> Self {
        Self {
            carrier,
            halves: Default::default(),
            machine: Machine::default(),
        }
    }

    /// The word of the record.
    pub(super) fn name(&self) -> &'static str {
        match self.carrier {
            Carrier::OpenVpn(_) => "openvpn",
            Carrier::RdpUdp(_) => "rdp",
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let half = |half: &Half| half.chunks.heap_bytes() + half.inner.heap_bytes();
        self.halves.iter().map(half).sum::<usize>() + self.machine.heap_bytes()
    }

    /// Takes a datagram; `each` gets what TLS tells, and over how many packets it came.
    fn read(
        &mut self,
        direction: Direction,
        datagram: &[u8],
        limits: &MachineLimits,
        keys: &mut Keyring,
        arrival: Arrival<'_>,
        each: &mut dyn FnMut(Event<'_>, u32),
    ) {
        let half = &mut self.halves[direction as usize];
        let (number, payload) = match &mut self.carrier {
            Carrier::OpenVpn(extra) => {
                if extra.is_none() {
                    *extra = openvpn::extra(datagram);
                }
                let Some(control) = extra.and_then(|extra| openvpn::control(datagram, extra))
                else {
                    return;
                };
                let session = Some((control.session, control.key));
                if half.session != session {
                    *half = Half {
                        session,
                        ..Half::default()
                    };
                    half.inner.begin_again();
                }
                (control.number, control.payload)
            }
            Carrier::RdpUdp(agreed) => match rdp_udp::read(datagram, *agreed) {
                Some(rdp_udp::Packet::Syn(said)) => {
                    *agreed = said;
                    return;
                }
                Some(rdp_udp::Packet::Data { number, payload }) => (number, payload),
                None => return,
            },
        };
        let mut reader = Reader {
            machine: &mut self.machine,
            direction,
            limits,
            keys,
            arrival,
        };
        let Half { chunks, inner, .. } = half;
        chunks.push(number, payload, &mut |bytes| {
            reader.take(inner, bytes, each)
        });
    }
}

impl Reader<'_> {
    fn take(&mut self, inner: &mut Inner, bytes: &[u8], each: &mut dyn FnMut(Event<'_>, u32)) {
        if bytes.is_empty() {
            return;
        }
        inner.segments += 1;
        let lent = Lent {
            bytes,
            segments: 1,
            after_gap: false,
            before_gap: false,
            stamp: self.arrival.frame,
            repeated: 0,
        };
        inner.take(bytes, &lent, &mut |lent, anew| {
            if anew {
                self.machine.begin_again(self.direction);
            }
            let segments = lent.segments;
            let each = &mut |event: Event<'_>| each(event, segments);
            let keys = self.keys.at(self.arrival.order);
            self.machine
                .read(self.direction, &lent, self.limits, keys, each)
        });
    }
}

impl Conversation {
    /// Reads a datagram of another protocol with TLS in it, and writes down what it tells.
    pub(super) fn tunnel(
        &mut self,
        direction: Direction,
        payload: &[u8],
        arrival: Arrival<'_>,
        context: &mut Context<'_>,
    ) {
        let Speaks::Tunnel(tunnel) = &mut self.speaks else {
            return;
        };
        let limits = machine_limits(context.limits);
        let mut desk = Desk {
            limits: context.limits,
            interner: context.interner,
            counters: context.counters,
        };
        let draft = &mut self.draft;
        let mut earlier: Vec<Draft> = Vec::new();
        tunnel.read(
            direction,
            payload,
            &limits,
            context.keys,
            arrival,
            &mut |event, segments| {
                if draft.begins_anew(&event) {
                    let fresh = Draft {
                        renegotiation: true,
                        ..Draft::default()
                    };
                    earlier.push(core::mem::replace(draft, fresh));
                }
                let seen = Seen {
                    frame: arrival.frame,
                    time_ns: arrival.time_ns,
                    segments,
                    end: Seq(0),
                    acknowledges: None,
                };
                draft.event(direction, event, seen, &mut desk);
            },
        );
        for draft in earlier {
            self.emit(draft, None, arrival, context, super::Ended::Replaced);
        }
    }
}
