//! The keys of users as they are handed out: as uploaded, with the signatures that came after them.

use std::collections::BTreeMap;

use ruma::UserId;
use serde_json::json;

use super::key_form::Object;
use crate::server::store::{DeviceKeys, Store, StoreError, public_part, with_signatures};

/// The keys of a user, ready to be answered.
#[derive(Clone, Debug, Default)]
pub struct UserKeys {
    /// By device.
    pub devices: BTreeMap<String, Object>,
    /// By usage: `master`, `self_signing`, `user_signing`.
    pub cross_signing: BTreeMap<String, Object>,
}

/// Who asks for keys.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// A user of this server.
    User(&'a UserId),
    /// Another server. What people call their devices is nothing to it.
    Server,
}

impl UserKeys {
    /// The keys of a user of this server: of the devices in `wanted`, or of all if there are none.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn of(
        store: &Store,
        user: &UserId,
        wanted: &[String],
        asker: Asker<'_>,
    ) -> Result<Self, StoreError> {
        let mut devices = store.device_keys(user).await?;
        devices.retain(|device| wanted.is_empty() || wanted.contains(&device.device));
        if matches!(asker, Asker::Server) {
            devices.iter_mut().for_each(|device| device.display_name = None);
        }
        let cross_signing = store.cross_signing_keys(user).await?;
        Self::signed(store, user, devices, cross_signing, asker).await
    }

    /// The keys of any user, with those signatures that came later and are shown to `asker`.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read.
    pub async fn signed(
        store: &Store,
        user: &UserId,
        devices: Vec<DeviceKeys>,
        cross_signing: BTreeMap<String, String>,
        asker: Asker<'_>,
    ) -> Result<Self, StoreError> {
        let reader = match asker {
            Asker::User(reader) => reader,
            Asker::Server => user,
        };
        let signatures = store.key_signatures(user, reader).await?;
        let mut found = Self::default();
        for DeviceKeys { device, keys, display_name } in devices {
            let mut keys = with_signatures(&keys, &device, &signatures)?;
            // Clients look into it without asking whether it is there.
            let name = display_name.map(|name| json!({ "device_display_name": name }));
            keys.insert("unsigned".to_owned(), name.unwrap_or_else(|| json!({})));
            found.devices.insert(device, keys);
        }
        let is_own = matches!(asker, Asker::User(asker) if asker == user);
        for (usage, key) in cross_signing {
            if usage != "user_signing" || is_own {
                let id = public_part(&key).unwrap_or_default();
                found.cross_signing.insert(usage, with_signatures(&key, &id, &signatures)?);
            }
        }
        Ok(found)
    }
}
