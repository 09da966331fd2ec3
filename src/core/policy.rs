//! Who may begin a private chat with a user (L7), by the state that the user chose; and who is meant by a word such as
//! "those of this group", which a user also says of who reads a field of their profile (L5).
//!
//! The choice counts, not what idleness or a lost connection makes of it: who chose `busy` and goes home is still
//! not to be disturbed. A hidden user answers as an offline one, or a refusal would give them away. Of the refusal
//! itself nothing may tell which rule or state it came from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use super::presence::Choice;

/// The most groups that one word names.
const MAX_GROUPS: usize = 100;

/// Who may do something: begin a chat, or read.
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
    /// People in any of these, 100 at most.
    Groups(#[serde(deserialize_with = "groups")] BTreeSet<String>),
    /// Nobody.
    Nobody,
}

fn group<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(String::deserialize(deserializer)?)
}

fn groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    if names.len() > MAX_GROUPS {
        return Err(serde::de::Error::custom(format_args!("more than {MAX_GROUPS} groups")));
    }
    names.into_iter().map(checked).collect()
}

fn checked<E: serde::de::Error>(name: String) -> Result<String, E> {
    match name.len() {
        1..=64 => Ok(name),
        _ => Err(E::custom("the name of a group has 1 to 64 bytes")),
    }
}

impl Admit {
    /// Whether somebody is meant of whom the user's presence list says this.
    pub fn admits(&self, listing: &Listing<'_>) -> bool {
        match self {
            Self::Everybody => true,
            Self::List => listing.listed,
            Self::Group(group) => listing.groups.contains(&group.as_str()),
            Self::Groups(groups) => listing.groups.iter().any(|group| groups.contains(*group)),
            Self::Nobody => false,
        }
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

/// What the user's presence list says of somebody.
#[derive(Clone, Debug, Default)]
pub struct Listing<'a> {
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
    pub fn may_invite(&self, choice: Choice, inviter: &Listing<'_>) -> bool {
        self.rules.get(&Chosen::of(choice)).is_none_or(|admit| admit.admits(inviter))
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
            assert!(Policy::default().may_invite(state, &Listing::default()), "{state}");
        }
    }

    /// Rule × inviter: stranger, listed, in the group, in another group.
    #[test]
    fn l7_the_table_of_rules() {
        let inviters = [
            Listing::default(),
            Listing { listed: true, groups: vec![] },
            Listing { listed: true, groups: vec!["friends", "important"] },
            Listing { listed: true, groups: vec!["friends"] },
        ];
        for (admit, allowed) in [
            (Admit::Everybody, [true, true, true, true]),
            (Admit::List, [false, true, true, true]),
            (Admit::Group("important".to_owned()), [false, false, true, false]),
            (
                Admit::Groups(["important".to_owned(), "friends".to_owned()].into()),
                [false, false, true, true],
            ),
            (Admit::Groups(BTreeSet::new()), [false, false, false, false]),
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
        let stranger = Listing::default();
        let friend = Listing { listed: true, groups: vec![] };
        let important = Listing { listed: true, groups: vec!["important people"] };
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
            for inviter in [Listing::default(), Listing { listed: true, groups: vec![] }] {
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
            r#"{"online":{"groups":["a",""]}}"#,
            r#"{"online":{"groups":"a"}}"#,
        ] {
            assert!(serde_json::from_str::<Policy>(bad).is_err(), "{bad}");
        }
        let groups = |count: usize| {
            let names: Vec<_> = (0..count).map(|n| n.to_string()).collect();
            serde_json::to_string(&serde_json::json!({ "groups": names })).expect("JSON")
        };
        assert!(serde_json::from_str::<Admit>(&groups(MAX_GROUPS)).is_ok());
        assert!(serde_json::from_str::<Admit>(&groups(MAX_GROUPS + 1)).is_err());
    }
}
