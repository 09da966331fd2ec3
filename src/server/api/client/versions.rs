//! What this server speaks: `/_matrix/client/versions`, and whether it is up: `/health`.

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::server::{api::extract::Json, app::App};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/_matrix/client/versions", get(versions)).route("/health", get(health))
}

/// `GET /_matrix/client/versions`
async fn versions(State(app): State<Arc<App>>) -> Json<Value> {
    let is_alone = app.federation.is_none();
    Json(json!({
        "versions": ["r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11",
            "v1.12", "v1.13", "v1.14", "v1.15", "v1.16"],
        "unstable_features": { "org.pilotlight.presence": true, "org.pilotlight.presence_list": true, "org.pilotlight.presence_delivery": true,
            "org.pilotlight.local_rooms": is_alone, "org.pilotlight.action_order": true, "org.pilotlight.out_of_order": true,
            "org.pilotlight.stream": true, "org.pilotlight.profile_readers": true,
            "org.matrix.msc4222": true, "uk.tcpip.msc4133": true, "uk.tcpip.msc4133.stable": true, "org.matrix.msc3266": true, "org.matrix.msc3981": true,
            "uk.half-shot.msc2666.query_mutual_rooms": true, "uk.half-shot.msc2666.query_mutual_rooms.stable": true,
            "fi.mau.msc2659.stable": true, "org.matrix.msc4380": true, "org.matrix.msc4380.stable": true,
            "org.matrix.simplified_msc3575": true },
    }))
}

/// `GET /health`: 200 while the server answers at all.
async fn health() -> &'static str {
    "OK"
}
