//! Who may begin a private chat with a user (L7), by the state that the user chose.
//!
//! The choice counts, not what idleness or a lost connection makes of it: who chose `busy` and goes home is still
//! not to be disturbed. A hidden user answers as an offline one, or a refusal would give them away. Of the refusal
//! itself nothing may tell which rule or state it came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::presence::Choice;

/// Who may invite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admit {
    /// Everybody.
    #[default]
    Everybody,
    /// People on the user's presence list.
    List,
    /// People in this group of the list; the name has 1 to 64 bytes, as names of groups have.
    Group(#[serde(deserialize_with = "group")] String),
    /// Nobody.
    Nobody,
}

fn group<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.len() {
        1..=64 => Ok(name),
        _ => Err(serde::de::Error::custom("the name of a group has 1 to 64 bytes")),
    }
}

/// A user's policy: a rule for each choice; where there is none, everybody may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy {
    rules: BTreeMap<Chosen, Admit>,
}

/// The choices that a rule can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Chosen {
    Offline,
    Unavailable,
    Busy,
    Online,
    FreeForChat,
}

impl Chosen {
    const fn of(choice: Choice) -> Self {
        match choice {
            Choice::Offline | Choice::Hidden => Self::Offline,
            Choice::Unavailable => Self::Unavailable,
            Choice::Busy => Self::Busy,
            Choice::Online => Self::Online,
            Choice::FreeForChat => Self::FreeForChat,
        }
    }
}

/// What the user's presence list says of who invites.
#[derive(Clone, Debug, Default)]
pub struct Inviter<'a> {
    /// They are on it, whether they have accepted or not.
    pub listed: bool,
    /// The groups they are in.
    pub groups: Vec<&'a str>,
}

impl Policy {
    /// The policy that `presence.md` gives as an example: when free for chat, everybody; when online, people on
    /// the list; when busy, people of one group.
    pub fn example(important: &str) -> Self {
        Self::default()
            .with(Choice::FreeForChat, Admit::Everybody)
            .with(Choice::Online, Admit::List)
            .with(Choice::Busy, Admit::Group(important.to_owned()))
    }

    /// This policy with the rule of one choice set; hidden counts as offline.
    #[must_use]
    pub fn with(mut self, choice: Choice, admit: Admit) -> Self {
        self.rules.insert(Chosen::of(choice), admit);
        self
    }

    /// Whether the inviter may begin a private chat with a user of this choice.
    pub fn may_invite(&self, choice: Choice, inviter: &Inviter<'_>) -> bool {
        match self.rules.get(&Chosen::of(choice)) {
            None | Some(Admit::Everybody) => true,
            Some(Admit::List) => inviter.listed,
            Some(Admit::Group(group)) => inviter.groups.contains(&group.as_str()),
            Some(Admit::Nobody) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn l7_without_a_policy_everybody_may() {
        for state in Choice::ALL {
            assert!(Policy::default().may_invite(state, &Inviter::default()), "{state}");
        }
    }

    /// Rule × inviter: stranger, listed, in the group, in another group.
    #[test]
    fn l7_the_table_of_rules() {
        let inviters = [
            Inviter::default(),
            Inviter { listed: true, groups: vec![] },
            Inviter { listed: true, groups: vec!["friends", "important"] },
            Inviter { listed: true, groups: vec!["friends"] },
        ];
        for (admit, allowed) in [
            (Admit::Everybody, [true, true, true, true]),
            (Admit::List, [false, true, true, true]),
            (Admit::Group("important".to_owned()), [false, false, true, false]),
            (Admit::Nobody, [false, false, false, false]),
        ] {
            let policy = Policy::default().with(Choice::Busy, admit.clone());
            for (inviter, allowed) in inviters.iter().zip(allowed) {
                assert_eq!(policy.may_invite(Choice::Busy, inviter), allowed, "{admit:?} {inviter:?}");
                assert!(policy.may_invite(Choice::Online, inviter), "there is no rule for it");
            }
        }
    }

    #[test]
    fn l7_the_example_of_the_source() {
        let policy = Policy::example("important people");
        let stranger = Inviter::default();
        let friend = Inviter { listed: true, groups: vec![] };
        let important = Inviter { listed: true, groups: vec!["important people"] };
        for (state, allowed) in [
            (Choice::FreeForChat, [true, true, true]),
            (Choice::Online, [false, true, true]),
            (Choice::Busy, [false, false, true]),
        ] {
            let outcome = [&stranger, &friend, &important].map(|who| policy.may_invite(state, who));
            assert_eq!(outcome, allowed, "{state}");
        }
    }

    #[test]
    fn p4_l7_a_hidden_user_answers_as_an_offline_one() {
        for admit in [Admit::Everybody, Admit::List, Admit::Nobody] {
            let policy =
                Policy::default().with(Choice::Offline, admit).with(Choice::Online, Admit::Everybody);
            for inviter in [Inviter::default(), Inviter { listed: true, groups: vec![] }] {
                let offline = policy.may_invite(Choice::Offline, &inviter);
                assert_eq!(policy.may_invite(Choice::Hidden, &inviter), offline);
            }
        }
    }

    #[test]
    fn l7_the_policy_in_json() {
        let policy = Policy::example("important people").with(Choice::Offline, Admit::Nobody);
        let json = serde_json::to_string(&policy).expect("JSON");
        let expected = r#"{"offline":"nobody","busy":{"group":"important people"},"online":"list","free_for_chat":"everybody"}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Policy>(&json).expect("its own JSON"), policy);
        for bad in [
            r#"{"hidden":"nobody"}"#,
            r#"{"online":"some"}"#,
            r#"{"online":{"group":1}}"#,
            r#"{"online":{"group":""}}"#,
        ] {
            assert!(serde_json::from_str::<Policy>(bad).is_err(), "{bad}");
        }
    }
}
