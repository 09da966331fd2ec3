//! Sending messages and redactions.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::{message::send_message_event, redact::redact_event};

use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::{
    action::Asked,
    form::{Sent, sent},
};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
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
    let said = (form == AnswerForm::Full).then(|| request.body.json().to_owned());
    let act = async move {
        let kind = request.event_type.to_string();
        let json = request.body.json().get();
        rooms.send_message(&by, &request.room_id, &kind, &request.txn_id, json).await
    };
    let placed = app.rooms.in_order(&session, room.as_str(), order, act).await?;
    sent(&app, placed, said).await
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
async fn redact(
    State(app): State<Arc<App>>,
    session: Session,
    form: AnswerForm,
    asked: Asked,
    Ruma(request): Ruma<redact_event::v3::Request>,
) -> ApiResult<Json<Sent>> {
    let (order, room) = (asked.with(&request.txn_id)?, request.room_id.clone());
    let (rooms, by) = (Arc::clone(&app.rooms), session.clone());
    let reason = request.reason.clone();
    let act = async move {
        let (event, reason) = (&request.event_id, request.reason);
        rooms.redact(&by, &request.room_id, event, &request.txn_id, reason).await
    };
    let placed = app.rooms.in_order(&session, room.as_str(), order, act).await?;
    let said = (form == AnswerForm::Full).then(|| said_of_redaction(reason.as_deref())).transpose()?;
    sent(&app, placed, said).await
}

/// What a client says of a redaction, as content.
fn said_of_redaction(reason: Option<&str>) -> ApiResult<Box<RawValue>> {
    let content = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    to_raw_value(&content).map_err(ApiError::internal)
}
