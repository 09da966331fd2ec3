//! Whose word a request is: what a `PUT …/status` says, by the words that its device uses (P3).
//!
//! Clients that know only Matrix's presence module send `online` and `unavailable` from idle timers. So from a
//! device that never used this project's words they are its attendance, and end nothing that the user chose in
//! words that the device does not know. From a device that uses them every word is the user's choice.

use super::state::Choice;

/// Which words a device uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Words {
    /// Matrix's three: the device never used others.
    #[default]
    Matrix,
    /// This project's too.
    Ours,
}

/// Whether somebody is at the device that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attended {
    /// Somebody is.
    Active,
    /// Nobody is, since now.
    Idle,
}

/// Which choices are over when a device that knows only Matrix's words shows its user: those that it can have
/// made itself, as each of its words replaces the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ends {
    /// None.
    #[default]
    Nothing,
    /// The wish not to be seen.
    Offline,
    /// That, and having been away.
    Away,
}

impl Ends {
    /// What is chosen when `choice` was.
    pub const fn applied_to(self, choice: Choice) -> Choice {
        match (self, choice) {
            (Self::Offline | Self::Away, Choice::Offline) | (Self::Away, Choice::Unavailable) => {
                Choice::Online
            }
            (
                _,
                Choice::Offline
                | Choice::Unavailable
                | Choice::Hidden
                | Choice::Busy
                | Choice::Online
                | Choice::FreeForChat,
            ) => choice,
        }
    }
}

/// What one `PUT …/status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The user chose this.
    Chosen(Choice),
    /// A device says whether somebody is at it, and the user is to be seen.
    Attended(Attended, Ends),
}

impl Wish {
    /// What `word` says, from a device that uses these `words`. One of this project's words makes a device one
    /// that uses them.
    pub const fn new(words: Words, word: Choice) -> Self {
        match (words, word) {
            (Words::Matrix, Choice::Online) => Self::Attended(Attended::Active, Ends::Away),
            (Words::Matrix, Choice::Unavailable) => Self::Attended(Attended::Idle, Ends::Offline),
            (
                _,
                Choice::Online
                | Choice::Unavailable
                | Choice::Offline
                | Choice::Hidden
                | Choice::Busy
                | Choice::FreeForChat,
            ) => Self::Chosen(word),
        }
    }
}

impl Choice {
    /// Whether only who knows this project can say this word.
    pub const fn is_ours(self) -> bool {
        match self {
            Self::Hidden | Self::Busy | Self::FreeForChat => true,
            Self::Offline | Self::Unavailable | Self::Online => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn p3_the_table_of_whose_word_a_put_is() {
        use Choice::{Busy, FreeForChat, Hidden, Offline, Online, Unavailable};
        // Chosen before, in the order of `Choice::ALL`: offline, hidden, unavailable, busy, online, free_for_chat.
        let kept = [Offline, Hidden, Unavailable, Busy, Online, FreeForChat];
        let seen_again = [Online, Hidden, Unavailable, Busy, Online, FreeForChat];
        let back_again = [Online, Hidden, Online, Busy, Online, FreeForChat];
        assert_eq!(kept, Choice::ALL);
        for (words, word, attended, after) in [
            (Words::Matrix, Online, Some(Attended::Active), back_again),
            (Words::Matrix, Unavailable, Some(Attended::Idle), seen_again),
            (Words::Matrix, Offline, None, [Offline; 6]),
            (Words::Matrix, Busy, None, [Busy; 6]),
            (Words::Matrix, Hidden, None, [Hidden; 6]),
            (Words::Matrix, FreeForChat, None, [FreeForChat; 6]),
            (Words::Ours, Online, None, [Online; 6]),
            (Words::Ours, Unavailable, None, [Unavailable; 6]),
            (Words::Ours, Offline, None, [Offline; 6]),
            (Words::Ours, Busy, None, [Busy; 6]),
            (Words::Ours, Hidden, None, [Hidden; 6]),
            (Words::Ours, FreeForChat, None, [FreeForChat; 6]),
        ] {
            let (says, choices) = match Wish::new(words, word) {
                Wish::Chosen(choice) => (None, [choice; 6]),
                Wish::Attended(attended, ends) => {
                    (Some(attended), Choice::ALL.map(|before| ends.applied_to(before)))
                }
            };
            assert_eq!((says, choices), (attended, after), "{words:?} {word}");
        }
    }

    #[test]
    fn p3_what_ends_together_ends_one_after_the_other() {
        let all = [Ends::Nothing, Ends::Offline, Ends::Away];
        for (first, then) in all.into_iter().flat_map(|first| all.map(|then| (first, then))) {
            for choice in Choice::ALL {
                let one_by_one = then.applied_to(first.applied_to(choice));
                assert_eq!(first.max(then).applied_to(choice), one_by_one, "{first:?} {then:?} {choice}");
            }
        }
    }

    #[test]
    fn p3_only_words_that_matrix_lacks_show_that_a_device_knows_ours() {
        let ours: Vec<_> = Choice::ALL.into_iter().filter(|choice| choice.is_ours()).collect();
        assert_eq!(ours, [Choice::Hidden, Choice::Busy, Choice::FreeForChat]);
    }
}
