//! Aliases and the public directory. Client-server API, "Room aliases" and "Listing rooms".

use std::{cmp::Reverse, sync::Arc};

use ruma::{
    OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId, UserId,
    directory::{Filter, PublicRoomsChunk, PublicRoomsChunkInit},
};
use serde_json::{Map, Value};

use super::{
    append::rules,
    content,
    draft::Draft,
    parts::Rooms,
    power::PowerLevels,
    proposal::Proposal,
    refusal::Refusal,
    send::place,
    write::{ATTEMPTS, Act},
};
use crate::server::{
    event::stored::StoredEvent,
    session::Session,
    store::{AliasRow, RoomRow},
};

/// Rooms on a page of the directory, at most; also when none is asked for.
pub const MAX_LISTED: usize = 500;

/// Bytes of the texts on a page, about: no further room is added from here on.
const MAX_LISTED_BYTES: usize = 4 << 20;

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

/// Whose an alias is to somebody who adds it or takes it away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// Those who are in its room, and whoever made it.
    Members,
    /// Theirs, whoever is in the room.
    Asking,
}

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
        whose: Whose,
        alias: &RoomAliasId,
        room_id: &RoomId,
    ) -> Result<(), Refusal> {
        content::check_alias(alias)?;
        if alias.server_name() != self.server_name {
            return Err(Refusal::InvalidParam("this is an alias of another server".into()));
        }
        self.perform(session, AddAlias { whose, alias: alias.to_owned(), room: room_id.to_owned() }).await
    }

    /// Takes an alias away, also from the room's `m.room.canonical_alias` where the user may do that.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`] for somebody who neither made the alias nor may set
    /// the room's canonical one.
    pub async fn remove_alias(
        self: &Arc<Self>,
        session: &Session,
        whose: Whose,
        alias: &RoomAliasId,
    ) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS {
            let found = self.store.alias(alias).await?;
            let found = found.ok_or_else(|| Refusal::NotFound("there is no such alias".into()))?;
            let act = RemoveAlias { whose, alias: alias.to_owned(), found };
            if self.perform(session, act).await? == Found::AsAssumed {
                return Ok(());
            }
        }
        Err(Refusal::Internal("an alias leads somewhere else all the time".into()))
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
        self.perform(session, SetListed { room: room_id.to_owned(), listed }).await
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
        let mut rooms: Vec<(usize, OwnedRoomId)> = Vec::new();
        for room in self.store.listed_rooms().await? {
            let joined = self.members.counts(&room).0;
            // One after the other: texts can be long, and rooms many.
            if joined > 0 && (is_empty(filter) || matches(&self.entry(joined, room.clone()).await?, filter)) {
                rooms.push((joined, room));
            }
        }
        rooms.sort_by_key(|(joined, _)| Reverse(*joined));
        let total = rooms.len();
        let limit = limit.clamp(1, MAX_LISTED);
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for (joined, room) in rooms.into_iter().skip(skip).take(limit) {
            let entry = self.entry(joined, room).await?;
            let texts = [
                entry.name.as_deref(),
                entry.topic.as_deref(),
                entry.avatar_url.as_ref().map(|url| url.as_str()),
                entry.room_type.as_ref().map(|kind| kind.as_str()),
                Some(entry.join_rule.as_str()),
            ];
            bytes += texts.into_iter().flatten().map(str::len).sum::<usize>();
            chunk.push(entry);
            if bytes >= MAX_LISTED_BYTES {
                break;
            }
        }
        let end = skip + chunk.len();
        let next = (end < total && !chunk.is_empty()).then_some(end);
        Ok(DirectoryPage { chunk, next, previous: (skip > 0).then(|| skip.saturating_sub(limit)), total })
    }

    /// A room as the directory has it, listed or not.
    pub(super) async fn directory_entry(&self, room: &RoomId) -> Result<PublicRoomsChunk, Refusal> {
        self.entry(self.members.counts(room).0, room.to_owned()).await
    }

    async fn entry(&self, joined: usize, room: OwnedRoomId) -> Result<PublicRoomsChunk, Refusal> {
        let state = self.store.keyless_state(&room, &SHOWN).await?;
        Ok(entry(joined, room, &state))
    }
}

