//! Coming and going: `/login`, `/logout`, `/account/whoami`.

use std::sync::Arc;

use axum::{Extension, Router, extract::State, http::StatusCode, routing::post};
use ruma::{
    OwnedDeviceId, OwnedUserId, UserId,
    api::client::{
        account::whoami,
        session::{get_login_types, login, logout, logout_all},
    },
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    register::{APPLICATION_SERVICE, no_service},
    uia::{Identifier, Interactive, Refusal, authenticate_user, named_user},
};
use crate::server::{
    accounts::{
        login_tokens::LIFETIME_MS,
        tokens::{Lasting, LoggedIn, Tokens},
        username::{bridged_username, username},
    },
    api::{
        error::{ApiError, ApiResult},
        extract::{By, Credentials, Json},
        ruma_route::RumaRoute,
    },
    app::App,
    limits::Origin,
    registration::Registration,
    session::Session,
    store::Proof,
};

/// The type of logins by a token that another device got.
const TOKEN: &str = "m.login.token";

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<get_login_types::v3::Request, _, _>(login_types)
        .ruma_route::<login::v3::Request, _, _>(login)
        .ruma_route::<logout::v3::Request, _, _>(logout)
        .ruma_route::<logout_all::v3::Request, _, _>(logout_all)
        .ruma_route::<whoami::v3::Request, _, _>(whoami)
        .route("/_matrix/client/v1/login/get_token", post(login_token))
        .route("/_matrix/client/v1/refresh", post(refresh))
        .route("/_matrix/client/r0/refresh", post(refresh))
        .route("/_matrix/client/v3/refresh", post(refresh))
        .route("/_matrix/client/unstable/org.matrix.msc2918.refresh_token/refresh", post(refresh))
}

/// `GET /_matrix/client/v3/login`
async fn login_types(State(app): State<Arc<App>>) -> Json<Value> {
    let bridged = (!app.registrations.is_empty()).then(|| json!({ "type": APPLICATION_SERVICE }));
    let own = [json!({ "type": "m.login.password" }), json!({ "type": TOKEN, "get_login_token": true })];
    let flows: Vec<Value> = own.into_iter().chain(bridged).collect();
    Json(json!({ "flows": flows }))
}

/// The body of a login. No `Debug`: it carries a password.
#[derive(Deserialize)]
struct Login {
    #[serde(rename = "type")]
    kind: Option<String>,
    identifier: Option<Identifier>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    device_id: Option<OwnedDeviceId>,
    initial_device_display_name: Option<String>,
    /// Whether the access token may end after a while.
    #[serde(default)]
    refresh_token: bool,
}

impl Login {
    fn lasting(&self) -> Lasting {
        if self.refresh_token { Lasting::Short } else { Lasting::Long }
    }
}

/// `POST /_matrix/client/v3/login`
async fn login(
    State(app): State<Arc<App>>,
    (origin, By(by)): (Origin, By),
    credentials: Option<Extension<Credentials>>,
    Json(request): Json<Login>,
) -> ApiResult<Json<Value>> {
    match request.kind.as_deref() {
        Some(APPLICATION_SERVICE) => {
            let by = by.ok_or_else(|| no_service(credentials.as_deref()))?;
            return log_in_for(&app, &by, request).await;
        }
        Some(TOKEN) => return log_in_by_token(&app, request).await,
        Some("m.login.password") => {}
        Some(_) => return Err(ApiError::unknown("this type of login is not offered here")),
        None => return Err(ApiError::missing_param("type is missing")),
    }
    let lasting = request.lasting();
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
    let name = request.initial_device_display_name;
    let logged_in = app.accounts.log_in(proof, request.device_id, name, lasting).await?;
    Ok(answer(&app, &user, &logged_in))
}

/// Who was let in by another device of theirs.
async fn log_in_by_token(app: &App, request: Login) -> ApiResult<Json<Value>> {
    let token = request.token.as_deref().ok_or_else(|| ApiError::missing_param("token is missing"))?;
    let proof = app.accounts.login_tokens.take(app.now(), token);
    let proof = proof.ok_or_else(|| ApiError::forbidden("this login token is not valid"))?;
    let (user, lasting) = (proof.user.clone(), request.lasting());
    let name = request.initial_device_display_name;
    let logged_in = app.accounts.log_in(proof, request.device_id, name, lasting).await?;
    Ok(answer(app, &user, &logged_in))
}

/// `POST /_matrix/client/v1/login/get_token`
async fn login_token(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    request: Interactive<IgnoredAny>,
) -> Result<Json<Value>, Refusal> {
    let proof = authenticate_user(&app, &request, &session, origin).await?;
    let token = app.accounts.login_tokens.give(app.now(), proof);
    Ok(Json(json!({ "login_token": token.as_str(), "expires_in_ms": LIFETIME_MS })))
}

/// An application service logs one of its users in: nothing is asked of it.
async fn log_in_for(app: &App, by: &Registration, request: Login) -> ApiResult<Json<Value>> {
    let named = named_user(request.identifier.as_ref(), request.user.as_deref())
        .ok_or_else(|| ApiError::missing_param("identifier must be of type m.id.user and name a user"))?;
    let user = match named.starts_with('@') {
        true => UserId::parse(named).map_err(|_| ApiError::invalid_param("this is not a user ID"))?,
        false => bridged_username(named, app.server_name())?,
    };
    if !by.has_user(&user) {
        let error = "this user is not one of the application service";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "M_EXCLUSIVE", error));
    }
    let login = app.store.login(&user).await?.filter(|login| !login.deactivated);
    let login =
        login.ok_or_else(|| ApiError::forbidden("the application service has not registered this user"))?;
    let proof = Proof { user: user.clone(), password_hash: login.password_hash };
    let lasting = request.lasting();
    let name = request.initial_device_display_name;
    let logged_in = app.accounts.log_in(proof, request.device_id, name, lasting).await?;
    Ok(answer(app, &user, &logged_in))
}

fn answer(app: &App, user: &UserId, logged_in: &LoggedIn) -> Json<Value> {
    let mut answer = json!({
        "user_id": user,
        "device_id": logged_in.device,
        "home_server": app.server_name(),
    });
    add_tokens(&mut answer, &logged_in.tokens);
    Json(answer)
}

fn add_tokens(answer: &mut Value, tokens: &Tokens) {
    answer["access_token"] = tokens.access.as_str().into();
    if let Some((refresh, _)) = &tokens.refresh {
        answer["refresh_token"] = refresh.as_str().into();
        answer["expires_in_ms"] = tokens.expires_in_ms().into();
    }
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
}

/// `POST /_matrix/client/v3/refresh`
async fn refresh(State(app): State<Arc<App>>, Json(asked): Json<Refresh>) -> ApiResult<Json<Value>> {
    let tokens = app.accounts.refresh(&asked.refresh_token).await?;
    let gone = || ApiError::unknown_token("this refresh token is not valid").with("soft_logout", false);
    let mut answer = json!({});
    add_tokens(&mut answer, &tokens.ok_or_else(gone)?);
    Ok(Json(answer))
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
async fn whoami(State(app): State<Arc<App>>, session: Session) -> Json<Value> {
    let is_guest = app.guests.is_guest(&session.user);
    let mut answer = json!({ "user_id": session.user, "is_guest": is_guest });
    if session.has_device() {
        answer["device_id"] = session.device.as_str().into();
    }
    Json(answer)
}
