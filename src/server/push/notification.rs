//! What a gateway is told: the body of `POST /_matrix/push/v1/notify`.

use ruma::push::Action;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::server::{
    event::stored::Membership,
    store::{Pusher, StoreError},
    stream::{Parts, notices::Notice},
};

/// What of a pusher its gateway has to do with.
#[derive(Debug)]
pub(super) struct Device {
    /// Where the gateway is.
    pub(super) url: String,
    app_id: String,
    pushkey: String,
    pushkey_ts: u64,
    /// What the client said, without the URL.
    data: Map<String, Value>,
    form: Form,
}

/// How much of an event a gateway is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Whole,
    IdOnly,
}

#[derive(Serialize)]
struct Body<'a> {
    notification: Notification<'a>,
}

#[derive(Default, Serialize)]
struct Notification<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a str>,
    #[serde(flatten)]
    whole: Option<Whole<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prio: Option<&'static str>,
    counts: Counts,
    devices: Vec<ToldDevice<'a>>,
}

#[derive(Serialize)]
struct Whole<'a> {
    r#type: &'a str,
    sender: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_is_target: Option<bool>,
    content: &'a RawValue,
}

#[derive(Default, Serialize)]
struct Counts {
    unread: u64,
}

#[derive(Serialize)]
struct ToldDevice<'a> {
    app_id: &'a str,
    pushkey: &'a str,
    pushkey_ts: u64,
    data: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    tweaks: Map<String, Value>,
}

impl Device {
    /// Of a pusher; `None`: it names no gateway.
    pub(super) fn of(pusher: &Pusher) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            data: Map<String, Value>,
        }
        let Body { mut data } = serde_json::from_str(&pusher.body).ok()?;
        let Some(Value::String(url)) = data.remove("url") else { return None };
        let is_id_only = data.get("format").and_then(Value::as_str) == Some("event_id_only");
        Some(Self {
            url,
            app_id: pusher.app_id.clone(),
            pushkey: pusher.pushkey.clone(),
            pushkey_ts: pusher.set_ms / 1000,
            data,
            form: if is_id_only { Form::IdOnly } else { Form::Whole },
        })
    }

    /// Whom the gateway is to wake.
    pub(super) fn pushkey(&self) -> &str {
        &self.pushkey
    }

    /// That the user has so much unread, and nothing else.
    pub(super) fn badge(&self, unread: u64) -> String {
        self.body(Notification { counts: Counts { unread }, ..Notification::default() }, Map::new())
    }

    /// That something happened.
    pub(super) async fn event(
        &self,
        parts: &Parts,
        user: &ruma::UserId,
        notice: &Notice,
        unread: u64,
    ) -> Result<String, StoreError> {
        let event = &notice.event;
        let tweaks = tweaks(&notice.actions);
        // What makes a sound or calls for somebody is urgent; so is what nobody on the way can judge.
        let is_urgent = event.kind == "m.room.encrypted"
            || tweaks.contains_key("sound")
            || tweaks.get("highlight") == Some(&Value::Bool(true));
        let whole = match self.form {
            Form::IdOnly => None,
            Form::Whole => {
                // Of a room that is not here there is what the invite shows of it.
                let row = match event.membership() {
                    Some((_, Membership::Invite)) => parts.store.membership(user, &event.room_id).await?,
                    _ => None,
                };
                let shown = row.and_then(|row| row.invite_state).unwrap_or_default();
                let state = async |kind: &str, key: &str, name: &str| {
                    let event = parts.store.state_event(&event.room_id, kind, key).await?;
                    let content = event.and_then(|event| event.content_as::<Map<String, Value>>());
                    let content = content.or_else(|| content_shown(&shown, kind, key));
                    let value = content.and_then(|content| content.get(name)?.as_str().map(str::to_owned));
                    Ok::<_, StoreError>(value.filter(|value| !value.is_empty()))
                };
                Some(Whole {
                    r#type: &event.kind,
                    sender: event.sender.as_str(),
                    sender_display_name: state("m.room.member", event.sender.as_str(), "displayname").await?,
                    room_name: state("m.room.name", "", "name").await?,
                    room_alias: state("m.room.canonical_alias", "", "alias").await?,
                    user_is_target: event.membership().map(|(whose, _)| whose == user.as_str()),
                    content: event.content(),
                })
            }
        };
        let notification = Notification {
            event_id: Some(event.event_id.as_str()),
            room_id: Some(event.room_id.as_str()),
            whole,
            prio: Some(if is_urgent { "high" } else { "low" }),
            counts: Counts { unread },
            devices: Vec::new(),
        };
        Ok(self.body(notification, tweaks))
    }

    fn body(&self, notification: Notification<'_>, tweaks: Map<String, Value>) -> String {
        let Self { app_id, pushkey, pushkey_ts, data, .. } = self;
        let device = ToldDevice { app_id, pushkey, pushkey_ts: *pushkey_ts, data, tweaks };
        let body = Body { notification: Notification { devices: vec![device], ..notification } };
        serde_json::to_string(&body).expect("strings, numbers and JSON can be written as JSON")
    }
}