/// Whether every room matches it.
fn is_empty(filter: &Filter) -> bool {
    filter.room_types.is_empty() && filter.generic_search_term.is_none()
}

struct AddAlias {
    whose: Whose,
    alias: OwnedRoomAliasId,
    room: OwnedRoomId,
}

impl Act for AddAlias {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let room = proposal.known_room(&self.room).await?;
        if self.whose == Whose::Members && !proposal.is_joined(&room).await? {
            return Err(Refusal::Forbidden("you are not in this room".into()));
        }
        if proposal.alias(&self.alias).await?.is_some() {
            return Err(Refusal::AliasTaken);
        }
        proposal.add_alias(&self.alias, &room);
        Ok(())
    }
}

struct RemoveAlias {
    whose: Whose,
    alias: OwnedRoomAliasId,
    found: AliasRow,
}

/// Whether an alias leads where it led when the turn was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Found {
    AsAssumed,
    Elsewhere,
}

impl Act for RemoveAlias {
    type Answer = Found;

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.found.room_id.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<Found, Refusal> {
        if proposal.alias(&self.alias).await?.as_ref() != Some(&self.found) {
            return Ok(Found::Elsewhere);
        }
        let room = proposal.known_room(&self.found.room_id).await?;
        let may_set = may_set_alias(proposal, &room).await?;
        let is_theirs = self.whose == Whose::Asking || self.found.creator == proposal.author.sender;
        if !is_theirs && !may_set {
            return Err(Refusal::Forbidden("this is the alias of somebody else".into()));
        }
        proposal.remove_alias(&self.alias);
        if may_set {
            no_longer_announce(proposal, &room, &self.alias).await?;
        }
        Ok(Found::AsAssumed)
    }
}

struct SetListed {
    room: OwnedRoomId,
    listed: bool,
}

impl Act for SetListed {
    type Answer = ();

    fn room(&self) -> Option<OwnedRoomId> {
        Some(self.room.clone())
    }

    async fn carry_out(&self, proposal: &mut Proposal<'_>) -> Result<(), Refusal> {
        let room = proposal.room(&self.room).await?;
        let room = room.ok_or_else(|| Refusal::NotFound("there is no such room".into()))?;
        if !may_set_alias(proposal, &room).await? {
            return Err(Refusal::Forbidden("you may not do this in this room".into()));
        }
        proposal.set_listed(&room, self.listed);
        Ok(())
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

async fn may_set_alias(proposal: &Proposal<'_>, room: &RoomRow) -> Result<bool, Refusal> {
    let rules = rules(&room.version)?.authorization;
    let powers = PowerLevels::current(proposal, room, &rules).await?;
    let may = powers.of(&proposal.author.sender) >= powers.to_set("m.room.canonical_alias");
    Ok(proposal.is_joined(room).await? && may)
}

async fn no_longer_announce(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    alias: &RoomAliasId,
) -> Result<(), Refusal> {
    use ruma::CanonicalJsonValue as Json;
    let Some(current) = proposal.state(room, "m.room.canonical_alias", "").await? else { return Ok(()) };
    let mut content = content::parse(current.json())?;
    let before = content.clone();
    let is_it = |value: &Json| value.as_str() == Some(alias.as_str());
    if content.get("alias").is_some_and(is_it) {
        content.remove("alias");
    }
    if let Some(Json::Array(others)) = content.get_mut("alt_aliases") {
        others.retain(|other| !is_it(other));
    }
    if content != before {
        place(proposal, room, Draft::state("m.room.canonical_alias", "", content)).await?;
    }
    Ok(())
}
