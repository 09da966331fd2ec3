//! Commands by name: which request each makes, and what is refused before anything is sent.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::client::call::BadCall;

/// Each name, its arguments, and its request: method, path, body.
#[test]
fn the_table_of_names() {
    let v3 = "v3/rooms/%21r%3Ahs/";
    for (name, arguments, request, body) in [
        ("logout", json!([]), "POST logout", json!({})),
        ("setPresence", json!(["busy"]), "PUT status", json!({"presence": "busy"})),
        ("setPresence", json!(["busy", null]), "PUT status", json!({"presence": "busy", "status_msg": null})),
        (
            "setPresence",
            json!(["hidden", "x"]),
            "PUT status",
            json!({"presence": "hidden", "status_msg": "x"}),
        ),
        ("setDisplayName", json!(["Ann"]), "PUT displayname", json!({"displayname": "Ann"})),
        ("addContact", json!(["@b:hs"]), "POST presence/list", json!({"invite": ["@b:hs"]})),
        ("dropContact", json!(["@b:hs"]), "POST presence/list", json!({"drop": ["@b:hs"]})),
        ("answerRequest", json!(["@b:hs", "deny"]), "POST requests/", json!({"answer": "deny"})),
        ("setGroup", json!(["@b:hs", "G", true]), "PUT groups/ /G/members", json!({})),
        ("setGroup", json!(["@b:hs", "G", false]), "DELETE groups/ /G/members", Value::Null),
        ("inviteGroup", json!(["G"]), "POST /G/invite", json!({})),
        ("deliverPresence", json!([true]), "PUT /delivery", json!({"enabled": true})),
        ("deliverPresence", json!([false]), "PUT /delivery", json!({"enabled": false})),
        ("privacy", json!([]), "GET settings/", Value::Null),
        ("setPrivacy", json!([{"share": "list"}]), "PUT settings/", json!({"share": "list"})),
        (
            "setNotifySettings",
            json!([{"mutedIn": ["busy"], "groups": {}}]),
            "PUT account_data",
            json!({"muted_in": ["busy"], "groups": {}}),
        ),
        (
            "createRoom",
            json!([{"name": "N"}]),
            "POST createRoom",
            json!({"name": "N", "preset": "private_chat", "visibility": "private", "invite": [], "is_direct": false}),
        ),
        ("joinRoom", json!(["#a:hs"]), "POST join/%23a%3Ahs", json!({})),
        ("leaveRoom", json!([ROOM]), &[v3, "leave"].concat(), json!({})),
        ("forgetRoom", json!([ROOM]), &[v3, "forget"].concat(), json!({})),
        ("invite", json!([ROOM, "@b:hs"]), &[v3, "invite"].concat(), json!({"user_id": "@b:hs"})),
        (
            "kick",
            json!([ROOM, "@b:hs", "why"]),
            &[v3, "kick"].concat(),
            json!({"user_id": "@b:hs", "reason": "why"}),
        ),
        ("redact", json!([ROOM, "$e", null]), &[v3, "redact/%24e"].concat(), json!({})),
        ("scrollBack", json!([ROOM]), &[v3, "messages limit=50"].concat(), Value::Null),
        ("scrollBack", json!([ROOM, 7]), &[v3, "messages limit=7"].concat(), Value::Null),
        (
            "publicRooms",
            json!(["tea"]),
            "POST publicRooms",
            json!({"limit": 100, "filter": {"generic_search_term": "tea"}}),
        ),
        ("request", json!(["PUT", "/_matrix/x", {"a": [1]}]), "PUT /_matrix/x", json!({"a": [1]})),
        ("request", json!(["GET", "/_matrix/x"]), "GET /_matrix/x", Value::Null),
    ] {
        let mut f = Fixture::online();
        f.events(json!([message("$e", "@b:hs", "x", None)]));
        f.client
            .call(f.now, name, &arguments.to_string())
            .unwrap_or_else(|e| panic!("{name} {arguments}: {e}"));
        f.drain();
        let sent = f.take(request);
        let sent = sent.body.as_deref().map_or(Value::Null, |body| serde_json::from_str(body).unwrap());
        assert_eq!(sent, body, "{name} {arguments}");
    }
}

