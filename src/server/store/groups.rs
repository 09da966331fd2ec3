//! State groups: the state at one point of a room each, as the group before it with some events put in.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::state::CHAIN;

/// State, by type and key: the numbers of its events.
pub(super) type Numbers = BTreeMap<(String, String), i64>;

/// The state of a group.
pub(super) fn load(c: &Connection, group: i64) -> rusqlite::Result<Numbers> {
    let mut previous = c.prepare_cached("SELECT previous FROM state_groups WHERE state_group = ?1")?;
    let mut deltas = c.prepare_cached(
        "SELECT e.type, e.state_key, e.event FROM state_deltas d JOIN events e ON e.event = d.event \
         WHERE d.state_group = ?1",
    )?;
    let (mut state, mut next) = (Numbers::new(), Some(group));
    while let Some(group) = next {
        let mut rows = deltas.query([group])?;
        while let Some(row) = rows.next()? {
            // What was put in later stands.
            state.entry((row.get(0)?, row.get(1)?)).or_insert(row.get(2)?);
        }
        next = previous.query_row([group], |row| row.get(0))?;
    }
    Ok(state)
}

/// The event of one type and key in a group of a room.
pub(super) fn find(
    c: &Connection,
    (room, group): (i64, i64),
    kind: &str,
    key: &str,
) -> rusqlite::Result<Option<i64>> {
    let current: Option<i64> = c
        .prepare_cached("SELECT state_group FROM rooms WHERE room = ?1")?
        .query_row([room], |row| row.get(0))?;
    if current == Some(group) {
        return super::state::current_number(c, room, kind, key);
    }
    // Of one key there are few events, so each group on the way back is asked for these.
    let of_key: Vec<i64> = c
        .prepare_cached("SELECT event FROM events WHERE room = ?1 AND type = ?2 AND state_key = ?3")?
        .query_map((room, kind, key), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if of_key.is_empty() {
        return Ok(None);
    }
    let mut previous = c.prepare_cached("SELECT previous FROM state_groups WHERE state_group = ?1")?;
    let mut has = c.prepare_cached("SELECT 1 FROM state_deltas WHERE state_group = ?1 AND event = ?2")?;
    let mut next = Some(group);
    while let Some(group) = next {
        for event in &of_key {
            if has.exists([group, *event])? {
                return Ok(Some(*event));
            }
        }
        next = previous.query_row([group], |row| row.get(0))?;
    }
    Ok(None)
}

/// The group of this state: one of `near` if it has just that, else a new one that stands on the nearest of them.
pub(super) fn of_state(
    c: &Connection,
    state: &Numbers,
    near: impl IntoIterator<Item = i64>,
) -> rusqlite::Result<i64> {
    let mut nearest: Option<(i64, Vec<i64>)> = None;
    for group in near {
        let base = load(c, group)?;
        if base.keys().any(|key| !state.contains_key(key)) {
            continue;
        }
        let different = state.iter().filter(|(key, event)| base.get(*key) != Some(event));
        let different: Vec<i64> = different.map(|(_, event)| *event).collect();
        if different.is_empty() {
            return Ok(group);
        }
        if nearest.as_ref().is_none_or(|(_, events)| events.len() > different.len()) {
            nearest = Some((group, different));
        }
    }
    match nearest {
        Some((group, different)) if different.len() <= state.len() / 2 => {
            upon(c, group, &different, i64::try_from(state.len()).unwrap_or(i64::MAX))
        }
        _ => whole(c, state),
    }
}

/// The group of what `group` is with one event put in.
pub(super) fn with(
    c: &Connection,
    room: i64,
    group: Option<i64>,
    (kind, key): (&str, &str),
    event: i64,
) -> rusqlite::Result<i64> {
    let Some(group) = group else {
        return whole(c, &Numbers::from([((kind.to_owned(), key.to_owned()), event)]));
    };
    let is_new = find(c, (room, group), kind, key)?.is_none();
    let entries: i64 = c
        .prepare_cached("SELECT entries FROM state_groups WHERE state_group = ?1")?
        .query_row([group], |row| row.get(0))?;
    upon(c, group, &[event], entries + i64::from(is_new))
}

/// A new group: `group` with some events put in, so that it has so many entries.
fn upon(c: &Connection, group: i64, put_in: &[i64], entries: i64) -> rusqlite::Result<i64> {
    let chain: Option<i64> = c
        .prepare_cached("SELECT chain FROM state_groups WHERE state_group = ?1")?
        .query_row([group], |row| row.get(0))
        .optional()?;
    let chain = chain.unwrap_or_default();
    if chain >= CHAIN.max(entries) {
        let mut state = load(c, group)?;
        let mut key = c.prepare_cached("SELECT type, state_key FROM events WHERE event = ?1")?;
        for event in put_in {
            state.insert(key.query_row([event], |row| Ok((row.get(0)?, row.get(1)?)))?, *event);
        }
        return whole(c, &state);
    }
    add(c, Some(group), (chain + 1, entries), put_in.iter().copied())
}

/// A new group of a room's current state.
pub(super) fn of_current(c: &Connection, room: i64) -> rusqlite::Result<i64> {
    c.prepare_cached(
        "INSERT INTO state_groups (previous, chain, entries) \
         SELECT NULL, 0, count(*) FROM current_state WHERE room = ?1",
    )?
    .execute([room])?;
    let group = c.last_insert_rowid();
    c.prepare_cached(
        "INSERT INTO state_deltas SELECT ?1, event FROM current_state WHERE room = ?2 ORDER BY event",
    )?
    .execute((group, room))?;
    Ok(group)
}

/// A new group without one before it.
fn whole(c: &Connection, state: &Numbers) -> rusqlite::Result<i64> {
    let entries = i64::try_from(state.len()).unwrap_or(i64::MAX);
    add(c, None, (0, entries), state.values().copied())
}

fn add(
    c: &Connection,
    previous: Option<i64>,
    (chain, entries): (i64, i64),
    put_in: impl Iterator<Item = i64>,
) -> rusqlite::Result<i64> {
    c.prepare_cached("INSERT INTO state_groups (previous, chain, entries) VALUES (?1, ?2, ?3)")?
        .execute((previous, chain, entries))?;
    let group = c.last_insert_rowid();
    let mut delta = c.prepare_cached("INSERT INTO state_deltas VALUES (?1, ?2)")?;
    for event in put_in {
        delta.execute((group, event))?;
    }
    Ok(group)
}
