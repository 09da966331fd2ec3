//! Cross-signing: `/keys/device_signing/upload` and `/keys/signatures/upload`.
//!
//! Matrix client-server API, "Cross-signing".

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode};
use ruma::{
    OwnedUserId, UserId,
    api::client::keys::{upload_signatures, upload_signing_keys},
};
use serde_json::{Value, json};

use super::{
    keys::bounded,
    uia::{Interactive, Refusal, authenticate_user},
};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::Json,
        ruma_route::RumaRoute,
    },
    app::App,
    devices::{
        key_form::{BadKey, Object},
        published::UserKeys,
        signed::{SigningKey, cross_signing_key, new_signatures},
    },
    limits::Origin,
    session::Session,
    store::{KeySignature, public_part},
};

/// The kinds of cross-signing keys: what they are called in an upload, and in a stored key's `usage`.
const KINDS: [(&str, &str); 3] =
    [("master_key", "master"), ("self_signing_key", "self_signing"), ("user_signing_key", "user_signing")];

/// Keys in one upload of signatures, at most.
const MAX_SIGNED: usize = 1_000;

/// How long other servers may take to say which keys their users have.
const PATIENCE: Duration = Duration::from_secs(10);

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<upload_signing_keys::v3::Request, _, _>(upload_keys)
        .ruma_route::<upload_signatures::v3::Request, _, _>(upload_signatures)
}

/// `POST /_matrix/client/v3/keys/device_signing/upload`: the first ones without further ado, a
/// replacement with the password.
async fn upload_keys(
    State(app): State<Arc<App>>,
    session: Session,
    origin: Origin,
    mut request: Interactive<BTreeMap<String, Value>>,
) -> Result<Json<Value>, Refusal> {
    let stored = app.store.cross_signing_keys(&session.user).await?;
    let mut master = stored.get("master").and_then(|key| public_part(key));
    let mut keys = Vec::new();
    for (name, usage) in KINDS {
        let Some(key) = request.parameters.remove(name) else { continue };
        // The master key comes first: the others are signed by it.
        let by = match (usage, &master) {
            ("master", _) => None,
            (_, Some(master)) => Some(master.as_str()),
            (_, None) => return Err(ApiError::missing_param("master_key comes first").into()),
        };
        let public = cross_signing_key(&session.user, usage, &key, by).map_err(ApiError::from)?;
        if app.store.device(&session.user, public.as_str().into()).await?.is_some() {
            let why = "a device of this user is called as this key is".to_owned();
            return Err(ApiError::from(BadKey::InUse(why)).into());
        }
        if usage == "master" {
            master = Some(public);
        }
        keys.push((usage, bounded(key)?));
    }
    keys.retain(|(usage, key)| stored.get(*usage) != Some(key));
    if keys.is_empty() {
        return Ok(Json(json!({})));
    }
    let mut proof = None;
    if stored.contains_key("master") {
        proof = Some(authenticate_user(&app, &request, &session, origin).await?);
    }
    app.store.set_cross_signing_keys(session.user, keys, proof).await?;
    Ok(Json(json!({})))
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
async fn upload_signatures(
    State(app): State<Arc<App>>,
    session: Session,
    Json(request): Json<BTreeMap<OwnedUserId, BTreeMap<String, Object>>>,
) -> ApiResult<Json<Value>> {
    if request.values().map(BTreeMap::len).sum::<usize>() > MAX_SIGNED {
        return Err(ApiError::too_large(format!("sign at most {MAX_SIGNED} keys at once")));
    }
    let own = Keys::of(&app, &session.user).await?;
    let elsewhere = request.keys().filter(|user| user.server_name() != app.server_name()).cloned().collect();
    let mut elsewhere = app.keys_of_others(elsewhere, &session.user, PATIENCE).await?.users;
    let (mut good, mut failures) = (Vec::new(), BTreeMap::<OwnedUserId, Object>::new());
    for (user, objects) in request {
        let theirs = match elsewhere.remove(&user) {
            Some(theirs) => Some(Keys::from(theirs)),
            None if user == session.user => None,
            None => Some(Keys::of(&app, &user).await?),
        };
        for (key, object) in objects {
            let signable = match &theirs {
                None => own.signable_by_owner(&key),
                Some(theirs) => theirs.signable_by_others(&key, &own),
            };
            let signed = signable
                .ok_or_else(|| ApiError::not_found("you can sign no such key"))
                .and_then(|(stored, by)| Ok(new_signatures(&object, stored, &session.user, &by)?));
            match signed {
                Ok(signatures) => {
                    good.extend(signatures.into_iter().map(|(signer_key, signature)| KeySignature {
                        user: user.clone(),
                        key: key.clone(),
                        signer: session.user.clone(),
                        signer_key,
                        signature,
                    }))
                }
                Err(ApiError { errcode, error, .. }) => {
                    let failure = json!({ "errcode": errcode, "error": error });
                    failures.entry(user.clone()).or_default().insert(key, failure);
                }
            }
        }
    }
    if !good.is_empty() {
        app.store.add_key_signatures(good).await?;
    }
    Ok(Json(json!({ "failures": failures })))
}

/// The keys of one user.
struct Keys {
    /// By device.
    devices: BTreeMap<String, Object>,
    /// By usage: the public part, and the key.
    cross_signing: BTreeMap<String, (String, Object)>,
}

impl From<UserKeys> for Keys {
    fn from(keys: UserKeys) -> Self {
        let public = |key: &Object| public_part(&Value::Object(key.clone()).to_string());
        let with_public = |(usage, key): (String, Object)| Some((usage, (public(&key)?, key)));
        Self {
            devices: keys.devices.into_iter().collect(),
            cross_signing: keys.cross_signing.into_iter().filter_map(with_public).collect(),
        }
    }
}

/// A stored key, and what it may be signed with.
type Signable<'a> = (&'a Object, Vec<SigningKey>);

