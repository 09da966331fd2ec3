//! A user of another server invites one of this server to a room.

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedUserId, RoomId, RoomVersionId, ServerName, UserId,
};
use serde_json::value::RawValue;

use super::shown::check_shown;
use crate::server::{
    event::stored::Membership,
    rooms::{
        append::{canonical, rules},
        bounds::VERSIONS,
        coming::Place,
        parts::Rooms,
        receive::{Elsewhere, check::read},
        refusal::Refusal,
        visit::Ready,
    },
};

/// How often a user's membership of a room that is not here becomes another before they can be invited there no more; and how many
/// such rooms users of one server may have put one user out of. What was said of each stays on the disk.
const MAX_SAID: usize = 100;
const MAX_PUT_OUT: usize = 1_000;

/// An invite as its server brings it.
#[derive(Debug)]
pub struct Brought<'a> {
    /// The version of the room.
    pub version: RoomVersionId,
    /// The event.
    pub event: &'a str,
    /// What the room shows of itself.
    pub shown: Vec<Box<RawValue>>,
}

impl Rooms {
    /// Takes an invite of a user of this server by one of `server`; answers with the event, signed by this server, too.
    ///
    /// # Errors
    /// [`Refusal::IncompatibleVersion`]; [`Refusal::BadJson`], [`Refusal::InvalidParam`]: it is no such event,
    /// or what comes with it is of another room.
    /// [`Refusal::NotFound`]: there is no such user here. [`Refusal::Forbidden`] by its signatures;
    /// [`Refusal::Unwanted`], [`Refusal::InvitesBlocked`] by the user.
    pub async fn take_invite<E: Elsewhere>(
        self: &Arc<Self>,
        elsewhere: &Arc<E>,
        server: &ServerName,
        (room, id): (&RoomId, &EventId),
        invite: Brought<'_>,
    ) -> Result<String, Refusal> {
        let Brought { version, event, shown } = invite;
        if !VERSIONS.contains(&version) {
            return Err(Refusal::IncompatibleVersion(version));
        }
        let rules = rules(&version)?;
        let mut object: CanonicalJsonObject =
            serde_json::from_str(event).map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        object.remove("unsigned");
        let (by, target, is_direct) = parties(&object)?;
        if by.server_name() != server {
            return Err(Refusal::Forbidden("who invites is not of your server".into()));
        }
        if self.takes_part(room) {
            self.check_server(server, room).await?;
        }
        let unproven = read(&rules, room, &canonical(&object)?)
            .map_err(|flaw| Refusal::BadJson(flaw.to_string().into()))?;
        if unproven.event_id() != id {
            return Err(Refusal::InvalidParam("the path names another event".into()));
        }
        check_shown(&rules, room, &shown)?;
        let keys = self.keys(&**elsewhere, unproven.needs(&rules)).await;
        unproven.prove(&rules, &keys).map_err(|flaw| Refusal::Forbidden(flaw.to_string().into()))?;
        self.check_wanted(room, (&by, &target), is_direct).await?;
        let turn = self.turns.wait(room).await;
        let _place = {
            let mut coming = self.coming.lock();
            if self.members.membership(&target, room).is_none() {
                self.check_can_invite(&coming, &by, &target)?;
            }
            let place = Place { room: room.to_owned(), becomes: Membership::Invite, by: by.clone() };
            self.coming.keep(&mut coming, &target, place)
        };
        self.signer
            .sign_event(&mut object, &rules.redaction)
            .map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        let signed = canonical(&object)?;
        // Where this server takes part the event comes as every other does; by the signature it is known as asked for.
        if !self.takes_part(room) {
            let said = self.store.count_memberships_said(room, &target).await?;
            if said >= MAX_SAID || self.store.count_put_out_by(server, &target).await? >= MAX_PUT_OUT {
                return Err(Refusal::Forbidden("too many invites of this user were taken back".into()));
            }
            let event = Ready { version: version.clone(), event_id: id.to_owned(), json: signed.clone() }
                .checked()?;
            self.note_outside(&turn, (room, &version), &event, &shown).await?;
        }
        Ok(signed)
    }

    /// Whether `target`, who has an account here, takes invites of `by`.
    async fn check_wanted(
        &self,
        room: &RoomId,
        (by, target): (&UserId, &UserId),
        is_direct: bool,
    ) -> Result<(), Refusal> {
        let nobody = || Refusal::NotFound("there is no such user here".into());
        if target.server_name() != self.server_name {
            return Err(nobody());
        }
        let login = self.store.login(target).await?.filter(|login| !login.deactivated);
        login.ok_or_else(nobody)?;
        if self.blocks_invites(target).await? {
            return Err(Refusal::InvitesBlocked);
        }
        // Who knocked has begun it themselves; and where others of this server are, it is no chat of two.
        let knocked = self.members.membership(target, room) == Some(Membership::Knock);
        let begins_chat = is_direct || !self.takes_part(room);
        if begins_chat && !knocked && !self.may_begin_chat(by, target) {
            return Err(Refusal::Unwanted);
        }
        Ok(())
    }
}

/// Who invites whom by an event, and whether it says that it begins a private chat.
fn parties(object: &CanonicalJsonObject) -> Result<(OwnedUserId, OwnedUserId, bool), Refusal> {
    let text = |key: &str| object.get(key).and_then(CanonicalJsonValue::as_str);
    let content = object.get("content").and_then(CanonicalJsonValue::as_object);
    let said = |key: &str| content.and_then(|content| content.get(key));
    if text("type") != Some("m.room.member")
        || said("membership").and_then(CanonicalJsonValue::as_str) != Some(Membership::Invite.as_str())
    {
        return Err(Refusal::BadJson("this is no invite".into()));
    }
    let user = |key: &str| {
        let id = text(key).and_then(|id| UserId::parse(id).ok());
        id.ok_or_else(|| Refusal::BadJson(format!("{key} is no user ID").into()))
    };
    let is_direct = said("is_direct") == Some(&CanonicalJsonValue::Bool(true));
    Ok((user("sender")?, user("state_key")?, is_direct))
}
