//! What a server answers to a join, with something planted in it that is not right.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomVersionId,
    api::client::room::create_room::v3::{Request, RoomPreset},
};
use serde_json::{Value, json, value::RawValue};

use super::sites::{Net, Seen, Site, raw};
use crate::server::{
    rooms::receive::{
        Each, Piece, Unsound,
        check::{Checked, read},
    },
    store::{RoomRow, StateIds},
};

/// A room on one server, and another that wants to come in.
struct Door {
    net: Arc<Net>,
    host: Site,
    guest: Site,
    room: RoomRow,
    state: StateIds,
    answer: Vec<(Piece, Box<RawValue>)>,
}

impl Door {
    async fn new(version: RoomVersionId) -> Self {
        let net = Arc::new(Net::default());
        let (host, guest) = (Site::open("host.example").await, Site::open("guest.example").await);
        net.join(&host);
        net.join(&guest);
        let mut request = Request::new();
        request.preset = Some(RoomPreset::PublicChat);
        request.room_version = Some(version.clone());
        let room_id = host.rooms.create(&host.user, request).await.expect("is made");
        let state = host.store.current_state_ids(&room_id).await.expect("reads");
        let ids: Vec<OwnedEventId> = state.values().cloned().collect();
        let events = host.store.graph_events(&ids).await.expect("reads");
        let answer = events.values().map(|event| (Piece::State, raw(event))).collect();
        let room = RoomRow { room_id, version, listed: false };
        Self { net, host, guest, room, state, answer }
    }

    fn id_of(&self, kind: &str, key: &str) -> OwnedEventId {
        self.state[&(kind.to_owned(), key.to_owned())].clone()
    }

    /// A state event that a site signs.
    fn event(&self, by: &Site, kind: &str, key: &str, content: Value, auth: &[&str]) -> Value {
        let rules = self.room.version.rules().expect("is known");
        let is_named = self.room.version == RoomVersionId::V12;
        let auth = auth.iter().filter(|kind| !is_named || **kind != "m.room.create");
        let auth: Vec<OwnedEventId> = auth
            .map(|kind| match *kind {
                "m.room.member" => self.id_of(kind, self.host.user.user.as_str()),
                kind => self.id_of(kind, ""),
            })
            .collect();
        let event = json!({ "type": kind, "state_key": key, "sender": by.user.user, "room_id": self.room.room_id,
            "content": content, "depth": 30, "origin_server_ts": 1, "prev_events": ["$a"], "auth_events": auth });
        let mut object: CanonicalJsonObject = serde_json::from_value(event).expect("canonical");
        by.rooms.signer.hash_and_sign(&mut object, &rules.redaction).expect("signs");
        serde_json::to_value(object).expect("JSON")
    }

    fn plant(&mut self, event: &Value) -> OwnedEventId {
        let rules = self.room.version.rules().expect("is known");
        self.answer.push((Piece::State, serde_json::value::to_raw_value(event).expect("JSON")));
        let object = serde_json::from_value(event.clone()).expect("canonical");
        let hash = ruma::signatures::reference_hash(&object, &rules).expect("can be hashed");
        OwnedEventId::try_from(format!("${hash}")).expect("an ID")
    }

