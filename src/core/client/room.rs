//! One room as the client knows it: its state, its members and its timeline.
//!
//! Members are loaded lazily: the syncs bring those who speak, and the whole list is asked for once
//! somebody wants to see it. After a gap what is known of silent members may be stale until then.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::member::{Member, MemberList, MemberRecord};
use super::name::{self, Heroes};
use super::past::Past;
use super::power::Power;
use super::timeline::{Timeline, TimelineOp};
use crate::core::time::Instant;
use crate::core::wire::event::Event;
use crate::core::wire::object::Object;
use crate::core::wire::write::{ToJson, Writer};

/// The own user's relation to a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// In it.
    #[default]
    Join,
    /// Asked in.
    Invite,
    /// Out of it.
    Leave,
    /// Asking to be let in.
    Knock,
}

/// A room as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomSummary {
    /// Its ID.
    pub room_id: String,
    /// Its name, computed as Matrix prescribes; never empty.
    pub name: String,
    /// Its topic.
    pub topic: Option<String>,
    /// Its picture.
    pub avatar_url: Option<String>,
    /// Its canonical alias.
    pub alias: Option<String>,
    /// The own user's relation to it.
    pub membership: Membership,
    /// How many are in it.
    pub member_count: u64,
    /// Events that ask for attention.
    pub unread: u64,
    /// Events that name the user.
    pub highlight: u64,
    /// When the newest message was made, in milliseconds since the epoch; where none is held, the newest event.
    pub last_ts: u64,
    /// Who invited the own user.
    pub inviter: Option<String>,
    /// A conversation with particular people.
    pub is_direct: bool,
    /// There are older events to ask for.
    pub can_scroll_back: bool,
    /// Messages are encrypted, for good: this client can neither read nor write them.
    pub encrypted: bool,
    /// The power level that it takes to redact what others sent.
    pub redact_level: i64,
    /// The power level that it takes to mention everybody.
    pub mention_room_level: i64,
}

/// A value of the room's state, and the event that set it: a redaction of that one clears it.
#[derive(Debug, Default)]
struct Stated {
    value: Option<String>,
    event_id: Option<String>,
}

/// One room.
#[derive(Debug, Default)]
pub struct Room {
    pub(super) id: String,
    pub(super) membership: Membership,
    pub(super) timeline: Timeline,
    /// Where somebody looks an event up.
    pub(super) past: Option<Past>,
    /// What is to be told of its end.
    pub(super) past_ops: Vec<TimelineOp>,
    pub(super) unread: u64,
    pub(super) highlight: u64,
    pub(super) inviter: Option<String>,
    pub(super) invited_directly: bool,
    pub(super) encrypted: bool,
    /// Everybody may join it.
    pub(super) is_public: bool,
    pub(super) member_list: MemberList,
    pub(super) shown: Option<RoomSummary>,
    /// The event that the own read receipt was sent for.
    pub(super) receipt_sent: Option<String>,
    /// When the own typing notice was sent.
    pub(super) typing_sent: Option<Instant>,
    /// The name and the number of members, until something that they are computed from changes.
    computed: Option<(String, u64)>,
    name: Stated,
    topic: Stated,
    alias: Stated,
    avatar: Stated,
    members: BTreeMap<String, MemberRecord>,
    heroes: Option<Vec<String>>,
    joined: Option<u64>,
    invited: Option<u64>,
    power: Power,
    typing: Vec<String>,
    changed_members: Vec<String>,
}

impl Room {
    /// A room of which nothing is known.
    pub fn new(id: &str, me: &str) -> Self {
        Self { id: id.to_owned(), timeline: Timeline::new(me), ..Self::default() }
    }

