//! M16: account data, tags, filters, push rules, and what clients ask on their way in.

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

fn path(client: &Client, rest: &str) -> String {
    format!("/_matrix/client/v3/user/{}/{rest}", client.user)
}

#[test]
fn account_data_is_kept_for_all_rooms_and_for_one_and_over_a_restart() {
    let server = TestServer::start();
    let ann = server.register("ann");
    let (global, room) = (path(&ann, "account_data/x.y"), path(&ann, "rooms/!r:localhost/account_data/x.y"));
    ann.get(&global).refused(404, "M_NOT_FOUND");
    ann.put(&global, json!({ "n": 1 })).ok();
    ann.put(&global, json!({ "n": 2, "deep": [{ "a": null }] })).ok();
    ann.put(&room, json!({ "n": 3 })).ok();
    let other = server.log_in("ann");
    let server = server.restart();
    let other = server.anonymous().with_token(&json!(other.token));
    assert_eq!(other.get(&global).ok(), json!({ "n": 2, "deep": [{ "a": null }] }));
    assert_eq!(other.get(&room).ok(), json!({ "n": 3 }));
}

#[test]
fn account_data_that_is_not_an_object_not_ours_or_too_large_is_refused() {
    let server = TestServer::start();
    let ben = server.register("ben");
    let mut deep = json!({});
    for _ in 0..70 {
        deep = json!({ "d": deep });
    }
    let table = [
        ("account_data/x", json!([1]), 400, "M_BAD_JSON"),
        ("account_data/x", json!({ "x": "y".repeat(70_000) }), 413, "M_TOO_LARGE"),
        ("account_data/x", deep, 400, "M_BAD_JSON"),
        ("account_data/m.push_rules", json!({}), 405, "M_BAD_JSON"),
        ("rooms/!r:localhost/account_data/m.fully_read", json!({}), 405, "M_BAD_JSON"),
        ("rooms/nonsense/account_data/x", json!({}), 400, "M_INVALID_PARAM"),
    ];
    for (rest, body, status, errcode) in table {
        ben.put(&path(&ben, rest), body).refused(status, errcode);
    }
    let cat = server.register("cat");
    cat.put(&path(&ben, "account_data/x"), json!({})).refused(403, "M_FORBIDDEN");
    cat.get(&path(&ben, "account_data/x")).refused(403, "M_FORBIDDEN");
    ben.get(&path(&ben, "account_data/x")).refused(404, "M_NOT_FOUND");
}

#[test]
fn account_data_of_one_user_is_bounded() {
    let server = TestServer::start();
    let dan = server.register("dan");
    let big = json!({ "x": "y".repeat(60_000) });
    let put = |n: usize| dan.put(&path(&dan, &format!("account_data/x{n}")), big.clone());
    let fits = (0..80).take_while(|n| put(*n).status == 200).count();
    assert!((60..75).contains(&fits), "{fits} pieces of 60 KB fit into 4 MiB");
    put(fits).refused(413, "M_TOO_LARGE");
    dan.put(&path(&dan, "account_data/x0"), json!({})).ok();
    put(fits).ok();
}

