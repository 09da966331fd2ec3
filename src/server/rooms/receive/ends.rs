//! The events that a room ends with: never many more than one event can follow.
//!
//! Whoever sends many events that all follow the same one leaves as many ends, and every event costs what the states at
//! all of them come to. So one is sent from here that follows them, as Synapse does: it says nothing, and others hear of it
//! with what follows it.

use ruma::{CanonicalJsonObject, OwnedUserId};
use serde_json::value::RawValue;

use super::super::{
    append::MAX_PREV_EVENTS,
    content::AUTHORISED_BY,
    draft::{Draft, Told},
    parts::Rooms,
    proposal::{Author, Proposal},
    refusal::Refusal,
    turns::Turn,
};
use crate::server::store::RoomCommit;

/// Ends that a room keeps when it is at rest: as many as the next event can follow.
pub(super) const MAX_ENDS: usize = MAX_PREV_EVENTS;

/// The type of such an event; servers and clients know it by Synapse.
const DUMMY: &str = "org.matrix.dummy_event";

/// Users of this server that are tried as its sender.
const MAX_TRIED: usize = 10;

impl Rooms {
    /// What is to be written so that the room, which nobody acts in, has fewer ends; `None`: there is nobody here to do it.
    pub(super) async fn draw_together(&self, turn: &Turn) -> Result<Option<RoomCommit>, Refusal> {
        let mut own: Vec<OwnedUserId> = Vec::new();
        self.members.each_of_ours(turn.room_id(), |user| {
            if own.len() < MAX_TRIED {
                own.push(user.clone());
            }
        });
        for user in &own {
            let dummy =
                Draft { told: Told::WhenFollowed, ..Draft::message(DUMMY, CanonicalJsonObject::new()) };
            match self.propose(turn, user, |_| Ok(dummy)).await {
                Err(Refusal::Forbidden(_)) => {}
                done => return done.map(Some),
            }
        }
        // Where nobody here may say anything, somebody says again that they are there: that is always allowed.
        let Some(user) = own.first() else { return Ok(None) };
        let again = |member: &RawValue| {
            let mut content: CanonicalJsonObject =
                serde_json::from_str(member.get()).map_err(|e| Refusal::Internal(e.to_string()))?;
            content.remove(AUTHORISED_BY);
            let state = Draft::state("m.room.member", user.as_str(), content);
            Ok(Draft { told: Told::WhenFollowed, ..state })
        };
        self.propose(turn, user, again).await.map(Some)
    }

    /// What `user` sends, made of what they are in the room.
    async fn propose(
        &self,
        turn: &Turn,
        user: &OwnedUserId,
        draft: impl FnOnce(&RawValue) -> Result<Draft, Refusal> + Send,
    ) -> Result<RoomCommit, Refusal> {
        let author = Author { sender: user.clone(), now_ms: self.clock.unix_ms(), sent_ms: None, once: None };
        let mut proposal = Proposal::new(self, author, Some(turn));
        let room = proposal.known_room(turn.room_id()).await?;
        let member = proposal.state(&room, "m.room.member", user.as_str()).await?;
        let member = member.ok_or_else(|| Refusal::Forbidden("not in the room".into()))?;
        proposal.append(&room, &draft(member.raw())?).await?;
        Ok(proposal.finish().commit)
    }
}
