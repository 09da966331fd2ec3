//! Files that come at this moment, from users or from other servers: so many, and when there are more, slow ones make room.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use ruma::{OwnedUserId, UserId};
use tokio::{sync::Notify, time::Instant};

/// Where all places are taken, a file keeps its own that is this fast on the whole: so slow a line still carries a call.
const PACE_PER_SECOND: u64 = 32 << 10;

/// How long a file has to come up to that.
const BEGINNING: Duration = Duration::from_secs(10);

/// What comes.
#[derive(Debug)]
pub(super) struct UnderWay {
    most: usize,
    most_of_one: usize,
    /// By the order in which they began. Bounded by `most`.
    coming: BTreeMap<u64, Coming>,
    next: u64,
}

/// One file.
#[derive(Debug)]
struct Coming {
    who: OwnedUserId,
    begun: Instant,
    /// What it counts for.
    bytes: u64,
    /// What has come of it.
    came: u64,
    is_whole: bool,
    ended: Arc<Notify>,
}

/// The place of one file.
#[derive(Clone, Debug)]
pub(super) struct Place {
    number: u64,
    ended: Arc<Notify>,
}

impl Place {
    /// Returns when it had to make room for another; one waits for that.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }
}

impl UnderWay {
    /// There is room for `most`, and for `most_of_one` user's.
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, coming: BTreeMap::new(), next: 0 }
    }

    /// Begins a file for `who`; `None`: there is no room.
    ///
    /// When all places are taken, the slowest file makes room of a user who has two more than this one then has, or the
    /// slowest of all that are too slow.
    pub(super) fn begin(&mut self, who: &UserId, now: Instant) -> Option<Place> {
        let own = self.count(who);
        if own >= self.most_of_one {
            return None;
        }
        if self.coming.len() >= self.most {
            let displaced = self.displaced_by(own, now)?;
            if let Some(one) = self.coming.remove(&displaced) {
                one.ended.notify_one();
            }
        }
        self.next += 1;
        let ended = Arc::new(Notify::new());
        let place = Place { number: self.next, ended: Arc::clone(&ended) };
        let who = who.to_owned();
        self.coming.insert(self.next, Coming { who, begun: now, bytes: 0, came: 0, is_whole: false, ended });
        Some(place)
    }

    /// So many bytes have come of it; `false`: it had to make room.
    pub(super) fn note(&mut self, place: &Place, came: u64) -> bool {
        let coming = self.coming.get_mut(&place.number);
        coming.is_some_and(|one| {
            one.came = came;
            true
        })
    }

    /// Whether some of it has come.
    pub(super) fn has_begun(&self, place: &Place) -> bool {
        self.coming.get(&place.number).is_some_and(|one| one.came > 0)
    }

    /// It counts for so many bytes, of which it has not less; `false`: it had to make room.
    pub(super) fn count_as(&mut self, place: &Place, bytes: u64) -> bool {
        let coming = self.coming.get_mut(&place.number);
        coming.is_some_and(|one| {
            one.bytes = one.bytes.max(bytes);
            true
        })
    }

    /// All of it has come: it makes room for nobody.
    pub(super) fn note_whole(&mut self, place: &Place) -> bool {
        let coming = self.coming.get_mut(&place.number);
        coming.is_some_and(|one| {
            one.is_whole = true;
            true
        })
    }

    /// It is done with.
    pub(super) fn end(&mut self, place: &Place) {
        self.coming.remove(&place.number);
    }

    /// What all others count for, and those of one user.
    pub(super) fn bytes_beside(&self, place: &Place, who: &UserId) -> (u64, u64) {
        let others = || self.coming.iter().filter(|(number, _)| **number != place.number).map(|(_, one)| one);
        let own = others().filter(|one| one.who == who).map(|one| one.bytes).sum();
        (others().map(|one| one.bytes).sum(), own)
    }

    fn count(&self, who: &UserId) -> usize {
        self.coming.values().filter(|one| one.who == who).count()
    }

    /// Which file makes room for one of a user who has `own`.
    fn displaced_by(&self, own: usize, now: Instant) -> Option<u64> {
        let pace = |one: &Coming| {
            let seconds = now.duration_since(one.begun).as_secs().max(1);
            one.came / seconds
        };
        let has_too_much = |one: &Coming| self.count(&one.who) >= own + 2;
        let is_too_slow =
            |one: &Coming| now.duration_since(one.begun) >= BEGINNING && pace(one) < PACE_PER_SECOND;
        let may_go = |(_, one): &(&u64, &Coming)| !one.is_whole && (has_too_much(one) || is_too_slow(one));
        let slowest = |(number, one): &(&u64, &Coming)| {
            // Of those that have just begun, the last: who was there first is not put out by who asks for all.
            let count = if has_too_much(one) { self.count(&one.who) } else { 0 };
            (Reverse(count), pace(one), Reverse(**number))
        };
        self.coming.iter().filter(may_go).min_by_key(slowest).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> OwnedUserId {
        OwnedUserId::try_from(format!("@u{n}:x")).expect("an ID")
    }

    fn is_ended(place: &Place) -> bool {
        let mut ended = std::pin::pin!(place.ended());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        ended.as_mut().poll(&mut cx).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_many_makes_room_for_who_has_none_and_nobody_for_who_has_as_many() {
        let (mut under_way, now) = (UnderWay::new(4, 4), Instant::now());
        let places: Vec<_> = (0..4).map(|_| under_way.begin(&user(1), now).expect("there is room")).collect();
        for (place, came) in places.iter().zip([50, 10, 30, 40]) {
            assert!(under_way.note(place, came));
        }
        assert!(under_way.begin(&user(1), now).is_none());
        let second = under_way.begin(&user(2), now).expect("the slowest makes room");
        assert!(is_ended(&places[1]) && !under_way.note(&places[1], 11));
        assert!(under_way.note_whole(&places[2]));
        let third = under_way.begin(&user(2), now).expect("the slowest makes room that is not whole");
        assert!(is_ended(&places[3]));
        assert!(under_way.begin(&user(2), now).is_none(), "both have two");
        for place in [&places[0], &places[2], &second, &third] {
            assert!(!is_ended(place));
            under_way.end(place);
        }
        assert!(under_way.coming.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_users_with_a_file_each_those_make_room_that_are_too_slow() {
        let (mut under_way, now) = (UnderWay::new(3, 2), Instant::now());
        let places: Vec<_> = (0..3).map(|n| under_way.begin(&user(n), now).expect("there is room")).collect();
        for (place, came) in places.iter().zip([PACE_PER_SECOND * 10, PACE_PER_SECOND * 9, 5]) {
            assert!(under_way.note(place, came));
        }
        let early = now + BEGINNING - Duration::from_secs(1);
        assert!(under_way.begin(&user(4), early).is_none(), "they have just begun");
        let then = now + BEGINNING;
        assert!(under_way.begin(&user(4), then).is_some());
        assert!(under_way.begin(&user(5), then).is_some());
        assert!(under_way.begin(&user(6), then).is_none());
        assert_eq!(places.iter().map(is_ended).collect::<Vec<_>>(), [false, true, true]);
    }
}
