//! Account data and tags: `/user/{userId}/account_data`, `/user/{userId}/rooms/{roomId}/…`.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode};
use ruma::{
    OwnedRoomId, OwnedUserId,
    api::client::{
        config::{
            get_global_account_data, get_room_account_data, set_global_account_data, set_room_account_data,
        },
        tag::{create_tag, delete_tag, get_tags},
    },
};
use serde_json::{Map, Value, json, value::RawValue};

use crate::server::{
    accounts::{data::PUSH_RULES, default_rules::as_content},
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path},
        ruma_route::RumaRoute,
    },
    app::App,
    profile::check_length,
    session::Session,
    store::AccountDataKey,
};

/// The longest type of account data, in bytes.
const MAX_KIND: usize = 255;

/// The longest tag, in bytes, as the specification has it.
const MAX_TAG: usize = 255;

/// Tags of one room, at most.
const MAX_TAGS: usize = 100;

/// The type under which the tags of a room are kept.
const TAGS: &str = "m.tag";

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<get_global_account_data::v3::Request, _, _>(global)
        .ruma_route::<set_global_account_data::v3::Request, _, _>(set_global)
        .ruma_route::<get_room_account_data::v3::Request, _, _>(in_room)
        .ruma_route::<set_room_account_data::v3::Request, _, _>(set_in_room)
        .ruma_route::<get_tags::v3::Request, _, _>(tags)
        .ruma_route::<create_tag::v3::Request, _, _>(tag)
        .ruma_route::<delete_tag::v3::Request, _, _>(untag)
}

/// The key, if it is the user's own.
fn key(
    session: &Session,
    user: OwnedUserId,
    room: Option<OwnedRoomId>,
    kind: &str,
) -> ApiResult<AccountDataKey> {
    if session.user != user {
        return Err(ApiError::forbidden("this is the account data of somebody else"));
    }
    check_length("the type", Some(kind), MAX_KIND)?;
    Ok(AccountDataKey { user, room, kind: kind.to_owned() })
}

async fn read(app: &App, key: &AccountDataKey) -> ApiResult<Json<Box<RawValue>>> {
    let content = app.store.account_data(&key.user, key.room.as_deref(), &key.kind).await?;
    let content = content.ok_or_else(|| ApiError::not_found("there is no such account data"))?;
    RawValue::from_string(content).map(Json).map_err(ApiError::internal)
}

async fn write(app: &Arc<App>, key: AccountDataKey, content: Map<String, Value>) -> ApiResult<Json<Value>> {
    // Each has an endpoint of its own, which keeps it in shape.
    let elsewhere = match (key.kind.as_str(), &key.room) {
        (PUSH_RULES, None) => Some("push rules are changed at /pushrules"),
        ("m.fully_read", Some(_)) => Some("the read marker is set at /read_markers"),
        _ => None,
    };
    if let Some(elsewhere) = elsewhere {
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON", elsewhere));
    }
    app.own_data.set(key, Value::Object(content).to_string()).await?;
    Ok(Json(json!({})))
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`
async fn global(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, kind)): Path<(OwnedUserId, String)>,
) -> ApiResult<Json<Box<RawValue>>> {
    let key = key(&session, user, None, &kind)?;
    if kind == PUSH_RULES {
        let rules = as_content(&app.own_data.push_rules(&session.user).await?).map_err(ApiError::internal)?;
        return RawValue::from_string(rules.to_string()).map(Json).map_err(ApiError::internal);
    }
    read(&app, &key).await
}

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
async fn set_global(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, kind)): Path<(OwnedUserId, String)>,
    Json(content): Json<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    write(&app, key(&session, user, None, &kind)?, content).await
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
async fn in_room(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, room, kind)): Path<(OwnedUserId, OwnedRoomId, String)>,
) -> ApiResult<Json<Box<RawValue>>> {
    read(&app, &key(&session, user, Some(room), &kind)?).await
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
async fn set_in_room(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, room, kind)): Path<(OwnedUserId, OwnedRoomId, String)>,
    Json(content): Json<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    write(&app, key(&session, user, Some(room), &kind)?, content).await
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
async fn tags(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, room)): Path<(OwnedUserId, OwnedRoomId)>,
) -> ApiResult<Json<Value>> {
    let key = key(&session, user, Some(room), TAGS)?;
    let content = app.store.account_data(&key.user, key.room.as_deref(), TAGS).await?;
    let content: Value = content
        .map_or_else(|| Ok(Value::Null), |content| serde_json::from_str(&content))
        .map_err(ApiError::internal)?;
    Ok(Json(json!({ "tags": content.get("tags").filter(|tags| tags.is_object()).unwrap_or(&json!({})) })))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
async fn tag(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, room, tag)): Path<(OwnedUserId, OwnedRoomId, String)>,
    Json(info): Json<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    check_length("a tag", Some(&tag), MAX_TAG)?;
    if let Some(order) = info.get("order")
        && !order.as_f64().is_some_and(|order| (0.0..=1.0).contains(&order))
    {
        return Err(ApiError::invalid_param("order must be a number from 0 to 1"));
    }
    app.own_data
        .change_tags::<ApiError>(key(&session, user, Some(room), TAGS)?, move |tags| {
            tags.insert(tag, info.into());
            if tags.len() > MAX_TAGS {
                return Err(ApiError::too_large(format!("a room has at most {MAX_TAGS} tags")));
            }
            Ok(())
        })
        .await?;
    Ok(Json(json!({})))
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
async fn untag(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, room, tag)): Path<(OwnedUserId, OwnedRoomId, String)>,
) -> ApiResult<Json<Value>> {
    app.own_data
        .change_tags::<ApiError>(key(&session, user, Some(room), TAGS)?, move |tags| {
            tags.remove(&tag);
            Ok(())
        })
        .await?;
    Ok(Json(json!({})))
}
