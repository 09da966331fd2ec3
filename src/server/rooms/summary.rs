//! What somebody may know of a room before they are in it.
//!
//! Client-server API, "Room summaries".

use ruma::{OwnedRoomId, RoomId, ServerName, UserId, directory::PublicRoomsChunk};
use serde_json::Value;

use super::{parts::Rooms, refusal::Refusal};
use crate::server::event::stored::Membership;

/// Users of another server whose invites are looked for, at most.
const MAX_USERS: usize = 1_000;

/// A room in a few words.
#[derive(Clone, Debug)]
pub struct Summary {
    /// As the public directory has it.
    pub listed: PublicRoomsChunk,
    /// Its version.
    pub version: String,
    /// How what is said there is encrypted, if it is.
    pub encryption: Option<String>,
    /// Who is in one of these rooms may join.
    pub allowed: Vec<OwnedRoomId>,
    /// What the reader is there, if anything.
    pub membership: Option<Membership>,
}

/// Who wants to know of a room.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// Somebody without an account.
    Anybody,
    /// A user of this server.
    User(&'a UserId),
    /// Another server, for its users.
    Server(&'a ServerName),
}

impl Rooms {
    /// A room in a few words, for somebody who is there, may come in or look into it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: there is none, or they may not know of it.
    pub async fn summary(&self, reader: Reader<'_>, room: &RoomId) -> Result<Summary, Refusal> {
        let absent = || Refusal::NotFound("there is no such room, or you may not know of it".into());
        let row = self.store.room(room).await?.ok_or_else(absent)?;
        let listed = self.directory_entry(room).await?;
        let content = async |kind: &str| -> Result<Value, Refusal> {
            let event = self.store.state_event(room, kind, "").await?;
            Ok(event.and_then(|event| event.content_as()).unwrap_or_default())
        };
        let rules = content("m.room.join_rules").await?;
        let allowed = rules["allow"].as_array().into_iter().flatten();
        let allowed: Vec<OwnedRoomId> = allowed
            .filter(|one| one["type"] == "m.room_membership")
            .filter_map(|one| RoomId::parse(one["room_id"].as_str()?).ok())
            .collect();
        let encryption = content("m.room.encryption").await?["algorithm"].as_str().map(str::to_owned);
        let membership = match reader {
            Reader::User(reader) => self.store.membership(reader, room).await?.map(|row| row.membership),
            Reader::Anybody | Reader::Server(_) => None,
        };
        let may_join = self.may_join(reader, rules["join_rule"].as_str().unwrap_or("invite"), &allowed);
        let is_there = match reader {
            Reader::Server(server) => {
                self.members.has_server(room, server) || self.has_invited_of(room, server).await?
            }
            Reader::Anybody | Reader::User(_) => {
                matches!(membership, Some(Membership::Join | Membership::Invite))
            }
        };
        if !may_join && !is_there && !listed.world_readable {
            return Err(absent());
        }
        Ok(Summary { listed, version: row.version.to_string(), encryption, allowed, membership })
    }

    /// Whether a room of this rule, which lets in who is in one of those `allowed`, is open to the reader.
    pub(super) fn may_join(&self, reader: Reader<'_>, rule: &str, allowed: &[OwnedRoomId]) -> bool {
        let is_in = |room: &OwnedRoomId| match reader {
            Reader::Anybody => false,
            Reader::User(reader) => self.members.is_joined(reader, room),
            // What was so when this server left a room need not be so any longer.
            Reader::Server(server) => self.takes_part(room) && self.members.has_server(room, server),
        };
        match rule {
            "public" | "knock" | "knock_restricted" => true,
            "restricted" => allowed.iter().any(is_in),
            _ => false,
        }
    }

    /// Whether somebody of `server` is invited to a room.
    async fn has_invited_of(&self, room: &RoomId, server: &ServerName) -> Result<bool, Refusal> {
        let of_server = self.store.users_of_server(room, server, MAX_USERS).await?;
        Ok(of_server.iter().any(|user| self.members.membership(user, room) == Some(Membership::Invite)))
    }
}
