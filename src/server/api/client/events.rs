//! `/initialSync` and `/events`: how clients began, and followed, before there was `/sync`; and single events by their ID.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};
use ruma::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    rooms::{check_heard, with_relations},
    sync::{device_type, set_presence},
};
use crate::server::{
    api::{
        around,
        error::{ApiError, ApiResult},
        extract::{AnswerForm, Json, Path, Query},
    },
    app::App,
    http::Lendable,
    rooms::{Access, Refusal},
    session::Session,
    stream::{
        Sources, Token,
        events::{MAX_EVENTS, Poll, Scope},
        initial_sync,
    },
};

/// How long a reader waits who does not say how long.
const DEFAULT_WAIT_MS: u64 = 30_000;

/// Events of each room's timeline that a client begins with when it does not say.
const DEFAULT_LIMIT: u32 = 10;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    ["api/v1", "r0", "v3"].iter().fold(Router::new(), |router, version| {
        let root = format!("/_matrix/client/{version}");
        router
            .route(&format!("{root}/initialSync"), get(initial_sync))
            .route(&format!("{root}/events"), get(events))
            .route(&format!("{root}/events/{{event_id}}"), get(event))
    })
}

#[derive(Deserialize)]
struct Beginning {
    limit: Option<u32>,
    #[serde(default)]
    archived: bool,
}

/// `GET /_matrix/client/v3/initialSync`
async fn initial_sync(
    State(app): State<Arc<App>>,
    session: Session,
    Query(asked): Query<Beginning>,
    form: AnswerForm,
) -> ApiResult<Response> {
    let wanted = initial_sync::Wanted {
        limit: asked.limit.unwrap_or(DEFAULT_LIMIT),
        archived: asked.archived,
        summaries: form == AnswerForm::Full,
    };
    let sources = Sources::new(Arc::clone(&app.stream));
    let body = initial_sync::answer(&sources, &session, wanted).await?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

#[derive(Deserialize)]
struct Parameters {
    from: Option<String>,
    timeout: Option<u64>,
    room_id: Option<OwnedRoomId>,
    limit: Option<usize>,
    filter: Option<String>,
    set_presence: Option<String>,
    #[serde(rename = "org.pilotlight.device_type")]
    device_type: Option<String>,
}

/// `GET /_matrix/client/v3/events`
async fn events(
    State(app): State<Arc<App>>,
    session: Session,
    Query(asked): Query<Parameters>,
    lendable: Option<Extension<Lendable>>,
) -> Response {
    around::in_a_while(lendable, follow(app, session, asked)).await
}

/// Answers as soon as there is something to say.
async fn follow(app: Arc<App>, session: Session, asked: Parameters) -> ApiResult<Response> {
    let poll = Poll {
        from: from(&app, asked.from.as_deref())?,
        scope: scope(&app, &session, asked.room_id).await?,
        filter: app.stream.filters.named(&session.user, asked.filter.as_deref()).await?,
        limit: asked.limit.unwrap_or(MAX_EVENTS).clamp(1, MAX_EVENTS),
        timeout: Duration::from_millis(asked.timeout.unwrap_or(DEFAULT_WAIT_MS)),
        set_presence: set_presence(asked.set_presence.as_deref())?,
        device_type: device_type(asked.device_type.as_deref())?,
    };
    let sources = Sources::new(Arc::clone(&app.stream));
    let body = poll.answer(&sources, &session).await?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Where to go on. `END` is what clients said for here and now before `from` could be left out.
fn from(app: &App, from: Option<&str>) -> ApiResult<Option<Token>> {
    let Some(from) = from.filter(|from| !matches!(*from, "" | "END")) else { return Ok(None) };
    let token: Token =
        from.parse().map_err(|_| ApiError::invalid_param("from is not a token of this server"))?;
    // Of a place that this log has not reached nothing can be told that is new, and all of the past is no stream.
    match token.is_reached(app.store.log_position()) {
        true => Ok(Some(token)),
        false => Err(ApiError::invalid_param("from is a token of another database: begin with /initialSync")),
    }
}

async fn scope(app: &App, session: &Session, room: Option<OwnedRoomId>) -> ApiResult<Scope> {
    let Some(room) = room else { return Ok(Scope::Everything) };
    match app.rooms.access(&session.user, &room).await? {
        Access::Joined => Ok(Scope::Room(room)),
        Access::Peek => Ok(Scope::Peek(room)),
        Access::Until(_) => Err(ApiError::forbidden("you are not in this room")),
    }
}

/// `GET /_matrix/client/v3/events/{eventId}`
async fn event(
    State(app): State<Arc<App>>,
    session: Session,
    Path(event_id): Path<OwnedEventId>,
) -> ApiResult<Json<Box<RawValue>>> {
    let absent = || ApiError::not_found("there is no such event, or you may not see it");
    let room = app.store.event(&event_id).await?.ok_or_else(absent)?.room_id.clone();
    let event = match app.rooms.event(&session.user, &room, &event_id).await {
        Err(Refusal::NotFound(_)) => return Err(absent()),
        event => event?,
    };
    check_heard(&app, &session, &event)?;
    Ok(Json(with_relations(&app, &session, event).await?))
}
