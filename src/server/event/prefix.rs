//! What all readers of an event get alike, encoded once.

use std::borrow::Cow;

use ruma::EventId;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::server::json::is_too_deep;

#[derive(Deserialize)]
struct PduParts<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
    origin_server_ts: u64,
    /// An event ID, or anything: the event is taken all the same.
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow)]
    state_key: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Serialize)]
struct Shared<'a> {
    content: Cow<'a, RawValue>,
    event_id: &'a EventId,
    origin_server_ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a str>,
    sender: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// A redaction as it shows in `unsigned.redacted_because`.
pub fn redacted_because(event_id: &EventId, pdu: &str) -> Box<RawValue> {
    let mut json = prefix(event_id, pdu);
    json.push('}');
    RawValue::from_string(json).expect("is made of whole JSON values")
}

/// The part of the client format that is the same for every reader: without `room_id`, `unsigned` and the
/// closing brace.
pub fn prefix(event_id: &EventId, pdu: &str) -> String {
    let parts: PduParts<'_> = serde_json::from_str(pdu).expect("a stored PDU has the keys of a PDU");
    let content = shown(parts.content);
    let (content, redacts) = if parts.kind == "m.room.redaction" {
        let beside = parts.redacts.and_then(|said| serde_json::from_str::<String>(said.get()).ok());
        redaction_for_old_and_new(content, beside.as_deref())
    } else {
        (Cow::Borrowed(content), None)
    };
    let shared = Shared {
        content,
        event_id,
        origin_server_ts: parts.origin_server_ts,
        redacts: redacts.as_deref(),
        sender: &parts.sender,
        state_key: parts.state_key.as_deref(),
        kind: &parts.kind,
    };
    let mut json = serde_json::to_string(&shared).expect("strings, numbers and JSON can be written as JSON");
    json.pop();
    json
}

/// Content as clients are shown it: nothing of it when it is so deep that some of them could read nothing of the answer that it
/// is in. It is part of the event all the same, for servers and for the rules of the room.
pub fn shown(content: &RawValue) -> &RawValue {
    if is_too_deep(content.get()) { nothing() } else { content }
}

fn nothing() -> &'static RawValue {
    serde_json::from_str("{}").expect("is JSON")
}

/// `redacts` lies beside the content up to room version 10 and inside it from 11 on; clients of
/// either age get it in both places.
fn redaction_for_old_and_new<'a>(
    content: &'a RawValue,
    beside: Option<&str>,
) -> (Cow<'a, RawValue>, Option<String>) {
    let Ok(mut object) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(content.get())
    else {
        return (Cow::Borrowed(content), beside.map(str::to_owned));
    };
    let inside = object.get("redacts").and_then(serde_json::Value::as_str).map(str::to_owned);
    match (inside, beside) {
        (Some(inside), _) => (Cow::Borrowed(content), Some(inside)),
        (None, Some(beside)) => {
            object.insert("redacts".to_owned(), beside.into());
            let content = to_raw_value(&object).expect("a JSON object can be written as JSON");
            (Cow::Owned(content), Some(beside.to_owned()))
        }
        (None, None) => (Cow::Borrowed(content), None),
    }
}
