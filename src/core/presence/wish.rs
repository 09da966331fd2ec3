//! Whose word a request is: what a `PUT …/status` says, by the words that its device uses (P3).
//!
//! Clients that know only Matrix's presence module send `online` and `unavailable` from idle timers. So from a
//! device that never used this project's words they are its attendance, and its `offline` lies over what the user
//! chose until such a device shows them again: it ends nothing that was chosen. From a device that uses this
//! project's words every word is the user's choice.

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

/// What the user chose, and what a device that knows only Matrix's words says over it. The default is that of a new
/// user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The last choice on a device that uses this project's words.
    pub choice: Choice,
    /// Whether the last word since then, of devices that know only Matrix's, was `offline`.
    pub signed_off: bool,
}

impl Chosen {
    /// What holds of the two. Who hides is not seen already, so `offline` over that is nothing.
    pub const fn effective(self) -> Choice {
        match (self.signed_off, self.choice) {
            (true, Choice::Hidden) | (false, _) => self.choice,
            (
                true,
                Choice::Offline | Choice::Unavailable | Choice::Busy | Choice::Online | Choice::FreeForChat,
            ) => Choice::Offline,
        }
    }
}

/// What is said of a [`Chosen`]: by one request, or by several that are taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The user chose this.
    pub choice: Option<Choice>,
    /// After that: a device that knows only Matrix's words hides the user, or shows them.
    pub signed_off: Option<bool>,
}

impl Decision {
    /// The user's choice, which takes away what lay over the one before.
    pub const fn chosen(choice: Choice) -> Self {
        Self { choice: Some(choice), signed_off: Some(false) }
    }

    /// What comes of both, one after the other.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self { choice: later.choice.or(self.choice), signed_off: later.signed_off.or(self.signed_off) }
    }

    /// What holds when `before` did.
    pub fn applied_to(self, before: Chosen) -> Chosen {
        Chosen {
            choice: self.choice.unwrap_or(before.choice),
            signed_off: self.signed_off.unwrap_or(before.signed_off),
        }
    }
}

/// What one `PUT …/status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The user chose this.
    Chosen(Choice),
    /// A device that knows only Matrix's words hides the user, until one of its kind shows them.
    SignedOff,
    /// A device says whether somebody is at it, and the user is to be seen if they did not choose otherwise.
    Attended(Attended),
}

impl Wish {
    /// What `word` says, from a device that uses these `words`. One of this project's words makes a device one
    /// that uses them.
    pub const fn new(words: Words, word: Choice) -> Self {
        match (words, word) {
            (Words::Matrix, Choice::Online) => Self::Attended(Attended::Active),
            (Words::Matrix, Choice::Unavailable) => Self::Attended(Attended::Idle),
            (Words::Matrix, Choice::Offline) => Self::SignedOff,
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

    /// What it says of the user's choice.
    pub const fn decision(self) -> Decision {
        match self {
            Self::Chosen(choice) => Decision::chosen(choice),
            Self::SignedOff => Decision { choice: None, signed_off: Some(true) },
            Self::Attended(_) => Decision { choice: None, signed_off: Some(false) },
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
        for (words, word, wish) in [
            (Words::Matrix, Online, Wish::Attended(Attended::Active)),
            (Words::Matrix, Unavailable, Wish::Attended(Attended::Idle)),
            (Words::Matrix, Offline, Wish::SignedOff),
            (Words::Matrix, Busy, Wish::Chosen(Busy)),
            (Words::Matrix, Hidden, Wish::Chosen(Hidden)),
            (Words::Matrix, FreeForChat, Wish::Chosen(FreeForChat)),
        ] {
            assert_eq!(Wish::new(words, word), wish, "{word}");
            assert_eq!(Wish::new(Words::Ours, word), Wish::Chosen(word), "{word}");
        }
        // Over what was chosen on a device that uses our words: what `offline` of a stock device makes of it.
        for (chosen, signed_off) in [
            (Offline, Offline),
            (Hidden, Hidden),
            (Unavailable, Offline),
            (Busy, Offline),
            (Online, Offline),
            (FreeForChat, Offline),
        ] {
            let mut state = Decision::chosen(chosen).applied_to(Chosen::default());
            for (word, holds) in [
                (Online, chosen),
                (Unavailable, chosen),
                (Offline, signed_off),
                (Offline, signed_off),
                (Online, chosen),
                (Offline, signed_off),
                (Unavailable, chosen),
            ] {
                state = Wish::new(Words::Matrix, word).decision().applied_to(state);
                assert_eq!(state.effective(), holds, "{chosen}, then {word}");
                for ours in Choice::ALL {
                    let chosen_again = Wish::new(Words::Ours, ours).decision().applied_to(state);
                    assert_eq!(
                        chosen_again,
                        Chosen { choice: ours, signed_off: false },
                        "{ours} replaces both"
                    );
                }
            }
        }
    }

    #[test]
    fn p3_what_ends_together_ends_one_after_the_other() {
        let says = Choice::ALL.map(Decision::chosen).into_iter();
        let says: Vec<_> = says
            .chain([Wish::SignedOff, Wish::Attended(Attended::Active)].map(Wish::decision))
            .chain([Decision::default()])
            .collect();
        for (first, then) in says.iter().flat_map(|first| says.iter().map(move |then| (first, then))) {
            for choice in Choice::ALL {
                for signed_off in [false, true] {
                    let before = Chosen { choice, signed_off };
                    let one_by_one = then.applied_to(first.applied_to(before));
                    assert_eq!(
                        first.then(*then).applied_to(before),
                        one_by_one,
                        "{first:?} {then:?} {choice}"
                    );
                }
            }
        }
    }

    #[test]
    fn p3_only_words_that_matrix_lacks_show_that_a_device_knows_ours() {
        let ours: Vec<_> = Choice::ALL.into_iter().filter(|choice| choice.is_ours()).collect();
        assert_eq!(ours, [Choice::Hidden, Choice::Busy, Choice::FreeForChat]);
    }
}
