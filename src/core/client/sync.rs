//! What the `/sync` loop asks for, and what its answers, or the writes of the held stream, do to rooms, presence and
//! echoes.

use std::time::Duration;

use super::backoff;
use super::contacts::LIST_CHANGED;
use super::member::MemberList;
use super::notify::{NOTIFY_TYPE, settings_of};
use super::output::{Connection, Failure};
use super::pending::Awaited;
use super::role::{Client, Dialect};
use super::room::{Membership, Room};
use crate::core::action::ids::ActionId;
use crate::core::action::queue::Moved;
use crate::core::time::{Instant, millis};
use crate::core::wire::event::{Event, events};
use crate::core::wire::object::{Object, strings};
use crate::core::wire::path::{path, push_query};
use crate::core::wire::sync::{JoinedRoom, SyncBody, Timeline};

/// How long the server may hold a sync open.
const LONG_POLL: Duration = Duration::from_secs(30);
/// How long the answer may take beyond that.
const GRACE: Duration = Duration::from_secs(30);
/// How long the first answer may take: it has everything in it.
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_secs(180);
/// The type of the account data that names whom the user ignores.
const IGNORED_TYPE: &str = "m.ignored_user_list";
/// What syncs bring: members as they speak, timelines that fill a screen.
const FILTER: &str = r#"{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":30}}}"#;

impl Client {
    /// The first request: which dialect the server speaks.
    pub(super) fn begin_following(&mut self, now: Instant) {
        let path = String::from("/_matrix/client/versions");
        self.request(now, Awaited::Versions, "GET", path, None);
    }

    /// Goes on after a delay that has passed.
    pub(super) fn continue_sync(&mut self, now: Instant) {
        if self.sync.resume_at.is_some_and(|at| at <= now) {
            self.sync.resume_at = None;
            match self.dialect {
                Dialect::Unknown => self.begin_following(now),
                Dialect::Pilotlight | Dialect::Stock => self.follow(now),
            }
        }
    }

    /// Goes on from where it stands, by whatever way is open.
    pub(super) fn follow(&mut self, now: Instant) {
        if self.may_stream(now) {
            self.begin_stream(now);
        } else {
            self.begin_sync(now);
        }
    }

    pub(super) fn begin_sync(&mut self, now: Instant) {
        self.sync.begun += 1;
        // After a failure the answer shall come at once: it says that the server is back. So shall one after which
        // another tab tells what is new.
        let at_once = self.sync.failures > 0 || self.tabs.begin_to_catch_up();
        let hold = if self.sync.since.is_some() && !at_once { LONG_POLL } else { Duration::ZERO };
        let mut path = String::from("/_matrix/client/v3/sync");
        push_query(&mut path, "timeout", &millis(hold).to_string());
        self.push_position(&mut path);
        let timeout = if self.sync.since.is_some() { hold + GRACE } else { FIRST_TIMEOUT };
        self.expect_answer(now, hold);
        self.request_within(timeout, now, Awaited::Sync(self.sync.begun), "GET", path, None);
    }

    /// What both ways of following say: who asks, for what, and from where.
    pub(super) fn push_position(&self, path: &mut String) {
        push_query(path, "set_presence", self.sync_presence());
        if matches!(self.dialect, Dialect::Pilotlight) {
            push_query(path, "org.pilotlight.device_type", self.device_type.as_str());
        }
        push_query(path, "filter", FILTER);
        if let Some(since) = &self.sync.since {
            push_query(path, "since", since);
        }
    }

    pub(super) fn conclude_sync(&mut self, now: Instant, number: u64, outcome: Result<&str, Failure>) {
        match outcome.and_then(|body| SyncBody::parse(body).map_err(|_| Failure::not_understood())) {
            Ok(body) => {
                self.take_news(now, number, &body);
                if !self.is_caught_up(now) {
                    self.follow(now);
                }
            }
            Err(failure) => {
                // The server does not know the position any more: start over from none.
                let lost =
                    matches!(failure.status, Some(400 | 404 | 410)) && self.sync.since.take().is_some();
                if lost {
                    self.follow(now);
                } else {
                    self.held.try_again();
                    self.delay_sync(now, failure);
                }
            }
        }
    }

