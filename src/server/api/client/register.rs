//! New accounts: `/register` and what goes with it.

use std::sync::Arc;

use axum::{Extension, Router, extract::State};
use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::client::account::{check_registration_token_validity, get_username_availability, register},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::uia::{Interactive, Refusal, Stage, authenticate_stranger, is_registration_token};
use crate::server::{
    accounts::{
        interaction::{Changed, Progress, Registered, Wanted},
        login::{Whose, check_device},
        tokens::{Lasting, LoggedIn},
        username::{bridged_username, random_username, username},
    },
    api::{
        error::{ApiError, ApiResult},
        extract::{By, Credentials, Json, Query},
        ruma_route::RumaRoute,
    },
    app::App,
    config::Registration,
    limits::Origin,
    registration,
    session::TokenHash,
    store::{CreateUserError, NewUser, Proof},
};

/// The type of requests by which application services register users, and log them in.
pub(super) const APPLICATION_SERVICE: &str = "m.login.application_service";

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<register::v3::Request, _, _>(register)
        .ruma_route::<get_username_availability::v3::Request, _, _>(available)
        .ruma_route::<check_registration_token_validity::v1::Request, _, _>(token_validity)
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    user_id: OwnedUserId,
    home_server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<OwnedDeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

/// `POST /_matrix/client/v3/register`
async fn register(
    State(app): State<Arc<App>>,
    origin: Origin,
    (By(by), Query(kind)): (By, Query<Kind>),
    credentials: Option<Extension<Credentials>>,
    request: Interactive<Wanted>,
) -> Result<Json<Answer>, Refusal> {
    if let Some(by) = by {
        return Ok(Json(register_for(&app, &by, request.parameters).await?));
    }
    if request.parameters.kind.as_deref() == Some(APPLICATION_SERVICE) {
        return Err(no_service(credentials.as_deref()).into());
    }
    match kind.kind.as_deref() {
        None | Some("user") => {}
        Some("guest") => return Ok(Json(register_guest(&app, request.parameters).await?)),
        Some(_) => return Err(ApiError::invalid_param("kind must be user or guest").into()),
    }
    let stage = match app.config.registration {
        Registration::Open => Stage::Dummy,
        Registration::Token => Stage::RegistrationToken,
        Registration::Closed => return Err(closed().into()),
    };
    let request = request.remembered();
    // One request at a time finishes a session: of two that come at once, both are answered with the same account.
    let turn = request.session().and_then(|name| app.accounts.interactions.turn(name));
    let _turn = match &turn {
        Some(turn) => Some(turn.lock().await),
        None => None,
    };
    let wanted = match request.known(&app)? {
        Some(known) => match known.progress {
            Progress::Registered(registered) => {
                return Ok(Json(again(&app, &request.parameters, registered).await?));
            }
            Progress::Begun | Progress::Passed(_) => request.parameters.clone().or(known.wanted),
        },
        None if request.session().is_some() && request.parameters == Wanted::default() => {
            return Err(ApiError::unknown("this session is not known: begin again").into());
        }
        None => request.parameters.clone(),
    };
    check_device(wanted.device_id.as_deref(), wanted.initial_device_display_name.as_deref())?;
    if let Some(password) = &wanted.password {
        app.accounts.passwords.check(password)?;
    }
    let user = match &wanted.username {
        Some(name) if wanted.guest_access_token.is_some() => guest(&app, name, &wanted).await?,
        None if wanted.guest_access_token.is_some() => {
            return Err(ApiError::missing_param("username is missing: the one of the guest").into());
        }
        Some(name) => free_username(&app, name).await?,
        None => username(&random_username(), app.server_name())?,
    };
    authenticate_stranger(&app, &request, stage, wanted.clone(), origin)?;
    let (registered, answer) = create(&app, user, wanted).await?;
    if let Some(session) = request.session() {
        app.accounts.interactions.advance(app.now(), session, Progress::Registered(registered));
    }
    Ok(Json(answer))
}

/// An application service registers one of its users: no flow, no password.
async fn register_for(app: &App, by: &registration::Registration, wanted: Wanted) -> ApiResult<Answer> {
    let name = wanted.user.as_deref().or(wanted.username.as_deref());
    let name = name.ok_or_else(|| ApiError::missing_param("username is missing"))?;
    let user = bridged_username(name, app.server_name())?;
    if !by.has_user(&user) || app.registrations.keep_user_from(&user, Some(by)) {
        return Err(ApiError::exclusive("this user is not one of the application service"));
    }
    check_device(wanted.device_id.as_deref(), wanted.initial_device_display_name.as_deref())?;
    let (_, answer) = create(app, user, Wanted { password: None, ..wanted }).await?;
    Ok(answer)
}

/// A guest comes in: with a device, and nothing to come back with.
async fn register_guest(app: &App, wanted: Wanted) -> ApiResult<Answer> {
    if !app.config.guests {
        return Err(ApiError::guest_access_forbidden("guests are not allowed here"));
    }
    if app.guests.is_full() {
        return Err(ApiError::guest_access_forbidden("there are too many guests here"));
    }
    // A device of their own choice would be the one of whoever was called so before.
    let (device, tokens) =
        app.accounts.new_device(None, wanted.initial_device_display_name, Lasting::Long)?;
    let device_id = Some(device.id.clone());
    let user_id = app.create_guest(device).await?;
    let (home_server, access_token) =
        (app.server_name().to_string(), Some(tokens.access.as_str().to_owned()));
    Ok(Answer { user_id, home_server, access_token, device_id, refresh_token: None, expires_in_ms: None })
}

