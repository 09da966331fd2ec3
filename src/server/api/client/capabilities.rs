//! What clients ask on their way in about what this server can do, answered as it is.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, routing::get};
use ruma::api::client::{
    authenticated_media, discovery::get_capabilities, push::get_notifications, push::get_pushers,
    thirdparty::get_protocols, voip::get_turn_server_info,
};
use serde_json::{Value, json};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::Json,
        ruma_route::RumaRoute,
    },
    app::App,
    rooms,
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<get_capabilities::v3::Request, _, _>(capabilities)
        .ruma_route::<authenticated_media::get_media_config::v1::Request, _, _>(media_config)
        .route("/_matrix/media/r0/config", get(media_config))
        .route("/_matrix/media/v3/config", get(media_config))
        .ruma_route::<get_notifications::v3::Request, _, _>(notifications)
        .ruma_route::<get_pushers::v3::Request, _, _>(pushers)
        .ruma_route::<get_protocols::v3::Request, _, _>(nothing)
        .ruma_route::<get_turn_server_info::v3::Request, _, _>(nothing)
        .route("/_matrix/client/v3/room_keys/version", get(no_backup))
        .route("/.well-known/matrix/client", get(well_known))
}

/// `GET /_matrix/client/v3/capabilities`
async fn capabilities(State(app): State<Arc<App>>, _: Session) -> Json<Value> {
    let versions: BTreeMap<_, _> = rooms::VERSIONS.iter().map(|v| (v.to_string(), "stable")).collect();
    let default = &app.config.rooms.default_version;
    let yes = json!({ "enabled": true });
    let no = json!({ "enabled": false });
    Json(json!({
        "capabilities": {
            "m.change_password": yes,
            "m.room_versions": { "default": default, "available": versions },
            "m.set_displayname": yes,
            "m.set_avatar_url": yes,
            "m.profile_fields": { "enabled": true, "allowed": ["displayname", "avatar_url"] },
            "m.3pid_changes": no,
            "m.get_login_token": no,
        }
    }))
}

/// `GET /_matrix/client/v1/media/config`: files cannot be uploaded.
async fn media_config(_: Session) -> Json<Value> {
    Json(json!({ "m.upload.size": 0 }))
}

/// `GET /_matrix/client/v3/notifications`: clients evaluate push rules, the server keeps no list.
async fn notifications(_: Session) -> Json<Value> {
    Json(json!({ "notifications": [] }))
}

/// `GET /_matrix/client/v3/pushers`: nothing is pushed from here.
async fn pushers(_: Session) -> Json<Value> {
    Json(json!({ "pushers": [] }))
}

/// An empty object: no bridges at `/thirdparty/protocols`, no TURN server at `/voip/turnServer`.
async fn nothing(_: Session) -> Json<Value> {
    Json(json!({}))
}

/// `GET /_matrix/client/v3/room_keys/version`: nobody has a backup of keys here.
async fn no_backup(_: Session) -> ApiError {
    ApiError::not_found("there is no backup")
}

/// `GET /.well-known/matrix/client`
async fn well_known(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    let url = app.config.public_url.as_deref();
    let url = url.ok_or_else(|| ApiError::not_found("public_url is not configured"))?;
    Ok(Json(json!({ "m.homeserver": { "base_url": url } })))
}
