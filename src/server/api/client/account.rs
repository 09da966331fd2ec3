//! Grave changes of an account: its password, and its end.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::account::{change_password, deactivate, get_3pids};
use serde::Deserialize;
use serde_json::{Value, json};

use super::uia::{Auth, Refusal, Stage, authenticate};
use crate::server::{
    api::{error::ApiError, extract::Json, ruma_route::RumaRoute},
    app::App,
    limits::Origin,
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<change_password::v3::Request, _, _>(change_password)
        .ruma_route::<deactivate::v3::Request, _, _>(deactivate)
        .ruma_route::<get_3pids::v3::Request, _, _>(threepids)
}

/// The body of a password change. No `Debug`: it carries passwords.
#[derive(Deserialize)]
struct ChangePassword {
    new_password: String,
    #[serde(default = "yes")]
    logout_devices: bool,
    auth: Option<Auth>,
}

fn yes() -> bool {
    true
}

/// `POST /_matrix/client/v3/account/password`
async fn change_password(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    Json(request): Json<ChangePassword>,
) -> Result<Json<Value>, Refusal> {
    authenticate(&app, Stage::Password, request.auth, Some(&session.user), origin).await?;
    let hash = app.accounts.passwords.hash(request.new_password).await?;
    app.store.set_password(session.user.clone(), hash).await?;
    if request.logout_devices {
        app.accounts.log_out_all(&session.user, Some(&session.device)).await?;
    }
    tracing::info!("a password was changed");
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Deactivate {
    auth: Option<Auth>,
}

/// `POST /_matrix/client/v3/account/deactivate`
async fn deactivate(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    Json(request): Json<Deactivate>,
) -> Result<Json<Value>, Refusal> {
    authenticate(&app, Stage::Password, request.auth, Some(&session.user), origin).await?;
    app.deactivate(session.user).await.map_err(ApiError::from)?;
    tracing::info!("an account was deactivated");
    Ok(Json(json!({ "id_server_unbind_result": "no-support" })))
}

/// `GET /_matrix/client/v3/account/3pid`: accounts here have no mail addresses or phone numbers.
async fn threepids(_: Session) -> Json<Value> {
    Json(json!({ "threepids": [] }))
}
