//! What users keep with their account: written through, and told to the user's own readers.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use ruma::{OwnedUserId, RoomId, UserId, push::Ruleset};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    default_rules::{as_content, default_rules},
    refusal::Refusal,
};
use crate::server::{
    change::{feed::Change, position::LogPosition},
    store::{AccountDataError, AccountDataKey, Store, StoreError},
};

/// The type under which push rules are kept.
pub const PUSH_RULES: &str = "m.push_rules";

/// What users keep, with the position of each user's last change, so that readers ask the store only when there
/// is something. Bounded by the number of users.
#[derive(Debug)]
pub struct OwnData {
    store: Arc<Store>,
    positions: Mutex<HashMap<OwnedUserId, LogPosition>>,
}

#[derive(Deserialize)]
struct PushRules {
    global: Ruleset,
}

impl OwnData {
    /// Reads the positions from the store.
    pub async fn load(store: Arc<Store>) -> Result<Self, StoreError> {
        let positions = store.account_data_positions().await?.into_iter().collect();
        Ok(Self { store, positions: Mutex::new(positions) })
    }

    /// Whether something of `user` changed after position `since`.
    pub fn has_news(&self, user: &UserId, since: LogPosition) -> bool {
        self.positions.lock().get(user).is_some_and(|position| *position > since)
    }

    /// Takes the position of a change.
    pub fn follow(&self, change: &Change) {
        if let Change::AccountData { user, position } = change {
            self.positions.lock().insert(user.clone(), *position);
        }
    }

    /// Writes one piece.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] beyond the limits of the store.
    pub async fn set(&self, key: AccountDataKey, content: String) -> Result<(), Refusal> {
        self.store.change_account_data(key, |_| Ok(Some(content))).await
    }

    /// Changes the tags of a room; `change` may refuse.
    ///
    /// # Errors
    /// Those of `change`, and as for [`Self::set`].
    pub async fn change_tags<E>(
        &self,
        key: AccountDataKey,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E>
    where
        E: From<Refusal> + From<AccountDataError> + From<StoreError> + Send + 'static,
    {
        let change = |old: Option<&str>| {
            let mut content = parse(old)?;
            let tags = content.entry("tags").or_insert_with(|| Map::new().into());
            if !tags.is_object() {
                *tags = Map::new().into();
            }
            if let Some(tags) = tags.as_object_mut() {
                change(tags)?;
            }
            Ok(Some(Value::Object(content).to_string()))
        };
        self.store.change_account_data(key, change).await
    }

    /// The push rules in effect: those that the user made, or Matrix's defaults.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn push_rules(&self, user: &UserId) -> Result<Ruleset, Refusal> {
        rules(user, self.store.account_data(user, None, PUSH_RULES).await?.as_deref())
    }

    /// Changes the push rules; `change` may refuse.
    ///
    /// # Errors
    /// Those of `change`, and as for [`Self::set`].
    pub async fn change_push_rules<E>(
        &self,
        user: &UserId,
        change: impl FnOnce(&mut Ruleset) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E>
    where
        E: From<Refusal> + From<AccountDataError> + From<StoreError> + Send + 'static,
    {
        let user = user.to_owned();
        let key = AccountDataKey { user: user.clone(), room: None, kind: PUSH_RULES.to_owned() };
        let change = move |old: Option<&str>| {
            let mut global = rules(&user, old)?;
            change(&mut global)?;
            Ok(Some(as_content(&global).map_err(unreadable)?.to_string()))
        };
        self.store.change_account_data(key, change).await
    }
}

/// What a user keeps for a room, when another takes its place.
impl OwnData {
    /// What `user` keeps for the room `old` is kept for `new`, too: tags, push rules, and that it is a direct chat.
    /// What is kept for `new` already stays as it is.
    ///
    /// # Errors
    /// As for [`Self::set`]; what was done before stays.
    pub async fn take_over(&self, user: &UserId, old: &RoomId, new: &RoomId) -> Result<(), Refusal> {
        let key = |room: Option<&RoomId>, kind: &str| AccountDataKey {
            user: user.to_owned(),
            room: room.map(ToOwned::to_owned),
            kind: kind.to_owned(),
        };
        if let Some(tags) = self.store.account_data(user, Some(old), "m.tag").await? {
            let unless_tagged = move |kept: Option<&str>| {
                let is_tagged = |kept: Map<String, Value>| {
                    kept.get("tags").and_then(Value::as_object).is_some_and(|tags| !tags.is_empty())
                };
                Ok(if parse(kept).is_ok_and(is_tagged) { None } else { Some(tags) })
            };
            self.store.change_account_data::<Refusal>(key(Some(new), "m.tag"), unless_tagged).await?;
        }
        let (from, to) = (old.to_string(), new.to_string());
        let add_direct = move |kept: Option<&str>| {
            let Ok(mut direct) = parse(kept) else { return Ok(None) };
            let lists = direct.values_mut().filter_map(Value::as_array_mut);
            let theirs = lists.filter(|rooms| rooms.contains(&Value::from(&*from)));
            let mut changed = false;
            for rooms in theirs.filter(|rooms| !rooms.contains(&Value::from(&*to))) {
                rooms.push(Value::from(&*to));
                changed = true;
            }
            Ok(changed.then(|| Value::Object(direct).to_string()))
        };
        self.store.change_account_data::<Refusal>(key(None, "m.direct"), add_direct).await?;
        self.take_push_rule_over(user, old, new).await
    }

    async fn take_push_rule_over(&self, user: &UserId, old: &RoomId, new: &RoomId) -> Result<(), Refusal> {
        let rules = self.push_rules(user).await?;
        let Some(rule) = rules.room.get(old.as_str()).cloned() else { return Ok(()) };
        let new = new.to_owned();
        let copy = move |rules: &mut Ruleset| {
            if rules.room.get(new.as_str()).is_none() {
                let mut copy = rule;
                copy.rule_id = new;
                rules.room.insert(copy);
            }
            Ok(())
        };
        self.change_push_rules::<Refusal>(user, copy).await
    }
}

fn rules(user: &UserId, stored: Option<&str>) -> Result<Ruleset, Refusal> {
    match stored {
        Some(stored) => Ok(serde_json::from_str::<PushRules>(stored).map_err(unreadable)?.global),
        None => Ok(default_rules(user)),
    }
}

fn parse(content: Option<&str>) -> Result<Map<String, Value>, Refusal> {
    content.map_or_else(|| Ok(Map::new()), |content| serde_json::from_str(content).map_err(unreadable))
}

fn unreadable(e: serde_json::Error) -> Refusal {
    Refusal::Internal(format!("account data: {e}"))
}
