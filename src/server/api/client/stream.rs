//! The held stream: `/sync` that does not end. See docs/API.md.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::sync::{device_type, entered, set_presence};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Query, access_token},
    },
    app::App,
    http::Handover,
    session::{Session, TokenHash},
    stream::{Sources, Token, held::Open},
};

/// Where a client was, by the name that browsers have for it.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Has nginx, and those who do as it does, hand on what comes when it comes.
const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/client/unstable/org.pilotlight/stream", get(stream))
        .route("/_matrix/client/unstable/org.pilotlight/stream/received", post(received))
}

#[derive(Deserialize)]
struct Parameters {
    since: Option<String>,
    filter: Option<String>,
    set_presence: Option<String>,
    #[serde(rename = "org.pilotlight.device_type")]
    device_type: Option<String>,
    #[serde(default, rename = "org.pilotlight.joined")]
    entered: Vec<String>,
}

/// `GET …/stream`
async fn stream(
    State(app): State<Arc<App>>,
    session: Session,
    Query(parameters): Query<Parameters>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().map_err(|_| not_a_place())).transpose()?;
    let since = last.or(parameters.since.as_deref()).filter(|since| !since.is_empty());
    let open = Open {
        since: since.map(str::parse::<Token>).transpose().map_err(|_| not_a_place())?,
        filter: app.stream.filters.named(&session.user, parameters.filter.as_deref()).await?,
        set_presence: set_presence(parameters.set_presence.as_deref())?,
        device_type: device_type(parameters.device_type.as_deref())?,
        entered: entered(&parameters.entered)?,
        token: TokenHash::of(&access_token(&headers, query.as_deref()).unwrap_or_default()),
    };
    let sources = Sources::new(Arc::clone(&app.stream));
    let head = [(CONTENT_TYPE, "text/event-stream"), NO_BUFFERING];
    let mut answer = (StatusCode::OK, head).into_response();
    answer.extensions_mut().insert(Handover::to(open.begin(&app.hub, sources, session)));
    Ok(answer)
}

#[derive(Deserialize)]
struct Received {
    id: Option<String>,
    #[serde(default)]
    joined: Vec<String>,
}

/// `POST …/stream/received`: the messages for the device up to `id` need not be kept, and it has the answers to its joins
/// that `joined` names.
async fn received(
    State(app): State<Arc<App>>,
    session: Session,
    Json(body): Json<Received>,
) -> ApiResult<Json<Value>> {
    let entered = entered(&body.joined)?;
    if body.id.is_none() && entered.is_empty() {
        return Err(ApiError::bad_json("say what was received: id or joined"));
    }
    if let Some(id) = body.id {
        let token: Token = id.parse().map_err(|_| not_a_place())?;
        Sources::new(Arc::clone(&app.stream)).acknowledge(&session, &token).await?;
    }
    entered.iter().for_each(|entered| app.hub.confirm(&session, entered));
    Ok(Json(json!({})))
}

fn not_a_place() -> ApiError {
    ApiError::invalid_param("that is not where a stream of this server was")
}
