//! Reading and setting a room's state.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::state::send_state_event;

use crate::server::{
    app::App,
    http::{ApiResult, Ruma, RumaRoute, Session},
    rooms,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().ruma_route::<send_state_event::v3::Request, _, _>(put)
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn put(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<send_state_event::v3::Request>,
) -> ApiResult<Ruma<send_state_event::v3::Response>> {
    let event_id = rooms::send_state(
        &app,
        &session,
        &request.room_id,
        &request.event_type.to_string(),
        &request.state_key,
        request.body.json().get(),
    )
    .await?;
    Ok(Ruma(send_state_event::v3::Response::new(event_id)))
}
