//! Events as rooms, ephemeral lists and account data carry them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::Text;

/// One event of any kind. What a kind lacks stays empty: stripped state has no ID, a receipt no sender.
#[derive(Debug, Deserialize)]
pub struct Event<'a> {
    /// `m.room.message`, …
    #[serde(borrow, rename = "type")]
    pub kind: Text<'a>,
    /// Who sent it.
    #[serde(borrow, default)]
    pub sender: Text<'a>,
    /// Its ID; none on stripped, ephemeral and account data events.
    #[serde(borrow, default)]
    pub event_id: Option<Text<'a>>,
    /// Present, if maybe empty, on state events.
    #[serde(borrow, default)]
    pub state_key: Option<Text<'a>>,
    /// The content, unread.
    #[serde(borrow, default)]
    pub content: Option<&'a RawValue>,
    /// Milliseconds since the epoch, by the sender's server.
    #[serde(default)]
    pub origin_server_ts: Option<u64>,
    /// What the own server adds.
    #[serde(borrow, default)]
    pub unsigned: Option<Unsigned<'a>>,
    /// The event that a redaction names, up to room version 10.
    #[serde(borrow, default)]
    pub redacts: Option<Text<'a>>,
}

/// What the own server adds to an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Unsigned<'a> {
    /// The action ID, only on the device that sent the event (M10).
    #[serde(borrow)]
    pub transaction_id: Option<Text<'a>>,
    /// The content that a state event replaced.
    #[serde(borrow)]
    pub prev_content: Option<&'a RawValue>,
    /// Present when the event comes already redacted.
    #[serde(borrow)]
    pub redacted_because: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// The content read as `T`; absent or of another shape is `T`'s default.
    pub fn content_as<T: Deserialize<'a> + Default>(&self) -> T {
        self.content.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// The action ID that this device gave it.
    pub fn action_id(&self) -> Option<u64> {
        self.unsigned.as_ref()?.transaction_id.as_ref()?.parse().ok()
    }

    /// The event this redaction names, wherever its room version keeps that.
    pub fn redacted_event(&self) -> Option<String> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Redaction {
            redacts: Option<String>,
        }
        match &self.redacts {
            Some(id) => Some(id.to_string()),
            None => self.content_as::<Redaction>().redacts,
        }
    }
}

/// A list of events, each parsed on its own: a malformed one is skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EventList<'a> {
    /// The events, unread.
    #[serde(borrow)]
    pub events: Vec<&'a RawValue>,
}

impl<'a> EventList<'a> {
    /// The well-formed ones.
    pub fn iter<T: Deserialize<'a>>(&self) -> impl DoubleEndedIterator<Item = T> {
        parse_each(&self.events)
    }
}

/// The well-formed ones of a list.
pub fn parse_each<'a, T: Deserialize<'a>>(list: &[&'a RawValue]) -> impl DoubleEndedIterator<Item = T> {
    list.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok())
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_malformed_event_costs_only_itself() {
        let list: EventList<'_> = serde_json::from_str(
            r#"{"events":[{"type":"a"},{"type":5},7,null,{"type":"b","origin_server_ts":-1},{"type":"c"}]}"#,
        )
        .unwrap();
        let kinds: Vec<String> = list.iter::<Event<'_>>().map(|event| event.kind.to_string()).collect();
        assert_eq!(kinds, ["a", "c"]);
    }

    #[test]
    fn a_redaction_names_its_event_in_either_place() {
        let old: Event<'_> = serde_json::from_str(r#"{"type":"m.room.redaction","redacts":"$a"}"#).unwrap();
        let new: Event<'_> =
            serde_json::from_str(r#"{"type":"m.room.redaction","content":{"redacts":"$b"}}"#).unwrap();
        assert_eq!(old.redacted_event().as_deref(), Some("$a"));
        assert_eq!(new.redacted_event().as_deref(), Some("$b"));
    }

    #[test]
    fn only_an_integer_is_an_action_id() {
        for (id, expected) in [(r#""12""#, Some(12)), (r#""m12""#, None), (r#""-1""#, None), ("null", None)] {
            let json = format!(r#"{{"type":"t","unsigned":{{"transaction_id":{id}}}}}"#);
            let event: Event<'_> = serde_json::from_str(&json).unwrap();
            assert_eq!(event.action_id(), expected, "{id}");
        }
    }
}
