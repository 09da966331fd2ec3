//! The board: the last event of everybody, this server's users and those of others, and when it came there.
//!
//! What readers are told of others' presence stands here, and nowhere else. The engine puts up this server's
//! users, the feed brings those of other servers. The board decides nothing: whether a reader may see somebody
//! is asked at every way out (L6).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedUserId, UserId};

use super::{event::PresenceEvent, key::SharedId, shown};
use crate::{
    core::federation::Status,
    server::{
        change::{
            feed::Change,
            position::{Live, LivePosition},
        },
        profile::Profile,
    },
};

/// Everybody of whom something was shown in this run of the server.
///
/// Bounded: one event for each user of this server who was ever connected, and one for each user of another who
/// was on a list here, or shared a room, while something was known of them.
#[derive(Debug)]
pub struct Board {
    live: Arc<Live>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<SharedId, Entry>,
    /// Each user at the live position of their last event.
    changed: BTreeMap<LivePosition, Arc<OwnedUserId>>,
}

#[derive(Debug)]
struct Entry {
    position: LivePosition,
    /// Of what came last of a user of another server; 0 for this server's own, who come in their order.
    order: u64,
    event: Arc<PresenceEvent>,
}

impl Board {
    /// An empty board.
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, inner: Mutex::default() }
    }

    /// The last event of one user as others see it. `None`: the user was never connected, or is another server's
    /// and nothing is known of them.
    pub fn event(&self, user: &UserId) -> Option<Arc<PresenceEvent>> {
        self.shown(user).map(|(_, event)| event)
    }

    /// The same, with the user as everybody shares them.
    pub fn shown(&self, user: &UserId) -> Option<(Arc<OwnedUserId>, Arc<PresenceEvent>)> {
        let inner = self.lock();
        inner.users.get_key_value(user).map(|(key, entry)| (Arc::clone(&key.0), Arc::clone(&entry.event)))
    }

    /// Of how many users something stands here.
    pub fn count(&self) -> usize {
        self.lock().users.len()
    }

    /// Those whose presence changed after the live position `since`, up to and including `upto`, each
    /// once. Whether the reader may see them is still to be asked.
    pub fn changed(
        &self,
        since: LivePosition,
        upto: LivePosition,
    ) -> Vec<(Arc<OwnedUserId>, Arc<PresenceEvent>)> {
        self.changes(since, upto).into_iter().map(|(_, user, event)| (user, event)).collect()
    }

    /// The same with the position of each, in the order of these.
    pub fn changes(
        &self,
        since: LivePosition,
        upto: LivePosition,
    ) -> Vec<(LivePosition, Arc<OwnedUserId>, Arc<PresenceEvent>)> {
        if since >= upto {
            return Vec::new();
        }
        let inner = self.lock();
        let range = inner.changed.range(since.next()..=upto);
        let event = |user: &Arc<OwnedUserId>| Arc::clone(&inner.users[&***user].event);
        range.map(|(position, user)| (*position, Arc::clone(user), event(user))).collect()
    }

    /// Puts up a user of this server, and answers with the position of that. Who calls it holds the lock
    /// of what the event was made from, so that the last event of a user is the one that stays.
    pub(super) fn show(&self, user: &Arc<OwnedUserId>, event: PresenceEvent) -> LivePosition {
        self.lock().put(user, 0, event, &self.live)
    }

    /// Puts a newer event in the place of one that stands there, if one does: nobody is told for it.
    pub(super) fn freshen(&self, user: &UserId, event: PresenceEvent) {
        if let Some(entry) = self.lock().users.get_mut(user) {
            entry.event = Arc::new(event);
        }
    }

    /// Takes what is known of the users of other servers.
    pub fn follow(&self, change: &Change) {
        if let Change::RemotePresence { user, status, profile, order, .. } = change {
            self.show_remote(user, status.as_ref(), profile, *order);
        }
    }

    /// Puts up a user of another server, unless something later, by `order`, came before.
    fn show_remote(&self, user: &UserId, status: Option<&Status>, profile: &Profile, order: u64) {
        let event = shown::event(user, status, profile);
        let mut inner = self.lock();
        let known = inner.users.get_key_value(user).map(|(key, entry)| (Arc::clone(&key.0), entry.order));
        let (user, last) = known.unwrap_or_else(|| (Arc::new(user.to_owned()), 0));
        if order > last {
            inner.put(&user, order, event, &self.live);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn put(
        &mut self,
        user: &Arc<OwnedUserId>,
        order: u64,
        event: PresenceEvent,
        live: &Live,
    ) -> LivePosition {
        let position = live.advance();
        let entry = Entry { position, order, event: Arc::new(event) };
        if let Some(before) = self.users.insert(SharedId(Arc::clone(user)), entry) {
            self.changed.remove(&before.position);
        }
        self.changed.insert(position, Arc::clone(user));
        position
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::core::{
        federation::Availability,
        presence::{Settings, State},
        time::Instant,
    };

    fn own(user: &Arc<OwnedUserId>) -> PresenceEvent {
        let mut engine = crate::core::presence::Engine::new(Settings::default());
        let key = engine.insert_user(Default::default(), Instant::ZERO);
        shown::own(user, &engine.view(key, Instant::ZERO), &Default::default(), None, Instant::ZERO)
    }

    fn remote(user: &UserId, status: Option<Availability>, order: u64) -> Change {
        Change::RemotePresence {
            user: user.to_owned(),
            status: status.map(Status::from),
            profile: Arc::default(),
            order,
            observers: Vec::new(),
        }
    }

    fn seen(board: &Board, since: LivePosition) -> Vec<(String, State)> {
        let changed = board.changed(since, board.live.position()).into_iter();
        changed.map(|(user, event)| (user.to_string(), event.state())).collect()
    }

    #[test]
    fn each_user_stands_once_at_their_last_position_wherever_they_are_from() {
        let board = Board::new(Arc::new(Live::new(100)));
        let (alice, bob) = (Arc::new(user_id!("@alice:a").to_owned()), user_id!("@bob:b"));
        assert!(board.event(&alice).is_none() && board.event(bob).is_none());
        let first = board.show(&alice, own(&alice));
        board.follow(&remote(bob, Some(Availability::Online), 1));
        let both = [("@alice:a".to_owned(), State::Offline), ("@bob:b".to_owned(), State::Online)];
        assert_eq!(seen(&board, LivePosition::START), both);
        assert_eq!(seen(&board, first), both[1..]);
        let last = board.show(&alice, own(&alice));
        assert_eq!(seen(&board, LivePosition::START), [both[1].clone(), both[0].clone()]);
        assert_eq!((last, seen(&board, last)), (board.live.position(), vec![]));
        assert_eq!(board.changed(LivePosition::START, first).len(), 0, "nobody stands there any longer");
        board.follow(&remote(bob, None, 2));
        assert_eq!(board.event(bob).expect("stands there").state(), State::Unknown);
    }

    #[test]
    fn a_status_that_comes_late_is_ignored() {
        let board = Board::new(Arc::new(Live::new(100)));
        let bob = user_id!("@bob:b");
        board.follow(&remote(bob, Some(Availability::Busy), 7));
        let position = board.live.position();
        board.follow(&remote(bob, Some(Availability::Online), 6));
        assert_eq!((seen(&board, LivePosition::START)), [("@bob:b".to_owned(), State::Busy)]);
        assert_eq!(board.live.position(), position, "readers have nothing to look at");
        board.follow(&remote(user_id!("@carol:b"), Some(Availability::Online), 6));
        assert_eq!(
            seen(&board, position),
            [("@carol:b".to_owned(), State::Online)],
            "each user for themselves"
        );
    }
}