/// The content of an event in the stripped state that came with an invite.
fn content_shown(shown: &str, kind: &str, key: &str) -> Option<Map<String, Value>> {
    #[derive(Deserialize)]
    struct Stripped {
        r#type: String,
        state_key: String,
        content: Map<String, Value>,
    }
    let shown: Vec<Stripped> = serde_json::from_str(shown).ok()?;
    shown.into_iter().find(|event| event.r#type == kind && event.state_key == key).map(|event| event.content)
}

/// How the notification is to be presented.
fn tweaks(actions: &[Action]) -> Map<String, Value> {
    let mut tweaks = Map::new();
    for action in actions {
        if let Ok(Value::Object(mut tweak)) = serde_json::to_value(action)
            && let Some(Value::String(name)) = tweak.remove("set_tweak")
        {
            tweaks.insert(name, tweak.remove("value").unwrap_or(Value::Bool(true)));
        }
    }
    tweaks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::change::position::LogPosition;

    fn pusher(data: &Value) -> Pusher {
        Pusher {
            id: 1,
            user: ruma::user_id!("@a:x").to_owned(),
            app_id: "org.x".into(),
            pushkey: "key".into(),
            set_ms: 12_345_678_999,
            body: json!({ "data": data }).to_string(),
            told: LogPosition::START,
        }
    }

    #[test]
    fn a_gateway_gets_what_the_client_said_but_for_its_own_address() {
        let data = json!({ "url": "https://x/", "format": "event_id_only", "org.x.more": [1] });
        let device = Device::of(&pusher(&data)).expect("has a gateway");
        let told: Value = serde_json::from_str(&device.badge(0)).expect("is JSON");
        let data = json!({ "format": "event_id_only", "org.x.more": [1] });
        let device = json!({ "app_id": "org.x", "pushkey": "key", "pushkey_ts": 12_345_678, "data": data });
        assert_eq!(told, json!({ "notification": { "counts": { "unread": 0 }, "devices": [device] } }));
        for none in [json!({}), json!({ "url": 7 })] {
            assert!(Device::of(&pusher(&none)).is_none());
        }
    }

    #[test]
    fn tweaks_are_told_by_name() {
        let actions = json!(["notify", { "set_tweak": "sound", "value": "ring" }, { "set_tweak": "highlight" },
            { "set_tweak": "org.x", "value": { "a": 1 } }]);
        let actions: Vec<Action> = serde_json::from_value(actions).expect("are actions");
        let told = json!({ "sound": "ring", "highlight": true, "org.x": { "a": 1 } });
        assert_eq!(Value::Object(tweaks(&actions)), told);
        let actions: Vec<Action> =
            serde_json::from_value(json!([{ "set_tweak": "highlight", "value": false }]))
                .expect("are actions");
        assert_ne!(tweaks(&actions).get("highlight"), Some(&Value::Bool(true)));
    }
}
