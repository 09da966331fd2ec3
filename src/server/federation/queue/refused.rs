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

    /// A transaction of so many things was refused as a whole.
    pub(super) fn handle_refused(&mut self, transaction: &Transaction, things: usize) -> Verdict {
        if things > 1 {
            self.most = Some(things.div_ceil(2));
            return Verdict::Halve;
        }
        let edu = transaction.edus.first().filter(|edu| edu.key.lasts() != Use::Once);
        let event = transaction.events.first().map(|position| Thing::Event(*position));
        // Of what is not kept anyway there is nothing to be given up.
        let Some(thing) = event.or_else(|| edu.map(|edu| Thing::Edu(edu.key.clone()))) else {
            return Verdict::Again;
        };
        let before = self.alone.take().filter(|(last, _)| *last == thing).map_or(0, |(_, times)| times);
        if before + 1 >= ATTEMPTS {
            return Verdict::GiveUp;
        }
        self.alone = Some((thing, before + 1));
        Verdict::Again
    }
}
