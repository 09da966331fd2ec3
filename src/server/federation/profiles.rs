//! What users of other servers are called and look like, so that it is told together with what they show (P10).
//!
//! A server says in a mark that a profile is another one; then it is asked for, once, and the user's change is held
//! back for a moment, so that readers get one event with both. Of users whose server says no marks the profile is
//! asked for when it is older than an hour. Knows no clock and no network: it is told the time, says whom to ask
//! for, and is told the answer. Answers can come in another order than that in which they were asked for: what was asked
//! for later counts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedServerName, OwnedUserId, UserId};

use crate::{
    core::{federation::ProfileMark, time::Instant},
    server::profile::Profile,
};

/// How long a change waits for the profile that belongs to it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a profile of which no marks are said is taken for current.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// The shortest time between two requests for one profile, however often its mark changes.
const PAUSE: Duration = Duration::from_secs(10);

/// The time after a request that failed, doubled each time, and how many are made before the next change. The first is
/// repeated at once: a connection that was kept may have ended just then, which says nothing of the other server.
const RETRY: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 6;

/// Requests under way to one server, and to all.
const MAX_IN_FLIGHT: usize = 4;
const MAX_IN_FLIGHT_TO_ALL: usize = 32;

/// The profiles of users of other servers. Bounded: those of the users whom somebody here observes, and of whom something
/// is known who share a room with somebody here.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    users: HashMap<OwnedUserId, Known>,
    /// Whose change waits for a profile, and until when.
    held: BTreeSet<(Instant, OwnedUserId)>,
    /// Whose profile is wanted, not before that time.
    later: BTreeSet<(Instant, OwnedUserId)>,
    lanes: BTreeMap<OwnedServerName, Lane>,
    in_flight: usize,
    /// Counts the requests for profiles, of whomever they are.
    requests: u64,
}

/// What is asked of one server.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<OwnedUserId>,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Known {
    profile: Arc<Profile>,
    /// The request that it was the answer to.
    asked_as: Asked,
    /// What their server said last.
    said: ProfileMark,
    /// What it had said when the profile was asked for.
    fetched: Option<(Instant, ProfileMark)>,
    /// Wanted, or asked for.
    is_wanted: bool,
    asked: Option<Instant>,
    failures: u32,
    held_until: Option<Instant>,
    /// It took too long: until it is there, or another is wanted, no change waits for it.
    gave_up: bool,
}

/// What becomes of a change of what a user shows.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// It is told, with this profile.
    Tell(Arc<Profile>),
    /// It is told with the profile, when that is there.
    Hold,
}

/// A request for a profile: which one, by when it was made.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Asked(u64);

/// A profile to be asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    pub(super) user: OwnedUserId,
    asked: Asked,
    /// What the user's server had said of it by then.
    mark: ProfileMark,
}

impl Profiles {
    /// Something is known of what `user` shows; their server says that their profile has this mark.
    pub(super) fn handle_change(&mut self, user: &UserId, mark: ProfileMark, now: Instant) -> Turn {
        let known = self.users.entry(user.to_owned()).or_default();
        if known.said != mark {
            (known.said, known.failures, known.gave_up) = (mark, 0, false);
        }
        if known.is_current(now) {
            self.release(user);
            return Turn::Tell(self.profile(user));
        }
        let waits = known.is_new() && !known.gave_up;
        self.want(user, now);
        let known = self.users.get_mut(user).expect("put in above");
        if !waits {
            return Turn::Tell(Arc::clone(&known.profile));
        }
        if known.held_until.is_none() {
            known.held_until = Some(now + PATIENCE);
            self.held.insert((now + PATIENCE, user.to_owned()));
        }
        Turn::Hold
    }

    /// Something is known of what `user` shows, whom nobody has on a list: who shares a room with them has their name and
    /// picture from there, so their profile is asked for only when their server says that it changed (P10).
    pub(super) fn handle_change_of_mate(&mut self, user: &UserId, mark: ProfileMark, now: Instant) -> Turn {
        if mark == ProfileMark::UNTOLD {
            return Turn::Tell(self.profile(user));
        }
        if !self.users.contains_key(user) {
            let known = Known { said: mark, fetched: Some((now, mark)), ..Known::default() };
            self.users.insert(user.to_owned(), known);
        }
        self.handle_change(user, mark, now)
    }

    /// It is unknown what `user` shows, which does not wait for anything. Answers what they were called.
    pub(super) fn handle_unknown(&mut self, user: &UserId) -> Arc<Profile> {
        self.release(user);
        self.profile(user)
    }

    /// Nobody here observes `user` any more.
    pub(super) fn forget(&mut self, user: &UserId) {
        self.release(user);
        self.users.remove(user);
    }

    /// What `user` was called last, as far as is known.
    pub(super) fn profile(&self, user: &UserId) -> Arc<Profile> {
        self.users.get(user).map(|known| Arc::clone(&known.profile)).unwrap_or_default()
    }

    /// Whether a change of the user waits for their profile.
    pub(super) fn is_held(&self, user: &UserId) -> bool {
        self.users.get(user).is_some_and(|known| known.held_until.is_some())
    }

    /// The next profile to ask for, if there is one; then [`Self::handle_answer`] is to be called for it.
    pub(super) fn take_next(&mut self, now: Instant) -> Option<Wanted> {
        if self.in_flight >= MAX_IN_FLIGHT_TO_ALL {
            return None;
        }
        let mut lanes = self.lanes.values_mut();
        let lane = lanes.find(|lane| lane.in_flight < MAX_IN_FLIGHT && !lane.waiting.is_empty())?;
        let user = lane.waiting.pop_front().expect("there is one");
        lane.in_flight += 1;
        self.in_flight += 1;
        let asked = self.ask();
        let known = self.users.get_mut(&user);
        let mark = known.map_or(ProfileMark::UNTOLD, |known| {
            known.asked = Some(now);
            known.said
        });
        Some(Wanted { user, asked, mark })
    }

