//! Reading and setting a room's state; who is in it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use ruma::{
    OwnedUserId,
    api::client::{
        membership::{get_member_events, joined_members},
        state::{
            get_state_event_for_key::{self, v3::StateEventFormat},
            get_state_events, send_state_event,
        },
    },
    events::room::member::MembershipState,
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::form::{client_json, place};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    event::stored::{Membership, StoredEvent},
    session::Session,
};

pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new()
        .ruma_route::<send_state_event::v3::Request, _, _>(put)
        .ruma_route::<get_state_event_for_key::v3::Request, _, _>(one)
        .ruma_route::<get_state_events::v3::Request, _, _>(all)
        .ruma_route::<get_member_events::v3::Request, _, _>(members)
        .ruma_route::<joined_members::v3::Request, _, _>(joined);
    // The state key may be left out, with its slash or without.
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/rooms/{{room_id}}/state/{{event_type}}");
        router = router.route(&path, get(one).put(put)).route(&format!("{path}/"), get(one).put(put));
    }
    router
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn put(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<send_state_event::v3::Request>,
) -> ApiResult<Ruma<send_state_event::v3::Response>> {
    let kind = request.event_type.to_string();
    let content = request.body.json().get();
    let named = (&*kind, &*request.state_key);
    let event_id = app.set_state(&session, &request.room_id, named, content).await?;
    Ok(Ruma(send_state_event::v3::Response::new(event_id)))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn one(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_state_event_for_key::v3::Request>,
) -> ApiResult<Json<Box<RawValue>>> {
    let kind = request.event_type.to_string();
    let event = app.rooms.state_event(&session.user, &request.room_id, &kind, &request.state_key).await?;
    Ok(Json(match request.format {
        StateEventFormat::Event => client_json(&app, &session, &event),
        _ => event.content().to_owned(),
    }))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`
async fn all(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_state_events::v3::Request>,
) -> ApiResult<Json<Vec<Box<RawValue>>>> {
    let state = app.rooms.state(&session.user, &request.room_id).await?;
    Ok(Json(state.iter().map(|event| client_json(&app, &session, event)).collect()))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members`
async fn members(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<get_member_events::v3::Request>,
) -> ApiResult<Response> {
    #[derive(Serialize)]
    struct Answer {
        chunk: Vec<Box<RawValue>>,
    }
    let at = request.at.as_deref().map(place).transpose()?;
    let is = |event: &StoredEvent, wanted: &Option<MembershipState>| {
        wanted.as_ref().map(|m| event.membership().is_some_and(|(_, is)| is.as_str() == m.as_str()))
    };
    let mut events = app.rooms.members(&session.user, &request.room_id, at).await?;
    events.retain(|event| {
        is(event, &request.membership) != Some(false) && is(event, &request.not_membership) != Some(true)
    });
    let chunk = events.iter().map(|event| client_json(&app, &session, event)).collect();
    Ok(Json(Answer { chunk }).into_response())
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
async fn joined(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<joined_members::v3::Request>,
) -> ApiResult<Response> {
    #[derive(Serialize)]
    struct Answer {
        joined: BTreeMap<OwnedUserId, Shown>,
    }
    if !app.rooms.members.is_joined(&session.user, &request.room_id) {
        return Err(ApiError::forbidden("you are not in this room"));
    }
    let events = app.rooms.members(&session.user, &request.room_id, None).await?;
    let joined = events.iter().filter_map(|event| {
        let (user, membership) = event.membership()?;
        let user = OwnedUserId::try_from(user).ok()?;
        (membership == Membership::Join).then(|| (user, profile(event)))
    });
    Ok(Json(Answer { joined: joined.collect() }).into_response())
}

/// What a member goes by; what they have none of is absent.
#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

fn profile(event: &StoredEvent) -> Shown {
    let content: Value = event.content_as().unwrap_or_default();
    let text = |key: &str| content[key].as_str().map(str::to_owned);
    Shown { display_name: text("displayname"), avatar_url: text("avatar_url") }
}
