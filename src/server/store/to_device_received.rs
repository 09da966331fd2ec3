//! Messages to devices here that came from other servers: each is taken once.

use std::{collections::BTreeMap, fmt, sync::Arc};

use ruma::{DeviceId, OwnedDeviceId, OwnedServerName, OwnedUserId, ServerName, UserId};
use rusqlite::params;

use super::{
    database::Store,
    error::StoreError,
    to_device::{ToDevice, WEIGHT, queue_one},
    tx::Tx,
};
use crate::server::change::feed::Change;

/// The last messages of one server that are recognised when they come again.
const MAX_RECOGNISED: u32 = 10_000;

/// The same of all servers together.
const MAX_RECOGNISED_OF_ALL: u32 = 1_000_000;

/// Room that is made at once for messages of other servers than the one that took most of it.
const ROOM_MADE: u32 = 100;

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

/// Says of devices whether so much waits for them that what more comes from other servers has to find room.
#[derive(Clone)]
pub struct IsFull(Arc<Question>);

type Question = dyn Fn(&UserId, &DeviceId) -> bool + Send + Sync;

impl IsFull {
    /// Asks this function.
    pub fn new(is_full: impl Fn(&UserId, &DeviceId) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_full))
    }
}

impl fmt::Debug for IsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IsFull")
    }
}

impl Store {
    /// Queues messages of another server for the devices that there are; those that came before do nothing. Where a device
    /// `is_full`, the oldest of the server that has most waiting there go; those of that server itself are dropped.
    pub async fn receive_to_device(
        &self,
        origin: OwnedServerName,
        messages: Vec<ReceivedMessage>,
        is_full: IsFull,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            let mut last = None;
            let mut desk = Desk { c, origin: &origin, is_full: &is_full, rooms: BTreeMap::new() };
            for ReceivedMessage { message_id, to } in messages {
                let new = c
                    .prepare_cached(
                        "INSERT OR IGNORE INTO to_device_received (origin, message_id) VALUES (?1, ?2)",
                    )?
                    .execute([origin.as_str(), &message_id])?;
                if new > 0 {
                    last = Some(c.last_insert_rowid());
                    to.into_iter().try_for_each(|to| desk.receive(to))?;
                }
            }
            if last.is_some() {
                c.prepare_cached(
                    "DELETE FROM to_device_received WHERE origin = ?1 AND number <= (
                         SELECT number FROM to_device_received WHERE origin = ?1
                         ORDER BY number DESC LIMIT 1 OFFSET ?2)",
                )?
                .execute(params![origin.as_str(), MAX_RECOGNISED])?;
                c.prepare_cached(
                    "DELETE FROM to_device_received
                     WHERE number <= (SELECT max(number) FROM to_device_received) - ?1",
                )?
                .execute([MAX_RECOGNISED_OF_ALL])?;
            }
            Ok(())
        })
        .await
    }
}

/// Messages of one server on their way to devices.
struct Desk<'a> {
    c: &'a Tx<'a>,
    origin: &'a ServerName,
    is_full: &'a IsFull,
    /// How much room there is at the devices that were looked at; `None`: none, and none can be made.
    rooms: BTreeMap<(OwnedUserId, OwnedDeviceId), Option<u32>>,
}

