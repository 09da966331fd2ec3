//! Where users are told of events while no client of theirs runs.

use ruma::{DeviceId, OwnedUserId, UserId};
use rusqlite::{Connection, Row, params};

use super::{database::Store, error::StoreError, events, log, tx::Tx};
use crate::server::{
    change::{feed::Change, position::LogPosition},
    session::Session,
};

/// Pushers of one user, at most.
pub const MAX_PUSHERS: u32 = 50;

/// One pusher.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pusher {
    /// Its number, which no other will have.
    pub id: i64,
    /// Whose.
    pub user: OwnedUserId,
    /// Which application.
    pub app_id: String,
    /// Where that is told.
    pub pushkey: String,
    /// When it was set, in ms since the Unix epoch.
    pub set_ms: u64,
    /// As its user is shown it: a JSON object, as text.
    pub body: String,
    /// Up to where in the log it was told everything.
    pub told: LogPosition,
}

/// A pusher that is to be set.
#[derive(Clone, Debug)]
pub struct NewPusher {
    /// Whose, and the device that sets it.
    pub session: Session,
    /// Which application.
    pub app_id: String,
    /// Where that is told.
    pub pushkey: String,
    /// When, in ms since the Unix epoch.
    pub set_ms: u64,
    /// A JSON object, as text.
    pub body: String,
    /// Whether other users keep theirs of the same application and key.
    pub others: Others,
}

/// What becomes of other users' pushers of the same application and key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Others {
    /// They stay.
    Stay,
    /// They go: the device has another user.
    Go,
}

/// Why a pusher could not be set.
#[derive(Debug)]
pub enum SetPusherError {
    /// The user has too many already.
    TooMany,
    /// The device is logged out.
    LoggedOut,
    /// The database failed.
    Store(StoreError),
}

impl Store {
    /// Every pusher.
    pub async fn pushers(&self) -> Result<Vec<Pusher>, StoreError> {
        self.read(|c| {
            c.prepare(
                "SELECT pusher, user_id, app_id, pushkey, set_ms, body, told FROM pushers ORDER BY pusher",
            )?
            .query_map([], pusher)?
            .collect()
        })
        .await
    }

    /// The pushers of one user, in the order in which they were set first.
    pub async fn pushers_of(&self, user: &UserId) -> Result<Vec<Pusher>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT pusher, user_id, app_id, pushkey, set_ms, body, told FROM pushers
                 WHERE user_id = ?1 ORDER BY pusher",
            )?
            .query_map([user.as_str()], pusher)?
            .collect()
        })
        .await
    }

    /// Sets a pusher, or sets it anew; it is told what happens from here on.
    ///
    /// # Errors
    /// [`SetPusherError::TooMany`] beyond [`MAX_PUSHERS`]; [`SetPusherError::LoggedOut`] when the device is gone.
    pub async fn set_pusher(&self, new: NewPusher) -> Result<(), SetPusherError> {
        self.write(move |tx| {
            let NewPusher { session, app_id, pushkey, set_ms, body, others } = new;
            // A device that is gone takes no pusher with it any more.
            if session.has_device() && !is_there(tx, &session)? {
                return Err(SetPusherError::LoggedOut);
            }
            let Session { user, device } = session;
            if others == Others::Go {
                let gone: Vec<String> = tx
                    .prepare_cached(
                        "DELETE FROM pushers WHERE app_id = ?1 AND pushkey = ?2 AND user_id <> ?3
                         RETURNING user_id",
                    )?
                    .query_map([&*app_id, &*pushkey, user.as_str()], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?;
                for user in gone.iter().filter_map(|user| UserId::parse(user).ok()) {
                    tx.tell(Change::Pushers { user });
                }
            }
            let told = log::position(tx)?;
            // A device that only says again what it said is told from where it was.
            tx.prepare_cached(
                "INSERT INTO pushers (user_id, device_id, app_id, pushkey, set_ms, body, told)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (user_id, app_id, pushkey)
                 DO UPDATE SET device_id = excluded.device_id, set_ms = excluded.set_ms, body = excluded.body",
            )?
            .execute(params![
                user.as_str(),
                device.as_str(),
                app_id,
                pushkey,
                set_ms.cast_signed(),
                body,
                told
            ])?;
            let count: u32 = tx
                .prepare_cached("SELECT count(*) FROM pushers WHERE user_id = ?1")?
                .query_row([user.as_str()], |row| row.get(0))?;
            if count > MAX_PUSHERS {
                return Err(SetPusherError::TooMany);
            }
            tx.tell(Change::Pushers { user });
            Ok(())
        })
        .await
    }

    /// Ends a pusher, if there is such a one.
    pub async fn remove_pusher(
        &self,
        user: OwnedUserId,
        app_id: String,
        pushkey: String,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            let removed = tx
                .prepare_cached("DELETE FROM pushers WHERE user_id = ?1 AND app_id = ?2 AND pushkey = ?3")?
                .execute([user.as_str(), &app_id, &pushkey])?;
            if removed > 0 {
                tx.tell(Change::Pushers { user });
            }
            Ok(())
        })
        .await
    }

    /// A pusher was told everything up to here.
    pub async fn note_pushed(&self, id: i64, told: LogPosition) -> Result<(), StoreError> {
        self.write(move |tx| Ok(note(tx, id, told)?)).await
    }

    /// The same without waiting for it.
    pub fn note_pushed_later(&self, id: i64, told: LogPosition) {
        self.write_later(move |c| note(c, id, told));
    }
}

