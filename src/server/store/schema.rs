//! The schema, version by version: what a file of each has, and how one is brought up to date.

use rusqlite::Connection;

use super::checked_file::APPLICATION_ID;

/// Schema steps; step `i` brings version `i` to `i + 1`. Released steps never change.
const MIGRATIONS: &[&[&str]] = &[
    &[
        include_str!("schema/log.sql"),
        include_str!("schema/accounts.sql"),
        include_str!("schema/account_data.sql"),
        include_str!("schema/device_keys.sql"),
        include_str!("schema/presence.sql"),
        include_str!("schema/contacts.sql"),
        include_str!("schema/list_outbox.sql"),
        include_str!("schema/receipts.sql"),
        include_str!("schema/rooms.sql"),
        include_str!("schema/to_device.sql"),
        include_str!("schema/federation.sql"),
    ],
    &[include_str!("schema/relations.sql")],
    &[include_str!("schema/typing.sql")],
    &[
        include_str!("schema/media.sql"),
        include_str!("schema/profile_fields.sql"),
        include_str!("schema/app_services.sql"),
        include_str!("schema/push.sql"),
        include_str!("schema/search.sql"),
        include_str!("schema/key_backup.sql"),
        include_str!("schema/openid.sql"),
        include_str!("schema/reports.sql"),
        include_str!("schema/guests.sql"),
        include_str!("schema/refreshes.sql"),
    ],
    &[
        include_str!("schema/other_keys.sql"),
        include_str!("schema/graph.sql"),
        include_str!("schema/receive.sql"),
        include_str!("schema/devices_across.sql"),
        include_str!("schema/destinations.sql"),
    ],
];

/// The schema version that this binary writes.
pub(super) const KNOWN: u32 = MIGRATIONS.len() as u32;

/// Brings the schema from version `found` up to date: all of it or, after a power cut, nothing.
pub(super) fn migrate(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    if found == KNOWN {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for sql in MIGRATIONS.iter().skip(found as usize).copied().flatten() {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", KNOWN)?;
    transaction.commit()
}

/// Makes in an empty database what `version` has, by its steps.
pub(super) fn make(empty: &Connection, version: u32) -> rusqlite::Result<()> {
    MIGRATIONS.iter().take(version as usize).copied().flatten().try_for_each(|sql| empty.execute_batch(sql))
}

/// Whether the database has what `version` has, and nothing else.
pub(super) fn is_of_version(connection: &Connection, version: u32) -> rusqlite::Result<bool> {
    Ok(shape(connection)? == shape_of_version(version)?)
}

/// The tables and indexes, in words.
fn shape(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare(
            "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The same of `version`.
fn shape_of_version(version: u32) -> rusqlite::Result<Vec<(String, String)>> {
    let empty = Connection::open_in_memory()?;
    make(&empty, version)?;
    shape(&empty)
}
