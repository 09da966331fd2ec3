//! Reading a presence message, within bounds.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::numbers::MAX_INTEGER;
use crate::core::federation::digest::Fingerprint;
use crate::core::federation::edu::{Asked, Edu, Link, Push, Reminder};
use crate::core::federation::names::{Names, split};
use crate::core::federation::status::{Availability, Server, Shown, User};

/// The most bytes of content that are read.
const MAX_BYTES: usize = 256 * 1024;

/// The most users that one message may name.
const MAX_USERS: usize = 5_000;

/// The longest time that anybody was last active ago: a century.
const MAX_AGO_MS: u64 = 100 * 366 * 24 * 3_600 * 1_000;

/// Why a message cannot be read; nothing of it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadEdu {
    /// The content has this many bytes.
    TooLarge(usize),
    /// It names this many users.
    TooManyUsers(usize),
    /// It is no JSON, or not of the form; says where.
    Malformed(String),
    /// It speaks for a user that is not of the sender's server.
    NotItsUser,
    /// It polls a user that is not of this server.
    NotOurUser,
    /// Somebody was last active, or seen, more than a century ago.
    AbsurdTime,
}

impl fmt::Display for BadEdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(bytes) => write!(f, "{bytes} bytes are too many"),
            Self::TooManyUsers(count) => write!(f, "{count} users are too many"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::NotItsUser => f.write_str("the server speaks for a user of another server"),
            Self::NotOurUser => f.write_str("the server polls a user of another server"),
            Self::AbsurdTime => f.write_str("a time of more than a century"),
        }
    }
}

impl std::error::Error for BadEdu {}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    push: Vec<MatrixPush<'a>>,
    #[serde(borrow, default)]
    poll: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    unpoll: Vec<Cow<'a, str>>,
    #[serde(borrow, rename = "org.pilotlight")]
    own: Option<Own<'a>>,
}

#[derive(Deserialize)]
struct MatrixPush<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    presence: Cow<'a, str>,
    status_msg: Option<Cow<'a, str>>,
    last_active_ago: Option<u64>,
    currently_active: Option<bool>,
    #[serde(borrow, rename = "org.pilotlight.presence")]
    own: Option<OwnPush<'a>>,
}

#[derive(Deserialize, Default)]
struct OwnPush<'a> {
    #[serde(borrow)]
    state: Option<Cow<'a, str>>,
    #[serde(borrow)]
    device_type: Option<Cow<'a, str>>,
    last_seen_ago: Option<u64>,
    idle_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Own<'a> {
    at: (u64, u64),
    promise_ms: Option<u64>,
    #[serde(default)]
    hello: bool,
    #[serde(borrow, default)]
    push: Vec<ShortPush<'a>>,
    #[serde(borrow, default)]
    withdrawn: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    poll: Vec<Cow<'a, str>>,
    #[serde(default)]
    poll_all: bool,
    #[serde(borrow, default)]
    unpoll: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    digest: Option<(Cow<'a, str>, Cow<'a, str>)>,
    seen: Option<(u64, u64)>,
    #[serde(default)]
    answer: bool,
}

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Deserialize)]
struct ShortPush<'a>(
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    u8,
    #[serde(default)] Option<u64>,
    #[serde(borrow, default)] Text<'a>,
    #[serde(borrow, default)] Text<'a>,
    #[serde(default)] Option<u64>,
);

