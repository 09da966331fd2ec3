//! Reading a presence message, within bounds.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::numbers::MAX_INTEGER;
use crate::core::federation::digest::Fingerprint;
use crate::core::federation::edu::{Asked, Edu, Link, Push, Reminder};
use crate::core::federation::names::{Names, split};
use crate::core::federation::status::{Availability, ProfileMark, Server, Shown, User};

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
    version: Option<u32>,
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
    once: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    told: Vec<ShortPush<'a>>,
    /// Of those in `push`, in whichever form, and then of those in `told`.
    #[serde(borrow, default)]
    profiles: Vec<Text<'a>>,
    #[serde(borrow, default)]
    unpoll: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    digest: Option<(Cow<'a, str>, Cow<'a, str>)>,
    seen: Option<(u64, u64)>,
    #[serde(default)]
    answer: bool,
}

impl Own<'_> {
    /// How many users are named.
    fn named(&self) -> usize {
        let pushed = self.push.len() + self.told.len() + self.withdrawn.len();
        pushed + self.poll.len() + self.once.len() + self.unpoll.len()
    }
}

type Text<'a> = Option<Cow<'a, str>>;

/// A status in the short form; what a later version has behind these is passed over.
struct ShortPush<'a> {
    localpart: Cow<'a, str>,
    state: Cow<'a, str>,
    active: u8,
    active_ago: Option<u64>,
    status_msg: Text<'a>,
    device_type: Text<'a>,
    away_ago: Option<u64>,
}

impl<'de: 'a, 'a> Deserialize<'de> for ShortPush<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Fields<'a> {
            type Value = ShortPush<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of a localpart, a state, 0 or 1, and what follows")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let missing = |at| A::Error::invalid_length(at, &"a localpart, a state, and 0 or 1");
                let push = ShortPush {
                    localpart: list.next_element::<Word<'_>>()?.ok_or_else(|| missing(0))?.0,
                    state: list.next_element::<Word<'_>>()?.ok_or_else(|| missing(1))?.0,
                    active: list.next_element()?.ok_or_else(|| missing(2))?,
                    active_ago: list.next_element::<Option<u64>>()?.flatten(),
                    status_msg: list.next_element::<Option<Word<'_>>>()?.flatten().map(|word| word.0),
                    device_type: list.next_element::<Option<Word<'_>>>()?.flatten().map(|word| word.0),
                    away_ago: list.next_element::<Option<u64>>()?.flatten(),
                };
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(push)
            }
        }
        deserializer.deserialize_seq(Fields(PhantomData))
    }
}

/// A text that is borrowed where it can be.
#[derive(Deserialize)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the content of an `m.presence` EDU that `from` sent to `to`.
///
/// Users without a handle are left out of `push` (nobody here watches them) and become fingerprints in
/// `poll`. An entry with a state that has no meaning here is left out too.
pub fn decode(names: &Names, from: Server, to: Server, content: &str) -> Result<Edu, BadEdu> {
    if content.len() > MAX_BYTES {
        return Err(BadEdu::TooLarge(content.len()));
    }
    let mut content: Content<'_> =
        serde_json::from_str(content).map_err(|e| BadEdu::Malformed(e.to_string()))?;
    let named = content.push.len() + content.poll.len() + content.unpoll.len();
    let named = named + content.own.as_ref().map_or(0, Own::named);
    if named > MAX_USERS {
        return Err(BadEdu::TooManyUsers(named));
    }
    let mut edu = Edu::default();
    let mut profiles =
        Profiles(content.own.as_mut().map(|own| std::mem::take(&mut own.profiles).into_iter()));
    for push in content.push {
        let user = sender_user(names, from, &push.user_id)?;
        let extra = push.own.unwrap_or_default();
        let word = extra.state.as_deref().unwrap_or(&push.presence);
        let known = word.parse().or_else(|()| push.presence.parse()).ok();
        let active = push.currently_active.unwrap_or(false);
        let agos = (push.last_active_ago, extra.last_seen_ago.or(extra.idle_ms));
        let texts = (push.status_msg, extra.device_type, profiles.next()?);
        edu.push.extend(entry(user, known, active, texts, agos)?);
    }
    edu.poll = content.poll.iter().map(|id| polled(names, to, id)).collect::<Result<_, _>>()?;
    edu.unpoll = content.unpoll.iter().map(|id| polled(names, to, id)).collect::<Result<_, _>>()?;
    if let Some(own) = content.own {
        take_own(names, from, to, own, profiles, &mut edu)?;
    }
    Ok(edu)
}

fn take_own(
    names: &Names,
    from: Server,
    to: Server,
    own: Own<'_>,
    mut profiles: Profiles<'_>,
    edu: &mut Edu,
) -> Result<(), BadEdu> {
    let (epoch, seq) = own.at;
    if epoch > MAX_INTEGER || seq > MAX_INTEGER || seq == 0 {
        return Err(BadEdu::Malformed("at: out of range".to_owned()));
    }
    edu.link = Some(Link { epoch, seq, promise: own.promise_ms.map(Duration::from_millis) });
    for push in own.push {
        edu.push.extend(short_entry(names, from, push, profiles.next()?)?);
    }
    for told in own.told {
        edu.told.extend(short_entry(names, from, told, profiles.next()?)?);
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
    edu.once.extend(own.once.iter().map(asked));
    edu.version = own.version;
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

/// The marks of profiles that go with the statuses, in their order.
struct Profiles<'a>(Option<std::vec::IntoIter<Text<'a>>>);

impl Profiles<'_> {
    /// That of the next status; `None`: it is not told.
    fn next(&mut self) -> Result<Option<ProfileMark>, BadEdu> {
        let Some(text) = self.0.as_mut().and_then(Iterator::next).flatten() else { return Ok(None) };
        let bad = || BadEdu::Malformed("profiles: not eight hexadecimal digits".to_owned());
        ProfileMark::parse(&text).ok_or_else(bad).map(Some)
    }
}

fn short_entry(
    names: &Names,
    from: Server,
    push: ShortPush<'_>,
    profile: Option<ProfileMark>,
) -> Result<Option<Push>, BadEdu> {
    let user = names.find(from, &push.localpart);
    let texts = (push.status_msg, push.device_type, profile);
    entry(user, push.state.parse().ok(), push.active == 1, texts, (push.active_ago, push.away_ago))
}

fn entry(
    user: Option<User>,
    availability: Option<Availability>,
    currently_active: bool,
    (status_msg, device_type, profile): (Text<'_>, Text<'_>, Option<ProfileMark>),
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
            profile: profile.unwrap_or_default(),
        }
        .bounded(),
        tells_profile: profile.is_some(),
        last_active_ago: active_ago.map(Duration::from_millis),
        away_ago: away_ago.map(Duration::from_millis),
    }))
}
