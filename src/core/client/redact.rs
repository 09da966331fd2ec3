//! What is left of a content once its event is redacted (room versions 9 to 11 and later).

use std::sync::Arc;

use crate::core::wire::object::Object;
use crate::core::wire::write;

/// The keys that survive, by event type. For `m.room.create` all of them do, as since room version 11.
const KEPT: [(&str, &[&str]); 6] = [
    ("m.room.member", &["membership", "join_authorised_via_users_server"]),
    ("m.room.join_rules", &["join_rule", "allow"]),
    (
        "m.room.power_levels",
        &[
            "ban",
            "events",
            "events_default",
            "invite",
            "kick",
            "redact",
            "state_default",
            "users",
            "users_default",
        ],
    ),
    ("m.room.history_visibility", &["history_visibility"]),
    ("m.room.aliases", &["aliases"]),
    ("m.room.redaction", &["redacts"]),
];

/// The content of a redacted event of this type.
pub fn redact_content(kind: &str, content: &str) -> Arc<str> {
    if kind == "m.room.create" {
        return Arc::from(content);
    }
    let kept = KEPT.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| keys);
    let content = Object::parse_or_empty(content);
    let survives = |(name, _): &(&str, &str)| kept.contains(name);
    let left = write::object(|fields| {
        content.fields().filter(survives).for_each(|(name, value)| fields.raw(name, value));
    });
    Arc::from(left)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn only_what_the_room_runs_on_survives() {
        for (kind, content, expected) in [
            ("m.room.message", r#"{"body":"secret","msgtype":"m.text"}"#, "{}"),
            ("m.room.member", r#"{"displayname":"A","membership":"join"}"#, r#"{"membership":"join"}"#),
            (
                "m.room.join_rules",
                r#"{"allow":[],"x":1,"join_rule":"knock"}"#,
                r#"{"allow":[],"join_rule":"knock"}"#,
            ),
            ("m.room.create", r#"{"room_version":"11"}"#, r#"{"room_version":"11"}"#),
            ("m.room.name", r#"["not an object"]"#, "{}"),
        ] {
            assert_eq!(&*redact_content(kind, content), expected, "{kind}");
        }
    }
}
