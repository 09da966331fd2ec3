//! What a user is called and looks like, and whatever else they say of themselves: `/profile`; and who may read that.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, put},
};
use ruma::{OwnedMxcUri, OwnedUserId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    core::policy::Admit,
    server::{
        api::{
            error::{ApiError, ApiResult},
            extract::{Json, Path},
        },
        app::{
            App,
            profile::{Reader, as_json},
        },
        federation::profile::ProfileError,
        profile::{
            MAX_AVATAR_URL, MAX_DISPLAYNAME, ProfileField, check_length,
            field::{BadFieldName, FieldName},
        },
        session::Session,
        store::{MAX_PROFILE_READERS, PutFieldError},
    },
};

/// Where clients from before the specification took fields beyond name and picture up ask for them.
const UNSTABLE: &str = "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{user_id}";

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    let of_version = |version: &str| format!("/_matrix/client/{version}/profile/{{user_id}}");
    let mut router = Router::new();
    for profile in [of_version("r0"), of_version("v3"), UNSTABLE.to_owned()] {
        router = router
            .route(&profile, get(all))
            .route(&format!("{profile}/{{field}}"), get(one).put(set).delete(remove));
    }
    let readers = "/_matrix/client/unstable/org.pilotlight/profile/{user_id}/readers";
    router
        .route(readers, get(all_readers))
        .route(&format!("{readers}/{{field}}"), put(set_readers).delete(remove_readers))
}

/// What of a profile who asks may read: that of a user of this server is there for anybody; a user of another server is
/// asked of theirs only on behalf of a user of this one (`asked_by`).
async fn known(app: &App, user: &OwnedUserId, asked_by: Option<Session>) -> ApiResult<Map<String, Value>> {
    let nobody = || ApiError::not_found("there is no such user here");
    if user.server_name() == app.server_name() {
        if let Some(session) = &asked_by {
            app.make_if_bridged(&session.user, user).await?;
        }
        let reader = asked_by.as_ref().map_or(Reader::Nobody, |session| Reader::User(&session.user));
        let (profile, fields) = app.profile(user, reader).await?.ok_or_else(nobody)?;
        return Ok(as_json(profile, fields));
    }
    let federation = app.federation.as_ref().ok_or_else(nobody)?;
    let asked_by =
        asked_by.ok_or_else(|| ApiError::missing_token("only users of this server may ask another"))?;
    let (profile, fields) = federation.profile(user, &asked_by.user).await.map_err(|e| match &e {
        ProfileError::Refused => ApiError::forbidden(e.to_string()),
        ProfileError::Unknown => ApiError::not_found(e.to_string()),
        ProfileError::Request(_) => ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", e.to_string()),
    })?;
    Ok(as_json(profile, fields))
}

/// One field: one of the two that everybody has, or another.
enum Field {
    Plain(ProfileField),
    Further(FieldName),
}

impl Field {
    fn new(name: &str) -> ApiResult<Self> {
        Ok(match name {
            "displayname" => Self::Plain(ProfileField::Displayname),
            "avatar_url" => Self::Plain(ProfileField::AvatarUrl),
            name => Self::Further(further(name)?),
        })
    }
}

fn further(name: &str) -> ApiResult<FieldName> {
    FieldName::new(name).map_err(|e| match e {
        BadFieldName::TooLong => ApiError::new(StatusCode::BAD_REQUEST, "M_KEY_TOO_LARGE", e.to_string()),
        BadFieldName::Grammar => ApiError::invalid_param(e.to_string()),
    })
}

/// `GET /_matrix/client/v3/profile/{userId}`
async fn all(
    State(app): State<Arc<App>>,
    session: Option<Session>,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Json<Map<String, Value>>> {
    known(&app, &user, session).await.map(Json)
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`
async fn one(
    State(app): State<Arc<App>>,
    session: Option<Session>,
    Path((user, name)): Path<(OwnedUserId, String)>,
) -> ApiResult<Json<Value>> {
    let field = Field::new(&name)?;
    let value = known(&app, &user, session).await?.remove(&name);
    match (value, field) {
        (Some(value), _) => Ok(Json(json!({ name: value }))),
        // One that is not set is an empty object for the two old fields, as clients expect.
        (None, Field::Plain(_)) => Ok(Json(json!({}))),
        (None, Field::Further(_)) => Err(ApiError::not_found("the profile has no such field")),
    }
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`
async fn set(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, name)): Path<(OwnedUserId, String)>,
    Json(mut body): Json<Map<String, Value>>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    let field = Field::new(&name)?;
    let value = body.remove(&name).ok_or_else(|| ApiError::missing_param(format!("{name} is missing")))?;
    let field = match field {
        Field::Plain(field) => field,
        Field::Further(field) => {
            app.put_profile_field(&session, field, value).await?;
            return Ok(Json(json!({})));
        }
    };
    let value = match value {
        Value::String(value) if value.is_empty() => None,
        Value::String(value) => Some(value),
        Value::Null => None,
        _ => return Err(ApiError::bad_json(format!("{name} must be a string"))),
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
    check_own(&session, &user)?;
    match Field::new(&name)? {
        Field::Plain(field) => app.set_profile_field(user, field, None).await?,
        Field::Further(field) => app.remove_profile_field(&session, field).await?,
    }
    Ok(Json(json!({})))
}

/// `GET …/profile/{userId}/readers`: of which fields the user said who may read them.
async fn all_readers(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    Ok(Json(json!({ "readers": app.store.profile_readers(&user).await? })))
}

#[derive(Deserialize)]
struct Readers {
    readers: Admit,
}

/// `PUT …/profile/{userId}/readers/{keyName}`: who may read a field (L5), be it there or not.
async fn set_readers(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, name)): Path<(OwnedUserId, String)>,
    Json(Readers { readers }): Json<Readers>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    app.store.put_profile_readers(user, restrictable(&name)?, readers).await.map_err(|e| match e {
        PutFieldError::TooLarge => ApiError::too_large(format!("more than {MAX_PROFILE_READERS} fields")),
        PutFieldError::NoSuchUser => ApiError::not_found("there is no such user here"),
        PutFieldError::Store(e) => e.into(),
    })?;
    Ok(Json(json!({})))
}

/// `DELETE …/profile/{userId}/readers/{keyName}`: everybody may, as when nothing was ever said.
async fn remove_readers(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, name)): Path<(OwnedUserId, String)>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    app.store.remove_profile_readers(user, restrictable(&name)?).await?;
    Ok(Json(json!({})))
}

/// Not a field that is told in other words, too: name and picture stand in every room and presence event, and what is a
/// part of presence is seen by who sees that.
fn restrictable(name: &str) -> ApiResult<FieldName> {
    match Field::new(name)? {
        Field::Further(name) if FieldName::is_of_presence(name.as_str()) => {
            Err(ApiError::invalid_param(format!("who sees the presence may read {}", name.as_str())))
        }
        Field::Further(name) => Ok(name),
        Field::Plain(_) => Err(ApiError::invalid_param(format!("everybody may read {name}"))),
    }
}

fn check_own(session: &Session, user: &OwnedUserId) -> ApiResult<()> {
    if session.user == *user {
        Ok(())
    } else {
        Err(ApiError::forbidden("this is the profile of somebody else"))
    }
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