    /// Takes in what an answer says, or a write of the held stream: the position moves with it.
    pub(super) fn take_news(&mut self, now: Instant, number: u64, body: &SyncBody<'_>) {
        self.apply_sync(now, number, body);
        self.sync.since = Some(body.next_batch.to_string());
        self.sync.failures = 0;
        self.sync.broken_at = None;
        self.show_connection(now, Connection::Online, None);
        self.retry_contacts(now);
    }

    pub(super) fn delay_sync(&mut self, now: Instant, failure: Failure) {
        self.sync.failures = self.sync.failures.saturating_add(1);
        self.note_interruption(now);
        let delay = backoff::delay(self.sync.failures, failure.retry_after(), &mut self.rng);
        self.sync.resume_at = Some(now + delay);
        self.sync.not_before = failure.retry_after().map(|_| now + delay);
        if failure.status != Some(429) {
            self.show_connection(now, Connection::Offline, Some(failure));
        }
    }

    fn apply_sync(&mut self, now: Instant, number: u64, body: &SyncBody<'_>) {
        self.apply_presence(now, body);
        for event in &body.account_data {
            self.apply_account_data(event);
        }
        let first = self.sync.since.is_none();
        if first {
            self.drop_rooms_not_in(body);
            for (room_id, _) in &body.join {
                self.enter_room(room_id, Membership::Join);
                self.apply_gap(room_id);
            }
        }
        for (room_id, room) in &body.join {
            self.apply_joined(now, room_id, room);
        }
        for (room_id, room) in body.invite.fields() {
            let state = Object::parse_or_empty(room).object("invite_state");
            self.apply_stripped(room_id, Membership::Invite, &state);
        }
        for (room_id, room) in body.knock.fields() {
            let state = Object::parse_or_empty(room).object("knock_state");
            self.apply_stripped(room_id, Membership::Knock, &state);
        }
        for (room_id, room) in body.leave.fields() {
            if let Some(room) = JoinedRoom::parse(room) {
                self.apply_left(now, room_id, &room);
            }
        }
        self.phone.handle_settled(now);
        for action in self.queue.handle_synced(number) {
            self.drop_echo(&action);
        }
    }

    fn apply_account_data(&mut self, event: &Event<'_>) {
        match &*event.kind {
            "m.direct" => {
                let content = event.content();
                self.direct =
                    content.fields().map(|(user, rooms)| (user.to_owned(), strings(rooms))).collect();
                self.touched = self.rooms.keys().cloned().collect();
            }
            LIST_CHANGED => self.contacts.handle_changed(),
            IGNORED_TYPE => self.handle_ignored(&event.content()),
            NOTIFY_TYPE => self.handle_notify_settings(settings_of(&event.content())),
            _ => (),
        }
    }

    /// A sync without a position has every room in it that the user still has to do with.
    fn drop_rooms_not_in(&mut self, body: &SyncBody<'_>) {
        let known = |id: &String| {
            let joined = body.join.iter().any(|(known, _)| known == id);
            joined || body.invite.raw(id).is_some() || body.knock.raw(id).is_some()
        };
        let gone: Vec<String> = self.rooms.keys().filter(|id| !known(id)).cloned().collect();
        for id in gone {
            self.remove_room(&id);
        }
    }

    pub(super) fn remove_room(&mut self, room_id: &str) {
        if self.rooms.remove(room_id).is_some() {
            self.removed.push(room_id.to_owned());
        }
        for action in self.queue.forget_room(room_id) {
            self.forget_stored(&action);
        }
    }

