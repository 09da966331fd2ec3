//! What a write of the held stream tells, as the answer of `/sync` that says the same.

use std::borrow::Cow;

use super::event::Event;
use super::event_stream::Frame;
use super::object::Object;
use super::presence::PresenceEvent;
use super::read::{Malformed, Reader};
use super::sync::{JoinedRoom, SyncBody};

impl<'a> SyncBody<'a> {
    /// What these events tell to who was at `before`; they end at `id`. Kinds of events that are not known are left out.
    pub fn of_write(
        frames: &'a [Frame<'a>],
        before: Option<&'a str>,
        id: &'a str,
    ) -> Result<Self, Malformed> {
        let mut body = Self::default();
        for frame in frames {
            let mut reader = Reader::new(&frame.data);
            match frame.kind {
                "sync" => body.read(&mut reader)?,
                "room" => {
                    body.read_rooms(&mut reader)?;
                }
                "" | "message" => body.presence.extend(PresenceEvent::read_short(&mut reader)?),
                "e" | "account_data" => {
                    if let Some(event) = Event::read(&mut reader)? {
                        body.take_event(frame.kind, event, before);
                    }
                }
                "typing" | "receipt" | "unread" => {
                    body.take_rest(frame.kind, &frame.data, Object::read(&mut reader)?);
                }
                _ => continue,
            }
            reader.end()?;
        }
        body.next_batch = Cow::Borrowed(id);
        Ok(body)
    }

    fn take_event(&mut self, kind: &str, mut event: Event<'a>, before: Option<&'a str>) {
        match event.room_id.take() {
            None if kind == "account_data" => self.account_data.push(event),
            Some(room_id) if kind == "e" => {
                let timeline = &mut self.room(room_id).timeline;
                if timeline.events.is_empty() && timeline.prev_batch.is_none() {
                    // Back from where the reader was is back past the first event since.
                    timeline.prev_batch = before.map(Cow::Borrowed);
                }
                timeline.events.push(event);
            }
            Some(_) | None => (),
        }
    }

    fn take_rest(&mut self, kind: &str, json: &'a str, data: Object<'a>) {
        let Some(room_id) = data.text("room_id") else { return };
        let ephemeral = |kind, content| Event { kind: Cow::Borrowed(kind), content, ..Event::default() };
        let room = self.room(room_id);
        match kind {
            "typing" => room.ephemeral.push(ephemeral("m.typing", json)),
            "receipt" => {
                room.ephemeral.extend(data.raw("content").map(|content| ephemeral("m.receipt", content)))
            }
            _ => room.unread_notifications = data,
        }
    }

    /// What is new in a room that the user is in.
    fn room(&mut self, room_id: Cow<'a, str>) -> &mut JoinedRoom<'a> {
        let at = self.join.iter().rposition(|(known, _)| *known == room_id).unwrap_or_else(|| {
            self.join.push((room_id, JoinedRoom::default()));
            self.join.len() - 1
        });
        &mut self.join[at].1
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::core::wire::event_stream::frames;

    #[test]
    fn a_write_is_read_as_the_answer_that_says_the_same() {
        let text = concat!(
            "data: {\"u\":\"@a:x\",\"s\":\"busy\",\"m\":\"hi\",\"d\":\"web\",\"a\":5,\"c\":1,\"t\":60000,\"l\":9,\"w\":\"busy\"}\n\n",
            "event: e\ndata: {\"type\":\"t\",\"event_id\":\"$1\",\"room_id\":\"!r\"}\n\n",
            "event: e\ndata: {\"type\":\"t\",\"event_id\":\"$2\",\"room_id\":\"!r\"}\n\n",
            "event: typing\ndata: {\"room_id\":\"!r\",\"user_ids\":[\"@a:x\"]}\n\n",
            "event: receipt\ndata: {\"room_id\":\"!q\",\"content\":{\"$1\":{}}}\n\n",
            "event: unread\ndata: {\"room_id\":\"!r\",\"notification_count\":2,\"highlight_count\":1}\n\n",
            "event: room\ndata: {\"join\":{\"!j\":{\"timeline\":{\"limited\":true}}},\"leave\":{\"!l\":{}}}\n\n",
            "event: room\ndata: {\"invite\":{\"!i\":{}},\"leave\":{\"!m\":{}}}\n\n",
            "event: account_data\ndata: {\"type\":\"m.direct\",\"content\":{}}\n\n",
            "event: account_data\ndata: {\"type\":\"m.tag\",\"content\":{},\"room_id\":\"!r\"}\n\n",
            "event: to_device\ndata: {\"type\":\"x\"}\n\nevent: news\ndata: ?\n\nid: 2\n\n",
        );
        let frames = frames(text);
        let body = SyncBody::of_write(&frames, Some("1"), "2").unwrap();
        let ids: Vec<&str> = body.join.iter().map(|(id, _)| &**id).collect();
        assert_eq!((ids, &*body.next_batch), (vec!["!r", "!q", "!j"], "2"));
        let room = &body.join[0].1;
        assert_eq!((room.timeline.events.len(), room.timeline.prev_batch.as_deref()), (2, Some("1")));
        assert!(!room.timeline.limited && body.join[2].1.timeline.limited);
        assert_eq!(room.ephemeral[0].content().strings("user_ids"), ["@a:x"]);
        assert_eq!(room.unread_notifications.integer("notification_count"), Some(2));
        assert_eq!(body.join[1].1.ephemeral[0].content, "{\"$1\":{}}");
        assert_eq!((body.leave.fields().count(), body.invite.fields().count()), (2, 1));
        assert_eq!(body.account_data.len(), 1);
        let content = &body.presence[0].content;
        assert_eq!((content.state.as_deref(), content.idle_ms), (Some("busy"), Some(60_000)));
        assert!(content.currently_active && content.choice.as_deref() == Some("busy"));
    }

    #[test]
    fn an_answer_of_sync_that_is_a_write_ends_at_its_id() {
        let frames = frames(
            "event: sync\ndata: {\"next_batch\":\"long\",\"presence\":{\"events\":[{\"sender\":\"@a:x\"}]}}\nid: 2\n\n",
        );
        let body = SyncBody::of_write(&frames, None, "2").unwrap();
        assert_eq!((&*body.next_batch, body.presence.len()), ("2", 1));
    }

    #[test]
    fn a_write_that_is_no_json_is_refused_whole() {
        for data in ["{", "{} {}", "{\"u\":}", "?"] {
            for kind in ["message", "e", "sync", "room", "typing", "account_data"] {
                let text = format!("event: {kind}\ndata: {data}\nid: 2\n\n");
                assert!(SyncBody::of_write(&frames(&text), None, "2").is_err(), "{kind} {data}");
            }
        }
    }
}
