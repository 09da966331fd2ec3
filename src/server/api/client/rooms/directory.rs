//! Aliases and the public directory.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    OwnedRoomId, OwnedUserId, RoomVersionId, ServerName, UInt,
    api::client::{
        alias::{create_alias, delete_alias, get_alias},
        directory::{get_public_rooms, get_public_rooms_filtered, get_room_visibility, set_room_visibility},
        room::{Visibility, aliases, upgrade_room},
    },
    directory::{Filter, PublicRoomsChunk},
};
use serde::{Deserialize, Serialize};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    rooms,
    session::Session,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<create_alias::v3::Request, _, _>(add)
        .ruma_route::<delete_alias::v3::Request, _, _>(remove)
        .ruma_route::<get_alias::v3::Request, _, _>(resolve)
        .ruma_route::<aliases::v3::Request, _, _>(of_room)
        .ruma_route::<get_room_visibility::v3::Request, _, _>(visibility)
        .ruma_route::<set_room_visibility::v3::Request, _, _>(set_visibility)
        .ruma_route::<get_public_rooms::v3::Request, _, _>(public)
        .ruma_route::<get_public_rooms_filtered::v3::Request, _, _>(search)
        .ruma_route::<upgrade_room::v3::Request, _, _>(upgrade)
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`
async fn add(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<create_alias::v3::Request>,
) -> ApiResult<Ruma<create_alias::v3::Response>> {
    app.rooms.add_alias(&session, &request.room_alias, &request.room_id).await.map_err(|e| match e {
        // On this endpoint alone, a taken alias is a conflict.
        rooms::Refusal::AliasTaken => {
            ApiError::new(http::StatusCode::CONFLICT, "M_UNKNOWN", "this alias is taken")
        }
        e => e.into(),
    })?;
    Ok(Ruma(create_alias::v3::Response::new()))
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
async fn remove(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<delete_alias::v3::Request>,
) -> ApiResult<Ruma<delete_alias::v3::Response>> {
    app.rooms.remove_alias(&session, &request.room_alias).await?;
    Ok(Ruma(delete_alias::v3::Response::new()))
}

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`: needs no account.
async fn resolve(
    State(app): State<Arc<App>>,
    Ruma(request): Ruma<get_alias::v3::Request>,
) -> ApiResult<Ruma<get_alias::v3::Response>> {
    let found = app.store.alias(&request.room_alias).await?;
    let row = found.ok_or_else(|| ApiError::not_found("there is no such alias"))?;
    Ok(Ruma(get_alias::v3::Response::new(row.room_id, vec![app.server_name().to_owned()])))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`
async fn of_room(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<aliases::v3::Request>,
) -> ApiResult<Ruma<aliases::v3::Response>> {
    let found = app.rooms.visible_aliases(&session.user, &request.room_id).await?;
    Ok(Ruma(aliases::v3::Response::new(found)))
}

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`: needs no account.
async fn visibility(
    State(app): State<Arc<App>>,
    Ruma(request): Ruma<get_room_visibility::v3::Request>,
) -> ApiResult<Ruma<get_room_visibility::v3::Response>> {
    let room = app.store.room(&request.room_id).await?;
    let room = room.ok_or_else(|| ApiError::not_found("there is no such room"))?;
    let visibility = if room.listed { Visibility::Public } else { Visibility::Private };
    Ok(Ruma(get_room_visibility::v3::Response::new(visibility)))
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}`
async fn set_visibility(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<set_room_visibility::v3::Request>,
) -> ApiResult<Ruma<set_room_visibility::v3::Response>> {
    let listed = request.visibility == Visibility::Public;
    app.rooms.set_listed(&session, &request.room_id, listed).await?;
    Ok(Ruma(set_room_visibility::v3::Response::new()))
}

/// `GET /_matrix/client/v3/publicRooms`: needs no account.
async fn public(
    State(app): State<Arc<App>>,
    Ruma(request): Ruma<get_public_rooms::v3::Request>,
) -> ApiResult<Json<Directory>> {
    let (limit, since) = (request.limit, request.since.as_deref());
    list(&app, request.server.as_deref(), &Filter::new(), limit, since).await
}

/// `POST /_matrix/client/v3/publicRooms`
async fn search(
    State(app): State<Arc<App>>,
    _: Session,
    Ruma(request): Ruma<get_public_rooms_filtered::v3::Request>,
) -> ApiResult<Json<Directory>> {
    let (limit, since) = (request.limit, request.since.as_deref());
    list(&app, request.server.as_deref(), &request.filter, limit, since).await
}

#[derive(Deserialize)]
struct Upgrade {
    /// A text that is no version is one that is not supported.
    new_version: String,
    #[serde(default)]
    additional_creators: Vec<OwnedUserId>,
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
async fn upgrade(
    State(app): State<Arc<App>>,
    session: Session,
    Path(room): Path<OwnedRoomId>,
    Json(upgrade): Json<Upgrade>,
) -> ApiResult<Ruma<upgrade_room::v3::Response>> {
    let version = RoomVersionId::try_from(upgrade.new_version);
    let version = version.map_err(|_| rooms::Refusal::UnsupportedVersion)?;
    let room = app.upgrade(&session, &room, version, upgrade.additional_creators).await?;
    Ok(Ruma(upgrade_room::v3::Response::new(room)))
}

#[derive(Serialize)]
struct Directory {
    chunk: Vec<PublicRoomsChunk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    total_room_count_estimate: usize,
}

async fn list(
    app: &App,
    server: Option<&ServerName>,
    filter: &Filter,
    limit: Option<UInt>,
    since: Option<&str>,
) -> ApiResult<Json<Directory>> {
    if server.is_some_and(|server| server != app.server_name()) {
        return Err(ApiError::not_found("the directories of other servers cannot be reached from here"));
    }
    let skip = since.map_or(Ok(0), |since| {
        let number = since.strip_prefix('n').and_then(|n| n.parse::<u32>().ok());
        number.ok_or_else(|| ApiError::invalid_param("since is not a token of this server"))
    })?;
    let limit = limit.map_or(rooms::MAX_LISTED, |n| usize::try_from(u64::from(n)).unwrap_or(usize::MAX));
    let page = app.rooms.public_rooms(filter, skip as usize, limit).await?;
    Ok(Json(Directory {
        chunk: page.chunk,
        next_batch: page.next.map(|skip| format!("n{skip}")),
        prev_batch: page.previous.map(|skip| format!("n{skip}")),
        total_room_count_estimate: page.total,
    }))
}
