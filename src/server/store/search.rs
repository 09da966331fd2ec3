//! Finding events by their words.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{database::Store, error::StoreError, events};
use crate::server::{change::position::TimelinePosition, event::stored::StoredEvent};

/// Rooms that are named to the index, at most: of more, what is found is looked through for those that are meant.
const MAX_NAMED: usize = 200;

/// Found events that are counted, at most.
const MAX_COUNTED: i64 = 10_000;

/// What is looked for, and where.
#[derive(Clone, Debug)]
pub struct Sought {
    /// The words, as the index takes them.
    pub words: String,
    /// The event types.
    pub kinds: Vec<&'static str>,
    /// Whose events; `None`: everybody's.
    pub senders: Option<Vec<OwnedUserId>>,
    /// Whose not.
    pub not_senders: Vec<OwnedUserId>,
    /// Of each room the parts of its timeline that may be looked at: each after its first place, up to and including its
    /// second.
    pub parts: Vec<(OwnedRoomId, Vec<(TimelinePosition, TimelinePosition)>)>,
}

/// In which order, and from where on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// What was said last first; before the event of this number.
    Recent(i64),
    /// What fits best first; after so many.
    Ranked(i64),
}

/// An event that was found.
#[derive(Debug)]
pub struct Hit {
    /// How well it fits; more is better.
    pub rank: f64,
    /// The event.
    pub event: Arc<StoredEvent>,
}

/// What every query asks: the words, `?1`, in events of the types `?2` and the parts `?3`, of the senders `?4` and not of `?5`.
const SOUGHT: &str = "WITH parts (room, low, high) AS MATERIALIZED ( \
    SELECT (SELECT room FROM rooms WHERE room_id = json_extract(value, '$[0]')), \
        json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?3)) ";
const WHERE: &str = "FROM search s JOIN events e ON e.event = s.rowid WHERE search MATCH ?1 \
    AND e.type IN (SELECT value FROM json_each(?2)) AND e.standing = 0 AND e.redacted_by IS NULL \
    AND EXISTS (SELECT 1 FROM parts p WHERE p.room = e.room AND e.timeline > p.low AND e.timeline <= p.high) \
    AND (?4 IS NULL OR e.sender IN (SELECT value FROM json_each(?4))) \
    AND e.sender NOT IN (SELECT value FROM json_each(?5)) ";

/// How a page is put into order: from `?6` on, `?7` of them.
const RECENT: &str = "AND (e.origin_server_ts, s.rowid) \
    < (coalesce((SELECT b.origin_server_ts FROM events b WHERE b.event = ?6), 9223372036854775807), ?6) \
    ORDER BY e.origin_server_ts DESC, s.rowid DESC LIMIT ?7";
const RANKED: &str = "ORDER BY s.rank, s.rowid DESC LIMIT ?7 OFFSET ?6";

fn page(order: &str) -> String {
    format!("{SOUGHT} SELECT e.event, -s.rank {WHERE} {order}")
}

fn count() -> String {
    format!("{SOUGHT} SELECT count(*) FROM (SELECT 1 {WHERE} LIMIT ?6)")
}

/// The words, types, parts and senders, as [`SOUGHT`] has them.
type Bound = (String, String, String, Option<String>, String);

impl Store {
    /// The numbers of up to `limit` events that are sought, and how well each fits; [`Self::hits`] reads them.
    pub async fn search(
        &self,
        sought: &Sought,
        from: Found,
        limit: usize,
    ) -> Result<Vec<(i64, f64)>, StoreError> {
        let (order, from) = match from {
            Found::Recent(before) => (RECENT, before),
            Found::Ranked(after) => (RANKED, after),
        };
        let sql = page(order);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            let (words, kinds, parts, senders, not_senders) = bound(c, sought)?;
            c.prepare_cached(&sql)?
                .query_map((words, kinds, parts, senders, not_senders, from, limit), |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect()
        })
        .await
    }

    /// The events of these numbers that were found, in the same order.
    pub async fn hits(&self, found: &[(i64, f64)]) -> Result<Vec<Hit>, StoreError> {
        let sql = format!("{} WHERE e.event = ?1", events::SELECT);
        self.read(|c| {
            let mut one = c.prepare_cached(&sql)?;
            found
                .iter()
                .map(|(number, rank)| Ok(Hit { rank: *rank, event: one.query_row([number], events::event)? }))
                .collect()
        })
        .await
    }

    /// About how many events are sought; no more than [`MAX_COUNTED`].
    pub async fn count_found(&self, sought: &Sought) -> Result<u64, StoreError> {
        let sql = count();
        let count: i64 = self
            .read(|c| {
                let (words, kinds, parts, senders, not_senders) = bound(c, sought)?;
                let bound = (words, kinds, parts, senders, not_senders, MAX_COUNTED);
                c.prepare_cached(&sql)?.query_row(bound, |row| row.get(0))
            })
            .await?;
        Ok(count.cast_unsigned())
    }
}

