//! Other users' presence as this client last heard it, and the change set that an application needs (W4).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::core::presence::{Choice, State};
use crate::core::time::{UnixMillis, coarse, coarse_at_least, millis};
use crate::core::wire::presence::{PresenceContent, PresenceEvent};
use crate::core::wire::write::{ToJson, Writer};

/// The most users remembered; beyond it new ones are not taken in.
pub const MAX_USERS: usize = 50_000;
/// A last-active time that moves by less is no change to show.
const COARSE_MS: u64 = 60_000;

/// One user's presence.
#[derive(Clone, Debug, PartialEq)]
pub struct Presence {
    /// Whose.
    pub user_id: Arc<str>,
    /// The full state where the server tells it, else Matrix's.
    pub state: State,
    /// The user's own words.
    pub status_msg: Option<String>,
    /// The display name, where the server sends it along.
    pub display_name: Option<String>,
    /// The avatar, likewise.
    pub avatar_url: Option<String>,
    /// `web`, `mobile`, …
    pub device_type: Option<String>,
    /// Active right now, as Matrix defines it.
    pub currently_active: bool,
    /// When last active, in milliseconds since the epoch.
    pub last_active_at: Option<u64>,
    /// Since when nobody has been at any of the user's devices (P6), in milliseconds since the epoch, to within the
    /// coarse step in which it is told; none where somebody is, or nobody is connected.
    pub idle_since: Option<u64>,
}

/// What the own user chose and is called.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// The user's choice; idleness does not change it.
    pub state: Choice,
    /// What becomes of it here: away while idle, and unknown while the stream is lost.
    pub shown: State,
    /// The user's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<String>,
    /// Idle at this device.
    pub idle: bool,
    /// The display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The avatar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

impl Default for Me {
    fn default() -> Self {
        Self {
            state: Choice::default(),
            shown: State::Unknown,
            status_msg: None,
            idle: false,
            display_name: None,
            avatar_url: None,
        }
    }
}

impl Me {
    /// What this device may show of the own state; `lost` while nobody tells what others see.
    pub fn state_to_show(&self, lost: bool) -> State {
        match self.state {
            _ if lost => State::Unknown,
            Choice::Online | Choice::FreeForChat if self.idle => State::Unavailable,
            choice => choice.state(),
        }
    }
}

/// Whether what the book holds is what the server says at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// The stream is lost, or was never there: everybody is shown as unknown.
    #[default]
    Lost,
    /// The stream tells of every change.
    Live,
}

/// What was heard of a user, and when that became so.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) presence: Arc<Presence>,
    pub(super) since: UnixMillis,
    pub(super) by: Source,
}

/// How it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The server said so.
    Said,
    /// A stream that began anew did not mention the user.
    Missing,
}

/// Everybody whose presence has been heard of.
///
/// While the stream is lost everybody is shown as unknown; what was known is kept, since the stream goes on
/// from where it was and tells only what has changed meanwhile.
#[derive(Debug, Default)]
pub struct PresenceBook {
    users: BTreeMap<Arc<str>, Known>,
    standing: Standing,
}

/// The state that a content carries: the full one, else one of Matrix's three, else unknown.
pub fn state_of(content: &PresenceContent<'_>) -> State {
    let full = content.state.as_deref().and_then(|word| word.parse().ok());
    full.unwrap_or_else(|| match &*content.presence {
        "online" => State::Online,
        "unavailable" => State::Unavailable,
        "offline" => State::Offline,
        "busy" | "org.matrix.msc3026.busy" => State::Busy,
        _ => State::Unknown,
    })
}

impl PresenceBook {
    /// One user's presence as it is to be shown, if it has been heard of.
    pub fn of(&self, user: &str) -> Option<Arc<Presence>> {
        self.users.get(user).map(|known| self.shown(&known.presence))
    }

    /// What was heard of one user, shown or not.
    pub(super) fn known(&self, user: &str) -> Option<&Known> {
        self.users.get(user)
    }

    /// Whether nobody more is taken in.
    pub(super) fn is_full(&self) -> bool {
        self.users.len() >= MAX_USERS
    }

    /// All of them as they are to be shown, by user ID.
    pub fn all(&self) -> impl Iterator<Item = Arc<Presence>> {
        self.users.values().map(|known| self.shown(&known.presence))
    }

    /// Whether everybody is shown as unknown, because nobody tells of changes.
    pub fn is_lost(&self) -> bool {
        self.standing == Standing::Lost
    }

