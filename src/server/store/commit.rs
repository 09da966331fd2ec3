//! The one small write in which what was judged gets its place in rooms.
//!
//! Whoever judges does so beside the writer, on what is on the disk and on its way there. The write looks whether
//! that is still so, and does all of what was proposed, or nothing.

use ruma::{
    EventId, OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedTransactionId, OwnedUserId,
};
use rusqlite::{Connection, OptionalExtension};

use super::{
    accounts,
    database::Store,
    directory::{self, AliasRow},
    error::StoreError,
    events, members, relations,
    relations::Annotation,
    room_change::{NotCommitted, Placed, RoomChange},
    steps::Write,
    tx::Tx,
};
use crate::server::{event::stored::Membership, profile::Profile, session::Session};

/// How long a transaction ID is remembered, in ms: 30 days, longer than a client's queue of messages waits.
const TRANSACTIONS_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// What is to be written, and what it was judged on.
#[derive(Debug, Default)]
pub struct RoomCommit {
    /// What must still be so.
    pub assumptions: Vec<Assumption>,
    /// Done once only: the last event that is appended is what a repetition is answered with. A commit that
    /// appends nothing asks whether it was done.
    pub once: Option<Once>,
    /// In this order.
    pub changes: Vec<RoomChange>,
    /// Where nothing has to be changed, as what is done once is so already: the event that makes it so, which a
    /// repetition is answered with.
    pub stands: Option<OwnedEventId>,
    /// The time (Unix, ms).
    pub now_ms: u64,
}

/// Something that was looked at, and how it was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Assumption {
    /// The forward extremities of a room, in order of their IDs; none: there is no such room.
    Head {
        /// The room.
        room: OwnedRoomId,
        /// The events that no other follows yet.
        extremities: Vec<OwnedEventId>,
    },
    /// Name and picture of a user; `None`: there is no such account.
    Profile {
        /// Whose.
        user: OwnedUserId,
        /// What they are.
        profile: Option<Profile>,
    },
    /// What a user is in a room.
    Membership {
        /// The room.
        room: OwnedRoomId,
        /// Who.
        user: OwnedUserId,
        /// `None`: never was anything.
        membership: Option<Membership>,
    },
    /// Where an alias leads.
    Alias {
        /// The alias.
        alias: OwnedRoomAliasId,
        /// `None`: there is no such alias.
        leads: Option<AliasRow>,
    },
    /// There is no such annotation.
    Unannotated(Annotation),
}

/// A request that is done once, however often it is sent.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Once {
    /// Who sends it.
    pub user: OwnedUserId,
    /// With which device.
    pub device: OwnedDeviceId,
    /// The kind of request and the rest of its path.
    pub endpoint: String,
    /// The client's transaction ID.
    pub transaction: OwnedTransactionId,
}

impl Store {
    /// Puts a commit into the queue of the writer, after those that were put there before. What it answers with
    /// resolves when the commit is on the disk and memory has followed, or failed; the events come in the order
    /// in which they were appended. Once in the queue, it is done even if nobody waits for it.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn commit_rooms(
        &self,
        commit: RoomCommit,
    ) -> Result<impl Future<Output = Result<Vec<Placed>, NotCommitted>> + Send + use<>, StoreError> {
        let written = self.writer.enqueue(move |tx| run(tx, &commit)).await?;
        Ok(async move { written.await.unwrap_or_else(|_| Err(StoreError::Closed.into())) })
    }

    /// Keeps the writer from writing until what this answers with is dropped.
    #[cfg(test)]
    pub(in crate::server) async fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hold = move |_: &Tx<'_>| {
            assert!(held.recv().is_err(), "nothing is sent");
            Ok::<_, StoreError>(())
        };
        drop(self.writer.enqueue(hold).await.expect("the store is open"));
        release
    }

    /// Whether a request of the session's device with this ID was done.
    pub async fn is_action_done(&self, session: &Session, id: u64) -> Result<bool, StoreError> {
        let id = id.to_string();
        self.read(|c| {
            c.prepare_cached(
                "SELECT 1 FROM transactions WHERE user_id = ?1 AND device_id = ?2 AND transaction_id = ?3",
            )?
            .exists([session.user.as_str(), session.device.as_str(), &id])
        })
        .await
    }

    /// The event that a request was answered with when it was done.
    pub async fn done_before(&self, once: &Once) -> Result<Option<Placed>, StoreError> {
        self.read(|c| done(c, once)).await
    }
}

