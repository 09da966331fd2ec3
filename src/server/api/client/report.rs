//! Reports to whoever runs the server: of rooms, events and users.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path},
    },
    app::App,
    session::Session,
    store::{Report, Reported},
};

/// The longest reason, in bytes.
const MAX_REASON: usize = 4 << 10;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}");
        router = router
            .route(&format!("{path}/rooms/{{room_id}}/report/{{event_id}}"), post(event))
            .route(&format!("{path}/rooms/{{room_id}}/report"), post(room))
            .route(&format!("{path}/users/{{user_id}}/report"), post(user));
    }
    router
}

#[derive(Deserialize)]
struct Why {
    reason: Option<String>,
}

async fn keep(app: &App, session: Session, what: Reported, why: Why) -> ApiResult<Json<Value>> {
    let reason = why.reason.unwrap_or_default();
    if reason.len() > MAX_REASON {
        return Err(ApiError::too_large(format!("a reason has at most {MAX_REASON} bytes")));
    }
    let report = Report { reported_ms: app.unix_ms(), by: session.user, what, reason };
    app.store.put_report(report).await?;
    // Who runs the server is to look at it; what it says is in the database.
    tracing::warn!("something was reported: see the table `reports`");
    Ok(Json(json!({})))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`
async fn event(
    State(app): State<Arc<App>>,
    session: Session,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    Json(why): Json<Why>,
) -> ApiResult<Json<Value>> {
    if !app.rooms.members.is_joined(&session.user, &room) {
        return Err(ApiError::not_found("there is no such event, or you are not in its room"));
    }
    app.rooms.event(&session.user, &room, &event).await?;
    keep(&app, session, Reported::Event(room, event), why).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report`
async fn room(
    State(app): State<Arc<App>>,
    session: Session,
    Path(room): Path<OwnedRoomId>,
    Json(why): Json<Why>,
) -> ApiResult<Json<Value>> {
    let known = app.store.room(&room).await?;
    known.ok_or_else(|| ApiError::not_found("there is no such room"))?;
    keep(&app, session, Reported::Room(room), why).await
}

/// `POST /_matrix/client/v3/users/{userId}/report`
async fn user(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
    Json(why): Json<Why>,
) -> ApiResult<Json<Value>> {
    let is_ours = user.server_name() == app.server_name();
    if is_ours && app.store.login(&user).await?.is_none() {
        return Err(ApiError::not_found("there is no such user"));
    }
    keep(&app, session, Reported::User(user), why).await
}
