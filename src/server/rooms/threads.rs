//! The threads of a room, by their last events.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, RoomId, UserId};

use super::{parts::Rooms, read::Page, refusal::Refusal};
use crate::server::{change::position::TimelinePosition, store::Seen};

/// Which threads somebody wants to see.
#[derive(Clone, Copy, Debug)]
pub struct ThreadsWanted {
    /// Those whose last event is at this place of the timeline or before; `None`: all.
    pub before: Option<TimelinePosition>,
    /// Those only in which the reader has written, or that they began.
    pub with_reader: bool,
    /// How many at most.
    pub limit: usize,
}

impl Rooms {
    /// The first events of a room's threads, that with the last event first; of somebody who is ignored nothing is told.
    ///
    /// # Errors
    /// As for [`Rooms::access`].
    pub async fn threads(
        &self,
        user: &UserId,
        room: &RoomId,
        ignored: &BTreeSet<OwnedUserId>,
        wanted: ThreadsWanted,
    ) -> Result<Page, Refusal> {
        let until = self.sees_until(user, room).await?;
        let parts = self.parts_seen(user, room, until).await?;
        let seen = Seen { reader: user, ignored, parts: &parts };
        let before = wanted.before.unwrap_or(TimelinePosition::END);
        let mut found = self.store.threads(room, seen, before, wanted.with_reader, wanted.limit + 1).await?;
        let has_more = found.len() > wanted.limit;
        found.truncate(wanted.limit);
        let end = found.last().map(|(last, _)| last.before()).filter(|_| has_more);
        let roots = found.into_iter().map(|(_, root)| root).collect();
        let mut events = self.visible_events(user, room, roots).await?;
        events.retain(|event| !ignored.contains(&event.sender));
        Ok(Page { events, start: before, end })
    }
}
