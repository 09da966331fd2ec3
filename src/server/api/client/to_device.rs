//! Messages from device to device.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    api::client::to_device::send_event_to_device::v3::{Request, Response},
    to_device::DeviceIdOrAllDevices,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::Ruma,
        ruma_route::RumaRoute,
    },
    app::App,
    session::Session,
    store::ToDevice,
};

/// The most devices that one request may send to.
const MAX_MESSAGES: usize = 10_000;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().ruma_route::<Request, _, _>(put_to_device)
}

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
async fn put_to_device(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<Request>,
) -> ApiResult<Ruma<Response>> {
    #[derive(Serialize)]
    struct Event<'a> {
        r#type: &'a str,
        sender: &'a str,
        content: &'a RawValue,
    }
    let event_type = request.event_type.to_string();
    let mut messages = Vec::new();
    for (user, devices) in &request.messages {
        if user.server_name() != app.server_name() {
            continue;
        }
        for (device, content) in devices {
            let event = Event { r#type: &event_type, sender: session.user.as_str(), content: content.json() };
            let event = serde_json::to_string(&event).map_err(ApiError::internal)?;
            let devices = match device {
                DeviceIdOrAllDevices::DeviceId(device) => vec![device.clone()],
                DeviceIdOrAllDevices::AllDevices => {
                    app.store.devices(user).await?.into_iter().map(|d| d.id).collect()
                }
            };
            let to = devices.into_iter().map(|device| ToDevice {
                user: user.clone(),
                device,
                event: event.clone(),
            });
            messages.extend(to);
        }
    }
    if messages.len() > MAX_MESSAGES {
        return Err(ApiError::too_large(format!("more than {MAX_MESSAGES} devices in one request")));
    }
    let txn = request.txn_id.to_string();
    app.store.queue_to_device(session, event_type, txn, app.unix_ms(), messages).await?;
    Ok(Ruma(Response::new()))
}
