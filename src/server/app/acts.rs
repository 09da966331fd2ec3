//! The few acts that ask several services in order.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, RoomVersionId, UserId};

use super::{parts::App, refusal::Refusal};
use crate::server::{
    change::position::LivePosition,
    finish::finish,
    presence::PresenceEvent,
    profile::ProfileField,
    rooms,
    session::Session,
    store::{Placed, Proof, StoreError},
};

impl App {
    /// Sets or removes a part of the user's profile; then everybody who sees the user is told (P10).
    ///
    /// # Errors
    /// [`rooms::Refusal::Store`] when the store fails.
    pub async fn set_profile_field(
        self: &Arc<Self>,
        user: OwnedUserId,
        field: ProfileField,
        value: Option<String>,
    ) -> Result<(), rooms::Refusal> {
        let app = Arc::clone(self);
        finish(async move {
            app.store.set_profile_field(user.clone(), field, value).await?;
            app.rooms.handle_profile_change(&user).await
        })
        .await
    }

    /// Lets the session's user join a room that this server knows; see [`Self::join_by`].
    ///
    /// # Errors
    /// As for [`Self::join_by`].
    pub async fn join(
        self: &Arc<Self>,
        actor: impl Into<rooms::Actor>,
        room: &RoomId,
        own: &str,
    ) -> Result<OwnedRoomId, rooms::Refusal> {
        self.join_by(actor, room, Vec::new(), own).await
    }

    /// Lets the session's user join a room, with `own` in the content of the member event; one that is not here by the
    /// servers `via`, or by others that may know it. What they keep for the room that it replaced, they keep for it,
    /// too.
    ///
    /// # Errors
    /// As for [`rooms::Rooms::join`]; [`rooms::Refusal::Unreachable`]: none of those servers answers.
    pub async fn join_by(
        self: &Arc<Self>,
        actor: impl Into<rooms::Actor>,
        room: &RoomId,
        via: Vec<OwnedServerName>,
        own: &str,
    ) -> Result<OwnedRoomId, rooms::Refusal> {
        let (app, actor) = (Arc::clone(self), actor.into());
        let (room, own) = (room.to_owned(), own.to_owned());
        finish(async move {
            let user = actor.session().user.clone();
            let act = app.join_anywhere(actor, &room, &via, &own);
            app.entering(&user, &room, act).await
        })
        .await
    }

    /// Sets state of a room; what brings the session's user into it is a join like any other, see [`Self::join`].
    ///
    /// # Errors
    /// As for [`rooms::Rooms::send_state`].
    pub async fn set_state(
        self: &Arc<Self>,
        actor: impl Into<rooms::Actor>,
        room: &RoomId,
        (kind, key): (&str, &str),
        content: &str,
    ) -> Result<Placed, rooms::Refusal> {
        let (app, actor, room) = (Arc::clone(self), actor.into(), room.to_owned());
        if kind != "m.room.member" || key != actor.session().user {
            if let Some(target) = self.invited_across(kind, key, content) {
                return self.invite_by_state(actor, &room, target, content).await;
            }
            return self.rooms.send_state(actor, &room, kind, key, content).await;
        }
        let (kind, key, content) = (kind.to_owned(), key.to_owned(), content.to_owned());
        finish(async move {
            let user = actor.session().user.clone();
            let act = app.rooms.send_state(actor, &room, &kind, &key, &content);
            app.entering(&user, &room, act).await
        })
        .await
    }

    /// Does what may bring `user` into a room, with all that comes of it.
    async fn entering<T>(
        &self,
        user: &UserId,
        room: &RoomId,
        act: impl Future<Output = Result<T, rooms::Refusal>>,
    ) -> Result<T, rooms::Refusal> {
        let was_there = self.rooms.members.is_joined(user, room);
        if !was_there {
            self.check_guest(user, room).await?;
        }
        let answer = act.await?;
        if !was_there && self.rooms.members.is_joined(user, room) {
            self.take_own_data_over(user, room).await?;
            if self.rooms.members.count_ours(room) == 1 {
                self.rooms.follow_upgrade(user, room).await?;
            }
        }
        Ok(answer)
    }

