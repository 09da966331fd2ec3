//! Grave changes of an account: its password, and its end.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use ruma::api::client::account::{change_password, deactivate, get_3pids};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::uia::{Interactive, Refusal, authenticate_user};
use crate::server::{
    api::{
        error::ApiError,
        extract::{By, Json},
        ruma_route::RumaRoute,
    },
    app::App,
    limits::Origin,
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new()
        .ruma_route::<change_password::v3::Request, _, _>(change_password)
        .ruma_route::<deactivate::v3::Request, _, _>(deactivate)
        .ruma_route::<get_3pids::v3::Request, _, _>(threepids);
    for version in ["r0", "v3"] {
        let client = format!("/_matrix/client/{version}");
        for medium in ["email", "msisdn"] {
            router = router
                .route(&format!("{client}/account/3pid/{medium}/requestToken"), post(no_validation))
                .route(&format!("{client}/register/{medium}/requestToken"), post(no_validation))
                .route(&format!("{client}/account/password/{medium}/requestToken"), post(no_reset));
        }
        let threepid = format!("{client}/account/3pid");
        router = router
            .route(&threepid, post(no_threepids))
            .route(&format!("{threepid}/add"), post(no_threepids))
            .route(&format!("{threepid}/bind"), post(no_threepids))
            .route(&format!("{threepid}/delete"), post(none_deleted))
            .route(&format!("{threepid}/unbind"), post(none_deleted));
    }
    router
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
    (origin, By(by)): (Origin, By),
    request: Interactive<ChangePassword>,
) -> Result<Json<Value>, Refusal> {
    if by.is_some() {
        return Err(ApiError::forbidden("an application service sets nobody's password").into());
    }
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

/// `POST /_matrix/client/v3/account/3pid`, `…/add`, `…/bind`
async fn no_threepids(_: Session, _: Json<Map<String, Value>>) -> ApiError {
    denied("accounts here have no mail addresses or phone numbers")
}

/// `POST /_matrix/client/v3/account/3pid/{medium}/requestToken`, `…/register/{medium}/requestToken`
async fn no_validation(_: Json<Map<String, Value>>) -> ApiError {
    denied("this server sends no mail and no messages")
}

/// `POST /_matrix/client/v3/account/password/{medium}/requestToken`
async fn no_reset(_: Json<Map<String, Value>>) -> ApiError {
    let error = "accounts here have no mail addresses or phone numbers";
    ApiError::new(StatusCode::BAD_REQUEST, "M_THREEPID_NOT_FOUND", error)
}

/// `POST /_matrix/client/v3/account/3pid/delete`, `…/unbind`: there was none.
async fn none_deleted(_: Session, _: Json<Map<String, Value>>) -> Json<Value> {
    Json(json!({ "id_server_unbind_result": "no-support" }))
}

fn denied(error: &'static str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "M_THREEPID_DENIED", error)
}
