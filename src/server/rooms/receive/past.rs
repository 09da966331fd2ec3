//! What was said before the first of what is here, or where a gap was left: fetched for who scrolls back.

use std::sync::Arc;

use ruma::{EventId, RoomId, ServerName};
use serde_json::value::RawValue;

use super::{
    elsewhere::Elsewhere,
    gap::Batch,
    run::{Outcome, Way},
    servers::Servers,
};
use crate::server::rooms::{append::rules, parts::Rooms, refusal::Refusal};

/// Events of the past in one go, at most.
const MAX_PAST: usize = 500;

impl Rooms {
    /// Takes events that `server` answered as the past of a room: those that are right and allowed get their places in the
    /// timeline, before what follows them, or else before the event `before`. Answers how many did.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: the room is not here; else when the store fails.
    pub async fn receive_past<E: Elsewhere>(
        &self,
        elsewhere: &Arc<E>,
        server: &ServerName,
        (room, before): (&RoomId, Option<&EventId>),
        texts: &[Box<RawValue>],
    ) -> Result<usize, Refusal> {
        let no_room = || Refusal::NotFound("this server does not know the room".into());
        let row = self.store.room(room).await?.ok_or_else(no_room)?;
        let rules = rules(&row.version)?;
        let texts = &texts[..texts.len().min(MAX_PAST)];
        let mut events = self.prove_texts(&**elsewhere, &rules, room, texts).await;
        events.sort_by_key(|event| event.depth);
        let servers = Arc::new(Servers::of(self, elsewhere, server, room));
        let batch = Batch { servers, room: &row, rules: &rules, way: Way::Past, before };
        let outcomes = self.receive_batch(&batch, events).await?.ok_or_else(no_room)?;
        Ok(outcomes.values().filter(|outcome| **outcome == Outcome::Accepted).count())
    }
}
