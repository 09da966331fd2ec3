//! The push rules of somebody who made none: those of Matrix 1.16, the last that also has rules which look at the words
//! of messages that do not say whom they mention.

#![allow(deprecated, reason = "these rules are not in Matrix 1.17 any longer")]

use ruma::{
    UserId,
    power_levels::NotificationPowerLevelsKey,
    push::{
        Action, ConditionalPushRule, ConditionalPushRuleInit, EventMatchConditionData, HighlightTweakValue,
        PatternedPushRuleInit, PushCondition, Ruleset, SenderNotificationPermissionConditionData,
        SoundTweakValue, Tweak,
    },
};
use serde_json::{Value, json};

/// The rule for words that are what somebody goes by in the room.
pub const NAMES_ME: &str = ".m.rule.contains_display_name";
/// The rule for words that are the first part of somebody's ID.
pub const NAMES_MY_ID: &str = ".m.rule.contains_user_name";
/// The rule for `@room`.
pub const NAMES_ROOM: &str = ".m.rule.roomnotif";

/// The kinds of rules, in the order in which they are asked.
pub const KINDS: [&str; 5] = ["override", "content", "room", "sender", "underride"];

/// Behind which rule each of the two stands.
const PLACES: [(&str, &str); 2] =
    [(NAMES_ME, ".m.rule.is_user_mention"), (NAMES_ROOM, ".m.rule.is_room_mention")];

/// The default rules of a user.
pub fn default_rules(user: &UserId) -> Ruleset {
    let mut rules = Ruleset::server_default(user);
    let everybody = vec![
        EventMatchConditionData::new("content.body".to_owned(), "@room".to_owned()).into(),
        SenderNotificationPermissionConditionData::new(NotificationPowerLevelsKey::Room).into(),
    ];
    rules.override_.extend([
        rule(NAMES_ME, vec![PushCondition::ContainsDisplayName], true),
        rule(NAMES_ROOM, everybody, false),
    ]);
    for (rule, before) in PLACES {
        let at = |id: &str| rules.override_.get_index_of(id);
        if let (Some(from), Some(to)) = (at(rule), at(before)) {
            rules.override_.move_index(from, to + 1);
        }
    }
    let names_id = PatternedPushRuleInit {
        actions: actions(true),
        default: true,
        enabled: true,
        rule_id: NAMES_MY_ID.to_owned(),
        pattern: user.localpart().to_owned(),
    };
    rules.content.insert(names_id.into());
    rules
}

/// Rules as the content of `m.push_rules`: each kind is there, as clients expect, also where there is none of it.
pub fn as_content(rules: &Ruleset) -> serde_json::Result<Value> {
    let mut global = serde_json::to_value(rules)?;
    for kind in KINDS {
        if global[kind].is_null() {
            global[kind] = Value::Array(Vec::new());
        }
    }
    Ok(json!({ "global": global }))
}

fn rule(id: &str, conditions: Vec<PushCondition>, has_sound: bool) -> ConditionalPushRule {
    let actions = actions(has_sound);
    ConditionalPushRuleInit { actions, default: true, enabled: true, rule_id: id.to_owned(), conditions }
        .into()
}

fn actions(has_sound: bool) -> Vec<Action> {
    let sound = has_sound.then_some(Action::SetTweak(Tweak::Sound(SoundTweakValue::Default)));
    let highlight = Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes));
    [Some(Action::Notify), sound, Some(highlight)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn the_rules_by_words_stand_where_the_specification_has_them() {
        let rules = default_rules(user_id!("@alice:x"));
        let ids: Vec<_> = rules.override_.iter().map(|rule| rule.rule_id.as_str()).collect();
        assert_eq!(
            ids,
            [
                ".m.rule.master",
                ".m.rule.suppress_notices",
                ".m.rule.invite_for_me",
                ".m.rule.member_event",
                ".m.rule.is_user_mention",
                ".m.rule.contains_display_name",
                ".m.rule.is_room_mention",
                ".m.rule.roomnotif",
                ".m.rule.tombstone",
                ".m.rule.reaction",
                ".m.rule.room.server_acl",
                ".m.rule.suppress_edits",
            ]
        );
        let json = as_content(&rules).expect("rules are JSON")["global"].take();
        assert_eq!((&json["room"], &json["sender"]), (&json!([]), &json!([])));
        assert_eq!(
            json["override"][5],
            json!({
                "rule_id": ".m.rule.contains_display_name", "default": true, "enabled": true,
                "conditions": [{ "kind": "contains_display_name" }],
                "actions": ["notify", { "set_tweak": "sound", "value": "default" }, { "set_tweak": "highlight" }],
            })
        );
        assert_eq!(
            json["override"][7],
            json!({
                "rule_id": ".m.rule.roomnotif", "default": true, "enabled": true,
                "conditions": [
                    { "kind": "event_match", "key": "content.body", "pattern": "@room" },
                    { "kind": "sender_notification_permission", "key": "room" },
                ],
                "actions": ["notify", { "set_tweak": "highlight" }],
            })
        );
        assert_eq!(
            json["content"],
            json!([{
                "rule_id": ".m.rule.contains_user_name", "default": true, "enabled": true, "pattern": "alice",
                "actions": ["notify", { "set_tweak": "sound", "value": "default" }, { "set_tweak": "highlight" }],
            }])
        );
    }
}
