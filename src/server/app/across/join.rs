//! Users of this server come into rooms of others.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, OwnedRoomId, OwnedServerName, RoomId, ServerName, UserId};
use tokio::time::Instant;

use super::candidates::{PATIENCE, Refused, is_final, refusal};
use crate::server::{
    app::parts::App,
    federation::{
        Federation,
        client::RequestError,
        room_answer::{Part, RoomAnswer},
        rooms::Step,
    },
    rooms::{
        Actor, Entrance, Refusal, VERSIONS,
        receive::Piece,
        visit::{Each, Ready, own_words},
    },
};

/// Bytes of an answer beyond which it waits for its turn to be looked at.
const LARGE_ANSWER: u64 = 16 << 20;

impl App {
    /// Lets the session's user join a room, here or by other servers.
    pub(in crate::server::app) async fn join_anywhere(
        self: &Arc<Self>,
        actor: Actor,
        room: &RoomId,
        via: &[OwnedServerName],
        own: &str,
    ) -> Result<OwnedRoomId, Refusal> {
        if let Some(done) = self.rooms.room_joined(&actor).await? {
            return Ok(done);
        }
        let user = actor.session().user.clone();
        let candidates = self.candidates(room, &user, via).await?;
        let said = own_words(own)?;
        if self.is_elsewhere(room, &candidates).await? {
            match self.join_by_others((room, &user), &candidates, &said).await? {
                Entry::Entered => return Ok(room.to_owned()),
                Entry::IsHere => {}
            }
        }
        match self.rooms.join(actor.clone(), room, own).await {
            // Others may be able to say what this server cannot.
            Err(Refusal::UnableToGrant | Refusal::UnableToAuthorise) if !candidates.is_empty() => {
                match self.join_by_others((room, &user), &candidates, &said).await? {
                    Entry::Entered => Ok(room.to_owned()),
                    Entry::IsHere => self.rooms.join(actor, room, own).await,
                }
            }
            outcome => outcome,
        }
    }

    /// Whether a join of `room` goes by other servers: this one is not in it, and may not be the last that was.
    pub(super) async fn is_elsewhere(
        &self,
        room: &RoomId,
        candidates: &[OwnedServerName],
    ) -> Result<bool, Refusal> {
        if self.federation.is_none() || self.rooms.takes_part(room) {
            return Ok(false);
        }
        Ok(!candidates.is_empty() || self.store.room(room).await?.is_none())
    }

    /// Brings `user` into a room by one of the `candidates`, with `own` in the content of the member event; does nothing
    /// for somebody who is there already.
    pub(super) async fn join_by_others(
        self: &Arc<Self>,
        (room, user): (&RoomId, &UserId),
        candidates: &[OwnedServerName],
        own: &CanonicalJsonObject,
    ) -> Result<Entry, Refusal> {
        let Some(federation) = &self.federation else {
            return Err(Refusal::NotFound("this server knows no such room".into()));
        };
        check_maker(federation, room)?;
        let had_part = self.rooms.takes_part(room);
        let _turn = self.entering.turn(room).await;
        if self.rooms.takes_part(room) && !had_part {
            // Somebody else brought it meanwhile.
            return Ok(Entry::IsHere);
        }
        let (mut refused, began) = (Refused::default(), Instant::now());
        for server in candidates {
            if began.elapsed() > PATIENCE {
                break;
            }
            match self.join_at(federation, server, (room, user), own.clone()).await {
                Ok(()) => return Ok(Entry::Entered),
                Err(refusal) if is_final(&refusal) => return Err(refusal),
                Err(refusal) => {
                    tracing::debug!(%room, %server, ?refusal, "a room cannot be joined by a server");
                    refused.note(refusal);
                }
            }
        }
        Err(refused.into_refusal())
    }

    async fn join_at(
        self: &Arc<Self>,
        federation: &Arc<Federation>,
        server: &ServerName,
        (room, user): (&RoomId, &UserId),
        own: CanonicalJsonObject,
    ) -> Result<(), Refusal> {
        let made = federation.make(server, Step::Join, (room, user), &VERSIONS).await;
        let made = made.map_err(|e| refusal(server, &e))?;
        let drawn = (made.room_version, made.event.get());
        let ready = self.rooms.ready((room, user), Entrance::Join, drawn, own).await?;
        let file = RoomAnswer::blank(&self.config.data_dir)
            .map_err(|e| Refusal::Internal(format!("no file for the answer to a join: {e}")))?;
        let Ready { event_id, json, .. } = &ready;
        let event = json.clone().into();
        let answer = federation.send_join(server, (room, event_id), &event, file).await;
        let answer = answer.map_err(|e| refusal(server, &e))?;
        tracing::info!(%room, %server, bytes = answer.len(), "a room is brought here");
        let peers = self.peers_or_refuse()?;
        // Nobody closes it.
        let _place = match answer.len() > LARGE_ANSWER {
            true => federation.large_joins.acquire().await.ok(),
            false => None,
        };
        let mut answer = answer;
        let read = move |each: &mut Each<'_>| {
            answer.walk(|part, _, event| {
                let piece = match part {
                    Part::Event => None,
                    Part::State => Some(Piece::State),
                    Part::AuthChain => Some(Piece::AuthChain),
                };
                each(piece, event)
            })
        };
        self.rooms.enter(&peers, server, (room, user), ready, read).await
    }
}

/// Whether the server that a room was made on, where its ID says so, is spoken with: else nobody here could tell whether
/// its first event is its own, which is found out only when others took the join already.
pub(super) fn check_maker(federation: &Federation, room: &RoomId) -> Result<(), Refusal> {
    match room.server_name().filter(|server| !federation.policy.speaks_with(server)) {
        Some(server) => Err(refusal(server, &RequestError::Refused)),
        None => Ok(()),
    }
}

/// How somebody came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// By another server.
    Entered,
    /// Not yet; the room is here meanwhile.
    IsHere,
}
