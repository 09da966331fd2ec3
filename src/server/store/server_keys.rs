//! Other servers' signing keys.

use ruma::{OwnedServerName, ServerName, serde::Base64};
use rusqlite::{Connection, OptionalExtension, params};

use super::{database::Store, error::StoreError};
use crate::{core::time::UnixMillis, server::keys::EventKey};

/// A key's ID and its public half.
pub type ServerKey = (String, Vec<u8>);

/// Keys of one server that are kept for its events. Those that signed longest ago go.
const MAX_EVENT_KEYS: i64 = 100;

/// Servers of which keys are kept, beside those that share or shared rooms with this one; and how many of the others go at
/// once, those first that said longest ago what their keys are.
const MAX_SERVERS: i64 = 20_000;
const GO_AT_ONCE: i64 = 1_000;

/// Servers of which is kept what they said last of their keys.
const MAX_DOCUMENTS: i64 = 10_000;

/// What a server says of its keys.
#[derive(Clone, Debug)]
pub struct PublishedKeys {
    /// Those that it signs with.
    pub current: Vec<ServerKey>,
    /// Those that it signed with, and until when.
    pub old: Vec<(ServerKey, UnixMillis)>,
    /// Until when the current ones hold.
    pub valid_until: UnixMillis,
    /// How it says so, for others; `None`: too long to keep.
    pub document: Option<String>,
    /// When it said so.
    pub fetched: UnixMillis,
}

impl Store {
    /// The keys of `server` by their IDs, and until when they hold; the epoch when there are none.
    pub async fn server_keys(&self, server: &ServerName) -> Result<(Vec<ServerKey>, UnixMillis), StoreError> {
        let rows: Vec<(String, Vec<u8>, i64)> = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT key_id, public_key, valid_until_ms FROM server_keys WHERE server = ?1",
                )?
                .query_map([server.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
            })
            .await?;
        let until =
            rows.iter().map(|(_, _, until)| UnixMillis(until.cast_unsigned())).min().unwrap_or_default();
        Ok((rows.into_iter().map(|(id, key, _)| (id, key)).collect(), until))
    }

    /// Replaces the keys of `server`. For its events, those that it says nothing of any longer stay as they were.
    pub async fn put_server_keys(
        &self,
        server: OwnedServerName,
        keys: PublishedKeys,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            let PublishedKeys { current, old, valid_until, document, fetched } = keys;
            c.prepare_cached("DELETE FROM server_keys WHERE server = ?1")?.execute([server.as_str()])?;
            let mut insert = c.prepare_cached("INSERT INTO server_keys VALUES (?1, ?2, ?3, ?4)")?;
            for (id, key) in &current {
                insert.execute(params![server.as_str(), id, key, in_column(valid_until)])?;
            }
            let of_events = current.into_iter().map(|key| (key, valid_until)).chain(old);
            for ((id, key), until) in of_events {
                let sql = "INSERT OR REPLACE INTO event_keys VALUES (?1, ?2, ?3, ?4)";
                c.prepare_cached(sql)?.execute(params![server.as_str(), id, key, in_column(until)])?;
            }
            bound_event_keys(c, &server)?;
            note_server(c, &server, fetched, (MAX_SERVERS, GO_AT_ONCE))?;
            match document {
                Some(document) => put_document(c, &server, &document, fetched),
                None => Ok(()),
            }
        })
        .await
    }

    /// Adds what a notary says of the keys with which the events of servers are signed. The servers' own word counts
    /// for more: of a key that is known, it only says that it was good for longer.
    pub async fn add_event_keys(
        &self,
        keys: Vec<(OwnedServerName, String, EventKey)>,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            for (server, id, EventKey { public, valid_until }) in keys {
                c.prepare_cached(
                    "INSERT INTO event_keys VALUES (?1, ?2, ?3, ?4) ON CONFLICT (server, key_id) DO UPDATE
                     SET valid_until_ms = max(valid_until_ms, excluded.valid_until_ms)
                     WHERE public_key = excluded.public_key",
                )?
                .execute(params![
                    server.as_str(),
                    id,
                    public.as_bytes(),
                    in_column(valid_until)
                ])?;
                bound_event_keys(c, &server)?;
                note_server(c, &server, UnixMillis(0), (MAX_SERVERS, GO_AT_ONCE))?;
            }
            Ok(())
        })
        .await
    }

    /// All keys with which events of `server` are signed.
    pub async fn event_keys(&self, server: &ServerName) -> Result<Vec<(String, EventKey)>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT key_id, public_key, valid_until_ms FROM event_keys WHERE server = ?1")?
                .query_map([server.as_str()], |row| {
                    let (public, until): (Vec<u8>, i64) = (row.get(1)?, row.get(2)?);
                    let valid_until = UnixMillis(until.cast_unsigned());
                    Ok((row.get(0)?, EventKey { public: Base64::new(public), valid_until }))
                })?
                .collect()
        })
        .await
    }

    /// How `server` itself said last what its keys are.
    pub async fn key_document(&self, server: &ServerName) -> Result<Option<String>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT document FROM key_documents WHERE server = ?1")?
                .query_row([server.as_str()], |row| row.get(0))
                .optional()
        })
        .await
    }
}

