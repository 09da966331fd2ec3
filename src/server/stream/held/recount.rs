//! What is unread all over again: as soon as other push rules hold for the reader, or they ignore others.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedRoomId, OwnedUserId, UserId};

use crate::server::stream::{filter::Filter, refusal::Refusal, sources::Sources, verdict::RulesMade};

/// Rooms of which the reader is told at once how much is unread; of the others with the next looks.
const AT_ONCE: usize = 16;

/// What decides what counts as unread.
#[derive(Debug, Default)]
struct Measure {
    /// The push rules that the user made, if any.
    rules: Option<Arc<RulesMade>>,
    /// Whom they ignore; `None`: nobody.
    ignored: Option<Arc<BTreeSet<OwnedUserId>>>,
}

/// What is to be counted again. At most the rooms that the reader is in.
#[derive(Debug, Default)]
pub(super) struct Recount {
    /// How it was counted for what the reader was told; `None`: they were told nothing.
    by: Option<Measure>,
    rooms: Vec<OwnedRoomId>,
}

impl Recount {
    /// Looks whether it is counted otherwise than before. Before what is unread is counted.
    pub(super) async fn handle_look(
        &mut self,
        sources: &Sources,
        user: &UserId,
        filter: &Filter,
    ) -> Result<(), Refusal> {
        let parts = sources.parts();
        let rules = parts.unread.own_rules(user).await?;
        let ignored = Some(parts.contacts.ignored_by(user)).filter(|ignored| !ignored.is_empty());
        let by = Measure { rules, ignored };
        if self.by.as_ref().is_some_and(|before| !before.is(&by)) {
            self.rooms = parts.members.joined_rooms(user);
            self.rooms.retain(|room| filter.room(room));
        }
        self.by = Some(by);
        Ok(())
    }

    /// Whether there are rooms left.
    pub(super) fn is_due(&self) -> bool {
        !self.rooms.is_empty()
    }

    /// The next ones.
    pub(super) fn poll_rooms(&mut self) -> Vec<OwnedRoomId> {
        let rest = self.rooms.len().saturating_sub(AT_ONCE);
        self.rooms.split_off(rest)
    }
}

impl Measure {
    fn is(&self, other: &Self) -> bool {
        let rules = match (&self.rules, &other.rules) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.0 == b.0,
            (None, Some(_)) | (Some(_), None) => false,
        };
        rules && self.ignored == other.ignored
    }
}
