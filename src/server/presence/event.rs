//! The `m.presence` event, encoded once per change and shared by everybody it is written to.

use ruma::{ServerName, UserId};

use crate::{
    core::{
        presence::{
            State,
            activity::{coarse, coarse_at_least},
        },
        time::{Instant, millis},
    },
    server::json::{append_number, append_string},
};

/// What an event tells.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) user: &'a str,
    pub(super) state: State,
    /// What the user chose, for their own devices.
    pub(super) choice: Option<State>,
    pub(super) status_msg: Option<&'a str>,
    pub(super) displayname: Option<&'a str>,
    pub(super) avatar_url: Option<&'a str>,
    pub(super) device_type: Option<&'a str>,
    /// The last pro-active event.
    pub(super) last_active: Option<Instant>,
    pub(super) currently_active: bool,
    /// When the user was last connected; told of who is offline.
    pub(super) last_seen: Option<Instant>,
    /// Since when nobody has been at any of the user's devices (P6); not told of who is offline.
    pub(super) idle_since: Option<Instant>,
}

/// The content of an event that tells nothing: of a user whom the reader may not see, and of one whom
/// nobody has heard of. It is the same whatever the user is doing.
pub const UNKNOWN: &str = r#"{"presence":"offline","org.pilotlight.presence":{"state":"unknown"}}"#;

