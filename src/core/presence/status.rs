//! The status message: the user's own words beside their state (P2).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a request says about the status message: leaving it alone and clearing it are different things.
///
/// In JSON, for a field marked `#[serde(default, skip_serializing_if = "StatusMsg::is_keep")]`: absent
/// is `Keep`, `null` and `""` are `Clear`, any other string is `Set`, and anything else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StatusMsg {
    /// Leave the message as it is.
    #[default]
    Keep,
    /// Put these words in its place; neither empty nor longer than [`StatusMsg::MAX_BYTES`], which
    /// [`StatusMsg::set`] sees to.
    Set(String),
    /// Take it away.
    Clear,
}

impl StatusMsg {
    /// The longest message, in bytes of UTF-8. A message goes to every observer with every change of
    /// state, so it is a line of text and not a letter.
    pub const MAX_BYTES: usize = 512;

    /// `Set` for some text, `Clear` for none.
    pub fn set(text: String) -> Result<Self, StatusTooLong> {
        match text.len() {
            0 => Ok(Self::Clear),
            bytes if bytes > Self::MAX_BYTES => Err(StatusTooLong { bytes }),
            _ => Ok(Self::Set(text)),
        }
    }

    /// From a JSON value that is a string or null, where the field was present.
    pub fn from_nullable(text: Option<String>) -> Result<Self, StatusTooLong> {
        text.map_or(Ok(Self::Clear), Self::set)
    }

    /// Whether the message is left as it is.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

/// The status message is longer than [`StatusMsg::MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusTooLong {
    /// Its length in bytes of UTF-8.
    pub bytes: usize,
}

impl fmt::Display for StatusTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a status message holds at most {} bytes, not {}", StatusMsg::MAX_BYTES, self.bytes)
    }
}

impl std::error::Error for StatusTooLong {}

impl<'de> Deserialize<'de> for StatusMsg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_nullable(Option::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for StatusMsg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep => Err(serde::ser::Error::custom("an unchanged status message is left out")),
            Self::Set(text) => serializer.serialize_str(text),
            Self::Clear => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Body {
        #[serde(default, skip_serializing_if = "StatusMsg::is_keep")]
        status_msg: StatusMsg,
    }

    fn parse(json: &str) -> Result<StatusMsg, serde_json::Error> {
        serde_json::from_str::<Body>(json).map(|body| body.status_msg)
    }

    #[test]
    fn p2_absent_null_empty_and_text_mean_what_they_say() {
        let set = StatusMsg::Set("at lunch".to_owned());
        for (json, expected) in [
            ("{}", StatusMsg::Keep),
            (r#"{"status_msg":null}"#, StatusMsg::Clear),
            (r#"{"status_msg":""}"#, StatusMsg::Clear),
            (r#"{"status_msg":"at lunch"}"#, set),
        ] {
            assert_eq!(parse(json).expect("a status message"), expected, "{json}");
        }
    }

    #[test]
    fn p2_each_meaning_survives_the_way_to_json_and_back() {
        for status_msg in [StatusMsg::Keep, StatusMsg::Clear, StatusMsg::Set("é\"\n".to_owned())] {
            let body = Body { status_msg };
            let json = serde_json::to_string(&body).expect("serialisable");
            assert_eq!(serde_json::from_str::<Body>(&json).expect("its own JSON"), body);
        }
    }

    #[test]
    fn p2_other_types_are_refused() {
        for json in ["1", "true", "[]", "{}", r#"["x"]"#] {
            assert!(parse(&format!(r#"{{"status_msg":{json}}}"#)).is_err(), "{json}");
        }
    }

    #[test]
    fn a_message_of_the_greatest_length_is_taken_and_one_more_byte_refused() {
        let longest = "x".repeat(StatusMsg::MAX_BYTES);
        assert_eq!(StatusMsg::set(longest.clone()), Ok(StatusMsg::Set(longest.clone())));
        assert_eq!(StatusMsg::set(longest + "x"), Err(StatusTooLong { bytes: StatusMsg::MAX_BYTES + 1 }));
        assert!(StatusMsg::set("€".repeat(171)).is_err(), "bytes count, not characters");
    }
}
