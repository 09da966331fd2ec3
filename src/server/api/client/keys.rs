//! The keys that devices publish so that others can encrypt for them: `/keys/…`.
//!
//! The server keeps what is whole and hands it out; whether it is good is checked by the clients.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use ruma::{
    OwnedServerName, OwnedUserId,
    api::client::keys::{claim_keys, get_key_changes, get_keys, upload_keys},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::server::{
    answers::{Size, aside},
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Query},
        ruma_route::RumaRoute,
        user_keys::{FoundKeys, MAX_ASKED, claim_own},
    },
    app::App,
    change::position::LogPosition,
    devices::{
        key_form::{self, Object},
        published::{Asker, UserKeys},
    },
    session::Session,
    store::{KeyCounts, KeyUpload, MAX_ONE_TIME_KEYS, UploadError},
    stream::{self, Sources, Token, news::DeviceLists},
};

/// Bytes of one key object, at most.
const MAX_KEY: usize = 16 * 1024;

/// How long other servers may take to answer when the client does not say, and at most.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<upload_keys::v3::Request, _, _>(upload)
        .ruma_route::<get_keys::v3::Request, _, _>(query)
        .ruma_route::<claim_keys::v3::Request, _, _>(claim)
        .ruma_route::<get_key_changes::v3::Request, _, _>(changes)
}

#[derive(Deserialize)]
struct Upload {
    /// `None`: absent. Null is no object.
    #[serde(default, deserialize_with = "present")]
    device_keys: Option<Object>,
    one_time_keys: Option<BTreeMap<String, Value>>,
    #[serde(alias = "org.matrix.msc2732.fallback_keys")]
    fallback_keys: Option<BTreeMap<String, Value>>,
}

/// A field that, when it is there, is what it should be.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Object>, D::Error> {
    Object::deserialize(deserializer).map(Some)
}

/// `POST /_matrix/client/v3/keys/upload`
async fn upload(
    State(app): State<Arc<App>>,
    session: Session,
    Json(request): Json<Upload>,
) -> ApiResult<Json<Value>> {
    if !session.has_device() {
        return Err(ApiError::unknown("keys are of a device: an application service names it by device_id"));
    }
    let Upload { device_keys, one_time_keys, fallback_keys } = request;
    let (one_time_keys, fallback_keys) =
        (one_time_keys.unwrap_or_default(), fallback_keys.unwrap_or_default());
    if let Some(keys) = &device_keys {
        key_form::device_keys(&session, keys)?;
    }
    one_time_keys.iter().try_for_each(|(name, key)| key_form::claimable_key(&session, name, key))?;
    key_form::fallback_keys(&session, &fallback_keys)?;
    let upload = KeyUpload {
        device_keys: device_keys.map(without_unsigned).transpose()?,
        one_time_keys: stored(one_time_keys)?,
        fallback_keys: stored(fallback_keys)?,
    };
    app.store.upload_keys(session.clone(), upload).await?;
    let KeyCounts { one_time, .. } = app.store.key_counts(&session.user, &session.device).await?;
    Ok(Json(json!({ "one_time_key_counts": one_time })))
}

/// What is added on the way is not the device's to say.
fn without_unsigned(mut keys: Object) -> ApiResult<String> {
    keys.remove("unsigned");
    bounded(Value::Object(keys))
}

fn stored(keys: BTreeMap<String, Value>) -> ApiResult<Vec<(String, String)>> {
    keys.into_iter().map(|(name, key)| Ok((name, bounded(key)?))).collect()
}

pub(super) fn bounded(key: Value) -> ApiResult<String> {
    let text = key.to_string();
    if text.len() > MAX_KEY {
        return Err(ApiError::too_large(format!("a key has at most {MAX_KEY} bytes")));
    }
    Ok(text)
}

#[derive(Deserialize)]
struct QueryKeys {
    device_keys: BTreeMap<OwnedUserId, Vec<String>>,
    /// How long other servers may take, in milliseconds.
    timeout: Option<u64>,
}

