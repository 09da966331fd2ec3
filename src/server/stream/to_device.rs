//! Messages for the reader's device.

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

/// What waits for the reader's device.
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
    Ok(Waiting { messages: messages.events, upto })
}
