//! Invites: whom this server can reach, who wants to be reached, and what an invite says.
//!
//! Every invite passes [`check_invite`], however it arises: by an endpoint of its own, as a state event that a client
//! wrote itself, with a room that is made, or in answer to a knock.

use ruma::{CanonicalJsonValue, UserId};

use super::{content, draft::Draft, parts::Rooms, proposal::Proposal, refusal::Refusal};
use crate::server::{
    event::stored::Membership,
    list::{INVITE_PERMISSION, blocks_invites},
    store::RoomRow,
};

/// Invites `target` into a room.
pub(super) async fn invite_in(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    target: &UserId,
    reason: Option<&str>,
    is_direct: bool,
) -> Result<(), Refusal> {
    let mut content = content::member(proposal, target, Membership::Invite, reason).await?;
    if is_direct {
        content.insert("is_direct".to_owned(), CanonicalJsonValue::Bool(true));
    }
    proposal.append(room, &Draft::state("m.room.member", target.as_str(), content)).await?;
    Ok(())
}

/// Whether an event that the room's rules allow may be sent as far as it invites somebody: whom this server can
/// reach, and who takes invites of the author. Asked after the rules, so that who may not invite learns nothing.
pub(super) async fn check_invite(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    draft: &Draft,
) -> Result<(), Refusal> {
    let Some(target) = invited(draft) else { return Ok(()) };
    let target = UserId::parse(target)
        .map_err(|_| Refusal::BadJson("the state key of m.room.member is a user ID".into()))?;
    check_reachable(proposal, &target).await?;
    if proposal.rooms.blocks_invites(&target).await? {
        return Err(Refusal::InvitesBlocked);
    }
    if begins_chat(proposal, room, &target, draft).await?
        && !proposal.rooms.may_begin_chat(&proposal.author.sender, &target)
    {
        return Err(Refusal::Unwanted);
    }
    Ok(())
}

impl Rooms {
    /// Whether `target` takes no invites at all (client-server API, "Invite permission").
    pub async fn blocks_invites(&self, target: &UserId) -> Result<bool, Refusal> {
        for kind in INVITE_PERMISSION {
            if self.store.account_data(target, None, kind).await?.is_some_and(|said| blocks_invites(&said)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whom an event invites, if anybody.
fn invited(draft: &Draft) -> Option<&str> {
    let target = draft.state_key.as_deref().filter(|_| draft.kind == "m.room.member")?;
    let membership = draft.content.get("membership").and_then(CanonicalJsonValue::as_str);
    (membership == Some(Membership::Invite.as_str())).then_some(target)
}

/// Whether an invite begins a private chat: it says so, or there is nobody in the room but who invites. What the
/// room is otherwise does not count, as that can be changed afterwards. Who knocked has begun it themselves.
async fn begins_chat(
    proposal: &Proposal<'_>,
    room: &RoomRow,
    target: &UserId,
    draft: &Draft,
) -> Result<bool, Refusal> {
    if proposal.membership(room, target).await? == Some(Membership::Knock) {
        return Ok(false);
    }
    let is_direct = draft.content.get("is_direct") == Some(&CanonicalJsonValue::Bool(true));
    Ok(is_direct || proposal.is_alone(room).await?)
}

/// Whether this server can reach whoever is invited.
async fn check_reachable(proposal: &mut Proposal<'_>, target: &UserId) -> Result<(), Refusal> {
    if target.server_name() != proposal.author.sender.server_name() {
        return Err(Refusal::Forbidden("users of other servers cannot be reached from here".into()));
    }
    match proposal.profile(target).await? {
        Some(_) => Ok(()),
        None => Err(Refusal::NotFound("there is no such user".into())),
    }
}
