//! Who shares a room with users of another server is told what changes of their devices, and of nobody else's.

use std::time::Duration;

use ruma::{OwnedServerName, UserId};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    driven::Time,
    keys::{CROSS, Cross, QUERY, SIGNATURES, UPLOAD, device_keys},
    support::{Client, PASSWORD, TestServer, runtime, until},
};

/// Two servers that speak with each other on one time, with Alice on the first and Bob on the second.
pub struct Pair {
    pub _ca: Authority,
    pub time: Time,
    pub names: [OwnedServerName; 2],
    pub a: TestServer,
    pub b: TestServer,
    pub alice: Client,
    pub bob: Client,
}

impl Pair {
    pub fn new() -> Self {
        let (ca, time) = (Authority::new(), Time::new());
        let ((a_name, a), (b_name, b)) = (ca.driven(&time, |_| {}), ca.driven(&time, |_| {}));
        let (alice, bob) = (a.register("alice"), b.register("bob"));
        Self { _ca: ca, time, names: [a_name, b_name], a, b, alice, bob }
    }

    /// A room in which both are.
    fn meet(&self) -> String {
        let room = self.alice.post("/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
        let room = room["room_id"].as_str().expect("a room").to_owned();
        self.come_in(&room);
        room
    }

    /// Bob joins by Alice's server.
    fn come_in(&self, room: &str) {
        let path = format!("/_matrix/client/v3/join/{room}?server_name={}", self.names[0]);
        self.bob.post(&path, json!({})).ok();
        self.time.settle();
    }
}

/// Whose devices changed, as a client is told that goes on from `since`; it goes on from there.
fn changed(by: &Client, since: &mut String) -> Vec<String> {
    let answer = by.get(&format!("/_matrix/client/v3/sync?timeout=0&since={since}")).ok();
    since.replace_range(.., answer["next_batch"].as_str().expect("a token"));
    let users = answer["device_lists"]["changed"].as_array().cloned().unwrap_or_default();
    users.iter().map(|user| user.as_str().expect("a user").to_owned()).collect()
}

fn now(by: &Client) -> String {
    let answer = by.get("/_matrix/client/v3/sync?timeout=0").ok();
    answer["next_batch"].as_str().expect("a token").to_owned()
}

fn query(by: &Client, user: &str) -> Value {
    by.post(QUERY, json!({ "device_keys": { user: [] } })).ok()
}

fn devices(by: &Client, user: &str) -> Vec<String> {
    let found = query(by, user);
    assert_eq!(found["failures"], json!({}));
    found["device_keys"][user].as_object().expect("devices").keys().cloned().collect()
}

/// Whether `server` keeps up with the devices of `user`.
fn keeps_up(server: &TestServer, user: &str) -> bool {
    let user = <&UserId>::try_from(user).expect("an ID");
    let list = runtime().block_on(server.app().store.remote_list(user)).expect("can be read");
    list.is_some_and(|list| list.is_current)
}

fn upload(of: &Client) {
    of.post(UPLOAD, json!({ "device_keys": device_keys(of) })).ok();
}

#[test]
fn what_changes_of_devices_is_told_to_who_shares_a_room_and_known_though_their_server_goes() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    upload(alice);
    let room = pair.meet();
    let mut since = now(bob);
    assert_eq!(devices(bob, &alice.user), [alice.device.as_str()]);
    assert!(keeps_up(&pair.b, &alice.user));

    let phone = pair.a.log_in("alice");
    upload(&phone);
    pair.time.settle();
    assert_eq!(changed(bob, &mut since), [alice.user.as_str()]);
    assert!(keeps_up(&pair.b, &alice.user), "what was told is enough");
    assert_eq!(devices(bob, &alice.user).len(), 2);

    let cross = Cross::new();
    alice.post(CROSS, cross.upload(alice)).ok();
    let signed = cross.own.sign(alice, &device_keys(&phone));
    alice.post(SIGNATURES, json!({ alice.user.as_str(): { phone.device.as_str(): signed } })).ok();
    pair.time.settle();
    assert_eq!(changed(bob, &mut since), [alice.user.as_str()]);
    let found = query(bob, &alice.user);
    assert_eq!(found["master_keys"][&alice.user]["keys"], cross.upload(alice)["master_key"]["keys"]);
    let signatures = &found["device_keys"][&alice.user][&phone.device]["signatures"][&alice.user];
    assert_eq!(signatures.as_object().expect("signatures").len(), 2, "its own and that of the account");
    assert!(keeps_up(&pair.b, &alice.user));
    assert_eq!(changed(bob, &mut since), Vec::<String>::new());

