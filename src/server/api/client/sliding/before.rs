//! A request in the form that clients in the field use: MSC4186 as it was before it was accepted, at the unstable path, with
//! position, timeout and presence in the query.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{RoomId, UserId};
use serde::Deserialize;

use super::{
    super::sync::{device_type, set_presence},
    parts::{
        Bounds, Enabled, Extensions, Object, check_lists, conn_id, pos, range, room_ids, timeline_limit,
        timeout,
    },
};
use crate::server::{
    api::error::{ApiError, ApiResult},
    stream::sliding::{
        request::{self, Config, MAX_NAMES, Request, Wanted, Wire},
        required::{Pattern, Rule},
    },
};

/// Rooms that one request subscribes to at most.
const MAX_SUBSCRIPTIONS: usize = 500;

/// Ranges of one list at most.
const MAX_RANGES: usize = 20;

/// The query of a request.
#[derive(Debug, Default, Deserialize)]
pub struct Parameters {
    pos: Option<String>,
    timeout: Option<u64>,
    set_presence: Option<String>,
    #[serde(rename = "org.pilotlight.device_type")]
    device_type: Option<String>,
}

/// The body of a request.
#[derive(Debug, Deserialize)]
pub struct Before {
    conn_id: Option<String>,
    txn_id: Option<String>,
    lists: Option<BTreeMap<String, List>>,
    room_subscriptions: Option<BTreeMap<String, Object<Room>>>,
    extensions: Option<Object<Extensions>>,
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(flatten)]
    room: Room,
    ranges: Option<Vec<(u64, u64)>>,
    filters: Option<Object<Filters>>,
}

#[derive(Debug, Deserialize)]
struct Room {
    timeline_limit: u64,
    required_state: Option<Vec<(String, String)>>,
}

#[derive(Debug, Default, Deserialize)]
struct Filters {
    is_dm: Option<bool>,
    is_encrypted: Option<bool>,
    is_invite: Option<bool>,
    room_types: Option<Vec<Option<String>>>,
    not_room_types: Option<Vec<Option<String>>>,
    tags: Option<Vec<String>>,
    not_tags: Option<Vec<String>>,
    spaces: Option<Vec<String>>,
}

/// What query and body say of a request by `user`.
///
/// # Errors
/// `M_INVALID_PARAM` for what is not allowed or too much, `M_UNKNOWN_POS` for what is no position.
pub fn parse(parameters: Parameters, body: Before, user: &UserId) -> ApiResult<Request> {
    let Before { conn_id: id, txn_id, lists, room_subscriptions, extensions } = body;
    let (lists, rooms) = (lists.unwrap_or_default(), room_subscriptions.unwrap_or_default());
    check_lists(&lists)?;
    if rooms.len() > MAX_SUBSCRIPTIONS {
        return Err(ApiError::invalid_param(format!("room_subscriptions: at most {MAX_SUBSCRIPTIONS}")));
    }
    let (mut wanted, mut bounds) = (Wanted::default(), Bounds::default());
    for (name, list) in lists {
        let List { room, ranges, filters } = list;
        let ranges = ranges.unwrap_or_default();
        if ranges.len() > MAX_RANGES {
            return Err(ApiError::invalid_param(format!("ranges: at most {MAX_RANGES}")));
        }
        let ranges = Some(ranges.into_iter().map(range).collect::<ApiResult<_>>()?);
        let filters = filters.unwrap_or_default().0.parse(&mut bounds)?;
        let config = room.parse(user, &mut bounds)?;
        bounds.text(&name)?;
        wanted.lists.insert(name, request::List { ranges, filters, config });
    }
    for (id, room) in rooms {
        let config = room.0.parse(user, &mut bounds)?;
        bounds.text(&id)?;
        if let Ok(id) = RoomId::parse(id) {
            wanted.subscriptions.insert(id, config);
        }
    }
    let extensions = extensions.unwrap_or_default().0;
    // Where a client in the field asks for it.
    let bare =
        extensions.presence.as_ref().and_then(|e| serde_json::from_str::<Object<Enabled>>(e.get()).ok());
    let mut extensions = extensions.parse(&mut bounds)?;
    if bare.and_then(|e| e.0.enabled) == Some(true) {
        extensions.presence.push("presence");
    }
    if let Some(txn_id) = &txn_id {
        bounds.text(txn_id)?;
    }
    Ok(Request {
        conn_id: conn_id(id)?,
        pos: pos(parameters.pos)?,
        timeout: timeout(parameters.timeout),
        set_presence: set_presence(parameters.set_presence.as_deref())?,
        device_type: device_type(parameters.device_type.as_deref())?,
        wanted: Arc::new(wanted),
        extensions,
        wire: Wire::Before,
        txn_id,
    })
}

impl Room {
    fn parse(self, user: &UserId, bounds: &mut Bounds) -> ApiResult<Config> {
        let mut rule = Rule::default();
        for (kind, key) in self.required_state.unwrap_or_default() {
            if key == "$LAZY" {
                rule.lazy_members |= kind == "m.room.member";
                continue;
            }
            let key = if key == "$ME" { user.to_string() } else { key };
            let any = |part: String| (part != "*").then_some(part);
            rule.include.push(Pattern { kind: any(kind), key: any(key) });
        }
        let required = bounds.rule(rule)?;
        Ok(Config { timeline_limit: timeline_limit(self.timeline_limit), required })
    }
}

impl Filters {
    fn parse(self, bounds: &mut Bounds) -> ApiResult<request::Filters> {
        let Self { is_dm, is_encrypted, is_invite, room_types, not_room_types, tags, not_tags, spaces } =
            self;
        Ok(request::Filters {
            is_dm,
            is_encrypted,
            is_invited: is_invite,
            room_types: bounds.names(("filters.room_types", MAX_NAMES), room_types)?,
            not_room_types: bounds.names(("filters.not_room_types", MAX_NAMES), not_room_types)?,
            tags: bounds.names(("filters.tags", MAX_NAMES), tags)?,
            not_tags: bounds.names(("filters.not_tags", MAX_NAMES), not_tags)?,
            spaces: bounds.names(("filters.spaces", MAX_NAMES), spaces)?.map(room_ids),
        })
    }
}
