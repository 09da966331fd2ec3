//! What the user keeps, in the answer: for all rooms, and each piece of it.

use ruma::push::Ruleset;
use serde_json::json;

use crate::server::{
    accounts::{data::PUSH_RULES, default_rules::as_content},
    json::{Writer, append_string},
    store::AccountData,
    stream::news::OwnDataNews,
};

/// Writes what changed for all rooms. The default push rules are sorted, as all JSON is that nobody kept as text.
pub(super) fn write_own_data(out: &mut Writer, news: &OwnDataNews) {
    let part = out.open("account_data");
    let events = out.open_array("events");
    for data in &news.changed {
        out.element_with(|out| append_account_data(out, data));
    }
    if let Some(rules) = &news.default_rules {
        out.element(&default_rules(rules));
    }
    out.end(events);
    out.end(part);
}

/// The default push rules, as if the user had kept them.
pub(in crate::server::stream) fn default_rules(rules: &Ruleset) -> String {
    json!({ "type": PUSH_RULES, "content": as_content(rules).unwrap_or_default() }).to_string()
}

/// Appends a piece of account data as the client gets it.
pub fn append_account_data(out: &mut Vec<u8>, data: &AccountData) {
    out.extend_from_slice(br#"{"type":"#);
    append_string(out, &data.kind);
    out.extend_from_slice(br#","content":"#);
    out.extend_from_slice(data.content.as_bytes());
    out.push(b'}');
}
