//! What clients ask on their way in about what this server can do, answered as it is.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State, routing::get};
use ruma::api::client::discovery::get_capabilities;
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
            "m.profile_fields": yes,
            "uk.tcpip.msc4133.profile_fields": yes,
            "m.3pid_changes": no,
            "m.get_login_token": yes,
        }
    }))
}

/// `GET /.well-known/matrix/client`
async fn well_known(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    let url = app.config.public_url.as_deref();
    let url = url.ok_or_else(|| ApiError::not_found("public_url is not configured"))?;
    Ok(Json(json!({ "m.homeserver": { "base_url": url } })))
}