fn bound(c: &Connection, sought: &Sought) -> rusqlite::Result<Bound> {
    let json = |value: &serde_json::Value| value.to_string();
    let kinds = json(&sought.kinds.iter().copied().collect());
    let parts = sought.parts.iter().flat_map(|(room, parts)| {
        parts.iter().map(move |(low, high)| serde_json::json!([room.as_str(), low.get(), high.get()]))
    });
    let parts = json(&parts.collect());
    let users = |users: &[OwnedUserId]| json(&users.iter().map(|user| user.as_str()).collect());
    let (senders, not_senders) = (sought.senders.as_deref().map(users), users(&sought.not_senders));
    let words = format!("text : ({})", sought.words);
    if sought.parts.len() > MAX_NAMED {
        return Ok((words, kinds, parts, senders, not_senders));
    }
    let mut number = c.prepare_cached("SELECT room FROM rooms WHERE room_id = ?1")?;
    let mut named = Vec::new();
    for (room, _) in &sought.parts {
        let room: &RoomId = room;
        let found: Option<i64> = number.query_row([room.as_str()], |row| row.get(0)).optional()?;
        named.extend(found.map(|number| format!("r{number}")));
    }
    let words = format!("({words}) AND room : ({})", named.join(" OR "));
    Ok((words, kinds, parts, senders, not_senders))
}

/// Lets an event of this type and state key be found by its words, if it has any.
pub(super) fn index(
    c: &Connection,
    (number, room): (i64, i64),
    (kind, state_key): (&str, Option<&str>),
    is_edit: bool,
    pdu: &str,
) -> rusqlite::Result<()> {
    let Some(text) = text((kind, state_key), is_edit, pdu) else { return Ok(()) };
    c.prepare_cached("INSERT INTO search (rowid, text, room) VALUES (?1, ?2, ?3)")?.execute((
        number,
        text,
        format!("r{room}"),
    ))?;
    Ok(())
}

/// Lets an event not be found any longer.
pub(super) fn forget(c: &Connection, number: i64) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM search WHERE rowid = ?1")?.execute([number])?;
    Ok(())
}

