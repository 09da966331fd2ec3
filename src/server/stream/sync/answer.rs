//! The answer as a whole, and its small parts.

use super::{form::Form, own_data::write_own_data, presence::write_presence, rooms::write_rooms};
use crate::server::{
    change::position::LogPosition,
    json::Writer,
    store::KeyCounts,
    stream::{
        news::{DeviceLists, News, OwnDataNews, PresenceNews},
        token::Token,
    },
};

/// The body of an answer that is small.
pub fn answer(news: News, form: Form<'_>) -> Vec<u8> {
    let News { upto, own_data, to_device, rooms, device_lists, keys_left, presence } = news;
    let mut out = Writer::object();
    write_opening(&mut out, &own_data, &to_device);
    write_rooms(&mut out, rooms, form);
    write_closing(&mut out, (&keys_left, &device_lists, &presence), &upto, form);
    out.finish()
}

/// What comes before the rooms.
pub(super) fn write_opening(out: &mut Writer, own_data: &OwnDataNews, to_device: &[(LogPosition, String)]) {
    write_own_data(out, own_data);
    let part = out.open("to_device");
    let events = out.open_array("events");
    for (_, event) in to_device {
        out.element(event);
    }
    out.end(events);
    out.end(part);
}

/// What comes after the rooms.
pub(super) fn write_closing(
    out: &mut Writer,
    (keys_left, device_lists, presence): (&KeyCounts, &DeviceLists, &PresenceNews),
    upto: &Token,
    form: Form<'_>,
) {
    write_keys_left(out, keys_left);
    write_device_lists(out, device_lists);
    write_presence(out, presence, form.now);
    out.plain("next_batch", upto);
}

/// Writes which keys the reader's device has left.
pub(in crate::server::stream) fn write_keys_left(out: &mut Writer, counts: &KeyCounts) {
    let part = out.open("device_one_time_keys_count");
    for (algorithm, count) in &counts.one_time {
        out.number(algorithm, *count);
    }
    out.end_even_if_empty(part);
    let part = out.open_array("device_unused_fallback_key_types");
    for algorithm in &counts.unused_fallback {
        out.string_element(algorithm);
    }
    out.end_even_if_empty(part);
}

