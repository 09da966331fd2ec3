//! Transactions of EDUs between two homeservers: what is refused, what counts once, what waits.

use std::time::{Duration, Instant};

use http::Method;
use pilotlight::server::federation::{
    client::RequestError,
    edu::{Edu, Key},
};
use ruma::{OwnedServerName, OwnedUserId};
use serde_json::{Value, json, value::to_raw_value};

use super::{
    authority::Authority,
    peer::{Peer, Request},
    support::TestServer,
};

/// Sends `body` as a transaction that `from` signs; the answer, or the status and error code.
async fn put(
    from: &TestServer,
    to: &OwnedServerName,
    id: &str,
    body: &Value,
) -> Result<Value, (u16, String)> {
    let client = &from.app().federation.as_ref().expect("federates").client;
    let path = format!("/_matrix/federation/v1/send/{id}");
    match client.request(to, Method::PUT, &path, Some(body.to_string().into())).await {
        Ok(answer) => Ok(serde_json::from_str(answer.get()).expect("JSON")),
        Err(RequestError::Status(status, body)) => {
            let body: Value = serde_json::from_str(&body).expect("a Matrix error");
            Err((status.as_u16(), body["errcode"].as_str().expect("an errcode").to_owned()))
        }
        Err(e) => panic!("no answer: {e}"),
    }
}

fn transaction(origin: &OwnedServerName, pdus: Vec<Value>, edus: Vec<Value>) -> Value {
    json!({ "origin": origin, "origin_server_ts": 1, "pdus": pdus, "edus": edus })
}

fn unknown_edu() -> Value {
    json!({ "edu_type": "org.example.unknown", "content": {} })
}

/// Waits until `holds`, and fails the test when it does not within 20 s.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_another_origin_or_with_too_much_in_it_is_refused() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, _b)) = (ca.trusting_server(), ca.trusting_server());
    let elsewhere: OwnedServerName = "elsewhere.example".try_into().expect("a name");
    let wrong = transaction(&elsewhere, vec![], vec![unknown_edu()]);
    assert_eq!(put(&a, &b_name, "1", &wrong).await, Err((403, "M_FORBIDDEN".to_owned())));
    let most = transaction(&a_name, vec![json!({}); 50], vec![unknown_edu(); 100]);
    put(&a, &b_name, "2", &most).await.expect("as much as is allowed");
    for (pdus, edus) in [(0, 101), (51, 0)] {
        let more = transaction(&a_name, vec![json!({}); pdus], vec![unknown_edu(); edus]);
        assert_eq!(put(&a, &b_name, "3", &more).await, Err((400, "M_BAD_JSON".to_owned())));
    }
    let broken = json!({ "origin": a_name, "edus": {} });
    assert_eq!(put(&a, &b_name, "4", &broken).await, Err((400, "M_BAD_JSON".to_owned())));
    let long = "x".repeat(256);
    let empty = transaction(&a_name, vec![], vec![]);
    assert_eq!(put(&a, &b_name, &long, &empty).await, Err((400, "M_INVALID_PARAM".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_rooms_are_answered_one_by_one_and_bad_edus_do_no_harm() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, _b)) = (ca.trusting_server(), ca.trusting_server());
    let pdu = json!({
        "type": "m.room.message", "room_id": "!r:x", "sender": "@a:x", "content": { "body": "hi" },
        "origin_server_ts": 1, "depth": 5, "prev_events": [], "auth_events": [],
        "hashes": { "sha256": "thishashcoversallfieldsincasethisisredacted" }, "signatures": {},
    });
    let old = json!({ "event_id": "$old:x", "type": "m.room.message" });
    let edus = vec![json!(1), json!({ "edu_type": "m.presence" }), unknown_edu()];
    let answer = put(&a, &b_name, "1", &transaction(&a_name, vec![pdu, old], edus)).await.expect("an answer");
    let pdus = answer["pdus"].as_object().expect("an object");
    assert_eq!(pdus.len(), 2, "{answer}");
    assert!(pdus.contains_key("$old:x"), "{answer}");
    assert!(pdus.keys().any(|id| id.len() == 44 && id.starts_with('$')), "{answer}");
    assert!(pdus.values().all(|result| result["error"].is_string()), "{answer}");
}