impl Keys {
    async fn of(app: &App, user: &UserId) -> ApiResult<Self> {
        let parse = |key: &str| serde_json::from_str::<Object>(key).map_err(ApiError::internal);
        let devices = app.store.device_keys(user).await?;
        let devices = devices.into_iter().map(|device| Ok((device.device, parse(&device.keys)?)));
        let keys = app.store.cross_signing_keys(user).await?;
        let keys = keys.into_iter().filter_map(|(usage, key)| {
            let public = public_part(&key)?;
            Some(parse(&key).map(|key| (usage, (public, key))))
        });
        Ok(Self {
            devices: devices.collect::<ApiResult<_>>()?,
            cross_signing: keys.collect::<ApiResult<_>>()?,
        })
    }

    /// What their owner signs: devices with the self-signing key, the master key with a device.
    fn signable_by_owner(&self, name: &str) -> Option<Signable<'_>> {
        if let Some(device) = self.devices.get(name) {
            return Some((device, self.signing_key("self_signing").into_iter().collect()));
        }
        let master = self.master(name)?;
        let by_device = |(id, device): (&String, &Object)| {
            let name = format!("ed25519:{id}");
            let public = device.get("keys")?.get(&name)?.as_str()?.to_owned();
            Some(SigningKey { name, public })
        };
        Some((master, self.devices.iter().filter_map(by_device).collect()))
    }

    /// What others sign: the master key, with their user-signing key.
    fn signable_by_others(&self, name: &str, others: &Self) -> Option<Signable<'_>> {
        Some((self.master(name)?, others.signing_key("user_signing").into_iter().collect()))
    }

    fn master(&self, name: &str) -> Option<&Object> {
        self.cross_signing.get("master").filter(|(public, _)| public == name).map(|(_, key)| key)
    }

    fn signing_key(&self, usage: &str) -> Option<SigningKey> {
        self.cross_signing.get(usage).map(|(public, _)| SigningKey::cross_signing(public))
    }
}

impl From<BadKey> for ApiError {
    fn from(e: BadKey) -> Self {
        match e {
            BadKey::Form(why) => Self::bad_json(why),
            BadKey::Value(why) => Self::invalid_param(why),
            BadKey::Signature(why) => Self::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", why),
            BadKey::InUse(why) => Self::forbidden(why),
        }
    }
}
