//! A user's devices: list, name, remove.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode};
use ruma::{
    OwnedDeviceId,
    api::client::device::{delete_device, delete_devices, get_device, get_devices, update_device},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::uia::{Interactive, Refusal, authenticate_user};
use crate::server::{
    accounts::tokens::Lasting,
    api::{
        error::{ApiError, ApiResult},
        extract::{By, Json, Path},
        ruma_route::RumaRoute,
    },
    app::App,
    limits::Origin,
    profile::{MAX_DISPLAYNAME, check_length},
    session::Session,
    store::{Device, Proof},
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<get_devices::v3::Request, _, _>(list)
        .ruma_route::<get_device::v3::Request, _, _>(one)
        .ruma_route::<update_device::v3::Request, _, _>(rename)
        .ruma_route::<delete_device::v3::Request, _, _>(delete)
        .ruma_route::<delete_devices::v3::Request, _, _>(delete_many)
}

fn wire(device: &Device) -> Value {
    json!({
        "device_id": device.id,
        "display_name": device.display_name,
        "last_seen_ts": device.last_seen_ms,
        // Addresses are not kept.
        "last_seen_ip": null,
    })
}

fn no_such_device() -> ApiError {
    ApiError::not_found("there is no such device")
}

/// `GET /_matrix/client/v3/devices`
async fn list(State(app): State<Arc<App>>, session: Session) -> ApiResult<Json<Value>> {
    let devices: Vec<Value> = app.store.devices(&session.user).await?.iter().map(wire).collect();
    Ok(Json(json!({ "devices": devices })))
}

/// `GET /_matrix/client/v3/devices/{deviceId}`
async fn one(
    State(app): State<Arc<App>>,
    session: Session,
    Path(id): Path<OwnedDeviceId>,
) -> ApiResult<Json<Value>> {
    let device = app.store.device(&session.user, &id).await?.ok_or_else(no_such_device)?;
    Ok(Json(wire(&device)))
}

#[derive(Deserialize)]
struct Rename {
    display_name: Option<String>,
}

/// `PUT /_matrix/client/v3/devices/{deviceId}`
async fn rename(
    State(app): State<Arc<App>>,
    session: Session,
    By(by): By,
    Path(id): Path<OwnedDeviceId>,
    Json(request): Json<Rename>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    check_length("display_name", request.display_name.as_deref(), MAX_DISPLAYNAME)?;
    if by.is_some() && app.store.device(&session.user, &id).await?.is_none() {
        // Nobody knows its token: it is used by who may act as it.
        let login = app.store.login(&session.user).await?;
        let password_hash = login.and_then(|login| login.password_hash);
        let proof = Proof { user: session.user, password_hash };
        app.accounts.log_in(proof, Some(id), request.display_name, Lasting::Long).await?;
        return Ok((StatusCode::CREATED, Json(json!({}))));
    }
    let exists = match request.display_name {
        Some(name) => app.store.rename_device(session.user, id, Some(name)).await?,
        None => app.store.device(&session.user, &id).await?.is_some(),
    };
    if exists { Ok((StatusCode::OK, Json(json!({})))) } else { Err(no_such_device()) }
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}`
async fn delete(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    Path(id): Path<OwnedDeviceId>,
    request: Interactive<IgnoredAny>,
) -> Result<Json<Value>, Refusal> {
    let proof = authenticate_user(&app, &request, &session, origin).await?;
    app.accounts.log_out(&session.user, vec![id], Some(proof)).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct DeleteMany {
    devices: Vec<OwnedDeviceId>,
}

/// `POST /_matrix/client/v3/delete_devices`
async fn delete_many(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    request: Interactive<DeleteMany>,
) -> Result<Json<Value>, Refusal> {
    let proof = authenticate_user(&app, &request, &session, origin).await?;
    app.accounts.log_out(&session.user, request.parameters.devices, Some(proof)).await?;
    Ok(Json(json!({})))
}
