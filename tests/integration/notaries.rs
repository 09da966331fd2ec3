//! Keys for events: of servers that replaced theirs, of servers that are gone, and for others who ask.

use std::{collections::BTreeMap, time::Duration};

use pilotlight::{
    core::time::UnixMillis,
    server::keys::{EventKeys, NeededKeys, Signer},
};
use ruma::{OwnedServerName, api::federation::discovery::ServerSigningKeys};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    driven::Time,
    peer::Peer,
    support::{Answer, TestServer, runtime},
};

/// When the driven time begins.
const BEGIN: u64 = 1_800_000_000_000;

/// What `server` can have of the keys in `needed`.
fn event_keys(server: &TestServer, needed: &NeededKeys) -> EventKeys {
    let federation = server.app().federation.as_ref().expect("federates");
    runtime().block_on(federation.keyring.event_keys(needed)).expect("can be read")
}

/// One key, and when it has to have signed.
fn needed(server: &OwnedServerName, id: &str, at: u64) -> NeededKeys {
    [(server.clone(), BTreeMap::from([(id.to_owned(), UnixMillis(at))]))].into()
}

/// What `peer` is answered at `path` of the server `to`.
fn get(peer: &Peer, to: &OwnedServerName, path: &str) -> Answer {
    peer.send(to, &peer.signed(to, "GET", path, b""))
}

fn query(peer: &Peer, to: &OwnedServerName, body: &Value) -> Answer {
    peer.send(to, &peer.signed(to, "POST", "/_matrix/key/v2/query", body.to_string().as_bytes()))
}

#[test]
fn a_key_that_was_replaced_verifies_events_from_before_and_the_new_one_is_fetched() {
    let (ca, time) = (Authority::new(), Time::new());
    let (_, asking) = ca.driven(&time, |_| {});
    let (name, server) = ca.driven(&time, |_| {});
    let first = server.app().rooms.signer.key_id();
    let keys = event_keys(&asking, &needed(&name, &first, BEGIN));
    assert!(keys.has(&name, &first, UnixMillis(BEGIN)));
    assert!(!keys.has(&name, &first, UnixMillis(BEGIN + 8 * 24 * 3_600_000)), "for a week at most");

    let (data, config) = (server.data_dir().to_owned(), server.app().config.clone());
    let replaced = BEGIN + 5_000;
    let server = server.restart_with(|new| {
        let key = Signer::existing(&data, &name).expect("can be read").expect("is there");
        key.rotate(&data, replaced).expect("is replaced");
        *new = config;
    });
    let second = server.app().rooms.signer.key_id();
    time.pass(Duration::from_secs(11));
    let keys = event_keys(&asking, &needed(&name, &second, BEGIN + 10_000));
    assert!(keys.has(&name, &second, UnixMillis(BEGIN + 10_000)));
    assert!(keys.has(&name, &first, UnixMillis(replaced)), "what it signed is still good");
    assert!(!keys.has(&name, &first, UnixMillis(replaced + 1)), "and it signs no longer");
    // A server knows its own without asking anybody.
    let own = event_keys(&server, &needed(&name, &first, replaced));
    assert!(own.has(&name, &first, UnixMillis(replaced)) && own.has(&name, &second, UnixMillis(BEGIN)));
}

#[test]
fn the_keys_of_a_server_that_is_gone_are_had_of_notaries_that_are_trusted_and_of_no_others() {
    let (ca, time) = (Authority::new(), Time::new());
    let (notary, notary_server) = ca.driven(&time, |_| {});
    let (gone, server) = ca.driven(&time, |_| {});
    let id = server.app().rooms.signer.key_id();
    let somebody = Peer::start(&ca, Duration::ZERO);
    let body = json!({ "server_keys": { (gone.as_str()): {} } });
    let said = query(&somebody, &notary, &body).ok();
    let signatures = &said["server_keys"][0]["signatures"];
    assert!(signatures[gone.as_str()].is_object() && signatures[notary.as_str()].is_object(), "{said}");
    drop(server);
    assert_eq!(query(&somebody, &notary, &body).ok(), said, "as it was said last");

    let (_, trusting) = ca.driven(&time, |c| c.federation.trusted_key_servers = vec![notary.clone()]);
    let (_, other) = ca.driven(&time, |_| {});
    let wanted = needed(&gone, &id, BEGIN);
    assert!(event_keys(&trusting, &wanted).has(&gone, &id, UnixMillis(BEGIN)));
    assert!(!event_keys(&other, &wanted).has(&gone, &id, UnixMillis(BEGIN)));
    drop(notary_server);
    assert!(event_keys(&trusting, &wanted).has(&gone, &id, UnixMillis(BEGIN)), "it is kept");
}

#[test]
fn a_notary_is_asked_by_anybody_and_tells_what_servers_say_themselves() {
    let ca = Authority::new();
    let (name, server) = ca.trusting_server();
    let [peer, other] = [(); 2].map(|()| Peer::start(&ca, Duration::ZERO));
    let id = server.app().rooms.signer.key_id();
    let read = |answer: &Value| -> Vec<ServerSigningKeys> {
        serde_json::from_value(answer["server_keys"].clone()).expect("documents of keys")
    };
    // Its own keys, whichever is named.
    for path in ["/_matrix/key/v2/server", "/_matrix/key/v2/server/", "/_matrix/key/v2/server/ed25519:any"] {
        let own = get(&peer, &name, path);
        if !path.ends_with('/') {
            assert!(own.ok()["verify_keys"][&id].is_object(), "{path}");
        }
    }
    // Old servers name one of those they ask for, too.
    for rest in ["", "/", "/ed25519:any"] {
        let own = read(&get(&peer, &name, &format!("/_matrix/key/v2/query/{name}{rest}")).ok());
        assert_eq!(own[0].server_name, name, "{rest}");
        let found = read(&get(&peer, &name, &format!("/_matrix/key/v2/query/{}{rest}", other.name)).ok());
        assert_eq!(found[0].server_name, other.name, "{rest}");
    }
    let found = read(&get(&peer, &name, &format!("/_matrix/key/v2/query/{}", other.name)).ok());
    assert_eq!(found[0].server_name, other.name);
    assert_eq!(found[0].signatures.iter().count(), 2);

    // Of several, those that can be had. One whose keys do not hold as long as is wanted is told all the same.
    let body = json!({ "server_keys": {
        (name.as_str()): { (id.as_str()): {} },
        (other.name.as_str()): { "ed25519:1": { "minimum_valid_until_ts": 9_000_000_000_000_u64 } },
        "localhost:1": { "ed25519:1": { "minimum_valid_until_ts": 0 } },
    } });
    let found: Vec<_> =
        read(&query(&peer, &name, &body).ok()).into_iter().map(|keys| keys.server_name).collect();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&name) && found.contains(&other.name));

    for bad in [json!({}), json!({ "server_keys": [] }), json!({ "server_keys": { "no name!": {} } })] {
        query(&peer, &name, &bad).refused(400, "M_BAD_JSON");
    }
    let many: serde_json::Map<_, _> = (0..1_001).map(|n| (format!("s{n}"), json!({}))).collect();
    query(&peer, &name, &json!({ "server_keys": many })).refused(413, "M_TOO_LARGE");
    let unasked = other.heard().iter().filter(|heard| heard.path == "/_matrix/key/v2/server").count();
    assert_eq!(unasked, 1, "asked once, though it was wanted to hold longer: that was a moment ago");
}
