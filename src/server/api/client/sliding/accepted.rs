//! A request in the form of MSC4186 as it was accepted: everything is in the body.

use std::{collections::BTreeMap, sync::Arc};

use ruma::RoomId;
use serde::Deserialize;

use super::{
    super::sync::{device_type, set_presence},
    parts::{
        Bounds, Extensions, Object, check_lists, conn_id, pos, range, room_ids, timeline_limit, timeout,
    },
};
use crate::server::{
    api::error::{ApiError, ApiResult},
    stream::sliding::{
        request::{self, Config, MAX_NAMES, MAX_SUBSCRIPTIONS, Request, Wanted, Wire},
        required::{self, Rule},
    },
};

/// The body of a request.
#[derive(Debug, Deserialize)]
pub struct Accepted {
    conn_id: Option<String>,
    pos: Option<String>,
    timeout: Option<u64>,
    set_presence: Option<String>,
    #[serde(rename = "org.pilotlight.device_type")]
    device_type: Option<String>,
    lists: Option<BTreeMap<String, List>>,
    room_subscriptions: Option<BTreeMap<String, Object<Room>>>,
    extensions: Option<Object<Extensions>>,
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(flatten)]
    room: Room,
    range: Option<(u64, u64)>,
    filters: Option<Object<Filters>>,
}

#[derive(Debug, Deserialize)]
struct Room {
    timeline_limit: u64,
    required_state: Object<State>,
}

#[derive(Debug, Deserialize)]
struct State {
    #[serde(default)]
    include: Option<Vec<Object<Element>>>,
    #[serde(default)]
    exclude: Option<Vec<Object<Element>>>,
    #[serde(default)]
    lazy_members: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Element {
    #[serde(rename = "type")]
    kind: Option<String>,
    state_key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Filters {
    is_dm: Option<bool>,
    is_encrypted: Option<bool>,
    is_invited: Option<bool>,
    room_types: Option<Vec<Option<String>>>,
    not_room_types: Option<Vec<Option<String>>>,
    tags: Option<Vec<String>>,
    not_tags: Option<Vec<String>>,
    spaces: Option<Vec<String>>,
}

/// What the body says.
///
/// # Errors
/// `M_INVALID_PARAM` for what is not allowed or too much, `M_UNKNOWN_POS` for what is no position.
pub fn parse(body: Accepted) -> ApiResult<Request> {
    let Accepted { lists, room_subscriptions, extensions, .. } = body;
    let (lists, rooms) = (lists.unwrap_or_default(), room_subscriptions.unwrap_or_default());
    check_lists(&lists)?;
    if !lists.keys().all(|name| is_opaque_identifier(name)) {
        return Err(ApiError::invalid_param("lists: a name consists of A-Z, a-z, 0-9, and of ._~-"));
    }
    if rooms.len() > MAX_SUBSCRIPTIONS {
        return Err(ApiError::invalid_param(format!("room_subscriptions: at most {MAX_SUBSCRIPTIONS}")));
    }
    let (mut wanted, mut bounds) = (Wanted::default(), Bounds::default());
    for (name, list) in lists {
        let List { room, range: window, filters } = list;
        let ranges = window.map(range).transpose()?.map(|range| vec![range]);
        let filters = filters.unwrap_or_default().0.parse(&mut bounds)?;
        let config = room.parse(&mut bounds)?;
        bounds.text(&name)?;
        wanted.lists.insert(name, request::List { ranges, filters, config });
    }
    for (id, room) in rooms {
        let config = room.0.parse(&mut bounds)?;
        bounds.text(&id)?;
        if let Ok(id) = RoomId::parse(id) {
            wanted.subscriptions.insert(id, config);
        }
    }
    let extensions = extensions.unwrap_or_default().0.parse(&mut bounds)?;
    Ok(Request {
        conn_id: conn_id(body.conn_id)?,
        pos: pos(body.pos)?,
        timeout: timeout(body.timeout),
        set_presence: set_presence(body.set_presence.as_deref())?,
        device_type: device_type(body.device_type.as_deref())?,
        wanted: Arc::new(wanted),
        extensions,
        wire: Wire::Accepted,
        txn_id: None,
    })
}

impl Room {
    fn parse(self, bounds: &mut Bounds) -> ApiResult<Config> {
        let State { include, exclude, lazy_members } = self.required_state.0;
        let all = |elements: Option<Vec<Object<Element>>>| {
            let elements = elements.unwrap_or_default().into_iter();
            elements.map(|Object(Element { kind, state_key: key })| required::Pattern { kind, key }).collect()
        };
        let rule = Rule {
            include: all(include),
            exclude: all(exclude),
            lazy_members: lazy_members.unwrap_or_default(),
        };
        let required = bounds.rule(rule)?;
        Ok(Config { timeline_limit: timeline_limit(self.timeline_limit), required })
    }
}

impl Filters {
    fn parse(self, bounds: &mut Bounds) -> ApiResult<request::Filters> {
        let Self { is_dm, is_encrypted, is_invited, room_types, not_room_types, tags, not_tags, spaces } =
            self;
        Ok(request::Filters {
            is_dm,
            is_encrypted,
            is_invited,
            room_types: bounds.names(("filters.room_types", MAX_NAMES), room_types)?,
            not_room_types: bounds.names(("filters.not_room_types", MAX_NAMES), not_room_types)?,
            tags: bounds.names(("filters.tags", MAX_NAMES), tags)?,
            not_tags: bounds.names(("filters.not_tags", MAX_NAMES), not_tags)?,
            spaces: bounds.names(("filters.spaces", MAX_NAMES), spaces)?.map(room_ids),
        })
    }
}

/// Of the specification's grammar of opaque identifiers.
fn is_opaque_identifier(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
}
