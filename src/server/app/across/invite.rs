//! Users of this server invite those of others.

use std::sync::Arc;

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::room::create_room,
};
use serde::Deserialize;
use tokio::task::JoinSet;

use super::candidates::refusal;
use crate::server::{
    app::parts::App,
    event::stored::Membership,
    finish::finish,
    profile::Profile,
    rooms::{Actor, Refusal, host::Drawn, visit::own_words},
    store::Placed,
};

impl App {
    /// Invites a user, of this server or of another; answers with the name and picture that they go by here (M12).
    ///
    /// # Errors
    /// As for [`crate::server::rooms::Rooms::invite`]; [`Refusal::Unreachable`]: the user's server does not answer.
    pub async fn invite(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<Profile, Refusal> {
        let actor = actor.into();
        if !self.is_across(target) {
            return self.rooms.invite(actor, room, target, reason).await;
        }
        let text = |text: String| CanonicalJsonValue::String(text);
        let mut own = CanonicalJsonObject::new();
        own.extend(reason.map(|reason| ("reason".to_owned(), text(reason))));
        self.invite_across(actor, room, target.to_owned(), own).await?;
        Ok(Profile { displayname: Some(target.localpart().to_owned()), avatar_url: None })
    }

    /// Makes a room as `request` describes it; who is invited from other servers is so when it is there. If nobody at all
    /// comes of it, it is left again.
    ///
    /// # Errors
    /// As for [`crate::server::rooms::Rooms::create`], and for [`Self::invite`].
    pub async fn create(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        request: create_room::v3::Request,
    ) -> Result<OwnedRoomId, Refusal> {
        let (app, actor) = (Arc::clone(self), actor.into());
        finish(async move {
            let is_direct = request.is_direct;
            let is_for_others_only = request.invite.iter().all(|user| app.is_across(user));
            let here = |user: &UserId| !app.is_across(user);
            let (room, across) = app.rooms.create_to_invite(&actor, request, here).await?;
            let mut own = CanonicalJsonObject::new();
            if is_direct {
                own.insert("is_direct".to_owned(), CanonicalJsonValue::Bool(true));
            }
            let (mut is_wanted, mut refused) = (!is_for_others_only, None);
            let mut invites = JoinSet::new();
            for user in across {
                let (app, actor, room, own) = (Arc::clone(&app), actor.clone(), room.clone(), own.clone());
                invites.spawn(async move { app.invite_across(actor, &room, user, own).await });
            }
            while let Some(outcome) = invites.join_next().await {
                match outcome.map_err(|e| Refusal::Internal(e.to_string()))? {
                    Ok(_) => is_wanted = true,
                    Err(refusal) => {
                        tracing::debug!(%room, ?refusal, "somebody is not invited to a new room");
                        refused = Some(refusal);
                    }
                }
            }
            match refused {
                Some(refusal) if !is_wanted => {
                    let user = actor.session().clone();
                    app.rooms.leave(&user, &room, None).await?;
                    Err(refusal)
                }
                _ => Ok(room),
            }
        })
        .await
    }

    /// Whether a user is of another server that this one can reach.
    pub(super) fn is_across(&self, user: &UserId) -> bool {
        self.federation.is_some() && user.server_name() != self.server_name()
    }

    /// Whom of another server a member event that a client wrote itself invites, if it does.
    pub(in crate::server::app) fn invited_across(
        &self,
        kind: &str,
        key: &str,
        content: &str,
    ) -> Option<OwnedUserId> {
        #[derive(Deserialize)]
        struct Content {
            membership: String,
        }
        let target =
            UserId::parse(key).ok().filter(|user| kind == "m.room.member" && self.is_across(user))?;
        let Content { membership } = serde_json::from_str(content).ok()?;
        (membership == Membership::Invite.as_str()).then_some(target)
    }

    /// Invites a user of another server by a member event that a client wrote itself.
    pub(in crate::server::app) async fn invite_by_state(
        self: &Arc<Self>,
        actor: Actor,
        room: &RoomId,
        target: OwnedUserId,
        content: &str,
    ) -> Result<Placed, Refusal> {
        let own = own_words(content)?;
        let id = self.invite_across(actor, room, target, own).await?;
        let placed = self.store.event(&id).await?;
        let placed = placed.ok_or_else(|| Refusal::Internal("an invite has no place".into()))?;
        Ok(Placed { event_id: id, position: placed.position })
    }

    /// Invites a user of another server, with `own` in the content of the event.
    pub(super) async fn invite_across(
        self: &Arc<Self>,
        actor: Actor,
        room: &RoomId,
        target: OwnedUserId,
        own: CanonicalJsonObject,
    ) -> Result<OwnedEventId, Refusal> {
        let (app, room) = (Arc::clone(self), room.to_owned());
        finish(async move {
            let Some(federation) = &app.federation else {
                return Err(Refusal::Forbidden("users of other servers cannot be reached from here".into()));
            };
            let server = target.server_name();
            app.rooms.check_server_of(server, &room).await?;
            let Drawn { ready, shown } = app.rooms.draw_invite(&actor, &room, &target, own).await?;
            let event = serde_json::value::RawValue::from_string(ready.json.clone())
                .map_err(|e| Refusal::Internal(e.to_string()))?;
            let about = (&*room, &*ready.event_id);
            let signed = federation.send_invite(server, about, &ready.version, (&event, &shown)).await;
            let signed = signed.map_err(|e| refusal(server, &e))?;
            app.rooms.place_invite(&app.peers_or_refuse()?, &room, &ready, signed.get()).await?;
            Ok(ready.event_id)
        })
        .await
    }
}
