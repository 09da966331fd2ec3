//! What other servers may ask of this one: its keys, its version, the profiles of its users; and where
//! they send their transactions.

pub mod signed;
pub mod transaction;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    routing::{get, put},
};
use ruma::{OwnedUserId, profile::ProfileFieldName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::signed::Signed;
use super::{
    error::{ApiError, ApiResult},
    extract::{Json, Query},
};
use crate::server::{app::App, federation::deliver::BRIEF};

/// For how long others may rely on our keys without asking again.
const KEY_VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// The routes of the server-server API.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_matrix/key/v2/server", get(keys))
        .route("/_matrix/federation/v1/version", get(version))
        .route("/_matrix/federation/v1/query/profile", get(profile))
        .route("/_matrix/federation/v1/send/{transaction_id}", put(transaction::put))
        .route(&format!("{BRIEF}{{reminder}}"), get(transaction::remind))
}

/// `GET /_matrix/key/v2/server`
async fn keys(State(app): State<Arc<App>>) -> ApiResult<Json<Value>> {
    let validity = u64::try_from(KEY_VALIDITY.as_millis()).unwrap_or(u64::MAX);
    let document = app.rooms.signer.key_document(app.unix_ms() + validity).map_err(ApiError::internal)?;
    serde_json::to_value(document).map(Json).map_err(ApiError::internal)
}

/// `GET /_matrix/federation/v1/version`
async fn version() -> Json<Value> {
    Json(json!({ "server": { "name": "Pilotlight", "version": env!("CARGO_PKG_VERSION") } }))
}

/// The query of `profile`.
#[derive(Deserialize)]
struct ProfileQuery {
    user_id: OwnedUserId,
    field: Option<ProfileFieldName>,
}

/// `GET /_matrix/federation/v1/query/profile`
async fn profile(
    State(app): State<Arc<App>>,
    Query(query): Query<ProfileQuery>,
    _: Signed,
) -> ApiResult<Json<Map<String, Value>>> {
    if query.user_id.server_name() != app.server_name() {
        return Err(ApiError::not_found("this user is not of this server"));
    }
    let profile = app
        .store
        .profile(&query.user_id)
        .await?
        .ok_or_else(|| ApiError::not_found("there is no such user"))?;
    let fields = [
        (ProfileFieldName::DisplayName, profile.displayname),
        (ProfileFieldName::AvatarUrl, profile.avatar_url),
    ];
    let wanted = |field: &ProfileFieldName| query.field.as_ref().is_none_or(|wanted| wanted == field);
    let answer = fields.into_iter().filter(|(field, _)| wanted(field));
    Ok(Json(
        answer
            .filter_map(|(field, value)| Some((field.as_str().to_owned(), Value::String(value?))))
            .collect(),
    ))
}
