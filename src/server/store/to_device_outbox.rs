//! Messages to devices of users of other servers, kept until their server has acknowledged them.

use std::collections::BTreeSet;

use ruma::{OwnedServerName, ServerName};
use rusqlite::{Connection, params};

use super::{database::Store, error::StoreError, tx::Tx};
use crate::server::change::feed::Change;

/// Messages that wait for one server, at most. The oldest go.
const MAX_WAITING: u32 = 20_000;

/// How many messages come between two looks at that.
const LOOK_EVERY: i64 = 64;

/// A message for devices of another server.
#[derive(Clone, Debug)]
pub struct MessageAcross {
    /// Whose users.
    pub server: OwnedServerName,
    /// The content of the EDU, JSON.
    pub content: String,
}

impl Store {
    /// The messages that wait for a server, oldest first, with their numbers: about as many bytes, but one at least.
    pub async fn to_device_outbox(
        &self,
        server: &ServerName,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT number, content FROM to_device_outbox WHERE server = ?1 ORDER BY number LIMIT ?2",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![server.as_str(), limit])?;
            let (mut messages, mut taken) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let content: String = row.get(1)?;
                taken += content.len();
                if taken > bytes && !messages.is_empty() {
                    break;
                }
                messages.push((row.get(0)?, content));
            }
            Ok(messages)
        })
        .await
    }

    /// Forgets messages that their server has.
    pub async fn acknowledge_to_device_across(&self, numbers: Vec<i64>) -> Result<(), StoreError> {
        self.write(move |c| {
            let mut delete = c.prepare_cached("DELETE FROM to_device_outbox WHERE number = ?1")?;
            numbers.iter().try_for_each(|number| delete.execute([number]).map(drop))?;
            Ok(())
        })
        .await
    }
}

/// Keeps messages for other servers; tells which.
pub(super) fn queue(c: &Tx<'_>, messages: Vec<MessageAcross>) -> rusqlite::Result<()> {
    let mut servers = BTreeSet::new();
    for MessageAcross { server, content } in messages {
        c.prepare_cached("INSERT INTO to_device_outbox (server, content) VALUES (?1, ?2)")?
            .execute([server.as_str(), &content])?;
        if c.last_insert_rowid() % LOOK_EVERY == 0 {
            forget_oldest(c, &server)?;
        }
        servers.insert(server);
    }
    servers.into_iter().for_each(|server| c.tell(Change::ToDeviceAcross { server }));
    Ok(())
}

fn forget_oldest(c: &Connection, server: &ServerName) -> rusqlite::Result<()> {
    c.prepare_cached(
        "DELETE FROM to_device_outbox WHERE server = ?1 AND number <= (
             SELECT number FROM to_device_outbox WHERE server = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![server.as_str(), MAX_WAITING])?;
    Ok(())
}
