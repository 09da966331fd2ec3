//! A room's events and state, for servers that take part in it.
//!
//! Server-server API, "Retrieving events", "Backfilling and retrieving missing events".

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use ruma::{OwnedEventId, OwnedRoomId, api::Direction};
use serde::Deserialize;
use serde_json::{Value, json};

use super::form::{raw, transaction, write_pdus};
use crate::server::{
    answers::{Size, aside},
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path, Query},
        federation::signed::Signed,
        large::Paper,
    },
    app::App,
    rooms::host::StateAt,
    store::Order,
};

/// Missing events that are told when nobody says how many.
const MISSING: usize = 10;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/federation/v1/event/{event}", get(event))
        .route("/_matrix/federation/v1/state/{room}", get(state))
        .route("/_matrix/federation/v1/state_ids/{room}", get(state_ids))
        .route("/_matrix/federation/v1/event_auth/{room}/{event}", get(event_auth))
        .route("/_matrix/federation/v1/backfill/{room}", get(backfill))
        .route("/_matrix/federation/v1/get_missing_events/{room}", post(missing_events))
        .route("/_matrix/federation/v1/timestamp_to_event/{room}", get(near))
}

/// `GET /_matrix/federation/v1/event/{eventId}`
async fn event(
    State(app): State<Arc<App>>,
    Path(event): Path<OwnedEventId>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    let pdu = app.rooms.event_for(&signed.origin, &event).await?;
    transaction(&app, vec![pdu]).map(Json)
}

/// Before which event a state is asked for.
#[derive(Deserialize)]
struct Before {
    event_id: Option<OwnedEventId>,
}

impl Before {
    fn event(self) -> ApiResult<OwnedEventId> {
        self.event_id.ok_or_else(|| ApiError::missing_param("event_id is missing"))
    }
}

/// `GET /_matrix/federation/v1/state/{roomId}`
async fn state(
    State(app): State<Arc<App>>,
    Path(room): Path<OwnedRoomId>,
    Query(before): Query<Before>,
    signed: Signed,
) -> ApiResult<Response> {
    let event = before.event()?;
    let paper = Paper::for_server(&app, &signed.origin, Size::Whole).await;
    aside(async {
        let StateAt { state, auth_chain } = app.rooms.state_for(&signed.origin, &room, &event).await?;
        let mut answer = paper.object();
        write_pdus(&app, "auth_chain", auth_chain, &mut answer).await?;
        write_pdus(&app, "pdus", state.into_values(), &mut answer).await?;
        answer.answer()
    })
    .await
}

/// `GET /_matrix/federation/v1/state_ids/{roomId}`
async fn state_ids(
    State(app): State<Arc<App>>,
    Path(room): Path<OwnedRoomId>,
    Query(before): Query<Before>,
    signed: Signed,
) -> ApiResult<Response> {
    let event = before.event()?;
    let paper = Paper::for_server(&app, &signed.origin, Size::Whole).await;
    aside(async {
        let StateAt { state, auth_chain } = app.rooms.state_for(&signed.origin, &room, &event).await?;
        let mut answer = paper.object();
        for (key, ids) in [
            ("auth_chain_ids", auth_chain.into_iter().collect::<Vec<_>>()),
            ("pdu_ids", state.into_values().collect()),
        ] {
            let list = answer.out.open_array(key);
            ids.iter().for_each(|id| answer.out.string_element(id.as_str()));
            answer.out.end_even_if_empty(list);
        }
        answer.answer()
    })
    .await
}

/// `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
async fn event_auth(
    State(app): State<Arc<App>>,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    signed: Signed,
) -> ApiResult<Response> {
    let paper = Paper::for_server(&app, &signed.origin, Size::Whole).await;
    aside(async {
        let chain = app.rooms.auth_chain_for(&signed.origin, &room, &event).await?;
        let mut answer = paper.object();
        write_pdus(&app, "auth_chain", chain, &mut answer).await?;
        answer.answer()
    })
    .await
}

/// From where on the past is asked for, and how much of it.
#[derive(Deserialize)]
struct Backfill {
    #[serde(default)]
    v: Vec<OwnedEventId>,
    limit: Option<usize>,
}

/// `GET /_matrix/federation/v1/backfill/{roomId}`
async fn backfill(
    State(app): State<Arc<App>>,
    Path(room): Path<OwnedRoomId>,
    Query(Backfill { v, limit }): Query<Backfill>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    let limit = limit.ok_or_else(|| ApiError::missing_param("limit is missing"))?;
    if v.is_empty() {
        return Err(ApiError::missing_param("v is missing"));
    }
    let pdus = app.rooms.backfill_for(&signed.origin, &room, &v, limit).await?;
    transaction(&app, pdus).map(Json)
}

/// Which events are missing.
#[derive(Deserialize)]
struct Missing {
    #[serde(default)]
    earliest_events: Vec<OwnedEventId>,
    #[serde(default)]
    latest_events: Vec<OwnedEventId>,
    #[serde(default)]
    min_depth: u64,
    limit: Option<usize>,
}

/// `POST /_matrix/federation/v1/get_missing_events/{roomId}`
async fn missing_events(
    State(app): State<Arc<App>>,
    Path(room): Path<OwnedRoomId>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    let Missing { earliest_events, latest_events, min_depth, limit } = signed.json()?;
    let between = (&*latest_events, &*earliest_events);
    let limit = limit.unwrap_or(MISSING);
    let pdus = app.rooms.missing_for(&signed.origin, &room, between, min_depth, limit).await?;
    Ok(Json(json!({ "events": raw(pdus)? })))
}

/// When, and in which direction.
#[derive(Deserialize)]
struct Near {
    ts: u64,
    dir: Direction,
}

/// `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
async fn near(
    State(app): State<Arc<App>>,
    Path(room): Path<OwnedRoomId>,
    Query(Near { ts, dir }): Query<Near>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    let order = match dir {
        Direction::Forward => Order::OldestFirst,
        Direction::Backward => Order::NewestFirst,
    };
    let (event_id, origin_server_ts) = app.rooms.event_near_for(&signed.origin, &room, ts, order).await?;
    Ok(Json(json!({ "event_id": event_id, "origin_server_ts": origin_server_ts })))
}
