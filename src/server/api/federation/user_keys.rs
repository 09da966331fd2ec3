//! Devices and keys of this server's users, for other servers: `/_matrix/federation/v1/user`.
//!
//! Source: Matrix server-server API, "Device Management", "End-to-End Encryption".

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::signed::Signed;
use crate::server::{
    answers::{Size, aside},
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path},
        user_keys::{FoundKeys, MAX_ASKED, claim_own},
    },
    app::App,
    devices::published::{Asker, UserKeys},
};

/// The routes for devices and keys.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/federation/v1/user/devices/{user}", get(devices))
        .route("/_matrix/federation/v1/user/keys/query", post(query))
        .route("/_matrix/federation/v1/user/keys/claim", post(claim))
}

/// `GET /_matrix/federation/v1/user/devices/{userId}`
async fn devices(
    State(app): State<Arc<App>>,
    Path(user): Path<OwnedUserId>,
    _: Signed,
) -> ApiResult<Json<Value>> {
    if user.server_name() != app.server_name() {
        return Err(ApiError::invalid_param("this user is not of this server"));
    }
    // Read before the devices: what changes in between is told once more, not left out.
    let version = app.store.device_list_version(&user).await?;
    let UserKeys { devices, cross_signing } = UserKeys::of(&app.store, &user, &[], Asker::Server).await?;
    let devices = devices.into_iter().map(|(device, mut keys)| {
        keys.remove("unsigned");
        json!({ "device_id": device, "keys": keys })
    });
    let mut body = json!({
        "user_id": user,
        "stream_id": version.get(),
        "devices": devices.collect::<Vec<_>>(),
    });
    for (usage, key) in cross_signing {
        body[format!("{usage}_key")] = key.into();
    }
    Ok(Json(body))
}

#[derive(Deserialize)]
struct Queried {
    device_keys: BTreeMap<OwnedUserId, Vec<String>>,
}

/// `POST /_matrix/federation/v1/user/keys/query`
async fn query(State(app): State<Arc<App>>, signed: Signed) -> ApiResult<Response> {
    let Queried { device_keys } = signed.json()?;
    if device_keys.len() > MAX_ASKED {
        return Err(ApiError::too_large(format!("ask for at most {MAX_ASKED} users at once")));
    }
    let place = app.answers.place(signed.origin.as_str(), Size::Page).await;
    let answer = aside(async {
        let mut keys = FoundKeys::default();
        for (user, wanted) in device_keys.iter().filter(|(user, _)| user.server_name() == app.server_name()) {
            keys.put(user, UserKeys::of(&app.store, user, wanted, Asker::Server).await?)?;
        }
        let mut body = keys.into_body();
        // Only its owner sees it.
        body.remove("user_signing_keys");
        serde_json::to_vec(&body).map_err(ApiError::internal)
    });
    let body = place.body(answer.await?.into())?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

#[derive(Deserialize)]
struct Claim {
    one_time_keys: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
}

/// `POST /_matrix/federation/v1/user/keys/claim`
async fn claim(State(app): State<Arc<App>>, signed: Signed) -> ApiResult<Json<Value>> {
    let Claim { mut one_time_keys } = signed.json()?;
    if one_time_keys.values().map(BTreeMap::len).sum::<usize>() > MAX_ASKED {
        return Err(ApiError::too_large(format!("claim keys of at most {MAX_ASKED} devices at once")));
    }
    one_time_keys.retain(|user, _| user.server_name() == app.server_name());
    Ok(Json(json!({ "one_time_keys": claim_own(&app, one_time_keys).await? })))
}
