//! The keys of users as clients and other servers get them: `keys/query` and `keys/claim`.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};

use super::error::{ApiError, ApiResult};
use crate::server::{
    app::App,
    devices::{across::Claimed, published::UserKeys},
};

/// Users or devices in one request, at most.
pub(super) const MAX_ASKED: usize = 1_000;

/// Bytes of the device keys in one answer, about.
const MAX_FOUND: usize = 16 << 20;

/// What an answer calls the cross-signing keys of a usage.
const PARTS: [(&str, &str); 3] =
    [("master", "master_keys"), ("self_signing", "self_signing_keys"), ("user_signing", "user_signing_keys")];

/// The keys of users, by the parts of an answer.
#[derive(Default)]
pub(super) struct FoundKeys {
    devices: Map<String, Value>,
    cross_signing: BTreeMap<String, Map<String, Value>>,
    bytes: usize,
}

impl FoundKeys {
    /// Adds the keys of a user.
    pub(super) fn put(&mut self, user: &UserId, keys: UserKeys) -> ApiResult<()> {
        let size = |key: &Map<String, Value>| {
            key.iter().map(|(name, value)| name.len() + value.to_string().len()).sum::<usize>()
        };
        self.bytes += keys.devices.values().map(size).sum::<usize>();
        if self.bytes > MAX_FOUND {
            return Err(ApiError::too_large("the keys of these are too many: ask for fewer at once"));
        }
        let devices = keys.devices.into_iter().map(|(device, keys)| (device, keys.into()));
        self.devices.insert(user.to_string(), Value::Object(devices.collect()));
        for (usage, key) in keys.cross_signing {
            self.cross_signing.entry(usage).or_default().insert(user.to_string(), key.into());
        }
        Ok(())
    }

    /// The body of the answer.
    pub(super) fn into_body(mut self) -> Map<String, Value> {
        let mut body = Map::from_iter([("device_keys".to_owned(), Value::Object(self.devices))]);
        for (usage, part) in PARTS {
            let keys = self.cross_signing.remove(usage).unwrap_or_default();
            body.insert(part.to_owned(), keys.into());
        }
        body
    }
}

/// Takes one key of each of these devices of users of this server: by user, device, the algorithm.
pub(super) async fn claim_own(
    app: &App,
    wanted: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
) -> ApiResult<Claimed> {
    let mut claimed = Claimed::new();
    for (user, devices) in wanted {
        for (device, algorithm) in devices {
            let Some((id, key)) = app.store.claim_key(user.clone(), device.clone(), algorithm).await? else {
                continue;
            };
            let key = serde_json::from_str(&key).map_err(ApiError::internal)?;
            claimed.entry(user.clone()).or_default().entry(device).or_default().insert(id, key);
        }
    }
    Ok(claimed)
}
