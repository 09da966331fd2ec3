//! Sessions that were used lately, so that a request costs no query.

use std::collections::HashMap;

use ruma::{OwnedDeviceId, UserId};

use crate::server::{
    session::{Session, TokenHash},
    store::Known,
};
use parking_lot::{Mutex, MutexGuard};

/// Entries per generation; two generations are kept.
const GENERATION: usize = 32_768;

/// How often at most "last seen" of a device is written, in milliseconds.
const SEEN_EVERY_MS: u64 = 10 * 60 * 1000;

/// A bounded cache from token hash to session.
///
/// Two generations: what is found in the old one moves to the new one, and when the new one is
/// full the old one is dropped. So what was not used for a while goes first.
#[derive(Debug, Default)]
pub(super) struct SessionCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    new: HashMap<TokenHash, Entry>,
    old: HashMap<TokenHash, Entry>,
    /// Counts invalidations: a session read from the store before one may be gone after it.
    epoch: u64,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    /// Until when its access token is good; `None`: until it logs out.
    expires_ms: Option<u64>,
    /// When it was used first since it is kept here.
    first_ms: u64,
    /// When it was used last.
    used_ms: u64,
    /// When "last seen" was due last.
    seen_ms: u64,
}

/// A session found in the cache.
#[derive(Debug)]
pub(super) struct Found {
    /// Who it is.
    pub(super) session: Session,
    /// "Last seen" is due to be written.
    pub(super) seen_long_ago: bool,
}

impl SessionCache {
    /// Looks a session up and notes that it was used at `now_ms`.
    pub(super) fn find(&self, hash: &TokenHash, now_ms: u64) -> Option<Found> {
        let mut state = self.lock();
        if !state.new.contains_key(hash) {
            let entry = state.old.remove(hash)?;
            state.put(*hash, entry);
        }
        let entry = state.new.get_mut(hash)?;
        if entry.expires_ms.is_some_and(|until| until <= now_ms) {
            state.new.remove(hash);
            return None;
        }
        entry.used_ms = now_ms;
        let seen_long_ago = now_ms.abs_diff(entry.seen_ms) >= SEEN_EVERY_MS;
        if seen_long_ago {
            entry.seen_ms = now_ms;
        }
        Some(Found { session: entry.session.clone(), seen_long_ago })
    }

    /// To be read before a session is looked up in the store, and handed to [`Self::insert`].
    pub(super) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Keeps a session read from the store, unless sessions ended since `epoch`.
    pub(super) fn insert(&self, hash: TokenHash, known: &Known, now_ms: u64, epoch: u64) {
        let mut state = self.lock();
        if state.epoch == epoch {
            let Known { session, expires_ms, .. } = known.clone();
            state
                .put(hash, Entry { session, expires_ms, first_ms: now_ms, used_ms: now_ms, seen_ms: now_ms });
        }
    }

    /// The devices of `user` that were used at or after `from_ms`, those that have been in use for longest first.
    /// Looks at everything that is kept: to be asked seldom.
    pub(super) fn in_use(&self, user: &UserId, from_ms: u64) -> Vec<OwnedDeviceId> {
        let state = self.lock();
        #[expect(clippy::disallowed_methods, reason = "put in order below")]
        let entries = state.new.values().chain(state.old.values());
        let in_use = entries.filter(|entry| entry.session.user == user && entry.used_ms >= from_ms);
        let mut devices: Vec<_> =
            in_use.map(|entry| (entry.first_ms, entry.session.device.clone())).collect();
        devices.sort_unstable();
        devices.into_iter().map(|(_, device)| device).collect()
    }

    /// Forgets sessions that ended. Called after the store has.
    pub(super) fn forget(&self, hashes: impl IntoIterator<Item = TokenHash>) {
        let mut state = self.lock();
        state.epoch += 1;
        for hash in hashes {
            state.new.remove(&hash);
            state.old.remove(&hash);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn put(&mut self, hash: TokenHash, entry: Entry) {
        if self.new.len() >= GENERATION {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(hash, entry);
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn session() -> Known {
        let session = Session { user: user_id!("@a:test").to_owned(), device: "A".into() };
        Known { session, expires_ms: None, is_next: false }
    }

    fn hash(n: usize) -> TokenHash {
        TokenHash::of(&n.to_string())
    }

    #[test]
    fn a_session_that_ended_while_it_was_looked_up_is_not_kept() {
        let cache = SessionCache::default();
        let epoch = cache.epoch();
        cache.forget([hash(1)]);
        cache.insert(hash(1), &session(), 0, epoch);
        assert!(cache.find(&hash(1), 0).is_none());
    }

    #[test]
    fn what_is_in_use_survives_any_number_of_others() {
        let cache = SessionCache::default();
        for n in 0..GENERATION * 3 {
            cache.insert(hash(n), &session(), 0, cache.epoch());
            assert!(cache.find(&hash(0), 0).is_some());
        }
        assert!(cache.find(&hash(1), 0).is_none(), "what was not used is gone");
        let state = cache.lock();
        assert!(state.new.len() + state.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn who_is_in_use_stands_in_the_order_in_which_they_came() {
        let cache = SessionCache::default();
        let of = |user: &str, device: &str| {
            let session = Session { user: UserId::parse(user).expect("a user"), device: device.into() };
            Known { session, expires_ms: None, is_next: false }
        };
        for (n, (user, device, at)) in [
            ("@a:test", "Z", 1000),
            ("@a:test", "GONE", 1000),
            ("@b:test", "B", 1000),
            ("@a:test", "A", 2000),
        ]
        .into_iter()
        .enumerate()
        {
            cache.insert(hash(n), &of(user, device), at, cache.epoch());
        }
        cache.find(&hash(0), 5000);
        let in_use = cache.in_use(user_id!("@a:test"), 1500);
        assert_eq!(in_use.iter().map(|device| device.as_str()).collect::<Vec<_>>(), ["Z", "A"]);
    }

    #[test]
    fn a_token_that_has_ended_is_nobodys() {
        let cache = SessionCache::default();
        cache.insert(hash(1), &Known { expires_ms: Some(2_000), ..session() }, 1_000, cache.epoch());
        assert!(cache.find(&hash(1), 1_999).is_some());
        assert!(cache.find(&hash(1), 2_000).is_none());
        assert!(cache.find(&hash(1), 1_999).is_none(), "the clock was set back");
    }

    #[test]
    fn last_seen_is_due_every_ten_minutes() {
        let cache = SessionCache::default();
        cache.insert(hash(1), &session(), 1000, cache.epoch());
        let due = |now| cache.find(&hash(1), now).map(|found| found.seen_long_ago);
        assert_eq!(due(1000 + SEEN_EVERY_MS - 1), Some(false));
        assert_eq!(due(1000 + SEEN_EVERY_MS), Some(true));
        assert_eq!(due(1001 + SEEN_EVERY_MS), Some(false));
    }
}
