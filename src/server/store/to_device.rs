//! Messages from device to device, kept until they are acknowledged.

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, ServerName, UserId};
use rusqlite::{Connection, params};

use super::{
    database::Store,
    error::StoreError,
    events,
    log::advance,
    to_device_outbox::{self, MessageAcross},
    tx::Tx,
};
use crate::server::{
    change::{feed::Change, position::LogPosition},
    session::Session,
};

/// Transaction IDs older than this, in milliseconds, are forgotten: 7 days.
const REMEMBERED_MS: i64 = 7 * 24 * 3600 * 1000;

/// The most messages that one read returns; the rest comes with the next.
const BATCH: usize = 100;

/// Bytes of the messages of one read, about: no further one is added from here on.
const BATCH_BYTES: usize = 256 << 10;

/// A message for one device.
#[derive(Clone, Debug)]
pub struct ToDevice {
    /// Whose device.
    pub user: OwnedUserId,
    /// The device.
    pub device: OwnedDeviceId,
    /// `{"type","sender","content"}` as JSON text.
    pub event: String,
}

impl ToDevice {
    /// The room that it takes among those that wait: one, and one more for each full 4 KiB.
    pub(super) fn weight(&self) -> u32 {
        1 + (self.event.len() / 4096) as u32
    }
}

/// The same of a row.
pub(super) const WEIGHT: &str = "(1 + octet_length(event) / 4096)";

/// Messages that wait for a device.
#[derive(Clone, Debug)]
pub struct WaitingMessages {
    /// With their positions, oldest first.
    pub events: Vec<(LogPosition, String)>,
    /// There are more after these.
    pub truncated: bool,
}

impl Store {
    /// Queues `messages` that `sender` sent under the transaction ID `txn`, and those for devices `across`, once.
    pub async fn queue_to_device(
        &self,
        sender: Session,
        (event_type, txn): (String, String),
        now_ms: u64,
        messages: Vec<ToDevice>,
        across: Vec<MessageAcross>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let now = now_ms.cast_signed();
            let new = tx
                .prepare_cached("INSERT OR IGNORE INTO to_device_transactions VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![sender.user.as_str(), sender.device.as_str(), event_type, txn, now])?;
            if new == 0 {
                return Ok(());
            }
            tx.prepare_cached(
                "DELETE FROM to_device_transactions WHERE user_id = ?1 AND device_id = ?2 AND sent_ms < ?3",
            )?
            .execute(params![
                sender.user.as_str(),
                sender.device.as_str(),
                now - REMEMBERED_MS
            ])?;
            messages.into_iter().try_for_each(|message| queue_one(tx, message, None))?;
            to_device_outbox::queue(tx, across)?;
            Ok(())
        })
        .await
    }

    /// The messages for a device after `since`, up to and including `upto`, oldest first: 100, or about 256 KiB of
    /// them, at most.
    pub async fn to_device(
        &self,
        user: &UserId,
        device: &DeviceId,
        since: LogPosition,
        upto: LogPosition,
    ) -> Result<WaitingMessages, StoreError> {
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT position, event FROM to_device
                 WHERE user_id = ?1 AND device_id = ?2 AND position > ?3 AND position <= ?4
                 ORDER BY position",
            )?;
            let mut rows = statement.query(params![user.as_str(), device.as_str(), since, upto])?;
            let (mut events, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                if events.len() == BATCH || bytes >= BATCH_BYTES {
                    return Ok(WaitingMessages { events, truncated: true });
                }
                let event: String = row.get(1)?;
                bytes += event.len();
                events.push((row.get(0)?, event));
            }
            Ok(WaitingMessages { events, truncated: false })
        })
        .await
    }

    /// Forgets the messages for a device up to and including `upto`: it has them. Memory follows when it is on the disk.
    pub async fn acknowledge_to_device(
        &self,
        user: OwnedUserId,
        device: OwnedDeviceId,
        upto: LogPosition,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            let weight = c
                .prepare_cached(&format!(
                    "DELETE FROM to_device WHERE user_id = ?1 AND device_id = ?2 AND position <= ?3 RETURNING {WEIGHT}",
                ))?
                .query_map(params![user.as_str(), device.as_str(), upto], |row| row.get::<_, u32>(0))?
                .sum::<rusqlite::Result<u32>>()?;
            c.tell(Change::ToDeviceTaken { user, device, upto, weight });
            Ok(())
        })
        .await
    }

    /// Each device with messages waiting, with the positions of the first and the last of them, and how much room they
    /// take.
    pub async fn to_device_waiting(
        &self,
    ) -> Result<Vec<(OwnedUserId, OwnedDeviceId, [LogPosition; 2], u32)>, StoreError> {
        self.read(|c| {
            c.prepare_cached(&format!(
                "SELECT user_id, device_id, min(position), max(position), sum{WEIGHT} FROM to_device GROUP BY 1, 2",
            ))?
            .query_map([], |row| {
                let user = events::parse(0, row.get_ref(0)?.as_str()?)?;
                Ok((user, row.get::<_, String>(1)?.into(), [row.get(2)?, row.get(3)?], row.get(4)?))
            })?
            .collect()
        })
        .await
    }
}

/// Queues a message for one device; `origin`: the other server that it came from.
pub(super) fn queue_one(c: &Tx<'_>, message: ToDevice, origin: Option<&ServerName>) -> rusqlite::Result<()> {
    let (position, weight) = (advance(c)?, message.weight());
    let ToDevice { user, device, event } = message;
    c.prepare_cached("INSERT INTO to_device VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        user.as_str(),
        device.as_str(),
        position,
        event,
        origin.map(ServerName::as_str)
    ])?;
    c.tell(Change::ToDevice { user, device, position, weight });
    Ok(())
}

/// Forgets all messages for a device that is gone.
pub(super) fn forget(c: &Connection, user: &UserId, device: &DeviceId) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM to_device WHERE user_id = ?1 AND device_id = ?2")?
        .execute([user.as_str(), device.as_str()])?;
    Ok(())
}
