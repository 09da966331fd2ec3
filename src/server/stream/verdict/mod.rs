//! What push rules want done for an event: Matrix's defaults, or those that a user made.
//!
//! What the default rules say about a plain message that names nobody is decided without evaluating them all.

mod conditions;
mod glob;

use std::sync::Arc;

use ruma::{
    OwnedRoomId, OwnedUserId, UInt, UserId,
    events::room::power_levels::{RoomPowerLevels, RoomPowerLevelsEventContent},
    push::{Action, PushConditionRoomCtx, Ruleset},
};
use serde::Deserialize;

use self::conditions::evaluate;
use crate::server::{
    accounts::default_rules::default_rules,
    event::stored::StoredEvent,
    rooms::Members,
    store::{Store, StoreError},
};

/// Push rules that a user made: their JSON, and what it says.
pub(super) type RulesMade = (String, Ruleset);

/// What the push rules want done for an event.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// The user is to be notified.
    pub notify: bool,
    /// The event calls for the user.
    pub highlight: bool,
}

/// One user's push rules in one room.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) store: &'a Store,
    pub(super) members: &'a Members,
    pub(super) user: &'a UserId,
    pub(super) room: OwnedRoomId,
    /// Those that the user made.
    pub(super) own: Option<Arc<RulesMade>>,
    /// What the user goes by in the room, in lower case; `None`: that is to be looked up. Empty: by nothing.
    pub(super) name: Option<Arc<str>>,
    /// The default rules if there are no own ones, and what rules have to know; made when first needed.
    pub(super) made: Option<Box<(Ruleset, PushConditionRoomCtx)>>,
}

impl Rules<'_> {
    /// Whether the user is to be notified of an event, and how loud.
    pub(super) async fn verdict(&mut self, event: &StoredEvent) -> Result<Verdict, StoreError> {
        if self.own.is_none() && is_member_of_others(event, self.user) {
            return Ok(Verdict::default());
        }
        if self.own.is_none() && self.is_plain(event).await? {
            return Ok(Verdict { notify: true, highlight: false });
        }
        Ok(verdict(&self.asked(event).await?))
    }

    /// Whether an event is a message of which the default rules say "notify, without highlight": the rule
    /// for messages applies, and nothing in the event could make an earlier rule apply. A `false` only
    /// means that the rules have to be asked.
    async fn is_plain(&mut self, event: &StoredEvent) -> Result<bool, StoreError> {
        match event.plain_words() {
            None => Ok(false),
            // Clients say that a message mentions nobody.
            Some("") => Ok(true),
            Some(words) if may_name(words, self.user, "") => Ok(false),
            Some(words) => Ok(!may_name(words, self.user, &self.name().await?)),
        }
    }

    async fn name(&mut self) -> Result<Arc<str>, StoreError> {
        #[derive(Default, Deserialize)]
        struct Member {
            #[serde(default)]
            displayname: Option<String>,
        }
        if let Some(name) = &self.name {
            return Ok(Arc::clone(name));
        }
        let member = self.store.state_event(&self.room, "m.room.member", self.user.as_str()).await?;
        let member = member.and_then(|e| e.content_as::<Member>()).unwrap_or_default();
        let name: Arc<str> = member.displayname.unwrap_or_default().to_lowercase().into();
        self.name = Some(Arc::clone(&name));
        Ok(name)
    }

    /// What the rules want done for an event.
    pub(super) async fn actions(&mut self, event: &StoredEvent) -> Result<Vec<Action>, StoreError> {
        if self.own.is_none() && is_member_of_others(event, self.user) {
            return Ok(Vec::new());
        }
        self.asked(event).await
    }

    async fn asked(&mut self, event: &StoredEvent) -> Result<Vec<Action>, StoreError> {
        let name = self.name().await?;
        if self.made.is_none() {
            let default = if self.own.is_some() { Ruleset::new() } else { default_rules(self.user) };
            self.made = Some(Box::new((default, self.context().await?)));
        }
        let Some(made) = &self.made else { return Ok(Vec::new()) };
        let rules = self.own.as_ref().map_or(&made.0, |own| &own.1);
        Ok(evaluate(rules, event, (&made.1, &name)))
    }

    async fn context(&self) -> Result<PushConditionRoomCtx, StoreError> {
        let (joined, _) = self.members.counts(&self.room);
        let mut context = PushConditionRoomCtx::new(
            self.room.clone(),
            UInt::try_from(joined as u64).unwrap_or(UInt::MAX),
            self.user.to_owned(),
            String::new(),
        );
        let create = self.store.state_event(&self.room, "m.room.create", "").await?;
        let levels = self.store.state_event(&self.room, "m.room.power_levels", "").await?;
        let row = self.store.room(&self.room).await?;
        let rules = row.and_then(|row| row.version.rules()).map(|rules| rules.authorization);
        if let (Some(create), Some(rules)) = (create, rules) {
            let levels = levels.and_then(|e| e.content_as::<RoomPowerLevelsEventContent>());
            context.power_levels =
                Some(RoomPowerLevels::new(levels.into(), &rules, creators(&create)).into());
        }
        Ok(context)
    }
}

