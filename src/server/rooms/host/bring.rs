//! A user of this server invites one of another: their server signs the event before it gets its place.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::value::RawValue;

use super::shown::whole;
use crate::server::{
    event::stored::Membership,
    rooms::{
        content,
        draft::Draft,
        parts::Rooms,
        proposal::Proposal,
        receive::{Elsewhere, Outcome},
        refusal::Refusal,
        visit::Ready,
        write::{Act, Actor, Performed},
    },
};

/// An invite that waits for the signature of another server.
#[derive(Debug)]
pub struct Drawn {
    /// The event.
    pub ready: Ready,
    /// What the room shows of itself to who is invited.
    pub shown: Vec<Box<RawValue>>,
}

impl Rooms {
    /// Draws an invite of `target`, a user of another server, if the room's rules allow it; `own` stands in its content.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: by the room's rules; [`Refusal::TooLarge`], [`Refusal::BadJson`].
    pub async fn draw_invite(
        self: &Arc<Self>,
        actor: &Actor,
        room: &RoomId,
        target: &UserId,
        own: CanonicalJsonObject,
    ) -> Result<Drawn, Refusal> {
        let act = DrawInvite { room: room.to_owned(), target: target.to_owned(), own };
        let ready = match self.perform_once(actor.sender(), None, act).await? {
            Performed::Done(ready, _) => ready,
            Performed::DoneBefore(_) => return Err(Refusal::Internal("an invite was drawn before".into())),
        };
        let mut shown = self.shown_outside(room).await?;
        let inviter = self.store.state_event(room, "m.room.member", actor.session().user.as_str()).await?;
        shown.extend(inviter.map(|inviter| whole(&inviter)).transpose()?);
        Ok(Drawn { ready, shown })
    }

    /// Gives an invite its place that the server of who is invited has `signed`.
    ///
    /// # Errors
    /// [`Refusal::BadJson`]: it is no canonical JSON. [`Refusal::Unreachable`]: it is not that event, or the signature is wrong.
    /// [`Refusal::Forbidden`]: the room does not allow it any longer.
    pub async fn place_invite<E: Elsewhere>(
        self: &Arc<Self>,
        elsewhere: &Arc<E>,
        room: &RoomId,
        ready: &Ready,
        signed: &str,
    ) -> Result<(), Refusal> {
        if let Err(e) = serde_json::from_str::<CanonicalJsonObject>(signed) {
            return Err(Refusal::BadJson(format!("the other server's answer to the invite: {e}").into()));
        }
        let event = self.co_signed(&**elsewhere, room, ready, signed).await?;
        match self.receive_one(room, event).await? {
            Outcome::Known | Outcome::Accepted => Ok(()),
            Outcome::SoftFailed(why) | Outcome::Rejected(why) | Outcome::Refused(why) => {
                Err(Refusal::Forbidden(why.into()))
            }
            Outcome::Missing(missing) => {
                Err(Refusal::Internal(format!("own events are missing: {missing:?}")))
            }
        }
    }
}

struct DrawInvite {
    room: OwnedRoomId,
    target: OwnedUserId,
    own: CanonicalJsonObject,
}

impl Act for DrawInvite {
    type Answer = Ready;

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<Ready, Refusal> {
        let room = proposal.known_room(&self.room).await?;
        if !proposal.is_joined(&room).await? {
            return Err(Refusal::Forbidden("you are not in this room".into()));
        }
        let mut content = content::member(proposal, &self.target, Membership::Invite, None).await?;
        content.extend(self.own.clone());
        let draft = Draft::state("m.room.member", self.target.as_str(), content);
        let (event_id, json) = proposal.signed(&room, &draft).await?;
        Ok(Ready { version: room.version, event_id, json })
    }
}
