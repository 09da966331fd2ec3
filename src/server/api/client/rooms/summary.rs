//! Rooms before somebody is in them: summaries, the rooms of a space, those that two share.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use ruma::{OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{membership::resolve, via::Via};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path, Query},
        large::Paper,
        room_summary::summary_json,
    },
    app::App,
    rooms::{MAX_SPACE_DEPTH, Reader},
    session::Session,
};

/// Rooms of a space on a page when the client does not say, and at most.
const SPACE_PAGE: (usize, usize) = (50, 100);

/// Shared rooms on a page.
const SHARED_PAGE: usize = 100;

pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for path in [
        "/_matrix/client/v1/room_summary/{room}",
        "/_matrix/client/unstable/im.nheko.summary/summary/{room}",
        "/_matrix/client/unstable/im.nheko.summary/rooms/{room}/summary",
    ] {
        router = router.route(path, get(summary));
    }
    for version in ["v1", "unstable/org.matrix.msc2946"] {
        router = router.route(&format!("/_matrix/client/{version}/rooms/{{room}}/hierarchy"), get(hierarchy));
    }
    for path in
        ["/_matrix/client/v1/mutual_rooms", "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"]
    {
        router = router.route(path, get(mutual));
    }
    router
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`: needs no account for rooms that anybody may know of.
async fn summary(
    State(app): State<Arc<App>>,
    session: Option<Session>,
    (via, Path(room)): (Via, Path<OwnedRoomOrAliasId>),
) -> ApiResult<Json<Value>> {
    let (room, Via(via)) = resolve(&app, &room, via, session.as_ref()).await?;
    let reader = session.as_ref().map_or(Reader::Anybody, |session| Reader::User(&session.user));
    let summary = match &session {
        // Strangers have nobody asked.
        Some(session) if !app.rooms.takes_part(&room) => {
            app.rooms.summary_by(&app.looking(), &session.user, &room, via).await?
        }
        _ => app.rooms.summary(reader, &room).await?,
    };
    let membership = summary.membership;
    let mut answer = summary_json(summary)?;
    answer.extend(membership.map(|is| ("membership".to_owned(), is.as_str().into())));
    Ok(Json(answer.into()))
}

#[derive(Deserialize)]
struct InSpace {
    #[serde(default)]
    suggested_only: bool,
    limit: Option<usize>,
    max_depth: Option<usize>,
    from: Option<String>,
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
async fn hierarchy(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    Path(room): Path<OwnedRoomId>,
    Query(wanted): Query<InSpace>,
) -> ApiResult<Response> {
    let limit = wanted.limit.unwrap_or(SPACE_PAGE.0);
    if limit == 0 {
        return Err(ApiError::invalid_param("limit must be greater than 0"));
    }
    let depth = wanted.max_depth.unwrap_or(MAX_SPACE_DEPTH).min(MAX_SPACE_DEPTH);
    // A token holds for the same walk only.
    let walk = format!("h{depth}{}", if wanted.suggested_only { "s" } else { "a" });
    let skip = match &wanted.from {
        None => 0,
        Some(token) => {
            let number = token.strip_prefix(&walk).and_then(|n| n.parse::<u32>().ok());
            number.ok_or_else(|| ApiError::invalid_param("from is not a token of this walk"))? as usize
        }
    };
    let limit = limit.min(SPACE_PAGE.1);
    let by = &session.user;
    let (rooms, has_more) =
        app.rooms.space(&app.looking(), by, &room, (depth, wanted.suggested_only), (skip, limit)).await?;
    let next = skip + rooms.len();
    let mut answer = paper.object();
    let list = answer.out.open_array("rooms");
    for room in rooms {
        let mut object = summary_json(room.summary)?;
        object.insert("children_state".into(), room.children.into());
        answer.out.element(&Value::Object(object).to_string());
        answer.take().await?;
    }
    answer.out.end_even_if_empty(list);
    if has_more {
        answer.out.text("next_batch", &format!("{walk}{next}"));
    }
    answer.answer()
}

#[derive(Deserialize)]
struct With {
    user_id: Option<String>,
    from: Option<String>,
}

/// `GET /_matrix/client/v1/mutual_rooms`
async fn mutual(
    State(app): State<Arc<App>>,
    session: Session,
    Query(with): Query<With>,
) -> ApiResult<Json<Value>> {
    let user = with.user_id.ok_or_else(|| ApiError::missing_param("user_id is missing"))?;
    let user =
        OwnedUserId::try_from(user).map_err(|_| ApiError::invalid_param("user_id is not a user ID"))?;
    if user == session.user {
        return Err(ApiError::invalid_param("you share all of your rooms with yourself"));
    }
    let skip = with.from.map_or(Some(0), |from| from.strip_prefix('m')?.parse::<u32>().ok());
    let skip = skip.ok_or_else(|| ApiError::invalid_param("from is not a token of this server"))? as usize;
    let mut shared = app.rooms.members.joined_rooms(&session.user);
    shared.retain(|room| app.rooms.members.is_joined(&user, room));
    let count = shared.len();
    let page: Vec<_> = shared.into_iter().skip(skip).take(SHARED_PAGE).collect();
    let next = skip + page.len();
    let mut answer = json!({ "joined": page, "count": count });
    if next < count {
        answer["next_batch"] = format!("m{next}").into();
    }
    Ok(Json(answer))
}
