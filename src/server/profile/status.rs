//! What somebody is doing, as a field of their profile (MSC4426), and how it stands for the status message of presence:
//! the one is made of the other, so that they cannot say different things.
//!
//! The message is the truth. A status that a client put is kept for what the message has no place for, and is shown as
//! long as the message says its words.

use serde::Deserialize;
use serde_json::{Value, json};

/// The longest `text`, in bytes.
pub const MAX_TEXT: usize = 256;

/// The longest `emoji`, in bytes.
pub const MAX_EMOJI: usize = 32;

/// The status message of who is in a call and says nothing else.
pub const IN_A_CALL: &str = "In a call";

/// Stands before the words of a message that no client put a picture to.
const NO_PICTURE: &str = "\u{1f4ac}";

/// What is wrong with a value of one of the two fields.
#[derive(Clone, Copy, Debug, thiserror::Error, Eq, PartialEq)]
pub enum BadStatus {
    /// It is of another shape.
    #[error("{0}")]
    Shape(&'static str),
    /// A part is too long.
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    text: String,
    #[serde(default)]
    emoji: String,
}

#[derive(Deserialize)]
struct Call {
    #[serde(rename = "call_joined_ts")]
    _joined: Option<i64>,
}

/// The status message that a status says; `None`: none, so it is as if it were taken away.
///
/// # Errors
/// [`BadStatus`] says what is wrong with it.
pub fn message(status: &Value) -> Result<Option<String>, BadStatus> {
    if status.is_null() {
        return Ok(None);
    }
    let shape = "a status is an object with text and emoji, which are strings";
    let Status { text, emoji } = Status::deserialize(status).map_err(|_| BadStatus::Shape(shape))?;
    if !status.is_object() {
        return Err(BadStatus::Shape(shape));
    }
    for (what, said, max) in [("text", &text, MAX_TEXT), ("emoji", &emoji, MAX_EMOJI)] {
        if said.len() > max {
            return Err(BadStatus::TooLong(what, max));
        }
    }
    let words = if text.is_empty() { emoji } else { text };
    Ok(Some(words).filter(|words| !words.is_empty()))
}

/// Refuses what does not say that somebody is in a call.
///
/// # Errors
/// [`BadStatus::Shape`].
pub fn check_call(call: &Value) -> Result<(), BadStatus> {
    let shape = "a call is an object, with call_joined_ts as an integer, if at all";
    match Call::deserialize(call) {
        Ok(_) if call.is_object() => Ok(()),
        _ => Err(BadStatus::Shape(shape)),
    }
}

/// The status of who is seen with this status message, when a client put `kept`, and `is_in_call` says whether the
/// other field is there.
pub fn of_message(said: Option<&str>, kept: Option<Value>, is_in_call: bool) -> Option<Value> {
    let said = said?;
    match kept {
        Some(kept) if message(&kept).is_ok_and(|words| words.as_deref() == Some(said)) => Some(kept),
        _ if is_in_call && said == IN_A_CALL => None,
        _ => Some(json!({ "text": beginning(said), "emoji": NO_PICTURE })),
    }
}

/// As much of a message as a status has room for.
fn beginning(said: &str) -> &str {
    let end = (0..=MAX_TEXT.min(said.len())).rev().find(|end| said.is_char_boundary(*end));
    &said[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_what_a_status_says_as_a_message() {
        let (longest, picture) = ("é".repeat(MAX_TEXT / 2), "x".repeat(MAX_EMOJI));
        for (status, said) in [
            (json!({ "text": "Swimming", "emoji": "S" }), Some("Swimming")),
            (json!({ "text": "Swimming" }), Some("Swimming")),
            (json!({ "text": "", "emoji": "S", "org.example.more": [1] }), Some("S")),
            (json!({ "text": longest, "emoji": picture }), Some(longest.as_str())),
            (json!({}), None),
            (json!({ "text": "", "emoji": "" }), None),
            (Value::Null, None),
        ] {
            assert_eq!(message(&status), Ok(said.map(ToOwned::to_owned)), "{status}");
        }
        for bad in
            [json!("Swimming"), json!(["Swimming", "S"]), json!({ "text": 1 }), json!({ "emoji": null })]
        {
            assert!(matches!(message(&bad), Err(BadStatus::Shape(_))), "{bad}");
        }
        let long = |key: &str, max: usize| message(&json!({ key: "x".repeat(max + 1) }));
        assert_eq!(long("text", MAX_TEXT), Err(BadStatus::TooLong("text", MAX_TEXT)));
        assert_eq!(long("emoji", MAX_EMOJI), Err(BadStatus::TooLong("emoji", MAX_EMOJI)));
    }

    #[test]
    fn l5_a_call_is_an_object_with_a_time_or_without() {
        for call in [
            json!({}),
            json!({ "call_joined_ts": 1_770_140_640 }),
            json!({ "call_joined_ts": null, "a": "b" }),
        ] {
            assert_eq!(check_call(&call), Ok(()), "{call}");
        }
        for bad in [
            Value::Null,
            json!(true),
            json!([1]),
            json!({ "call_joined_ts": "now" }),
            json!({ "call_joined_ts": 1.5 }),
        ] {
            assert!(check_call(&bad).is_err(), "{bad}");
        }
    }

    /// The message, what a client put, whether the user is in a call → the status that is seen.
    #[test]
    fn l5_the_message_is_the_truth_and_a_status_is_shown_while_it_says_its_words() {
        let swim = json!({ "text": "Swimming", "emoji": "S", "more": 1 });
        let made = |text: &str| Some(json!({ "text": text, "emoji": NO_PICTURE }));
        for (said, kept, in_call, seen) in [
            (None, None, false, None),
            (None, Some(&swim), false, None),
            (Some("Swimming"), Some(&swim), false, Some(swim.clone())),
            (Some("Swimming"), Some(&swim), true, Some(swim.clone())),
            (Some("Reading"), Some(&swim), false, made("Reading")),
            (Some("Reading"), None, true, made("Reading")),
            (Some(IN_A_CALL), None, true, None),
            (Some(IN_A_CALL), Some(&swim), true, None),
            (Some(IN_A_CALL), None, false, made(IN_A_CALL)),
        ] {
            assert_eq!(of_message(said, kept.cloned(), in_call), seen, "{said:?} {kept:?} {in_call}");
        }
        // A message can be longer than a status: it is cut between two characters.
        let long = "é".repeat(MAX_TEXT);
        assert_eq!(of_message(Some(&long), None, false), made(&"é".repeat(MAX_TEXT / 2)));
        let odd = format!("a{long}");
        assert_eq!(of_message(Some(&odd), None, false), made(&format!("a{}", "é".repeat(MAX_TEXT / 2 - 1))));
    }
}
