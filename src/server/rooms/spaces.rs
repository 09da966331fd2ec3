//! The rooms of a space: those that are here, and those of others, as their servers know them.
//!
//! Client-server API and server-server API, "Spaces".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    parts::Rooms,
    refusal::Refusal,
    summary::{Reader, Summary},
};
use crate::server::{
    event::stored::Membership,
    store::{Entry, Kinds},
};

/// How deep the rooms of a space are looked for, at most.
pub const MAX_DEPTH: usize = 10;

/// Rooms of a space that another server is told of, at most.
const MAX_TOLD: usize = 100;

/// Rooms of a space that are looked at, at most.
const MAX_WALKED: usize = 1_000;

/// A room of a space, with the events that name its own rooms.
#[derive(Clone, Debug)]
pub struct InSpace {
    /// The room.
    pub summary: Summary,
    /// Its rooms in their order, as stripped events with their time.
    pub children: Vec<Value>,
}

/// A space, as one server tells another of it.
#[derive(Clone, Debug)]
pub struct Space {
    /// The room itself, and what names its rooms.
    pub room: InSpace,
    /// Those of its rooms that the one knows.
    pub children: Vec<Summary>,
    /// Those that it knows, and of which the other may not know.
    pub inaccessible: Vec<OwnedRoomId>,
}

/// Other servers, as somebody sees them who looks for rooms.
pub trait Spaces: Sync {
    /// A room that is not here, as one of these servers knows it.
    fn look(
        &self,
        room: &RoomId,
        via: &[OwnedServerName],
        suggested_only: bool,
    ) -> impl Future<Output = Option<Arc<Space>>> + Send;
}

/// A room that is to be looked at.
struct Next {
    room: OwnedRoomId,
    at: usize,
    via: Vec<OwnedServerName>,
    /// What the server said that was asked for the space it is in.
    of: Option<Arc<Space>>,
}

/// What a space's event says of a room in it.
#[derive(Deserialize)]
struct Child {
    state_key: String,
    content: ChildContent,
    #[serde(default)]
    origin_server_ts: u64,
}

#[derive(Deserialize)]
struct ChildContent {
    #[serde(default)]
    via: Vec<String>,
    order: Option<Value>,
    #[serde(default)]
    suggested: bool,
}

impl Rooms {
    /// A space and its rooms, as far as they are here and `server` may know of them.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: there is none, or the server may not know of it.
    pub async fn space_for(
        &self,
        server: &ServerName,
        space: &RoomId,
        suggested_only: bool,
    ) -> Result<Space, Refusal> {
        let reader = Reader::Server(server);
        let room = self.in_space(reader, space, suggested_only).await?;
        let (mut children, mut inaccessible) = (Vec::new(), Vec::new());
        for (room, _) in named(&room.children).take(MAX_TOLD) {
            if !self.takes_part(&room) {
                continue;
            }
            match self.summary(reader, &room).await {
                Ok(summary) => children.push(summary),
                Err(Refusal::NotFound(_)) => inaccessible.push(room),
                Err(e) => return Err(e),
            }
        }
        Ok(Space { room, children, inaccessible })
    }

    /// The rooms of a space, each before its own, down to `depth`: from the `skip`th on, and whether there are more than
    /// `limit`. Of those that the reader may not know of nothing is told; those that are not here are asked for of
    /// `others`, the space itself `via` these.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] when the reader may not know of the space.
    pub async fn space(
        &self,
        others: &impl Spaces,
        reader: &UserId,
        space: &RoomId,
        (depth, suggested_only): (usize, bool),
        (skip, limit): (usize, usize),
    ) -> Result<(Vec<InSpace>, bool), Refusal> {
        let (mut told, mut seen) = (Vec::new(), BTreeSet::new());
        let (mut found, mut walked) = (0, 0);
        let via = space.server_name().map(ToOwned::to_owned).into_iter().collect();
        // Those that come next are at the end.
        let mut next = vec![Next { room: space.to_owned(), at: 0, via, of: None }];
        while let Some(now) = next.pop() {
            walked += 1;
            if !seen.insert(now.room.clone()) || walked > MAX_WALKED {
                continue;
            }
            let Some((room, of)) = self.in_space_anywhere(others, reader, &now, suggested_only).await? else {
                if now.at == 0 {
                    return Err(Refusal::Forbidden("you may not know of this room".into()));
                }
                continue;
            };
            if now.at < depth {
                let rooms: Vec<_> = named(&room.children).collect();
                let at = now.at + 1;
                next.extend(rooms.into_iter().rev().map(|(room, via)| Next {
                    room,
                    at,
                    via,
                    of: of.clone(),
                }));
            }
            found += 1;
            if found <= skip {
                continue;
            }
            if told.len() == limit {
                return Ok((told, true));
            }
            told.push(room);
        }
        Ok((told, false))
    }