/// The pushers that a device set go with it.
pub(super) fn forget(tx: &Tx<'_>, user: &UserId, device: &DeviceId) -> rusqlite::Result<()> {
    let removed = tx
        .prepare_cached("DELETE FROM pushers WHERE user_id = ?1 AND device_id = ?2")?
        .execute([user.as_str(), device.as_str()])?;
    if removed > 0 {
        tx.tell(Change::Pushers { user: user.to_owned() });
    }
    Ok(())
}

/// Whether a device is there still.
fn is_there(c: &Connection, session: &Session) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM devices WHERE user_id = ?1 AND device_id = ?2")?
        .exists([session.user.as_str(), session.device.as_str()])
}

fn note(c: &Connection, id: i64, told: LogPosition) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE pushers SET told = max(told, ?2) WHERE pusher = ?1")?
        .execute(params![id, told])?;
    Ok(())
}

fn pusher(row: &Row<'_>) -> rusqlite::Result<Pusher> {
    Ok(Pusher {
        id: row.get(0)?,
        user: events::parse(1, row.get_ref(1)?.as_str()?)?,
        app_id: row.get(2)?,
        pushkey: row.get(3)?,
        set_ms: row.get::<_, i64>(4)?.cast_unsigned(),
        body: row.get(5)?,
        told: row.get(6)?,
    })
}

impl From<StoreError> for SetPusherError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for SetPusherError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruma::{server_name, user_id};

    use super::{
        super::{Access, NewDevice, NewUser},
        *,
    };
    use crate::server::session::TokenHash;

    #[tokio::test]
    async fn a_device_that_is_gone_leaves_no_pusher_whichever_comes_first() {
        let folder = std::env::temp_dir().join(format!("pilotlight-pushers-{}", std::process::id()));
        let store = Store::open(&folder, server_name!("a"), Access::Sole, Arc::default()).expect("opens");
        let user = user_id!("@u:a");
        let device = |id: &str, n| NewDevice {
            id: id.into(),
            display_name: None,
            token_hash: TokenHash([n; 32]),
            tokens: None,
            seen_ms: 1,
        };
        let new = |session: &Session, pushkey: &str| NewPusher {
            session: session.clone(),
            app_id: "app".to_owned(),
            pushkey: pushkey.to_owned(),
            set_ms: 1,
            body: "{}".to_owned(),
            others: Others::Go,
        };
        let account =
            NewUser { id: user.to_owned(), password_hash: None, created_ms: 1, device: Some(device("A", 1)) };
        store.create_user(account).await.expect("is written");
        let session = Session { user: user.to_owned(), device: "A".into() };
        store.set_pusher(new(&session, "before")).await.expect("is set");
        assert_eq!(store.pushers_of(user).await.expect("reads").len(), 1);
        store.remove_all_devices(user.to_owned()).await.expect("is written");
        let late = store.set_pusher(new(&session, "after")).await;
        assert!(matches!(late, Err(SetPusherError::LoggedOut)), "{late:?}");
        assert_eq!(store.pushers_of(user).await.expect("reads"), []);
        // Where there is no device, none goes.
        let bridge = Session::without_device(user.to_owned());
        store.set_pusher(new(&bridge, "bridge")).await.expect("is set");
        drop(store);
        std::fs::remove_dir_all(folder).expect("is removed");
    }
}
