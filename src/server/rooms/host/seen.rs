//! What of a room's events another server is shown: all of those that its users may see, and of others what stays of
//! a redacted event, so that it can follow the room's graph.
//!
//! Client-server API, "Room history visibility"; server-server API, "Backfilling and retrieving missing events".

use std::collections::{BTreeMap, BTreeSet};

use ruma::{CanonicalJsonObject, OwnedEventId, ServerName, canonical_json::redact};
use serde::Deserialize;
use serde_json::Value;

use crate::server::{
    rooms::{
        access::Visibility,
        append::{canonical, rules},
        parts::Rooms,
        refusal::Refusal,
    },
    store::{GraphEvent, RoomRow, Side},
};

/// Users of one server whose membership at an event is looked at, at most.
const MAX_USERS: usize = 1_000;

impl Rooms {
    /// The PDUs of some events of a room, as `server`, which takes part in it, is shown them.
    pub(super) async fn shown(
        &self,
        server: &ServerName,
        room: &RoomRow,
        events: Vec<GraphEvent>,
    ) -> Result<Vec<Box<str>>, Refusal> {
        let ids: Vec<OwnedEventId> = events.iter().map(|event| event.event_id.clone()).collect();
        let groups = self.store.state_groups(&ids, Side::After).await?;
        // What is so at one event is so at all that have the same state.
        let mut known: BTreeMap<i64, bool> = BTreeMap::new();
        let mut users = None;
        let mut shown = Vec::with_capacity(events.len());
        for (event, group) in events.into_iter().zip(groups) {
            let sees = match group {
                // No more than state that others rest upon, which everybody in the room has.
                None => true,
                Some(group) => match known.get(&group) {
                    Some(sees) => *sees,
                    None => {
                        let sees = self.sees(server, room, &event.event_id, &mut users).await?;
                        known.insert(group, sees);
                        sees
                    }
                },
            };
            shown.push(if sees || event.redacted { event.pdu } else { emptied(room, &event.pdu)? });
        }
        Ok(shown)
    }

    /// Whether somebody of `server` may see what was sent at `event`. `users` are those of the server who are or were
    /// something in the room, once they are looked up.
    async fn sees(
        &self,
        server: &ServerName,
        room: &RoomRow,
        event: &OwnedEventId,
        users: &mut Option<Vec<(String, String)>>,
    ) -> Result<bool, Refusal> {
        let setting = ("m.room.history_visibility".to_owned(), String::new());
        let visibility = self.contents_at(event, std::slice::from_ref(&setting)).await?;
        let word = visibility.first().and_then(|content| content["history_visibility"].as_str());
        let invited_too = match Visibility::of_word(word) {
            // Who takes part in the room has somebody who joined it, if later.
            Visibility::WorldReadable | Visibility::Shared => return Ok(true),
            Visibility::Invited => true,
            Visibility::Joined => false,
        };
        let users = match users {
            Some(users) => users,
            None => {
                let of_server = self.store.users_of_server(&room.room_id, server, MAX_USERS).await?;
                let keys = of_server.into_iter().map(|user| ("m.room.member".to_owned(), user.to_string()));
                users.insert(keys.collect())
            }
        };
        let members = self.contents_at(event, users).await?;
        Ok(members.iter().any(|content| match content["membership"].as_str() {
            Some("join") => true,
            Some("invite") => invited_too,
            _ => false,
        }))
    }

    /// The contents of the state events of these keys after `event`, as far as there are some.
    async fn contents_at(
        &self,
        event: &OwnedEventId,
        keys: &[(String, String)],
    ) -> Result<Vec<Value>, Refusal> {
        #[derive(Deserialize)]
        struct Fields {
            content: Value,
        }
        let state = self.store.state_ids_of(event, Side::After, keys).await?.unwrap_or_default();
        let ids: BTreeSet<OwnedEventId> = state.into_values().collect();
        let events = self.store.graph_events(&ids.into_iter().collect::<Vec<_>>()).await?;
        let contents = events.into_values().filter_map(|event| serde_json::from_str(&event.pdu).ok());
        Ok(contents.map(|Fields { content }| content).collect())
    }
}

/// What stays of a PDU that is redacted, by the rules of its room's version.
fn emptied(room: &RoomRow, pdu: &str) -> Result<Box<str>, Refusal> {
    let object: CanonicalJsonObject =
        serde_json::from_str(pdu).map_err(|e| Refusal::Internal(e.to_string()))?;
    let emptied = redact(object, &rules(&room.version)?.redaction, None)
        .map_err(|e| Refusal::Internal(e.to_string()))?;
    Ok(canonical(&emptied)?.into())
}
