//! What both forms of a request have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    marker::PhantomData,
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedRoomId, RoomId};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use crate::server::{
    api::error::{ApiError, ApiResult},
    change::position::LogPosition,
    stream::{
        Pos,
        sliding::{
            request::{self, MAX_LISTS, MAX_NAMES},
            required::{Required, Rule},
        },
    },
};

/// Bytes of what a client calls a list or a connection, at most.
const MAX_NAME: usize = 255;

/// Different patterns of state in one request, at most.
const MAX_PATTERNS: usize = 2_000;

/// Rooms that an extension names at most: as many as a request subscribes to in either form.
const MAX_ROOMS: usize = 500;

/// Bytes of all that a request names, at most.
const MAX_BYTES: usize = 64 << 10;

/// Messages for the device in one answer, unless a request wants fewer.
const MESSAGES: usize = 100;

/// What our own extension of presence is called.
pub(super) const PRESENCE: &str = "org.pilotlight.presence";

/// An object, and nothing else that serde would read a structure from.
#[derive(Debug, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// What is told beside rooms.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Extensions {
    to_device: Option<Object<ToDevice>>,
    e2ee: Option<Object<Enabled>>,
    account_data: Option<Object<Scoped>>,
    receipts: Option<Object<Scoped>>,
    typing: Option<Object<Scoped>>,
    #[serde(rename = "org.pilotlight.presence")]
    own_presence: Option<Object<Enabled>>,
    pub(super) presence: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Enabled {
    pub(super) enabled: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct ToDevice {
    enabled: Option<bool>,
    since: Option<String>,
    limit: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Scoped {
    enabled: Option<bool>,
    lists: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
}

impl Extensions {
    pub(super) fn parse(self, bounds: &mut Bounds) -> ApiResult<request::Extensions> {
        let Self { to_device, e2ee, account_data, receipts, typing, own_presence, presence: _ } = self;
        let is_on = |enabled: Option<Object<Enabled>>| enabled.and_then(|e| e.0.enabled) == Some(true);
        let mut scoped = |asked: Option<Object<Scoped>>| {
            asked.filter(|e| e.0.enabled == Some(true)).map(|e| e.0.parse(bounds)).transpose()
        };
        Ok(request::Extensions {
            to_device: to_device.filter(|e| e.0.enabled == Some(true)).map(|e| e.0.parse()).transpose()?,
            e2ee: is_on(e2ee),
            account_data: scoped(account_data)?,
            receipts: scoped(receipts)?,
            typing: scoped(typing)?,
            presence: if is_on(own_presence) { vec![PRESENCE] } else { Vec::new() },
        })
    }
}

impl ToDevice {
    fn parse(self) -> ApiResult<request::ToDevice> {
        let since = match self.since.as_deref() {
            None => None,
            Some(since) => {
                let is_one = since.bytes().all(|byte| byte.is_ascii_digit());
                let number = since.parse::<i64>().ok().filter(|_| is_one);
                let number = number.ok_or_else(|| {
                    ApiError::invalid_param("extensions.to_device.since is not a token of this server")
                })?;
                Some(LogPosition::new(number.cast_unsigned()))
            }
        };
        let limit =
            self.limit.map_or(MESSAGES, |n| usize::try_from(n).unwrap_or(MESSAGES)).clamp(1, MESSAGES);
        Ok(request::ToDevice { since, limit })
    }
}

impl Scoped {
    fn parse(self, bounds: &mut Bounds) -> ApiResult<request::Scoped> {
        let Self { enabled: _, lists, rooms } = self;
        let all = |named: &BTreeSet<String>| named.contains("*");
        let lists = bounds.names(("extensions: lists", MAX_NAMES), lists)?;
        let rooms = bounds.names(("extensions: rooms", MAX_ROOMS), rooms)?;
        Ok(request::Scoped {
            lists: lists.filter(|lists| !all(lists)),
            rooms: rooms.filter(|rooms| !all(rooms)).map(room_ids),
        })
    }
}

/// The rooms of these IDs; what is none is no room that anybody could see.
pub(super) fn room_ids(ids: BTreeSet<String>) -> BTreeSet<OwnedRoomId> {
    ids.into_iter().filter_map(|id| RoomId::parse(id).ok()).collect()
}

/// Where the client is, if it says so.
pub(super) fn pos(pos: Option<String>) -> ApiResult<Option<Pos>> {
    match pos.as_deref() {
        None | Some("") => Ok(None),
        // Of another server, or another kind: there is no connection that is there.
        Some(pos) => {
            pos.parse().map(Some).map_err(|_| ApiError::unknown_pos("pos is not one of this server"))
        }
    }
}

pub(super) fn timeout(ms: Option<u64>) -> Duration {
    Duration::from_millis(ms.unwrap_or(0))
}

/// What the client calls a connection.
pub(super) fn conn_id(id: Option<String>) -> ApiResult<String> {
    let id = id.unwrap_or_default();
    if id.len() > MAX_NAME {
        return Err(ApiError::invalid_param(format!("conn_id: at most {MAX_NAME} bytes")));
    }
    Ok(id)
}

/// Whether a request has no more lists, and they no longer names, than one may.
pub(super) fn check_lists<T>(lists: &BTreeMap<String, T>) -> ApiResult<()> {
    if lists.len() > MAX_LISTS {
        return Err(ApiError::invalid_param(format!("lists: at most {MAX_LISTS}")));
    }
    if lists.keys().any(|name| name.len() > MAX_NAME) {
        return Err(ApiError::invalid_param(format!("lists: names of at most {MAX_NAME} bytes")));
    }
    Ok(())
}

/// First and last of a range of a list.
pub(super) fn range((first, last): (u64, u64)) -> ApiResult<(usize, usize)> {
    if first > last {
        return Err(ApiError::invalid_param("a range begins before it ends"));
    }
    let number = |n| usize::try_from(n).unwrap_or(usize::MAX);
    Ok((number(first), number(last)))
}

pub(super) fn timeline_limit(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX).min(request::MAX_TIMELINE)
}

/// Counts what a request names: that is kept as long as its connection.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    bytes: usize,
    patterns: usize,
    /// Which are kept once, however many lists and rooms they are for.
    rules: BTreeSet<Arc<Rule>>,
}

