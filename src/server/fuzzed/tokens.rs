//! What a client gives back or asks with: tokens of `/sync` and of pages, and filters.

use ruma::{room_id, user_id};

use crate::server::stream::{Brief, Filter, PageToken, Pos, Seen, Token, Whose};

/// A token has one form, so that who has it, has what was given out.
pub(super) fn token(data: &[u8]) {
    let Ok(words) = str::from_utf8(data) else { return };
    if let Ok(token) = words.parse::<Token>() {
        let written = if words.starts_with('q') { Brief(&token).to_string() } else { token.to_string() };
        assert_eq!(written, words);
        assert!(words.parse::<PageToken>().is_ok(), "a page may begin where a stream is");
    }
    if let Ok(pos) = words.parse::<Pos>() {
        assert_eq!(pos.to_string(), words);
        assert!(words.parse::<PageToken>().is_ok(), "a page may begin where a window is");
    }
    if let Ok(PageToken(place)) = words.parse::<PageToken>() {
        let written = PageToken(place).to_string();
        assert_eq!(written.parse(), Ok(PageToken(place)));
        assert!(words.starts_with(['p', 'q', 'w']) || written == words, "{written}");
    }
}

/// A filter decides about anything, and asks for a bounded number of events.
pub(super) fn filter(data: &[u8]) {
    let Ok(json) = str::from_utf8(data) else { return };
    let Ok(filter) = Filter::parse(json) else { return };
    let (room, user) = (room_id!("!room:a.example"), user_id!("@bob:b.example"));
    assert!(filter.timeline_limit() <= 100);
    let is_wanted = filter.whose_presence() != Whose::Nobodys;
    assert!(is_wanted || !filter.presence(user), "nobody's presence comes when none is wanted");
    let event = |kind, json| Seen { kind, sender: user.as_str(), json };
    for seen in [
        event("m.room.message", r#"{"content":{"url":"mxc://a.example/x"}}"#),
        event("m.room.name", r#"{"content":{}}"#),
        event("", ""),
        event("org.example.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", json),
    ] {
        let kept = [filter.timeline(room, seen), filter.state(room, seen)];
        if let Some(fields) = filter.fields() {
            let (mut some, mut once_more) = (Vec::new(), Vec::new());
            fields.append(&mut some, seen.json.as_bytes());
            assert!(
                serde_json::from_slice::<serde_json::Map<_, _>>(&some).is_ok(),
                "an event stays an object"
            );
            fields.append(&mut once_more, &some);
            assert_eq!(some, once_more);
        }
        // A second look says the same.
        assert_eq!(kept, [filter.timeline(room, seen), filter.state(room, seen)]);
        assert_eq!(filter.account_data(seen.kind), filter.account_data(seen.kind));
        assert_eq!(filter.ephemeral(room, seen.kind), filter.ephemeral(room, seen.kind));
        assert_eq!(filter.room_account_data(room, seen.kind), filter.room_account_data(room, seen.kind));
    }
}