    /// A room that is not here in a few words, for a user who may come in or look into it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: nobody knows it, or the user may not.
    pub async fn summary_by(
        &self,
        others: &impl Spaces,
        reader: &UserId,
        room: &RoomId,
        via: Vec<OwnedServerName>,
    ) -> Result<Summary, Refusal> {
        let absent = || Refusal::NotFound("there is no such room, or you may not know of it".into());
        let now = Next { room: room.to_owned(), at: 0, via, of: None };
        let found = self.in_space_anywhere(others, reader, &now, false).await?;
        found.map(|(room, _)| room.summary).ok_or_else(absent)
    }

    /// A room as the reader may know of it, and what the server said that was asked for it, if one was.
    async fn in_space_anywhere(
        &self,
        others: &impl Spaces,
        reader: &UserId,
        now: &Next,
        suggested_only: bool,
    ) -> Result<Option<(InSpace, Option<Arc<Space>>)>, Refusal> {
        let room = &now.room;
        if self.takes_part(room) {
            return match self.in_space(Reader::User(reader), room, suggested_only).await {
                Ok(room) => Ok(Some((room, None))),
                Err(Refusal::NotFound(_)) => Ok(None),
                Err(e) => Err(e),
            };
        }
        let said = now.of.as_ref().and_then(|of| {
            let is_hidden = of.inaccessible.contains(room);
            let child = of.children.iter().find(|child| child.listed.room_id == *room && !is_space(child));
            child
                .map(|child| InSpace { summary: child.clone(), children: Vec::new() })
                .map(Some)
                .or(is_hidden.then_some(None))
        });
        let (mut found, of) = match said {
            Some(said) => match said {
                Some(found) => (found, None),
                None => return Ok(None),
            },
            None => match others.look(room, &now.via, suggested_only).await {
                Some(space) if space.room.summary.listed.room_id == *room => {
                    (space.room.clone(), Some(space))
                }
                _ => return self.here_once(reader, room, suggested_only).await,
            },
        };
        let membership = self.store.membership(reader, room).await?.map(|row| row.membership);
        found.summary.membership = membership;
        found.children = in_order(found.children, suggested_only);
        let Summary { listed, allowed, .. } = &found.summary;
        let may_join = self.may_join(Reader::User(reader), listed.join_rule.as_str(), allowed);
        let is_invited = membership == Some(Membership::Invite);
        Ok((may_join || listed.world_readable || is_invited).then_some((found, of)))
    }

    /// A room that nobody here is in any longer, and of which no other server says anything.
    async fn here_once(
        &self,
        reader: &UserId,
        room: &RoomId,
        suggested_only: bool,
    ) -> Result<Option<(InSpace, Option<Arc<Space>>)>, Refusal> {
        match self.in_space(Reader::User(reader), room, suggested_only).await {
            Ok(room) => Ok(Some((room, None))),
            Err(Refusal::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A room that is here, with what names its rooms.
    async fn in_space(
        &self,
        reader: Reader<'_>,
        room: &RoomId,
        suggested_only: bool,
    ) -> Result<InSpace, Refusal> {
        let summary = self.summary(reader, room).await?;
        if !is_space(&summary) {
            return Ok(InSpace { summary, children: Vec::new() });
        }
        let keep = |entry: Entry<'_>| entry.kind == "m.space.child";
        let mut list = self.store.current_state(room, Kinds::All, keep).await?;
        let mut children = Vec::new();
        while !list.is_empty() {
            let page = self.store.next_page(&mut list).await?;
            children.extend(page.iter().map(|event| {
                json!({
                    "type": event.kind,
                    "state_key": event.state_key,
                    "content": event.content(),
                    "sender": event.sender,
                    "origin_server_ts": event.origin_server_ts,
                })
            }));
        }
        Ok(InSpace { summary, children: in_order(children, suggested_only) })
    }
}

fn is_space(room: &Summary) -> bool {
    room.listed.room_type.as_ref().is_some_and(|kind| kind.as_str() == "m.space")
}

/// The events that name a room of the space, in their order.
fn in_order(children: Vec<Value>, suggested_only: bool) -> Vec<Value> {
    let mut ordered: BTreeMap<_, Value> = BTreeMap::new();
    for event in children {
        let Ok(Child { state_key, content, origin_server_ts }) = Child::deserialize(&event) else { continue };
        if content.via.is_empty() || (suggested_only && !content.suggested) {
            continue;
        }
        let is_order =
            |order: &&str| order.len() <= 50 && order.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        let order = content.order.as_ref().and_then(Value::as_str).filter(is_order).map(str::to_owned);
        ordered.insert((order.is_none(), order, origin_server_ts, state_key), event);
    }
    ordered.into_values().collect()
}

/// The rooms that these events name, and the servers that they can be reached by.
fn named(children: &[Value]) -> impl Iterator<Item = (OwnedRoomId, Vec<OwnedServerName>)> {
    children.iter().filter_map(|event| {
        let Child { state_key, content, .. } = Child::deserialize(event).ok()?;
        let via = content.via.iter().filter_map(|server| ServerName::parse(server).ok());
        Some((RoomId::parse(state_key).ok()?, via.collect()))
    })
}