    /// Somebody asks for a profile.
    pub(super) fn ask(&mut self) -> Asked {
        self.requests += 1;
        Asked(self.requests)
    }

    /// What became of a request; `None`: it failed. Whether the user is to be told of again.
    pub(super) fn handle_answer(&mut self, wanted: &Wanted, profile: Option<Profile>, now: Instant) -> bool {
        let Wanted { user, asked, mark } = wanted;
        self.in_flight -= 1;
        if let Some(lane) = self.lanes.get_mut(user.server_name()) {
            lane.in_flight -= 1;
            if lane.in_flight == 0 && lane.waiting.is_empty() {
                self.lanes.remove(user.server_name());
            }
        }
        let was_held = self.is_held(user);
        let Some(known) = self.users.get_mut(user) else { return false };
        known.is_wanted = false;
        let differs = match profile {
            Some(profile) => {
                (known.failures, known.gave_up) = (0, false);
                known.fetched = Some((now, *mark));
                known.learn(profile, *asked)
            }
            None => {
                known.failures += 1;
                known.gave_up = known.failures > 1;
                false
            }
        };
        let (is_current, failures) = (known.is_current(now), known.failures);
        if !is_current && failures < ATTEMPTS {
            self.want(user, now);
            // What is wanted is another one than what came, or comes yet: it is still to be told with the change.
            if failures <= 1 && was_held {
                return false;
            }
        }
        self.release(user);
        differs || was_held
    }

    /// Somebody else asked, and this is the profile. Whether the user is to be told of again.
    pub(super) fn handle_seen(
        &mut self,
        user: &UserId,
        asked: Asked,
        profile: &Profile,
        now: Instant,
    ) -> bool {
        let Some(known) = self.users.get_mut(user).filter(|known| asked > known.asked_as) else {
            return false;
        };
        if known.said == ProfileMark::UNTOLD {
            known.fetched = Some((now, known.said));
        }
        known.learn(profile.clone(), asked)
    }

    /// Does what is due. Answers with those whose change has waited for long enough: they are to be told of as they are
    /// known.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<OwnedUserId> {
        while let Some(user) = pop_due(&mut self.later, now) {
            self.line_up(user);
        }
        let mut tired = Vec::new();
        while let Some(user) = pop_due(&mut self.held, now) {
            self.release(&user);
            if let Some(known) = self.users.get_mut(&user) {
                known.gave_up = true;
            }
            tired.push(user);
        }
        tired
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [&self.held, &self.later].into_iter().filter_map(|queue| queue.first()).map(|(at, _)| *at).min()
    }

    /// How many requests are under way, or wait for nothing but those.
    pub(super) fn busy(&self) -> usize {
        self.in_flight + self.lanes.values().map(|lane| lane.waiting.len()).sum::<usize>()
    }

    fn want(&mut self, user: &UserId, now: Instant) {
        let Some(known) = self.users.get_mut(user) else { return };
        if std::mem::replace(&mut known.is_wanted, true) {
            return;
        }
        let pause = match known.failures {
            0 => PAUSE,
            1 => Duration::ZERO,
            failures => RETRY.saturating_mul(1 << (failures - 2).min(10)),
        };
        match known.asked.map(|asked| asked + pause).filter(|at| *at > now) {
            Some(at) => {
                self.later.insert((at, user.to_owned()));
            }
            None => self.line_up(user.to_owned()),
        }
    }

    fn line_up(&mut self, user: OwnedUserId) {
        self.lanes.entry(user.server_name().to_owned()).or_default().waiting.push_back(user);
    }

    fn release(&mut self, user: &UserId) {
        if let Some(until) = self.users.get_mut(user).and_then(|known| known.held_until.take()) {
            self.held.remove(&(until, user.to_owned()));
        }
    }
}

fn pop_due(queue: &mut BTreeSet<(Instant, OwnedUserId)>, now: Instant) -> Option<OwnedUserId> {
    queue.first().filter(|(at, _)| *at <= now)?;
    queue.pop_first().map(|(_, user)| user)
}

impl Known {
    /// Takes the answer to a request, unless that to a later one was there before; whether it is another profile.
    fn learn(&mut self, profile: Profile, asked: Asked) -> bool {
        if asked <= self.asked_as || *self.profile == profile {
            self.asked_as = self.asked_as.max(asked);
            return false;
        }
        (self.profile, self.asked_as) = (Arc::new(profile), asked);
        true
    }

    /// Whether the profile is that of the mark that was said, or of a little while ago where none is.
    fn is_current(&self, now: Instant) -> bool {
        match (self.said, self.fetched) {
            (ProfileMark::UNTOLD, fetched) => fetched.is_some_and(|(at, _)| now.since(at) < LIFETIME),
            // What is too long for a profile here is left out of it: then its own mark is another one.
            (said, fetched) => said == self.profile.mark() || fetched.is_some_and(|(_, mark)| mark == said),
        }
    }

    /// Whether it is known, and not only possible, that readers would be told an old profile.
    fn is_new(&self) -> bool {
        self.said != ProfileMark::UNTOLD || self.fetched.is_none()
    }
}

#[cfg(test)]
mod tests;
