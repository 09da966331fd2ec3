//! Messages to devices here that came from other servers: each is taken once.

use ruma::{OwnedDeviceId, OwnedServerName, OwnedUserId};
use rusqlite::params;

use super::{
    database::Store,
    error::StoreError,
    to_device::{ToDevice, queue_one},
    tx::Tx,
};

/// The last messages of one server that are recognised when they come again.
const MAX_RECOGNISED: u32 = 10_000;

/// To whom a message of another server goes.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Recipients {
    /// One device.
    One(OwnedDeviceId),
    /// All devices of the user.
    All,
}

/// A message of another server.
#[derive(Clone, Debug)]
pub struct ReceivedMessage {
    /// What it is recognised by.
    pub message_id: String,
    /// For whom, and `{"type","sender","content"}` as JSON text.
    pub to: Vec<(OwnedUserId, Recipients, String)>,
}

impl Store {
    /// Queues messages of another server for the devices that there are; those that came before do nothing.
    pub async fn receive_to_device(
        &self,
        origin: OwnedServerName,
        messages: Vec<ReceivedMessage>,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            let mut last = None;
            for ReceivedMessage { message_id, to } in messages {
                let new = c
                    .prepare_cached(
                        "INSERT OR IGNORE INTO to_device_received (origin, message_id) VALUES (?1, ?2)",
                    )?
                    .execute([origin.as_str(), &message_id])?;
                if new > 0 {
                    last = Some(c.last_insert_rowid());
                    to.into_iter().try_for_each(|to| receive(c, to))?;
                }
            }
            if last.is_some() {
                c.prepare_cached(
                    "DELETE FROM to_device_received WHERE origin = ?1 AND number <= (
                         SELECT number FROM to_device_received WHERE origin = ?1
                         ORDER BY number DESC LIMIT 1 OFFSET ?2)",
                )?
                .execute(params![origin.as_str(), MAX_RECOGNISED])?;
            }
            Ok(())
        })
        .await
    }
}

/// Queues one message for those devices of its user that there are.
fn receive(c: &Tx<'_>, (user, to, event): (OwnedUserId, Recipients, String)) -> rusqlite::Result<()> {
    let one = match &to {
        Recipients::One(device) => Some(device.as_str()),
        Recipients::All => None,
    };
    let devices: Vec<OwnedDeviceId> = c
        .prepare_cached(
            "SELECT device_id FROM devices WHERE user_id = ?1 AND (?2 IS NULL OR device_id = ?2) ORDER BY device_id",
        )?
        .query_map(params![user.as_str(), one], |row| Ok(row.get::<_, String>(0)?.into()))?
        .collect::<rusqlite::Result<_>>()?;
    for device in devices {
        queue_one(c, ToDevice { user: user.clone(), device, event: event.clone() })?;
    }
    Ok(())
}