/// `POST /_matrix/client/v3/keys/query`
async fn query(
    State(app): State<Arc<App>>,
    session: Session,
    Json(request): Json<QueryKeys>,
) -> ApiResult<Response> {
    if request.device_keys.len() > MAX_ASKED {
        return Err(ApiError::too_large(format!("ask for at most {MAX_ASKED} users at once")));
    }
    let elsewhere = request.device_keys.keys().filter(|user| user.server_name() != app.server_name());
    let elsewhere = elsewhere.cloned().collect();
    let patience = patience(request.timeout);
    // Before a place is taken: nobody's answer waits for other servers.
    let mut found = app.keys_of_others(elsewhere, &session.user, patience).await?;
    let failures = failures(&found.failures);
    let place = app.answers.place(session.user.as_str(), Size::Page).await;
    let answer = aside(async {
        let mut keys = FoundKeys::default();
        for (user, wanted) in &request.device_keys {
            if user.server_name() == app.server_name() {
                keys.put(user, UserKeys::of(&app.store, user, wanted, Asker::User(&session.user)).await?)?;
            } else if let Some(mut theirs) = found.users.remove(user) {
                theirs.devices.retain(|device, _| wanted.is_empty() || wanted.contains(device));
                keys.put(user, theirs)?;
            }
        }
        let mut body = keys.into_body();
        body.insert("failures".to_owned(), failures);
        serde_json::to_vec(&body).map_err(ApiError::internal)
    });
    let body = place.body(answer.await?.into())?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// How long other servers may take, by what a client says.
fn patience(timeout_ms: Option<u64>) -> Duration {
    timeout_ms.map_or(PATIENCE, Duration::from_millis).min(LONGEST_PATIENCE)
}

/// What clients are told of servers that could not be asked.
fn failures(failures: &BTreeMap<OwnedServerName, String>) -> Value {
    let tell = |(server, why): (&OwnedServerName, &String)| {
        (server.to_string(), json!({ "status": 503, "message": why }))
    };
    Value::Object(failures.iter().map(tell).collect())
}

#[derive(Deserialize)]
struct Claim {
    one_time_keys: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
    /// How long other servers may take, in milliseconds.
    timeout: Option<u64>,
}

/// `POST /_matrix/client/v3/keys/claim`
async fn claim(
    State(app): State<Arc<App>>,
    session: Session,
    Json(request): Json<Claim>,
) -> ApiResult<Json<Value>> {
    if request.one_time_keys.values().map(BTreeMap::len).sum::<usize>() > MAX_ASKED {
        return Err(ApiError::too_large(format!("claim keys of at most {MAX_ASKED} devices at once")));
    }
    let (ours, others) =
        request.one_time_keys.into_iter().partition(|(user, _)| user.server_name() == app.server_name());
    let mut claimed = claim_own(&app, ours).await?;
    let theirs = app.claim_of_others(others, &session.user, patience(request.timeout)).await;
    claimed.extend(theirs.keys);
    Ok(Json(json!({ "one_time_keys": claimed, "failures": failures(&theirs.failures) })))
}

#[derive(Deserialize)]
struct Changes {
    from: String,
    to: Option<String>,
}

/// `GET /_matrix/client/v3/keys/changes`
async fn changes(
    State(app): State<Arc<App>>,
    session: Session,
    Query(query): Query<Changes>,
) -> ApiResult<Json<Value>> {
    let position = |token: &str| -> ApiResult<LogPosition> {
        let token: Token = token.parse().map_err(|_| ApiError::invalid_param("not a token of /sync"))?;
        Ok(token.log())
    };
    let upto = query.to.as_deref().map_or(Ok(LogPosition::END), position)?;
    let (from, sources) = (position(&query.from)?, Sources::new(Arc::clone(&app.stream)));
    let DeviceLists { changed, left } = stream::device_lists_between(&sources, &session, from, upto).await?;
    Ok(Json(json!({ "changed": changed, "left": left })))
}

impl From<UploadError> for ApiError {
    fn from(e: UploadError) -> Self {
        match e {
            UploadError::Taken(id) => Self::invalid_param(format!("there is another key called {id}")),
            UploadError::TooMany => {
                Self::too_large(format!("a device has at most {MAX_ONE_TIME_KEYS} one-time keys"))
            }
            UploadError::Store(e) => e.into(),
        }
    }
}
