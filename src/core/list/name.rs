//! The user's own words on a list: names of groups (L4) and ACL pointers (L5), with their bounds.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text cannot stand for what it is to stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// There is nothing to it.
    Empty,
    /// It is longer than this many bytes of UTF-8.
    TooLong(usize),
    /// It has a control character.
    Control,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("may not be empty"),
            Self::TooLong(max) => write!(f, "may have at most {max} bytes"),
            Self::Control => f.write_str("may not have control characters"),
        }
    }
}

impl std::error::Error for BadName {}

fn checked(text: &str, max: usize) -> Result<Arc<str>, BadName> {
    if text.trim().is_empty() {
        Err(BadName::Empty)
    } else if text.len() > max {
        Err(BadName::TooLong(max))
    } else if text.chars().any(char::is_control) {
        Err(BadName::Control)
    } else {
        Ok(Arc::from(text))
    }
}

/// The name of a group: 1 to 64 bytes, no control characters. Names that differ in case differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 64;

    /// A name, if the text can be one.
    pub fn new(text: &str) -> Result<Self, BadName> {
        checked(text, Self::MAX_BYTES).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An opaque word of the client, kept with an entry and given back: 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclPointer(Arc<str>);

impl AclPointer {
    /// The longest pointer, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 255;

    /// A pointer, if the text can be one.
    pub fn new(text: &str) -> Result<Self, BadName> {
        checked(text, Self::MAX_BYTES).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Serde by the text: `as_str` out, `new` in.
macro_rules! serde_by_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    )+};
}

serde_by_text!(GroupName, AclPointer);

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn l4_l5_names_have_bounds() {
        for (text, outcome) in [
            ("family", Ok(())),
            ("Straße № 7", Ok(())),
            ("", Err(BadName::Empty)),
            (" \u{3000}", Err(BadName::Empty)),
            ("a\nb", Err(BadName::Control)),
            (&"x".repeat(64), Ok(())),
            (&"x".repeat(65), Err(BadName::TooLong(64))),
        ] {
            assert_eq!(GroupName::new(text).map(|_| ()), outcome, "{text:?}");
            let json = serde_json::to_string(text).expect("a string");
            let read = serde_json::from_str::<GroupName>(&json);
            assert_eq!(read.is_ok(), outcome.is_ok(), "{text:?}");
            if let Ok(name) = read {
                assert_eq!((name.as_str(), serde_json::to_string(&name).expect("a string")), (text, json));
            }
        }
        let longest = "x".repeat(255);
        assert_eq!(AclPointer::new(&longest).expect("good").as_str(), longest);
        assert_eq!(AclPointer::new(&"x".repeat(256)), Err(BadName::TooLong(255)));
    }
}
