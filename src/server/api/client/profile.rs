//! What a user is called and looks like: `/profile`.

use std::sync::Arc;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use ruma::{OwnedMxcUri, OwnedUserId};
use serde_json::{Map, Value, json};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path},
    },
    app::App,
    federation::profile::ProfileError,
    profile::{MAX_AVATAR_URL, MAX_DISPLAYNAME, Profile, ProfileField, check_length},
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for version in ["r0", "v3"] {
        let profile = format!("/_matrix/client/{version}/profile/{{user_id}}");
        router = router
            .route(&profile, get(all))
            .route(&format!("{profile}/{{field}}"), get(one).put(set).delete(remove));
    }
    router
}

/// The profile of a user of this server, for anybody; or of another server, which is asked only on
/// behalf of a user of this one (`asked_by`).
async fn known(app: &App, user: &OwnedUserId, asked_by: Result<Session, ApiError>) -> ApiResult<Profile> {
    if user.server_name() == app.server_name() {
        return app
            .store
            .profile(user)
            .await?
            .ok_or_else(|| ApiError::not_found("there is no such user here"));
    }
    let federation = app.federation.as_ref();
    let federation = federation.ok_or_else(|| ApiError::not_found("there is no such user here"))?;
    asked_by?;
    federation.profile(user).await.map_err(|e| match &e {
        ProfileError::Refused => ApiError::forbidden(e.to_string()),
        ProfileError::Unknown => ApiError::not_found(e.to_string()),
        ProfileError::Request(_) => ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", e.to_string()),
    })
}

fn field(name: &str) -> Option<ProfileField> {
    match name {
        "displayname" => Some(ProfileField::Displayname),
        "avatar_url" => Some(ProfileField::AvatarUrl),
        _ => None,
    }
}

/// `GET /_matrix/client/v3/profile/{userId}`
async fn all(
    State(app): State<Arc<App>>,
    session: Result<Session, ApiError>,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Json<Value>> {
    let profile = known(&app, &user, session).await?;
    let mut body = Map::new();
    body.extend(profile.displayname.map(|name| ("displayname".to_owned(), name.into())));
    body.extend(profile.avatar_url.map(|url| ("avatar_url".to_owned(), url.into())));
    Ok(Json(body.into()))
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`
async fn one(
    State(app): State<Arc<App>>,
    session: Result<Session, ApiError>,
    Path((user, name)): Path<(OwnedUserId, String)>,
) -> ApiResult<Json<Value>> {
    let profile = known(&app, &user, session).await?;
    let value = match field(&name) {
        Some(ProfileField::Displayname) => profile.displayname,
        Some(ProfileField::AvatarUrl) => profile.avatar_url,
        None => return Err(ApiError::not_found("the profile has no such field")),
    };
    // A field that is not set is an empty object for the two old fields, as clients expect.
    Ok(Json(value.map_or_else(|| json!({}), |value| json!({ name: value }))))
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`
async fn set(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, name)): Path<(OwnedUserId, String)>,
    Json(mut body): Json<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    let field = settable(&session, &user, &name)?;
    let value = match body.remove(&name) {
        Some(Value::String(value)) if value.is_empty() => None,
        Some(Value::String(value)) => Some(value),
        Some(Value::Null) => None,
        Some(_) => return Err(ApiError::bad_json(format!("{name} must be a string"))),
        None => return Err(ApiError::missing_param(format!("{name} is missing"))),
    };
    match field {
        ProfileField::Displayname => check_length(&name, value.as_deref(), MAX_DISPLAYNAME)?,
        ProfileField::AvatarUrl => check_avatar(value.as_deref())?,
    }
    app.set_profile_field(user, field, value).await?;
    Ok(Json(json!({})))
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
async fn remove(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, name)): Path<(OwnedUserId, String)>,
) -> ApiResult<Json<Value>> {
    let field = settable(&session, &user, &name)?;
    app.set_profile_field(user, field, None).await?;
    Ok(Json(json!({})))
}

fn settable(session: &Session, user: &OwnedUserId, name: &str) -> ApiResult<ProfileField> {
    if session.user != *user {
        return Err(ApiError::forbidden("this is the profile of somebody else"));
    }
    field(name).ok_or_else(|| ApiError::forbidden("profiles here have displayname and avatar_url only"))
}

fn check_avatar(value: Option<&str>) -> ApiResult<()> {
    check_length("avatar_url", value, MAX_AVATAR_URL)?;
    match value {
        Some(url) if !OwnedMxcUri::from(url).is_valid() => {
            Err(ApiError::invalid_param("avatar_url must be an mxc:// URL"))
        }
        _ => Ok(()),
    }
}
