//! Messages from device to device.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State};
use ruma::{
    OwnedUserId, ServerName, UserId,
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
    devices::across::MessageEvent,
    session::Session,
    store::{MessageAcross, ToDevice},
};

/// The most devices that one request may send to.
const MAX_MESSAGES: usize = 10_000;

/// Bytes of the messages in one EDU to another server, about.
const MAX_EDU: usize = 64 << 10;

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
    let event_type = request.event_type.to_string();
    let (mut messages, mut across) = (Vec::new(), BTreeMap::<&ServerName, Vec<_>>::new());
    let all = request.messages.iter().flat_map(|(user, devices)| std::iter::repeat(user).zip(devices));
    for (user, (device, content)) in all {
        let content = content.json();
        if !content.get().starts_with('{') {
            return Err(ApiError::bad_json("each message is an object"));
        }
        if user.server_name() != app.server_name() {
            across.entry(user.server_name()).or_default().push((user, device, content));
            continue;
        }
        let event = MessageEvent { r#type: &event_type, sender: session.user.as_str(), content };
        let event = serde_json::to_string(&event).map_err(ApiError::internal)?;
        let devices = match device {
            DeviceIdOrAllDevices::DeviceId(device) => vec![device.clone()],
            DeviceIdOrAllDevices::AllDevices => {
                app.store.devices(user).await?.into_iter().map(|d| d.id).collect()
            }
        };
        let to =
            devices.into_iter().map(|device| ToDevice { user: user.clone(), device, event: event.clone() });
        messages.extend(to);
    }
    if messages.len() + across.values().map(Vec::len).sum::<usize>() > MAX_MESSAGES {
        return Err(ApiError::too_large(format!("more than {MAX_MESSAGES} devices in one request")));
    }
    let mut edus = Vec::new();
    for (server, messages) in across {
        if app.federation.as_ref().is_some_and(|federation| federation.policy.speaks_with(server)) {
            edus.extend(split(server, &session.user, &event_type, messages)?);
        }
    }
    let named = (event_type, request.txn_id.to_string());
    app.store.queue_to_device(session, named, app.unix_ms(), messages, edus).await?;
    Ok(Ruma(Response::new()))
}

/// A message for one device, or all of a user.
type Message<'a> = (&'a OwnedUserId, &'a DeviceIdOrAllDevices, &'a RawValue);

/// The content of an EDU.
#[derive(Serialize)]
struct Direct<'a> {
    sender: &'a UserId,
    r#type: &'a str,
    message_id: String,
    messages: BTreeMap<&'a OwnedUserId, BTreeMap<&'a DeviceIdOrAllDevices, &'a RawValue>>,
}

/// What goes to one server, in as many EDUs as it takes for none to be large.
fn split(
    server: &ServerName,
    sender: &UserId,
    event_type: &str,
    messages: Vec<Message<'_>>,
) -> ApiResult<Vec<MessageAcross>> {
    let (mut edus, mut rest) = (Vec::new(), messages.into_iter().peekable());
    while rest.peek().is_some() {
        let (mut size, mut some) = (0, BTreeMap::<_, BTreeMap<_, _>>::new());
        while let Some((user, device, content)) = rest.next_if(|(_, _, content)| {
            let fits = size == 0 || size + content.get().len() <= MAX_EDU;
            size += content.get().len();
            fits
        }) {
            some.entry(user).or_default().insert(device, content);
        }
        // Never the same again, not even of a server that was put back from a backup.
        let message_id = format!("{:032x}", rand::random::<u128>());
        let edu = Direct { sender, r#type: event_type, message_id, messages: some };
        let content = serde_json::to_string(&edu).map_err(ApiError::internal)?;
        edus.push(MessageAcross { server: server.to_owned(), content });
    }
    Ok(edus)
}