#[test]
fn what_is_wrong_is_refused_by_name_and_nothing_is_sent() {
    let argument = |name, wanted| BadCall::Argument(name, wanted);
    let field = |words: &str| BadCall::Field(String::from(words));
    let states = "free_for_chat, online, busy, unavailable, offline or hidden";
    let settings = "{ mutedIn: states that can be chosen, groups: always or never by name }";
    for (name, arguments, refusal) in [
        ("dance", "[]", BadCall::Unknown(String::from("dance"))),
        ("joinRoom", "[]", argument("idOrAlias", "a string")),
        ("joinRoom", "[null]", argument("idOrAlias", "a string")),
        ("joinRoom", "[5]", argument("idOrAlias", "a string")),
        ("joinRoom", "no json", argument("idOrAlias", "a string")),
        ("kick", r#"["!r:hs","@b:hs",5]"#, argument("reason", "a string")),
        ("setPresence", r#"["unknown"]"#, argument("state", states)),
        ("setPresence", r#"["busy",5]"#, argument("statusMsg", "a string")),
        ("answerRequest", r#"["@b:hs","maybe"]"#, argument("answer", "accept, deny or revoke")),
        ("setGroup", r#"["@b:hs","G",1]"#, argument("inside", "true or false")),
        ("createRoom", "[[]]", argument("room", "an object")),
        ("setNotifySettings", "[{}]", argument("settings", settings)),
        ("setNotifySettings", r#"[{"mutedIn":["asleep"],"groups":{}}]"#, argument("settings", settings)),
        (
            "setNotifySettings",
            r#"[{"mutdIn":[]}]"#,
            field(r#"settings has no field "mutdIn": did you mean "mutedIn"?"#),
        ),
        (
            "setNotifySettings",
            r#"[{"mutedIn":"busy"}]"#,
            field("settings.mutedIn must be an array of strings"),
        ),
        (
            "setPrivacy",
            r#"[{"auto_accept":"reverse"}]"#,
            field(r#"privacy has no field "auto_accept": did you mean "autoAccept"?"#),
        ),
        ("setPrivacy", r#"[{"share":true}]"#, field("privacy.share must be a string")),
        (
            "createRoom",
            r#"[{"isDirect":true}]"#,
            field(r#"room has no field "isDirect": did you mean "direct"?"#),
        ),
        ("createRoom", r#"[{"invite":"@b:hs"}]"#, field("room.invite must be an array of strings")),
        ("createRoom", r#"[{"invite":[5]}]"#, field("room.invite must be an array of strings")),
        ("createRoom", r#"[{"public":"yes"}]"#, field("room.public must be true or false")),
        ("createRoom", r#"[{"name":5}]"#, field("room.name must be a string")),
        ("request", r#"["PATCH","/_matrix/x"]"#, argument("method", "GET, POST, PUT or DELETE")),
        ("request", r#"["GET","//evil/_matrix/x"]"#, argument("path", "a path that begins with /_matrix/")),
    ] {
        let mut f = Fixture::online();
        let requests = f.requests.len();
        assert_eq!(f.client.call(f.now, name, arguments), Err(refusal), "{name} {arguments}");
        f.drain();
        assert_eq!((f.requests.len(), f.answers.len()), (requests, 0), "{name} {arguments}");
    }
}

#[test]
fn a_number_or_a_text_beyond_its_bounds_is_refused_not_bent() {
    let mut f = Fixture::online();
    for limit in ["null", "-1", "1.5", "9007199254740992", "\"5\""] {
        let arguments = ["[\"!r:hs\",", limit, "]"].concat();
        assert!(matches!(f.client.call(f.now, "scrollBack", &arguments), Err(BadCall::Range(_))), "{limit}");
    }
    let long = json!(["busy", "x".repeat(100_000)]).to_string();
    assert!(matches!(f.client.call(f.now, "setPresence", &long), Err(BadCall::Range(_))));
}

#[test]
fn what_can_be_no_name_is_refused_with_a_code_and_nothing_is_sent() {
    for (name, arguments, code) in [
        ("addContact", json!(["notanid"]), "BAD_USER_ID"),
        ("addContact", json!([""]), "BAD_USER_ID"),
        ("dropContact", json!(["@b"]), "BAD_USER_ID"),
        ("answerRequest", json!(["b:hs", "accept"]), "BAD_USER_ID"),
        ("setGroup", json!(["@b b:hs", "G", true]), "BAD_USER_ID"),
        ("invite", json!([ROOM, "notanid"]), "BAD_USER_ID"),
        ("kick", json!([ROOM, "notanid"]), "BAD_USER_ID"),
        ("createRoom", json!([{"invite": ["@b:hs", "notanid"]}]), "BAD_USER_ID"),
        ("joinRoom", json!(["lunch"]), "BAD_ROOM"),
    ] {
        let mut f = Fixture::online();
        let requests = f.requests.len();
        f.client.call(f.now, name, &arguments.to_string()).unwrap();
        f.drain();
        assert_eq!(f.requests.len(), requests, "{name} {arguments}");
        assert_eq!(f.answers.pop().unwrap().unwrap_err().code, code, "{name} {arguments}");
    }
}
