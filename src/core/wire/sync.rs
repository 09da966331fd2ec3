//! The answer to `GET /_matrix/client/v3/sync`, as which a write of the held stream is read too.

use std::borrow::Cow;

use super::event::{Event, EventList};
use super::object::Object;
use super::presence::PresenceEvent;
use super::read::{Malformed, Reader};

/// The answer to `/sync`.
#[derive(Debug, Default)]
pub struct SyncBody<'a> {
    /// The token to go on from.
    pub next_batch: Cow<'a, str>,
    /// Joined rooms by ID.
    pub join: Vec<(Cow<'a, str>, JoinedRoom<'a>)>,
    /// Rooms the user is invited to.
    pub invite: Object<'a>,
    /// Rooms the user asked to join.
    pub knock: Object<'a>,
    /// Rooms left, or kicked or banned from.
    pub leave: Object<'a>,
    /// `m.presence` events.
    pub presence: Vec<PresenceEvent<'a>>,
    /// The user's own data.
    pub account_data: Vec<Event<'a>>,
}

/// What is new in a room.
#[derive(Debug, Default)]
pub struct JoinedRoom<'a> {
    /// What a name is computed from.
    pub summary: Object<'a>,
    /// State before the timeline.
    pub state: Vec<Event<'a>>,
    /// New events.
    pub timeline: Timeline<'a>,
    /// Typing and receipts.
    pub ephemeral: Vec<Event<'a>>,
    /// Counts of what the user has not read.
    pub unread_notifications: Object<'a>,
}

/// New events of one room.
#[derive(Debug, Default)]
pub struct Timeline<'a> {
    /// Oldest first.
    pub events: Vec<Event<'a>>,
    /// There are events between the last answer and these.
    pub limited: bool,
    /// The token from which to scroll back past the first of these.
    pub prev_batch: Option<Cow<'a, str>>,
}

impl<'a> SyncBody<'a> {
    /// Reads an answer, which must at least say where to go on.
    pub fn parse(json: &'a str) -> Result<Self, Malformed> {
        let mut reader = Reader::new(json);
        let mut body = Self::default();
        body.read(&mut reader)?;
        reader.end()?;
        if body.next_batch.is_empty() { Err(Malformed) } else { Ok(body) }
    }

    /// Reads an answer, adding what it says to what is here.
    pub(super) fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if reader.enter_object()? {
            while let Some(key) = reader.next_key()? {
                match &*key {
                    "next_batch" => self.next_batch = reader.text()?.unwrap_or_default(),
                    "rooms" => self.read_rooms(reader)?,
                    "presence" => self.read_presence(reader)?,
                    "account_data" => self.account_data.append(&mut EventList::read(reader)?.0),
                    _ => {
                        reader.raw()?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn read_rooms(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if !reader.enter_object()? {
            return Ok(());
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "join" => {
                    if reader.enter_object()? {
                        while let Some(id) = reader.next_key()? {
                            self.join.push((id, JoinedRoom::read(reader)?));
                        }
                    }
                }
                "invite" => self.invite.append(Object::read(reader)?),
                "knock" => self.knock.append(Object::read(reader)?),
                "leave" => self.leave.append(Object::read(reader)?),
                _ => {
                    reader.raw()?;
                }
            }
        }
        Ok(())
    }

    fn read_presence(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if !reader.enter_object()? {
            return Ok(());
        }
        while let Some(key) = reader.next_key()? {
            if key == "events" && reader.enter_array()? {
                while reader.next_element()? {
                    self.presence.extend(PresenceEvent::read(reader)?);
                }
            } else if key != "events" {
                reader.raw()?;
            }
        }
        Ok(())
    }
}

impl<'a> JoinedRoom<'a> {
    /// Reads a room that is a text of its own.
    pub fn parse(json: &'a str) -> Option<Self> {
        Self::read(&mut Reader::new(json)).ok()
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut room = Self::default();
        if reader.enter_object()? {
            while let Some(key) = reader.next_key()? {
                match &*key {
                    "summary" => room.summary = Object::read(reader)?,
                    "state" => room.state = EventList::read(reader)?.0,
                    "timeline" => room.timeline = Timeline::read(reader)?,
                    "ephemeral" => room.ephemeral = EventList::read(reader)?.0,
                    "unread_notifications" => room.unread_notifications = Object::read(reader)?,
                    _ => {
                        reader.raw()?;
                    }
                }
            }
        }
        Ok(room)
    }
}

impl<'a> Timeline<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut timeline = Self::default();
        if reader.enter_object()? {
            while let Some(key) = reader.next_key()? {
                match &*key {
                    "events" => timeline.events = EventList::read_array(reader)?.0,
                    "limited" => timeline.limited = reader.raw()? == "true",
                    "prev_batch" => timeline.prev_batch = reader.text()?,
                    _ => {
                        reader.raw()?;
                    }
                }
            }
        }
        Ok(timeline)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn an_answer_of_odd_shapes_is_read_as_far_as_it_goes() {
        let body = SyncBody::parse(
            r#"{"next_batch":"s1","presence":{"events":7,"x":[]},"account_data":null,"to_device":{"events":[{}]},
            "rooms":{"join":{"!a:x":{"timeline":{"events":[{"type":"t","event_id":"$1"}],"limited":true,"prev_batch":"p"}},
            "!b:x":[]},"invite":[],"leave":{"!c:x":{}}}}"#,
        )
        .unwrap();
        assert_eq!((&*body.next_batch, body.presence.len(), body.join.len()), ("s1", 0, 2));
        let timeline = &body.join[0].1.timeline;
        assert_eq!(
            (timeline.events.len(), timeline.limited, timeline.prev_batch.as_deref()),
            (1, true, Some("p"))
        );
        assert_eq!(body.leave.fields().count(), 1);
    }

    #[test]
    fn an_answer_that_does_not_say_where_to_go_on_is_refused() {
        for json in
            ["{}", r#"{"next_batch":7}"#, r#"{"next_batch":"s1""#, r#"{"next_batch":"s1"} x"#, "[]", ""]
        {
            assert!(SyncBody::parse(json).is_err(), "{json}");
        }
    }
}
