//! Invites: whom this server can reach, and what an invite says.

use ruma::{CanonicalJsonValue, UserId};

use super::{append::Draft, content, proposal::Proposal, refusal::Refusal};
use crate::server::{event::stored::Membership, store::RoomRow};

/// What somebody is told who may not begin a chat: nothing of why.
pub(super) const NO_CHATS: &str = "this user does not take invitations from you at the moment";

/// Invites `target` into a room.
pub(super) async fn invite_in(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    target: &UserId,
    reason: Option<&str>,
    is_direct: bool,
) -> Result<(), Refusal> {
    check_invitable(proposal, target).await?;
    let mut content = content::member(proposal, target, Membership::Invite, reason).await?;
    if is_direct {
        content.insert("is_direct".to_owned(), CanonicalJsonValue::Bool(true));
    }
    proposal.append(room, &Draft::state("m.room.member", target.as_str(), content)).await?;
    Ok(())
}

/// Whether this server can reach whoever is invited.
pub(super) async fn check_invitable(proposal: &mut Proposal<'_>, target: &UserId) -> Result<(), Refusal> {
    if target.server_name() != proposal.author.sender.server_name() {
        return Err(Refusal::Forbidden("users of other servers cannot be reached from here".into()));
    }
    match proposal.profile(target).await? {
        Some(_) => Ok(()),
        None => Err(Refusal::NotFound("there is no such user".into())),
    }
}