    /// The room as a list shows it.
    pub fn summary(&self, me: &str, is_direct: bool) -> RoomSummary {
        let (name, member_count) = self.computed.clone().unwrap_or_else(|| self.compute(me));
        let can_scroll_back = self.membership != Membership::Invite && self.timeline.back_token().is_some();
        RoomSummary {
            room_id: self.id.clone(),
            name,
            topic: self.topic.value.clone(),
            avatar_url: self.avatar.value.clone(),
            alias: self.alias.value.clone(),
            membership: self.membership,
            member_count,
            unread: self.unread,
            highlight: self.highlight,
            last_ts: self.timeline.last_said().map_or(0, |item| item.ts),
            inviter: self.inviter.clone().filter(|_| self.membership == Membership::Invite),
            is_direct: is_direct || self.invited_directly,
            can_scroll_back,
            encrypted: self.encrypted,
            redact_level: self.power.to_redact(),
            mention_room_level: self.power.to_mention_room(),
        }
    }

    /// Computes what follows from the members, of whom there may be many, once.
    pub(super) fn settle(&mut self, me: &str) {
        if self.computed.is_none() {
            self.computed = Some(self.compute(me));
        }
    }

    /// Everybody who is known to have a membership, by ID.
    pub fn members(&self) -> Vec<Member> {
        let known = self
            .members
            .iter()
            .filter(|(user, member)| !member.membership.is_empty() || self.typing.contains(user));
        known.map(|(user, _)| self.member(user)).collect()
    }

    /// Somebody who is known to have a membership.
    pub(super) fn known_member(&self, user: &str) -> Option<Member> {
        self.members.get(user).filter(|member| !member.membership.is_empty()).map(|_| self.member(user))
    }

    /// Whether somebody is known to be in the room.
    pub(super) fn has_joined(&self, user: &str) -> bool {
        self.members.get(user).is_some_and(|member| member.membership == "join")
    }

    /// Whether the whole list is at hand, by the server's own count.
    pub(super) fn knows_all_members(&self) -> bool {
        let joined = self.members.values().filter(|member| member.membership == "join").count();
        let current = self.members.values().all(|member| !member.stale);
        current && self.joined.is_some_and(|count| count == joined as u64)
    }

    /// The one other person in the room, or who is asked in: whom one calls there.
    pub(super) fn only_other(&self, me: &str) -> Option<String> {
        let all = self.joined_count() + self.invited.unwrap_or_else(|| self.count("invite"));
        let others = match &self.heroes {
            Some(heroes) => heroes.iter().map(String::as_str).filter(|user| *user != me).collect(),
            None => self.fallback_heroes(me),
        };
        match others[..] {
            [other] if all == 2 => Some(other.to_owned()),
            _ => None,
        }
    }

    /// The members that changed since the last call.
    pub(super) fn take_changed_members(&mut self) -> Vec<Member> {
        std::mem::take(&mut self.changed_members).iter().map(|user| self.member(user)).collect()
    }

    /// The stream jumped: state follows whole, members only as they speak.
    pub(super) fn handle_gap(&mut self) {
        self.timeline.handle_gap();
        for member in self.members.values_mut() {
            member.stale = true;
        }
    }

    pub(super) fn handle_summary(&mut self, summary: &Object<'_>) {
        self.computed = None;
        if summary.raw("m.heroes").is_some() {
            self.heroes = Some(summary.strings("m.heroes"));
        }
        self.joined = summary.integer("m.joined_member_count").or(self.joined);
        self.invited = summary.integer("m.invited_member_count").or(self.invited);
    }

    pub(super) fn handle_unread(&mut self, counts: &Object<'_>) {
        self.unread = counts.integer("notification_count").unwrap_or(self.unread);
        self.highlight = counts.integer("highlight_count").unwrap_or(self.highlight);
    }

