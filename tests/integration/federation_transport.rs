//! Two homeservers and a certification authority on loopback: names, TLS, keys and signatures.

use std::{sync::Arc, time::Duration};

use http::Method;
use pilotlight::server::federation::client::RequestError;
use ruma::OwnedServerName;
use serde_json::json;

use super::{authority::Authority, peer::Peer, support::TestServer};

async fn ask(from: &TestServer, to: &OwnedServerName, path: &str) -> Result<serde_json::Value, RequestError> {
    let federation = from.app().federation.as_ref().expect("federates");
    let answer = federation.client.request(to, Method::GET, path, None).await?;
    Ok(serde_json::from_str(answer.get()).expect("JSON"))
}

fn status(result: Result<serde_json::Value, RequestError>) -> (u16, String) {
    match result {
        Err(RequestError::Status(status, body)) => {
            let body: serde_json::Value = serde_json::from_str(&body).expect("a Matrix error");
            (status.as_u16(), body["errcode"].as_str().expect("an errcode").to_owned())
        }
        other => panic!("expected an error status, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_is_answered_after_its_key_was_fetched_from_the_asking_server() {
    let ca = Authority::new();
    let (_a_name, a) = ca.trusting_server();
    let (b_name, b) = ca.trusting_server();
    tokio::task::block_in_place(|| b.register("bob"));
    let path = format!(
        "/_matrix/federation/v1/query/profile?user_id=%40bob%3A{}",
        b_name.as_str().replace(':', "%3A")
    );
    let profile = ask(&a, &b_name, &path).await.expect("an answer");
    assert!(profile.is_object(), "{profile}");
    let unknown = path.replace("bob", "nobody");
    assert_eq!(status(ask(&a, &b_name, &unknown).await), (404, "M_NOT_FOUND".to_owned()));
    let version = ask(&a, &b_name, "/_matrix/federation/v1/version").await.expect("an answer");
    assert_eq!(version["server"]["name"], "Pilotlight");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_denied_or_not_allowed_is_refused_before_any_key_is_fetched() {
    let ca = Authority::new();
    let (_, a) = ca.trusting_server();
    let (b_name, _b) = ca.server(&ca.file("ca.pem"), |config| {
        config.federation.deny_servers = vec!["localhost".try_into().expect("a name")];
    });
    let result = ask(&a, &b_name, "/_matrix/federation/v1/query/profile?user_id=%40x%3Alocalhost").await;
    assert_eq!(status(result), (403, "M_FORBIDDEN".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_keys_cannot_be_fetched_is_unauthorized() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    // A trusts B's authority, but B does not trust A's: B cannot learn A's key.
    let (_, a) = theirs.server(&ours.file("ca.pem"), |_| {});
    let (b_name, _b) = ours.trusting_server();
    let path = "/_matrix/federation/v1/query/profile?user_id=%40x%3Alocalhost";
    assert_eq!(status(ask(&a, &b_name, path).await), (401, "M_UNAUTHORIZED".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_strangers_and_private_addresses_are_not_accepted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (b_name, _b) = theirs.trusting_server();
    let (_, a) = ours.trusting_server();
    let refused = ask(&a, &b_name, "/_matrix/federation/v1/version").await;
    assert!(matches!(&refused, Err(RequestError::Network(e)) if e.contains("certificate")), "{refused:?}");
    let (_, careful) =
        theirs.server(&theirs.file("ca.pem"), |config| config.federation.allow_addresses.clear());
    let refused = ask(&careful, &b_name, "/_matrix/federation/v1/version").await;
    assert!(
        matches!(&refused, Err(RequestError::Network(e)) if e.contains("allow_addresses")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_covers_the_path_the_body_and_the_destination() {
    let ca = Authority::new();
    let (_, a) = ca.trusting_server();
    let (b_name, b) = ca.trusting_server();
    let signer = Arc::clone(&a.app().rooms.signer);
    let path = "/_matrix/federation/v1/query/profile?user_id=%40x%3Alocalhost";
    let signed_for = |path: &str, destination: &OwnedServerName| {
        let request = http::Request::get(path).body(Vec::new()).expect("a request");
        http::HeaderValue::from(&signer.sign_request(&request, destination).expect("signs"))
    };
    // Over the same TLS as servers use, but with a header of our making.
    let get = |header: Option<http::HeaderValue>| {
        let tls = ureq::tls::TlsConfig::builder()
            .disable_verification(true)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent: ureq::Agent =
            ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).build().into();
        let mut request = agent.get(format!("https://{b_name}{path}"));
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        tokio::task::block_in_place(|| request.call()).expect("an answer").status().as_u16()
    };
    assert_eq!(get(Some(signed_for(path, &b_name))), 404, "a good signature reaches the handler");
    assert_eq!(get(None), 401);
    assert_eq!(get(Some(signed_for("/_matrix/federation/v1/version", &b_name))), 401);
    let elsewhere: OwnedServerName = "elsewhere.example".try_into().expect("a name");
    assert_eq!(get(Some(signed_for(path, &elsewhere))), 401);
    drop(b);
}

#[test]
fn profiles_of_another_server_are_asked_for_on_behalf_of_users_only() {
    let ca = Authority::new();
    let (b_name, b) = ca.trusting_server();
    let (a_name, a) = ca.server(&ca.file("ca.pem"), |config| {
        config.federation.deny_servers = vec!["denied.example".try_into().expect("a name")];
    });
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    let name = json!({ "displayname": "Bob there" });
    bob.put(&format!("/_matrix/client/v3/profile/{}/displayname", bob.user), name.clone()).ok();
    let profile = |user: &str| format!("/_matrix/client/v3/profile/{user}");
    assert_eq!(alice.get(&profile(&bob.user)).ok(), name);
    assert_eq!(alice.get(&format!("{}/avatar_url", profile(&bob.user))).ok(), json!({}));
    a.anonymous().get(&profile(&bob.user)).refused(401, "M_MISSING_TOKEN");
    a.anonymous().get(&profile(&format!("@alice:{a_name}"))).ok();
    for (user, status, errcode) in [
        (format!("@nobody:{b_name}"), 404, "M_NOT_FOUND"),
        ("@x:denied.example".to_owned(), 403, "M_FORBIDDEN"),
        ("@x:localhost:1".to_owned(), 502, "M_UNKNOWN"),
    ] {
        alice.get(&profile(&user)).refused(status, errcode);
    }
}

/// What a server says in place of the document of its keys.
type Said = fn(String) -> String;

#[test]
fn keys_that_do_not_prove_themselves_or_are_too_long_are_not_believed() {
    let ca = Authority::new();
    let (name, _server) = ca.trusting_server();
    let status_of = |said: Said| {
        let peer = Peer::start_with_keys(&ca, Duration::ZERO, said);
        let path = format!("/_matrix/federation/v1/query/profile?user_id=%40alice%3A{}", name.host());
        peer.send(&name, &peer.signed(&name, "GET", &path, b"")).status
    };
    assert_eq!(status_of(|keys| keys), 404, "the signature is good");
    let bad: [(&str, Said); 6] = [
        ("not JSON", |_| "keys".to_owned()),
        ("nothing", |_| "{}".to_owned()),
        ("another server's", |keys| {
            keys.replace("\"server_name\":\"localhost", "\"server_name\":\"elsewhere")
        }),
        ("changed", |keys| keys.replace("4000000000000", "4000000000001")),
        ("of another version", |keys| keys.replace("\"ed25519:1\":{", "\"ed25519:2\":{")),
        ("a megabyte", |keys| keys + &" ".repeat(1 << 20)),
    ];
    for (what, said) in bad {
        assert_eq!(status_of(said), 401, "{what}");
    }
}