    /// Replaces a room with a new one; see [`rooms::Rooms::upgrade`].
    ///
    /// # Errors
    /// As for [`rooms::Rooms::upgrade`].
    pub async fn upgrade(
        &self,
        session: &Session,
        room: &RoomId,
        version: RoomVersionId,
        additional_creators: Vec<OwnedUserId>,
    ) -> Result<OwnedRoomId, rooms::Refusal> {
        let new = self.rooms.upgrade(session, room, version, additional_creators).await?;
        self.take_own_data_over(&session.user, &new).await?;
        Ok(new)
    }

    /// What the user keeps for the room that `room` replaced is kept for it, as far as there is room for it.
    async fn take_own_data_over(&self, user: &UserId, room: &RoomId) -> Result<(), rooms::Refusal> {
        let Some(old) = self.rooms.replaced_by(room).await? else { return Ok(()) };
        if self.store.membership(user, &old).await?.is_some()
            && let Err(refusal) = self.own_data.take_over(user, &old, room).await
        {
            tracing::debug!(?refusal, "what a user keeps for a room is not taken over");
        }
        Ok(())
    }

    /// Ends an account: the user leaves every room, nobody sees them and they see nobody, and every device is
    /// logged out. Once begun it is brought to its end even if the caller goes away.
    ///
    /// # Errors
    /// [`Refusal::Outdated`] when `proof` holds no longer: then nothing has happened. Else that of the step that
    /// failed; those before it are done, and asking again does the rest.
    pub async fn deactivate(self: &Arc<Self>, proof: Proof) -> Result<(), Refusal> {
        let app = Arc::clone(self);
        finish(async move {
            let user = proof.user.clone();
            app.store.check_proof(proof).await?;
            app.close_account(&user).await
        })
        .await
    }

    /// Ends an account, step by step.
    pub(super) async fn close_account(&self, user: &UserId) -> Result<(), Refusal> {
        self.rooms.leave_everything(user).await?;
        self.leave_all_others(user).await?;
        self.contacts.close(user).await?;
        self.store.deactivate(user.to_owned()).await?;
        // What the user's devices did until they were logged out, beside the first two steps.
        self.rooms.leave_everything(user).await?;
        self.contacts.close(user).await?;
        self.guests.remove(user);
        Ok(())
    }

    /// Has the application service whose user this would be make it for `who`, if it is not there.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read whether it is.
    pub async fn make_if_bridged(&self, who: &UserId, user: &UserId) -> Result<(), StoreError> {
        let is_one = !self.registrations.is_empty() && user.server_name() == self.server_name();
        if is_one && self.store.login(user).await?.is_none() {
            let made = self.app_services.make_user(who, user).await;
            tracing::debug!(made, "an application service was asked for a user");
        }
        Ok(())
    }

    /// Whether the user wants to look offline: nothing they do may show (P4).
    pub fn is_hidden(&self, user: &UserId) -> bool {
        self.presence.is_hidden(user, self.now())
    }

    /// Before `reader` reads what `users` show: of those of other servers of whom nothing is known it is asked (L8).
    pub async fn enquire<'a>(&self, reader: &UserId, users: impl IntoIterator<Item = &'a OwnedUserId>) {
        let Some(federation) = &self.federation else { return };
        let elsewhere = users.into_iter().filter(|user| user.server_name() != self.server_name());
        let seen: Vec<_> = elsewhere.filter(|user| self.sight.may_see(reader, user)).cloned().collect();
        if !seen.is_empty() {
            federation.presence.enquire(seen.into_iter()).await;
        }
    }

    /// The content of the presence event of `user`, as `observer` (who may see it) gets it.
    pub fn presence_content(&self, observer: &UserId, user: &UserId) -> Vec<u8> {
        let now = self.now();
        let mut out = Vec::new();
        if observer == user
            && let Some(own) = self.presence.own_event(user, LivePosition::START, now)
        {
            own.write_content(&mut out, now);
        } else if let Some(event) = self.presence.event(user) {
            event.write_content(&mut out, now);
        } else {
            PresenceEvent::unheard(user, self.server_name()).write_content(&mut out, now);
        }
        out
    }
}
