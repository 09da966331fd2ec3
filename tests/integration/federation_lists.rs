//! Presence lists across two homeservers: asking, answering, taking back, and what is lost on the way.

use http::Method;
use pilotlight::{
    core::list::{Kind, Message},
    server::{federation::queue, list::ListMessage, store::ContactWrite},
};
use ruma::OwnedServerName;
use serde_json::{Value, json};

use super::{
    authority::Authority,
    cli::Serve,
    contacts::{OURS, add, answer, entry, list_path, requests, standing, status, told},
    support::{Client, PASSWORD, TempDir, TestServer, runtime, times, until},
    sync::{Reader, same},
};

/// Two servers that speak with each other, with Alice on the first and Bob on the second.
pub struct Pair {
    _ca: Authority,
    names: [OwnedServerName; 2],
    pub a: TestServer,
    b: TestServer,
    pub alice: Client,
    pub bob: Client,
}

impl Pair {
    pub fn new() -> Self {
        let ca = Authority::new();
        let ((a_name, a), (b_name, b)) = (ca.trusting_server(), ca.trusting_server());
        let (alice, bob) = (a.register("alice"), b.register("bob"));
        Self { _ca: ca, names: [a_name, b_name], a, b, alice, bob }
    }

    /// Waits until neither server has anything to tell the other.
    #[track_caller]
    pub fn settle(&self) {
        until("both outboxes are empty", || {
            [&self.a, &self.b].iter().all(|server| outbox(server, &self.names) == 0)
        });
    }

    /// Bob asks Alice, who answers.
    pub fn bob_asks(&self, word: &str) {
        add(&self.bob, &self.alice);
        until("Alice is asked", || requests(&self.alice) == json!([self.bob.user]));
        answer(&self.alice, &self.bob, word);
    }
}

/// How many messages of a server wait for an acknowledgement.
fn outbox(server: &TestServer, names: &[OwnedServerName]) -> usize {
    let waiting = |name: &OwnedServerName| {
        runtime().block_on(server.app().store.list_outbox(name, 1_000)).expect("can be read").len()
    };
    names.iter().map(waiting).sum()
}

/// Everything that a server keeps of contacts.
fn kept(server: &TestServer) -> Vec<String> {
    let contacts = runtime().block_on(server.app().store.contacts()).expect("can be read");
    contacts.iter().map(|contact| format!("{contact:?}")).collect()
}

fn observers(of: &Client) -> Value {
    of.get(&format!("{OURS}/requests/{}", of.user)).ok()["observers"].clone()
}

fn drop_from_list(who: &Client, whom: &Client) {
    who.post(&list_path(who), json!({ "drop": [whom.user] })).ok();
}

/// Sends EDUs as `from` would, in a transaction that it signs; they are on the disk when this returns.
fn send(from: &TestServer, to: &OwnedServerName, edus: &[Value]) {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let app = from.app();
    let body = json!({ "origin": app.server_name(), "origin_server_ts": 1, "pdus": [], "edus": edus });
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = format!("/_matrix/federation/v1/send/test{id}");
    let client = &app.federation.as_ref().expect("federates").client;
    let request = client.request(to, Method::PUT, &path, Some(body.to_string().into()));
    runtime().block_on(request).expect("an answer");
}

fn edu(word: &str, observer: &str, observed: &str, seq: Option<u64>) -> Value {
    let mut content = json!({ "observer_user": observer, "observed_user": observed });
    if let Some(seq) = seq {
        content["org.pilotlight"] = json!({ "seq": seq });
    }
    json!({ "edu_type": word, "content": content })
}