#[test]
fn tags_are_set_listed_and_removed() {
    let server = TestServer::start();
    let eva = server.register("eva");
    let tags = path(&eva, "rooms/!r:localhost/tags");
    assert_eq!(eva.get(&tags).ok(), json!({ "tags": {} }));
    eva.put(&format!("{tags}/m.favourite"), json!({ "order": 0.25 })).ok();
    eva.put(&format!("{tags}/u.work"), json!({})).ok();
    assert_eq!(eva.get(&tags).ok(), json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": {} } }));
    let data = eva.get(&path(&eva, "rooms/!r:localhost/account_data/m.tag")).ok();
    assert_eq!(data["tags"]["m.favourite"]["order"], 0.25);
    eva.delete(&format!("{tags}/u.work"), json!({})).ok();
    assert_eq!(eva.get(&tags).ok(), json!({ "tags": { "m.favourite": { "order": 0.25 } } }));
    eva.put(&format!("{tags}/u.x"), json!({ "order": 2 })).refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_filter_is_stored_once_and_read_back_by_its_owner() {
    let server = TestServer::start();
    let fox = server.register("fox");
    let filters = path(&fox, "filter");
    let filter = json!({ "room": { "timeline": { "limit": 20, "types": ["m.room.message"] } } });
    let id = fox.post(&filters, filter.clone()).ok()["filter_id"].clone();
    assert_eq!(fox.post(&filters, filter.clone()).ok()["filter_id"], id);
    let other = fox.post(&filters, json!({ "room": {} })).ok()["filter_id"].clone();
    assert_ne!(other, id);
    let stored = path(&fox, &format!("filter/{}", id.as_str().expect("a string")));
    assert_eq!(fox.get(&stored).ok(), filter);
    server.register("gnu").get(&stored).refused(403, "M_FORBIDDEN");
    for id in ["99", "x", "-1"] {
        fox.get(&format!("{filters}/{id}")).refused(404, "M_NOT_FOUND");
    }
    let mut deep = json!({});
    for _ in 0..9 {
        deep = json!({ "room": deep });
    }
    let table = [
        (json!({ "room": 1 }), 400, "M_BAD_JSON"),
        (json!({ "room": { "timeline": { "limit": -1 } } }), 400, "M_BAD_JSON"),
        (json!({ "room": { "timeline": { "limit": 1e300 } } }), 400, "M_BAD_JSON"),
        (json!("x"), 400, "M_BAD_JSON"),
        (json!({ "x": "y".repeat(20_000) }), 413, "M_TOO_LARGE"),
        (deep, 400, "M_BAD_JSON"),
    ];
    for (filter, status, errcode) in table {
        fox.post(&filters, filter).refused(status, errcode);
    }
}

#[test]
fn push_rules_begin_with_matrix_defaults_and_are_changed() {
    let server = TestServer::start();
    let hen = server.register("hen");
    let rules = "/_matrix/client/v3/pushrules/";
    let ids = |list: &Value| -> Vec<String> {
        list.as_array()
            .expect("a list")
            .iter()
            .map(|rule| rule["rule_id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let all = hen.get(rules).ok();
    assert_eq!(ids(&all["global"]["override"])[0], ".m.rule.master");
    assert!(ids(&all["global"]["underride"]).contains(&".m.rule.message".to_owned()));

    let rule = format!("{rules}global/content/fox");
    hen.put(&rule, json!({ "pattern": "fox", "actions": ["notify"] })).ok();
    hen.put(&format!("{rule}/enabled"), json!({ "enabled": false })).ok();
    hen.put(&format!("{rule}/actions"), json!({ "actions": [] })).ok();
    let stored = hen.get(&rule).ok();
    assert_eq!(
        (&stored["pattern"], &stored["enabled"], &stored["actions"]),
        (&json!("fox"), &json!(false), &json!([]))
    );
    assert_eq!(hen.get(&format!("{rule}/enabled")).ok()["enabled"], false);
    hen.put(&format!("{rules}global/override/.m.rule.master/enabled"), json!({ "enabled": true })).ok();
    let server = server.restart();
    let hen = server.anonymous().with_token(&json!(hen.token));
    let data = hen.get("/_matrix/client/v3/user/@hen:localhost/account_data/m.push_rules").ok();
    assert_eq!(data, hen.get(rules).ok());
    assert_eq!(data["global"]["override"][0]["enabled"], true);
    hen.delete(&rule, json!({})).ok();
    hen.get(&rule).refused(404, "M_NOT_FOUND");
    hen.delete(&rule, json!({})).refused(404, "M_NOT_FOUND");
    hen.put(&format!("{rules}global/content/.mine"), json!({ "pattern": "x", "actions": [] }))
        .refused(400, "M_INVALID_PARAM");
    hen.put(&format!("{rules}global/content/x?before=none"), json!({ "pattern": "x", "actions": [] }))
        .refused(400, "M_UNKNOWN");
    hen.put(&rule, json!({ "pattern": 1, "actions": [] })).refused(400, "M_BAD_JSON");
}

#[test]
fn what_clients_ask_on_their_way_in_is_answered_as_it_is() {
    let server = TestServer::start_with(|config| config.public_url = Some("https://chat.example.org".into()));
    let ivy = server.register("ivy");
    let capabilities = ivy.get("/_matrix/client/v3/capabilities").ok();
    assert_eq!(capabilities["capabilities"]["m.room_versions"]["default"], "12");
    assert_eq!(capabilities["capabilities"]["m.room_versions"]["available"]["10"], "stable");
    let table = [
        ("/_matrix/client/v1/media/config", json!({ "m.upload.size": 100 << 20 })),
        ("/_matrix/media/v3/config", json!({ "m.upload.size": 100 << 20 })),
        ("/_matrix/client/v3/voip/turnServer", json!({})),
        ("/_matrix/client/v3/thirdparty/protocols", json!({})),
        ("/_matrix/client/v3/account/3pid", json!({ "threepids": [] })),
        ("/.well-known/matrix/client", json!({ "m.homeserver": { "base_url": "https://chat.example.org" } })),
    ];
    for (path, expected) in table {
        assert_eq!(ivy.get(path).ok(), expected, "{path}");
    }
    for path in [
        "/_matrix/client/v1/auth_metadata",
        "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata",
        "/_matrix/client/v3/login/sso/redirect",
        "/_matrix/client/v3/dance",
    ] {
        ivy.get(path).refused(404, "M_UNRECOGNIZED");
    }
    ivy.post("/_matrix/client/v3/capabilities", json!({})).refused(405, "M_UNRECOGNIZED");
    TestServer::start().anonymous().get("/.well-known/matrix/client").refused(404, "M_NOT_FOUND");
}

#[test]
fn people_are_found_by_those_who_share_a_room_or_know_their_name() {
    let server = TestServer::start();
    let (jay, kit) = (server.register("jay"), server.register("kit"));
    kit.put("/_matrix/client/v3/profile/@kit:localhost/displayname", json!({ "displayname": "Christopher" }))
        .ok();
    let found = |term: &str| -> Vec<String> {
        let body = json!({ "search_term": term });
        let answer = jay.post("/_matrix/client/v3/user_directory/search", body).ok();
        let results = answer["results"].as_array().expect("a list").clone();
        results.iter().map(|user| user["user_id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(found("christ"), Vec::<String>::new());
    assert_eq!(found("kit"), ["@kit:localhost"]);
    assert_eq!(found("@Kit:localhost"), ["@kit:localhost"]);
    assert_eq!(found("nobody"), Vec::<String>::new());
    let room = kit.post("/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
    let room = room["room_id"].as_str().expect("an id").to_owned();
    jay.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    assert_eq!(found("christ"), ["@kit:localhost"]);
}

#[test]
fn a_new_name_goes_into_every_joined_room() {
    let server = TestServer::start();
    let lou = server.register("lou");
    let rooms: Vec<String> = (0..2)
        .map(|_| {
            lou.post("/_matrix/client/v3/createRoom", json!({})).ok()["room_id"]
                .as_str()
                .expect("an id")
                .to_owned()
        })
        .collect();
    lou.put("/_matrix/client/v3/profile/@lou:localhost/displayname", json!({ "displayname": "Louise" })).ok();
    for room in rooms {
        let member = format!("/_matrix/client/v3/rooms/{room}/state/m.room.member/@lou:localhost");
        let member = lou.get(&member).ok();
        assert_eq!((&member["membership"], &member["displayname"]), (&json!("join"), &json!("Louise")));
    }
}

#[test]
fn changed_account_data_is_in_the_next_sync_of_every_device_of_the_user() {
    let server = TestServer::start();
    let mae = server.register("mae");
    let phone = server.log_in("mae");
    let sync = |rest: &str| phone.get(&format!("/_matrix/client/v3/sync?timeout=10000{rest}")).ok();
    let first = sync("");
    let kinds = |sync: &Value| -> Vec<String> {
        let events = sync["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
    };
    assert_eq!(kinds(&first), ["m.push_rules"]);
    mae.put(&path(&mae, "account_data/x.y"), json!({ "n": 1 })).ok();
    let second = sync(&format!("&since={}", first["next_batch"].as_str().expect("a token")));
    assert_eq!(second["account_data"]["events"], json!([{ "type": "x.y", "content": { "n": 1 } }]));
    mae.put("/_matrix/client/v3/pushrules/global/content/fox", json!({ "pattern": "fox", "actions": [] }))
        .ok();
    let third = sync(&format!("&since={}", second["next_batch"].as_str().expect("a token")));
    assert_eq!(kinds(&third), ["m.push_rules"]);
    assert_eq!(third["account_data"]["events"][0]["content"]["global"]["content"][0]["rule_id"], "fox");
}
