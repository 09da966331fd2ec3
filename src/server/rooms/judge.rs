//! Whether an event may stand in a room: the authorisation rules, upon everything they look at.
//!
//! A pure function: given an event whose format, hashes and signatures were checked, its auth events and the state
//! around it, it answers what other servers would. Server-server API, "Checks performed on receipt of a PDU",
//! steps 4 to 6. Sending from here is the case in which nothing is missing and both states are the same.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    EventId, OwnedEventId,
    events::StateEventType,
    room_version_rules::AuthorizationRules,
    state_res::{Event, check_state_dependent_auth_rules, check_state_independent_auth_rules},
};

use super::pdu::{Pdu, StateKey};

/// State, by type and key.
pub(super) type State = BTreeMap<StateKey, Arc<Pdu>>;

/// What an event is judged on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    /// The auth events that are here; from version 12 on with the room's first event, which all rest upon.
    pub(super) auth_events: &'a BTreeMap<OwnedEventId, Arc<Pdu>>,
    /// The state at the event's `prev_events`, as far as the rules look at it; `None`: not all of them are here.
    pub(super) before: Option<&'a State>,
    /// The room's current state, as far as the rules look at it.
    pub(super) current: &'a State,
}

/// What becomes of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It gets its place.
    Accepted,
    /// It was allowed when it was sent, and is not now: it counts for state, and nobody is shown it.
    SoftFailed(String),
    /// It was not allowed.
    Rejected(String),
    /// These events must be known first.
    Missing(Vec<OwnedEventId>),
}

/// Judges `event`.
pub(super) fn judge(rules: &AuthorizationRules, event: &Pdu, evidence: Evidence<'_>) -> Verdict {
    let is_create = event.event_type().to_string() == "m.room.create";
    let unknown = event.auth_events().filter(|id| !evidence.auth_events.contains_key(*id));
    let mut missing: Vec<OwnedEventId> = unknown.cloned().collect();
    let before = match evidence.before {
        Some(before) => before,
        None => {
            missing.extend(event.prev_events().cloned());
            evidence.current
        }
    };
    if !missing.is_empty() {
        return Verdict::Missing(missing);
    }
    if let Err(why) = by_auth_events(rules, event, evidence.auth_events) {
        return Verdict::Rejected(why);
    }
    if is_create {
        return Verdict::Accepted;
    }
    if let Err(why) = by_state(rules, event, before) {
        return Verdict::Rejected(why);
    }
    // Sent from here, both are the same.
    if std::ptr::eq(before, evidence.current) {
        return Verdict::Accepted;
    }
    match by_state(rules, event, evidence.current) {
        Ok(()) => Verdict::Accepted,
        Err(why) => Verdict::SoftFailed(why),
    }
}

/// Judges an event that is only known because others rest upon it: by its own auth events alone, all of which are here.
pub(super) fn by_auth_events(
    rules: &AuthorizationRules,
    event: &Pdu,
    auth_events: &BTreeMap<OwnedEventId, Arc<Pdu>>,
) -> Result<(), String> {
    check_state_independent_auth_rules(rules, event, |id: &EventId| auth_events.get(id).map(Arc::clone))?;
    let state: State =
        auth_events.values().filter_map(|pdu| Some((pdu.state_key_pair()?, Arc::clone(pdu)))).collect();
    by_state(rules, event, &state)
}