#[test]
fn l2_asking_answering_and_taking_back_work_across_servers() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let (mut alices, mut bobs) = (Reader::new(alice), Reader::new(bob));
    let tells_of_it = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().any(|e| e["type"] == "org.pilotlight.presence_list").then_some(())
    };
    add(bob, alice);
    assert_eq!(standing(bob, alice), "pending");
    assert_eq!(entry(bob, alice)["content"]["org.pilotlight.presence"]["state"], "unknown");
    bobs.until(tells_of_it);
    alices.until(tells_of_it);
    assert_eq!((requests(alice), observers(alice)), (json!([bob.user]), json!([])));
    answer(alice, bob, "accept");
    bobs.until(tells_of_it);
    assert_eq!((standing(bob, alice), observers(alice)), (json!("accepted"), json!([bob.user])));
    assert_eq!(standing(alice, bob), Value::Null, "it is not mutual by itself");

    answer(alice, bob, "revoke");
    assert_eq!(observers(alice), json!([]), "at once");
    assert_eq!(bobs.until(|answer| told(answer, alice).pop()), "unknown", "what was told holds no longer");
    assert_eq!((standing(bob, alice), status(bob, alice)), (json!("denied"), 403));

    pair.bob_asks("accept");
    until("Bob is accepted", || standing(bob, alice) == "accepted");
    drop_from_list(bob, alice);
    assert_eq!(entry(bob, alice), Value::Null);
    until("Alice's server knows", || observers(alice) == json!([]));

    pair.bob_asks("deny");
    until("Bob is denied", || standing(bob, alice) == "denied");
    pair.settle();
}

#[test]
fn l3_the_reverse_of_an_accepted_request_is_accepted_by_itself_across_servers() {
    let pair = Pair::new();
    pair.bob_asks("accept");
    until("Bob is accepted", || standing(&pair.bob, &pair.alice) == "accepted");
    add(&pair.alice, &pair.bob);
    until("Alice is accepted", || standing(&pair.alice, &pair.bob) == "accepted");
    assert_eq!(requests(&pair.bob), json!([]));
    // To have been accepted is no reverse subscription once it is dropped.
    drop_from_list(&pair.bob, &pair.alice);
    drop_from_list(&pair.alice, &pair.bob);
    pair.settle();
    add(&pair.alice, &pair.bob);
    until("Bob is asked", || requests(&pair.bob) == json!([pair.alice.user]));
}

#[test]
fn l2_what_could_not_be_told_is_told_after_restarts_of_both_sides() {
    let Pair { _ca, names, a, b, alice, bob } = Pair::new();
    let b = b.stop();
    let carol = format!("@carol:{}", names[1]);
    alice.post(&list_path(&alice), json!({ "invite": [bob.user, carol] })).ok();
    alice.post(&list_path(&alice), json!({ "drop": [carol] })).ok();
    assert_eq!(outbox(&a, &names), 2, "of each pair the latest");
    let (b, a) = (b.start(), a.stop().start());
    let (alice, bob) = (same(&a, &alice), same(&b, &bob));
    assert_eq!(standing(&alice, &bob), "pending");
    until("Bob is asked", || requests(&bob) == json!([alice.user]));
    until("the outbox is empty", || outbox(&a, &names) == 0);

    let a = a.stop();
    answer(&bob, &alice, "accept");
    let (a, b) = (a.start(), b.stop().start());
    let alice = same(&a, &alice);
    until("Alice is accepted", || standing(&alice, &bob) == "accepted");
    until("the outbox is empty", || outbox(&b, &names) == 0);
}

#[test]
fn l2_a_server_that_returns_is_told_as_soon_as_it_is_heard_of() {
    let Pair { _ca, names, a, b, alice, bob } = Pair::new();
    let b = b.stop();
    add(&alice, &bob);
    let queue = &a.app().federation.as_ref().expect("federates").queue;
    until("the first attempt fails", || queue.peers()[&names[1]].failures == 1);
    let b = b.start();
    let bob = same(&b, &bob);
    assert_eq!(requests(&bob), json!([]));
    add(&bob, &alice);
    until("both are asked", || {
        (requests(&alice), requests(&bob)) == (json!([bob.user]), json!([alice.user]))
    });
    until("nothing waits", || outbox(&a, &names) + outbox(&b, &names) == 0);
    until("it is counted", || queue.peers()[&names[1]].sent_edus > 0);
    assert_eq!(queue.peers()[&names[1]].sent_edus, 1, "once");
}

