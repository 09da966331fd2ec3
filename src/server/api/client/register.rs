//! New accounts: `/register` and what goes with it.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode};
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
        login::check_device,
        username::{random_username, username},
    },
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Query},
        ruma_route::RumaRoute,
    },
    app::App,
    config::Registration,
    limits::Origin,
    session::TokenHash,
    store::{CreateUserError, NewUser, Proof},
};

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
}

/// `POST /_matrix/client/v3/register`
async fn register(
    State(app): State<Arc<App>>,
    origin: Origin,
    Query(kind): Query<Kind>,
    request: Interactive<Wanted>,
) -> Result<Json<Answer>, Refusal> {
    match kind.kind.as_deref() {
        None | Some("user") => {}
        Some("guest") => {
            let error = "guests are not allowed here";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", error).into());
        }
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

/// Makes the account, and logs its first device in, if one is wanted.
async fn create(app: &App, user: OwnedUserId, wanted: Wanted) -> ApiResult<(Registered, Answer)> {
    let (device, login) = if wanted.inhibit_login == Some(true) {
        (None, None)
    } else {
        let (device, token) =
            app.accounts.new_device(wanted.device_id, wanted.initial_device_display_name)?;
        let login = (device.id.clone(), token);
        (Some(device), Some(login))
    };
    let password_hash = match wanted.password {
        Some(password) => Some(app.accounts.passwords.hash(password).await?),
        None => None,
    };
    let proof = Proof { user: user.clone(), password_hash: password_hash.clone() };
    let created = NewUser { id: user.clone(), password_hash, created_ms: app.unix_ms(), device };
    app.store.create_user(created).await?;
    tracing::debug!(%user, "registered");
    let registered = Registered { proof, login };
    let answer = answer(app, &registered);
    Ok((registered, answer))
}

fn answer(app: &App, registered: &Registered) -> Answer {
    let (device_id, access_token) = registered
        .login
        .as_ref()
        .map_or((None, None), |(device, token)| (Some(device.clone()), Some(token.as_str().to_owned())));
    let (user_id, home_server) = (registered.proof.user.clone(), app.server_name().to_string());
    Answer { user_id, home_server, access_token, device_id }
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
            .is_none_or(|id| login.as_ref().is_none_or(|(device, _)| device == id));
    if !is_same {
        return Err(Changed.into());
    }
    app.store.check_proof(proof.clone()).await?;
    if let Some((device, token)) = login {
        let session = app.store.session(&TokenHash::of(token.as_str())).await?;
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
