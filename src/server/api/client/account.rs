//! Grave changes of an account: its password, and its end.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::account::{change_password, deactivate, get_3pids};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::uia::{Interactive, Refusal, authenticate_user};
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
}

fn yes() -> bool {
    true
}

/// `POST /_matrix/client/v3/account/password`
async fn change_password(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    request: Interactive<ChangePassword>,
) -> Result<Json<Value>, Refusal> {
    let proof = authenticate_user(&app, &request, &session, origin).await?;
    let ChangePassword { new_password, logout_devices } = request.parameters;
    let hash = app.accounts.passwords.hash(new_password).await?;
    app.store.set_password(proof, hash, logout_devices.then_some(session.device)).await?;
    tracing::info!("a password was changed");
    Ok(Json(json!({})))
}

/// `POST /_matrix/client/v3/account/deactivate`
async fn deactivate(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    request: Interactive<IgnoredAny>,
) -> Result<Json<Value>, Refusal> {
    let proof = authenticate_user(&app, &request, &session, origin).await?;
    app.deactivate(proof).await.map_err(ApiError::from)?;
    tracing::info!("an account was deactivated");
    Ok(Json(json!({ "id_server_unbind_result": "no-support" })))
}

/// `GET /_matrix/client/v3/account/3pid`: accounts here have no mail addresses or phone numbers.
async fn threepids(_: Session) -> Json<Value> {
    Json(json!({ "threepids": [] }))
}
