//! Events as rows: how they get their places, and who is what in a room by them.

use std::sync::Arc;

use ruma::{EventId, OwnedUserId, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{
    error::StoreError,
    events,
    graph::EventStanding,
    room_change::{NewEvent, NotCommitted},
    search,
};
use crate::server::{
    change::{
        feed::MemberIs,
        position::{LogPosition, TimelinePosition},
    },
    event::stored::{Membership, StoredEvent},
};

/// Where in the log, and in the room's timeline.
type EventPlace = (LogPosition, TimelinePosition);

/// The event of a number, as readers know it.
pub(super) fn numbered(c: &Connection, number: i64) -> rusqlite::Result<Arc<StoredEvent>> {
    let sql = format!("{} WHERE e.event = ?1", events::SELECT);
    c.prepare_cached(&sql)?.query_row([number], events::event)
}

/// Says what a user is in a room from an event on, which became state at a position.
pub(super) fn set_membership(
    c: &Connection,
    room: i64,
    user: &str,
    (membership, invite_state): (&str, Option<&str>),
    (event, position): (i64, LogPosition),
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO memberships (user_id, room, membership, event, invite_state, position) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET membership = ?3, event = ?4, \
         invite_state = ?5, position = ?6, forgotten = 0",
    )?
    .execute((user, room, membership, event, invite_state, position))?;
    Ok(())
}

/// What a user is in a room by a member event that became, or is no longer, current.
pub(super) fn set_member(
    c: &Connection,
    room: i64,
    user: &str,
    event: Option<i64>,
    (position, invite_state): (LogPosition, Option<&str>),
) -> Result<Option<MemberIs>, NotCommitted> {
    let Ok(user) = OwnedUserId::try_from(user) else { return Ok(None) };
    let said = match event {
        Some(event) => c
            .prepare_cached(
                "SELECT json_extract(pdu, '$.content.membership'), sender, unasked FROM events WHERE event = ?1",
            )?
            .query_row([event], |row| {
                let word: Option<String> = row.get(0)?;
                let by: OwnedUserId = events::parse(1, row.get_ref(1)?.as_str()?)?;
                let is_asked = !row.get::<_, bool>(2)?;
                Ok(word.and_then(|word| Membership::parse(&word)).map(|is| (event, is, by, is_asked)))
            })?,
        None => None,
    };
    let said = match said {
        Some((event, is, by, true)) => Some((event, is, by)),
        // It invites nobody; who was in the room is not in it any longer all the same.
        Some((.., false)) if !is_in_or_kept_out(c, room, &user)? => return Ok(None),
        Some((.., false)) | None => None,
    };
    Ok(Some(match said {
        Some((event, membership, by)) => {
            set_membership(c, room, user.as_str(), (membership.as_str(), invite_state), (event, position))?;
            MemberIs { user, membership, by, position }
        }
        None => {
            c.prepare_cached("DELETE FROM memberships WHERE room = ?1 AND user_id = ?2")?
                .execute((room, user.as_str()))?;
            let by = user.clone();
            MemberIs { user, membership: Membership::Leave, by, position }
        }
    }))
}

/// Whether a user is noted as in a room, as who knocks there, or as banned.
fn is_in_or_kept_out(c: &Connection, room: i64, user: &UserId) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM memberships WHERE room = ?1 AND user_id = ?2 AND membership IN ('join', 'knock', 'ban')",
    )?
    .exists((room, user.as_str()))
}

