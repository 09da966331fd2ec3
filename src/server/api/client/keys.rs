//! The keys that devices publish so that others can encrypt for them: `/keys/…`.
//!
//! The server keeps what is whole and hands it out; whether it is good is checked by the clients.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State};
use ruma::{
    OwnedUserId, UserId,
    api::client::keys::{claim_keys, get_key_changes, get_keys, upload_keys},
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Query},
        ruma_route::RumaRoute,
    },
    app::App,
    change::position::LogPosition,
    devices::key_form::{self, Object},
    session::Session,
    store::{KeyCounts, KeySignature, KeyUpload, MAX_ONE_TIME_KEYS, UploadError},
    stream::{self, Sources, Token, news::DeviceLists},
};

/// Bytes of one key object, at most.
const MAX_KEY: usize = 16 * 1024;

/// Users or devices in one request, at most.
const MAX_ASKED: usize = 1_000;

/// Bytes of the device keys in one answer, about.
const MAX_FOUND: usize = 16 << 20;

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
}

/// `POST /_matrix/client/v3/keys/query`
async fn query(
    State(app): State<Arc<App>>,
    session: Session,
    Json(request): Json<QueryKeys>,
) -> ApiResult<Json<Value>> {
    if request.device_keys.len() > MAX_ASKED {
        return Err(ApiError::too_large(format!("ask for at most {MAX_ASKED} users at once")));
    }
    let mut found: BTreeMap<&str, Object> =
        ["device_keys", "master_keys", "self_signing_keys", "user_signing_keys"]
            .map(|part| (part, Object::new()))
            .into();
    let mut put = |part: &'static str, user: &UserId, value: Value| {
        found.entry(part).or_default().insert(user.to_string(), value);
    };
    let mut bytes = 0;
    for (user, wanted) in &request.device_keys {
        if user.server_name() != app.server_name() {
            continue;
        }
        let signatures = app.store.key_signatures(user, &session.user).await?;
        let mut devices = Object::new();
        for device in app.store.device_keys(user).await? {
            if wanted.is_empty() || wanted.contains(&device.device) {
                let mut keys = signed(&device.keys, &device.device, &signatures)?;
                // Clients look into it without asking whether it is there.
                keys["unsigned"] = match device.display_name {
                    Some(name) => json!({ "device_display_name": name }),
                    None => json!({}),
                };
                bytes += device.keys.len();
                devices.insert(device.device, keys);
            }
        }
        if bytes > MAX_FOUND {
            return Err(ApiError::too_large("the keys of these are too many: ask for fewer at once"));
        }
        put("device_keys", user, devices.into());
        for (usage, key) in app.store.cross_signing_keys(user).await? {
            let part = match usage.as_str() {
                "master" => "master_keys",
                "self_signing" => "self_signing_keys",
                "user_signing" if *user == session.user => "user_signing_keys",
                _ => continue,
            };
            let id = public_part(&key).unwrap_or_default();
            put(part, user, signed(&key, &id, &signatures)?);
        }
    }
    let mut body = json!(found);
    body["failures"] = json!({});
    Ok(Json(body))
}

/// A stored key with the signatures that came after it.
fn signed(key: &str, id: &str, signatures: &[KeySignature]) -> ApiResult<Value> {
    let mut key: Value = serde_json::from_str(key).map_err(ApiError::internal)?;
    for s in signatures.iter().filter(|s| s.key == id) {
        let all = key.as_object_mut().map(|key| key.entry("signatures").or_insert_with(|| json!({})));
        let of_signer = all
            .and_then(Value::as_object_mut)
            .map(|all| all.entry(s.signer.as_str()).or_insert_with(|| json!({})));
        if let Some(of_signer) = of_signer.and_then(Value::as_object_mut) {
            of_signer.insert(s.signer_key.clone(), s.signature.clone().into());
        }
    }
    Ok(key)
}

/// The public part of a cross-signing key, which is what it goes by.
pub(super) fn public_part(key: &str) -> Option<String> {
    let key: Value = serde_json::from_str(key).ok()?;
    key.get("keys")?.as_object()?.values().next()?.as_str().map(ToOwned::to_owned)
}

#[derive(Deserialize)]
struct Claim {
    one_time_keys: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
}

/// `POST /_matrix/client/v3/keys/claim`
async fn claim(
    State(app): State<Arc<App>>,
    _: Session,
    Json(request): Json<Claim>,
) -> ApiResult<Json<Value>> {
    if request.one_time_keys.values().map(BTreeMap::len).sum::<usize>() > MAX_ASKED {
        return Err(ApiError::too_large(format!("claim keys of at most {MAX_ASKED} devices at once")));
    }
    let mut claimed = BTreeMap::<OwnedUserId, BTreeMap<String, Object>>::new();
    for (user, devices) in request.one_time_keys {
        for (device, algorithm) in devices {
            let Some((id, key)) = app.store.claim_key(user.clone(), device.clone(), algorithm).await? else {
                continue;
            };
            let key = serde_json::from_str(&key).map_err(ApiError::internal)?;
            claimed.entry(user.clone()).or_default().entry(device).or_default().insert(id, key);
        }
    }
    Ok(Json(json!({ "one_time_keys": claimed, "failures": {} })))
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