    async fn come_in(&self) -> Result<StateIds, Unsound> {
        let rules = self.room.version.rules().expect("is known");
        let auth = ["m.room.create", "m.room.power_levels", "m.room.join_rules"];
        let key = self.guest.user.user.as_str();
        let join = self.event(&self.guest, "m.room.member", key, json!({ "membership": "join" }), &auth);
        let seen = Seen { net: Arc::clone(&self.net), from: self.guest.name.clone() };
        let unproven = read(&rules, &self.room.room_id, &join.to_string()).expect("is an event");
        let keys = self.guest.rooms.keys(&seen, unproven.needs(&rules)).await;
        let join: Checked = unproven.prove(&rules, &keys).expect("is signed");
        let answer = self.answer.clone();
        let read =
            move |each: &mut Each<'_>| answer.iter().try_for_each(|(piece, text)| each(*piece, text.clone()));
        self.guest.rooms.check_join_answer(&seen, (&self.room.room_id, &self.room.version), &join, read).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_is_planted_in_the_answer_to_a_join_nothing_bad_becomes_the_room() {
    let mut door = Door::new(RoomVersionId::V11).await;
    let expected = door.state.clone();
    let by_host = ["m.room.create", "m.room.power_levels", "m.room.member"];
    let good = door.event(&door.host, "org.good", "", json!({ "a": 1 }), &by_host);
    let mut other_content = door.event(&door.host, "org.hash", "", json!({ "a": 1 }), &by_host);
    other_content["content"] = json!({ "a": 2 });
    let mut forged = door.event(&door.host, "org.signature", "", json!({}), &by_host);
    forged["depth"] = 31.into();
    let mut stranger = door.event(&door.host, "org.stranger", "", json!({}), &by_host);
    stranger["signatures"] = json!({ "host.example": { "ed25519:other": "AAAA" } });
    let not_allowed = door.event(&door.guest, "org.rule", "", json!({}), &by_host[..2]);
    let mut far = door.event(&door.host, "org.room", "", json!({}), &by_host);
    far["room_id"] = "!other:host.example".into();
    let mut unfounded = serde_json::from_value::<CanonicalJsonObject>(json!({ "type": "org.auth", "state_key": "",
        "sender": door.host.user.user, "room_id": door.room.room_id, "content": {}, "depth": 30, "origin_server_ts": 1,
        "prev_events": ["$a"], "auth_events": ["$unknown"] })).expect("canonical");
    let rules = door.room.version.rules().expect("is known");
    door.host.rooms.signer.hash_and_sign(&mut unfounded, &rules.redaction).expect("signs");
    let good = door.plant(&good);
    let emptied = door.plant(&other_content);
    for bad in [forged, stranger, not_allowed, far, serde_json::to_value(unfounded).expect("JSON")] {
        door.plant(&bad);
    }
    door.answer
        .push((Piece::AuthChain, serde_json::value::to_raw_value(&json!(["no event"])).expect("JSON")));
    let state = door.come_in().await.expect("is sound");
    let mut planted: BTreeMap<_, _> = state.clone();
    planted.retain(|key, _| !expected.contains_key(key));
    let key = |kind: &str| (kind.to_owned(), String::new());
    assert_eq!(planted, BTreeMap::from([(key("org.good"), good), (key("org.hash"), emptied.clone())]));
    assert!(expected.iter().all(|(key, id)| state.get(key) == Some(id)), "what is right is there");
    let kept = door.guest.event(&emptied).await.expect("is kept");
    assert!(kept.pdu.contains(r#""content":{}"#), "what was not hashed is not taken: {}", kept.pdu);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_join_that_is_no_room_lets_nobody_in() {
    for version in [RoomVersionId::V6, RoomVersionId::V12] {
        let mut without_create = Door::new(version.clone()).await;
        without_create.answer.retain(|(_, text)| !text.get().contains("m.room.create\""));
        let mut invite_only = Door::new(version.clone()).await;
        invite_only.answer.retain(|(_, text)| !text.get().contains("m.room.join_rules"));
        let mut twice = Door::new(version.clone()).await;
        let auth = ["m.room.create", "m.room.power_levels", "m.room.member"];
        for topic in ["one", "two"] {
            let event = twice.event(&twice.host, "m.room.topic", "", json!({ "topic": topic }), &auth);
            twice.plant(&event);
        }
        let mut other_version = Door::new(version.clone()).await;
        other_version.room.version = match version {
            RoomVersionId::V6 => RoomVersionId::V7,
            _ => RoomVersionId::V11,
        };
        let mut empty = Door::new(version.clone()).await;
        empty.answer.clear();
        for (what, door) in [
            ("no create", without_create),
            ("no rule", invite_only),
            ("two", twice),
            ("version", other_version),
            ("empty", empty),
        ] {
            let outcome = door.come_in().await;
            assert!(matches!(outcome, Err(Unsound::Answer(_))), "{version} {what}: {outcome:?}");
        }
    }
}