fn write_device_lists(out: &mut Writer, lists: &DeviceLists) {
    if lists.is_empty() {
        return;
    }
    let part = out.open("device_lists");
    for (key, users) in [("changed", &lists.changed), ("left", &lists.left)] {
        let list = out.open_array(key);
        for user in users {
            out.string_element(user.as_str());
        }
        out.end_even_if_empty(list);
    }
    out.end(part);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruma::{OwnedUserId, event_id, room_id, user_id};
    use serde_json::{
        json,
        value::{RawValue, to_raw_value},
    };

    use super::*;
    use crate::server::stream::sync::StateTold;
    use crate::{
        core::{presence::State, time::Instant},
        server::{
            change::position::{LivePosition, TimelinePosition},
            event::{
                aggregation::Aggregations,
                client::ClientFormat,
                stored::{Columns, Replaced, StoredEvent},
            },
            presence::PresenceEvent,
            session::Session,
            store::{AccountData, Receipt},
            stream::news::{
                JoinedRoom, LeftRoom, RoomState, RoomsNews, StrippedRoom, Summary, Timeline, UnreadCounts,
            },
        },
    };

    const NOW: Instant = Instant::from_millis(5_000);

    fn user(name: &str) -> OwnedUserId {
        name.try_into().expect("a user ID")
    }

    fn viewer() -> Session {
        Session { user: user("@a:x"), device: "D".into() }
    }

    fn written(news: News) -> String {
        let form = Form {
            viewer: &viewer(),
            events: ClientFormat::InRoom,
            fields: None,
            now: NOW,
            state: StateTold::Before,
        };
        String::from_utf8(answer(news, form)).expect("is UTF-8")
    }

    fn event(kind: &str, state_key: Option<&str>, content: &str) -> Arc<StoredEvent> {
        let key = state_key.map_or(String::new(), |key| format!(r#""state_key":"{key}","#));
        let pdu = format!(
            r#"{{"content":{content},"depth":1,"origin_server_ts":1000,"room_id":"!r:x","sender":"@a:x",{key}"type":"{kind}"}}"#
        );
        Arc::new(StoredEvent::from(Columns {
            position: LogPosition::new(9),
            timeline: TimelinePosition::live(LogPosition::new(9)),
            event_id: event_id!("$e").to_owned(),
            room_id: room_id!("!r:x").to_owned(),
            kind: kind.to_owned(),
            state_key: state_key.map(str::to_owned),
            sender: user("@a:x"),
            origin_server_ts: 1000,
            depth: 1,
            pdu: pdu.into(),
            replaces: state_key.map(|_| Replaced {
                event_id: event_id!("$before").to_owned(),
                sender: user("@b:x"),
                content: to_raw_value(&json!({ "k": 0 })).expect("is JSON"),
            }),
            redacted_because: None,
            transaction: state_key.is_none().then(|| ("D".into(), "t1".into())),
            ours: false,
            unasked: false,
            hidden: false,
            lacks: false,
        }))
    }

    fn data(kind: &str) -> AccountData {
        AccountData { room: None, kind: kind.to_owned(), content: r#"{"n":1}"#.to_owned() }
    }

    fn nothing() -> News {
        News {
            upto: Token::new(LogPosition::new(12), LivePosition::new(34)),
            own_data: OwnDataNews::default(),
            to_device: Vec::new(),
            rooms: RoomsNews::default(),
            device_lists: DeviceLists::default(),
            keys_left: Arc::default(),
            presence: PresenceNews::default(),
        }
    }

    fn joined() -> JoinedRoom {
        JoinedRoom {
            room: room_id!("!r:x").to_owned(),
            summary: None,
            state: RoomState::default(),
            timeline: Timeline {
                events: Vec::new(),
                late: Vec::new(),
                aggregations: Aggregations::new(),
                limited: false,
                prev: TimelinePosition::live(LogPosition::new(8)),
            },
            begins_at: None,
            typing: None,
            receipts: Vec::new(),
            own_data: Vec::new(),
            unread: UnreadCounts::default(),
            unread_threads: None,
        }
    }

    const MESSAGE: &str = concat!(
        r#"{"content":{"body":"hi"},"event_id":"$e","origin_server_ts":1000,"sender":"@a:x","type":"m.room.message","#,
        r#""unsigned":{"age":4000,"transaction_id":"t1"}}"#
    );

    const NAME: &str = concat!(
        r#"{"content":{"name":"N"},"event_id":"$e","origin_server_ts":1000,"sender":"@a:x","state_key":"","#,
        r#""type":"m.room.name","unsigned":{"age":4000,"prev_content":{"k":0},"prev_sender":"@b:x","#,
        r#""replaces_state":"$before"}}"#
    );

    #[test]
    fn parts_without_news_leave_no_trace_but_the_keys_that_are_left() {
        let expected = concat!(
            r#"{"device_one_time_keys_count":{},"device_unused_fallback_key_types":[],"#,
            r#""next_batch":"p12_34"}"#
        );
        assert_eq!(written(nothing()), expected);
    }

    #[test]
    fn a_room_in_which_nothing_happened_is_whole() {
        let rooms = RoomsNews { joined: vec![joined()], ..RoomsNews::default() };
        let expected = concat!(
            r#"{"rooms":{"join":{"!r:x":{"#,
            r#""timeline":{"events":[],"limited":false,"prev_batch":"t8388608"},"ephemeral":{"events":[]},"#,
            r#""account_data":{"events":[]},"#,
            r#""unread_notifications":{"highlight_count":0,"notification_count":0},"state":{"events":[]}}}},"#,
            r#""device_one_time_keys_count":{},"device_unused_fallback_key_types":[],"next_batch":"p12_34"}"#
        );
        assert_eq!(written(News { rooms, ..nothing() }), expected);
    }

    #[test]
    fn a_room_with_everything_in_it_is_written_in_one_order() {
        let receipt = Receipt {
            room: room_id!("!r:x").to_owned(),
            user: user("@b:x"),
            kind: "m.read".into(),
            thread: String::new(),
            event: "$e".into(),
            ts_ms: 7,
            shown: true,
        };
        let room = JoinedRoom {
            summary: Some(Summary { joined: 2, invited: 1, heroes: Some(vec![user("@b:x")]) }),
            state: RoomState {
                events: vec![event("m.room.name", Some(""), r#"{"name":"N"}"#)],
                ..RoomState::default()
            },
            timeline: Timeline {
                events: vec![event("m.room.message", None, r#"{"body":"hi"}"#)],
                late: Vec::new(),
                aggregations: Aggregations::new(),
                limited: true,
                prev: TimelinePosition::live(LogPosition::new(8)),
            },
            typing: Some(vec![user("@b:x"), user("@c:x")]),
            receipts: vec![receipt],
            own_data: vec![data("m.tag")],
            unread: UnreadCounts { notifications: 3, highlights: 1 },
            unread_threads: None,
            ..joined()
        };
        let named = JoinedRoom {
            room: room_id!("!s:x").to_owned(),
            summary: Some(Summary { joined: 2, invited: 0, heroes: None }),
            typing: Some(Vec::new()),
            ..joined()
        };
        let expected = format!(
            concat!(
                r#"{{"rooms":{{"join":{{"!r:x":{{"#,
                r#""summary":{{"m.joined_member_count":2,"m.invited_member_count":1,"m.heroes":["@b:x"]}},"#,
                r#""timeline":{{"events":[{MESSAGE}],"limited":true,"prev_batch":"t8388608"}},"#,
                r#""ephemeral":{{"events":[{{"type":"m.typing","content":{{"user_ids":["@b:x","@c:x"]}}}},"#,
                r#"{{"type":"m.receipt","content":{{"$e":{{"m.read":{{"@b:x":{{"ts":7}}}}}}}}}}]}},"#,
                r#""account_data":{{"events":[{{"type":"m.tag","content":{{"n":1}}}}]}},"#,
                r#""unread_notifications":{{"highlight_count":1,"notification_count":3}},"#,
                r#""state":{{"events":[{NAME}]}}}},"#,
                r#""!s:x":{{"summary":{{"m.joined_member_count":2,"m.invited_member_count":0}},"#,
                r#""timeline":{{"events":[],"limited":false,"prev_batch":"t8388608"}},"#,
                r#""ephemeral":{{"events":[{{"type":"m.typing","content":{{"user_ids":[]}}}}]}},"#,
                r#""account_data":{{"events":[]}},"#,
                r#""unread_notifications":{{"highlight_count":0,"notification_count":0}},"#,
                r#""state":{{"events":[]}}}}}}}},"#,
                r#""device_one_time_keys_count":{{}},"device_unused_fallback_key_types":[],"#,
                r#""next_batch":"p12_34"}}"#
            ),
            NAME = NAME,
            MESSAGE = MESSAGE
        );
        let rooms = RoomsNews { joined: vec![room, named], ..RoomsNews::default() };
        assert_eq!(written(News { rooms, ..nothing() }), expected);
    }

    #[test]
    fn every_other_part_is_written_in_one_order() {
        let piece = RawValue::from_string(r#"{"type":"m.room.create"}"#.to_owned()).expect("is JSON");
        let member = event("m.room.member", Some("@a:x"), r#"{"membership":"invite"}"#);
        let stripped = |id: &str, own| StrippedRoom {
            room: id.try_into().expect("a room ID"),
            state: vec![piece.clone()],
            own,
        };
        let left = LeftRoom {
            room: room_id!("!l:x").to_owned(),
            state: RoomState::default(),
            timeline: Timeline {
                events: Vec::new(),
                late: Vec::new(),
                aggregations: Aggregations::new(),
                limited: false,
                prev: TimelinePosition::live(LogPosition::new(11)),
            },
        };
        let seen = |name: &str, state| (Arc::new(user(name)), Arc::new(PresenceEvent::bare(name, state)));
        let news = News {
            upto: nothing().upto.with_to_device(LogPosition::new(10)),
            own_data: OwnDataNews { changed: vec![data("m.x"), data("a\"b")], default_rules: None },
            to_device: vec![(LogPosition::new(10), r#"{"type":"m.d"}"#.to_owned())],
            rooms: RoomsNews {
                joined: Vec::new(),
                invited: vec![stripped("!i:x", Some(member)), stripped("!j:x", None)],
                knocked: vec![stripped("!k:x", None)],
                left: vec![left],
            },
            device_lists: DeviceLists { changed: [user("@b:x")].into(), left: [user("@c:x")].into() },
            keys_left: Arc::new(KeyCounts {
                one_time: [("signed_curve25519".to_owned(), 5)].into(),
                unused_fallback: vec!["signed_curve25519".to_owned()],
            }),
            presence: PresenceNews {
                own: Some(PresenceEvent::bare("@a:x", State::Online)),
                seen: vec![seen("@b:x", State::Offline)],
                unknown: [user("@c:x")].into(),
            },
        };
        let expected = concat!(
            r#"{"account_data":{"events":[{"type":"m.x","content":{"n":1}},{"type":"a\"b","content":{"n":1}}]},"#,
            r#""to_device":{"events":[{"type":"m.d"}]},"#,
            r#""rooms":{"invite":{"!i:x":{"invite_state":{"events":[{"type":"m.room.create"},"#,
            r#"{"content":{"membership":"invite"},"sender":"@a:x","state_key":"@a:x","type":"m.room.member"}]}},"#,
            r#""!j:x":{"invite_state":{"events":[{"type":"m.room.create"}]}}},"#,
            r#""knock":{"!k:x":{"knock_state":{"events":[{"type":"m.room.create"}]}}},"#,
            r#""leave":{"!l:x":{"timeline":{"events":[],"limited":false,"prev_batch":"t11534336"},"#,
            r#""state":{"events":[]}}}},"#,
            r#""device_one_time_keys_count":{"signed_curve25519":5},"#,
            r#""device_unused_fallback_key_types":["signed_curve25519"],"#,
            r#""device_lists":{"changed":["@b:x"],"left":["@c:x"]},"#,
            r#""presence":{"events":[{"type":"m.presence","sender":"@a:x","content":"#,
            r#"{"presence":"online","org.pilotlight.presence":{"state":"online"}}},"#,
            r#"{"type":"m.presence","sender":"@b:x","content":"#,
            r#"{"presence":"offline","org.pilotlight.presence":{"state":"offline"}}},"#,
            r#"{"type":"m.presence","sender":"@c:x","content":"#,
            r#"{"presence":"offline","org.pilotlight.presence":{"state":"unknown"}}}]},"#,
            r#""next_batch":"p12_34_10"}"#
        );
        assert_eq!(written(news), expected);
    }

    #[test]
    fn default_push_rules_are_one_piece_of_account_data() {
        let rules = crate::server::accounts::default_rules::default_rules(user_id!("@a:x"));
        let default_rules = Some(Box::new(rules));
        let own_data = OwnDataNews { changed: Vec::new(), default_rules };
        let text = written(News { own_data, ..nothing() });
        let begin = r#"{"account_data":{"events":[{"content":{"global":{"content":[{"actions":["notify","#;
        assert!(text.starts_with(begin), "{text}");
        let end = concat!(
            r#"]}},"type":"m.push_rules"}]},"device_one_time_keys_count":{},"#,
            r#""device_unused_fallback_key_types":[],"next_batch":"p12_34"}"#
        );
        assert!(text.ends_with(end), "{text}");
    }
}
