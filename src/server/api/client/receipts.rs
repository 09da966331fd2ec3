//! Read receipts and read markers.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    EventId, RoomId,
    api::client::{
        read_marker::set_read_marker::v3 as read_marker,
        receipt::create_receipt::v3::{self as create_receipt, ReceiptType},
    },
    events::receipt::ReceiptThread,
};
use serde::Deserialize;
use serde_json::json;

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::Ruma,
        ruma_route::RumaRoute,
    },
    app::App,
    session::Session,
    store::{AccountDataKey, Receipt},
    stream::thread_of,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<create_receipt::Request, _, _>(post_receipt)
        .ruma_route::<read_marker::Request, _, _>(post_read_markers)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
async fn post_receipt(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<create_receipt::Request>,
) -> ApiResult<Ruma<create_receipt::Response>> {
    let thread = match &request.thread {
        ReceiptThread::Unthreaded => String::new(),
        thread => match thread.as_str() {
            Some(thread) if !thread.is_empty() => thread.to_owned(),
            _ => return Err(ApiError::invalid_param("thread_id is main or the event ID of a root")),
        },
    };
    if request.receipt_type == ReceiptType::FullyRead && !thread.is_empty() {
        return Err(ApiError::invalid_param("m.fully_read is not for threads"));
    }
    if !thread.is_empty() {
        check_thread(&app, &request.room_id, &request.event_id, &thread).await?;
    }
    mark(&app, &session, &request.room_id, &request.event_id, &request.receipt_type, thread).await?;
    Ok(Ruma(create_receipt::Response::new()))
}

/// Whether a receipt in `thread` can stand on `event`: one that is in the thread, or its root. What is not here is in none.
async fn check_thread(app: &App, room: &RoomId, event: &EventId, thread: &str) -> ApiResult<()> {
    let known = app.store.event(event).await?.filter(|event| event.room_id == *room);
    let root = match &known {
        Some(event) => thread_of(&app.store, event).await?,
        None => None,
    };
    let fits = match &root {
        Some(root) => root == thread,
        None => thread == "main" || event == thread,
    };
    if fits { Ok(()) } else { Err(ApiError::invalid_param("the event is not in that thread")) }
}

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`
async fn post_read_markers(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<read_marker::Request>,
) -> ApiResult<Ruma<read_marker::Response>> {
    let marks = [
        (request.fully_read, ReceiptType::FullyRead),
        (request.read_receipt, ReceiptType::Read),
        (request.private_read_receipt, ReceiptType::ReadPrivate),
    ];
    for (event, kind) in marks {
        if let Some(event) = event {
            mark(&app, &session, &request.room_id, &event, &kind, String::new()).await?;
        }
    }
    Ok(Ruma(read_marker::Response::new()))
}

/// Where the marker of what was read is kept.
const FULLY_READ: &str = "m.fully_read";

#[derive(Deserialize)]
struct Marker {
    event_id: String,
}

/// Keeps one mark and tells whoever may see it. One that stands before the last, or on no event of the room, changes nothing.
async fn mark(
    app: &Arc<App>,
    session: &Session,
    room: &RoomId,
    event: &EventId,
    kind: &ReceiptType,
    thread: String,
) -> ApiResult<()> {
    if !app.rooms.members.is_joined(&session.user, room) {
        return Err(ApiError::forbidden("you are not in this room"));
    }
    // What a hidden user reads is for themselves (P4). Kept as a private receipt it also leaves the one that others
    // saw where it was.
    let private = *kind == ReceiptType::ReadPrivate || app.is_hidden(&session.user);
    let kind = match kind {
        ReceiptType::FullyRead => {
            let before = app.store.account_data(&session.user, Some(room), FULLY_READ).await?;
            let before = before.and_then(|content| serde_json::from_str::<Marker>(&content).ok());
            let before = before.as_ref().map(|marker| marker.event_id.as_str());
            if !app.store.is_after(room, event.as_str(), before).await? {
                return Ok(());
            }
            let key = AccountDataKey {
                user: session.user.clone(),
                room: Some(room.to_owned()),
                kind: FULLY_READ.to_owned(),
            };
            app.own_data.set(key, json!({ "event_id": event }).to_string()).await?;
            return Ok(());
        }
        ReceiptType::Read | ReceiptType::ReadPrivate if private => ReceiptType::ReadPrivate,
        ReceiptType::Read => ReceiptType::Read,
        _ => return Err(ApiError::invalid_param("a receipt is m.read, m.read.private or m.fully_read")),
    };
    let receipt = Receipt {
        room: room.to_owned(),
        user: session.user.clone(),
        kind: kind.as_str().to_owned(),
        thread,
        event: event.to_string(),
        ts_ms: app.unix_ms(),
        shown: !private,
    };
    app.store.put_receipt(receipt).await?;
    Ok(())
}
