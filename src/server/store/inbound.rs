//! Events of other servers that were acknowledged, and not looked at yet.

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, ServerName};

use super::{database::Store, error::StoreError, events};

/// An event that waits to be looked at.
#[derive(Clone, Debug)]
pub struct InboundEvent {
    /// The room that it says it is of.
    pub room_id: OwnedRoomId,
    /// Its ID.
    pub event_id: OwnedEventId,
    /// As it came.
    pub pdu: Box<str>,
}

impl Store {
    /// Keeps events that `origin` sent, if there are at most `max` of that server then; answers whether they are kept.
    pub async fn keep_inbound(
        &self,
        origin: OwnedServerName,
        kept: Vec<InboundEvent>,
        max: usize,
    ) -> Result<bool, StoreError> {
        self.write(move |c| {
            let mut insert = c.prepare_cached(
                "INSERT OR IGNORE INTO inbound_events (origin, room_id, event_id, pdu) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let known: i64 = c
                .prepare_cached("SELECT count(*) FROM inbound_events WHERE origin = ?1")?
                .query_row([origin.as_str()], |row| row.get(0))?;
            if usize::try_from(known).unwrap_or(usize::MAX).saturating_add(kept.len()) > max {
                return Ok(false);
            }
            for event in &kept {
                insert.execute((
                    origin.as_str(),
                    event.room_id.as_str(),
                    event.event_id.as_str(),
                    &*event.pdu,
                ))?;
            }
            Ok(true)
        })
        .await
    }

    /// Forgets events that were looked at.
    pub async fn forget_inbound(
        &self,
        origin: OwnedServerName,
        events: Vec<OwnedEventId>,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            let mut forget =
                c.prepare_cached("DELETE FROM inbound_events WHERE origin = ?1 AND event_id = ?2")?;
            for event in &events {
                forget.execute((origin.as_str(), event.as_str()))?;
            }
            Ok(())
        })
        .await
    }

    /// The servers of which events are kept.
    pub async fn inbound_origins(&self) -> Result<Vec<OwnedServerName>, StoreError> {
        self.read(|c| {
            c.prepare("SELECT DISTINCT origin FROM inbound_events ORDER BY origin")?
                .query_map([], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect()
        })
        .await
    }

    /// The first events that are kept of one server, in the order in which they came; `limit` at most.
    pub async fn inbound(&self, origin: &ServerName, limit: usize) -> Result<Vec<InboundEvent>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            c.prepare(
                "SELECT room_id, event_id, pdu FROM inbound_events WHERE origin = ?1 ORDER BY number LIMIT ?2",
            )?
            .query_map((origin.as_str(), limit), |row| {
                Ok(InboundEvent {
                    room_id: events::parse(0, row.get_ref(0)?.as_str()?)?,
                    event_id: events::parse(1, row.get_ref(1)?.as_str()?)?,
                    pdu: row.get_ref(2)?.as_str()?.into(),
                })
            })?
            .collect()
        })
        .await
    }
}
