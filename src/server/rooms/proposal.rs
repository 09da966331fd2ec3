//! What an act would change, and what it was judged on, before any of it is written.
//!
//! It reads what is on the disk, over it what acts in flight make of the room whose turn it is, and over that what
//! the act itself has added. Everything that it looked at and that others can change goes along as an assumption.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{EventId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, UserId};

use super::{
    coming::Kept,
    parts::Rooms,
    pdu::{Pdu, StateKey},
    refusal::Refusal,
    turns::{Head, Turn},
};
use crate::server::{
    event::stored::{Membership, StoredEvent},
    profile::Profile,
    store::{AliasRow, Annotation, Assumption, Extremity, Once, RoomChange, RoomCommit, RoomRow},
};

/// Who sends events, when, and in answer to which request.
#[derive(Clone, Debug)]
pub(super) struct Author {
    pub(super) sender: OwnedUserId,
    pub(super) now_ms: u64,
    /// When the events say that they were sent, if that is another time than this.
    pub(super) sent_ms: Option<u64>,
    pub(super) once: Option<Once>,
}

impl Author {
    /// When the events say that they were sent.
    pub(super) fn origin_server_ts(&self) -> u64 {
        self.sent_ms.unwrap_or(self.now_ms)
    }
}

/// An act while it is judged.
#[derive(Debug)]
pub(super) struct Proposal<'a> {
    pub(super) rooms: &'a Rooms,
    pub(super) author: Author,
    turn: Option<&'a Turn>,
    seen: BTreeMap<OwnedRoomId, Seen>,
    aliases: BTreeMap<OwnedRoomAliasId, Option<AliasRow>>,
    assumptions: Vec<Assumption>,
    changes: Vec<RoomChange>,
    /// The places that it takes.
    pub(super) coming: Vec<Kept>,
    /// Something of it rests on what is not on the disk yet.
    rests_on_others: bool,
    /// The event that makes so what was asked for, where nothing is to be changed.
    stands: Option<OwnedEventId>,
}

/// A room as the act sees it.
#[derive(Debug)]
struct Seen {
    head: Head,
    /// The act makes this room: nothing of it is anywhere else.
    is_new: bool,
    /// What the act sets.
    state: BTreeMap<StateKey, Arc<Pdu>>,
}

/// What a proposal comes to.
#[derive(Debug)]
pub(super) struct Proposed {
    pub(super) commit: RoomCommit,
    pub(super) rests_on_others: bool,
    /// Places to be kept until it is written, or given up.
    pub(super) coming: Vec<Kept>,
    /// What becomes of the room whose turn it is.
    pub(super) outcome: Option<(Head, BTreeMap<StateKey, Arc<Pdu>>)>,
}

impl<'a> Proposal<'a> {
    pub(super) fn new(rooms: &'a Rooms, author: Author, turn: Option<&'a Turn>) -> Self {
        Self {
            rooms,
            author,
            turn,
            seen: BTreeMap::new(),
            aliases: BTreeMap::new(),
            assumptions: Vec::new(),
            changes: Vec::new(),
            coming: Vec::new(),
            rests_on_others: false,
            stands: None,
        }
    }

    /// What was asked for is so already, because of this event.
    pub(super) fn stand(&mut self, event: &EventId) {
        self.stands = Some(event.to_owned());
    }

    /// What is to be written.
    pub(super) fn finish(mut self) -> Proposed {
        let outcome =
            self.turn.and_then(|turn| self.seen.remove(turn.room_id())).map(|seen| (seen.head, seen.state));
        let stands = self.stands.filter(|_| self.author.once.is_some());
        let commit = RoomCommit {
            assumptions: self.assumptions,
            once: self.author.once,
            changes: self.changes,
            stands,
            now_ms: self.author.now_ms,
        };
        Proposed { commit, rests_on_others: self.rests_on_others, coming: self.coming, outcome }
    }

