//! Coming into a room: the same, whether a client asks to join or writes its own member event.
//!
//! Client-server API, "Room membership", "Restricted rooms".

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, OwnedUserId, RoomId, UserId,
    room_version_rules::AuthorizationRules,
};
use serde::Deserialize;

use super::{
    append::rules, content, draft::Draft, power::PowerLevels, proposal::Proposal, refusal::Refusal,
    write::Act,
};
use crate::server::{event::stored::Membership, store::RoomRow};

/// The kind of request that joins, by whatever name of a room.
pub(super) const JOIN: &str = "join";

/// Somebody comes into a room.
pub(super) struct Join {
    room: OwnedRoomId,
    own: CanonicalJsonObject,
}

impl Join {
    /// With what a client wants to say of it in the content of the member event.
    pub(super) fn new(room: &RoomId, own: CanonicalJsonObject) -> Result<Self, Refusal> {
        Ok(Self { room: room.to_owned(), own: said_of_a_join(own)? })
    }
}

impl Act for Join {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let room = existing(proposal, &self.room).await?;
        let user = proposal.author.sender.clone();
        let member = proposal.state(&room, "m.room.member", user.as_str()).await?;
        let before = member.as_ref().and_then(|member| member.membership());
        if let Some(member) = member.filter(|_| before == Some(Membership::Join)) {
            proposal.stand(member.id());
            return Ok(());
        }
        let content = content_of_join(proposal, &room, &user, before, self.own.clone()).await?;
        proposal.append(&room, &Draft::state("m.room.member", user.as_str(), content)).await?;
        Ok(())
    }
}

/// What a client may say of a join.
pub(super) fn said_of_a_join(mut own: CanonicalJsonObject) -> Result<CanonicalJsonObject, Refusal> {
    // What the server says of a join is not for the client to say.
    for key in ["membership", "join_authorised_via_users_server", "third_party_signed"] {
        own.remove(key);
    }
    for key in ["displayname", "avatar_url"] {
        if own.get(key).is_some_and(|value| value.as_str().is_none()) {
            own.remove(key);
        }
    }
    if own.get("reason").is_some_and(|reason| reason.as_str().is_none()) {
        return Err(Refusal::BadJson("reason: must be a string".into()));
    }
    Ok(own)
}

/// The content of the member event by which `user`, who was something else `before`, comes into a room.
pub(super) async fn content_of_join(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    user: &UserId,
    before: Option<Membership>,
    mut content: CanonicalJsonObject,
) -> Result<CanonicalJsonObject, Refusal> {
    let join = CanonicalJsonValue::String(Membership::Join.as_str().to_owned());
    content.insert("membership".to_owned(), join);
    content::add_profile(proposal, user, &mut content).await?;
    let rules = rules(&room.version)?;
    if before != Some(Membership::Invite)
        && let Some(authoriser) = authoriser(proposal, room, &rules.authorization, user).await?
    {
        let id = CanonicalJsonValue::String(authoriser.to_string());
        content.insert("join_authorised_via_users_server".to_owned(), id);
    }
    Ok(content)
}

/// A room, to somebody who comes from outside.
pub(super) async fn existing(proposal: &mut Proposal<'_>, room: &RoomId) -> Result<RoomRow, Refusal> {
    let room = proposal.room(room).await?;
    room.ok_or_else(|| Refusal::NotFound("this server knows no such room".into()))
}

/// For a restricted room that lets `user` in because of another room: the member here whose server
/// vouches for it. Restricted rooms: client-server API, "Restricted rooms".
async fn authoriser(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    rules: &AuthorizationRules,
    user: &UserId,
) -> Result<Option<OwnedUserId>, Refusal> {
    #[derive(Deserialize)]
    struct JoinRules {
        join_rule: String,
        #[serde(default)]
        allow: Vec<Allow>,
    }
    #[derive(Deserialize)]
    struct Allow {
        room_id: Option<OwnedRoomId>,
    }
    let join_rules = proposal.state(room, "m.room.join_rules", "").await?;
    let Some(JoinRules { join_rule, allow }) = join_rules.as_ref().and_then(|event| event.content_as())
    else {
        return Ok(None);
    };
    if !matches!(join_rule.as_str(), "restricted" | "knock_restricted") {
        return Ok(None);
    }
    let mut admitted = false;
    for other in allow.into_iter().filter_map(|allow| allow.room_id) {
        admitted |= proposal.membership_elsewhere(&other, user).await? == Some(Membership::Join);
    }
    if !admitted {
        return Ok(None);
    }
    let powers = PowerLevels::current(proposal, room, rules).await?;
    let can_vouch = |member: &OwnedUserId| {
        member.server_name() == user.server_name() && powers.of(member) >= powers.to_invite()
    };
    Ok(proposal.joined_members(room).await?.into_iter().find(can_vouch))
}
