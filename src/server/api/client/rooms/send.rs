//! Sending messages and redactions.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    OwnedEventId,
    api::client::{message::send_message_event, redact::redact_event},
};
use serde::Serialize;

use super::{action::Asked, form::stream_token};
use crate::server::{
    api::{
        error::ApiResult,
        extract::{AnswerForm, Json, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    session::Session,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<send_message_event::v3::Request, _, _>(send)
        .ruma_route::<redact_event::v3::Request, _, _>(redact)
}

/// The event that was sent, and from where its stream goes on (M12), if that was asked for.
#[derive(Serialize)]
struct Sent {
    event_id: OwnedEventId,
    #[serde(rename = "org.pilotlight.position", skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
async fn send(
    State(app): State<Arc<App>>,
    session: Session,
    form: AnswerForm,
    asked: Asked,
    Ruma(request): Ruma<send_message_event::v3::Request>,
) -> ApiResult<Json<Sent>> {
    let (order, room) = (asked.with(&request.txn_id)?, request.room_id.clone());
    let (rooms, by) = (Arc::clone(&app.rooms), session.clone());
    let act = async move {
        let kind = request.event_type.to_string();
        let json = request.body.json().get();
        rooms.send_message(&by, &request.room_id, &kind, &request.txn_id, json).await
    };
    let sent = app.rooms.in_order(&session, room.as_str(), order, act).await?;
    let position = (form == AnswerForm::Full).then(|| stream_token(sent.position));
    Ok(Json(Sent { event_id: sent.event_id, position }))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
async fn redact(
    State(app): State<Arc<App>>,
    session: Session,
    asked: Asked,
    Ruma(request): Ruma<redact_event::v3::Request>,
) -> ApiResult<Ruma<redact_event::v3::Response>> {
    let (order, room) = (asked.with(&request.txn_id)?, request.room_id.clone());
    let (rooms, by) = (Arc::clone(&app.rooms), session.clone());
    let act = async move {
        let (event, reason) = (&request.event_id, request.reason);
        rooms.redact(&by, &request.room_id, event, &request.txn_id, reason).await
    };
    let event_id = app.rooms.in_order(&session, room.as_str(), order, act).await?;
    Ok(Ruma(redact_event::v3::Response::new(event_id)))
}
