//! What other servers are still to be told of presence lists.

use ruma::{OwnedServerName, OwnedUserId, ServerName};
use rusqlite::{Connection, params};

use super::{database::Store, error::StoreError, events};
use crate::{
    core::list::{Half, Kind, Message},
    server::list::ListMessage,
};

impl Store {
    /// The servers that are to be told something.
    pub async fn list_outbox_servers(&self) -> Result<Vec<OwnedServerName>, StoreError> {
        self.read(|c| {
            c.prepare("SELECT DISTINCT server FROM list_outbox")?
                .query_map([], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect()
        })
        .await
    }

    /// What `server` is still to be told; at most `limit` messages.
    pub async fn list_outbox(
        &self,
        server: &ServerName,
        limit: usize,
    ) -> Result<Vec<ListMessage>, StoreError> {
        let rows: Vec<(OwnedUserId, OwnedUserId, String, i64)> = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT owner, contact, kind, seq FROM list_outbox WHERE server = ?1 LIMIT ?2",
                )?
                .query_map(params![server.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                    let id = |column| events::parse(column, row.get_ref(column)?.as_str()?);
                    Ok((id(0)?, id(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect()
            })
            .await?;
        let read = |(owner, contact, kind, seq): (_, _, String, i64)| {
            let message = Message { kind: parse_kind(&kind)?, seq: seq.cast_unsigned() };
            Ok(ListMessage { owner, contact, message })
        };
        rows.into_iter().map(read).collect()
    }

    /// Forgets messages that were acknowledged, where they are still the latest of their half.
    pub async fn acknowledge_list_messages(&self, messages: Vec<ListMessage>) -> Result<(), StoreError> {
        self.write(move |c| {
            messages.iter().try_for_each(|message| {
                run(
                    c,
                    "DELETE FROM list_outbox WHERE server = ?1 AND owner = ?2 AND contact = ?3 AND half = ?4
                     AND kind = ?5 AND seq = ?6",
                    message,
                )
            })?;
            Ok(())
        })
        .await
    }
}

/// Keeps messages in place of those about the same halves.
pub(super) fn put(c: &Connection, messages: &[ListMessage]) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO list_outbox VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    messages.iter().try_for_each(|message| run(c, sql, message))
}

/// Runs a statement with the columns of a message.
fn run(
    c: &Connection,
    sql: &str,
    ListMessage { owner, contact, message }: &ListMessage,
) -> rusqlite::Result<()> {
    c.prepare_cached(sql)?.execute(params![
        contact.server_name().as_str(),
        owner.as_str(),
        contact.as_str(),
        half(message.kind),
        kind(message.kind),
        message.seq.cast_signed(),
    ])?;
    Ok(())
}

const fn half(kind: Kind) -> &'static str {
    match kind.half() {
        Half::Asking => "asking",
        Half::Answering => "answering",
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Invite => "invite",
        Kind::Drop => "drop",
        Kind::Accept => "accept",
        Kind::Deny => "deny",
    }
}

fn parse_kind(word: &str) -> Result<Kind, StoreError> {
    let kinds = [Kind::Invite, Kind::Drop, Kind::Accept, Kind::Deny];
    let found = kinds.into_iter().find(|known| kind(*known) == word);
    found.ok_or_else(|| StoreError::Corrupt(format!("list_outbox: kind {word}")))
}
