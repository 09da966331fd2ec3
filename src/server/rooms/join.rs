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
    for key in ["membership", content::AUTHORISED_BY, "third_party_signed"] {
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
    if proposal.is_left_to_others(room).await? {
        // The last of this server has left meanwhile: what the room is now, and whom it lets in, only others know.
        return Err(Refusal::UnableToAuthorise);
    }
    content::add_profile(proposal, user, &mut content).await?;
    let rules = rules(&room.version)?;
    if before != Some(Membership::Invite)
        && let Admission::By(authoriser) = admission(proposal, room, &rules.authorization, user).await?
    {
        let id = CanonicalJsonValue::String(authoriser.to_string());
        content.insert(content::AUTHORISED_BY.to_owned(), id);
    }
    Ok(content)
}

/// A room, to somebody who comes from outside.
pub(super) async fn existing(proposal: &mut Proposal<'_>, room: &RoomId) -> Result<RoomRow, Refusal> {
    let room = proposal.room(room).await?;
    room.ok_or_else(|| Refusal::NotFound("this server knows no such room".into()))
}

/// Whether a restricted room lets somebody in because of another room.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is no such room.
    Unrestricted,
    /// They are in none of the other rooms.
    No,
    /// Yes; this is the member of this server who lets them in.
    By(OwnedUserId),
}

/// Whether a restricted room lets `user` in because of another room, and who of this server says so. Client-server API,
/// "Restricted rooms".
///
/// # Errors
/// [`Refusal::UnableToAuthorise`]: whether `user`, who is of another server, is in the other rooms is not known here;
/// [`Refusal::UnableToGrant`]: they are, and nobody of this server may invite them.
pub(super) async fn admission(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    rules: &AuthorizationRules,
    user: &UserId,
) -> Result<Admission, Refusal> {
    #[derive(Deserialize)]
    struct JoinRules {
        join_rule: String,
        #[serde(default)]
        allow: Vec<Allow>,
    }
    #[derive(Deserialize)]
    struct Allow {
        r#type: String,
        room_id: Option<OwnedRoomId>,
    }
    let join_rules = proposal.state(room, "m.room.join_rules", "").await?;
    let Some(JoinRules { join_rule, allow }) = join_rules.as_ref().and_then(|event| event.content_as())
    else {
        return Ok(Admission::Unrestricted);
    };
    let is_restricted = match join_rule.as_str() {
        "restricted" => rules.restricted_join_rule,
        "knock_restricted" => rules.knock_restricted_join_rule,
        _ => false,
    };
    if !is_restricted {
        return Ok(Admission::Unrestricted);
    }
    let is_ours = user.server_name() == proposal.rooms.server_name;
    let (mut admitted, mut unknown) = (false, false);
    let allow = allow.into_iter().filter(|allow| allow.r#type == "m.room_membership");
    for other in allow.filter_map(|allow| allow.room_id) {
        // What was so when this server left a room need not be so any longer.
        if proposal.rooms.takes_part(&other) {
            admitted |= proposal.membership_elsewhere(&other, user).await? == Some(Membership::Join);
        } else {
            unknown |= !is_ours;
        }
    }
    if !admitted {
        return if unknown { Err(Refusal::UnableToAuthorise) } else { Ok(Admission::No) };
    }
    let powers = PowerLevels::current(proposal, room, rules).await?;
    let members = proposal.own_members(room, |member| powers.of(member) >= powers.to_invite()).await?;
    members.into_iter().next().map(Admission::By).ok_or(Refusal::UnableToGrant)
}
