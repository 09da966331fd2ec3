//! What was asked of rooms since the log last grew.
//!
//! A message wakes all members of a room, and each of them needs the same sender's member event: one asks
//! the database, the others are answered from here.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId};

use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
};

/// Answers that are kept at most; beyond it all are forgotten.
const MAX_ANSWERS: usize = 4096;

/// The answers to one kind of question, each as true as the log is long.
#[derive(Debug)]
pub(super) struct Recent<Q, A>(Mutex<Answers<Q, A>>);

/// State events by room, type and state key.
pub(super) type RecentState = Recent<(String, String, String), Option<Arc<StoredEvent>>>;

/// The first so many of those who are one of these in a room.
pub(super) type RecentMembers = Recent<(OwnedRoomId, [Membership; 2], usize), Arc<[OwnedUserId]>>;

#[derive(Debug)]
struct Answers<Q, A> {
    position: LogPosition,
    answers: HashMap<Q, A>,
}

impl<Q, A> Default for Recent<Q, A> {
    fn default() -> Self {
        Self(Mutex::new(Answers { position: LogPosition::START, answers: HashMap::new() }))
    }
}

impl<Q: Eq + Hash, A: Clone> Recent<Q, A> {
    /// What was answered while the log stood at `position`.
    pub(super) fn find(&self, question: &Q, position: LogPosition) -> Option<A> {
        let recent = self.0.lock();
        if recent.position == position { recent.answers.get(question).cloned() } else { None }
    }

    /// Keeps what was read while the log stood at `position`, and forgets what was read before.
    pub(super) fn keep(&self, question: Q, position: LogPosition, answer: A) {
        let mut recent = self.0.lock();
        if recent.position > position {
            return;
        }
        if recent.position < position || recent.answers.len() >= MAX_ANSWERS {
            recent.answers.clear();
            recent.position = position;
        }
        recent.answers.insert(question, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> (String, String, String) {
        ("!r:x".into(), "m.room.member".into(), key.into())
    }

    #[test]
    fn an_answer_holds_until_the_log_grows() {
        let recent = RecentState::default();
        assert!(recent.find(&name("@a:x"), LogPosition::new(7)).is_none());
        recent.keep(name("@a:x"), LogPosition::new(7), None);
        assert!(recent.find(&name("@a:x"), LogPosition::new(7)).is_some_and(|event| event.is_none()));
        assert!(recent.find(&name("@b:x"), LogPosition::new(7)).is_none());
        assert!(recent.find(&name("@a:x"), LogPosition::new(8)).is_none());
        recent.keep(name("@b:x"), LogPosition::new(8), None);
        assert!(recent.find(&name("@a:x"), LogPosition::new(8)).is_none());
        recent.keep(name("@a:x"), LogPosition::new(7), None);
        assert!(
            recent.find(&name("@a:x"), LogPosition::new(8)).is_none(),
            "a late reader brings nothing old"
        );
    }
}