    /// The room whose turn it is, or one that the act makes; `None`: there is no such room.
    pub(super) async fn room(&mut self, room_id: &RoomId) -> Result<Option<RoomRow>, Refusal> {
        if let Some(seen) = self.seen.get(room_id) {
            return Ok(Some(seen.head.room.clone()));
        }
        let turn = self.turn.filter(|turn| turn.room_id() == room_id);
        let Some(turn) = turn else {
            return Err(Refusal::Internal("an act changes a room out of turn".into()));
        };
        let head = match turn.head() {
            Some(head) => {
                self.rests_on_others = true;
                head
            }
            None => {
                let Some(room) = self.rooms.store.room(room_id).await? else { return Ok(None) };
                Head { room, extremities: self.rooms.store.extremities(room_id).await? }
            }
        };
        let mut extremities: Vec<OwnedEventId> =
            head.extremities.iter().map(|e| e.event_id.clone()).collect();
        extremities.sort();
        self.assumptions.push(Assumption::Head { room: room_id.to_owned(), extremities });
        let room = head.room.clone();
        self.seen.insert(room_id.to_owned(), Seen { head, is_new: false, state: BTreeMap::new() });
        Ok(Some(room))
    }

    /// A room, to somebody who acts in it. Rooms that do not exist and rooms one is not in look the same.
    pub(super) async fn known_room(&mut self, room_id: &RoomId) -> Result<RoomRow, Refusal> {
        self.room(room_id).await?.ok_or_else(|| Refusal::Forbidden("you are not in this room".into()))
    }

    /// Makes a room, without events.
    pub(super) fn create_room(&mut self, room: &RoomRow) {
        let RoomRow { room_id, version, listed } = room.clone();
        self.changes.push(RoomChange::Create { room: room_id.clone(), version, listed });
        let head = Head { room: room.clone(), extremities: Vec::new() };
        self.seen.insert(room_id, Seen { head, is_new: true, state: BTreeMap::new() });
    }

    /// The events that the next event of a room follows, deepest first.
    pub(super) fn extremities(&self, room: &RoomRow) -> Vec<Extremity> {
        self.seen.get(&room.room_id).map_or_else(Vec::new, |seen| seen.head.extremities.clone())
    }

    /// The state event of this type and key.
    pub(super) async fn state(
        &self,
        room: &RoomRow,
        kind: &str,
        key: &str,
    ) -> Result<Option<Arc<Pdu>>, Refusal> {
        let name = (kind.to_owned(), key.to_owned());
        if let Some(seen) = self.seen.get(&room.room_id) {
            if let Some(pdu) = seen.state.get(&name) {
                return Ok(Some(Arc::clone(pdu)));
            }
            if seen.is_new {
                return Ok(None);
            }
        }
        if let Some(pdu) =
            self.turn.filter(|turn| turn.room_id() == room.room_id).and_then(|turn| turn.state(&name))
        {
            return Ok(Some(pdu));
        }
        self.rooms.store.state_event(&room.room_id, kind, key).await?.map(|event| Pdu::of(&event)).transpose()
    }

    /// What `user` is in the room whose turn it is; `None`: never was anything.
    pub(super) async fn membership(
        &self,
        room: &RoomRow,
        user: &UserId,
    ) -> Result<Option<Membership>, Refusal> {
        Ok(self.state(room, "m.room.member", user.as_str()).await?.and_then(|member| member.membership()))
    }

    /// Whether the author is in the room.
    pub(super) async fn is_joined(&self, room: &RoomRow) -> Result<bool, Refusal> {
        Ok(self.membership(room, &self.author.sender).await? == Some(Membership::Join))
    }