/// The guest whose account is to become one of somebody, by the guest's own token.
async fn guest(app: &App, name: &str, wanted: &Wanted) -> ApiResult<OwnedUserId> {
    let user = username(name, app.server_name())?;
    let token = wanted.guest_access_token.as_deref().unwrap_or_default();
    let by = app.accounts.session(token).await?;
    if matches!(&by, Whose::Of(by) if by.user == user) && app.guests.is_guest(&user) {
        return Ok(user);
    }
    Err(ApiError::forbidden("guest_access_token is not the one of this guest"))
}

/// What somebody is told who is no application service.
pub(super) fn no_service(credentials: Option<&Credentials>) -> ApiError {
    match credentials {
        None | Some(Credentials::None) => {
            ApiError::missing_token("this takes the token of an application service")
        }
        Some(Credentials::Known(_) | Credentials::Unknown | Credentials::Ended | Credentials::Refused(_)) => {
            ApiError::unknown_token("this is not the token of an application service")
        }
    }
}

/// Makes the account, and logs its first device in, if one is wanted.
async fn create(app: &App, user: OwnedUserId, wanted: Wanted) -> ApiResult<(Registered, Answer)> {
    let (device, login) = if wanted.inhibit_login == Some(true) {
        (None, None)
    } else {
        let lasting = if wanted.refresh_token == Some(true) { Lasting::Short } else { Lasting::Long };
        let (device, tokens) =
            app.accounts.new_device(wanted.device_id, wanted.initial_device_display_name, lasting)?;
        let login = LoggedIn { device: device.id.clone(), tokens };
        (Some(device), Some(login))
    };
    let password_hash = match wanted.password {
        Some(password) => Some(app.accounts.passwords.hash(password).await?),
        None => None,
    };
    let proof = Proof { user: user.clone(), password_hash: password_hash.clone() };
    let created = NewUser { id: user.clone(), password_hash, created_ms: app.unix_ms(), device };
    if wanted.guest_access_token.is_some() {
        app.upgrade_guest(created).await?;
    } else {
        app.store.create_user(created).await?;
    }
    tracing::debug!(%user, "registered");
    let registered = Registered { proof, login };
    let answer = answer(app, &registered);
    Ok((registered, answer))
}

fn answer(app: &App, registered: &Registered) -> Answer {
    let login = registered.login.as_ref();
    let refresh = login.and_then(|login| login.tokens.refresh.as_ref());
    Answer {
        user_id: registered.proof.user.clone(),
        home_server: app.server_name().to_string(),
        access_token: login.map(|login| login.tokens.access.as_str().to_owned()),
        device_id: login.map(|login| login.device.clone()),
        refresh_token: refresh.map(|(token, _)| token.as_str().to_owned()),
        expires_in_ms: login.and_then(|login| login.tokens.expires_in_ms()),
    }
}

/// The answer to a client that did not get the first one: the very same, as long as it is true. Who else has seen the
/// session gets nothing by it when the device was logged out, or the password changed.
async fn again(app: &App, repeated: &Wanted, registered: Registered) -> ApiResult<Answer> {
    let Registered { proof, login } = &registered;
    let is_same = repeated
        .username
        .as_ref()
        .is_none_or(|name| username(name, app.server_name()).is_ok_and(|user| user == proof.user))
        && (repeated.device_id.as_ref())
            .is_none_or(|id| login.as_ref().is_none_or(|login| login.device == *id));
    if !is_same {
        return Err(Changed.into());
    }
    app.store.check_proof(proof.clone()).await?;
    if let Some(LoggedIn { device, tokens }) = login {
        let known = app.store.known(&TokenHash::of(tokens.access.as_str())).await?;
        let session = known.map(|known| known.session);
        if session.is_none_or(|session| session.user != proof.user || session.device != *device) {
            return Err(ApiError::forbidden(
                "this registration is finished, and its device logged out: log in",
            ));
        }
    }
    Ok(answer(app, &registered))
}

/// The identifier for `name`, unless it is taken.
async fn free_username(app: &App, name: &str) -> ApiResult<OwnedUserId> {
    // Names of bridges may begin with _, and are those of nobody else.
    let named = bridged_username(name, app.server_name());
    if named.is_ok_and(|user| app.registrations.keep_user_from(&user, None)) {
        return Err(ApiError::exclusive("this user name is kept for an application service"));
    }
    let user = username(name, app.server_name())?;
    match app.store.login(&user).await? {
        Some(_) => Err(CreateUserError::InUse.into()),
        None => Ok(user),
    }
}

#[derive(Deserialize)]
struct Available {
    username: String,
}

fn closed() -> ApiError {
    ApiError::forbidden("registration is closed")
}

/// `GET /_matrix/client/v3/register/available`: refused where no name is to be had.
async fn available(State(app): State<Arc<App>>, Query(query): Query<Available>) -> ApiResult<Json<Value>> {
    if app.config.registration == Registration::Closed {
        return Err(closed());
    }
    free_username(&app, &query.username).await?;
    Ok(Json(json!({ "available": true })))
}

#[derive(Deserialize)]
struct TokenValidity {
    token: String,
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity`
async fn token_validity(
    State(app): State<Arc<App>>,
    Query(query): Query<TokenValidity>,
) -> ApiResult<Json<Value>> {
    if app.config.registration != Registration::Token {
        return Err(ApiError::forbidden("registration takes no tokens here"));
    }
    Ok(Json(json!({ "valid": is_registration_token(&app, &query.token) })))
}

impl From<CreateUserError> for ApiError {
    fn from(e: CreateUserError) -> Self {
        match e {
            CreateUserError::InUse => Self::user_in_use("this user name is taken"),
            CreateUserError::Store(e) => e.into(),
        }
    }
}
