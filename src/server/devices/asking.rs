//! Asking other servers for keys: who is being asked for whom, so that nobody is asked twice at once, and nobody waits for
//! those who make servers wait.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use ruma::{OwnedUserId, UserId};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::server::outgoing::lines::{Lines, Turn};

/// Servers that are asked for keys at the same time: each answer is held in memory.
const AT_ONCE: usize = 64;

/// How many of them one user may have asked.
const FOR_ONE: usize = 8;

/// Users whose devices are asked for because their server said that they changed, at the same time.
const REFRESHED_AT_ONCE: usize = 16;

/// How many of them may be waiting or asked for.
const MAX_REFRESHED: usize = 1_000;

/// Who is being asked for whose keys.
#[derive(Debug)]
pub struct Asking {
    /// Bounded by the requests under way.
    held: Arc<Mutex<HashMap<OwnedUserId, Arc<List>>>>,
    places: Arc<Semaphore>,
    of_users: Lines,
    refreshed_at_once: Arc<Semaphore>,
    refreshed: Mutex<BTreeSet<OwnedUserId>>,
    refreshing: Arc<AtomicUsize>,
}

/// Somebody's devices are asked for because they changed, until dropped.
#[derive(Debug)]
pub struct Refreshing(Arc<AtomicUsize>);

/// The devices of one user, while somebody asks for them.
#[derive(Debug, Default)]
struct List {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Something changed since they were asked for.
    is_outdated: AtomicBool,
}

/// The turn to ask for the devices of a user, until dropped.
#[derive(Debug)]
pub struct Held {
    held: Arc<Mutex<HashMap<OwnedUserId, Arc<List>>>>,
    user: OwnedUserId,
    list: Arc<List>,
    turn: Option<OwnedMutexGuard<()>>,
}

/// A place to ask a server from, until dropped.
#[derive(Debug)]
pub struct AskingPlace {
    _of_user: Option<Turn>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Default for Asking {
    /// Nobody is asked.
    fn default() -> Self {
        Self {
            held: Arc::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            of_users: Lines::with(1, FOR_ONE),
            refreshed_at_once: Arc::new(Semaphore::new(REFRESHED_AT_ONCE)),
            refreshed: Mutex::default(),
            refreshing: Arc::default(),
        }
    }
}

impl Asking {
    /// Waits for the turn to ask for the devices of `user`. Who takes several takes them in order.
    pub async fn hold(&self, user: &UserId) -> Held {
        let list = Arc::clone(self.held.lock().entry(user.to_owned()).or_default());
        let mut held = Held { held: Arc::clone(&self.held), user: user.to_owned(), list, turn: None };
        held.turn = Some(Arc::clone(&held.list.turn).lock_owned().await);
        held.list.is_outdated.store(false, Ordering::Release);
        held
    }

    /// Something changed of the devices of `user`: what is being asked for may not say it.
    pub fn handle_change(&self, user: &UserId) {
        if let Some(list) = self.held.lock().get(user) {
            list.is_outdated.store(true, Ordering::Release);
        }
    }

    /// Waits for a place to ask a server for `user`.
    pub async fn place_for(&self, user: &UserId) -> AskingPlace {
        let of_user = self.of_users.turn(user.as_str()).await;
        // Never closed.
        let of_all = Arc::clone(&self.places).acquire_owned().await.ok();
        AskingPlace { _of_user: Some(of_user), _of_all: of_all }
    }

    /// Waits for a place to ask for somebody whose devices changed.
    pub async fn place_to_refresh(&self) -> AskingPlace {
        let of_all = Arc::clone(&self.refreshed_at_once).acquire_owned().await.ok();
        AskingPlace { _of_user: None, _of_all: of_all }
    }

    /// Somebody's devices are to be asked for anew; `false`: they will be already.
    ///
    /// # Errors
    /// [`TooMany`] are.
    pub fn begin_refresh(&self, user: &UserId) -> Result<bool, TooMany> {
        let mut refreshed = self.refreshed.lock();
        if refreshed.contains(user) {
            return Ok(false);
        }
        if refreshed.len() >= MAX_REFRESHED {
            return Err(TooMany);
        }
        Ok(refreshed.insert(user.to_owned()))
    }

    /// Somebody's devices are asked for because they changed, from here on.
    pub fn refreshing(&self) -> Refreshing {
        self.refreshing.fetch_add(1, Ordering::AcqRel);
        Refreshing(Arc::clone(&self.refreshing))
    }

    /// How many users' devices are asked for because they changed.
    pub fn on_the_way(&self) -> usize {
        self.refreshing.load(Ordering::Acquire)
    }

    /// They are about to be asked for: what changes from here on is a reason to ask again.
    pub fn end_refresh(&self, user: &UserId) {
        self.refreshed.lock().remove(user);
    }
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooMany;

impl Held {
    /// Whether something changed since the turn was taken.
    pub fn is_outdated(&self) -> bool {
        self.list.is_outdated.load(Ordering::Acquire)
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.turn.take());
        let mut held = self.held.lock();
        // This one's, and that of the table: nobody else asks or waits.
        if Arc::strong_count(&self.list) == 2 {
            held.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[tokio::test]
    async fn one_asks_for_a_user_at_a_time_and_hears_of_what_changes_meanwhile() {
        let (asking, user) = (Asking::default(), user_id!("@a:b.example"));
        asking.handle_change(user);
        let held = asking.hold(user).await;
        assert!(!held.is_outdated(), "that was before");
        asking.handle_change(user);
        assert!(held.is_outdated());
        let mut next = Box::pin(asking.hold(user));
        tokio::select! {
            biased;
            _ = &mut next => panic!("it is somebody else's turn"),
            () = std::future::ready(()) => {}
        }
        drop(held);
        assert!(!next.await.is_outdated());
        assert!(asking.held.lock().is_empty(), "nobody is remembered");
    }

    #[test]
    fn somebody_is_asked_for_anew_once_and_not_too_many_are() {
        let asking = Asking::default();
        let user = |n: usize| OwnedUserId::try_from(format!("@u{n}:b.example")).expect("an ID");
        assert!((0..MAX_REFRESHED).all(|n| asking.begin_refresh(&user(n)) == Ok(true)));
        assert_eq!(asking.begin_refresh(&user(0)), Ok(false));
        assert_eq!(asking.begin_refresh(&user(MAX_REFRESHED)), Err(TooMany));
        asking.end_refresh(&user(0));
        assert_eq!(asking.begin_refresh(&user(MAX_REFRESHED)), Ok(true));
    }
}