    /// Applies a state event.
    pub(super) fn handle_state(&mut self, event: &Event<'_>, me: &str) {
        let Some(state_key) = &event.state_key else { return };
        self.computed = None;
        let (stated, field) = match &*event.kind {
            "m.room.member" => return self.handle_member(event, state_key, me),
            _ if !state_key.is_empty() => return,
            "m.room.power_levels" => {
                self.power.handle_levels(&event.content());
                let loaded = self.members.iter().filter(|(_, member)| !member.membership.is_empty());
                self.changed_members = loaded.map(|(user, _)| user.clone()).collect();
                return;
            }
            "m.room.create" => return self.power.handle_create(event),
            // Whatever it says: encryption is never turned off again.
            "m.room.encryption" => {
                self.encrypted = true;
                return;
            }
            "m.room.join_rules" => {
                self.is_public = event.content().text("join_rule").as_deref() == Some("public");
                return;
            }
            "m.room.name" => (&mut self.name, "name"),
            "m.room.topic" => (&mut self.topic, "topic"),
            "m.room.canonical_alias" => (&mut self.alias, "alias"),
            "m.room.avatar" => (&mut self.avatar, "url"),
            _ => return,
        };
        *stated = Stated {
            value: event.content().string(field).filter(|text| !text.is_empty()),
            event_id: event.event_id.as_ref().map(|id| id.to_string()),
        };
    }

    /// A member of the whole list. What the syncs brought is newer and stays.
    pub(super) fn handle_listed_member(&mut self, event: &Event<'_>, me: &str) {
        // Beside members, the state around an event is everything else of the room.
        let Some(user) = event.state_key.as_ref().filter(|_| event.kind == "m.room.member") else { return };
        self.computed = None;
        if self.members.get(&**user).is_none_or(|known| known.stale || known.membership.is_empty()) {
            self.handle_member(event, user, me);
        }
    }

    /// Older events are held: receipts may lie among them.
    pub(super) fn handle_older_receipts(&mut self, me: &str) {
        let others = self.members.iter().filter(|(user, _)| *user != me);
        for receipt in others.filter_map(|(_, member)| member.read_up_to.as_deref()) {
            note_read(&mut self.timeline, &mut self.past, receipt, me);
        }
        self.timeline.show_read(me);
        if let Some(past) = &mut self.past {
            past.timeline.show_read(me);
        }
    }

    /// Clears what a redacted event said; the event whose edit it was, if an earlier edit of that may stand.
    pub(super) fn handle_redaction(&mut self, event_id: &str) -> Option<Arc<str>> {
        self.computed = None;
        for stated in [&mut self.name, &mut self.topic, &mut self.alias, &mut self.avatar] {
            if stated.event_id.as_deref() == Some(event_id) {
                stated.value = None;
            }
        }
        for (user, member) in &mut self.members {
            if member.event_id.as_deref() == Some(event_id) {
                member.display_name = None;
                member.avatar_url = None;
                note(&mut self.changed_members, user);
            }
        }
        self.redact(event_id)
    }

    /// Who is typing, all of them.
    pub(super) fn handle_typing(&mut self, users: Vec<String>) {
        let ended = self.typing.iter().filter(|user| !users.contains(user));
        let begun = users.iter().filter(|user| !self.typing.contains(user));
        for user in ended.chain(begun) {
            note(&mut self.changed_members, user);
        }
        for user in &users {
            self.members.entry(user.clone()).or_default();
        }
        self.typing = users;
    }

    /// A member has read up to an event.
    pub(super) fn handle_receipt(&mut self, user: &str, event_id: &str, me: &str) {
        if user != me {
            note_read(&mut self.timeline, &mut self.past, event_id, me);
        }
        let member = self.members.entry(user.to_owned()).or_default();
        if member.read_up_to.as_deref() != Some(event_id) {
            member.read_up_to = Some(event_id.to_owned());
            if !member.membership.is_empty() {
                note(&mut self.changed_members, user);
            }
        }
    }

    fn handle_member(&mut self, event: &Event<'_>, user: &str, me: &str) {
        let content = event.content();
        let membership = content.string("membership").unwrap_or_default();
        if user == me && membership == "invite" {
            self.inviter = Some(event.sender.to_string());
            self.invited_directly = content.flag("is_direct");
        }
        let member = self.members.entry(user.to_owned()).or_default();
        member.membership = membership;
        member.display_name = content.string("displayname").filter(|name| !name.is_empty());
        member.avatar_url = content.string("avatar_url").filter(|url| !url.is_empty());
        member.event_id = event.event_id.as_ref().map(|id| id.to_string());
        member.stale = false;
        note(&mut self.changed_members, user);
    }

