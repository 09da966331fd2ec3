//! Which servers a room lets take part: its list of servers. Client-server API, "Server Access Control Lists".

use ruma::{RoomId, ServerName, events::room::server_acl::RoomServerAclEventContent};
use serde_json::Value;

use crate::server::{rooms::parts::Rooms, store::StoreError};

impl Rooms {
    /// Whether a room's list of servers lets `server` take part.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn admits(&self, room: &RoomId, server: &ServerName) -> Result<bool, StoreError> {
        let list = self.store.state_event(room, "m.room.server_acl", "").await?;
        Ok(list.is_none_or(|list| admitted(&list.content_as().unwrap_or_default(), server)))
    }
}

/// Whether the content of a list lets a server take part. What is not of the right type counts as if it were not there,
/// so that a list that says nobody lets nobody in: as elsewhere, or servers would not agree on who is out.
fn admitted(content: &Value, server: &ServerName) -> bool {
    let globs = |key: &str| {
        let list = content.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|glob| glob.as_str().map(str::to_owned)).collect()
    };
    let literals = content.get("allow_ip_literals").and_then(Value::as_bool).unwrap_or(true);
    RoomServerAclEventContent::new(literals, globs("allow"), globs("deny")).is_allowed(server)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_servers_lets_in_whom_it_names_and_nobody_it_denies() {
        let rows = [
            ("nobody is named", json!({}), "a.example", false),
            ("everybody is", json!({ "allow": ["*"] }), "a.example", true),
            ("with a port", json!({ "allow": ["*"] }), "a.example:8448", true),
            ("denied", json!({ "allow": ["*"], "deny": ["a.example"] }), "a.example", false),
            (
                "denied, whatever the port",
                json!({ "allow": ["*"], "deny": ["a.example"] }),
                "a.example:1",
                false,
            ),
            (
                "denied with all below it",
                json!({ "allow": ["*"], "deny": ["*.evil.example"] }),
                "x.evil.example",
                false,
            ),
            ("one character", json!({ "allow": ["?.example"] }), "ab.example", false),
            ("an address", json!({ "allow": ["*"], "allow_ip_literals": false }), "1.2.3.4", false),
            ("another address", json!({ "allow": ["*"], "allow_ip_literals": false }), "[::1]:80", false),
            ("addresses are let in", json!({ "allow": ["*"], "allow_ip_literals": true }), "1.2.3.4", true),
            (
                "nonsense for a yes or no",
                json!({ "allow": ["*"], "allow_ip_literals": "no" }),
                "1.2.3.4",
                true,
            ),
            ("nonsense for a list", json!({ "allow": "*" }), "a.example", false),
            ("nonsense in a list", json!({ "allow": [1, "*"], "deny": {} }), "a.example", true),
        ];
        for (what, content, server, is_in) in rows {
            let server = <&ServerName>::try_from(server).expect("a server's name");
            assert_eq!(admitted(&content, server), is_in, "{what}");
        }
    }
}
