//! The keys of this server, and, as a notary, those of others: `/_matrix/key/v2`.
//!
//! Source: Matrix server-server API, "Retrieving server keys".

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    routing::{get, post},
};
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    core::time::UnixMillis,
    server::{
        api::{
            error::{ApiError, ApiResult},
            extract::{Json, Path, Query, json_error},
        },
        app::App,
        limits::Origin,
    },
};

/// For how long others may rely on our keys without asking again.
const KEY_VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// Servers in one query, at most.
const MAX_QUERIED: usize = 1_000;

/// Bytes of one query, at most.
const MAX_QUERY: usize = 256 << 10;

/// When those servers that were not asked yet are no longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The routes for keys.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/key/v2/server", get(own))
        // Whichever key is named, all are answered.
        .route("/_matrix/key/v2/server/{key}", get(own))
        .route("/_matrix/key/v2/query", post(query))
        .route("/_matrix/key/v2/query/{server}", get(query_one))
        .route("/_matrix/key/v2/query/{server}/", get(query_one))
        .route("/_matrix/key/v2/query/{server}/{key}", get(query_one))
}

/// `GET /_matrix/key/v2/server`, and with a key's ID behind it
async fn own(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    own_document(&app).map(Json)
}

fn own_document(app: &App) -> ApiResult<Value> {
    let validity = u64::try_from(KEY_VALIDITY.as_millis()).unwrap_or(u64::MAX);
    let document = app.rooms.signer.key_document(app.unix_ms() + validity).map_err(ApiError::internal)?;
    serde_json::to_value(document).map_err(ApiError::internal)
}

#[derive(Deserialize)]
struct Wanted {
    server_keys: BTreeMap<OwnedServerName, BTreeMap<String, Criteria>>,
}

/// What a key has to be.
#[derive(Default, Deserialize)]
struct Criteria {
    minimum_valid_until_ts: Option<u64>,
}

/// `POST /_matrix/key/v2/query`
async fn query(State(app): State<Arc<App>>, request: Request) -> ApiResult<Json<Value>> {
    let federation = app.federation.as_ref().ok_or_else(ApiError::unrecognized)?;
    let origin = request.extensions().get::<Origin>().copied();
    let (body, _share) = federation.bodies.read(request.into_body(), origin).await?;
    if body.len() > MAX_QUERY {
        return Err(ApiError::too_large(format!("a query for keys has at most {MAX_QUERY} bytes")));
    }
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|e| json_error(&body, e))?;
    if wanted.server_keys.len() > MAX_QUERIED {
        return Err(ApiError::too_large(format!(
            "ask for the keys of at most {MAX_QUERIED} servers at once"
        )));
    }
    let end = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    for (server, keys) in wanted.server_keys {
        let until = keys.values().filter_map(|criteria| criteria.minimum_valid_until_ts).max();
        // One after the other: nobody has many servers asked at a time.
        let asked = tokio::time::timeout_at(end, document(&app, &server, until, origin)).await;
        let Ok(document) = asked else { break };
        found.extend(document?);
    }
    Ok(Json(json!({ "server_keys": found })))
}

/// Whose keys are asked for.
#[derive(Deserialize)]
struct Whose {
    server: OwnedServerName,
}

/// `GET /_matrix/key/v2/query/{serverName}`, and with a key's ID behind it
async fn query_one(
    State(app): State<Arc<App>>,
    Path(Whose { server }): Path<Whose>,
    Query(criteria): Query<Criteria>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let origin = request.extensions().get::<Origin>().copied();
    let found = document(&app, &server, criteria.minimum_valid_until_ts, origin).await?;
    Ok(Json(json!({ "server_keys": Vec::from_iter(found) })))
}

/// What `server` says of its keys, signed by this server too.
async fn document(
    app: &App,
    server: &ServerName,
    until: Option<u64>,
    origin: Option<Origin>,
) -> ApiResult<Option<Value>> {
    if server == app.server_name() {
        return own_document(app).map(Some);
    }
    let federation = app.federation.as_ref().ok_or_else(ApiError::unrecognized)?;
    let found = federation.keyring.notarised(server, until.map(UnixMillis), origin).await?;
    found.map(|found| serde_json::to_value(found).map_err(ApiError::internal)).transpose()
}
