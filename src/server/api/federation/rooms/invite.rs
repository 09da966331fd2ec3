//! Users of other servers invite those of this one.
//!
//! Server-server API, "Inviting to a room".

use std::sync::Arc;

use axum::{Router, extract::State, routing::put};
use ruma::{OwnedEventId, OwnedRoomId, RoomVersionId};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path},
        federation::signed::Signed,
    },
    app::App,
    rooms::{Refusal, host::Brought},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/federation/v1/invite/{room}/{event}", put(invite_v1))
        .route("/_matrix/federation/v2/invite/{room}/{event}", put(invite))
}

#[derive(Deserialize)]
struct Invite {
    room_version: String,
    event: Box<RawValue>,
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

/// `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
async fn invite(
    State(app): State<Arc<App>>,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    let Invite { room_version, event: text, invite_room_state } = signed.json()?;
    let version =
        RoomVersionId::try_from(room_version).map_err(|_| ApiError::from(Refusal::UnsupportedVersion))?;
    let brought = Brought { version, event: text.get(), shown: invite_room_state };
    let answer = app.take_invite(&signed.origin, (&room, &event), brought).await?;
    let answer = RawValue::from_string(answer).map_err(ApiError::internal)?;
    Ok(Json(json!({ "event": answer })))
}

/// `PUT /_matrix/federation/v1/invite/{roomId}/{eventId}`: for rooms of the first two versions, of which this server has
/// none.
async fn invite_v1(_: Signed) -> ApiResult<Json<Value>> {
    Err(Refusal::IncompatibleVersion(RoomVersionId::V1).into())
}
