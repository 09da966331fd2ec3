//! Presence as it was written before there was `/sync`: with the user in the content, where clients look for it who ask
//! for `/events` and for an initial sync.

use ruma::UserId;

use crate::{
    core::time::Instant,
    server::{
        json::append_string,
        presence::{PresenceEvent, UNKNOWN},
    },
};

/// Appends the presence event of `user` as it reads at `now`.
pub fn append_presence(out: &mut Vec<u8>, user: &UserId, event: &PresenceEvent, now: Instant) {
    append_of(out, user, |out| event.write_content(out, now));
}

/// Appends the event that tells nothing of `user`.
pub(super) fn append_unknown(out: &mut Vec<u8>, user: &UserId) {
    append_of(out, user, |out| out.extend_from_slice(UNKNOWN.as_bytes()));
}

/// `content` appends an object that is not empty.
fn append_of(out: &mut Vec<u8>, user: &UserId, content: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(br#"{"type":"m.presence","sender":"#);
    append_string(out, user.as_str());
    out.extend_from_slice(br#","content":{"user_id":"#);
    append_string(out, user.as_str());
    let brace = out.len();
    content(out);
    if let Some(brace) = out.get_mut(brace) {
        *brace = b',';
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::{Value, json};

    use super::*;
    use crate::core::presence::State;

    #[test]
    fn presence_names_its_user_where_old_clients_look_for_it() {
        let user = user_id!("@a:x");
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        let event = PresenceEvent::bare(user.as_str(), State::Online);
        append_presence(&mut known, user, &event, Instant::from_millis(5));
        append_unknown(&mut unknown, user);
        for (out, presence, state) in [(known, "online", "online"), (unknown, "offline", "unknown")] {
            let content = json!({
                "user_id": "@a:x", "presence": presence, "org.pilotlight.presence": { "state": state }
            });
            let expected = json!({ "type": "m.presence", "sender": "@a:x", "content": content });
            assert_eq!(serde_json::from_slice::<Value>(&out).expect("is JSON"), expected);
        }
    }
}
