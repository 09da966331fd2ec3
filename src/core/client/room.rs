//! One room as the client knows it: its state, its members and its timeline.
//!
//! Members are loaded lazily: the syncs bring those who speak, and the whole list is asked for once
//! somebody wants to see it. After a gap what is known of silent members may be stale until then.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::{self, Heroes};
use super::timeline::Timeline;
use crate::core::time::Instant;
use crate::core::wire::event::Event;
use crate::core::wire::sync::{Summary, UnreadCounts};

/// The own user's relation to a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomSummary {
    /// Its ID.
    pub room_id: String,
    /// Its name, computed as Matrix prescribes; never empty.
    pub name: String,
    /// Its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// Its canonical alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The own user's relation to it.
    pub membership: Membership,
    /// How many are in it.
    pub member_count: u64,
    /// Events that ask for attention.
    pub unread: u64,
    /// Events that name the user.
    pub highlight: u64,
    /// When the newest event was made, in milliseconds since the epoch.
    pub last_ts: u64,
    /// Who invited the own user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inviter: Option<String>,
    /// A conversation with particular people.
    pub is_direct: bool,
    /// There are older events to ask for.
    pub can_scroll_back: bool,
}

/// A member as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Whose membership.
    pub user_id: String,
    /// The name in this room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The picture in this room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// `join`, `invite`, `leave`, `ban` or `knock`.
    pub membership: String,
    /// The power level; that of a creator beyond all others is 2^53 − 1.
    pub power_level: i64,
    /// Is typing now.
    pub typing: bool,
    /// The event up to which this member has read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_up_to: Option<String>,
}

/// A value of the room's state, and the event that set it: a redaction of that one clears it.
#[derive(Debug, Default)]
struct Stated {
    value: Option<String>,
    event_id: Option<String>,
}

/// What `m.room.member` says of somebody.
#[derive(Debug, Default)]
pub(super) struct MemberRecord {
    pub membership: String,
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) stale: bool,
}

/// Whether the whole member list is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MemberList {
    /// Nobody asked for it.
    #[default]
    Unwanted,
    /// Asked for; the request is under way.
    Loading,
    /// Known; syncs keep it current.
    Loaded,
}

