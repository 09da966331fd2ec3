//! Aliases and the public directory.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomVersionId, ServerName, UInt,
    api::client::{
        alias::{create_alias, delete_alias, get_alias},
        directory::{get_public_rooms, get_public_rooms_filtered, get_room_visibility, set_room_visibility},
        room::{Visibility, aliases, upgrade_room},
    },
    directory::Filter,
};
use serde::Deserialize;
use serde_json::json;

use crate::server::{
    api::{
        directory_page::{Directory, directory_page},
        error::{ApiError, ApiResult},
        extract::{By, Json, Path, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    rooms::{self, Whose},
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
    by: By,
    Ruma(request): Ruma<create_alias::v3::Request>,
) -> ApiResult<Ruma<create_alias::v3::Response>> {
    let whose = whose(&app, &by, &request.room_alias)?;
    app.rooms.add_alias(&session, whose, &request.room_alias, &request.room_id).await.map_err(
        |e| match e {
            // On this endpoint alone, a taken alias is a conflict.
            rooms::Refusal::AliasTaken => {
                ApiError::new(http::StatusCode::CONFLICT, "M_UNKNOWN", "this alias is taken")
            }
            e => e.into(),
        },
    )?;
    Ok(Ruma(create_alias::v3::Response::new()))
}

/// Whose alias it is to whoever asks: an application service looks after its own, and nobody else after those that it keeps
/// for itself.
pub(super) fn whose(app: &App, By(by): &By, alias: &RoomAliasId) -> ApiResult<Whose> {
    let by = by.as_deref();
    if app.registrations.keep_alias_from(alias, by) {
        return Err(ApiError::exclusive("this alias is kept for an application service"));
    }
    match by {
        None => Ok(Whose::Members),
        Some(one) if one.has_alias(alias) => Ok(Whose::Asking),
        Some(_) => Err(ApiError::exclusive("this alias is not one of the application service")),
    }
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
async fn remove(
    State(app): State<Arc<App>>,
    session: Session,
    by: By,
    Ruma(request): Ruma<delete_alias::v3::Request>,
) -> ApiResult<Ruma<delete_alias::v3::Response>> {
    let whose = whose(&app, &by, &request.room_alias)?;
    app.rooms.remove_alias(&session, whose, &request.room_alias).await?;
    Ok(Ruma(delete_alias::v3::Response::new()))
}

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`: needs no account.
async fn resolve(
    State(app): State<Arc<App>>,
    session: Option<Session>,
    Ruma(request): Ruma<get_alias::v3::Request>,
) -> ApiResult<Ruma<get_alias::v3::Response>> {
    let (room, servers) = room_of_alias(&app, &request.room_alias, session.as_ref()).await?;
    Ok(Ruma(get_alias::v3::Response::new(room, servers)))
}

/// Servers that are named for an alias, at most.
const MAX_SERVERS: usize = 50;

/// The room that an alias leads to, and servers that are in it. For a user also one that another server, or an application
/// service, has to be asked for. For strangers nobody is asked.
pub(super) async fn room_of_alias(
    app: &App,
    alias: &RoomAliasId,
    asked_by: Option<&Session>,
) -> ApiResult<(OwnedRoomId, Vec<OwnedServerName>)> {
    if alias.server_name() != app.server_name() {
        if asked_by.is_none() {
            return Err(ApiError::not_found("there is no such alias"));
        }
        return Ok(app.find_alias(alias).await?);
    }
    let mut found = app.store.alias(alias).await?;
    if let Some(session) = asked_by.filter(|_| found.is_none() && !app.registrations.is_empty()) {
        // Some make it and say nevertheless that there is none.
        let made = app.app_services.make_alias(&session.user, alias).await;
        tracing::debug!(made, "an application service was asked for a room");
        found = app.store.alias(alias).await?;
    }
    let room = found.ok_or_else(|| ApiError::not_found("there is no such alias"))?.room_id;
    let mut servers = app.rooms.servers_to_join_by(&room, MAX_SERVERS);
    if servers.first().is_none_or(|first| first != app.server_name()) {
        servers.insert(0, app.server_name().to_owned());
    }
    Ok((room, servers))
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
    _: Option<Session>,
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

async fn list(
    app: &App,
    server: Option<&ServerName>,
    filter: &Filter,
    limit: Option<UInt>,
    since: Option<&str>,
) -> ApiResult<Json<Directory>> {
    if let Some(server) = server.filter(|server| *server != app.server_name()) {
        let mut wanted = json!({ "filter": filter });
        // What is not said is left out: some servers take `null` amiss.
        if let Some(limit) = limit {
            wanted["limit"] = json!(limit);
        }
        if let Some(since) = since {
            wanted["since"] = json!(since);
        }
        let said = app.directory_of(server, &wanted).await?;
        let unusable = |_| rooms::Refusal::Unreachable(format!("{server}: this is no directory").into());
        return Ok(Json(Directory::of_other(said.json()).map_err(unusable)?));
    }
    directory_page(app, filter, limit, since).await
}
