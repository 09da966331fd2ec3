//! Which events one destination is still to get.
//!
//! As long as it is not far behind: all of them, in the order of the log. Who was away for long is told the newest of each
//! room, from which it finds what it wants of the others.

use std::collections::VecDeque;

use crate::server::change::position::LogPosition;

/// Events that wait for one destination at most; beyond, it is far behind.
pub(in crate::server::federation) const MAX_EVENTS: usize = 500;

/// What one destination is owed, by position in the log. Bounded by [`MAX_EVENTS`], and one for each room that it is in when
/// it is found again.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// It was left behind, and is not told yet what there is instead.
    behind: Option<Behind>,
    /// After that, in the order of the log.
    waiting: VecDeque<LogPosition>,
    /// On their way: of those that were found while it was behind, else of those that waited.
    flying: Vec<LogPosition>,
}

#[derive(Debug)]
struct Behind {
    /// Everything up to this is there.
    since: LogPosition,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// What is newest in its rooms is to be looked up when it can be reached, most likely.
    Lost,
    /// It is being looked up; what happens meanwhile waits.
    Looking,
    /// This is what is newest.
    Found(VecDeque<LogPosition>),
}

impl Owed {
    /// Of a destination of which is known only up to where it has everything.
    pub(super) fn since(since: LogPosition) -> Self {
        Self { behind: Some(Behind { since, stage: Stage::Lost }), ..Self::default() }
    }

    /// One more; whether the destination is left behind by it.
    pub(super) fn push(&mut self, position: LogPosition) -> bool {
        if self.is_lost() {
            return false;
        }
        self.waiting.push_back(position);
        let is_too_much = self.waiting.len() > MAX_EVENTS;
        if is_too_much {
            self.leave_behind();
        }
        is_too_much
    }

    /// Forgets what waits: it is looked up when the destination can be reached.
    pub(super) fn leave_behind(&mut self) {
        if let Some(since) = self.complete_upto() {
            self.behind = Some(Behind { since, stage: Stage::Lost });
            self.waiting.clear();
        }
    }

    /// Up to where the destination has everything; `None`: it has all there is.
    pub(super) fn complete_upto(&self) -> Option<LogPosition> {
        let first = || self.flying.first().or(self.waiting.front()).copied();
        self.behind.as_ref().map(|behind| behind.since).or_else(|| first().map(LogPosition::before))
    }

    /// Whether what the destination is owed is to be looked up.
    pub(super) fn is_lost(&self) -> bool {
        matches!(&self.behind, Some(Behind { stage: Stage::Lost, .. }))
    }

    /// Whether the destination is not told of all that happens.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether there is anything to be sent, or looked up.
    pub(super) fn is_due(&self) -> bool {
        match &self.behind {
            Some(Behind { stage: Stage::Lost, .. }) => true,
            Some(Behind { stage: Stage::Looking, .. }) => false,
            Some(Behind { stage: Stage::Found(found), .. }) => !found.is_empty(),
            None => !self.waiting.is_empty(),
        }
    }

    /// How many wait, as far as they are known.
    pub(super) fn len(&self) -> usize {
        let found = match &self.behind {
            Some(Behind { stage: Stage::Found(found), .. }) => found.len(),
            Some(Behind { stage: Stage::Lost | Stage::Looking, .. }) => 1,
            None => 0,
        };
        found + self.waiting.len()
    }

    /// What is owed is about to be looked up: since where.
    pub(super) fn look(&mut self) -> Option<LogPosition> {
        let behind = self.behind.as_mut().filter(|behind| matches!(behind.stage, Stage::Lost))?;
        behind.stage = Stage::Looking;
        Some(behind.since)
    }

    /// What the look found; `None`: it could not be done.
    pub(super) fn handle_found(&mut self, found: Option<Vec<LogPosition>>) {
        let Some(behind) = self.behind.as_mut().filter(|behind| matches!(behind.stage, Stage::Looking))
        else {
            return;
        };
        match found {
            Some(found) if found.is_empty() => self.behind = None,
            Some(found) => behind.stage = Stage::Found(found.into()),
            None => {
                behind.stage = Stage::Lost;
                self.waiting.clear();
            }
        }
    }

