//! What somebody does in all of their rooms: a changed name, an end.

use std::sync::Arc;

use ruma::{OwnedRoomId, UserId};
use tokio::task::JoinSet;

use super::{content, draft::Draft, parts::Rooms, proposal::Proposal, refusal::Refusal, write::Act};
use crate::server::{event::stored::Membership, store::MembershipRow};

/// Rooms in which the same is done at once when a user changes something in all of theirs.
const ROOMS_AT_ONCE: usize = 32;

impl Rooms {
    /// Writes the user's changed name and picture into every room they are in (P10).
    ///
    /// A room whose rules refuse the event (which they have no reason to) keeps the old ones.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn handle_profile_change(self: &Arc<Self>, user: &UserId) -> Result<(), Refusal> {
        self.in_rooms(user, self.members.joined_rooms(user), |room| Rename { room }).await
    }

    /// Takes the user out of every room they are in or invited to: their account is about to end.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn leave_everything(self: &Arc<Self>, user: &UserId) -> Result<(), Refusal> {
        let present = |row: &MembershipRow| match row.membership {
            Membership::Join | Membership::Invite | Membership::Knock => true,
            Membership::Leave | Membership::Ban => false,
        };
        let rows = self.store.memberships(user).await?.into_iter().filter(present);
        self.in_rooms(user, rows.map(|row| row.room_id).collect(), |room| Depart { room }).await
    }

    /// Does the same in many rooms, some at once, each an act of its own. A room that refuses is passed over.
    async fn in_rooms<A: Act<Answer = ()>>(
        self: &Arc<Self>,
        user: &UserId,
        rooms: Vec<OwnedRoomId>,
        act: fn(OwnedRoomId) -> A,
    ) -> Result<(), Refusal> {
        for some in rooms.chunks(ROOMS_AT_ONCE) {
            let mut acts = JoinSet::new();
            for room in some {
                let (this, user, act) = (Arc::clone(self), user.to_owned(), act(room.clone()));
                acts.spawn(async move { this.perform_once(user, None, act).await.map(drop) });
            }
            while let Some(outcome) = acts.join_next().await {
                match outcome {
                    Ok(Ok(())) => {}
                    Ok(Err(failed @ (Refusal::Store(_) | Refusal::Internal(_)))) => return Err(failed),
                    Ok(Err(refused)) => tracing::debug!(?refused, "a room is passed over"),
                    Err(e) => return Err(Refusal::Internal(e.to_string())),
                }
            }
        }
        Ok(())
    }
}

struct Rename {
    room: OwnedRoomId,
}

impl Act for Rename {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let Some(room) = proposal.room(&self.room).await? else { return Ok(()) };
        let user = proposal.author.sender.clone();
        let Some(event) = proposal.state(&room, "m.room.member", user.as_str()).await? else { return Ok(()) };
        let mut before = content::parse(event.json())?;
        before.remove(content::AUTHORISED_BY);
        let mut content = before.clone();
        for key in ["displayname", "avatar_url", "reason"] {
            content.remove(key);
        }
        content::add_profile(proposal, &user, &mut content).await?;
        if content == before || event.membership() != Some(Membership::Join) {
            return Ok(());
        }
        proposal.append(&room, &Draft::state("m.room.member", user.as_str(), content)).await.map(drop)
    }
}

struct Depart {
    room: OwnedRoomId,
}

impl Act for Depart {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let Some(room) = proposal.room(&self.room).await? else { return Ok(()) };
        let user = proposal.author.sender.clone();
        let content = content::member(proposal, &user, Membership::Leave, None).await?;
        proposal.append(&room, &Draft::state("m.room.member", user.as_str(), content)).await.map(drop)
    }
}