/// Appends the event that tells nothing of `user` (L2: what was told before holds no longer).
pub fn write_unknown(out: &mut Vec<u8>, user: &str) {
    out.extend_from_slice(br#"{"type":"m.presence","sender":"#);
    append_string(out, user);
    out.extend_from_slice(br#","content":"#);
    out.extend_from_slice(UNKNOWN.as_bytes());
    out.push(b'}');
}

/// Appends the same in the brief form.
pub fn write_unknown_brief(out: &mut Vec<u8>, user: &str) {
    out.extend_from_slice(br#"{"u":"#);
    append_string(out, user);
    out.extend_from_slice(br#","s":"unknown"}"#);
}

/// One user's presence as JSON, but for the times that are relative to the moment of reading.
#[derive(Debug)]
pub struct PresenceEvent {
    /// `{"type":…,"sender":…,"content":{…,"org.pilotlight.presence":{…`
    text: Box<str>,
    /// `{"u":…,"s":…`: the same for the held stream, of which each byte is paid for as often as somebody sees the user.
    brief: Box<str>,
    /// Where the value of `content` begins.
    content: usize,
    state: State,
    last_active: Option<Instant>,
    /// Of who is offline when they were last seen, of others since when they are idle.
    away_since: Option<Instant>,
}

impl PresenceEvent {
    pub(super) fn encode(facts: &Facts<'_>) -> Self {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(br#"{"type":"m.presence","sender":"#);
        append_string(&mut out, facts.user);
        out.extend_from_slice(br#","content":"#);
        let content = out.len();
        out.extend_from_slice(br#"{"presence":"#);
        append_string(&mut out, facts.state.matrix().as_str());
        if facts.currently_active {
            out.extend_from_slice(br#","currently_active":true"#);
        }
        let words = [
            (r#","status_msg":"#, facts.status_msg),
            (r#","displayname":"#, facts.displayname),
            (r#","avatar_url":"#, facts.avatar_url),
        ];
        for (key, value) in words {
            if let Some(value) = value {
                out.extend_from_slice(key.as_bytes());
                append_string(&mut out, value);
            }
        }
        out.extend_from_slice(br#","org.pilotlight.presence":{"state":"#);
        append_string(&mut out, facts.state.as_str());
        if let Some(choice) = facts.choice {
            out.extend_from_slice(br#","choice":"#);
            append_string(&mut out, choice.as_str());
        }
        if let Some(device_type) = facts.device_type {
            out.extend_from_slice(br#","device_type":"#);
            append_string(&mut out, device_type);
        }
        Self {
            text: String::from_utf8(out).expect("is put together from strings").into(),
            brief: brief(facts),
            content,
            state: facts.state,
            last_active: facts.last_active,
            away_since: if is_offline(facts.state) { facts.last_seen } else { facts.idle_since },
        }
    }

    /// Of a user of whom nothing was heard since the start of the server `own`: one of its own is offline, what
    /// another one is doing is unknown.
    pub fn unheard(user: &UserId, own: &ServerName) -> Self {
        let state = if user.server_name() == own { State::Offline } else { State::Unknown };
        Self::bare(user.as_str(), state)
    }

    /// Of somebody of whom nothing but the state is known.
    pub(in crate::server) fn bare(user: &str, state: State) -> Self {
        Self::encode(&Facts {
            user,
            state,
            choice: None,
            status_msg: None,
            displayname: None,
            avatar_url: None,
            device_type: None,
            last_active: None,
            currently_active: false,
            last_seen: None,
            idle_since: None,
        })
    }

    /// Appends the whole event as it reads at `now`.
    pub fn write(&self, out: &mut Vec<u8>, now: Instant) {
        out.extend_from_slice(self.text.as_bytes());
        self.write_times(out, now);
        out.push(b'}');
    }

    /// Appends the event in the brief form of the held stream as it reads at `now`: the keys stand in docs/API.md.
    pub fn write_brief(&self, out: &mut Vec<u8>, now: Instant) {
        out.extend_from_slice(self.brief.as_bytes());
        let (away, active) = self.times(now);
        if let Some(away) = away {
            let key: &[u8] = if is_offline(self.state) { br#","l":"# } else { br#","t":"# };
            out.extend_from_slice(key);
            append_number(out, away);
        }
        if let Some(active) = active {
            out.extend_from_slice(br#","a":"#);
            append_number(out, active);
        }
        out.push(b'}');
    }

    /// Appends only the content of the event as it reads at `now`.
    pub fn write_content(&self, out: &mut Vec<u8>, now: Instant) {
        out.extend_from_slice(&self.text.as_bytes()[self.content..]);
        self.write_times(out, now);
    }

    /// The state it tells of.
    pub fn state(&self) -> State {
        self.state
    }

    /// The rest of the content.
    fn write_times(&self, out: &mut Vec<u8>, now: Instant) {
        let (away, active) = self.times(now);
        if let Some(away) = away {
            let key: &[u8] = if is_offline(self.state) { br#","last_seen_ago":"# } else { br#","idle_ms":"# };
            out.extend_from_slice(key);
            append_number(out, away);
        }
        out.push(b'}');
        if let Some(active) = active {
            out.extend_from_slice(br#","last_active_ago":"#);
            append_number(out, active);
        }
        out.push(b'}');
    }

    /// For how long the user is away or idle, and how long ago they were active; ms. The first is told in coarse
    /// steps, and of who is offline both are (P6, P9).
    fn times(&self, now: Instant) -> (Option<u64>, Option<u64>) {
        let offline = is_offline(self.state);
        let ago = |at| if offline { coarse_at_least(now.since(at)) } else { now.since(at) };
        let away = self.away_since.map(|at| millis(coarse(now.since(at))));
        (away, self.last_active.map(|at| millis(ago(at))))
    }
}

/// What does not age of the brief form.
fn brief(facts: &Facts<'_>) -> Box<str> {
    let mut out = Vec::with_capacity(96);
    out.extend_from_slice(br#"{"u":"#);
    append_string(&mut out, facts.user);
    let words = [
        (r#","s":"#, Some(facts.state.as_str())),
        (r#","m":"#, facts.status_msg),
        (r#","n":"#, facts.displayname),
        (r#","i":"#, facts.avatar_url),
        (r#","w":"#, facts.choice.map(State::as_str)),
        (r#","d":"#, facts.device_type),
    ];
    for (key, value) in words {
        if let Some(value) = value {
            out.extend_from_slice(key.as_bytes());
            append_string(&mut out, value);
        }
    }
    if facts.currently_active {
        out.extend_from_slice(br#","c":1"#);
    }
    String::from_utf8(out).expect("is put together from strings").into()
}

fn is_offline(state: State) -> bool {
    match state {
        State::Unknown | State::Offline => true,
        State::Hidden | State::Unavailable | State::Busy | State::Online | State::FreeForChat => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    const NOBODY: Facts<'_> = Facts {
        user: "@a:x",
        state: State::Offline,
        choice: None,
        status_msg: None,
        displayname: None,
        avatar_url: None,
        device_type: None,
        last_active: None,
        currently_active: false,
        last_seen: None,
        idle_since: None,
    };

    fn read(encoded: &PresenceEvent, now: Instant) -> Value {
        let (mut event, mut content) = (Vec::new(), Vec::new());
        encoded.write(&mut event, now);
        encoded.write_content(&mut content, now);
        let event: Value = serde_json::from_slice(&event).expect("is JSON");
        let content: Value = serde_json::from_slice(&content).expect("is JSON");
        assert_eq!(event, json!({ "type": "m.presence", "sender": "@a:x", "content": content }));
        content
    }

    #[test]
    fn an_event_ages_without_being_encoded_again() {
        let encoded = PresenceEvent::encode(&Facts {
            state: State::FreeForChat,
            status_msg: Some("say \"hi\""),
            displayname: Some("Ada"),
            avatar_url: Some("mxc://x/y"),
            device_type: Some("web"),
            last_active: Some(at(10)),
            currently_active: true,
            last_seen: Some(at(5)),
            ..NOBODY
        });
        for (now, ago) in [(at(11), 1000), (at(100), 90_000)] {
            let expected = json!({
                "presence": "online", "status_msg": "say \"hi\"", "displayname": "Ada", "avatar_url": "mxc://x/y",
                "org.pilotlight.presence": { "state": "free_for_chat", "device_type": "web" },
                "last_active_ago": ago, "currently_active": true,
            });
            assert_eq!(read(&encoded, now), expected);
        }
    }

    #[test]
    fn the_brief_form_tells_the_same_in_fewer_bytes() {
        let brief = |encoded: &PresenceEvent, now| {
            let mut out = Vec::new();
            encoded.write_brief(&mut out, now);
            String::from_utf8(out).expect("is UTF-8")
        };
        let online = PresenceEvent::encode(&Facts {
            state: State::Busy,
            choice: Some(State::Busy),
            status_msg: Some("say \"hi\""),
            displayname: Some("Ada"),
            avatar_url: Some("mxc://x/y"),
            device_type: Some("web"),
            last_active: Some(at(10)),
            currently_active: true,
            idle_since: Some(at(5)),
            ..NOBODY
        });
        let expected = concat!(
            r#"{"u":"@a:x","s":"busy","m":"say \"hi\"","n":"Ada","i":"mxc://x/y","w":"busy","d":"web","c":1,"#,
            r#""t":0,"a":1000}"#
        );
        assert_eq!(brief(&online, at(11)), expected);
        let offline =
            PresenceEvent::encode(&Facts { last_seen: Some(at(0)), last_active: Some(at(0)), ..NOBODY });
        assert_eq!(brief(&offline, at(90)), r#"{"u":"@a:x","s":"offline","l":60000,"a":120000}"#);
        let mut unknown = Vec::new();
        write_unknown_brief(&mut unknown, "@a:x");
        assert_eq!(unknown, br#"{"u":"@a:x","s":"unknown"}"#);
    }

    #[test]
    fn l2_an_event_that_tells_nothing_is_whole() {
        let mut out = Vec::new();
        write_unknown(&mut out, "@a\"b:x");
        let content = json!({ "presence": "offline", "org.pilotlight.presence": { "state": "unknown" } });
        let expected = json!({ "type": "m.presence", "sender": "@a\"b:x", "content": content });
        assert_eq!(serde_json::from_slice::<Value>(&out).expect("is JSON"), expected);
    }

    #[test]
    fn p6_how_long_somebody_is_idle_is_told_in_coarse_steps_and_grows() {
        let encoded =
            PresenceEvent::encode(&Facts { state: State::Busy, idle_since: Some(at(10)), ..NOBODY });
        for (now, idle) in [(at(60), 0), (at(70), 60_000), (at(10 + 7_300), 7_200_000)] {
            let own = json!({ "state": "busy", "idle_ms": idle });
            let expected = json!({ "presence": "unavailable", "org.pilotlight.presence": own });
            assert_eq!(read(&encoded, now), expected);
        }
    }

    #[test]
    fn p9_of_who_is_offline_all_times_are_coarse() {
        let encoded =
            PresenceEvent::encode(&Facts { last_active: Some(at(1)), last_seen: Some(at(61)), ..NOBODY });
        let expected = json!({
            "presence": "offline", "last_active_ago": 180_000,
            "org.pilotlight.presence": { "state": "offline", "last_seen_ago": 60_000 },
        });
        assert_eq!(read(&encoded, at(130)), expected);
    }
}
