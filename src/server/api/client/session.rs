//! Coming and going: `/login`, `/logout`, `/account/whoami`.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode};
use ruma::{
    OwnedDeviceId, OwnedUserId, UserId,
    api::client::{
        account::whoami,
        session::{get_login_types, login, logout, logout_all},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::uia::{Identifier, named_user};
use crate::server::{
    accounts::username::username,
    api::{
        error::{ApiError, ApiResult},
        extract::Json,
        ruma_route::RumaRoute,
    },
    app::App,
    limits::Origin,
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<get_login_types::v3::Request, _, _>(login_types)
        .ruma_route::<login::v3::Request, _, _>(login)
        .ruma_route::<logout::v3::Request, _, _>(logout)
        .ruma_route::<logout_all::v3::Request, _, _>(logout_all)
        .ruma_route::<whoami::v3::Request, _, _>(whoami)
}

/// `GET /_matrix/client/v3/login`
async fn login_types() -> Json<Value> {
    Json(json!({ "flows": [{ "type": "m.login.password" }] }))
}

/// The body of a login. No `Debug`: it carries a password.
#[derive(Deserialize)]
struct Login {
    #[serde(rename = "type")]
    kind: Option<String>,
    identifier: Option<Identifier>,
    user: Option<String>,
    password: Option<String>,
    device_id: Option<OwnedDeviceId>,
    initial_device_display_name: Option<String>,
}

/// `POST /_matrix/client/v3/login`
async fn login(
    State(app): State<Arc<App>>,
    origin: Origin,
    Json(request): Json<Login>,
) -> ApiResult<Json<Value>> {
    match request.kind.as_deref() {
        Some("m.login.password") => {}
        Some(_) => return Err(ApiError::unknown("this type of login is not offered here")),
        None => return Err(ApiError::missing_param("type is missing")),
    }
    let password = request.password.ok_or_else(|| ApiError::missing_param("password is missing"))?;
    let named = named_user(request.identifier.as_ref(), request.user.as_deref())
        .ok_or_else(|| ApiError::missing_param("identifier must be of type m.id.user and name a user"))?;
    let user = local_user(&app, named)?;
    app.limits.login(user.as_str(), origin, app.now().as_millis())?;
    let login = app.store.login(&user).await?;
    if login.as_ref().is_some_and(|login| login.deactivated) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "M_USER_DEACTIVATED", "this account was closed"));
    }
    let proof = app.accounts.check_password(&user, password).await?.ok_or_else(wrong_credentials)?;
    app.limits.login_succeeded(user.as_str(), origin);
    let logged_in =
        app.accounts.log_in(proof, request.device_id, request.initial_device_display_name).await?;
    Ok(Json(json!({
        "user_id": user,
        "access_token": logged_in.token.as_str(),
        "device_id": logged_in.device,
        "home_server": app.server_name(),
    })))
}

/// The account that was named by its local part or its full identifier.
fn local_user(app: &App, name: &str) -> ApiResult<OwnedUserId> {
    if name.starts_with('@') {
        let user = UserId::parse(name).map_err(|_| wrong_credentials())?;
        return if user.server_name() == app.server_name() { Ok(user) } else { Err(wrong_credentials()) };
    }
    username(name, app.server_name()).map_err(|_| wrong_credentials())
}

/// The same for a wrong name and a wrong password.
fn wrong_credentials() -> ApiError {
    ApiError::forbidden("wrong user name or password")
}

/// `POST /_matrix/client/v3/logout`
async fn logout(State(app): State<Arc<App>>, session: Session) -> ApiResult<Json<Value>> {
    app.accounts.log_out(&session.user, vec![session.device], None).await?;
    Ok(Json(json!({})))
}

/// `POST /_matrix/client/v3/logout/all`
async fn logout_all(State(app): State<Arc<App>>, session: Session) -> ApiResult<Json<Value>> {
    app.accounts.log_out_all(&session.user).await?;
    Ok(Json(json!({})))
}

/// `GET /_matrix/client/v3/account/whoami`
async fn whoami(session: Session) -> Json<Value> {
    Json(json!({ "user_id": session.user, "device_id": session.device, "is_guest": false }))
}
