//! Random rooms: what is resolved by looking at little is what the rules make of everything.

use proptest::prelude::*;
use ruma::{
    RoomVersionId,
    state_res::{check_state_dependent_auth_rules, check_state_independent_auth_rules},
};
use serde_json::{Value, json};

use super::*;

const USERS: [&str; 4] = ["@a:x", "@b:y", "@c:z", "@d:x"];

/// A room of which all is known, as a graph.
struct Room {
    rules: RoomVersionRules,
    events: Events,
    /// The accepted events, with the state after each.
    nodes: Vec<(OwnedEventId, Arc<StateIds>)>,
}

/// Somebody tries something after one or two events.
#[derive(Clone, Debug)]
struct Step {
    what: usize,
    who: usize,
    whom: usize,
    after: Vec<prop::sample::Index>,
    sent: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0..8_usize,
        0..4_usize,
        0..4_usize,
        prop::collection::vec(any::<prop::sample::Index>(), 1..3),
        0..4_u64,
    )
        .prop_map(|(what, who, whom, after, sent)| Step { what, who, whom, after, sent });
    prop::collection::vec(step, 4..24)
}

impl Room {
    fn new(version: &RoomVersionId) -> Self {
        let rules = version.rules().expect("a known version");
        let mut room = Self { rules, events: Events::new(), nodes: Vec::new() };
        let is_12 = room.rules.authorization.room_create_event_id_as_room_id;
        room.add(
            "m.room.create",
            Some(""),
            USERS[0],
            json!({ "creator": USERS[0], "room_version": version }),
            &[],
            0,
        );
        room.add("m.room.member", Some(USERS[0]), USERS[0], json!({ "membership": "join" }), &[0], 0);
        let users = if is_12 { json!({ USERS[3]: 50 }) } else { json!({ USERS[0]: 100, USERS[3]: 50 }) };
        room.add("m.room.power_levels", Some(""), USERS[0], json!({ "users": users }), &[1], 0);
        room.add("m.room.join_rules", Some(""), USERS[0], json!({ "join_rule": "public" }), &[2], 0);
        room
    }

    fn act(&mut self, step: &Step) {
        let (who, whom) = (USERS[step.who], USERS[step.whom]);
        let after: Vec<usize> = step.after.iter().map(|at| at.index(self.nodes.len())).collect();
        let member = |word: &str| ("m.room.member", whom, json!({ "membership": word }));
        let (kind, key, content) = match step.what {
            0 => ("m.room.member", who, json!({ "membership": "join" })),
            1 => ("m.room.member", who, json!({ "membership": "leave" })),
            2 => member("ban"),
            3 => member("leave"),
            4 => {
                let is_12 = self.rules.authorization.room_create_event_id_as_room_id;
                let level = [0, 50, 100][step.sent as usize % 3];
                let mut users = json!({ whom: level });
                if !is_12 && whom != USERS[0] {
                    users[USERS[0]] = 100.into();
                }
                ("m.room.power_levels", "", json!({ "users": users }))
            }
            5 => (
                "m.room.join_rules",
                "",
                json!({ "join_rule": if step.sent.is_multiple_of(2) { "public" } else { "invite" } }),
            ),
            6 => member("invite"),
            _ => ("m.room.topic", "", json!({ "topic": step.sent.to_string() })),
        };
        self.add(kind, Some(key), who, content, &after, step.sent);
    }