fn run(tx: &Tx<'_>, commit: &RoomCommit) -> Result<Vec<Placed>, NotCommitted> {
    if let Some(once) = &commit.once
        && let Some(placed) = done(tx, once)?
    {
        return Err(NotCommitted::DoneBefore(placed));
    }
    for assumption in &commit.assumptions {
        if !holds(tx, assumption)? {
            return Err(NotCommitted::Stale);
        }
    }
    let mut write = Write::new(tx);
    for change in &commit.changes {
        write.apply(change)?;
    }
    match (&commit.once, write.placed.last(), &commit.stands) {
        (Some(once), Some(last), _) => remember(tx, once, &last.event_id, commit.now_ms)?,
        (Some(once), None, Some(event)) => remember(tx, once, event, commit.now_ms)?,
        (Some(_), None, None) => return Err(NotCommitted::Stale),
        (None, _, _) => {}
    }
    Ok(write.placed)
}

fn holds(c: &Connection, assumption: &Assumption) -> Result<bool, NotCommitted> {
    Ok(match assumption {
        Assumption::Head { room, extremities } => {
            let found: rusqlite::Result<Vec<String>> = c
                .prepare_cached(
                    "SELECT e.event_id FROM forward_extremities f JOIN events e ON e.event = f.event \
                     WHERE f.room = (SELECT room FROM rooms WHERE room_id = ?1) ORDER BY e.event_id",
                )?
                .query_map([room.as_str()], |row| row.get(0))?
                .collect();
            found?.iter().map(String::as_str).eq(extremities.iter().map(|id| id.as_str()))
        }
        Assumption::Profile { user, profile } => accounts::profile(c, user)? == *profile,
        Assumption::Membership { room, user, membership } => {
            members::membership_in(c, user, room)?.map(|row| row.membership) == *membership
        }
        Assumption::Alias { alias, leads } => directory::find(c, alias)? == *leads,
        Assumption::Unannotated(annotation) => !relations::is_annotated(c, annotation)?,
    })
}

fn done(c: &Connection, once: &Once) -> rusqlite::Result<Option<Placed>> {
    c.prepare_cached(
        "SELECT e.event_id, e.position FROM transactions t JOIN events e ON e.event = t.event \
         WHERE t.user_id = ?1 AND t.device_id = ?2 AND t.transaction_id = ?3 AND t.endpoint = ?4",
    )?
    .query_row((once.user.as_str(), once.device.as_str(), once.transaction.as_str(), &once.endpoint), |row| {
        Ok(Placed { event_id: events::parse(0, row.get_ref(0)?.as_str()?)?, position: row.get(1)? })
    })
    .optional()
}

/// Remembers what a request is answered with, and forgets those that are too old to come again.
fn remember(c: &Connection, once: &Once, event: &EventId, now_ms: u64) -> rusqlite::Result<()> {
    let now_ms = events::clamp(now_ms);
    c.prepare_cached(
        "INSERT INTO transactions SELECT ?1, ?2, ?3, ?4, event, ?6 FROM events WHERE event_id = ?5",
    )?
    .execute((
        once.user.as_str(),
        once.device.as_str(),
        &once.endpoint,
        once.transaction.as_str(),
        event.as_str(),
        now_ms,
    ))?;
    c.prepare_cached("DELETE FROM transactions WHERE sent_ms < ?1")?.execute([now_ms - TRANSACTIONS_MS])?;
    Ok(())
}
