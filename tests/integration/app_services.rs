//! Application services as clients: who they may act as, what is theirs alone, and what of them is not limited.

use serde_json::{Value, json};

use super::support::{Client, TempDir, TestServer};

/// A registration file that is there as long as this is.
pub struct Registered {
    folder: TempDir,
    id: String,
}

impl Registered {
    /// One that is answered at `url`, with `_{id}_` before the names of its users and aliases, and more lines at the end.
    pub fn new(id: &str, url: Option<&str>, more: &str) -> Self {
        let folder = TempDir::new();
        let url = url.map_or_else(|| "null".to_owned(), |url| format!("'{url}'"));
        let text = format!(
            "id: {id}\nurl: {url}\nas_token: as-{id}\nhs_token: hs-{id}\nsender_localpart: {id}bot\n\
             namespaces:\n  users:\n    - {{exclusive: true, regex: '@_{id}_.*'}}\n  aliases:\n    \
             - {{exclusive: true, regex: '#_{id}_.*'}}\n{more}"
        );
        std::fs::write(folder.path().join(format!("{id}.yaml")), text).expect("can be written");
        Self { folder, id: id.to_owned() }
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.folder.path().join(format!("{}.yaml", self.id))
    }

    /// Who asks with its token.
    pub fn client(&self, server: &TestServer) -> Client {
        server.anonymous().with_token(&format!("as-{}", self.id).into())
    }
}

/// A server with these application services.
pub fn server_of(services: &[&Registered]) -> TestServer {
    TestServer::start_with(|config| {
        config.application_services = services.iter().map(|service| service.path()).collect();
    })
}

const V3: &str = "/_matrix/client/v3";
const AS: &str = "m.login.application_service";

/// Registers a user of the application service, who is given no device.
pub fn ghost(service: &Client, name: &str) -> String {
    let body = json!({ "type": AS, "username": name, "inhibit_login": true });
    let answer = service.post(&format!("{V3}/register"), body).ok();
    assert!(answer.get("access_token").is_none(), "{answer}");
    answer["user_id"].as_str().expect("a user").to_owned()
}

fn whoami(client: &Client, query: &str) -> super::support::Answer {
    client.get(&format!("{V3}/account/whoami{query}"))
}

#[test]
fn an_application_service_acts_as_its_own_user_and_as_those_it_registered_and_as_nobody_else() {
    let irc = Registered::new("irc", None, "");
    let server = server_of(&[&irc]);
    let service = irc.client(&server);
    let alice = server.register("alice");
    assert_eq!(whoami(&service, "").ok(), json!({ "user_id": "@ircbot:localhost", "is_guest": false }));
    whoami(&service, "?user_id=@_irc_a:localhost").refused(403, "M_FORBIDDEN");
    assert_eq!(ghost(&service, "_irc_a"), "@_irc_a:localhost");
    let as_ghost = whoami(&service, "?user_id=@_irc_a:localhost").ok();
    assert_eq!(as_ghost, json!({ "user_id": "@_irc_a:localhost", "is_guest": false }));
    // As older libraries send the token.
    let in_query = server.anonymous();
    assert_eq!(whoami(&in_query, "?access_token=as-irc&user_id=@_irc_a:localhost").ok(), as_ghost);
    for (query, status, code) in [
        ("?user_id=@alice:localhost", 403, "M_FORBIDDEN"),
        ("?user_id=@_irc_a:elsewhere", 403, "M_FORBIDDEN"),
        ("?user_id=nobody", 400, "M_INVALID_PARAM"),
        ("?user_id=@_irc_a:localhost&device_id=NONE", 400, "M_UNKNOWN_DEVICE"),
        ("?device_id=NONE", 400, "M_UNKNOWN_DEVICE"),
    ] {
        whoami(&service, query).refused(status, code);
    }
    // What others say of whom they are makes no difference.
    assert_eq!(whoami(&alice, "?user_id=@_irc_a:localhost").ok()["user_id"], "@alice:localhost");
    whoami(&server.anonymous().with_token(&"hs-irc".into()), "").refused(401, "M_UNKNOWN_TOKEN");
    let body =
        json!({ "type": AS, "identifier": { "type": "m.id.user", "user": "_irc_a" }, "device_id": "D" });
    let logged_in = service.post(&format!("{V3}/login"), body).ok();
    assert_eq!((&logged_in["user_id"], &logged_in["device_id"]), (&json!("@_irc_a:localhost"), &json!("D")));
    for name in ["device_id", "org.matrix.msc3202.device_id"] {
        let answer = whoami(&service, &format!("?user_id=@_irc_a:localhost&{name}=D")).ok();
        assert_eq!(answer["device_id"], "D");
    }
    // The device's own token is one like any other.
    assert_eq!(whoami(&server.anonymous().with_token(&logged_in["access_token"]), "").ok()["device_id"], "D");
}

