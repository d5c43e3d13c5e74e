//! Packets are looked at a few at a time before the first of them is worked: their headers and their entries in the
//! table of conversations are fetched from memory together, instead of one after the other. Most of them then change no
//! more than a conversation's counters, and are taken no further apart.

use super::{Job, Options};
use crate::capture;
use crate::connection::datagrams::First;
use crate::flow::{Direction, EntryId, FlowKey};
use crate::packet::{
    self, Datagram, Decoded, Encapsulation, Segment,
    plain::{self, Glimpse},
};
use crate::shard::{Bench, SHARDS, Shard, shard_of, shard_of_datagram};
use crate::stats::Skip;

/// Packets that are looked at together.
pub(super) const GLANCED: usize = 16;

/// A plain TCP packet, as of the first look.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    pub(super) key: FlowKey,
    direction: Direction,
    glimpse: Glimpse,
}

/// A packet of a block, by its index, as of the first look.
pub(super) struct Looked {
    pub(super) index: u32,
    /// `None` if it is not plain TCP.
    pub(super) sight: Option<Sight>,
}

/// A packet whose conversation was known at the first look.
#[derive(Clone, Copy)]
pub(super) struct Found {
    shard: usize,
    id: EntryId,
    direction: Direction,
    glimpse: Glimpse,
}

impl Sight {
    /// What a packet is, if it is plain TCP.
    #[inline(always)]
    pub(super) fn of(packet: &capture::Packet, data: &[u8]) -> Option<Self> {
        plain::segment(
            packet.link,
            data,
            |addresses, source, destination, glimpse| {
                let (key, direction) = FlowKey::new(addresses, source, destination);
                Self {
                    key,
                    direction,
                    glimpse,
                }
            },
        )
    }

    /// Looks its conversation up in these shards, which begin with `first_shard`.
    #[inline(always)]
    pub(super) fn find(&self, shards: &mut [Shard], first_shard: usize) -> Option<Found> {
        let shard = shard_of(&self.key).wrapping_sub(first_shard);
        let id = shards.get_mut(shard)?.find(&self.key)?;
        Some(Found {
            shard,
            id,
            direction: self.direction,
            glimpse: self.glimpse,
        })
    }
}

/// Why a packet went to no shard.
pub(super) enum Left {
    /// It is a part of one.
    Fragment,
    /// It is not analysed.
    Over(Skip),
}

/// A packet of a block: its index in the block, its place there, and what is around it.
type At<'a> = (usize, &'a capture::Packet, &'a Encapsulation);

impl Job {
    /// Gives a packet to the conversation that the first look found, if it changes no more than its counters.
    #[inline(always)]
    pub(super) fn passes(
        &self,
        shards: &mut [Shard],
        found: &Found,
        (index, packet): (usize, &capture::Packet),
    ) -> bool {
        let (time_ns, point) = (packet.time_ns, packet.interface);
        self.block.noted(index).is_none()
            && shards.get_mut(found.shard).is_some_and(|shard| {
                shard.pass(found.id, found.direction, &found.glimpse, time_ns, point)
            })
    }

    /// Takes a packet apart and hands it to its shard, one of these, which begin with `first_shard`. `first` tells what a
    /// datagram may begin.
    pub(super) fn take(
        &self,
        (index, packet): (usize, &capture::Packet),
        (shards, first_shard): (&mut [Shard], usize),
        first: impl FnOnce(&Datagram<'_>) -> First,
        options: &Options,
        bench: &mut Bench,
    ) -> Result<(), Left> {
        let (data, mut around) = (self.block.data(packet), Encapsulation::default());
        match packet::decode(packet.link, data, &mut around, &options.limits) {
            Ok(Decoded::Tcp(segment)) => {
                let place = FlowKey::of(&segment);
                if let Some(shard) = shards.get_mut(shard_of(&place.0).wrapping_sub(first_shard)) {
                    let at = (index, packet, &around);
                    self.hand(shard, place, &segment, at, options, bench);
                }
                Ok(())
            }
            Ok(Decoded::Udp(datagram)) => {
                let first = first(&datagram);
                if first == First::Other {
                    return Err(Left::Over(Skip::Udp));
                }
                let shard = shard_of_datagram(first, &datagram).wrapping_sub(first_shard);
                if let Some(shard) = shards.get_mut(shard) {
                    let at = (index, packet, &around);
                    self.hand_datagram(shard, first, &datagram, at, options, bench);
                }
                Ok(())
            }
            Ok(Decoded::Undelivered(undelivered)) => {
                let place = FlowKey::undelivered(&undelivered);
                let frame = packet.frame;
                if let Some(shard) = shards.get_mut(shard_of(&place.0).wrapping_sub(first_shard)) {
                    shard.undelivered(place, &undelivered, frame);
                }
                // It says something of a conversation, and is no part of it.
                Err(Left::Over(Skip::NotTcpUdp))
            }
            Ok(Decoded::Fragment(_)) => Err(Left::Fragment),
            Err(why) => Err(Left::Over(why)),
        }
    }

    /// Hands a segment to its shard.
    pub(super) fn hand(
        &self,
        shard: &mut Shard,
        (key, direction): (FlowKey, Direction),
        segment: &Segment<'_>,
        (index, packet, around): At<'_>,
        options: &Options,
        bench: &mut Bench,
    ) {
        if options.keep_handshakes {
            let (cap, out) = (options.limits.kept_bytes_max / SHARDS, &mut bench.kept);
            let seen = self.seen(index, packet);
            shard.keeper.take(key, direction, segment, &seen, cap, out);
        }
        let arrival = self.arrival(index, packet, around);
        let (limits, captures) = (&options.limits, &*self.captures);
        shard.take(
            key, direction, segment, arrival, around, limits, captures, bench,
        );
    }

    /// Hands a datagram to its shard.
    pub(super) fn hand_datagram(
        &self,
        shard: &mut Shard,
        first: First,
        datagram: &Datagram<'_>,
        (index, packet, around): At<'_>,
        options: &Options,
        bench: &mut Bench,
    ) {
        if options.keep_handshakes {
            let seen = self.seen(index, packet);
            shard.keeper.take_datagram(datagram, &seen, &mut bench.kept);
        }
        let arrival = self.arrival(index, packet, around);
        let (limits, captures) = (&options.limits, &*self.captures);
        shard.take_datagram(first, datagram, arrival, around, limits, captures, bench);
    }
}