fn creators(create: &StoredEvent) -> Vec<OwnedUserId> {
    #[derive(Default, Deserialize)]
    struct Create {
        #[serde(default)]
        additional_creators: Vec<OwnedUserId>,
    }
    let mut creators = create.content_as::<Create>().unwrap_or_default().additional_creators;
    creators.push(create.sender.clone());
    creators
}

fn verdict(actions: &[Action]) -> Verdict {
    Verdict {
        notify: actions.iter().any(Action::should_notify),
        highlight: actions.iter().any(Action::is_highlight),
    }
}

/// Whether an event says what others than `user` are in the room, of which the default rules say that it calls for
/// nobody: of large rooms, most of what happened.
fn is_member_of_others(event: &StoredEvent, user: &UserId) -> bool {
    event.kind == "m.room.member" && event.state_key.as_deref().is_some_and(|key| key != user.as_str())
}

/// Whether words in lower case can be thought to be about a user who goes by `name`, or about everybody.
fn may_name(words: &str, user: &UserId, name: &str) -> bool {
    let localpart = user.localpart();
    let is_in = |lower: &str| !lower.is_empty() && words.contains(lower);
    is_in("@room")
        || is_in(name)
        || if localpart.bytes().any(|b| b.is_ascii_uppercase()) {
            is_in(&localpart.to_lowercase())
        } else {
            is_in(localpart)
        }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ruma::{event_id, room_id, user_id};

    use super::*;
    use crate::server::{
        change::position::{LogPosition, TimelinePosition},
        event::stored::Columns,
    };

    fn message(kind: &str, content: &str) -> StoredEvent {
        let sender = user_id!("@bob:x");
        StoredEvent::from(Columns {
            position: LogPosition::new(1),
            timeline: TimelinePosition::live(LogPosition::new(1)),
            event_id: event_id!("$e").to_owned(),
            room_id: room_id!("!r:x").to_owned(),
            kind: kind.to_owned(),
            state_key: None,
            sender: sender.to_owned(),
            origin_server_ts: 0,
            depth: 1,
            pdu: format!(r#"{{"content":{content},"room_id":"!r:x","sender":"{sender}","type":"{kind}"}}"#)
                .into(),
            replaces: None,
            redacted_because: None,
            transaction: None,
            ours: false,
            unasked: false,
            hidden: false,
            lacks: false,
        })
    }

    fn context(members: u32) -> PushConditionRoomCtx {
        let user = user_id!("@alice:x").to_owned();
        PushConditionRoomCtx::new(room_id!("!r:x").to_owned(), members.into(), user, String::new())
    }

    #[test]
    fn members_other_than_the_reader_call_for_nobody() {
        let user = user_id!("@alice:x");
        let rules = default_rules(user);
        for key in ["@alice:x", "@bob:x", "@room", ""] {
            for content in [
                r#"{"membership":"invite"}"#,
                r#"{"body":"Alice @room","displayname":"Alice","membership":"join"}"#,
                r#"{"m.mentions":{"room":true,"user_ids":["@bob:x"]},"membership":"leave"}"#,
            ] {
                let mut event = message("m.room.member", content);
                event.pdu = event.pdu.replacen('{', &format!(r#"{{"state_key":"{key}","#), 1).into();
                event.state_key = Some(key.into());
                if is_member_of_others(&event, user) {
                    let said = verdict(&evaluate(&rules, &event, (&context(2), "alice")));
                    assert_eq!(said, Verdict::default(), "{}", event.pdu);
                } else {
                    assert_eq!(key, "@alice:x");
                }
            }
        }
    }

    #[test]
    fn the_short_way_never_differs_from_the_rules() {
        let bodies = [
            "hello",
            "Alice: hi",
            "aLICE the great",
            "malice",
            "@room",
            "the room",
            "m.mentions",
            "m.notice",
            "",
        ];
        let mut taken = BTreeSet::new();
        let user = user_id!("@alice:x");
        let rules = default_rules(user);
        for kind in ["m.room.message", "m.room.encrypted", "m.reaction", "org.x"] {
            for body in bodies {
                for more in [
                    r#""msgtype":"m.text""#,
                    r#""msgtype":"M.notice""#,
                    r#""m.mentions":{},"msgtype":"m.text""#,
                    r#""m.mentions":5,"msgtype":"m.text""#,
                    r#""m.mentions":{"user_ids":["@alice:x"]},"msgtype":"m.text""#,
                    r#""m.relates_to":{"rel_type":"m.replace"},"msgtype":"m.text""#,
                    r#""msgtype":"m.text","x":{"m.mentions":{}}"#,
                ] {
                    let event = message(kind, &format!(r#"{{"body":"{body}",{more}}}"#));
                    for (members, name) in [(2, ""), (3, "the"), (3, "alice the great"), (4, "a")] {
                        let asked = (&context(members), name);
                        let verdict = verdict(&evaluate(&rules, &event, asked));
                        let plain = event.plain_words().is_some_and(|words| {
                            words.is_empty() || !may_name(words, user, "") && !may_name(words, user, name)
                        });
                        if plain {
                            let loud = Verdict { notify: true, highlight: false };
                            assert_eq!(verdict, loud, "{name:?}: {}", event.pdu);
                        }
                        taken.insert((plain, verdict.notify, verdict.highlight));
                    }
                }
            }
        }
        let all = [(false, false, false), (false, true, false), (false, true, true), (true, true, false)];
        assert_eq!(taken.into_iter().collect::<Vec<_>>(), all);
    }

    #[test]
    fn words_count_where_a_message_does_not_say_whom_it_mentions() {
        let rules = default_rules(user_id!("@alice:x"));
        let highlights = |content: &str, power: i64| {
            let mut context = context(3);
            let levels = format!(r#"{{"users":{{"@bob:x":{power}}}}}"#);
            let levels: RoomPowerLevelsEventContent = serde_json::from_str(&levels).expect("levels");
            let rules_of_room = ruma::RoomVersionId::V10.rules().expect("a version").authorization;
            context.power_levels =
                Some(RoomPowerLevels::new(Some(levels).into(), &rules_of_room, Vec::new()).into());
            let event = message("m.room.message", content);
            verdict(&evaluate(&rules, &event, (&context, "alice the [great]"))).highlight
        };
        for (content, by_anybody, by_power) in [
            (r#"{"body":"oi alice","msgtype":"m.text"}"#, true, true),
            (r#"{"body":"oi ALICE!","msgtype":"m.text"}"#, true, true),
            (r#"{"body":"oi malice","msgtype":"m.text"}"#, false, false),
            (r#"{"body":"is Alice the [Great] here","msgtype":"m.text"}"#, true, true),
            (r#"{"body":"oi alice","m.mentions":{},"msgtype":"m.text"}"#, false, false),
            (r#"{"body":"oi alice","m.mentions":{"user_ids":["@bob:x"]},"msgtype":"m.text"}"#, false, false),
            (r#"{"body":"oi alice","msgtype":"m.notice"}"#, false, false),
            (r#"{"body":"@room look","msgtype":"m.text"}"#, false, true),
            (r#"{"body":"@room look","m.mentions":{},"msgtype":"m.text"}"#, false, false),
            (r#"{"body":"look","m.mentions":{"room":true},"msgtype":"m.text"}"#, false, true),
        ] {
            assert_eq!(highlights(content, 0), by_anybody, "{content}");
            assert_eq!(highlights(content, 50), by_power, "{content}");
        }
    }

    #[test]
    fn the_first_rule_whose_conditions_apply_counts() {
        let event = message(
            "m.room.message",
            r#"{"body":"lunch at ten","msgtype":"m.text","org.x":{"n":3,"l":["a"]}}"#,
        );
        for (rule, applies) in [
            (r#"{"kind":"event_match","key":"content.body","pattern":"lunc?*"}"#, true),
            (r#"{"kind":"event_match","key":"content.body","pattern":"unch"}"#, false),
            (r#"{"kind":"event_match","key":"content.msgtype","pattern":"M.T*"}"#, true),
            (r#"{"kind":"event_match","key":"content.msgtype","pattern":"m"}"#, false),
            (r#"{"kind":"event_match","key":"room_id","pattern":"!r:*"}"#, true),
            (r#"{"kind":"event_match","key":"content.none","pattern":"*"}"#, false),
            (r#"{"kind":"event_property_is","key":"content.org\\.x.n","value":3}"#, true),
            (r#"{"kind":"event_property_is","key":"content.org\\.x.n","value":"3"}"#, false),
            (r#"{"kind":"event_property_contains","key":"content.org\\.x.l","value":"a"}"#, true),
            (r#"{"kind":"room_member_count","is":"3"}"#, true),
            (r#"{"kind":"room_member_count","is":"<3"}"#, false),
            (r#"{"kind":"contains_display_name"}"#, true),
            (r#"{"kind":"org.unknown"}"#, false),
        ] {
            let rules = format!(
                r#"{{"override":[{{"rule_id":"x","default":false,"enabled":true,"actions":["notify"],"conditions":[{rule}]}}]}}"#
            );
            let rules: Ruleset = serde_json::from_str(&rules).expect("rules");
            let asked = (&context(3), "lunch");
            assert_eq!(!evaluate(&rules, &event, asked).is_empty(), applies, "{rule}");
        }
    }
}