#[test]
fn l2_a_message_that_comes_again_changes_nothing_and_is_answered_again() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let invite = edu("m.presence_invite", &bob.user, &alice.user, Some(1));
    let repeat = |edu: &Value| send(&pair.b, &pair.names[0], &[edu.clone(), edu.clone()]);
    pair.bob_asks("accept");
    until("Bob is accepted", || standing(bob, alice) == "accepted");
    pair.settle();
    let before = (kept(&pair.a), kept(&pair.b));
    repeat(&invite);
    pair.settle();
    assert_eq!((kept(&pair.a), kept(&pair.b)), before);
    assert_eq!((requests(alice), observers(alice)), (json!([]), json!([bob.user])));

    drop_from_list(bob, alice);
    pair.settle();
    assert_eq!(observers(alice), json!([]));
    let before = kept(&pair.a);
    repeat(&invite);
    repeat(&edu("org.pilotlight.presence_drop", &bob.user, &alice.user, Some(1)));
    pair.settle();
    assert_eq!((requests(alice), kept(&pair.a)), (json!([]), before), "what is late does not count");
}

#[test]
fn l2_a_server_that_sends_no_numbers_is_understood() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let dave = format!("@dave:{}", pair.names[1]);
    send(&pair.b, &pair.names[0], &[edu("m.presence_invite", &dave, &alice.user, None)]);
    assert_eq!(requests(alice), json!([dave]));
    add(alice, bob);
    until("Bob is asked", || requests(bob) == json!([alice.user]));
    send(&pair.b, &pair.names[0], &[edu("m.presence_accept", &alice.user, &bob.user, None)]);
    assert_eq!(standing(alice, bob), "accepted");
    send(&pair.b, &pair.names[0], &[edu("m.presence_deny", &alice.user, &bob.user, None)]);
    assert_eq!(standing(alice, bob), "denied");
}

#[test]
fn l2_a_user_who_does_not_exist_looks_like_one_who_denies() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let nobody = Client { user: format!("@nobody:{}", pair.names[1]), ..bob.clone() };
    add(alice, bob);
    add(alice, &nobody);
    until("Bob is asked", || requests(bob) == json!([alice.user]));
    answer(bob, alice, "deny");
    until("both deny", || standing(alice, bob) == "denied" && standing(alice, &nobody) == "denied");
    let of = |name: &str| -> Vec<String> {
        let found = kept(&pair.a).into_iter().filter(|contact| contact.contains(name));
        found.map(|contact| contact.replace(name, "")).collect()
    };
    let denied = |name: &str| of(name).iter().any(|contact| contact.contains("Denied"));
    until("both denials are on the disk", || denied("@bob") && denied("@nobody"));
    assert_eq!(of("@nobody"), of("@bob"), "to the last number");
    assert!(!kept(&pair.b).iter().any(|contact| contact.contains("nobody")), "nothing is kept of it");
    pair.settle();
}

#[test]
fn l2_a_server_speaks_for_its_own_users_to_users_of_this_one_only() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    pair.bob_asks("accept");
    until("Bob is accepted", || standing(bob, alice) == "accepted");
    pair.settle();
    let before = kept(&pair.a);
    let (here, there) = (&alice.user, &bob.user);
    let other = "@x:elsewhere.example";
    let of = |word: &str, observer: &str, observed: &str| edu(word, observer, observed, Some(9));
    let mut edus = vec![
        of("m.presence_invite", other, here),
        of("m.presence_invite", here, there),
        of("m.presence_invite", here, here),
        of("m.presence_invite", there, other),
        of("m.presence_invite", there, there),
        of("org.pilotlight.presence_drop", other, here),
        of("org.pilotlight.presence_drop", here, there),
        of("m.presence_accept", here, other),
        of("m.presence_accept", there, here),
        of("m.presence_deny", here, other),
        of("m.presence_deny", there, here),
        edu("m.presence_invite", there, here, Some((1 << 52) + 1)),
        json!({ "edu_type": "m.presence_invite", "content": { "observer_user": there } }),
        json!({ "edu_type": "m.presence_invite", "content": { "observer_user": there, "observed_user": 7 } }),
    ];
    // Answers of strangers who were never asked.
    let stranger = format!("@stranger:{}", pair.names[1]);
    edus.push(of("m.presence_accept", here, &stranger));
    edus.push(of("m.presence_deny", here, &stranger));
    edus.push(of("org.pilotlight.presence_drop", &stranger, here));
    send(&pair.b, &pair.names[0], &edus);
    assert_eq!(kept(&pair.a), before);
    pair.settle();
    assert_eq!(standing(bob, alice), "accepted");
}