    /// The stream is lost; answers whom that changes.
    pub fn handle_lost(&mut self) -> Vec<Arc<Presence>> {
        if self.is_lost() {
            return Vec::new();
        }
        self.standing = Standing::Lost;
        self.hidden_by_loss().map(|known| self.shown(known)).collect()
    }

    /// The stream is back, and what it brought is in the book: `brought`. Answers whom that changes.
    pub fn handle_regained(&mut self, mut brought: Vec<Arc<Presence>>) -> Vec<Arc<Presence>> {
        self.standing = Standing::Live;
        // Of the others more is known than was shown.
        brought.retain(|known| **known == known.unknown());
        brought.extend(self.hidden_by_loss().cloned());
        brought
    }

    /// A stream that begins anew has everybody in it: who is not `mentioned` is known no more.
    /// Answers whom that changes.
    pub fn handle_anew<'a>(
        &mut self,
        mentioned: impl Iterator<Item = &'a str>,
        wall: UnixMillis,
    ) -> Vec<Arc<Presence>> {
        let mut others = std::mem::take(&mut self.users);
        for user in mentioned {
            if let Some(known) = others.remove(user) {
                self.users.insert(known.presence.user_id.clone(), known);
            }
        }
        let mut changes = Vec::new();
        for (user, mut known) in others {
            let unknown = known.presence.unknown();
            if *known.presence != unknown {
                known = Known { presence: Arc::new(unknown), since: wall, by: Source::Missing };
                changes.push(known.presence.clone());
            }
            self.users.insert(user, known);
        }
        // While the stream is lost they are shown so already.
        if self.is_lost() { Vec::new() } else { changes }
    }

    /// Those of whom more is known than is shown while the stream is lost.
    fn hidden_by_loss(&self) -> impl Iterator<Item = &Arc<Presence>> {
        let presences = self.users.values().map(|known| &known.presence);
        presences.filter(|known| ***known != known.unknown())
    }

    fn shown(&self, known: &Arc<Presence>) -> Arc<Presence> {
        match self.standing {
            Standing::Live => known.clone(),
            Standing::Lost => Arc::new(known.unknown()),
        }
    }

    /// Takes in what a server says; `Some` if that changes what is shown.
    pub fn handle(&mut self, event: &PresenceEvent<'_>, wall: UnixMillis) -> Option<Arc<Presence>> {
        let content = &event.content;
        let heard_at = content.last_active_ago.map(|ago| wall.0.saturating_sub(ago));
        let idle_since = content.idle_ms.map(|idle| wall.0.saturating_sub(idle));
        let (full, lost) = (self.is_full(), self.is_lost());
        match self.users.get_mut(&*event.sender) {
            Some(entry) => {
                let known = &mut entry.presence;
                let shown = differs(known, content);
                let moved = match (known.last_active_at, heard_at) {
                    (Some(before), Some(_)) => !says(before, content.last_active_ago, wall),
                    (None, Some(_)) => true,
                    (_, None) => false,
                };
                let idle_since = idle_since.map(|heard| match known.idle_since {
                    Some(before) if says(before, content.idle_ms, wall) => before,
                    Some(_) | None => heard,
                });
                if !shown && !moved && known.idle_since == idle_since {
                    return None;
                }
                // What is shown of the user while the stream is lost.
                let hidden = (lost && state_of(content) == State::Unknown).then(|| known.unknown());
                let presence = Arc::make_mut(known);
                update(presence, content);
                presence.idle_since = idle_since;
                // Who is out of sight (revoked, dropped) leaves no trace of when they were there.
                let kept = presence.last_active_at.filter(|_| presence.state != State::Unknown);
                presence.last_active_at = heard_at.or(kept);
                (entry.since, entry.by) = (wall, Source::Said);
                (hidden.as_ref() != Some(&*entry.presence)).then(|| entry.presence.clone())
            }
            None if full => None,
            None => {
                let user_id: Arc<str> = Arc::from(&*event.sender);
                let mut presence = Presence {
                    user_id: user_id.clone(),
                    state: State::Unknown,
                    status_msg: None,
                    display_name: None,
                    avatar_url: None,
                    device_type: None,
                    currently_active: false,
                    last_active_at: heard_at,
                    idle_since,
                };
                update(&mut presence, content);
                let presence = Arc::new(presence);
                self.users
                    .insert(user_id, Known { presence: presence.clone(), since: wall, by: Source::Said });
                Some(presence)
            }
        }
    }
}

