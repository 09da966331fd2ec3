//! Who came to share a room with the reader, and who ceased to, as the log has it.
//!
//! Independent of what a filter lets through: presence and devices follow the membership itself.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedUserId, RoomId, UserId};

use super::{
    reader::Reader,
    window::{Passage, Window},
};
use crate::server::{
    api::error::ApiResult,
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
};

/// Those whom the reader met and parted from since the token.
#[derive(Debug, Default)]
pub(super) struct Encounters {
    /// Share a room with the reader that they did not share before.
    pub(super) met: BTreeSet<OwnedUserId>,
    /// Shared a room that they do not share any longer.
    pub(super) parted: BTreeSet<OwnedUserId>,
    /// Whose presence the reader could see by a room, and perhaps cannot any longer.
    pub(super) dimmed: BTreeSet<OwnedUserId>,
    /// Are in a room with the reader whose size crossed the operator's limit (L6).
    pub(super) crossed: BTreeSet<OwnedUserId>,
}

impl Reader<'_> {
    /// Takes note of what happened among the members of `room`.
    pub(super) async fn encounter(
        &self,
        room: &RoomId,
        window: &Window,
        passage: Passage,
        encounters: &mut Encounters,
    ) -> ApiResult<()> {
        let members = &self.app.rooms.members;
        let since = self.log_since();
        let was_joined = passage.was == Some(Membership::Join);
        match (was_joined, passage.is == Some(Membership::Join)) {
            (false, true) => members.each_joined(room, |user| {
                encounters.met.insert(user.clone());
            }),
            (true, true) => {
                match &window.events {
                    Some(events) => encounters.take(self.app, events, since),
                    None => {
                        encounters.take(
                            self.app,
                            &self.app.store.state_changes(room, since, self.upto.log).await?,
                            since,
                        );
                    }
                }
                let crossed = members.crossed_since(room, since);
                if members.counted_at(room, since) {
                    encounters
                        .dimmed
                        .extend(crossed.iter().filter(|u| !encounters.met.contains(*u)).cloned());
                }
                encounters.crossed.extend(crossed);
            }
            (true, false) => {
                let state = self.app.store.state_before(passage.position).await?;
                let there = state.iter().filter_map(|event| {
                    let (user, membership) = event.membership()?;
                    let was_there = membership == Membership::Join || event.position > since;
                    was_there.then(|| UserId::parse(user).ok())?
                });
                encounters.part(self.app, room, since, there.collect());
            }
            (false, false) => {}
        }
        Ok(())
    }
}

impl Encounters {
    /// Takes the member events among `events`, of a room that the reader was and is in.
    fn take(&mut self, app: &crate::server::app::App, events: &[Arc<StoredEvent>], since: LogPosition) {
        for event in events {
            let Some((user, membership)) = event.membership() else { continue };
            let Ok(user) = UserId::parse(user) else { continue };
            match membership {
                Membership::Join if event.membership_before() == Some(Membership::Join) => {}
                Membership::Join => {
                    self.met.insert(user);
                }
                Membership::Leave | Membership::Ban => self.part(app, &event.room_id, since, vec![user]),
                Membership::Invite | Membership::Knock => {}
            }
        }
    }

    fn part(
        &mut self,
        app: &crate::server::app::App,
        room: &RoomId,
        since: LogPosition,
        users: Vec<OwnedUserId>,
    ) {
        if app.rooms.members.counted_at(room, since) {
            self.dimmed.extend(users.iter().cloned());
        }
        self.parted.extend(users);
    }
}