/// Inserts an event, with its place in the log and in its room's timeline if it has one, and what it names; answers with
/// its number.
pub(super) fn insert(
    c: &Connection,
    room: i64,
    new: &NewEvent,
    standing: EventStanding,
    (place, (state_before, replaces)): (Option<EventPlace>, (Option<i64>, Option<i64>)),
) -> rusqlite::Result<i64> {
    let (position, timeline) = place.unzip();
    c.prepare_cached(
        "INSERT INTO events (event_id, position, timeline, room, standing, type, state_key, sender, \
         origin_server_ts, depth, pdu, state_before, replaces, relates_to, rel_type, device_id, transaction_id, ours, \
         unasked, hidden) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    )?
    .execute(rusqlite::params![
        new.event_id.as_str(),
        position,
        timeline,
        room,
        standing.number(),
        new.kind,
        new.state_key,
        new.sender.as_str(),
        events::clamp(new.origin_server_ts),
        events::clamp(new.depth),
        new.pdu,
        state_before,
        replaces,
        new.relates_to.as_ref().map(|(event, _)| event),
        new.relates_to.as_ref().and_then(|(_, how)| how.as_ref()),
        new.transaction.as_ref().map(|(device, _)| device.as_str()),
        new.transaction.as_ref().map(|(_, transaction)| transaction.as_str()),
        new.on_behalf,
        new.unasked,
        new.hidden,
    ])?;
    let number = c.last_insert_rowid();
    let mut edges = c.prepare_cached("INSERT OR IGNORE INTO event_edges VALUES (?1, ?2)")?;
    for event_id in &new.prev_events {
        edges.execute((number, event_id.as_str()))?;
    }
    let mut auth = c.prepare_cached("INSERT OR IGNORE INTO event_auth VALUES (?1, ?2)")?;
    for event_id in &new.auth_events {
        auth.execute((number, event_id.as_str()))?;
    }
    if standing != EventStanding::Accepted {
        return Ok(number);
    }
    let is_edit = new.relates_to.as_ref().is_some_and(|(_, how)| how.as_deref() == Some("m.replace"));
    search::index(c, (number, room), (&new.kind, new.state_key.as_deref()), is_edit, &new.pdu)?;
    Ok(number)
}

/// An event that was known as an outlier gets its standing, and the state before it.
pub(super) fn promote(
    c: &Connection,
    number: i64,
    new: &NewEvent,
    standing: EventStanding,
    (before, replaces): (Option<i64>, Option<i64>),
) -> rusqlite::Result<i64> {
    let room: i64 = c
        .prepare_cached(
            "UPDATE events SET standing = ?2, state_before = ?3, replaces = ?4, ours = ?5, unasked = ?6, \
             hidden = ?7 WHERE event = ?1 RETURNING room",
        )?
        .query_row(
            (number, standing.number(), before, replaces, new.on_behalf, new.unasked, new.hidden),
            |row| row.get(0),
        )?;
    if standing == EventStanding::Accepted {
        let is_edit = new.relates_to.as_ref().is_some_and(|(_, how)| how.as_deref() == Some("m.replace"));
        search::index(c, (number, room), (&new.kind, new.state_key.as_deref()), is_edit, &new.pdu)?;
    }
    Ok(number)
}

/// A place right after an event of a timeline, or before all of it.
pub(super) fn late(
    c: &Connection,
    room: i64,
    after: Option<&EventId>,
) -> Result<TimelinePosition, NotCommitted> {
    let low: Option<i64> = match after {
        Some(after) => c
            .prepare_cached("SELECT timeline FROM events WHERE event_id = ?1 AND room = ?2 AND standing = 0")?
            .query_row((after.as_str(), room), |row| row.get(0))
            .optional()?
            .ok_or(NotCommitted::Stale)?,
        None => None,
    };
    let high: i64 = c
        .prepare_cached(
            "SELECT min(timeline) FROM events WHERE room = ?1 AND standing = 0 AND timeline > ?2",
        )?
        .query_row((room, low.unwrap_or(i64::MIN)), |row| row.get::<_, Option<i64>>(0))?
        // What comes live later stands at least so far after what is there.
        .or(low.map(|low| low.saturating_add(TimelinePosition::GAP)))
        .ok_or(NotCommitted::Stale)?;
    // In the middle, so that there is room on both sides.
    let place = low.map_or(high - TimelinePosition::GAP, |low| low + (high - low) / 2);
    if low == Some(place) {
        let after = after.map(ToString::to_string).unwrap_or_default();
        return Err(StoreError::Corrupt(format!("no room in a timeline after {after}")).into());
    }
    Ok(TimelinePosition::new(place))
}

/// Places between an event and the one before it that is fetched after it: so many that what comes between those finds
/// room as well, and that thousands are fetched before two live neighbours have no more between them.
const STEP: i64 = 64;

/// A place before an event of a timeline, or before all of it, with room for `steps - 1` events in between.
pub(super) fn before_one(
    c: &Connection,
    room: i64,
    follower: Option<&EventId>,
    steps: usize,
) -> Result<TimelinePosition, NotCommitted> {
    let high: Option<i64> = match follower {
        Some(follower) => c
            .prepare_cached("SELECT timeline FROM events WHERE event_id = ?1 AND room = ?2 AND standing = 0")?
            .query_row((follower.as_str(), room), |row| row.get(0))
            .optional()?,
        None => c
            .prepare_cached("SELECT min(timeline) FROM events WHERE room = ?1 AND standing = 0")?
            .query_row([room], |row| row.get(0))?,
    };
    let high = high.ok_or(NotCommitted::Stale)?;
    let low: Option<i64> = c
        .prepare_cached(
            "SELECT max(timeline) FROM events WHERE room = ?1 AND standing = 0 AND timeline < ?2",
        )?
        .query_row((room, high), |row| row.get(0))?;
    let steps = i64::try_from(steps.max(1)).unwrap_or(i64::MAX);
    let Some(low) = low else {
        return Ok(TimelinePosition::new(high.saturating_sub(steps.saturating_mul(TimelinePosition::GAP))));
    };
    let place = high.saturating_sub(steps.saturating_mul(STEP));
    let place = if place > low { place } else { low + (high - low) / steps.saturating_add(1).min(1 << 20) };
    if place <= low {
        return Err(StoreError::Corrupt("no room in a timeline between two events".to_owned()).into());
    }
    Ok(TimelinePosition::new(place))
}