#[test]
fn l1_users_of_servers_that_one_does_not_speak_with_are_refused() {
    let alone = TestServer::start();
    let alice = alone.register("alice");
    let invite = |who: &Client, user: &str| who.post(&list_path(who), json!({ "invite": [user] }));
    invite(&alice, "@bob:b.example").refused(403, "M_FORBIDDEN");
    let ca = Authority::new();
    let (_, careful) = ca.server(&ca.file("ca.pem"), |config| {
        config.federation.deny_servers = vec!["b.example".try_into().expect("a name")];
        config.federation.presence_deny_servers = vec!["c.example".try_into().expect("a name")];
    });
    let carol = careful.register("carol");
    for server in ["b.example", "c.example"] {
        invite(&carol, &format!("@bob:{server}")).refused(403, "M_FORBIDDEN");
    }
    invite(&carol, "@bob:d.example").ok();
    invite(&carol, "bob").refused(400, "M_BAD_JSON");
    let nobody = format!("@nobody:{}", careful.app().server_name());
    invite(&carol, &nobody).refused(404, "M_NOT_FOUND");
}

#[test]
fn l2_who_closes_their_account_observes_nobody_and_is_observed_by_nobody() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    pair.bob_asks("accept");
    until("Bob is accepted", || standing(bob, alice) == "accepted");
    add(alice, bob);
    until("Alice is accepted", || standing(alice, bob) == "accepted");
    let identifier = json!({ "type": "m.id.user", "user": "bob" });
    let auth = json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD });
    bob.post("/_matrix/client/v3/account/deactivate", json!({ "auth": auth })).ok();
    until("Alice's server knows", || {
        (standing(alice, bob), observers(alice)) == (json!("denied"), json!([]))
    });
    add(alice, bob);
    let again = "observing: Denied, asked: 2,";
    until("who asks again is denied", || kept(&pair.a).iter().any(|contact| contact.contains(again)));
}

#[test]
fn o5_a_server_cannot_fill_a_users_list_with_requests_that_nobody_answers() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let crowd = |n: usize| format!("@u{n}:{}", pair.names[1]);
    let ask = |users: std::ops::Range<usize>| {
        let invites: Vec<Value> =
            users.map(|n| edu("m.presence_invite", &crowd(n), &alice.user, Some(1))).collect();
        send(&pair.b, &pair.names[0], &invites);
    };
    (0..10).for_each(|n| ask(n * 100..(n + 1) * 100));
    assert_eq!(requests(alice).as_array().expect("a list").len(), 1_000);
    add(bob, alice);
    until("there is no room", || standing(bob, alice) == "denied");
    let one = Client { user: crowd(7), ..bob.clone() };
    answer(alice, &one, "accept");
    add(bob, alice);
    until("Alice is asked", || requests(alice).as_array().expect("a list").contains(&json!(bob.user)));
}

#[test]
fn l2_more_than_the_queue_holds_is_told_all_the_same() {
    let Pair { _ca, names, a, b, alice, bob } = Pair::new();
    let b = b.stop();
    let message = |n: usize| ListMessage {
        owner: alice.user.clone().try_into().expect("a user ID"),
        contact: format!("@u{n}:{}", names[1]).try_into().expect("a user ID"),
        message: Message { kind: Kind::Drop, seq: 1 },
    };
    let outbox_of = (0..queue::MAX_WAITING + 150).map(message).collect();
    let write = ContactWrite { outbox: outbox_of, ..ContactWrite::default() };
    runtime().block_on(a.app().store.put_contacts(write)).expect("is written");
    let (a, b) = (a.stop().start(), b.start());
    add(&same(&b, &bob), &alice);
    let left = || {
        runtime()
            .block_on(a.app().store.list_outbox(&names[1], queue::MAX_WAITING * 2))
            .expect("can be read")
            .len()
    };
    until("all of it is there", || left() == 0);
}

