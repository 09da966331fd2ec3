//! That somebody showed who they are: seen when a password was checked, and again in the write that this allows.

use ruma::OwnedUserId;
use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;

/// What somebody was checked against, some time ago: hashing takes its time, and more of it when many wait.
///
/// A write that needs it happens while the account still has this very hash. So a password that was changed, or an
/// account that was closed, ends whatever was on its way. No `Debug`: it carries a hash.
#[derive(Clone)]
pub struct Proof {
    /// Whose password it was.
    pub user: OwnedUserId,
    /// The stored hash that the password fitted. `None`: the account has no password, and somebody showed in another
    /// way that it is theirs.
    pub password_hash: Option<String>,
}

/// Why a write that needs a proof did not happen.
#[derive(Debug, thiserror::Error)]
pub enum NotProven {
    /// The password was changed or the account closed after the check.
    #[error("the password was changed meanwhile")]
    Outdated,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Proof {
    /// Inside the write: whether what was checked still holds.
    ///
    /// # Errors
    /// [`NotProven::Outdated`] when it does not.
    pub(super) fn check(&self, c: &Connection) -> Result<(), NotProven> {
        let current: Option<Option<String>> = c
            .prepare_cached("SELECT password_hash FROM users WHERE user_id = ?1 AND NOT deactivated")?
            .query_row([self.user.as_str()], |row| row.get(0))
            .optional()?;
        if current.is_some_and(|hash| hash == self.password_hash) { Ok(()) } else { Err(NotProven::Outdated) }
    }
}

impl From<rusqlite::Error> for NotProven {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;
    use crate::server::{
        session::TokenHash,
        store::{Access, NewDevice, NewUser, Store},
    };

    fn device(id: &str) -> NewDevice {
        NewDevice {
            id: id.into(),
            display_name: None,
            token_hash: TokenHash::of(id),
            seen_ms: 1,
            tokens: None,
        }
    }

    #[tokio::test]
    async fn what_was_checked_before_the_password_changed_or_the_account_ended_allows_no_write() {
        let folder = std::env::temp_dir().join(format!("pilotlight-proof-{}", std::process::id()));
        let store = Store::open(&folder, server_name!("x"), Access::Sole, Default::default()).expect("opens");
        let user = user_id!("@a:x").to_owned();
        let proof = |hash: &str| Proof { user: user.clone(), password_hash: Some(hash.to_owned()) };
        let new = NewUser {
            id: user.clone(),
            password_hash: Some("one".into()),
            created_ms: 1,
            device: Some(device("KEPT")),
        };
        store.create_user(new).await.expect("is new");
        store.add_device(proof("one"), device("GONE"), Vec::new()).await.expect("holds");
        store.set_password(proof("one"), "two".into(), Some("KEPT".into())).await.expect("holds");
        let devices = async || {
            let devices = store.devices(&user).await.expect("reads");
            devices.into_iter().map(|device| device.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(devices().await, ["KEPT"]);
        let refused_all = async || {
            let keys = vec![("master", "{}".to_owned())];
            [
                store.add_device(proof("one"), device("LATE"), Vec::new()).await.is_err(),
                store.set_password(proof("one"), "three".into(), None).await.is_err(),
                store.remove_devices(user.clone(), vec!["KEPT".into()], Some(proof("one"))).await.is_err(),
                store.set_cross_signing_keys(user.clone(), keys, Some(proof("one"))).await.is_err(),
                store.check_proof(proof("one")).await.is_err(),
            ]
        };
        assert_eq!(refused_all().await, [true; 5]);
        assert_eq!(devices().await, ["KEPT"]);
        assert!(store.cross_signing_keys(&user).await.expect("reads").is_empty());
        store.check_proof(proof("two")).await.expect("holds");
        store.deactivate(user.clone()).await.expect("is written");
        assert!(devices().await.is_empty(), "an account that ended has no device");
        assert!(store.add_device(proof("two"), device("LATE"), Vec::new()).await.is_err());
        let without = Proof { user: user.clone(), password_hash: None };
        assert!(
            store.add_device(without, device("LATE"), Vec::new()).await.is_err(),
            "nor without a password"
        );
        store.close().await;
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
