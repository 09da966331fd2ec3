//! What strangers can do to the fetching of another server's keys: nothing.

use std::{io::Write, time::Duration};

use ruma::OwnedServerName;
use serde_json::json;

use super::{
    authority::Authority,
    peer::{Peer, Request},
    support::{Answer, until},
};

/// How long the peer takes to answer for its keys.
const SLOW: Duration = Duration::from_millis(400);

fn query(peer: &Peer, to: &OwnedServerName) -> Request {
    let path = format!("/_matrix/federation/v1/query/profile?user_id=%40alice%3A{}", to.host());
    peer.signed(to, "GET", &path, b"")
}

/// A request that names `victim`'s server, with a key that nobody has.
fn forged(victim: &Peer, to: &OwnedServerName) -> Request {
    let mut request = query(victim, to);
    for (_, value) in &mut request.headers {
        *value = value.replace("ed25519:1", "ed25519:unknown");
    }
    request
}

/// How often `peer` was asked for its keys.
fn asked(peer: &Peer) -> usize {
    peer.heard().iter().filter(|heard| heard.path == "/_matrix/key/v2/server").count()
}

/// The signature is good: there is only no such user.
fn is_let_in(answer: &Answer) -> bool {
    answer.status == 404 && answer.body["errcode"] == "M_NOT_FOUND"
}

#[test]
fn who_names_a_server_and_goes_away_during_the_fetch_does_not_cut_it_off() {
    let ca = Authority::new();
    let (name, _server) = ca.trusting_server();
    let victim = Peer::start(&ca, SLOW);
    let request = forged(&victim, &name);
    let mut stream = victim.connect(&name);
    stream.write_all(&request.head(&name)).and_then(|()| stream.flush()).expect("is taken");
    until("the fetch is under way", || asked(&victim) == 1);
    drop(stream);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let requests: Vec<_> =
            (0..4).map(|_| scope.spawn(|| victim.send(&name, &query(&victim, &name)))).collect();
        requests.into_iter().map(|request| request.join().expect("is answered")).collect()
    });
    assert!(answers.iter().all(is_let_in), "{answers:?}");
    assert_eq!(asked(&victim), 1, "all of them share the answer");
    // Nor does a key that nobody has, later: what is known holds, and is not asked for again at once.
    victim.send(&name, &request).refused(401, "M_UNAUTHORIZED");
    assert!(is_let_in(&victim.send(&name, &query(&victim, &name))));
    assert_eq!(asked(&victim), 1);
}

#[test]
fn a_server_that_was_away_is_asked_again_when_it_speaks_but_not_over_and_over() {
    let ca = Authority::new();
    let (name, _server) = ca.trusting_server();
    let mut keys = String::new();
    let back = Peer::start_with_keys(&ca, Duration::ZERO, |said| {
        keys.clone_from(&said);
        said
    });
    let away = Peer::start(&ca, Duration::ZERO);
    for peer in [&back, &away] {
        peer.says("/_matrix/key/v2/server", 503, json!({}));
        for _ in 0..3 {
            peer.send(&name, &query(peer, &name)).refused(401, "M_UNAUTHORIZED");
        }
        assert_eq!(asked(peer), 1);
    }
    back.says("/_matrix/key/v2/server", 200, serde_json::from_str(&keys).expect("is JSON"));
    until("it is let in", || is_let_in(&back.send(&name, &query(&back, &name))));
    assert_eq!(asked(&back), 2);
    until("the other one is asked once more", || {
        away.send(&name, &query(&away, &name)).refused(401, "M_UNAUTHORIZED");
        asked(&away) == 2
    });
    std::thread::sleep(Duration::from_secs(6));
    away.send(&name, &query(&away, &name)).refused(401, "M_UNAUTHORIZED");
    assert_eq!(asked(&away), 2, "whoever sends these may not be that server");
}

#[test]
fn who_names_many_servers_that_do_not_answer_does_not_keep_others_from_being_asked() {
    let ca = Authority::new();
    let (name, _server) = ca.trusting_server();
    // Long enough for all of them to be under way at once.
    let silent: Vec<_> = (0..80).map(|_| Peer::start(&ca, Duration::from_secs(600))).collect();
    let mut held = Vec::new();
    for peer in &silent {
        let mut stream = peer.connect(&name);
        stream.write_all(&query(peer, &name).head(&name)).and_then(|()| stream.flush()).expect("is taken");
        held.push(stream);
    }
    let reached = || silent.iter().filter(|peer| asked(peer) > 0).count();
    until("some are asked", || reached() >= 8);
    let honest = Peer::start(&ca, Duration::ZERO);
    let mut request = query(&honest, &name);
    request.headers.push(("x-forwarded-for", "198.51.100.7".to_owned()));
    let answer = honest.send(&name, &request);
    assert!(is_let_in(&answer), "from another address: {}", answer.text);
    assert_eq!(reached(), 8, "of those that one address names");
    held.clear();
    // Who names too many is told when to come again.
    honest.send(&name, &query(&Peer::start(&ca, Duration::ZERO), &name)).refused(429, "M_LIMIT_EXCEEDED");
}
