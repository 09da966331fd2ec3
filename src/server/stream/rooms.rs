//! The rooms part of an answer: joined, invited, knocking, left.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{
    Token,
    account_data::{RoomAccountData, event},
    encounters::Encounters,
    reader::Reader,
    window::{Passage, Timeline, Window, seen},
};
use crate::server::{
    api::error::ApiResult,
    change::position::{LivePosition, LogPosition},
    event::{
        client::{ClientFormat, client_event, stripped_event},
        stored::{Membership, StoredEvent},
    },
    json::Writer,
    rooms::{receipts, visible_events},
    store::AccountData,
};

/// Members by whom a room without a name is called.
const HEROES: usize = 5;

impl Reader<'_> {
    /// Writes what is new in rooms. `encounters` gets whom the reader met there, and parted from.
    pub(super) async fn write_rooms(
        &self,
        out: &mut Writer,
        account_data: &RoomAccountData,
        encounters: &mut Encounters,
    ) -> ApiResult<bool> {
        let since = self.log_since();
        let mut windows = if self.since.is_some() && !self.full_state {
            self.windows(since).await?
        } else {
            self.every_room().await?
        };
        for room in self.rooms_with_ephemeral_news(since) {
            windows
                .entry(room)
                .or_insert_with(|| Window { events: Some(Vec::new()), own_member_event: false });
        }
        for room in account_data.keys() {
            if !windows.contains_key(room) && self.is_joined(room) {
                let quiet = Window { events: Some(Vec::new()), own_member_event: false };
                windows.insert(room.clone(), quiet);
            }
        }
        let mut elsewhere = Vec::new();
        let part = out.open("rooms");
        let join = out.open("join");
        for (room, window) in windows {
            let passage = self.passage_through(&room, &window, since).await?;
            self.encounter(&room, &window, passage, encounters).await?;
            if !self.filter.room(&room) {
                continue;
            }
            if passage.is == Some(Membership::Join) {
                let data = self.account_data_of(&room, passage, account_data).await?;
                self.write_joined(out, &room, window, passage, &data).await?;
            } else {
                elsewhere.push((room, passage));
            }
        }
        out.end(join);
        self.write_elsewhere(out, &elsewhere).await?;
        Ok(out.end(part))
    }

    fn is_joined(&self, room: &RoomId) -> bool {
        self.app.rooms.members.is_joined(&self.session.user, room)
    }

    /// Where the reader comes from and stands. Costs a query only when something about it changed.
    async fn passage_through(
        &self,
        room: &RoomId,
        window: &Window,
        since: LogPosition,
    ) -> ApiResult<Passage> {
        if self.since.is_some() && !window.own_member_event && self.is_joined(room) {
            let joined = Some(Membership::Join);
            return Ok(Passage { was: joined, is: joined, position: LogPosition::START });
        }
        self.passage(room, since).await
    }

    /// For a first sync, or one with full state: every room the reader is in or on the way into.
    async fn every_room(&self) -> ApiResult<std::collections::BTreeMap<OwnedRoomId, Window>> {
        let mut windows = std::collections::BTreeMap::new();
        for row in self.app.store.memberships(&self.session.user).await? {
            let wanted = match row.membership {
                Membership::Join | Membership::Invite | Membership::Knock => true,
                Membership::Leave | Membership::Ban => {
                    !row.forgotten
                        && (self.filter.include_leave()
                            || row.position > self.log_since() && self.since.is_some())
                }
            };
            if wanted && row.position <= self.upto.log {
                windows.insert(row.room_id, Window { events: None, own_member_event: true });
            }
        }
        Ok(windows)
    }

    /// Joined rooms in which somebody began or ceased to type, or read.
    fn rooms_with_ephemeral_news(&self, since: LogPosition) -> Vec<OwnedRoomId> {
        let mut rooms = self.app.typing.changed(self.live_since(), self.upto.live);
        rooms.retain(|room| self.is_joined(room));
        if since < self.upto.log && self.app.receipts.latest() > since {
            let joined = self.app.rooms.members.joined_rooms(&self.session.user);
            rooms.extend(
                joined
                    .into_iter()
                    .filter(|room| self.app.receipts.position(room, &self.session.user) > since),
            );
        }
        rooms
    }

    async fn write_joined(
        &self,
        out: &mut Writer,
        room: &RoomId,
        window: Window,
        passage: Passage,
        account_data: &[AccountData],
    ) -> ApiResult<()> {
        let is_new = passage.was != Some(Membership::Join);
        let from = if is_new { LogPosition::START } else { self.log_since() };
        let known = if is_new { None } else { window.events };
        let mut timeline = self.timeline(room, known, from, self.upto.log).await?;
        if is_new {
            timeline.events = visible_events(self.app, &self.session.user, room, timeline.events).await?;
        }
        let mut state = self.state(room, &timeline, is_new, from).await?;
        let members_changed = timeline.events.iter().chain(&state).any(|e| e.kind == "m.room.member");
        if self.filter.lazy_members() {
            let known_at = if self.full_state { LogPosition::START } else { from };
            self.make_members_lazy(room, &timeline, known_at, &mut state).await?;
        }

        let object = out.open(room.as_str());
        if is_new || self.full_state || members_changed {
            self.write_summary(out, room).await?;
        }
        self.write_events(out, "state", &state);
        self.write_timeline(out, &timeline);
        self.write_ephemeral(out, room, if is_new { LogPosition::START } else { self.log_since() }, is_new)
            .await?;
        let part = out.open("account_data");
        let events = out.open_array("events");
        for data in account_data.iter().filter(|data| self.filter.room_account_data(room, &data.kind)) {
            out.element(&event(data));
        }
        out.end_even_if_empty(events);
        out.end_even_if_empty(part);
        self.write_unread(out, room).await?;
        out.end(object);
        Ok(())
    }

    /// The state that the reader needs before the timeline makes sense, with all its members.
    async fn state(
        &self,
        room: &RoomId,
        timeline: &Timeline,
        is_new: bool,
        from: LogPosition,
    ) -> ApiResult<Vec<Arc<StoredEvent>>> {
        let store = &self.app.store;
        let first = timeline.events.first();
        let mut state = if is_new || self.full_state {
            match first {
                Some(first) => store.state_before(first.position).await?,
                None => store.current_state(room).await?,
            }
        } else if timeline.limited {
            store.state_changes(room, from, first.map_or(self.upto.log, |e| e.position.before())).await?
        } else {
            Vec::new()
        };
        for event in &timeline.kept_out {
            state.retain(|e| e.kind != event.kind || e.state_key != event.state_key);
            state.push(Arc::clone(event));
        }
        state.retain(|e| e.position <= self.upto.log && self.filter.state(room, seen(e)));
        Ok(state)
    }

    /// Of the members only those who say something in the timeline, and the reader; and of changes also
    /// those of members that the reader was told of before.
    async fn make_members_lazy(
        &self,
        room: &RoomId,
        timeline: &Timeline,
        from: LogPosition,
        state: &mut Vec<Arc<StoredEvent>>,
    ) -> ApiResult<()> {
        let speakers: BTreeSet<&UserId> = timeline.events.iter().map(|e| &*e.sender).collect();
        let lazy = &self.app.lazy_members;
        let untold = |users: Vec<OwnedUserId>| lazy.untold(self.session, room, from, users);
        let is_told = |user: &UserId| untold(vec![user.to_owned()]).is_empty();
        state.retain(|e| {
            let member = e.state_key.as_deref().filter(|_| e.kind == "m.room.member");
            member
                .and_then(|user| <&UserId>::try_from(user).ok())
                .is_none_or(|user| user == self.session.user || speakers.contains(user) || is_told(user))
        });
        let mut needed = untold(speakers.into_iter().map(ToOwned::to_owned).collect());
        for event in timeline.events.iter().chain(&*state).filter(|e| e.kind == "m.room.member") {
            needed.retain(|user| event.state_key.as_deref() != Some(user.as_str()));
        }
        for user in &needed {
            let member = self.app.store.state_event(room, "m.room.member", user.as_str()).await?;
            state.extend(member.filter(|e| e.position <= self.upto.log && self.filter.state(room, seen(e))));
        }
        let members = state.iter().filter(|e| e.kind == "m.room.member");
        let told = members.filter_map(|e| UserId::parse(e.state_key.as_deref()?).ok()).collect();
        lazy.note(self.session, room, self.upto.log, told);
        Ok(())
    }

    fn write_events(&self, out: &mut Writer, key: &str, events: &[Arc<StoredEvent>]) {
        let part = out.open(key);
        let array = out.open_array("events");
        for event in events {
            out.element(
                client_event(event, self.session, self.now.as_millis(), ClientFormat::InRoom, None).get(),
            );
        }
        out.end_even_if_empty(array);
        out.end_even_if_empty(part);
    }

    fn write_timeline(&self, out: &mut Writer, timeline: &Timeline) {
        let part = out.open("timeline");
        let array = out.open_array("events");
        for event in &timeline.events {
            out.element(
                client_event(event, self.session, self.now.as_millis(), ClientFormat::InRoom, None).get(),
            );
        }
        out.end_even_if_empty(array);
        out.boolean("limited", timeline.limited);
        // From here backwards the client has nothing: what came before the first event of the timeline.
        let before = timeline.events.first().map_or(self.upto.log, |e| e.position.before());
        out.text(
            "prev_batch",
            &Token { log: before, live: LivePosition::START, to_device: before }.to_string(),
        );
        out.end_even_if_empty(part);
    }

    async fn write_ephemeral(
        &self,
        out: &mut Writer,
        room: &RoomId,
        since: LogPosition,
        is_new: bool,
    ) -> ApiResult<()> {
        let part = out.open("ephemeral");
        let events = out.open_array("events");
        if self.filter.ephemeral(room, "m.typing") && (is_new || self.typing_changed(room)) {
            let users = self.app.typing.in_room(room);
            if !(is_new && users.is_empty()) {
                let users = serde_json::to_string(&users).expect("a list of strings is JSON");
                out.element(&format!(r#"{{"type":"m.typing","content":{{"user_ids":{users}}}}}"#));
            }
        }
        if self.filter.ephemeral(room, "m.receipt")
            && self.app.receipts.position(room, &self.session.user) > since
        {
            let receipts = self.app.store.receipts(room, &self.session.user, since, self.upto.log).await?;
            if !receipts.is_empty() {
                out.element(&receipts::event(&receipts));
            }
        }
        out.end_even_if_empty(events);
        out.end_even_if_empty(part);
        Ok(())
    }

    fn typing_changed(&self, room: &RoomId) -> bool {
        let position = self.app.typing.position(room);
        position > self.live_since() && position <= self.upto.live
    }

    /// How many are in the room, and who they are when it has no name to call it by.
    async fn write_summary(&self, out: &mut Writer, room: &RoomId) -> ApiResult<()> {
        let (joined, invited) = self.app.rooms.members.counts(room);
        let part = out.open("summary");
        out.number("m.joined_member_count", joined as u64);
        out.number("m.invited_member_count", invited as u64);
        let has_name = self.app.store.state_event(room, "m.room.name", "").await?.is_some()
            || self.app.store.state_event(room, "m.room.canonical_alias", "").await?.is_some();
        if !has_name {
            let heroes = out.open_array("m.heroes");
            for user in self.heroes(room).await? {
                out.string_element(user.as_str());
            }
            out.end_even_if_empty(heroes);
        }
        out.end(part);
        Ok(())
    }

    /// Those who are in the room or invited, without the reader; if there are none, those who left.
    async fn heroes(&self, room: &RoomId) -> ApiResult<Vec<OwnedUserId>> {
        let members = self.app.store.current_state_of_type(room, "m.room.member").await?;
        let of = |wanted: &dyn Fn(Membership) -> bool| -> Vec<OwnedUserId> {
            let them = members.iter().filter_map(|e| e.membership()).filter(|(_, m)| wanted(*m));
            let ids = them.filter_map(|(user, _)| UserId::parse(user).ok());
            ids.filter(|user| *user != self.session.user).take(HEROES).collect()
        };
        let present = of(&|m| matches!(m, Membership::Join | Membership::Invite));
        Ok(if present.is_empty() {
            of(&|m| matches!(m, Membership::Leave | Membership::Ban))
        } else {
            present
        })
    }

    /// Invites, knocks, and rooms that the reader is no longer in.
    async fn write_elsewhere(&self, out: &mut Writer, rooms: &[(OwnedRoomId, Passage)]) -> ApiResult<()> {
        let kinds =
            [("invite", "invite_state", Membership::Invite), ("knock", "knock_state", Membership::Knock)];
        for (key, state_key, membership) in kinds {
            let part = out.open(key);
            for (room, _) in rooms.iter().filter(|(_, p)| p.is == Some(membership)) {
                self.write_stripped(out, room, state_key).await?;
            }
            out.end(part);
        }
        let part = out.open("leave");
        for (room, passage) in rooms {
            if matches!(passage.is, Some(Membership::Leave | Membership::Ban)) {
                self.write_left(out, room, *passage).await?;
            }
        }
        out.end(part);
        Ok(())
    }

    async fn write_stripped(&self, out: &mut Writer, room: &RoomId, key: &str) -> ApiResult<()> {
        let object = out.open(room.as_str());
        let part = out.open(key);
        let events = out.open_array("events");
        let row = self.app.store.membership(&self.session.user, room).await?;
        let stripped = row.and_then(|row| row.invite_state);
        let list: Vec<Box<serde_json::value::RawValue>> =
            stripped.and_then(|list| serde_json::from_str(&list).ok()).unwrap_or_default();
        for event in &list {
            out.element(event.get());
        }
        let own = self.app.store.state_event(room, "m.room.member", self.session.user.as_str()).await?;
        if let Some(own) = own {
            out.element(stripped_event(&own).get());
        }
        out.end_even_if_empty(events);
        out.end_even_if_empty(part);
        out.end(object);
        Ok(())
    }

    /// A room that the reader left: what happened up to that, if they could see it.
    async fn write_left(&self, out: &mut Writer, room: &RoomId, passage: Passage) -> ApiResult<()> {
        let since = if passage.was == Some(Membership::Join) { self.log_since() } else { LogPosition::START };
        let mut timeline = self.timeline(room, None, since, passage.position).await?;
        timeline.events = visible_events(self.app, &self.session.user, room, timeline.events).await?;
        let mut state = match timeline.events.first() {
            Some(first) if timeline.limited => {
                self.app.store.state_changes(room, since, first.position.before()).await?
            }
            Some(_) | None => Vec::new(),
        };
        state.retain(|e| self.filter.state(room, seen(e)));
        let object = out.open(room.as_str());
        self.write_events(out, "state", &state);
        self.write_timeline(out, &timeline);
        out.end(object);
        Ok(())
    }
}