    fn member(&self, user: &str) -> Member {
        let record = self.members.get(user);
        Member {
            user_id: user.to_owned(),
            display_name: record.and_then(|member| member.display_name.clone()),
            avatar_url: record.and_then(|member| member.avatar_url.clone()),
            membership: match record {
                Some(member) if !member.membership.is_empty() => member.membership.clone(),
                // Who types is in the room, whether its membership is loaded or not.
                _ => String::from("join"),
            },
            power_level: self.power.of(user),
            typing: self.typing.iter().any(|typing| typing == user),
            read_up_to: record.and_then(|member| member.read_up_to.clone()),
        }
    }

    fn compute(&self, me: &str) -> (String, u64) {
        (self.display_name(me), self.joined_count())
    }

    fn joined_count(&self) -> u64 {
        self.joined.unwrap_or_else(|| self.count("join"))
    }

    fn count(&self, membership: &str) -> u64 {
        self.members.values().filter(|member| member.membership == membership).count() as u64
    }

    fn display_name(&self, me: &str) -> String {
        if let Some(stated) = self.name.value.as_ref().or(self.alias.value.as_ref()) {
            return stated.clone();
        }
        let others = self.joined_count() + self.invited.unwrap_or_else(|| self.count("invite"));
        let heroes = match &self.heroes {
            Some(heroes) => heroes.iter().map(String::as_str).filter(|user| *user != me).collect(),
            None => self.fallback_heroes(me),
        };
        name::compute(&Heroes { heroes: &heroes, members: &self.members, total: others })
    }

    /// The members that the server would name as heroes: those present, else those who were.
    fn fallback_heroes(&self, me: &str) -> Vec<&str> {
        let named = |present: bool| {
            let fits = move |membership: &str| matches!(membership, "join" | "invite") == present;
            let others =
                self.members.iter().filter(move |(user, member)| *user != me && fits(&member.membership));
            others.map(|(user, _)| user.as_str()).take(5).collect::<Vec<_>>()
        };
        let present = named(true);
        if present.is_empty() { named(false) } else { present }
    }
}

/// Somebody else has read up to an event, and all of the past if that is of the live timeline, which comes after it.
fn note_read(live: &mut Timeline, past: &mut Option<Past>, event_id: &str, me: &str) {
    live.handle_read(event_id, me);
    if let Some(Past { timeline, .. }) = past {
        if live.contains(event_id) {
            timeline.handle_all_read(me)
        } else {
            timeline.handle_read(event_id, me)
        }
    }
}

/// Adds to a sorted list what it does not have.
fn note(list: &mut Vec<String>, user: &str) {
    if let Err(at) = list.binary_search_by(|known| (**known).cmp(user)) {
        list.insert(at, user.to_owned());
    }
}

impl Membership {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Invite => "invite",
            Self::Leave => "leave",
            Self::Knock => "knock",
        }
    }
}

impl ToJson for RoomSummary {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("roomId", &self.room_id);
            fields.text("name", &self.name);
            fields.optional("topic", self.topic.as_deref());
            fields.optional("avatarUrl", self.avatar_url.as_deref());
            fields.optional("alias", self.alias.as_deref());
            fields.text("membership", self.membership.as_str());
            fields.integer("memberCount", self.member_count);
            fields.integer("unread", self.unread);
            fields.integer("highlight", self.highlight);
            fields.integer("lastTs", self.last_ts);
            fields.optional("inviter", self.inviter.as_deref());
            fields.flag("isDirect", self.is_direct);
            fields.flag("canScrollBack", self.can_scroll_back);
            fields.flag("encrypted", self.encrypted);
            fields.signed("redactLevel", self.redact_level);
            fields.signed("mentionRoomLevel", self.mention_room_level);
        });
    }
}
