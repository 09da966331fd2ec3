//! Whole requests, of clients and of another server, to a server that is whole too.

use axum::http;
use ruma::{
    OwnedServerName, ServerName,
    api::federation::authentication::{XMatrix, XMatrixSigningInput},
    signatures::Ed25519KeyPair,
};
use serde_json::Value;

use super::world::{Answer, World};
use crate::{
    core::time::UnixMillis,
    server::{keys::parse_key, store::PublishedKeys},
};

/// Requests of an input, at most.
const MOST: usize = 12;

/// The server whose every request is the fuzzer's: an address to which nobody connects.
const PEER: &str = "127.0.0.1:1";

/// Its signing key, as such a server's file has it.
const KEY: &str = "ed25519 1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// What Alice and Bob can see of everything. The last is a first sync of each; a device is not made present by it.
const READS: [(&str, &str); 28] = [
    ("alice", "/_matrix/client/v3/account/whoami"),
    ("bob", "/_matrix/client/v3/account/whoami"),
    ("alice", "/_matrix/client/v3/devices"),
    ("bob", "/_matrix/client/v3/devices"),
    ("alice", "/_matrix/client/v3/presence/{alice}/status"),
    ("alice", "/_matrix/client/v3/presence/{bob}/status"),
    ("bob", "/_matrix/client/v3/presence/{alice}/status"),
    ("bob", "/_matrix/client/v3/presence/{bob}/status"),
    ("alice", "/_matrix/client/unstable/org.pilotlight/presence/{alice}/delivery"),
    ("alice", "/_matrix/client/unstable/org.pilotlight/presence/requests/{alice}"),
    ("bob", "/_matrix/client/unstable/org.pilotlight/presence/requests/{bob}"),
    ("alice", "/_matrix/client/unstable/org.pilotlight/presence/groups/{alice}"),
    ("alice", "/_matrix/client/unstable/org.pilotlight/presence/settings/{alice}"),
    ("bob", "/_matrix/client/unstable/org.pilotlight/presence/settings/{bob}"),
    ("alice", "/_matrix/client/v3/pushrules/"),
    ("alice", "/_matrix/client/v3/profile/{alice}"),
    ("alice", "/_matrix/client/v3/profile/{bob}"),
    ("alice", "/_matrix/client/v3/joined_rooms"),
    ("bob", "/_matrix/client/v3/joined_rooms"),
    ("alice", "/_matrix/client/v3/rooms/{room}/state"),
    ("alice", "/_matrix/client/v3/rooms/{mine}/state"),
    ("alice", "/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=50"),
    ("alice", "/_matrix/client/v3/rooms/{room}/aliases"),
    ("alice", "/_matrix/client/v3/user/{alice}/rooms/{room}/tags"),
    ("alice", "/_matrix/client/v3/publicRooms"),
    ("alice", "/_matrix/client/v3/user/{alice}/filter/{filter}"),
    ("alice", "/_matrix/client/v3/sync?timeout=0&set_presence=offline"),
    ("bob", "/_matrix/client/v3/sync?timeout=0&set_presence=offline"),
];

/// What there is to see, in the order of [`READS`].
fn reads(world: &World) -> Vec<(u16, Value)> {
    let read = |&(who, path): &(&str, &str)| {
        let answer = world.ask(who, path);
        (answer.status, lasting(answer.json()))
    };
    READS.iter().map(read).collect()
}

/// What does not differ from one reading to the next.
fn lasting(mut answer: Value) -> Value {
    if let Some(object) = answer.as_object_mut() {
        object.remove("next_batch");
    }
    answer
}

/// What is seen once nothing is on its way any more: a reading can be an act, such as a poll.
fn settled(world: &World) -> Vec<(u16, Value)> {
    let mut seen = reads(world);
    for _ in 0..5 {
        let again = reads(world);
        if again == seen {
            break;
        }
        seen = again;
    }
    seen
}

/// One after the other, each with what must hold of its answer; and what is refused changes nothing.
fn all_hold(world: &World, requests: &[Wanted], sent: impl Fn(&Wanted) -> Option<Answer>) {
    let mut before = None;
    for wanted in requests.iter().take(MOST) {
        let (seen, since) = before.take().unwrap_or_else(|| (settled(world), world.now()));
        let Some(answer) = sent(wanted) else {
            before = Some((seen, since));
            continue;
        };
        holds(wanted, &answer);
        if !(400..500).contains(&answer.status) || world.now() > since {
            continue;
        }
        let body = String::from_utf8_lossy(&answer.body);
        for ((read, was), is) in READS.iter().zip(&seen).zip(reads(world)) {
            assert_eq!(
                *was, is,
                "{wanted:?} was refused with {} {body}, and changed {read:?}",
                answer.status
            );
        }
        before = Some((seen, since));
    }
}

