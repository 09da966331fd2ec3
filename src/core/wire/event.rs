//! Events as rooms, ephemeral lists and account data carry them.

use std::borrow::Cow;

use super::object::Object;
use super::read::{Malformed, Reader};

/// One event of any kind. What a kind lacks stays empty: stripped state has no ID, a receipt no sender.
#[derive(Debug, Default)]
pub struct Event<'a> {
    /// `m.room.message`, …
    pub kind: Cow<'a, str>,
    /// Who sent it.
    pub sender: Cow<'a, str>,
    /// The room it is of, where that is not said around it.
    pub room_id: Option<Cow<'a, str>>,
    /// Its ID; none on stripped, ephemeral and account data events.
    pub event_id: Option<Cow<'a, str>>,
    /// Present, if maybe empty, on state events.
    pub state_key: Option<Cow<'a, str>>,
    /// The content, unread: always an object.
    pub content: &'a str,
    /// Milliseconds since the epoch, by the sender's server.
    pub origin_server_ts: Option<u64>,
    /// How old it was when the server told it, by the server's own clock.
    pub age_ms: Option<u64>,
    /// The action ID, only on the device that sent the event (M10).
    pub action_id: Option<u64>,
    /// The content that a state event replaced, unread.
    pub prev_content: Option<&'a str>,
    /// The latest edit of the event, an event too, which the server sends along.
    pub bundled_edit: Option<&'a str>,
    /// The event comes already redacted.
    pub redacted: bool,
    /// What it was an edit of before it was redacted, where the server says so.
    pub edited: Option<Cow<'a, str>>,
    /// The event that a redaction names, up to room version 10.
    pub(super) redacts: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// Reads an event; `None` for what has no type or is no object.
    pub fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        let mut event = Self { content: "{}", ..Self::default() };
        if !reader.enter_object()? {
            return Ok(None);
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "type" => event.kind = reader.text()?.unwrap_or_default(),
                "sender" => event.sender = reader.text()?.unwrap_or_default(),
                "room_id" => event.room_id = reader.text()?,
                "event_id" => event.event_id = reader.text()?,
                "state_key" => event.state_key = reader.text()?,
                "content" => event.content = Some(reader.raw()?).filter(|raw| is_object(raw)).unwrap_or("{}"),
                "origin_server_ts" => event.origin_server_ts = reader.raw()?.parse().ok(),
                "unsigned" => event.read_unsigned(reader)?,
                "redacts" => event.redacts = reader.text()?,
                _ => {
                    reader.raw()?;
                }
            }
        }
        Ok(Some(event).filter(|event| !event.kind.is_empty()))
    }

    /// Reads an event that is a text of its own.
    pub fn parse(json: &'a str) -> Option<Self> {
        Self::read(&mut Reader::new(json)).ok()?
    }

    /// The content's fields.
    pub fn content(&self) -> Object<'a> {
        Object::parse_or_empty(self.content)
    }

    /// The event this redaction names, wherever its room version keeps that.
    pub fn redacted_event(&self) -> Option<String> {
        match &self.redacts {
            Some(id) => Some(id.to_string()),
            None => self.content().string("redacts"),
        }
    }

    fn read_unsigned(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if !reader.enter_object()? {
            return Ok(());
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "age" => self.age_ms = reader.raw()?.parse().ok(),
                "transaction_id" => self.action_id = reader.text()?.and_then(|id| id.parse().ok()),
                "prev_content" => self.prev_content = Some(reader.raw()?).filter(|raw| is_object(raw)),
                "m.relations" => {
                    let edit = Object::read(reader)?.raw("m.replace");
                    self.bundled_edit = edit.filter(|raw| is_object(raw));
                }
                "org.pilotlight.edits" => self.edited = reader.text()?,
                "redacted_because" => self.redacted = is_object(reader.raw()?),
                _ => {
                    reader.raw()?;
                }
            }
        }
        Ok(())
    }
}

/// A list of events, each unread.
#[derive(Debug, Default)]
pub struct EventList<'a>(pub Vec<Event<'a>>);

impl<'a> EventList<'a> {
    /// Reads `{"events": […]}`, leaving out what is no event.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut list = Self::default();
        if reader.enter_object()? {
            while let Some(key) = reader.next_key()? {
                match &*key {
                    "events" => list = Self::read_array(reader)?,
                    _ => {
                        reader.raw()?;
                    }
                }
            }
        }
        Ok(list)
    }

    /// Reads an array of events, leaving out what is none.
    pub fn read_array(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut events = Vec::new();
        if reader.enter_array()? {
            while reader.next_element()? {
                events.extend(Event::read(reader)?);
            }
        }
        Ok(Self(events))
    }
}

/// Reads an array of events that is a text of its own.
pub fn events(json: &str) -> Vec<Event<'_>> {
    EventList::read_array(&mut Reader::new(json)).unwrap_or_default().0
}

fn is_object(raw: &str) -> bool {
    raw.starts_with('{')
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_no_event_costs_only_itself() {
        let json = r#"[{"type":"a"},{"type":5},7,null,{"sender":"@a:x"},{"type":"b","content":[]},{"type":"c","origin_server_ts":-1}]"#;
        let events = events(json);
        let kinds: Vec<&str> = events.iter().map(|event| &*event.kind).collect();
        assert_eq!(kinds, ["a", "b", "c"]);
        assert_eq!(events[1].content, "{}");
        assert_eq!(events[2].origin_server_ts, None);
    }

    #[test]
    fn a_redaction_names_its_event_in_either_place() {
        let old = Event::parse(r#"{"type":"m.room.redaction","redacts":"$a"}"#).unwrap();
        let new = Event::parse(r#"{"type":"m.room.redaction","content":{"redacts":"$b"}}"#).unwrap();
        assert_eq!(old.redacted_event().as_deref(), Some("$a"));
        assert_eq!(new.redacted_event().as_deref(), Some("$b"));
    }

    #[test]
    fn only_an_integer_is_an_action_id() {
        for (id, expected) in
            [(r#""12""#, Some(12)), (r#""m12""#, None), (r#""-1""#, None), ("null", None), ("12", None)]
        {
            let json = format!(r#"{{"type":"t","unsigned":{{"age":5,"transaction_id":{id}}}}}"#);
            assert_eq!(Event::parse(&json).unwrap().action_id, expected, "{id}");
        }
    }
}