    /// Adds an event after others of the graph, if it is allowed there.
    fn add(
        &mut self,
        kind: &str,
        key: Option<&str>,
        sender: &str,
        content: Value,
        after: &[usize],
        sent: u64,
    ) {
        let before = match after {
            [] => Arc::default(),
            after => {
                Arc::new(self.by_the_rules(after.iter().map(|n| Arc::clone(&self.nodes[*n].1)).collect()))
            }
        };
        let is_12 = self.rules.authorization.room_create_event_id_as_room_id;
        let id = OwnedEventId::try_from(format!("$e{}", self.events.len())).expect("an ID");
        let room_id = if is_12 { "!e0" } else { "!r:x" };
        let mut event = json!({ "type": kind, "state_key": key, "sender": sender, "content": content,
            "origin_server_ts": sent, "depth": 1, "room_id": room_id,
            "prev_events": after.iter().map(|n| self.nodes[*n].0.clone()).collect::<Vec<_>>() });
        if kind == "m.room.create" && is_12 {
            event.as_object_mut().expect("an object").remove("room_id");
        }
        event["auth_events"] = json!([]);
        let draft = Pdu::parse(id.clone(), &event.to_string()).expect("a PDU");
        let auth: BTreeSet<&OwnedEventId> =
            auth_keys(&self.rules, &draft).iter().filter_map(|key| before.get(key)).collect();
        event["auth_events"] = json!(auth);
        let pdu = Arc::new(Pdu::parse(id.clone(), &event.to_string()).expect("a PDU"));
        let rules = &self.rules.authorization;
        let fetch = |id: &EventId| self.events.get(id).cloned();
        let state = |kind: &StateEventType, key: &str| {
            self.events.get(before.get(&(kind.to_string(), key.to_owned()))?).cloned()
        };
        if check_state_independent_auth_rules(rules, &*pdu, fetch).is_err()
            || check_state_dependent_auth_rules(rules, &*pdu, state).is_err()
        {
            return;
        }
        let mut after = (*before).clone();
        after.insert((kind.to_owned(), key.unwrap_or_default().to_owned()), id.clone());
        self.events.insert(id.clone(), pdu);
        self.nodes.push((id, Arc::new(after)));
    }

    /// What ruma makes of whole states and whole auth chains.
    fn by_the_rules(&self, states: Vec<Arc<StateIds>>) -> StateIds {
        let known = Known { events: self.events.clone(), ..Known::default() };
        let chains = states
            .iter()
            .map(|state| chain(state.values(), &known).expect("all is known").into_iter().collect())
            .collect();
        let maps: Vec<StateMap<OwnedEventId>> = states
            .iter()
            .map(|state| {
                let entries = state.iter();
                entries
                    .map(|(key, id)| ((StateEventType::from(&*key.0), key.1.clone()), id.clone()))
                    .collect()
            })
            .collect();
        let version = self.rules.state_res.v2_rules().expect("version 2");
        let resolved = resolve_by_the_rules(
            &self.rules.authorization,
            version,
            &maps,
            chains,
            |id| self.events.get(id).cloned(),
            |conflicted| Some(self.between(&in_order_of(conflicted))),
        );
        in_order(resolved.expect("can be resolved"))
    }

    /// The conflicted state subgraph, found by following every way from every event.
    fn between(&self, conflicted: &BTreeSet<OwnedEventId>) -> EventIdSet<OwnedEventId> {
        let known = Known { events: self.events.clone(), ..Known::default() };
        let below = |id: &OwnedEventId| chain([id].into_iter(), &known).expect("all is known");
        let mut found = BTreeSet::new();
        for from in conflicted {
            for middle in below(from).into_iter().chain([from.clone()]) {
                if conflicted.contains(&middle) || below(&middle).intersection(conflicted).next().is_some() {
                    found.insert(middle);
                }
            }
        }
        found.into_iter().collect()
    }

