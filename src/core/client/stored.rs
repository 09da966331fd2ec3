//! What is kept over restarts: under which keys, and the JSON of an action.

use std::sync::Arc;

use crate::core::action::ids::ActionId;
use crate::core::action::queue::StoredAction;
use crate::core::wire::object::Object;
use crate::core::wire::write;

/// Storage keys of actions begin so; the ID follows.
pub(super) const ACTION_KEY: &str = "action.";
/// The storage key of the last action ID that was used.
pub const LAST_ID_KEY: &str = "last";
/// The storage key of the user's choice, for servers that do not keep it.
pub(super) const CHOICE_KEY: &str = "choice";

/// The storage key of a choice that the server has not taken yet.
pub(super) const WISH_KEY: &str = "wish";

pub(super) fn action_key(id: ActionId) -> String {
    [ACTION_KEY, &id.to_string()].concat()
}

pub(super) fn stored_json(stored: &StoredAction) -> String {
    write::object(|fields| {
        fields.integer("id", stored.id);
        fields.text("device", &stored.device);
        fields.text("room", &stored.room);
        fields.text("type", &stored.kind);
        fields.raw("content", &stored.content);
        fields.integer("ts", stored.ts);
        fields.optional("error", stored.error.as_deref());
    })
}

pub(super) fn parse_stored(value: &str) -> Option<StoredAction> {
    let stored = Object::parse(value)?;
    Some(StoredAction {
        id: stored.integer("id")?,
        device: stored.string("device")?,
        room: stored.string("room")?,
        kind: stored.string("type")?,
        content: Arc::from(stored.raw("content").filter(|raw| raw.starts_with('{'))?),
        ts: stored.integer("ts")?,
        error: stored.string("error"),
    })
}
