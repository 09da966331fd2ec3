//! What other servers may ask of this one: its keys, its version, the profiles of its users; and where
//! they send their transactions.

mod canonical;
mod media;
mod rooms;
mod server_keys;
pub mod signed;
pub mod transaction;
mod user_keys;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{get, put},
};
use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::signed::Signed;
use super::{
    error::{ApiError, ApiResult},
    extract::{Json, Query},
    openid::{USERINFO, userinfo},
};
use crate::server::{
    app::{
        App,
        profile::{Reader, as_json},
    },
    federation::{deliver::BRIEF, profile::READER},
};

/// The routes of the server-server API.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(server_keys::routes())
        .merge(rooms::routes())
        .merge(user_keys::routes())
        .route("/_matrix/federation/v1/version", get(version))
        .route(USERINFO, get(userinfo))
        .route("/_matrix/federation/v1/media/download/{media}", get(media::download))
        .route("/_matrix/federation/v1/media/thumbnail/{media}", get(media::thumbnail))
        .route("/_matrix/federation/v1/query/profile", get(profile))
        .route("/_matrix/federation/v1/send/{transaction_id}", put(transaction::put))
        .route(&format!("{BRIEF}{{reminder}}"), get(transaction::remind))
}

/// `GET /_matrix/federation/v1/version`
async fn version() -> Json<Value> {
    Json(json!({ "server": { "name": "Pilotlight", "version": env!("CARGO_PKG_VERSION") } }))
}

/// The query of `profile`.
#[derive(Deserialize)]
struct ProfileQuery {
    user_id: OwnedUserId,
    field: Option<String>,
    /// Who reads it, a user of the server that asks.
    #[serde(rename = "org.pilotlight.reader")]
    reader: Option<OwnedUserId>,
}

/// `GET /_matrix/federation/v1/query/profile`
async fn profile(
    State(app): State<Arc<App>>,
    Query(query): Query<ProfileQuery>,
    Signed { origin, .. }: Signed,
) -> ApiResult<Json<Map<String, Value>>> {
    if query.user_id.server_name() != app.server_name() {
        return Err(ApiError::not_found("this user is not of this server"));
    }
    let reader = match &query.reader {
        Some(reader) if *reader.server_name() != origin => {
            return Err(ApiError::forbidden(format!("{READER} is a user of another server")));
        }
        Some(reader) => Reader::User(reader),
        None => Reader::Server(&origin),
    };
    let (profile, fields) = app
        .profile(&query.user_id, reader)
        .await?
        .ok_or_else(|| ApiError::not_found("there is no such user"))?;
    let mut answer = as_json(profile, fields);
    if let Some(field) = query.field {
        answer.retain(|name, _| *name == field);
    }
    Ok(Json(answer))
}
