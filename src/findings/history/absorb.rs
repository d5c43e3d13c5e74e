//! The traces of one span of time join those of another; what they refer to gets new numbers.

use super::{History, shared::Fresh};
use crate::findings::trace::{Number, Sort};

impl History {
    /// Adds all that another one holds, as if its handshakes had come after those of this one.
    pub(in crate::findings) fn absorb(&mut self, other: &Self) {
        let names = numbers(other.names.listed().map(|name| self.names.number(&**name)));
        let captures = other.captures.listed();
        let captures = numbers(captures.map(|name| self.captures.number(&**name)));
        let hellos: Vec<_> = (other.hellos.iter())
            .map(|hello| self.hello(&hello.shape))
            .collect();
        let answers: Vec<_> = (other.answers.iter())
            .map(|answer| self.answer(answer))
            .collect();
        let certificates: Vec<_> = (0..)
            .zip(&other.certificates)
            .map(|(number, one)| {
                self.certificate(one, other.others.binary_search(&number).is_err())
            })
            .collect();
        let of = |list: &[Option<u32>], number: Option<Number>| {
            let place = *list.get(number?.place())?;
            Number::of(place?)
        };
        let capture = |number: u32| captures.get(number as usize).copied().flatten();
        let renumbered = |sort: &Sort| Sort {
            name: of(&names, sort.name),
            capture: capture(sort.capture).unwrap_or(u32::MAX),
            hello: of(&hellos, sort.hello),
            answer: of(&answers, sort.answer),
            leaf: of(&certificates, sort.leaf),
            ..*sort
        };
        let sorts: Vec<Sort> = other.shared.sorts().iter().map(renumbered).collect();
        let settled = other.settled();
        for (own, parts) in other.traces.iter().zip(&other.parts).take(settled) {
            let client = other.shared.client(parts.client);
            let server = other.shared.server(parts.server);
            let sort = sorts.get(parts.sort as usize);
            if let (Some(client), Some(server), Some(sort)) = (client, server, sort) {
                self.push(*own, Fresh::new(client, server, *sort));
            }
        }
        for (own, fresh) in other.traces.iter().skip(settled).zip(&other.fresh) {
            let sort = renumbered(&fresh.sort);
            self.push(*own, Fresh::new(fresh.client, fresh.server(), sort));
        }
        self.forgotten += other.forgotten;
    }
}

fn numbers(numbered: impl Iterator<Item = Option<(u32, bool)>>) -> Vec<Option<u32>> {
    numbered.map(|found| found.map(|found| found.0)).collect()
}
