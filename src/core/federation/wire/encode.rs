//! Writing a presence message.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::numbers::DEFAULT_PROMISE_MS;
use crate::core::federation::edu::{Asked, Edu, Push};
use crate::core::federation::names::Names;
use crate::core::federation::peer::Speech;
use crate::core::federation::status::Availability;
use crate::core::time::millis;

/// The content of the EDU, in the form that `speech` understands.
///
/// Polls name only users with handles; a fingerprint cannot be written and is a bug of the caller.
pub fn encode(names: &Names, edu: &Edu, speech: Speech) -> String {
    let mut content = Map::new();
    let mut own = Map::new();
    if let Some(link) = edu.link {
        own.insert("at".into(), json!([link.epoch, link.seq]));
        if let Some(promise) = link.promise.map(millis).filter(|&ms| ms != DEFAULT_PROMISE_MS) {
            own.insert("promise_ms".into(), promise.into());
        }
    }
    let short = speech == Speech::Extended;
    let name = |asked: &Asked| -> Value {
        match asked {
            Asked::Known(user) if !short => names.user_id(*user).into(),
            asked => localpart(names, asked).into(),
        }
    };
    let push: Value = match speech {
        Speech::Extended => edu.push.iter().map(|push| short_push(names, push)).collect(),
        Speech::Unknown | Speech::Stock => edu.push.iter().map(|push| matrix_push(names, push)).collect(),
    };
    let lists = if short { &mut own } else { &mut content };
    if !edu.push.is_empty() || !short {
        lists.insert("push".into(), push);
    }
    if !edu.poll.is_empty() {
        lists.insert("poll".into(), edu.poll.iter().map(name).collect());
    }
    if !edu.unpoll.is_empty() {
        lists.insert("unpoll".into(), edu.unpoll.iter().map(name).collect());
    }
    if let Some(version) = edu.version {
        own.insert("version".into(), version.into());
    }
    if !edu.once.is_empty() {
        let localpart = |asked: &Asked| -> Value { localpart(names, asked).into() };
        own.insert("once".into(), edu.once.iter().map(localpart).collect());
    }
    if !edu.told.is_empty() {
        own.insert("told".into(), edu.told.iter().map(|told| short_push(names, told)).collect());
    }
    let profiles = profiles(edu);
    if !profiles.is_empty() {
        own.insert("profiles".into(), profiles.into());
    }
    if edu.hello {
        own.insert("hello".into(), true.into());
    }
    if edu.poll_all {
        own.insert("poll_all".into(), true.into());
    }
    if !edu.withdrawn.is_empty() {
        own.insert("withdrawn".into(), edu.withdrawn.iter().map(|&user| names.localpart(user)).collect());
    }
    if let Some(reminder) = edu.reminder {
        own.insert("digest".into(), json!([reminder.mine.to_string(), reminder.yours.to_string()]));
        if let Some((epoch, seq)) = reminder.seen {
            own.insert("seen".into(), json!([epoch, seq]));
        }
        if reminder.answer {
            own.insert("answer".into(), true.into());
        }
    }
    if !own.is_empty() {
        content.insert("org.pilotlight".into(), own.into());
    }
    Value::Object(content).to_string()
}

fn localpart<'a>(names: &'a Names, asked: &Asked) -> &'a str {
    match asked {
        Asked::Known(user) => names.localpart(*user),
        Asked::Stranger(_) => panic!("only users with handles are polled"),
    }
}

/// The marks of the profiles of those pushed and told, in their order; null where it is not told, left out at the end.
fn profiles(edu: &Edu) -> Vec<Option<String>> {
    let all = || edu.push.iter().chain(&edu.told);
    let told = |push: &Push| push.tells_profile.then(|| push.shown.profile.text());
    all().take(profile_count(edu)).map(told).collect()
}

/// How long the list of profiles is.
pub(super) fn profile_count(edu: &Edu) -> usize {
    let last = |pushes: &[Push]| pushes.iter().rposition(|push| push.tells_profile).map(|last| last + 1);
    last(&edu.told).map(|told| edu.push.len() + told).or_else(|| last(&edu.push)).unwrap_or_default()
}

/// Matrix's form, with the full state beside it where Matrix's words do not hold it.
fn matrix_push(names: &Names, push: &Push) -> Value {
    let shown = &push.shown;
    let mut entry = Map::new();
    entry.insert("user_id".into(), names.user_id(push.user).into());
    entry.insert("presence".into(), shown.availability.matrix_word().into());
    // Matrix requires it.
    entry.insert("last_active_ago".into(), push.last_active_ago.map_or(0, millis).into());
    entry.insert("currently_active".into(), shown.currently_active.into());
    if let Some(text) = &shown.status_msg {
        entry.insert("status_msg".into(), (&**text).into());
    }
    let mut own = Map::new();
    if shown.availability.as_str() != shown.availability.matrix_word() {
        own.insert("state".into(), shown.availability.as_str().into());
    }
    if let Some(word) = &shown.device_type {
        own.insert("device_type".into(), (&**word).into());
    }
    if let Some(ago) = push.away_ago {
        own.insert(away_key(shown.availability).into(), millis(ago).into());
    }
    if !own.is_empty() {
        entry.insert("org.pilotlight.presence".into(), own.into());
    }
    entry.into()
}

/// What a time away is called in Matrix's form; in the short form both have one place.
pub(super) fn away_key(availability: Availability) -> &'static str {
    match availability {
        Availability::Offline => "last_seen_ago",
        Availability::Unavailable | Availability::Busy | Availability::Online | Availability::FreeForChat => {
            "idle_ms"
        }
    }
}

/// `[localpart, state, active, last_active_ago, status_msg, device_type, away_ago]`, without the
/// empty ones at the end.
fn short_push(names: &Names, push: &Push) -> Value {
    let ago = |ago: Option<Duration>| ago.map(millis);
    let shown = &push.shown;
    let mut entry = vec![
        json!(names.localpart(push.user)),
        json!(shown.availability.as_str()),
        json!(u8::from(shown.currently_active)),
        json!(ago(push.last_active_ago)),
        json!(shown.status_msg.as_deref()),
        json!(shown.device_type.as_deref()),
        json!(ago(push.away_ago)),
    ];
    while entry.last().is_some_and(Value::is_null) {
        entry.pop();
    }
    entry.into()
}
