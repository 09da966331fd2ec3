//! What users keep with their account: written through, and told to the user's own readers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedUserId, UserId, push::Ruleset};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::server::{
    api::error::{ApiError, ApiResult},
    app::App,
    change::position::LogPosition,
    finish::finish,
    store::{AccountDataError, AccountDataKey, Store, StoreError},
};

/// The type under which push rules are kept.
pub const PUSH_RULES: &str = "m.push_rules";

/// The position of each user's last change, so that readers ask the store only when there is something.
/// Bounded by the number of users.
#[derive(Clone, Debug, Default)]
pub struct AccountDataPositions(Arc<Mutex<HashMap<OwnedUserId, LogPosition>>>);

impl AccountDataPositions {
    /// Reads the positions from the store.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Mutex::new(store.account_data_positions().await?.into_iter().collect()))))
    }

    /// Whether something of `user` changed after position `since`.
    pub fn has_news(&self, user: &UserId, since: LogPosition) -> bool {
        self.lock().get(user).is_some_and(|position| *position > since)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedUserId, LogPosition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize, Serialize)]
struct PushRules {
    global: Ruleset,
}

impl App {
    /// Writes one piece of account data.
    ///
    /// # Errors
    /// `M_TOO_LARGE` beyond the limits of the store.
    pub async fn set_account_data(self: &Arc<Self>, key: AccountDataKey, content: String) -> ApiResult<()> {
        self.change_account_data(key, |_| Ok(Some(content))).await
    }

    /// Reads one piece of account data, lets `change` make its new content, and writes that, in one go.
    pub async fn change_account_data(
        self: &Arc<Self>,
        key: AccountDataKey,
        change: impl FnOnce(Option<&str>) -> ApiResult<Option<String>> + Send + 'static,
    ) -> ApiResult<()> {
        let app = Arc::clone(self);
        finish(async move {
            let user = key.user.clone();
            let (positions, of) = (app.account_data.clone(), user.clone());
            let apply = move |position| {
                positions.lock().insert(of, position);
            };
            app.store.change_account_data(key, change, apply).await?;
            app.wakers.wake(&user);
            Ok(())
        })
        .await
    }

    /// Changes the tags of a room.
    pub async fn change_tags(
        self: &Arc<Self>,
        key: AccountDataKey,
        change: impl FnOnce(&mut Map<String, Value>) -> ApiResult<()> + Send + 'static,
    ) -> ApiResult<()> {
        self.change_account_data(key, |old| {
            let mut content = parse(old)?;
            let tags = content.entry("tags").or_insert_with(|| Map::new().into());
            if !tags.is_object() {
                *tags = Map::new().into();
            }
            if let Some(tags) = tags.as_object_mut() {
                change(tags)?;
            }
            Ok(Some(Value::Object(content).to_string()))
        })
        .await
    }

    /// The push rules in effect: those that the user made, or Matrix's defaults.
    pub async fn push_rules(&self, user: &UserId) -> ApiResult<Ruleset> {
        rules(user, self.store.account_data(user, None, PUSH_RULES).await?.as_deref())
    }

    /// Changes the push rules.
    pub async fn change_push_rules(
        self: &Arc<Self>,
        user: &UserId,
        change: impl FnOnce(&mut Ruleset) -> ApiResult<()> + Send + 'static,
    ) -> ApiResult<()> {
        let user = user.to_owned();
        let key = AccountDataKey { user: user.clone(), room: None, kind: PUSH_RULES.to_owned() };
        self.change_account_data(key, move |old| {
            let mut global = rules(&user, old)?;
            change(&mut global)?;
            serde_json::to_string(&PushRules { global }).map(Some).map_err(ApiError::internal)
        })
        .await
    }
}

fn rules(user: &UserId, stored: Option<&str>) -> ApiResult<Ruleset> {
    match stored {
        Some(stored) => {
            let stored: PushRules = serde_json::from_str(stored).map_err(ApiError::internal)?;
            Ok(stored.global)
        }
        None => Ok(Ruleset::server_default(user)),
    }
}

fn parse(content: Option<&str>) -> ApiResult<Map<String, Value>> {
    content
        .map_or_else(|| Ok(Map::new()), |content| serde_json::from_str(content).map_err(ApiError::internal))
}

impl From<AccountDataError> for ApiError {
    fn from(e: AccountDataError) -> Self {
        match e {
            AccountDataError::TooLarge => Self::too_large("this piece of account data is too large"),
            AccountDataError::Full => Self::too_large("there is too much account data"),
            AccountDataError::Store(e) => e.into(),
        }
    }
}
