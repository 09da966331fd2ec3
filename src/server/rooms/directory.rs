//! Aliases and the public directory. Client-server API, "Room aliases" and "Listing rooms".

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use ruma::{
    OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId, UserId,
    directory::{Filter, PublicRoomsChunk, PublicRoomsChunkInit},
};
use serde_json::{Map, Value};

use super::{
    append::{Author, Draft, rules},
    content,
    power::PowerLevels,
    refusal::Refusal,
    send::{known_room, place},
    write::Rooms,
};
use crate::server::{
    event::stored::{Membership, StoredEvent},
    session::Session,
    store::{RoomRow, RoomWrite},
};

/// Rooms on a page of the directory, at most; also when none is asked for.
pub const MAX_LISTED: usize = 500;

/// The state events that the directory is made of.
const SHOWN: [&str; 8] = [
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.create",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.name",
    "m.room.topic",
];

/// A page of the public directory.
#[derive(Debug)]
pub struct DirectoryPage {
    /// The rooms, the fullest first.
    pub chunk: Vec<PublicRoomsChunk>,
    /// Where the next page begins.
    pub next: Option<usize>,
    /// Where the page before begins.
    pub previous: Option<usize>,
    /// Rooms on all pages.
    pub total: usize,
}

impl Rooms {
    /// Makes an alias lead to a room.
    ///
    /// # Errors
    /// [`Refusal::InvalidParam`] for an alias of another server, [`Refusal::AliasTaken`], and
    /// [`Refusal::Forbidden`] for somebody who is not in the room.
    pub async fn add_alias(
        self: &Arc<Self>,
        session: &Session,
        alias: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), Refusal> {
        content::check_length("the alias", alias.as_str())?;
        if alias.server_name() != self.server_name {
            return Err(Refusal::InvalidParam("this is an alias of another server".into()));
        }
        let (session, alias, room_id) = (session.clone(), alias.to_owned(), room_id.to_owned());
        self.write(move |write, _| {
            let room = known_room(write, &room_id)?;
            if write.membership(&room, &session.user)? != Some(Membership::Join) {
                return Err(Refusal::Forbidden("you are not in this room".into()));
            }
            if write.add_alias(&alias, &room, &session.user)? { Ok(()) } else { Err(Refusal::AliasTaken) }
        })
        .await
    }

    /// Takes an alias away, also from the room's `m.room.canonical_alias` where the user may do that.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] for somebody who neither made the alias nor may set
    /// the room's canonical one.
    pub async fn remove_alias(
        self: &Arc<Self>,
        session: &Session,
        alias: &RoomAliasId,
    ) -> Result<(), Refusal> {
        let (session, alias) = (session.clone(), alias.to_owned());
        self.write(move |write, rooms| {
            let found =
                write.alias(&alias)?.ok_or_else(|| Refusal::NotFound("there is no such alias".into()))?;
            let room = known_room(write, &found.room_id)?;
            let may_set = may_set_alias(write, &room, &session.user)?;
            if found.creator != session.user && !may_set {
                return Err(Refusal::Forbidden("this is the alias of somebody else".into()));
            }
            write.remove_alias(&alias)?;
            if may_set {
                let author = Author {
                    signer: &rooms.signer,
                    sender: &session.user,
                    now_ms: rooms.clock.unix_ms(),
                    transaction: None,
                };
                no_longer_announce(write, author, &room, &alias)?;
            }
            Ok(())
        })
        .await
    }

    /// Puts a room into the public directory or takes it out.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] for somebody who may not set the room's canonical alias.
    pub async fn set_listed(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        listed: bool,
    ) -> Result<(), Refusal> {
        let (session, room_id): (Session, OwnedRoomId) = (session.clone(), room_id.to_owned());
        self.write(move |write, _| {
            let room =
                write.room(&room_id)?.ok_or_else(|| Refusal::NotFound("there is no such room".into()))?;
            if !may_set_alias(write, &room, &session.user)? {
                return Err(Refusal::Forbidden("you may not do this in this room".into()));
            }
            write.set_listed(&room, listed)?;
            Ok(())
        })
        .await
    }

