//! New accounts: `/register` and what goes with it.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode};
use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::client::account::{check_registration_token_validity, get_username_availability, register},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::uia::{Auth, Refusal, Stage, authenticate, is_registration_token};
use crate::server::{
    accounts::username::{random_username, username},
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Query},
        ruma_route::RumaRoute,
    },
    app::App,
    config::Registration,
    limits::Origin,
    store::{CreateUserError, NewUser},
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<register::v3::Request, _, _>(register)
        .ruma_route::<get_username_availability::v3::Request, _, _>(available)
        .ruma_route::<check_registration_token_validity::v1::Request, _, _>(token_validity)
}

#[derive(Deserialize)]
struct Register {
    username: Option<String>,
    password: Option<String>,
    device_id: Option<OwnedDeviceId>,
    initial_device_display_name: Option<String>,
    #[serde(default)]
    inhibit_login: bool,
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Serialize)]
struct Registered {
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
    Json(request): Json<Register>,
) -> Result<Json<Registered>, Refusal> {
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
        Registration::Closed => return Err(ApiError::forbidden("registration is closed").into()),
    };
    let user = match &request.username {
        Some(name) => free_username(&app, name).await?,
        None => username(&random_username(), app.server_name())?,
    };
    authenticate(&app, stage, request.auth, None, origin).await?;
    let (device, token) = if request.inhibit_login {
        (None, None)
    } else {
        let (device, token) =
            app.accounts.new_device(request.device_id, request.initial_device_display_name)?;
        (Some(device), Some(token.as_str().to_owned()))
    };
    let password_hash = match request.password {
        Some(password) => Some(app.accounts.passwords.hash(password).await?),
        None => None,
    };
    let device_id = device.as_ref().map(|device| device.id.clone());
    let created = NewUser { id: user.clone(), password_hash, created_ms: app.unix_ms(), device };
    app.store.create_user(created).await.map_err(ApiError::from)?;
    tracing::debug!(%user, "registered");
    let home_server = app.server_name().to_string();
    Ok(Json(Registered { user_id: user, home_server, access_token: token, device_id }))
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

/// `GET /_matrix/client/v3/register/available`
async fn available(State(app): State<Arc<App>>, Query(query): Query<Available>) -> ApiResult<Json<Value>> {
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
