//! The rooms of a user: where something happened in them last, and which lists' filters let them through.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedRoomId, RoomId, UserId};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    known_rooms::{KnownRooms, Nature},
    request::{Filters, Wanted},
    scope::{Found, Lists},
};
use crate::server::{
    change::position::TimelinePosition,
    event::stored::Membership,
    store::{Standing, StoreError},
    stream::parts::Parts,
};

/// Rooms that others put the user out of, of which lists tell at most: the last ones. As many that the user left, that the client was
/// told before, and that no list has, are remembered until one has them.
const MAX_LEFT: usize = 100;

/// What a user keeps that decides which list has a room.
#[derive(Debug, Default)]
struct OwnWords {
    direct: BTreeSet<OwnedRoomId>,
    tags: BTreeMap<OwnedRoomId, BTreeSet<String>>,
}

/// By space, the rooms in it.
type Children<'a> = BTreeMap<&'a OwnedRoomId, BTreeSet<String>>;

/// What is asked to know which rooms lists have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survey<'a> {
    pub(super) parts: &'a Parts,
    pub(super) known: &'a KnownRooms,
    pub(super) user: &'a UserId,
    /// Whoever invites is not one of these.
    pub(super) ignored: &'a BTreeSet<ruma::OwnedUserId>,
}

impl Survey<'_> {
    /// The rooms of the user by which lists that are `wanted` let them through, on a connection that was sent some, of which it was
    /// told that the user is `there`, or `out`; and those of the latter of which nothing has to be remembered any longer.
    pub(super) async fn find(
        &self,
        wanted: &Wanted,
        there: Vec<OwnedRoomId>,
        mut out: Vec<OwnedRoomId>,
    ) -> Result<(Vec<Found>, Vec<OwnedRoomId>), StoreError> {
        let Self { parts, known, user, ignored } = *self;
        let there: Vec<&RoomId> = there.iter().map(|room| &**room).collect();
        let (mut rooms, departed) = parts.store.standings(user, MAX_LEFT, &there).await?;
        rooms.retain(|room| room.membership != Membership::Invite || !ignored.contains(&room.sender));
        let departures: BTreeSet<_> = departed.iter().map(|room| room.room_id.clone()).collect();
        rooms.extend(departed);
        let ids: Vec<_> = rooms.iter().map(|room| room.room_id.clone()).collect();
        let ends = known.ends(&parts.store, &ids).await?;
        let own = self.own_words(wanted).await?;
        let ids: BTreeSet<_> = ids.iter().map(|room| room.as_str()).collect();
        let children = self.children(wanted, &ids).await?;
        let mut found = Vec::with_capacity(rooms.len());
        let mut on_no_list = Vec::new();
        for (room, end) in rooms.into_iter().zip(ends) {
            let mut lists = Lists::default();
            for (place, list) in wanted.lists.values().enumerate() {
                lists.set(place, self.lets_through(&list.filters, &room, &own, &children).await?);
            }
            let moves = room.membership == Membership::Join;
            let at = if moves { end } else { room.position };
            let id = room.room_id;
            let is_asked = !lists.is_empty() || wanted.subscriptions.contains_key(&id);
            if !is_asked && departures.contains(&id) {
                on_no_list.push((at, id.clone()));
            }
            found.push(Found { moves, at, is_dm: own.direct.contains(&id), lists, id });
        }
        // Another request may ask for them; but not for all that there ever were.
        on_no_list.sort();
        on_no_list.truncate(on_no_list.len().saturating_sub(MAX_LEFT));
        let forgotten: BTreeSet<_> = on_no_list.into_iter().map(|(_, room)| room).collect();
        found.retain(|room| !forgotten.contains(&room.id));
        let is_known: BTreeSet<_> = found.iter().map(|room| &room.id).collect();
        out.retain(|room| !is_known.contains(room));
        out.extend(forgotten);
        Ok((found, out))
    }

    async fn own_words(&self, wanted: &Wanted) -> Result<OwnWords, StoreError> {
        let store = &self.parts.store;
        let direct = store.account_data(self.user, None, "m.direct").await?;
        let mut tags = BTreeMap::new();
        if wanted.uses_tags() {
            for (room, content) in store.room_account_data(self.user, "m.tag").await? {
                tags.insert(room, tags_of(&content));
            }
        }
        Ok(OwnWords { direct: direct.map(|content| direct_rooms(&content)).unwrap_or_default(), tags })
    }

    /// Which of the `rooms` are in each of the spaces that filters name and the user is in.
    async fn children<'w>(
        &self,
        wanted: &'w Wanted,
        rooms: &BTreeSet<&str>,
    ) -> Result<Children<'w>, StoreError> {
        let mut children = Children::new();
        let mut spaces = wanted.spaces();
        spaces.retain(|space| self.parts.members.is_joined(self.user, space));
        for space in spaces {
            let mut of_space = BTreeSet::new();
            for child in self.parts.store.current_state_of_type(space, "m.space.child").await? {
                #[derive(Deserialize)]
                struct Child {
                    via: Vec<String>,
                }
                let is_one = || child.content_as::<Child>().is_some_and(|child| !child.via.is_empty());
                of_space.extend(child.state_key.clone().filter(|key| rooms.contains(&**key) && is_one()));
            }
            children.insert(space, of_space);
        }
        Ok(children)
    }

    async fn lets_through(
        &self,
        filters: &Filters,
        room: &Standing,
        own: &OwnWords,
        children: &Children<'_>,
    ) -> Result<bool, StoreError> {
        let Filters { is_dm, is_encrypted, is_invited, room_types, not_room_types, tags, not_tags, spaces } =
            filters;
        let is = |wanted: &Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        let tagged = |with: &BTreeSet<String>| {
            own.tags.get(&room.room_id).is_some_and(|of_room| with.iter().any(|tag| of_room.contains(tag)))
        };
        let room_id = &room.room_id;
        let is_in = |space| children.get(space).is_some_and(|rooms| rooms.contains(room_id.as_str()));
        if !is(is_dm, own.direct.contains(&room.room_id))
            || !is(is_invited, room.membership == Membership::Invite)
            || spaces.as_ref().is_some_and(|spaces| !spaces.iter().any(is_in))
            || tags.as_ref().is_some_and(|tags| !tagged(tags))
            || not_tags.as_ref().is_some_and(tagged)
        {
            return Ok(false);
        }
        if is_encrypted.is_none() && room_types.is_none() && not_room_types.is_none() {
            return Ok(true);
        }
        let Some(nature) = self.nature(room).await? else { return Ok(false) };
        Ok(is(is_encrypted, nature.is_encrypted)
            && room_types.as_ref().is_none_or(|types| types.contains(&nature.kind))
            && !not_room_types.as_ref().is_some_and(|types| types.contains(&nature.kind)))
    }

    /// What a room is, as far as the user may know; `None`: not at all.
    async fn nature(&self, room: &Standing) -> Result<Option<Arc<Nature>>, StoreError> {
        let store = &self.parts.store;
        match room.membership {
            Membership::Invite | Membership::Knock => {
                Ok(room.stripped.as_deref().and_then(Nature::of_stripped).map(Arc::new))
            }
            Membership::Join => self.known.nature(store, &room.room_id).await.map(Some),
            Membership::Leave | Membership::Ban => {
                let nature = self.known.nature(store, &room.room_id).await?;
                if !nature.is_encrypted {
                    return Ok(Some(nature));
                }
                // What became of it since, they do not see.
                let until = TimelinePosition::live(room.position);
                let was = store.state_event_at(&room.room_id, "m.room.encryption", "", until).await?;
                let kind = nature.kind.clone();
                Ok(Some(Arc::new(Nature { kind, is_encrypted: was.is_some() })))
            }
        }
    }
}

/// The rooms that an `m.direct` names.
fn direct_rooms(content: &str) -> BTreeSet<OwnedRoomId> {
    let by_user: BTreeMap<String, Value> = serde_json::from_str(content).unwrap_or_default();
    let rooms = by_user.values().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    rooms.filter_map(|room| RoomId::parse(room).ok()).collect()
}

fn tags_of(content: &str) -> BTreeSet<String> {
    #[derive(Default, Deserialize)]
    struct Content {
        #[serde(default)]
        tags: BTreeMap<String, Box<RawValue>>,
    }
    serde_json::from_str::<Content>(content).unwrap_or_default().tags.into_keys().collect()
}
