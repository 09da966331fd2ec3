//! State events that were asked for since the log last grew.
//!
//! A message wakes all members of a room, and each of them needs the same sender's member event: one asks
//! the database, the others are answered from here.

use std::{collections::HashMap, sync::Arc};

use crate::server::{change::position::LogPosition, event::stored::StoredEvent};
use parking_lot::Mutex;

/// Answers that are kept at most; beyond it all are forgotten.
const MAX_EVENTS: usize = 4096;

/// Room, type and state key.
type Name = (String, String, String);

/// The answers, each as true as the log is long.
#[derive(Debug, Default)]
pub(super) struct RecentState(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    position: LogPosition,
    events: HashMap<Name, Option<Arc<StoredEvent>>>,
}

impl RecentState {
    /// What was answered while the log stood at `position`.
    pub(super) fn find(&self, name: &Name, position: LogPosition) -> Option<Option<Arc<StoredEvent>>> {
        let answers = self.0.lock();
        if answers.position == position { answers.events.get(name).cloned() } else { None }
    }

    /// Keeps what was read while the log stood at `position`, and forgets what was read before.
    pub(super) fn keep(&self, name: Name, position: LogPosition, event: Option<Arc<StoredEvent>>) {
        let mut answers = self.0.lock();
        if answers.position > position {
            return;
        }
        if answers.position < position || answers.events.len() >= MAX_EVENTS {
            answers.events.clear();
            answers.position = position;
        }
        answers.events.insert(name, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Name {
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