/// One room.
#[derive(Debug, Default)]
pub struct Room {
    pub(super) id: String,
    pub(super) membership: Membership,
    pub(super) timeline: Timeline,
    pub(super) unread: UnreadCounts,
    pub(super) inviter: Option<String>,
    pub(super) invited_directly: bool,
    pub(super) member_list: MemberList,
    pub(super) shown: Option<RoomSummary>,
    /// The event that the own read receipt was sent for.
    pub(super) receipt_sent: Option<String>,
    /// When the own typing notice was sent.
    pub(super) typing_sent: Option<Instant>,
    name: Stated,
    topic: Stated,
    alias: Stated,
    avatar: Stated,
    members: BTreeMap<String, MemberRecord>,
    heroes: Option<Vec<String>>,
    joined: Option<u64>,
    invited: Option<u64>,
    power: PowerLevels,
    creators: BTreeSet<String>,
    creators_beyond_power: bool,
    typing: BTreeSet<String>,
    read_up_to: BTreeMap<String, String>,
    changed_members: BTreeSet<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PowerLevels {
    users: BTreeMap<String, i64>,
    users_default: i64,
    #[serde(skip)]
    stated: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemberContent {
    membership: String,
    displayname: Option<String>,
    avatar_url: Option<String>,
    is_direct: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CreateContent {
    room_version: Option<String>,
    additional_creators: Vec<String>,
}

/// The one field of these states that is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatedContent {
    name: Option<String>,
    topic: Option<String>,
    alias: Option<String>,
    url: Option<String>,
}

/// JavaScript's largest exact integer.
const BEYOND_POWER: i64 = (1 << 53) - 1;

impl Room {
    /// A room of which nothing is known.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// The room as a list shows it.
    pub fn summary(&self, me: &str, is_direct: bool) -> RoomSummary {
        let can_scroll_back = self.membership != Membership::Invite && self.timeline.back_token().is_some();
        RoomSummary {
            room_id: self.id.clone(),
            name: self.display_name(me),
            topic: self.topic.value.clone(),
            avatar_url: self.avatar.value.clone(),
            alias: self.alias.value.clone(),
            membership: self.membership,
            member_count: self.joined_count(),
            unread: self.unread.notification_count.unwrap_or(0),
            highlight: self.unread.highlight_count.unwrap_or(0),
            last_ts: self.timeline.items().next_back().map_or(0, |item| item.ts),
            inviter: self.inviter.clone().filter(|_| self.membership == Membership::Invite),
            is_direct: is_direct || self.invited_directly,
            can_scroll_back,
        }
    }

    /// Everybody who is known to have a membership, by ID.
    pub fn members(&self) -> Vec<Member> {
        self.members.keys().map(|user| self.member(user)).collect()
    }

    /// Whether the whole list is at hand, by the server's own count.
    pub(super) fn knows_all_members(&self) -> bool {
        let joined = self.members.values().filter(|member| member.membership == "join").count();
        let current = self.members.values().all(|member| !member.stale);
        current && self.joined.is_some_and(|count| count == joined as u64)
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

    pub(super) fn handle_summary(&mut self, summary: &Summary<'_>) {
        if let Some(heroes) = &summary.heroes {
            self.heroes = Some(heroes.iter().map(|user| user.to_string()).collect());
        }
        self.joined = summary.joined.or(self.joined);
        self.invited = summary.invited.or(self.invited);
    }

    /// Applies a state event.
    pub(super) fn handle_state(&mut self, event: &Event<'_>, me: &str) {
        let Some(state_key) = &event.state_key else { return };
        let stated = match &*event.kind {
            "m.room.member" => return self.handle_member(event, state_key, me),
            "m.room.power_levels" => {
                self.power = PowerLevels { stated: true, ..event.content_as() };
                self.changed_members.extend(self.members.keys().cloned());
                return;
            }
            "m.room.create" => return self.handle_create(event),
            "m.room.name" => &mut self.name,
            "m.room.topic" => &mut self.topic,
            "m.room.canonical_alias" => &mut self.alias,
            "m.room.avatar" => &mut self.avatar,
            _ => return,
        };
        if !state_key.is_empty() {
            return;
        }
        let content: StatedContent = event.content_as();
        let value = match &*event.kind {
            "m.room.name" => content.name,
            "m.room.topic" => content.topic,
            "m.room.canonical_alias" => content.alias,
            _ => content.url,
        };
        *stated = Stated {
            value: value.filter(|text| !text.is_empty()),
            event_id: event.event_id.as_ref().map(|id| id.to_string()),
        };
    }

    /// A member of the whole list. What the syncs brought is newer and stays.
    pub(super) fn handle_listed_member(&mut self, event: &Event<'_>, me: &str) {
        let Some(user) = &event.state_key else { return };
        if self.members.get(&**user).is_none_or(|known| known.stale) {
            self.handle_member(event, user, me);
        }
    }

    /// Clears what a redacted state event said.
    pub(super) fn handle_redaction(&mut self, event_id: &str) {
        for stated in [&mut self.name, &mut self.topic, &mut self.alias, &mut self.avatar] {
            if stated.event_id.as_deref() == Some(event_id) {
                stated.value = None;
            }
        }
        for (user, member) in &mut self.members {
            if member.event_id.as_deref() == Some(event_id) {
                member.display_name = None;
                member.avatar_url = None;
                self.changed_members.insert(user.clone());
            }
        }
        self.timeline.redact(event_id);
    }

    /// Who is typing, all of them.
    pub(super) fn handle_typing(&mut self, users: BTreeSet<String>) {
        self.changed_members.extend(self.typing.symmetric_difference(&users).cloned());
        self.typing = users;
    }

    /// A member has read up to an event.
    pub(super) fn handle_receipt(&mut self, user: &str, event_id: &str) {
        if self.read_up_to.get(user).is_none_or(|known| known != event_id) {
            self.read_up_to.insert(user.to_owned(), event_id.to_owned());
            self.changed_members.insert(user.to_owned());
        }
    }

    fn handle_member(&mut self, event: &Event<'_>, user: &str, me: &str) {
        let content: MemberContent = event.content_as();
        if user == me && content.membership == "invite" {
            self.inviter = Some(event.sender.to_string());
            self.invited_directly = content.is_direct == Some(true);
        }
        let record = MemberRecord {
            membership: content.membership,
            display_name: content.displayname.filter(|name| !name.is_empty()),
            avatar_url: content.avatar_url.filter(|url| !url.is_empty()),
            event_id: event.event_id.as_ref().map(|id| id.to_string()),
            stale: false,
        };
        self.members.insert(user.to_owned(), record);
        self.changed_members.insert(user.to_owned());
    }

    fn handle_create(&mut self, event: &Event<'_>) {
        let content: CreateContent = event.content_as();
        let version = content.room_version.and_then(|version| version.parse::<u32>().ok());
        self.creators_beyond_power = version.is_some_and(|version| version >= 12);
        self.creators = BTreeSet::from([event.sender.to_string()]);
        if self.creators_beyond_power {
            self.creators.extend(content.additional_creators);
        }
    }

    fn member(&self, user: &str) -> Member {
        let record = self.members.get(user);
        Member {
            user_id: user.to_owned(),
            display_name: record.and_then(|member| member.display_name.clone()),
            avatar_url: record.and_then(|member| member.avatar_url.clone()),
            membership: record.map_or_else(|| String::from("join"), |member| member.membership.clone()),
            power_level: self.power_level(user),
            typing: self.typing.contains(user),
            read_up_to: self.read_up_to.get(user).cloned(),
        }
    }

    fn power_level(&self, user: &str) -> i64 {
        let creator = self.creators.contains(user);
        if creator && self.creators_beyond_power {
            return BEYOND_POWER;
        }
        let level = match self.power.users.get(user) {
            Some(&level) => level,
            None if creator && !self.power.stated => 100,
            None => self.power.users_default,
        };
        level.clamp(-BEYOND_POWER, BEYOND_POWER)
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
