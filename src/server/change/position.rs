//! Positions: in the durable log, and among what lives in memory only.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::bell::Bell;

/// A place in the append-only log of everything durable that a reader can be told of. Grows in the order of
/// the commits: who has seen one misses nothing at or below it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LogPosition(u64);

/// A place among the changes of what lives in memory only: presence, typing. Begins anew, higher, with every
/// start of the server.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LivePosition(u64);

/// A place in the timeline of a room. An event that is fetched from another server long after it was sent is new
/// in the log and old in the timeline: the two orders are counted apart.
///
/// What comes live at position `p` of the log stands at `p << 20`. So a million events can be put between any
/// two neighbours when they are fetched later, and below zero there is room for all of a room's past before the
/// first event that this server saw; 43 bits of log positions last for 280 years of a thousand events a second.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TimelinePosition(i64);

impl LogPosition {
    /// Before everything.
    pub const START: Self = Self(0);

    /// After everything that will ever be written; SQLite counts to 2^63 - 1.
    pub const END: Self = Self(i64::MAX.cast_unsigned());

    /// The place with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Right before this: everything at or below it is before what stands here.
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The place after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl TimelinePosition {
    /// Before every event of every room.
    pub const START: Self = Self(i64::MIN);

    /// After every event of every room.
    pub const END: Self = Self(i64::MAX);

    /// How many events fit between two that follow each other in the log, as a power of two.
    const GAP_BITS: u32 = 20;

    /// How far two that follow each other in the log are apart.
    pub const GAP: i64 = 1 << Self::GAP_BITS;

    /// The place with this number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Where an event stands that came live, at this position of the log. So also: after every event that
    /// came live at or below it, and before those that came live later.
    pub const fn live(position: LogPosition) -> Self {
        const LAST: u64 = (i64::MAX >> TimelinePosition::GAP_BITS).cast_unsigned();
        if position.0 > LAST { Self::END } else { Self(position.0.cast_signed() << Self::GAP_BITS) }
    }

    /// The last position of the log at which something could come live that stands here or before.
    pub const fn last_live(self) -> LogPosition {
        if self.0 < 0 { LogPosition::START } else { LogPosition((self.0 >> Self::GAP_BITS).cast_unsigned()) }
    }

    /// Right before this: everything at or below it is before what stands here.
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl LivePosition {
    /// Before everything of every run.
    pub const START: Self = Self(0);

    /// The place with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TimelinePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LivePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out the positions of what lives in memory only: presence, typing.
///
/// It begins at the time of the server's start in µs, so that positions of an earlier run are always
/// lower, and whoever held one is told everything live again.
#[derive(Debug, Default)]
pub struct Live {
    epoch: u64,
    last: AtomicU64,
    /// After which positions somebody is about to tell of a change, and how many of them. As many as there are
    /// tellings under way.
    being_told: Mutex<BTreeMap<LivePosition, usize>>,
    bell: Arc<Bell>,
}

/// Changes that are being recorded and told. See [`Live::telling`].
#[derive(Debug)]
#[must_use = "until it is dropped, what is recorded counts as not told"]
pub struct Telling<'a> {
    live: &'a Live,
    after: LivePosition,
}

impl Live {
    /// A counter that begins at `started_us`, µs since the Unix epoch.
    pub fn new(started_us: u64) -> Self {
        Self { epoch: started_us, last: AtomicU64::new(started_us), ..Self::default() }
    }

    /// What is rung when something was told.
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Begins to record changes and to tell of them. Taken *before* the first position of them is handed out, and
    /// dropped when all were told: so [`Self::told`] never goes beyond a change that somebody was not woken for yet.
    pub fn telling(&self) -> Telling<'_> {
        let mut being_told = self.being_told.lock();
        let after = self.position();
        *being_told.entry(after).or_default() += 1;
        Telling { live: self, after }
    }

    /// Up to where everything was told: those whom it concerns have been woken.
    pub fn told(&self) -> LivePosition {
        let being_told = self.being_told.lock();
        being_told.first_key_value().map_or_else(|| self.position(), |(after, _)| *after)
    }

    /// The next position. Taken *inside* the lock of what it is for, so that a reader that saw a
    /// position and then takes the lock finds everything up to it.
    pub fn advance(&self) -> LivePosition {
        LivePosition(self.last.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The last position that was handed out.
    pub fn position(&self) -> LivePosition {
        LivePosition(self.last.load(Ordering::Acquire))
    }

    /// Whether `position` was handed out by this run of the server.
    pub fn knows(&self, position: LivePosition) -> bool {
        (LivePosition(self.epoch)..=self.position()).contains(&position)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let mut being_told = self.live.being_told.lock();
        if let Some(count) = being_told.get_mut(&self.after) {
            *count -= 1;
            if *count == 0 {
                being_told.remove(&self.after);
            }
        }
        drop(being_told);
        self.live.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_ends_before_the_first_change_that_is_being_told() {
        let live = Live::new(100);
        let told = || live.told().get();
        assert_eq!(told(), 100);
        let first = live.telling();
        let second = live.telling();
        live.advance();
        let third = live.telling();
        live.advance();
        assert_eq!(told(), 100);
        drop(first);
        assert_eq!(told(), 100, "somebody else began as early");
        drop(second);
        assert_eq!(told(), 101);
        drop(third);
        assert_eq!(told(), 102);
    }

    #[test]
    fn a_million_events_fit_between_two_that_came_live_one_after_the_other() {
        let live = |position| TimelinePosition::live(LogPosition::new(position));
        assert_eq!(live(8).get() - live(7).get(), 1 << 20);
        assert!(live(0) > TimelinePosition::START && live(0).before().get() < 0);
        assert_eq!(live((1 << 43) - 1).get(), i64::MAX - ((1 << 20) - 1));
        assert_eq!((live(7).last_live(), live(8).before().last_live()), (LogPosition(7), LogPosition(7)));
        assert_eq!(TimelinePosition::START.last_live(), LogPosition::START);
        assert_eq!((live(1 << 43), live(u64::MAX)), (TimelinePosition::END, TimelinePosition::END));
    }

    #[test]
    fn positions_of_another_run_are_not_known() {
        let live = Live::new(1000);
        let first = live.advance();
        assert!(live.knows(LivePosition(1000)) && live.knows(first));
        assert!(!live.knows(LivePosition(999)) && !live.knows(LivePosition(first.0 + 1)));
    }
}
