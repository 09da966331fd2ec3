//! The keys that devices publish so that others can encrypt for them: `/keys/…`.
//!
//! The server keeps them and hands them out; whether they are good is checked by the clients.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::State};
use ruma::{
    OwnedUserId, UserId,
    api::client::keys::{
        claim_keys, get_key_changes, get_keys, upload_keys, upload_signatures, upload_signing_keys,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::uia::{Interactive, Refusal, authenticate_user};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Query},
        ruma_route::RumaRoute,
    },
    app::App,
    change::position::LogPosition,
    limits::Origin,
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

/// The kinds of cross-signing keys: what they are called in an upload, and in a stored key's `usage`.
const CROSS_SIGNING: [(&str, &str); 3] =
    [("master_key", "master"), ("self_signing_key", "self_signing"), ("user_signing_key", "user_signing")];

type Object = Map<String, Value>;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<upload_keys::v3::Request, _, _>(upload)
        .ruma_route::<get_keys::v3::Request, _, _>(query)
        .ruma_route::<claim_keys::v3::Request, _, _>(claim)
        .ruma_route::<get_key_changes::v3::Request, _, _>(changes)
        .ruma_route::<upload_signing_keys::v3::Request, _, _>(upload_cross_signing)
        .ruma_route::<upload_signatures::v3::Request, _, _>(upload_signatures)
}

#[derive(Deserialize)]
struct Upload {
    device_keys: Option<Object>,
    #[serde(default)]
    one_time_keys: BTreeMap<String, Value>,
    #[serde(default, alias = "org.matrix.msc2732.fallback_keys")]
    fallback_keys: BTreeMap<String, Value>,
}

/// `POST /_matrix/client/v3/keys/upload`
async fn upload(
    State(app): State<Arc<App>>,
    session: Session,
    Json(request): Json<Upload>,
) -> ApiResult<Json<Value>> {
    let device_keys = request.device_keys.map(|keys| own_device_keys(&session, keys)).transpose()?;
    let upload = KeyUpload {
        device_keys,
        one_time_keys: named_keys(request.one_time_keys)?,
        fallback_keys: named_keys(request.fallback_keys)?,
    };
    app.store.upload_keys(session.clone(), upload).await?;
    let KeyCounts { one_time, .. } = app.store.key_counts(&session.user, &session.device).await?;
    Ok(Json(json!({ "one_time_key_counts": one_time })))
}

/// What device keys must have, whatever else they have. The algorithms and signatures are checked by the clients.
#[derive(Deserialize)]
#[expect(dead_code, reason = "of most fields only that they are there counts")]
struct DeviceKeysForm {
    user_id: OwnedUserId,
    device_id: String,
    algorithms: Vec<String>,
    keys: BTreeMap<String, String>,
    signatures: BTreeMap<String, BTreeMap<String, String>>,
}

fn own_device_keys(session: &Session, mut keys: Object) -> ApiResult<String> {
    // What is added on the way is not the device's to say.
    keys.remove("unsigned");
    let form = DeviceKeysForm::deserialize(&Value::Object(keys.clone()));
    let form = form.map_err(|e| ApiError::bad_json(format!("device_keys: {e}")))?;
    if form.user_id != session.user || form.device_id != session.device.as_str() {
        return Err(ApiError::invalid_param("device_keys are of another user or device"));
    }
    bounded(Value::Object(keys))
}

fn named_keys(keys: BTreeMap<String, Value>) -> ApiResult<Vec<(String, String)>> {
    let check = |(id, key): (String, Value)| match id.split_once(':') {
        Some((algorithm, name)) if !algorithm.is_empty() && !name.is_empty() && id.len() <= 255 => {
            Ok((id, bounded(key)?))
        }
        _ => Err(ApiError::invalid_param("keys are named algorithm:id")),
    };
    keys.into_iter().map(check).collect()
}

fn bounded(key: Value) -> ApiResult<String> {
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
fn public_part(key: &str) -> Option<String> {
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

/// `POST /_matrix/client/v3/keys/device_signing/upload`: the first ones without further ado, a
/// replacement with the password.
async fn upload_cross_signing(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    mut request: Interactive<BTreeMap<String, Value>>,
) -> Result<Json<Value>, Refusal> {
    let mut keys = Vec::new();
    for (name, usage) in CROSS_SIGNING {
        let Some(key) = request.parameters.remove(name) else { continue };
        let usages = key.get("usage").and_then(Value::as_array);
        let fits = key.get("user_id").and_then(Value::as_str) == Some(session.user.as_str())
            && usages.is_some_and(|usages| usages.iter().any(|u| u == usage))
            && key.get("keys").and_then(Value::as_object).is_some_and(|keys| keys.len() == 1);
        if !fits {
            return Err(ApiError::invalid_param(format!("{name} is not a {usage} key of this user")).into());
        }
        keys.push((usage, bounded(key)?));
    }
    let stored = app.store.cross_signing_keys(&session.user).await?;
    keys.retain(|(usage, key)| stored.get(*usage) != Some(key));
    if keys.is_empty() {
        return Ok(Json(json!({})));
    }
    let mut proof = None;
    if stored.contains_key("master") {
        proof = Some(authenticate_user(&app, &request, &session, origin).await?);
    } else if !keys.iter().any(|(usage, _)| *usage == "master") {
        return Err(ApiError::missing_param("master_key comes first").into());
    }
    app.store.set_cross_signing_keys(session.user, keys, proof).await?;
    Ok(Json(json!({})))
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
async fn upload_signatures(
    State(app): State<Arc<App>>,
    session: Session,
    Json(request): Json<BTreeMap<OwnedUserId, BTreeMap<String, Value>>>,
) -> ApiResult<Json<Value>> {
    let me = session.user.as_str();
    let (mut good, mut failures) = (Vec::new(), BTreeMap::<OwnedUserId, Object>::new());
    for (user, objects) in request {
        let known = known_keys(&app, &user).await?;
        for (key, object) in objects {
            let mine = object.get("signatures").and_then(|all| all.get(me)).and_then(Value::as_object);
            let mine: Vec<_> =
                mine.into_iter().flatten().filter_map(|(k, v)| Some((k, v.as_str()?))).collect();
            let small = mine.len() <= 8 && mine.iter().all(|(k, v)| k.len() + v.len() <= 1024);
            if !known.contains(&key) || mine.is_empty() || !small {
                let failure =
                    json!({ "errcode": "M_INVALID_SIGNATURE", "error": "no such key, or not signed" });
                failures.entry(user.clone()).or_default().insert(key, failure);
                continue;
            }
            good.extend(mine.into_iter().map(|(signer_key, signature)| KeySignature {
                user: user.clone(),
                key: key.clone(),
                signer: session.user.clone(),
                signer_key: signer_key.clone(),
                signature: signature.to_owned(),
            }));
        }
    }
    if !good.is_empty() {
        app.store.add_key_signatures(good).await?;
    }
    Ok(Json(json!({ "failures": failures })))
}

/// The names of a user's keys that can be signed.
async fn known_keys(app: &App, user: &UserId) -> ApiResult<Vec<String>> {
    let devices = app.store.device_keys(user).await?.into_iter().map(|device| device.device);
    let keys = app.store.cross_signing_keys(user).await?;
    Ok(devices.chain(keys.values().filter_map(|key| public_part(key))).collect())
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
