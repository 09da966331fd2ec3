//! Presence: a user's state by hand, and what devices say of themselves.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::{get, put},
};
use ruma::{OwnedUserId, UInt, UserId};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::{
    core::presence::{Choice, DeviceType, SetPresence, StatusMsg, Words},
    server::{
        api::{
            error::{ApiError, ApiResult},
            extract::{By, Json, Path},
        },
        app::App,
        presence::Attendance,
        session::Session,
    },
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    let status = get(get_status).put(put_status);
    Router::new()
        .route("/_matrix/client/v3/presence/{user_id}/status", status.clone())
        .route("/_matrix/client/r0/presence/{user_id}/status", status)
        .route("/_matrix/client/unstable/org.pilotlight/presence/{user_id}/device", put(put_device))
        .route(
            "/_matrix/client/unstable/org.pilotlight/presence/{user_id}/delivery",
            get(get_delivery).put(put_delivery),
        )
}

/// `GET /_matrix/client/v3/presence/{userId}/status`
async fn get_status(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Response> {
    if !app.sight.may_see(&session.user, &user) {
        return Err(ApiError::forbidden("you may not see the presence of this user"));
    }
    app.enquire(&session.user, [&user]).await;
    let body = app.presence_content(&session.user, &user);
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

#[derive(Deserialize)]
struct Status {
    presence: Option<String>,
    /// `None`: absent.
    #[serde(default, deserialize_with = "present")]
    status_msg: Option<Option<String>>,
}

/// A field that is there, be it `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `PUT /_matrix/client/v3/presence/{userId}/status`
async fn put_status(
    State(app): State<Arc<App>>,
    (session, By(by)): (Session, By),
    Path(user): Path<OwnedUserId>,
    Json(status): Json<Status>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    let word = status.presence.ok_or_else(|| ApiError::missing_param("presence is missing"))?;
    let choice: Choice = word.parse().map_err(|e| ApiError::invalid_param(format!("presence: {e}")))?;
    let status_msg = status.status_msg.map_or(Ok(StatusMsg::Keep), StatusMsg::from_nullable);
    let status_msg = status_msg.map_err(|e| ApiError::invalid_param(e.to_string()))?;
    match by.filter(|_| !session.has_device()) {
        None => app.presence.handle_put(&session, choice, status_msg).await?,
        Some(one) => {
            // A bridge knows of its own users what they chose.
            if one.has_user_exclusively(&session.user) {
                app.presence.handle_wish(&session, Words::Ours, choice, status_msg).await?;
            } else {
                app.presence.handle_put(&session, choice, status_msg).await?;
            }
            app.app_services.hold(&one, &session, stays_there(choice)).await?;
        }
    }
    Ok(Json(json!({})))
}

/// How somebody is there of whom an application service says this; `None`: not at all.
fn stays_there(choice: Choice) -> Option<SetPresence> {
    match choice {
        Choice::Offline => None,
        Choice::Unavailable => Some(SetPresence::Unavailable),
        Choice::Hidden | Choice::Busy | Choice::Online | Choice::FreeForChat => Some(SetPresence::Online),
    }
}

#[derive(Deserialize)]
struct DeviceReport {
    idle_ms: Option<UInt>,
    device_type: Option<String>,
}

/// `PUT /_matrix/client/unstable/org.pilotlight/presence/{userId}/device`
async fn put_device(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
    Json(report): Json<DeviceReport>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    let device_type = report
        .device_type
        .map(|word| word.parse::<DeviceType>())
        .transpose()
        .map_err(|e| ApiError::invalid_param(format!("device_type: {e}")))?;
    if report.idle_ms.is_none() && device_type.is_none() {
        return Err(ApiError::missing_param("idle_ms or device_type is missing"));
    }
    let attendance = report.idle_ms.map(|ms| match u64::from(ms) {
        0 => Attendance::Active,
        ms => Attendance::IdleSince(app.now() - Duration::from_millis(ms)),
    });
    app.presence.handle_report(&session, attendance, device_type).await?;
    Ok(Json(json!({})))
}

/// Whether presence is delivered to the device that asks.
#[derive(Deserialize, Serialize)]
struct Delivery {
    enabled: bool,
}

/// `GET /_matrix/client/unstable/org.pilotlight/presence/{userId}/delivery`
async fn get_delivery(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Json<Delivery>> {
    check_own(&session, &user)?;
    Ok(Json(Delivery { enabled: app.presence.deliveries.is_on(&session) }))
}

/// `PUT /_matrix/client/unstable/org.pilotlight/presence/{userId}/delivery`: starts or stops (L8) what the
/// device's streams tell of presence.
async fn put_delivery(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
    Json(Delivery { enabled }): Json<Delivery>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    app.store.put_presence_delivery(session, enabled).await?;
    Ok(Json(json!({})))
}

fn check_own(session: &Session, user: &UserId) -> ApiResult<()> {
    if user == session.user { Ok(()) } else { Err(ApiError::forbidden("presence is set for oneself only")) }
}