/// Judges an event by a state.
pub(super) fn by_state(rules: &AuthorizationRules, event: &Pdu, state: &State) -> Result<(), String> {
    check_state_dependent_auth_rules(rules, event, |kind: &StateEventType, key: &str| {
        state.get(&(kind.to_string(), key.to_owned())).map(Arc::clone)
    })
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::{Value, json};

    use super::*;

    const ALICE: &str = "@alice:x";
    const BOB: &str = "@bob:x";

    /// Which events a case knows.
    #[derive(Clone, Copy)]
    enum Known {
        All,
        NoAuthEvents,
        NoPrevEvents,
    }

    fn pdu(id: &str, json: Value) -> Arc<Pdu> {
        Arc::new(Pdu::parse(OwnedEventId::try_from(id).expect("an ID"), &json.to_string()).expect("a PDU"))
    }

    /// A room of Alice's in which anybody may join, with Bob as `bob` and the power levels `levels`.
    fn room(version: &RoomVersionId, bob: &str, levels: Value) -> State {
        let above_all = version == &RoomVersionId::V12;
        let base = |kind: &str, key: &str, sender: &str, content: Value, auth: &[&str]| {
            json!({ "type": kind, "state_key": key, "sender": sender, "content": content, "room_id": "!create",
                    "origin_server_ts": 1, "depth": 1, "prev_events": [], "auth_events": auth })
        };
        let mut create =
            base("m.room.create", "", ALICE, json!({ "room_version": version, "creator": ALICE }), &[]);
        if above_all {
            create.as_object_mut().expect("an object").remove("room_id");
        }
        let member =
            |user: &str, word: &str| base("m.room.member", user, user, json!({ "membership": word }), &[]);
        let rows = [
            ("$create", create),
            ("$alice", member(ALICE, "join")),
            ("$bob", member(BOB, bob)),
            ("$levels", base("m.room.power_levels", "", ALICE, levels, &[])),
            ("$rules", base("m.room.join_rules", "", ALICE, json!({ "join_rule": "public" }), &[])),
        ];
        let state = rows.map(|(id, json)| {
            let pdu = pdu(id, json);
            (pdu.state_key_pair().expect("is state"), pdu)
        });
        state.into_iter().collect()
    }

    fn verdict(
        version: &RoomVersionId,
        event: &Value,
        before: &State,
        current: &State,
        known: Known,
    ) -> Verdict {
        let event = pdu("$event", event.clone());
        let auth_events = before.values().map(|pdu| (pdu.event_id().clone(), Arc::clone(pdu))).collect();
        let nothing = BTreeMap::new();
        let (auth_events, before) = match known {
            Known::All => (&auth_events, Some(before)),
            Known::NoAuthEvents => (&nothing, Some(before)),
            Known::NoPrevEvents => (&auth_events, None),
        };
        let rules = version.rules().expect("a known version").authorization;
        judge(&rules, &event, Evidence { auth_events, before, current })
    }

    #[test]
    fn an_event_is_judged_as_every_server_would() {
        for version in [RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12] {
            let users = if version == RoomVersionId::V12 { json!({}) } else { json!({ ALICE: 100 }) };
            let open = json!({ "users": users, "events_default": 0 });
            let silent = json!({ "users": users, "events_default": 50 });
            let with_bob = room(&version, "join", open.clone());
            let (banned, silenced) = (room(&version, "ban", open), room(&version, "join", silent));
            let named: &[&str] = match version {
                RoomVersionId::V12 => &["$levels", "$bob"],
                _ => &["$create", "$levels", "$bob"],
            };
            let message = json!({ "type": "m.room.message", "sender": BOB, "content": {}, "room_id": "!create",
                "origin_server_ts": 2, "depth": 2, "prev_events": ["$prev"], "auth_events": named });
            let mut topic = message.clone();
            topic["type"] = "m.room.topic".into();
            topic["state_key"] = "".into();
            let mut stray = message.clone();
            stray["auth_events"].as_array_mut().expect("a list").push("$rules".into());
            let rows: [(&str, &Value, &State, &State, Known, &str); 9] = [
                ("a member speaks", &message, &with_bob, &with_bob, Known::All, "accepted"),
                ("a banned one speaks", &message, &banned, &banned, Known::All, "rejected"),
                ("without the power", &message, &silenced, &silenced, Known::All, "rejected"),
                ("sets state without the power", &topic, &with_bob, &with_bob, Known::All, "rejected"),
                ("names what does not allow it", &stray, &with_bob, &with_bob, Known::All, "rejected"),
                ("was banned meanwhile", &message, &with_bob, &banned, Known::All, "soft-failed"),
                ("was silenced meanwhile", &message, &with_bob, &silenced, Known::All, "soft-failed"),
                ("its auth events are not here", &message, &with_bob, &with_bob, Known::NoAuthEvents, "auth"),
                ("what it follows is not here", &message, &with_bob, &with_bob, Known::NoPrevEvents, "prev"),
            ];
            for (what, event, before, current, known, expected) in rows {
                let verdict = verdict(&version, event, before, current, known);
                let ids =
                    |ids: &[&str]| ids.iter().map(|id| OwnedEventId::try_from(*id).expect("an ID")).collect();
                let fits = match expected {
                    "accepted" => verdict == Verdict::Accepted,
                    "rejected" => matches!(verdict, Verdict::Rejected(_)),
                    "soft-failed" => matches!(verdict, Verdict::SoftFailed(_)),
                    "auth" => verdict == Verdict::Missing(ids(named)),
                    _ => verdict == Verdict::Missing(ids(&["$prev"])),
                };
                assert!(fits, "{version}: {what}: {verdict:?}");
            }
        }
    }
}
