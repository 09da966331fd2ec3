//! Membership: joining, inviting, leaving and the rest.
//!
//! Client-server API, "Room membership". The rules themselves are the room version's.

use std::sync::Arc;

use ruma::{CanonicalJsonValue, OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{
    content,
    draft::Draft,
    invite::invite_in,
    join::{JOIN, Join, existing},
    parts::Rooms,
    proposal::Proposal,
    refusal::Refusal,
    write::{Act, Actor, Performed},
};
use crate::server::{event::stored::Membership, profile::Profile, session::Session, store::RoomRow};

impl Rooms {
    /// Joins a room, with `own` (a JSON object) in the content of the member event, and answers with its ID; with that of
    /// another room if the same action joined that one. Whoever is in it already stays as they are.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a room that this server does not know, [`Refusal::Forbidden`] by its rules,
    /// [`Refusal::BadJson`].
    pub async fn join(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        own: &str,
    ) -> Result<OwnedRoomId, Refusal> {
        let join = Join::new(room_id, content::parse(own)?)?;
        match self.perform_action(&actor.into(), JOIN.to_owned(), join).await? {
            Performed::Done((), _) => Ok(room_id.to_owned()),
            Performed::DoneBefore(placed) => self.room_of(&placed).await,
        }
    }

    /// The room that an action joined, if it is done.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn room_joined(&self, actor: &Actor) -> Result<Option<OwnedRoomId>, Refusal> {
        self.room_of_done(actor, JOIN).await
    }

    /// Asks to be let in.
    ///
    /// # Errors
    /// As for [`Self::join`].
    pub async fn knock(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let act = Knock { room: room_id.to_owned(), reason };
        self.perform_action(&actor.into(), format!("knock/{room_id}"), act).await.map(drop)
    }

    /// Leaves a room, declines an invite, or takes a knock back.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for somebody who is neither joined, invited nor knocking.
    pub async fn leave(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let actor = actor.into();
        let user = actor.session().user.clone();
        self.set(&actor, room_id, &user, Deed::Leave, reason).await
    }

    /// Invites a user of this server; answers with the name and picture they go by (M12).
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: no such account. [`Refusal::Forbidden`]: by the room's rules, or a user of
    /// another server, which this one cannot reach. [`Refusal::Unwanted`].
    pub async fn invite(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<Profile, Refusal> {
        let act = Invite { room: room_id.to_owned(), target: target.to_owned(), reason };
        match self.perform_action(&actor.into(), format!("invite/{room_id}/{target}"), act).await? {
            Performed::Done(profile, _) => Ok(profile),
            Performed::DoneBefore(placed) => {
                let event = self.store.event(&placed.event_id).await?;
                let content: serde_json::Value = event.and_then(|e| e.content_as()).unwrap_or_default();
                let said = |key: &str| content[key].as_str().map(str::to_owned);
                Ok(Profile { displayname: said("displayname"), avatar_url: said("avatar_url") })
            }
        }
    }

    /// Puts somebody out of a room, or takes their invite back.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: by the room's rules, or the target is not in the room.
    pub async fn kick(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        self.set(&actor.into(), room_id, target, Deed::Kick, reason).await
    }

    /// Bans somebody from a room.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: by the room's rules.
    pub async fn ban(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        self.set(&actor.into(), room_id, target, Deed::Ban, reason).await
    }

    /// Takes a ban back.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: by the room's rules, or the target is not banned.
    pub async fn unban(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        self.set(&actor.into(), room_id, target, Deed::Unban, reason).await
    }

    /// Takes a room that the user left off their lists.
    ///
    /// # Errors
    /// [`Refusal::InvalidParam`] while the user is in the room; [`Refusal::NotFound`] when they never were.
    pub async fn forget(&self, session: &Session, room_id: &RoomId) -> Result<(), Refusal> {
        if self.store.forget_room(&session.user, room_id).await? {
            return Ok(());
        }
        match self.store.membership(&session.user, room_id).await? {
            Some(_) => Err(Refusal::InvalidParam("leave the room before forgetting it".into())),
            None => Err(Refusal::NotFound("you were never in this room".into())),
        }
    }

    async fn set(
        self: &Arc<Self>,
        actor: &Actor,
        room_id: &RoomId,
        target: &UserId,
        deed: Deed,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let endpoint = format!("{}/{room_id}/{target}", deed.as_str());
        let (room, target) = (room_id.to_owned(), target.to_owned());
        self.perform_action(actor, endpoint, SetMembership { room, target, deed, reason }).await.map(drop)
    }
}

struct Knock {
    room: OwnedRoomId,
    reason: Option<String>,
}

impl Act for Knock {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let room = existing(proposal, &self.room).await?;
        let user = proposal.author.sender.clone();
        let content = content::member(proposal, &user, Membership::Knock, self.reason.as_deref()).await?;
        proposal.append(&room, &Draft::state("m.room.member", user.as_str(), content)).await?;
        Ok(())
    }
}

