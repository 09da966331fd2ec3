//! Which redactions empty what they name: those of who may, and of the server whose user said it.
//!
//! Room version 3, "Handling redactions". The server of a message answers for who of its users may take it back.

use ruma::{
    EventId, Int,
    canonical_json::redact,
    room_version_rules::{AuthorizationRules, RoomVersionRules},
    state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField},
};

use crate::server::{
    rooms::{judge::State, pdu::Pdu, refusal::Refusal},
    store::RoomChange,
};

/// The power to redact where the creator of a room is the only one with any.
const CREATORS_POWER: i32 = 100;

/// Whether the redaction `by` empties `target`; `state`: that before the redaction.
pub(super) fn may_redact(rules: &AuthorizationRules, by: &Pdu, target: &Pdu, state: &State) -> bool {
    by.sent_by().server_name() == target.sent_by().server_name() || may_redact_all(rules, by, state)
}

/// Whether the sender of a redaction may empty what anybody said.
pub(super) fn may_redact_all(rules: &AuthorizationRules, by: &Pdu, state: &State) -> bool {
    has_power(rules, by, state).unwrap_or(false)
}

fn has_power(rules: &AuthorizationRules, by: &Pdu, state: &State) -> Result<bool, String> {
    let of_kind = |kind: &str| state.get(&(kind.to_owned(), String::new()));
    let create = of_kind("m.room.create").ok_or("no first event")?;
    let is_creator = RoomCreateEvent::new(&**create).creators(rules)?.contains(by.sent_by());
    if is_creator && rules.explicitly_privilege_room_creators {
        return Ok(true);
    }
    let needed = RoomPowerLevelsIntField::Redact;
    let (has, needs) = match of_kind("m.room.power_levels") {
        Some(levels) => {
            let levels = RoomPowerLevelsEvent::new(&**levels);
            (levels.user_power_level(by.sent_by(), rules)?, levels.get_as_int_or_default(needed, rules)?)
        }
        None => (Int::from(if is_creator { CREATORS_POWER } else { 0 }), needed.default_value()),
    };
    Ok(has >= needs)
}

/// The change that empties an event.
pub(super) fn redacted(
    rules: &RoomVersionRules,
    target: &EventId,
    json: &str,
    by: &EventId,
) -> Result<RoomChange, Refusal> {
    let internal = |e: String| Refusal::Internal(format!("redacting {target}: {e}"));
    let object = serde_json::from_str(json).map_err(|e| internal(e.to_string()))?;
    let object = redact(object, &rules.redaction, None).map_err(|e| internal(e.to_string()))?;
    let pdu = serde_json::to_string(&object).map_err(|e| internal(e.to_string()))?;
    Ok(RoomChange::Redact { target: target.to_owned(), pdu, by: by.to_owned() })
}