    /// The aliases of a room, for somebody who may look into it.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub async fn visible_aliases(
        &self,
        user: &UserId,
        room: &RoomId,
    ) -> Result<Vec<OwnedRoomAliasId>, Refusal> {
        self.access(user, room).await?;
        Ok(self.store.aliases(room).await?)
    }

    /// A page of the public directory, from the `skip`th room on.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn public_rooms(
        &self,
        filter: &Filter,
        skip: usize,
        limit: usize,
    ) -> Result<DirectoryPage, Refusal> {
        let mut rooms: BTreeMap<OwnedRoomId, Vec<Arc<StoredEvent>>> = BTreeMap::new();
        for event in self.store.listed_state(&SHOWN).await? {
            rooms.entry(event.room_id.clone()).or_default().push(event);
        }
        let mut rooms: Vec<PublicRoomsChunk> = rooms
            .into_iter()
            .map(|(room, state)| entry(self.members.counts(&room).0, room, &state))
            .filter(|room| room.num_joined_members > 0_u32.into() && matches(room, filter))
            .collect();
        rooms.sort_by_key(|room| Reverse(room.num_joined_members));
        let total = rooms.len();
        let limit = limit.clamp(1, MAX_LISTED);
        let chunk: Vec<_> = rooms.into_iter().skip(skip).take(limit).collect();
        let next = (skip + chunk.len() < total && !chunk.is_empty()).then_some(skip + limit);
        Ok(DirectoryPage { chunk, next, previous: (skip > 0).then(|| skip.saturating_sub(limit)), total })
    }
}

fn entry(joined: usize, room: OwnedRoomId, state: &[Arc<StoredEvent>]) -> PublicRoomsChunk {
    let word = |kind: &str, key: &str| {
        let event = state.iter().find(|event| event.kind == kind)?;
        let content: Map<String, Value> = event.content_as()?;
        content.get(key)?.as_str().map(str::to_owned)
    };
    let init = PublicRoomsChunkInit {
        num_joined_members: u32::try_from(joined).unwrap_or(u32::MAX).into(),
        room_id: room,
        world_readable: word("m.room.history_visibility", "history_visibility").as_deref()
            == Some("world_readable"),
        guest_can_join: word("m.room.guest_access", "guest_access").as_deref() == Some("can_join"),
    };
    let mut entry = PublicRoomsChunk::from(init);
    entry.canonical_alias = word("m.room.canonical_alias", "alias").and_then(|a| RoomAliasId::parse(a).ok());
    entry.name = word("m.room.name", "name");
    entry.topic = word("m.room.topic", "topic");
    entry.avatar_url = word("m.room.avatar", "url").map(Into::into);
    entry.join_rule = word("m.room.join_rules", "join_rule").unwrap_or_else(|| "invite".to_owned()).into();
    entry.room_type = word("m.room.create", "type").map(Into::into);
    entry
}

fn matches(room: &PublicRoomsChunk, filter: &Filter) -> bool {
    let of_type = filter.room_types.is_empty()
        || filter
            .room_types
            .iter()
            .any(|wanted| wanted.as_str() == room.room_type.as_ref().map(|k| k.as_str()));
    let said = filter.generic_search_term.as_deref().is_none_or(|term| {
        let term = term.to_lowercase();
        let alias = room.canonical_alias.as_ref().map(|alias| alias.as_str());
        [room.name.as_deref(), room.topic.as_deref(), alias]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(&term))
    });
    of_type && said
}

fn may_set_alias(write: &RoomWrite<'_>, room: &RoomRow, user: &UserId) -> Result<bool, Refusal> {
    let rules = rules(&room.version)?.authorization;
    let powers = PowerLevels::current(write, room, &rules)?;
    let joined = write.membership(room, user)? == Some(Membership::Join);
    Ok(joined && powers.of(user) >= powers.to_set("m.room.canonical_alias"))
}

fn no_longer_announce(
    write: &RoomWrite<'_>,
    author: Author<'_>,
    room: &RoomRow,
    alias: &RoomAliasId,
) -> Result<(), Refusal> {
    use ruma::CanonicalJsonValue as Json;
    let Some(current) = write.state(room, "m.room.canonical_alias", "")? else { return Ok(()) };
    let mut content = content::parse(current.content().get())?;
    let before = content.clone();
    let is_it = |value: &Json| value.as_str() == Some(alias.as_str());
    if content.get("alias").is_some_and(is_it) {
        content.remove("alias");
    }
    if let Some(Json::Array(others)) = content.get_mut("alt_aliases") {
        others.retain(|other| !is_it(other));
    }
    if content != before {
        place(write, author, room, Draft::state("m.room.canonical_alias", "", content))?;
    }
    Ok(())
}