/// One request: a line of the input.
#[derive(Debug)]
struct Wanted {
    who: String,
    method: String,
    path: String,
    body: String,
}

impl Wanted {
    /// `WHO METHOD PATH BODY`, the body being what is left.
    fn parse(world: &World, line: &str) -> Self {
        let mut words = line.splitn(4, ' ').map(|word| world.meant(word));
        let mut word = || words.next().unwrap_or_default();
        Self { who: word(), method: word(), path: word(), body: word() }
    }
}

/// An answer is never the server's fault, and says in Matrix's words what was wrong.
fn holds(wanted: &Wanted, answer: &Answer) {
    let shown = String::from_utf8_lossy(&answer.body);
    assert!((200..500).contains(&answer.status), "{wanted:?}: {} {shown}", answer.status);
    if answer.status < 400 || wanted.method == "HEAD" || !wanted.path.starts_with("/_matrix/") {
        return;
    }
    let json = answer.json();
    let is_asking = answer.status == 401 && json["flows"].is_array();
    let errcode = json["errcode"].as_str().unwrap_or_default();
    assert!(is_asking || errcode.starts_with("M_"), "{wanted:?}: {} {shown}", answer.status);
    assert!(is_asking || json["error"].is_string(), "{wanted:?}: {} {shown}", answer.status);
}

/// A line each, `WHO METHOD PATH BODY`: requests of Alice (`a`), of Bob (`b`), of nobody (`-`), or with another token.
pub(super) fn client_requests(data: &[u8]) {
    let Ok(lines) = str::from_utf8(data) else { return };
    let world = World::new(None);
    let requests: Vec<_> = lines.lines().map(|line| Wanted::parse(&world, line)).collect();
    all_hold(&world, &requests, |wanted| {
        let token = match &*wanted.who {
            "a" => world.meant("{token_alice}"),
            "b" => world.meant("{token_bob}"),
            token => token.to_owned(),
        };
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
        let headers = if token == "-" { &headers[..1] } else { &headers[..] };
        world.send(&wanted.method, &wanted.path, headers, wanted.body.as_bytes())
    });
}

/// The same of another server, which proves who it is: `s` signs its request, `-` does not.
pub(super) fn server_requests(data: &[u8]) {
    let Ok(lines) = str::from_utf8(data) else { return };
    let world = World::new(Some(PEER));
    let (peer, key) = (OwnedServerName::try_from(PEER).expect("a name"), parse_key(KEY).expect("a key"));
    introduce(&world, &peer, &key);
    let requests: Vec<_> = lines.lines().map(|line| Wanted::parse(&world, line)).collect();
    all_hold(&world, &requests, |wanted| {
        let signature = match &*wanted.who {
            "s" => signature(&world, &peer, &key, wanted)?,
            signature => signature.to_owned(),
        };
        let headers = [("content-type", "application/json"), ("authorization", &*signature)];
        let headers = if signature == "-" { &headers[..1] } else { &headers[..] };
        world.send(&wanted.method, &wanted.path, headers, wanted.body.as_bytes())
    });
}

/// The world's server has the peer's key, as if it had asked for it.
fn introduce(world: &World, peer: &ServerName, key: &Ed25519KeyPair) {
    let keys = PublishedKeys {
        current: vec![("ed25519:1".to_owned(), key.public_key().to_vec())],
        old: Vec::new(),
        valid_until: UnixMillis(4_000_000_000_000),
        document: None,
        fetched: UnixMillis::default(),
    };
    world.wait(world.app().store.put_server_keys(peer.to_owned(), keys)).expect("is written");
}

/// The header that signs a request of the peer's; `None`: no such request can be made.
fn signature(world: &World, peer: &ServerName, key: &Ed25519KeyPair, wanted: &Wanted) -> Option<String> {
    let request = http::Request::builder().method(&*wanted.method).uri(&wanted.path);
    let request = request.body(wanted.body.as_bytes()).ok()?;
    // What has no path cannot be signed, nor sent to a path.
    request.uri().path_and_query()?;
    let input = XMatrixSigningInput::new(peer.to_owned(), world.app().server_name().to_owned(), key);
    Some(XMatrix::sign_http_request(&request, input).ok()?.to_string())
}