    fn apply_gap(&mut self, room_id: &str) {
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.handle_gap();
            self.queue.handle_gap(room_id);
        }
    }

    fn apply_joined(&mut self, now: Instant, room_id: &str, new: &JoinedRoom<'_>) {
        self.enter_room(room_id, Membership::Join);
        if new.timeline.limited {
            self.apply_gap(room_id);
        }
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        room.handle_summary(&new.summary);
        for event in &new.state {
            room.handle_state(event, &self.user_id);
        }
        room.handle_unread(&new.unread_notifications);
        self.apply_timeline(now, room_id, &new.timeline);
        for event in &new.ephemeral {
            self.apply_ephemeral(room_id, event);
        }
        if new.timeline.limited
            && self.rooms.get(room_id).is_some_and(|room| room.member_list == MemberList::Loaded)
        {
            self.load_members(room_id, now);
        }
    }

    fn apply_stripped(&mut self, room_id: &str, membership: Membership, state: &Object<'_>) {
        self.enter_room(room_id, membership);
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        for event in events(state.raw("events").unwrap_or_default()) {
            room.handle_state(&event, &self.user_id);
        }
    }

    fn apply_left(&mut self, now: Instant, room_id: &str, new: &JoinedRoom<'_>) {
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        if room.membership != Membership::Join && room.membership != Membership::Leave {
            return self.remove_room(room_id);
        }
        room.membership = Membership::Leave;
        self.phone.handle_left(now, room_id, &self.user_id);
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        for event in &new.state {
            room.handle_state(event, &self.user_id);
        }
        self.touch(room_id);
        self.apply_timeline(now, room_id, &new.timeline);
    }

    /// Makes sure the room is there. Echoes that storage kept for it appear with it.
    fn enter_room(&mut self, room_id: &str, membership: Membership) {
        self.touch(room_id);
        self.entered.handle_streamed(room_id);
        let room = self.rooms.entry(room_id.to_owned()).or_insert_with(|| {
            let mut room = Room::new(room_id, &self.user_id);
            for action in self.queue.room(room_id) {
                room.timeline.handle_action(action, &self.user_id);
            }
            room
        });
        room.membership = membership;
    }

    fn apply_timeline(&mut self, now: Instant, room_id: &str, new: &Timeline<'_>) {
        if new.events.is_empty() && !new.limited {
            return;
        }
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.timeline.handle_stretch(new.prev_batch.as_deref());
        }
        for event in &new.events {
            self.hear_call(now, room_id, event);
            let echo_of = self.place_echo(room_id, event);
            let Some(room) = self.rooms.get_mut(room_id) else { return };
            if &*event.kind == "m.room.redaction" {
                if let Some(edited) = event.redacted_event().and_then(|target| room.handle_redaction(&target))
                {
                    self.unsure_edits.push((room_id.to_owned(), edited));
                }
                if let Some(id) = echo_of {
                    room.remove_echo(id);
                }
                continue;
            }
            room.handle_state(event, &self.user_id);
            room.place(event, echo_of);
        }
    }

    /// If the event is an action of this device that awaits its place, it has found it.
    pub(super) fn place_echo(&mut self, room_id: &str, event: &Event<'_>) -> Option<u64> {
        if self.queue.is_empty() || *event.sender != *self.user_id {
            return None;
        }
        let by_action = event.action_id.map(ActionId).filter(|&id| self.queue.contains(room_id, id));
        let by_event = || event.event_id.as_ref().and_then(|id| self.queue.find_event(room_id, id));
        let id = by_action.or_else(by_event)?;
        let Moved::Out(_, action) = self.queue.handle_streamed(id) else { return None };
        self.forget_stored(&action);
        self.end_redaction(id, Ok(()));
        Some(id.0)
    }

    fn apply_ephemeral(&mut self, room_id: &str, event: &Event<'_>) {
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        match &*event.kind {
            "m.typing" => {
                let mut typing = event.content().strings("user_ids");
                typing.retain(|user| *user != self.user_id);
                room.handle_typing(typing);
            }
            "m.receipt" => {
                for (event_id, kinds) in event.content().fields() {
                    let kinds = Object::parse_or_empty(kinds);
                    for kind in ["m.read", "m.read.private"] {
                        for (user, _) in kinds.object(kind).fields() {
                            if user == self.user_id {
                                room.receipt_sent = Some(event_id.to_owned());
                            }
                            room.handle_receipt(user, event_id, &self.user_id);
                        }
                    }
                }
            }
            _ => (),
        }
    }

    /// Asks for the whole member list, unless the server's count says that it is known.
    pub(super) fn load_members(&mut self, room_id: &str, now: Instant) {
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        // Who is not in it cannot ask; once they are, somebody may want it.
        if room.membership != Membership::Join {
            return;
        }
        if room.knows_all_members() {
            room.member_list = MemberList::Loaded;
            return;
        }
        room.member_list = MemberList::Loading;
        let path = path("/_matrix/client/v3", &["rooms", room_id, "members"]);
        self.request(now, Awaited::Members(room_id.to_owned()), "GET", path, None);
    }
}
