//! Reading and setting a room's state; who is in it.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use ruma::{
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

use super::{
    action::Asked,
    form::{Sent, client_json, place, sent, write_state},
};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{AnswerForm, By, Json, Ruma},
        large::Paper,
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
    form: AnswerForm,
    (asked, by): (Asked, By),
    Ruma(request): Ruma<send_state_event::v3::Request>,
) -> ApiResult<Json<Sent>> {
    let (actor, order) = asked.of(&session)?;
    let actor = by.at(actor, request.timestamp);
    let (asked_of, room) = (Arc::clone(&app), request.room_id.clone());
    let said = (form == AnswerForm::Full).then(|| request.body.json().to_owned());
    let act = async move {
        let kind = request.event_type.to_string();
        let named = (&*kind, &*request.state_key);
        asked_of.set_state(actor, &request.room_id, named, request.body.json().get()).await
    };
    let placed = app.rooms.in_order(&session, room.as_str(), order, act).await?;
    sent(&app, placed, said).await
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
    paper: Paper,
    Ruma(request): Ruma<get_state_events::v3::Request>,
) -> ApiResult<Response> {
    let state = app.rooms.state(&session.user, &request.room_id).await?;
    let mut answer = paper.array();
    write_state((&app, &session), state, |_| true, &mut answer).await?;
    answer.answer()
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members`
async fn members(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    Ruma(request): Ruma<get_member_events::v3::Request>,
) -> ApiResult<Response> {
    let at = request.at.as_deref().map(place).transpose()?;
    let is = |event: &StoredEvent, wanted: &Option<MembershipState>| {
        wanted.as_ref().map(|m| event.membership().is_some_and(|(_, is)| is.as_str() == m.as_str()))
    };
    let keep = |event: &StoredEvent| {
        is(event, &request.membership) != Some(false) && is(event, &request.not_membership) != Some(true)
    };
    let members = app.rooms.members(&session.user, &request.room_id, at).await?;
    let mut answer = paper.object();
    let chunk = answer.out.open_array("chunk");
    write_state((&app, &session), members, keep, &mut answer).await?;
    answer.out.end_even_if_empty(chunk);
    answer.answer()
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
async fn joined(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    Ruma(request): Ruma<joined_members::v3::Request>,
) -> ApiResult<Response> {
    if !app.rooms.members.is_joined(&session.user, &request.room_id) {
        return Err(ApiError::forbidden("you are not in this room"));
    }
    let mut members = app.rooms.members(&session.user, &request.room_id, None).await?;
    let mut answer = paper.object();
    let joined = answer.out.open("joined");
    while !members.is_empty() {
        for event in app.store.next_page(&mut members).await? {
            if let Some((user, Membership::Join)) = event.membership() {
                answer.out.raw(user, &profile(&event)?);
            }
        }
        answer.take().await?;
    }
    answer.out.end_even_if_empty(joined);
    answer.answer()
}

/// What a member goes by; what they have none of is absent.
#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

/// As JSON.
fn profile(event: &StoredEvent) -> ApiResult<String> {
    let content: Value = event.content_as().unwrap_or_default();
    let text = |key: &str| content[key].as_str().map(str::to_owned);
    let shown = Shown { display_name: text("displayname"), avatar_url: text("avatar_url") };
    serde_json::to_string(&shown).map_err(ApiError::internal)
}