#[test]
fn l2_no_list_goes_to_or_is_taken_from_a_server_with_which_no_presence_is_shared() {
    let ca = Authority::new();
    let (a_name, a) = ca.trusting_server();
    let (b_name, b) = ca.server(&ca.file("ca.pem"), |config| {
        config.federation.presence_deny_servers = vec![a_name.clone()];
    });
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    bob.post(&list_path(&bob), json!({ "invite": [alice.user] })).refused(403, "M_FORBIDDEN");
    send(&a, &b_name, &[edu("m.presence_invite", &alice.user, &bob.user, Some(1))]);
    assert_eq!((requests(&bob), kept(&b)), (json!([]), vec![]));
    assert_eq!(outbox(&b, &[a_name, b_name]), 0);
}

#[test]
fn l4_of_a_group_all_are_invited_whatever_server_they_are_of() {
    let pair = Pair::new();
    let (alice, bob, carol) = (&pair.alice, &pair.bob, pair.a.register("carol"));
    let group = |name: &str| format!("{OURS}/groups/{}/{name}", alice.user);
    alice.post(&list_path(alice), json!({ "invite": [bob.user, carol.user] })).ok();
    for (name, member) in [("mixed", bob), ("mixed", &carol), ("abroad", bob)] {
        alice.put(&format!("{}/members/{}", group(name), member.user), json!({})).ok();
    }
    let reader =
        |client: &Client| Reader { client: client.clone(), since: String::new(), with: String::new() };
    let (mut of_bob, mut of_carol) = (reader(bob), reader(&carol));
    for name in ["mixed", "abroad"] {
        let answer = alice.post(&format!("{}/invite", group(name)), json!({})).ok();
        assert_eq!(answer["not_invited"], json!([]), "{name}");
        let room = answer["room_id"].as_str().expect("a room");
        until("Bob is invited", || of_bob.now()["rooms"]["invite"][room].is_object());
        if name == "mixed" {
            until("Carol is invited", || of_carol.now()["rooms"]["invite"][room].is_object());
        }
    }
}

/// Every answer of the server is one that it stands by, though it is killed right after.
#[test]
fn l2_a_server_that_is_killed_over_and_over_ends_up_of_one_mind_with_the_other() {
    let ca = Authority::new();
    let (b_name, b) = ca.trusting_server();
    let bob = b.register("bob");
    let (a_name, arguments) = ca.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let data = TempDir::new();
    let mut a = Some(Serve::start(data.path(), &arguments));
    let mut alice = a.as_ref().expect("runs").client.clone().register("alice");
    let mut kill = |alice: &mut Client| {
        a.take().expect("runs").end("-KILL");
        let again = a.insert(Serve::start(data.path(), &arguments));
        alice.base.clone_from(&again.client.base);
    };
    // Once in peace: who dies while their keys are asked for is not asked again for a minute.
    add(&alice, &bob);
    until("Bob is asked", || requests(&bob) == json!([alice.user]));
    drop_from_list(&alice, &bob);
    for round in 0..6 * times() {
        add(&alice, &bob);
        kill(&mut alice);
        assert_eq!(standing(&alice, &bob), "pending", "round {round}");
        until("Bob is asked", || requests(&bob) == json!([alice.user]));
        if round % 2 == 0 {
            // The answer meets a server that is being killed.
            answer(&bob, &alice, "accept");
            kill(&mut alice);
            until("Alice is accepted", || standing(&alice, &bob) == "accepted");
        }
        drop_from_list(&alice, &bob);
        kill(&mut alice);
        assert_eq!(entry(&alice, &bob), Value::Null, "round {round}");
        until("Bob's server knows", || (requests(&bob), observers(&bob)) == (json!([]), json!([])));
    }
    until("Bob's server has nothing to tell", || outbox(&b, &[a_name.clone(), b_name.clone()]) == 0);
}