/// Reads the content of an `m.presence` EDU that `from` sent to `to`.
///
/// Users without a handle are left out of `push` (nobody here watches them) and become fingerprints in
/// `poll`. An entry with a state that has no meaning here is left out too.
pub fn decode(names: &Names, from: Server, to: Server, content: &str) -> Result<Edu, BadEdu> {
    if content.len() > MAX_BYTES {
        return Err(BadEdu::TooLarge(content.len()));
    }
    let content: Content<'_> = serde_json::from_str(content).map_err(|e| BadEdu::Malformed(e.to_string()))?;
    let named = content.push.len() + content.poll.len() + content.unpoll.len();
    let own_named = |own: &Own<'_>| own.push.len() + own.withdrawn.len() + own.poll.len() + own.unpoll.len();
    let named = named + content.own.as_ref().map_or(0, own_named);
    if named > MAX_USERS {
        return Err(BadEdu::TooManyUsers(named));
    }
    let mut edu = Edu::default();
    for push in content.push {
        let user = sender_user(names, from, &push.user_id)?;
        let extra = push.own.unwrap_or_default();
        let word = extra.state.as_deref().unwrap_or(&push.presence);
        let known = word.parse().or_else(|()| push.presence.parse()).ok();
        let active = push.currently_active.unwrap_or(false);
        let agos = (push.last_active_ago, extra.last_seen_ago.or(extra.idle_ms));
        edu.push.extend(entry(user, known, active, (push.status_msg, extra.device_type), agos)?);
    }
    edu.poll = content.poll.iter().map(|id| polled(names, to, id)).collect::<Result<_, _>>()?;
    edu.unpoll = content.unpoll.iter().map(|id| polled(names, to, id)).collect::<Result<_, _>>()?;
    if let Some(own) = content.own {
        take_own(names, from, to, own, &mut edu)?;
    }
    Ok(edu)
}

fn take_own(names: &Names, from: Server, to: Server, own: Own<'_>, edu: &mut Edu) -> Result<(), BadEdu> {
    let (epoch, seq) = own.at;
    if epoch > MAX_INTEGER || seq > MAX_INTEGER || seq == 0 {
        return Err(BadEdu::Malformed("at: out of range".to_owned()));
    }
    edu.link = Some(Link { epoch, seq, promise: own.promise_ms.map(Duration::from_millis) });
    for ShortPush(localpart, state, active, active_ago, text, device, away_ago) in own.push {
        let user = names.find(from, &localpart);
        edu.push.extend(entry(
            user,
            state.parse().ok(),
            active == 1,
            (text, device),
            (active_ago, away_ago),
        )?);
    }
    edu.withdrawn.extend(own.withdrawn.iter().filter_map(|localpart| names.find(from, localpart)));
    let asked = |localpart: &Cow<'_, str>| {
        names.find(to, localpart).map_or_else(
            || Asked::Stranger(Fingerprint::of(format!("@{localpart}:{}", names.server_name(to)).as_bytes())),
            Asked::Known,
        )
    };
    edu.poll.extend(own.poll.iter().map(asked));
    edu.unpoll.extend(own.unpoll.iter().map(asked));
    edu.hello = own.hello;
    edu.poll_all = own.poll_all;
    if let Some((mine, yours)) = own.digest {
        let digest = |text: &str| text.parse().map_err(|()| BadEdu::Malformed("digest".to_owned()));
        let (mine, yours) = (digest(&mine)?, digest(&yours)?);
        edu.reminder = Some(Reminder { mine, yours, seen: own.seen, answer: own.answer });
    }
    Ok(())
}

fn sender_user(names: &Names, from: Server, user_id: &str) -> Result<Option<User>, BadEdu> {
    match split(user_id) {
        Ok((localpart, server)) if server == names.server_name(from) => Ok(names.find(from, localpart)),
        _ => Err(BadEdu::NotItsUser),
    }
}

fn polled(names: &Names, to: Server, user_id: &str) -> Result<Asked, BadEdu> {
    match split(user_id) {
        Ok((localpart, server)) if names.find_server(server) == Some(to) => Ok(names
            .find(to, localpart)
            .map_or_else(|| Asked::Stranger(Fingerprint::of(user_id.as_bytes())), Asked::Known)),
        _ => Err(BadEdu::NotOurUser),
    }
}

fn entry(
    user: Option<User>,
    availability: Option<Availability>,
    currently_active: bool,
    (status_msg, device_type): (Text<'_>, Text<'_>),
    (active_ago, away_ago): (Option<u64>, Option<u64>),
) -> Result<Option<Push>, BadEdu> {
    if [active_ago, away_ago].into_iter().flatten().any(|ago| ago > MAX_AGO_MS) {
        return Err(BadEdu::AbsurdTime);
    }
    Ok(user.zip(availability).map(|(user, availability)| Push {
        user,
        shown: Shown {
            availability,
            currently_active,
            status_msg: status_msg.map(Into::into),
            device_type: device_type.map(Into::into),
        }
        .bounded(),
        last_active_ago: active_ago.map(Duration::from_millis),
        away_ago: away_ago.map(Duration::from_millis),
    }))
}
