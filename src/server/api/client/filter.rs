//! Filters that clients store and name later: `/user/{userId}/filter`.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::{
    OwnedUserId,
    api::client::filter::{create_filter, get_filter},
};
use serde_json::{Map, Value, json, value::RawValue};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path},
        ruma_route::RumaRoute,
    },
    app::App,
    json::json_depth,
    session::Session,
    stream::Filter,
};

/// Bytes of a filter, at most.
const MAX_FILTER: usize = 16 * 1024;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<create_filter::v3::Request, _, _>(create)
        .ruma_route::<get_filter::v3::Request, _, _>(one)
}

fn own(session: &Session, user: &OwnedUserId) -> ApiResult<()> {
    if session.user == *user {
        Ok(())
    } else {
        Err(ApiError::forbidden("these are the filters of somebody else"))
    }
}

/// `POST /_matrix/client/v3/user/{userId}/filter`
async fn create(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
    Json(filter): Json<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    own(&session, &user)?;
    let text = Value::Object(filter).to_string();
    if text.len() > MAX_FILTER {
        return Err(ApiError::too_large(format!("a filter has at most {MAX_FILTER} bytes")));
    }
    if json_depth(text.as_bytes()) > Filter::MAX_DEPTH {
        return Err(ApiError::bad_json(format!("a filter is at most {} objects deep", Filter::MAX_DEPTH)));
    }
    if let Err(e) = Filter::parse(&text) {
        return Err(ApiError::bad_json(format!("not a filter: {e}")));
    }
    let id = app.store.add_filter(user, text).await?;
    Ok(Json(json!({ "filter_id": id.to_string() })))
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
async fn one(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, id)): Path<(OwnedUserId, String)>,
) -> ApiResult<Json<Box<RawValue>>> {
    own(&session, &user)?;
    let none = || ApiError::not_found("there is no such filter");
    let id = id.parse().map_err(|_| none())?;
    let filter = app.store.filter(&user, id).await?.ok_or_else(none)?;
    RawValue::from_string(filter).map(Json).map_err(ApiError::internal)
}