    phone.post("/_matrix/client/v3/logout", json!({})).ok();
    pair.time.settle();
    assert_eq!(changed(bob, &mut since), [alice.user.as_str()]);
    drop(pair.a);
    assert_eq!(devices(bob, &alice.user), [alice.device.as_str()], "without asking anybody");
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    until("what is kept of strangers is forgotten: nobody tells of them", || !keeps_up(&pair.b, &alice.user));
}

#[test]
fn nobody_is_told_of_devices_of_strangers_and_somebody_who_comes_is_asked_for() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let mut since = now(bob);
    upload(alice);
    assert_eq!(devices(bob, &alice.user), [alice.device.as_str()]);
    upload(&pair.a.log_in("alice"));
    pair.time.settle();
    assert_eq!(changed(bob, &mut since), Vec::<String>::new());
    assert!(!keeps_up(&pair.b, &alice.user));
    let begin = since.clone();
    pair.meet();
    assert!(changed(bob, &mut since).contains(&alice.user), "whom one meets");
    let path = format!("/_matrix/client/v3/keys/changes?from={begin}&to={since}");
    assert!(bob.get(&path).ok()["changed"].as_array().expect("users").contains(&json!(alice.user)));
    assert_eq!(devices(bob, &alice.user).len(), 2);
    assert!(keeps_up(&pair.b, &alice.user));
}

#[test]
fn a_server_that_was_away_is_told_what_changed_meanwhile() {
    let Pair { _ca, time, a, b, alice, bob, .. } = {
        let pair = Pair::new();
        upload(&pair.alice);
        pair.meet();
        pair
    };
    assert_eq!(devices(&bob, &alice.user).len(), 1);
    let mut since = now(&bob);
    let stopped = b.stop();
    let phone = a.log_in("alice");
    upload(&phone);
    let tablet = a.log_in("alice");
    upload(&tablet);
    phone.post("/_matrix/client/v3/logout", json!({})).ok();
    time.settle();
    let a = a.stop().start();
    let b = stopped.start();
    let bob = Client { base: b.url(), ..bob };
    time.pass_until("Bob's server is told", Duration::from_secs(3_600), || {
        changed(&bob, &mut since).contains(&alice.user)
    });
    let mut expected = [alice.device.clone(), tablet.device.clone()];
    expected.sort();
    assert_eq!(devices(&bob, &alice.user), expected);
    drop(a);
}

#[test]
fn a_user_of_another_server_is_verified_and_only_who_did_it_sees_that() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let (hers, his) = (Cross::new(), Cross::new());
    alice.post(CROSS, hers.upload(alice)).ok();
    bob.post(CROSS, his.upload(bob)).ok();
    let carol = pair.b.register("carol");
    pair.meet();
    let master = hers.upload(alice)["master_key"].clone();
    let signed = his.users.sign(bob, &master);
    let upload = json!({ alice.user.as_str(): { hers.master.public.as_str(): signed } });
    let mut since = now(bob);
    assert_eq!(bob.post(SIGNATURES, upload).ok()["failures"], json!({}));
    assert_eq!(changed(bob, &mut since), [bob.user.as_str()], "his other devices look again");
    let signatures = |by: &Client| query(by, &alice.user)["master_keys"][&alice.user]["signatures"].clone();
    assert!(signatures(bob)[&bob.user].is_object());
    assert!(signatures(&carol).get(&bob.user).is_none());
    assert!(signatures(alice).get(&bob.user).is_none());
    // Another master key is another user to verify.
    let mut again = Cross::new().upload(alice);
    again["auth"] = json!({ "type": "m.login.password", "user": "alice", "password": PASSWORD });
    alice.post(CROSS, again.clone()).ok();
    pair.time.settle();
    let found = query(bob, &alice.user);
    assert_eq!(found["master_keys"][&alice.user]["keys"], again["master_key"]["keys"]);
    assert!(signatures(bob).get(&bob.user).is_none());
}

#[test]
fn who_leaves_and_comes_back_between_two_looks_is_told_of_the_devices_of_everybody_there() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    upload(alice);
    let room = pair.meet();
    let mut since = now(bob);
    let begin = since.clone();
    assert_eq!(devices(bob, &alice.user).len(), 1);
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    pair.time.settle();
    upload(&pair.a.log_in("alice"));
    pair.time.settle();
    pair.come_in(&room);
    assert!(changed(bob, &mut since).contains(&alice.user), "nobody told of it while they shared no room");
    let path = format!("/_matrix/client/v3/keys/changes?from={begin}&to={since}");
    assert!(bob.get(&path).ok()["changed"].as_array().expect("users").contains(&json!(alice.user)));
    assert_eq!(devices(bob, &alice.user).len(), 2);
}