    /// Takes up to `most` of them for one transaction.
    pub(super) fn take(&mut self, most: usize) -> Vec<LogPosition> {
        let from = match &mut self.behind {
            Some(Behind { stage: Stage::Found(found), .. }) => found,
            Some(Behind { stage: Stage::Lost | Stage::Looking, .. }) => return Vec::new(),
            None => &mut self.waiting,
        };
        self.flying = from.drain(..most.min(from.len())).collect();
        self.flying.clone()
    }

    /// What was taken has arrived.
    pub(super) fn handle_delivered(&mut self) {
        self.flying.clear();
        let is_done =
            matches!(&self.behind, Some(Behind { stage: Stage::Found(found), .. }) if found.is_empty());
        if is_done {
            self.behind = None;
        }
    }

    /// What was taken has not arrived, or nobody knows.
    pub(super) fn handle_failed(&mut self) {
        let flying = std::mem::take(&mut self.flying);
        let into = match &mut self.behind {
            Some(Behind { stage: Stage::Found(found), .. }) => found,
            // It was left behind meanwhile: what it has not got is looked up.
            Some(Behind { stage: Stage::Lost | Stage::Looking, .. }) => return,
            None => &mut self.waiting,
        };
        flying.into_iter().rev().for_each(|position| into.push_front(position));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> LogPosition {
        LogPosition::new(number)
    }

    fn numbers(positions: Vec<LogPosition>) -> Vec<u64> {
        positions.into_iter().map(LogPosition::get).collect()
    }

    #[test]
    fn what_failed_comes_first_again_and_the_order_stays() {
        let mut owed = Owed::default();
        (1..=5).for_each(|n| assert!(!owed.push(at(n * 10))));
        assert_eq!(numbers(owed.take(3)), [10, 20, 30]);
        owed.push(at(60));
        assert_eq!(owed.complete_upto(), Some(at(9)));
        owed.handle_failed();
        assert_eq!(numbers(owed.take(2)), [10, 20]);
        owed.handle_delivered();
        assert_eq!(owed.complete_upto(), Some(at(29)));
        assert_eq!(numbers(owed.take(50)), [30, 40, 50, 60]);
        assert!(!owed.is_due());
        owed.handle_delivered();
        assert_eq!(owed.complete_upto(), None);
    }

    #[test]
    fn who_is_far_behind_gets_what_is_found_and_then_what_waited_meanwhile() {
        let mut owed = Owed::default();
        let left = (1..=600).find(|n| owed.push(at(*n))).expect("too many");
        assert_eq!((left, owed.len()), (MAX_EVENTS as u64 + 1, 1));
        assert!(!owed.push(at(601)), "it is left behind already");
        assert_eq!(owed.complete_upto(), Some(at(0)));
        assert_eq!(owed.look(), Some(at(0)));
        assert!(owed.look().is_none() && !owed.is_due(), "somebody looks");
        owed.push(at(700));
        owed.handle_found(Some(vec![at(500), at(601)]));
        assert_eq!(numbers(owed.take(1)), [500]);
        owed.handle_failed();
        assert_eq!(numbers(owed.take(2)), [500, 601]);
        assert_eq!(owed.complete_upto(), Some(at(0)), "it is not known what arrived");
        owed.handle_delivered();
        assert_eq!(owed.complete_upto(), Some(at(699)));
        assert_eq!(numbers(owed.take(50)), [700]);
    }

    #[test]
    fn who_is_left_behind_with_something_on_its_way_is_owed_that_too() {
        for ends in [Owed::handle_delivered as fn(&mut Owed), Owed::handle_failed] {
            let mut owed = Owed::default();
            owed.push(at(7));
            assert_eq!(numbers(owed.take(50)), [7]);
            (8..=8 + MAX_EVENTS as u64).for_each(|n| {
                owed.push(at(n));
            });
            ends(&mut owed);
            assert_eq!((owed.complete_upto(), owed.take(50)), (Some(at(6)), vec![]));
            assert!(owed.is_lost());
        }
    }

    #[test]
    fn a_look_that_fails_is_made_again_and_finds_what_came_meanwhile() {
        let mut owed = Owed::since(at(5));
        assert_eq!(owed.look(), Some(at(5)));
        owed.push(at(9));
        owed.handle_found(None);
        assert!(owed.is_lost() && owed.waiting.is_empty());
        assert_eq!(owed.look(), Some(at(5)));
        owed.handle_found(Some(Vec::new()));
        assert_eq!(owed.complete_upto(), None);
    }
}