impl Desk<'_> {
    /// Queues one message for those devices of its user that there are and have room.
    fn receive(&mut self, (user, to, event): (OwnedUserId, Recipients, String)) -> rusqlite::Result<()> {
        let one = match &to {
            Recipients::One(device) => Some(device.as_str()),
            Recipients::All => None,
        };
        let devices: Vec<OwnedDeviceId> = self
            .c
            .prepare_cached(
                "SELECT device_id FROM devices WHERE user_id = ?1 AND (?2 IS NULL OR device_id = ?2) ORDER BY device_id",
            )?
            .query_map(params![user.as_str(), one], |row| Ok(row.get::<_, String>(0)?.into()))?
            .collect::<rusqlite::Result<_>>()?;
        for device in devices {
            let message = ToDevice { user: user.clone(), device, event: event.clone() };
            if self.has_room(&message)? {
                queue_one(self.c, message, Some(self.origin))?;
            }
        }
        Ok(())
    }

    fn has_room(&mut self, message: &ToDevice) -> rusqlite::Result<bool> {
        let key = (message.user.clone(), message.device.clone());
        let room = match self.rooms.get(&key) {
            Some(Some(0)) => self.make_room(&key.0, &key.1)?,
            Some(known) => *known,
            None if (self.is_full.0)(&key.0, &key.1) => self.make_room(&key.0, &key.1)?,
            None => Some(u32::MAX),
        };
        self.rooms.insert(key, room.map(|room| room.saturating_sub(message.weight())));
        Ok(room.is_some())
    }

    /// Lets some of what the server sent go that has most waiting for a device, not if that is who sends; how much room that
    /// makes.
    fn make_room(&self, user: &UserId, device: &DeviceId) -> rusqlite::Result<Option<u32>> {
        let mut of: BTreeMap<String, u32> = self
            .c
            .prepare_cached(&format!(
                "SELECT origin, sum{WEIGHT} FROM to_device WHERE user_id = ?1 AND device_id = ?2 \
                 AND origin IS NOT NULL GROUP BY origin",
            ))?
            .query_map([user.as_str(), device.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let own = of.remove(self.origin.as_str()).unwrap_or_default();
        let most = of.into_iter().max_by_key(|(_, weight)| *weight).filter(|(_, weight)| *weight > own);
        let Some((greedy, weight)) = most else { return Ok(None) };
        let enough = ROOM_MADE.min(weight - own);
        let oldest: Vec<(i64, u32)> = self
            .c
            .prepare_cached(&format!(
                "SELECT position, {WEIGHT} FROM to_device WHERE user_id = ?1 AND device_id = ?2 AND origin = ?3 \
                 ORDER BY position LIMIT ?4",
            ))?
            .query_map(params![user.as_str(), device.as_str(), greedy, enough], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut made = 0;
        let mut delete = self.c.prepare_cached(
            "DELETE FROM to_device WHERE user_id = ?1 AND device_id = ?2 AND position = ?3",
        )?;
        for (position, weight) in oldest {
            if made >= enough {
                break;
            }
            delete.execute(params![user.as_str(), device.as_str(), position])?;
            made += weight;
        }
        let (user, device) = (user.to_owned(), device.to_owned());
        self.c.tell(Change::ToDeviceDropped { user, device, weight: made });
        Ok(Some(made))
    }
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, server_name, user_id};

    use super::*;
    use crate::server::{
        change::{feed::Feed, position::LogPosition},
        session::TokenHash,
        store::{Access, NewDevice, NewUser},
    };

    /// So many messages of `bytes` to the device D, that say `name`.
    fn messages(name: &str, count: usize, bytes: usize, to: &Recipients) -> Vec<ReceivedMessage> {
        let event = format!(r#"{{"name":"{name}","fill":"{}"}}"#, "x".repeat(bytes));
        let to = vec![(user_id!("@a:x").to_owned(), to.clone(), event)];
        (0..count).map(|n| ReceivedMessage { message_id: format!("{name}{n}"), to: to.clone() }).collect()
    }

    async fn waiting(store: &Store) -> BTreeMap<String, usize> {
        let (mut since, mut names) = (LogPosition::START, BTreeMap::new());
        loop {
            let upto = store.log_position();
            let page = store.to_device(user_id!("@a:x"), device_id!("D"), since, upto).await.expect("reads");
            for (position, event) in page.events {
                since = position;
                let event: serde_json::Value = serde_json::from_str(&event).expect("JSON");
                *names.entry(event["name"].as_str().expect("a name").to_owned()).or_default() += 1;
            }
            if !page.truncated {
                return names;
            }
        }
    }

    #[tokio::test]
    async fn who_fills_a_device_makes_room_for_others_and_gets_no_more_in_itself() {
        let folder = std::env::temp_dir().join(format!("pilotlight-received-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let store = Store::open(&folder, server_name!("x"), Access::Sole, Arc::new(Feed::default()));
        let store = store.expect("opens");
        let device = NewDevice {
            id: "D".into(),
            display_name: None,
            token_hash: TokenHash([0; 32]),
            seen_ms: 0,
            tokens: None,
        };
        let id = user_id!("@a:x").to_owned();
        let user = NewUser { id, password_hash: None, created_ms: 0, device: Some(device) };
        store.create_user(user).await.expect("is made");
        let (greedy, modest) = (server_name!("greedy"), server_name!("modest"));
        let send = async |from: &ServerName, messages, is_full| {
            store.receive_to_device(from.to_owned(), messages, IsFull::new(move |_, _| is_full)).await
        };
        let one = Recipients::One("D".into());
        send(modest, messages("early", 3, 10, &one), false).await.expect("is written");
        send(greedy, messages("many", 40, 10, &Recipients::All), false).await.expect("is written");
        // Each counts for three.
        send(greedy, messages("large", 2, 9_000, &one), false).await.expect("is written");
        let of = |all: &[(&str, usize)]| -> BTreeMap<String, usize> {
            all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        let all = of(&[("early", 3), ("many", 40), ("large", 2)]);
        assert_eq!(waiting(&store).await, all);
        for to in [&one, &Recipients::All] {
            send(greedy, messages(&format!("more{to:?}"), 5, 10, to), true).await.expect("is written");
            assert_eq!(waiting(&store).await, all, "nobody takes more who has most");
        }
        send(modest, messages("late", 1, 10, &one), true).await.expect("is written");
        let left = of(&[("early", 3), ("late", 1), ("large", 1)]);
        assert_eq!(waiting(&store).await, left, "the oldest went, down to what the other has");
        send(modest, messages("last", 1, 10, &one), true).await.expect("is written");
        assert_eq!(waiting(&store).await, left, "who has most now is that one");
        store.close().await;
        std::fs::remove_dir_all(&folder).expect("is there");
    }
}
