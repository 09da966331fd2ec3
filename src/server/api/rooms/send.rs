//! Sending messages and redactions.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::{message::send_message_event, redact::redact_event};

use crate::server::{
    app::App,
    http::{ApiResult, Ruma, RumaRoute, Session},
    rooms,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<send_message_event::v3::Request, _, _>(send)
        .ruma_route::<redact_event::v3::Request, _, _>(redact)
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
async fn send(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<send_message_event::v3::Request>,
) -> ApiResult<Ruma<send_message_event::v3::Response>> {
    app.typing.stop(&request.room_id, &session.user, &app.live);
    let event_id = rooms::send_message(
        &app,
        &session,
        &request.room_id,
        &request.event_type.to_string(),
        &request.txn_id,
        request.body.json().get(),
    )
    .await?;
    app.handle_pro_active(&session.user)?;
    Ok(Ruma(send_message_event::v3::Response::new(event_id)))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
async fn redact(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<redact_event::v3::Request>,
) -> ApiResult<Ruma<redact_event::v3::Response>> {
    let event_id =
        rooms::redact(&app, &session, &request.room_id, &request.event_id, &request.txn_id, request.reason)
            .await?;
    Ok(Ruma(redact_event::v3::Response::new(event_id)))
}
