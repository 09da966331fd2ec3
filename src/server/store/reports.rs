//! What users report to whoever runs the server.

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};

use super::{database::Store, error::StoreError};

/// Reports that are kept, at most: of more, the oldest go.
const MAX_REPORTS: i64 = 10_000;

/// Something that somebody reports.
#[derive(Clone, Debug)]
pub struct Report {
    /// When, in Unix ms.
    pub reported_ms: u64,
    /// Who reports it.
    pub by: OwnedUserId,
    /// What.
    pub what: Reported,
    /// Why, as they say.
    pub reason: String,
}

/// What is reported.
#[derive(Clone, Debug)]
pub enum Reported {
    /// A room.
    Room(OwnedRoomId),
    /// An event of a room.
    Event(OwnedRoomId, OwnedEventId),
    /// A user.
    User(OwnedUserId),
}

impl Store {
    /// Keeps a report.
    pub async fn put_report(&self, report: Report) -> Result<(), StoreError> {
        self.write(move |c| {
            let (room, event, user) = match &report.what {
                Reported::Room(room) => (Some(room.as_str()), None, None),
                Reported::Event(room, event) => (Some(room.as_str()), Some(event.as_str()), None),
                Reported::User(user) => (None, None, Some(user.as_str())),
            };
            let by = report.by.as_str();
            c.prepare_cached(
                "INSERT INTO reports (reported_ms, by_user, room_id, event_id, user_id, reason) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                report.reported_ms.cast_signed(),
                by,
                room,
                event,
                user,
                &report.reason,
            ))?;
            c.prepare_cached("DELETE FROM reports WHERE report <= (SELECT max(report) FROM reports) - ?1")?
                .execute([MAX_REPORTS])?;
            Ok(())
        })
        .await
    }
}