#[test]
fn what_cannot_be_read_in_one_event_or_edu_keeps_nothing_else_away() {
    let ca = Authority::new();
    let (name, server) = ca.trusting_server();
    let peer = Peer::start(&ca, Duration::ZERO);
    let (alice, rita) = (server.register("alice"), format!("@rita:{}", peer.name));
    let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let (deep, deeper) = (deep(110), deep(150));
    let unread = [("1.5", "1.5"), ("1e60", "1e60"), ("0", "99999999999999999999"), (&*deep, &*deeper)];
    for (n, (content, in_event)) in unread.into_iter().enumerate() {
        let to_device = |id: usize, content: &str| {
            format!(
                r#"{{"content":{{"message_id":"{id}","messages":{{"{}":{{"*":{{"body":{content}}}}}}},"sender":"{rita}","type":"m.test"}},"edu_type":"m.direct_to_device"}}"#,
                alice.user
            )
        };
        let pdu = format!(r#"{{"content":{{"a":{in_event}}},"event_id":"$x","room_id":"!r:x","type":"m"}}"#);
        // The canonical form, as servers of Python write it.
        let canonical = |edus: &[String], origin: &str| {
            let edus = edus.join(",");
            format!(r#"{{"edus":[{edus}],"origin":"{origin}","origin_server_ts":1,"pdus":[{pdu}]}}"#)
        };
        let path = format!("/_matrix/federation/v1/send/{n}");
        let is_taken = |request: &Request, said: &str| {
            peer.send(&name, request).ok();
            let got = alice.get("/_matrix/client/v3/sync").ok()["to_device"]["events"].clone();
            let last = got.as_array().and_then(|events| events.last()).expect("a message");
            assert_eq!(last["content"]["body"], said, "{content}: {got}");
        };
        let edus = [to_device(3 * n, content), to_device(3 * n + 1, "\"plain\"")];
        let body = canonical(&edus, peer.name.as_str());
        is_taken(&peer.signed_as_it_is(&name, "PUT", &path, body.as_bytes()), "plain");
        // Another form of it, as servers of Go write what they sign.
        let edu = to_device(3 * n + 2, "\"é\"");
        let go = format!("{path}-go");
        let body_of_go = canonical(std::slice::from_ref(&edu), peer.name.as_str());
        let mut request = peer.signed_as_it_is(&name, "PUT", &go, body_of_go.as_bytes());
        let edu = edu.replace('é', "\\u00e9").replace(r#","edu_type":"m.direct_to_device"}"#, "}");
        let edu = edu.replacen('{', r#"{ "edu_type": "m.direct_to_device", "#, 1);
        let as_sent = format!(
            r#"{{ "origin": "{}", "origin_server_ts": 1, "pdus": [{pdu}], "edus": [{edu}] }}"#,
            peer.name
        );
        request.body = as_sent.clone().into_bytes();
        is_taken(&request, "é");
        request.body = as_sent.replace("u00e9", "u00e8").into_bytes();
        peer.send(&name, &request).refused(401, "M_UNAUTHORIZED");
        // Who changes what was signed is not believed.
        let mut forged = peer.signed_as_it_is(&name, "PUT", &path, body.as_bytes());
        forged.body = body.replace("plain", "other").into_bytes();
        peer.send(&name, &forged).refused(401, "M_UNAUTHORIZED");
        let mut forged = peer.signed_as_it_is(&name, "PUT", &path, body.as_bytes());
        forged.path = format!("{path}0");
        peer.send(&name, &forged).refused(401, "M_UNAUTHORIZED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_transaction_gets_the_same_answer() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, _b)) = (ca.trusting_server(), ca.trusting_server());
    let with = |id: &str| transaction(&a_name, vec![json!({ "event_id": id })], vec![]);
    let first = put(&a, &b_name, "1", &with("$one:x")).await.expect("an answer");
    let again = put(&a, &b_name, "1", &with("$two:x")).await.expect("an answer");
    assert_eq!(first, again);
    let other = put(&a, &b_name, "2", &with("$two:x")).await.expect("an answer");
    assert!(other["pdus"]["$two:x"]["error"].is_string(), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_sent_goes_out_as_soon_as_the_other_server_is_heard_of() {
    let ca = Authority::new();
    let (a_name, a) = ca.trusting_server();
    let (b_name, b) = ca.trusting_server();
    let stopped = b.stop();
    let queue = &a.app().federation.as_ref().expect("federates").queue;
    let user = |name: &str, server: &OwnedServerName| -> OwnedUserId {
        format!("@{name}:{server}").try_into().expect("a user ID")
    };
    let key = Key::List { observer: user("a", &a_name), observed: user("b", &b_name) };
    let content = to_raw_value(&json!({})).expect("JSON");
    queue
        .push(&b_name, Edu { kind: "org.example.unknown", content, brief: None, key, seq: 1 })
        .expect("room");
    until("the first attempt fails", || queue.peers()[&b_name].failures == 1).await;
    let peer = queue.peers()[&b_name].clone();
    assert!(peer.waiting == 1 && peer.next_attempt.is_some() && peer.last_error.is_some(), "{peer:?}");
    let b = stopped.start();
    // Anything that B signs will do; its pause of 5 s or so does not have to end.
    let ask = transaction(&b_name, vec![], vec![]);
    put(&b, &a_name, "1", &ask).await.expect("an answer");
    until("it arrives", || queue.peers()[&b_name].sent_edus == 1).await;
    assert_eq!(queue.peers()[&b_name].waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brief_reminder_that_is_none_is_refused_and_a_strangers_is_of_no_consequence() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, b)) = (ca.trusting_server(), ca.trusting_server());
    let client = &a.app().federation.as_ref().expect("federates").client;
    let remind = async |text: &str| {
        let path = format!("/_matrix/federation/unstable/org.pilotlight/r/{text}");
        client.tell(&b_name, &path).await
    };
    for bad in ["x", "A.B.C", "A.B.C.D.E.F.G"] {
        let refused = remind(bad).await;
        assert!(
            matches!(&refused, Err(RequestError::Status(status, _)) if status.as_u16() == 400),
            "{refused:?}"
        );
    }
    remind("A.B.C.D~").await.expect("is taken");
    let presence = &b.app().federation.as_ref().expect("federates").presence;
    assert!(!presence.peers().contains_key(a_name.as_str()), "nothing is kept of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_brief_reminder_gets_it_in_full() {
    let ca = Authority::new();
    let (_, a) = ca.trusting_server();
    let other = Peer::start(&ca, Duration::ZERO);
    let queue = &a.app().federation.as_ref().expect("federates").queue;
    let said = json!({ "push": [], "org.pilotlight": { "at": [1, 1] } });
    let content = to_raw_value(&said).expect("JSON");
    let edu =
        Edu { kind: "m.presence", content, brief: Some("A.B.C.D".to_owned()), key: Key::Presence, seq: 1 };
    queue.push(&other.name, edu).expect("room");
    until("it arrives", || queue.peers()[&other.name].sent_edus == 1).await;
    let heard: Vec<_> = other.heard().into_iter().filter(|heard| !heard.path.contains("/key/")).collect();
    let [brief, full] = &heard[..] else { panic!("two requests: {heard:?}") };
    assert_eq!(brief.path, "/_matrix/federation/unstable/org.pilotlight/r/A.B.C.D");
    assert!(full.path.starts_with("/_matrix/federation/v1/send/"), "{}", full.path);
    assert_eq!(full.body["edus"], json!([{ "edu_type": "m.presence", "content": said }]));
    assert_eq!(queue.peers()[&other.name].failures, 0);
}
