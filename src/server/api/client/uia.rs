//! User-interactive authentication: what a client must show before it may do something grave.
//!
//! Every flow here has one stage, checked with the request that it allows; so nothing is kept
//! between requests, and the `session` that clients send back is only a name.
//! Matrix client-server API, "User-Interactive Authentication API".

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use ruma::UserId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::{
    accounts::username::username,
    api::error::ApiError,
    app::App,
    limits::Origin,
    session::{TokenHash, random_device_id},
};

/// The one stage of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// `m.login.dummy`: asks nothing.
    Dummy,
    /// `m.login.registration_token`: a word the operator gave out.
    RegistrationToken,
    /// `m.login.password`: the password of the account.
    Password,
}

/// The `auth` object of a request. No `Debug`: it carries secrets.
#[derive(Clone, Default, Deserialize)]
pub struct Auth {
    #[serde(rename = "type")]
    kind: Option<String>,
    session: Option<String>,
    identifier: Option<Identifier>,
    /// What `identifier` was called before 2018.
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// How a client names the account.
#[derive(Clone, Deserialize)]
pub struct Identifier {
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
}

/// Why the request is not done (yet).
#[derive(Debug)]
pub enum Refusal {
    /// 401: the client has to go through a flow; the body of the answer.
    Challenge(Value),
    /// Any other error.
    Error(ApiError),
}

/// Checks the one stage `stage`; `Ok` when the client passed it.
///
/// `user` is the account whose password is asked for.
pub async fn authenticate(
    app: &App,
    stage: Stage,
    auth: Option<Auth>,
    user: Option<&UserId>,
    origin: Origin,
) -> Result<(), Refusal> {
    let Some(auth) = auth else { return Err(challenge(stage, None, None)) };
    let session = auth.session.clone();
    let Some(kind) = &auth.kind else { return Err(challenge(stage, session, None)) };
    if kind != stage.name() {
        let refused = ApiError::new(StatusCode::UNAUTHORIZED, "M_UNRECOGNIZED", "not a stage of this flow");
        return Err(challenge(stage, session, Some(refused)));
    }
    // Guesses are counted, for each account and for registration tokens; right ones are not.
    let guessed = user.map_or("registration", UserId::as_str);
    if stage != Stage::Dummy {
        app.limits.login(guessed, origin, app.unix_ms())?;
    }
    let passed = match stage {
        Stage::Dummy => true,
        Stage::RegistrationToken => {
            auth.token.as_deref().is_some_and(|token| is_registration_token(app, token))
        }
        Stage::Password => knows_password(app, auth, user).await?,
    };
    if passed {
        app.limits.login_succeeded(guessed, origin);
        Ok(())
    } else {
        Err(challenge(stage, session, Some(ApiError::forbidden(stage.refusal()))))
    }
}

/// Whether the operator gave this registration token out.
pub fn is_registration_token(app: &App, token: &str) -> bool {
    // Compared by hash, so that the time taken says nothing about the token.
    app.config
        .registration_token
        .as_ref()
        .is_some_and(|expected| TokenHash::of(token) == TokenHash::of(expected.as_str()))
}

async fn knows_password(app: &App, auth: Auth, user: Option<&UserId>) -> Result<bool, Refusal> {
    let (Some(user), Some(password)) = (user, auth.password) else { return Ok(false) };
    let named = named_user(auth.identifier.as_ref(), auth.user.as_deref());
    // The identifier is optional where the access token already says who it is.
    if named.is_some_and(|name| !is_name_of(name, user)) {
        return Ok(false);
    }
    let stored = app.store.login(user).await?.and_then(|login| login.password_hash);
    Ok(app.accounts.passwords.verify(password, stored).await?)
}

/// The account a client names, by `identifier` or by the older `user`.
pub fn named_user<'a>(identifier: Option<&'a Identifier>, user: Option<&'a str>) -> Option<&'a str> {
    match identifier {
        Some(identifier) if identifier.kind == "m.id.user" => identifier.user.as_deref(),
        Some(_) => None,
        None => user,
    }
}

fn is_name_of(name: &str, user: &UserId) -> bool {
    name == user.as_str() || username(name, user.server_name()).is_ok_and(|named| named == *user)
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
            Self::Password => "m.login.password",
        }
    }

    fn refusal(self) -> &'static str {
        match self {
            Self::Dummy => "not allowed",
            Self::RegistrationToken => "this registration token is not valid",
            Self::Password => "wrong password",
        }
    }
}

fn challenge(stage: Stage, session: Option<String>, error: Option<ApiError>) -> Refusal {
    let session =
        session.filter(|session| session.len() <= 64).unwrap_or_else(|| random_device_id().to_string());
    let mut body = json!({ "flows": [{ "stages": [stage.name()] }], "params": {}, "session": session });
    if let (Some(object), Some(error)) = (body.as_object_mut(), error) {
        object.insert("completed".into(), json!([]));
        object.insert("errcode".into(), error.errcode.into());
        object.insert("error".into(), error.error.into());
    }
    Refusal::Challenge(body)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Challenge(body) => (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response(),
            Self::Error(e) => e.into_response(),
        }
    }
}

impl<E> From<E> for Refusal
where
    ApiError: From<E>,
{
    fn from(e: E) -> Self {
        Self::Error(e.into())
    }
}