#[test]
fn users_and_aliases_that_are_exclusive_are_kept_from_everybody_else() {
    let (irc, xmpp) = (Registered::new("irc", None, ""), Registered::new("xmpp", None, ""));
    let server = server_of(&[&irc, &xmpp]);
    let (irc, xmpp) = (irc.client(&server), xmpp.client(&server));
    let alice = server.register("alice");
    let register = |client: &Client, body: Value| client.post(&format!("{V3}/register"), body);
    for name in ["_irc_a", "_IRC_a", "ircbot"] {
        let body = json!({ "username": name, "password": "x", "auth": { "type": "m.login.dummy" } });
        register(&server.anonymous(), body).refused(400, "M_EXCLUSIVE");
        let path = format!("{V3}/register/available?username={name}");
        server.anonymous().get(&path).refused(400, "M_EXCLUSIVE");
        register(&xmpp, json!({ "type": AS, "username": name })).refused(400, "M_EXCLUSIVE");
    }
    register(&irc, json!({ "type": AS, "username": "free" })).refused(400, "M_EXCLUSIVE");
    register(&irc, json!({ "type": AS })).refused(400, "M_MISSING_PARAM");
    register(&irc, json!({ "type": AS, "username": "_irc_ä" })).refused(400, "M_INVALID_USERNAME");
    register(&server.anonymous(), json!({ "type": AS, "username": "_irc_b" }))
        .refused(401, "M_MISSING_TOKEN");
    register(&alice, json!({ "type": AS, "username": "_irc_b" })).refused(401, "M_UNKNOWN_TOKEN");
    let made = register(&irc, json!({ "type": AS, "username": "_irc_b" })).ok();
    assert!(made["access_token"].is_string() && made["device_id"].is_string(), "{made}");
    register(&irc, json!({ "type": AS, "username": "_irc_b" })).refused(400, "M_USER_IN_USE");
    let log_in = |client: &Client, user: &str| {
        let body = json!({ "type": AS, "identifier": { "type": "m.id.user", "user": user } });
        client.post(&format!("{V3}/login"), body)
    };
    log_in(&xmpp, "_irc_b").refused(403, "M_EXCLUSIVE");
    log_in(&irc, "@alice:localhost").refused(403, "M_EXCLUSIVE");
    log_in(&irc, "_irc_unknown").refused(403, "M_FORBIDDEN");
    log_in(&server.anonymous(), "_irc_b").refused(401, "M_MISSING_TOKEN");
    let flows = server.anonymous().get(&format!("{V3}/login")).ok();
    assert!(flows["flows"].as_array().expect("a list").contains(&json!({ "type": AS })), "{flows}");

    let room = alice.post(&format!("{V3}/createRoom"), json!({})).ok()["room_id"].clone();
    let alias = |name: &str| format!("{V3}/directory/room/%23{name}:localhost");
    for client in [&alice, &xmpp] {
        client.put(&alias("_irc_room"), json!({ "room_id": room })).refused(400, "M_EXCLUSIVE");
        let body = json!({ "room_alias_name": "_irc_room" });
        client.post(&format!("{V3}/createRoom"), body).refused(400, "M_EXCLUSIVE");
    }
    irc.put(&alias("other"), json!({ "room_id": room })).refused(400, "M_EXCLUSIVE");
    // Its own it gives to any room, and takes it away again.
    irc.put(&alias("_irc_room"), json!({ "room_id": room })).ok();
    assert_eq!(alice.get(&alias("_irc_room")).ok()["room_id"], room);
    alice.delete(&alias("_irc_room"), json!({})).refused(400, "M_EXCLUSIVE");
    let query = format!("{}?user_id=@_irc_b:localhost", alias("_irc_room"));
    irc.delete(&query, json!({})).ok();
    irc.post(&format!("{V3}/createRoom"), json!({ "room_alias_name": "_irc_other" })).ok();
}

