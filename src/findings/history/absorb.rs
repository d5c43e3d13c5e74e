//! The traces of one span of time join those of another; what they refer to gets new numbers.

use super::History;
use crate::findings::trace::{Kind, Sort};

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
        let of = |list: &[Option<u32>], number: Option<u32>| {
            let index = usize::try_from(number?).ok()?;
            list.get(index).copied().flatten()
        };
        let renumbered = |kind: Kind| Kind {
            sort: Sort {
                name: of(&names, kind.name),
                capture: of(&captures, Some(kind.capture)).unwrap_or(u32::MAX),
                hello: of(&hellos, kind.hello),
                answer: of(&answers, kind.answer),
                leaf: of(&certificates, kind.leaf),
                ..kind.sort
            },
            ..kind
        };
        let kinds: Vec<Option<Kind>> = (other.kinds.listed().into_iter())
            .map(|kind| kind.map(renumbered))
            .collect();
        for own in &other.traces {
            if let Some(Some(kind)) = kinds.get(own.kind as usize) {
                self.push(*own, *kind);
            }
        }
        self.forgotten += other.forgotten;
    }
}

fn numbers(numbered: impl Iterator<Item = Option<(u32, bool)>>) -> Vec<Option<u32>> {
    numbered.map(|found| found.map(|found| found.0)).collect()
}
