//! Questions whose answers have not come yet.
//!
//! An answer goes to whoever asked from that address and port under that identification; a question that is repeated is
//! the same question. Bounded by a number; each leaves after one and the same time, so they leave in the order in which
//! they came.

use core::net::IpAddr;
use hashbrown::{HashMap, hash_map};
use std::collections::VecDeque;

/// What an answer and its question have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Who asked.
    pub client: (IpAddr, u16),
    /// Who was asked, at port 53.
    pub server: IpAddr,
    /// The message's identification.
    pub id: u16,
    /// Over TCP.
    pub tcp: bool,
}

/// A question under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose name and type, as its keeper numbers them.
    pub subject: u32,
    /// Its packet, and its capture.
    pub frame: u64,
    /// The capture's number.
    pub capture: u32,
    /// When it was sent first.
    pub first_ns: i64,
    /// When it was sent last.
    pub last_ns: i64,
    /// How often it was sent.
    pub tries: u32,
}

/// A packet seen twice within this time is a copy, not a repetition.
const COPY_NS: i64 = 1_000_000;
/// So many places in the order may be idle.
const SWEEP_MIN: usize = 64;

/// The questions under way.
#[derive(Debug, Default)]
pub struct Waiting {
    questions: HashMap<Asked, Question>,
    order: VecDeque<(i64, Asked)>,
}

/// What a question is to those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A new one.
    New,
    /// One that waits already, sent again.
    Again,
    /// A copy of a packet.
    Copy,
}

impl Waiting {
    /// Takes a question. Another one may have used the same numbers before: it is handed back.
    pub fn ask(&mut self, asked: Asked, question: Question) -> (Heard, Option<Question>) {
        match self.questions.entry(asked) {
            hash_map::Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                if known.subject == question.subject {
                    let is_copy = question.last_ns.saturating_sub(known.last_ns) < COPY_NS;
                    known.last_ns = known.last_ns.max(question.last_ns);
                    if is_copy {
                        return (Heard::Copy, None);
                    }
                    known.tries = known.tries.saturating_add(1);
                    return (Heard::Again, None);
                }
                let before = entry.insert(question);
                self.in_order(question.first_ns, asked);
                (Heard::New, Some(before))
            }
            hash_map::Entry::Vacant(entry) => {
                entry.insert(question);
                self.in_order(question.first_ns, asked);
                (Heard::New, None)
            }
        }
    }

    /// Puts a question last. Places of those that have left are swept once they are the most.
    fn in_order(&mut self, first_ns: i64, asked: Asked) {
        if self.order.len() >= 2 * self.questions.len() + SWEEP_MIN {
            let questions = &self.questions;
            self.order.retain(|(first_ns, asked)| {
                questions
                    .get(asked)
                    .is_some_and(|question| question.first_ns == *first_ns)
            });
        }
        self.order.push_back((first_ns, asked));
    }

    /// The question of an answer.
    pub fn answer(&mut self, asked: &Asked) -> Option<Question> {
        self.questions.remove(asked)
    }

    /// The questions under way, for whoever numbers their subjects anew.
    pub fn questions_mut(&mut self) -> impl Iterator<Item = &mut Question> {
        self.questions.values_mut()
    }

    /// Questions under way.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// None is under way.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// The oldest question, where it was sent first before `before_ns`, or where more than `count` wait.
    pub fn leave(&mut self, before_ns: i64, count: usize) -> Option<(Asked, Question)> {
        loop {
            let &(first_ns, asked) = self.order.front()?;
            match self.questions.get(&asked) {
                Some(question) if question.first_ns == first_ns => {
                    if first_ns >= before_ns && self.questions.len() <= count {
                        return None;
                    }
                    self.order.pop_front();
                    return self
                        .questions
                        .remove(&asked)
                        .map(|question| (asked, question));
                }
                // Answered long since; a later question may use its numbers now, and has its own place.
                Some(_) | None => {
                    self.order.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: u16) -> Asked {
        Asked {
            client: (IpAddr::from([10, 0, 0, 1]), 999),
            server: IpAddr::from([10, 0, 0, 53]),
            id,
            tcp: false,
        }
    }

    fn at(ns: i64, subject: u32) -> Question {
        Question {
            subject,
            frame: 1,
            capture: 0,
            first_ns: ns,
            last_ns: ns,
            tries: 1,
        }
    }

    #[test]
    fn answers_find_their_questions_and_the_rest_leaves_in_order() {
        let mut waiting = Waiting::default();
        for id in 0..5 {
            let (heard, before) = waiting.ask(asked(id), at(i64::from(id) * 10_000_000, 7));
            assert_eq!((heard, before), (Heard::New, None));
        }
        assert_eq!(waiting.ask(asked(0), at(500_000, 7)).0, Heard::Copy);
        assert_eq!(waiting.ask(asked(0), at(20_000_000, 7)).0, Heard::Again);
        assert_eq!(waiting.answer(&asked(1)).unwrap().tries, 1);
        assert!(waiting.answer(&asked(1)).is_none());
        let (first, question) = waiting.leave(25_000_000, 99).unwrap();
        assert_eq!((first.id, question.tries), (0, 2));
        assert_eq!(waiting.leave(25_000_000, 99).unwrap().0.id, 2);
        assert_eq!(waiting.leave(25_000_000, 99), None);
        assert_eq!(waiting.leave(0, 1).unwrap().0.id, 3);
        assert_eq!(waiting.leave(0, 1), None);
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn the_order_does_not_grow_with_answered_questions() {
        let mut waiting = Waiting::default();
        for round in 0..1000 {
            waiting.ask(asked(round), at(i64::from(round), 7));
            if round > 0 {
                waiting.answer(&asked(round));
            }
            assert_eq!(waiting.leave(i64::MIN, 10), None);
        }
        assert!(
            waiting.order.len() <= SWEEP_MIN + 2,
            "{}",
            waiting.order.len()
        );
    }
}