impl Presence {
    /// The same user, with nothing left of the presence but name and picture.
    fn unknown(&self) -> Self {
        Self {
            user_id: self.user_id.clone(),
            state: State::Unknown,
            status_msg: None,
            display_name: self.display_name.clone(),
            avatar_url: self.avatar_url.clone(),
            device_type: None,
            currently_active: false,
            last_active_at: None,
            idle_since: None,
        }
    }
}

/// Whether what happened at `at` is what is told at `wall` to be `ago` ms old: as exactly as anybody looks at it, or in one of
/// the coarse steps beside its age by then. Then it adds nothing, however the way to here jitters.
fn says(at: u64, ago: Option<u64>, wall: UnixMillis) -> bool {
    let age = wall.0.saturating_sub(at);
    let exact = Duration::from_millis(age);
    let steps = [coarse(exact), coarse_at_least(exact)].map(millis);
    ago.is_some_and(|ago| age.abs_diff(ago) < COARSE_MS || steps.contains(&ago))
}

fn differs(known: &Presence, content: &PresenceContent<'_>) -> bool {
    let named = |known: &Option<String>, heard: Option<&str>| heard.is_some() && known.as_deref() != heard;
    known.state != state_of(content)
        || known.currently_active != content.currently_active
        || known.status_msg.as_deref() != content.status_msg.as_deref()
        || known.device_type.as_deref() != content.device_type.as_deref()
        || named(&known.display_name, content.displayname.as_deref())
        || named(&known.avatar_url, content.avatar_url.as_deref())
}

/// Absent words are cleared words; an absent name or avatar only says that this server does not send it.
fn update(presence: &mut Presence, content: &PresenceContent<'_>) {
    presence.state = state_of(content);
    presence.currently_active = content.currently_active;
    presence.status_msg = content.status_msg.as_deref().map(str::to_owned);
    presence.device_type = content.device_type.as_deref().map(str::to_owned);
    if let Some(name) = content.displayname.as_deref() {
        presence.display_name = Some(name.to_owned());
    }
    if let Some(url) = content.avatar_url.as_deref() {
        presence.avatar_url = Some(url.to_owned());
    }
}

