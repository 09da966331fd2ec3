//! Users of this server leave rooms of others: they decline an invite, or take a knock back.

use std::{sync::Arc, time::Duration};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, RoomId, RoomVersionId, ServerName, UserId,
};

use super::candidates::{is_final, refusal};
use crate::server::{
    app::parts::App,
    event::stored::Membership,
    federation::{Federation, rooms::Step},
    finish::finish,
    rooms::{Actor, Entrance, Refusal, visit::Ready},
};

/// How long other servers may take until the user is out of the room without their knowing.
const PATIENCE: Duration = Duration::from_secs(20);

impl App {
    /// Lets the session's user leave a room, decline an invite, or take a knock back. Of a room that is not here its
    /// servers are told, if one answers; the user is out of it all the same.
    ///
    /// # Errors
    /// As for [`crate::server::rooms::Rooms::leave`].
    pub async fn leave(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room: &RoomId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let (app, actor, room) = (Arc::clone(self), actor.into(), room.to_owned());
        finish(async move {
            let user = actor.session().user.clone();
            if app.is_outside(&user, &room) {
                return app.leave_others(&room, &user, reason).await;
            }
            app.rooms.leave(actor, &room, reason).await
        })
        .await
    }

    /// Lets a user leave every room that is not here, as their account is about to end.
    pub(in crate::server::app) async fn leave_all_others(&self, user: &UserId) -> Result<(), Refusal> {
        for row in self.store.memberships(user).await? {
            if self.is_outside(user, &row.room_id) {
                Box::pin(self.leave_others(&row.room_id, user, None)).await?;
            }
        }
        Ok(())
    }

    /// Whether a user is invited to a room that is not here, or knocks there.
    pub(super) fn is_outside(&self, user: &UserId, room: &RoomId) -> bool {
        let is = self.rooms.members.membership(user, room);
        matches!(is, Some(Membership::Invite | Membership::Knock)) && !self.rooms.takes_part(room)
    }

    async fn leave_others(
        &self,
        room: &RoomId,
        user: &UserId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        if let Some(federation) = &self.federation {
            // Whoever invited them knows best; where they knock, whoever made the room what it showed.
            let inviter = self.rooms.inviter(room, user).await?.map(|by| by.server_name().to_owned());
            let mut likely: Vec<OwnedServerName> = inviter.into_iter().collect();
            likely.extend(self.rooms.servers_shown(room, user).await?);
            let candidates = self.candidates(room, user, &likely).await?;
            let told = self.tell_of_leave(federation, &candidates, (room, user), reason.as_ref());
            match tokio::time::timeout(PATIENCE, told).await {
                Ok(true) => return Ok(()),
                Ok(false) | Err(_) => {
                    tracing::debug!(%room, "nobody there is told that a user is not coming")
                }
            }
        }
        self.rooms.leave_unheard(room, user, reason).await
    }

    /// Whether one of the candidates took the leave.
    async fn tell_of_leave(
        &self,
        federation: &Federation,
        candidates: &[OwnedServerName],
        (room, user): (&RoomId, &UserId),
        reason: Option<&String>,
    ) -> bool {
        for server in candidates {
            match self.leave_by(federation, server, (room, user), reason).await {
                Ok(()) => return true,
                Err(refusal) => {
                    tracing::debug!(%room, %server, ?refusal, "a server does not take a leave");
                    if is_final(&refusal) {
                        return false;
                    }
                }
            }
        }
        false
    }

    async fn leave_by(
        &self,
        federation: &Federation,
        server: &ServerName,
        (room, user): (&RoomId, &UserId),
        reason: Option<&String>,
    ) -> Result<(), Refusal> {
        let ready = (Step::Leave, Entrance::Leave, &[][..]);
        let ready = self.ready_by((federation, server), ready, (room, user), reason).await?;
        let Ready { event_id, json, .. } = &ready;
        let taken = federation.send_leave(server, (room, event_id), &json.clone().into()).await;
        taken.map_err(|e| refusal(server, &e))?;
        self.rooms.went(room, &ready, &[]).await
    }

    /// What `user` becomes in a room by a server that says what that event looks like: signed, with their reason.
    pub(super) async fn ready_by(
        &self,
        (federation, server): (&Federation, &ServerName),
        (step, entrance, versions): (Step, Entrance, &[RoomVersionId]),
        (room, user): (&RoomId, &UserId),
        reason: Option<&String>,
    ) -> Result<Ready, Refusal> {
        let made = federation.make(server, step, (room, user), versions).await;
        let made = made.map_err(|e| refusal(server, &e))?;
        let mut own = CanonicalJsonObject::new();
        own.extend(reason.map(|reason| ("reason".to_owned(), CanonicalJsonValue::String(reason.clone()))));
        self.rooms.ready((room, user), entrance, (made.room_version, made.event.get()), own).await
    }
}