/// The end of time is beyond what a column holds.
fn in_column(at: UnixMillis) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

fn bound_event_keys(c: &Connection, server: &ServerName) -> rusqlite::Result<()> {
    c.prepare_cached(
        "DELETE FROM event_keys WHERE server = ?1 AND key_id IN (
             SELECT key_id FROM event_keys WHERE server = ?1 ORDER BY valid_until_ms DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![server.as_str(), MAX_EVENT_KEYS])?;
    Ok(())
}

/// Notes that there are keys of a server; when there are those of too many, some are forgotten.
fn note_server(
    c: &Connection,
    server: &ServerName,
    said: UnixMillis,
    (most, at_once): (i64, i64),
) -> rusqlite::Result<()> {
    let row = (server.as_str(), in_column(said));
    let known = c
        .prepare_cached("UPDATE key_servers SET said_ms = max(said_ms, ?2) WHERE server = ?1")?
        .execute(row)?;
    if known > 0 {
        return Ok(());
    }
    c.prepare_cached("INSERT INTO key_servers VALUES (?1, ?2)")?.execute(row)?;
    let count: i64 = c.prepare_cached("SELECT count(*) FROM key_servers")?.query_row([], |row| row.get(0))?;
    // Looking who shares rooms takes a while: not for every one.
    if count <= most || count % at_once != 0 {
        return Ok(());
    }
    let gone: Vec<String> = c
        .prepare_cached(
            "DELETE FROM key_servers WHERE server IN (
                 SELECT server FROM key_servers WHERE server <> ?2 AND server NOT IN (
                     SELECT DISTINCT substr(user_id, instr(user_id, ':') + 1) FROM memberships)
                 ORDER BY said_ms LIMIT ?1) RETURNING server",
        )?
        .query_map((at_once, server.as_str()), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for server in gone {
        c.prepare_cached("DELETE FROM event_keys WHERE server = ?1")?.execute([&server])?;
        c.prepare_cached("DELETE FROM server_keys WHERE server = ?1")?.execute([&server])?;
    }
    Ok(())
}

fn put_document(
    c: &Connection,
    server: &ServerName,
    document: &str,
    fetched: UnixMillis,
) -> Result<(), StoreError> {
    c.prepare_cached("INSERT OR REPLACE INTO key_documents VALUES (?1, ?2, ?3)")?.execute(params![
        server.as_str(),
        document,
        in_column(fetched)
    ])?;
    c.prepare_cached(
        "DELETE FROM key_documents WHERE rowid IN (
             SELECT rowid FROM key_documents ORDER BY fetched_ms DESC LIMIT -1 OFFSET ?1)",
    )?
    .execute([MAX_DOCUMENTS])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::schema;

    #[test]
    fn keys_of_too_many_servers_go_and_never_of_those_that_share_rooms() {
        let c = Connection::open_in_memory().expect("opens");
        schema::make(&c, schema::KNOWN).expect("is made");
        c.execute_batch(
            "INSERT INTO rooms (room, room_id, version) VALUES (1, '!r:x', '11');
             INSERT INTO events (event, event_id, room, standing, type, sender, origin_server_ts, depth, pdu)
                 VALUES (1, '$e', 1, 0, 'm.room.member', '@u:s0', 0, 0, '{}');
             INSERT INTO memberships (user_id, room, membership, event) VALUES ('@u:s0', 1, 'leave', 1),
                 ('@u:s2:8448', 1, 'join', 1);",
        )
        .expect("is made");
        let put = |name: &str, said| {
            let server = ServerName::parse(name).expect("a name");
            for table in ["server_keys", "event_keys"] {
                let sql = format!("INSERT INTO {table} VALUES (?1, 'ed25519:1', x'00', 0)");
                c.execute(&sql, [name]).expect("is written");
            }
            note_server(&c, &server, UnixMillis(said), (10, 4)).expect("is noted");
        };
        for n in 0..11 {
            put(&if n == 2 { "s2:8448".to_owned() } else { format!("s{n}") }, n);
        }
        let left = |table: &str| -> Vec<String> {
            let sql = format!("SELECT DISTINCT server FROM {table} ORDER BY server");
            let mut rows = c.prepare(&sql).expect("SQL");
            let names = rows.query_map([], |row| row.get(0)).expect("reads");
            names.collect::<rusqlite::Result<_>>().expect("names")
        };
        assert_eq!(left("event_keys").len(), 11, "not with every one");
        put("s11", 1);
        for table in ["key_servers", "server_keys", "event_keys"] {
            assert_eq!(left(table), ["s0", "s10", "s11", "s2:8448", "s6", "s7", "s8", "s9"], "{table}");
        }
    }
}
