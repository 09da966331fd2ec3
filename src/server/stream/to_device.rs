//! Messages for the reader's device.

use std::borrow::Cow;

use ruma::UserId;
use serde::Deserialize;

use super::look::Look;
use crate::server::{
    change::position::LogPosition,
    devices::to_device::Inboxes,
    session::Session,
    store::{Store, StoreError},
};

/// What waits for a device, and where the reader is among it.
#[derive(Debug)]
pub(super) struct Waiting {
    /// With their positions, oldest first.
    pub(super) messages: Vec<(LogPosition, String)>,
    /// Up to where they go: when there are more than fit, to the last of them.
    pub(super) upto: LogPosition,
}

/// What waits for the reader's device; what is not told of it counts as told.
pub(super) async fn waiting(
    look: &Look<'_>,
    inboxes: &Inboxes,
    store: &Store,
) -> Result<Waiting, StoreError> {
    let since = look.to_device;
    let Session { user, device } = look.session;
    if !inboxes.has_news(look.session, since) {
        return Ok(Waiting { messages: Vec::new(), upto: look.log.upto });
    }
    let messages = store.to_device(user, device, since, look.log.upto).await?;
    let upto = if messages.truncated {
        messages.events.last().map_or(since, |(position, _)| *position)
    } else {
        look.log.upto
    };
    let mut messages = messages.events;
    if !look.ignored.is_empty() {
        messages.retain(|(_, message)| is_told(look, message));
    }
    Ok(Waiting { messages, upto })
}

/// Whether the reader is told of a message, by its sender. What is encrypted is told whoever sent it: it brings the keys
/// of rooms, without which what was missed cannot be read when the sender is not ignored any longer.
fn is_told(look: &Look<'_>, message: &str) -> bool {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        sender: Cow<'a, str>,
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let Ok(Message { sender, kind }) = serde_json::from_str(message) else { return true };
    kind == "m.room.encrypted" || !<&UserId>::try_from(&*sender).is_ok_and(|sender| look.ignores(sender))
}
