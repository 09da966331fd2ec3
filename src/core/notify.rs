//! Whether an event is brought to the user's notice (P13), by who sent it and by the user's own state.
//!
//! `presence.md` lets a lower state mute notifications. Here that is `busy` and `offline` unless the user
//! says otherwise; `hidden` looks like offline to others only, and goes on being told. Groups of the presence
//! list are exceptions in both directions, as the policy for private chats knows "important people".

use super::presence::Choice;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Somebody says something to the user.
    Message,
    /// Somebody calls.
    Call,
    /// Somebody invites the user to a room.
    Invitation,
    /// A change of state, an edit, a reaction, a bot's notice: nothing to be interrupted for.
    Other,
}

/// Who sent an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender<'a> {
    /// The user, on whichever device.
    Me,
    /// Somebody else, who is in these groups of the user's presence list.
    Other {
        /// The names of the groups.
        groups: &'a [String],
    },
}

/// What a group of the presence list is to be treated like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// Told, whatever the user's state.
    Always,
    /// Never told.
    Never,
}

/// What a user set; the same on all their devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifySettings {
    /// The states of the user's own in which nothing is told. Default: busy and offline.
    pub muted_in: Vec<Choice>,
    /// The groups that are exceptions, by name. Default: none.
    pub groups: Vec<(String, Exception)>,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self { muted_in: vec![Choice::Busy, Choice::Offline], groups: Vec::new() }
    }
}

impl NotifySettings {
    /// Whether to tell a user who chose `state` of an event. Somebody who is in groups of both kinds is told
    /// of: what is missed costs more than one notification too many.
    pub fn should_notify(&self, state: Choice, subject: Subject, sender: Sender<'_>) -> bool {
        let groups = match sender {
            Sender::Me => return false,
            Sender::Other { groups } => groups,
        };
        match subject {
            Subject::Other => return false,
            Subject::Message | Subject::Call | Subject::Invitation => (),
        }
        let any = |kind| self.groups.iter().any(|(name, known)| *known == kind && groups.contains(name));
        any(Exception::Always) || !any(Exception::Never) && !self.muted_in.contains(&state)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const CHOICES: [Choice; 6] = [
        Choice::FreeForChat,
        Choice::Online,
        Choice::Busy,
        Choice::Unavailable,
        Choice::Offline,
        Choice::Hidden,
    ];
    const TOLD: [Subject; 3] = [Subject::Message, Subject::Call, Subject::Invitation];

    fn names(groups: &[&str]) -> Vec<String> {
        groups.iter().map(|name| (*name).to_owned()).collect()
    }

    fn settings(muted_in: &[Choice]) -> NotifySettings {
        let groups =
            vec![(String::from("important"), Exception::Always), (String::from("noise"), Exception::Never)];
        NotifySettings { muted_in: muted_in.to_vec(), groups }
    }

    /// State × groups of the sender: none, one without an exception, always, never, both.
    #[test]
    fn p13_the_table_of_states_and_groups() {
        let senders = [&[][..], &["work"], &["important"], &["noise"], &["noise", "work", "important"]];
        for (state, told) in [
            (Choice::FreeForChat, [true, true, true, false, true]),
            (Choice::Online, [true, true, true, false, true]),
            (Choice::Unavailable, [true, true, true, false, true]),
            (Choice::Hidden, [true, true, true, false, true]),
            (Choice::Busy, [false, false, true, false, true]),
            (Choice::Offline, [false, false, true, false, true]),
        ] {
            let rules = settings(&NotifySettings::default().muted_in);
            for (groups, told) in senders.iter().zip(told) {
                let groups = names(groups);
                for subject in TOLD {
                    let outcome = rules.should_notify(state, subject, Sender::Other { groups: &groups });
                    assert_eq!(outcome, told, "{state:?} {subject:?} {groups:?}");
                }
            }
        }
    }

    fn choices() -> impl Strategy<Value = Vec<Choice>> {
        proptest::sample::subsequence(CHOICES.to_vec(), 0..=CHOICES.len())
    }

    fn groups() -> impl Strategy<Value = Vec<String>> {
        proptest::sample::subsequence(names(&["important", "noise", "work"]), 0..=3)
    }

    proptest! {
        #![proptest_config(crate::core::testing::config())]

        #[test]
        fn p13_nobody_is_told_of_their_own_doings_or_of_what_is_no_news(
            muted_in in choices(), state in proptest::sample::select(&CHOICES), groups in groups(),
        ) {
            let rules = settings(&muted_in);
            for subject in TOLD {
                prop_assert!(!rules.should_notify(state, subject, Sender::Me));
            }
            let told = rules.should_notify(state, Subject::Other, Sender::Other { groups: &groups });
            prop_assert!(!told);
        }

        #[test]
        fn p13_muting_one_more_state_tells_nothing_more(
            muted_in in choices(), more in proptest::sample::select(&CHOICES),
            state in proptest::sample::select(&CHOICES), groups in groups(),
        ) {
            let sender = Sender::Other { groups: &groups };
            let (fewer, mut wider) = (settings(&muted_in), settings(&muted_in));
            wider.muted_in.push(more);
            let told = |rules: &NotifySettings| rules.should_notify(state, Subject::Message, sender);
            prop_assert!(told(&fewer) || !told(&wider));
        }

        #[test]
        fn p13_the_order_of_groups_does_not_matter(
            state in proptest::sample::select(&CHOICES), groups in groups(), muted_in in choices(),
        ) {
            let (rules, mut reversed) = (settings(&muted_in), groups.clone());
            reversed.reverse();
            let told = |groups: &[String]| rules.should_notify(state, Subject::Call, Sender::Other { groups });
            prop_assert_eq!(told(&groups), told(&reversed));
        }
    }
}