impl ToJson for Presence {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("userId", &self.user_id);
            fields.text("state", self.state.as_str());
            fields.optional("statusMsg", self.status_msg.as_deref());
            fields.optional("displayName", self.display_name.as_deref());
            fields.optional("avatarUrl", self.avatar_url.as_deref());
            fields.optional("deviceType", self.device_type.as_deref());
            fields.flag("currentlyActive", self.currently_active);
            if let Some(at) = self.last_active_at {
                fields.integer("lastActiveAt", at);
            }
            if let Some(since) = self.idle_since {
                fields.integer("idleSince", since);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::core::wire::read::Reader;

    fn heard(book: &mut PresenceBook, content: &str, wall: u64) -> Option<Arc<Presence>> {
        let json = ["{\"type\":\"m.presence\",\"sender\":\"@a:x\",\"content\":", content, "}"].concat();
        let event = PresenceEvent::read(&mut Reader::new(&json)).unwrap().unwrap();
        book.handle(&event, UnixMillis(wall))
    }

    #[test]
    fn w4_only_what_changed_is_told() {
        let mut book = PresenceBook::default();
        let online = r#"{"presence":"online","currently_active":true,"last_active_ago":1000}"#;
        assert_eq!(heard(&mut book, online, 10_000).unwrap().last_active_at, Some(9_000));
        assert!(heard(&mut book, online, 12_000).is_none(), "the same again");
        assert!(heard(&mut book, online, 90_000).is_some(), "last active moved by over a minute");
        let idle = r#"{"presence":"unavailable"}"#;
        let idle = heard(&mut book, idle, 90_000).unwrap();
        assert_eq!((idle.state, idle.currently_active), (State::Unavailable, false));
        assert_eq!(idle.last_active_at, Some(89_000), "absent is not zero");
    }

    #[test]
    fn p6_since_when_somebody_is_idle_is_told_once_and_when_it_ends() {
        let mut book = PresenceBook::default();
        let idle = |minutes: u64| {
            let own = format!(r#"{{"state":"busy","idle_ms":{}}}"#, minutes * 60_000);
            format!(r#"{{"presence":"unavailable","org.pilotlight.presence":{own}}}"#)
        };
        let mut since = |content: &str, minutes: u64, seconds: u64| {
            let wall = (minutes * 60 + seconds) * 1000;
            heard(&mut book, content, wall).map(|presence| presence.idle_since)
        };
        assert_eq!(since(&idle(3), 100, 0), Some(Some(97 * 60_000)));
        assert_eq!(since(&idle(3), 100, 59), None, "the same minute");
        assert_eq!(since(&idle(20), 117, 30), None, "it goes on");
        assert_eq!(since(&idle(60), 160, 0), None, "in hours from here on");
        assert_eq!(since(&idle(1), 161, 0), Some(Some(160 * 60_000)), "again");
        let back = r#"{"presence":"unavailable","org.pilotlight.presence":{"state":"busy"}}"#;
        assert_eq!(since(back, 162, 0), Some(None));
    }

    #[test]
    fn w4_the_jitter_of_the_way_and_the_steps_of_what_is_told_are_no_change() {
        let wall = |minutes: u64, ms: i64| (minutes * 60_000).saturating_add_signed(ms);
        let offline = |minutes: u64| {
            let ago = minutes * 60_000;
            format!(r#"{{"presence":"offline","last_active_ago":{ago}}}"#)
        };
        let idle = |minutes: u64| {
            let own = format!(r#"{{"state":"unavailable","idle_ms":{}}}"#, minutes * 60_000);
            format!(r#"{{"presence":"unavailable","org.pilotlight.presence":{own}}}"#)
        };
        // What somebody shows from minute 100 on, as it arrives a little sooner or later than its time.
        for (first, then) in [
            (
                idle(3),
                vec![(idle(4), 101, -40), (idle(10), 107, -1), (idle(60), 157, -40), (idle(120), 217, 30)],
            ),
            (
                offline(3),
                vec![
                    (offline(4), 101, -40),
                    (offline(60), 180, 0),
                    (offline(60), 216, 0),
                    (offline(120), 217, -9),
                ],
            ),
        ] {
            let mut book = PresenceBook::default();
            assert!(heard(&mut book, &first, wall(100, 50)).is_some());
            for (content, minutes, ms) in then {
                let told = heard(&mut book, &content, wall(minutes, ms));
                assert!(told.is_none(), "{content} at {minutes}: {told:?}");
            }
        }
    }

    #[test]
    fn p2_a_cleared_status_message_is_cleared() {
        let mut book = PresenceBook::default();
        let lunch = heard(&mut book, r#"{"presence":"online","status_msg":"lunch"}"#, 0).unwrap();
        assert_eq!(lunch.status_msg.as_deref(), Some("lunch"));
        for cleared in [r#"{"presence":"online"}"#, r#"{"presence":"online","status_msg":null}"#] {
            let mut book = PresenceBook { users: book.users.clone(), ..PresenceBook::default() };
            assert_eq!(heard(&mut book, cleared, 0).unwrap().status_msg, None, "{cleared}");
        }
    }

    #[test]
    fn l2_who_is_out_of_sight_is_unknown_at_once_and_leaves_no_trace() {
        let mut book = PresenceBook::default();
        book.handle_regained(Vec::new());
        let seen = r#"{"presence":"online","currently_active":true,"last_active_ago":5,"status_msg":"here",
            "org.pilotlight.presence":{"state":"busy","device_type":"web"}}"#;
        assert_eq!(heard(&mut book, seen, 10_000).unwrap().state, State::Busy);
        let gone = r#"{"presence":"offline","org.pilotlight.presence":{"state":"unknown"}}"#;
        let gone_from_sight = heard(&mut book, gone, 10_000).unwrap();
        let expected = Presence {
            user_id: Arc::from("@a:x"),
            state: State::Unknown,
            status_msg: None,
            display_name: None,
            avatar_url: None,
            device_type: None,
            currently_active: false,
            last_active_at: None,
            idle_since: None,
        };
        assert_eq!(*gone_from_sight, expected);
        assert!(heard(&mut book, gone, 90_000).is_none(), "told once");
    }

    #[test]
    fn p11_the_full_state_beats_matrixs_three_and_nonsense_is_unknown() {
        for (content, expected) in [
            (r#"{"presence":"unavailable","org.pilotlight.presence":{"state":"busy"}}"#, State::Busy),
            (r#"{"presence":"online","org.pilotlight.presence":{"state":"nonsense"}}"#, State::Online),
            (r#"{"presence":"on fire"}"#, State::Unknown),
            (r#"{}"#, State::Unknown),
        ] {
            let presence = heard(&mut PresenceBook::default(), content, 0).unwrap();
            assert_eq!(presence.state, expected, "{content}");
        }
    }
}
