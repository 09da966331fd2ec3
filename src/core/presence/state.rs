//! The states a user can be in, their order, and their words on the wire (P1, P11).
//!
//! A word that is not known never becomes a state: parsing refuses it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The presence of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not known, or not known any more: shown, never set.
    Unknown,
    /// Connected by no device, or wishing to look like that.
    Offline,
    /// Connected, and to be seen so by the user's own devices only; everybody else sees `Offline`.
    Hidden,
    /// Connected, but idle or away.
    Unavailable,
    /// Connected, and not to be disturbed unless it is urgent.
    Busy,
    /// Connected: the default.
    Online,
    /// Connected, and more willing to talk than by default.
    FreeForChat,
}

impl State {
    /// Every state, the least available first.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Offline,
        Self::Hidden,
        Self::Unavailable,
        Self::Busy,
        Self::Online,
        Self::FreeForChat,
    ];

    /// The word for this state in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Offline => "offline",
            Self::Hidden => "hidden",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Online => "online",
            Self::FreeForChat => "free_for_chat",
        }
    }

    /// What a client sees that knows only Matrix's three states (P11).
    pub const fn matrix(self) -> MatrixState {
        match self {
            Self::Unknown | Self::Offline | Self::Hidden => MatrixState::Offline,
            Self::Unavailable | Self::Busy => MatrixState::Unavailable,
            Self::Online | Self::FreeForChat => MatrixState::Online,
        }
    }

    /// What everybody but the user sees of this state (P4).
    pub const fn outward(self) -> Self {
        match self {
            Self::Hidden => Self::Offline,
            shown => shown,
        }
    }

    /// Whether this state ranks above `other` in availability (P1): offline < unavailable < busy <
    /// online < free_for_chat, with hidden and unknown on a level with offline.
    pub const fn is_more_available_than(self, other: Self) -> bool {
        self.availability() > other.availability()
    }

    const fn availability(self) -> u8 {
        match self {
            Self::Unknown | Self::Offline | Self::Hidden => 0,
            Self::Unavailable => 1,
            Self::Busy => 2,
            Self::Online => 3,
            Self::FreeForChat => 4,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is not one of those allowed in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// The words that are allowed.
    pub allowed: &'static str,
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a presence state; allowed: {}", self.allowed)
    }
}

impl std::error::Error for UnknownWord {}

impl FromStr for State {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(UnknownWord {
            allowed: "free_for_chat, online, busy, unavailable, offline, hidden, unknown",
        })
    }
}

/// The state a user can choose (P3): it holds for the user, not for a device, until another is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// Look disconnected, to the own devices too.
    Offline,
    /// Look disconnected to everybody but the own devices.
    Hidden,
    /// Away.
    Unavailable,
    /// Not to be disturbed.
    Busy,
    /// The default.
    #[default]
    Online,
    /// Glad to talk.
    FreeForChat,
}

impl Choice {
    /// Every choice, the least available first.
    pub const ALL: [Self; 6] =
        [Self::Offline, Self::Hidden, Self::Unavailable, Self::Busy, Self::Online, Self::FreeForChat];

    /// The state of this choice, where nothing speaks against it.
    pub const fn state(self) -> State {
        match self {
            Self::Offline => State::Offline,
            Self::Hidden => State::Hidden,
            Self::Unavailable => State::Unavailable,
            Self::Busy => State::Busy,
            Self::Online => State::Online,
            Self::FreeForChat => State::FreeForChat,
        }
    }

    /// The word for this choice in JSON.
    pub const fn as_str(self) -> &'static str {
        self.state().as_str()
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Choice {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.as_str() == word)
            .ok_or(UnknownWord { allowed: "free_for_chat, online, busy, unavailable, offline, hidden" })
    }
}

/// The three states that every Matrix client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatrixState {
    /// Not connected.
    Offline,
    /// Idle.
    Unavailable,
    /// Connected.
    Online,
}

impl MatrixState {
    /// Every one of them, the least available first.
    pub const ALL: [Self; 3] = [Self::Offline, Self::Unavailable, Self::Online];

    /// The word for this state in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Online => "online",
        }
    }

    /// The state this stands for when a peer says nothing beside it.
    pub const fn state(self) -> State {
        match self {
            Self::Offline => State::Offline,
            Self::Unavailable => State::Unavailable,
            Self::Online => State::Online,
        }
    }
}

impl FromStr for MatrixState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or(UnknownWord { allowed: "online, unavailable, offline" })
    }
}

/// Serde by the words: `as_str` out, `from_str` in.
macro_rules! serde_by_word {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

serde_by_word!(State, Choice, MatrixState);

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// P1 and P11 as a table: state, word, what others see, Matrix's word, level.
    const TABLE: [(State, &str, &str, &str, u8); 7] = [
        (State::Unknown, "unknown", "unknown", "offline", 0),
        (State::Offline, "offline", "offline", "offline", 0),
        (State::Hidden, "hidden", "offline", "offline", 0),
        (State::Unavailable, "unavailable", "unavailable", "unavailable", 1),
        (State::Busy, "busy", "busy", "unavailable", 2),
        (State::Online, "online", "online", "online", 3),
        (State::FreeForChat, "free_for_chat", "free_for_chat", "online", 4),
    ];

    #[test]
    fn p1_p11_every_state_has_its_words() {
        assert_eq!(TABLE.map(|row| row.0), State::ALL);
        for (state, word, outward, matrix, _) in TABLE {
            assert_eq!(state.as_str(), word);
            assert_eq!(word.parse(), Ok(state));
            assert_eq!(state.outward().as_str(), outward);
            assert_eq!(state.matrix().as_str(), matrix);
            assert_eq!(serde_json::to_string(&state).expect("a word"), format!("{word:?}"));
            assert_eq!(serde_json::from_str::<State>(&format!("{word:?}")).expect("a state"), state);
        }
    }

    #[test]
    fn p1_availability_is_ordered() {
        for (left, .., left_level) in TABLE {
            for (right, .., right_level) in TABLE {
                assert_eq!(left.is_more_available_than(right), left_level > right_level, "{left} {right}");
            }
        }
    }

    #[test]
    fn p1_unknown_is_never_chosen_and_all_else_can_be() {
        assert_eq!(Choice::default(), Choice::Online);
        for (state, word, ..) in TABLE {
            let choice = word.parse::<Choice>();
            match state {
                State::Unknown => assert!(choice.is_err()),
                _ => assert_eq!(choice.map(Choice::state), Ok(state)),
            }
        }
    }

    #[test]
    fn p11_words_that_are_no_states_are_refused() {
        for word in ["", "Online", "ONLINE", " online", "online ", "away", "dnd", "on\0line", "freeforchat"] {
            assert!(word.parse::<State>().is_err(), "{word:?}");
            assert!(word.parse::<Choice>().is_err(), "{word:?}");
            assert!(word.parse::<MatrixState>().is_err(), "{word:?}");
        }
        assert!("busy".parse::<MatrixState>().is_err());
        for json in ["null", "1", "[\"online\"]", "{}", "true", "\"away\""] {
            assert!(serde_json::from_str::<State>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_escaped_word_is_the_same_word() {
        assert_eq!(serde_json::from_str::<State>("\"\\u0062usy\"").expect("a state"), State::Busy);
    }
}