/// What an event is found by.
fn text(kind: (&str, Option<&str>), is_edit: bool, pdu: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Pdu<'a> {
        #[serde(borrow)]
        content: Content<'a>,
    }
    /// Of what is none of the event's own kind anything may be there.
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow, default)]
        body: Option<&'a RawValue>,
        #[serde(borrow, default)]
        name: Option<&'a RawValue>,
        #[serde(borrow, default)]
        topic: Option<&'a RawValue>,
        #[serde(borrow, default, rename = "m.new_content")]
        new: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct New<'a> {
        #[serde(borrow, default)]
        body: Option<&'a RawValue>,
    }
    fn as_text(value: &RawValue) -> Option<String> {
        serde_json::from_str(value.get()).ok()
    }
    let wanted = match kind {
        ("m.room.message", None) => 0,
        ("m.room.name", Some("")) => 1,
        ("m.room.topic", Some("")) => 2,
        _ => return None,
    };
    let Content { body, name, topic, new: edited } = serde_json::from_str::<Pdu<'_>>(pdu).ok()?.content;
    let edited = edited.filter(|_| is_edit).and_then(|new| serde_json::from_str::<New<'_>>(new.get()).ok());
    let text = match wanted {
        0 => edited.and_then(|new| as_text(new.body?)).or_else(|| as_text(body?)),
        1 => as_text(name?),
        _ => as_text(topic?),
    };
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use ruma::{OwnedRoomId, owned_server_name};
    use rusqlite::StatementStatus;

    use super::*;
    use crate::server::store::{Access, Store};

    const ROOMS: i64 = 1_000;
    const MESSAGES: i64 = 20;

    /// Rooms with messages, each of which has the word "the" in it and nothing else in common.
    fn fill(c: &super::super::tx::Tx<'_>) -> Result<(), StoreError> {
        for room in 1..=ROOMS {
            c.prepare_cached("INSERT INTO rooms (room, room_id, version) VALUES (?1, ?2, '11')")?
                .execute((room, format!("!r{room}:x")))?;
            for n in 0..MESSAGES {
                let number = room * MESSAGES + n;
                c.prepare_cached(
                    "INSERT INTO events (event, event_id, position, timeline, room, standing, type, sender, \
                     origin_server_ts, depth, pdu) VALUES (?1, '$' || ?1, ?1, ?1, ?2, 0, 'm.room.message', '@a:x', 1, 1, '{}')",
                )?
                .execute((number, room))?;
                c.prepare_cached("INSERT INTO search (rowid, text, room) VALUES (?1, ?2, ?3)")?.execute((
                    number,
                    format!("the w{number}"),
                    format!("r{room}"),
                ))?;
            }
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_word_that_is_everywhere_costs_a_bounded_number_of_steps_for_each_message_with_it() {
        let folder = std::env::temp_dir().join(format!("pilotlight-search-{}", std::process::id()));
        let server = owned_server_name!("x");
        let store = Store::open(&folder, &server, Access::Sole, Default::default()).expect("opens");
        store.write(fill).await.expect("is written");
        let parts = (1..=ROOMS).map(|room| {
            let room = OwnedRoomId::try_from(format!("!r{room}:x")).expect("an ID");
            (room, vec![(TimelinePosition::START, TimelinePosition::END)])
        });
        let parts: Vec<_> = parts.collect();
        let sought = |words: &str, parts: &[_]| Sought {
            words: words.to_owned(),
            kinds: vec!["m.room.message"],
            senders: None,
            not_senders: Vec::new(),
            parts: parts.to_vec(),
        };
        let all = ROOMS * MESSAGES;
        // What was done on this connection for all searches until then.
        let steps = async || -> i64 {
            let of_all = |c: &Connection| {
                let mut sum = 0;
                for order in [RECENT, RANKED] {
                    let sql = page(order);
                    sum += i64::from(c.prepare_cached(&sql)?.reset_status(StatementStatus::VmStep));
                }
                sum += i64::from(c.prepare_cached(&count())?.reset_status(StatementStatus::VmStep));
                Ok(sum)
            };
            store.read(of_all).await.expect("can be read")
        };
        let everywhere = sought("\"the\"*", &parts);
        steps().await;
        let found = store.search(&everywhere, Found::Ranked(0), 1_000).await.expect("can be read");
        let ranked = steps().await;
        assert_eq!(found.len(), 1_000);
        let found = store.search(&everywhere, Found::Recent(i64::MAX), 1_000).await.expect("can be read");
        let recent = steps().await;
        assert_eq!(found.len(), 1_000);
        assert_eq!(store.count_found(&everywhere).await.expect("can be read"), MAX_COUNTED.cast_unsigned());
        let counted = steps().await;
        let few = sought("\"w25\"", &parts);
        assert_eq!(store.search(&few, Found::Ranked(0), 1_000).await.expect("can be read").len(), 1);
        let one = steps().await;
        eprintln!(
            "{all} found: {ranked} steps ranked, {recent} the last 1,000, {counted} counted; one found: {one}"
        );
        store.close().await;
        std::fs::remove_dir_all(folder).expect("can be removed");
        // What does not depend on what is found: a few steps for each room.
        let rooms = 60 * ROOMS;
        assert!(ranked < rooms + 100 * all, "{ranked}");
        assert!(recent < rooms + 100 * all, "{recent}");
        assert!(counted < rooms + 100 * MAX_COUNTED, "{counted}");
        assert!(one < rooms, "{one}");
    }

    #[test]
    fn a_message_is_found_by_its_text_whatever_else_is_in_it() {
        for (content, is_edit, found) in [
            (r#"{"body":"a"}"#, false, Some("a")),
            (r#"{"body":"a\n\u00e4","name":5,"topic":{"x":[]},"m.new_content":null}"#, false, Some("a\nä")),
            (r#"{"body":"a","m.new_content":7}"#, true, Some("a")),
            (r#"{"body":"a","m.new_content":{"body":{}}}"#, true, Some("a")),
            (r#"{"body":"a","m.new_content":{"body":"b"}}"#, true, Some("b")),
            (r#"{"body":"a","m.new_content":{"body":"b"}}"#, false, Some("a")),
            (r#"{"body":["a"],"name":"n"}"#, false, None),
            (r#"{"body":null}"#, false, None),
            (r#"{"body":""}"#, false, None),
        ] {
            let pdu = format!(r#"{{"content":{content},"type":"m.room.message"}}"#);
            assert_eq!(text(("m.room.message", None), is_edit, &pdu).as_deref(), found, "{content}");
        }
        let named = r#"{"content":{"name":"n","body":3}}"#;
        assert_eq!(text(("m.room.name", Some("")), false, named).as_deref(), Some("n"));
    }
}