    /// What is resolved when only what is asked for is known; and how many events that took.
    fn by_looking(&self, states: Vec<Arc<StateIds>>) -> (StateIds, usize) {
        let conflict = match Conflict::between(states) {
            Ok(conflict) => conflict,
            Err(state) => return ((*state).clone(), 0),
        };
        let mut known = Known::default();
        loop {
            match conflict.resolve(&self.rules, &known) {
                Ok(state) => return (state, known.events.len()),
                Err(Unresolved::Events(ids)) => {
                    assert!(!ids.is_empty(), "what is known is not asked for");
                    for id in ids {
                        assert!(!known.events.contains_key(&id), "what is known is not asked for");
                        known.events.insert(id.clone(), Arc::clone(&self.events[&id]));
                    }
                }
                Err(Unresolved::AgreedChain) => {
                    assert!(known.agreed_chain.is_none());
                    let all = Known { events: self.events.clone(), ..Known::default() };
                    let agreed: Vec<_> = conflict.agreed().map(|(_, id)| id.clone()).collect();
                    known.agreed_chain = Some(chain(agreed.iter(), &all).expect("all is known"));
                }
                Err(Unresolved::Failed(why)) => panic!("{why}"),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the order is that of the set that it is put into")]
fn in_order_of(conflicted: &StateMap<Vec<OwnedEventId>>) -> BTreeSet<OwnedEventId> {
    conflicted.values().flatten().cloned().collect()
}

proptest! {
    /// Whatever happened in a room: two or three states of it come to the same however little is looked at, and in
    /// whatever order they are given.
    #[test]
    fn what_is_resolved_by_looking_at_little_is_what_the_rules_make_of_everything(
        version in prop::sample::select(vec![RoomVersionId::V6, RoomVersionId::V10, RoomVersionId::V12]),
        steps in steps(),
        picks in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 2..4), 1..6),
    ) {
        let mut room = Room::new(&version);
        for step in &steps {
            room.act(step);
        }
        for pick in picks {
            let mut states: Vec<_> =
                pick.iter().map(|at| Arc::clone(&room.nodes[at.index(room.nodes.len())].1)).collect();
            let expected = room.by_the_rules(states.clone());
            prop_assert_eq!(&room.by_looking(states.clone()).0, &expected);
            states.reverse();
            prop_assert_eq!(&room.by_looking(states.clone()).0, &expected);
            states.rotate_left(1);
            prop_assert_eq!(&room.by_looking(states).0, &expected);
        }
    }
}

#[test]
fn a_fork_in_a_large_room_costs_what_it_is_about() {
    let mut room = Room::new(&RoomVersionId::V10);
    for n in 0..1_000 {
        let user = format!("@m{n}:x");
        let last = room.nodes.len() - 1;
        room.add("m.room.member", Some(&user), &user, json!({ "membership": "join" }), &[last], 1);
    }
    let last = room.nodes.len() - 1;
    room.add("m.room.topic", Some(""), USERS[0], json!({ "topic": "one" }), &[last], 2);
    room.add("m.room.topic", Some(""), USERS[0], json!({ "topic": "two" }), &[last], 3);
    let states = room.nodes[last + 1..].iter().map(|(_, state)| Arc::clone(state)).collect();
    let (state, looked_at) = room.by_looking(states);
    assert_eq!(state[&("m.room.topic".to_owned(), String::new())], room.nodes[last + 2].0);
    assert_eq!(state.len(), 1_005);
    assert!(looked_at < 10, "{looked_at} events were looked at");
}

#[test]
fn one_side_s_ban_wins_over_what_the_banned_one_did_meanwhile_on_the_other() {
    for version in [RoomVersionId::V3, RoomVersionId::V11, RoomVersionId::V12] {
        let mut room = Room::new(&version);
        let member = |word: &str| json!({ "membership": word });
        room.add("m.room.member", Some(USERS[3]), USERS[3], member("join"), &[3], 1);
        let fork = room.nodes.len() - 1;
        room.add("m.room.topic", Some(""), USERS[3], json!({ "topic": "mine" }), &[fork], 2);
        room.add("m.room.member", Some(USERS[3]), USERS[0], member("ban"), &[fork], 3);
        assert_eq!(room.nodes.len(), fork + 3, "{version}");
        let states: Vec<_> = room.nodes[fork + 1..].iter().map(|(_, state)| Arc::clone(state)).collect();
        let (state, _) = room.by_looking(states);
        let ban = &state[&("m.room.member".to_owned(), USERS[3].to_owned())];
        assert_eq!(*ban, room.nodes[fork + 2].0, "{version}");
        assert!(!state.contains_key(&("m.room.topic".to_owned(), String::new())), "{version}");
    }
}

#[test]
fn what_cannot_be_found_anywhere_is_left_out_and_ends_the_search() {
    let mut room = Room::new(&RoomVersionId::V10);
    room.add("m.room.topic", Some(""), USERS[0], json!({ "topic": "one" }), &[3], 2);
    room.add("m.room.topic", Some(""), USERS[0], json!({ "topic": "two" }), &[3], 3);
    let states: Vec<_> = room.nodes[4..].iter().map(|(_, state)| Arc::clone(state)).collect();
    let conflict = Conflict::between(states).expect("they differ");
    let mut known = Known::default();
    let state = loop {
        match conflict.resolve(&room.rules, &known) {
            Ok(state) => break state,
            Err(Unresolved::AgreedChain) => drop(known.agreed_chain.replace(BTreeSet::new())),
            Err(Unresolved::Failed(why)) => panic!("{why}"),
            Err(Unresolved::Events(ids)) => {
                for id in ids {
                    match room.events.get(&id).filter(|_| id != room.nodes[5].0) {
                        Some(event) => drop(known.events.insert(id, Arc::clone(event))),
                        None => drop(known.absent.insert(id)),
                    }
                }
            }
        }
    };
    assert_eq!(state[&("m.room.topic".to_owned(), String::new())], room.nodes[4].0);
}
