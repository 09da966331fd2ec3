//! Users of other servers come into rooms by this one, leave them, or knock.
//!
//! Server-server API, "Joining rooms", "Knocking upon a room", "Leaving rooms (rejecting invites)".

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, put},
};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::form::{with_status, write_pdus};
use crate::server::{
    answers::{Size, aside},
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path, Query},
        federation::signed::Signed,
        large::{Paper, Written},
    },
    app::App,
    rooms::{Entrance, host::Entered},
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/federation/v1/make_join/{room}/{user}", get(make_join))
        .route("/_matrix/federation/v1/make_leave/{room}/{user}", get(make_leave))
        .route("/_matrix/federation/v1/make_knock/{room}/{user}", get(make_knock))
        .route("/_matrix/federation/v1/send_join/{room}/{event}", put(send_join_v1))
        .route("/_matrix/federation/v2/send_join/{room}/{event}", put(send_join))
        .route("/_matrix/federation/v1/send_leave/{room}/{event}", put(send_leave_v1))
        .route("/_matrix/federation/v2/send_leave/{room}/{event}", put(send_leave))
        .route("/_matrix/federation/v1/send_knock/{room}/{event}", put(send_knock))
}

/// The room versions that a server has; none: only the first.
#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    ver: Vec<String>,
}

impl Versions {
    fn or_first(self) -> Vec<String> {
        if self.ver.is_empty() { vec!["1".to_owned()] } else { self.ver }
    }
}

/// `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`
async fn make_join(
    State(app): State<Arc<App>>,
    Path(about): Path<(OwnedRoomId, OwnedUserId)>,
    Query(versions): Query<Versions>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    make(&app, &about, Entrance::Join, &versions.or_first(), &signed).await
}

/// `GET /_matrix/federation/v1/make_leave/{roomId}/{userId}`
async fn make_leave(
    State(app): State<Arc<App>>,
    Path(about): Path<(OwnedRoomId, OwnedUserId)>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    make(&app, &about, Entrance::Leave, &[], &signed).await
}

/// `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`
async fn make_knock(
    State(app): State<Arc<App>>,
    Path(about): Path<(OwnedRoomId, OwnedUserId)>,
    Query(versions): Query<Versions>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    make(&app, &about, Entrance::Knock, &versions.or_first(), &signed).await
}

async fn make(
    app: &Arc<App>,
    (room, user): &(OwnedRoomId, OwnedUserId),
    entrance: Entrance,
    versions: &[String],
    signed: &Signed,
) -> ApiResult<Json<Value>> {
    let template = app.rooms.template_for(&signed.origin, (room, user), entrance, versions).await?;
    Ok(Json(json!({ "room_version": template.version, "event": template.event })))
}

/// `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
async fn send_join(
    State(app): State<Arc<App>>,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    signed: Signed,
) -> ApiResult<Response> {
    let entered = enter(&app, &room, &event, Entrance::Join, &signed).await?;
    let paper = Paper::for_server(&app, &signed.origin, Size::Whole).await;
    aside(async {
        let mut answer = paper.object();
        write_entered(&app, entered, &mut answer).await?;
        answer.answer()
    })
    .await
}

/// `PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}`
async fn send_join_v1(
    State(app): State<Arc<App>>,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    signed: Signed,
) -> ApiResult<Response> {
    let entered = enter(&app, &room, &event, Entrance::Join, &signed).await?;
    let paper = Paper::for_server(&app, &signed.origin, Size::Whole).await;
    aside(async {
        let mut answer = paper.array();
        answer.out.element("200");
        let body = answer.out.open_element();
        write_entered(&app, entered, &mut answer).await?;
        answer.out.end_even_if_empty(body);
        answer.answer()
    })
    .await
}

/// `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`
async fn send_leave(
    State(app): State<Arc<App>>,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    enter(&app, &room, &event, Entrance::Leave, &signed).await?;
    Ok(Json(json!({})))
}

/// `PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}`
async fn send_leave_v1(
    State(app): State<Arc<App>>,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    enter(&app, &room, &event, Entrance::Leave, &signed).await?;
    Ok(Json(with_status(&json!({}))))
}

/// `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`
async fn send_knock(
    State(app): State<Arc<App>>,
    Path((room, event)): Path<(OwnedRoomId, OwnedEventId)>,
    signed: Signed,
) -> ApiResult<Json<Value>> {
    enter(&app, &room, &event, Entrance::Knock, &signed).await?;
    Ok(Json(json!({ "knock_room_state": app.rooms.shown_outside(&room).await? })))
}

async fn enter(
    app: &Arc<App>,
    room: &OwnedRoomId,
    event: &OwnedEventId,
    entrance: Entrance,
    signed: &Signed,
) -> ApiResult<Entered> {
    let text = str::from_utf8(&signed.body).map_err(|_| ApiError::not_json("the event is no UTF-8"))?;
    Ok(app.let_in(&signed.origin, (room, event), entrance, text).await?)
}

/// The room as somebody finds it who joins it.
async fn write_entered(app: &App, entered: Entered, answer: &mut Written) -> ApiResult<()> {
    let Entered { event, before } = entered;
    answer.out.text("origin", app.server_name().as_str());
    answer.out.boolean("members_omitted", false);
    answer.out.raw("event", &event);
    write_pdus(app, "auth_chain", before.auth_chain, answer).await?;
    write_pdus(app, "state", before.state.into_values(), answer).await
}
