//! What the streams of a device wait for while it comes into a room that it has in the answer to that, instead of in its
//! stream (M6).
//!
//! The device says with the join that it confirms the answer. Until it has, its streams look at nothing new; then they
//! tell of the room what came after the answer. Who does not confirm in time is told the room whole: nothing is lost with
//! an answer. Nor with a stream: as long as one waits it gives out no place beyond the join.

use std::time::Duration;

use ruma::OwnedRoomId;
use tokio::time::Instant;

use crate::server::{change::position::LogPosition, stream::entered::Entered};

/// How long a join may take until it is answered.
const ANSWERING: Duration = Duration::from_secs(10);

/// How long the device may take with the answer until it confirms it.
const CONFIRMING: Duration = Duration::from_secs(5);

/// How long a stream waits at once, however many joins follow each other: then it looks, before it waits again.
const LONGEST: Duration = ANSWERING.saturating_add(CONFIRMING);

/// Joins at once that streams wait for; with more they do not.
const MAX_JOINS: usize = 16;

/// Answers of which is kept that the device has them, until its stream is past them; the oldest are forgotten.
const MAX_ENTERED: usize = 50;

/// A join, by whoever began it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Join(pub(super) u64);

/// What one stream waits for.
#[derive(Debug, Default)]
pub(super) struct Joining {
    joins: Vec<Awaited>,
    /// Since when there is always one of them.
    since: Option<Instant>,
    entered: Vec<Entered>,
}

#[derive(Debug)]
struct Awaited {
    join: Join,
    until: Instant,
    /// Where it led, once it is answered.
    room: Option<OwnedRoomId>,
}

impl Joining {
    /// The device begins to join.
    pub(super) fn begin(&mut self, join: Join, now: Instant) {
        self.joins.retain(|awaited| awaited.until > now);
        if self.joins.is_empty() {
            self.since = Some(now);
        }
        if self.joins.len() < MAX_JOINS {
            self.joins.push(Awaited { join, until: now + ANSWERING, room: None });
        }
    }

    /// It is answered, and is in `room`.
    pub(super) fn answer(&mut self, join: Join, room: &OwnedRoomId, now: Instant) {
        for awaited in self.joins.iter_mut().filter(|awaited| awaited.join == join) {
            (awaited.until, awaited.room) = (now + CONFIRMING, Some(room.clone()));
        }
    }

    /// The join came to nothing.
    pub(super) fn give_up(&mut self, join: Join) {
        self.joins.retain(|awaited| awaited.join != join);
    }

    /// The device has an answer.
    pub(super) fn confirm(&mut self, entered: Entered) {
        self.joins.retain(|awaited| awaited.room.as_ref() != Some(&entered.room));
        if self.entered.len() >= MAX_ENTERED {
            self.entered.remove(0);
        }
        self.entered.push(entered);
    }

    /// Until when the stream waits at most, if it does.
    pub(super) fn until(&mut self, now: Instant) -> Option<Instant> {
        let longest = self.since.map(|since| since + LONGEST);
        self.joins.retain(|awaited| awaited.until > now && longest.is_some_and(|longest| longest > now));
        let last = self.joins.iter().map(|awaited| awaited.until).max();
        last.zip(longest).map(|(last, longest)| last.min(longest))
    }

    /// The answers that the device has.
    pub(super) fn entered(&self) -> &[Entered] {
        &self.entered
    }

    /// The stream was told everything up to `log`.
    pub(super) fn forget(&mut self, log: LogPosition) {
        if !self.entered.is_empty() {
            self.entered.retain(|entered| entered.upto > log);
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::room_id;

    use super::*;

    #[test]
    fn a_stream_waits_for_every_join_until_it_is_confirmed_refused_or_late() {
        let (mut joining, begun) = (Joining::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (a, b) = (room_id!("!a:x").to_owned(), room_id!("!b:x").to_owned());
        let entered = |room: &OwnedRoomId| Entered { room: room.clone(), upto: LogPosition::new(7) };
        assert_eq!(joining.until(begun), None);
        (1..=3).for_each(|n| joining.begin(Join(n), begun));
        joining.give_up(Join(3));
        assert_eq!(joining.until(at(9)), Some(at(10)));
        joining.answer(Join(1), &a, at(9));
        joining.answer(Join(2), &b, at(9));
        joining.confirm(entered(&b));
        assert_eq!(joining.until(at(13)), Some(at(14)), "the other is not confirmed");
        assert_eq!(joining.until(at(14)), None);
        joining.begin(Join(4), at(20));
        assert_eq!(joining.until(at(29)), Some(at(30)));
        assert_eq!(joining.until(at(30)), None, "it is not answered");
        assert_eq!(joining.entered(), [entered(&b)]);
        joining.forget(LogPosition::new(6));
        assert_eq!(joining.entered(), [entered(&b)]);
        joining.forget(LogPosition::new(7));
        assert_eq!(joining.entered(), []);
        (0..100).for_each(|n| joining.begin(Join(n), begun));
        (0..100).for_each(|_| joining.confirm(entered(&a)));
        assert_eq!((joining.joins.len(), joining.entered.len()), (MAX_JOINS, MAX_ENTERED));
    }

    #[test]
    fn joins_that_follow_each_other_without_end_hold_a_stream_for_a_while_at_most() {
        let room = room_id!("!a:x").to_owned();
        let entered = || Entered { room: room.clone(), upto: LogPosition::new(7) };
        for (confirms, looks) in [(false, 4), (true, 0)] {
            let (mut joining, begun) = (Joining::default(), Instant::now());
            let (mut waits_since, mut looked) = (None, 0);
            for second in 0..64 {
                let now = begun + Duration::from_secs(second);
                joining.begin(Join(second), now);
                let since = *waits_since.get_or_insert(now);
                joining.answer(Join(second), &room, now);
                if confirms {
                    joining.confirm(entered());
                }
                match joining.until(now) {
                    Some(until) => assert!(until <= since + LONGEST, "in second {second}"),
                    None => (waits_since, looked) = (None, looked + u32::from(!confirms)),
                }
            }
            assert_eq!(looked, looks, "confirms: {confirms}");
        }
    }
}
