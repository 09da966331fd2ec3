//! What a destination does not take, though it answers: found by halves, and given up in the end, so that what follows goes.

use super::due::{MAX_EDUS, MAX_PDUS, Transaction};
use crate::server::{
    change::position::LogPosition,
    federation::edu::{Key, Use},
};

/// How often something that was refused by itself is sent again before it is given up; with the pauses of any failure.
const ATTEMPTS: u32 = 3;

/// How much a destination is sent at once, by what it refused.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// So many things at most; `None`: as many as a transaction holds.
    most: Option<usize>,
    /// What was refused by itself last, and how often.
    alone: Option<(Thing, u32)>,
}

/// Something that was sent by itself.
#[derive(Debug, Eq, PartialEq)]
enum Thing {
    Event(LogPosition),
    Edu(Key),
}

/// What is to be done about a transaction that was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The half of it is sent at once.
    Halve,
    /// It is sent again after a pause.
    Again,
    /// It is given up.
    GiveUp,
}

impl Refused {
    /// The things that the next transaction holds at most.
    pub(super) fn most(&self) -> usize {
        self.most.unwrap_or(usize::MAX)
    }

    /// A transaction was taken.
    pub(super) fn handle_delivered(&mut self) {
        self.alone = None;
        self.most = self.most.map(|most| most * 2).filter(|most| *most < MAX_PDUS + MAX_EDUS);
    }

    /// What is done about a transaction of so many things if it is refused as a whole.
    pub(super) fn verdict(&self, transaction: &Transaction, things: usize) -> Verdict {
        if things > 1 {
            return Verdict::Halve;
        }
        match thing(transaction) {
            Some(thing) if self.times(&thing) + 1 >= ATTEMPTS => Verdict::GiveUp,
            _ => Verdict::Again,
        }
    }

    /// A transaction of so many things was refused as a whole.
    pub(super) fn handle_refused(&mut self, transaction: &Transaction, things: usize) -> Verdict {
        let verdict = self.verdict(transaction, things);
        match verdict {
            Verdict::Halve => self.most = Some(things.div_ceil(2)),
            Verdict::Again => {
                let again = thing(transaction).map(|thing| (self.times(&thing) + 1, thing));
                self.alone = again.map(|(times, thing)| (thing, times)).or_else(|| self.alone.take());
            }
            Verdict::GiveUp => self.alone = None,
        }
        verdict
    }

    /// How often this was refused by itself.
    fn times(&self, thing: &Thing) -> u32 {
        self.alone.as_ref().filter(|(last, _)| last == thing).map_or(0, |(_, times)| *times)
    }
}

/// What there is to be given up in a transaction of one thing: of what is not kept anyway, nothing.
fn thing(transaction: &Transaction) -> Option<Thing> {
    let event = transaction.events.first().map(|position| Thing::Event(*position));
    let edu = transaction.edus.first().filter(|edu| edu.key.lasts() != Use::Once);
    event.or_else(|| edu.map(|edu| Thing::Edu(edu.key.clone())))
}
