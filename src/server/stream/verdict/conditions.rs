//! Which push rule applies to an event: the first whose conditions all do.
//!
//! Patterns are matched here; of the other conditions `ruma` says whether they apply.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use ruma::{
    events::AnySyncTimelineEvent,
    push::{
        Action, AnyPushRuleRef, ConditionalPushRule, FlattenedJson, PushCondition, PushConditionRoomCtx,
        Ruleset,
    },
    serde::Raw,
};
use serde_json::value::RawValue;

use super::glob;
use crate::server::{
    accounts::default_rules::{NAMES_ME, NAMES_MY_ID, NAMES_ROOM},
    event::stored::StoredEvent,
};

/// The key whose value is matched by words.
const BODY: &str = "content.body";

/// What the rules want done for an event, in a room, for somebody who goes by a name there.
pub(super) fn evaluate(
    rules: &Ruleset,
    event: &StoredEvent,
    (context, name): (&PushConditionRoomCtx, &str),
) -> Vec<Action> {
    if event.sender == context.user_id {
        return Vec::new();
    }
    let Ok(json) = RawValue::from_string(event.pdu.to_string()) else { return Vec::new() };
    let event = FlattenedJson::from_raw(&Raw::<AnySyncTimelineEvent>::from_json(json));
    let asked = Asked { event, context, name };
    rules.iter().find(|rule| asked.applies(rule)).map(|rule| rule.actions().to_vec()).unwrap_or_default()
}

/// What rules are asked of.
struct Asked<'a> {
    event: FlattenedJson,
    context: &'a PushConditionRoomCtx,
    /// What the user goes by.
    name: &'a str,
}

impl Asked<'_> {
    fn applies(&self, rule: &AnyPushRuleRef<'_>) -> bool {
        // What was said to be meant counts, and not what the words look like.
        let is_by_words = [NAMES_ME, NAMES_ROOM, NAMES_MY_ID].contains(&rule.rule_id());
        if !rule.enabled() || is_by_words && self.event.contains_mentions() {
            return false;
        }
        match rule {
            AnyPushRuleRef::Override(ConditionalPushRule { conditions, .. })
            | AnyPushRuleRef::Underride(ConditionalPushRule { conditions, .. }) => {
                conditions.iter().all(|condition| self.meets(condition))
            }
            AnyPushRuleRef::Content(rule) => self.matches(BODY, &rule.pattern),
            AnyPushRuleRef::Room(rule) => rule.rule_id == self.context.room_id,
            AnyPushRuleRef::Sender(rule) => self.event.get_str("sender") == Some(rule.rule_id.as_str()),
            _ => false,
        }
    }

    fn meets(&self, condition: &PushCondition) -> bool {
        #[allow(deprecated, reason = "the default rules have it until Matrix 1.17")]
        match condition {
            PushCondition::EventMatch(condition) => self.matches(&condition.key, &condition.pattern),
            PushCondition::ContainsDisplayName => {
                self.event.get_str(BODY).is_some_and(|body| glob::has_words(body, self.name))
            }
            condition => {
                // It is asynchronous only for the sake of thread subscriptions, which are not used here.
                let mut applies = pin!(condition.applies(&self.event, self.context));
                applies.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(true)
            }
        }
    }

    fn matches(&self, key: &str, pattern: &str) -> bool {
        let value =
            if key == "room_id" { Some(self.context.room_id.as_str()) } else { self.event.get_str(key) };
        value.is_some_and(|value| {
            if key == BODY { glob::is_in(value, pattern) } else { glob::is_all_of(value, pattern) }
        })
    }
}