#[test]
fn an_event_says_the_time_that_an_application_service_says_and_no_other_client_can() {
    let irc = Registered::new("irc", None, "");
    let server = server_of(&[&irc]);
    let (service, alice) = (irc.client(&server), server.register("alice"));
    let room = service.post(&format!("{V3}/createRoom"), json!({ "preset": "public_chat" })).ok();
    let room = room["room_id"].as_str().expect("a room").to_owned();
    alice.post(&format!("{V3}/rooms/{room}/join"), json!({})).ok();
    let time_of = |sent: Value| {
        let event = sent["event_id"].as_str().expect("an event").to_owned();
        alice.get(&format!("{V3}/rooms/{room}/event/{event}")).ok()["origin_server_ts"].clone()
    };
    let send = |client: &Client, path: &str, text: &str| {
        client.put(&format!("{V3}/rooms/{room}/{path}"), json!({ "msgtype": "m.text", "body": text }))
    };
    let sent = send(&service, "send/m.room.message/1?ts=1000", "old").ok();
    assert_eq!(time_of(sent.clone()), 1000);
    // Once, however old it is.
    send(&service, "send/m.room.message/2?ts=4102444800000", "of the future").ok();
    assert_eq!(send(&service, "send/m.room.message/1?ts=1000", "old").ok(), sent);
    assert_eq!(time_of(send(&service, "state/org.example.topic/?ts=2000", "state").ok()), 2000);
    send(&service, "send/m.room.message/3?ts=-1", "never").refused(400, "M_INVALID_PARAM");
    assert!(time_of(send(&alice, "send/m.room.message/1?ts=1000", "now").ok()).as_u64() > Some(1_000_000));
    // After all of that, in the order in which they came.
    let path = format!("{V3}/rooms/{room}/messages?dir=b&limit=4");
    let bodies = |answer: Value| -> Vec<Value> {
        answer["chunk"].as_array().expect("a list").iter().map(|e| e["content"]["body"].clone()).collect()
    };
    assert_eq!(bodies(alice.get(&path).ok()), ["now", "state", "of the future", "old"]);
}

#[test]
fn only_users_of_an_application_service_that_is_limited_are_limited_and_not_its_own() {
    let (fast, slow) =
        (Registered::new("fast", None, "rate_limited: false\n"), Registered::new("slow", None, ""));
    let server = TestServer::driven_with(|config| {
        config.application_services = vec![fast.path(), slow.path()];
        config.rate_limits.user_burst = 3;
    });
    let (fast, slow) = (fast.client(&server), slow.client(&server));
    let passed =
        |client: &Client, query: &str| (0..20).filter(|_| whoami(client, query).status == 200).count();
    ghost(&fast, "_fast_a");
    ghost(&slow, "_slow_a");
    assert_eq!(passed(&fast, "?user_id=@_fast_a:localhost"), 20);
    assert_eq!(passed(&slow, "?user_id=@_slow_a:localhost"), 3);
    assert_eq!((passed(&fast, ""), passed(&slow, "")), (20, 20));
}

#[test]
fn of_an_application_service_no_password_is_asked_and_it_makes_devices_of_its_users() {
    let irc = Registered::new("irc", None, "");
    let server = server_of(&[&irc]);
    let service = irc.client(&server);
    ghost(&service, "_irc_a");
    let query = "user_id=@_irc_a:localhost";
    let device = format!("{V3}/devices/BRIDGE?{query}");
    assert_eq!(service.put(&device, json!({ "display_name": "Bridge" })).status, 201);
    assert_eq!(service.put(&device, json!({ "display_name": "The bridge" })).ok(), json!({}));
    assert_eq!(service.get(&device).ok()["display_name"], "The bridge");
    whoami(&service, &format!("?{query}&device_id=BRIDGE")).ok();
    server.register("alice").put(&format!("{V3}/devices/OTHER"), json!({})).refused(404, "M_NOT_FOUND");
    service.delete(&device, json!({})).ok();
    service.get(&device).refused(404, "M_NOT_FOUND");
    whoami(&service, &format!("?{query}&device_id=BRIDGE")).refused(400, "M_UNKNOWN_DEVICE");
    let keys = format!("{V3}/keys/upload?{query}");
    service.post(&keys, json!({})).refused(400, "M_UNKNOWN");
    // It reads what they read, and outlives what ends their devices.
    let sync = format!("{V3}/sync?{query}&timeout=0");
    service.get(&sync).ok();
    service.post(&format!("{V3}/logout/all?{query}"), json!({})).ok();
    service.get(&sync).ok();
    let password = format!("{V3}/account/password?{query}");
    service.post(&password, json!({ "new_password": "x" })).refused(403, "M_FORBIDDEN");
    service.post(&format!("{V3}/account/deactivate?{query}"), json!({})).ok();
    whoami(&service, &format!("?{query}")).refused(403, "M_FORBIDDEN");
}