struct Invite {
    room: OwnedRoomId,
    target: OwnedUserId,
    reason: Option<String>,
}

impl Act for Invite {
    type Answer = Profile;

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<Profile, Refusal> {
        let room = proposal.known_room(&self.room).await?;
        invite_in(proposal, &room, &self.target, self.reason.as_deref(), false).await?;
        let mut profile = proposal.profile(&self.target).await?.unwrap_or_default();
        profile.displayname.get_or_insert_with(|| self.target.localpart().to_owned());
        Ok(profile)
    }
}

/// What somebody does to their own membership or another's.
#[derive(Clone, Copy)]
enum Deed {
    Leave,
    Kick,
    Ban,
    Unban,
}

impl Deed {
    /// What a member event that `author` drafts for `target` would do to them, unless it is to join, invite or knock.
    fn of(author: &UserId, target: &UserId, before: Option<Membership>, becomes: Membership) -> Option<Self> {
        match becomes {
            Membership::Leave if target == author => Some(Self::Leave),
            Membership::Leave if before == Some(Membership::Ban) => Some(Self::Unban),
            Membership::Leave => Some(Self::Kick),
            Membership::Ban => Some(Self::Ban),
            Membership::Invite | Membership::Join | Membership::Knock => None,
        }
    }

    /// The endpoint that does it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Kick => "kick",
            Self::Ban => "ban",
            Self::Unban => "unban",
        }
    }

    fn membership(self) -> Membership {
        match self {
            Self::Leave | Self::Kick | Self::Unban => Membership::Leave,
            Self::Ban => Membership::Ban,
        }
    }

    /// Whether it can be done to somebody who is this; the room's rules are asked beside it.
    fn check(self, before: Option<Membership>) -> Result<(), Refusal> {
        let present = matches!(before, Some(Membership::Join | Membership::Invite | Membership::Knock));
        match self {
            Self::Kick if !present => Err(Refusal::Forbidden("this user is not in the room".into())),
            Self::Unban if before != Some(Membership::Ban) => {
                Err(Refusal::Forbidden("this user is not banned".into()))
            }
            Self::Leave | Self::Kick | Self::Ban | Self::Unban => Ok(()),
        }
    }
}

struct SetMembership {
    room: OwnedRoomId,
    target: OwnedUserId,
    deed: Deed,
    reason: Option<String>,
}

impl Act for SetMembership {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let room = proposal.known_room(&self.room).await?;
        if self.target != proposal.author.sender && !proposal.is_joined(&room).await? {
            return Err(Refusal::Forbidden("you are not in this room".into()));
        }
        self.deed.check(proposal.membership(&room, &self.target).await?)?;
        let (membership, reason) = (self.deed.membership(), self.reason.as_deref());
        let content = content::member(proposal, &self.target, membership, reason).await?;
        proposal.append(&room, &Draft::state("m.room.member", self.target.as_str(), content)).await?;
        Ok(())
    }
}

/// Refuses a member event that a client wrote itself and that does what an endpoint of its own refuses.
pub(super) async fn check_member(
    proposal: &Proposal<'_>,
    room: &RoomRow,
    target: &UserId,
    draft: &Draft,
) -> Result<(), Refusal> {
    let becomes = draft.content.get("membership").and_then(CanonicalJsonValue::as_str);
    let Some(becomes) = becomes.and_then(Membership::parse) else { return Ok(()) };
    let before = proposal.membership(room, target).await?;
    match Deed::of(&proposal.author.sender, target, before, becomes) {
        Some(deed) if proposal.is_joined(room).await? => deed.check(before),
        _ => Ok(()),
    }
}
