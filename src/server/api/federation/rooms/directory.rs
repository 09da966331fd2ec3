//! The names of this server's rooms, for other servers.
//!
//! Server-server API, "Querying for information", "Public Room Directory".

use std::sync::Arc;

use axum::{Router, extract::State, routing::get};
use ruma::{OwnedRoomAliasId, UInt, directory::Filter};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::{
    api::{
        directory_page::{Directory, directory_page},
        error::{ApiError, ApiResult},
        extract::{Json, Query},
        federation::signed::Signed,
    },
    app::App,
};

/// Servers that are named for an alias, at most.
const MAX_SERVERS: usize = 50;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/federation/v1/query/directory", get(alias))
        .route("/_matrix/federation/v1/publicRooms", get(public).post(search))
}

#[derive(Deserialize)]
struct Alias {
    room_alias: Option<String>,
}

/// `GET /_matrix/federation/v1/query/directory`
async fn alias(State(app): State<Arc<App>>, Query(query): Query<Alias>, _: Signed) -> ApiResult<Json<Value>> {
    let alias = query.room_alias.ok_or_else(|| ApiError::missing_param("room_alias is missing"))?;
    let alias = OwnedRoomAliasId::try_from(alias)
        .map_err(|_| ApiError::invalid_param("room_alias is not a room alias"))?;
    let found = app.store.alias(&alias).await?;
    let room = found.ok_or_else(|| ApiError::not_found("there is no such alias"))?.room_id;
    Ok(Json(json!({ "servers": app.rooms.servers_to_join_by(&room, MAX_SERVERS), "room_id": room })))
}

/// The query of `publicRooms`.
#[derive(Deserialize)]
struct Listed {
    limit: Option<UInt>,
    since: Option<String>,
}

/// `GET /_matrix/federation/v1/publicRooms`
async fn public(
    State(app): State<Arc<App>>,
    Query(Listed { limit, since }): Query<Listed>,
    _: Signed,
) -> ApiResult<Json<Directory>> {
    directory_page(&app, &Filter::default(), limit, since.as_deref()).await
}

/// The same of those that somebody looks for.
#[derive(Deserialize)]
struct Sought {
    #[serde(default)]
    filter: Filter,
    #[serde(flatten)]
    listed: Listed,
}

/// `POST /_matrix/federation/v1/publicRooms`
async fn search(State(app): State<Arc<App>>, signed: Signed) -> ApiResult<Json<Directory>> {
    let Sought { filter, listed } = signed.json()?;
    directory_page(&app, &filter, listed.limit, listed.since.as_deref()).await
}
