//! Typing notices.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State};
use ruma::{OwnedRoomId, OwnedUserId, api::client::typing::create_typing_event::v3::Request};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path},
        ruma_route::RumaRoute,
    },
    app::App,
    rooms::typing::DEFAULT_TYPING,
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().ruma_route::<Request, _, _>(put_typing)
}

#[derive(Deserialize)]
struct Notice {
    typing: bool,
    /// Milliseconds.
    timeout: Option<u64>,
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
async fn put_typing(
    State(app): State<Arc<App>>,
    session: Session,
    Path((room, user)): Path<(OwnedRoomId, OwnedUserId)>,
    Json(notice): Json<Notice>,
) -> ApiResult<Json<Value>> {
    if user != session.user {
        return Err(ApiError::forbidden("typing notices are sent for oneself only"));
    }
    if !app.rooms.members.is_joined(&user, &room) {
        return Err(ApiError::forbidden("you are not in this room"));
    }
    if notice.typing && !app.is_hidden(&user) {
        app.typing.mark(&room).await;
        app.typing.start(&room, &user, notice.timeout.map_or(DEFAULT_TYPING, Duration::from_millis));
        // Who goes on typing is no change here; other servers are told from time to time.
        app.say_typing(&room);
    } else {
        app.typing.stop(&room, &user);
    }
    Ok(Json(json!({})))
}