    /// Whether nobody but the author is joined to a room.
    pub(super) async fn is_alone(&self, room: &RoomRow) -> Result<bool, Refusal> {
        for user in self.perhaps_joined(room) {
            if user != self.author.sender && self.membership(room, &user).await? == Some(Membership::Join) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether others are in a room, and nobody of this server is any longer.
    pub(super) async fn is_left_to_others(&self, room: &RoomRow) -> Result<bool, Refusal> {
        let (members, own) = (&self.rooms.members, &self.rooms.server_name);
        // What the act makes nobody else knows; another room can have its ID by chance, until that is found out.
        let is_new = self.seen.get(&room.room_id).is_some_and(|seen| seen.is_new);
        if is_new || members.servers_in(&room.room_id).keys().all(|server| server == own) {
            return Ok(false);
        }
        let mut ours = members.ours(&room.room_id);
        ours.extend(self.changing_members(room).filter(|user| user.server_name() == own));
        for user in ours {
            if self.membership(room, &user).await? == Some(Membership::Join) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Those of this server who are joined to a room, of these whom to `keep`, in order of their IDs.
    pub(super) async fn own_members(
        &self,
        room: &RoomRow,
        keep: impl Fn(&UserId) -> bool,
    ) -> Result<Vec<OwnedUserId>, Refusal> {
        let mut own = self.perhaps_joined(room);
        own.retain(|user| user.server_name() == self.rooms.server_name && keep(user));
        let mut joined = Vec::new();
        for user in own {
            if self.membership(room, &user).await? == Some(Membership::Join) {
                joined.push(user);
            }
        }
        Ok(joined)
    }

    /// Those who are joined to a room, or were until acts that are in flight, in order of their IDs. In a room that
    /// the act makes nobody is but the author.
    fn perhaps_joined(&self, room: &RoomRow) -> Vec<OwnedUserId> {
        let mut users = self.rooms.members.joined(&room.room_id);
        users.extend(self.changing_members(room));
        users.sort();
        users.dedup();
        users
    }

    /// Whom acts in flight make something else in a room.
    fn changing_members(&self, room: &RoomRow) -> impl Iterator<Item = OwnedUserId> {
        let turn = self.turn.filter(|turn| turn.room_id() == room.room_id);
        let changing = turn.map_or_else(Vec::new, |turn| turn.state_of_type("m.room.member"));
        changing.into_iter().filter_map(|member| UserId::parse(member.state_key_pair()?.1).ok())
    }

    /// What `user` is in a room whose turn it is not.
    pub(super) async fn membership_elsewhere(
        &mut self,
        room: &RoomId,
        user: &UserId,
    ) -> Result<Option<Membership>, Refusal> {
        let membership = self.rooms.store.membership(user, room).await?.map(|row| row.membership);
        self.assume(Assumption::Membership { room: room.to_owned(), user: user.to_owned(), membership });
        Ok(membership)
    }

    /// Name and picture of a user with an account here; `None`: there is no such account.
    pub(super) async fn profile(&mut self, user: &UserId) -> Result<Option<Profile>, Refusal> {
        let profile = self.rooms.store.profile(user).await?;
        self.assume(Assumption::Profile { user: user.to_owned(), profile: profile.clone() });
        Ok(profile)
    }

    /// An accepted event that is on the disk.
    pub(super) async fn event(&self, event_id: &EventId) -> Result<Option<Arc<StoredEvent>>, Refusal> {
        Ok(self.rooms.store.event(event_id).await?)
    }

    /// Whether the author's annotation is there already.
    pub(super) async fn is_annotated(&mut self, annotation: Annotation) -> Result<bool, Refusal> {
        let is_there = self.rooms.store.is_annotated(&annotation).await?;
        if !is_there {
            self.assume(Assumption::Unannotated(annotation));
        }
        Ok(is_there)
    }

    /// The state events of one type in a room, as they are on the disk.
    pub(super) async fn state_of_type(
        &self,
        room: &RoomRow,
        kind: &str,
    ) -> Result<Vec<Arc<StoredEvent>>, Refusal> {
        Ok(self.rooms.store.current_state_of_type(&room.room_id, kind).await?)
    }

    /// Where an alias leads.
    pub(super) async fn alias(&mut self, alias: &RoomAliasId) -> Result<Option<AliasRow>, Refusal> {
        if let Some(changed) = self.aliases.get(alias) {
            return Ok(changed.clone());
        }
        let leads = self.rooms.store.alias(alias).await?;
        self.assume(Assumption::Alias { alias: alias.to_owned(), leads: leads.clone() });
        Ok(leads)
    }

    /// Makes an alias lead to a room. Whether it is taken shows when it is written.
    pub(super) fn add_alias(&mut self, alias: &RoomAliasId, room: &RoomRow) {
        let (room, creator) = (room.room_id.clone(), self.author.sender.clone());
        let row = AliasRow { room_id: room.clone(), creator: creator.clone() };
        self.aliases.insert(alias.to_owned(), Some(row));
        self.changes.push(RoomChange::AddAlias { alias: alias.to_owned(), room, creator });
    }

    /// Takes an alias away.
    pub(super) fn remove_alias(&mut self, alias: &RoomAliasId) {
        self.aliases.insert(alias.to_owned(), None);
        self.changes.push(RoomChange::RemoveAlias(alias.to_owned()));
    }

    /// Lets every alias of one room lead to another.
    pub(super) async fn move_aliases(&mut self, from: &RoomRow, to: &RoomRow) -> Result<(), Refusal> {
        for alias in self.rooms.store.aliases(&from.room_id).await? {
            if let Some(row) = self.alias(&alias).await? {
                self.aliases.insert(alias, Some(AliasRow { room_id: to.room_id.clone(), ..row }));
            }
        }
        self.changes.push(RoomChange::MoveAliases { from: from.room_id.clone(), to: to.room_id.clone() });
        Ok(())
    }

    /// Puts a room into the public directory, or takes it out.
    pub(super) fn set_listed(&mut self, room: &RoomRow, listed: bool) {
        if let Some(seen) = self.seen.get_mut(&room.room_id) {
            seen.head.room.listed = listed;
        }
        self.changes.push(RoomChange::SetListed { room: room.room_id.clone(), listed });
    }

    /// Adds an event that was judged, and what it makes of its room.
    pub(super) fn add(&mut self, event: crate::server::store::NewEvent, pdu: &Arc<Pdu>) {
        if let Some(seen) = self.seen.get_mut(&event.room) {
            seen.head.extremities.retain(|e| !event.prev_events.contains(&e.event_id));
            seen.head
                .extremities
                .insert(0, Extremity { event_id: event.event_id.clone(), depth: event.depth });
            if let Some(key) = pdu.state_key_pair() {
                seen.state.insert(key, Arc::clone(pdu));
            }
        }
        self.changes.push(RoomChange::Append(Box::new(event)));
    }

    /// Empties an event of the room: it reads as `json`, its redacted form, because of `by`.
    pub(super) async fn redact(
        &mut self,
        room: &RoomRow,
        target: &StoredEvent,
        json: String,
        by: &EventId,
    ) -> Result<(), Refusal> {
        let pdu = Arc::new(Pdu::redacted(target.event_id.clone(), &json)?);
        if let Some((kind, key)) = pdu.state_key_pair()
            && self.state(room, &kind, &key).await?.is_some_and(|current| current.id() == pdu.id())
            && let Some(seen) = self.seen.get_mut(&room.room_id)
        {
            seen.state.insert((kind, key), pdu);
        }
        self.changes.push(RoomChange::Redact {
            target: target.event_id.clone(),
            pdu: json,
            by: by.to_owned(),
        });
        Ok(())
    }

    /// An event that is not here is emptied when it comes, because of `by`.
    pub(super) fn await_redacted(&mut self, target: &EventId, by: &EventId) {
        self.changes.push(RoomChange::AwaitRedacted { target: target.to_owned(), by: by.to_owned() });
    }

    fn assume(&mut self, assumption: Assumption) {
        if !self.assumptions.contains(&assumption) {
            self.assumptions.push(assumption);
        }
    }
}
