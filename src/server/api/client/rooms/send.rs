//! Sending messages and redactions.

use std::sync::Arc;

use axum::{Router, extract::State, routing::post};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, TransactionId, UInt,
    api::client::{message::send_message_event, redact::redact_event},
    serde::Raw,
};
use serde::Deserialize;
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
        extract::{AnswerForm, By, Json, Path, Query, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    rooms::Actor,
    session::Session,
};

pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for version in ["api/v1", "r0", "v3"] {
        let room = format!("/_matrix/client/{version}/rooms/{{room_id}}");
        router = router
            .route(&format!("{room}/send/{{event_type}}"), post(send_untold))
            .route(&format!("{room}/redact/{{event_id}}"), post(redact_untold));
    }
    router
        .ruma_route::<send_message_event::v3::Request, _, _>(send)
        .ruma_route::<redact_event::v3::Request, _, _>(redact)
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
async fn send(
    State(app): State<Arc<App>>,
    session: Session,
    form: AnswerForm,
    (asked, by): (Asked, By),
    Ruma(request): Ruma<send_message_event::v3::Request>,
) -> ApiResult<Json<Sent>> {
    let _sending = app.stream.in_flight.begin(&session);
    let (order, room) = (asked.with(&request.txn_id)?, request.room_id.clone());
    let (rooms, actor) = (Arc::clone(&app.rooms), by.at(Actor::new(&session, None), request.timestamp));
    let said = (form == AnswerForm::Full).then(|| request.body.json().to_owned());
    let act = async move {
        let kind = request.event_type.to_string();
        let json = request.body.json().get();
        rooms.send_message(actor, &request.room_id, &kind, &request.txn_id, json).await
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
    let _sending = app.stream.in_flight.begin(&session);
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

#[derive(Deserialize)]
struct At {
    ts: Option<UInt>,
}

/// `POST /_matrix/client/v3/rooms/{roomId}/send/{eventType}`, as clients send that cannot repeat themselves: no
/// transaction ID is told.
async fn send_untold(
    State(app): State<Arc<App>>,
    session: Session,
    form: AnswerForm,
    asked: (Asked, By),
    Path((room, kind)): Path<(OwnedRoomId, String)>,
    Query(At { ts }): Query<At>,
    Json(body): Json<Box<RawValue>>,
) -> ApiResult<Json<Sent>> {
    let content = Raw::from_json(body);
    let mut request =
        send_message_event::v3::Request::new_raw(room, TransactionId::new(), kind.into(), content);
    request.timestamp = ts.map(MilliSecondsSinceUnixEpoch);
    send(State(app), session, form, asked, Ruma(request)).await
}

#[derive(Deserialize)]
struct Reason {
    reason: Option<String>,
}

/// `POST /_matrix/client/v3/rooms/{roomId}/redact/{eventId}`, likewise.
async fn redact_untold(
    State(app): State<Arc<App>>,
    session: Session,
    form: AnswerForm,
    asked: Asked,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    Json(Reason { reason }): Json<Reason>,
) -> ApiResult<Json<Sent>> {
    let mut request = redact_event::v3::Request::new(room, event, TransactionId::new());
    request.reason = reason;
    redact(State(app), session, form, asked, Ruma(request)).await
}

/// What a client says of a redaction, as content.
fn said_of_redaction(reason: Option<&str>) -> ApiResult<Box<RawValue>> {
    let content = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    to_raw_value(&content).map_err(ApiError::internal)
}
