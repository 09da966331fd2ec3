//! Where calls go through when two clients do not reach each other: `/voip/turnServer`.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State};
use ring::hmac;
use ruma::{
    UserId,
    api::client::voip::get_turn_server_info,
    serde::{Base64, base64::Standard},
};
use serde_json::{Value, json};

use crate::server::{
    api::{extract::Json, ruma_route::RumaRoute},
    app::App,
    config::Turn,
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().ruma_route::<get_turn_server_info::v3::Request, _, _>(turn_server)
}

/// `GET /_matrix/client/v3/voip/turnServer`: an empty object where there is no TURN server.
async fn turn_server(State(app): State<Arc<App>>, session: Session) -> Json<Value> {
    Json(told(&app.config.turn, &session.user, Duration::from_millis(app.clock.unix().0)))
}

/// What a user is told at an instant since the epoch.
fn told(turn: &Turn, user: &UserId, now: Duration) -> Value {
    let ttl = turn.user_lifetime.as_secs();
    let (username, password) = match (&turn.shared_secret, &turn.username, &turn.password) {
        _ if turn.uris.is_empty() => return json!({}),
        (Some(secret), _, _) => made(secret.as_str(), user, (now + turn.user_lifetime).as_secs()),
        (None, Some(username), Some(password)) => (username.clone(), password.as_str().to_owned()),
        (None, ..) => return json!({}),
    };
    json!({ "username": username, "password": password, "uris": turn.uris, "ttl": ttl })
}

/// A name that says until when it holds, in seconds since the epoch, and its password: what the TURN server computes as well
/// (`draft-uberti-behave-turn-rest-00`).
fn made(secret: &str, user: &UserId, until: u64) -> (String, String) {
    let username = format!("{until}:{user}");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let signature = hmac::sign(&key, username.as_bytes());
    // With its padding, as the TURN server compares it.
    let mut password = Base64::<Standard, _>::new(signature.as_ref()).encode();
    while password.len() % 4 != 0 {
        password.push('=');
    }
    (username, password)
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::server::config::Secret;

    /// Computed with `printf %s "$USERNAME" | openssl dgst -sha1 -hmac "$SECRET" -binary | base64`.
    #[test]
    fn a_password_is_the_signature_of_its_name_with_the_shared_secret() {
        let (username, password) = made("north", user_id!("@alice:example.org"), 1_443_779_631);
        assert_eq!(username, "1443779631:@alice:example.org");
        assert_eq!(password, "8UEQexfdhsgCaPlmAo/GVjLRbV4=");
    }

    #[test]
    fn without_a_turn_server_clients_are_told_of_none_and_without_a_secret_all_get_the_same() {
        let user = user_id!("@alice:example.org");
        let now = Duration::from_secs(1_000);
        assert_eq!(told(&Turn::default(), user, now), json!({}));
        let turn = Turn {
            uris: vec!["turn:turn.example.org?transport=udp".into(), "turns:turn.example.org".into()],
            username: Some("all".into()),
            password: Some(Secret::new("open sesame")),
            ..Turn::default()
        };
        let expected =
            json!({ "username": "all", "password": "open sesame", "uris": turn.uris, "ttl": 3600 });
        assert_eq!(told(&turn, user, now), expected);
    }
}
