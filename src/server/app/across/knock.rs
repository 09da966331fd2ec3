//! Users of this server knock at rooms of others.

use std::sync::Arc;

use ruma::{OwnedServerName, RoomId, ServerName, UserId};
use tokio::time::Instant;

use super::{
    candidates::{PATIENCE, Refused, is_final, refusal},
    join::check_maker,
};
use crate::server::{
    app::parts::App,
    federation::{Federation, rooms::Step},
    finish::finish,
    rooms::{Actor, Entrance, Refusal, VERSIONS, visit::Ready},
};

impl App {
    /// Lets the session's user knock at a room; at one that is not here by the servers `via`, or by others that may know
    /// it.
    ///
    /// # Errors
    /// As for [`crate::server::rooms::Rooms::knock`]; [`Refusal::Unreachable`]: none of those servers answers.
    pub async fn knock(
        self: &Arc<Self>,
        actor: impl Into<Actor>,
        room: &RoomId,
        via: Vec<OwnedServerName>,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let (app, actor, room) = (Arc::clone(self), actor.into(), room.to_owned());
        finish(async move {
            let user = actor.session().user.clone();
            let candidates = app.candidates(&room, &user, &via).await?;
            match &app.federation {
                Some(federation) if app.is_elsewhere(&room, &candidates).await? => {
                    app.rooms.check_can_knock_more(&user)?;
                    app.knock_at_others(federation, &candidates, (&room, &user), reason.as_ref()).await
                }
                _ => app.rooms.knock(actor, &room, reason).await,
            }
        })
        .await
    }

    async fn knock_at_others(
        &self,
        federation: &Federation,
        candidates: &[OwnedServerName],
        (room, user): (&RoomId, &UserId),
        reason: Option<&String>,
    ) -> Result<(), Refusal> {
        check_maker(federation, room)?;
        let (mut refused, began) = (Refused::default(), Instant::now());
        for server in candidates {
            if began.elapsed() > PATIENCE {
                break;
            }
            match self.knock_by(federation, server, (room, user), reason).await {
                Ok(()) => return Ok(()),
                Err(refusal) if is_final(&refusal) => return Err(refusal),
                Err(refusal) => {
                    tracing::debug!(%room, %server, ?refusal, "a server does not take a knock");
                    refused.note(refusal);
                }
            }
        }
        Err(refused.into_refusal())
    }

    async fn knock_by(
        &self,
        federation: &Federation,
        server: &ServerName,
        (room, user): (&RoomId, &UserId),
        reason: Option<&String>,
    ) -> Result<(), Refusal> {
        let ready = (Step::Knock, Entrance::Knock, &VERSIONS[..]);
        let ready = self.ready_by((federation, server), ready, (room, user), reason).await?;
        let Ready { event_id, json, .. } = &ready;
        let shown = federation.send_knock(server, (room, event_id), &json.clone().into()).await;
        let shown = shown.map_err(|e| refusal(server, &e))?;
        self.rooms.went(room, &ready, &shown).await
    }
}
