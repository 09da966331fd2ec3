//! What kind of device a user is at, as the device says and others see (P7).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A short lower-case word: one of the four that are known everywhere, or another.
///
/// 1 to 16 characters of `a-z`, `0-9`, `-`, `_` and `.`. Kept in place, so that a million devices cost
/// no allocation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceType([u8; Self::MAX_LEN]);

impl DeviceType {
    /// The longest word.
    pub const MAX_LEN: usize = 16;

    /// A computer with a full keyboard and screen.
    pub const DESKTOP: Self = Self::from_known(b"desktop");

    /// A device on which it is hard to type or to read much.
    pub const MOBILE: Self = Self::from_known(b"mobile");

    /// A browser.
    pub const WEB: Self = Self::from_known(b"web");

    /// No person: a program.
    pub const BOT: Self = Self::from_known(b"bot");

    /// No word, where a device has said none: in place of an option, which would cost eight bytes more.
    pub(super) const NONE: Self = Self([0; Self::MAX_LEN]);

    /// The word.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(Self::MAX_LEN);
        std::str::from_utf8(&self.0[..len]).expect("only ASCII is let in")
    }

    const fn from_known(word: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        bytes.split_at_mut(word.len()).0.copy_from_slice(word);
        Self(bytes)
    }
}

impl fmt::Debug for DeviceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceType").field(&self.as_str()).finish()
    }
}

impl fmt::Display for DeviceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word cannot be a device type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDeviceType {
    /// It has no characters, or more than [`DeviceType::MAX_LEN`].
    Length(usize),
    /// It has a character other than `a-z`, `0-9`, `-`, `_` and `.`.
    Character,
}

impl fmt::Display for BadDeviceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => {
                write!(f, "a device type has 1 to {} characters, not {len}", DeviceType::MAX_LEN)
            }
            Self::Character => {
                f.write_str("a device type has only the characters a-z, 0-9, '-', '_' and '.'")
            }
        }
    }
}

impl std::error::Error for BadDeviceType {}

impl FromStr for DeviceType {
    type Err = BadDeviceType;

    fn from_str(word: &str) -> Result<Self, BadDeviceType> {
        if word.is_empty() || word.len() > Self::MAX_LEN {
            return Err(BadDeviceType::Length(word.chars().count()));
        }
        if !word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')) {
            return Err(BadDeviceType::Character);
        }
        Ok(Self::from_known(word.as_bytes()))
    }
}

impl Serialize for DeviceType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for DeviceType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        word.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn p7_known_and_other_words_are_taken() {
        for (word, known) in [
            ("desktop", Some(DeviceType::DESKTOP)),
            ("mobile", Some(DeviceType::MOBILE)),
            ("web", Some(DeviceType::WEB)),
            ("bot", Some(DeviceType::BOT)),
            ("smart-tv_2.0", None),
            ("exactly16letters", None),
        ] {
            let parsed: DeviceType = word.parse().expect(word);
            assert_eq!(parsed.as_str(), word);
            assert!(known.is_none_or(|known| known == parsed));
            let json = serde_json::to_string(&parsed).expect("a word");
            assert_eq!(serde_json::from_str::<DeviceType>(&json).expect("its own JSON"), parsed);
        }
    }

    #[test]
    fn p7_anything_else_is_refused() {
        for (word, error) in [
            ("", BadDeviceType::Length(0)),
            ("seventeen.letters", BadDeviceType::Length(17)),
            ("Web", BadDeviceType::Character),
            ("we b", BadDeviceType::Character),
            ("téléphone", BadDeviceType::Character),
            ("a\0b", BadDeviceType::Character),
        ] {
            assert_eq!(word.parse::<DeviceType>(), Err(error), "{word:?}");
        }
    }
}
