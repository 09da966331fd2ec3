//! What of the log an application service is told of.

use std::sync::Arc;

use serde::Deserialize;

use super::{pump::Pump, scope::Scope};
use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    store::{Side, StoreError},
};

/// Events that are looked at for one transaction.
const LOOKED_AT: usize = 500;

/// Users of it that are looked for in the state before an event that came late.
const MAX_ASKED_FOR: usize = 20;

impl Pump {
    /// The next events of the log, with what its users come to be in rooms elsewhere; and up to where that is all.
    pub(super) async fn next(
        &self,
        from: LogPosition,
        upto: LogPosition,
    ) -> Result<(Vec<Arc<StoredEvent>>, LogPosition), StoreError> {
        let (store, own) = (&self.parts.store, self.registration.sender.server_name());
        let mut events = store.events_since(from, upto, LOOKED_AT).await?;
        let outside = store.outside_since(own, from, upto, LOOKED_AT).await?;
        let reach = |events: &[Arc<StoredEvent>]| match events.last() {
            Some(last) if events.len() >= LOOKED_AT => last.position,
            _ => upto,
        };
        let reach = reach(&events).min(reach(&outside));
        events.extend(outside);
        events.retain(|event| event.position <= reach);
        events.sort_by_key(|event| event.position);
        Ok((events, reach))
    }

    /// Whether one of its users was in a room before an event that came late: what was said before they came is no news.
    pub(super) async fn was_there(&self, scope: &Scope, event: &StoredEvent) -> Result<bool, StoreError> {
        let users = scope.users_in(&event.room_id).take(MAX_ASKED_FOR);
        let keys: Vec<_> = users.map(|user| ("m.room.member".to_owned(), user.to_string())).collect();
        let ids =
            self.parts.store.state_ids_of(&event.event_id, Side::Before, &keys).await?.unwrap_or_default();
        let ids: Vec<_> = ids.into_values().collect();
        let found = self.parts.store.graph_events(&ids).await?;
        Ok(found.values().any(|event| has_joined(&event.pdu)))
    }
}

/// Whether a member event is somebody's coming.
fn has_joined(pdu: &str) -> bool {
    #[derive(Deserialize)]
    struct Content {
        membership: String,
    }
    #[derive(Deserialize)]
    struct Member {
        content: Content,
    }
    let member: Option<Member> = serde_json::from_str(pdu).ok();
    member.is_some_and(|member| Membership::parse(&member.content.membership) == Some(Membership::Join))
}