impl Bounds {
    /// Counts a text.
    pub(super) fn text(&mut self, text: &str) -> ApiResult<()> {
        self.bytes += text.len();
        if self.bytes > MAX_BYTES {
            return Err(ApiError::invalid_param(format!("a request names at most {MAX_BYTES} bytes in all")));
        }
        Ok(())
    }

    /// Counts names, of which `what` has so many at most.
    pub(super) fn names<T: Ord>(
        &mut self,
        (what, most): (&str, usize),
        names: Option<Vec<T>>,
    ) -> ApiResult<Option<BTreeSet<T>>>
    where
        for<'t> &'t T: Into<Option<&'t String>>,
    {
        let Some(names) = names else { return Ok(None) };
        if names.len() > most {
            return Err(ApiError::invalid_param(format!("{what}: at most {most}")));
        }
        for name in &names {
            let name: Option<&String> = name.into();
            self.text(name.map_or("", String::as_str))?;
        }
        Ok(Some(names.into_iter().collect()))
    }

    /// Counts a rule, unless it was counted before.
    pub(super) fn rule(&mut self, rule: Rule) -> ApiResult<Required> {
        let rule = Arc::new(rule.in_order());
        if let Some(same) = self.rules.get(&rule) {
            return Ok(Arc::clone(same).into());
        }
        self.patterns += rule.include.len() + rule.exclude.len();
        if self.patterns > MAX_PATTERNS {
            return Err(ApiError::invalid_param(format!(
                "required_state: at most {MAX_PATTERNS} patterns in all"
            )));
        }
        let patterns = rule.include.iter().chain(&rule.exclude);
        for text in patterns.flat_map(|pattern| [&pattern.kind, &pattern.key]).flatten() {
            self.text(text)?;
        }
        self.rules.insert(Arc::clone(&rule));
        Ok(rule.into())
    }
}
